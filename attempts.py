"""What was tried when: the only thing that Redeliver remembers between sweeps.

Not for: what has failed (Graph is asked each time) or what to do about it (plan.py).
Losing all of it costs a cool-down, never a request.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Attempt:
    """How often and when one request was tried.

    `count` attempts so far, the `last` one at that time (UTC); `settled`: read back as delivered
    since; `deferred`: a caller was promised that the next sweep takes it without waiting for its
    cool-down; `etag`: the stored version this was read from, empty when nothing is stored yet.
    """

    request_id: str
    count: int = 0
    last: datetime = NEVER
    settled: bool = False
    deferred: bool = False
    etag: str = ""


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to try one request once: what was stored before, and what is stored now."""

    before: Attempt
    now: Attempt


class Attempts(Protocol):
    """The interface that memory fills here and Table Storage fills in a deployment."""

    def read_all(self) -> dict[str, Attempt]:
        """Return every attempt by request id."""

    def claim(self, wanted: Sequence[Attempt], at: datetime) -> list[Claim]:
        """Count one attempt at `at` for each, if nobody changed it since it was read.

        Those that somebody else changed meanwhile are left out of the answer.
        """

    def give_back(self, claims: Iterable[Claim]) -> None:
        """Undo claims whose request was never sent, or throttled; later changes are kept."""

    def record(self, request_id: str, at: datetime) -> None:
        """Count one attempt that was made without a claim (over HTTP)."""

    def defer(self, request_id: str) -> None:
        """Have the next sweep take this request without waiting for its cool-down."""

    def settle(self, request_ids: Iterable[str]) -> None:
        """Mark requests as delivered; they stay until their cool-down is over."""

    def forget(self, request_ids: Iterable[str]) -> None:
        """Remove what is stored of these requests."""


class MemoryAttempts:
    """Attempts for as long as this process lives; safe to use from several threads."""

    def __init__(self) -> None:
        """Start with nothing tried."""
        self._lock = threading.Lock()
        self._rows: dict[str, Attempt] = {}
        self._version = 0

    def read_all(self) -> dict[str, Attempt]:
        """Return a copy of every attempt by request id."""
        with self._lock:
            return dict(self._rows)

    def claim(self, wanted: Sequence[Attempt], at: datetime) -> list[Claim]:
        """Count one attempt for each that is stored as it was read."""
        claims = []
        with self._lock:
            for before in wanted:
                stored = self._rows.get(before.request_id)
                if (stored.etag if stored else "") == before.etag:
                    now = replace(
                        before, count=before.count + 1, last=at, settled=False, deferred=False
                    )
                    claims.append(Claim(before, self._store(now)))
        return claims

    def give_back(self, claims: Iterable[Claim]) -> None:
        """Put back what was stored before each claim, unless it changed since."""
        with self._lock:
            for claim in claims:
                stored = self._rows.get(claim.now.request_id)
                if stored is None or stored.etag != claim.now.etag:
                    continue
                if claim.before.etag:
                    self._store(claim.before)
                else:
                    del self._rows[claim.before.request_id]

    def record(self, request_id: str, at: datetime) -> None:
        """Count one attempt on top of whatever is stored."""
        with self._lock:
            stored = self._rows.get(request_id, Attempt(request_id))
            self._store(
                replace(stored, count=stored.count + 1, last=at, settled=False, deferred=False)
            )

    def defer(self, request_id: str) -> None:
        """Mark it, on top of whatever is stored."""
        with self._lock:
            stored = self._rows.get(request_id, Attempt(request_id))
            self._store(replace(stored, deferred=True))

    def settle(self, request_ids: Iterable[str]) -> None:
        """Mark those that are stored as delivered."""
        with self._lock:
            for request_id in request_ids:
                if request_id in self._rows:
                    self._store(replace(self._rows[request_id], settled=True))

    def forget(self, request_ids: Iterable[str]) -> None:
        """Remove those that are stored."""
        with self._lock:
            for request_id in request_ids:
                self._rows.pop(request_id, None)

    def _store(self, attempt: Attempt) -> Attempt:
        """Store under a new version, with the lock held."""
        self._version += 1
        stored = replace(attempt, etag=str(self._version))
        self._rows[attempt.request_id] = stored
        return stored


_process_attempts = MemoryAttempts()


def shared() -> Attempts:
    """Return this process's attempts."""
    return _process_attempts
