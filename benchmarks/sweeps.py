"""Sweeps: how they grow, and how near they come to a limit of Graph.

Not for: others beside them (drains.py). The emulated Graph and Azurite are processes of their own.
"""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime
from typing import TYPE_CHECKING, Any

from benchmarks.tenant import environment, generated, http_calls
from emulator.run import APP

if TYPE_CHECKING:
    from collections.abc import Sequence

    from emulator.azurite import Azurite
    from emulator.run import Local


LATENCY_MS = 100  # of a call, under a limit


def sweep(local: Local, **settings: str) -> dict[str, Any]:
    environ = environment(local, **settings)
    command = [sys.executable, "-m", "benchmarks.sweep_once"]
    done = subprocess.run(
        command, cwd=APP, env=environ, stdout=subprocess.PIPE, check=True, stderr=subprocess.DEVNULL
    )
    report: dict[str, Any] = json.loads(done.stdout)
    assert not report.get("problem"), report
    return report


def throttled(azurite: Azurite, count: int, rate: int, kept: int) -> dict[str, Any]:
    """Sweep under a token bucket that is empty at the first POST, 100 ms a call; return the report.

    `posting` is from the first POST to the last 202, `bound` the seconds in which the bucket grants
    as many as were accepted.
    """
    with generated(count) as local:
        local.control("PATCH", "settings", {"latencyMs": LATENCY_MS})
        local.control("DELETE", "log")
        throttle = {"perSecond": rate, "burst": kept, "level": 0, "retryAfter": "int"}
        report = sweep(
            local,
            AzureWebJobsStorage=azurite.connection_string,
            ATTEMPTS_TABLE=f"bound{count}",  # no attempt is in it
            THROTTLE=json.dumps(throttle),
        )
        posting = posting_seconds(local.control("GET", "log")["log"])
    return report | {"posting": posting, "bound": report["accepted"] / rate}


def posting_seconds(log: list[dict[str, Any]]) -> float:
    """Return the seconds from the first POST to the last 202, by Graph's log.

    A call is in the log when it comes, the items of a batch when they are answered.
    """
    came = {e["graphRequestId"]: datetime.fromisoformat(e["time"]) for e in log}
    posts = [e for e in log if e["operation"] == "reprocess"]
    first = min(came[e.get("parent", e["graphRequestId"])] for e in posts)
    accepted = (e for e in posts if e["status"] is not None and e["status"] < 300)
    last = max(
        datetime.fromisoformat(e["time"]).timestamp() + (0 if "parent" in e else LATENCY_MS / 1000)
        for e in accepted
    )
    return last - first.timestamp()


def growth(azurite: Azurite, sizes: Sequence[int]) -> dict[str, Any]:
    """Sweep more and more failed requests; at most SWEEP_MAX_REQUESTS, 10,000, are reprocessed."""
    rows = []
    for count in sizes:
        storage = {"AzureWebJobsStorage": azurite.connection_string}
        storage["ATTEMPTS_TABLE"] = f"growth{count}"
        with generated(count) as local:
            if not count:
                local.control("DELETE", "requests")
            local.control("PATCH", "settings", {"pageSize": 1000})
            local.control("DELETE", "log")
            report = sweep(local, **storage)
            calls = http_calls(local.control("GET", "log")["log"])
            assert report["due"] >= count, report
        row = {"size": count, "listing": report["seconds"]["list"], "whole": report["whole"]}
        row |= {"accepted": report["accepted"], "calls": calls, "mib": report["mib"]}
        rows.append(row)
        print(row, flush=True)
    return {"rows": rows}
