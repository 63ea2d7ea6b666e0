"""responses.py: answers, problems, and the address in links.

Not for: that no address breaks it (tests/fuzz/callers.py).
"""

import json
import re
from pathlib import Path

import pytest

import graph
import reprocess_http
from graph.outcome import REMEDIES
from reprocess_http.responses import PROBLEMS, Answer, Problem, own_address, to_problem
from settings import SettingsError

HTTP = Path(reprocess_http.__file__).parent
DENIED = graph.GraphDenied("Insufficient privileges.", status=403, code="Forbidden")
DENIED.remedy = REMEDIES["role scope"]
PAGE = (HTTP.parent / "docs" / "problems.md").read_text()


@pytest.mark.parametrize(("error", "name", "detail"), [
    (graph.RequestNotFound("No such request.", status=404, code="NotFound"), "request-not-found",
     "Graph knows no request with this id, or the app may not see it. Graph says: No such request (HTTP 404 NotFound)."),
    (graph.GraphRefused("{x}.", status=400, code="Bad"), "graph-failed", "Graph refuses to show it: {x} (HTTP 400 Bad)."),
    (DENIED, "graph-denied",
     "Insufficient privileges (HTTP 403 Forbidden). It looks like the role scope: give the managed identity the role Access package assignment manager on the catalog of this access package. The commands are in docs/problems.md#graph-denied."),
    (graph.GraphThrottled("Busy", status=503), "throttled", "Graph cannot take the call now: Busy (HTTP 503)."),
    (graph.GraphTimeout("Silence"), "graph-timeout", "Silence."),
    (type("NewKind", (graph.GraphTimeout,), {})("Silence"), "graph-timeout", "Silence."),
    (graph.GraphFailed("No HTTP resource was found.", status=404), "graph-failed", "No HTTP resource was found (HTTP 404)."),
    (SettingsError(["A is wrong", "B too"]), "misconfigured", "A is wrong; B too."),
    (KeyError("secret"), "internal", "An unhandled error; the app's log has it under this instance."),
], ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "")  # fmt: skip
def test_the_problem_that_an_error_is(error, name, detail):
    """By its class, or by the nearest one above it."""
    problem = to_problem(error)

    assert (name, detail, detail) == (problem.name, problem.detail, str(problem))
    assert problem.graph_error is (error if isinstance(error, graph.GraphError) else None)


def test_problem_details():
    """The whole answer, and what its log line says besides."""
    ids = {"graph_request_id": "g", "client_request_id": "c"}
    error = graph.GraphThrottled("Busy", code="TooMany", retry_after=3600.2, **ids)
    problem = Problem("throttled", "Wait.", state="delivering", graph_error=error)
    answer = problem.to_answer("run-1", "id")

    known = {
        "state": "delivering", "graphRequestId": "g", "clientRequestId": "c", "graphErrorCode": "TooMany",
        "retryAfterSeconds": 3601,
    }  # fmt: skip
    assert {
        "type": "urn:redeliver:problem:throttled", "title": "Graph is throttling", "status": 503,
        "detail": "Wait.", "instance": "run-1", "requestId": "id", **known,
    } == answer.body  # fmt: skip
    assert (503, "application/problem+json") == (answer.status, answer.mimetype)
    assert known | {"outcome": "throttled", "detail": "Wait.", "reason": None} == answer.log_fields
    assert problem is to_problem(problem)


@pytest.mark.parametrize(("problem", "seconds"), [
    (Problem("graph-failed"), 30),
    (Problem("graph-timeout", retry_after=0.2), 1),
    (Problem("throttled", graph_error=graph.GraphThrottled("x", retry_after=86400.0)), 86400),
    (Problem("graph-timeout", graph_error=graph.GraphFailed("x", retry_after=5.0), retry_after=9), 9),
    (Problem("refused"), None),
])  # fmt: skip
def test_how_long_to_wait(problem, seconds):
    """Never less than Graph says, in whole seconds; the default only for temporary problems."""
    answer = problem.to_answer("run-1", "")

    assert seconds == answer.body["retryAfterSeconds"] == answer.log_fields["retryAfterSeconds"]
    assert ({} if seconds is None else {"Retry-After": str(seconds)}) == answer.headers


def test_the_page_lists_every_problem_and_no_other():
    """A caller can rely on the page."""
    documented = dict(re.findall(r"^\| `([a-z-]+)` \| (\d+) \|", PAGE, re.MULTILINE))

    assert {name: str(one.status) for name, one in PROBLEMS.items()} == documented


def test_the_page_lists_every_reason_and_no_other():
    """An operator finds what the log says, word by word."""
    page = PAGE.split("## unauthorized")[1].split("## graph-denied")[0]
    rows = re.findall(r"^\| (`[^|]*`) \|", page, re.MULTILINE)
    documented = {reason for row in rows for reason in re.findall(r"`([^`]+)`", row)}
    code = "".join(
        (HTTP / f"{name}.py").read_text() for name in ("auth", "signatures", "status_link")
    )
    calls = r"(?:_unauthorized\(|_forbidden\(|InvalidSignature\(|InvalidLink\(|return )"
    said = set(re.findall(calls + r'f?"((?:the|no|there|settings|\{names?)[^"]+)"', code))
    patterns = {re.sub(r"\{[\w\[\]]+\}", "…", reason) for reason in said}

    assert patterns == documented


def test_an_answer_leaves_out_what_is_none_and_is_never_cached():
    """Each has the correlation id; a lone surrogate of a cut text loses no answer."""
    response = Answer(200, {"a": None, "b": "cut \ud83d"}, {"X-Y": "z"}).to_response("run-1")

    assert {"b": "cut \ud83d"} == json.loads(response.get_body())
    headers = {"x-correlation-id": "run-1", "Cache-Control": "no-store", "X-Y": "z"}
    assert headers == dict(response.headers)


AZURE = {"WEBSITE_HOSTNAME": "redeliver.azurewebsites.net"}


@pytest.mark.parametrize(("url", "environ", "ours"), [
    ("https://127.0.0.1:7071", {}, "https://127.0.0.1:7071"),
    ("http://[::1]:7071/api/x", {}, "http://[::1]:7071"),
    ("http://localhost:7071/", {"WEBSITE_HOSTNAME": "localhost:7071"}, "http://localhost:7071"),
    ("https://redeliver.azurewebsites.net/x", AZURE, "https://redeliver.azurewebsites.net"),
    *((f"{one}/x", AZURE, "https://access.contoso.example") for one in ("http://access.contoso.example", "http://access.contoso.example:80", "https://Access.Contoso.example:443")),
    *((f"{one}/x", AZURE, "https://redeliver.azurewebsites.net") for one in ("https://a.example,b.example", "https://user@evil.example", "https://evil.example\\@x", "https://", "http://[::1")),
    ("javascript://x/", {}, "http://localhost"),
])  # fmt: skip
def test_links_lead_to_us(url, environ, ours):
    """By the host name that the front end routed by; https on Azure; else the app's own name."""
    assert ours == own_address(url, environ)
