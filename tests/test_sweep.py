"""A whole sweep in this process, beside an emulated Graph: its counts, and days nobody imagined.

For: rules of listing.py, acting.py, read_back.py, report.py and sweep.py together.
Not for: the timer and its invocation (tests/e2e/test_sweep.py), the pace (test_limits.py).
"""

from __future__ import annotations

import itertools
import threading
import uuid
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta

import pytest
from azure.core.exceptions import ServiceRequestError

from attempts import Attempts, Memory
from graph import Graph
from reprocess_timer.acting import LEFT_TO_ANOTHER
from reprocess_timer.report import Counts
from tests.local_app import ago

PACKAGES = [f"{n}0000000-0000-4000-8000-00000000ac7e" for n in "abc"]


def counts(**some):
    return Counts(**some)


def test_what_is_due_is_reprocessed_and_read_back(world):
    """All pages, each due request once; the next sweep sees them delivered."""
    ids = world.failures(250)
    world.failures(3, completedDateTime=ago(minutes=5))
    world.failures(2, completedDateTime=ago(days=15))

    first, second = world.sweep(), world.sweep()

    assert counts(found=255, due=250, accepted=250, cooling=3, expired=2) == first.counts
    assert counts(found=5, cooling=3, expired=2, delivered=250) == second.counts
    assert sorted(ids) == sorted(world.posted())
    assert ("", True, "") == (first.problem, first.list_complete, second.problem)


def test_a_request_that_fails_again_cools_down(world):
    """The same request is not tried again within its cool-down, and is after it."""
    world.failures(2, outcomes=["deliveryFailed"])

    first, second = world.sweep(), world.sweep()
    world.ahead = timedelta(hours=2)
    third = world.sweep()

    assert [
        counts(found=2, due=2, accepted=2),
        counts(found=2, cooling=2),
        counts(found=2, due=2, accepted=2),
    ] == [first.counts, second.counts, third.counts]


def test_a_forbidden_package_costs_itself_alone(world):
    """The others are done; the sweep fails, names it, and says what to grant."""
    ids = [world.failures(2, accessPackageId=package) for package in PACKAGES]
    world.app.control("PATCH", "settings", {"forbiddenPackages": [PACKAGES[1]]})

    report = world.sweep(SWEEP_ACCESS_PACKAGES=",".join(PACKAGES))

    assert (counts(found=4, due=4, accepted=4), False) == (report.counts, report.list_complete)
    assert sorted(ids[0] + ids[2]) == sorted(world.posted())
    assert report.problem.startswith(f"access packages could not be listed: {PACKAGES[1]}, the ")
    assert "give the managed identity the role Access package assignment manager" in report.problem
    assert [PACKAGES[1]] == [line["accessPackageId"] for line in world.lines("list broken off")]


def test_an_unlisted_package_is_not_taken_for_read_back(world):
    """What was tried and is not listed now is read, and stays known while it still fails."""
    (tried,) = world.failures(1, accessPackageId=PACKAGES[0], outcomes=["deliveryFailed"])
    world.sweep()
    world.app.control("PATCH", "settings", {"forbiddenPackages": [PACKAGES[0]]})

    report = world.sweep(SWEEP_ACCESS_PACKAGES=PACKAGES[0])

    assert counts() == report.counts
    assert 1 == world.attempts.read(tried).count


@pytest.mark.parametrize(
    "settings",
    [
        {"GRAPH_API_VERSION": "beta"},
        {"GRAPH_API_VERSION": "beta", "GRAPH_REQUESTS_PATH": "accessPackageAssignmentRequests"},
        {"GRAPH_BATCH_SIZE": "1"},
    ],
    ids=str,
)
def test_every_version_and_path_of_graph_is_swept(world, settings):
    """beta, the legacy path, and single calls come to the same."""
    world.failures(25)

    assert counts(found=25, due=25, accepted=25) == world.sweep(**settings).counts


@pytest.mark.parametrize("refused", ["batchSupported", "combinedFilterSupported"])
def test_what_graph_does_not_offer_is_done_without(world, refused):
    """No $batch: single calls. No combined filter: one list per state."""
    world.failures(15)
    world.failures(15, state="partiallyDelivered")
    world.app.control("PATCH", "settings", {refused: False})

    assert counts(found=30, due=30, accepted=30) == world.sweep().counts


@pytest.mark.parametrize("form", ["int", "decimal", "date", "none"])
def test_throttling_is_waited_out(world, form):
    """429 in every form: all are accepted in the end, none is lost."""
    world.failures(60)
    throttle = {"perSecond": 40, "burst": 30, "retryAfter": form}
    world.app.control("PATCH", "settings", {"throttle": throttle})

    report = world.sweep()

    assert counts(found=60, due=60, accepted=60) == replace(report.counts, throttled=0)
    assert report.counts.throttled > 0


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "truncated"},
        {"kind": "html"},
        {"kind": "dropBefore"},
        {"kind": "status", "status": 503, "retryAfter": "1"},
    ],
    ids=str,
)
def test_a_bad_page_costs_a_retry(world, fault):
    """One page of no use, or one that is late, is read again."""
    world.app.control("PATCH", "settings", {"top": "ignored"})
    world.failures(150)
    world.app.fault("list", skip=1, **fault)

    report = world.sweep()

    assert (150, 150, True) == (
        report.counts.found,
        report.counts.accepted,
        report.list_complete,
    )
    assert 1 == len(world.slept)


@pytest.mark.parametrize("kind", ["foreignNextLink", "circularNextLink"])
def test_of_a_list_that_breaks_off_what_was_read_is_done(world, kind):
    """Then the sweep fails and says so."""
    world.app.control("PATCH", "settings", {"top": "ignored"})
    world.failures(150)
    world.app.fault("list", kind, times=-1)

    report = world.sweep()

    assert report.counts.accepted == report.counts.due == report.counts.found > 0
    assert not report.list_complete
    assert "could not be listed, or not all of them: Graph's nextLink" in report.problem


def test_the_list_takes_half_of_the_budget_at_most(world):
    """A list that is throttled for ever leaves time for what was listed."""
    world.app.control("PATCH", "settings", {"top": "ignored"})
    world.failures(150)
    world.app.fault("list", "status", status=429, retryAfter="600", skip=1, times=-1)

    report = world.sweep(SWEEP_BUDGET_SECONDS="1000")

    assert [] == [wait for wait in world.slept if wait >= 500]
    assert (100, 100, False) == (
        report.counts.due,
        report.counts.accepted,
        report.list_complete,
    )


@pytest.mark.parametrize("fault", ["dropAfter", "missing"])
def test_a_lost_answer_of_what_was_accepted_is_settled_by_its_state(world, fault):
    """It moved, so it was accepted; nothing is sent twice."""
    world.failures(40, deliverySeconds=30)
    on = "batchItem" if fault == "missing" else "batch"
    world.app.fault(on, fault, **({"after": True} if fault == "missing" else {}))

    report = world.sweep()

    assert counts(found=40, due=40, accepted=40) == report.counts
    assert 40 == len(world.posted())
    assert [5.0] == world.slept


def test_a_lost_call_that_never_arrived_counts_as_no_attempt(world):
    """It did not move: its claim is given back, and the next sweep takes it at once."""
    ids = world.failures(40)
    world.app.fault("batch", "dropBefore")

    first = world.sweep()
    known = world.attempts.read_all()
    second = world.sweep()

    assert counts(found=40, due=40, accepted=20, postponed=20) == first.counts
    assert (20, "") == (len(known), first.problem)
    assert counts(found=20, due=20, accepted=20, delivered=20) == second.counts
    assert sorted(ids) == sorted(world.posted())


def test_an_outage_stops_the_sweep_and_costs_no_attempt(world):
    """Three whole calls lost in a row: the rest is postponed, and the sweep fails."""
    world.failures(200)
    world.app.fault("batch", "dropBefore", times=3)

    first = world.sweep()
    known = world.attempts.read_all()
    second = world.sweep()

    assert counts(found=200, due=200, postponed=200) == first.counts
    assert first.problem == (
        "Graph did not answer three times in a row, so the rest is left to the next sweep: the "
        "connection to Graph broke before its answer came"
    )
    assert {} == known
    assert 200 == second.counts.accepted


def test_a_token_that_ends_within_a_batch_costs_nobody_a_cool_down(world):
    """The `$batch` is taken, its items are not: they are sent again with a new token."""
    world.failures(45)
    world.app.fault("batchItem", "status", status=401, times=20)

    report = world.sweep()

    assert (counts(found=45, due=45, accepted=45), "") == (report.counts, report.problem)


def test_a_request_that_graph_denies_cools_down_without_counting(world):
    """One denial among others keeps nobody from being tried."""
    ids = world.failures(30)
    world.app.fault("batchItem", "status", status=403, code="UnAuthorized", requestId=ids[7])

    first, second = world.sweep(), world.sweep()

    assert counts(found=30, due=30, accepted=29, failed=1) == first.counts
    assert counts(found=1, cooling=1, delivered=29) == second.counts
    row = world.attempts.read(ids[7])
    assert (0, "denied") == (row.count, row.outcome)
    assert "HTTP 403 UnAuthorized" in row.refusal
    world.ahead = timedelta(hours=2)
    assert 1 == world.sweep().counts.accepted


def test_when_all_is_denied_the_sweep_stops_and_says_what_to_grant(world):
    """A sample from all over the queue is denied as well: the rest is left alone."""
    world.failures(500)
    world.app.control("PATCH", "settings", {"roles": ["EntitlementManagement.Read.All"]})

    report = world.sweep()

    assert report.counts.failed < 60
    assert 500 == report.counts.failed + report.counts.postponed
    assert report.problem.startswith("Graph denies all that is tried: ")
    assert "EntitlementManagement.ReadWrite.All" in report.problem


def test_one_forbidden_package_at_the_front_hides_no_other(world):
    """Its requests may be listed, are the most urgent, and are all denied: the others are tried."""
    denied = world.failures(100, accessPackageId=PACKAGES[0], completedDateTime=ago(days=9))
    others = world.failures(100, accessPackageId=PACKAGES[1])
    for one in denied:
        world.app.fault("batchItem", "status", status=403, requestId=one, times=-1)

    report = world.sweep()

    assert counts(found=200, due=200, accepted=100, failed=100) == report.counts
    assert set(others) <= set(world.posted())
    assert "" == report.problem


def test_a_refusal_is_kept_for_whoever_asks(world):
    """Its attempt counts; Graph's words are in the row and, for one request, in the log."""
    (one,) = world.failures(1)
    world.app.fault("reprocess", "status", status=400, code="Poison", message="No.", requestId=one)

    report = world.sweep()

    assert counts(found=1, due=1, refused=1) == report.counts
    row = world.attempts.read(one)
    assert (1, "refused", "No (HTTP 400 Poison)") == (row.count, row.outcome, row.refusal)
    (line,) = world.lines("reprocess refused")
    assert (one, 1, "Poison") == (line["requestId"], line["attempt"], line["graphErrorCode"])


def test_what_was_deferred_comes_first_and_though_exhausted(world):
    """A caller was promised the next sweep."""
    ids = world.failures(30)
    for one in (ids[20], ids[25]):
        world.attempts.defer(one)
    for _ in range(20):
        world.attempts.record(ids[25], datetime.now(UTC) - timedelta(minutes=1))
    world.attempts.defer(ids[25])

    report = world.sweep(GRAPH_BATCH_SIZE="1", SWEEP_MAX_REQUESTS="2")

    assert {ids[20], ids[25]} == set(world.posted())
    assert counts(found=30, due=30, accepted=2, postponed=28) == report.counts


def test_one_request_throttled_for_ever_is_postponed(world):
    """After five times; the others do not wait for it, and it costs no attempt."""
    ids = world.failures(60)
    for on in ("batchItem", "reprocess"):  # the last time it is alone
        world.app.fault(on, "status", status=429, requestId=ids[3], times=-1)

    report = world.sweep()

    assert replace(report.counts, throttled=0) == counts(found=60, due=60, accepted=59, postponed=1)
    assert world.attempts.read(ids[3]) is None


def test_when_nothing_due_could_be_tried_the_sweep_fails(world):
    """Throttled beyond the budget: one sentence says so; nothing is lost."""
    world.failures(5)
    world.app.fault("batch", "status", status=429, retryAfter="3600")

    first, second = world.sweep(), world.sweep()

    assert counts(found=5, due=5, postponed=5, throttled=5) == first.counts
    assert first.problem.startswith("5 requests were due and none could be tried: Graph is thro")
    assert 5 == second.counts.accepted


def test_a_dry_run_plans_and_changes_nothing(world):
    """No POST, no claim; its report is kept, as every sweep's."""
    world.failures(30)

    report = world.sweep(SWEEP_DRY_RUN="true")

    assert (counts(found=30, due=30), True) == (report.counts, report.dry_run)
    assert ([], {}) == (world.posted(), world.attempts.read_all())
    assert asdict(report.counts).items() <= world.attempts.last_sweep()[1].items()


class Table(Memory):
    """Rows in memory, with a table's bad days."""

    def __init__(self, fails):
        super().__init__()
        self.fails = fails

    def rows(self, *rest):
        if "rows" in self.fails:
            raise ServiceRequestError("gone")
        return super().rows(*rest)

    def write(self, changes, *rest):
        if "write" in self.fails:
            return [ServiceRequestError("gone")] * len(changes)
        return super().write(changes, *rest)


@pytest.mark.parametrize(
    ("fails", "problem", "found"),
    [
        ("rows", "the attempts could not be read (ServiceRequestError), so nothing was tried", 0),
        ("write", "attempts could not be written (ServiceRequestError), so nothing more was", 25),
    ],
)
def test_without_the_table_nothing_is_tried(world, fails, problem, found):
    """Else the same request could be tried again and again; the sentence says what to check."""
    world.failures(25)

    report = world.sweep(Attempts(Table({fails})))

    assert counts(found=found, due=found, postponed=found) == report.counts
    assert report.problem.startswith(problem)
    assert "check AzureWebJobsStorage" in report.problem
    assert [] == world.posted()


class Contested(Memory):
    """Rows that another sweep claims just before we do, a few of them or all."""

    def __init__(self, theirs):
        super().__init__()
        self.theirs = theirs
        self.other = "0abe1000-0000-4000-8000-000000000000"
        self.seen = itertools.count()

    def write(self, changes, *rest):
        for change in changes:
            row = change.row
            mine = row.sweep not in {"", self.other} and not row.etag and not change.remove
            if mine and self.theirs(next(self.seen)) and not self._rows.get(row.request_id):
                super().write([replace(change, row=replace(row, sweep=self.other))], *rest)
        return super().write(changes, *rest)


def test_what_another_sweep_has_claimed_is_left_to_it(world):
    """It counts as cooling down, and the counts still add up."""
    world.failures(60)

    report = world.sweep(Attempts(Contested(lambda n: n % 3 == 0)))

    assert counts(found=60, due=40, accepted=40, cooling=20) == report.counts
    assert [] == world.lines("another sweep is under way")


def test_a_sweep_that_only_finds_anothers_claims_leaves_the_rest_to_it(world):
    """Batch after batch is claimed: the other one goes on, and this one says so and ends well."""
    world.failures(300)

    report = world.sweep(Attempts(Contested(lambda _: True)))

    assert "" == report.problem
    assert 300 == report.counts.due + report.counts.cooling
    assert report.counts.due == report.counts.postponed >= 300 - 20 * LEFT_TO_ANOTHER
    assert [{"event": "another sweep is under way", "sweepId": Contested(None).other}] == (
        world.lines("another sweep is under way")
    )


def test_calls_under_way_when_the_budget_ends_get_their_own_time(world):
    """What is being sent is answered; the rest is postponed, and all ends soon after."""
    world.failures(100)
    world.app.control("PATCH", "settings", {"latencyMs": 200})
    world.speed = 5

    report = world.sweep(SWEEP_BUDGET_SECONDS="12", GRAPH_BATCH_SIZE="5", GRAPH_CONCURRENCY="1")

    assert 0 < report.counts.accepted < 100
    assert 100 == report.counts.accepted + report.counts.postponed
    assert len(world.posted()) == report.counts.accepted
    assert sum(report.seconds.values()) < 12 + 10
    assert report.counts.accepted == len(world.attempts.read_all())


def test_a_long_sweep_says_every_ten_seconds_how_far_it_is(world):
    """Step, done, of how many, the rate and the time left; also of the list."""
    world.failures(300)
    world.app.control("PATCH", "settings", {"latencyMs": 100, "top": "ignored", "pageSize": 60})
    world.speed = 100

    world.sweep(GRAPH_CONCURRENCY="2")

    lines = world.lines("sweep progress")
    assert {"list", "reprocess"} == {line["step"] for line in lines}
    last = lines[-1]
    assert {
        "event": "sweep progress",
        "step": "reprocess",
        "done": last["done"],
        "of": 300,
        "throttled": 0,
        "perSecond": last["perSecond"],
        "secondsLeft": last["secondsLeft"],
    } == last
    assert lines[0]["secondsLeft"] > last["secondsLeft"]


def test_requests_that_need_a_person_are_told_by_their_ids(world):
    """Given up, window closed, window closing: one line each."""
    exhausted = world.failures(1)
    for _ in range(20):
        world.attempts.record(exhausted[0], datetime.now(UTC))
    expired = world.failures(2, completedDateTime=ago(days=20))
    closing = world.failures(1, completedDateTime=ago(days=13))

    report = world.sweep()

    assert (1, 2, 1) == (
        report.counts.exhausted,
        report.counts.expired,
        report.counts.expiring,
    )
    assert [
        {"event": "given up", "count": 1, "requestIds": exhausted},
        {"event": "window closed", "count": 2, "requestIds": sorted(expired)},
        {"event": "window closing", "count": 1, "requestIds": closing},
    ] == [
        {**line, "requestIds": sorted(line["requestIds"])}
        for name in ("given up", "window closed", "window closing")
        for line in world.lines(name)
    ]


def test_rows_go_when_nothing_is_left_to_remember(world):
    """Delivered, or gone: kept for the cool-down, then removed; and whatever is too old."""
    (delivered,) = world.failures(1, state="delivered")
    gone, old = str(uuid.uuid4()), str(uuid.uuid4())
    start = datetime.now(UTC)
    for one in (delivered, gone):
        world.attempts.record(one, start)
    world.attempts.record(old, start - timedelta(days=29))

    left = []
    for hours in (0, 2):
        world.ahead = timedelta(hours=hours)
        world.sweep()
        left.append({one.request_id: one.settled for one in world.attempts.read_all().values()})

    assert [{delivered: True, gone: True}, {}] == left


def test_a_promise_about_what_graph_neither_lists_nor_shows_is_dropped(world):
    """Such as of another catalog, deferred during an outage; what is on its way keeps its own."""
    (foreign,) = world.failures(1, accessPackageId=PACKAGES[1], state="delivered")
    (moving,) = world.failures(
        1,
        accessPackageId=PACKAGES[0],
        state="delivering",
        completedDateTime=None,
        deliverySeconds=3600,
    )
    for one in (foreign, moving):
        world.attempts.defer(one)
    world.app.control("PATCH", "settings", {"forbiddenPackages": [PACKAGES[1]]})

    report = world.sweep(SWEEP_ACCESS_PACKAGES=PACKAGES[0])

    assert ("", True) == (report.problem, report.list_complete)
    assert [moving] == list(world.attempts.read_all())


def test_what_breaks_on_a_worker_ends_the_sweep_and_is_told(world, monkeypatch):
    """An error that nobody foresaw: what was done is reported, and its traceback is logged."""
    world.failures(60)
    calls = itertools.count()
    plain = Graph.reprocess_each

    def broken(self, *rest, **more):
        if next(calls) == 1:
            raise KeyError("nobody foresaw this")
        return plain(self, *rest, **more)

    monkeypatch.setattr(Graph, "reprocess_each", broken)
    report = world.sweep(GRAPH_CONCURRENCY="1")

    assert (20, 60) == (
        report.counts.accepted,
        report.counts.accepted + report.counts.postponed,
    )
    assert report.problem == ("the sweep broke off (KeyError): look for its traceback above")
    assert 1 == len(world.lines("unforeseen error"))


def test_lines_of_worker_threads_carry_the_context_of_the_invocation(world, monkeypatch):
    """Azure drops a line whose thread knows no invocation (python-worker #1860)."""
    from contextvars import ContextVar

    invocation = ContextVar("invocation", default=None)
    seen = {}
    plain = Graph.reprocess_each

    def spied(self, *rest, **more):
        seen[threading.current_thread().name] = invocation.get()
        return plain(self, *rest, **more)

    monkeypatch.setattr(Graph, "reprocess_each", spied)
    world.failures(60)
    invocation.set("the sweep's")
    world.sweep()

    assert threading.current_thread().name not in seen
    assert {"the sweep's"} == set(seen.values())
