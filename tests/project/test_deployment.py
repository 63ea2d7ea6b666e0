"""What documents and the workflow tell azd to do, before a stand-in with azd's own rules.

Not for: what the template deploys (test_infra.py), or what real tools say (test_documents.py and the
list at the end of docs/deploy.md).
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
import yaml

import settings
from attempts import AttemptRecord
from graph import Request
from planning.plan import FailedRequest, PlanStatus, classify
from tests.support.az import SITE
from tests.support.bicep import INFRA

PROJECT = INFRA.parent
DOCUMENTS = [PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md"))]
DEPLOY = (PROJECT / "docs/deploy.md").read_text()
OPERATIONS = (PROJECT / "docs/operations.md").read_text()
WORKFLOW = yaml.safe_load((PROJECT / ".github/workflows/azure-dev.yml").read_text())
DECIDED = {
    "AZURE_ENV_NAME": "test",
    "AZURE_LOCATION": "westeurope",
    "REDELIVER_SWEEP_DRY_RUN": "false",
    "REDELIVER_ALERT_EMAIL": "on-call@example.org",
    "REDELIVER_NETWORK": "private",
    "REDELIVER_IDENTITY_ID": "/subscriptions/one/resourceGroups/rg-identities/identities/theirs",
    "REDELIVER_AUTH_CLIENT_ID": "33333333-3333-4333-8333-333333333333",
    "REDELIVER_ALLOWED_APPLICATIONS": '["44444444-4444-4444-8444-444444444444"]',
    "REDELIVER_WEBHOOK_SECRETS": "@Microsoft.KeyVault(SecretUri=https://v/secrets/webhook)",
    "REDELIVER_STATUS_LINK_SECRET": "@Microsoft.KeyVault(SecretUri=https://v/secrets/link)",
    "REDELIVER_NOTIFY_URL": "@Microsoft.KeyVault(SecretUri=https://v/secrets/notices)",
    "REDELIVER_APP_SETTINGS": '{"SWEEP_COOLDOWN_MINUTES": "120"}',
}


class Desk:
    """An administrator's shell, where azd, az and gh are stand-ins that share one state."""

    def __init__(self, folder):
        self.folder = folder
        self.file = folder / "state.json"
        tools = {tool: f"-m tests.support.azd {tool}" for tool in ("azd", "gh")}
        tools |= {"az": "-m tests.support.az", "python3": ""}
        for name, does in tools.items():
            text = f'#!/bin/sh\nPYTHONPATH={PROJECT} exec {sys.executable} {does} "$@"\n'
            (folder / name).write_text(text)
        for name in ("curl", "jq"):
            (folder / name).write_text("#!/bin/sh\ncat >/dev/null </dev/null; echo token\n")
        for one in folder.iterdir():
            one.chmod(0o755)
        self.file.write_text(json.dumps({"env": dict(DECIDED)}))

    @property
    def state(self):
        return json.loads(self.file.read_text())

    def change(self, **parts):
        self.file.write_text(json.dumps(self.state | parts))

    def run(self, script, **environ):
        """Run a script as sh does; return its exit code and what it said."""
        run = subprocess.run(
            ["/bin/sh", "-e", "-c", script],
            cwd=PROJECT,
            env={"PATH": f"{self.folder}:/usr/bin:/bin", "AZ_STATE": str(self.file), **environ},
            capture_output=True,
            text=True,
        )
        return run.returncode, run.stdout + run.stderr

    def workflow(self):
        """Run the workflow's steps on a fresh machine; return as `run` does."""
        stored = self.state.get("github", {})
        self.change(env={})

        def value(text):
            where, name = re.fullmatch(r"\$\{\{ (vars|secrets)\.(\w+) \}\}", text).groups()
            return stored.get(where, {}).get(name, "")

        job = WORKFLOW["jobs"]["deploy"]
        environ = {name: value(text) for name, text in job["env"].items()}
        environ |= {"ACTIONS_ID_TOKEN_REQUEST_TOKEN": "t", "ACTIONS_ID_TOKEN_REQUEST_URL": "u"}
        for step in job["steps"]:
            code, said = self.run(step.get("run", ""), **environ)
            if code:
                return code, said
        return 0, ""


@pytest.fixture
def desk(tmp_path):
    """Everything is decided, and deployed."""
    made = Desk(tmp_path)
    assert (0, "") == made.run("azd provision")
    return made


def block(text, name):
    """The sh block of a document that is marked with this name."""
    return re.search(rf"<!-- {name} -->\n```sh\n(.*?)```", text, re.DOTALL)[1]


NAMES = f"group=rg-test; app=app; site={SITE}; storage=some\n"
STORE = re.search(r"```sh\n(azd pipeline config.*?)```", DEPLOY, re.DOTALL)[1]


# -- stop, and back --


def test_everything_is_stopped_and_started_again(desk):
    """With one command each."""
    for name, stopped in (("stop: everything", True), ("start: everything", False)):
        assert (0, "") == desk.run(NAMES + block(OPERATIONS, name))
        assert stopped is desk.state["cloud"]["stopped"]


def test_sweeps_are_stopped_and_switched_on_again(desk):
    """Also by somebody whose azd has deployed exactly this before."""
    dry = []
    for name in ("stop: sweeps", "start: sweeps"):
        assert (0, "") == desk.run(NAMES + block(OPERATIONS, name))
        dry.append(desk.state["cloud"]["settings"]["SWEEP_DRY_RUN"])

    assert ["true", "false"] == dry


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_a_document_never_goes_back_without_no_state(path):
    """A setting may have been changed by hand before, by this document or another one."""
    provisions = re.findall(r"azd provision(?! --preview)[^\n`|&]*", path.read_text())
    applied = [one for one in provisions if one.strip() != "azd provision"]
    blocks = "\n".join(re.findall(r"```sh\n(.*?)```", path.read_text(), re.DOTALL))

    assert all("--no-state" in one for one in applied)
    assert [] == re.findall(r"^azd provision(?! --no-state)", blocks, re.MULTILINE)


def test_one_request_is_kept_from_sweeps_until_its_window_closes():
    """Whatever SWEEP_MAX_ATTEMPTS is, by the row that the documented command writes."""
    command = block(OPERATIONS, "stop: one request")
    written = dict(re.findall(r"(\w+)=(\w+)", command.partition("--entity")[2]))
    most = {"SWEEP_MAX_ATTEMPTS": "1000"}
    now = datetime(2026, 11, 30, tzinfo=UTC)
    record = AttemptRecord("7999249e-249e-4999-9e24-99799e249979", count=int(written["Count"]))
    statuses = []
    for days in (1, 13, 15):
        request = Request(
            record.request_id, "deliveryFailed", "userAdd", now - timedelta(days=days)
        )
        statuses.append(classify(FailedRequest.of(request, record), settings.load(most), now))

    assert "attempts" == written["PartitionKey"]
    assert [PlanStatus.EXHAUSTED, PlanStatus.EXHAUSTED, PlanStatus.EXPIRED] == statuses


# -- from GitHub --


def test_the_workflow_passes_on_every_decision():
    """The three secrets as secrets, all else as variables, each by its name."""
    names = {
        one["value"].strip("${}")
        for one in json.loads((INFRA / "main.parameters.json").read_text())["parameters"].values()
    }
    given = WORKFLOW["jobs"]["deploy"]["env"]
    secret = {"WEBHOOK_SECRETS", "STATUS_LINK_SECRET", "NOTIFY_URL"}

    assert names | {"AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_SUBSCRIPTION_ID"} == set(given)
    assert {
        name: "secrets" if name.removeprefix("REDELIVER_") in secret else "vars" for name in given
    } == {name: re.search(r"(\w+)\.", text)[1] for name, text in given.items()}
    assert all(text.endswith(f".{name} }}}}") for name, text in given.items())


def test_a_deployment_from_github_changes_nothing(desk):
    """After the documented commands: settings, secrets, callers and network are as they were."""
    before = desk.state["cloud"]

    assert (0, "") == desk.run(STORE)
    assert (0, "") == desk.workflow()

    assert (before, 1) == (desk.state["cloud"], desk.state["deploys"])


@pytest.mark.parametrize("name", sorted(one for one in DECIDED if one.startswith("REDELIVER_")))
def test_the_workflow_stops_before_it_loses_something(desk, name):
    """It names what is missing, and nothing is deployed."""
    desk.run(STORE)
    github = desk.state["github"]
    desk.change(
        github={where: {k: v for k, v in one.items() if k != name} for where, one in github.items()}
    )
    before = desk.state["cloud"]

    code, said = desk.workflow()

    assert 1 == code
    assert name in said
    assert "@Microsoft" not in said
    assert (before, False) == (desk.state["cloud"], "deploys" in desk.state)


def test_a_setting_made_by_hand_is_not_lost_unseen(desk):
    """Whatever the template does not set."""
    desk.run(STORE)
    desk.run(
        "az functionapp config appsettings set --name app --resource-group rg-test --settings SWEEP_MAX_ATTEMPTS=3"
    )

    code, said = desk.workflow()

    assert (1, True) == (code, "SWEEP_MAX_ATTEMPTS in REDELIVER_APP_SETTINGS" in said)
