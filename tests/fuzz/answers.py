"""What Graph, the identity endpoint and the table answer, and what a whole call makes of it.

Not for: what callers send (callers.py).
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
from unittest.mock import patch
from urllib.parse import unquote

import requests
from azure.core.exceptions import AzureError
from azure.data.tables import TableClient

from attempt_store import AttemptStore
from attempts import MAX_COUNT, NEVER
from deadline import Deadline
from graph import GraphError, Request
from graph.outcome import http_date, retry_after
from graph.request import MAX_TEXT, NAMES, request_from
from graph.tokens import TokenClaims, claims_of
from reprocess_http import (
    diagnosis,
    failed_requests,
    reprocess_many,
    reprocess_request,
    webhook,
)
from reprocess_http.handler import handle
from reprocess_http.parameters import load_json
from reprocessing.many import Context
from settings import is_guid
from table import InMemoryRows, Table
from tests.fuzz.targets import ANSWER, any_text, headers, target
from tests.support import http_calls
from tests.support.inline import inline_workers
from tests.support.scripted_transport import ID, NOW, ROOT, Transport, World, entity

if TYPE_CHECKING:
    from collections.abc import Iterator

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


def answers_of(data: bytes) -> Answers:
    """The answers in an input; a status that is none is 200."""
    found = Answers()
    for raw in data.split(ANSWER, 7):
        head, _, body = raw.partition(b"\n\n")
        status, _, lines = head.partition(b"\n")
        code = int(status) if re.fullmatch(rb"[1-5][0-9]{2}", status) else 200
        found.append((code, body, headers(lines)))
    return found


def world_of(data: bytes) -> World:
    """A Graph that gives these answers, in virtual time."""
    world = World([])
    world.transport.script = answers_of(data)
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
    """Assert that it can be logged and waited for, or is about this request."""
    if isinstance(outcome, GraphError):
        json.dumps(outcome.fields())
        assert len(outcome.summary) < 1000
        assert outcome.retry_after is None or 0 < outcome.retry_after < math.inf
    elif isinstance(outcome, Request):
        assert (outcome.id, bool(outcome.state)) == (request_id, True)


# -- single values --


@target(
    ("10", DATE[6:]),
    ("2.128", ""),
    ("Tue, 24 Nov 2026 10:00:07 GMT", DATE[6:]),
    ("11" + ", 1" * 66, ""),
    ("0", "Mon, 1 Jan 0001 00:00:00 +2359"),
)
def waits_and_dates(wait: bytes, date: bytes) -> None:
    """A wait is above 0 and ends, or is None; a date has a zone and is not before 2015."""
    text = wait.decode("latin-1")
    seconds = retry_after({"retry-after": text, "date": date.decode("latin-1")}, NOW)
    assert seconds is None or 0 < seconds < math.inf
    if re.fullmatch(r"[1-9][0-9]{0,8}", text):
        assert seconds == int(text)
    at = http_date(date.decode("latin-1"))
    assert at is None or (at.year >= 2015 and at - NOW < timedelta(days=365 * 10_000))


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
    json.dumps(DETAILED).encode(),
    json.dumps(DETAILED | {"createdDateTime": "9998-12-31T23:59:59-23:59"}).encode(),
    json.dumps({"id": ID, "requestState": "Delivered", "completedDate": "x"}).encode(),
    b'{"id": "\\ud800", "requestType": [[1]], "history": [5]}',
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


@target(
    ("read", answer(200, entity())),
    ("read", ANSWER.join([answer(429, ERROR, "Retry-After: 3"), answer(200, entity())])),
    ("read", answer(503, "", "Retry-After: 1" + ", 1" * 66)),
    ("read", answer(200, "<html>", "Content-Type: text/html")),
    ("read", answer(200, "\x1f\x08\0\0", "Content-Encoding: gzip")),
    ("read", answer(301, "", "Location: https://evil.example/")),
    ("reprocess", answer(403, '{"error": {"code": "LicenseNeeded", "message": ["x"]}}')),
    ("reprocess", answer(401, "[" * 20)),
    ("read each", batch({"id": "0", "status": 200, "body": entity()}, {"id": 1, "status": "404"})),
    ("read each", answer(200, '{"responses": [5, {"id": "00", "status": 200}]}')),
    (
        "reprocess each",
        batch({"id": "0", "status": 202}, {"id": "1", "status": 400, "body": ERROR}),
    ),
    ("reprocess each", batch({"id": "1", "status": 429, "headers": {"Retry-After": "1,1"}})),
    ("reprocess each", batch({"id": "0", "status": 401}) + ANSWER + answer(400, ERROR)),
    ("list", ANSWER.join([page(entity(), link=f"{ROOT}/x?$skiptoken=1"), page(DETAILED)])),
    ("list", ANSWER.join([page(link="https://GRAPH.microsoft.com:443/v1.0/x"), page()])),
    ("list", page(link=f"{ROOT}@evil.example/")),
    ("list", page(link=f"{ROOT}/%2e%2E/beta")),
    ("list", ANSWER.join([answer(400, ERROR), page(DETAILED, DETAILED)])),
)
def graph_answers(which: bytes, script: bytes) -> None:
    """Each call has one outcome, about its own request; a read or a list may raise GraphError.

    Every call goes below our version of Graph: a nextLink leads nowhere else.
    """
    world, ids = world_of(script), [ID, OTHER] if which.endswith(b"each") else [ID]
    outcomes: list[object]
    try:
        if which == b"list":
            for request in world.graph.failed(world.deadline(), ID, names=True):
                assert isinstance(request, Request)
            outcomes = []
        elif which == b"read":
            outcomes = [world.graph.read(ID, world.deadline())]
        elif which.startswith(b"read"):
            outcomes = list(world.graph.read_each(ids, world.deadline()))
        else:
            outcomes = list(world.graph.reprocess_each(ids, world.deadline()))
    except GraphError as error:
        assert which in {b"list", b"read"}
        outcomes = [error]
    for outcome, request_id in zip(outcomes, ids, strict=which != b"list"):
        check_outcome(outcome, request_id)
    check_calls(world)


# -- whole calls of the app, over a Graph that answers anything --

ROUTES = (
    (reprocess_request.REPROCESS, "wait=9"),
    (reprocess_request.REPROCESS, "dryRun=true"),
    (reprocess_request.STATUS, ""),
    (reprocess_request.STATUS, "acceptedAt=2026-11-24T10:00:00Z"),
    (webhook.WEBHOOK, ""),
    (failed_requests.FAILED_REQUESTS, "limit=1"),
    (failed_requests.FAILED_REQUESTS, ""),
    (diagnosis.DIAGNOSIS, ""),
    (reprocess_many.REPROCESS_MANY, ""),
)
BODIES = {
    webhook.WEBHOOK: json.dumps({"requestId": ID}).encode(),
    reprocess_many.REPROCESS_MANY: json.dumps({"requestIds": [ID, OTHER]}).encode(),
}
CONTEXT: Any = SimpleNamespace(invocation_id="run-1")


@contextlib.contextmanager
def app_over(world: World) -> Iterator[None]:
    """Let the app call this Graph, keep its records in memory, and live in virtual time."""
    in_this_thread = {"workers": inline_workers(world.sleep)}
    store, memory = (AttemptStore(InMemoryRows(), world.our_clock) for _ in range(2))
    with (
        patch("graph.shared", lambda: world.graph),
        patch("attempt_store.for_callers", lambda: store),
        patch("attempt_store.for_sweeps", lambda: store),
        patch("attempt_store.in_memory", lambda: memory),
        patch.object(failed_requests, "CACHE", failed_requests.ListCache()),
        patch.object(Deadline.__init__, "__defaults__", (lambda: world.time,)),
        patch.object(reprocess_many, "time", SimpleNamespace(monotonic=lambda: world.time)),
        patch.object(reprocess_many, "Context", functools.partial(Context, **in_this_thread)),
    ):
        yield


@target(
    ("", "", answer(202)),
    ("", "", ANSWER.join([answer(502), answer(200, entity("x"))])),
    ("", "", ANSWER.join([answer(400, ERROR), answer(200, entity("delivered"))])),
    ("", "", ANSWER.join([answer(500), *[answer(200, entity())] * 3, answer(202)])),
    ("x", "", answer(200, entity())),
    ("xx", "", answer(200, entity("\ud800"))),
    ("xx", "", answer(404, ERROR)),
    ("xxx", "", answer(200, entity("delivering"))),
    ("xxxx", "", answer(503, ERROR, "Retry-After: 7")),
    ("xxxxx", "", page(DETAILED, DETAILED | {"id": OTHER})),
    ("xxxxxx", "text/csv", page(DETAILED, entity())),
    ("xxxxxx", "", page(DETAILED, DETAILED | {"id": "x"})),
    ("xxxxxxx", "", page(DETAILED)),
    ("xxxxxxx", "", answer(403, ERROR)),
    ("xxxxxxxx", "", batch({"id": "0", "status": 202}, {"id": "1", "status": 400, "body": ERROR})),
    ("xxxxxxxx", "", answer(429, ERROR, "Retry-After: 7")),
)
def whole_call(which: bytes, accept: bytes, script: bytes) -> None:
    """However Graph answers, the caller gets JSON or CSV, and never `internal`."""
    route, query = ROUTES[len(which) % len(ROUTES)]
    req = http_calls.request(query, BODIES.get(route, b""), ID, accept=any_text(accept))
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
                assert 0 <= record.count <= MAX_COUNT
