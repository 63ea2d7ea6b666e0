"""reprocess_timer/sweep.py: whole sweeps over a small Graph of its own, by a clock that is moved.

Not for: what is due (test_plan.py), claiming and sending (test_many.py), the sentences of a report
(test_report.py), or a real Graph's ways (tests/e2e/test_graph_variants.py).
"""

from __future__ import annotations

import json
import threading
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from azure.core.exceptions import ServiceRequestError

import attempt_store
import graph as graph_package
import reprocess_timer
import settings as app_settings
from attempt_store import AttemptStore
from attempts import Decision, Outcome, blank
from deadline import Deadline
from graph import (
    Accepted,
    GraphDenied,
    GraphFailed,
    GraphRefused,
    GraphTimeout,
    Request,
    RequestNotFound,
)
from reprocess_timer.report import TRIED
from reprocess_timer.sweep import run_sweep
from settings import load
from table import InMemoryRows
from tests.support.emulated_graph import fresh

START = datetime(2026, 11, 24, 12, tzinfo=UTC)
PACKAGES = [str(uuid.UUID(int=n)) for n in (100, 101)]
PATH_NOT_FOUND = GraphFailed("No HTTP resource was found", status=404)
BROKEN = GraphFailed("Graph failed.", status=500, code="UnknownError", outcome_unknown=True)
DENIED = GraphDenied("Not allowed", status=403)
LOST = GraphTimeout("no answer came in time", outcome_unknown=True)
GONE = ServiceRequestError("gone")


def request(number, state="deliveryFailed", ago=timedelta(hours=2), package=PACKAGES[0]):
    request_id = str(uuid.UUID(int=0xF << 124 | 4 << 76 | 8 << 60 | number))
    return Request(request_id, state, "userAdd", START - ago, access_package_id=package)


class SmallGraph:
    """Requests that become `next_state` when they are reprocessed; errors where they are put."""

    def __init__(self, clock):
        self.clock = clock
        self.requests = {}
        self.posted = []
        self.next_state = "delivering"
        self.list_errors = {}  # by access package, None for the list of all
        self.list_seconds = 0.0  # that each listed request takes
        self.list_deadlines = []
        self.refusals = {}  # answers to a reprocess, by request id
        self.unreadable = {}  # answers to a read, by request id
        self.unlisted = set()

    def put(self, *requests):
        self.requests |= {one.id: one for one in requests}
        return [one.id for one in requests]

    def become(self, request_id, state, failed_at=None):
        old = self.requests[request_id]
        completed_at = failed_at or old.completed_at
        self.requests[request_id] = replace(old, state=state, completed_at=completed_at)

    def failed(self, deadline, access_package=None, *, names=False):
        self.list_deadlines.append((deadline.left(), names))
        for one in list(self.requests.values()):
            in_package = access_package in {None, one.access_package_id}
            if one.has_failed and in_package and one.id not in self.unlisted:
                self.clock.seconds += self.list_seconds
                yield one
        if access_package in self.list_errors:
            raise self.list_errors[access_package]

    def read_each(self, request_ids, _deadline):
        missing = RequestNotFound("no such request", status=404, code="NotFound")
        return [self.unreadable.get(i) or self.requests.get(i, missing) for i in request_ids]

    def reprocess_each(self, request_ids, _deadline):
        self.posted += request_ids
        return [self.reprocess(one) for one in request_ids]

    def reprocess(self, request_id):
        if request_id in self.refusals:
            return self.refusals[request_id]
        self.become(request_id, self.next_state)
        return Accepted(self.now(), "graph-id", "client-id")

    def sleep(self, seconds):
        self.clock.seconds += seconds

    def now(self):
        return START + timedelta(seconds=self.clock.seconds)


class World:
    """Sweeps one after the other, with the attempt records in memory."""

    def __init__(self, caplog):
        self.clock = SimpleNamespace(seconds=0.0)
        self.graph = SmallGraph(self.clock)
        self.rows = InMemoryRows()
        self.attempts = AttemptStore(self.rows, self.graph.now)
        self.caplog = caplog
        caplog.set_level("INFO", "redeliver")

    @property
    def deadline(self):
        return Deadline(60, lambda: self.clock.seconds)

    def sweep(self, attempts=None, **environ):
        self.caplog.clear()
        store = attempts or self.attempts
        return run_sweep(self.graph, store, load(environ), lambda: self.clock.seconds)

    def wait(self, **delta):
        self.clock.seconds += timedelta(**delta).total_seconds()

    def record(self, request_id):
        return self.attempts.read(request_id, self.deadline)

    def records(self):
        return self.attempts.read_all(self.deadline)

    def tried(self, request_id, outcome=Outcome.ACCEPTED, times=1):
        """Write down attempts that a sweep made before."""
        for _ in range(times):
            before = self.record(request_id)
            [claim] = self.attempts.claim([before], "sweep", self.deadline)
            self.attempts.decide([Decision(claim, outcome, self.graph.now())], self.deadline)

    def lines(self, name=None):
        lines = [json.loads(one.message) for one in self.caplog.records if one.name == "redeliver"]
        return [line for line in lines if name in {None, line["event"]}]


@pytest.fixture
def world(caplog):
    return World(caplog)


def some(report, *more):
    """The counts of a report that are not 0, and those in `more`."""
    return {name: n for name, n in report.counts.items() if n or name in more}


# -- the whole sweep --


def test_what_is_due_is_reprocessed_and_read_back_by_the_next_sweep(world):
    """Each request is sent once; delivered ones are counted, once."""
    ids = world.graph.put(*map(request, range(45)))
    world.graph.put(request(90, ago=timedelta(minutes=5)), request(91, ago=timedelta(days=15)))
    world.graph.next_state = "delivered"

    reports = [world.sweep(), world.sweep(), world.sweep()]

    first = {"found": 47, "due": 45, "accepted": 45, "cooling": 1, "expired": 1}
    second = {"found": 2, "cooling": 1, "expired": 1, "delivered": 45}
    third = {"found": 2, "cooling": 1, "expired": 1}
    assert [first, second, third] == [some(report) for report in reports]
    assert sorted(ids) == sorted(world.graph.posted)
    assert [{}, {1: 45}, {}] == [report.delivered_after for report in reports]
    assert [("", True)] * 3 == [(report.problem, report.list_complete) for report in reports]


def test_every_due_request_has_one_of_six_outcomes(world):
    """Counts add up whatever Graph answers, and every outcome is in the record."""
    refused = GraphRefused("Locked", status=400)
    answers = {"refused": refused, "denied": DENIED, "failed": BROKEN, "unknown": LOST, "accepted": None}  # fmt: skip
    ids = dict(zip(answers, world.graph.put(*map(request, range(5))), strict=True))
    world.graph.refusals = {ids[name]: answer for name, answer in answers.items() if answer}
    world.graph.unreadable = {ids["unknown"]: LOST}
    world.graph.put(request(7))

    report = world.sweep(SWEEP_MAX_REQUESTS="5")
    world.wait(seconds=40)

    assert dict.fromkeys((*TRIED, "postponed"), 1) | {"found": 6, "due": 6} == some(report)
    assert {ids[name]: name for name in ids} == {
        one.request_id: one.outcome for one in world.records().values()
    }


def test_a_request_that_gets_no_usable_answer_cools_down(world):
    """Case of a POST that is always 500: named in the problem, and not sent in every sweep.

    [seen: msgraph-beta-sdk-dotnet#139]
    """
    (one,) = world.graph.put(request(1))
    world.graph.refusals[one] = BROKEN

    first = world.sweep()
    (line,) = world.lines("reprocess failed")
    second = world.sweep()
    world.wait(hours=2)
    world.sweep()

    assert {"found": 1, "due": 1, "failed": 1} == some(first)
    assert (500, "UnknownError") == (line["graphStatus"], line["graphErrorCode"])
    assert "HTTP 500 UnknownError" in first.problem
    assert "throttling" not in first.problem
    assert {"found": 1, "cooling": 1} == some(second)
    assert [one, one] == world.graph.posted


@pytest.mark.parametrize("window_moves", [False, True])
@pytest.mark.parametrize("completed_moves", [False, True])
def test_a_request_that_fails_anew_each_day_is_warned_of_in_time(
    caplog, completed_moves, window_moves
):
    """By the earliest end of its window, and given up by the latest, whichever Graph's own is."""
    emulated = fresh()
    emulated.control.clear_requests()
    emulated.turn(completedMoves=completed_moves, windowMoves=window_moves, deliverySeconds=10)
    failed_at = emulated.now - timedelta(hours=1)
    emulated.put({"completedDateTime": failed_at.isoformat(), "outcomes": ["deliveryFailed"]})
    graph = graph_package.Graph(
        load({"GRAPH_ENDPOINT": emulated.url}),
        SimpleNamespace(get_token=lambda *_, **__: SimpleNamespace(token=emulated.token())),
        sleep=lambda _: None,
        now=lambda: emulated.now,
    )
    store, reports = AttemptStore(InMemoryRows(), lambda: emulated.now), []
    caplog.set_level("WARNING", "redeliver")
    for day in range(17):
        emulated.now = failed_at + timedelta(days=day, hours=2)
        caplog.clear()
        report = run_sweep(graph, store, load({"SWEEP_COOLDOWN_MAX_MINUTES": "1000"}))
        warned = any("window closing" in line for line in caplog.messages)
        tried = report.counts["accepted"] + report.counts["refused"]
        reports.append((tried, warned, report.counts["expired"]))

    for day, (tried, warned, expired) in enumerate(reports):
        is_over = day >= 14
        given_up = is_over and not completed_moves
        assert (day, warned) == (day, day >= 12 and not given_up)
        assert (day, expired, tried) == (day, given_up, not given_up)


def test_a_dry_run_plans_and_changes_nothing(world):
    """Nothing is sent, claimed, read back or marked; its report is kept, as every sweep's."""
    world.graph.put(request(1), request(2, "delivered"))
    world.attempts.defer(request(2).id, world.deadline)
    before = world.records()

    report = world.sweep(SWEEP_DRY_RUN="true")

    assert ({"found": 1, "due": 1}, True) == (some(report), report.dry_run)
    assert ([], before) == (world.graph.posted, world.records())
    at, kept = world.attempts.last_report(world.deadline)
    assert (report.fields(), world.graph.now()) == (kept, at)


def test_the_list_takes_half_of_the_budget_at_most(world):
    """Only notices need names."""
    world.sweep(SWEEP_BUDGET_SECONDS="1000")
    world.sweep(SWEEP_BUDGET_SECONDS="1000", NOTIFY_URL="https://receiver.example")

    assert [(500, False), (500, True)] == world.graph.list_deadlines


# -- when something is away --


class Away(AttemptStore):
    """A table that fails where it is said to."""

    fails = ""

    def read_all(self, deadline):
        if self.fails == "read":
            raise GONE
        return super().read_all(deadline)

    def claim(self, records, by, deadline):
        return (
            [GONE] * len(records) if self.fails == "claim" else super().claim(records, by, deadline)
        )

    def keep_report(self, report, at, deadline):
        if self.fails == "report":
            raise GONE
        super().keep_report(report, at, deadline)


@pytest.mark.parametrize(("fails", "problem", "counts"), [
    ("read", "the attempt records could not be read", {}),
    ("claim", "attempt records could not be written", {"found": 1, "due": 1, "postponed": 1}),
    ("report", "", {"found": 1, "due": 1, "accepted": 1}),
])  # fmt: skip
def test_without_the_table_nothing_is_sent(world, fails, problem, counts):
    """Else the same request could be sent again and again. A report that is lost stops nothing."""
    world.graph.put(request(1))
    away = Away(world.rows, world.graph.now)
    away.fails = fails

    report = world.sweep(away)

    assert counts == some(report)
    assert report.problem.startswith(problem)
    assert bool(problem) == (world.graph.posted == [])
    assert (fails == "report") == bool(world.lines("attempts not written"))


def test_a_list_that_fails_completely_knows_no_counts(world):
    """No `found: 0` in the line; the problem says what to do."""
    world.graph.list_errors[None] = DENIED

    report = world.sweep()

    assert ({}, False) == (report.counts, report.list_complete)
    assert report.problem.startswith("the failed requests could not be listed")
    assert 1 == len(world.lines("list incomplete"))


def test_one_list_that_fails_costs_itself_alone(world):
    """The others are done, and what it had given; nothing is read back in this sweep."""
    ids = world.graph.put(request(1), request(2, package=PACKAGES[1]))
    world.graph.put(request(3, "delivered"))
    world.tried(request(3).id)
    world.graph.list_errors[PACKAGES[0]] = DENIED

    report = world.sweep(SWEEP_ACCESS_PACKAGES=",".join(PACKAGES))

    assert {"found": 2, "due": 2, "accepted": 2} == some(report)
    assert PACKAGES[0] in report.problem
    assert sorted(ids) == sorted(world.graph.posted)
    assert "delivered" not in report.counts
    assert not world.record(request(3).id).completed


def test_an_outage_of_the_path_costs_no_record(world):
    """404 without a code for list and reads: counts and notices are kept, nothing is sent.

    [seen: msgraph-sdk-powershell#2505, #3293]
    """
    (one,) = world.graph.put(request(1))
    world.tried(one, Outcome.REFUSED, times=20)
    world.attempts.mark_notified(one, "exhausted", world.deadline)
    before = world.record(one)
    world.graph.list_errors[None] = world.graph.unreadable[one] = PATH_NOT_FOUND
    world.graph.unlisted = {one}

    world.sweep()
    world.graph.list_errors, world.graph.unreadable, world.graph.unlisted = {}, {}, set()
    report = world.sweep()

    assert {"found": 1, "exhausted": 1} == some(report)
    assert (before, []) == (world.record(one), world.graph.posted)


# -- deferred requests --


def test_deferred_requests_are_looked_up_when_no_list_contains_them(world):
    """Failed ones are found and sent, whatever their package; others are read back."""
    foreign, unread, moved = world.graph.put(
        request(1, package=PACKAGES[1]), request(2, package=PACKAGES[1]), request(3, "delivered")
    )
    listed, gone = *world.graph.put(request(4)), request(5).id
    for one in (foreign, unread, moved, listed, gone):
        world.attempts.defer(one, world.deadline)
    world.graph.unreadable[unread] = LOST

    report = world.sweep(SWEEP_ACCESS_PACKAGES=PACKAGES[0])

    assert {"found": 2, "due": 2, "accepted": 2, "delivered": 1} == some(report)
    assert {foreign, listed} == set(world.graph.posted)
    assert {foreign: False, listed: False, unread: True} == {
        one.request_id: one.is_deferred for one in world.records().values() if not one.completed
    }
    assert [1] == [line["missing"] for line in world.lines("read-back incomplete")]


# -- read back --


def test_requests_that_are_no_longer_failed_are_counted_by_state(world):
    """Once each: those that have ended are completed, the others are read again."""
    states = {1: "delivered", 2: "Delivered", 3: "delivering", 4: "denied", 5: "scheduled"}
    world.graph.put(*(request(n, state) for n, state in states.items()))
    for number in (*states, 6):
        world.tried(request(number).id, times=2 if number == 1 else 1)

    first, second = world.sweep(), world.sweep()

    assert {"delivered": 2, "delivering": 1, "other": 2} == some(first)
    assert {1: 1, 2: 1} == first.delivered_after
    assert {"delivering": 1, "other": 1} == some(second)
    assert {request(n).id for n in (1, 2, 4, 6)} == {
        one.request_id for one in world.records().values() if one.completed
    }


HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.mark.parametrize(("kept", "before", "wait", "state"), [
    (False, "completed", 2 * HOUR, "delivered"),
    (True, "completed", 0.9 * HOUR, "delivered"),
    (True, "completed", 2 * HOUR, "deliveryFailed"),
    (False, "tried", 28 * DAY + HOUR, "delivering"),
    (True, "tried", 27 * DAY, "delivering"),
    (True, "tried", 28 * DAY + HOUR, "deliveryFailed"),
    (False, "tried", 28 * DAY + HOUR, "unlisted"),
    (True, "deferred", 28 * DAY + HOUR, "unreadable"),
    (True, "deferred", DAY, "delivering"),
    (False, "deferred", 28 * DAY + HOUR, "delivering"),
])  # fmt: skip
def test_a_record_is_deleted_when_it_has_no_use(world, kept, before, wait, state):
    """A completed one after its cool-down; one of two windows ago; none that Graph lists."""
    (one,) = world.graph.put(request(1))
    if before == "deferred":
        world.attempts.defer(one, world.deadline)
    else:
        world.tried(one)
    if before == "completed":
        world.graph.become(one, "delivered")
        world.sweep()
    world.clock.seconds += wait.total_seconds()
    is_listed = state not in {"unlisted", "unreadable"}
    world.graph.become(one, state if is_listed else "deliveryFailed")
    world.graph.unlisted = set() if is_listed else {one}
    world.graph.unreadable = {one: DENIED} if state == "unreadable" else {}

    world.sweep()

    assert kept == (one in world.records())


def test_a_young_claim_is_left_alone(world):
    """Whoever has it may be sending: it is neither sent, completed nor deleted."""
    ids = world.graph.put(request(1), request(2, "delivered"))
    world.attempts.claim([blank(one) for one in ids], "a caller", world.deadline)
    before = world.records()

    assert {"found": 1, "cooling": 1} == some(world.sweep())
    assert (before, []) == (world.records(), world.graph.posted)


# -- what is logged --


def test_requests_that_need_attention_are_logged_by_their_ids(world):
    """Fifty at most; the count has them all."""
    closed = world.graph.put(*(request(n, ago=timedelta(days=20)) for n in range(60)))
    (exhausted,) = world.graph.put(request(70))
    world.tried(exhausted, Outcome.REFUSED, times=20)
    (closing,) = world.graph.put(request(80, ago=timedelta(days=13)))

    world.sweep()

    wanted = {
        "attempts exhausted": [exhausted],
        "window closing": [closing],
        "window closed": closed,
    }
    for name, ids in wanted.items():
        (line,) = world.lines(name)
        assert (len(ids), ids[:50]) == (line["count"], line["requestIds"])


def test_a_long_sweep_logs_its_progress_every_ten_seconds(world):
    """The list does not know of how many.

    [seen: the app on the host itself]
    """
    world.clock.seconds = 10_000.0  # a clock begins anywhere
    world.graph.put(*map(request, range(30)))
    world.graph.list_seconds = 1.0

    world.sweep(SWEEP_BUDGET_SECONDS="1000", SWEEP_SCHEDULE="0 0 13 * * *")

    lines = world.lines("sweep progress")
    (sweep_id,) = {line.pop("sweepId") for line in lines}
    assert sweep_id
    same = {"event": "sweep progress", "step": "list", "throttled": 0, "nextSweepAt": "2026-11-25T13:00:00Z"}  # fmt: skip
    assert [same | {"done": seconds} for seconds in (10, 20, 30)] == lines[:3]


def test_every_line_of_a_sweep_has_its_id(world):
    """Also those of worker threads."""
    ids = world.graph.put(*map(request, range(3)))
    world.graph.refusals = {ids[0]: GraphRefused("No", status=400)}
    threads = set()

    def sent(request_ids, _deadline):
        threads.add(threading.current_thread())
        return [world.graph.reprocess(one) for one in request_ids]

    world.graph.reprocess_each = sent
    report = world.sweep()

    assert threading.current_thread() not in threads
    assert world.lines("reprocess refused")
    assert {report.sweep_id} == {line["sweepId"] for line in world.lines()}


# -- the timer --


@pytest.fixture
def timer(world, monkeypatch):
    """Run the function; its settings are the environment's."""
    monkeypatch.setattr(attempt_store, "for_sweeps", lambda: world.attempts)
    monkeypatch.setattr(graph_package, "shared", lambda: world.graph)
    monkeypatch.setattr(app_settings, "current", lambda: load({"SWEEP_DRY_RUN": "true"}))
    (function,) = reprocess_timer.blueprint._function_builders

    def run():
        call = function._function.get_user_function()
        call(SimpleNamespace(past_due=True), SimpleNamespace(invocation_id="invocation"))

    return run


def test_the_timer_logs_the_report(world, timer):
    """With the invocation, and the time of the next sweep."""
    timer()

    (line,) = world.lines()
    assert ("sweep finished", "invocation", True) == (
        line["event"],
        line["correlationId"],
        line["pastDue"],
    )
    assert ({"sweepId", "nextSweepAt", "seconds", "found"} - line.keys()) == set()


def test_a_sweep_with_a_problem_fails_its_invocation(world, timer):
    """The line `sweep failed` and the exception say the same."""
    world.graph.list_errors[None] = DENIED

    with pytest.raises(reprocess_timer.SweepFailed) as raised:
        timer()

    finished, failed = world.lines()[-2:]
    assert ("sweep finished", "sweep failed") == (finished["event"], failed["event"])
    assert str(raised.value) == failed["problem"] == finished["problem"]
    assert finished["sweepId"] == failed["sweepId"]
    assert "nextSweepAt" in failed


@pytest.mark.parametrize(("schedule", "known"), [("0 0 1 * * *", True), ("soon", False)])
def test_wrong_settings_fail_the_sweep(world, timer, monkeypatch, schedule, known):
    """The next sweep is named where the schedule is right."""

    def wrong():
        raise app_settings.SettingsError(["SWEEP_X is wrong"])

    monkeypatch.setattr(app_settings, "current", wrong)
    monkeypatch.setenv("SWEEP_SCHEDULE", schedule)

    with pytest.raises(reprocess_timer.SweepFailed, match="the app is misconfigured: SWEEP_X is"):
        timer()

    (line,) = world.lines()
    assert ("sweep failed", known) == (line["event"], "nextSweepAt" in line)
