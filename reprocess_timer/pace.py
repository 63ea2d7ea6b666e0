"""The pace of a sweep: how many calls at once, and how many requests a second, Graph lets us make.

Not for: what is sent (batches.py). Nothing here calls, waits or logs.

Graph publishes no limits for this service, so they are learned. When Graph throttles, everything
that it grants is used up at that moment. From one such moment to the next it has granted just what
it accepted: that is its rate. What it grants while we wait as told may be used at once afterwards.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

MARGIN = 0.98  # of the learned rate is used
CALM = 10.0  # seconds without throttling, after which more is tried, and over which is measured
GROWTH = 1.05  # a second, once it is calm
SHORTEST = 1.0  # seconds; `Retry-After` counts in whole ones, so less tells nothing of a rate


class Pace:
    """One identity is throttled as one, so all calls of a sweep share one pace."""

    def __init__(self, concurrency: int, clock: Callable[[], float]) -> None:
        """Begin with one call at a time, up to `concurrency`; the rate is not limited yet."""
        self.most = concurrency
        self.allowed = 1
        self.rate: float | None = None
        self.throttles = 0
        self._clock = clock
        self._resume_at = 0.0
        self._used_up_at = clock()
        self._granted = 0.0
        self._granted_at = clock()
        self._accepted: deque[tuple[float, int]] = deque()

    def told(self) -> float:
        """Return the seconds until Graph will hear us again."""
        return max(0.0, self._resume_at - self._clock())

    def wait(self, requests: int) -> float:
        """Return the seconds until this many requests may be sent."""
        if self.rate is None:
            return self.told()
        now = self._clock()
        grown = max(0.0, now - self._used_up_at - CALM)
        rate: float = self.rate * MARGIN * GROWTH ** min(grown, 600.0)
        self._granted += rate * (now - self._granted_at)
        self._granted_at = now
        return max(self.told(), (requests - self._granted) / rate, 0.0)

    def sent(self, requests: int) -> float:
        """Count what is being sent; return the time of it, for `throttled`."""
        self._granted -= requests
        return self._clock()

    def accepted(self, requests: int) -> None:
        """Count what Graph took; one more call at a time may be made."""
        self._accepted.append((self._clock(), requests))
        self.throttles = 0
        self.allowed = min(self.allowed + 1, self.most)

    def throttled(self, sent_at: float, accepted: int, seconds: float) -> None:
        """Have everybody wait; learn the rate, unless this was sent before it was last learned."""
        now = self._clock()
        self._accepted.append((now, accepted))
        self._resume_at = max(self._resume_at, now + seconds)
        if sent_at < self._used_up_at:
            return
        self.throttles += 1
        self.allowed = max(1, self.allowed // 2)
        start = max(self._used_up_at, now - CALM)
        taken = sum(count for at, count in self._accepted if at > start)
        if taken and now - start >= SHORTEST:
            self.rate = taken / (now - start)
        self._accepted.clear()
        self._used_up_at = self._granted_at = now
        self._granted = 0.0
