"""Threats of SECURITY.md that no other test covers: what is never sent, logged or listened to."""

from __future__ import annotations

import ast
import io
import json
import logging
import threading
import time

import pytest
import requests
from urllib3 import HTTPResponse

import graph
from deadline import Deadline
from events import WARNING, event
from graph.http import new_session
from reprocess_timer import notices
from tests.lines import PROJECT
from tests.scripted import ID, World, entity, reply
from tests.test_infra import module

GRAPH = sorted((PROJECT / "graph").glob("*.py"))
METHODS = {"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"}
NO = {"error": {"code": "Forbidden", "message": "no"}}
BATCH = {"responses": [{"id": "0", "status": 202}]}


def strings(path):
    """Every text in a file's code."""
    nodes = ast.walk(ast.parse(path.read_text()))
    return {one.value for one in nodes if isinstance(one, ast.Constant) and type(one.value) is str}


def sent(world):
    """What reached Graph: methods and paths, without the parts that are always the same."""
    return {(method, url.rpartition("v1.0")[2].replace(ID, "ID")) for method, url in world.calls}


def test_no_other_method_is_known_to_the_road():
    """The permission allows far more: making policies, adding assignments, deleting them."""
    assert {"GET", "POST"} == {one for path in GRAPH for one in strings(path) if one in METHODS}


def test_nothing_is_posted_but_a_reprocess():
    """Alone, and as the only thing in a batch."""
    world = World([reply(202), reply(200, BATCH), reply(200, entity())])

    world.graph.reprocess(ID, world.deadline())
    world.graph.reprocess_each([ID], world.deadline(), batched=True)
    world.graph.read(ID, world.deadline())

    path = "/identityGovernance/entitlementManagement/assignmentRequests/ID"
    assert {("POST", f"{path}/reprocess"), ("POST", "/$batch"), ("GET", path)} == sent(world)
    [body] = [one.body for one in world.transport.sent if one.url.endswith("/$batch")]
    assert b'"url": "' + f"{path}/reprocess".replace("ID", ID).encode() in body
    assert 1 == body.count(b'"method"')


def test_only_the_road_knows_graph():
    """No other module sends a token: none gets one, but for the table's client."""
    deployed = [PROJECT / "attempts.py", PROJECT / "table.py", *PROJECT.glob("reprocess_*/*.py")]
    takers = [path.name for path in deployed if "get_token" in path.read_text()]
    bearers = [path.name for path in deployed if "Bearer" in path.read_text()]

    assert ([], []) == (takers, bearers)


@pytest.mark.parametrize("answer", [reply(401, NO), reply(403, NO), reply(400, NO), reply(500)])
def test_no_token_is_logged_or_told(answer, caplog):
    """Neither in a line, however much is logged, nor in an error."""
    world = World([answer] * 9)
    caplog.set_level(logging.DEBUG)

    with pytest.raises(graph.GraphError) as raised:
        world.graph.read(ID, world.deadline())

    tokens = [one.headers["Authorization"].split()[1] for one in world.transport.sent]
    told = f"{caplog.text} {raised.value!r} {raised.value.fields()} {raised.value.described}"
    assert tokens
    assert [] == [token for token in tokens if token in told]


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "ALL_PROXY", "NETRC", "REQUESTS_CA_BUNDLE"])
def test_the_environment_leads_no_token_away(name, tmp_path, monkeypatch):
    """No proxy, no password file and no other list of authorities is taken from it."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine graph.microsoft.com login a password b\n")
    monkeypatch.setenv(name, str(netrc) if name == "NETRC" else "http://proxy.example:1")
    session = new_session(1)

    options = session.merge_environment_settings(graph_url(), {}, None, None, None)
    prepared = session.prepare_request(requests.Request("GET", graph_url()))

    assert ({}, True) == (dict(options["proxies"]), options["verify"])
    assert "Authorization" not in prepared.headers


def graph_url():
    """Where tokens go."""
    return "https://graph.microsoft.com/v1.0/$batch"


def test_the_environment_leads_no_notice_away(monkeypatch):
    """Its address may sign, so a proxy is not to see it."""
    seen = {}

    def post(session, url, **options):
        seen.update(session.merge_environment_settings(url, {}, None, None, None)["proxies"])
        raise requests.ConnectionError

    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:1")
    monkeypatch.setattr(requests.Session, "post", post)
    with pytest.raises(requests.ConnectionError):
        notices._post("https://receiver.example/", "application/json", {})

    assert {} == seen


def test_an_answer_that_drips_ends_with_the_deadline():
    """Each part comes in time, the whole does not."""
    world = World([])

    class Dripping(io.BytesIO):
        def read1(self, _size=-1):
            world.time += 1
            return b" "

    world.transport.script = [(200, b"", {})]
    whole = world.transport.send

    def send(request, **options):
        answer = whole(request, **options)
        answer.raw = HTTPResponse(Dripping(), status=200, preload_content=False)
        return answer

    world.transport.send = send

    with pytest.raises(graph.GraphTimeout):
        world.graph.read(ID, world.deadline(60))

    assert 60 <= world.time <= 61


@pytest.mark.parametrize("body", [b"", b"{"], ids=["at once", "later"])
def test_an_answer_whose_body_falls_silent_ends_with_the_deadline(body, monkeypatch):
    """The time-outs of its connection were set when the call began; its status stands all the same."""
    monkeypatch.setattr("graph.answer.GRACE", 0.05)
    over = threading.Event()

    class Silent(io.BytesIO):
        def read1(self, _size=-1):
            return self.read() or (over.wait(10) and b"")

    def answering(status):
        world = World([(status, b"", {})])
        whole = world.transport.send

        def send(request, **options):
            answer = whole(request, **options)
            answer.raw = HTTPResponse(Silent(body), status=status, preload_content=False)
            return answer

        world.transport.send = send
        return world.graph

    started = time.monotonic()
    with pytest.raises(graph.GraphTimeout):
        answering(200).read(ID, Deadline(0.05))
    assert answering(202).reprocess(ID, Deadline(0.2)).at
    with pytest.raises(graph.RequestNotFound):
        answering(404).read(ID, Deadline(0.05))
    assert time.monotonic() - started < 5
    over.set()


@pytest.mark.parametrize(
    "text", ["\n", "\r\n", '"}\n{"event": "sweep finished', "\u2028", "\x1b[2J"]
)
def test_a_line_of_the_log_is_one_line(text, caplog):
    """What comes from outside ends no line, begins no other one, and moves no cursor."""
    event(WARNING, "webhook", requestId=text)

    [line] = caplog.messages
    assert {"event": "webhook", "requestId": text} == json.loads(line)
    assert line.isprintable()
    assert line.isascii()


def test_nobody_is_served_without_tls():
    """Neither the app nor its storage account; and nothing older than TLS 1.2."""
    app = module("app").resource("app")["properties"]
    account = module("storage").resource("account")["properties"]

    assert (True, "1.2") == (app["httpsOnly"], app["siteConfig"]["minTlsVersion"])
    assert (True, "TLS1_2") == (account["supportsHttpsTrafficOnly"], account["minimumTlsVersion"])
    assert account["allowBlobPublicAccess"] is False
