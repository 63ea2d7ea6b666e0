"""The aims of the rate limiter, with the real sender, in virtual time: benchmarks/limits.py once.

Not for: three seeds of each limiter, which `python -m benchmarks.limits` runs.
"""

from __future__ import annotations

import statistics

from benchmarks.limits import Bucket, Cell, Unlimited, matrix, random_cells, run


def test_a_drain_comes_near_to_limits_that_are_not_published():
    """Near the bound, every drain finished, no Retry-After broken, few answers of 429."""
    results = [run(cell, 1) for cell in matrix()]
    ratios = sorted(result.ratio for result in results)

    assert 0 == sum(result.unfinished for result in results)
    assert 0 == sum(result.broken_waits for result in results)
    assert statistics.median(ratios) < 1.06
    assert ratios[int(0.9 * len(ratios))] < 1.45
    assert statistics.median(result.refused for result in results) < 0.045


def test_limits_drawn_at_random_are_survived():
    """Every drain ends, and no Retry-After is broken."""
    results = [run(cell, 1) for cell in list(random_cells())[::5]]

    assert 0 == sum(result.unfinished for result in results)
    assert 0 == sum(result.broken_waits for result in results)


def test_without_throttling_nothing_is_held_back():
    """4,000 requests at 100 ms a call."""
    assert run(Cell("no throttling", Unlimited, 4000, 0.1), 1).ratio < 1.15


def test_a_bucket_that_is_empty_at_the_first_call_costs_little():
    """2,000 requests at 400 a second, of which the bucket keeps 800."""
    cell = Cell("empty", lambda: Bucket(400, 800, 0), 2000)

    assert statistics.mean(run(cell, seed).ratio for seed in range(5)) < 1.10
