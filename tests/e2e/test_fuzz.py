"""Generated calls, good and bad, made from the connector's own definition.

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

from tests.calls import new
from tests.definition import DEFINITION, OPERATIONS, check

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "60"))
# What the generating libraries warn of is not ours.
pytestmark = [pytest.mark.timeout(60 + EXAMPLES), pytest.mark.filterwarnings("default")]
GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII)
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII)
SCHEMA = schemathesis.openapi.from_dict(DEFINITION)
REPROCESS = ("POST", "/requests/{requestId}/reprocess")
BUILT = [one for one in OPERATIONS if "{" in one[1]]
SEED = "e0000000-0000-4000-8000-0000000000ff"
# What people and programs send by mistake or on purpose; generated values are added to these.
NASTY = [
    "", "0", "-1", "null", "None", "NaN", "true", "TRUE", "1e3", "00", "1" * 400, "%00", "\x00", "\r\nx: y", "..", "../..",
    "%2e%2e%2f", "' or 1=1", "${jndi:x}", "{{7*7}}", "<script>", "ünï", "٣", "\u202e", "\U0001f600", "a" * 3000, SEED.upper(),
    SEED.replace("-", ""), "{" + SEED + "}", SEED + " ", SEED + "\n", "2026-01-31T12:00:00Z", "2026-13-31T12:00:00Z",
    "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "2026-01-31T12:00:00+99:99", "2026-01-31",
]  # fmt: skip


def bounded(test):
    """The same examples every time, and as many as asked for."""
    return hypothesis.settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )(test)


class Sent:
    """Calls sent to the running app, counted, each checked against the rules."""

    def __init__(self, app):
        self.app = app
        self.session = requests.Session()
        self.session.trust_env = False
        self.seen = collections.Counter()

    def send(self, route, url, **more):
        """Send one call and prove the rules on it."""
        headers = {"x-functions-key": self.app.function_key, **more.pop("headers", {})}
        reply = self.session.request(route[0], url, headers=headers, timeout=60, **more)
        called = len(self.app.control("GET", "log")["log"])
        if called:
            self.app.control("DELETE", "log")
        reply.status, reply.body = reply.status_code, json.loads(reply.content or b"null")
        reply.headers = {name.lower(): value for name, value in reply.headers.items()}
        self.seen[reply.status] += 1

        assert reply.status < 500, (url, reply.body)
        if reply.body is None:  # the host's own: no route fits, for a slash or an empty id
            assert 404 == reply.status
        else:
            check(reply, *route)
        forged = OPERATIONS[route].get("security") == []  # a link that the app did not sign
        wrong = ["signature"] if forged else self._wrong(route, reply.request.url)
        if wrong:
            assert reply.status in ({401, 404} if forged else {400, 404}), (url, wrong, reply.body)
            assert (url, 0) == (url, called)  # nothing invalid reaches Graph
        return reply

    def _wrong(self, route, url):
        """What is wrong with a call, by the definition and not by the app's own code."""
        parts = urlsplit(url)
        request_id = unquote(parts.path.removeprefix("/api/requests/")).removesuffix("/reprocess")
        defined = {p["name"]: p for p in OPERATIONS[route]["parameters"] if p["in"] == "query"}
        wrong = [] if GUID.fullmatch(request_id) else ["requestId"]
        # The host drops empty parameters; of a repeated one it keeps the last.
        for name, value in dict(parse_qsl(parts.query)).items():
            if name not in defined or not _fits(defined[name], value):
                wrong.append(name)
        return wrong


def _fits(parameter, value):
    if parameter["type"] == "integer":
        return value.isascii() and value.isdigit() and len(value) <= 6 and int(value) <= 12
    if parameter["type"] == "boolean":
        return value.lower() in {"true", "false"}
    try:  # RFC 3339
        return bool(TIME.fullmatch(value) and datetime.fromisoformat(value))
    except ValueError:
        return False


@pytest.fixture
def sent(app):
    app.put({"id": SEED, "state": "deliveryFailed"})
    made = Sent(app)
    yield made
    made.session.close()


@pytest.mark.parametrize("mode", GenerationMode, ids=lambda mode: mode.value)
@pytest.mark.parametrize("route", BUILT, ids=lambda route: OPERATIONS[route]["operationId"])
def test_calls_made_from_the_definition(sent, route, mode):
    """No 500; every error a documented problem; nothing that the definition forbids reaches Graph."""
    cases = SCHEMA[route[1]][route[0]].as_strategy(generation_mode=mode)

    @bounded
    @hypothesis.given(cases)
    def call(case):
        made = case.as_transport_kwargs(base_url=f"{sent.app.url}/api")
        sent.send(route, made["url"], params=made.get("params"))

    call()

    assert sent.seen.total() >= EXAMPLES


@pytest.mark.parametrize("route", BUILT, ids=lambda route: OPERATIONS[route]["operationId"])
def test_nasty_values_in_every_place(sent, route):
    """Also for a request that exists, so that a wrong parameter would do harm."""
    names = [p["name"] for p in OPERATIONS[route]["parameters"] if p["in"] == "query"]
    value = strategies.one_of(strategies.sampled_from(NASTY), strategies.text(max_size=40))
    query = strategies.dictionaries(
        strategies.one_of(strategies.sampled_from([*names, "DRYRUN", "code"]), value),
        value,
        max_size=3,
    )

    @bounded
    @hypothesis.given(strategies.one_of(strategies.just(SEED), value), query)
    def call(request_id, query):
        path = route[1].replace("{requestId}", requests.utils.quote(request_id, safe=""))
        query.pop("code", None)  # the host reads it as the key
        sent.send(route, f"{sent.app.url}/api{path}", params=query)

    call()

    assert 0 < sent.seen[400] + sent.seen[401]


@pytest.mark.parametrize(
    "body",
    [b"x" * 5_000_000, b"[" * 200_000, b'{"a":' * 100_000, b'{"a":1,"a":2}', b"null", b"\xff\xfe\x00"],
    ids=["5 MB", "deep arrays", "deep objects", "duplicate keys", "null", "no text"],
)  # fmt: skip
def test_a_body_that_is_not_asked_for_changes_nothing(sent, body):
    """A reprocess takes no body: whatever comes in one is not read."""
    url = f"{sent.app.url}/api/requests/{new(sent.app)}/reprocess?dryRun=true"

    reply = sent.send(REPROCESS, url, data=body, headers={"Content-Type": "application/json"})

    assert (200, "wouldReprocess") == (reply.status, reply.body["outcome"])


# ---- the webhook ---------------------------------------------------------------------------------

JSON = strategies.recursive(
    strategies.none() | strategies.booleans() | strategies.floats() | strategies.text(max_size=20),
    lambda inner: strategies.lists(inner) | strategies.dictionaries(strategies.text(), inner),
    max_leaves=8,
)
BODIES = strategies.one_of(
    JSON.map(json.dumps).map(str.encode),
    JSON.map(lambda value: json.dumps({"requestId": value}).encode()),
    strategies.binary(max_size=200),
    strategies.sampled_from([
        b"", b"null", b"0", b"[]", b'{"requestId"', b'{"requestId": NaN}', b'{"requestId": 1e999}', b"[" * 100_000,
        b'{"requestId":' * 20_000, b'{"requestId": "x", "requestId": "y"}', b"x" * 262_145, b"\xff\xfe{\x00}\x00",
        b'{"requestId": "\\ud800"}', b'{"requestId": ' + b"9" * 5000 + b"}",
    ]),
)  # fmt: skip


def test_bodies_without_an_id_are_refused(sent):
    """Whatever is posted to the webhook: a problem, no 500, and no call to Graph."""
    url = f"{sent.app.url}/api/webhook"
    headers = {"x-functions-key": sent.app.function_key, "Content-Type": "application/json"}

    @bounded
    @hypothesis.given(BODIES)
    def call(body):
        reply = sent.session.post(url, body, headers=headers, timeout=60)

        assert 400 <= reply.status_code < 500, (body[:100], reply.text)
        assert "application/problem+json" == reply.headers["content-type"].partition(";")[0]
        assert reply.json()["type"].startswith("urn:redeliver:problem:")
        assert [] == sent.app.control("GET", "log")["log"]

    call()
