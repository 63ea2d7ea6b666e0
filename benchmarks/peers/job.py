"""What every contender is told, and what it prints.

    python -m benchmarks.peers.<contender> [its own arguments] <root> <credential> <seconds>

A contender lists what has failed at `root` and has it reprocessed. It starts no new request when
its posting has lasted `seconds`; what it left untried is not counted as tried.
Not for: how a contender works.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PATH = "/v1.0/identityGovernance/entitlementManagement/assignmentRequests"
FILTER = "(state eq 'deliveryFailed' or state eq 'partiallyDelivered')"


class Job:
    """The arguments of one run, its clock, and its result."""

    def __init__(self) -> None:
        self.root, self.credential, seconds = sys.argv[-3:]
        self.seconds = float(seconds)
        self.began = self.listed = time.perf_counter()
        self.each: list[tuple[float, float]] = []

    def post(self) -> None:
        """Say that the list is there and posting begins."""
        self.listed = time.perf_counter()

    def over(self) -> bool:
        return time.perf_counter() - self.listed > self.seconds

    @contextlib.contextmanager
    def timed(self) -> Iterator[None]:
        """Note how long one request takes, waits and retries included, and when it ended."""
        started = time.perf_counter()
        yield
        ended = time.perf_counter()
        self.each.append((ended - self.listed, (ended - started) * 1000))

    def report(self, outcomes: Iterable[bool | None]) -> None:
        """Print the result; an outcome is whether a request was accepted, None if not tried."""
        ended = time.perf_counter()
        result = {
            "tried": sum(one is not None for one in outcomes),
            "seconds": ended - self.began,
            "listing": self.listed - self.began,
            "halfway": sum(at <= self.seconds / 2 for at, _ in self.each),
            "in time": sum(at <= self.seconds for at, _ in self.each),
            "each": [milliseconds for _, milliseconds in self.each],
            "mib": peak_mib(),
        }
        print(json.dumps(result))


def peak_mib() -> float:
    """Return this program's own peak memory; that of getrusage may be of who started it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
