"""signatures.py: published vectors, the reference library, and every way to get it wrong."""

import base64
import hashlib
import hmac
import json
import os
import string
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook

from reprocess_http.signatures import InvalidSignature, verify
from tests.support.http_calls import hub

NOW = 1614265330
BODY = b'{"test": 2432232314}'
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
PLAIN = "It's a Secret to Everybody"
# The vector of the Standard Webhooks reference libraries.
STANDARD = {
    "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "webhook-timestamp": "1614265330",
    "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
}
# The vector of https://docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries.
GITHUB_BODY = b"Hello, World!"
GITHUB = {
    "x-hub-signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
}
DIGEST = GITHUB["x-hub-signature-256"].removeprefix("sha256=")
SHA1 = "sha1=" + "0" * 40


def standard(body, message_id="msg_1", timestamp=str(NOW), secret=SECRET):
    """The headers of a Standard Webhooks signature, whatever it is made of."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = b".".join((message_id.encode(), timestamp.encode(), body))
    digest = hmac.new(key, signed, hashlib.sha256).digest()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": "v1," + base64.b64encode(digest).decode(),
    }


def refused(headers, body=BODY, keys=(SECRET,), now=NOW):
    """Why it is refused, by exactly our own error; empty when it is not."""
    try:
        verify(headers, body, keys, now)
    except InvalidSignature as error:
        return str(error)
    return ""


def test_the_published_vectors_verify():
    """Standard Webhooks, GitHub, and the same digest in the WebSub header."""
    assert 1 == verify(STANDARD, BODY, [SECRET], NOW)
    for name in ("x-hub-signature-256", "x-hub-signature"):
        assert 1 == verify({name: f"sha256={DIGEST}"}, GITHUB_BODY, [PLAIN], NOW)


@given(st.binary(min_size=24, max_size=64), st.text(max_size=200), st.integers(-300, 300))
def test_what_the_reference_library_signs_verifies(key, text, shift):
    """Any key, any body, any clock within five minutes."""
    secret = "whsec_" + base64.b64encode(key).decode()
    body = json.dumps({"text": text})
    signature = Webhook(secret).sign("msg_1", datetime.fromtimestamp(NOW, UTC), body)
    headers = {"webhook-id": "msg_1", "webhook-timestamp": str(NOW), "webhook-signature": signature}

    assert 1 == verify(headers, body.encode(), [secret], NOW + shift)


def test_secrets_rotate_without_a_gap():
    """Any of several secrets will do, and the answer says which; an old one counts until it goes."""
    newest = "whsec_" + base64.b64encode(bytes(32)).decode()

    assert 2 == verify(STANDARD, BODY, [newest, SECRET], NOW)
    assert 2 == verify(GITHUB, GITHUB_BODY, [newest, PLAIN], NOW)
    assert refused(STANDARD, keys=[newest])


def test_a_secret_that_is_no_utf_8_is_the_bytes_that_the_environment_has():
    """Python shows such bytes as lone surrogates."""
    key = bytes(range(200, 230))
    signature = hmac.new(key, BODY, hashlib.sha256).hexdigest()

    given = {"x-hub-signature-256": f"sha256={signature}"}
    assert 1 == verify(given, BODY, [os.fsdecode(key)], NOW)


WITHOUT = {
    name: {other: STANDARD[other] for other in STANDARD if other != name} for name in STANDARD
}


@pytest.mark.parametrize(("headers", "reason"), [
    ({}, "no signature"), ({"x-hub-signature": SHA1}, "no signature"),
    (STANDARD | {"webhook-timestamp": "now"}, "webhook-timestamp is malformed"),
    (STANDARD | {"webhook-signature": "v1"}, "webhook-signature is malformed"),
    (STANDARD | {"webhook-signature": "v1,AAAA"}, "the signature does not fit any secret"),
    *((WITHOUT[name], f"{name} is missing or malformed") for name in STANDARD),
    ({"x-hub-signature-256": DIGEST}, "the signature is not sha256= and 64 lower-case hex digits"),
    ({"x-hub-signature-256": f"sha256={DIGEST}"}, "the signature does not fit any secret"),
])  # fmt: skip
def test_the_reason_says_what_is_wrong(headers, reason):
    """It is all that an operator sees when a sender is refused."""
    assert reason == refused(headers)


def test_a_secret_without_whsec_is_its_own_bytes():
    """Also when it could be read as base64."""
    secret = SECRET.removeprefix("whsec_")
    given = standard(BODY, secret=base64.b64encode(secret.encode()).decode())

    assert 1 == verify(given, BODY, [secret], NOW)
    assert refused(standard(BODY), keys=[secret])


def test_a_list_of_signatures_needs_one_that_fits():
    """A sender that rotates signs with both keys; versions that we do not know are left alone."""
    several = f"v1,{base64.b64encode(bytes(32)).decode()} v1a,AAAA {STANDARD['webhook-signature']}"

    assert 1 == verify(STANDARD | {"webhook-signature": several}, BODY, [SECRET], NOW)


def test_a_timestamp_further_than_five_minutes_from_now_is_refused():
    """Both ways: an old delivery is a replay, one from the future could be replayed later."""
    late = "webhook-timestamp is too far from now"
    found = [refused(STANDARD, now=NOW + shift) for shift in (-301, -300, 300, 301)]

    assert [late, "", "", late] == found


@pytest.mark.parametrize("timestamp", [
    "", "1614265330.0", "+1614265330", " 1614265330", "1614265330\n", "1_614_265_330", "1" * 13,
    "\u0661\u0666\u0661\u0664\u0662\u0666\u0665\u0663\u0663\u0660", "161426533\u00b2",
])  # fmt: skip
def test_a_time_is_seconds_in_digits(timestamp):
    """Nothing else is a time, also when it is signed."""
    assert refused(standard(BODY, timestamp=timestamp)).endswith(" malformed")


@pytest.mark.parametrize("message_id", ["", " ", "a\n", "a.b", "\u00e4", "\x7f", "x" * 257])
def test_an_id_is_visible_ascii_without_a_full_stop(message_id):
    """Nothing else is an id, also when it is signed: `a` + `1` + `2.{}` and `a.1` + `2` + `{}` are the same bytes."""
    assert not refused(standard(BODY, message_id="!-~" + "x" * 253))
    assert refused(standard(BODY, message_id=message_id)).endswith(" malformed")


def test_a_scheme_shown_in_part_is_not_passed_over():
    """Also not beside a good signature."""
    for name, value in STANDARD.items():
        assert refused({name: value} | hub(BODY, SECRET)).endswith(" is missing or malformed")


@pytest.mark.parametrize("written", [
    "~", "v1,~=", "v1, ~", "V1,~", "v1a,~", " v1,~", "v1,~ ", "v1,AAAA  v1,~", "v1,AAAA\tv1,~",
    "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE",  # no padding
    "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OF=",  # the same bytes, not canonical
    "v1,g0hM9SsE-OTPJTGt_tmIKtSyZlE3uFJELVlNIOLJ1OE=",  # base64url
    "v1,83484cf52b04f8e4cf2531adfed98829d4b2665137b852442d594d20e2c9d4e1",  # hex
    "v1,", "v1", ",", " ", "",
])  # fmt: skip
def test_a_standard_signature_is_written_in_one_way_only(written):
    """`v1,` and canonical base64 with its padding (RFC 4648, section 4)."""
    good = STANDARD["webhook-signature"].removeprefix("v1,")

    assert refused(STANDARD | {"webhook-signature": written.replace("~", good)})


@pytest.mark.parametrize("name", ["x-hub-signature-256", "x-hub-signature"])
@pytest.mark.parametrize("written", [
    DIGEST, f"SHA256={DIGEST}", f"sha512={DIGEST}", f"sha256={DIGEST[:-1]}", f"sha256={DIGEST}0",
    f"sha256={DIGEST}\n", f"sha256= {DIGEST}", f"sha256=0x{DIGEST[2:]}", f"sha256={DIGEST.upper()}",
    f"sha256={DIGEST}, sha256={DIGEST}", "sha256=", "",
])  # fmt: skip
def test_a_hub_signature_is_64_lower_case_digits(name, written):
    """Nothing before, between or after."""
    assert refused({name: written}, GITHUB_BODY, [PLAIN])


def test_svix_headers_are_the_same_scheme_under_other_names():
    """Each by itself, and both: then each must fit."""
    svix = {name.replace("webhook", "svix"): value for name, value in STANDARD.items()}

    assert 1 == verify(svix, BODY, [SECRET], NOW) == verify(svix | STANDARD, BODY, [SECRET], NOW)
    assert "svix-id is malformed" == refused(svix | {"svix-id": "a.b"})
    assert refused(svix | STANDARD | {"svix-signature": "v1,AAAA"})
    assert refused(svix | {"webhook-id": STANDARD["webhook-id"]})


def test_every_scheme_that_is_present_must_fit():
    """A signature that does not fit is not outweighed by one that does."""
    good = STANDARD | hub(BODY, SECRET) | hub(BODY, SECRET, "x-hub-signature-256")

    assert 1 == verify(good, BODY, [SECRET], NOW)
    for name in ("x-hub-signature-256", "x-hub-signature"):
        assert refused(good | {name: "sha256=" + "0" * 64})
    assert refused(good | {"webhook-signature": "v1,AAAA"})


def test_sha1_counts_for_nothing():
    """GitHub sends it beside its SHA-256 signature; alone it is no signature."""
    assert 1 == verify(GITHUB | {"x-hub-signature": SHA1}, GITHUB_BODY, [PLAIN], NOW)
    digest = hmac.new(PLAIN.encode(), GITHUB_BODY, hashlib.sha1).hexdigest()
    for name in ("x-hub-signature", "x-hub-signature-256"):
        assert refused({name: f"sha1={digest}"}, GITHUB_BODY, [PLAIN])


CASES = [(STANDARD, BODY, SECRET), (GITHUB, GITHUB_BODY, PLAIN), (hub(BODY, PLAIN), BODY, PLAIN)]


@pytest.mark.parametrize(("headers", "body", "secret"), CASES)
def test_no_single_changed_character_verifies(headers, body, secret):
    """Every character of every header, and every bit of the body."""
    assert not refused(headers, body, [secret])
    for name, value in headers.items():
        for n in range(len(value)):
            others = set(string.printable + "é\u0661\udcff\0") - {value[n]}
            tried = [value[:n] + other + value[n + 1 :] for other in others]
            tried += [value[:n], value[:n] + value[n + 1 :], value[:n] + value[n] + value[n:]]
            for changed in tried:
                assert refused(headers | {name: changed}, body, [secret]), (name, changed)
    for n in range(len(body) * 8):
        flipped = bytearray(body)
        flipped[n // 8] ^= 1 << n % 8
        assert refused(headers, bytes(flipped), [secret])
