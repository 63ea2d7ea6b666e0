"""What is deployed: it is the app and nothing else, needs no more than requirements.txt, and runs."""

from __future__ import annotations

import ast
import importlib.metadata
import shutil
import subprocess
import sys

import pytest
from pathspec import GitIgnoreSpec

from scripts.packages import pins
from tests.support import package

PROJECT = package.PROJECT


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder that a deployment sends."""
    folder = tmp_path_factory.mktemp("deployed") / "app"
    package.build(folder)
    return folder


@pytest.fixture(scope="module")
def required(tmp_path_factory):
    """A folder of packages with those of requirements.txt, in its versions, and no other.

    They are linked from where the tests have them, so nothing is installed again.
    """
    folder = tmp_path_factory.mktemp("required")
    for name, version in pins((PROJECT / "requirements.txt").read_text()).items():
        distribution = importlib.metadata.distribution(name)
        assert version == distribution.version, f"{name}: run make setup"
        for file in distribution.files:
            if ".." not in file.parts:
                target = folder / file
                target.parent.mkdir(parents=True, exist_ok=True)
                target.symlink_to(distribution.locate_file(file))
    return folder


def imported(path):
    """The names of the modules that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names)
        if isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{one.name}" for one in node.names)


def own(folder, name):
    """The file of the app that a module's name stands for, if it is one of the app."""
    path = folder / name.replace(".", "/")
    for one in (path.with_suffix(".py"), path / "__init__.py"):
        if one.exists():
            return one
    return own(folder, name.rpartition(".")[0]) if "." in name else None


def test_nothing_is_deployed_that_the_app_does_not_use(built):
    """Every module is imported from function_app.py on; the rest is what the host reads."""
    used, waiting = set(), [built / "function_app.py"]
    while waiting:
        path = waiting.pop()
        if path in used or not path.exists():
            continue
        used.add(path)
        waiting.append(path.parent / "__init__.py")
        waiting += filter(None, (own(built, name) for name in imported(path)))
    files = {path for path in built.rglob("*") if path.is_file()}
    pages = {path for path in files if path.suffix in {".html", ".css", ".js"}}
    text = {path: path.read_text() for path in used | pages}

    assert {"host.json", "requirements.txt"} == {
        str(path.relative_to(built)) for path in files - used - pages
    }
    assert [] == [
        page.name
        for page in pages
        if not any(page.name in one for path, one in text.items() if path != page)
    ]


def test_what_stays_out_of_the_repository_stays_out_of_the_package():
    """Each name in .gitignore is in .funcignore too, or is covered by it."""
    rules = GitIgnoreSpec.from_lines((PROJECT / ".funcignore").read_text().splitlines())
    names = (PROJECT / ".gitignore").read_text().split()

    assert [] == [one for one in names if not rules.match_file(one.replace("*", "some"))]


def test_the_requirements_suffice_for_every_module_of_the_app(built, required):
    """Each is imported beside requirements.txt's packages only: no other is to be found."""
    paths = sorted(path.relative_to(built).with_suffix("") for path in built.rglob("*.py"))
    imports = [f"import {'.'.join(path.parts).removesuffix('.__init__')}" for path in paths]
    start = f"import sys; sys.path[:0] = {[str(built), str(required)]}; sys.dont_write_bytecode = 1"
    code = "\n".join([start, *imports])

    run = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True)

    assert (0, "") == (run.returncode, run.stderr)


def test_it_starts_in_the_local_host_and_answers(built, tmp_path):
    """The host is copied beside it, so that no module of the project makes up for a missing one."""
    shutil.copytree(PROJECT / "emulator", tmp_path / "emulator")
    code = f"""
import json, pathlib
from emulator.run import Local, ask
with Local(app=pathlib.Path({str(built)!r}), settings={{"SWEEP_SCHEDULE": "0 0 0 1 1 *"}}) as local:
    print(ask(local.url + "/api/health", {{}}).decode())
    report = local.sweep()
    print(json.dumps([report["event"], report["ok"]]))
"""

    run = subprocess.run(
        [sys.executable, "-B", "-c", code], cwd=tmp_path, capture_output=True, text=True
    )

    assert ['{"status": "ok"}', '["sweep finished", true]', ""] == run.stdout.split("\n"), (
        run.stderr
    )
