"""reprocess_timer/notices.py: each request that needs attention is notified once per reason.

The events are read by CloudEvents' own library. Not for: real receivers that break (tests/faults/).
"""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
import requests
from azure.core.exceptions import ServiceRequestError
from cloudevents.http import from_dict

from attempts import AttemptRecord, Change, Entry, Outcome
from graph import Request
from planning.causes import UNKNOWN, Causes
from planning.plan import AttentionNeeded, FailedRequest
from reprocess_timer import notices
from reprocess_timer.notices import MAX_REJECTIONS, notify
from reprocessing.many import Context
from session import new_session, time_left
from settings import load
from tests.support.scripted_graph import START, ScriptedGraph
from tests.support.scripted_transport import Transport, reply

URL = "https://receiver.example/hook?sig=the-secret"


@pytest.fixture
def receiver(monkeypatch):
    """Takes what is sent to it; another script may be put in."""
    receiver = Transport([reply(200)] * 3)

    def session(connections):
        session = new_session(connections)
        session.mount("https://", receiver)
        return session

    monkeypatch.setattr(notices, "new_session", session)
    return receiver


@pytest.fixture
def send(clock, store, receiver, caplog):
    """Notify at the end of a sweep; return what is marked, by the request's number, and the log."""
    caplog.set_level("INFO", "redeliver")

    def send(*to_notify, seconds=60, **environ):
        end, causes = clock.deadline(seconds), Causes()
        for one in to_notify:
            causes.add(one.failed.request)
        context = Context(ScriptedGraph(clock), store, None, end, end, clock, lambda *_: None)
        notify(context, load({"NOTIFY_URL": URL} | environ), to_notify, causes)
        records = store.read_all(clock.deadline())
        marked = {int(key[:8], 16): set(one.notified_reasons) for key, one in records.items()}
        return marked, [json.loads(message) for message in caplog.messages]

    return send


def bodies(receiver):
    return [json.loads(one.body) for one in receiver.sent]


def attention(number=1, reason="exhausted"):
    request = Request(
        f"{number:08x}-0000-4000-8000-000000000000",
        "deliveryFailed",
        "userAdd",
        START - timedelta(days=13),
        access_package_id="a0000000-0000-4000-8000-000000000000",
        access_package_name="Sales Team",
        requestor_name="Adele Vance",
    )
    record = AttemptRecord(
        request.id,
        outcome=Outcome.REFUSED,
        count=20,
        last_attempt_at=START - timedelta(days=1),
        first_failed_at=request.completed_at,
    )
    return AttentionNeeded(reason, FailedRequest(request, record))


def test_one_request_is_one_cloud_event(send, receiver, monkeypatch):
    """Structured mode; the data is an item of the list, with the portal's address."""
    monkeypatch.setenv("WEBSITE_HOSTNAME", "app.example.net")
    request_id = attention().failed.request.id

    assert ({1: {"exhausted"}}, [{"event": "notice sent", "count": 1}]) == send(attention())
    (sent,), (body,) = receiver.sent, bodies(receiver)
    assert (URL, "application/cloudevents+json") == (sent.url, sent.headers["Content-Type"])
    assert {
        "specversion": "1.0", "type": "redeliver.request.exhausted", "source": "https://app.example.net",
        "subject": request_id, "id": f"{request_id}/exhausted", "time": "2026-08-20T12:00:00+00:00",
        "datacontenttype": "application/json",
        "data": {
            "requestId": request_id, "requestType": "userAdd", "removal": False, "state": "deliveryFailed",
            "accessPackageId": "a0000000-0000-4000-8000-000000000000", "accessPackageName": "Sales Team",
            "requestorName": "Adele Vance", "firstFailedAt": "2026-08-07T12:00:00Z",
            "completedAt": "2026-08-07T12:00:00Z", "windowEndsAt": "2026-08-21T12:00:00Z", "hoursLeft": 24.0,
            "attempts": 20, "lastAttemptAt": "2026-08-19T12:00:00Z", "lastOutcome": "refused",
            "plan": "exhausted", "cause": "unknown", "causeId": UNKNOWN.id,
            "portalUrl": "https://portal.azure.com/#view/Microsoft_AAD_ERM/DashboardBlade/~/elmEntitlement",
        },
    } == body  # fmt: skip
    assert body["data"] == from_dict(body).data


def test_several_are_one_batch_with_ids_of_their_own(send, receiver):
    """The same request may have two reasons."""
    marked, _ = send(attention(1), attention(2, "expired"), attention(1, "expiring"))

    ((*events,),), (sent,) = bodies(receiver), receiver.sent
    assert "application/cloudevents-batch+json" == sent.headers["Content-Type"]
    assert [f"redeliver.request.{one}" for one in ("exhausted", "expired", "expiring")] == [
        from_dict(one)["type"] for one in events
    ]
    assert 3 == len({one["id"] for one in events})
    assert {1: {"exhausted", "expiring"}, 2: {"expired"}} == marked


@pytest.mark.parametrize("status", [301, 401, 404])
def test_many_go_in_several_batches_until_one_is_not_taken(send, receiver, status):
    """What was taken before is marked; the rest is left to the next sweep."""
    receiver.script = [reply(200), reply(status, Location="/elsewhere")]

    marked, lines = send(*map(attention, range(250)))

    assert [100, 100] == [len(one) for one in bodies(receiver)]
    assert set(range(100)) == set(marked)
    assert [
        {"event": "notice sent", "count": 100},
        {"event": "notice not sent", "count": 150, "error": f"HTTP {status}"},
    ] == lines


@pytest.mark.parametrize("status", [400, 413, 422])
def test_an_event_that_is_rejected_costs_no_other(send, receiver, status):
    """Its batch is halved until it is alone; it is logged by id, and not sent again.

    [seen: receivers that validate]
    """
    rejected = attention(6).failed.request.id
    receiver.script = [
        lambda: reply(status if rejected.encode() in receiver.sent[-1].body else 200)
    ] * 9

    marked, lines = send(*map(attention, range(10)))

    assert {one: {"exhausted"} for one in range(10)} == marked
    assert {
        "event": "notice not sent",
        "count": 1,
        "error": f"HTTP {status}",
        "requestIds": [rejected],
    } == lines.pop()
    assert 9 == sum(line["count"] for line in lines)


@pytest.mark.parametrize(("count", "asked"), [(250, MAX_REJECTIONS + 1), (1, 1)])
def test_a_receiver_that_rejects_everything_marks_nothing(send, receiver, count, asked):
    """Such as a topic with another schema: it is not asked about every single event."""
    receiver.script = [reply(400)] * asked
    line = {"event": "notice not sent", "count": count, "error": "HTTP 400"}

    assert ({}, [line]) == send(*map(attention, range(count)))
    assert [] == receiver.script


def test_without_an_address_nothing_is_sent(send, receiver):
    assert ({}, [], []) == (*send(attention(), NOTIFY_URL=""), receiver.sent)


@pytest.mark.parametrize(
    ("asked", "slept"), [("2", 2), ("0", 1), (None, 1), ("soon", 1), ("60", None)]
)
@pytest.mark.parametrize("status", [429, 503])
def test_a_receiver_that_is_busy_is_asked_again_when_it_says(
    send, receiver, clock, asked, slept, status
):
    """`Retry-After` is kept to; beyond the end of the sweep the notice is left to the next one."""
    receiver.script = [reply(status, **{"Retry-After": asked} if asked else {}), reply(200)]

    marked, _ = send(attention())

    assert ({1: {"exhausted"}} if slept else {}, slept or 0) == (marked, clock.seconds)
    first, *again = bodies(receiver)
    assert ([first] if slept else []) == again  # the ids are the same


@pytest.mark.parametrize(("answer", "error"), [
    (reply(500), "HTTP 500"), (requests.ReadTimeout(URL), "ReadTimeout"), (UnicodeError(URL), "UnicodeError"),
])  # fmt: skip
def test_a_receiver_in_trouble_is_left_to_the_next_sweep(send, receiver, caplog, answer, error):
    """Two tries for the first batch, none for the others; no log has the address."""
    receiver.script = [answer] * 2
    line = {"event": "notice not sent", "count": 120, "error": error}

    assert ({}, [line]) == send(*map(attention, range(120)))
    assert ("the-secret" in caplog.text, []) == (False, receiver.script)


@pytest.mark.parametrize(("seconds", "left"), [(60, [10]), (4, [4]), (0, [])])
def test_a_receiver_delays_no_sweep(send, receiver, seconds, left):
    """Each try has ten seconds, and the end of the sweep is never passed."""
    found = []
    receiver.script = [lambda: reply(200 if found.append(time_left()) else 204)]

    marked, lines = send(attention(), seconds=seconds)

    assert (left, bool(left)) == (found, bool(marked))
    assert left or lines[0]["error"] == "there was no time left for it"


def test_what_cannot_be_marked_is_sent_once_more_by_the_next_sweep(send, store, monkeypatch):
    """Better twice than never; the sweep goes on."""
    gone = ServiceRequestError("gone")
    monkeypatch.setattr(store._rows, "write", lambda changes, _: [gone] * len(changes))
    error = {"what": "notified", "count": 2, "error": "ServiceRequestError"}

    assert [
        {"event": "notice sent", "count": 2},
        {"event": "attempts not written"} | error,
    ] == send(attention(1), attention(2))[1]


def test_a_notice_says_why(send, receiver, store, clock, monkeypatch):
    """Sweeps read no histories; a refusal's words are read here, and missed where they cannot be."""
    entry = Entry(START, "a caller", Outcome.REFUSED, "Locked (HTTP 400 Locked)")
    store._rows.write([Change(attention().failed.record, entry)], clock.deadline())
    read_all = store.read_all

    def without_histories(deadline, *, history=False):
        if history:
            raise ServiceRequestError("gone")
        return read_all(deadline)

    send(attention())
    monkeypatch.setattr(store, "read_all", without_histories)
    send(attention())

    causes = [one["data"]["cause"] for one in bodies(receiver)]
    assert ["Locked (HTTP 400 Locked)", "unknown"] == causes


def test_a_teams_workflow_gets_one_card(send, receiver):
    """However many requests there are."""
    marked, _ = send(*map(attention, range(120)), NOTIFY_FORMAT="teams")

    (sent,), (message,) = receiver.sent, bodies(receiver)
    assert ("application/json", "message") == (sent.headers["Content-Type"], message["type"])
    assert 120 == len(marked)
