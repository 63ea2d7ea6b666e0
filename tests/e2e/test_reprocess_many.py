"""Many requests at once, through the running app: Graph's `$batch`, records, the sweep, the list.

Not for: which result gives which answer (unit/test_reprocess_many.py, unit/test_bulk.py).
"""

from __future__ import annotations

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from tests.support.definition import check
from tests.support.local_app import new

UNKNOWN = "00000000-0000-4000-8000-000000000000"


def ask(app, ids, dry_run=False):
    """Call the route and check that its answer is as the connector defines it."""
    body = json.dumps({"requestIds": ids, "dryRun": dry_run}).encode()
    reply = app.call("POST", "/api/requests/reprocess", body=body)
    check(reply, "POST", "/requests/reprocess")
    return reply


def results(reply):
    return [one.get("outcome") or one["problem"] for one in reply.body["results"]]


def posted(app):
    """How often each request was POSTed."""
    return Counter(entry["requestId"] for entry in app.calls("reprocess"))


def test_requests_of_every_kind(app):
    """Each with its own result, in the order asked for; a dry run before changes nothing."""
    [failed] = app.failures(1, deliverySeconds=1)
    ids = [new(app, state="denied"), failed, UNKNOWN, new(app, state="delivered")]

    dry = ask(app, ids, dry_run=True)
    assert [
        "notReprocessable",
        "wouldReprocess",
        "request-not-found",
        "alreadyDelivered",
    ] == results(dry)
    assert {} == posted(app)

    reply = ask(app, ids)
    assert ["not-reprocessable", "accepted", "request-not-found", "alreadyDelivered"] == results(
        reply
    )
    assert ids == [one["requestId"] for one in reply.body["results"]]
    location = reply.body["results"][1]["location"].removeprefix(app.url)
    assert 202 == app.call("GET", location).status
    assert "alreadyDelivering" == results(ask(app, ids))[1]
    assert 1 == posted(app)[failed]
    assert results(reply) == [
        line["outcome"]
        for line in app.logged("reprocess")
        if line["correlationId"] == reply.body["correlationId"]
    ]
    assert reply.body["counts"] == app.line("reprocess many", reply)["counts"]


def test_two_callers_and_a_sweep_at_once(app):
    """Each request is POSTed once, and each caller has a result for each."""
    ids = app.failures(300)
    with ThreadPoolExecutor(3) as pool:
        calls = [pool.submit(ask, app, ids) for _ in range(2)]
        sweep = pool.submit(app.sweep)
        found = [Counter(results(one.result())) for one in calls]

    assert {"accepted", "alreadyDelivering", "alreadyDelivered"} >= set(found[0] + found[1])
    assert [300, 300] == [one.total() for one in found]
    times = posted(app)
    assert {1} == {times[one] for one in ids}
    assert sweep.result()["ok"]
