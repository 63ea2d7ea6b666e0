"""What Graph answered: read whole or not at all, and what its headers tell.

Not for: what a status means (http.py), or what a body is about (calls.py, request.py).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from urllib3.exceptions import HTTPError, ReadTimeoutError

from deadline import GRACE, TookTooLong, bounded
from graph.errors import GraphFailed, GraphTimeout

if TYPE_CHECKING:
    from collections.abc import Iterator

    import requests

    from deadline import Deadline

LARGEST_BODY = 16 * 1024 * 1024  # bytes
SLOW = (TookTooLong, ReadTimeoutError, TimeoutError)


@dataclass(frozen=True, slots=True)
class Answer:
    """What Graph answered to one call; inside a `$batch` also with an error status."""

    status: int
    headers: dict[str, str]
    body: Any
    client_request_id: str

    @property
    def ok(self) -> bool:
        """Any 2xx: Graph documents 202, generated clients accept 200 to 204."""
        return 200 <= self.status < 300

    @property
    def graph_request_id(self) -> str:
        """Graph's own id of this call, for a support case."""
        return self.headers.get("request-id", "")

    @property
    def date(self) -> datetime | None:
        """Graph's clock when it answered, cut to whole seconds (RFC 9110 `Date`)."""
        return http_date(self.headers.get("date", ""))


def read_answer(
    response: requests.Response, deadline: Deadline, client_request_id: str, *, wanted: bool
) -> Answer:
    """Read a response. `wanted`: a success needs a JSON object. Raises GraphFailed.

    The status stands, whatever becomes of a body that nobody needs. A time-out that was set when
    the call began ends no body that falls silent later, so the whole of it is bounded as well.
    """
    headers = lower(dict(response.headers))
    answer = Answer(response.status_code, headers, None, client_request_id)
    try:
        raw = bounded(deadline.left() + GRACE, lambda: b"".join(_body(response, deadline)))
        body = json.loads(raw) if raw else None
    except (TookTooLong, HTTPError, OSError, ValueError, RecursionError) as error:
        # A page in HTML is somebody else's answer: a success of it means nothing.
        if answer.ok and (wanted or "html" in headers.get("content-type", "")):
            if isinstance(error, SLOW):
                raise _useless(
                    GraphTimeout, "Graph's answer did not come whole in time", answer
                ) from error
            raise _useless(
                GraphFailed, "Graph's answer is not whole or not JSON", answer
            ) from error
        body = None
    if answer.ok and wanted and not isinstance(body, dict):
        raise _useless(GraphFailed, "Graph's answer is not a JSON object", answer)
    return Answer(answer.status, headers, body, client_request_id)


def _useless(kind: type[GraphFailed], detail: str, answer: Answer) -> GraphFailed:
    return kind(
        detail,
        status=answer.status,
        lost=True,
        graph_request_id=answer.graph_request_id,
        client_request_id=answer.client_request_id,
    )


def _body(response: requests.Response, deadline: Deadline) -> Iterator[bytes]:
    """Read a body that is neither larger than LARGEST_BODY nor dripping past the deadline."""
    size = 0
    while part := response.raw.read1(65536, decode_content=True):
        size += len(part)
        if size > LARGEST_BODY:
            raise ValueError("body too large")
        if deadline.left() <= 0:
            raise TimeoutError("body too slow")
        yield part


def lower(headers: object) -> dict[str, str]:
    """Return headers by lower-case name; what is no header is left out."""
    if not isinstance(headers, dict):
        return {}
    return {str(name).lower(): str(value) for name, value in headers.items()}


def told_wait(answer: Answer, now: datetime) -> float | None:
    """Return the seconds that `Retry-After` tells: integer, decimal, several, or an HTTP date.

    None where it tells nothing of use: missing, no time, 0, or in the past (RFC 9110; Graph's own
    pages show 10 and 2.128).
    """
    value = answer.headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?( *, *[0-9]{1,9}(\.[0-9]{1,9})?)*", value):
        seconds = max(float(part) for part in value.split(","))
    else:
        at = http_date(value)
        seconds = (at - (answer.date or now)).total_seconds() if at else 0.0
    return seconds if seconds > 0 else None


def http_date(text: str) -> datetime | None:
    """Parse an HTTP date; None when it is none."""
    try:
        parsed = parsedate_to_datetime(text[:60])
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
