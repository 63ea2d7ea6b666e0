"""Start the app with emulated Graph and identity, and tell a newcomer what to try.

Not for: emulating anything itself. Two processes are started, the emulated Graph (with the managed
identity's endpoint) and the Functions host; both end when this one does, however it ends.
Tests start the same two with `Local`.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

APP = Path(__file__).resolve().parent.parent
READY_SECONDS = 20.0
GRACE_SECONDS = 1.5
# Nothing of a real deployment or of a developer's own Azure log-in reaches the app here.
REAL = ("AZURE_", "IDENTITY_", "MSI_", "WEBSITE_", "AzureWebJobs")
KEPT = ("AZURE_CLIENT_ID",)


class NotStarted(Exception):
    """A part did not start; the text is what it said."""


def free_port() -> int:
    """Return a port that nobody uses right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Local:
    """The emulated Graph and the host with the app, as two processes."""

    port: int = 0
    graph_port: int = 0
    app: Path = APP
    settings: dict[str, str] = field(default_factory=dict)
    graph_options: tuple[str, ...] = ()
    echo: bool = False
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
        graph = self._part(
            "emulator.graph",
            "--port",
            str(self.graph_port),
            "--identity-header",
            self.identity_header,
            *self.graph_options,
        )
        host = self._part("emulator.host", "--port", str(self.port), "--app", str(self.app))
        self._wait(graph, f"{self.graph_url}/control/showcase", {"X-Emulator-Control": "local"})
        self._wait(host, f"{self.url}/admin/host/status", {"x-functions-key": self.master_key})

    def _part(self, module: str, *options: str) -> subprocess.Popen[bytes]:
        environ = {
            name: value
            for name, value in os.environ.items()
            if name in KEPT or not name.startswith(REAL)
        }
        environ |= {
            "PYTHONPATH": str(APP),
            "PYTHONUNBUFFERED": "1",
            "GRAPH_ENDPOINT": self.graph_url,
            "IDENTITY_ENDPOINT": f"{self.graph_url}/msi/token",
            "IDENTITY_HEADER": self.identity_header,
            "FUNCTION_KEY": self.function_key,
            "MASTER_KEY": self.master_key,
            **self.settings,
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
            if self.echo and module == "emulator.host":
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
        """Call one of the emulated Graph's own routes, see emulator/routes.py."""
        raw = None if body is None else json.dumps(body).encode()
        url = f"{self.graph_url}/control/{path}"
        return json.loads(ask(url, {"X-Emulator-Control": "local"}, method, raw))

    def sweep(self) -> dict[str, Any]:
        """Run the sweep now and return its report, with `ok` and `error` of the invocation."""
        url = f"{self.url}/admin/functions/sweep?wait=true"
        seen = len(self.lines)
        try:
            outcome = json.loads(ask(url, {"x-functions-key": self.master_key}, "POST", b"{}"))
        except urllib.error.HTTPError as error:
            outcome = json.loads(error.read())
        return self.logged("sweep finished", seen)[-1] | outcome if outcome else {}

    def logged(self, event: str, since: int = 0) -> list[dict[str, Any]]:
        """Return the app's log lines of one event, waiting a moment for the first."""
        for _ in range(50):
            found = [
                json.loads(line[line.index("{") :])
                for line in self.lines[since:]
                if f'"event": "{event}"' in line
            ]
            if found:
                return found
            time.sleep(0.02)
        return []


def ask(url: str, headers: dict[str, str], method: str = "GET", body: bytes | None = None) -> bytes:
    """Call a loopback address. Raises OSError, of which HTTPError is one."""
    request = urllib.request.Request(url, body, headers, method=method)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=60) as response:
        return bytes(response.read())


def hints(local: Local) -> str:
    """Return what a newcomer needs: address, key, ids, and lines that work when pasted."""
    shown = local.control("GET", "showcase")["showcase"]
    ids = "\n".join(f"    {one['id']}  {one['what']}" for one in shown)
    first, key = shown[0]["id"], f"-H 'x-functions-key: {local.function_key}'"
    secret = local.settings.get("WEBHOOK_SECRETS", "").partition(",")[0]
    body = json.dumps({"requestId": shown[0]["id"]})
    signature = f"$(printf %s '{body}' | openssl dgst -sha256 -hmac '{secret}' | sed 's/.* //')"
    return f"""
Redeliver runs on {local.url} with an emulated Graph ({local.graph_url}).

  function key   {local.function_key}
  requests to try, and what a reprocess of each comes to:
{ids}

  reprocess the first one; ask for its status (the answer's Location is better just after it,
  while Graph may still show the old failure); look at another without changing anything:
    curl -i -X POST {key} {local.url}/api/requests/{first}/reprocess
    curl -i {key} {local.url}/api/requests/{first}
    curl -i -X POST {key} '{local.url}/api/requests/{shown[-1]["id"]}/reprocess?dryRun=true'
  the same as a ticketing system asks for it, its body signed; and what works and what does not:
    curl -i -X POST {key} -H "X-Hub-Signature-256: sha256={signature}" \
-d '{body}' {local.url}/api/webhook
    curl -i {key} {local.url}/api/diagnosis
  the sweep runs every minute; run it now, and read its log line below:
    curl -i -X POST -H 'x-functions-key: {local.master_key}' -H 'Content-Type: application/json' \
-d '{{"input": null}}' {local.url}/admin/functions/sweep

Ctrl-C ends it.
"""


def main() -> int:
    """Run until told to stop; return the exit code."""
    defaults = {
        "SWEEP_SCHEDULE": "0 * * * * *",
        "SWEEP_MIN_AGE_MINUTES": "60",
        "STATUS_LINK_SECRET": secrets.token_hex(32),
        "WEBHOOK_SECRETS": secrets.token_hex(16),
    }
    try:
        port, graph_port = (
            int(os.environ.get(n) or d) for n, d in (("PORT", 7071), ("GRAPH_PORT", 0))
        )
    except ValueError:
        print("PORT and GRAPH_PORT should be numbers", file=sys.stderr)
        return 1
    local = Local(
        port,
        graph_port,
        echo=True,
        settings={name: os.environ.get(name) or value for name, value in defaults.items()},
    )
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    with contextlib.closing(socket.socket()) as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            print(f"port {port} is taken: choose another one, PORT=8080 make run", file=sys.stderr)
            return 1
    try:
        with local:
            print(hints(local), flush=True)
            while not ended.wait(0.2):
                if any(part.poll() is not None for part in local.parts):
                    print("a part of it has ended, so all of it ends", file=sys.stderr)
                    return 1
    except NotStarted as error:
        print(f"not started: {error}", file=sys.stderr)
        return 1
    return 0
