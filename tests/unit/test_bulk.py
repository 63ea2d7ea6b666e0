"""reprocessing/bulk.py: many requests for a caller who waits, each judged as a single one is."""

from __future__ import annotations

import uuid
from collections import Counter
from datetime import timedelta

import pytest
from azure.core.exceptions import AzureError

from attempts import Outcome
from reprocessing.bulk import Bulk
from reprocessing.many import Context
from reprocessing.rate_limiter import RateLimiter
from tests.support import scripted_graph as say
from tests.support.inline import inline_workers
from tests.support.scripted_graph import Clock, ScriptedGraph, memory_store, tried

IDS = [str(uuid.UUID(int=n)) for n in range(1, 101)]


class Caller:
    """Calls for the first so many requests, in virtual time, with the records in memory."""

    def __init__(self, *answers, **more):
        self.clock = Clock()
        self.store = memory_store(self.clock)
        self.graph = ScriptedGraph(self.clock, *answers, **more)

    def call(self, count=1, seconds=60.0, **more):
        clock, end = self.clock, self.clock.deadline(seconds)
        limiter, workers = RateLimiter(1, 20, clock), inline_workers(clock.sleep)
        context = Context(
            self.graph, self.store, limiter, end, end, clock, lambda *_: None, workers
        )
        options = {"dry_run": False, "promise": True} | more
        self.results = Bulk(context, "a caller", timedelta(days=14), **options).run(IDS[:count])
        return [one.outcome for one in self.results.values()]

    def record(self, n=0):
        return self.store.read(IDS[n], self.clock.deadline(1))

    def tried(self, outcome=None, ago=60.0):
        """Have the first request tried so long ago, by a sweep."""
        tried(self.store, self.clock, outcome, self.clock.now(), by="sweep", request_id=IDS[0])
        self.clock.sleep(ago)


def away(*_):
    raise AzureError("away")


def test_each_request_has_a_result_in_the_order_asked_for():
    """And a record, by whom it was asked for."""
    caller = Caller(say.REFUSED, say.DENIED, say.SERVER_ERROR)

    assert ["refused", "denied", "failed", "accepted"] == caller.call(4)
    assert IDS[:4] == list(caller.results)
    assert [one.outcome for one in caller.results.values()] == [
        caller.record(n).outcome for n in range(4)
    ]
    assert "a caller" == caller.record(3).history[0].by
    assert ["requestNotFound"] == Caller(say.NOT_FOUND).call()


@pytest.mark.parametrize(("state", "outcome"), [
    ("deliveryFailed", "refused"), ("delivering", "alreadyDelivering"), (say.NOT_FOUND, "requestNotFound"),
])  # fmt: skip
def test_a_refused_request_is_answered_by_its_state(state, outcome):
    """As the route of one request answers it; Graph's words stay."""
    caller = Caller(say.REFUSED, states=[state])

    assert [outcome] == caller.call()
    assert "refused" == caller.record().outcome
    assert (caller.results[IDS[0]].error is say.REFUSED) == (outcome != "requestNotFound")


# -- a request that was tried before is read before it is claimed --


@pytest.mark.parametrize(("outcome", "state", "answer"), [
    (Outcome.ACCEPTED, "deliveryFailed", "alreadyDelivering"),
    (None, "deliveryFailed", "unknown"),
    (Outcome.REFUSED, "deliveryFailed", "accepted"),
    (Outcome.FAILED, say.NOT_FOUND, "requestNotFound"),
])  # fmt: skip
def test_a_request_that_was_tried_a_minute_ago(outcome, state, answer):
    """Its state decides, as for one request; what Graph may have accepted is not sent again."""
    caller = Caller(states=[state])
    caller.tried(outcome)

    assert [answer] == caller.call()
    assert bool(caller.graph.sent) == (answer == "accepted")


def test_a_young_claim_is_not_waited_for():
    """Whoever sends it now does what was asked for."""
    caller = Caller()
    caller.tried(ago=1)

    assert ["alreadyDelivering", "accepted"] == caller.call(2)
    assert [[IDS[1]]] == [ids for _, ids in caller.graph.sent]
    assert caller.clock.seconds < 2


def test_a_row_that_changes_before_the_claim_is_looked_at_again():
    """A promise that was written meanwhile costs nothing; another's claim is one under way."""
    caller = Caller()
    claim = caller.store.claim

    def changing(*given):
        caller.store.claim = claim
        caller.store.defer(IDS[1], caller.clock.deadline(1))
        caller.tried(ago=0)
        return claim(*given)

    caller.store.claim = changing
    assert ["alreadyDelivering", "accepted"] == caller.call(2)


def test_a_row_that_changes_while_graph_asks_to_wait_is_claimed_as_it_is_then():
    caller = Caller(say.WAIT)
    read, reads = caller.store.read, []

    def reading(request_id, deadline):
        reads.append(request_id)
        if len(reads) == 2:
            caller.store.defer(request_id, deadline)
        return read(request_id, deadline)

    caller.store.read = reading
    assert ["accepted"] == caller.call()
    assert 2 == len(reads)


def test_what_cannot_be_read_is_not_sent():
    """A read that is throttled is repeated; others go on."""
    for states, outcome in (
        ([say.SERVER_ERROR], "unreadable"),
        ([say.WAIT, "delivered"], "alreadyDelivered"),
    ):
        caller = Caller(states=states)
        caller.tried(Outcome.REFUSED)
        assert [outcome, "accepted"] == caller.call(2)
    assert caller.clock.seconds >= 63


# -- time --


def test_what_is_left_when_time_is_up_is_promised_to_the_next_sweep():
    """Sending ends fifteen seconds before the budget; a promise changes nothing else."""
    caller = Caller()
    caller.graph.send_seconds = 15.0

    outcomes = caller.call(100)

    assert ["accepted"] * 60 + ["deferred"] * 40 == outcomes
    assert (True, "") == (caller.record(99).is_deferred, caller.record(99).outcome)
    assert caller.clock.seconds <= 60


def test_a_wait_that_graph_asks_for_is_kept():
    """Beyond the end the request is left to the sweep, and not claimed any more."""
    assert ["accepted"] == Caller(say.WAIT).call()
    caller = Caller(say.WAIT_LONG)
    assert ["deferred"] == caller.call()
    assert ("", True) == (caller.record().claim_id, caller.record().is_deferred)
    assert ["notSent"] == Caller(say.WAIT_LONG).call(promise=False)  # sweeps are dry


def test_a_promise_that_the_table_does_not_take_is_none(caplog):
    """One line says how many."""
    caplog.set_level("INFO", "redeliver")
    caller = Caller(say.WAIT_LONG)

    caller.store.defer = away
    assert ["notSent"] == caller.call()
    assert '"what": "deferral", "count": 1' in caplog.text


@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        (60.0, {"failed": 40, "deferred": 5}),
        (20.0, {"failed": 20, "deferred": 25}),
        (2.0, {"unknown": 20, "deferred": 25}),  # too short to settle
    ],
)
def test_a_silent_graph_leaves_time_to_settle_and_to_promise(budget, expected):
    """Half of a short budget at most; the answer is never late."""
    caller = Caller(*[say.SILENCE] * 100)

    assert expected == Counter(caller.call(45, seconds=budget))
    assert caller.clock.seconds <= budget


# -- a dry run --


@pytest.mark.parametrize(
    ("state", "outcome"),
    [("deliveryFailed", "wouldReprocess"), (say.NOT_FOUND, "requestNotFound")],
)
def test_a_dry_run_reads_and_says_what_would_be_done(state, outcome):
    """It claims, sends and promises nothing."""
    caller = Caller(states=[state])

    assert [outcome] * 2 == caller.call(2, dry_run=True)
    assert ([], "") == (caller.graph.sent, caller.record().etag)


def test_what_a_dry_run_had_no_time_for_is_not_promised():
    caller = Caller(states=[say.WAIT_LONG])

    assert ["notSent"] == caller.call(dry_run=True)
    assert not caller.record().is_deferred


# -- nothing at all --


@pytest.mark.parametrize("error", [say.DENIED, say.NO_TOKEN])
def test_when_nothing_at_all_could_be_done_the_answer_is_that(error):
    """Nothing is promised either: the app is what is wrong."""
    caller = Caller(*[error] * 100)

    with pytest.raises(type(error)) as caught:
        caller.call(100)
    assert (error, False) == (caught.value, caller.record(99).is_deferred)


def test_what_an_unreachable_graph_did_not_take_is_promised():
    """As a webhook is: the next sweep finds Graph again."""
    caller = Caller(*[say.UNREACHABLE] * 100)

    assert {"deferred"} == set(caller.call(100))
    assert caller.record(99).is_deferred


@pytest.mark.parametrize("method", ["read", "claim"])
def test_without_the_table_nothing_is_sent(method):
    """It is not known what was tried."""
    caller = Caller()
    fails = {"read": away, "claim": lambda records, *_: [AzureError("away")] * len(records)}
    setattr(caller.store, method, fails[method])

    with pytest.raises(AzureError):
        caller.call()
    assert [] == caller.graph.sent


def test_a_fault_of_ours_is_logged_and_leaves_the_rest_to_the_sweep(caplog):
    caller = Caller()
    send = caller.graph.reprocess_each

    def broken(*given):
        if caller.graph.sent:
            raise KeyError("bug")
        return send(*given)

    caller.graph.reprocess_each = broken
    assert ["accepted"] * 20 + ["deferred"] * 5 == caller.call(25)
    (line,) = [one for one in caplog.records if one.levelname == "ERROR"]
    assert '{"event": "unhandled error", "error": "KeyError"}' == line.message
    assert "KeyError: 'bug'" in caplog.text
