"""Calls of one request over HTTP, through Microsoft's worker library, beside an emulated Graph.

Not for: the table of answers (unit/test_reprocess_request.py), or the steps of a reprocess
(unit/test_one.py). Here is what only the whole app shows: the way there and back, and real waits.
"""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor

from tests.support.local_app import accepted, new, problem


def graph_calls(app):
    log = app.control("GET", "log")["log"]
    return [entry["operation"] for entry in log if entry["operation"] != "token"]


def test_an_acceptance_costs_one_call_and_its_location_leads_to_the_end(app):
    """202, one POST to Graph, then the status is 202 until it is 200."""
    request_id = new(app, deliverySeconds=0.5, staleSeconds=0.2)

    location = accepted(app, app.reprocess(request_id.upper()), request_id)

    assert ["reprocess"] == graph_calls(app)
    states = []
    for _ in range(60):
        reply = app.call("GET", location)
        states.append((reply.status, reply.body["outcome"], reply.body["state"]))
        if reply.status == 200:
            break
        time.sleep(0.05)
    assert (202, "onItsWay", "deliveryFailed") == states[0]
    assert (202, "onItsWay", "delivering") in states
    assert (200, "delivered", "delivered") == states[-1]


def test_a_caller_may_wait_for_the_end(app):
    """With `wait` the final outcome comes in one answer."""
    reply = app.reprocess(new(app, deliverySeconds=0.3), "?wait=1")

    assert (200, "delivered") == (reply.status, reply.body["outcome"])


def test_calls_at_once_reach_graph_once(app):
    """One claims the request; the others poll its record, and have the same acceptance."""
    request_id = new(app, deliverySeconds=60)
    app.control("PATCH", "settings", {"latencyMs": 700})

    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda _: app.reprocess(request_id), range(8)))

    assert ["accepted"] + ["alreadyDelivering"] * 7 == sorted(r.body["outcome"] for r in replies)
    assert 1 == len({reply.body["acceptedAt"] for reply in replies})
    assert 1 == len(app.calls("reprocess"))


def test_an_acceptance_whose_answer_is_lost_is_seen_by_the_state(app):
    """202 all the same, by one POST: time to watch the state is kept back from the budget."""
    request_id = new(app, deliverySeconds=30)
    app.fault("reprocess", "silence", after=True)

    accepted(app, app.reprocess(request_id), request_id, state="delivering")

    assert 1 == len(app.calls("reprocess"))


def test_silence_is_504_within_the_budget(app):
    """No answer at all: 504 when the budget of 6 seconds is over, not later."""
    request_id = new(app)
    app.fault("any", "silence", times=-1)
    started = time.monotonic()

    problem(app.reprocess(request_id), "graph-timeout", 504, request_id, retryAfterSeconds=30)

    assert time.monotonic() - started < 8


def test_health_is_open_and_is_answered_while_every_thread_is_busy(app):
    """It needs no key and calls nothing. The worker has min(32, cores + 4) threads."""
    calls = min(32, (os.cpu_count() or 1) + 4) + 1
    ids = app.failures(calls)
    app.control("PATCH", "settings", {"latencyMs": 2000})
    with ThreadPoolExecutor(calls) as pool:
        waiting = [pool.submit(app.call, "GET", f"/api/requests/{one}") for one in ids]
        time.sleep(0.5)
        started = time.monotonic()
        reply = app.call("GET", "/api/health", key="")
        took = time.monotonic() - started

    assert (200, {"status": "ok"}) == (reply.status, reply.body)
    assert took < 1
    assert {200} == {one.result().status for one in waiting}


def test_one_log_line_for_each_call_says_what_happened(app):
    """Request, outcome, Graph's own id and the correlation id; and no token or key anywhere."""
    request_id = new(app)

    reply = app.reprocess(request_id)

    line = app.line("reprocess", reply)
    others = {"event", "status", "graphRequestId", "clientRequestId", "milliseconds"}
    assert {"requestId", "outcome", "caller", "correlationId"} | others == set(line)
    assert (request_id, "accepted", "function key") == tuple(
        line[name] for name in ("requestId", "outcome", "caller")
    )
    everything = "\n".join(one for one in app.lines if not one.startswith("TOKEN="))
    assert "eyJ" not in everything
    assert app.function_key not in everything
    assert app.identity_header not in everything
    assert [] == app.lost()
