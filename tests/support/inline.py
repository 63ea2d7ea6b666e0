"""Stand-ins for threads in virtual time: what is submitted is carried out in the caller's thread."""

from __future__ import annotations


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
