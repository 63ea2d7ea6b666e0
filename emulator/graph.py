"""An emulated Microsoft Graph (entitlement-management requests) and managed-identity endpoint.

For: pointing any Graph client at it on one machine: `python -m emulator.graph --port 7072`;
or `create_app` in a test. `--help` lists every switch, `/control` (routes.py) turns them later.
Not for: production, other parts of Graph, or measuring Graph's real speed.
This file puts the parts together and reads the command line.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from aiohttp import web

from emulator import serve
from emulator.broken import STOPPING
from emulator.checks import Wrong
from emulator.control import Control
from emulator.front import Front, leave_date_out
from emulator.identity import Identity
from emulator.routes import add_control_routes
from emulator.samples import generated
from emulator.service import Service
from emulator.switches import Rules, declared, json_name

if TYPE_CHECKING:
    from emulator.checks import Json
    from emulator.tenant import Tenant

CONTROL = web.AppKey("CONTROL", Control)
IDENTITY = web.AppKey("IDENTITY", Identity)
LARGEST_BODY = 4 * 1024 * 1024
TOKEN_PATH = "/msi/token"


def create_app(
    tenant: Tenant,
    control: Control | None = None,
    identity: Identity | None = None,
    *,
    control_key: str = "local",
    seed: int = 1,
) -> web.Application:
    """Make the whole emulator over one tenant; tests turn app[CONTROL] and app[IDENTITY]."""
    control = control or Control(tenant)
    identity = identity or Identity()
    front = Front(Service(tenant, control, identity, seed))
    app = web.Application(client_max_size=LARGEST_BODY)
    app[CONTROL] = control
    app[IDENTITY] = identity
    app[STOPPING] = asyncio.Event()
    app.on_shutdown.append(_stop)
    app.on_response_prepare.append(leave_date_out)
    add_control_routes(app, control, control_key)
    app.router.add_route("*", TOKEN_PATH, front.token)
    app.router.add_route("*", "/{path:.*}", front.graph)
    return app


async def _stop(app: web.Application) -> None:
    app[STOPPING].set()


# ---- command line --------------------------------------------------------------------------------


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m emulator.graph",
        usage="%(prog)s [options]",
        description=__doc__.splitlines()[0],
        epilog="A switch's value is JSON, a plain text, or a list with commas; see switches.py.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1")
    add("--port", type=int, default=7072)
    add("--requests", type=int, default=400, help="generated requests besides the showcase (400)")
    add(
        "--all-failed",
        action="store_true",
        help="all generated requests are failed and inside the window",
    )
    add("--seed", type=int, default=1)
    add(
        "--audience",
        default="https://graph.microsoft.com",
        help="Graph root that tokens must be for",
    )
    add("--identity-header", default="local-identity-header", help="what X-IDENTITY-HEADER must be")
    add(
        "--client-id", action="append", default=[], help="a user-assigned identity; may be repeated"
    )
    add("--control-key", default="local", help="what X-Emulator-Control must be")
    add(
        "--fault",
        action="append",
        default=[],
        help="a fault as JSON, as for POST /control/faults; may be repeated",
    )
    add("--exit-with-parent", action="store_true", help="end when stdin closes")
    switches = parser.add_argument_group("switches")
    for one in declared():
        check, default = one.metadata["check"], json.dumps(one.default)
        text = f"{check.words}: {one.metadata['meaning']} ({default})"
        switches.add_argument(
            f"--{one.name.replace('_', '-')}", metavar="VALUE", help=text.replace("%", "%%")
        )
    return parser.parse_args(argv)


def _switches(given: argparse.Namespace) -> Json:
    """Return the switches that were given."""
    changes: Json = {}
    for one in declared():
        text = getattr(given, one.name)
        if text is not None:
            changes[json_name(one.name)] = _value(text, one.default)
    return changes


def _value(text: str, default: Any) -> Any:
    """Read a switch's value: of which kind it is, its default tells."""
    if isinstance(default, str):
        return text
    if isinstance(default, tuple):
        return _parts(text)
    try:
        return json.loads(text)
    except ValueError:
        return text  # nothing of the kind: it is refused with what would be right


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _fault(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise Wrong(f"--fault is not JSON: {text}") from None


def _control(given: argparse.Namespace) -> Control:
    """Make the tenant and what turns it. Raises Wrong."""
    rules, changes = Rules(), _switches(given)
    # The window first: how old the showcase's closed request must be depends on it.
    days = changes.get("windowDays")
    if isinstance(days, int | float):
        rules.window_days = days
    state = "deliveryFailed" if given.all_failed else None
    tenant = generated(given.seed, given.requests, rules=rules, state=state)
    control = Control(tenant, given.seed)
    control.patch_settings(changes)
    control.keep_settings()
    for text in given.fault:
        control.add_fault(_fault(text))
    return control


def _hints(given: argparse.Namespace, identity: Identity, control: Control) -> None:
    """Print what a person needs to try it.

    The token is the only secret shown, and good for this process only.
    """
    root = f"http://{given.host}:{given.port}"
    values = control.values
    token, _ = identity.issue(
        identity.audience, values.roles, values.token_seconds, control.tenant.clock()
    )
    print(f"Emulated Graph on {root} (Ctrl-C ends it); try a reprocess of:")
    for request_id, what in control.tenant.showcase()[:6]:
        print(f"  {request_id}  {what}")
    print(f"IDENTITY_ENDPOINT={root}{TOKEN_PATH}")
    print(f"TOKEN={token}", flush=True)


def _fail(text: str) -> NoReturn:
    print(f"emulator.graph: {text}", file=sys.stderr)
    raise SystemExit(1)


def main(argv: list[str] | None = None) -> None:
    """Run alone."""
    given = _arguments(argv)
    if given.exit_with_parent:
        serve.exit_with_parent()
    identity = Identity(
        header_secret=given.identity_header,
        user_assigned=frozenset(client_id.lower() for client_id in given.client_id),
        audience=given.audience,
    )
    try:
        control = _control(given)
        app = create_app(
            control.tenant, control, identity, control_key=given.control_key, seed=given.seed
        )
        asyncio.run(
            serve.until_stopped(
                app, given.host, given.port, lambda: _hints(given, identity, control)
            )
        )
    except Wrong as wrong:
        _fail(str(wrong))
    except OSError as error:
        _fail(f"cannot listen on {given.host}:{given.port}: {error.strerror}")


if __name__ == "__main__":
    main()
