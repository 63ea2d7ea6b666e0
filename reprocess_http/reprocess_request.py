"""The routes of one request: reprocess it, or show its status; and their answers.

Not for: how a request is reprocessed (../reprocessing/one.py).
"""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import attempt_store
import graph
import settings as app_settings
from deadline import Deadline
from planning.view import iso
from reprocess_http import auth, status_link
from reprocess_http.handler import Route, by_key, by_key_to_change, id_in_route
from reprocess_http.parameters import Parameters, reject_body
from reprocess_http.responses import PROBLEMS, Answer, Problem, graph_ids, sentence, to_problem
from reprocessing.service import RequestService

if TYPE_CHECKING:
    import azure.functions as func

    from reprocess_http.auth import Caller
    from reprocess_http.handler import Call
    from reprocessing.states import Result
    from settings import Settings

DETAILS = {
    "accepted": "Graph accepted the reprocess; the delivery is under way.",
    "alreadyDelivering": "The delivery is already under way; nothing more was started.",
    "alreadyDelivered": "The access was delivered already.",
    "notReprocessable": PROBLEMS["not-reprocessable"].detail,
    "windowClosed": PROBLEMS["window-closed"].detail,
    "wouldReprocess": "The delivery failed and its window is open: it would be tried.",
    "deferred": "Graph could not take it now. The next sweep reprocesses it, without waiting for "
    "its cool-down; where Graph may have accepted it already, the first sweep five minutes from "
    "now does, if it is still failed then.",
    "onItsWay": "The request has not completed yet; ask again later.",
    "delivered": "The access was delivered.",
    "deliveryFailed": "The delivery failed.",
    "partiallyDelivered": "Only a part of the access was delivered.",
    "denied": "The request was denied; nothing will be delivered.",  # a status; else a problem
    "canceled": "The request was canceled; nothing will be delivered.",
}
FAILED_AGAIN = "The delivery failed again; its cause is not fixed yet."
OUTCOME_UNKNOWN = (
    "Whether Graph accepted the reprocess is not known; ask the status before trying again, or "
    "leave it to the next sweep."
)
# Outcomes of a reprocess that are problems; `unreadable`: one of many that could not be read.
PROBLEM_FOR_OUTCOME = {
    "notReprocessable": "not-reprocessable",
    "windowClosed": "window-closed",
    "refused": "refused",
    "requestNotFound": "request-not-found",
    "denied": "graph-denied",
    "failed": "graph-failed",
    "throttled": "throttled",
    "unknown": "graph-timeout",
    "unreadable": "graph-failed",
}


def request_service(settings: Settings) -> RequestService:
    """Return the service that reprocesses single requests for callers."""
    window = timedelta(days=settings.sweep_window_days)
    store, memory = attempt_store.for_callers(), attempt_store.in_memory()
    return RequestService(graph.shared(), store, memory, window)


# -- routes --


def _reprocess(call: Call) -> Answer:
    settings = app_settings.current()
    asked = Parameters(call.req.url, {"wait", "dryRun"})
    wait = asked.whole_number("wait", 0, 0, settings.http_budget_seconds, " of seconds")
    dry_run = asked.flag("dryRun")
    reject_body(call.req.get_body())
    service, deadline = request_service(settings), Deadline(settings.http_budget_seconds)
    if dry_run:
        result = service.would_reprocess(call.request_id, deadline)
        return result_answer(call, result, dry_run=True)
    result = service.reprocess(call.request_id, call.caller.name, deadline)
    if result.outcome in PROBLEM_FOR_OUTCOME:
        raise result_problem(result)
    return result_answer(call, service.wait_for_completion(call.request_id, result, wait, deadline))


def _status(call: Call) -> Answer:
    settings = app_settings.current()
    known = status_link.PARAMETERS if call.caller.link_request_id else {"acceptedAt"}
    accepted_at = Parameters(call.req.url, known).time("acceptedAt")
    service, deadline = request_service(settings), Deadline(settings.http_budget_seconds)
    return result_answer(call, service.status(call.request_id, accepted_at, deadline))


def _by_link(req: func.HttpRequest) -> Caller:
    return auth.verify_status_link(req.url, time.time())


REPROCESS = Route("reprocess", by_key_to_change, _reprocess, id_in_route)
STATUS = Route("status", by_key, _status, id_in_route)
STATUS_LINK = Route("status", _by_link, _status, lambda call: call.caller.link_request_id)


# -- answers --


def result_answer(call: Call, result: Result, detail: str = "", *, dry_run: bool = False) -> Answer:
    """Return 202 while a delivery is pending, with `Location` and `Retry-After`; else 200.

    A deferred reprocess is 202 without them: its status is the old failure until the next sweep.
    `detail`: in place of the usual sentence; it is logged as well.
    """
    state = result.request.state if result.request else None
    pending, deferred = result.on_its_way and not dry_run, result.outcome == "deferred"
    location = _status_url(call, result)
    body = {
        "requestId": call.request_id,
        "outcome": result.outcome,
        "state": state,
        "acceptedAt": iso(result.accepted_at),
        "statusUrl": location if pending or deferred else None,
        "correlationId": call.correlation_id,
        "detail": detail or _detail(result),
    }
    retry_after = str(app_settings.current().status_retry_after_seconds)
    known = {"outcome": result.outcome, "state": state, "detail": detail or None}
    log_fields = known | graph_ids(result.accepted or result.error)
    headers = {"Location": location, "Retry-After": retry_after} if pending else {}
    return Answer(202 if pending or deferred else 200, body, headers, log_fields)


def _detail(result: Result) -> str:
    request, accepted_at = result.request, result.accepted_at
    if result.outcome == "deliveryFailed" and request and accepted_at:
        return FAILED_AGAIN if request.changed_since(accepted_at) else DETAILS["deliveryFailed"]
    return DETAILS[result.outcome]


def result_problem(result: Result) -> Problem:
    """Return the problem that a reprocess ended with; its outcome is in PROBLEM_FOR_OUTCOME.

    Where Graph's answer decided, it also decides between throttled, graph-failed and graph-timeout.
    """
    outcome, error = result.outcome, result.error
    words = sentence(error.summary if error else result.words) if error or result.words else ""
    name, detail = PROBLEM_FOR_OUTCOME[outcome], ""
    if outcome == "refused" and words:
        detail = f"Graph says: {words} The service may still be retrying by itself."
    elif outcome == "unknown":
        detail = f"{words} {OUTCOME_UNKNOWN}".lstrip()
    elif outcome not in {"refused", "notReprocessable", "windowClosed"}:
        if error:
            caused = to_problem(error)
            name, detail = caused.name, caused.detail
        elif words:
            detail = f"Graph said to the attempt under way: {words}"
    state = result.request.state if result.request else None
    return Problem(name, detail, state=state, graph_error=error, retry_after=result.retry_after)


def _status_url(call: Call, result: Result) -> str:
    """Return where the status of this request is: a signed link where links are configured.

    A link that is polled is handed on with its own expiry: polling does not prolong it.
    """
    at, settings = iso(result.accepted_at), app_settings.current()
    if secret := settings.status_link_secret:
        expires = call.caller.link_expires
        if expires is None:
            expires = int(time.time()) + settings.status_link_hours * 3600
        return f"{call.origin}/api/status?{status_link.query(secret, call.request_id, at, expires)}"
    query = "?" + urlencode({"acceptedAt": at}) if at else ""
    return f"{call.origin}/api/requests/{call.request_id}{query}"
