"""Many requests at once, through the running app: Graph's `$batch`, records, the sweep, the list.

Not for: which result gives which answer (unit/test_reprocess_many.py, unit/test_bulk.py).
"""

from __future__ import annotations

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from tests.support.definition import check
from tests.support.local_app import fresh, new

UNKNOWN = "00000000-0000-4000-8000-000000000000"


def ask(app, ids, dry_run=False, **more):
    """Call the route and check that its answer is as the connector defines it."""
    body = json.dumps({"requestIds": ids, "dryRun": dry_run}).encode()
    reply = app.call("POST", "/api/requests/reprocess", body=body, **more)
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


def test_a_thousand_at_once(app):
    """The most that one call may name; each is POSTed once, also beside a sweep."""
    ids = app.failures(1000)
    with ThreadPoolExecutor(3) as pool:
        calls = [pool.submit(ask, app, ids) for _ in range(2)]
        sweep = pool.submit(app.sweep)
        found = [Counter(results(one.result())) for one in calls]

    assert {"accepted", "alreadyDelivering", "alreadyDelivered"} >= set(found[0] + found[1])
    assert [1000, 1000] == [one.total() for one in found]
    times = posted(app)
    assert {1} == {times[one] for one in ids}
    assert sweep.result()["ok"]


def test_what_graph_throttles_is_left_to_the_next_sweep(app):
    """Without a cool-down; the list shows it as due."""
    ids = app.failures(3)
    app.fault("any", "status", status=429, retryAfter=3600, times=60)

    assert ["deferred"] * 3 == results(ask(app, ids))

    fresh(app)
    report = app.sweep()
    assert set(ids) <= set(posted(app))
    assert report["accepted"] >= 3


def test_refusals_are_before_anything_is_called(app):
    """Without a key, from another site's page, with a body of another form."""
    body = json.dumps({"requestIds": [UNKNOWN]}).encode()

    without = app.call("POST", "/api/requests/reprocess", key="", body=body)
    assert (401, None) == (without.status, without.body)
    other = app.call(
        "POST", "/api/requests/reprocess", body=body, **{"sec-fetch-site": "cross-site"}
    )
    assert "forbidden" == check(other, "POST", "/requests/reprocess")
    wrong = app.call("POST", "/api/requests/reprocess", body=b'{"ids": []}')
    assert "invalid-parameter" == check(wrong, "POST", "/requests/reprocess")
    assert [] == app.control("GET", "log")["log"]


def test_when_graph_denies_every_one_the_answer_is_that(app):
    ids = app.failures(2)
    app.fault("any", "status", status=403, times=20)
    body = json.dumps({"requestIds": ids}).encode()

    reply = app.call("POST", "/api/requests/reprocess", body=body)

    assert "graph-denied" == check(reply, "POST", "/requests/reprocess")
