"""An emulated Microsoft Graph (entitlement-management requests) and managed-identity endpoint.

For: pointing any Graph client at it on one machine: `python -m emulator.graph --port 7072`;
or `create_app` in a test.
Not for: production, other parts of Graph, or measuring Graph's real speed.
This file holds HTTP, its faults, and the command line; the rules are in service.py.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any, NoReturn

from aiohttp import web

from emulator import serve
from emulator.control import FORMS, READ_ROLE, WRITE_ROLE, Control, Fault, Wrong
from emulator.identity import Identity, refusal
from emulator.routes import add_control_routes
from emulator.samples import generated
from emulator.service import DIAGNOSTIC, HTML, Answer, Call, Route, Service, route
from emulator.tenant import Rules, Tenant

if TYPE_CHECKING:
    from emulator.entity import Json

CONTROL = web.AppKey("CONTROL", Control)
IDENTITY = web.AppKey("IDENTITY", Identity)
STOPPING = web.AppKey("STOPPING", asyncio.Event)
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
    front = _Front(Service(tenant, control, identity, seed))
    app = web.Application(client_max_size=LARGEST_BODY)
    app[CONTROL] = control
    app[IDENTITY] = identity
    app[STOPPING] = asyncio.Event()
    app.on_shutdown.append(_stop)
    add_control_routes(app, control, control_key)
    app.router.add_route("*", TOKEN_PATH, front.token)
    app.router.add_route("*", "/{path:.*}", front.graph)
    return app


async def _stop(app: web.Application) -> None:
    app[STOPPING].set()


class _Front:
    """Takes HTTP calls, asks the service, and lets the answers go wrong where a fault says so."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.control = service.control

    async def graph(self, request: web.Request) -> web.StreamResponse:
        call = Call(
            method=request.method,
            path=request.path,
            query=request.rel_url.raw_query_string,
            headers={name.lower(): value for name, value in request.headers.items()},
            body=await request.read(),
            base=f"{request.scheme}://{request.host}",
        )
        found = route(call.method, call.path)
        entry = self.service.entry(call, found)
        fault = self.control.take_fault(found.operation, found.request_id)
        await _pause(self.control.values.latency_ms)
        if (
            call.method == "POST"
            and not {"content-length", "transfer-encoding"} & call.headers.keys()
        ):
            entry["status"] = 411
            return web.Response(
                status=411, text=HTML.replace("502 Bad Gateway", "411 Length Required")
            )
        if fault is None:
            return self._respond(call, self.service.answer(call, found), entry)
        return await self._faulty(request, call, found, fault, entry)

    def _respond(self, call: Call, answer: Answer, entry: Json) -> web.Response:
        entry["status"] = answer.status
        body = None if answer.body is None else json.dumps(answer.body, ensure_ascii=False).encode()
        return web.Response(
            status=answer.status, headers=self._headers(call) | answer.headers, body=body
        )

    def _headers(self, call: Call) -> dict[str, str]:
        return {
            "Date": format_datetime(self.service.tenant.now().replace(microsecond=0), usegmt=True),
            "request-id": call.graph_request_id,
            "client-request-id": call.client_id,
            "x-ms-ags-diagnostic": DIAGNOSTIC,
        }

    async def _faulty(
        self, request: web.Request, call: Call, found: Route, fault: Fault, entry: Json
    ) -> web.StreamResponse:
        entry["fault"] = fault.kind
        carries_out = fault.after or fault.kind in (
            "truncated",
            "dropAfter",
            "foreignNextLink",
            "circularNextLink",
        )
        answer = self.service.answer(call, found) if carries_out else Answer(200)
        if fault.kind.endswith("NextLink"):
            foreign = fault.location or "https://graph.example.invalid/v1.0/elsewhere?$skiptoken=x"
            own = f"{call.base}{call.path}?{call.query}"
            if isinstance(answer.body, dict) and answer.status == 200:
                answer.body["@odata.nextLink"] = foreign if fault.kind == "foreignNextLink" else own
            return self._respond(call, answer, entry)
        if fault.kind == "status":
            return self._respond(call, self.service.fault_answer(call, fault), entry)
        broken = await _broken(request, fault, answer, self._headers(call))
        entry["status"] = broken.status if broken.status != DROPPED else None
        return broken

    async def token(self, request: web.Request) -> web.StreamResponse:
        """Answer as the managed-identity endpoint."""
        found = Route("token")
        call = Call(request.method, request.path, request.rel_url.raw_query_string, {}, None, "")
        entry = self.service.entry(call, found)
        fault = self.control.take_fault("token", None)
        await _pause(self.control.values.identity_latency_ms)
        status, body = self._token(request)
        if fault is not None:
            entry["fault"] = fault.kind
            if fault.kind != "status":
                broken = await _broken(request, fault, Answer(status, {}, body), {})
                entry["status"] = broken.status if broken.status != DROPPED else None
                return broken
            status, body = refusal(
                fault.status or 500, fault.message or "The emulator was told to fail."
            )
        entry["status"] = status
        retry_after = fault.retry_after if fault is not None else None
        headers = {} if retry_after is None else {"Retry-After": retry_after}
        return web.json_response(body, status=status, headers=headers)

    def _token(self, request: web.Request) -> tuple[int, dict[str, str | int]]:
        if request.method != "GET":
            return refusal(405, "GET only.")
        values = self.control.values
        return self.service.identity.answer(
            request.query,
            request.headers.get("X-IDENTITY-HEADER"),
            values.roles,
            values.token_seconds,
            self.service.tenant.clock(),
        )


async def _pause(milliseconds: float) -> None:
    if milliseconds:
        await asyncio.sleep(milliseconds / 1000)


# ---- broken answers ------------------------------------------------------------------------------

DROPPED = 599  # never seen by anybody: the connection is gone by then


async def _broken(
    request: web.Request, fault: Fault, answer: Answer, headers: dict[str, str]
) -> web.StreamResponse:
    """Give an answer that is no Graph answer, or none."""
    if fault.retry_after is not None:
        headers = {**headers, "Retry-After": fault.retry_after}
    match fault.kind:
        case "html":
            return web.Response(
                status=fault.status or 502, text=HTML, content_type="text/html", headers=headers
            )
        case "empty":
            return web.Response(status=fault.status or 200, headers=headers)
        case "garbage":
            headers = {**headers, "Content-Type": "application/json"}
            return web.Response(
                status=fault.status or 200, body=b'{"value": [{"id": \x00\xff', headers=headers
            )
        case "redirect":
            location = fault.location or "https://redirect.example.invalid/"
            return web.Response(
                status=fault.status or 302, headers={**headers, "Location": location}
            )
        case "truncated":
            return await _truncated(request, answer, headers)
        case "silence":
            await _silence(request)
    return _drop(request)


async def _truncated(
    request: web.Request, answer: Answer, headers: dict[str, str]
) -> web.StreamResponse:
    """Send half of the body under the whole one's length; without a body, none of 64 bytes."""
    body = b"" if answer.body is None else json.dumps(answer.body).encode()
    response = web.StreamResponse(status=answer.status, headers=headers | answer.headers)
    response.content_length = len(body) or 64
    await response.prepare(request)
    await response.write(body[: len(body) // 2])
    if request.transport is not None:
        # close, not abort: what was written must arrive.
        request.transport.close()
    return response


async def _silence(request: web.Request) -> None:
    """Wait until the caller hangs up or the emulator stops."""
    stopping = request.app[STOPPING]
    while (
        request.transport is not None
        and not request.transport.is_closing()
        and not stopping.is_set()
    ):
        try:
            await asyncio.wait_for(stopping.wait(), 0.5)
        except TimeoutError:
            continue


def _drop(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=DROPPED)


# ---- command line --------------------------------------------------------------------------------


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m emulator.graph", description=__doc__.splitlines()[0]
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
        "--roles",
        default=WRITE_ROLE,
        help=f"app roles, comma separated ({READ_ROLE}, {WRITE_ROLE}, or empty)",
    )
    add("--catalogs", default="", help="catalog ids with a catalog role, comma separated")
    add("--unlicensed", action="store_true")
    add("--page-size", type=int, default=100)
    add("--latency-ms", type=float, default=0)
    add("--identity-latency-ms", type=float, default=0)
    add("--throttle-per-second", type=float)
    add("--throttle-burst", type=int)
    add("--retry-after", choices=FORMS, default="int", help="form of Retry-After")
    add("--delivery-seconds", type=float, default=10)
    add("--stale-seconds", type=float, default=2)
    add("--window-days", type=float, default=14)
    add("--token-seconds", type=float, default=86400)
    add(
        "--completed-stays",
        action="store_true",
        help="a new attempt leaves completedDateTime as it was",
    )
    add("--no-batch", action="store_true")
    add("--no-combined-filter", action="store_true")
    add(
        "--fault",
        action="append",
        default=[],
        help="a fault as JSON, as for POST /control/faults; may be repeated",
    )
    add("--exit-with-parent", action="store_true", help="end when stdin closes")
    return parser.parse_args(argv)


def _control(tenant: Tenant, given: argparse.Namespace) -> Control:
    control = Control(tenant, seed=given.seed)
    changes: Json = {
        "latencyMs": given.latency_ms,
        "identityLatencyMs": given.identity_latency_ms,
        "pageSize": given.page_size,
        "batchSupported": not given.no_batch,
        "combinedFilterSupported": not given.no_combined_filter,
        "roles": _parts(given.roles),
        "catalogs": _parts(given.catalogs),
        "licensed": not given.unlicensed,
        "tokenSeconds": given.token_seconds,
        "deliverySeconds": given.delivery_seconds,
        "staleSeconds": given.stale_seconds,
        "windowDays": given.window_days,
        "completedMoves": not given.completed_stays,
    }
    if given.throttle_per_second is not None:
        changes["throttle"] = {
            "perSecond": given.throttle_per_second,
            "retryAfter": given.retry_after,
        }
        if given.throttle_burst is not None:
            changes["throttle"]["burst"] = given.throttle_burst
    control.patch_settings(changes)
    for text in given.fault:
        control.add_fault(_parsed(text))
    return control


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise Wrong(f"--fault is not JSON: {text}") from None


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
    # The window first: how old the showcase's closed request must be depends on it.
    rules = Rules(window_days=given.window_days)
    state = "deliveryFailed" if given.all_failed else None
    tenant = generated(given.seed, given.requests, rules=rules, state=state)
    identity = Identity(
        header_secret=given.identity_header,
        user_assigned=frozenset(client_id.lower() for client_id in given.client_id),
        audience=given.audience,
    )
    try:
        control = _control(tenant, given)
        app = create_app(tenant, control, identity, control_key=given.control_key, seed=given.seed)
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
