"""What happens to a call that a limit does not let pass, and which limit it is.

For: the switch `throttle`. Graph publishes no limits for this service, so it is a family:

    perSecond, burst, level   a token bucket of `burst` calls (perSecond, rounded up), full at first
                              or at `level`; burst 0: it never holds more than one
    calls, seconds            so many in each window of so many seconds
    sliding: true             in any so many seconds
    atOnce                    so many HTTP calls under way at a time; alone, or beside a limit
    refusalCosts: true        a refused call counts against the limit as well
    batch                     `items`: each item of a $batch counts, and is refused, by itself;
                              `whole`: all its items are refused when not all of them fit;
                              `outer`: then the $batch itself is refused; `one`: it counts as one
    other                     {"calls", "everySeconds"}: what another client takes, if it fits
    then                      {"afterSeconds", "throttle"}: the limit from then on
    status                    429 (or 503)
    retryAfter                `int`, `decimal` or `date`, never too early; or of no use: `none`,
                              `zero`, `past`, `negative`, `year`, `text`; or a number, said always

Not for: one request that is always refused, which is a fault with `requestId` and `times` -1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import Any

from emulator.checks import (
    AMOUNT,
    BOOL,
    COUNT,
    OBJECT,
    POSITIVE,
    Check,
    Json,
    Wrong,
    checked,
    is_number,
    one_of,
    optional,
)
from emulator.limits import AtOnce, Bucket, Limit, Sliding, Window

USELESS = {"zero": "0", "negative": "-5", "year": "31536000", "text": "soon"}
FORMS = ("int", "decimal", "date", "none", "past", *USELESS)
ABOVE_0 = Check("a number above 0", lambda value: is_number(value) and value > 0)
CHECKS = {
    "perSecond": AMOUNT,
    "burst": COUNT,
    "level": COUNT,
    "calls": POSITIVE,
    "seconds": ABOVE_0,
    "sliding": BOOL,
    "atOnce": POSITIVE,
    "refusalCosts": BOOL,
    "batch": one_of("items", "whole", "outer", "one"),
    "other": OBJECT,
    "then": OBJECT,
    "status": Check("429 or 503", lambda value: value in (429, 503)),
    "retryAfter": Check(
        "one of " + ", ".join(FORMS) + ", or a number", lambda v: v in FORMS or is_number(v)
    ),
}
OTHER_CHECKS = {"calls": POSITIVE, "everySeconds": ABOVE_0}
THEN_CHECKS = {"afterSeconds": AMOUNT, "throttle": optional(OBJECT)}
MOST_BURSTS = 10_000  # of the other client, made up for after a long pause


def checked_throttle(given: Json) -> Json:
    """Return a throttle that `Throttle` can be made of. Raises Wrong."""
    checked(given, CHECKS, "throttle")
    windowed = {"calls", "seconds"} <= given.keys()
    if not windowed and not {"perSecond", "atOnce"} & given.keys():
        raise Wrong("throttle needs perSecond, or calls and seconds, or atOnce")
    for name, checks in (("other", OTHER_CHECKS), ("then", THEN_CHECKS)):
        if (
            name in given
            and checked(given[name], checks, f"throttle.{name}").keys() < checks.keys()
        ):
            raise Wrong(f"throttle.{name} needs {' and '.join(checks)}")
    if given.get("then", {}).get("throttle") is not None:
        checked_throttle(given["then"]["throttle"])
    return given


@dataclass(slots=True, frozen=True)
class Refusal:
    """A call that may not pass: its status, and Retry-After if there is one."""

    status: int
    retry_after: str | None


class Throttle:
    """A limit in force, made of what `checked_throttle` returns."""

    def __init__(self, given: Json, now: datetime) -> None:
        self.given = given
        self.began = now
        self.limit = _limit(given)
        self.at_once = AtOnce(given["atOnce"]) if "atOnce" in given else None
        self.batch: str = given.get("batch", "items")
        self.bursts = 0

    def at(self, now: datetime) -> Throttle | None:
        """Return what is in force now: this, or what comes `then`."""
        then = self.given.get("then")
        if then is None or (now - self.began).total_seconds() < then["afterSeconds"]:
            return self
        start = self.began + timedelta(seconds=then["afterSeconds"])
        later = Throttle(then["throttle"], start) if then["throttle"] is not None else None
        return later and later.at(now)

    def judge(self, now: datetime, calls: int = 1, *, room: bool = True) -> Refusal | None:
        """Count calls that come together, or refuse them all.

        `room`: whether there was room for the HTTP call that they are in.
        """
        passed = (now - self.began).total_seconds()
        wait = 0.0 if room else 1.0  # nobody knows when there will be room
        if self.limit is not None:
            self._let_others_in(self.limit, passed)
            wait = wait or self.limit.wait(passed, calls)
            if not wait or self.given.get("refusalCosts"):
                self.limit.take(passed, calls)
            if wait and self.given.get("refusalCosts"):
                wait = max(wait, self.limit.wait(passed, calls))
        return Refusal(self.given.get("status", 429), self._told(wait, now)) if wait else None

    def _let_others_in(self, limit: Limit, passed: float) -> None:
        other = self.given.get("other")
        if other is None:
            return
        due = int(passed / other["everySeconds"])
        for number in range(max(self.bursts, due - MOST_BURSTS) + 1, due + 1):
            at = number * other["everySeconds"]
            if not limit.wait(at, other["calls"]):
                limit.take(at, other["calls"])
        self.bursts = max(self.bursts, due)

    def _told(self, seconds: float, now: datetime) -> str | None:
        form: Any = self.given.get("retryAfter", "int")
        if is_number(form):
            return str(form)
        if form == "decimal":
            return f"{math.ceil(seconds * 1000 + 1e-6) / 1000:.3f}"
        whole = max(1, math.ceil(seconds - 1e-9))
        if form in ("date", "past"):
            # Whole seconds of the clock: one more, so that the cut-off fraction of now is not lost.
            ahead = whole + 1 if form == "date" else -60
            when = now.replace(microsecond=0) + timedelta(seconds=ahead)
            return format_datetime(when, usegmt=True)
        return str(whole) if form == "int" else USELESS.get(form)


def _limit(given: Json) -> Limit | None:
    if "perSecond" in given:
        burst = given.get("burst", max(1, math.ceil(given["perSecond"])))
        level = float(given.get("level", burst))
        return Bucket(given["perSecond"], max(burst, 1), level, 0.0)
    if "calls" in given and given.get("sliding"):
        return Sliding(given["calls"], given["seconds"])
    return Window(given["calls"], given["seconds"], 0.0) if "calls" in given else None
