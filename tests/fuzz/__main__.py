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
from pathlib import Path

from tests.fuzz.targets import MAX_LENGTH, TARGETS

PROJECT = Path(__file__).resolve().parents[2]
KEPT = PROJECT / ".fuzz"  # inputs that broke a rule
SECONDS = os.environ.get("FUZZ_SECONDS", "20")
SLOWEST = 5  # seconds for one input; a slower one is a finding


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


def fuzz(name: str) -> bool:
    """Fuzz one target in a fresh process; say how it went, and all of it when a rule is broken."""
    KEPT.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as corpus:
        command = [sys.executable, "-m", "tests.fuzz", "--here", name, corpus]
        done = subprocess.run(
            command, cwd=PROJECT, capture_output=True, text=True, errors="replace"
        )
    inputs = re.search(r"number_of_executed_units: (\d+)", done.stderr)
    broken = bool(done.returncode or not inputs)
    counted = f"{int(inputs[1]):10,} inputs" if inputs else ""
    print(f"{name:18} {counted}{' a rule is broken' if broken else ''}", flush=True)
    if broken:
        print(done.stdout[-3000:], done.stderr[-3000:], file=sys.stderr)
    return broken


def main(arguments: list[str]) -> int:
    """Do what the command line says; return 1 when a rule is broken."""
    if arguments[:1] == ["--here"]:
        fuzz_here(*arguments[1:])
        return 0
    load_targets()
    if len(arguments) == 2:
        TARGETS[arguments[0]].check(Path(arguments[1]).read_bytes())
        print("no rule is broken")
        return 0
    broken = [fuzz(name) for name in arguments or TARGETS]
    return int(any(broken))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
