"""Stands in for az: answers from a file of state, and writes down every call.

For: tests of scripts/, and the list of commands that `make check-docs` has the real az parse.

AZ_STATE names a JSON file: {"says": {command: answer}, "calls": [arguments], "entra": {...}}. Entra is
as late as it is: what was made is not there for the next `late` calls that ask for it.
"""

from __future__ import annotations

import copy
import itertools
import json
import os
import re
import sys
from pathlib import Path

import jmespath

APPLICATION = {
    "signInAudience": "AzureADMyOrg",
    "appRoles": [],
    "identifierUris": [],
    "api": {"requestedAccessTokenVersion": None, "oauth2PermissionScopes": []},
    "web": {"redirectUris": [], "implicitGrantSettings": {"enableIdTokenIssuance": False}},
}


def put(folder, state, **programs):
    """Put this and other programs, given as sh, into a folder; return what leads a script to them."""
    programs["az"] = f'exec {sys.executable} {__file__} "$@"'
    for name, text in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    (folder / "state.json").write_text(json.dumps({"calls": []} | state))
    return {"PATH": str(folder), "AZ_STATE": str(folder / "state.json")}


class Refused(Exception):
    """What Graph answers with an error."""


class Entra:
    """Microsoft Entra, as far as the scripts ask it."""

    def __init__(self, state):
        self.state = state

    def call(self, method, path, query, body):
        """Answer one call of Graph; `query` is the filter."""
        kind, _, key = path.partition("(appId='")
        if self.state.get("refuses"):
            raise Refused("403 Forbidden")
        if path in {"applications", "servicePrincipals"}:
            if method == "POST":
                return self._make(path, body)
            name, value = re.fullmatch(r"\$filter=(\w+) eq '(.*)'", query).groups()
            found = [one for one in self.state[path] if one.get(name) == value]
            return {"value": [one for one in found if not self._is_late(one, "unlisted")]}
        if key:
            return self._one(method, kind, key.removesuffix("')"), body)
        if path.startswith("directoryObjects/"):
            return {"@odata.type": f"#microsoft.graph.{self._kind(path.partition('/')[2])}"}
        if path.startswith("roleManagement/"):
            return self._collection("catalogRoles", method, path.split("/")[3:], body)
        kind, principal, _, *rest = path.split("/")
        if f"{self._kind(principal)}s" != kind:
            raise Refused("404 Not Found")
        return self._collection(f"roles of {principal}", method, rest, body)

    def _kind(self, object_id):
        if object_id not in self.state["objects"]:
            raise Refused("404 Not Found")
        return self.state["objects"][object_id]

    def _make(self, kind, body):
        if kind == "servicePrincipals":
            self._find("applications", body["appId"])
        number = len(self.state[kind])
        made = copy.deepcopy(APPLICATION if kind == "applications" else {}) | {
            "id": f"{kind}-{number}",
            "appId": f"33333333-3333-4333-8333-{number:012}",
            "late": self.state["late"],
            "unlisted": 9 * self.state["late"],  # lists are later still
        }
        self.state[kind].append(made | body)
        return made

    def _one(self, method, kind, key, body):
        one = self._find(kind, key)
        if method == "PATCH":
            if any("origin" in role for role in body.get("appRoles", [])):
                raise Refused("400: origin must not be written")
            for name, value in body.items():
                one[name] = one[name] | value if isinstance(value, dict) else value
            return None
        owner = next(app for app in self.state["applications"] if app["appId"] == key)
        return {"appRoles": owner["appRoles"]} | one

    def _find(self, kind, key):
        for one in self.state[kind]:
            if one["appId"] == key and not self._is_late(one, "late"):
                return one
        raise Refused("400 or 404")

    @staticmethod
    def _is_late(one, what):
        one[what] = one.get(what, 0) - 1
        return one[what] >= 0

    def _collection(self, name, method, rest, body):
        there = self.state.setdefault(name, [])
        if method == "POST":
            there.append({"id": f"made-{len(there)}"} | body)
        if method == "DELETE":
            there[:] = [one for one in there if one["id"] != rest[0]]
        return {"value": there} if method == "GET" else None


def main(*arguments):
    """Answer one call; return its exit code."""
    path = Path(os.environ["AZ_STATE"])
    state = json.loads(path.read_text())
    state["calls"].append(arguments)
    command = list(itertools.takewhile(lambda one: not one.startswith("-"), arguments))
    rest = arguments[len(command) :]
    options = dict(zip(rest[::2], rest[1::2], strict=False))
    answer = state["says"].get(" ".join(command))
    graph = options.get("--url", "").partition("/v1.0/")[2]
    try:
        if graph:
            query, body = options.get("--url-parameters"), json.loads(options.get("--body", "null"))
            answer = Entra(state["entra"]).call(options["--method"], graph, query, body)
    except Refused as error:
        sys.exit(str(error))
    finally:
        path.write_text(json.dumps(state))
    if isinstance(answer, dict) and "--query" in options:
        answer = jmespath.search(options["--query"], answer)
    if options.get("--output") == "json":
        print(json.dumps(answer, indent=2))
        return
    for one in answer if isinstance(answer, list) else [answer]:
        if one is not None:
            print(one if isinstance(one, str) else json.dumps(one))


if __name__ == "__main__":
    main(*sys.argv[1:])
