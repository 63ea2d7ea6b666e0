"""reprocess_request.py: what a caller is answered, for each result of the service."""

import time
from datetime import timedelta
from urllib.parse import parse_qsl, urlsplit

import pytest

import graph
from reprocess_http import reprocess_request, status_link
from reprocess_http.reprocess_request import REPROCESS, STATUS, STATUS_LINK
from reprocessing.states import Result
from tests.support.http_calls import ID, NOW, Service, call, failed_request
from tests.support.scripted_graph import BUSY, REFUSED, SERVER_ERROR

AT = "2026-11-24T10%3A00%3A00Z"
LOCATION = f"https://app.example/api/requests/{ID}?acceptedAt={AT}"
SECRET = "0123456789abcdef0123456789abcdef"
ACCEPTED = Result("accepted", None, NOW, graph.Accepted(NOW, "g-1", "c-1"))
LOST = reprocess_request.OUTCOME_UNKNOWN
pytestmark = pytest.mark.usefixtures("configured")


@pytest.fixture(name="service")
def _service(monkeypatch):
    return lambda *given: Service(monkeypatch, *given)


def test_an_accepted_reprocess(service, caplog):
    """202 with where to ask and when, and one line that says the same."""
    service = service(ACCEPTED)
    answer = call(REPROCESS, caplog)

    assert (202, "application/json") == (answer.status, answer.type)
    assert {
        "x-correlation-id": "run-1", "cache-control": "no-store", "location": LOCATION,
        "retry-after": "30",
    } == answer.headers  # fmt: skip
    assert {
        "requestId": ID, "outcome": "accepted", "acceptedAt": "2026-11-24T10:00:00Z",
        "statusUrl": LOCATION, "correlationId": "run-1",
        "detail": "Graph accepted the reprocess; the delivery is under way.",
    } == answer.body  # fmt: skip
    (line,) = answer.lines
    assert line.pop("milliseconds") >= 0
    assert {
        "event": "reprocess", "requestId": ID, "status": 202, "caller": "function key",
        "outcome": "accepted", "graphRequestId": "g-1", "clientRequestId": "c-1",
        "correlationId": "run-1",
    } == line  # fmt: skip
    assert [("reprocess", ID, "function key", False), ("wait", 0)] == service.asked
    assert 59 < service.seconds <= 60


@pytest.mark.parametrize(("result", "status", "state"), [
    (Result("alreadyDelivering", failed_request(), NOW), 202, "deliveryFailed"),
    (Result("alreadyDelivered", failed_request("delivered")), 200, "delivered"),
])  # fmt: skip
def test_nothing_to_do_is_no_problem(service, caplog, result, status, state):
    """With the state, where it was read."""
    service(result)
    answer = call(REPROCESS, caplog)

    assert {"outcome": result.outcome, "state": state}.items() <= answer.body.items()
    assert status == answer.status
    assert (status == 202) is ("location" in answer.headers) is ("statusUrl" in answer.body)


@pytest.mark.parametrize(("result", "status", "name", "detail"), [
    (Result("notReprocessable", failed_request("pendingApproval")), 409, "not-reprocessable",
     "Only a request whose delivery failed, wholly or partly, can be reprocessed."),
    (Result("windowClosed", failed_request()), 409, "window-closed",
     "The window in which Graph accepts a reprocess is closed: cancel the request and ask for the access again."),
    (Result("refused", failed_request(), error=REFUSED), 409, "refused",
     "Graph says: locked by an administrator (HTTP 400 Locked). The service may still be retrying by itself."),
    (Result("refused", words="Locked"), 409, "refused", "Graph says: Locked. The service may still be retrying by itself."),
    (Result("refused"), 409, "refused", "Graph refused the reprocess."),
    (Result("requestNotFound"), 404, "request-not-found", "Graph knows no request with this id, or the app may not see it."),
    (Result("failed", error=BUSY), 503, "throttled", "Graph cannot take the call now: busy (HTTP 503)."),
    (Result("failed", words="Broken (HTTP 500)"), 502, "graph-failed", "Graph said to the attempt under way: Broken (HTTP 500)."),
    (Result("failed"), 502, "graph-failed", "Graph is failing or cannot be reached."),
    (Result("throttled"), 503, "throttled", "Graph is throttling."),
    (Result("unknown", error=BUSY), 504, "graph-timeout", f"busy (HTTP 503). {LOST}"),
    (Result("unknown", failed_request(), retry_after=200.5), 504, "graph-timeout", LOST),
    (Result("denied", words="No"), 502, "graph-denied", "Graph said to the attempt under way: No."),
], ids=lambda value: value if isinstance(value, str) and len(value) < 20 else "")  # fmt: skip
def test_a_reprocess_that_is_a_problem(service, caplog, result, status, name, detail):
    """By its outcome; where Graph's own answer decided, by that."""
    service(result)
    answer = call(REPROCESS, caplog)

    state = {"state": result.request.state} if result.request else {}
    problem = {"status": status, "type": f"urn:redeliver:problem:{name}", "detail": detail, **state}
    assert problem == {one: answer.body[one] for one in (*problem, "state") if one in answer.body}
    assert (status, name) == (answer.status, answer.lines[0]["outcome"])


@pytest.mark.parametrize(("result", "seconds"), [
    (Result("failed", error=BUSY), "4"),
    (Result("failed", error=SERVER_ERROR), "7"),
    (Result("unknown"), "7"),
    (Result("unknown", retry_after=200.5, error=BUSY), "201"),
    (Result("refused"), None),
])  # fmt: skip
def test_retry_after_is_graphs_else_the_settings(service, caplog, configured, result, seconds):
    """Or until an attempt of which nothing is known is five minutes old."""
    configured(STATUS_RETRY_AFTER_SECONDS="7")
    service(result)

    assert seconds == call(REPROCESS, caplog).headers.get("retry-after")


@pytest.mark.parametrize("query", ["dryRun=", "dryrun=true", "wait=61"])
def test_an_ambiguous_query_sends_nothing(service, caplog, query):
    """400; as little as a body, where a dry run may have been asked for. `{}` is none."""
    service = service(ACCEPTED)

    statuses = [call(REPROCESS, caplog, *given).status for given in ([query], ["", b"dryRun=true"])]
    assert ([400, 400], []) == (statuses, service.asked)
    assert 202 == call(REPROCESS, caplog, "", b"{}").status


@pytest.mark.parametrize("result", [
    Result("wouldReprocess", failed_request()), Result("windowClosed", failed_request()),
    Result("alreadyDelivering", failed_request("delivering"), NOW),
], ids=lambda result: result.outcome)  # fmt: skip
def test_a_dry_run_is_answered_200_whatever_it_would_come_to(service, caplog, result):
    """Nothing is sent, and there is nothing to poll."""
    service = service(result)
    answer = call(REPROCESS, caplog, "dryRun=true&wait=9")

    assert {"outcome": result.outcome, "state": result.request.state}.items() <= answer.body.items()
    assert (200, None) == (answer.status, answer.body.get("statusUrl"))
    assert not {"location", "retry-after"} & {*answer.headers}
    assert [("would_reprocess", ID)] == service.asked


def test_a_caller_may_wait_for_the_end(service, caplog):
    """Then the answer is the status."""
    service = service(ACCEPTED, Result("denied", failed_request("denied"), NOW))
    answer = call(REPROCESS, caplog, "wait=9")

    assert (200, "denied") == (answer.status, answer.body["outcome"])
    assert "The request was denied; nothing will be delivered." == answer.body["detail"]
    assert ("wait", 9) == service.asked[-1]


# -- status --


def test_a_final_status(service, caplog):
    """200, and nowhere to ask again."""
    service(Result("delivered", failed_request("delivered")))
    answer = call(STATUS, caplog, request_id=ID.upper())

    assert (200, {"x-correlation-id", "cache-control"}) == (answer.status, {*answer.headers})
    assert {
        "requestId": ID, "outcome": "delivered", "state": "delivered", "correlationId": "run-1",
        "detail": "The access was delivered.",
    } == answer.body  # fmt: skip


def test_a_status_that_is_on_its_way(service, caplog):
    """The acceptance that the caller knows of goes to the service."""
    service = service(Result("onItsWay", failed_request(), NOW))
    answer = call(STATUS, caplog, f"acceptedAt={AT}")

    assert (202, "onItsWay") == (answer.status, answer.body["outcome"])
    assert LOCATION == answer.headers["location"]
    assert [("status", ID, NOW)] == service.asked


@pytest.mark.parametrize(("hours", "detail"), [
    (None, "The delivery failed."), (1, "The delivery failed."),
    (-1, "The delivery failed again; its cause is not fixed yet."),
])  # fmt: skip
def test_a_failure_after_the_acceptance_is_a_new_one(service, caplog, hours, detail):
    """That is said."""
    service(Result("deliveryFailed", failed_request(), hours and NOW + timedelta(hours=hours)))

    assert detail == call(STATUS, caplog).body["detail"]


@pytest.mark.parametrize("query", ["wait=1", "acceptedAt=now", "expires=1"])
def test_an_ambiguous_status_query_is_refused(service, caplog, query):
    """400, and Graph is not asked; what a link may have more, only a link may have."""
    service = service(None)

    assert (400, []) == (call(STATUS, caplog, query).status, service.asked)


# -- status links --


def test_with_a_secret_the_location_is_a_signed_link(service, caplog, configured):
    """It works for as many hours as is set."""
    configured(STATUS_LINK_SECRET=SECRET, STATUS_LINK_HOURS="2")
    service(ACCEPTED)
    link = urlsplit(call(REPROCESS, caplog).headers["location"])

    assert ("app.example", "/api/status") == (link.netloc, link.path)
    found = status_link.verify(SECRET, parse_qsl(link.query), time.time())
    assert (ID, True) == (found[0], 0 <= time.time() + 7200 - found[1] < 60)


def test_polling_a_link_does_not_prolong_it(service, caplog, configured):
    """The very same link is handed on."""
    configured(STATUS_LINK_SECRET=SECRET)
    service = service(Result("onItsWay", failed_request("delivering"), NOW))
    query = status_link.query(SECRET, ID, "2026-11-24T10:00:00Z", int(time.time()) + 60)

    answer = call(STATUS_LINK, caplog, query, b"", "", "/api/status")

    link = f"https://app.example/api/status?{query}"
    assert (202, link) == (answer.status, answer.headers["location"])
    assert ("status link", ID) == (answer.lines[0]["caller"], answer.lines[0]["requestId"])
    assert [("status", ID, NOW)] == service.asked


def test_the_signature_of_a_link_is_judged_first(service, caplog, configured):
    """Only beside a valid one an extra parameter is 400."""
    configured(STATUS_LINK_SECRET=SECRET)
    service, link = service(None), status_link.query(SECRET, ID, None, int(time.time()) + 60)

    for query, status in ((f"{link}&Expires=1", 400), (f"{link[:-1]}x&wait=1", 401), ("", 401)):
        assert status == call(STATUS_LINK, caplog, query, b"", "", "/api/status").status
    assert [] == service.asked
