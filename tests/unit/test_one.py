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
from tests.support.scripted_graph import (
    BUSY,
    DENIED,
    FAILED_AT,
    ID,
    NO_TOKEN,
    NOT_FOUND,
    REFUSED,
    SERVER_ERROR,
    SILENCE,
    START,
    UNREACHABLE,
    WAIT,
    WAIT_LONG,
    WRONG_PATH,
    ScriptedGraph,
    memory_store,
)

WINDOW = timedelta(days=14)


def reprocess(graph, store, *, seconds=60.0, promise=False, memory=None):
    """Reprocess ID as a caller."""
    clock = graph.clock
    service = RequestService(graph, store, memory or memory_store(clock), WINDOW)
    return service.reprocess(ID, "caller", clock.deadline(seconds), promise=promise)


def record(store, clock):
    return store.read(ID, clock.deadline(1.0))


def claim(store, clock, by="another"):
    """Another's claim."""
    (claimed,) = store.claim([record(store, clock)], by, clock.deadline(1.0))
    return claimed


def tried(store, clock, outcome, accepted_at=None, words=""):
    """A record of an earlier attempt."""
    decision = Decision(claim(store, clock), outcome, accepted_at, words)
    store.decide([decision], clock.deadline(1.0))


class Away:
    """A table that cannot be reached."""

    error = AzureError("away")

    def __getattr__(self, name):
        def fail(*_args, **_more):
            raise self.error

        return fail


# -- one send --


@pytest.mark.parametrize(
    ("answer", "state", "result", "outcome", "count"),
    [
        (None, "deliveryFailed", "accepted", "accepted", 1),
        (REFUSED, "deliveryFailed", "refused", "refused", 1),
        (REFUSED, "delivering", "alreadyDelivering", "refused", 1),
        (REFUSED, "delivered", "alreadyDelivered", "refused", 1),
        (REFUSED, "pendingApproval", "notReprocessable", "refused", 1),
        (REFUSED, SERVER_ERROR, "refused", "refused", 1),
        (REFUSED, NOT_FOUND, "requestNotFound", "refused", 1),
        (NOT_FOUND, "deliveryFailed", "requestNotFound", "refused", 1),
        (DENIED, "deliveryFailed", "denied", "denied", 0),
        (WRONG_PATH, "deliveryFailed", "failed", "failed", 0),
        (NO_TOKEN, "deliveryFailed", "denied", "", 0),
        (WAIT_LONG, "deliveryFailed", "throttled", "", 0),
    ],
)
def test_one_answer_is_recorded_and_returned(clock, store, answer, state, result, outcome, count):
    """What Graph judged is written down; what it throttled or never got releases the claim."""
    graph = ScriptedGraph(clock, *filter(None, [answer]), states=[state])

    memory = memory_store(clock)
    found = reprocess(graph, store, memory=memory)

    error = state if state is NOT_FOUND else answer
    assert (result, error) == (found.outcome, found.error)
    assert found.retry_after is None
    is_explained = answer is REFUSED and isinstance(state, str)
    expected = (ID, state) if is_explained else None
    assert expected == (found.request and (found.request.id, found.request.state))
    assert (answer is None) == bool(found.accepted)
    assert "" == record(memory, clock).outcome
    stored = record(store, clock)
    assert (outcome, count) == (stored.outcome, stored.count)
    assert 1 == len(graph.sent)


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


@pytest.mark.parametrize(("seconds", "outcome"), [(1.0, "accepted"), (0.9, "failed")])
def test_without_a_second_left_nothing_is_sent(clock, store, seconds, outcome):
    """The claim is released."""
    graph = ScriptedGraph(clock)

    result = reprocess(graph, store, seconds=seconds)

    assert outcome == result.outcome
    if outcome == "failed":
        assert ([], "") == (graph.sent, record(store, clock).claim_id)
        assert "no time was left to send the request" == result.error.detail


def test_a_closed_window_explains_a_refusal(clock, store):
    graph = ScriptedGraph(clock, REFUSED, completed_at=START - timedelta(days=15))

    assert "windowClosed" == reprocess(graph, store).outcome


def test_a_throttled_request_is_claimed_anew_after_the_wait(clock, store):
    """While it waits its claim is released, so that another may send it."""
    graph = ScriptedGraph(clock, WAIT)
    held = []
    graph.on_send = lambda: held.append(record(store, clock).claimed_at)

    assert "accepted" == reprocess(graph, store).outcome
    first, second = held
    assert second - first >= timedelta(seconds=3)
    assert (1, 1) == (record(store, clock).count, len(record(store, clock).history))


def test_what_another_sent_during_the_wait_is_not_sent_again(clock, store):
    graph = ScriptedGraph(clock, WAIT)
    sleep = graph.sleep

    def meanwhile(seconds):
        sleep(seconds / 2)
        tried(store, clock, Outcome.ACCEPTED, clock.now())
        sleep(seconds / 2)

    graph.sleep = meanwhile

    assert "alreadyDelivering" == reprocess(graph, store).outcome
    assert 1 == len(graph.sent)


@pytest.fixture
def no_jitter(monkeypatch):
    monkeypatch.setattr("random.random", lambda: 0.0)


def test_a_send_that_never_left_is_tried_five_times(clock, store, no_jitter):
    """Waits double in between."""
    graph = ScriptedGraph(clock, *[UNREACHABLE] * 9)
    graph.send_seconds = 0.0

    result = reprocess(graph, store)

    assert ("failed", UNREACHABLE) == (result.outcome, result.error)
    assert [0.0, 1.0, 3.0, 7.0, 15.0] == [at for at, _ in graph.sent]
    assert "" == record(store, clock).outcome


def test_waits_from_five_seconds_on_are_logged(clock, store, no_jitter, caplog):
    caplog.set_level("INFO", "redeliver")
    waits = [replace(WAIT, retry_after=seconds) for seconds in (4.9, 5.0, 5.26)]

    assert "accepted" == reprocess(ScriptedGraph(clock, *waits), store).outcome
    known = {"event": "waiting for graph", "graphStatus": 429, "detail": "wait"}
    assert [known | {"seconds": 5.0, "attempt": 2}, known | {"seconds": 5.3, "attempt": 3}] == [
        json.loads(message) for message in caplog.messages
    ]


@pytest.mark.parametrize(("seconds", "outcome"), [(7.0, "accepted"), (6.9, "throttled")])
def test_a_wait_that_leaves_no_time_to_send_is_not_begun(clock, store, no_jitter, seconds, outcome):
    graph = ScriptedGraph(clock, replace(WAIT, retry_after=5.0))
    graph.send_seconds = 0.0

    assert outcome == reprocess(graph, store, seconds=seconds).outcome


def test_a_claim_that_could_not_be_released_is_not_sent_again(clock, store):
    """It may still be ours or not; after five minutes it is judged."""
    store.decide = lambda *_: [AzureError("away")]
    graph = ScriptedGraph(clock, WAIT)

    result = reprocess(graph, store)

    assert ("unknown", 1) == (result.outcome, len(graph.sent))


# -- without a judging answer --


@pytest.mark.parametrize("state", ["delivering", "deliveryFailed again"])
@pytest.mark.parametrize(("error", "seconds"), [(SERVER_ERROR, 3.1), (SILENCE, 33.0), (BUSY, 6.1)])
def test_a_state_that_moved_is_an_acceptance(clock, store, error, seconds, state):
    """By Graph's clock it was accepted when it was sent. Graph's wait is kept before the first look."""
    graph = ScriptedGraph(clock, error, states=["deliveryFailed", state])

    result = reprocess(graph, store)

    assert ("accepted", 1) == (result.outcome, len(graph.sent))
    assert seconds == pytest.approx(clock.seconds)
    assert abs(result.accepted_at - START) < timedelta(milliseconds=1)
    assert state.split()[0] == result.request.state
    assert "accepted" == record(store, clock).outcome


def test_an_unmoved_state_is_watched_for_five_seconds_then_sent_once_more(clock, store):
    """The second claim replaces the first one in the same history slot, and counts nothing."""
    graph = ScriptedGraph(clock, SERVER_ERROR)

    assert "accepted" == reprocess(graph, store).outcome
    (first, _), (second, _) = graph.sent
    assert second - first >= 5
    stored = record(store, clock)
    assert (1, 1, 1) == (stored.count, stored.tries, len(stored.history))


def test_it_is_never_sent_a_third_time(clock, store):
    graph = ScriptedGraph(clock, SERVER_ERROR, SERVER_ERROR)

    result = reprocess(graph, store)

    assert ("failed", SERVER_ERROR, 2) == (result.outcome, result.error, len(graph.sent))
    assert ("failed", 0) == (record(store, clock).outcome, record(store, clock).count)
    assert SERVER_ERROR.summary == record(store, clock).history[0].words
    assert not record(store, clock).is_deferred


@pytest.mark.parametrize(("seconds", "sends"), [(14.5, 2), (14.4, 1)])
def test_a_second_send_that_does_not_fit_is_left_out(clock, store, seconds, sends):
    """With the settle time after it."""
    graph = ScriptedGraph(clock, SERVER_ERROR)
    graph.send_seconds = 0.0

    outcome = reprocess(graph, store, seconds=seconds).outcome

    assert ("accepted" if sends == 2 else "failed", sends) == (outcome, len(graph.sent))


@pytest.mark.parametrize("states", [[SERVER_ERROR], ["deliveryFailed", "deliveryFailed", SILENCE]])
def test_a_state_that_cannot_be_seen_leaves_it_open(clock, store, states):
    """Nothing is written: after 40 seconds the claim counts as unknown."""
    graph = ScriptedGraph(clock, SERVER_ERROR, states=states)

    result = reprocess(graph, store)

    assert ("unknown", SERVER_ERROR) == (result.outcome, result.error)
    assert "claimed" == record(store, clock).outcome
    clock.sleep(40)
    assert ("unknown", 1) == (record(store, clock).outcome, record(store, clock).count)


def test_a_claim_that_cannot_be_renewed_is_not_sent_again(clock, store):
    """After five minutes it is judged."""

    def renew(*_):
        raise AzureError("away")

    store.renew = renew
    graph = ScriptedGraph(clock, SERVER_ERROR)

    assert ("unknown", 1) == (reprocess(graph, store).outcome, len(graph.sent))


@pytest.mark.parametrize(("seconds", "outcome"), [(6.0, "failed"), (5.9, "unknown")])
def test_a_watch_that_is_cut_short_leaves_it_open(clock, store, seconds, outcome):
    """A look takes a second at least; what can be is kept for writing."""
    graph = ScriptedGraph(clock, SERVER_ERROR)
    graph.send_seconds = 0.0

    result = reprocess(graph, store, seconds=seconds)

    assert (outcome, SERVER_ERROR) == (result.outcome, result.error)
    assert [3.5, 1.5, 1.0] == graph.left or outcome == "unknown"


@pytest.mark.parametrize("error", [REFUSED, DENIED])
def test_a_refusal_of_the_second_send_is_not_the_answer(clock, store, error):
    """Graph may refuse it because it accepted the first."""
    graph = ScriptedGraph(clock, SERVER_ERROR, error)

    assert "unknown" == reprocess(graph, store).outcome
    assert "claimed" == record(store, clock).outcome


def test_a_second_send_that_is_throttled_has_failed(clock, store):
    graph = ScriptedGraph(clock, SERVER_ERROR, WAIT)

    result = reprocess(graph, store)

    assert ("throttled", WAIT) == (result.outcome, result.error)
    stored = record(store, clock)
    assert ("failed", WAIT.summary) == (stored.outcome, stored.history[0].words)


# -- what a caller finds --


def test_an_acceptance_of_the_last_five_minutes_is_not_sent_again(clock, store):
    tried(store, clock, Outcome.ACCEPTED, clock.now())
    graph = ScriptedGraph(clock)

    clock.sleep(299)
    result = reprocess(graph, store)
    assert ("alreadyDelivering", START) == (result.outcome, result.accepted_at)
    assert ID == result.request.id
    result = reprocess(ScriptedGraph(clock, states=["delivering"]), store)
    assert ("alreadyDelivering", START) == (result.outcome, result.accepted_at)
    clock.sleep(2)
    assert "accepted" == reprocess(graph, store).outcome


@pytest.mark.parametrize("attempt", ["accepted", "unknown"])
def test_a_newer_failure_is_sent_at_once(clock, store, attempt):
    if attempt == "accepted":
        tried(store, clock, Outcome.ACCEPTED, clock.now())
    else:
        claim(store, clock)
    clock.sleep(60)

    assert (
        "accepted"
        == reprocess(ScriptedGraph(clock, states=["deliveryFailed again"]), store).outcome
    )


def test_an_unreadable_request_is_answered_by_a_recent_acceptance(clock, store):
    tried(store, clock, Outcome.ACCEPTED, clock.now())

    graph = ScriptedGraph(clock, states=[SERVER_ERROR])
    result = reprocess(graph, store)
    assert ("alreadyDelivering", START) == (result.outcome, result.accepted_at)
    clock.sleep(301)
    assert ("failed", 0) == (reprocess(graph, store).outcome, len(graph.sent))


def test_a_request_that_is_gone_is_not_sent(clock, store):
    tried(store, clock, Outcome.REFUSED)
    graph = ScriptedGraph(clock, states=[NOT_FOUND])

    result = reprocess(graph, store)

    assert ("requestNotFound", NOT_FOUND, []) == (result.outcome, result.error, graph.sent)


def test_an_unknown_attempt_is_sent_again_after_five_minutes(clock, store):
    """Until then the caller is told to come back when they are over, also after an older acceptance."""
    tried(store, clock, Outcome.ACCEPTED, clock.now())
    clock.sleep(600)
    claim(store, clock)
    clock.sleep(100)
    graph = ScriptedGraph(clock)

    result = reprocess(graph, store)
    assert ("unknown", 200.0, ID) == (result.outcome, result.retry_after, result.request.id)
    clock.sleep(199.5)
    assert 1.0 == reprocess(graph, store).retry_after
    assert [] == graph.sent
    clock.sleep(1)
    assert ("accepted", 3) == (reprocess(graph, store).outcome, record(store, clock).count)


@pytest.mark.parametrize("outcome", [Outcome.REFUSED, Outcome.DENIED, Outcome.FAILED])
def test_another_outcome_is_sent_at_once(clock, store, outcome):
    """A caller asks because something was mended; but what is on its way is not sent."""
    tried(store, clock, outcome)

    graph = ScriptedGraph(clock, states=["delivering"])
    assert ("alreadyDelivering", 0) == (reprocess(graph, store).outcome, len(graph.sent))
    assert "accepted" == reprocess(ScriptedGraph(clock), store).outcome
    assert FAILED_AT == record(store, clock).first_failed_at  # earlier than the first attempt


@pytest.mark.parametrize(
    ("outcome", "state", "result"),
    [
        (Outcome.ACCEPTED, "deliveryFailed", "alreadyDelivering"),
        (Outcome.REFUSED, "deliveryFailed", "refused"),
        (Outcome.REFUSED, "delivered", "alreadyDelivered"),
        (Outcome.REFUSED, SERVER_ERROR, "refused"),
        (Outcome.DENIED, "delivering", "denied"),
        (Outcome.FAILED, "delivering", "failed"),
        (None, "deliveryFailed", "throttled"),
    ],
)
def test_a_young_claim_is_waited_for_and_its_outcome_answered(clock, store, outcome, state, result):
    """Without sending anything."""
    claimed = claim(store, clock)
    graph = ScriptedGraph(clock, states=[state])
    sleep = graph.sleep

    def meanwhile(seconds):
        sleep(seconds)
        accepted_at = clock.now() if outcome is Outcome.ACCEPTED else None
        store.decide([Decision(claimed, outcome, accepted_at, "words")], clock.deadline(1.0))

    graph.sleep = meanwhile

    answer = reprocess(graph, store)
    assert (result, 0) == (answer.outcome, len(graph.sent))
    assert ("" if outcome in {Outcome.ACCEPTED, None} else "words") == answer.words
    assert (outcome is Outcome.ACCEPTED) == (answer.accepted_at is not None)


def test_a_claim_that_outlasts_the_caller_is_answered_by_the_state(clock, store):
    claim(store, clock)

    graph = ScriptedGraph(clock, states=["delivering"])
    assert "alreadyDelivering" == reprocess(graph, store, seconds=9.0).outcome
    assert 8.0 == clock.seconds  # a second is left to read the state
    assert "unknown" == reprocess(ScriptedGraph(clock), store, seconds=9.0).outcome


# -- promises --


@pytest.mark.parametrize(
    ("answers", "outcome"),
    [
        ([WAIT_LONG], ""),
        ([UNREACHABLE] * 5, ""),
        ([SERVER_ERROR], "failed"),
        ([SILENCE], "claimed"),
        ([BUSY], "claimed"),
    ],
)
def test_a_webhook_is_deferred_where_graph_is_in_trouble(clock, store, answers, outcome):
    """The promise is written with the outcome, within the webhook's ten seconds."""
    graph = ScriptedGraph(clock, *answers)

    assert "deferred" == reprocess(graph, store, seconds=9.0, promise=True).outcome
    assert clock.seconds <= 9
    stored = record(store, clock)
    assert (outcome, True) == (stored.outcome, stored.is_deferred)


@pytest.mark.parametrize("answer", [REFUSED, DENIED, WRONG_PATH, NOT_FOUND])
def test_what_no_sweep_would_do_better_is_not_promised(clock, store, answer):
    graph = ScriptedGraph(clock, answer)

    assert "deferred" != reprocess(graph, store, seconds=9.0, promise=True).outcome
    assert not record(store, clock).is_deferred


@pytest.mark.parametrize(
    ("state", "outcome"),
    [
        (SERVER_ERROR, "deferred"),
        (WRONG_PATH, "failed"),
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

    def defer(*_):
        raise AzureError("away")

    store.defer = defer
    graph = ScriptedGraph(clock, states=[SERVER_ERROR])

    assert "failed" == reprocess(graph, store, promise=True).outcome
    line = {"event": "attempts not written", "what": "deferral", "count": 1, "error": "AzureError"}
    assert [line] == [json.loads(message) for message in caplog.messages]


# -- without the table --


def test_without_the_table_the_request_is_read_first(clock):
    """What is delivering is not sent; what cannot be read is not sent."""
    for state, outcome in (("delivering", "alreadyDelivering"), (SERVER_ERROR, "failed")):
        graph = ScriptedGraph(clock, states=[state])
        assert (outcome, 0) == (reprocess(graph, Away()).outcome, len(graph.sent))


def test_without_the_table_the_record_is_kept_in_memory(clock, caplog):
    """Each call says so in the log, and why."""
    memory, graph = memory_store(clock), ScriptedGraph(clock)

    assert "accepted" == reprocess(graph, Away(), memory=memory).outcome
    busy = Away()
    busy.error = HttpResponseError("busy")
    busy.error.status_code = 503
    assert "alreadyDelivering" == reprocess(graph, busy, memory=memory).outcome
    assert 1 == len(graph.sent)
    line = {"event": "attempts kept in memory", "requestId": ID}
    assert [line | {"detail": "AzureError"}, line | {"detail": "HttpResponseError 503"}] == [
        json.loads(message) for message in caplog.messages
    ]


def test_a_claim_that_the_table_does_not_take_is_kept_in_memory(clock, store, caplog):
    store.claim = lambda *_: [AzureError("away")]
    memory = memory_store(clock)

    assert "accepted" == reprocess(ScriptedGraph(clock), store, memory=memory).outcome
    assert "accepted" == record(memory, clock).outcome
    assert "AzureError" == json.loads(caplog.messages[0])["detail"]


def test_without_the_table_nothing_is_promised(clock):
    graph = ScriptedGraph(clock, SERVER_ERROR)

    assert "failed" == reprocess(graph, Away(), seconds=9.0, promise=True).outcome


def test_a_table_that_is_back_is_given_the_acceptance(clock, store):
    class Flaky:
        """Fails until the request was sent."""

        def __getattr__(self, name):
            return getattr(store if graph.sent else Away(), name)

    graph = ScriptedGraph(clock)

    assert "accepted" == reprocess(graph, Flaky()).outcome
    assert "accepted" == record(store, clock).outcome


class Lost(Away):
    """A table that is away once the request was sent."""

    def __init__(self, store, graph):
        self.store, self.graph = store, graph

    def __getattr__(self, name):
        if not self.graph.sent:
            return getattr(self.store, name)
        if name == "decide":
            return lambda decisions, _: [AzureError("away")] * len(decisions)
        return super().__getattr__(name)


def test_an_acceptance_that_the_table_did_not_take_is_kept_in_memory(clock, store):
    """The next caller of this instance is not sent again."""
    graph, memory = ScriptedGraph(clock), memory_store(clock)
    table = Lost(store, graph)

    assert "accepted" == reprocess(graph, table, memory=memory).outcome
    assert "alreadyDelivering" == reprocess(graph, table, memory=memory).outcome
    assert 1 == len(graph.sent)


def test_a_table_that_goes_away_while_a_claim_is_waited_for_says_nothing_of_it(clock, store):
    """The request's state answers; what memory has of it is about something else."""
    claim(store, clock)
    memory, graph = memory_store(clock), ScriptedGraph(clock, states=["delivering"])
    tried(memory, clock, Outcome.DENIED, words="last week")
    reads = iter([record(store, clock)])

    class Leaving(Away):
        def read(self, *_):
            if one := next(reads, None):
                return one
            raise AzureError("away")

    assert "alreadyDelivering" == reprocess(graph, Leaving(), memory=memory).outcome


def test_an_answer_that_cannot_be_read_is_deferred_like_any_other(clock, store):
    """Its status is a success; only 3xx and the path's 404 are no sweep's business."""
    unreadable = GraphFailed("not JSON", status=200, outcome_unknown=True)
    graph = ScriptedGraph(clock, unreadable)

    assert "deferred" == reprocess(graph, store, seconds=9.0, promise=True).outcome


def test_a_wait_that_a_look_is_asked_for_is_kept(clock, store):
    """No look and no send before it is over."""
    graph = ScriptedGraph(clock, SERVER_ERROR, states=[WAIT_LONG])

    assert "unknown" == reprocess(graph, store).outcome
    assert (1, 1) == (len(graph.sent), graph.reads)
