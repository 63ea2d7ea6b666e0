"""The tenant that is measured: the app beside an emulated Graph, failed requests, and counts.

Not for: measuring. The emulated Graph and the app are processes of their own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

from emulator.run import APP, Local, ask
from scripts.packages import pins

SDK_HOME = APP / ".bench"  # msgraph-sdk, in an environment of its own
NO_TIMER = {"SWEEP_SCHEDULE": "0 0 0 1 1 *"}  # the app's own sweep would join in
OPERATIONS = ("list", "read", "reprocess", "batch")


def sdk_python() -> Path:
    """Return a Python that has benchmarks/requirements.txt, installed when first used."""
    python, stamp = SDK_HOME / "bin" / "python", SDK_HOME / "installed"
    requirements = APP / "benchmarks" / "requirements.txt"
    if not stamp.exists() or stamp.read_text() != requirements.read_text():
        print(f"Installing msgraph-sdk into {SDK_HOME.name} (once, 450 MB) ...")
        subprocess.run([sys.executable, "-m", "venv", "--clear", SDK_HOME], check=True)
        pinned: dict[str, str] = {}
        for name in ("requirements-dev.txt", "requirements-run.txt", "requirements.txt"):
            pinned |= pins((APP / name).read_text())
        constraints = SDK_HOME / "constraints.txt"
        constraints.write_text("".join(f"{name}=={at}\n" for name, at in pinned.items()))
        options = [
            "-q",
            "--disable-pip-version-check",
            "-c",
            str(constraints),
            "-r",
            str(requirements),
        ]
        subprocess.run([python, "-m", "pip", "install", *options], check=True)
        stamp.write_text(requirements.read_text())
    return python


def generated(count: int) -> Local:
    """Return an app whose emulated Graph has this many due requests, delivered as soon as asked."""
    options: tuple[str, ...] = ("--requests", str(count), "--all-failed", "--delivery-seconds", "0")
    options += ("--stale-seconds", "0", "--page-size", "100")
    return Local(settings=NO_TIMER, graph_options=options)


def fill(local: Local, count: int) -> None:
    """Make a tenant of failed requests only, which are delivered as soon as asked."""
    local.control("DELETE", "requests")
    local.control("PATCH", "settings", {"deliverySeconds": 0, "staleSeconds": 0, "pageSize": 100})
    ids = [str(uuid.UUID(int=0xB << 124 | 4 << 76 | 8 << 60 | n)) for n in range(count)]
    local.control("POST", "requests", {"requests": [{"id": one} for one in ids]})


def failing(local: Local, count: int) -> list[str]:
    """Add failed requests, whose delivery takes an hour when asked; return their ids."""
    ids = [str(uuid.uuid4()) for _ in range(count)]
    local.control("PATCH", "settings", {"deliverySeconds": 3600})
    local.control("POST", "requests", {"requests": [{"id": one} for one in ids]})
    return ids


def environment(local: Local, **settings: str) -> dict[str, str]:
    """Return what a process needs to be the app beside this Graph."""
    return {
        **os.environ,
        "GRAPH_ENDPOINT": local.graph_url,
        "IDENTITY_ENDPOINT": f"{local.graph_url}/msi/token",
        "IDENTITY_HEADER": local.identity_header,
        "SWEEP_MIN_AGE_MINUTES": "0",
        **settings,
    }


def token(local: Local) -> str:
    url = f"{local.graph_url}/msi/token?api-version=2019-08-01&resource=https://graph.microsoft.com"
    body = json.loads(ask(url, {"X-IDENTITY-HEADER": local.identity_header}))
    return str(body["access_token"])


def http_calls(log: list[dict[str, Any]]) -> int:
    """Count the HTTP calls to Graph in its log; the items of a batch are none."""
    return sum(e["operation"] in OPERATIONS and "parent" not in e for e in log)


def peak_mib(pid: int) -> float:
    with Path(f"/proc/{pid}/status").open() as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024
