"""One sweep in a process of its own, so that its memory and its imports are its own.

    python -m benchmarks.sweep_once

Settings come from the environment; THROTTLE is what the emulated Graph is set to just before the
first POST. Prints the report, the peak memory, the calls to Table Storage, and how long after the
first POST the last 202 came.
"""

from __future__ import annotations

import json
import os
import resource
import time
from typing import Any

from azure.core.pipeline.transport import RequestsTransport

import attempts
import graph
import settings
from emulator.run import ask
from reprocess_timer.sweep import Sweep


def throttle(graph_url: str | None) -> None:
    if wanted := os.environ.get("THROTTLE"):
        body = json.dumps({"throttle": json.loads(wanted)}).encode()
        ask(f"{graph_url}/control/settings", {"X-Emulator-Control": "local"}, "PATCH", body)


def count_table_calls() -> list[str]:
    calls = []
    plain = RequestsTransport.send

    def counted(self: Any, request: Any, **rest: Any) -> Any:
        if "/msi/" not in request.url:
            calls.append(request.method)
        return plain(self, request, **rest)

    RequestsTransport.send = counted  # type: ignore[method-assign]
    return calls


def main() -> None:
    ours = graph.shared()
    first: list[float] = []
    last = [0.0]
    plain = ours.batch

    def timed(method: str, *rest: Any) -> Any:
        if method == "POST" and not first:
            throttle(ours.settings.graph_endpoint)
            first.append(time.perf_counter())
        answers = plain(method, *rest)
        if method == "POST" and any(answer and answer.ok for answer in answers):
            last[0] = max(last[0], time.perf_counter())
        return answers

    ours.batch = timed  # type: ignore[method-assign]
    table_calls = count_table_calls()
    started = time.perf_counter()
    run = Sweep(ours, attempts.shared(), settings.current())
    report = run.run().as_json(
        problem=run.problem,
        whole=time.perf_counter() - started,
        tableCalls=len(table_calls),
        posting=last[0] - first[0] if first else 0.0,
        mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    )
    print(json.dumps(report))


if __name__ == "__main__":
    main()
