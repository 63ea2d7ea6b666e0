"""The path of every call: authenticate, read the settings, find the request id, act, answer, log.

Not for: what a route does (reprocess_request.py, reprocess_many.py, webhook.py, failed_requests.py,
diagnosis.py). Every call is answered and has one log line, whatever happens.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import settings as app_settings
from events import ERROR, INFO, WARNING, event, invocation_began
from reprocess_http import auth
from reprocess_http.auth import Caller
from reprocess_http.responses import Problem, own_address, to_problem

if TYPE_CHECKING:
    from collections.abc import Callable

    import azure.functions as func

    from reprocess_http.responses import Answer

UNKNOWN = Caller("")


@dataclass(frozen=True, slots=True)
class Call:
    """One HTTP call; `caller` and `request_id` are set as soon as they are known.

    `origin` is our own address, for links.
    """

    req: func.HttpRequest
    origin: str
    correlation_id: str
    caller: Caller = UNKNOWN
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class Route:
    """What distinguishes one route; every function raises Problem.

    `event` is the name of its log line. `request_id` finds the request that the call is about, in
    lower case, None for a route that is about no single request. `needs_settings` is false for a
    route that answers although settings are wrong.
    """

    event: str
    authenticate: Callable[[func.HttpRequest], Caller]
    act: Callable[[Call], Answer]
    request_id: Callable[[Call], str] | None = None
    needs_settings: bool = True


def handle(route: Route, req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """Answer a call, whatever happens, and log one line about it."""
    invocation_began()
    started = time.monotonic()
    call = Call(req, own_address(req.url), context.invocation_id)
    try:
        call = replace(call, caller=route.authenticate(req))
        if route.needs_settings:
            app_settings.current()
        if route.request_id:
            call = replace(call, request_id=route.request_id(call))
        answer = route.act(call)
    except Exception as error:  # every error has an answer; unexpected ones are logged whole
        problem = to_problem(error)
        if problem.name == "internal":
            kind, run = type(error).__name__, call.correlation_id
            event(ERROR, "unhandled error", trace=error, error=kind, correlationId=run)
        answer = problem.to_answer(call.correlation_id, call.request_id)
    log_call(route.event, call, answer, round((time.monotonic() - started) * 1000))
    return answer.to_response(call.correlation_id)


def log_call(name: str, call: Call, answer: Answer, milliseconds: int | None = None) -> None:
    """Write the one line about a call, or about one request of many."""
    given = call.req.route_params.get("requestId") or call.req.params.get("requestId") or ""
    fields = {
        "requestId": (call.request_id or given)[:100] or None,
        "status": answer.status,
        "caller": call.caller.name or None,
        **answer.log_fields,
        "milliseconds": milliseconds,
        "correlationId": call.correlation_id,
    }
    event(INFO if answer.status < 400 else WARNING, name, trace=None, **fields)


# -- what several routes share --


def by_key(req: func.HttpRequest) -> Caller:
    """Authenticate a caller who reads."""
    return auth.authenticate(req.headers, auth.LEVEL)


def by_key_to_change(req: func.HttpRequest) -> Caller:
    """Authenticate a caller who changes something."""
    return auth.reject_cross_site(req.headers, by_key(req))


def id_in_route(call: Call) -> str:
    """Return the route's request id, in lower case. Raises Problem (invalid-request-id)."""
    given: str = call.req.route_params.get("requestId", "")
    if not app_settings.is_guid(given):
        raise Problem("invalid-request-id")
    return given.lower()
