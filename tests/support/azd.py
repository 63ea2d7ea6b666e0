"""Stands in for azd and for GitHub's gh, with the rules that an administrator meets.

    python -m tests.support.azd azd|gh ARGUMENTS

- A deployment whose parameters equal the last one's is skipped, whatever was changed by hand since,
  unless it is told `--no-state`.
- A parameter is filled from azd's environment, and from the shell where that lacks the name.
- `pipeline config` stores parameters marked @secure as secrets, the others as variables, and
  lists and objects not at all.

State is the file that AZ_STATE names, shared with tests/support/az.py.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from tests.support.az import SITE
from tests.support.bicep import INFRA, File, module

OUTPUTS = {"AZURE_RESOURCE_GROUP": "rg-test", "APP_ID": SITE, "APP_NAME": "app"}


def parameters():
    """The variable in azd's environment that fills each parameter."""
    given = json.loads((INFRA / "main.parameters.json").read_text())["parameters"]
    return {name: one["value"].strip("${}") for name, one in given.items()}


def kinds():
    """The type of each parameter, `secret` for one that is marked @secure."""
    found = {}
    for node in File(INFRA / "main.bicep").nodes("parameter_declaration"):
        before = node.prev_named_sibling
        secret = before.type == "decorators" and b"@secure" in before.text
        name, kind = (one.text.decode() for one in node.named_children[:2])
        found[name] = "secret" if secret else kind
    return found


def deploy(texts):
    """What a deployment with these parameters leaves behind."""
    read = {"bool": lambda text: text == "true", "array": json.loads, "object": json.loads}
    known = kinds()
    given = {name: read.get(known[name], str)(text) for name, text in texts.items() if text}
    given = {
        name: one for name, one in given.items() if name not in {"environmentName", "location"}
    }
    app = module("app", **given)
    identity = given.get("identityId", "/subscriptions/one/resourceGroups/rg-test/identities/own")
    return {
        "settings": {
            key: str(value) for key, value in app.resource("appSettings")["properties"].items()
        },
        "auth": app.resource("authentication")["properties"],
        "app": {
            "identity": {"userAssignedIdentities": {identity: {}}},
            "properties": {
                "virtualNetworkSubnetId": "some" if given.get("network") == "private" else None
            },
        },
        "resources": {
            "Microsoft.Web/sites": [SITE],
            "Microsoft.Insights/actionGroups": ["receivers"] if given.get("alertEmail") else [],
        },
    }


def azd(arguments, state):
    """Carry out one command of azd; return its exit code."""
    env, github = state.setdefault("env", {}), state.setdefault("github", {})
    match arguments:
        case ["env", "set", name, value]:
            env[name] = value
        case ["env", "get-value", name]:
            if name not in OUTPUTS | env:
                return 1
            print((OUTPUTS | env)[name])
        case ["provision", *options]:
            texts = {
                name: env.get(one, os.environ.get(one, "")) for name, one in parameters().items()
            }
            if "--no-state" in options or texts != state.get("last"):
                state["cloud"] = {"stopped": False} | deploy(texts)
            state["last"] = texts
        case ["deploy", *_]:
            state["deploys"] = state.get("deploys", 0) + 1
        case ["pipeline", "config", *_]:
            for name, kind in kinds().items():
                variable = parameters()[name]
                if variable in env and kind not in {"array", "object"}:
                    where = "secrets" if kind == "secret" else "vars"
                    github.setdefault(where, {})[variable] = env[variable]
    return 0


def gh(arguments, state):
    """Carry out one command of gh; return its exit code."""
    match arguments:
        case ["variable", "set", name, "--body", value]:
            state["github"].setdefault("vars", {})[name] = value
    return 0


def main(tool, *arguments):
    """Carry out one command on the state."""
    path = Path(os.environ["AZ_STATE"])
    state = json.loads(path.read_text())
    code = {"azd": azd, "gh": gh}[tool](list(arguments), state)
    path.write_text(json.dumps(state, default=str))
    return code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
