"""`GET /api/requests`: the failed requests and what is planned, page by page, or all as CSV.

Not for: reading (failures.py), choosing (failures_query.py), or what a row tells (failure.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attempts
import graph
import settings as app_settings
from deadline import Deadline
from reprocess_http import accept, door, failures
from reprocess_http.answers import Answer, told, written
from reprocess_http.failures_query import query_of
from reprocess_http.road import Route
from reprocess_http.sheet import sheet
from reprocess_timer.failure import NAMES, iso, item

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reprocess_http.answers import Call
    from reprocess_http.failures import Failures
    from reprocess_http.failures_query import Query

JSON, CSV = "application/json", "text/csv"
KEPT = failures.Kept()
HEADERS = {"Vary": "Accept", "X-Content-Type-Options": "nosniff"}


def answer(call: Call) -> Answer:
    """Answer one call. Raises Problem, SettingsError."""
    settings = app_settings.current()
    as_csv = accept.best(call.req.headers.get("accept", ""), (JSON, CSV)) == CSV
    query = query_of(call.req, paged=not as_csv)
    deadline = Deadline(settings.http_budget_seconds)
    found = KEPT.get(
        deadline, lambda: failures.read(graph.shared(), attempts.shared(), settings, deadline)
    )
    return _as_csv(found, query) if as_csv else _as_json(found, query, call.origin)


def _as_json(found: Failures, query: Query, origin: str) -> Answer:
    page, following = query.page(found.ordered)
    gap = found.gaps[0] if found.gaps else None
    body = {
        "value": [item(one, found.as_of) for one in page],
        "nextLink": f"{origin}/api/requests?{following}" if following else None,
        "asOf": iso(found.as_of),
        "listComplete": not gap,
        "detail": gap.problem.detail if gap else None,
        "unlisted": [one.access_package for one in found.gaps if one.access_package] or None,
        "counts": found.counts,
    }
    content = written(told(body) | {"lastSweep": found.last_sweep})
    return Answer(200, content, HEADERS, _noted(found, len(page)))


def _as_csv(found: Failures, query: Query) -> Answer:
    """Return all rows; the name of the file says when it was, and whether it is whole."""
    chosen = list(query.chosen(found.ordered))
    content = sheet(NAMES, (item(one, found.as_of) for one in chosen))
    part = "-not-whole" if found.gaps else ""
    name = f"failed-requests-{found.as_of:%Y-%m-%dT%H%M}Z{part}.csv"
    headers = HEADERS | {
        "Content-Disposition": f'attachment; filename="{name}"',
        "x-list-complete": "false" if found.gaps else "true",
    }
    noted = _noted(found, len(chosen))
    return Answer(200, content, headers, noted, CSV)


def _noted(found: Failures, count: int) -> Mapping[str, object]:
    if not found.gaps:
        return {"count": count, "listComplete": True}
    problem = found.gaps[0].problem
    return {
        "count": count,
        "listComplete": False,
        "detail": problem.detail,
        "retryAfterSeconds": problem.retry_after_seconds,
        "graphErrorCode": problem.graph_error_code,
        "graphRequestId": problem.graph_request_id,
        "clientRequestId": problem.client_request_id,
    }


FAILURES = Route("requests", lambda req: door.caller(req.headers, door.LEVEL), answer)
