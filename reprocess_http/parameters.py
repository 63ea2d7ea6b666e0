"""Query parameters, strictly read: a misspelt `dryRun` must not run for real.

Not for: the request id, which is part of the route.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from graph import timestamp
from reprocess_http.problems import InvalidParameter

if TYPE_CHECKING:
    from datetime import datetime

    import azure.functions as func

KEY_PARAMETERS = {"code", "clientId"}  # a function key in the URL, read by the Functions host


class Parameters:
    """The query parameters of one call. Every method raises InvalidParameter."""

    def __init__(self, req: func.HttpRequest, known: set[str]) -> None:
        """Take them. A name that is not in `known` is invalid."""
        self._values = dict(req.params)
        unknown = sorted(set(self._values) - known - KEY_PARAMETERS)
        if unknown:
            names = "only " + " and ".join(sorted(known)) if known else "there is none"
            raise InvalidParameter(f"'{unknown[0][:60]}' is not a parameter here, {names}.")

    def whole(self, name: str, default: int, most: int) -> int:
        """Return a whole number from 0 to `most`."""
        value = self._values.get(name, str(default))
        if not re.fullmatch(r"[0-9]{1,6}", value) or int(value) > most:
            raise InvalidParameter(f"'{name}' should be a whole number of seconds, 0 to {most}.")
        return int(value)

    def flag(self, name: str) -> bool:
        """Return true or false, any case; absent is false."""
        value: str = self._values.get(name, "false").lower()
        if value not in {"true", "false"}:
            raise InvalidParameter(f"'{name}' should be true or false.")
        return value == "true"

    def time(self, name: str) -> datetime | None:
        """Return a point in time, as `acceptedAt` of an answer gives it; absent is None."""
        value = self._values.get(name)
        if value is None:
            return None
        parsed = timestamp(value)
        if parsed is None:
            raise InvalidParameter(f"'{name}' should be a UTC time such as 2026-01-31T12:00:00Z.")
        return parsed
