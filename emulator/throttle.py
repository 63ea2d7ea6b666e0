"""What happens to a call that a limit does not let pass: the switch `throttle`.

Graph publishes no limits for this service; this one is a token bucket by the tenant's clock:

    perSecond, burst, level   up to `burst` calls at once (perSecond, rounded up), full at first or
                              at `level`; `perSecond` come back; a refused call takes none
    retryAfter                `int`, `decimal` or `date`, never too early; or `none`

Each item of a $batch counts, and is refused, by itself
(https://learn.microsoft.com/graph/throttling#throttling-and-batching).
Not for: other kinds of limit, which benchmarks/limits.py simulates; one request that is always
refused, which is a fault with `requestId` and `times` -1.
"""

from __future__ import annotations

import math
from datetime import timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING

from emulator.checks import ABOVE_0, COUNT, Json, Wrong, checked, one_of

if TYPE_CHECKING:
    from datetime import datetime

CHECKS = {
    "perSecond": ABOVE_0,
    "burst": COUNT,
    "level": COUNT,
    "retryAfter": one_of("int", "decimal", "date", "none"),
}
ALMOST = 1e-9  # of a call, that rounding may take away


class Throttle:
    """A limit in force. Raises Wrong when it is made of what it cannot be."""

    def __init__(self, given: Json, now: datetime) -> None:
        if "perSecond" not in checked(given, CHECKS, "throttle"):
            raise Wrong("throttle needs perSecond")
        self.per_second: float = given["perSecond"]
        self.capacity: int = max(1, given.get("burst", math.ceil(self.per_second)))
        self.level: float = given.get("level", self.capacity)
        self.form: str = given.get("retryAfter", "int")
        self.at = now

    def refuses(self, now: datetime) -> dict[str, str] | None:
        """Count a call, or return the headers that it is refused with."""
        refill = (now - self.at).total_seconds() * self.per_second
        self.level, self.at = min(self.capacity, self.level + refill), now
        if self.level >= 1 - ALMOST:
            self.level -= 1
            return None
        return self._told((1 - self.level) / self.per_second, now)

    def _told(self, seconds: float, now: datetime) -> dict[str, str]:
        whole = max(1, math.ceil(seconds - ALMOST))
        # Whole seconds of the clock: one more, so that the cut-off fraction of now is not lost.
        date = now.replace(microsecond=0) + timedelta(seconds=whole + 1)
        forms = {
            "int": str(whole),
            "decimal": f"{math.ceil(seconds * 1000 + 1e-6) / 1000:.3f}",
            "date": format_datetime(date, usegmt=True),
        }
        return {"Retry-After": forms[self.form]} if self.form in forms else {}
