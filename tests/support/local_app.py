"""The whole app in the local host, beside an emulated Graph, as processes of their own.

For: what tests ask of it, and checks of whole answers. The fixtures are in conftest.py.
"""

from __future__ import annotations

import itertools
import json
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from emulator.run import Local

# The counts of a sweep in which nothing had failed.
ZERO = dict.fromkeys(
    (
        *("found", "due", "accepted", "refused", "denied", "failed", "unknown", "postponed"),
        *("cooling", "exhausted", "expired", "expiring", "excluded"),
        *("delivered", "delivering", "other", "throttled"),
    ),
    0,
)
_numbers = itertools.count()


def ago(**delta: float) -> str:
    """Return the time so long ago, as Graph writes it."""
    return (datetime.now(UTC) - timedelta(**delta)).isoformat().replace("+00:00", "Z")


def counts(report: dict[str, Any]) -> dict[str, int]:
    """Return the counts in a line `sweep finished`."""
    return {name: value for name, value in report.items() if name in ZERO}


@dataclass
class Reply:
    """An answer of the app; the body is read where it is JSON, else text, or None without one."""

    status: int
    headers: dict[str, str]
    body: Any


class App(Local):
    """The local app with what the tests ask of it."""

    def call(
        self,
        method: str,
        path: str,
        key: str | None = None,
        body: bytes | None = None,
        **headers: str,
    ) -> Reply:
        import http.client

        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=90)
        given = {"x-functions-key": self.function_key if key is None else key, **headers}
        connection.request(method, path, body, given)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        names = {name.lower(): value for name, value in answer.getheaders()}
        is_json = "json" in names.get("content-type", "")
        return Reply(answer.status, names, json.loads(text) if is_json else text or None)

    def line(self, event: str, reply: Reply) -> dict[str, Any]:
        """Return the one log line of an event about a reply, which may come after the reply."""
        own = reply.headers["x-correlation-id"]
        for _ in range(100):
            found = [one for one in self.logged(event) if one["correlationId"] == own]
            if found:
                break
            time.sleep(0.05)
        (line,) = found
        return line

    def reprocess(self, request_id: str, query: str = "") -> Reply:
        return self.call("POST", f"/api/requests/{request_id}/reprocess{query}")

    def put(self, *requests: dict[str, Any]) -> None:
        self.control("POST", "requests", {"requests": list(requests)})

    def failures(self, count: int, **fields: Any) -> list[str]:
        """Put failed requests, two hours old, into the tenant; return their ids."""
        start = 0xF << 124 | 4 << 76 | 8 << 60
        ids = [str(uuid.UUID(int=start | next(_numbers))) for _ in range(count)]
        old = {"completedDateTime": ago(hours=2), "deliverySeconds": 0}
        self.put(*({"id": one, **old, **fields} for one in ids))
        return ids

    def fault(self, on: str, kind: str, **more: Any) -> None:
        self.control("POST", "faults", {"on": on, "kind": kind, **more})

    def calls(self, operation: str) -> list[dict[str, Any]]:
        log = self.control("GET", "log")["log"]
        return [entry for entry in log if entry["operation"] == operation]


# -- checks of whole answers --


def new(app: App, **fields: Any) -> str:
    """Put one request into the emulated tenant and return its id."""
    request_id = str(uuid.UUID(int=0xE << 124 | 4 << 76 | 8 << 60 | next(_numbers)))
    app.put({"id": request_id, **fields})
    return request_id


def problem(reply: Reply, name: str, status: int, request_id: str | None, **more: Any) -> str:
    """Assert that a reply is this whole problem, and return its detail."""
    body = dict(reply.body)
    detail, title = body.pop("detail"), body.pop("title")
    for member in ("graphRequestId", "clientRequestId", "graphErrorCode"):
        body.pop(member, None)
    assert {
        "type": f"urn:redeliver:problem:{name}",
        "status": status,
        "instance": reply.headers["x-correlation-id"],
        **({"requestId": request_id} if request_id else {}),
        **more,
    } == body
    assert (status, "application/problem+json") == (reply.status, reply.headers["content-type"])
    assert title
    return str(detail)


def accepted(
    app: App, reply: Reply, request_id: str, outcome: str = "accepted", state: str | None = None
) -> str:
    """Assert that a reply is this whole 202, and return the path of its Location."""
    body = dict(reply.body)
    at = body.pop("acceptedAt", None)
    query = f"?acceptedAt={at.replace(':', '%3A')}" if at else ""
    location = f"{app.url}/api/requests/{request_id}{query}"
    assert body.pop("detail")
    assert {
        "requestId": request_id,
        "outcome": outcome,
        "statusUrl": location,
        "correlationId": reply.headers["x-correlation-id"],
        **({"state": state} if state else {}),
    } == body
    assert (202, location, "30") == (
        reply.status,
        reply.headers["location"],
        reply.headers["retry-after"],
    )
    return location.removeprefix(app.url)


# -- between tests --


def quiet(app: App) -> None:
    """Leave nothing failed but what the test puts there."""
    app.control("DELETE", "requests")
    fresh(app)


def fresh(app: App) -> None:
    """Leave no fault, log or odd setting of the test before."""
    app.control("DELETE", "faults")
    app.control("DELETE", "log")
    app.control("DELETE", "settings")
    app.control("PATCH", "settings", {"deliverySeconds": 0.3, "staleSeconds": 0})
