"""A cold start: from a fresh process of the local host to its first 202, beside two other apps.

The others: the same function on msgraph-sdk, and a hello-world that gets a token. Each gets its
token in this time. The bytes to install are counted too.
Packages are compiled, as pip leaves them. The code of an app is not, as in a package that was
deployed as it is; ours is measured compiled as well.
Not for: Azure's own part of a cold start, which only Azure can show.
"""

from __future__ import annotations

import compileall
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
from packaging.utils import NormalizedName, canonicalize_name

from benchmarks.tenant import NO_TIMER, SDK_HOME, environment, fill, peak_mib, sdk_python
from emulator.run import APP, Local, free_port
from tests.support import package

if TYPE_CHECKING:
    from collections.abc import Iterable

    from emulator.azurite import Azurite

PEERS = APP / "benchmarks" / "peers"
APPS = OURS, COMPILED, SDK, HELLO = "Redeliver", "Redeliver, compiled", "msgraph-sdk", "hello-world"
FOLDERS = {SDK: PEERS / "sdk_app", HELLO: PEERS / "hello_app"}
NEEDS = {SDK: ("azure-functions", "msgraph-sdk"), HELLO: ("azure-functions", "azure-identity")}
GIVEN_UP = 30.0  # seconds
MEASURED = ("seconds", "cpu", "mib")


def laid_out(home: Path, names: Iterable[str]) -> dict[str, Path]:
    """Copy each app, as it is deployed, into a folder of its own; return the folders."""
    folders = {name: home / name for name in names}
    for name, folder in folders.items():
        if name in FOLDERS:
            shutil.copytree(FOLDERS[name], folder, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            package.build(folder)
    if COMPILED in folders:
        compileall.compile_dir(folders[COMPILED], quiet=1)
    compileall.compile_dir(APP / "emulator", quiet=1)  # the host
    return folders


def until_202(name: str, folder: Path, local: Local, azurite: Azurite) -> dict[str, float]:
    """Start a fresh host and call it until it answers; return seconds, CPU seconds, and memory."""
    port = free_port()
    python = sdk_python() if name == SDK else sys.executable
    command = [python, "-m", "emulator.host", "--app", folder, "--port", str(port)]
    storage = {"AzureWebJobsStorage": azurite.connection_string, "ATTEMPTS_TABLE": "cold"}
    environ = environment(local, PYTHONPATH=str(APP), FUNCTION_KEY=local.function_key, **NO_TIMER)
    environ |= storage | {"PYTHONDONTWRITEBYTECODE": "1"}
    fill(local, 1)
    request_id = local.control("GET", "requests")["requests"][0]["id"]
    started = time.perf_counter()
    with subprocess.Popen(
        [*command, "--exit-with-parent"],
        cwd=APP,
        env=environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        wait_for_202(port, f"/api/requests/{request_id}/reprocess", local.function_key)
        seconds, mib = time.perf_counter() - started, peak_mib(process.pid)
        cpu = cpu_seconds(process.pid)
        process.terminate()
        process.wait()
    return {"seconds": seconds, "cpu": cpu, "mib": mib}


def wait_for_202(port: int, path: str, key: str) -> None:
    """POST until there is an answer, which must be 202."""
    end = time.monotonic() + GIVEN_UP
    while time.monotonic() < end:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        try:
            connection.request(
                "POST", path, headers={"x-functions-key": key, "Content-Length": "0"}
            )
        except ConnectionRefusedError:
            time.sleep(0.005)
            continue
        answer = connection.getresponse()
        assert answer.status == 202, answer.read()
        connection.close()
        return
    raise AssertionError(f"no answer within {GIVEN_UP} s")


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process has used; a busy machine adds little to it."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def installed(names: Iterable[str], site: str) -> int:
    """Return the bytes of packages and of all that they need, as pip has installed them."""
    found = {
        canonicalize_name(one.metadata["Name"]): one
        for one in importlib.metadata.distributions(path=[site])
    }
    pending, seen = [canonicalize_name(one) for one in names], set[NormalizedName]()
    while pending:
        if (name := pending.pop()) in seen:
            continue
        seen.add(name)
        needed = map(Requirement, found[name].requires or ())
        pending += [
            canonicalize_name(one.name)
            for one in needed
            if one.marker is None or one.marker.evaluate({"extra": ""})
        ]
    files = (Path(str(file.locate())) for name in seen for file in found[name].files or ())
    return sum(file.stat().st_size for file in files if file.exists())


def size(name: str) -> int:
    """Return the bytes of all that an app needs beside Python, its own files included."""
    own = sysconfig.get_path("purelib")
    if name not in FOLDERS:
        lines = (APP / "requirements.in").read_text().splitlines()
        names = [line for line in lines if line and not line.startswith("#")]
        return installed(names, own) + sum((APP / one).stat().st_size for one in package.deployed())
    code = sum(file.stat().st_size for file in FOLDERS[name].iterdir() if file.is_file())
    sdk = str(next(SDK_HOME.glob("lib/python*/site-packages")))
    return installed(NEEDS[name], sdk if name == SDK else own) + code


def starts(
    azurite: Azurite, rounds: int, names: Iterable[str] = APPS
) -> dict[str, list[dict[str, float]]]:
    """Start the apps in turns; a first round, which warms the disk's cache, is left out."""
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    with (
        tempfile.TemporaryDirectory() as home,
        Local(settings=NO_TIMER, graph_options=("--requests", "0")) as local,
    ):
        folders = laid_out(Path(home), runs)
        for number in range(rounds + 1):
            for name, folder in folders.items():
                run = until_202(name, folder, local, azurite)
                if number:
                    runs[name].append(run)
    return runs


def measure(azurite: Azurite, rounds: int) -> dict[str, Any]:
    rows = []
    for name, each in starts(azurite, rounds).items():
        medians = {field: statistics.median(one[field] for one in each) for field in MEASURED}
        rows.append({"app": name} | medians | {"megabytes": size(name) / 1e6})
        print(rows[-1], flush=True)
    return {"rounds": rounds, "rows": rows}
