"""The local Functions host treats an app as the real one does, in what can hurt it."""

from __future__ import annotations

import ast
import http.client
import json
import socket
import time

import pytest

from emulator import inputs, run
from emulator.run import Local

TABLES = run.APP / "tests/data/host"
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE")

# The app's own routes and methods, each with a function that says what reached it; and one with a key.
APP = """
import contextvars, json, logging, threading, time
import azure.functions as func
import reprocess_http

app = func.FunctionApp()
log = logging.getLogger("redeliver")
log.info("imported")

def shown(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    found = [context.function_name, dict(req.route_params), dict(req.params), dict(req.headers)]
    return func.HttpResponse(json.dumps([*found, len(req.get_body()) or None]))

for one in reprocess_http.blueprint._function_builders:
    trigger = one._function.get_trigger()
    register = app.route(trigger.route, methods=[m.value for m in trigger.methods],
                         auth_level=func.AuthLevel.ANONYMOUS)
    app.function_name(one._function.get_function_name())(register(shown))

@app.route("keyed")
def keyed(req: func.HttpRequest) -> func.HttpResponse:
    def after():
        time.sleep(0.2)
        log.info("after")
    without = threading.Thread(target=log.info, args=("without",))
    within = threading.Thread(target=contextvars.copy_context().run, args=(log.info, "within"))
    late = threading.Thread(target=contextvars.copy_context().run, args=(after,))
    for one in (without, within, late):
        one.start()
    within.join()
    return func.HttpResponse("[]")
"""


@pytest.fixture(name="routed", scope="module")
def _routed(tmp_path_factory):
    """The host with this app."""
    folder = tmp_path_factory.mktemp("app")
    (folder / "function_app.py").write_text(APP)
    with Local(app=folder) as local:
        yield local


def rows(name):
    """The rows of a table of what the real host did."""
    lines = (TABLES / name).read_text(encoding="utf-8").splitlines()
    return [line.split("\t") for line in lines if not line.startswith(("#", "method\t"))]


def call(local, line, headers=(), body=b""):
    """Send a call byte by byte as it is given; return its status and JSON."""
    head = [f"{line} HTTP/1.1".encode(), *headers, b"Host: x", b"Connection: close", b"", body]
    with socket.create_connection(("127.0.0.1", local.port), timeout=10) as sock:
        sock.sendall(b"\r\n".join(head))
        answer = http.client.HTTPResponse(sock)
        answer.begin()
        raw = answer.read()
    return answer.status, json.loads(raw) if raw else None


def test_the_local_host_routes_as_the_real_one(routed):
    """[seen: the host's own router, run] Each row of routes.tsv but the web server's."""
    expected, seen = {}, {}
    for method, path, status, function, values in rows("routes.tsv"):
        web_servers = status in {"400", "414"} or "#" in path or "://" in path
        if web_servers or method not in METHODS:
            continue
        long = ("<7000 x a>", 7000 * "a")
        is_found = function != "-"
        expected[method, path] = int(status), is_found and [function, json.loads(values)]
        found, shown = call(routed, f"{method} {path.replace(*long)}", [b"Content-Length: 0"])
        seen[method, path] = (
            found,
            is_found and json.loads(json.dumps(shown or []).replace(*long[::-1]))[:2],
        )

    assert expected == seen


def test_the_local_host_hands_on_what_the_real_one_does(routed):
    """[seen: the host's own converter, run] Each row of inputs.tsv but the web server's.

    aiohttp refuses control characters in headers, and a length beside chunks. Without a length
    Azure's front end refuses a POST.
    """
    others = ("\\x01", "2', b'Transfer", "[] b'' with its length: False")
    expected, seen = {}, {}
    for kind, sent, arrives in rows("inputs.tsv"):
        arrived = json.loads(arrives)
        first, _, rest = sent.partition("] ")
        if kind == "key":
            pairs = [
                one.decode().replace(" ", "").split(":") for one in ast.literal_eval(first + "]")
            ]
            seen[kind, sent] = inputs.key_of(pairs, inputs.parameters(rest.removeprefix("?")))
        elif arrived[0] == 400 or any(one in sent for one in others):
            continue
        elif kind == "query":
            status, shown = call(routed, f"GET /api/health?{sent}")
            seen[kind, sent] = [status, shown[2]]
        elif kind == "headers":
            status, shown = call(routed, "GET /api/health", ast.literal_eval(sent))
            seen[kind, sent] = [status, {name: shown[3].get(name) for name in arrived[1]}]
        else:
            method, _, headers = first.partition(" ")
            headers, body = (
                ast.literal_eval(headers + "]"),
                ast.literal_eval(rest.partition(" with")[0]),
            )
            if rest.endswith("True"):
                headers.append(f"Content-Length: {len(body)}".encode())
            path = {"GET": "health", "POST": "webhook"}[method]
            status, shown = call(routed, f"{method} /api/{path}", headers, body)
            seen[kind, sent] = [status, shown and shown[4], arrived[2]]
        expected[kind, sent] = arrived

    assert expected == seen
    assert [200, 401] == [
        call(routed, f"GET /api/keyed?Code={key}")[0] for key in (routed.function_key, "k")
    ]


def test_log_lines_outside_of_an_invocation_are_lost(routed):
    """At import, in a thread without the invocation's context, and after the invocation."""
    call(routed, f"GET /api/keyed?code={routed.function_key}")
    for _ in range(100):
        said = {line.rpartition(" ")[2] for line in routed.lines if "[redeliver]" in line}
        if "after" in said:
            break
        time.sleep(0.02)

    lost = {line.rpartition(" ")[2] for line in routed.lost()}
    assert ({"imported", "without", "after"}, {"within"}) == (lost, said - lost)
