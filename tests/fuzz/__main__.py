"""Fuzzes every target in a fresh process of its own, and prints what came of it.

    python -m tests.fuzz                      every target, FUZZ_SECONDS each (20 unless set)
    python -m tests.fuzz next_links           one of them
    python -m tests.fuzz next_links .fuzz/x   one input again, as it was kept when a rule broke

Not for: the rules themselves (by_callers.py, by_graph.py, by_others.py).
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
KEPT = PROJECT / ".fuzz"  # inputs that broke a rule
SECONDS = int(os.environ.get("FUZZ_SECONDS", "20"))
SLOWEST = 5  # seconds for one input; then it is a finding, too
INSTRUMENTED = (
    *("attempts", "deadline", "events", "graph", "reprocess_http", "reprocess_timer"),
    *("setting_kinds", "settings", "table"),
)


def targets():
    """Every target by its name."""
    from tests.fuzz import by_callers, by_graph, by_others  # noqa: F401 - they fill the table
    from tests.fuzz.targets import TARGETS

    return TARGETS


def fuzz(name: str, corpus: str) -> None:
    """Fuzz one target in this process, until its time is over or a rule is broken."""
    import logging

    import atheris

    logging.getLogger("redeliver").addHandler(logging.NullHandler())
    logging.getLogger("redeliver").propagate = False
    with atheris.instrument_imports(include=list(INSTRUMENTED)):
        one = targets()[name]
        from tests.fuzz.targets import LONGEST, unthreaded
    for n, seed in enumerate(one.seeds):
        Path(corpus, f"seed-{n}").write_bytes(seed)
    options = [
        f"-artifact_prefix={KEPT}/{name}-",
        f"-max_total_time={SECONDS}",
        f"-timeout={SLOWEST}",
        f"-max_len={LONGEST}",
        "-rss_limit_mb=2048",
        "-print_final_stats=1",
    ]
    atheris.Setup([name, *options, corpus], one.check)
    with unthreaded():
        atheris.Fuzz()


def told_of(output: str) -> str:
    """What is of use of libFuzzer's words: the error and its traceback."""
    noise = re.compile(r"INFO|WARNING|#\d|MS: |stat::|0x|Base64|artifact|SUMMARY|==|Done")
    return "\n".join(line for line in output.splitlines() if line and not noise.match(line))[-4000:]


def tried(name: str) -> tuple[int, int, float, str]:
    """Fuzz one target in a fresh process; return inputs, edges, seconds, and what was found."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as corpus:
        command = [sys.executable, "-m", "tests.fuzz", "--here", name, corpus]
        run = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, errors="replace")
    seconds = time.monotonic() - began
    told = run.stdout + run.stderr
    edges = [int(one) for one in re.findall(r"\bcov: (\d+)", told)]
    inputs = [int(one) for one in re.findall(r"number_of_executed_units: (\d+)", told)]
    if run.returncode == 0 and inputs:
        return inputs[-1], max(edges), seconds, ""
    print(f"--- {name} ---\n{told_of(told)}", file=sys.stderr)
    kept = re.findall(rf"{re.escape(str(KEPT))}/\S+", told)
    found = str(Path(kept[-1]).relative_to(PROJECT)) if kept else f"exit code {run.returncode}"
    return max(inputs, default=0), max(edges, default=0), seconds, found


def run(names: list[str]) -> int:
    """Fuzz these targets one after the other; 1 when anything was found."""
    KEPT.mkdir(exist_ok=True)
    print(f"{'target':18} {'inputs':>10} {'edges':>6} {'seconds':>8}  findings")
    rows = []
    for name in names:
        rows.append((name, *tried(name)))
        _, inputs, edges, seconds, found = rows[-1]
        print(f"{name:18} {inputs:10,} {edges:6} {seconds:8.0f}  {found or '-'}", flush=True)
    found = [(name, kept) for name, *_, kept in rows if kept]
    print(f"{'all':18} {sum(row[1] for row in rows):10,} {'':6} {'':8}  {len(found)}")
    for name, kept in found:
        print(f"again: .venv/bin/python -m tests.fuzz {name} {kept}")
    return 1 if found else 0


def main(asked: list[str]) -> int:
    """Do what the command line says."""
    if asked[:1] == ["--here"]:
        fuzz(*asked[1:])
        return 0
    if len(asked) == 2:
        targets()[asked[0]].check(Path(asked[1]).read_bytes())
        print("no rule is broken")
        return 0
    try:
        import atheris  # noqa: F401 - only whether it is there
    except ImportError:
        print("atheris has packages for Linux on x86-64 only: run make fuzz there", file=sys.stderr)
        return 2
    return run(asked or list(targets()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
