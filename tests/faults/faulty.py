"""Every fault, with who was seen doing it; and a proxy that does one of them.

Not for: which operation meets which fault (operations.py, matrix.py).

A fault is here because a named system was seen doing it, a document allows it, or a promise to a
caller needs it: `source` says which.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import struct
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.support.proxy import Proxy, message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RESET = None  # instead of bytes: the connection is reset; when an act ends with b"", it is closed
DRIP_SECONDS = 0.2  # that pass by the clock with each byte
SECRETS = re.compile(
    rb"(?i)authorization: (?:bearer|sharedkey) ([^\r]+)|x-identity-header: ([^\r]+)"
    rb'|"access_token": ?"([^"]+)"'
)
POSTS, LIST = frozenset({"post", "batch"}), {"list"}
GRAPH = POSTS | {"get"} | LIST
WRITES = {"table: writes"}
TABLE = WRITES | {"table: reads", "table"}

type Act = Callable[[FaultyProxy, bytes], Iterator[bytes | None]]


@dataclass(frozen=True)
class Fault:
    """One way in which a call goes wrong.

    `at`: which calls it is done to (operations.py). `act` yields what the client gets. `problem`:
    what an HTTP caller is told while it lasts. `switches`: of the emulated Graph, in place
    of an act.
    """

    name: str
    source: str
    at: frozenset[str] | set[str]
    act: Act | None = None
    problem: str = ""
    switches: dict[str, Any] = field(default_factory=dict)


class FaultyProxy(Proxy):
    """Forwards everything, but does a fault to the calls that are `wanted`."""

    def __init__(self, target: int, wait: Callable[[float], None]) -> None:
        super().__init__(target)
        self.wait = wait
        self.act: Act | None = None
        self.wanted: Callable[[str], bool] = bool
        self.left = 0
        self.secrets: set[str] = set()

    def break_with(self, act: Act | None, wanted: Callable[[str], bool], times: int) -> None:
        self.act, self.wanted, self.left = act, wanted, times

    def _serve(self, client: socket.socket) -> None:
        with self._lock:
            self._open.add(client)
        with contextlib.suppress(OSError), client, client.makefile("rb") as requests:
            while request := message(requests):
                for piece in self._act_on(request)(self, request):
                    if piece is RESET:
                        linger = struct.pack("ii", 1, 0)
                        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    if not piece:
                        return
                    client.sendall(piece)
        with self._lock:
            self._open.discard(client)

    def _act_on(self, request: bytes) -> Act:
        name = request.split(b" HTTP/1.1\r\n", 1)[0].decode("latin-1")
        with self._lock:
            if not self.act or not self.left or not self.wanted(name):
                return forward
            self.left -= 1
            return self.act

    def forward(self, request: bytes) -> bytes:
        answer = self._forward(request)
        for found in SECRETS.finditer(request + answer):
            self.secrets.add(next(filter(None, found.groups())).decode().strip())
        return answer

    def hold(self) -> None:
        """Say nothing for longer than any client really waits."""
        self._ended.wait(2)


# -- what is done --


def forward(proxy: FaultyProxy, request: bytes) -> Iterator[bytes | None]:
    yield proxy.forward(request)


def answer(status: int, code: str = "", text: str = "", **headers: str) -> Act:
    """Answer an error in place of the server, as Graph and as Table Storage write it."""
    graph = {"code": code, "message": text}
    table = {"code": code, "message": {"lang": "en-US", "value": text}}
    content = json.dumps({"error": graph, "odata.error": table}).encode()
    return raw(status, content, Content_Type="application/json", x_ms_error_code=code, **headers)


def raw(status: int, content: bytes, **headers: str) -> Act:
    lines = [f"HTTP/1.1 {status} -", f"Content-Length: {len(content)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items() if value]
    whole = "\r\n".join([*lines, "", ""]).encode() + content
    return lambda _proxy, _request: iter([whole])


def after(act: Act) -> Act:
    """Do it once the server has carried out the call."""

    def acted(proxy: FaultyProxy, request: bytes) -> Iterator[bytes | None]:
        proxy.forward(request)
        yield from act(proxy, request)

    return acted


def reset(proxy: FaultyProxy, request: bytes) -> Iterator[bytes | None]:
    yield RESET


def silence(proxy: FaultyProxy, request: bytes) -> Iterator[bytes | None]:
    proxy.hold()
    yield b""


def drip(proxy: FaultyProxy, request: bytes) -> Iterator[bytes | None]:
    """Send the answer byte by byte, headers first."""
    for byte in proxy.forward(request):
        proxy.wait(DRIP_SECONDS)
        yield bytes([byte])
        time.sleep(0.001)  # so that they do not arrive together
        if not proxy.act:
            yield b""


def truncated(proxy: FaultyProxy, request: bytes) -> Iterator[bytes | None]:
    """Close the connection in the middle of the answer."""
    whole = proxy.forward(request)
    yield whole[: len(whole) - len(whole.partition(b"\r\n\r\n")[2]) // 2 - 1]
    yield b""


def bad_header(proxy: FaultyProxy, request: bytes) -> Iterator[bytes | None]:
    """Put a line that is no header below the headers."""
    head, _, body = proxy.forward(request).partition(b"\r\n\r\n")
    yield head + b"\r\nno header at all\r\n\r\n" + body


def edited(edit: Callable[[Any], Any]) -> Act:
    """Carry out the call and change the JSON that comes back."""

    def act(proxy: FaultyProxy, request: bytes) -> Iterator[bytes | None]:
        head, _, body = proxy.forward(request).partition(b"\r\n\r\n")
        found = edit(json.loads(body)) if body else b""
        content = found if isinstance(found, bytes) else json.dumps(found).encode()
        lines = [one for one in head.split(b"\r\n") if not one.lower().startswith(b"content-len")]
        lines.append(b"Content-Length: %d" % len(content))
        yield b"\r\n".join([*lines, b"", content])

    return act


def next_link(to: Callable[[str], str]) -> Act:
    """Have every page lead to another address; `to` gets the page's own."""

    def act(proxy: FaultyProxy, request: bytes) -> Iterator[bytes | None]:
        own = f"http://127.0.0.1:{proxy.port}{request.split(b' ', 2)[1].decode()}"
        yield from edited(lambda page: page | {"@odata.nextLink": to(own)})(proxy, request)

    return act


def expired_token(proxy: FaultyProxy, request: bytes) -> Iterator[bytes | None]:
    yield proxy.forward(re.sub(rb"(?i)(authorization: \w+ )[^\r]*", rb"\1expired", request))


# -- every fault --

PAGE = b"<!doctype html><title>Error</title><p>An error occurred while processing your request."
NO_PATH = "No HTTP resource was found that matches the request URI"
PROMISE = "promise: "
IN_TIME = f"{PROMISE}an answer in time"
LOST = f"{PROMISE}nothing is sent twice; seen in microsoftgraph/msgraph-sdk-java#2654"
RECEIVER, IDENTITY = {"receiver"}, {"identity"}
EVERYWHERE = GRAPH | TABLE | IDENTITY | RECEIVER
FAULTS = (
    # Graph
    Fault("429 with Retry-After", "learn.microsoft.com/graph/throttling; always 1: msgraph-sdk-javascript#297",
          GRAPH, answer(429, "TooManyRequests", Retry_After="1"), "throttled"),
    Fault("429 with a long Retry-After", "learn.microsoft.com/graph/throttling",
          GRAPH, answer(429, "TooManyRequests", Retry_After="300"), "throttled"),
    Fault("429 without Retry-After", "learn.microsoft.com/graph/throttling",
          GRAPH, answer(429, "TooManyRequests"), "throttled"),
    Fault("503", "learn.microsoft.com/graph/errors", GRAPH, answer(503, "ServiceUnavailable"), "throttled"),
    Fault("500 UnknownError", "msgraph-beta-sdk-dotnet#139", GRAPH, answer(500, "UnknownError"), "graph-failed"),
    Fault("504 after Graph acted", "microsoft-graph-docs#2505, #5288", GRAPH, after(answer(504, "UnknownError")), "graph-failed"),
    Fault("502, an HTML page", "a gateway's page: microsoft-graph-explorer-v4#4022",
          GRAPH, raw(502, PAGE), "graph-failed"),
    Fault("200, an HTML page in place of JSON", "microsoft-graph-docs#12951; a network's sign-in page",
          GRAPH - {"post"}, raw(200, PAGE), "graph-failed"),
    Fault("$batch answer cut short", "microsoft-graph-docs-contrib#8605, msgraph-sdk-java#2472",
          {"batch"}, edited(lambda found: json.dumps(found).encode()[:-2]), "graph-failed"),
    Fault("$batch answer lacks one request", "microsoft-graph-docs#12951",
          {"batch"}, edited(lambda found: found | {"responses": found.get("responses", [])[1:]})),
    Fault("$batch is 404", "an unknown path: msgraph-sdk-powershell#2505",
          {"batch"}, answer(404, "", NO_PATH)),
    Fault("401, the token has expired", "learn.microsoft.com/entra/identity-platform/access-tokens",
          GRAPH, expired_token, "graph-denied"),
    Fault("403, permission", "terraform-provider-azuread#1069", GRAPH, answer(403, "UnAuthorized"), "graph-denied"),
    Fault("403, licence", "learn.microsoft.com/entra/id-governance (troubleshoot)", GRAPH, answer(403, "NoLicense"), "graph-denied"),
    Fault("404 of the path", "msgraph-sdk-powershell#2505, #3293", GRAPH, answer(404, "", NO_PATH), "graph-failed"),
    Fault("302", f"{PROMISE}the token goes to Graph alone", GRAPH,
          answer(302, Location="https://other.example/"), "graph-failed"),
    Fault("nextLink to another host", "msgraph-sdk-dotnet#2316", LIST,
          next_link(lambda _: "https://other.example/v1.0/x"), "graph-failed"),
    Fault("nextLink leads back", "microsoft-graph-docs#4897", LIST, next_link(str)),
    Fault("truncated page", "msgraph-sdk-java#553", GRAPH, truncated, "graph-failed"),
    Fault("state stays old for two minutes", "MicrosoftDocs/azure-docs#37553", POSTS, switches={"staleSeconds": 120}),
    # every peer
    Fault("connection refused", "a peer that restarts; a wrong address", EVERYWHERE, None, "graph-failed"),
    Fault("connection reset", "msgraph-sdk-java#2654, domainaware/parsedmarc#479", EVERYWHERE, reset, "graph-failed"),
    Fault("reset after the peer acted", LOST, EVERYWHERE, after(reset), "graph-failed"),
    Fault("silence", f"{IN_TIME}; domainaware/parsedmarc#337", EVERYWHERE, silence, "graph-timeout"),
    Fault("silence after the peer acted", LOST, EVERYWHERE, after(silence), "graph-timeout"),
    Fault("answer byte by byte", IN_TIME, EVERYWHERE, drip, "graph-timeout"),
    Fault("a header line that is none", f"{PROMISE}no secret in a log; urllib3#1433", EVERYWHERE, bad_header),
    # the identity endpoint
    Fault("identity: 500", "azure-functions-host#9884", IDENTITY, answer(500, "UnknownError"), "graph-failed"),
    Fault("identity: 400, no such identity", "learn.microsoft.com/azure/app-service/overview-managed-identity",
          IDENTITY, answer(400, "", "No User Assigned identity"), "graph-denied"),
    Fault("identity: an answer without a token", f"{PROMISE}a truthful problem", IDENTITY, answer(200), "graph-failed"),
    # Table Storage
    Fault("table: 403, firewall", "azure-sdk-for-net#35633", TABLE, answer(403, "AuthorizationFailure")),
    Fault("table: 403, no role", "azure-sdk-for-net#24717", TABLE, answer(403, "AuthorizationPermissionMismatch")),
    Fault("table: 403, keys are off", "Azure/GPT-RAG#225", TABLE, answer(403, "KeyBasedAuthenticationNotPermitted")),
    Fault("table: 409, being deleted", "azure-sdk-for-net#23748", TABLE, answer(409, "TableBeingDeleted")),
    Fault("table: 503, busy", "learn.microsoft.com/rest/api/storageservices/table-service-error-codes",
          TABLE, answer(503, "ServerBusy")),
    Fault("table: 412, the row was changed", "the same page; another instance", WRITES, answer(412, "UpdateConditionNotSatisfied")),
    # the receiver of notices
    Fault("receiver: 400", "a receiver that validates", RECEIVER, answer(400)),
    Fault("receiver: 401", "a key that was renewed", RECEIVER, answer(401)),
    Fault("receiver: 429 with Retry-After", "RFC 6585; Teams workflows, Event Grid", RECEIVER, answer(429, Retry_After="2")),
    Fault("receiver: 500", "any web server", RECEIVER, answer(500, "UnknownError")),
    Fault("receiver: 302", f"{PROMISE}the address is kept secret", RECEIVER, answer(302, Location="https://other.example/")),
)  # fmt: skip
