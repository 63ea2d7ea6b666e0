"""A Graph that answers what a test scripts: a transport below the real `requests` session.

Not for: how Graph behaves (the emulator does that), or sockets (tests/e2e has real ones).
"""

from __future__ import annotations

import base64
import io
import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import requests
from urllib3 import HTTPHeaderDict, HTTPResponse

from deadline import Deadline
from graph import Graph
from settings import load

ID = "7999249e-249e-7999-9e24-99799e249979"
ROOT = "https://graph.microsoft.com/v1.0"
NOW = datetime(2026, 11, 24, 10, tzinfo=UTC)
REQUESTS = ROOT + "/identityGovernance/entitlementManagement/assignmentRequests"


def reply(status: int, body: Any = None, **headers: str) -> tuple[int, bytes, dict[str, str]]:
    """Return a scripted answer; `body` as JSON unless it is bytes."""
    raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    return status, raw, {name.replace("_", "-"): value for name, value in headers.items()}


def entity(state: str = "deliveryFailed", completed: str | None = "2026-08-20T12:00:00.2Z") -> dict:
    """Return a request as v1.0 shows it."""
    return {"id": ID, "requestType": "userAdd", "state": state, "completedDateTime": completed}


class Transport(requests.adapters.BaseAdapter):
    """Plays the script in order: replies, exceptions to raise, or functions that give one.

    Keeps what was sent, and with which time-outs.
    """

    def __init__(self, script: list[Any]) -> None:
        super().__init__()
        self.script = list(script)
        self.sent: list[requests.PreparedRequest] = []
        self.timeouts: list[tuple[float, float]] = []

    def send(self, request, **options):
        assert options["verify"]
        self.sent.append(request)
        self.timeouts.append(options["timeout"])
        step = self.script.pop(0)
        step = step() if callable(step) else step
        if isinstance(step, Exception):
            raise step
        status, raw, headers = step
        answer = HTTPResponse(
            io.BytesIO(raw), HTTPHeaderDict(headers), status, preload_content=False
        )
        return requests.adapters.HTTPAdapter().build_response(request, answer)

    def close(self) -> None:
        """Nothing to close."""


class Credential:
    """Hands out tokens numbered in order, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.roles: list[str] = []

    def get_token(self, scope: str, **options: str) -> SimpleNamespace:
        self.asked.append((scope, options))
        claims = json.dumps({"roles": self.roles}).encode()
        payload = base64.urlsafe_b64encode(claims).decode().rstrip("=")
        return SimpleNamespace(token=f"token-{len(self.asked)}.{payload}.x")


class World:
    """A Graph over a script, its waits recorded instead of slept."""

    def __init__(self, script: list[Any], **environ: str) -> None:
        self.transport = Transport(script)
        self.credential = Credential()
        self.slept: list[float] = []
        self.time = 0.0
        session = requests.Session()
        session.trust_env = False
        session.mount("https://", self.transport)
        session.mount("http://", self.transport)
        self.graph = Graph(
            load(environ), self.credential, session, self.sleep, lambda: 0.0, self.our_clock
        )

    def our_clock(self) -> datetime:
        return NOW + timedelta(seconds=self.time)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds

    def deadline(self, seconds: float = 60) -> Deadline:
        return Deadline(seconds, lambda: self.time)

    @property
    def calls(self) -> list[tuple[str, str]]:
        return [(sent.method, sent.url) for sent in self.transport.sent]
