"""Two instances over one table, their clocks two seconds apart, while answers get lost.

Hypothesis chooses who reads, claims and decides when, which writes never arrive, whose answers are
lost, and which arrive late. Above it is what a caller does: read the record, claim it unless its
claim is young, send with that claim.
"""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta

from azure.core.exceptions import AzureError
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from attempt_store import AttemptStore
from attempts import (
    CLAIM_SECONDS,
    COUNTED,
    NEVER,
    AttemptRecord,
    Claim,
    Decision,
    Outcome,
    as_known,
    blank,
    is_young,
)
from deadline import Deadline
from tests.unit.lossy_rows import LossyRows

A = "a0000000-0000-4000-8000-000000000000"
START = datetime(2026, 11, 24, tzinfo=UTC)
SKEW = 2.0  # seconds that the second instance's clock is ahead
END = Deadline(60, lambda: 0)

INSTANCE = st.sampled_from([0, 1])
SECONDS = st.sampled_from([0.0, 5.0, 33.0, 38.0, 42.0])
# What becomes of the next writes, and how many reads fail after that.
ORDERS = st.lists(st.sampled_from(["ok", "drop", "lose", "late"]), max_size=3)
UNREADABLE = st.sampled_from([0, 0, 0, 1])
OUTCOMES = st.sampled_from(
    [Outcome.ACCEPTED, Outcome.REFUSED, Outcome.DENIED, Outcome.FAILED, None]
)


class Machine(RuleBasedStateMachine):
    """Keeps what was promised to whom; the table must never contradict it."""

    @initialize()
    def start(self):
        self.time = 0.0
        self.rows = LossyRows()
        self.stores = [AttemptStore(self.rows, lambda n=n: self.clock(n)) for n in (0, 1)]
        self.known = [blank(A), blank(A)]  # what each instance has read last
        self.live: list[tuple[int, float, Claim]] = []  # instance, when it was claimed, claim
        self.judged = 0  # attempts whose counting outcome was written
        self.claims = 0  # claims that were wanted
        self.deferred = NEVER
        self.notified: set[str] = set()

    def clock(self, instance: int) -> datetime:
        return START + timedelta(seconds=self.time + instance * SKEW)

    def stored(self) -> AttemptRecord:
        return self.rows.raw(A, END) or blank(A)

    def break_with(self, orders, unreadable=0):
        self.rows.orders, self.rows.unreadable = list(orders), unreadable

    def may_send(self, instance: int, claim: Claim) -> None:
        assert all(self.time - at >= CLAIM_SECONDS - SKEW for _, at, _ in self.live), "two may send"
        self.live.append((instance, self.time, claim))

    def time_passes(self, seconds: float) -> None:
        self.time += seconds
        self.rows.land()

    @rule(instance=INSTANCE, seconds=SECONDS)
    def an_instance_reads(self, instance, seconds):
        self.time_passes(seconds)
        self.break_with([])
        self.known[instance] = self.stores[instance].read(A, END)

    @rule(
        instance=INSTANCE,
        seconds=SECONDS,
        is_stale=st.booleans(),
        orders=ORDERS,
        unreadable=UNREADABLE,
    )
    def an_instance_claims(self, instance, seconds, is_stale, orders, unreadable):
        self.time_passes(seconds)
        if not is_stale:
            self.an_instance_reads(instance, 0)
        if is_young(self.known[instance], self.clock(instance)):
            return
        self.break_with(orders, unreadable)
        self.claims += 1
        [claim] = self.stores[instance].claim([self.known[instance]], "caller", END)
        if isinstance(claim, Claim):
            self.may_send(instance, claim)

    @precondition(lambda self: self.live)
    @rule(data=st.data(), outcome=OUTCOMES, orders=ORDERS, unreadable=UNREADABLE)
    def a_claim_ends(self, data, outcome, orders, unreadable):
        number = data.draw(st.sampled_from(range(len(self.live))))
        instance, _, claim = self.live.pop(number)
        before = self.stored()
        self.break_with(orders, unreadable)
        [written] = self.stores[instance].decide([Decision(claim, outcome)], END)
        if before.claim_id != claim.record.claim_id:
            assert self.stored() == before, "the row of another was overwritten"
        if outcome and isinstance(written, AttemptRecord):
            assert (outcome, written) == (written.outcome, self.stored())
            assert written.count == claim.before.count + (outcome in COUNTED)
            self.judged += outcome in COUNTED

    @precondition(lambda self: self.live)
    @rule(data=st.data(), orders=ORDERS, unreadable=UNREADABLE)
    def a_claim_is_renewed(self, data, orders, unreadable):
        number = data.draw(st.sampled_from(range(len(self.live))))
        instance, _, claim = self.live.pop(number)
        self.break_with(orders, unreadable)
        self.claims += 1
        try:
            renewed = self.stores[instance].renew(claim, END)
        except AzureError:
            return
        if renewed:
            self.may_send(instance, renewed)

    @rule(instance=INSTANCE, orders=ORDERS)
    def a_caller_is_deferred(self, instance, orders):
        self.break_with(orders)
        with contextlib.suppress(AzureError):
            self.stores[instance].defer(A, END)
            self.deferred = self.clock(instance)

    @rule(instance=INSTANCE, reason=st.sampled_from(["expiring", "exhausted"]), orders=ORDERS)
    def a_notice_is_sent(self, instance, reason, orders):
        self.break_with(orders)
        with contextlib.suppress(AzureError):
            self.stores[instance].mark_notified(A, reason, END)
            self.notified.add(reason)

    @rule(instance=INSTANCE, orders=ORDERS)
    def an_acceptance_in_memory_is_added(self, instance, orders):
        memory = AttemptStore(LossyRows(), lambda: self.clock(instance))
        [claim] = memory.claim([blank(A)], "caller", END)
        before = self.stored()
        self.break_with(orders)
        self.claims += 1
        with contextlib.suppress(AzureError):
            self.stores[instance].add_accepted(claim, self.clock(instance), END)
            self.judged += self.stored().claim_id == claim.record.claim_id
        if is_young(before, self.clock(instance)):
            assert self.stored() == before, "a young claim was overwritten"

    @invariant()
    def an_attempt_that_counts_is_counted_once(self):
        count = as_known(self.stored(), self.clock(0) + timedelta(hours=1)).count
        assert self.judged <= count <= self.claims

    @invariant()
    def promises_and_notices_stay(self):
        assert self.notified <= self.stored().notified_reasons
        assert self.deferred <= (self.stored().deferred_at or NEVER) + timedelta(seconds=SKEW)


TestAttempts = Machine.TestCase
TestAttempts.settings = settings(max_examples=250, stateful_step_count=30, deadline=None)
