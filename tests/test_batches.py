"""batches.py: nothing is sent, and nothing waited for, beyond the deadline."""

import pytest

from graph import Answer, Deadline, GraphFailed, GraphTimeout
from reprocess_timer.batches import Batches
from reprocess_timer.pace import Pace
from settings import load


class Graph:
    """Answers every item of every batch the same way; its waits move the clock."""

    requests_path = "/requests"

    def __init__(self, answer, **environ):
        self.settings = load(environ)
        self.answer = answer
        self.time = 0.0
        self.sizes = []

    def sleep(self, seconds):
        self.time += seconds

    def wait_before(self, attempt, told):
        assert told is None
        return 2.0**attempt

    def batch(self, method, paths, deadline):
        self.sizes.append(len(paths))
        if isinstance(self.answer, Exception):
            raise self.answer
        return [self.answer] * len(paths)


def carried_out(graph, count, seconds, rate=None):
    """Return the outcomes of so many requests, and the ids that were not sent."""
    pace = Pace(2, lambda: graph.time)
    pace.rate = rate
    batches = Batches(graph, pace, lambda: graph.time)
    ids = [f"{n:03}" for n in range(count)]
    deadline = Deadline(seconds, lambda: graph.time)

    def take(wanted):
        taken = ids[:wanted]
        del ids[:wanted]
        return taken

    outcomes = list(batches.outcomes("POST", "/reprocess", take, deadline))
    return outcomes, [*batches.unsent, *ids]


def answer(status, **headers):
    return Answer(status, headers, None, "")


def test_every_request_has_one_outcome():
    """In batches of twenty, the last one smaller."""
    graph = Graph(answer(202))

    outcomes, unsent = carried_out(graph, 45, 100)

    assert ([f"{n:03}" for n in range(45)], []) == (sorted(one for one, _ in outcomes), unsent)
    assert [5, 20, 20] == sorted(graph.sizes)


def test_a_slow_pace_does_not_outlast_the_deadline():
    """At a request in a hundred seconds nothing is sent in thirty, and thirty are waited."""
    graph = Graph(answer(202))

    outcomes, unsent = carried_out(graph, 25, 30, rate=0.01)

    assert ([], 25, []) == (outcomes, len(unsent), graph.sizes)
    assert 29 <= graph.time <= 30


def test_what_is_told_is_waited_whole_and_not_begun_when_it_is_too_long():
    """Retry-After of 7 s twice within 20 s, then nothing more: the rest is unsent, none is lost."""
    graph = Graph(answer(429, **{"retry-after": "7"}))

    outcomes, unsent = carried_out(graph, 20, 20)

    assert ([], 20, 14.0) == (outcomes, len(set(unsent)), graph.time)
    assert [20, 20, 20] == graph.sizes


@pytest.mark.parametrize("lost", [False, True])
def test_a_graph_that_cannot_be_reached_is_not_asked_on(lost):
    """It was tried several times for the first; what may have been carried out ends nothing."""
    error = GraphTimeout("silence", lost=True) if lost else GraphFailed("unreachable")
    graph = Graph(error)

    outcomes, unsent = carried_out(graph, 100, 60)

    assert (100, {error}) == (len(outcomes) + len(unsent), {one for _, one in outcomes})
    assert (5 if lost else 1) == len(graph.sizes)
