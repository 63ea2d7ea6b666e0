"""`make run`: the app on this machine, beside an emulated Graph that goes on failing.

    python -m emulator                                    the app, with ninety failed requests
    python -m emulator --requests 5000 --latency-ms 200   more of them, and a slower Graph
    python -m emulator break throttle                     while it runs; see breaks.py

Not for: starting and ending the parts (run.py), or what has failed (samples.py).
"""

from __future__ import annotations

import argparse
import contextlib
import os
import secrets
import signal
import socket
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import settings as app_settings
from emulator import breaks
from emulator.run import OWN, Local, NotStarted, ask
from emulator.samples import EXAMPLE

if TYPE_CHECKING:
    from collections.abc import Mapping

# Only beta has words for a failed delivery.
DEFAULTS = {
    "GRAPH_API_VERSION": "beta",
    "SWEEP_SCHEDULE": "0 * * * * *",
    "SWEEP_MIN_AGE_MINUTES": "1",
    "SWEEP_MAX_ATTEMPTS": "16",
}
PORT, REQUESTS = 7071, 90
HELP = """App settings of the environment reach the app, those of a real identity or storage account
do not. PORT (7071) and GRAPH_PORT (the next one) choose the ports. Any other option is one of the
emulated Graph's, `python -m emulator.graph --help`; for example:

  --requests 5000                      more failed requests
  --latency-ms 200                     a slower Graph
  --throttle '{"perSecond": 5}'        a Graph that takes five calls a second
  --pages repeats,empty                pages as no document promises them
  --catalogs ID --roles ''             an identity with a role on one catalog only

"""


class CannotRun(Exception):
    """It cannot be started like this; the text says why, and what would be right."""


def hints(local: Local) -> str:
    """Return the address that opens the page, one call, and where to read on."""
    if local.settings.get("HTTP_AUTH_LEVEL", "").lower() == "anonymous":
        return f"""
The app runs on {local.url}, and answers every call with 401: HTTP_AUTH_LEVEL is anonymous, so App
Service authentication identifies callers, which is not here. Ctrl-C ends it.
"""
    return f"""
The app runs here, beside an emulated Microsoft Graph. Its page, signed in:

    {local.url}/api/report#key={local.function_key}

A call as a workflow makes it, and its answer:

    curl -X POST -H 'x-functions-key: {local.function_key}' --data '' \
{local.url}/api/requests/{EXAMPLE}/reprocess
    202, "outcome": "accepted"; ten seconds later the request is delivered

Break Graph and see what the app says: make break HOW=throttle (deny, fail, silence, lose, identity,
mend). More: README.md; make run OPTIONS=--help. The log of the app follows. Ctrl-C ends it.
"""


def settings(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the app's settings: ours, and over them those of the environment. Raises CannotRun."""
    given = {
        name: value
        for name, value in environ.items()
        if name.startswith((*OWN, "AZURE_CLIENT_ID")) and value and name != "GRAPH_PORT"
    }
    given.pop("GRAPH_ENDPOINT", None)
    whole = {**DEFAULTS, "STATUS_LINK_SECRET": secrets.token_hex(32), **given}
    try:
        app_settings.load(whole)
    except app_settings.SettingsError as error:
        raise CannotRun("\n".join(error.problems)) from None
    return whole


def port_of(environ: Mapping[str, str], name: str, default: int) -> int:
    """Return a port that can be listened on. Raises CannotRun."""
    text = environ.get(name) or str(default)
    if not (text.isascii() and text.isdecimal() and 0 < int(text) < 65536):
        raise CannotRun(f"{name} is '{text}' but should be a number from 1 to 65535")
    port = int(text)
    with contextlib.closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except PermissionError:
            raise CannotRun(f"port {port} is not for everybody: choose one from 1024 on") from None
        except OSError:
            by = "the app, which runs already" if _is_the_app(port) else "another program"
            raise CannotRun(
                f"port {port} is taken by {by}: choose another one, {name}=8080 make run"
            ) from None
    return port


def _is_the_app(port: int) -> bool:
    try:
        url = f"http://127.0.0.1:{port}/api/health"
        return ask(url, {}, seconds=1.0) == b'{"status": "ok"}'
    except (OSError, ValueError):
        return False


def graph_port(environ: Mapping[str, str]) -> int:
    """Return where the emulated Graph listens unless GRAPH_PORT says otherwise, for breaks too."""
    port = environ.get("PORT") or str(PORT)
    return int(port) + 1 if port.isascii() and port.isdecimal() else PORT + 1


def local_app(arguments: list[str], environ: Mapping[str, str]) -> Local:
    """Make what command line and environment ask for. Raises CannotRun.

    The app remembers attempts at the sample tenant's requests; Graph is that of the cloud.
    """
    parser = argparse.ArgumentParser(
        prog="python -m emulator",
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="The app beside an emulated Graph and identity.",
        epilog=HELP + breaks.help_text(),
    )
    parser.add_argument("--requests", type=int, default=REQUESTS, help=f"failed ones ({REQUESTS})")
    parser.add_argument("--seed", type=int, default=1, help="another number: other requests (1)")
    given, others = parser.parse_known_args(arguments)
    whole = settings(environ)
    now = datetime.now(UTC).isoformat()
    options = ["--requests", str(given.requests), "--seed", str(given.seed), "--at", now, "--live"]
    options += ["--audience", app_settings.load(whole).token_scope.removesuffix("/.default")]
    if client_id := whole.get("AZURE_CLIENT_ID"):
        options += ["--client-id", client_id]
    port = port_of(environ, "PORT", PORT)
    of_graph = port_of(environ, "GRAPH_PORT", graph_port(environ))
    return Local(
        port,
        of_graph,
        settings=whole | {"SAMPLES": f"{given.requests} {given.seed} {now}"},
        graph_options=(*options, *others),
        echo=True,
        host="emulator.newcomer_host",
    )


def main(arguments: list[str]) -> int:
    """Run until told to stop, or break what runs; return the exit code."""
    if arguments[:1] == ["break"]:
        port = os.environ.get("GRAPH_PORT") or graph_port(os.environ)
        code, text = breaks.main(arguments[1:], f"http://127.0.0.1:{port}")
        print(text, file=sys.stderr if code else sys.stdout)
        return code
    # A handler must not set an Event: the wait that it interrupts has its lock.
    ended: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: ended.append(number))
    try:
        with local_app(arguments, os.environ) as local:
            print(hints(local), flush=True)
            _sweep(local)
            while not ended:
                time.sleep(0.1)
                if any(part.poll() is not None for part in local.parts):
                    print("a part of it has ended, so all of it ends", file=sys.stderr)
                    return 1
    except (CannotRun, NotStarted) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _sweep(local: Local) -> None:
    """Start the first sweep, so that nobody waits a minute for its report."""
    url = f"{local.url}/admin/functions/sweep"
    with contextlib.suppress(OSError):
        ask(url, {"x-functions-key": local.master_key}, "POST", b'{"input": null}')
