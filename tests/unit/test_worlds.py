"""Whole worlds: reprocessing's own code under random interleavings, kills, lost and late answers.

Every profile makes other things go wrong; each seed is another day of one request, with a sweep a
quarter of an hour, and callers and webhooks that often come together. SOAK=10 lives ten times as
many of them.
"""

from __future__ import annotations

import os
from collections import Counter

import pytest

from tests.support.world import Chances, live

WORLDS = 25 * int(os.environ.get("SOAK", "1"))
PROFILES = {
    "calm": Chances(lag=(0.0,)),
    "lost answers": Chances(lost=0.4, unreadable=0.2),
    "throttling": Chances(throttled=0.5, lost=0.1),
    "kills": Chances(killed=0.03, lost=0.2),
    "slow": Chances(slow=0.4, table_slow=0.15),
    "table": Chances(table_failed=0.1, table_lost=0.15, table_slow=0.1),
    "outages": Chances(outages=True, lost=0.2, killed=0.01, throttled=0.1),
    "stale": Chances(lag=(600.0,), long_deliveries=True),
    "stale and lost": Chances(lag=(30.0, 600.0), lost=0.3),
    "judged": Chances(refused=0.3, denied=0.2, ignored=0.2, long_deliveries=True),
    "late": Chances(lag=(0.0,), late=0.3),
    "everything": Chances(
        lag=(0.0, 3.0, 30.0), lost=0.2, unreadable=0.1, throttled=0.2, killed=0.01, slow=0.1,
        table_slow=0.05, table_failed=0.05, table_lost=0.05, refused=0.1, denied=0.1, ignored=0.1,
        long_deliveries=True,
    ),
}  # fmt: skip
# What cannot be helped, and is documented: while the table is away each instance knows only its
# own attempts; what Graph does after a send was given up is not seen in time.
KNOWN = {"sent twice while the table was away", "sent twice after a late acceptance"}


@pytest.mark.parametrize("profile", PROFILES)
def test_nothing_is_sent_twice_lost_or_answered_wrongly(profile):
    """Whoever calls, and whatever goes wrong meanwhile."""
    found = Counter()
    for seed in range(WORLDS):
        world = live(seed, PROFILES[profile])
        found.update({f"{one} (seed {seed})" for one in world.violations.keys() - KNOWN})
        assert world.posts

    assert {} == dict(found)
