"""Send many items to Graph, several calls at once, as fast as Graph lets us.

Not for: what one call does (many.py), or how fast is fast enough (rate_limiter.py).

One thread decides everything. Worker threads only carry out calls, and log as part of the
invocation that began them.
"""

from __future__ import annotations

import contextvars
import time
from collections import Counter, deque
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Self

from graph import GraphDenied, GraphError, GraphFailed, GraphThrottled

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Sequence

    from deadline import Deadline
    from reprocessing.rate_limiter import RateLimiter, Sent

MAX_THROTTLES = 5  # 429 answers to one item while others are accepted
MAX_FRUITLESS = 3  # calls in a row in which every item failed
PROGRESS_SECONDS = 1.0  # longest pause, so that progress is reported


class NotSent(Enum):
    """Why an item was not sent.

    `SKIPPED`: it is not to be sent at all; this is its outcome. `HELD`: Graph asked to wait
    meanwhile, or time is up; it is sent later.
    """

    SKIPPED = "skipped"
    HELD = "held"


type Outcome[R] = R | GraphError | NotSent


@dataclass(slots=True)
class SendResult[T, R]:
    """Every item is either in `outcomes` or in `unsent`.

    A GraphThrottled outcome of status 429 was refused five times: nothing was done to the item.
    `throttled` counts 429 answers. `stop_reason`: the error of three calls in a row.
    `error`: what else was raised by a call. Both end the sending early.
    """

    outcomes: list[tuple[T, Outcome[R]]] = field(default_factory=list)
    unsent: list[T] = field(default_factory=list)
    throttled: int = 0
    stop_reason: GraphError | None = None
    error: Exception | None = None


@dataclass(frozen=True, slots=True)
class CallResult[T, R]:
    """The outcomes of one call's items, or what it raised."""

    sent: Sent
    items: list[T]
    outcomes: list[Outcome[R]] | Exception


class Threads[E]:
    """Threads that carry out calls, with the context of the caller. One starts when needed."""

    def __init__(self, max_calls: int, sleep: Callable[[float], None] = time.sleep) -> None:
        """Run at most `max_calls` calls at once. `sleep` is used while there is none."""
        self._pool = ThreadPoolExecutor(max_calls)
        self._under_way = set[Future[E]]()
        self._sleep = sleep

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown()

    def submit(self, call: Callable[[], E]) -> None:
        """Begin a call, which must not raise."""
        self._under_way.add(self._pool.submit(contextvars.copy_context().run, call))

    def finished(self, seconds: float) -> list[E]:
        """Return what the calls returned that ended first, or nothing after this many seconds."""
        if not self._under_way:
            self._sleep(seconds)
        ended, self._under_way = wait(self._under_way, seconds, FIRST_COMPLETED)
        return [one.result() for one in ended]


class Sender[T: Hashable, R]:
    """Sends items once: `call` gets up to `limiter.size` of them, and returns their outcomes."""

    def __init__(  # noqa: PLR0913 - what a sender needs
        self,
        call: Callable[[list[T]], Sequence[Outcome[R]]],
        *,
        limiter: RateLimiter,
        deadline: Deadline,
        clock: Callable[[], float],
        group: Callable[[T], str] = lambda _item: "",
        denials_stop: bool = True,
        progress: Callable[[int, int], None] = lambda _done, _throttled: None,
        workers: Callable[[int], Threads[CallResult[T, R]]] = Threads,
    ) -> None:
        """Begin no call after the deadline, nor before a wait that Graph asked for is over.

        `call` runs on worker threads; right before it sends, it checks `limiter.retry_after_left()`
        and returns HELD where that is not 0. `group` names the access package of an item.
        `denials_stop`: calls that are denied whole count as fruitless. `progress` is called at
        least once a second with the number of outcomes and of 429 answers.
        """
        self._call, self._limiter, self._deadline, self._clock = call, limiter, deadline, clock
        self._group, self._denials_stop, self._progress = group, denials_stop, progress
        self._workers = workers
        self._queue = deque[T]()
        self._throttles = Counter[T]()  # how often each item was, while others were accepted
        self._result = SendResult[T, R]()
        self._fruitless = 0  # calls in a row in which every item failed
        self._fruitless_at = 0.0

    def send(self, items: Iterable[T]) -> SendResult[T, R]:
        """Send all items, or as many as time and Graph allow. Never raises."""
        self._queue.extend(items)
        result, under_way = self._result, 0
        with self._workers(self._limiter.max_calls) as workers:
            while True:
                pause = self._pause()
                # One call at a time while it is open whether Graph works.
                if pause == 0 and under_way < (1 if self._fruitless else self._limiter.calls):
                    workers.submit(self._next_call())
                    under_way += 1
                    continue
                if pause is None and not under_way:
                    break
                for ended in workers.finished(min(pause or PROGRESS_SECONDS, PROGRESS_SECONDS)):
                    under_way -= 1
                    self._handle_result(ended)
                self._progress(len(result.outcomes), result.throttled)
        result.unsent = list(self._queue)
        return result

    def _pause(self) -> float | None:
        """Return the seconds until the next call may begin; None if none may."""
        if not self._queue or self._result.stop_reason or self._result.error:
            return None
        pause = self._limiter.wait(min(self._limiter.size, len(self._queue)))
        return pause if pause < self._deadline.left() else None

    def _next_call(self) -> Callable[[], CallResult[T, R]]:
        count = min(self._limiter.size, len(self._queue))
        items = [self._queue.popleft() for _ in range(count)]
        sent = self._limiter.sent(count)

        def run() -> CallResult[T, R]:  # on a worker thread
            try:
                outcomes = [one for _, one in zip(items, self._call(items), strict=True)]
            except Exception as error:
                return CallResult(sent, items, error)
            return CallResult(sent, items, outcomes)

        return run

    # -- what a call returned --

    def _handle_result(self, ended: CallResult[T, R]) -> None:
        if isinstance(ended.outcomes, Exception):
            self._result.error = self._result.error or ended.outcomes
            self._queue.extendleft(reversed(ended.items))
            return
        answers = [one for one in ended.outcomes if not isinstance(one, NotSent)]
        throttled = [one for one in answers if isinstance(one, GraphThrottled)]
        judged = [one for one in answers if not isinstance(one, GraphThrottled | GraphFailed)]
        if throttled:
            longest = max(one.retry_after or 0.0 for one in throttled)
            self._limiter.refused(ended.sent, len(judged), longest)
        elif judged:
            self._limiter.accepted(ended.sent, len(judged))
        self._keep(ended.items, ended.outcomes, has_judged=bool(judged))
        errors = [one for one in answers if isinstance(one, GraphError) and self._is_fruitless(one)]
        if len(errors) < len(answers):
            if any(one not in errors for one in judged):
                self._fruitless = 0
        elif errors:
            self._count_fruitless(ended, errors)

    def _keep(self, items: list[T], outcomes: list[Outcome[R]], *, has_judged: bool) -> None:
        """Keep final outcomes; put back what is to be sent again."""
        counts = has_judged or all(self._throttles[item] for item in (*items, *self._queue))
        back: list[T] = []
        for item, one in zip(items, outcomes, strict=True):
            never_sent = isinstance(one, GraphFailed | GraphThrottled) and one.never_sent
            if one is NotSent.HELD or never_sent:
                back.append(item)
                continue
            if isinstance(one, GraphThrottled) and not one.outcome_unknown:
                self._result.throttled += 1
                self._throttles[item] += counts
                if self._throttles[item] < MAX_THROTTLES:
                    self._queue.append(item)
                    continue
            self._result.outcomes.append((item, one))
        self._queue.extendleft(reversed(back))

    def _is_fruitless(self, error: GraphError) -> bool:
        if isinstance(error, GraphDenied):
            return self._denials_stop
        return isinstance(error, GraphFailed) or error.outcome_unknown

    def _count_fruitless(self, ended: CallResult[T, R], errors: Sequence[GraphError]) -> None:
        """Stop after MAX_FRUITLESS calls in a row; those under way together count as one."""
        if any(isinstance(error, GraphDenied) for error in errors):
            # What is of the same access packages goes to the end of the queue.
            denied = {self._group(item) for item in ended.items}
            self._queue = deque(sorted(self._queue, key=lambda item: self._group(item) in denied))
        if ended.sent.at < self._fruitless_at:
            return
        self._fruitless += 1
        self._fruitless_at = self._clock()
        self._limiter.pause(2.0 ** (self._fruitless - 1))
        if self._fruitless == MAX_FRUITLESS:
            self._result.stop_reason = errors[0]
