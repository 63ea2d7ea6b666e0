"""Timer trigger: run a sweep of all failed requests, and log its report.

Not for: what a sweep does (sweep.py).
"""

from __future__ import annotations

import azure.functions as func

import attempts
import graph
import settings as app_settings
from events import ERROR, INFO, event
from reprocess_timer.sweep import Sweep

blueprint = func.Blueprint()  # type: ignore[no-untyped-call]


class SweepFailed(Exception):
    """The sweep could not do all of its work; the text is one sentence that says what to do."""


@blueprint.function_name("sweep")
@blueprint.timer_trigger(
    "timer", schedule=app_settings.sweep_schedule(), run_on_startup=False, use_monitor=True
)
def sweep(timer: func.TimerRequest, context: func.Context) -> None:
    """Run one sweep. Raises SweepFailed with one sentence that says what to do."""
    try:
        run = Sweep(graph.shared(), attempts.shared(), app_settings.current())
        report = run.run()
    except app_settings.SettingsError as error:
        problem = f"the app is misconfigured: {error}"
    else:
        event(
            INFO,
            "sweep finished",
            correlationId=context.invocation_id,
            pastDue=bool(timer.past_due),
            **report.fields(),
        )
        problem = report.problem
    if problem:
        event(ERROR, "sweep failed", problem=problem, correlationId=context.invocation_id)
        raise SweepFailed(problem)
