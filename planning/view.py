"""One failed request as answers and notices show it: what Graph says, what was tried, the plan.

Not for: deciding what is due (plan.py) or why it fails (causes.py), or writing a list of these
(reprocess_http).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from attempts import NEVER, AttemptRecord, is_young
from planning import plan
from planning.causes import UNKNOWN, Cause, person_of
from planning.plan import LAST, OPEN, FailedRequest, PlanStatus

if TYPE_CHECKING:
    from collections.abc import Iterable

    from graph import Request
    from settings import Settings

# The columns of the CSV, which are members of one request in an answer.
COLUMNS = (
    "requestId", "requestType", "removal", "state", "statusText", "accessPackageId",
    "accessPackageName", "requestorId", "requestorName", "requestorEmail", "createdAt",
    "firstFailedAt", "completedAt", "windowEndsAt", "hoursLeft", "attempts", "lastAttemptAt",
    "lastOutcome", "nextAttemptAt", "plan", "cause",
)  # fmt: skip
STATUS_ORDER = {status: position for position, status in enumerate(PlanStatus)}
# https://learn.microsoft.com/graph/deployments and the clouds' own pages: where a person looks. The
# form of a link to one access package is not published.
PORTAL_ENDINGS = {"global": "com", "usgov": "us", "usgov-dod": "us", "china": "cn"}
PORTAL_VIEW = "#view/Microsoft_AAD_ERM/DashboardBlade/~/elmEntitlement"


@dataclass(frozen=True, slots=True)
class FailureView(FailedRequest):
    """One failed request with its plan.

    `window_ends_at`: the earliest end of the window; None where no failure's time is known.
    `next_attempt_at`: None where it has no time of its own: the request is due or being sent, or
    there will be no further attempt.
    """

    status: PlanStatus
    window_ends_at: datetime | None
    next_attempt_at: datetime | None
    cause: Cause


def evaluate(
    request: Request,
    record: AttemptRecord | None,
    settings: Settings,
    now: datetime,
    cause: Cause = UNKNOWN,
) -> FailureView:
    """Plan one request as a sweep would now; without a record it was never tried."""
    failed = FailedRequest.of(request, record)
    status = plan.classify(failed, settings, now)
    ends_at = plan.window_ends_at(failed, settings)
    following = _next_attempt_at(failed, settings, now) if status is PlanStatus.COOLING else None
    return FailureView(request, failed.record, status, ends_at, following, cause)


def _next_attempt_at(failed: FailedRequest, settings: Settings, now: datetime) -> datetime | None:
    if is_young(failed.record, now):
        return None
    following = plan.next_attempt_at(failed, settings, now)
    return following if following <= (plan.expires_at(failed, settings) or LAST) else None


def sort_key(view: FailureView) -> str:
    """Sort key: by status; cooling ones by their next attempt; then by a sweep's priority.

    It is a text, so that a link can name the position of a request in the list.
    """
    not_deferred, not_removal, first_failed_at, request_id = plan.priority_key(view)
    cooling = view.status is PlanStatus.COOLING
    following = _sortable(view.next_attempt_at or LAST) if cooling else ""
    priority = f"{not_deferred:d}{not_removal:d} {_sortable(first_failed_at)} {request_id}"
    return f"{STATUS_ORDER[view.status]} {following} {priority}"


def to_dict(view: FailureView, as_of: datetime) -> dict[str, object]:
    """Return the members of one request; unknown ones are left out.

    Times are UTC in whole seconds. `hoursLeft` is rounded down, and 0 when the window may have
    closed.
    """
    request, record, ends_at = view.request, view.record, view.window_ends_at
    members: dict[str, object] = {
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
        "firstFailedAt": iso(record.first_failed_at),
        "completedAt": iso(request.completed_at),
        "windowEndsAt": iso(ends_at),
        "hoursLeft": hours(ends_at - as_of) if ends_at else None,
        "attempts": record.count,
        "lastAttemptAt": iso(record.last_attempt_at) if record.last_attempt_at > NEVER else None,
        "lastOutcome": record.outcome.value,
        "nextAttemptAt": iso(view.next_attempt_at),
        "plan": view.status.value,
        "cause": view.cause.text,
        "causeId": view.cause.id,
    }
    return {name: value for name, value in members.items() if value not in {None, ""}}


def history_of(view: FailureView) -> list[dict[str, str | None]]:
    """Return our last attempts at a request, newest first, as far as they were read."""
    return [
        {"at": iso(one.at), "by": one.by, "outcome": one.outcome.value}
        | ({"words": one.words} if one.words else {})
        for one in view.record.history
    ]


def causes_of(views: Iterable[FailureView]) -> list[dict[str, object]]:
    """Return each cause with what it concerns, most requests first.

    `firstWindowEndsAt` is left out where every window has closed.
    """
    groups: dict[str, list[FailureView]] = {}
    for view in views:
        groups.setdefault(view.cause.id, []).append(view)
    most_first = sorted(groups.items(), key=lambda one: (-len(one[1]), one[0]))
    return [_group(some) for _, some in most_first]


def _group(views: list[FailureView]) -> dict[str, object]:
    cause = views[0].cause
    ends = [one.window_ends_at for one in views if one.status in OPEN and one.window_ends_at]
    return {
        "causeId": cause.id,
        "kind": cause.kind.value,
        "cause": cause.text,
        "count": len(views),
        "removals": sum(one.request.is_removal for one in views),
        "accessPackages": len({one.request.access_package_id for one in views} - {""}),
        "requestors": len({person_of(one.request) for one in views} - {""}),
        **({"firstWindowEndsAt": iso(min(ends))} if ends else {}),
    }


def portal_url(settings: Settings) -> str:
    """Return the portal's page of access packages."""
    return f"https://portal.azure.{PORTAL_ENDINGS[settings.graph_cloud]}/{PORTAL_VIEW}"


def hours(left: timedelta) -> float:
    """Return hours with one decimal, rounded down, at least 0."""
    return max(0, math.floor(left / timedelta(hours=0.1))) / 10


def iso(at: datetime | None) -> str | None:
    """Return a UTC time in whole seconds, never later than it is."""
    return at.isoformat(timespec="seconds").replace("+00:00", "Z") if at else None


def _sortable(at: datetime) -> str:
    return at.isoformat(timespec="microseconds")
