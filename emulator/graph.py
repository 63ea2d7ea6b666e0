"""An emulated Microsoft Graph (entitlement-management requests) and managed-identity endpoint.

For: pointing any Graph client at it on one machine, as run.py does; or `create_app` in a test.
`python -m emulator.graph --help` lists every switch, `/control` (routes.py) turns them later.
Not for: production, other parts of Graph, or measuring Graph's real speed.
This file puts the parts together and reads the command line.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from aiohttp import web

from emulator import serve
from emulator.checks import Wrong
from emulator.control import Control
from emulator.http_server import Front
from emulator.identity import Identity
from emulator.routes import add_control_routes
from emulator.samples import CHANGE_SECONDS, Life, Samples, fill, fill_with_due
from emulator.service import Service
from emulator.switches import Rules, declared, json_name
from emulator.tenant import Tenant

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from emulator.checks import Json

LARGEST_BODY = 4 * 1024 * 1024
TOKEN_PATH = "/msi/token"


def create_app(control: Control, identity: Identity) -> web.Application:
    """Make the whole emulator over the tenant that is controlled."""
    front = Front(Service(control, identity))
    app = web.Application(client_max_size=LARGEST_BODY)
    app.on_response_prepare.append(front.write_date)
    add_control_routes(app, control)
    app.router.add_get(TOKEN_PATH, front.token, allow_head=False)
    app.router.add_route("*", "/{path:.*}", front.graph)
    return app


# ---- command line --------------------------------------------------------------------------------


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m emulator.graph",
        usage="%(prog)s [options]",
        description=__doc__.splitlines()[0],
        epilog="A switch's value is JSON, a plain text, or a list with commas; see switches.py.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--port", type=int, required=True)
    add("--requests", type=int, default=90, help="failed requests (90), and some others beside")
    add("--all-failed", action="store_true", help="no others, all due, and delivered when tried")
    add("--live", action="store_true", help="new ones fail, and what makes them fail is mended")
    add("--seed", type=int, default=1)
    add("--at", type=datetime.fromisoformat, default=datetime.now(UTC), help="their time (now)")
    add(
        "--audience",
        default="https://graph.microsoft.com",
        help="Graph root that tokens must be for",
    )
    add("--identity-header", required=True, help="what X-IDENTITY-HEADER must be")
    add(
        "--client-id", action="append", default=[], help="a user-assigned identity; may be repeated"
    )
    add("--exit-with-parent", action="store_true", help="end when stdin closes")
    switches = parser.add_argument_group("switches")
    for one in declared():
        check, default = one.metadata["check"], json.dumps(one.default)
        text = f"{check.words}: {one.metadata['meaning']} ({default})"
        switches.add_argument(
            f"--{one.name.replace('_', '-')}", metavar="VALUE", help=text.replace("%", "%%")
        )
    return parser.parse_args()


def _switches(given: argparse.Namespace) -> Json:
    """Return the switches that were given."""
    return {
        json_name(one.name): _value(text, one.default)
        for one in declared()
        if (text := getattr(given, one.name)) is not None
    }


def _value(text: str, default: Any) -> Any:
    """Read a switch's value: of which kind it is, its default tells."""
    if isinstance(default, str):
        return text
    if isinstance(default, tuple):
        return [part.strip() for part in text.split(",") if part.strip()]
    try:
        return json.loads(text)
    except ValueError:
        return text  # nothing of the kind: it is refused with what would be right


def _control(given: argparse.Namespace) -> tuple[Control, Samples]:
    """Make the tenant and what turns it, and what its requests are made by. Raises Wrong."""
    tenant, samples = Tenant(rules=Rules()), Samples(random.Random(given.seed), given.at)
    (fill_with_due if given.all_failed else fill)(tenant, samples, given.requests)
    control = Control(tenant)
    control.first = control.patch_settings(_switches(given))
    return control, samples


async def _live(life: Life) -> AsyncIterator[None]:
    """Let the tenant go on while it is served."""

    async def go_on() -> None:
        while True:
            await asyncio.sleep(CHANGE_SECONDS)
            life.go_on()

    task = asyncio.ensure_future(go_on())
    yield
    task.cancel()


def main() -> None:
    """Serve one tenant until told to stop."""
    given = _arguments()
    if given.exit_with_parent:
        serve.exit_with_parent()
    identity = Identity(
        header_secret=given.identity_header,
        user_assigned=frozenset(client_id.lower() for client_id in given.client_id),
        audience=given.audience,
    )
    try:
        control, samples = _control(given)
        app = create_app(control, identity)
        if given.live:
            life = Life(control.tenant, samples)
            app.cleanup_ctx.append(lambda _: _live(life))
        asyncio.run(serve.until_stopped(app, given.port))
    except (Wrong, OSError) as error:
        raise SystemExit(f"emulator.graph: {error}") from None


if __name__ == "__main__":
    main()
