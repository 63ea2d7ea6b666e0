"""Results and errors as HTTP answers: JSON objects, and problem details (RFC 9457).

Not for: finding out what happened (reprocess.py).
"""

from __future__ import annotations

import json
import logging
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import azure.functions as func

import graph
from reprocess_http import status_link
from reprocess_http.door import Forbidden, Refused, Unauthorized
from reprocess_http.parameters import InvalidParameter
from reprocess_http.reprocess import NotReprocessable, Result
from reprocess_http.webhook import LARGEST_BODY, BodyTooLarge, NoRequestId
from settings import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from reprocess_http.diagnosis import Check
    from settings import Settings

log = logging.getLogger("redeliver")


# An answer, and what the log line should say beyond it.
type Answered = tuple[func.HttpResponse, Mapping[str, object]]


class InvalidRequestId(Exception):
    """The request id is not a GUID."""


@dataclass(slots=True)
class Call:
    """What every answer refers to, and the log line about it.

    `origin` is our own address; `request_id` and `caller` are empty until they are known;
    `link_expires`: when the status link expires that was called (Unix seconds).
    """

    origin: str
    correlation_id: str
    request_id: str = ""
    caller: str = ""
    link_expires: int | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """One kind of problem: its name, HTTP status and title."""

    name: str
    status: int
    title: str


INVALID_REQUEST_ID = Problem("invalid-request-id", 400, "The request id is not a GUID")
INVALID_PARAMETER = Problem("invalid-parameter", 400, "A query parameter is wrong")
UNAUTHORIZED = Problem("unauthorized", 401, "The caller could not be identified")
FORBIDDEN = Problem("forbidden", 403, "The caller may not do this")
NOT_FOUND = Problem("request-not-found", 404, "There is no such request")
NOT_REPROCESSABLE = Problem("not-reprocessable", 409, "This request cannot be reprocessed")
WINDOW_CLOSED = Problem("window-closed", 409, "The window for a reprocess is closed")
REFUSED = Problem("refused", 409, "Graph refused the reprocess")
BODY_TOO_LARGE = Problem("body-too-large", 413, "The body is too large")
NO_REQUEST_ID = Problem("no-request-id", 422, "The body has no request id where it should be")
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
# Errors whose kind, or whose text where there is none here, says it all.
PLAIN: dict[type[Exception], tuple[Problem, str]] = {
    InvalidRequestId: (INVALID_REQUEST_ID, "The id should be a GUID in 8-4-4-4-12 form."),
    InvalidParameter: (INVALID_PARAMETER, ""),
    Unauthorized: (UNAUTHORIZED, "The caller could not be identified."),
    Forbidden: (FORBIDDEN, "The caller is known but may not do this."),
    BodyTooLarge: (BODY_TOO_LARGE, f"A body may have {LARGEST_BODY // 1024} KiB at most."),
    NoRequestId: (NO_REQUEST_ID, ""),
    SettingsError: (MISCONFIGURED, ""),
}
HOW_TO_GRANT = "The commands are in docs/problems.md#graph-denied."
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
    """Return 200 with the outcome, or 202 with `Location` while the request is on its way.

    A deferred one is 202 without `Location`: until the sweep takes it, its status is the old
    failure, and whoever followed `Location` would take that for the end.
    """
    noted = {
        "graphRequestId": outcome.graph_request_id or None,
        "clientRequestId": outcome.client_request_id or None,
    }
    accepted_at = _iso(outcome.accepted_at)
    status_url = _status_url(call, accepted_at, settings)
    deferred = outcome.outcome == "deferred"
    body = {
        "requestId": call.request_id,
        "outcome": outcome.outcome,
        "state": outcome.state,
        "acceptedAt": accepted_at,
        "statusUrl": status_url if outcome.on_its_way or deferred else None,
        "correlationId": call.correlation_id,
        "detail": outcome.detail,
    }
    body = {name: value for name, value in body.items() if value is not None}
    headers = {}
    if outcome.on_its_way:
        wait = str(settings.status_retry_after_seconds)
        headers = {"Location": status_url, "Retry_After": wait}
    status = 202 if outcome.on_its_way or deferred else 200
    return response(status, body, call.correlation_id, **headers), noted


def _status_url(call: Call, accepted_at: str | None, settings: Settings) -> str:
    """Return where the status of this request is: a signed link where links are configured.

    A link that is polled is handed on with its own expiry: polling does not prolong it.
    """
    secret = settings.status_link_secret
    if secret:
        fresh = int(time.time()) + settings.status_link_hours * 3600
        expires = fresh if call.link_expires is None else call.link_expires
        query = status_link.query(secret, call.request_id, accepted_at, expires)
        return f"{call.origin}/api/status/{call.request_id}?{query}"
    url = f"{call.origin}/api/requests/{call.request_id}"
    return url + ("?" + urlencode({"acceptedAt": accepted_at}) if accepted_at else "")


def diagnosis(call: Call, checks: Sequence[Check]) -> Answered:
    """Return 200 with what was checked, or 503 when a check failed."""
    failed = [check.name for check in checks if check.failed]
    found = []
    for check in checks:
        one = {
            "name": check.name,
            "result": "failed" if check.failed else "ok",
            "milliseconds": check.milliseconds,
            "detail": check.failed or check.detail,
            "remedy": check.remedy,
        }
        found.append({name: value for name, value in one.items() if value != ""})
    body = {
        "outcome": "failed" if failed else "ok",
        "checks": found,
        "correlationId": call.correlation_id,
    }
    noted = {"failed": failed} if failed else {}
    return response(503 if failed else 200, body, call.correlation_id), noted


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
    if isinstance(error, Refused):
        noted["reason"] = str(error)
    if isinstance(error, Forbidden):
        noted["caller"] = error.caller
    for name in ("graphErrorCode", "graphRequestId", "clientRequestId", "retryAfterSeconds"):
        if name in body:
            noted[name] = body[name]
    return response(kind.status, body, call.correlation_id, **headers), noted


def _explain(call: Call, error: Exception) -> tuple[Problem, str, dict[str, Any]]:
    """Return kind, detail and extension members of the problem that an error is."""
    for kind, (problem_, detail) in PLAIN.items():
        if isinstance(error, kind):
            return problem_, detail or f"{error}.", {"requestId": call.request_id}
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
        says = (error.detail.rstrip(".") + ".", error.remedy, HOW_TO_GRANT)
        return DENIED, " ".join(filter(None, says)), extra
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
