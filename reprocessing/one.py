"""Reprocess one request for a caller who waits: claim it, send it, record and return the outcome.

Not for: HTTP (reprocess_http/), many requests at once (many.py), or Graph's calls (graph/).

    record    a young claim is waited for; a request that was tried before is read before it is sent
    claim     keeps every other caller, sweep and instance from sending for 40 seconds
    send      once; again after a 429, and after a send that never left
    settle    without a judging answer the state is watched; unmoved, the request is sent once more
    decide    the outcome is written onto the claim

While the table cannot be reached, records are kept in memory, and every request is read first.
"""

from __future__ import annotations

import contextlib
import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from azure.core.exceptions import AzureError

import graph
from attempts import AttemptRecord, Claim, Decision, Outcome, is_young
from events import INFO, WARNING, event
from graph import Accepted, GraphDenied, GraphError, GraphThrottled, Request
from reprocessing import states
from reprocessing.states import SETTLE_SECONDS, Result
from table_client import name_of

if TYPE_CHECKING:
    from datetime import timedelta

    from attempt_store import AttemptStore
    from deadline import Deadline
    from graph import Graph

POLL_SECONDS = 0.5  # between two looks at another's claim
LOOKS = (1.0, 2.0, 2.0)  # seconds between the looks at the state: after 1, 3 and 5
RECORD_SECONDS = 1.5  # kept back from the deadline for writing the outcome
READ_SECONDS = 1.0  # least time for a look at the state
SEND_SECONDS = 2.0  # least time for another send to be worth it
LEAST_SECONDS = 1.0  # least time for a first send
AFTER_SEND_SECONDS = SETTLE_SECONDS + READ_SECONDS + RECORD_SECONDS
MAX_SENDS = 5
LOGGED_WAIT = 5.0  # seconds; longer waits are logged


class _Changed(Exception):
    """Another caller or sweep changed the record: begin again with what it says now."""


@dataclass(slots=True)
class Reprocess:
    """One call. `promise`: defer to the next sweep where Graph is in trouble."""

    graph: Graph
    attempts: AttemptStore
    memory: AttemptStore
    window: timedelta
    request_id: str
    by: str
    deadline: Deadline
    promise: bool
    uses_memory: bool = False
    sends: int = 0
    unanswered: bool = False  # an earlier send got no judging answer

    def run(self) -> Result:
        """Take every step; begin again where another changed the record meanwhile."""
        while True:
            with contextlib.suppress(_Changed):
                record = self._read_record()
                if is_young(record, self.graph.now()):
                    return self._await_claimer(record)
                judged = self._judge(record)
                return judged if isinstance(judged, Result) else self._send(self._claim(judged))

    # -- the record --

    @property
    def _store(self) -> AttemptStore:
        return self.memory if self.uses_memory else self.attempts

    def _read_record(self) -> AttemptRecord:
        try:
            return self._store.read(self.request_id, self.deadline)
        except AzureError as error:
            self._keep_in_memory(error)
            return self.memory.read(self.request_id, self.deadline)

    def _keep_in_memory(self, error: AzureError) -> None:
        """Go on with a record in memory: no caller is refused because the table is away."""
        event(WARNING, "attempts kept in memory", requestId=self.request_id, detail=name_of(error))
        self.uses_memory = True

    def _await_claimer(self, record: AttemptRecord) -> Result:
        """Poll the record until another's claim has an outcome, and return what it found."""
        while is_young(record, self.graph.now()):
            if self.deadline.left() < POLL_SECONDS + READ_SECONDS:
                return self._explain(Result("unknown"))
            self.graph.sleep(POLL_SECONDS)
            with contextlib.suppress(AzureError):  # the table may be back before the claim is old
                record = self._store.read(self.request_id, self.deadline)
        if not record.claim_id:  # released
            return self._end(Result("throttled"))
        if record.outcome in {Outcome.CLAIMED, Outcome.UNKNOWN}:
            raise _Changed  # judged like one that was found so
        if record.outcome is Outcome.ACCEPTED:
            return Result("alreadyDelivering", accepted_at=record.accepted_at)
        words = record.history[0].words if record.history else ""
        result = Result(record.outcome, words=words)
        return self._explain(result) if record.outcome is Outcome.REFUSED else self._end(result)

    def _judge(self, record: AttemptRecord) -> AttemptRecord | Result:
        """Return the record to claim, or the answer where there is nothing to send.

        A request that was tried before is read. So is every request while the table is away.
        """
        if record.outcome is Outcome.NONE and not self.uses_memory:
            return record
        judged = states.judge_tried(record, self._read(), self.graph.now())
        if isinstance(judged, AttemptRecord):
            return judged
        return self._end(_trouble(judged) if isinstance(judged, GraphError) else judged)

    def _explain(self, result: Result) -> Result:
        """Return what the request's state says, and `result` where it says nothing else."""
        return self._end(states.explain(result, self._read(), self.graph.now(), self.window))

    def _read(self) -> Request | GraphError:
        try:
            return self.graph.read(self.request_id, self.deadline)
        except GraphError as error:
            return error

    # -- claim and send --

    def _claim(self, record: AttemptRecord) -> Claim:
        """Claim the request. Raises _Changed."""
        (claim,) = self._store.claim([record], self.by, self.deadline)
        if isinstance(claim, Claim):
            return claim
        if isinstance(claim, AzureError):
            self._keep_in_memory(claim)
        raise _Changed

    def _send(self, claim: Claim) -> Result:
        """Send the claimed request, and again where that is safe, until there is a result."""
        while True:
            self.sends += 1
            left = self.deadline.left()
            if left < LEAST_SECONDS:
                error = graph.GraphTimeout("no time was left to send the request")
                return self._end(_trouble(error), Decision(claim, None))
            sending = self.deadline.within(left - min(AFTER_SEND_SECONDS, left / 2))
            within = states.send_deadline(claim, sending, self.graph.now())
            (answer,) = self.graph.reprocess_each([self.request_id], within)
            if isinstance(answer, Accepted):
                return self._accepted(states.decision_of(claim, answer), accepted=answer)
            if answer.outcome_unknown:
                following = self._settle(claim, answer, left)
            elif self.unanswered:
                return self._second_try(claim, answer)
            elif states.outcome_of(answer) is None:
                following = self._wait_and_claim(claim, answer)
            else:
                return self._judged(claim, answer)
            if isinstance(following, Result):
                return following
            claim = following

    def _wait_and_claim(self, claim: Claim, error: GraphError) -> Claim | Result:
        """Release the claim, wait as Graph asks, and claim anew; or end where that does not fit."""
        own = 2.0 ** (self.sends - 1)
        wait = (own if error.retry_after is None else error.retry_after) + random.random()
        if self.sends == MAX_SENDS or wait + SEND_SECONDS > self.deadline.left():
            return self._end(_trouble(error), Decision(claim, None))
        (released,) = self._store.decide([Decision(claim, None)], self.deadline)
        if wait >= LOGGED_WAIT:
            seconds, fields = round(wait, 1), error.fields()
            event(INFO, "waiting for graph", seconds=seconds, attempt=self.sends, **fields)
        self.graph.sleep(wait)
        if not isinstance(released, AttemptRecord):
            raise _Changed
        return self._claim(released)

    def _judged(self, claim: Claim, error: GraphError) -> Result:
        """Record what Graph refused or denied, and return what that means."""
        decision = states.decision_of(claim, error)
        self._store.decide([decision], self.deadline)
        if isinstance(error, graph.RequestNotFound):
            return Result("requestNotFound", error=error)
        if decision.outcome is Outcome.REFUSED:
            return self._explain(Result("refused", error=error))
        return _trouble(error)  # denied, or the path is wrong: no sweep would do better

    # -- without a judging answer --

    def _settle(self, claim: Claim, error: GraphError, left: float) -> Claim | Result:
        """Watch the state for the settle time; unmoved, return a new claim for one more send.

        `left`: seconds that were left of the deadline when the request was sent.
        """
        seen: Request | GraphError = error
        for least in LOOKS:
            told = seen.retry_after if isinstance(seen, GraphError) else None
            wait = max(least, told or 0.0)
            if wait + READ_SECONDS > self.deadline.left():
                return self._end(Result("unknown", error=error))  # watched too short a time
            self.graph.sleep(wait)
            within = max(READ_SECONDS, self.deadline.left() - RECORD_SECONDS)
            (seen,) = self.graph.read_each([self.request_id], self.deadline.within(within))
            if isinstance(seen, Request) and seen.changed_since(claim.record.claimed_at):
                break
        if not isinstance(seen, Request):
            return self._end(Result("unknown", error=error))
        decision = states.decision_by_state(claim, seen, error, left - self.deadline.left())
        if decision.outcome is Outcome.ACCEPTED:
            return self._accepted(decision, seen)
        no_time = self.deadline.left() < SEND_SECONDS + AFTER_SEND_SECONDS
        if self.unanswered or no_time or not seen.has_failed:
            return self._end(_trouble(error), decision)
        self.unanswered = True
        with contextlib.suppress(AzureError):
            if renewed := self._store.renew(claim, self.deadline):
                return renewed
        raise _Changed

    def _second_try(self, claim: Claim, error: GraphError) -> Result:
        """Return what a second send that was not accepted means: the first may have been."""
        if states.decision_of(claim, error).outcome in {Outcome.REFUSED, Outcome.DENIED}:
            return self._end(Result("unknown"))
        return self._end(_trouble(error), Decision(claim, Outcome.FAILED, words=error.summary))

    # -- recording --

    def _accepted(
        self, decision: Decision, seen: Request | None = None, accepted: Accepted | None = None
    ) -> Result:
        (written,) = self._store.decide([decision], self.deadline)
        other = self.attempts if self.uses_memory else self.memory
        if decision.accepted_at and (self.uses_memory or isinstance(written, AzureError)):
            with contextlib.suppress(AzureError):  # the table is still away
                other.add_accepted(decision.claim, decision.accepted_at, self.deadline)
        return Result("accepted", seen, decision.accepted_at, accepted)

    def _end(self, result: Result, decision: Decision | None = None) -> Result:
        """Write a decision; where Graph is in trouble, promise the next sweep in the same write."""
        wrong_path = result.error and 300 <= (result.error.status or 500) < 429  # 3xx, 404
        in_trouble = result.outcome in {"throttled", "failed", "unknown"} and not wrong_path
        promises = self.promise and in_trouble and not self.uses_memory
        if decision:
            decision = replace(decision, deferred_at=self.graph.now() if promises else None)
            (written,) = self._store.decide([decision], self.deadline)
            promises = promises and isinstance(written, AttemptRecord)
        elif promises:
            try:
                self._store.defer(self.request_id, self.deadline)
            except AzureError as error:
                kind, promises = type(error).__name__, False
                event(WARNING, "attempts not written", what="deferral", count=1, error=kind)
        return replace(result, outcome="deferred") if promises else result


def _trouble(error: GraphError) -> Result:
    """Return the result that an error of Graph is, as far as no request is to blame."""
    if isinstance(error, GraphDenied):
        return Result("denied", error=error)
    return Result("throttled" if isinstance(error, GraphThrottled) else "failed", error=error)
