"""table_client.py: which account is asked as whom, and what its errors say to do.

Not for: rows, and what is sent again (test_table.py).
"""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from datetime import UTC, datetime
from urllib.parse import parse_qsl

import pytest
from azure.core.exceptions import AzureError

from attempts import Change, blank
from deadline import Deadline
from settings import load
from table import Table
from table_client import asking, new_client, what_to_do
from tests.support.emulated_graph import SECRET, USER_ASSIGNED, fresh
from tests.support.proxy import Proxy

A = "a0000000-0000-4000-8000-000000000000"
END = Deadline(60, lambda: 0)
_tables = itertools.count()


# -- which account, and as whom --


@pytest.fixture
def identity(monkeypatch):
    """The emulated managed identity's endpoint, which azure-identity asks for its token."""
    emulated = fresh()
    emulated.now = datetime.now(UTC)  # Azurite goes by the real clock
    monkeypatch.setenv("IDENTITY_ENDPOINT", f"{emulated.url}/msi/token")
    monkeypatch.setenv("IDENTITY_HEADER", SECRET)
    return emulated


def asked(identity):
    """What the endpoint was asked."""
    return [dict(parse_qsl(call["query"])) for call in identity.control.log()]


@pytest.fixture
def by_identity(azurite_tls, identity, monkeypatch):
    """Settings of a table that a token opens."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(azurite_tls.certificate))
    table = {"ATTEMPTS_TABLE": f"identity{next(_tables)}"}
    return load({"AzureWebJobsStorage__tableServiceUri": azurite_tls.uri, **table})


@pytest.mark.parametrize("client_id", [None, USER_ASSIGNED])
def test_the_identity_is_the_storages_own(azurite, by_identity, identity, monkeypatch, client_id):
    """Without a client id it is the system-assigned one, whatever AZURE_CLIENT_ID says.

    A connection string beside it is not used.
    """
    monkeypatch.setenv("AZURE_CLIENT_ID", A)
    more = {"storage_connection": azurite.connection_string, "storage_client_id": client_id}
    table = Table(new_client(replace(by_identity, azure_client_id=A, **more)))

    [written] = table.write([Change(blank(A))], END)

    assert [written] == table.read_all(END)
    [query] = asked(identity)
    assert (client_id, "https://storage.azure.com") == (query.get("client_id"), query["resource"])


# -- errors --


def said_of(azurite, breaks, seconds=60):
    """What is said to do when a proxy breaks the connection to a table so."""
    with Proxy(azurite.port) as proxy:
        breaks(proxy)
        connection = azurite.connection_string.replace(f":{azurite.port}/", f":{proxy.port}/")
        table = Table(new_client(load({"AzureWebJobsStorage": connection})), quick=True)
        with pytest.raises(AzureError) as caught:
            table.check_writable(Deadline(seconds))
    return what_to_do(caught.value)


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
    answer = (status, {"Content-Type": "application/json"}, json.dumps(body).encode())
    said = said_of(azurite, lambda proxy: proxy.answer(*answer, times=9))

    assert said.startswith(f"Table Storage answered {status} {code}: ")
    assert words in said


@pytest.mark.parametrize(("fault", "words"), [
    ("refuse", "cannot be reached: check the storage account's address and network."),
    ("silence", "gave no answer in time or of use (ServiceResponseTimeoutError): try again."),
])  # fmt: skip
def test_a_table_without_an_answer_says_where_to_look(azurite, fault, words):
    """A silent one has taken the connection. No address with a signature gets into the sentence."""
    said = said_of(azurite, lambda proxy: getattr(proxy, fault)(), seconds=0.3)

    assert f"Table Storage {words}" == said


def test_without_a_token_the_identity_is_named(by_identity, identity):
    """The table itself was not asked, and the endpoint once: azure-identity would take 5 seconds."""
    identity.fault("token", "status", status=500, times=9)

    with pytest.raises(AzureError) as caught:
        Table(new_client(by_identity)).read_all(END)

    assert 1 == len(asked(identity))
    assert what_to_do(caught.value) == (
        "There is no token for Table Storage: check the app's managed identity."
    )


def test_whatever_escapes_azure_data_tables_is_an_azure_error():
    """Callers handle one class; its words may have the address, so only its class is said."""
    with pytest.raises(AzureError, match=r"cannot be read \(ValueError\)"), asking(END):
        raise ValueError("https://account.example/?sig=secret")
