"""The emulator's own routes under /control, for tests in another process and for people with curl.

For: JSON in and out around Control. Every call needs the header X-Emulator-Control.
Not for: anything that Graph has.
"""

from __future__ import annotations

import hmac
import json
from typing import TYPE_CHECKING, Any

from aiohttp import web

from emulator.control import GUID, Control, Wrong, checked

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

HEADER = "X-Emulator-Control"


def add_control_routes(app: web.Application, control: Control, control_key: str) -> None:
    """Put /control/... into an application."""

    def guarded(method: str, path: str, act: Callable[[web.Request, Any], Any]) -> None:
        async def handle(request: web.Request) -> web.Response:
            if not hmac.compare_digest(
                request.headers.get(HEADER, "").encode(), control_key.encode()
            ):
                return web.json_response({"error": f"{HEADER} is missing or wrong"}, status=403)
            try:
                return web.json_response(act(request, await _json(request)))
            except Wrong as wrong:
                return web.json_response({"error": str(wrong)}, status=400)

        handler: Callable[[web.Request], Awaitable[web.StreamResponse]] = handle
        app.router.add_route(method, f"/control/{path}", handler)

    def clear_faults(_request: web.Request, _body: Any) -> dict[str, int]:
        control.clear_faults()
        return {"faults": 0}

    def clear_log(_request: web.Request, _body: Any) -> dict[str, int]:
        control.clear_log()
        return {"log": 0}

    guarded("GET", "settings", lambda _request, _body: control.settings())
    guarded("PATCH", "settings", lambda _request, body: control.patch_settings(body))
    guarded("POST", "faults", lambda _request, body: control.add_fault(body))
    guarded("DELETE", "faults", clear_faults)
    guarded("GET", "requests", lambda request, _body: {"requests": control.requests(_id(request))})
    guarded(
        "POST",
        "requests",
        lambda _request, body: {"ids": control.put_requests(_only(body, "requests"))},
    )
    guarded("GET", "showcase", lambda _request, _body: {"showcase": _showcase(control)})
    guarded("GET", "log", lambda _request, _body: {"log": control.log()})
    guarded("DELETE", "log", clear_log)
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


def _showcase(control: Control) -> list[dict[str, str]]:
    return [{"id": request_id, "what": what} for request_id, what in control.tenant.showcase()]
