"""reprocessing/many.py: a batch is claimed, sent, recorded and settled, in virtual time."""

from __future__ import annotations

import json
import threading
import uuid
from dataclasses import replace
from datetime import timedelta

import pytest
from azure.core.exceptions import AzureError

from attempts import Outcome
from reprocessing import many
from reprocessing.many import Context, Due, read_many, reprocess_many
from reprocessing.rate_limiter import RateLimiter
from reprocessing.sender import Threads
from tests.support import scripted_graph as say
from tests.support.inline import inline_workers
from tests.support.scripted_graph import START, ScriptedGraph, tried

IDS = [str(uuid.UUID(int=n)) for n in range(1, 200)]


def context(graph, store, seconds=600.0, size=20, progress=lambda *_: None):
    clock = graph.clock
    deadline, end = clock.deadline(seconds), clock.deadline(seconds + 50)
    limiter = RateLimiter(1, size, clock)
    workers = inline_workers(graph.sleep)
    return Context(graph, store, limiter, deadline, end, clock, progress, workers)


def reprocess(graph, store, count, **more):
    """Reprocess the first so many requests, as they are recorded now."""
    due = [Due(one) for one in records(store, graph.clock, count)]
    return reprocess_many(context(graph, store, **more), due, "sweep")


def records(store, clock, count):
    return [store.read(one, clock.deadline(1.0)) for one in IDS[:count]]


def outcomes(store, clock, count):
    return [one.outcome for one in records(store, clock, count)]


def lines(caplog):
    return [json.loads(message) for message in caplog.messages]


def test_every_outcome_is_counted_and_recorded(clock, store):
    """Each of one call's requests for itself."""
    graph = ScriptedGraph(clock, say.REFUSED, say.DENIED, say.WRONG_PATH, say.SERVER_ERROR)

    result = reprocess(graph, store, 6)

    counts = {"accepted": 2, "refused": 1, "denied": 1, "failed": 2}
    assert counts == dict(result.counts)
    expected = ["refused", "denied", "failed", "failed", "accepted", "accepted"]
    assert expected == outcomes(store, clock, 6)
    entry = records(store, clock, 1)[0].history[0]
    assert ("sweep", Outcome.REFUSED) == (entry.by, entry.outcome)
    assert say.REFUSED.summary == entry.words


def test_what_graph_did_not_accept_is_logged_with_what_to_do(clock, store, caplog):
    """Each request by its id, up to fifty of them; the counts have all."""
    errors = {"refused": say.REFUSED, "denied": say.DENIED, "failed": say.SERVER_ERROR}
    reprocess(ScriptedGraph(clock, *errors.values()), store, 3)

    assert [
        {"event": f"reprocess {what}", "requestId": IDS[n], "attempt": 1}
        | ({"remedy": say.DENIED.remedy} if what == "denied" else {})
        | {key: value for key, value in error.fields().items() if value}
        for n, (what, error) in enumerate(errors.items())
    ] == lines(caplog)
    caplog.clear()
    assert {"refused": 60} == reprocess(ScriptedGraph(clock, *[say.REFUSED] * 60), store, 60).counts
    assert 50 == len(caplog.messages)


@pytest.mark.parametrize(
    ("state", "outcome", "stored"),
    [
        ("deliveryFailed", "failed", "failed"),
        ("delivering", "accepted", "accepted"),
        ("deliveryFailed again", "accepted", "accepted"),
        (say.SERVER_ERROR, "unknown", "claimed"),
        (say.NOT_FOUND, "unknown", "claimed"),
    ],
)
def test_without_a_judging_answer_the_state_decides(clock, store, state, outcome, stored):
    """It is read once, five seconds later, and nothing is sent again.

    An acceptance that was seen so has the time of its send.
    """
    clock.sleep(100)
    graph = ScriptedGraph(clock, say.SERVER_ERROR, states=[state])

    result = reprocess(graph, store, 1)

    assert {outcome: 1} == dict(result.counts)
    assert ([stored], 1) == (outcomes(store, clock, 1), len(graph.sent))
    assert clock.seconds >= 105
    [record] = records(store, clock, 1)
    late = abs((record.accepted_at or START) - START - timedelta(seconds=100))
    assert late <= timedelta(seconds=1) or outcome != "accepted"


def test_what_is_throttled_is_released_and_claimed_anew(clock, store):
    graph = ScriptedGraph(clock, say.WAIT, say.WAIT)

    result = reprocess(graph, store, 2)

    assert ({"accepted": 2}, 2) == (dict(result.counts), result.throttled)
    (first, _), (second, _) = graph.sent
    assert second - first >= 3


def test_what_another_claimed_meanwhile_is_postponed(clock, store):
    """Before it was claimed, and while it waited for Graph."""
    due = [Due(one) for one in records(store, clock, 2)]
    taken = tried(store, clock, request_id=IDS[0])
    graph = ScriptedGraph(clock, say.WAIT)

    def meanwhile(seconds):
        clock.sleep(seconds)
        tried(store, clock, Outcome.REFUSED, request_id=IDS[1])

    graph.sleep = meanwhile
    result = reprocess_many(context(graph, store), due, "sweep")

    assert ({"postponed": 2}, 2) == (dict(result.counts), result.skipped)
    assert [[IDS[1]]] == [ids for _, ids in graph.sent]
    assert taken.record.claim_id == records(store, clock, 1)[0].claim_id


@pytest.mark.parametrize(
    ("seconds", "outcome", "sent"), [(39, "accepted", [39.0]), (601, "postponed", [])]
)
def test_a_claim_that_took_too_long_is_released_before_it_is_sent(
    clock, store, seconds, outcome, sent
):
    """Another may have taken it for abandoned, or time is up."""
    claim, slow = store.claim, [seconds]

    def claiming(*given):
        claims = claim(*given)
        clock.sleep(slow.pop() if slow else 0)
        return claims

    store.claim = claiming
    graph = ScriptedGraph(clock)
    result = reprocess(graph, store, 1)

    assert ({outcome: 1}, None) == (dict(result.counts), result.error)
    assert (sent, [30.0] * len(sent)) == ([at for at, _ in graph.sent], graph.send_left)
    [stored] = records(store, clock, 1)
    assert (bool(sent), len(sent)) == (bool(stored.claim_id), len(stored.history))


def test_a_send_ends_before_its_claim_may_be_taken_for_abandoned(clock, store):
    """A slow table takes its time from the send, so that no other sends meanwhile."""
    claim = store.claim
    store.claim = lambda *given: (claim(*given), clock.sleep(15))[0]
    graph = ScriptedGraph(clock)

    reprocess(graph, store, 1)

    assert [23.0] == graph.send_left


def test_what_was_claimed_when_graph_asks_another_call_to_wait_is_released(clock, store):
    """It is sent after the wait."""
    graph = ScriptedGraph(clock)
    run = context(graph, store)
    claim, waits = store.claim, [30.0]

    def claiming(*given):
        if waits:
            run.limiter.refused(run.limiter.sent(1), 0, waits.pop())
        return claim(*given)

    store.claim = claiming
    result = reprocess_many(run, [Due(one) for one in records(store, clock, 1)], "sweep")

    assert {"accepted": 1} == dict(result.counts)
    assert [30.0] == [at for at, _ in graph.sent]


def test_a_release_that_the_table_does_not_take_postpones(clock, store):
    """The claim may still stand."""
    decide, lost = store.decide, [AzureError("away")]
    store.decide = lambda *given: [lost.pop()] if lost else decide(*given)

    result = reprocess(ScriptedGraph(clock, say.WAIT), store, 1)

    assert ({"postponed": 1}, None) == (dict(result.counts), result.error)


def test_a_table_that_does_not_take_a_claim_ends_the_run(clock, store):
    """Nothing is sent without a claim; the others of that call are released."""
    claim = store.claim
    calls = [lambda claims: claims, lambda claims: [*claims[:19], AzureError("away")]]
    store.claim = lambda *given: calls.pop(0)(claim(*given))
    graph = ScriptedGraph(clock)

    result = reprocess(graph, store, 60)

    assert ({"accepted": 20, "postponed": 40}, 1) == (dict(result.counts), len(graph.sent))
    assert isinstance(result.error, AzureError)
    assert [""] * 19 == [one.claim_id for one in records(store, clock, 39)[20:]]


def test_what_is_of_a_denied_access_package_goes_to_the_end(clock, store):
    graph = ScriptedGraph(clock, *[say.DENIED] * 20)
    due = [Due(one, "a" if n < 40 else "b") for n, one in enumerate(records(store, clock, 60))]

    reprocess_many(context(graph, store), due, "sweep")

    assert [IDS[:20], IDS[40:60], IDS[20:40]] == [ids for _, ids in graph.sent]


def test_progress_is_told_for_each_step(clock, store):
    """How many of how many, and how often Graph asked to wait."""
    told = []
    graph = ScriptedGraph(clock, say.WAIT)
    run = context(graph, store, size=1, progress=lambda *given: told.append(given))
    *two, third = [Due(one) for one in records(store, clock, 3)]

    reprocess_many(run, two, "sweep")
    assert (("reprocess", 0, 2, 1), ("reprocess", 2, 2, 1)) == (told[0], told[-1])
    graph.answers = [say.SERVER_ERROR]
    reprocess_many(run, [third], "sweep")
    assert ("settle", 1, 1, 0) == told[-1]
    read_many(run, "read back", IDS[:3])
    assert ("read back", 3, 3, 0) == told[-1]


def test_three_fruitless_calls_stop_the_run(clock, store):
    """What was not sent was not claimed."""
    graph = ScriptedGraph(clock, *[say.DENIED] * 80)

    result = reprocess(graph, store, 80)

    assert {"denied": 60, "postponed": 20} == dict(result.counts)
    assert say.DENIED is result.stop_reason
    assert [""] * 20 == outcomes(store, clock, 80)[60:]


def test_what_is_throttled_again_and_again_is_postponed(clock, store):
    """While others are accepted."""
    graph = ScriptedGraph(clock)
    graph.reprocess_each = lambda ids, _: [
        say.WAIT if one == IDS[0] else graph.accepted() for one in ids
    ]
    result = reprocess(graph, store, 60)

    assert {"accepted": 59, "postponed": 1} == dict(result.counts)
    assert "" == outcomes(store, clock, 1)[0]


def test_a_slow_table_does_not_hold_up_graph(clock, store):
    """Outcomes are written beside the sending; those that wait meanwhile go in one write."""
    sizes, sent_all = [], threading.Event()
    graph, decide = ScriptedGraph(clock), store.decide
    graph.on_send = lambda: sent_all.set() if len(graph.sent) == 2 else None

    def slow(decisions, deadline):
        if decisions:
            assert sent_all.wait(10)
            sizes.append(len(decisions))
        return decide(decisions, deadline)

    store.decide = slow
    threads = []
    run = replace(context(graph, store), workers=lambda n: threads.append(n) or Threads(n))
    due = [Due(one) for one in records(store, clock, 60)]
    result = reprocess_many(run, due, "sweep")

    assert ({"accepted": 60}, None) == (dict(result.counts), result.error)
    assert ["accepted"] * 60 == outcomes(store, clock, 60)
    assert sizes[0] in {20, 40}
    assert [1, 1] == threads  # one writer; the limiter lets one call through at once


def test_a_call_writes_where_the_table_is_slower_than_graph(clock, store, monkeypatch):
    """Else outcomes would wait for long, and be lost with the process. A write is a transaction."""
    monkeypatch.setattr(many, "MAX_WAITING", 120)
    sizes, decide = [], store.decide
    store.decide = lambda decisions, end: sizes.append(len(decisions)) or decide(decisions, end)

    reprocess(ScriptedGraph(clock), store, 199)

    assert [100, 40, 59] == [one for one in sizes if one]


def test_a_bug_in_writing_outcomes_ends_the_run(clock, store, caplog, monkeypatch):
    """It is logged, and nothing more is sent."""
    monkeypatch.setattr(many, "MAX_WAITING", 30)
    store.decide = lambda decisions, _: 1 / 0 if decisions else []

    result = reprocess(ScriptedGraph(clock), store, 60)

    assert {"accepted": 40, "postponed": 20} == dict(result.counts)
    assert isinstance(result.error, ZeroDivisionError)
    assert ["unhandled error"] == [one["event"] for one in lines(caplog)]


def test_reading_many_leaves_out_what_cannot_be_read(clock, store, caplog):
    """None: Graph has no such request. One line says how many, and why."""
    graph = ScriptedGraph(clock, states=["delivered"])
    answers = graph.read_each
    graph.read_each = lambda ids, end: [*answers(ids, end)[:1], say.NOT_FOUND, say.SERVER_ERROR]

    found = read_many(context(graph, store), "read back", IDS[:3])

    assert {IDS[0]: "delivered", IDS[1]: None} == {
        name: one and one.state for name, one in found.items()
    }
    detail = say.SERVER_ERROR.summary
    assert [{"event": "read-back incomplete", "missing": 1, "detail": detail}] == lines(caplog)


@pytest.mark.parametrize(
    ("state", "seconds", "detail"),
    [
        (say.UNREACHABLE, 600, "unreachable"),
        (say.WAIT_LONG, 10, "Graph asks to wait"),
        ("delivered", -50, "there was no time left for it"),
    ],
)
def test_why_nothing_could_be_read(clock, store, caplog, state, seconds, detail):
    run = context(ScriptedGraph(clock, states=[state]), store, seconds)

    assert {} == read_many(run, "read back", IDS[:2])
    assert [{"event": "read-back incomplete", "missing": 2, "detail": detail}] == lines(caplog)


def test_reading_goes_on_where_some_are_denied(clock, store):
    """Catalog roles may let the app read the others."""
    graph = ScriptedGraph(clock, states=[say.DENIED])

    assert {} == read_many(context(graph, store), "read back", IDS[:100])
    assert 5 == graph.reads
