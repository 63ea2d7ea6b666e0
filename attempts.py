"""What was tried when: the only thing that Redeliver remembers between sweeps.

Not for: what has failed (Graph is asked each time), what to do about it (plan.py), or how a row is
written (table.py). Losing all of it costs a cool-down, never a request.

`Attempts` has the rules; a store below it has the rows, in a table or in this process's memory.
"""

from __future__ import annotations

import functools
import json
import threading
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import requests
from azure.core.exceptions import AzureError
from azure.data.tables import TableClient
from azure.identity import ManagedIdentityCredential
from requests.adapters import HTTPAdapter

import settings as app_settings
from deadline import Deadline
from events import WARNING, event
from table import MOST_COUNT, NEVER, Attempt, Change, Table, Written

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from settings import Settings

__all__ = ["NEVER", "Attempt", "Attempts", "Claim", "Claims", "Memory", "shared", "store"]

PATIENT_SECONDS = 120.0  # longest that one call of a sweep spends on the table
QUICK_SECONDS = 3.0  # the same while a caller over HTTP waits
CONNECTIONS = 64  # kept open at most; as many as GRAPH_CONCURRENCY may be
IDENTITY_SECONDS = 5.0  # longest silence of the managed identity's endpoint
LONGEST_REFUSAL = 500  # characters
LONGEST_REPORT = 32_000  # characters; Table Storage takes 32,768 of them


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to try one request once: what was stored before, and what is stored now."""

    before: Attempt
    now: Attempt


@dataclass(frozen=True, slots=True)
class Claims:
    """What came of claiming: those that are ours, and those that somebody else changed.

    `elsewhere` has them as they were wanted. `other_sweeps` has the ids of other sweeps that were
    seen there; only then it was a sweep, and not a call over HTTP.
    """

    mine: list[Claim]
    elsewhere: list[Attempt]
    other_sweeps: set[str]


class Attempts:
    """Attempts at requests; safe to use from several threads.

    Every method takes a deadline, or has one of its own: a short one where it is about one request
    or the last sweep, since somebody waits. Errors of the store are AzureError.
    """

    def __init__(
        self, store: Table | Memory, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        """Keep them in this store. By `now` a time in the future is known as a mistake."""
        self._store = store
        self._now = now

    # -- reading --

    def read_all(self, deadline: Deadline | None = None) -> dict[str, Attempt]:
        """Return every attempt by request id. Raises AzureError."""
        rows = self._store.rows(deadline or Deadline(PATIENT_SECONDS))
        return {row.request_id: self._until_now(row) for row in rows}

    def read(self, request_id: str, deadline: Deadline | None = None) -> Attempt | None:
        """Return the attempts at one request, None when there were none. Raises AzureError."""
        row = self._store.row(request_id, deadline or Deadline(QUICK_SECONDS))
        return self._until_now(row) if row else None

    def _until_now(self, row: Attempt) -> Attempt:
        """Take a time in the future as now, or it would cool down for ever."""
        now = self._now()
        if max(row.last, row.failed or row.last) <= now:
            return row
        failed = min(row.failed, now) if row.failed else None
        return replace(row, last=min(row.last, now), failed=failed)

    # -- claims of a sweep --

    def claim(
        self,
        wanted: Sequence[Attempt],
        at: datetime,
        sweep: str,
        deadline: Deadline | None = None,
    ) -> Claims:
        """Count one attempt at `at` for each, if nobody changed it since it was read.

        `sweep` is the sweep's own id, a GUID: by it and by `at` a claim whose answer was lost is
        known as ours. Raises AzureError when any could not be written: then nothing is claimed, as
        far as the table can be reached. At worst a request cools down that was never sent.
        """
        deadline = deadline or Deadline(PATIENT_SECONDS)
        changes = [Change(tried(one, at, sweep)) for one in wanted]
        written = self._store.write(changes, deadline, is_same_try)
        pairs = list(zip(wanted, written, strict=True))
        mine = [Claim(before, now) for before, now in pairs if isinstance(now, Attempt)]
        errors = [now for _, now in pairs if isinstance(now, AzureError)]
        if errors:
            self.give_back(mine, deadline)
            raise errors[0]
        elsewhere = [before for before, now in pairs if now is None]
        return Claims(mine, elsewhere, self._other_sweeps(elsewhere, sweep, deadline))

    def _other_sweeps(
        self, elsewhere: Sequence[Attempt], sweep: str, deadline: Deadline
    ) -> set[str]:
        """Return the id of another sweep, if it was one that changed these.

        One row is read, however many there are: enough to tell a sweep from calls over HTTP.
        """
        try:
            stored = self._store.row(elsewhere[0].request_id, deadline) if elsewhere else None
        except AzureError:  # what is claimed stays claimed
            stored = None
        return {stored.sweep} - {"", sweep, elsewhere[0].sweep} if stored else set()

    def give_back(self, claims: Iterable[Claim], deadline: Deadline | None = None) -> int:
        """Undo claims that were not used; return how many could not be given back.

        What a caller was promised meanwhile stays, and so does what another sweep has claimed.
        """
        deadline = deadline or Deadline(PATIENT_SECONDS)
        given = list(claims)
        written = self._store.write([undone(claim) for claim in given], deadline)
        changed = [claim for claim, one in zip(given, written, strict=True) if one is None]
        seen = [self._as_stored(claim, deadline) for claim in changed]
        ours = [undone(one) for one in seen if isinstance(one, Claim)]
        again = self._store.write(ours, deadline) if ours else []
        unread = [one for one in seen if isinstance(one, AzureError)]
        return _unwritten("give back", [*written, *again, *unread])

    def _as_stored(self, claim: Claim, deadline: Deadline) -> Claim | AzureError | None:
        """Return a claim whose row was changed since, as it is now; None when it is not ours."""
        try:
            stored = self._store.row(claim.now.request_id, deadline)
        except AzureError as error:
            return error
        return Claim(claim.before, stored) if stored and is_same_try(stored, claim.now) else None

    def note(
        self, judged: Iterable[tuple[Claim, str, str]], deadline: Deadline | None = None
    ) -> int:
        """Keep of each claim its outcome and Graph's words; return how many could not be written.

        Outcomes are "refused" and "denied". A denied one does not count, but keeps the time of its
        attempt, so that it cools down.
        """
        changes = [
            Change(
                replace(
                    claim.now,
                    outcome=outcome,
                    refusal=printable(refusal),
                    count=claim.before.count if outcome == "denied" else claim.now.count,
                )
            )
            for claim, outcome, refusal in judged
        ]
        return self._tidy("note", changes, deadline)

    def settle(self, ended: Iterable[Attempt], deadline: Deadline | None = None) -> int:
        """Mark requests as ended, unless they changed since; return how many could not be.

        They stay until their cool-down is over.
        """
        changes = [Change(replace(one, settled=True)) for one in ended]
        return self._tidy("settle", changes, deadline)

    def forget(self, over: Iterable[Attempt], deadline: Deadline | None = None) -> int:
        """Remove requests, unless they changed since; return how many could not be removed."""
        changes = [Change(one, remove=True) for one in over if one.etag]
        return self._tidy("forget", changes, deadline)

    def _tidy(self, what: str, changes: Sequence[Change], deadline: Deadline | None) -> int:
        """Write all that can be; log and return how many could not be."""
        written = self._store.write(changes, deadline or Deadline(PATIENT_SECONDS))
        return _unwritten(what, written)

    # -- one request --

    def record(self, request_id: str, at: datetime, deadline: Deadline | None = None) -> None:
        """Count one attempt that was made without a claim. Raises AzureError.

        When an answer of the table is lost and somebody else changes the row in that moment, it is
        counted twice: a longer cool-down, nothing else.
        """
        self._change(request_id, lambda row: tried(row, at, sweep=""), deadline)

    def defer(self, request_id: str, deadline: Deadline | None = None) -> None:
        """Have the next sweep take this request without waiting. Raises AzureError."""
        self._change(request_id, lambda row: replace(row, deferred=True), deadline)

    def tell(self, request_id: str, reason: str, deadline: Deadline | None = None) -> None:
        """Keep that a notice of this request was sent for this reason. Raises AzureError."""
        self._change(request_id, lambda row: replace(row, told=row.told | {reason}), deadline)

    def _change(
        self, request_id: str, change: Callable[[Attempt], Attempt], deadline: Deadline | None
    ) -> None:
        deadline = deadline or Deadline(QUICK_SECONDS)
        while True:  # somebody wins each round, so this ends
            row = self._store.row(request_id, deadline) or Attempt(request_id)
            if change(row) == row:
                return
            [written] = self._store.write([Change(change(row))], deadline)
            if isinstance(written, AzureError):
                raise written
            if written:
                return

    # -- the store itself, and what else it keeps --

    def check_writable(self, deadline: Deadline | None = None) -> None:
        """Prove that the store may be written. Raises AzureError."""
        self._store.check(deadline or Deadline(PATIENT_SECONDS))

    def note_sweep(
        self, report: dict[str, Any], at: datetime, deadline: Deadline | None = None
    ) -> None:
        """Keep the report of the sweep that ended at `at`, in place of the one before.

        What makes it too long for the table is left out. Raises AzureError.
        """
        self._store.keep_report(at, fitting(report), deadline or Deadline(PATIENT_SECONDS))

    def last_sweep(
        self, deadline: Deadline | None = None
    ) -> tuple[datetime, dict[str, Any]] | None:
        """Return when the last sweep ended and its report, None without one. Raises AzureError."""
        kept = self._store.report(deadline or Deadline(QUICK_SECONDS))
        if not kept:
            return None
        at, text = kept
        try:
            report = json.loads(text)
            json.dumps(report, allow_nan=False)  # as it is part of an answer
        except (ValueError, RecursionError):  # spoilt by a hand
            return None
        return (at, report) if isinstance(report, dict) else None


def tried(row: Attempt, at: datetime, sweep: str) -> Attempt:
    """Return a row with one more attempt, made at `at` by this sweep (empty: over HTTP)."""
    return replace(
        row,
        count=min(row.count + 1, MOST_COUNT),
        last=at.astimezone(UTC),
        settled=False,
        deferred=False,
        outcome="sent",
        refusal="",
        sweep=sweep,
    )


def undone(claim: Claim) -> Change:
    """Return what gives a claim back; what others promised or told in its very moment stays.

    A claim whose answer was lost is known by reading, and what came to the row since is read too.
    """
    before, now = claim.before, claim.now
    row = replace(
        before, deferred=before.deferred or now.deferred, told=before.told | now.told, etag=now.etag
    )
    if before.etag or replace(row, etag="") != before:
        return Change(row)
    return Change(now, remove=True)


def _unwritten(what: str, written: Sequence[Written]) -> int:
    """Log and return how many could not be written."""
    errors = [one for one in written if isinstance(one, AzureError)]
    if errors:
        error = type(errors[0]).__name__
        event(WARNING, "attempts not written", what=what, count=len(errors), error=error)
    return len(errors)


def is_same_try(stored: Attempt, wanted: Attempt) -> bool:
    """Tell whether a stored row is this sweep's own claim, whatever came to it since."""
    return (stored.sweep, stored.last) == (wanted.sweep, wanted.last)


def printable(text: str) -> str:
    """Return a text as a table can keep and a person can read it, cut short."""
    return "".join(one if one.isprintable() else " " for one in text[:LONGEST_REFUSAL])


def fitting(report: dict[str, Any]) -> str:
    """Return a report as JSON; its longest values are left out until a column can hold it."""
    kept = dict(report)
    while len(text := json.dumps(kept, default=str)) > LONGEST_REPORT:
        del kept[max(kept, key=lambda name: len(json.dumps(kept[name], default=str)))]
    return text


class Memory:
    """Rows for as long as this process lives; safe to use from several threads."""

    def __init__(self) -> None:
        """Start with nothing tried."""
        self._lock = threading.Lock()
        self._rows: dict[str, Attempt] = {}
        self._version = 0
        self._report: tuple[datetime, str] | None = None

    def rows(self, _: Deadline) -> list[Attempt]:
        """Return a copy of every row."""
        with self._lock:
            return list(self._rows.values())

    def row(self, request_id: str, _: Deadline) -> Attempt | None:
        """Return one row."""
        return self._rows.get(request_id)

    def write(self, changes: Sequence[Change], *_: object) -> list[Written]:
        """Carry out each change whose version is still the stored one. No answer is ever lost."""
        with self._lock:
            return [self._write(change) for change in changes]

    def _write(self, change: Change) -> Attempt | None:
        row = change.row
        stored = self._rows.get(row.request_id)
        if (stored.etag if stored else "") != row.etag:
            return None
        if change.remove:
            del self._rows[row.request_id]
            return row
        self._version += 1
        self._rows[row.request_id] = replace(row, etag=str(self._version))
        return self._rows[row.request_id]

    def check(self, _: Deadline) -> None:
        """Do nothing: memory may always be written."""

    def keep_report(self, at: datetime, text: str, _: Deadline) -> None:
        """Keep it in place of the one before."""
        self._report = (at, text)

    def report(self, _: Deadline) -> tuple[datetime, str] | None:
        """Return the last one."""
        return self._report


_making = threading.Lock()


def shared() -> Attempts:
    """Return this process's attempts: in the table where a storage account is configured.

    Raises SettingsError; then nothing is kept, and the next call reads the settings again.
    """
    with _making:
        return _made()


@functools.cache
def _made() -> Attempts:
    return Attempts(store(app_settings.current()))


def store(settings: Settings) -> Table | Memory:
    """Return the store that the settings name. Raises SettingsError."""
    client = table_client(settings)
    if client:
        return Table(client)
    event(
        WARNING,
        "attempts are kept in memory",
        detail="set AzureWebJobsStorage or AzureWebJobsStorage__tableServiceUri to keep them over "
        "restarts and to share them between instances",
    )
    return Memory()


def table_client(settings: Settings) -> TableClient | None:
    """Return a client with the managed identity, else with the connection string's key.

    None where no storage is configured. Raises SettingsError.
    """
    session = requests.Session()
    for scheme in ("https://", "http://"):
        session.mount(scheme, HTTPAdapter(pool_maxsize=CONNECTIONS))
    if settings.storage_table_uri:
        credential = ManagedIdentityCredential(
            client_id=settings.storage_client_id,
            connection_timeout=IDENTITY_SECONDS,
            read_timeout=IDENTITY_SECONDS,
        )
        return TableClient(
            settings.storage_table_uri,
            settings.attempts_table,
            credential=credential,
            session=session,
        )
    if settings.storage_connection:
        try:
            return TableClient.from_connection_string(
                settings.storage_connection, settings.attempts_table, session=session
            )
        except Exception:  # in many forms, whose words may have the key in them
            problem = "AzureWebJobsStorage names no table service that has an address"
            raise app_settings.SettingsError([problem]) from None
    return None
