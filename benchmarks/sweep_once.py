"""One sweep in a process of its own, so that its memory and its imports are its own.

    python -m benchmarks.sweep_once

Runs the timer function as the worker does, with settings from the environment. THROTTLE is what the
emulated Graph is set to just before the first reprocess. Prints the report, the peak memory, and
the calls to Table Storage.
"""

from __future__ import annotations

import json
import logging
import os
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import azure.functions as func
import requests
from azure.core.pipeline.transport import RequestsTransport

from benchmarks.peers.job import peak_mib
from emulator.run import ask
from reprocess_timer import blueprint

if TYPE_CHECKING:
    from collections.abc import Callable

FUNCTION, FINISHED = "sweep", "sweep finished"


class Report(logging.Handler):
    """Keeps the report, which the sweep logs."""

    def __init__(self) -> None:
        super().__init__()
        self.fields: dict[str, Any] = {}

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if f'"{FINISHED}"' in message:
            self.fields = json.loads(message)


def throttle_at_first_reprocess() -> None:
    """Set THROTTLE just before a reprocess is sent for the first time, alone or in a `$batch`."""
    waiting = [body] if (body := os.environ.get("THROTTLE")) else []
    plain = requests.Session.send

    def send(self: requests.Session, request: requests.PreparedRequest, **rest: Any) -> Any:
        if waiting and "/reprocess" in f"{request.url} {request.body!r}":
            url = f"{os.environ['GRAPH_ENDPOINT']}/control/settings"
            wanted = json.dumps({"throttle": json.loads(waiting.pop())}).encode()
            ask(url, {"X-Emulator-Control": "local"}, "PATCH", wanted)
        return plain(self, request, **rest)

    requests.Session.send = send  # type: ignore[method-assign]


def count_table_calls() -> list[str]:
    calls = []
    plain = RequestsTransport.send

    def counted(self: Any, request: Any, **rest: Any) -> Any:
        if "/msi/" not in request.url:
            calls.append(request.method)
        return plain(self, request, **rest)

    RequestsTransport.send = counted
    return calls


def timer_function() -> Callable[..., None]:
    app = func.FunctionApp()
    app.register_functions(blueprint)
    functions = {one.get_function_name(): one for one in app.get_functions()}
    function: Callable[..., None] = functions[FUNCTION].get_user_function()
    return function


def main() -> None:
    report = Report()
    logging.basicConfig(level=logging.INFO, handlers=[report])
    sweep = timer_function()
    throttle_at_first_reprocess()
    table_calls = count_table_calls()
    started = time.perf_counter()
    sweep(SimpleNamespace(past_due=False), SimpleNamespace(invocation_id="benchmark"))
    measured = {
        "whole": time.perf_counter() - started,
        "tableCalls": table_calls,
        "mib": peak_mib(),
    }
    print(json.dumps(report.fields | measured))


if __name__ == "__main__":
    main()
