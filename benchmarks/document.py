"""docs/benchmarks.md, made of docs/benchmarks/results.json, which `make bench` has measured.

Every figure comes from the results, and which way is faster is worked out from them. Only what is
measured and how is written by hand.
Not for: measuring.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.cold import HELLO, OURS, SDK
from benchmarks.drains import CONTENDERS, SWEEP
from emulator.run import APP

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

type Row = dict[str, Any]

PAGE = APP / "docs" / "benchmarks.md"
RESULTS = APP / "docs" / "benchmarks" / "results.json"


# -- words and tables --


def number(value: float) -> str:
    """Write a number with the digits that mean something."""
    if isinstance(value, int) or value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def percent(share: float) -> str:
    return f"{share * 100:.1f} %".replace(".0 %", " %")


def table(head: str, rows: Iterable[Sequence[str]]) -> str:
    lines = [head, " | ".join(["---"] + ["--:"] * head.count("|")), *map(" | ".join, rows)]
    return "\n".join(f"| {line} |" for line in lines)


def numbers(row: Row, *fields: str) -> list[str]:
    return [number(row[field]) for field in fields]


def times(mine: float, other: float) -> str:
    """Say how a duration compares with another."""
    if mine <= other:
        return f"{other / mine:.1f} times as fast as"
    return f"{mine / other:.1f} times as slow as"


def case(row: Row) -> str:
    return f"{row['size']:,} at {row['latency']} ms"


def seconds(row: Row) -> str:
    """Write the seconds of a drain, with a sign where part of them is estimated."""
    return f"{'≈ ' if row['tried'] < row['size'] else ''}{number(row['seconds'])}"


# -- drains --


def matrix(rows: Sequence[Row], write: Callable[[Row], str]) -> str:
    """Return a table with a line for each tenant and a column for each contender."""
    names = [one.name for one in CONTENDERS]
    found = {(case(row), row["contender"]): write(row) for row in rows}
    cases = dict.fromkeys(map(case, rows))
    lines = [[one, *(found.get((one, name), "-") for name in names)] for one in cases]
    return table(" | ".join(["failed, time of an answer", *names]), lines)


def faster(rows: Sequence[Row]) -> str:
    """Name each case in which a contender was faster than the sweep, and what it lost."""
    sweeps = {(case(row), row["throttled"]): row for row in rows if row["contender"] == SWEEP.name}
    lines = []
    for row in rows:
        sweep = sweeps[case(row), row["throttled"]]
        if row["seconds"] < sweep["seconds"]:
            limit = ", limited" if row["throttled"] else ""
            has_lost = row["delivered"] < sweep["delivered"]
            lost = f", {percent(row['delivered'])} delivered" if has_lost else ""
            which = f"{row['contender']}, {case(row)}{limit}"
            lines.append(f"{which}: {seconds(row)} s{lost} (the sweep {seconds(sweep)} s)")
    return "; ".join(lines) or "in no case"


def drains(part: Row, largest: Sequence[Row]) -> str:
    free = [row for row in part["rows"] if not row["throttled"]]
    limited = [row for row in part["rows"] if row["throttled"]]
    use = [[one["contender"], number(one["calls"]), f"{one['mib']:.0f}"] for one in largest]
    return f"""## Many failed requests

Seconds from the start of the list to the last answer.
≈: posting was cut off after {number(part["seconds"])} s, and the rest is estimated by the speed of its second half.

{matrix(free, seconds)}

{case(largest[0])}:

{table("who | HTTP calls to Graph | peak MiB", use)}

A client that calls one by one needs the time of an answer for each request; it wins where Graph answers at once or little has failed.
A sweep first writes to its table which requests it is about to send, so that nothing is sent twice; then one call carries 20 of them, and 8 calls are under way.
The others keep no record, and start again from nothing when they are killed.

## Under a limit

Graph grants {part["rate"]} requests a second and as many at once, and says in `Retry-After` how long to wait, in whole seconds.
Microsoft publishes no limit for this service; this one is low enough to be reached. A dash: too slow to reach it. ≈: cut off after {number(part["limited seconds"])} s.

{matrix(limited, lambda row: f"{seconds(row)} s, {number(row['refused'])} refused, {percent(row['delivered'])} delivered")}

Nobody is faster than the limit for long. In a sweep, a `Retry-After` that one call is given holds for all, and the rate that Graph allows is learned.
"""


# -- the other parts --


def calls_of(row: Row) -> int:
    """Count the calls to Graph but for the list that a client took its ids from."""
    return int(row["calls"] - row["lists"])


def bulk(part: Row) -> str:
    first = part["rows"][0]
    rows = [
        [
            row["contender"],
            *numbers(row, "posting"),
            number(calls_of(row)),
            f"{calls_of(row) / row['tried']:.2f}",
            percent(row["delivered"]),
        ]
        for row in part["rows"]
    ]
    return f"""## Your own list of requests

{first["size"]:,} requests at {first["latency"]} ms an answer, with a table: `POST /api/requests/reprocess` with 20 ids, then 200 in each call, one call after the other; beside it `POST /api/requests/{{requestId}}/reprocess`, four at once.
Without the list that the ids come from.

{table("route | seconds | HTTP calls to Graph | for each request | delivered", rows)}
"""


def cold(part: Row) -> str:
    rows = [
        [row["app"], *numbers(row, "seconds", "cpu", "mib", "megabytes")] for row in part["rows"]
    ]
    return f"""## Cold start

From starting a process of the local host to its first 202, with a token: Redeliver with its table, the same function on msgraph-sdk, and a hello-world that gets a token and calls nothing. Median of {part["rounds"]} rounds.
Packages are compiled, as pip leaves them; the code of an app is not, unless it says so. What Azure adds is not in here.

{table("app | seconds | of it CPU | peak MiB | installed MB", rows)}
"""


def growth(part: Row) -> str:
    fields = ("size", "listing", "whole", "accepted", "calls")
    rows = [[*numbers(row, *fields), f"{row['mib']:.0f}"] for row in part["rows"]]
    return f"""## Growth

Sweeps of more and more failed requests, Graph answering at once. `SWEEP_MAX_REQUESTS` bounds how many of them a sweep reprocesses.

{table("failed | list and plan, s | sweep, s | accepted | HTTP calls to Graph | peak MiB", rows)}
"""


def page(part: Row) -> str:
    (rows, whole), (calls, again), (before, after) = part["first"], part["calls"], part["mib"]
    figures = {
        "page as sent, with gzip, kB": f"{part['bytes'][1] / 1000:.0f}",
        "first view: rows, ms": f"{rows:.0f}",
        "first view: whole list, ms": f"{whole:.0f}",
        "a later view within half a minute: rows, ms": f"{part['later'][0]:.0f}",
        "calls to Graph of the first view": number(calls),
        f"calls to Graph of the next {part['views']} views": number(again),
    }
    figures |= {f"longest frame, {what}, ms": f"{ms:.0f}" for what, ms in part["frames"].items()}
    figures["peak memory of the app, before and after, MiB"] = f"{before:.0f} / {after:.0f}"
    return f"""## The page

{part["requests"]:,} failed requests in a headless Chromium that draws without a graphics card, on the machine that runs the app.

{table("figure | measured", figures.items())}
"""


# -- the whole --


def in_short(results: dict[str, Row], largest: Sequence[Row]) -> str:
    drains, grown, view = results["drains"], results["growth"]["rows"], results["page"]
    *others, sweep = largest
    compared = "; ".join(
        f"{times(sweep['seconds'], row['seconds'])} a {row['contender']}" for row in others
    ).replace("a msgraph", "msgraph")
    limited = drains["rows"][-1]  # the same sweep
    refused = limited["refused"] / (limited["size"] + limited["refused"])
    single, many = results["bulk"]["rows"]
    starts = {one["app"]: one["seconds"] for one in results["cold"]["rows"]}
    return f"""- **Much has failed.** {sweep["size"]:,} requests at {sweep["latency"]} ms an answer are reprocessed in {number(sweep["seconds"])} s: {compared}.
- **Graph limits the rate.** {limited["size"]:,} at {drains["rate"]} a second take a sweep {number(limited["seconds"])} s, with {percent(refused)} answers of 429.
- **Others are faster:** {faster(drains["rows"])}.
- **You call it yourself.** {many["size"]:,} requests through the bulk route take {number(many["posting"])} s and {number(calls_of(many))} calls to Graph; the single route, four at once, {number(single["posting"])} s and {number(calls_of(single))} calls. The bulk route is {times(many["posting"], single["posting"])} it.
- **It starts cold** in {number(starts[OURS])} s: {times(starts[OURS], starts[SDK])} the same function on msgraph-sdk, {times(starts[OURS], starts[HELLO])} a hello-world.
- **Nothing has failed.** A sweep takes {number(grown[0]["whole"])} s and {number(grown[0]["calls"])} call to Graph.
- **The tenant is large.** A sweep that finds {grown[-1]["size"]:,} failed requests takes {number(grown[-1]["whole"])} s and {grown[-1]["mib"]:.0f} MiB.
- **The page** shows the first of {view["requests"]:,} requests after {view["first"][0] / 1000:.1f} s."""


def measured_on(results: dict[str, Row]) -> str:
    """Say when and on what each part was measured."""
    said: dict[str, list[str]] = {}
    for name, part in results.items():
        said.setdefault("{day}, {python}, {cores} cores".format(**part["on"]), []).append(name)
    return " ".join(f"Measured {when}: {', '.join(names)}." for when, names in said.items())


def render(results: dict[str, Row]) -> str:
    """Return the whole document."""
    free = [row for row in results["drains"]["rows"] if not row["throttled"]]
    largest = [row for row in free if case(row) == case(free[-1])]
    who = "\n".join(f"| {one.name} | {one.what} |" for one in CONTENDERS)
    return f"""# Benchmarks

Is Redeliver worth it beside a script, a Logic App or an app on msgraph-sdk, and what does it need?

{in_short(results, largest)}

{measured_on(results)}
Everything ran on one machine, each part once: an emulated Graph and Azurite (Table Storage) over loopback, each contender in a process of its own. The figures compare; they do not say how fast Graph is.
`make bench` measures again and writes this document out of [results.json](benchmarks/results.json).

| who | what it does |
|---|---|
{who}

{drains(results["drains"], largest)}
{bulk(results["bulk"])}
{cold(results["cold"])}
{growth(results["growth"])}
{page(results["page"])}"""
