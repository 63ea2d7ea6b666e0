"""A TCP proxy on loopback that breaks HTTP/1.1 on purpose: by rules, request by request.

For: what the app does when Table Storage, or Graph, is not heard, hears nothing, or says nonsense.
Not for: https; what the server itself would do wrong (the emulator does that).

    with Proxy(azurite.port) as proxy:            # the app is told to use proxy.port
        proxy.drop("$batch")                      # the next transaction never arrives
        proxy.drop("$batch", after=True)          # it is carried out, its answer is lost
        proxy.silence()                           # no answer until the client goes
        proxy.cut()                               # carried out, half of the answer's body comes
        proxy.answer(503, {"Retry-After": "1"})   # not carried out
        proxy.refuse()                            # connections are refused, open ones dropped
        proxy.admit()                             # and taken again
        proxy.seen                                # every request so far, as "POST /account/$batch"

A rule acts on requests whose "METHOD /path" contains its text. Of several the first set acts; one
that has acted as often as it should is spent.
"""

from __future__ import annotations

import contextlib
import http
import socket
import threading
from dataclasses import dataclass
from enum import Enum, auto
from typing import BinaryIO, Self

HOST = "127.0.0.1"


class Fault(Enum):
    """What happens to a request."""

    DROP = auto()
    SILENCE = auto()
    CUT = auto()
    ANSWER = auto()


@dataclass
class Rule:
    """Which requests it acts on, how, and whether the server carries them out before."""

    fault: Fault
    text: str
    after: bool = False
    times: int = 1
    answer: bytes = b""

    def takes(self, request: str) -> bool:
        """Tell whether it acts on this request, and count it."""
        if self.text not in request or not self.times:
            return False
        self.times -= 1
        return True


class Proxy:
    """Forwards every request to a port of this machine, but for what its rules say."""

    def __init__(self, target: int) -> None:
        self.seen: list[str] = []
        self._target = target
        self._rules: list[Rule] = []
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server((HOST, 0))
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        self._start(self._accept, self._listener)
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self.refuse()
        for thread in self._threads:
            thread.join(5.0)  # all have been told to end, and none keeps the process

    # -- rules --

    def drop(self, text: str = "", *, after: bool = False, times: int = 1) -> None:
        """Close the connection before the server hears of it, or in place of its answer."""
        self._rule(Rule(Fault.DROP, text, after, times))

    def silence(self, text: str = "", *, times: int = 1) -> None:
        """Say nothing for as long as the proxy lives."""
        self._rule(Rule(Fault.SILENCE, text, times=times))

    def cut(self, text: str = "", *, times: int = 1) -> None:
        """Close the connection in the middle of the answer's body."""
        self._rule(Rule(Fault.CUT, text, after=True, times=times))

    def answer(
        self, status: int, headers: dict[str, str] | None = None, body: bytes = b"",
        text: str = "", *, times: int = 1,
    ) -> None:  # fmt: skip
        """Give this answer in place of the server's."""
        lines = [f"HTTP/1.1 {status} {http.HTTPStatus(status).phrase}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        given = "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body
        self._rule(Rule(Fault.ANSWER, text, times=times, answer=given))

    def refuse(self) -> None:
        """Take no connection from now on, and drop those that are open."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # or accept() would wait on
        self._listener.close()
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def admit(self) -> None:
        """Take connections again, on the same port."""
        self._listener = socket.create_server((HOST, self.port))
        self._start(self._accept, self._listener)

    def _rule(self, rule: Rule) -> None:
        with self._lock:
            self._rules.append(rule)

    # -- connections --

    def _start(self, target: object, *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):  # the listener was closed
            while True:
                client, _ = listener.accept()
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._start(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        with self._lock:
            self._open.add(client)
        with contextlib.suppress(OSError), client, client.makefile("rb") as requests:
            while request := message(requests):
                answer, goes_on = self._exchange(request)
                client.sendall(answer)
                if not goes_on:
                    break
            client.shutdown(socket.SHUT_RDWR)
        with self._lock:
            self._open.discard(client)

    def _exchange(self, request: bytes) -> tuple[bytes, bool]:
        """Return what the client gets for a request, and whether its connection stays open."""
        name = request.split(b" HTTP/1.1\r\n", 1)[0].decode("latin-1")
        with self._lock:
            self.seen.append(name)
            rule = next((one for one in self._rules if one.takes(name)), None)
        if not rule:
            return self._forward(request), True
        answer = self._forward(request) if rule.after else b""
        if rule.fault is Fault.ANSWER:
            return rule.answer, True
        if rule.fault is Fault.CUT:
            head = answer.index(b"\r\n\r\n") + 4
            return answer[: head + (len(answer) - head) // 2], False
        if rule.fault is Fault.SILENCE:
            self._ended.wait()
        return b"", False

    def _forward(self, request: bytes) -> bytes:
        """Return the server's answer; each request has a connection of its own to it."""
        with socket.create_connection((HOST, self._target)) as server:
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            server.sendall(request)
            with server.makefile("rb") as answers:
                return message(answers, bodiless=request.startswith(b"HEAD "))


def message(stream: BinaryIO, *, bodiless: bool = False) -> bytes:
    """Read one request or answer as it is, its body included; b"" when there is none any more."""
    first = stream.readline()
    lines = []
    while first and (line := stream.readline()).strip():
        lines.append(line)
    head = first + b"".join(lines) + b"\r\n" if first else b""
    headers = {
        name.strip().lower(): value.strip().lower()
        for name, _, value in (line.partition(b":") for line in lines)
    }
    is_answer = first.startswith(b"HTTP/")
    if not first or bodiless or (is_answer and first.split()[1] in {b"204", b"304"}):
        return head
    if headers.get(b"transfer-encoding") == b"chunked":
        return head + chunks(stream)
    if b"content-length" in headers:
        return head + stream.read(int(headers[b"content-length"]))
    return head + (stream.read() if is_answer else b"")


def chunks(stream: BinaryIO) -> bytes:
    """Read a chunked body as it is, its last chunk and what trails it included."""
    read = b""
    while size := stream.readline():
        read += size
        length = int(size.partition(b";")[0], 16)
        if not length:
            while (line := stream.readline()).strip():
                read += line
            return read + b"\r\n"
        read += stream.read(length + 2)
    return read
