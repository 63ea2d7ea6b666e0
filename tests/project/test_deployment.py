"""What was decided for a deployment outlives the next one: scripts/lost.py, the workflow, documents.

Not for: what the template deploys (test_infra.py), or whether commands exist (`make check-docs`).
"""

from __future__ import annotations

import json
import re
import subprocess
from datetime import UTC, datetime, timedelta

import pytest
import yaml

import settings
from attempts import AttemptRecord
from graph import Request
from planning.plan import FailedRequest, PlanStatus, classify
from scripts import lost
from tests.project.test_infra import NAMES
from tests.support.bicep import INFRA, File, module

PROJECT = INFRA.parent
DEPLOY = (PROJECT / "docs/deploy.md").read_text()
OPERATIONS = (PROJECT / "docs/operations.md").read_text()
JOB = yaml.safe_load((PROJECT / ".github/workflows/azure-dev.yml").read_text())["jobs"]["deploy"]
SITE = "/subscriptions/one/resourceGroups/rg-test/providers/Microsoft.Web/sites/app"
# A value for each parameter that is not its default.
DECIDED = {
    "graphCloud": "usgov",
    "sweepSchedule": "0 0 * * * *",
    "sweepDryRun": False,
    "sweepAccessPackages": "22222222-2222-4222-8222-222222222222",
    "identityId": "/subscriptions/one/resourceGroups/rg-identities/identities/theirs",
    "authClientId": "33333333-3333-4333-8333-333333333333",
    "allowedApplications": ["44444444-4444-4444-8444-444444444444"],
    "alertEmail": "on-call@example.org",
    "network": "private",
    "webhookSecrets": "@Microsoft.KeyVault(SecretUri=https://v/secrets/webhook)",
    "statusLinkSecret": "@Microsoft.KeyVault(SecretUri=https://v/secrets/link)",
    "notifyUrl": "@Microsoft.KeyVault(SecretUri=https://v/secrets/notices)",
    "settings": {"SWEEP_COOLDOWN_MINUTES": "120"},
}


def kinds():
    """The type of each parameter of the template, `secret` for one that is marked @secure."""
    found = {}
    for node in File(INFRA / "main.bicep").nodes("parameter_declaration"):
        name, kind = (one.text.decode() for one in node.named_children[:2])
        found[name] = "secret" if b"@secure" in node.prev_named_sibling.text else kind
    return found


def deployed(**given):
    """What az answers of a deployment with these parameters, by a part of its command."""
    app = module("app", **given)
    identity = given.get("identityId", "/subscriptions/one/resourceGroups/RG-test/identities/own")
    return {
        "group exists --name rg-test": True,
        "--resource-type Microsoft.Web/sites ": [SITE],
        "--resource-type Microsoft.Insights/actionGroups ": [1] if "alertEmail" in given else [],
        f"GET --url {SITE}?": app.resource("app")
        | {"identity": {"userAssignedIdentities": {identity: {}}}},
        f"POST --url {SITE}/config/appsettings/list?": app.resource("appSettings"),
        f"GET --url {SITE}/config/authsettingsV2?": app.resource("authentication"),
    }


@pytest.fixture
def looked(monkeypatch, capsys):
    """Run scripts/lost.py with what az answers and what is stored; return its code and its words."""

    def look(there, stored):
        def run(command, **_):
            (answer,) = [one for part, one in there.items() if part in " ".join(command)]
            code = 1 if answer is None else 0
            return subprocess.CompletedProcess(command, code, json.dumps(answer, default=str), "")

        monkeypatch.setattr(subprocess, "run", run)
        monkeypatch.setenv("AZURE_ENV_NAME", "test")
        for name, value in stored.items():
            monkeypatch.setenv(NAMES[name], value if type(value) is str else json.dumps(value))
        return lost.main(), capsys.readouterr().err

    return look


# -- from GitHub --


def test_a_deployment_that_would_lose_something_stops(looked):
    """It names each decision that is deployed and not stored, and no secret."""
    code, said = looked(deployed(**DECIDED), {"allowedApplications": [], "settings": {}})

    texts = {NAMES[one] for one in DECIDED if one != "settings"}
    named = re.findall("(?m)^(.*) is deployed, and this deployment would take it away.$", said)
    assert 1 == code
    assert sorted({*texts, "SWEEP_COOLDOWN_MINUTES in REDELIVER_APP_SETTINGS"}) == sorted(named)
    assert "@Microsoft" not in said


@pytest.mark.parametrize(("there", "stored"), [
    (deployed(**DECIDED), DECIDED),
    (deployed(), {}),
    ({"group exists --name rg-test": False}, {}),
], ids=["all is stored", "nothing was decided", "the first one"])  # fmt: skip
def test_a_deployment_that_loses_nothing_goes_on(looked, there, stored):
    assert (0, "") == looked(there, stored)


def test_a_deployment_stops_where_az_does_not_answer(looked):
    """Then it is not known what is deployed."""
    there = deployed() | {f"GET --url {SITE}/config/authsettingsV2?": None}

    with pytest.raises(SystemExit, match="authsettingsV2"):
        looked(there, {})


def test_the_workflow_looks_before_it_deploys_and_passes_on_every_decision():
    """The parameters marked @secure as secrets, all else as variables, each by its name."""
    stored = {NAMES[name]: kind for name, kind in kinds().items()}
    stored |= dict.fromkeys(["AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_SUBSCRIPTION_ID"], "")
    places = {name: "secrets" if kind == "secret" else "vars" for name, kind in stored.items()}

    assert {name: f"${{{{ {place}.{name} }}}}" for name, place in places.items()} == JOB["env"]
    assert [
        "scripts/lost.py",
        "azd provision --no-state --no-prompt",
        "azd deploy --no-prompt",
    ] == [one["run"] for one in JOB["steps"][-3:]]


def test_what_azd_does_not_store_at_github_is_stored_by_hand():
    """Lists and objects."""
    stored = re.findall(r'gh variable set (\w+) --body "\$\(azd env get-value \1\)"', DEPLOY)

    assert stored == [NAMES[one] for one, kind in kinds().items() if kind in {"array", "object"}]


# -- by documents --


def test_a_document_never_deploys_without_no_state():
    """A setting may have been changed by hand before, by this document or another one."""
    paths = [PROJECT / "README.md", *(PROJECT / "docs").glob("*.md")]
    blocks = re.findall(r"(?s)```sh\n.*?```", "".join(path.read_text() for path in paths))
    commands = re.findall("(?m)^azd provision.*", "".join(blocks))

    assert {"azd provision --no-state"} == set(commands)


def block(name):
    """The sh block of docs/operations.md that is marked with this name."""
    return re.search(rf"(?s)<!-- {name} -->\n```sh\n(.*?)```", OPERATIONS)[1]


def test_sweeps_are_stopped_by_the_documented_command():
    """At once by hand, and by each later deployment."""
    changed = dict(re.findall(r"--settings (\w+)=(\w+)", block("stop: sweeps")))
    decided = re.findall(r"azd env set (\w+) (\w+)", block("stop: sweeps") + block("start: sweeps"))

    assert settings.load(changed).sweep_dry_run
    assert [(NAMES["sweepDryRun"], one) for one in ("true", "false")] == decided


def test_one_request_is_kept_from_sweeps_until_its_window_closes():
    """Whatever SWEEP_MAX_ATTEMPTS is, by the row that the documented command writes."""
    written = dict(re.findall(r"(\w+)=(\w+)", block("stop: one request").partition("--entity")[2]))
    most = settings.load({"SWEEP_MAX_ATTEMPTS": "1000"})
    now = datetime(2026, 11, 30, tzinfo=UTC)
    record = AttemptRecord("7999249e-249e-4999-9e24-99799e249979", count=int(written["Count"]))

    def status(days):
        failed_at = now - timedelta(days=days)
        request = Request(record.request_id, "deliveryFailed", "userAdd", failed_at)
        return classify(FailedRequest.of(request, record), most, now)

    assert "attempts" == written["PartitionKey"]
    assert [PlanStatus.EXHAUSTED, PlanStatus.EXHAUSTED, PlanStatus.EXPIRED] == [
        status(days) for days in (1, 13, 15)
    ]


def test_the_report_that_is_shown_adds_up():
    """Every failed request is in one of five groups."""
    line = json.loads(re.search(r'(?m)^\{"event": "sweep finished".*\}$', DEPLOY)[0])
    groups = ("due", "cooling", "exhausted", "expired", "excluded")

    assert line["found"] == sum(line[one] for one in groups)
