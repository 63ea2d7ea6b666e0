"""Attempts under several sweeps and calls over HTTP at once, while answers of the table get lost.

Hypothesis chooses who does what when, which transactions never arrive, whose answers are lost, and
who changes the same row in that moment. Below table.py is a table in memory that keeps versions as
Table Storage does; test_attempts.py has the real one.
"""

from __future__ import annotations

import itertools
from collections import Counter
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

from azure.core import MatchConditions
from azure.core.exceptions import AzureError, ResourceNotFoundError, ServiceResponseError
from azure.data.tables import TableTransactionError
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from attempts import Attempt, Attempts, Claim
from deadline import Deadline
from table import Table

IDS = [f"{n:08x}-0000-4000-8000-00000000cafe" for n in range(3)]
SWEEPS = [f"{n:08x}-0000-4000-8000-00000000beef" for n in range(3)]
START = datetime(2026, 11, 24, tzinfo=UTC)
MOST = 3  # attempts that a sweep allows


class Row(dict):
    """An entity as azure-data-tables hands it out."""

    def __init__(self, entity, etag):
        super().__init__(entity)
        self.metadata = {"etag": etag}


class TableOfRows:
    """What Table needs of a TableClient: rows with versions, and transactions, all or nothing."""

    def __init__(self):
        self.rows: dict[str, Row] = {}
        self.versions = itertools.count(1)

    def get_entity(self, _partition, key, **_options):
        if key not in self.rows:
            raise ResourceNotFoundError("no such row")
        return self.rows[key]

    def query_entities(self, *_query, **_options):
        return SimpleNamespace(by_page=lambda _: Page(list(self.rows.values())))

    def submit_transaction(self, operations, **_options):
        for kind, entity, *more in operations:
            stored = self.rows.get(entity["RowKey"])
            if kind == "create":
                if stored is not None:
                    raise refused(409)
            else:
                assert more[0]["match_condition"] is MatchConditions.IfNotModified
                if stored is None:
                    raise refused(404)
                if stored.metadata["etag"] != more[0]["etag"]:
                    raise refused(412)
        return [self._carry_out(kind, entity) for kind, entity, *_ in operations]

    def _carry_out(self, kind, entity):
        if kind == "delete":
            del self.rows[entity["RowKey"]]
            return {}
        etag = f"v{next(self.versions)}"
        self.rows[entity["RowKey"]] = Row(entity, etag)
        return {"etag": etag}


class Page:
    """The only page of an answer."""

    continuation_token = None

    def __init__(self, rows):
        self.rows = [rows]

    def __next__(self):
        return self.rows.pop(0)


def refused(status):
    error = TableTransactionError(message="refused")
    error.status_code = status
    return error


class Breaking:
    """The same table, heard through connections that break as they were told to."""

    def __init__(self, table):
        self.table = table
        self.breaks = []  # (whether it is carried out, what happens in that moment)

    def __getattr__(self, name):
        return getattr(self.table, name)

    def submit_transaction(self, operations, **options):
        if not self.breaks:
            return self.table.submit_transaction(operations, **options)
        carried_out, meanwhile = self.breaks.pop(0)
        if carried_out:
            self.table.submit_transaction(operations, **options)  # a refusal is heard
        meanwhile()
        raise ServiceResponseError("the connection broke")


# Connections of the next call that break: whether the table carries it out before, and what another
# instance does in that moment (nothing, record, defer, tell) to which request.
BREAKS = st.lists(
    st.tuples(st.booleans(), st.sampled_from("nnrdt"), st.sampled_from(IDS)), max_size=2
)


class Machine(RuleBasedStateMachine):
    """What was tried is told by the rules themselves; the table must never know of less."""

    @initialize()
    def start(self):
        self.table = TableOfRows()
        self.broken = Breaking(self.table)
        self.beside = Attempts(Table(self.table), lambda: START + timedelta(days=999))
        self.attempts = Attempts(
            Table(self.broken, lambda _: None), lambda: START + timedelta(days=999)
        )
        self.clock = itertools.count()
        self.read = {}  # what each sweep has read
        self.held: list[tuple[str, Claim]] = []  # claims that are not used yet, by sweep
        self.claimed: set[tuple[str, str]] = set()  # versions that a claim was won on
        self.tries: Counter[str] = Counter()  # calls to Graph that count, by request
        self.most: Counter[str] = Counter()  # the most that may be counted
        self.by_sweeps: Counter[str] = Counter()
        self.promised: Counter[str] = Counter()
        self.told: dict[str, set[str]] = {one: set() for one in IDS}
        self.deferred: set[str] = set()

    def at(self):
        return START + timedelta(minutes=next(self.clock))

    def deadline(self):
        return Deadline(60)

    def stored(self, one):
        return self.beside.read(one) or Attempt(one)

    # -- connections that break --

    def break_with(self, breaks):
        self.broken.breaks = [
            (carried_out, lambda what=what, one=one: self.beside_does(what, one))
            for carried_out, what, one in breaks
        ]

    def beside_does(self, what, one):
        """What another instance does in the moment in which an answer is lost."""
        if what == "r":
            self.tries[one] += 1
            self.most[one] += 1
            self.deferred.discard(one)
            self.beside.record(one, self.at())
        elif what == "d":
            self.beside.defer(one)
            self.deferred.add(one)
        elif what == "t":
            self.beside.tell(one, "expiring")
            self.told[one].add("expiring")

    # -- sweeps --

    @rule(sweep=st.sampled_from(SWEEPS))
    def a_sweep_reads(self, sweep):
        self.read[sweep] = self.attempts.read_all()

    @rule(
        sweep=st.sampled_from(SWEEPS),
        ids=st.sets(st.sampled_from(IDS), min_size=1),
        breaks=BREAKS,
    )
    def a_sweep_claims(self, sweep, ids, breaks):
        known = self.read.get(sweep)
        if known is None:
            known = self.attempts.read_all()
        self.break_with(breaks)
        rows = [known.get(one) or Attempt(one) for one in sorted(ids)]
        wanted = [row for row in rows if row.count < MOST or row.deferred]
        # A deferral that comes in the very moment of the claim stays, or was answered by it.
        for row in wanted:
            self.most[row.request_id] += 1 + len(self.broken.breaks)
        before_deferred = {one for one in IDS if self.stored(one).deferred}
        try:
            at = self.at()
            claims = self.attempts.claim(wanted, at, sweep, self.deadline())
        except AzureError:
            self.deferred &= {one for one in IDS if self.stored(one).deferred}
            return
        for claim in claims.mine:
            one = claim.now.request_id
            version = (one, claim.before.etag)
            assert version not in self.claimed, "one version was claimed twice"
            self.claimed.add(version)
            self.held.append((sweep, claim))
            self.promised[one] += claim.before.deferred
            if one in before_deferred:
                self.deferred.discard(one)
        taken = {claim.now.request_id for claim in claims.mine}
        lost = {row.request_id for row in claims.elsewhere}
        assert taken | lost == {row.request_id for row in wanted}
        assert not taken & lost
        for one in lost:  # or nobody would hold it, and it would cool down for nothing
            assert (self.stored(one).sweep, self.stored(one).last) != (sweep, at), "a claim is lost"
        self.read.pop(sweep, None)  # a sweep judges each request once

    @rule(
        data=st.data(),
        outcome=st.sampled_from(["sent", "refused", "denied", "unsent", "unsent"]),
        breaks=BREAKS,
    )
    def a_claim_is_used(self, data, outcome, breaks):
        if not self.held:
            return
        held = data.draw(st.sampled_from(range(len(self.held))))
        _, claim = self.held.pop(held)
        one = claim.now.request_id
        self.broken.breaks = [(done, lambda: None) for done, *_ in breaks]
        if outcome == "unsent":
            self.give_back(claim)
            return
        if outcome != "denied":
            self.tries[one] += 1
        self.by_sweeps[one] += outcome != "denied"
        if outcome != "sent":
            self.attempts.note([(claim, outcome, "No.")], self.deadline())

    def give_back(self, claim):
        one = claim.now.request_id
        others = self.stored(one)
        mine = (others.sweep, others.last) == (claim.now.sweep, claim.now.last)
        missing = self.attempts.give_back([claim], self.deadline())
        stored = self.stored(one)
        if not mine:
            assert stored == others, "what another changed was given back"
        elif not missing:
            assert stored.count == claim.before.count
            self.claimed.discard((one, claim.before.etag))
            self.promised[one] -= claim.before.deferred
            if claim.before.deferred:
                self.deferred.add(one)

    # -- calls over HTTP --

    @rule(one=st.sampled_from(IDS), breaks=BREAKS)
    def a_call_over_http(self, one, breaks):
        self.break_with(breaks)
        self.tries[one] += 1
        self.most[one] += 1 + len(self.broken.breaks)
        self.deferred.discard(one)
        try:
            self.attempts.record(one, self.at(), self.deadline())
        except AzureError:
            self.tries[one] -= 1  # it is logged that this one is not in the table
        self.deferred &= {name for name in IDS if self.stored(name).deferred}

    @rule(one=st.sampled_from(IDS), breaks=BREAKS)
    def a_promise(self, one, breaks):
        self.break_with(breaks)
        self.attempts.defer(one, self.deadline())
        self.deferred.add(one)

    @rule(
        one=st.sampled_from(IDS),
        reason=st.sampled_from(["expired", "exhausted"]),
        breaks=BREAKS,
    )
    def a_notice(self, one, reason, breaks):
        self.break_with(breaks)
        self.attempts.tell(one, reason, self.deadline())
        self.told[one].add(reason)

    # -- what always holds --

    @invariant()
    def nothing_is_tried_more_often_than_counted(self):
        for one in IDS:
            assert self.tries[one] <= self.stored(one).count <= self.most[one]

    @invariant()
    def sweeps_try_as_often_as_allowed_and_promised(self):
        for one in IDS:
            assert self.by_sweeps[one] <= MOST + self.promised[one]

    @invariant()
    def what_was_told_stays_told(self):
        for one in IDS:
            assert self.told[one] <= self.stored(one).told

    @invariant()
    def a_promise_is_kept_until_it_is_taken_up(self):
        assert all(self.stored(one).deferred for one in self.deferred)


TestAttempts = Machine.TestCase
TestAttempts.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
