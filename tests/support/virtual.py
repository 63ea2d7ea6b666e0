"""Calls of a Sender in virtual time: workers without threads, and a clock that tests set.

For: test_sender.py. Not for: how limits behave (benchmarks/limits.py).
"""

from __future__ import annotations

import heapq
import itertools

from deadline import Deadline
from reprocessing.rate_limiter import RateLimiter
from reprocessing.sender import Sender


class Calls:
    """Answers calls with `answer`, a function from the items of a call to its results.

    `sent` has the time and the items of each call; a call takes `latency` seconds. `progress` has
    the time and the numbers of each report.
    """

    def __init__(self, answer, *, latency=0.1, max_calls=8, size=20):
        self.answer = answer
        self.latency = latency
        self.now = 0.0
        self.sent = []
        self.progress = []
        self.at_once = 0
        self.limiter = RateLimiter(max_calls, size, self.clock)
        self._flight = []
        self._number = itertools.count()

    def clock(self):
        return self.now

    def send(self, items, seconds=10_000.0, **more):
        sender = Sender(
            self._call,
            limiter=self.limiter,
            deadline=Deadline(seconds, self.clock),
            clock=self.clock,
            workers=lambda _max_calls: self,
            progress=lambda done, throttled: self.progress.append((self.now, done, throttled)),
            **more,
        )
        return sender.send(items)

    def _call(self, items):
        self.sent.append((self.now, items))
        return self.answer(items)

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
