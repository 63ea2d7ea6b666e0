"""Sweep schedules: NCRONTAB expressions as the Functions host reads them, in UTC.

Not for: when a request is due (planning/).

The host runs what it can read, also where that is hardly what was meant: it swaps the ends of a
range that runs backwards, and takes any beginning of a name. Such expressions are refused here.
https://github.com/atifaziz/NCrontab/wiki/Crontab-Expression
"""

from __future__ import annotations

import itertools
import re
from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta

FORM = (
    "an NCRONTAB expression of six fields (second, minute, hour, day, month, day of the week), as "
    "0 */15 * * * *"
)
_VALUE = "[0-9]{1,9}|[A-Za-z]{1,20}"
_PART = re.compile(rf"(?:\*|({_VALUE})(?:-({_VALUE}))?)(?:/([0-9]{{1,9}}))?")


@dataclass(frozen=True, slots=True)
class _Field:
    """What one field may be: numbers from `least` to `most`, or names in their place."""

    least: int
    most: int
    names: tuple[str, ...] = ()

    def parse(self, text: str) -> tuple[int, ...]:
        """Return the values that a field stands for, ascending. Raises ValueError."""
        return tuple(sorted({value for part in text.split(",") for value in self._part(part)}))

    def _part(self, text: str) -> range:
        """Return the values of one item of a list: `*`, a value or a range, with a step or not."""
        found = _PART.fullmatch(text)
        if not found:
            raise ValueError(FORM)
        first_text, last_text, step_text = found.groups()
        first = self._value(first_text) if first_text else self.least
        last = self._value(last_text) if last_text else self.most
        if first_text and not last_text and not step_text:
            last = first
        if first > last:
            step = f"/{step_text}" if step_text else ""
            raise ValueError(
                f"written with ranges that run forwards, as {first}-{self.most}{step},"
                f"{self.least}-{last}{step}: the host reads {first_text}-{last_text} as "
                f"{last_text}-{first_text}"
            )
        return range(first, last + 1, self._step(text, step_text) if step_text else 1)

    def _value(self, text: str) -> int:
        if text.isdecimal() and self.least <= int(text) <= self.most:
            return int(text)
        if text.isdecimal() or not self.names:
            raise ValueError(FORM)
        for value, name in enumerate(self.names, self.least):
            if len(text) >= 3 and name.startswith(text.lower()):
                return value
        raise ValueError(
            f"written with the beginnings of names, three letters or more, as {self.names[0][:3]} "
            f"or {self.names[0]}: {text} is none"
        )

    def _step(self, text: str, step_text: str) -> int:
        most = self.most - self.least + 1
        step = int(step_text)
        if 1 <= step <= most:
            return step
        read_as = text.replace(f"/{step_text}", f"/{max(1, min(step, most))}")
        raise ValueError(f"written with steps from 1 to {most}: the host reads {text} as {read_as}")


_SECOND, _MINUTE, _HOUR, _DAY = _Field(0, 59), _Field(0, 59), _Field(0, 23), _Field(1, 31)
_MONTHS = "january february march april may june july august september october november december"
_DAYS = "sunday monday tuesday wednesday thursday friday saturday"
_MONTH, _WEEKDAY = _Field(1, 12, tuple(_MONTHS.split())), _Field(0, 6, tuple(_DAYS.split()))


@dataclass(frozen=True, slots=True)
class Schedule:
    """When sweeps start: at these times of day, on the days that fit all of the other fields.

    Unlike cron, the day of the month *and* the day of the week must fit. `weekdays`: 0 is Sunday.
    """

    times: tuple[time, ...]
    days: tuple[int, ...]
    months: tuple[int, ...]
    weekdays: tuple[int, ...]

    @staticmethod
    def parse(text: str) -> Schedule:
        """Read an expression of six fields, or of five without the seconds.

        Raises ValueError with what would be right, to be read after "should be".
        """
        fields = [field for field in text.split(" ") if field]
        if len(fields) == 5:
            fields = ["0", *fields]
        if len(fields) != 6:
            raise ValueError(FORM)
        kinds = (_SECOND, _MINUTE, _HOUR, _DAY, _MONTH, _WEEKDAY)
        values = [kind.parse(field) for kind, field in zip(kinds, fields, strict=True)]
        seconds, minutes, hours, days, months, weekdays = values
        if not fields[0].isdecimal():
            raise ValueError(
                "an expression with one number as its second, as 0 */15 * * * *: several would "
                "start sweeps again and again within a minute"
            )
        # 2000 is a leap year.
        if min(days) > max(monthrange(2000, month)[1] for month in months):
            raise ValueError("an expression with a day that its months have: this one never fires")
        times = tuple(time(h, m, seconds[0], tzinfo=UTC) for h in hours for m in minutes)
        return Schedule(times, days, months, weekdays)

    def next_after(self, at: datetime) -> datetime:
        """Return the first time of the schedule that is later than `at`, in UTC.

        There always is one: 29 February on one day of the week comes after 40 years at the latest.
        """
        at = at.astimezone(UTC)
        days = (at.date() + timedelta(days=n) for n in itertools.count())
        return next(
            moment
            for day in days
            if day.month in self.months and day.day in self.days
            if day.isoweekday() % 7 in self.weekdays
            for moment in (datetime.combine(day, one) for one in self.times)
            if moment > at
        )


def next_sweep_at(text: str, now: datetime) -> datetime | None:
    """Return when the sweep of this SWEEP_SCHEDULE starts next; None where it is a wrong one."""
    try:
        return Schedule.parse(text).next_after(now)
    except ValueError:
        return None
