"""A simulated day of one request: real reprocessing code, virtual time, random interleavings.

Every caller and sweep runs the app's own code in a greenlet; each call to Graph or the table hands
over to whoever is next in virtual time. Graph, the table's network and process deaths are random,
by a seed. What is recorded is judged by `violations`.

Not for: Graph's protocol (tests against the emulator), or a table's (tests against Azurite).
"""

from __future__ import annotations

import heapq
import itertools
import random
import uuid
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import greenlet
from azure.core.exceptions import AzureError

from attempt_store import AttemptStore
from deadline import Deadline
from graph import (
    Accepted,
    GraphDenied,
    GraphError,
    GraphFailed,
    GraphRefused,
    GraphThrottled,
    Request,
)
from planning.plan import FailedRequest, PlanStatus, classify
from reprocessing.bulk import Bulk
from reprocessing.many import Context, Due, reprocess_many
from reprocessing.rate_limiter import RateLimiter
from reprocessing.service import RequestService
from reprocessing.states import Result
from settings import load
from table import InMemoryRows
from tests.support.inline import inline_workers

if TYPE_CHECKING:
    from attempts import AttemptRecord

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
START = datetime(2026, 8, 20, 12, tzinfo=UTC)
REQUEST = str(uuid.UUID(int=1))
WINDOW = DAY  # a window of one day, so that a world is short
SETTINGS = load(
    {"SWEEP_WINDOW_DAYS": "1", "SWEEP_COOLDOWN_MAX_MINUTES": "360", "SWEEP_MAX_ATTEMPTS": "1000"}
)
CALM = WINDOW - 3 * HOUR  # from then on nothing goes wrong any more
HTTP_SECONDS, WEBHOOK_SECONDS = 60.0, 9.0
SKEW = 2.0  # seconds between the clocks of two instances


class Hub:
    """Runs greenlets in the order of virtual time."""

    def __init__(self) -> None:
        self.now = 0.0
        self._main = greenlet.getcurrent()
        self._queue: list[tuple[float, int, Any]] = []
        self._numbers = itertools.count()

    def at(self, when: float, run: Any) -> None:
        """Run a function at a time, as a greenlet of its own, which ends in nobody else's."""
        one = greenlet.greenlet(run, self._main)
        heapq.heappush(self._queue, (when, next(self._numbers), one))

    def pause(self, seconds: float) -> None:
        """Let the others go on for so many seconds."""
        me = greenlet.getcurrent()
        heapq.heappush(self._queue, (self.now + seconds, next(self._numbers), me))
        self._main.switch()

    def run(self, until: float) -> None:
        """Run everything that happens by then, and end the rest."""
        while self._queue and self._queue[0][0] <= until:
            self.now, _, one = heapq.heappop(self._queue)
            one.switch()
        for _, _, one in self._queue:
            one.throw()


@dataclass
class Chances:
    """How often what goes wrong; every figure is a probability for one call."""

    lag: tuple[float, ...] = (0.0, 3.0)  # seconds until Graph shows what has changed
    lost: float = 0.0  # Graph acts, and its answer is lost
    ignored: float = 0.0  # Graph answers nothing, and has done nothing
    late: float = 0.0  # Graph acts after the client has given up
    throttled: float = 0.0
    refused: float = 0.0
    denied: float = 0.0
    unreadable: float = 0.0  # a read of Graph fails
    slow: float = 0.0  # Graph takes 5 to 28.5 seconds
    killed: float = 0.0  # a process dies at any call
    table_lost: float = 0.0  # a write is done and its answer is lost
    table_failed: float = 0.0
    table_slow: float = 0.0
    outages: bool = False
    long_deliveries: bool = False


@dataclass
class World:
    """One request from its failure to the end of its window."""

    seed: int
    chances: Chances
    hub: Hub = field(default_factory=Hub)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        random.seed(self.seed)  # of the jitter of waits
        self.lag = self.random.choice(self.chances.lag)
        self.fixed_at = self.random.uniform(0, WINDOW - 3 * HOUR)  # then deliveries succeed
        # What the request really is: (since, state, completed at), the last one is now.
        self.history = [(-1e9, "deliveryFailed", -20 * MINUTE)]
        self.last_failure = -1e18
        self.rows = InMemoryRows()
        self.memory = {n: InMemoryRows() for n in (0, 1)}
        self.posts: list[tuple[float, str]] = []
        self.accepted: list[tuple[float, str]] = []
        self.promises: list[float] = []
        self.in_memory: set[str] = set()
        self.violations: Counter[str] = Counter()
        self.kills = 0
        self.outages = {name: self._outage() for name in ("graph", "table")}

    def _outage(self) -> list[tuple[float, float]]:
        if not self.chances.outages:
            return []
        starts = [self.random.uniform(0, WINDOW * 0.6) for _ in range(self.random.randint(0, 3))]
        return [(at, at + self.random.choice([20, 120, 1200, 7200])) for at in starts]

    def is_down(self, name: str) -> bool:
        return any(start <= self.hub.now <= end for start, end in self.outages[name])

    def chance(self, probability: float) -> bool:
        return self.hub.now < CALM and self.random.random() < probability

    def pause(self, seconds: float) -> None:
        self.hub.pause(seconds)
        if self.chance(self.chances.killed):
            self.kills += 1
            raise greenlet.GreenletExit

    def clock(self) -> float:
        return self.hub.now

    def deadline(self, seconds: float) -> Deadline:
        return Deadline(seconds, self.clock)

    def time(self, at: float | None = None) -> datetime:
        return START + timedelta(seconds=self.hub.now if at is None else at)

    # -- what really happens in Graph --

    def state(self) -> str:
        return self.history[-1][1]

    def seen(self) -> tuple[str, float]:
        """State and completion as Graph shows them, late by the lag."""
        shown = self.history[0]
        for one in self.history:
            if one[0] <= self.hub.now - self.lag or one[0] <= -1:
                shown = one
        return shown[1], shown[2]

    def accept(self, who: str) -> None:
        if self.accepted and self.last_failure < self.accepted[-1][0]:
            self.violations["accepted twice"] += 1
        self.accepted.append((self.hub.now, who))
        self.history.append((self.hub.now, "delivering", self.history[-1][2]))
        durations = [10.0, 60.0, 400.0, *([2 * HOUR] if self.chances.long_deliveries else [])]
        self.hub.at(self.hub.now + self.random.choice(durations), self.complete)

    def complete(self) -> None:
        if self.state() != "delivering":
            return
        state = "delivered" if self.hub.now >= self.fixed_at else "deliveryFailed"
        self.history.append((self.hub.now, state, self.hub.now))
        if state == "deliveryFailed":
            self.last_failure = self.hub.now

    def judge_post(self, who: str) -> None:
        """A request that Graph accepted within a cool-down must not be sent again."""
        self.posts.append((self.hub.now, who))
        if not self.accepted or self.last_failure >= self.accepted[-1][0]:
            return
        at, whose = self.accepted[-1]
        # A stale Graph is remembered for five minutes, where it has answered.
        stale = self.lag > 5 and (self.chances.lost or self.hub.now - at >= 5 * MINUTE - 5)
        if self.hub.now - at >= HOUR or stale:
            return
        if {who, whose.removesuffix(" late")} & self.in_memory:
            self.violations["sent twice while the table was away"] += 1
        elif whose.endswith(" late"):
            self.violations["sent twice after a late acceptance"] += 1
        else:
            self.violations["sent twice"] += 1


class SimulatedGraph:
    """One caller's Graph."""

    def __init__(self, world: World, who: str, instance: int) -> None:
        self.world, self.who, self.sleep = world, who, world.pause
        self.skew = timedelta(seconds=SKEW * instance)

    def now(self) -> datetime:
        return self.world.time() + self.skew

    def read(self, request_id: str, deadline: Deadline) -> Request:
        (outcome,) = self.read_each([request_id], deadline)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def read_each(self, request_ids: list[str], deadline: Deadline) -> list[Any]:
        world = self.world
        world.pause(min(world.random.choice([0.1, 0.1, 0.3, 2.0]), deadline.left()))
        if world.is_down("graph") or world.chance(world.chances.unreadable):
            return [GraphFailed("broken", status=500, outcome_unknown=True) for _ in request_ids]
        state, completed = world.seen()
        at = world.time(completed)
        return [Request(REQUEST, state, "userAdd", at, read_at=world.time()) for _ in request_ids]

    def reprocess_each(self, request_ids: list[str], deadline: Deadline) -> list[Any]:
        return [self._post(deadline) for _ in request_ids]

    def _post(self, deadline: Deadline) -> Any:  # noqa: PLR0911 - whatever may happen to a send
        world, who = self.world, self.who
        chances, pick = world.chances, world.random.choice
        seconds = deadline.left()
        if not seconds:
            return GraphFailed("no time left")
        world.judge_post(who)
        silent = GraphFailed("silent", outcome_unknown=True)
        if world.is_down("graph"):
            world.pause(pick([0.2, seconds]))
            return pick([silent, GraphThrottled("wait", status=429, retry_after=10.0)])
        before, after = pick([0.05, 0.2, 1.0]), pick([0.05, 0.2, 1.0])
        if world.chance(chances.slow):
            after = pick([5.0, 20.0, 28.5])
        cut = before + after > seconds
        if world.chance(chances.throttled):
            world.pause(min(before + after, seconds))
            wait = float(pick([1, 10, 100]))
            return silent if cut else GraphThrottled("wait", status=429, retry_after=wait)
        if world.chance(chances.ignored):
            world.pause(pick([min(before + after, seconds), seconds]))
            return silent
        if world.chance(chances.denied):
            world.pause(min(before + after, seconds))
            return silent if cut else GraphDenied("denied", status=403)
        if not cut and world.chance(chances.refused):
            world.pause(before + after)
            return GraphRefused("refused", status=400)
        if world.chance(chances.late):
            late = world.hub.now + seconds + pick([3, 20])
            world.hub.at(late, self._accept_late)
            world.pause(seconds)
            return silent
        end = world.hub.now + seconds
        world.pause(min(before, seconds))
        answer, is_lost = GraphRefused("not failed", status=400), cut
        if world.state() == "deliveryFailed":
            answer = Accepted(world.time(), "", "")
            world.accept(who)
            is_lost = cut or world.chance(chances.lost)
        world.pause(max(0.0, end - world.hub.now) if cut else after)
        return silent if is_lost else answer

    def _accept_late(self) -> None:
        if self.world.state() == "deliveryFailed":
            self.world.accept(f"{self.who} late")


class SimulatedRows:
    """The shared rows as one caller reaches them: over a network that is slow and loses answers."""

    def __init__(self, world: World, timeout: float) -> None:
        self.world, self.timeout = world, timeout

    def _delay(self, deadline: Deadline) -> tuple[float, float]:
        world, limit = self.world, min(self.timeout, deadline.left())
        if not limit:
            raise AzureError("no time left")
        if world.is_down("table") or world.chance(world.chances.table_failed):
            world.pause(world.random.choice([0.05, limit]))
            raise AzureError("unreachable")
        delay = world.random.choice([0.003, 0.01, 0.05])
        if world.chance(world.chances.table_slow):
            delay = world.random.choice([0.8, 3.0, 15.0])
        return delay, limit

    def read(self, request_id: str, deadline: Deadline) -> AttemptRecord | None:
        delay, limit = self._delay(deadline)
        if delay > limit:
            self.world.pause(limit)
            raise AzureError("too slow")
        self.world.pause(delay / 2)
        row = self.world.rows.read(request_id, deadline)
        self.world.pause(delay / 2)
        return row

    def write(self, changes: Any, deadline: Deadline) -> list[Any]:
        world = self.world
        try:
            delay, limit = self._delay(deadline)
        except AzureError as error:
            return [error for _ in changes]
        if delay > limit:  # it arrives after the client has given up
            world.hub.at(world.hub.now + delay / 2, lambda: world.rows.write(changes, deadline))
            world.pause(limit)
            return [AzureError("too slow") for _ in changes]
        world.pause(delay / 2)
        written = world.rows.write(changes, deadline)
        world.pause(delay / 2)
        if world.chance(world.chances.table_lost):
            return [AzureError("the answer was lost") for _ in changes]
        return written


class MemoryRows:
    """The rows in one instance's memory; notes who had to use them."""

    def __init__(self, world: World, instance: int, who: str) -> None:
        self.world, self.rows, self.who = world, world.memory[instance], who

    def read(self, request_id: str, deadline: Deadline) -> AttemptRecord | None:
        return self.rows.read(request_id, deadline)

    def write(self, changes: Any, deadline: Deadline) -> list[Any]:
        self.world.in_memory.add(self.who)
        return self.rows.write(changes, deadline)


def call(world: World, who: str, instance: int, *, webhook: bool) -> None:
    """One caller of the single route, or a webhook."""
    graph = SimulatedGraph(world, who, instance)
    memory = AttemptStore(MemoryRows(world, instance, who), graph.now)
    attempts = AttemptStore(SimulatedRows(world, 1.0), graph.now)
    service = RequestService(graph, attempts, memory, timedelta(seconds=WINDOW))
    seconds, began = WEBHOOK_SECONDS if webhook else HTTP_SECONDS, world.hub.now
    result = service.reprocess(REQUEST, who, world.deadline(seconds), promise=webhook)
    judge_answer(world, who, result, began, seconds)


def bulk(world: World, who: str, instance: int) -> None:
    """One caller of the route for many requests, who names this one."""
    began, end = world.hub.now, world.deadline(HTTP_SECONDS)
    context = context_of(world, SimulatedGraph(world, who, instance), end, end)
    run = Bulk(context, who, timedelta(seconds=WINDOW), dry_run=False, promise=True)
    try:
        result = run.run([REQUEST])[REQUEST]
    except (AzureError, GraphError) as error:
        result = Result("nothing done", error=error if isinstance(error, GraphError) else None)
    judge_answer(world, who, result, began, HTTP_SECONDS)


def context_of(world: World, graph: SimulatedGraph, deadline: Deadline, end: Deadline) -> Context:
    """What a run has in virtual time; its table may be slow."""
    attempts = AttemptStore(SimulatedRows(world, 20.0), graph.now)
    limiter = RateLimiter(1, 20, world.clock)
    workers = inline_workers(lambda seconds: world.pause(max(seconds, 0.01)))
    return Context(graph, attempts, limiter, deadline, end, world.clock, lambda *_: None, workers)


def judge_answer(world: World, who: str, result: Any, began: float, seconds: float) -> None:
    """An answer comes in time, and says nothing that is not so."""
    if world.hub.now > began + seconds + 1:
        world.violations["answered late"] += 1
    mine = any(whose == who for _, whose in world.accepted)
    if mine and world.lag <= 5 and result.outcome in {"refused", "failed", "throttled", "denied"}:
        world.violations[f"{result.outcome}, although Graph accepted it"] += 1
    if result.outcome == "deferred":
        world.promises.append(world.hub.now)
    unseen = world.lag + 5
    was_read = result.request is not None
    if was_read and result.on_its_way and world.state() == "deliveryFailed" and not mine:
        failed_again = world.accepted and world.last_failure >= world.accepted[-1][0]
        if not (failed_again and world.hub.now - world.last_failure < unseen + 300):
            world.violations["said to be on its way, but failed"] += 1


def sweep(world: World, who: str, instance: int) -> None:
    """One sweep: read the record, list, plan, and reprocess what is due."""
    graph = SimulatedGraph(world, who, instance)
    context = context_of(world, graph, world.deadline(800.0), world.deadline(850.0))
    try:
        record = context.attempts.read(REQUEST, context.deadline)
    except AzureError:
        return
    (request,) = graph.read_each([REQUEST], context.deadline)
    world.pause(world.random.choice([0.0, 0.0, 1.0, 120.0]))
    if not isinstance(request, Request) or not request.has_failed:
        return
    failed = min(filter(None, (record.first_failed_at, request.completed_at)))
    planned = FailedRequest(request, replace(record, first_failed_at=failed))
    if classify(planned, SETTINGS, graph.now()) is not PlanStatus.DUE:
        return
    reprocess_many(context, [Due(planned.record)], "sweep")


def live(seed: int, chances: Chances) -> World:
    """Live one world to its end."""
    world = World(seed, chances)
    chance = world.random

    def add(at: float, function: Any, who: str, **more: bool) -> None:
        instance = chance.randint(0, 1)
        world.hub.at(at, lambda: function(world, who, instance, **more))

    at, number = 5 * MINUTE, itertools.count()
    while at < WINDOW:
        add(at + chance.uniform(0, 2), sweep, f"sweep {next(number)}")
        at += 15 * MINUTE
    count = chance.randint(2, 30)
    moments = [chance.uniform(0, WINDOW - 4 * HOUR) for _ in range(max(1, count // 4))]
    for _ in range(count):
        delay = chance.choice([0, 0, 0.05, 0.3, 1, 5, 20, 38, 41, 45, 100, 305, 400, 1000, 3000])
        who = f"caller {next(number)}"
        kind, at = chance.random(), chance.choice(moments) + delay
        if kind < 0.3:
            add(at, bulk, who)
        else:
            add(at, call, who, webhook=kind < 0.5)
    world.hub.run(WINDOW + 10 * MINUTE)
    judge_world(world)
    return world


def judge_world(world: World) -> None:
    """Nothing is lost, and every promise is kept."""
    if world.state() == "deliveryFailed" and not any(at >= world.fixed_at for at, _ in world.posts):
        world.violations["never sent after its cause was fixed"] += 1
    if not world.chances.outages:
        for promised in world.promises:
            if promised < WINDOW - 2 * HOUR and not kept(world, promised):
                world.violations["a promise was not kept within 40 minutes"] += 1
    row = world.rows.read(REQUEST, Deadline(1.0))
    if row and row.count > len(world.posts) + world.kills and not world.chances.table_failed:
        world.violations["counted more than was sent"] += 1


def kept(world: World, promised: float) -> bool:
    """Whether the request was sent or accepted soon after a promise, or was delivered by then.

    Where reads fail by chance so may those of the next sweeps: there it is delivered in the end.
    """
    soon = promised + 40 * MINUTE
    sent = any(promised < at < soon for at, _ in world.posts)
    accepted = any(promised - 10 * MINUTE < at < soon for at, _ in world.accepted)
    until = WINDOW if world.chances.unreadable or world.chances.table_failed else soon
    delivered = any(since < until and state == "delivered" for since, state, _ in world.history)
    return sent or accepted or delivered
