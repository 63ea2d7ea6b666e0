"""Requests as tests put them into the tenant and read them back, with what Graph never shows.

For: the JSON of `/control/requests`: what a request is, and what its next attempts come to.
Not for: how Graph shows a request (entity.py).

A request that is put needs no field at all; without any it is an addition that failed half an hour
ago and will be delivered.
"""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from emulator.checks import (
    AMOUNT,
    GUID,
    TEXT,
    TIME,
    Check,
    Json,
    Wrong,
    checked,
    one_of,
    optional,
)
from emulator.entity import time_text
from emulator.tenant import (
    ENDED,
    OUTCOMES,
    REQUEST_TYPES,
    STATES,
    AccessPackage,
    Catalog,
    Request,
    Subject,
)

if TYPE_CHECKING:
    from random import Random

    from emulator.tenant import Tenant

OUTCOME_LIST = Check(
    "a list of at least one of " + ", ".join(OUTCOMES),
    lambda value: (
        isinstance(value, list) and bool(value) and all(part in OUTCOMES for part in value)
    ),
)
CHECKS = {
    "id": GUID,
    "requestType": one_of(*REQUEST_TYPES),
    "state": one_of(*STATES),
    "status": optional(TEXT),
    "detail": TEXT,
    "refusal": TEXT,
    "createdDateTime": TIME,
    "completedDateTime": optional(TIME),
    "justification": optional(TEXT),
    "accessPackageId": GUID,
    "accessPackageName": TEXT,
    "catalogId": GUID,
    "catalogName": TEXT,
    "requestorName": optional(TEXT),
    "requestorEmail": TEXT,
    "requestorObjectId": optional(GUID),
    "assignmentId": optional(GUID),
    "outcomes": OUTCOME_LIST,
    "fixedAt": optional(TIME),
    "deliverySeconds": optional(AMOUNT),
    "staleSeconds": optional(AMOUNT),
}


def put_requests(tenant: Tenant, given: Any, dice: Random) -> list[str]:
    """Add requests; one with a known id is replaced as a whole. Returns the ids. Raises Wrong."""
    if not isinstance(given, list):
        raise Wrong("'requests' must be a list of objects")
    every = [checked(one, CHECKS, "request") for one in given]
    made = [_request(tenant, one, dice) for one in every]
    tenant.add(made)
    return [request.id for request in made]


def _request(tenant: Tenant, given: Json, dice: Random) -> Request:
    now = tenant.now()
    state = given.get("state", "deliveryFailed")
    ended = now - timedelta(minutes=30) if state in ENDED else None
    created = _time(given, "createdDateTime") or (
        _time(given, "completedDateTime") or now
    ) - timedelta(hours=1)
    email = given.get("requestorEmail", "requestor@contoso.example")
    person = str(uuid.uuid5(uuid.NAMESPACE_URL, email))
    return Request(
        id=given.get("id", str(uuid.UUID(int=dice.getrandbits(128), version=4))).lower(),
        request_type=given.get("requestType", "userAdd"),
        state=state,
        created=created,
        completed=_time(given, "completedDateTime") if "completedDateTime" in given else ended,
        access_package=_package(tenant.packages, given),
        requestor=Subject(
            person, given.get("requestorName"), email, given.get("requestorObjectId")
        ),
        assignment_id=given.get("assignmentId"),
        status=given.get("status"),
        detail=given.get("detail", ""),
        refusal=given.get("refusal", ""),
        justification=given.get("justification"),
        outcomes=tuple(given.get("outcomes", ["delivered"])),
        fixed_at=_time(given, "fixedAt"),
        delivery_seconds=given.get("deliverySeconds"),
        stale_seconds=given.get("staleSeconds"),
    )


def _package(packages: dict[str, AccessPackage], given: Json) -> AccessPackage:
    """Return the named access package: a new one for a new id, the first one without an id."""
    package_id = given.get("accessPackageId", next(iter(packages), str(uuid.UUID(int=1)))).lower()
    known = packages.get(package_id)
    if known is not None and not {"accessPackageName", "catalogId", "catalogName"} & given.keys():
        return known
    old = known.catalog if known else Catalog(str(uuid.UUID(int=2)), "General")
    catalog = Catalog(
        given.get("catalogId", old.id).lower(), given.get("catalogName", old.display_name)
    )
    name = given.get("accessPackageName", known.display_name if known else "Access package")
    packages[package_id] = AccessPackage(package_id, name, catalog)
    return packages[package_id]


def _time(given: Json, name: str) -> datetime | None:
    value = given.get(name)
    return None if value is None else datetime.fromisoformat(value)


def shown(request: Request, now: datetime) -> Json:
    """Write a request with everything, so that it can be put again."""
    return {
        "id": request.id,
        "requestType": request.request_type,
        "state": request.state_at(now),
        "status": request.status,
        "detail": request.detail,
        "refusal": request.refusal,
        "createdDateTime": time_text(request.created),
        "completedDateTime": time_text(request.completed),
        "justification": request.justification,
        "accessPackageId": request.access_package.id,
        "accessPackageName": request.access_package.display_name,
        "catalogId": request.access_package.catalog.id,
        "catalogName": request.access_package.catalog.display_name,
        "requestorName": request.requestor.display_name,
        "requestorEmail": request.requestor.email,
        "requestorObjectId": request.requestor.object_id,
        "assignmentId": request.assignment_id,
        "outcomes": list(request.outcomes),
        "fixedAt": time_text(request.fixed_at),
        "deliverySeconds": request.delivery_seconds,
        "staleSeconds": request.stale_seconds,
    }
