"""The examples are complete, name only what exists, and get the answers that they show."""

from __future__ import annotations

import functools
import json
import re
import shutil
import subprocess
from urllib.parse import urlsplit

import pytest

from settings import Settings
from tests.e2e.exchanges import EXAMPLES, HOST, SETTINGS, play, read
from tests.support.definition import LEFT_OUT, OPERATIONS, check
from tests.support.local_app import App, Reply, fresh, new, quiet

FILES = [path for path in sorted(EXAMPLES.rglob("*")) if path.is_file()]
UNKNOWN = "00000000-0000-4000-8000-0000000000d2"
EXCHANGES = [path for path in FILES if path.suffix == ".http"]


def name(path):
    return str(path.relative_to(EXAMPLES))


@pytest.fixture(scope="module")
def local():
    """The app, asking pollers to come back after a second."""
    settings = SETTINGS | {"STATUS_RETRY_AFTER_SECONDS": "1", "SWEEP_SCHEDULE": "0 0 0 1 1 *"}
    with App(settings=settings, graph_options=("--requests", "0")) as app:
        fresh(app)
        yield app


def route(method, url):
    """The route of the app that a URL is, with whatever stands in place of the id."""
    path = urlsplit(re.sub(r"\?\[|\$query", "", url)).path.rpartition("/api")[2]
    return method, re.sub(r"/requests/(?!reprocess\b)[^/]+", "/requests/{requestId}", path)


def calls(part):
    """Every method and URL in a JSON document."""
    if isinstance(part, dict):
        url = part.get("uri") or part.get("url") or part.get("endpoint")
        if url and "method" in part:
            yield part["method"], url
        for inner in part.values():
            yield from calls(inner)
    if isinstance(part, list):
        for inner in part:
            yield from calls(inner)


@pytest.mark.parametrize("path", [p for p in FILES if p.suffix == ".json"], ids=name)
def test_json_parses_and_calls_routes_of_the_app(path):
    """With the method that the route takes."""
    for call in calls(json.loads(path.read_text())):
        assert route(*call) in OPERATIONS


@pytest.mark.parametrize("path", FILES, ids=name)
def test_every_path_is_a_route_of_the_app(path):
    """In whatever language; a line that names a method too has the right one."""
    known = {*OPERATIONS, *LEFT_OUT}
    for line in path.read_text().splitlines():
        for url in re.findall(r"/api/[^\s\"`]+", line):
            _, found = route("", url.rstrip(".,:;)"))
            methods = {method for method, path in known if path == found}
            assert methods, url
            given = re.search(r"\b(GET|POST|PUT|DELETE)\b", line, re.IGNORECASE)
            assert given is None or given[1].upper() in methods


@pytest.mark.parametrize("path", [p for p in FILES if p.suffix == ".md"], ids=name)
def test_every_setting_exists(path):
    """Names that look like app settings are app settings."""
    found = set(re.findall(r"`((?:[A-Z]+_)+[A-Z]+)(?:=\w+)?`", path.read_text()))
    own = {"REDELIVER_URL", "REDELIVER_KEY"}  # of the scripts themselves
    known = {one.name for one in Settings.declared()}

    assert set() == found - known - own


def test_the_index_has_every_folder():
    """And every folder says what it is, and what goes over the wire."""
    folders = {path.name for path in EXAMPLES.iterdir() if path.is_dir()}
    linked = set(re.findall(r"\]\(([a-z-]+)/README\.md\)", (EXAMPLES / "README.md").read_text()))

    assert folders == linked
    for folder in folders:
        assert (EXAMPLES / folder / "README.md").is_file()
        assert (EXAMPLES / folder / "exchange.http").is_file()


@pytest.mark.parametrize("path", EXCHANGES, ids=name)
def test_recorded_answers_are_as_the_connector_defines_them(path):
    """Status, headers and members; and no host or key of a real run is left in them."""
    *_, recorded = read(path)
    assert recorded
    for one in recorded:
        reply = Reply(one.status, dict(one.answer_headers), json.loads(one.answer))
        call = route(one.method, one.url)
        if call in OPERATIONS:
            check(reply, *call)
        assert one.url.startswith(HOST)
        assert "127.0.0.1" not in one.text()
        assert all("<key>" == value for name, value in one.headers if name == "x-functions-key")


@pytest.mark.parametrize("path", EXCHANGES, ids=name)
def test_the_app_still_answers_as_recorded(local, path):
    """Sent again, each request gets the same status, headers, members and outcome."""

    def shape(one):
        body = json.loads(one.answer)
        names = [name for name, _ in one.answer_headers]
        return one.status, names, sorted(body), body.get("outcome"), body.get("type")

    recorded, played = play(local, path)

    assert [shape(one) for one in recorded] == [shape(one) for one in played]


def run_script(local, *given, key=None, script="reprocess.sh"):
    """Run one of the shell scripts; return its exit code and what it printed."""
    environ = {
        "PATH": "/usr/bin:/bin",
        "REDELIVER_URL": local.url,
        "REDELIVER_KEY": key or local.function_key,
    }
    command = ["sh", str(EXAMPLES / "curl" / script), *given]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout


def test_the_shell_script_waits_for_the_end(local):
    """It prints what the recording ends with, and succeeds."""
    *_, recorded = read(EXAMPLES / "curl" / "exchange.http")

    code, said = run_script(local, new(local, deliverySeconds=1.5))

    assert (0, json.loads(recorded[-1].answer).keys()) == (code, json.loads(said).keys())


def test_the_shell_script_fails_when_the_access_is_not_there(local):
    """Denied, unknown, or refused at the door."""
    denied = new(local, state="denied")

    code, said = run_script(local, denied)
    assert (1, True) == (code, ":not-reprocessable" in said)
    assert 1 == run_script(local, UNKNOWN)[0]
    assert 1 == run_script(local, denied, key="wrong")[0]


def test_the_shell_script_for_many(local):
    """Those that are named, or all of a cause; it fails when one of them is not on its way."""
    quiet(local)
    ids = local.failures(2, status="The group 'Sales' is read-only")
    [cause] = local.call("GET", "/api/requests").body["causes"]
    run = functools.partial(run_script, local, script="reprocess-many.sh")

    code, said = run("--cause", cause["causeId"])
    assert (0, {"accepted": 2}) == (code, json.loads(said)["counts"])
    code, said = run(*ids, UNKNOWN)
    assert (1, 1) == (code, json.loads(said)["counts"]["request-not-found"])
    assert (0, "no request fails for this cause\n") == run("--cause", "0123456789ab")
    assert [1, 2] == [run(UNKNOWN, key="wrong")[0], run()[0]]


def test_shell_scripts_stop_at_the_first_error():
    """`set -eu`, before anything is done."""
    for path in EXAMPLES.rglob("*.sh"):
        code = [line for line in path.read_text().splitlines() if line and line[0] != "#"]
        assert "set -eu" == code[0]


@pytest.mark.skipif(not shutil.which("node"), reason="Node.js is not installed")
def test_javascript_parses():
    """As far as Node.js can tell; ServiceNow's own objects are not there."""
    for path in EXAMPLES.rglob("*.js"):
        subprocess.run(["node", "--check", str(path)], check=True)
