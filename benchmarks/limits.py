"""The limiter matrix: how long a drain takes against a Graph that throttles, in virtual time.

    python -m benchmarks.limits

The client is the real one, sender.py and rate_limiter.py. Graph and the time are simulated.
The bound is a client that knows the limiter and is therefore never refused; it has at most 8 calls
of 20 requests in flight.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
import statistics
from collections import deque
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self

from deadline import Deadline
from graph import GraphError, GraphThrottled
from reprocessing.rate_limiter import RateLimiter
from reprocessing.sender import CallResult, Sender, Threads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

CALLS, SIZE = 8, 20
SEEDS = (1, 2, 3)
GIVEN_UP = 12  # times the bound; then a drain counts as not finished
MOST = 24000  # requests in a cell
OTHER = 5  # requests that another client sends at once
LATENCIES = (0.02, 0.1, 0.5)

type RetryAfter = Literal["rounded up", "exact", "10 s", "missing", "a date"]
type Ended = CallResult[int, None]


# -- limiters: each is asked at times that only go forward --
# room(now): how many requests would be granted now. take(count): grant so many. wait(count): in how
# many seconds so many will be granted, by all that is known now.


class Bucket:
    """A token bucket. At `changes_at` its rate becomes another. A client beside us may take half."""

    def __init__(
        self,
        rate: float,
        kept: float,
        level: float,
        changes_at: float = math.inf,
        next_rate: float = 0.0,
        shared: bool = False,
    ) -> None:
        self.rate, self.kept, self.level = rate, kept, level
        self.changes_at, self.next_rate = changes_at, next_rate
        self.every = OTHER / (rate / 2) if shared else math.inf
        self.other_at = self.every
        self.at = 0.0

    def _fill(self, now: float) -> None:
        if now >= self.changes_at:
            until, self.changes_at = self.changes_at, math.inf
            self._fill(until)
            self.rate = self.next_rate
        self.level = min(self.kept, self.level + self.rate * (now - self.at))
        self.at = now

    def room(self, now: float) -> float:
        while now >= self.other_at:
            self._fill(self.other_at)
            self.level -= max(0.0, min(self.level, OTHER))
            self.other_at += self.every
        self._fill(now)
        return self.level

    def take(self, count: int) -> None:
        self.level = max(-self.kept, self.level - count)

    def wait(self, count: int) -> float:
        return (min(count, self.kept) - self.level) / self.rate


class Window:
    """So many in each window of so many seconds; the first has three tenths of it behind it."""

    def __init__(self, limit: int, seconds: float) -> None:
        self.limit, self.seconds = limit, seconds
        self.used = 0
        self.ends_at = 0.7 * seconds
        self.at = 0.0

    def room(self, now: float) -> float:
        self.at = now
        if now >= self.ends_at:
            self.ends_at += self.seconds * (1 + (now - self.ends_at) // self.seconds)
            self.used = 0
        return self.limit - self.used

    def take(self, count: int) -> None:
        self.used += count

    def wait(self, count: int) -> float:
        return self.ends_at - self.at


class Sliding:
    """So many within the last so many seconds."""

    def __init__(self, limit: int, seconds: float) -> None:
        self.limit, self.seconds = limit, seconds
        self.granted: deque[tuple[float, int]] = deque()
        self.used = 0
        self.at = 0.0

    def room(self, now: float) -> float:
        self.at = now
        while self.granted and self.granted[0][0] <= now - self.seconds:
            self.used -= self.granted.popleft()[1]
        return self.limit - self.used

    def take(self, count: int) -> None:
        if count:
            self.granted.append((self.at, count))
            self.used += count

    def wait(self, count: int) -> float:
        free, at = self.limit - self.used, self.at - self.seconds
        granted = iter(self.granted)
        while free < count:
            at, freed = next(granted)
            free += freed
        return at + self.seconds - self.at


type Limiter = Bucket | Window | Sliding
Unlimited = partial(Window, 10**12, math.inf)


# -- Graph --


@dataclass(frozen=True)
class Cell:
    """One combination of limiter, latency and size."""

    name: str
    limiter: Callable[[], Limiter]
    count: int
    latency: float = 0.1  # seconds; each call's own is up to a quarter off
    retry_after: RetryAfter = "rounded up"
    all_or_none: bool = False  # else a call's requests are granted as far as there is room
    costs: int = 0  # what the limiter counts of a refused request
    at_once: int = CALLS
    poisoned: bool = False  # one request in the middle is refused always
    listing: float = 0.0  # seconds that the list takes before the first POST

    def __str__(self) -> str:
        return f"{self.name}; {self.count:,} at {self.latency:g} s, Retry-After {self.retry_after}"

    @property
    def holds_two_batches(self) -> bool:
        limiter = self.limiter()
        return not isinstance(limiter, Bucket) or limiter.kept >= 2 * SIZE


class Simulated(Threads[Ended]):
    """Graph, the clock, and workers without threads."""

    def __init__(self, cell: Cell, seed: int) -> None:
        self.cell = cell
        self.now = self.last_accepted = 0.0
        self.begun_at: float | None = None
        self.accepted = self.refused = self.broken_waits = 0
        self._limiter = cell.limiter()
        self._random = random.Random(f"{cell} {seed}").random
        self._poison = cell.count // 2 if cell.poisoned else -1
        self._wait_until = 0.0
        self._arrived = 0.0  # the last call, in seconds since the first POST
        self._answer = (0.0, 0.0)  # to the call that is being sent: when it comes, how long to wait
        self._flight: list[tuple[float, int, float, Ended]] = []
        self._number = itertools.count()

    def clock(self) -> float:
        return self.now

    def workers(self, most: int) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def submit(self, call: Callable[[], Ended]) -> None:
        self._answer = (self.now, 0.0)
        ended = call()
        at, wait = self._answer
        heapq.heappush(self._flight, (at, next(self._number), wait, ended))

    def finished(self, seconds: float) -> list[Ended]:
        if not self._flight or self._flight[0][0] > self.now + seconds:
            self.now += seconds
            return []
        self.now, _, wait, ended = heapq.heappop(self._flight)
        self._wait_until = max(self._wait_until, self.now + wait)
        return [ended]

    def call(self, items: Sequence[int]) -> Sequence[GraphError | None]:
        """Decide what is granted at the moment of arrival; calls arrive in the order of sending."""
        cell, count = self.cell, len(items)
        self.broken_waits += self.now < self._wait_until
        self.begun_at = self.now if self.begun_at is None else self.begun_at
        half = cell.latency * (0.375 + 0.25 * self._random())
        self._arrived = max(self._arrived, self.now - self.begun_at + half)
        answer_at = self.begun_at + self._arrived + half
        busy = cell.at_once < CALLS and len(self._flight) >= cell.at_once
        room = self._limiter.room(self._arrived)
        granted = 0 if busy or room <= 0 else int(min(count, room + 1e-9))
        if granted < count and cell.all_or_none:
            granted = 0
        self._limiter.take(granted)
        wait = cell.latency
        if granted < count and not busy:
            wait = self._limiter.wait(count if cell.all_or_none else 1)
        error = GraphThrottled("", status=429, retry_after=self._retry_after(wait))
        outcomes: list[GraphError | None] = [None] * granted + [error] * (count - granted)
        if self._poison in items:
            outcomes[items.index(self._poison)] = error
        accepted = outcomes.count(None)
        self._limiter.take(cell.costs * (count - accepted))
        self._answer = (answer_at, (error.retry_after or 0.0) if accepted < count else 0.0)
        self.accepted += accepted
        self.refused += count - accepted
        if accepted:
            self.last_accepted = max(self.last_accepted, answer_at)
        return outcomes

    def _retry_after(self, wait: float) -> float | None:
        until = math.ceil(self._arrived + wait) - math.floor(self._arrived)
        return {
            "rounded up": max(1.0, math.ceil(wait)),
            "exact": max(0.001, wait),
            "10 s": 10.0,
            "missing": None,
            "a date": max(1.0, until),
        }[self.cell.retry_after]


def bound(cell: Cell) -> float:
    """Return the seconds from first POST to last 202 of a client that knows the limiter."""
    limiter, largest = cell.limiter(), SIZE
    if isinstance(limiter, Bucket):
        largest = max(1, min(SIZE, int(limiter.kept)))
        if limiter.every < math.inf:  # the other client's half is not ours
            limiter = Bucket(limiter.rate / 2, limiter.kept, limiter.level)
    left, arrived = cell.count - cell.poisoned, 0.0
    calls = [0.0] * min(CALLS, cell.at_once)
    while left > 0:
        count = min(left, largest)
        arrived = max(arrived, calls[0] + cell.latency / 2)
        while limiter.room(arrived) < count - 1e-9:
            arrived += max(limiter.wait(count), 1e-6)
        limiter.take(count)
        left -= count
        heapq.heapreplace(calls, arrived + cell.latency / 2)
    return max(calls)


# -- one drain, many drains --


class Result(NamedTuple):
    """The figures of one drain, or the means and sums of some."""

    ratio: float  # of the drain to the bound
    refused: float  # answers of 429, of all
    unfinished: int
    broken_waits: int


def run(cell: Cell, seed: int) -> Result:
    best, graph = bound(cell), Simulated(cell, seed)
    limiter = RateLimiter(CALLS, SIZE, graph.clock)
    graph.now += cell.listing
    deadline = Deadline(GIVEN_UP * best + 5, graph.clock)
    sender = Sender[int, None](
        graph.call, limiter=limiter, deadline=deadline, clock=graph.clock, workers=graph.workers
    )
    sender.send(range(cell.count))
    finished = graph.accepted == cell.count - cell.poisoned
    took = (graph.last_accepted if finished else graph.now) - (graph.begun_at or 0.0)
    refused = graph.refused / (graph.accepted + graph.refused)
    return Result(took / best, refused, not finished, graph.broken_waits)


def run_seeds(cell: Cell) -> Result:
    ratios, refused, unfinished, broken_waits = zip(
        *(run(cell, seed) for seed in SEEDS), strict=True
    )
    means = statistics.mean(ratios), statistics.mean(refused)
    return Result(*means, sum(unfinished), sum(broken_waits))


# -- the cells --


def bucket(
    name: str,
    rate: float,
    kept: float,
    level: float,
    seconds: float,
    changes_at: float = math.inf,
    next_rate: float = 0.0,
    shared: bool = False,
    **more: Any,
) -> Cell:
    """A token bucket, and as many requests as it grants in so many seconds."""
    granted = rate * min(seconds, changes_at) + next_rate * max(0.0, seconds - changes_at)
    count = min(int(level + granted / (2 if shared else 1)), MOST)
    limiter = partial(Bucket, rate, kept, level, changes_at, next_rate, shared)
    name = f"{name} of {rate:g}/s that keeps {kept:g} and has {level:g}"
    return Cell(name, limiter, count, **more)


def window(limit: int, seconds: float, **more: Any) -> Iterator[Cell]:
    """A fixed and a sliding one, for as many as some windows grant."""
    count = int(limit * (4.5 if seconds < 100 else 2.5))
    for kind, limiter in (("window", Window), ("sliding window", Sliding)):
        name = f"{kind}, {limit:,} in {seconds:g} s"
        yield Cell(name, partial(limiter, limit, seconds), count, **more)


def matrix() -> Iterator[Cell]:
    lasting = itertools.cycle((5.0, 30.0, 120.0, 12.0, 60.0, 400.0, 20.0))
    listing = itertools.cycle((0.0, 2.1, 10.0, 5.0))
    for rate in (5, 20, 100, 400, 2000):
        latency = 0.02 if rate == 2000 else 0.1  # else there are not enough calls to be throttled
        for kept in (20, rate / 2, 2 * rate, 10 * rate):
            for part in (0.0, 0.2, 1.0):
                yield bucket("bucket", rate, kept, int(part * kept), next(lasting), latency=latency, listing=next(listing))  # fmt: skip
    forms: tuple[RetryAfter, ...] = ("exact", "missing", "a date")
    for rate in (20, 100, 400):
        for kept in (20, 2 * rate, 10 * rate):
            for latency in (0.02, 0.5):
                yield bucket("bucket", rate, kept, 0, next(lasting), latency=latency)
        for kept in (rate / 2, 2 * rate, 10 * rate):
            for retry_after in forms:
                yield bucket(
                    "bucket", rate, kept, min(80, kept), next(lasting), retry_after=retry_after
                )
            yield replace(bucket("bucket", rate, kept, min(80, kept), 60, retry_after="10 s"), count=int(240 * rate))  # fmt: skip
    for limit, seconds in ((100, 10), (1000, 60), (3000, 300)):
        for latency in LATENCIES:
            yield from window(limit, seconds, latency=latency)
        for retry_after in ("exact", "missing", "10 s"):
            yield from window(limit, seconds, retry_after=retry_after)
    for rate in (20, 100, 400):
        for kept in (rate, 4 * rate):
            yield bucket("bucket, a refusal costs a token,", rate, kept, kept / 2, next(lasting), costs=1)  # fmt: skip
            yield bucket("bucket, all or none,", rate, kept, kept / 2, next(lasting), all_or_none=True)  # fmt: skip
            yield bucket("bucket, another takes half,", rate, kept, kept / 2, 60, shared=True)
            for factor in (0.5, 2):
                yield bucket(f"bucket, {factor:g} times from half-way,", rate, kept, 0, 60, changes_at=30, next_rate=factor * rate)  # fmt: skip
    for latency in LATENCIES:
        for at_once in (2, 4):
            yield Cell(f"{at_once} at once", Unlimited, int(400 * at_once / latency), latency, at_once=at_once)  # fmt: skip
        for count in (1000, 4000):
            yield Cell("no throttling", Unlimited, count, latency)
    yield Cell("one refused always, no throttling", Unlimited, 10000, poisoned=True)
    yield bucket("one refused always, bucket", 100, 100, 50, 30, poisoned=True)
    yield bucket("one refused always, bucket", 400, 800, 0, 30, poisoned=True)
    yield replace(next(window(1000, 60)), name="one refused always, window", poisoned=True)


def random_cells(count: int = 150, seed: int = 21) -> Iterator[Cell]:
    """Combinations drawn at random. No constant of the rate limiter was chosen by this seed."""
    draw = random.Random(seed)

    def between(low: float, high: float) -> float:
        return float(low * (high / low) ** draw.random())

    forms: tuple[RetryAfter, ...] = ("rounded up", "exact", "missing", "a date", "10 s")
    for _ in range(count):
        rate, latency, seconds = between(5, 1000), between(0.02, 0.5), between(5, 600)
        kept = between(10, 10 * rate + 20)
        more: dict[str, Any] = {"latency": latency, "listing": 10 * draw.random()}
        more["retry_after"] = draw.choice(forms)
        if more["retry_after"] == "10 s":
            seconds = max(seconds, 120.0)  # else one such wait is most of the drain
        kind = draw.random()
        if kind < 0.15:
            limit = int(between(50, 3000))
            yield draw.choice(list(window(limit, max(10.0, limit / rate), **more)))
            continue
        if kind < 0.35:
            more["all_or_none"] = True
        elif kind < 0.45:
            more["costs"] = 1
        elif kind < 0.55:
            more["shared"] = True
        elif kind < 0.65:
            more |= {"changes_at": seconds / 2, "next_rate": rate * between(0.4, 2.5)}
        yield bucket("bucket", rate, kept, draw.random() * kept, seconds, **more)


# -- the figures --


def show(title: str, results: dict[Cell, Result]) -> None:
    ratios = sorted(one.ratio for one in results.values())
    median, p90 = statistics.median(ratios), ratios[int(0.9 * len(ratios))]
    two = max(one.ratio for cell, one in results.items() if cell.holds_two_batches)
    over = sum(ratio > 1.25 for ratio in ratios)
    unfinished = sum(one.unfinished for one in results.values())
    broken = sum(one.broken_waits for one in results.values())
    refused = statistics.median(one.refused for one in results.values())
    print(f"""\
{len(results)} {title}: drain over the bound, median / p90 / worst: {median:.3f} / {p90:.2f} / {ratios[-1]:.2f}
  worst where the bucket holds two batches: {two:.2f}
  over 1.25 / not finished / waits broken: {over} / {unfinished} / {broken}
  answers of 429, median: {refused:.1%}""")
    for cell, one in sorted(results.items(), key=lambda item: -item[1].ratio)[:10]:
        print(f"    {one.ratio:.2f}, {one.refused:.1%} of 429: {cell}")


if __name__ == "__main__":
    show("limiters", {cell: run_seeds(cell) for cell in matrix()})
    show("random limiters", {cell: run(cell, 1) for cell in random_cells()})
