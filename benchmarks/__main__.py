"""Measure what docs/benchmarks.md states, on loopback: everything in one run, or parts of it.

    python -m benchmarks [--quick] [PART ...]

The result of each part is kept as soon as it ends; document.py makes the document of them.
Not for: comparing two versions of the app (summary.py), or the rate limiter (limits.py).
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from benchmarks import cold, document, drains, page, sweeps
from emulator.azurite import Azurite

if TYPE_CHECKING:
    from collections.abc import Callable

# How to measure each part, and how much of it: in full, and in a few minutes.
PARTS: dict[str, tuple[Callable[[Azurite, Any], dict[str, Any]], Any, Any]] = {
    "drains": (drains.measure, drains.Plan(), drains.QUICK),
    "bulk": (drains.bulk, 1000, 40),
    "cold": (cold.measure, 9, 2),
    "growth": (sweeps.growth, (0, 1000, 10_000, 100_000, 300_000), (0, 100, 1000)),
    "page": (page.measure, 5000, 2000),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", choices=[[], *PARTS])
    parser.add_argument("--quick", action="store_true", help="a few minutes, to try the benchmark")
    options = parser.parse_args()
    for name in options.parts or PARTS:
        measure, full, quick = PARTS[name]
        with Azurite() as azurite:  # empty tables
            result = measure(azurite, quick if options.quick else full)
        document.keep(name, result, quick=options.quick)
    document.write()


if __name__ == "__main__":
    main()
