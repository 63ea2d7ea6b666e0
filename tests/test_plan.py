"""plan.py: which failed requests are due, and in which order."""

from datetime import UTC, datetime, timedelta

import pytest

from attempts import Attempt
from graph import Request
from reprocess_timer.plan import Standing, cooldown, judge, next_attempt, plan
from settings import load

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
SETTINGS = load({})


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
        (failed(), 9, timedelta(minutes=1440), Standing.DUE),
        (failed(), 10, timedelta(days=3), Standing.EXHAUSTED),
        (failed(state="delivering"), 0, None, Standing.EXCLUDED),
        (Request("not-a-guid", "deliveryFailed", "userAdd", NOW), 0, None, Standing.EXCLUDED),
    ],
)
def test_each_failed_request_stands_somewhere(request_, count, ago, standing):
    """The edges of window, least age, cool-down and attempts."""
    attempt = Attempt(request_.id, count, NOW - ago) if ago else Attempt(request_.id)

    assert standing is judge(request_, attempt, SETTINGS, NOW)


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


def test_a_request_listed_twice_is_tried_once():
    """Pages may repeat what moved between two reads."""
    assert 1 == len(plan([failed(), failed()], {}, SETTINGS, NOW).due)


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

    assert first + due == next_attempt(request, attempt, SETTINGS)


def test_a_deferred_request_waits_neither_for_its_least_age_nor_for_its_cool_down():
    """A caller was promised the next sweep; the limit of attempts still holds."""
    fresh, tried = failed(age=timedelta(minutes=1)), failed()

    standings = [
        judge(fresh, Attempt(fresh.id, deferred=True), SETTINGS, NOW),
        judge(tried, Attempt(tried.id, 2, NOW, deferred=True), SETTINGS, NOW),
        judge(tried, Attempt(tried.id, 10, NOW, deferred=True), SETTINGS, NOW),
    ]

    assert [Standing.DUE, Standing.DUE, Standing.EXHAUSTED] == standings
