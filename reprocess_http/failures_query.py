"""Which failed requests a caller wants to see, and which page of them: strictly read.

Not for: reading them (failures.py). A page begins after the place of the last one on the page
before, not after a number of them: so new failures in between shift nothing.
"""

from __future__ import annotations

import base64
import json
import re
from bisect import bisect_right
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from graph.request import NAMES
from reprocess_http.parameters import Parameters
from reprocess_http.problems import InvalidParameter
from reprocess_http.strict_json import loads
from reprocess_timer.failure import place
from reprocess_timer.plan import Standing
from settings import is_guid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import azure.functions as func

    from reprocess_timer.failure import Failure, Place

FILTERS = ("plan", "state", "type", "accessPackage")
PAGING = ("limit", "after")
DEFAULT_LIMIT, MOST_LIMIT = 200, 1000

PLANS = tuple(standing.value for standing in Standing)
STATES = NAMES["v1.0"].failed_states
REMOVAL = "removal"  # as a type: every type of removal


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked for: values in lower case, none of a kind means all; `given` as it came."""

    plans: frozenset[str]
    states: frozenset[str]
    types: frozenset[str]
    access_packages: frozenset[str]
    limit: int
    after: Place | None
    given: dict[str, str]

    def fits(self, failure: Failure) -> bool:
        """Tell whether a failure is one of those asked for."""
        request = failure.request
        kind = request.request_type.lower()
        return (
            (not self.plans or failure.standing.value in self.plans)
            and (not self.states or request.state.lower() in self.states)
            and (
                not self.types
                or kind in self.types
                or (REMOVAL in self.types and request.is_removal)
            )
            and (
                not self.access_packages
                or request.access_package_id.lower() in self.access_packages
            )
        )

    def chosen(self, ordered: Sequence[Failure]) -> Iterator[Failure]:
        """Yield those that fit, from the page's begin on."""
        start = bisect_right(ordered, self.after, key=place) if self.after else 0
        return (one for one in islice(ordered, start, None) if self.fits(one))

    def page(self, ordered: Sequence[Failure]) -> tuple[list[Failure], str | None]:
        """Return one page, and the query of the next one; None when this is the last."""
        page = list(islice(self.chosen(ordered), self.limit + 1))
        if len(page) <= self.limit:
            return page, None
        page.pop()
        return page, urlencode(self.given | {"after": _token(place(page[-1]))})


def query_of(req: func.HttpRequest, *, paged: bool) -> Query:
    """Read the query of a call; all rows at once have no pages. Raises InvalidParameter."""
    Parameters(req, {*FILTERS, *PAGING} if paged else {*FILTERS})
    given = {name: req.params[name] for name in (*FILTERS, *PAGING) if name in req.params}
    return Query(
        _several(given, "plan", f"of {', '.join(PLANS)}", lambda one: one in PLANS),
        _several(given, "state", f"of {', '.join(STATES)}", _is_state),
        _several(
            given,
            "type",
            f"request types, such as userAdd or adminRemove, or {REMOVAL} for every removal",
            lambda one: bool(re.fullmatch(r"[a-z]{1,40}", one)),
        ),
        _several(given, "accessPackage", "ids of access packages, GUIDs", is_guid),
        _limit(given.get("limit", str(DEFAULT_LIMIT))),
        _place(given["after"]) if "after" in given else None,
        given,
    )


def _is_state(text: str) -> bool:
    return text in {state.lower() for state in STATES}


def _several(
    given: dict[str, str], name: str, right: str, is_right: Callable[[str], bool]
) -> frozenset[str]:
    """Return the values of one filter in lower case. Raises InvalidParameter."""
    if name not in given:
        return frozenset()
    values = [one.strip().lower() for one in given[name].split(",")]
    if not all(map(is_right, values)):
        raise InvalidParameter(f"'{name}' should be one or several {right}, comma separated.")
    return frozenset(values)


def _limit(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,6}", text) or not 1 <= int(text) <= MOST_LIMIT:
        raise InvalidParameter(f"'limit' should be a whole number, 1 to {MOST_LIMIT}.")
    return int(text)


def _token(last: Place) -> str:
    return base64.urlsafe_b64encode(json.dumps(last).encode()).decode().rstrip("=")


def _place(token: str) -> Place:
    """Return the place that a token was made of. Raises InvalidParameter."""
    try:
        parts = loads(base64.b64decode(token + "=" * (-len(token) % 4), b"-_", validate=True))
        if [type(part) for part in parts] != [int, str, bool, bool, str, str]:
            raise ValueError
        rank, following, promised_not, removal_not, completed_at, request_id = parts
    except (TypeError, ValueError) as error:
        raise InvalidParameter("'after' should be that of a nextLink, unchanged.") from error
    return rank, following, promised_not, removal_not, completed_at, request_id
