"""Calls of a Sender in virtual time: workers without threads, and a clock that tests set.

For: test_sender.py. Not for: how limits behave (benchmarks/limits.py).
"""

from __future__ import annotations

from reprocessing.rate_limiter import RateLimiter
from reprocessing.sender import Sender
from tests.support.inline import InlineWorkers
from tests.support.scripted_graph import Clock


class Calls(InlineWorkers):
    """Answers calls with `answer`, a function from the items of a call to its results.

    `sent` has the time and the items of each call; a call takes `latency` seconds. `progress` has
    the time and the numbers of each report.
    """

    def __init__(self, answer, *, latency=0.1, max_calls=8, size=20):
        self.answer, self.latency, self.clock = answer, latency, Clock()
        super().__init__(self.clock.sleep)
        self.sent, self.progress, self.at_once = [], [], 0
        self.limiter = RateLimiter(max_calls, size, self.clock)

    @property
    def now(self):
        return self.clock.seconds

    def send(self, items, seconds=10_000.0, **more):
        sender = Sender(
            self._call,
            limiter=self.limiter,
            deadline=self.clock.deadline(seconds),
            clock=self.clock,
            workers=lambda _max_calls: self,
            progress=lambda done, throttled: self.progress.append((self.now, done, throttled)),
            **more,
        )
        return sender.send(items)

    def _call(self, items):
        self.sent.append((self.now, items))
        return self.answer(items)

    # -- the workers: all calls that are under way end in the order in which they began --

    def submit(self, call):
        self._calls.append((self.now + self.latency, call()))
        self.at_once = max(self.at_once, len(self._calls))

    def finished(self, seconds):
        if not self._calls or self._calls[0][0] > self.now + seconds:
            self.clock.sleep(seconds)
            return []
        self.clock.seconds, ended = self._calls.pop(0)
        return [ended]
