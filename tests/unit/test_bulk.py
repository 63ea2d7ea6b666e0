"""reprocessing/bulk.py: many requests for a caller who waits, each judged as a single one is."""

from __future__ import annotations

import uuid
from collections import Counter
from datetime import timedelta

import pytest
from azure.core.exceptions import AzureError

from attempts import Decision, Outcome
from reprocessing.bulk import Bulk
from reprocessing.many import Context
from reprocessing.rate_limiter import RateLimiter
from tests.support.inline import inline_workers
from tests.support.scripted_graph import (
    DENIED,
    NO_TOKEN,
    NOT_FOUND,
    REFUSED,
    SERVER_ERROR,
    SILENCE,
    UNREACHABLE,
    WAIT,
    WAIT_LONG,
    Clock,
    ScriptedGraph,
    memory_store,
)  # fmt: skip

IDS = [str(uuid.UUID(int=n)) for n in range(1, 101)]


class Caller:
    """Calls for the first so many requests, in virtual time, with the records in memory."""

    def __init__(self, *answers, **more):
        self.clock = Clock()
        self.store = memory_store(self.clock)
        self.graph = ScriptedGraph(self.clock, *answers, **more)

    def call(self, count=1, seconds=60.0, attempts=None, **more):
        end = self.clock.deadline(seconds)
        context = Context(
            self.graph, attempts or self.store, RateLimiter(1, 20, self.clock), end, end, self.clock,
            progress=lambda *_, **__: None, workers=inline_workers(self.clock.sleep),
        )  # fmt: skip
        options = {"dry_run": False, "promise": True} | more
        self.results = Bulk(context, "a caller", timedelta(days=14), **options).run(IDS[:count])
        return [one.outcome for one in self.results.values()]

    def record(self, n=0):
        return self.store.read(IDS[n], self.clock.deadline(1))

    def tried(self, outcome, n=0, ago=60.0, **more):
        """Have request `n` tried so long ago, by a sweep."""
        (claim,) = self.store.claim([self.record(n)], "sweep", self.clock.deadline(1))
        if outcome:
            self.store.decide([Decision(claim, outcome, **more)], self.clock.deadline(1))
        self.clock.sleep(ago)


def test_each_request_has_a_result_in_the_order_asked_for():
    """And a record, by whom it was asked for."""
    caller = Caller(REFUSED, DENIED, SERVER_ERROR)

    assert ["refused", "denied", "failed", "accepted"] == caller.call(4)
    assert IDS[:4] == list(caller.results)
    assert [one.outcome for one in caller.results.values()] == [
        caller.record(n).outcome for n in range(4)
    ]
    assert "a caller" == caller.record(3).history[0].by
    assert ["requestNotFound"] == Caller(NOT_FOUND).call()


@pytest.mark.parametrize(("state", "outcome"), [
    ("deliveryFailed", "refused"),
    ("delivering", "alreadyDelivering"),
    ("delivered", "alreadyDelivered"),
    ("denied", "notReprocessable"),
    (NOT_FOUND, "requestNotFound"),
    (SERVER_ERROR, "refused"),
])  # fmt: skip
def test_a_refused_request_is_answered_by_its_state(state, outcome):
    """As the route of one request answers it; Graph's words stay."""
    caller = Caller(REFUSED, states=[state])

    assert [outcome] == caller.call()
    assert "refused" == caller.record().outcome
    assert (caller.results[IDS[0]].error is REFUSED) == (outcome != "requestNotFound")


# -- a request that was tried before is read before it is claimed --


@pytest.mark.parametrize(("outcome", "state", "answer"), [
    ("accepted", "deliveryFailed", "alreadyDelivering"),
    ("accepted", "deliveryFailed again", "accepted"),
    ("accepted", "delivered", "alreadyDelivered"),
    ("accepted", SERVER_ERROR, "alreadyDelivering"),
    ("unknown", "deliveryFailed", "unknown"),
    ("unknown", "delivering", "alreadyDelivering"),
    ("refused", "deliveryFailed", "accepted"),
    ("refused", "canceled", "notReprocessable"),
    ("failed", NOT_FOUND, "requestNotFound"),
])  # fmt: skip
def test_a_request_that_was_tried_a_minute_ago(outcome, state, answer):
    """Its state decides; what Graph may have accepted is not sent again."""
    caller = Caller(states=[state])
    caller.tried("" if outcome == "unknown" else Outcome(outcome), accepted_at=caller.clock.now())

    assert [answer] == caller.call()
    assert bool(caller.graph.sent) == (answer == "accepted")


def test_after_five_minutes_it_is_sent_again():
    """Where it is still failed."""
    caller = Caller()
    caller.tried(Outcome.ACCEPTED, ago=301, accepted_at=caller.clock.now())

    assert ["accepted"] == caller.call()


def test_a_young_claim_is_not_waited_for():
    """Whoever sends it now does what was asked for."""
    caller = Caller()
    caller.tried("", ago=1)

    assert ["alreadyDelivering", "accepted"] == caller.call(2)
    assert [[IDS[1]]] == [ids for _, ids in caller.graph.sent]
    assert caller.clock.seconds < 2


def test_a_row_that_changes_before_the_claim_is_looked_at_again():
    """A promise that was written meanwhile costs nothing; another's claim is one under way."""
    caller = Caller()
    read = caller.store.read
    changes = [
        lambda: caller.store.defer(IDS[0], caller.clock.deadline(1)),
        lambda: caller.store.claim(
            [read(IDS[1], caller.clock.deadline(1))], "sweep", caller.clock.deadline(1)
        ),
    ]

    class Changing:
        def claim(self, *given):
            while changes:
                changes.pop()()
            return caller.store.claim(*given)

        def __getattr__(self, name):
            return getattr(caller.store, name)

    assert ["accepted", "alreadyDelivering"] == caller.call(2, attempts=Changing())


def test_a_row_that_changes_while_graph_asks_to_wait_is_claimed_as_it_is_then():
    caller = Caller(WAIT)
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
    caller = Caller(states=[SERVER_ERROR])
    caller.tried(Outcome.REFUSED)

    assert ["unreadable", "accepted"] == caller.call(2)
    caller = Caller(states=[WAIT, "deliveryFailed"])
    caller.tried(Outcome.REFUSED)
    assert ["accepted", "accepted"] == caller.call(2)
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
    assert ["accepted"] == Caller(WAIT).call()
    caller = Caller(WAIT_LONG)
    assert ["deferred"] == caller.call()
    assert ("", True) == (caller.record().claim_id, caller.record().is_deferred)
    assert ["notSent"] == Caller(WAIT_LONG).call(promise=False)  # sweeps are dry


def test_a_promise_that_the_table_does_not_take_is_none(caplog):
    """One line says how many."""
    caplog.set_level("INFO", "redeliver")
    caller = Caller(WAIT_LONG)

    def away(*_):
        raise AzureError("away")

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
    caller = Caller(*[SILENCE] * 100)

    assert expected == Counter(caller.call(45, seconds=budget))
    assert caller.clock.seconds <= budget


# -- a dry run --


@pytest.mark.parametrize(("state", "outcome"), [
    ("deliveryFailed", "wouldReprocess"),
    ("delivered", "alreadyDelivered"),
    ("pendingApproval", "notReprocessable"),
    (NOT_FOUND, "requestNotFound"),
])  # fmt: skip
def test_a_dry_run_reads_and_says_what_would_be_done(state, outcome):
    """It claims, sends and promises nothing."""
    caller = Caller(states=[state])

    assert [outcome] * 2 == caller.call(2, dry_run=True)
    assert ([], "") == (caller.graph.sent, caller.record().etag)


def test_what_a_dry_run_had_no_time_for_is_not_promised():
    caller = Caller(states=[WAIT_LONG])

    assert ["notSent"] == caller.call(dry_run=True)
    assert not caller.record().is_deferred


# -- nothing at all --


@pytest.mark.parametrize("error", [DENIED, NO_TOKEN])
def test_when_nothing_at_all_could_be_done_the_answer_is_that(error):
    """Nothing is promised either: the app is what is wrong."""
    caller = Caller(*[error] * 100)

    with pytest.raises(type(error)) as caught:
        caller.call(100)
    assert (error, False) == (caught.value, caller.record(99).is_deferred)


def test_what_an_unreachable_graph_did_not_take_is_promised():
    """As a webhook is: the next sweep finds Graph again."""
    caller = Caller(*[UNREACHABLE] * 100)

    assert {"deferred"} == set(caller.call(100))
    assert caller.record(99).is_deferred


@pytest.mark.parametrize("method", ["read", "claim"])
def test_without_the_table_nothing_is_sent(method):
    """It is not known what was tried."""
    caller = Caller()

    class Away:
        def __getattr__(self, name):
            def call(records, *given):
                if name != method:
                    return getattr(caller.store, name)(records, *given)
                if name == "claim":
                    return [AzureError("away")] * len(records)
                raise AzureError("away")

            return call

    with pytest.raises(AzureError):
        caller.call(attempts=Away())
    assert [] == caller.graph.sent


def test_a_fault_of_ours_is_logged_and_leaves_the_rest_to_the_sweep(caplog):
    caller = Caller()
    send = caller.graph.reprocess_each

    def broken(ids, deadline):
        if caller.graph.sent:
            raise KeyError("bug")
        return send(ids, deadline)

    caller.graph.reprocess_each = broken
    assert ["accepted"] * 20 + ["deferred"] * 5 == caller.call(25)
    (line,) = [one for one in caplog.records if one.levelname == "ERROR"]
    assert '{"event": "unhandled error", "error": "KeyError"}' == line.message
    assert "KeyError: 'bug'" in caplog.text
