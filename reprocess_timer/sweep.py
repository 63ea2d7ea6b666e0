"""A sweep: list and plan, act, read back, report.

Not for: how a step is done (listing.py, acting.py, read_back.py), or when (the timer).
"""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from azure.core.exceptions import AzureError

from deadline import Deadline
from events import ERROR, WARNING, event
from reprocess_timer.acting import act
from reprocess_timer.listing import listed
from reprocess_timer.means import Means, Progress
from reprocess_timer.notices import notify
from reprocess_timer.pace import Pace
from reprocess_timer.plan import Planner, Standing
from reprocess_timer.read_back import read_back
from reprocess_timer.report import CHECK_TABLE, Counts, Report, counted, problem
from settings import new_id

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from attempts import Attempt, Attempts
    from graph import Graph
    from reprocess_timer.acting import Acted
    from reprocess_timer.listing import Unlisted
    from reprocess_timer.plan import Plan
    from reprocess_timer.read_back import ReadBack
    from settings import Settings

# After the budget: calls under way get up to 30 seconds, what follows them the rest. With the
# longest budget, 1740 seconds, this ends before host.json's functionTimeout, 1800.
CLOSING_SECONDS = 50.0
LOGGED = 50  # ids in one line
# The event for each reason why a request needs a person.
NOTED = {"exhausted": "given up", "expired": "window closed", "expiring": "window closing"}


class Sweep:
    """One sweep. The clocks can be passed in, so that tests never wait."""

    def __init__(
        self,
        graph: Graph,
        attempts: Attempts,
        settings: Settings,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare; nothing is called yet, but its time begins to run."""
        budget = settings.sweep_budget_seconds
        deadline = Deadline(budget, clock)
        self._means = Means(
            graph,
            attempts,
            settings,
            sweep_id=new_id(),
            now=now,
            clock=clock,
            deadline=deadline,
            end=Deadline(budget + CLOSING_SECONDS, clock),
            pace=Pace(settings.graph_concurrency, settings.graph_batch_size, clock),
            progress=Progress(clock, deadline),
        )
        self._watch = Stopwatch(clock)

    def run(self) -> Report:
        """Run it to its end, whatever goes wrong with a request, a list or the table."""
        report = self._run()
        try:
            self._means.attempts.note_sweep(report.fields(), self._means.now(), self._means.end)
        except AzureError as error:
            kind = type(error).__name__
            event(WARNING, "attempts not written", what="report", count=1, error=kind)
        return report

    def _run(self) -> Report:
        means, watch = self._means, self._watch
        try:
            known = watch.timed("attempts", means.attempts.read_all)
        except AzureError as error:
            kind = type(error).__name__
            wrong = f"the attempts could not be read ({kind}), so nothing was tried: {CHECK_TABLE}"
            return self._ended(Counts(), wrong, list_complete=False)
        plan, unlisted = watch.timed("list", lambda: self._listed(known))
        _log_noted(plan)
        if means.settings.sweep_dry_run:
            return self._report(plan, unlisted)
        acted = watch.timed("reprocess", lambda: act(means, plan.due))
        if acted.broken and not isinstance(acted.broken, AzureError):
            event(ERROR, "unforeseen error", trace=acted.broken, error=type(acted.broken).__name__)
        complete = not unlisted
        back = watch.timed(
            "readBack", lambda: read_back(means, known, plan, list_complete=complete)
        )
        watch.timed("notify", lambda: notify(means, plan.untold))
        return self._report(plan, unlisted, acted, back)

    def _listed(self, known: Mapping[str, Attempt]) -> tuple[Plan, list[Unlisted]]:
        """List and plan, in half of the budget at most. Only notices need the names."""
        means, graph = self._means, self._means.graph
        return listed(
            graph.failed_in_detail if means.settings.notify_url else graph.failed,
            means.settings.sweep_access_packages,
            Planner(known, means.settings, means.now()),
            means.deadline.within(means.settings.sweep_budget_seconds / 2),
            lambda found: means.progress.tell("list", found),
        )

    def _report(
        self,
        plan: Plan,
        unlisted: list[Unlisted],
        acted: Acted | None = None,
        back: ReadBack | None = None,
    ) -> Report:
        wrong = problem(unlisted, acted)
        report = self._ended(counted(plan, acted, back), wrong, list_complete=not unlisted)
        return replace(report, delivered_after=back.attempts) if back else report

    def _ended(self, counts: Counts, wrong: str, *, list_complete: bool) -> Report:
        means = self._means
        return Report(
            sweep_id=means.sweep_id,
            dry_run=means.settings.sweep_dry_run,
            counts=counts,
            list_complete=list_complete,
            problem=wrong,
            seconds=self._watch.seconds,
        )


class Stopwatch:
    """How long each step took, in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Use this clock."""
        self._clock = clock
        self.seconds: dict[str, float] = {}

    def timed[T](self, name: str, step: Callable[[], T]) -> T:
        """Return what the step returns."""
        began = self._clock()
        try:
            return step()
        finally:
            self.seconds[name] = round(self._clock() - began, 3)


def _log_noted(plan: Plan) -> None:
    """Tell of the requests that need a person, by their ids; the report has all counts."""
    counts = {
        "exhausted": plan.counts[Standing.EXHAUSTED],
        "expired": plan.counts[Standing.EXPIRED],
        "expiring": plan.expiring,
    }
    for reason, name in NOTED.items():
        if counts[reason]:
            ids = [one.candidate.request.id for one in plan.noted[reason][:LOGGED]]
            event(WARNING, name, count=counts[reason], requestIds=ids)
