"""What callers send, strictly read: query parameters, and JSON.

Ambiguous input is refused: a misspelt `dryRun` must not run for real. The query is read from the
call's URL, since the Functions host drops parameters without a value and joins repeated ones.
Not for: the request id in a route, and what Graph sends (../graph).
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import parse_qsl

from graph import timestamp
from reprocess_http.responses import Problem

if TYPE_CHECKING:
    from datetime import datetime

KEY_PARAMETERS = {"code", "clientid"}  # a function key in the URL, in any case; the host reads it


def query_pairs(url: str) -> list[tuple[str, str]]:
    """Return names and values of a URL's query, in order, empty values included."""
    return parse_qsl(url.partition("?")[2], keep_blank_values=True)


class Parameters:
    """The query parameters of one call. Every method raises Problem (invalid-parameter)."""

    def __init__(self, url: str, known: set[str]) -> None:
        """Read them. A name that is not in `known`, repeated, or without a value is invalid."""
        self.values: dict[str, str] = {}
        for name, value in query_pairs(url):
            if name.lower() in KEY_PARAMETERS:
                continue
            if name.lower() in {one.lower() for one in self.values}:
                raise _invalid(name, "is given more than once.")
            if name not in known:
                names = f"only {' and '.join(sorted(known))}" if known else "there is none"
                raise _invalid(name, f"is not a parameter here, {names}.")
            if not value:
                raise _invalid(name, "has no value.")
            self.values[name] = value

    def whole_number(self, name: str, default: int, least: int, most: int, unit: str = "") -> int:
        """Return a whole number from `least` to `most`."""
        value = self.values.get(name, str(default))
        if not re.fullmatch(r"[0-9]{1,6}", value) or not least <= int(value) <= most:
            raise _invalid(name, f"should be a whole number{unit}, {least} to {most}.")
        return int(value)

    def flag(self, name: str) -> bool:
        """Return true or false, in any case; absent is false."""
        value = self.values.get(name, "false").lower()
        if value not in {"true", "false"}:
            raise _invalid(name, "should be true or false.")
        return value == "true"

    def time(self, name: str) -> datetime | None:
        """Return a point in time, as `acceptedAt` of an answer has it; absent is None."""
        value = self.values.get(name)
        if value is None:
            return None
        parsed = timestamp(value)
        if parsed is None:
            raise _invalid(name, "should be a UTC time such as 2026-01-31T12:00:00Z.")
        return parsed


def _invalid(name: str, what: str) -> Problem:
    return Problem("invalid-parameter", f"'{name[:60]}' {what}")


def reject_body(body: bytes) -> None:
    """Raise Problem (invalid-parameter) for a body where none is read.

    `{}` is none: ServiceNow and Jira send it where there is nothing to send.
    """
    if b"".join(body.split()) not in {b"", b"{}"}:
        raise Problem(
            "invalid-parameter",
            "This call reads no body: parameters such as dryRun go into the query.",
        )


def load_json(raw: bytes) -> Any:  # noqa: ANN401 - JSON is anything
    """Return the JSON document that these UTF-8 bytes are (RFC 8259). Raises ValueError.

    Duplicate keys, NaN and nesting too deep to read are refused. A byte order mark is passed over,
    as section 8.1 allows: some senders write one. The error says what is wrong and where.
    """
    try:
        text = raw.decode("utf-8-sig")
        return json.loads(text, object_pairs_hook=_unambiguous, parse_constant=_reject_constant)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    except UnicodeDecodeError as error:
        raise ValueError("it is not UTF-8") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"line {error.lineno}, column {error.colno}: {error.msg}") from error


def _unambiguous(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the object. With a key twice, two readers could read two different ids."""
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("an object has the same key twice")
    return made


def _reject_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
