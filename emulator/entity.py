"""How Graph writes a request and its neighbours as JSON, in v1.0 and in beta.

For: property names, letter case and time format of the two versions, as far as anybody reads them;
beta is v1.0 with other names and with texts that begin with a capital.
Not for: which requests are shown; that is the service's and the query's part.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from emulator.tenant import REPROCESSABLE

if TYPE_CHECKING:
    from emulator.query import Expand
    from emulator.switches import Settings
    from emulator.tenant import AccessPackage, Request, Subject, Tenant

Json = dict[str, Any]

NAMED_IN_BETA = {
    "state": "requestState",
    "status": "requestStatus",
    "completedDateTime": "completedDate",
    "assignment": "accessPackageAssignment",
}
PROPERTIES = {
    "request": (
        "id",
        "requestType",
        "state",
        "status",
        "createdDateTime",
        "completedDateTime",
        "justification",
        "answers",
        "customExtensionCalloutInstances",
        "schedule",
    ),
    "accessPackage": ("id", "displayName", "description", "isHidden"),
    "subject": ("id", "objectId", "displayName", "email", "principalName", "subjectType"),
    "assignment": ("id", "state", "status", "expiredDateTime"),
}
NAVIGATION = {
    "request": {
        "accessPackage": "accessPackage",
        "requestor": "subject",
        "assignment": "assignment",
    },
    "assignment": {"target": "subject"},
    "accessPackage": {},
    "subject": {},
}
ASSIGNED = ("delivered", "delivering", "deliveryFailed", "partiallyDelivered")
MISSING: Json = {"": "this very object stands for a property that is not there"}


def named(name: str, version: str, kind: str = "request") -> str:
    """Return what a version calls a property; beta's assignment says assignmentState."""
    if version == "v1.0":
        return name
    if kind == "assignment" and name in ("state", "status"):
        return "assignment" + pascal(name)
    return NAMED_IN_BETA.get(name, name) if kind == "request" else name


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

    def request(self, request: Request, expand: Expand) -> Json:
        """Write a request, with the neighbours that were asked for."""
        whole = self._request(request)
        whole = {named(name, self.version): value for name, value in whole.items()}
        whole = _chosen(whole, expand)
        for name, nested in expand.navigation.items():
            shown = self._neighbour(request, name, nested)
            if shown is not MISSING:
                whole[named(name, self.version)] = shown
        return whole

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
            "justification": request.justification,
            "answers": [],
            "customExtensionCalloutInstances": [],
            "schedule": {"@odata.type": "microsoft.graph.entitlementManagementSchedule"},
        }

    def _neighbour(self, request: Request, name: str, expand: Expand) -> Json | None:
        if name == "accessPackage":
            return self._package(request, expand)
        if name == "requestor":
            return self._subject(request.requestor, expand)
        return self._assignment(request, expand)

    def _package(self, request: Request, expand: Expand) -> Json | None:
        shown = self.settings.removal_package if request.is_removal else "shown"
        if shown == "shown":
            return _chosen(package_json(request.access_package), expand)
        return {"null": None, "empty": {}, "missing": MISSING}[shown]

    def _subject(self, subject: Subject, expand: Expand) -> Json:
        whole = {
            "id": subject.id,
            "objectId": subject.object_id,
            "displayName": subject.display_name,
            "email": subject.email,
            "principalName": subject.principal_name,
            "subjectType": "user",
        }
        return _chosen(whole, expand)

    def _assignment(self, request: Request, expand: Expand) -> Json | None:
        """Write the assignment, or None for a request that has led to none (yet)."""
        state = request.state_at(self.now)
        if request.assignment_id is None or state not in ASSIGNED:
            return None
        ended = state == "delivered" and request.is_removal
        state = "expired" if ended else state
        whole: Json = {
            "id": request.assignment_id,
            "state": self._cased(state),
            "status": pascal(state),
            "expiredDateTime": self._time(request.completed) if ended else None,
        }
        whole = {named(name, self.version, "assignment"): value for name, value in whole.items()}
        whole = _chosen(whole, expand)
        if "target" in expand.navigation:
            whole["target"] = self._subject(request.requestor, expand.navigation["target"])
        return whole

    def _cased(self, text: str) -> str:
        return pascal(text) if self.version == "beta" else text

    def _time(self, when: datetime | None) -> str | None:
        return time_text(when, self.settings.time_digits)


def package_json(package: AccessPackage) -> Json:
    """Write an access package."""
    return {
        "id": package.id,
        "displayName": package.display_name,
        "description": package.display_name,
        "isHidden": False,
    }


def _chosen(whole: Json, expand: Expand) -> Json:
    if expand.select is None:
        return whole
    return {name: value for name, value in whole.items() if name in expand.select}
