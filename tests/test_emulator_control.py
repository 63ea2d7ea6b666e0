"""The emulator's own routes, and the emulator as a program of its own."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import time
import uuid

import pytest
import requests

from emulator.checks import Wrong
from tests.emulated import (
    CATALOGS,
    IDS,
    PACKAGES,
    PATH,
    WRITE,
    fresh,
    post_item,
)


@pytest.fixture(name="graph")
def _graph():
    return fresh()


def control(graph, method, path, body=None, key="local"):
    headers = {"X-Emulator-Control": key}
    answer = graph.session.request(
        method, f"{graph.url}/control/{path}", json=body, headers=headers, timeout=5
    )
    return answer.status_code, answer.json()


def test_control_needs_its_header(graph):
    """Not even reading works without."""
    refused = (403, {"error": "X-Emulator-Control is missing or wrong"})

    assert control(graph, "GET", "settings", key="wrong") == refused
    assert control(graph, "POST", "clock", {"advanceSeconds": 5}, key="") == refused


EVERYTHING = {
    "latencyMs": 0,
    "identityLatencyMs": 0,
    "roles": [WRITE],
    "catalogs": [],
    "licensed": True,
    "forbiddenPackages": [],
    "missingPackages": [],
    "pageSize": 100,
    "top": "honoured",
    "topMost": None,
    "select": "honoured",
    "expand": "honoured",
    "combinedFilterSupported": True,
    "stateFilter": "honoured",
    "removalPackage": "null",
    "pages": [],
    "nextLinkSeconds": None,
    "acceptStatus": 202,
    "acceptBody": "none",
    "refusalStatus": 400,
    "refusalCode": "InvalidRequestState",
    "batchSupported": True,
    "batchPostStatus": None,
    "batchAnswers": [],
    "throttle": None,
    "errorForm": "innerError",
    "date": "right",
    "timeDigits": None,
    "tokenSeconds": 86400,
    "expiresOn": "text",
    "deliverySeconds": 10,
    "staleSeconds": 0,
    "deliveringState": "delivering",
    "completedMoves": True,
    "completedStaysVisible": False,
    "windowDays": 14,
    "windowMoves": False,
    "serviceRetrySeconds": 0,
    "repeatAccepted": False,
    "goneWhenAccepted": False,
    "clockAheadSeconds": 0,
}


def test_settings_over_http(graph):
    """All switches with their JSON names; a patch changes some, DELETE turns all of them back."""
    assert control(graph, "GET", "settings") == (200, EVERYTHING)

    changes = {"pageSize": 7, "deliverySeconds": 1.5, "throttle": {"perSecond": 3}, "roles": []}
    assert control(graph, "PATCH", "settings", changes) == (200, EVERYTHING | changes)
    assert control(graph, "DELETE", "settings") == (200, EVERYTHING)


@pytest.mark.parametrize(
    ("method", "path", "body", "text"),
    [
        ("PATCH", "settings", {"pagesize": 1}, "settings has no field 'pagesize'; there are late"),
        ("PATCH", "settings", {"pageSize": 0}, "'pageSize' must be a whole number, 1 or more"),
        ("PATCH", "settings", {"licensed": 1}, "settings: 'licensed' must be true or false"),
        ("PATCH", "settings", {"latencyMs": True}, "'latencyMs' must be a number, 0 or more"),
        ("PATCH", "settings", {"top": "no"}, "'top' must be one of honoured, ignored, refused"),
        ("PATCH", "settings", {"pages": ["odd"]}, "'pages' must be a list of repeats, empty, "),
        ("PATCH", "settings", {"pageSize": 1, "throttle": {"burst": 1}}, "throttle needs perSec"),
        ("PATCH", "settings", None, "settings must be a JSON object"),
        ("POST", "faults", {"on": "list"}, "fault needs on and kind"),
        ("POST", "faults", {"on": "lists", "kind": "html"}, "'on' must be one of reprocess, read"),
        ("POST", "faults", {"on": "list", "kind": "html", "times": 0}, "must be -1 (for ever) or"),
        (
            "POST",
            "faults",
            {"on": "batchItem", "kind": "silence"},
            "must be one of status, html, empty, missing",
        ),
        ("POST", "faults", {"on": "batch", "kind": "missing"}, "leaves out a batch item"),
        ("POST", "faults", {"on": "read", "kind": "foreignNextLink"}, "'on' must be list or any"),
        ("POST", "requests", {"requests": [{"state": "failed"}]}, "'state' must be one of submit"),
        (
            "POST",
            "requests",
            {"requests": [{}, {"createdDateTime": "2026-01-01T00:00:00"}]},
            "must be a time with offset",
        ),
        ("POST", "requests", {"requests": [{"outcomes": []}]}, "a list of at least one of deliv"),
        ("POST", "requests", {"requests": {}}, "'requests' must be a list of objects"),
        ("POST", "requests", [], "the body must be a JSON object with 'requests' only"),
        ("GET", "requests?id=1", None, "query: 'id' must be a GUID"),
        ("POST", "clock", {"advanceSeconds": -1}, "'advanceSeconds' must be a number, 0 or more"),
        ("POST", "clock", {"seconds": 1}, "must be a JSON object with 'advanceSeconds' only"),
    ],
)
def test_wrong_control_calls_say_what_would_be_right(graph, method, path, body, text):
    """400 and one sentence; nothing is changed."""

    def everything():
        return graph.control.settings(), len(graph.control.faults.waiting), len(graph.tenant)

    before = everything()
    status, answer = control(graph, method, path, body)

    assert (status, list(answer)) == (400, ["error"])
    assert text in answer["error"]
    assert everything() == before


def test_the_clock_over_http(graph):
    """The tenant's time moves on."""
    moved = {"now": "2026-08-20T12:01:30Z", "offsetSeconds": 90.0}

    assert control(graph, "POST", "clock", {"advanceSeconds": 90}) == (200, moved)
    assert control(graph, "GET", "clock") == (200, moved)


def test_requests_over_http_come_back_as_they_were_put(graph):
    """Everything hidden is shown; what was left out has its default; none any more after DELETE."""
    hidden = {
        "outcomes": ["deliveryFailed", "delivered"],
        "fixedAt": "2026-08-21T00:00:00Z",
        "deliverySeconds": 3,
        "shownAs": {"state": None},
        "leftOut": ["status"],
    }
    put = control(graph, "POST", "requests", {"requests": [{"id": IDS[5], **hidden}]})

    assert put == (200, {"ids": [IDS[5]]})
    assert control(graph, "GET", f"requests?id={IDS[5]}")[1]["requests"] == [
        {
            "id": IDS[5],
            "requestType": "userAdd",
            "state": "deliveryFailed",
            "status": None,
            "createdDateTime": "2026-08-20T11:00:00Z",
            "completedDateTime": "2026-08-20T11:30:00Z",
            "originalCompletedDateTime": "2026-08-20T11:30:00Z",
            "justification": None,
            "accessPackageId": PACKAGES[0],
            "accessPackageName": "Sales Team",
            "catalogId": CATALOGS[0],
            "catalogName": "General",
            "requestorName": None,
            "requestorEmail": "requestor@contoso.example",
            "requestorObjectId": None,
            "assignmentId": None,
            "staleSeconds": None,
            **hidden,
        }
    ]
    shown = control(graph, "GET", "requests")[1]
    assert control(graph, "POST", "requests", shown)[0] == 200
    assert control(graph, "GET", "requests")[1] == shown
    assert control(graph, "DELETE", "requests") == (200, {"requests": 0})
    assert control(graph, "GET", "requests") == (200, {"requests": []})


def test_faults_and_showcase_over_http(graph):
    """Faults are added and cleared; the showcase is empty unless the data was generated."""
    assert control(graph, "POST", "faults", {"on": "list", "kind": "html"}) == (200, {"faults": 1})
    assert control(graph, "DELETE", "faults") == (200, {"faults": 0})
    assert control(graph, "GET", "showcase") == (200, {"showcase": []})


def test_the_log_has_every_call(graph):
    """Graph and token calls in order, batch items with their parent; control calls are not calls."""
    own = str(uuid.uuid4())
    graph.get(PATH, {"$select": "id"}, headers={"client-request-id": own})
    headers = {"Content-Type": "application/json", "client-request-id": own}
    graph.batch(post_item("x", headers=headers))
    graph.identity_answer("wrong")
    graph.fault("read", "dropBefore")
    with contextlib.suppress(requests.ConnectionError):
        graph.read(1)

    log = control(graph, "GET", "log")[1]["log"]

    graph_ids = [one.pop("graphRequestId") for one in log]
    assert len(set(graph_ids)) == 5
    shared = {
        "time": "2026-08-20T12:00:00Z",
        "method": "GET",
        "query": "",
        "requestId": None,
        "status": 200,
        "clientRequestId": None,
        "fault": None,
    }
    listed = {"path": PATH, "query": "%24select=id", "operation": "list", "clientRequestId": own}
    item = {
        "path": f"{PATH}/{IDS[0]}/reprocess",
        "requestId": IDS[0],
        "clientRequestId": own,
        "parent": graph_ids[1],
        "itemId": "x",
    }
    token = "api-version=2019-08-01&resource=https%3A%2F%2Fgraph.microsoft.com"
    read = {"path": f"{PATH}/{IDS[1]}", "requestId": IDS[1], "fault": "dropBefore"}
    assert log == [
        shared | listed,
        shared | {"method": "POST", "path": "/v1.0/$batch", "operation": "batch"},
        shared | item | {"method": "POST", "operation": "reprocess", "status": 202},
        shared | {"path": "/msi/token", "query": token, "operation": "token", "status": 401},
        shared | read | {"operation": "read", "status": None},
    ]
    assert control(graph, "DELETE", "log") == (200, {"log": 0})
    assert graph.control.log() == []


def test_control_in_process_raises_wrong(graph):
    """The same checks without HTTP."""
    with pytest.raises(Wrong, match="'pageSize' must be a whole number"):
        graph.turn(pageSize="1")


# ---- the program ---------------------------------------------------------------------------------


@pytest.fixture
def program():
    """Start the program with options; whatever is left running is ended."""
    started = []

    def start(*options):
        command = [sys.executable, "-m", "emulator.graph", *options]
        started.append(
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        )
        return started[-1]

    yield start
    for one in started:
        one.kill()
        one.communicate()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def test_the_program_runs_alone_and_ends_at_once(program):
    """It prints a token that works, no other secret, and ends on SIGTERM with a call unanswered."""
    port = free_port()
    silence = json.dumps({"on": "list", "kind": "silence", "times": -1})
    one = program(
        "--port", port, "--fault", silence, "--identity-header", "hush", "--window-days", "3"
    )
    lines = []
    while not lines or not lines[-1].startswith("TOKEN="):
        lines.append(one.stdout.readline().strip())
    headers = {"Authorization": "Bearer " + lines[-1].removeprefix("TOKEN=")}
    url = f"http://127.0.0.1:{port}{PATH}"
    closed = next(line for line in lines if "window closed" in line)
    found = [
        requests.post(f"{url}/{line.split()[0]}/reprocess", headers=headers, timeout=5).status_code
        for line in (lines[1], closed)
    ]
    with pytest.raises(requests.Timeout):
        requests.get(url, headers=headers, timeout=0.3)

    assert found == [202, 400]
    assert "hush" not in "".join(lines)
    begin = time.perf_counter()
    one.terminate()
    assert one.wait(5) == 0
    assert time.perf_counter() - begin < 1


def test_every_switch_is_an_option(program):
    """A list with commas, a text, a number, JSON; and they are where DELETE turns back to."""
    port = free_port()
    options = {
        "--forbidden-packages": ",".join(PACKAGES[:2]),
        "--roles": "",
        "--top": "refused",
        "--removal-package": "null",
        "--pages": "",
        "--stale-seconds": "0.5",
        "--licensed": "false",
        "--throttle": '{"perSecond": 5}',
    }
    one = program("--port", port, *(part for pair in options.items() for part in pair))
    while not one.stdout.readline().startswith("TOKEN="):
        pass
    url, headers = f"http://127.0.0.1:{port}/control/settings", {"X-Emulator-Control": "local"}

    requests.patch(url, json={"top": "total"}, headers=headers, timeout=5)
    settings = requests.delete(url, headers=headers, timeout=5).json()

    assert settings == EVERYTHING | {
        "forbiddenPackages": PACKAGES[:2],
        "roles": [],
        "top": "refused",
        "staleSeconds": 0.5,
        "licensed": False,
        "throttle": {"perSecond": 5},
    }


def test_a_taken_port_and_a_wrong_option_are_one_line(program):
    """No traceback."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        one, other = program("--port", port), program("--port", free_port(), "--page-size", "0")
        out, err = one.communicate(timeout=20)

    assert (one.returncode, out, len(err.splitlines()), port in err) == (1, "", 1, True)
    assert other.communicate(timeout=20) == (
        "",
        "emulator.graph: settings: 'pageSize' must be a whole number, 1 or more\n",
    )
