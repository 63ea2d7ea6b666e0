"""Queries and alerts: they are KQL, read what the app logs, and fire when they should."""

from __future__ import annotations

import contextlib
import json
import logging
import re
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from types import SimpleNamespace

import pytest

import reprocess_timer
from attempt_store import AttemptStore
from graph import Graph
from reprocess_http import diagnosis, failed_requests, reprocess_request, webhook
from reprocess_http.handler import handle
from schedule import next_sweep_at as next_at
from settings import load
from table import InMemoryRows
from tests.project.test_infra import ALLOWED_WINDOWS, rules
from tests.support import emulated_graph as emulated
from tests.support import kusto
from tests.support.event_schema import EVENTS
from tests.support.http_calls import hub, request

TYPES = {"toint": int, "tobool": bool, "todouble": (int, float), "": (list, dict)}  # else a text
COMPARED = re.compile(
    r'(?:\bevent|tostring\(line\.event\))\s*(?:[!=]=|=~|!?in~?\s*(?=\())\s*(\([^)]*\)|"[^"]*")'
)
SECRET = "secret-of-webhooks-for-tests-0123"
MIDNIGHT = datetime(2026, 3, 1, tzinfo=UTC)
QUARTER = timedelta(minutes=15)
MUTES = {None: None, "PT1H": timedelta(hours=1), "P1D": timedelta(days=1)}
LATE = timedelta(minutes=5)  # how long a line takes into the workspace
IDS = [f"d0000000-0000-4000-8000-00000000000{n}" for n in range(6)]
CALLED = 5  # the request that callers ask for


@pytest.fixture(scope="module")
def understood():
    """What Kusto's language service makes of every query."""
    return kusto.read(kusto.queries())


def test_every_query_is_kql(understood):
    """Microsoft's own reader finds no error, no unknown table and no unknown column."""
    assert {} == {name: one["wrong"] for name, one in understood.items() if one["wrong"]}


def test_a_query_names_only_events_that_are_logged():
    """An alert on another one would stay silent. Three ask for an id, or for what Entra logs."""
    compared = {name: " ".join(COMPARED.findall(text)) for name, text in kusto.queries().items()}
    named = re.findall('"([^"]*)"', " ".join(compared.values()))
    others = {name.rpartition("/")[2] for name, one in compared.items() if not one}

    assert set() == set(named) - set(EVENTS)
    assert {"one-id.kql", "graph-calls.kql", "why-failed.kql"} == others


# -- a day of sweeps --


class Day(logging.Handler):
    """A day on which the timer fires every quarter of an hour, beside an emulated Graph.

    `lines` has what the app logs, as the Functions host gets it, with the time of the day.
    """

    def __init__(self, patch):
        super().__init__()
        self.lines = []
        self.is_stopped = False
        self.emulated = emulated.fresh()
        self.clear_faults = self.emulated.control.clear_faults
        self.emulated.control.clear_requests()
        # A window is counted from the first failure then, whatever comes after it.
        self.emulated.turn(deliverySeconds=0, completedMoves=False)
        self.emulated.now = MIDNIGHT
        environ = {"GRAPH_ENDPOINT": self.emulated.url, "WEBHOOK_SECRETS": SECRET}
        settings = load(environ | {"SWEEP_MAX_ATTEMPTS": "3"})
        graph = Graph(settings, self, sleep=lambda _: None, now=self.now)
        store = AttemptStore(InMemoryRows(), self.now)
        patch.setattr("settings.current", lambda: settings)
        patch.setattr("graph.shared", lambda: graph)
        patch.setattr("attempt_store.for_sweeps", lambda: store)
        patch.setattr("attempt_store.for_callers", lambda: store)
        patch.setattr(failed_requests, "CACHE", failed_requests.ListCache())
        patch.setattr("reprocess_timer.next_sweep_at", lambda text, _: next_at(text, self.now()))

    def now(self):
        return self.emulated.now

    def get_token(self, *_, **__):
        """Be the managed identity, by the clock of the day."""
        return SimpleNamespace(token=self.emulated.token())

    def emit(self, record):
        self.lines.append((self.now(), self.format(record)))

    def fail(self, number, ago, **fields):
        """Put a request that failed so long before the day."""
        at = (MIDNIGHT - ago).isoformat().replace("+00:00", "Z")
        failed = {"id": IDS[number], "state": "deliveryFailed", "completedDateTime": at}
        self.emulated.put(failed | fields)

    def callers(self):
        """Calls of every kind: one that Graph denies, and one with a wrong signature."""
        self.fail(CALLED, timedelta(hours=2))
        self.emulated.fault("reprocess", "status", status=403)
        body = json.dumps({"requestId": IDS[CALLED]}).encode()
        for route, headers in (
            (reprocess_request.REPROCESS, {}),
            (reprocess_request.STATUS, {}),
            (webhook.WEBHOOK, hub(body, SECRET)),
            (webhook.WEBHOOK, hub(body, "another-secret-0123456789-0123")),
            (failed_requests.FAILED_REQUESTS, {}),
            (diagnosis.DIAGNOSIS, {}),
        ):
            sent = body if route is webhook.WEBHOOK else b""
            call = request("", sent, IDS[CALLED], **headers)
            handle(route, call, SimpleNamespace(invocation_id="a call"))

    def run(self, events):
        """Live through the day; `events` happen just before the sweep of their time."""
        while self.now() < MIDNIGHT + timedelta(days=1):
            events.get(f"{self.now():%H:%M}", lambda: None)()
            if not self.is_stopped:
                context = SimpleNamespace(invocation_id=f"run at {self.now():%H:%M}")
                with contextlib.suppress(reprocess_timer.SweepFailed):  # its line is what counts
                    reprocess_timer.sweep(SimpleNamespace(past_due=False), context)
            self.emulated.now += QUARTER


@pytest.fixture(scope="module")
def lines():
    """The lines of a day on which all happens that a query asks about, with their times."""
    log = logging.getLogger("redeliver")
    with pytest.MonkeyPatch.context() as patch:
        day = Day(patch)
        log.setLevel(logging.INFO)
        log.addHandler(day)
        again = {"outcomes": ["deliveryFailed"] * 50}
        fault = partial(partial, day.emulated.fault)
        day.fail(1, timedelta(days=14) - timedelta(hours=2, minutes=10), **again)
        day.fail(2, timedelta(hours=2), **again)
        day.fail(4, timedelta(hours=2))  # refused once, then delivered
        fault("reprocess", "status", status=400, code="Busy", requestId=IDS[4])()
        third = timedelta(days=12) - timedelta(hours=6, minutes=5)
        day.run(
            {
                "06:00": lambda: day.fail(3, third, **again),
                "12:00": day.callers,
                "13:00": fault("list", "status", status=429, retryAfter="30"),
                "15:00": lambda: setattr(day, "is_stopped", True),
                "17:00": lambda: setattr(day, "is_stopped", False),
                "19:00": fault("any", "status", status=403, times=-1),
                "19:15": day.clear_faults,
                "21:00": fault("list", "garbage", times=-1),
                "21:15": day.clear_faults,
            }
        )
    log.removeHandler(day)
    log.setLevel(logging.NOTSET)
    return day.lines


def test_every_field_that_a_query_reads_is_logged_with_the_type_it_is_read_as(understood, lines):
    """In lines of the events that the query names; of any, where it names none."""
    logged = [json.loads(text.partition("\n")[0]) for _, text in lines]

    assert [] == [
        (name, field, kind)
        for name, one in understood.items()
        for field, kind in one["fields"]
        if not any(
            isinstance(line.get(field), TYPES.get(kind, str))
            for line in logged
            if line["event"] in one["texts"] or not set(one["texts"]) & set(EVENTS)
        )
    ]


def test_every_query_on_the_apps_log_finds_something(lines):
    """Except for two that find what is not there."""
    workspace = kusto.Workspace([(MIDNIGHT, text) for _, text in lines])
    queries = {
        name: query.replace("00000000-0000-0000-0000-000000000000", IDS[CALLED])
        for name, query in kusto.queries().items()
        if not name.endswith(("graph-calls.kql", "why-failed.kql"))  # on the logs of Entra
    }

    assert ["infra/alerts/no-sweep.kql", "infra/alerts/still-dry.kql"] == [
        name for name, query in queries.items() if not workspace.find(query, MIDNIGHT)
    ]


def test_ago_is_given_literals():
    """Alert rules support no other timespan."""
    given = [
        one for text in kusto.queries().values() for one in re.findall(r"ago\(([^)]*)\)", text)
    ]

    assert given
    assert [] == [one for one in given if not re.fullmatch(r"\d+[mhd]", one)]


def runs(lines, name, late=LATE, days=1):
    """When a rule finds something, and when it mails, run by run: what Azure Monitor does with it.

    A rule that is muted mails, and not again until the mute is over; any other mails when it begins.
    """
    workspace = kusto.Workspace(lines, late)
    (properties,) = [one["properties"] for one in rules() if one["name"] == f"redeliver-{name}"]
    window = ALLOWED_WINDOWS[properties["windowSize"]]
    mute = MUTES[properties["muteActionsDuration"]]
    query = properties["criteria"]["allOf"][0]["query"]
    found, mails, muted_until, before = [], [], MIDNIGHT, False
    for n in range(96 * days):
        at = MIDNIGHT + timedelta(minutes=7) + n * QUARTER
        rows = workspace.find(query, at, window)
        found.append((at, bool(rows)))
        if rows and (at >= muted_until if mute else not before):
            mails.append((at, rows))
            muted_until = at + mute if mute else at
        before = bool(rows)
    return found, mails


def changes(found):
    """The times at which a rule began to find something, and stopped."""
    before = [(None, False), *found]
    return [f"{at:%H:%M}" for (_, was), (at, now) in pairwise(before) if was != now]


def test_alerts_fire_when_they_should_and_only_then(lines):
    """Each rule runs seven minutes after a sweep, and a line takes five to arrive."""
    assert {
        "sweep-failed": ["19:07", "19:37", "21:07", "21:37"],
        "no-sweep": ["15:52", "17:07"],  # the sweep of 15:00 is late; the next line comes at 17:05
        "graph-denies": ["12:07", "12:37", "19:07", "19:37"],  # a caller; a sweep's list
        # The window of 1 closes at 02:10; 2 and 3 have their third attempts at 03:45 and 09:45.
        "attempts-exhausted": ["02:22", "03:52", "04:07", "05:37", "10:07", "11:37"],
        "window-closing": ["00:07", "01:37", "06:22", "07:52"],
        "list-incomplete": ["19:07", "19:37", "21:07", "21:37"],
        "still-dry": [],
    } == {
        name: changes(runs(lines, name)[0])
        for name in (one["name"].removeprefix("redeliver-") for one in rules())
    }


DAY = timedelta(days=1)


def sweep_lines(every, *days):
    """A sweep's last line at midnight of each day, which names the next sweep."""
    times = [MIDNIGHT + n * DAY for n in days]
    line = {"event": "sweep finished"}
    return [(at, json.dumps(line | {"nextSweepAt": (at + every).isoformat()})) for at in times]


@pytest.mark.parametrize(("lines", "mails"), [
    (sweep_lines(DAY, -1, 0, 1, 2, 3), []),
    (sweep_lines(DAY, -1), ["00:52"]),  # while the last line is of two days
    (sweep_lines(QUARTER, 0), ["01:07", "01:07"]),
    # A wrong schedule names no next sweep; another alert says so.
    ([(MIDNIGHT, json.dumps({"event": "sweep failed", "problem": "SWEEP_SCHEDULE"}))], []),
], ids=["daily", "daily, dead since yesterday", "dead since midnight", "wrong schedule"])  # fmt: skip
def test_a_late_sweep_is_mailed_once_a_day_and_nothing_else_is(lines, mails):
    """By what the newest line of two days says."""
    assert mails == [f"{at:%H:%M}" for at, _ in runs(lines, "no-sweep", days=3)[1]]


@pytest.mark.parametrize("name", ["attempts exhausted", "window closing"])
@pytest.mark.parametrize("late", [LATE, timedelta(minutes=40)], ids=["soon", "late"])
def test_a_request_that_joins_while_mails_are_muted_is_in_the_next_one(name, late):
    """At minutes 0, 10 and 20, and repeated for a day: two mails, the second naming both late ones."""
    minutes = [(0, 1), (10, 2), *((20 + 15 * n, 3) for n in range(90))]
    lines = [
        (MIDNIGHT + timedelta(minutes=at), json.dumps({"event": name, "requestIds": IDS[:n]}))
        for at, n in minutes
    ]

    _, mails = runs(lines, name.replace(" ", "-"), late)
    first, second = ({row["requestId"] for row in rows} for _, rows in mails)

    assert {*IDS[:3]} - first <= second
    assert (True, False) == (IDS[0] in first, IDS[2] in first)
    assert mails[1][0] - mails[0][0] == timedelta(hours=1)


@pytest.mark.parametrize(
    ("last_is_dry", "due", "hours", "fires"),
    [(True, 1, 28, True), (True, 0, 28, False), (False, 1, 28, False), (True, 1, 20, False)],
    ids=["for a day", "nothing due", "one was not", "not for a day"],
)
def test_a_day_of_dry_runs_alerts(last_is_dry, due, hours, fires):
    """A new deployment changes nothing, until its first report was read."""
    end = MIDNIGHT + timedelta(hours=hours)
    lines = [
        (at, json.dumps({"event": "sweep finished", "dryRun": dry, "due": due}))
        for at, dry in ((MIDNIGHT, True), (end, last_is_dry))
    ]
    query = kusto.queries()["infra/alerts/still-dry.kql"]

    assert fires is bool(kusto.Workspace(lines).find(query, end + timedelta(minutes=7), 2880))
