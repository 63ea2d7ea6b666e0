"""What the documents state about the code is true."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest

from tests.support.package import deployed
from version import VERSION

PROJECT = Path(__file__).resolve().parents[2]
SECURITY = (PROJECT / "SECURITY.md").read_text()
ARCHITECTURE = (PROJECT / "docs/architecture.md").read_text()
DOCUMENTS = [*PROJECT.glob("*.md"), *PROJECT.glob("docs/*.md")]
MODULES = [path for path in deployed() if path.suffix == ".py"]
# The app's parts from the top to the bottom: each imports only those below it. The two triggers
# stand side by side.
ORDER = [
    "function_app",
    "reprocess_http",
    "reprocess_timer",
    "planning",
    "reprocessing",
    "graph",
    "attempt_store",
    "table",
    "table_client",
    "attempts",
    "settings",
    "setting_types",
    "schedule",
    "session",
    "events",
    "version",
    "deadline",
]


def parts_imported_by(path):
    """The app's own parts that a module imports."""
    for node in ast.walk(ast.parse((PROJECT / path).read_text())):
        names = [one.name for one in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        yield from ({name.split(".")[0] for name in names} & {*ORDER})


def test_no_part_imports_one_above_it():
    """And neither trigger imports the other."""
    broken = []
    for path in MODULES:
        part = path.parts[0].removesuffix(".py")
        for other in parts_imported_by(path):
            is_above = ORDER.index(other) < ORDER.index(part)
            if is_above or {part, other} == {"reprocess_http", "reprocess_timer"}:
                broken.append((str(path), other))

    assert [] == broken


def test_the_architecture_names_every_deployed_module_and_no_other():
    """Those in `__init__.py` are named together."""
    rows = re.findall(r"^\| `([\w/]+\.py)` \|", ARCHITECTURE, re.MULTILINE)

    assert sorted(str(one) for one in MODULES if one.name != "__init__.py") == sorted(rows)


def code_lines(path):
    """How many lines are not blank, comment or docstring."""
    text = (PROJECT / path).read_text()
    code = {
        number for number, line in enumerate(text.splitlines(), 1) if line.split("#")[0].strip()
    }
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Expr(ast.Constant(str()), lineno=first, end_lineno=last):
                code -= {*range(first, last + 1)}
    return len(code)


def test_no_deployed_file_is_longer_than_a_reader_can_hold():
    """260 lines of code."""
    assert {} == {str(one): lines for one in MODULES if (lines := code_lines(one)) > 260}


def test_every_threat_names_its_tests_or_says_that_it_has_none():
    """By file; and each file exists."""
    text = SECURITY.partition("## Threats")[2].partition("\n## ")[0]
    rows = [line for line in text.splitlines() if re.match(r"\| (?!threat |---)", line)]

    assert len(rows) > 30
    assert [] == [row for row in rows if not re.search(r"`tests/|not covered", row)]


def test_whatever_knows_a_secret_is_in_the_lists_to_read():
    """Every module that compares, signs, or takes a token."""
    knows = re.compile(
        r"\bhmac\b|get_token|Authorization|webhook_secrets|status_link_secret|settings.notify_url"
    )
    listed = set(re.findall(r"\]\(([\w/.]+)\)", SECURITY.partition("## What to read")[2]))
    found = {str(one) for one in MODULES if knows.search((PROJECT / one).read_text())}
    # They ask whether there is such a setting, or hand it on to the module that signs.
    found -= {"planning/causes.py", "reprocess_timer/sweep.py"}
    found -= {"reprocess_http/reprocess_request.py"}

    assert found
    assert set() == found - listed


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_file_and_folder_that_is_named_exists(path):
    """In backticks, below one of the project's folders. Links: test_documents.py."""
    folders = r"tests|docs|graph|planning|reprocess\w*|emulator|scripts"
    named = re.findall(rf"`((?:{folders})/[\w./-]*)`", path.read_text())

    assert [] == [one for one in named if not (PROJECT / one).exists()]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_that_is_named_exists(path):
    """`make something` is a target of the Makefile."""
    named = set(re.findall(r"make ([a-z][a-z-]*)(?=[`\n])", path.read_text()))
    targets = set(re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE))

    assert set() == named - targets


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_setting_that_is_named_exists(path):
    """And no misspelt one is asked for."""
    declared = (PROJECT / "settings.py").read_text()
    prefixes = r"`((?:GRAPH|HTTP|CALLER|WEBHOOK|STATUS|SWEEP|NOTIFY|ATTEMPTS)_[A-Z_]+)`"

    assert [] == [
        one for one in re.findall(prefixes, path.read_text()) if f"{one.lower()}:" not in declared
    ]


def test_the_columns_that_the_architecture_names_are_those_of_the_table():
    """In the section about a record's life."""
    text = ARCHITECTURE.partition("## The life of a record")[2].partition("\n## ")[0]
    table = (PROJECT / "table.py").read_text()

    assert [] == [one for one in re.findall(r"`([A-Z]\w+)`", text) if one not in table]


def test_connector_and_changelog_have_the_version_of_the_app():
    """The newest release of the changelog is the version that the code has."""
    connector = json.loads((PROJECT / "connector/apiDefinition.swagger.json").read_text())
    releases = re.findall(r"(?m)^## \[(\d+\.\d+\.\d+)\]", (PROJECT / "CHANGELOG.md").read_text())

    assert (VERSION, VERSION) == (connector["info"]["version"], releases[0])
