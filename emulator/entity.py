"""How Graph writes a request and its neighbours as JSON, in v1.0 and in beta.

For: property names, letter case and time format of the two versions.
Not for: which requests are shown; that is the service's and the query's part.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from emulator.query import Expand
    from emulator.tenant import AccessPackage, Catalog, Request, Subject

Json = dict[str, Any]

_SUBJECT = [
    "id",
    "objectId",
    "displayName",
    "email",
    "principalName",
    "onPremisesSecurityIdentifier",
]
PROPERTIES: dict[str, dict[str, list[str]]] = {
    "v1.0": {
        "request": [
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
        ],
        "accessPackage": ["id", "displayName", "description", "isHidden"],
        "catalog": ["id", "displayName"],
        "assignment": ["id", "state", "status", "expiredDateTime", "schedule"],
        "subject": [*_SUBJECT, "subjectType", "subjectLifecycle"],
        "organization": ["id", "displayName"],
    },
    "beta": {
        "request": [
            "id",
            "requestType",
            "requestState",
            "requestStatus",
            "createdDateTime",
            "completedDate",
            "justification",
            "answers",
            "customExtensionCalloutInstances",
            "schedule",
            "isValidationOnly",
            "expirationDateTime",
        ],
        "accessPackage": ["id", "displayName", "description", "isHidden", "catalogId"],
        "catalog": ["id", "displayName"],
        "assignment": [
            "id",
            "catalogId",
            "accessPackageId",
            "targetId",
            "assignmentState",
            "assignmentStatus",
            "expiredDateTime",
        ],
        "subject": [*_SUBJECT, "type", "connectedOrganizationId"],
        "organization": ["id", "displayName"],
    },
}
NAVIGATION: dict[str, dict[str, dict[str, str]]] = {
    "v1.0": {
        "request": {
            "accessPackage": "accessPackage",
            "requestor": "subject",
            "assignment": "assignment",
        },
        "accessPackage": {"catalog": "catalog"},
        "assignment": {"target": "subject", "accessPackage": "accessPackage"},
        "subject": {"connectedOrganization": "organization"},
        "catalog": {},
        "organization": {},
    },
    "beta": {
        "request": {
            "accessPackage": "accessPackage",
            "requestor": "subject",
            "accessPackageAssignment": "assignment",
        },
        "accessPackage": {"accessPackageCatalog": "catalog"},
        "assignment": {"target": "subject", "accessPackage": "accessPackage"},
        "subject": {"connectedOrganization": "organization"},
        "catalog": {},
        "organization": {},
    },
}
ASSIGNED = ("delivered", "delivering", "deliveryFailed", "partiallyDelivered")


def pascal(name: str) -> str:
    """DeliveryFailed as beta writes it: DeliveryFailed."""
    return name[:1].upper() + name[1:]


def time_text(when: datetime | None) -> str | None:
    """UTC with Z and as many decimals as are needed, as Graph writes times."""
    if when is None:
        return None
    when = when.astimezone(UTC)
    text = when.strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{when.microsecond:06d}".rstrip("0") + "Z" if when.microsecond else f"{text}Z"


def request_json(request: Request, version: str, expand: Expand, now: datetime) -> Json:
    """Write a request, with the neighbours that were asked for."""
    whole = _request(request, version, now)
    for name, nested in expand.navigation.items():
        if name == "accessPackage":
            whole[name] = _package(request.access_package, version, nested)
        elif name == "requestor":
            whole[name] = _subject(request.requestor, version, nested)
        else:
            whole[name] = _assignment(request, version, nested, now)
    return _chosen(whole, expand)


def _chosen(whole: Json, expand: Expand) -> Json:
    if expand.select is None:
        return whole
    return {
        name: value
        for name, value in whole.items()
        if name in expand.select or name in expand.navigation
    }


def _request(request: Request, version: str, now: datetime) -> Json:
    state = request.state_at(now)
    shared: Json = {
        "createdDateTime": time_text(request.created),
        "justification": request.justification,
        "answers": [],
        "customExtensionCalloutInstances": [],
        "schedule": _schedule(request),
    }
    completed = time_text(request.completed_at(now))
    if version == "beta":
        # FulfilledNotificationTriggered is seen with Delivered; other states' texts are ours.
        status = "FulfilledNotificationTriggered" if state == "delivered" else pascal(state)
        return {
            "id": request.id,
            "requestType": pascal(request.request_type),
            "requestState": pascal(state),
            "requestStatus": request.status or status,
            "completedDate": completed,
            "isValidationOnly": False,
            "expirationDateTime": time_text(request.expires),
            **shared,
        }
    return {
        "id": request.id,
        "requestType": request.request_type,
        "state": state,
        "status": request.status or pascal(state),
        "completedDateTime": completed,
        **shared,
    }


def _schedule(request: Request) -> Json:
    kind = "afterDateTime" if request.expires else "noExpiration"
    return {
        "startDateTime": time_text(request.starts),
        "recurrence": None,
        "expiration": {"endDateTime": time_text(request.expires), "duration": None, "type": kind},
    }


def _package(package: AccessPackage, version: str, expand: Expand) -> Json:
    whole: Json = {
        "id": package.id,
        "displayName": package.display_name,
        "description": package.display_name,
        "isHidden": False,
    }
    if version == "beta":
        whole["catalogId"] = package.catalog.id
    for name, nested in expand.navigation.items():
        whole[name] = _catalog(package.catalog, nested)
    return _chosen(whole, expand)


def _catalog(catalog: Catalog, expand: Expand) -> Json:
    return _chosen({"id": catalog.id, "displayName": catalog.display_name}, expand)


def _subject(subject: Subject, version: str, expand: Expand) -> Json:
    whole: Json = {
        "id": subject.id,
        "objectId": subject.object_id,
        "displayName": subject.display_name,
        "email": subject.email,
        "principalName": subject.principal_name,
        "onPremisesSecurityIdentifier": None,
    }
    if version == "beta":
        whole |= {"type": "User", "connectedOrganizationId": subject.organization_id}
    else:
        whole |= {
            "subjectType": "user",
            "subjectLifecycle": "governed" if subject.organization_id else "notDefined",
        }
    for name, nested in expand.navigation.items():
        known = subject.organization_id is not None
        organization = {"id": subject.organization_id, "displayName": subject.organization_name}
        whole[name] = _chosen(organization, nested) if known else None
    return _chosen(whole, expand)


def _assignment(request: Request, version: str, expand: Expand, now: datetime) -> Json | None:
    """Write the assignment, or None for a request that has led to none (yet)."""
    state = request.state_at(now)
    if request.assignment_id is None or state not in ASSIGNED:
        return None
    if state == "delivered" and "Remove" in request.request_type:
        state = "expired"
    expired = time_text(request.completed_at(now)) if state == "expired" else None
    whole: Json = {"id": request.assignment_id, "expiredDateTime": expired}
    if version == "beta":
        whole |= {
            "catalogId": request.access_package.catalog.id,
            "accessPackageId": request.access_package.id,
            "targetId": request.requestor.id,
            "assignmentState": pascal(state),
            "assignmentStatus": pascal(state),
        }
    else:
        whole |= {"state": state, "status": pascal(state), "schedule": _schedule(request)}
    for name, nested in expand.navigation.items():
        if name == "target":
            whole[name] = _subject(request.requestor, version, nested)
        else:
            whole[name] = _package(request.access_package, version, nested)
    return _chosen(whole, expand)
