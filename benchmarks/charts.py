"""The charts of docs/benchmarks.md, drawn of its results; run by the Python that has matplotlib.

    python -m benchmarks.charts <results.json> <folder>

The same results give the same bytes. Not for: tables (document.py).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.ticker import FuncFormatter

mpl.use("svg")
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "redeliver",
    "font.family": "sans-serif",
    "font.sans-serif": ["Helvetica", "Arial", "DejaVu Sans"],
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e5e7eb",
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
}
# Colours that remain apart without red and green (Okabe and Ito); each has a mark of its own too.
LOOKS = {
    "requests loop": ("#e69f00", "o", "-"),
    "20 at once": ("#56b4e9", "s", "-"),
    "msgraph-sdk": ("#cc79a7", "^", "--"),
    "msgraph-sdk, 20 at once": ("#d55e00", "v", "--"),
    "ours one by one": ("#009e73", "D", ":"),
    "our sweep": ("#000000", "X", "-"),
}
PLAIN = FuncFormatter(lambda value, _: f"{value:,.10g}")


def save(figure: Any, path: Path) -> None:
    figure.savefig(path, metadata={"Date": None, "Creator": None})
    plt.close(figure)


def logarithmic(axes: Any, sizes: list[int]) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(sizes)
    axes.xaxis.set_major_formatter(PLAIN)
    axes.yaxis.set_major_formatter(PLAIN)
    axes.minorticks_off()


def drain(rows: list[dict[str, Any]], path: Path) -> None:
    """A panel for each time of an answer; hollow marks are reckoned."""
    latencies = sorted({row["latency"] for row in rows})
    sizes = sorted({row["size"] for row in rows})
    figure, panels = plt.subplots(1, len(latencies), figsize=(9.5, 4.2), sharey=True, squeeze=False)
    for axes, latency in zip(panels[0], latencies, strict=True):
        for name, (colour, mark, line) in LOOKS.items():
            mine = [row for row in rows if row["latency"] == latency and row["contender"] == name]
            at = [(row["size"], row["seconds"]) for row in mine]
            axes.plot(*zip(*at, strict=True) if at else ([], []), line, color=colour, label=name)
            for row in mine:
                face = "white" if row["tried"] < row["size"] else colour
                axes.plot(row["size"], row["seconds"], mark, color=colour, markerfacecolor=face)
        logarithmic(axes, sizes)
        axes.set_title(f"{latency} ms an answer", fontsize=10)
        axes.set_xlabel("failed requests")
    panels[0][0].set_ylabel("seconds until drained")
    keys = [
        plt.Line2D([], [], color=colour, marker=mark, linestyle=line, label=name)
        for name, (colour, mark, line) in LOOKS.items()
    ]
    keys.append(
        plt.Line2D([], [], color="#666", marker="o", linestyle="", mfc="white", label="≈ reckoned")
    )
    figure.legend(handles=keys, loc="lower center", ncols=4, frameon=False)
    figure.tight_layout(rect=(0, 0.14, 1, 1))
    save(figure, path)


def cold(rows: list[dict[str, Any]], path: Path) -> None:
    """A bar for each app, beside it what its imports took by package: the largest, then the rest."""
    sums: dict[str, float] = {}
    for row in rows:
        for name, seconds in row["imports"].items():
            sums[name] = max(sums.get(name, 0.0), seconds)
    largest = sorted((one for one in sums if one != "others"), key=lambda one: -sums[one])[:9]
    figure, axes = plt.subplots(figsize=(9.5, 3.6))
    starts = dict.fromkeys((row["app"] for row in rows), 0.0)
    shades = [mpl.colormaps["tab20"](number) for number in range(len(largest) + 1)]
    for shade, name in zip(shades, [*largest, "other imports"], strict=True):
        for row in rows:
            others = sum(s for one, s in row["imports"].items() if one not in largest)
            width = others if name == "other imports" else row["imports"].get(name, 0.0)
            label = name if row is rows[0] else None
            axes.barh(
                row["app"], width, left=starts[row["app"]], color=shade, label=label, height=0.6
            )
            starts[row["app"]] += width
    seconds = [row["seconds"] for row in rows]
    axes.plot(
        seconds,
        [row["app"] for row in rows],
        "k|",
        markersize=20,
        markeredgewidth=2,
        label="first 202",
    )
    axes.invert_yaxis()
    axes.set_xlabel(
        "seconds; bars: imports, with Python's import timer on; line: until the first 202"
    )
    axes.set_xlim(0, max([*seconds, *starts.values()]) * 1.05)
    axes.grid(axis="y", visible=False)
    figure.legend(loc="lower center", ncols=6, frameon=False, fontsize=9)
    figure.tight_layout(rect=(0, 0.17, 1, 1))
    save(figure, path)


def growth(rows: list[dict[str, Any]], path: Path) -> None:
    sizes = [row["size"] for row in rows]
    figure, (time, memory) = plt.subplots(1, 2, figsize=(9.5, 3.6))
    time.plot(sizes, [row["listing"] for row in rows], "o-", color="#0072b2", label="list and plan")
    time.plot(sizes, [row["whole"] for row in rows], "s--", color="#000000", label="whole sweep")
    time.set_ylabel("seconds")
    time.legend(frameon=False)
    logarithmic(time, sizes)
    memory.plot(sizes, [row["mib"] for row in rows], "o-", color="#0072b2")
    memory.set_ylabel("peak memory, MiB")
    logarithmic(memory, sizes)
    memory.set_yscale("linear")
    memory.set_ylim(0, 1.1 * max(row["mib"] for row in rows))
    for axes in (time, memory):
        axes.set_xlabel("failed requests")
        axes.tick_params(axis="x", labelrotation=30)
    figure.tight_layout()
    save(figure, path)


def main() -> None:
    results = json.loads(Path(sys.argv[1]).read_text())
    folder = Path(sys.argv[2])
    rows = results["peers"]["rows"]
    with mpl.rc_context(STYLE):
        drain([row for row in rows if not row["throttled"]], folder / "drain.svg")
        drain([row for row in rows if row["throttled"]], folder / "limited.svg")
        cold(results["cold"]["rows"], folder / "cold.svg")
        growth(results["growth"]["rows"], folder / "growth.svg")


if __name__ == "__main__":
    main()
