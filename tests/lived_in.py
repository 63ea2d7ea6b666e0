"""A tenant that was lived in for a month: failed requests with names, and what was tried of them.

For: the page's pictures, its tests and its measurements. The requests are in the emulated Graph,
the attempts in Azurite, where the app finds them. The same one for the same seed.
Not for: rules of behaviour; and nothing here is asked by the app while it runs.
"""

from __future__ import annotations

import contextlib
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING

from azure.data.tables import TableClient

from attempts import Attempt, Attempts
from deadline import Deadline
from emulator.azurite import Azurite
from emulator.samples import FIRST, LAST
from table import Change, Table
from tests.local_app import App, quiet

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGES = {
    "Partner Portal": 30,
    "Sales Team": 22,
    "Guest Collaboration": 17,
    "Source Code Readers": 13,
    "Finance Reports": 11,
    "Marketing Campaign": 9,
    "Field Service": 7,
    "Board Papers": 5,
    "Incident Response": 4,
    "Legal Hold": 3,
    "Payroll Auditors": 2,
}
TYPES = {"userAdd": 50, "adminAdd": 20, "systemAdd": 14, "userUpdate": 4}
REMOVALS = {"adminRemove": 3, "userRemove": 2, "systemRemove": 2}
REFUSALS = (
    "The service is still retrying this request.",
    "The group is mastered on-premises and cannot be changed here.",
    "The user has not been provisioned in SharePoint Online.",
)
STATUSES = ("Group is read-only", "User not found in SharePoint Online", None, None)
SETTINGS = {
    "SWEEP_SCHEDULE": "0 0 0 1 1 *",  # by hand only
    "STATUS_LINK_SECRET": "link-secret-for-tests-0123456789",
    "STATUS_RETRY_AFTER_SECONDS": "1",
}


@dataclass(frozen=True, slots=True)
class Life:
    """What is put into the tenant, and what into the table."""

    requests: list[dict[str, object]]
    attempts: list[Attempt]
    swept_at: datetime

    def report(self) -> dict[str, object]:
        """The last sweep's report, of about what it would have found."""
        tried = [one for one in self.attempts if self.swept_at - one.last < timedelta(minutes=1)]
        refused = sum(one.outcome == "refused" for one in tried)
        accepted = len(tried) - refused + 31
        return {
            "sweepId": str(uuid.UUID(int=1)),
            "dryRun": False,
            "found": len(self.requests) + 31,
            "due": accepted + refused,
            "accepted": accepted,
            "refused": refused,
            "delivered": 28,
            "listComplete": True,
        }


def life(count: int, seed: int = 7) -> Life:
    """Make `count` failed requests, most of them tried before."""
    random, now = Random(seed), datetime.now(UTC)
    swept_at = now - timedelta(minutes=9)
    made = [_request(random, number, now) for number in range(count)]
    attempts = [one for row in made if (one := _attempt(random, row, now, swept_at))]
    return Life(made, attempts, swept_at)


def _pick(random: Random, shares: dict[str, int]) -> str:
    return random.choices(list(shares), list(shares.values()))[0]


def _request(random: Random, number: int, now: datetime) -> dict[str, object]:
    days = random.choice((0.003, random.uniform(0.1, 6), random.uniform(0.1, 13.9)))
    if number % 18 == 17:
        days = random.uniform(14.1, 16)
    package = _pick(random, PACKAGES)
    name = f"{random.choice(FIRST)} {random.choice(LAST)}"
    is_guest = random.random() < 0.15
    mail = f"{name.lower().replace(' ', '.')}{number}"
    return {
        "id": str(uuid.UUID(int=random.getrandbits(128), version=4)),
        "requestType": _pick(random, REMOVALS if number % 23 == 5 else TYPES),
        "state": "partiallyDelivered" if random.random() < 0.2 else "deliveryFailed",
        "status": random.choice(STATUSES),
        "completedDateTime": (now - timedelta(days=days)).isoformat(),
        "accessPackageId": str(uuid.uuid5(uuid.NAMESPACE_URL, package)),
        "accessPackageName": package,
        "requestorName": None if is_guest else name,
        "requestorEmail": f"{mail}@{'fabrikam' if is_guest else 'contoso'}.example",
        "outcomes": ["delivered"],
    }


def _attempt(
    random: Random, request: dict[str, object], now: datetime, swept_at: datetime
) -> Attempt | None:
    failed = datetime.fromisoformat(str(request["completedDateTime"]))
    hours = (now - failed) / timedelta(hours=1)
    if hours < 1:
        return None
    count = 20 if random.random() < 0.05 else min(19, 1 + int(hours / 24) + random.randrange(3))
    cooldown = timedelta(hours=min(24, 2 ** (count - 1)))
    # Half of those that cool down were tried by the last sweep, some are due again.
    last = random.choice(
        (
            swept_at,
            now - cooldown * random.uniform(0.2, 0.9),
            now - cooldown * random.uniform(1.21, 1.9),
        )
    )
    is_refused = random.random() < 0.4
    return Attempt(
        str(request["id"]),
        count=count,
        last=max(last, failed + timedelta(minutes=20)),
        failed=failed,
        outcome="refused" if is_refused else "sent",
        refusal=random.choice(REFUSALS) if is_refused else "",
        sweep=str(uuid.UUID(int=1)),
    )


@contextlib.contextmanager
def running(count: int) -> Iterator[App]:
    """Run the app with such a tenant."""
    lived = life(count)
    with Azurite() as azurite:
        settings = SETTINGS | {"AzureWebJobsStorage": azurite.connection_string}
        client = TableClient.from_connection_string(azurite.connection_string, "reprocessAttempts")
        table, deadline = Table(client), Deadline(60)
        table.write([Change(one) for one in lived.attempts], deadline)
        Attempts(table).note_sweep(lived.report(), lived.swept_at)
        with App(settings=settings, graph_options=("--requests", "0")) as app:
            quiet(app)
            app.put(*lived.requests)
            yield app
