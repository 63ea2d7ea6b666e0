"""A cold start: from a fresh process of the local host to its first 202, beside two other apps.

The others: the same function on msgraph-sdk, and a hello-world that gets a token. Each gets its
token in this time. The bytes to install are counted too.
Packages are compiled, as pip leaves them. The code of an app is not, as in a package that was
deployed as it is; ours is measured compiled as well.
Not for: Azure's own part of a cold start, which only Azure can show.
"""

from __future__ import annotations

import compileall
import contextlib
import http.client
import importlib.metadata
import os
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from benchmarks.peers.job import peak_mib
from benchmarks.tenant import SDK_HOME, environment, running, sdk_python
from emulator.run import APP, free_port
from scripts.packages import pins
from tests.support import package

if TYPE_CHECKING:
    from collections.abc import Iterable

    from emulator.azurite import Azurite
    from emulator.run import Local

APPS = OURS, COMPILED, SDK, HELLO = "Redeliver", "Redeliver, compiled", "msgraph-sdk", "hello-world"
# What the others are, and what they need beside Python.
PEERS = {
    SDK: ("sdk_app.py", ("azure-functions", "msgraph-sdk")),
    HELLO: ("hello_app.py", ("azure-functions", "azure-identity")),
}
GIVEN_UP = 30.0  # seconds


def lay_out(name: str, folder: Path) -> None:
    """Put an app, as it is deployed, into a folder."""
    if name in PEERS:
        folder.mkdir()
        shutil.copy(APP / "benchmarks" / "peers" / PEERS[name][0], folder / "function_app.py")
        shutil.copy(APP / "host.json", folder)
    else:
        package.build(folder)
    if name == COMPILED:
        compileall.compile_dir(folder, quiet=1)


def until_202(name: str, folder: Path, local: Local, request_id: str) -> dict[str, float]:
    """Start a fresh host and call it until it answers; return seconds, CPU seconds, and memory."""
    port = free_port()
    python = sdk_python() if name == SDK else sys.executable
    own = {"PYTHONPATH": str(APP), "PYTHONDONTWRITEBYTECODE": "1"}
    started = time.perf_counter()
    with subprocess.Popen(
        [python, "-m", "emulator.host", "--app", folder, "--port", str(port), "--exit-with-parent"],
        cwd=APP,
        env=environment(local) | own | {"FUNCTION_KEY": local.function_key},
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        wait_for_202(port, f"/api/requests/{request_id}/reprocess", local.function_key)
        seconds = time.perf_counter() - started
        used = {"cpu": cpu_seconds(process.pid), "mib": peak_mib(process.pid)}
        process.terminate()
    return {"seconds": seconds} | used


def wait_for_202(port: int, path: str, key: str) -> None:
    """POST until there is an answer, which must be 202."""
    end = time.monotonic() + GIVEN_UP
    while time.monotonic() < end:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        with contextlib.suppress(ConnectionRefusedError), contextlib.closing(connection):
            headers = {"x-functions-key": key, "Content-Length": "0"}
            connection.request("POST", path, headers=headers)
            answer = connection.getresponse()
            assert answer.status == 202, answer.read()
            return
        time.sleep(0.005)
    raise AssertionError(f"no answer within {GIVEN_UP} s")


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process has used; a busy machine adds little to it."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def installed(names: Iterable[str], site: str) -> int:
    """Return the bytes of packages and of all that they need, as pip has installed them."""
    there = {
        canonicalize_name(one.metadata["Name"]): one
        for one in importlib.metadata.distributions(path=[site])
    }
    needed = list(map(canonicalize_name, names))
    for name in needed:  # which grows meanwhile
        for one in map(Requirement, there[name].requires or ()):
            if one.marker is None or one.marker.evaluate({"extra": ""}):
                needed += {canonicalize_name(one.name)} - {*needed}
    files = (Path(str(file.locate())) for name in needed for file in there[name].files or ())
    return sum(file.stat().st_size for file in files if file.exists())


def size(name: str, folder: Path) -> int:
    """Return the bytes of all that an app needs beside Python, its own files included."""
    site = sysconfig.get_path("purelib")
    if name == SDK:
        (site,) = map(str, SDK_HOME.glob("lib/python*/site-packages"))
    names = PEERS[name][1] if name in PEERS else pins((APP / "requirements.txt").read_text())
    own = (one for one in folder.rglob("*") if one.is_file() and one.suffix != ".pyc")
    return installed(names, site) + sum(one.stat().st_size for one in own)


def measure(azurite: Azurite, rounds: int) -> dict[str, Any]:
    """Start the apps in turns; a first round, which warms the disk's cache, is left out."""
    compileall.compile_dir(APP / "emulator", quiet=1)  # the host
    rows = []
    with (
        tempfile.TemporaryDirectory() as home,
        running(azurite, (rounds + 1) * len(APPS)) as local,
    ):
        folders = {name: Path(home) / name for name in APPS}
        for name, folder in folders.items():
            lay_out(name, folder)
        ids = (one["id"] for one in local.control("GET", "requests")["requests"])
        turns = [
            {name: until_202(name, folder, local, next(ids)) for name, folder in folders.items()}
            for _ in range(rounds + 1)
        ]
        for name, folder in folders.items():
            runs = [turn[name] for turn in turns[1:]]
            medians = {field: statistics.median(run[field] for run in runs) for field in runs[0]}
            rows.append({"app": name} | medians | {"megabytes": size(name, folder) / 1e6})
            print(rows[-1], flush=True)
    return {"rounds": rounds, "rows": rows}
