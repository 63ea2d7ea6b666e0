"""The pace of a sweep: how many requests a second, and how many at once, Graph lets us send.

Not for: what is sent (batches.py). Nothing here calls, waits or logs; the clock is passed in.

Graph publishes no limits for this service, so they are learned from its refusals (429, 503). All
that a refusal tells is how long to wait, and that is always obeyed, by everybody. What the limit is
made of is not told: a rate, a bucket that fills up while we wait, a window, calls at once.

So two numbers are learned, and the limit lies between them:

    goodput     what was accepted a second since the last refusal, the wait included. It is the
                limit itself if Graph keeps for us what it grants while we wait
    refused     the pace at which the refused request was sent. It is the limit itself if what we
                do not use is lost

The next pace begins between the two and climbs to the one that was refused; beyond that it climbs
faster, since then the limit has been raised, or was never met. Each refusal narrows the gap, and
gives the next climb four times as long: what is uncertain is tried out within seconds, what has
been confirmed is held for long.

    first call     no pace; one call at a time, one more with each that is accepted
    first refusal  the pace is what was accepted a second until then
    each refusal   one call at a time again, the first of them as soon as the wait is over; only
                   what was sent after the last refusal was known teaches anything, the others
                   were under way already
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

SHORTEST_WAIT = 1.0  # second; `Retry-After` counts whole ones
LONGEST_BACKOFF = 30.0  # seconds; of a wait of our own choosing
FIRST_RATE = 20.0  # requests a second, if the very first call is refused: one batch
FIRST_CLIMB = 25.0  # times the time of an answer: as long as it takes to hear of it in time
LONGER = 4.0  # times as long as the last one is a climb
LONGEST_CLIMB = 30.0  # waits; so that trying for more costs a thirtieth of the time at most
QUICKEST_ANSWER = 0.1  # seconds; a climb is planned for answers as slow as this at least
UP = 0.75  # of the way, in ratio, from the goodput to the pace that was refused
MARGIN = 0.98  # at the very limit, chance alone brings a refusal
WASTE = 1.5  # times the goodput was sent when refused: a third of the grants was lost in the wait
SPARE = 2.0  # times as large as just needed is the smallest call


@dataclass(frozen=True, slots=True)
class Sent:
    """When a call was sent, at which pace in requests a second, and whether it ended a wait."""

    at: float
    pace: float
    first: bool


class Pace:
    """One identity is throttled as one, so all calls of a sweep share one pace."""

    def __init__(self, most: int, size: int, clock: Callable[[], float]) -> None:
        """Begin with one call at a time, up to `most`, each of up to `size` requests."""
        self.most = most
        self.calls = 1
        self._clock = clock
        self._largest = self._size = size
        self._low = math.inf  # requests a second: where this climb began, and what it climbs to
        self._high = math.inf
        self._climb = 0.0  # seconds from low to high
        self._begun_at: float | None = None  # the first call
        self._refused_at: float | None = None  # the last refusal that taught something
        self._resume_at = -math.inf
        self._taken = 0  # requests, since that refusal
        self._answer = QUICKEST_ANSWER  # seconds that the last call took
        self._backoff = SHORTEST_WAIT / 2  # the last wait of our own choosing, doubled when needed
        self._waited = False  # for a refusal, and nothing was sent since
        self._level = 0.0  # requests that our own pace has let gather for one call
        self._level_at = -math.inf

    @property
    def size(self) -> int:
        """Return how many requests the next call may hold."""
        needed = SPARE * self._pace() * self._answer / self.most
        return self._largest if needed >= self._largest else max(self._size, math.ceil(needed))

    def told(self) -> float:
        """Return the seconds until anything may be sent."""
        return max(0.0, self._resume_at - self._clock())

    def pause(self, seconds: float) -> None:
        """Have everybody wait, for another reason than a refusal."""
        self._resume_at = max(self._resume_at, self._clock() + seconds)

    def wait(self, requests: int) -> float:
        """Return the seconds until this many requests may be sent in one call."""
        if told := self.told():
            return told
        now, pace = self._clock(), self._pace()
        if pace == math.inf:
            return 0.0
        passed = now - max(self._level_at, self._resume_at)
        self._level = min(self._level + pace * passed, requests)
        self._level_at = now
        seconds = (requests - self._level) / pace
        return seconds if seconds > 1e-6 else 0.0  # a clock need not tell less apart

    def sent(self, requests: int) -> Sent:
        """Count what is being sent; what is returned goes with the answer."""
        now = self._clock()
        if self._begun_at is None:
            self._begun_at = now
        first, self._waited = self._waited, False
        self._level -= requests
        return Sent(now, self._pace(), first)

    def accepted(self, sent: Sent, taken: int) -> None:
        """Count a call of which nothing was refused; one more may be made at a time."""
        self._taken += taken
        self._answer = self._clock() - sent.at
        self.calls = min(self.calls + 1, self.most)

    def refused(self, sent: Sent, taken: int, told: float | None) -> None:
        """Have everybody wait as told, and learn, unless it was sent before the last was known.

        `taken` of the call's requests were accepted. Told nothing, we wait a second, and twice as
        long each time while nothing at all is accepted in between.
        """
        now = self._clock()
        self._taken += taken
        self._answer = now - sent.at
        news = self._refused_at is None or sent.at >= self._refused_at
        if news:
            self.calls = 1
            longer = min(2 * self._backoff, LONGEST_BACKOFF)
            self._backoff = SHORTEST_WAIT if self._taken else longer
        seconds = self._backoff if told is None else max(told, SHORTEST_WAIT)
        self._resume_at = max(self._resume_at, now + seconds)
        self._level = float(self._largest)
        self._waited = True
        if not news:
            return
        if sent.first and taken:  # Graph keeps no more than this
            self._size = min(self._size, taken)
        if self._refused_at is None:
            self._begin(now)
        elif self._taken:
            self._narrow(now - self._refused_at, sent.pace, seconds, partly=taken > 0)
        else:  # the wait was too short, and goes on; or not even one such call ever fits
            self._size = max(1, self._size // 2)
            return
        self._refused_at = now
        self._taken = 0

    def _pace(self) -> float:
        """Return the requests a second that are sent now: low * (high / low) ** (part climbed)."""
        if self._low == math.inf:
            return math.inf
        part = max(0.0, self._clock() - self._resume_at) / self._climb
        climbed = min(max(part, part**3) * math.log(self._high / self._low), 50.0)
        return max(self._low, min(self._low * math.exp(climbed), self._fastest()))

    def _fastest(self) -> float:
        """Return the requests a second that so many calls at once can carry."""
        return self.most * self._largest / max(self._answer, 0.001)

    def _begin(self, now: float) -> None:
        """Take the first refusal."""
        begun_at = now if self._begun_at is None else self._begun_at
        self._low = self._taken / max(now - begun_at, 0.001) or FIRST_RATE
        self._high = max(self._fastest(), self._low)
        self._climb = FIRST_CLIMB * max(self._answer, QUICKEST_ANSWER)

    def _narrow(self, cycle: float, refused: float, waiting: float, *, partly: bool) -> None:
        """Take the next refusal, so many seconds after the last one that taught something."""
        goodput = self._taken / max(cycle, 0.001)
        self._high = max(refused, goodput)
        self._low = MARGIN * goodput * (self._high / goodput) ** UP
        longest = LONGEST_CLIMB * waiting
        self._climb = min(LONGER * self._climb, longest)
        if partly and self._high > WASTE * goodput:  # what Graph keeps for us is less than we send
            self._size = max(1, self._size // 2)
