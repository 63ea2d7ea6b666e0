"""HTTP triggers: reprocess one request, tell its status, take webhooks, tell how the app is.

Not for: what a call comes to; every call takes the same road (road.py). A function key is checked
by the Functions host before anything here runs.
"""

from __future__ import annotations

import azure.functions as func

from reprocess_http import door, failures_answer, page, road
from reprocess_http.answers import Answer

blueprint = func.Blueprint()  # type: ignore[no-untyped-call]
LEVEL = func.AuthLevel[door.LEVEL.upper()]
OPEN = func.AuthLevel.ANONYMOUS


@blueprint.function_name("reprocess")
@blueprint.route("requests/{requestId}/reprocess", methods=["POST"], auth_level=LEVEL)
def reprocess_one(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """`POST /api/requests/{requestId}/reprocess`: have Graph deliver this request again."""
    return road.travel(road.REPROCESS, req, context)


@blueprint.function_name("requests")
@blueprint.route("requests", methods=["GET"], auth_level=LEVEL)
def list_failures(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """`GET /api/requests`: what has failed, and what the next sweep will do about it."""
    return road.travel(failures_answer.FAILURES, req, context)


@blueprint.function_name("status")
@blueprint.route("requests/{requestId}", methods=["GET"], auth_level=LEVEL)
def status(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """`GET /api/requests/{requestId}`: what Graph says of this request now."""
    return road.travel(road.STATUS, req, context)


@blueprint.function_name("status_link")
@blueprint.route("status/{requestId}", methods=["GET"], auth_level=OPEN)
def status_by_link(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """`GET /api/status/{requestId}`: the same for whoever holds a status link, until it expires."""
    return road.travel(road.STATUS_LINK, req, context)


@blueprint.function_name("webhook")
@blueprint.route("webhook", methods=["POST"], auth_level=LEVEL)
def take_webhook(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """`POST /api/webhook`: reprocess the request that a ticketing system's payload names."""
    return road.travel(road.WEBHOOK, req, context)


@blueprint.function_name("diagnosis")
@blueprint.route("diagnosis", methods=["GET"], auth_level=LEVEL)
def diagnose(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """`GET /api/diagnosis`: what works and what does not, before anybody is hurt by it."""
    return road.travel(road.DIAGNOSIS, req, context)


@blueprint.function_name("health")
@blueprint.route("health", methods=["GET"], auth_level=OPEN)
def health(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """`GET /api/health`: the app is up. Open to anybody, tells nothing else, calls nothing."""
    del req
    return Answer(200, {"status": "ok"}).response(context.invocation_id)


@blueprint.function_name("report")
@blueprint.route("report", methods=["GET"], auth_level=OPEN)
def report(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """`GET /api/report`: the page that shows the list. Open to anybody: it holds no data."""
    return page.answer(req.headers.get("accept-encoding", ""), context.invocation_id)
