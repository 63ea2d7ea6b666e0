"""Threats of SECURITY.md that no other test covers: what is never sent, logged or served."""

from __future__ import annotations

import ast
import json
import logging

import pytest

import graph
from events import WARNING, event
from tests.project.test_infra import module
from tests.support.package import PROJECT, deployed
from tests.support.scripted_transport import ID, World, entity, reply

GRAPH = sorted((PROJECT / "graph").glob("*.py"))
METHODS = {"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"}
NO = {"error": {"code": "Forbidden", "message": "no"}}
BATCH = {"responses": [{"id": "0", "status": 202}, {"id": "1", "status": 202}]}


def strings(path):
    """Every text in a file's code."""
    nodes = ast.walk(ast.parse(path.read_text()))
    return {one.value for one in nodes if isinstance(one, ast.Constant) and type(one.value) is str}


def test_graph_is_read_and_posted_to_only():
    """The permission allows far more: making policies, adding assignments, deleting them."""
    assert {"GET", "POST"} == {one for path in GRAPH for one in strings(path) if one in METHODS}


def test_nothing_is_posted_but_a_reprocess():
    """Alone, and as the only thing in a batch."""
    world = World([reply(202), reply(200, BATCH), reply(200, entity())])

    world.graph.reprocess_each([ID], world.deadline())
    world.graph.reprocess_each([ID, ID], world.deadline())
    world.graph.read(ID, world.deadline())

    sent = [(method, url.rpartition("v1.0")[2].replace(ID, "ID")) for method, url in world.calls]
    path = "/identityGovernance/entitlementManagement/assignmentRequests/ID"
    assert [("POST", f"{path}/reprocess"), ("POST", "/$batch"), ("GET", path)] == sent
    [body] = [one.body for one in world.transport.sent if one.url.endswith("/$batch")]
    items = json.loads(body)["requests"]
    assert [("POST", f"{path}/reprocess", {})] * 2 == [
        (one["method"], one["url"].replace(ID, "ID"), one["body"]) for one in items
    ]


def test_only_graph_has_tokens():
    """No other module gets or sends one; the table's client has its own credential."""
    others = [path for path in deployed() if path.suffix == ".py" and path.parts[0] != "graph"]
    texts = {str(path): (PROJECT / path).read_text() for path in others}

    assert [] == [name for name, text in texts.items() if "get_token" in text or "Bearer" in text]
    credentials = [name for name, text in texts.items() if "from azure.identity" in text]
    assert ["table_client.py"] == credentials


@pytest.mark.parametrize("answer", [reply(401, NO), reply(403, NO), reply(400, NO), reply(500)])
def test_no_token_is_logged_or_told(answer, caplog):
    """Neither in a line, however much is logged, nor in an error."""
    world = World([answer] * 9)
    caplog.set_level(logging.DEBUG)

    with pytest.raises(graph.GraphError) as raised:
        world.graph.read(ID, world.deadline())

    tokens = [one.headers["Authorization"].split()[1] for one in world.transport.sent]
    told = f"{caplog.text} {raised.value!r} {raised.value.fields()} {raised.value.summary}"
    assert tokens
    assert [] == [token for token in tokens if token in told]


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
