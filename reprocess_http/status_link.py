"""Status links: a valet key for one request's status, in its URL, for whoever holds it.

For: callers that poll `Location` without credentials of their own, as Power Automate does.
Not for: starting anything; and not for hiding: whoever may read an access log may use the link
until it expires.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING
from urllib.parse import urlencode

if TYPE_CHECKING:
    from collections.abc import Sequence

PARAMETERS = {"requestId", "acceptedAt", "expires", "signature"}
# Says what is signed, so that a signature made with the same secret for another purpose is no link.
PURPOSE = "redeliver status link 1"


class InvalidLink(Exception):
    """The link is forged, altered or expired; the text is for the log, not the caller."""


def query(secret: str, request_id: str, accepted_at: str | None, expires: int) -> str:
    """Return the query of a link: `accepted_at` as answers give it, `expires` in Unix seconds."""
    fields = {"requestId": request_id} | ({"acceptedAt": accepted_at} if accepted_at else {})
    signature = _signature(secret, request_id, accepted_at or "", str(expires))
    return urlencode(fields | {"expires": str(expires), "signature": signature})


def verify(secret: str, pairs: Sequence[tuple[str, str]], now: float) -> tuple[str, int]:
    """Return the request id and when the link expires (Unix seconds). Raises InvalidLink.

    `pairs` are the query's names and values as they came; parameters that are not a link's are not
    judged here. `now` is in seconds since 1970.
    """
    if not secret:
        raise InvalidLink("there is no STATUS_LINK_SECRET")
    signed = [(name, value) for name, value in pairs if name in PARAMETERS]
    given = dict(signed)
    request_id, accepted_at = given.get("requestId", "").lower(), given.get("acceptedAt", "")
    expires, signature = given.get("expires", ""), given.get("signature", "")
    right = _signature(secret, request_id, accepted_at, expires)
    if len(given) < len(signed) or not hmac.compare_digest(right.encode(), _bytes(signature)):
        raise InvalidLink("the link's signature is wrong")
    if now >= int(expires):  # as it was signed
        raise InvalidLink("the link has expired")
    return request_id, int(expires)


def _signature(secret: str, request_id: str, accepted_at: str, expires: str) -> str:
    """Sign the fields, one a line: those of a link contain no line's end, so none can be moved."""
    signed = f"{PURPOSE}\n{request_id}\n{accepted_at}\n{expires}"
    key = secret.encode(errors="surrogateescape")  # as the environment has it
    return hmac.new(key, _bytes(signed), hashlib.sha256).hexdigest()


def _bytes(text: str) -> bytes:
    """Return what a caller sent; a lone surrogate is no part of a link."""
    return text.encode(errors="replace")
