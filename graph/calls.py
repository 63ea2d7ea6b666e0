"""The calls that Redeliver makes to Graph: list the failed requests, read, reprocess; one or many.

Not for: how a call is sent (http.py), or what to reprocess when. Every method raises GraphError.
"""

from __future__ import annotations

import functools
import random
import threading
import time
import uuid
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import settings as app_settings
from graph import batch
from graph.errors import (
    BatchNotAccepted,
    GraphDenied,
    GraphError,
    GraphFailed,
    GraphRefused,
    GraphThrottled,
)
from graph.http import Http, new_session
from graph.identity import ManagedIdentity
from graph.request import (
    NAMES,
    DetailedRequest,
    Request,
    detailed_request_from,
    request_from,
    whole_request,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    import requests

    from deadline import Deadline
    from graph.answer import Answer
    from graph.identity import Credential, TokenClaims
    from settings import Settings

# After a lost answer the state is watched this long before the request is sent again: how soon
# Graph shows an accepted reprocess is not published. Seconds between two looks.
SETTLE_WAITS = (1.0, 2.0, 2.0)
SETTLE_SECONDS = 7.0  # those waits, and time for the looks
PAGE = 500  # requests asked for in a page; whether Graph listens is not published
SMALL_PAGE = 20  # an only page with fewer was not cut off


@dataclass(frozen=True, slots=True)
class Accepted:
    """Graph has taken on the reprocess, at this time by its own clock."""

    at: datetime
    graph_request_id: str
    client_request_id: str


@dataclass(frozen=True, slots=True)
class ListForm:
    """How failed requests are asked for.

    `one_filter`: both states in one filter, or one list for each; `top`: with a size of the page;
    `names`: with the names of access package and requestor.
    """

    one_filter: bool
    top: bool
    names: bool = False


# In the order in which they are tried: what Graph refuses of the first is left out of the next.
FORMS = (
    ListForm(one_filter=True, top=True),
    ListForm(one_filter=False, top=True),
    ListForm(one_filter=True, top=False),
    ListForm(one_filter=False, top=False),
)
DETAILED_FORMS = (*(replace(form, names=True) for form in FORMS), *FORMS)


class Graph:
    """Calls Graph with the managed identity; safe to use from several threads.

    The sleep, the randomness and our clock can be passed in, so that tests never wait.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - what can be passed in
        self,
        settings: Settings,
        credential: Credential | None = None,
        session: requests.Session | None = None,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = random.random,
        our_clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Prepare; nothing is called yet."""
        self.sleep = sleep
        self.our_clock = our_clock
        self._identity = ManagedIdentity(settings.token_scope, settings.azure_client_id, credential)
        self._http = Http(
            f"{settings.graph_root}/{settings.graph_api_version}",
            self._identity,
            session or new_session(settings.graph_concurrency),
            sleep,
            jitter,
            our_clock,
            catalog_roles=bool(settings.sweep_access_packages),
        )
        self._names = NAMES[settings.graph_api_version]
        self._path = f"/identityGovernance/entitlementManagement/{settings.graph_requests_path}"
        self._worked: dict[tuple[ListForm, ...], ListForm] = {}

    def now(self) -> datetime:
        """Return the time by Graph's clock, as far as known."""
        return self._http.by_graph(self.our_clock())

    def identity(self, deadline: Deadline) -> TokenClaims:
        """Get a token and return what it says of the identity."""
        self._identity.token(deadline)
        return self._identity.claims

    # -- one request --

    def read(self, request_id: str, deadline: Deadline) -> Request:
        """Read one request. Raises RequestNotFound."""
        answer = self._http.send("GET", f"{self._path}/{request_id}", deadline)
        return whole_request(answer.body, self._names, request_id)

    def reprocess(self, request_id: str, deadline: Deadline) -> Accepted:
        """Ask Graph to reprocess one request.

        After a lost answer the state decides: if the request moved, the reprocess was accepted;
        if it still shows the old failure after the settle time, it is sent once more, and never
        again. The settle time is kept back from the deadline, half of it at most.
        https://learn.microsoft.com/graph/api/accesspackageassignmentrequest-reprocess
        """
        accepted = self._posted(request_id, deadline)
        if isinstance(accepted, GraphError):
            accepted = self._posted(request_id, deadline)
        if isinstance(accepted, GraphError):
            raise accepted
        return accepted

    def _posted(self, request_id: str, deadline: Deadline) -> Accepted | GraphError:
        """Send it; an error is returned only when the answer was lost and nothing moved."""
        keep_back = min(SETTLE_SECONDS, deadline.left() / 2)
        sending = deadline.within(deadline.left() - keep_back)
        sent_at = self.our_clock()
        try:
            answer = self._http.send("POST", f"{self._path}/{request_id}/reprocess", sending)
        except (GraphFailed, GraphThrottled) as error:
            if not error.lost:
                raise
            return self._settled(request_id, error, sent_at, deadline)
        return self._accepted(answer)

    def _settled(
        self, request_id: str, error: GraphError, sent_at: datetime, deadline: Deadline
    ) -> Accepted | GraphError:
        """Watch the state after a lost answer; return `error` when the request has not moved.

        Raises `error` when the state could not be seen, or not for long enough.
        """
        seen: Request | None = None
        for wait in (max(SETTLE_WAITS[0], error.told_wait or 0.0), *SETTLE_WAITS[1:]):
            if wait >= deadline.left():
                raise error
            self.sleep(wait)
            try:
                answer = self._http.send_once("GET", f"{self._path}/{request_id}", deadline)
                seen = whole_request(answer.body, self._names, request_id)
            except GraphRefused:  # such as: it is gone
                raise
            except GraphError:
                continue
            if seen.has_moved(self._http.by_graph(sent_at)):
                break
        if not seen:
            raise error
        since = self._http.by_graph(sent_at)
        if not seen.shows_reprocess(since):
            return error
        return Accepted(since, error.graph_request_id, error.client_request_id)

    def _accepted(self, answer: Answer) -> Accepted:
        at = self._http.answered_at(answer)
        return Accepted(at, answer.graph_request_id, answer.client_request_id)

    # -- the failed ones --

    def failed(self, deadline: Deadline, access_package: str | None = None) -> Iterator[Request]:
        """List failed requests page by page, of one access package or of all.

        The same request may come twice. What Graph refuses (400) of the query is left out, and
        the form that worked is the first to be tried from then on.
        https://learn.microsoft.com/graph/api/entitlementmanagement-list-assignmentrequests
        """
        for item in self._items(FORMS, access_package, deadline):
            if request := request_from(item, self._names):
                yield request

    def failed_in_detail(
        self, deadline: Deadline, access_package: str | None = None
    ) -> Iterator[DetailedRequest]:
        """List failed requests as `failed` does, with names; without them where Graph refuses."""
        for item in self._items(DETAILED_FORMS, access_package, deadline):
            if request := detailed_request_from(item, self._names):
                yield request

    def _items(
        self, forms: tuple[ListForm, ...], access_package: str | None, deadline: Deadline
    ) -> Iterator[Any]:
        """Yield the items of all pages, in the first of these forms that Graph takes."""
        worked = self._worked.get(forms)
        refusals: list[GraphRefused] = []
        for form in sorted(forms, key=lambda one: one != worked):
            pages = self._pages(form, access_package, deadline)
            try:
                first = next(pages)
            except GraphRefused as error:
                if error.status != 400:
                    raise
                refusals.append(error)
                continue
            self._worked[forms] = form
            yield from first
            for page in pages:
                yield from page
            return
        raise refusals[0]

    def _pages(
        self, form: ListForm, access_package: str | None, deadline: Deadline
    ) -> Iterator[list[Any]]:
        """Yield the pages of every query that this form consists of."""
        states = [f"{self._names.state} eq '{name}'" for name in self._names.failed_states]
        for wanted in [f"({' or '.join(states)})"] if form.one_filter else states:
            package = f"accessPackage/id eq '{access_package}' and " if access_package else ""
            query = f"$filter={quote(package + wanted)}"
            if form.names:
                query = f"$expand=accessPackage,requestor&{query}"
            elif access_package:  # the form that callers with catalog roles only must use
                query = f"$expand=accessPackage&{query}"
            else:
                query = (
                    f"$select=id,{self._names.state},requestType,{self._names.completed}&{query}"
                )
            url = f"{self._path}?{query}"
            if not form.top or (yield from self._linked(f"{url}&$top={PAGE}", deadline)):
                yield from self._linked(url, deadline)

    def _linked(self, url: str, deadline: Deadline) -> Generator[list[Any], None, bool]:
        """Follow `@odata.nextLink` to the end, and never in a loop.

        Returns whether a `$top` may have cut the list off: whether Graph takes it for the size of
        a page, as elsewhere, or for that of the whole list is not published for this one.
        """
        seen, items = set(), 0
        while url:
            seen.add(url)
            body = self._http.send("GET", url, deadline).body
            if not isinstance(body.get("value"), list):
                raise GraphFailed("Graph answered a list without 'value'")
            items += len(body["value"])
            yield body["value"]
            url = body.get("@odata.nextLink") or ""
            if not isinstance(url, str):
                raise GraphFailed("Graph's nextLink is no text")
            if url in seen:
                raise GraphFailed("Graph's nextLink leads back to a page that was read already")
        return items == PAGE or (len(seen) == 1 and items >= SMALL_PAGE)

    # -- many requests in one call --

    def reprocess_each(
        self, request_ids: Sequence[str], deadline: Deadline, *, batched: bool
    ) -> list[Accepted | GraphError]:
        """Ask Graph once to reprocess each of up to 20 requests; one outcome for each.

        One `$batch`, or with `batched` false a single call for the one request that is given.
        Nothing is tried again here. Raises GraphError when the call failed as a whole.
        """
        answers = self._each("POST", "/reprocess", request_ids, deadline, batched=batched)
        return [a if isinstance(a, GraphError) else self._accepted(a) for a in answers]

    def read_each(
        self, request_ids: Sequence[str], deadline: Deadline, *, batched: bool
    ) -> list[Request | GraphError]:
        """Read each of up to 20 requests, as `reprocess_each` does."""
        answers = self._each("GET", "", request_ids, deadline, batched=batched)
        return [self._read(a, one) for a, one in zip(answers, request_ids, strict=True)]

    def _read(self, answer: Answer | GraphError, request_id: str) -> Request | GraphError:
        if isinstance(answer, GraphError):
            return answer
        try:
            return whole_request(answer.body, self._names, request_id)
        except GraphFailed as error:
            return error

    def _each(
        self,
        method: str,
        action: str,
        request_ids: Sequence[str],
        deadline: Deadline,
        *,
        batched: bool,
    ) -> list[Answer | GraphError]:
        paths = [f"{self._path}/{one}{action}" for one in request_ids]
        if batched:
            return self._batch(method, paths, deadline)
        (path,) = paths
        try:
            return [self._http.send_once(method, path, deadline)]
        except (GraphRefused, GraphDenied) as error:  # a judgement of this one request
            return [error]

    def _batch(
        self, method: str, paths: Sequence[str], deadline: Deadline
    ) -> list[Answer | GraphError]:
        """Carry out the calls in one `$batch`; those answered 401 once more, with a new token."""
        answers = self._batch_once(method, paths, deadline, renew=False)
        late = [
            n for n, one in enumerate(answers) if isinstance(one, GraphDenied) and one.status == 401
        ]
        if not late:
            return answers
        try:
            again = self._batch_once(method, [paths[n] for n in late], deadline, renew=True)
        except GraphError as error:  # it is no word about the others
            again = [error] * len(late)
        renewed = dict(zip(late, again, strict=True))
        return [renewed.get(n, one) for n, one in enumerate(answers)]

    def _batch_once(
        self, method: str, paths: Sequence[str], deadline: Deadline, *, renew: bool
    ) -> list[Answer | GraphError]:
        ids = [str(uuid.uuid4()) for _ in paths]
        items = [batch.item(n, method, path, ids[n]) for n, path in enumerate(paths)]
        try:
            body = {"requests": items}
            outer = self._http.send_once("POST", "/$batch", deadline, body, renew=renew)
        except (GraphRefused, GraphDenied) as error:
            if isinstance(error, GraphDenied) and error.status != 403:
                raise  # there is no token, or it is not accepted: no other call would fare better
            raise BatchNotAccepted(
                error.detail,
                status=error.status,
                code=error.code,
                graph_request_id=error.graph_request_id,
                client_request_id=error.client_request_id,
            ) from error
        found = batch.answers(outer, ids)
        return [self._item(found.get(n), client_id) for n, client_id in enumerate(ids)]

    def _item(self, answer: Answer | None, client_request_id: str) -> Answer | GraphError:
        if answer is None:
            return GraphFailed(
                "Graph's $batch answer lacks this request",
                lost=True,
                client_request_id=client_request_id,
            )
        return answer if answer.ok else self._http.error_from(answer)


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
