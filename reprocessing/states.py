"""What Graph's answer decides, and what a request's state means: for its record and for a caller.

Not for: sending (one.py, many.py), what a record then looks like (attempts.py), or the words of an
answer (reprocess_http/reprocess_request.py).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from attempts import CLAIM_SECONDS, RECENT, AttemptRecord, Decision, Outcome, is_young
from graph import Accepted, GraphDenied, GraphError, GraphRefused, RequestNotFound

if TYPE_CHECKING:
    from attempts import Claim
    from deadline import Deadline
    from graph import Request

# How soon Graph shows an accepted reprocess is not published; the state is watched this long.
SETTLE_SECONDS = 5.0
SEND_SECONDS = 30.0  # for one send: token, the repeat with a new token, single calls of a batch
CLOCK_SECONDS = 2.0  # by which the clocks of two instances may differ
ON_ITS_WAY = {"accepted", "alreadyDelivering", "onItsWay"}


@dataclass(frozen=True, slots=True)
class Result:
    """The result of one call.

    `outcome` of a reprocess: accepted, alreadyDelivering, alreadyDelivered, notReprocessable,
    windowClosed, wouldReprocess (dry run), refused, requestNotFound, denied, failed, unknown,
    throttled, deferred. Of a status: onItsWay, or one of FINAL_OUTCOMES (service.py).
    `request`: as it was read, if it was. `accepted_at`: by Graph's clock. `error`: Graph's, where
    one decided. `words`: Graph's, where only the record has them. `retry_after`: in seconds.
    """

    outcome: str
    request: Request | None = None
    accepted_at: datetime | None = None
    accepted: Accepted | None = None
    error: GraphError | None = None
    words: str = ""
    retry_after: float | None = None

    @property
    def on_its_way(self) -> bool:
        """Whether the delivery is under way: ask again later."""
        return self.outcome in ON_ITS_WAY


# -- one send --


def send_deadline(claim: Claim, deadline: Deadline, now: datetime) -> Deadline:
    """Return a deadline within which a send ends before its claim counts as abandoned."""
    age = (now - claim.record.claimed_at).total_seconds()
    return deadline.within(min(SEND_SECONDS, max(0.0, CLAIM_SECONDS - CLOCK_SECONDS - age)))


def outcome_of(answer: Accepted | GraphError) -> Outcome | None:
    """Return what Graph's answer to a send means; None: nothing was done, so send it later."""
    if isinstance(answer, Accepted):
        return Outcome.ACCEPTED
    if isinstance(answer, GraphDenied):
        return Outcome.DENIED
    if isinstance(answer, GraphRefused):
        return Outcome.REFUSED
    return None if answer.never_sent or answer.status == 429 else Outcome.FAILED


def decision_of(claim: Claim, answer: Accepted | GraphError) -> Decision:
    """Return what an answer decides; what was not carried out releases the claim."""
    if isinstance(answer, Accepted):
        return Decision(claim, Outcome.ACCEPTED, accepted_at=answer.at)
    outcome = None if answer.never_sent else outcome_of(answer)
    return Decision(claim, outcome, words=answer.summary)


def decision_by_state(
    claim: Claim, request: Request, error: GraphError, since_send: float
) -> Decision:
    """Return what the request's state decides, a whole settle time after a send without an answer.

    `since_send`: seconds from the send until the request was read.
    """
    if request.reprocess_was_accepted(claim.record.claimed_at):
        accepted_at = (request.read_at or claim.record.claimed_at) - timedelta(seconds=since_send)
        return Decision(claim, Outcome.ACCEPTED, accepted_at=accepted_at)
    return Decision(claim, Outcome.FAILED, words=error.summary)


# -- what a state means for a caller --


def outcome_of_state(request: Request, accepted_at: datetime | None) -> Result:
    """Return the outcome for a request that has not failed: there is nothing to reprocess."""
    state = request.state.lower()
    if state == "delivering":
        return Result("alreadyDelivering", request, accepted_at)
    return Result("alreadyDelivered" if state == "delivered" else "notReprocessable", request)


def expected_outcome(
    request: Request, accepted_at: datetime | None, now: datetime, window: timedelta
) -> Result:
    """Return what a reprocess would do while no attempt is under way.

    `accepted_at`: of the last attempt.
    """
    if not request.has_failed:
        return outcome_of_state(request, accepted_at)
    if request.completed_at and now - request.completed_at > window:
        return Result("windowClosed", request)
    return Result("wouldReprocess", request)


def would_reprocess(
    record: AttemptRecord, seen: Request, now: datetime, window: timedelta
) -> Result:
    """Return what a reprocess would do: nothing while an attempt is, or may be, under way."""
    accepted_at = record.last_accepted_at
    is_open = is_young(record, now) or isinstance(judge_tried(record, seen, now), Result)
    if seen.has_failed and is_open:
        return Result("alreadyDelivering", seen, accepted_at)
    return expected_outcome(seen, accepted_at, now, window)


def judge_tried(
    record: AttemptRecord, seen: Request | GraphError, now: datetime
) -> AttemptRecord | Result | GraphError:
    """Judge a request that was tried before: return its record to claim, or its caller's answer.

    `seen`: as it was read now. An error: it could not be read, and so it is not sent.
    """
    accepted_at, recent = record.last_accepted_at, record.is_recent(now)
    if isinstance(seen, RequestNotFound):
        return Result("requestNotFound", error=seen)
    if isinstance(seen, GraphError):
        is_known = recent and accepted_at
        return Result("alreadyDelivering", accepted_at=accepted_at) if is_known else seen
    if not seen.has_failed:
        return outcome_of_state(seen, accepted_at)
    if not recent or seen.changed_since(accepted_at or record.claimed_at):
        failures = filter(None, (record.first_failed_at, seen.completed_at))
        return replace(record, first_failed_at=min(failures, default=None))
    if accepted_at:
        return Result("alreadyDelivering", seen, accepted_at)
    wait = (record.claimed_at + RECENT - now).total_seconds()
    return Result("unknown", seen, retry_after=max(1.0, wait))


def explain(
    result: Result, seen: Request | GraphError | None, now: datetime, window: timedelta
) -> Result:
    """Return what the state of a refused request says, and `result` where it says nothing else.

    `seen`: as it was read now; None: Graph has no such request.
    """
    if seen is None or isinstance(seen, RequestNotFound):
        return Result("requestNotFound", error=seen)
    if isinstance(seen, GraphError):
        return result
    expected = expected_outcome(seen, None, now, window)
    if expected.outcome == "wouldReprocess":
        return replace(result, request=seen)
    return replace(expected, error=result.error, words=result.words)
