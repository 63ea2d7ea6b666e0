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
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.peers.job import peak_mib
from benchmarks.tenant import environment, running, sdk_python, token
from emulator.run import APP

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from emulator.azurite import Azurite
    from emulator.run import Local

# A sequential client never reaches this limit once an answer takes time; twenty at once do.
RATE = 100
THROTTLE = {"perSecond": RATE, "burst": RATE, "retryAfter": "int"}
NEVER = 600.0  # seconds after which nothing is cut off


class Contender(NamedTuple):
    """`program` in peers/ does it, with so many requests under way; `what` it does in words."""

    name: str
    program: str
    at_once: int
    what: str = ""


AT_ONCE = 160  # GRAPH_CONCURRENCY calls of GRAPH_BATCH_SIZE
SWEEP = Contender("Redeliver's sweep", "sweep", AT_ONCE, "what the timer does, with its table")
CONTENDERS = (
    Contender(
        "requests loop",
        "loop",
        1,
        "a script or runbook: it lists, then calls one after the other; it waits as `Retry-After` says, and tries three times more at most",
    ),
    Contender(
        "For-each, 20 at once",
        "for_each",
        20,
        "twenty calls at a time with the default retry policy of a Logic App's HTTP action; without what the engine adds to each action",
    ),
    Contender(
        "msgraph-sdk, 20 at once",
        "sdk",
        20,
        "Microsoft's SDK with twenty calls at a time; it retries by itself; what it imports at its first call is counted",
    ),
    SWEEP,
)
ONE_BY_ONE = Contender("single route", "single", 1)
ROUTES = (
    Contender("single route, four at once", "single", 4),
    Contender("bulk route", "bulk", 200),
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


def run(contender: Contender, local: Local, seconds: float = NEVER) -> dict[str, Any]:
    """Run a contender in a process of its own; return what it printed, and the calls to Graph.

    The items of a `$batch` are no calls.
    """
    calls_graph = contender.program in {one.program for one in CONTENDERS}
    root = local.graph_url if calls_graph else local.url
    credential = token(local) if calls_graph else local.function_key
    python = sdk_python() if contender.program == "sdk" else sys.executable
    arguments = (str(contender.at_once), root, credential, str(seconds))
    done = subprocess.run(
        [python, "-m", f"benchmarks.peers.{contender.program}", *arguments],
        cwd=APP,
        env=environment(local),
        check=True,
        stdout=subprocess.PIPE,
    )
    result: dict[str, Any] = json.loads(done.stdout)
    if not calls_graph:
        result["mib"] = peak_mib(local.parts[1].pid)  # the app's, not the caller's
    log = local.control("GET", "log")["log"]
    return result | {
        "calls": sum(e["operation"] != "token" and "parent" not in e for e in log),
        "lists": sum(e["operation"] == "list" for e in log),
        "refused": sum(e.get("status") == 429 for e in log),
    }


def whole_seconds(result: dict[str, Any], size: int, seconds: float) -> float:
    """Return how long a drain took, estimated where posting was cut off after so many seconds."""
    if result["tried"] == size:
        return float(result["seconds"])
    speed = max(1, result["in time"] - result["halfway"]) / (seconds / 2)
    return float(result["listing"] + seconds + (size - result["in time"]) / speed)


def drain(
    azurite: Azurite,
    contender: Contender,
    size: int,
    latency: int,
    *,
    throttle: dict[str, Any] | None = None,
    seconds: float = NEVER,
) -> dict[str, Any]:
    """Measure one drain. `posting` is without the list."""
    with running(azurite, size, latencyMs=latency, throttle=throttle) as local:
        result = run(contender, local, seconds)
        requests = local.control("GET", "requests")["requests"]
    tried, lists = result["tried"], result["lists"]
    whole, scale = whole_seconds(result, size, seconds), size / tried
    row = {
        "contender": contender.name,
        "size": size,
        "latency": latency,
        "throttled": throttle is not None,
        "tried": tried,
        "seconds": whole,
        "posting": whole - result["listing"],
        "calls": round(lists + (result["calls"] - lists) * scale),
        "lists": lists,
        "refused": round(result["refused"] * scale),
        "delivered": sum(one["state"] == "delivered" for one in requests) / tried,
        "mib": result["mib"],
    }
    print(row, flush=True)
    return row


def measure(azurite: Azurite, plan: Plan) -> dict[str, Any]:
    """Measure every contender with and without a limit."""
    free, limited = (None, plan.seconds), (THROTTLE, plan.limited_seconds)
    rows = []
    for contender, size, latency, is_limited in plan.cells():
        throttle, seconds = limited if is_limited else free
        rows.append(drain(azurite, contender, size, latency, throttle=throttle, seconds=seconds))
    cut = {"seconds": plan.seconds, "limited seconds": plan.limited_seconds}
    return {"rate": RATE, "rows": rows} | cut


def bulk(azurite: Azurite, size: int) -> dict[str, Any]:
    """Measure the app's two routes with as many requests, at 200 ms an answer."""
    return {"rows": [drain(azurite, one, size, 200) for one in ROUTES]}


def growth(azurite: Azurite, sizes: Sequence[int]) -> dict[str, Any]:
    """Sweep more and more failed requests; at most SWEEP_MAX_REQUESTS, 10,000, are reprocessed."""
    rows = []
    for size in sizes:
        with running(azurite, size, pageSize=1000) as local:
            result = run(SWEEP, local)
        assert result["tried"] == size, result
        row = {"size": size, "listing": result["listing"], "whole": result["seconds"]}
        rows.append(row | {name: result[name] for name in ("accepted", "calls", "mib")})
        print(rows[-1], flush=True)
    return {"rows": rows}
