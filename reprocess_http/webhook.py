"""Webhooks: the request id out of a sender's own payload, and an answer within ten seconds.

Not for: whether the sender may (door.py). Of the payload the id is taken and nothing else:
everything that matters is read from Graph.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from graph import Deadline, GraphFailed, GraphThrottled, GraphTimeout
from reprocess_http import reprocess, strict_json
from reprocess_http.bounded import TookTooLong, within
from settings import is_guid

if TYPE_CHECKING:
    from collections.abc import Callable

    from attempts import Recorder
    from graph import Graph, GraphError
    from reprocess_http.recent import Recent
    from reprocess_http.reprocess import Result

LARGEST_BODY = 256 * 1024  # bytes
GRAPH_SECONDS = 6.0  # for the reprocess; the watch after a lost answer takes five of them
TABLE_SECONDS = 3.0  # for deferring it; together below the ten that senders are promised
SLACK = 0.5  # what Graph's own deadline gets on top, before it is not waited for any more
_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")  # of an array, without leading zeros


class BodyTooLarge(Exception):
    """The body is larger than LARGEST_BODY."""


class NoRequestId(Exception):
    """The body has no request id where it should be; the text says what is there instead."""


def check_size(body: bytes) -> None:
    """Raise BodyTooLarge before anything is spent on this body."""
    if len(body) > LARGEST_BODY:
        raise BodyTooLarge


def request_id(body: bytes, pointer: str) -> str:
    """Return the request id that the JSON Pointer leads to, in lower case. Raises NoRequestId."""
    try:
        document = strict_json.loads(body)
    except ValueError as error:
        raise NoRequestId(
            "The body should be one JSON document in UTF-8, without duplicate keys, NaN or very "
            "deep nesting"
        ) from error
    value = _at(document, pointer)
    if not isinstance(value, str):
        raise NoRequestId(f"At {pointer} should be a string, and there is something else")
    if not is_guid(value):
        raise NoRequestId(f"At {pointer} should be a GUID in 8-4-4-4-12 form")
    return value.lower()


def _at(document: Any, pointer: str) -> Any:  # noqa: ANN401 - JSON is anything
    """Follow a JSON Pointer (RFC 6901). Raises NoRequestId where it leads nowhere.

    `-` is the element after the last one, so it never leads anywhere.
    """
    value = document
    for token in pointer.split("/")[1:]:
        key = token.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict) and key in value:
            value = value[key]
        elif isinstance(value, list) and _INDEX.fullmatch(key) and int(key) < len(value):
            value = value[int(key)]
        else:
            raise NoRequestId(
                f"The body has nothing at {pointer}, where WEBHOOK_REQUEST_ID_POINTER looks"
            )
    return value


def deliver(  # noqa: PLR0913, PLR0917 - one call's inputs
    graph: Graph,
    recorder: Recorder,
    defer: Callable[[str], None],
    recent: Recent,
    wanted: str,
    seconds: float = GRAPH_SECONDS,
) -> Result:
    """Reprocess the wanted request; where Graph gives no answer in time, leave it to the sweep.

    Raises NotReprocessable, GraphError; also when deferring fails, so that the sender tries again.
    """
    deadline = Deadline(seconds)

    def now() -> Result:
        accepted_at = recent.get(wanted)
        if accepted_at:
            result = reprocess.status(graph, wanted, accepted_at, deadline)
            if result.on_its_way:
                detail = "The reprocess was accepted before; nothing more was started."
                return replace(result, outcome="alreadyDelivering", detail=detail)
        return reprocess.reprocess(graph, recorder, recent, wanted, deadline)

    try:
        return within(seconds + SLACK, now)
    except TookTooLong:
        error: GraphError = GraphTimeout("Graph gave no answer in time", lost=True)
    except (GraphThrottled, GraphFailed) as failure:
        error = failure
    try:
        within(TABLE_SECONDS, lambda: defer(wanted))
    except Exception as failure:  # whatever the table says, the sender should hear of Graph
        raise error from failure
    return reprocess.Result(
        "deferred",
        "Graph could not take it now; the next sweep will, without waiting for its cool-down.",
    )
