"""No token, key or secret is in a log line, at any level, or in an answer.

Every case of the matrix asks for this, too; here are the calls that it does not make.
"""

from __future__ import annotations

import json
import re

import pytest

from reprocess_http.reprocess_request import REPROCESS, STATUS_LINK
from reprocess_http.webhook import WEBHOOK
from tests.faults.faulty import bad_header
from tests.faults.operations import failures
from tests.faults.world import World


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_no_secret_is_shown(peers, monkeypatch):
    """By a good and a forged status link and webhook, and a sweep that sends a notice.

    Each peer sends a malformed header line, too: urllib3 warns with the whole address.
    """
    world = World(peers, monkeypatch)
    first, second, *_ = [*failures(2)(world), *failures(1, days=15)(world)]
    body = json.dumps({"requestId": second}).encode()
    for proxy in peers.proxies.values():
        proxy.break_with(bad_header, times=1_000_000)

    accepted = world.call(REPROCESS, first)
    link = accepted["statusUrl"].partition("?")[2]
    forged = link[:-1] + ("1" if link.endswith("0") else "0")
    answers = [
        accepted,
        world.call(STATUS_LINK, query=link),
        world.call(STATUS_LINK, query=forged),
        world.call(WEBHOOK, body=body),
        world.call(WEBHOOK, body=body, secret="not-the-secret"),
    ]
    world.sweep()

    assert [202, 202, 401, 202, 401] == [one["code"] for one in answers]
    assert all(one.secrets for name, one in peers.proxies.items() if name != "receiver")
    assert peers.proxies["receiver"].ids
    assert [] == world.leaked()
    signatures = re.findall(r"signature=([\w-]+)", "\n".join(world.answers))
    assert signatures  # of links, which are their callers' own
    assert [] == [one for one in signatures if one in "\n".join(world.lines.texts)]
