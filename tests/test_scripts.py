"""The scripts that give permissions and let callers in: what they ask of Graph, and when."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import tree_sitter
import tree_sitter_powershell

from tests.bicep import INFRA, named

SCRIPTS = INFRA.parent / "scripts"
EXAMPLES = INFRA.parent / "examples"
ROOT = "https://graph.microsoft.com"
IDENTITY = "11111111-1111-4111-8111-111111111111"
CATALOGS = ("22222222-2222-4222-8222-22222222222a", "22222222-2222-4222-8222-22222222222b")
CLIENT = "33333333-3333-4333-8333-333333333333"
GRAPH_APP = "servicePrincipals(appId='00000003-0000-0000-c000-000000000000')"
CATALOG_ROLES = "roleManagement/entitlementManagement/roleAssignments"
PERMISSION = "9acd699f-1e81-4958-b001-93b1d2506e19"
MANAGER = "e2182095-804a-4656-ae11-64734e9b7ae5"


class Az:
    """A stand-in for az in front of a made-up Graph."""

    def __init__(self, folder):
        self.folder = folder
        self.state = folder / "state.json"
        tool = folder / "az"
        tool.write_text(f'#!/bin/sh\nexec {sys.executable} -m tests.az "$@"\n')
        tool.chmod(0o755)
        self.set(says={"cloud show": f"{ROOT}/"}, answers={GRAPH_APP: {"id": "of-graph"}})

    def set(self, **state):
        self.state.write_text(json.dumps(state))

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
        return [
            (
                one["--method"],
                one["--url"].removeprefix(f"{ROOT}/v1.0/"),
                json.loads(one.get("--body", "null")),
            )
            for one in rests
            if one["--method"] != "GET"
        ]


@pytest.fixture
def az(tmp_path):
    """Nobody has any role yet."""
    return Az(tmp_path)


NOW = "It has this role now. Tokens that it got before lack it, for up to a day."
NO_MORE = "It has this role no more. Tokens that it got before carry it, for up to a day."


def test_the_permission_is_given_once_and_taken_away_once(az):
    """A second time changes nothing, and says so."""
    said = [az.run("permission", what, IDENTITY) for what in ("add", "add", "remove", "remove")]
    body = {"principalId": IDENTITY, "resourceId": "of-graph", "appRoleId": PERMISSION}
    assignments = f"servicePrincipals/{IDENTITY}/appRoleAssignments"

    assert [
        (0, NOW),
        (0, "It has this role already."),
        (0, NO_MORE),
        (0, "It does not have this role."),
    ] == said
    assert [
        ("POST", assignments, body),
        ("DELETE", f"{assignments}/made-0", None),
    ] == az.changes()


def test_the_role_is_given_in_each_catalog_and_taken_away_in_one(az):
    """Only in the catalogs that are named; the application permission is left alone."""
    added = az.run("permission", "add", IDENTITY, *CATALOGS)
    again = az.run("permission", "add", IDENTITY, CATALOGS[0])
    removed = az.run("permission", "remove", IDENTITY, CATALOGS[0])
    first, second = CATALOGS

    assert (
        0,
        f"Catalog {first}: it has the role now.\nCatalog {second}: it has the role now.",
    ) == added
    assert (0, f"Catalog {first}: it has the role already.") == again
    assert (0, f"Catalog {first}: it has the role no more.") == removed
    assert [
        *(
            (
                "POST",
                CATALOG_ROLES,
                {
                    "principalId": IDENTITY,
                    "roleDefinitionId": MANAGER,
                    "appScopeId": f"/AccessPackageCatalog/{one}",
                },
            )
            for one in CATALOGS
        ),
        ("DELETE", f"{CATALOG_ROLES}/made-0", None),
    ] == az.changes()


def test_a_registration_is_made_for_one_tenant_with_a_role_that_must_be_assigned(az):
    """Its client id is all that is printed, so that it can be put into a variable."""
    az.set(
        says={"cloud show": ROOT},
        answers={"applications": {"value": [], "made": {"appId": CLIENT}}},
    )

    said = az.run("callers", "register", "Redeliver callers")
    (_, _, registration), *others = az.changes()

    assert (0, CLIENT) == said
    assert ("AzureADMyOrg", {"requestedAccessTokenVersion": 2}) == (
        registration["signInAudience"],
        registration["api"],
    )
    assert [("Requests.Reprocess", ["Application", "User"])] == [
        (one["value"], one["allowedMemberTypes"]) for one in registration["appRoles"]
    ]
    assert [
        ("PATCH", f"applications(appId='{CLIENT}')", {"identifierUris": [f"api://{CLIENT}"]}),
        ("POST", "servicePrincipals", {"appId": CLIENT, "appRoleAssignmentRequired": True}),
    ] == others


def test_a_caller_is_let_in_and_taken_out(az):
    """By the role that the registration has, whatever its id is."""
    roles = [{"id": "role-1", "value": "Other"}, {"id": "role-2", "value": "Requests.Reprocess"}]
    ours = {"id": "of-ours", "appRoles": roles}
    az.set(says={"cloud show": ROOT}, answers={f"servicePrincipals(appId='{CLIENT}')": ours})

    said = [az.run("callers", what, CLIENT, IDENTITY) for what in ("add", "remove")]
    body = {"principalId": IDENTITY, "resourceId": "of-ours", "appRoleId": "role-2"}
    assignments = f"servicePrincipals/{IDENTITY}/appRoleAssignments"

    assert [(0, NOW), (0, NO_MORE)] == said
    assert [
        ("POST", assignments, body),
        ("DELETE", f"{assignments}/made-0", None),
    ] == az.changes()


@pytest.mark.parametrize(
    ("script", "arguments"),
    [
        ("permission", []),
        ("permission", ["give", IDENTITY]),
        ("permission", ["add"]),
        ("permission", ["add", "not-an-id"]),
        ("permission", ["add", IDENTITY, 'x" or 1']),
        ("callers", []),
        ("callers", ["register"]),
        ("callers", ["register", 'a", "b": "c']),
        ("callers", ["add", CLIENT]),
        ("callers", ["remove", CLIENT, f"{IDENTITY}\n"]),
        ("permission", ["add", f'{IDENTITY}\n", "x": "y']),
    ],
)
def test_what_is_no_id_and_no_name_never_reaches_graph(az, script, arguments):
    """It stops with one line before az is called."""
    code, said = az.run(script, *arguments)

    assert 1 == code
    assert said
    assert "calls" not in json.loads(az.state.read_text())


@pytest.mark.parametrize(
    ("script", "arguments"),
    [
        ("permission", ["add", IDENTITY]),
        ("permission", ["remove", IDENTITY, CATALOGS[0]]),
        ("callers", ["register", "Redeliver"]),
        ("callers", ["add", CLIENT, IDENTITY]),
    ],
)
def test_when_graph_says_no_nothing_more_is_asked(az, script, arguments):
    """The first refusal ends the script, with what was refused."""
    az.set(says={"cloud show": ROOT}, fails=["rest"])

    code, said = az.run(script, *arguments)

    assert 1 == code
    assert said.startswith("Graph did not take it: ")
    assert 1 == sum(call[0] == "rest" for call in json.loads(az.state.read_text())["calls"])


@pytest.mark.parametrize(
    ("says", "environ", "root"),
    [
        ("https://graph.microsoft.us/", {}, "https://graph.microsoft.us"),
        ("https://microsoftgraph.chinacloudapi.cn", {}, "https://microsoftgraph.chinacloudapi.cn"),
        (
            "https://graph.microsoft.us/",
            {"GRAPH_ROOT": "https://dod-graph.microsoft.us"},
            "https://dod-graph.microsoft.us",
        ),
    ],
)
def test_graph_is_that_of_the_cloud(az, says, environ, root):
    """Of the cloud that az is set to; that of US Gov L5 has to be named."""
    az.set(says={"cloud show": says}, answers={})

    az.run("permission", "add", IDENTITY, **environ)
    calls = json.loads(az.state.read_text())["calls"]

    assert {(f"{root}/v1.0", root)} == {
        (call[4][: len(root) + 5], call[6]) for call in calls if call[0] == "rest"
    }


@pytest.mark.parametrize(
    "path", [*SCRIPTS.glob("*.ps1"), *EXAMPLES.glob("**/*.ps1")], ids=lambda path: path.name
)
def test_powershell_parses(path):
    """By its grammar for tree-sitter; `make check-docs` has PowerShell itself parse it, if there is one."""
    language = tree_sitter.Language(tree_sitter_powershell.language())
    root = tree_sitter.Parser(language).parse(path.read_bytes()).root_node

    assert [] == [(node.start_point, node.text) for node in named(root, "ERROR")]
    assert not root.has_error
