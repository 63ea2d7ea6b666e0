"""What callers send: bodies, signatures, links, credentials, queries.

Not for: whole calls (answers.py).
"""

from __future__ import annotations

import base64
import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

from standardwebhooks import Webhook

import setting_types
from graph import Request
from planning.view import evaluate, sort_key
from reprocess_http import auth, reprocess_many, signatures, status_link, webhook
from reprocess_http.handler import Call
from reprocess_http.list_query import query_of
from reprocess_http.parameters import Parameters
from reprocess_http.responses import Problem, own_address
from settings import is_guid, load
from tests.fuzz.targets import headers, target, utf8
from tests.support.http_calls import APP, ID, LONG, NOW, OID, ROLE, USER, hub, request

CLOCK = 1_790_000_000  # seconds since 1970
URL = "https://app.example/api/requests?"

# -- bodies --


def object_of(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """An object of plain JSON whose keys are all different."""
    assert len(pairs) == len(dict(pairs)), "a duplicate key was let in"
    return dict(pairs)


def plain(data: bytes) -> Any:
    """The document as a plain reader reads it, which takes no number for none."""
    text = data.decode("utf-8-sig")
    return json.loads(text, object_pairs_hook=object_of, parse_constant=int)


@target(
    ("/requestId", "", f'{{"requestId": " {{{ID.upper()}}}", "a": [1, -2.5e3, null, true]}}'),
    ("/issue/fields/0/a~1b", "", f'\ufeff{{"issue": {{"fields": [{{"a/b": "{ID}"}}]}}}}'),
    ("", "", f'{{"requestId": "{ID}", "a": {{"b": 1, "b": 2}}}}'),
    ("", "", f'{{"requestId": "{ID}", "a": NaN}}'),
    ("/a/01", "", '{"a": [1, 2]}'),
    ("", "", "[" * 10_500),
    ("/a", "multipart/form-data; x", "a=1"),
)
def webhook_id(pointer: bytes, content_type: bytes, body: bytes) -> None:
    """Only Problem is raised; an id is a GUID in lower case that a text of the body contains."""
    try:
        where = setting_types.json_pointer(utf8(pointer)) or "/requestId"
    except ValueError:
        return
    try:
        found = webhook.request_id(body, {"content-type": utf8(content_type)}, where)
    except Problem as problem:
        assert problem.name in {"no-request-id", "unsupported-media-type"}
        assert len(problem.detail) < len(where) + 200
        return
    assert is_guid(found)
    assert any(found in one.lower() for one in texts(plain(body)))


def texts(value: object) -> list[str]:
    """All texts in a JSON document, but its keys."""
    found, todo = [], [value]
    while todo:
        one = todo.pop()
        todo += one.values() if isinstance(one, dict) else one if isinstance(one, list) else ()
        found += [one] if isinstance(one, str) else []
    return found


@target(
    json.dumps({"requestIds": [ID, ID.replace("7", "8").upper()], "dryRun": True}).encode(),
    json.dumps({"requestIds": [ID, ID.upper()]}).encode(),
    b'{"requestIds": [], "all": true}',
    b'{"requestIds": [1], "dryRun": "true"}',
)
def many_body(data: bytes) -> None:
    """Ids are the different GUIDs of the body, in its order; else Problem is raised."""
    try:
        ids, dry_run = reprocess_many.requested(Call(request(body=data), "", ""))
    except Problem as problem:
        assert problem.name == "invalid-parameter"
        assert len(problem.detail) < 300
        return
    document = plain(data)
    assert ids == [one.lower() for one in document.pop("requestIds")]
    assert 1 <= len(ids) == len(set(filter(is_guid, ids)))
    assert document in ({"dryRun": dry_run}, {})
    assert document or not dry_run


# -- signatures and links --

BODY = b'{"requestId": "x"}'
KEY = b"k" * 32
SECRETS = ("the-newest-secret-of-all", "whsec_" + base64.b64encode(KEY).decode())


def standard(prefix: str, key: bytes) -> bytes:
    """Headers of Standard Webhooks that sign BODY."""
    at = datetime.fromtimestamp(CLOCK, UTC)
    signed = Webhook(base64.b64encode(key).decode()).sign("msg_1", at, BODY.decode())
    given = {"id": "msg_1", "timestamp": str(CLOCK), "signature": signed}
    return lines_of({f"{prefix}-{name}": text for name, text in given.items()})


def lines_of(given: dict[str, str]) -> bytes:
    """Headers as an input has them."""
    return "\n".join(f"{name}: {value}" for name, value in given.items()).encode()


SIGNED = (
    standard("webhook", KEY),
    standard("svix", SECRETS[0].encode()),
    lines_of(hub(BODY, SECRETS[0])),
    lines_of(hub(BODY, SECRETS[1], "x-hub-signature-256")),
)


@target(
    *SIGNED,
    SIGNED[0].replace(b"v1,", b"v1,AAAA v1,"),
    SIGNED[3] + b"\nx-hub-signature: sha1=" + b"0" * 40,
    SIGNED[2] + b"\nwebhook-id: 1",
)
def signature(data: bytes) -> None:
    """Only a right signature of this body is let in; else InvalidSignature is raised."""
    given = headers(data)
    try:
        signatures.verify(given, BODY, SECRETS, CLOCK)
    except signatures.InvalidSignature as error:
        assert data not in SIGNED, "a right signature was refused"
        assert not any(one in str(error) for one in SECRETS)
        return
    words = {word for value in given.values() for word in value.split(" ")}
    right = [set(headers(one).values()) for one in SIGNED]
    assert any(words >= one for one in right), "a wrong signature was let in"


LINK_SECRET = "a-secret-of-32-bytes-for-links-1"
LINKS = [
    status_link.query(LINK_SECRET, ID, at, CLOCK + seconds).encode()
    for at, seconds in (("2026-11-24T10:00:00Z", 60), (None, 60), (None, 0))
]


@target(*LINKS, LINKS[1].replace(ID.encode(), ID.upper().encode()), LINKS[1] + b"&expires=1&x=1")
def link(data: bytes) -> None:
    """Only our own links are let in, until they expire; else InvalidLink is raised."""
    given = parse_qsl(utf8(data), keep_blank_values=True)
    try:
        request_id, expires = status_link.verify(LINK_SECRET, given, CLOCK)
    except status_link.InvalidLink as error:
        assert data not in LINKS[:2], "our own link was refused"
        assert LINK_SECRET not in str(error)
        return
    assert (request_id, expires) == (ID, CLOCK + 60)
    ours = [sorted(parse_qsl(one.decode())) for one in LINKS[:2]]
    known = {name: value for name, value in given if name in status_link.PARAMETERS and value}
    assert sorted({**known, "requestId": known["requestId"].lower()}.items()) in ours


# -- who calls, and from where --


def principal(*claims: tuple[str, str], **more: object) -> bytes:
    """The JSON of a principal."""
    listed = [{"typ": name, "val": value} for name, value in claims]
    return json.dumps({"auth_typ": "aad", "claims": listed, "role_typ": LONG} | more).encode()


@target(
    principal((LONG, ROLE), (OID, USER), ("scp", "x")),
    principal(("roles", ROLE), ("appid", APP), ("idtyp", "app")),
    principal(("my/roles", ROLE), ("azp", APP), role_typ="my/roles"),
    principal(("name", ROLE), ("appid", APP), role_typ="name"),
)
def principal_header(data: bytes) -> None:
    """Who is let in has the role and an id in claims of Entra; else 401 and 403 are raised."""
    header = base64.b64encode(data).decode()
    environ = {"WEBSITE_AUTH_ENABLED": "true"}
    try:
        caller = auth.authenticate({auth.PRINCIPAL: header}, "anonymous", environ)
    except Problem as problem:
        assert problem.name in {"unauthorized", "forbidden"}
        return
    whole = json.loads(data.decode("utf-8-sig"))
    claims = [one for one in whole["claims"] if isinstance(one, dict)]
    roles = [str(one.get("typ")) for one in claims if one.get("val") == ROLE]
    values = {one["val"].lower() for one in claims if isinstance(one.get("val"), str)}
    assert whole["auth_typ"] == "aad"
    assert any(re.search("roles?$", one, re.IGNORECASE) for one in roles)
    assert values & set(caller.name.split())


@target(
    ("app.azurewebsites.net", "http://app.example:443/api/x?y"),
    ("", "http://[::1]:7071/api"),
    ("localhost:7071", "https://user@evil.example/x"),
    ("", "http://[:0:1]/x"),
    ("app.azurewebsites.net", "//evil\\@x/"),
)
def address_in_links(ours: bytes, url: bytes) -> None:
    """It is a scheme and a host that was called or is ours, and https on Azure."""
    name = ours.decode("ascii", "ignore")
    if not re.fullmatch(r"([a-z0-9][a-z0-9.-]{0,59}(:[0-9]{1,5})?)?", name):
        return
    found = own_address(utf8(url), {"WEBSITE_HOSTNAME": name})
    parts = urlsplit(found)
    assert found == f"{parts.scheme}://{parts.netloc}"
    assert re.fullmatch(r"[0-9a-z.:\[\]-]+", parts.netloc)
    on_azure = name and name.partition(":")[0] not in {"localhost", "127.0.0.1"}
    assert parts.scheme in ({"https"} if on_azure else {"http", "https"})
    called = re.sub(r"[\t\r\n]", "", utf8(url).lower())  # as readers of addresses do
    assert parts.netloc in f"{called} {name} localhost"


# -- queries --


AT = b"acceptedAt=2026-11-24T10:00:00Z"


@target(
    b"wait=30&dryRun=TRUE&code=x&" + AT, b"dry_run=1", b"dryRun=flase", b"wait=61", b"wait=\xd9\xa3"
)
def parameters(query: bytes) -> None:
    """Each parameter is known, given once, and within its limits; else Problem is raised."""
    try:
        asked = Parameters(URL + utf8(query), {"wait", "dryRun", "acceptedAt"})
        wait, at = asked.whole_number("wait", 0, 0, 60), asked.time("acceptedAt")
        dry_run = asked.flag("dryRun")
    except Problem as problem:
        assert problem.name == "invalid-parameter"
        assert len(problem.detail) < 200
        return
    given = parse_qsl(utf8(query), keep_blank_values=True)
    given = [one for one in given if one[0].lower() not in {"code", "clientid"}]
    values = dict(given)
    assert len(given) == len(values)
    assert values.keys() <= {"wait", "dryRun", "acceptedAt"}
    assert wait == int(values.get("wait", "0").encode()) <= 60  # of bytes no other digits
    assert str(dry_run).lower() == values.get("dryRun", "false").lower()
    assert (at is None) is ("acceptedAt" not in values)


ORDERED = sorted(
    (
        evaluate(
            Request(ID[:-1] + str(n), state, kind, NOW - timedelta(hours=n)), None, load({}), NOW
        )
        for n in range(3)
        for state, kind in (("deliveryFailed", "userAdd"), ("partiallyDelivered", "adminRemove"))
    ),
    key=sort_key,
)
CURSOR = quote(sort_key(ORDERED[1])).encode()


@target(
    b"plan=due,cooling&state=deliveryFailed&type=removal&limit=1",
    f"accessPackage={ID}&limit=2".encode(),
    b"limit=3&after=" + CURSOR,
    b"after=W10",
)
def list_query(query: bytes) -> None:
    """Page after page gives what matches, each once, to the end; else Problem is raised."""
    try:
        asked = query_of(URL + utf8(query), paged=True)
    except Problem as problem:
        assert problem.name == "invalid-parameter"
        assert len(problem.detail) < 300
        return
    wanted, got = list(asked.matching(ORDERED)), []
    following: str | None = ""
    while following is not None:
        page, following = asked.page(ORDERED)
        got += page
        asked = query_of(URL + following, paged=True) if following else asked
        assert len(got) <= len(wanted)
    assert got == wanted
