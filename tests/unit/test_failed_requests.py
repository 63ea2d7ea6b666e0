"""failed_requests.py: the list of failed requests, whole answers over a Graph that is told."""

from __future__ import annotations

import csv
import io
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from unittest.mock import Mock

import pytest
from azure.core.exceptions import ServiceRequestError

import attempt_store
import graph
from attempt_store import AttemptStore
from attempts import AttemptRecord, Change, Entry, Outcome
from deadline import Deadline
from planning.causes import UNKNOWN
from planning.view import COLUMNS
from reprocess_http import failed_requests
from reprocess_http.failed_requests import CACHE_SECONDS, FAILED_REQUESTS, ListCache, read_list
from reprocess_http.responses import Problem
from table import InMemoryRows
from tests.support.http_calls import NOW, call

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
PACKAGES = [f"aaaaaaaa-0000-4000-8000-{n:012d}" for n in range(10)]
UNKNOWN_CAUSE = {
    "causeId": UNKNOWN.id, "kind": "unknown", "cause": "unknown", "accessPackages": 1,
    "requestors": 0, "firstWindowEndsAt": "2026-12-07T10:00:00Z",
}  # fmt: skip
ALWAYS = {
    "nextSweepAt": "2026-11-24T10:15:00Z",
    "dryRun": False,
    "portalUrl": "https://portal.azure.com/#view/Microsoft_AAD_ERM/DashboardBlade/~/elmEntitlement",
}
COUNTS = dict.fromkeys(["due", "cooling", "exhausted", "expired", "excluded"], 0)
FORBIDDEN = graph.GraphDenied("No role here", status=403, code="Forbidden")
REFUSED = graph.GraphRefused("No such filter", status=400, code="Bad", graph_request_id="g")


def name_of(number):
    return f"{number:08x}-0000-4000-8000-000000000000"


def failed(number=1, ago=DAY, kind="userAdd", **more):
    known = {"access_package_id": PACKAGES[1], "requestor_name": "Adele Vance"} | more
    state = known.pop("state", "deliveryFailed")
    return graph.Request(name_of(number), state, kind, NOW - ago, **known)


class Graph:
    """Lists what it is told for each access package (None: all), and shows single requests."""

    def __init__(self, lists, shows=()):
        self.lists, self.shows = lists, {one.id: one for one in shows}
        self.listed, self.read = [], []

    def failed(self, deadline, access_package=None, *, names=False):
        assert names
        self.listed.append(access_package)
        for one in self.lists.get(access_package, ()):
            if isinstance(one, Exception):
                raise one
            yield one

    def read_each(self, request_ids, deadline):
        self.read += request_ids
        missing = graph.RequestNotFound("No such request")
        return [self.shows.get(one, missing) for one in request_ids]


class App:
    """The route over such a Graph, with records in memory, at a fixed time."""

    def __init__(self, monkeypatch, caplog, configured, lists, shows=(), **environ):
        self.caplog, self.graph = caplog, Graph(lists, shows)
        self.rows, self.time = InMemoryRows(), 0.0
        self.store = AttemptStore(self.rows, lambda: NOW)
        configured(**environ)
        monkeypatch.setattr(graph, "shared", lambda: self.graph)
        monkeypatch.setattr(attempt_store, "for_sweeps", lambda: self.store)
        monkeypatch.setattr(failed_requests, "CACHE", ListCache(lambda: self.time))
        at_now = lambda *given: read_list(*given[:-1], NOW)  # noqa: E731
        monkeypatch.setattr(failed_requests, "read_list", at_now)

    def keep(self, number, count, ago, outcome=Outcome.ACCEPTED, **more):
        at = NOW - ago
        record = AttemptRecord(name_of(number), "c", at, outcome, None, count, last_attempt_at=at)
        self.rows.write([Change(replace(record, **more))], Deadline(9))

    def get(self, query="", accept=""):
        return call(FAILED_REQUESTS, self.caplog, query, b"", "", "/api/requests", accept=accept)

    def numbers(self, query=""):
        return [int(one["requestId"][:8], 16) for one in self.get(query).body["value"]]


@pytest.fixture(name="app")
def _app(monkeypatch, caplog, configured):
    return lambda *given, **more: App(monkeypatch, caplog, configured, *given, **more)


# -- whole answers --


def test_a_whole_answer(app):
    """Each request in the sweep's order, with the counts of all and the last sweep's report."""
    app = app({None: [failed(1, DAY), failed(2, DAY, "adminRemove", access_package_id="")]})
    app.keep(1, 3, HOUR, Outcome.REFUSED)
    report = {"found": 2, "problem": None, "listComplete": True}
    app.store.keep_report(report, NOW - HOUR, Deadline(9))

    answer = app.get()

    removal, row = answer.body.pop("value")
    assert (name_of(2), "due") == (removal["requestId"], removal["plan"])
    assert {
        "requestId": name_of(1), "plan": "cooling", "lastOutcome": "refused", "attempts": 3,
        "firstFailedAt": "2026-11-23T10:00:00Z", "requestorName": "Adele Vance",
    }.items() <= row.items()  # fmt: skip
    assert {
        "asOf": "2026-11-24T10:00:00Z",
        "listComplete": True,
        "counts": COUNTS | {"due": 1, "cooling": 1},
        "lastSweep": {"at": "2026-11-24T09:00:00Z", "found": 2, "listComplete": True},
        "causes": [UNKNOWN_CAUSE | {"count": 2, "removals": 1}],
        "sweepOverdue": True,  # one was due at 9:15, and it takes 25 minutes at most
        **ALWAYS,
    } == answer.body
    headers = {"x-correlation-id": "run-1", "cache-control": "no-store", "vary": "Accept"}
    assert headers | {"x-content-type-options": "nosniff"} == answer.headers
    (line,) = answer.lines
    assert line.pop("milliseconds") >= 0
    assert {
        "event": "requests", "status": 200, "caller": "function key", "count": 2,
        "listComplete": True, "correlationId": "run-1",
    } == line  # fmt: skip


def test_the_answer_when_nothing_fails_and_no_sweep_ever_ran(app):
    """`lastSweep` is null; a page can tell that from a member that it does not know."""
    now = {"value": [], "asOf": "2026-11-24T10:00:00Z", "listComplete": True, "counts": COUNTS}

    assert {**now, "causes": [], "lastSweep": None, **ALWAYS} == app({}).get().body


@pytest.mark.parametrize(("budget", "overdue"), [("1500", False), ("1499", True)])
def test_a_sweep_is_overdue_a_quarter_of_an_hour_after_its_budget(app, budget, overdue):
    """Counted from the one that was due after the last one: here from 9:20, and it is 10:00."""
    app = app({}, SWEEP_SCHEDULE="0 20 * * * *", SWEEP_BUDGET_SECONDS=budget)
    app.store.keep_report({}, NOW - HOUR, Deadline(9))

    assert overdue is app.get().body["sweepOverdue"]


def test_the_settings_that_a_page_shows(app):
    """The cloud's own portal, and that sweeps change nothing."""
    body = app({}, SWEEP_DRY_RUN="true", SWEEP_SCHEDULE="0 30 */6 * * *", GRAPH_CLOUD="usgov").get()

    assert (True, "2026-11-24T12:30:00Z") == (body.body["dryRun"], body.body["nextSweepAt"])
    assert body.body["portalUrl"].startswith("https://portal.azure.us/#view/")


def test_requests_have_causes_and_histories(app):
    """Counted over all of them; a filter leaves some, and all causes."""
    people = [failed(n, requestor_id=f"p{n}", access_package_name="Sales") for n in (1, 2, 3)]
    app = app({None: people})
    refused = AttemptRecord(name_of(2), outcome=Outcome.REFUSED, last_attempt_at=NOW - HOUR)
    words = "Locked (HTTP 400 Locked)"
    entry = Entry(NOW - HOUR, "a caller", Outcome.REFUSED, words)
    app.rows.write([Change(refused, entry)], Deadline(9))

    body = app.get().body
    asked = app.get(f"cause={body['causes'][0]['causeId']}").body

    assert [("package", 2, "Sales"), ("graph", 1, words)] == [
        (one["kind"], one["count"], one["cause"]) for one in body["causes"]
    ]
    assert [name_of(1), name_of(3)] == sorted(one["requestId"] for one in asked["value"])
    assert body["causes"] == asked["causes"]
    at = "2026-11-24T09:00:00Z"
    entry = {"at": at, "by": "a caller", "outcome": "refused", "words": words}
    histories = {one["requestId"]: one["history"] for one in body["value"]}
    assert {name_of(1): [], name_of(2): [entry], name_of(3): []} == histories


def test_pages_link_to_our_own_address(app):
    """With the filters that were asked for."""
    app = app({None: [failed(1), failed(2, 2 * DAY)]})
    link = app.get("limit=1&plan=due").body["nextLink"]

    assert link.startswith("https://app.example/api/requests?plan=due&limit=1&after=")
    assert [1] == app.numbers(link.partition("?")[2])


def test_csv_takes_no_page(app):
    """It has all rows."""
    app = app({})

    assert (400, []) == (app.get("limit=10", "text/csv").status, app.graph.listed)


def test_the_same_as_csv(app):
    """The columns as a line of headers, all rows that match, and a name for the file."""
    app = app({None: [failed(1), failed(2, 15 * DAY), failed(3, requestor_name="=1")]})
    answer = app.get("plan=due", "text/csv")

    found = list(csv.DictReader(io.StringIO(answer.body[1:], newline="")))
    assert list(COLUMNS) == list(found[0])
    assert {name_of(1): "Adele Vance", name_of(3): "'=1"} == {
        row["requestId"]: row["requestorName"] for row in found
    }
    file = 'attachment; filename="failed-requests-2026-11-24T1000Z.csv"'
    headers = {"x-list-complete": "true", "content-disposition": file}
    assert headers.items() <= answer.headers.items()
    assert (200, "text/csv", 2) == (answer.status, answer.type, answer.lines[0]["count"])


@pytest.mark.parametrize(("accept", "kind"), [
    ("", "json"), ("*/*", "json"), ("Text/CSV", "csv"), ("image/png", "json"), (",,;;q=1,/", "json"),
    ("text/csv, application/json", "json"), ("text/csv, application/json;q=0.9", "csv"),
])  # fmt: skip
def test_the_form_that_a_caller_prefers(app, accept, kind):
    """By weight, then JSON; also where none is acceptable."""
    assert app({}).get(accept=accept).type.endswith(kind)


def test_a_wrong_query_calls_nothing(app):
    app = app({})

    assert (400, []) == (app.get("plan=dew").status, app.graph.listed)


# -- one list for all --


def test_one_list_serves_half_a_minute(app):
    """Whatever is asked of it; then there is a new one."""
    app = app({None: [failed(1)]})
    seen = [app.numbers(), app.numbers("plan=due"), app.get("", "text/csv").body.count("\r\n")]
    app.graph.lists = {None: [failed(2)]}
    app.time = CACHE_SECONDS - 0.1
    seen.append(app.numbers())

    assert ([[1], [1], 2, [1]], 1) == (seen, len(app.graph.listed))
    app.time = CACHE_SECONDS
    assert ([2], 2) == (app.numbers(), len(app.graph.listed))


def test_of_several_at_once_one_reads():
    """The others wait for it and get the same."""
    cache, begun, may_end, reads = ListCache(lambda: 0.0), threading.Event(), threading.Event(), []

    def read():
        reads.append(1)
        begun.set()
        assert may_end.wait(10)
        return "the list"

    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(cache.get, Deadline(10), read) for _ in range(8)]
        assert begun.wait(10)
        may_end.set()
        assert ["the list"] * 8 == [one.result() for one in asked]
    assert [1] == reads


def test_a_caller_waits_for_anothers_list_until_its_own_deadline():
    """Then 504; and a list that failed is not kept."""
    cache = ListCache(lambda: 0.0)

    def slow():
        with pytest.raises(
            Problem, match=r"^Another call's list has not ended in time.$"
        ) as caught:
            cache.get(Deadline(0), lambda: 2)
        assert "graph-timeout" == caught.value.name
        raise KeyError

    with pytest.raises(KeyError):
        cache.get(Deadline(10), slow)
    assert 1 == cache.get(Deadline(10), lambda: 1)


# -- incomplete lists --


def test_a_request_that_comes_twice_is_there_once(app):
    """Pages may repeat what moved between two reads."""
    assert [1] == app({None: [failed(1), failed(1)]}).numbers()


def test_a_list_that_breaks_off_gives_what_was_read(app):
    """And says so, and why; in the name of a CSV file as well."""
    app = app({None: [failed(1), REFUSED]})
    answer, sheet = app.get(), app.get("", "text/csv")

    assert [name_of(1)] == [one["requestId"] for one in answer.body["value"]]
    assert (False, None) == (answer.body["listComplete"], answer.body.get("unlisted"))
    detail = answer.body["detail"]
    assert detail.startswith("Graph refuses the list: No such filter (HTTP 400 Bad). ")
    assert (True, False) == ("GRAPH_REQUESTS_PATH" in detail, "SWEEP_ACCESS_PACKAGES" in detail)
    assert {
        "status": 200, "listComplete": False, "detail": detail, "graphErrorCode": "Bad", "graphRequestId": "g",
    }.items() <= answer.lines[0].items()  # fmt: skip
    assert "false" == sheet.headers["x-list-complete"]
    assert "2026-11-24T1000Z-incomplete.csv" in sheet.headers["content-disposition"]


@pytest.mark.parametrize(("error", "problem", "says"), [
    (graph.RequestNotFound("Gone", status=404, code="Gone"), "graph-failed", "Graph refuses the list: Gone (HTTP 404 Gone). "),
    (graph.GraphFailed("No path", status=404), "graph-failed", "Graph refuses the list: No path (HTTP 404). "),
    (graph.GraphTimeout("Silence"), "graph-timeout", "Silence."),
])  # fmt: skip
def test_a_list_of_which_nothing_was_read_is_a_problem(app, error, problem, says):
    """An empty list would say that all is well."""
    body = app({None: [error]}).get().body

    assert f"urn:redeliver:problem:{problem}" == body["type"]
    assert body["detail"].startswith(says)


def test_an_access_package_that_cannot_be_listed_is_named(app):
    """The others are listed, and how many of them is said."""
    lists = {PACKAGES[1]: [failed(1)], PACKAGES[2]: [FORBIDDEN], PACKAGES[3]: [failed(3)]}
    app = app(lists, SWEEP_ACCESS_PACKAGES=",".join(lists))
    body = app.get().body

    assert {name_of(1), name_of(3)} == {one["requestId"] for one in body["value"]}
    assert (False, [PACKAGES[2]]) == (body["listComplete"], body["unlisted"])
    assert body["detail"].startswith(
        "Failed requests could be listed in 2 of 3 access packages. Of the first other one: No role "
        "here (HTTP 403 Forbidden)."
    )


def test_an_empty_access_package_beside_a_forbidden_one_is_an_answer(app):
    """One list ended well; where none did, it is a problem."""
    packages = ",".join(PACKAGES[1:3])

    body = app({PACKAGES[2]: [FORBIDDEN]}, SWEEP_ACCESS_PACKAGES=packages).get().body
    assert ([], [PACKAGES[2]]) == (body["value"], body["unlisted"])
    both = {PACKAGES[1]: [REFUSED], PACKAGES[2]: [FORBIDDEN]}
    body = app(both, SWEEP_ACCESS_PACKAGES=packages).get().body
    assert "urn:redeliver:problem:graph-failed" == body["type"]


# -- deferred requests --


def test_deferred_requests_that_no_list_contains_are_shown(app):
    """As the next sweep looks them up: those that are failed now, however they are listed."""
    shows = [failed(1), failed(2, state="delivered"), failed(3)]
    app = app({PACKAGES[1]: [failed(3)]}, shows, SWEEP_ACCESS_PACKAGES=PACKAGES[1])
    for number in (1, 2, 3, 4):
        app.keep(number, 1, HOUR, Outcome.FAILED, deferred_at=NOW - HOUR / 2)
    app.keep(5, 1, HOUR)  # not deferred

    body = app.get().body
    assert [name_of(1), name_of(3)] == [one["requestId"] for one in body["value"]]
    assert (COUNTS | {"due": 2}, True) == (body["counts"], body["listComplete"])
    assert [name_of(1), name_of(2), name_of(4)] == sorted(app.graph.read)


def test_deferred_requests_that_cannot_be_read_leave_the_list_incomplete(app):
    """Any may be one that failed. Once Graph asks to wait, no more are read."""
    app = app({None: [failed(99)]})
    for number in range(25):
        app.keep(number, 1, HOUR, deferred_at=NOW)
        app.graph.shows[name_of(number)] = graph.GraphThrottled("Wait", status=429)

    body = app.get().body
    assert (False, "Graph cannot take the call now: Wait (HTTP 429).") == (
        body["listComplete"], body["detail"],
    )  # fmt: skip
    assert (1, 20) == (len(body["value"]), len(app.graph.read))


# -- the table --


@pytest.mark.parametrize("method", ["read_all", "last_report"])
def test_a_table_that_cannot_be_read_is_a_problem(app, monkeypatch, method):
    """It is not known what is planned; Graph is not asked, and the answer says what to do."""
    app, error = app({}), ServiceRequestError("x")
    monkeypatch.setattr(app.store, method, Mock(side_effect=error))

    body = app.get().body

    assert ("urn:redeliver:problem:attempts-unreadable", 502) == (body["type"], body["status"])
    assert body["detail"] == (
        "The table reprocessAttempts cannot be read, so it is not known what was tried. "
        f"{attempt_store.what_to_do(error)} Until then no sweep reprocesses anything; a single "
        "request can still be reprocessed."
    )
    assert [] == app.graph.listed


def test_the_table_takes_half_of_the_time_at_most(app, monkeypatch):
    """So that Graph has the other half."""
    app, seen = app({}, HTTP_BUDGET_SECONDS="20"), []
    monkeypatch.setattr(
        app.store, "read_all", lambda deadline, **_: seen.append(deadline.left()) or {}
    )

    assert (200, True) == (app.get().status, 9 < seen[0] <= 10)
