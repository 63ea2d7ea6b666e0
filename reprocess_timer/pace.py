"""draft"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

SHORTEST = 1.0
RAMP = 0.1
MARGIN = 0.98
SAVED = 0.8
UP = 0.7
TWICE = 2.0
PROBE = 30.0
LONGEST_BACKOFF = 30.0
APPROACH = True


@dataclass(frozen=True, slots=True)
class Sent:
    at: float
    requests: int
    pace: float
    saved: bool
    first: bool
    at_once: int


class Pace:
    def __init__(self, calls: int, size: int, clock: Callable[[], float]) -> None:
        self.most = calls
        self.size = self._largest = size
        self._calls = 1
        self._ceiling = calls
        self.rate: float | None = None
        self._clock = clock
        self._resume_at = -math.inf
        self._refused_at = -math.inf
        self._begun = False
        self._active_from = 0.0
        self._taken = 0
        self._cycles = 0
        self._keeps = True
        self._low = 0.0
        self._high = 0.0
        self._seconds = 1.0
        self._hold = self._ramp = RAMP
        self._answer = RAMP
        self._level = 0.0
        self._savings = 0.0
        self._filled_at = 0.0
        self._spent = 0.0
        self._backoff = SHORTEST
        self._whole: Sent | None = None
        self.throttles = 0

    @property
    def calls(self) -> int:
        return max(1, min(self._calls, int(self._ceiling * self._growth(self._clock()))))

    def told(self) -> float:
        return max(0.0, self._resume_at - self._clock())

    def pause(self, seconds: float) -> None:
        self._resume_at = max(self._resume_at, self._clock() + seconds)

    def _growth(self, at: float) -> float:
        over = (at - self._active_from) / self._hold - 1
        return 2 ** min(max(over, 0.0), 40)

    def _now(self, at: float) -> float:
        """Pace at"""
        if self.rate is None:
            return math.inf
        pace = self.rate
        if self._high > pace and APPROACH:
            t = max(0.0, at - self._active_from)
            pace = self._high * (1 - 1 / (self._high / (self._high - pace) + t / self._seconds))
        return max(
            self.rate, min(pace * self._growth(at), self.most * self._largest / self._answer)
        )

    def wait(self, requests: int) -> float:
        if told := self.told():
            return told
        if self.rate is None:
            return 0.0
        now = self._clock()
        pace = self._now(now)
        self._level = min(
            self._level + pace * (now - self._filled_at), self._largest + self._savings
        )
        self._filled_at = now
        pause = (requests - self._level) / pace
        return pause if pause > 1e-6 else 0.0

    def sent(self, requests: int, at_once: int) -> Sent:
        now = self._clock()
        if not self._begun:
            self._begun = True
            self._active_from = now
        first = self._spent == 0
        self._level -= requests
        self._spent += requests
        return Sent(now, requests, self._now(now), self._spent <= self._savings, first, at_once)

    def accepted(self, sent: Sent, taken: int) -> None:
        self._taken += taken
        self._answer = max(0.001, self._clock() - sent.at)
        self._ramp = max(RAMP, self._answer)
        self._calls = min(self._calls + 1, self.most)
        self._backoff = SHORTEST
        whole = self._whole
        if whole and taken == sent.requests and sent.at > whole.at:
            need = (self.rate or 0.0) * self._answer / self.size + 1
            self._ceiling = min(self._ceiling, max(whole.at_once - 1, need, 1))
            self._whole = None

    def refused(self, sent: Sent, taken: int, told: float | None) -> None:
        now = self._clock()
        self._taken += taken
        if taken:
            self._backoff = SHORTEST
        fresh = sent.at >= self._refused_at
        if told is None:
            seconds = self._backoff
            if fresh and not taken:
                self._backoff = min(2 * self._backoff, LONGEST_BACKOFF)
        else:
            seconds = max(told, SHORTEST)
        self._resume_at = max(self._resume_at, now + seconds)
        if fresh:
            self._whole = None if taken else sent
        if fresh and (self._taken or self.rate is None):
            self.throttles += 1
            self._learn(sent, taken, now, seconds)
            self._refused_at = now
            self._taken = 0
            self._seconds = seconds
        self._spent = 0.0
        self._active_from = self._filled_at = self._resume_at
        self._savings = (
            SAVED * self._low * (self._resume_at - self._refused_at) if self._keeps else 0.0
        )
        self._level = self._savings

    def _learn(self, sent: Sent, taken: int, now: float, seconds: float) -> None:
        self._answer = max(0.001, now - sent.at)
        self._ramp = max(RAMP, self._answer)
        active = now - self._active_from
        waited = 0.0 if self.rate is None else self._active_from - self._refused_at
        if self.rate is None:
            self.rate = self._low = self._taken / (active + seconds) or 20.0
            self._hold = self._ramp
            return
        self._cycles += 1
        low = self._taken / (waited + active)
        high = max(sent.pace, low)
        size = self.size
        if self._keeps and sent.saved:
            self._keeps = False
            self._hold = self._ramp
        else:
            if high >= TWICE * low and self._cycles > 1:
                self._keeps = False
            self._low = low
            self.rate = MARGIN * low * (1 if self._keeps else (high / low) ** UP)
            self._high = 0 if self._keeps else high
            self._hold = 2 * max(active, self._hold) if active > waited else 2 * active
            self._hold = min(max(self._hold, self._ramp), PROBE * seconds)
        if not self._keeps and (taken or not self._taken):
            floor = 2 * self.rate * self._ramp / self.most
            self.size = max(1, min(self.size, max(self.size // 2, math.ceil(floor))))
        if sent.first and taken:
            self.size = min(size, taken)
