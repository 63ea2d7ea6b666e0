"""Break the code in small ways, one at a time, and list those that no test notices.

    python -m tests.mutants [NAME ...]      all, or those whose names fit, as 'graph.http.*'

Fails when one is not noticed and is not in equivalent_mutants.txt, which has those that make no
difference, and why. mutmut makes the breaks and tries them, in the folder mutants; pyproject.toml
says in which files, and against which tests. It leaves alone what stands outside of functions, and
functions that are decorated, as properties are.

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
from tests.support.local_app import App

PROJECT = Path(__file__).resolve().parent.parent
MADE = PROJECT / "mutants"
EQUIVALENT = PROJECT / "tests" / "equivalent_mutants.txt"
FAILED, TIME_UP = {1, 3}, {36, 24, -24, 152, 255}  # as mutmut has them


def pytest_configure():
    """Skip what needs a process of its own: it would be started for each break."""

    def started(*_, **__):
        pytest.skip("it starts a process")

    Azurite.__init__ = App.__init__ = started


def pytest_sessionfinish(exitstatus):
    """Let no break count as noticed because a test was not found by its name.

    pytest escapes ids that a function has made once more when it runs a second time.
    """
    if exitstatus == pytest.ExitCode.USAGE_ERROR:
        os._exit(exitstatus)


def reasons(text: str) -> dict[str, str]:
    """Return why a break makes no difference, by the break as `shown` tells it."""
    found = {}
    for part in text.split("\n# ")[1:]:
        reason, *breaks = part.strip().split("\n\n")
        found |= dict.fromkeys(breaks, reason)
    return found


def shown(path: str, name: str) -> str:
    """Return one break: its file and function, and the lines that differ."""
    from mutmut.mutation.diff_apply import get_diff_for_mutant
    from mutmut.utils.format_utils import orig_function_and_class_names_from_key

    function = ".".join(filter(None, reversed(orig_function_and_class_names_from_key(name))))
    lines = get_diff_for_mutant(name, path=path).splitlines()[3:]
    return "\n".join([f"{path} {function}", *(one for one in lines if one[0] in "+-")])


def report(names: list[str]) -> int:
    """Print what became of all that were tried; return how many have to be looked at."""
    known, total, unnoticed, seen = reasons(EQUIVALENT.read_text()), Counter(), [], []
    print(f"{'file':30} breaks  noticed  no difference  share of the rest")
    for meta in sorted(MADE.rglob("*.meta")):
        path = str(meta.relative_to(MADE).with_suffix(""))
        codes = json.loads(meta.read_text())["exit_code_by_key"]
        tried = {name: code for name, code in codes.items() if code is not None}
        left = [shown(path, one) for one, code in tried.items() if code not in FAILED | TIME_UP]
        same = [one for one in left if one in known]
        seen += same
        unnoticed += [one for one in left if one not in known]
        counts = Counter(breaks=len(tried), left=len(left), same=len(same))
        counts["time up"] = sum(code in TIME_UP for code in tried.values())
        total += counts
        if tried:
            line(path, counts)
    line("all", total)
    print(f"({total['time up']} were noticed by never ending)")
    for reason, count in Counter(known[one] for one in seen).most_common():
        print(f"{count:4}  {reason}")
    stale = [] if names else sorted(known.keys() - set(seen))
    for title, breaks in (("noticed by no test", unnoticed), ("listed, and gone", stale)):
        for one in breaks:
            print(f"\n{title}: {one}")
    return len(unnoticed) + len(stale)


def line(name: str, counts: Counter[str]) -> None:
    """Print one line of the table."""
    noticed = counts["breaks"] - counts["left"]
    share = noticed / (counts["breaks"] - counts["same"])
    print(f"{name:30} {counts['breaks']:6}  {noticed:7}  {counts['same']:13}  {share:.1%}")


def main(names: list[str]) -> int:
    """Try them all anew, with as many processes as there are processors."""
    os.chdir(PROJECT)
    shutil.rmtree(MADE, ignore_errors=True)
    environ = {**os.environ, "PYTHONHASHSEED": "0"}  # the same order of tests each time
    mutmut = Path(sys.executable).with_name("mutmut")
    # Its progress is for a person who watches, a line for each break.
    said = None if sys.stdout.isatty() else subprocess.PIPE
    done = subprocess.run([mutmut, "run", *names], env=environ, stdout=said, text=True)
    if done.returncode:
        print((done.stdout or "")[-5000:], file=sys.stderr)
        return done.returncode
    return 1 if report(names) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
