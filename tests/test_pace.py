"""pace.py: what Graph grants is learned from its throttling, and used without more of it.

A token bucket stands in for Graph here: it grants `rate` requests a second and keeps up to `kept`.
"""

import math

import pytest

from reprocess_timer.pace import Pace


class Bucket:
    """A Graph that throttles, on a clock that only the test moves."""

    def __init__(self, rate, kept):
        self.rate, self.kept = rate, kept
        self.level = self.time = self.filled = 0.0

    def take(self, wanted):
        self.level = min(self.kept, self.level + self.rate * (self.time - self.filled))
        self.filled = self.time
        taken = min(wanted, int(self.level))
        self.level -= taken
        return taken, math.ceil((1 - self.level) / self.rate)


def work(bucket, count, seconds):
    """Send `count` requests, twenty in a call that takes so long; return the pace and the 429s."""
    pace, throttled = Pace(4, lambda: bucket.time), 0
    running = []
    while count > 0 or running:
        pause = pace.wait(20)
        if count > 0 and len(running) < pace.allowed and pause <= 0:
            taken, told = bucket.take(20)
            running.append((bucket.time + seconds, pace.sent(20), taken, told))
            count -= 20
            continue
        ends = [running[0][0]] if running else []
        if count > 0 and len(running) < pace.allowed:
            ends.append(bucket.time + pause)
        bucket.time = max(bucket.time, min(ends)) + 1e-6
        while running and running[0][0] <= bucket.time:
            _, sent_at, taken, told = running.pop(0)
            count += 20 - taken
            throttled += 20 - taken
            if taken < 20:
                pace.throttled(sent_at, taken, told)
            else:
                pace.accepted(taken)
    return pace, throttled


@pytest.mark.parametrize("seconds", [0.005, 0.1])
@pytest.mark.parametrize("rate", [100, 400])
def test_a_throttling_graph_is_used_to_the_full_and_hardly_asked_in_vain(rate, seconds):
    """Less than a twentieth over the time that the rate allows; less than 2 % answered 429."""
    bucket, count = Bucket(rate, kept=rate), 40 * rate

    _, throttled = work(bucket, count, seconds)

    assert 1 <= bucket.time / (count / rate) < 1.05
    assert 0 < throttled < 0.02 * count


def test_a_graph_that_does_not_throttle_is_not_slowed_down():
    """Four calls of 0.1 s at once, from the second on: as fast as the answers come."""
    bucket = Bucket(1e9, kept=1e9)
    bucket.time = 1.0

    pace, throttled = work(bucket, 2000, 0.1)

    assert (None, 0, 4) == (pace.rate, throttled, pace.allowed)
    assert bucket.time - 1.0 < 2000 / 20 / 4 * 0.1 + 0.3


def test_a_graph_that_grants_more_again_is_found_out():
    """Once it is calm, more is tried: a limit that is gone does not stay in the head."""
    bucket = Bucket(100, kept=100)
    pace, _ = work(bucket, 2000, 0.05)
    learned = pace.rate
    waits = []
    for _ in range(2000):
        bucket.time += pace.wait(20)
        sent_at = pace.sent(20)
        pace.accepted(20)
        waits.append(20 / max(1e-9, pace.wait(20)))
        assert sent_at == bucket.time

    assert 80 < learned < 120
    assert waits[-1] > 2 * learned


def test_everybody_waits_as_told_and_one_throttling_halves_the_calls_once():
    """Answers to calls that were under way when it happened tell nothing new."""
    now = 100.0
    pace = Pace(8, lambda: now)
    for _ in range(8):
        pace.accepted(20)
    sent = [pace.sent(20) for _ in range(3)]
    now = 101.0

    for at, told in zip(sent, (1, 5, 2), strict=True):
        pace.throttled(at, 0, told)

    assert (4, 5.0) == (pace.allowed, pace.told())
