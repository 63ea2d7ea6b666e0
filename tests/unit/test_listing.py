"""planning/listing.py: the failed requests of each access package; a failure costs only its own."""

import contextvars
import json
import threading
import time

import pytest

from deadline import Deadline
from graph import GraphDenied, GraphFailed, GraphRefused, GraphThrottled, Request
from planning.listing import MAX_LOG_LINES, ListFailure, list_failed

DENIED = GraphDenied("No role here.", status=403, code="Forbidden")
REFUSED = GraphRefused("No such filter.", status=400, code="InvalidFilter", graph_request_id="g-1")
SILENT = GraphFailed("Graph cannot be reached.")
CHECK_IDS = "Check the ids in SWEEP_ACCESS_PACKAGES."


class Lists:
    """A Graph that has these lists: by access package what each gives in turn, or raises."""

    def __init__(self, lists):
        self.lists = lists
        self.asked = []

    def failed(self, deadline, access_package=None, *, names=False):
        self.asked.append((access_package, names))
        for one in self.lists[access_package]:
            if isinstance(one, Exception):
                raise one
            yield Request(one, "deliveryFailed", "userAdd", None)


def listed(lists, **options):
    """List; return the ids, what failed, and the packages that Graph was asked for."""
    graph, ids = Lists(lists), []
    take = lambda one: ids.append(one.id)  # noqa: E731
    failures = list_failed(graph, list(lists), Deadline(9), take, names=False, **options)
    return ids, failures, [package for package, _ in graph.asked]


def test_without_access_packages_all_requests_are_listed():
    """In one list, with names where they are asked for."""
    graph, ids = Lists({None: ["1", "2"]}), []

    failures = list_failed(graph, (), Deadline(9), lambda one: ids.append(one.id), names=True)
    assert (["1", "2"], [], [(None, True)]) == (ids, failures, graph.asked)


@pytest.mark.parametrize("error", [DENIED, REFUSED, SILENT])
def test_a_list_that_fails_costs_itself_and_nothing_else(error):
    """What it gave before counts, and the other lists are read."""
    ids, failures, _ = listed({"a": ["1", error, "2"], "b": ["3"]})

    assert (["1", "3"], [ListFailure("a", error)]) == (ids, failures)


def test_three_lists_in_a_row_that_graph_does_not_answer_end_the_listing():
    """The others fail with the same error, without a call."""
    throttled = GraphThrottled("Wait.", status=429)
    lists = {"a": [SILENT], "b": [SILENT], "c": ["1", throttled], "d": ["2"], "e": ["3"]}

    ids, failures, asked = listed(lists)

    errors = [SILENT, SILENT, throttled, throttled, throttled]
    assert (["1"], ["a", "b", "c"]) == (ids, asked)
    assert failures == [ListFailure(*one) for one in zip("abcde", errors, strict=True)]


@pytest.mark.parametrize("answer", [[], [DENIED], [REFUSED]])
def test_a_list_that_graph_answers_or_refuses_begins_the_row_anew(answer):
    """Graph is there."""
    lists = {"a": [SILENT], "b": [SILENT], "c": answer, "d": [SILENT], "e": ["1"]}

    assert (["1"], list("abcde")) == listed(lists)[::2]


def test_a_list_ends_where_it_is_told_to():
    """Of each access package, so one request of each is enough for a diagnosis."""
    ids, lists = [], Lists({"a": ["1", "2"], "b": ["3", SILENT]})
    take = lambda one: bool(ids.append(one.id))  # noqa: E731

    assert ([], ["1", "3"]) == (list_failed(lists, ["a", "b"], Deadline(9), take, names=False), ids)


def test_lists_are_read_side_by_side_with_the_callers_context():
    """Failures keep the order of the packages, whichever fails first; `take` is never in two threads."""
    variable = contextvars.ContextVar("variable")
    variable.set("the caller's")
    side_by_side = threading.Barrier(8, timeout=30)
    taking, seen = threading.Lock(), []

    class Waits:
        def failed(self, deadline, access_package, *, names):
            side_by_side.wait()
            yield Request(access_package, "deliveryFailed", "userAdd", None)
            raise DENIED

    def take(request):
        assert taking.acquire(blocking=False)
        time.sleep(0.001)  # long enough for another thread to come
        seen.append((request.id, variable.get()))
        taking.release()

    packages = [str(n) for n in range(24)]
    failures = list_failed(Waits(), packages, Deadline(9), take, names=True, at_once=8)

    assert {(one, "the caller's") for one in packages} == set(seen)
    assert [ListFailure(one, DENIED) for one in packages] == failures


def test_a_failure_is_logged_when_asked_to(caplog):
    """Which list, how many it gave, why it ended and what to do about it."""
    listed({"a": ["1", "2", REFUSED]})
    assert not caplog.records

    listed({"a": ["1", "2", REFUSED]}, log=True)
    assert {
        "event": "list incomplete", "accessPackageId": "a", "found": 2, "remedy": CHECK_IDS,
        "graphStatus": 400, "graphErrorCode": "InvalidFilter", "detail": "No such filter.", "graphRequestId": "g-1",
    } == json.loads(caplog.messages[0])  # fmt: skip


def test_fifty_failures_are_logged_at_most(caplog):
    """A thousand packages may be set."""
    _, failures, _ = listed({str(n): [DENIED] for n in range(MAX_LOG_LINES + 2)}, log=True)

    assert (52, 50) == (len(failures), len(caplog.records))


@pytest.mark.parametrize(("package", "error", "remedy"), [
    ("a", DENIED, DENIED.remedy),
    ("a", REFUSED, CHECK_IDS),
    (None, REFUSED,
     ("Check GRAPH_API_VERSION and GRAPH_REQUESTS_PATH: use v1.0, or for beta in a national cloud accessPackageAssignmentRequests. "
     "If they are right, give Microsoft support Graph's request id g-1.")),
    ("a", GraphFailed("No HTTP resource was found.", status=404),
     "If GRAPH_API_VERSION and GRAPH_REQUESTS_PATH are right, give Microsoft support Graph's request id."),
    ("a", SILENT, "The next sweep tries again."),
])  # fmt: skip
def test_the_remedy(package, error, remedy):
    """Settings that are not set are not named; a 404 without a code names those of the path.

    [seen: microsoft-graph-docs-contrib#8922, #5654; msgraph-sdk-powershell#2505]
    """
    assert remedy == ListFailure(package, error).remedy
