"""Reprocess all failed requests of a tenant: Redeliver beside what else its users could do.

Each measurement has an app, an emulated Graph and a table of its own. Posting is cut off after some
seconds; the rest is estimated by the speed of the second half, when the burst that a limit allows
is over. `tried` says how many were not estimated. Sweeps are never cut off.
Not for: how a contender works (peers/).
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.sweeps import sweep
from benchmarks.tenant import NO_TIMER, fill, http_calls, peak_mib, sdk_python, token
from emulator.run import APP, Local

if TYPE_CHECKING:
    from collections.abc import Iterator

    from emulator.azurite import Azurite

# A sequential client never reaches this limit once an answer takes time; twenty at once do.
RATE = 100
THROTTLE = {"perSecond": RATE, "burst": RATE, "retryAfter": "int"}
NEVER = 600.0  # seconds after which nothing is cut off


@dataclass(frozen=True)
class Contender:
    """`command` runs it (empty: a sweep); `at_once`: how many requests it has under way."""

    name: str
    command: tuple[str, ...]
    at_once: int

    @property
    def is_route(self) -> bool:
        """Whether it calls the app, not Graph."""
        return self.command[:1] == ("routes",)


SWEEP = Contender("Redeliver's sweep", (), 160)  # GRAPH_CONCURRENCY calls of GRAPH_BATCH_SIZE
CONTENDERS = (
    Contender("requests loop", ("loop",), 1),
    Contender("For-each, 20 at once", ("for_each",), 20),
    Contender("msgraph-sdk, 20 at once", ("sdk",), 20),
    SWEEP,
)
ONE_BY_ONE = Contender("single route", ("routes", "single", "1"), 1)
ROUTES = (
    Contender("single route, four at once", ("routes", "single", "4"), 4),
    Contender("bulk route", ("routes", "bulk"), 200),
)


@dataclass(frozen=True)
class Plan:
    """What is measured, and after how many seconds posting is cut off."""

    sizes: tuple[int, ...] = (500, 2000)
    latencies: tuple[int, ...] = (0, 50, 200)
    seconds: float = 6.0
    limited_seconds: float = 16.0  # the waits between refused calls take up to half of it

    def cells(self) -> Iterator[tuple[Contender, int, int, bool]]:
        """Yield contender, size, milliseconds of an answer, and whether Graph has a limit."""
        for latency, size, one in itertools.product(self.latencies, self.sizes, CONTENDERS):
            yield one, size, latency, False
        for latency, one in itertools.product(self.latencies, CONTENDERS):
            if not latency or one.at_once * 1000 / latency > RATE:
                yield one, self.sizes[-1], latency, True


QUICK = Plan((40, 120), (0, 20), 2.0, 4.0)


def run_contender(contender: Contender, local: Local, seconds: float) -> dict[str, Any]:
    """Run a contender in a process of its own; return what it printed."""
    root = local.url if contender.is_route else local.graph_url
    credential = local.function_key if contender.is_route else token(local)
    name, *arguments = contender.command
    python = str(sdk_python()) if name == "sdk" else sys.executable
    command = [python, "-m", f"benchmarks.peers.{name}", *arguments, root, credential, str(seconds)]
    done = subprocess.run(command, cwd=APP, check=True, stdout=subprocess.PIPE)
    result: dict[str, Any] = json.loads(done.stdout)
    if contender.is_route:
        result["mib"] = peak_mib(local.parts[1].pid)  # the app's, not the caller's
    return result


def drain(
    azurite: Azurite,
    contender: Contender,
    size: int,
    latency: int,
    *,
    throttled: bool = False,
    seconds: float = NEVER,
) -> dict[str, Any]:
    """Measure one drain. `posting` is without the list, `each` the milliseconds of each request."""
    table = f"drain{'t' if throttled else 'u'}{contender.at_once}x{size}x{latency}"
    storage = {"AzureWebJobsStorage": azurite.connection_string, "ATTEMPTS_TABLE": table}
    settings = NO_TIMER | storage | {"SWEEP_MIN_AGE_MINUTES": "0"}
    with Local(settings=settings, graph_options=("--requests", "0")) as local:
        fill(local, size)
        changes = {"latencyMs": latency, "throttle": THROTTLE if throttled else None}
        local.control("PATCH", "settings", changes)
        local.control("DELETE", "log")
        if contender is SWEEP:
            report = sweep(local, **storage)
            result = {"mib": report["mib"], "seconds": report["whole"], "tried": size, "each": []}
            result["listing"] = report["seconds"]["list"]
        else:
            result = run_contender(contender, local, seconds)
        log = local.control("GET", "log")["log"]
        requests = local.control("GET", "requests")["requests"]
    tried, whole = result["tried"], result["seconds"]
    if tried < size:
        speed = max(1, result["in time"] - result["halfway"]) / (seconds / 2)
        whole = result["listing"] + seconds + (size - result["in time"]) / speed
    scale = size / tried
    lists = sum(e["operation"] == "list" for e in log)
    refused = sum(e.get("status") == 429 for e in log)
    return {
        "contender": contender.name,
        "size": size,
        "latency": latency,
        "throttled": throttled,
        "tried": tried,
        "seconds": whole,
        "posting": whole - result["listing"],
        "calls": round(lists + (http_calls(log) - lists) * scale),
        "lists": lists,
        "refused": round(refused * scale),
        "delivered": sum(one["state"] == "delivered" for one in requests) / tried,
        "mib": result["mib"],
        "each": result["each"],
    }


def _kept(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row without the times of single requests, and print it."""
    kept = {name: value for name, value in row.items() if name != "each"}
    print(kept, flush=True)
    return kept


def measure(azurite: Azurite, plan: Plan) -> dict[str, Any]:
    rows = []
    for contender, size, latency, throttled in plan.cells():
        seconds = plan.limited_seconds if throttled else plan.seconds
        row = drain(azurite, contender, size, latency, throttled=throttled, seconds=seconds)
        rows.append(_kept(row))
    cut = {"seconds": plan.seconds, "limited seconds": plan.limited_seconds}
    return {"rate": RATE, "rows": rows} | cut


def bulk(azurite: Azurite, size: int) -> dict[str, Any]:
    """Measure the app's two routes with as many requests, at 200 ms an answer."""
    return {"rows": [_kept(drain(azurite, one, size, 200)) for one in ROUTES]}
