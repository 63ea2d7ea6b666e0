"""Graph in every other variant: whatever its documentation leaves open, a sweep does its work.

Each row turns switches of the emulator (emulator/switches.py has them all), and a whole sweep runs
against it. Not for: what goes wrong now and then (unit/test_sweep.py, faults/).
"""

from __future__ import annotations

from pathlib import Path

import pytest

from deadline import Deadline
from emulator.switches import declared, json_name
from planning.listing import list_failed
from tests.support.sweeps import counts

COUNT = 45
TESTS = Path(__file__).parent.parent
# Switches that change what is listed, posted, batched or how it is answered: all still accepted.
# Those in one row concern different calls, or different parts of an answer.
SAME = [
    {"top": "ignored", "acceptStatus": 200, "date": "missing"},
    {"top": "refused", "acceptStatus": 204, "date": "malformed", "select": "ignored"},
    {"top": "honoured", "topMost": 7, "acceptStatus": 201, "acceptBody": "json"},
    {"top": "total", "pageSize": 10, "timeDigits": 0},
    {"top": "total", "topMost": 20, "timeDigits": 7},
    {"combinedFilterSupported": False, "tokenSeconds": 1},
    {"combinedFilterSupported": False, "top": "refused", "expiresOn": "number"},
    {"stateFilter": "ignored", "expiresOn": "later", "tokenSeconds": 1},
    {"top": "ignored", "pageSize": 10, "pages": ["repeats"], "clockAheadSeconds": 3600},
    {"top": "ignored", "pageSize": 10, "pages": ["empty"], "clockAheadSeconds": -3600},
    {"top": "ignored", "pageSize": 10, "pages": ["otherCase"], "windowDays": 7},
    {"batchSupported": False, "removalPackage": "missing"},
    {"batchAnswers": ["numberIds", "noHeaders"], "completedMoves": False},
    {"batchAnswers": ["nullHeaders", "noBody"], "windowMoves": True},
    {"batchAnswers": ["upperHeaders", "doubled", "strangers"], "completedStaysVisible": True},
    {"deliveringState": "Accepted", "errorForm": "innererror"},
    {"deliveringState": "unknownFutureValue", "repeatAccepted": True},
    {"staleSeconds": 30, "deliverySeconds": 60},
    {"goneWhenAccepted": True, "latencyMs": 30, "identityLatencyMs": 300},
]
# How a refusal is written, and its status: Graph publishes neither.
REFUSALS = {"nested": 400, "details": 409, "emptyCode": 410, "noMessage": 412, "text": 422, "none": 400}  # fmt: skip


@pytest.mark.parametrize("switches", SAME, ids=str)
def test_a_sweep_does_its_work(world, switches):
    """Everything due is accepted, once, and nothing is lost from the list."""
    ids = world.failures(COUNT, deliverySeconds=switches.get("deliverySeconds", 0))
    world.app.control("PATCH", "settings", switches)

    report = world.sweep()

    assert {"found": COUNT, "due": COUNT, "accepted": COUNT} == counts(report)
    assert ("", True) == (report.problem, report.list_complete)
    assert sorted(ids) == sorted(world.posted())


def test_a_reprocess_that_no_batch_may_carry_is_done_in_single_calls(world):
    """The first batch is refused item by item; one of them is tried alone before that is believed."""
    ids = world.failures(COUNT)
    world.app.control("PATCH", "settings", {"batchPostStatus": 400})

    report = world.sweep()

    assert {"found": COUNT, "due": COUNT, "accepted": COUNT} == counts(report)
    assert sorted([*ids, *ids[:20]]) == sorted(world.posted())
    assert [1] * COUNT == [world.record(one).count for one in ids]


def test_a_batch_that_cannot_be_read_is_settled_by_the_states(world):
    """What it carried out is seen after the settle time; nothing is sent twice."""
    ids = world.failures(COUNT)
    world.app.fault("batch", "garbage", status=200, after=True)

    report = world.sweep()

    assert {"found": COUNT, "due": COUNT, "accepted": COUNT} == counts(report)
    assert sorted(ids) == sorted(world.posted())


@pytest.mark.parametrize(("form", "status"), REFUSALS.items())
def test_a_refusal_in_any_form_cools_down_and_counts(world, form, status):
    (one,) = world.failures(1)
    switches = {"serviceRetrySeconds": 86400, "errorForm": form, "refusalStatus": status}
    world.app.control("PATCH", "settings", switches | {"refusalCode": "Odd"})

    report = world.sweep()

    record = world.record(one)
    assert ({"found": 1, "due": 1, "refused": 1}, "") == (counts(report), report.problem)
    assert (1, "refused") == (record.count, record.outcome)
    assert f"HTTP {status}" in record.history[0].words


@pytest.mark.parametrize(
    ("form", "batched"), [("int", "20"), ("decimal", "1"), ("date", "20"), ("none", "1")]
)
def test_throttling_is_kept_to_in_batches_and_single_calls(world, form, batched):
    """All are accepted in the end."""
    world.failures(60)
    throttle = {"perSecond": 40, "burst": 20, "retryAfter": form}
    world.app.control("PATCH", "settings", {"throttle": throttle})

    report = world.sweep(GRAPH_BATCH_SIZE=batched)

    assert (60, 60, "") == (report.counts["due"], report.counts["accepted"], report.problem)


@pytest.mark.parametrize("switches", [{"pages": ["relative"]}, {"nextLinkSeconds": 0}], ids=str)
def test_a_list_that_cannot_be_followed_is_done_as_far_as_it_went(world, switches):
    """And the sweep says that it is not whole."""
    world.failures(COUNT)
    ignored = {"top": "ignored", "pageSize": 10}
    world.app.control("PATCH", "settings", ignored | switches)

    report = world.sweep()

    assert {"found": 10, "due": 10, "accepted": 10} == counts(report)
    assert not report.list_complete
    assert "or not all of them" in report.problem


@pytest.mark.parametrize("switch", ["forbiddenPackages", "missingPackages"])
def test_an_access_package_that_cannot_be_listed_costs_itself(world, switch):
    """The others are done, and the sweep names it."""
    package, other = (f"{n}0000000-0000-4000-8000-000000000000" for n in "ab")
    world.failures(2, accessPackageId=package)
    world.failures(3, accessPackageId=other)
    world.app.control("PATCH", "settings", {switch: [other]})

    report = world.sweep(SWEEP_ACCESS_PACKAGES=f"{package},{other}")

    assert {"found": 2, "due": 2, "accepted": 2} == counts(report)
    assert other in report.problem


@pytest.mark.parametrize("expand", ["honoured", "ignored", "refused"])
def test_names_are_told_or_left_out(world, expand):
    """Whatever becomes of `$expand`, the list of requests is whole."""
    ids = world.failures(3)
    world.app.control("PATCH", "settings", {"expand": expand})

    listed = []
    assert [] == list_failed(world.graph(), (), Deadline(10), listed.append, names=True)

    assert sorted(ids) == sorted(one.id for one in listed)
    assert {expand == "honoured"} == {bool(one.access_package_name) for one in listed}


def test_every_switch_is_turned_somewhere():
    """A rule of the emulator whose opposite was never tried is a guess."""
    sources = [*TESTS.rglob("*.py"), TESTS.parent / "emulator/breaks.py"]
    texts = "".join(path.read_text() for path in sources)
    switches = [json_name(one.name) for one in declared()]

    assert [] == [one for one in switches if f'"{one}"' not in texts and f"{one}=" not in texts]
