"""Queries and alerts: they are KQL, read what the app logs, and fire when they should."""

from __future__ import annotations

import contextlib
import json
import logging
import time
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

import reprocess_timer
from attempts import Attempts, Memory
from deadline import Deadline
from events import EVENTS
from graph import Graph
from reprocess_timer.sweep import Sweep
from settings import load
from tests import kusto
from tests.calls import hub
from tests.local_app import App, ago, fresh, quiet
from tests.test_infra import ALLOWED_WINDOWS, rules

TYPES = {"tostring": str, "toint": int, "tobool": bool, "todouble": (int, float), "": (list, dict)}
SECRET = "secret-of-webhooks-for-tests-0123"


@pytest.fixture(scope="module")
def understood():
    """What Kusto's language service makes of every query."""
    return kusto.read(kusto.queries())


def reads(one):
    """The events that a query names, and the fields it reads with the type it takes them for."""
    events = [text for text in one["texts"] if text in EVENTS]
    return events, [(field, kind) for field, kind in one["fields"] if field != "event"]


def test_every_query_is_kql(understood):
    """Microsoft's own reader finds no error, no unknown table and no unknown column."""
    assert {} == {name: one["wrong"] for name, one in understood.items() if one["wrong"]}


def test_the_reader_of_kql_finds_what_is_wrong():
    """A column that is not there, an operator that is none, a reserved word."""
    wrong = kusto.read(
        {
            "column": "AppTraces | where Mesage == ''",
            "operator": "AppTraces | wher Message == ''",
            "word": "AppTraces | summarize last = count()",
            "table": "traces | count",
        }
    )

    assert [] == [name for name, one in wrong.items() if not one["wrong"]]


def test_every_field_that_a_query_reads_is_one_of_the_events_that_it_names(understood):
    """events.py has it, so a field that is renamed there is noticed here."""
    unknown = {}
    for name, one in understood.items():
        events, fields = reads(one)
        known = {field for event in events for field in EVENTS[event].split()}
        unknown[name] = {field for field, _ in fields} - known

    assert {} == {name: fields for name, fields in unknown.items() if fields}


# -- lines of the running app --


@pytest.fixture(scope="module")
def logged():
    """Lines of one app in which all has happened that a query asks about, by event."""
    settings = {
        "SWEEP_SCHEDULE": "0 0 0 1 1 *",
        "SWEEP_MAX_ATTEMPTS": "1",
        "WEBHOOK_SECRETS": SECRET,
        "HTTP_BUDGET_SECONDS": "12",
    }
    with App(settings=settings, graph_options=("--requests", "0")) as app:
        quiet(app)
        live_through(app)
        later = wait_for_graph(app)
        lines = [*app.lines, *later]  # only now: a line comes after its answer
    found = defaultdict(list)
    for line in lines:
        if '{"event": ' in line:
            one = json.loads(line[line.index("{") :])
            found[one["event"]].append(one)
    return SimpleNamespace(by_event=found, lines=lines)


def live_through(app):
    """Failures of all kinds, callers of all kinds, and a Graph that refuses, throttles and denies."""
    app.failures(2, completedDateTime=ago(days=13, hours=1))
    app.failures(1, completedDateTime=ago(days=15))
    (fails_again, refused) = app.failures(2, outcomes=["deliveryFailed"])
    app.fault("batchItem", "status", status=400, code="Busy", requestId=refused)
    app.sweep()
    app.sweep()
    (asked,) = app.failures(1)
    app.reprocess(asked)
    app.call("GET", f"/api/requests/{asked}")
    body = json.dumps({"requestId": asked}).encode()
    app.call("POST", "/api/webhook", body=body, **hub(body, SECRET))
    app.call("POST", "/api/webhook", body=body, **hub(body, "another-secret-0123456789-0123"))
    app.call("GET", "/api/diagnosis")
    app.fault("any", "status", status=403, times=-1)
    app.sweep()
    app.reprocess(fails_again)
    fresh(app)


def wait_for_graph(app):
    """The line of a call that is throttled for longer than a test should wait: in this process."""
    heard = Listener()
    with pytest.MonkeyPatch.context() as patch, heard:
        patch.setenv("IDENTITY_ENDPOINT", f"{app.graph_url}/msi/token")
        patch.setenv("IDENTITY_HEADER", app.identity_header)
        graph = Graph(load({"GRAPH_ENDPOINT": app.graph_url}), sleep=lambda _: None)
        app.fault("reprocess", "status", status=429, retryAfter="30")
        graph.reprocess(*app.failures(1), Deadline(60, time.monotonic))
    return [text for _, text in heard.lines]


class Listener(logging.Handler):
    """Hears what the app logs, as the Functions host does, with the time of `clock`."""

    def __init__(self, clock=lambda: datetime.now(UTC)):
        super().__init__()
        self.clock = clock
        self.lines = []
        self.log = logging.getLogger("redeliver")

    def emit(self, record):
        self.lines.append((self.clock(), self.format(record)))

    def __enter__(self):
        self.level_before = self.log.level
        self.log.setLevel(logging.INFO)
        self.log.addHandler(self)
        return self

    def __exit__(self, *_):
        self.log.removeHandler(self)
        self.log.setLevel(self.level_before)


def test_every_field_that_a_query_reads_is_in_lines_of_the_running_app(understood, logged):
    """And it has the type that the query takes it for."""
    missing = []
    for name, one in understood.items():
        events, fields = reads(one)
        lines = [line for event in events for line in logged.by_event[event]]
        for field, kind in fields:
            values = [line[field] for line in lines if field in line]
            if not any(isinstance(value, TYPES[kind]) for value in values):
                missing.append((name, field, kind))

    assert [] == missing


def test_every_query_finds_something_in_lines_of_the_running_app(logged):
    """But for those that ask for nothing, or for a whole day of it."""
    now = datetime.now(UTC)
    texts = [line.split("] ", 1)[-1] for line in logged.lines]
    workspace = kusto.Workspace([(now - timedelta(seconds=1), text) for text in texts])
    asked = logged.by_event["reprocess"][0]["requestId"]
    found = {
        name: len(workspace.find(query.replace("00000000-0000-0000-0000-000000000000", asked)))
        for name, query in kusto.queries().items()
    }

    assert ["infra/alerts/no-sweep.kql", "infra/alerts/still-dry.kql"] == [
        name for name, rows in found.items() if not rows
    ]


# -- a day of sweeps --

MIDNIGHT = datetime(2026, 3, 1, tzinfo=UTC)
QUARTER = timedelta(minutes=15)
FAILED = "d0000000-0000-4000-8000-00000000000{}"
LATE = timedelta(minutes=5)  # how long a line takes into the workspace


class Day:
    """A day in which the timer fires every quarter of an hour."""

    def __init__(self, app, monkeypatch):
        self.app = app
        self.at = MIDNIGHT
        self.asleep = False
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"{app.graph_url}/msi/token")
        monkeypatch.setenv("IDENTITY_HEADER", app.identity_header)
        loaded = load({"GRAPH_ENDPOINT": app.graph_url, "SWEEP_MAX_ATTEMPTS": "3"})
        kept = Attempts(Memory())
        graph = Graph(loaded, sleep=lambda _: None)
        monkeypatch.setattr(
            reprocess_timer, "Sweep", lambda *_: Sweep(graph, kept, loaded, now=lambda: self.at)
        )
        monkeypatch.setattr("graph.shared", lambda: graph)
        monkeypatch.setattr("attempts.shared", lambda: kept)
        monkeypatch.setattr("settings.current", lambda: loaded)

    def fail(self, number, ago):
        """Let a delivery fail, so long before the day; it fails again each time."""
        at = (MIDNIGHT - ago).isoformat().replace("+00:00", "Z")
        again = {"outcomes": ["deliveryFailed"] * 50, "deliverySeconds": 0}
        self.app.put({"id": FAILED.format(number), "completedDateTime": at, **again})

    def sweep(self):
        """Fire the timer once."""
        context = SimpleNamespace(invocation_id=f"run at {self.at:%H:%M}")
        with contextlib.suppress(reprocess_timer.SweepFailed):  # its line is what counts here
            reprocess_timer.sweep(SimpleNamespace(past_due=False), context)

    def run(self, events):
        """Live through the day; `events` happen just before the sweep of their time."""
        while self.at < MIDNIGHT + timedelta(days=1):
            happens = events.get(f"{self.at:%H:%M}")
            if happens:
                happens()
            if not self.asleep:
                self.sweep()
            self.at += QUARTER


@pytest.fixture
def day(running, monkeypatch):
    """A tenant in which nothing has failed yet."""
    quiet(running)
    yield Day(running, monkeypatch)
    requests = running.control("GET", "requests")["requests"]
    running.put(*({"id": one["id"], "state": "delivered"} for one in requests))
    fresh(running)


def fired(lines):
    """The times at which each alert began to fire, and stopped, as its rule looks at these lines."""
    workspace = kusto.Workspace([(at + LATE, text) for at, text in lines])
    found = {}
    for rule in rules():
        properties = rule["properties"]
        window = ALLOWED_WINDOWS[properties["windowSize"]]
        query = properties["criteria"]["allOf"][0]["query"]
        look, times, firing = MIDNIGHT + timedelta(minutes=7), [], False
        while look < MIDNIGHT + timedelta(days=1):
            if firing != bool(workspace.find(query, look, window)):
                firing = not firing
                times.append(f"{look:%H:%M}")
            look += QUARTER
        found[rule["name"].removeprefix("redeliver-")] = times
    return found


def test_alerts_fire_on_a_day_of_sweeps_when_they_should_and_only_then(day):
    """Real sweeps beside an emulated Graph log the lines; each rule looks every quarter of an hour.

    A look comes seven minutes after a sweep, and a line takes five to arrive. Each request is told
    of for half an hour when it is new, and not again by the sweeps that name it after that.
    """
    day.fail(1, timedelta(days=14) - timedelta(hours=2, minutes=10))  # its window closes at 02:10
    day.fail(2, timedelta(hours=2))  # its third and last attempt is at 03:45

    heard = Listener(lambda: day.at)

    with heard:
        day.run(
            {
                "06:00": lambda: day.fail(3, timedelta(days=12) - timedelta(hours=6, minutes=5)),
                "15:00": lambda: setattr(day, "asleep", True),
                "17:00": lambda: setattr(day, "asleep", False),
                "19:00": lambda: day.app.fault("any", "status", status=403, times=-1),
                "19:15": lambda: fresh(day.app),
                "21:00": lambda: day.app.fault("list", "truncated", times=-1),
                "21:15": lambda: fresh(day.app),
            }
        )

    assert {
        "sweep-failed": ["19:07", "19:37", "21:07", "21:37"],
        "no-sweep": ["15:37", "17:07"],  # the last line arrived at 14:50, the next at 17:05
        "graph-denies": ["19:07", "19:37"],
        "given-up": ["02:22", "02:52", "04:07", "04:37", "10:07", "10:37"],
        "window-closing": ["00:07", "00:37", "06:22", "06:52"],
        "list-not-whole": ["19:07", "19:37", "21:07", "21:37"],
        "still-dry": [],
    } == fired(heard.lines)


@pytest.mark.parametrize(
    ("dry_runs", "due", "hours", "fires"),
    [
        ([True] * 5, 1, 7, True),
        ([True] * 5, 0, 7, False),
        ([True] * 4 + [False], 1, 7, False),
        ([True] * 5, 1, 5, False),
    ],
    ids=["for a day", "nothing due", "one was not", "not for a day"],
)
def test_who_forgets_that_it_is_a_dry_run_is_reminded(dry_runs, due, hours, fires):
    """A new deployment changes nothing, until somebody has looked at its report."""
    lines = [
        (
            MIDNIGHT + hours * number * timedelta(hours=1),
            json.dumps({"event": "sweep finished", "dryRun": dry, "due": due}),
        )
        for number, dry in enumerate(dry_runs)
    ]

    look = lines[-1][0] + timedelta(minutes=7)

    assert fires is bool(kusto.Workspace(lines).find(query_of("still-dry"), look, 2880))


def query_of(alert):
    """The query of one alert, as it is deployed."""
    (rule,) = [one for one in rules() if one["name"] == f"redeliver-{alert}"]
    return rule["properties"]["criteria"]["allOf"][0]["query"]
