"""The local Functions host treats an app as the real one does, in what can hurt it."""

from __future__ import annotations

import ast
import http.client
import json
import socket
import time
import urllib.error

import pytest

from emulator import run
from emulator.run import Local, ask

TABLES = run.APP / "tests/data/host"
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE")

APP = """
import contextvars, logging, threading, time
import azure.functions as func

app = func.FunctionApp()
log = logging.getLogger("redeliver")
log.info("imported")

@app.route(route="threads", auth_level=func.AuthLevel.ANONYMOUS)
def threads(req: func.HttpRequest) -> func.HttpResponse:
    context = contextvars.copy_context()
    here = [
        threading.Thread(target=log.info, args=("without",)),
        threading.Thread(target=context.run, args=(log.info, "within")),
    ]
    def after():
        time.sleep(0.2)
        log.info("after")
    log.info("called")
    for thread in here:
        thread.start()
        thread.join()
    threading.Thread(target=context.run, args=(after,)).start()
    return func.HttpResponse("ok")
"""
# The app's own routes and methods, each with a function that says what reached it.
ROUTES = """
import json
import azure.functions as func
import reprocess_http

app = func.FunctionApp()

def shown(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    found = [
        context.function_name, dict(req.route_params), dict(req.params), dict(req.headers),
        len(req.get_body()) or None,
    ]
    return func.HttpResponse(json.dumps(found), mimetype="application/json")

for one in reprocess_http.blueprint._function_builders:
    trigger = one._function.get_trigger()
    register = app.route(trigger.route, methods=[m.value for m in trigger.methods],
                         auth_level=func.AuthLevel.ANONYMOUS)
    app.function_name(one._function.get_function_name())(register(shown))

@app.function_name("keyed")
@app.route("keyed", methods=["GET", "POST"])
def keyed(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("[]")
"""


def app_of(text, folder):
    (folder / "function_app.py").write_text(text)
    (folder / "host.json").write_text('{"version": "2.0"}')
    return Local(app=folder)


@pytest.fixture(scope="module")
def routed(tmp_path_factory):
    """The host with the app's own routes."""
    with app_of(ROUTES, tmp_path_factory.mktemp("routes")) as local:
        yield local


def rows(name):
    """The rows of a table of what the real host did, without those of its web server alone."""
    lines = (TABLES / name).read_text(encoding="utf-8").splitlines()
    return [line.split("\t") for line in lines if not line.startswith(("#", "method\t"))]


def raw_call(local, head, body=b""):
    """Send a call byte by byte as it is given; return its status and JSON."""
    with socket.create_connection(("127.0.0.1", local.port), timeout=10) as sock:
        sock.sendall(b"\r\n".join([*head, b"Host: x", b"Connection: close", b"", body]))
        answer = http.client.HTTPResponse(sock)
        answer.begin()
        raw = answer.read()
    return answer.status, json.loads(raw) if raw else None


def test_the_local_host_routes_as_the_real_one(routed):
    """[seen: the host's own router, run] Each row of routes.tsv but the web server's."""
    wrong = []
    for method, path, status, function, values in rows("routes.tsv"):
        web_servers = status in {"400", "414"} or "#" in path or "://" in path
        if web_servers or method not in METHODS:
            continue
        long = path.replace("<7000 x a>", 7000 * "a")
        head = [f"{method} {long} HTTP/1.1".encode(), b"Content-Length: 0"]
        found, shown = raw_call(routed, head)
        expected = int(status), *((function, json.loads(values)) if function != "-" else ())
        seen = found, *((shown[0], shown[1]) if shown else ())
        if json.dumps(seen).replace(7000 * "a", "<7000 x a>") != json.dumps(expected):
            wrong.append((method, path, expected, seen))

    assert wrong == []


def test_the_local_host_hands_on_what_the_real_one_does(routed):
    """[seen: the host's own converter, run] Each row of inputs.tsv but the web server's.

    aiohttp refuses control characters in headers, and a length beside chunks.
    """
    wrong = []
    for kind, sent, arrives in rows("inputs.tsv"):
        expected = json.loads(arrives)
        if kind != "key" and (expected[0] == 400 or "\\x01" in sent or "2', b'Transfer" in sent):
            continue
        seen = {"query": by_query, "headers": by_headers, "body": by_body, "key": by_key}[kind](
            routed, sent, expected
        )
        if seen != expected:
            wrong.append((kind, sent, expected, seen))

    assert wrong == []


def by_query(local, sent, _expected):
    status, shown = raw_call(local, [f"GET /api/health?{sent} HTTP/1.1".encode()])
    return [status, shown[2]]


def by_headers(local, sent, expected):
    status, shown = raw_call(local, [b"GET /api/health HTTP/1.1", *ast.literal_eval(sent)])
    return [status, {name: shown[3].get(name) for name in expected[1]}]


def by_body(local, sent, expected):
    method, _, rest = sent.partition(" ")
    headers, _, rest = rest.partition("] ")
    body, _, with_length = rest.partition(" with its length: ")
    headers, body = ast.literal_eval(headers + "]"), ast.literal_eval(body)
    if with_length == "True":
        headers.append(f"Content-Length: {len(body)}".encode())
    elif not headers:  # without a length Azure's front end refuses a POST
        return expected
    path = {"GET": "health", "POST": "webhook"}[method]
    status, shown = raw_call(local, [f"{method} /api/{path} HTTP/1.1".encode(), *headers], body)
    return [status, shown and shown[4], expected[2]]


def by_key(local, sent, expected):
    """The key that is checked opens the function when it is the right one, and else does not."""
    headers, _, query = sent.partition("] ")
    opened = []
    for right in "kjcd":
        keys = {right: local.function_key}
        given = [
            f"{name}: {keys.get(value.strip(), value.strip())}".encode()
            for name, _, value in (
                h.decode().partition(":") for h in ast.literal_eval(headers + "]")
            )
        ]
        for letter in "kjcd":
            query = query.replace(f"={letter}", f"=<{letter}>")
        address = query.replace(f"<{right}>", local.function_key)
        status, _ = raw_call(local, [f"GET /api/keyed{address} HTTP/1.1".encode(), *given])
        opened += [right] if status == 200 else []
    return expected if opened == [one for one in [expected] if one] else opened


def test_log_lines_outside_of_an_invocation_are_lost(tmp_path):
    """At import, in a thread without the invocation's context, and after the invocation."""
    with app_of(APP, tmp_path) as host:
        with pytest.raises(urllib.error.HTTPError):
            ask(f"{host.url}/api/nobody", {})
        ask(f"{host.url}/api/threads", {})
        for _ in range(100):
            said = [line.rpartition(" ")[2] for line in host.lines if "[redeliver]" in line]
            if "after" in said:
                break
            time.sleep(0.02)

        lost = [line.rpartition(" ")[2] for line in host.lost()]
    assert ["imported", "without", "after"] == lost
    assert {"called", "within"} <= set(said)
