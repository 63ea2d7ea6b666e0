"""What the app does, one operation each: how it is made ready, done, and what must hold after.

Not for: the faults (faulty.py), or the table of all cells (matrix.py).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from reprocess_http import failures_answer, road
from tests.faults.world import HTTP_BUDGET, SWEEP_BUDGET

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults.world import World

ON_ITS_WAY = {"delivering", "delivered"}
SHOWN = ("accepted", "refused", "failed", "postponed", "cooling", "delivered")
CLOSING = 50  # seconds after a sweep's budget, in which it ends


@dataclass(frozen=True)
class Operation:
    """One operation and what it promises.

    `part`: before which part the fault is; `wanted`: to which calls it is done. `ready` puts what
    is needed into the tenant and returns the ids; `run` does it and returns what came of it.
    `afterwards` does, with the fault gone, what a caller or the timer would do next. `seconds`: the
    longest that it may take. `promise`: what to expect, in a sentence.
    """

    name: str
    part: str
    wanted: Callable[[str], bool]
    ready: Callable[[World], list[str]]
    run: Callable[[World, list[str]], str]
    afterwards: Callable[[World, list[str]], Any]
    seconds: float
    promise: str


def one(world: World) -> list[str]:
    return world.failures(1)


def three(world: World) -> list[str]:
    return world.failures(3)


def tried(world: World) -> list[str]:
    """Have an earlier sweep try three, which are delivered by now."""
    ids = world.failures(3, deliverySeconds=0)
    world.sweep()
    return ids


def exhausted(world: World) -> list[str]:
    ids = world.failures(1)
    for _ in range(20):
        world.attempts.record(ids[0], datetime.now(UTC) - timedelta(hours=1))
    return ids


def reprocess(world: World, ids: list[str]) -> str:
    return world.http(road.REPROCESS, ids[0])


def status(world: World, ids: list[str]) -> str:
    return world.http(road.STATUS, ids[0])


def hook(world: World, ids: list[str]) -> str:
    return world.http(road.WEBHOOK, ids[0], signed=True)


def listed(world: World, ids: list[str]) -> str:
    return world.http(failures_answer.FAILURES)


def sweep(world: World, ids: list[str]) -> str:
    line = world.sweep()
    counts = ", ".join(f"{line[name]} {name}" for name in SHOWN if line[name])
    problem = line.get("problem")
    return (counts or "nothing tried") + (
        f"; the sweep fails: “{brief(problem)}”" if problem else ""
    )


def brief(problem: str) -> str:
    """Return the beginning of a sentence, without what differs from run to run."""
    return re.sub(r" \(\w+Error\)", "", problem.split(":", maxsplit=1)[0])


def notice(world: World, ids: list[str]) -> str:
    line = world.sweep()
    sent = any(line["event"] == "notice sent" for _, line in world.lines.kept)
    got = (
        f"notice {'taken' if sent else 'not taken'}, it came {len(world.parts.receiver.ids)} times"
    )
    return f"{got}; the sweep fails" if line.get("problem") else got


def later(world: World, ids: list[str]) -> None:
    """Run the next sweep, after every cool-down."""
    world.clock.ahead += timedelta(hours=3)
    world.sweep()


def again(world: World, ids: list[str]) -> None:
    """Run the next sweep at once, and one after every cool-down."""
    world.sweep()
    later(world, ids)


def is_post(name: str) -> bool:
    return name.startswith("POST")


def is_get(name: str) -> bool:
    return name.startswith("GET")


def is_list(name: str) -> bool:
    return is_get(name) and "$filter" in name


OPERATIONS = (
    Operation(
        "HTTP reprocess", "graph", is_post, one, reprocess, reprocess, HTTP_BUDGET,
        "The answer says what Graph has done. After a lost answer the app looks at the request "
        "before it sends anything again; when it cannot tell, it says so.",
    ),
    Operation(
        "HTTP status", "graph", is_get, one, status, status, HTTP_BUDGET,
        "Reading is tried again within the budget; after that the problem says what is wrong.",
    ),
    Operation(
        "webhook", "graph", is_post, one, hook, later, 10,
        "The sender has its answer within ten seconds; what Graph cannot take is left to the next "
        "sweep, and the answer says so.",
    ),
    Operation(
        "requests list", "graph", is_list, three, listed, listed, HTTP_BUDGET,
        "The list is whole, or says that it is not, or there is a problem.",
    ),
    Operation(
        "sweep: list", "graph", is_list, three, sweep, again, SWEEP_BUDGET + CLOSING,
        "A page is read again; when the list stays away, the sweep fails and the next one starts "
        "anew.",
    ),
    Operation(
        "sweep: act", "graph", is_post, three, sweep, again, SWEEP_BUDGET + CLOSING,
        "What may have arrived is looked at before it counts; what did not arrive is postponed and "
        "costs no attempt.",
    ),
    Operation(
        "sweep: read-back", "graph", is_post, tried, sweep, again, SWEEP_BUDGET + CLOSING,
        "What cannot be read is read by the next sweep; the sweep itself does not fail for it.",
    ),
    Operation(
        "attempts table: sweep reads", "table", is_get, three, sweep, again,
        SWEEP_BUDGET + CLOSING + 60,
        "Without the table nothing is tried, and the sweep fails: nobody would know what is "
        "cooling down.",
    ),
    Operation(
        "attempts table: sweep claims", "table", is_post, three, sweep, again,
        SWEEP_BUDGET + CLOSING,
        "Nothing is sent that could not be claimed. A claim whose answer was lost is known again.",
    ),
    Operation(
        "attempts table: HTTP records", "table", lambda _: True, one, reprocess, reprocess,
        HTTP_BUDGET,
        "The answer is about Graph, whatever the table says, and comes a second later at most.",
    ),
    Operation(
        "identity", "identity", is_get, one, reprocess, reprocess, HTTP_BUDGET,
        "Without a token nothing is sent; the problem says that it is the managed identity.",
    ),
    Operation(
        "notice", "notice", is_post, exhausted, notice, again, SWEEP_BUDGET + CLOSING,
        "A notice that was not taken is sent by the next sweep. One whose answer was lost comes "
        "again with the same id, so that the receiver can tell. No sweep fails for it.",
    ),
)  # fmt: skip
