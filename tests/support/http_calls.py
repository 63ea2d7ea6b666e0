"""Calls of the app's HTTP routes, the service behind them, and callers' credentials.

Not for: Graph's protocol, or the running app.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import azure.functions as func

from graph import Request
from reprocess_http import reprocess_request
from reprocess_http.handler import Route, handle

ID = "7999249e-249e-4999-9e24-99799e249979"
NOW = datetime(2026, 11, 24, 10, tzinfo=UTC)
APP = "11111111-1111-4111-8111-111111111111"
USER = "22222222-2222-4222-8222-222222222222"
ROLE = "Requests.Reprocess"
LONG = "http://schemas.microsoft.com/ws/2008/06/identity/claims/role"
OID = "http://schemas.microsoft.com/identity/claims/objectidentifier"


def failed_request(state: str = "deliveryFailed", at: Any = NOW, **more: Any) -> Request:
    return Request(ID, state, "userAdd", at, **more)


def request(
    query: str = "", body: bytes = b"", request_id: str = ID, path: str = "/api/x", **headers: str
) -> func.HttpRequest:
    """A call as the worker hands it on; `query` as it stands in the URL."""
    return func.HttpRequest(
        "POST",
        f"https://app.example{path}" + (f"?{query}" if query else ""),
        headers={name.replace("_", "-"): value for name, value in headers.items()},
        route_params={"requestId": request_id} if request_id else {},
        body=body,
    )


def call(route: Route, caplog: Any, *given: Any, **more: Any) -> SimpleNamespace:
    """Call a route; return status, type, headers in lower case, body, and its log lines."""
    caplog.set_level("INFO", "redeliver")
    caplog.clear()
    answer = handle(route, request(*given, **more), SimpleNamespace(invocation_id="run-1"))
    text = answer.get_body().decode()
    return SimpleNamespace(
        status=answer.status_code,
        type=answer.mimetype,
        headers={name.lower(): value for name, value in answer.headers.items()},
        body=json.loads(text) if answer.mimetype.endswith("json") else text,
        lines=[json.loads(one.message) for one in caplog.records if one.name == "redeliver"],
    )


class Service:
    """Stands for RequestService: returns or raises one result, and keeps what it was asked."""

    def __init__(self, monkeypatch: Any, result: Any, waited: Any = None) -> None:
        self.result, self.waited = result, waited
        self.asked: list[tuple[Any, ...]] = []
        self.seconds = 0.0
        monkeypatch.setattr(reprocess_request, "request_service", lambda _settings: self)

    def _answer(self, *asked: Any) -> Any:
        *asked, deadline = asked
        self.asked.append(tuple(asked))
        self.seconds = deadline.left()
        if isinstance(self.result, Exception):
            raise self.result
        return self.result

    def reprocess(self, request_id, by, deadline, *, promise=False):
        return self._answer("reprocess", request_id, by, promise, deadline)

    def would_reprocess(self, request_id, deadline):
        return self._answer("would_reprocess", request_id, deadline)

    def status(self, request_id, accepted_at, deadline):
        return self._answer("status", request_id, accepted_at, deadline)

    def wait_for_completion(self, request_id, result, seconds, deadline):
        del request_id, deadline
        self.asked.append(("wait", seconds))
        return self.waited or result


# -- callers --


def principal(*claims: tuple[Any, Any], **more: Any) -> dict[str, str]:
    """The header of a principal as App Service writes it."""
    listed = [{"typ": name, "val": value} for name, value in claims]
    whole = {"auth_typ": "aad", "claims": listed, "name_typ": "name", "role_typ": LONG} | more
    return principal_header(json.dumps(whole))


def principal_header(text: str | bytes) -> dict[str, str]:
    raw = text if isinstance(text, bytes) else text.encode()
    return {"x-ms-client-principal": base64.b64encode(raw).decode()}


def hub(body: bytes, secret: str, name: str = "x-hub-signature") -> dict[str, str]:
    """The header of a signature in WebSub's or GitHub's form."""
    return {name: "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}
