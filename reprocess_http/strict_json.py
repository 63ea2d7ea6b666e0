"""JSON that says one thing only: no duplicate keys, no NaN, nothing that is too deep to read.

Not for: what Graph sends (../graph); this is for what callers send.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn


def loads(raw: bytes) -> Any:  # noqa: ANN401 - JSON is anything
    """Return the document that these UTF-8 bytes are (RFC 8259). Raises ValueError.

    A byte order mark is passed over, as section 8.1 allows: some senders write one.
    """
    try:
        text = raw.decode("utf-8-sig")
        return json.loads(text, object_pairs_hook=_unambiguous, parse_constant=_no_number)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _unambiguous(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the object. With a key twice, two readers could read two different ids."""
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("an object has the same key twice")
    return made


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
