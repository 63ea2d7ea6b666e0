"""reprocess_many.py: what a caller of many requests is answered, for each result of the run."""

from __future__ import annotations

import json
import uuid

import pytest
from azure.core.exceptions import HttpResponseError

import attempt_store
import graph
from reprocess_http import reprocess_many
from reprocess_http.reprocess_many import MAX_BODY, REPROCESS_MANY
from reprocessing.states import Result
from tests.support.event_schema import EVENTS
from tests.support.http_calls import ID, NOW, call, failed_request
from tests.support.scripted_graph import BUSY, REFUSED

IDS = [str(uuid.UUID(int=n)) for n in range(1, 1002)]
ACCEPTED = Result("accepted", None, NOW, graph.Accepted(NOW, "g-1", "c-1"))
LOCATION = f"https://app.example/api/requests/{IDS[0]}?acceptedAt=2026-11-24T10%3A00%3A00Z"


@pytest.fixture(name="run", autouse=True)
def _run(monkeypatch, configured):
    """The run of a call: what it was asked for, and these results or this error."""

    class Run:
        """Stands for reprocessing.bulk.Bulk."""

        results, asked = (), None

        def __init__(self, context, by, window, *, dry_run, promise):
            Run.context, Run.asked = context, (by, window.days, dry_run, promise)

        def run(self, ids):
            Run.ids = ids
            if isinstance(Run.results, Exception):
                raise Run.results
            return dict(zip(ids, Run.results, strict=True))

    monkeypatch.setattr(graph, "shared", lambda: "graph")
    monkeypatch.setattr(attempt_store, "for_sweeps", lambda: "store")
    monkeypatch.setattr(reprocess_many, "Bulk", Run)
    return Run


def ask(caplog, count=1, query="", **more):
    body = json.dumps({"requestIds": IDS[:count], **more}).encode()
    return call(REPROCESS_MANY, caplog, query, body, "", "/api/requests/reprocess")


def test_a_whole_answer(run, caplog):
    """A result for each in the order asked for; a line for each, and one with the counts."""
    refusal = graph.GraphRefused("Locked", status=400)
    run.results = (ACCEPTED, Result("refused", failed_request(), error=refusal), Result("deferred"))
    answer = ask(caplog, 3)

    headers = {"x-correlation-id": "run-1", "cache-control": "no-store"}
    assert (200, headers) == (answer.status, answer.headers)
    assert {
        "results": [{"requestId": IDS[0], "outcome": "accepted", "location": LOCATION, "detail": "Graph accepted the reprocess; the delivery is under way."},
         {"requestId": IDS[1], "problem": "refused", "state": "deliveryFailed", "detail": "Graph says: Locked (HTTP 400). The service may still be retrying by itself."},
         {"requestId": IDS[2], "outcome": "deferred", "detail": "It could not be sent within this call. The next sweep reprocesses it, without waiting for its cool-down."}],
        "counts": {"accepted": 1, "refused": 1, "deferred": 1}, "correlationId": "run-1",
    } == answer.body  # fmt: skip
    *each, last = answer.lines
    assert [("reprocess", 202, "accepted"), ("reprocess", 409, "refused"), ("reprocess", 202, "deferred")] == [
        (line["event"], line["status"], line["outcome"]) for line in each
    ]  # fmt: skip
    assert {
        "event": "reprocess", "requestId": IDS[0], "status": 202, "caller": "function key",
        "outcome": "accepted", "graphRequestId": "g-1", "clientRequestId": "c-1", "correlationId": "run-1",
    } == each[0]  # fmt: skip
    counts = {"event": "reprocess many", "count": 3, "counts": answer.body["counts"]}
    assert counts.items() <= last.items()
    assert all({*line} <= {"event", *EVENTS[line["event"]].split()} for line in answer.lines)


@pytest.mark.parametrize(("result", "name"), [
    (Result("failed", error=BUSY), "graph-failed"),
    (Result("unreadable", error=BUSY), "throttled"),
    (Result("unreadable", error=REFUSED), "graph-failed"),
    (Result("windowClosed", failed_request()), "window-closed"),
])  # fmt: skip
def test_a_problem_is_named(run, caplog, result, name):
    """As that of one request; but a `failed` attempt always alike, and what was not read by its error."""
    run.results = (result, ACCEPTED)
    answer = ask(caplog, 2)

    assert (200, {name: 1, "accepted": 1}) == (answer.status, answer.body["counts"])
    assert name == answer.body["results"][0]["problem"] == answer.lines[0]["outcome"]


@pytest.mark.parametrize(
    "outcome", ["wouldReprocess", "notReprocessable", "windowClosed", "alreadyDelivering"]
)
def test_a_dry_run_says_what_would_be_done(run, caplog, outcome):
    """That is its outcome, and no problem. Only an accepted one has a location."""
    run.results = (Result(outcome, failed_request(), NOW),)
    answer = ask(caplog, dryRun=True)

    (one,) = answer.body["results"]
    assert (outcome, False) == (one["outcome"], "location" in one)
    assert (("function key", 14, True, True), True) == (run.asked, answer.lines[-1]["dryRun"])


def test_what_the_run_is_given(run, caplog, configured):
    """The ids in lower case, and the settings."""
    configured(
        HTTP_BUDGET_SECONDS="20", SWEEP_DRY_RUN="true", GRAPH_BATCH_SIZE="7", SWEEP_WINDOW_DAYS="7"
    )
    run.results = (Result("notSent"),)
    body = json.dumps({"requestIds": [ID.upper()], "dryRun": False}).encode()
    answer = call(REPROCESS_MANY, caplog, "", body, "")

    assert ([ID], ("function key", 7, False, False)) == (run.ids, run.asked)
    assert (7, 8) == (run.context.limiter.size, run.context.limiter.max_calls)
    assert 19 < run.context.end.left() <= 20
    assert "It was not sent, and no sweep was promised." == answer.body["results"][0]["detail"]


# -- what is refused --

FORM = 'The body should be {"requestIds": ["<GUID>", ...], "dryRun": false}, '
GUID = f'"{ID}"'


@pytest.mark.parametrize(("body", "says"), [
    ("", "as one JSON document: the body came empty."),
    ("requestIds=1", "as one JSON document: line 1, column 1: Expecting value."),
    (f"[{GUID}]", "with no other member."),
    ("{}", "with no other member."),
    (f'{{"requestIds": [{GUID}], "dryrun": true}}', "with no other member."),
    *((f'{{"requestIds": [{GUID}], "dryRun": {one}}}', "with true or false as dryRun.") for one in ('"true"', 1, "null")),
    (f'{{"requestIds": {GUID}}}', "with 1 to 1000 ids."),
    ('{"requestIds": []}', "with 1 to 1000 ids."),
    (json.dumps({"requestIds": IDS}), "with 1 to 1000 ids."),
    (f'{{"requestIds": [{GUID}, 7]}}', "and requestIds[1] is no GUID in 8-4-4-4-12 form."),
    (f'{{"requestIds": [{GUID}, "{ID.upper()}"]}}', "with different ids, and one is there twice."),
    (" " * MAX_BODY + "{}", "and 64 KiB at most."),
], ids=lambda value: value[:40])  # fmt: skip
def test_a_wrong_body_is_refused(run, caplog, body, says):
    """The detail says what would be right; nothing is sent."""
    answer = call(REPROCESS_MANY, caplog, "", body.encode(), "")

    assert (400, "urn:redeliver:problem:invalid-parameter") == (answer.status, answer.body["type"])
    assert FORM + says == answer.body["detail"]
    assert (None, ["reprocess many"]) == (run.asked, [line["event"] for line in answer.lines])


def test_a_thousand_ids_fit(run, caplog):
    run.results = (ACCEPTED,) * 1000

    assert {"accepted": 1000} == ask(caplog, 1000).body["counts"]


def test_there_are_no_query_parameters(run, caplog):
    """`dryRun` in the query would be overlooked."""
    answer = ask(caplog, query="dryRun=true")

    assert (400, None) == (answer.status, run.asked)
    assert "'dryRun' is not a parameter here, there is none." == answer.body["detail"]


# -- when nothing at all could be done --


@pytest.mark.parametrize(("error", "status", "name"), [
    (graph.GraphDenied("No", status=403), 502, "graph-denied"),
    (HttpResponseError("x"), 502, "attempts-unreadable"),
    (KeyError("x"), 500, "internal"),
])  # fmt: skip
def test_the_answer_is_that_problem(run, caplog, error, status, name):
    """And the one line of the call says it."""
    run.results = error
    answer = ask(caplog)

    assert (status, f"urn:redeliver:problem:{name}") == (answer.status, answer.body["type"])
    assert ("reprocess many", name) == (answer.lines[-1]["event"], answer.lines[-1]["outcome"])
