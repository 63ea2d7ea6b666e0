"""Which failed requests a caller wants to see, and which page of them: strictly read.

Not for: reading them (failed_requests.py). A page begins after the position of the last request on
the page before, so requests that fail in between do not shift it.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from planning.plan import PlanStatus
from planning.view import FailureView, sort_key
from reprocess_http.parameters import Parameters
from reprocess_http.responses import Problem
from settings import is_guid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

PAGING = ("limit", "after")
DEFAULT_LIMIT, MAX_LIMIT = 200, 1000
_SORT_KEY = re.compile(r"[0-9] \S* [01]{2} \S+ .*", re.DOTALL)
REMOVAL = "removal"  # as a type: every type of removal
# What each filter may be, in lower or upper case: one of these names, or an id.
FILTERS: dict[str, tuple[str, ...] | Callable[[str], object]] = {
    "plan": tuple(status.value for status in PlanStatus),
    "state": ("deliveryFailed", "partiallyDelivered"),
    # https://learn.microsoft.com/graph/api/resources/accesspackageassignmentrequest
    "type": (
        *("userAdd", "userExtend", "userUpdate", "userRemove", "adminAdd", "adminUpdate"),
        *("adminRemove", "systemAdd", "systemUpdate", "systemRemove", "onBehalfAdd"),
        *("approverRemove", REMOVAL),
    ),
    "accessPackage": is_guid,
    "cause": re.compile(r"[0-9a-f]{12}").fullmatch,
}
ID_FORMS = {
    "accessPackage": "the ids of access packages, GUIDs",
    "cause": "the causeIds of causes, 12 hexadecimal digits",
}


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked for: the values of each filter in lower case; `given` as it came.

    `after`: the sort key of the last request on the page before, empty for the first page.
    """

    filters: Mapping[str, frozenset[str]]
    limit: int
    after: str
    given: Mapping[str, str]

    def matches(self, view: FailureView) -> bool:
        """Whether a failed request is one of those asked for."""
        request = view.request
        values = {
            "plan": {view.status.value},
            "state": {request.state.lower()},
            "type": {request.request_type.lower(), *([REMOVAL] if request.is_removal else [])},
            "accessPackage": {request.access_package_id.lower()},
            "cause": {view.cause.id},
        }
        return all(values[name] & wanted for name, wanted in self.filters.items())

    def matching(self, ordered: Sequence[FailureView]) -> Iterator[FailureView]:
        """Yield those that match, from the beginning of the page on."""
        start = bisect_right(ordered, self.after, key=sort_key) if self.after else 0
        return filter(self.matches, islice(ordered, start, None))

    def page(self, ordered: Sequence[FailureView]) -> tuple[list[FailureView], str | None]:
        """Return one page, and the query of the next one; None when this is the last."""
        page = list(islice(self.matching(ordered), self.limit + 1))
        if len(page) <= self.limit:
            return page, None
        page.pop()
        return page, urlencode({**self.given, "after": sort_key(page[-1])}, errors="replace")


def query_of(url: str, *, paged: bool) -> Query:
    """Read the query of a call; CSV has all rows and no pages. Raises Problem."""
    asked = Parameters(url, {*FILTERS, *PAGING} if paged else {*FILTERS})
    given = asked.values
    if "after" in given and not _SORT_KEY.fullmatch(given["after"]):
        raise Problem("invalid-parameter", "'after' should be that of a nextLink, unchanged.")
    return Query(
        {name: _values(name, given[name]) for name in FILTERS if name in given},
        asked.whole_number("limit", DEFAULT_LIMIT, 1, MAX_LIMIT),
        given.get("after", ""),
        {name: given[name] for name in (*FILTERS, *PAGING) if name in given},
    )


def _values(name: str, text: str) -> frozenset[str]:
    """Return the values of one filter in lower case. Raises Problem (invalid-parameter)."""
    values, allowed = frozenset(one.strip().lower() for one in text.split(",")), FILTERS[name]
    if isinstance(allowed, tuple):
        is_valid, right = values <= {one.lower() for one in allowed}, ", ".join(allowed)
    else:
        is_valid, right = all(map(allowed, values)), ID_FORMS[name]
    if not is_valid:
        detail = f"'{name}' should be one or several of {right}, comma separated."
        raise Problem("invalid-parameter", detail)
    return values
