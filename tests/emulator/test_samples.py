"""The tenant of `make run` is worth looking at for as long as one looks.

Not for: what the app's list makes of it, with the attempts of the other process (e2e/test_run.py).
"""

from __future__ import annotations

from random import Random

from emulator.samples import CHANGE_SECONDS, EXAMPLE, Life, Samples, fill
from emulator.tenant import Tenant
from tests.support.emulated_graph import START


def test_after_eight_hours_it_is_still_a_tenant_in_use():
    """As many failures of as many people and causes as at the start, and most of them are new."""
    tenant, samples = Tenant(lambda: START), Samples(Random(1), START)
    fill(tenant, samples, 90)
    life = Life(tenant, samples)
    first = {one.id for one in life._failed()}
    for _ in range(8 * 3600 // CHANGE_SECONDS):
        tenant.advance(CHANGE_SECONDS)
        life.go_on()
    last = {one.id: one for one in life._failed()}

    assert len(first) - 1 <= len(last) <= len(first)
    assert EXAMPLE in last
    assert len(last.keys() - first) > len(last) / 3
    assert len({one.requestor.id for one in last.values()}) > len(last) * 0.8
    assert len({one.access_package.id for one in last.values()}) > 8
    assert any(one.is_removal for one in last.values())
