"""The app in this process: what its routes and sweeps are wired to, and threads in virtual time.

What is submitted to a thread is carried out in the caller's.
"""

from __future__ import annotations

import attempt_store
import graph
from deadline import Deadline
from reprocess_http import failed_requests


def wire(patch, app, callers, sweeps, memory, clock):
    """Let the deployed code use this Graph, these stores of attempts and this clock."""
    patch.setattr(graph, "shared", lambda: app)
    patch.setattr(attempt_store, "for_callers", lambda: callers)
    patch.setattr(attempt_store, "for_sweeps", lambda: sweeps)
    patch.setattr(attempt_store, "in_memory", lambda: memory)
    patch.setattr(failed_requests, "CACHE", failed_requests.ListCache(clock))
    patch.setattr(Deadline.__init__, "__defaults__", (clock,))


class InlineWorkers:
    """Carries out a call when its result is asked for, or at the end of the block.

    `wait` passes the time while there is none.
    """

    def __init__(self, wait):
        self._wait, self._calls = wait, []

    def __enter__(self):
        return self

    def __exit__(self, error, *_):
        while self._calls and not error:
            self._calls.pop(0)()

    def submit(self, call):
        self._calls.append(call)

    def finished(self, seconds):
        if self._calls:
            return [self._calls.pop(0)()]
        self._wait(seconds)
        return []


def inline_workers(wait):
    """What makes workers for any number of calls at once."""
    return lambda _max_calls: InlineWorkers(wait)
