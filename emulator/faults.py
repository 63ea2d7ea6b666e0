"""Things that go wrong on demand: on which calls, how often, and how.

For: what comes now and then, such as a dropped connection or one request that is always refused.
Not for: how Graph is in general; that is a switch (switches.py).

`on`: which calls: an operation, `batch` for a whole $batch, or `any` of these; or `token`.
`kind`:
    status              an error of this `status`, `code`, `message` and `retryAfter`: for a call,
                        an item of a $batch, or a token
    html, empty, garbage  a body that is no JSON, with this `status`
    dropAfter           no answer: it was carried out, and the connection is closed
    silence             no answer: the connection stays open
`after`: the call is carried out nevertheless. `times`: so many are met, -1: all. `requestId`: only
calls about this request.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from emulator.checks import (
    BOOL,
    GUID,
    STATUS,
    TEXT,
    Check,
    Wrong,
    checked,
    is_int,
    is_number,
    one_of,
)

CHECKS = {
    "on": one_of("reprocess", "read", "list", "batch", "token", "any"),
    "kind": one_of("status", "html", "empty", "garbage", "dropAfter", "silence"),
    "requestId": GUID,
    "times": Check(
        "-1 (for ever) or a whole number, 1 or more", lambda v: is_int(v) and (v == -1 or v >= 1)
    ),
    "status": STATUS,
    "code": TEXT,
    "message": TEXT,
    "retryAfter": Check("a text or a number", lambda v: is_number(v) or isinstance(v, str)),
    "after": BOOL,
}


@dataclass(slots=True)
class Fault:
    """One thing that goes wrong, on the next calls it fits."""

    on: str
    kind: str
    request_id: str | None = None
    times: int = 1
    status: int | None = None
    code: str | None = None
    message: str | None = None
    retry_after: str | float | None = None
    after: bool = False

    def fits(self, operation: str, request_id: str | None, in_batch: bool) -> bool:
        """Tell whether it falls on this call; only a status falls on an item of a $batch."""
        if self.request_id is not None and self.request_id.lower() != request_id:
            return False
        if in_batch:
            return self.on == operation and self.kind == "status"
        return self.on == operation or (self.on == "any" and operation != "token")


def fault_from(given: Any) -> Fault:
    """Make a fault of JSON. Raises Wrong."""
    checked(given, CHECKS, "fault")
    if "on" not in given or "kind" not in given:
        raise Wrong("fault needs on and kind")
    if given["on"] == "token" and given["kind"] != "status":
        raise Wrong("fault on token: 'kind' must be status")
    return Fault(**{re.sub("[A-Z]", r"_\g<0>", name).lower(): given[name] for name in given})


@dataclass(slots=True)
class Faults:
    """All faults that were asked for, in order."""

    waiting: list[Fault] = field(default_factory=list)

    def take(self, operation: str, request_id: str | None, in_batch: bool = False) -> Fault | None:
        """Return the first fault that fits this call, used up by one."""
        for fault in self.waiting:
            if not fault.fits(operation, request_id, in_batch):
                continue
            if fault.times > 0:
                fault.times -= 1
                if fault.times == 0:
                    self.waiting.remove(fault)
            return fault
        return None
