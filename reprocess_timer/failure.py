"""One failed request as answers show it: what Graph tells, what was tried, what is planned.

Not for: judging it (reprocess_timer/plan.py), or writing a list of them (failures_answer.py).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from attempts import NEVER, Attempt
from graph import DetailedRequest
from reprocess_timer.plan import Candidate, Standing, judge, next_attempt, urgency, window_ends

if TYPE_CHECKING:
    from graph import Request
    from settings import Settings

# Where a failure has its place in the list; may be written as JSON, and compared after.
type Place = tuple[int, str, bool, bool, str, str]

# What is told of a failure, in the order of the columns.
NAMES = (
    "requestId",
    "requestType",
    "removal",
    "state",
    "statusText",
    "accessPackageId",
    "accessPackageName",
    "requestorId",
    "requestorName",
    "requestorEmail",
    "createdAt",
    "completedAt",
    "windowEndsAt",
    "hoursLeft",
    "attempts",
    "lastAttemptAt",
    "lastOutcome",
    "lastRefusal",
    "nextAttemptAt",
    "plan",
)
RANKS = {standing: rank for rank, standing in enumerate(Standing)}
LAST = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Failure:
    """One failed request, judged.

    `window_ends_at` is None where Graph does not tell when the delivery failed; `next_attempt_at`
    where no next attempt has a time of its own: it is due, or there will be none.
    """

    request: DetailedRequest
    attempt: Attempt
    standing: Standing
    window_ends_at: datetime | None
    next_attempt_at: datetime | None


def judged(request: Request, attempt: Attempt | None, settings: Settings, now: datetime) -> Failure:
    """Judge a failed request as a sweep would now; without an attempt it was never tried.

    A request without details is told without names.
    """
    if not isinstance(request, DetailedRequest):
        request = DetailedRequest(
            request.id, request.state, request.request_type, request.completed_at
        )
    candidate = Candidate(request, attempt or Attempt(request.id, failed=request.completed_at))
    standing = judge(candidate, settings, now)
    ends = window_ends(candidate, settings)
    following = next_attempt(candidate, settings) if standing is Standing.COOLING else None
    return Failure(
        request,
        candidate.attempt,
        standing,
        ends if request.completed_at else None,
        following if following and following <= ends else None,
    )


def place(failure: Failure) -> Place:
    """Sort key: by plan; those that cool down by their next attempt; then as a sweep goes."""
    urgent = urgency(Candidate(failure.request, failure.attempt))
    promised_not, removal_not, completed_at, request_id = urgent
    cooling = failure.standing is Standing.COOLING
    return (
        RANKS[failure.standing],
        _sortable(failure.next_attempt_at or LAST) if cooling else "",
        promised_not,
        removal_not,
        _sortable(completed_at),
        request_id,
    )


def item(failure: Failure, as_of: datetime) -> dict[str, object]:
    """Return what is told of a failure, by NAMES; what is not known is left out.

    Times are UTC in whole seconds. `hoursLeft` is rounded down, and 0 when the window is closed.
    """
    request, attempt = failure.request, failure.attempt
    ends = failure.window_ends_at
    told = {
        "requestId": request.id,
        "requestType": request.request_type,
        "removal": request.is_removal,
        "state": request.state,
        "statusText": request.status_text,
        "accessPackageId": request.access_package_id,
        "accessPackageName": request.access_package_name,
        "requestorId": request.requestor_id,
        "requestorName": request.requestor_name,
        "requestorEmail": request.requestor_email,
        "createdAt": iso(request.created_at),
        "completedAt": iso(request.completed_at),
        "windowEndsAt": iso(ends),
        "hoursLeft": hours(ends - as_of) if ends else None,
        "attempts": attempt.count,
        "lastAttemptAt": iso(attempt.last) if attempt.last > NEVER else None,
        "lastOutcome": attempt.outcome,
        "lastRefusal": attempt.refusal,
        "nextAttemptAt": iso(failure.next_attempt_at),
        "plan": failure.standing.value,
    }
    return {name: value for name, value in told.items() if value not in {None, ""}}


def hours(left: timedelta) -> float:
    """Return hours with one decimal, rounded down, at least 0."""
    return max(0, math.floor(left / timedelta(hours=0.1))) / 10


def iso(at: datetime | None) -> str | None:
    """Write a time (UTC) in whole seconds: never later than it was."""
    return at.isoformat(timespec="seconds").replace("+00:00", "Z") if at else None


def _sortable(at: datetime) -> str:
    return at.isoformat(timespec="microseconds")
