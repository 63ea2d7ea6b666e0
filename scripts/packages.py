#!/usr/bin/env python3
"""The packages that are deployed: under which licences, and whether an SBOM has them all.

    python scripts/packages.py licences     list them; fails when nobody has allowed one
    python scripts/packages.py project      the app itself, as its SBOM names it
    python scripts/packages.py finish SBOM  leaves out links to downloads; fails unless it has these
                                            packages and no others

They are those of requirements.txt for this platform, as they are installed beside this Python.
Not for: making the SBOM, or asking for vulnerabilities (scripts/supply-chain).
"""

from __future__ import annotations

import importlib.metadata
import json
import re
import sys
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = Path(__file__).resolve().parent.parent
# They ask for their text to be kept and for nothing else; by their SPDX names.
ALLOWED = {"Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MIT-0", "PSF-2.0"}
# Allowed for one package, and why.
EXCEPTIONS = {("certifi", "MPL-2.0"): "its files are deployed as they are; only changes bind"}
# What older packages write in place of an SPDX name.
NAMES = {
    "MIT License": "MIT",
    "Apache Software License": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
}
# The three clauses of a licence whose package gives its text in place of a name.
BSD_3 = ("Redistributions of source code", "Redistributions in binary form", "Neither the name")
# Where the SBOM was made, or where its packages came from, is nobody's business.
PLACES = re.compile(r'file:|"/|[A-Za-z]:\\\\|/(?:home|root|Users|tmp|opt|usr|var)/|\.whl|\.tar\.gz')


def pins(text: str) -> dict[str, str]:
    """Return the versions by name that a requirements.txt pins for this platform."""
    lines = re.findall(r"^[A-Za-z0-9][^\\\n]*", text, re.MULTILINE)
    found = [Requirement(line) for line in lines]
    return {
        canonicalize_name(one.name): str(one.specifier).removeprefix("==")
        for one in found
        if one.marker is None or one.marker.evaluate()
    }


def licence(fields: dict[str, list[str]]) -> str:
    """Return the SPDX name of a package's licence by its metadata, empty where it has none."""
    expression, text = _first(fields, "License-Expression"), _first(fields, "License").strip()
    if expression:
        return expression
    words = " ".join(text.split())
    if all(clause in words for clause in BSD_3):
        return "BSD-3-Clause"
    if text and "\n" not in text:
        return NAMES.get(text, text)
    named = [one for one in fields.get("Classifier", []) if one.startswith("License ::")]
    last = named[0].rpartition(" :: ")[2] if len(named) == 1 else ""
    return NAMES.get(last, last)


def is_allowed(package: str, expression: str) -> bool:
    """Tell whether a licence is one that we may deploy under; what cannot be read is not."""
    if (package, expression) in EXCEPTIONS:
        return True
    if " AND " in expression and " OR " in expression:
        return False
    if " AND " in expression:
        return all(one in ALLOWED for one in expression.split(" AND "))
    return any(one in ALLOWED for one in expression.split(" OR "))


def differences(sbom: dict[str, Any], wanted: dict[str, str]) -> list[str]:
    """Return a sentence for each thing that is wrong with an SBOM."""
    parts = sbom.get("components", [])
    found = {canonicalize_name(one["name"]): one["version"] for one in parts}
    wrong = [f"{name} {wanted[name]} is missing" for name in sorted({*wanted} - {*found})]
    wrong += [f"{name} {found[name]} is not deployed" for name in sorted({*found} - {*wanted})]
    wrong += [
        f"{name} is {found[name]} and should be {wanted[name]}"
        for name in sorted({*found} & {*wanted})
        if found[name] != wanted[name]
    ]
    wrong += [f"{one['name']} has no licence" for one in parts if not one.get("licenses")]
    links = [link for one in parts for link in one.get("externalReferences", [])]
    wrong += [f"it names a place: {one['url']}" for one in links if _is_download(one)]
    text = json.dumps(sbom)
    wrong += [f"it names a place: {text[one.start() :][:60]}" for one in PLACES.finditer(text)]
    return wrong


def list_licences() -> int:
    """Print name, version and licence of each package; return 1 when one is not allowed."""
    refused = 0
    for name, version in _deployed().items():
        metadata = importlib.metadata.metadata(name)
        if metadata["Version"] != version:
            return _fail(f"{name} {version} is not installed here: run make setup")
        fields = {one: metadata.get_all(one) or [] for one in set(metadata)}
        found = licence(fields)
        why = EXCEPTIONS.get((name, found), "")
        said = f"{found or 'unknown'}{', ' if why else ''}{why}"
        sys.stdout.write(f"{name:20} {version:12} {said}\n")
        if not is_allowed(name, found):
            refused = _fail(f"{name}: nobody has allowed the licence {found or 'that is unknown'}")
    return refused


def print_project() -> int:
    """Print a pyproject.toml of the app, which the repository has no other use for."""
    lines = (PROJECT / "requirements.in").read_text().splitlines()
    needed = [line for line in lines if line and not line.startswith("#")]
    sys.stdout.write(
        f'[project]\nname = "redeliver"\ndynamic = ["version"]\nlicense = "MIT"\n'
        f"dependencies = {json.dumps(needed)}\n"
    )
    return 0


def finish(path: Path) -> int:
    """Rewrite an SBOM without links to downloads; print what is wrong, return 1 if anything is."""
    sbom = json.loads(path.read_text())
    for one in (*sbom["metadata"]["tools"]["components"], *sbom["components"]):
        links = [link for link in one.pop("externalReferences", []) if not _is_download(link)]
        if links:
            one["externalReferences"] = links
    path.write_text(json.dumps(sbom, indent=2) + "\n")
    wrong = differences(sbom, _deployed())
    return _fail("\n".join(wrong)) if wrong else 0


def _deployed() -> dict[str, str]:
    return pins((PROJECT / "requirements.txt").read_text())


def _is_download(link: dict[str, str]) -> bool:
    return link["type"] == "distribution"


def _first(fields: dict[str, list[str]], name: str) -> str:
    return next(iter(fields.get(name, [])), "")


def _fail(what: str) -> int:
    sys.stderr.write(f"{what}\n")
    return 1


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["licences"]:
            sys.exit(list_licences())
        case ["project"]:
            sys.exit(print_project())
        case ["finish", sbom]:
            sys.exit(finish(Path(sbom)))
        case _:
            sys.exit(__doc__)
