"""Sweeps of many: against Graph's own bound, with nothing to do, and how they grow.

Not for: others beside them (drains.py), or one HTTP call (__main__.py). The emulated Graph and
Azurite are processes of their own.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from attempts import Attempt, Attempts, store
from benchmarks.tenant import NO_TIMER, environment, generated, http_calls
from emulator.azurite import Azurite
from emulator.run import APP, Local
from settings import load, new_id

if TYPE_CHECKING:
    from collections.abc import Sequence


def sweep(local: Local, **settings: str) -> dict[str, Any]:
    environ = environment(local, **settings)
    command = [sys.executable, "-m", "benchmarks.sweep_once"]
    done = subprocess.run(
        command, cwd=APP, env=environ, stdout=subprocess.PIPE, check=True, stderr=subprocess.DEVNULL
    )
    report: dict[str, Any] = json.loads(done.stdout)
    assert not report["problem"], report
    return report


def against_the_bound(azurite: Azurite, count: int = 10000, rate: int = 400) -> dict[str, Any]:
    """Throttled by a token bucket that is empty at the start; 100 ms a call."""
    with generated(count) as local:
        local.control("PATCH", "settings", {"latencyMs": 100})
        local.control("DELETE", "log")
        throttle = {"perSecond": rate, "burst": rate, "level": 0, "retryAfter": "int"}
        report = sweep(
            local,
            AzureWebJobsStorage=azurite.connection_string,
            ATTEMPTS_TABLE="bound",
            THROTTLE=json.dumps(throttle),
        )
    bound = report["accepted"] / rate
    refused = report["throttled"] / (report["accepted"] + report["throttled"])
    return {
        f"{count:,} due, {rate}/s: first POST to last 202 s": round(report["posting"], 2),
        "  over the bound of N/rate": round(report["posting"] / bound, 3),
        "  the whole sweep, list included s": round(report["whole"], 2),
        "  the whole sweep over the bound": round(report["whole"] / bound, 3),
        "  requests answered 429": f"{refused:.2%}",
    }


def nothing_failed(azurite: Azurite) -> dict[str, Any]:
    with Local(settings=NO_TIMER, graph_options=("--requests", "0")) as local:
        for one in local.control("GET", "showcase")["showcase"]:
            local.control(
                "POST", "requests", {"requests": [{"id": one["id"], "state": "delivered"}]}
            )
        name = {"AzureWebJobsStorage": azurite.connection_string, "ATTEMPTS_TABLE": "nothing"}
        sweep(local, **name)  # creates the table
        local.control("DELETE", "log")
        report = sweep(local, **name)
        calls = http_calls(local.control("GET", "log")["log"])
    return {
        "nothing failed: calls to Graph / Table Storage": f"{calls} / {', '.join(report['tableCalls'])}",
        "  the whole sweep s": round(report["whole"], 3),
    }


def growth(azurite: Azurite, sizes: Sequence[int]) -> dict[str, Any]:
    """Whole sweeps, of which SWEEP_MAX_REQUESTS, 10,000, are tried at most."""
    rows = []
    for count in sizes:
        with generated(count) as local:
            local.control("PATCH", "settings", {"pageSize": 1000})
            name = {"ATTEMPTS_TABLE": f"growth{count}"}
            report = sweep(local, AzureWebJobsStorage=azurite.connection_string, **name)
            assert report["due"] >= count, report
        row = {"size": count, "listing": report["seconds"]["list"], "whole": report["whole"]}
        rows.append(row | {"tried": report["accepted"], "mib": report["mib"]})
        print(rows[-1], flush=True)
    return {"rows": rows}


def claims(azurite: Azurite, count: int = 10000) -> dict[str, Any]:
    settings = load({"AzureWebJobsStorage": azurite.connection_string, "ATTEMPTS_TABLE": "claims"})
    attempts = Attempts(store(settings))
    wanted = [Attempt(f"{n:08x}-0000-4000-8000-00000000cafe") for n in range(count)]
    attempts.read_all()
    started = time.perf_counter()
    batches = [wanted[start : start + 20] for start in range(0, count, 20)]

    def claim(batch: list[Attempt]) -> int:
        return len(attempts.claim(batch, datetime.now(UTC), new_id()).mine)

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(claim, batches)) == count
    claimed = time.perf_counter()
    assert len(attempts.read_all()) == count
    read = time.perf_counter()
    return {
        f"{count:,} claims on Azurite, 20 together, eight at once s": round(claimed - started, 2),
        "  read back s": round(read - claimed, 2),
    }


def measure() -> dict[str, Any]:
    with Azurite() as azurite:
        return against_the_bound(azurite) | nothing_failed(azurite) | claims(azurite)
