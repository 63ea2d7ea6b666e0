"""What tests of HTTP calls share: one request over a scripted Graph, calls of the app, signatures.

Not for: Graph's answers themselves (scripted.py), or the app as a process (e2e/conftest.py).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import json
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import azure.functions as func

from attempts import Attempts, Memory
from reprocess_http import lately, one_request, problems, road
from tests.scripted import ID, NOW, World, entity, reply

# -- one request --


def date(at: datetime) -> str:
    """A time as HTTP headers have it."""
    return at.strftime("%a, %d %b %Y %H:%M:%S GMT")


def accepts(at: datetime = NOW, **more: str) -> tuple:
    """Graph's answer to a reprocess that it takes on."""
    return reply(202, date=date(at), **more)


def refuses(code: str = "Busy", message: str = "Still retrying.", status: int = 400) -> tuple:
    return reply(status, {"error": {"code": code, "message": message}})


def shows(state: str = "deliveryFailed", completed: datetime | None = NOW) -> tuple:
    """Graph's answer to a read; it failed an hour ago unless told otherwise."""
    at = completed - timedelta(hours=1) if completed is NOW else completed
    return reply(200, entity(state, at.isoformat().replace("+00:00", "Z") if at else None))


class One:
    """One request, reprocessed over a scripted Graph; the attempts are in memory."""

    def __init__(self, *script: Any, table: Any = None) -> None:
        self.world = World(list(script))
        self.attempts = table or Attempts(Memory())
        self.acceptances = lately.Acceptances()
        self.deliveries = one_request.Deliveries(
            self.world.graph,
            self.attempts,
            timedelta(days=14),
            lately.UnderWay(),
            self.acceptances,
        )

    def reprocess(self, seconds: float = 60) -> one_request.Result:
        return self.deliveries.reprocess(ID, self.world.deadline(seconds))

    def hook(self, seconds: float = 60) -> one_request.Result:
        """Reprocess it as a webhook does."""
        return self.deliveries.reprocess(ID, self.world.deadline(seconds), lately.STALE_FOR)

    def status(self, accepted_at: datetime | None = None) -> one_request.Result:
        return self.deliveries.status(ID, accepted_at, self.world.deadline())

    def sent(self, method: str = "POST") -> int:
        return sum(sent == method for sent, _ in self.world.calls)


# -- several calls at once --


class Gate:
    """A step that begins, says so, and ends as told when it may."""

    def __init__(self, end: Any) -> None:
        self.end, self.times = end, 0
        self.begun, self.may_end = threading.Event(), threading.Event()

    def __call__(self) -> Any:
        self.times += 1
        self.begun.set()
        assert self.may_end.wait(10)
        if isinstance(self.end, BaseException):
            raise self.end
        return self.end


class Crowd:
    """Calls that come while another one is under way."""

    def __init__(self, monkeypatch: Any) -> None:
        self.waiting = threading.Semaphore(0)
        monkeypatch.setattr(lately, "wait", self._counted)

    def _counted(self, *given: Any) -> Any:
        self.waiting.release()
        return wait(*given)

    def ends(self, gate: Gate, first: Any, *others: Any) -> list[Any]:
        """Begin the first, then the others, then open the gate; return what each came to."""
        with ThreadPoolExecutor(len(others) + 1) as pool:
            calls = [pool.submit(first)]
            assert gate.begun.wait(10)
            calls += [pool.submit(other) for other in others]
            assert all(self.waiting.acquire(timeout=10) for _ in others)
            gate.may_end.set()
            return [call.exception() or call.result() for call in calls]


# -- calls of the app's functions --


class Functions:
    """The HTTP functions, called as the host calls them, over a scripted Graph."""

    def __init__(self, monkeypatch: Any, caplog: Any, *script: Any) -> None:
        self.one = One(*script)
        self.caplog = caplog
        monkeypatch.setattr("graph.shared", lambda: self.one.world.graph)
        monkeypatch.setattr("attempts.shared", lambda: self.one.attempts)
        monkeypatch.setattr(road, "ACCEPTANCES", self.one.acceptances)
        monkeypatch.setattr(road, "UNDER_WAY", self.one.deliveries.under_way)
        caplog.set_level("INFO", "redeliver")

    context = SimpleNamespace(invocation_id="run-1")

    def request(
        self,
        query: dict[str, str] | None = None,
        body: bytes = b"",
        request_id: str = ID,
        **headers: str,
    ) -> func.HttpRequest:
        return func.HttpRequest(
            "POST",
            "https://app.example/api/x",
            headers={name.replace("_", "-"): value for name, value in headers.items()},
            params=query or {},
            route_params={"requestId": request_id},
            body=body,
        )

    def call(self, route: road.Route, *asked: Any, **more: Any) -> SimpleNamespace:
        """Call a route; return status, type, headers, body and the log lines of that call."""
        self.caplog.clear()
        answer = road.travel(route, self.request(*asked, **more), self.context)
        lines = [json.loads(one.message) for one in self.caplog.records if one.name == "redeliver"]
        return SimpleNamespace(
            status=answer.status_code,
            type=answer.mimetype,
            headers=dict(answer.headers),
            body=json.loads(answer.get_body()),
            lines=lines,
        )


def every_problem(kind: type[problems.Problem] = problems.Problem) -> list[type[problems.Problem]]:
    """Every kind of problem that an answer can be, in the order of the code."""
    below = [found for sub in kind.__subclasses__() for found in every_problem(sub)]
    return below or [kind]


# -- callers --

APP = "11111111-1111-4111-8111-111111111111"
USER = "22222222-2222-4222-8222-222222222222"
ROLE = "Requests.Reprocess"
LONG = "http://schemas.microsoft.com/ws/2008/06/identity/claims/role"
OID = "http://schemas.microsoft.com/identity/claims/objectidentifier"


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


# -- answers of the running app --

_numbers = itertools.count()


def new(app: Any, **fields: Any) -> str:
    """Put one request into the emulated tenant and return its id."""
    request_id = str(uuid.UUID(int=0xE << 124 | 4 << 76 | 8 << 60 | next(_numbers)))
    app.put({"id": request_id, **fields})
    return request_id


def problem(reply: Any, name: str, status: int, request_id: str | None, **more: Any) -> str:
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
    return detail


def accepted(
    app: Any, reply: Any, request_id: str, outcome: str = "accepted", state: str | None = None
) -> str:
    """Assert that a reply is this whole 202, and return its Location."""
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


def long_ago(days: int = 15) -> str:
    """A time so many days ago, as Graph writes it."""
    return (datetime.now(UTC) - timedelta(days=days)).isoformat().replace("+00:00", "Z")
