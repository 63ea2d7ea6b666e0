"""The one road to Microsoft Graph: token, deadline, retry, paging, $batch and errors.

Not for: deciding what to reprocess or what to answer. Nothing else in the app talks to Graph.

    GraphError                 code, status, Graph's request id, seconds to wait, `lost`
    ├── GraphRefused           Graph says no to this one call (400, 409, other 4xx)
    │   └── RequestNotFound    there is no such request (404)
    ├── GraphDenied            Graph, or the managed identity, denies us altogether (401, 403)
    ├── GraphThrottled         told to wait (429, 503) for longer than the deadline allows
    └── GraphFailed            Graph or the identity failing or unreachable, or an answer of no use
        └── GraphTimeout       no answer in time

`lost` means that Graph may have carried out the call although it is an error here.
"""

from __future__ import annotations

import base64
import binascii
import functools
import json
import logging
import random
import re
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import requests
from azure.core.exceptions import AzureError
from azure.identity import ManagedIdentityCredential
from urllib3.exceptions import HTTPError, NewConnectionError

import settings as app_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from settings import Settings

CALL_SECONDS = 30.0  # longest silence within one call to Graph
CONNECT_SECONDS = 5.0
TOKEN_SECONDS = 5.0  # longest silence of the managed identity's endpoint
TRIES = 5  # of one call, the first included
LONGEST_BACKOFF = 30.0  # seconds; only for waits of our own choosing, never for Retry-After
LARGEST_BODY = 16 * 1024 * 1024  # bytes
# How long after a lost answer the state is watched before the request is sent again: how soon
# Graph shows an accepted reprocess is not published, so it gets these seconds to do so.
SETTLE_WAITS = (1.0, 2.0, 2.0)
RETRIED = frozenset({429, 500, 502, 503, 504})
FAILED_STATES = frozenset({"deliveryfailed", "partiallydelivered"})
FINAL_STATES = FAILED_STATES | {"delivered", "denied", "canceled"}

# What v1.0 and beta call the same things (https://learn.microsoft.com/graph/api/resources/
# accesspackageassignmentrequest, v1.0 and beta), and how they spell the two failed states.
NAMES = {
    "v1.0": ("state", "completedDateTime", ("deliveryFailed", "partiallyDelivered")),
    "beta": ("requestState", "completedDate", ("DeliveryFailed", "PartiallyDelivered")),
}

# These log every token taken from the cache, in several lines; the app's own lines say enough.
for _noisy in ("azure.identity", "azure.core"):
    logging.getLogger(_noisy).setLevel(logging.WARNING)


# What grants what seems to be missing, by what a denial looks like.
REMEDIES = {
    "permission": "It looks like the permission: grant the managed identity the application "
    "permission EntitlementManagement.ReadWrite.All on Microsoft Graph, or the role Access package "
    "assignment manager on the catalog.",
    "role scope": "It looks like the role scope: give the managed identity the role Access package "
    "assignment manager on the catalog of this access package.",
    "licence": "It looks like the licence: the tenant needs Microsoft Entra ID Governance or "
    "Entra ID P2.",
    "token": "Graph does not accept the token: check GRAPH_CLOUD, and that the managed identity "
    "belongs to this tenant.",
    "identity": "",
}


class GraphError(Exception):
    """A call to Graph that did not end well; the subclasses tell what that means."""

    def __init__(
        self,
        detail: str,
        *,
        status: int | None = None,
        code: str = "",
        retry_after: float | None = None,
        lost: bool = False,
        graph_request_id: str = "",
        client_request_id: str = "",
    ) -> None:
        """Keep what a catcher needs. `retry_after` is in seconds; `code` is Graph's own."""
        super().__init__(detail)
        self.detail = detail
        self.status = status
        self.code = code
        self.retry_after = retry_after
        self.lost = lost
        self.graph_request_id = graph_request_id
        self.client_request_id = client_request_id


class GraphRefused(GraphError):
    """Graph says no to this one call."""


class RequestNotFound(GraphRefused):
    """There is no request with this id, as far as Graph lets us see."""


class GraphDenied(GraphError):
    """Graph or the managed identity denies us; `looks_like` says what seems to be missing."""

    looks_like = "identity"

    @property
    def remedy(self) -> str:
        """One sentence that says what to grant."""
        return REMEDIES[self.looks_like]


class GraphThrottled(GraphError):
    """Graph wants us to wait for longer than the deadline allows."""


class GraphFailed(GraphError):
    """Graph or the identity is failing or unreachable, or answers what is of no use."""


class GraphTimeout(GraphFailed):
    """No answer came in time."""


class Deadline:
    """A point in time that no wait may pass."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Set it `seconds` from now, by a clock that only goes forward."""
        self._clock = clock
        self._end = clock() + seconds

    def left(self) -> float:
        """Return the seconds left, at least 0."""
        return max(0.0, self._end - self._clock())


@dataclass(frozen=True, slots=True)
class Request:
    """An access-package assignment request, as far as a reprocess needs it."""

    id: str
    state: str
    request_type: str
    completed_at: datetime | None

    @property
    def has_failed(self) -> bool:
        """Whether Graph accepts a reprocess in this state."""
        return self.state.lower() in FAILED_STATES

    @property
    def has_ended(self) -> bool:
        """Whether this state stays; an unknown state counts as on its way."""
        return self.state.lower() in FINAL_STATES


@dataclass(frozen=True, slots=True)
class Answer:
    """What Graph answered to one call; inside a `$batch` also with an error status."""

    status: int
    headers: dict[str, str]
    body: Any
    client_request_id: str

    @property
    def ok(self) -> bool:
        """Any 2xx: Graph documents 202, generated clients accept 200 to 204."""
        return 200 <= self.status < 300

    @property
    def graph_request_id(self) -> str:
        """Graph's own id of this call, for a support case."""
        return self.headers.get("request-id", "")

    @property
    def at(self) -> datetime:
        """Graph's clock when it answered (RFC 9110 `Date`), else ours."""
        return http_date(self.headers.get("date", "")) or datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Accepted:
    """Graph has taken on the reprocess at this time (Graph's clock where known)."""

    at: datetime
    graph_request_id: str
    client_request_id: str


class Graph:
    """Calls Graph with the managed identity; safe to use from several threads.

    Every method raises GraphError. The clocks, the sleep and the randomness can be passed in, so
    that tests never wait.
    """

    def __init__(
        self,
        settings: Settings,
        credential: Any = None,
        session: requests.Session | None = None,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """Prepare; nothing is called yet."""
        self.settings = settings
        self.sleep = sleep
        self.jitter = jitter
        self.state_name, self.completed_name, self.failed_names = NAMES[settings.graph_api_version]
        self.version_root = f"{settings.graph_root}/{settings.graph_api_version}"
        self.requests_path = (
            f"/identityGovernance/entitlementManagement/{settings.graph_requests_path}"
        )
        self._token = _Token(settings, credential)
        self._session = session or _session(settings.graph_concurrency)

    # -- what the app asks of Graph --

    def reprocess(self, request_id: str, deadline: Deadline) -> Accepted:
        """Ask Graph to reprocess one request, once.

        After a lost answer the request's state decides: if it moved, the reprocess was accepted;
        if it still shows the old failure after SETTLE_WAITS, it is sent again.
        https://learn.microsoft.com/graph/api/accesspackageassignmentrequest-reprocess
        """
        path = f"{self.requests_path}/{request_id}/reprocess"
        while True:
            sent_at = datetime.now(UTC)
            try:
                answer = self.send("POST", path, deadline)
            except (GraphFailed, GraphThrottled) as error:
                if not error.lost:
                    raise
                if self._was_accepted(request_id, sent_at, error, deadline):
                    return Accepted(sent_at, error.graph_request_id, error.client_request_id)
                continue
            return Accepted(answer.at, answer.graph_request_id, answer.client_request_id)

    def _was_accepted(
        self, request_id: str, sent_at: datetime, error: GraphError, deadline: Deadline
    ) -> bool:
        """Watch the state after a lost answer. Raises `error` when the deadline ends the watch."""
        waits = (max(SETTLE_WAITS[0], error.retry_after or 0.0), *SETTLE_WAITS[1:])
        for wait in waits:
            if wait >= deadline.left():
                raise error
            self.sleep(wait)
            try:
                request = self.read(request_id, deadline)
            except GraphError as unreadable:
                raise error from unreadable
            failed_since = request.completed_at and request.completed_at > sent_at
            if not request.has_failed or failed_since:
                return request.state.lower() not in {"denied", "canceled"}
        return False

    def read(self, request_id: str, deadline: Deadline) -> Request:
        """Read one request. Raises RequestNotFound."""
        answer = self.send("GET", f"{self.requests_path}/{request_id}", deadline)
        return self.request_from(answer.body)

    def failed(self, deadline: Deadline, access_package: str | None = None) -> Iterator[Request]:
        """List failed requests page by page, of one access package or of all.

        Where Graph refuses the combined filter on both states, one state is listed after the other.
        """
        filters = [f"{self.state_name} eq '{name}'" for name in self.failed_names]
        try:
            yield from self._list(f"({' or '.join(filters)})", access_package, deadline)
        except GraphRefused as error:
            if error.status != 400:
                raise
            for one in filters:
                yield from self._list(one, access_package, deadline)

    def _list(
        self, state_filter: str, access_package: str | None, deadline: Deadline
    ) -> Iterator[Request]:
        """Follow `@odata.nextLink` to the end; only within this Graph root, and never in a loop."""
        select = f"$select=id,{self.state_name},requestType,{self.completed_name}"
        if access_package:  # the form that callers with catalog roles only must use
            select = "$expand=accessPackage"
            state_filter = f"accessPackage/id eq '{access_package}' and {state_filter}"
        url = f"{self.requests_path}?{select}&$filter={quote(state_filter)}"
        seen = set()
        while url:
            seen.add(url)
            body = self.send("GET", url, deadline).body
            if not isinstance(body.get("value"), list):
                raise GraphFailed("Graph answered a list without 'value'")
            for item in body["value"]:
                if isinstance(item, dict) and isinstance(item.get("id"), str):
                    yield self.request_from(item)
            url = body.get("@odata.nextLink") or ""
            if url and (not isinstance(url, str) or not url.startswith(self.version_root + "/")):
                raise GraphFailed("Graph's nextLink leaves the Graph root; it was not followed")
            if url in seen:
                raise GraphFailed("Graph's nextLink leads back to a page that was read already")

    def batch(self, method: str, paths: Sequence[str], deadline: Deadline) -> list[Answer | None]:
        """Carry out up to 20 calls in one `$batch`; an answer for each path, None where it lacks.

        https://learn.microsoft.com/graph/json-batching: POST items without a payload still carry
        an empty body and its content type; answers come in any order.
        """
        ids = [app_settings.new_id() for _ in paths]
        extra: dict[str, Any] = {"body": {}} if method == "POST" else {}
        calls = [
            {
                "id": str(n),
                "method": method,
                "url": path,
                "headers": {"client-request-id": ids[n]}
                | ({"Content-Type": "application/json"} if extra else {}),
                **extra,
            }
            for n, path in enumerate(paths)
        ]
        outer = self.send("POST", "/$batch", deadline, {"requests": calls}, safe=method == "GET")
        answers: list[Answer | None] = [None] * len(paths)
        items = outer.body.get("responses")
        for item in items if isinstance(items, list) else ():
            number = str(item.get("id")) if isinstance(item, dict) else ""
            status = item.get("status") if isinstance(item, dict) else None
            known = re.fullmatch(r"[0-9]{1,2}", number) and int(number) < len(paths)
            if known and isinstance(status, int):
                n = int(number)
                headers = {"date": outer.headers.get("date", "")} | _lower(item.get("headers"))
                answers[n] = Answer(status, headers, item.get("body"), ids[n])
        return answers

    def note_scope(self, error: GraphError) -> None:
        """Let a denial look like the role scope where catalog roles are in use.

        A token tells nothing of catalog roles; a configured list of access packages does.
        """
        if isinstance(error, GraphDenied) and self.settings.sweep_access_packages:
            error.looks_like = error.looks_like.replace("permission", "role scope")

    def request_from(self, body: Any) -> Request:
        """Make a Request of what Graph sent. Raises GraphFailed when it is none."""
        if not isinstance(body, dict) or not isinstance(body.get(self.state_name), str):
            raise GraphFailed(f"Graph answered a request without '{self.state_name}'")
        return Request(
            str(body.get("id", "")).lower(),
            body[self.state_name],
            str(body.get("requestType", "")),
            timestamp(body.get(self.completed_name)),
        )

    # -- one call, with its retries --

    def send(
        self,
        method: str,
        url: str,
        deadline: Deadline,
        body: Any = None,
        *,
        safe: bool = False,
    ) -> Answer:
        """Send one call and return its 2xx answer, retrying within the deadline.

        `url` is a path below the version, or a whole nextLink. What is sent twice is only what
        changes nothing (GET, or `safe`), what Graph says it did not carry out (429), and what
        never left (no connection, no token). `Retry-After` is never shortened.
        """
        safe = safe or method == "GET"
        renew = False
        for attempt in range(1, TRIES + 1):
            try:
                return self._once(method, url, deadline, body, renew=renew)
            except GraphDenied as error:
                if error.status != 401 or renew or attempt == TRIES:
                    raise
                renew = True
            except (GraphThrottled, GraphFailed) as error:
                useless = error.status is None or error.status < 300  # no answer, or of no use
                if not useless and error.status not in RETRIED:
                    raise
                wait = self.wait_before(attempt, error.retry_after)
                if (error.lost and not safe) or attempt == TRIES or wait >= deadline.left():
                    raise
                self.sleep(wait)
        raise AssertionError("unreachable: the last attempt returns or raises")

    def wait_before(self, attempt: int, retry_after: float | None) -> float:
        """Seconds to wait before the next attempt: as told, or doubling; jitter is only added."""
        told = min(2.0 ** (attempt - 1), LONGEST_BACKOFF) if retry_after is None else retry_after
        return told + self.jitter()

    def _once(self, method: str, url: str, deadline: Deadline, body: Any, *, renew: bool) -> Answer:
        if deadline.left() <= 0:
            raise GraphTimeout("the time for this call was used up before it was sent")
        token = self._token.get(renew=renew)
        client_request_id = app_settings.new_id()
        headers = {
            "Authorization": f"Bearer {token}",
            "client-request-id": client_request_id,
            "Accept": "application/json",
            "Prefer": "include-unknown-enum-members",
        }
        if method == "POST" and body is None:
            headers["Content-Length"] = "0"
        whole_url = url if url.startswith(("https:", "http:")) else self.version_root + url
        try:
            with self._session.request(
                method,
                whole_url,
                headers=headers,
                json=body,
                timeout=(
                    min(CONNECT_SECONDS, deadline.left() + 0.001),
                    min(CALL_SECONDS, deadline.left() + 0.001),
                ),
                allow_redirects=False,
                stream=True,
            ) as response:
                return _answer(
                    response,
                    deadline,
                    client_request_id,
                    token,
                    wants=method == "GET" or body is not None,
                )
        except GraphError as error:
            error.client_request_id = client_request_id
            self.note_scope(error)
            raise
        except (requests.RequestException, HTTPError, OSError, ValueError) as error:
            raise _failure(error, client_request_id) from error


class _Token:
    """The managed identity's token for Graph; azure-identity caches and refreshes it."""

    def __init__(self, settings: Settings, credential: Any = None) -> None:
        self._scope = settings.token_scope
        self._status = threading.local()
        self._client_id = settings.azure_client_id
        self._given = credential
        self._credential = credential or self._managed_identity()

    def _managed_identity(self) -> Any:
        return ManagedIdentityCredential(
            client_id=self._client_id,
            retry_total=0,  # retried by Graph.send, within the caller's deadline
            connection_timeout=TOKEN_SECONDS,
            read_timeout=TOKEN_SECONDS,
            raw_response_hook=self._note_status,
        )

    def _note_status(self, response: Any) -> None:
        """Keep the endpoint's status: azure-identity's error text does not tell it."""
        self._status.code = response.http_response.status_code

    def get(self, *, renew: bool) -> str:
        """Return a token; with `renew` not the cached one. Raises GraphDenied, GraphFailed."""
        self._status.code = None
        claims = {"claims": '{"access_token":{}}'} if renew else {}
        try:
            return str(self._credential.get_token(self._scope, **claims).token)
        except AzureError as error:
            status = self._status.code
            # msal keeps a failure for a minute; the next try is to be a real one.
            self._credential = self._given or self._managed_identity()
            if status is not None and 400 <= status < 500 and status not in {404, 408, 410, 429}:
                raise GraphDenied(
                    f"the managed identity was refused a token (HTTP {status}): check that the app "
                    "has an identity and that AZURE_CLIENT_ID names one assigned to it",
                ) from error
            what = f"answered HTTP {status}" if status else "did not answer"
            raise GraphFailed(
                f"the managed identity's endpoint {what}, so there is no token for Graph"
            ) from error
        except Exception as error:  # azure-identity lets malformed answers escape as they come
            raise GraphFailed("the managed identity's endpoint answered no usable token") from error


def _session(concurrency: int) -> requests.Session:
    """One pooled session; never a proxy, a .netrc or a retry that this module does not know of."""
    session = requests.Session()
    session.trust_env = False
    adapter = requests.adapters.HTTPAdapter(pool_maxsize=max(32, concurrency), max_retries=0)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


def _answer(
    response: requests.Response,
    deadline: Deadline,
    client_request_id: str,
    token: str,
    *,
    wants: bool,
) -> Answer:
    """Turn a response into an Answer, or raise what it means. `wants`: a JSON body is needed."""
    headers = _lower(dict(response.headers))
    answer = Answer(response.status_code, headers, None, client_request_id)
    html = "html" in headers.get("content-type", "")
    try:
        raw = _read_body(response, deadline)
        body = json.loads(raw) if raw else None
    except (HTTPError, OSError, ValueError, RecursionError) as error:
        if answer.ok and (wants or html):
            raise GraphFailed(
                "Graph's answer is not whole or not JSON",
                status=answer.status,
                graph_request_id=answer.graph_request_id,
                lost=True,
            ) from error
        body = None
    if not answer.ok:
        raise error_from(Answer(answer.status, headers, body, client_request_id), token)
    if wants and not isinstance(body, dict):
        raise GraphFailed(
            "Graph's answer is not a JSON object",
            status=answer.status,
            graph_request_id=answer.graph_request_id,
            lost=True,
        )
    return Answer(answer.status, headers, body, client_request_id)


def _read_body(response: requests.Response, deadline: Deadline) -> bytes:
    """Read a body that is neither larger than LARGEST_BODY nor dripping past the deadline."""
    parts, size = [], 0
    while part := response.raw.read1(65536, decode_content=True):
        parts.append(part)
        size += len(part)
        if size > LARGEST_BODY:
            raise ValueError("body too large")
        if deadline.left() <= 0:
            raise TimeoutError("body too slow")
    return b"".join(parts)


def error_from(answer: Answer, token: str = "") -> GraphError:
    """Return the error that a non-2xx answer means, with Graph's code and message."""
    error = answer.body.get("error") if isinstance(answer.body, dict) else None
    error = error if isinstance(error, dict) else {}
    code = str(error.get("code") or "")[:100]
    message = str(error.get("message") or f"Graph answered HTTP {answer.status}")[:500]
    status = answer.status
    kind: type[GraphError] = GraphRefused
    if status in {401, 403}:
        kind = GraphDenied
    elif status == 404:
        kind = RequestNotFound
    elif status in {429, 503}:
        kind = GraphThrottled
    elif status >= 500 or status < 400:
        kind = GraphFailed
        message = "Graph answered a redirect; it was not followed" if status < 400 else message
    made = kind(
        message,
        status=status,
        code=code,
        retry_after=retry_after(answer.headers) if status in RETRIED else None,
        lost=status >= 500,
        graph_request_id=answer.graph_request_id,
        client_request_id=answer.client_request_id,
    )
    if isinstance(made, GraphDenied):
        made.looks_like = _looks_like(status, code, token)
    return made


def _looks_like(status: int, code: str, token: str) -> str:
    """Guess what is missing: `token`, `licence`, `permission` or `role scope`."""
    if status == 401:
        return "token"
    if "license" in code.lower():
        return "licence"
    try:
        claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
        roles = claims.get("roles") or []
    except (IndexError, ValueError, AttributeError, binascii.Error):
        roles = []
    # With the permission in the token, or with none at all, only Graph's own message tells more.
    return "role scope" if "EntitlementManagement.ReadWrite.All" in roles else "permission"


def _failure(error: Exception, client_request_id: str) -> GraphError:
    """Map every error of requests and urllib3; `lost` unless the call surely never left."""
    cause = error.args[0] if error.args else None
    never_sent = isinstance(error, (requests.ConnectTimeout, requests.exceptions.InvalidURL)) or (
        isinstance(getattr(cause, "reason", None), NewConnectionError)
    )
    if isinstance(error, requests.exceptions.SSLError):
        detail, never_sent = "Graph's certificate could not be verified", True
    elif isinstance(error, (requests.Timeout, TimeoutError)):
        return GraphTimeout(
            "Graph gave no answer in time", lost=not never_sent, client_request_id=client_request_id
        )
    elif never_sent:
        detail = "Graph could not be reached"
    else:
        detail = "the connection to Graph broke before its answer came"
    return GraphFailed(detail, lost=not never_sent, client_request_id=client_request_id)


def _lower(headers: Any) -> dict[str, str]:
    """Return headers by lower-case name; anything that is no header is left out."""
    if not isinstance(headers, dict):
        return {}
    return {str(name).lower(): str(value) for name, value in headers.items()}


def retry_after(headers: dict[str, str]) -> float | None:
    """Seconds to wait by `Retry-After`: integer, decimal, several, or an HTTP date (RFC 9110)."""
    value = headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?( *, *[0-9]{1,9}(\.[0-9]{1,9})?)*", value[:200]):
        return max(float(part) for part in value.split(","))
    at = http_date(value)
    if at is None:
        return None
    now = http_date(headers.get("date", "")) or datetime.now(UTC)
    return max(0.0, (at - now).total_seconds())


def http_date(text: str) -> datetime | None:
    """Parse an HTTP date; None when it is none."""
    try:
        parsed = parsedate_to_datetime(text[:60])
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def timestamp(text: Any) -> datetime | None:
    """Parse Graph's DateTimeOffset, with 0 to 7 fractional digits; None when it is none."""
    found = re.fullmatch(
        r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d{1,12})?(Z|[+-]\d\d:\d\d)",
        text if isinstance(text, str) else "",
        re.ASCII | re.IGNORECASE,
    )
    if not found:
        return None
    whole, fraction, zone = found.groups()
    try:
        parsed = datetime.fromisoformat(whole + zone.upper().replace("Z", "+00:00"))
        return (parsed + timedelta(seconds=float(fraction or 0))).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


_making = threading.Lock()


def shared() -> Graph:
    """Return this process's one Graph, with one credential and one pooled session.

    Raises SettingsError; then nothing is kept.
    """
    with _making:  # a cache alone would make two when two first calls come at once
        return _made()


@functools.cache
def _made() -> Graph:
    return Graph(app_settings.current())
