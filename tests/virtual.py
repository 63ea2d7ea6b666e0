"""Calls in virtual time: workers without threads, and a clock that goes only when it is told.

For: test_batches.py. Not for: how limits behave (benchmarks/limits.py).
"""

from __future__ import annotations

import heapq
import itertools

from deadline import Deadline
from reprocess_timer.batches import drain
from reprocess_timer.pace import Pace


class Calls:
    """Work whose answers a test scripts: a function from the items of a call to its outcomes.

    Keeps when each call was sent, with how many items and whether as a batch. A call takes
    `latency` seconds; `progress` has what was told.
    """

    def __init__(self, answer, *, latency=0.1, most=8, size=20, prepare=None):
        self.answer = answer
        self.latency = latency
        self.now = 0.0
        self.sent = []
        self.progress = []
        self.pace = Pace(most, size, self.clock)
        self.prepared = prepare or (lambda items: items)
        self._flight = []
        self._number = itertools.count()
        self.at_once = 0

    def clock(self):
        return self.now

    def drain(self, items, seconds=10_000.0, **more):
        return drain(
            items,
            self,
            pace=self.pace,
            deadline=Deadline(seconds, self.clock),
            clock=self.clock,
            workers=lambda _most: self,
            tell_progress=lambda done, throttled: self.progress.append((self.now, done, throttled)),
            **more,
        )

    # -- the work --

    def prepare(self, items):
        return self.prepared(items)

    def send(self, items, deadline, *, batched):
        self.sent.append((self.now, list(items), batched, deadline.left()))
        outcome = self.answer(list(items))
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    # -- the workers --

    def __enter__(self):
        return self

    def __exit__(self, *_):
        """Nothing is under way."""

    def submit(self, call):
        heapq.heappush(self._flight, (self.now + self.latency, next(self._number), call()))
        self.at_once = max(self.at_once, len(self._flight))

    def finished(self, seconds):
        if not self._flight or self._flight[0][0] > self.now + seconds:
            self.now += seconds
            return []
        self.now, _, ended = heapq.heappop(self._flight)
        return [ended]
