"""HTTP trigger: reprocess one request, tell its status, tell that the app is up.

Not for: deciding what an answer of Graph means (reprocess.py) or how it is put (answers.py).
The function key is checked by the Functions host before anything here runs.
"""

from __future__ import annotations

import json
import logging
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import azure.functions as func

import attempts
import graph
import settings as app_settings
from reprocess_http import answers, reprocess
from reprocess_http.parameters import Parameters

if TYPE_CHECKING:
    from collections.abc import Callable

blueprint = func.Blueprint()  # type: ignore[no-untyped-call]
log = logging.getLogger("redeliver")
LEVEL = func.AuthLevel[app_settings.auth_level().upper()]


@blueprint.function_name("reprocess")
@blueprint.route("requests/{requestId}/reprocess", methods=["POST"], auth_level=LEVEL)
def reprocess_one(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """`POST /api/requests/{requestId}/reprocess`: have Graph deliver this request again."""

    def answer(call: answers.Call) -> answers.Answered:
        asked = Parameters(req, {"wait", "dryRun"})
        settings = app_settings.current()
        wait = asked.whole("wait", 0, settings.http_budget_seconds)
        dry_run = asked.flag("dryRun")
        deadline = graph.Deadline(settings.http_budget_seconds)
        result = reprocess.reprocess(
            graph.shared(), attempts.recorder, call.request_id, deadline, dry_run=dry_run, wait=wait
        )
        return answers.result(call, result, settings)

    return _answered("reprocess", req, context, answer)


@blueprint.function_name("status")
@blueprint.route("requests/{requestId}", methods=["GET"], auth_level=LEVEL)
def status(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """`GET /api/requests/{requestId}`: what Graph says of this request now."""

    def answer(call: answers.Call) -> answers.Answered:
        accepted_at = Parameters(req, {"acceptedAt"}).time("acceptedAt")
        settings = app_settings.current()
        deadline = graph.Deadline(settings.http_budget_seconds)
        result = reprocess.status(graph.shared(), call.request_id, accepted_at, deadline)
        return answers.result(call, result, settings)

    return _answered("status", req, context, answer)


@blueprint.function_name("health")
@blueprint.route("health", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
def health(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """`GET /api/health`: the app is up. Open to anybody, tells nothing else, calls nothing."""
    del req
    return answers.response(200, {"status": "ok"}, context.invocation_id)


def _answered(
    event: str,
    req: func.HttpRequest,
    context: func.Context,
    answer: Callable[[answers.Call], answers.Answered],
) -> func.HttpResponse:
    """Answer a call about one request, whatever happens, and log one line about it."""
    started = time.monotonic()
    call = answers.Call(
        req.route_params.get("requestId", ""), _origin(req.url), context.invocation_id
    )
    try:
        if LEVEL is not func.AuthLevel.FUNCTION:  # nobody has checked who is calling: closed door
            raise answers.Unauthorized
        if not app_settings.is_guid(call.request_id):
            raise answers.InvalidRequestId
        call = answers.Call(call.request_id.lower(), call.origin, call.correlation_id)
        response, noted = answer(call)
    except Exception as error:  # every error has an answer; the unforeseen ones are logged whole
        response, noted = answers.problem(call, error)
    body = json.loads(response.get_body())
    line = {
        "event": event,
        "requestId": call.request_id[:100],
        "status": response.status_code,
        "outcome": body.get("outcome") or body["type"].rpartition(":")[2],
        "state": body.get("state"),
        **noted,
        "milliseconds": round((time.monotonic() - started) * 1000),
        "correlationId": call.correlation_id,
    }
    level = logging.INFO if response.status_code < 400 else logging.WARNING
    log.log(level, json.dumps({name: value for name, value in line.items() if value is not None}))
    return response


def _origin(url: str) -> str:
    """Return scheme and host of the URL that the host says was called."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
