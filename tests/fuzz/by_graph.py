"""What Graph and the identity answer, and what the app makes of it for its own callers.

Not for: what callers send (by_callers.py).
"""

from __future__ import annotations

import base64
import json
import math
import re
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from unittest.mock import patch
from urllib.parse import unquote

import azure.functions as func

from attempts import Attempts, Memory
from graph import GraphError, GraphFailed, Request, timestamp
from graph.answer import Answer, http_date, told_wait
from graph.identity import TokenClaims, claims_of
from graph.request import NAMES, detailed_request_from, request_from, whole_request
from reprocess_http import failures_answer, lately, road
from reprocess_http.failures import Kept
from reprocess_http.strict_json import loads
from setting_kinds import is_guid
from tests.fuzz.targets import ANSWER, any_text, fields, headers, join, target
from tests.scripted import ID, NOW, ROOT, World, entity

OTHER = ID[:-1] + "8"
DATE = "date: Tue, 24 Nov 2026 10:00:00 GMT"
ERROR = b'{"error": {"code": "Busy", "message": "Still retrying."}}'
DETAILED = {
    **entity(),
    "createdDateTime": "2026-08-19T12:00:00.1234567Z",
    "accessPackage": {"id": OTHER, "displayName": "Sales"},
    "requestor": {"objectId": OTHER, "displayName": "=Ann", "email": "ann@example.com"},
    "history": [{"detail": "x"}],
    "status": "Failed",
}


def listed(*items: object, **more: object) -> bytes:
    """A seed: the answer to a list."""
    return join("200", DATE, json.dumps({"value": [*items], **more}))


def batch(*items: dict) -> bytes:
    """A seed: the answer to a `$batch`."""
    return join("200", DATE, json.dumps({"responses": [*items]}))


def scripted(data: bytes, more: int = 12) -> World:
    """A Graph that gives these answers one after the other, and the last one again and again."""
    answers = []
    for raw in data.split(ANSWER, 7):
        status, given, body = fields(raw, 3)
        code = int(status) if re.fullmatch(rb"[1-5][0-9]{2}", status) else 200
        answers.append((code, body, headers(given)))
    return World([*answers, *[answers[-1]] * more])


def stays_below(world: World) -> None:
    """Assert that every call went below our version of Graph, and nowhere else."""
    for one in world.transport.sent:
        assert one.url.startswith(ROOT + "/"), one.url
        path = unquote(one.url.partition("?")[0])
        assert not re.search(r"[/\\]\.\.([/\\]|$)", path), one.url
        assert one.headers["Authorization"].startswith("Bearer token-")
    assert all(0 <= wait < math.inf for wait in world.slept)


# -- single values --


@target(
    "graph/answer.py",
    seeds=[
        join("10", DATE[6:]),
        join("2.128", ""),
        join("Tue, 24 Nov 2026 10:00:07 GMT", DATE[6:]),
        join("11" + ", 1" * 66, ""),
        join("0", "Mon, 1 Jan 0001 00:00:00 +2359"),
    ],
)
def waits_and_dates(data: bytes) -> None:
    """A told wait is above 0 and has an end, or is None; a date has a zone; nothing is raised."""
    wait, date = (raw.decode("latin-1") for raw in fields(data, 2))
    answer = Answer(429, {"retry-after": wait, "date": date}, None, "")
    told = told_wait(answer, NOW)
    assert told is None or 0 < told < math.inf
    if re.fullmatch(r"[1-9][0-9]{0,8}", wait):
        assert told == int(wait)
    for at in (answer.date, http_date(wait)):
        assert at is None or abs(at - NOW) < timedelta(days=365 * 10_000)


@target(
    "graph/request.py",
    seeds=[
        b"2026-08-20T12:00:00Z",
        b"2026-08-20T12:00:00.1234567+14:00",
        b"9998-12-31T23:59:59.9999999Z",
        b"0001-01-01T00:00:00-23:59",
    ],
)
def times(data: bytes) -> None:
    """A time is in UTC, before the year 9999, and the one that was written; nothing is raised."""
    text = any_text(data)
    at = timestamp(text)
    if at is None:
        return
    assert at.tzinfo is UTC
    assert at.year < 9999
    assert timestamp(at.isoformat()) == at
    plain = datetime.fromisoformat(re.sub(r"\.\d+", "", text.upper()))
    assert timedelta() <= at - plain <= timedelta(seconds=1)


@target(
    "graph/identity.py",
    seeds=[
        json.dumps({"oid": OTHER, "roles": ["EntitlementManagement.ReadWrite.All"]}).encode(),
        b'{"oid": "x", "roles": "x"}',
        b'{"roles": [["deep"], null]}',
        b"raw.e30.x",
        b"[" * 10_500,
    ],
)
def token_claims(data: bytes) -> None:
    """Whatever a token is, claims come out, an id in them is a GUID; nothing is raised."""
    raw = data.removeprefix(b"raw")
    payload = base64.urlsafe_b64encode(data).decode().rstrip("=")
    token = f"head.{payload}.tail" if raw == data else any_text(raw)
    found = claims_of(token)
    assert isinstance(found, TokenClaims)
    assert found.object_id is None or is_guid(found.object_id)
    assert found.roles is None or all(isinstance(one, str) for one in found.roles)


@target(
    "graph/request.py",
    seeds=[
        json.dumps(DETAILED).encode(),
        json.dumps({"id": ID, "requestState": "Delivered", "completedDate": "x"}).encode(),
        b'{"id": "\\ud800", "requestType": [[1]], "history": [5]}',
    ],
)
def request_body(data: bytes) -> None:
    """A request has texts in it, short ones; only GraphFailed is raised; never another's id."""
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):  # read_answer sees to that
        return
    for names in NAMES.values():
        plain, detailed = request_from(body, names), detailed_request_from(body, names)
        assert (plain is None) is (detailed is None)
        if plain and detailed:
            assert (plain.id, plain.state) == (detailed.id, detailed.state)
            assert len(detailed.access_package_name + detailed.status_text) <= 1000
        try:
            assert whole_request(body, names, ID).id == ID
        except GraphFailed:
            assert not plain or plain.id != ID or not plain.state


# -- answers --


@target(
    "graph/answer.py",
    "graph/http.py",
    "graph/calls.py",
    seeds=[
        join("200", DATE, json.dumps(entity())),
        join("429", "Retry-After: 3", ERROR) + ANSWER + join("200", DATE, json.dumps(entity())),
        join("503", "Retry-After: 1" + ", 1" * 66, ""),
        join("403", "", '{"error": {"code": "LicenseNeeded", "message": ["x"]}}'),
        join("200", "Content-Type: text/html", "<html>"),
        join("200", "Content-Encoding: gzip", b"\x1f\x8b\x08\0\0\0\0\0"),
        join("200", "Content-Encoding: deflate, br", "x"),
        join("301", "Location: https://evil.example/", ""),
        join("401", "", "[" * 20),
    ],
)
def one_answer(data: bytes) -> None:
    """A read gives the request asked for, or raises GraphError; so does a reprocess."""
    world = scripted(data)
    try:
        assert world.graph.read(ID, world.deadline()).id == ID
    except GraphError as error:
        json.dumps(error.fields())
        assert len(error.described) < 1000
        assert error.told_wait is None or 0 < error.told_wait < math.inf
    stays_below(world)
    world = scripted(data)
    try:
        accepted = world.graph.reprocess(ID, world.deadline())
    except GraphError as error:
        json.dumps(error.fields())
    else:
        assert abs(accepted.at - NOW) < timedelta(days=2)
    stays_below(world)


@target(
    "graph/batch.py",
    "graph/calls.py",
    seeds=[
        batch({"id": "0", "status": 202}, {"id": "1", "status": 400, "body": json.loads(ERROR)}),
        batch({"id": "1", "status": 429, "headers": {"Retry-After": "11" + ",1" * 99 + "x"}}),
        batch({"id": "0", "status": 200, "body": entity()}, {"id": 1, "status": "404"}),
        join("400", "", ERROR),
        join("200", "", '{"responses": [5, {"id": "00", "status": 200}]}'),
    ],
)
def batch_answer(data: bytes) -> None:
    """Each request has one outcome, its own; the call as a whole raises only GraphError."""
    for call in ("read_each", "reprocess_each"):
        world = scripted(data, 2)
        try:
            each = getattr(world.graph, call)([ID, OTHER], world.deadline(), batched=True)
        except GraphError as error:
            json.dumps(error.fields())
        else:
            assert len(each) == 2
            for asked, one in zip((ID, OTHER), each, strict=True):
                assert not isinstance(one, Request) or one.id == asked
                assert not isinstance(one, GraphError) or json.dumps(one.fields())
        assert 1 <= len(world.calls) <= 2
        stays_below(world)


@target(
    "graph/http.py",
    "graph/calls.py",
    seeds=[
        listed(entity(), **{"@odata.nextLink": f"{ROOT}/x?$skiptoken=1"})
        + ANSWER
        + listed(DETAILED),
        listed(**{"@odata.nextLink": "https://GRAPH.microsoft.com/v1.0/x"}) + ANSWER + listed(),
        listed(**{"@odata.nextLink": f"{ROOT}/y/z?q#f"}) + ANSWER + listed(),
        listed(**{"@odata.nextLink": f"{ROOT}@evil.example/"}),
        listed(**{"@odata.nextLink": f"{ROOT}/../beta/x"}),
        listed(**{"@odata.nextLink": f"{ROOT}/%2e%2E/beta"}),
        listed(**{"@odata.nextLink": "https://graph.microsoft.com.evil.example/v1.0/"}),
        join("400", "", ERROR) + ANSWER + listed(DETAILED, DETAILED),
    ],
)
def next_links(data: bytes) -> None:
    """A list is followed below our version of Graph and nowhere else; only GraphError is raised."""
    world = scripted(data)
    try:
        for request in world.graph.failed(world.deadline(), ID):
            assert isinstance(request, Request)
    except GraphError as error:
        json.dumps(error.fields())
    stays_below(world)


# -- whole calls of the app, over a Graph that answers anything --

ROUTES = (
    (road.REPROCESS, {}),
    (road.REPROCESS, {"dryRun": "true"}),
    (road.STATUS, {}),
    (road.STATUS, {"acceptedAt": "2026-11-24T10:00:00Z"}),
    (road.WEBHOOK, {}),
    (failures_answer.FAILURES, {"limit": "1"}),
    (failures_answer.FAILURES, {}),
    (road.DIAGNOSIS, {}),
)
CONTEXT = SimpleNamespace(invocation_id="run-1")


def answered(
    world: World, route: road.Route, query: dict[str, str], accept: str
) -> func.HttpResponse:
    """The app's answer to one call, as the Functions host gets it."""
    call = func.HttpRequest(
        "POST",
        "https://app.example/api/x",
        headers={"accept": accept},
        params=query,
        route_params={"requestId": ID},
        body=json.dumps({"requestId": ID}).encode(),
    )
    kept = Attempts(Memory())
    with (
        patch("graph.shared", lambda: world.graph),
        patch("attempts.shared", lambda: kept),
        patch.object(road, "ACCEPTANCES", lately.Acceptances()),
        patch.object(failures_answer, "KEPT", Kept()),
    ):
        return road.travel(route, call, CONTEXT)


@target(
    "reprocess_http/road.py",
    "reprocess_http/one_request.py",
    "reprocess_http/answers.py",
    "reprocess_http/problems.py",
    "reprocess_http/failures.py",
    "reprocess_http/failures_answer.py",
    "reprocess_http/diagnosis.py",
    "reprocess_timer/failure.py",
    seeds=[
        join("", "", "202", DATE, ""),
        join("xx", "", join("200", DATE, json.dumps(entity("\ud800")))),
        join("xx", "", join("200", DATE, json.dumps(entity()))),
        join("xxx", "", join("200", DATE, json.dumps(entity("delivering")))),
        join("xx", "", join("400", DATE, ERROR)),
        join("", "", join("502", "", "") + ANSWER + join("200", DATE, json.dumps(entity("x")))),
        join(
            "",
            "",
            join("400", DATE, ERROR) + ANSWER + join("200", "", json.dumps(entity("delivered"))),
        ),
        join("xxxx", "", join("503", "Retry-After: 7", ERROR)),
        join("xxxxx", "", listed(DETAILED, {**DETAILED, "id": OTHER})),
        join("xxxxxx", "text/csv", listed(DETAILED, entity())),
        join("xxxxxx", "", listed(DETAILED, {**DETAILED, "id": "x"})),
        join("xxxxxxx", "", listed(DETAILED)),
        join("xxxxxxx", "", join("403", "", ERROR)),
    ],
)
def whole_call(data: bytes) -> None:
    """However Graph answers, the caller gets JSON with one reading, or CSV, and never `internal`."""
    which, accept, script = fields(data, 3)
    route, query = ROUTES[len(which) % len(ROUTES)]
    world = scripted(script)
    answer = answered(world, route, query, any_text(accept))
    body = answer.get_body()
    assert b"token-1." not in body
    assert all(one.isprintable() for pair in answer.headers.items() for one in pair)
    if answer.mimetype == "text/csv":
        assert body.decode("utf-8-sig").startswith("requestId,")
    else:
        told = loads(body)
        assert told.get("type") != "urn:redeliver:problem:internal", "nobody foresaw this"
    stays_below(world)
