"""status_link.py: a link opens one request's status until it expires, and nothing else.

Not for: that nothing made up works (tests/fuzz/callers.py).
"""

import hashlib
import hmac
import os
import string
from urllib.parse import parse_qsl

import pytest

from reprocess_http.status_link import PARAMETERS, InvalidLink, query, verify

SECRET = "0123456789abcdef0123456789abcdef"
ID = "7999249e-249e-4999-9e24-99799e249979"
OTHER = "7999249e-249e-4999-9e24-99799e24997a"
AT = "2026-01-31T12:00:00Z"
EXPIRES = 1_800_000_000
NOW = EXPIRES - 1


def link(accepted_at=AT, secret=SECRET, request_id=ID, expires=EXPIRES):
    return dict(parse_qsl(query(secret, request_id, accepted_at, expires)))


def refused(given, secret=SECRET, now=NOW, more=()):
    """Why it is refused, by exactly our own error; empty when it is not."""
    try:
        verify(secret, [*given.items(), *more], now)
    except InvalidLink as error:
        return str(error)
    return ""


@pytest.mark.parametrize("accepted_at", [AT, None])
def test_a_link_works_until_it_expires(accepted_at):
    """Also without `acceptedAt`, with the id in upper case, and beside what the route judges later."""
    given = link(accepted_at)
    for one in (given, given | {"requestId": ID.upper(), "wait": "1", "expires2": ""}):
        assert (ID, EXPIRES) == verify(SECRET, [*one.items()], NOW)
    assert "the link has expired" == refused(given, now=EXPIRES)


WRONG = "the link's signature is wrong"


@pytest.mark.parametrize("name", sorted(PARAMETERS))
def test_a_parameter_that_is_missing_or_comes_twice_makes_no_link(name):
    """Twice also with the same value: two readers could read two different links."""
    given = link()
    without = {one: value for one, value in given.items() if one != name}
    assert [WRONG, WRONG] == [refused(without), refused(given, more=[(name, given[name])])]


@pytest.mark.parametrize("given", [
    link(secret="f" * 32), link(None) | {"acceptedAt": AT}, link() | {"requestId": OTHER},
    {"requestId": f"{ID}\n{AT}", "acceptedAt": str(EXPIRES), "expires": "", "signature": link()["signature"]},
    *(link() | {"signature": one} for one in ("\udcff" * 64, "\ud800", link()["signature"].upper())),
])  # fmt: skip
def test_forged_altered_and_borrowed_links_are_refused(given):
    """Nothing but the link as it was given works; no field can pass for another."""
    assert WRONG == refused(given)


def test_a_secret_that_is_no_utf_8_is_the_bytes_that_the_environment_has():
    """Python shows such bytes as lone surrogates; what is signed has one field a line."""
    key = bytes(range(200, 232))
    signed = f"redeliver status link 1\n{ID}\n{AT}\n{EXPIRES}"
    signature = hmac.new(key, signed.encode(), hashlib.sha256).hexdigest()

    given = link(secret=os.fsdecode(key))
    fields = {"requestId": ID, "acceptedAt": AT, "expires": str(EXPIRES), "signature": signature}
    assert fields == given
    assert (ID, EXPIRES) == verify(os.fsdecode(key), [*given.items()], NOW)


def test_without_a_secret_no_link_works():
    """An empty secret is none, not a key that everybody knows."""
    assert "there is no STATUS_LINK_SECRET" == refused(link(secret=""), secret="")


def test_no_single_changed_character_works():
    """Every character of every parameter."""
    for name, value in link().items():
        for n in range(len(value)):
            for other in set(string.printable + "é\0") - {value[n]}:
                if name == "requestId" and other.lower() == value[n]:
                    continue  # an id in upper case is the same id
                changed = value[:n] + other + value[n + 1 :]
                assert WRONG == refused(link() | {name: changed}), (name, changed)
