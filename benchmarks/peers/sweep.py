"""Redeliver's sweep: the timer's function as the worker calls it, with settings of the environment.

It takes the arguments of every contender and needs none of them. Requests beyond SWEEP_MAX_REQUESTS
are `tried` too, in that they are listed and planned; `accepted` says how many Graph accepted.
"""

from __future__ import annotations

import json
import logging
from types import SimpleNamespace
from typing import Any

import azure.functions as func

from benchmarks.peers.job import Job
from reprocess_timer import blueprint


class Report(logging.Handler):
    """Keeps the report, which the sweep logs."""

    def __init__(self) -> None:
        super().__init__()
        self.fields: dict[str, Any] = {}

    def emit(self, record: logging.LogRecord) -> None:
        if '"sweep finished"' in (message := record.getMessage()):
            self.fields = json.loads(message)


def main() -> None:
    report = Report()
    logging.basicConfig(level=logging.INFO, handlers=[report])
    app = func.FunctionApp()
    app.register_functions(blueprint)
    (sweep,) = (one.get_user_function() for one in app.get_functions())
    job = Job()
    sweep(SimpleNamespace(past_due=False), SimpleNamespace(invocation_id="benchmark"))
    job.listed = job.began + report.fields["seconds"]["list"]
    job.report(report.fields["due"], accepted=report.fields["accepted"])


if __name__ == "__main__":
    main()
