"""The deployment in infra/: read as Bicep, and compared with the app that it deploys."""

from __future__ import annotations

import json
import re

import pytest
import yaml

import settings
from reprocess_http import webhook
from tests.support.bicep import INFRA, File, Later, module
from tests.support.definition import routes

PROJECT = INFRA.parent
BICEP = {path.name: path.read_text() for path in INFRA.glob("*.bicep")}
GIVEN = json.loads((INFRA / "main.parameters.json").read_text())["parameters"]
# The name of each parameter in azd's environment.
NAMES = {parameter: one["value"].strip("${}") for parameter, one in GIVEN.items()}
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
    "our own scope user_impersonation": "3a4c4cb1-5a44-4a55-a2d5-0f7d9a2f5d6b",
}
GUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# What only the host, Python's worker and Application Insights read.
OF_THE_HOST = {
    "APPLICATIONINSIGHTS_CONNECTION_STRING",
    "APPLICATIONINSIGHTS_AUTHENTICATION_STRING",
    "PYTHON_THREADPOOL_THREAD_COUNT",
    "FUNCTIONS_REQUEST_BODY_SIZE_LIMIT",
}
ALLOWED_WINDOWS = {"PT30M": 30, "PT1H": 60, "P1D": 1440, "P2D": 2880}  # some of them, in minutes


def app_settings(**given):
    """The app settings of a deployment, as far as they are known before it."""
    return module("app", **given).resource("appSettings")["properties"]


IDENTITY = "11111111-2222-3333-4444-555555555555"


@pytest.mark.parametrize("name", BICEP)
def test_every_name_of_a_template_is_declared_and_used(name):
    """The compiler says the same; it runs where a network reaches Microsoft (check.yml)."""
    file = File(INFRA / name)
    declared = {*file.parameters, *file.variables, *file.modules, *file.resources}
    loops = {
        name
        for loop in file.nodes("for_statement")
        for name in re.findall(r"\w+", loop.named_children[0].text.decode())
    }
    used = {node.text.decode() for node in file.nodes("identifier") if is_use(node)}

    assert set() == used - declared - loops
    assert set() == {*file.parameters, *file.variables} - used


def is_use(node):
    """Whether an identifier reads a value: it is no declaration, key, function or inner name."""
    kind, first = node.parent.type, node.parent.named_children[0] == node
    return not (
        (first and kind.endswith("_declaration"))
        or (first and kind in {"object_property", "call_expression"})
        or (not first and kind == "resource_expression")
    )


def test_modules_and_parameter_sets_give_parameters_that_exist():
    """A module is given all of its own, and has the outputs that are read."""
    main = File(INFRA / "main.bicep")
    for name, (path, body) in main.modules.items():
        called = File(INFRA / path)
        read = set(re.findall(rf"\b{name}!?\.outputs\.(\w+)", BICEP["main.bicep"]))

        assert (set(called.parameters), set()) == (
            set(main.value(body)["params"]),
            read - called.outputs,
        )
    for path in INFRA.glob("parameters/*.bicepparam"):
        text = path.read_text()
        given = set(re.findall(r"(?m)^param (\w+) =", text))
        assert {"environmentName", "location"} <= given <= set(main.parameters)
        assert "using '../main.bicep'" in text
        settings.load({"GRAPH_CLOUD": "".join(re.findall("graphCloud = '(.*)'", text))})


def test_every_parameter_can_be_set_in_azds_environment():
    """Under a prefix of its own: azd reads the operator's shell too, where SWEEP_DRY_RUN may be set."""
    parameters = File(INFRA / "main.bicep").parameters
    required = {name for name, default in parameters.items() if default is None}

    assert list(parameters) == list(NAMES)
    assert {"environmentName", "location"} == required
    assert required == {one for one, name in NAMES.items() if not name.startswith("REDELIVER_")}


def test_a_deployment_sets_only_what_it_decides():
    """Every other setting has the app's own default, which stands in settings.py alone."""
    deployed = app_settings()
    declared = {one.name: one.default for one in settings.Settings.declared()}
    decided = set(deployed) - OF_THE_HOST

    assert set() == decided - set(declared)
    assert {
        "GRAPH_CLOUD": "global",
        "HTTP_AUTH_LEVEL": "function",
        "SWEEP_DRY_RUN": "true",  # a new deployment looks before it changes anything
        "AZURE_CLIENT_ID": Later("identity.outputs.clientId"),
        "AzureWebJobsStorage__clientId": Later("identity.outputs.clientId"),
        "AzureWebJobsStorage__credential": "managedidentity",
        "AzureWebJobsStorage__blobServiceUri": Later("storage.outputs.blobEndpoint"),
        "AzureWebJobsStorage__tableServiceUri": Later("storage.outputs.tableEndpoint"),
    } == {name: deployed[name] for name in decided if deployed[name] != ""}


@pytest.mark.parametrize(("cloud", "suffix"), [
    ("global", "core.windows.net"),
    ("usgov", "core.usgovcloudapi.net"),
    ("usgov-dod", "core.usgovcloudapi.net"),
    ("china", "core.chinacloudapi.cn"),
])  # fmt: skip
def test_the_app_accepts_the_settings_that_are_deployed(cloud, suffix):
    """In every cloud, with the addresses and ids that Azure puts in."""
    table, blob = (f"https://redeliverabc.{one}.{suffix}" for one in ("table", "blob"))
    loaded = settings.load(
        {name: str(one) for name, one in app_settings(graphCloud=cloud).items()}
        | {
            "AZURE_CLIENT_ID": IDENTITY,
            "AzureWebJobsStorage__clientId": IDENTITY,
            "AzureWebJobsStorage__blobServiceUri": f"{blob}/",
            "AzureWebJobsStorage__tableServiceUri": f"{table}/",
        }
    )

    assert (cloud, IDENTITY, True, table) == (
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
    site = module("app").resource("app")["properties"]["functionAppConfig"]
    let_in = site["scaleAndConcurrency"]["triggers"]["http"]["perInstanceConcurrency"]

    assert app_settings()["PYTHON_THREADPOOL_THREAD_COUNT"] == str(let_in) == "16"
    assert {"name": "python", "version": "3.13"} == site["runtime"]  # of the tests


def test_the_host_takes_larger_bodies_than_the_webhook():
    """The app answers 413 beyond its own limit; the host 500 without a body."""
    assert int(app_settings()["FUNCTIONS_REQUEST_BODY_SIZE_LIMIT"]) > webhook.MAX_BODY


def test_no_line_is_lost_by_sampling():
    """Alerts and the log of who asked for what go by them; Azure's libraries say warnings only."""
    logging = json.loads((PROJECT / "host.json").read_text())["logging"]
    excluded = logging["applicationInsights"]["samplingSettings"]["excludedTypes"].split(";")

    assert {"Request", "Trace", "Exception"} == {*excluded}
    assert {"default": "Information", "Azure": "Warning"} == logging["logLevel"]


def test_nothing_has_a_key_or_a_password():
    """Not the storage account, Application Insights or the deployment; /admin is closed outside."""
    app = module("app")

    assert app.resource("app")["properties"]["functionsRuntimeAdminIsolationEnabled"] is True
    assert module("storage").resource("account")["properties"]["allowSharedKeyAccess"] is False
    assert module("monitoring").resource("insights")["properties"]["DisableLocalAuth"] is True
    assert [{"allow": False}, {"allow": False}] == [
        app.resource(name)["properties"] for name in ("deployPassword", "ftpPassword")
    ]
    assert [] == [name for name, text in BICEP.items() if "listKeys" in text]


def test_nobody_is_served_without_tls():
    """Neither the app nor its storage account; and nothing older than TLS 1.2."""
    app = module("app").resource("app")["properties"]
    account = module("storage").resource("account")["properties"]

    assert (True, "1.2") == (app["httpsOnly"], app["siteConfig"]["minTlsVersion"])
    assert (True, "TLS1_2") == (account["supportsHttpsTrafficOnly"], account["minimumTlsVersion"])
    assert account["allowBlobPublicAccess"] is False


def test_the_identity_has_three_roles_and_the_workflow_may_assign_no_other():
    """Each by its documented id; the condition on the workflow's own role names the same."""
    condition = re.search("three='{(.*)}'", (PROJECT / "docs/deploy.md").read_text())[1]

    assert set(ROLES.values()) == set(GUID.findall("".join(BICEP.values())))
    assert set(ROLES.values()) == set(condition.split(", "))


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
    off, on = (
        module("app", authClientId=one).resource("authentication")["properties"]
        for one in ("", "of-the-registration")
    )
    validation = on["globalValidation"]

    assert ({"enabled": False}, {"enabled": True}) == (off["platform"], on["platform"])
    assert ["function", "anonymous"] == [
        app_settings(authClientId=one)["HTTP_AUTH_LEVEL"] for one in ("", "of-the-registration")
    ]
    assert ("Return401", True) == (
        validation["unauthenticatedClientAction"], validation["requireAuthentication"],
    )  # fmt: skip


@pytest.mark.parametrize(("cloud", "issuer"), [
    ("china", "https://login.partner.microsoftonline.cn/<tenant().tenantId>/v2.0"),
    ("global", "<uri(loginEndpoint, '${tenant().tenantId}/v2.0')>"),
])  # fmt: skip
def test_tokens_are_issued_by_the_clouds_own_authority(cloud, issuer):
    """The platform knows China's by an alias, which no token names; `uri` needs no slash at its end."""
    app = module("app", authClientId="some", graphCloud=cloud)
    entra = app.resource("authentication")["properties"]["identityProviders"]

    assert issuer == str(entra["azureActiveDirectory"]["registration"]["openIdIssuer"])


def test_the_platform_lets_through_only_what_checks_for_itself():
    """Every other route needs a token; each of these is open at the host, or asks for a signature.

    None has a variable part, so none is the beginning of another route.
    """
    given = module("app", authClientId="some").resource("authentication")["properties"]
    excluded = given["globalValidation"]["excludedPaths"]
    by_themselves = {
        f"/api{path}"
        for (_, path), level in routes().items()
        if level == "anonymous" or path == "/webhook"
    }

    assert {"/api/status", "/api/webhook", "/api/health", "/api/report"} == by_themselves
    assert by_themselves == set(excluded)


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


def test_every_alert_reads_a_line_twice_and_says_what_to_do():
    """A window is one that Azure takes; docs/operations.md has a section for each."""
    document = (PROJECT / "docs/operations.md").read_text()
    sections = dict(re.findall(r"^### (\S+)\n\nSeverity (\d)", document, re.MULTILINE))
    saved = {one["properties"]["displayName"] for one in module("workbook").resource("saved")}
    for rule in rules():
        properties = rule["properties"]
        section = rule["name"].removeprefix("redeliver-")

        assert "PT15M" == properties["evaluationFrequency"]
        assert ALLOWED_WINDOWS[properties["windowSize"]] >= 30
        page, query, document_at = properties["description"].split(". ")
        assert "Page: <app.outputs.url>/api/report" == page
        assert query.removeprefix("Query: ") in saved
        assert f"What to do: docs/operations.md#{section}" == document_at
        assert str(properties["severity"]) == sections.pop(section)
    assert {} == sections


def test_three_alerts_are_muted_and_never_say_that_they_ended():
    """A dead app is not resolved by its last line growing old; what joins is mailed within an hour."""
    properties = {rule["name"].removeprefix("redeliver-"): rule["properties"] for rule in rules()}
    muted = {name: one["muteActionsDuration"] for name, one in properties.items()}

    assert {"no-sweep": "P1D", "attempts-exhausted": "PT1H", "window-closing": "PT1H"} == {
        name: mute for name, mute in muted.items() if mute
    }
    assert all(one["autoMitigate"] is not bool(muted[name]) for name, one in properties.items())


def test_alerts_are_sent_to_the_address_that_is_given():
    """Without one they are only shown."""
    sent, shown = (rules(alertEmail=one)[0] for one in ("on-call@example.org", ""))

    assert [Later("receivers.id")] == sent["properties"]["actions"]["actionGroups"]
    assert [] == shown["properties"]["actions"]["actionGroups"]


def test_the_workspace_keeps_every_query():
    """Each under its own name."""
    saved = module("workbook").resource("saved")
    texts = {f"redeliver-{one.stem}": one.read_text() for one in (INFRA / "queries").iterdir()}
    name, identity = "redeliver-graph-calls", "<identity.outputs.principalId>"
    texts[name] = texts[name].replace("<identity>", identity)

    assert texts == {one["name"]: one["properties"]["query"] for one in saved}


def test_azd_deploys_to_the_app_of_the_template_and_says_what_comes_next():
    """The service's name is the tag that azd looks for; Azure installs the packages."""
    project = yaml.safe_load((PROJECT / "azure.yaml").read_text())
    name = module("app").resource("app")["tags"]["azd-service-name"]
    service = {"project": ".", "language": "python", "host": "function", "remoteBuild": True}

    assert {name: service} == project["services"]
    assert ["scripts/next-steps", "scripts/next-steps.ps1"] == [
        one["run"] for one in project["hooks"]["postdeploy"].values()
    ]


def test_what_documents_ask_azd_for_is_known_to_it():
    """`azd env get-value` finds an output or a parameter, and `azd env set` sets a parameter."""
    paths = [*(PROJECT / "docs").glob("*.md"), PROJECT / "README.md"]
    text = "".join(path.read_text() for path in paths)
    known = {*NAMES.values(), "AZURE_SUBSCRIPTION_ID"} | File(INFRA / "main.bicep").outputs

    assert set() == set(re.findall(r"azd env get-value (\w+)", text)) - known
    assert set() == set(re.findall(r"azd env set (\w+)", text)) - set(NAMES.values())
