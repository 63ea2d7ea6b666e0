"""plan.py: which failed requests are due, and in which order."""

from datetime import UTC, datetime, timedelta

import pytest

from attempts import Attempt
from graph import Request
from reprocess_timer.plan import (
    NOTED,
    Candidate,
    First,
    Planner,
    Standing,
    cooldown,
    judge,
    next_attempt,
)
from settings import load

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
SETTINGS = load({})


def plan(requests, attempts, settings, now):
    planner = Planner(attempts, settings, now)
    for request in requests:
        planner.add(request)
    return planner.plan()


def failed(number=0, age=timedelta(hours=2), kind="userAdd", state="deliveryFailed"):
    return Request(f"{number:08x}-0000-4000-8000-000000000000", state, kind, NOW - age)


@pytest.mark.parametrize(
    ("request_", "count", "ago", "standing"),
    [
        (failed(), 0, None, Standing.DUE),
        (failed(state="PartiallyDelivered"), 0, None, Standing.DUE),
        (failed(age=timedelta(minutes=14)), 0, None, Standing.COOLING),
        (failed(age=timedelta(minutes=15)), 0, None, Standing.DUE),
        (failed(age=timedelta(days=14)), 0, None, Standing.DUE),
        (failed(age=timedelta(days=14, seconds=1)), 0, None, Standing.EXPIRED),
        (failed(), 1, timedelta(minutes=59), Standing.COOLING),
        (failed(), 1, timedelta(minutes=60), Standing.DUE),
        (failed(), 2, timedelta(minutes=119), Standing.COOLING),
        (failed(), 19, timedelta(minutes=1440), Standing.DUE),
        (failed(), 20, timedelta(days=3), Standing.EXHAUSTED),
        (failed(), 0, timedelta(minutes=59), Standing.COOLING),  # Graph denied it
        (failed(), 0, timedelta(minutes=60), Standing.DUE),
        (failed(age=-timedelta(days=1)), 0, None, Standing.COOLING),  # by a clock that is ahead
        (failed(age=-timedelta(days=1, seconds=1)), 0, None, Standing.DUE),  # no clock is so far
        (failed(age=-timedelta(days=9)), 1, timedelta(minutes=59), Standing.COOLING),
        (failed(age=-timedelta(days=9)), 1, timedelta(minutes=60), Standing.DUE),
        (failed(state="delivering"), 0, None, Standing.EXCLUDED),
        (Request("not-a-guid", "deliveryFailed", "userAdd", NOW), 0, None, Standing.EXCLUDED),
    ],
)
def test_each_failed_request_stands_somewhere(request_, count, ago, standing):
    """The edges of window, least age, cool-down and attempts."""
    attempt = Attempt(request_.id, count, NOW - ago) if ago else Attempt(request_.id)

    assert standing is judge(Candidate(request_, attempt), SETTINGS, NOW)


def test_standings_are_told_by_these_words():
    """In lists, reports and notices."""
    assert ["due", "cooling", "exhausted", "expired", "excluded"] == list(Standing)


def test_removals_come_first_then_least_time_left():
    """Somebody who keeps access that was taken away goes before everybody."""
    requests = [
        failed(1, timedelta(days=1)),
        failed(2, timedelta(days=13)),
        failed(3, timedelta(hours=3), "adminRemove"),
        failed(4, timedelta(days=5), "SystemRemove"),
    ]

    planned = plan(requests, {}, SETTINGS, NOW)

    assert [4, 3, 2, 1] == [int(due.request.id[:8], 16) for due in planned.due]


def test_no_more_than_sweep_max_requests_are_taken_the_most_urgent_ones():
    """What is over the limit is still counted as due."""
    planned = plan(
        [failed(n, timedelta(hours=n)) for n in range(1, 6)],
        {},
        load({"SWEEP_MAX_REQUESTS": "2"}),
        NOW,
    )

    assert ([5, 4], 5) == ([int(d.request.id[:8], 16) for d in planned.due], planned.counts["due"])


def test_a_cool_down_doubles_up_to_its_limit_with_a_stable_spread():
    """The spread only adds, and is the same each time for the same request."""
    ids = ["00000000-0000-4000-8000-000000000000", "ffffffff-0000-4000-8000-000000000000"]

    minutes = [
        [cooldown(Attempt(i, n), SETTINGS) / timedelta(minutes=1) for n in (1, 2, 5, 9, 99)]
        for i in ids
    ]

    assert [[60, 120, 960, 1440, 1440], [72, 144, 1152, 1728, 1728]] == minutes


def test_the_spread_of_what_is_no_guid_is_none():
    """Its first characters are no number."""
    assert timedelta(minutes=60) == cooldown(Attempt("not-a-guid", 1), SETTINGS)


def test_a_request_listed_twice_is_tried_once():
    """Pages may repeat what moved between two reads."""
    assert 1 == len(plan([failed(), failed()], {}, SETTINGS, NOW).due)


def test_a_plan_knows_of_each_the_failure_that_was_tried_first():
    """From the attempts where there are any; else it is the one that is listed."""
    fresh, again = failed(1), failed(2)
    first = Attempt(again.id, 1, NOW - timedelta(days=1), NOW - timedelta(days=2))

    planned = plan([fresh, again], {again.id: first}, SETTINGS, NOW)

    assert [
        Candidate(fresh, Attempt(fresh.id, failed=fresh.completed_at)),
        Candidate(again, first),
    ] == planned.due
    assert {fresh.id, again.id} == planned.listed_ids


@pytest.mark.parametrize(
    ("tried", "due"),
    [
        (timedelta(days=13), timedelta(days=14) - timedelta(hours=1)),  # not after the window
        (timedelta(days=13, hours=22, minutes=50), timedelta(days=13, hours=23, minutes=50)),
        (timedelta(days=13, hours=23), timedelta(days=14, hours=23)),  # that was the last call
        (timedelta(days=2), timedelta(days=3)),
    ],
)
def test_a_long_cool_down_does_not_let_the_window_pass(tried, due):
    """One last call, an hour before the window of the first failure closes; never sooner than that."""
    first = NOW - timedelta(days=30)
    request = Request("00000000-0000-4000-8000-000000000000", "deliveryFailed", "userAdd", NOW)
    attempt = Attempt(request.id, 6, first + tried, failed=first)

    assert first + due == next_attempt(Candidate(request, attempt), SETTINGS)


def test_a_deferred_request_waits_for_nothing_while_its_window_is_open():
    """A caller was promised the next sweep, also for a request whose attempts are used up."""
    fresh, tried, late = failed(age=timedelta(minutes=1)), failed(), failed(age=timedelta(days=15))

    standings = [
        judge(Candidate(fresh, Attempt(fresh.id, deferred=True)), SETTINGS, NOW),
        judge(Candidate(tried, Attempt(tried.id, 2, NOW, deferred=True)), SETTINGS, NOW),
        judge(Candidate(tried, Attempt(tried.id, 20, NOW, deferred=True)), SETTINGS, NOW),
        judge(Candidate(late, Attempt(late.id, deferred=True)), SETTINGS, NOW),
    ]

    assert [Standing.DUE, Standing.DUE, Standing.DUE, Standing.EXPIRED] == standings


def test_what_was_promised_comes_first():
    """Before removals and before those with less time left."""
    requests = [failed(1, timedelta(days=13)), failed(2, kind="adminRemove"), failed(3)]
    attempts = {requests[2].id: Attempt(requests[2].id, 1, NOW, deferred=True)}

    planned = plan(requests, attempts, SETTINGS, NOW)

    assert [3, 2, 1] == [int(due.request.id[:8], 16) for due in planned.due]


def test_requests_that_need_a_person_are_noted():
    """Attempts used up, window closed, window closing within 48 hours; the counts have them all."""
    ages = {1: 15, 2: 1, 3: 12.5, 4: 13}
    requests = [failed(n, timedelta(days=days)) for n, days in ages.items()]
    attempts = {requests[n].id: Attempt(requests[n].id, 20, NOW) for n in (1, 3)}

    planned = plan(requests, attempts, SETTINGS, NOW)

    assert {"exhausted": [2, 4], "expired": [1], "expiring": [3, 4]} == {
        reason: [int(one.candidate.request.id[:8], 16) for one in noted]
        for reason, noted in planned.noted.items()
    }
    assert (1, 1, 2, 2) == (
        planned.counts["due"],
        planned.counts["expired"],
        planned.counts["exhausted"],
        planned.expiring,
    )


def test_a_window_is_closing_from_48_hours_before_its_end():
    """At the very moment it is not yet."""
    request = failed()
    begins = request.completed_at + timedelta(days=12)

    assert [0, 1] == [
        plan([request], {}, SETTINGS, now).expiring
        for now in (begins, begins + timedelta(microseconds=1))
    ]


def test_the_newest_of_those_that_need_a_person_come_first():
    """Exhausted since the last attempt, else since the failure; what has no time is oldest."""
    ages = {1: (3, 2), 2: (2, 3), 3: (15, 1), 4: (16, 1)}
    requests = [failed(n, timedelta(days=days)) for n, (days, _) in ages.items()]
    attempts = {
        one.id: Attempt(one.id, 20, NOW - timedelta(days=ago))
        for one, (_, ago) in zip(requests, ages.values(), strict=True)
    }
    timeless = Request("00000005-0000-4000-8000-000000000000", "deliveryFailed", "userAdd", None)
    attempts[timeless.id] = Attempt(timeless.id, 20)

    planned = plan([*requests, timeless], attempts, SETTINGS, NOW)

    assert {"exhausted": [1, 2, 5], "expired": [3, 4], "expiring": []} == {
        reason: [int(one.candidate.request.id[:8], 16) for one in noted]
        for reason, noted in planned.noted.items()
    }


def test_no_more_are_noted_than_can_be_told_and_the_newest_ones():
    """However many old ones there are, a new one is told."""
    ages = [timedelta(days=15, minutes=n * 7 % 2003) for n in range(2003)]
    planned = plan([failed(n, age) for n, age in enumerate(ages)], {}, SETTINGS, NOW)

    told = [NOW - one.candidate.request.completed_at for one in planned.noted["expired"]]
    assert (sorted(ages)[:NOTED], 2003) == (told, planned.counts["expired"])
    assert planned.untold == planned.noted["expired"]


def test_of_what_was_told_nobody_is_told_again():
    """By reason: the same request may be told of another one later."""
    exhausted, expiring = failed(1, timedelta(days=13)), failed(2, timedelta(days=13))
    attempts = {
        one.id: Attempt(one.id, count, NOW, told=frozenset({"exhausted", "expiring"} - {left}))
        for one, count, left in ((exhausted, 20, "expiring"), (expiring, 1, "exhausted"))
    }

    planned = plan([exhausted, expiring], attempts, SETTINGS, NOW)

    assert [("expiring", exhausted.id)] == [
        (one.reason, one.candidate.request.id) for one in planned.untold
    ]


def test_without_a_time_of_completion_nothing_expires():
    """Graph decides; the cool-down counts from the last attempt."""
    unknown = Request("00000000-0000-4000-8000-000000000000", "deliveryFailed", "userAdd", None)
    tried = Attempt(unknown.id, 1, NOW - timedelta(minutes=30))

    standings = [
        judge(Candidate(unknown, attempt), SETTINGS, NOW)
        for attempt in (Attempt(unknown.id), tried)
    ]

    assert [Standing.DUE, Standing.COOLING] == standings


def test_all_are_planned_in_the_memory_of_the_most_urgent():
    """However many are listed, twice SWEEP_MAX_REQUESTS of them are kept at most."""
    ages = [timedelta(hours=n % 300) for n in range(1, 2000)]
    requests = [failed(n, age) for n, age in enumerate(ages)]
    few = load({"SWEEP_MAX_REQUESTS": "7"})

    planned = plan(requests, {}, few, NOW)

    oldest = sorted(requests, key=lambda one: (one.completed_at, one.id))[:7]
    assert [one.id for one in oldest] == [due.request.id for due in planned.due]


def test_what_is_added_is_sorted_out_when_it_is_twice_as_much_as_is_kept():
    """So that the memory has an end, and sorting is rare."""
    first, sizes = First(3, lambda one: one), []

    for one in (5, 4, 9, 1, 8, 2, 7, 3, 6):
        first.add(one)
        sizes.append(len(first._kept))

    assert ([1, 2, 3, 4, 5, 3, 4, 5, 3], [1, 2, 3]) == (sizes, first.sorted())
