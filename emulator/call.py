"""One call to the emulated Graph, what its path means, and its answer.

For: what the parts of the service hand to each other. Batch items are calls as well.
Not for: HTTP connections (http_server.py), or rules about requests (service.py).
Codes and texts marked "ours" are not confirmed by any published answer: never rely on them.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

from emulator.checks import Json, is_guid

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

VERSIONS = ("v1.0", "beta")
ROOT = ["identityGovernance", "entitlementManagement"]
COLLECTIONS = {
    "v1.0": ("assignmentRequests",),
    "beta": ("assignmentRequests", "accessPackageAssignmentRequests"),
}
METHODS = {"list": "GET", "read": "GET", "reprocess": "POST", "batch": "POST"}
CODES = {401: "InvalidAuthenticationToken", 403: "UnAuthorized", 404: "ResourceNotFound"}
HTML = (
    "<!DOCTYPE html><html><head><title>502 Bad Gateway</title></head>"
    "<body><h1>502 Bad Gateway</h1></body></html>"
)


@dataclass(slots=True)
class GraphError(Exception):
    """An answer of 400 or more in Graph's envelope."""

    status: int
    code: str
    message: str
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Call:
    """One call, alone or as a batch item.

    Header names are in lower case; `base` is scheme and host.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes | Json | None
    base: str
    graph_request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    claims: Json = field(default_factory=dict)

    @property
    def client_id(self) -> str:
        """client-request-id if it is a GUID; anything else is ignored."""
        sent = self.headers.get("client-request-id", "")
        return sent if is_guid(sent) else self.graph_request_id


@dataclass(slots=True)
class Route:
    """What a path means. `error` waits until the caller is known: strangers learn 401, no more."""

    operation: str
    version: str = "v1.0"
    request_id: str | None = None
    error: GraphError | None = None


@dataclass(slots=True)
class Answer:
    """Status, headers and body: JSON, or text or bytes that are sent as they are, or None."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None


def no_segment(name: str) -> GraphError:
    """Make the error for a path that does not exist."""
    return GraphError(400, "BadRequest", f"Resource not found for the segment '{name}'.")


def bad(message: str) -> NoReturn:
    """Refuse with 400."""
    raise GraphError(400, "BadRequest", message)


def unauthorized() -> GraphError:
    """Make the error for a caller who may not do this."""
    reason = "Reason: The caller is not authorized."
    return GraphError(
        403, "UnAuthorized", f"User is not authorized to perform the operation. {reason}"
    )


def not_found() -> GraphError:
    """Make the error for a request that is not there: status documented, code and text ours."""
    return GraphError(
        404, "ResourceNotFound", "The access package assignment request was not found."
    )


def route(method: str, path: str) -> Route:
    """Read a path. Letter case counts: unconfirmed, we take the strict side."""
    version, *segments = path.strip("/").split("/")
    if version not in VERSIONS:
        return Route("other", error=GraphError(400, "BadRequest", f"Invalid version: {version}"))
    if segments == ["$batch"]:
        return _with_method(Route("batch", version), method)
    for at, expected in enumerate([*ROOT, None]):
        given = segments[at] if at < len(segments) else ""
        fits = given == expected if expected else given in COLLECTIONS[version]
        if not fits:
            return Route("other", version, error=no_segment(given))
    match segments[3:]:
        case []:
            return _with_method(Route("list", version), method)
        case [request_id]:
            return _with_method(Route("read", version, request_id.lower()), method)
        case [request_id, "reprocess"]:
            return _with_method(Route("reprocess", version, request_id.lower()), method)
        case rest:
            return Route("other", version, error=no_segment(rest[-1]))


def _with_method(found: Route, method: str) -> Route:
    allowed = METHODS[found.operation]
    if method != allowed:
        # Status documented, code ours. POST on the list and DELETE on a request are not offered.
        message = "Specified HTTP method is not allowed for the request target."
        found.error = GraphError(405, "MethodNotAllowed", message, {"Allow": allowed})
        found.operation = "other"
    return found


def envelope(call: Call, error: GraphError, now: datetime, form: str) -> Answer:
    """Put an error into Graph's envelope, in one of the forms of the switch errorForm."""
    if form == "none":
        return Answer(error.status, error.headers)
    inner: Json = {
        "date": now.strftime("%Y-%m-%dT%H:%M:%S"),
        "request-id": call.graph_request_id,
        "client-request-id": call.client_id,
    }
    if error.code == "TooManyRequests":  # as the documentation of throttling shows it
        inner |= {"code": "429", "message": "Please retry after", "status": "429"}
    body: Json = {"code": error.code, "message": error.message}
    match form:
        case "innererror":
            body["innererror"] = inner
        case "nested":
            body["innerError"] = {"code": error.code, "innerError": inner}
        case "details":
            detail = {"code": error.code, "message": error.message, "target": "reprocess"}
            body |= {"details": [detail], "innerError": inner}
        case "emptyCode":
            body |= {"code": "", "innerError": inner}
        case "noMessage":
            del body["message"]
            body["innerError"] = inner
        case _:
            body["innerError"] = inner
    headers = {"Content-Type": "application/json", **error.headers}
    return Answer(error.status, headers, {"error": error.message if form == "text" else body})
