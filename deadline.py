"""A deadline: the point in time that no wait of a call may pass.

Not for: how long which wait may be; that is said where it is waited. session.py makes the network
keep to one.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Deadline:
    """A point in time, by a clock that only goes forward."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Set it `seconds` from now."""
        self._clock = clock
        self._end = clock() + seconds

    def left(self) -> float:
        """Return the seconds left, at least 0."""
        return max(0.0, self._end - self._clock())

    def within(self, seconds: float) -> Deadline:
        """Return a deadline that ends in so many seconds, or with this one if that is earlier."""
        return Deadline(min(seconds, self.left()), self._clock)
