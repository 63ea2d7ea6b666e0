"""What is measured side by side is really done, and docs/benchmarks.md states that and no more.

Not for: how fast anything is, or contenders on msgraph-sdk, which only `make bench` installs.
"""

from __future__ import annotations

import json
import random
import re

import pytest

from benchmarks import document, drains
from benchmarks.drains import CONTENDERS, QUICK, Plan, drain
from benchmarks.peers import at_once

WITHOUT_SDK = [one for one in CONTENDERS if "sdk" not in one.command]
NUMBER = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?")
# What the text has whatever was measured: statuses, p50 and p99, an aim, 20 at once, the made-up day.
TEXT = {"202", "429", "50", "99", "1.5", "20", "2026", "01"}


@pytest.mark.parametrize("contender", WITHOUT_SDK, ids=lambda one: one.name)
def test_a_contender_drains_a_tenant(azurite, contender):
    """All of a small one; a call to Graph for each request at least, or batches in a sweep."""
    row = drain(azurite, contender, 20, 0, throttled=False, seconds=30.0)

    assert (20, 1.0, 0) == (row["tried"], row["delivered"], row["refused"])
    assert row["calls"] in (range(2, 8) if contender.name == document.SWEEP else range(21, 24))
    assert 5 < row["mib"] < 200


def test_what_is_cut_off_is_reckoned_at_the_same_speed(azurite):
    """At 100 ms a call, half a second is enough for a few; the others are reckoned."""
    row = drain(azurite, CONTENDERS[0], 20, 100, throttled=False, seconds=0.45)

    assert row["tried"] in range(1, 6)
    assert 20 * 0.1 < row["seconds"] < 20 * 0.3
    assert row["calls"] in range(20, 25)
    assert 1.0 == row["delivered"]


def test_a_refused_call_counts_and_is_tried_again(azurite, monkeypatch):
    """More than the limit lets through at first; the loop waits as told."""
    monkeypatch.setattr(drains, "THROTTLE", {"perSecond": 2, "burst": 10, "retryAfter": "int"})
    row = drain(azurite, CONTENDERS[0], 12, 0, throttled=True, seconds=30.0)

    assert row["refused"] > 0
    assert 1.0 == row["delivered"]


def test_twenty_at_once_wait_as_the_default_policy_says():
    """Longer each time, within its bounds."""
    drawn = [[at_once.wait(retry) for _ in range(200)] for retry in (1, 2, 3, 4)]

    for waits, (least, most) in zip(drawn, [(5, 7.5), (7.5, 15), (15, 30), (30, 45)], strict=True):
        assert least <= min(waits) <= max(waits) <= most


def test_who_cannot_reach_the_limit_is_not_measured_twice():
    """One call after the other, 50 ms each, makes 20 a second."""
    cells = [(one.name, latency) for one, _, latency, limited in Plan().cells() if limited]

    assert ("requests loop", 0) in cells
    assert ("requests loop", 50) not in cells
    assert ("our sweep", 200) in cells


def made_up(seed):
    """Results of every part, drawn at random."""
    draw = random.Random(seed)
    on = {"day": "2026-01-01", "python": "CPython", "cores": 2, "quick": False}
    rows = [
        {
            "contender": one.name,
            "size": size,
            "latency": latency,
            "throttled": throttled,
            "tried": size - draw.choice((0, 1)),
            "seconds": draw.uniform(0.1, 3000),
            "calls": draw.randrange(10**6),
            "refused": draw.randrange(10**6),
            "delivered": draw.random(),
            "mib": draw.uniform(20, 900),
        }
        for one, size, latency, throttled in QUICK.cells()
    ]
    apps = [
        {name: draw.uniform(0.1, 900) for name in ("seconds", "cpu", "mib", "megabytes")}
        | {"app": app, "imports": {app: draw.random(), "others": draw.random()}}
        for app in ("ours", "ours, compiled", "msgraph-sdk", "hello-world")
    ]
    one = [
        {"contender": one.name, "p50": draw.random(), "p99": draw.random()} for one in CONTENDERS
    ]
    sizes = [
        {"size": 10**n, "tried": draw.randrange(10**6)}
        | {name: draw.uniform(1, 900) for name in ("listing", "whole", "mib")}
        for n in (3, 4)
    ]
    return {
        "peers": {
            "on": on,
            "seconds": draw.random(),
            "limited seconds": draw.random(),
            "rate": 7,
            "rows": rows,
        },
        "one": {"on": on, "calls": draw.randrange(10**4), "rows": one},
        "cold": {"on": on, "rounds": draw.randrange(1000), "rows": apps},
        "growth": {"on": on, "rows": sizes},
        **{name: {"on": on, "figures": {"a": "b", "  c": "d"}} for name in document.ALONE},
    }


def leaves(value):
    """Every number in results."""
    if isinstance(value, dict | list):
        within = value.values() if isinstance(value, dict) else value
        return [leaf for one in within for leaf in leaves(one)]
    return [value] if isinstance(value, int | float) else []


def test_the_document_has_no_number_that_was_not_measured():
    """But for counts of cases, ratios of cold starts, and what is no result."""
    results = made_up(1)
    text = document.render(results)
    starts = [row["seconds"] for row in results["cold"]["rows"]]
    written = {document.number(one / other) for one in starts for other in starts[2:]}
    written |= {str(count) for count in range(len(results["peers"]["rows"]) + 1)}
    for leaf in leaves(results):
        written |= {document.number(leaf), f"{leaf:.0f}", f"{leaf * 1000:.0f}"}
        written |= {document.percent(leaf).removesuffix(" %")}

    assert set() == set(NUMBER.findall(text)) - TEXT - written
    assert not re.search(r"\d", document.WHY)


def test_the_document_is_whole():
    """Every part has its heading, its chart and a line for each that was measured."""
    text = document.render(made_up(3))

    assert [
        "Who is measured",
        "Draining a tenant",
        "One request",
        "Cold start",
        "Growth",
        "Redeliver alone",
    ] == (re.findall(r"^## (.*)$", text, re.MULTILINE))
    assert ["drain", "limited", "cold", "growth"] == re.findall(r"benchmarks/(\w+)\.svg", text)
    assert [] == [one.name for one in CONTENDERS if f"| {one.name} | " not in text]


def test_whoever_was_faster_than_the_sweep_is_named():
    """With what was lost on the way; and nobody, where nobody was."""
    sweep = {"contender": "our sweep", "size": 10, "latency": 0, "throttled": False, "tried": 10}
    sweep |= {"seconds": 2.0, "calls": 3, "refused": 0, "delivered": 1.0, "mib": 50.0}
    fast = sweep | {"contender": "loop", "seconds": 1.0, "calls": 11, "delivered": 0.5}
    slow = sweep | {"contender": "loop", "seconds": 3.0}

    assert document.who_wins([fast, sweep]).startswith(
        "- loop: 10 at 0 ms, in 1.00 s, of which 50 % delivered; the sweep in 2.00 s\n"
    )
    assert document.who_wins([slow, sweep]).startswith("None, in no case.\n")


def test_the_document_is_what_its_results_say():
    """Nobody has written a figure into it; else: make bench."""
    results = json.loads(document.RESULTS.read_text())

    assert document.PAGE.read_text() == document.render(results)
