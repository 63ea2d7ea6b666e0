"""`GET /api/requests`: failed requests, their causes and the sweep's own plan; JSON pages, or CSV.

Not for: choosing from them (list_query.py), or what is due (../planning). The list is read once for
all who ask within half a minute, in this process.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import batched
from typing import TYPE_CHECKING

from azure.core.exceptions import AzureError
from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header

import attempt_store
import graph
import settings as app_settings
from attempts import blank
from deadline import Deadline
from graph import Graph, GraphRefused, GraphThrottled, Request, RequestNotFound
from planning import view
from planning.causes import Causes
from planning.listing import ListFailure, list_failed
from planning.plan import PlanStatus
from reprocess_http.csv_export import to_csv
from reprocess_http.handler import Call, Route, by_key
from reprocess_http.list_query import Query, query_of
from reprocess_http.responses import Answer, Problem, drop_none, sentence, to_json, to_problem
from schedule import next_sweep_at

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from attempt_store import AttemptStore
    from settings import Settings

CACHE_SECONDS = 30.0
LISTS_AT_ONCE = 8  # access packages listed side by side
READ_SIZE = 20  # requests in one read
OVERDUE = timedelta(minutes=15)  # after its budget a sweep should have ended
HEADERS = {"Vary": "Accept", "X-Content-Type-Options": "nosniff"}


@dataclass(frozen=True, slots=True)
class FailedList:
    """All failed requests as of a moment, in the order of `sort_key`.

    `members`: what a JSON answer says of all of them. `problem`: why the list is incomplete, None
    when it is complete.
    """

    as_of: datetime
    views: list[view.FailureView]
    members: Mapping[str, object]
    problem: Problem | None


class ListCache:
    """Keeps the last list for CACHE_SECONDS; of those who ask at once, one reads it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Start empty."""
        self._clock = clock
        self._lock = threading.Lock()
        self._cached: tuple[float, FailedList] | None = None

    def get(self, deadline: Deadline, read: Callable[[], FailedList]) -> FailedList:
        """Return the cached list, or read it. Raises what `read` raises, and Problem."""
        if not self._lock.acquire(timeout=deadline.left()):
            raise Problem("graph-timeout", "Another call's list has not ended in time.")
        try:
            if not self._cached or self._clock() >= self._cached[0]:
                failed = read()
                self._cached = self._clock() + CACHE_SECONDS, failed
            return self._cached[1]
        finally:
            self._lock.release()


CACHE = ListCache()


def read_list(
    graph: Graph, store: AttemptStore, settings: Settings, deadline: Deadline, as_of: datetime
) -> FailedList:
    """Read records and failed requests, and plan each as a sweep would.

    The table takes half of the deadline at most. A list that breaks off gives what was read.
    Raises Problem when the records, or the whole list, cannot be read.
    """
    try:
        records = store.read_all(deadline.within(deadline.left() / 2), history=True)
        last = store.last_report(deadline)
    except AzureError as error:
        raise unreadable(error, settings) from error
    found: dict[str, Request] = {}

    def take(request: Request) -> None:
        found[request.id] = request

    packages = settings.sweep_access_packages
    failures = list_failed(graph, packages, deadline, take, names=True, at_once=LISTS_AT_ONCE)
    if not found and len(failures) == len(packages or (None,)):
        raise _problem(failures[0])
    deferred = [one.request_id for one in records.values() if one.is_deferred]
    unlisted = [one for one in deferred if one not in found]
    failures += _read_deferred(graph, unlisted, found, deadline)
    causes = Causes()
    for one in found.values():
        causes.add(one)
    views = [
        view.evaluate(one, record, settings, as_of, causes.of(one, record))
        for one in found.values()
        for record in [records.get(one.id) or blank(one.id)]
    ]
    counts = Counter(one.status for one in views)
    problem = _incomplete(failures, len(packages))
    members: dict[str, object] = {
        "asOf": view.iso(as_of),
        "listComplete": not problem,
        "detail": problem.detail if problem else None,
        "unlisted": [one.access_package for one in failures if one.access_package] or None,
        "counts": {status.value: counts[status] for status in PlanStatus},
        "causes": view.causes_of(views),
        "nextSweepAt": view.iso(next_sweep_at(settings.sweep_schedule, as_of)),
        "sweepOverdue": _is_overdue(last[0], settings, as_of) if last else None,
        "dryRun": settings.sweep_dry_run,
        "portalUrl": view.portal_url(settings),
    }
    last_sweep = {"at": view.iso(last[0]), **drop_none(last[1])} if last else None
    members = drop_none(members) | {"lastSweep": last_sweep}
    return FailedList(as_of, sorted(views, key=view.sort_key), members, problem)


def _is_overdue(last_at: datetime, settings: Settings, now: datetime) -> bool:
    """Whether the sweep that was due after the last one should have ended by now."""
    due = next_sweep_at(settings.sweep_schedule, last_at)
    budget = timedelta(seconds=settings.sweep_budget_seconds)
    return due is not None and now > due + budget + OVERDUE


def _read_deferred(
    graph: Graph, request_ids: Sequence[str], found: dict[str, Request], deadline: Deadline
) -> list[ListFailure]:
    """Add the deferred requests that no list contains, as the next sweep does, while they failed.

    Returns the last error, where one cannot be read.
    """
    failure: list[ListFailure] = []
    for some in batched(request_ids, READ_SIZE, strict=False):
        for one in graph.read_each(list(some), deadline):
            if isinstance(one, Request):
                found |= {one.id: one} if one.has_failed else {}
            elif not isinstance(one, RequestNotFound):
                failure = [ListFailure(None, one)]
        if failure and isinstance(failure[0].error, GraphThrottled):  # it asks to wait
            break
    return failure


def _incomplete(failures: Sequence[ListFailure], packages: int) -> Problem | None:
    """Return why a list is incomplete: the first failure, and of how many access packages."""
    if not failures:
        return None
    problem = _problem(failures[0])
    if unlisted := sum(bool(one.access_package) for one in failures):
        problem.detail = (
            f"Failed requests could be listed in {packages - unlisted} of {packages} access "
            f"packages. Of the first other one: {problem.detail}"
        )
    return problem


def _problem(failure: ListFailure) -> Problem:
    """Return the problem of one list; a refusal is about the list, not about a request."""
    error = failure.error
    if isinstance(error, GraphRefused) or error.status == 404:
        detail = f"Graph refuses the list: {sentence(error.summary)} {failure.remedy}"
        return Problem("graph-failed", detail, graph_error=error)
    return to_problem(error)


def unreadable(error: AzureError, settings: Settings) -> Problem:
    """Return the problem that the attempt records cannot be read, with what to do about it."""
    return Problem(
        "attempts-unreadable",
        f"The table {settings.attempts_table} cannot be read, so it is not known what was tried. "
        f"{sentence(attempt_store.what_to_do(error))} Until then no sweep reprocesses anything; a "
        "single request can still be reprocessed.",
    )


# -- answers --


def _list(call: Call) -> Answer:
    settings = app_settings.current()
    accepted = parse_accept_header(call.req.headers.get("accept", ""), MIMEAccept)
    as_csv = accepted.best_match(("application/json", "text/csv")) == "text/csv"
    query = query_of(call.req.url, paged=not as_csv)
    deadline = Deadline(settings.http_budget_seconds)

    def read() -> FailedList:
        store = attempt_store.for_sweeps()  # one that has time for many rows
        return read_list(graph.shared(), store, settings, deadline, datetime.now(UTC))

    failed = CACHE.get(deadline, read)
    return _as_csv(failed, query) if as_csv else _as_json(failed, query, call.origin)


def _as_json(failed: FailedList, query: Query, origin: str) -> Answer:
    page, next_query = query.page(failed.views)
    rows = [view.to_dict(one, failed.as_of) | {"history": view.history_of(one)} for one in page]
    link = {"nextLink": f"{origin}/api/requests?{next_query}"} if next_query else {}
    content = to_json({"value": rows, **link, **failed.members})
    return Answer(200, content, HEADERS, _log_fields(failed, len(page)))


def _as_csv(failed: FailedList, query: Query) -> Answer:
    """Return all rows; the name of the file says when it was, and whether it is complete."""
    rows = [view.to_dict(one, failed.as_of) for one in query.matching(failed.views)]
    columns = view.COLUMNS
    content = to_csv(columns, ({n: row[n] for n in columns if n in row} for row in rows))
    part = "-incomplete" if failed.problem else ""
    name = f"failed-requests-{failed.as_of:%Y-%m-%dT%H%M}Z{part}.csv"
    headers = HEADERS | {
        "Content-Disposition": f'attachment; filename="{name}"',
        "x-list-complete": "false" if failed.problem else "true",
    }
    return Answer(200, content, headers, _log_fields(failed, len(rows)), "text/csv")


def _log_fields(failed: FailedList, count: int) -> dict[str, object]:
    problem = failed.problem
    why = {"detail": problem.detail, **problem.graph_fields()} if problem else {}
    return {"count": count, "listComplete": not problem, **why}


FAILED_REQUESTS = Route("requests", by_key, _list)
