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

from tests.support import az

PROJECT = Path(__file__).parents[2]
ID = "11111111-1111-4111-8111-111111111111"
OTHERS = ("azd", "curl", "gh", "git", "make", "openssl", "zip")  # what documents call besides az
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
GRAPH = {"id": ID, "appId": "00000003-0000-0000-c000-000000000000"}
OURS = {"id": ID, "appId": ID, "appRoles": [{"id": ID, "value": "Requests.Reprocess"}]}
# Whoever is asked for has a role already, so that it can be taken away too.
STATE = {
    "says": {"cloud show": "https://graph.microsoft.com", "rest": "made-0"},
    "entra": {
        "applications": [az.APPLICATION | OURS, GRAPH | {"appRoles": []}],
        "servicePrincipals": [OURS, GRAPH],
        "objects": {ID: "servicePrincipal"},
        "late": 0,
    },
}


def called(*command, path=""):
    """The arguments of every call of az that a command makes, in a folder of its own."""
    with tempfile.TemporaryDirectory() as made:
        environ = az.put(Path(made), STATE, **{name: f"echo said-by-{name}" for name in OTHERS})
        environ |= {"PATH": environ["PATH"] + path}
        environ |= dict.fromkeys(("APP_ID", "APP_URL", "IDENTITY_OBJECT_ID"), "/a")
        subprocess.run(command, cwd=made, env=environ, capture_output=True, check=bool(path))
        return json.loads(Path(environ["AZ_STATE"]).read_text())["calls"]


def of_document(path):
    """The commands in a document's sh blocks, and those inside its sentences."""
    text = path.read_text()
    blocks = "\n".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL))
    sentences = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    spans = [shlex.split(one) for one in re.findall(r"`az ([^`]*[^`\s])`", sentences)]
    # A command that is only named has to be one; it is not complete.
    named = [one if "--" in " ".join(one) else [*one, "--help"] for one in spans]
    return called("/bin/sh", "-c", blocks) + named


def every():
    """Where each command is, and its arguments."""
    found = [
        (f"scripts/{one[0]}", call)
        for one in SCRIPTS
        for call in called(PROJECT / "scripts" / one[0], *one[1:], path=":/usr/bin:/bin")
    ]
    for pattern in ("README.md", "docs/*.md", "examples/**/*.md", "connector/README.md"):
        for path in sorted(PROJECT.glob(pattern)):
            found += [(str(path.relative_to(PROJECT)), one) for one in of_document(path)]
    return found


if __name__ == "__main__":
    json.dump(every(), sys.stdout)
