#!/usr/bin/env python3
"""Says what a deployment would take away of what is deployed; fails where there is something.

    scripts/lost.py

For: the workflow azure-dev.yml, before it deploys. It compares the names of docs/deploy.md, as they
are in the environment, with what az shows of the app. Not for: what a deployment would change.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

API = "?api-version=2024-04-01"
APP_BICEP = Path(__file__).resolve().parent.parent / "infra/app.bicep"
# Settings that the parameter of the same name decides, and what they are without it.
DECIDED = {
    "GRAPH_CLOUD": "global",
    "SWEEP_SCHEDULE": "",
    "SWEEP_DRY_RUN": "true",
    "SWEEP_ACCESS_PACKAGES": "",
    "WEBHOOK_SECRETS": "",
    "STATUS_LINK_SECRET": "",
    "NOTIFY_URL": "",
}


def az(*arguments: str) -> Any:  # noqa: ANN401 - JSON is anything
    """Return what az answers. Ends the program where az fails: then nothing is known."""
    command = ["az", *arguments, "--output", "json"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if run.returncode:
        sys.exit(f"{' '.join(command)}\n{run.stderr}")
    return json.loads(run.stdout or "null")


def of_type(group: str, kind: str) -> list[str]:
    """Return the ids of a group's resources of a type."""
    found: list[str] = az(
        "resource", "list", "--resource-group", group, "--resource-type", kind, "--query", "[].id"
    )
    return found


def deployed(group: str, site: str) -> dict[str, Any]:
    """Return what was decided for an app that is deployed, by the name that decides it."""
    app = az("rest", "--method", "GET", "--url", site + API)
    settings = az("rest", "--method", "POST", "--url", f"{site}/config/appsettings/list{API}")
    values = settings["properties"]
    auth = az("rest", "--method", "GET", "--url", f"{site}/config/authsettingsV2{API}")
    is_on = (auth["properties"].get("platform") or {}).get("enabled")
    sign_in = auth["properties"] if is_on else {}
    entra = (sign_in.get("identityProviders") or {}).get("azureActiveDirectory") or {}
    policy = (entra.get("validation") or {}).get("defaultAuthorizationPolicy") or {}
    identities = (app.get("identity") or {}).get("userAssignedIdentities") or {}
    of_template = set(re.findall(r"^  (\w+): ", APP_BICEP.read_text(), re.MULTILINE))
    return {
        **{name: values.get(name, "") for name in DECIDED if values.get(name) != DECIDED[name]},
        "IDENTITY_ID": [one for one in identities if f"/{group}/".lower() not in one.lower()],
        "AUTH_CLIENT_ID": (entra.get("registration") or {}).get("clientId"),
        "ALLOWED_APPLICATIONS": policy.get("allowedApplications"),
        "ALERT_EMAIL": of_type(group, "Microsoft.Insights/actionGroups"),
        "NETWORK": app["properties"].get("virtualNetworkSubnetId"),
        "APP_SETTINGS": sorted(set(values) - of_template),
    }


def lost(there: dict[str, Any], given: dict[str, str]) -> list[str]:
    """Return the names whose value is deployed and not given; of APP_SETTINGS each one."""
    missing = [
        f"REDELIVER_{name}"
        for name, value in there.items()
        if value and name != "APP_SETTINGS" and given.get(name, "").strip() in {"", "[]"}
    ]
    kept = json.loads(given.get("APP_SETTINGS", "").strip() or "{}")
    return missing + [
        f"{name} in REDELIVER_APP_SETTINGS" for name in there["APP_SETTINGS"] if name not in kept
    ]


def main() -> int:
    """Compare, and name what would be lost."""
    group = f"rg-{os.environ['AZURE_ENV_NAME']}"
    sites = of_type(group, "Microsoft.Web/sites") if az("group", "exists", "--name", group) else []
    given = {
        name.removeprefix("REDELIVER_"): value
        for name, value in os.environ.items()
        if name.startswith("REDELIVER_")
    }
    missing = [name for site in sites for name in lost(deployed(group, site), given)]
    for name in missing:
        sys.stderr.write(f"{name} is deployed, and this deployment would take it away.\n")
    if missing:
        sys.stderr.write("docs/deploy.md, From GitHub, says how to store it.\n")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
