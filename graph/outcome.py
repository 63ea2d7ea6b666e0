"""What one call to Graph came to: its answer, or an error, by its status or the exception.

Not for: what is sent again (client.py).

    Answer                     2xx
    GraphError                 detail, status, code, retry_after, outcome_unknown, request ids
    ├── GraphRefused           Graph rejected this one call (4xx)
    │   └── RequestNotFound    404 with an error code of Graph's
    ├── GraphDenied            401, 403, or the managed identity was refused a token
    ├── GraphThrottled         429, 503: Graph asks to wait
    └── GraphFailed            another 5xx, a 3xx, the path's 404, a broken connection, an answer
        │                      that cannot be read, or no token
        └── GraphTimeout       no answer in time
"""

from __future__ import annotations

import json
from dataclasses import KW_ONLY, dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import requests
from urllib3.exceptions import NewConnectionError, ReadTimeoutError

from graph.request import FIRST_YEAR, object_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

RETRIED = frozenset({429, 500, 502, 503, 504})  # a later attempt may succeed
WRITE_ROLE = "EntitlementManagement.ReadWrite.All"
REMEDIES = {
    "permission": "It looks like the permission: grant the managed identity the application "
    "permission EntitlementManagement.ReadWrite.All on Microsoft Graph, or the role Access package "
    "assignment manager on the catalog.",
    "role scope": "It looks like the role scope: give the managed identity the role Access package "
    "assignment manager on the catalog of this access package.",
    "licence": "It looks like the licence: the tenant needs Microsoft Entra ID Governance or "
    "Entra ID P2. Or it is a permission or licence that was granted within the last hours and has "
    "not arrived yet.",
    "token": "Graph does not accept the token: check GRAPH_CLOUD, and that the managed identity "
    "belongs to this tenant.",
    "identity": "Check that the app has a managed identity, and that AZURE_CLIENT_ID names one "
    "that is assigned to it.",
}
# Graph's metadata of these clouds has no `assignmentRequests` in beta (2026-08).
PATH_REMEDY = (
    "Graph does not know the path: check GRAPH_API_VERSION and GRAPH_REQUESTS_PATH. Beta of the "
    "clouds usgov, usgov-dod and china needs GRAPH_REQUESTS_PATH=accessPackageAssignmentRequests."
)


@dataclass(eq=False)
class GraphError(Exception):
    """A call to Graph failed; the subclass says how.

    `status` and `code` are Graph's; `status` is None where Graph gave no answer. `retry_after`: its
    `Retry-After` in seconds, None without a usable one. `outcome_unknown`: Graph may have carried
    out the call.
    """

    detail: str
    _: KW_ONLY
    status: int | None = None
    code: str = ""
    retry_after: float | None = None
    outcome_unknown: bool = False
    graph_request_id: str = ""
    client_request_id: str = ""

    @property
    def never_sent(self) -> bool:
        """Whether the call did not leave the app."""
        return self.status is None and not self.outcome_unknown

    @property
    def summary(self) -> str:
        """The detail, followed by Graph's status and code."""
        known = f" (HTTP {self.status} {self.code}".rstrip() + ")" if self.status else ""
        return self.detail.rstrip(".") + known

    def fields(self) -> dict[str, Any]:
        """Return the fields of a log line about this call."""
        return {
            "graphStatus": self.status,
            "graphErrorCode": self.code or None,
            "detail": self.detail,
            "graphRequestId": self.graph_request_id or None,
            "clientRequestId": self.client_request_id or None,
        }


class GraphRefused(GraphError):
    """Graph rejected this one call."""


class RequestNotFound(GraphRefused):
    """No request with this id exists, or the app may not see it."""


class GraphDenied(GraphError):
    """Graph or the managed identity denies the app.

    `remedy`: what to grant or check, in one or two sentences.
    """

    remedy = REMEDIES["identity"]


class GraphThrottled(GraphError):
    """Graph asks to wait; a 503 may have been carried out."""


class GraphFailed(GraphError):
    """Graph or the identity endpoint is failing or unreachable, or its answer is unusable."""


class GraphTimeout(GraphFailed):
    """No answer arrived in time."""


def likely_cause(status: int, code: str, roles: Sequence[str], *, scoped: bool) -> str:
    """Guess what a 401 or 403 lacks, by Graph's code and the app roles in the token."""
    if status == 401:
        return "token"
    if "license" in code.lower() or WRITE_ROLE in roles:
        return "licence"
    return "role scope" if scoped else "permission"


@dataclass(frozen=True, slots=True)
class Answer:
    """Graph's answer to one call. `at`: its `Date`, else our clock. Header names in lower case."""

    status: int
    headers: dict[str, str]
    body: Any
    at: datetime
    client_request_id: str

    @property
    def graph_request_id(self) -> str:
        """Graph's own id of this call, for a support case."""
        return self.headers.get("request-id", "")

    def error(self, kind: type[GraphError], detail: str, **more: Any) -> GraphError:  # noqa: ANN401
        """Return an error with the status and ids of this answer."""
        more |= {"client_request_id": self.client_request_id}
        return kind(detail, status=self.status, graph_request_id=self.graph_request_id, **more)

    def unusable(self, detail: str) -> GraphError:
        """Return the error that a success means where its body says nothing of use."""
        return self.error(GraphFailed, detail, outcome_unknown=True)


type Outcome = Answer | GraphError  # an Answer is a 2xx here


def error_of(answer: Answer, now: datetime, roles: Sequence[str], *, scoped: bool) -> GraphError:
    """Return the error that a status other than 2xx means, with Graph's own code and message.

    `roles`: the app roles in the token. `scoped`: the app is set up for catalog roles.
    """
    status, found = answer.status, object_of(object_of(answer.body).get("error"))
    code = str(found.get("code") or "")[:100]
    detail = str(found.get("message") or f"Graph answered HTTP {status}")[:500]
    if 300 <= status < 400:
        detail = "Graph answered with a redirect, which was not followed"
    if status == 404 and not code:
        detail = f"{detail.rstrip('.')}. {PATH_REMEDY}"
    error = answer.error(
        _kind(status, code),
        detail,
        code=code,
        retry_after=retry_after(answer.headers, now) if status in RETRIED else None,
        outcome_unknown=not 300 <= status < 500,
    )
    if isinstance(error, GraphDenied):
        error.remedy = REMEDIES[likely_cause(status, code, roles, scoped=scoped)]
    return error


def _kind(status: int, code: str) -> type[GraphError]:
    """Return what an HTTP status other than 2xx means; `code` is that of Graph's error."""
    if status in {401, 403}:
        return GraphDenied
    if status in {429, 503}:
        return GraphThrottled
    if status == 404:
        return RequestNotFound if code else GraphFailed
    return GraphRefused if 400 <= status < 500 else GraphFailed


def error_from(error: Exception, client_request_id: str) -> GraphError:
    """Map an exception of requests; the outcome is unknown unless the call cannot have left.

    What fails while connecting is a NewConnectionError or a ConnectTimeout (session.py).
    """
    cause = error.args[0] if error.args else None  # urllib3's, which has the reason in it
    reason = getattr(cause, "reason", None)
    unsent = isinstance(reason, NewConnectionError) or isinstance(error, requests.ConnectTimeout)
    kind, detail = GraphFailed, "the connection to Graph broke before its answer came"
    if isinstance(error, requests.Timeout) or isinstance(cause, ReadTimeoutError):
        kind, detail = GraphTimeout, "Graph gave no answer in time"
    elif "CERTIFICATE_VERIFY_FAILED" in str(reason):
        detail = "Graph's certificate could not be verified"
    elif unsent:
        detail = "Graph could not be reached"
    return kind(detail, outcome_unknown=not unsent, client_request_id=client_request_id)


def read_body(response: requests.Response) -> object:
    """Read a body: an empty one is None, as is that of a redirect; one that is no JSON is bytes."""
    if 300 <= response.status_code < 400:
        return None
    try:
        return json.loads(response.content or b"null")
    except (ValueError, RecursionError):
        return response.content
    except OSError:  # requests' errors are of this kind
        if response.status_code < 300:
            raise
        return None  # an error is one whether or not its words came whole


def lower(headers: object) -> dict[str, str]:
    """Return headers by lower-case names."""
    return {str(name).lower(): str(value) for name, value in object_of(headers).items()}


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Return `Retry-After` in seconds: integer, decimal, the longest of a list, or an HTTP date.

    None where it says nothing of use: missing, 0, in the past, or no number.
    """
    value = headers.get("retry-after", "")
    try:
        seconds = max(float(part) for part in value.split(","))
    except ValueError:
        at = http_date(value)
        asked = http_date(headers.get("date", "")) or now
        seconds = (at - asked).total_seconds() if at else 0.0
    return seconds if 0 < seconds < 1e9 else None


def http_date(text: str) -> datetime | None:
    """Parse an HTTP date; None where it is none, or one that cannot be right, such as 1970."""
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return at if at.year >= FIRST_YEAR else None
