"""graph/tokens.py: how the managed identity is asked, by azure-identity over real sockets."""

from __future__ import annotations

import base64
import json
import socket
import time
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

import graph
from deadline import Deadline
from graph.tokens import TokenClaims, Tokens, claims_of
from session import new_session
from settings import load
from tests.support.emulated_graph import SECRET, USER_ASSIGNED, WRITE, fresh

OBJECT = "7999249e-249e-4999-9e24-99799e249979"


@pytest.fixture
def emulated(monkeypatch):
    """The identity endpoint of App Service, emulated."""
    found = fresh()
    found.now = datetime.now(UTC)  # azure-identity goes by the real clock
    monkeypatch.setenv("IDENTITY_ENDPOINT", f"{found.url}/msi/token")
    monkeypatch.setenv("IDENTITY_HEADER", SECRET)
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

    expected = (
        graph.GraphFailed,
        f"the managed identity's endpoint answered HTTP {status}, so there is no token for Graph",
    )
    if status in {400, 401, 403}:
        expected = graph.GraphDenied, f"the managed identity was refused a token (HTTP {status})"
    with caplog.at_level("DEBUG"):
        assert expected == failure(one)
    assert one.get(Deadline(9))
    assert not [record for record in caplog.records if record.name.startswith(("azure", "urllib3"))]


def test_an_endpoint_that_is_not_there_has_failed(monkeypatch, tokens):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"http://127.0.0.1:{closed.getsockname()[1]}/")
        monkeypatch.setenv("IDENTITY_HEADER", SECRET)

        assert (
            graph.GraphFailed,
            "the managed identity's endpoint did not answer, so there is no token for Graph",
        ) == failure(tokens())


def test_a_silent_endpoint_ends_with_the_deadline(monkeypatch, tokens):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}/")
        monkeypatch.setenv("IDENTITY_HEADER", SECRET)

        began = time.monotonic()
        assert graph.GraphTimeout is failure(tokens(), 0.2)[0]
        assert time.monotonic() - began < 1


def test_an_answer_without_a_token_has_failed(tokens):
    """azure-identity lets such answers escape as they come."""

    def get_token(*_, **__):
        raise KeyError("expires_on")

    assert (
        graph.GraphFailed,
        "the managed identity's endpoint answered no usable token",
    ) == failure(tokens(SimpleNamespace(get_token=get_token)))


@pytest.mark.parametrize("length", range(4))
@pytest.mark.parametrize(("claims", "expected"), [
    ({"oid": OBJECT, "roles": ["a"]}, TokenClaims(OBJECT, ("a",))),
    ({"oid": "x", "roles": "a"}, TokenClaims(None, None)),
    ({}, TokenClaims(None, ())),
])  # fmt: skip
def test_claims_are_read_where_they_can_be(claims, expected, length):
    """Parts of a token are base64 without padding."""
    text = json.dumps(claims | {"x": "x" * length})
    part = base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")

    assert expected == claims_of(f"x.{part}.x")


@pytest.mark.parametrize("token", ["", "x", "x.y", "x.!.z", "x.W10.z", "x.bm8.z", f"x.{'W1tb' * 9999}.z"])  # fmt: skip
def test_a_token_that_cannot_be_read_says_nothing(token):
    """Graph decides; the claims only help to word a remedy."""
    assert TokenClaims() == claims_of(token)
