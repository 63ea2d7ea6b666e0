"""How Graph writes a request and its neighbours as JSON, in v1.0 and in beta.

For: property names, letter case and time format of the two versions, as far as anybody reads them;
beta is v1.0 with other names and with texts that begin with a capital.
Not for: which requests are shown; that is the service's and the query's part.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from emulator.tenant import REPROCESSABLE

if TYPE_CHECKING:
    from collections.abc import Collection

    from emulator.checks import Json
    from emulator.switches import Settings
    from emulator.tenant import Request, Tenant

NAMED_IN_BETA = {
    "state": "requestState",
    "status": "requestStatus",
    "completedDateTime": "completedDate",
}
NEIGHBOURS = ("accessPackage", "requestor")


def named(name: str, version: str) -> str:
    """Return what a version calls a property."""
    return name if version == "v1.0" else NAMED_IN_BETA.get(name, name)


PLAIN = ("id", "requestType", "state", "status", "createdDateTime", "completedDateTime")
PROPERTIES = {one: [named(name, one) for name in PLAIN] for one in ("v1.0", "beta")}


def pascal(name: str) -> str:
    """DeliveryFailed as beta writes it: DeliveryFailed."""
    return name[:1].upper() + name[1:]


def time_text(when: datetime | None, digits: int | None = None) -> str | None:
    """UTC with Z, and so many decimals; None: as many as are needed, as Graph writes times."""
    if when is None:
        return None
    when = when.astimezone(UTC)
    text = when.strftime("%Y-%m-%dT%H:%M:%S")
    decimals = f"{when.microsecond:06d}0"
    decimals = decimals.rstrip("0") if digits is None else decimals[:digits]
    return f"{text}.{decimals}Z" if decimals else f"{text}Z"


@dataclass(slots=True, frozen=True)
class Writer:
    """Writes requests for one call."""

    tenant: Tenant
    settings: Settings
    version: str
    now: datetime

    def request(
        self, request: Request, select: Collection[str] | None = None, expand: Collection[str] = ()
    ) -> Json:
        """Write a request: the selected properties (None: all), and the expanded neighbours."""
        whole = {named(name, self.version): v for name, v in self._request(request).items()}
        if select is not None:
            whole = {name: value for name, value in whole.items() if name in select}
        return whole | {name: v for name, v in self._neighbours(request).items() if name in expand}

    def _request(self, request: Request) -> Json:
        state = request.state_at(self.now)
        if state == "delivering" and request.ends_at is not None:
            state = self.tenant.rules.delivering_state
        status = pascal(state)
        if self.version == "beta" and state == "delivered":
            status = "FulfilledNotificationTriggered"  # seen; the other states' texts are ours
        # https://learn.microsoft.com/graph/api/resources/requestactivity (beta); that it says why a
        # delivery failed is not published.
        told = request.detail and self.version == "beta" and state in REPROCESSABLE
        activity = {"detail": request.detail, "actionDateTime": self._time(request.completed)}
        return {
            **({"history": [activity]} if told else {}),
            "id": request.id,
            "requestType": self._cased(request.request_type),
            "state": self._cased(state),
            "status": request.status or status,
            "createdDateTime": self._time(request.created),
            "completedDateTime": self._time(self.tenant.completed_at(request, self.now)),
        }

    def _neighbours(self, request: Request) -> Json:
        package, person = request.access_package, request.requestor
        whole: Json = {
            "requestor": {
                "id": person.id,
                "objectId": person.object_id,
                "displayName": person.display_name,
                "email": person.email,
            }
        }
        if not request.is_removal:
            whole["accessPackage"] = {"id": package.id, "displayName": package.display_name}
        elif self.settings.removal_package == "null":
            whole["accessPackage"] = None
        return whole

    def _cased(self, text: str) -> str:
        return pascal(text) if self.version == "beta" else text

    def _time(self, when: datetime | None) -> str | None:
        return time_text(when, self.settings.time_digits)
