"""A TCP proxy on loopback that breaks HTTP/1.1 on purpose: by rules, request by request.

For: what the app does when Table Storage, or Graph, is not heard, hears nothing, or says nonsense.
Not for: https; what the server itself would do wrong (the emulator does that).

    with Proxy(azurite.port) as proxy:            # the app is told to use proxy.port
        proxy.drop("$batch")                      # the next transaction never arrives
        proxy.drop("$batch", after=True)          # it is carried out, its answer is lost
        proxy.silence()                           # no answer for longer than any test waits
        proxy.cut()                               # carried out, half of the answer's body comes
        proxy.answer(503, {"Retry-After": "1"})   # not carried out
        proxy.break_with(act, "GET .*id$", 2)     # whatever this act does, twice
        proxy.refuse()                            # connections are refused, open ones dropped
        proxy.admit()                             # and taken again
        proxy.seen                                # every request so far, as "POST /account/$batch"

A rule acts on requests whose "METHOD /path" its pattern, or its text, is found in. Of several the
first set acts; one that has acted as often as it should is spent. An act yields what the client
gets: bytes, RESET to have the connection reset, b"" to have it closed.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import socket
import struct
import threading

HOST = "127.0.0.1"
RESET = None
SILENT_SECONDS = 2.0  # longer than any test waits for an answer


class Proxy:
    """Forwards every request to a port of this machine, but for what its rules say."""

    def __init__(self, target):
        self.seen = []
        self.rules = []  # each an act, a pattern, and how often it is still to act
        self.port = 0
        self._target = target
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._open = set()
        self.admit()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._ended.set()
        self.refuse()

    # -- rules --

    def drop(self, text="", *, after=False, times=1):
        """Close the connection before the server hears of it, or in place of its answer."""
        self.break_with(afterwards(closed) if after else closed, re.escape(text), times)

    def silence(self, text="", *, times=1):
        self.break_with(silent, re.escape(text), times)

    def cut(self, text="", *, times=1):
        """Close the connection in the middle of the answer's body."""
        self.break_with(cut_short, re.escape(text), times)

    def answer(self, status, headers=None, body=b"", text="", *, times=1):
        """Give this answer in place of the server's."""
        self.break_with(answered(status, headers or {}, body), re.escape(text), times)

    def break_with(self, act, pattern="", times=1):
        self.rules.append([act, pattern, times])

    def refuse(self):
        """Take no connection from now on, and drop those that are open."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # or accept() would wait on
        self._listener.close()
        while self._open:
            with contextlib.suppress(OSError):  # it is closed already
                self._open.pop().shutdown(socket.SHUT_RDWR)

    def admit(self):
        """Take connections again, on the same port."""
        self._listener = socket.create_server((HOST, self.port))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    # -- connections --

    def _accept(self, listener):
        with contextlib.suppress(OSError):  # the listener was closed
            while True:
                client, _ = listener.accept()
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._open.add(client)
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        with contextlib.suppress(OSError), client, client.makefile("rb") as requests:
            while request := read_request(requests):
                for piece in self._act_on(request)(self, request):
                    if piece is RESET:
                        linger = struct.pack("ii", 1, 0)
                        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    if not piece:
                        return
                    client.sendall(piece)

    def _act_on(self, request):
        name = request.split(b" HTTP/1.1\r\n", 1)[0].decode("latin-1")
        with self._lock:
            self.seen.append(name)
            for rule in self.rules:
                act, pattern, times = rule
                if times and re.search(pattern, name):
                    rule[2] -= 1
                    return act
        return forwarded

    def forward(self, request):
        """Return the server's answer; each request has a connection of its own to it."""
        head, _, body = request.partition(b"\r\n\r\n")
        head = re.sub(rb"(?i)\r\nconnection: [^\r]*", b"", head) + b"\r\nConnection: close"
        with socket.create_connection((HOST, self._target)) as server:
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            server.sendall(head + b"\r\n\r\n" + body)
            answer = server.makefile("rb").read()
        return re.sub(rb"(?i)\r\nconnection: close", b"", answer, count=1)  # the client's stays

    def hold(self):
        self._ended.wait(SILENT_SECONDS)


def read_request(stream):
    """Read one request as it is, its body included; b"" when there is none any more."""
    head = b"".join(itertools.takewhile(bytes.strip, stream))
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    return head and head + b"\r\n" + stream.read(int(length[1]) if length else 0)


# -- what is done --


def forwarded(proxy, request):
    yield proxy.forward(request)


def closed(_proxy, _request):
    yield b""


def reset(_proxy, _request):
    yield RESET


def silent(proxy, _request):
    proxy.hold()
    yield b""


def cut_short(proxy, request):
    """Close the connection in the middle of the answer's body."""
    whole = proxy.forward(request)
    yield whole[: len(whole) - len(whole.partition(b"\r\n\r\n")[2]) // 2 - 1]
    yield b""


def answered(status, headers, body=b""):
    """Give this answer in place of the server's."""
    lines = [f"HTTP/1.1 {status} -", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    whole = "\r\n".join([*lines, "", ""]).encode() + body
    return lambda _proxy, _request: [whole]


def afterwards(act):
    """Do it once the server has carried out the call."""

    def acted(proxy, request):
        proxy.forward(request)
        yield from act(proxy, request)

    return acted
