"""Webhooks: the request id out of a sender's own payload, and an answer within ten seconds.

Not for: whether the sender may (door.py). Of the payload the id is taken and nothing else:
everything that matters is read from Graph.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from deadline import Deadline, TookTooLong, bounded
from events import WARNING, event
from reprocess_http import strict_json
from reprocess_http.lately import STALE_FOR
from reprocess_http.one_request import RECORD_SECONDS, Result
from reprocess_http.problems import LOST, BodyTooLarge, NoRequestId, NotNow, TimedOut
from settings import is_guid

if TYPE_CHECKING:
    from reprocess_http.one_request import Deliveries

LARGEST_BODY = 256 * 1024  # bytes
# Together below the ten seconds that senders are promised.
GRAPH_SECONDS = 6.0  # for the reprocess; the watch after a lost answer takes half of them
SLACK_SECONDS = 0.5  # what Graph's own deadline gets on top, before it is not waited for any more
TABLE_SECONDS = 2.0  # for deferring it
_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")  # of an array, without leading zeros


def check_size(body: bytes) -> None:
    """Raise BodyTooLarge before anything is spent on this body."""
    if len(body) > LARGEST_BODY:
        raise BodyTooLarge(f"A body may have {LARGEST_BODY // 1024} KiB at most.")


def request_id(body: bytes, pointer: str) -> str:
    """Return the request id that the JSON Pointer leads to, in lower case. Raises NoRequestId."""
    try:
        document = strict_json.loads(body)
    except ValueError as error:
        raise NoRequestId(
            "The body should be one JSON document in UTF-8, without duplicate keys, NaN or very "
            "deep nesting."
        ) from error
    value = _at(document, pointer)
    if not isinstance(value, str):
        raise NoRequestId(f"At {pointer} should be a string, and there is something else.")
    if not is_guid(value):
        raise NoRequestId(f"At {pointer} should be a GUID in 8-4-4-4-12 form.")
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
                f"The body has nothing at {pointer}, where WEBHOOK_REQUEST_ID_POINTER looks."
            )
    return value


def deliver(deliveries: Deliveries, wanted: str, seconds: float = GRAPH_SECONDS) -> Result:
    """Reprocess the wanted request; where Graph gives no answer in time, leave it to the sweep.

    Senders repeat a webhook: what was accepted of late is not sent again while it is on its way.
    `seconds` are for Graph. Raises Problem; also when it cannot be left to the sweep, so that the
    sender tries again.
    """
    deadline = Deadline(seconds)
    try:
        return bounded(
            seconds + SLACK_SECONDS + RECORD_SECONDS,
            lambda: deliveries.reprocess(wanted, deadline, STALE_FOR),
        )
    except TookTooLong:
        problem: NotNow = TimedOut(f"Graph gave no answer in time. {LOST}")
    except NotNow as error:
        problem = error
    table_deadline = Deadline(TABLE_SECONDS)
    try:
        bounded(TABLE_SECONDS, lambda: deliveries.attempts.defer(wanted, table_deadline))
    except Exception as error:  # whatever the table says, the sender should hear of Graph
        kind = type(error).__name__
        event(WARNING, "attempts not written", what="defer", count=1, error=kind)
        raise problem from error
    return Result(
        "deferred",
        "Graph could not take it now; the next sweep will, without waiting for its cool-down.",
    )
