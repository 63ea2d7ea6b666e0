"""A cut of the limiter matrix: the aims of the pace, with the real client, in virtual time.

Not for: the whole of it, which `make bench` runs.
"""

from __future__ import annotations

import statistics

from benchmarks.limits import Cell, Unlimited, matrix, random_cells, run

EVERY = 5  # cells


def test_a_drain_keeps_to_a_limit_that_nobody_publishes():
    """Every fifth limiter: near the bound, all finished, and no told wait is ever broken."""
    results = [run(cell, 1) for cell in list(matrix())[::EVERY]]
    ratios = sorted(result.ratio for result in results)

    assert 0 == sum(result.unfinished for result in results)
    assert 0 == sum(result.broken_waits for result in results)
    assert statistics.median(ratios) < 1.06
    assert ratios[int(0.9 * len(ratios))] < 1.4
    assert statistics.median(result.refused for result in results) < 0.05


def test_limits_drawn_at_random_are_survived():
    """Random ones: every drain ends, and no told wait is broken."""
    results = [run(cell, 1) for cell in list(random_cells())[::EVERY]]

    assert 0 == sum(result.unfinished for result in results)
    assert 0 == sum(result.broken_waits for result in results)


def test_without_throttling_nothing_is_held_back():
    """4,000 requests at 100 ms a call."""
    assert run(Cell("no throttling", Unlimited, 4000, 0.1), 1).ratio < 1.15
