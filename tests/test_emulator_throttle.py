"""The families of limits: what passes, what is told, and what a refusal costs."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from emulator.checks import Wrong
from emulator.throttle import Refusal, Throttle, checked_throttle
from tests.emulated import IDS, START, by_id, fresh, post_item, statuses


@pytest.fixture(name="graph")
def _graph():
    return fresh()


class Judged:
    """A throttle with a clock that the test moves."""

    def __init__(self, **given):
        self.throttle = Throttle(checked_throttle(given), START)
        self.now = START

    def wait(self, seconds):
        self.now += timedelta(seconds=seconds)

    def __call__(self, calls=1):
        """None when they pass, else what Retry-After says."""
        self.throttle = self.throttle.at(self.now)
        refusal = self.throttle.judge(self.now, calls)
        return refusal and refusal.retry_after

    def passing(self, calls=30):
        """How many calls pass now."""
        return sum(self() is None for _ in range(calls))


# ---- families ------------------------------------------------------------------------------------


def test_a_bucket_gives_its_burst_at_once_and_refills_by_the_second():
    """A refused call takes nothing; more than the burst is never saved."""
    bucket = Judged(perSecond=2, burst=4)

    assert bucket.passing() == 4
    bucket.wait(0.5)
    assert (bucket.passing(), bucket()) == (1, "1")
    bucket.wait(1000)
    assert bucket.passing() == 4


@pytest.mark.parametrize(("given", "passing"), [({"level": 0}, 0), ({"level": 3}, 3), ({}, 5)])
def test_a_bucket_may_begin_empty_or_with_some_left(given, passing):
    """Without a level it begins full; without a burst it holds what comes in a second."""
    assert Judged(perSecond=5, **given).passing() == passing


def test_a_bucket_that_gives_nothing_back():
    """PerSecond 0 stops everything after the burst; callers are told 10 s."""
    bucket = Judged(perSecond=0, burst=1)

    assert (bucket(), bucket()) == (None, "10")
    bucket.wait(10**6)
    assert bucket() == "10"


def test_a_fixed_window_is_full_again_when_it_turns():
    """So many calls in each window; the wait is the rest of it."""
    window = Judged(calls=3, seconds=10)

    window.wait(8.5)
    assert (window.passing(), window()) == (3, "2")
    window.wait(1.5)
    assert window.passing() == 3
    window.wait(35)
    assert (window.passing(), window()) == (3, "5")


def test_a_sliding_window_frees_each_call_when_its_time_is_over():
    """Never more than so many in any ten seconds."""
    sliding = Judged(calls=3, seconds=10, sliding=True)

    assert sliding() is None
    sliding.wait(6)
    assert (sliding.passing(), sliding(), sliding(2), sliding(9)) == (2, "4", "10", "10")
    sliding.wait(4)
    assert (sliding.passing(), sliding()) == (1, "6")


def test_a_refusal_may_cost_a_call():
    """Who does not wait pays: a bucket goes into debt, by its burst at most."""
    bucket = Judged(perSecond=1, burst=2, refusalCosts=True)

    assert [bucket() for _ in range(6)] == [None, None, "2", "3", "3", "3"]
    bucket.wait(3)
    assert bucket() is None


def test_another_client_takes_what_fits():
    """At its own times, though nobody else calls meanwhile."""
    bucket = Judged(perSecond=2, burst=4, other={"calls": 3, "everySeconds": 10})

    bucket.wait(10)
    assert bucket.passing() == 1
    bucket.wait(9)
    assert bucket.passing() == 4
    bucket.wait(1)
    assert bucket.passing() == 2  # its three did not fit
    steady = Judged(calls=100, seconds=10, other={"calls": 1, "everySeconds": 0.2})
    steady.wait(9.9)
    assert steady.passing(100) == 51


def test_a_limit_may_change_at_a_time():
    """Halved, then gone."""
    later = {"perSecond": 4, "then": {"afterSeconds": 5, "throttle": None}}
    bucket = Judged(perSecond=8, then={"afterSeconds": 10, "throttle": later})

    assert bucket.passing() == 8
    bucket.wait(10)
    assert bucket.passing() == 4
    bucket.wait(5)
    assert bucket.throttle.at(bucket.now) is None


@pytest.mark.parametrize(
    ("form", "header"),
    [
        ("int", "4"),
        ("decimal", "3.334"),
        ("date", "Thu, 20 Aug 2026 12:00:05 GMT"),
        ("none", None),
        ("zero", "0"),
        ("past", "Thu, 20 Aug 2026 11:59:00 GMT"),
        ("negative", "-5"),
        ("year", "31536000"),
        ("text", "soon"),
        (30, "30"),
        (0.5, "0.5"),
    ],
)
def test_retry_after_comes_in_every_form(form, header):
    """Whole seconds, decimals, a date: never too early; or of no use, or always the same."""
    bucket = Judged(perSecond=0.3, burst=0, retryAfter=form)

    assert bucket.throttle.judge(START) == Refusal(429, header)
    bucket.wait(5)
    assert bucket() is None


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"burst": 1}, "throttle needs perSecond, or calls and seconds, or atOnce"),
        ({"calls": 1}, "throttle needs perSecond, or calls and seconds, or atOnce"),
        ({"perSecond": 1, "retryAfter": "x"}, "'retryAfter' must be one of int, decimal, date, "),
        ({"perSecond": 1, "batch": "all"}, "'batch' must be one of items, whole, outer, one"),
        ({"perSecond": 1, "other": {"calls": 1}}, "throttle.other needs calls and everySeconds"),
        ({"perSecond": 1, "then": {"afterSeconds": 1}}, "throttle.then needs afterSeconds and"),
        ({"perSecond": 1, "then": {"afterSeconds": 1, "throttle": {}}}, "throttle needs perSec"),
        ({"atOnce": 0}, "'atOnce' must be a whole number, 1 or more"),
    ],
)
def test_a_wrong_throttle_says_what_would_be_right(given, text):
    """Also inside of it."""
    with pytest.raises(Wrong, match=text):
        checked_throttle(given)


# ---- over HTTP -----------------------------------------------------------------------------------


def test_throttled_calls_are_429_with_graphs_body(graph):
    """As the documentation of throttling shows it; all calls count, lists and reads as well."""
    graph.turn(throttle={"perSecond": 0.5, "burst": 2})

    answers = [graph.list(), graph.read(), graph.reprocess()]

    assert [one.status_code for one in answers] == [200, 200, 429]
    assert answers[2].headers["Retry-After"] == "2"
    request_id = answers[2].headers["request-id"]
    assert answers[2].json() == {
        "error": {
            "code": "TooManyRequests",
            "message": "Please retry again later.",
            "innerError": {
                "code": "429",
                "date": "2026-08-20T12:00:00",
                "message": "Please retry after",
                "request-id": request_id,
                "client-request-id": request_id,
                "status": "429",
            },
        }
    }
    assert graph.state() == "deliveryFailed"
    graph.control.advance(2)
    assert graph.reprocess().status_code == 202


def test_a_limit_may_answer_503(graph):
    """With the same Retry-After."""
    graph.turn(throttle={"perSecond": 0, "burst": 0, "status": 503})

    answer = graph.read()

    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "10")
    assert answer.json()["error"]["code"] == "ServiceUnavailable"


def test_batch_items_are_throttled_one_by_one(graph):
    """The batch is 200; refused items carry their own Retry-After and are not carried out."""
    graph.turn(throttle={"perSecond": 1, "burst": 1})

    answer = graph.batch(post_item("1"), post_item("2", 1))

    assert statuses(answer) == {"1": 202, "2": 429}
    told = {"Content-Type": "application/json", "Retry-After": "1"}
    assert by_id(answer)["2"]["headers"] == told
    assert (graph.state(0), graph.state(1)) == ("delivering", "partiallyDelivered")


def test_a_batch_may_be_refused_whole_when_not_all_fits(graph):
    """Each of its items is 429, and nothing was taken: a smaller one passes."""
    graph.turn(throttle={"perSecond": 1, "burst": 1, "batch": "whole"})

    assert statuses(graph.batch(post_item("1"), post_item("2", 1))) == {"1": 429, "2": 429}
    assert statuses(graph.batch(post_item("1"))) == {"1": 202}


def test_the_batch_itself_may_be_answered_429(graph):
    """Then no item is in the answer."""
    graph.turn(throttle={"perSecond": 1, "burst": 1, "batch": "outer"})

    answer = graph.batch(post_item("1"), post_item("2", 1))

    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "1")
    assert answer.json()["error"]["code"] == "TooManyRequests"
    assert graph.state() == "deliveryFailed"


def test_a_batch_may_count_as_one_call(graph):
    """Whatever is in it."""
    graph.turn(throttle={"perSecond": 1, "burst": 1, "batch": "one"})

    assert statuses(graph.batch(post_item("1"), post_item("2", 1))) == {"1": 202, "2": 202}
    assert graph.batch(post_item("1")).status_code == 429


def test_so_many_calls_at_once(graph):
    """A call is refused while others are under way, and passes when they have ended."""
    graph.turn(throttle={"atOnce": 2}, latencyMs=200)
    found = []
    threads = [threading.Thread(target=lambda: found.append(graph.read())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(one.status_code for one in found) == [200, 200, 429, 429]
    assert {one.headers.get("Retry-After") for one in found} == {None, "1"}
    assert graph.read().status_code == 200


def test_a_poisoned_request_is_always_throttled(graph):
    """Alone or in a batch, while all others pass."""
    graph.fault("reprocess", "status", status=429, retryAfter=1, requestId=IDS[0], times=-1)

    found = [statuses(graph.batch(post_item("1"), post_item("2", n))) for n in (1, 1)]

    assert found == [{"1": 429, "2": 202}, {"1": 429, "2": 400}]
    assert graph.reprocess().status_code == 429
