"""Every fault times every operation: each cell is tried, judged, and written into one document.

python -m tests.faults        try all cells and write docs/reliability.md's tables
"""

from __future__ import annotations

import itertools
import re
import resource
import sys
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.faults.faulty import FAULTS, Fault
from tests.faults.operations import ON_ITS_WAY, OPERATIONS, Operation
from tests.faults.world import Parts, World, unknown_name

if TYPE_CHECKING:
    from collections.abc import Iterator

FOREVER = 1_000_000
SLACK = 4  # seconds; what a loaded machine may add
DOCUMENT = Path(__file__).parents[2] / "docs" / "reliability.md"
BEGIN, END = "<!-- made by `make faults`: begin -->", "<!-- made by `make faults`: end -->"
STEPS = (1, 2, 5, 10, 20, 30, 60, 110, 170)  # seconds; a time is told as the next of these


@dataclass(frozen=True)
class Cell:
    """What came of one fault in one operation; `once`: at one call only, else at all."""

    operation: str
    fault: str
    once: bool
    got: str
    seconds: float
    lost: str
    twice: str
    told: str
    wrong: tuple[str, ...] = ()

    @property
    def row(self) -> tuple[str, ...]:
        """The row, but for its time, which no two runs share."""
        return (
            self.fault,
            "once" if self.once else "for good",
            self.got,
            self.lost,
            self.twice,
            self.told,
        )

    def line(self) -> str:
        fault, how, got, lost, twice, told = self.row
        return f"| {fault} | {how} | {got} | {within(self.seconds)} | {lost} | {twice} | {told} |"


def within(seconds: float) -> str:
    return f"≤ {next((step for step in STEPS if seconds <= step), round(seconds))} s"


def untried(operation: Operation, fault: Fault, *, once: bool) -> str:
    """Say why a cell cannot be tried; empty when it can."""
    token, part = fault.name.startswith("token"), operation.part
    asked = operation.part == "identity" or not operation.name.startswith(
        ("sweep", "attempts", "n")
    )
    reasons = (
        (once and fault.place.startswith("clock"), "a clock that is wrong is wrong for good"),
        (once and fault.place == "disk", "a disk stays full"),
        (
            fault.place == "kill" and (asked or "HTTP" in operation.name),
            "the caller sees its connection break, and asks again; nothing is kept half done",
        ),
        (
            fault.place == "kill",
            "`make soak` kills sweeps at random moments (tests/e2e/test_bad_days.py)",
        ),
        (
            fault.tls and part == "identity",
            "the platform's identity endpoint speaks http only, on the machine itself",
        ),
        (token and part == "table", "no token is sent: here the table is opened by a key"),
        (token and part == "notice", "no token is sent to a receiver"),
        (
            token and part == "identity",
            "a token is what is asked for here; an expired one is tried where it is used",
        ),
    )
    return next((why for cannot, why in reasons if cannot), "")


@dataclass(frozen=True)
class Seen:
    """What was seen of one operation while its fault lasted; `taken` are ids that Graph took on."""

    ids: list[str]
    got: str
    seconds: float
    taken: list[str]
    told: list[str]


def tried(parts: Parts, operation: Operation, fault: Fault, *, once: bool) -> Cell:
    """Try one cell: make ready, break, do, mend, do what comes next, and judge."""
    with pytest.MonkeyPatch.context() as patch:
        world = World(parts, patch, operation.part, tls=fault.tls)
        ids = operation.ready(world)
        world.lines.kept.clear()
        posted = len(world.reached())
        began = world.clock.monotonic()
        with broken(world, operation, fault, patch, times=1 if once else FOREVER):
            got = operation.run(world, ids)
            seconds = world.clock.monotonic() - began
        seen = Seen(ids, got, seconds, world.reached()[posted:], world.told())
        operation.afterwards(world, ids)
        lost, twice, wrong = (of_notice if operation.part == "notice" else of_requests)(
            world, operation, seen
        )
    if seconds > operation.seconds + SLACK:
        wrong.append(f"took {seconds:.0f} s, promised are {operation.seconds:.0f} s")
    if got.startswith("500"):
        wrong.append("an unforeseen error")
    log = in_log(got, seen.told)
    return Cell(operation.name, fault.name, once, got, seconds, lost, twice, log, tuple(wrong))


def of_requests(world: World, operation: Operation, seen: Seen) -> tuple[str, str, list[str]]:
    """Return what was lost of requests, what was done twice, and which of it is wrong."""
    left = []
    if operation.name not in {"HTTP status", "requests list"}:  # they change nothing
        left = [one for one, state in world.states().items() if state not in ON_ITS_WAY]
    most = max((seen.taken.count(one) for one in seen.ids), default=0)
    lost = f"{len(left)} requests" if left else "nothing"
    twice = f"a request was sent {most} times" if most > 1 else "nothing"
    return lost, twice, [f"{lost} lost"] * bool(left) + [twice] * (most > 1)


def of_notice(world: World, _operation: Operation, seen: Seen) -> tuple[str, str, list[str]]:
    """Return the same of notices. 2xx is told, whoever says so: then it is not sent again."""
    sent, wrong = world.parts.receiver.ids, []
    lost = "nothing" if sent else "the notice; the line `given up` stays"
    if not sent and not seen.got.startswith("notice taken, it came 0"):
        wrong.append("the notice is lost")
    if len(set(sent)) > 1:
        wrong.append("a repeated notice has another id")
    return lost, "the notice, with the same id" if len(sent) > 1 else "nothing", wrong


def in_log(got: str, told: list[str]) -> str:
    """Return what the log tells, in words."""
    if told:
        return ", ".join(f"`{name}`" for name in told)
    well = r"20[02] (?!deferred)|3 accepted$|3 delivered$|nothing tried$|notice taken"
    if re.match(well, got):
        return "no need"
    return "`webhook` (outcome)" if "deferred" in got else "`sweep finished` (counts)"


class broken:  # noqa: N801 - reads as what it is
    """The fault, for as long as this lasts."""

    def __init__(self, world, operation, fault, patch, times):
        self.world, self.operation, self.fault, self.times = world, operation, fault, times
        self.name = unknown_name(patch, world.proxy.port, times)

    def __enter__(self):
        world, fault = self.world, self.fault
        if fault.place == "door":
            world.proxy.refuse()
            if self.times == 1:
                world.clock.meanwhile = self._admit
        elif fault.place == "name":
            self.name.__enter__()
        elif fault.place == "disk":
            self.limit = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, self.limit[1]))
        elif fault.place.startswith("clock"):
            world.clock.ahead = timedelta(hours=int(fault.place.split()[1]))
        else:
            world.proxy.break_with(fault, self.operation.wanted, self.times)

    def _admit(self):
        self.world.clock.meanwhile = lambda: None
        self.world.proxy.admit()
        self.admitted = True

    def __exit__(self, *error):
        if self.fault.place == "door":
            self.world.clock.meanwhile = lambda: None
            if not getattr(self, "admitted", False):
                self.world.proxy.admit()
        elif self.fault.place == "name":
            self.name.__exit__(None, None, None)
        elif self.fault.place == "disk":
            resource.setrlimit(resource.RLIMIT_FSIZE, self.limit)
        self.world.clock.ahead = timedelta()
        self.world.proxy.mend()


def cells(
    parts: Parts, operation: Operation, *, cut: bool
) -> Iterator[Cell | tuple[str, bool, str]]:
    """Yield every cell of an operation; of one that cannot be tried, its fault and why."""
    for fault, once in itertools.product(FAULTS, (True, False)):
        if cut and not fault.in_cut:
            continue
        why = untried(operation, fault, once=once)
        yield (fault.name, once, why) if why else tried(parts, operation, fault, once=once)


HEAD = (
    "| fault | how often | what came of it | time | lost | done twice | in the log |",
    "|---|---|---|---|---|---|---|",
)


def main() -> int:
    from emulator.azurite import Azurite
    from tests.local_app import App, quiet

    only = set(sys.argv[1:])
    began, tried_cells, not_tried = time.monotonic(), [], []
    written = []
    settings = {"SWEEP_SCHEDULE": "0 0 0 1 1 *"}
    with Azurite() as azurite, App(settings=settings, graph_options=("--requests", "0")) as app:
        quiet(app)
        with Parts(app, azurite) as parts:
            for operation in OPERATIONS:
                if only and operation.name not in only:
                    continue
                written += [f"### {operation.name}", "", operation.promise, "", *HEAD]
                for cell in cells(parts, operation, cut=False):
                    if isinstance(cell, Cell):
                        tried_cells.append(cell)
                        written.append(cell.line())
                        for wrong in cell.wrong:
                            print(
                                f"WRONG {operation.name}, {cell.fault}, once={cell.once}: {wrong} ({cell.got})",
                                flush=True,
                            )
                    else:
                        fault, once, why = cell
                        not_tried.append(cell)
                        how = "once" if once else "for good"
                        written.append(f"| {fault} | {how} | not tried: {why} | | | | |")
                written.append("")
                print(f"{operation.name}: {time.monotonic() - began:.0f} s", flush=True)
    slowest = max(tried_cells, key=lambda cell: cell.seconds)
    requests = sum(cell.lost.endswith("requests") for cell in tried_cells)
    notices = sum("notice" in cell.lost for cell in tried_cells)
    twice = sum("times" in cell.twice for cell in tried_cells)
    again = sum("notice" in cell.twice for cell in tried_cells)
    summary = (
        f"{len(tried_cells)} cells were tried, {len(not_tried)} cannot be. Cells in which requests "
        f"were lost: {requests}; in which one was sent to Graph twice: {twice}. Cells in which a "
        f"notice was lost: {notices} (a page answered 200); in which it came twice, with the same "
        f"id: {again}. Longest: {slowest.seconds:.0f} s ({slowest.operation}, {slowest.fault})."
    )
    print(summary)
    if not only:
        text = DOCUMENT.read_text()
        before, after = text.split(BEGIN)[0], text.split(END)[1]
        body = "\n".join(["", summary, "", *written])
        DOCUMENT.write_text(f"{before}{BEGIN}\n{body.strip()}\n\n{END}{after}")
    else:
        print("\n".join(written))
    return any(cell.wrong for cell in tried_cells)
