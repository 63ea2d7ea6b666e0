"""Measure what docs/benchmarks.md states, on loopback: everything, or parts of it.

    python -m benchmarks [--quick] [PART ...]

The result of each part is kept as soon as it ends, and the document is made of all of them
(document.py). With --quick it takes a few minutes, and both stay as they are.
Not for: comparing two versions of the app (summary.py), or the rate limiter (limits.py).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from benchmarks import cold, document, drains, page
from emulator.azurite import Azurite

if TYPE_CHECKING:
    from collections.abc import Callable

# How to measure each part, and how much of it: in full, and in a few minutes.
PARTS: dict[str, tuple[Callable[[Azurite, Any], dict[str, Any]], Any, Any]] = {
    "drains": (drains.measure, drains.Plan(), drains.QUICK),
    "bulk": (drains.bulk, 1000, 40),
    "cold": (cold.measure, 9, 2),
    "growth": (drains.growth, (0, 1000, 10_000, 100_000, 300_000), (0, 100, 1000)),
    "page": (page.measure, 5000, 2000),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", choices=[[], *PARTS])
    parser.add_argument("--quick", action="store_true", help="try the benchmark, and keep nothing")
    options = parser.parse_args()
    python = f"{platform.python_implementation()} {platform.python_version()}"
    results = json.loads(document.RESULTS.read_text())
    for name in options.parts or PARTS:
        measure, full, quick = PARTS[name]
        on = {"day": f"{datetime.now(UTC):%Y-%m-%d}", "python": python, "cores": os.cpu_count()}
        with Azurite() as azurite:
            result = measure(azurite, quick if options.quick else full)
        results[name] = {"on": on} | with_four_digits(result)
        text = document.render(results)
        if not options.quick:
            document.RESULTS.write_text(json.dumps(results, indent=1) + "\n")
            document.PAGE.write_text(text)


def with_four_digits(result: dict[str, Any]) -> Any:
    """Return the same without digits of measured numbers that mean nothing."""
    return json.loads(json.dumps(result), parse_float=lambda text: float(f"{float(text):.4g}"))


if __name__ == "__main__":
    main()
