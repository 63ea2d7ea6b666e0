"""Every fault in every operation that can meet it: each case is tried and judged.

Whatever the fault: no request is lost, none is sent to Graph twice, every caller is answered in
time and truthfully, every operation ends, and no secret is in a log line or an answer.
`make faults` tries all, and prints the distinct results.
"""

from __future__ import annotations

import re
import time
from collections import defaultdict
from contextlib import suppress
from typing import NamedTuple

import pytest

from tests.faults.faulty import FAULTS, POSTS, TABLE, Fault
from tests.faults.operations import OPERATIONS, TARGETS, Operation
from tests.faults.world import Peers, World

FOREVER = 1_000_000
SLACK = 1.0  # second in which an answer is made once the time is over
# How often: at one call, at every call of the kind, or at every call of that peer.
HOW = ("once", "for good", "everywhere")
ON_ITS_WAY = {"delivering", "delivered"}


class Case(NamedTuple):
    """One fault at one place of one operation."""

    operation: Operation
    target: str
    fault: Fault
    how: str

    def __str__(self):
        return f"{self.operation.name}, {self.target}, {self.fault.name}, {self.how}"


class Seen(NamedTuple):
    """What was seen, after how many seconds of waiting, and which promises were broken."""

    got: str
    seconds: float
    lines: tuple[str, ...]
    wrong: tuple[str, ...]


def cases():
    for operation in OPERATIONS:
        for target in operation.targets:
            for fault in (one for one in FAULTS if target in one.at):
                if not fault.switches:
                    yield Case(operation, target, fault, "once")
                yield Case(operation, target, fault, "for good")
                if fault.act and target in POSTS:
                    yield Case(operation, target, fault, "everywhere")


def tried(peers, case):
    """Make ready, break, do, mend, do what comes next, and judge."""
    operation = case.operation
    with pytest.MonkeyPatch.context() as patch:
        world = World(peers, patch)
        ids = operation.ready(world)
        break_peer(world, case)
        got = operation.run(world, ids)
        seconds, taken = world.clock.waited, world.sent(202)
        lines = tuple(dict.fromkeys(world.warnings()))
        mend_peer(world, case)
        if operation.afterwards:
            operation.afterwards(world, ids)
        wrong = [*broken_promises(world, case, ids, got, taken)]
        if seconds > operation.seconds + SLACK:
            wrong.append(f"took {seconds:.0f} s of {operation.seconds:.0f}")
    return Seen(got, seconds, lines, tuple(wrong))


def break_peer(world, case):
    peer, pattern = TARGETS[case.target]
    proxy, fault = world.peers.proxies[peer], case.fault
    pattern = "" if case.how == "everywhere" else pattern
    if fault.switches:
        world.graph.turn(**fault.switches)
    elif fault.act:
        proxy.break_with(fault.act, pattern, 1 if case.how == "once" else FOREVER)
    else:
        proxy.refuse()
        if case.how == "once":
            world.clock.on_sleep = lambda: mend_peer(world, case)


def mend_peer(world, case):
    proxy = world.peers.proxies[TARGETS[case.target][0]]
    world.clock.on_sleep = lambda: None
    proxy.rules.clear()
    with suppress(OSError):  # it takes connections already
        proxy.admit()


def broken_promises(world, case, ids, got, taken):
    """Yield what should not have happened; `taken`: what Graph accepted while the fault lasted."""
    if case.operation.name == "notice":
        if len(set(world.peers.proxies["receiver"].ids)) != 1:
            yield "the notice is lost, or was sent again with another id"
    elif case.operation.afterwards and {world.states()[one] for one in ids} - ON_ITS_WAY:
        yield "a request is lost"
    # While the table is away, each process knows only its own attempts.
    sent = taken if case.target in TABLE else world.sent(202, 400)
    if len(sent) > len(set(sent)):
        yield "a request was sent twice"
    yield from (in_sweep if case.operation.name == "sweep" else in_answer)(case, got, len(taken))
    if got.startswith("500") or "unhandled error" in world.warnings():
        yield "an unhandled error"
    if leaked := world.leaked():
        yield f"{len(leaked)} secrets are in the log or an answer"


def in_sweep(case, got, taken):
    """Yield what a report says that is not so; `taken`: how many Graph accepted."""
    counts = {name: int(count) for count, name in re.findall(r"(\d) (\w+)", got)}
    accepted, unknown = counts.get("accepted", 0), counts.get("unknown", 0)
    if not accepted <= taken <= accepted + unknown:
        yield f"says {accepted} accepted, {unknown} unknown; it was {taken}"
    if sum(counts.values()) < 3 and "fails" not in got:
        yield "does not say that something is missing"
    if case.target in TABLE and "fails" in got and "attempt records" not in got:
        yield "blames another peer"


def in_answer(case, got, taken):
    """Yield what an answer says that is not so; `taken`: how many Graph accepted."""
    if re.match(r"202 (accepted|alreadyDelivering)", got) and not taken:
        yield "says that Graph accepted it"
    if re.match(r"50\d (?!graph-timeout)", got) and taken:
        yield "says that Graph did not accept it"
    if got == "200 2 listed":
        yield "says that the list is complete"
    if case.operation.name == "diagnosis" or case.how == "once" or case.target in TABLE:
        return
    allowed = {case.fault.problem}
    if case.how == "everywhere":  # what was sent cannot be looked at: not known is the truth
        allowed.add("graph-timeout")
    if case.target == "identity" and "graph-timeout" in allowed:  # that is about Graph
        allowed.add("graph-failed")
    if re.match(r"50\d", got) and got[4:] not in allowed:
        yield f"should say {case.fault.problem or 'no problem'}"


def main():
    """Try every case; print what was wrong, and each distinct result with where it was seen."""
    from emulator.azurite import Azurite

    began, wrong, every = time.monotonic(), 0, list(cases())
    found = defaultdict(list)
    with Azurite() as azurite, Peers(azurite) as peers:
        for case in every:
            seen = tried(peers, case)
            place = f"{case.operation.name}, {case.target}, {case.how} ({seen.seconds:.0f} s)"
            found[case.fault.name, seen.got, ", ".join(seen.lines)].append(place)
            wrong += bool(seen.wrong)
            for one in seen.wrong:
                print(f"WRONG {case}: {one} ({seen.got})", flush=True)
    print("| fault | seen | lines that stand out | where |\n|---|---|---|---|")
    for row, places in found.items():
        print("|", " | ".join([*row, "; ".join(places)]), "|")
    minutes = (time.monotonic() - began) / 60
    counts = f"{len(every)} cases, {len(found)} distinct results, {wrong} wrong"
    print(f"{counts}, {minutes:.1f} minutes")
    return int(wrong > 0)
