"""A Graph that answers what a test says, by a clock that only waits move.

For: the rules of reprocessing/. Not for: Graph's protocol (tests against the emulator).
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import graph
from attempt_store import AttemptStore
from attempts import Decision
from deadline import Deadline
from table import InMemoryRows

START = datetime(2026, 8, 20, 12, tzinfo=UTC)
ID = str(uuid.UUID(int=1))
FAILED_AT = START - timedelta(hours=1)

SERVER_ERROR = graph.GraphFailed("failing", status=500, code="UnknownError", outcome_unknown=True)
SILENCE = graph.GraphTimeout("silent", outcome_unknown=True)
BUSY = graph.GraphThrottled("busy", status=503, retry_after=4.0, outcome_unknown=True)
WAIT = graph.GraphThrottled("wait", status=429, retry_after=3.0)
WAIT_LONG = graph.GraphThrottled("wait", status=429, retry_after=300.0)
REFUSED = graph.GraphRefused("locked by an administrator", status=400, code="Locked")
DENIED = graph.GraphDenied("denied", status=403)
NO_TOKEN = graph.GraphDenied("the identity was refused a token")
UNREACHABLE = graph.GraphFailed("unreachable")
WRONG_PATH = graph.GraphFailed("No HTTP resource was found", status=404)
NOT_FOUND = graph.RequestNotFound("there is no such request", status=404, code="NotFound")


class Clock:
    """Virtual time: our clock, and one that only goes forward."""

    def __init__(self):
        self.seconds = 0.0

    def __call__(self):
        return self.seconds

    def now(self):
        return START + timedelta(seconds=self.seconds)

    def sleep(self, seconds):
        self.seconds += max(0.0, seconds)

    def deadline(self, seconds=60.0):
        return Deadline(seconds, self)


class ScriptedGraph:
    """Answers reprocess calls with `answers` in their order, then with acceptances.

    `states`: what reads show, the last one from then on; an error is an answer, too. `on_send` runs
    before each send. Each send takes `send_seconds`.
    """

    def __init__(self, clock, *answers, states=("deliveryFailed",), completed_at=FAILED_AT):
        self.clock, self.answers, self.states = clock, list(answers), list(states)
        self.now, self.sleep, self.completed_at = clock.now, clock.sleep, completed_at
        self.sent, self.reads = [], 0
        self.left, self.send_left = [], []  # seconds left of the deadline of each read and send
        self.send_seconds = 0.1
        self.on_send = lambda: None

    def reprocess_each(self, ids, deadline):
        left = deadline.left()
        self.send_left.append(left)
        self.on_send()
        self.sent.append((self.clock.seconds, list(ids)))
        outcomes = [self.answers.pop(0) if self.answers else self.accepted() for _ in ids]
        silent = any(isinstance(one, graph.GraphTimeout) for one in outcomes)
        self.clock.sleep(left if silent else self.send_seconds)
        return outcomes

    def accepted(self):
        return graph.Accepted(self.clock.now(), "graph-request-id", "client-request-id")

    def read_each(self, ids, deadline):
        self.reads += 1
        self.left.append(deadline.left())
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        return [state if isinstance(state, Exception) else self.request(one, state) for one in ids]

    def request(self, request_id, state):
        """A Request that shows a state; "deliveryFailed again" failed just now."""
        state, _, again = state.partition(" ")
        completed = self.clock.now() if again else self.completed_at
        return graph.Request(request_id, state, "userAdd", completed, read_at=self.clock.now())

    def read(self, request_id, deadline):
        (outcome,) = self.read_each([request_id], deadline)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


class Rows(InMemoryRows):
    """Rows in memory that are never asked without a deadline."""

    def read(self, request_id, deadline):
        assert deadline.left() > 0
        return super().read(request_id, deadline)

    def write(self, changes, deadline):
        assert deadline.left() > 0 or not changes
        return super().write(changes, deadline)


def memory_store(clock):
    """An attempt store in memory, by this clock."""
    return AttemptStore(Rows(), clock.now)


def tried(store, clock, outcome=None, accepted_at=None, *, by="another", words="", request_id=ID):
    """Have a request tried now; without an outcome it is claimed. Return the claim, if it was."""
    (claim,) = store.claim([store.read(request_id, clock.deadline())], by, clock.deadline())
    if outcome:
        store.decide([Decision(claim, outcome, accepted_at, words)], clock.deadline())
    return claim
