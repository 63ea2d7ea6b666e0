"""The kinds of limit that a service may have: how many calls pass, and when the next one does.

Not for: what a refused call is answered (throttle.py). Times are seconds by the tenant's clock.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Protocol

ALMOST = 1e-9  # of a call, that rounding may take away


class Limit(Protocol):
    """Counts calls. `now` never goes back."""

    def wait(self, now: float, calls: int) -> float:
        """Return the seconds until so many calls pass: 0 when they do now. Counts nothing."""

    def take(self, now: float, calls: int) -> None:
        """Count calls, whether they fit or not."""


@dataclass(slots=True)
class Bucket:
    """A token bucket: up to `capacity` calls at once, `per_second` come back.

    It never owes more than its capacity. With `per_second` 0 nothing comes back; callers are told
    to wait 10 s.
    """

    per_second: float
    capacity: float
    level: float
    at: float

    def wait(self, now: float, calls: int) -> float:
        self._refill(now)
        lacks = calls - self.level
        if lacks <= ALMOST:
            return 0.0
        return lacks / self.per_second if self.per_second else 10.0

    def take(self, now: float, calls: int) -> None:
        self._refill(now)
        self.level = max(-self.capacity, self.level - calls)

    def _refill(self, now: float) -> None:
        passed = max(0.0, now - self.at)
        # A level above the capacity, as it may be set at the start, is used up, never refilled.
        self.level = max(self.level, min(self.capacity, self.level + passed * self.per_second))
        self.at = now


@dataclass(slots=True)
class Window:
    """So many `calls` in each window of `seconds`; the first begins when the limit is set."""

    calls: int
    seconds: float
    start: float
    used: int = 0

    def wait(self, now: float, calls: int) -> float:
        self._turn(now)
        return 0.0 if self.used + calls <= self.calls else self.start + self.seconds - now

    def take(self, now: float, calls: int) -> None:
        self._turn(now)
        self.used += calls

    def _turn(self, now: float) -> None:
        if now >= self.start + self.seconds:
            self.start += (now - self.start) // self.seconds * self.seconds
            self.used = 0


@dataclass(slots=True)
class Sliding:
    """So many `calls` in any `seconds`."""

    calls: int
    seconds: float
    taken: deque[tuple[float, int]] = field(default_factory=deque)
    used: int = 0

    def wait(self, now: float, calls: int) -> float:
        self._forget(now)
        free = self.calls - self.used
        if free >= calls:
            return 0.0
        for at, count in self.taken:
            free += count
            if free >= calls:
                return at + self.seconds - now
        return self.seconds  # more than ever pass

    def take(self, now: float, calls: int) -> None:
        self._forget(now)
        self.taken.append((now, calls))
        self.used += calls

    def _forget(self, now: float) -> None:
        while self.taken and self.taken[0][0] <= now - self.seconds:
            self.used -= self.taken.popleft()[1]


@dataclass(slots=True)
class AtOnce:
    """So many calls under way at a time, whatever they are."""

    most: int
    inside: int = 0

    def enter(self) -> bool:
        """Note that a call has begun; tell whether there was room for it."""
        if self.inside >= self.most:
            return False
        self.inside += 1
        return True

    def leave(self) -> None:
        """Note that a call that had room has ended."""
        self.inside -= 1
