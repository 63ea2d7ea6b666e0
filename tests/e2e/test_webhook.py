"""Webhooks over HTTP: signed bodies get in, everything else stays out.

Not for: signatures (unit/test_signatures.py), bodies and outcomes (unit/test_webhook.py).
"""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime

import pytest
from standardwebhooks.webhooks import Webhook

from tests.e2e.conftest import HOOK_SECRETS
from tests.support.http_calls import hub
from tests.support.local_app import fresh, new, problem

PLAIN, STANDARD = HOOK_SECRETS
PATH = "/api/webhook"


def payload(request_id, **more):
    return json.dumps({"requestId": request_id, **more}).encode()


def jira(body):
    return hub(body, PLAIN)


def standard(body):
    at = datetime.now(UTC)
    return {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(STANDARD).sign("msg_1", at, body.decode()),
    }


def post(app, body, headers=None, key=None, path=PATH):
    return app.call(
        "POST", path, key=key, body=body, **(jira(body) if headers is None else headers)
    )


@pytest.mark.parametrize(("sign", "secret"), [(jira, 1), (standard, 2)])
def test_a_signed_webhook_is_accepted(linked, sign, secret):
    """Each scheme and secret; the log says which. The query is not read: Jira Cloud adds its own."""
    request_id = new(linked, deliverySeconds=30)
    body = payload(request_id.upper(), event="reopened")

    reply = post(linked, body, sign(body), path=f"{PATH}?triggeredByUser=5b10ac8d82e05b22cc7d4ef5")

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
    seen = []

    for _ in range(40):
        reply = post(linked, payload(request_id))
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
    assert 1 == len(linked.calls("reprocess"))


def test_what_graph_cannot_take_now_the_next_sweep_takes(linked):
    """202 `deferred` without Location; no cool-down delays the sweep."""
    request_id = new(linked)
    linked.fault("reprocess", "status", status=400)
    assert "refused" == post(linked, payload(request_id)).body["outcome"]  # so it cools down
    linked.fault("any", "status", status=429, retryAfter="600", times=-1)

    reply = post(linked, payload(request_id))

    assert (202, "deferred", request_id, None) == (
        reply.status,
        reply.body["outcome"],
        reply.body["requestId"],
        reply.headers.get("location"),
    )
    fresh(linked)
    linked.sweep()
    assert request_id in {one["requestId"] for one in linked.calls("reprocess")}


def test_what_is_not_signed_as_it_should_be_is_401_without_detail(linked):
    """The reason is in the log only; Graph is not called."""
    body = payload("7999249e-249e-4999-9e24-99799e249979")

    for headers in (jira(body + b" "), {"X-Hub-Signature": ("é" * 64).encode("latin-1")}):
        reply = post(linked, body, headers)
        said = problem(reply, "unauthorized", 401, None)
        line = linked.line("webhook", reply)
        assert ("The caller could not be identified.", True, False) == (
            said,
            bool(line["reason"]),
            "caller" in line,
        )
    assert [] == linked.control("GET", "log")["log"]


def test_behind_authentication_the_signature_is_the_key(guarded):
    """No key, no principal: a valid signature gets in, nothing else does; no secret is logged."""
    body = payload(new(guarded))

    refused, taken = post(guarded, body, {}, key=""), post(guarded, body, key="")

    assert (401, 202) == (refused.status, taken.status)
    everything = "\n".join(guarded.lines)
    assert not [secret for secret in HOOK_SECRETS if secret in everything]
