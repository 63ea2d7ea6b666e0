"""reprocessing/one.py: one caller's reprocess, step by step, in virtual time."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from azure.core.exceptions import AzureError, HttpResponseError

from attempts import Decision, Outcome
from graph import GraphFailed
from reprocessing.service import RequestService
from tests.support import scripted_graph as say
from tests.support.scripted_graph import ID, START, ScriptedGraph, memory_store, tried

WINDOW = timedelta(days=14)


def reprocess(graph, store, *, seconds=60.0, promise=False, memory=None):
    """Reprocess ID as a caller."""
    clock = graph.clock
    service = RequestService(graph, store, memory or memory_store(clock), WINDOW)
    return service.reprocess(ID, "caller", clock.deadline(seconds), promise=promise)


def record(store, clock):
    return store.read(ID, clock.deadline(1.0))


class Away:
    """A table that cannot be reached, but while `is_there` says so."""

    def __init__(self, store=None, is_there=lambda: False, error=None):
        self.store, self.is_there, self.error = store, is_there, error or AzureError("away")

    def __getattr__(self, name):
        def fail(rows, *_):
            if name in {"claim", "decide"}:
                return [self.error] * len(rows)
            raise self.error

        return getattr(self.store, name) if self.is_there() else fail


def once():
    """Whether this is the first time that it is asked."""
    left = [True]
    return lambda: bool(left) and left.pop()


# -- one send --


@pytest.mark.parametrize(
    ("answer", "state", "result", "outcome", "count"),
    [
        (None, "deliveryFailed", "accepted", "accepted", 1),
        (say.REFUSED, "deliveryFailed", "refused", "refused", 1),
        (say.REFUSED, "delivering", "alreadyDelivering", "refused", 1),
        (say.REFUSED, say.SERVER_ERROR, "refused", "refused", 1),
        (say.REFUSED, say.NOT_FOUND, "requestNotFound", "refused", 1),
        (say.NOT_FOUND, "deliveryFailed", "requestNotFound", "refused", 1),
        (say.DENIED, "deliveryFailed", "denied", "denied", 0),
        (say.WRONG_PATH, "deliveryFailed", "failed", "failed", 0),
        (say.NO_TOKEN, "deliveryFailed", "denied", "", 0),
        (say.WAIT_LONG, "deliveryFailed", "throttled", "", 0),
    ],
)
def test_one_answer_is_recorded_and_returned(clock, store, answer, state, result, outcome, count):
    """What Graph judged is written down; what it throttled or never got releases the claim."""
    graph = ScriptedGraph(clock, *filter(None, [answer]), states=[state])

    memory = memory_store(clock)
    found = reprocess(graph, store, memory=memory)

    error = state if state is say.NOT_FOUND else answer
    assert (result, error) == (found.outcome, found.error)
    is_explained = answer is say.REFUSED and isinstance(state, str)
    expected = (ID, state) if is_explained else None
    assert expected == (found.request and (found.request.id, found.request.state))
    assert (answer is None) == bool(found.accepted)
    assert "" == record(memory, clock).outcome
    stored = record(store, clock)
    assert (outcome, count, 1) == (stored.outcome, stored.count, len(graph.sent))


def test_nothing_is_read_where_nothing_is_known(clock, store):
    """A first call takes one call to Graph."""
    graph = ScriptedGraph(clock)

    assert "accepted" == reprocess(graph, store).outcome
    assert (1, 0) == (len(graph.sent), graph.reads)
    assert "caller" == record(store, clock).history[0].by


@pytest.mark.parametrize(("seconds", "send_seconds"), [(60, 30.0), (20, 12.5), (9, 4.5)])
def test_a_send_leaves_time_to_settle(clock, store, seconds, send_seconds):
    """Half of a short time."""
    graph = ScriptedGraph(clock)
    reprocess(graph, store, seconds=seconds)

    assert [send_seconds] == graph.send_left


def test_without_a_second_left_nothing_is_sent(clock, store):
    """The claim is released."""
    graph = ScriptedGraph(clock)
    result = reprocess(graph, store, seconds=0.9)

    assert ("failed", [], "") == (result.outcome, graph.sent, record(store, clock).claim_id)
    assert "no time was left to send the request" == result.error.detail
    assert "accepted" == reprocess(graph, store, seconds=1.0).outcome


def test_a_closed_window_explains_a_refusal(clock, store):
    graph = ScriptedGraph(clock, say.REFUSED, completed_at=START - timedelta(days=15))

    assert "windowClosed" == reprocess(graph, store).outcome


def test_a_throttled_request_is_claimed_anew_after_the_wait(clock, store, monkeypatch):
    """While it waits its claim is released, so that another may send it. Chance adds to the wait."""
    monkeypatch.setattr("random.random", lambda: 0.9)
    graph = ScriptedGraph(clock, say.WAIT)
    held = []
    graph.on_send = lambda: held.append(record(store, clock).claimed_at)

    assert "accepted" == reprocess(graph, store).outcome
    first, second = held
    assert timedelta(seconds=3.9) <= second - first < timedelta(seconds=4.1)
    assert (1, 1) == (record(store, clock).count, len(record(store, clock).history))


def test_what_another_sent_during_the_wait_is_not_sent_again(clock, store):
    graph = ScriptedGraph(clock, say.WAIT)

    def meanwhile(seconds):
        tried(store, clock, Outcome.ACCEPTED, clock.now())
        clock.sleep(seconds)

    graph.sleep = meanwhile

    assert "alreadyDelivering" == reprocess(graph, store).outcome
    assert 1 == len(graph.sent)


@pytest.fixture
def no_jitter(monkeypatch):
    monkeypatch.setattr("random.random", lambda: 0.0)


def test_a_send_that_never_left_is_tried_five_times(clock, store, no_jitter):
    """Waits double in between."""
    graph = ScriptedGraph(clock, *[say.UNREACHABLE] * 9)
    graph.send_seconds = 0.0

    result = reprocess(graph, store)

    assert ("failed", say.UNREACHABLE) == (result.outcome, result.error)
    assert [0.0, 1.0, 3.0, 7.0, 15.0] == [at for at, _ in graph.sent]
    assert "" == record(store, clock).outcome


def test_waits_from_five_seconds_on_are_logged(clock, store, no_jitter, caplog):
    caplog.set_level("INFO", "redeliver")
    waits = [replace(say.WAIT, retry_after=seconds) for seconds in (4.9, 5.0, 5.26)]

    assert "accepted" == reprocess(ScriptedGraph(clock, *waits), store).outcome
    known = {"event": "waiting for graph", "graphStatus": 429, "detail": "wait"}
    assert [known | {"seconds": 5.0, "attempt": 2}, known | {"seconds": 5.3, "attempt": 3}] == [
        json.loads(message) for message in caplog.messages
    ]


@pytest.mark.parametrize(("seconds", "outcome"), [(7.0, "accepted"), (6.9, "throttled")])
def test_a_wait_that_leaves_no_time_to_send_is_not_begun(clock, store, no_jitter, seconds, outcome):
    graph = ScriptedGraph(clock, replace(say.WAIT, retry_after=5.0))
    graph.send_seconds = 0.0

    assert outcome == reprocess(graph, store, seconds=seconds).outcome


@pytest.mark.parametrize("answer", [say.WAIT, say.SERVER_ERROR])
def test_a_claim_that_cannot_be_released_or_renewed_is_not_sent_again(clock, store, answer):
    """It may still be ours or not; after five minutes it is judged."""
    table, graph = Away(), ScriptedGraph(clock, answer)
    store.decide, store.renew = table.decide, table.renew

    assert ("unknown", 1) == (reprocess(graph, store).outcome, len(graph.sent))


# -- without a judging answer --


@pytest.mark.parametrize(
    ("error", "seconds"), [(say.SERVER_ERROR, 3.1), (say.SILENCE, 33.0), (say.BUSY, 6.1)]
)
def test_a_state_that_moved_is_an_acceptance(clock, store, error, seconds):
    """By Graph's clock it was accepted when it was sent. Graph's wait is kept before the first look."""
    graph = ScriptedGraph(clock, error, states=["deliveryFailed", "deliveryFailed again"])

    result = reprocess(graph, store)

    assert ("accepted", 1) == (result.outcome, len(graph.sent))
    assert seconds == pytest.approx(clock.seconds)
    assert abs(result.accepted_at - START) < timedelta(milliseconds=1)
    assert "deliveryFailed" == result.request.state
    assert "accepted" == record(store, clock).outcome


def test_an_unmoved_state_is_watched_for_five_seconds_then_sent_once_more(clock, store):
    """The second claim replaces the first one in the same history slot, and counts nothing."""
    graph = ScriptedGraph(clock, say.SERVER_ERROR)

    assert "accepted" == reprocess(graph, store).outcome
    (first, _), (second, _) = graph.sent
    assert second - first >= 5
    stored = record(store, clock)
    assert (1, 1, 1) == (stored.count, stored.tries, len(stored.history))


def test_it_is_never_sent_a_third_time(clock, store):
    graph = ScriptedGraph(clock, say.SERVER_ERROR, say.SERVER_ERROR)

    result, stored = reprocess(graph, store), record(store, clock)

    assert ("failed", say.SERVER_ERROR, 2) == (result.outcome, result.error, len(graph.sent))
    assert ("failed", 0, False) == (stored.outcome, stored.count, stored.is_deferred)
    assert say.SERVER_ERROR.summary == stored.history[0].words


@pytest.mark.parametrize(
    ("seconds", "outcome", "sends"), [(14.5, "accepted", 2), (14.4, "failed", 1)]
)
def test_a_second_send_that_does_not_fit_is_left_out(clock, store, seconds, outcome, sends):
    """With the settle time after it."""
    graph = ScriptedGraph(clock, say.SERVER_ERROR)
    graph.send_seconds = 0.0

    assert outcome == reprocess(graph, store, seconds=seconds).outcome
    assert sends == len(graph.sent)


@pytest.mark.parametrize(
    ("states", "reads"),
    [
        ([say.SERVER_ERROR], 3),
        (["deliveryFailed", "deliveryFailed", say.SILENCE], 3),
        ([say.WAIT_LONG], 1),
    ],
)
def test_a_state_that_cannot_be_seen_leaves_it_open(clock, store, states, reads):
    """Nothing is written: after 40 seconds the claim counts as unknown.

    A wait that a look is asked for is kept: no look and no send before it is over.
    """
    graph = ScriptedGraph(clock, say.SERVER_ERROR, states=states)

    result = reprocess(graph, store)

    assert ("unknown", say.SERVER_ERROR) == (result.outcome, result.error)
    assert (1, reads, "claimed") == (len(graph.sent), graph.reads, record(store, clock).outcome)
    clock.sleep(40)
    assert ("unknown", 1) == (record(store, clock).outcome, record(store, clock).count)


@pytest.mark.parametrize(("seconds", "outcome"), [(6.0, "failed"), (5.9, "unknown")])
def test_a_watch_that_is_cut_short_leaves_it_open(clock, store, seconds, outcome):
    """A look takes a second at least; what can be is kept for writing."""
    graph = ScriptedGraph(clock, say.SERVER_ERROR)
    graph.send_seconds = 0.0

    result = reprocess(graph, store, seconds=seconds)

    assert (outcome, say.SERVER_ERROR) == (result.outcome, result.error)
    assert [3.5, 1.5, 1.0] == graph.left or outcome == "unknown"


@pytest.mark.parametrize("error", [say.REFUSED, say.DENIED])
def test_a_refusal_of_the_second_send_is_not_the_answer(clock, store, error):
    """Graph may refuse it because it accepted the first."""
    graph = ScriptedGraph(clock, say.SERVER_ERROR, error)

    assert "unknown" == reprocess(graph, store).outcome
    assert "claimed" == record(store, clock).outcome


def test_a_second_send_that_is_throttled_has_failed(clock, store):
    graph = ScriptedGraph(clock, say.SERVER_ERROR, say.WAIT)

    result, stored = reprocess(graph, store), record(store, clock)

    assert ("throttled", say.WAIT) == (result.outcome, result.error)
    assert ("failed", say.WAIT.summary) == (stored.outcome, stored.history[0].words)


# -- what a caller finds --


def test_an_acceptance_of_the_last_five_minutes_is_not_sent_again(clock, store):
    """Also where its request cannot be read, which is not sent without being read."""
    tried(store, clock, Outcome.ACCEPTED, clock.now())
    graph, unreadable = ScriptedGraph(clock), ScriptedGraph(clock, states=[say.SERVER_ERROR])

    clock.sleep(299)
    for one in (graph, ScriptedGraph(clock, states=["delivering"]), unreadable):
        result = reprocess(one, store)
        assert ("alreadyDelivering", START) == (result.outcome, result.accepted_at)
        assert (one is unreadable) == (result.request is None)
    clock.sleep(2)
    assert ("failed", 0) == (reprocess(unreadable, store).outcome, len(unreadable.sent))
    assert "accepted" == reprocess(graph, store).outcome


@pytest.mark.parametrize("outcome", [Outcome.ACCEPTED, None])
def test_a_newer_failure_is_sent_at_once(clock, store, outcome):
    """Newer than an acceptance, or than a claim without an outcome."""
    tried(store, clock, outcome, clock.now())
    clock.sleep(60)
    graph = ScriptedGraph(clock, states=["deliveryFailed again"])

    assert "accepted" == reprocess(graph, store).outcome


def test_an_unknown_attempt_is_sent_again_after_five_minutes(clock, store):
    """Until then the caller is told to come back when they are over, also after an older acceptance."""
    tried(store, clock, Outcome.ACCEPTED, clock.now())
    clock.sleep(600)
    tried(store, clock)
    clock.sleep(100)
    graph = ScriptedGraph(clock)

    result = reprocess(graph, store)
    assert ("unknown", 200.0, ID) == (result.outcome, result.retry_after, result.request.id)
    clock.sleep(199.5)
    assert (1.0, []) == (reprocess(graph, store).retry_after, graph.sent)
    clock.sleep(1)
    assert ("accepted", 3) == (reprocess(graph, store).outcome, record(store, clock).count)


@pytest.mark.parametrize("outcome", [Outcome.REFUSED, Outcome.DENIED, Outcome.FAILED])
def test_another_outcome_is_sent_at_once(clock, store, outcome):
    """A caller asks because something was mended; but what is on its way, or gone, is not sent."""
    tried(store, clock, outcome)

    for state, answer in (
        ("delivering", ("alreadyDelivering", None)),
        (say.NOT_FOUND, ("requestNotFound", say.NOT_FOUND)),
    ):
        graph = ScriptedGraph(clock, states=[state])
        result = reprocess(graph, store)
        assert (answer, []) == ((result.outcome, result.error), graph.sent)
    assert "accepted" == reprocess(ScriptedGraph(clock), store).outcome
    assert say.FAILED_AT == record(store, clock).first_failed_at  # earlier than the first attempt


@pytest.mark.parametrize(
    ("outcome", "state", "result", "words"),
    [
        (Outcome.ACCEPTED, "deliveryFailed", "alreadyDelivering", ""),
        (Outcome.REFUSED, "deliveryFailed", "refused", "words"),
        (Outcome.REFUSED, "delivered", "alreadyDelivered", "words"),
        (Outcome.REFUSED, say.SERVER_ERROR, "refused", "words"),
        (Outcome.DENIED, "delivering", "denied", "words"),
        (Outcome.FAILED, "delivering", "failed", "words"),
        (None, "deliveryFailed", "throttled", ""),
    ],
)
def test_a_young_claim_is_waited_for_and_its_outcome_answered(
    clock, store, outcome, state, result, words
):
    """Without sending anything."""
    claimed = tried(store, clock)
    graph = ScriptedGraph(clock, states=[state])

    def meanwhile(seconds):
        clock.sleep(seconds)
        at = clock.now() if outcome is Outcome.ACCEPTED else None
        store.decide([Decision(claimed, outcome, at, "words")], clock.deadline(1.0))

    graph.sleep = meanwhile

    answer = reprocess(graph, store)
    assert (result, words, []) == (answer.outcome, answer.words, graph.sent)
    assert (outcome is Outcome.ACCEPTED) == (answer.accepted_at is not None)


def test_a_claim_that_outlasts_the_caller_is_answered_by_the_state(clock, store):
    tried(store, clock)

    graph = ScriptedGraph(clock, states=["delivering"])
    assert "alreadyDelivering" == reprocess(graph, store, seconds=9.0).outcome
    assert 8.0 == clock.seconds  # a second is left to read the state
    assert "unknown" == reprocess(ScriptedGraph(clock), store, seconds=9.0).outcome


# -- promises --


@pytest.mark.parametrize(
    ("answers", "result", "outcome"),
    [
        ([say.WAIT_LONG], "deferred", ""),
        ([say.UNREACHABLE] * 5, "deferred", ""),
        ([say.SERVER_ERROR], "deferred", "failed"),
        ([GraphFailed("not JSON", status=200, outcome_unknown=True)], "deferred", "failed"),
        ([say.SILENCE], "deferred", "claimed"),
        ([say.BUSY], "deferred", "claimed"),
        ([say.REFUSED], "refused", "refused"),
        ([say.DENIED], "denied", "denied"),
        ([say.WRONG_PATH], "failed", "failed"),
        ([say.NOT_FOUND], "requestNotFound", "refused"),
    ],
)
def test_a_webhook_is_deferred_where_graph_is_in_trouble(clock, store, answers, result, outcome):
    """The promise is written with the outcome, within the webhook's ten seconds.

    What no sweep would do better is not promised.
    """
    graph = ScriptedGraph(clock, *answers)

    assert result == reprocess(graph, store, seconds=9.0, promise=True).outcome
    assert clock.seconds <= 9
    stored = record(store, clock)
    assert (outcome, result == "deferred") == (stored.outcome, stored.is_deferred)


@pytest.mark.parametrize(
    ("state", "outcome"),
    [
        (say.SERVER_ERROR, "deferred"),
        (say.WRONG_PATH, "failed"),
        (GraphFailed("redirect", status=300), "failed"),
        ("delivering", "alreadyDelivering"),
    ],
)
def test_a_request_that_was_tried_is_promised_where_it_cannot_be_read(clock, store, state, outcome):
    tried(store, clock, Outcome.REFUSED)
    clock.sleep(1)
    graph = ScriptedGraph(clock, states=[state])

    assert outcome == reprocess(graph, store, promise=True).outcome
    assert (outcome == "deferred") == record(store, clock).is_deferred


def test_a_promise_that_the_table_does_not_take_is_none(clock, store, caplog):
    tried(store, clock, Outcome.REFUSED)
    store.defer = Away().defer
    graph = ScriptedGraph(clock, states=[say.SERVER_ERROR])

    assert "failed" == reprocess(graph, store, promise=True).outcome
    line = {"event": "attempts not written", "what": "deferral", "count": 1, "error": "AzureError"}
    assert [line] == [json.loads(message) for message in caplog.messages]


# -- without the table --


@pytest.mark.parametrize(
    ("answer", "state", "outcome", "sends"),
    [
        (None, "delivering", "alreadyDelivering", 0),
        (None, say.SERVER_ERROR, "failed", 0),
        (say.SERVER_ERROR, "deliveryFailed", "failed", 1),
    ],
)
def test_without_the_table_the_request_is_read_first(clock, answer, state, outcome, sends):
    """What is delivering or cannot be read is not sent; and nothing is promised."""
    graph = ScriptedGraph(clock, *filter(None, [answer]), states=[state])

    assert outcome == reprocess(graph, Away(), seconds=9.0, promise=True).outcome
    assert sends == len(graph.sent)


def test_without_the_table_the_record_is_kept_in_memory(clock, store, caplog):
    """Whether it cannot be read or takes no claim. Each call says so in the log, and why."""
    memory, graph = memory_store(clock), ScriptedGraph(clock)
    busy = HttpResponseError("busy")
    busy.status_code = 503

    assert "accepted" == reprocess(graph, Away(store, once()), memory=memory).outcome
    assert ("accepted", "") == (record(memory, clock).outcome, record(store, clock).outcome)
    assert "alreadyDelivering" == reprocess(graph, Away(error=busy), memory=memory).outcome
    assert 1 == len(graph.sent)
    line = {"event": "attempts kept in memory", "requestId": ID}
    assert [line | {"detail": "AzureError"}, line | {"detail": "HttpResponseError 503"}] == [
        json.loads(message) for message in caplog.messages
    ]


def test_a_table_that_is_back_is_given_the_acceptance(clock, store):
    graph = ScriptedGraph(clock)

    assert "accepted" == reprocess(graph, Away(store, lambda: graph.sent)).outcome
    assert "accepted" == record(store, clock).outcome


def test_an_acceptance_that_the_table_did_not_take_is_kept_in_memory(clock, store):
    """The next caller of this instance is not sent again."""
    graph, memory = ScriptedGraph(clock), memory_store(clock)
    table = Away(store, lambda: not graph.sent)

    assert "accepted" == reprocess(graph, table, memory=memory).outcome
    assert "alreadyDelivering" == reprocess(graph, table, memory=memory).outcome
    assert 1 == len(graph.sent)


def test_a_table_that_goes_away_while_a_claim_is_waited_for_says_nothing_of_it(clock, store):
    """The request's state answers; what memory has of it is about something else."""
    tried(store, clock)
    memory, graph = memory_store(clock), ScriptedGraph(clock, states=["delivering"])
    tried(memory, clock, Outcome.DENIED, words="last week")

    assert "alreadyDelivering" == reprocess(graph, Away(store, once()), memory=memory).outcome
