"""HTTP triggers: reprocess one request or many, show a status, take webhooks, list, diagnose.

Not for: what a call does; every call takes the same path (handler.py). A function key is checked by
the Functions host before anything here runs.
"""

from __future__ import annotations

import azure.functions as func

from events import invocation_began
from reprocess_http import auth, page
from reprocess_http.diagnosis import DIAGNOSIS
from reprocess_http.failed_requests import FAILED_REQUESTS
from reprocess_http.handler import Route, handle
from reprocess_http.reprocess_many import REPROCESS_MANY
from reprocess_http.reprocess_request import REPROCESS, STATUS, STATUS_LINK
from reprocess_http.responses import Answer
from reprocess_http.webhook import WEBHOOK

blueprint = func.Blueprint()  # type: ignore[no-untyped-call]
LEVEL = func.AuthLevel[auth.LEVEL.upper()]
ANONYMOUS = func.AuthLevel.ANONYMOUS


def _add(name: str, route: Route, path: str, method: str, level: func.AuthLevel = LEVEL) -> None:
    """Register a route as a function of the app."""

    @blueprint.function_name(name)
    @blueprint.route(path, methods=[method], auth_level=level)
    def call(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
        return handle(route, req, context)


_add("reprocess", REPROCESS, "requests/{requestId}/reprocess", "POST")
_add("reprocess_many", REPROCESS_MANY, "requests/reprocess", "POST")
_add("requests", FAILED_REQUESTS, "requests", "GET")
_add("status", STATUS, "requests/{requestId}", "GET")
# The same for whoever holds a status link, until it expires. Its path has no variable part: the
# host resolves dot segments before it routes, so a path that App Service authentication lets
# through must not be a prefix of another one.
_add("status_link", STATUS_LINK, "status", "GET", level=ANONYMOUS)
_add("webhook", WEBHOOK, "webhook", "POST")
_add("diagnosis", DIAGNOSIS, "diagnosis", "GET")


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
