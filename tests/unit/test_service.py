"""reprocessing/service.py: dry run, status and waiting, in virtual time."""

from __future__ import annotations

from datetime import timedelta

import pytest
from azure.core.exceptions import AzureError

from attempts import Decision, Outcome
from graph import RequestNotFound
from reprocessing.service import RequestService
from reprocessing.states import Result
from tests.support import scripted_graph as say
from tests.support.scripted_graph import ID, START, ScriptedGraph, memory_store, tried

WINDOW = timedelta(days=14)


class Unreachable:
    """A table that does not answer."""

    def read(self, *_):
        raise AzureError("unreachable")


def service(graph, store, memory=None):
    return RequestService(graph, store, memory or memory_store(graph.clock), WINDOW)


@pytest.mark.parametrize(
    ("state", "days", "outcome"),
    [
        ("partiallyDelivered", 14, "wouldReprocess"),
        ("deliveryFailed", 14.1, "windowClosed"),
        ("delivering", 1, "alreadyDelivering"),
        ("delivered", 1, "alreadyDelivered"),
        ("unknownFutureValue", 1, "notReprocessable"),
    ],
)
def test_a_dry_run_says_what_a_reprocess_would_do(clock, store, state, days, outcome):
    graph = ScriptedGraph(clock, states=[state], completed_at=START - timedelta(days=days))

    result = service(graph, store).would_reprocess(ID, clock.deadline())

    assert (outcome, ID, []) == (result.outcome, result.request.id, graph.sent)


@pytest.mark.parametrize("accepted", [True, False])
def test_a_dry_run_knows_what_is_under_way_and_what_failed_again(clock, store, accepted):
    """For five minutes from the claim, as a reprocess: whether Graph accepted it or none knows."""
    if accepted:
        claim = tried(store, clock)
        clock.sleep(20)
        store.decide([Decision(claim, Outcome.ACCEPTED, clock.now())], clock.deadline())
    else:
        tried(store, clock)
    asked = service(ScriptedGraph(clock), store)

    def told(state="deliveryFailed"):
        asked.graph.states = [state]
        result = asked.would_reprocess(ID, clock.deadline())
        return result.outcome, result.accepted_at, result.request.id

    at = START + timedelta(seconds=20) if accepted else None
    under_way, due = ("alreadyDelivering", at, ID), ("wouldReprocess", None, ID)
    assert [under_way, under_way] == [told(), told("delivering")]
    clock.sleep(299 - clock.seconds)
    assert [under_way, due] == [told(), told("deliveryFailed again")]
    clock.sleep(1)
    assert due == told()


def test_a_reprocess_promises_only_what_it_is_asked_to(clock, store):
    asked = service(ScriptedGraph(clock, say.WAIT_LONG, say.WAIT_LONG), store)

    assert "throttled" == asked.reprocess(ID, "caller", clock.deadline()).outcome
    assert "deferred" == asked.reprocess(ID, "caller", clock.deadline(), promise=True).outcome


@pytest.mark.parametrize(
    ("state", "outcome"),
    [
        ("Delivered", "delivered"),
        ("partiallyDelivered", "partiallyDelivered"),
        ("denied", "denied"),
        ("canceled", "canceled"),
        ("deliveryFailed", "deliveryFailed"),
        ("unknownFutureValue", "onItsWay"),
    ],
)
def test_a_status_is_final_or_on_its_way(clock, store, state, outcome):
    asked = service(ScriptedGraph(clock, states=[state]), store)

    for at in (START - timedelta(hours=1), None):
        result = asked.status(ID, at, clock.deadline())
        assert (outcome, at) == (result.outcome, result.accepted_at)
        assert (ID, state) == (result.request.id, result.request.state)


@pytest.mark.parametrize("known_by", ["caller", "table", "memory"])
@pytest.mark.parametrize("told", [None, START + timedelta(days=1)])
def test_a_failure_from_before_a_recent_acceptance_is_on_its_way(clock, store, known_by, told):
    """Whoever knows of the acceptance: the caller, the table, or memory while the table is away.

    A caller whose time is ahead hides none.
    """
    graph, memory = ScriptedGraph(clock), memory_store(clock)
    if known_by == "caller":
        told = START
    else:
        tried(store if known_by == "table" else memory, clock, Outcome.ACCEPTED, clock.now())
    asked = service(graph, Unreachable() if known_by == "memory" else store, memory)

    result = asked.status(ID, told, clock.deadline())
    assert ("onItsWay", START, ID) == (result.outcome, result.accepted_at, result.request.id)
    clock.sleep(300)
    assert "deliveryFailed" == asked.status(ID, told, clock.deadline()).outcome


def test_an_error_of_reading_is_raised(clock, store):
    graph = ScriptedGraph(clock, states=[say.NOT_FOUND])

    with pytest.raises(RequestNotFound):
        service(graph, store).status(ID, None, clock.deadline())


ACCEPTED = Result("accepted", accepted_at=START, accepted="ids")


def wait(graph, store, seconds, result=ACCEPTED, left=60.0):
    deadline = graph.clock.deadline(left)
    return service(graph, store).wait_for_completion(ID, result, seconds, deadline)


def test_waiting_ends_with_the_delivery(clock, store):
    """Polled every three seconds; a newer failure is an end, the old one is not."""
    graph = ScriptedGraph(clock, states=["deliveryFailed", "delivering", "deliveryFailed again"])

    result = wait(graph, store, 30)

    assert ("deliveryFailed", "ids", 9.0) == (result.outcome, result.accepted, clock.seconds)
    assert ID == result.request.id


@pytest.mark.parametrize(("seconds", "left"), [(7, 60.0), (60, 10.0)])
def test_waiting_ends_when_its_seconds_or_the_deadline_are_over(clock, store, seconds, left):
    """The last read has three seconds, which are kept of the deadline."""
    graph = ScriptedGraph(clock, states=["delivering"])

    assert wait(graph, store, seconds, left=left) is ACCEPTED
    assert (7.0, [7.0, 4.0, 3.0]) == (clock.seconds, graph.left)


@pytest.mark.parametrize(("error", "reads"), [(say.SERVER_ERROR, 3), (say.WAIT, 1)])
def test_a_read_that_fails_leaves_it_accepted(clock, store, error, reads):
    """Where Graph fails it is asked again, where it asks to wait it is not."""
    graph = ScriptedGraph(clock, states=[error])

    assert wait(graph, store, 9) is ACCEPTED
    assert reads == graph.reads


@pytest.mark.parametrize(("outcome", "seconds"), [("alreadyDelivered", 9), ("accepted", 0)])
def test_where_there_is_nothing_to_wait_for_nothing_is_read(clock, store, outcome, seconds):
    graph, result = ScriptedGraph(clock), Result(outcome)

    assert wait(graph, store, seconds, result) is result
    assert 0 == graph.reads
