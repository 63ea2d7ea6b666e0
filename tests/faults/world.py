"""The app in this process, between real peers: emulated Graph and identity, Azurite, a receiver.

Sockets, HTTP, the table's protocol and every step of the app are real. Waits are not slept: a clock
hears of them. A silence is really waited for a quarter of a second, and the clock hears of the
whole one. So its time is the one that a caller would see, however busy this machine is.

Not for: the faults (faulty.py).
"""

from __future__ import annotations

import itertools
import json
import logging
import threading
import time
import uuid
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partialmethod
from types import SimpleNamespace
from urllib.parse import urlsplit

import graph
import session
import settings
import table_client
from attempt_store import AttemptStore
from deadline import Deadline
from reprocess_http.handler import handle
from reprocess_timer.sweep import run_sweep
from reprocessing.sender import Threads
from table import InMemoryRows, Table
from tests.faults.faulty import FaultyProxy
from tests.support.emulated_graph import SECRET as IDENTITY_HEADER
from tests.support.emulated_graph import Emulated
from tests.support.http_calls import hub, request
from tests.support.inline import wire

SILENT_SECONDS = 0.25  # the longest that a silence is really waited for
HTTP_BUDGET, SWEEP_BUDGET = 20, 60
HOOK_SECRET = "hook-secret-for-faults-0123456789"
LINK_SECRET = "link-secret-for-faults-0123456789"
NOTIFY_QUERY = "sig=notify-secret-for-faults"
_numbers = itertools.count()


class Clock:
    """Real time, and all that was waited for without being slept."""

    def __init__(self):
        self.waited = 0.0
        self.on_sleep = lambda: None
        self._lock = threading.Lock()

    def __call__(self):
        return time.monotonic() + self.waited

    def now(self):
        return datetime.now(UTC) + timedelta(seconds=self.waited)

    def wait(self, seconds):
        with self._lock:
            self.waited += max(0.0, seconds)

    def sleep(self, seconds):
        self.wait(seconds)
        self.on_sleep()


def recv_into(sock, clock, *args):
    """Read as session.py does; the clock hears of the rest of a silence."""
    session._limit(sock, sock.gettimeout())
    most = sock.gettimeout()
    sock.settimeout(min(most, SILENT_SECONDS))
    try:
        return super(session._Socket, sock).recv_into(*args)
    except TimeoutError:
        clock.wait(most - SILENT_SECONDS)
        raise
    finally:
        with suppress(OSError):
            sock.settimeout(most)


class LiveGraph(Emulated):
    """The emulated Graph by the clock of the app."""

    def __init__(self, clock):
        self._clock = clock
        super().__init__()

    now = property(lambda self: self._clock.now(), lambda self, _: None)


class Receiver(FaultyProxy):
    """Takes notices and keeps their ids."""

    def forward(self, request):
        found = json.loads(request.partition(b"\r\n\r\n")[2])
        self.ids += [one["id"] for one in (found if isinstance(found, list) else [found])]
        return b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"


class Lines(logging.Handler):
    """Keeps every log line, of the app and of its libraries, as text."""

    def __init__(self):
        super().__init__()
        self.texts, self.events = [], []

    def emit(self, record):
        self.texts.append(self.format(record))
        if record.name == "redeliver":
            self.events.append((record.levelno, json.loads(record.getMessage())))


class Peers:
    """What all worlds share: each peer of the app, behind a faulty proxy of its own."""

    def __init__(self, azurite):
        self.azurite, self.clock = azurite, Clock()
        self.graph = LiveGraph(self.clock)
        port = urlsplit(self.graph.url).port
        ports = {"graph": port, "identity": port, "table": azurite.port}
        self.proxies = {name: FaultyProxy(port, self.clock.wait) for name, port in ports.items()}
        self.proxies["receiver"] = Receiver(0, self.clock.wait)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        for proxy in self.proxies.values():
            proxy.__exit__(*error)


class World:
    """One fresh app between these peers: settings, credential, table and log of its own."""

    def __init__(self, peers, patch):
        self.peers, self.clock, self.graph = peers, peers.clock, peers.graph
        self.clock.waited, self.clock.on_sleep = 0.0, lambda: None
        self.graph.reset()
        self.graph.control.clear_requests()
        self.graph.turn(pageSize=2, top="ignored", repeatAccepted=True)
        for proxy in peers.proxies.values():
            proxy.rules.clear()
        peers.proxies["receiver"].ids = []
        self.answers, self.lines = [], Lines()
        root, ours = logging.getLogger(), logging.getLogger("redeliver")
        patch.setattr(root, "handlers", [self.lines])
        patch.setattr(root, "level", logging.DEBUG)
        patch.setattr(ours, "level", logging.DEBUG)
        for one in (root, ours):
            patch.setattr(one, "_cache", {})  # what other tests' levels let through
        self.settings = settings.load(self._environ(patch))
        self._make_app(patch)

    def _environ(self, patch):
        at = {name: f"http://127.0.0.1:{one.port}" for name, one in self.peers.proxies.items()}
        patch.setenv("IDENTITY_ENDPOINT", f"{at['identity']}/msi/token")
        patch.setenv("IDENTITY_HEADER", IDENTITY_HEADER)
        azurite = self.peers.azurite
        storage = azurite.connection_string.replace(f"http://127.0.0.1:{azurite.port}", at["table"])
        return {
            "GRAPH_ENDPOINT": at["graph"],
            "HTTP_BUDGET_SECONDS": str(HTTP_BUDGET),
            "SWEEP_BUDGET_SECONDS": str(SWEEP_BUDGET),
            "WEBHOOK_SECRETS": HOOK_SECRET,
            "STATUS_LINK_SECRET": LINK_SECRET,
            "NOTIFY_URL": f"{at['receiver']}/hook?{NOTIFY_QUERY}",
            "ATTEMPTS_TABLE": f"faults{next(_numbers)}",
            "AzureWebJobsStorage": storage,
        }

    def _make_app(self, patch):
        clock = self.clock
        app = graph.Graph(self.settings, None, None, clock.sleep, lambda: 0.0, clock.now)
        rows = table_client.new_client(self.settings)
        callers = AttemptStore(Table(rows, quick=True), clock.now)
        memory = AttemptStore(InMemoryRows(), clock.now)
        self.store = AttemptStore(Table(rows), clock.now)
        self.store.check_writable(Deadline(30))  # creates the table
        wire(patch, app, callers, self.store, memory, clock)
        patch.setattr(settings, "current", lambda: self.settings)
        # Where the app reads a clock or waits without being handed one.
        patch.setattr(Threads.__init__, "__defaults__", (clock.sleep,))
        patch.setattr(table_client, "time", SimpleNamespace(sleep=clock.sleep))
        patch.setattr(session._Socket, "recv_into", partialmethod(recv_into, clock))

    # -- what is done --

    def put(self, count, **fields):
        """Put failed requests into the tenant; return their ids."""
        usual = {"state": "deliveryFailed", "deliverySeconds": 600} | fields
        return self.graph.control.put_requests(
            [usual | {"id": str(uuid.uuid4())} for _ in range(count)]
        )

    def call(self, route, request_id="", body=b"", query="", secret=HOOK_SECRET):
        """Call a route, signed where there is a body; return the answer's body and `code`."""
        headers = hub(body, secret, "x-hub-signature-256") if body else {}
        given = request(query, body, request_id, **headers)
        answer = handle(route, given, SimpleNamespace(invocation_id="run"))
        self.answers.append(answer.get_body().decode())
        return {"code": answer.status_code} | json.loads(self.answers[-1])

    def sweep(self):
        """Run a sweep; return the fields of its report."""
        return run_sweep(graph.shared(), self.store, self.settings, self.clock).fields()

    # -- what can be seen --

    def sent(self, *statuses):
        """Return the ids of the reprocess calls that Graph itself answered with these statuses."""
        calls = [one for one in self.graph.control.log() if one["operation"] == "reprocess"]
        return [one["requestId"] for one in calls if one["status"] in statuses]

    def states(self):
        return {one["id"]: one["state"] for one in self.graph.control.requests()}

    def warnings(self):
        """Return the names of the lines that stand out."""
        return [line["event"] for level, line in self.lines.events if level >= logging.WARNING]

    def leaked(self):
        """Return the secrets that are in a log line or an answer."""
        key = self.peers.azurite.connection_string.split("AccountKey=")[1].split(";")[0]
        known = {HOOK_SECRET, LINK_SECRET, NOTIFY_QUERY, IDENTITY_HEADER, key}
        known |= {one for proxy in self.peers.proxies.values() for one in proxy.secrets}
        text = "\n".join([*self.lines.texts, *self.answers])
        return [one for one in known - {"expired"} if one in text]
