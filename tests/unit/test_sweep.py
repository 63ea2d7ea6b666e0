"""reprocess_timer/sweep.py: whole sweeps over a small Graph of its own, by a clock that is moved.

Not for: what is due (test_plan.py), claiming and sending (test_many.py), the sentences of a report
(test_report.py), or a real Graph's ways (tests/e2e/test_graph_variants.py).
"""

from __future__ import annotations

import json
import threading
import uuid
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace

import pytest
from azure.core.exceptions import ServiceRequestError

import attempt_store
import graph as graph_package
import reprocess_timer
import settings as app_settings
from attempts import Decision, Outcome, blank
from graph import Accepted, Request
from reprocess_timer.sweep import run_sweep
from settings import load
from tests.support.scripted_graph import DENIED, NOT_FOUND, REFUSED, SILENCE, START
from tests.support.sweeps import counts

PACKAGES = [str(uuid.UUID(int=n)) for n in (100, 101)]
GONE = ServiceRequestError("gone")


def request(number, state="deliveryFailed", ago=timedelta(hours=2), package=PACKAGES[0]):
    request_id = str(uuid.UUID(int=0xF << 124 | 4 << 76 | 8 << 60 | number))
    return Request(request_id, state, "userAdd", START - ago, access_package_id=package)


class SmallGraph:
    """Requests that become `next_state` when they are reprocessed; errors where they are put."""

    def __init__(self, clock):
        self.clock, self.now, self.sleep = clock, clock.now, clock.sleep
        self.requests = {}
        self.posted = []
        self.threads = set()  # that have posted
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

    def become(self, request_id, state):
        self.requests[request_id] = replace(self.requests[request_id], state=state)

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
        return [self.unreadable.get(i) or self.requests.get(i, NOT_FOUND) for i in request_ids]

    def reprocess_each(self, request_ids, _deadline):
        self.posted += request_ids
        self.threads.add(threading.current_thread())
        return [self.refusals.get(one) or self.reprocess(one) for one in request_ids]

    def reprocess(self, request_id):
        self.become(request_id, self.next_state)
        return Accepted(self.now(), "graph-id", "client-id")


class World:
    """Sweeps one after the other, with the attempt records in memory."""

    def __init__(self, clock, store, caplog):
        self.clock, self.attempts, self.caplog = clock, store, caplog
        self.graph = SmallGraph(clock)
        self.deadline = clock.deadline()
        caplog.set_level("INFO", "redeliver")

    def sweep(self, **environ):
        self.caplog.clear()
        return run_sweep(self.graph, self.attempts, load(environ), self.clock)

    def record(self, request_id):
        return self.attempts.read(request_id, self.deadline)

    def records(self):
        return self.attempts.read_all(self.deadline)

    def tried(self, request_id, outcome=Outcome.ACCEPTED, times=1):
        """Write down attempts that a sweep made before."""
        for _ in range(times):
            before = self.record(request_id)
            [claim] = self.attempts.claim([before], "sweep", self.deadline)
            self.attempts.decide([Decision(claim, outcome, self.clock.now())], self.deadline)

    def lines(self, name=None):
        lines = [json.loads(one.message) for one in self.caplog.records if one.name == "redeliver"]
        return [line for line in lines if name in {None, line["event"]}]


@pytest.fixture
def world(clock, store, caplog):
    return World(clock, store, caplog)


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
    assert [first, second, third] == [counts(report) for report in reports]
    assert sorted(ids) == sorted(world.graph.posted)
    assert [{}, {1: 45}, {}] == [report.delivered_after for report in reports]
    assert [("", True)] * 3 == [(report.problem, report.list_complete) for report in reports]
    assert ["attempts", "list", "reprocess", "readBack", "notify"] == list(reports[0].seconds)
    assert "sweep" == world.record(ids[0]).history[0].by


def test_a_dry_run_plans_and_changes_nothing(world):
    """Nothing is sent, claimed, read back or marked; its report is kept, as every sweep's."""
    world.graph.put(request(1), request(2, "delivered"))
    world.attempts.defer(request(2).id, world.deadline)
    before = world.records()

    report = world.sweep(SWEEP_DRY_RUN="true")

    assert ({"found": 1, "due": 1}, True) == (counts(report), report.dry_run)
    assert ([], before) == (world.graph.posted, world.records())
    at, kept = world.attempts.last_report(world.deadline)
    assert (report.fields(), world.graph.now()) == (kept, at)


def test_the_list_takes_half_of_the_budget_at_most(world):
    """Only notices need names."""
    world.sweep(SWEEP_BUDGET_SECONDS="1000")
    world.sweep(SWEEP_BUDGET_SECONDS="1000", NOTIFY_URL="https://receiver.example")

    assert [(500, False), (500, True)] == world.graph.list_deadlines


# -- when something is away --


def gone(*_):
    raise GONE


@pytest.mark.parametrize(("step", "fails", "problem", "known"), [
    ("read_all", gone, "the attempt records could not be read", {}),
    ("claim", lambda records, *_: [GONE] * len(records), "attempt records could not be written",
     {"found": 1, "due": 1, "postponed": 1}),
    ("keep_report", gone, "", {"found": 1, "due": 1, "accepted": 1}),
])  # fmt: skip
def test_without_the_table_nothing_is_sent(world, monkeypatch, step, fails, problem, known):
    """Else the same request could be sent again and again. A report that is lost stops nothing."""
    world.graph.put(request(1))
    monkeypatch.setattr(world.attempts, step, fails)

    report = world.sweep()

    assert known == counts(report)
    assert report.problem.startswith(problem)
    assert bool(problem) == (world.graph.posted == [])
    line = {"event": "attempts not written", "what": "report", "count": 1, "error": "ServiceRequestError", "sweepId": report.sweep_id}  # fmt: skip
    assert ([] if problem else [line]) == world.lines("attempts not written")


def test_one_list_that_fails_costs_itself_alone(world):
    """The others are done, and what it had given; nothing is read back in this sweep.

    [seen: msgraph-sdk-powershell#2505, #3293: an outage of the path, for lists and reads]
    """
    ids = world.graph.put(request(1), request(2, package=PACKAGES[1]))
    world.graph.put(request(3, "delivered"))
    world.tried(request(3).id)
    world.graph.list_errors[PACKAGES[0]] = DENIED

    report = world.sweep(SWEEP_ACCESS_PACKAGES=",".join(PACKAGES))

    assert {"found": 2, "due": 2, "accepted": 2} == counts(report)
    assert PACKAGES[0] in report.problem
    assert 1 == len(world.lines("list incomplete"))
    assert sorted(ids) == sorted(world.graph.posted)
    assert "delivered" not in report.counts
    assert not world.record(request(3).id).completed


# -- deferred requests --


def test_deferred_requests_are_looked_up_when_no_list_contains_them(world):
    """Failed ones are found and sent, whatever their package; others are read back."""
    foreign, unread, moved = world.graph.put(
        request(1, package=PACKAGES[1]), request(2, package=PACKAGES[1]), request(3, "delivered")
    )
    listed, gone = *world.graph.put(request(4)), request(5).id
    for one in (foreign, unread, moved, listed, gone):
        world.attempts.defer(one, world.deadline)
    world.graph.unreadable[unread] = SILENCE

    report = world.sweep(SWEEP_ACCESS_PACKAGES=PACKAGES[0])

    assert {"found": 2, "due": 2, "accepted": 2, "delivered": 1} == counts(report)
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

    assert {"delivered": 2, "delivering": 1, "other": 2} == counts(first)
    assert {1: 1, 2: 1} == first.delivered_after
    assert {"delivering": 1, "other": 1} == counts(second)
    assert {request(n).id for n in (1, 2, 4, 6)} == {
        one.request_id for one in world.records().values() if one.completed
    }


def test_what_failed_again_outside_the_lists_is_not_completed(world):
    (one,) = world.graph.put(request(1))
    world.tried(one)
    world.graph.unlisted = {one}

    world.sweep()

    assert not world.record(one).completed


def test_the_table_is_read_for_half_of_the_budget_and_two_minutes_at_most(world):
    seen = []
    world.attempts.read_all = lambda deadline: seen.append(deadline.left()) or {}

    world.sweep(SWEEP_BUDGET_SECONDS="100")
    world.sweep()

    assert [50.0, 120.0] == seen


HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.mark.parametrize(("kept", "before", "wait", "state"), [
    (False, "completed", 2 * HOUR, "delivered"),
    (True, "completed", 0.9 * HOUR, "delivered"),
    (True, "completed", 2 * HOUR, "deliveryFailed"),
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

    assert {"found": 1, "cooling": 1} == counts(world.sweep())
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
    same = {"event": "sweep progress", "step": "list", "throttled": 0, "nextSweepAt": "2026-08-21T13:00:00Z"}  # fmt: skip
    assert [same | {"done": seconds} for seconds in (10, 20, 30)] == lines[:3]


def test_every_line_of_a_sweep_has_its_id(world):
    """Also those of worker threads."""
    ids = world.graph.put(*map(request, range(3)))
    world.graph.refusals = {ids[0]: REFUSED}

    report = world.sweep()

    assert threading.current_thread() not in world.graph.threads
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
    wanted = {"event": "sweep finished", "correlationId": "invocation", "pastDue": True, "found": 0}
    assert wanted.items() <= line.items()
    assert {"sweepId", "nextSweepAt", "seconds"} <= line.keys()


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
