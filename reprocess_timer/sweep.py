"""A sweep: list what has failed, plan, claim, reprocess in batches, read back, report.

Not for: judging a single request (plan.py), how Graph is called (../graph.py), or when (the timer).
One thread decides everything; the pool's threads only carry out calls to Graph.
"""

from __future__ import annotations

import json
import logging
import time
from collections import deque
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from graph import (
    Answer,
    Deadline,
    GraphDenied,
    GraphError,
    GraphRefused,
    GraphThrottled,
    error_from,
    retry_after,
)
from reprocess_timer.plan import Standing, cooldown, plan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from attempts import Attempt, Attempts, Claim
    from graph import Graph, Request
    from reprocess_timer.plan import Due, Plan
    from settings import Settings

log = logging.getLogger("redeliver")
CLAIM = 100  # claims written together
PROGRESS_SECONDS = 10.0
LOGGED_REFUSALS = 50  # lines about single requests in one sweep; the counts have them all
NO_ANSWER = GraphError("Graph's $batch answer lacks this request", lost=True)


class SweepFailed(Exception):
    """The sweep could not do its work; the text is one sentence that says what to do."""


@dataclass
class Report:
    """All counts of a sweep, and its times in seconds."""

    dryRun: bool = False  # noqa: N815 - the report's own JSON names, as the next ones
    found: int = 0
    due: int = 0
    accepted: int = 0
    refused: int = 0
    failed: int = 0
    cooling: int = 0
    exhausted: int = 0
    expired: int = 0
    excluded: int = 0
    postponed: int = 0
    delivered: int = 0
    delivering: int = 0
    other: int = 0
    throttled: int = 0
    listComplete: bool = True  # noqa: N815
    seconds: dict[str, float] = field(default_factory=dict)

    def as_json(self, **more: object) -> dict[str, Any]:
        """Return it as a JSON object."""
        return asdict(self) | more


class Sweep:
    """One sweep. The clocks and the sleep can be passed in, so that tests never wait."""

    def __init__(
        self,
        graph: Graph,
        attempts: Attempts,
        settings: Settings,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare; nothing is called yet."""
        self.graph = graph
        self.attempts = attempts
        self.settings = settings
        self.now = now
        self.clock = clock
        self.deadline = Deadline(settings.sweep_budget_seconds, clock)
        self.report = Report(dryRun=settings.sweep_dry_run)
        self.problem = ""
        self.last_error = ""
        self._queue: deque[Claim] = deque()
        self._unsettled: list[tuple[Claim, GraphError]] = []
        self._allowed = settings.graph_concurrency
        self._resume_at = 0.0
        self._throttles = 0
        self._batches = settings.graph_batch_size > 1
        self._logged = 0
        self._progress_at = clock() + PROGRESS_SECONDS

    def run(self) -> Report:
        """Run it to its end. What goes wrong with one request or page never ends the sweep."""
        known = self._timed("attempts", self._known_attempts)
        if known is None:
            return self.report
        planned = self._timed(
            "list", lambda: plan(self._listed(), known, self.settings, self.now())
        )
        self._count(planned)
        if self.problem or self.settings.sweep_dry_run:
            return self.report
        self._timed("reprocess", lambda: self._reprocess(planned))
        self._timed("readBack", lambda: self._read_back(known, planned))
        return self.report

    def raise_if_failed(self) -> None:
        """Raise SweepFailed when the list or the attempts were unreadable, or all due failed."""
        tried = self.report.accepted + self.report.refused + self.report.failed
        if not self.problem and tried and self.report.failed == tried:
            self.problem = (
                f"every due request failed ({tried}), the last with: {self.last_error} "
                "Look at the lines 'reprocess failed' above"
            )
        if self.problem:
            raise SweepFailed(self.problem)

    def _timed[T](self, name: str, step: Callable[[], T]) -> T:
        started = self.clock()
        try:
            return step()
        finally:
            self.report.seconds[name] = round(self.clock() - started, 3)

    def _known_attempts(self) -> dict[str, Attempt] | None:
        try:
            return self.attempts.read_all()
        except Exception as error:
            self.problem = (
                f"the attempts could not be read ({type(error).__name__}), so nothing was tried: "
                "check AzureWebJobsStorage and the identity's role on its tables"
            )
            return None

    # -- list and plan --

    def _listed(self) -> Iterator[Request]:
        """List what has failed; an unreadable page ends the list, and what was read is used."""
        try:
            for package in self.settings.sweep_access_packages or (None,):
                for request in self.graph.failed(self.deadline, package):
                    self.report.found += 1
                    yield request
        except GraphError as error:
            self.report.listComplete = False
            detail = error.detail + (f" (HTTP {error.status} {error.code})" if error.status else "")
            remedy = "the next sweep tries again"
            if isinstance(error, GraphDenied):
                remedy = error.remedy
            log.warning(
                json.dumps(
                    {
                        "event": "list broken off",
                        "found": self.report.found,
                        "detail": detail,
                        "graphRequestId": error.graph_request_id,
                    }
                )
            )
            if not self.report.found:
                self.problem = f"the failed requests could not be listed: {detail}; {remedy}"

    def _count(self, planned: Plan) -> None:
        counts = planned.counts
        self.report.found = len(planned.failed_ids)
        self.report.due = counts[Standing.DUE]
        self.report.cooling = counts[Standing.COOLING]
        self.report.exhausted = counts[Standing.EXHAUSTED]
        self.report.expired = counts[Standing.EXPIRED]
        self.report.excluded = counts[Standing.EXCLUDED]
        self.report.postponed = counts[Standing.DUE] - len(planned.due)
        if planned.exhausted:
            log.warning(
                json.dumps(
                    {
                        "event": "given up",
                        "count": len(planned.exhausted),
                        "requestIds": planned.exhausted[:LOGGED_REFUSALS],
                    }
                )
            )

    # -- claim and reprocess --

    def _reprocess(self, planned: Plan) -> None:
        """Work through the due requests until they, or the budget, are used up."""
        waiting = deque(planned.due)
        running: dict[Future[list[Answer | None]], tuple[list[Claim], bool]] = {}
        with ThreadPoolExecutor(self.settings.graph_concurrency) as pool:
            while waiting or self._queue or running:
                if self._is_over():
                    break
                if len(running) < self._allowed and (waiting or self._queue):
                    self._pause()
                    if not self._queue:
                        self._claim(waiting)
                    if self._queue:
                        size = min(self._size, len(self._queue))
                        claims = [self._queue.popleft() for _ in range(size)]
                        call = pool.submit(self._send, claims, batched=self._batches)
                        running[call] = (claims, self._batches)
                    continue
                self._finish(running, wait(running, 1.0, FIRST_COMPLETED).done)
            self._finish(running, wait(running).done)
        self.report.postponed += len(waiting) + len(self._queue)
        self.attempts.give_back(self._queue)
        self._queue.clear()
        self._settle_lost()

    @property
    def _size(self) -> int:
        """How many requests go into one call."""
        return self.settings.graph_batch_size if self._batches else 1

    def _is_over(self) -> bool:
        """Whether nothing new may be started: the budget is used up, or will be while we wait."""
        return self.deadline.left() <= max(0.0, self._resume_at - self.clock())

    def _pause(self) -> None:
        """Wait as Graph told us; all workers, since one identity is throttled as one."""
        seconds = self._resume_at - self.clock()
        if seconds > 0:
            self.graph.sleep(seconds)

    def _claim(self, waiting: deque[Due]) -> None:
        """Claim the next requests before anything is sent; those that others claimed drop out."""
        wanted = [waiting.popleft().attempt for _ in range(min(CLAIM, len(waiting)))]
        try:
            claims = self.attempts.claim(wanted, self.now())
        except Exception as error:
            self.problem = (
                f"attempts could not be written ({type(error).__name__}), so nothing more was "
                "tried: check AzureWebJobsStorage and the identity's role on its tables"
            )
            self.report.postponed += len(wanted) + len(waiting)
            waiting.clear()
            return
        self.report.cooling += len(wanted) - len(claims)  # another instance is on them
        self._queue.extend(claims)

    def _send(self, claims: Sequence[Claim], *, batched: bool) -> list[Answer | None]:
        """Send the reprocess of these requests (in a pool thread)."""
        deadline = Deadline(min(self.deadline.left(), 100.0), self.clock)
        paths = [f"{self.graph.requests_path}/{c.now.request_id}/reprocess" for c in claims]
        return self._call("POST", paths, deadline, batched=batched)

    def _call(
        self, method: str, paths: list[str], deadline: Deadline, *, batched: bool
    ) -> list[Answer | None]:
        """Carry out one batch of calls, or one single call."""
        if batched:
            return self.graph.batch(method, paths, deadline)
        return [self.graph.send(method, paths[0], deadline)]

    def _finish(
        self,
        running: dict[Future[list[Answer | None]], tuple[list[Claim], bool]],
        done: set[Future[list[Answer | None]]],
    ) -> None:
        """Take the outcomes of finished calls."""
        for future in done:
            claims, batched = running.pop(future)
            try:
                answers = future.result()
            except GraphError as error:
                self._call_failed(claims, error, batched=batched)
                continue
            throttled = [a for a in answers if a and a.status in {429, 503}]
            if throttled:
                self._throttled([retry_after(a.headers) for a in throttled])
            else:
                self._throttles = 0
                self._allowed = min(self._allowed + 1, self.settings.graph_concurrency)
            for claim, answer in zip(claims, answers, strict=True):
                self._outcome(claim, answer)
        self._log_progress()

    def _outcome(self, claim: Claim, answer: Answer | None) -> None:
        """Take the outcome of one request."""
        if answer is None:
            self._unsettled.append((claim, NO_ANSWER))
        elif answer.ok:
            self.report.accepted += 1
        elif answer.status == 429:
            self.report.throttled += 1
            self._queue.append(claim)
        else:
            error = error_from(answer)
            self.graph.note_scope(error)
            if error.lost:
                self._unsettled.append((claim, error))
            else:
                self._refused(claim, error)

    def _refused(self, claim: Claim, error: GraphError) -> None:
        """Count and log a request that Graph refused; it keeps its claim, so it cools down."""
        denied = isinstance(error, GraphDenied)
        self.report.failed += denied
        self.report.refused += not denied
        self._log_request("reprocess failed" if denied else "reprocess refused", claim, error)

    def _call_failed(self, claims: list[Claim], error: GraphError, *, batched: bool) -> None:
        """Take a call that failed as a whole."""
        if isinstance(error, GraphThrottled) and not error.lost:
            self.report.throttled += len(claims)
            self._throttled([error.retry_after])
            self._queue.extend(claims)
        elif error.lost:
            if isinstance(error, GraphThrottled):
                self._throttled([error.retry_after])
            self._unsettled.extend((claim, error) for claim in claims)
        elif isinstance(error, GraphRefused):
            if batched:
                if self._batches:
                    log.warning(
                        json.dumps(
                            {
                                "event": "$batch not accepted, single calls from here on",
                                "status": error.status,
                                "detail": error.detail,
                            }
                        )
                    )
                self._batches = False
                self._queue.extend(claims)
            else:
                self._refused(claims[0], error)
        else:
            self.report.failed += len(claims)
            self.attempts.give_back(claims)
            for claim in claims:
                self._log_request("reprocess failed", claim, error)

    def _throttled(self, waits: list[float | None]) -> None:
        """Have everybody wait as told, with fewer at once afterwards."""
        self._throttles += 1
        told = max((w for w in waits if w is not None), default=None)
        seconds = self.graph.wait_before(self._throttles, told)
        self._resume_at = max(self._resume_at, self.clock() + seconds)
        self._allowed = max(1, self._allowed // 2)

    def _settle_lost(self) -> None:
        """Read the requests whose answers were lost: those that moved were accepted.

        Those that did not are left to the next sweep when Graph was throttling (503), and are
        counted as failed otherwise; nothing is sent twice.
        """
        states = self._states([claim.now.request_id for claim, _ in self._unsettled])
        for claim, error in self._unsettled:
            request = states.get(claim.now.request_id)
            if request and (not request.has_failed or self._failed_since(request, claim)):
                self.report.accepted += 1
            elif request and isinstance(error, GraphThrottled):
                self.report.postponed += 1
                self.attempts.give_back([claim])
            else:
                self.report.failed += 1
                self._log_request("reprocess failed", claim, error)

    def _failed_since(self, request: Request, claim: Claim) -> bool:
        return bool(request.completed_at and request.completed_at > claim.now.last)

    # -- read back --

    def _read_back(self, known: dict[str, Attempt], planned: Plan) -> None:
        """Read requests tried earlier that are no longer failed, and tidy what is stored."""
        now = self.now()
        oldest = now - timedelta(days=2 * self.settings.sweep_window_days)
        gone = [a.request_id for a in known.values() if a.request_id not in planned.failed_ids]
        states = self._states([i for i in gone if not known[i].settled])
        settled, over = [], []
        for request_id in gone:
            attempt = known[request_id]
            request = states.get(request_id)
            state = request.state.lower() if request else ""
            if state == "delivered":
                self.report.delivered += 1
                settled.append(attempt)
            elif state == "delivering":
                self.report.delivering += 1
            elif request and not request.has_failed:
                self.report.other += 1
            cooled = now > attempt.last + cooldown(attempt, self.settings)
            if attempt.last < oldest or (attempt.settled and cooled):
                over.append(attempt)
        try:
            self.attempts.settle(settled)
            self.attempts.forget(over)
        except Exception as error:
            log.warning(json.dumps({"event": "attempts not tidied", "error": type(error).__name__}))

    def _states(self, request_ids: list[str]) -> dict[str, Request]:
        """Read requests in batches, as far as Graph lets us; what is unreadable is left out."""
        found = {}
        deadline = Deadline(max(self.deadline.left(), 30.0), self.clock)
        size = self._size
        for start in range(0, len(request_ids), size):
            ids = request_ids[start : start + size]
            paths = [f"{self.graph.requests_path}/{request_id}" for request_id in ids]
            try:
                answers = self._call("GET", paths, deadline, batched=self._batches)
                for request_id, answer in zip(ids, answers, strict=True):
                    if answer and answer.ok:
                        found[request_id] = self.graph.request_from(answer.body)
            except GraphError as error:
                log.warning(json.dumps({"event": "read-back failed", "detail": error.detail}))
                if deadline.left() <= 0 or isinstance(error, GraphThrottled):
                    break
        return found

    # -- log --

    def _log_request(self, event: str, claim: Claim, error: GraphError) -> None:
        remedy = error.remedy if isinstance(error, GraphDenied) else ""
        self.last_error = f"{error.detail.rstrip('.')}. {remedy}".strip()
        self._logged += 1
        if self._logged > LOGGED_REFUSALS:
            return
        log.warning(
            json.dumps(
                {
                    "event": event,
                    "requestId": claim.now.request_id,
                    "attempt": claim.now.count,
                    "status": error.status,
                    "graphErrorCode": error.code,
                    "detail": error.detail,
                    "graphRequestId": error.graph_request_id,
                    "clientRequestId": error.client_request_id,
                }
            )
        )

    def _log_progress(self) -> None:
        """Say every ten seconds how far a long sweep is."""
        if self.clock() < self._progress_at:
            return
        self._progress_at = self.clock() + PROGRESS_SECONDS
        report = self.report
        done = report.accepted + report.refused + report.failed
        used = max(0.001, self.settings.sweep_budget_seconds - self.deadline.left())
        log.info(
            json.dumps(
                {
                    "event": "sweep progress",
                    "done": done,
                    "of": report.due,
                    "throttled": report.throttled,
                    "perSecond": round(done / used, 1),
                    "secondsLeft": round(self.deadline.left()),
                }
            )
        )
