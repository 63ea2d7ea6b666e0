"""The third step of a sweep: find out what has become of requests that earlier sweeps have tried.

Not for: those that are still failed; the plan has them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from reprocess_timer.plan import cooldown
from reprocess_timer.reading import read

if TYPE_CHECKING:
    from collections.abc import Mapping

    from attempts import Attempt
    from graph import Request
    from reprocess_timer.means import Means
    from reprocess_timer.plan import Plan


@dataclass(frozen=True, slots=True)
class ReadBack:
    """How many requests that were tried earlier are in which state now.

    `attempts`: how many of the delivered ones took how many.
    """

    delivered: int = 0
    delivering: int = 0
    other: int = 0
    attempts: Counter[int] = field(default_factory=Counter)


def read_back(
    means: Means, known: Mapping[str, Attempt], plan: Plan, *, list_complete: bool
) -> ReadBack:
    """Read those that are no longer failed, and remove from the table what is over."""
    gone = [one for one in known.values() if one.request_id not in plan.listed_ids]
    states = read(means, "read back", [one.request_id for one in gone if not one.settled])
    ended = [one for one in gone if one.request_id in states and _has_ended(states[one.request_id])]
    unlisted = {one.request_id for one in gone} if list_complete else set()
    unseen = unlisted - states.keys()
    over = [one for one in known.values() if _is_over(means, one, unlisted, unseen)]
    removed = {one.request_id for one in over}
    means.attempts.settle([one for one in ended if one.request_id not in removed], means.end)
    means.attempts.forget(over, means.end)
    moved = {name: one.state.lower() for name, one in states.items() if one and not one.has_failed}
    seen = Counter(moved.values())
    delivered, delivering = seen["delivered"], seen["delivering"]
    took = Counter(known[name].count for name, state in moved.items() if state == "delivered")
    return ReadBack(delivered, delivering, len(moved) - delivered - delivering, took)


def _has_ended(request: Request | None) -> bool:
    """Whether nothing is left to try: it ended otherwise than failed, or is gone from Graph."""
    return request is None or (request.has_ended and not request.has_failed)


def _is_over(means: Means, attempt: Attempt, unlisted: set[str], unseen: set[str]) -> bool:
    """Whether what is stored of a request is of no use any more.

    A settled one is kept until its cool-down is over: a list that still shows it as failed would
    have it tried again otherwise. An old one that was told is kept as long as Graph lists it: it
    would be told again. A promise is kept until the request is tried, unless Graph neither lists
    it nor lets us see it: there may be no such request for us.
    """
    now, one = means.now(), attempt.request_id
    if attempt.settled:
        return now > attempt.last + cooldown(attempt, means.settings)
    if attempt.deferred and one not in unseen:
        return False
    old = attempt.last < now - timedelta(days=2 * means.settings.sweep_window_days)
    return old and (one in unlisted or not attempt.told)
