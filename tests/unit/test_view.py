"""planning/view.py: one failed request as answers and notices show it."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attempts import AttemptRecord, Entry, Outcome
from graph import Request
from planning.causes import UNKNOWN, Cause, CauseKind
from planning.plan import Plan, PlanStatus
from planning.view import COLUMNS, causes_of, evaluate, history_of, iso, sort_key, to_dict
from settings import load

NOW = datetime(2026, 11, 24, 10, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
SETTINGS = load({})


def failed(number=1, ago=DAY, kind="userAdd", state="deliveryFailed", **more):
    completed_at = NOW - ago if ago is not None else None
    return Request(f"{number:08x}-0000-4000-8000-000000000000", state, kind, completed_at, **more)


def tried(request, count, ago, outcome=Outcome.ACCEPTED, **more):
    at = NOW - ago
    return AttemptRecord(request.id, "c", at, outcome, None, count, last_attempt_at=at, **more)


def shown(request, record=None):
    return to_dict(evaluate(request, record, SETTINGS, NOW), NOW)


def test_all_that_is_known_of_a_request():
    """The members are the columns, in their order; times in whole seconds."""
    request = failed(
        0,
        created_at=NOW - 20 * DAY, access_package_id="p-1", access_package_name="Sales Team",
        requestor_id="o-1", requestor_name="Adele Vance", requestor_email="adele@x.example",
        status_text="DeliveryFailed",
    )  # fmt: skip
    record = tried(request, 3, HOUR, first_failed_at=NOW - 2 * DAY + timedelta(seconds=0.9))

    cause = Cause.of(CauseKind.GRAPH, "Locked", "Locked")

    members = to_dict(evaluate(request, record, SETTINGS, NOW, cause), NOW)

    assert {
        "requestId": request.id, "requestType": "userAdd", "removal": False,
        "state": "deliveryFailed", "statusText": "DeliveryFailed", "accessPackageId": "p-1",
        "accessPackageName": "Sales Team", "requestorId": "o-1", "requestorName": "Adele Vance",
        "requestorEmail": "adele@x.example", "createdAt": "2026-11-04T10:00:00Z",
        "firstFailedAt": "2026-11-22T10:00:00Z", "completedAt": "2026-11-23T10:00:00Z",
        "windowEndsAt": "2026-12-06T10:00:00Z", "hoursLeft": 288.0, "attempts": 3,
        "lastAttemptAt": "2026-11-24T09:00:00Z", "lastOutcome": "accepted",
        "nextAttemptAt": "2026-11-24T13:00:00Z", "plan": "cooling", "cause": "Locked",
        "causeId": cause.id,
    } == members  # fmt: skip
    assert (*COLUMNS, "causeId") == tuple(members)


def test_what_is_not_known_is_left_out():
    """A request of which Graph says next to nothing is still shown."""
    assert {
        "requestId": failed().id, "removal": False, "state": "deliveryFailed", "attempts": 0,
        "plan": "due", "cause": "unknown", "causeId": UNKNOWN.id,
    } == shown(failed(ago=None, kind=""))  # fmt: skip


@pytest.mark.parametrize(("ago", "hours"), [
    (timedelta(seconds=1), 335.9), (14 * DAY - 5 * MINUTE, 0.0), (15 * DAY, 0.0),
])  # fmt: skip
def test_hours_left_are_rounded_down_and_never_negative(ago, hours):
    """One decimal; they count to the earliest end of the window."""
    again = AttemptRecord(failed().id, first_failed_at=NOW - ago)

    for known in ((failed(ago=ago),), (failed(ago=ago / 2), again)):
        assert hours == shown(*known)["hoursLeft"]


@pytest.mark.parametrize(("ago", "record", "plan", "following"), [
    (MINUTE, None, "cooling", NOW + 14 * MINUTE),
    (DAY, tried(failed(0), 1, 30 * MINUTE), "cooling", NOW + 30 * MINUTE),
    (DAY, tried(failed(0), 1, 2 * HOUR), "due", None),
    (DAY, tried(failed(0), 20, HOUR), "exhausted", None),
    (DAY, tried(failed(0), 1, MINUTE, deferred_at=NOW), "cooling", NOW + 4 * MINUTE),
    # no attempt after the window is promised
    (14 * DAY - HOUR / 2, tried(failed(0), 6, HOUR / 3), "cooling", None),
    # being sent now: when it is tried next depends on that
    (DAY, AttemptRecord(failed(0).id, "c", NOW, Outcome.CLAIMED), "cooling", None),
])  # fmt: skip
def test_the_next_attempt(ago, record, plan, following):
    """Only what cools down has a time of its own."""
    members = shown(failed(0, ago), record)

    assert (plan, iso(following)) == (members["plan"], members.get("nextAttemptAt"))


def test_a_history_is_newest_first_and_leaves_out_what_graph_did_not_say():
    """As it was read."""
    refused = Entry(NOW, "sweep", Outcome.REFUSED, "Locked")
    accepted = Entry(NOW - HOUR, "a caller", Outcome.ACCEPTED)
    record = tried(failed(), 2, HOUR, history=(refused, accepted))

    assert [
        {"at": "2026-11-24T10:00:00Z", "by": "sweep", "outcome": "refused", "words": "Locked"},
        {"at": "2026-11-24T09:00:00Z", "by": "a caller", "outcome": "accepted"},
    ] == history_of(evaluate(failed(), record, SETTINGS, NOW))


def test_causes_say_what_they_concern():
    """Most requests first; the first end of a window that is still open."""
    people = [
        failed(n, n * DAY, access_package_id=package, requestor_id=person)
        for n, package, person in ((1, "a", "p"), (2, "b", "p"), (3, "a", "q"), (15, "a", ""))
    ]
    removal = failed(4, DAY, "userRemove", requestor_email="G@x.example")
    one, other = (Cause.of(CauseKind.GRAPH, name, name) for name in ("one", "other"))

    found = [evaluate(request, None, SETTINGS, NOW, one) for request in (*people, removal)]
    found.insert(0, evaluate(failed(5, 15 * DAY), None, SETTINGS, NOW, other))

    assert [
        {"causeId": one.id, "kind": "graph", "cause": "one", "count": 5, "removals": 1, "accessPackages": 2,
         "requestors": 3, "firstWindowEndsAt": "2026-12-05T10:00:00Z"},
        {"causeId": other.id, "kind": "graph", "cause": "other", "count": 1, "removals": 0, "accessPackages": 0,
         "requestors": 0},
    ] == causes_of(found)  # fmt: skip


REQUESTS = st.lists(
    st.builds(
        failed,
        st.integers(0, 0xFFFF),
        st.none() | st.builds(timedelta, minutes=st.integers(0, 15 * 24 * 60)),
        st.sampled_from(["userAdd", "adminRemove", "SystemRemove"]),
        st.sampled_from(["deliveryFailed", "PartiallyDelivered", "delivering"]),
    ),
    unique_by=lambda one: one.id,
    max_size=30,
)
# attempts, minutes since the last one, whether a caller was promised the next sweep
RECORDS = st.tuples(st.integers(0, 25), st.integers(0, 5000), st.booleans())


@given(REQUESTS, st.data())
def test_order_and_counts_are_those_of_a_sweep(requests, data):
    """By status; due ones exactly as a sweep takes them; cooling ones by their next attempt."""
    drawn = data.draw(st.fixed_dictionaries({}, optional={one.id: RECORDS for one in requests}))
    records = {
        one: AttemptRecord(one, outcome=Outcome.REFUSED, count=count,
                           last_attempt_at=NOW - ago * MINUTE, deferred_at=NOW if deferred else None)
        for one, (count, ago, deferred) in drawn.items()
    }  # fmt: skip
    plan = Plan(records, SETTINGS, NOW)
    for one in requests:
        plan.add(one)

    views = sorted(
        (evaluate(one, records.get(one.id), SETTINGS, NOW) for one in requests), key=sort_key
    )
    by_status = {status: [one for one in views if one.status is status] for status in PlanStatus}
    assert [one for group in by_status.values() for one in group] == views
    assert [one.request for one in plan.due.sorted()] == [
        one.request for one in by_status[PlanStatus.DUE]
    ]
    assert {status: len(group) for status, group in by_status.items() if group} == plan.counts
    times = [one.next_attempt_at or NOW + 99 * DAY for one in by_status[PlanStatus.COOLING]]
    assert sorted(times) == times
