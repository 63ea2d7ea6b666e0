"""The first step of a sweep: list what has failed, of every access package, and plan it.

Not for: judging a request (plan.py). What cannot be listed costs itself and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from events import WARNING, event
from graph import GraphDenied, GraphError, GraphRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from deadline import Deadline
    from graph import Request
    from reprocess_timer.plan import Plan, Planner

LOGGED = 50  # lines about single access packages in one sweep
# Lists in a row that Graph neither answers nor refuses; then it is not asked for the next ones.
OUTAGE = 3


@dataclass(frozen=True, slots=True)
class Unlisted:
    """A list that is not whole: of one access package, or of all requests (then it has no id)."""

    access_package: str | None
    error: GraphError

    @property
    def remedy(self) -> str:
        """What to do about it, in a sentence."""
        if isinstance(self.error, GraphDenied):
            return self.error.remedy
        if isinstance(self.error, GraphRefused):
            return "Check the ids in SWEEP_ACCESS_PACKAGES."
        return "The next sweep tries again."


def listed(
    failed: Callable[[Deadline, str | None], Iterator[Request]],
    access_packages: Sequence[str],
    planner: Planner,
    deadline: Deadline,
    tell_progress: Callable[[int], None],
) -> tuple[Plan, list[Unlisted]]:
    """List and plan; also what a broken list had given before it broke off.

    `failed` lists the failed requests of one access package, or of all. Raises GraphError.
    """
    unlisted: list[Unlisted] = []
    silent = 0
    for access_package in access_packages or (None,):
        try:
            for request in failed(deadline, access_package):
                planner.add(request)
                tell_progress(planner.found())
            silent = 0
        except GraphError as error:
            unlisted.append(Unlisted(access_package, error))
            silent = 0 if isinstance(error, GraphDenied | GraphRefused) else silent + 1
            if len(unlisted) <= LOGGED:
                _log(unlisted[-1], planner.found())
        if silent >= OUTAGE:
            rest = access_packages[access_packages.index(str(access_package)) + 1 :]
            unlisted += [Unlisted(one, unlisted[-1].error) for one in rest]
            break
    return planner.plan(), unlisted


def _log(one: Unlisted, found: int) -> None:
    event(
        WARNING,
        "list broken off",
        accessPackageId=one.access_package,
        found=found,
        remedy=one.remedy,
        **one.error.fields(),
    )
