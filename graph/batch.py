"""A `$batch` as Graph wants it written, and its answers as they are read.

Not for: sending it (calls.py). https://learn.microsoft.com/graph/json-batching: POST items without
a payload still carry an empty body and its content type; answers come in any order, and are told by
their ids.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from graph.answer import Answer, lower

if TYPE_CHECKING:
    from collections.abc import Sequence


def item(number: int, method: str, path: str, client_request_id: str) -> dict[str, Any]:
    """Write one call as an item of the batch."""
    headers = {"client-request-id": client_request_id}
    written: dict[str, Any] = {"id": str(number), "method": method, "url": path, "headers": headers}
    if method == "POST":
        headers["Content-Type"] = "application/json"
        written["body"] = {}
    return written


def answers(outer: Answer, client_request_ids: Sequence[str]) -> dict[int, Answer]:
    """Return the answers by the numbers of their calls; what is no answer is left out.

    An item without a header of its own has that of the whole answer: its date, its Retry-After.
    """
    found: dict[int, Answer] = {}
    responses = outer.body.get("responses")
    for one in responses if isinstance(responses, list) else ():
        if not isinstance(one, dict):
            continue
        number, status = str(one.get("id")), str(one.get("status"))
        if not re.fullmatch(r"[0-9]{1,2}", number) or not re.fullmatch(r"[1-5][0-9]{2}", status):
            continue
        n = int(number)
        if n < len(client_request_ids) and n not in found:
            shared = {k: v for k, v in outer.headers.items() if k in {"date", "retry-after"}}
            headers = shared | lower(one.get("headers"))
            found[n] = Answer(int(status), headers, one.get("body"), client_request_ids[n])
    return found
