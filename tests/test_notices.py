"""notices.py and cards.py: each request that needs a person is told once per reason.

Notices go to a real receiver on this machine; the events are read by CloudEvents' own library, and
the card by Microsoft's library for Adaptive Cards. Not for: Teams itself.
"""

from __future__ import annotations

import json
import subprocess
import threading
import time
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from azure.core.exceptions import ServiceRequestError
from cloudevents.http import from_dict

from attempts import Attempt, Attempts, Memory
from deadline import Deadline
from graph import DetailedRequest
from reprocess_timer import notices
from reprocess_timer.cards import NAMED
from reprocess_timer.means import Means
from reprocess_timer.notices import notify
from reprocess_timer.plan import Candidate, Noted
from settings import load

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
HOME = Path(__file__).resolve().parent.parent
HOSTILE = "[click](https://evil.example) <script>alert(1)</script> \u202egnp.exe 🎫 " + "x" * 500


class Receiver(ThreadingHTTPServer):
    """Takes what is sent to it; `answers` are played in order, the last one for ever."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Receiving)
        self.taken = []
        self.answers = [200]
        self.delay = 0.0

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/hook?sig=the-secret"


class Receiving(BaseHTTPRequestHandler):
    """Answers as its server says."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.taken.append((self.path, self.headers["Content-Type"], json.loads(body)))
        answers = self.server.answers
        status = answers.pop(0) if len(answers) > 1 else answers[0]
        time.sleep(self.server.delay)
        self.send_response(status)
        if status in {301, 302, 307, 308}:
            self.send_header("Location", f"http://127.0.0.1:{self.server.server_port}/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_POST  # noqa: N815 - as the base class has it

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


def noted(number=1, reason="exhausted", name="Sales Team", who="Adele Vance", **of_attempt):
    failed = NOW - timedelta(days=13)
    request = DetailedRequest(
        f"{number:08x}-0000-4000-8000-000000000000",
        "deliveryFailed",
        "userAdd",
        failed,
        access_package_id="a0000000-0000-4000-8000-000000000000",
        access_package_name=name,
        requestor_name=who,
    )
    given = {"count": 20, "last": NOW - timedelta(days=1), "refusal": "No (HTTP 400)"}
    return Noted(reason, Candidate(request, Attempt(request.id, **given | of_attempt)))


class Sending:
    """What `notify` needs of a sweep."""

    def __init__(self, url, seconds=60, **environ):
        self.slept = []
        self.attempts = Attempts(Memory(), now=lambda: NOW)
        self.means = Means(
            graph=self,
            attempts=self.attempts,
            settings=load({"NOTIFY_URL": url, **environ}),
            sweep_id="",
            now=lambda: NOW,
            clock=time.monotonic,
            deadline=Deadline(seconds),
            end=Deadline(seconds),
            pace=None,
            progress=None,
        )

    def sleep(self, seconds):
        self.slept.append(seconds)

    def told(self):
        return {key: set(row.told) for key, row in self.attempts.read_all().items()}


DATA = {
    "requestId": "00000001-0000-4000-8000-000000000000",
    "requestType": "userAdd",
    "removal": False,
    "state": "deliveryFailed",
    "accessPackageId": "a0000000-0000-4000-8000-000000000000",
    "accessPackageName": "Sales Team",
    "requestorName": "Adele Vance",
    "completedAt": "2026-11-11T12:00:00Z",
    "windowEndsAt": "2026-11-25T12:00:00Z",
    "hoursLeft": 24.0,
    "attempts": 20,
    "lastAttemptAt": "2026-11-23T12:00:00Z",
    "lastRefusal": "No (HTTP 400)",
    "plan": "exhausted",
    "portalUrl": "https://portal.azure.com/#view/Microsoft_AAD_ERM/DashboardBlade/~/elmEntitlement",
}


def test_one_request_is_one_cloud_event(receiver, monkeypatch):
    """Structured mode; what it says is an item of the list, with the portal's address."""
    monkeypatch.setenv("WEBSITE_HOSTNAME", "app.example.net")
    sending = Sending(receiver.url)

    notify(sending.means, [noted()])

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
        "data": DATA,
    } == body
    event = from_dict(body)
    assert (DATA, "redeliver.request.exhausted") == (event.data, event["type"])
    assert {DATA["requestId"]: {"exhausted"}} == sending.told()


def test_several_are_one_batch_with_ids_of_their_own(receiver):
    """Many at once become one call; the same request may have two reasons."""
    sending = Sending(receiver.url)

    notify(sending.means, [noted(1), noted(2, "expired"), noted(1, "expiring")])

    ((_, media_type, body),) = receiver.taken
    assert "application/cloudevents-batch+json" == media_type
    assert ["exhausted", "expired", "expiring"] == [
        from_dict(one)["type"].rpartition(".")[2] for one in body
    ]
    assert 3 == len({one["id"] for one in body})
    assert {"exhausted", "expiring"} == sending.told()[DATA["requestId"]]


def test_more_than_a_receiver_may_take_at_once_go_in_several_batches(receiver, caplog):
    """What was told before one is not taken is not told again."""
    sending = Sending(receiver.url)
    caplog.set_level("INFO", "redeliver")

    notify(sending.means, [noted(n) for n in range(120)])
    receiver.answers = [413]
    notify(sending.means, [noted(n) for n in range(200, 420)])

    sizes = [len(body) for _, _, body in receiver.taken]
    assert [100, 20] == sizes[:2]
    assert {100} == set(sizes[2:])
    assert 120 == len(sending.told())
    assert ["notice sent", "notice sent", "notice not sent"] == [
        json.loads(line)["event"] for line in caplog.messages
    ]


def test_the_id_is_the_same_on_every_try(receiver):
    """A receiver can tell a repetition by it."""
    receiver.answers = [503, 200]
    sending = Sending(receiver.url)

    notify(sending.means, [noted()])

    first, second = receiver.taken
    assert first == second
    assert [1.0] == sending.slept


@pytest.mark.parametrize("status", [301, 302, 307, 308, 400, 404, 410, 429, 500, 503])
def test_what_was_not_taken_is_not_told(receiver, status, caplog):
    """Anything but 2xx: the next sweep sends it again; no redirect is followed."""
    receiver.answers = [status]
    sending = Sending(receiver.url)

    notify(sending.means, [noted()])

    assert {} == sending.told()
    assert {"/hook?sig=the-secret"} == {path for path, *_ in receiver.taken}
    assert 2 == len(receiver.taken)
    (line,) = (json.loads(message) for message in caplog.messages)
    assert {"event": "notice not sent", "count": 1, "error": f"HTTP {status}"} == line


def test_a_receiver_that_is_gone_or_silent_delays_no_sweep(receiver, monkeypatch, caplog):
    """Each try has its time, and the end of the sweep is never passed."""
    monkeypatch.setattr(notices, "ANSWER_SECONDS", 0.1)
    receiver.delay = 0.5
    silent, gone = Sending(receiver.url), Sending("http://127.0.0.1:9/hook?sig=the-secret")
    late = Sending(receiver.url, seconds=0)

    for sending in (silent, gone, late):
        notify(sending.means, [noted()])

    assert [{}] * 3 == [sending.told() for sending in (silent, gone, late)]
    assert ["TookTooLong", "ConnectionError", "there was no time left for it"] == [
        json.loads(message)["error"] for message in caplog.messages
    ]
    assert "the-secret" not in caplog.text


def test_nothing_is_sent_without_an_address_or_without_news(receiver):
    """The usual sweep sends nothing."""
    notify(Sending("").means, [noted()])
    notify(Sending(receiver.url).means, [])

    assert [] == receiver.taken


def test_a_table_that_fails_has_it_told_once_more(receiver, caplog):
    """Better twice than never; the sweep goes on."""
    sending = Sending(receiver.url)

    class Gone(Memory):
        def write(self, changes, *_):
            return [ServiceRequestError("gone")] * len(changes)

    object.__setattr__(sending.means, "attempts", Attempts(Gone(), now=lambda: NOW))
    notify(sending.means, [noted()])

    lines = [json.loads(message) for message in caplog.messages]
    assert ["attempts not written"] == [line["event"] for line in lines]


def parsed(card):
    """Return what Microsoft's library reads of a card, and what it finds wrong with it."""
    script = """
        const cards = require('./.cards/node_modules/adaptivecards/dist/adaptivecards.js');
        const card = new cards.AdaptiveCard(), context = new cards.SerializationContext();
        card.parse(JSON.parse(require('fs').readFileSync(0, 'utf8')), context);
        const wrong = [...Array(context.eventCount).keys()].map(n => context.getEventAt(n).message);
        console.log(JSON.stringify({card: card.toJSON(), wrong}));
    """
    done = subprocess.run(
        [HOME / ".cards" / "node", "-e", script],
        input=json.dumps(card),
        capture_output=True,
        text=True,
        cwd=HOME,
        check=True,
    )
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def library():
    subprocess.run([HOME / "scripts" / "adaptivecards"], check=True)


def test_a_card_is_one_that_teams_can_read(receiver, library):
    """Nothing in it is unknown to the library, and nothing is lost when it reads the card."""
    sending = Sending(receiver.url, NOTIFY_FORMAT="teams")

    notify(sending.means, [noted(n, "expiring") for n in range(NAMED + 5)])

    ((_, media_type, message),) = receiver.taken
    (attachment,) = message["attachments"]
    assert ("application/json", "message") == (media_type, message["type"])
    assert "application/vnd.microsoft.card.adaptive" == attachment["contentType"]
    assert {"card": attachment["content"], "wrong": []} == parsed(attachment["content"])
    texts = [
        "".join(run["text"] for run in block["inlines"]) for block in attachment["content"]["body"]
    ]
    assert [
        "Access that could not be delivered needs a person",
        "25: the window closes within 48 hours",
        (
            "Adele Vance: Sales Team. The window closes within 48 hours, 20 attempts, "
            "24.0 hours left. Request 00000000-0000-4000-8000-000000000000."
        ),
    ] == texts[:3]
    assert ("and 5 more", NAMED + 3) == (texts[-1], len(texts))


def test_nobodys_name_becomes_a_link(receiver, library):
    """Names are text runs, which know no markdown, and are cut."""
    sending = Sending(receiver.url, NOTIFY_FORMAT="teams")

    notify(sending.means, [noted(who=HOSTILE, name=HOSTILE)])

    content = receiver.taken[0][2]["attachments"][0]["content"]
    assert {"RichTextBlock"} == {block["type"] for block in content["body"]}
    assert [HOSTILE[:100], f": {HOSTILE[:100]}. "] == [
        run["text"] for run in content["body"][-1]["inlines"][:2]
    ]
    assert [] == parsed(content)["wrong"]
