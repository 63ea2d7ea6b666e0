"""What SECURITY.md, CONTRIBUTING.md, CHANGELOG.md, LICENSE and docs/architecture.md state is true."""

from __future__ import annotations

import ast
import re

import pytest

from tests import package
from tests.lines import PROJECT, SECURITY, SUM, count, counted_anew, signing_set

ARCHITECTURE = PROJECT / "docs/architecture.md"
HOUSE = [
    SECURITY,
    ARCHITECTURE,
    *(PROJECT / f"{name}.md" for name in ("CONTRIBUTING", "CHANGELOG")),
]
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
# Which of the app's parts may know which; each also knows those that all may know.
BELOW = {
    "graph": set(),
    "attempts": {"table"},
    "table": set(),
    "reprocess_timer": {"graph", "attempts"},
    "reprocess_http": {"graph", "attempts", "reprocess_timer"},
    "function_app": {"reprocess_http", "reprocess_timer"},
    "settings": {"setting_kinds"},
    "setting_kinds": set(),
    "events": set(),
    "deadline": set(),
}
FOR_ALL = {"settings", "events", "deadline"}


def modules():
    """The deployed modules, as paths inside the project."""
    return [path for path in package.deployed() if path.suffix == ".py"]


def names_of(path):
    """The names of the tests that a file defines."""
    nodes = ast.walk(ast.parse((PROJECT / path).read_text()))
    return {node.name for node in nodes if isinstance(node, ast.FunctionDef)}


def targets():
    """The commands of the Makefile."""
    return set(re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE))


def test_every_test_that_covers_a_threat_exists():
    """By its name, in the file that is named; and there are some."""
    named = TEST.findall(SECURITY.read_text())

    assert len(named) > 50
    assert [] == [(path, name) for path, name in named if name not in names_of(path)]


def test_every_threat_has_a_test_or_says_that_it_has_none():
    """Its line names one, or says plainly what is not covered."""
    text = SECURITY.read_text().partition("## Threats")[2].partition("\n## ")[0]
    lines = [line for line in text.splitlines() if re.match(r"\| (?!threat |---)", line)]

    assert len(lines) > 40
    assert [] == [
        line for line in lines if not re.search(r"::test_|[Nn]ot covered|no test|make check", line)
    ]


def test_the_lines_of_the_signing_set_are_counted_right():
    """Else: python -m tests.lines."""
    text = SECURITY.read_text()

    assert signing_set(text) == {name: count(PROJECT / name) for name in signing_set(text)}
    assert sum(signing_set(text).values()) == int(SUM.search(text)[0])
    assert text == counted_anew(text)


def test_the_signing_set_is_in_order_and_each_file_once():
    """Numbered from one; each link leads to the file that is named."""
    text = SECURITY.read_text()
    rows = re.findall(r"^\| (\d+) \| \[`([^`]+)`\]\(([^)]+)\)", text, re.MULTILINE)

    assert [str(n) for n in range(1, len(rows) + 1)] == [number for number, _, _ in rows]
    assert [name for _, name, _ in rows] == [link for _, _, link in rows]
    assert len(rows) == len(signing_set(text))


@pytest.mark.parametrize(
    "name", ["signatures.py", "status_link.py", "door.py", "http.py", "page.py"]
)
def test_nothing_that_checks_is_missing_from_the_signing_set(name):
    """What decides who gets in, and where a token goes, is read by whoever signs."""
    assert name in {path.rpartition("/")[2] for path in signing_set(SECURITY.read_text())}


def test_whatever_knows_a_secret_is_in_the_signing_set():
    """Every module that compares, signs, or takes a token."""
    knows = re.compile(
        r"\bhmac\b|get_token|Authorization|webhook_secrets|status_link_secret|notify_url"
    )
    found = {str(one) for one in modules() if knows.search((PROJECT / one).read_text())}
    # It asks whether there is an address, to know whether names are needed.
    found -= {"reprocess_timer/sweep.py"}

    assert found
    assert set() == found - signing_set(SECURITY.read_text()).keys()


def test_the_architecture_names_every_deployed_module_and_no_other():
    """The `__init__.py` of the folders are named together."""
    rows = re.findall(r"^\| `([\w/]+\.py)` \|", ARCHITECTURE.read_text(), re.MULTILINE)
    deployed = [str(one) for one in modules() if one.name != "__init__.py"]

    assert sorted(deployed) == sorted(rows)


def test_no_part_knows_one_above_it():
    """As the picture of the architecture says."""
    broken = []
    for path in modules():
        part = path.parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse((PROJECT / path).read_text())):
            names = [one.name for one in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            known = {name.split(".")[0] for name in names} & BELOW.keys()
            broken += [(str(path), one) for one in known - BELOW[part] - FOR_ALL - {part}]

    assert [] == broken


def test_the_list_over_http_knows_four_steps_of_a_sweep():
    """Those that the architecture names, and no other."""
    known = set()
    for path in modules():
        if path.parts[0] == "reprocess_http":
            known |= set(re.findall(r"from reprocess_timer\.(\w+)", (PROJECT / path).read_text()))

    assert {"plan", "failure", "listing", "report"} == known


@pytest.mark.parametrize("path", HOUSE, ids=lambda path: path.name)
def test_every_file_and_folder_that_is_named_exists(path):
    """In backticks with a slash or an ending, or as a link inside the repository."""
    text = path.read_text()
    named = re.findall(r"`((?:[\w.-]+/)+[\w.-]*|[\w-]+\.(?:py|md|txt|in|yaml|bicep|toml))`", text)
    links = re.findall(r"\]\((?!https?:)([^)#\s]+)", text)
    shortened = {one.name for one in modules()}  # in prose a module goes by its name alone

    assert [] == [
        one
        for one in named
        if not (PROJECT / one).exists() and one not in shortened and not one.startswith(".sbom/")
    ]
    assert [] == [one for one in links if not (path.parent / one).exists()]


@pytest.mark.parametrize("path", HOUSE, ids=lambda path: path.name)
def test_every_command_that_is_named_exists(path):
    """`make something` is a target of the Makefile."""
    named = set(re.findall(r"make ([a-z][a-z-]*)(?=[`\n])", path.read_text()))

    assert set() == named - targets()


@pytest.mark.parametrize("path", HOUSE, ids=lambda path: path.name)
def test_every_setting_that_is_named_exists(path):
    """And no misspelt one is asked for."""
    declared = (PROJECT / "settings.py").read_text() + (PROJECT / "setting_kinds.py").read_text()
    families = r"`((?:GRAPH|HTTP|CALLER|WEBHOOK|STATUS|SWEEP|NOTIFY|ATTEMPTS)_[A-Z_]+)`"
    named = re.findall(families, path.read_text())

    assert [] == [one for one in named if f"{one.lower()}:" not in declared]


def test_the_states_of_a_row_are_those_of_the_table():
    """Each column that the architecture names is one that is written."""
    text = ARCHITECTURE.read_text().partition("## A row through its life")[2]
    states = re.findall(r"^\| ([a-z ]+) \| (.*?) \|", text.partition("Who may")[0], re.MULTILINE)
    columns = {one for _, row in states for one in re.findall(r"`([A-Z]\w+)`", row)}
    written = set(
        re.findall(r'^        "([A-Z]\w+)": ', (PROJECT / "table.py").read_text(), re.MULTILINE)
    )

    assert ["never tried", "sent", "refused", "denied", "deferred", "settled", "told", "gone"] == [
        name for name, _ in states if name != "state"
    ]
    assert {"Outcome", "Count", "Last", "Refusal", "Deferred", "Settled", "Told"} == columns
    assert columns <= written


def test_no_deployed_file_has_more_than_three_hundred_lines():
    """As the house style says."""
    assert {} == {str(one): lines for one in modules() if (lines := count(PROJECT / one)) > 300}


def test_the_changelog_keeps_its_form():
    """Headings of Keep a Changelog; a version that is out has its date."""
    text = (PROJECT / "CHANGELOG.md").read_text()
    versions = re.findall(r"^## (.*)$", text, re.MULTILINE)
    kinds = set(re.findall(r"^### (.*)$", text, re.MULTILINE))

    assert "[Unreleased]" == versions[0]
    assert [] == [
        one for one in versions[1:] if not re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", one)
    ]
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_the_changelog_names_every_route():
    """Users look there for what is new to them."""
    routes = re.findall(
        r'route\("([^"]+)", methods=\["(\w+)"\]',
        (PROJECT / "reprocess_http/__init__.py").read_text(),
    )
    text = (PROJECT / "CHANGELOG.md").read_text()

    assert routes
    assert [] == [
        f"{method} /api/{route}"
        for route, method in routes
        if f"`{method} /api/{route}`" not in text and route != "status/{requestId}"  # in a link
    ]


def test_the_licence_is_mit_and_nobodys_in_particular():
    """Its text is the one that SPDX knows as MIT."""
    text = " ".join((PROJECT / "LICENSE").read_text().split())

    assert text.startswith("MIT License Copyright (c) Redeliver contributors Permission is hereby")
    assert 1050 < len(text) < 1100


def test_none_of_it_is_deployed():
    """Documents and pins of tools stay out of the package."""
    deployed = {str(path) for path in package.deployed()}
    house = {"SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE"}

    assert set() == deployed & (house | {"requirements-audit.in", "requirements-audit.txt"})


def test_security_names_every_role_of_the_door():
    """What each credential is worth is told of each that there is."""
    text = SECURITY.read_text().partition("## What each credential")[2].partition("\n## ")[0]

    assert [] == [
        one
        for one in (
            "function key",
            "`CALLER_ROLE`",
            "webhook secret",
            "status link",
            "`STATUS_LINK_SECRET`",
            "`NOTIFY_URL`",
            "Storage Table Data Contributor",
            "identity",
            "log",
            "network",
            "another site",
        )
        if one not in text
    ]
