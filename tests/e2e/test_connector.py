"""What the running app answers is what the connector's definition says."""

from __future__ import annotations

import pytest

from tests.support.definition import DEFINITION, OPERATIONS, check
from tests.support.local_app import new

UNKNOWN = "00000000-0000-4000-8000-000000000000"
REPROCESS = ("POST", "/requests/{requestId}/reprocess")
STATUS = ("GET", "/requests/{requestId}")
LIST = ("GET", "/requests")


def ask(app, route, request_id, query=""):
    """Call an operation and check its reply; return outcome or problem."""
    method, path = route
    url = "/api" + path.replace("{requestId}", request_id) + query
    return check(app.call(method, url), method, path)


def test_what_needs_no_key_answers_as_defined(app):
    """Health, and a status link that nobody signed."""
    health = app.call("GET", "/api/health", key="")
    link = app.call("GET", f"/api/status?requestId={UNKNOWN}&expires=1&signature=x", key="")

    check(health, "GET", "/health")
    assert (200, "unauthorized") == (health.status, check(link, "GET", "/status"))


def test_every_outcome_is_given_and_defined(app):
    """The definition's outcomes are those that the running app gives: none is missing, none extra."""
    seen = set()
    failed = new(app, state="deliveryFailed")
    seen |= {ask(app, REPROCESS, failed, "?dryRun=true"), ask(app, REPROCESS, failed)}
    seen |= {ask(app, STATUS, failed), ask(app, REPROCESS, failed)}
    for state in ("delivered", "deliveryFailed", "partiallyDelivered", "denied", "canceled"):
        seen.add(ask(app, STATUS, new(app, state=state)))
    seen.add(ask(app, REPROCESS, new(app, state="delivered")))
    seen.add(ask(app, REPROCESS, new(app, state="denied"), "?dryRun=true"))
    old = new(app, state="deliveryFailed", completedDateTime="2020-01-01T00:00:00Z")
    seen.add(ask(app, REPROCESS, old, "?dryRun=true"))

    outcomes = DEFINITION["definitions"]["Result"]["properties"]["outcome"]["enum"]
    assert sorted(outcomes) == sorted(seen)


def test_every_problem_of_a_request_is_as_defined(app):
    """Status, headers and members of each, as it comes over the wire."""
    assert "invalid-request-id" == ask(app, REPROCESS, "x")
    assert "invalid-parameter" == ask(app, STATUS, UNKNOWN, "?acceptedAt=x")
    assert "request-not-found" == ask(app, STATUS, UNKNOWN)
    assert "not-reprocessable" == ask(app, REPROCESS, new(app, state="denied"))
    old = new(app, completedDateTime="2020-01-01T00:00:00Z")
    assert "window-closed" == ask(app, REPROCESS, old)
    app.fault("reprocess", "status", status=400, code="Busy", message="Still retrying.")
    assert "refused" == ask(app, REPROCESS, new(app))
    for name, more in (
        ("graph-denied", {"status": 403}),
        ("throttled", {"status": 429, "retryAfter": 3600}),
        ("graph-failed", {"status": 404, "code": ""}),
    ):
        app.fault("any", "status", times=20, **more)
        assert name == ask(app, STATUS, new(app, state="deliveryFailed"))
        app.control("DELETE", "faults")


def test_the_diagnosis_is_as_defined(app):
    """All well, and while Graph denies: 200 and 503; nothing is changed in Graph."""
    well = app.call("GET", "/api/diagnosis")
    assert {"list", "token"} >= {e["operation"] for e in app.control("GET", "log")["log"]}
    app.fault("list", "status", status=403)
    denied = app.call("GET", "/api/diagnosis")

    assert ["ok", "failed"] == [check(one, "GET", "/diagnosis") for one in (well, denied)]
    assert (200, 503) == (well.status, denied.status)


@pytest.mark.parametrize(
    "route", [REPROCESS, STATUS, LIST], ids=["reprocess", "status", "requests"]
)
def test_parameters_are_those_that_the_app_takes(app, route):
    """A wrong value of each is refused by its name, and a name that is not defined is unknown."""
    method, path = route
    url = "/api" + path.replace("{requestId}", UNKNOWN)
    defined = {p["name"] for p in OPERATIONS[route]["parameters"] if p["in"] == "query"}
    for name in defined:
        detail = app.call(method, f"{url}?{name}=x").body["detail"]
        assert detail.startswith(f"'{name}' should be")
    detail = app.call(method, f"{url}?other=x").body["detail"]
    assert detail.startswith("'other' is not a parameter here, only ")
    named = detail.rstrip(".").partition("only ")[2].split(" and ")

    assert defined == set(named)
