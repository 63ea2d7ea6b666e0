"""docs/deploy.md and docs/operations.md: what they show is real, and what they count is right."""

from __future__ import annotations

import json
import re

import pytest
import tree_sitter
import tree_sitter_powershell

from events import EVENTS
from tests.bicep import INFRA
from tests.local_app import App
from tests.test_infra import GUID

PROJECT = INFRA.parent
DEPLOY = (PROJECT / "docs/deploy.md").read_text()
DOCUMENTS = [PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md"))]


def shown(what):
    """The JSON that a document shows as the real output of something."""
    return json.loads(re.search(rf"<!-- real: {what} -->\n```json\n(.*?)```", DEPLOY, re.DOTALL)[1])


def masked(value):
    """The same without what differs from run to run: ids, addresses, times, counts of the tenant."""
    text = GUID.sub("<id>", json.dumps(value))
    text = re.sub(r"http://127\.0\.0\.1:\d+|https://graph\.microsoft\.com", "<graph>", text)
    return json.loads(re.sub(r"(?<=: )\d+(\.\d+)?", "0", text))


@pytest.fixture(scope="module")
def fresh_deployment(azurite):
    """The app as it is after a deployment: a dry run, and a table."""
    settings = {
        "AzureWebJobsStorage": azurite.connection_string,
        "SWEEP_DRY_RUN": "true",
        "SWEEP_SCHEDULE": "0 0 0 1 1 *",
    }
    with App(settings=settings, graph_options=("--requests", "120")) as app:
        yield app


def test_the_diagnosis_that_is_shown_is_real(fresh_deployment):
    """Only ids, the address and milliseconds are others."""
    answer = fresh_deployment.call("GET", "/api/diagnosis")

    assert (200, masked(shown("diagnosis"))) == (answer.status, masked(answer.body))


def test_the_report_that_is_shown_is_real(fresh_deployment):
    """It has the fields of a dry sweep, in their order, and its numbers add up as the text says."""
    fresh_deployment.sweep()
    (report,) = fresh_deployment.logged("sweep finished")
    example = shown("sweep finished")

    assert list(example) == list(report)
    assert masked(example) == masked(report)
    assert example["found"] == sum(example[one] for one in ("due", "cooling", "expired"))
    numbers = (example[one] for one in ("due", "found", "cooling", "expired"))
    assert (
        "{} of {} would be reprocessed, {} failed too recently, and {} are".format(*numbers)
        in DEPLOY
    )


def test_the_costs_are_right():
    """Each sum in the table is worked out again."""
    table = DEPLOY.partition("| a month |")[2].partition("\n\n")[0]
    sums = re.findall(r"([\d(][\d.,*/+()\- ]+) = \**([\d,.]+\d)", table)

    assert 14 == len(sums)
    assert [] == [
        (left, right)
        for left, right in sums
        if f"{eval(left):,.2f}".removesuffix(".00") != right.removesuffix(".00")
    ]


def test_powershell_parses():
    """By its grammar for tree-sitter."""
    parser = tree_sitter.Parser(tree_sitter.Language(tree_sitter_powershell.language()))
    blocks = re.findall(r"```powershell\n(.*?)```", DEPLOY, re.DOTALL)

    assert [] == [one for one in blocks if parser.parse(one.encode()).root_node.has_error]


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


def test_operations_names_every_event_with_its_fields_and_no_other():
    """A new event, or a new field, needs a line there."""
    text = (PROJECT / "docs/operations.md").read_text().partition("## Every line")[2]
    rows = re.findall(r"^\| `([^`]+)` \| [^|]* \| ([^|]*) \|", text, re.MULTILINE)
    named = {name: sorted(re.findall(r"`(\w+)`", fields)) for name, fields in rows}
    shared = {
        group: set(re.findall(r"`(\w+)`", text.partition(f"**{group}**")[2].partition("\n")[0]))
        for group in ("HTTP", "Graph")
    }
    for name, fields in rows:
        for group, more in shared.items():
            if group in fields:
                named[name] = sorted({*named[name], *more})

    assert {name: sorted(fields.split()) for name, fields in EVENTS.items()} == named
