"""road.py: the door, the settings, the request, the answer; and one log line, whatever happens."""

import json
import logging
import time
from urllib.parse import parse_qsl

import pytest

import graph
import settings as app_settings
from reprocess_http import door, road, status_link
from tests.calls import (
    APP,
    OID,
    ROLE,
    Crowd,
    Functions,
    Gate,
    accepts,
    hub,
    principal,
    refuses,
    shows,
)
from tests.scripted import ID, NOW, entity, reply

SECRET = "a-secret-of-twenty-four-bytes"
BODY = json.dumps({"requestId": ID}).encode()
AT = "2026-11-24T10%3A00%3A00Z"
LOCATION = f"https://app.example/api/requests/{ID}?acceptedAt={AT}"
ALL = [road.REPROCESS, road.STATUS, road.STATUS_LINK, road.WEBHOOK, road.DIAGNOSIS]
CHANGING = [(road.REPROCESS, b""), (road.WEBHOOK, BODY)]


@pytest.fixture(name="functions")
def _functions(monkeypatch, caplog):
    """The app's functions over a script, with these settings."""

    def functions(*script, **environ):
        monkeypatch.setattr(app_settings, "current", lambda: app_settings.load(environ))
        return Functions(monkeypatch, caplog, *script)

    return functions


@pytest.fixture(name="behind_authentication")
def _behind(monkeypatch):
    """The host was told `anonymous`, and the platform's authentication is on."""
    monkeypatch.setenv("WEBSITE_AUTH_ENABLED", "true")
    monkeypatch.setattr(door, "LEVEL", "anonymous")


# -- whole answers --


def test_the_answer_to_an_acceptance(functions):
    """202 with where to ask and when, and one line that says the same."""
    answer = functions(accepts(request_id="graph-1")).call(road.REPROCESS)

    assert (202, "application/json") == (answer.status, answer.type)
    assert {
        "x-correlation-id": "run-1",
        "cache-control": "no-store",
        "location": LOCATION,
        "retry-after": "30",
    } == lower(answer.headers)
    assert {
        "requestId": ID,
        "outcome": "accepted",
        "acceptedAt": "2026-11-24T10:00:00Z",
        "statusUrl": LOCATION,
        "correlationId": "run-1",
        "detail": "Graph accepted the reprocess; the delivery is under way.",
    } == answer.body
    (line,) = answer.lines
    assert line.pop("milliseconds") >= 0
    assert 36 == len(line.pop("clientRequestId"))
    assert {
        "event": "reprocess",
        "requestId": ID,
        "status": 202,
        "caller": "function key",
        "outcome": "accepted",
        "graphRequestId": "graph-1",
        "correlationId": "run-1",
    } == line


def lower(headers):
    return {name.lower(): value for name, value in headers.items()}


def test_the_answer_to_a_problem(functions):
    """Problem details (RFC 9457), and one line that says the same."""
    answer = functions(
        reply(
            429,
            {"error": {"code": "TooMany", "message": "x"}},
            Retry_After="3600.2",
            request_id="g",
        )
    ).call(road.REPROCESS, x_ms_workflow_run_id="RUN1")

    assert (503, "application/problem+json") == (answer.status, answer.type)
    assert {
        "x-correlation-id": "run-1",
        "cache-control": "no-store",
        "retry-after": "3601",
    } == lower(answer.headers)
    client_id = answer.body.pop("clientRequestId")
    detail = "Graph asks to wait longer than this call may last."
    known = {
        "requestId": ID,
        "graphRequestId": "g",
        "graphErrorCode": "TooMany",
        "retryAfterSeconds": 3601,
    }
    assert {
        "type": "urn:redeliver:problem:throttled",
        "title": "Graph is throttling",
        "status": 503,
        "detail": detail,
        "instance": "run-1",
        **known,
    } == answer.body
    (line,) = answer.lines
    assert line.pop("milliseconds") >= 0
    assert {
        "event": "reprocess",
        "status": 503,
        "caller": "function key",
        "workflowRunId": "RUN1",
        "outcome": "throttled",
        "detail": detail,
        "clientRequestId": client_id,
        "correlationId": "run-1",
        **known,
    } == line


def test_half_a_character_of_graphs_text_loses_no_answer(functions):
    """A message that was cut in the middle of an emoji."""
    no = {"error": {"code": "X", "message": "cut \ud83d"}}

    answer = functions(reply(400, no), reply(200, entity(completed="2026-11-24T09:00:00Z")))
    answer = answer.call(road.REPROCESS)

    assert (409, "Graph says: cut \ud83d") == (answer.status, answer.body["detail"][:17])


def test_the_answer_to_a_status(functions):
    """200 with the end; no place to ask again."""
    answer = functions(shows("delivered")).call(road.STATUS, request_id=ID.upper())

    assert (200, None, None) == (
        answer.status,
        answer.headers.get("Location"),
        answer.headers.get("Retry-After"),
    )
    assert {
        "requestId": ID,
        "outcome": "delivered",
        "state": "delivered",
        "correlationId": "run-1",
        "detail": "The access was delivered.",
    } == answer.body


def test_what_is_deferred_has_no_location(functions):
    """Until the sweep has taken it, its status is the old failure."""
    app = functions(reply(429, Retry_After="600"))
    answer = app.call(road.WEBHOOK, body=BODY)

    assert (202, "deferred", None) == (
        answer.status,
        answer.body["outcome"],
        answer.headers.get("Location"),
    )
    assert f"https://app.example/api/requests/{ID}" == answer.body["statusUrl"]
    assert app.one.attempts.read(ID).deferred


def test_what_nobody_foresaw_is_answered_and_logged_whole(functions, monkeypatch):
    """With its trace, under the same correlation id; its words stay in the log."""
    app = functions()
    monkeypatch.setattr(graph, "shared", lambda: 1 / 0)

    answer = app.call(road.STATUS)

    assert (500, "urn:redeliver:problem:internal") == (answer.status, answer.body["type"])
    assert "division" not in str(answer.body)
    unforeseen, line = answer.lines
    assert {
        "event": "unforeseen error",
        "error": "ZeroDivisionError",
        "correlationId": "run-1",
    } == unforeseen
    assert ("status", "internal") == (line["event"], line["outcome"])
    assert "ZeroDivisionError: division by zero" in app.caplog.text


@pytest.mark.parametrize(
    ("script", "level"),
    [(shows("delivered"), logging.INFO), (refuses(status=404), logging.WARNING)],
)
def test_a_problem_is_a_warning_in_the_log(functions, script, level):
    """Everything else is information."""
    app = functions(script)
    app.call(road.STATUS)

    assert [level] == [record.levelno for record in app.caplog.records]


def test_polling_a_link_does_not_prolong_it(functions):
    """The very same link is handed on."""
    query = status_link.query("s" * 32, ID, "2026-11-24T10:00:00Z", int(time.time()) + 60)

    answer = functions(shows("delivering", None), STATUS_LINK_SECRET="s" * 32).call(
        road.STATUS_LINK, dict(parse_qsl(query))
    )

    link = f"https://app.example/api/status/{ID}?{query}"
    assert (202, link, link) == (
        answer.status,
        answer.headers["Location"],
        answer.body["statusUrl"],
    )
    assert "status link" == answer.lines[0]["caller"]


@pytest.mark.parametrize("route", ALL, ids=lambda route: route.name)
def test_every_answer_has_the_correlation_id(functions, route):
    """Problems as well, and one line in the log has it."""
    answer = functions(*[refuses()] * 9).call(route, {"x": "1"}, b"", "no-guid")

    assert answer.status >= 400
    assert "run-1" == lower(answer.headers)["x-correlation-id"] == answer.body["instance"]
    assert ["run-1"] == [line["correlationId"] for line in answer.lines]


# -- the door --


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
@pytest.mark.parametrize(("route", "body"), CHANGING, ids=["reprocess", "webhook"])
def test_another_sites_page_changes_nothing(functions, route, body, site):
    """403 before anything is called; why is in the log only."""
    app = functions()

    answer = app.call(route, body=body, sec_fetch_site=site)

    assert {
        "type": "urn:redeliver:problem:forbidden",
        "title": "The caller may not do this",
        "status": 403,
        "detail": "The caller is known but may not do this.",
        "instance": "run-1",
    } == answer.body
    assert [] == app.one.world.calls
    (line,) = answer.lines
    reason = f"the call comes from another site's page ({site})"
    assert (reason, "function key") == (line["reason"], line["caller"])


@pytest.mark.parametrize(("route", "body"), CHANGING, ids=["reprocess", "webhook"])
@pytest.mark.parametrize("site", ["same-origin", "none"])
def test_our_own_page_may_change_something(functions, route, body, site):
    """And so may who types the address."""
    assert 202 == functions(accepts()).call(route, body=body, sec_fetch_site=site).status


def test_reading_is_no_change(functions):
    """A link on another page may lead here."""
    assert (
        200 == functions(shows("delivered")).call(road.STATUS, sec_fetch_site="cross-site").status
    )


WRONG = {"GRAPH_CLOUD": "mars", "WEBHOOK_SECRETS": SECRET, "STATUS_LINK_SECRET": "s" * 32}


@pytest.mark.parametrize("request_id", [ID, "no-guid"])
@pytest.mark.parametrize("route", [road.REPROCESS, road.STATUS, road.WEBHOOK], ids=lambda r: r.name)
def test_who_is_known_is_told_of_wrong_settings(functions, route, request_id):
    """Before anything else of the call is looked at."""
    answer = functions(**WRONG).call(route, {"x": "1"}, b"", request_id)

    assert (500, "urn:redeliver:problem:misconfigured") == (answer.status, answer.body["type"])
    assert answer.body["detail"].startswith("GRAPH_CLOUD is 'mars' but should be ")


@pytest.mark.parametrize("route", [road.REPROCESS, road.STATUS, road.WEBHOOK], ids=lambda r: r.name)
def test_no_call_is_taken_while_the_host_was_told_otherwise(monkeypatch, caplog, route):
    """Flex Consumption has been seen to hide settings while the app is loaded."""
    monkeypatch.setenv("HTTP_AUTH_LEVEL", "anonymous")
    app = Functions(monkeypatch, caplog)

    answer = app.call(route, body=BODY)

    assert (500, "urn:redeliver:problem:misconfigured") == (answer.status, answer.body["type"])
    assert answer.body["detail"].startswith("HTTP_AUTH_LEVEL means 'anonymous' now, but the host")
    assert [] == app.one.world.calls


@pytest.mark.parametrize("route", ALL, ids=lambda route: route.name)
def test_who_is_unknown_is_told_nothing_of_wrong_settings(functions, behind_authentication, route):
    """The same answer as ever."""
    answer = functions(**WRONG).call(route, body=BODY, **hub(BODY, SECRET))

    assert (401, "The caller could not be identified.") == (answer.status, answer.body["detail"])


def test_a_known_caller_behind_authentication(functions, behind_authentication):
    """Is told of wrong settings, and gets in when they are right."""
    known = principal(("appid", APP), (OID, ID), ("idtyp", "app"), ("roles", ROLE))

    assert 500 == functions(**WRONG).call(road.REPROCESS, **known).status
    done = functions(accepts()).call(road.REPROCESS, **known)
    assert (202, f"application {APP}") == (done.status, done.lines[0]["caller"])


def test_the_diagnosis_answers_although_settings_are_wrong(functions):
    """It is there to say so."""
    answer = functions(**WRONG).call(road.DIAGNOSIS)

    assert (503, ["settings"]) == (answer.status, [one["name"] for one in answer.body["checks"]])
    assert ["settings"] == answer.lines[0]["failedChecks"]


# -- what is asked for --


def test_a_webhooks_query_is_not_looked_at(functions):
    """Jira Cloud appends one of its own."""
    answer = functions(accepts()).call(road.WEBHOOK, {"triggeredByUser": "5b10", "x": ""}, BODY)

    assert 202 == answer.status


@pytest.mark.parametrize(
    ("route", "query", "says"),
    [
        (road.REPROCESS, {"x": "1"}, "'x' is not a parameter here, only dryRun and wait."),
        (
            road.REPROCESS,
            {"dryrun": "true"},
            "'dryrun' is not a parameter here, only dryRun and wait.",
        ),
        (road.REPROCESS, {"dryRun": "yes"}, "'dryRun' should be true or false."),
        (road.REPROCESS, {"wait": "61"}, "'wait' should be a whole number of seconds, 0 to 60."),
        (road.REPROCESS, {"wait": "-1"}, "'wait' should be a whole number of seconds, 0 to 60."),
        (road.STATUS, {"wait": "1"}, "'wait' is not a parameter here, only acceptedAt."),
        (
            road.STATUS,
            {"acceptedAt": "now"},
            "'acceptedAt' should be a UTC time such as 2026-01-31T12:00:00Z.",
        ),
        (road.DIAGNOSIS, {"x": "1"}, "'x' is not a parameter here, there is none."),
    ],
)
def test_other_queries_are_strictly_read(functions, route, query, says):
    """A misspelt dry run does not run for real."""
    app = functions()
    answer = app.call(route, query)

    assert (400, says) == (answer.status, answer.body["detail"])
    assert [] == app.one.world.calls


@pytest.mark.parametrize("body", [b"", b"null", b"x" * 300_000, b"\xff"])
def test_a_reprocess_needs_no_body_and_minds_none(functions, body):
    """Whatever a client sends along."""
    assert 202 == functions(accepts()).call(road.REPROCESS, body=body).status


def test_a_dry_run_only_reads(functions):
    """200, whatever it would come to."""
    app = functions(shows("delivering", None))

    answer = app.call(road.REPROCESS, {"dryRun": "true", "wait": "9"})

    assert (200, "alreadyDelivering") == (answer.status, answer.body["outcome"])
    assert (0, 1) == (app.one.sent("POST"), app.one.sent("GET"))


@pytest.mark.parametrize(
    ("wait", "outcome", "slept"), [("0", "accepted", []), ("9", "delivered", [3.0])]
)
def test_a_wait_is_in_seconds(functions, wait, outcome, slept):
    """None is none."""
    app = functions(accepts(), shows("delivered"))

    assert outcome == app.call(road.REPROCESS, {"wait": wait}).body["outcome"]
    assert slept == app.one.world.slept


def test_an_acceptance_that_the_caller_tells_of_counts(functions):
    """And is told again."""
    accepted = {"acceptedAt": "2026-11-24T10:00:00Z"}
    answer = functions(shows()).call(road.STATUS, accepted)

    assert (202, "onItsWay", LOCATION) == (
        answer.status,
        answer.body["outcome"],
        answer.headers["Location"],
    )


def test_calls_of_all_routes_at_once_share_one_reprocess(functions, monkeypatch):
    """One instance of each thing for all calls of this process."""
    gate = Gate(accepts())
    app = functions(gate)

    def call(route):
        return lambda: road.travel(route, app.request(body=BODY), app.context)

    answers = Crowd(monkeypatch).ends(gate, call(road.REPROCESS), *[call(road.WEBHOOK)] * 2)

    bodies = [json.loads(answer.get_body()) for answer in answers]
    assert ["accepted", "alreadyDelivering", "alreadyDelivering"] == [b["outcome"] for b in bodies]
    assert 1 == len({body["acceptedAt"] for body in bodies}) == app.one.sent("POST")
    assert NOW.strftime("%Y-%m-%dT%H:%M:%SZ") == bodies[0]["acceptedAt"]
