"""batches.py: what is sent again, what is given up, and when nothing more is begun."""

from __future__ import annotations

import contextvars
import itertools
import threading

import pytest

from graph import BatchNotAccepted, GraphDenied, GraphFailed, GraphRefused, GraphThrottled
from reprocess_timer.batches import CALL_SECONDS, Aside, Threads, drain
from reprocess_timer.pace import Pace
from tests.virtual import Calls

OK = "accepted"
LOST = GraphFailed("dropped", lost=True)
UNREACHED = GraphFailed("no connection")
DENIED = GraphDenied("no", status=403)


def held(told=1.0):
    return GraphThrottled("wait", status=429, told_wait=told)


def all_ok(items):
    return [OK] * len(items)


def in_turn(*answers):
    """Answer the calls in this order, and the rest with OK."""
    left = list(answers)

    def answer(items):
        one = left.pop(0) if left else OK
        return (
            one(items)
            if callable(one)
            else one
            if isinstance(one, Exception)
            else [one] * len(items)
        )

    return answer


def test_every_item_is_sent_once_in_batches_of_the_size():
    """In order; each has its outcome."""
    calls = Calls(all_ok)

    drained = calls.drain(range(50))

    assert [(n, OK) for n in range(50)] == drained.outcomes
    assert [20, 20, 10] == [len(items) for _, items, *_ in calls.sent]
    assert ([], 0, None, None) == (
        drained.unsent,
        drained.throttled,
        drained.stopped,
        drained.broken,
    )


def test_calls_at_once_grow_by_one_with_each_accepted_call():
    """Up to the most; the very first is alone, since nobody knows yet whether Graph is there."""
    calls = Calls(all_ok, most=4)

    calls.drain(range(1000))

    times = [at for at, *_ in calls.sent]
    assert (1, 4) == (times.count(0.0), calls.at_once)
    assert times.count(times[1]) == 2


def test_what_is_throttled_goes_to_the_back_and_everybody_waits_as_told():
    """Nothing is sent before the told wait is over."""
    calls = Calls(in_turn(lambda items: [OK] * 15 + [held(7.0)] * 5))

    drained = calls.drain(range(60))

    assert ({OK}, 60, 5) == (
        {outcome for _, outcome in drained.outcomes},
        len(drained.outcomes),
        drained.throttled,
    )
    assert list(range(15, 20)) == [item for _, items, *_ in calls.sent for item in items][-5:]
    assert calls.sent[1][0] >= 0.1 + 7.0


def test_of_the_waits_told_within_a_batch_the_longest_counts():
    """Whatever their order."""
    calls = Calls(in_turn(lambda items: [held(2.0), held(7.0), held(1.0)] + [OK] * 17))

    calls.drain(range(20))

    assert calls.sent[1][0] >= 0.1 + 7.0


def test_what_is_told_while_a_call_is_made_ready_holds_it_back():
    """It goes when the wait is over, as it was prepared."""
    calls = Calls(all_ok)

    def claim(items):
        if calls.now < 1.0:
            calls.pace.pause(5.0)
        return [f"{item}'" for item in items]

    calls.prepared = claim
    drained = calls.drain(["a"])

    assert [("a''", OK)] == drained.outcomes
    assert [5.0] == [round(at) for at, *_ in calls.sent]


def test_a_503_is_a_wait_of_everybodys_and_an_outcome():
    """It may have been carried out, so it is not sent again."""
    gone = GraphThrottled("busy", status=503, told_wait=4.0, lost=True)
    calls = Calls(in_turn(lambda items: [gone] + [OK] * 19))

    drained = calls.drain(range(40))

    assert [gone] + [OK] * 39 == [outcome for _, outcome in drained.outcomes]
    assert (2, 0) == (len(calls.sent), drained.throttled)
    assert calls.sent[1][0] >= 4.1


def test_a_batch_refused_whole_counts_against_none_of_it():
    """Only who is refused while others are accepted is given up."""
    drained = Calls(in_turn(*[held()] * 40)).drain(range(4))

    assert [OK] * 4 == [outcome for _, outcome in drained.outcomes]


@pytest.mark.parametrize("batched", [True, False])
def test_a_wait_told_to_a_whole_call_is_everybodys(batched):
    """Of the $batch itself, and of single calls."""
    calls = Calls(in_turn(held(5.0)))

    drained = calls.drain(range(4), batched=batched)

    assert 4 == len(drained.outcomes)
    assert calls.sent[1][0] >= 5.1


def test_told_nothing_we_wait_a_second_at_least_and_longer_while_nothing_is_accepted():
    """1, 2, 4 ...; the next acceptance begins anew."""
    calls = Calls(in_turn(*[held(None)] * 4), latency=0.0)

    calls.drain(range(3))

    times = [at for at, *_ in calls.sent]
    waits = [round(later - earlier, 3) for earlier, later in itertools.pairwise(times)]
    assert [1, 2, 4, 8] == [int(wait) for wait in waits if wait >= 1]


def test_one_item_throttled_for_ever_is_given_up_after_five_times():
    """The others of its batches are accepted; nobody waits for it but as told."""
    calls = Calls(lambda items: [held() if item == 7 else OK for item in items])

    drained = calls.drain(range(100))

    outcomes = dict(drained.outcomes)
    assert isinstance(outcomes.pop(7), GraphThrottled)
    assert ({OK}, 99) == (set(outcomes.values()), len(outcomes))
    assert drained.throttled == 5


def test_a_batch_that_is_not_accepted_becomes_single_calls_said_once(caplog):
    """Its items are sent again; nothing of it was carried out."""
    refused = BatchNotAccepted("no batch", status=400)
    calls = Calls(in_turn(refused))

    drained = calls.drain(range(5))

    assert [(n, OK) for n in range(5)] == sorted(drained.outcomes)
    assert [(5, True), *[(1, False)] * 5] == [
        (len(items), batched) for _, items, batched, _ in calls.sent
    ]
    assert 1 == len(caplog.messages)


def refused(code="Poison"):
    return GraphRefused("no", status=400, code=code)


def test_what_a_batch_refuses_and_a_single_call_does_not_is_sent_alone(caplog):
    """All of the very first batch refused alike: one of them is tried alone, then all are."""
    calls = Calls(lambda items: [OK if len(items) == 1 else refused()] * len(items), size=3)

    drained = calls.drain(range(7))

    assert [(n, OK) for n in range(7)] == sorted(drained.outcomes)
    assert [[0, 1, 2], *([n] for n in range(7))] == [items for _, items, *_ in calls.sent]
    assert 1 == len(caplog.messages)


def test_refusals_of_a_first_batch_are_believed_when_one_is_refused_alone_too(caplog):
    """Batches go on."""
    calls = Calls(lambda items: [refused()] * len(items), size=3)

    drained = calls.drain(range(7))

    assert list(range(7)) == sorted(item for item, _ in drained.outcomes)
    assert {GraphRefused} == {type(outcome) for _, outcome in drained.outcomes}
    assert [[0, 1, 2], [0], [3, 4, 5], [6]] == [items for _, items, *_ in calls.sent]
    assert [] == caplog.messages


@pytest.mark.parametrize(
    "first", [[refused(), refused(), OK], [refused(), refused(), refused("Other")]]
)
def test_a_batch_of_which_one_is_judged_otherwise_is_believed(first):
    """Then it is about the requests."""
    calls = Calls(in_turn(lambda _items: first), size=3)

    calls.drain(range(6))

    assert [[0, 1, 2], [3, 4, 5]] == [items for _, items, *_ in calls.sent]


def test_what_was_doubted_when_the_time_is_over_is_refused():
    """As Graph said."""
    calls = Calls(lambda items: [refused()] * len(items), size=3)

    drained = calls.drain(range(6), seconds=0.05)

    assert [[0, 1, 2]] == [items for _, items, *_ in calls.sent]
    assert ([1, 2], [0, 3, 4, 5]) == ([item for item, _ in drained.outcomes], drained.unsent)


def test_while_a_batch_is_doubted_throttling_and_loss_settle_nothing():
    """The next single call does."""
    calls = Calls(in_turn(lambda items: [refused()] * 3, held(), LOST), size=3)

    drained = calls.drain(range(6))

    assert {0: OK, 1: OK, 2: OK, 3: LOST, 4: OK, 5: OK} == dict(drained.outcomes)
    assert [[0, 1, 2], [0], [3]] == [items for _, items, *_ in calls.sent][:3]


def test_a_call_that_was_made_ready_too_late_is_not_sent():
    """Nothing is begun after the deadline, however long the claim took."""
    calls = Calls(all_ok)

    def claim(items):
        calls.now += 11
        return items

    calls.prepared = claim
    drained = calls.drain(range(3), seconds=10)

    assert ([], [0, 1, 2], []) == (drained.outcomes, drained.unsent, calls.sent)


def test_batches_under_way_together_that_are_not_accepted_are_said_once(caplog):
    """The second says nothing new."""
    refused = BatchNotAccepted("no batch", status=400)
    calls = Calls(in_turn(OK, refused, refused))

    drained = calls.drain(range(60))

    assert 60 == len(drained.outcomes)
    assert [20, 20, 20, 1] == [len(items) for _, items, *_ in calls.sent][:4]
    assert 1 == len(caplog.messages)


def test_after_a_lost_call_one_at_a_time_until_one_is_accepted():
    """So that an outage costs few requests."""
    calls = Calls(all_ok, most=4)
    calls.answer = lambda items: LOST if 0.95 < calls.now < 2.5 else [OK] * len(items)

    calls.drain(range(4000))

    after = [at for at, *_ in calls.sent if at > 1.2]
    assert [1, 1, 4] == [after.count(at) for at in sorted(set(after))][:3]


def test_a_lost_call_is_an_outcome_of_each_of_its_items():
    """Whether they were carried out is settled by who asked."""
    calls = Calls(in_turn(LOST))

    drained = calls.drain(range(40))

    assert [LOST] * 20 + [OK] * 20 == [outcome for _, outcome in drained.outcomes]
    assert drained.stopped is None


def test_three_whole_calls_lost_in_a_row_are_an_outage():
    """Nothing more is begun; the rest was not sent."""
    calls = Calls(in_turn(OK, LOST, LOST, LOST), most=1)

    drained = calls.drain(range(200))

    assert (LOST, 200 - 80) == (drained.stopped, len(drained.unsent))
    assert 4 == len(calls.sent)


def test_an_acceptance_between_two_lost_calls_is_no_outage():
    """Only losses in a row count."""
    calls = Calls(in_turn(LOST, LOST, OK, LOST, LOST, OK), most=1)

    assert calls.drain(range(200)).stopped is None


def test_losses_that_were_under_way_together_are_one_event():
    """Eight calls in flight when a connection breaks are no outage."""
    calls = Calls(all_ok, most=8)
    calls.answer = lambda items: LOST if 1.0 < calls.now < 1.15 else [OK] * len(items)

    assert calls.drain(range(2000)).stopped is None


def test_what_never_reached_graph_is_sent_again_after_a_pause():
    """Its items are unharmed; three times in a row are an outage as well."""
    calls = Calls(in_turn(UNREACHED, UNREACHED))
    drained = calls.drain(range(20))
    gone = Calls(lambda _items: UNREACHED)

    assert [OK] * 20 == [outcome for _, outcome in drained.outcomes]
    assert [0.0, 1.1, 3.2] == [round(at, 1) for at, *_ in calls.sent]
    given_up = gone.drain(range(20))
    assert (UNREACHED, 20, 3) == (given_up.stopped, len(given_up.unsent), len(gone.sent))


def test_when_the_first_call_and_a_sample_of_all_are_denied_it_stops():
    """The sample comes from all over the queue."""
    calls = Calls(lambda items: [DENIED] * len(items))

    drained = calls.drain(range(1000))

    assert (DENIED, 960) == (drained.stopped, len(drained.unsent))
    spread = calls.sent[1][1]
    assert (min(spread) < 100, max(spread) > 900, 20) == (True, True, len(spread))


def test_a_denied_front_hides_nobody_behind_it():
    """One in ten may be tried: all of these are."""
    calls = Calls(lambda items: [OK if item % 10 == 9 else DENIED for item in items])
    front = Calls(lambda items: [DENIED if item < 500 else OK for item in items])

    assert calls.drain(range(1000)).stopped is None
    drained = front.drain(range(600))
    assert (None, 100) == (drained.stopped, [one for _, one in drained.outcomes].count(OK))


def test_a_denial_after_a_judgement_stops_nothing():
    """Graph has refused one: so it lets us in."""
    refused = GraphRefused("no", status=400)
    calls = Calls(in_turn(refused, DENIED, DENIED, DENIED))

    assert calls.drain(range(200)).stopped is None


def test_nothing_is_begun_after_the_deadline_and_what_is_under_way_ends():
    """Each call has its own time, also when the deadline of all is nearer."""
    calls = Calls(all_ok, latency=10.0, most=2)

    drained = calls.drain(range(1000), seconds=15.0)

    assert 60 == len(drained.outcomes)
    assert 940 == len(drained.unsent)
    assert {CALL_SECONDS} == {left for *_, left in calls.sent}
    assert calls.now == pytest.approx(20.0)


def test_a_told_wait_beyond_the_deadline_ends_it():
    """Nothing would be sent after it; so nobody waits for it."""
    calls = Calls(in_turn(held(3600.0)))

    drained = calls.drain(range(5), seconds=60.0)

    assert ([0, 1, 2, 3, 4], 5) == (sorted(drained.unsent), drained.throttled)
    assert calls.now < 60.0


def test_progress_is_told_every_second_of_a_long_wait():
    """Who reads the log sees that it waits, and for how many."""
    calls = Calls(in_turn(held(60.0)))

    calls.drain(range(20))

    times = [at for at, *_ in calls.progress]
    assert max(later - at for at, later in itertools.pairwise(times)) <= 1.0 + 1e-6
    assert (0, 20) in {(done, throttled) for _, done, throttled in calls.progress}


def test_what_is_set_aside_is_not_sent_and_has_its_outcome():
    """Such as a request that another sweep has claimed."""
    calls = Calls(all_ok, prepare=lambda items: [Aside("theirs") if n % 2 else n for n in items])

    drained = calls.drain(range(4))

    assert {0: OK, 1: "theirs", 2: OK, 3: "theirs"} == dict(drained.outcomes)
    assert [[0, 2]] == [items for _, items, *_ in calls.sent]


def test_an_item_comes_back_as_it_was_prepared():
    """With its claim, though it was throttled, or was not sent at all."""
    calls = Calls(in_turn(held(3600.0)), prepare=lambda items: [f"claimed {n}" for n in items])

    assert ["claimed 0", "claimed 1"] == sorted(calls.drain(range(2), seconds=60.0).unsent)


def test_another_error_ends_it_and_what_was_done_is_told():
    """Such as one of the table: it is handed back, never raised."""
    broken = KeyError("the table")

    def prepare(items):
        if items[0] == 20:
            raise broken
        return items

    drained = Calls(all_ok, prepare=prepare, most=1).drain(range(60))

    assert ([(n, OK) for n in range(20)], broken) == (drained.outcomes, drained.broken)
    assert list(range(20, 60)) == drained.unsent


@pytest.mark.parametrize("wrong", ["prepare", "send"])
def test_work_that_loses_an_item_ends_it_and_nothing_hangs(wrong):
    """A fault of our own, on a real thread: what was sent may have arrived, the rest was not sent."""

    class Work:
        def prepare(self, items):
            return items[1:] if wrong == "prepare" else items

        def send(self, items, deadline, *, batched):
            return [OK] * (len(items) - 1)

    from deadline import Deadline

    drained = drain(
        range(3),
        Work(),
        pace=Pace(1, 20, lambda: 0.0),
        deadline=Deadline(60),
        clock=lambda: 0.0,
    )

    assert isinstance(drained.broken, ValueError)
    lost = [item for item, outcome in drained.outcomes if outcome.lost]
    assert ([0, 1, 2] if wrong == "send" else [], [0, 1, 2]) == (lost, lost + drained.unsent)


def test_threads_carry_the_context_and_the_end_of_every_call():
    """The real workers: log lines of theirs belong to the invocation."""
    name = contextvars.ContextVar("name", default="")
    name.set("an invocation")
    seen = set()

    class Work:
        def prepare(self, items):
            return items

        def send(self, items, deadline, *, batched):
            seen.add((name.get(), threading.current_thread() is threading.main_thread(), batched))
            if 30 in items:
                raise LOST
            return [OK] * len(items)

    from deadline import Deadline

    clock = iter(range(1_000_000))
    drained = drain(
        range(60),
        Work(),
        pace=Pace(4, 20, lambda: next(clock) / 1000),
        deadline=Deadline(60),
        clock=lambda: 0.0,
        workers=lambda most: Threads(most, lambda _seconds: None),
    )

    assert {("an invocation", False, True)} == seen
    assert 40 == [outcome for _, outcome in drained.outcomes].count(OK)


def test_where_only_the_first_of_a_call_are_granted_nobody_is_given_up():
    """Calls get smaller, and everyone has its turn at the front of one."""

    def half(items):
        granted = (len(items) + 1) // 2
        return [OK] * granted + [held()] * (len(items) - granted)

    drained = Calls(half).drain(range(300))

    assert [OK] * 300 == [outcome for _, outcome in drained.outcomes]
