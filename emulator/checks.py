"""What a value given to the emulator must be, in words and as a test.

Not for: what Graph checks of its callers (query.py, batch.py).
"""

from __future__ import annotations

import math
import uuid
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

Json = dict[str, Any]


class Wrong(ValueError):
    """A value that cannot be taken; the text says what would be right."""


@dataclass(slots=True, frozen=True)
class Check:
    """What a JSON value must be."""

    words: str
    test: Callable[[Any], bool]


def is_number(value: Any) -> bool:
    """Tell whether it is a finite number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def is_int(value: Any) -> bool:
    """Tell whether it is a whole number; true and false are none."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_guid(value: Any) -> bool:
    """Tell whether it is a GUID in 8-4-4-4-12 form, any case."""
    if not isinstance(value, str) or len(value) != 36:
        return False
    try:
        return str(uuid.UUID(value)) == value.lower()
    except ValueError:
        return False


def is_time(value: Any) -> bool:
    """Tell whether it is a time with its offset from UTC."""
    try:
        return isinstance(value, str) and datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False


def optional(check: Check) -> Check:
    """Allow null as well."""
    return Check(f"{check.words}, or null", lambda value: value is None or check.test(value))


def one_of(*names: str) -> Check:
    """Allow these texts only."""
    return Check(
        "one of " + ", ".join(names), lambda value: isinstance(value, str) and value in names
    )


def list_of(words: str, test: Callable[[Any], bool]) -> Check:
    """Allow a list whose parts all pass a test."""
    return Check(
        f"a list of {words}", lambda value: isinstance(value, list) and all(map(test, value))
    )


def some_of(*names: str) -> Check:
    """Allow a list of these texts."""
    return list_of(", ".join(names), lambda part: isinstance(part, str) and part in names)


TEXT = Check("a text", lambda value: isinstance(value, str))
BOOL = Check("true or false", lambda value: isinstance(value, bool))
NUMBER = Check("a number", is_number)
AMOUNT = Check("a number, 0 or more", lambda value: is_number(value) and value >= 0)
COUNT = Check("a whole number, 0 or more", lambda value: is_int(value) and value >= 0)
ABOVE_0 = Check("a number above 0", lambda value: is_number(value) and value > 0)
POSITIVE = Check("a whole number, 1 or more", lambda value: is_int(value) and value >= 1)
STATUS = Check("a HTTP status", lambda value: value in HTTPStatus)
GUID = Check("a GUID", is_guid)
TIME = Check("a time with offset such as 2026-01-31T12:00:00Z", is_time)
TEXTS = list_of("texts", TEXT.test)
GUIDS = list_of("GUIDs", is_guid)
OBJECT = Check("a JSON object", lambda value: isinstance(value, dict))


def checked(given: Any, checks: dict[str, Check], what: str) -> Json:
    """Return the given object, all of whose fields are known and right. Raises Wrong."""
    if not isinstance(given, dict):
        raise Wrong(f"{what} must be a JSON object")
    for name, value in given.items():
        check = checks.get(name)
        if check is None:
            raise Wrong(f"{what} has no field '{name}'; there are {', '.join(checks)}")
        if not check.test(value):
            raise Wrong(f"{what}: '{name}' must be {check.words}")
    return given
