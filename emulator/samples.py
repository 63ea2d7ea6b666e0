"""Ready-made data for the emulated tenant: documented examples, a showcase, and as many as wanted.

For: a tenant that looks lived in, the same one for the same seed and clock.
Not for: rules of behaviour, which are in tenant.py.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING

from emulator.tenant import (
    ENDED,
    AccessPackage,
    Catalog,
    Clock,
    Request,
    Subject,
    Tenant,
    utc_now,
)

if TYPE_CHECKING:
    from emulator.switches import Rules

CATALOGS = ("General", "Partners", "Engineering", "Finance")
PACKAGES = (
    "Sales Team",
    "Marketing Campaign",
    "Partner Portal",
    "Guest Collaboration",
    "Source Code Readers",
    "Build Operators",
    "Incident Response",
    "Finance Reports",
    "Payroll Auditors",
    "Legal Hold",
    "Field Service",
    "Board Papers",
)
FIRST = (
    "Adele",
    "Alex",
    "Diego",
    "Grady",
    "Henrietta",
    "Isaiah",
    "Joni",
    "Lee",
    "Lidia",
    "Megan",
    "Nestor",
    "Patti",
)
LAST = (
    "Vance",
    "Wilber",
    "Siciliani",
    "Archie",
    "Mueller",
    "Langer",
    "Sherman",
    "Gu",
    "Holloway",
    "Bowen",
    "Wilke",
)

STATE_SHARES = {
    "delivered": 42,
    "deliveryFailed": 22,
    "partiallyDelivered": 7,
    "pendingApproval": 8,
    "delivering": 6,
    "denied": 5,
    "canceled": 4,
    "scheduled": 3,
    "submitted": 3,
}
TYPE_SHARES = {
    "userAdd": 50,
    "adminAdd": 18,
    "systemAdd": 5,
    "userUpdate": 3,
    "adminRemove": 9,
    "userRemove": 8,
    "systemRemove": 7,
}
OUTCOME_SHARES: dict[tuple[str, ...], int] = {
    ("delivered",): 70,
    ("deliveryFailed", "delivered"): 14,
    ("partiallyDelivered", "delivered"): 8,
    ("deliveryFailed",): 8,
}
# Days since completion: fresh, old, and too old for a reprocess.
AGE_SHARES = {(0.02, 3.0): 60, (3.0, 13.5): 25, (14.1, 60.0): 15}


def guid(random: Random) -> str:
    """Make a version 4 GUID out of a seeded random."""
    digits = f"{random.getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-8{digits[17:20]}-{digits[20:]}"


def documented(tenant: Tenant) -> None:
    """Add the requests that the documentation of Graph shows, with its ids and times."""
    catalog = Catalog("beedadfe-01d5-4025-910b-84abb9369997", "General")
    package = AccessPackage("d7be3253-b9c6-4fab-adef-30d30de8da2b", "Access Package", catalog)
    person = Subject(
        id="ba7ef0fb-e16f-474b-87aa-02815d061e67",
        display_name="displayname",
        email="displayname@example.com",
        object_id="ba7ef0fb-e16f-474b-87aa-02815d061e67",
        principal_name="displayname@example.com",
    )

    def shown(
        request_id: str, state: str, created: str, completed: str | None, assignment: str | None
    ) -> Request:
        ended = datetime.fromisoformat(completed) if completed else None
        start = datetime.fromisoformat(created)
        return Request(request_id, "userAdd", state, start, ended, package, person, assignment)

    tenant.add(
        [
            shown(
                "7999249e-249e-7999-9e24-99799e249979",
                "delivered",
                "2019-10-25T22:55:11.623Z",
                "2019-10-26T22:55:11.623Z",
                "78f1fdfd-4d01-4e20-9e7d-792f1f0cba47",
            ),
            shown(
                "433dafca-5047-4614-95f7-a03510b1ded3",
                "pendingApproval",
                "2019-10-25T22:55:11.623Z",
                None,
                None,
            ),
            shown(
                "a6bb6942-3ae1-4259-9908-0133aaee9377",
                "delivered",
                "2020-06-29T20:24:24.683Z",
                "2020-06-29T20:24:47.937Z",
                "b0f1b31a-3a28-4e5f-9f0c-0a4b1f6f2f52",
            ),
        ]
    )


def generated(
    seed: int = 1,
    count: int = 400,
    *,
    clock: Clock = utc_now,
    rules: Rules | None = None,
    state: str | None = None,
    packages: int = 12,
    examples: bool = True,
) -> Tenant:
    """Make a tenant of `count` requests besides the showcase and the documentation's examples.

    `state` gives all generated requests that state, and all of them end inside the window.
    `examples=False` leaves showcase and documentation's examples out.
    """
    tenant = Tenant(clock, rules)
    random = Random(seed)
    now = tenant.now()
    catalogs = [Catalog(guid(random), name) for name in CATALOGS]
    offered = [
        AccessPackage(guid(random), _package_name(n), catalogs[n // 3 % len(catalogs)])
        for n in range(packages)
    ]
    tenant.packages.update((package.id, package) for package in offered)
    people = [_person(random, n) for n in range(min(200, count + 10))]
    tenant.add(_request(random, now, offered, people, state) for _ in range(count))
    if examples:
        documented(tenant)
        _showcase(tenant, now, offered[0], people[0])
    return tenant


def _package_name(n: int) -> str:
    name = PACKAGES[n % len(PACKAGES)]
    return name if n < len(PACKAGES) else f"{name} {n // len(PACKAGES) + 1}"


def _person(random: Random, n: int) -> Subject:
    name = f"{random.choice(FIRST)} {random.choice(LAST)}"
    mail = f"{name.lower().replace(' ', '.')}{n}"
    if n % 5 == 4:
        # A guest whose account does not exist yet: only the address is known.
        return Subject(guid(random), None, f"{mail}@fabrikam.example")
    object_id = guid(random)
    address = f"{mail}@contoso.example"
    return Subject(guid(random), name, address, object_id, address)


def _pick[T](random: Random, shares: dict[T, int]) -> T:
    return random.choices(list(shares), list(shares.values()))[0]


def _request(
    random: Random,
    now: datetime,
    packages: list[AccessPackage],
    people: list[Subject],
    forced: str | None,
) -> Request:
    state = forced or _pick(random, STATE_SHARES)
    request_type = _pick(random, TYPE_SHARES)
    youngest, oldest = (0.02, 13.0) if forced else _pick(random, AGE_SHARES)
    ended = (now - timedelta(days=random.uniform(youngest, oldest))).astimezone(UTC)
    created = ended - timedelta(seconds=random.uniform(5, 36 * 3600))
    wants = "Add" in request_type
    return Request(
        id=guid(random),
        request_type=request_type,
        state=state,
        created=created,
        completed=ended if state in ENDED else None,
        access_package=random.choice(packages),
        requestor=random.choice(people),
        assignment_id=guid(random) if state in (*ENDED[:3], "delivering") else None,
        justification="Needed for the project" if wants and random.random() < 0.5 else None,
        outcomes=_pick(random, OUTCOME_SHARES),
    )


def _showcase(tenant: Tenant, now: datetime, package: AccessPackage, person: Subject) -> None:
    """Add eleven requests newer than all others, with ids that are easy to type."""
    failed, again = "deliveryFailed", "will be delivered"
    rows: list[tuple[str, str, tuple[str, ...], float]] = [
        (again, failed, ("delivered",), 0),
        ("fails again", failed, ("deliveryFailed",), 0),
        (
            "will be partly delivered, and fully the time after",
            failed,
            ("partiallyDelivered", "delivered"),
            0,
        ),
        ("is delivered already", "delivered", ("delivered",), 0),
        ("waits for approval", "pendingApproval", ("delivered",), 0),
        ("window closed", failed, ("delivered",), tenant.rules.window_days + 1),
    ]
    rows += [(again, failed, ("delivered",), 0)] * 5
    for n, (what, state, outcomes, days) in enumerate(rows, 1):
        created = now - timedelta(days=days, minutes=1, seconds=10 * n)
        request = Request(
            id=f"{n:08d}-0000-4000-8000-{n:012d}",
            request_type="userAdd",
            state=state,
            created=created,
            completed=created + timedelta(seconds=40) if state in ENDED else None,
            access_package=package,
            requestor=person,
            assignment_id=f"{n:08d}-0000-4000-9000-{n:012d}" if state in ENDED else None,
            justification="Showcase",
            outcomes=outcomes,
        )
        tenant.add([request])
        tenant.show(request.id, what)
