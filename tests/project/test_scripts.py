"""The scripts that give permissions and let callers in, before an Entra that answers as late as it does."""

from __future__ import annotations

import copy
import json
import subprocess
import sys

import pytest
import tree_sitter
import tree_sitter_powershell

from tests.support.az import APPLICATION
from tests.support.bicep import INFRA

SCRIPTS = INFRA.parent / "scripts"
EXAMPLES = INFRA.parent / "examples"
ROOT = "https://graph.microsoft.com"
IDENTITY = "11111111-1111-4111-8111-111111111111"
CATALOGS = ("22222222-2222-4222-8222-22222222222a", "22222222-2222-4222-8222-22222222222b")
CLIENT = "33333333-3333-4333-8333-333333333333"
CATALOG_ROLES = "roleManagement/entitlementManagement/roleAssignments"
PERMISSION = "9acd699f-1e81-4958-b001-93b1d2506e19"
MANAGER = "e2182095-804a-4656-ae11-64734e9b7ae5"


OBJECTS = {
    IDENTITY: "servicePrincipal",
    "44444444-4444-4444-8444-444444444444": "user",
    "55555555-5555-4555-8555-555555555555": "group",
    "66666666-6666-4666-8666-666666666666": "device",
}
GRAPH = {"id": "of-graph", "appId": "00000003-0000-0000-c000-000000000000"}


class Az:
    """A stand-in for az in front of a made-up Entra; waiting takes no time."""

    def __init__(self, folder):
        self.folder = folder
        self.state = folder / "state.json"
        for name, does in (
            ("az", f'exec {sys.executable} -m tests.support.az "$@"'),
            ("sleep", ""),
        ):
            (folder / name).write_text(f"#!/bin/sh\n{does}\n")
            (folder / name).chmod(0o755)
        self.set(says={"cloud show": f"{ROOT}/"}, entra=self.entra())

    def entra(self, *applications, late=0):
        """A directory with Graph, and these registrations and their service principals."""
        made = [copy.deepcopy(APPLICATION) | one for one in applications]
        principals = [{"id": "of-ours", "appId": one["appId"]} for one in made]
        return {
            "applications": [{"appId": GRAPH["appId"], "appRoles": []}, *made],
            "servicePrincipals": [GRAPH, *principals],
            "objects": OBJECTS,
            "late": late,
        }

    def set(self, **state):
        self.state.write_text(json.dumps(state))

    def found(self, kind):
        """What is there now, without Graph itself."""
        found = json.loads(self.state.read_text())["entra"][kind]
        return [one for one in found if one["appId"] != GRAPH["appId"]]

    def run(self, script, *arguments, **environ):
        """Run a script; return its exit code and what it said."""
        path = f"{self.folder}:/usr/bin:/bin"
        run = subprocess.run(
            [SCRIPTS / script, *arguments],
            cwd=INFRA.parent,
            env={"PATH": path, "AZ_STATE": str(self.state), **environ},
            capture_output=True,
            text=True,
        )
        return run.returncode, (run.stdout + run.stderr).strip()

    def changes(self):
        """Every call that changes something: method, path, body."""
        calls = json.loads(self.state.read_text())["calls"]
        rests = [dict(zip(one[1::2], one[2::2], strict=True)) for one in calls if one[0] == "rest"]
        start = len(f"{ROOT}/v1.0/")
        return [
            (one["--method"], one["--url"][start:], json.loads(one.get("--body", "null")))
            for one in rests
            if one["--method"] != "GET"
        ]


@pytest.fixture
def az(tmp_path):
    """Nobody has any role yet."""
    return Az(tmp_path)


SAID = [
    (0, "It has this role now. Tokens issued before lack it, for up to a day."),
    (0, "It has this role already."),
    (0, "It does not have this role any more. Tokens issued before carry it, for up to a day."),
    (0, "It does not have this role."),
]
TWICE = ("add", "add", "remove", "remove")


def test_the_permission_is_given_once_and_taken_away_once(az):
    """A second time changes nothing, and says so."""
    assert SAID == [az.run("permission", what, IDENTITY) for what in TWICE]

    body = {"principalId": IDENTITY, "resourceId": "of-graph", "appRoleId": PERMISSION}
    path = f"servicePrincipals/{IDENTITY}/appRoleAssignments"
    assert [("POST", path, body), ("DELETE", f"{path}/made-0", None)] == az.changes()


def test_the_role_is_given_in_each_catalog_and_taken_away_in_one(az):
    """Only in the catalogs that are named; the application permission is left alone."""
    first, second = CATALOGS
    given = [("add", IDENTITY, *CATALOGS), ("add", IDENTITY, first), ("remove", IDENTITY, first)]
    body = {"principalId": IDENTITY, "roleDefinitionId": MANAGER}

    assert [
        (0, f"Catalog {first}: it has the role now.\nCatalog {second}: it has the role now."),
        (0, f"Catalog {first}: it has the role already."),
        (0, f"Catalog {first}: it does not have the role any more."),
    ] == [az.run("permission", *one) for one in given]
    assert [
        *(
            ("POST", CATALOG_ROLES, body | {"appScopeId": f"/AccessPackageCatalog/{one}"})
            for one in CATALOGS
        ),
        ("DELETE", f"{CATALOG_ROLES}/made-0", None),
    ] == az.changes()


SCOPE = "user_impersonation"
CALLBACK = "https://app.example/.auth/login/aad/callback"


def register(az):
    return az.run("callers", "register", "Redeliver callers", "https://app.example/")


@pytest.mark.parametrize("late", [0, 1, 3])
def test_a_registration_is_made_for_one_tenant_with_a_role_that_must_be_assigned(az, late):
    """Its client id is all that is printed; what Entra does not show yet is waited for."""
    az.set(says={"cloud show": ROOT}, entra=az.entra(late=late))

    code, client = register(az)
    assert (0, client) == register(az)  # which changes nothing
    (made,), (principal,) = az.found("applications"), az.found("servicePrincipals")

    assert (0, made["appId"]) == (code, client)
    assert {
        "signInAudience": "AzureADMyOrg",
        "identifierUris": [f"api://{client}"],
    }.items() <= made.items()
    assert 2 == made["api"]["requestedAccessTokenVersion"]
    assert [SCOPE] == [one["value"] for one in made["api"]["oauth2PermissionScopes"]]
    assert [("Requests.Reprocess", ["Application", "User"])] == [
        (one["value"], one["allowedMemberTypes"]) for one in made["appRoles"]
    ]
    web = {"redirectUris": [CALLBACK], "implicitGrantSettings": {"enableIdTokenIssuance": True}}
    assert web == made["web"]
    assert principal["appRoleAssignmentRequired"] is True


def test_a_registration_made_by_hand_is_completed(az):
    """It keeps what it has: roles, scopes and addresses of its own."""
    theirs = {
        "appId": CLIENT,
        "displayName": "Redeliver callers",
        "appRoles": [{"id": "1", "value": "Other", "origin": "Application", "isEnabled": True}],
        "identifierUris": [f"api://{CLIENT}"],
        "web": {"redirectUris": ["https://else.example/"]},
    }
    az.set(says={"cloud show": ROOT}, entra=az.entra(theirs))

    assert (0, CLIENT) == register(az)
    (made,) = az.found("applications")

    assert 2 == made["api"]["requestedAccessTokenVersion"]
    assert ["Other", "Requests.Reprocess"] == [one["value"] for one in made["appRoles"]]
    assert ["https://else.example/", CALLBACK] == made["web"]["redirectUris"]
    assert [f"api://{CLIENT}"] == made["identifierUris"]


@pytest.mark.parametrize("there", [
    [{"appId": "one"}, {"appId": "two"}],
    [{"appId": "one", "signInAudience": "AzureADMultipleOrgs"}],
], ids=["two of the name", "for several tenants"])  # fmt: skip
def test_a_registration_that_is_not_ours_is_left_alone(az, there):
    """Nothing is changed."""
    named = [one | {"displayName": "Redeliver callers"} for one in there]
    az.set(says={"cloud show": ROOT}, entra=az.entra(*named))

    code, said = register(az)

    assert (1, True) == (code, bool(said))
    assert [] == az.changes()


@pytest.mark.parametrize("caller", list(OBJECTS)[:3], ids=list(OBJECTS.values())[:3])
def test_a_caller_is_let_in_and_shut_out(az, caller):
    """A user, a group or an application, by the role that the registration has, whatever its id is."""
    roles = [{"id": "role-1", "value": "Other"}, {"id": "role-2", "value": "Requests.Reprocess"}]
    ours = {"appId": CLIENT, "appRoles": roles, "api": {"requestedAccessTokenVersion": 2}}
    az.set(says={"cloud show": ROOT}, entra=az.entra(ours))

    assert SAID == [az.run("callers", what, CLIENT, caller) for what in TWICE]

    body = {"principalId": caller, "resourceId": "of-ours", "appRoleId": "role-2"}
    path = f"{OBJECTS[caller]}s/{caller}/appRoleAssignments"
    assert [("POST", path, body), ("DELETE", f"{path}/made-0", None)] == az.changes()


@pytest.mark.parametrize(("caller", "code", "words"), [
    (IDENTITY, 0, "tokens of version 1"),  # which the platform answers 401 without a word
    (list(OBJECTS)[3], 1, "is no user, group or service principal"),
])  # fmt: skip
def test_what_cannot_work_is_said_when_a_caller_is_added(az, caller, code, words):
    """Only users, groups and service principals can have a role."""
    ours = {"appId": CLIENT, "appRoles": [{"id": "r", "value": "Requests.Reprocess"}]}
    az.set(says={"cloud show": ROOT}, entra=az.entra(ours))

    found, said = az.run("callers", "add", CLIENT, caller)

    assert (code, True) == (found, words in said)
    assert bool(code) == (az.changes() == [])


@pytest.mark.parametrize(("script", "arguments"), [
    ("permission", []),
    ("permission", ["give", IDENTITY]),
    ("permission", ["add"]),
    ("permission", ["add", "not-an-id"]),
    ("permission", ["add", IDENTITY, 'x" or 1']),
    ("callers", []),
    ("callers", ["register"]),
    ("callers", ["register", "Redeliver"]),
    ("callers", ["register", "Redeliver", "http://app.example"]),
    ("callers", ["register", "Redeliver", 'https://app.example", "x": "y']),
    ("callers", ["register", 'a", "b": "c', "https://app.example"]),
    ("callers", ["add", CLIENT]),
    ("callers", ["remove", CLIENT, f"{IDENTITY}\n"]),
    ("permission", ["add", f'{IDENTITY}\n", "x": "y']),
])  # fmt: skip
def test_what_is_no_id_and_no_name_never_reaches_graph(az, script, arguments):
    """It stops with one line before az is called."""
    code, said = az.run(script, *arguments)

    assert 1 == code
    assert said
    assert "calls" not in json.loads(az.state.read_text())


@pytest.mark.parametrize(("script", "arguments"), [
    ("permission", ["add", IDENTITY]),
    ("permission", ["remove", IDENTITY, CATALOGS[0]]),
    ("callers", ["register", "Redeliver", "https://app.example"]),
    ("callers", ["add", CLIENT, IDENTITY]),
])  # fmt: skip
def test_when_graph_says_no_nothing_more_is_asked(az, script, arguments):
    """The first refusal ends the script, with what was refused."""
    az.set(says={"cloud show": ROOT}, fails=["rest"], entra=az.entra())

    code, said = az.run(script, *arguments)

    assert 1 == code
    assert "Graph did not take it: " in said
    assert 1 == sum(call[0] == "rest" for call in json.loads(az.state.read_text())["calls"])


@pytest.mark.parametrize(("says", "environ", "root"), [
    ("https://graph.microsoft.us/", {}, "https://graph.microsoft.us"),
    ("https://microsoftgraph.chinacloudapi.cn", {}, "https://microsoftgraph.chinacloudapi.cn"),
    ("https://graph.microsoft.us/", {"GRAPH_ROOT": "https://dod-graph.microsoft.us"}, "https://dod-graph.microsoft.us"),
])  # fmt: skip
def test_graph_is_that_of_the_cloud(az, says, environ, root):
    """Of the cloud that az is set to; that of US Gov L5 has to be named."""
    az.set(says={"cloud show": says}, entra=az.entra())

    az.run("permission", "add", IDENTITY, **environ)
    calls = json.loads(az.state.read_text())["calls"]

    assert {(f"{root}/v1.0", root)} == {
        (call[4][: len(root) + 5], call[6]) for call in calls if call[0] == "rest"
    }


@pytest.mark.parametrize(("key", "answer", "said"), [
    ("the-key", "{}\n200", "The diagnosis finds nothing wrong."),
    ("the-key", '{"remedy": "Give it."}\n503', f"scripts/permission add {IDENTITY}"),
    ("the-key", "\n401", "could not be asked"),
    (None, "", "could not be asked"),
], ids=["well", "not yet", "with tokens", "not signed in"])  # fmt: skip
def test_what_comes_next_is_said_after_a_deployment(az, key, answer, said):
    """By the diagnosis, where it can be asked; always the page, and a dry sweep."""
    (az.folder / "curl").write_text(f"#!/bin/sh\ncat <<'E'\n{answer}\nE\n")
    (az.folder / "curl").chmod(0o755)
    az.set(says={"rest": key})

    names = {"APP_ID": "/site", "APP_URL": "https://app.example", "IDENTITY_OBJECT_ID": IDENTITY}
    code, printed = az.run("next-steps", **names)

    assert 0 == code
    assert said in printed
    assert "https://app.example/api/report" in printed
    assert "/site/hostruntime/admin/functions/sweep" in printed
    assert ("Give it." in printed) is ("503" in answer)


POWERSHELL = [*SCRIPTS.glob("*.ps1"), *EXAMPLES.glob("**/*.ps1")]


@pytest.mark.parametrize("path", POWERSHELL, ids=lambda path: path.name)
def test_powershell_parses(path):
    """By its grammar for tree-sitter."""
    parser = tree_sitter.Parser(tree_sitter.Language(tree_sitter_powershell.language()))

    assert not parser.parse(path.read_bytes()).root_node.has_error
