"""handler.py: authenticate, settings, request id, act, answer; and one log line, whatever happens."""

import asyncio
import json
from types import SimpleNamespace

import azure.functions as func
import pytest

import graph
import reprocess_http
from reprocess_http import auth
from reprocess_http.diagnosis import DIAGNOSIS
from reprocess_http.failed_requests import FAILED_REQUESTS
from reprocess_http.handler import Route, by_key, by_key_to_change, id_in_route
from reprocess_http.reprocess_many import REPROCESS_MANY
from reprocess_http.reprocess_request import REPROCESS, STATUS, STATUS_LINK
from reprocess_http.responses import Answer
from reprocess_http.webhook import WEBHOOK
from tests.support.http_calls import APP, ID, OID, ROLE, call, hub, principal, request

SECRET = "a-secret-of-twenty-four-bytes"
BODY = json.dumps({"requestId": ID}).encode()
ALL = {
    "reprocess": REPROCESS, "status": STATUS, "status link": STATUS_LINK, "webhook": WEBHOOK,
    "reprocess many": REPROCESS_MANY, "requests": FAILED_REQUESTS, "diagnosis": DIAGNOSIS,
}  # fmt: skip
WRONG = {"GRAPH_CLOUD": "mars", "WEBHOOK_SECRETS": SECRET, "STATUS_LINK_SECRET": "s" * 32}


@pytest.fixture(autouse=True)
def _level(monkeypatch, configured):
    """The host was told `function`."""
    monkeypatch.setattr(auth, "LEVEL", "function")


@pytest.fixture(name="behind_authentication")
def _behind(monkeypatch):
    """The host was told `anonymous`, and the platform's authentication is on."""
    monkeypatch.setenv("WEBSITE_AUTH_ENABLED", "true")
    monkeypatch.setattr(auth, "LEVEL", "anonymous")


def route(act, authenticate=by_key, request_id=id_in_route, **more):
    return Route("status", authenticate, act, request_id, **more)


def raises(error):
    def act(_):
        raise error

    return act


def done(_):
    return Answer(200, {"ok": True}, log_fields={"outcome": "delivered", "state": None})


def test_a_call_and_its_log_line(caplog):
    """The request id is in lower case; what is not known is left out."""
    seen = []
    answer = call(route(lambda one: seen.append(one) or done(one)), caplog, request_id=ID.upper())

    assert (200, {"ok": True}) == (answer.status, answer.body)
    assert "run-1" == answer.headers["x-correlation-id"]
    (one,) = seen
    assert (ID, "https://app.example") == (one.request_id, one.origin)
    (line,) = answer.lines
    assert line.pop("milliseconds") >= 0
    assert {
        "event": "status", "requestId": ID, "status": 200, "caller": "function key",
        "outcome": "delivered", "correlationId": "run-1",
    } == line  # fmt: skip


@pytest.mark.parametrize(
    ("act", "level"), [(done, "INFO"), (raises(graph.RequestNotFound("x")), "WARNING")]
)
def test_a_problem_is_a_warning_in_the_log(caplog, act, level):
    """Everything else is information."""
    call(route(act), caplog)

    assert [level] == [record.levelname for record in caplog.records]


def test_an_unexpected_error_is_answered_and_logged_whole(caplog):
    """With its traceback, under the same correlation id; its words stay in the log."""
    answer = call(route(lambda _: 1 / 0), caplog)

    assert (500, "urn:redeliver:problem:internal") == (answer.status, answer.body["type"])
    assert "division" not in str(answer.body)
    unhandled, line = answer.lines
    error = {"event": "unhandled error", "error": "ZeroDivisionError", "correlationId": "run-1"}
    assert error == unhandled
    assert ("status", "internal") == (line["event"], line["outcome"])
    assert "ZeroDivisionError: division by zero" in caplog.text


def test_an_id_that_is_no_guid_is_refused(caplog):
    """Nothing is done; the log has the beginning of it."""
    given = "x" * 5000
    answer = call(route(raises(AssertionError())), caplog, request_id=given)

    assert (400, "urn:redeliver:problem:invalid-request-id") == (answer.status, answer.body["type"])
    assert ("requestId" in answer.body, given[:100]) == (False, answer.lines[0]["requestId"])


def test_another_sites_page_changes_nothing(caplog):
    """403 before anything is called; why is in the log only. Reading may be linked to."""
    site = {"sec_fetch_site": "cross-site"}
    answer = call(route(raises(AssertionError()), by_key_to_change), caplog, **site)

    assert (403, "The caller is known but may not do this.") == (
        answer.status,
        answer.body["detail"],
    )
    reason = "the call comes from another site's page (cross-site)"
    assert {"reason": reason, "caller": "function key"}.items() <= answer.lines[0].items()
    assert 200 == call(route(done), caplog, **site).status


def test_what_changes_something_rejects_other_sites():
    changing = {name for name, one in ALL.items() if one.authenticate is by_key_to_change}

    assert {"reprocess", "reprocess many"} == changing


def test_a_known_caller_learns_of_wrong_settings(caplog, configured):
    """Before anything else of the call is looked at."""
    configured(**WRONG)
    answer = call(route(done), caplog, "x=1", b"", "no-guid")

    assert (500, "urn:redeliver:problem:misconfigured") == (answer.status, answer.body["type"])
    assert answer.body["detail"].startswith("GRAPH_CLOUD is 'mars' but should be ")


@pytest.mark.parametrize("route", ALL.values(), ids=ALL)
def test_an_unknown_caller_learns_nothing(caplog, configured, behind_authentication, route):
    """The same answer as ever, whatever else is wrong."""
    configured(**WRONG)
    answer = call(route, caplog, "x=1", BODY, "no-guid", **hub(BODY, SECRET))

    assert (401, "The caller could not be identified.") == (answer.status, answer.body["detail"])
    assert 1 == len(answer.lines)


def test_a_known_caller_behind_authentication(caplog, behind_authentication):
    """Gets in."""
    known = principal(("appid", APP), (OID, ID), ("idtyp", "app"), ("roles", ROLE))

    answer = call(route(done), caplog, **known)
    assert (200, f"application {APP}") == (answer.status, answer.lines[0]["caller"])


def test_a_route_may_answer_although_settings_are_wrong(caplog, configured):
    """Diagnosis is there to say so, and no other."""
    configured(**WRONG)

    assert 200 == call(route(done, needs_settings=False), caplog).status
    assert ["diagnosis"] == [name for name, one in ALL.items() if not one.needs_settings]


# -- the triggers --

CONTEXT = SimpleNamespace(invocation_id="run-1")


def triggers():
    app = func.FunctionApp()
    app.register_functions(reprocess_http.blueprint)
    return {one.get_function_name(): one for one in app.get_functions()}


def test_every_route_is_registered():
    """By name, method and level; a status link has no variable part in its path."""
    found = {}
    for name, one in triggers().items():
        trigger = one.get_trigger()
        methods = [method.value for method in trigger.methods]
        found[name] = (*methods, trigger.route, trigger.auth_level.value)

    assert {
        "reprocess": ("POST", "requests/{requestId}/reprocess", "function"),
        "reprocess_many": ("POST", "requests/reprocess", "function"),
        "requests": ("GET", "requests", "function"),
        "status": ("GET", "requests/{requestId}", "function"),
        "status_link": ("GET", "status", "anonymous"), "webhook": ("POST", "webhook", "function"),
        "diagnosis": ("GET", "diagnosis", "function"), "health": ("GET", "health", "anonymous"),
        "report": ("GET", "report", "anonymous"),
    } == found  # fmt: skip


def test_health_and_the_page_are_open():
    """Health is asynchronous, so it needs no thread [seen: the app on the host itself]."""
    health, page = (triggers()[name].get_user_function() for name in ("health", "report"))

    assert asyncio.iscoroutinefunction(health)
    assert b'{"status": "ok"}' == asyncio.run(health(request(), CONTEXT)).get_body()
    assert 200 == page(request(), CONTEXT).status_code


@pytest.mark.parametrize("event", ALL)
def test_every_trigger_takes_the_same_path(caplog, configured, event):
    """Each has one log line, by its own name."""
    configured(**WRONG)
    caplog.set_level("INFO", "redeliver")
    answer = triggers()[event.replace(" ", "_")].get_user_function()(request(), CONTEXT)

    assert answer.status_code >= 400
    assert [event.removesuffix(" link")] == [
        json.loads(one.message)["event"] for one in caplog.records
    ]
