"""Rows of attempt records: in Table Storage, or in this process's memory.

Not for: what a record means (attempts.py), who may change it when (attempt_store.py), how Table
Storage is reached and what its errors mean (table_client.py).

Every write names the version (etag) that it replaces, so of two writers one learns that it lost. An
updating write merges: it writes every column but the history slots, of which it writes one at most,
since sweeps do not read them. A merge cannot remove a column, so a time that is none is stored as
an empty text.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import threading
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from azure.core import MatchConditions
from azure.core.exceptions import (
    AzureError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
)
from azure.data.tables import UpdateMode

from attempts import NEVER, SLOTS, AttemptRecord, Change, Entry, Outcome, blank
from events import INFO, WARNING, event
from settings import is_guid
from table_client import asking, error_code, is_changed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from azure.data.tables import TableClient, TableEntity

    from deadline import Deadline

ATTEMPTS = "attempts"  # one partition, since a transaction cannot span two
REPORT = {"PartitionKey": "sweeps", "RowKey": "last"}
CHECK = {"PartitionKey": "diagnosis", "RowKey": "writable"}
# https://learn.microsoft.com/rest/api/storageservices/performing-entity-group-transactions
TRANSACTION = 100  # rows at most, of one partition, all or nothing
RETRIES = 3
# Seconds that one call may take while a caller waits; the first call of a process has to get a
# token and a connection.
QUICK_SECONDS = 1.0
FIRST_QUICK_SECONDS = 3.0
MAX_COUNT = 1_000_000  # of attempts; whoever wrote more was not this app
FIRST_YEAR = 2015  # times before it stand for "none", such as 0001-01-01

# The record as it is stored now; an error: it may be stored or not; None: another version is
# stored, or the row is gone.
type Written = AttemptRecord | AzureError | None
type Rows = Table | InMemoryRows  # they raise AzureError; `write` returns it, one for each change


class Table:
    """Rows in Table Storage, which threads and instances may share."""

    def __init__(self, client: TableClient, *, quick: bool = False) -> None:
        """Use this table, and create it with the first write when it is missing.

        `quick`: an HTTP caller waits, so each call is short and sent once. Else azure-core repeats
        what it cannot reach, hear or read, writes too, since each names its version: where the
        first answer was lost, the second one says that the row was changed.
        """
        self._client = client
        self._quick = quick
        self._seconds = FIRST_QUICK_SECONDS
        self._options: dict[str, Any] = {
            "retry_total": 0 if quick else RETRIES,
            "retry_backoff_factor": 0.3,
            "retry_on_methods": {"GET", "POST", "PUT", "PATCH", "DELETE"},
        }

    def read_all(self, deadline: Deadline, *, history: bool = False) -> list[AttemptRecord]:
        """Return every record, a thousand at a time; its history where it is asked for."""
        query = f"PartitionKey eq '{ATTEMPTS}'"
        # else every column but the history slots
        select = None if history else list(entity_of(Change(blank(""))))
        try:
            with self._asking(deadline):
                found = list(self._client.query_entities(query, select=select, **self._options))
        except ResourceNotFoundError:
            return []
        return [record_of(entity) for entity in found if is_guid(entity["RowKey"])]

    def read(self, request_id: str, deadline: Deadline) -> AttemptRecord | None:
        """Return one record with its history in the order of the slots, None without a row."""
        entity = self._get(ATTEMPTS, request_id, deadline)
        return record_of(entity) if entity else None

    def write(self, changes: Sequence[Change], deadline: Deadline) -> list[Written]:
        """Carry out each change whose version is the stored one.

        In transactions, and row by row where one failed: that tells which row was changed.
        """
        parts = itertools.batched(changes, TRANSACTION, strict=False)
        return [one for part in parts for one in self._commit(part, deadline)]

    def check_writable(self, deadline: Deadline) -> None:
        """Prove that rows may be written: write one that means nothing, and delete it."""
        self._upsert(CHECK, deadline)
        with self._asking(deadline):
            self._client.delete_entity(CHECK, **self._options)

    def keep_report(self, at: datetime, text: str, deadline: Deadline) -> None:
        """Replace the report of the last sweep, which has a row of its own."""
        self._upsert(REPORT | {"At": at, "Report": text}, deadline)

    def report(self, deadline: Deadline) -> tuple[datetime, str] | None:
        """Return when the last sweep ended, and its report; None also where they do not fit."""
        entity = self._get(REPORT["PartitionKey"], REPORT["RowKey"], deadline)
        at, text = (entity.get("At"), entity.get("Report")) if entity else (None, None)
        return (_utc(at), text) if isinstance(at, datetime) and isinstance(text, str) else None

    def _get(self, partition: str, key: str, deadline: Deadline) -> TableEntity | None:
        try:
            with self._asking(deadline):
                return self._client.get_entity(partition, key, **self._options)
        except ResourceNotFoundError:
            return None

    def _commit(self, changes: Sequence[Change], deadline: Deadline) -> list[Written]:
        if len(changes) > 1:
            with contextlib.suppress(AzureError), self._asking(deadline):
                operations = [operation(change) for change in changes]
                done = self._creating(self._client.submit_transaction, operations)
                pairs = zip(changes, done, strict=True)
                return [_stored(change, metadata) for change, metadata in pairs]
        written: list[Written] = []
        for change in changes:
            written.append(self._write_one(change, deadline))
            if isinstance(written[-1], AzureError):  # it concerns the table: ask no more
                break
        return written + [written[-1]] * (len(changes) - len(written))

    def _write_one(self, change: Change, deadline: Deadline) -> Written:
        kind, entity, version = operation(change)
        send = getattr(self._client, f"{kind}_entity")
        try:
            with self._asking(deadline):
                return _stored(change, self._creating(send, entity, **version) or {})
        except AzureError as error:
            return None if is_changed(error) else error

    def _upsert(self, entity: Mapping[str, Any], deadline: Deadline) -> None:
        with self._asking(deadline):
            self._creating(self._client.upsert_entity, entity, mode=UpdateMode.REPLACE)

    def _creating[T](self, write: Callable[..., T], entity: object, **options: Any) -> T:  # noqa: ANN401
        """Write; where the table is missing, create it and write again."""
        options |= self._options
        try:
            return write(entity, **options)
        except HttpResponseError as error:
            if error_code(error) != "TableNotFound":
                raise
        with contextlib.suppress(ResourceExistsError):  # another instance was quicker
            self._client.create_table(**self._options)
            event(INFO, "table created", table=self._client.table_name)
        return write(entity, **options)

    @contextlib.contextmanager
    def _asking(self, deadline: Deadline) -> Iterator[None]:
        try:
            with asking(deadline.within(self._seconds) if self._quick else deadline):
                yield
        finally:
            self._seconds = QUICK_SECONDS


class InMemoryRows:
    """Rows for as long as this process lives; safe to use from several threads."""

    def __init__(self) -> None:
        """Start without any."""
        self._lock = threading.Lock()
        self._versions = itertools.count(1)
        self._rows: dict[str, tuple[AttemptRecord, dict[int, Entry]]] = {}  # with its slots
        self._report: tuple[datetime, str] | None = None

    def read_all(self, _deadline: Deadline, *, history: bool = True) -> list[AttemptRecord]:  # noqa: ARG002
        """Return every record, always with its history."""
        with self._lock:
            return [record for record, _ in self._rows.values()]

    def read(self, request_id: str, _deadline: Deadline) -> AttemptRecord | None:
        """Return one record."""
        record, _ = self._rows.get(request_id, (None, {}))
        return record

    def write(self, changes: Sequence[Change], _deadline: Deadline) -> list[Written]:
        """Carry out each change whose version is the stored one."""
        with self._lock:
            return [self._write_one(change) for change in changes]

    def _write_one(self, change: Change) -> AttemptRecord | None:
        record = change.record
        stored, slots = self._rows.get(record.request_id, (None, {}))
        if (stored.etag if stored else "") != record.etag:
            return None
        if change.delete:
            del self._rows[record.request_id]
            return record
        if change.entry:
            slots |= {_slot(change): change.entry}
        history = tuple(slots[number] for number in sorted(slots) if slots[number].at > NEVER)
        written = replace(record, etag=str(next(self._versions)), history=history)
        self._rows[record.request_id] = written, slots
        return written

    def check_writable(self, _deadline: Deadline) -> None:
        """Do nothing: memory may always be written."""

    def keep_report(self, at: datetime, text: str, _deadline: Deadline) -> None:
        """Replace the report."""
        self._report = (at, text)

    def report(self, _deadline: Deadline) -> tuple[datetime, str] | None:
        """Return the report."""
        return self._report


# -- columns --


def operation(change: Change) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Return a change as azure-data-tables has it in a transaction: kind, entity, options."""
    version = {"etag": change.record.etag, "match_condition": MatchConditions.IfNotModified}
    if change.delete:
        return "delete", {"PartitionKey": ATTEMPTS, "RowKey": change.record.request_id}, version
    if not change.record.etag:
        return "create", entity_of(change), {}
    return "update", entity_of(change), version | {"mode": UpdateMode.MERGE}


def entity_of(change: Change) -> dict[str, Any]:
    """Return what a change writes: every column, and one history slot at most."""
    record = change.record
    entity = {
        "PartitionKey": ATTEMPTS,
        "RowKey": record.request_id,
        "ClaimId": record.claim_id,
        "ClaimedAt": _cell(record.claimed_at),
        "Outcome": record.outcome.value,
        "AcceptedAt": _cell(record.accepted_at),
        "Count": record.count,
        "Tries": record.tries,
        "LastAttemptAt": _cell(record.last_attempt_at),
        "FirstFailedAt": _cell(record.first_failed_at),
        "DeferredAt": _cell(record.deferred_at),
        "Completed": record.completed,
        "Notified": ",".join(sorted(record.notified_reasons)),
    }
    return entity | ({f"History{_slot(change)}": _entry_text(change.entry)} if change.entry else {})


def record_of(entity: TableEntity) -> AttemptRecord:
    """Return a row as a record; as never tried, with a log line, when its values do not fit."""
    request_id, etag = entity["RowKey"], str(entity.metadata["etag"])
    try:
        return AttemptRecord(
            request_id=request_id,
            claim_id=_value(entity, "ClaimId", ""),
            claimed_at=_time(entity, "ClaimedAt") or NEVER,
            outcome=Outcome(_value(entity, "Outcome", "")),
            accepted_at=_time(entity, "AcceptedAt"),
            count=_count(entity, "Count"),
            tries=_count(entity, "Tries"),
            last_attempt_at=_time(entity, "LastAttemptAt") or NEVER,
            first_failed_at=_time(entity, "FirstFailedAt"),
            deferred_at=_time(entity, "DeferredAt"),
            completed=_value(entity, "Completed", default=False),
            notified_reasons=frozenset(filter(None, _value(entity, "Notified", "").split(","))),
            history=_history(entity),
            etag=etag,
        )
    except ValueError as error:
        event(WARNING, "attempt record ignored", requestId=request_id, detail=str(error))
        return AttemptRecord(request_id, etag=etag)


def _history(entity: TableEntity) -> tuple[Entry, ...]:
    """Return the entries of the slots that were read; one that does not fit is left out."""
    entries = []
    for number in range(SLOTS):
        with contextlib.suppress(ValueError, TypeError, KeyError, RecursionError):
            values = json.loads(entity.get(f"History{number}") or "{}")
            at = _utc(datetime.fromisoformat(values["at"]))
            entries.append(
                Entry(at, str(values["by"]), Outcome(values["outcome"]), str(values["words"]))
            )
    return tuple(entries)


def _entry_text(entry: Entry) -> str:
    if entry.at == NEVER:
        return ""
    values = {"at": entry.at.isoformat(), "by": entry.by, "outcome": entry.outcome}
    return json.dumps(values | {"words": entry.words})


def _slot(change: Change) -> int:
    return change.record.tries % SLOTS if change.slot is None else change.slot


def _value[T: (str, bool, int)](entity: TableEntity, column: str, default: T) -> T:
    value = entity.get(column, default)
    if type(value) is not type(default):
        raise ValueError(f"{column} is of type {type(value).__name__}")
    return value


def _count(entity: TableEntity, column: str) -> int:
    count = _value(entity, column, 0)
    if not 0 <= count <= MAX_COUNT:
        raise ValueError(f"{column} is {count}")
    return count


def _time(entity: TableEntity, column: str) -> datetime | None:
    value = entity.get(column, "")
    if not isinstance(value, datetime) and value != "":
        raise ValueError(f"{column} is no time")
    return _utc(value) if value and value.year >= FIRST_YEAR else None


def _utc(value: datetime) -> datetime:
    """Return a stored time as a plain one: azure-data-tables' own class is written back as read."""
    return datetime.combine(value.date(), value.time(), UTC)


def _cell(at: datetime | None) -> datetime | str:
    return "" if at is None or at == NEVER else at


def _stored(change: Change, metadata: Mapping[str, Any]) -> AttemptRecord:
    return change.record if change.delete else replace(change.record, etag=metadata["etag"])
