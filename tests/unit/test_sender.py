"""sender.py: what is sent again, what is given up, and when nothing more is begun."""

from __future__ import annotations

import contextvars
import itertools
import threading
from dataclasses import replace

import pytest

from deadline import Deadline
from graph import GraphThrottled
from reprocessing.rate_limiter import RateLimiter
from reprocessing.sender import NotSent, Sender, Threads
from tests.support.scripted_graph import BUSY, DENIED, REFUSED, WAIT, WRONG_PATH
from tests.support.scripted_graph import SILENCE as LOST
from tests.support.scripted_graph import UNREACHABLE as NEVER_SENT
from tests.support.virtual import Calls

OK = "accepted"


def throttled(retry_after=1.0):
    return replace(WAIT, retry_after=retry_after)


def all_ok(items):
    return [OK] * len(items)


def in_turn(*answers):
    """Answer the calls in this order, each with a list, or one result for all; the rest with OK."""
    left = list(answers)

    def answer(items):
        one = left.pop(0) if left else OK
        return one if isinstance(one, list) else [one] * len(items)

    return answer


def outcomes(result):
    return [outcome for _, outcome in result.outcomes]


def test_every_item_is_sent_once_in_calls_of_the_limiters_size():
    """In order; each has its outcome."""
    calls = Calls(all_ok)

    result = calls.send(range(50))

    assert [(n, OK) for n in range(50)] == result.outcomes
    assert [20, 20, 10] == [len(items) for _, items in calls.sent]
    assert ([], 0) == (result.unsent, result.throttled)
    assert result.stop_reason is result.error is None


def test_the_first_call_is_alone_and_the_others_grow_by_one_with_each_accepted_call():
    """Up to the limiter's maximum."""
    calls = Calls(all_ok, max_calls=4)

    calls.send(range(1000))

    times = [at for at, _ in calls.sent]
    assert (1, 2, 4) == (times.count(0.0), times.count(times[1]), calls.at_once)


# -- throttling --


def test_throttled_items_go_to_the_back_and_all_calls_wait_for_the_longest_retry_after():
    """Nothing is sent before."""
    calls = Calls(in_turn([throttled(2.0), throttled(7.0), throttled(1.0)] + [OK] * 17))

    result = calls.send(range(60))

    assert ([OK] * 60, 3) == (outcomes(result), result.throttled)
    assert [0, 1, 2] == [item for item, _ in result.outcomes][-3:]
    assert calls.sent[1][0] >= 0.1 + 7.0


def test_a_503_slows_all_calls_and_is_an_outcome():
    """Graph may have carried it out, so it is not sent again."""
    calls = Calls(in_turn([BUSY] + [OK] * 19))

    result = calls.send(range(40))

    assert [BUSY] + [OK] * 39 == outcomes(result)
    assert (2, 0) == (len(calls.sent), result.throttled)
    assert calls.sent[1][0] >= 4.1


def test_a_call_that_is_throttled_whole_counts_against_none_of_its_items():
    """Only an item that is refused while others are accepted is given up."""
    assert [OK] * 4 == outcomes(Calls(in_turn(*[throttled()] * 40)).send(range(4)))


def test_an_item_that_is_throttled_five_times_while_others_are_accepted_is_an_outcome():
    """Also when it is the last one left."""
    calls = Calls(lambda items: [throttled() if item == 7 else OK for item in items])

    result = calls.send(range(100))

    by_item = dict(result.outcomes)
    assert isinstance(by_item.pop(7), GraphThrottled)
    assert ({OK}, 99, 5) == (set(by_item.values()), len(by_item), result.throttled)


# -- not sent --


def test_a_skipped_item_is_an_outcome_of_which_nothing_is_learned():
    """Calls that are skipped whole neither prove nor disprove that Graph works."""
    skipped = NotSent.SKIPPED
    calls = Calls(in_turn(skipped, skipped, skipped, skipped))

    result = calls.send(range(120))

    assert [skipped] * 80 + [OK] * 40 == outcomes(result)
    assert [0.0, 0.1, 0.2, 0.3, 0.4, 0.5] == [round(at, 1) for at, _ in calls.sent]


def test_a_held_item_goes_back_to_the_front():
    """Such as when Graph asked to wait while the call was made ready."""
    calls = Calls(all_ok, size=2)

    def answer(items):
        if calls.now:
            return all_ok(items)
        calls.limiter.pause(5.0)
        return [OK, NotSent.HELD]

    calls.answer = answer
    result = calls.send(range(4))

    assert [(n, OK) for n in range(4)] == result.outcomes
    assert [[0, 1], [1, 2], [3]] == [items for _, items in calls.sent]
    assert calls.sent[1][0] >= 5.0


# -- calls that come to nothing --


@pytest.mark.parametrize("error", [LOST, WRONG_PATH, BUSY])
def test_an_item_that_may_have_been_carried_out_or_never_can_be_is_an_outcome(error):
    """It is not sent again."""
    result = Calls(in_turn(error)).send(range(40))

    assert ([error] * 20 + [OK] * 20, None) == (outcomes(result), result.stop_reason)


def test_an_item_that_never_reached_graph_is_sent_again_after_a_pause():
    """1 s, then 2 s."""
    calls = Calls(in_turn(NEVER_SENT, NEVER_SENT))

    result = calls.send(range(20))

    assert [(n, OK) for n in range(20)] == result.outcomes
    assert [0.0, 1.1, 3.2] == [round(at, 1) for at, _ in calls.sent]


@pytest.mark.parametrize("error", [LOST, NEVER_SENT, BUSY, DENIED])
def test_three_whole_calls_in_a_row_that_come_to_nothing_end_the_sending(error):
    """The rest was not sent."""
    calls = Calls(in_turn(OK, error, error, error), max_calls=1)

    result = calls.send(range(200))

    assert (error, 4) == (result.stop_reason, len(calls.sent))
    assert set(result.unsent) == set(range(200)) - {item for item, _ in result.outcomes}


@pytest.mark.parametrize("between", [OK, REFUSED])
def test_a_judgement_between_them_begins_the_count_anew(between):
    """Only calls in a row count."""
    calls = Calls(in_turn(LOST, LOST, between, LOST, LOST, OK), max_calls=1)

    assert calls.send(range(200)).stop_reason is None


def test_a_429_between_them_proves_nothing():
    """Graph throttles also while it is failing."""
    calls = Calls(in_turn(LOST, LOST, throttled(), LOST), max_calls=1)

    assert LOST is calls.send(range(200)).stop_reason


def test_calls_that_were_under_way_when_one_was_lost_are_the_same_event():
    """Eight calls in flight when a connection breaks do not end the sending."""
    calls = Calls(all_ok)
    calls.answer = lambda items: [LOST if 1.0 < calls.now < 1.15 else OK] * len(items)

    assert calls.send(range(2000)).stop_reason is None


def test_after_a_lost_call_one_call_at_a_time_until_one_is_judged():
    """So that an outage costs few requests."""
    calls = Calls(all_ok, max_calls=4)
    calls.answer = lambda items: [LOST if 0.95 < calls.now < 2.5 else OK] * len(items)

    calls.send(range(4000))

    after = [at for at, _ in calls.sent if at > 1.2]
    assert [1, 1, 4] == [after.count(at) for at in sorted(set(after))][:3]


# -- denials --


def test_denials_of_one_access_package_hide_no_other():
    """Its items go to the end of the queue, and the sending ends only there."""
    calls = Calls(lambda items: [DENIED if item < 500 else OK for item in items])

    result = calls.send(range(600), group=lambda item: "denied" if item < 500 else "other")

    assert (DENIED, 100) == (result.stop_reason, outcomes(result).count(OK))


def test_the_three_denied_calls_are_of_different_packages_where_there_are_several():
    """Each denied call sends what is of other packages first."""
    calls = Calls(in_turn(*[DENIED] * 9))

    result = calls.send(range(1000), group=lambda item: str(item // 100))

    assert [0, 100, 200] == [items[0] for _, items in calls.sent]
    assert (DENIED, 940) == (result.stop_reason, len(result.unsent))


def test_a_denial_among_other_judgements_stops_nothing():
    """Graph lets us in."""
    calls = Calls(lambda items: [OK if item % 10 == 9 else DENIED for item in items])

    assert calls.send(range(1000)).stop_reason is None


def test_where_denials_do_not_stop_they_are_judgements():
    """Such as when requests are only read."""
    result = Calls(in_turn(*[DENIED] * 10)).send(range(200), denials_stop=False)

    assert (None, [DENIED] * 200) == (result.stop_reason, outcomes(result))


# -- time --


def test_nothing_is_begun_after_the_deadline_and_calls_under_way_end():
    """What they return counts."""
    calls = Calls(all_ok, latency=10.0, max_calls=2)

    result = calls.send(range(1000), seconds=15.0)

    assert (60, 940) == (len(result.outcomes), len(result.unsent))
    assert calls.now == pytest.approx(20.0)


def test_a_retry_after_beyond_the_deadline_ends_the_sending_at_once():
    """Nothing could be sent after it."""
    calls = Calls(in_turn(throttled(3600.0)))

    result = calls.send(range(5), seconds=60.0)

    assert ([0, 1, 2, 3, 4], 5) == (sorted(result.unsent), result.throttled)
    assert calls.now < 60.0


def test_progress_is_reported_every_second_of_a_long_wait():
    """With the number of outcomes and of 429 answers."""
    calls = Calls(in_turn(throttled(60.0)))

    calls.send(range(20))

    times = [at for at, *_ in calls.progress]
    assert max(later - at for at, later in itertools.pairwise(times)) <= 1.0 + 1e-6
    assert (0, 20) in {(done, throttled) for _, done, throttled in calls.progress}


# -- errors and threads --


def test_another_error_ends_the_sending_and_its_items_are_unsent():
    """Such as a call that loses an item. It is never raised; what was done before stays."""
    result = Calls(in_turn(OK, [OK] * 19), max_calls=1).send(range(60))

    assert [(n, OK) for n in range(20)] == result.outcomes
    assert isinstance(result.error, ValueError)
    assert list(range(20, 60)) == result.unsent


def test_threads_carry_the_callers_context_and_start_only_when_needed():
    """The real workers: log lines belong to the invocation; three calls start three at most."""
    name = contextvars.ContextVar("name", default="")
    name.set("an invocation")
    seen = set()

    def call(items):
        seen.add((name.get(), threading.current_thread() is threading.main_thread()))
        return [LOST if item == 30 else OK for item in items]

    before = threading.active_count()
    started = []
    clock = itertools.count()
    sender = Sender(
        call,
        limiter=RateLimiter(32, 20, lambda: next(clock) / 1000),
        deadline=Deadline(60),
        clock=lambda: 0.0,
        progress=lambda _done, _throttled: started.append(threading.active_count() - before),
    )
    result = sender.send(range(60))

    assert {("an invocation", False)} == seen
    assert [LOST] == [outcome for outcome in outcomes(result) if outcome is not OK]
    assert max(started) <= 3


def test_threads_sleep_while_no_call_is_under_way_and_stop_waiting_for_one_in_time():
    """So that progress goes on."""
    slept = []
    release = threading.Event()

    with Threads(1, slept.append) as threads:
        assert [] == threads.finished(0.5)
        threads.submit(release.wait)
        assert [] == threads.finished(0.0)
        release.set()
        assert [True] == threads.finished(5.0)

    assert [0.5] == slept
