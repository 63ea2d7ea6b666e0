"""A tenant after a month of use: failed requests with names, and a record of each attempt.

For: the page's pictures, its tests and its measurements. The requests are in the emulated Graph,
the attempt records in Azurite. The same seed gives the same tenant.
Not for: rules of behaviour.
"""

from __future__ import annotations

import contextlib
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING

from azure.data.tables import TableClient

from attempt_store import AttemptStore
from attempts import SLOTS, AttemptRecord, Change, Entry, Outcome
from deadline import Deadline
from emulator.azurite import Azurite
from emulator.samples import FIRST, LAST
from table import Table
from tests.support.local_app import App, quiet

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
STATUSES = (
    "Group is read-only",
    "User '{mail}' not found in https://contoso.sharepoint.com/sites/{number}",
    *[None] * 3,
)
REFUSAL = "The service is still retrying this request."
SETTINGS = {
    "SWEEP_SCHEDULE": "0 0 0 1 1 *",  # by hand only
    "STATUS_LINK_SECRET": "link-secret-for-tests-0123456789",
    "STATUS_RETRY_AFTER_SECONDS": "1",
}


@dataclass(frozen=True, slots=True)
class Sample:
    """What is put into the tenant, and what into the table."""

    requests: list[dict[str, object]]
    records: list[AttemptRecord]
    swept_at: datetime

    def report(self) -> dict[str, object]:
        """The last sweep's report, of about what it would have found."""
        minute = timedelta(minutes=1)
        tried = [one for one in self.records if self.swept_at - one.last_attempt_at < minute]
        refused = sum(one.outcome is Outcome.REFUSED for one in tried)
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


def sample(count: int, seed: int = 7) -> Sample:
    """Make `count` failed requests, most of them tried before."""
    random, now = Random(seed), datetime.now(UTC)
    swept_at = now - timedelta(minutes=9)
    made = [_request(random, number, now) for number in range(count)]
    records = [one for row in made if (one := _record(random, row, now, swept_at))]
    return Sample(made, records, swept_at)


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
    status = random.choice(STATUSES)
    return {
        "id": str(uuid.UUID(int=random.getrandbits(128), version=4)),
        "requestType": _pick(random, REMOVALS if number % 23 == 5 else TYPES),
        "state": "partiallyDelivered" if random.random() < 0.2 else "deliveryFailed",
        "status": status and status.format(mail=mail, number=1000 + number),
        "completedDateTime": (now - timedelta(days=days)).isoformat(),
        "accessPackageId": str(uuid.uuid5(uuid.NAMESPACE_URL, package)),
        "accessPackageName": package,
        "requestorName": None if is_guest else name,
        "requestorEmail": f"{mail}@{'fabrikam' if is_guest else 'contoso'}.example",
        "outcomes": ["delivered"],
    }


def _record(
    random: Random, request: dict[str, object], now: datetime, swept_at: datetime
) -> AttemptRecord | None:
    failed = datetime.fromisoformat(str(request["completedDateTime"]))
    hours = (now - failed) / timedelta(hours=1)
    if hours < 1:
        return None
    count = 20 if random.random() < 0.05 else min(19, 1 + int(hours / 24) + random.randrange(3))
    cooldown = timedelta(hours=min(24, 2 ** (count - 1)))
    # Half of those that cool down were tried by the last sweep, some are due again.
    cooling = now - cooldown * random.uniform(0.2, 0.9)
    due_again = now - cooldown * random.uniform(1.21, 1.9)
    last = random.choice((swept_at, cooling, due_again))
    at = max(last, failed + timedelta(minutes=20))
    is_refused = random.random() < 0.4
    return AttemptRecord(
        str(request["id"]),
        claim_id=str(uuid.UUID(int=random.getrandbits(128), version=4)),
        claimed_at=at,
        outcome=Outcome.REFUSED if is_refused else Outcome.ACCEPTED,
        accepted_at=None if is_refused else at,
        count=count,
        tries=count,
        last_attempt_at=at,
        first_failed_at=failed,
    )


def _write(table: Table, records: list[AttemptRecord], deadline: Deadline) -> None:
    """Write the records with their last two attempts: the sweep's, and a caller's before it."""
    changes = [Change(one, _entry(one, one.outcome, "sweep")) for one in records]
    again = [
        Change(
            one,
            _entry(one, Outcome.ACCEPTED, "function key", hours=7),
            slot=(one.tries - 1) % SLOTS,
        )
        for one in table.write(changes, deadline)
        if isinstance(one, AttemptRecord) and one.tries > 1
    ]
    table.write(again, deadline)


def _entry(record: AttemptRecord, outcome: Outcome, by: str, *, hours: int = 0) -> Entry:
    words = REFUSAL if outcome is Outcome.REFUSED else ""
    return Entry(record.last_attempt_at - timedelta(hours=hours), by, outcome, words)


@contextlib.contextmanager
def running(count: int) -> Iterator[App]:
    """Run the app with such a tenant."""
    made = sample(count)
    with Azurite() as azurite:
        settings = SETTINGS | {"AzureWebJobsStorage": azurite.connection_string}
        client = TableClient.from_connection_string(azurite.connection_string, "reprocessAttempts")
        table, deadline = Table(client), Deadline(60)
        _write(table, made.records, deadline)
        AttemptStore(table).keep_report(made.report(), made.swept_at, deadline)
        with App(settings=settings, graph_options=("--requests", "0")) as app:
            quiet(app)
            app.put(*made.requests)
            yield app
