"""Generated calls of the running app, right and wrong, from the connector's own definition.

The same calls every time, FUZZ_EXAMPLES for each operation and kind (60 unless set). More of them:

    FUZZ_EXAMPLES=5000 make test
"""

from __future__ import annotations

import collections
import json
import os
import re
from datetime import datetime
from urllib.parse import parse_qsl, unquote, urlsplit

import hypothesis
import pytest
import requests
import schemathesis
from hypothesis import strategies
from schemathesis import GenerationMode

from tests.support.definition import DEFINITION, OPERATIONS, check

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "60"))
# What the generating libraries warn of is not ours.
pytestmark = [pytest.mark.timeout(60 + EXAMPLES), pytest.mark.filterwarnings("default")]
GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII)
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII)
SCHEMA = schemathesis.openapi.from_dict(DEFINITION)
REPROCESS, STATUS = ("POST", "/requests/{requestId}/reprocess"), ("GET", "/requests/{requestId}")
ROUTES = [REPROCESS, STATUS, ("GET", "/status")]
SEED = "e0000000-0000-4000-8000-0000000000ff"
# What people and programs send by mistake or on purpose; generated values are added to these.
NASTY = [
    "", "0", "-1", "null", "None", "NaN", "true", "TRUE", "1e3", "00", "1" * 400, "%00", "\x00", "\r\nx: y", "..", "../..",
    "%2e%2e%2f", "' or 1=1", "${jndi:x}", "{{7*7}}", "<script>", "ünï", "٣", "\u202e", "\U0001f600", "a" * 400, SEED.upper(),
    SEED.replace("-", ""), "{" + SEED + "}", SEED + " ", SEED + "\n", "2026-01-31T12:00:00Z", "2026-13-31T12:00:00Z",
    "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "2026-01-31T12:00:00+99:99", "2026-01-31",
]  # fmt: skip
VALUES = strategies.one_of(strategies.sampled_from(NASTY), strategies.text(max_size=40))

each_route = pytest.mark.parametrize(
    "route", ROUTES, ids=lambda route: OPERATIONS[route]["operationId"]
)
repeatable = hypothesis.settings(
    max_examples=EXAMPLES,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)


class Caller:
    """Calls the running app, and checks the rules on each call; counts answers by status."""

    def __init__(self, app):
        self.app = app
        self.session = requests.Session()
        self.session.trust_env = False
        self.statuses = collections.Counter()

    def send(self, method, url, **more):
        """Send one call; return the answer, and how many calls of Graph it made."""
        headers = {"x-functions-key": self.app.function_key, **more.pop("headers", {})}
        reply = self.session.request(method, url, headers=headers, timeout=60, **more)
        graph_calls = len(self.app.control("GET", "log")["log"])
        if graph_calls:
            self.app.control("DELETE", "log")
        self.statuses[reply.status_code] += 1
        return reply, graph_calls

    def call(self, route, url, params):
        """Call a route. No 500, only what is documented, and nothing wrong reaches Graph."""
        reply, graph_calls = self.send(route[0], url, params=params)
        reply.status, reply.body = reply.status_code, json.loads(reply.content or b"null")
        reply.headers = {name.lower(): value for name, value in reply.headers.items()}
        assert reply.status < 500, (url, reply.body)
        if reply.body is None:  # the host's own: no route fits, or a NUL is in the path
            assert reply.status in {400, 404}
        else:
            check(reply, *route)
        if route == ("GET", "/status"):  # a link that the app did not sign
            assert (reply.status, graph_calls) == (401, 0), url
        elif wrong := wrong_parameters(route, reply.request.url):
            assert reply.status in {400, 404}, (url, wrong, reply.body)
            assert graph_calls == 0, url


def wrong_parameters(route, url):
    """What is wrong with a call, by the definition and not by the app's own code."""
    parts = urlsplit(url)
    request_id = unquote(parts.path.removeprefix("/api/requests/")).removesuffix("/reprocess")
    defined = {p["name"]: p for p in OPERATIONS[route]["parameters"] if p["in"] == "query"}
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    wrong = [name for name, value in pairs if name not in defined or not fits(defined[name], value)]
    repeated = len(pairs) > len(dict(pairs))
    return wrong + ["repeated"] * repeated + ["requestId"] * (not GUID.fullmatch(request_id))


def fits(parameter, value):
    """Whether a value is one of a parameter; HTTP_BUDGET_SECONDS is 12 here."""
    if parameter["type"] == "integer":
        return value.isascii() and value.isdigit() and len(value) <= 6 and int(value) <= 12
    if parameter["type"] == "boolean":
        return value.lower() in {"true", "false"}
    try:  # RFC 3339
        return bool(TIME.fullmatch(value) and datetime.fromisoformat(value))
    except ValueError:
        return False


@pytest.fixture
def caller(app):
    app.put({"id": SEED, "state": "deliveryFailed"})
    caller = Caller(app)
    yield caller
    caller.session.close()


@pytest.mark.parametrize("mode", GenerationMode, ids=lambda mode: mode.value)
@each_route
def test_calls_made_from_the_definition(caller, route, mode):
    """Those that it allows, and those that it forbids."""

    @repeatable
    @hypothesis.given(SCHEMA[route[1]][route[0]].as_strategy(generation_mode=mode))
    def call(case):
        made = case.as_transport_kwargs(base_url=f"{caller.app.url}/api")
        caller.call(route, made["url"], made.get("params"))

    call()

    assert caller.statuses.total() >= EXAMPLES


@each_route
def test_nasty_values_in_every_place(caller, route):
    """Also for a request that exists, so that a wrong parameter would do harm."""
    names = [p["name"] for p in OPERATIONS[route]["parameters"] if p["in"] == "query"]
    name = strategies.one_of(strategies.sampled_from([*names, "DRYRUN"]), VALUES)
    values = strategies.one_of(VALUES, strategies.lists(VALUES, min_size=2, max_size=2))
    query = strategies.dictionaries(name, values, max_size=3)

    @repeatable
    @hypothesis.given(strategies.one_of(strategies.just(SEED), VALUES), query)
    def call(request_id, query):
        hypothesis.assume(request_id.strip("./"))  # else the path leads to another route
        hypothesis.assume("code" not in {one.lower() for one in query})  # the host reads it
        path = route[1].replace("{requestId}", requests.utils.quote(request_id, safe=""))
        caller.call(route, f"{caller.app.url}/api{path}", query)

    call()

    assert caller.statuses[400] + caller.statuses[401] > 0


# -- bodies --

JSON = strategies.recursive(
    strategies.none() | strategies.booleans() | strategies.floats() | strategies.text(max_size=20),
    lambda inner: strategies.lists(inner) | strategies.dictionaries(strategies.text(), inner),
    max_leaves=8,
)
BODIES = strategies.one_of(
    JSON.map(json.dumps).map(str.encode),
    JSON.map(lambda value: json.dumps({"requestId": value}).encode()),
    strategies.binary(min_size=1, max_size=200),
    strategies.sampled_from([
        b"null", b"0", b"[]", b'{"requestId"', b'{"requestId": NaN}', b'{"requestId": 1e999}', b"[" * 100_000,
        b'{"requestId":' * 20_000, b'{"requestId": "x", "requestId": "y"}', b"x" * 2_000_000, b"\xff\xfe{\x00}\x00",
        b'{"requestId": "\\ud800"}', b'{"requestId": ' + b"9" * 5000 + b"}",
    ]),
)  # fmt: skip


@pytest.mark.parametrize("path", [f"requests/{SEED}/reprocess", "requests/reprocess", "webhook"])
def test_wrong_bodies(caller, path):
    """One reprocess reads no body, many and a webhook name ids in it: all else is refused."""

    @repeatable
    @hypothesis.given(BODIES)
    def call(body):
        hypothesis.assume(b"".join(body.split()) not in {b"", b"{}"})
        headers = {"Content-Type": "application/json"}
        reply, graph_calls = caller.send(
            "POST", f"{caller.app.url}/api/{path}", data=body, headers=headers
        )
        problem = reply.json()
        assert 400 <= reply.status_code < 500, (body[:100], problem)
        assert reply.headers["content-type"].partition(";")[0] == "application/problem+json"
        assert problem["type"].startswith("urn:redeliver:problem:")
        assert graph_calls == 0

    call()
