"""What can go wrong with an HTTP call to the app, as exceptions.

What to do about each is in docs/problems.md. Not for: how one is written into an answer.

    Problem                     name, status, title; detail, and what else is known of it
    ├── InvalidRequestId   400
    ├── InvalidParameter   400
    ├── Unauthorized       401  nobody is told why: `reason` is for the log
    ├── Forbidden          403  the same; `caller` says who it was
    ├── RequestNotFound    404
    ├── NotReprocessable   409
    ├── WindowClosed       409
    ├── Refused            409
    ├── BodyTooLarge       413
    ├── NoRequestId        422
    ├── Misconfigured      500
    ├── Internal           500  what nobody foresaw
    ├── Denied             502
    ├── AttemptsUnreadable 502
    └── NotNow                  Graph cannot take it now; it may later
        ├── Failing        502
        ├── Throttled      503
        └── TimedOut       504
"""

from __future__ import annotations

import math

import graph
from settings import SettingsError

LOST = (
    "Whether Graph accepted the reprocess is not known; ask the status before trying again, or "
    "leave it to the next sweep."
)


class Problem(Exception):
    """One kind of problem for each subclass.

    `usual` is its detail where there is no other; `usual_wait` how many seconds to wait where
    Graph does not say.
    """

    name = ""
    status = 0
    title = ""
    usual = ""
    usual_wait: float | None = None

    def __init__(
        self,
        detail: str = "",
        *,
        state: str | None = None,
        said: graph.GraphError | None = None,
        reason: str | None = None,
        caller: str | None = None,
    ) -> None:
        """Keep what the answer and the log line say of it.

        `state` is the request's; `said` the Graph error behind it, if there is one. `reason` and
        `caller` are for the log only.
        """
        super().__init__(detail or self.usual)
        self.detail = detail or self.usual
        self.state = state
        self.graph_error_code = said.code or None if said else None
        self.graph_request_id = said.graph_request_id or None if said else None
        self.client_request_id = said.client_request_id or None if said else None
        wait = (said.told_wait if said else None) or self.usual_wait
        self.retry_after_seconds = None if wait is None else math.ceil(wait)
        self.reason = reason
        self.caller = caller


class InvalidRequestId(Problem):
    """The request id is not a GUID; Graph was not called."""

    name, status, title = "invalid-request-id", 400, "The request id is not a GUID"
    usual = "The id should be a GUID in 8-4-4-4-12 form."


class InvalidParameter(Problem):
    """A query parameter is unknown or has a wrong value; the detail says what would be right."""

    name, status, title = "invalid-parameter", 400, "A query parameter is wrong"


class Unauthorized(Problem):
    """The caller could not be identified; nothing was called."""

    name, status, title = "unauthorized", 401, "The caller could not be identified"
    usual = "The caller could not be identified."


class Forbidden(Problem):
    """The caller is known but may not do this; nothing was called."""

    name, status, title = "forbidden", 403, "The caller may not do this"
    usual = "The caller is known but may not do this."


class RequestNotFound(Problem):
    """Graph knows no such request, or the app may not see it."""

    name, status, title = "request-not-found", 404, "There is no such request"
    usual = "Graph knows no request with this id, or the app may not see it."


class NotReprocessable(Problem):
    """The request is in a state that cannot be reprocessed."""

    name, status, title = "not-reprocessable", 409, "This request cannot be reprocessed"
    usual = "Only a request whose delivery failed, wholly or partly, can be reprocessed."


class WindowClosed(Problem):
    """The delivery failed too long ago."""

    name, status, title = "window-closed", 409, "The window for a reprocess is closed"
    usual = (
        "The window in which Graph accepts a reprocess is closed: cancel the request and ask for "
        "the access again."
    )


class Refused(Problem):
    """Graph refused, for a reason of its own."""

    name, status, title = "refused", 409, "Graph refused the reprocess"


class BodyTooLarge(Problem):
    """A webhook's body is too large; it was not looked at."""

    name, status, title = "body-too-large", 413, "The body is too large"


class NoRequestId(Problem):
    """A webhook's body has no request id where it should be; the detail says what is there."""

    name, status, title = "no-request-id", 422, "The body has no request id where it should be"


class Misconfigured(Problem):
    """App settings are wrong; the detail names them."""

    name, status, title = "misconfigured", 500, "The app is misconfigured"


class Internal(Problem):
    """An error that nobody foresaw."""

    name, status, title = "internal", 500, "The app has an error"
    usual = "An unforeseen error; the app's log has it under this instance."


class Denied(Problem):
    """Graph, or the managed identity, denies the app."""

    name, status, title = "graph-denied", 502, "Graph denies access to the app"


class AttemptsUnreadable(Problem):
    """The table of attempts cannot be read, so nobody can tell what is planned."""

    name, status, title = "attempts-unreadable", 502, "What was tried cannot be read"


class NotNow(Problem):
    """Graph cannot take it now; it may later."""


class Failing(NotNow):
    """Graph or the identity's endpoint is failing or unreachable."""

    name, status, title = "graph-failed", 502, "Graph is failing or cannot be reached"


class Throttled(NotNow):
    """Graph asks to wait longer than the call may last."""

    name, status, title = "throttled", 503, "Graph is throttling"
    usual = "Graph asks to wait longer than this call may last."
    usual_wait = 30.0


class TimedOut(NotNow):
    """No answer came in time."""

    name, status, title = "graph-timeout", 504, "Graph gave no answer in time"


# Which problem an error is, and how it is said: `{said}` are the error's own words.
MEANING: dict[type[Exception], tuple[type[Problem], str]] = {
    graph.RequestNotFound: (RequestNotFound, ""),
    graph.GraphRefused: (Refused, "Graph says: {said}."),
    graph.GraphDenied: (
        Denied,
        "{said}. {remedy} The commands are in docs/problems.md#graph-denied.",
    ),
    graph.GraphThrottled: (Throttled, ""),
    graph.GraphTimeout: (TimedOut, "{said}."),
    graph.GraphFailed: (Failing, "{said}."),
    SettingsError: (Misconfigured, "{said}."),
    Exception: (Internal, ""),
}


def problem_of(error: Exception, *, sent: bool = False) -> Problem:
    """Return the problem that an error is; what nobody foresaw is `Internal`.

    `sent`: a reprocess was sent, so that a lost answer leaves open whether Graph accepted it.
    """
    if isinstance(error, Problem):
        return error
    kind, says = next(MEANING[parent] for parent in type(error).__mro__ if parent in MEANING)
    said = str(error).rstrip(".")
    detail = says.format(said=said, remedy=getattr(error, "remedy", "")) or kind.usual
    if not isinstance(error, graph.GraphError):
        return kind(detail)
    lost = sent and error.lost
    return kind(f"{detail} {LOST}" if lost else detail, said=error)
