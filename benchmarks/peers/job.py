"""The arguments of every contender, and the result that it prints.

    python -m benchmarks.peers.<contender> <at once> <root> <credential> <seconds>

A contender lists the failed requests at `root` and has so many at once reprocessed. It starts no new request
when its posting has lasted `seconds`; a request that was not started does not count as tried.
Not for: how a contender works.
"""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

PATH = "/v1.0/identityGovernance/entitlementManagement/assignmentRequests"
FILTER = "(state eq 'deliveryFailed' or state eq 'partiallyDelivered')"


class Job:
    """The arguments of one run, its clock, and its result."""

    def __init__(self) -> None:
        at_once, self.root, self.credential, seconds = sys.argv[1:]
        self.at_once, self.seconds = int(at_once), float(seconds)
        self.began = self.listed = time.perf_counter()
        self.ended: list[float] = []  # each request that was tried, in seconds of posting

    def post_each(self, post: Callable[[str], object], ids: Iterable[str]) -> None:
        """Post so many at once while there is time; print the result."""

        def timed(request_id: str) -> None:
            if not self.is_over():
                post(request_id)
                self.note_end()

        self.start_posting()
        with ThreadPoolExecutor(self.at_once) as pool:
            list(pool.map(timed, ids))
        self.report(len(self.ended))

    def start_posting(self) -> None:
        self.listed = time.perf_counter()

    def is_over(self) -> bool:
        return time.perf_counter() - self.listed > self.seconds

    def note_end(self) -> None:
        """Note when one request ended, waits and retries included."""
        self.ended.append(time.perf_counter() - self.listed)

    def report(self, tried: int, **more: int) -> None:
        """Print the result."""
        result = {
            "tried": tried,
            "seconds": time.perf_counter() - self.began,
            "listing": self.listed - self.began,
            "halfway": sum(at <= self.seconds / 2 for at in self.ended),
            "in time": sum(at <= self.seconds for at in self.ended),
            "mib": peak_mib(),
        }
        print(json.dumps(result | more))


def peak_mib(pid: int | str = "self") -> float:
    """Return the peak memory of a program; getrusage may return that of its parent."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
