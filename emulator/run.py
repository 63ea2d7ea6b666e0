"""Start the app with emulated Graph and identity, for tests and for a newcomer (`Local`).

Not for: emulating anything itself, or what is said to the newcomer (newcomer.py). Two processes are
started, the emulated Graph (with the managed identity's endpoint) and the Functions host; both end
when this one does, however it ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from emulator import lost_lines

if TYPE_CHECKING:
    from collections.abc import Mapping

APP = Path(__file__).resolve().parent.parent
READY_SECONDS = 20.0
GRACE_SECONDS = 1.5
# Nothing of a real deployment or of a developer's own Azure log-in reaches the app here.
REAL = ("AZURE_", "IDENTITY_", "MSI_", "WEBSITE_", "AzureWebJobs")
# How the app's own settings begin: they reach the app only as `settings`.
OWN = (
    "GRAPH_",
    "SWEEP_",
    "WEBHOOK_",
    "STATUS_",
    "NOTIFY_",
    "ATTEMPTS_",
    "CALLER_ROLE",
    "HTTP_AUTH_LEVEL",
    "HTTP_BUDGET_SECONDS",
)
# Without a proxy. Made once, since it reads all certificates of the machine.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class NotStarted(Exception):
    """A part did not start; the text is what it said."""


def free_port() -> int:
    """Return a port that nobody uses right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Local:
    """The emulated Graph and the host with the app, as two processes.

    The app sees these `settings` and no others.
    Its attempts are in memory unless AzureWebJobsStorage is among them.
    `lines` are what both have printed.
    """

    port: int = 0
    graph_port: int = 0
    app: Path = APP
    settings: dict[str, str] = field(default_factory=dict)
    graph_options: tuple[str, ...] = ()
    echo: bool = False
    host: str = "emulator.host"
    lines: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.port = self.port or free_port()
        self.graph_port = self.graph_port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.graph_url = f"http://127.0.0.1:{self.graph_port}"
        self.function_key = secrets.token_hex(16)
        self.master_key = secrets.token_hex(16)
        self.identity_header = secrets.token_hex(16)
        self.parts: list[subprocess.Popen[bytes]] = []
        self.readers: list[threading.Thread] = []

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start both and wait until they answer. Raises NotStarted with what a part said."""
        local = {
            "GRAPH_ENDPOINT": self.graph_url,
            "IDENTITY_ENDPOINT": f"{self.graph_url}/msi/token",
            "IDENTITY_HEADER": self.identity_header,
            **self.settings,
        }
        own = ("--port", str(self.graph_port), "--identity-header", self.identity_header)
        graph = self._part("emulator.graph", *own, *self.graph_options)
        options = ("--port", str(self.port), "--app", str(self.app))
        host = self._part(self.host, *options, settings=local)
        self._wait(graph, f"{self.graph_url}/control/settings", {"X-Emulator-Control": "local"})
        self._wait(host, f"{self.url}/admin/host/status", {"x-functions-key": self.master_key})

    def _part(
        self, module: str, *options: str, settings: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        environ = {
            name: value for name, value in os.environ.items() if not name.startswith(REAL + OWN)
        }
        environ |= {
            "PYTHONPATH": str(APP),
            "PYTHONUNBUFFERED": "1",
            "FUNCTION_KEY": self.function_key,
            "MASTER_KEY": self.master_key,
            **(settings or {}),
        }
        part = subprocess.Popen(
            [sys.executable, "-m", module, *options, "--exit-with-parent"],
            cwd=APP,
            env=environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.parts.append(part)
        self.readers.append(threading.Thread(target=self._read, args=(part, module), daemon=True))
        self.readers[-1].start()
        return part

    def _read(self, part: subprocess.Popen[bytes], module: str) -> None:
        assert part.stdout
        for raw in part.stdout:
            line = raw.decode(errors="replace").rstrip()
            self.lines.append(line)
            if self.echo and module != "emulator.graph":
                print(line, flush=True)

    def _wait(self, part: subprocess.Popen[bytes], url: str, headers: dict[str, str]) -> None:
        end = time.monotonic() + READY_SECONDS
        while time.monotonic() < end:
            if part.poll() is not None:
                time.sleep(0.1)  # its last words
                raise NotStarted(self.lines[-1] if self.lines else "it ended without a word")
            with contextlib.suppress(OSError):
                ask(url, headers)
                return
            time.sleep(0.03)
        raise NotStarted(f"no answer from {url} within {READY_SECONDS:.0f} s")

    def stop(self) -> None:
        """End both within GRACE_SECONDS, by force if need be."""
        for part in self.parts:
            part.terminate()
        end = time.monotonic() + GRACE_SECONDS
        for part in self.parts:
            try:
                part.wait(max(0.01, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                part.kill()
                part.wait()
        for reader in self.readers:
            reader.join(1.0)
        for part in self.parts:
            for pipe in (part.stdin, part.stdout):
                if pipe:
                    pipe.close()

    # -- what tests and the newcomer ask of it --

    def control(self, method: str, path: str, body: Any = None) -> Any:
        """Call one of the emulated Graph's own routes, see routes.py."""
        raw = None if body is None else json.dumps(body).encode()
        url = f"{self.graph_url}/control/{path}"
        return json.loads(ask(url, {"X-Emulator-Control": "local"}, method, raw))

    def sweep(self, past_due: bool = False) -> dict[str, Any]:
        """Run the sweep now and return its report, with `ok` and `error` of the invocation."""
        query = "wait=true&pastDue=true" if past_due else "wait=true"
        url = f"{self.url}/admin/functions/sweep?{query}"
        seen = len(self.lines)
        try:
            outcome = json.loads(ask(url, {"x-functions-key": self.master_key}, "POST", b"{}"))
        except urllib.error.HTTPError as error:
            outcome = json.loads(error.read())
        return self.logged("sweep finished", seen)[-1] | outcome if outcome else {}

    def logged(self, event: str, since: int = 0) -> list[dict[str, Any]]:
        """Return the app's log lines of one event, waiting a moment for the first.

        Those that would be lost on Azure are not among them.
        """
        for _ in range(50):
            found = [
                json.loads(line[line.index("{") :])
                for line in self.lines[since:]
                if f'"event": "{event}"' in line and lost_lines.MARK not in line
            ]
            if found:
                return found
            time.sleep(0.02)
        return []

    def lost(self) -> list[str]:
        """Return the app's lines that would be lost on Azure; there should be none."""
        return [line for line in self.lines if f"[redeliver] {lost_lines.MARK}" in line]


def ask(
    url: str,
    headers: dict[str, str],
    method: str = "GET",
    body: bytes | None = None,
    seconds: float = 60.0,
) -> bytes:
    """Call a loopback address. Raises OSError, of which HTTPError is one."""
    request = urllib.request.Request(url, body, headers, method=method)
    with _OPENER.open(request, timeout=seconds) as response:
        return bytes(response.read())
