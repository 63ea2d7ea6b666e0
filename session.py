"""HTTP sessions whose calls end with a deadline: for Graph, identity, table and notices.

Not for: retries, or what an answer means.

    session = new_session()
    with bounded_by(deadline):
        session.get(url, allow_redirects=False)

Within `bounded_by` the socket's time-out is set to what is left before each connect, send and read,
so that a peer that sends a byte now and then cannot keep a call going. What a time-out of requests
or azure-core says is kept where it is shorter. Nothing here waits in another thread.

Name resolution cannot be ended from outside: getaddrinfo returns when the system's resolver does.
The deadline is checked right after it, so nothing is sent too late.
"""

from __future__ import annotations

import contextlib
import contextvars
import logging
import math
import socket
import ssl
from typing import TYPE_CHECKING, Any

import requests
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError, ReadTimeoutError
from urllib3.util.ssl_ import create_urllib3_context

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deadline import Deadline

CONNECT_SECONDS = 5.0  # for one address, and again for its TLS handshake

# urllib3 logs whole addresses, and queries that sign are in some (NOTIFY_URL, a storage account's
# SAS). azure-identity warns of each failure in words that mislead; the app has its own line for it.
for _name in ("azure.core", "azure.identity", "msal", "urllib3"):
    logging.getLogger(_name).setLevel(logging.ERROR)

_deadline: contextvars.ContextVar[Deadline | None] = contextvars.ContextVar(
    "deadline", default=None
)


@contextlib.contextmanager
def bounded_by(deadline: Deadline) -> Iterator[None]:
    """Have every call within, on this thread and by these sessions, end with the deadline.

    A call whose time is over before its first byte was sent raises requests.ConnectTimeout, later
    ReadTimeout. Reading a streamed body raises requests.ConnectionError over urllib3's
    ReadTimeoutError.
    """
    token = _deadline.set(deadline)
    try:
        yield
    finally:
        _deadline.reset(token)


def new_session(connections: int = 32) -> requests.Session:
    """Return a session that keeps so many connections to a host open."""
    return DeadlineSession(connections)


class DeadlineSession(requests.Session):
    """A session that keeps to `bounded_by`, and to the address that it is given.

    It reads no proxy and no .netrc, follows no redirect, and tries nothing again.
    """

    def __init__(self, connections: int = 32) -> None:
        super().__init__()
        self.trust_env = False
        for scheme in ("https://", "http://"):
            self.mount(scheme, _Adapter(pool_maxsize=connections))

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:  # noqa: ANN401
        """Send a request. Whatever the time ran out in, it ends as requests.Timeout."""
        try:
            return super().send(request, **kwargs)
        except requests.ConnectionError as error:
            cause = error.args[0] if error.args else None  # urllib3's: of reading, or of sending
            within = getattr(cause, "args", ())
            if any(isinstance(one, ReadTimeoutError | TimeoutError) for one in (cause, *within)):
                raise requests.ReadTimeout(error, request=request) from error
            raise

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Return none: requests would read a redirect's body even when it does not follow it."""


def time_left() -> float:
    """Return the seconds left to the operation at hand; without a deadline there is no end."""
    deadline = _deadline.get()
    return deadline.left() if deadline else math.inf


def _limit(sock: socket.socket, most: float | None) -> None:
    """Let the next operation take what is left, and `most` at most. Raises TimeoutError."""
    left = time_left()
    if left <= 0:
        raise TimeoutError("the deadline is over")
    if most is None or left < most:
        most = left if left < math.inf else None
    sock.settimeout(most)


class _Socket(socket.socket):
    """A socket whose operations end with the deadline."""

    def recv_into(self, *args: Any) -> int:  # noqa: ANN401 - as http.client calls it
        _limit(self, self.gettimeout())
        return super().recv_into(*args)

    def send(self, *args: Any) -> int:  # noqa: ANN401 - as ssl calls it, piece by piece
        _limit(self, self.gettimeout())
        return super().send(*args)

    def sendall(self, *args: Any) -> None:  # noqa: ANN401 - as http.client calls it
        _limit(self, self.gettimeout())
        super().sendall(*args)


class _TLSSocket(_Socket, ssl.SSLSocket):
    """The same with TLS."""


class _Connection(HTTPConnection):
    """Connects, sends and reads within the deadline."""

    def connect(self) -> None:
        """Connect, with TLS where it is https. What fails here was never sent."""
        try:
            super().connect()
        except TimeoutError as error:
            raise ConnectTimeoutError(self, f"no connection to {self.host} in time") from error
        except OSError as error:
            raise NewConnectionError(self, f"no connection to {self.host}: {error}") from error

    def _new_conn(self) -> socket.socket:
        """Connect to the first address that takes it. Raises OSError, TimeoutError."""
        failure = OSError("its name has no address")
        found = socket.getaddrinfo(self.host.strip("[]"), self.port, type=socket.SOCK_STREAM)
        for family, kind, protocol, _, address in found:
            sock = None
            try:
                sock = _Socket(family, kind, protocol)
                for option in self.socket_options or ():
                    sock.setsockopt(*option)
                _limit(sock, CONNECT_SECONDS)
                sock.connect(address)
                _limit(sock, CONNECT_SECONDS)  # of the TLS handshake
                return sock
            except OSError as error:
                if sock:
                    sock.close()
                # Its traceback has this frame, and would keep the connection from being closed.
                failure = error.with_traceback(None)
        raise failure

    def request(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as urllib3 has it
        """Send a request, unless the time is over before its first byte."""
        if self.sock is None:
            self.connect()
        if not time_left():
            raise ConnectTimeoutError(self, "no time was left to send the request")
        super().request(*args, **kwargs)


class _TLSConnection(_Connection, HTTPSConnection):
    """The same with TLS, the handshake included."""

    def connect(self) -> None:
        """Connect with sockets of ours."""
        self.ssl_context = create_urllib3_context()
        self.ssl_context.sslsocket_class = _TLSSocket
        super().connect()


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TLSPool(HTTPSConnectionPool):
    ConnectionCls = _TLSConnection


class _Adapter(requests.adapters.HTTPAdapter):
    """Takes connections from our pools. It retries nothing, which is requests' default."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as requests has it
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TLSPool}
