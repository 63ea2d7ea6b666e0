"""Sweeps in processes of their own, one after the other or several at once, some of them killed.

    python -m tests.support.sweep_processes '{"kills": 50, "within": 1.0}'    kill 50 sweeps at random moments
    python -m tests.support.sweep_processes '{"instances": 4}'                four sweeps at once, to their ends

Settings come from the environment, as for the app; `advanced` is how many seconds its clock is
ahead. Each process is forked from this one, which has everything imported and nothing opened.
Prints the report of each sweep that came to its end, as JSON lines.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from datetime import UTC, datetime, timedelta

import attempt_store
import settings
from attempt_store import AttemptStore
from graph import Graph
from reprocess_timer.sweep import run_sweep


def sweep(advanced: float) -> dict:
    ahead = timedelta(seconds=advanced)

    def now() -> datetime:
        return datetime.now(UTC) + ahead

    current = settings.current()
    attempts = AttemptStore(attempt_store.for_sweeps()._rows, now)
    report = run_sweep(Graph(current, now=now), attempts, current)
    return report.fields() | {"problem": report.problem}


def start(advanced: float) -> int:
    """Fork a sweep; return its process id."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        print(json.dumps(sweep(advanced)), flush=True)
        code = 0
    finally:
        os._exit(code)


def main(kills: int = 0, within: float = 1.0, instances: int = 1, advanced: float = 0.0) -> None:
    sys.stdout.flush()
    killed = 0
    if kills:  # half a line of one that is killed would spoil the next one's
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    while killed < kills:
        child = start(advanced)
        time.sleep(random.uniform(0.0, within))
        os.kill(child, signal.SIGKILL)
        killed += os.WIFSIGNALED(os.waitpid(child, 0)[1])
    if not kills:
        children = [start(advanced) for _ in range(instances)]
        for child in children:
            os.waitpid(child, 0)


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
