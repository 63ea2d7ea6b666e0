"""Sweeps in processes of their own, one after the other or several at once, some of them killed.

    python -m tests.support.sweep_processes '{"kill": true}'      one for each moment, killed at it
    python -m tests.support.sweep_processes '{"instances": 4}'    four at once, to their ends

A moment is right before or right after a call of Graph, of the identity or of the table; the first
sweep that ends before its moment comes is the last one. Several at once wait for one another before
the first of them writes, so that all have planned the same.
Settings come from the environment, as for the app; `advanced` is how many seconds its clock is
ahead. Each process is forked from this one, which has everything imported and nothing opened.
Prints the report of each sweep that came to its end, and the moment of each that was killed, as
JSON lines.
"""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import signal
import sys
import threading
from datetime import UTC, datetime, timedelta

import attempt_store
import settings
from attempt_store import AttemptStore
from graph import Graph
from reprocess_timer.sweep import run_sweep
from session import DeadlineSession

send = DeadlineSession.send


def sweep(advanced: float) -> dict:
    ahead = timedelta(seconds=advanced)

    def now() -> datetime:
        return datetime.now(UTC) + ahead

    current = settings.current()
    attempts = AttemptStore(attempt_store.for_sweeps()._rows, now)
    report = run_sweep(Graph(current, now=now), attempts, current)
    return report.fields() | {"problem": report.problem}


def start(passed, advanced: float) -> int:
    """Fork a sweep that tells `passed` of each moment; return its process id."""
    child = os.fork()
    if child:
        return child
    code = 1

    def told(self, request, **options):
        passed("before", request)
        answer = send(self, request, **options)
        passed("after", request)
        return answer

    try:
        DeadlineSession.send = told
        say(sweep(advanced))
        code = 0
    finally:
        os._exit(code)


def killer(moment: int):
    """What kills the process at this moment of it."""
    moments = itertools.count()

    def passed(when: str, request) -> None:
        if next(moments) == moment:
            say({"killed": f"{when} {request.method} {request.path_url.partition('?')[0]}"})
            os.kill(os.getpid(), signal.SIGKILL)

    return passed


def gate(instances: int):
    """What lets no process write before so many want to."""
    barrier, lock, waited = multiprocessing.Barrier(instances), threading.Lock(), []

    def passed(_when: str, request) -> None:
        with lock:  # one of its threads waits for the other processes
            if request.method != "GET" and not waited:
                waited.append(barrier.wait(60))

    return passed


def say(line: dict) -> None:
    os.write(1, json.dumps(line).encode() + b"\n")


def main(instances: int = 1, advanced: float = 0.0, *, kill: bool = False) -> None:
    if kill:
        for moment in itertools.count():
            if not os.WIFSIGNALED(os.waitpid(start(killer(moment), advanced), 0)[1]):
                break
    else:
        passed = gate(instances)
        for child in [start(passed, advanced) for _ in range(instances)]:
            os.waitpid(child, 0)


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
