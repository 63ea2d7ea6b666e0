"""Answers that are no Graph answers, and connections that break: faults as they are sent.

Not for: when a fault falls on a call (faults.py).
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from aiohttp import web

from emulator.call import HTML, Answer

if TYPE_CHECKING:
    from emulator.faults import Fault

STOPPING = web.AppKey("STOPPING", asyncio.Event)
DROPPED = 599  # never seen by anybody: the connection is gone by then


async def broken(
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
            return await _half(request, answer, headers)
        case "silence":
            await _silence(request)
    return _drop(request)


async def _half(
    request: web.Request, answer: Answer, headers: dict[str, str]
) -> web.StreamResponse:
    """Send half of the body under the whole one's length; without a body: nothing of 64 bytes."""
    body = b" " * 64 if answer.body is None else json.dumps(answer.body).encode()
    response = web.StreamResponse(status=answer.status, headers=headers | answer.headers)
    response.content_length = len(body)
    await response.prepare(request)
    await response.write(b"" if answer.body is None else body[: len(body) // 2])
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
