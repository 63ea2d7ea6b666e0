"""docs/benchmarks.md, made of results alone: what `make bench` has measured side by side.

Every figure in it comes from docs/benchmarks/results.json, and what it says of winners is worked
out from them. `WHO` and `WHY` are written by hand, and state no result.
Not for: measuring, or drawing (charts.py).
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from emulator.run import APP

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

type Row = dict[str, Any]

PAGE, FOLDER = APP / "docs" / "benchmarks.md", APP / "docs" / "benchmarks"
RESULTS = FOLDER / "results.json"
PARTS = ("peers", "one", "cold", "growth", "calls", "sweeps", "pace", "page")
ALONE = {
    "calls": "One call",
    "sweeps": "A sweep",
    "pace": "The pace, in virtual time",
    "page": "The page",
}
SWEEP = "our sweep"
WHO = """
| who | what it does |
|---|---|
| requests loop | a script or runbook: list, then one call after the other; when told to wait it waits and tries again, three times at most |
| 20 at once | twenty calls at a time with the default retry policy of a Logic App's HTTP action, as its For-each does; without what the engine adds to each action |
| msgraph-sdk | Microsoft's SDK, one call after the other; it retries by itself |
| msgraph-sdk, 20 at once | the same with twenty calls at a time |
| ours one by one | the app's own list, then its `POST /api/requests/{requestId}/reprocess` for each; the memory is the app's |
| our sweep | what the timer does |

All are processes of their own on one machine, beside an emulated Graph and Azurite for Table Storage, over loopback.
Each is given its token, except ours, which ask for theirs. The import of a program is not counted, since a long run pays it once; what the SDK imports when first used is.
"""
WHY = """
**A client that calls one by one** needs the time of an answer for each request, however fast it is itself.
It is at home where Graph answers at once or little has failed; then nothing is left to be saved.

**A sweep writes before it calls.** Each attempt is claimed in the table first, so that a killed process or a second instance never tries a request twice within its cool-down.
Nobody else spends this time, and where Graph answers at once it shows.
Where Graph takes its time, batches make up for it: one call carries many requests, and several are under way.

**Under a limit nobody is faster than the limit** for long; only what it lets through at first is free.
Who calls one by one never meets a limit that is above its own speed.
A fast client is refused, and what counts is what it does then.
Twenty at once learn of the limit one by one, each by a refusal of its own, and each waits by itself.
In a sweep one told wait is everybody's, and the pace that Graph allows is learned.
Whoever stops trying leaves the request failed, and nobody is told.

**Memory** is what a program loads and remembers. A `requests` script does little of either.
The sweep brings its planner, its table and its log; msgraph-sdk brings its models.

**One by one over HTTP** does the most for each request: the caller is checked, the attempt is written down, the answer is worded.
It is for a request that somebody has chosen, not for draining a tenant.

**What no figure here shows**: a sweep takes removals and closing windows first, lets a request cool down, remembers how often it was tried, and tells somebody when it gives up. The others do what their writers add.
"""


def keep(name: str, result: Row, *, quick: bool) -> None:
    """Put the result of a part into the results, with where and when it was measured."""
    python = f"{platform.python_implementation()} {platform.python_version()}"
    day = f"{datetime.now(UTC):%Y-%m-%d}"
    machine = {"day": day, "python": python, "cores": os.cpu_count(), "quick": quick}
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    results[name] = _rounded({"on": machine} | result)
    FOLDER.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")


def _rounded(value: Any) -> Any:
    """Return the same with four digits of each measured number."""
    if isinstance(value, dict):
        return {name: _rounded(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_rounded(one) for one in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


def write(charts_python: Path) -> None:
    """Write the document and its charts, unless a part was never measured."""
    results = json.loads(RESULTS.read_text())
    if missing := [one for one in PARTS if one not in results]:
        print(f"{PAGE.name} still needs: {', '.join(missing)}")
        return
    command = [str(charts_python), "-m", "benchmarks.charts", str(RESULTS), str(FOLDER)]
    subprocess.run(command, cwd=APP, check=True)
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


def folded(title: str, body: str) -> str:
    return f"<details><summary>{title}</summary>\n\n{body}\n\n</details>"


def case(row: Row) -> str:
    return f"{row['size']:,} at {row['latency']} ms"


def is_reckoned(row: Row) -> bool:
    return bool(row["tried"] < row["size"])


def matrix(rows: Sequence[Row], field: str, write: Callable[[float], str] = number) -> str:
    """Return a table of one field: a line for each tenant, a column for each contender."""
    names = list(dict.fromkeys(row["contender"] for row in rows))
    cases = dict.fromkeys(map(case, rows))
    found = {(row["contender"], case(row)): row for row in rows}
    lines = []
    for one in cases:
        line = [one]
        for name in names:
            row = found.get((name, one))
            sign = (
                "≈ "
                if row and is_reckoned(row) and field in {"seconds", "calls", "refused"}
                else ""
            )
            line.append(sign + write(row[field]) if row else "-")
        lines.append(line)
    return table(["failed, time of an answer", *names], lines)


def wins(rows: Sequence[Row], field: str, *, more: bool = False) -> list[tuple[Row, Row]]:
    """Return each row that is better than the sweep's own in the same case, and that one."""
    ours = {(case(row), row["throttled"]): row for row in rows if row["contender"] == SWEEP}
    pairs = [(row, ours[case(row), row["throttled"]]) for row in rows if row["contender"] != SWEEP]
    sign = -1 if more else 1
    return [pair for pair in pairs if sign * pair[0][field] < sign * pair[1][field]]


def fastest(rows: Sequence[Row]) -> str:
    """Say in how many cases each contender was the fastest."""
    best: dict[str, Row] = {}
    for row in rows:
        best[case(row)] = min(best.get(case(row), row), row, key=lambda one: one["seconds"])
    counts = Counter(row["contender"] for row in best.values())
    return ", ".join(f"{name} {count}" for name, count in counts.most_common())


def who_wins(rows: Sequence[Row]) -> str:
    """Say in which cases a contender did better than the sweep."""
    lines = []
    for row, ours in wins(rows, "seconds"):
        limit = ", limited" if row["throttled"] else ""
        sign = "≈ " if is_reckoned(row) else ""
        lost = (
            ""
            if row["delivered"] >= ours["delivered"]
            else f", of which {percent(row['delivered'])} delivered"
        )
        lines.append(
            f"- {row['contender']}: {case(row)}{limit}, in {sign}{number(row['seconds'])} s{lost}; "
            f"the sweep in {number(ours['seconds'])} s"
        )
    told = "\n".join(lines) or "None, in no case."
    fields = ("calls", "fewer HTTP calls"), ("refused", "fewer refusals"), ("mib", "less memory")
    for field, what in fields:
        counts = Counter(row["contender"] for row, _ in wins(rows, field))
        held = Counter(row["contender"] for row in rows)
        each = [f"{name} in {count} of {held[name]}" for name, count in counts.items()]
        told += f"\n\nWith {what} than the sweep: {', '.join(each) or 'none'}."
    more = Counter(row["contender"] for row, _ in wins(rows, "delivered", more=True))
    each = [f"{name} in {count}" for name, count in more.items()]
    return f"{told}\n\nWith a larger share delivered than the sweep: {', '.join(each) or 'none'}."


# -- the parts --


def drains(part: Row) -> str:
    free = [row for row in part["rows"] if not row["throttled"]]
    limited = [row for row in part["rows"] if row["throttled"]]
    return f"""## Draining a tenant

Seconds from the start of the list to the last answer.
≈: posting was cut off after {number(part["seconds"])} s, under a limit after {number(part["limited seconds"])} s, and the rest is reckoned at the speed of its second half; calls and refusals are reckoned by those that were tried. A dash: not run, since calls that take so long never reach the limit.

### Without a limit

![Seconds to drain a tenant, by its size, for three times of an answer](benchmarks/drain.svg)

{matrix(free, "seconds")}

{folded("HTTP calls to Graph", matrix(free, "calls"))}

{folded("Share of what was tried that ended delivered", matrix(free, "delivered", percent))}

{folded("Peak memory, MiB", matrix(free, "mib", lambda mib: f"{mib:.0f}"))}

### Under a limit

Graph grants {part["rate"]:,} requests a second and as many at once, and tells in `Retry-After` how long to wait, in whole seconds.
It publishes no limit for this service; this one is low enough to be met, and says nothing of what Graph grants you.

![The same under a limit](benchmarks/limited.svg)

{matrix(limited, "seconds")}

Requests answered 429:

{matrix(limited, "refused")}

Share of what was tried that ended delivered:

{matrix(limited, "delivered", percent)}

{folded("HTTP calls to Graph", matrix(limited, "calls"))}

{folded("Peak memory, MiB", matrix(limited, "mib", lambda mib: f"{mib:.0f}"))}

### Who was faster than the sweep

The fastest, by cases: without a limit {fastest(free)}; under it {fastest(limited)}.

{who_wins(part["rows"])}
"""


def one_request(part: Row) -> str:
    rows = [[row["contender"], number(row["p50"]), number(row["p99"])] for row in part["rows"]]
    first = min(part["rows"], key=lambda row: row["p50"])["contender"]
    return f"""## One request

Milliseconds from a call to its answer: {part["calls"]:,} calls one after the other, Graph answering at once, each client warm and with a kept connection.
Ours has its attempt written to the table meanwhile.

{table(["who", "p50", "p99"], rows)}

The shortest p50 is that of: {first}.
"""


def cold(part: Row) -> str:
    rows = {row["app"]: row for row in part["rows"]}
    fields = ("seconds", "cpu", "mib", "megabytes")
    lines = [[name, *(number(row[field]) for field in fields)] for name, row in rows.items()]
    spent = {
        one: max(row["imports"].get(one, 0) for row in rows.values())
        for row in rows.values()
        for one in row["imports"]
    }
    packages = sorted(spent, key=lambda one: (one == "others", -spent[one]))
    first = min(rows.values(), key=lambda row: row["seconds"])["app"]
    imports = [
        [one, *(f"{row['imports'].get(one, 0) * 1000:.0f}" for row in rows.values())]
        for one in packages
    ]

    def aim(other: str, most: float) -> str:
        said = []
        for name in ("ours", "ours, compiled"):
            times = rows[name]["seconds"] / rows[other]["seconds"]
            said.append(f"{name} {number(times)} times, {'met' if times <= most else 'missed'}")
        return "; ".join(said)

    least = rows["hello-world"]["seconds"] / rows["msgraph-sdk"]["seconds"]
    hopeless = "; to meet the first aim is to start sooner than it" if least >= 0.5 else ""
    return f"""## Cold start

From starting a process of the local host until its first 202, the token included: ours, the same function on msgraph-sdk, and a hello-world that asks for a token and calls nothing. The median of {part["rounds"]} rounds.
Packages are compiled, as pip leaves them; the code of an app is not, as in a package that nobody has compiled and nobody can write to. Ours is measured compiled as well.
Azure adds a part of its own, which is not in here.

{table(["app", "seconds", "of it CPU", "peak MiB", "installed, MB"], lines)}

- Aim: less than half of the same function on msgraph-sdk: {aim("msgraph-sdk", 0.5)}.
- Aim: at most 1.5 times the hello-world: {aim("hello-world", 1.5)}.
- The hello-world itself: {number(least)} times the function on msgraph-sdk{hopeless}.
- The first to answer: {first}.

Each of them loads Python, the host, azure-functions and azure-identity; only the rest can differ.
The function on msgraph-sdk has no door, no table and no answers of its own, and its SDK loads only the parts that are touched.

![Seconds until the first 202, and what of it went into imports](benchmarks/cold.svg)

{folded("Milliseconds of imports until then, by package", table(["package", *rows], imports))}

Measured in runs of their own, with Python's own import timer, which slows them a little.
A package is charged for its own modules only, and what the host has imported before is not charged again.
"""


def growth(part: Row) -> str:
    rows = [
        [
            number(row["size"]),
            number(row["listing"]),
            number(row["whole"]),
            number(row["tried"]),
            f"{row['mib']:.0f}",
        ]
        for row in part["rows"]
    ]
    head = ["failed", "list and plan, s", "whole sweep, s", "accepted", "peak MiB"]
    return f"""## Growth

Whole sweeps of more and more failed requests, Graph answering at once. Each tries as many as `SWEEP_MAX_REQUESTS` lets it. A few documented examples are among them.

![Seconds and memory of a sweep, by the number of failed requests](benchmarks/growth.svg)

{table(head, rows)}
"""


def alone(results: dict[str, Row]) -> str:
    """Return the figures of Redeliver alone; one that begins with blanks belongs to the last."""
    parts = []
    for name, title in ALONE.items():
        figures = results[name]["figures"]
        rows = [[what.replace("  ", "… ", 1), value] for what, value in figures.items()]
        parts.append(f"### {title}\n\n{table(['figure', 'measured'], rows)}\n")
    return "\n".join(parts)


def measured_on(results: dict[str, Row]) -> str:
    """Say where and when, part by part where they differ."""
    said: dict[str, list[str]] = {}
    for name in PARTS:
        on = results[name]["on"]
        reduced = "; a reduced run, to try the benchmark itself" if on["quick"] else ""
        said.setdefault(f"{on['day']}, {on['python']}, {on['cores']} cores{reduced}", []).append(
            name
        )
    if len(said) == 1:
        return f"Measured {next(iter(said))}."
    return " ".join(f"Measured {when} ({', '.join(names)})." for when, names in said.items())


def render(results: dict[str, Row]) -> str:
    """Return the whole document."""
    return f"""# Benchmarks

Why not a loop? What others do about failed deliveries, measured beside Redeliver.
`make bench` writes this document and its charts out of [what it has measured](benchmarks/results.json).

{measured_on(results)}

## Who is measured
{WHO}
{drains(results["peers"])}
### Why
{WHY}
{one_request(results["one"])}
{cold(results["cold"])}
{growth(results["growth"])}
## Redeliver alone

{alone(results)}"""
