"""Every az command of the documents and scripts, as the shell would hand it on.

    python -m tests.support.commands | <python with azure-cli> tests/support/az_parse.py

The sh blocks of a document are run as one script, in an empty folder where az is tests/support/az.py and
nothing else does anything. The scripts are run in front of the same stand-in.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.support.az import APPLICATION

PROJECT = Path(__file__).parents[2]
ID = "11111111-1111-4111-8111-111111111111"
SILENT = ("azd", "curl", "gh", "git", "make", "openssl", "zip")  # what documents call besides az
SCRIPTS = [
    ["permission", "add", ID],
    ["permission", "remove", ID],
    ["permission", "add", ID, ID],
    ["permission", "remove", ID, ID],
    ["callers", "register", "Redeliver", "https://app.example"],
    ["callers", "add", ID, ID],
    ["callers", "remove", ID, ID],
    ["next-steps"],
]

OURS = {"appId": ID, "appRoles": [{"id": ID, "value": "Requests.Reprocess"}]}
GRAPH = {"id": ID, "appId": "00000003-0000-0000-c000-000000000000"}
ENTRA = {
    "applications": [APPLICATION | OURS, GRAPH | {"appRoles": []}],
    "servicePrincipals": [{"id": ID, "appId": ID}, GRAPH],
    "objects": {ID: "servicePrincipal"},
}


def sandbox(folder, *, entra=False):
    """Put the stand-ins into a folder; return the environment in which only they are found."""
    for name in SILENT:
        (folder / name).write_text(f"#!/bin/sh\necho said-by-{name}\n")
    (folder / "az").write_text(
        f'#!/bin/sh\ncd {PROJECT} && exec {sys.executable} -m tests.support.az "$@"\n'
    )
    for name in (*SILENT, "az"):
        (folder / name).chmod(0o755)
    state = folder / "state.json"
    known = {"says": {"cloud show": "https://graph.microsoft.com", "rest": "made-0"}}
    known |= {"entra": ENTRA} if entra else {}
    state.write_text(json.dumps(known))
    return {"PATH": str(folder), "AZ_STATE": str(state)}, state


def called(run, *, entra=False):
    """The arguments of every call of az that something makes; `run` gets folder and environment."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        environ, state = sandbox(folder, entra=entra)
        run(folder, environ)
        return json.loads(state.read_text()).get("calls", [])


def of_document(path):
    """The commands in a document's sh blocks, and those inside its sentences."""
    text = path.read_text()
    blocks = "\n".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL))
    sentences = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    spans = [shlex.split(one) for one in re.findall(r"`az ([^`]*[^`\s])`", sentences)]

    def run(folder, environ):
        subprocess.run(
            ["/bin/sh", "-c", blocks], cwd=folder, env=environ, capture_output=True, check=False
        )

    # A command that is only named has to be one; it is not complete.
    named = [one if "--" in " ".join(one) else [*one, "--help"] for one in spans]
    return called(run) + named


def of_script(script):
    """The commands of a script, with these arguments."""

    def run(_, environ):
        path = {"PATH": f"{environ['PATH']}:/usr/bin:/bin"}
        subprocess.run(
            [PROJECT / "scripts" / script[0], *script[1:]],
            env=environ | path | dict.fromkeys(("APP_ID", "APP_URL", "IDENTITY_OBJECT_ID"), "/a"),
            check=True,
            capture_output=True,
        )

    return called(run, entra=True)


def every():
    """Where each command is, and its arguments."""
    documents = [PROJECT / "README.md", *sorted(PROJECT.glob("docs/*.md"))]
    documents += [*sorted(PROJECT.glob("examples/**/*.md")), PROJECT / "connector/README.md"]
    found = [
        (str(path.relative_to(PROJECT)), one) for path in documents for one in of_document(path)
    ]
    return found + [(f"scripts/{one[0]}", call) for one in SCRIPTS for call in of_script(one)]


if __name__ == "__main__":
    json.dump(every(), sys.stdout)
