"""A proxy that does one fault at a time to the calls that it is told of, over http or https.

For: the fault matrix. Not for: rules call by call (tests/proxy.py has them).
"""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import struct
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING

from tests.proxy import Proxy, message

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PAGE = b"<!doctype html><title>Sign in to the network</title><p>Please accept our terms."
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close with a reset
GARBAGE = b"\x17\x03\x03\x00\x20" + b"\xa5" * 32  # a TLS record that nobody has encrypted
PAUSE = 0.02  # second; really waited between two bytes of a drip
DRIP = 1.0  # second; told to the clock for each byte of a drip


@dataclass(frozen=True)
class Fault:
    """One way in which a call goes wrong.

    `act(proxy, client, request)` does it and returns what the client gets, None to end the
    connection. `tls`: it needs https. `place`: it is no fault of a connection, but of this.
    """

    name: str
    act: Callable[[FaultyProxy, socket.socket, bytes], bytes | None] | None = None
    tls: bool = False
    place: str = ""
    in_cut: bool = False


class FaultyProxy(Proxy):
    """Forwards everything, but does the fault to what it was told of."""

    def __init__(
        self, target: int, tell: Callable[[float], None], certificate: Path | None = None
    ) -> None:
        super().__init__(target)
        self.tell = tell
        self.fault: Fault | None = None
        self.wanted: Callable[[str], bool] = lambda _: False
        self.left = 0
        self.context = None
        if certificate:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(certificate, certificate.with_name("key.pem"))

    def break_with(self, fault: Fault, wanted: Callable[[str], bool], times: int) -> None:
        self.fault, self.wanted, self.left = fault, wanted, times

    def mend(self) -> None:
        self.fault = None

    def _serve(self, raw: socket.socket) -> None:
        with self._lock:
            self._open.add(raw)
        with contextlib.suppress(OSError, ValueError), self._wrapped(raw) as client:
            with self._lock:
                self._open.add(client)  # the one that is wrapped has no connection any more
            requests = client.makefile("rb")
            while request := message(requests):
                fault = self._fault_of(request)
                answer = fault.act(self, client, request) if fault else self._forward(request)
                if answer is None:
                    break
                client.sendall(answer)
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
            requests.close()
            with self._lock:
                self._open.discard(client)
        with self._lock:
            self._open.discard(raw)

    def _wrapped(self, raw: socket.socket) -> socket.socket:
        return self.context.wrap_socket(raw, server_side=True) if self.context else raw

    def _fault_of(self, request: bytes) -> Fault | None:
        name = request.split(b" HTTP/1.1\r\n", 1)[0].decode("latin-1")
        with self._lock:
            self.seen.append(name)
            if not self.fault or not self.fault.act or not self.left or not self.wanted(name):
                return None
            self.left -= 1
            return self.fault

    def forward(self, request: bytes) -> bytes:
        return self._forward(request)

    def wait(self) -> None:
        self._ended.wait(5)


def split(answer: bytes) -> tuple[bytes, bytes]:
    """Return head and body of an answer."""
    head, _, body = answer.partition(b"\r\n\r\n")
    return head + b"\r\n\r\n", body


def reset(after: bool):
    def act(proxy, client, request):
        if after:
            proxy.forward(request)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)

    return act


def tls_broken(proxy, client, request):
    proxy.forward(request)
    raw = socket.socket(fileno=client.detach())
    with contextlib.suppress(OSError), raw:
        raw.sendall(GARBAGE)


def silence(after: bool):
    def act(proxy, client, request):
        if after:
            proxy.forward(request)
        proxy.wait()

    return act


def drip(of_head: bool):
    """Send byte by byte; the clock hears of a second for each."""

    def act(proxy, client, request):
        head, body = split(proxy.forward(request))
        if not of_head:
            client.sendall(head)
        for n in range(len(rest := head + body if of_head else body)):
            if not proxy.fault:  # mended; who left may have left long ago
                return
            client.sendall(rest[n : n + 1])
            proxy.tell(DRIP)
            time.sleep(PAUSE)

    return act


def truncated(proxy, client, request):
    head, body = split(proxy.forward(request))
    client.sendall(head + body[: len(body) // 2])


def another_type(proxy, client, request):
    head, body = split(proxy.forward(request))
    return re.sub(rb"(?i)content-type:[^\r]*", b"Content-Type: text/plain", head) + body


def answer(status: int, headers: dict[str, str] | None = None, *, after: bool = False):
    """Answer in Graph's form of an error, or with a page where the status is no error."""

    def act(proxy, client, request):
        if after:
            proxy.forward(request)
        kind, body = "application/json", b'{"error":{"code":"Fault","message":"A fault."}}'
        if status < 400:
            kind, body = "text/html", PAGE
        named = {"Content-Type": kind, "Content-Length": str(len(body)), **(headers or {})}
        lines = [f"HTTP/1.1 {status} Fault", *(f"{name}: {value}" for name, value in named.items())]
        return "\r\n".join([*lines, "", ""]).encode() + body

    return act


def told_date(seconds: float):
    def act(proxy, client, request):
        at = format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)
        return answer(429, {"Retry-After": at})(proxy, client, request)

    return act


def spoilt_token(proxy, client, request):
    return proxy.forward(re.sub(rb"(?i)(authorization: \w+ )[^\r]*", rb"\1expired", request))


STATUSES = (400, 401, 403, 404, 405, 409, 410, 412, 413, 422, 429, 500, 501, 502, 503, 504)
MEANT = {
    "2": "whole seconds",
    "2.128": "decimal",
    "2, 4": "two values",
    "-5": "negative",
    "0": "zero",
    "31536000": "a year",
    "soon": "text",
    "9" * 40: "forty digits",
}
FAULTS = (
    Fault("connection refused", place="door", in_cut=True),
    Fault("name not found (DNS)", place="name"),
    Fault("reset before acting", reset(after=False)),
    Fault("reset after acting", reset(after=True), in_cut=True),
    Fault("TLS broken after sending", tls_broken, tls=True, in_cut=True),
    Fault("silence before acting", silence(after=False)),
    Fault("silence after acting", silence(after=True)),
    Fault("slow drip of the body", drip(of_head=False)),
    Fault("slow drip of the headers", drip(of_head=True)),
    Fault("truncated body", truncated),
    Fault("wrong content type", another_type),
    Fault("HTML page, 200", answer(200), in_cut=True),
    *(Fault(f"{n}", answer(n), in_cut=n in {403, 503}) for n in STATUSES),
    *(Fault(f"{n} after acting", answer(n, after=True)) for n in (500, 502, 504)),
    *(
        Fault(
            f"429, Retry-After: {words}", answer(429, {"Retry-After": told}), in_cut="year" in words
        )
        for told, words in MEANT.items()
    ),
    Fault("429, Retry-After: date", told_date(3)),
    Fault("429, Retry-After: past date", told_date(-3600)),
    Fault("token expired on its way", spoilt_token),
    Fault("our clock an hour ahead", place="clock +1"),
    Fault("our clock an hour behind", place="clock -1"),
    Fault("full disk (no file may grow)", place="disk", in_cut=True),
    Fault("the worker is killed", place="kill"),
)
