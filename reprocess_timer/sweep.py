"""One sweep: list, plan, reprocess what is due, read back, notify, report.

Not for: claiming and sending (reprocessing/), what is due (planning/), or when it runs (the timer).
What goes wrong with one request, one list or the table is in the report, and never raised.
"""

from __future__ import annotations

import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from azure.core.exceptions import AzureError

from attempts import NEVER, is_young
from deadline import Deadline
from events import INFO, WARNING, event, event_fields
from planning.listing import list_failed
from planning.plan import Plan, PlanStatus, cooldown
from planning.view import iso
from reprocess_timer.notices import notify
from reprocess_timer.report import Report
from reprocessing.many import Context, Due, read_many, reprocess_many
from reprocessing.rate_limiter import RateLimiter
from schedule import next_sweep_at
from settings import new_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime

    from attempt_store import AttemptStore
    from attempts import AttemptRecord
    from graph import Graph, Request
    from planning.listing import ListFailure
    from settings import Settings

# After the budget: calls under way get up to 30 seconds, the steps after them the rest. With the
# longest budget, 1740 seconds, this ends before host.json's functionTimeout, 1800.
CLOSING_SECONDS = 50.0
READ_SECONDS = 120.0  # for all attempt records; half of a shorter budget at most
PROGRESS_SECONDS = 10.0
LOGGED = 50  # ids in one line
# The event for each reason why a request needs attention.
ATTENTION = {
    "exhausted": "attempts exhausted",
    "expired": "window closed",
    "expiring": "window closing",
}


def run_sweep(
    graph: Graph,
    attempts: AttemptStore,
    settings: Settings,
    clock: Callable[[], float] = time.monotonic,
) -> Report:
    """Run one sweep to its end and keep its report in the table. Each line has the sweep's id."""
    progress = Progress(graph, settings, clock)
    report = Report(new_id(), settings.sweep_dry_run, progress.seconds)
    context = Context(
        graph=graph,
        attempts=attempts,
        limiter=RateLimiter(settings.graph_concurrency, settings.graph_batch_size, clock),
        deadline=Deadline(settings.sweep_budget_seconds, clock),
        end=Deadline(settings.sweep_budget_seconds + CLOSING_SECONDS, clock),
        clock=clock,
        progress=progress,
    )
    with event_fields(sweepId=report.sweep_id):
        _sweep(context, settings, progress, report)
        try:
            attempts.keep_report(report.fields(), graph.now(), context.end)
        except AzureError as error:
            name = type(error).__name__
            event(WARNING, "attempts not written", what="report", count=1, error=name)
    return report


class Progress:
    """Measures the steps of a sweep, and logs every ten seconds how far it is."""

    def __init__(self, graph: Graph, settings: Settings, clock: Callable[[], float]) -> None:
        """Begin now. `seconds`: how long each step took."""
        self._graph, self._schedule, self._clock = graph, settings.sweep_schedule, clock
        self._logged_at = clock()
        self.seconds: dict[str, float] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Measure one step; one that raises is left out."""
        began_at = self._clock()
        yield
        self.seconds[name] = round(self._clock() - began_at, 3)

    def __call__(self, step: str, done: int, of: int, throttled: int) -> None:
        """Log this when it is time."""
        now = self._clock()
        if now < self._logged_at + PROGRESS_SECONDS:
            return
        self._logged_at = now
        next_at = iso(next_sweep_at(self._schedule, self._graph.now()))
        fields: dict[str, Any] = {"done": done, "of": of or None, "throttled": throttled}
        event(INFO, "sweep progress", step=step, nextSweepAt=next_at, **fields)


def _sweep(context: Context, settings: Settings, progress: Progress, report: Report) -> None:
    """Take every step, and put what it returns into the report."""
    reading = context.deadline.within(min(READ_SECONDS, settings.sweep_budget_seconds / 2))
    try:
        with progress.step("attempts"):
            records = context.attempts.read_all(reading)
    except AzureError as error:
        report.table_error = error
        return
    with progress.step("list"):
        plan, report.list_failures, looked_up = _list_and_plan(context, settings, records)
        report.plan = plan
    _log_attention(plan)
    if settings.sweep_dry_run:
        return
    with progress.step("reprocess"):
        due = [Due(one.record, one.request.access_package_id) for one in plan.due.sorted()]
        report.reprocessed = reprocess_many(context, due, "sweep")
    if not report.list_failures:  # else an unlisted request may still be failed
        with progress.step("readBack"):
            unlisted = [one for key, one in records.items() if key not in plan.listed_ids]
            found = _read_back(context, settings, unlisted, looked_up)
            report.read_back, report.delivered_after = found
    with progress.step("notify"):
        notify(context, settings, plan.to_notify.sorted(), plan.causes)


def _list_and_plan(
    context: Context, settings: Settings, records: Mapping[str, AttemptRecord]
) -> tuple[Plan, list[ListFailure], dict[str, Request | None]]:
    """Return the plan, the lists that failed, and the deferred requests that no list contained.

    Takes half of the budget at most. Only notices need names.
    """
    deadline = context.deadline.within(settings.sweep_budget_seconds / 2)
    plan = Plan(records, settings, context.graph.now())
    deferred = {one.request_id for one in records.values() if one.is_deferred}

    def take(request: Request) -> None:
        plan.add(request)
        deferred.discard(request.id)
        context.progress("list", len(plan.listed_ids), 0, 0)

    packages, names = settings.sweep_access_packages, bool(settings.notify_url)
    failures = list_failed(context.graph, packages, deadline, take, names=names, log=True)
    looked_up = read_many(replace(context, end=deadline), "list", sorted(deferred))
    for request in looked_up.values():
        if request and request.has_failed:
            plan.add(request)
    return plan, failures, looked_up


def _log_attention(plan: Plan) -> None:
    """Log the ids of requests that need attention; the report has all counts."""
    for reason, name in ATTENTION.items():
        count = plan.expiring if reason == "expiring" else plan.counts[PlanStatus(reason)]
        if count:
            ids = [one.failed.request.id for one in plan.attention[reason].sorted()[:LOGGED]]
            event(WARNING, name, count=count, requestIds=ids)


def _read_back(
    context: Context,
    settings: Settings,
    unlisted: Sequence[AttemptRecord],
    looked_up: Mapping[str, Request | None],
) -> tuple[dict[str, int], Counter[int]]:
    """Read requests that earlier attempts were for and that are no longer listed as failed.

    Records of requests that have ended are marked as completed; obsolete ones are deleted. Return
    how many are in which state, and by a number of attempts how many deliveries took it.
    """
    now = context.graph.now()
    idle = [one for one in unlisted if not is_young(one, now)]
    active = [one for one in idle if not one.completed]
    unread = [one.request_id for one in active if not one.is_deferred]  # those were looked up
    states = {**looked_up, **read_many(context, "readBack", unread)}
    obsolete = [one for one in idle if _is_obsolete(one, states, settings, now)]
    known = [(one, states[one.request_id]) for one in active if one.request_id in states]
    # Graph has no such request any more, or it ended otherwise than failed.
    ended = [one for one, seen in known if not seen or (seen.has_ended and not seen.has_failed)]
    context.attempts.delete(obsolete, context.end)
    context.attempts.complete(ended, context.end)  # those that are left
    moved = [(one, seen.state.lower()) for one, seen in known if seen and not seen.has_failed]
    counts = dict.fromkeys(("delivered", "delivering", "other"), 0)
    for _, state in moved:
        counts[state if state in counts else "other"] += 1
    return counts, Counter(one.count for one, state in moved if state == "delivered")


def _is_obsolete(
    record: AttemptRecord, states: Mapping[str, Request | None], settings: Settings, now: datetime
) -> bool:
    """Whether the record of a request that is not listed has no use any more.

    A completed one is kept until its cool-down is over: a list that still shows the request as
    failed would have it tried again otherwise. One whose deferral is open is kept while the request
    could not be read; where it is still failed, it counts as listed.
    """
    if record.is_deferred and record.request_id not in states:
        return False
    if record.completed:
        return now > record.last_attempt_at + cooldown(record, settings)
    newest = max(record.last_attempt_at, record.deferred_at or NEVER)
    return newest < now - timedelta(days=2 * settings.sweep_window_days)
