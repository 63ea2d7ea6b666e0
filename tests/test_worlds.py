"""Graph otherwise: of every rule of the emulator the opposite, and the app does its work.

Each row turns switches of the emulator (emulator/switches.py has them all); a whole sweep runs
against it, or one call over HTTP. Not for: what goes wrong now and then (test_sweep.py, faults).
"""

from __future__ import annotations

from pathlib import Path

import pytest

from deadline import Deadline
from emulator.switches import declared, json_name
from reprocess_timer.report import Counts

COUNT = 45
# Switches that change what is listed, posted, batched or how it is answered: all still accepted.
SAME = [
    {"top": "ignored"},
    {"top": "refused"},
    {"top": "honoured", "topMost": 7},
    {"top": "total", "pageSize": 10},
    {"top": "total", "topMost": 20},
    {"select": "ignored"},
    {"combinedFilterSupported": False},
    {"combinedFilterSupported": False, "top": "refused"},
    {"stateFilter": "ignored"},
    {"top": "ignored", "pageSize": 10, "pages": ["repeats"]},
    {"top": "ignored", "pageSize": 10, "pages": ["empty"]},
    {"top": "ignored", "pageSize": 10, "pages": ["otherCase"]},
    {"acceptStatus": 200},
    {"acceptStatus": 204},
    {"acceptStatus": 201, "acceptBody": "json"},
    {"batchSupported": False},
    {"batchAnswers": ["numberIds", "textStatus", "noHeaders"]},
    {"batchAnswers": ["nullHeaders", "noBody"]},
    {"batchAnswers": ["upperHeaders", "doubled", "strangers"]},
    {"date": "missing"},
    {"date": "malformed"},
    {"timeDigits": 0},
    {"timeDigits": 7},
    {"tokenSeconds": 1},
    {"expiresOn": "number"},
    {"expiresOn": "later", "tokenSeconds": 1},
    {"clockAheadSeconds": 3600},
    {"clockAheadSeconds": -3600},
    {"windowDays": 7},
    {"windowMoves": True},
    {"completedMoves": False},
    {"completedStaysVisible": True},
    {"repeatAccepted": True},
    {"deliveringState": "Accepted"},
    {"deliveringState": "unknownFutureValue"},
    {"staleSeconds": 30, "deliverySeconds": 60},
    {"goneWhenAccepted": True},
    {"errorForm": "innererror"},
    {"removalPackage": "missing"},
    {"latencyMs": 30},
    {"identityLatencyMs": 300},
]
THROTTLES = [
    {"perSecond": 40, "burst": 20, "retryAfter": form}
    for form in ("int", "decimal", "date", "none")
]


@pytest.mark.parametrize("switches", SAME, ids=str)
def test_a_sweep_does_its_work(world, switches):
    """Everything due is accepted, once, and nothing is lost from the list."""
    ids = world.failures(COUNT, deliverySeconds=switches.get("deliverySeconds", 0))
    world.app.control("PATCH", "settings", switches)

    report = world.sweep()

    assert Counts(found=COUNT, due=COUNT, accepted=COUNT) == report.counts
    assert ("", True) == (report.problem, report.list_complete)
    assert sorted(ids) == sorted(world.posted())


@pytest.mark.parametrize("status", [400, 403, 404, 405, 413, 501])
def test_a_batch_that_is_not_taken_is_done_in_single_calls(world, status):
    """Said once in the log."""
    world.failures(COUNT)
    world.app.fault("batch", "status", status=status, times=-1)

    report = world.sweep()

    assert Counts(found=COUNT, due=COUNT, accepted=COUNT) == report.counts
    assert [status] == [line["graphStatus"] for line in world.lines("batch not accepted")]


@pytest.mark.parametrize("status", [400, 404, 405, 501])
def test_a_reprocess_that_no_batch_may_carry_is_done_in_single_calls(world, status):
    """The first batch is refused item by item; one of them is tried alone before that is believed."""
    ids = world.failures(COUNT)
    world.app.control("PATCH", "settings", {"batchPostStatus": status})

    report = world.sweep()

    assert Counts(found=COUNT, due=COUNT, accepted=COUNT) == report.counts
    assert [status] == [line["graphStatus"] for line in world.lines("batch not accepted")]
    assert sorted([*ids, *ids[:20]]) == sorted(world.posted())
    assert [1] * COUNT == [world.attempts.read(one).count for one in ids]


def test_a_batch_whose_answers_are_no_list_is_an_outage(world):
    """Whether anything was carried out is settled by reading, one by one."""
    world.failures(COUNT, deliverySeconds=60)
    world.app.control("PATCH", "settings", {"batchAnswers": ["notAList"]})

    report = world.sweep()

    assert COUNT == report.counts.accepted + report.counts.postponed
    assert len(world.posted()) == len(set(world.posted()))
    assert report.problem.startswith("Graph did not answer three times in a row")


@pytest.mark.parametrize(
    "error_form", ["nested", "details", "emptyCode", "noMessage", "text", "none"]
)
def test_a_refusal_in_any_form_is_a_refusal(world, error_form):
    """Its status counts; code and message are told where they can be read."""
    world.failures(3)
    switches = {"serviceRetrySeconds": 86400, "errorForm": error_form}
    world.app.control("PATCH", "settings", switches)

    report = world.sweep()

    assert Counts(found=3, due=3, refused=3) == report.counts
    assert "" == report.problem


@pytest.mark.parametrize("status", [400, 409, 410, 412, 422])
def test_whatever_the_status_of_a_refusal_it_cools_down_and_counts(world, status):
    """Graph publishes none of them."""
    (one,) = world.failures(1)
    switches = {"serviceRetrySeconds": 86400, "refusalStatus": status, "refusalCode": "Odd"}
    world.app.control("PATCH", "settings", switches)

    report = world.sweep()

    assert Counts(found=1, due=1, refused=1) == report.counts
    row = world.attempts.read(one)
    assert (1, "refused", True) == (row.count, row.outcome, f"HTTP {status} Odd" in row.refusal)


@pytest.mark.parametrize("throttle", THROTTLES, ids=str)
@pytest.mark.parametrize("batched", ["20", "1"])
def test_throttling_is_kept_to_in_batches_and_single_calls(world, throttle, batched):
    """All are accepted in the end."""
    world.failures(60)
    world.app.control("PATCH", "settings", {"throttle": throttle})

    report = world.sweep(GRAPH_BATCH_SIZE=batched)

    assert (60, 60, "") == (report.counts.due, report.counts.accepted, report.problem)


@pytest.mark.parametrize(
    "switches",
    [
        {"top": "ignored", "pageSize": 10, "pages": ["relative"]},
        {"top": "ignored", "pageSize": 10, "nextLinkSeconds": 0},
    ],
    ids=str,
)
def test_a_list_that_cannot_be_followed_is_done_as_far_as_it_went(world, switches):
    """And the sweep says that it is not whole."""
    world.failures(COUNT)
    world.app.control("PATCH", "settings", switches)

    report = world.sweep()

    assert Counts(found=10, due=10, accepted=10) == report.counts
    assert not report.list_complete
    assert "or not all of them" in report.problem


@pytest.mark.parametrize("expand", ["honoured", "ignored", "refused"])
def test_names_are_told_or_left_out(world, expand):
    """Whatever becomes of `$expand`, the list of requests is whole."""
    ids = world.failures(3)
    world.app.control("PATCH", "settings", {"expand": expand})

    listed = list(world.graph().failed_in_detail(Deadline(10)))

    assert sorted(ids) == sorted(one.id for one in listed)
    assert {expand == "honoured"} == {bool(one.access_package_name) for one in listed}


def test_every_switch_is_turned_somewhere():
    """A rule of the emulator whose opposite nobody has tried is a guess."""
    here = Path(__file__).parent
    texts = "".join(
        path.read_text() for path in here.rglob("*.py") if not path.name.startswith("test_emulator")
    )
    left = {json_name(one.name) for one in declared()} - {"missingPackages", "licensed"}

    assert set() == {name for name in left if f'"{name}"' not in texts}
