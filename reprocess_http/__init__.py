"""HTTP triggers: reprocess one request or many, show a status, take webhooks, list, diagnose.

Not for: what a call does; every call takes the same path (handler.py). A function key is checked by
the Functions host before anything here runs.
"""

from __future__ import annotations

import azure.functions as func

from events import invocation_began
from reprocess_http import (
    auth,
    diagnosis,
    failed_requests,
    page,
    reprocess_many,
    reprocess_request,
    webhook,
)
from reprocess_http.handler import Route, handle
from reprocess_http.responses import Answer

blueprint = func.Blueprint()  # type: ignore[no-untyped-call]
LEVEL = func.AuthLevel[auth.LEVEL.upper()]
ANONYMOUS = func.AuthLevel.ANONYMOUS


def _add(
    name: str, route: Route, path: str, methods: list[str], level: func.AuthLevel = LEVEL
) -> None:
    """Register a route as a function of the app."""

    @blueprint.function_name(name)
    @blueprint.route(path, methods=methods, auth_level=level)
    def call(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
        return handle(route, req, context)


_add("reprocess", reprocess_request.REPROCESS, "requests/{requestId}/reprocess", methods=["POST"])
_add("reprocess_many", reprocess_many.REPROCESS_MANY, "requests/reprocess", methods=["POST"])
_add("requests", failed_requests.FAILED_REQUESTS, "requests", methods=["GET"])
_add("status", reprocess_request.STATUS, "requests/{requestId}", methods=["GET"])
# The same for whoever holds a status link, until it expires. Its path has no variable part: the
# host resolves dot segments before it routes, so a path that App Service authentication lets
# through must not be a prefix of another one.
_add("status_link", reprocess_request.STATUS_LINK, "status", methods=["GET"], level=ANONYMOUS)
_add("webhook", webhook.WEBHOOK, "webhook", methods=["POST"])
_add("diagnosis", diagnosis.DIAGNOSIS, "diagnosis", methods=["GET"])


@blueprint.function_name("health")
@blueprint.route("health", methods=["GET"], auth_level=ANONYMOUS)
async def health(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """`GET /api/health`: the app is up. Open to all; calls nothing and says nothing else.

    `async`, so that it is answered while calls that wait for Graph hold every thread.
    """
    del req
    return Answer(200, {"status": "ok"}).to_response(context.invocation_id)


@blueprint.function_name("report")
@blueprint.route("report", methods=["GET"], auth_level=ANONYMOUS)
def report(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """`GET /api/report`: the page that shows the list. Open to all: it holds no data."""
    invocation_began()
    return page.answer(req.headers.get("accept-encoding", ""), context.invocation_id)
