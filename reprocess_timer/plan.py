"""The plan of a sweep: which failed requests are due, in which order, and why not the others.

Not for: acting on it (sweep.py). Nothing here calls anything or reads a clock.
"""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from attempts import Attempt
from settings import is_guid

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from graph import Request
    from settings import Settings

_LAST = datetime.max.replace(tzinfo=UTC)
SPREAD = 0.2  # of a cool-down, added; so that what failed together is not tried together for ever


class Standing(StrEnum):
    """Where one failed request stands in a sweep."""

    DUE = "due"
    COOLING = "cooling"
    EXHAUSTED = "exhausted"
    EXPIRED = "expired"
    EXCLUDED = "excluded"


@dataclass(frozen=True, slots=True)
class Due:
    """One request to try, with what is known of its attempts."""

    request: Request
    attempt: Attempt


@dataclass(frozen=True, slots=True)
class Plan:
    """The due requests, most urgent first; how many stand where; the ids that have failed."""

    due: list[Due]
    counts: Counter[Standing]
    failed_ids: set[str]
    exhausted: list[str]


def plan(
    requests: Iterable[Request],
    attempts: Mapping[str, Attempt],
    settings: Settings,
    now: datetime,
) -> Plan:
    """Judge every request once, and order the due ones: removals first, then least time left."""
    counts: Counter[Standing] = Counter()
    due, failed_ids, exhausted = [], set[str](), []
    for request in requests:
        if request.id in failed_ids:  # a page may repeat what moved between two reads
            continue
        failed_ids.add(request.id)
        attempt = attempts.get(request.id) or Attempt(request.id, failed=request.completed_at)
        standing = judge(request, attempt, settings, now)
        counts[standing] += 1
        if standing is Standing.DUE:
            due.append(Due(request, attempt))
        elif standing is Standing.EXHAUSTED:
            exhausted.append(request.id)
    first = heapq.nsmallest(settings.sweep_max_requests, due, key=urgency)
    return Plan(first, counts, failed_ids, exhausted)


def judge(request: Request, attempt: Attempt, settings: Settings, now: datetime) -> Standing:
    """Tell where one request stands now."""
    if not request.has_failed or not is_guid(request.id):
        return Standing.EXCLUDED
    if request.completed_at:
        age = now - request.completed_at
        if age > timedelta(days=settings.sweep_window_days):
            return Standing.EXPIRED
        fresh = age < timedelta(minutes=settings.sweep_min_age_minutes) and not attempt.count
        if fresh and not attempt.deferred:
            return Standing.COOLING  # the service itself is still retrying
    if attempt.count >= settings.sweep_max_attempts:
        return Standing.EXHAUSTED
    cooling = attempt.count and now < next_attempt(request, attempt, settings)
    return Standing.COOLING if cooling and not attempt.deferred else Standing.DUE


def next_attempt(request: Request, attempt: Attempt, settings: Settings) -> datetime:
    """Return when a request is due again: after its cool-down, or for the window's last call.

    The last call is one first cool-down before the window closes, so that a long cool-down does
    not let it pass. Graph does not say whether a new failure restarts the window: it is taken to
    count from the failure that was tried first.
    """
    cooled = attempt.last + cooldown(attempt, settings)
    failed = attempt.failed or request.completed_at
    if failed:
        least = timedelta(minutes=settings.sweep_cooldown_minutes)
        last_call = failed + timedelta(days=settings.sweep_window_days) - least
        if attempt.last < last_call < cooled:
            return max(last_call, attempt.last + least)
    return cooled


def cooldown(attempt: Attempt, settings: Settings) -> timedelta:
    """Return the wait after this many attempts: doubling, and a little more, always the same."""
    longest = settings.sweep_cooldown_max_minutes
    doubled = settings.sweep_cooldown_minutes * 2 ** min(attempt.count - 1, 30)
    spread = 1 + SPREAD * int(attempt.request_id[:8], 16) / 0xFFFFFFFF
    return timedelta(minutes=min(doubled, longest) * spread)


def urgency(due: Due) -> tuple[bool, datetime, str]:
    """Sort key: removals first (somebody keeps access that was taken away), then oldest failure."""
    removal = due.request.request_type.lower().endswith("remove")
    return (not removal, due.request.completed_at or _LAST, due.request.id)
