"""What callers send: bodies, signatures, links, queries, headers.

Not for: answering a whole call (by_graph.py has that).
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import math
import re
from datetime import timedelta
from urllib.parse import urlsplit

import azure.functions as func

from graph import DetailedRequest
from reprocess_http import accept, door, signatures, status_link, strict_json, webhook
from reprocess_http.failures_query import query_of
from reprocess_http.origin import origin
from reprocess_http.parameters import Parameters
from reprocess_http.problems import Forbidden, InvalidParameter, NoRequestId, Unauthorized
from reprocess_timer.failure import judged, place
from setting_kinds import JSON_POINTER, Wrong, is_guid
from settings import load
from tests.calls import APP, LONG, OID, ROLE, USER
from tests.fuzz.targets import edited, fields, headers, join, pairs, sent, target
from tests.scripted import ID, NOW

KEY = base64.b64encode(b"k" * 32).decode()
SECRETS = ("the-newest-secret-of-all", f"whsec_{KEY}", "an-older-secret-of-some")
LINK_SECRET = "a-secret-of-32-bytes-for-links-1"
CLOCK = 1_790_000_000
OFFERS = ("application/json", "text/csv")


def call(query: dict[str, str]) -> func.HttpRequest:
    """A call with these query parameters."""
    return func.HttpRequest("GET", "https://app.example/api/requests", params=query, body=b"")


# -- bodies --


def keys_once(found: list) -> dict:
    """An object of plain JSON, if none of its keys is there twice."""
    assert len(found) == len({name for name, _ in found}), "a key twice was let in"
    return dict(found)


@target(
    "reprocess_http/strict_json.py",
    seeds=[b'{"a": [1, -2.5e3, null, true, "\\u00e9"]}', b'\xef\xbb\xbf{"a":1,"a":2}', b"[NaN]"],
)
def json_body(data: bytes) -> None:
    """Only ValueError is raised; what is read is what a plain reader reads, and has one reading."""
    try:
        value = strict_json.loads(data)
    except ValueError:
        return
    plain = json.loads(data.decode("utf-8-sig"), object_pairs_hook=keys_once)
    assert value == plain, "two readers differ"
    assert not any(math.isnan(one) for one in every(value) if isinstance(one, float))


def every(value: object) -> list:
    """All that a document is made of, keys apart."""
    found, todo = [], [value]
    while todo:
        one = todo.pop()
        found.append(one)
        todo += one.values() if isinstance(one, dict) else one if isinstance(one, list) else ()
    return found


@target(
    "reprocess_http/webhook.py",
    seeds=[
        join("/requestId", f'{{"requestId": "{ID.upper()}"}}'),
        join("/issue/fields/0/a~1b", f'{{"issue": {{"fields": [{{"a/b": "{ID}"}}]}}}}'),
        join("/a/01", '{"a": [1, 2]}'),
    ],
)
def webhook_id(data: bytes) -> None:
    """Only NoRequestId is raised; an id is a GUID in lower case that the body has as a text."""
    pointer, body = fields(data, 2)
    try:
        where = JSON_POINTER.read(sent(pointer))
    except Wrong:
        return
    try:
        found = webhook.request_id(body, where)
    except NoRequestId as error:
        assert len(error.detail) < len(where) + 200
        return
    assert is_guid(found)
    assert found in {one.lower() for one in every(json.loads(body)) if isinstance(one, str)}


# -- signatures and links --


def signed(scheme: bytes, secret: str, message_id: str, body: bytes) -> dict[str, str]:
    """The headers that a sender adds, written down here once more."""
    key = base64.b64decode(secret[6:]) if secret.startswith("whsec_") else secret.encode()
    if scheme.startswith(b"s"):
        content = f"{message_id}.{CLOCK}.".encode() + body
        digest = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
        values = (message_id, str(CLOCK), f"v1,{digest}")
        return dict(zip(signatures.STANDARD, values, strict=True))
    name = signatures.HUB[scheme.startswith(b"g")]
    return {name: "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}


@target(
    "reprocess_http/signatures.py",
    seeds=[
        join("s", "", "", "msg_1", "", "", '{"requestId": "x"}'),
        join("s", "x", "xx", "msg_1", b"\x03\x01v1,AAAA v1,", "", '{"requestId": "x"}'),
        join("g", "xx", "", "", "", "x-hub-signature: sha1=" + "0" * 40, "{}"),
        join("h", "", "x", "", "", "webhook-id: 1", "a body"),
        join("h", "", "", "", b"\x08\x01A", "", "a body"),
    ],
)
def signature(data: bytes) -> None:
    """Only what a secret signed is let in, as it was signed; only InvalidSignature is raised."""
    scheme, which, part, message_id, how, more, body = fields(data, 7)
    secret = SECRETS[len(which) % 3]
    ours = signed(scheme, secret, sent(message_id), body)
    name = sorted(ours)[len(part) % len(ours)]
    raw = ours[name].encode()
    changed = edited(raw, how)
    given = headers(more) | ours | {name: changed.decode("latin-1")}
    given = {one.lower(): value for one, value in given.items()}
    altered = changed != raw
    try:
        position = signatures.verify(given, body, SECRETS, CLOCK)
    except signatures.InvalidSignature as error:
        assert not any(one in str(error) for one in SECRETS)
        well_formed = re.fullmatch(rb"[!-\-/-~]{1,256}", message_id) or not scheme.startswith(b"s")
        assert altered or more or not well_formed, "a right signature was refused"
        return
    beside = name == "webhook-signature" and ours[name] in given[name].split(" ")
    assert not altered or beside, "an altered signature was let in"
    assert SECRETS[position - 1] == secret
    with contextlib.suppress(signatures.InvalidSignature):
        signatures.verify(given, body + b" ", SECRETS, CLOCK)
        raise AssertionError("another body was let in")


@target(
    "reprocess_http/status_link.py",
    seeds=[
        join(ID, "2026-11-24T10:00:00Z", str(CLOCK + 60), "", ""),
        join(ID.upper(), "", str(CLOCK + 60), "", b"\x05\x01a"),
        join(ID, "2026-11-24T10:00:00Z", str(CLOCK - 60), "x", b"\x02\x019"),
        join("../x", "yesterday", "-5", "xx", b"\x01\x00,"),
    ],
)
def link(data: bytes) -> None:
    """Only a link as we wrote it is let in, until it expires; only InvalidLink is raised."""
    request_id, accepted_at, expires, which, how = fields(data, 5)
    named, at = sent(request_id), sent(accepted_at)
    until = int(expires) if re.fullmatch(rb"[0-9]{1,15}", expires) else -1
    query = status_link.query(LINK_SECRET, named.lower(), at or None, until)
    given = pairs(query.encode()) | {"id": named}
    name = sorted(given)[len(which) % len(given)]
    changed = given | {name: sent(edited(given[name].encode(), how))}
    try:
        found = status_link.verify(LINK_SECRET, changed["id"], changed, CLOCK)
    except status_link.InvalidLink as error:
        assert LINK_SECRET not in str(error)
        whole = is_guid(named) and (not at or re.fullmatch(r"[\d-]{10}T[\d:]{8}Z", at, re.ASCII))
        good = (
            whole
            and CLOCK < until < 10**12
            and re.fullmatch(r"(\d+-\d\d-\d\dT\d\d:\d\d:\d\dZ)?", at)
        )
        assert not good or changed != given, "our own link was refused"
        return
    assert changed | {"id": named.lower()} == given | {"id": changed["id"].lower()}
    assert CLOCK < found == until


# -- who calls, from where, and for what --

ENVIRON = {"WEBSITE_AUTH_ENABLED": "true"}


def principal(*claims: tuple[str, str], **more: object) -> bytes:
    """A seed: the JSON of a principal."""
    listed = [{"typ": name, "val": value} for name, value in claims]
    return json.dumps({"auth_typ": "aad", "claims": listed, "role_typ": LONG} | more).encode()


@target(
    "reprocess_http/door.py",
    seeds=[
        join("", principal((LONG, ROLE), (OID, USER), ("scp", "x"))),
        join("", principal(("roles", ROLE), ("appid", APP), ("idtyp", "app"))),
        join("", principal(("my/roles", ROLE), ("azp", APP), role_typ="my/roles")),
        join("", principal(("name", ROLE), ("appid", APP), role_typ="name")),
        join("raw", base64.b64encode(principal(("roles", ROLE), ("appid", APP)))),
    ],
)
def principal_header(data: bytes) -> None:
    """Whoever is let in has the role and an id in claims of Entra; only 401 and 403 are raised."""
    how, raw = fields(data, 2)
    header = sent(raw) if how else base64.b64encode(raw).decode()
    try:
        who = door.caller({door.PRINCIPAL: header}, "anonymous", ENVIRON)
    except (Unauthorized, Forbidden) as error:
        assert (error.reason or "").isprintable()
        assert (error.caller or "").isascii()
        return
    whole = json.loads(base64.b64decode(header).decode("utf-8-sig"))
    claims = [one for one in whole["claims"] if isinstance(one, dict)]
    roles = [one["typ"] for one in claims if one.get("val") == ROLE and "typ" in one]
    assert whole["auth_typ"] == "aad"
    assert any(str(one).lower().replace("ſ", "s").endswith(("role", "roles")) for one in roles)
    assert {one.get("val", "").lower() for one in claims if isinstance(one.get("val"), str)} & set(
        who.name.split()
    )


@target(
    "reprocess_http/door.py",
    seeds=[
        b"sec-fetch-site: cross-site\nx-ms-workflow-run-id: 0858_a-B",
        b"sec-fetch-site:  Same-Site \nx-ms-workflow-run-id: {x}",
        b"sec-fetch-site: same-origin",
    ],
)
def site_and_run(data: bytes) -> None:
    """What another site's page sends is refused; a run id that is logged is a plain word."""
    given = {name.lower(): value for name, value in headers(data).items()}
    caller = door.Caller("function key")
    run = door.workflow_run(given)
    assert run is None or re.fullmatch(r"[0-9A-Za-z_-]{1,100}", run)
    elsewhere = given.get("sec-fetch-site", "").strip().lower() in {"cross-site", "same-site"}
    try:
        assert door.not_from_another_site(given, caller) is caller
    except Forbidden:
        assert elsewhere
    else:
        assert not elsewhere


@target(
    "reprocess_http/origin.py",
    seeds=[
        join("app.azurewebsites.net", "http://app.example:443/api/x?y"),
        join("", "http://[::1]:7071/api"),
        join("localhost:7071", "https://user@evil.example/x"),
        join("app.azurewebsites.net", "//evil\\@x/"),
    ],
)
def own_address(data: bytes) -> None:
    """It is a scheme and a host, nothing else; on Azure https; and asked again it is the same."""
    ours, url = fields(data, 2)
    name = re.sub(r"[^a-z0-9.:-]", "", sent(ours).lower())[:60]
    name = name if re.fullmatch(r"[a-z0-9][a-z0-9.-]*(:[0-9]{1,5})?", name) else ""
    environ = {"WEBSITE_HOSTNAME": name}
    found = origin(sent(url), environ)
    parts = urlsplit(found)
    assert found == f"{parts.scheme}://{parts.netloc}"
    assert re.fullmatch(r"[0-9a-z.:\[\]-]+", parts.netloc)
    on_azure = name and name.partition(":")[0] not in {"localhost", "127.0.0.1"}
    assert parts.scheme == "https" if on_azure else parts.scheme in {"http", "https"}
    called = re.sub(r"[\t\r\n]", "", sent(url).lower())  # as readers of addresses do
    assert parts.netloc in f"{called} {name} localhost"


@target(
    "reprocess_http/accept.py",
    seeds=[b"text/csv", b"*/*;q=0.1, text/*;q=0.9, application/json;q=0.5", b"TEXT/CSV;q=1.0000"],
)
def accept_header(data: bytes) -> None:
    """One of the offers comes out; asking for it once more does not turn it into another."""
    header = sent(data)
    found = accept.best(header, OFFERS)
    assert found in OFFERS
    assert accept.best(f"{header},{found}", OFFERS) == found


# -- queries --


@target(
    "reprocess_http/parameters.py",
    seeds=[b"wait=30&dryRun=TRUE", b"acceptedAt=2026-11-24T10:00:00Z&code=x", b"dry_run=1"],
)
def parameters(data: bytes) -> None:
    """Only InvalidParameter is raised, and in few words; values are within their limits."""
    query = pairs(data)
    try:
        asked = Parameters(call(query), {"wait", "dryRun", "acceptedAt"})
        assert 0 <= asked.whole("wait", 0, 60) <= 60
        assert asked.flag("dryRun") is (query.get("dryRun", "").lower() == "true")
        at = asked.time("acceptedAt")
    except InvalidParameter as error:
        assert len(error.detail) < 200
        return
    assert (at is None) is ("acceptedAt" not in query)
    assert query.keys() <= {"wait", "dryRun", "acceptedAt", "code", "clientId"}


def some_failures() -> list:
    """Failures in the order of the list."""
    made = [
        DetailedRequest(
            ID[:-1] + str(n), state, kind, NOW - timedelta(hours=n), access_package_id=ID
        )
        for n in range(3)
        for state, kind in (("deliveryFailed", "userAdd"), ("partiallyDelivered", "adminRemove"))
    ]
    return sorted((judged(one, None, load({}), NOW) for one in made), key=place)


ORDERED = some_failures()


@target(
    "reprocess_http/failures_query.py",
    seeds=[
        b"plan=due,cooling&state=deliveryFailed&type=removal&limit=1",
        f"accessPackage={ID}&limit=2".encode(),
        b"limit=3&after="
        + base64.urlsafe_b64encode(json.dumps(place(ORDERED[1])).encode()).strip(b"="),
        b"after=W10",
    ],
)
def list_query(data: bytes) -> None:
    """Only InvalidParameter is raised; page after page gives what fits, each once, to the end."""
    given = pairs(data)
    try:
        query = query_of(call(given), paged=True)
    except InvalidParameter as error:
        assert len(error.detail) < 300
        return
    assert 1 <= query.limit <= 1000
    assert query.plans | query.states | query.types <= {
        one.strip().lower() for value in given.values() for one in value.split(",")
    }
    wanted, got, page_of = list(query.chosen(ORDERED)), [], query
    for _ in range(len(ORDERED) + 1):
        page, following = page_of.page(ORDERED)
        got += page
        if following is None:
            break
        assert len(page) == query.limit
        page_of = query_of(call(pairs(following.encode())), paged=True)
    assert got == wanted, "pages do not give the whole list"
