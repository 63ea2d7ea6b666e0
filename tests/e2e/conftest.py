"""The whole app in the local host, beside an emulated Graph, as processes of their own."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest

from emulator.run import Local

FAILED = "e0000000-0000-4000-8000-00000000000{}".format


@dataclass
class Reply:
    """An answer of the app."""

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
        raw = answer.read()
        connection.close()
        names = {name.lower(): value for name, value in answer.getheaders()}
        return Reply(answer.status, names, json.loads(raw) if raw else None)

    def reprocess(self, request_id: str, query: str = "") -> Reply:
        return self.call("POST", f"/api/requests/{request_id}/reprocess{query}")

    def put(self, *requests: dict[str, Any]) -> None:
        self.control("POST", "requests", {"requests": list(requests)})

    def fault(self, on: str, kind: str, **more: Any) -> None:
        self.control("POST", "faults", {"on": on, "kind": kind, **more})

    def calls(self, operation: str) -> list[dict[str, Any]]:
        log = self.control("GET", "log")["log"]
        return [entry for entry in log if entry["operation"] == operation]


def quiet(app: App) -> None:
    """Leave nothing failed but what the test puts there."""
    shown = app.control("GET", "showcase")["showcase"]
    app.put(*({"id": one["id"], "state": "delivered"} for one in shown))
    fresh(app)


def fresh(app: App) -> None:
    """Leave no fault, log or odd setting of the test before."""
    app.control("DELETE", "faults")
    app.control("DELETE", "log")
    app.control(
        "PATCH",
        "settings",
        {
            "throttle": None,
            "latencyMs": 0,
            "identityLatencyMs": 0,
            "deliverySeconds": 0.3,
            "staleSeconds": 0,
            "pageSize": 100,
            "batchSupported": True,
            "combinedFilterSupported": True,
            "roles": ["EntitlementManagement.ReadWrite.All"],
            "licensed": True,
        },
    )


@pytest.fixture(scope="session")
def running():
    settings = {
        "HTTP_BUDGET_SECONDS": "12",
        "SWEEP_SCHEDULE": "0 0 0 1 1 *",
        "SWEEP_BUDGET_SECONDS": "30",
    }
    with App(settings=settings, graph_options=("--requests", "0")) as app:
        yield app


@pytest.fixture
def app(running):
    fresh(running)
    return running


LINK_SECRET = "link-secret-for-tests-0123456789"
HOOK_SECRETS = ("newest-secret-for-tests-01234", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
CALLERS = {
    "HTTP_BUDGET_SECONDS": "12",
    "SWEEP_SCHEDULE": "0 0 0 1 1 *",
    "SWEEP_MIN_AGE_MINUTES": "0",
    "STATUS_LINK_SECRET": LINK_SECRET,
    "STATUS_RETRY_AFTER_SECONDS": "1",
    "WEBHOOK_SECRETS": ",".join(HOOK_SECRETS),
}
EASY_AUTH = {"HTTP_AUTH_LEVEL": "anonymous", "WEBSITE_AUTH_ENABLED": "True"}


def started(settings):
    """An app of its own with these settings."""
    with App(settings=settings, graph_options=("--requests", "0")) as app:
        yield app


@pytest.fixture(scope="session")
def _linked():
    yield from started(CALLERS)


@pytest.fixture
def linked(_linked):
    """The app with webhooks and status links, behind function keys."""
    fresh(_linked)
    return _linked


@pytest.fixture(scope="session")
def _guarded():
    yield from started(CALLERS | EASY_AUTH)


@pytest.fixture
def guarded(_guarded):
    """The same behind App Service authentication."""
    fresh(_guarded)
    return _guarded


@pytest.fixture(scope="session")
def unguarded():
    """`anonymous`, and nothing else configured."""
    yield from started({"HTTP_AUTH_LEVEL": "anonymous", "SWEEP_SCHEDULE": "0 0 0 1 1 *"})
