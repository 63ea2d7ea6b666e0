"""Whether a webhook's body was signed with one of our secrets, in any of three schemes.

Not for: what the body says (webhook.py).

    Standard Webhooks   webhook-id, webhook-timestamp, webhook-signature: v1,<base64> ...
                        https://github.com/standard-webhooks/standard-webhooks/blob/main/spec
                        Svix sends the same as svix-id, svix-timestamp, svix-signature
    GitHub              X-Hub-Signature-256: sha256=<hex>
    WebSub, Jira Cloud  X-Hub-Signature: sha256=<hex>   https://www.w3.org/TR/websub/#signing-content

Every scheme that is present must verify, and at least one must be present: a signature that does
not fit is a sign of tampering, whatever stands beside it. The one exception is the SHA-1 signature
that GitHub sends beside its SHA-256 one in X-Hub-Signature: it counts for nothing, neither way.
Signatures are compared as they are written, so that there is one way only to write a valid one.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from typing import TYPE_CHECKING

from settings import webhook_key

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

TOLERANCE = 300  # seconds that a sender's clock, and the way here, may differ from ours
STANDARD_PREFIXES = ("webhook", "svix")
HUB = ("x-hub-signature-256", "x-hub-signature")
_SHA1 = re.compile(r"sha1=[0-9a-f]{40}")


class InvalidSignature(Exception):
    """The body is not signed, or not as it should be; the text is for the log, not the sender."""


def verify(headers: Mapping[str, str], body: bytes, secrets: Sequence[str], now: float) -> int:
    """Return the position (1 = newest) of the secret that signed the body.

    `headers` are found by lower-case name; `now` is in seconds since 1970. Raises InvalidSignature.
    """
    standard = [names for names in map(_standard_names, STANDARD_PREFIXES) if {*names} & {*headers}]
    hub = [name for name in HUB if name in headers]
    if HUB[1] in hub and _SHA1.fullmatch(headers[HUB[1]]):
        hub.remove(HUB[1])
    signed = [_standard(headers, names, body, secrets, now) for names in standard]
    signed += [_hub(_text(headers, name), body, secrets) for name in hub]
    if not signed:
        raise InvalidSignature("no signature")
    return signed[0]


def _standard_names(prefix: str) -> tuple[str, str, str]:
    return f"{prefix}-id", f"{prefix}-timestamp", f"{prefix}-signature"


def _standard(
    headers: Mapping[str, str],
    names: tuple[str, str, str],
    body: bytes,
    secrets: Sequence[str],
    now: float,
) -> int:
    """Check a Standard Webhooks signature, over `<id>.<timestamp>.<body>`.

    An id with a dot is refused: the same bytes could be cut into another id, timestamp and body.
    """
    message_id, timestamp, signature = (_text(headers, name) for name in names)
    if not re.fullmatch(r"[!-~]{1,256}", message_id) or "." in message_id:
        raise InvalidSignature(f"{names[0]} is malformed")
    if not re.fullmatch(r"[0-9]{1,12}", timestamp):
        raise InvalidSignature(f"{names[1]} is malformed")
    if abs(now - int(timestamp)) > TOLERANCE:
        raise InvalidSignature(f"{names[1]} is too far from now")
    given = signature.split(" ")
    if not all(re.fullmatch(r"v[0-9]{1,3}[a-z]?,[0-9A-Za-z+/=]+", one) for one in given):
        raise InvalidSignature(f"{names[2]} is malformed")
    content = f"{message_id}.{timestamp}.".encode() + body

    def expected(secret: str) -> str:
        key = webhook_key(secret) if secret.startswith("whsec_") else None
        digest = _hmac(key or _bytes(secret), content).digest()
        return "v1," + base64.b64encode(digest).decode()

    return _position(given, secrets, expected)


def _hub(given: str, body: bytes, secrets: Sequence[str]) -> int:
    """Check a GitHub or WebSub signature, over the body alone; the key is the secret as it is."""
    if not re.fullmatch(r"sha256=[0-9a-f]{64}", given):
        raise InvalidSignature("the signature is not sha256= and 64 lower-case hex digits")
    return _position([given], secrets, lambda s: "sha256=" + _hmac(_bytes(s), body).hexdigest())


def _position(given: Sequence[str], secrets: Sequence[str], expected: Callable[[str], str]) -> int:
    """Return which secret gives one of the given signatures; all are compared, in constant time."""
    found = 0
    for n, secret in reversed(list(enumerate(secrets, 1))):
        right = expected(secret).encode()
        for one in given:
            if hmac.compare_digest(right, one.encode()):
                found = n
    if not found:
        raise InvalidSignature("the signature does not fit any secret")
    return found


def _text(headers: Mapping[str, str], name: str) -> str:
    value = headers.get(name)
    if not value:
        raise InvalidSignature(f"{name} is missing or malformed")
    return value


def _bytes(secret: str) -> bytes:
    return secret.encode(errors="surrogateescape")  # as the environment has it


def _hmac(key: bytes, content: bytes) -> hmac.HMAC:
    return hmac.new(key, content, hashlib.sha256)
