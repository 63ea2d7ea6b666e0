"""A sweep: list what has failed, plan, claim, reprocess in batches, read back, report.

Not for: judging a single request (plan.py), calling Graph many times at its pace (batches.py,
pace.py), or when (the timer).
"""

from __future__ import annotations

import json
import logging
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from graph import Deadline, GraphDenied, GraphError, GraphRefused, GraphThrottled, RequestNotFound
from reprocess_timer.batches import Batches
from reprocess_timer.pace import Pace
from reprocess_timer.plan import Standing, cooldown, plan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from attempts import Attempt, Attempts, Claim
    from graph import Graph, Request
    from reprocess_timer.plan import Due, Plan
    from settings import Settings

log = logging.getLogger("redeliver")
CLAIM = 100  # claims written together
PROGRESS_SECONDS = 10.0
LOGGED_REFUSALS = 50  # lines about single requests in one sweep; the counts have them all
READ_BACK_SECONDS = 30.0  # at least, also when the budget is used up


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
        self.pace = Pace(settings.graph_concurrency, clock)
        self.batches = Batches(graph, self.pace, clock)
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
        claimed: deque[Claim] = deque()
        claims: dict[str, Claim] = {}
        claimer = ThreadPoolExecutor(1)  # claims the next while these are sent
        upcoming = claimer.submit(self._claim, waiting)

        def take(count: int) -> list[str]:
            nonlocal upcoming
            if not claimed:
                claimed.extend(upcoming.result())
                upcoming = claimer.submit(self._claim, waiting)
            taken = [claimed.popleft() for _ in range(min(count, len(claimed)))]
            claims.update((claim.now.request_id, claim) for claim in taken)
            return [claim.now.request_id for claim in taken]

        unused: list[Claim] = []
        lost: list[tuple[Claim, GraphError]] = []
        for request_id, outcome in self.batches.outcomes("POST", "/reprocess", take, self.deadline):
            claim = claims.pop(request_id)
            if not isinstance(outcome, GraphError):
                self.report.accepted += 1
            elif outcome.lost:
                lost.append((claim, outcome))
            elif self._has_failed(claim, outcome):
                unused.append(claim)
            self._log_progress()
        postponed = [*claims.values(), *claimed, *upcoming.result()]
        claimer.shutdown()
        self.report.postponed += len(waiting) + len(postponed)
        self.report.throttled = self.batches.throttled
        self.batches.unsent.clear()
        self._settle_lost(lost, unused)
        self._write("give back", lambda: self.attempts.give_back(unused + postponed))

    def _claim(self, waiting: deque[Due]) -> list[Claim]:
        """Claim the next requests before anything is sent; those that others claimed drop out.

        When all of them are claimed, another instance is sweeping: the rest is left to it.
        """
        wanted = [waiting.popleft().attempt for _ in range(min(CLAIM, len(waiting)))]
        if not wanted:
            return []
        try:
            claims = self.attempts.claim(wanted, self.now())
        except Exception as error:
            self.problem = (
                f"attempts could not be written ({type(error).__name__}), so nothing more was "
                "tried: check AzureWebJobsStorage and the identity's role on its tables"
            )
            self.report.postponed += len(wanted) + len(waiting)
            waiting.clear()
            return []
        self.report.cooling += len(wanted) - len(claims)
        if not claims:
            line = {"event": "another sweep is under way", "left to it": len(waiting)}
            log.warning(json.dumps(line))
            self.report.postponed += len(waiting)
            waiting.clear()
        return claims

    def _has_failed(self, claim: Claim, error: GraphError) -> bool:
        """Count and log a request that was not accepted; return whether its attempt is void.

        An attempt that Graph judged counts. When we are denied, or Graph is not there, it does not:
        once that is mended the request is due at once.
        """
        refused = isinstance(error, GraphRefused)
        self.report.refused += refused
        self.report.failed += not refused
        self._log_request("reprocess refused" if refused else "reprocess failed", claim, error)
        return not refused

    def _settle_lost(self, lost: list[tuple[Claim, GraphError]], unused: list[Claim]) -> None:
        """Read the requests whose answers were lost: those that moved were accepted.

        Those that did not are left to the next sweep when Graph was throttling (503), and are
        counted as failed otherwise; nothing is sent twice.
        """
        states = self._states([claim.now.request_id for claim, _ in lost])
        for claim, error in lost:
            request = states.get(claim.now.request_id)
            if request and (not request.has_failed or self._failed_since(request, claim)):
                self.report.accepted += 1
            elif request and isinstance(error, GraphThrottled):
                self.report.postponed += 1
                unused.append(claim)
            else:
                self.report.failed += 1
                self._log_request("reprocess failed", claim, error)

    def _failed_since(self, request: Request, claim: Claim) -> bool:
        return bool(request.completed_at and request.completed_at > claim.now.last)

    # -- read back --

    def _read_back(self, known: dict[str, Attempt], planned: Plan) -> None:
        """Read requests tried earlier that are no longer failed, and tidy what is stored."""
        gone = [a for a in known.values() if a.request_id not in planned.failed_ids]
        states = self._states([a.request_id for a in gone if not a.settled])
        ended = []
        for attempt in gone:
            if attempt.request_id not in states:
                continue
            request = states[attempt.request_id]
            if request is None:  # there is no such request any more
                ended.append(attempt)
                continue
            if request.has_failed:
                continue
            self.report.delivered += request.state.lower() == "delivered"
            self.report.delivering += request.state.lower() == "delivering"
            self.report.other += request.state.lower() not in {"delivered", "delivering"}
            if request.has_ended:
                ended.append(attempt)
        over = [attempt for attempt in known.values() if self._is_over(attempt)]
        settled = [attempt for attempt in ended if not self._is_over(attempt)]
        self._write("settle", lambda: self.attempts.settle(settled))
        self._write("forget", lambda: self.attempts.forget(over))

    def _is_over(self, attempt: Attempt) -> bool:
        """Whether what is stored of a request is of no use any more.

        A settled one is kept until its cool-down is over: a list that still shows it as failed
        would have it tried again otherwise.
        """
        now = self.now()
        old = attempt.last < now - timedelta(days=2 * self.settings.sweep_window_days)
        cooled = now > attempt.last + cooldown(attempt, self.settings)
        return (old and not attempt.deferred) or (attempt.settled and cooled)

    def _states(self, request_ids: list[str]) -> dict[str, Request | None]:
        """Read requests, None for one that is gone; what Graph does not let us read is left out."""
        waiting = deque(request_ids)
        found: dict[str, Request | None] = {}
        deadline = Deadline(max(self.deadline.left(), READ_BACK_SECONDS), self.clock)

        def take(count: int) -> list[str]:
            return [waiting.popleft() for _ in range(min(count, len(waiting)))]

        unread = ""
        for request_id, outcome in self.batches.outcomes("GET", "", take, deadline):
            try:
                if isinstance(outcome, GraphError):
                    raise outcome
                found[request_id] = self.graph.request_from(outcome.body)
            except RequestNotFound:
                found[request_id] = None
            except GraphError as error:
                unread = error.detail
        if len(found) < len(request_ids):
            missing = len(request_ids) - len(found)
            line = {"event": "read-back not whole", "missing": missing, "detail": unread}
            log.warning(json.dumps(line))
        self.batches.unsent.clear()
        return found

    def _write(self, what: str, write: Callable[[], None]) -> None:
        """Tidy the attempts; at worst some requests cool down for longer than they need."""
        try:
            write()
        except Exception as error:
            line = {"event": "attempts not written", "what": what, "error": type(error).__name__}
            log.warning(json.dumps(line))

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
                    "throttled": self.batches.throttled,
                    "perSecond": round(done / used, 1),
                    "secondsLeft": round(self.deadline.left()),
                }
            )
        )
