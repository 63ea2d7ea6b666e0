"""Every fault, and a proxy that hears which secrets pass.

A fault is here because a named system was seen doing it, a document allows it, or a promise to a
caller needs it: docs/reliability.md says which.
Not for: which operation meets which fault (operations.py, matrix.py).
"""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.support.proxy import Proxy, afterwards, answered, cut_short, reset, silent

if TYPE_CHECKING:
    from collections.abc import Callable

DRIP_SECONDS = 0.2  # that pass by the clock with each byte
SECRETS = re.compile(
    rb"(?i)authorization: (?:bearer|sharedkey) ([^\r]+)|x-identity-header: ([^\r]+)"
    rb'|"access_token": ?"([^"]+)"'
)
POSTS, LIST = {"post", "batch"}, {"list"}
GRAPH = POSTS | {"get"} | LIST
WRITES = {"table: writes"}
TABLE = WRITES | {"table: reads", "table"}


class Fault(NamedTuple):
    """One way in which a call goes wrong.

    `at`: which calls it is done to (operations.py). `act` yields what the client gets; None: the
    connection is refused. `problem`: what an HTTP caller is told while it lasts. `switches`: of the
    emulated Graph, in place of an act.
    """

    name: str
    at: set[str]
    act: Callable | None
    problem: str = ""
    switches: dict[str, Any] | None = None


class FaultyProxy(Proxy):
    """A proxy that keeps the secrets it hears, and by whose clock a slow answer takes long."""

    def __init__(self, target, wait):
        super().__init__(target)
        self.wait = wait
        self.secrets = set()

    def forward(self, request):
        answer = super().forward(request)
        for found in SECRETS.finditer(request + answer):
            self.secrets.add(next(filter(None, found.groups())).decode().strip())
        return answer


# -- what is done --


def answer(status, code="", text="", **headers):
    """Answer an error in place of the server, as Graph and as Table Storage write it."""
    graph = {"code": code, "message": text}
    table = {"code": code, "message": {"lang": "en-US", "value": text}}
    content = json.dumps({"error": graph, "odata.error": table}).encode()
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    headers |= {"Content-Type": "application/json", "x-ms-error-code": code}
    return answered(status, headers, content)


def drip(proxy, request):
    """Send the answer byte by byte, headers first."""
    for byte in proxy.forward(request):
        proxy.wait(DRIP_SECONDS)
        yield bytes([byte])
        time.sleep(0.001)  # so that they do not arrive together
        if not proxy.rules:
            yield b""


def bad_header(proxy, request):
    """Put a line that is no header below the headers."""
    yield proxy.forward(request).replace(b"\r\n\r\n", b"\r\nno header at all\r\n\r\n", 1)


def edited(edit):
    """Carry out the call and change the body that comes back."""

    def act(proxy, request):
        head, _, body = proxy.forward(request).partition(b"\r\n\r\n")
        content = edit(body)
        length = b"Content-Length: %d" % len(content)
        yield re.sub(rb"(?i)content-length: \d+", length, head) + b"\r\n\r\n" + content

    return act


def lacking_one(body):
    found = json.loads(body)
    return json.dumps(found | {"responses": found.get("responses", [])[1:]}).encode()


def next_link(to):
    """Have every page lead to another address; `to` gets the page's own."""

    def act(proxy, request):
        link = to(f"http://127.0.0.1:{proxy.port}{request.split(b' ', 2)[1].decode()}")
        page = edited(
            lambda body: json.dumps(json.loads(body) | {"@odata.nextLink": link}).encode()
        )
        yield from page(proxy, request)

    return act


def expired_token(proxy, request):
    yield proxy.forward(re.sub(rb"(?i)(authorization: \w+ )[^\r]*", rb"\1expired", request))


# -- every fault --

PAGE = b"<!doctype html><title>Error</title><p>An error occurred while processing your request."
NO_PATH = "No HTTP resource was found that matches the request URI"
OTHER_HOST = "https://other.example/"
RECEIVER, IDENTITY = {"receiver"}, {"identity"}
EVERYWHERE = GRAPH | TABLE | IDENTITY | RECEIVER
FAULTS = (
    # Graph
    Fault("429 with Retry-After", GRAPH, answer(429, "TooManyRequests", Retry_After="1"), "throttled"),
    Fault("429 with a long Retry-After", GRAPH, answer(429, "TooManyRequests", Retry_After="300"), "throttled"),
    Fault("429 without Retry-After", GRAPH, answer(429, "TooManyRequests"), "throttled"),
    Fault("503", GRAPH, answer(503, "ServiceUnavailable"), "throttled"),
    Fault("500 UnknownError", GRAPH, answer(500, "UnknownError"), "graph-failed"),
    Fault("504 after Graph acted", GRAPH, afterwards(answer(504, "UnknownError")), "graph-failed"),
    Fault("502, an HTML page", GRAPH, answered(502, {}, PAGE), "graph-failed"),
    Fault("200, an HTML page in place of JSON", GRAPH - {"post"}, answered(200, {}, PAGE), "graph-failed"),
    Fault("$batch answer cut short", {"batch"}, edited(lambda body: body[:-2]), "graph-failed"),
    Fault("$batch answer lacks one request", {"batch"}, edited(lacking_one)),
    Fault("$batch is 404", {"batch"}, answer(404, "", NO_PATH)),
    Fault("401, the token has expired", GRAPH, expired_token, "graph-denied"),
    Fault("403, permission", GRAPH, answer(403, "UnAuthorized"), "graph-denied"),
    Fault("403, licence", GRAPH, answer(403, "NoLicense"), "graph-denied"),
    Fault("404 of the path", GRAPH, answer(404, "", NO_PATH), "graph-failed"),
    Fault("302", GRAPH, answer(302, Location=OTHER_HOST), "graph-failed"),
    Fault("nextLink to another host", LIST, next_link(lambda _: f"{OTHER_HOST}v1.0/x"), "graph-failed"),
    Fault("nextLink leads back", LIST, next_link(str)),
    Fault("truncated page", GRAPH, cut_short, "graph-failed"),
    Fault("state stays old for two minutes", POSTS, None, switches={"staleSeconds": 120}),
    # every peer
    Fault("connection refused", EVERYWHERE, None, "graph-failed"),
    Fault("connection reset", EVERYWHERE, reset, "graph-failed"),
    Fault("reset after the peer acted", EVERYWHERE, afterwards(reset), "graph-failed"),
    Fault("silence", EVERYWHERE, silent, "graph-timeout"),
    Fault("silence after the peer acted", EVERYWHERE, afterwards(silent), "graph-timeout"),
    Fault("answer byte by byte", EVERYWHERE, drip, "graph-timeout"),
    Fault("a header line that is none", EVERYWHERE, bad_header),
    # the identity endpoint
    Fault("identity: 500", IDENTITY, answer(500, "UnknownError"), "graph-failed"),
    Fault("identity: 400, no such identity", IDENTITY, answer(400, "", "No User Assigned identity"), "graph-denied"),
    Fault("identity: an answer without a token", IDENTITY, answer(200), "graph-failed"),
    # Table Storage
    Fault("table: 403, firewall", TABLE, answer(403, "AuthorizationFailure")),
    Fault("table: 403, no role", TABLE, answer(403, "AuthorizationPermissionMismatch")),
    Fault("table: 403, keys are off", TABLE, answer(403, "KeyBasedAuthenticationNotPermitted")),
    Fault("table: 409, being deleted", TABLE, answer(409, "TableBeingDeleted")),
    Fault("table: 503, busy", TABLE, answer(503, "ServerBusy")),
    Fault("table: 412, the row was changed", WRITES, answer(412, "UpdateConditionNotSatisfied")),
    # the receiver of notices
    Fault("receiver: 400", RECEIVER, answer(400)),
    Fault("receiver: 401", RECEIVER, answer(401)),
    Fault("receiver: 429 with Retry-After", RECEIVER, answer(429, Retry_After="2")),
    Fault("receiver: 500", RECEIVER, answer(500, "UnknownError")),
    Fault("receiver: 302", RECEIVER, answer(302, Location=OTHER_HOST)),
)  # fmt: skip
