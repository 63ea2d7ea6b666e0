"""Break the code in small ways, one at a time, and see which break is noticed by no test.

    python -m tests.mutants [NAME ...]      all, or those whose names fit, as 'graph.http.*'

Prints the share that was noticed, for each file, and every break that was not; fails when one of
them is not in equivalent_mutants.txt, which has those that make no difference, and why.
mutmut makes the breaks and tries them, in the folder mutants; pyproject.toml says of which files,
and against which tests. It leaves alone what stands outside of functions, and properties.

Not for: tests that need a process of their own; pytest loads this file as a plugin to skip them.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from emulator.azurite import Azurite
from tests.local_app import App

PROJECT = Path(__file__).resolve().parent.parent
MADE = PROJECT / "mutants"
EQUIVALENT = PROJECT / "tests" / "equivalent_mutants.txt"
NOTICED = {1, 3, 36, 24, -24, 152, 255}  # a test failed, pytest itself did, or the time was up


def pytest_configure():
    """Skip what needs a process of its own: it would be started for each break."""

    def started(*_, **__):
        pytest.skip("it starts a process")

    Azurite.__init__ = App.__init__ = started


def pytest_sessionfinish(exitstatus):
    """Let no break be taken for noticed because a test was not found by its name."""
    if exitstatus == pytest.ExitCode.USAGE_ERROR:
        os._exit(exitstatus)


def equivalent(text: str) -> dict[str, str]:
    """Return why a break makes no difference, by the break as `broken` tells it."""
    reasons = {}
    for part in text.split("\n# ")[1:]:
        reason, *breaks = part.strip().split("\n\n")
        reasons |= dict.fromkeys(breaks, " ".join(reason.replace("\n# ", " ").split()))
    return reasons


def broken(path: str, name: str) -> str:
    """Return one break as the lines that differ, below the function's name."""
    from mutmut.mutation.diff_apply import get_diff_for_mutant

    function = name.rpartition(".")[2].rpartition("__mutmut_")[0].replace("ǁ", ".").lstrip("x_.")
    lines = get_diff_for_mutant(name, path=path).splitlines()[3:]
    return "\n".join([f"{path} {function}", *(one for one in lines if one[0] in "+-")])


def report() -> bool:
    """Print what became of all that were tried; tell whether each was noticed or is equivalent."""
    known = equivalent(EQUIVALENT.read_text())
    unnoticed, whys = [], Counter()
    total = Counter()
    print(f"{'file':32} breaks noticed equivalent  share")
    for meta in sorted(MADE.rglob("*.meta")):
        path = str(meta.relative_to(MADE).with_suffix(""))
        codes = json.loads(meta.read_text())["exit_code_by_key"]
        tried = {name: code for name, code in codes.items() if code is not None}
        left = [broken(path, name) for name, code in tried.items() if code not in NOTICED]
        whys.update(known[one] for one in left if one in known)
        unnoticed += [one for one in left if one not in known]
        counts = Counter(
            tried=len(tried), left=len(left), equivalent=sum(one in known for one in left)
        )
        total += counts
        line(path, counts)
    line("all", total)
    for reason, count in whys.most_common():
        print(f"{count:4} {reason}")
    for one in unnoticed:
        print(f"\n{one}")
    return not unnoticed


def line(name: str, counts: Counter[str]) -> None:
    """Print one line of the table."""
    if not counts["tried"]:
        return
    noticed = counts["tried"] - counts["left"]
    share = noticed / (counts["tried"] - counts["equivalent"])
    print(f"{name:32} {counts['tried']:6} {noticed:7} {counts['equivalent']:10} {share:6.1%}")


def main(names: list[str]) -> int:
    """Try them all anew, with as many processes as there are processors."""
    os.chdir(PROJECT)
    shutil.rmtree(MADE, ignore_errors=True)
    mutmut = Path(sys.executable).with_name("mutmut")
    environ = {**os.environ, "PYTHONHASHSEED": "0"}  # the same order of tests each time
    subprocess.run([mutmut, "run", *names], env=environ, check=True)
    return 0 if report() else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
