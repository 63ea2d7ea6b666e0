"""The answer table over HTTP, through Microsoft's worker library, beside an emulated Graph.

Not for: every row of it; those are the unit tests'. Here two rows prove that the wires are right.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.calls import accepted, long_ago, new, problem


def test_accepted_costs_one_call_and_its_location_leads_to_the_end(app):
    """202, one POST to Graph, then the status is 202 until it is 200."""
    request_id = new(app, deliverySeconds=0.5, staleSeconds=0.2)

    location = accepted(app, app.reprocess(request_id.upper()), request_id)

    assert ["reprocess"] == [
        e["operation"] for e in app.control("GET", "log")["log"] if e["operation"] != "token"
    ]
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


@pytest.mark.parametrize("outcome", ["delivered", "deliveryFailed"])
def test_wait_stays_for_the_end(app, outcome):
    """With `wait` the final outcome comes in one answer."""
    reply = app.reprocess(new(app, outcomes=[outcome], deliverySeconds=0.1), "?wait=6")

    assert (200, outcome, outcome) == (reply.status, reply.body["outcome"], reply.body["state"])


def test_wait_that_is_over_before_the_end_is_the_202(app):
    """A wait too short changes nothing about the acceptance."""
    request_id = new(app, deliverySeconds=60)

    accepted(app, app.reprocess(request_id, "?wait=1"), request_id)


def test_wait_is_kept_to_while_graph_is_silent(app):
    """The answer comes three seconds after it at most, and is the acceptance."""
    request_id = new(app, deliverySeconds=60)
    app.fault("read", "silence", times=-1)
    started = time.monotonic()

    accepted(app, app.reprocess(request_id, "?wait=2"), request_id)

    assert 2 <= time.monotonic() - started < 5.5


def test_calls_at_once_reach_graph_once(app):
    """One is accepted, the others are told that it is under way, with the same acceptance."""
    request_id = new(app, deliverySeconds=60)
    app.control("PATCH", "settings", {"latencyMs": 700})

    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda _: app.reprocess(request_id), range(8)))

    assert ["accepted"] + ["alreadyDelivering"] * 7 == sorted(r.body["outcome"] for r in replies)
    assert 1 == len({reply.body["acceptedAt"] for reply in replies})
    assert 1 == len(app.calls("reprocess"))


def test_already_delivering_is_202(app):
    """A second call while the delivery is under way starts nothing and says so."""
    request_id = new(app, deliverySeconds=60)
    app.reprocess(request_id)

    accepted(app, app.reprocess(request_id), request_id, "alreadyDelivering", "delivering")


def test_already_delivered_is_200(app):
    """What was delivered is no error."""
    reply = app.reprocess(new(app, state="delivered"))

    assert (200, "alreadyDelivered", "delivered") == (
        reply.status,
        reply.body["outcome"],
        reply.body["state"],
    )


@pytest.mark.parametrize("state", ["pendingApproval", "denied"])
def test_other_states_are_409(app, state):
    """A state that cannot be reprocessed is named."""
    request_id = new(app, state=state)

    problem(app.reprocess(request_id), "not-reprocessable", 409, request_id, state=state)


def test_a_closed_window_is_409_with_advice(app):
    """Out of the window the only way is to ask again."""
    request_id = new(app, completedDateTime=long_ago(days=15))

    detail = problem(
        app.reprocess(request_id), "window-closed", 409, request_id, state="deliveryFailed"
    )

    assert "ask for the access again" in detail


def test_a_refusal_though_state_and_window_allow_it_is_409_refused(app):
    """Graph's own code and message are passed on."""
    request_id = new(app)
    app.fault("reprocess", "status", status=400, code="Busy", message="Still retrying.")

    reply = app.reprocess(request_id)

    assert "Busy" == reply.body["graphErrorCode"]
    assert "Still retrying." in problem(reply, "refused", 409, request_id, state="deliveryFailed")


def test_an_unknown_request_is_404(app):
    """Graph knows no such request."""
    request_id = "ffffffff-0000-4000-8000-000000000000"

    problem(app.reprocess(request_id), "request-not-found", 404, request_id)
    problem(app.call("GET", f"/api/requests/{request_id}"), "request-not-found", 404, request_id)


@pytest.mark.parametrize(
    "request_id", ["..%2F..%2Fusers", "7999249e-249e-7999-9e24-99799e249979%0A"]
)
def test_what_is_no_guid_never_reaches_graph(app, request_id):
    """400 without a call to Graph, whatever the id is made of."""
    for reply in (app.reprocess(request_id), app.call("GET", f"/api/requests/{request_id}")):
        problem(reply, "invalid-request-id", 400, None)
    assert [] == app.control("GET", "log")["log"]


@pytest.mark.parametrize("query", ["?wait=13", "?dryrun=true"])
def test_wrong_parameters_change_nothing(app, query):
    """A misspelt dry run does not run for real."""
    request_id = new(app)

    problem(app.reprocess(request_id, query), "invalid-parameter", 400, request_id)

    assert [] == app.control("GET", "log")["log"]


@pytest.mark.parametrize(
    ("fields", "outcome"),
    [
        ({}, "wouldReprocess"),
        ({"completedDateTime": "2020-01-01T00:00:00Z"}, "windowClosed"),
    ],
)
def test_a_dry_run_tells_and_changes_nothing(app, fields, outcome):
    """200 with what would happen; Graph is only read."""
    reply = app.reprocess(new(app, **fields), "?dryRun=true")

    assert (200, outcome) == (reply.status, reply.body["outcome"])
    assert [] == app.calls("reprocess")


@pytest.mark.parametrize(
    ("settings", "code", "says"),
    [
        ({"roles": ["EntitlementManagement.Read.All"]}, "UnAuthorized", "permission"),
        ({"licensed": False}, "NoLicense", "licence"),
    ],
)
def test_403_says_what_is_missing(app, settings, code, says):
    """Permission and licence are told apart."""
    request_id = new(app)
    app.control("PATCH", "settings", settings)
    app.fault("any", "status", status=401)  # the cached token still has the old roles

    reply = app.reprocess(request_id)

    assert code == reply.body["graphErrorCode"]
    assert f"looks like the {says}" in problem(reply, "graph-denied", 502, request_id)


def test_a_token_refused_once_is_renewed(app):
    """401 costs one new token and one retry."""
    request_id = new(app)
    app.fault("reprocess", "status", status=401)

    accepted(app, app.reprocess(request_id), request_id)

    assert 1 == len(app.calls("token"))


def test_throttling_within_the_budget_is_waited_out(app):
    """429 with a Retry-After that fits is not the caller's trouble."""
    request_id = new(app)
    app.fault("reprocess", "status", status=429, retryAfter="0.5")

    accepted(app, app.reprocess(request_id), request_id)


def test_throttling_beyond_the_budget_is_503_with_retry_after(app):
    """Graph's Retry-After is handed on, not shortened."""
    request_id = new(app)
    app.fault("reprocess", "status", status=429, retryAfter="3600.2")

    reply = app.reprocess(request_id)

    problem(reply, "throttled", 503, request_id, retryAfterSeconds=3601)
    assert "3601" == reply.headers["retry-after"]


@pytest.mark.parametrize(
    "fault",
    [{"kind": "dropAfter"}, {"kind": "status", "status": 503, "after": True}],
    ids=str,
)
def test_an_accepted_request_is_never_reported_as_failed_nor_sent_twice(app, fault):
    """The answer is lost after Graph accepted: 202 all the same, by one POST."""
    request_id = new(app, deliverySeconds=30)
    app.fault("reprocess", **fault)

    accepted(app, app.reprocess(request_id), request_id)

    assert 1 == len(app.calls("reprocess"))


@pytest.mark.parametrize(
    "fault", [{"kind": "dropBefore"}, {"kind": "status", "status": 503}], ids=str
)
def test_a_call_that_graph_did_not_carry_out_is_sent_again(app, fault):
    """Lost before it was accepted: the state shows it, and the second POST is accepted."""
    request_id = new(app)
    app.fault("reprocess", **fault)

    accepted(app, app.reprocess(request_id), request_id)

    assert 2 == len(app.calls("reprocess"))


@pytest.mark.parametrize("kind", ["html", "dropBefore"])
def test_a_read_of_no_use_is_read_again(app, kind):
    """HTML, half an answer or none costs a retry."""
    request_id = new(app, state="delivered")
    app.fault("read", kind)

    reply = app.call("GET", f"/api/requests/{request_id}")

    assert (200, "delivered") == (reply.status, reply.body["outcome"])


def test_graph_failing_for_good_is_502(app):
    """5xx without end: the answer says that it is not known whether Graph accepted."""
    request_id = new(app)
    app.fault("any", "status", status=500, times=-1)

    detail = problem(app.reprocess(request_id), "graph-failed", 502, request_id)

    assert "not known" in detail


def test_silence_is_504_within_the_budget(app):
    """No answer: 504 when the budget is over, not later."""
    request_id = new(app)
    app.fault("reprocess", "silence", times=-1)
    started = time.monotonic()

    problem(app.reprocess(request_id), "graph-timeout", 504, request_id)

    assert time.monotonic() - started < 14


def test_silence_after_an_acceptance_is_still_an_acceptance(app):
    """The time to look at the state is kept back from the budget."""
    request_id = new(app, deliverySeconds=60)
    app.fault("reprocess", "silence", after=True)

    accepted(app, app.reprocess(request_id), request_id)

    assert 1 == len(app.calls("reprocess"))


def test_a_redirect_is_not_followed(app):
    """The token stays with Graph."""
    request_id = new(app)
    app.fault("reprocess", "redirect", location="http://127.0.0.1:9/steal")

    assert "not followed" in problem(app.reprocess(request_id), "graph-failed", 502, request_id)


@pytest.mark.parametrize("state", ["delivering", "scheduled"])
def test_a_status_on_its_way_is_202(app, state):
    """Whatever has not ended is on its way."""
    request_id = new(app, state=state)

    accepted(app, app.call("GET", f"/api/requests/{request_id}"), request_id, "onItsWay", state)


def test_a_status_says_that_it_failed_again_only_of_what_was_tried(app):
    """Nobody has tried the first; the second was accepted, and failed later."""
    first, second = new(app), new(app, outcomes=["deliveryFailed"], deliverySeconds=1.1)
    location = accepted(app, app.reprocess(second), second)

    for _ in range(60):
        reply = app.call("GET", location)
        if reply.status == 200:
            break
        time.sleep(0.1)

    assert "The delivery failed." == app.call("GET", f"/api/requests/{first}").body["detail"]
    assert "The delivery failed again; its cause is not fixed yet." == reply.body["detail"]


def test_a_page_of_another_site_changes_nothing(app):
    """403 before Graph is called."""
    path = f"/api/requests/{new(app)}/reprocess"

    problem(app.call("POST", path, **{"Sec-Fetch-Site": "cross-site"}), "forbidden", 403, None)
    assert [] == app.control("GET", "log")["log"]


def test_health_is_open_and_calls_nothing(app):
    """No key, no Graph, nothing told."""
    reply = app.call("GET", "/api/health", key="")

    assert (200, {"status": "ok"}, []) == (
        reply.status,
        reply.body,
        app.control("GET", "log")["log"],
    )


@pytest.mark.parametrize("key", ["", "wrong"])
def test_without_the_key_nothing_is_called(app, key):
    """The host refuses before the app runs."""
    reply = app.call("POST", f"/api/requests/{new(app)}/reprocess", key=key)

    assert (401, []) == (reply.status, app.control("GET", "log")["log"])


def test_one_log_line_per_call_tells_what_happened(app):
    """Request, outcome, Graph's own id and the correlation id, and no token or key."""
    request_id = new(app)

    reply = app.reprocess(request_id)

    line = app.line("reprocess", reply)
    assert {
        "event",
        "requestId",
        "status",
        "outcome",
        "caller",
        "graphRequestId",
        "clientRequestId",
        "milliseconds",
        "correlationId",
    } == set(line)
    assert (request_id, "accepted", "function key") == tuple(
        line[name] for name in ("requestId", "outcome", "caller")
    )
    everything = "\n".join(app.lines)
    assert "eyJ" not in everything.replace(
        next((x for x in app.lines if x.startswith("TOKEN=")), "-"), ""
    )
    assert app.function_key not in everything
    assert app.identity_header not in everything
