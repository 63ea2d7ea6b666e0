"""The plan of a sweep: which failed requests are due, in which order, and why not the others.

Not for: acting on it (sweep.py). Nothing here calls anything or reads a clock.
"""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from attempts import NEVER, Attempt
from settings import is_guid

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from graph import Request
    from settings import Settings

_LAST = datetime.max.replace(tzinfo=UTC)
SPREAD = 0.2  # of a cool-down, added; so that what failed together is not tried together for ever
ABSURD = timedelta(days=1)  # a failure that is further in the future is a mistake of a clock
EXPIRING = timedelta(hours=48)  # before a window closes, somebody should know
REASONS = ("exhausted", "expired", "expiring")  # why a request needs a person
NOTED = 1000  # requests kept of each kind that needs a person; the counts have them all


class Standing(StrEnum):
    """Where one failed request stands in a sweep."""

    DUE = "due"
    COOLING = "cooling"
    EXHAUSTED = "exhausted"
    EXPIRED = "expired"
    EXCLUDED = "excluded"


OPEN = (Standing.DUE, Standing.COOLING, Standing.EXHAUSTED)  # while the window is


@dataclass(frozen=True, slots=True)
class Candidate:
    """One failed request, with what is known of its attempts."""

    request: Request
    attempt: Attempt


@dataclass(frozen=True, slots=True)
class Noted:
    """One request that needs a person, and why: `exhausted`, `expired` or `expiring`."""

    reason: str
    candidate: Candidate


@dataclass(frozen=True, slots=True)
class Plan:
    """The due requests, most urgent first, how many stand where, and which need a person.

    `expiring`: how many windows close within EXPIRING. `noted`: the newest NOTED that need a
    person, by reason; `untold`: the newest NOTED of those that nobody was told of yet.
    """

    due: list[Candidate]
    counts: Counter[Standing]
    expiring: int
    listed_ids: frozenset[str]
    noted: dict[str, list[Noted]]
    untold: list[Noted]


class First[T]:
    """Keeps the first so many of all that are added, by a sort key, and forgets the others."""

    def __init__(self, most: int, key: Callable[[T], Any]) -> None:
        """Keep so many."""
        self._most = most
        self._key = key
        self._kept: list[T] = []

    def add(self, one: T) -> None:
        """Take one in; twice as many as are kept are in memory at most."""
        self._kept.append(one)
        if len(self._kept) >= 2 * self._most:
            self._kept = self.sorted()

    def sorted(self) -> list[T]:
        """Return them in order."""
        return heapq.nsmallest(self._most, self._kept, key=self._key)


class Planner:
    """Judges failed requests one by one, as they are listed, and keeps only what it needs."""

    def __init__(self, attempts: Mapping[str, Attempt], settings: Settings, now: datetime) -> None:
        """Plan for this moment, with these attempts by request id."""
        self._attempts = attempts
        self._settings = settings
        self._now = now
        self._counts: Counter[Standing] = Counter()
        self._listed_ids: set[str] = set()
        self._due = First(settings.sweep_max_requests, urgency)
        self._expiring = 0
        self._noted = {reason: First(NOTED, newest) for reason in REASONS}
        self._untold = First(NOTED, newest)

    def add(self, request: Request) -> None:
        """Judge one request; one that was judged already, on another page, changes nothing."""
        if request.id in self._listed_ids:
            return
        self._listed_ids.add(request.id)
        attempt = self._attempts.get(request.id) or Attempt(request.id)
        if not attempt.failed:  # the failure that will be tried first, or was, as far as is known
            attempt = replace(attempt, failed=request.completed_at)
        candidate = Candidate(request, attempt)
        standing = judge(candidate, self._settings, self._now)
        self._counts[standing] += 1
        if standing is Standing.DUE:
            self._due.add(candidate)
        if standing in REASONS:
            self._note(Noted(standing, candidate))
        if standing in OPEN and self._now > window_ends(candidate, self._settings) - EXPIRING:
            self._expiring += 1
            self._note(Noted("expiring", candidate))

    def found(self) -> int:
        """Return how many failed requests there are so far."""
        return len(self._listed_ids)

    def plan(self) -> Plan:
        """Return the plan of all that were added."""
        return Plan(
            self._due.sorted(),
            self._counts,
            self._expiring,
            frozenset(self._listed_ids),
            {reason: noted.sorted() for reason, noted in self._noted.items()},
            self._untold.sorted(),
        )

    def _note(self, noted: Noted) -> None:
        self._noted[noted.reason].add(noted)
        if noted.reason not in noted.candidate.attempt.told:
            self._untold.add(noted)


def judge(candidate: Candidate, settings: Settings, now: datetime) -> Standing:
    """Tell where one request stands now."""
    request, attempt = candidate.request, candidate.attempt
    if not request.has_failed or not is_guid(request.id):
        return Standing.EXCLUDED
    if now > window_ends(candidate, settings):
        return Standing.EXPIRED
    if attempt.deferred:  # a caller was promised this sweep
        return Standing.DUE
    if attempt.count >= settings.sweep_max_attempts:
        return Standing.EXHAUSTED
    failed_at = request.completed_at or NEVER
    if attempt.last == NEVER and failed_at > now + ABSURD:  # or it would wait for that day
        return Standing.DUE
    return Standing.COOLING if now < next_attempt(candidate, settings) else Standing.DUE


def window_ends(candidate: Candidate, settings: Settings) -> datetime:
    """Return until when Graph accepts a reprocess; the end of time where Graph does not tell."""
    completed_at = candidate.request.completed_at
    if not completed_at:
        return _LAST
    return completed_at + timedelta(days=settings.sweep_window_days)


def next_attempt(candidate: Candidate, settings: Settings) -> datetime:
    """Return when a request is due: at its least age, after its cool-down, or for the last call.

    The last call is one first cool-down before the window closes, so that a long cool-down does
    not let it pass. Graph does not say whether a new failure restarts the window: it is taken to
    count from the failure that was tried first.
    """
    request, attempt = candidate.request, candidate.attempt
    if attempt.last == NEVER:  # the service itself is still retrying a fresh failure
        least_age = timedelta(minutes=settings.sweep_min_age_minutes)
        return request.completed_at + least_age if request.completed_at else NEVER
    cooled = attempt.last + cooldown(attempt, settings)
    failed = attempt.failed or request.completed_at
    if failed:
        least = timedelta(minutes=settings.sweep_cooldown_minutes)
        last_call = failed + timedelta(days=settings.sweep_window_days) - least
        if attempt.last < last_call < cooled:
            return max(last_call, attempt.last + least)
    return cooled


def cooldown(attempt: Attempt, settings: Settings) -> timedelta:
    """Return the wait after this many attempts: doubling, and a little more, always the same.

    An attempt that Graph denied is not counted, and cools down like the first one.
    """
    longest = settings.sweep_cooldown_max_minutes
    doubled = settings.sweep_cooldown_minutes * 2 ** min(max(attempt.count - 1, 0), 30)
    part = int(attempt.request_id[:8], 16) / 0xFFFFFFFF if is_guid(attempt.request_id) else 0.0
    return timedelta(minutes=min(doubled, longest) * (1 + SPREAD * part))


def newest(noted: Noted) -> float:
    """Sort key: those that have needed a person for the shortest time first."""
    attempt, request = noted.candidate.attempt, noted.candidate.request
    since = attempt.last if noted.reason == Standing.EXHAUSTED else request.completed_at
    return -(since or NEVER).timestamp()


def urgency(candidate: Candidate) -> tuple[bool, bool, datetime, str]:
    """Sort key: what was promised first, then removals (somebody keeps access), then the oldest."""
    request = candidate.request
    return (
        not candidate.attempt.deferred,
        not request.is_removal,
        request.completed_at or _LAST,
        request.id,
    )
