"""Flows that wait, and the door: who gets in, by what, and what is told to whom."""

from __future__ import annotations

import base64
import http.client
import json
import time
from urllib.parse import urlsplit

import pytest

from tests.calls import APP, OID, ROLE, USER, new, principal, problem
from tests.e2e.conftest import EASY_AUTH, LINK_SECRET, started
from tests.local_app import Reply

PRINCIPAL = principal(("appid", APP), (OID, USER), ("idtyp", "app"), ("roles", ROLE))
NO_ROLE = principal(("appid", APP), (OID, USER), ("idtyp", "app"))


def ask(method, url, headers):
    """One call of a client that knows nothing but the URL."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)
    connection.request(
        method, f"{parts.path}?{parts.query}" if parts.query else parts.path, headers=headers
    )
    answer = connection.getresponse()
    body = json.loads(answer.read() or "null")
    connection.close()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}, body


def flow(url, credentials, poll_credentials):
    """The asynchronous pattern as Logic Apps follows it; return every answer's status and body.

    202 with `Location`: wait `Retry-After` seconds (20 without), GET `Location`, and so on, always
    with the last `Location` given, until the answer is no 202.
    https://learn.microsoft.com/azure/architecture/patterns/asynchronous-request-reply
    """
    status, headers, body = ask("POST", url, credentials)
    seen = [(status, body)]
    location = headers.get("location")
    while status == 202 and location and len(seen) < 20:
        time.sleep(int(headers.get("retry-after", "20")))
        status, headers, body = ask("GET", location, poll_credentials)
        location = headers.get("location", location)
        seen.append((status, body))
    return seen


def reprocess_url(app, request_id):
    return f"{app.url}/api/requests/{request_id}/reprocess"


@pytest.mark.parametrize("polls", ["with", "without"])
@pytest.mark.parametrize("outcome", ["delivered", "deliveryFailed"])
def test_a_flow_waits_for_the_end(linked, polls, outcome):
    """Logic Apps polls with the first call's credentials, Power Automate with none."""
    credentials = {"x-functions-key": linked.function_key}
    request_id = new(linked, outcomes=[outcome], staleSeconds=0.3, deliverySeconds=1.5)

    seen = flow(
        reprocess_url(linked, request_id), credentials, credentials if polls == "with" else {}
    )

    assert [202, 202, 200] == [status for status, _ in seen]
    assert ["accepted", "onItsWay", outcome] == [body["outcome"] for _, body in seen]


@pytest.mark.parametrize("polls", ["with", "without"])
def test_a_flow_behind_authentication_waits_for_the_end(guarded, polls):
    """The same with a managed identity's token in place of the key."""
    request_id = new(guarded, deliverySeconds=1)

    seen = flow(reprocess_url(guarded, request_id), PRINCIPAL, PRINCIPAL if polls == "with" else {})

    assert (200, "delivered") == (seen[-1][0], seen[-1][1]["outcome"])


def test_a_flow_without_status_links_polls_with_its_credentials(app):
    """Without STATUS_LINK_SECRET `Location` needs the caller's own."""
    reply = app.reprocess(new(app, deliverySeconds=30))
    location = reply.headers["location"]

    assert f"{app.url}/api/requests/" == location[: len(f"{app.url}/api/requests/")]
    assert 202 == ask("GET", location, {"x-functions-key": app.function_key})[0]
    assert 401 == ask("GET", location, {})[0]


def test_polling_does_not_prolong_a_link(linked):
    """The 202 of a status link hands the same link on."""
    location = linked.reprocess(new(linked, deliverySeconds=30)).headers["location"]
    time.sleep(1.1)  # a fresh link would expire a second later

    status, headers, body = ask("GET", location, {})

    assert (202, location, location) == (status, headers["location"], body["statusUrl"])


def test_a_link_for_what_is_already_delivering_works(linked):
    """It has no `acceptedAt`, since nobody here knows when that was."""
    reply = linked.reprocess(new(linked, state="delivering"))

    assert (202, "alreadyDelivering") == (reply.status, reply.body["outcome"])
    assert "acceptedAt" not in reply.headers["location"]
    assert 202 == ask("GET", reply.headers["location"], {})[0]


def altered(location, request_id, other):
    """A link's address, altered in ways of which the host sees something before the app does."""
    signature = location.partition("signature=")[2]
    return {
        "nothing": location.partition("?")[0],
        "borrowed": location.replace(request_id, other),
        "not UTF-8": location[:-64] + "%FF%00",
        "twice": f"{location}&signature={signature}",
    }


def test_forged_altered_and_borrowed_links_are_401(linked):
    """The same answer for each, and Graph is not called; the function key does not help either."""
    request_id, other = new(linked, deliverySeconds=30), new(linked)
    location = linked.reprocess(request_id).headers["location"]
    linked.control("DELETE", "log")

    for what, url in altered(location, request_id, other).items():
        for credentials in ({}, {"x-functions-key": linked.function_key}):
            status, headers, body = ask("GET", url, credentials)
            assert (401, "The caller could not be identified.") == (status, body["detail"]), what
            assert "location" not in headers

    assert [] == linked.control("GET", "log")["log"]


def test_an_expired_link_is_401(linked):
    """Signed by us, but in the past."""
    from reprocess_http.status_link import query

    request_id = new(linked)
    good = query(LINK_SECRET, request_id, None, int(time.time()) + 5)
    over = query(LINK_SECRET, request_id, None, int(time.time()))

    assert 200 == ask("GET", f"{linked.url}/api/status/{request_id}?{good}", {})[0]
    assert 401 == ask("GET", f"{linked.url}/api/status/{request_id}?{over}", {})[0]


def test_a_link_reads_and_nothing_else(linked):
    """Its parameters open no other route, and its route takes no other method."""
    request_id = new(linked, deliverySeconds=30)
    location = linked.reprocess(request_id).headers["location"]
    query = location.split("?")[1]

    assert 401 == ask("POST", f"{reprocess_url(linked, request_id)}?{query}", {})[0]
    assert 401 == ask("GET", f"{linked.url}/api/requests/{request_id}?{query}", {})[0]
    assert 404 == ask("POST", location, {})[0]


def test_without_the_setting_the_link_route_is_closed(app):
    """No secret, no link: whatever is in the URL."""
    from reprocess_http.status_link import query

    request_id = new(app)
    for secret in ("", LINK_SECRET):
        forged = query(secret, request_id, None, int(time.time()) + 60)
        assert 401 == ask("GET", f"{app.url}/api/status/{request_id}?{forged}", {})[0]


def test_forwarded_headers_do_not_lead_links_away(linked):
    """Anybody can send them, so they are not read."""
    request_id = new(linked, deliverySeconds=30)
    forged = {
        "X-Forwarded-Host": "evil.example",
        "X-Original-Host": "evil.example",
        "Forwarded": "host=evil.example",
        "X-Forwarded-Proto": "javascript",
    }

    reply = linked.call("POST", f"/api/requests/{request_id}/reprocess", **forged)

    assert reply.headers["location"].startswith(f"{linked.url}/api/status/")


ROUTES = [
    ("POST", "/api/requests/7999249e-249e-4999-9e24-99799e249979/reprocess"),
    ("POST", "/api/requests/no-guid/reprocess?nonsense=1"),
    ("GET", "/api/requests/7999249e-249e-4999-9e24-99799e249979"),
    ("GET", "/api/status/7999249e-249e-4999-9e24-99799e249979"),
    ("POST", "/api/webhook"),
    ("GET", "/api/diagnosis"),
]


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_nothing_configured_means_refused(unguarded, method, path):
    """`anonymous` without App Service authentication: even a perfect principal is a forged one."""
    for headers in ({}, PRINCIPAL, {"x-functions-key": unguarded.function_key, **PRINCIPAL}):
        reply = unguarded.call(method, path, key="", **headers)
        assert "The caller could not be identified." == problem(reply, "unauthorized", 401, None)
    assert [] == unguarded.control("GET", "log")["log"]
    assert 200 == unguarded.call("GET", "/api/health", key="").status


DOOR = [ROUTES[0], ROUTES[1], ROUTES[2], ROUTES[5]]


@pytest.mark.parametrize(("method", "path"), DOOR)
def test_no_principal_is_401_and_no_role_is_403(guarded, method, path):
    """Without detail, before parameters and ids are looked at, and before anything is called."""
    for headers in ({}, {"x-functions-key": guarded.function_key}):
        reply = guarded.call(method, path, key="", **headers)
        problem(reply, "unauthorized", 401, None)
    reply = guarded.call(method, path, key="", **NO_ROLE)
    assert "The caller is known but may not do this." == problem(reply, "forbidden", 403, None)
    assert [] == guarded.control("GET", "log")["log"]


def test_a_principal_given_twice_is_none(guarded):
    """The host joins a repeated header with a comma."""
    value = next(iter(PRINCIPAL.values()))
    connection = http.client.HTTPConnection("127.0.0.1", guarded.port, timeout=30)
    connection.putrequest("GET", "/api/diagnosis")
    connection.putheader("X-MS-CLIENT-PRINCIPAL", value)
    connection.putheader("X-MS-CLIENT-PRINCIPAL", value)
    connection.endheaders()

    assert 401 == connection.getresponse().status
    connection.close()


def test_the_log_says_who_called_and_for_which_run(guarded):
    """Application or link, the workflow's run, the correlation id; for the refused the reason."""
    request_id = new(guarded, deliverySeconds=30)
    run = "08586102636111028709571538887CU01"
    path = f"/api/requests/{request_id}/reprocess"
    done = guarded.call("POST", path, key="", **PRINCIPAL, **{"x-ms-workflow-run-id": run})
    polled = Reply(*ask("GET", done.headers["location"], {"x-ms-workflow-run-id": '"}, forged'}))
    refused = guarded.call("POST", path, key="", **NO_ROLE)

    line = guarded.line("reprocess", done)
    assert (f"application {APP}", run, "accepted", request_id) == tuple(
        line[name] for name in ("caller", "workflowRunId", "outcome", "requestId")
    )
    line = guarded.line("status", polled)
    assert ("status link", "onItsWay") == (line["caller"], line["outcome"])
    assert "workflowRunId" not in line
    line = guarded.line("reprocess", refused)
    assert (f"application {APP}", "forbidden", "the caller lacks CALLER_ROLE") == tuple(
        line[name] for name in ("caller", "outcome", "reason")
    )
    everything = "\n".join(guarded.lines)
    assert LINK_SECRET not in everything
    assert base64.b64encode(b'{"auth_typ"').decode()[:12] not in everything
    assert "signature=" not in everything


@pytest.fixture(scope="module", name="wrong")
def _wrong():
    """Behind authentication, with settings that cannot be."""
    yield from started(EASY_AUTH | {"GRAPH_CLOUD": "mars", "WEBHOOK_SECRETS": "too-short"})


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_wrong_settings_are_told_only_to_who_may_know(wrong, method, path):
    """Whoever is unknown gets the same 401 as ever; who may call gets the settings' names."""
    problem(wrong.call(method, path, key=""), "unauthorized", 401, None)

    reply = wrong.call(method, path, key="", **PRINCIPAL)

    if path.startswith(("/api/webhook", "/api/status")):  # a principal does not open these
        problem(reply, "unauthorized", 401, None)
    elif path == "/api/diagnosis":
        assert 503 == reply.status
    else:
        detail = problem(reply, "misconfigured", 500, None)
        assert "GRAPH_CLOUD is 'mars'" in detail
        assert "too-short" not in detail
