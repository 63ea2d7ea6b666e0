"""One sweep in a process of its own, so that its memory and its imports are its own.

    python -m benchmarks.sweep_once

Settings come from the environment; THROTTLE is what the emulated Graph is set to just before the
first POST. Prints the report, the peak memory, the calls to Table Storage, and how long after the
first POST the last 202 came.
"""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any

from azure.core.pipeline.transport import RequestsTransport

import attempts
import settings
from benchmarks.peers.job import peak_mib
from emulator.run import ask
from graph import Accepted, Graph, GraphError
from reprocess_timer.sweep import Sweep

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deadline import Deadline
    from settings import Settings


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

    RequestsTransport.send = counted
    return calls


class Timed(Graph):
    """Notes when the first POST is begun and the last acceptance comes."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.endpoint = settings.graph_endpoint
        self.first = self.last = 0.0

    def reprocess_each(
        self, request_ids: Sequence[str], deadline: Deadline, *, batched: bool
    ) -> list[Accepted | GraphError]:
        if not self.first:
            throttle(self.endpoint)
            self.first = time.perf_counter()
        outcomes = super().reprocess_each(request_ids, deadline, batched=batched)
        if any(isinstance(one, Accepted) for one in outcomes):
            self.last = time.perf_counter()
        return outcomes


def main() -> None:
    ours = Timed(settings.current())
    table_calls = count_table_calls()
    started = time.perf_counter()
    report = Sweep(ours, attempts.shared(), settings.current()).run()
    measured = {
        "whole": time.perf_counter() - started,
        "tableCalls": table_calls,
        "posting": ours.last - ours.first,
        "mib": peak_mib(),
    }
    print(json.dumps(report.fields() | {"problem": report.problem} | measured))


if __name__ == "__main__":
    main()
