"""The scripts that give permissions and let callers in, before an Entra that answers as late as it does."""

from __future__ import annotations

import copy
import json
import subprocess

import pytest
import tree_sitter
import tree_sitter_powershell

from tests.project.test_infra import ENTRA
from tests.support import az as stand_in
from tests.support.bicep import INFRA

SCRIPTS = INFRA.parent / "scripts"
EXAMPLES = INFRA.parent / "examples"
ROOT = "https://graph.microsoft.com"
IDENTITY = "11111111-1111-4111-8111-111111111111"
USER = "44444444-4444-4444-8444-444444444444"
GROUP = "55555555-5555-4555-8555-555555555555"
DEVICE = "66666666-6666-4666-8666-666666666666"
OBJECTS = {IDENTITY: "servicePrincipal", USER: "user", GROUP: "group", DEVICE: "device"}
CATALOGS = ("22222222-2222-4222-8222-22222222222a", "22222222-2222-4222-8222-22222222222b")
CLIENT = "33333333-3333-4333-8333-333333333333"
CATALOG_ROLES = "roleManagement/entitlementManagement/roleAssignments"
GRAPH = {"id": "of-graph", "appId": ENTRA["Microsoft Graph"]}


class Desk:
    """An administrator's shell, with az in front of a made-up Entra; waiting takes no time."""

    def __init__(self, folder):
        self.folder = folder
        self.put()

    def put(self, *applications, rest=None, cloud=ROOT, programs=None, **entra):
        """Begin with these registrations and their service principals, beside Graph."""
        made = [copy.deepcopy(stand_in.APPLICATION) | one for one in applications]
        directory = {
            "applications": [{"appId": GRAPH["appId"], "appRoles": []}, *made],
            "servicePrincipals": [GRAPH, *({"id": "of-ours"} | one for one in applications)],
            "objects": OBJECTS,
            "late": 0,
        }
        state = {"says": {"cloud show": cloud, "rest": rest}, "entra": directory | entra}
        self.environ = stand_in.put(self.folder, state, sleep="", **(programs or {}))

    def state(self):
        return json.loads((self.folder / "state.json").read_text())

    def found(self, kind):
        """The only one that is there now, beside Graph itself."""
        (found,) = [one for one in self.state()["entra"][kind] if one["appId"] != GRAPH["appId"]]
        return found

    def run(self, script, *arguments, **environ):
        """Run a script; return its exit code and what it said."""
        environ = self.environ | {"PATH": f"{self.folder}:/usr/bin:/bin"} | environ
        run = subprocess.run(
            [SCRIPTS / script, *arguments], env=environ, capture_output=True, text=True
        )
        return run.returncode, (run.stdout + run.stderr).strip()

    def rests(self):
        """The options of every call of az rest."""
        calls = [one for one in self.state()["calls"] if one[0] == "rest"]
        return [dict(zip(one[1::2], one[2::2], strict=True)) for one in calls]

    def changes(self):
        """Every call that changes something: method, path, body."""
        start = len(f"{ROOT}/v1.0/")
        return [
            (one["--method"], one["--url"][start:], json.loads(one.get("--body", "null")))
            for one in self.rests()
            if one["--method"] != "GET"
        ]


@pytest.fixture
def az(tmp_path):
    """Nobody has any role yet."""
    return Desk(tmp_path)


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

    permission = ENTRA["EntitlementManagement.ReadWrite.All"]
    body = {"principalId": IDENTITY, "resourceId": "of-graph", "appRoleId": permission}
    path = f"servicePrincipals/{IDENTITY}/appRoleAssignments"
    assert [("POST", path, body), ("DELETE", f"{path}/made-0", None)] == az.changes()


def test_the_role_is_given_in_each_catalog_and_taken_away_in_one(az):
    """Only in the catalogs that are named; the application permission is left alone."""
    first, second = CATALOGS
    given = [("add", IDENTITY, *CATALOGS), ("add", IDENTITY, first), ("remove", IDENTITY, first)]
    manager = ENTRA["Access package assignment manager"]
    posts = [
        ("POST", CATALOG_ROLES, {"principalId": IDENTITY, "roleDefinitionId": manager, "appScopeId": f"/AccessPackageCatalog/{one}"})
        for one in CATALOGS
    ]  # fmt: skip

    assert [
        (0, f"Catalog {first}: it has the role now.\nCatalog {second}: it has the role now."),
        (0, f"Catalog {first}: it has the role already."),
        (0, f"Catalog {first}: it does not have the role any more."),
    ] == [az.run("permission", *one) for one in given]
    assert [*posts, ("DELETE", f"{CATALOG_ROLES}/made-0", None)] == az.changes()


CALLBACK = "https://app.example/.auth/login/aad/callback"


def register(az):
    return az.run("callers", "register", "Redeliver callers", "https://app.example/")


def test_a_registration_is_made_for_one_tenant_with_a_role_that_must_be_assigned(az):
    """Its client id is all that is printed; what Entra does not show yet is waited for."""
    az.put(late=2)

    code, client = register(az)
    assert (0, client) == register(az)  # which makes no second one
    made, principal = az.found("applications"), az.found("servicePrincipals")

    assert (0, made["appId"]) == (code, client)
    assert ("AzureADMyOrg", [f"api://{client}"]) == (made["signInAudience"], made["identifierUris"])
    assert 2 == made["api"]["requestedAccessTokenVersion"]
    assert ["user_impersonation"] == [one["value"] for one in made["api"]["oauth2PermissionScopes"]]
    assert [("Requests.Reprocess", ["Application", "User"])] == [
        (one["value"], one["allowedMemberTypes"]) for one in made["appRoles"]
    ]
    web = {"redirectUris": [CALLBACK], "implicitGrantSettings": {"enableIdTokenIssuance": True}}
    assert web == made["web"]
    assert principal["appRoleAssignmentRequired"] is True


def test_a_registration_made_by_hand_is_completed(az):
    """It keeps what it has: roles, scopes and addresses of its own."""
    az.put(
        {
            "appId": CLIENT,
            "displayName": "Redeliver callers",
            "appRoles": [{"id": "1", "value": "Other", "origin": "Application", "isEnabled": True}],
            "identifierUris": [f"api://{CLIENT}"],
            "web": {"redirectUris": ["https://else.example/"]},
        }
    )

    assert (0, CLIENT) == register(az)
    made = az.found("applications")

    assert 2 == made["api"]["requestedAccessTokenVersion"]
    assert ["Other", "Requests.Reprocess"] == [one["value"] for one in made["appRoles"]]
    assert ["https://else.example/", CALLBACK] == made["web"]["redirectUris"]
    assert [f"api://{CLIENT}"] == made["identifierUris"]


@pytest.mark.parametrize(("there", "why"), [
    ([{"appId": "one"}, {"appId": "two"}], "there is more than one registration"),
    ([{"appId": "one", "signInAudience": "AzureADMultipleOrgs"}], "is not for this tenant alone"),
])  # fmt: skip
def test_a_registration_that_is_not_ours_is_left_alone(az, there, why):
    """Nothing is changed."""
    az.put(*(one | {"displayName": "Redeliver callers"} for one in there))

    code, said = register(az)

    assert (1, True) == (code, why in said)
    assert [] == az.changes()


def test_callers_are_let_in_and_shut_out(az):
    """Users, groups and applications, by the role that the registration has, whatever its id is."""
    roles = [{"id": "role-1", "value": "Other"}, {"id": "role-2", "value": "Requests.Reprocess"}]
    other = {"id": "other", "resourceId": "of-ours", "appRoleId": "role-1"}
    ours = {"appId": CLIENT, "appRoles": roles, "api": {"requestedAccessTokenVersion": 2}}
    az.put(ours, **{f"roles of {GROUP}": [other]})

    assert [SAID[0]] * 2 == [az.run("callers", "add", CLIENT, one) for one in (IDENTITY, USER)]
    assert SAID == [az.run("callers", what, CLIENT, GROUP) for what in TWICE]

    given = {"resourceId": "of-ours", "appRoleId": "role-2"}
    paths = [f"{OBJECTS[one]}s/{one}/appRoleAssignments" for one in (IDENTITY, USER, GROUP)]
    assert [
        ("POST", paths[0], given | {"principalId": IDENTITY}),
        ("POST", paths[1], given | {"principalId": USER}),
        ("POST", paths[2], given | {"principalId": GROUP}),
        ("DELETE", f"{paths[2]}/made-1", None),
    ] == az.changes()


@pytest.mark.parametrize(("caller", "code", "words"), [
    (IDENTITY, 0, "tokens of version 1"),  # which the platform answers 401 without a word
    (DEVICE, 1, "is no user, group or service principal"),
])  # fmt: skip
def test_what_cannot_work_is_said_when_a_caller_is_added(az, caller, code, words):
    """Only users, groups and service principals can have a role."""
    az.put({"appId": CLIENT, "appRoles": [{"id": "r", "value": "Requests.Reprocess"}]})

    found, said = az.run("callers", "add", CLIENT, caller)

    assert (code, True) == (found, words in said)
    assert bool(code) == (az.changes() == [])


@pytest.mark.parametrize(("script", "arguments"), [
    ("permission", []),
    ("permission", ["add"]),
    ("permission", ["add", IDENTITY, 'x" or 1']),
    ("permission", ["add", f'{IDENTITY}\n", "x": "y']),
    ("callers", []),
    ("callers", ["register", 'a", "b": "c', "https://app.example"]),
    ("callers", ["register", "Redeliver", "http://app.example"]),
    ("callers", ["register", "Redeliver", 'https://app.example", "x": "y']),
    ("callers", ["add", CLIENT]),
    ("callers", ["remove", f"{CLIENT}\n", IDENTITY]),
])  # fmt: skip
def test_what_is_no_id_and_no_name_never_reaches_graph(az, script, arguments):
    """It stops with one line before az is called."""
    code, said = az.run(script, *arguments)

    assert (1, True, []) == (code, bool(said), az.state()["calls"])


@pytest.mark.parametrize(("script", "arguments"), [
    ("permission", ["add", IDENTITY]),
    ("permission", ["remove", IDENTITY, CATALOGS[0]]),
    ("callers", ["register", "Redeliver", "https://app.example"]),
    ("callers", ["add", CLIENT, IDENTITY]),
])  # fmt: skip
def test_when_graph_says_no_nothing_more_is_asked(az, script, arguments):
    """The first refusal ends the script, with what was refused."""
    az.put(refuses=True)

    code, said = az.run(script, *arguments)

    assert (1, True, 1) == (code, "Graph did not take it: " in said, len(az.rests()))


@pytest.mark.parametrize(("environ", "root"), [
    ({}, "https://graph.microsoft.us"),
    ({"GRAPH_ROOT": "https://dod-graph.microsoft.us"}, "https://dod-graph.microsoft.us"),
])  # fmt: skip
def test_graph_is_that_of_the_cloud(az, environ, root):
    """Of the cloud that az is set to; that of US Gov L5 has to be named."""
    az.put(cloud="https://graph.microsoft.us/", refuses=True)

    az.run("permission", "add", IDENTITY, **environ)
    [asked] = az.rests()

    path = f"servicePrincipals(appId='{GRAPH['appId']}')"
    assert (f"{root}/v1.0/{path}", root) == (asked["--url"], asked["--resource"])


@pytest.mark.parametrize(("key", "answer", "said"), [
    ("the-key", "{}\n200", "The diagnosis finds nothing wrong."),
    ("the-key", '{"remedy": "Give it."}\n503', f'Give it."}}\nNext: what each remedy says. The permission: scripts/permission add {IDENTITY}'),
    ("the-key", "\n401", "could not be asked"),
    (None, "", "could not be asked"),
], ids=["well", "not yet", "with tokens", "not signed in"])  # fmt: skip
def test_what_comes_next_is_said_after_a_deployment(az, key, answer, said):
    """By the diagnosis, where it can be asked; always the page, and a dry sweep."""
    az.put(rest=key, programs={"curl": f"cat <<'E'\n{answer}\nE"})

    names = {"APP_ID": "/site", "APP_URL": "https://app.example", "IDENTITY_OBJECT_ID": IDENTITY}
    code, printed = az.run("next-steps", **names)

    assert 0 == code
    for words in (
        said,
        "https://app.example/api/report",
        "/site/hostruntime/admin/functions/sweep",
    ):
        assert words in printed


POWERSHELL = [*SCRIPTS.glob("*.ps1"), *EXAMPLES.glob("**/*.ps1")]


@pytest.mark.parametrize("path", POWERSHELL, ids=lambda path: path.name)
def test_powershell_parses(path):
    """By its grammar for tree-sitter."""
    parser = tree_sitter.Parser(tree_sitter.Language(tree_sitter_powershell.language()))

    assert not parser.parse(path.read_bytes()).root_node.has_error
