"""The tenant of `make run`: the same in both processes, and worth looking at for as long as one looks.

Not for: what the app's list makes of it (e2e/test_run.py).
"""

from __future__ import annotations

from collections import Counter
from random import Random

from emulator.samples import CHANGE_SECONDS, EXAMPLE, Life, Samples, fill
from emulator.tenant import Tenant
from tests.support.emulated_graph import START


def test_the_same_seed_and_time_give_the_same_failures():
    """One process has the requests, the other one the attempts at them."""
    one, again = (Samples(Random(3), START).failures(90) for _ in range(2))

    assert one == again
    assert EXAMPLE in {failure.request.id for failure in one}
    assert all(attempt.at < START for failure in one for attempt in failure.attempts)


def test_after_eight_hours_it_is_still_a_tenant_in_use():
    """As many failures of as many people and causes as at the start, and most of them are new."""
    tenant, samples = Tenant(lambda: START), Samples(Random(1), START)
    fill(tenant, samples, 90)
    life = Life(tenant, samples)
    first = {one.id: one for one in life._failed()}
    for _ in range(8 * 3600 // CHANGE_SECONDS):
        tenant.advance(CHANGE_SECONDS)
        life.go_on()
    last = {one.id: one for one in life._failed()}

    assert len(first) - 1 <= len(last) <= len(first)
    assert EXAMPLE in last
    assert len(last.keys() - first.keys()) > len(last) / 3
    assert len({one.requestor.id for one in last.values()}) > len(last) * 0.8
    assert len(Counter(one.access_package.id for one in last.values())) > 8
    assert any(one.is_removal for one in last.values())
