"""An emulated tenant: access packages, requests for them, and how deliveries move in time.

For: the data behind the emulated Graph, with a clock that is passed in: tests need not wait.
Not for: HTTP, JSON, permissions (graph.py, service.py, entity.py) or ready-made data (samples.py).
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from emulator.switches import Rules

REPROCESSABLE = ("deliveryFailed", "partiallyDelivered")
OUTCOMES = ("delivered", *REPROCESSABLE)
ENDED = (*OUTCOMES, "denied", "canceled")
STATES = ("submitted", "pendingApproval", "scheduled", "delivering", *ENDED)
REQUEST_TYPES = (
    *(who + what for who in ("user", "admin", "system") for what in ("Add", "Update", "Remove")),
    "onBehalfAdd",
)

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """Read the machine's clock."""
    return datetime.now(UTC)


@dataclass(slots=True, frozen=True)
class AccessPackage:
    """What is asked for. Catalog roles are given on the catalog that it is kept in."""

    id: str
    display_name: str
    catalog_id: str


@dataclass(slots=True, frozen=True)
class Subject:
    """Who asks. A guest who is not in the directory yet has no object id."""

    id: str
    display_name: str | None
    email: str
    object_id: str | None = None


@dataclass(slots=True)
class Request:
    """One access package assignment request, with what only the emulator knows about its future.

    `outcomes` are the ends of the next attempts, the last repeats. With `fixed_at` the attempts
    that end before it fail and later ones are delivered, whatever `outcomes` says. `detail` is what
    Graph says of a failure; with a `refusal`, in these words, no reprocess is accepted before
    `fixed_at`.
    """

    id: str
    request_type: str
    state: str
    created: datetime
    completed: datetime | None
    access_package: AccessPackage
    requestor: Subject
    status: str | None = None
    detail: str = ""
    refusal: str = ""
    outcomes: tuple[str, ...] = ("delivered",)
    fixed_at: datetime | None = None
    delivery_seconds: float | None = None
    stale_seconds: float | None = None
    original_completed: datetime | None = None
    stale_until: datetime | None = None
    ends_at: datetime | None = None

    def __post_init__(self) -> None:
        if self.original_completed is None:
            self.original_completed = self.completed

    def state_at(self, now: datetime) -> str:
        """Return the state a reader sees; call Tenant.settle first."""
        if self.ends_at is None or (self.stale_until is not None and now < self.stale_until):
            return self.state
        return "delivering"

    @property
    def is_removal(self) -> bool:
        """Whether access is to be taken away."""
        return self.request_type.endswith("Remove")

    def next_outcome(self, when: datetime) -> str:
        """Tell how the attempt that ends at `when` ends."""
        if self.fixed_at is not None:
            return "delivered" if when >= self.fixed_at else "deliveryFailed"
        if len(self.outcomes) > 1:
            first, *rest = self.outcomes
            self.outcomes = tuple(rest)
            return first
        return self.outcomes[0]


@dataclass
class Refused(Exception):
    """A reprocess that the service does not accept.

    `reason` is state, delivering, window, retrying (the service itself still tries), or the
    request's own refusal.
    """

    reason: str
    state: str


class Tenant:
    """All requests, newest first, and the clock they move by."""

    def __init__(self, clock: Clock = utc_now, rules: Rules | None = None) -> None:
        self.clock = clock
        self.offset = timedelta()
        self.rules = rules or Rules()
        self.packages: dict[str, AccessPackage] = {}
        self._requests: dict[str, Request] = {}
        self._order: list[Request] = []
        self._sorted = True

    def now(self) -> datetime:
        """Return Graph's time: the clock, how far Graph is ahead, and what it was advanced by."""
        return self.clock() + self.offset + timedelta(seconds=self.rules.clock_ahead_seconds)

    def advance(self, seconds: float) -> None:
        """Move the tenant's time on. Tokens keep to the clock itself, as their holder does."""
        self.offset += timedelta(seconds=seconds)

    def __iter__(self) -> Iterator[Request]:
        now = self.now()
        for request in reversed(self._ordered()):
            yield self.settle(request, now)

    def add(self, requests: Iterable[Request]) -> None:
        """Add requests; one with a known id is replaced."""
        now = self.now()
        added = {request.id: request for request in requests}
        if added.keys() & self._requests.keys():
            self._order = [known for known in self._order if known.id not in added]
        self._order.extend(added.values())
        self._requests |= added
        self._sorted = False
        for request in added.values():
            self.packages.setdefault(request.access_package.id, request.access_package)
            # Without a delivery time of its own a delivering request stays so for good, as some do.
            if request.state == "delivering" and request.delivery_seconds is not None:
                request.ends_at = now + timedelta(seconds=request.delivery_seconds)

    def clear(self) -> None:
        """Take all requests and access packages away."""
        self.packages.clear()
        self._requests.clear()
        self._order.clear()

    def get(self, request_id: str) -> Request | None:
        """Return the request as it is now, or None."""
        request = self._requests.get(request_id.lower())
        return self.settle(request, self.now()) if request is not None else None

    def settle(self, request: Request, now: datetime) -> Request:
        """Let an attempt end whose time has come."""
        ends = request.ends_at
        if ends is not None and now >= ends:
            request.state = request.next_outcome(ends)
            request.status = None
            request.ends_at = request.stale_until = None
            if self.rules.completed_moves or request.completed is None:
                request.completed = ends
            if self.rules.window_moves or request.original_completed is None:
                request.original_completed = ends
        return request

    def completed_at(self, request: Request, now: datetime) -> datetime | None:
        """Return the completion a reader sees."""
        ended = request.state_at(now) in ENDED
        return request.completed if ended or self.rules.completed_stays_visible else None

    def reprocess(self, request_id: str) -> Request:
        """Accept one more attempt, or raise Refused; KeyError for an unknown id."""
        now, rules = self.now(), self.rules
        request = self.settle(self._requests[request_id.lower()], now)
        reason = self._refusal(request, now)
        if reason == "delivering" and rules.repeat_accepted:
            return request
        if reason:
            raise Refused(reason, request.state_at(now))
        stale = rules.stale_seconds if request.stale_seconds is None else request.stale_seconds
        delivery = (
            rules.delivery_seconds if request.delivery_seconds is None else request.delivery_seconds
        )
        request.stale_until = now + timedelta(seconds=stale)
        request.ends_at = now + timedelta(seconds=max(stale, delivery))
        if rules.gone_when_accepted:
            del self._requests[request.id]
            self._order.remove(request)
        return request

    def _refusal(self, request: Request, now: datetime) -> str | None:
        if request.ends_at is not None or request.state == "delivering":
            return "delivering"
        if request.state not in REPROCESSABLE:
            return "state"
        if now > self.window_ends(request):
            return "window"
        if request.refusal and (request.fixed_at is None or now < request.fixed_at):
            return request.refusal
        retries = timedelta(seconds=self.rules.service_retry_seconds)
        failed = request.completed or request.created
        return "retrying" if retries and now < failed + retries else None

    def window_ends(self, request: Request) -> datetime:
        """Return the last moment at which Graph accepts a reprocess of this request."""
        start = request.original_completed or request.created
        return start + timedelta(days=self.rules.window_days)

    def page(
        self,
        wanted: Callable[[Request, datetime], bool],
        after: tuple[datetime, str] | None,
        size: int,
    ) -> tuple[list[Request], bool]:
        """Return up to `size` requests after a key, and whether more follow.

        By key and not by offset: a request that leaves the filter between two pages moves
        nobody else.
        """
        order = self._ordered()
        start = len(order) if after is None else bisect.bisect_left(order, after, key=_key)
        now = self.now()
        found: list[Request] = []
        for index in range(start - 1, -1, -1):
            request = self.settle(order[index], now)
            if wanted(request, now):
                if len(found) == size:
                    return found, True
                found.append(request)
        return found, False

    def _ordered(self) -> list[Request]:
        if not self._sorted:
            self._order.sort(key=_key)
            self._sorted = True
        return self._order


def _key(request: Request) -> tuple[datetime, str]:
    return request.created, request.id
