"""Timer trigger: run a sweep of all failed requests, and log its report.

Not for: what a sweep does (sweep.py).
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Any

import azure.functions as func

import attempt_store
import graph
import settings as app_settings
from events import ERROR, INFO, event, invocation_began
from planning.view import iso
from reprocess_timer.sweep import run_sweep
from schedule import next_sweep_at

blueprint = func.Blueprint()  # type: ignore[no-untyped-call]


class SweepFailed(Exception):
    """The sweep could not do all of its work; the text is one sentence that says what to do."""


@blueprint.function_name("sweep")
@blueprint.timer_trigger(
    "timer", schedule=app_settings.sweep_schedule(), run_on_startup=False, use_monitor=True
)
def sweep(timer: func.TimerRequest, context: func.Context) -> None:
    """Run one sweep. Raises SweepFailed with one sentence that says what to do."""
    invocation_began()
    report = None
    try:
        settings = app_settings.current()
        report = run_sweep(graph.shared(), attempt_store.for_sweeps(), settings)
        problem = report.problem
    except app_settings.SettingsError as error:
        problem = f"the app is misconfigured: {error}"
    # None where SWEEP_SCHEDULE is wrong.
    schedule = os.environ.get("SWEEP_SCHEDULE") or app_settings.sweep_schedule()
    next_at = iso(next_sweep_at(schedule, datetime.now(UTC)))
    common: dict[str, Any] = {"correlationId": context.invocation_id, "nextSweepAt": next_at}
    if report:
        past_due = bool(timer.past_due)
        event(INFO, "sweep finished", **report.fields(), pastDue=past_due, **common)
        common["sweepId"] = report.sweep_id
    if problem:
        event(ERROR, "sweep failed", problem=problem, **common)
        raise SweepFailed(problem)
