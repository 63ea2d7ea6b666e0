"""One exchange with Graph: token, deadline, retry, `Retry-After`, and what each status means.

Not for: which calls there are (calls.py). The token goes to the Graph root and nowhere else: no
redirect is followed, no proxy or .netrc is read, and every address is checked.
"""

from __future__ import annotations

import ssl
import uuid
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import requests
from urllib3.exceptions import HTTPError, NewConnectionError

from deadline import GRACE, TookTooLong, bounded
from events import INFO, event
from graph.answer import Answer, read_answer, told_wait
from graph.errors import (
    GraphDenied,
    GraphError,
    GraphFailed,
    GraphRefused,
    GraphThrottled,
    GraphTimeout,
    RequestNotFound,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from deadline import Deadline
    from graph.identity import ManagedIdentity

CALL_SECONDS = 30.0  # longest silence within one call
CONNECT_SECONDS = 5.0
TRIES = 5  # of one call, the first included
LONGEST_BACKOFF = 30.0  # seconds; only for waits of our own choosing, never for Retry-After
TOLD = 5.0  # seconds; longer waits are told in the log
ABSURD = timedelta(days=1)  # a clock that differs by more is not believed
RETRIED = frozenset({429, 500, 502, 503, 504})
WRITE_ROLE = "EntitlementManagement.ReadWrite.All"


class Http:
    """Sends calls to one version of Graph; safe to use from several threads."""

    def __init__(  # noqa: PLR0913, PLR0917 - what can be passed in
        self,
        version_root: str,
        identity: ManagedIdentity,
        session: requests.Session,
        sleep: Callable[[float], None],
        jitter: Callable[[], float],
        our_clock: Callable[[], datetime],
        *,
        catalog_roles: bool,
    ) -> None:
        """Send below `version_root`. `catalog_roles`: the identity may hold roles on catalogs."""
        self.version_root = version_root
        self.identity = identity
        self.session = session
        self.sleep = sleep
        self.jitter = jitter
        self.our_clock = our_clock
        self.catalog_roles = catalog_roles
        self._ahead = timedelta()

    def send(self, method: str, url: str, deadline: Deadline) -> Answer:
        """Send one call and return its 2xx answer, trying again within the deadline.

        `url` is a path below the version, or a whole nextLink. What is sent twice is only what
        changes nothing (GET), what Graph says it did not carry out (429), and what never left (no
        connection, no token). A told wait is never shortened. Raises GraphError.
        """
        for attempt in range(1, TRIES):
            try:
                return self.send_once(method, url, deadline)
            except (GraphThrottled, GraphFailed) as error:
                wait = self._wait_before(attempt, error.told_wait)
                repeatable = method == "GET" or not error.lost
                retried = error.status is None or error.status in RETRIED or error.status < 300
                if not (repeatable and retried) or wait >= deadline.left():
                    raise
                self._tell(wait, attempt, error)
                self.sleep(wait)
        return self.send_once(method, url, deadline)

    def send_once(
        self,
        method: str,
        url: str,
        deadline: Deadline,
        body: Any = None,  # noqa: ANN401 - JSON is anything
        *,
        renew: bool = False,
    ) -> Answer:
        """Send one call once, or twice when Graph does not accept the token: then with a new one.

        `renew`: with a new one from the start. Raises GraphError.
        """
        try:
            return self._exchange(method, url, deadline, body, renew=renew)
        except GraphDenied as error:
            if error.status != 401 or renew:
                raise
            return self._exchange(method, url, deadline, body, renew=True)

    def error_from(self, answer: Answer) -> GraphError:
        """Return the error that a non-2xx answer means, with Graph's code and message."""
        error = answer.body.get("error") if isinstance(answer.body, dict) else None
        error = error if isinstance(error, dict) else {}
        status = answer.status
        code = str(error.get("code") or "")[:100]
        message = str(error.get("message") or f"Graph answered HTTP {status}")[:500]
        if status < 400:
            message = "Graph answered neither success nor error; it was not followed"
        made = _kind(status)(
            message,
            status=status,
            code=code,
            told_wait=told_wait(answer, self.our_clock()) if status in RETRIED else None,
            lost=status >= 500 and status != 501,
            graph_request_id=answer.graph_request_id,
            client_request_id=answer.client_request_id,
        )
        if isinstance(made, GraphDenied):
            made.looks_like = self._looks_like(status, code)
        return made

    def by_graph(self, at: datetime) -> datetime:
        """Return what Graph's clock shows, as far as known, when ours shows `at`."""
        return at + self._ahead

    def answered_at(self, answer: Answer) -> datetime:
        """Return when Graph answered, by its clock; up to a second early, never late."""
        now = self.by_graph(self.our_clock())
        date = answer.date
        return date if date and abs(date - now) < ABSURD else now

    def _wait_before(self, attempt: int, told: float | None) -> float:
        """Seconds to wait before the next attempt: as told, or doubling; jitter is only added."""
        own = min(2.0 ** (attempt - 1), LONGEST_BACKOFF)
        return (own if told is None else told) + self.jitter()

    def _tell(self, wait: float, attempt: int, error: GraphError) -> None:
        if wait >= TOLD:
            seconds = round(wait, 1)
            event(INFO, "waiting for graph", seconds=seconds, attempt=attempt, **error.fields())

    def _exchange(
        self,
        method: str,
        url: str,
        deadline: Deadline,
        body: Any,  # noqa: ANN401 - JSON is anything
        *,
        renew: bool,
    ) -> Answer:
        whole_url = self._checked(url)
        if deadline.left() <= 0:
            raise GraphTimeout("the time for this call was used up before it was sent")
        token = self.identity.token(deadline, renew=renew)
        client_request_id = str(uuid.uuid4())
        headers = {
            "Authorization": f"Bearer {token}",
            "client-request-id": client_request_id,
            "Accept": "application/json",
            "Prefer": "include-unknown-enum-members",
        }
        sent_at = self.our_clock()
        try:
            with self._opened(method, whole_url, headers, deadline, body) as response:
                wanted = method == "GET" or body is not None
                answer = read_answer(response, deadline, client_request_id, wanted=wanted)
        except (requests.RequestException, HTTPError, OSError, ValueError) as error:
            raise _failure(error, client_request_id) from error
        self._set_clock(answer, sent_at)
        if not answer.ok:
            raise self.error_from(answer)
        return answer

    def _opened(
        self,
        method: str,
        whole_url: str,
        headers: dict[str, str],
        deadline: Deadline,
        body: Any,  # noqa: ANN401 - JSON is anything
    ) -> requests.Response:
        """Send a call and return its answer once the headers are there.

        Headers that drip in keep every time-out from ending the call: only its thread can be left.
        """
        left = deadline.left() + 0.001

        def send() -> requests.Response:
            return self.session.request(
                method,
                whole_url,
                headers=headers,
                json=body,
                timeout=(min(CONNECT_SECONDS, left), min(CALL_SECONDS, left)),
                allow_redirects=False,
                stream=True,
            )

        try:
            return bounded(left + GRACE, send)
        except TookTooLong as error:
            raise TimeoutError("headers too slow") from error

    def _checked(self, url: str) -> str:
        """Return a whole address below our version of Graph. Raises GraphFailed for any other.

        What is sent begins with our own version root, letter by letter, whatever was given; and
        no `..` leads out of it, which requests would follow.
        """
        root = self.version_root
        below = url[len(root) :] if url[: len(root)].lower() == root.lower() else url
        if not below.startswith("/") or ".." in unquote(below.partition("?")[0]):
            raise GraphFailed("Graph's nextLink leaves the Graph root; it was not followed")
        return root + below

    def _set_clock(self, answer: Answer, sent_at: datetime) -> None:
        """Learn how far Graph's clock is ahead: as little as this answer leaves possible."""
        date, now = answer.date, self.our_clock()
        if date and abs(date - now) < ABSURD:
            self._ahead = min(max(self._ahead, date - now), date + timedelta(seconds=1) - sent_at)

    def _looks_like(self, status: int, code: str) -> str:
        """Guess what is missing: `token`, `licence`, `permission` or `role scope`."""
        if status == 401:
            return "token"
        if "license" in code.lower():
            return "licence"
        # A token tells nothing of catalog roles; with the permission in it, they must be missing.
        scoped = self.catalog_roles or WRITE_ROLE in (self.identity.claims.roles or ())
        return "role scope" if scoped else "permission"


def new_session(connections: int) -> requests.Session:
    """One pooled session; never a proxy, a .netrc or a retry that this module does not know of."""
    session = requests.Session()
    session.trust_env = False
    adapter = requests.adapters.HTTPAdapter(pool_maxsize=max(32, connections), max_retries=0)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


def _kind(status: int) -> type[GraphError]:
    """Return which error a status is. 501 says that nothing was, or will be, carried out."""
    if status in {401, 403}:
        return GraphDenied
    if status == 404:
        return RequestNotFound
    if status in {429, 503}:
        return GraphThrottled
    if status == 501 or 400 <= status < 500:
        return GraphRefused
    return GraphFailed


def _failure(error: Exception, client_request_id: str) -> GraphError:
    """Map every error of requests and urllib3; `lost` unless the call surely never left."""
    causes = list(_causes(error))
    unverified = any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes)
    unsent = unverified or any(
        isinstance(
            cause, NewConnectionError | requests.ConnectTimeout | requests.exceptions.InvalidURL
        )
        for cause in causes
    )
    if unverified:
        detail = "Graph's certificate could not be verified"
    elif isinstance(error, requests.Timeout | TimeoutError):
        return GraphTimeout(
            "Graph gave no answer in time", lost=not unsent, client_request_id=client_request_id
        )
    elif unsent:
        detail = "Graph could not be reached"
    else:
        detail = "the connection to Graph broke before its answer came"
    return GraphFailed(detail, lost=not unsent, client_request_id=client_request_id)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and all that led to it, as requests and urllib3 wrap them."""
    pending, seen = [error], set[int]()
    while pending:
        one = pending.pop()
        if id(one) in seen or not isinstance(one, BaseException):
            continue
        seen.add(id(one))
        yield one
        pending += [one.__cause__, one.__context__, getattr(one, "reason", None)]
        pending += [arg for arg in one.args if isinstance(arg, BaseException)]
