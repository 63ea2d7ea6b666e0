"""Every log line of the app: its name, its fields, and the one way to write it.

Not for: what the Functions host and the libraries log.

A line is one JSON object: `event`, then the fields that have a value. Names of fields are those of
the HTTP answers where they mean the same. What each event asks of a person is in
docs/operations.md.
"""

from __future__ import annotations

import json
import logging

log = logging.getLogger("redeliver")

INFO, WARNING, ERROR = logging.INFO, logging.WARNING, logging.ERROR

# What a line about one call to Graph has.
_CALL = "graphStatus graphErrorCode detail graphRequestId clientRequestId"
# What a line about one HTTP call to the app has.
_HTTP = (
    "requestId status outcome state caller workflowRunId detail reason retryAfterSeconds "
    "graphErrorCode graphRequestId clientRequestId milliseconds correlationId"
)
# Every event, and the fields that it may have.
EVENTS: dict[str, str] = {
    # one HTTP call
    "reprocess": _HTTP,
    "status": _HTTP,
    "webhook": _HTTP,
    "diagnosis": _HTTP + " failedChecks",
    "requests": _HTTP + " count listComplete",
    "unforeseen error": "correlationId error",
    # Graph
    "waiting for graph": "seconds attempt " + _CALL,
    # one sweep
    "sweep finished": "sweepId dryRun pastDue found due accepted refused failed cooling exhausted "
    "expired expiring excluded postponed delivered deliveredAfter delivering other throttled "
    "listComplete problem seconds correlationId",
    "sweep failed": "problem correlationId",
    "sweep progress": "step done of throttled perSecond secondsLeft",
    "list broken off": "accessPackageId found remedy " + _CALL,
    "reprocess refused": "requestId attempt " + _CALL,
    "reprocess failed": "requestId attempt remedy " + _CALL,
    "given up": "count requestIds",
    "window closing": "count requestIds",
    "window closed": "count requestIds",
    "batch not accepted": "graphStatus detail",
    "another sweep is under way": "sweepId",
    "notice sent": "count",
    "notice not sent": "count error",
    "read-back not whole": "missing detail",
    # the attempts
    "attempts are kept in memory": "detail",
    "table created": "table",
    "attempts not written": "what count error",
    "attempt not recorded": "requestId error",
}


def event(level: int, name: str, *, trace: BaseException | None = None, **fields: object) -> None:
    """Write one line. Fields that are None are left out; `trace` adds its traceback below."""
    line = {"event": name} | {key: value for key, value in fields.items() if value is not None}
    log.log(level, json.dumps(line, default=str), exc_info=trace)
