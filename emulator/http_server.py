"""The emulator's HTTP side: takes calls, asks the service, and lets answers go wrong on demand.

Not for: rules of Graph (service.py), or the emulator's own routes (routes.py).
"""

from __future__ import annotations

import asyncio
import json
from email.utils import format_datetime
from typing import TYPE_CHECKING

from aiohttp import web

from emulator.call import HTML, Answer, Call, Route, route
from emulator.identity import refusal

if TYPE_CHECKING:
    from emulator.checks import Json
    from emulator.faults import Fault
    from emulator.service import Service

# Status, body and type of faults that are no Graph answer.
NO_JSON = {
    "html": (502, HTML, "text/html"),
    "empty": (200, None, "application/octet-stream"),
    "garbage": (200, b'{"value": [{"id": \x00\xff', "application/json"),
}


class Front:
    """Takes HTTP calls."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.control = service.control

    async def write_date(self, _request: web.Request, response: web.StreamResponse) -> None:
        """Write the Date header, by Graph's clock, as the last thing before an answer is sent."""
        now = self.service.tenant.now().replace(microsecond=0)
        right = format_datetime(now, usegmt=True)
        response.headers["Date"] = right if self.control.values.date == "right" else "25:61"
        if self.control.values.date == "missing":
            del response.headers["Date"]

    async def graph(self, request: web.Request) -> web.Response:
        """Answer a call to Graph."""
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
        fault = self.control.faults.take(found.operation, found.request_id)
        await asyncio.sleep(self.control.values.latency_ms / 1000)
        if _lacks_length(call):
            entry["status"] = 411
            page = HTML.replace("502 Bad Gateway", "411 Length Required")
            return web.Response(status=411, text=page)
        if fault is None:
            return self._respond(call, self.service.answer(call, found), entry)
        return await self._faulty(request, call, found, fault, entry)

    def _respond(self, call: Call, answer: Answer, entry: Json) -> web.Response:
        entry["status"] = answer.status
        body = answer.body
        if body is not None and not isinstance(body, str | bytes):
            body = json.dumps(body, ensure_ascii=False)
        own = {"request-id": call.graph_request_id, "client-request-id": call.client_id}
        return web.Response(
            status=answer.status,
            headers=own | answer.headers,
            body=body.encode() if isinstance(body, str) else body,
        )

    async def _faulty(
        self, request: web.Request, call: Call, found: Route, fault: Fault, entry: Json
    ) -> web.Response:
        """Answer as a fault says, or not at all; its status is then None in the log."""
        if fault.after or fault.kind == "dropAfter":
            self.service.answer(call, found)
        if fault.kind == "status":
            return self._respond(call, self.service.fault_answer(call, fault), entry)
        if fault.kind in NO_JSON:
            usual, body, kind = NO_JSON[fault.kind]
            answer = Answer(fault.status or usual, {"Content-Type": kind}, body)
            return self._respond(call, answer, entry)
        if fault.kind == "silence":
            await asyncio.Event().wait()  # until the caller hangs up or the emulator ends
        elif request.transport is not None:
            request.transport.abort()
        return web.Response()

    async def token(self, request: web.Request) -> web.Response:
        """Answer as the managed-identity endpoint."""
        found = Route("token")
        call = Call(request.method, request.path, request.rel_url.raw_query_string, {}, None, "")
        entry = self.service.entry(call, found)
        fault = self.control.faults.take("token", None)
        await asyncio.sleep(self.control.values.identity_latency_ms / 1000)
        if fault is None:
            values = self.control.values
            status, body = self.service.identity.answer(
                request.query,
                request.headers.get("X-IDENTITY-HEADER"),
                values.roles,
                values.token_seconds,
                self.service.tenant.clock(),
                expires_on=values.expires_on,
            )
        else:
            words = fault.message or "The emulator was told to fail."
            status, body = refusal(fault.status or 500, words)
        entry["status"] = status
        return web.json_response(body, status=status)


def _lacks_length(call: Call) -> bool:
    """Tell whether a POST says nothing of its length: Graph's front end wants it also for none."""
    known = {"content-length", "transfer-encoding"} & call.headers.keys()
    return call.method == "POST" and not known
