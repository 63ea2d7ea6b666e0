"""`python -m emulator break HOW`: break the emulated Graph or the identity while `make run` runs.

For: seeing what the app says then, on the page, in its answers and in its log.
Not for: tests, which have every switch and fault (routes.py).
"""

from __future__ import annotations

import json
import urllib.error
from dataclasses import dataclass, field
from typing import Any

from emulator.routes import HEADER
from emulator.run import ask

GRAPH = ("list", "read", "reprocess")


def each(*operations: str, **fault: Any) -> list[dict[str, Any]]:
    """Return a fault on every call of these operations."""
    return [{"on": one, "kind": "status", "times": -1, **fault} for one in operations]


@dataclass(frozen=True)
class Break:
    """One way to break: what is then so, and what is asked of the emulated Graph."""

    words: str
    faults: list[dict[str, Any]] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)


BREAKS = {
    "throttle": Break(
        "Graph takes ten calls, then one a minute, and refuses more with 429",
        settings={"throttle": {"perSecond": 1 / 60, "burst": 10}},
    ),
    "deny": Break(
        "Graph denies every call with 403: the tenant's licence has lapsed",
        settings={"licensed": False},
    ),
    "fail": Break("Graph fails: every call is answered with 500", each(*GRAPH, status=500)),
    "silence": Break("Graph takes calls and never answers", each(*GRAPH, "batch", kind="silence")),
    "lose": Break(
        "Graph reprocesses what it is asked to, but its answers are lost",
        each("reprocess", "batch", kind="dropAfter"),
    ),
    "identity": Break(
        "the managed identity gets no token, and Graph takes none that it had",
        [*each("token", status=400), *each(*GRAPH, "batch", status=401)],
    ),
    "mend": Break("all is well again"),
}
HELP = """python -m emulator break HOW (make break HOW=...), while `make run` runs:

{hows}

Each first mends what another one broke. PORT is that of `make run`."""


def help_text() -> str:
    """Return all ways to break."""
    hows = "\n".join(f"  {name:10}{one.words}" for name, one in BREAKS.items())
    return HELP.format(hows=hows)


def carry_out(how: str, graph_url: str) -> str:
    """Break it, and return what is now so. Raises OSError where nothing runs there."""

    def control(method: str, path: str, body: Any = None) -> None:
        raw = None if body is None else json.dumps(body).encode()
        ask(f"{graph_url}/control/{path}", {HEADER: "local"}, method, raw)

    control("DELETE", "faults")
    control("DELETE", "settings")
    for fault in BREAKS[how].faults:
        control("POST", "faults", fault)
    if BREAKS[how].settings:
        control("PATCH", "settings", BREAKS[how].settings)
    return BREAKS[how].words


def main(arguments: list[str], graph_url: str) -> tuple[int, str]:
    """Carry out the command; return its exit code and what to print."""
    if len(arguments) != 1 or arguments[0] not in BREAKS:
        return (0 if arguments in ([], ["--help"]) else 1), help_text()
    try:
        words = carry_out(arguments[0], graph_url)
    except urllib.error.HTTPError as error:
        return 1, f"what listens on {graph_url} is no emulated Graph: HTTP {error.code}"
    except OSError:
        return 1, f"no emulated Graph listens on {graph_url}: start it with `make run`"
    again = "" if arguments[0] == "mend" else "; `make break HOW=mend` ends that"
    return 0, f"{words}{again}"
