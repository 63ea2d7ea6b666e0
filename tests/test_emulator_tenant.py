"""The emulated tenant: requests move with time as the documentation says and the settings choose."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest

from emulator.samples import generated
from emulator.switches import Rules
from emulator.tenant import (
    ENDED,
    STATES,
    AccessPackage,
    Catalog,
    Refused,
    Request,
    Subject,
    Tenant,
)

START = datetime(2026, 8, 20, 12, tzinfo=UTC)
PACKAGE = AccessPackage("a" * 8, "Sales Team", Catalog("c" * 8, "General"))
PERSON = Subject("p", "Adele Vance", "adele@contoso.example")


class Clock:
    """A clock that only a test moves."""

    def __init__(self):
        self.now = START

    def __call__(self):
        return self.now

    def pass_(self, seconds):
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def tenant(clock):
    return Tenant(clock, Rules(delivery_seconds=10, stale_seconds=2))


def make(request_id="one", state="deliveryFailed", minutes_ago=60, **more):
    ended = START - timedelta(minutes=minutes_ago)
    completed = ended if state in ENDED else None
    created = ended - timedelta(minutes=1)
    return Request(request_id, "userAdd", state, created, completed, PACKAGE, PERSON, **more)


def is_failed(request, now):
    return request.state_at(now) == "deliveryFailed"


def seen(tenant, request_id="one"):
    request = tenant.get(request_id)
    return request.state_at(tenant.now()), tenant.completed_at(request, tenant.now())


def test_an_accepted_attempt_reads_as_the_old_failure_then_delivering_then_its_outcome(
    tenant, clock
):
    """After 202 the old failure may still be shown for a while; the end of the attempt becomes the completion."""
    tenant.add([make()])
    before = seen(tenant)
    tenant.reprocess("one")
    assert seen(tenant) == before == ("deliveryFailed", START - timedelta(hours=1))
    clock.pass_(2)
    assert seen(tenant) == ("delivering", None)
    clock.pass_(7.9)
    assert seen(tenant) == ("delivering", None)
    clock.pass_(0.1)
    assert seen(tenant) == ("delivered", START + timedelta(seconds=10))


def test_an_attempt_ends_when_its_time_came_and_not_when_somebody_looks(tenant, clock):
    """States are computed lazily, yet nobody can tell."""
    tenant.add([make()])
    tenant.reprocess("one")
    clock.pass_(5000)
    assert seen(tenant) == ("delivered", START + timedelta(seconds=10))


def test_outcomes_come_in_order_and_the_last_repeats(tenant, clock):
    """Outcomes are a list of what the next attempts come to."""
    tenant.add([make(outcomes=("partiallyDelivered", "deliveryFailed"))])
    ends = []
    for _ in range(3):
        tenant.reprocess("one")
        clock.pass_(10)
        ends.append(seen(tenant)[0])
    assert ends == ["partiallyDelivered", "deliveryFailed", "deliveryFailed"]


def test_attempts_fail_until_the_cause_is_fixed(tenant, clock):
    """With fixedAt an attempt that ends before it fails, a later one is delivered."""
    tenant.add([make(fixed_at=START + timedelta(seconds=15), outcomes=("partiallyDelivered",))])
    tenant.reprocess("one")
    clock.pass_(10)
    assert seen(tenant)[0] == "deliveryFailed"
    tenant.reprocess("one")
    clock.pass_(10)
    assert seen(tenant)[0] == "delivered"


def test_a_request_may_have_times_of_its_own(tenant, clock):
    """Delivery and stale seconds of a request go before the tenant's; the longer one ends the attempt."""
    tenant.add(
        [make("slow", delivery_seconds=100, stale_seconds=0), make("stale", stale_seconds=50)]
    )
    tenant.reprocess("slow")
    tenant.reprocess("stale")
    assert (seen(tenant, "slow")[0], seen(tenant, "stale")[0]) == ("delivering", "deliveryFailed")
    clock.pass_(50)
    assert (seen(tenant, "slow")[0], seen(tenant, "stale")[0]) == ("delivering", "delivered")
    clock.pass_(50)
    assert seen(tenant, "slow")[0] == "delivered"


@pytest.mark.parametrize(
    "state", [s for s in STATES if s not in ("deliveryFailed", "partiallyDelivered")]
)
def test_only_failed_and_partly_delivered_requests_are_reprocessed(tenant, state):
    """Every other state is refused and stays as it is."""
    tenant.add([make(state=state)])
    with pytest.raises(Refused) as refused:
        tenant.reprocess("one")
    assert refused.value.reason == ("delivering" if state == "delivering" else "state")
    assert seen(tenant)[0] == state


def test_a_second_attempt_during_the_first_is_refused_even_while_the_old_failure_shows(tenant):
    """What is shown is stale; what is decided is not."""
    tenant.add([make(state="partiallyDelivered")])
    tenant.reprocess("one")
    assert seen(tenant)[0] == "partiallyDelivered"
    with pytest.raises(Refused, match="delivering"):
        tenant.reprocess("one")


def test_an_unknown_request_is_a_key_error(tenant):
    """There is nothing to refuse."""
    with pytest.raises(KeyError):
        tenant.reprocess("nobody")


def test_the_window_is_14_days_from_completion_to_the_second(tenant, clock):
    """The last moment is inside."""
    tenant.add([make("in", minutes_ago=14 * 24 * 60), make("out", minutes_ago=14 * 24 * 60 + 1)])
    tenant.reprocess("in")
    with pytest.raises(Refused, match="window"):
        tenant.reprocess("out")


@pytest.mark.parametrize("moves", [True, False])
def test_the_window_counts_from_the_original_completion(clock, moves):
    """Whether completedDateTime moves is a setting; a new failure never opens the window again."""
    tenant = Tenant(clock, Rules(completed_moves=moves, window_days=7))
    tenant.add([make(minutes_ago=7 * 24 * 60 - 1, outcomes=("deliveryFailed",))])
    original = tenant.get("one").completed
    tenant.reprocess("one")
    clock.pass_(10)
    assert seen(tenant) == ("deliveryFailed", clock.now if moves else original)
    clock.pass_(60)
    with pytest.raises(Refused, match="window"):
        tenant.reprocess("one")


def test_a_delivering_request_ends_only_if_it_was_given_a_time(tenant, clock):
    """Some deliveries stay in limbo for good."""
    tenant.add([make("limbo", "delivering"), make("moving", "delivering", delivery_seconds=5)])
    clock.pass_(5)
    assert seen(tenant, "moving") == ("delivered", clock.now)
    clock.pass_(10**6)
    assert seen(tenant, "limbo") == ("delivering", None)


def test_pages_go_by_key_so_that_changes_between_them_skip_nobody(tenant, clock):
    """A request that leaves the filter after page one moves no other one out of page two."""
    tenant.add([make(f"r{n}", minutes_ago=n, stale_seconds=0) for n in range(1, 6)])
    first, more = tenant.page(is_failed, None, 2)
    assert ([r.id for r in first], more) == (["r1", "r2"], True)
    for request in first:
        tenant.reprocess(request.id)
    rest, more = tenant.page(is_failed, (first[-1].created, first[-1].id), 10)
    assert ([r.id for r in rest], more) == (["r3", "r4", "r5"], False)


def test_equal_times_are_ordered_by_id(tenant):
    """The order is stable and the same however the requests came in."""
    tenant.add([make("b"), make("c"), make("a")])
    assert [request.id for request in tenant] == ["c", "b", "a"]


def test_a_known_id_is_replaced(tenant):
    """Adding is also how a test puts a request into another state."""
    tenant.add([make()])
    tenant.add([make(state="denied", minutes_ago=5)])
    assert (len(tenant), seen(tenant)) == (1, ("denied", START - timedelta(minutes=5)))


def test_advancing_moves_the_tenant_and_not_the_clock(tenant, clock):
    """Tokens keep to the clock, deliveries to the tenant's time."""
    tenant.advance(90)
    assert (tenant.now() - START, clock()) == (timedelta(seconds=90), START)


def test_the_showcase_does_what_it_says(clock):
    """Each request on the showcase comes to what is written beside it."""
    tenant = generated(clock=clock, count=0)
    ends = []
    for request_id, _ in tenant.showcase():
        try:
            tenant.reprocess(request_id)
            ends.append("accepted")
        except Refused as refused:
            ends.append(f"{refused.reason} {refused.state}")
    clock.pass_(10)
    assert [
        (what, end, seen(tenant, i)[0])
        for (i, what), end in zip(tenant.showcase(), ends, strict=True)
    ] == [
        ("will be delivered", "accepted", "delivered"),
        ("fails again", "accepted", "deliveryFailed"),
        ("will be partly delivered, and fully the time after", "accepted", "partiallyDelivered"),
        ("is delivered already", "state delivered", "delivered"),
        ("waits for approval", "state pendingApproval", "pendingApproval"),
        ("window closed", "window deliveryFailed", "deliveryFailed"),
        *[("will be delivered", "accepted", "delivered")] * 5,
    ]


def test_the_showcase_is_newest_and_the_documented_requests_are_there(clock):
    """Whoever lists the tenant sees the showcase first; the documentation's ids can be read."""
    tenant = generated(clock=clock)
    newest = [request.id for request, _ in zip(tenant, range(10), strict=False)]
    assert sorted(newest) == sorted(i for i, what in tenant.showcase() if what != "window closed")
    documented = {
        "7999249e-249e-7999-9e24-99799e249979": "delivered",
        "433dafca-5047-4614-95f7-a03510b1ded3": "pendingApproval",
        "a6bb6942-3ae1-4259-9908-0133aaee9377": "delivered",
    }
    assert {i: tenant.get(i).state for i in documented} == documented


def test_generated_data_is_the_same_for_the_same_seed_and_has_everything(clock):
    """All states, additions and removals, fresh, old and out of the window, in a dozen packages."""
    tenant, again, other = (generated(seed, clock=clock) for seed in (3, 3, 4))
    assert list(tenant) == list(again) != list(other)
    failed = [r for r in tenant if r.state == "deliveryFailed"]
    ages = [(START - r.completed).days for r in failed]
    assert {r.state for r in tenant} == set(STATES)
    assert {"userAdd", "adminAdd", "adminRemove", "userRemove", "systemRemove"} <= {
        r.request_type for r in failed
    }
    assert min(ages) == 0
    assert any(4 < age < 13 for age in ages)
    assert max(ages) > 14
    assert len({r.access_package.id for r in tenant}) == 13  # and the documentation's


def test_a_hundred_thousand_failures_are_quick(clock):
    """Made, listed in pages and reprocessed within seconds; the bound is generous."""
    begin = time.perf_counter()
    tenant = generated(1, 100_000, clock=clock, state="deliveryFailed", examples=False)
    after, count, more = None, 0, True
    while more:
        rows, more = tenant.page(is_failed, after, 100)
        after, count = (rows[-1].created, rows[-1].id), count + len(rows)
        for row in rows:
            tenant.reprocess(row.id)
    assert (count, not hasattr(rows[0], "__dict__")) == (100_000, True)
    assert time.perf_counter() - begin < 20
