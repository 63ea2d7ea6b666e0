"""Threats of SECURITY.md that no other test covers: what is never sent or logged."""

from __future__ import annotations

import ast
import json

from events import WARNING, event
from tests.support.package import PROJECT, deployed

GRAPH = sorted((PROJECT / "graph").glob("*.py"))
METHODS = {"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"}


def test_graph_is_read_and_posted_to_only():
    """The permission allows far more: making policies, adding assignments, deleting them."""
    nodes = [node for path in GRAPH for node in ast.walk(ast.parse(path.read_text()))]
    texts = {node.value for node in nodes if isinstance(node, ast.Constant)}

    assert {"GET", "POST"} == texts & METHODS


def test_only_graph_has_tokens():
    """No other module gets or sends one; the table's client has its own credential."""
    others = [path for path in deployed() if path.suffix == ".py" and path.parts[0] != "graph"]
    texts = {str(path): (PROJECT / path).read_text() for path in others}

    assert [] == [name for name, text in texts.items() if "get_token" in text or "Bearer" in text]
    credentials = [name for name, text in texts.items() if "from azure.identity" in text]
    assert ["table_client.py"] == credentials


def test_a_line_of_the_log_is_one_line(caplog):
    """What comes from outside ends no line, begins no other one, and moves no cursor."""
    text = '\r\n"}\n{"event": "sweep finished\u2028\x1b[2J'
    event(WARNING, "webhook", requestId=text)

    [line] = caplog.messages
    assert {"event": "webhook", "requestId": text} == json.loads(line)
    assert line.isprintable()
