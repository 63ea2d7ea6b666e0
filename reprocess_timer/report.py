"""What came of a sweep: its counts, and in one sentence what went wrong, if anything did.

Not for: the log line of it, which the trigger writes.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from azure.core.exceptions import AzureError

from graph import GraphDenied
from reprocess_timer.plan import Standing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from reprocess_timer.acting import Acted
    from reprocess_timer.listing import Unlisted
    from reprocess_timer.plan import Plan
    from reprocess_timer.read_back import ReadBack

NAMED = 10  # access packages in one sentence
CHECK_TABLE = "check AzureWebJobsStorage and the identity's role on its tables"


@dataclass(frozen=True, slots=True)
class Counts:
    """How many requests there are of each kind.

    found = due + cooling + exhausted + expired + excluded, and unless it is a dry run
    due = accepted + refused + failed + postponed. expiring: windows that close within 48 hours,
    whatever else these requests count as. throttled: answers that told a request to wait.
    delivered, delivering, other: requests tried by earlier sweeps that are no longer failed.
    """

    found: int = 0
    due: int = 0
    accepted: int = 0
    refused: int = 0
    failed: int = 0
    cooling: int = 0
    exhausted: int = 0
    expired: int = 0
    expiring: int = 0
    excluded: int = 0
    postponed: int = 0
    delivered: int = 0
    delivering: int = 0
    other: int = 0
    throttled: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """What came of one sweep. `problem` is empty when all is well; `seconds` by step.

    `delivered_after`: by a number of attempts, how many deliveries took it.
    """

    sweep_id: str
    dry_run: bool
    counts: Counts
    list_complete: bool
    problem: str
    seconds: dict[str, float]
    delivered_after: Mapping[int, int] = field(default_factory=dict)

    def fields(self) -> dict[str, Any]:
        """Return it as the log and the answers name it; without a problem that is None."""
        return {
            "sweepId": self.sweep_id,
            "dryRun": self.dry_run,
            **asdict(self.counts),
            "deliveredAfter": {str(n): some for n, some in self.delivered_after.items()} or None,
            "listComplete": self.list_complete,
            "problem": self.problem or None,
            "seconds": self.seconds,
        }


def counted(plan: Plan, acted: Acted | None, back: ReadBack | None) -> Counts:
    """Return the counts of a sweep; without `acted` it is a dry run's."""
    counts = Counts(
        found=len(plan.listed_ids),
        due=plan.counts[Standing.DUE],
        cooling=plan.counts[Standing.COOLING],
        exhausted=plan.counts[Standing.EXHAUSTED],
        expired=plan.counts[Standing.EXPIRED],
        expiring=plan.expiring,
        excluded=plan.counts[Standing.EXCLUDED],
    )
    if acted:
        counts = replace(
            counts,
            due=counts.due - acted.elsewhere,  # somebody tried them meanwhile: they cool down
            cooling=counts.cooling + acted.elsewhere,
            accepted=acted.accepted,
            refused=acted.refused,
            failed=acted.failed,
            postponed=acted.postponed + plan.counts[Standing.DUE] - len(plan.due),
            throttled=acted.throttled,
        )
    if back:
        seen = {"delivered": back.delivered, "delivering": back.delivering, "other": back.other}
        return replace(counts, **seen)
    return counts


def problem(unlisted: Sequence[Unlisted], acted: Acted | None) -> str:
    """Say in one sentence what went wrong and what to do about it; empty when all is well."""
    acting = _of_acting(acted) if acted else []
    return "; and ".join([*acting, *_of_listing(unlisted)])


def _of_acting(acted: Acted) -> Iterator[str]:
    tried = acted.accepted + acted.refused + acted.failed
    stopped, last = acted.stopped, acted.last_denial
    if isinstance(acted.broken, AzureError):
        kind = type(acted.broken).__name__
        yield f"attempts could not be written ({kind}), so nothing more was tried: {CHECK_TABLE}"
    elif acted.broken:
        yield f"the sweep broke off ({type(acted.broken).__name__}): look for its traceback above"
    if isinstance(stopped, GraphDenied):
        yield f"Graph denies all that is tried: {stopped.described}. {stopped.remedy}"
    elif stopped:
        yield (
            f"Graph did not answer three times in a row, so the rest is left to the next sweep: "
            f"{stopped.described}"
        )
    elif last and acted.failed == tried:
        yield f"every due request failed ({tried}), the last with: {last.described}. {last.remedy}"
    elif acted.postponed and not (tried or acted.left or acted.broken):
        yield (
            f"{acted.postponed} requests were due and none could be tried: Graph is throttling, or "
            "SWEEP_BUDGET_SECONDS is too short; the next sweep tries again"
        )


def _of_listing(unlisted: Sequence[Unlisted]) -> Iterator[str]:
    if not unlisted:
        return
    first = unlisted[0]
    why = f"{first.error.described}. {first.remedy}"
    names = [one.access_package for one in unlisted if one.access_package]
    if names:
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        yield (
            f"access packages could not be listed: {', '.join(names[:NAMED])}{more}, the first "
            f"with: {why}"
        )
    else:
        yield f"the failed requests could not be listed, or not all of them: {why}"
