"""No token, key or secret is in a log line, an answer or an error, however lively a run is.

The whole app runs as processes of its own; every secret that it uses is made known here, tokens
and signatures as they pass the proxies before Graph, the identity and the table.
"""

from __future__ import annotations

import json
import re
import secrets
import threading
import time
from http.server import ThreadingHTTPServer

import pytest

from emulator.azurite import KEY
from tests.calls import hub
from tests.faults.faulty import Fault as Kind
from tests.faults.faulty import FaultyProxy, answer, reset
from tests.faults.world import Receiver
from tests.local_app import App, ago, quiet

SECRETS = re.compile(
    rb"(?i)authorization: (?:bearer|sharedkey) ([^\r]+)|x-identity-header: ([^\r]+)"
    rb'|"access_token": ?"([^"]+)"'
)


class Watching(FaultyProxy):
    """Keeps every secret that passes."""

    def __init__(self, target):
        super().__init__(target, lambda _: None)
        self.passed: set[str] = set()

    def _forward(self, request):
        got = super()._forward(request)
        for found in SECRETS.finditer(request + got):
            self.passed.add(next(filter(None, found.groups())).decode().strip())
        return got


def every(_name):
    return True


# A connection that a fault has broken is closed by the garbage collection at times.
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture
def receiver():
    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        server.ids = []
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_no_secret_is_told_to_anybody(azurite, receiver):
    """Calls, webhooks, links, sweeps, notices; then the identity, Graph and the table fail."""
    link_secret, hook_secret = secrets.token_hex(32), secrets.token_hex(16)
    notify = f"http://127.0.0.1:{receiver.server_port}/hook?sig={secrets.token_hex(16)}"
    app = App(graph_options=("--requests", "0"))
    with Watching(app.graph_port) as graph, Watching(azurite.port) as table:
        app.settings = {
            "SWEEP_SCHEDULE": "0 0 0 1 1 *",
            "HTTP_BUDGET_SECONDS": "1",
            "SWEEP_MIN_AGE_MINUTES": "0",
            "STATUS_LINK_SECRET": link_secret,
            "WEBHOOK_SECRETS": hook_secret,
            "NOTIFY_URL": notify,
            "ATTEMPTS_TABLE": "secretsOfARun",
            "AzureWebJobsStorage": azurite.connection_string.replace(
                f":{azurite.port}/", f":{table.port}/"
            ),
            "GRAPH_ENDPOINT": f"http://127.0.0.1:{graph.port}",
            "IDENTITY_ENDPOINT": f"http://127.0.0.1:{graph.port}/msi/token",
        }
        with app:
            replies = lively(app, graph, table, hook_secret)
        answers = [json.dumps([one.headers, one.body]) for one in replies]
        links = re.findall(r"signature=([\w-]+)", "\n".join(answers))
        signed = {hub(body, hook_secret)["x-hub-signature"] for body in app.sent}
        used = graph.passed | table.passed | signed | {link_secret, hook_secret, notify, KEY}
        used |= {app.function_key, app.master_key, app.identity_header, notify.split("=")[1]}

    assert {200, 202, 401, 502} <= {one.status for one in replies}
    assert len(graph.passed) >= 2
    assert len(table.passed) >= 5
    assert receiver.ids
    assert links
    lines = [one for one in app.lines if not one.startswith("TOKEN=")]  # the emulator's greeting
    told = "\n".join([*lines, *answers])
    assert [] == [one for one in used if one in told]
    assert [] == [one for one in links if one in "\n".join(lines)]  # a caller's own, not ours


def lively(app, graph, table, hook_secret):
    """Do everything that there is, well and badly; return all answers."""
    quiet(app)
    ids = app.failures(6)
    app.failures(1, completedDateTime=ago(days=13))
    body, replies = json.dumps({"requestId": ids[1]}).encode(), []
    app.sent = [body]

    def call(method, path, *rest, **headers):
        replies.append(app.call(method, path, *rest, **headers))
        return replies[-1]

    link = call("POST", f"/api/requests/{ids[0]}/reprocess").headers["location"]
    call("GET", link.removeprefix(app.url), key="")
    call("GET", link.removeprefix(app.url)[:-1] + "A", key="")
    call("POST", f"/api/requests/{ids[0]}/reprocess", key="wrong-key")
    call("POST", "/api/webhook", body=body, **hub(body, hook_secret))
    call("POST", "/api/webhook", body=body, **hub(body, "not-the-secret-at-all"))
    for path in ("/api/requests", "/api/diagnosis", "/api/health", f"/api/requests/{ids[0]}"):
        call("GET", path)
    app.sweep()
    for proxy, fault in (
        (graph, answer(401)),
        (graph, answer(500)),
        (graph, reset(after=False)),
        (table, answer(403)),
        (table, reset(after=True)),
    ):
        proxy.break_with(Kind("any", fault), every, 1_000_000)
        call("POST", f"/api/requests/{ids[2]}/reprocess")
        call("GET", "/api/diagnosis")
        call("POST", "/api/webhook", body=body, **hub(body, hook_secret))
        call("GET", "/api/requests")
        if proxy is table:  # Graph's own outage makes a sweep wait for long
            app.sweep()
        proxy.mend()
    time.sleep(0.1)  # the last lines
    return replies
