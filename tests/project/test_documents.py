"""Documents lead somewhere, and name only events, fields and API versions that there are.

Not for: what they state about the code (test_house.py), or their commands (`make check-docs`).
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.support.event_schema import COMMON, EVENTS

PROJECT = Path(__file__).resolve().parents[2]
DOCUMENTS = [*PROJECT.glob("*.md"), *PROJECT.glob("docs/*.md")]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_inside_the_repository_leads_somewhere(path):
    """To a file that is there, and in a document to a heading that it has."""
    broken = []
    for link in re.findall(r"\]\((?!https?:)([^)\s]+)\)", path.read_text()):
        name, _, heading = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        if not target.exists() or (heading and heading not in headings(target)):
            broken.append(link)

    assert [] == broken


def headings(path):
    """The anchors of a document's headings, as GitHub makes them."""
    lines = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
    return [re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in lines]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_a_document_names_events_and_fields_that_are_logged(path):
    """In "line `x`" and "event `x`", and in whole lines."""
    text = path.read_text()
    named = re.findall(r"(?:line|event)s? `([^`]+)`", text)
    lines = [json.loads(one) for one in re.findall(r'(?m)^\{"event": .*\}$', text)]
    known = {name: {"event", *f"{COMMON} {fields}".split()} for name, fields in EVENTS.items()}

    assert set() == set(named) - set(EVENTS)
    assert [] == [(one, wrong) for one in lines if (wrong := set(one) - known[one["event"]])]


def test_operations_names_every_event_and_no_other():
    """A new event needs a line there."""
    text = (PROJECT / "docs/operations.md").read_text()
    rows = text.partition("| event |")[2].partition("\n\n")[0].splitlines()[2:]
    named = [name for row in rows for name in re.findall(r"`([^`]+)`", row.split("|")[1])]

    assert sorted(EVENTS) == sorted(named)


def test_one_version_of_each_azure_api_is_asked_for():
    """US Government does not know newer ones of Microsoft.Web."""
    paths = [path for path in [*DOCUMENTS, *PROJECT.glob("scripts/*")] if path.is_file()]
    found = re.findall(r"api-version=([\w-]+)", "".join(path.read_text() for path in paths))

    assert {"2024-04-01"} == set(found)
