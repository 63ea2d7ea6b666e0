"""The benchmarks really do what they measure, and docs/benchmarks.md states their results only.

Not for: how fast anything is, or contenders on msgraph-sdk, which only `make bench` installs.
"""

from __future__ import annotations

import json

import pytest

from benchmarks import document
from benchmarks.drains import CONTENDERS, ROUTES, SWEEP, Plan, drain, whole_seconds

WITHOUT_SDK = [one for one in (*CONTENDERS, *ROUTES) if one.program != "sdk"]


@pytest.mark.parametrize("contender", WITHOUT_SDK, ids=lambda one: one.name)
def test_a_contender_drains_a_tenant(azurite, contender):
    """All of a small one: one list, and a call for each request or, in a sweep and in bulk, one."""
    row = drain(azurite, contender, 20, 0, seconds=30.0)

    calls = 2 if contender in {SWEEP, ROUTES[1]} else 21
    assert (20, 1.0, 0, calls) == (row["tried"], row["delivered"], row["refused"], row["calls"])
    assert 5 < row["mib"] < 200


def test_a_contender_is_cut_off_when_its_time_is_over(azurite):
    """At 100 ms a call, half a second is enough for a few; the calls for the others are estimated."""
    row = drain(azurite, CONTENDERS[0], 20, 100, seconds=0.45)

    assert row["tried"] in range(1, 6)
    assert (21, 1.0) == (row["calls"], row["delivered"])


def test_what_is_cut_off_is_estimated_at_the_speed_of_the_second_half():
    """After a list of 1 s, 8 of 20 requests in 4 s of posting, of which 2 in the second half."""
    cut_off = {"tried": 9, "seconds": 5.5, "listing": 1.0, "halfway": 6, "in time": 8}

    assert 1 + 4 + (20 - 8) / (2 / 2) == whole_seconds(cut_off, 20, 4.0)
    assert 5.5 == whole_seconds(cut_off, 9, 4.0)


def test_a_refused_call_counts_and_is_tried_again(azurite):
    """More than the limit lets through at first; the loop waits as `Retry-After` says."""
    throttle = {"perSecond": 2, "burst": 10, "retryAfter": "int"}
    row = drain(azurite, CONTENDERS[0], 12, 0, throttle=throttle, seconds=30.0)

    assert row["refused"] > 0
    assert 1.0 == row["delivered"]


def test_a_contender_too_slow_for_the_limit_is_not_measured_under_it():
    """One call after the other, 50 ms each, makes 20 a second; twenty, 200 ms each, 100."""
    limited = [
        (latency, one.program) for one, _, latency, is_limited in Plan().cells() if is_limited
    ]

    assert limited == [
        *((0, one) for one in ("loop", "for_each", "sdk", "sweep")),
        *((50, one) for one in ("for_each", "sdk", "sweep")),
        (200, "sweep"),
    ]


def test_each_case_in_which_another_was_faster_is_named():
    """With what was lost; or none."""
    sweep = {"contender": SWEEP.name, "size": 10, "latency": 0, "throttled": False}
    sweep |= {"tried": 10, "seconds": 2.0, "delivered": 1.0}
    fast = sweep | {"contender": "loop", "seconds": 1.0, "delivered": 0.5}
    slow = sweep | {"contender": "loop", "seconds": 3.0}

    assert document.faster([fast, sweep]) == (
        "loop, 10 at 0 ms: 1.00 s, 50 % delivered (the sweep 2.00 s)"
    )
    assert "in no case" == document.faster([slow, sweep])


def test_the_document_is_what_its_results_say():
    """No figure was written by hand; else: make bench."""
    results = json.loads(document.RESULTS.read_text())

    assert document.PAGE.read_text() == document.render(results)
