"""Draining a tenant, side by side: every contender, with and without throttling.

Not for: how a contender works (peers/). Each cell has an app, an emulated Graph and a table of its
own. Posting is cut off after some seconds. The rest is reckoned at the speed of the second half,
in which a limit's first burst is over, and the result says how many were tried. Sweeps are never
cut off.
"""

from __future__ import annotations

import itertools
import json
import statistics
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

# A limit that a sequential client never meets once a call takes its time, and one at once does.
RATE = 100
THROTTLE = {"perSecond": RATE, "burst": RATE, "retryAfter": "int"}


@dataclass(frozen=True)
class Contender:
    """Its name, what runs it (nothing for the sweep), and how many calls it has under way."""

    name: str
    command: tuple[str, ...]
    at_once: int

    @property
    def is_ours(self) -> bool:
        return self.name in {"ours one by one", "our sweep"}


SWEEP = Contender("our sweep", (), 160)  # GRAPH_CONCURRENCY batches of GRAPH_BATCH_SIZE
CONTENDERS = (
    Contender("requests loop", ("loop",), 1),
    Contender("20 at once", ("at_once",), 20),
    Contender("msgraph-sdk", ("sdk", "1"), 1),
    Contender("msgraph-sdk, 20 at once", ("sdk", "20"), 20),
    Contender("ours one by one", ("ours_http",), 1),
    SWEEP,
)


@dataclass(frozen=True)
class Plan:
    """Which cells there are, and after how many seconds posting is cut off."""

    sizes: tuple[int, ...] = (500, 2000, 10000)
    latencies: tuple[int, ...] = (0, 50, 200)
    seconds: float = 8.0
    limited_seconds: float = 16.0  # the waits between refused calls take up to half of it

    def cells(self) -> Iterator[tuple[Contender, int, int, bool]]:
        for throttled, latency, size, one in itertools.product(
            (False, True), self.latencies, self.sizes, CONTENDERS
        ):
            # Who cannot reach the limit would only be measured a second time.
            if not throttled or not latency or one.at_once * 1000 / latency > RATE:
                yield one, size, latency, throttled


QUICK = Plan((40, 120), (0, 20), 2.0, 4.0)


def posted(contender: Contender, local: Local, seconds: float) -> dict[str, Any]:
    """Run a contender in a process of its own; return what it printed."""
    ours = contender.is_ours
    root = local.url if ours else local.graph_url
    credential = local.function_key if ours else token(local)
    name, *arguments = contender.command
    python = str(sdk_python()) if name == "sdk" else sys.executable
    command = [python, "-m", f"benchmarks.peers.{name}", *arguments, root, credential, str(seconds)]
    done = subprocess.run(command, cwd=APP, check=True, stdout=subprocess.PIPE)
    result: dict[str, Any] = json.loads(done.stdout)
    if ours:
        result["mib"] = peak_mib(local.parts[1].pid)  # the app's, not the caller's
    return result


def drain(
    azurite: Azurite,
    contender: Contender,
    size: int,
    latency: int,
    throttled: bool,
    seconds: float,
) -> dict[str, Any]:
    """Measure one cell. What was cut off is reckoned, and `tried` tells that it was."""
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
        else:
            result = posted(contender, local, seconds)
        log = local.control("GET", "log")["log"]
        requests = local.control("GET", "requests")["requests"]
    tried, whole = result["tried"], result["seconds"]
    if tried < size:
        speed = max(1, result["in time"] - result["halfway"]) / (seconds / 2)
        whole = result["listing"] + seconds + (size - result["in time"]) / speed
    scale = size / tried
    listed = sum(e["operation"] == "list" for e in log)
    refused = sum(e.get("status") == 429 for e in log)
    cell = {
        "contender": contender.name,
        "size": size,
        "latency": latency,
        "throttled": throttled,
        "tried": tried,
        "seconds": whole,
        "calls": round(listed + (http_calls(log) - listed) * scale),
        "refused": round(refused * scale),
        "delivered": sum(one["state"] == "delivered" for one in requests) / tried,
        "mib": result["mib"],
    }
    return cell | {"each": result["each"]}


def measure(azurite: Azurite, plan: Plan) -> dict[str, Any]:
    """Measure every cell of a plan."""
    rows = []
    for contender, size, latency, throttled in plan.cells():
        seconds = plan.limited_seconds if throttled else plan.seconds
        row = drain(azurite, contender, size, latency, throttled, seconds)
        del row["each"]
        rows.append(row)
        print(row, flush=True)
    cut = {"seconds": plan.seconds, "limited seconds": plan.limited_seconds}
    return {"rate": RATE, "rows": rows} | cut


def one_request(azurite: Azurite, calls: int) -> dict[str, Any]:
    """Time one call after the other, each client warm and with a kept connection."""
    rows = []
    for contender in CONTENDERS:
        if contender.at_once == 1:
            each = drain(azurite, contender, calls, 0, throttled=False, seconds=600.0)["each"]
            cuts = statistics.quantiles(each, n=100)
            row = {"contender": contender.name, "p50": cuts[49], "p99": cuts[98]}
            rows.append(row)
            print(row, flush=True)
    return {"calls": calls, "rows": rows}
