"""A list in pages: $top, and nextLinks that are opaque and good for their own query only.

For: cutting the tenant's requests into pages, with what may be odd about pages.
Not for: who may list what (service.py).
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import quote

from emulator.call import bad
from emulator.query import parse_top

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from emulator.call import Call
    from emulator.switches import Settings
    from emulator.tenant import Request, Tenant


@dataclass(slots=True, frozen=True)
class Place:
    """Where a page begins: after which request, if any.

    left: how many more the whole list may have, None: all. paused: the empty page before it was
    given already.
    """

    after: tuple[datetime, str] | None = None
    left: int | None = None
    paused: bool = False


class Pages:
    """Cuts lists into pages; `told`: of each $skiptoken its query, place and time."""

    def __init__(self, tenant: Tenant, settings: Settings) -> None:
        self.tenant = tenant
        self.settings = settings
        self.told: dict[str, tuple[object, Place, datetime]] = {}

    def page(
        self, call: Call, options: Mapping[str, str], wanted: Callable[[Request, datetime], bool]
    ) -> tuple[list[Request], str | None]:
        """Return the requests of the page that a call asks for, and the next page's address."""
        place = self._place(call, options)
        odd = self.settings.pages
        if "empty" in odd and not place.paused:
            return [], self._link(call, options, replace(place, paused=True))
        size = self._size(options)
        size = size if place.left is None else min(size, place.left)
        rows, more = self.tenant.page(wanted, place.after, size)
        left = None if place.left is None else place.left - len(rows)
        last = Place((rows[-1].created, rows[-1].id), left) if rows else place
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

    def _read(self, token: str, bound: object) -> Place:
        query, place, told_at = self.told.get(token, (None, Place(), self.tenant.now()))
        if query != bound:
            bad("The $skiptoken is not valid for this query.")
        seconds = self.settings.next_link_seconds
        if seconds is not None and (self.tenant.now() - told_at).total_seconds() >= seconds:
            bad("The $skiptoken has expired.")  # ours
        return place

    def _link(self, call: Call, options: Mapping[str, str], place: Place) -> str:
        token = secrets.token_urlsafe()
        self.told[token] = _bound(call, options), place, self.tenant.now()
        query = "&".join(
            f"{name}={quote(value, safe="$'(),/:;=-_")}"
            for name, value in {**options, "$skiptoken": token}.items()
        )
        base = call.base.upper() if "otherCase" in self.settings.pages else call.base
        return f"{'' if 'relative' in self.settings.pages else base}{call.path}?{query}"


def _bound(call: Call, options: Mapping[str, str]) -> object:
    return call.path, {name: value for name, value in options.items() if name != "$skiptoken"}
