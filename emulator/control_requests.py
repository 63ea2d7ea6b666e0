"""Requests as tests put them into the tenant, with what Graph never shows.

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
    some_of,
)
from emulator.tenant import ENDED, OUTCOMES, REQUEST_TYPES, STATES, AccessPackage, Request, Subject

if TYPE_CHECKING:
    from emulator.tenant import Tenant

CHECKS = {
    "id": GUID,
    "requestType": one_of(*REQUEST_TYPES),
    "state": one_of(*STATES),
    "status": optional(TEXT),
    "createdDateTime": TIME,
    "completedDateTime": TIME,
    "accessPackageId": GUID,
    "accessPackageName": TEXT,
    "catalogId": GUID,
    "catalogName": TEXT,  # shown nowhere
    "requestorName": optional(TEXT),
    "requestorEmail": TEXT,
    "requestorObjectId": GUID,
    "outcomes": Check(
        "a list of at least one of " + ", ".join(OUTCOMES),
        lambda value: value != [] and some_of(*OUTCOMES).test(value),
    ),
    "fixedAt": TIME,
    "deliverySeconds": AMOUNT,
    "staleSeconds": AMOUNT,
}


def put_requests(tenant: Tenant, given: Any) -> list[str]:
    """Add requests; one with a known id is replaced as a whole. Returns the ids. Raises Wrong."""
    if not isinstance(given, list):
        raise Wrong("'requests' must be a list of objects")
    every = [checked(one, CHECKS, "request") for one in given]
    made = [_request(tenant, one) for one in every]
    tenant.add(made)
    return [request.id for request in made]


def _request(tenant: Tenant, given: Json) -> Request:
    state = given.get("state", "deliveryFailed")
    ended = tenant.now() - timedelta(minutes=30) if state in ENDED else None
    completed = _time(given, "completedDateTime") or ended
    created = _time(given, "createdDateTime")
    email = given.get("requestorEmail", "requestor@contoso.example")
    person = str(uuid.uuid5(uuid.NAMESPACE_URL, email))
    return Request(
        id=given.get("id", str(uuid.uuid4())).lower(),
        request_type=given.get("requestType", "userAdd"),
        state=state,
        created=created or (completed or tenant.now()) - timedelta(hours=1),
        completed=completed,
        access_package=_package(tenant.packages, given),
        requestor=Subject(
            person, given.get("requestorName"), email, given.get("requestorObjectId")
        ),
        status=given.get("status"),
        outcomes=tuple(given.get("outcomes", ["delivered"])),
        fixed_at=_time(given, "fixedAt"),
        delivery_seconds=given.get("deliverySeconds"),
        stale_seconds=given.get("staleSeconds"),
    )


def _package(packages: dict[str, AccessPackage], given: Json) -> AccessPackage:
    """Return the named access package: a new one for a new id, the first one without an id."""
    package_id = given.get("accessPackageId", next(iter(packages), str(uuid.UUID(int=1)))).lower()
    known = packages.get(package_id)
    name = given.get("accessPackageName", known.display_name if known else "Access package")
    catalog_id = given.get("catalogId", known.catalog_id if known else str(uuid.UUID(int=2)))
    packages[package_id] = AccessPackage(package_id, name, catalog_id.lower())
    return packages[package_id]


def _time(given: Json, name: str) -> datetime | None:
    return datetime.fromisoformat(given[name]) if name in given else None
