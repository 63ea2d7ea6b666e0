"""What tests of the list of failed requests share: requests as Graph lists them, and the route.

Not for: the running app (local_app.py).
"""

from __future__ import annotations

import functools
import json
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

from attempts import Attempts, Memory
from reprocess_http import failures, failures_answer, road
from table import Attempt, Change
from tests.calls import Functions
from tests.scripted import NOW, reply

PACKAGES = [f"aaaaaaaa-0000-4000-8000-{n:012d}" for n in range(10)]


def name_of(number: int) -> str:
    """The id of the request with this number."""
    return f"{number:08x}-0000-4000-8000-000000000000"


def written(at: datetime | None) -> str | None:
    return at.isoformat().replace("+00:00", "Z") if at else None


def failed(number: int = 1, ago: timedelta | None = timedelta(hours=2), **more: Any) -> dict:
    """A failed request as v1.0 lists it, with names."""
    completed = NOW - ago if ago is not None else None
    return {
        "id": name_of(number),
        "requestType": "userAdd",
        "state": "deliveryFailed",
        "status": "DeliveryFailed",
        "createdDateTime": written(NOW - timedelta(days=20)),
        "completedDateTime": written(completed),
        "accessPackage": {"id": PACKAGES[1], "displayName": "Sales Team"},
        "requestor": {"objectId": "o-1", "displayName": "Adele Vance", "email": "adele@x.example"},
        **more,
    }


def lists(*requests: dict, following: str | None = None) -> tuple:
    """One page of Graph's list."""
    return reply(200, {"value": list(requests), "@odata.nextLink": following})


class View(Functions):
    """The route, over a scripted Graph, at a fixed time."""

    def __init__(self, monkeypatch: Any, caplog: Any, *script: Any) -> None:
        super().__init__(monkeypatch, caplog, *script)
        self.store = Memory()
        self.one.attempts = Attempts(self.store, now=lambda: NOW)
        self.time = 0.0
        monkeypatch.setattr(failures_answer, "KEPT", failures.Kept(lambda: self.time))
        at_now = functools.partial(failures.read, now=lambda: NOW)
        monkeypatch.setattr(failures, "read", at_now)

    def tried(self, number: int, count: int, ago: timedelta, **more: Any) -> None:
        """Have the attempts know of a request."""
        row = Attempt(name_of(number), count, NOW - ago, **more)
        self.store.write([Change(row)])

    def get(self, accept: str | None = None, **query: str) -> SimpleNamespace:
        """Call the route; `body` is a document, or text where it is no JSON."""
        self.caplog.clear()
        headers = {} if accept is None else {"accept": accept}
        answer = road.travel(
            failures_answer.FAILURES, self.request(query, b"", "", **headers), self.context
        )
        text = answer.get_body().decode()
        lines = [json.loads(one.message) for one in self.caplog.records if one.name == "redeliver"]
        return SimpleNamespace(
            status=answer.status_code,
            type=answer.mimetype,
            headers={name.lower(): value for name, value in answer.headers.items()},
            body=json.loads(text) if answer.mimetype.endswith("json") else text,
            lines=lines,
        )

    def numbers(self, **query: str) -> list[int]:
        """The numbers of the requests in an answer."""
        return [int(one["requestId"][:8], 16) for one in self.get(**query).body["value"]]
