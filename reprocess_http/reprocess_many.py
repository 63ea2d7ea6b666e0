"""`POST /api/requests/reprocess`: have Graph deliver up to 1,000 failed requests again.

Not for: how they are reprocessed (../reprocessing/bulk.py). Each is answered as the route of one
request would answer it, and has that route's log line.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from azure.core.exceptions import AzureError

import attempt_store
import graph
import settings as app_settings
from deadline import Deadline
from reprocess_http import reprocess_request
from reprocess_http.auth import explain_empty_body
from reprocess_http.failed_requests import unreadable
from reprocess_http.handler import Route, by_key_to_change, log_call
from reprocess_http.parameters import Parameters, load_json
from reprocess_http.responses import Answer, Problem, drop_none
from reprocessing.bulk import Bulk
from reprocessing.many import Context
from reprocessing.rate_limiter import RateLimiter

if TYPE_CHECKING:
    from reprocess_http.handler import Call
    from reprocessing.states import Result

MAX_IDS = 1000
MAX_BODY = 64 * 1024  # bytes
FORM = 'The body should be {"requestIds": ["<GUID>", ...], "dryRun": false}'
FORESEEN = {"notReprocessable", "windowClosed"}  # what a dry run says is no problem
LEFT_OVER = {
    "deferred": "It could not be sent within this call. The next sweep reprocesses it, without "
    "waiting for its cool-down.",
    "notSent": "It was not sent, and no sweep was promised.",
}


def requested(call: Call) -> tuple[list[str], bool]:
    """Return the request ids in lower case, and whether this is a dry run. Raises Problem."""
    body = call.req.get_body()
    if len(body) > MAX_BODY:
        raise _invalid(f"and {MAX_BODY // 1024} KiB at most.")
    try:
        document = load_json(body)
    except ValueError as error:
        why = error if body.strip() else explain_empty_body(call.req.headers)
        raise _invalid(f"as one JSON document: {why}.") from error
    names = document.keys() if isinstance(document, dict) else set()
    if not {"requestIds"} <= names <= {"requestIds", "dryRun"}:
        raise _invalid("with no other member.")
    ids, dry_run = document["requestIds"], document.get("dryRun", False)
    if not isinstance(dry_run, bool):
        raise _invalid("with true or false as dryRun.")
    if not isinstance(ids, list) or not 1 <= len(ids) <= MAX_IDS:
        raise _invalid(f"with 1 to {MAX_IDS} ids.")
    for position, one in enumerate(ids):
        if not isinstance(one, str) or not app_settings.is_guid(one):
            raise _invalid(f"and requestIds[{position}] is no GUID in 8-4-4-4-12 form.")
    ids = [one.lower() for one in ids]
    if len(set(ids)) < len(ids):
        raise _invalid("with different ids, and one is there twice.")
    return ids, dry_run


def _invalid(what: str) -> Problem:
    return Problem("invalid-parameter", f"{FORM}, {what}")


def _reprocess(call: Call) -> Answer:
    """Return 200 with a result for each; a problem only when nothing at all could be done."""
    settings, clock = app_settings.current(), time.monotonic
    Parameters(call.req.url, set())
    ids, dry_run = requested(call)
    end = Deadline(settings.http_budget_seconds)
    context = Context(
        graph=graph.shared(),
        attempts=attempt_store.for_sweeps(),  # one that has patience with many rows
        limiter=RateLimiter(settings.graph_concurrency, settings.graph_batch_size, clock),
        deadline=end,
        end=end,
        clock=clock,
        progress=lambda *_: None,
    )
    window, promise = timedelta(days=settings.sweep_window_days), not settings.sweep_dry_run
    bulk = Bulk(context, call.caller.name, window, dry_run=dry_run, promise=promise)
    try:
        results = bulk.run(ids)
    except AzureError as error:
        raise unreadable(error, settings) from error
    items = [
        _item(replace(call, request_id=one), result, dry_run=dry_run)
        for one, result in results.items()
    ]
    counts = Counter(str(one.get("outcome", one.get("problem"))) for one in items)
    log_fields = {"count": len(items), "counts": counts, "dryRun": dry_run or None}
    body = {"results": items, "counts": counts, "correlationId": call.correlation_id}
    return Answer(200, body, log_fields=log_fields)


def _item(call: Call, result: Result, *, dry_run: bool) -> dict[str, object]:
    """Return the result of one request, and log its line."""
    outcome = result.outcome
    is_problem = outcome in reprocess_request.PROBLEM_FOR_OUTCOME
    if is_problem and not (dry_run and outcome in FORESEEN):
        problem = reprocess_request.result_problem(result)
        if outcome == "failed":  # whatever its last send was answered
            problem.name = "graph-failed"
        answer = problem.to_answer(call.correlation_id, call.request_id)
        known: dict[str, object] = {"problem": problem.name, "detail": problem.detail}
    else:
        detail = LEFT_OVER.get(outcome, "")
        answer = reprocess_request.result_answer(call, result, detail, dry_run=dry_run)
        location = answer.headers.get("Location") if outcome == "accepted" else None
        detail = detail or reprocess_request.DETAILS[outcome]
        known = {"outcome": outcome, "detail": detail, "location": location}
    log_call("reprocess", call, answer)
    state = result.request.state if result.request else None
    return drop_none({"requestId": call.request_id, "state": state, **known})


REPROCESS_MANY = Route("reprocess many", by_key_to_change, _reprocess)
