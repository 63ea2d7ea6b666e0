"""A list in pages: $top, and nextLinks that are opaque and good for their own query only.

For: cutting the tenant's requests into pages, with what may be odd about pages.
Not for: who may list what (service.py).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING
from urllib.parse import quote

from emulator.call import bad
from emulator.query import parse_top

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from emulator.call import Call
    from emulator.switches import Settings
    from emulator.tenant import Request, Tenant


@dataclass(slots=True, frozen=True)
class Place:
    """Where a page begins: after which request, if any; what a $skiptoken holds.

    left: how many more the whole list may have, None: all. paused: the empty page before it was
    given already. made: when this place was told, in seconds since 1970.
    """

    after: tuple[str, str] | None = None
    left: int | None = None
    paused: bool = False
    made: float = 0.0

    @property
    def key(self) -> tuple[datetime, str] | None:
        return self.after and (datetime.fromisoformat(self.after[0]), self.after[1])


class Pages:
    """Cuts lists into pages."""

    def __init__(self, tenant: Tenant, settings: Settings) -> None:
        self.tenant = tenant
        self.settings = settings
        self.key = secrets.token_bytes(32)

    def page(
        self,
        call: Call,
        options: Mapping[str, str],
        wanted: Callable[[Request, datetime], bool],
    ) -> tuple[list[Request], str | None]:
        """Return the requests of the page that a call asks for, and the next page's address."""
        place = self._place(call, options)
        odd = self.settings.pages
        if "empty" in odd and not place.paused:
            return [], self._link(call, options, replace(place, paused=True))
        size = self._size(options)
        size = size if place.left is None else min(size, place.left)
        rows, more = self.tenant.page(wanted, place.key, size)
        left = None if place.left is None else place.left - len(rows)
        last = Place((rows[-1].created.isoformat(), rows[-1].id), left) if rows else place
        if "repeats" in odd and place.after is not None:
            again = self.tenant.get(place.after[1])
            rows = [again, *rows] if again else rows
        return rows, self._link(call, options, last) if more and left != 0 else None

    def _size(self, options: Mapping[str, str]) -> int:
        values = self.settings
        if "$top" not in options or values.top == "ignored":
            return values.page_size
        top = parse_top(options["$top"])
        if values.top == "total":
            return min(top, values.page_size)
        return min(top, values.top_most or top)

    def _place(self, call: Call, options: Mapping[str, str]) -> Place:
        if "$skiptoken" in options:
            return self._read(options["$skiptoken"], _bound(call, options))
        if "$top" in options and self.settings.top == "refused":
            bad("Query option '$top' is not supported for this resource.")
        whole = "$top" in options and self.settings.top == "total"
        return Place(left=parse_top(options["$top"]) if whole else None)

    def _link(self, call: Call, options: Mapping[str, str], place: Place) -> str:
        token = self._token(place, _bound(call, options))
        query = _query_text({**options, "$skiptoken": token})
        base = call.base.upper() if "otherCase" in self.settings.pages else call.base
        return f"{'' if 'relative' in self.settings.pages else base}{call.path}?{query}"

    # ---- $skiptoken ------------------------------------------------------------------------------

    def _token(self, place: Place, bound: str) -> str:
        """Sign a place together with the query: opaque, good for this query only."""
        held = [place.after, place.left, place.paused, self.tenant.now().timestamp()]
        raw = json.dumps(held).encode()
        return base64.urlsafe_b64encode(self._signature(raw, bound) + raw).decode().rstrip("=")

    def _read(self, token: str, bound: str) -> Place:
        try:
            raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        except ValueError:
            raw = b""
        signature, raw = raw[:16], raw[16:]
        if not hmac.compare_digest(signature, self._signature(raw, bound)):
            bad("The $skiptoken is not valid for this query.")
        after, left, paused, made = json.loads(raw)
        seconds = self.settings.next_link_seconds
        if seconds is not None and self.tenant.now().timestamp() - made >= seconds:
            bad("The $skiptoken has expired.")  # ours
        return Place(after and tuple(after), left, paused, made)

    def _signature(self, raw: bytes, bound: str) -> bytes:
        return hmac.digest(self.key, bound.encode() + b"\0" + raw, hashlib.sha256)[:16]


def _bound(call: Call, options: Mapping[str, str]) -> str:
    return json.dumps([call.path, sorted((k, v) for k, v in options.items() if k != "$skiptoken")])


def _query_text(options: Mapping[str, str]) -> str:
    return "&".join(f"{name}={quote(value, safe="$'(),/:;=-_")}" for name, value in options.items())
