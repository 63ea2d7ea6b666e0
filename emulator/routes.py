"""The emulator's own routes under /control, for tests in another process and for people with curl.

For: JSON in and out around Control. Every call needs the header X-Emulator-Control.
Not for: anything that Graph has.

    GET PATCH DELETE  /control/settings     all switches; change some; back to those of the start
    POST DELETE       /control/faults       let something go wrong; nothing any more
    GET POST DELETE   /control/requests     all (or ?id=…); {"requests": [...]}; none any more
    GET POST          /control/clock        the tenant's time; {"advanceSeconds": n}
    GET DELETE        /control/log          every call to Graph and to the identity; emptied

What they hold: switches.py and throttle.py, faults.py, control_requests.py.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from aiohttp import web

from emulator.checks import GUID, Wrong, checked

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from emulator.control import Control

HEADER = "X-Emulator-Control"


def add_control_routes(app: web.Application, control: Control) -> None:
    """Put /control/... into an application."""

    def guarded(method: str, path: str, act: Callable[[web.Request, Any], Any]) -> None:
        async def handle(request: web.Request) -> web.Response:
            if request.headers.get(HEADER) != "local":  # no page of another site can send it
                return web.json_response({"error": f"{HEADER} is missing or wrong"}, status=403)
            try:
                return web.json_response(act(request, await _json(request)))
            except Wrong as wrong:
                return web.json_response({"error": str(wrong)}, status=400)

        handler: Callable[[web.Request], Awaitable[web.StreamResponse]] = handle
        app.router.add_route(method, f"/control/{path}", handler)

    def emptied(path: str, act: Callable[[], None]) -> None:
        def empty(_request: web.Request, _body: Any) -> dict[str, int]:
            act()
            return {path: 0}

        guarded("DELETE", path, empty)

    guarded("GET", "settings", lambda _request, _body: control.settings())
    guarded("PATCH", "settings", lambda _request, body: control.patch_settings(body))
    guarded("DELETE", "settings", lambda _request, _body: control.reset_settings())
    guarded("POST", "faults", lambda _request, body: control.add_fault(body))
    emptied("faults", control.clear_faults)
    guarded("GET", "requests", lambda request, _body: {"requests": control.requests(_id(request))})
    guarded(
        "POST",
        "requests",
        lambda _request, body: {"ids": control.put_requests(_only(body, "requests"))},
    )
    emptied("requests", control.clear_requests)
    guarded("GET", "log", lambda _request, _body: {"log": control.log()})
    emptied("log", control.clear_log)
    guarded("GET", "clock", lambda _request, _body: control.time())
    guarded("POST", "clock", lambda _request, body: control.advance(_only(body, "advanceSeconds")))


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


def _id(request: web.Request) -> str | None:
    checked(dict(request.query), {"id": GUID}, "query")
    return request.query.get("id")
