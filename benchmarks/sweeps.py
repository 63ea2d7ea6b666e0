"""Sweeps of many: against what others do, against Graph's own bound, and how they grow.

Not for: one HTTP call (__main__.py). The emulated Graph and Azurite are processes of their own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from attempts import Attempt, Attempts, store
from emulator.azurite import Azurite
from emulator.run import APP, Local
from settings import load, new_id

SDK_HOME = APP / ".bench"  # msgraph-sdk, 450 MB of it, in an environment of its own
NO_TIMER = {"SWEEP_SCHEDULE": "0 0 0 1 1 *"}  # the app's own sweep would join in
OPERATIONS = ("list", "read", "reprocess", "batch")


def sdk_python() -> Path:
    """Return a Python that has the contenders' packages, installed when first used."""
    python = SDK_HOME / "bin" / "python"
    if not (SDK_HOME / "installed").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", SDK_HOME], check=True)
        requirements = APP / "benchmarks" / "requirements.txt"
        subprocess.run([python, "-m", "pip", "install", "-q", "-r", requirements], check=True)
        (SDK_HOME / "installed").touch()
    return python


def failing(count: int) -> Local:
    """Return an app whose emulated Graph has this many failed requests, all of them due."""
    options: tuple[str, ...] = ("--requests", str(count), "--all-failed", "--delivery-seconds", "0")
    options += ("--stale-seconds", "0", "--page-size", "100")
    return Local(settings=NO_TIMER, graph_options=options)


def environment(local: Local, **settings: str) -> dict[str, str]:
    return {
        **os.environ,
        "GRAPH_ENDPOINT": local.graph_url,
        "IDENTITY_ENDPOINT": f"{local.graph_url}/msi/token",
        "IDENTITY_HEADER": local.identity_header,
        "SWEEP_MIN_AGE_MINUTES": "0",
        **settings,
    }


def sweep(local: Local, **settings: str) -> dict[str, Any]:
    environ = environment(local, **settings)
    command = [sys.executable, "-m", "benchmarks.sweep_once"]
    done = subprocess.run(
        command, cwd=APP, env=environ, stdout=subprocess.PIPE, check=True, stderr=subprocess.DEVNULL
    )
    report: dict[str, Any] = json.loads(done.stdout)
    assert not report["problem"], report
    return report


def http_calls(local: Local) -> int:
    """Count the HTTP calls to Graph; the items of a batch are none."""
    log = local.control("GET", "log")["log"]
    return sum(e["operation"] in OPERATIONS and "parent" not in e for e in log)


def against_others(azurite: Azurite) -> dict[str, Any]:
    """2,000 due, 100 ms per call, no throttling."""
    from benchmarks.__main__ import token

    seconds, calls = {}, {}
    contenders = {"loop": Path(sys.executable), "sdk": sdk_python(), "sweep": None}
    for name, python in contenders.items():  # ours last
        with failing(2000) as local:
            local.control("PATCH", "settings", {"latencyMs": 100})
            local.control("DELETE", "log")
            if python is None:
                report = sweep(
                    local, AzureWebJobsStorage=azurite.connection_string, ATTEMPTS_TABLE="others"
                )
                accepted, seconds[name] = report["accepted"], report["whole"]
                listing = report["seconds"]["list"]
            else:
                script = str(APP / "benchmarks" / "contenders.py")
                command = [str(python), script, name, local.graph_url, token(local)]
                answer = json.loads(
                    subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
                )
                accepted, seconds[name] = answer["accepted"], answer["seconds"]
            calls[name] = http_calls(local)
            assert accepted >= 2000, (name, accepted)
    return {
        "2,000 due, 100 ms a call: sweep s": round(seconds["sweep"], 2),
        "  of it the list, page after page s": round(listing, 2),
        "  sequential requests loop s (times ours)": f"{seconds['loop']:.1f} ({seconds['loop'] / seconds['sweep']:.1f})",
        "  msgraph-sdk, 20 at once s (times ours)": f"{seconds['sdk']:.1f} ({seconds['sdk'] / seconds['sweep']:.1f})",
        "  HTTP calls: ours / loop / sdk": f"{calls['sweep']} / {calls['loop']} / {calls['sdk']}",
    }


def against_the_bound(azurite: Azurite, count: int = 10000, rate: int = 400) -> dict[str, Any]:
    """Throttled by a token bucket that is empty at the start; 100 ms a call."""
    with failing(count) as local:
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
        calls = http_calls(local)
    return {
        "nothing failed: calls to Graph / Table Storage": f"{calls} / {', '.join(report['tableCalls'])}",
        "  the whole sweep s": round(report["whole"], 3),
    }


def growth(azurite: Azurite) -> dict[str, Any]:
    """Whole sweeps, of which SWEEP_MAX_REQUESTS, 10,000, are tried."""
    results = {}
    for count in (1000, 10000, 100000, 1000000):
        with failing(count) as local:
            local.control("PATCH", "settings", {"pageSize": 1000})
            name = {"ATTEMPTS_TABLE": f"growth{count}"}
            report = sweep(local, AzureWebJobsStorage=azurite.connection_string, **name)
            assert report["due"] >= count, report
        listed = report["seconds"]["list"]
        results[f"{count:,} failed: list and plan s / peak MiB"] = (
            f"{listed:.2f} / {report['mib']:.0f}"
        )
    return results


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
        return (
            against_others(azurite)
            | against_the_bound(azurite)
            | nothing_failed(azurite)
            | claims(azurite)
            | growth(azurite)
        )
