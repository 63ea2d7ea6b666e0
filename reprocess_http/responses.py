"""Answers of the app: JSON, problem details (RFC 9457), and the address under which callers see us.

Not for: which answer a call gets (reprocess_request.py, webhook.py, failed_requests.py,
diagnosis.py). What to do about each problem is in docs/problems.md.
"""

from __future__ import annotations

import json
import math
import os
import re
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import azure.functions as func

import graph
import settings as app_settings
from graph import GraphDenied, GraphError

if TYPE_CHECKING:
    from collections.abc import Mapping

# Of IPv6 only what a local host may have.
_NAME = r"[0-9a-z-]{1,63}(?:\.[0-9a-z-]{1,63})*|\[::1\]"
_ADDRESS = re.compile(rf"(https?)://((?:{_NAME})(?::[0-9]{{1,5}})?)(?:[/?#]|\Z)")
_LOCAL = ("localhost", "127.0.0.1")


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, and `log_fields` for the call's log line; members that are None are left out.

    A `body` that is bytes is sent as it is.
    """

    status: int
    body: Mapping[str, object] | bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    log_fields: Mapping[str, object] = field(default_factory=dict)
    mimetype: str = "application/json"

    def to_response(self, correlation_id: str) -> func.HttpResponse:
        """Return it as the Functions host takes it; every answer carries the correlation id."""
        body = self.body if isinstance(self.body, bytes) else to_json(drop_none(self.body))
        headers = {"x-correlation-id": correlation_id, "Cache-Control": "no-store", **self.headers}
        return func.HttpResponse(
            body, status_code=self.status, mimetype=self.mimetype, headers=headers
        )


def drop_none(fields: Mapping[str, object]) -> dict[str, object]:
    """Return the fields that are not None."""
    return {name: value for name, value in fields.items() if value is not None}


def to_json(body: Mapping[str, object]) -> bytes:
    """Return JSON in ASCII: a lone surrogate, as in a text that was cut, has no UTF-8."""
    return json.dumps(body).encode()


def graph_ids(source: graph.Accepted | GraphError | None) -> dict[str, object]:
    """Return the ids by which Microsoft support finds a call to Graph."""
    return {
        "graphRequestId": (source and source.graph_request_id) or None,
        "clientRequestId": (source and source.client_request_id) or None,
    }


class ProblemType(NamedTuple):
    """What all problems of one name have in common.

    Without a detail it is the title as a sentence. Temporary ones are answered with `Retry-After`.
    """

    status: int
    title: str
    detail: str = ""
    is_temporary: bool = False


NOT_FOUND = "Graph knows no request with this id, or the app may not see it."
NOT_REPROCESSABLE = "Only a request whose delivery failed, wholly or partly, can be reprocessed."
WINDOW_CLOSED = (
    "The window in which Graph accepts a reprocess is closed: cancel the request and ask for the "
    "access again."
)
UNHANDLED = "An unhandled error; the app's log has it under this instance."
FORBIDDEN = "The caller is known but may not do this."
ID_FORM = "The id should be a GUID in 8-4-4-4-12 form."
PROBLEMS = {
    "invalid-request-id": ProblemType(400, "The request id is not a GUID", ID_FORM),
    "invalid-parameter": ProblemType(400, "A parameter is wrong"),
    "unauthorized": ProblemType(401, "The caller could not be identified"),
    "forbidden": ProblemType(403, "The caller may not do this", FORBIDDEN),
    "request-not-found": ProblemType(404, "There is no such request", NOT_FOUND),
    "not-reprocessable": ProblemType(409, "This request cannot be reprocessed", NOT_REPROCESSABLE),
    "window-closed": ProblemType(409, "The window for a reprocess is closed", WINDOW_CLOSED),
    "refused": ProblemType(409, "Graph refused the reprocess"),
    "body-too-large": ProblemType(413, "The body is too large"),
    "unsupported-media-type": ProblemType(415, "The body is not JSON"),
    "no-request-id": ProblemType(422, "The body has no request id where it should be"),
    "misconfigured": ProblemType(500, "The app is misconfigured"),
    "internal": ProblemType(500, "The app has an error", UNHANDLED),
    "graph-denied": ProblemType(502, "Graph denies access to the app"),
    "attempts-unreadable": ProblemType(502, "The attempt records cannot be read"),
    "graph-failed": ProblemType(502, "Graph is failing or cannot be reached", is_temporary=True),
    "throttled": ProblemType(503, "Graph is throttling", is_temporary=True),
    "graph-timeout": ProblemType(504, "Graph gave no answer in time", is_temporary=True),
}


@dataclass(eq=False)
class Problem(Exception):
    """A call that ends with problem details; `name` is one of PROBLEMS.

    `state` is the request's; `graph_error` the cause, where Graph is. `retry_after`: seconds, where
    not the error's own. `reason` and `caller` go into the log only.
    """

    name: str
    detail: str = ""
    _: KW_ONLY
    state: str | None = None
    graph_error: GraphError | None = None
    retry_after: float | None = None
    reason: str | None = None
    caller: str | None = None

    def __post_init__(self) -> None:
        """Complete what the answer and the log line say."""
        kind, error = PROBLEMS[self.name], self.graph_error
        self.detail = self.detail or kind.detail or f"{kind.title}."
        self.retry_after = self.retry_after or (error.retry_after if error else None)
        super().__init__(self.detail)

    def graph_fields(self) -> dict[str, object]:
        """Return what is known of Graph's error, as answers and log lines name it."""
        error = self.graph_error
        return graph_ids(error) | {
            "graphErrorCode": (error and error.code) or None,
            "retryAfterSeconds": math.ceil(self.retry_after) if self.retry_after else None,
        }

    def to_answer(self, correlation_id: str, request_id: str) -> Answer:
        """Return the problem details; a temporary one always says how long to wait."""
        kind = PROBLEMS[self.name]
        known = {"state": self.state, **self.graph_fields()}
        wait = known["retryAfterSeconds"]
        if kind.is_temporary and not wait:  # then the settings could be read
            wait = known["retryAfterSeconds"] = app_settings.current().status_retry_after_seconds
        body = {
            "type": f"urn:redeliver:problem:{self.name}",
            "title": kind.title,
            "status": kind.status,
            "detail": self.detail,
            "instance": correlation_id,
            "requestId": request_id or None,
            **known,
        }
        log_fields = known | {"outcome": self.name, "detail": self.detail, "reason": self.reason}
        log_fields |= {"caller": self.caller} if self.caller else {}
        headers = {"Retry-After": str(wait)} if wait else {}
        return Answer(kind.status, body, headers, log_fields, "application/problem+json")


# The problem that an error is, and its detail: `{words}` are Graph's, with the remedy where there
# is one, or the error's own.
# A GraphRefused that is raised comes from reading: a refused reprocess is a result.
PROBLEM_FOR_ERROR: dict[type[BaseException], tuple[str, str]] = {
    app_settings.SettingsError: ("misconfigured", "{words}"),
    graph.RequestNotFound: ("request-not-found", f"{NOT_FOUND} Graph says: {{words}}"),
    graph.GraphRefused: ("graph-failed", "Graph refuses to show it: {words}"),
    GraphDenied: ("graph-denied", "{words} The commands are in docs/problems.md#graph-denied."),
    graph.GraphThrottled: ("throttled", "Graph cannot take the call now: {words}"),
    graph.GraphTimeout: ("graph-timeout", "{words}"),
    GraphError: ("graph-failed", "{words}"),
    Exception: ("internal", ""),
}


def to_problem(error: Exception) -> Problem:
    """Return the problem that an error is; an unexpected error is `internal`."""
    if isinstance(error, Problem):
        return error
    kind = next(kind for kind in type(error).__mro__ if kind in PROBLEM_FOR_ERROR)
    name, detail = PROBLEM_FOR_ERROR[kind]
    graph_error = error if isinstance(error, GraphError) else None
    words = sentence(graph_error.summary if graph_error else str(error))
    if isinstance(error, GraphDenied):
        words = f"{words} {error.remedy}"
    return Problem(name, detail.format(words=words), graph_error=graph_error)


def sentence(text: str) -> str:
    """Return a text with one full stop at its end."""
    return text.rstrip(". ") + "."


def own_address(url: str, environ: Mapping[str, str] = os.environ) -> str:
    """Return scheme and host for the links in an answer; `url` is the one that was called.

    Azure's front end routes a call by its host name, which the Functions host puts into the URL.
    `X-Forwarded-Host` and its kind are not set by App Service, so any caller could send them: they
    are never read. What is no host name is replaced by `WEBSITE_HOSTNAME`. On Azure the scheme is
    https: its front ends end TLS, and the app may see http (azure-functions-host#6602).
    """
    ours = environ.get("WEBSITE_HOSTNAME", "").strip().lower()
    on_azure = bool(ours) and ours.partition(":")[0] not in _LOCAL  # Core Tools set it, too
    called = _ADDRESS.match(url.lower())
    scheme, host = called.groups() if called else ("http", ours or "localhost")
    if on_azure:
        return f"https://{host.removesuffix(':443').removesuffix(':80')}"
    return f"{scheme}://{host}"
