"""Send many requests to Graph, several calls at once, at the pace that Graph grants.

Not for: what is sent, or what an outcome means (acting.py); how fast (pace.py).

One thread decides everything. The workers only carry out calls: they make the items of a call
ready, send them, and hand back what came of it.
"""

from __future__ import annotations

import contextvars
import queue
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self

from deadline import Deadline
from events import WARNING, event
from graph import (
    BatchNotAccepted,
    GraphDenied,
    GraphError,
    GraphFailed,
    GraphRefused,
    GraphThrottled,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from reprocess_timer.pace import Pace, Sent

CALL_SECONDS = 30.0  # each call's own time, also when the deadline of all is nearer
LONGEST_PAUSE = 1.0  # second; then progress is told, and the pace asked again
REFUSALS = 5  # of one request; then it is left to the next sweep
OUTAGE = 3  # whole calls lost in a row
SAMPLE = 20  # requests from all over the queue that are tried before a denial is believed


@dataclass(frozen=True, slots=True)
class Aside[R]:
    """Stands for an item that is not to be sent after all: this is its outcome."""

    outcome: R


class Work[T, R](Protocol):
    """What is done with the items of one call. It runs on worker threads."""

    def prepare(self, items: Sequence[T]) -> Sequence[T | Aside[R]]:
        """Return for each item what is to be sent, such as the item with its claim, or Aside.

        An item that could not be sent comes here again, as it was returned.
        """

    def send(
        self, items: Sequence[T], deadline: Deadline, *, batched: bool
    ) -> Sequence[R | GraphError]:
        """Send the items as one `$batch`, or else the only one, and return what came of each.

        Raises GraphError when the call failed as a whole.
        """


class Workers[E](Protocol):
    """Carries out calls beside the thread that decides."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *error: object) -> None: ...

    def submit(self, call: Callable[[], E]) -> None:
        """Begin a call."""

    def finished(self, seconds: float) -> list[E]:
        """Return what calls came to, once some have ended; after so many seconds nothing."""


class Threads[E]:
    """Workers that are threads. What they log belongs to the invocation that began the call."""

    def __init__(self, most: int, sleep: Callable[[float], None] = time.sleep) -> None:
        """Allow for so many calls at once. `sleep` is used while there is none."""
        self._pool = ThreadPoolExecutor(most)
        self._ended = queue.SimpleQueue[E]()
        self._under_way = 0
        self._sleep = sleep

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown()

    def submit(self, call: Callable[[], E]) -> None:
        """Begin a call, which must not raise."""
        context = contextvars.copy_context()
        self._pool.submit(context.run, lambda: self._ended.put(call()))
        self._under_way += 1

    def finished(self, seconds: float) -> list[E]:
        """Return what one call came to, or nothing after so many seconds."""
        if not self._under_way:
            self._sleep(seconds)
            return []
        try:
            ended = self._ended.get(timeout=seconds)
        except queue.Empty:
            return []
        self._under_way -= 1
        return [ended]


@dataclass(frozen=True, slots=True)
class Drained[T, R]:
    """What came of all items; each of them is either in `outcomes` or in `unsent`."""

    outcomes: list[tuple[T, R | GraphError]]
    """Of each that was tried or set aside. GraphThrottled: refused five times, nothing was done."""
    unsent: list[T]
    """Not sent, or throttled: nothing was done to them. Some may have been prepared."""
    throttled: int
    """How many answers told a single request to wait."""
    stopped: GraphError | None
    """Why it ended early: an outage, or a denial of all that was tried."""
    broken: Exception | None
    """What else was raised on a worker; it ended early then, too."""


@dataclass(frozen=True, slots=True)
class Item[T]:
    """An item in the queue, and how often it was refused while others were accepted."""

    content: T
    refusals: int = 0


@dataclass(frozen=True, slots=True)
class Ended[T, R]:
    """What came of one call."""

    sent: Sent
    batched: bool
    items: list[Item[T]]
    aside: list[tuple[T, R]]
    answer: Sequence[R | GraphError] | GraphError | None  # None: it was not sent
    broken: Exception | None = None


def drain[T, R](  # noqa: PLR0913 - what a drain needs
    items: Iterable[T],
    work: Work[T, R],
    *,
    pace: Pace,
    deadline: Deadline,
    clock: Callable[[], float],
    batched: bool = True,
    tell_progress: Callable[[int, int], None] = lambda _done, _throttled: None,
    workers: Callable[[int], Workers[Ended[T, R]]] = Threads,
) -> Drained[T, R]:
    """Send all items, or as many as time and Graph allow.

    Nothing is begun after the deadline, nor before a wait that Graph told us has ended.
    `tell_progress` hears at least once a second how many outcomes there are, and how many answers
    of 429. Never raises: what was done is always told.
    """
    with workers(pace.most) as started:
        drained = _Drain(items, work, pace, deadline, clock, batched, started)
        while drained.goes_on():
            tell_progress(len(drained.outcomes), drained.throttled)
    return drained.result()


class _Drain[T, R]:
    def __init__(  # noqa: PLR0913, PLR0917 - what a drain needs
        self,
        items: Iterable[T],
        work: Work[T, R],
        pace: Pace,
        deadline: Deadline,
        clock: Callable[[], float],
        batched: bool,  # noqa: FBT001
        workers: Workers[Ended[T, R]],
    ) -> None:
        self._queue = deque(Item(content) for content in items)
        self._work = work
        self._pace = pace
        self._deadline = deadline
        self._clock = clock
        self._batched = batched
        self._workers = workers
        self._under_way = 0
        self._judged = False  # Graph has judged a request, other than by denying us
        self._sample_left: int | None = None  # of the requests tried after the first denial
        self._doubted: list[tuple[T, GraphRefused]] = []  # refused in a `$batch`, not yet believed
        self._lost_in_a_row = 0
        self._lost_at = 0.0
        self._stopped: GraphError | None = None
        self._broken: Exception | None = None
        self.outcomes: list[tuple[T, R | GraphError]] = []
        self.throttled = 0

    def result(self) -> Drained[T, R]:
        unsent = [item.content for item in self._queue]
        outcomes = [*self.outcomes, *self._doubted]
        return Drained(outcomes, unsent, self.throttled, self._stopped, self._broken)

    def goes_on(self) -> bool:
        """Begin the calls that may begin, and take in one that ends; false when all is over."""
        pause = self._pause()
        while pause == 0 and self._under_way < self._calls():
            self._begin()
            pause = self._pause()
        if pause is None and not self._under_way:
            return False
        for ended in self._workers.finished(min(pause or LONGEST_PAUSE, LONGEST_PAUSE)):
            self._under_way -= 1
            self._take_in(ended)
        return True

    def _pause(self) -> float | None:
        """Return the seconds until the next call may begin; None if none may, as things are."""
        if not self._queue or self._stopped or self._broken:
            return None
        pause = self._pace.wait(min(self._size(), len(self._queue)))
        return pause if pause < self._deadline.left() else None

    def _size(self) -> int:
        return self._pace.size if self._batched else 1

    def _calls(self) -> int:
        """Return how many calls at once: one by one while it is open whether Graph is there."""
        return self._pace.calls if self._judged and not self._lost_in_a_row else 1

    # -- one call --

    def _begin(self) -> None:
        items = [self._queue.popleft() for _ in range(min(self._size(), len(self._queue)))]
        sent = self._pace.sent(len(items))
        batched = self._batched and len(items) > 1
        self._workers.submit(lambda: self._carry_out(items, sent, batched=batched))
        self._under_way += 1

    def _carry_out(self, items: list[Item[T]], sent: Sent, *, batched: bool) -> Ended[T, R]:
        """Make one call, on a worker. It only reads what the deciding thread writes."""
        try:
            prepared = self._work.prepare([item.content for item in items])
            pairs = list(zip(items, prepared, strict=True))
        except Exception as error:  # the caller's own, such as the table's
            return Ended(sent, batched, items, [], None, error)
        aside = [(item.content, one.outcome) for item, one in pairs if isinstance(one, Aside)]
        ready = [Item(one, item.refusals) for item, one in pairs if not isinstance(one, Aside)]
        if not ready or self._pace.told() or not self._deadline.left():  # meanwhile
            return Ended(sent, batched, ready, aside, None)
        contents = [item.content for item in ready]
        within = Deadline(CALL_SECONDS, self._clock)
        broken = None
        answer: Sequence[R | GraphError] | GraphError
        try:
            answer = self._work.send(contents, within, batched=batched)
            if len(answer) != len(ready):
                raise ValueError(f"{len(answer)} answers to {len(ready)} requests")
        except GraphError as error:
            answer = error
        except Exception as error:  # as above; what was sent may have arrived
            broken = error
            answer = GraphFailed(f"the call broke off: {type(error).__name__}", lost=True)
        return Ended(sent, batched, ready, aside, answer, broken)

    def _take_in(self, ended: Ended[T, R]) -> None:
        self.outcomes += ended.aside
        self._broken = self._broken or ended.broken
        whole = ended.answer
        if whole is None or isinstance(whole, BatchNotAccepted):
            self._queue.extendleft(reversed(ended.items))
            if whole and self._batched:
                self._do_without_batch(whole)
        elif isinstance(whole, GraphFailed):
            if whole.lost:
                self.outcomes += [(item.content, whole) for item in ended.items]
            else:
                self._queue.extendleft(reversed(ended.items))
            self._lost(ended.sent, whole)
        elif isinstance(whole, GraphError):
            self._answered(ended, [whole] * len(ended.items))
        elif ended.batched and not self._judged and (refusals := _all_alike(whole)):
            self._doubt(ended, refusals)
        else:
            self._answered(ended, whole)

    def _do_without_batch(self, error: GraphError) -> None:
        self._batched = False
        event(WARNING, "batch not accepted", graphStatus=error.status, detail=error.detail)

    def _doubt(self, ended: Ended[T, R], refusals: Sequence[GraphRefused]) -> None:
        """Try one request alone before all refusals of the very first `$batch` are believed.

        Whether Graph takes a reprocess in a `$batch` is not published.
        """
        self._pace.accepted(ended.sent, len(refusals))
        first, *others = ended.items
        self._queue.appendleft(first)
        contents = (item.content for item in others)
        self._doubted = list(zip(contents, refusals[1:], strict=True))
        self._batched = False

    def _settle_doubt(self, alone: R | GraphError) -> None:
        """Believe the refusals when one is refused alone, too; else send all of them again."""
        doubted, self._doubted = self._doubted, []
        if isinstance(alone, GraphError):
            self._batched = True
            self.outcomes += doubted
        else:
            self._queue.extendleft(Item(content) for content, _ in reversed(doubted))
            self._do_without_batch(doubted[0][1])

    # -- what Graph answered --

    def _answered(self, ended: Ended[T, R], answers: Sequence[R | GraphError]) -> None:
        held = [answer for answer in answers if isinstance(answer, GraphThrottled)]
        lost = [answer for answer in answers if isinstance(answer, GraphError) and answer.lost]
        taken = sum(not _open(answer) for answer in answers)
        if held:
            told = [answer.told_wait for answer in held if answer.told_wait is not None]
            self._pace.refused(ended.sent, taken, max(told, default=None))
        elif taken:
            self._pace.accepted(ended.sent, taken)
        only_refused = not taken and all(item.refusals for item in (*ended.items, *self._queue))
        for item, answer in zip(ended.items, answers, strict=True):
            if isinstance(answer, GraphThrottled) and not answer.lost:
                self._throttled(item, answer, counts=bool(taken) or only_refused)
            else:
                self.outcomes.append((item.content, answer))
        if self._doubted and taken:
            self._settle_doubt(answers[0])
        if taken:
            self._lost_in_a_row = 0
        elif len(lost) == len(answers):
            self._lost(ended.sent, lost[0])
        self._weigh_denials(answers)

    def _throttled(self, item: Item[T], error: GraphThrottled, *, counts: bool) -> None:
        """Put a request at the back; give it up for now when it alone is refused for ever."""
        self.throttled += 1
        refusals = item.refusals + counts
        if refusals < REFUSALS:
            self._queue.append(Item(item.content, refusals))
        else:
            self.outcomes.append((item.content, error))

    def _lost(self, sent: Sent, error: GraphError) -> None:
        """Count a whole call that was lost, or did not reach Graph."""
        if sent.at < self._lost_at:
            return  # it was under way when the last one was lost: the same event
        self._lost_in_a_row += 1
        self._lost_at = self._clock()
        if self._lost_in_a_row == OUTAGE:
            self._stopped = error
        self._pace.pause(2.0 ** (self._lost_in_a_row - 1))

    def _weigh_denials(self, answers: Sequence[R | GraphError]) -> None:
        """Stop when the first call was denied whole, and a sample of all others as well."""
        denied = [answer for answer in answers if isinstance(answer, GraphDenied)]
        self._judged |= any(not _open(a) and not isinstance(a, GraphDenied) for a in answers)
        if self._judged or len(denied) < len(answers):
            return
        if self._sample_left is None:
            self._sample_left = min(SAMPLE, len(self._queue))
            self._spread(self._sample_left)
            return
        self._sample_left -= len(answers)
        if self._sample_left <= 0:
            self._stopped = denied[0]

    def _spread(self, count: int) -> None:
        """Put so many requests, evenly from all over the queue, to its front."""
        waiting = list(self._queue)
        chosen = [n * len(waiting) // count for n in range(count)]
        others = sorted(set(range(len(waiting))) - set(chosen))
        self._queue = deque(waiting[n] for n in (*chosen, *others))


def _all_alike(answers: Sequence[object]) -> list[GraphRefused]:
    """Return the answers if all are refusals of one kind, else nothing."""
    refusals = [answer for answer in answers if isinstance(answer, GraphRefused)]
    kinds = {(one.status, one.code) for one in refusals}
    return refusals if len(kinds) == 1 and len(refusals) == len(answers) else []


def _open(answer: object) -> bool:
    """Whether Graph has not judged: it has us wait, or may have carried it out, or failed."""
    return isinstance(answer, GraphThrottled | GraphFailed)
