"""No token, key or secret is in a log line, at any level, or in an answer.

Every case of the matrix asks for this, too; here is every kind of call, well and badly.
"""

from __future__ import annotations

import json
import re

import pytest

from reprocess_http.diagnosis import DIAGNOSIS
from reprocess_http.failed_requests import FAILED_REQUESTS
from reprocess_http.reprocess_request import REPROCESS, STATUS, STATUS_LINK
from reprocess_http.webhook import WEBHOOK
from tests.faults.faulty import after, bad_header, reset
from tests.faults.operations import failures
from tests.faults.world import World

pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def call_everything(world, ids):
    """Call every route and sweep; return the statuses."""
    body = json.dumps({"requestId": ids[1]}).encode()
    accepted = world.call(REPROCESS, ids[0])
    link = accepted.get("statusUrl", "https://app.example/api/status?requestId=1")
    answers = [
        accepted,
        world.call(STATUS_LINK, url=link),
        world.call(STATUS_LINK, url=link[:-1]),
        world.call(WEBHOOK, body=body),
        world.call(WEBHOOK, body=body, secret="not-the-secret"),
        *(world.call(route, ids[2]) for route in (STATUS, FAILED_REQUESTS, DIAGNOSIS)),
    ]
    world.sweep()
    return {one["code"] for one in answers}


@pytest.mark.parametrize("peer", ["graph", "identity", "table", "receiver"])
@pytest.mark.parametrize("act", [bad_header, after(reset)], ids=["header", "reset"])
def test_no_secret_is_shown(peers, monkeypatch, peer, act):
    """Also where the peer sends a malformed header line: urllib3 warns with the whole address."""
    world = World(peers, monkeypatch)
    ids = failures(3)(world) + failures(1, days=15)(world)
    proxy = peers.proxies[peer]
    proxy.break_with(act, lambda _: True, 1_000_000)

    statuses = call_everything(world, ids)
    proxy.break_with(None, bool, 0)
    statuses |= call_everything(world, failures(3)(world))

    assert {200, 202, 401} <= statuses
    assert all(one.secrets for name, one in peers.proxies.items() if name != "receiver")
    assert peers.proxies["receiver"].ids
    assert [] == world.leaked()
    signatures = re.findall(r"signature=([\w-]+)", "\n".join(world.answers))
    assert signatures  # of links, which are their callers' own
    assert [] == [one for one in signatures if one in "\n".join(world.lines.texts)]
