"""identity.py: how the managed identity is asked, and what its failures mean.

Not for: sockets and azure-identity's own answers (tests/e2e).
"""

import base64
import json
import logging
import threading
from types import SimpleNamespace

import pytest
from azure.core.exceptions import AzureError, ClientAuthenticationError

import graph
import settings as app_settings
from deadline import Deadline
from graph import calls, identity
from graph.identity import ManagedIdentity, TokenClaims, claims_of
from settings import load

CLIENT = "7999249e-249e-4999-9e24-99799e249979"
SCOPE = "https://graph.microsoft.com/.default"


class Managed:
    """Stands in for azure-identity's credential: its endpoint answers by a script.

    A step is a status, which azure-identity turns into an error, an exception, or a token.
    """

    script: list = []  # noqa: RUF012 - emptied by each test
    made: list = []  # noqa: RUF012

    def __init__(self, **options):
        self.options = options
        self.asked = []
        Managed.made.append(self)

    def get_token(self, scope, **options):
        self.asked.append((scope, options))
        step = Managed.script.pop(0)
        if isinstance(step, int):
            answer = SimpleNamespace(status_code=step)
            self.options["raw_response_hook"](SimpleNamespace(http_response=answer))
            raise ClientAuthenticationError("no")
        if isinstance(step, Exception):
            raise step
        return SimpleNamespace(token=step)


@pytest.fixture
def managed(monkeypatch):
    """Return an identity whose endpoint answers like this."""
    monkeypatch.setattr(identity, "ManagedIdentityCredential", Managed)
    monkeypatch.setattr(Managed, "made", [])

    def scripted(*script, client_id=None):
        monkeypatch.setattr(Managed, "script", list(script))
        return ManagedIdentity(SCOPE, client_id, None)

    return scripted


def failure(one):
    """Which error it ends with, and what that says."""
    with pytest.raises(graph.GraphError) as caught:
        one.token(Deadline(9))
    return type(caught.value), str(caught.value)


@pytest.mark.parametrize("client_id", [None, CLIENT])
def test_the_endpoint_is_asked_once_and_silence_has_an_end(managed, client_id):
    """Whoever calls tries again, within its own deadline."""
    one = managed("token", client_id=client_id)

    assert "token" == one.token(Deadline(9))
    [made] = Managed.made
    made.options.pop("raw_response_hook")
    assert {
        "client_id": client_id,
        "retry_total": 0,
        "connection_timeout": 5.0,
        "read_timeout": 5.0,
    } == made.options
    assert [(SCOPE, {})] == made.asked


def test_graph_uses_the_identity_that_is_set_and_enough_connections(managed):
    """AZURE_CLIENT_ID and GRAPH_CONCURRENCY."""
    managed()
    one = graph.Graph(load({"AZURE_CLIENT_ID": CLIENT, "GRAPH_CONCURRENCY": "64"}))

    assert [CLIENT] == [made.options["client_id"] for made in Managed.made[1:]]
    assert 64 == one._http.session.get_adapter("https://graph.microsoft.com")._pool_maxsize


def test_a_process_has_one_graph(monkeypatch):
    """With one credential and one session, whoever asks for it."""
    calls._made.cache_clear()
    monkeypatch.setattr(app_settings, "current", lambda: load({}))

    one = graph.shared()

    calls._made.cache_clear()
    assert isinstance(one, graph.Graph)
    assert one is not graph.shared()
    assert graph.shared() is graph.shared()
    calls._made.cache_clear()


@pytest.mark.parametrize("name", ["azure.identity", "azure.core"])
def test_the_libraries_log_warnings_only(name):
    """They would log each token that is taken from their cache."""
    assert logging.WARNING == logging.getLogger(name).level


def test_before_the_first_token_nothing_is_known(managed):
    """And nothing is asked."""
    assert TokenClaims(None, None) == managed().claims


@pytest.mark.parametrize("status", [400, 401, 403, 499])
def test_a_refused_identity_is_denied(managed, status):
    """It is not assigned, or may not be used; asking again does not help."""
    assert (
        graph.GraphDenied,
        f"the managed identity was refused a token (HTTP {status})",
    ) == failure(managed(status))


@pytest.mark.parametrize("status", [399, 404, 408, 410, 429, 500, 503])
def test_an_endpoint_that_fails_or_is_not_there_yet_has_failed(managed, status):
    """Azure's page on the endpoint lists these as passing."""
    assert (
        graph.GraphFailed,
        f"the managed identity's endpoint answered HTTP {status}, so there is no token for Graph",
    ) == failure(managed(status))


def test_an_endpoint_that_does_not_answer_has_failed(managed):
    """Also when it has answered before: an old status says nothing."""
    silent = (
        graph.GraphFailed,
        "the managed identity's endpoint did not answer, so there is no token for Graph",
    )
    one = managed(400, AzureError("no connection"), AzureError("no connection"))

    assert [graph.GraphDenied, silent, silent] == [failure(one)[0], failure(one), failure(one)]


def test_an_answer_without_a_token_has_failed(managed):
    """azure-identity lets such answers escape as they come."""
    assert (
        graph.GraphFailed,
        "the managed identity's endpoint answered no usable token",
    ) == failure(managed(KeyError("expires_on")))


def test_after_a_failure_the_endpoint_is_asked_anew(managed):
    """The library below keeps a failure for a minute: a new credential has kept none."""
    one = managed(500, "token", client_id=CLIENT)
    failure(one)

    assert "token" == one.token(Deadline(9))
    assert [1, 1] == [len(made.asked) for made in Managed.made]
    assert [CLIENT] * 2 == [made.options["client_id"] for made in Managed.made]


def test_a_credential_that_was_given_stays():
    """There is none to put in its place."""
    given = Managed()
    Managed.script = [AzureError("no"), "token"]
    one = ManagedIdentity(SCOPE, None, given)
    failure(one)

    assert ("token", 2) == (one.token(Deadline(9)), len(given.asked))


def test_a_silent_endpoint_is_told_as_such():
    """What is missing is the token, not Graph; one that comes too late is not used."""
    ended = threading.Event()

    def late(*_, **__):
        ended.wait(0.5)
        return SimpleNamespace(token="late")

    one = ManagedIdentity(SCOPE, None, SimpleNamespace(get_token=late))

    with pytest.raises(graph.GraphTimeout) as caught:
        one.token(Deadline(0.05))
    ended.set()

    assert (
        "the managed identity's endpoint gave no answer in time, so there is no token for Graph"
        == str(caught.value)
    )


@pytest.mark.parametrize("length", range(8))
def test_a_token_is_read_whatever_its_length(length):
    """Its parts are base64 without padding."""
    claims = {"oid": CLIENT, "roles": ["a"], "x": "x" * length}
    part = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")

    assert TokenClaims(CLIENT, ("a",)) == claims_of(f"x.{part}.x")


@pytest.mark.parametrize("token", ["", "x", "x.y", "x.!.z", "x.W10.z", "x.bm8.z"])
def test_a_token_that_cannot_be_read_says_nothing(token):
    """Graph decides; the claims only help to word a remedy."""
    assert TokenClaims(None, None) == claims_of(token)
