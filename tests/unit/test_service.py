"""reprocessing/service.py: dry run, status and waiting, in virtual time."""

from __future__ import annotations

from datetime import timedelta

import pytest
from azure.core.exceptions import AzureError

from attempts import Decision, Outcome
from graph import GraphError
from reprocessing.service import RequestService
from reprocessing.states import Result
from tests.support.scripted_graph import (
    ID,
    NOT_FOUND,
    SERVER_ERROR,
    START,
    WAIT,
    WAIT_LONG,
    ScriptedGraph,
    memory_store,
)

WINDOW = timedelta(days=14)


class Unreachable:
    """A table that does not answer."""

    def read(self, *_):
        raise AzureError("unreachable")


def service(graph, store, memory=None):
    return RequestService(graph, store, memory or memory_store(graph.clock), WINDOW)


def accept(store, clock):
    """Record an attempt that Graph accepted now."""
    (claim,) = store.claim([store.read(ID, clock.deadline())], "caller", clock.deadline())
    store.decide([Decision(claim, Outcome.ACCEPTED, clock.now())], clock.deadline())


@pytest.mark.parametrize(
    ("state", "days", "outcome"),
    [
        ("deliveryFailed", 1, "wouldReprocess"),
        ("partiallyDelivered", 14, "wouldReprocess"),
        ("deliveryFailed", 14.1, "windowClosed"),
        ("delivering", 1, "alreadyDelivering"),
        ("delivered", 1, "alreadyDelivered"),
        ("pendingApproval", 1, "notReprocessable"),
        ("unknownFutureValue", 1, "notReprocessable"),
    ],
)
def test_a_dry_run_says_what_a_reprocess_would_do(clock, store, state, days, outcome):
    graph = ScriptedGraph(clock, states=[state], completed_at=START - timedelta(days=days))

    result = service(graph, store).would_reprocess(ID, clock.deadline())

    assert (outcome, ID, []) == (result.outcome, result.request.id, graph.sent)


def test_a_dry_run_knows_of_an_acceptance_of_the_last_five_minutes(clock, store):
    accept(store, clock)
    graph = ScriptedGraph(clock)
    outcomes = []
    for seconds in (0, 299, 1):
        clock.sleep(seconds)
        outcomes.append(service(graph, store).would_reprocess(ID, clock.deadline()).outcome)

    assert ["alreadyDelivering", "alreadyDelivering", "wouldReprocess"] == outcomes


def test_a_dry_run_counts_the_five_minutes_as_a_reprocess_does(clock, store):
    """From the claim, also where Graph accepted it seconds later."""
    (claim,) = store.claim([store.read(ID, clock.deadline())], "caller", clock.deadline())
    clock.sleep(20)
    store.decide([Decision(claim, Outcome.ACCEPTED, clock.now())], clock.deadline())
    asked = service(ScriptedGraph(clock), store)

    clock.sleep(279)
    assert "alreadyDelivering" == asked.would_reprocess(ID, clock.deadline()).outcome
    assert "alreadyDelivering" == asked.reprocess(ID, "caller", clock.deadline()).outcome
    clock.sleep(2)
    assert "wouldReprocess" == asked.would_reprocess(ID, clock.deadline()).outcome
    assert "accepted" == asked.reprocess(ID, "caller", clock.deadline()).outcome


def test_a_reprocess_promises_only_what_it_is_asked_to(clock, store):
    asked = service(ScriptedGraph(clock, WAIT_LONG, WAIT_LONG), store)

    assert "throttled" == asked.reprocess(ID, "caller", clock.deadline()).outcome
    assert "deferred" == asked.reprocess(ID, "caller", clock.deadline(), promise=True).outcome


@pytest.mark.parametrize("accepted", [True, False])
def test_a_dry_run_knows_what_is_under_way_and_what_failed_again(clock, store, accepted):
    """After an acceptance, and after a claim that got no outcome."""
    if accepted:
        accept(store, clock)
    else:
        store.claim([store.read(ID, clock.deadline())], "caller", clock.deadline())
    clock.sleep(60)

    for state, outcome in (
        ("deliveryFailed", "alreadyDelivering"),
        ("delivering", "alreadyDelivering"),
        ("deliveryFailed again", "wouldReprocess"),
    ):
        asked = service(ScriptedGraph(clock, states=[state]), store)
        result = asked.would_reprocess(ID, clock.deadline())
        assert (outcome, ID) == (result.outcome, result.request.id)
        at = START if accepted and outcome == "alreadyDelivering" else None
        assert at == result.accepted_at


@pytest.mark.parametrize(
    ("state", "outcome"),
    [
        ("Delivered", "delivered"),
        ("partiallyDelivered", "partiallyDelivered"),
        ("denied", "denied"),
        ("canceled", "canceled"),
        ("scheduled", "onItsWay"),
        ("unknownFutureValue", "onItsWay"),
    ],
)
def test_a_status_is_final_or_on_its_way(clock, store, state, outcome):
    asked, at = service(ScriptedGraph(clock, states=[state]), store), START - timedelta(hours=1)
    result = asked.status(ID, at, clock.deadline())

    assert (outcome, at) == (result.outcome, result.accepted_at)
    assert (ID, state) == (result.request.id, result.request.state)


@pytest.mark.parametrize("known_by", ["caller", "table", "memory"])
def test_a_failure_from_before_a_recent_acceptance_is_on_its_way(clock, store, known_by):
    """Whoever knows of the acceptance: the caller, the table, or memory while the table is away."""
    graph, at, memory = ScriptedGraph(clock), None, memory_store(clock)
    if known_by == "caller":
        at = START
    else:
        accept(store if known_by == "table" else memory, clock)
    asked = service(graph, Unreachable() if known_by == "memory" else store, memory)

    result = asked.status(ID, at, clock.deadline())
    assert ("onItsWay", START, ID) == (result.outcome, result.accepted_at, result.request.id)
    clock.sleep(300)
    assert "deliveryFailed" == asked.status(ID, at, clock.deadline()).outcome


def test_without_an_acceptance_a_failure_is_final(clock, store):
    result = service(ScriptedGraph(clock), store).status(ID, None, clock.deadline())

    assert ("deliveryFailed", None) == (result.outcome, result.accepted_at)


def test_an_error_of_reading_is_raised(clock, store):
    graph = ScriptedGraph(clock, states=[NOT_FOUND])

    with pytest.raises(GraphError):
        service(graph, store).status(ID, None, clock.deadline())


ACCEPTED = Result("accepted", accepted_at=START, accepted="ids")


def wait(graph, store, seconds, result=ACCEPTED, left=60.0):
    return service(graph, store).wait_for_completion(
        ID, result, seconds, graph.clock.deadline(left)
    )


def test_waiting_ends_with_the_delivery(clock, store):
    """Polled every three seconds; a newer failure is an end, the old one is not."""
    graph = ScriptedGraph(clock, states=["deliveryFailed", "delivering", "deliveryFailed again"])

    result = wait(graph, store, 30)

    assert ("deliveryFailed", "ids", 9.0) == (result.outcome, result.accepted, clock.seconds)
    assert ID == result.request.id


def test_waiting_ends_when_its_seconds_are_over(clock, store):
    graph = ScriptedGraph(clock, states=["delivering"])

    assert wait(graph, store, 7) is ACCEPTED
    assert (7.0, [7.0, 4.0, 3.0]) == (clock.seconds, graph.left)  # the last read has three seconds


def test_waiting_never_outlasts_the_deadline(clock, store):
    """Three seconds of it are kept for the last read."""
    graph = ScriptedGraph(clock, states=["delivering"])

    assert wait(graph, store, 60, left=10) is ACCEPTED
    assert (7.0, [7.0, 4.0, 3.0]) == (clock.seconds, graph.left)


@pytest.mark.parametrize(("error", "reads"), [(SERVER_ERROR, 3), (WAIT, 1)], ids=["failing", "429"])
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


def test_a_dry_run_sees_what_another_is_doing(clock, store):
    """A young claim, and an attempt that Graph may have accepted."""
    (claimed,) = store.claim([store.read(ID, clock.deadline())], "another", clock.deadline())
    asked = service(ScriptedGraph(clock), store)

    assert claimed
    assert "alreadyDelivering" == asked.would_reprocess(ID, clock.deadline()).outcome
    clock.sleep(100)
    assert "alreadyDelivering" == asked.would_reprocess(ID, clock.deadline()).outcome
    clock.sleep(300)
    assert "wouldReprocess" == asked.would_reprocess(ID, clock.deadline()).outcome


def test_a_caller_whose_time_is_ahead_hides_no_acceptance(clock, store):
    """What the record knows counts as well."""
    accept(store, clock)
    ahead = START + timedelta(days=1)

    result = service(ScriptedGraph(clock), store).status(ID, ahead, clock.deadline())
    assert "onItsWay" == result.outcome
