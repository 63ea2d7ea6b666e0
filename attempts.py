"""Attempt records: what is known of our attempts at each request, and the rules that change one.

Not for: what has failed (Graph is asked each time), what is due (planning/), how a row is stored
(table.py). Losing every record costs a cool-down, never a request.

A record is written twice for each send: with the claim, which keeps everybody else from sending for
CLAIM_SECONDS, and with the outcome. Every write names the version that it replaces.

    claimed    about to be sent, or being sent
    accepted   Graph answered 2xx, or the request was seen to have moved since the claim
    refused    Graph rejected this one request
    denied     Graph denied the app (401, 403)
    failed     Graph gave no judging answer, and the request did not move
    unknown    a claim that got no outcome in CLAIM_SECONDS: it may have been sent
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

NEVER = datetime.min.replace(tzinfo=UTC)
CLAIM_SECONDS = 40.0
# Right after its 202 Graph may still show the old failure; for how long is not published.
RECENT = timedelta(minutes=5)
MAX_CLOCK_SKEW = timedelta(minutes=5)  # a stored time that is further ahead is no time
SLOTS = 5  # attempts in a history
MAX_WORDS = 200  # characters of Graph's words in a history entry


class Outcome(StrEnum):
    """What is known of the last attempt; `NONE`: there was none."""

    NONE = ""
    CLAIMED = "claimed"
    ACCEPTED = "accepted"
    REFUSED = "refused"
    DENIED = "denied"
    FAILED = "failed"
    UNKNOWN = "unknown"


COUNTED = {Outcome.ACCEPTED, Outcome.REFUSED, Outcome.UNKNOWN}  # these wait by count


@dataclass(frozen=True, slots=True)
class Entry:
    """One attempt in a request's history. `by`: `sweep`, or the caller as in the log."""

    at: datetime
    by: str
    outcome: Outcome
    words: str = ""


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """What is stored of one request; `etag` is the stored version, empty when nothing is stored.

    `claimed_at` and `last_attempt_at` are by our clock, `accepted_at` by Graph's. `count` is the
    number of attempts that Graph judged or may have accepted; `tries` numbers all claims.
    `first_failed_at`: the earliest failure seen. `deferred_at`: when a caller was last promised the
    next sweep. `history`, newest first, is read with one record, never with all.
    """

    request_id: str
    claim_id: str = ""
    claimed_at: datetime = NEVER
    outcome: Outcome = Outcome.NONE
    accepted_at: datetime | None = None
    count: int = 0
    tries: int = 0
    last_attempt_at: datetime = NEVER
    first_failed_at: datetime | None = None
    deferred_at: datetime | None = None
    completed: bool = False
    notified_reasons: frozenset[str] = frozenset()
    history: tuple[Entry, ...] = field(default=(), compare=False)
    etag: str = ""

    @property
    def is_deferred(self) -> bool:
        """Whether a caller was promised the next sweep, and nothing was tried since."""
        return bool(self.deferred_at and self.deferred_at > self.last_attempt_at)

    @property
    def last_accepted_at(self) -> datetime | None:
        """When Graph accepted the last attempt, None where it did not."""
        return self.accepted_at if self.outcome is Outcome.ACCEPTED else None

    def is_recent(self, now: datetime) -> bool:
        """Whether Graph may not show yet what it accepted, or may have accepted."""
        uncertain = self.outcome in {Outcome.ACCEPTED, Outcome.UNKNOWN}
        return uncertain and now - self.claimed_at < RECENT


@dataclass(frozen=True, slots=True)
class Change:
    """A record to store in place of its version `record.etag`, or with `delete` to remove.

    `entry` goes into the history slot that `record.tries` names, unless `slot` names another one;
    None leaves the history alone.
    """

    record: AttemptRecord
    entry: Entry | None = None
    slot: int | None = None
    delete: bool = False


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to send one request once: the record before it, and as it is stored now."""

    before: AttemptRecord
    record: AttemptRecord
    by: str


@dataclass(frozen=True, slots=True)
class Decision:
    """How one claim ended; without an outcome it is released, as if it had never been.

    `deferred_at`: promise the next sweep in the same write.
    """

    claim: Claim
    outcome: Outcome | None
    accepted_at: datetime | None = None
    words: str = ""
    deferred_at: datetime | None = None


def blank(request_id: str) -> AttemptRecord:
    """Return the record of a request that was never tried."""
    return AttemptRecord(request_id)


def as_known(record: AttemptRecord, now: datetime) -> AttemptRecord:
    """Return a stored record as it is to be read now.

    A time that is too far ahead is no time, and a claim that got no outcome is `unknown`: it counts
    as an attempt at the time of the claim. The history is newest first.
    """
    wrong: dict[str, Any] = {
        one.name: one.default
        for one in fields(record)
        if isinstance(at := getattr(record, one.name), datetime) and at > now + MAX_CLOCK_SKEW
    }
    if wrong:
        record = replace(record, **wrong)
    if record.history:
        record = replace(record, history=_known_history(record.history, now))
    if record.outcome is not Outcome.CLAIMED or is_young(record, now):
        return record
    return replace(
        record, outcome=Outcome.UNKNOWN, count=record.count + 1, last_attempt_at=record.claimed_at
    )


def _known_history(history: tuple[Entry, ...], now: datetime) -> tuple[Entry, ...]:
    old = now - timedelta(seconds=CLAIM_SECONDS)
    known = (
        replace(entry, outcome=Outcome.UNKNOWN)
        if entry.outcome is Outcome.CLAIMED and entry.at <= old
        else entry
        for entry in history
    )
    return tuple(sorted(known, key=lambda entry: entry.at, reverse=True))


def is_young(record: AttemptRecord, now: datetime) -> bool:
    """Whether this claim may still be sending; no other caller or sweep sends then."""
    age = (now - record.claimed_at).total_seconds()
    return record.outcome is Outcome.CLAIMED and age < CLAIM_SECONDS


def claim_change(record: AttemptRecord, claim_id: str, by: str, now: datetime) -> Change:
    """Return the change that claims a request for one send.

    Set `first_failed_at` of the record beforehand where a failure is known; else it is now.
    """
    claimed = replace(
        record,
        claim_id=claim_id,
        claimed_at=now,
        outcome=Outcome.CLAIMED,
        tries=record.tries + 1,
        first_failed_at=record.first_failed_at or now,
        completed=False,
    )
    return Change(claimed, Entry(now, by, Outcome.CLAIMED))


def renewal_change(claim: Claim, claim_id: str, now: datetime) -> Change:
    """Return the change that renews a claim for another send; it does not count as an attempt."""
    record = replace(claim.record, claim_id=claim_id, claimed_at=now)
    return Change(record, Entry(now, claim.by, Outcome.CLAIMED))


def decision_change(decision: Decision) -> Change:
    """Return the change that writes down how a claim ended.

    Promises and notices that were written since the claim are kept.
    """
    before, record, outcome = decision.claim.before, decision.claim.record, decision.outcome
    deferred_at = decision.deferred_at or record.deferred_at
    if outcome is None:
        released = replace(
            before,
            claim_id="",
            first_failed_at=record.first_failed_at,
            deferred_at=deferred_at,
            notified_reasons=record.notified_reasons,
            etag=record.etag,
        )
        return Change(released, _EMPTY, record.tries % SLOTS)
    ended = replace(
        record,
        outcome=outcome,
        accepted_at=decision.accepted_at or record.accepted_at,
        count=record.count + (outcome in COUNTED),
        last_attempt_at=record.claimed_at,
        deferred_at=deferred_at,
    )
    words = printable(decision.words)
    return Change(ended, Entry(record.claimed_at, decision.claim.by, outcome, words))


def printable(text: str) -> str:
    """Return a text as a table can keep and a person can read it, cut short."""
    return "".join(one if one.isprintable() else " " for one in text[:MAX_WORDS])


_EMPTY = Entry(NEVER, "", Outcome.NONE)  # empties a slot
