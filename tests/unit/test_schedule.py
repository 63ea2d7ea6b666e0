"""schedule.py: which schedules are taken, when they fire, and what is said of the others."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from schedule import FORM, Schedule, next_sweep_at

TABLE = Path(__file__).parents[1] / "data/host/schedules.tsv"
ROWS = [
    line.split("\t")
    for line in TABLE.read_text(encoding="utf-8").splitlines()
    if not line.startswith("#")
]
AT = datetime(2026, 11, 28, 10, 7, 30, tzinfo=UTC)  # when the host was asked for the next times


def error(text):
    """Return what is said of a schedule: what it should be."""
    with pytest.raises(ValueError) as caught:
        Schedule.parse(text)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "times"), [(row[0], row[2].split()) for row in ROWS if row[3] == "accept"]
)
def test_a_schedule_fires_when_the_host_fires_it(text, times):
    """The host's own parser was asked for its next four times."""
    schedule, found = Schedule.parse(text), [AT]
    for _ in times:
        found.append(schedule.next_after(found[-1]))

    assert [datetime.fromisoformat(one) for one in times] == found[1:]


@pytest.mark.parametrize(
    ("text", "reason"),
    [(row[0], row[3].removeprefix("refuse: ")) for row in ROWS if row[3] != "accept"],
)
def test_a_schedule_that_is_hardly_meant_is_refused(text, reason):
    """Also where the host would run it; what is said fits the reason in the table.

    [seen: azure-functions-host#10581; the host's own parser, run]
    """
    said = error(text)
    fitting = {
        "never fires": "this one never fires",
        "more than one second": "again within a minute",
        "a name of fewer than three letters": "the beginnings of names, three letters or more",
        "a range that runs backwards": "ranges that run forwards",
        "a step": "steps from 1 to ",
        "an interval": FORM,
        "the host cannot read it": "",  # see below
    }

    assert [True] == [words in said for begin, words in fitting.items() if reason.startswith(begin)]


@pytest.mark.parametrize(("text", "should_be"), [
    ("0 0 22-6 * * *", "written with ranges that run forwards, as 22-23,0-6: the host reads 22-6 as 6-22"),
    ("0 20-10/5 * * * *", "written with ranges that run forwards, as 20-59/5,0-10/5: the host reads 20-10 as 10-20"),
    ("0 0 7 * * FRI-MON", "written with ranges that run forwards, as 5-6,0-1: the host reads FRI-MON as MON-FRI"),
    ("0 */90 * * * *", "written with steps from 1 to 60: the host reads */90 as */60"),
    ("0 0 0 1-9/0 * *", "written with steps from 1 to 31: the host reads 1-9/0 as 1-9/1"),
    ("0 0 7 * * Weds", "written with the beginnings of names, three letters or more, as sun or sunday: Weds is none"),
    ("0 0 7 * Ma *", "written with the beginnings of names, three letters or more, as jan or january: Ma is none"),
    ("* */15 * * * *", "an expression with one number as its second, as 0 */15 * * * *: several would start sweeps again and again within a minute"),
    ("0 0 0 31 2,4 *", "an expression with a day that its months have: this one never fires"),
    *((one, FORM) for one in ("", "hourly", "0 0\n0 1 1 0", "0 1-70 * * * *", "0 0 7 * 13 *", "0 9999999999 * * * *", "0 0 0 L * *")),
])  # fmt: skip
def test_what_would_be_right_is_said(text, should_be):
    """To be read after "should be"."""
    assert should_be == error(text)


def test_the_next_time_is_later_and_in_utc_whatever_zone_is_asked_in():
    """The host knows no other zone, and the timer fires at a time of the schedule."""
    schedule, noon = Schedule.parse("0 0 12 * * *"), datetime(2026, 11, 28, 12, tzinfo=UTC)
    before = (noon - timedelta(hours=1)).astimezone(timezone(timedelta(hours=14)))  # the 29th there

    assert (noon, UTC) == (schedule.next_after(before), schedule.next_after(before).tzinfo)
    assert noon + timedelta(days=1) == schedule.next_after(noon)


def test_the_next_sweep_of_a_wrong_schedule_is_not_known():
    """The log line leaves it out."""
    assert (datetime(2026, 11, 28, 10, 15, tzinfo=UTC), None) == (
        next_sweep_at("*/15 * * * *", AT),
        next_sweep_at("hourly", AT),
    )
