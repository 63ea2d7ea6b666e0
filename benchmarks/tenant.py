"""The tenant that is measured: the app beside an emulated Graph in which requests have failed.

Not for: measuring. The emulated Graph and the app are processes of their own.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import uuid
from typing import TYPE_CHECKING, Any

from emulator.run import APP, Local, ask
from scripts.packages import pins

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from emulator.azurite import Azurite

SDK_HOME = APP / ".bench"  # msgraph-sdk, in an environment of its own


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
        quietly = ("install", "-q", "--disable-pip-version-check")
        command = (python, "-m", "pip", *quietly, "-c", constraints, "-r", requirements)
        subprocess.run(command, check=True)
        stamp.write_text(requirements.read_text())
    return python


@contextlib.contextmanager
def running(azurite: Azurite, failed: int, **switches: Any) -> Iterator[Local]:
    """Run the app, with an empty table, beside a Graph in which so many requests have failed.

    All are due, and delivered as soon as asked. The switches are those of the emulated Graph.
    """
    settings = {
        "SWEEP_SCHEDULE": "0 0 0 1 1 *",  # the app's own sweep would join in
        "SWEEP_MIN_AGE_MINUTES": "0",
        "AzureWebJobsStorage": azurite.connection_string,
        "ATTEMPTS_TABLE": f"attempts{uuid.uuid4().hex}",
    }
    with Local(
        settings=settings, graph_options=("--requests", str(failed), "--all-failed")
    ) as local:
        at_once = {"deliverySeconds": 0, "staleSeconds": 0, "pageSize": 100}
        local.control("PATCH", "settings", at_once | switches)
        local.control("DELETE", "log")
        yield local


def environment(local: Local) -> dict[str, str]:
    """Return what a process needs to be the app beside this Graph."""
    return {
        **os.environ,
        "GRAPH_ENDPOINT": local.graph_url,
        "IDENTITY_ENDPOINT": f"{local.graph_url}/msi/token",
        "IDENTITY_HEADER": local.identity_header,
        **local.settings,
    }


def token(local: Local) -> str:
    url = f"{local.graph_url}/msi/token?api-version=2019-08-01&resource=https://graph.microsoft.com"
    body = json.loads(ask(url, {"X-IDENTITY-HEADER": local.identity_header}))
    return str(body["access_token"])
