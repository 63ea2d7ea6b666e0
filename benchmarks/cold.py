"""A cold start: from a fresh process of the local host to its first 202, beside two other apps.

The three: ours, with its table; the same function on msgraph-sdk; a hello-world that holds a
credential. Each asks for its token in this time. What was imported until then is broken down by
package, and what has to be installed is weighed.
Packages are compiled, as pip leaves them. An app's own code is not, as in a package that nobody
compiled and nobody can write to; ours is measured compiled as well.
Not for: Azure's own part of a cold start, which only Azure can show.
"""

from __future__ import annotations

import compileall
import http.client
import importlib.metadata
import os
import re
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

from benchmarks.tenant import NO_TIMER, SDK_HOME, environment, fill, peak_mib, sdk_python
from emulator.run import APP, Local, free_port
from tests import package

if TYPE_CHECKING:
    from collections.abc import Iterable

    from emulator.azurite import Azurite

PEERS = APP / "benchmarks" / "peers"
OURS, COMPILED, SDK, HELLO = "ours", "ours, compiled", "msgraph-sdk", "hello-world"
FOLDERS = {SDK: PEERS / "sdk_app", HELLO: PEERS / "hello_app"}
NEEDS = {SDK: ("azure-functions", "msgraph-sdk"), HELLO: ("azure-functions", "azure-identity")}
GIVEN_UP = 30.0  # seconds
IMPORT = re.compile(r"^import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)$", re.MULTILINE)
HOST = {"emulator", "aiohttp", "azure_functions_runtime", "azurefunctions", "croniter"}
DEPLOYED = {one.parts[0].removesuffix(".py") for one in package.deployed()}
MEASURED = ("seconds", "cpu", "mib")
LEAST = 0.005  # seconds; smaller packages are shown together


def laid_out(home: Path) -> dict[str, Path]:
    """Copy each app into a folder of its own, as it is deployed; return the folders."""
    folders = {name: home / name for name in (OURS, COMPILED, SDK, HELLO)}
    for name, folder in folders.items():
        if name in FOLDERS:
            shutil.copytree(FOLDERS[name], folder, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            package.build(folder)
    compileall.compile_dir(folders[COMPILED], quiet=1)
    compileall.compile_dir(APP / "emulator", quiet=1)  # the host
    return folders


def until_202(
    name: str, folder: Path, local: Local, azurite: Azurite, *, profile: bool
) -> dict[str, Any]:
    """Start a fresh host and call it until it answers; return the seconds, peak, and imports."""
    port = free_port()
    python = sdk_python() if name == SDK else sys.executable
    command = [python, "-m", "emulator.host", "--app", folder, "--port", str(port)]
    storage = {"AzureWebJobsStorage": azurite.connection_string, "ATTEMPTS_TABLE": "cold"}
    environ = environment(local, PYTHONPATH=str(APP), FUNCTION_KEY=local.function_key, **NO_TIMER)
    environ["PYTHONDONTWRITEBYTECODE"] = "1"
    environ |= storage | ({"PYTHONPROFILEIMPORTTIME": "1"} if profile else {})
    fill(local, 1)
    request_id = local.control("GET", "requests")["requests"][0]["id"]
    started = time.perf_counter()
    with (
        tempfile.TemporaryFile("w+") as said,
        subprocess.Popen(
            [*command, "--exit-with-parent"],
            cwd=APP,
            env=environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=said,
        ) as process,
    ):
        answered(port, f"/api/requests/{request_id}/reprocess", local.function_key)
        seconds, mib = time.perf_counter() - started, peak_mib(process.pid)
        cpu = cpu_seconds(process.pid)
        process.terminate()
        process.wait()
        said.seek(0)
        imports = by_package(said.read())
    return {"seconds": seconds, "cpu": cpu, "mib": mib, "imports": imports}


def answered(port: int, path: str, key: str) -> None:
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


def by_package(said: str) -> dict[str, float]:
    """Return the seconds that each package's own modules took, of what Python says of imports."""
    seconds: dict[str, float] = defaultdict(float)
    for microseconds, module in IMPORT.findall(said):
        seconds[_package(module)] += int(microseconds) / 1e6
    return seconds


def _package(module: str) -> str:
    parts = module.split(".")
    if parts[0] in HOST:
        return "the local host"
    if parts[0] in DEPLOYED:
        return "the app itself"
    if parts[0] == "azure":
        return ".".join(parts[: 3 if parts[1:2] == ["data"] else 2])
    return "Python's own" if parts[0] in sys.stdlib_module_names else parts[0]


def installed(names: Iterable[str], site: str) -> int:
    """Return the bytes of packages and all that they need, as pip has installed them."""
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


def measure(azurite: Azurite, rounds: int) -> dict[str, Any]:
    """Measure all in turns; a first start of each, which warms the disk's cache, is not counted."""
    runs: dict[str, list[dict[str, Any]]] = {}
    profiles: dict[str, list[dict[str, float]]] = {}
    with (
        tempfile.TemporaryDirectory() as home,
        Local(settings=NO_TIMER, graph_options=("--requests", "0")) as local,
    ):
        folders = laid_out(Path(home))
        for number in range(rounds + 1):
            for name, folder in folders.items():
                run = until_202(name, folder, local, azurite, profile=False)
                profile = until_202(name, folder, local, azurite, profile=True)
                if number:
                    runs.setdefault(name, []).append(run)
                    profiles.setdefault(name, []).append(profile["imports"])
    rows = []
    for name, each in runs.items():
        packages = set().union(*profiles[name])
        spent = {
            one: statistics.median(p.get(one, 0.0) for p in profiles[name]) for one in packages
        }
        shown = {one: seconds for one, seconds in spent.items() if seconds >= LEAST}
        rest = sum(spent.values()) - sum(shown.values())
        row = {
            "app": name,
            **{field: statistics.median(one[field] for one in each) for field in MEASURED},
            "megabytes": size(name) / 1e6,
            "imports": dict(sorted(shown.items(), key=lambda one: -one[1])) | {"others": rest},
        }
        rows.append(row)
        print(row, flush=True)
    return {"rounds": rounds, "rows": rows}
