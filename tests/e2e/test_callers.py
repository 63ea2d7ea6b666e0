"""Flows that poll, and who gets in by what: keys, App Service authentication, status links.

Not for: the rules of each (unit/test_auth.py, unit/test_status_link.py).
"""

from __future__ import annotations

import base64
import http.client
import json
import time
from urllib.parse import urlsplit

from tests.e2e.conftest import LINK_SECRET
from tests.support.http_calls import APP, OID, ROLE, USER, principal
from tests.support.local_app import Reply, new, problem

PRINCIPAL = principal(("appid", APP), (OID, USER), ("idtyp", "app"), ("roles", ROLE))
NO_ROLE = principal(("appid", APP), (OID, USER), ("idtyp", "app"))


def ask(method, url, headers):
    """One call of a client that knows nothing but the URL."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)
    path = f"{parts.path}?{parts.query}" if parts.query else parts.path
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    body = json.loads(answer.read() or "null")
    connection.close()
    return Reply(answer.status, {n.lower(): value for n, value in answer.getheaders()}, body)


def flow(url, credentials):
    """The asynchronous pattern as Logic Apps follows it; return every answer.

    202 with `Location`: wait `Retry-After` seconds (20 without), GET `Location`, and so on, always
    with the last `Location` given, until the answer is no 202.
    https://learn.microsoft.com/azure/architecture/patterns/asynchronous-request-reply
    """
    seen = [ask("POST", url, credentials)]
    location = seen[0].headers.get("location")
    while seen[-1].status == 202 and location and len(seen) < 20:
        time.sleep(int(seen[-1].headers.get("retry-after", "20")))
        seen.append(ask("GET", location, {}))
        location = seen[-1].headers.get("location", location)
    return [(one.status, one.body["outcome"]) for one in seen]


def reprocess_url(app, request_id):
    return f"{app.url}/api/requests/{request_id}/reprocess"


def test_a_flow_waits_for_the_end(linked):
    """Power Automate polls with no credentials: the link is enough."""
    key = {"x-functions-key": linked.function_key}
    request_id = new(linked, outcomes=["deliveryFailed"], staleSeconds=0.3, deliverySeconds=1.5)

    seen = flow(reprocess_url(linked, request_id), key)

    assert [(202, "accepted"), (202, "onItsWay"), (200, "deliveryFailed")] == seen


def test_a_link_shows_one_request_and_opens_nothing_else(linked):
    """Altered, borrowed or used elsewhere it is 401, with a key as well, and Graph is not called."""
    request_id, other = new(linked, deliverySeconds=30), new(linked)
    location = linked.reprocess(request_id).headers["location"]
    query = location.partition("?")[2]
    path, key = f"{linked.url}/api/status?", {"x-functions-key": linked.function_key}
    assert location.startswith(f"{path}requestId={request_id}&")
    assert 202 == ask("GET", location, {}).status
    linked.control("DELETE", "log")

    for url in (path, location.replace(request_id, other), location[:-64] + "%FF%00"):
        for credentials in ({}, key):
            reply = ask("GET", url, credentials)
            said = problem(reply, "unauthorized", 401, None)
            assert "The caller could not be identified." == said
            assert "location" not in reply.headers
    assert 401 == ask("POST", f"{reprocess_url(linked, request_id)}?{query}", {}).status
    assert 401 == ask("GET", f"{linked.url}/api/requests/{request_id}?{query}", {}).status
    assert 404 == ask("POST", location, {}).status
    assert 404 == ask("GET", location.replace("/status?", f"/status/{request_id}?"), key).status
    assert [] == linked.control("GET", "log")["log"]


ROUTES = [
    ("POST", "/api/requests/7999249e-249e-4999-9e24-99799e249979/reprocess"),
    ("POST", "/api/requests/no-guid/reprocess?nonsense=1"),
    ("GET", "/api/requests/7999249e-249e-4999-9e24-99799e249979"),
    ("POST", "/api/requests/reprocess"),
    ("GET", "/api/requests"),
    ("GET", "/api/diagnosis"),
    ("GET", "/api/status?requestId=7999249e-249e-4999-9e24-99799e249979"),
    ("POST", "/api/webhook"),
]


def test_nothing_configured_means_refused(unguarded):
    """`anonymous` without App Service authentication: even a perfect principal is a forged one."""
    for method, path in ROUTES:
        for headers in ({}, {"x-functions-key": unguarded.function_key, **PRINCIPAL}):
            reply = unguarded.call(method, path, key="", **headers)
            said = problem(reply, "unauthorized", 401, None)
            assert "The caller could not be identified." == said
    assert [] == unguarded.control("GET", "log")["log"]


def test_no_principal_is_401_and_no_role_is_403(guarded):
    """Before parameters and ids are looked at, and before anything is called."""
    for method, path in ROUTES[:6]:
        reply = guarded.call(method, path)
        problem(reply, "unauthorized", 401, None)
        reply = guarded.call(method, path, key="", **NO_ROLE)
        said = problem(reply, "forbidden", 403, None)
        assert "The caller is known but may not do this." == said
    assert [] == guarded.control("GET", "log")["log"]


def test_without_the_key_nothing_is_called(app):
    """The host refuses before the app runs; the answer has no body of ours."""
    for method, path in [*ROUTES[:6], ROUTES[7]]:
        for key in ("", "wrong"):
            reply = app.call(method, path, key=key)
            assert (401, None) == (reply.status, reply.body)
    assert [] == app.control("GET", "log")["log"]


def test_the_log_says_who_called(guarded):
    """Application or link, the correlation id; for the refused the reason."""
    request_id = new(guarded, deliverySeconds=30)
    path = f"/api/requests/{request_id}/reprocess"
    done = guarded.call("POST", path, key="", **PRINCIPAL)
    polled = ask("GET", done.headers["location"], {})
    refused = guarded.call("POST", path, key="", **NO_ROLE)

    seen = [
        (guarded.line("reprocess", done), ("caller", "outcome", "requestId")),
        (guarded.line("status", polled), ("caller", "outcome")),
        (guarded.line("reprocess", refused), ("caller", "outcome", "reason")),
    ]
    assert [
        (f"application {APP}", "accepted", request_id),
        ("status link", "onItsWay"),
        (f"application {APP}", "forbidden", "the caller lacks CALLER_ROLE"),
    ] == [tuple(line[name] for name in names) for line, names in seen]
    everything = "\n".join(guarded.lines)
    begun = base64.b64encode(b'{"auth_typ"').decode()[:12]
    assert [] == [one for one in (LINK_SECRET, begun, "signature=") if one in everything]
