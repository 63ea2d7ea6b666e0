"""Rows about attempts, and how they are kept in Table Storage.

Not for: what the rows mean and who may change them when (attempts.py).

Every write names the version that it replaces, so that of two writers one is told that it lost.
An answer that is lost is settled here as well: the write is sent again, and when that is refused,
the rows are read. A row that then says what was wanted was written by the first try.
"""

from __future__ import annotations

import contextlib
import functools
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from azure.core import MatchConditions
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
)
from azure.data.tables import TableTransactionError, UpdateMode

from deadline import GRACE, TookTooLong, bounded
from events import INFO, event
from settings import is_guid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from azure.data.tables import TableClient, TableEntity

    from deadline import Deadline

NEVER = datetime.min.replace(tzinfo=UTC)
OUTCOMES = ("sent", "refused", "denied")
MOST_COUNT = 1_000_000  # attempts; a higher count is a hand's mistake
ATTEMPTS = "attempts"  # one partition, since a transaction cannot span two
REPORT = {"PartitionKey": "sweeps", "RowKey": "last"}
CHECK = {"PartitionKey": "diagnosis", "RowKey": "writable"}
KEYS = ["PartitionKey", "RowKey", "Timestamp"]
LONGEST_TEXT = 1000  # characters; a longer one is a hand's, and could make a transaction too large
FIRST_YEAR = 1601  # of Table Storage
TRANSACTION = 100  # rows; the most that Table Storage takes
PAUSES = (0.1, 0.5, 2.0)  # seconds before each further try
CONNECT_SECONDS = 5.0  # longest wait for a connection
SILENCE = 10.0  # longest wait for the next byte of an answer
PASSING = frozenset({408, 429, 500, 502, 503, 504})  # statuses that are worth another try


@dataclass(frozen=True, slots=True)
class Attempt:
    """What is stored of one request: how often and when it was tried, and what came of it.

    `count` attempts so far, the `last` one at that time (UTC). `failed`: when the delivery failed
    that was tried first; the window may count from there. `settled`: it has been read as ended
    since. `deferred`: a caller was promised that the next sweep takes it. `outcome`: "sent" (Graph
    took it, or it is not known), "refused" or "denied", with Graph's words in `refusal`. `sweep`:
    the id of the sweep that tried last, empty when that was a call over HTTP. `told`: the reasons
    for which a notice of it was sent. `etag`: the stored version that this was read from, empty
    when nothing is stored yet.
    """

    request_id: str
    count: int = 0
    last: datetime = NEVER
    failed: datetime | None = None
    settled: bool = False
    deferred: bool = False
    outcome: str = ""
    refusal: str = ""
    sweep: str = ""
    told: frozenset[str] = frozenset()
    etag: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """One row to store or to remove, if its version `row.etag` is the stored one by then."""

    row: Attempt
    remove: bool = False


# What became of a change: the row as it is stored now; an error: it may have been carried out or
# not; None: another version was stored, nothing was done.
type Written = Attempt | AzureError | None

# Tells whether a stored row (the first) is what a write with a lost answer wanted (the second).
type IsWanted = Callable[[Attempt, Attempt], bool]


def is_equal(stored: Attempt, wanted: Attempt) -> bool:
    """Tell whether two rows say the same, in whatever versions."""
    return replace(stored, etag="") == replace(wanted, etag="")


class Table:
    """Rows in Table Storage, which any number of threads and instances may share.

    https://learn.microsoft.com/rest/api/storageservices/performing-entity-group-transactions:
    at most 100 rows in a transaction, all of one partition, all or nothing.
    """

    def __init__(self, client: TableClient, sleep: Callable[[float], None] = time.sleep) -> None:
        """Use the table of this client; it is created by the first write when it is missing."""
        self._client = client
        self._sleep = sleep

    def rows(self, deadline: Deadline) -> Iterator[Attempt]:
        """Read every row, a thousand at a time. Raises AzureError."""
        page = None
        while True:
            read = functools.partial(self._page, page)
            rows, page = self._ask(deadline, read)
            yield from rows
            if not page:
                return

    def row(self, request_id: str, deadline: Deadline) -> Attempt | None:
        """Read one row, None when there is none. Raises AzureError."""
        return self._ask(deadline, lambda options: self._get(request_id, options))

    def write(
        self, changes: Sequence[Change], deadline: Deadline, is_wanted: IsWanted = is_equal
    ) -> list[Written]:
        """Carry out all changes that can be, in transactions; say of each what became of it."""
        return [
            written
            for start in range(0, len(changes), TRANSACTION)
            for written in self._commit(changes[start : start + TRANSACTION], deadline, is_wanted)
        ]

    def check(self, deadline: Deadline) -> None:
        """Write a row that means nothing, and remove it. Raises AzureError."""
        self._ask(deadline, lambda options: self._upsert(CHECK, options))
        self._ask(deadline, lambda options: self._client.delete_entity(CHECK, **options))

    def keep_report(self, at: datetime, text: str, deadline: Deadline) -> None:
        """Keep the report of the last sweep in place of the one before. Raises AzureError."""
        entity = REPORT | {"At": at, "Report": text}
        self._ask(deadline, lambda options: self._upsert(entity, options))

    def report(self, deadline: Deadline) -> tuple[datetime, str] | None:
        """Return when the last sweep was and its report, None without one. Raises AzureError."""
        entity = self._ask(deadline, self._get_report)
        at, text = moment(entity.get("At")), entity.get("Report")
        return (at, text) if at and isinstance(text, str) else None

    # -- transactions --

    def _commit(
        self, changes: Sequence[Change], deadline: Deadline, is_wanted: IsWanted
    ) -> list[Written]:
        """Carry out changes in one transaction; say of each what became of it.

        One that is refused is halved until only the culprits are out: Table Storage names the
        first of them only, and there may be as many as changes.
        """
        if not changes:
            return []
        patience = Patience(deadline, self._sleep)
        try:
            versions = patience.ask(lambda options: self._submit(changes, options))
            if versions:
                pairs = zip(changes, versions, strict=True)
                return [replace(change.row, etag=version) for change, version in pairs]
            done = self._done(changes, deadline, is_wanted) if patience.repeated else {}
        except AzureError as error:
            return [error] * len(changes)
        if len(changes) == 1 and not done:
            return [None]
        rest = [change for change in changes if change.row.request_id not in done]
        half = len(rest) if done else len(rest) // 2
        written = [
            *self._commit(rest[:half], deadline, is_wanted),
            *self._commit(rest[half:], deadline, is_wanted),
        ]
        ids = [change.row.request_id for change in rest]
        by_id = done | dict(zip(ids, written, strict=True))
        return [by_id[change.row.request_id] for change in changes]

    def _submit(self, changes: Sequence[Change], options: Mapping[str, Any]) -> list[str] | None:
        """Send one transaction; return the new versions, None when a row was another version."""
        operations = [operation(change) for change in changes]
        try:
            done = self._creating(
                lambda: self._client.submit_transaction(operations, **options), options
            )
        except TableTransactionError as error:
            if error.status_code in {404, 409, 412} and not code(error).startswith("Table"):
                return None
            raise
        if len(done) != len(changes):
            raise AzureError(f"{len(changes)} changes were answered by {len(done)} parts")
        return [str(part.get("etag") or "") for part in done]

    def _done(
        self, changes: Sequence[Change], deadline: Deadline, is_wanted: IsWanted
    ) -> dict[str, Written]:
        """Return what stands as it was wanted, of a transaction that was sent more than once."""
        done: dict[str, Written] = {}
        for change in changes:
            stored = self.row(change.row.request_id, deadline)
            if change.remove and not stored:
                done[change.row.request_id] = change.row
            elif stored and not change.remove and is_wanted(stored, change.row):
                done[change.row.request_id] = stored
        return done

    # -- single operations --

    def _ask[T](self, deadline: Deadline, operation: Callable[[Mapping[str, Any]], T]) -> T:
        return Patience(deadline, self._sleep).ask(operation)

    def _page(
        self,
        page: Any,  # noqa: ANN401 - azure-data-tables' own token of a page, as the next one
        options: Mapping[str, Any],
    ) -> tuple[list[Attempt], Any]:
        """Read one page; return it, and what the next one is asked with."""
        try:
            entities, following = self._entities(page, options)
            return [attempt_of(entity) for entity in entities], following
        except ValueError:  # one row has a value that azure-data-tables cannot read
            entities, following = self._entities(page, {**options, "select": KEYS})
            rows = [self._get(entity["RowKey"], options) for entity in entities]
            return [row for row in rows if row], following

    def _entities(
        self,
        page: Any,  # noqa: ANN401
        options: Mapping[str, Any],
    ) -> tuple[list[TableEntity], Any]:
        query = f"PartitionKey eq '{ATTEMPTS}'"
        pages: Any = self._client.query_entities(query, **options).by_page(page)
        try:
            entities = list(next(pages, ()))
        except ResourceNotFoundError as error:
            if code(error) != "TableNotFound":
                raise
            return [], None
        return [one for one in entities if is_guid(one["RowKey"])], pages.continuation_token

    def _get(self, request_id: str, options: Mapping[str, Any]) -> Attempt | None:
        try:
            return attempt_of(self._client.get_entity(ATTEMPTS, request_id, **options))
        except ResourceNotFoundError:
            return None
        except ValueError:  # as above; without its values it counts as never tried
            keys = self._client.get_entity(ATTEMPTS, request_id, select=KEYS, **options)
            return attempt_of(keys)

    def _get_report(self, options: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            return self._client.get_entity(REPORT["PartitionKey"], REPORT["RowKey"], **options)
        except (ResourceNotFoundError, ValueError):
            return {}

    def _upsert(self, entity: Mapping[str, Any], options: Mapping[str, Any]) -> None:
        self._creating(
            lambda: self._client.upsert_entity(entity, UpdateMode.REPLACE, **options), options
        )

    def _creating[T](self, write: Callable[[], T], options: Mapping[str, Any]) -> T:
        """Write; where there is no table, create it and write again."""
        try:
            return write()
        except HttpResponseError as error:
            if code(error) != "TableNotFound":
                raise
        with contextlib.suppress(ResourceExistsError):  # somebody else was quicker
            self._client.create_table(**options)
            event(INFO, "table created", table=self._client.table_name)
        return write()


class Patience:
    """Asks again while the table fails for a reason that may pass.

    azure-data-tables does so too, but not for a transaction whose connection broke, and not within
    a deadline. So that is switched off.
    """

    def __init__(self, deadline: Deadline, sleep: Callable[[float], None]) -> None:
        """Nothing is asked when the deadline is over."""
        self._deadline = deadline
        self._sleep = sleep
        self.repeated = False  # whether an earlier try may have been carried out

    def ask[T](self, operation: Callable[[Mapping[str, Any]], T]) -> T:
        """Return what the operation returns, called with time-outs. Raises AzureError."""
        for pause in PAUSES:
            try:
                return self._once(operation)
            except AzureError as error:
                wait = max(pause, told_wait(error))
                if not may_pass(error) or wait >= self._deadline.left():
                    raise
            self.repeated = True
            self._sleep(wait)
        return self._once(operation)

    def _once[T](self, operation: Callable[[Mapping[str, Any]], T]) -> T:
        options, left = self._options(), self._deadline.left()
        try:  # an answer that drips in keeps every time-out from ending it
            return bounded(left + GRACE, lambda: operation(options))
        except AzureError:
            raise
        except TookTooLong as error:
            raise AzureError("Table Storage gave no whole answer in time", error=error) from error
        except Exception as error:  # a garbled answer escapes azure-data-tables in many forms
            what = f"Table Storage answered what is of no use ({type(error).__name__})"
            raise AzureError(what, error=error) from error

    def _options(self) -> Mapping[str, Any]:
        left = self._deadline.left()
        if not left:
            raise AzureError("there was no time left to ask Table Storage")
        return {
            "retry_total": 0,
            "connection_timeout": min(CONNECT_SECONDS, left),
            "read_timeout": min(SILENCE, left),
        }


def may_pass(error: AzureError) -> bool:
    """Tell whether it may go better next time: not heard, busy, failing, or nonsense."""
    if isinstance(error, ClientAuthenticationError):
        return False
    status = getattr(error, "status_code", None)
    return status is None or status < 400 or status in PASSING


def told_wait(error: AzureError) -> float:
    """Return the seconds that the service told us to wait, 0 when it told nothing of use."""
    response = getattr(error, "response", None)
    told = response.headers.get("Retry-After", "") if response is not None else ""
    return float(told) if told.isascii() and told.isdigit() else 0.0


def code(error: AzureError) -> str:
    """Return Table Storage's name for an error, empty when it gave none."""
    return getattr(error, "error_code", None) or ""


def operation(change: Change) -> tuple[Any, ...]:
    """Return a change as azure-data-tables has it in a transaction."""
    row = change.row
    version = {"etag": row.etag, "match_condition": MatchConditions.IfNotModified}
    if change.remove:
        return ("delete", entity_of(row), version)
    if not row.etag:
        return ("create", entity_of(row))
    return ("update", entity_of(row), version | {"mode": UpdateMode.REPLACE})


def entity_of(row: Attempt) -> dict[str, Any]:
    """Return a row as Table Storage keeps it. What is not known or empty is left out."""
    entity = {
        "PartitionKey": ATTEMPTS,
        "RowKey": row.request_id,
        "Count": row.count,
        "Last": row.last if row.last > NEVER else None,
        "Failed": row.failed,
        "Settled": row.settled,
        "Deferred": row.deferred,
        "Outcome": row.outcome,
        "Refusal": row.refusal,
        "Sweep": row.sweep,
        "Told": ",".join(sorted(row.told)),
    }
    return {name: value for name, value in entity.items() if value not in {None, ""}}


def attempt_of(entity: TableEntity) -> Attempt:
    """Return an entity as a row; each value that a hand has spoilt counts as missing."""
    count, outcome = entity.get("Count"), entity.get("Outcome")
    refusal, sweep, told = (
        value if isinstance(value, str) and len(value) <= LONGEST_TEXT else ""
        for value in (entity.get(name) for name in ("Refusal", "Sweep", "Told"))
    )
    return Attempt(
        request_id=entity["RowKey"],
        count=count if type(count) is int and 0 <= count <= MOST_COUNT else 0,
        last=moment(entity.get("Last")) or NEVER,
        failed=moment(entity.get("Failed")),
        settled=entity.get("Settled") is True,
        deferred=entity.get("Deferred") is True,
        outcome=outcome if outcome in OUTCOMES else "",
        refusal=refusal,
        sweep=sweep,
        told=frozenset(filter(None, told.split(","))),
        etag=str(entity.metadata["etag"]),
    )


def moment(value: object) -> datetime | None:
    """Return a stored time as a plain one in UTC, None when it is none that may be stored."""
    if not isinstance(value, datetime) or value.year < FIRST_YEAR:
        return None
    return datetime.combine(value.date(), value.time(), UTC)
