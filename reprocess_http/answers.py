"""Answers: results, findings and problems (RFC 9457) as JSON, and what the log says of each.

Not for: finding out what happened (one_request.py, diagnosis.py).
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import azure.functions as func

from reprocess_http import status_link
from reprocess_timer.failure import iso

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from reprocess_http.diagnosis import Check
    from reprocess_http.door import Caller
    from reprocess_http.one_request import Result
    from reprocess_http.problems import Problem
    from settings import Settings


@dataclass(frozen=True, slots=True)
class Call:
    """One HTTP call, as far as it is known: `caller` and `request_id` are found out on the way.

    `origin` is our own address.
    """

    req: func.HttpRequest
    origin: str
    correlation_id: str
    caller: Caller | None = None
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What is answered, and `noted` for the call's log line. What is None is left out of both.

    A `body` that is bytes is sent as it is.
    """

    status: int
    body: Mapping[str, object] | bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    noted: Mapping[str, object] = field(default_factory=dict)
    mimetype: str = "application/json"

    def response(self, correlation_id: str) -> func.HttpResponse:
        """Return it as the Functions host takes it; every answer carries the correlation id."""
        body = self.body if isinstance(self.body, bytes) else written(told(self.body))
        return func.HttpResponse(
            body,
            status_code=self.status,
            mimetype=self.mimetype,
            headers={
                "x-correlation-id": correlation_id,
                "Cache-Control": "no-store",
                **self.headers,
            },
        )


def told(fields: Mapping[str, object]) -> dict[str, object]:
    """Return what is known: fields that are None are left out."""
    return {name: value for name, value in fields.items() if value is not None}


def written(body: Mapping[str, object]) -> bytes:
    """Return JSON in ASCII: half a character, as Graph may cut one, has no other form."""
    return json.dumps(body).encode()


def of_result(call: Call, result: Result, settings: Settings) -> Answer:
    """Return 202 while it is on its way, with `Location` and `Retry-After`; 200 for an end.

    What is deferred is 202 without them: its status is the old failure until the next sweep.
    """
    location = _status_url(call, result.accepted_at, settings)
    pending = result.on_its_way or result.outcome == "deferred"
    body = {
        "requestId": call.request_id,
        "outcome": result.outcome,
        "state": result.state,
        "acceptedAt": iso(result.accepted_at),
        "statusUrl": location if pending else None,
        "correlationId": call.correlation_id,
        "detail": result.detail,
    }
    retry_after = str(settings.status_retry_after_seconds)
    headers = {"Location": location, "Retry-After": retry_after} if result.on_its_way else {}
    noted = {
        "outcome": result.outcome,
        "state": result.state,
        "graphRequestId": result.graph_request_id or None,
        "clientRequestId": result.client_request_id or None,
    }
    return Answer(202 if pending else 200, body, headers, noted)


def of_problem(call: Call, problem: Problem) -> Answer:
    """Return the problem details of a problem; `reason` and `caller` go into the log only."""
    known = {
        "state": problem.state,
        "graphRequestId": problem.graph_request_id,
        "clientRequestId": problem.client_request_id,
        "graphErrorCode": problem.graph_error_code,
        "retryAfterSeconds": problem.retry_after_seconds,
    }
    body = {
        "type": f"urn:redeliver:problem:{problem.name}",
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail,
        "instance": call.correlation_id,
        "requestId": call.request_id or None,
        **known,
    }
    wait = problem.retry_after_seconds
    noted = known | {"outcome": problem.name, "detail": problem.detail, "reason": problem.reason}
    if problem.caller:
        noted["caller"] = problem.caller
    return Answer(
        problem.status,
        body,
        {} if wait is None else {"Retry-After": str(wait)},
        noted,
        "application/problem+json",
    )


def of_diagnosis(call: Call, checks: Sequence[Check]) -> Answer:
    """Return 200 with what was checked, or 503 when a check failed."""
    failed = [check.name for check in checks if check.failed]
    outcome = "failed" if failed else "ok"
    found = [
        {
            "name": check.name,
            "result": "failed" if check.failed else "ok",
            "milliseconds": check.milliseconds,
            "detail": check.detail,
        }
        | ({"remedy": check.remedy} if check.failed else {})
        for check in checks
    ]
    return Answer(
        503 if failed else 200,
        {"outcome": outcome, "checks": found, "correlationId": call.correlation_id},
        noted={"outcome": outcome, "failedChecks": failed or None},
    )


def _status_url(call: Call, accepted_at: datetime | None, settings: Settings) -> str:
    """Return where the status of this request is: a signed link where links are configured.

    A link that is polled is handed on with its own expiry: polling does not prolong it.
    """
    at = iso(accepted_at)
    secret = settings.status_link_secret
    if secret:
        expires = call.caller.link_expires if call.caller else None
        if expires is None:
            expires = int(time.time()) + settings.status_link_hours * 3600
        query = status_link.query(secret, call.request_id, at, expires)
        return f"{call.origin}/api/status/{call.request_id}?{query}"
    query = "?" + urlencode({"acceptedAt": at}) if at else ""
    return f"{call.origin}/api/requests/{call.request_id}{query}"
