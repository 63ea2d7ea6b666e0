"""planning/plan.py: which failed requests are due, when, and in which order."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from attempts import AttemptRecord, Outcome, as_known, blank
from graph import Request
from planning.plan import (
    MAX_ATTENTION,
    FailedRequest,
    Plan,
    PlanStatus,
    TopN,
    classify,
    cooldown,
    expires_at,
    next_attempt_at,
    window_ends_at,
)
from settings import load

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
SECOND, MINUTE, HOUR, DAY = (timedelta(seconds=n) for n in (1, 60, 3600, 86400))
WINDOW = 14 * DAY
SETTINGS = load({})
ACCEPTED, UNKNOWN, REFUSED = Outcome.ACCEPTED, Outcome.UNKNOWN, Outcome.REFUSED
DENIED, FAILED = Outcome.DENIED, Outcome.FAILED
DUE, COOLING, EXHAUSTED, EXPIRED, EXCLUDED = PlanStatus


def failed(number=0, age=2 * HOUR, kind="userAdd", state="deliveryFailed"):
    completed_at = NOW - age if age is not None else None
    return Request(f"{number:08x}-0000-4000-8000-000000000000", state, kind, completed_at)


def tried(request, count, ago, outcome=ACCEPTED, **more):
    """A record whose last attempt was that long ago, accepted a second later where it was."""
    at = NOW - ago
    accepted_at = at + SECOND if outcome is ACCEPTED else None
    record = AttemptRecord(
        request.id, "c", at, outcome, accepted_at, count, last_attempt_at=at, **more
    )
    return as_known(record, NOW)


def plan(requests, records=(), settings=SETTINGS, now=NOW):
    planned = Plan({one.request_id: one for one in records}, settings, now)
    for request in requests:
        planned.add(request)
    return planned


def status(request, record=None, now=NOW):
    return classify(FailedRequest.of(request, record), SETTINGS, now)


def numbers(failed_requests):
    return [int(one.request.id[:8], 16) for one in failed_requests]


# -- status --


@pytest.mark.parametrize(("request_", "expected"), [
    (failed(), DUE),
    (failed(state="PartiallyDelivered"), DUE),
    (failed(age=15 * MINUTE - SECOND), COOLING),  # the service itself still retries it
    (failed(age=15 * MINUTE), DUE),
    (failed(age=WINDOW), DUE),
    (failed(age=WINDOW + SECOND), EXPIRED),
    (failed(age=-DAY), COOLING),  # Graph's clock may be ahead of ours
    (failed(age=None), DUE),
    (failed(state="delivering"), EXCLUDED),
    (Request("not-a-guid", "deliveryFailed", "userAdd", NOW), EXCLUDED),
])  # fmt: skip
def test_a_request_that_was_never_tried(request_, expected):
    """Due at its least age, while its window is open."""
    assert expected is status(request_)


@pytest.mark.parametrize(("count", "ago", "outcome", "expected"), [
    (1, 59 * MINUTE, ACCEPTED, COOLING),
    (1, 60 * MINUTE, ACCEPTED, DUE),
    (19, DAY, REFUSED, DUE),
    (20, 3 * DAY, REFUSED, EXHAUSTED),
    (20, 39 * SECOND, Outcome.CLAIMED, COOLING),  # being sent now
    (19, 40 * SECOND, Outcome.CLAIMED, EXHAUSTED),  # an unknown attempt counts
])  # fmt: skip
def test_a_request_that_was_tried(count, ago, outcome, expected):
    """Due after its cool-down, until its attempts are used up."""
    assert expected is status(failed(), tried(failed(), count, ago, outcome))


def test_a_completed_request_that_is_listed_as_failed_is_active_again():
    assert DUE is status(failed(), tried(failed(), 1, HOUR, completed=True))


def test_a_request_without_a_time_of_failure_cools_down_as_others_do():
    assert COOLING is status(failed(age=None), tried(failed(), 1, 59 * MINUTE))


@pytest.mark.parametrize(("age", "record", "expected"), [
    (MINUTE, blank(""), DUE),
    (2 * HOUR, tried(failed(), 20, MINUTE, REFUSED), DUE),
    (WINDOW + SECOND, blank(""), EXPIRED),
    (2 * HOUR, tried(failed(), 1, 5 * MINUTE - SECOND), COOLING),
    (2 * HOUR, tried(failed(), 1, 5 * MINUTE), DUE),
    (2 * HOUR, tried(failed(), 20, 4 * MINUTE, UNKNOWN), COOLING),
    # an acceptance before the unknown attempt says nothing of it
    (2 * HOUR, replace(tried(failed(), 2, MINUTE, UNKNOWN), accepted_at=NOW - DAY), COOLING),
    # failed again since: not in the second of the acceptance, but in the next one
    (4 * MINUTE - 1.9 * SECOND, tried(failed(), 1, 4 * MINUTE), COOLING),
    (4 * MINUTE - 2 * SECOND, tried(failed(), 1, 4 * MINUTE), DUE),
    (4 * MINUTE - 0.9 * SECOND, tried(failed(), 1, 4 * MINUTE, UNKNOWN), COOLING),
    (4 * MINUTE - SECOND, tried(failed(), 1, 4 * MINUTE, UNKNOWN), DUE),
    (None, tried(failed(), 1, 4 * MINUTE), COOLING),
    (2 * HOUR, tried(failed(), 1, 39 * SECOND, Outcome.CLAIMED), COOLING),
])  # fmt: skip
def test_a_deferred_request_is_due_unless_a_caller_would_be_asked_to_wait(age, record, expected):
    """No cool-down and no limit of attempts; only a closed window ends it."""
    record = replace(record, request_id=failed().id, deferred_at=NOW - SECOND)

    assert expected is status(failed(age=age), record)


# -- the window --


@pytest.mark.parametrize(
    ("listed", "stored", "first"),
    [(3, None, 3), (3, 5, 5), (5, 3, 5), (None, 3, 3), (None, None, None)],
)
def test_the_first_failure_is_the_earliest_that_is_known(listed, stored, first):
    """The earliest end of the window counts from it, the latest end from the listed failure."""
    listed, stored, first = (n and NOW - n * DAY for n in (listed, stored, first))
    request = Request(failed().id, "deliveryFailed", "userAdd", listed)
    joined = FailedRequest.of(request, AttemptRecord(request.id, first_failed_at=stored))

    assert (first, first and first + WINDOW, listed and listed + WINDOW) == (
        joined.record.first_failed_at,
        window_ends_at(joined, SETTINGS),
        expires_at(joined, SETTINGS),
    )


@pytest.mark.parametrize("first", [NOW - WINDOW + 46 * HOUR, NOW - WINDOW - DAY])
def test_a_request_that_fails_anew_each_day_is_warned_of_early_and_given_up_late(first):
    """Whether a new failure moves the window is not published."""
    request = failed(age=HOUR)
    record = tried(request, 3, DAY, first_failed_at=first)

    assert (1, DUE) == (plan([request], [record]).expiring, status(request, record))


def test_what_is_due_has_a_record_to_claim_whether_it_was_tried_or_not():
    (one,) = plan([failed(7)]).due.sorted()

    assert (failed(7).id, "") == (one.record.request_id, one.record.etag)


@pytest.mark.parametrize(("later", "expiring"), [(0, 0), (1, 1)])
def test_a_window_is_expiring_from_48_hours_before_its_earliest_end(later, expiring):
    """At that very moment it is not yet."""
    begins = failed().completed_at + WINDOW - 48 * HOUR

    assert expiring == plan([failed()], now=begins + later * timedelta(microseconds=1)).expiring


# -- cool-downs --


@pytest.mark.parametrize(("request_id", "minutes"), [
    ("00000000-0000-4000-8000-000000000000", [60, 120, 960, 1440, 1440]),
    ("ffffffff-0000-4000-8000-000000000000", [72, 144, 1152, 1728, 1728]),
])  # fmt: skip
def test_a_cool_down_doubles_up_to_its_limit_and_is_spread_by_request_id(request_id, minutes):
    """Up to a fifth is added, always the same for a request."""
    records = [AttemptRecord(request_id, count=n) for n in (1, 2, 5, 9, 99)]

    assert minutes == [cooldown(one, SETTINGS) / MINUTE for one in records]


@pytest.mark.parametrize("outcome", [DENIED, FAILED])
def test_an_attempt_that_does_not_count_cools_down_like_the_first(outcome):
    """However many counted before."""
    assert HOUR == cooldown(tried(failed(), 6, HOUR, outcome), SETTINGS)


LAST_CALL = WINDOW - HOUR


@pytest.mark.parametrize(("at", "count", "outcome", "now", "expected"), [
    # by count
    (2 * DAY, 6, REFUSED, 2 * DAY, 3 * DAY),
    (13 * DAY, 6, REFUSED, 13 * DAY, LAST_CALL),
    (LAST_CALL - 10 * MINUTE, 6, ACCEPTED, LAST_CALL, LAST_CALL + 50 * MINUTE),
    (LAST_CALL, 6, UNKNOWN, LAST_CALL, LAST_CALL + DAY),  # that was the last call
    # like the first attempt
    (13 * DAY, 6, DENIED, 13 * DAY, 13 * DAY + HOUR),
    (LAST_CALL - 10 * MINUTE, 6, DENIED, LAST_CALL - MINUTE, LAST_CALL),
    (LAST_CALL + 10 * MINUTE, 6, FAILED, LAST_CALL + 11 * MINUTE, LAST_CALL),  # no cool-down
    (LAST_CALL + 10 * MINUTE, 6, FAILED, WINDOW, LAST_CALL),
    (WINDOW - MINUTE, 6, DENIED, WINDOW + SECOND, WINDOW + 59 * MINUTE),
    (WINDOW + DAY, 6, DENIED, WINDOW + DAY, WINDOW + DAY + HOUR),
])  # fmt: skip
def test_the_last_call(at, count, outcome, now, expected):
    """No cool-down lets the earliest end of the window pass without an attempt. Times since the first failure."""
    first = NOW - 30 * DAY
    times = {"last_attempt_at": first + at, "first_failed_at": first}
    record = AttemptRecord(failed().id, "c", first + at, outcome, None, count, **times)

    joined = FailedRequest.of(failed(), record)
    assert expected == next_attempt_at(joined, SETTINGS, first + now) - first


# -- the order --


def test_deferred_ones_come_first_then_removals_then_the_least_time_left():
    """Time left counts from the first failure; without a time it is the most."""
    kinds = [
        (DAY,),
        (13 * DAY,),
        (3 * HOUR, "adminRemove"),
        (5 * DAY, "SystemRemove"),
        (HOUR,),
        (None,),
        (2 * HOUR,),
    ]
    requests = [failed(n, *one) for n, one in enumerate(kinds)]
    again = tried(requests[6], 1, DAY, first_failed_at=NOW - 2 * DAY)
    records = [AttemptRecord(requests[4].id, deferred_at=NOW), again]

    assert [4, 3, 2, 1, 6, 0, 5] == numbers(plan(requests, records).due.sorted())


def test_the_most_urgent_sweep_max_requests_are_taken():
    """The others are still counted as due."""
    requests = [failed(n, n * HOUR % (13 * DAY) + HOUR) for n in range(2000)]
    planned = plan(requests, settings=load({"SWEEP_MAX_REQUESTS": "4"}))

    oldest = sorted(requests, key=lambda one: (one.completed_at, one.id))[:4]
    assert (oldest, 2000) == ([one.request for one in planned.due.sorted()], planned.counts[DUE])


def test_a_request_added_twice_changes_nothing():
    """Pages overlap where a request moved between two reads."""
    planned = plan([failed(), failed(), failed(1)])

    assert ([0, 1], 2) == (numbers(planned.due.sorted()), planned.counts[DUE])
    assert {failed().id, failed(1).id} == planned.listed_ids


def test_a_plan_knows_the_causes_of_all_failed_requests():
    requests = [replace(failed(n), access_package_id="p", requestor_id=str(n)) for n in range(3)]
    planned = plan(requests, settings=load({"SWEEP_MAX_REQUESTS": "1"}))

    (one,) = planned.due.sorted()
    assert "p" == planned.causes.of(one.request, one.record).text


# -- attention --


def test_the_newest_of_those_that_need_attention_come_first():
    """Exhausted since the last attempt, expired and expiring since the failure; the counts have all."""
    requests = [failed(n, days * DAY) for n, days in enumerate([3, 2, 16, 15, 13, 1, 12.5])]
    records = [
        *(tried(requests[n], 20, days * DAY) for n, days in ((0, 2), (1, 3), (3, 2), (6, 4))),
        tried(requests[5], 1, DAY, first_failed_at=NOW - 13.5 * DAY),
    ]
    planned = plan(requests, records)

    numbered = {
        reason: numbers(one.failed for one in kept.sorted())
        for reason, kept in planned.attention.items()
    }
    assert {"exhausted": [0, 1, 6], "expired": [3, 2], "expiring": [6, 4, 5]} == numbered
    assert (3, {DUE: 2, EXHAUSTED: 3, EXPIRED: 2}) == (planned.expiring, planned.counts)


def test_the_newest_thousand_for_each_reason_are_kept():
    """However many old ones there are, a new one is notified."""
    ages = [15 * DAY + MINUTE * (n * 7 % 2003) for n in range(2003)]
    planned = plan([failed(n, age) for n, age in enumerate(ages)])

    kept = [NOW - one.failed.request.completed_at for one in planned.attention["expired"].sorted()]
    assert (sorted(ages)[:MAX_ATTENTION], 2003) == (kept, planned.counts[EXPIRED])
    assert planned.to_notify.sorted() == planned.attention["expired"].sorted()


def test_what_was_notified_is_not_notified_again():
    """By reason: the same request may be notified for another one later."""
    requests = [failed(1, 13 * DAY), failed(2, 13 * DAY)]
    records = [
        tried(requests[0], 20, DAY, notified_reasons=frozenset({"exhausted"})),
        tried(requests[1], 1, DAY, notified_reasons=frozenset({"expiring"})),
    ]

    (one,) = plan(requests, records).to_notify.sorted()
    assert ("expiring", requests[0].id) == (one.reason, one.failed.request.id)


def test_top_n_holds_fewer_than_twice_as_many_as_it_keeps():
    """So that memory is bounded and sorting is rare."""
    top, sizes = TopN(3, lambda one: one), []

    for one in (5, 4, 9, 1, 8, 2, 7, 3, 6):
        top.add(one)
        sizes.append(len(top._items))

    assert ([1, 2, 3, 4, 5, 3, 4, 5, 3], [1, 2, 3]) == (sizes, top.sorted())
