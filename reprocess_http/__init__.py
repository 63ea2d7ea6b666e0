"""HTTP triggers: reprocess one request, tell its status, take webhooks, tell how the app is.

Not for: who may call (door.py), what an answer of Graph means (reprocess.py), or how it is put
(answers.py). A function key is checked by the Functions host before anything here runs.
"""

from __future__ import annotations

import json
import logging
import time
from typing import TYPE_CHECKING

import azure.functions as func

import attempts
import graph
import settings as app_settings
from reprocess_http import answers, diagnosis, door, reprocess, webhook
from reprocess_http.origin import origin
from reprocess_http.parameters import Parameters
from reprocess_http.recent import Recent

if TYPE_CHECKING:
    from collections.abc import Callable

    from reprocess_http.answers import Answered, Call

blueprint = func.Blueprint()  # type: ignore[no-untyped-call]
log = logging.getLogger("redeliver")
LEVEL = func.AuthLevel[app_settings.auth_level().upper()]
OPEN = func.AuthLevel.ANONYMOUS
lately = Recent()


@blueprint.function_name("reprocess")
@blueprint.route("requests/{requestId}/reprocess", methods=["POST"], auth_level=LEVEL)
def reprocess_one(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """`POST /api/requests/{requestId}/reprocess`: have Graph deliver this request again."""

    def answer(call: Call) -> Answered:
        call.caller = _known_caller(req)
        call.request_id = _request_id(req)
        asked = Parameters(req, {"wait", "dryRun"})
        settings = app_settings.current()
        wait = asked.whole("wait", 0, settings.http_budget_seconds)
        dry_run = asked.flag("dryRun")
        deadline = graph.Deadline(settings.http_budget_seconds)
        result = reprocess.reprocess(
            graph.shared(),
            attempts.recorder,
            lately,
            call.request_id,
            deadline,
            dry_run=dry_run,
            wait=wait,
        )
        return answers.result(call, result, settings)

    return _answered("reprocess", req, context, answer)


@blueprint.function_name("status")
@blueprint.route("requests/{requestId}", methods=["GET"], auth_level=LEVEL)
def status(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """`GET /api/requests/{requestId}`: what Graph says of this request now."""

    def answer(call: Call) -> Answered:
        call.caller = _known_caller(req)
        call.request_id = _request_id(req)
        return _status(call, Parameters(req, {"acceptedAt"}))

    return _answered("status", req, context, answer)


@blueprint.function_name("status_link")
@blueprint.route("status/{requestId}", methods=["GET"], auth_level=OPEN)
def status_by_link(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """`GET /api/status/{requestId}`: the same for whoever holds a status link, until it expires."""

    def answer(call: Call) -> Answered:
        call.link_expires = door.link(
            req.route_params.get("requestId", ""), req.params, time.time()
        )
        call.caller = "status link"
        call.request_id = _request_id(req)
        return _status(call, Parameters(req, {"acceptedAt", "expires", "signature"}))

    return _answered("status", req, context, answer)


@blueprint.function_name("webhook")
@blueprint.route("webhook", methods=["POST"], auth_level=LEVEL)
def take_webhook(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """`POST /api/webhook`: reprocess the request that a ticketing system's payload names."""

    def answer(call: Call) -> Answered:
        body = req.get_body()
        webhook.check_size(body)
        call.caller = door.webhook(req.headers, body, LEVEL.value, time.time())
        Parameters(req, set())
        settings = app_settings.current()
        call.request_id = webhook.request_id(body, settings.webhook_request_id_pointer)
        result = webhook.deliver(
            graph.shared(),
            attempts.recorder,
            lambda wanted: attempts.shared().defer(wanted),
            lately,
            call.request_id,
            min(webhook.GRAPH_SECONDS, settings.http_budget_seconds),
        )
        return answers.result(call, result, settings)

    return _answered("webhook", req, context, answer)


@blueprint.function_name("diagnosis")
@blueprint.route("diagnosis", methods=["GET"], auth_level=LEVEL)
def diagnose(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """`GET /api/diagnosis`: what works and what does not, before anybody is hurt by it."""

    def answer(call: Call) -> Answered:
        call.caller = _known_caller(req)
        Parameters(req, set())
        return answers.diagnosis(call, diagnosis.run())

    return _answered("diagnosis", req, context, answer)


@blueprint.function_name("health")
@blueprint.route("health", methods=["GET"], auth_level=OPEN)
def health(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """`GET /api/health`: the app is up. Open to anybody, tells nothing else, calls nothing."""
    del req
    return answers.response(200, {"status": "ok"}, context.invocation_id)


def _known_caller(req: func.HttpRequest) -> str:
    """Return who is calling, by key or principal. Raises Unauthorized, Forbidden."""
    return door.caller(req.headers, LEVEL.value)


def _request_id(req: func.HttpRequest) -> str:
    """Return the route's request id, in lower case. Raises InvalidRequestId."""
    given: str = req.route_params.get("requestId", "")
    if not app_settings.is_guid(given):
        raise answers.InvalidRequestId
    return given.lower()


def _status(call: Call, asked: Parameters) -> Answered:
    """Answer where the request stands."""
    accepted_at = asked.time("acceptedAt")
    settings = app_settings.current()
    deadline = graph.Deadline(settings.http_budget_seconds)
    result = reprocess.status(graph.shared(), call.request_id, accepted_at, deadline)
    return answers.result(call, result, settings)


def _answered(
    event: str,
    req: func.HttpRequest,
    context: func.Context,
    answer: Callable[[Call], Answered],
) -> func.HttpResponse:
    """Answer a call, whatever happens, and log one line about it. `answer` asks the door first."""
    started = time.monotonic()
    call = answers.Call(origin(req.url), context.invocation_id)
    try:
        response, noted = answer(call)
    except Exception as error:  # every error has an answer; the unforeseen ones are logged whole
        response, noted = answers.problem(call, error)
    body = json.loads(response.get_body())
    line = {
        "event": event,
        "requestId": (call.request_id or req.route_params.get("requestId", ""))[:100] or None,
        "status": response.status_code,
        "outcome": body.get("outcome") or body["type"].rpartition(":")[2],
        "state": body.get("state"),
        "caller": call.caller or None,
        "workflowRunId": door.workflow_run(req.headers),
        **noted,
        "milliseconds": round((time.monotonic() - started) * 1000),
        "correlationId": call.correlation_id,
    }
    level = logging.INFO if response.status_code < 400 else logging.WARNING
    log.log(level, json.dumps({name: value for name, value in line.items() if value is not None}))
    return response
