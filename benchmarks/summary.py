"""The figures by which two versions of the app are compared, as one table.

    python -m benchmarks.summary [--rounds 3] [PART ...]

Parts: size, trace, pace, call, cold, drain, bound, growth; without one all of them, two minutes a
round. What is timed is measured in so many rounds, each with empty tables: the least of them says
most on a busy machine.
Not for: docs/benchmarks.md (`python -m benchmarks`), which measures the same and more, once.
"""

from __future__ import annotations

import argparse
import statistics
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from benchmarks import cold, drains, limits, size, sweeps, trace
from emulator.azurite import Azurite

if TYPE_CHECKING:
    from collections.abc import Callable

CALLS = 500
STARTS = 9  # in one round


def call(azurite: Azurite) -> dict[str, float]:
    each = drains.drain(azurite, drains.ONE_BY_ONE, CALLS, 2)["each"]
    return {"one HTTP call with a table, 2 ms to Graph: median ms": statistics.median(each)}


def cold_starts(azurite: Azurite) -> dict[str, float]:
    runs = cold.starts(azurite, STARTS, (cold.OURS, cold.COMPILED, cold.HELLO))
    each: dict[str, list[float]] = {name: [one["seconds"] for one in runs[name]] for name in runs}

    def times_hello(name: str) -> float:
        """Compare starts that came one after the other, when the machine was equally busy."""
        pairs = zip(each[name], each[cold.HELLO], strict=True)
        return statistics.median(ours / hello for ours, hello in pairs)

    return {
        "cold start to the first 202: s": statistics.median(each[cold.OURS]),
        "  with compiled files: s": statistics.median(each[cold.COMPILED]),
        "  a hello-world with a credential: s": statistics.median(each[cold.HELLO]),
        "  times a hello-world": times_hello(cold.OURS),
        "  with compiled files: times a hello-world": times_hello(cold.COMPILED),
    }


def drain(azurite: Azurite) -> dict[str, float]:
    row = drains.drain(azurite, drains.SWEEP, 2000, 200)
    return {"sweep of 2,000 due, 200 ms a call: s": row["seconds"]}


def bound(azurite: Azurite) -> dict[str, float]:
    many = sweeps.throttled(azurite, 10000, 400, 400)
    few = sweeps.throttled(azurite, 2000, 400, 800)
    return {
        "10,000 due, 400/s, 100 ms: whole sweep over the bound": many["whole"] / many["bound"],
        "  first POST to last 202 over the bound": many["posting"] / many["bound"],
        "2,000, 400/s, 100 ms, empty bucket of 800: over the bound": few["posting"] / few["bound"],
    }


def growth(azurite: Azurite) -> dict[str, float]:
    (row,) = sweeps.growth(azurite, (100_000,))["rows"]
    return {
        "100,000 failed: peak MiB": row["mib"],
        "  list and plan: s": row["listing"],
        "  whole sweep, of which 10,000 are tried: s": row["whole"],
    }


def pace() -> dict[str, str]:
    """The last row of `bound` without a machine that is busy."""
    cell = replace(limits.bucket("bucket", 400, 800, 0, 5), count=2000)
    ratio = limits.run_seeds(cell, range(1, 21)).ratio
    return {"2,000, 400/s, 100 ms, empty bucket of 800, virtual time: mean": f"{ratio:.3f}"}


# What is the same in every run, and what is timed.
COUNTED: dict[str, Callable[[], dict[str, str]]] = {
    "size": size.figures,
    "trace": lambda: trace.figures(*trace.trace()),
    "pace": pace,
}
TIMED: dict[str, Callable[[Azurite], dict[str, float]]] = {
    "call": call,
    "cold": cold_starts,
    "drain": drain,
    "bound": bound,
    "growth": growth,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.summary", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", choices=[[], *COUNTED, *TIMED])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    wanted = options.parts or [*COUNTED, *TIMED]
    for name in [one for one in wanted if one in COUNTED]:
        for what, value in COUNTED[name]().items():
            print(f"{what:64} {value}", flush=True)
    results: dict[str, list[float]] = defaultdict(list)
    for _ in range(options.rounds):
        for name in [one for one in wanted if one in TIMED]:
            with Azurite() as azurite:  # empty tables
                for what, figure in TIMED[name](azurite).items():
                    results[what].append(figure)
    if results:
        print(f"{'':64} {'least':>8} {'median':>8}")
    for what, each in results.items():
        print(f"{what:64} {min(each):8.3f} {statistics.median(each):8.3f}")


if __name__ == "__main__":
    main()
