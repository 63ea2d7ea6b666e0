"""What the app does, one operation each: how it is made ready, done, and what comes after it.

Not for: the faults (faulty.py), or what must hold (matrix.py).
"""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from planning.view import iso
from reprocess_http.diagnosis import DIAGNOSIS
from reprocess_http.failed_requests import FAILED_REQUESTS
from reprocess_http.reprocess_request import REPROCESS, STATUS
from reprocess_http.webhook import WEBHOOK
from tests.faults.world import HTTP_BUDGET, SWEEP_BUDGET

if TYPE_CHECKING:
    from collections.abc import Callable

COUNTS = ("accepted", "refused", "denied", "failed", "unknown", "postponed")
SWEEP_SECONDS = SWEEP_BUDGET + 50
# Where a fault can be: the peer, and which of the calls to it.
TARGETS = {
    "post": ("graph", r"POST .*/reprocess"),
    "batch": ("graph", r"POST .*/\$batch"),
    "get": ("graph", r"GET .*equests/[0-9a-f-]{36}$"),
    "list": ("graph", r"GET .*\$filter"),
    "identity": ("identity", ""),
    "table": ("table", ""),
    "table: reads": ("table", "GET "),
    "table: writes": ("table", "POST |PUT |PATCH |MERGE "),
    "receiver": ("receiver", ""),
}


class Operation(NamedTuple):
    """One operation; it may take so many `seconds`, and meets faults at its `targets`.

    `ready` puts what is needed into the tenant and returns the ids. `run` does it and returns what
    the caller or the log sees. `afterwards` does, with the fault gone, what a caller or the timer
    does next; None: there is nothing that could be lost.
    """

    name: str
    targets: tuple[str, ...]
    ready: Callable
    run: Callable
    afterwards: Callable | None
    seconds: float


def failures(count, days=0.1):
    """Put requests that failed so many days ago into the tenant."""

    def ready(world):
        at = iso(world.clock.now() - timedelta(days=days))
        return world.put(count, completedDateTime=at, createdDateTime=at)

    return ready


def call(route, *, signed=False):
    """Call a route about the first request, by its id or in a signed body."""

    def run(world, ids):
        signed_body = json.dumps({"requestId": ids[0]}).encode() if signed else b""
        return in_short(world.call(route, ids[0], signed_body))

    return run


def in_short(body):
    """Return the status of an answer, and its outcome, its problem, or what it lists."""
    name = body.get("type", "").removeprefix("urn:redeliver:problem:") or body.get("outcome")
    if "value" in body:
        name = f"{len(body['value'])} listed{'' if body['listComplete'] else ', incomplete'}"
    if "checks" in body:
        failed = [check["name"] for check in body["checks"] if "remedy" in check]
        name = ", ".join(failed) or "ok"
    return f"{body['code']} {name}"


def sweep(world, _ids):
    report = world.sweep()
    counts = ", ".join(f"{report[name]} {name}" for name in COUNTS if report.get(name))
    problem = re.split(r": |, so | \(", report.get("problem", ""))[0]
    return f"{counts or 'nothing tried'}{f'; fails: {problem}' if problem else ''}"


def notice(world, _ids):
    problem = world.sweep().get("problem")
    taken = any(line["event"] == "notice sent" for _, line in world.lines.events)
    return f"notice {'taken' if taken else 'not taken'}{f'; fails: {problem}' if problem else ''}"


def ask_again(world, ids):
    """Ask at once, and once more when an attempt that may have arrived is five minutes old."""
    for minutes in (0, 6):
        world.clock.wait(minutes * 60)
        world.call(REPROCESS, ids[0])


def sweep_again(world, _ids):
    """Run the next sweep at once, and one after every cool-down."""
    for hours in (0, 3):
        world.clock.wait(hours * 3600)
        world.sweep()


OPERATIONS = (
    Operation("reprocess", ("post", "identity", "table"), failures(1), call(REPROCESS), ask_again, HTTP_BUDGET),
    Operation("webhook", ("post", "identity", "table"), failures(1), call(WEBHOOK, signed=True), sweep_again, 9),
    Operation("status", ("get", "identity", "table"), failures(1), call(STATUS), None, HTTP_BUDGET),
    Operation("list", ("list", "identity", "table"), failures(3), call(FAILED_REQUESTS), None, HTTP_BUDGET),
    Operation("diagnosis", ("list", "identity", "table"), failures(3), call(DIAGNOSIS), None, 25),
    Operation("sweep", ("list", "batch", "identity", "table: reads", "table: writes"), failures(3), sweep,
              sweep_again, SWEEP_SECONDS),
    Operation("notice", ("receiver",), failures(1, days=15), notice, sweep_again, SWEEP_SECONDS),
)  # fmt: skip
