"""Send one call to Microsoft Graph, or up to 20 as one `$batch`, and return the outcome of each.

Not for: which calls there are (calls.py), or what to do about an outcome.

The access token goes to the Graph root and nowhere else: the session follows no redirect and knows
no proxy and no .netrc, and every nextLink is checked. A POST is sent once, and once more with a new
token where Graph answered 401; only `get` retries.
https://learn.microsoft.com/graph/json-batching, https://learn.microsoft.com/graph/throttling
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote

from urllib3.exceptions import HTTPError

from events import INFO, WARNING, event
from graph.outcome import (
    RETRIED,
    Answer,
    GraphError,
    GraphFailed,
    GraphThrottled,
    GraphTimeout,
    Outcome,
    error_from,
    error_of,
    http_date,
    lower,
    read_body,
)
from graph.request import object_of
from session import bounded_by
from settings import Settings, new_id

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    import requests

    from deadline import Deadline
    from graph.tokens import Tokens

SEND_SECONDS = 30.0  # longest `send`: token, repeat with a new token, single calls for a batch
ATTEMPTS = 5  # of a GET that fails; one that is throttled goes on while there is time
LONGEST_BACKOFF = 30.0  # seconds, of waits of our own choosing
LOGGED_WAIT = 5.0  # seconds; longer waits are logged


class Call(NamedTuple):
    """One call, by its path below the API version."""

    method: str
    path: str


BATCH = Call("POST", "/$batch")
# Of a batch some of which was throttled, by https://learn.microsoft.com/graph/throttling; seen was
# 200 (https://github.com/microsoftgraph/microsoft-graph-docs-contrib/issues/8883).
PARTLY_FAILED = 424


class Client:
    """Calls one version of Graph; safe to use from several threads."""

    def __init__(  # noqa: PLR0913, PLR0917 - what can be passed in
        self,
        settings: Settings,
        tokens: Tokens,
        session: requests.Session,
        sleep: Callable[[float], None],
        jitter: Callable[[], float],
        now: Callable[[], datetime],
    ) -> None:
        """Send calls below the Graph root and version of the settings."""
        self._scoped = bool(settings.sweep_access_packages)
        self._tokens = tokens
        self._session = session
        self._sleep, self._jitter, self._now = sleep, jitter, now
        self._root = f"{settings.graph_root}/{settings.graph_api_version}"
        origin, version = re.escape(settings.graph_root), re.escape(settings.graph_api_version)
        self._below_root = re.compile(f"{origin}(?::443)?/{version}(/.*)", re.IGNORECASE)
        self._batches = settings.graph_batch_size > 1  # until Graph does not take one
        self._batch_proven = False  # whether what a batch refuses is believed

    def get(self, path: str, deadline: Deadline) -> Answer:
        """Send a GET to a path or a nextLink, retrying within the deadline. Raises GraphError.

        Waits for `Retry-After`, and at least twice as long as before where that was too short
        (https://github.com/microsoftgraph/msgraph-sdk-javascript/issues/297: always 1).
        """
        call = Call("GET", self._path(path))
        wait, failures, attempt = 0.0, 0, 0
        while True:
            attempt += 1
            (outcome,) = self.send([call], deadline)
            if isinstance(outcome, Answer):
                return outcome
            failures += outcome.status != 429
            wait = max(outcome.retry_after or 0.0, min(2 * wait, LONGEST_BACKOFF)) or 1.0
            pause = wait + self._jitter()
            if not _may_pass(outcome) or failures == ATTEMPTS or pause >= deadline.left():
                raise outcome
            if pause >= LOGGED_WAIT:
                fields = outcome.fields() | {"seconds": round(pause, 1), "attempt": attempt}
                event(INFO, "waiting for graph", **fields)
            self._sleep(pause)

    def send(self, calls: Sequence[Call], deadline: Deadline) -> list[Outcome]:
        """Send up to 20 calls, several as one `$batch`; return one outcome for each, in order.

        Where batches are not taken, the calls are sent one by one. Ends with the deadline, and
        after SEND_SECONDS at the latest; calls that were not sent by then are `never_sent`.
        """
        deadline = deadline.within(SEND_SECONDS)
        outcomes = self._send(calls, deadline, renew=False)
        expired = [n for n, one in enumerate(outcomes) if one.status == 401]
        asked = next((one for one in outcomes if isinstance(one, GraphThrottled)), None)
        if expired and asked:
            for n in expired:
                outcomes[n] = _not_sent(asked)
        elif expired:
            again = self._send([calls[n] for n in expired], deadline, renew=True)
            for n, outcome in zip(expired, again, strict=True):
                outcomes[n] = outcome
        return outcomes

    def _send(self, calls: Sequence[Call], deadline: Deadline, *, renew: bool) -> list[Outcome]:
        try:
            token = self._tokens.get(deadline, renew=renew)
        except GraphError as error:
            return [error] * len(calls)
        if len(calls) > 1 and self._batches:
            return self._batch(calls, token, deadline)
        return self._one_by_one(calls, token, deadline)

    def _one_by_one(self, calls: Sequence[Call], token: str, deadline: Deadline) -> list[Outcome]:
        """Send calls one after the other; once Graph asks to wait, the rest is not sent."""
        outcomes: list[Outcome] = []
        for call in calls:
            if outcomes and isinstance(outcomes[-1], GraphThrottled):
                outcomes.append(_not_sent(outcomes[-1]))
            else:
                outcomes.append(self._exchange(call, token, deadline))
        return outcomes

    # -- $batch --

    def _batch(self, calls: Sequence[Call], token: str, deadline: Deadline) -> list[Outcome]:
        ids = [new_id() for _ in calls]
        items = [_item(n, call, ids[n]) for n, call in enumerate(calls)]
        outer = self._exchange(BATCH, token, deadline, {"requests": items})
        if isinstance(outer, Answer) and not isinstance(outer.body.get("responses"), list):
            outer = outer.unusable("Graph's $batch answer has no list of responses")
        if isinstance(outer, GraphError):
            if outer.outcome_unknown and (outer.status or 500) < 500:  # it cannot be read
                self._stop_batches(outer)
            elif _is_refusal(outer):
                self._stop_batches(outer)
                return self._one_by_one(calls, token, deadline)
            return [outer] * len(calls)
        by_id = {str(one.get("id")): one for one in map(object_of, outer.body["responses"])}
        outcomes = [
            self._item_outcome(by_id.get(str(n), {}), outer, call, ids[n])
            for n, call in enumerate(calls)
        ]
        if not self._batch_proven:
            return self._proven(calls, outcomes, token, deadline)
        return outcomes

    def _proven(
        self, calls: Sequence[Call], outcomes: list[Outcome], token: str, deadline: Deadline
    ) -> list[Outcome]:
        """Before it is believed that the first batch was refused whole, send one of it alone."""
        errors = [one for one in outcomes if isinstance(one, GraphError)]
        self._batch_proven = len(errors) < len(outcomes)
        alike = len({(one.status, one.code) for one in errors}) == 1 and _is_refusal(errors[0])
        if self._batch_proven or not alike:
            return outcomes
        alone = self._exchange(calls[0], token, deadline)
        if isinstance(alone, Answer):
            self._stop_batches(errors[0])
            return [alone, *self._one_by_one(calls[1:], token, deadline)]
        self._batch_proven = (alone.status, alone.code) == (errors[0].status, errors[0].code)
        if self._batch_proven:
            return [alone, *outcomes[1:]]
        not_sent = GraphFailed("not sent, because it is not known whether Graph takes a $batch")
        return [alone, *[not_sent] * (len(calls) - 1)]

    def _stop_batches(self, reason: GraphError) -> None:
        if self._batches:
            self._batches = False
            event(WARNING, "batch not accepted", graphStatus=reason.status, detail=reason.detail)

    def _item_outcome(
        self, item: dict[str, Any], outer: Answer, call: Call, client_request_id: str
    ) -> Outcome:
        status = item.get("status")
        if not isinstance(status, int):
            detail = "Graph's $batch answer lacks this request"
            return GraphFailed(detail, outcome_unknown=True, client_request_id=client_request_id)
        shared = {k: v for k, v in outer.headers.items() if k in {"date", "retry-after"}}
        headers = shared | lower(item.get("headers"))
        return self._outcome(call, status, headers, item.get("body"), client_request_id)

    # -- one exchange --

    def _exchange(
        self, call: Call, token: str, deadline: Deadline, body: dict[str, Any] | None = None
    ) -> Outcome:
        """Send a call once."""
        if deadline.left() <= 0:
            return GraphTimeout("no time was left to send this call")
        client_request_id = new_id()
        headers = {
            "Authorization": f"Bearer {token}",
            "client-request-id": client_request_id,
            "Accept": "application/json",
            "Prefer": "include-unknown-enum-members",
        }
        try:
            with (
                bounded_by(deadline),
                self._session.request(
                    call.method,
                    self._root + call.path,
                    headers=headers,
                    json=body,
                    timeout=deadline.left() + 0.001,  # the session keeps to the deadline itself
                    allow_redirects=False,
                    stream=True,
                ) as response,
            ):
                content = read_body(response)
        except (OSError, HTTPError, ValueError) as error:  # requests' errors are OSErrors
            return error_from(error, client_request_id)
        found = lower(dict(response.headers))
        return self._outcome(call, response.status_code, found, content, client_request_id)

    def _path(self, url: str) -> str:
        """Return the path of a nextLink below our root, which is what is sent. Raises GraphFailed.

        Dot segments would be resolved before it is sent, encoded ones too.
        """
        found = self._below_root.fullmatch(url)
        path = found[1] if found else url
        if not path.startswith("/") or ".." in unquote(path.partition("?")[0]):
            raise GraphFailed("Graph's nextLink leaves the Graph root; it was not followed")
        return path

    def _outcome(
        self, call: Call, status: int, headers: dict[str, str], body: object, client_request_id: str
    ) -> Outcome:
        """Return what an answer means. A success that cannot be read says nothing."""
        at = http_date(headers.get("date", "")) or self._now()
        answer = Answer(status, headers, body, at, client_request_id)
        if 200 <= status < 300 or (call is BATCH and status == PARTLY_FAILED):
            needs_object = call.method == "GET" or call is BATCH
            if isinstance(body, bytes) or (needs_object and not isinstance(body, dict)):
                return answer.unusable("Graph's answer is not the JSON object expected")
            return answer
        return error_of(answer, self._now(), self._tokens.claims.roles or (), scoped=self._scoped)


def _item(number: int, call: Call, client_request_id: str) -> dict[str, Any]:
    """Return a call as an item of a `$batch`; a POST needs a body and its type even when empty."""
    headers = {"client-request-id": client_request_id}
    item = {"id": str(number), "method": call.method, "url": call.path, "headers": headers}
    if call.method == "POST":
        headers["Content-Type"] = "application/json"
        item["body"] = {}
    return item


def _not_sent(asked: GraphThrottled) -> GraphThrottled:
    """Return the outcome of a call that is held back for the wait that Graph asked for."""
    return GraphThrottled("not sent, because Graph asks to wait", retry_after=asked.retry_after)


def _is_refusal(outcome: Outcome) -> bool:
    """Whether Graph judged the call, and would judge it alike with another token or later."""
    return 400 <= (outcome.status or 0) < 500 and outcome.status not in {401, 429}


def _may_pass(error: GraphError) -> bool:
    """Whether a GET that failed like this is worth another attempt."""
    passing = error.status is None or error.status < 300 or error.status in RETRIED
    return passing and isinstance(error, GraphThrottled | GraphFailed)
