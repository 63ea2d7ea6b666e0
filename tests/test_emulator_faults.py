"""Faults happen where they were put, and the identity's endpoint is as strict as App Service's."""

from __future__ import annotations

import base64
import time
from datetime import UTC, datetime

import pytest
import requests
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import ManagedIdentityCredential

from tests.emulated import (
    IDS,
    PATH,
    READ,
    SECRET,
    START,
    UNKNOWN,
    USER_ASSIGNED,
    by_id,
    error,
    fresh,
    get_item,
    ids,
    post_item,
    statuses,
)

BROKEN = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)


@pytest.fixture(name="graph")
def _graph():
    return fresh()


@pytest.mark.parametrize(("after", "state"), [(False, "deliveryFailed"), (True, "delivering")])
def test_a_fault_of_kind_status(graph, after, state):
    """Status, code, message and Retry-After as told; with `after` the call was carried out."""
    told = {"status": 500, "code": "", "message": "No.", "retryAfter": 2.5}
    graph.fault("reprocess", "status", after=after, **told)

    answer = graph.reprocess()

    assert (error(answer), answer.headers["Retry-After"]) == ((500, "", "No."), "2.5")
    assert graph.state() == state
    assert graph.read().status_code == 200


def test_faults_come_when_and_where_they_were_put(graph):
    """`skip` lets calls pass, `times` counts, -1 is for ever, `requestId` and `on` choose."""
    graph.fault("read", "status", requestId=IDS[0].upper(), skip=1, times=2)
    assert [graph.read(n).status_code for n in (0, 1, 0, 0, 0)] == [200, 200, 503, 503, 200]

    graph.fault("list", "status", status=504, times=-1)
    assert [graph.list().status_code for _ in range(3)] == [504] * 3
    assert graph.read().status_code == 200
    graph.control.clear_faults()
    assert graph.list().status_code == 200

    graph.fault("any", "status", status=429, times=2)
    found = [graph.identity_answer(), graph.get("/v1.0/x")]
    assert [one.status_code for one in found] == [429, 429]


def test_a_list_that_breaks_off_at_a_page(graph):
    """The third page and all after it are refused."""
    graph.turn(pageSize=1)
    graph.fault("list", "status", status=500, skip=2, times=-1)

    answer, found = graph.list(), []
    while answer.status_code == 200:
        found += ids(answer)
        answer = graph.call("GET", answer.json()["@odata.nextLink"].removeprefix(graph.url))

    assert (found, error(answer)[:2]) == ([0, 1], (500, "InternalServerError"))
    assert graph.list().status_code == 500


def test_bodies_that_are_no_graph_answers(graph):
    """A proxy's page, nothing at all, JSON that is none, and a redirect."""
    graph.fault("list", "html")
    graph.fault("list", "empty")
    graph.fault("list", "garbage", status=206)
    graph.fault("list", "redirect", location="https://elsewhere.example/")

    html, empty, garbage, redirect = (graph.list() for _ in range(4))

    assert (html.status_code, html.headers["Content-Type"]) == (502, "text/html; charset=utf-8")
    assert (empty.status_code, empty.content) == (200, b"")
    assert (garbage.status_code, garbage.headers["Content-Type"]) == (206, "application/json")
    with pytest.raises(ValueError):
        garbage.json()
    location = "https://elsewhere.example/"
    assert (redirect.status_code, redirect.headers["Location"]) == (302, location)


@pytest.mark.parametrize(
    ("kind", "after", "state"),
    [
        ("dropBefore", False, "deliveryFailed"),
        ("dropAfter", False, "delivering"),
        ("truncated", False, "delivering"),
        ("silence", False, "deliveryFailed"),
        ("silence", True, "delivering"),
    ],
)
def test_connections_that_break(graph, kind, after, state):
    """Whether the call was carried out is what a client cannot see."""
    graph.fault("reprocess", kind, after=after)

    with pytest.raises(BROKEN):
        graph.reprocess(timeout=0.2)

    assert graph.state() == state
    assert graph.control.log()[-1]["fault"] == kind


def test_a_truncated_list_arrives_in_half(graph):
    """The length promises more than comes."""
    graph.fault("list", "truncated")
    half = b""

    with (
        graph.get(PATH, stream=True) as answer,
        pytest.raises(requests.exceptions.ChunkedEncodingError),
    ):
        for part in answer.iter_content(64):
            half += part

    assert 0 < len(half) < int(answer.headers["Content-Length"])


def test_an_answer_that_drips(graph):
    """Byte by byte: no single read takes long, all of them do."""
    graph.fault("reprocess", "drip")
    begin = time.monotonic()

    with graph.reprocess(stream=True, timeout=0.3) as answer:
        first = [part for part, _ in zip(answer.iter_content(1), range(4), strict=False)]

    assert (answer.status_code, first) == (202, [b" "] * 4)
    assert time.monotonic() - begin > 0.25
    assert graph.state() == "delivering"


def test_next_links_that_lead_astray(graph):
    """To another host, or back to the same page."""
    graph.fault("list", "foreignNextLink", location="https://evil.example/?x")
    graph.fault("list", "circularNextLink")

    links = [graph.list(select="id").json()["@odata.nextLink"] for _ in range(2)]

    assert links == ["https://evil.example/?x", f"{graph.url}{PATH}?%24select=id"]


def test_faults_of_batches_and_their_items(graph):
    """`batch` meets the whole call; `batchItem` and the operation's name meet an item."""
    graph.fault("batch", "status", status=504, after=True)
    assert graph.batch(post_item("1")).status_code == 504
    assert graph.state() == "delivering"

    graph.control.advance(10)
    graph.fault("batchItem", "status", requestId=IDS[0], status=503, retryAfter=7)
    graph.fault("reprocess", "missing", requestId=IDS[1], after=True)
    graph.fault("read", "html")
    graph.fault("list", "empty", status=204)
    listing = {"id": "4", "method": "GET", "url": PATH.removeprefix("/v1.0")}
    found = by_id(graph.batch(post_item("1"), post_item("2", 1), get_item("3"), listing))

    assert set(found) == {"1", "3", "4"}
    assert (found["1"]["status"], found["1"]["headers"]["Retry-After"]) == (503, "7")
    assert (found["3"]["status"], base64.b64decode(found["3"]["body"])[:9]) == (502, b"<!DOCTYPE")
    assert found["4"] == {"id": "4", "status": 204, "headers": {}}
    assert graph.state(1) == "delivering"


def test_a_failed_dependency_is_a_fault_on_an_item(graph):
    """424, as an older page has it for what was throttled before it."""
    graph.fault("batchItem", "status", requestId=IDS[0], status=424)

    found = by_id(graph.batch(post_item("1"), post_item("2", 1)))

    assert [found[n]["status"] for n in "12"] == [424, 202]
    assert found["1"]["body"]["error"]["code"] == "FailedDependency"


def test_connection_faults_of_an_operation_leave_batch_items_alone(graph):
    """An item has no connection of its own."""
    graph.fault("reprocess", "dropAfter")

    assert statuses(graph.batch(post_item("1"))) == {"1": 202}
    assert len(graph.control.faults.waiting) == 1


# ---- the managed identity's endpoint -------------------------------------------------------------


def test_the_identity_endpoint_gives_a_token_that_graph_takes(graph):
    """The answer of App Service: expires_on is a text with seconds since 1970."""
    graph.turn(tokenSeconds=60, roles=[READ])

    answer = graph.identity_answer().json()

    graph.headers = {"Authorization": f"Bearer {answer.pop('access_token')}"}
    assert answer == {
        "expires_on": str(int(START.timestamp()) + 60),
        "resource": "https://graph.microsoft.com",
        "token_type": "Bearer",
        "client_id": "6f0b1c1e-9a0e-4d0a-8a34-2f4f6a0c1d01",
    }
    assert (graph.list().status_code, graph.reprocess().status_code) == (200, 403)
    user_assigned = graph.identity_answer(client_id=USER_ASSIGNED).json()
    assert user_assigned["client_id"] == USER_ASSIGNED


@pytest.mark.parametrize(
    ("header", "query", "status"),
    [
        (None, {}, 401),
        (SECRET.upper(), {}, 401),
        (SECRET, {"api-version": "2017-09-01"}, 400),
        (SECRET, {"resource": None}, 400),
        (SECRET, {"resource": "https://graph.microsoft.com/.default"}, 400),
        (SECRET, {"client_id": UNKNOWN}, 400),
        (SECRET, {"mi_res_id": "x"}, 400),
    ],
)
def test_the_identity_endpoint_refuses_as_json(graph, header, query, status):
    """Header exact, version and resource given, client id known."""
    answer = graph.identity_answer(header, **query)

    body = answer.json()
    said = {"message": body["message"], "correlationId": body["correlationId"]}
    assert (answer.status_code, body) == (status, {"statusCode": status, **said})


def test_azure_identity_itself_gets_a_token(graph, monkeypatch):
    """The library's own credential, system- and user-assigned, and an identity that is not there."""
    graph.now = datetime.now(UTC)
    monkeypatch.setenv("IDENTITY_ENDPOINT", f"{graph.url}/msi/token")
    monkeypatch.setenv("IDENTITY_HEADER", SECRET)

    for options in ({}, {"client_id": USER_ASSIGNED}):
        with ManagedIdentityCredential(**options) as credential:
            token = credential.get_token("https://graph.microsoft.com/.default").token
        graph.headers = {"Authorization": f"Bearer {token}"}
        assert graph.list().status_code == 200
    with (
        ManagedIdentityCredential(client_id=UNKNOWN) as credential,
        pytest.raises(ClientAuthenticationError, match="No User Assigned"),
    ):
        credential.get_token("https://graph.microsoft.com/.default")


def test_the_identity_endpoint_fails_too(graph):
    """A status in its own form, a text instead of JSON, and all that a connection can do."""
    graph.fault("token", "status", message="Later.", status=429, retryAfter=3)
    graph.fault("token", "html", status=200)
    graph.fault("token", "garbage")
    graph.fault("token", "silence")
    graph.fault("token", "dropBefore")

    told, html, garbage = (graph.identity_answer() for _ in range(3))

    found = (told.status_code, told.json()["message"], told.headers["Retry-After"])
    assert found == (429, "Later.", "3")
    assert (html.status_code, html.text[:9]) == (200, "<!DOCTYPE")
    with pytest.raises(ValueError):
        garbage.json()
    with pytest.raises(requests.Timeout):
        graph.session.get(f"{graph.url}/msi/token", timeout=0.2)
    with pytest.raises(requests.ConnectionError):
        graph.identity_answer()
    assert graph.identity_answer().status_code == 200


def test_a_token_that_graph_takes_no_longer_is_a_fault_on_any_call(graph):
    """401 before the token's time is over, with the header that says how to come back."""
    graph.fault("any", "status", status=401)

    refused = graph.list()

    assert error(refused)[:2] == (401, "InvalidAuthenticationToken")
    assert refused.headers["WWW-Authenticate"].startswith("Bearer ")
    assert graph.list().status_code == 200
