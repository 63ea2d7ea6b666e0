"""The one road that every call takes: the door, the settings, the request's id, what it asks for.

Not for: what a call comes to (one_request.py, webhook.py, diagnosis.py) or how it is put
(answers.py). However it ends, it is answered and there is one log line about it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

import attempts
import graph
import settings as app_settings
from deadline import Deadline
from events import ERROR, INFO, WARNING, event
from reprocess_http import answers, diagnosis, door, webhook
from reprocess_http.answers import Call
from reprocess_http.lately import Acceptances, UnderWay
from reprocess_http.one_request import Deliveries, Result
from reprocess_http.origin import origin
from reprocess_http.parameters import Parameters
from reprocess_http.problems import Internal, InvalidRequestId, problem_of

if TYPE_CHECKING:
    from collections.abc import Callable

    import azure.functions as func

    from reprocess_http.answers import Answer
    from reprocess_http.door import Caller
    from settings import Settings

ACCEPTANCES, UNDER_WAY = Acceptances(), UnderWay[Result]()


@dataclass(frozen=True, slots=True)
class Route:
    """What one route does where the others do otherwise.

    `name` is that of its log lines. `knock` tells who is calling, or raises; `request_id` which
    request it is about, None where it is about none; `answer` does what is asked for.
    `needs_settings` is false for what is to answer although settings are wrong.
    """

    name: str
    knock: Callable[[func.HttpRequest], Caller]
    answer: Callable[[Call], Answer]
    request_id: Callable[[func.HttpRequest], str] | None = None
    needs_settings: bool = True


def travel(route: Route, req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """Answer a call, whatever happens, and log one line about it."""
    started = time.monotonic()
    call = Call(req, origin(req.url), context.invocation_id)
    try:
        call = replace(call, caller=route.knock(req))
        if route.needs_settings:
            app_settings.current()
        if route.request_id:
            call = replace(call, request_id=route.request_id(req))
        answer = route.answer(call)
    except Exception as error:  # every error has an answer; the unforeseen ones are logged whole
        problem = problem_of(error)
        if isinstance(problem, Internal):
            kind, run = type(error).__name__, call.correlation_id
            event(ERROR, "unforeseen error", trace=error, error=kind, correlationId=run)
        answer = answers.of_problem(call, problem)
    _log(route.name, call, answer, time.monotonic() - started)
    return answer.response(call.correlation_id)


def _log(name: str, call: Call, answer: Answer, seconds: float) -> None:
    named = call.request_id or call.req.route_params.get("requestId", "")
    fields = {
        "requestId": named[:100] or None,
        "status": answer.status,
        "caller": call.caller.name if call.caller else None,
        "workflowRunId": door.workflow_run(call.req.headers),
        **answer.noted,
        "milliseconds": round(seconds * 1000),
        "correlationId": call.correlation_id,
    }
    event(INFO if answer.status < 400 else WARNING, name, trace=None, **fields)


# -- what the routes do --


def _by_key(req: func.HttpRequest) -> Caller:
    return door.caller(req.headers, door.LEVEL)


def _by_key_to_change(req: func.HttpRequest) -> Caller:
    return door.not_from_another_site(req.headers, door.caller(req.headers, door.LEVEL))


def _by_link(req: func.HttpRequest) -> Caller:
    return door.link(req.route_params.get("requestId", ""), req.params, time.time())


def _by_signature(req: func.HttpRequest) -> Caller:
    body = req.get_body()
    webhook.check_size(body)
    return door.not_from_another_site(
        req.headers, door.webhook(req.headers, body, time.time(), door.LEVEL)
    )


def _in_route(req: func.HttpRequest) -> str:
    """Return the route's request id, in lower case. Raises InvalidRequestId."""
    given: str = req.route_params.get("requestId", "")
    if not app_settings.is_guid(given):
        raise InvalidRequestId
    return given.lower()


def _in_body(req: func.HttpRequest) -> str:
    pointer = app_settings.current().webhook_request_id_pointer
    return webhook.request_id(req.get_body(), pointer)


def _deliveries(settings: Settings) -> Deliveries:
    window = timedelta(days=settings.sweep_window_days)
    return Deliveries(graph.shared(), attempts.shared(), window, UNDER_WAY, ACCEPTANCES)


def _reprocess(call: Call) -> Answer:
    settings = app_settings.current()
    asked = Parameters(call.req, {"wait", "dryRun"})
    wait = asked.whole("wait", 0, settings.http_budget_seconds)
    dry_run = asked.flag("dryRun")
    deliveries, deadline = _deliveries(settings), Deadline(settings.http_budget_seconds)
    if dry_run:
        result = deliveries.would_reprocess(call.request_id, deadline)
    else:
        result = deliveries.reprocess(call.request_id, deadline)
        result = deliveries.stay(call.request_id, result, wait, deadline)
    return answers.of_result(call, result, settings)


def _status(call: Call, known: set[str]) -> Answer:
    settings = app_settings.current()
    accepted_at = Parameters(call.req, known).time("acceptedAt")
    deadline = Deadline(settings.http_budget_seconds)
    result = _deliveries(settings).status(call.request_id, accepted_at, deadline)
    return answers.of_result(call, result, settings)


def _take_webhook(call: Call) -> Answer:
    settings = app_settings.current()
    seconds = min(webhook.GRAPH_SECONDS, settings.http_budget_seconds)
    result = webhook.deliver(_deliveries(settings), call.request_id, seconds)
    return answers.of_result(call, result, settings)


def _diagnose(call: Call) -> Answer:
    Parameters(call.req, set())
    return answers.of_diagnosis(call, diagnosis.run())


REPROCESS = Route("reprocess", _by_key_to_change, _reprocess, _in_route)
STATUS = Route("status", _by_key, lambda call: _status(call, {"acceptedAt"}), _in_route)
STATUS_LINK = Route(
    "status",
    _by_link,
    lambda call: _status(call, {"acceptedAt", "expires", "signature"}),
    _in_route,
)
WEBHOOK = Route("webhook", _by_signature, _take_webhook, _in_body)
DIAGNOSIS = Route("diagnosis", _by_key, _diagnose, needs_settings=False)
