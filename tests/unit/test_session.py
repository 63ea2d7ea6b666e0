"""session.py: calls end with their deadline, over real sockets on loopback.

Not for: which error of Graph's a time-out becomes (test_graph_outcome.py).
"""

from __future__ import annotations

import contextlib
import socket
import socketserver
import ssl
import threading
import time

import pytest
import requests
from urllib3.exceptions import NewConnectionError, ReadTimeoutError

import session as module
from deadline import Deadline
from emulator.azurite import certify
from session import bounded_by, new_session

SECONDS = 0.25
LATEST = 0.9  # this machine may be busy
HEADERS = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A self-signed certificate of 127.0.0.1, and its key, in one file."""
    path = tmp_path_factory.mktemp("tls") / "certificate.pem"
    key = certify(path)
    path.write_bytes(key.read_bytes() + path.read_bytes())
    return path


@contextlib.contextmanager
def serving(serve, certificate=None):
    """Run `serve(connection, ended)` for each connection; yield the address.

    It waits at the end until every connection is closed.
    """
    ended, context = threading.Event(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if certificate:
        context.load_cert_chain(certificate)

    class Handler(socketserver.BaseRequestHandler):
        def handle(self):
            with contextlib.suppress(OSError):
                plain = self.request
                with context.wrap_socket(plain, True) if certificate else plain as connection:
                    serve(connection, ended)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        scheme = "https" if certificate else "http"
        try:
            yield f"{scheme}://127.0.0.1:{server.server_address[1]}/x"
        finally:
            ended.set()
            server.shutdown()


def silent(connection, ended):
    ended.wait(5)


def dripping(first=b"HTTP/1.1 200 OK\r\nX: "):
    def serve(connection, ended):
        connection.sendall(first)
        while not ended.wait(0.02):
            connection.sendall(b"x")

    return serve


def echoing(connection, ended):
    """Answer every request on a kept connection with its number."""
    number = 0
    while connection.recv(65536):
        number += 1
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % number)


def call(url, seconds=SECONDS, method="GET", timeout=30, **options):
    """Make one call within a deadline; return how long it took and what came of it."""
    began = time.monotonic()
    with new_session() as session:
        try:
            with bounded_by(Deadline(seconds)):
                outcome = session.request(method, url, timeout=timeout, **options).content
        except requests.RequestException as error:
            outcome = error
    return time.monotonic() - began, outcome


UPLOAD = {"method": "POST", "data": b"x" * 50_000_000}  # more than the peer's buffers hold
STREAMED = requests.ConnectionError  # it is read after the session has returned


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize(("serve", "options", "kind"), [
    (silent, {}, requests.ReadTimeout),
    (dripping(), {}, requests.ReadTimeout),
    (dripping(HEADERS), {}, requests.ReadTimeout),
    (dripping(HEADERS), {"stream": True}, STREAMED),
    (silent, UPLOAD, requests.ReadTimeout),
], ids=["silent", "headers", "body", "streamed body", "send"])  # fmt: skip
def test_a_read_and_a_send_end_with_the_deadline(serve, options, kind, tls, certificate):
    """However the peer drips."""
    with serving(serve, certificate if tls else None) as url:
        took, outcome = call(url, verify=str(certificate), **options)

    assert kind is type(outcome)
    assert kind is not STREAMED or isinstance(outcome.args[0], ReadTimeoutError)
    assert SECONDS <= took < LATEST


def test_a_tls_handshake_ends_with_the_deadline():
    """Nothing was sent then."""
    with serving(silent) as url:
        took, outcome = call(url.replace("http:", "https:"))

    assert isinstance(outcome, requests.ConnectTimeout)
    assert SECONDS <= took < LATEST


@pytest.fixture
def swallowing():
    """A port whose backlog is full: it answers no SYN."""
    with socket.socket() as listening, contextlib.ExitStack() as clients:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for _ in range(3):
            client = clients.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(listening.getsockname())
        time.sleep(0.05)
        yield listening.getsockname()


def resolving(monkeypatch, *addresses):
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", one) for one in addresses]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)


def test_connecting_ends_with_the_deadline_all_addresses_together(monkeypatch, swallowing):
    """Eight of them swallow what they are sent."""
    resolving(monkeypatch, *[swallowing] * 8)

    took, outcome = call("http://many.example/")

    assert isinstance(outcome, requests.ConnectTimeout)
    assert SECONDS <= took < LATEST


def test_the_next_address_is_tried(monkeypatch, swallowing):
    """After CONNECT_SECONDS of silence, or at once when it refuses."""
    monkeypatch.setattr(module, "CONNECT_SECONDS", 0.05)
    with socket.socket() as closed, serving(echoing) as url:
        closed.bind(("127.0.0.1", 0))
        open_ = ("127.0.0.1", int(url.split(":")[2].removesuffix("/x")))
        resolving(monkeypatch, closed.getsockname(), swallowing, open_)

        assert b"1" == call("http://many.example/")[1]


def resetting(connection, ended):
    connection.recv(1)  # what is left unread makes closing a reset


@pytest.mark.parametrize("serve", [None, resetting, silent])
def test_a_connection_that_was_never_used_is_named_as_such(serve, certificate):
    """It is refused, reset in the TLS handshake, or its certificate does not verify."""
    tls = certificate if serve is silent else None
    with socket.socket() as closed, serving(serve, tls) as url:
        closed.bind(("127.0.0.1", 0))
        unused = f"https://127.0.0.1:{closed.getsockname()[1]}/"
        outcome = call(url.replace("http:", "https:") if serve else unused)[1]

    assert isinstance(outcome.args[0].reason, NewConnectionError)
    assert (serve is silent) == ("CERTIFICATE_VERIFY_FAILED" in str(outcome))


@pytest.mark.parametrize("kept", [False, True], ids=["new connection", "kept connection"])
def test_after_the_deadline_not_a_byte_is_sent(kept):
    """Also when the connection is there already."""
    seen = []

    def recording(connection, ended):
        while data := connection.recv(65536):
            seen.append(data)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    with serving(recording) as url, new_session() as session:
        if kept:
            session.get(url, timeout=5)
        with bounded_by(Deadline(0)), pytest.raises(requests.ConnectTimeout):
            session.post(url, timeout=5)

    assert kept == len(seen)


def test_a_shorter_timeout_of_the_caller_is_kept():
    with serving(silent) as url:
        took, outcome = call(url, 30, timeout=0.05)

    assert (requests.ReadTimeout, True) == (type(outcome), took < LATEST)


def test_connections_are_kept_and_a_deadline_is_of_its_own_calls_only(certificate):
    """What a deadline left of a socket's time-out does not outlive it."""
    with serving(echoing, certificate) as url, new_session() as session:
        session.verify = str(certificate)
        with bounded_by(Deadline(5)):
            assert b"1" == session.get(url, timeout=5).content
        assert b"2" == session.get(url).content
        with bounded_by(Deadline(5)):
            assert b"3" == session.post(url, data=b"x").content


def test_a_redirect_is_not_followed_and_its_body_not_read():
    """The library reads it where a Location is given, though it is told not to follow it."""
    redirect = b"HTTP/1.1 302 Found\r\nLocation: /y\r\nTransfer-Encoding: chunked\r\n\r\n"
    with serving(dripping(redirect)) as url, new_session() as session:
        answer = session.get(url, timeout=5, stream=True)
        answer.close()

    assert 302 == answer.status_code


def test_nothing_of_the_environment_is_read_and_nothing_is_retried():
    """No proxy, no .netrc; connections as many as asked for."""
    with new_session(48) as session:
        adapter = session.get_adapter("https://graph.microsoft.com")

        assert not session.trust_env
        assert (48, 0) == (adapter._pool_maxsize, adapter.max_retries.total)


def test_a_secret_address_is_never_logged(caplog):
    """urllib3 warns of a malformed header line with the whole address."""

    def malformed(connection, ended):
        connection.recv(65536)
        connection.sendall(
            b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x; boundary=y\r\n bad\r\n"
            b"no header\r\nContent-Length: 0\r\n\r\n"
        )
        connection.shutdown(socket.SHUT_WR)

    with caplog.at_level("DEBUG"), serving(malformed) as url:
        call(f"{url}?sig=secret")

    assert "secret" not in caplog.text
