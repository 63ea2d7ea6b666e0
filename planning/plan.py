"""The plan of a sweep: which failed requests are due, in which order, and why the others are not.

Not for: listing them (listing.py), acting on the plan (reprocess_timer). Nothing here calls Graph
or reads a clock. Records that are passed in are as `attempts.as_known` returns them.

Graph does not say whether a new failure restarts a request's window. So there are two ends of it:
the earliest, counted from the first failure, to warn by, and the latest, counted from the latest
failure, to give up by.
"""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from attempts import NEVER, RECENT, AttemptRecord, Outcome, blank, is_young
from planning.causes import Causes
from settings import is_guid

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from graph import Request
    from settings import Settings

LAST = datetime.max.replace(tzinfo=UTC)
SPREAD = 0.2  # added to a cool-down, so that what failed together is not always sent together
EXPIRING = timedelta(hours=48)  # before its window may close, a request needs attention
REASONS = ("exhausted", "expired", "expiring")  # why a request needs attention
MAX_ATTENTION = 1000  # requests kept for each reason; the counts have all of them


class PlanStatus(StrEnum):
    """What a sweep would do now with one failed request."""

    DUE = "due"
    COOLING = "cooling"
    EXHAUSTED = "exhausted"
    EXPIRED = "expired"
    EXCLUDED = "excluded"


OPEN = (PlanStatus.DUE, PlanStatus.COOLING, PlanStatus.EXHAUSTED)  # the window may still be open


@dataclass(frozen=True, slots=True)
class FailedRequest:
    """One failed request and its attempt record, which knows the first failure."""

    request: Request
    record: AttemptRecord

    @classmethod
    def of(cls, request: Request, record: AttemptRecord | None) -> FailedRequest:
        """Join both; the first failure is the earliest that either of them knows."""
        record = record or blank(request.id)
        known = [at for at in (record.first_failed_at, request.completed_at) if at]
        return cls(request, replace(record, first_failed_at=min(known, default=None)))


@dataclass(frozen=True, slots=True)
class AttentionNeeded:
    """One request that needs a person, and why: one of REASONS."""

    reason: str
    failed: FailedRequest


class TopN[T]:
    """Keeps the first `size` of all items by a sort key; holds fewer than twice as many."""

    def __init__(self, size: int, key: Callable[[T], Any]) -> None:
        """Start empty."""
        self._size = size
        self._key = key
        self._items: list[T] = []

    def add(self, item: T) -> None:
        """Add one item."""
        self._items.append(item)
        if len(self._items) >= 2 * self._size:
            self._items = self.sorted()

    def sorted(self) -> list[T]:
        """Return what is kept, in order."""
        return heapq.nsmallest(self._size, self._items, key=self._key)


class Plan:
    """Classifies failed requests one by one and keeps only what a sweep needs.

    `due`: the most urgent first. `counts`: how many have which status; `expiring`: how many windows
    may close within EXPIRING. `attention`: the newest MAX_ATTENTION requests for each reason;
    `to_notify`: the newest MAX_ATTENTION of those not notified yet. `causes` knows all of them.
    """

    def __init__(
        self, records: Mapping[str, AttemptRecord], settings: Settings, now: datetime
    ) -> None:
        """Plan for this moment; `records` by request id."""
        self._records = records
        self._settings = settings
        self._now = now
        self.counts: Counter[PlanStatus] = Counter()
        self.expiring = 0
        self.listed_ids: set[str] = set()
        self.causes = Causes()
        self.due = TopN(settings.sweep_max_requests, priority_key)
        self.attention = {reason: TopN(MAX_ATTENTION, newest_first_key) for reason in REASONS}
        self.to_notify = TopN(MAX_ATTENTION, newest_first_key)

    def add(self, request: Request) -> None:
        """Classify one request. Pages may overlap: a request added twice changes nothing."""
        if request.id in self.listed_ids:
            return
        self.listed_ids.add(request.id)
        self.causes.add(request)
        failed = FailedRequest.of(request, self._records.get(request.id))
        status = classify(failed, self._settings, self._now)
        self.counts[status] += 1
        if status is PlanStatus.DUE:
            self.due.add(failed)
        if status in REASONS:
            self._add_attention(AttentionNeeded(status.value, failed))
        ends_at = window_ends_at(failed, self._settings)
        if status in OPEN and ends_at and self._now > ends_at - EXPIRING:
            self.expiring += 1
            self._add_attention(AttentionNeeded("expiring", failed))

    def _add_attention(self, attention: AttentionNeeded) -> None:
        self.attention[attention.reason].add(attention)
        if attention.reason not in attention.failed.record.notified_reasons:
            self.to_notify.add(attention)


def classify(failed: FailedRequest, settings: Settings, now: datetime) -> PlanStatus:
    """Return the status of one request. A deferred one is tried even when it is exhausted."""
    request, record = failed.request, failed.record
    if not request.has_failed or not is_guid(request.id):
        return PlanStatus.EXCLUDED
    latest_end = expires_at(failed, settings)
    if latest_end and now > latest_end:
        return PlanStatus.EXPIRED
    if is_young(record, now):
        return PlanStatus.COOLING
    if record.count >= settings.sweep_max_attempts and not record.is_deferred:
        return PlanStatus.EXHAUSTED
    waits = now < next_attempt_at(failed, settings, now)
    return PlanStatus.COOLING if waits else PlanStatus.DUE


def window_ends_at(failed: FailedRequest, settings: Settings) -> datetime | None:
    """Return the earliest end of the window; None where no failure's time is known."""
    return _window_after(failed.record.first_failed_at, settings)


def expires_at(failed: FailedRequest, settings: Settings) -> datetime | None:
    """Return the latest end of the window; None where Graph does not say when it failed."""
    return _window_after(failed.request.completed_at, settings)


def _window_after(failed_at: datetime | None, settings: Settings) -> datetime | None:
    return failed_at + timedelta(days=settings.sweep_window_days) if failed_at else None


def next_attempt_at(failed: FailedRequest, settings: Settings, now: datetime) -> datetime:
    """Return from when on a request is due, as of `now`; a time in the past means now.

    The last call keeps a long cool-down from letting the window pass: it is one first cool-down
    before the earliest end. A cool-down that began before it and would end later ends there, but
    lasts one first cool-down at least. From then to that end, attempts that do not count (denied,
    failed) do not cool down.
    """
    record = failed.record
    if record.is_deferred:
        return record.claimed_at + RECENT if _is_in_progress(failed, now) else NEVER
    if record.last_attempt_at == NEVER:  # the service itself retries a fresh failure
        failed_at = failed.request.completed_at
        min_age = timedelta(minutes=settings.sweep_min_age_minutes)
        return failed_at + min_age if failed_at else NEVER
    cooled = record.last_attempt_at + cooldown(record, settings)
    ends_at = window_ends_at(failed, settings)
    if not ends_at:
        return cooled
    first_cooldown = timedelta(minutes=settings.sweep_cooldown_minutes)
    last_call = ends_at - first_cooldown
    if _cools_down_as_first(record):
        return min(cooled, last_call) if now <= ends_at else cooled
    if record.last_attempt_at < last_call < cooled:
        return max(last_call, record.last_attempt_at + first_cooldown)
    return cooled


def _is_in_progress(failed: FailedRequest, now: datetime) -> bool:
    """Whether Graph accepted, or may have accepted, and this may still be the failure before it.

    A caller would be answered 202 or 504 then, so the sweep does not send either.
    """
    record = failed.record
    since = record.last_accepted_at or record.claimed_at
    return record.is_recent(now) and not failed.request.changed_since(since)


def cooldown(record: AttemptRecord, settings: Settings) -> timedelta:
    """Return the wait after the last attempt: doubling by count, and up to a fifth by request id.

    An attempt that does not count (denied, failed) cools down like the first one.
    """
    doublings = 0 if _cools_down_as_first(record) else min(max(record.count - 1, 0), 30)
    minutes = min(
        settings.sweep_cooldown_minutes * 2**doublings, settings.sweep_cooldown_max_minutes
    )
    part = int(record.request_id[:8], 16) / 0xFFFFFFFF
    return timedelta(minutes=minutes * (1 + SPREAD * part))


def _cools_down_as_first(record: AttemptRecord) -> bool:
    return record.outcome in {Outcome.DENIED, Outcome.FAILED}


def priority_key(failed: FailedRequest) -> tuple[bool, bool, datetime, str]:
    """Sort key: deferred ones, then removals (a user keeps access), then the least time left."""
    request, record = failed.request, failed.record
    return (
        not record.is_deferred,
        not request.is_removal,
        record.first_failed_at or LAST,
        request.id,
    )


def newest_first_key(attention: AttentionNeeded) -> float:
    """Sort key: those that have needed attention for the shortest time first."""
    request, record = attention.failed.request, attention.failed.record
    since = {
        "exhausted": record.last_attempt_at,
        "expired": request.completed_at,
        "expiring": record.first_failed_at,
    }[attention.reason]
    return -(since or NEVER).timestamp()
