"""Status links: a valet key for one request's status, in its URL, for whoever holds it.

For: callers that poll `Location` without credentials of their own, as Power Automate does.
Not for: starting anything; and not for hiding: whoever may read an access log may use the link
until it expires.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from settings import is_guid

if TYPE_CHECKING:
    from collections.abc import Sequence

PARAMETERS = {"requestId", "acceptedAt", "expires", "signature"}
# Says what is signed, so that a signature made with the same secret for another purpose is no link.
PURPOSE = "redeliver status link 1"
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)
_EXPIRES = re.compile(r"[1-9][0-9]{0,11}")  # seconds since 1970, so far in the future at most
_SIGNATURE = re.compile(r"[0-9a-f]{64}")


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
    request_id, accepted_at = given.get("requestId", ""), given.get("acceptedAt", "")
    expires, signature = given.get("expires", ""), given.get("signature", "")
    if (
        len(given) < len(signed)
        or not is_guid(request_id)
        or (accepted_at and not _TIME.fullmatch(accepted_at))
        or not _EXPIRES.fullmatch(expires)
        or not _SIGNATURE.fullmatch(signature)
    ):
        raise InvalidLink("the link is malformed")
    right = _signature(secret, request_id.lower(), accepted_at, expires)
    if not hmac.compare_digest(right.encode(), signature.encode()):
        raise InvalidLink("the link's signature is wrong")
    if now >= int(expires):
        raise InvalidLink("the link has expired")
    return request_id.lower(), int(expires)


def _signature(secret: str, request_id: str, accepted_at: str, expires: str) -> str:
    """Sign the fields, one a line: none of them can contain a line's end."""
    signed = f"{PURPOSE}\n{request_id}\n{accepted_at}\n{expires}"
    key = secret.encode(errors="surrogateescape")  # as the environment has it
    return hmac.new(key, signed.encode(), hashlib.sha256).hexdigest()
