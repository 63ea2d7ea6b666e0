"""The emulator's own routes under /control, for tests in another process and for people with curl.

For: JSON in and out around Control. Every call needs the header X-Emulator-Control.
Not for: anything that Graph has.

    GET PATCH DELETE  /control/settings     all switches; change some; back to those of the start
    POST DELETE       /control/faults       let something go wrong; nothing any more
    GET POST DELETE   /control/requests     ids and states; {"requests": [...]}; none any more
    POST              /control/clock        {"advanceSeconds": n}: move the tenant's time on
    GET DELETE        /control/log          every call to Graph and to the identity; emptied

What they hold: switches.py and throttle.py, faults.py, control_requests.py.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from aiohttp import web

from emulator.checks import Wrong

if TYPE_CHECKING:
    from collections.abc import Callable

    from emulator.control import Control

HEADER = "X-Emulator-Control"


def add_control_routes(app: web.Application, control: Control) -> None:
    """Put /control/... into an application."""

    def add(method: str, path: str, act: Callable[[Any], Any]) -> None:
        async def handle(request: web.Request) -> web.Response:
            if request.headers.get(HEADER) != "local":  # no page of another site can send it
                return web.json_response({"error": f"{HEADER} is missing or wrong"}, status=403)
            try:
                return web.json_response(act(await _json(request)))
            except Wrong as wrong:
                return web.json_response({"error": str(wrong)}, status=400)

        app.router.add_route(method, f"/control/{path}", handle)

    add("GET", "settings", lambda _: control.settings())
    add("PATCH", "settings", control.patch_settings)
    add("DELETE", "settings", lambda _: control.reset_settings())
    add("POST", "faults", control.add_fault)
    add("DELETE", "faults", lambda _: control.clear_faults())
    add("GET", "requests", lambda _: {"requests": control.requests()})
    add("POST", "requests", lambda body: {"ids": control.put_requests(_only(body, "requests"))})
    add("DELETE", "requests", lambda _: control.clear_requests())
    add("GET", "log", lambda _: {"log": control.log()})
    add("DELETE", "log", lambda _: control.clear_log())
    add("POST", "clock", lambda body: control.advance(_only(body, "advanceSeconds")))


async def _json(request: web.Request) -> Any:
    raw = await request.read()
    try:
        return json.loads(raw) if raw else None
    except ValueError:
        raise Wrong("the body must be JSON") from None


def _only(body: Any, name: str) -> Any:
    """Return the one field that a body has."""
    if not isinstance(body, dict) or list(body) != [name]:
        raise Wrong(f"the body must be a JSON object with '{name}' only")
    return body[name]
