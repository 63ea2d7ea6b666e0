"""The calls that Redeliver makes to Graph: list failed requests, read, reprocess; one or many.

Not for: how a call is sent (client.py), or what to reprocess when (planning/, reprocessing/).
"""

from __future__ import annotations

import functools
import itertools
import random
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import settings as app_settings
from graph.client import Call, Client
from graph.outcome import Answer, GraphError, GraphRefused, Outcome
from graph.request import NAMES, Request, request_from
from graph.tokens import TokenClaims, Tokens
from session import new_session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import requests
    from azure.core.credentials import TokenCredential

    from deadline import Deadline

PAGE_SIZE = 500  # requests asked for in one page; whether Graph honours it is not published
TOP = f"&$top={PAGE_SIZE}"


@dataclass(frozen=True, slots=True)
class Accepted:
    """Graph accepted a reprocess. `at`: the answer's `Date`, else our clock."""

    at: datetime
    graph_request_id: str
    client_request_id: str


class Graph:
    """Calls Graph with the managed identity; safe to use from several threads.

    Credential, session, sleep, jitter and our clock can be passed in, so that tests never wait.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - what can be passed in
        self,
        settings: app_settings.Settings,
        credential: TokenCredential | None = None,
        session: requests.Session | None = None,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = random.random,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Prepare; nothing is called yet."""
        self.sleep = sleep
        self.now = now
        session = session or new_session(max(32, settings.graph_concurrency))
        self._tokens = Tokens(settings, session, credential)
        self._client = Client(settings, self._tokens, session, sleep, jitter, now)
        self._names = NAMES[settings.graph_api_version]
        self._path = f"/identityGovernance/entitlementManagement/{settings.graph_requests_path}"
        self._worked: dict[bool, int] = {}  # which form Graph took, with names or without

    def identity(self, deadline: Deadline) -> TokenClaims:
        """Get a token and return what it says of the identity. Raises GraphError."""
        self._tokens.get(deadline)
        return self._tokens.claims

    def read(self, request_id: str, deadline: Deadline) -> Request:
        """Read one request, retrying within the deadline. Raises RequestNotFound, GraphError.

        https://learn.microsoft.com/graph/api/accesspackageassignmentrequest-get
        """
        answer = self._client.get(f"{self._path}/{request_id}", deadline)
        request = self._request(answer, request_id)
        if isinstance(request, GraphError):
            raise request
        return request

    def read_each(
        self, request_ids: Sequence[str], deadline: Deadline
    ) -> list[Request | GraphError]:
        """Read each of up to 20 requests once; return one outcome for each, in order."""
        calls = [Call("GET", f"{self._path}/{one}") for one in request_ids]
        outcomes = self._client.send(calls, deadline)
        return [self._request(one, name) for one, name in zip(outcomes, request_ids, strict=True)]

    def reprocess_each(
        self, request_ids: Sequence[str], deadline: Deadline
    ) -> list[Accepted | GraphError]:
        """Ask Graph once to reprocess each of up to 20 requests; return one outcome for each.

        https://learn.microsoft.com/graph/api/accesspackageassignmentrequest-reprocess
        """
        calls = [Call("POST", f"{self._path}/{one}/reprocess") for one in request_ids]
        return [
            Accepted(one.at, one.graph_request_id, one.client_request_id)
            if isinstance(one, Answer)
            else one
            for one in self._client.send(calls, deadline)
        ]

    def _request(self, outcome: Outcome, request_id: str) -> Request | GraphError:
        """Return the request that was asked for, or why it could not be read."""
        if isinstance(outcome, GraphError):
            return outcome
        request = request_from(outcome.body, self._names, outcome.at)
        if request and request.state and request.id == request_id.lower():
            return request
        detail = f"Graph's answer is not the request asked for, or lacks '{self._names.state}'"
        return outcome.unusable(detail)

    # -- lists --

    def failed(
        self, deadline: Deadline, access_package: str | None = None, *, names: bool = False
    ) -> Iterator[Request]:
        """List failed requests page by page, of one access package or of all. Raises GraphError.

        `names`: with those of access package and requestor, where Graph gives them. The same
        request may come twice. What Graph refuses (400) of the query is left out, and the form that
        worked is tried first from then on.
        https://learn.microsoft.com/graph/api/entitlementmanagement-list-assignmentrequests
        """
        refusals: list[GraphRefused] = []
        forms = self._forms(access_package, names=names)
        worked = self._worked.get(names, 0)
        for number in sorted(range(len(forms)), key=lambda one: one != worked):
            pages = self._pages(forms[number], deadline)
            try:
                first = next(pages)
            except GraphRefused as error:
                if error.status != 400:
                    raise
                refusals.append(error)
                continue
            self._worked[names] = number
            for page in itertools.chain([first], pages):
                for item in page.body["value"]:
                    request = request_from(item, self._names, page.at)
                    if request and access_package and not request.access_package_id:
                        request = replace(request, access_package_id=access_package)
                    if request:
                        yield request
            return
        raise refusals[0]

    def _forms(self, access_package: str | None, *, names: bool) -> list[list[str]]:
        """Return the ways to ask, best first: each is one list, or one for each failed state.

        What Graph may refuse: names, `$top`, and both states in one filter.
        """
        spelled = self._names
        states = [f"{spelled.state} eq '{state}'" for state in spelled.failed_states]
        package, shapes = "", [f"$select=id,{spelled.state},requestType,{spelled.completed}"]
        if access_package:  # callers with catalog roles only must ask like this
            package = f"accessPackage/id eq '{access_package}' and "
            shapes = ["$expand=accessPackage"]
        if names:
            shapes.insert(0, "$expand=accessPackage,requestor")
        forms = []
        for shape in shapes:
            url = f"{self._path}?{shape}&$filter={quote(package)}"
            both = url + quote(f"({' or '.join(states)})")
            forms += [[both + TOP], [both], [url + quote(state) for state in states]]
        return forms

    def _pages(self, urls: Sequence[str], deadline: Deadline) -> Iterator[Answer]:
        """Yield the pages of these lists.

        Whether `$top` is the size of a page or of the whole list is not published: where a single
        page came exactly full, the list is read again without it.
        """
        for url in urls:
            sizes = []
            for page in self._linked(url, deadline):
                sizes.append(len(page.body["value"]))
                yield page
            if url.endswith(TOP) and sizes == [PAGE_SIZE]:
                yield from self._linked(url.removesuffix(TOP), deadline)

    def _linked(self, url: str, deadline: Deadline) -> Iterator[Answer]:
        """Follow `@odata.nextLink` to the end, and never in a loop."""
        seen: set[str] = set()
        while url:
            seen.add(url)
            page = self._client.get(url, deadline)
            if not isinstance(page.body.get("value"), list):
                raise page.unusable("Graph answered a list without 'value'")
            yield page
            link: Any = page.body.get("@odata.nextLink") or ""
            if not isinstance(link, str) or link in seen:
                raise page.unusable("Graph's nextLink leads to no further page")
            url = link


@functools.cache
def shared() -> Graph:
    """Return this process's Graph, with one credential and one pooled session.

    Raises SettingsError; then nothing is kept.
    """
    return Graph(app_settings.current())
