"""The webhook, over HTTP: signed bodies get in, everything else stays out."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from standardwebhooks.webhooks import Webhook

from tests import calls
from tests.calls import new, problem
from tests.e2e.conftest import HOOK_SECRETS
from tests.local_app import fresh

PLAIN, STANDARD = HOOK_SECRETS
PATH = "/api/webhook"


def payload(request_id, **more):
    return json.dumps({"requestId": request_id, **more}).encode()


def hub(body, secret=PLAIN, name="X-Hub-Signature"):
    return calls.hub(body, secret, name)


def standard(body, at=None, message_id="msg_1"):
    at = at or datetime.now(UTC)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(STANDARD).sign(message_id, at, body.decode()),
    }


def post(app, body, headers=None, key=None, path=PATH):
    given = hub(body) if headers is None else headers
    return app.call("POST", path, key=key, body=body, **given)


def ended(app, request_id):
    """Wait until Graph shows an end."""
    for _ in range(100):
        if app.call("GET", f"/api/requests/{request_id}").body["state"] == "delivering":
            break
        time.sleep(0.02)
    for _ in range(100):
        if app.call("GET", f"/api/requests/{request_id}").status == 200:
            break
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("sign", "secret"),
    [
        (hub, 1),
        (standard, 2),
    ],
    ids=["jira", "standard"],
)
def test_a_signed_webhook_is_accepted(linked, sign, secret):
    """Each scheme, each secret; the answer is that of the reprocess route, the log says who."""
    request_id = new(linked, deliverySeconds=30)
    body = payload(request_id.upper(), event="reopened")

    reply = post(linked, body, sign(body))

    assert (202, "accepted", request_id) == (
        reply.status,
        reply.body["outcome"],
        reply.body["requestId"],
    )
    assert reply.body["statusUrl"] == reply.headers["location"]
    assert ("accepted", f"webhook secret {secret}", request_id) == tuple(
        linked.line("webhook", reply)[name] for name in ("outcome", "caller", "requestId")
    )


def test_a_webhook_delivered_again_starts_nothing_more(linked):
    """Right after its acceptance, while it is delivered, and after: one POST to Graph in all."""
    request_id = new(linked, staleSeconds=0.4, deliverySeconds=0.8)
    body = payload(request_id)
    seen = []

    for _ in range(40):
        reply = post(linked, body)
        seen.append((reply.status, reply.body["outcome"], reply.body.get("state")))
        if reply.status == 200:
            break
        time.sleep(0.1)

    assert [
        (202, "accepted", None),
        (202, "alreadyDelivering", "deliveryFailed"),
        (202, "alreadyDelivering", "delivering"),
        (200, "alreadyDelivered", "delivered"),
    ] == list(dict.fromkeys(seen))
    assert 1 == len([c for c in linked.calls("reprocess") if c["status"] == 202])


def test_webhooks_and_calls_at_once_reach_graph_once(linked):
    """A sender that delivers twice, and a flow besides: one reprocess, the same acceptance."""
    request_id = new(linked, staleSeconds=1, deliverySeconds=30)
    body = payload(request_id)
    linked.control("PATCH", "settings", {"latencyMs": 700})

    def call(n):
        return post(linked, body) if n % 2 else linked.reprocess(request_id)

    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(call, range(8)))

    assert ["accepted"] + ["alreadyDelivering"] * 7 == sorted(r.body["outcome"] for r in replies)
    assert 1 == len({reply.body["acceptedAt"] for reply in replies})
    assert 1 == len(linked.calls("reprocess"))


def test_a_new_failure_after_an_acceptance_is_tried_again(linked):
    """Only the failure from before the acceptance is stale."""
    request_id = new(linked, outcomes=["deliveryFailed", "delivered"], deliverySeconds=1.1)
    post(linked, payload(request_id))
    ended(linked, request_id)

    assert "accepted" == post(linked, payload(request_id)).body["outcome"]


@pytest.mark.parametrize(
    "fault",
    [{"kind": "status", "status": 429, "retryAfter": "600"}, {"kind": "silence"}],
    ids=str,
)
def test_what_graph_cannot_take_now_the_next_sweep_takes(linked, fault):
    """202 `deferred` within ten seconds, without Location; no cool-down delays the sweep."""
    request_id = new(linked, deliverySeconds=0.2, outcomes=["deliveryFailed", "delivered"])
    linked.reprocess(request_id)
    ended(linked, request_id)  # it failed again, and is cooling down
    linked.fault("any", **fault, times=-1)
    started = time.monotonic()

    reply = post(linked, payload(request_id))

    assert time.monotonic() - started < 10
    body = dict(reply.body)
    assert (202, "deferred", None) == (
        reply.status,
        body.pop("outcome"),
        reply.headers.get("location"),
    )
    assert f"{linked.url}/api/status/{request_id}" == body.pop("statusUrl").partition("?")[0]
    assert {"requestId": request_id, "correlationId": reply.headers["x-correlation-id"]} == {
        name: value for name, value in body.items() if name != "detail"
    }
    fresh(linked)
    linked.sweep()
    state = linked.call("GET", f"/api/requests/{request_id}").body["state"]
    assert state in {"delivering", "delivered"}


@pytest.mark.parametrize(
    ("fields", "name", "status"),
    [
        (None, "request-not-found", 404),
        ({"completedDateTime": "2020-01-01T00:00:00Z"}, "window-closed", 409),
    ],
)
def test_a_no_of_graph_is_answered_as_elsewhere(linked, fields, name, status):
    """Sending it again would not help."""
    request_id = "ffffffff-0000-4000-8000-000000000001" if fields is None else new(linked, **fields)
    more = {} if fields is None else {"state": fields.get("state", "deliveryFailed")}

    problem(post(linked, payload(request_id)), name, status, request_id, **more)


BODY = payload("7999249e-249e-4999-9e24-99799e249979")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        hub(BODY + b" "),
        {"X-Hub-Signature": "é" * 64},
        standard(BODY, datetime.fromtimestamp(1, UTC)),
    ],
    ids=["none", "another body", "no ASCII", "old"],
)
def test_what_is_not_signed_as_it_should_be_is_401_without_detail(linked, headers):
    """The same answer whatever is wrong, and Graph is not called; the reason is in the log only."""
    encoded = {name: value.encode("latin-1") for name, value in headers.items()}

    reply = post(linked, BODY, encoded)

    assert "The caller could not be identified." == problem(reply, "unauthorized", 401, None)
    assert [] == linked.control("GET", "log")["log"]
    line = linked.line("webhook", reply)
    assert line["reason"]
    assert "caller" not in line


def test_a_signature_does_not_replace_the_function_key(linked):
    """Under `function` the host wants its key as well."""
    assert 401 == post(linked, BODY, key="").status


def test_a_body_too_large_is_413_before_it_is_looked_at(linked):
    """256 KiB are the most, signed or not."""
    largest = b"{}" + b" " * (256 * 1024 - 2)

    problem(post(linked, largest), "no-request-id", 422, None)
    problem(post(linked, largest + b" "), "body-too-large", 413, None)
    problem(post(linked, largest + b" ", {}), "body-too-large", 413, None)


@pytest.mark.parametrize("body", [b"", b'{"requestId": "1"}'])
def test_a_signed_body_without_an_id_is_422_with_help(linked, body):
    """The sender is known by then, so the detail says what is wrong; Graph is not called."""
    assert problem(post(linked, body), "no-request-id", 422, None)
    assert [] == linked.control("GET", "log")["log"]


def test_the_query_is_not_looked_at(linked):
    """Jira Cloud appends one of its own; a function key may be in it."""
    request_id = new(linked)
    query = f"?triggeredByUser=5b10ac8d82e05b22cc7d4ef5&code={linked.function_key}"

    reply = post(linked, payload(request_id), key="", path=PATH + query)

    assert (202, "accepted") == (reply.status, reply.body["outcome"])


def test_behind_authentication_the_signature_is_the_key(guarded):
    """No key, no principal: a valid signature gets in, nothing else does."""
    body = payload(new(guarded))

    assert 401 == post(guarded, body, {}, key="").status
    assert (202, "accepted") == (
        (reply := post(guarded, body, key="")).status,
        reply.body["outcome"],
    )


def test_without_secrets_a_webhook_needs_the_function_key(app):
    """The key alone is enough then, as on the other routes."""
    reply = post(app, payload(new(app)), {})

    assert (202, "function key") == (reply.status, app.line("webhook", reply)["caller"])


def test_no_secret_is_ever_logged(linked):
    """Not in a refusal, nor in an acceptance."""
    everything = "\n".join(linked.lines)

    assert not [secret for secret in HOOK_SECRETS if secret in everything]
