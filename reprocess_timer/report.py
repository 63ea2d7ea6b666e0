"""The report of a sweep: its counts, and in one sentence what went wrong and what to do about it.

Not for: the log line `sweep finished`, which the trigger writes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from azure.core.exceptions import AzureError

from attempt_store import what_to_do
from graph import GraphDenied, GraphError
from planning.plan import PlanStatus

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from planning.listing import ListFailure
    from planning.plan import Plan
    from reprocessing.many import ManyResult

NAMED = 10  # access packages in one sentence
TRIED = ("accepted", "refused", "denied", "failed", "unknown")


@dataclass(slots=True)
class Report:
    """The report of one sweep, whose steps put in what they return; None: the step did not run.

    `read_back`: how many requests of earlier attempts are delivered, delivering, or otherwise no
    longer failed; `delivered_after`: by a number of attempts, how many deliveries took it.
    `table_error`: why the attempt records could not be read. `seconds` by step.
    """

    sweep_id: str
    dry_run: bool
    seconds: Mapping[str, float]
    plan: Plan | None = None
    list_failures: Sequence[ListFailure] = ()
    reprocessed: ManyResult | None = None
    read_back: dict[str, int] = field(default_factory=dict)
    delivered_after: Mapping[int, int] = field(default_factory=dict)
    table_error: AzureError | None = None

    def fields(self) -> dict[str, Any]:
        """Return it with the names of the log and the answers; what is not known is left out."""
        after = {str(attempts): count for attempts, count in sorted(self.delivered_after.items())}
        fields = {
            "sweepId": self.sweep_id,
            "dryRun": self.dry_run,
            **self.counts,
            "deliveredAfter": after or None,
            "listComplete": self.list_complete,
            "problem": self.problem or None,
            "seconds": dict(self.seconds),
        }
        return {name: value for name, value in fields.items() if value is not None}

    @property
    def list_complete(self) -> bool | None:
        """Whether all lists were read to their end; None when nothing was listed."""
        return not self.list_failures if self.plan else None

    @property
    def counts(self) -> dict[str, int]:
        """The counts that are known: none of a list that failed and had given nothing.

        found = due + cooling + exhausted + expired + excluded; unless it is a dry run, due =
        accepted + refused + denied + failed + unknown + postponed. expiring: windows that may close
        within 48 hours, whatever else these requests count as. throttled: answers that asked to
        wait.
        """
        plan, reprocessed = self.plan, self.reprocessed
        if not plan or (self.list_failures and not plan.listed_ids):
            return {}
        counts = {"found": len(plan.listed_ids), "expiring": plan.expiring}
        counts |= {status.value: plan.counts[status] for status in PlanStatus}
        if reprocessed:
            outcomes = reprocessed.counts
            counts |= {name: outcomes[name] for name in TRIED}
            counts["postponed"] = counts["due"] - sum(outcomes[name] for name in TRIED)
            counts["throttled"] = reprocessed.throttled
        return counts | self.read_back

    @property
    def problem(self) -> str:
        """What went wrong and what to do about it, in one sentence; empty when all is well."""
        return "; and ".join(self._problems())

    def _problems(self) -> Iterator[str]:
        if self.table_error:
            action = what_to_do(self.table_error)
            yield f"the attempt records could not be read, so nothing was tried: {action}"
        if self.reprocessed:
            yield from _reprocess_problems(self.reprocessed)
        if self.list_failures:
            yield _list_problem(self.list_failures)


def _reprocess_problems(reprocessed: ManyResult) -> Iterator[str]:
    error, stop_reason = reprocessed.error, reprocessed.stop_reason
    if isinstance(error, AzureError):
        action = what_to_do(error)
        yield f"attempt records could not be written, so nothing more was tried: {action}"
    elif error:
        yield f"the sweep broke off ({type(error).__name__}): look for its traceback above"
    if isinstance(stop_reason, GraphDenied):
        yield f"Graph denies all that is tried: {stop_reason.summary}. {stop_reason.remedy}"
    elif stop_reason:
        yield (
            "Graph gave no usable answer to three calls in a row, so the rest is left to the next "
            f"sweep: {stop_reason.summary}"
        )
    elif not error:
        yield from _all_alike(reprocessed)


def _all_alike(reprocessed: ManyResult) -> Iterator[str]:
    """Say it when not one of the due requests was accepted or refused, and why."""
    counts = reprocessed.counts
    if counts["accepted"] or counts["refused"]:
        return
    denied, unanswered = counts["denied"], counts["failed"] + counts["unknown"]
    causes = [cause for _, name, cause in reprocessed.results if name in TRIED]
    last = causes[-1] if causes else None
    if isinstance(last, GraphDenied) and not unanswered:
        yield (
            f"every request that was sent was denied ({denied}), the last with: {last.summary}. "
            f"{last.remedy}"
        )
    elif isinstance(last, GraphError) and not denied:
        yield (
            f"Graph gave no usable answer to any request that was sent ({unanswered}), the last "
            f"with: {last.summary}. Each is tried again after its cool-down; if this goes on, give "
            "Microsoft support the graphRequestId of a line `reprocess failed`"
        )
    elif not causes and (left := counts["postponed"] - reprocessed.skipped):
        reason = "Graph is throttling" if reprocessed.throttled else "the time was up"
        yield (
            f"{left} requests were due and none could be tried, because {reason}: "
            "the next sweep tries again; if this goes on, raise SWEEP_BUDGET_SECONDS"
        )


def _list_problem(failures: Sequence[ListFailure]) -> str:
    first, names = failures[0], [one.access_package for one in failures if one.access_package]
    what = "the failed requests could not be listed, or not all of them"
    if names:
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        listed = ", ".join(names[:NAMED])
        what = f"access packages could not be listed: {listed}{more}, the first with"
    return f"{what}: {first.error.summary}. {first.remedy}"
