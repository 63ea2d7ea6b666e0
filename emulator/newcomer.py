"""`make run`: the app on this machine, with what a newcomer needs to try it.

    python -m emulator                            one tenant, all of it swept
    python -m emulator --packages 3 --forbidden 1 three of its access packages are swept, and Graph
                                                  denies one of them
    python -m emulator --pages repeats,empty --throttle '{"perSecond": 5}'

Any other option is one of the emulated Graph's (`python -m emulator.graph --help`). App settings in
the environment reach the app, but for those of an identity or a storage account: what is real stays
untouched. PORT and GRAPH_PORT choose the ports.
Not for: starting and ending the parts (run.py).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import secrets
import signal
import socket
import sys
import threading
from dataclasses import dataclass

from emulator.run import OWN, Local, NotStarted
from emulator.samples import generated

DEFAULTS = {"SWEEP_SCHEDULE": "0 * * * * *", "SWEEP_MIN_AGE_MINUTES": "60"}


@dataclass(frozen=True)
class Swept:
    """The access packages that are swept, ids and names (none: all), and which Graph denies."""

    packages: dict[str, str]
    forbidden: tuple[str, ...]

    def words(self) -> str:
        """Say it in the middle of a sentence."""
        if not self.packages:
            return ""
        denied = ", ".join(f"{self.packages[one]} ({one})" for one in self.forbidden)
        return f", over {', '.join(self.packages.values())}" + (
            f", of which Graph denies {denied}" if denied else ""
        )


def chosen(count: int, forbidden: int) -> Swept:
    """Choose the first packages of the generated tenant; the last of them are forbidden."""
    offered = list(generated(count=0, examples=False).packages.values())[:count]
    packages = {package.id: package.display_name for package in offered}
    return Swept(packages, tuple(packages)[max(0, len(packages) - forbidden) :])


def hints(local: Local, swept: Swept) -> str:
    """Return what a newcomer needs: address, key, ids, and lines that work when pasted."""
    shown = local.control("GET", "showcase")["showcase"]
    ids = "\n".join(f"    {one['id']}  {one['what']}" for one in shown)
    first, key = shown[0]["id"], f"-H 'x-functions-key: {local.function_key}'"
    secret = local.settings.get("WEBHOOK_SECRETS", "").partition(",")[0]
    body = json.dumps({"requestId": shown[0]["id"]})
    signature = f"$(printf %s '{body}' | openssl dgst -sha256 -hmac '{secret}' | sed 's/.* //')"
    return f"""
Redeliver runs on {local.url} with an emulated Graph ({local.graph_url}).

  the page       {local.url}/api/report (type the function key there)
  function key   {local.function_key}
  requests to try, and what a reprocess of each comes to:
{ids}

  reprocess the first one; ask for its status (202 until the delivery has ended, then 200); look at
  another without changing anything:
    curl -i -X POST {key} --data '' {local.url}/api/requests/{first}/reprocess
    curl -i {key} {local.url}/api/requests/{first}
    curl -i -X POST {key} --data '' \
'{local.url}/api/requests/{shown[-1]["id"]}/reprocess?dryRun=true'
  the same as a ticketing system asks for it, its body signed; and what works and what does not:
    curl -i -X POST {key} -H "X-Hub-Signature-256: sha256={signature}" \
-d '{body}' {local.url}/api/webhook
    curl -i {key} {local.url}/api/diagnosis
  the sweep runs every minute{swept.words()}; run it now, and read its log line below:
    curl -i -X POST -H 'x-functions-key: {local.master_key}' -H 'Content-Type: application/json' \
-d '{{"input": null}}' {local.url}/admin/functions/sweep

Ctrl-C ends it.
"""


def settings(swept: Swept) -> dict[str, str]:
    """Return the app's settings: ours, over them those of the environment, over all the options."""
    ours = {"STATUS_LINK_SECRET": secrets.token_hex(32), "WEBHOOK_SECRETS": secrets.token_hex(16)}
    given = {
        name: value
        for name, value in os.environ.items()
        if name.startswith(OWN) and name not in {"GRAPH_PORT", "GRAPH_ENDPOINT"} and value
    }
    options = {"SWEEP_ACCESS_PACKAGES": ",".join(swept.packages)} if swept.packages else {}
    if client_id := os.environ.get("AZURE_CLIENT_ID"):
        options["AZURE_CLIENT_ID"] = client_id
    return DEFAULTS | ours | given | options


def local_app() -> tuple[Local, Swept]:
    """Make what the command line and the environment ask for. Raises ValueError."""
    parser = argparse.ArgumentParser(
        prog="python -m emulator",
        usage="%(prog)s [options]",
        allow_abbrev=False,
        description="The app with emulated Graph and identity; other options are Graph's.",
    )
    parser.add_argument("--packages", type=int, default=0, help="how many packages are swept")
    parser.add_argument("--forbidden", type=int, default=0, help="how many of them Graph denies")
    given, others = parser.parse_known_args()
    swept = chosen(given.packages, given.forbidden)
    if swept.forbidden:
        others += ["--forbidden-packages", ",".join(swept.forbidden)]
    whole = settings(swept)
    if "AZURE_CLIENT_ID" in whole:
        others += ["--client-id", whole["AZURE_CLIENT_ID"]]
    port, graph_port = (int(os.environ.get(n) or d) for n, d in (("PORT", 7071), ("GRAPH_PORT", 0)))
    return Local(port, graph_port, settings=whole, graph_options=tuple(others), echo=True), swept


def main() -> int:
    """Run until told to stop; return the exit code."""
    try:
        local, swept = local_app()
    except ValueError:
        print("PORT and GRAPH_PORT should be numbers", file=sys.stderr)
        return 1
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    with contextlib.closing(socket.socket()) as probe:
        if probe.connect_ex(("127.0.0.1", local.port)) == 0:
            hint = "choose another one, PORT=8080 make run"
            print(f"port {local.port} is taken: {hint}", file=sys.stderr)
            return 1
    try:
        with local:
            print(hints(local, swept), flush=True)
            while not ended.wait(0.2):
                if any(part.poll() is not None for part in local.parts):
                    print("a part of it has ended, so all of it ends", file=sys.stderr)
                    return 1
    except NotStarted as error:
        print(f"not started: {error}", file=sys.stderr)
        return 1
    return 0
