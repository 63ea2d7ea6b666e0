"""table_client.py: which account is asked as whom, and what its errors say to do.

Not for: rows, and what is sent again (test_table.py).
"""

from __future__ import annotations

import itertools
import json
import threading
from dataclasses import replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

import pytest
from azure.core.exceptions import AzureError

from attempts import Change, blank
from deadline import Deadline
from emulator.identity import Identity
from settings import load
from table import Table
from table_client import asking, new_client, what_to_do
from tests.support.proxy import Proxy

A, B = (f"{n}0000000-0000-4000-8000-000000000000" for n in "ab")
END = Deadline(60, lambda: 0)
_tables = itertools.count()


# -- which account, and as whom --


class Endpoint(BaseHTTPRequestHandler):
    """The emulated managed identity's endpoint, which azure-identity asks for its token."""

    def do_GET(self):
        query = dict(parse_qsl(urlsplit(self.path).query))
        self.server.asked.append(query)
        status, body = Identity(user_assigned=frozenset({B})).answer(
            query, self.headers["X-IDENTITY-HEADER"], [], 3600, datetime.now(UTC)
        )
        if self.server.is_broken:
            status, body = 500, {"error": "server_error"}
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def identity(monkeypatch):
    """The endpoint: what it was `asked`, and whether it is broken."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Endpoint) as server:
        server.asked, server.is_broken = [], False
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"http://127.0.0.1:{server.server_port}/msi/token")
        monkeypatch.setenv("IDENTITY_HEADER", Identity().header_secret)
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def by_identity(azurite_tls, identity, monkeypatch):
    """Settings of a table that a token opens."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(azurite_tls.certificate))
    return load(
        {
            "AzureWebJobsStorage__tableServiceUri": azurite_tls.uri,
            "ATTEMPTS_TABLE": f"identity{next(_tables)}",
        }
    )


@pytest.mark.parametrize("client_id", [None, B])
def test_the_identity_is_the_storages_own(azurite, by_identity, identity, monkeypatch, client_id):
    """Without a client id it is the system-assigned one, whatever AZURE_CLIENT_ID says.

    A connection string beside it is not used.
    """
    monkeypatch.setenv("AZURE_CLIENT_ID", A)
    more = {"storage_connection": azurite.connection_string, "storage_client_id": client_id}
    table = Table(new_client(replace(by_identity, azure_client_id=A, **more)))

    [written] = table.write([Change(blank(A))], END)

    assert [written] == table.read_all(END)
    assert [client_id] == [query.get("client_id") for query in identity.asked]
    assert "https://storage.azure.com" == identity.asked[0]["resource"]


# -- errors --


def error_of(connection, deadline=END, *, quick=True):
    """What comes of asking a table, without retries unless it is a sweep's."""
    table = Table(new_client(load({"AzureWebJobsStorage": connection})), quick=quick)
    with pytest.raises(AzureError) as caught:
        table.check_writable(deadline)
    return caught.value


@pytest.mark.parametrize("status, code, words", [
    (403, "AuthorizationFailure", "network rules (firewall)"),
    (403, "AuthorizationPermissionMismatch", "role Storage Table Data Contributor"),
    (403, "KeyBasedAuthenticationNotPermitted", "set AzureWebJobsStorage__accountName"),
    (409, "TableBeingDeleted", "wait a minute"),
    (503, "ServerBusy", "wait"),
    (500, "InternalError", "try again"),
])  # fmt: skip
def test_an_error_of_the_table_says_what_to_do(azurite, status, code, words):
    """Its status and code, and what to do about this one.

    [seen: azure-sdk-for-net#35633, #23748, azure-sdk-for-python#37200]
    """
    body = {"odata.error": {"code": code, "message": {"lang": "en-US", "value": "No."}}}
    with Proxy(azurite.port) as proxy:
        proxy.answer(
            status, {"Content-Type": "application/json"}, json.dumps(body).encode(), times=9
        )
        connection = azurite.connection_string.replace(f":{azurite.port}/", f":{proxy.port}/")
        said = what_to_do(error_of(connection))

    assert said.startswith(f"Table Storage answered {status} {code}: ")
    assert words in said


@pytest.mark.parametrize(("fault", "words"), [
    ("refuse", "cannot be reached: check the storage account's address and network."),
    ("silence", "gave no answer in time or of use (ServiceResponseTimeoutError): try again."),
])  # fmt: skip
def test_a_table_without_an_answer_says_where_to_look(azurite, fault, words):
    """A silent one has taken the connection. No address with a signature gets into the sentence."""
    with Proxy(azurite.port) as proxy:
        getattr(proxy, fault)()
        connection = azurite.connection_string.replace(f":{azurite.port}/", f":{proxy.port}/")

        assert f"Table Storage {words}" == what_to_do(error_of(connection, Deadline(0.3)))


def test_without_a_token_the_identity_is_named(by_identity, identity):
    """The table itself was not asked, and the endpoint once: azure-identity would take 5 seconds."""
    identity.is_broken = True

    with pytest.raises(AzureError) as caught:
        Table(new_client(by_identity)).read_all(END)

    assert 1 == len(identity.asked)
    assert what_to_do(caught.value) == (
        "There is no token for Table Storage: check the app's managed identity."
    )


def test_whatever_escapes_azure_data_tables_is_an_azure_error():
    """Callers handle one class; its words may have the address, so only its class is said."""
    with pytest.raises(AzureError, match=r"cannot be read \(ValueError\)"), asking(END):
        raise ValueError("https://account.example/?sig=secret")
