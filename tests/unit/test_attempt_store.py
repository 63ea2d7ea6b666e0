"""attempt_store.py: claims and outcomes over rows that are changed meanwhile, or lose answers.

Not for: what a change does to a record (test_attempts.py), Table Storage (test_table.py), all of it
in random order, with writes that arrive late (test_worlds.py).
"""

from __future__ import annotations

import functools
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from azure.core.exceptions import AzureError, HttpResponseError, ServiceResponseError

import attempt_store
import settings as app_settings
from attempt_store import AttemptStore
from attempts import AttemptRecord, Change, Claim, Decision, Entry, Outcome, blank
from deadline import Deadline
from table import InMemoryRows

A, B, C = (f"{n}0000000-0000-4000-8000-000000000000" for n in "abc")
NOW = datetime(2026, 11, 24, 12, 0, 0, 123456, tzinfo=UTC)
SECOND = timedelta(seconds=1)
CAME = frozenset({"expiring"})


class LossyRows(InMemoryRows):
    """Rows that take orders, as a table behind a broken connection.

    One order for each write to come: `ok`, `drop` (not carried out), `lose` (its answer is lost).
    So many reads fail as `unreadable` says.
    """

    def __init__(self) -> None:
        super().__init__()
        self.orders: list[str] = []
        self.unreadable = 0
        self.calls: list[str] = []

    def write(self, changes, deadline):
        self.calls.append("write")
        assert deadline.left()
        order = self.orders.pop(0) if self.orders else "ok"
        written = [] if order == "drop" else super().write(changes, deadline)
        return written if order == "ok" else [ServiceResponseError(order)] * len(changes)

    def read(self, request_id, deadline):
        self.calls.append("read")
        assert deadline.left()
        if self.unreadable:
            self.unreadable -= 1
            raise ServiceResponseError("unreadable")
        return super().read(request_id, deadline)

    def beside_faults(self):
        """The same rows over a connection that does not break."""
        return SimpleNamespace(read=super().read, write=super().write)


class Shared:
    """One table, this store over it, and another instance's store."""

    def __init__(self) -> None:
        self.now = NOW
        self.end = Deadline(60, lambda: 0)
        self.rows = LossyRows()
        self.store = AttemptStore(self.rows, lambda: self.now)
        self.other = AttemptStore(self.rows.beside_faults(), lambda: self.now)

    def claim(self, *records: AttemptRecord) -> list[Claim | AzureError | None]:
        return self.store.claim(records or [blank(A)], "sweep", self.end)

    def decide(self, claim: Claim, outcome: Outcome | None, **more: object) -> object:
        [written] = self.store.decide([Decision(claim, outcome, **more)], self.end)
        return written

    def stored(self, request_id: str = A) -> AttemptRecord | None:
        return self.rows.beside_faults().read(request_id, self.end)

    def other_claims(self) -> Claim:
        [claim] = self.other.claim([self.other.read(A, self.end)], "caller", self.end)
        return claim


@pytest.fixture
def shared():
    return Shared()


def lines(caplog):
    return [json.loads(message) for message in caplog.messages]


# -- reading --


def test_a_record_is_read_as_it_is_now(shared):
    """An old claim is `unknown`; so is its entry in the history, which is newest first."""
    [claim] = shared.claim()
    shared.decide(claim, Outcome.REFUSED, words="No.")
    shared.now += timedelta(hours=1)
    shared.claim(shared.store.read(A, shared.end))
    young = shared.store.read(A, shared.end)
    shared.now += timedelta(seconds=40)
    old = shared.store.read(A, shared.end)

    first = Entry(NOW, "sweep", Outcome.REFUSED, "No.")
    second = Entry(NOW + timedelta(hours=1), "sweep", Outcome.CLAIMED)
    assert (Outcome.CLAIMED, (second, first)) == (young.outcome, young.history)
    assert (Outcome.UNKNOWN, 2) == (old.outcome, old.count)
    assert (replace(second, outcome=Outcome.UNKNOWN), first) == old.history
    assert {A: old} == shared.store.read_all(shared.end)


# -- claiming --


def test_of_two_claims_on_the_same_reading_one_wins(shared):
    """The other one is told that the row was changed, and leaves it alone."""
    theirs = shared.other_claims()

    [mine, free] = shared.claim(blank(A), blank(B))

    assert mine is None
    assert Claim(blank(B), shared.stored(B), "sweep") == free
    assert theirs.record == shared.stored()


def test_a_claim_whose_answer_was_lost_is_ours(shared):
    """Known by its id; also one that azure-core sent twice, and that was answered as changed."""
    shared.rows.orders = ["lose"]
    [lost] = shared.claim()
    write = shared.rows.write
    shared.rows.write = lambda *sent: [write(*sent), write(*sent)][1]
    [changed] = shared.claim(blank(B))

    assert [shared.stored(A), shared.stored(B)] == [lost.record, changed.record]


def test_a_claim_that_did_not_arrive_is_an_error(shared):
    """The row is as it was, if there is one. Where another has it by then, it is theirs."""
    shared.rows.orders = ["drop"]
    assert [ServiceResponseError] == [type(one) for one in shared.claim()]

    shared.store.defer(A, shared.end)
    known = shared.store.read(A, shared.end)
    shared.rows.orders = ["drop", "drop"]
    assert [ServiceResponseError] == [type(one) for one in shared.claim(known)]
    shared.other_claims()
    assert [None] == shared.claim(known)


def test_a_claim_that_another_holds_is_no_error_when_it_cannot_be_read(shared):
    """An error would have a caller send it with the record in memory."""
    shared.other_claims()
    shared.rows.unreadable = 1

    assert [None] == shared.claim()


# -- renewing --


@pytest.mark.parametrize("order", ["ok", "lose", "drop"])
def test_a_claim_is_renewed_onto_what_came_since(shared, order):
    """A new id and a new time; an answer that was lost is found by reading."""
    [claim] = shared.claim()
    shared.now += 7 * SECOND
    shared.other.defer(A, shared.end)
    shared.rows.orders = ["ok", order]  # the first is refused, since the row was changed

    renewed = shared.store.renew(claim, shared.end)

    assert (claim.before, shared.stored()) == (renewed.before, renewed.record)
    assert app_settings.is_guid(renewed.record.claim_id)
    assert renewed.record.claim_id != claim.record.claim_id
    assert (NOW + 7 * SECOND,) * 2 == (renewed.record.claimed_at, renewed.record.deferred_at)
    assert isinstance(shared.decide(renewed, Outcome.ACCEPTED), AttemptRecord)


def test_a_claim_that_cannot_be_renewed_is_an_error_or_anothers(shared):
    """The caller then sends no second time."""
    [claim] = shared.claim()
    shared.rows.orders, shared.rows.unreadable = ["drop"], 1

    with pytest.raises(ServiceResponseError):
        shared.store.renew(claim, shared.end)
    shared.now += 40 * SECOND
    shared.other_claims()
    assert shared.store.renew(claim, shared.end) is None


# -- outcomes --


@pytest.mark.parametrize("orders", [["ok"], ["lose"], ["drop"], ["drop", "drop", "lose"]])
def test_an_outcome_is_written_once_whatever_answer_is_lost(shared, orders):
    """It counts once."""
    [claim] = shared.claim()
    shared.rows.orders = orders

    written = shared.decide(claim, Outcome.ACCEPTED, accepted_at=NOW)

    assert written == shared.stored()
    assert (Outcome.ACCEPTED, 1) == (written.outcome, written.count)


@pytest.mark.parametrize("outcome", [Outcome.FAILED, None])
def test_an_outcome_is_written_onto_what_came_since(shared, outcome):
    """A caller was deferred and a notice sent while the claim was at work."""
    [claim] = shared.claim()
    shared.other.defer(A, shared.end)
    shared.store.mark_notified(A, "expiring", shared.end)

    written = shared.decide(claim, outcome)

    assert written == shared.stored()
    assert (outcome or Outcome.NONE, True, CAME) == (
        written.outcome,
        written.is_deferred,
        written.notified_reasons,
    )


def test_an_outcome_leaves_a_deleted_row_alone(shared):
    """An operator has removed it."""
    [claim] = shared.claim()
    shared.rows.write([Change(claim.record, delete=True)], shared.end)

    assert shared.decide(claim, Outcome.REFUSED) is None
    assert shared.stored() is None


def test_outcomes_that_cannot_be_written_are_logged_in_one_line(shared, caplog):
    """The table is asked no more once it cannot be read; nothing is raised."""
    claims = shared.claim(blank(A), blank(B), blank(C))
    shared.rows.calls.clear()
    shared.rows.orders, shared.rows.unreadable = ["drop"], 9

    written = shared.store.decide([Decision(one, Outcome.REFUSED) for one in claims], shared.end)

    line = {"event": "attempts not written", "what": "outcomes", "count": 3}
    assert ["write", "read"] == shared.rows.calls
    assert [line | {"error": "ServiceResponseError"}] == lines(caplog)
    assert [ServiceResponseError] * 3 == [type(one) for one in written]


def test_outcomes_onto_rows_that_changed_and_cannot_be_read_are_errors(shared):
    """The others are not read either."""
    claims = shared.claim(blank(A), blank(B))
    for one in (A, B):
        shared.other.mark_notified(one, "expiring", shared.end)
    shared.rows.unreadable = 1

    written = shared.store.decide([Decision(one, Outcome.REFUSED) for one in claims], shared.end)

    assert [ServiceResponseError] * 2 == [type(one) for one in written]


# -- an acceptance that was kept in memory --


@pytest.fixture
def unrecorded(shared):
    """A claim in this process's memory, of a time when the table was away."""
    memory = AttemptStore(InMemoryRows(), lambda: shared.now)
    seen = replace(blank(A), first_failed_at=NOW - timedelta(hours=2))
    [claim] = memory.claim([seen], "caller", shared.end)
    return claim


@pytest.mark.parametrize("order", ["ok", "lose", "drop"])
def test_an_acceptance_in_memory_is_written_onto_the_row_as_it_is(shared, unrecorded, order):
    """Count and history of the row go on; a lost answer does not count twice."""
    shared.now = NOW - timedelta(hours=1)
    [claim] = shared.claim()
    shared.decide(claim, Outcome.REFUSED, words="No.")
    shared.now = NOW + SECOND
    shared.rows.orders = [order]

    shared.store.add_accepted(unrecorded, NOW + SECOND, shared.end)

    stored = shared.store.read(A, shared.end)
    assert (Outcome.ACCEPTED, NOW + SECOND, 2, NOW) == (
        stored.outcome,
        stored.accepted_at,
        stored.count,
        stored.last_attempt_at,
    )
    assert [("caller", Outcome.ACCEPTED), ("sweep", Outcome.REFUSED)] == [
        (entry.by, entry.outcome) for entry in stored.history
    ]
    assert NOW - timedelta(hours=2) == stored.first_failed_at


@pytest.mark.parametrize("seconds, outcome", [(-1, Outcome.CLAIMED), (1, Outcome.FAILED)])
def test_an_acceptance_in_memory_leaves_a_young_claim_and_a_newer_attempt(
    shared, unrecorded, seconds, outcome
):
    """Another instance reached the table when we did not."""
    shared.now += seconds * SECOND
    theirs = shared.other_claims()
    if outcome is not Outcome.CLAIMED:
        shared.other.decide([Decision(theirs, outcome)], shared.end)
    before, shared.now = shared.stored(), NOW + 2 * SECOND

    shared.store.add_accepted(unrecorded, NOW, shared.end)

    assert before == shared.stored()


# -- promises and notices --


@pytest.mark.parametrize("order", ["ok", "lose", "drop"])
def test_a_request_is_deferred_with_a_row_or_without(shared, order):
    """Whatever answer is lost; what else the row says stays."""
    [claim] = shared.claim()
    for one, before in ((A, claim.record), (B, blank(B))):
        shared.rows.orders = [order]
        shared.store.defer(one, shared.end)

        at = NOW if one == B else NOW + timedelta(microseconds=1)  # later than what is tried
        assert replace(before, deferred_at=at) == replace(shared.stored(one), etag=before.etag)


def test_a_change_that_cannot_be_written_is_an_error(shared):
    """After four tries; a promise that is not kept is not made."""
    shared.rows.orders = ["drop"] * 9

    with pytest.raises(ServiceResponseError):
        shared.store.defer(A, shared.end)

    assert 4 == shared.rows.calls.count("write")
    shared.rows.write = lambda *_: [None]
    with pytest.raises(AzureError, match=r"^The row of the request kept being changed\.$"):
        shared.store.defer(A, shared.end)


# -- tidying --


def test_a_request_is_completed_and_its_record_deleted_by_version(shared, caplog):
    """A newer attempt outlives the tidying of an older sweep."""
    claims = shared.claim(blank(A), blank(B))
    shared.store.decide([Decision(one, Outcome.ACCEPTED, NOW) for one in claims], shared.end)
    read = list(shared.store.read_all(shared.end).values())
    shared.other_claims()

    shared.store.complete(read, shared.end)
    completed = shared.store.read_all(shared.end)
    shared.store.delete([*read, completed[B]], shared.end)

    assert [False, True] == [completed[one].completed for one in (A, B)]
    assert ({A}, []) == (set(shared.store.read_all(shared.end)), lines(caplog))


@pytest.mark.parametrize(("tidy", "what"), [("complete", "completed"), ("delete", "deleted")])
def test_records_that_could_not_be_tidied_are_logged(shared, caplog, monkeypatch, tidy, what):
    """With the status, which tells an operator more than the class. The next sweep does it."""
    claims = shared.claim(blank(A), blank(B))
    shared.now += timedelta(hours=1)
    denied = HttpResponseError("no")
    denied.status_code = 403
    monkeypatch.setattr(shared.rows, "write", lambda _, __: [denied, AzureError("away")])

    getattr(shared.store, tidy)([claim.record for claim in claims], shared.end)

    line = {"event": "attempts not written", "what": what, "count": 2}
    assert [line | {"error": "HttpResponseError 403"}] == lines(caplog)


# -- beside the records --


def test_what_is_beside_the_records_goes_to_the_rows(shared):
    """The report of the last sweep, a check, and every record's history where it is asked for."""
    asked = []

    class Rows:
        def __getattr__(self, name):
            return lambda *given, **more: asked.append((name, *given, more)) or []

    store, end = AttemptStore(Rows()), shared.end
    store.check_writable(end)
    store.keep_report({"due": 1}, NOW, end)
    for history in ({}, {"history": True}):
        store.read_all(end, **history)
    store.last_report(end)
    assert asked == [
        ("check_writable", end, {}),
        ("keep_report", NOW, '{"due": 1}', end, {}),
        ("read_all", end, {"history": False}),
        ("read_all", end, {"history": True}),
        ("report", end, {}),
    ]

    assert shared.store.last_report(end) is None
    shared.store.keep_report({"due": 1}, NOW, end)
    assert (NOW, {"due": 1}) == shared.store.last_report(end)


# -- this process's stores --


@pytest.fixture
def fresh(monkeypatch):
    """No store was made in this process yet."""
    for made in ("for_callers", "for_sweeps"):
        anew = functools.cache(getattr(attempt_store, made).__wrapped__)
        monkeypatch.setattr(attempt_store, made, anew)
    return monkeypatch


def test_without_a_storage_account_memory_is_used_with_a_warning(fresh, caplog):
    """Callers and sweeps share it."""
    fresh.setattr(app_settings, "current", lambda: app_settings.load({}))

    stores = [attempt_store.for_callers(), attempt_store.for_sweeps(), attempt_store.in_memory()]

    detail = (
        "set AzureWebJobsStorage or AzureWebJobsStorage__accountName to keep them over restarts "
        "and to share them between instances"
    )
    assert [attempt_store.in_memory()] * 3 == stores
    assert [{"event": "attempts kept in memory", "detail": detail}] * 2 == lines(caplog)


def test_each_store_is_made_once_and_only_that_of_callers_is_quick(fresh):
    """Only a sweep's calls are repeated."""
    key = "DefaultEndpointsProtocol=https;AccountName=some;AccountKey=aGk=;EndpointSuffix=x.net"
    fresh.setattr(app_settings, "current", lambda: app_settings.load({"AzureWebJobsStorage": key}))

    callers, sweeps = attempt_store.for_callers(), attempt_store.for_sweeps()

    assert (callers, sweeps) == (attempt_store.for_callers(), attempt_store.for_sweeps())
    assert [True, False] == [one._rows._quick for one in (callers, sweeps)]
    assert ["some", "some"] == [one._rows._client.account_name for one in (callers, sweeps)]
