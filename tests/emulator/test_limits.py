"""The families of limits: what passes, what is said, and what a refusal costs.

The measurements of the sender (benchmarks/limits.py) are worth what these are. Not for: how a
refusal is written (e2e/test_graph_variants.py runs sweeps against each form).
"""

from __future__ import annotations

from datetime import timedelta

import pytest

from emulator.throttle import Refusal, Throttle, checked_throttle
from tests.support.emulated_graph import START, fresh, post_item, statuses


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


def test_a_bucket_gives_its_burst_at_once_and_refills_by_the_second():
    """A refused call takes nothing; more than the burst is never saved."""
    bucket = Judged(perSecond=2, burst=4)

    assert bucket.passing() == 4
    bucket.wait(0.5)
    assert (bucket.passing(), bucket()) == (1, "1")
    bucket.wait(1000)
    assert bucket.passing() == 4
    assert [0, 3, 5] == [Judged(perSecond=5, **one).passing() for one in LEVELS]


LEVELS = ({"level": 0}, {"level": 3}, {})


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


@pytest.mark.parametrize(("form", "header"), [
    ("int", "4"),
    ("decimal", "3.334"),
    ("date", "Thu, 20 Aug 2026 12:00:05 GMT"),
    ("none", None),
    ("past", "Thu, 20 Aug 2026 11:59:00 GMT"),
    (0.5, "0.5"),
])  # fmt: skip
def test_a_right_retry_after_is_never_too_early(form, header):
    """Rounded up in every form that is right."""
    assert Judged(perSecond=0.3, burst=0, retryAfter=form).throttle.judge(START) == Refusal(
        429, header
    )


@pytest.mark.parametrize(
    ("batch", "two", "then"),
    [("items", {"1": 202, "2": 429}, 429), ("whole", {"1": 429, "2": 429}, 202), ("one", {"1": 202, "2": 202}, 429)],
)  # fmt: skip
def test_how_a_batch_counts(batch, two, then):
    """Item by item, all or nothing, or as one call. What is refused is not carried out."""
    graph = fresh()
    graph.turn(throttle={"perSecond": 1, "burst": 1, "batch": batch})

    assert two == statuses(graph.batch(post_item("1"), post_item("2", 1)))
    assert [status == 202 for status in two.values()] == [
        graph.state(n) == "delivering" for n in (0, 1)
    ]
    assert then == graph.reprocess(1 if two["1"] == 202 else 0).status_code
