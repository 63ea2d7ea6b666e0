"""Results and errors as HTTP answers: JSON objects, and problem details (RFC 9457).

Not for: finding out what happened (reprocess.py).
"""

from __future__ import annotations

import json
import logging
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import azure.functions as func

import graph
from reprocess_http.parameters import InvalidParameter
from reprocess_http.reprocess import NotReprocessable, Result
from settings import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from settings import Settings

log = logging.getLogger("redeliver")


# An answer, and what the log line should say beyond it.
type Answered = tuple[func.HttpResponse, Mapping[str, object]]


class Unauthorized(Exception):
    """The caller could not be identified."""


class InvalidRequestId(Exception):
    """The request id is not a GUID."""


@dataclass(frozen=True, slots=True)
class Call:
    """What every answer refers to: the request, our own address, and the correlation id."""

    request_id: str
    origin: str
    correlation_id: str


@dataclass(frozen=True, slots=True)
class Problem:
    """One kind of problem: its name, HTTP status and title."""

    name: str
    status: int
    title: str


INVALID_REQUEST_ID = Problem("invalid-request-id", 400, "The request id is not a GUID")
INVALID_PARAMETER = Problem("invalid-parameter", 400, "A query parameter is wrong")
UNAUTHORIZED = Problem("unauthorized", 401, "The caller could not be identified")
NOT_FOUND = Problem("request-not-found", 404, "There is no such request")
NOT_REPROCESSABLE = Problem("not-reprocessable", 409, "This request cannot be reprocessed")
WINDOW_CLOSED = Problem("window-closed", 409, "The window for a reprocess is closed")
REFUSED = Problem("refused", 409, "Graph refused the reprocess")
MISCONFIGURED = Problem("misconfigured", 500, "The app is misconfigured")
INTERNAL = Problem("internal", 500, "The app has an error")
DENIED = Problem("graph-denied", 502, "Graph denies access to the app")
FAILED = Problem("graph-failed", 502, "Graph is failing or cannot be reached")
THROTTLED = Problem("throttled", 503, "Graph is throttling")
TIMEOUT = Problem("graph-timeout", 504, "Graph gave no answer in time")
BY_OUTCOME = {
    "notReprocessable": NOT_REPROCESSABLE,
    "windowClosed": WINDOW_CLOSED,
    "refused": REFUSED,
}
LOST = (
    " Whether Graph accepted the reprocess is not known; ask the status before trying again, or "
    "leave it to the next sweep."
)


def response(
    status: int, body: dict[str, Any], correlation_id: str, **headers: str
) -> func.HttpResponse:
    """Return a JSON answer; every answer carries the correlation id."""
    problem = "type" in body
    return func.HttpResponse(
        json.dumps(body, ensure_ascii=False),
        status_code=status,
        mimetype="application/problem+json" if problem else "application/json",
        headers={
            "x-correlation-id": correlation_id,
            "Cache-Control": "no-store",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        },
    )


def result(call: Call, outcome: Result, settings: Settings) -> Answered:
    """Return 200 with the outcome, or 202 with `Location` while the request is on its way."""
    noted = {
        "graphRequestId": outcome.graph_request_id or None,
        "clientRequestId": outcome.client_request_id or None,
    }
    accepted_at = _iso(outcome.accepted_at)
    status_url = f"{call.origin}/api/requests/{call.request_id}"
    if accepted_at:
        status_url += "?" + urlencode({"acceptedAt": accepted_at})
    body = {
        "requestId": call.request_id,
        "outcome": outcome.outcome,
        "state": outcome.state,
        "acceptedAt": accepted_at,
        "statusUrl": status_url if outcome.on_its_way else None,
        "correlationId": call.correlation_id,
        "detail": outcome.detail,
    }
    body = {name: value for name, value in body.items() if value is not None}
    if not outcome.on_its_way:
        return response(200, body, call.correlation_id), noted
    answered = response(
        202,
        body,
        call.correlation_id,
        Location=status_url,
        Retry_After=str(settings.status_retry_after_seconds),
    )
    return answered, noted


def problem(call: Call, error: Exception) -> Answered:
    """Return the answer to an error, and what the log line should say beyond it."""
    kind, detail, extra = _explain(call, error)
    body = {
        "type": f"urn:redeliver:problem:{kind.name}",
        "title": kind.title,
        "status": kind.status,
        "detail": detail,
        "instance": call.correlation_id,
        **{name: value for name, value in extra.items() if value not in {None, ""}},
    }
    headers = {}
    if "retryAfterSeconds" in body:
        headers["Retry_After"] = str(body["retryAfterSeconds"])
    noted: dict[str, object] = {"detail": detail}
    for name in ("graphErrorCode", "graphRequestId", "clientRequestId", "retryAfterSeconds"):
        if name in body:
            noted[name] = body[name]
    return response(kind.status, body, call.correlation_id, **headers), noted


def _explain(call: Call, error: Exception) -> tuple[Problem, str, dict[str, Any]]:
    """Return kind, detail and extension members of the problem that an error is."""
    if isinstance(error, InvalidRequestId):
        return INVALID_REQUEST_ID, "The id should be a GUID in 8-4-4-4-12 form.", {}
    if isinstance(error, InvalidParameter):
        return INVALID_PARAMETER, f"{error}.", {"requestId": call.request_id}
    if isinstance(error, Unauthorized):
        return UNAUTHORIZED, "The caller could not be identified.", {}
    if isinstance(error, SettingsError):
        return MISCONFIGURED, f"{error}.", {"requestId": call.request_id}
    if isinstance(error, NotReprocessable):
        extra = _extra(call, error.refusal) | {"state": error.state}
        detail = str(error)
        if error.outcome == "refused":
            detail = f"Graph says: {detail} The service may still be retrying by itself."
        return BY_OUTCOME[error.outcome], detail, extra
    if isinstance(error, graph.GraphError):
        return _explain_graph(call, error)
    log.error("unforeseen error, correlation id %s", call.correlation_id, exc_info=error)
    return INTERNAL, "An unforeseen error; the app's log has it under this instance.", {}


def _explain_graph(call: Call, error: graph.GraphError) -> tuple[Problem, str, dict[str, Any]]:
    extra = _extra(call, error)
    if isinstance(error, graph.RequestNotFound):
        return NOT_FOUND, "Graph knows no request with this id, or the app may not see it.", extra
    if isinstance(error, graph.GraphDenied):
        return DENIED, f"{error.detail} {error.remedy}".strip(), extra
    if isinstance(error, graph.GraphRefused):
        return REFUSED, f"Graph says: {error.detail}", extra
    lost = LOST if error.lost else ""
    if isinstance(error, graph.GraphThrottled):
        return THROTTLED, f"Graph asks to wait longer than this call may last.{lost}", extra
    if isinstance(error, graph.GraphTimeout):
        return TIMEOUT, f"{error.detail}.{lost}", extra
    return FAILED, f"{error.detail}.{lost}", extra


def _extra(call: Call, error: graph.GraphError) -> dict[str, Any]:
    """Return the extension members that a Graph error gives."""
    wait = error.retry_after
    if isinstance(error, graph.GraphThrottled) and wait is None:
        wait = graph.LONGEST_BACKOFF
    return {
        "requestId": call.request_id,
        "graphRequestId": error.graph_request_id,
        "clientRequestId": error.client_request_id,
        "graphErrorCode": error.code,
        "retryAfterSeconds": None if wait is None else math.ceil(wait),
    }


def _iso(at: datetime | None) -> str | None:
    return at.isoformat(timespec="seconds").replace("+00:00", "Z") if at else None
