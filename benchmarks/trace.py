"""What one call costs in the app's own code: functions called, files, threads; and a sweep's threads.

    python -m benchmarks.trace [--list]      --list: each function of the call, and how often

One accepted call over HTTP with a table, and one sweep, through the worker library of the local
host, beside an emulated Graph and Azurite. Each is the second of its kind, so that what is set up
once does not count. Functions are those of deployed files, lambdas and generators among them.
Not for: time (the other benchmarks).
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from benchmarks.tenant import NO_TIMER, failing
from benchmarks.traced_host import LIBRARIES
from emulator.azurite import Azurite
from emulator.run import Local, ask

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping

DUE = 499  # one page holds them where 500 are asked for


class Traced(Local):
    """The local app in a host that prints what runs of it."""

    def _part(
        self, module: str, *options: str, settings: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        own = "benchmarks.traced_host" if module == "emulator.host" else module
        return super()._part(own, *options, settings=settings)

    def traced(self, since: int) -> dict[str, Any]:
        """Return what ran in the one invocation since there were so many lines."""
        (line,) = self.logged("traced", since)
        return line


def one_call(local: Traced, request_id: str) -> dict[str, Any]:
    """Have one request reprocessed, which must be accepted; return what ran."""
    seen = len(local.lines)
    url = f"{local.url}/api/requests/{request_id}/reprocess"
    body = ask(url, {"x-functions-key": local.function_key}, "POST", b"")
    assert b'"accepted"' in body, body
    return local.traced(seen)


def one_sweep(local: Traced, due: int) -> dict[str, Any]:
    """Sweep so many due requests, all of which must be accepted; return what ran and was listed."""
    failing(local, due)
    local.control("DELETE", "log")
    seen = len(local.lines)
    report = local.sweep()
    assert report["accepted"] == due, report
    log = local.control("GET", "log")["log"]
    lists = sum(entry["operation"] == "list" for entry in log)
    return local.traced(seen) | {"lists": lists}


def trace() -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what ran in a call and in a sweep."""
    with Azurite() as azurite:
        settings = NO_TIMER | {"SWEEP_MIN_AGE_MINUTES": "0", "ATTEMPTS_TABLE": "trace"}
        settings |= {"AzureWebJobsStorage": azurite.connection_string}
        with Traced(settings=settings, graph_options=("--requests", "0")) as local:
            local.control("DELETE", "requests")
            local.control("PATCH", "settings", {"staleSeconds": 0})  # what was sent is not listed
            call = [one_call(local, one) for one in failing(local, 2)][-1]
            sweep = [one_sweep(local, due) for due in (20, DUE)][-1]
    return call, sweep


def figures(call: dict[str, Any], sweep: dict[str, Any]) -> dict[str, str]:
    calls = call["calls"]
    return {
        "one accepted call: calls of the app's functions": str(sum(calls.values())),
        "  different functions / files": f"{len(calls)} / {len({file_of(one) for one in calls})}",
        "  threads started (of them by libraries)": started(call["threads"]),
        f"a sweep of {DUE} due: threads started (of them by libraries)": started(sweep["threads"]),
        "  GETs of the list": str(sweep["lists"]),
    }


def file_of(function: str) -> str:
    return function.partition(":")[0]


def started(threads: dict[str, int]) -> str:
    return f"{sum(threads.values())} ({threads.get(LIBRARIES, 0)})"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.trace", description=__doc__)
    parser.add_argument("--list", action="store_true", help="each function of the call")
    options = parser.parse_args()
    call, sweep = trace()
    for what, value in figures(call, sweep).items():
        print(f"{what:64} {value:>10}")
    if options.list:
        print("\n".join(f"{number:4} {name}" for name, number in sorted(call["calls"].items())))


if __name__ == "__main__":
    main()
