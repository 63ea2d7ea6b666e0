"""pace.py: two numbers are learned from refusals, and told waits are everybody's."""

from __future__ import annotations

import pytest

from reprocess_timer.pace import LONGEST_BACKOFF, Pace


class World:
    """A pace, and a clock that is set by hand."""

    def __init__(self, most=8, size=20):
        self.now = 0.0
        self.pace = Pace(most, size, lambda: self.now)

    def accepted(self, count=20, seconds=0.1):
        """Send as soon as the pace allows, and have it all accepted."""
        self.now += self.pace.wait(count)
        sent = self.pace.sent(count)
        self.now += seconds
        self.pace.accepted(sent, count)

    def refused(self, taken=0, told=1.0, seconds=0.1, count=20):
        self.now += self.pace.wait(count)
        sent = self.pace.sent(count)
        self.now += seconds
        self.pace.refused(sent, taken, told)


def test_until_graph_refuses_there_is_no_limit_but_the_calls_at_once():
    """One call more with each that is accepted, up to the most."""
    world = World(most=3)

    at_once = []
    for _ in range(4):
        at_once.append(world.pace.calls)
        world.accepted()

    assert ([1, 2, 3, 3], 0.0) == (at_once, world.pace.wait(20))


@pytest.mark.parametrize(("told", "wait"), [(7.0, 7.0), (0.3, 1.0), (None, 1.0)])
def test_a_told_wait_is_kept_and_never_less_than_a_second(told, wait):
    """`Retry-After` counts whole seconds; without one it is our own."""
    world = World()

    world.refused(told=told)

    assert wait == pytest.approx(world.pace.told())
    assert world.pace.wait(1) >= wait - 1e-9


def test_the_longest_of_several_told_waits_counts():
    """Calls that were under way when the first was refused only extend the wait."""
    world = World()
    early, late = world.pace.sent(20), world.pace.sent(20)
    world.now = 0.1

    world.pace.refused(early, 0, 9.0)
    world.pace.refused(late, 0, 2.0)

    assert 9.0 == pytest.approx(world.pace.told())


def test_what_was_under_way_when_it_was_refused_teaches_nothing():
    """Eight calls at once are one refusal."""
    one, eight = World(), World()
    for world, calls in ((one, 1), (eight, 8)):
        sent = [world.pace.sent(20) for _ in range(8)]
        world.now = 0.5
        for call in sent[:calls]:
            world.pace.refused(call, 5, 2.0)
        world.now += 2.5

    assert one.pace.wait(20) == pytest.approx(eight.pace.wait(20))
    assert one.pace.size == eight.pace.size


def test_told_nothing_the_wait_doubles_while_nothing_is_accepted():
    """1, 2, 4 ... seconds, up to the longest; an acceptance begins anew."""
    world = World()
    waits = []
    for _ in range(7):
        world.refused(told=None)
        waits.append(round(world.pace.told(), 6))
    world.accepted()
    world.refused(told=None)

    assert [1, 2, 4, 8, 16, LONGEST_BACKOFF, LONGEST_BACKOFF] == waits
    assert 1.0 == pytest.approx(world.pace.told())


def test_after_a_refusal_one_call_at_a_time_again():
    """Whether Graph takes more is found out anew."""
    world = World()
    for _ in range(5):
        world.accepted()

    world.refused(taken=3)

    assert 1 == world.pace.calls


def rate(world):
    """Return the requests a second that are sent now: the first call after a wait goes at once."""
    world.now += world.pace.wait(20)
    world.pace.sent(20)
    return 20 / world.pace.wait(20)


def test_after_a_told_wait_the_first_call_goes_at_once_and_the_others_at_the_pace():
    """Graph itself said when it hears us again."""
    world = World()
    world.accepted()
    world.refused(told=2.0)
    world.now += 2.0 + 1e-9

    assert 0.0 == world.pace.wait(20)
    world.pace.sent(20)
    assert world.pace.wait(20) > 0.0


def test_the_first_pace_is_what_was_accepted_a_second():
    """Ten calls of 20 in a second, and a tenth until the refusal was known; from there it climbs."""
    world = World()
    for _ in range(10):
        world.accepted()
    world.refused(told=1.0)

    assert 200 / 1.1 == pytest.approx(rate(world), rel=0.01)


def test_the_next_pace_lies_between_what_was_accepted_and_what_was_refused():
    """20 a second were accepted, the wait included, when 100 or so a second were refused."""
    world = World()
    world.refused(told=1.0)
    world.now = 2.0
    sent = world.pace.sent(20)
    world.now = 2.1
    world.pace.refused(sent, 20, 1.0)

    assert 20 / 2.0 < rate(world) < sent.pace


def test_a_limit_that_is_met_is_held_and_tried_beyond_later():
    """Right after a refusal it keeps to the limit; left in peace it climbs past it."""
    world = World()
    world.accepted()
    for _ in range(6):  # a Graph that grants 40 a second, and keeps nothing
        world.refused(taken=20, told=1.0)
        begun = world.now
        while world.now < begun + 6:
            world.accepted(seconds=0.5)
    world.refused(told=1.0)

    soon = rate(world)
    for _ in range(4000):
        world.accepted(seconds=0.05)

    assert 20 < soon < 60
    assert rate(world) > 1000


def test_the_first_call_after_a_wait_shows_how_much_graph_keeps():
    """Taken in part, it was too large: the next ones hold no more than what was taken."""
    world = World()
    world.refused(told=1.0)

    world.refused(taken=7, told=1.0)

    assert 1 <= world.pace.size <= 7


def test_batches_get_smaller_when_nothing_at_all_is_granted():
    """So many at once may never be granted."""
    world = World()
    world.accepted()

    for _ in range(3):
        world.refused(taken=0, told=1.0)

    assert 1 <= world.pace.size < 20


def test_a_pause_for_another_reason_is_a_wait_too():
    """After a lost call nobody hurries."""
    world = World()

    world.pace.pause(3.0)

    assert (3.0, 3.0) == (world.pace.told(), world.pace.wait(20))
