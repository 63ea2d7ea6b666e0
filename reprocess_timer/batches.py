"""Carry out one call for each of many requests: in `$batch`es, several at once, at Graph's pace.

Not for: which requests, or what an outcome means for one (sweep.py).
One thread decides everything; the pool's threads only carry out calls to Graph.
"""

from __future__ import annotations

import json
import logging
from collections import deque
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING

from graph import (
    Answer,
    Deadline,
    GraphDenied,
    GraphError,
    GraphFailed,
    GraphRefused,
    GraphThrottled,
    error_from,
    retry_after,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from graph import Graph
    from reprocess_timer.pace import Pace

log = logging.getLogger("redeliver")
LONGEST_PAUSE = 1.0  # second; then the pace is asked again, unless Graph has told us to wait
LONGEST_CALL = 100.0  # seconds, the retries of one call included
NO_ANSWER = GraphError("Graph's $batch answer lacks this request", lost=True)

type Outcome = tuple[str, Answer | GraphError]


@dataclass(frozen=True, slots=True)
class _Call:
    """A call under way: whose requests, since when, and whether as a `$batch`."""

    request_ids: list[str]
    sent_at: float
    batched: bool


class Batches:
    """Calls to Graph for many requests. What Graph throttles is sent again by itself."""

    def __init__(self, graph: Graph, pace: Pace, clock: Callable[[], float]) -> None:
        """Use `$batch` unless the settings, or Graph, do not want it."""
        self.throttled = 0
        self.unsent: deque[str] = deque()
        self.hopeless = False
        self._graph = graph
        self._pace = pace
        self._clock = clock
        self._batched = graph.settings.graph_batch_size > 1
        self._running: dict[Future[list[Answer | None]], _Call] = {}

    def outcomes(
        self, method: str, action: str, take: Callable[[int], list[str]], deadline: Deadline
    ) -> Iterator[Outcome]:
        """Call `action` of each request that `take` gives, and yield what came of it.

        `take(n)` returns up to n request ids, none when there are no more. Nothing is begun when
        the deadline is over, or will be while Graph has us wait, or when Graph, tried several
        times, cannot be reached or denies us: the next call would fare no better. `unsent` has
        what was taken by then. An outcome is a 2xx Answer or a GraphError.
        """
        with ThreadPoolExecutor(self._pace.most) as pool:
            while True:
                request_ids = self._next(take) if self._may_begin(deadline) else []
                if not request_ids and not self._running:
                    return
                pause = self._pace.wait(len(request_ids)) if request_ids else LONGEST_PAUSE
                if request_ids and pause <= 0:
                    self._begin(pool, method, action, request_ids, deadline)
                    continue
                self.unsent.extendleft(reversed(request_ids))
                if self._running:
                    yield from self._finished(min(pause, LONGEST_PAUSE))
                else:
                    longest = max(self._pace.told(), LONGEST_PAUSE)
                    self._graph.sleep(min(pause, longest, deadline.left()))

    def _may_begin(self, deadline: Deadline) -> bool:
        """Whether one more call may begin now."""
        in_time = deadline.left() > self._pace.told()
        return in_time and not self.hopeless and len(self._running) < self._pace.allowed

    def _next(self, take: Callable[[int], list[str]]) -> list[str]:
        """Return the requests of the next call, those that were throttled first."""
        size = self._graph.settings.graph_batch_size if self._batched else 1
        if len(self.unsent) < size:
            self.unsent.extend(take(size - len(self.unsent)))
        return [self.unsent.popleft() for _ in range(min(size, len(self.unsent)))]

    def _begin(
        self,
        pool: ThreadPoolExecutor,
        method: str,
        action: str,
        request_ids: list[str],
        deadline: Deadline,
    ) -> None:
        paths = [f"{self._graph.requests_path}/{one}{action}" for one in request_ids]
        within = Deadline(min(deadline.left(), LONGEST_CALL), self._clock)
        call = _Call(request_ids, self._pace.sent(len(request_ids)), self._batched)
        if call.batched:
            future = pool.submit(self._graph.batch, method, paths, within)
        else:
            future = pool.submit(self._single, method, paths[0], within)
        self._running[future] = call

    def _single(self, method: str, path: str, deadline: Deadline) -> list[Answer | None]:
        return [self._graph.send(method, path, deadline)]

    def _finished(self, seconds: float) -> Iterator[Outcome]:
        """Yield the outcomes of the calls that end within so many seconds."""
        for future in wait(self._running, seconds, FIRST_COMPLETED).done:
            call = self._running.pop(future)
            try:
                answers = future.result()
            except GraphError as error:
                yield from self._failed(call, error)
            else:
                yield from self._answered(call, answers)

    def _answered(self, call: _Call, answers: list[Answer | None]) -> Iterator[Outcome]:
        """Take the answers of one call, each on its own."""
        held = [a for a in answers if a and a.status in {429, 503}]
        if held:
            told = [retry_after(answer.headers) for answer in held]
            self._throttled(call, len(answers) - len(held), told)
        else:
            self._pace.accepted(len(answers))
        for request_id, answer in zip(call.request_ids, answers, strict=True):
            if answer is None:
                yield request_id, NO_ANSWER
            elif answer.status == 429:
                self.throttled += 1
                self.unsent.append(request_id)
            elif answer.ok:
                yield request_id, answer
            else:
                error = error_from(answer)
                self._graph.note_scope(error)
                yield request_id, error

    def _failed(self, call: _Call, error: GraphError) -> Iterator[Outcome]:
        """Take a call that failed as a whole: send its requests again if that harms nobody."""
        if isinstance(error, GraphThrottled):
            self._throttled(call, 0, [error.retry_after])
            if not error.lost:
                self.throttled += len(call.request_ids)
                self.unsent.extend(call.request_ids)
                return
        if call.batched and isinstance(error, GraphRefused) and not error.lost:
            self._do_without_batch(error)
            self.unsent.extend(call.request_ids)
            return
        unreachable = isinstance(error, GraphFailed) and not error.lost
        self.hopeless |= unreachable or (call.batched and isinstance(error, GraphDenied))
        for request_id in call.request_ids:
            yield request_id, error

    def _throttled(self, call: _Call, accepted: int, told: list[float | None]) -> None:
        """Wait as long as the longest that we were told; as we think fit if nobody told us."""
        longest = max((one for one in told if one is not None), default=None)
        if longest is None:
            longest = self._graph.wait_before(self._pace.throttles + 1, None)
        self._pace.throttled(call.sent_at, accepted, longest)

    def _do_without_batch(self, error: GraphError) -> None:
        if self._batched:
            event = "$batch not accepted, single calls from here on"
            line = {"event": event, "status": error.status, "detail": error.detail}
            log.warning(json.dumps(line))
        self._batched = False
