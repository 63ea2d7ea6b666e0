"""What is deployed comes with hashes, under licences that somebody allowed, and in the SBOM."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from scripts.packages import PROJECT, differences, is_allowed, licence, pins

PINNED = [f"requirements{part}.txt" for part in ("", "-audit", "-run", "-dev")]
WANTED = {"requests": "2.34.2", "typing-extensions": "4.16.0"}

A_HOME = "/".join(("", "home", "some", "one"))  # noqa: FLY002 - a search for places finds none here


def part(name="requests", version="2.34.2", **more):
    """One package as an SBOM has it."""
    return {"name": name, "version": version, "licenses": [{"license": {"id": "MIT"}}], **more}


TYPING = part("typing_extensions", "4.16.0")


@pytest.mark.parametrize("name", PINNED)
def test_every_package_is_pinned_with_hashes(name):
    """One version of each, and at least one SHA-256 of it; nothing else is in the file.

    The one that is deployed says so itself, since another installer's own choice decides there.
    """
    text = (PROJECT / name).read_text().replace("\\\n", " ")
    assert text.startswith("--require-hashes\n") is (name == "requirements.txt")
    text = text.removeprefix("--require-hashes\n")
    lines = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
    right = re.compile(r"[a-z0-9.\-\[\]]+==\S+( ; [^#]+?)?(\s+--hash=sha256:[0-9a-f]{64})+\s*")

    assert lines
    assert [] == [line for line in lines if not right.fullmatch(line)]


def test_every_action_of_the_workflows_is_named_by_its_commit():
    """A tag can be moved to other code, a commit cannot; which tag it was stands behind it."""
    texts = [path.read_text() for path in (PROJECT / ".github/workflows").iterdir()]
    used = re.findall("uses: (.*)", "\n".join(texts))
    right = re.compile(r"[\w.-]+/[\w.-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+")

    assert used
    assert [] == [one for one in used if not right.fullmatch(one)]


def test_the_licences_are_listed_and_allowed():
    """By the command itself, for every package of requirements.txt."""
    command = [sys.executable, PROJECT / "scripts/packages.py", "licences"]
    run = subprocess.run(command, capture_output=True, text=True)

    assert (0, "") == (run.returncode, run.stderr)
    listed = dict(line.split()[:2] for line in run.stdout.splitlines())
    assert pins((PROJECT / "requirements.txt").read_text()) == listed


@pytest.mark.parametrize(("fields", "found"), [
    ({"License-Expression": ["MIT-0"], "License": ["other"]}, "MIT-0"),
    ({"License": ["MIT License"], "Classifier": []}, "MIT"),
    ({"License": [""], "Classifier": ["License :: OSI Approved :: MIT License"]}, "MIT"),
    ({"License": ["Redistributions of source code\nRedistributions in binary\nform Neither the name"]}, "BSD-3-Clause"),
    ({"License": ["GPLv3"]}, "GPLv3"),
    ({"License": ["A text\nof its own"], "Classifier": []}, ""),
    ({"Classifier": ["License :: A :: MIT License", "License :: A :: GPL"]}, ""),
    ({}, ""),
])  # fmt: skip
def test_a_licence_is_found_in_each_place(fields, found):
    """A text that is no known licence is unknown; so are two classifiers that differ."""
    assert found == licence(fields)


@pytest.mark.parametrize(("package", "expression", "allowed"), [
    ("some", "MIT", True),
    ("some", "GPL-3.0-only OR MIT", True),
    ("some", "Apache-2.0 AND MIT", True),
    ("some", "Apache-2.0 AND GPL-3.0-only", False),
    ("some", "MIT OR Apache-2.0 AND GPL-3.0-only", False),
    ("some", "MPL-2.0", False),
    ("certifi", "MPL-2.0", True),
    ("certifi", "GPL-3.0-only", False),
    ("some", "", False),
])  # fmt: skip
def test_copyleft_and_unknown_are_refused(package, expression, allowed):
    """An exception is for one package and one licence."""
    assert allowed is is_allowed(package, expression)


@pytest.mark.parametrize(("parts", "wrong"), [
    ([part(externalReferences=[{"type": "website", "url": "https://requests.readthedocs.io/"}]), TYPING], []),
    ([part()], ["typing-extensions 4.16.0 is missing"]),
    ([part(), TYPING, part("pip", "1")], ["pip 1 is not deployed"]),
    ([part(version="1"), TYPING], ["requests is 1 and should be 2.34.2"]),
    ([part(licenses=[]), TYPING], ["requests has no licence"]),
    ([part(externalReferences=[{"type": "distribution", "url": "https://some/"}]), TYPING], ["it names a place: https://some/"]),
    ([part(purl="file:some"), TYPING], ["it names a place: file:some"]),
    ([part(purl=f"x {A_HOME}"), TYPING], [f"it names a place: {A_HOME}"]),
])  # fmt: skip
def test_an_sbom_has_what_is_deployed_and_nothing_of_where_it_was_made(parts, wrong):
    """Each difference is a sentence. Names may be spelt otherwise, and addresses of projects be in it."""
    found = [one.partition('"')[0] for one in differences({"components": parts}, WANTED)]

    assert wrong == found


def test_an_audit_is_strict():
    """Else pip-audit passes over what its service does not know, and says that all is well."""
    assert "pip-audit --strict " in (PROJECT / "scripts/supply-chain").read_text()
