"""reprocess_timer/notices.py: each request that needs attention is notified once per reason.

Notices go to a real receiver on this machine; the events are read by CloudEvents' own library.
"""

from __future__ import annotations

import json
import threading
import time
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from azure.core.exceptions import ServiceRequestError
from cloudevents.http import from_dict

from attempt_store import AttemptStore
from attempts import AttemptRecord, Change, Entry, Outcome
from deadline import Deadline
from graph import Request
from planning.causes import UNKNOWN, Causes
from planning.plan import AttentionNeeded, FailedRequest
from reprocess_timer import notices
from reprocess_timer.notices import MAX_REJECTIONS, notify
from reprocessing.many import Context
from settings import load
from table import InMemoryRows

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


class Receiver(ThreadingHTTPServer):
    """Takes what is sent to it, as `answer` says: a status by the ids of the events."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Receiving)
        self.taken = []
        self.answer = lambda _ids: 200
        self.headers = {}
        self.delay = 0.0

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/hook?sig=the-secret"

    def answers(self, *statuses):
        """Answer with these in order, and with the last one from then on."""
        left = list(statuses)
        self.answer = lambda _ids: left.pop(0) if len(left) > 1 else left[0]


class Receiving(BaseHTTPRequestHandler):
    """Answers as its server says."""

    def do_POST(self):
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server.taken.append((self.path, self.headers["Content-Type"], body))
        events = body if isinstance(body, list) else [body]
        status = server.answer([one.get("id") for one in events])
        time.sleep(server.delay)
        self.send_response(status)
        for name, value in server.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_POST  # noqa: N815 - as the base class has it

    def handle(self):
        try:
            super().handle()
        except ConnectionError:
            """The app has read enough."""

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def receiver():
    server = Receiver()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def attention(number=1, reason="exhausted", name="Sales Team", who="Adele Vance"):
    request = Request(
        f"{number:08x}-0000-4000-8000-000000000000",
        "deliveryFailed",
        "userAdd",
        NOW - timedelta(days=13),
        access_package_id="a0000000-0000-4000-8000-000000000000",
        access_package_name=name,
        requestor_name=who,
    )
    record = AttemptRecord(
        request.id,
        outcome=Outcome.REFUSED,
        count=20,
        last_attempt_at=NOW - timedelta(days=1),
        first_failed_at=request.completed_at,
    )
    return AttentionNeeded(reason, FailedRequest(request, record))


class Sending:
    """What `notify` needs of a sweep; its sleeps are noted, and pass by its clock."""

    def __init__(self, url, seconds=60, attempts=None, **environ):
        self.slept = []
        self.attempts = attempts or AttemptStore(InMemoryRows(), self.now)
        self.settings = load({"NOTIFY_URL": url, **environ})
        end = Deadline(seconds, self.clock)
        self.context = Context(self, self.attempts, None, end, end, self.clock, lambda *_: None)

    def clock(self):
        return time.monotonic() + sum(self.slept)

    def now(self):
        return NOW

    def sleep(self, seconds):
        self.slept.append(seconds)

    def notify(self, *to_notify):
        causes = Causes()
        for one in to_notify:
            causes.add(one.failed.request)
        notify(self.context, self.settings, to_notify, causes)
        return self

    def notified(self):
        """The reasons that are marked, by the number of the request."""
        records = self.attempts.read_all(Deadline(10))
        return {int(key[:8], 16): set(one.notified_reasons) for key, one in records.items()}


@pytest.fixture
def lines(caplog):
    caplog.set_level("INFO", "redeliver")
    return lambda: [json.loads(message) for message in caplog.messages]


# fmt: off
DATA = {
    "requestId": "00000001-0000-4000-8000-000000000000", "requestType": "userAdd", "removal": False,
    "state": "deliveryFailed", "accessPackageId": "a0000000-0000-4000-8000-000000000000",
    "accessPackageName": "Sales Team", "requestorName": "Adele Vance",
    "firstFailedAt": "2026-11-11T12:00:00Z", "completedAt": "2026-11-11T12:00:00Z",
    "windowEndsAt": "2026-11-25T12:00:00Z", "hoursLeft": 24.0, "attempts": 20,
    "lastAttemptAt": "2026-11-23T12:00:00Z", "lastOutcome": "refused", "plan": "exhausted",
    "cause": "unknown", "causeId": UNKNOWN.id,
    "portalUrl": "https://portal.azure.com/#view/Microsoft_AAD_ERM/DashboardBlade/~/elmEntitlement",
}
# fmt: on


def test_one_request_is_one_cloud_event(receiver, monkeypatch):
    """Structured mode; the data is an item of the list, with the portal's address."""
    monkeypatch.setenv("WEBSITE_HOSTNAME", "app.example.net")

    sending = Sending(receiver.url).notify(attention())

    ((path, media_type, body),) = receiver.taken
    assert ("/hook?sig=the-secret", "application/cloudevents+json") == (path, media_type)
    assert {
        "specversion": "1.0",
        "type": "redeliver.request.exhausted",
        "source": "https://app.example.net",
        "subject": DATA["requestId"],
        "id": DATA["requestId"] + "/exhausted",
        "time": "2026-11-24T12:00:00+00:00",
        "datacontenttype": "application/json",
        "data": body["data"],
    } == body
    assert DATA == body["data"]
    event = from_dict(body)
    assert (body["data"], "redeliver.request.exhausted") == (event.data, event["type"])
    assert {1: {"exhausted"}} == sending.notified()


def test_several_are_one_batch_with_ids_of_their_own(receiver):
    """The same request may have two reasons."""
    to_notify = [attention(1), attention(2, "expired"), attention(1, "expiring")]

    sending = Sending(receiver.url).notify(*to_notify)

    ((_, media_type, body),) = receiver.taken
    assert "application/cloudevents-batch+json" == media_type
    assert ["exhausted", "expired", "expiring"] == [
        from_dict(one)["type"].rpartition(".")[2] for one in body
    ]
    assert 3 == len({one["id"] for one in body})
    assert {1: {"exhausted", "expiring"}, 2: {"expired"}} == sending.notified()


def test_many_go_in_several_batches_until_one_is_not_taken(receiver, lines):
    """What was taken before is marked; the rest is left to the next sweep."""
    receiver.answers(200, 403)

    sending = Sending(receiver.url).notify(*map(attention, range(250)))

    assert [100, 100] == [len(body) for _, _, body in receiver.taken]
    assert set(range(100)) == set(sending.notified())
    assert [
        {"event": "notice sent", "count": 100},
        {"event": "notice not sent", "count": 150, "error": "HTTP 403"},
    ] == lines()


@pytest.mark.parametrize("status", [400, 413, 422])
def test_an_event_that_is_rejected_costs_no_other(receiver, lines, status):
    """Its batch is halved until it is alone; it is logged by id, and not sent again.

    [seen: receivers that validate]
    """
    rejected = attention(7).failed.request.id
    receiver.answer = lambda ids: status if f"{rejected}/exhausted" in ids else 200

    sending = Sending(receiver.url).notify(*map(attention, range(10)))

    assert set(range(10)) == set(sending.notified())
    assert {
        "event": "notice not sent",
        "count": 1,
        "error": f"HTTP {status}",
        "requestIds": [rejected],
    } == lines()[-1]
    assert 9 == sum(line["count"] for line in lines()[:-1])
    assert [] == sending.slept


@pytest.mark.parametrize(("count", "asked"), [(250, MAX_REJECTIONS + 1), (1, 1)])
def test_a_receiver_that_rejects_everything_marks_nothing(receiver, lines, count, asked):
    """Such as a topic with another schema: it is not asked about every single event."""
    receiver.answers(400)

    assert {} == Sending(receiver.url).notify(*map(attention, range(count))).notified()
    assert [{"event": "notice not sent", "count": count, "error": "HTTP 400"}] == lines()
    assert asked == len(receiver.taken)


def test_without_an_address_nothing_is_sent(lines):
    assert {} == Sending("").notify(attention()).notified()
    assert [] == lines()


@pytest.mark.parametrize("status", [301, 401, 403, 404, 410])
def test_a_receiver_that_refuses_is_asked_once(receiver, lines, status):
    """Nothing is marked; the next sweep sends it again. No redirect is followed."""
    receiver.answers(status)
    receiver.headers = {"Location": "/elsewhere"}

    assert {} == Sending(receiver.url).notify(attention(1), attention(2)).notified()
    assert ["/hook?sig=the-secret"] == [path for path, *_ in receiver.taken]
    assert [{"event": "notice not sent", "count": 2, "error": f"HTTP {status}"}] == lines()


@pytest.mark.parametrize(
    ("asked", "slept"), [("2", [2.0]), ("0", [1.0]), ("", [1.0]), ("soon", [1.0]), ("61", [])]
)
@pytest.mark.parametrize("status", [429, 503])
def test_a_receiver_that_is_busy_is_asked_again_when_it_says(receiver, asked, slept, status):
    """`Retry-After` is kept to; beyond the end of the sweep the notice is left to the next one."""
    receiver.answers(status, 200)
    receiver.headers = {"Retry-After": asked} if asked else {}

    sending = Sending(receiver.url).notify(attention())

    assert slept == sending.slept
    assert bool(slept) == bool(sending.notified())
    assert [receiver.taken[0]] * (1 + len(slept)) == receiver.taken  # the ids are the same


def test_a_receiver_that_stays_busy_is_left_to_the_next_sweep(receiver, lines):
    """Two tries for the first batch, none for the others."""
    receiver.answers(500)

    assert {} == Sending(receiver.url).notify(*map(attention, range(120))).notified()
    assert 2 == len(receiver.taken)
    assert [{"event": "notice not sent", "count": 120, "error": "HTTP 500"}] == lines()


def test_a_receiver_that_is_gone_or_silent_delays_no_sweep(receiver, monkeypatch, lines, caplog):
    """Each try has its time, and the end of the sweep is never passed; no log has the address."""
    monkeypatch.setattr(notices, "ANSWER_SECONDS", 0.1)
    receiver.delay = 0.3
    sendings = [
        Sending(receiver.url),
        Sending("http://127.0.0.1:9/hook?sig=the-secret"),
        Sending(receiver.url, seconds=0),
    ]

    assert [{}] * 3 == [sending.notify(attention()).notified() for sending in sendings]
    assert ["ReadTimeout", "ConnectionError", "there was no time left for it"] == [
        line["error"] for line in lines()
    ]
    assert "the-secret" not in caplog.text


def test_what_cannot_be_marked_is_sent_once_more_by_the_next_sweep(receiver, lines):
    """Better twice than never; the sweep goes on."""

    class Away(InMemoryRows):
        def write(self, changes, *_):
            return [ServiceRequestError("gone")] * len(changes)

    away = AttemptStore(Away(), lambda: NOW)
    Sending(receiver.url, attempts=away).notify(attention(1), attention(2))

    assert ["notice sent", "attempts not written"] == [line["event"] for line in lines()]
    assert ("notified", 2) == (lines()[1]["what"], lines()[1]["count"])


def test_a_notice_says_why(receiver):
    """Sweeps read no histories; a refusal's words are read here, and missed where they cannot be."""
    one = attention(1)
    entry = Entry(NOW, "a caller", Outcome.REFUSED, "Locked (HTTP 400 Locked)")
    rows = InMemoryRows()
    rows.write([Change(one.failed.record, entry)], Deadline(10))
    attempts = AttemptStore(rows, lambda: NOW)

    Sending(receiver.url, attempts=attempts).notify(one)
    assert "Locked (HTTP 400 Locked)" == receiver.taken[-1][2]["data"]["cause"]
    rows.read_all = lambda *_, **__: (_ for _ in ()).throw(ServiceRequestError("gone"))
    Sending(receiver.url, attempts=attempts).notify(one, attention(2))
    assert ["unknown"] * 2 == [event["data"]["cause"] for event in receiver.taken[-1][2]]


def test_a_teams_workflow_gets_one_card(receiver):
    """However many requests there are."""
    sending = Sending(receiver.url, NOTIFY_FORMAT="teams").notify(*map(attention, range(120)))

    ((_, media_type, message),) = receiver.taken
    assert ("application/json", "message") == (media_type, message["type"])
    assert 120 == len(sending.notified())
