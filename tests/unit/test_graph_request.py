"""graph/request.py: a request as Graph shows it, in both API versions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from graph import Request, timestamp
from graph.request import NAMES, request_from
from tests.support.scripted_transport import ID, NOW, entity

PACKAGE, PERSON = ID[:-1] + "1", ID[:-1] + "2"
NOON = datetime(2026, 8, 20, 12, tzinfo=UTC)


def test_a_request_has_everything_that_graph_says_of_it():
    body = entity() | {
        "id": ID.upper(),
        "createdDateTime": "2026-08-19T12:00:00Z",
        "status": "DeliveryFailed",
        "history": [{"detail": "old"}, {"detail": "The site is not there yet."}],
        "accessPackage": {"id": PACKAGE, "displayName": "Sales Team"},
        "requestor": {"objectId": PERSON, "displayName": "Adele", "email": "a@example.com"},
    }

    assert Request(
        ID, "deliveryFailed", "userAdd", NOON.replace(microsecond=200_000), NOON - timedelta(days=1),
        PACKAGE, "Sales Team", PERSON, "Adele", "a@example.com", "The site is not there yet.", NOW,
    ) == request_from(body, NAMES["v1.0"], NOW)  # fmt: skip


def test_beta_has_other_names():
    body = {
        "id": ID, "requestState": "DeliveryFailed", "completedDate": "2026-08-20T12:00:00Z",
        "requestStatus": "Failed", "state": "x", "status": "x",
    }  # fmt: skip

    expected = Request(ID, "DeliveryFailed", "", NOON, status_text="Failed")
    assert expected == request_from(body, NAMES["beta"])


@pytest.mark.parametrize("body", [None, "x", [1], {}, {"id": 7, "state": "deliveryFailed"}])
def test_without_an_id_it_is_no_request(body):
    assert request_from(body, NAMES["v1.0"]) is None


def test_what_graph_does_not_say_is_empty():
    """A removal comes without its access package."""
    body = {"id": ID, "state": None, "accessPackage": None, "requestor": 7, "requestType": [1]}

    assert Request(ID, "", "", None) == request_from(body, NAMES["v1.0"])


@pytest.mark.parametrize(("history", "told"), [
    ([{"detail": "x" * 501}], "x" * 500),
    ([{"detail": ""}], "Failed"),
    ([7], "Failed"),
    ([], "Failed"),
    ({"detail": "no list"}, "Failed"),
])  # fmt: skip
def test_the_status_text_is_graphs_last_word(history, told):
    """Else the status; cut where it gets long."""
    body = entity() | {"status": "Failed", "history": history}

    assert told == request_from(body, NAMES["v1.0"]).status_text


@pytest.mark.parametrize(("state", "failed", "ended"), [
    ("deliveryFailed", True, True),
    ("PartiallyDelivered", True, True),
    ("delivered", False, True),
    ("Denied", False, True),
    ("canceled", False, True),
    ("aStateOfTomorrow", False, False),
])  # fmt: skip
def test_what_a_state_means(state, failed, ended):
    """However it is spelt; one that is not published is on its way."""
    request = Request(ID, state, "userAdd", None)

    assert (failed, ended) == (request.has_failed, request.has_ended)


@pytest.mark.parametrize(("state", "completed", "since", "changed", "accepted"), [
    ("delivered", NOW - timedelta(days=1), NOW, True, True),
    ("aStateOfTomorrow", None, None, True, True),
    ("pendingApproval", NOW, NOW, True, False),
    ("Scheduled", NOW, NOW, True, False),
    ("denied", NOW, NOW, True, False),
    ("Canceled", NOW, NOW, True, False),
    ("deliveryFailed", NOW + timedelta(seconds=1), NOW, True, True),
    ("deliveryFailed", NOW + timedelta(microseconds=823400), NOW, False, False),
    ("partiallyDelivered", None, NOW, False, False),
    ("deliveryFailed", NOW, None, False, False),
])  # fmt: skip
def test_whether_it_changed_and_whether_a_reprocess_can_have_done_it(
    state, completed, since, changed, accepted
):
    """Whole seconds count: `.8Z` and `.8234567Z` are the same time of the same failure."""
    request = Request(ID, state, "userAdd", completed)

    found = request.changed_since(since), request.reprocess_was_accepted(since)
    assert (changed, accepted) == found


@pytest.mark.parametrize(("text", "at"), [
    ("2026-08-20T12:00:00Z", NOON),
    ("2026-08-20T12:00:00.2Z", NOON.replace(microsecond=200_000)),
    ("2026-08-20T12:00:00.1234567Z", NOON.replace(microsecond=123_456)),
    ("2026-08-20T14:00:00+02:00", NOON),
    ("2015-01-01T00:00:00Z", datetime(2015, 1, 1, tzinfo=UTC)),
    ("9998-12-31T23:59:59Z", datetime(9998, 12, 31, 23, 59, 59, tzinfo=UTC)),
])  # fmt: skip
def test_what_is_a_time(text, at):
    """With 0 to 7 fractional digits, of any zone; it is in UTC wherever the app runs."""
    found = timestamp(text)

    assert at == found
    assert found.tzinfo is UTC


@pytest.mark.parametrize("text", [
    "0001-01-01T00:00:00Z",
    "2014-12-31T23:59:59Z",
    "9999-12-31T23:59:59Z",
    "9999-12-31T23:59:59-12:00",
    "2026-08-20",
    "2026-13-20T12:00:00Z",
    "2026-08-20T12:00:00",
    7,
])  # fmt: skip
def test_what_is_no_time(text):
    """Microsoft's services write the first and the last years for none and never.

    [seen: microsoft-graph-docs#14108]
    """
    assert timestamp(text) is None
