"""Fuzz every target in a fresh process of its own, and print what was found.

    python -m tests.fuzz                       every target, FUZZ_SECONDS each (20 unless set)
    python -m tests.fuzz webhook_id            one of them
    python -m tests.fuzz webhook_id .fuzz/x    one input again, as it was kept when a rule broke

Not for: the rules, which are in the targets. Needs atheris, which is there for Linux on x86-64.
"""

from __future__ import annotations

import importlib
import logging
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from tests.fuzz.targets import MAX_LENGTH, TARGETS

PROJECT = Path(__file__).resolve().parents[2]
KEPT = PROJECT / ".fuzz"  # inputs that broke a rule
SECONDS = int(os.environ.get("FUZZ_SECONDS", "20"))
SLOWEST = 5  # seconds for one input; a slower one is a finding


class Run(NamedTuple):
    """How one target was fuzzed; `finding` names the input that broke a rule."""

    inputs: int
    edges: int
    seconds: float
    finding: str


def load_targets() -> None:
    """Fill TARGETS."""
    for name in ("callers", "answers", "configuration", "output"):
        importlib.import_module(f"tests.fuzz.{name}")


def fuzz_here(name: str, corpus: str) -> None:
    """Fuzz one target in this process, until its time is over or a rule is broken."""
    import atheris

    from tests.support.package import deployed

    logging.getLogger("redeliver").propagate = False
    logging.getLogger("redeliver").addHandler(logging.NullHandler())
    ours = {one.parts[0].removesuffix(".py") for one in deployed() if one.suffix == ".py"}
    with atheris.instrument_imports(include=sorted(ours)):
        load_targets()
    for n, seed in enumerate(TARGETS[name].seeds):
        Path(corpus, f"seed-{n}").write_bytes(seed)
    options = f"-max_total_time={SECONDS} -timeout={SLOWEST} -max_len={MAX_LENGTH}".split()
    options += [f"-artifact_prefix={KEPT}/{name}-", "-rss_limit_mb=2048", "-print_final_stats=1"]
    atheris.Setup([name, *options, corpus], TARGETS[name].check)
    atheris.Fuzz()


def fuzz(name: str) -> Run:
    """Fuzz one target in a fresh process; print the traceback of a finding."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as corpus:
        command = [sys.executable, "-m", "tests.fuzz", "--here", name, corpus]
        done = subprocess.run(
            command, cwd=PROJECT, capture_output=True, text=True, errors="replace"
        )
    output = done.stdout + done.stderr
    edges = max(map(int, re.findall(r"\bcov: (\d+)", output)), default=0)
    inputs = max(map(int, re.findall(r"number_of_executed_units: (\d+)", output)), default=0)
    finding = ""
    if done.returncode or not inputs:
        kept = re.findall(rf"{re.escape(str(KEPT))}/(\S+)", output)
        finding = f".fuzz/{kept[-1]}" if kept else f"exit code {done.returncode}"
        again = f".venv/bin/python -m tests.fuzz {name} {finding}"
        print(f"--- {name} ---\n{output[-6000:]}\nagain: {again}", file=sys.stderr)
    return Run(inputs, edges, time.monotonic() - began, finding)


def fuzz_all(names: list[str]) -> int:
    """Fuzz these targets one after the other; return 1 when there was a finding."""
    KEPT.mkdir(exist_ok=True)
    print(f"{'target':18} {'inputs':>10} {'edges':>6} {'seconds':>8}  findings")
    runs = []
    for name in names:
        runs.append(run := fuzz(name))
        counts = f"{run.inputs:10,} {run.edges:6} {run.seconds:8.0f}"
        print(f"{name:18} {counts}  {run.finding or '-'}", flush=True)
    findings = sum(bool(run.finding) for run in runs)
    print(f"{'all':18} {sum(run.inputs for run in runs):10,} {findings:17}")
    return min(findings, 1)


def main(arguments: list[str]) -> int:
    """Do what the command line says."""
    if arguments[:1] == ["--here"]:
        fuzz_here(*arguments[1:])
        return 0
    load_targets()
    if len(arguments) == 2:
        TARGETS[arguments[0]].check(Path(arguments[1]).read_bytes())
        print("no rule is broken")
        return 0
    return fuzz_all(arguments or list(TARGETS))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
