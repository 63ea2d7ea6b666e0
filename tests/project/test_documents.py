"""docs/deploy.md and docs/operations.md: what they show is real, and what they count is right."""

from __future__ import annotations

import json
import re

import pytest

from tests.project.test_infra import GUID, ROLES
from tests.support.bicep import INFRA
from tests.support.event_schema import EVENTS
from tests.support.local_app import App

PROJECT = INFRA.parent
DEPLOY = (PROJECT / "docs/deploy.md").read_text()
OURS = [PROJECT / "docs/deploy.md", PROJECT / "docs/operations.md"]
DOCUMENTS = [PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md"))]


def shown(what):
    """The JSON that a document shows as the real output of something."""
    return json.loads(re.search(rf"<!-- real: {what} -->\n```json\n(.*?)```", DEPLOY, re.DOTALL)[1])


def masked(value):
    """The same without what differs from run to run: ids, times, counts of the tenant."""
    text = GUID.sub("<id>", json.dumps(value))
    text = re.sub(r"\d{4}-\d\d-\d\dT[\d:]+Z", "<time>", text)
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


def test_operations_names_every_event_and_no_other():
    """A new event needs a line there."""
    table = (
        (PROJECT / "docs/operations.md").read_text().partition("| event |")[2].partition("\n\n")[0]
    )
    named = [
        name
        for row in table.splitlines()[2:]
        for name in re.findall(r"`([^`]+)`", row.split("|")[1])
    ]

    assert sorted(EVENTS) == sorted(named)


def test_one_version_of_each_azure_api_is_asked_for():
    """US Government does not know newer ones of Microsoft.Web."""
    texts = [
        path.read_text() for path in [*OURS, *(PROJECT / "scripts").glob("*")] if path.is_file()
    ]

    assert {"2024-04-01"} == {
        one for text in texts for one in re.findall(r"api-version=([\w-]+)", text)
    }


def test_roles_of_the_workflow_are_those_that_the_template_assigns():
    """No more, so that the condition on its role lets it deploy and nothing else."""
    condition = DEPLOY.partition("three='{")[2].partition("}")[0]

    assert set(ROLES.values()) == set(condition.split(", "))
