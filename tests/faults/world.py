"""The app in this process, between real parts: emulated Graph, identity, Azurite, a receiver.

Every wait is told to a clock instead of being slept, and a silence is really waited for half a
second only; the clock hears of the whole one. So a cell of the matrix takes a moment, and its time
is still the one that a caller would see. Sockets, TLS, HTTP and the table's own protocol are real.
"""

from __future__ import annotations

import contextvars
import http.client
import itertools
import json
import logging
import queue
import socket
import threading
import time
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import azure.functions as func
import requests

import attempts
import deadline
import graph
import reprocess_timer
import settings
import table
from attempts import Attempts, Memory, table_client
from emulator.azurite import certify
from graph import Graph, identity
from graph import http as graph_http
from reprocess_http import failures, failures_answer, lately, one_request, road, webhook
from reprocess_timer import batches, notices
from reprocess_timer.sweep import Sweep
from table import Table
from tests.calls import hub
from tests.faults.faulty import FaultyProxy

if TYPE_CHECKING:
    import pytest

SILENT = 0.5  # seconds; the longest that a silence is really waited for
HTTP_BUDGET, SWEEP_BUDGET = 20, 60
SECRET = "hook-secret-for-faults-0123456789"
_numbers = itertools.count()


class Clock:
    """Real time, and all that was waited for without being slept."""

    def __init__(self) -> None:
        self.jumped = 0.0
        self.ahead = timedelta()
        self.meanwhile = lambda: None
        self._lock = threading.Lock()

    def monotonic(self) -> float:
        return time.monotonic() + self.jumped

    def ours(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def tell(self, seconds: float) -> None:
        with self._lock:
            self.jumped += max(0.0, seconds)

    def sleep(self, seconds: float) -> None:
        self.tell(seconds)
        self.meanwhile()

    def bounded(self, seconds: float, function: Any) -> Any:
        """Do what deadline.bounded does, by this clock."""
        ended: queue.SimpleQueue = queue.SimpleQueue()
        end = self.monotonic() + seconds

        def run() -> None:
            try:
                ended.put((function(), None))
            except BaseException as error:
                ended.put((None, error))

        threading.Thread(target=contextvars.copy_context().run, args=(run,), daemon=True).start()
        while True:
            try:
                value, error = ended.get(timeout=0.005)
            except queue.Empty:
                if self.monotonic() >= end:
                    raise deadline.TookTooLong from None
                continue
            if error:
                raise error
            return value


class Session(requests.Session):
    """The app's own kind of session, whose silences are told to the clock."""

    clock: Clock

    def request(self, method, url, **options):
        asked = options.get("timeout")
        connect, read = asked if isinstance(asked, tuple) else (asked, asked)
        options["timeout"] = (connect, min(read, SILENT))
        try:
            return super().request(method, url, **options)
        except requests.Timeout:
            self.clock.tell(read - SILENT)
            raise


class Receiver(BaseHTTPRequestHandler):
    """Takes notices and keeps their ids."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.ids += [one["id"] for one in (body if isinstance(body, list) else [body])]
        self.send_response(202)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


class Lines(logging.Handler):
    """Keeps the app's log lines."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[tuple[int, dict[str, Any]]] = []

    def emit(self, record):
        self.kept.append((record.levelno, json.loads(record.getMessage())))


class Parts:
    """What all cells share: each part, with a proxy before it for http and one for https."""

    def __init__(self, app: Any, azurite: Any) -> None:
        self.app, self.azurite = app, azurite
        self.clock = Clock()
        self._stack = ExitStack()

    def __enter__(self):
        stack, tell = self._stack, self.clock.tell
        folder = Path(stack.enter_context(TemporaryDirectory()))
        self.certificate = folder / "certificate.pem"
        certify(self.certificate)
        self.receiver = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
        self.receiver.ids = []
        threading.Thread(target=self.receiver.serve_forever, args=(0.01,), daemon=True).start()
        stack.callback(self.receiver.server_close)
        stack.callback(self.receiver.shutdown)
        ports = {
            "graph": self.app.graph_port,
            "identity": self.app.graph_port,
            "table": self.azurite.port,
            "notice": self.receiver.server_port,
        }
        self.proxies = {
            (name, tls): stack.enter_context(
                FaultyProxy(port, tell, self.certificate if tls else None)
            )
            for name, port in ports.items()
            for tls in (False, True)
        }
        stack.enter_context(quick_control(self.app))
        return self

    def __exit__(self, *error):
        self._stack.close()


@contextmanager
def quick_control(app: Any):
    """Have the emulator's own routes called over one connection: urllib makes much ado of each."""
    connection = http.client.HTTPConnection("127.0.0.1", app.graph_port, timeout=30)

    def control(method: str, path: str, body: Any = None) -> Any:
        raw = None if body is None else json.dumps(body)
        connection.request(method, f"/control/{path}", raw, {"X-Emulator-Control": "local"})
        reply = connection.getresponse()
        told = reply.read()
        assert reply.status < 300, told
        return json.loads(told)

    app.control = control
    yield
    del app.control
    connection.close()


class World:
    """One cell's app: settings, Graph, attempts and log of its own."""

    def __init__(self, parts: Parts, patch: pytest.MonkeyPatch, broken: str, *, tls: bool) -> None:
        self.parts, self.patch = parts, patch
        self.clock = parts.clock
        self.clock.jumped, self.clock.ahead = 0.0, timedelta()
        self.clock.meanwhile = lambda: None
        self.proxy = parts.proxies[broken, tls]
        self.lines = Lines()
        parts.app.control("DELETE", "requests")
        parts.app.control("DELETE", "log")
        parts.app.control("DELETE", "faults")
        parts.receiver.ids.clear()
        self.settings = settings.load(self._environ(broken, tls=tls))
        self._patch(tls=tls)
        self.attempts = self._attempts(broken)
        self.connect()
        patch.setattr(attempts, "shared", lambda: self.attempts)
        patch.setattr(graph, "shared", lambda: self.graph)
        patch.setattr(settings, "current", lambda: self.settings)

    def _environ(self, broken: str, *, tls: bool) -> dict[str, str]:
        scheme = "https" if tls else "http"
        address = f"{scheme}://127.0.0.1:{self.proxy.port}"
        account, key = (
            "devstoreaccount1",
            self.parts.azurite.connection_string.split("AccountKey=")[1],
        )
        environ = {
            "GRAPH_ENDPOINT": address if broken == "graph" else self.parts.app.graph_url,
            "HTTP_BUDGET_SECONDS": str(HTTP_BUDGET),
            "SWEEP_BUDGET_SECONDS": str(SWEEP_BUDGET),
            "WEBHOOK_SECRETS": SECRET,
            "ATTEMPTS_TABLE": f"faults{next(_numbers)}",
            "AzureWebJobsStorage": f"DefaultEndpointsProtocol={scheme};AccountName={account};"
            f"AccountKey={key.split(';')[0]};TableEndpoint={address}/{account};",
        }
        if broken != "table":
            del environ["AzureWebJobsStorage"]
        if broken == "notice":
            environ["NOTIFY_URL"] = f"{address}/hook"
        here = address if broken == "identity" else self.parts.app.graph_url
        self.patch.setenv("IDENTITY_ENDPOINT", f"{here}/msi/token")
        self.patch.setenv("IDENTITY_HEADER", self.parts.app.identity_header)
        return environ

    def _patch(self, *, tls: bool) -> None:
        clock, patch = self.clock, self.patch
        logger = logging.getLogger("redeliver")
        patch.setattr(logger, "handlers", [self.lines])
        patch.setattr(logger, "level", logging.INFO)
        patch.setattr(logger, "_cache", {})  # what other tests' levels have let through
        patch.setattr(logger, "propagate", False)
        session = type("Quick", (Session,), {"clock": clock})
        if tls:
            patch.setenv("REQUESTS_CA_BUNDLE", str(self.parts.certificate))  # for the table
            make = session.__init__

            def trusting(this):
                make(this)
                this.verify = str(self.parts.certificate)

            session.__init__ = trusting
        patch.setattr(notices.requests, "Session", session)
        patch.setattr(deadline.Deadline.__init__, "__defaults__", (clock.monotonic,))
        patch.setattr(batches.Threads.__init__, "__defaults__", (clock.sleep,))
        patch.setattr(Sweep.__init__, "__defaults__", (clock.ours, clock.monotonic))
        for module in (graph_http, identity, table, one_request, webhook, notices):
            patch.setattr(module, "bounded", clock.bounded)
        patch.setattr(road, "ACCEPTANCES", lately.Acceptances())
        patch.setattr(road, "UNDER_WAY", lately.UnderWay())
        patch.setattr(failures_answer, "KEPT", failures.Kept(clock.monotonic))

    def _attempts(self, broken: str) -> Attempts:
        if broken != "table":
            return Attempts(Memory(), self.clock.ours)
        made = Attempts(Table(table_client(self.settings), self.clock.sleep), self.clock.ours)
        made.check_writable()
        return made

    def connect(self) -> None:
        """Have connections and a token of their own from now on."""
        clock = self.clock
        self.graph = Graph(self.settings, None, None, clock.sleep, lambda: 0.0, clock.ours)

    # -- what is done --

    def failures(self, count: int, **fields: Any) -> list[str]:
        return self.parts.app.failures(count, **({"deliverySeconds": 600} | fields))

    def http(self, route: road.Route, request_id: str = "", *, signed: bool = False) -> str:
        """Call a route; return its status with its outcome or problem."""
        body = json.dumps({"requestId": request_id}).encode() if signed else b""
        req = func.HttpRequest(
            "POST",
            "https://app.example/api/x",
            headers=hub(body, SECRET, "x-hub-signature-256") if signed else {},
            params={},
            route_params={} if signed else {"requestId": request_id},
            body=body,
        )
        reply = road.travel(route, req, SimpleNamespace(invocation_id="run"))
        told = json.loads(reply.get_body())
        name = told.get("type", "").removeprefix("urn:redeliver:problem:")
        if "value" in told:
            whole = "" if told["listComplete"] else ", not whole"
            name = f"{len(told['value'])} listed{whole}"
        return f"{reply.status_code} {name or told['outcome']}"

    def sweep(self) -> dict[str, Any]:
        """Run the timer's function; return the line of its report, with its problem in words."""
        seen = len(self.lines.kept)
        run = reprocess_timer.sweep._function.get_user_function()
        try:
            run(SimpleNamespace(past_due=False), SimpleNamespace(invocation_id="run"))
        except reprocess_timer.SweepFailed as error:
            self.lines.kept.append((logging.DEBUG, {"event": "raised", "error": str(error)}))
        lines = [line for _, line in self.lines.kept[seen:]]
        return next(line for line in lines if line["event"] == "sweep finished")

    # -- what came of it --

    def reached(self) -> list[str]:
        """Return the ids of the reprocess calls that Graph took on, one for each time."""
        calls = self.parts.app.calls("reprocess")
        return [one["requestId"] for one in calls if one["status"] not in {401, 403}]

    def states(self) -> dict[str, str]:
        found = self.parts.app.control("GET", "requests")["requests"]
        return {one["id"]: one["state"] for one in found}

    def told(self) -> list[str]:
        """Return the events that stand out in the log."""
        return list(
            dict.fromkeys(
                line["event"] for level, line in self.lines.kept if level >= logging.WARNING
            )
        )


@contextmanager
def unknown_name(patch: pytest.MonkeyPatch, port: int, times: int):
    """Have the resolver not know the host of this port, so many times."""
    real, left = socket.getaddrinfo, [times]

    def resolve(host, wanted, *more, **options):
        if wanted == port and left[0]:
            left[0] -= 1
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return real(host, wanted, *more, **options)

    with patch.context() as own:
        own.setattr(socket, "getaddrinfo", resolve)
        yield
