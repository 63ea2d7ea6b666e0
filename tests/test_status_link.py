"""status_link.py: a link opens one request's status until it expires, and nothing else."""

import hashlib
import hmac
import os
import string
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reprocess_http.status_link import InvalidLink, query, verify

SECRET = "0123456789abcdef0123456789abcdef"
ID = "7999249e-249e-4999-9e24-99799e249979"
OTHER = "7999249e-249e-4999-9e24-99799e24997a"
AT = "2026-01-31T12:00:00Z"
EXPIRES = 1_800_000_000
NOW = EXPIRES - 1


def link(accepted_at=AT, secret=SECRET, request_id=ID, expires=EXPIRES):
    return dict(parse_qsl(query(secret, request_id, accepted_at, expires)))


def refused(given, request_id=ID, secret=SECRET, now=NOW):
    """Why it is refused, by exactly our own error; empty when it is not."""
    try:
        verify(secret, request_id, given, now)
    except InvalidLink as error:
        return str(error)
    return ""


@pytest.mark.parametrize("accepted_at", [AT, None])
def test_a_link_works_until_it_expires(accepted_at):
    """Also without `acceptedAt`, and with the id in upper case; its expiry is told."""
    given = link(accepted_at)

    assert EXPIRES == verify(SECRET, ID, given, NOW) == verify(SECRET, ID.upper(), given, NOW)
    assert "the link has expired" == refused(given, now=EXPIRES)


@pytest.mark.parametrize(
    "given",
    [
        {},
        link(secret="f" * 32),
        link(request_id=OTHER),
        link() | {"acceptedAt": "2026-01-31T12:00:01Z"},
        link() | {"expires": str(EXPIRES + 1)},
        link() | {"expires": "9" * 13},
        link() | {"expires": "9" * 5000},
        link() | {"expires": f"0{EXPIRES}"},
        link() | {"expires": f"{EXPIRES},{EXPIRES}"},
        link() | {"expires": "\u0661"},
        link() | {"signature": ""},
        link() | {"signature": "é" * 64},
        link() | {"signature": "\udcff" * 64},
        link() | {"signature": link()["signature"].upper()},
        link() | {"signature": ",".join([link()["signature"]] * 2)},
        {name: value for name, value in link().items() if name != "acceptedAt"},
        link(None) | {"acceptedAt": AT},
    ],
)
def test_forged_altered_and_borrowed_links_are_refused(given):
    """Nothing but the link as it was given works."""
    assert refused(given)


MALFORMED = "the link is malformed"


@pytest.mark.parametrize(
    ("given", "request_id", "reason"),
    [
        (link(request_id="no-guid"), "no-guid", MALFORMED),
        (link("yesterday"), ID, MALFORMED),
        (link(AT.replace("2", "\u0662")), ID, MALFORMED),
        *(({k: v for k, v in link().items() if k != n}, ID, MALFORMED) for n in ("expires", "signature")),
        (link() | {"expires": "soon"}, ID, MALFORMED),
        (link() | {"signature": "x" * 64}, ID, MALFORMED),
        (link(), OTHER, "the link's signature is wrong"),
        (link(expires=1), ID, "the link has expired"),
    ],
)  # fmt: skip
def test_the_reason_says_what_is_wrong(given, request_id, reason):
    """Also of a link that is signed, for what no link is made."""
    assert reason == refused(given, request_id)


def test_a_secret_that_is_no_utf_8_is_the_bytes_that_the_environment_has():
    """Python shows such bytes as lone surrogates; what is signed has one field a line."""
    key = bytes(range(200, 232))
    signed = f"redeliver status link 1\n{ID}\n{AT}\n{EXPIRES}"
    signature = hmac.new(key, signed.encode(), hashlib.sha256).hexdigest()

    given = link(secret=os.fsdecode(key))
    assert {"acceptedAt": AT, "expires": str(EXPIRES), "signature": signature} == given
    assert EXPIRES == verify(os.fsdecode(key), ID, given, NOW)


def test_without_a_secret_no_link_works():
    """An empty secret is none, not a key that everybody knows."""
    assert "there is no STATUS_LINK_SECRET" == refused(link(secret=""), secret="")


def test_a_link_is_for_one_request():
    """Borrowed for another request it is worth nothing; nor for what is no request."""
    assert refused(link(), OTHER)
    assert refused(link(), ID + "\n")
    assert refused(link(), "")


def test_no_single_changed_character_works():
    """Every character of every parameter."""
    for name, value in link().items():
        for n in range(len(value)):
            for other in set(string.printable + "é\0") - {value[n]}:
                changed = value[:n] + other + value[n + 1 :]
                assert refused(link() | {name: changed}), (name, changed)


@given(st.dictionaries(st.sampled_from(["acceptedAt", "expires", "signature"]), st.text()))
def test_nothing_made_up_works(given):
    """Any parameters."""
    assert refused(given)
