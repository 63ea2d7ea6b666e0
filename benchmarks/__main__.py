"""Measure what docs/benchmarks.md states: all in one run, on loopback, or parts of it.

    python -m benchmarks [--quick] [PART ...]

Here: one HTTP call, and which parts there are. Each is kept as it ends, for document.py.
Redeliver alone: callers.py, sweeps.py, limits.py, page.py; beside others: drains.py, cold.py.
"""

from __future__ import annotations

import argparse
import http.client
import statistics
import time
from typing import TYPE_CHECKING, Any

from benchmarks import callers, cold, document, drains, limits, page, sweeps
from benchmarks.tenant import NO_TIMER, sdk_python, token
from emulator.azurite import Azurite
from emulator.run import Local

if TYPE_CHECKING:
    from collections.abc import Callable

CALLS = 1000


def request_id(number: int) -> str:
    return f"{number:08x}-0000-4000-8000-00000000beef"


def timed(port: int, calls: list[tuple[str, dict[str, str]]]) -> list[float]:
    """Milliseconds of each POST over one kept connection; every answer must be 202."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    times = []
    for path, headers in calls:
        started = time.perf_counter()
        connection.request("POST", path, headers=headers | {"Content-Length": "0"})
        answer = connection.getresponse()
        answer.read()
        times.append((time.perf_counter() - started) * 1000)
        assert answer.status == 202, answer.status
    connection.close()
    return times


def percentiles(times: list[float]) -> tuple[float, float]:
    cuts = statistics.quantiles(times, n=100)
    return cuts[49], cuts[98]


def one_call(local: Local) -> dict[str, Any]:
    """The app's call beside the bare call that it makes; the two take turns, 100 at a time."""
    local.control("PATCH", "settings", {"deliverySeconds": 3600})
    local.control(
        "POST", "requests", {"requests": [{"id": request_id(n)} for n in range(2 * CALLS)]}
    )
    bare = {"Authorization": f"Bearer {token(local)}"}
    key = {"x-functions-key": local.function_key}
    root = "/v1.0/identityGovernance/entitlementManagement/assignmentRequests"
    local.control("DELETE", "log")
    app_times, bare_times = [], []
    for start in range(0, CALLS, 100):
        block = range(start, start + 100)
        app_times += timed(
            local.port, [(f"/api/requests/{request_id(n)}/reprocess", key) for n in block]
        )
        bare_times += timed(
            local.graph_port, [(f"{root}/{request_id(CALLS + n)}/reprocess", bare) for n in block]
        )
    log = [
        e for e in local.control("GET", "log")["log"] if e["operation"] not in {"token", "control"}
    ]
    (app50, app99), (bare50, bare99) = percentiles(app_times), percentiles(bare_times)
    return {
        "calls to Graph per accepted request": (len(log) - CALLS) / CALLS,
        "app p50 / p99 ms": f"{app50:.2f} / {app99:.2f}",
        "bare Graph p50 / p99 ms": f"{bare50:.2f} / {bare99:.2f}",
        "added p50 / p99 ms": f"{app50 - bare50:.2f} / {app99 - bare99:.2f}",
    }


def ready(rounds: int = 5) -> dict[str, Any]:
    """From `make run` to an app that answers, once set up."""
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        with Local():
            times.append(time.perf_counter() - started)
    return {"ready after s (median of 5)": round(statistics.median(times), 2)}


def calls() -> dict[str, Any]:
    with Local(settings=NO_TIMER, graph_options=("--requests", "0")) as local:
        return ready() | one_call(local) | callers.measure()


def with_azurite(measure: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    with Azurite() as azurite:
        return measure(azurite, *arguments)


# Figures with names of their own; what they are about stands in document.py.
ALONE: dict[str, Callable[[], dict[str, Any]]] = {
    "calls": calls,
    "sweeps": sweeps.measure,
    "pace": limits.measure,
    "page": page.measure,
}
# What has tables and charts: how to measure it, in full and in a few minutes.
BESIDE: dict[str, tuple[Callable[..., dict[str, Any]], Any, Any]] = {
    "growth": (sweeps.growth, (1000, 10000, 30000, 100000, 300000, 1000000), (100, 1000, 3000)),
    "one": (drains.one_request, 1000, 100),
    "cold": (cold.measure, 9, 2),
    "peers": (drains.measure, drains.Plan(), drains.QUICK),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"{', '.join([*ALONE, *BESIDE])}; or all")
    parser.add_argument("--quick", action="store_true", help="a few minutes, to try the benchmark")
    options = parser.parse_args()
    wanted = options.parts or (BESIDE if options.quick else [*ALONE, *BESIDE])
    if unknown := {*wanted} - {*ALONE, *BESIDE}:
        parser.error(f"there is no {', '.join(unknown)}")
    for name in wanted:
        if name in ALONE:
            figures = {what: str(value) for what, value in ALONE[name]().items()}
            result = {"figures": figures}
            print("\n".join(f"{what:50} {value}" for what, value in figures.items()), flush=True)
        else:
            measure, full, quick = BESIDE[name]
            result = with_azurite(measure, quick if options.quick else full)
        document.keep(name, result, quick=options.quick)
    document.write(sdk_python())


if __name__ == "__main__":
    main()
