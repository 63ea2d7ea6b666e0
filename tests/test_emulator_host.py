"""The local Functions host treats an app as the real one does, in what can hurt it."""

from __future__ import annotations

import http.client
import json
import urllib.error

import pytest

from emulator.run import Local, ask

APP = """
import contextvars, json, logging, os, threading, time
import azure.functions as func

app = func.FunctionApp()
log = logging.getLogger("redeliver")
AT_LOAD = os.environ.get("SWEEP_SCHEDULE", "missing")
log.info("imported")

@app.route(route="echo/{name}", methods=["GET", "POST"])
def echo(req: func.HttpRequest) -> func.HttpResponse:
    shown = {
        "method": req.method, "headers": dict(req.headers), "params": dict(req.params),
        "route": dict(req.route_params), "body": req.get_body().decode(),
    }
    return func.HttpResponse(json.dumps(shown), mimetype="application/json")

@app.route(route="settings", auth_level=func.AuthLevel.ANONYMOUS)
def settings(req: func.HttpRequest) -> func.HttpResponse:
    now = os.environ.get("SWEEP_SCHEDULE", "missing")
    return func.HttpResponse(json.dumps([AT_LOAD, now, os.environ["GRAPH_ENDPOINT"][:17]]))

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

@app.timer_trigger(arg_name="timer", schedule="0 0 0 1 1 *")
def sweep(timer: func.TimerRequest) -> None:
    log.info('{"event": "sweep finished", "pastDue": %s}', json.dumps(timer.past_due))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("app")
    (made / "function_app.py").write_text(APP)
    (made / "host.json").write_text('{"version": "2.0"}')
    return made


@pytest.fixture(scope="module")
def host(folder):
    """The host with this app, and beside it an emulated Graph that nobody asks."""
    with Local(app=folder, settings={"SWEEP_SCHEDULE": "mine"}) as local:
        yield local


def send(local, method, path, body=None, **headers):
    """Send a call as it is; a body that is a list is sent chunked."""
    connection = http.client.HTTPConnection("127.0.0.1", local.port, timeout=10)
    headers = {"x-functions-key": local.function_key, **headers}
    connection.request(method, path, body, headers, encode_chunked=isinstance(body, list))
    answer = connection.getresponse()
    raw = answer.read()
    connection.close()
    return answer.status, json.loads(raw) if raw else None


def test_an_app_sees_lower_case_headers_and_no_empty_parameters(host):
    """Names as they come in otherwise; a repeated parameter is one text with commas."""
    path = "/api/echo/A%20b?Wait=1&empty=&dryRun&x=1&x=2"
    status, shown = send(host, "POST", path, b"{}", **{"X-Odd": "Value"})

    headers = shown.pop("headers")
    assert (status, shown) == (
        200,
        {
            "method": "POST",
            "params": {"Wait": "1", "x": "1,2"},
            "route": {"name": "A b"},
            "body": "{}",
        },
    )
    assert headers["x-odd"] == "Value"
    assert set(headers) == {name.lower() for name in headers}


def test_a_chunked_body_reaches_nobody(host):
    """The real host passes on a body only when it knows its length."""
    headers = {"Transfer-Encoding": "chunked"}
    status, shown = send(host, "POST", "/api/echo/x", [b'{"requestId":', b' "1"}'], **headers)

    assert (status, shown["body"]) == (200, "")


def test_a_post_without_a_length_is_411(host):
    """Azure's front end may refuse it: `curl --request POST` needs `--data ''`."""
    connection = http.client.HTTPConnection("127.0.0.1", host.port, timeout=10)
    connection.putrequest("POST", "/api/echo/x")
    connection.putheader("x-functions-key", host.function_key)
    connection.endheaders()
    refused = connection.getresponse().status
    connection.close()

    assert (refused, send(host, "POST", "/api/echo/x")[0]) == (411, 200)


@pytest.mark.parametrize(
    ("key", "query", "status"),
    [
        ("function_key", "", 200),
        ("master_key", "", 200),
        (None, "?code=function_key", 200),
        (None, "?code=wrong", 401),
        (None, "", 401),
    ],
)
def test_the_key_comes_in_the_header_or_as_code(host, key, query, status):
    """The function's key or the master key."""
    given = {"x-functions-key": getattr(host, key) if key else ""}
    path = "/api/echo/x" + query.replace("function_key", host.function_key)

    assert send(host, "GET", path, **given)[0] == status


@pytest.mark.parametrize("past_due", [False, True])
def test_a_timer_may_be_past_due(host, past_due):
    """As after a run that was missed."""
    report = host.sweep(past_due)

    assert (report["ok"], report["pastDue"]) == (True, past_due)


def test_log_lines_outside_of_an_invocation_are_lost(host):
    """At import, in a thread without the invocation's context, and after the invocation."""
    with pytest.raises(urllib.error.HTTPError):
        ask(f"{host.url}/api/nobody", {})
    ask(f"{host.url}/api/threads", {})
    for _ in range(100):
        said = [line.rpartition(" ")[2] for line in host.lines if "[redeliver]" in line]
        if "after" in said:
            break
        import time

        time.sleep(0.02)

    assert [line.rpartition(" ")[2] for line in host.lost()] == ["imported", "without", "after"]
    assert {"called", "within"} <= set(said)


def test_settings_may_come_late(folder):
    """Missing while the app is loaded, there when it is called (python-worker #1770)."""
    settings = {"SWEEP_SCHEDULE": "mine"}
    with Local(app=folder, settings=settings, late=True) as late:
        found = json.loads(ask(f"{late.url}/api/settings", {}))

    assert found == ["missing", "mine", "http://127.0.0.1:"]


def test_settings_are_there_at_load(host):
    """What the environment of the test has of the app's own settings is not."""
    found = json.loads(ask(f"{host.url}/api/settings", {}))

    assert found == ["mine", "mine", "http://127.0.0.1:"]
