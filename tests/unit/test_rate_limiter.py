"""rate_limiter.py: a rate is learned from refusals, and every wait is everyone's.

Not for: how near it comes to which limit (test_limits.py).
"""

from __future__ import annotations

import pytest

from reprocessing.rate_limiter import LONGEST_BACKOFF, RateLimiter


class World:
    """A rate limiter, and a clock that goes on as it asks."""

    def __init__(self, max_calls=8, size=20):
        self.now = 0.0
        self.limiter = RateLimiter(max_calls, size, lambda: self.now)

    def sent(self, count=20):
        """Send as soon as the limiter allows; returns when."""
        while wait := self.limiter.wait(count):
            self.now += wait
        return self.limiter.sent(count)

    def accepted(self, count=20, seconds=0.1):
        sent = self.sent(count)
        self.now += seconds
        self.limiter.accepted(sent, count)

    def refused(self, accepted=0, retry_after=1.0, count=20):
        sent = self.sent(count)
        self.now += 0.1
        self.limiter.refused(sent, accepted, retry_after)

    def burst(self, count=20):
        """Return how many requests are sent before the limiter has the next one wait."""
        self.now += self.limiter.retry_after_left()
        calls = 0
        while not self.limiter.wait(count):
            self.limiter.sent(count)
            calls += 1
        return calls * count

    def rate(self, seconds=1.0):
        """Return the requests a second that are sent from now on; each is accepted."""
        until, requests = self.now + seconds, 0
        while self.now < until:
            self.accepted(1, seconds=0.0)
            requests += 1
        return requests / seconds


def test_until_graph_refuses_only_the_calls_at_once_are_limited():
    """One call more with each that is accepted, up to the maximum."""
    world = World(max_calls=3)

    at_once = []
    for _ in range(4):
        at_once.append(world.limiter.calls)
        world.accepted()

    assert ([1, 2, 3, 3], 0.0, 20) == (at_once, world.limiter.wait(20), world.limiter.size)


def test_a_pause_shortens_no_wait():
    world = World()
    world.refused(retry_after=7.0)

    world.limiter.pause(3.0)

    assert 7.0 == pytest.approx(world.limiter.retry_after_left())


@pytest.mark.parametrize(("retry_after", "wait"), [(7.0, 7.0), (0.3, 1.0), (0.0, 1.0), (None, 1.0)])
def test_retry_after_is_obeyed_and_a_wait_is_a_second_at_least(retry_after, wait):
    """`Retry-After` counts whole seconds; 0 counts as missing."""
    world = World()

    world.refused(retry_after=retry_after)

    assert wait == pytest.approx(world.limiter.retry_after_left())
    assert wait == pytest.approx(world.limiter.wait(1))


def test_without_retry_after_the_wait_doubles_while_nothing_is_accepted():
    """1, 2, 4 ... seconds, up to the longest; an acceptance begins anew."""
    world = World()
    waits = []
    for _ in range(7):
        world.refused(retry_after=None)
        waits.append(round(world.limiter.retry_after_left(), 6))
    world.accepted()
    world.refused(retry_after=None)

    assert [1, 2, 4, 8, 16, LONGEST_BACKOFF, LONGEST_BACKOFF] == waits
    assert 1.0 == pytest.approx(world.limiter.retry_after_left())


def test_calls_that_were_under_way_only_extend_the_wait():
    """Eight refusals at once are one, and the longest Retry-After counts."""
    one, eight = World(), World()
    for world, waits in ((one, [9.0]), (eight, [2.0, 9.0, 1.0, 3.0, 2.0, 2.0, 2.0, 2.0])):
        calls = [world.sent() for _ in range(8)]
        world.now = 0.1
        for sent, wait in zip(calls, waits, strict=False):
            world.limiter.refused(sent, 0, wait)

    assert 9.0 == pytest.approx(one.limiter.retry_after_left())
    assert 9.0 == pytest.approx(eight.limiter.retry_after_left())
    assert one.rate() == eight.rate()


def test_the_rate_is_the_goodput_and_the_wait_earns_a_burst():
    """While nothing speaks against it that Graph saves what it grants during the wait."""
    world = World()
    for _ in range(10):
        world.accepted()
    world.refused(retry_after=4.0)  # 200 in 1.1 s, and 4 s of waiting
    assert 1 == world.limiter.calls

    goodput = 200 / 5.1
    assert 0.9 * goodput * 4.0 == pytest.approx(world.burst(), abs=20)
    assert goodput == pytest.approx(world.rate(0.09), rel=0.5)


def test_a_refused_burst_ends_the_belief_in_savings():
    """From then on nothing but the first call goes at once after a wait, and calls get smaller."""
    world = World()
    for _ in range(10):
        world.accepted()
    world.refused(retry_after=4.0)

    world.refused(accepted=10, retry_after=4.0)

    assert (10, 10) == (world.limiter.size, world.burst(10))


def test_a_refused_pace_of_twice_the_goodput_ends_the_belief_in_savings():
    """Then the rate lies between the two, and only the first call goes at once after a wait."""
    world = World()
    world.refused(accepted=10)
    world.accepted()
    world.refused()  # the second cycle probes, and is not judged
    began_at, accepted = world.now, 0
    while world.now < began_at + 8:
        world.accepted()
        accepted += 20
    sent = world.sent()
    goodput = accepted / (world.now - began_at)
    world.limiter.refused(sent, 0, 1.0)

    assert sent.pace > 2 * goodput
    assert 20 == world.burst()
    assert goodput < world.rate(0.2) < sent.pace


def test_a_pause_for_another_reason_is_a_wait_too():
    """Nothing is sent right after a lost call."""
    world = World()

    world.limiter.pause(3.0)

    assert (3.0, 3.0) == (world.limiter.retry_after_left(), world.limiter.wait(20))
