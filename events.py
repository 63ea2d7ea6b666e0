"""Every log line of the app: its name, its fields, and the one way to write it.

Not for: what the Functions host and the libraries log.

A line is one JSON object: `event`, then the fields that have a value. Fields have the names of the
HTTP answers where they mean the same. What to do about each event is in docs/operations.md.

These are all events with all fields that they may have. A name in angle brackets stands for fields:

    <any>     sweepId
    <http>    requestId status outcome state caller detail reason retryAfterSeconds graphErrorCode
              graphRequestId clientRequestId milliseconds correlationId
    <graph>   graphStatus graphErrorCode detail graphRequestId clientRequestId

    app started               version

    reprocess                 <http>
    reprocess many            <http> count counts dryRun
    status                    <http>
    webhook                   <http>
    diagnosis                 <http> failedChecks
    requests                  <http> count listComplete
    unhandled error           correlationId error

    waiting for graph         seconds attempt <graph>
    batch not accepted        graphStatus detail

    sweep finished            dryRun pastDue found due accepted refused denied failed unknown
                              postponed throttled cooling exhausted expired expiring excluded
                              delivered deliveredAfter delivering other listComplete problem
                              seconds nextSweepAt correlationId
    sweep failed              problem nextSweepAt correlationId
    sweep progress            step done of throttled nextSweepAt
    list incomplete           accessPackageId found remedy <graph>
    reprocess refused         requestId attempt <graph>
    reprocess denied          requestId attempt remedy <graph>
    reprocess failed          requestId attempt <graph>
    attempts exhausted        count requestIds
    window closing            count requestIds
    window closed             count requestIds
    read-back incomplete      missing detail
    notice sent               count
    notice not sent           count error requestIds

    attempts kept in memory   requestId detail
    table created             table
    attempts not written      what count error requestId
    attempt record ignored    requestId detail
"""

from __future__ import annotations

import contextlib
import contextvars
import itertools
import json
import logging
from typing import TYPE_CHECKING

from version import VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator

log = logging.getLogger("redeliver")

INFO, WARNING, ERROR = logging.INFO, logging.WARNING, logging.ERROR

_invocations = itertools.count()
_bound = contextvars.ContextVar[dict[str, object]]("bound", default={})  # noqa: B039 - only read


@contextlib.contextmanager
def event_fields(**fields: object) -> Iterator[None]:
    """Add these fields to every line that is written within, also on threads with our context."""
    token = _bound.set(_bound.get() | fields)
    try:
        yield
    finally:
        _bound.reset(token)


def event(level: int, name: str, *, trace: BaseException | None = None, **fields: object) -> None:
    """Write one line. Fields that are None are left out; `trace` adds its traceback below."""
    known = {key: value for key, value in fields.items() if value is not None}
    log.log(level, json.dumps({"event": name} | _bound.get() | known, default=str), exc_info=trace)


def invocation_began() -> None:
    """Log `app started` within the first invocation of a process: the host drops earlier lines."""
    if next(_invocations) == 0:
        event(INFO, "app started", version=VERSION)
