"""reprocess_timer/report.py: which counts are known, and what a report says went wrong."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import pytest
from azure.core.exceptions import ServiceRequestError

from attempts import blank
from graph import GraphDenied, GraphError, GraphFailed, GraphTimeout
from planning.listing import ListFailure
from planning.plan import PlanStatus
from reprocess_timer.report import Report
from reprocessing.many import Due, ManyResult

DENIED = GraphDenied("Not allowed.", status=403, code="UnAuthorized")
SILENT = GraphTimeout("no answer came in time", outcome_unknown=True)
BROKEN = GraphFailed("Graph failed.", status=500, code="UnknownError", outcome_unknown=True)
GONE = ServiceRequestError("gone")


def plan(listed=(), expiring=0, **counts):
    statuses = Counter({PlanStatus(name): count for name, count in counts.items()})
    return SimpleNamespace(counts=statuses, expiring=expiring, listed_ids=set(listed))


def reprocessed(*outcomes, throttled=0, stop_reason=None, error=None):
    """The result of requests with these (outcome, cause)."""
    results = [(Due(blank(str(n))), *one) for n, one in enumerate(outcomes)]
    return ManyResult(results, throttled, stop_reason, error)


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
    (reprocessed(("accepted", None), ("denied", DENIED), ("failed", BROKEN)), ""),
    (reprocessed(("refused", None), ("unknown", SILENT)), ""),
    (reprocessed(("accepted", None), ("postponed", None), throttled=3), ""),
    (
        reprocessed(("denied", DENIED), ("denied", DENIED)),
        "every request that was sent was denied (2), the last with: Not allowed (HTTP 403 UnAuthorized). "
        + DENIED.remedy,
    ),
    (
        reprocessed(("unknown", SILENT), ("failed", BROKEN)),
        (
            "Graph gave no usable answer to any request that was sent (2), the last with: Graph "
            "failed (HTTP 500 UnknownError). Each is tried again after its cool-down; if this goes "
            "on, give Microsoft support the graphRequestId of a line `reprocess failed`"
        ),
    ),
    (
        reprocessed(("postponed", None), ("denied", DENIED), stop_reason=DENIED),
        "Graph denies all that is tried: Not allowed (HTTP 403 UnAuthorized). " + DENIED.remedy,
    ),
    (
        reprocessed(("postponed", None), stop_reason=SILENT),
        (
            "Graph gave no usable answer to three calls in a row, so the rest is left to the next "
            "sweep: no answer came in time"
        ),
    ),
    (
        reprocessed(("postponed", None), throttled=1),
        (
            "1 requests were due and none could be tried, because Graph is throttling: the next "
            "sweep tries again; if this goes on, raise SWEEP_BUDGET_SECONDS"
        ),
    ),
    (reprocessed(("postponed", None), error=KeyError("a bug")), "the sweep broke off (KeyError): look for its traceback above"),
], ids=str)  # fmt: skip
def test_the_problem_is_one_sentence_that_says_what_to_do(many, says):
    """Nothing is said where at least one request got an answer of its own.

    [seen: msgraph-beta-sdk-dotnet#139: a POST that is always 500]
    """
    assert says == problem(many)


def test_requests_tried_by_another_meanwhile_are_no_problem():
    """Also not where Graph asked to wait first. What is left without that had no time."""
    left = reprocessed(("postponed", None))

    assert "" == problem(replace(left, skipped=1)) == problem(replace(left, throttled=1, skipped=1))
    assert "because the time was up" in problem(left)


def test_table_errors_say_what_to_do():
    """Reading and writing differ: after an error while writing some requests were tried."""
    unread = report(table_error=GONE).problem

    assert unread.startswith("the attempt records could not be read, so nothing was tried: ")
    assert problem(reprocessed(("accepted", None), error=GONE)).startswith(
        "attempt records could not be written, so nothing more was tried: "
    )
    assert len(unread) > 80


def failures(count):
    return [ListFailure(f"package-{n}", GraphError("No", status=400)) for n in range(count)]


@pytest.mark.parametrize(("listed", "says"), [
    ([ListFailure(None, DENIED)], "the failed requests could not be listed, or not all of them: Not allowed (HTTP 403 " "UnAuthorized). " + DENIED.remedy),
    (failures(1), "access packages could not be listed: package-0, the first with: No (HTTP 4"),
    (failures(12), "package-8, package-9 and 2 more, the first with: No (HTTP 400)"),
], ids=["all", "one", "many"])  # fmt: skip
def test_lists_that_failed_are_named(listed, says):
    """Ten access packages at most, and why the first one failed."""
    assert says in report(plan(), listed, reprocessed()).problem
