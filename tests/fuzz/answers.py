"""What Graph, the identity endpoint and the table answer, and what a whole call makes of it.

Not for: parsers of what callers send (callers.py).
"""

from __future__ import annotations

import base64
import contextlib
import functools
import json
import math
import re
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, SupportsIndex
from urllib.parse import unquote

import pytest
import requests
from azure.core.exceptions import AzureError
from azure.data.tables import TableClient

from attempt_store import AttemptStore
from attempts import NEVER
from deadline import Deadline
from graph import Accepted, Graph, GraphError, Request
from graph.request import MAX_TEXT, NAMES, request_from
from graph.tokens import TokenClaims, claims_of
from reprocess_http import diagnosis, failed_requests, reprocess_many, reprocess_request, webhook
from reprocess_http.handler import handle
from reprocess_http.parameters import KEY_PARAMETERS, load_json, query_pairs
from reprocessing.many import Context
from settings import is_guid
from table import MAX_COUNT, InMemoryRows, Table
from tests.fuzz.targets import ANSWER, any_text, headers, target, utf8
from tests.support import http_calls
from tests.support.inline import inline_workers, wire
from tests.support.scripted_transport import ID, NOW, ROOT, Transport, World, entity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

OTHER = ID[:-1] + "8"
DATE = "date: Tue, 24 Nov 2026 10:00:00 GMT"
ERROR = {"error": {"code": "Busy", "message": "Still retrying."}}
DETAILED = entity() | {
    "createdDateTime": "2026-08-19T12:00:00.1234567Z",
    "accessPackage": {"id": OTHER, "displayName": "Sales"},
    "requestor": {"objectId": OTHER, "displayName": "=Ann", "email": "ann@example.com"},
    "history": [{"detail": "x"}],
    "status": "Failed",
}


class Answers(list[object]):
    """A script for a Transport; its last answer is given again and again."""

    def pop(self, _first: SupportsIndex = 0) -> object:
        return super().pop(0) if len(self) > 1 else self[0]


def answer(status: int, body: object = "", *lines: str) -> bytes:
    """A seed: status, headers, an empty line and a body."""
    text = body if isinstance(body, str) else json.dumps(body)
    return "\n".join([str(status), DATE, *lines, "", text]).encode()


def world_of(data: bytes) -> World:
    """A Graph that gives the answers in an input, in virtual time; a status that is none is 200."""
    world, script = World([]), Answers()
    for raw in data.split(ANSWER, 7):
        head, _, body = raw.partition(b"\n\n")
        status, _, lines = head.partition(b"\n")
        code = int(status) if re.fullmatch(rb"[1-5][0-9]{2}", status) else 200
        script.append((code, body, headers(lines)))
    world.transport.script = script
    return world


def check_calls(world: World) -> None:
    """Assert that every call went below our version of Graph, and nowhere else."""
    for one in world.transport.sent:
        url = str(one.url)
        assert url.startswith(ROOT + "/"), url
        assert not re.search(r"[/\\]\.\.([/\\]|$)", unquote(url.partition("?")[0])), url
        assert one.headers["Authorization"].startswith("Bearer token-")
    assert all(0 <= wait < math.inf for wait in world.slept)


def check_outcome(outcome: object, request_id: str) -> None:
    """Assert that it can be logged and waited for, or is about this request and of our time."""
    if isinstance(outcome, GraphError):
        json.dumps(outcome.fields())
        assert len(outcome.summary) < 1000
        assert outcome.retry_after is None or 0 < outcome.retry_after < math.inf
    elif isinstance(outcome, Accepted | Request):
        at = outcome.at if isinstance(outcome, Accepted) else outcome.read_at
        assert at is not None
        assert at.year >= 2015
        assert at - NOW < timedelta(days=365 * 10_000)
    if isinstance(outcome, Request):
        assert (outcome.id, bool(outcome.state)) == (request_id, True)


# -- single values --


@target(
    json.dumps({"oid": OTHER, "roles": ["EntitlementManagement.ReadWrite.All"]}).encode(),
    b'{"oid": "x", "roles": "x"}',
    b'{"roles": [["deep"], null]}',
    b"raw.e30.x",
    b"[" * 10_500,
)
def token_claims(data: bytes) -> None:
    """Whatever a token is, claims are returned; an id in them is a GUID."""
    payload = base64.urlsafe_b64encode(data).decode().rstrip("=")
    raw = data.startswith(b"raw")
    found = claims_of(any_text(data[3:]) if raw else f"head.{payload}.tail")
    assert isinstance(found, TokenClaims)
    assert found.object_id is None or is_guid(found.object_id)
    assert found.roles is None or all(isinstance(one, str) for one in found.roles)


@target(
    json.dumps(DETAILED | {"createdDateTime": "2026-08-19T12:00:00+02:00"}).encode(),
    json.dumps(DETAILED | {"requestType": "x" * 600}).encode(),
    json.dumps(DETAILED | {"createdDateTime": "0001-01-01T00:00:00+23:59"}).encode(),
    json.dumps(
        {"id": ID, "requestState": "Delivered", "completedDate": "2026-02-30T00:00:00Z"}
    ).encode(),
    b'{"id": "\\ud800", "requestType": [[1]], "history": {"x": [5]}}',
    b'{"id": 7, "createdDateTime": "0001-01-01T00:00:00Z"}',
)
def request_body(data: bytes) -> None:
    """A request has an id, texts of limited length, and times as they were written, or none."""
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):  # client.py raises GraphError
        return
    for names in NAMES.values():
        found = request_from(body, names)
        if found is None:
            continue
        assert found.id == body["id"].lower()
        values = [getattr(found, name) for name in Request.__slots__ if name != "id"]
        texts = [one for one in values if not isinstance(one, datetime | None)]
        assert all(isinstance(one, str) and len(one) <= MAX_TEXT for one in texts)
        if found.created_at:
            assert (found.created_at.tzinfo, found.created_at.year >= 2015) == (UTC, True)
            written = datetime.fromisoformat(re.sub(r"\.\d+", "", body["createdDateTime"]))
            assert timedelta() <= found.created_at - written < timedelta(seconds=1)


# -- calls of Graph --


def batch(*items: object) -> bytes:
    """A seed: the answer to a `$batch`."""
    return answer(200, {"responses": items})


def page(*items: object, link: str = "") -> bytes:
    """A seed: one page of a list."""
    return answer(200, {"value": items} | ({"@odata.nextLink": link} if link else {}))


HALF_TAKEN = batch({"id": "0", "status": 202}, {"id": "1", "status": 400, "body": ERROR})
CALLS: dict[bytes, Callable[[Graph, list[str], Deadline], Iterable[object]]] = {
    b"list": lambda graph, ids, deadline: graph.failed(deadline, ids[0], names=True),
    b"read": lambda graph, ids, deadline: [graph.read(ids[0], deadline)],
    b"read each": Graph.read_each,
    b"reprocess": Graph.reprocess_each,
    b"reprocess each": Graph.reprocess_each,
}


@target(
    ("read", answer(200, entity())),
    ("read", answer(200, entity() | {"id": OTHER})),
    ("read", ANSWER.join([answer(429, ERROR, "Retry-After: 3"), answer(200, entity())])),
    ("read", answer(503, "", "Retry-After: 1" + ", 1" * 66)),
    ("read", answer(429, "", "Retry-After: Tue, 24 Nov 2026 10:00:07 GMT")),
    ("reprocess", answer(202).replace(DATE.encode(), b"date: Mon, 1 Jan 0001 00:00:00 +2359")),
    ("reprocess", answer(503, "", "Retry-After: 1e999")),
    ("read", answer(502, "<html>", "Content-Type: text/html")),
    ("read", answer(500, {"error": {"code": ["x"], "message": "x" * 2000}})),
    ("read", answer(200, "\x1f\x08\0\0", "Content-Encoding: gzip")),
    ("read", answer(301, "", "Location: https://evil.example/")),
    ("reprocess", answer(403, '{"error": {"code": "LicenseNeeded", "message": ["x"]}}')),
    ("reprocess", answer(401, {"error": "x"})),
    ("read each", batch({"id": "0", "status": 200, "body": entity()}, {"id": 1, "status": "404"})),
    ("read each", answer(200, '{"responses": [5, {"id": "00", "status": 200}]}')),
    ("reprocess each", HALF_TAKEN),
    ("reprocess each", batch({"id": "1", "status": 429, "headers": {"Retry-After": "1,1"}})),
    ("reprocess each", batch({"id": "0", "status": 401}) + ANSWER + answer(400, ERROR)),
    ("list", ANSWER.join([page(entity(), link=f"{ROOT}/x?$skiptoken=1"), page(DETAILED)])),
    ("list", ANSWER.join([page(link="https://GRAPH.microsoft.com:443/v1.0/x"), page()])),
    ("list", page(link=f"{ROOT}/x")),
    ("list", answer(200, {"value": 5})),
    ("list", page(link=f"{ROOT}@evil.example/")),
    ("list", page(link=f"{ROOT}/%2e%2E/beta")),
    ("list", ANSWER.join([answer(400, ERROR), page(DETAILED, DETAILED)])),
)
def graph_answers(which: bytes, script: bytes) -> None:
    """Each call has one outcome, about its own request; a read or a list may raise GraphError.

    Every call goes below our version of Graph: a nextLink leads nowhere else.
    """
    which = which if which in CALLS else b"read"
    world, ids = world_of(script), [ID, OTHER] if which.endswith(b"each") else [ID]
    outcomes: list[object]
    try:
        outcomes = list(CALLS[which](world.graph, ids, world.deadline()))
    except GraphError as error:
        assert which in {b"list", b"read"}
        outcomes = [error]
    if which == b"list":
        assert all(isinstance(one, Request | GraphError) for one in outcomes)
    else:
        for outcome, request_id in zip(outcomes, ids, strict=True):
            check_outcome(outcome, request_id)
    check_calls(world)


# -- whole calls of the app: callers send anything, and Graph answers anything --

ROUTES = {
    b"reprocess": reprocess_request.REPROCESS,
    b"status": reprocess_request.STATUS,
    b"webhook": webhook.WEBHOOK,
    b"list": failed_requests.FAILED_REQUESTS,
    b"diagnosis": diagnosis.DIAGNOSIS,
    b"many": reprocess_many.REPROCESS_MANY,
}
ONE = json.dumps({"requestId": ID})
MANY = json.dumps({"requestIds": [ID, OTHER]})
CONTEXT: Any = SimpleNamespace(invocation_id="run-1")


@contextlib.contextmanager
def app_over(world: World) -> Iterator[None]:
    """Let the app call this Graph, keep its records in memory, and live in virtual time."""
    workers = inline_workers(world.sleep)
    store, memory = (AttemptStore(InMemoryRows(), world.our_clock) for _ in range(2))
    with pytest.MonkeyPatch.context() as patch:
        wire(patch, world.graph, store, store, memory, lambda: world.time)
        clock = SimpleNamespace(monotonic=lambda: world.time)
        patch.setattr(reprocess_many, "time", clock)
        patch.setattr(reprocess_many, "Context", functools.partial(Context, workers=workers))
        yield


@target(
    ("reprocess", "wait=9", "", "", answer(202)),
    ("reprocess", "wait=9", "", "", ANSWER.join([answer(502), answer(200, entity("x"))])),
    ("reprocess", "", "", "", ANSWER.join([answer(400, ERROR), answer(200, entity("delivered"))])),
    ("reprocess", "", "", " {} ", ANSWER.join([answer(500), *[answer(200, entity())] * 3, answer(202)])),
    ("reprocess", "dryRun=true", "", "", answer(200, entity())),
    ("reprocess", "", "", ONE, answer(202)),
    ("reprocess", "wait=9&wait=9", "", "", answer(202)),
    ("reprocess", "dry_run=true", "", "", answer(202)),
    ("status", "", "", "", answer(200, entity("\ud800"))),
    ("status", "", "", "", answer(404, ERROR)),
    ("status", "acceptedAt=2026-11-24T10:00:00Z", "", "", answer(200, entity("delivering"))),
    ("webhook", "", "", ONE, answer(503, ERROR, "Retry-After: 7")),
    ("webhook", "", "", "[" * 10_500, answer(202)),
    ("list", "limit=1", "", "", page(DETAILED, DETAILED | {"id": OTHER})),
    ("list", "", "text/csv", "", page(DETAILED, entity())),
    ("list", "", "\u00fc;q=x", "", page(DETAILED, DETAILED | {"id": "x"})),
    ("diagnosis", "", "", "", page(DETAILED)),
    ("diagnosis", "", "", "", answer(403, ERROR)),
    ("many", "", "", MANY, HALF_TAKEN),
    ("many", "", "", MANY, answer(429, ERROR, "Retry-After: 7")),
    ("many", "", "", '{"requestIds": ["\\ud800", [], 5e999]}', answer(202)),
)  # fmt: skip
def whole_call(which: bytes, query: bytes, accept: bytes, body: bytes, script: bytes) -> None:
    """Whatever is sent and however Graph answers, the caller gets JSON or CSV, never `internal`.

    What is refused does not reach Graph; that is any body or parameter that is not read.
    """
    route = ROUTES.get(which, reprocess_request.REPROCESS)
    req = http_calls.request(utf8(query), body, ID, accept=any_text(accept))
    world = world_of(script)
    with app_over(world):
        response = handle(route, req, CONTEXT)
    content = response.get_body()
    assert b"token-1." not in content
    assert all(one.isprintable() for pair in response.headers.items() for one in pair)
    if response.mimetype == "text/csv":
        assert content.decode("utf-8-sig").startswith("requestId,")
    else:
        assert load_json(content).get("type") != "urn:redeliver:problem:internal"
    if route is reprocess_request.REPROCESS:
        asked = {name for name, _ in query_pairs(req.url) if name.lower() not in KEY_PARAMETERS}
        if asked - {"wait", "dryRun"} or b"".join(body.split()) not in {b"", b"{}"}:
            assert response.status_code == 400
    if response.status_code in {400, 413, 415, 422}:
        assert not world.transport.sent
    check_calls(world)


# -- the table --

KEYS = {"PartitionKey": "attempts", "RowKey": ID, "odata.etag": "W/\"datetime'2026'\""}
ROW = {
    "ClaimId": OTHER,
    "ClaimedAt": "2026-11-24T09:00:00.1234567Z",
    "ClaimedAt@odata.type": "Edm.DateTime",
    "Outcome": "claimed",
    "Count": 3,
    "Tries": 4,
    "FirstFailedAt": "2026-11-20T09:00:00Z",
    "FirstFailedAt@odata.type": "Edm.DateTime",
    "Completed": True,
    "Notified": "expired,exhausted",
    "History4": '{"at": "2026-11-24T09:00:00Z", "by": "x", "outcome": "claimed", "words": ""}',
}
SERVICE = Transport([])
SESSION = requests.Session()
SESSION.mount("https://", SERVICE)
ACCOUNT = "DefaultEndpointsProtocol=https;AccountName=acc;AccountKey=c2VjcmV0"
CLIENT = TableClient.from_connection_string(ACCOUNT, "attempts", session=SESSION)


@target(
    json.dumps(ROW).encode(),
    json.dumps(ROW | {"ClaimedAt": "0001-01-01T00:00:00Z", "History4": "[1]"}).encode(),
    json.dumps(ROW | {"ClaimedAt": "9999-12-31T23:59:59.9999999Z", "Count": "3"}).encode(),
    json.dumps(ROW | {"FirstFailedAt": "1970-01-01T00:00:00Z"}).encode(),
    json.dumps(ROW | {"Outcome": "sent", "History4": '{"at": "0001-01-01T00:00+01:00"}'}).encode(),
)
def table_row(data: bytes) -> None:
    """Whatever a row's columns are, its count and times are within limits.

    A value that azure-data-tables cannot decode is AzureError.
    """
    try:
        given = json.loads(data)
        columns = {name: given[name] for name in given if not name.startswith(tuple(KEYS))} | KEYS
    except (ValueError, TypeError, RecursionError):
        return
    store, deadline = AttemptStore(Table(CLIENT, quick=True), lambda: NOW), Deadline(9)
    SERVICE.sent.clear()
    SERVICE.script = [
        (200, json.dumps(body).encode(), {"Content-Type": "application/json"})
        for body in (columns, {"value": [columns]})
    ]
    for read in (lambda: [store.read(ID, deadline)], lambda: store.read_all(deadline).values()):
        with contextlib.suppress(AzureError):
            for record in read():
                times = (record.claimed_at, record.last_attempt_at, record.first_failed_at)
                assert all(at in {None, NEVER} or 2015 <= at.year <= 2026 for at in times)
                assert 0 <= record.count <= MAX_COUNT + 1  # an unknown attempt counts
