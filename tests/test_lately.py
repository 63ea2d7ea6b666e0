"""lately.py: equal things at once are done once, and what was accepted of late is known."""

from datetime import timedelta

import pytest

from reprocess_http.lately import Acceptances, StillUnderWay, UnderWay
from tests.calls import Crowd, Gate
from tests.scripted import NOW


def test_of_equal_calls_at_once_one_is_done_and_all_get_its_end(monkeypatch):
    """The one that did it is told so."""
    under_way, gate = UnderWay(), Gate("done")

    ends = Crowd(monkeypatch).ends(gate, *[lambda: under_way.together("a", 10, gate)] * 8)

    assert [("done", True)] + [("done", False)] * 7 == ends
    assert 1 == gate.times


def test_an_error_is_everybodys(monkeypatch):
    """The very same one."""
    under_way, gate = UnderWay(), Gate(ValueError("no"))

    ends = Crowd(monkeypatch).ends(gate, *[lambda: under_way.together("a", 10, gate)] * 4)

    assert [gate.end] * 4 == ends
    assert 1 == gate.times


def test_who_waits_for_another_waits_as_long_as_it_may():
    """And says that it does not know the end. Others do not wait for it."""
    under_way = UnderWay()

    def begin():
        with pytest.raises(StillUnderWay):
            under_way.together("a", 0, lambda: 2)
        return under_way.together("b", 0, lambda: 3)

    assert ((3, True), True) == under_way.together("a", 0, begin)


def test_what_has_ended_is_begun_anew():
    """Nothing is remembered of it, whether it ended well or not."""
    under_way, gate = UnderWay(), Gate(KeyError())
    gate.may_end.set()

    with pytest.raises(KeyError):
        under_way.together("a", 0, gate)
    assert (1, True) == under_way.together("a", 0, lambda: 1)
    assert (2, True) == under_way.together("a", 0, lambda: 2)


def test_acceptances_are_forgotten(monkeypatch):
    """The oldest of too many, those of five minutes ago, and those that lie far ahead."""
    monkeypatch.setattr("reprocess_http.lately.MOST", 3)
    acceptances, five = Acceptances(), timedelta(minutes=5)
    just = NOW - five + timedelta(seconds=1)
    for n, at in enumerate([NOW, NOW - five, NOW + five, just]):
        acceptances.add(str(n), at)

    assert [None, None, None, just] == [acceptances.get(str(n), NOW) for n in range(4)]
