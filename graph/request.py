"""An access-package assignment request, as Graph shows it and as the app sees it.

Not for: getting one (calls.py). Both API versions, and what Graph may send beyond its
documentation, are known here and nowhere else.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from graph.errors import GraphFailed

FAILED_STATES = frozenset({"deliveryfailed", "partiallydelivered"})
FINAL_STATES = FAILED_STATES | {"delivered", "denied", "canceled"}
OTHER_WAYS = frozenset(
    {"pendingapproval", "scheduled", "denied", "canceled"}
)  # no reprocess leads there


@dataclass(frozen=True, slots=True)
class Names:
    """What one API version calls the properties, and how it spells the two failed states.

    https://learn.microsoft.com/graph/api/resources/accesspackageassignmentrequest (v1.0 and beta)
    """

    state: str
    completed: str
    status: str
    failed_states: tuple[str, str]


NAMES = {
    "v1.0": Names("state", "completedDateTime", "status", ("deliveryFailed", "partiallyDelivered")),
    "beta": Names(
        "requestState", "completedDate", "requestStatus", ("DeliveryFailed", "PartiallyDelivered")
    ),
}


@dataclass(frozen=True, slots=True)
class Request:
    """One request. `completed_at`: when its processing ended, well or not, by Graph's clock."""

    id: str
    state: str
    request_type: str
    completed_at: datetime | None

    @property
    def has_failed(self) -> bool:
        """Whether it is in a state in which Graph accepts a reprocess."""
        return self.state.lower() in FAILED_STATES

    @property
    def has_ended(self) -> bool:
        """Whether this state stays; an unknown state counts as on its way."""
        return self.state.lower() in FINAL_STATES

    @property
    def is_removal(self) -> bool:
        """Whether access was to be taken away: while this has failed, somebody still has it."""
        return self.request_type.lower().endswith("remove")

    def has_moved(self, since: datetime | None) -> bool:
        """Whether this is no longer the failure that was there at `since`, by Graph's clock.

        It has moved when it is not failed any more, or failed anew later. The one answer to
        whether a failure is the one from before.
        """
        if not self.has_failed:
            return True
        return bool(since and self.completed_at and self.completed_at > since)

    def shows_reprocess(self, since: datetime | None) -> bool:
        """Whether a reprocess whose answer was lost was accepted, as far as this tells.

        It has moved, and not to where only a person or a calendar leads. What was delivered
        before counts as well: whether a new delivery moves its time is not published.
        """
        return self.has_moved(since) and self.state.lower() not in OTHER_WAYS


@dataclass(frozen=True, slots=True)
class DetailedRequest(Request):
    """A request with what a person wants to know of it; empty where Graph does not tell.

    A removal comes without its access package. `status_text`: Graph's own words on where it is.
    """

    created_at: datetime | None = None
    access_package_id: str = ""
    access_package_name: str = ""
    requestor_id: str = ""
    requestor_name: str = ""
    requestor_email: str = ""
    status_text: str = ""


def request_from(body: Any, names: Names) -> Request | None:  # noqa: ANN401 - JSON is anything
    """Make a Request of what Graph sent; None when it has no id. Its state may be empty."""
    if not isinstance(body, dict) or not isinstance(body.get("id"), str):
        return None
    state = body.get(names.state)
    return Request(
        body["id"].lower(),
        state if isinstance(state, str) else "",
        str(body.get("requestType") or ""),
        timestamp(body.get(names.completed)),
    )


def detailed_request_from(body: Any, names: Names) -> DetailedRequest | None:  # noqa: ANN401
    """Make a DetailedRequest of what Graph sent; None when it has no id."""
    request = request_from(body, names)
    if not request:
        return None
    package, requestor = _object(body.get("accessPackage")), _object(body.get("requestor"))
    history = body.get("history")
    last = _object(history[-1]) if isinstance(history, list) and history else {}
    return DetailedRequest(
        request.id,
        request.state,
        request.request_type,
        request.completed_at,
        created_at=timestamp(body.get("createdDateTime")),
        access_package_id=_text(package, "id"),
        access_package_name=_text(package, "displayName"),
        requestor_id=_text(requestor, "objectId"),
        requestor_name=_text(requestor, "displayName"),
        requestor_email=_text(requestor, "email"),
        status_text=_text(last, "detail") or _text(body, names.status),
    )


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(given: dict[str, Any], name: str) -> str:
    """Return a text, cut where nobody would read on."""
    value = given.get(name)
    return value[:500] if isinstance(value, str) else ""


def whole_request(body: Any, names: Names, request_id: str) -> Request:  # noqa: ANN401
    """Make the Request that was asked for. Raises GraphFailed when it is not that."""
    request = request_from(body, names)
    if not request or not request.state or request.id != request_id.lower():
        raise GraphFailed(f"Graph's answer is not the request asked for, or lacks '{names.state}'")
    return request


def timestamp(text: object) -> datetime | None:
    """Parse Graph's DateTimeOffset, with 0 to 7 fractional digits; None when it is none.

    The year 9999, which Microsoft's services use for never, is no time either.
    """
    found = re.fullmatch(
        r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d{1,12})?(Z|[+-]\d\d:\d\d)",
        text if isinstance(text, str) else "",
        re.ASCII | re.IGNORECASE,
    )
    if not found:
        return None
    whole, fraction, zone = found.groups()
    try:
        parsed = datetime.fromisoformat(whole + zone.upper())
        at = (parsed + timedelta(seconds=float(fraction or 0))).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return at if at.year < 9999 else None
