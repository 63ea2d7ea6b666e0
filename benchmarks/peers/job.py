"""The arguments of every contender, and the result that it prints.

    python -m benchmarks.peers.<contender> [its own arguments] <root> <credential> <seconds>

A contender lists the failed requests at `root` and has them reprocessed. It starts no new request
when its posting has lasted `seconds`; a request that was not started does not count as tried.
Not for: how a contender works.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

PATH = "/v1.0/identityGovernance/entitlementManagement/assignmentRequests"
FILTER = "(state eq 'deliveryFailed' or state eq 'partiallyDelivered')"


class Job:
    """The arguments of one run, its clock, and its result."""

    def __init__(self) -> None:
        self.root, self.credential, seconds = sys.argv[-3:]
        self.seconds = float(seconds)
        self.began = self.listed = time.perf_counter()
        self.each: list[tuple[float, float]] = []

    def post_each(self, post: Callable[[str], bool], ids: Iterable[str], at_once: int = 1) -> None:
        """Post so many at once while there is time; print the result."""

        def timed(request_id: str) -> bool | None:
            if self.is_over():
                return None
            with self.timed():
                return post(request_id)

        self.start_posting()
        with ThreadPoolExecutor(at_once) as pool:
            self.report(list(pool.map(timed, ids)))

    def start_posting(self) -> None:
        self.listed = time.perf_counter()

    def is_over(self) -> bool:
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
    """Return the peak memory of this program; getrusage may return that of its parent."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
