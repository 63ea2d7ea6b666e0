"""All failed requests with the sweep's own plan, read once for all who ask within half a minute.

Not for: choosing from them (failures_query.py), or writing them into an answer
(failures_answer.py). Kept for this process only; another instance makes a list of its own.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from azure.core.exceptions import AzureError

from graph import GraphDenied, GraphError, GraphRefused
from reprocess_http.answers import told
from reprocess_http.lately import StillUnderWay, UnderWay
from reprocess_http.problems import (
    AttemptsUnreadable,
    Failing,
    Problem,
    TimedOut,
    problem_of,
)
from reprocess_timer.failure import iso, judged, place
from reprocess_timer.listing import OUTAGE
from reprocess_timer.plan import Standing
from reprocess_timer.report import CHECK_TABLE

if TYPE_CHECKING:
    from collections.abc import Callable

    from attempts import Attempts
    from deadline import Deadline
    from graph import DetailedRequest, Graph
    from reprocess_timer.failure import Failure
    from settings import Settings

KEPT_SECONDS = 30.0
MOST = 100_000  # failures kept; with its attempts each takes two and a half kilobytes of memory


@dataclass(frozen=True, slots=True)
class Gap:
    """Why the list is not whole: of one access package, or of all (then it has no id)."""

    access_package: str | None
    problem: Problem


@dataclass(frozen=True, slots=True)
class Failures:
    """What has failed as of a moment, in the order of `place`; `counts` by plan.

    `last_sweep`: the last sweep's report with `at`, when it ended; None when there was none.
    """

    as_of: datetime
    ordered: list[Failure]
    counts: dict[str, int]
    gaps: list[Gap]
    last_sweep: dict[str, Any] | None


class Kept:
    """The last reading, for half a minute after it was made; of those who ask, one reads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Nothing is kept yet."""
        self._clock = clock
        self._under_way = UnderWay[Failures]()
        self._kept: tuple[float, Failures] | None = None

    def get(self, deadline: Deadline, read: Callable[[], Failures]) -> Failures:
        """Return what is kept or under way, or else read. Raises what `read` raises, TimedOut."""
        kept = self._fresh()
        if kept:
            return kept
        try:
            failures, _ = self._under_way.together(
                "list", deadline.left(), lambda: self._fresh() or self._keep(read())
            )
        except StillUnderWay:
            raise TimedOut("Another call's list has not ended in time.") from None
        return failures

    def _fresh(self) -> Failures | None:
        kept = self._kept
        return kept[1] if kept and self._clock() < kept[0] else None

    def _keep(self, failures: Failures) -> Failures:
        self._kept = (self._clock() + KEPT_SECONDS, failures)
        return failures


def read(  # noqa: PLR0913, PLR0917 - what a reading needs
    graph: Graph,
    attempts: Attempts,
    settings: Settings,
    deadline: Deadline,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    most: int = MOST,
) -> Failures:
    """Read attempts and failed requests, and judge each as a sweep would.

    The table takes half of the deadline at most. A list that breaks off gives what was read.
    Raises AttemptsUnreadable, and the problem of the list when nothing of it could be read.
    """
    as_of = now()
    try:
        known = attempts.read_all(deadline.within(deadline.left() / 2))
        last = attempts.last_sweep(deadline)
    except AzureError as error:
        raise _unreadable(error, settings) from error
    requests, gaps = _listed(graph, settings.sweep_access_packages, deadline, most)
    failures = [judged(one, known.get(one.id), settings, as_of) for one in requests]
    counts = Counter(one.standing for one in failures)
    return Failures(
        as_of,
        sorted(failures, key=place),
        {standing.value: counts[standing] for standing in Standing},
        gaps,
        _report(*last) if last else None,
    )


def _listed(
    graph: Graph, access_packages: tuple[str, ...], deadline: Deadline, most: int
) -> tuple[list[DetailedRequest], list[Gap]]:
    """List the failed requests, each once, of every access package on its own.

    Raises Problem when no list ended well and none gave anything.
    """
    found: dict[str, DetailedRequest] = {}
    gaps: list[Gap] = []
    silent = 0
    asked = access_packages or (None,)
    for access_package in asked:
        if silent >= OUTAGE:
            gaps.append(Gap(access_package, gaps[-1].problem))
            continue
        try:
            for request in graph.failed_in_detail(deadline, access_package):
                if len(found) == most and request.id not in found:
                    detail = f"There are more failed requests than the {most} that are listed here."
                    gaps.append(Gap(access_package, Problem(detail)))
                    break
                found[request.id] = request
            silent = 0
        except GraphError as error:
            gaps.append(Gap(access_package, _problem(error, access_package)))
            silent = 0 if isinstance(error, GraphDenied | GraphRefused) else silent + 1
    if not found and len(gaps) == len(asked):
        raise gaps[0].problem
    return list(found.values()), gaps


def _problem(error: GraphError, access_package: str | None) -> Problem:
    """Return what a list's error is; a refusal is about the list, not about a request."""
    if not isinstance(error, GraphRefused):
        return problem_of(error)
    check = " Check the ids in SWEEP_ACCESS_PACKAGES." if access_package else ""
    return Failing(f"Graph refuses the list: {error.described}.{check}", said=error)


def _unreadable(error: AzureError, settings: Settings) -> AttemptsUnreadable:
    status = getattr(error, "status_code", None)
    how = f"HTTP {status}" if status else type(error).__name__
    return AttemptsUnreadable(
        f"The table {settings.attempts_table} cannot be read ({how}), so it is not known what was "
        f"tried: {CHECK_TABLE}. Until then no sweep tries anything; a single request can still be "
        "reprocessed."
    )


def _report(at: datetime, report: dict[str, Any]) -> dict[str, Any]:
    return {"at": iso(at), **told(report)}
