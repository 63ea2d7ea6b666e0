"""Mutation testing: break the code in small ways, one at a time, and list what no test notices.

    python -m tests.mutants [NAME ...]      all, or those whose names match, as 'graph.client.*'

Fails when a mutant survives that is not in equivalent_mutants.txt, which lists those that make no
difference, with the reason. mutmut makes the mutants and runs the tests on them, in the directory
mutants; pyproject.toml names the files and the tests. mutmut changes function bodies only, and no
decorated function, such as a property.

Not for: tests that start a process; pytest loads this file as a plugin that skips them.
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
MUTANTS = PROJECT / "mutants"
EQUIVALENT = PROJECT / "tests" / "equivalent_mutants.txt"
# Exit codes of mutmut's runs: a test failed (1), or pytest itself (3); the time was over.
FAILED, TIMED_OUT = {1, 3}, {36, 24, -24, 152, 255}


def pytest_configure():
    """Skip what starts a process: it would be started for each mutant."""

    def skip(*_, **__):
        pytest.skip("it starts a process")

    Azurite.__init__ = App.__init__ = skip


def pytest_collection_modifyitems(items):
    """Live a few worlds only: most mutants are noticed before them, and some live all of them."""
    for module in {item.module for item in items}:
        if hasattr(module, "WORLDS"):
            module.WORLDS = 5


def pytest_sessionfinish(exitstatus):
    """Count no mutant as noticed because pytest did not find a test by its id.

    pytest escapes ids that a function has made once more when it runs a second time.
    """
    if exitstatus == pytest.ExitCode.USAGE_ERROR:
        os._exit(exitstatus)


def reasons(text: str) -> dict[str, str]:
    """Return why a mutant makes no difference, by the mutant as `describe` returns it."""
    found = {}
    for part in text.split("\n# ")[1:]:
        reason, *mutants = part.strip().split("\n\n")
        found |= dict.fromkeys(mutants, reason)
    return found


def describe(path: str, name: str) -> str:
    """Return one mutant as text: its file and function, and the lines that differ."""
    from mutmut.mutation.diff_apply import get_diff_for_mutant
    from mutmut.utils.format_utils import orig_function_and_class_names_from_key

    function = ".".join(filter(None, reversed(orig_function_and_class_names_from_key(name))))
    lines = get_diff_for_mutant(name, path=path).splitlines()[3:]
    return "\n".join([f"{path} {function}", *(one for one in lines if one[0] in "+-")])


def report(names: list[str]) -> int:
    """Print the results; return how many mutants and list entries need to be looked at."""
    known, total, unnoticed, listed = reasons(EQUIVALENT.read_text()), Counter(), [], []
    print(f"{'file':30} mutants  noticed  no difference  noticed of the others")
    for meta in sorted(MUTANTS.rglob("*.meta")):
        path = str(meta.relative_to(MUTANTS).with_suffix(""))
        codes = json.loads(meta.read_text())["exit_code_by_key"]
        run = {name: code for name, code in codes.items() if code is not None}
        survived = [
            describe(path, one) for one, code in run.items() if code not in FAILED | TIMED_OUT
        ]
        same = [one for one in survived if one in known]
        listed += same
        unnoticed += [one for one in survived if one not in known]
        counts = Counter(mutants=len(run), survived=len(survived), same=len(same))
        counts["timed out"] = sum(code in TIMED_OUT for code in run.values())
        total += counts
        if run:
            print_row(path, counts)
    print_row("all", total)
    print(f"({total['timed out']} were noticed because the tests did not end)")
    for reason, count in Counter(known[one] for one in listed).most_common():
        print(f"{count:4}  {reason}")
    stale = [] if names else sorted(known.keys() - set(listed))
    for title, mutants in (("noticed by no test", unnoticed), ("listed, but noticed", stale)):
        for one in mutants:
            print(f"\n{title}: {one}")
    return len(unnoticed) + len(stale)


def print_row(name: str, counts: Counter[str]) -> None:
    """Print one row of the table."""
    noticed = counts["mutants"] - counts["survived"]
    share = noticed / ((counts["mutants"] - counts["same"]) or 1)
    print(f"{name:30} {counts['mutants']:7}  {noticed:7}  {counts['same']:13}  {share:.1%}")


def main(names: list[str]) -> int:
    """Make and run all mutants anew, with as many processes as there are processors."""
    os.chdir(PROJECT)
    shutil.rmtree(MUTANTS, ignore_errors=True)
    environ = {**os.environ, "PYTHONHASHSEED": "0"}  # the same order of tests each time
    mutmut = Path(sys.executable).with_name("mutmut")
    # Its progress output is for a person who watches: a line for each mutant.
    output = None if sys.stdout.isatty() else subprocess.PIPE
    done = subprocess.run([mutmut, "run", *names], env=environ, stdout=output, text=True)
    if done.returncode:
        print((done.stdout or "")[-5000:], file=sys.stderr)
        return done.returncode
    return 1 if report(names) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
