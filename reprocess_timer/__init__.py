"""Timer trigger: run a sweep of all failed requests, and log its report.

Not for: what to do with which request (plan.py) or doing it (sweep.py).
"""

from __future__ import annotations

import json
import logging

import azure.functions as func

import attempts
import graph
import settings as app_settings
from reprocess_timer.sweep import Sweep, SweepFailed

blueprint = func.Blueprint()  # type: ignore[no-untyped-call]
log = logging.getLogger("redeliver")


@blueprint.function_name("sweep")
@blueprint.timer_trigger(
    "timer", schedule=app_settings.sweep_schedule(), run_on_startup=False, use_monitor=True
)
def sweep(timer: func.TimerRequest, context: func.Context) -> None:
    """Run one sweep. Raises SweepFailed with one sentence that says what to do."""
    try:
        run = Sweep(graph.shared(), attempts.shared(), app_settings.current())
    except app_settings.SettingsError as error:
        raise SweepFailed(f"the app is misconfigured: {error}") from None
    try:
        run.run()
    finally:
        report = run.report.as_json(
            correlationId=context.invocation_id, pastDue=bool(timer.past_due)
        )
        log.info(json.dumps({"event": "sweep finished", **report}))
    run.raise_if_failed()
