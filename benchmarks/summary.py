"""What a change to the app does to its speed: run this before and after it.

    python -m benchmarks.summary [--rounds 3] [PART ...]

Parts: call, drain. Each is measured in so many rounds; the least says most on a busy machine.
Not for: docs/benchmarks.md (`python -m benchmarks`), which has more, measured once.
"""

from __future__ import annotations

import argparse
import statistics

from benchmarks.drains import ONE_BY_ONE, SWEEP, drain
from emulator.azurite import Azurite

# What is timed: by whom, how many requests, and milliseconds of an answer of Graph.
PARTS = {
    "call": ("500 HTTP calls with a table, one by one, 2 ms to Graph", ONE_BY_ONE, 500, 2),
    "drain": ("a sweep of 2,000 due, 200 ms to Graph", SWEEP, 2000, 200),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.summary", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", choices=[[], *PARTS])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with Azurite() as azurite:
        for what, contender, size, latency in (PARTS[one] for one in options.parts or PARTS):
            rounds = range(options.rounds)
            each = [drain(azurite, contender, size, latency)["seconds"] for _ in rounds]
            print(f"{what}: least {min(each):.3f} s, median {statistics.median(each):.3f} s")


if __name__ == "__main__":
    main()
