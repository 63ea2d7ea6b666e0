"""The deployment in infra/: read as Bicep, and compared with the app that it deploys."""

from __future__ import annotations

import json
import re

import azure.functions as func
import pytest
import yaml

import settings
from reprocess_http import blueprint
from tests.bicep import INFRA, File, Later, files, loop_names

PROJECT = INFRA.parent
# Who is who in https://learn.microsoft.com/azure/role-based-access-control/built-in-roles,
# https://learn.microsoft.com/graph/permissions-reference and
# https://learn.microsoft.com/entra/id-governance/entitlement-management-delegate.
ROLES = {
    "Storage Blob Data Owner": "b7e6dc6d-f1e8-4753-8033-0f276bb0955b",
    "Storage Table Data Contributor": "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3",
    "Monitoring Metrics Publisher": "3913510d-42f4-4e42-8a64-420c390055eb",
}
ENTRA = {
    "Microsoft Graph": "00000003-0000-0000-c000-000000000000",
    "EntitlementManagement.ReadWrite.All": "9acd699f-1e81-4958-b001-93b1d2506e19",
    "Access package assignment manager": "e2182095-804a-4656-ae11-64734e9b7ae5",
    "Key Vault Secrets User": "4633458b-17de-408a-b874-0445c86b69e6",
    "our own app role Requests.Reprocess": "bb931bcf-17ff-43de-87ca-d433f1f5e389",
}
GUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# What only the host, Python's worker and Application Insights read.
OF_THE_HOST = {
    "APPLICATIONINSIGHTS_CONNECTION_STRING",
    "APPLICATIONINSIGHTS_AUTHENTICATION_STRING",
    "PYTHON_THREADPOOL_THREAD_COUNT",
}
# What no deployment sets: another Graph is for local runs, and the account is named by its services.
NOT_DEPLOYED = {"GRAPH_ENDPOINT", "AzureWebJobsStorage", "AzureWebJobsStorage__accountName"}
ALLOWED_WINDOWS = {"PT30M": 30, "PT1H": 60, "P1D": 1440, "P2D": 2880}  # some of them, in minutes


def module(name, **given):
    """A module as main.bicep calls it, for a deployment with these parameters."""
    main = File(INFRA / "main.bicep", environmentName="test", location="westeurope", **given)
    path, body = main.modules[name]
    return File(INFRA / path, **main.value(body)["params"])


def app_settings(**given):
    """The app settings of a deployment, as far as they are known before it."""
    return module("app", **given).resource("appSettings")["properties"]


@pytest.mark.parametrize("file", files(), ids=lambda file: file.path.name)
def test_bicep_is_whole(file):
    """It parses; every name is declared, every declared parameter and variable is used."""
    assert [] == [node.text for node in file.nodes("ERROR")]

    declared = {*file.parameters, *file.variables, *file.modules, *file.resources}
    loops = {
        name for loop in file.nodes("for_statement") for name in loop_names(loop.named_children[0])
    }
    used = {node.text.decode() for node in file.nodes("identifier") if is_use(node)}

    assert set() == used - declared - loops
    assert set() == {*file.parameters, *file.variables} - used


def is_use(node):
    """Whether an identifier reads a value: it is no declaration, key, function or inner name."""
    first = node.parent.named_children[0] == node
    return not (
        (node.parent.type.endswith("_declaration") and first)
        or (node.parent.type == "object_property" and first)
        or (node.parent.type == "call_expression" and first)
        or (node.parent.type == "resource_expression" and not first)
    )


@pytest.mark.parametrize("file", files(), ids=lambda file: file.path.name)
def test_it_compiles_without_a_network(file):
    """No registry module and no extension; only Microsoft's own resource types."""
    text = file.path.read_text()

    assert [] == re.findall(
        r"\b(?:br|ts)[:/]|^(?:extension|import|using|provider)\b", text, re.MULTILINE
    )
    assert [] == [one for one in file.resources.values() if not one.type.startswith("Microsoft.")]
    assert [] == [
        one for one in file.resources.values() if not re.fullmatch(r"20\d\d-\d\d-\d\d", one.api)
    ]


def test_every_module_is_given_its_parameters_and_has_the_outputs_that_are_read():
    """None is missing, none is unknown; where it can be, all are given."""
    main = File(INFRA / "main.bicep")
    for name, (path, body) in main.modules.items():
        called = File(INFRA / path)
        read = set(re.findall(rf"\b{name}!?\.outputs\.(\w+)", main.root.text.decode()))

        assert set(called.parameters) == set(main.value(body)["params"]), name
        assert set() == read - called.outputs, name
    assert {file.path.name for file in files()} - {"main.bicep"} == {
        path for path, _ in main.modules.values()
    }


def test_every_parameter_can_be_set_in_azds_environment():
    """Each has a variable there, by the setting's name where it is one of the app."""
    given = json.loads((INFRA / "main.parameters.json").read_text())["parameters"]
    variables = {name: one["value"].strip("${}") for name, one in given.items()}
    parameters = File(INFRA / "main.bicep").parameters

    assert list(parameters) == list(variables)
    assert {"environmentName", "location"} == {
        name for name, default in parameters.items() if default is None
    }
    assert len(variables) == len(set(variables.values()))


def test_every_setting_is_deployed_and_with_the_apps_own_default():
    """The dry run is the one exception: a new deployment looks before it changes anything."""
    deployed = app_settings()
    declared = {one.name: one.default for one in settings.Settings.declared()}

    assert set(declared) - NOT_DEPLOYED == set(deployed) - OF_THE_HOST
    assert {
        "SWEEP_DRY_RUN": "true",
        "AZURE_CLIENT_ID": Later("identity.outputs.clientId"),
        "AzureWebJobsStorage__clientId": Later("identity.outputs.clientId"),
        "AzureWebJobsStorage__credential": "managedidentity",
        "AzureWebJobsStorage__blobServiceUri": Later("storage.outputs.blobEndpoint"),
        "AzureWebJobsStorage__tableServiceUri": Later("storage.outputs.tableEndpoint"),
    } == {
        name: deployed[name]
        for name in declared
        if declared[name] != deployed.get(name, declared[name])
    }


@pytest.mark.parametrize(
    ("cloud", "suffix"),
    [
        ("global", "core.windows.net"),
        ("usgov", "core.usgovcloudapi.net"),
        ("usgov-dod", "core.usgovcloudapi.net"),
        ("china", "core.chinacloudapi.cn"),
    ],
)
def test_the_app_accepts_the_settings_that_are_deployed(cloud, suffix):
    """In every cloud, with the addresses and ids that Azure puts in."""
    identity = "11111111-2222-3333-4444-555555555555"
    known = {
        name: one for name, one in app_settings(graphCloud=cloud).items() if isinstance(one, str)
    }
    deployed = known | {
        "AZURE_CLIENT_ID": identity,
        "AzureWebJobsStorage__clientId": identity,
        "AzureWebJobsStorage__blobServiceUri": f"https://redeliverabc.blob.{suffix}/",
        "AzureWebJobsStorage__tableServiceUri": f"https://redeliverabc.table.{suffix}/",
    }

    loaded = settings.load(deployed)

    assert (cloud, identity, True, f"https://redeliverabc.table.{suffix}") == (
        loaded.graph_cloud,
        loaded.storage_client_id,
        loaded.sweep_dry_run,
        loaded.storage_table_uri,
    )


def test_decided_settings_cannot_be_replaced_and_others_can():
    """`settings` changes what has no parameter of its own."""
    deployed = app_settings(settings={"SWEEP_MAX_ATTEMPTS": "3", "SWEEP_DRY_RUN": "false"})

    assert ("3", "true") == (deployed["SWEEP_MAX_ATTEMPTS"], deployed["SWEEP_DRY_RUN"])


def test_a_call_that_is_let_in_has_a_thread():
    """The host lets in as many calls as there are threads."""
    app = module("app")
    scale = app.resource("app")["properties"]["functionAppConfig"]["scaleAndConcurrency"]

    assert (
        app_settings()["PYTHON_THREADPOOL_THREAD_COUNT"]
        == str(scale["triggers"]["http"]["perInstanceConcurrency"])
        == "16"
    )


def test_the_host_outlasts_the_budget_of_a_sweep():
    """Five minutes are left for what was under way, and the reading back."""
    hours, minutes, seconds = map(
        int, json.loads((PROJECT / "host.json").read_text())["functionTimeout"].split(":")
    )
    budget = int(app_settings()["SWEEP_BUDGET_SECONDS"])

    assert hours * 3600 + minutes * 60 + seconds >= budget + 300


def test_the_plan_is_flex_consumption_with_python_of_the_tests():
    """What is deployed is what is tested."""
    app = module("app")
    version = (PROJECT / "pyproject.toml").read_text()

    assert {"name": "FC1", "tier": "FlexConsumption"} == app.resource("plan")["sku"]
    assert {"name": "python", "version": "3.13"} == app.resource("app")["properties"][
        "functionAppConfig"
    ]["runtime"]
    assert 'python_version = "3.13"' in version


def test_nothing_has_a_key_or_a_password():
    """Not the storage account, nor Application Insights, nor the deployment."""
    app = module("app")

    assert module("storage").resource("account")["properties"]["allowSharedKeyAccess"] is False
    assert module("monitoring").resource("insights")["properties"]["DisableLocalAuth"] is True
    assert [{"allow": False}, {"allow": False}] == [
        app.resource(name)["properties"] for name in ("deployPassword", "ftpPassword")
    ]
    assert [] == [file.path.name for file in files() if "listKeys" in file.path.read_text()]


def test_the_identity_has_three_roles_and_no_more():
    """Each by its documented id, on one resource."""
    roles = {role for file in files() for role in GUID.findall(file.path.read_text())}

    assert set(ROLES.values()) == roles


def test_every_id_in_scripts_and_documents_is_a_known_one():
    """A mistyped id of a permission or role would grant another one, or nothing."""
    known = {*ROLES.values(), *ENTRA.values(), "00000000-0000-0000-0000-000000000000"}
    paths = [*(PROJECT / "scripts").iterdir(), *(PROJECT / "docs").glob("*.md")]
    texts = {
        path.name: re.sub(r"```json.*?```", "", path.read_text(), flags=re.DOTALL) for path in paths
    }
    found = {one: name for name, text in texts.items() for one in GUID.findall(text)}

    assert {} == {one: name for one, name in found.items() if one not in known}


def test_callers_need_a_token_where_a_registration_is_named():
    """Without one, App Service authentication is off and callers need a function key."""
    off, on = module("app"), module("app", authClientId="of-the-registration")
    platform = on.resource("authentication")["properties"]

    assert {"platform": {"enabled": False}} == off.resource("authentication")["properties"]
    assert ["function", "anonymous"] == [
        app_settings(authClientId=one)["HTTP_AUTH_LEVEL"] for one in ("", "of-the-registration")
    ]
    assert ({"enabled": True}, "Return401", True) == (
        platform["platform"],
        platform["globalValidation"]["unauthenticatedClientAction"],
        platform["globalValidation"]["requireAuthentication"],
    )


def test_the_platform_lets_through_only_what_checks_for_itself():
    """Every other route needs a token; each of these is open at the host, or asks for a signature."""
    given = module("app", authClientId="some").resource("authentication")["properties"]
    excluded = given["globalValidation"]["excludedPaths"]
    app = func.FunctionApp()
    app.register_functions(blueprint)
    triggers = [one.get_trigger() for one in app.get_functions()]
    routes = {f"/api/{one.route}": one.auth_level for one in triggers}
    by_themselves = {
        re.sub(r"\{.*\}", "*", route)
        for route, level in routes.items()
        if level is func.AuthLevel.ANONYMOUS or route == "/api/webhook"
    }

    assert {"/api/status/*", "/api/webhook", "/api/health"} <= by_themselves
    assert by_themselves | {"/api/report"} == set(excluded)


def test_a_private_network_closes_the_storage_account():
    """Blob and table each have an endpoint, and a zone that is named as the cloud names it."""
    private, public = (
        module("storage", network=one).resource("account")["properties"]["publicNetworkAccess"]
        for one in ("private", "public")
    )
    network = module("vnet", network="private")

    assert ("Disabled", "Enabled") == (private, public)
    assert [
        "privatelink.blob.<environment().suffixes.storage>",
        "privatelink.table.<environment().suffixes.storage>",
    ] == [one["name"] for one in network.resource("zones")]
    assert [["blob"], ["table"]] == [
        one["properties"]["privateLinkServiceConnections"][0]["properties"]["groupIds"]
        for one in network.resource("endpoints")
    ]


def rules(**given):
    """The alert rules as they are deployed."""
    return module("alerts", **given).resource("rules")


def test_every_alert_looks_twice_at_a_line_and_says_what_to_do():
    """A window is one that Azure takes; docs/operations.md has a section for each."""
    document = (PROJECT / "docs/operations.md").read_text()
    sections = dict(re.findall(r"^### (\S+)\n\nSeverity (\d)", document, re.MULTILINE))
    for rule in rules():
        properties = rule["properties"]
        section = rule["name"].removeprefix("redeliver-")

        assert "PT15M" == properties["evaluationFrequency"]
        assert ALLOWED_WINDOWS[properties["windowSize"]] >= 30
        assert f"What to do: docs/operations.md#{section}" == properties["description"]
        assert str(properties["severity"]) == sections.pop(section)
    assert {} == sections


def test_alerts_are_sent_to_the_address_that_is_given():
    """Without one they are only shown."""
    sent, shown = (rules(alertEmail=one)[0] for one in ("on-call@example.org", ""))

    assert [Later("receivers.id")] == sent["properties"]["actions"]["actionGroups"]
    assert [] == shown["properties"]["actions"]["actionGroups"]


def test_the_alert_on_missing_sweeps_knows_the_period():
    """The query is cut to the period of the deployment."""
    (query,) = (
        rule["properties"]["criteria"]["allOf"][0]["query"]
        for rule in rules(sweepPeriodMinutes=60)
        if rule["name"] == "redeliver-no-sweep"
    )

    assert "let period = 60m;" in query
    assert 15 == File(INFRA / "main.bicep").value(
        File(INFRA / "main.bicep").parameters["sweepPeriodMinutes"]
    )


def test_the_workbook_shows_every_query_and_the_workspace_keeps_them():
    """Each is drawn over the time that is chosen above; the one that asks for an id is only kept."""
    workbook = module("workbook")
    shown = json.loads(workbook.resource("workbook")["properties"]["serializedData"])
    kept = [one["properties"] for one in workbook.resource("saved")]
    texts = {path.read_text(): path.stem for path in sorted((INFRA / "queries").iterdir())}

    assert "Notebook/1.0" == shown["version"]
    assert ["time", *(texts[one["query"]] for one in kept if texts[one["query"]] != "one-id")] == [
        one["name"] for one in shown["items"]
    ]
    assert {"TimeRange"} == {
        one["content"]["timeContextFromParameter"] for one in shown["items"] if one["type"] == 3
    }
    assert sorted(texts) == sorted(one["query"] for one in kept)


def test_azd_deploys_this_folder_to_the_app_of_the_template():
    """The service's name is the tag that azd looks for."""
    service = yaml.safe_load((PROJECT / "azure.yaml").read_text())["services"]
    tags = module("app").resource("app")["tags"]

    assert {
        "app": {"project": ".", "language": "python", "host": "function", "remoteBuild": True}
    } == service
    assert "app" == tags["azd-service-name"] if isinstance(tags, dict) else "'app'" in str(tags)


def test_what_documents_ask_azd_for_is_an_output_of_the_template():
    """`azd env get-value NAME` finds it."""
    known = File(INFRA / "main.bicep").outputs | {"AZURE_ENV_NAME", "AZURE_LOCATION"}
    asked = {
        name: path.name
        for path in [*(PROJECT / "docs").glob("*.md"), PROJECT / "README.md"]
        for name in re.findall(r"azd env get-value (\w+)", path.read_text())
    }

    assert {} == {name: at for name, at in asked.items() if name not in known}
