"""The version stands in one place, and what names it outside of the code agrees."""

from __future__ import annotations

import json
import re
from pathlib import Path

from version import VERSION

PROJECT = Path(__file__).resolve().parents[2]


def test_connector_and_changelog_have_the_version_of_the_app():
    """The newest release of the changelog is the version that the code has."""
    connector = json.loads((PROJECT / "connector/apiDefinition.swagger.json").read_text())
    releases = re.findall(
        r"^## \[(\d[^\]]*)\]", (PROJECT / "CHANGELOG.md").read_text(), re.MULTILINE
    )

    assert re.fullmatch(r"\d+\.\d+\.\d+", VERSION)
    assert (VERSION, VERSION) == (connector["info"]["version"], releases[0])
