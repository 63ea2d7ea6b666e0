"""How many requests a second, and how many calls at once, Graph accepts from us.

Not for: what is sent (sender.py). Nothing here calls, waits or logs; the clock is passed in.

Graph publishes no limits for this service, so they are learned from its refusals (429 and 503). A
refusal says how long to wait, and nothing else. The limit may be a rate, a bucket that fills while
we wait, a window, or a number of calls at once. All calls obey every wait.

A *cycle* runs from one refusal to the next; the first begins with the first call. The limit lies
between two numbers that each cycle measures:

    goodput        requests accepted in the cycle per second, the wait included: the limit itself
                   if Graph saves for us what it grants during the wait
    refused pace   the pace at which the refused call was sent: the limit itself if Graph saves
                   nothing

After each refusal the pace starts at a rate between the two, stays there for a *hold*, then doubles
every hold until the next refusal. A hold is twice as long as the last rate went well, so an unknown
limit is found in seconds, and a known one is seldom tested.

The limiter first believes that Graph saves: the rate is the goodput, and the wait earns *savings*,
a burst that is sent after it. It stops believing when Graph refuses the burst, or a pace of twice
the goodput. Then the rate lies nearer to the refused pace, there is no burst, and calls get smaller
while they do not pass whole.

Calls that were under way when Graph refused one only extend the wait. The numbers behind each
constant come from the simulation in benchmarks/limits.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

SHORTEST_WAIT = 1.0  # seconds, since Retry-After counts whole seconds
LONGEST_BACKOFF = 30.0  # seconds, for a wait without Retry-After
FIRST_RATE = 20.0  # requests a second, when nothing was accepted before the first refusal
SHORTEST_HOLD = 0.1  # seconds, the quickest doubling while nothing is known
LONGER = 2.0  # times as long as the last rate went well is the next hold
LONGEST_HOLD = 30.0  # waits, so that probing costs at most a thirtieth of the time
MARGIN = 0.98  # of a rate: at the exact limit chance alone brings a refusal
SAVED = 0.9  # of the goodput during the wait, as slack in the burst
TOO_FAST = 2.0  # times the goodput cannot be the refused pace if Graph saves
TOWARDS_REFUSED = 0.7  # of the way, in ratio, from the goodput to the refused pace
RESOLUTION = 1e-6  # seconds: shorter times are none


@dataclass(frozen=True, slots=True)
class Sent:
    """A call that was begun: when, and at how many requests a second.

    `in_burst`: it belongs to the savings that are sent after a wait.
    """

    at: float
    pace: float
    in_burst: bool


class RateLimiter:
    """The limits of one identity. One thread decides; any may ask for `retry_after_left()`.

    `calls` is how many calls may run at once, `size` how many requests one call may hold.
    """

    def __init__(self, max_calls: int, max_size: int, clock: Callable[[], float]) -> None:
        """Start with one call at a time, of `max_size` requests, at any pace."""
        self.max_calls = max_calls
        self.calls = 1
        self._clock = clock
        self._max_size = self._size = max_size
        self._answer_seconds = SHORTEST_HOLD  # of the last call
        self._resume_at = -math.inf  # the end of the wait
        self._backoff = SHORTEST_WAIT / 2  # the last wait without Retry-After
        # the cycle
        self._cycles = 0  # that have ended
        self._began_at = math.inf
        self._accepted = 0  # requests
        self._refused_at = -math.inf  # what was sent by then is of the cycle before
        # what is learned
        self._saves = True
        self._low = self._high = math.inf  # goodput and refused pace, in requests a second
        self._rate = math.inf  # requests a second
        self._hold = 0.0  # seconds
        # what may be sent
        self._savings = 0.0  # requests in the burst after the wait
        self._since_wait = 0  # requests sent
        self._level = 0.0  # requests that may be sent at once
        self._level_at = -math.inf

    @property
    def size(self) -> int:
        """Return how many requests the next call may hold: enough for the pace in any case."""
        needed = 2 * self._pace() * self._ramp() / self.max_calls
        return self._max_size if needed >= self._max_size else max(self._size, math.ceil(needed))

    def retry_after_left(self) -> float:
        """Return the seconds until anything may be sent."""
        return max(0.0, self._resume_at - self._clock())

    def pause(self, seconds: float) -> None:
        """Send nothing for this long, for another reason than a refusal."""
        self._resume_at = max(self._resume_at, self._clock() + seconds)

    def wait(self, requests: int) -> float:
        """Return 0 if one call of so many requests may be sent now, else when to ask again."""
        if left := self.retry_after_left():
            return left
        now, pace = self._clock(), self._pace()
        if pace == math.inf:
            return 0.0
        passed = now - max(self._level_at, self._resume_at)
        self._level = min(self._level + pace * passed, self._max_size + self._savings)
        self._level_at = now
        seconds = (requests - self._level) / pace
        return min(seconds, self._hold / 4) if seconds > RESOLUTION else 0.0  # the pace grows

    def sent(self, requests: int) -> Sent:
        """Count a call that is being sent. Pass the result on with its answer."""
        now = self._clock()
        self._began_at = min(self._began_at, now)
        in_burst = self._since_wait < self._savings
        self._since_wait += requests
        self._level -= requests
        return Sent(now, self._pace(), in_burst)

    def accepted(self, sent: Sent, accepted_count: int) -> None:
        """Count a call of which nothing was refused: one more may run at once."""
        self._count(sent, accepted_count)
        self.calls = min(self.calls + 1, self.max_calls)

    def refused(self, sent: Sent, accepted_count: int, retry_after: float | None) -> None:
        """Have all calls wait, and learn from a call of which `accepted_count` were accepted.

        Without `retry_after` (None or 0) the wait is a second, and doubles while nothing at all is
        accepted in between.
        """
        self._count(sent, accepted_count)
        now = self._clock()
        is_new = sent.at > self._refused_at
        if is_new and not retry_after:
            longer = min(2 * self._backoff, LONGEST_BACKOFF)
            self._backoff = SHORTEST_WAIT if self._accepted else longer
        seconds = max(retry_after or self._backoff, SHORTEST_WAIT)
        if is_new:
            self._end_cycle(sent, accepted_count, seconds)
        self._resume_at = max(self._resume_at, now + seconds)
        waiting = self._resume_at - self._began_at
        self._savings = SAVED * self._low * waiting if self._saves else 0.0
        self._since_wait = 0
        self._level = max(self._savings, self.size)  # Graph said when to send the next call

    def _count(self, sent: Sent, accepted_count: int) -> None:
        self._accepted += accepted_count
        self._answer_seconds = self._clock() - sent.at

    def _end_cycle(self, sent: Sent, accepted_count: int, seconds: float) -> None:
        """Learn from a refusal that asks to wait for so many seconds."""
        now = self._clock()
        waited = max(0.0, self._resume_at - self._began_at)
        active = max(now - self._began_at - waited, RESOLUTION)
        self._cycles += 1
        if self._cycles == 1:
            self._low = self._high = self._accepted / (active + seconds) or FIRST_RATE
            self._hold = self._ramp()
        elif self._saves and sent.in_burst:
            self._saves = False  # what the cycle before measured stands
        elif self._accepted:
            self._low = self._accepted / (waited + active)
            self._high = max(sent.pace, self._low)
            if self._high >= TOO_FAST * self._low and self._cycles > 2:  # the second one probed
                self._saves = False
            well = max(active, self._hold) if active > waited else active
            self._hold = max(self._ramp(), min(LONGER * well, LONGEST_HOLD * seconds))
        part = 0.0 if self._saves else TOWARDS_REFUSED
        self._rate = MARGIN * self._low * (self._high / self._low) ** part
        if not self._saves and (accepted_count or not self._accepted):
            self._size = max(1, self._size // 2)
        self.calls = 1
        self._began_at = self._refused_at = now
        self._accepted = 0

    def _pace(self) -> float:
        """Return the requests a second that may be sent now."""
        if self._rate == math.inf:
            return math.inf
        held = (self._clock() - self._resume_at) / self._hold
        fastest = self.max_calls * self._max_size / max(self._answer_seconds, RESOLUTION)
        doublings = min(max(0.0, held - 1), 50.0)  # more would overflow
        return max(self._rate, min(self._rate * 2**doublings, fastest))

    def _ramp(self) -> float:
        """Return the shortest time in which the effect of a pace is seen."""
        return max(SHORTEST_HOLD, self._answer_seconds)
