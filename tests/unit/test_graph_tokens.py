"""graph/tokens.py: how the managed identity is asked, by azure-identity over real sockets."""

from __future__ import annotations

import base64
import json
import socket
import time
from datetime import UTC, datetime
from unittest.mock import Mock

import pytest

import graph
from deadline import Deadline
from graph.tokens import TokenClaims, Tokens, claims_of
from session import new_session
from settings import load
from tests.support.emulated_graph import SECRET, USER_ASSIGNED, WRITE, fresh

OBJECT = "7999249e-249e-4999-9e24-99799e249979"


def ask_at(monkeypatch, url):
    monkeypatch.setenv("IDENTITY_ENDPOINT", url)
    monkeypatch.setenv("IDENTITY_HEADER", SECRET)


@pytest.fixture
def emulated(monkeypatch):
    """The identity endpoint of App Service, emulated."""
    found = fresh()
    found.now = datetime.now(UTC)  # azure-identity goes by the real clock
    ask_at(monkeypatch, f"{found.url}/msi/token")
    return found


@pytest.fixture
def tokens():
    with new_session() as session:
        yield lambda credential=None, **environ: Tokens(load(environ), session, credential)


def failure(one, seconds=9.0):
    with pytest.raises(graph.GraphError) as caught:
        one.get(Deadline(seconds))
    assert caught.value.never_sent
    return type(caught.value), caught.value.detail


@pytest.mark.parametrize("environ", [{}, {"AZURE_CLIENT_ID": USER_ASSIGNED}])
def test_a_token_is_of_the_identity_that_is_set_and_is_kept(emulated, tokens, environ):
    """Until another one is asked for; before the first nothing is known of it."""
    one = tokens(**environ)
    assert TokenClaims() == one.claims

    first = one.get(Deadline(9))

    assert (WRITE,) == one.claims.roles
    emulated.fault("token", "status", status=500)
    assert first == one.get(Deadline(9))


FAILED = "the managed identity's endpoint {}, so there is no token for Graph".format


@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 410, 429, 500, 503])
def test_a_refused_identity_is_denied_and_what_may_pass_has_failed(
    emulated, tokens, caplog, status
):
    """Azure's page on the endpoint lists 404, 408, 410, 429 and 5xx as passing.

    The next call asks anew, though msal keeps a failed answer; and azure-identity's own warning,
    "configuration not found", is not shown.
    """
    one = tokens()
    emulated.fault("token", "status", status=status, times=1)

    expected = graph.GraphFailed, FAILED(f"answered HTTP {status}")
    if status in {400, 401, 403}:
        expected = graph.GraphDenied, f"the managed identity was refused a token (HTTP {status})"
    with caplog.at_level("DEBUG"):
        assert expected == failure(one)
    assert one.get(Deadline(9))
    assert not [record for record in caplog.records if record.name.startswith(("azure", "urllib3"))]


@pytest.mark.parametrize(("listens", "seconds", "kind"), [
    (False, 9.0, graph.GraphFailed),
    (True, 0.2, graph.GraphTimeout),
])  # fmt: skip
def test_an_endpoint_that_does_not_answer_has_failed(monkeypatch, tokens, listens, seconds, kind):
    """One that is silent by the deadline, one that is not there at once."""
    with socket.socket() as endpoint:
        endpoint.bind(("127.0.0.1", 0))
        if listens:
            endpoint.listen()
        ask_at(monkeypatch, f"http://127.0.0.1:{endpoint.getsockname()[1]}/")

        began = time.monotonic()
        assert (kind, FAILED("did not answer")) == failure(tokens(), seconds)
        assert time.monotonic() - began < 1


def test_an_answer_without_a_token_has_failed(tokens):
    """azure-identity lets such answers escape as they come."""
    credential = Mock(get_token=Mock(side_effect=KeyError("expires_on")))

    expected = graph.GraphFailed, "the managed identity's endpoint answered no usable token"
    assert expected == failure(tokens(credential))


@pytest.mark.parametrize(("claims", "expected"), [
    ({"oid": OBJECT, "roles": ["a"]}, TokenClaims(OBJECT, ("a",))),
    ({"oid": "x", "roles": "a"}, TokenClaims(None, None)),
    ({}, TokenClaims(None, ())),
])  # fmt: skip
def test_claims_are_read_where_they_can_be(claims, expected):
    """Parts of a token are base64 without padding, of whatever length."""
    for length in range(4):
        text = json.dumps(claims | {"x": "x" * length}).encode()
        part = base64.urlsafe_b64encode(text).decode().rstrip("=")
        assert expected == claims_of(f"x.{part}.x")


@pytest.mark.parametrize("token", ["", "x", "x.y", "x.!.z", "x.W10.z", "x.bm8.z", f"x.{'W1tb' * 9999}.z"])  # fmt: skip
def test_a_token_that_cannot_be_read_says_nothing(token):
    """Graph decides; the claims only help to word a remedy."""
    assert TokenClaims() == claims_of(token)
