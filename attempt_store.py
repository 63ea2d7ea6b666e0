"""Claims and outcomes over rows: who may send a request, and what is written down about it.

Not for: how a record changes (attempts.py), how a row is stored (table.py).

A write whose row was changed meanwhile, or whose answer was lost, is settled by reading the row:
where `claim_id` is ours, it is merged and written again; else what is stored stands.
"""

from __future__ import annotations

import functools
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from azure.core.exceptions import AzureError

import settings as app_settings
from attempts import (
    AttemptRecord,
    Change,
    Claim,
    Decision,
    Outcome,
    as_known,
    blank,
    claim_change,
    decision_change,
    is_young,
    renewal_change,
)
from events import WARNING, event
from table import InMemoryRows, Rows, Table, Written
from table_client import name_of, new_client, what_to_do

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from deadline import Deadline

    # What a row is to become, seen as it is stored now; or, without a change, the result.
    type Merge = Callable[[AttemptRecord | None], Change | Written]

__all__ = ["AttemptStore", "for_callers", "for_sweeps", "in_memory", "what_to_do"]

ROUNDS = 4  # of reading and writing a row that keeps being changed


class AttemptStore:
    """Attempt records of all requests; safe to use from several threads."""

    def __init__(self, rows: Rows, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        """Keep them in these rows."""
        self._rows = rows
        self._now = now

    # -- reading --

    def read(self, request_id: str, deadline: Deadline) -> AttemptRecord:
        """Return a record with its history as it is to be read now. Raises AzureError."""
        stored = self._rows.read(request_id, deadline) or blank(request_id)
        return as_known(stored, self._now())

    def read_all(self, deadline: Deadline, *, history: bool = False) -> dict[str, AttemptRecord]:
        """Return all records by request id, with `history` with theirs. Raises AzureError."""
        stored, now = self._rows.read_all(deadline, history=history), self._now()
        return {record.request_id: as_known(record, now) for record in stored}

    # -- claims --

    def claim(
        self, records: Sequence[AttemptRecord], by: str, deadline: Deadline
    ) -> list[Claim | AzureError | None]:
        """Claim each of these requests for one send; `by` goes into its history.

        None: it was changed since it was read. An error: as far as is known it is not claimed.
        """
        now = self._now()
        changes = [claim_change(record, app_settings.new_id(), by, now) for record in records]
        first = self._rows.write(changes, deadline)
        pairs = zip(changes, first, strict=True)
        merges = [functools.partial(_find_claim, change.record, one) for change, one in pairs]
        written = self._settle(records, first, merges, deadline)
        return [
            Claim(before, one, by)
            if isinstance(one, AttemptRecord)
            # That it was changed is no error, though it cannot be read.
            else (one if answer else None)
            for before, answer, one in zip(records, first, written, strict=True)
        ]

    def renew(self, claim: Claim, deadline: Deadline) -> Claim | None:
        """Renew a claim for another send; None: it is no longer ours. Raises AzureError."""
        claim_id, now = app_settings.new_id(), self._now()
        renewed = functools.partial(renewal_change, claim_id=claim_id, now=now)
        [written] = self._end([claim], [renewed], deadline)
        if isinstance(written, AzureError):
            raise written
        return replace(claim, record=written) if written else None

    def decide(self, decisions: Sequence[Decision], deadline: Deadline) -> list[Written]:
        """Write how claims ended; None: the row is gone, or the claim is no longer ours.

        What could not be written is logged in one line.
        """
        claims = [decision.claim for decision in decisions]
        ended = [functools.partial(_decision_change, decision) for decision in decisions]
        written = self._end(claims, ended, deadline)
        _log_errors("outcomes", written)
        return written

    def _end(
        self,
        claims: Sequence[Claim],
        change_of: Sequence[Callable[[Claim], Change]],
        deadline: Deadline,
    ) -> list[Written]:
        """Write a change of each claim; merge it where its row was changed since."""
        pairs = list(zip(claims, change_of, strict=True))
        first = self._rows.write([change(claim) for claim, change in pairs], deadline)
        merges = [functools.partial(_merge_claim, claim, change) for claim, change in pairs]
        return self._settle([claim.record for claim in claims], first, merges, deadline)

    # -- rows that were changed meanwhile, or whose answer was lost --

    def _settle(
        self,
        records: Sequence[AttemptRecord],
        first: Sequence[Written],
        merges: Sequence[Merge],
        deadline: Deadline,
    ) -> list[Written]:
        """Settle each row that was not written at first; once one cannot be read, no other."""
        written: list[Written] = []
        unread: AzureError | None = None
        for record, answer, merge in zip(records, first, merges, strict=True):
            if isinstance(answer, AttemptRecord) or unread:
                written.append(answer if isinstance(answer, AttemptRecord) else unread)
                continue
            try:
                written.append(self._merge(record.request_id, merge, deadline, answer))
            except AzureError as error:
                unread = error
                written.append(error)
        return written

    def _merge(
        self, request_id: str, merge: Merge, deadline: Deadline, error: AzureError | None = None
    ) -> Written:
        """Read a row and change it, until that is written. Raises AzureError of reading."""
        for _ in range(ROUNDS):
            change = merge(self._rows.read(request_id, deadline))
            if not isinstance(change, Change):
                return change
            [written] = self._rows.write([change], deadline)
            if isinstance(written, AttemptRecord):
                return written
            error = written or error
        return error or AzureError("The row of the request kept being changed.")

    # -- one row --

    def add_accepted(self, claim: Claim, accepted_at: datetime, deadline: Deadline) -> None:
        """Write down what was accepted under a claim that was kept in memory.

        A row with a young claim or a newer attempt is left as it is. Raises AzureError.
        """
        ours = claim.record

        def change_of(stored: AttemptRecord) -> Change | None:
            known = as_known(stored, self._now())
            is_newer = known.claimed_at > ours.claimed_at
            if stored.claim_id == ours.claim_id or is_newer or is_young(known, self._now()):
                return None
            failures = (known.first_failed_at, ours.first_failed_at)
            known = replace(known, first_failed_at=min(filter(None, failures), default=None))
            claimed = claim_change(known, ours.claim_id, claim.by, ours.claimed_at).record
            ended = Claim(known, claimed, claim.by)
            return decision_change(Decision(ended, Outcome.ACCEPTED, accepted_at))

        self._change(ours.request_id, change_of, deadline)

    def defer(self, request_id: str, deadline: Deadline) -> None:
        """Promise a request to the next sweep. Raises AzureError."""
        now = self._now()

        def change_of(stored: AttemptRecord) -> Change:
            # Another instance's clock may be ahead; the promise is open all the same.
            tried_at = max(stored.claimed_at, stored.last_attempt_at)
            deferred_at = max(now, tried_at + timedelta(microseconds=1))
            return Change(replace(stored, deferred_at=deferred_at))

        self._change(request_id, change_of, deadline)

    def mark_notified(self, request_id: str, reason: str, deadline: Deadline) -> None:
        """Keep that a notice was sent for this reason. Raises AzureError."""

        def change_of(stored: AttemptRecord) -> Change:
            return Change(replace(stored, notified_reasons=stored.notified_reasons | {reason}))

        self._change(request_id, change_of, deadline)

    def _change(
        self,
        request_id: str,
        change_of: Callable[[AttemptRecord], Change | None],
        deadline: Deadline,
    ) -> None:
        """Change a row as it is now, or a new one; None leaves it alone."""
        written = self._merge(
            request_id, lambda stored: change_of(stored or blank(request_id)), deadline
        )
        if isinstance(written, AzureError):
            raise written

    # -- what a sweep tidies --

    def complete(self, records: Sequence[AttemptRecord], deadline: Deadline) -> None:
        """Mark requests as completed, unless their rows changed. What fails is logged."""
        changes = [Change(replace(record, completed=True)) for record in records]
        _log_errors("completed", self._rows.write(changes, deadline))

    def delete(self, records: Sequence[AttemptRecord], deadline: Deadline) -> None:
        """Delete records, unless their rows changed. What fails is logged."""
        changes = [Change(record, delete=True) for record in records]
        _log_errors("deleted", self._rows.write(changes, deadline))

    # -- beside the records --

    def check_writable(self, deadline: Deadline) -> None:
        """Prove that rows may be written. Raises AzureError."""
        self._rows.check_writable(deadline)

    def keep_report(self, report: dict[str, Any], at: datetime, deadline: Deadline) -> None:
        """Replace the report of the last sweep, which ended at `at`. Raises AzureError."""
        self._rows.keep_report(at, json.dumps(report), deadline)

    def last_report(self, deadline: Deadline) -> tuple[datetime, dict[str, Any]] | None:
        """Return when the last sweep ended, and its report. Raises AzureError."""
        kept = self._rows.report(deadline)
        return (kept[0], json.loads(kept[1])) if kept else None


def _find_claim(wanted: AttemptRecord, answer: Written, stored: AttemptRecord | None) -> Written:
    """Return what became of a claim: it is ours, the row is as before, or another has it."""
    if stored and stored.claim_id == wanted.claim_id:
        return stored
    return answer if (stored.etag if stored else "") == wanted.etag else None


def _merge_claim(
    claim: Claim, change_of: Callable[[Claim], Change], stored: AttemptRecord | None
) -> Change | AttemptRecord | None:
    """Return the change onto the row as it is now, the row where it was written, or None."""
    if stored and _is_same_write(stored, change_of(claim).record):
        return stored
    if not stored or not _is_same_write(stored, claim.record):
        return None
    return change_of(replace(claim, record=stored))


def _is_same_write(stored: AttemptRecord, wanted: AttemptRecord) -> bool:
    """Whether a row is as a claim or an outcome left it, whatever else was written since."""
    return (stored.claim_id, stored.outcome) == (wanted.claim_id, wanted.outcome)


def _decision_change(decision: Decision, claim: Claim) -> Change:
    return decision_change(replace(decision, claim=claim))


def _log_errors(what: str, written: Sequence[Written]) -> None:
    """Log how many rows could not be written, and the first reason."""
    errors = [one for one in written if isinstance(one, AzureError)]
    if errors:
        error = name_of(errors[0])
        event(WARNING, "attempts not written", what=what, count=len(errors), error=error)


# -- this process's stores --

_IN_MEMORY = AttemptStore(InMemoryRows())


@functools.cache
def for_callers() -> AttemptStore:
    """Return the store for HTTP callers. Raises SettingsError; the next call reads them anew."""
    return _open(quick=True)


@functools.cache
def for_sweeps() -> AttemptStore:
    """Return the store for sweeps. Raises SettingsError; the next call reads them anew."""
    return _open(quick=False)


def in_memory() -> AttemptStore:
    """Return the store in this process's memory."""
    return _IN_MEMORY


def _open(*, quick: bool) -> AttemptStore:
    client = new_client(app_settings.current())
    if client:
        return AttemptStore(Table(client, quick=quick))
    detail = (
        "set AzureWebJobsStorage or AzureWebJobsStorage__accountName to keep them over restarts "
        "and to share them between instances"
    )
    event(WARNING, "attempts kept in memory", detail=detail)
    return _IN_MEMORY
