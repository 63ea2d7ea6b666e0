"""reprocess_timer/report.py: which counts are known, and what a report says went wrong."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace

import pytest
from azure.core.exceptions import ServiceRequestError

from attempt_store import what_to_do
from attempts import blank
from graph import GraphDenied, GraphError
from planning.listing import ListFailure
from planning.plan import PlanStatus
from reprocess_timer.report import Report
from reprocessing.many import Due, ManyResult
from tests.support.scripted_graph import SERVER_ERROR, SILENCE

DENIED = GraphDenied("Not allowed.", status=403, code="UnAuthorized")
GONE = ServiceRequestError("gone")


def plan(listed=(), expiring=0, **counts):
    statuses = Counter({PlanStatus(name): count for name, count in counts.items()})
    return SimpleNamespace(counts=statuses, expiring=expiring, listed_ids=set(listed))


def reprocessed(*outcomes, **more):
    """The result of requests with these (outcome, cause)."""
    return ManyResult([(Due(blank(str(n))), *one) for n, one in enumerate(outcomes)], **more)


def report(*steps, dry_run=False, **more):
    return Report("id", dry_run, {"list": 0.5}, *steps, **more)


def problem(many):
    due = len(many.results)
    return report(plan("a" * due, due=due), (), many).problem


def test_all_counts_add_up():
    """`found` is the sum of the plan; due is the sum of the outcomes, with what was cut off."""
    listed = [str(n) for n in range(12)]
    planned = plan(listed, expiring=4, due=8, cooling=1, exhausted=1, expired=1, excluded=1)
    many = reprocessed(
        *[(name, None) for name in ("accepted", "refused", "denied", "failed", "unknown")],
        ("postponed", None),
        throttled=9,
    )
    back = {"delivered": 3, "delivering": 2, "other": 1}

    fields = report(planned, (), many, back, {10: 1, 2: 2}).fields()

    # fmt: off
    assert {
        "sweepId": "id", "dryRun": False, "found": 12, "expiring": 4,
        "due": 8, "cooling": 1, "exhausted": 1, "expired": 1, "excluded": 1,
        "accepted": 1, "refused": 1, "denied": 1, "failed": 1, "unknown": 1, "postponed": 3, "throttled": 9,
        "delivered": 3, "delivering": 2, "other": 1, "deliveredAfter": {"2": 2, "10": 1},
        "listComplete": True, "seconds": {"list": 0.5},
    } == fields
    # fmt: on


def test_counts_that_are_not_known_are_left_out():
    """A list that failed and gave nothing has found no 0; one that gave something is counted."""
    failure = ListFailure(None, DENIED)
    lost = report(plan(), [failure], reprocessed())
    some = report(plan("a", due=1), [failure], reprocessed(("accepted", None)))
    unread = report(table_error=GONE)

    assert ({}, False) == (lost.counts, lost.list_complete)
    assert (1, 1, False) == (some.counts["found"], some.counts["accepted"], some.list_complete)
    assert ({}, None) == (unread.counts, unread.list_complete)
    assert "listComplete" not in unread.fields()


@pytest.mark.parametrize(("many", "says"), [
    (reprocessed(), ""),
    (reprocessed(("accepted", None), ("denied", DENIED)), ""),
    (reprocessed(("refused", None), ("unknown", SILENCE)), ""),
    (reprocessed(("denied", DENIED)),
     "every request that was sent was denied (1), the last with: Not allowed (HTTP 403 UnAuthorized). "
     + DENIED.remedy),
    (reprocessed(("unknown", SILENCE), ("failed", SERVER_ERROR)),
     ("Graph gave no usable answer to any request that was sent (2), the last with: failing (HTTP 500 "
     "UnknownError). Each is tried again after its cool-down; if this goes on, give Microsoft support "
     "the graphRequestId of a line `reprocess failed`")),
    (reprocessed(("denied", DENIED), ("failed", SERVER_ERROR)), ""),
    (reprocessed(("failed", SERVER_ERROR), ("denied", DENIED)), ""),
    (reprocessed(("postponed", None), ("denied", DENIED), stop_reason=DENIED),
     "Graph denies all that is tried: Not allowed (HTTP 403 UnAuthorized). " + DENIED.remedy),
    (reprocessed(("postponed", None), stop_reason=SILENCE),
     "Graph gave no usable answer to three calls in a row, so the rest is left to the next sweep: silent"),
    (reprocessed(("postponed", None), throttled=1),
     ("1 requests were due and none could be tried, because Graph is throttling: the next sweep tries "
     "again; if this goes on, raise SWEEP_BUDGET_SECONDS")),
    (reprocessed(("postponed", None)),
     ("1 requests were due and none could be tried, because the time was up: the next sweep tries "
     "again; if this goes on, raise SWEEP_BUDGET_SECONDS")),
    # another caller or sweep has tried it meanwhile, also where Graph asked to wait first
    (reprocessed(("postponed", None), throttled=1, skipped=1), ""),
    (reprocessed(("postponed", None), error=KeyError("a bug")),
     "the sweep broke off (KeyError): look for its traceback above"),
    (reprocessed(("accepted", None), error=GONE),
     f"attempt records could not be written, so nothing more was tried: {what_to_do(GONE)}"),
], ids=str)  # fmt: skip
def test_the_problem_is_one_sentence_that_says_what_to_do(many, says):
    """Nothing is said where at least one request got an answer of its own.

    [seen: msgraph-beta-sdk-dotnet#139: a POST that is always 500]
    """
    assert says == problem(many)


def test_without_the_attempt_records_nothing_was_tried():
    """What to do about the table is said."""
    said = f"the attempt records could not be read, so nothing was tried: {what_to_do(GONE)}"

    assert said == report(table_error=GONE).problem


def failures(count):
    return [ListFailure(f"package-{n}", GraphError("No", status=400)) for n in range(count)]


@pytest.mark.parametrize(("listed", "says"), [
    ([ListFailure(None, DENIED)], "the failed requests could not be listed, or not all of them: Not allowed (HTTP 403 UnAuthorized). " + DENIED.remedy),
    (failures(1), "access packages could not be listed: package-0, the first with: No (HTTP 400). The next sweep tries again."),
    (failures(12), ("access packages could not be listed: package-0, package-1, package-2, package-3, package-4, package-5, "
     "package-6, package-7, package-8, package-9 and 2 more, the first with: No (HTTP 400). The next sweep tries again.")),
], ids=["all", "one", "many"])  # fmt: skip
def test_lists_that_failed_are_named(listed, says):
    """Ten access packages at most, and why the first one failed."""
    assert says == report(plan(), listed, reprocessed()).problem
