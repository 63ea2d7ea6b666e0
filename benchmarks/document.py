"""docs/benchmarks.md, made of docs/benchmarks/results.json, which `make bench` has measured.

Every figure comes from the results, and which way is faster is worked out from them. Only what is
measured and how is written by hand.
Not for: measuring.
"""

from __future__ import annotations

import json
import os
import platform
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from emulator.run import APP

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

type Row = dict[str, Any]

PAGE = APP / "docs" / "benchmarks.md"
RESULTS = APP / "docs" / "benchmarks" / "results.json"
PARTS = ("drains", "bulk", "cold", "growth", "page")
SWEEP = "Redeliver's sweep"
APPS = OURS, COMPILED, SDK, HELLO = "Redeliver", "Redeliver, compiled", "msgraph-sdk", "hello-world"


def keep(name: str, result: Row, *, quick: bool) -> None:
    """Put the result of a part into the results, with where and when it was measured."""
    python = f"{platform.python_implementation()} {platform.python_version()}"
    day = f"{datetime.now(UTC):%Y-%m-%d}"
    machine = {"day": day, "python": python, "cores": os.cpu_count(), "quick": quick}
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    results = {part: results[part] for part in PARTS if part in results}
    results[name] = _rounded({"on": machine} | result)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")


def _rounded(value: Any) -> Any:
    """Return the same with four digits of each measured number."""
    if isinstance(value, dict):
        return {name: _rounded(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_rounded(one) for one in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


def write() -> None:
    """Write the document, unless a part was never measured."""
    results = json.loads(RESULTS.read_text())
    if missing := [one for one in PARTS if one not in results]:
        print(f"{PAGE.name} still needs: {', '.join(missing)}")
        return
    PAGE.write_text(render(results))
    print(f"written: docs/{PAGE.name}")


# -- words and tables --


def number(value: float) -> str:
    """Write a number with the digits that mean something."""
    if isinstance(value, int) or value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def percent(share: float) -> str:
    return f"{share * 100:.1f} %".replace(".0 %", " %")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---", *["--:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


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
    names = list(dict.fromkeys(row["contender"] for row in rows))
    found = {(case(row), row["contender"]): write(row) for row in rows}
    lines = [
        [one, *(found.get((one, name), "-") for name in names)]
        for one in dict.fromkeys(map(case, rows))
    ]
    return table(["failed, time of an answer", *names], lines)


def faster(rows: Sequence[Row]) -> str:
    """Name each case in which a contender was faster than the sweep."""
    ours = {(case(row), row["throttled"]): row for row in rows if row["contender"] == SWEEP}
    lines = []
    for row in rows:
        sweep = ours[case(row), row["throttled"]]
        if row["seconds"] < sweep["seconds"]:
            limit = ", limited" if row["throttled"] else ""
            lost = (
                ""
                if row["delivered"] >= sweep["delivered"]
                else f", {percent(row['delivered'])} delivered"
            )
            lines.append(
                f"{row['contender']}, {case(row)}{limit}: {seconds(row)} s{lost} (the sweep {seconds(sweep)} s)"
            )
    return "; ".join(lines) or "in no case"


def compared(rows: Sequence[Row]) -> str:
    """Compare the sweep with the others in one case."""
    (sweep,) = (row for row in rows if row["contender"] == SWEEP)
    said = [
        f"{times(sweep['seconds'], row['seconds'])} a {row['contender']}".replace(
            "a msgraph", "msgraph"
        )
        for row in rows
        if row is not sweep
    ]
    return f"in {number(sweep['seconds'])} s: {'; '.join(said)}"


def drains(part: Row, largest: Row) -> str:
    free = [row for row in part["rows"] if not row["throttled"]]
    limited = [row for row in part["rows"] if row["throttled"]]
    use = [
        [row["contender"], number(row["calls"]), f"{row['mib']:.0f}"]
        for row in free
        if case(row) == case(largest)
    ]
    return f"""## Many failed requests

Seconds from the start of the list to the last answer.
≈: posting was cut off after {number(part["seconds"])} s, and the rest is estimated by the speed of its second half.

{matrix(free, seconds)}

{case(largest)}:

{table(["who", "HTTP calls to Graph", "peak MiB"], use)}

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


def bulk(part: Row) -> str:
    rows = [
        [
            row["contender"],
            number(row["posting"]),
            number(row["calls"] - row["lists"]),
            f"{(row['calls'] - row['lists']) / row['tried']:.2f}",
            percent(row["delivered"]),
        ]
        for row in part["rows"]
    ]
    size = part["rows"][0]["size"]
    head = ["route", "seconds", "HTTP calls to Graph", "for each request", "delivered"]
    return f"""## Your own list of requests

{size:,} requests at {part["rows"][0]["latency"]} ms an answer, with a table: `POST /api/requests/reprocess` with 20 ids, then 200 in each call, one call after the other; beside it `POST /api/requests/{{requestId}}/reprocess`, four at once.
Without the list that the ids come from.

{table(head, rows)}
"""


def cold(part: Row) -> str:
    fields = ("seconds", "cpu", "mib", "megabytes")
    lines = [[row["app"], *(number(row[field]) for field in fields)] for row in part["rows"]]
    return f"""## Cold start

From starting a process of the local host to its first 202, with a token: Redeliver with its table, the same function on msgraph-sdk, and a hello-world that gets a token and calls nothing. Median of {part["rounds"]} rounds.
Packages are compiled, as pip leaves them; the code of an app is not, unless it says so. What Azure adds is not in here.

{table(["app", "seconds", "of it CPU", "peak MiB", "installed MB"], lines)}
"""


def growth(part: Row) -> str:
    rows = [
        [
            number(row["size"]),
            number(row["listing"]),
            number(row["whole"]),
            number(row["accepted"]),
            number(row["calls"]),
            f"{row['mib']:.0f}",
        ]
        for row in part["rows"]
    ]
    head = ["failed", "list and plan, s", "sweep, s", "accepted", "HTTP calls to Graph", "peak MiB"]
    return f"""## Growth

Sweeps of more and more failed requests, Graph answering at once. `SWEEP_MAX_REQUESTS` bounds how many of them a sweep reprocesses.

{table(head, rows)}
"""


def page(part: Row) -> str:
    first, later, (calls, again) = part["first"], part["later"], part["calls"]
    rows = [
        ["page as sent, with gzip, kB", f"{part['bytes'][1] / 1000:.0f}"],
        ["first view: rows, ms", f"{first[0]:.0f}"],
        ["first view: whole list, ms", f"{first[1]:.0f}"],
        ["a later view within half a minute: rows, ms", f"{later[0]:.0f}"],
        ["calls to Graph of the first view", number(calls)],
        [f"calls to Graph of the next {part['views']} views", number(again)],
        *([f"longest frame, {what}, ms", f"{ms:.0f}"] for what, ms in part["frames"].items()),
        [
            "peak memory of the app, before and after, MiB",
            " / ".join(f"{one:.0f}" for one in part["mib"]),
        ],
    ]
    return f"""## The page

{part["requests"]:,} failed requests in a headless Chromium that draws without a graphics card, on the machine that runs the app.

{table(["figure", "measured"], rows)}
"""


# -- the whole --


def in_short(results: dict[str, Row], largest: Row) -> str:
    rows, limit = results["drains"]["rows"], results["drains"]["rate"]
    sweeps = {(case(one), one["throttled"]): one for one in rows if one["contender"] == SWEEP}
    slow = [row for row in rows if case(row) == case(largest) and not row["throttled"]]
    limited = sweeps[case(largest), True]
    single, many = results["bulk"]["rows"]
    calls = [one["calls"] - one["lists"] for one in (many, single)]
    starts = {one["app"]: one["seconds"] for one in results["cold"]["rows"]}
    grown = results["growth"]["rows"]
    view = results["page"]
    return f"""- **Much has failed.** {largest["size"]:,} requests at {largest["latency"]} ms an answer are reprocessed {compared(slow)}.
- **Graph limits the rate.** {limited["size"]:,} at {limit} a second take a sweep {number(limited["seconds"])} s, with {percent(limited["refused"] / (limited["size"] + limited["refused"]))} answers of 429.
- **Others are faster:** {faster(rows)}.
- **You call it yourself.** {many["size"]:,} requests through the bulk route take {number(many["posting"])} s and {number(calls[0])} calls to Graph; the single route, four at once, {number(single["posting"])} s and {number(calls[1])} calls. The bulk route is {times(many["posting"], single["posting"])} it.
- **It starts cold** in {number(starts[OURS])} s: {times(starts[OURS], starts[SDK])} the same function on msgraph-sdk, {times(starts[OURS], starts[HELLO])} a hello-world.
- **Nothing has failed.** A sweep takes {number(grown[0]["whole"])} s and {number(grown[0]["calls"])} call to Graph.
- **The tenant is large.** A sweep that finds {grown[-1]["size"]:,} failed requests takes {number(grown[-1]["whole"])} s and {grown[-1]["mib"]:.0f} MiB.
- **The page** shows the first of {view["requests"]:,} requests after {view["first"][0] / 1000:.1f} s."""


def measured_on(results: dict[str, Row]) -> str:
    """Say where and when, part by part where they differ."""
    said: dict[str, list[str]] = {}
    for name in PARTS:
        on = results[name]["on"]
        reduced = "; a reduced run, to try the benchmark itself" if on["quick"] else ""
        when = f"{on['day']}, {on['python']}, {on['cores']} cores{reduced}"
        said.setdefault(when, []).append(name)
    if len(said) == 1:
        return f"Measured {next(iter(said))}."
    return " ".join(f"Measured {when} ({', '.join(names)})." for when, names in said.items())


def render(results: dict[str, Row]) -> str:
    """Return the whole document."""
    largest = max(results["drains"]["rows"], key=lambda row: (row["size"], row["latency"]))
    return f"""# Benchmarks

Is Redeliver worth it beside a script, a Logic App or an app on msgraph-sdk, and what does it need?

{in_short(results, largest)}

{measured_on(results)}
Everything ran on one machine, each part once: an emulated Graph and Azurite (Table Storage) over loopback, each contender in a process of its own. The figures compare; they do not say how fast Graph is.
`make bench` measures again and writes this document out of [results.json](benchmarks/results.json).

| who | what it does |
|---|---|
| requests loop | a script or runbook: it lists, then calls one after the other; it waits as `Retry-After` says, and tries three times more at most |
| For-each, 20 at once | twenty calls at a time with the default retry policy of a Logic App's HTTP action; without what the engine adds to each action |
| msgraph-sdk, 20 at once | Microsoft's SDK with twenty calls at a time; it retries by itself; what it imports at its first call is counted |
| Redeliver's sweep | what the timer does, with its table |

{drains(results["drains"], largest)}
{bulk(results["bulk"])}
{cold(results["cold"])}
{growth(results["growth"])}
{page(results["page"])}"""
