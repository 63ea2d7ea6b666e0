"""Stands in for az: answers from a file of state, and writes down every call.

For: tests of scripts/, of the workflow and of what documents show. Not for: checking a command's
arguments; the real az does that in `make check-docs`.

AZ_STATE names a JSON file: {"says": {command: answer}, "fails": [command], "calls": [arguments],
"entra": {...}, "cloud": {...}}. Entra is as late as it is: what was made is not there for the next
`late` calls that ask for it. The cloud is what tests/support/azd.py deploys.
"""

from __future__ import annotations

import copy
import json
import os
import re
import sys
from pathlib import Path

import jmespath

SITE = "/subscriptions/one/resourceGroups/rg-test/providers/Microsoft.Web/sites/app"
APPLICATION = {
    "signInAudience": "AzureADMyOrg",
    "appRoles": [],
    "identifierUris": [],
    "api": {"requestedAccessTokenVersion": None, "oauth2PermissionScopes": []},
    "web": {"redirectUris": [], "implicitGrantSettings": {"enableIdTokenIssuance": False}},
}


class Refused(Exception):
    """What Graph or Azure answers with an error."""


class Entra:
    """Microsoft Entra, as far as the scripts ask it."""

    def __init__(self, state):
        self.state = state
        for name in ("applications", "servicePrincipals", "assignments", "catalogRoles"):
            state.setdefault(name, [])

    def call(self, method, path, query, body):
        """Answer one call of Graph; `query` is the filter."""
        kind, _, key = path.partition("(appId='")
        if path in {"applications", "servicePrincipals"}:
            if method == "POST":
                return self._make(path, body)
            name, value = re.fullmatch(r"\$filter=(\w+) eq '(.*)'", query).groups()
            found = [one for one in self.state[path] if one.get(name) == value]
            return {"value": [one for one in found if not self._is_late(one)]}
        if key:
            return self._one(method, kind, key.removesuffix("')"), body)
        if path.startswith("directoryObjects/"):
            kind = self.state["objects"].get(path.partition("/")[2])
            return {"@odata.type": f"#microsoft.graph.{kind}"} if kind else self._no()
        if path.startswith("roleManagement/"):
            return self._collection("catalogRoles", method, path.split("/")[3:], body)
        kind, principal, _, *rest = path.split("/")
        if f"{self.state['objects'].get(principal)}s" != kind:
            self._no()
        return self._collection("assignments", method, rest, body)

    def _make(self, kind, body):
        if kind == "servicePrincipals":
            owner = next(one for one in self.state["applications"] if one["appId"] == body["appId"])
            taken = any(one["appId"] == body["appId"] for one in self.state[kind])
            if taken or self._is_late(owner):
                self._no("400 or 409")
        number = len(self.state[kind])
        made = copy.deepcopy(APPLICATION if kind == "applications" else {}) | {
            "id": f"{kind}-{number}",
            "appId": f"33333333-3333-4333-8333-{number:012}",
        }
        made |= body | {"late": self.state.get("late", 0)}
        self.state[kind].append(made)
        return made

    def _one(self, method, kind, key, body):
        one = next((one for one in self.state[kind] if one["appId"] == key), None)
        if one is None or self._is_late(one):
            self._no()
        if method == "PATCH":
            if any("origin" in role for role in body.get("appRoles", [])):
                self._no("400: origin must not be written")
            for name, value in body.items():
                one[name] = one[name] | value if isinstance(value, dict) else value
            return None
        if kind == "applications":
            return one
        owner = next(app for app in self.state["applications"] if app["appId"] == key)
        return {"appRoles": owner["appRoles"]} | one

    def _collection(self, name, method, rest, body):
        if method == "POST":
            self.state[name].append({"id": f"made-{len(self.state[name])}"} | body)
        if method == "DELETE":
            self.state[name] = [one for one in self.state[name] if one["id"] != rest[0]]
        return {"value": self.state[name]} if method == "GET" else None

    def _is_late(self, one):
        one["late"] = one.get("late", 0) - 1
        return one["late"] >= 0

    @staticmethod
    def _no(why="404 Not Found"):
        raise Refused(why)


def of_cloud(method, path, cloud):
    """Answer a call of Azure Resource Manager."""
    match method, path.removeprefix(SITE):
        case "POST", "/stop" | "/start":
            cloud["stopped"] = path.endswith("/stop")
            return None
        case "POST", "/config/appsettings/list":
            return {"properties": cloud["settings"]}
        case "GET", "/config/authsettingsV2":
            return {"properties": cloud["auth"]}
        case "GET", "":
            return cloud["app"]
    return {}


def of_azure(command, options, cloud):
    """Answer another command that asks for, or changes, what is deployed."""
    match command:
        case "group exists":
            return bool(cloud)
        case "resource list":
            return [{"id": one} for one in cloud["resources"].get(options["--resource-type"], [])]
        case "functionapp config appsettings set":
            cloud["settings"] |= dict([options["--settings"].split("=", 1)])
    return None


def main(arguments):
    """Answer one call."""
    path = Path(os.environ["AZ_STATE"])
    state = json.loads(path.read_text()) if path.exists() else {}
    state.setdefault("calls", []).append(arguments)
    first = next((n for n, one in enumerate(arguments) if one.startswith("-")), len(arguments))
    command = " ".join(arguments[:first])
    options = dict(zip(arguments[first::2], arguments[first + 1 :: 2], strict=False))
    refused = "refused" if command in state.get("fails", []) else ""
    answer = state.get("says", {}).get(command)
    try:
        if command == "rest" and "/v1.0/" in options["--url"] and "entra" in state:
            body = json.loads(options.get("--body", "null"))
            graph, query = options["--url"].partition("/v1.0/")[2], options.get("--url-parameters")
            if not refused:
                answer = Entra(state["entra"]).call(options["--method"], graph, query, body)
        elif command == "rest" and "cloud" in state:
            where = options["--url"].partition("?")[0]
            answer = of_cloud(options["--method"], where, state["cloud"])
        elif "cloud" in state:
            answer = of_azure(command, options, state["cloud"])
    except Refused as error:
        refused = str(error)
    path.write_text(json.dumps(state))
    if refused:
        print(refused, file=sys.stderr)
        return 1
    if answer is not None and "--query" in options and not isinstance(answer, str):
        answer = jmespath.search(options["--query"], answer)
    if arguments[-2:] == ["--output", "json"] or options.get("--output") == "json":
        print(json.dumps(answer, indent=2))
        return 0
    for one in answer if isinstance(answer, list) else [answer]:
        if one is not None:
            print(one if isinstance(one, str) else json.dumps(one))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
