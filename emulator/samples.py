"""A tenant in use: failed requests with what makes them fail, and what the app has tried so far.

For: the same tenant for the same seed and time, in two processes: the emulated Graph has its
requests, the app remembers its attempts (newcomer_host.py). `Life` goes on with it.
Not for: rules of behaviour, which are in tenant.py.

Graph's words on a failed delivery are not published; those here are made up.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from emulator.tenant import ENDED, REPROCESSABLE, AccessPackage, Request, Subject, Tenant

if TYPE_CHECKING:
    from datetime import datetime
    from random import Random

FIRST = ("Adele", "Alex", "Diego", "Grady", "Henrietta", "Isaiah", "Joni", "Lee", "Lidia", "Megan")
LAST = ("Vance", "Wilber", "Siciliani", "Archie", "Mueller", "Langer", "Sherman", "Gu", "Bowen")
ADDITIONS, REMOVALS = ("userAdd", "userAdd", "adminAdd", "systemAdd"), ("adminRemove", "userRemove")
DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)
# The app's own: a failure is first tried so late, then again after cool-downs that double.
FIRST_TRY, COOLDOWN, LONGEST_COOLDOWN = 20 * MINUTE, 60 * MINUTE, DAY
WINDOW, DELIVERY = 14 * DAY, timedelta(seconds=25)
CHANGE_SECONDS = 20  # between two changes, while somebody looks
EXAMPLE = "00000001-0000-4000-8000-000000000001"  # is delivered by the next attempt


@dataclass(frozen=True, slots=True)
class Trouble:
    """What makes deliveries fail.

    `share`: how many of a hundred requests. `days`: since when each has failed, at least and at
    most. `mended`: so many minutes after the start; None: not while anybody looks. `refused`: Graph
    refuses the reprocess itself, with these words. `alone`: one person in all of the packages.
    """

    words: str
    packages: tuple[str, ...]
    share: int
    days: tuple[float, float]
    mended: float | None = None
    types: tuple[str, ...] = ADDITIONS
    state: str = "deliveryFailed"
    refused: bool = False
    guests: bool = False
    alone: bool = False


TROUBLES = (
    Trouble("The group is mastered on-premises and cannot be changed here.",
            ("Sales Team", "Field Service", "Build Operators"), 24, (0.2, 13.9)),
    Trouble("User '{mail}' was not found in SharePoint Online.",
            ("Partner Portal", "Guest Collaboration"), 20, (0.01, 8), mended=12, guests=True),
    Trouble("No licence is left: the subscription of 'Microsoft 365 E5' has lapsed.",
            ("Marketing Campaign", "Finance Reports", "Field Service"), 16, (0.1, 1.3), mended=-10,
            state="partiallyDelivered"),
    Trouble("Request_ResourceNotFound: Resource '{id}' does not exist.",
            ("Source Code Readers", "Build Operators"), 11, (3, 13.9)),
    Trouble("", ("Incident Response",), 8, (0.02, 2), mended=5),
    Trouble("", ("Travel Booking", "Time Sheets", "Car Pool"), 3, (1, 5), alone=True),
    Trouble("The service is still retrying this request.",
            ("Legal Hold", "Payroll Auditors"), 6, (0.03, 0.3), mended=20, refused=True),
    Trouble("The account is disabled, so its membership cannot be changed.",
            ("Partner Portal", "Sales Team"), 7, (0.5, 12.9), types=REMOVALS),
    Trouble("The request was completed too long ago to be reprocessed.",
            ("Legal Hold", "Sales Team"), 2, (14.1, 15), refused=True),
    Trouble("", ("Board Papers", "Badge Office", "Guest Wi-Fi"), 4, (0.1, 13.6), mended=30),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt of the app's sweeps."""

    at: datetime
    was_refused: bool
    words: str


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed request, when it failed first, and the attempts so far, oldest first."""

    request: Request
    first_failed: datetime
    attempts: tuple[Attempt, ...] = ()


def guid(random: Random) -> str:
    """Make a version 4 GUID out of a seeded random."""
    digits = f"{random.getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-8{digits[17:20]}-{digits[20:]}"


class Samples:
    """Makes requests of the people and access packages of one organisation."""

    def __init__(self, random: Random, now: datetime) -> None:
        self.random = random
        self.now = now
        general = guid(random)
        names = dict.fromkeys(name for one in TROUBLES for name in one.packages)
        self.packages = {name: AccessPackage(guid(random), name, general) for name in names}
        self.people = {one: self._person(one.guests) for one in TROUBLES}

    def failures(self, count: int) -> list[Failure]:
        """Return so many failures, and one more that can be relied on, EXAMPLE."""
        made = []
        for trouble in TROUBLES:
            fixed_at = None if trouble.mended is None else self.now + trouble.mended * MINUTE
            numbers = range(round(trouble.share * count / 100))
            made += [self._failure(trouble, number, fixed_at) for number in numbers]
        return [*made, self._example()] if count else []

    def _failure(self, trouble: Trouble, number: int, fixed_at: datetime | None) -> Failure:
        days = self.random.uniform(*trouble.days)
        first_failed = self.now - days * DAY
        request = self.request(trouble, number, first_failed, fixed_at)
        attempts = self._attempts(request, first_failed)
        if attempts and not trouble.refused:
            request.completed = attempts[-1].at + DELIVERY
        return Failure(request, first_failed, attempts)

    def request(
        self, trouble: Trouble, number: int, failed: datetime, fixed_at: datetime | None
    ) -> Request:
        """Make a request that failed just then; number: among those of the same trouble."""
        person = self.people[trouble] if trouble.alone else self._person(trouble.guests)
        words = trouble.words.format(mail=person.email, id=guid(self.random))
        return Request(
            id=guid(self.random),
            request_type=self.random.choice(trouble.types),
            state=trouble.state,
            created=failed - self.random.uniform(1, 30) * MINUTE,
            completed=failed,
            access_package=self.packages[trouble.packages[number % len(trouble.packages)]],
            requestor=person,
            detail="" if trouble.refused else words,
            refusal=words if trouble.refused else "",
            outcomes=(trouble.state,),
            fixed_at=fixed_at,
        )

    def _attempts(self, request: Request, first_failed: datetime) -> tuple[Attempt, ...]:
        """Return what sweeps have tried until now."""
        found: list[Attempt] = []
        at, cooldown = first_failed + FIRST_TRY, COOLDOWN
        longer = self.random.uniform(1, 1.2)
        while at < min(self.now - MINUTE, first_failed + WINDOW):
            found.append(Attempt(at, bool(request.refusal), request.refusal))
            at += min(cooldown, LONGEST_COOLDOWN) * longer
            cooldown *= 2
        is_due = self.random.random() < 0.06
        return tuple(found[:-1] if is_due else found)

    def _example(self) -> Failure:
        """Make a request that nobody tries for a day, and that is delivered when it is tried."""
        trouble = TROUBLES[1]
        made = self._failure(replace(trouble, days=(4.0, 4.0)), 0, self.now)
        late = self.now - 2 * MINUTE - made.attempts[-1].at
        made.request.id, made.request.completed = EXAMPLE, self.now - MINUTE
        attempts = tuple(replace(one, at=one.at + late) for one in made.attempts)
        return replace(made, attempts=attempts)

    def _person(self, is_guest: bool) -> Subject:
        """Make a person; of a guest who is not in the directory yet only the address is known."""
        name = f"{self.random.choice(FIRST)} {self.random.choice(LAST)}"
        mail = f"{name.lower().replace(' ', '.')}{self.random.randrange(10, 100)}"
        if is_guest:
            return Subject(guid(self.random), None, f"{mail}@fabrikam.example")
        return Subject(guid(self.random), name, f"{mail}@contoso.example", guid(self.random))


def fill(tenant: Tenant, samples: Samples, count: int) -> None:
    """Put so many failures into a tenant, and as many requests that are well or wait."""
    tenant.add(failure.request for failure in samples.failures(count))
    others = []
    for number in range(count):
        ended = samples.now - samples.random.uniform(0.1, 60) * DAY
        state = samples.random.choice(("delivered", "delivered", "pendingApproval", "denied"))
        completed = ended if state in ENDED else None
        request = samples.request(TROUBLES[0], number, ended, None)
        others.append(replace(request, state=state, completed=completed))
    tenant.add(others)


def fill_with_due(tenant: Tenant, samples: Samples, count: int) -> None:
    """Put so many failures into a tenant, all due, and delivered when they are tried."""
    now, random = samples.now, samples.random
    tenant.add(
        samples.request(TROUBLES[number % 2], number, now - random.uniform(0.02, 13) * DAY, now)
        for number in range(count)
    )


class Life:
    """What happens while somebody looks: requests fail, and causes are mended.

    Graph itself goes on trying for hours, so what is mended is sooner or later delivered.
    """

    def __init__(self, tenant: Tenant, samples: Samples) -> None:
        self.tenant = tenant
        self.samples = samples
        self.most = len(self._failed())
        self.fixed_at: dict[Trouble, datetime] = {}

    def _failed(self) -> list[Request]:
        return [one for one in self.tenant if one.state in REPROCESSABLE]

    def go_on(self) -> None:
        """Let one more request fail, or deliver one where there are as many as at the start."""
        failed = self._failed()
        if len(failed) < self.most:
            self._fail()
            return
        now = self.tenant.now()
        mended = [one for one in failed if one.fixed_at and one.fixed_at <= now]
        if ready := [one for one in mended if one.id != EXAMPLE]:
            request = self.samples.random.choice(ready)
            request.state, request.completed = "delivered", now

    def _fail(self) -> None:
        random, now = self.samples.random, self.tenant.now()
        possible = [one for one in TROUBLES if one.days[0] * DAY < WINDOW]
        (trouble,) = random.choices(possible, [one.share for one in possible])
        if self.fixed_at.get(trouble, now) <= now:  # it begins anew
            self.fixed_at[trouble] = now + random.uniform(2, 15) * MINUTE
        number = random.randrange(len(trouble.packages))
        self.tenant.add([self.samples.request(trouble, number, now, self.fixed_at[trouble])])
