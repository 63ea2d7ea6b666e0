"""The second step of a sweep: claim the due requests, have them reprocessed, settle what is open.

Not for: when to send how much (batches.py, pace.py), or which requests (plan.py).

A worker claims a batch just before it sends it, so that a killed sweep holds back what was in
flight, and what Graph had put off to later in the same sweep. What Graph did not judge gives its
claim back: nothing of an outage counts as an attempt.
"""

from __future__ import annotations

import itertools
import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from events import WARNING, event
from graph import Accepted, GraphDenied, GraphError, GraphRefused
from reprocess_timer.batches import Aside
from reprocess_timer.reading import read

if TYPE_CHECKING:
    from collections.abc import Sequence

    from attempts import Claim
    from deadline import Deadline
    from reprocess_timer.batches import Drained
    from reprocess_timer.means import Means
    from reprocess_timer.plan import Candidate

LOGGED = 50  # lines about single requests in one sweep; the counts have them all
SETTLE_SECONDS = 5.0  # after a lost answer, before the state is read
CLAIM_SECONDS = 30.0  # longest that a worker spends on the table for one call
LEFT_TO_ANOTHER = 5  # batches in a row that another sweep has claimed whole


@dataclass(frozen=True, slots=True)
class Try:
    """One request to try, with its claim once there is one."""

    candidate: Candidate
    claim: Claim | None = None

    @property
    def request_id(self) -> str:
        """The request's id."""
        return self.candidate.request.id


class Elsewhere:
    """The outcome of a request whose attempts somebody else changed: it is cooling down."""


type Outcome = Accepted | Elsewhere


class AnotherSweep(Exception):
    """Another sweep has claimed batch after batch: the rest is left to it."""


@dataclass(frozen=True, slots=True)
class Acted:
    """What came of the due requests: how many of each, and why it ended early, if it did.

    `left`: the rest was left to another sweep.
    """

    accepted: int = 0
    refused: int = 0
    failed: int = 0
    elsewhere: int = 0
    postponed: int = 0
    throttled: int = 0
    left: bool = False
    stopped: GraphError | None = None
    broken: Exception | None = None
    last_denial: GraphDenied | None = None


class Acting:
    """Claims the requests of one call and has them reprocessed."""

    def __init__(self, means: Means) -> None:
        """Act for this sweep."""
        self._means = means
        self._lock = threading.Lock()
        self._taken_by_another = 0
        self._lines = itertools.count()

    def prepare(self, tries: Sequence[Try]) -> Sequence[Try | Aside[Outcome]]:
        """Claim those that are not claimed yet. Raises AzureError, AnotherSweep."""
        means = self._means
        fresh = [one.candidate.attempt for one in tries if not one.claim]
        within = means.end.within(CLAIM_SECONDS)
        claims = means.attempts.claim(fresh, means.now(), means.sweep_id, within)
        self._look_out(len(claims.mine), claims.other_sweeps)
        mine = {claim.now.request_id: claim for claim in claims.mine}
        claimed = [replace(one, claim=one.claim or mine.get(one.request_id)) for one in tries]
        return [one if one.claim else Aside(Elsewhere()) for one in claimed]

    def send(
        self, tries: Sequence[Try], deadline: Deadline, *, batched: bool
    ) -> Sequence[Outcome | GraphError]:
        """Have them reprocessed. Raises GraphError when the call failed as a whole."""
        ids = [one.request_id for one in tries]
        outcomes = self._means.graph.reprocess_each(ids, deadline, batched=batched)
        for one, outcome in zip(tries, outcomes, strict=True):
            if isinstance(outcome, GraphRefused | GraphDenied):
                self._log(one, outcome)
        return outcomes

    def _look_out(self, mine: int, other_sweeps: set[str]) -> None:
        """Leave the rest to another sweep that is under way, before both claim the same again."""
        with self._lock:
            taken = self._taken_by_another + 1 if other_sweeps and not mine else 0
            self._taken_by_another = taken
        if taken == LEFT_TO_ANOTHER:
            event(WARNING, "another sweep is under way", sweepId=min(other_sweeps))
        if taken >= LEFT_TO_ANOTHER:
            raise AnotherSweep

    def _log(self, one: Try, error: GraphError) -> None:
        if next(self._lines) >= LOGGED:
            return
        denied = isinstance(error, GraphDenied)
        event(
            WARNING,
            "reprocess failed" if denied else "reprocess refused",
            requestId=one.request_id,
            attempt=one.claim.now.count if one.claim else None,
            remedy=error.remedy if isinstance(error, GraphDenied) else None,
            **error.fields(),
        )


def act(means: Means, due: Sequence[Candidate]) -> Acted:
    """Try every due request, as far as time and Graph allow."""
    tries = [Try(one) for one in due]
    drained: Drained[Try, Outcome] = means.drain("reprocess", tries, Acting(means), means.deadline)
    refused: list[tuple[Try, GraphRefused]] = []
    denied: list[tuple[Try, GraphDenied]] = []
    unjudged: list[Try] = []
    lost: list[Try] = []
    accepted = elsewhere = 0
    for one, outcome in drained.outcomes:
        if isinstance(outcome, Accepted):
            accepted += 1
        elif isinstance(outcome, Elsewhere):
            elsewhere += 1
        elif outcome.lost:
            lost.append(one)
        elif isinstance(outcome, GraphRefused):
            refused.append((one, outcome))
        elif isinstance(outcome, GraphDenied):
            denied.append((one, outcome))
        else:  # throttled again and again, or an answer of no use: nothing was done
            unjudged.append(one)
    left = isinstance(drained.broken, AnotherSweep)
    _note(means, "refused", refused)
    _note(means, "denied", denied)
    _give_back(means, [*unjudged, *drained.unsent])
    stayed = _settle(means, lost)
    _give_back(means, stayed)
    return Acted(
        accepted=accepted + len(lost) - len(stayed),
        refused=len(refused),
        failed=len(denied),
        elsewhere=elsewhere,
        postponed=len(unjudged) + len(drained.unsent) + len(stayed),
        throttled=drained.throttled,
        left=left,
        stopped=drained.stopped,
        broken=None if left else drained.broken,
        last_denial=denied[-1][1] if denied else None,
    )


def _settle(means: Means, lost: Sequence[Try]) -> list[Try]:
    """Read the requests whose answers were lost; return those that are not known to have moved."""
    if not lost:
        return []
    means.graph.sleep(min(SETTLE_SECONDS, means.end.left()))
    states = read(means, "settle", [one.request_id for one in lost])

    def moved(one: Try) -> bool:
        state = states.get(one.request_id)
        return bool(state and state.shows_reprocess(one.candidate.request.completed_at))

    return [one for one in lost if not moved(one)]


def _give_back(means: Means, tries: Sequence[Try]) -> None:
    means.attempts.give_back([one.claim for one in tries if one.claim], means.end)


def _note(means: Means, outcome: str, judged: Sequence[tuple[Try, GraphError]]) -> None:
    noted = [(one.claim, outcome, error.described) for one, error in judged if one.claim]
    means.attempts.note(noted, means.end)
