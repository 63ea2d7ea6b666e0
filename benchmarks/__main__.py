"""Measure what the README states: all in one run, on loopback.

Here: one HTTP call, and the start. Sweeps are measured by sweeps.py, the pace by limits.py, the page
by page.py.
"""

from __future__ import annotations

import http.client
import json
import os
import platform
import statistics
import time
from pathlib import Path
from typing import Any

from benchmarks import callers, limits, page, sweeps
from emulator.run import Local, ask

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


def token(local: Local) -> str:
    url = f"{local.graph_url}/msi/token?api-version=2019-08-01&resource=https://graph.microsoft.com"
    body = json.loads(ask(url, {"X-IDENTITY-HEADER": local.identity_header}))
    return str(body["access_token"])


def percentiles(times: list[float]) -> tuple[float, float]:
    cuts = statistics.quantiles(times, n=100)
    return cuts[49], cuts[98]


def peak_mib(pid: int) -> float:
    with Path(f"/proc/{pid}/status").open() as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024


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


def cold(rounds: int = 5) -> dict[str, Any]:
    """From starting a process of the host until its first 202, token included; and its memory."""
    until, memory, ready = [], [], []
    for _ in range(rounds):
        started = time.perf_counter()
        with Local() as local:
            ready.append(time.perf_counter() - started)
            path = (
                f"/api/requests/{local.control('GET', 'showcase')['showcase'][0]['id']}/reprocess"
            )
            timed(local.port, [(path, {"x-functions-key": local.function_key})])
            until.append(time.perf_counter() - started)
            memory.append(peak_mib(local.parts[1].pid))
    return {
        "ready after s (median of 5)": round(statistics.median(ready), 2),
        "cold process to first 202 s (median of 5)": round(statistics.median(until), 2),
        "its peak memory MiB": round(statistics.median(memory)),
    }


def main() -> None:
    print(f"{platform.python_implementation()} {platform.python_version()}, {os.cpu_count()} cores")
    results = cold()
    with Local(settings=sweeps.NO_TIMER, graph_options=("--requests", "0")) as local:
        results |= one_call(local)
    results |= callers.measure()
    results |= sweeps.measure() | limits.measure()
    for name, value in results.items():
        print(f"{name:50} {value}")
    page.main()


if __name__ == "__main__":
    main()
