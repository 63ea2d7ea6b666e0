"""What was tried when: the only thing that Redeliver remembers between sweeps.

Not for: what has failed (Graph is asked each time) or what to do about it (plan.py).
Losing all of it costs a cool-down, never a request.

`Attempts` has the rules; a store below it has the rows, in a table or in this process's memory.
Every write names the version that it replaces, so that of two writers one is told that it lost.
"""

from __future__ import annotations

import functools
import json
import logging
import queue
import threading
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.data.tables import TableClient
from azure.identity import ManagedIdentityCredential

import settings as app_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from azure.data.tables import TableEntity

    from settings import Settings

NEVER = datetime.min.replace(tzinfo=UTC)
PARTITION = "attempts"  # one partition, since a transaction cannot span two
TRANSACTION = 100  # rows; the most that Table Storage takes
UNRECORDED = 1000  # attempts over HTTP that may wait to be written; more are dropped
PATIENT: dict[str, Any] = {"retry_total": 3, "connection_timeout": 5, "read_timeout": 20}
QUICK: dict[str, Any] = {
    "retry_total": 0,
    "connection_timeout": 3,
    "read_timeout": 3,
}  # while a caller waits

log = logging.getLogger("redeliver")


@dataclass(frozen=True, slots=True)
class Attempt:
    """How often and when one request was tried.

    `count` attempts so far, the `last` one at that time (UTC); `failed`: when the delivery failed
    that was tried first, from which the window may count; `settled`: read back as ended since;
    `deferred`: a caller was promised that the next sweep takes it without waiting for its
    cool-down; `etag`: the stored version this was read from, empty when nothing is stored yet.
    """

    request_id: str
    count: int = 0
    last: datetime = NEVER
    failed: datetime | None = None
    settled: bool = False
    deferred: bool = False
    etag: str = ""


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to try one request once: what was stored before, and what is stored now."""

    before: Attempt
    now: Attempt


class Store(Protocol):
    """Rows, each written only if it is still stored in the version that its writer has read."""

    def rows(self) -> Iterable[Attempt]:
        """Return every row."""

    def row(self, request_id: str) -> Attempt | None:
        """Return one row, quickly or not at all: a caller waits."""

    def write(self, rows: Sequence[Attempt]) -> list[Attempt | None]:
        """Store each; return them as stored, None where another version is stored by now."""

    def remove(self, rows: Sequence[Attempt]) -> None:
        """Remove each that is still stored in this version."""


class Attempts:
    """Attempts at requests. Errors of the store pass through."""

    def __init__(self, store: Store) -> None:
        """Keep them in this store."""
        self._store = store

    def read_all(self) -> dict[str, Attempt]:
        """Return every attempt by request id."""
        return {row.request_id: row for row in self._store.rows()}

    def read(self, request_id: str) -> Attempt | None:
        """Return the attempts at one request, None when there were none."""
        return self._store.row(request_id)

    def claim(self, wanted: Sequence[Attempt], at: datetime) -> list[Claim]:
        """Count one attempt at `at` for each, if nobody changed it since it was read.

        Those that somebody else changed meanwhile are left out of the answer; so is, at worst, one
        of our own whose answer was lost. Either way it cools down, and nobody tries it twice.
        """
        tried = [
            replace(one, count=one.count + 1, last=at, settled=False, deferred=False)
            for one in wanted
        ]
        stored = self._store.write(tried)
        return [Claim(b, n) for b, n in zip(wanted, stored, strict=True) if n]

    def give_back(self, claims: Iterable[Claim]) -> None:
        """Undo claims whose request was never sent, or throttled; later changes are kept."""
        claims = list(claims)
        restored = [replace(c.before, etag=c.now.etag) for c in claims if c.before.etag]
        self._store.write(restored)
        self._store.remove([claim.now for claim in claims if not claim.before.etag])

    def record(self, request_id: str, at: datetime) -> None:
        """Count one attempt that was made without a claim (over HTTP)."""
        while True:  # somebody wins each round, so this ends
            row = self._store.row(request_id) or Attempt(request_id)
            tried = replace(row, count=row.count + 1, last=at, settled=False, deferred=False)
            if self._store.write([tried])[0]:
                return

    def defer(self, request_id: str) -> None:
        """Have the next sweep take this request without waiting for its cool-down."""
        while True:
            row = self._store.row(request_id) or Attempt(request_id)
            if row.deferred or self._store.write([replace(row, deferred=True)])[0]:
                return

    def settle(self, ended: Iterable[Attempt]) -> None:
        """Mark requests as ended; they stay until their cool-down is over."""
        self._store.write([replace(one, settled=True) for one in ended])

    def forget(self, over: Iterable[Attempt]) -> None:
        """Remove what is stored of these requests, unless it changed since."""
        self._store.remove(list(over))


class Memory:
    """Rows for as long as this process lives; safe to use from several threads."""

    def __init__(self) -> None:
        """Start with nothing tried."""
        self._lock = threading.Lock()
        self._rows: dict[str, Attempt] = {}
        self._version = 0

    def rows(self) -> list[Attempt]:
        """Return a copy of every row."""
        with self._lock:
            return list(self._rows.values())

    def row(self, request_id: str) -> Attempt | None:
        """Return one row."""
        return self._rows.get(request_id)

    def write(self, rows: Sequence[Attempt]) -> list[Attempt | None]:
        """Store each whose version is still the stored one, under a new version."""
        with self._lock:
            return [self._write(row) for row in rows]

    def _write(self, row: Attempt) -> Attempt | None:
        if not self._is_current(row):
            return None
        self._version += 1
        self._rows[row.request_id] = replace(row, etag=str(self._version))
        return self._rows[row.request_id]

    def _is_current(self, row: Attempt) -> bool:
        stored = self._rows.get(row.request_id)
        return (stored.etag if stored else "") == row.etag

    def remove(self, rows: Sequence[Attempt]) -> None:
        """Remove each whose version is still the stored one."""
        with self._lock:
            for row in rows:
                if row.etag and self._is_current(row):
                    del self._rows[row.request_id]


class Table:
    """Rows in Table Storage, which any number of instances may share.

    https://learn.microsoft.com/rest/api/storageservices/performing-entity-group-transactions:
    at most 100 rows in a transaction, all of one partition, all or nothing.
    """

    def __init__(self, client: TableClient) -> None:
        """Use the table of this client; it is created when it is missing."""
        self._client = client

    def rows(self) -> Iterator[Attempt]:
        """Read every row, a thousand at a time."""
        query = f"PartitionKey eq '{PARTITION}'"
        try:
            for entity in self._client.query_entities(query):
                yield _attempt(entity)
        except ResourceNotFoundError:
            self._create()

    def row(self, request_id: str) -> Attempt | None:
        """Read one row, once and with short time-outs."""
        try:
            return _attempt(self._client.get_entity(PARTITION, request_id, **QUICK))
        except ResourceNotFoundError:
            return None

    def write(self, rows: Sequence[Attempt]) -> list[Attempt | None]:
        """Store each whose version is still the stored one, in transactions."""
        versions = self._in_transactions([self._operation(row) for row in rows])
        return [
            replace(row, etag=version) if version else None
            for row, version in zip(rows, versions, strict=True)
        ]

    def remove(self, rows: Sequence[Attempt]) -> None:
        """Remove each whose version is still the stored one, in transactions."""
        self._in_transactions([("delete", *self._operation(row)[1:]) for row in rows if row.etag])

    def _operation(self, row: Attempt) -> tuple[Any, ...]:
        if not row.etag:
            return ("create", _entity(row))
        return (
            "update",
            _entity(row),
            {"etag": row.etag, "match_condition": MatchConditions.IfNotModified},
        )

    def _in_transactions(self, operations: list[tuple[Any, ...]]) -> list[str | None]:
        """Carry out all; return each one's new version, None where another version was stored."""
        versions: list[str | None] = []
        for start in range(0, len(operations), TRANSACTION):
            versions += self._commit(operations[start : start + TRANSACTION])
        return versions

    def _commit(self, operations: list[tuple[Any, ...]]) -> list[str | None]:
        """Commit in one transaction; one that is refused is halved until only the culprit is out.

        Table Storage names the first culprit only, and there may be as many as operations.
        """
        try:
            done = self._client.submit_transaction(operations)
        except HttpResponseError as error:
            if error.status_code not in {404, 409, 412}:
                raise
            if error.status_code == 404 and self._create():
                return self._commit(operations)
            if len(operations) == 1:
                return [None]
            half = len(operations) // 2
            return self._commit(operations[:half]) + self._commit(operations[half:])
        return [str(one.get("etag") or "") for one in done]

    def _create(self) -> bool:
        """Create the table; return whether it was missing."""
        try:
            self._client.create_table()
        except ResourceExistsError:
            return False
        log.info(json.dumps({"event": "table created", "table": self._client.table_name}))
        return True


def _entity(row: Attempt) -> dict[str, Any]:
    """Return a row as Table Storage keeps it, which has no time before the year 1601."""
    entity = {
        "PartitionKey": PARTITION,
        "RowKey": row.request_id,
        "Count": row.count,
        "Settled": row.settled,
        "Deferred": row.deferred,
    }
    times = {"Last": row.last if row.last > NEVER else None, "Failed": row.failed}
    return entity | {name: at for name, at in times.items() if at}


def _attempt(entity: TableEntity) -> Attempt:
    """Return an entity as a row; what a hand has spoilt counts as never tried, and is replaced."""
    count, last, failed = (entity.get(name) for name in ("Count", "Last", "Failed"))
    return Attempt(
        entity["RowKey"],
        count if isinstance(count, int) and count >= 0 else 0,
        last.astimezone(UTC) if isinstance(last, datetime) else NEVER,
        failed.astimezone(UTC) if isinstance(failed, datetime) else None,
        entity.get("Settled") is True,
        entity.get("Deferred") is True,
        str(entity.metadata["etag"]),
    )


class Recorder:
    """Writes down attempts made over HTTP, in a thread of its own: a lost table delays nobody."""

    def __init__(self, attempts: Callable[[], Attempts]) -> None:
        """Take what gives the attempts; it is asked in the thread."""
        self._attempts = attempts
        self._waiting: queue.Queue[tuple[str, datetime]] = queue.Queue(UNRECORDED)
        self._thread = threading.Thread(target=self._run, name="attempts", daemon=True)
        self._starting = threading.Lock()

    def record(self, request_id: str, at: datetime) -> None:
        """Have one attempt written soon; return at once."""
        with self._starting:
            if not self._thread.is_alive():
                self._thread.start()
        try:
            self._waiting.put_nowait((request_id, at))
        except queue.Full:
            self._unrecorded(request_id, "too many are waiting")

    def _run(self) -> None:
        while True:
            request_id, at = self._waiting.get()
            try:
                self._attempts().record(request_id, at)
            except Exception as error:  # whatever it is, the reprocess itself went well
                self._unrecorded(request_id, type(error).__name__)

    def _unrecorded(self, request_id: str, why: str) -> None:
        line = {"event": "attempt not recorded", "requestId": request_id, "error": why}
        log.warning(json.dumps(line))


_making = threading.Lock()


def shared() -> Attempts:
    """Return this process's attempts: in the table where a storage account is configured.

    Raises SettingsError; then nothing is kept.
    """
    with _making:
        return _made()


@functools.cache
def _made() -> Attempts:
    return Attempts(store(app_settings.current()))


def store(settings: Settings) -> Store:
    """Return the store that the settings name."""
    client = _table_client(settings)
    if client:
        return Table(client)
    log.warning(
        json.dumps(
            {
                "event": "attempts are kept in memory",
                "detail": "set AzureWebJobsStorage or AzureWebJobsStorage__tableServiceUri to "
                "keep them over restarts and to share them between instances",
            }
        )
    )
    return Memory()


def _table_client(settings: Settings) -> TableClient | None:
    """Return a client with the connection string's key, or with the managed identity."""
    if settings.storage_connection:
        return TableClient.from_connection_string(
            settings.storage_connection, settings.attempts_table, **PATIENT
        )
    if not settings.storage_table_uri:
        return None
    client_id = settings.storage_client_id or settings.azure_client_id
    credential = ManagedIdentityCredential(client_id=client_id)
    return TableClient(
        settings.storage_table_uri, settings.attempts_table, credential=credential, **PATIENT
    )


recorder = Recorder(shared)
