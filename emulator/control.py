"""What a test or a person turns on the emulator: settings, faults, requests, clock, log of calls.

For: plain methods on Control, and the same behind /control (see routes.py).
Not for: anything Graph has.
Every value is checked; a wrong one raises Wrong with what would be right.
"""

from __future__ import annotations

import math
import random
import uuid
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any

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
    Tenant,
)

if TYPE_CHECKING:
    from collections.abc import Callable

Json = dict[str, Any]
READ_ROLE = "EntitlementManagement.Read.All"
WRITE_ROLE = "EntitlementManagement.ReadWrite.All"
FORMS = ("int", "decimal", "date", "none")
ON = ("reprocess", "read", "list", "batch", "batchItem", "token", "any")
KINDS = (
    "status",
    "html",
    "truncated",
    "empty",
    "garbage",
    "dropBefore",
    "dropAfter",
    "silence",
    "redirect",
    "foreignNextLink",
    "circularNextLink",
    "missing",
)
ITEM_KINDS = ("status", "html", "empty", "missing")
LOG_LENGTH = 200_000


class Wrong(ValueError):
    """A value that cannot be taken; the text says what would be right."""


# ---- checks --------------------------------------------------------------------------------------


@dataclass(slots=True, frozen=True)
class Check:
    """What a JSON value must be, in words and as a test."""

    words: str
    test: Callable[[Any], bool]


def is_number(value: Any) -> bool:
    """Tell whether it is a finite number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def is_int(value: Any) -> bool:
    """Tell whether it is a whole number; true and false are none."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_guid(value: Any) -> bool:
    """Tell whether it is a GUID in 8-4-4-4-12 form, any case."""
    if not isinstance(value, str) or len(value) != 36:
        return False
    try:
        return str(uuid.UUID(value)) == value.lower()
    except ValueError:
        return False


def is_time(value: Any) -> bool:
    """Tell whether it is a time with its offset from UTC."""
    try:
        return isinstance(value, str) and datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False


def optional(check: Check) -> Check:
    """Allow null as well."""
    return Check(f"{check.words}, or null", lambda value: value is None or check.test(value))


def one_of(*names: str) -> Check:
    """Allow these texts only."""
    return Check(
        "one of " + ", ".join(names), lambda value: isinstance(value, str) and value in names
    )


TEXT = Check("a text", lambda value: isinstance(value, str))
BOOL = Check("true or false", lambda value: isinstance(value, bool))
AMOUNT = Check("a number, 0 or more", lambda value: is_number(value) and value >= 0)
COUNT = Check("a whole number, 0 or more", lambda value: is_int(value) and value >= 0)
POSITIVE = Check("a whole number, 1 or more", lambda value: is_int(value) and value >= 1)
GUID = Check("a GUID", is_guid)
TIME = Check("a time with offset such as 2026-01-31T12:00:00Z", is_time)
TEXTS = Check(
    "a list of texts",
    lambda value: isinstance(value, list) and all(isinstance(part, str) for part in value),
)
GUIDS = Check(
    "a list of GUIDs",
    lambda value: isinstance(value, list) and all(is_guid(part) for part in value),
)
OUTCOME_LIST = Check(
    "a list of at least one of " + ", ".join(OUTCOMES),
    lambda value: (
        isinstance(value, list) and bool(value) and all(part in OUTCOMES for part in value)
    ),
)


def checked(given: Any, checks: dict[str, Check], what: str) -> Json:
    """Return the given object, all of whose fields are known and right."""
    if not isinstance(given, dict):
        raise Wrong(f"{what} must be a JSON object")
    for name, value in given.items():
        check = checks.get(name)
        if check is None:
            raise Wrong(f"{what} has no field '{name}'; there are {', '.join(checks)}")
        if not check.test(value):
            raise Wrong(f"{what}: '{name}' must be {check.words}")
    return given


# ---- throttle ------------------------------------------------------------------------------------

THROTTLE_CHECKS = {
    "perSecond": AMOUNT,
    "burst": COUNT,
    "level": COUNT,
    "retryAfter": one_of(*FORMS),
}


@dataclass(slots=True)
class Throttle:
    """A token bucket: `burst` calls at once (it starts full, or at `level`), refilled `per_second`.

    burst=0: it starts empty and never holds more than one. A refused call takes nothing.
    per_second=0: nothing comes back; callers are told to wait 10 s.
    """

    per_second: float
    burst: int
    retry_after: str
    level: float
    at: datetime

    def wait(self, now: datetime) -> float | None:
        """None: go ahead. Else the seconds until the next call would pass."""
        passed = max(0.0, (now - self.at).total_seconds())
        self.level = max(
            self.level, min(float(max(self.burst, 1)), self.level + passed * self.per_second)
        )
        self.at = now
        if self.level >= 1 - 1e-9:
            self.level -= 1
            return None
        return (1 - self.level) / self.per_second if self.per_second else 10.0

    def header(self, seconds: float, now: datetime) -> str | None:
        """Retry-After in the chosen form, never earlier than it is true."""
        if self.retry_after == "none":
            return None
        if self.retry_after == "decimal":
            return f"{math.ceil(seconds * 1000 + 1e-6) / 1000:.3f}"
        whole = max(1, math.ceil(seconds - 1e-9))
        if self.retry_after == "date":
            # Whole seconds of the clock: one more, so that the cut-off fraction of now is not lost.
            return format_datetime(
                now.replace(microsecond=0) + timedelta(seconds=whole + 1), usegmt=True
            )
        return str(whole)


# ---- faults --------------------------------------------------------------------------------------

FAULT_CHECKS = {
    "on": one_of(*ON),
    "kind": one_of(*KINDS),
    "requestId": optional(GUID),
    "times": Check(
        "-1 (for ever) or a whole number, 1 or more", lambda v: is_int(v) and (v == -1 or v >= 1)
    ),
    "skip": COUNT,
    "status": Check("a HTTP status, 200 to 599", lambda v: is_int(v) and 200 <= v <= 599),
    "code": TEXT,
    "message": TEXT,
    "retryAfter": Check("a text or a number", lambda v: is_number(v) or isinstance(v, str)),
    "location": TEXT,
    "after": BOOL,
}


@dataclass(slots=True)
class Fault:
    """One thing that goes wrong, on the next calls it fits."""

    on: str
    kind: str
    request_id: str | None = None
    times: int = 1
    skip: int = 0
    status: int | None = None
    code: str | None = None
    message: str | None = None
    retry_after: str | None = None
    location: str | None = None
    after: bool = False

    def fits(self, operation: str, request_id: str | None, in_batch: bool) -> bool:
        """Faults of the connection fall on whole calls; a batch item takes only ITEM_KINDS."""
        if self.request_id is not None and self.request_id != request_id:
            return False
        if in_batch:
            return self.on in ("batchItem", operation) and self.kind in ITEM_KINDS
        return self.on in ("any", operation) and self.kind != "missing"


# ---- settings ------------------------------------------------------------------------------------


@dataclass(slots=True)
class Settings:
    """How the service behaves. Times are in the tenant's Rules; both are set through Control.

    roles: app roles of the identity, put into the tokens issued from now on.
    catalogs: where it holds the role Access package assignment manager; they count only where
    the app roles do not suffice.
    """

    latency_ms: float = 0
    identity_latency_ms: float = 0
    page_size: int = 100
    batch_supported: bool = True
    combined_filter_supported: bool = True
    roles: list[str] = field(default_factory=lambda: [WRITE_ROLE])
    catalogs: list[str] = field(default_factory=list)
    licensed: bool = True
    token_seconds: float = 86400


# JSON name -> attribute of Settings or of Rules, and its check.
SETTINGS: dict[str, tuple[str, Check]] = {
    "latencyMs": ("latency_ms", AMOUNT),
    "identityLatencyMs": ("identity_latency_ms", AMOUNT),
    "pageSize": ("page_size", POSITIVE),
    "batchSupported": ("batch_supported", BOOL),
    "combinedFilterSupported": ("combined_filter_supported", BOOL),
    "roles": ("roles", TEXTS),
    "catalogs": ("catalogs", GUIDS),
    "licensed": ("licensed", BOOL),
    "tokenSeconds": ("token_seconds", AMOUNT),
}
RULES: dict[str, tuple[str, Check]] = {
    "deliverySeconds": ("delivery_seconds", AMOUNT),
    "staleSeconds": ("stale_seconds", AMOUNT),
    "windowDays": ("window_days", AMOUNT),
    "completedMoves": ("completed_moves", BOOL),
}
SETTING_CHECKS = {
    **{name: check for name, (_, check) in (SETTINGS | RULES).items()},
    "throttle": Check(
        "null or {perSecond, burst, retryAfter}", lambda v: v is None or isinstance(v, dict)
    ),
}

REQUEST_CHECKS = {
    "id": GUID,
    "requestType": one_of(*REQUEST_TYPES),
    "state": one_of(*STATES),
    "status": optional(TEXT),
    "createdDateTime": TIME,
    "completedDateTime": optional(TIME),
    "originalCompletedDateTime": optional(TIME),
    "justification": optional(TEXT),
    "accessPackageId": GUID,
    "accessPackageName": TEXT,
    "catalogId": GUID,
    "catalogName": TEXT,
    "requestorName": optional(TEXT),
    "requestorEmail": TEXT,
    "requestorObjectId": optional(GUID),
    "assignmentId": optional(GUID),
    "scheduleStart": optional(TIME),
    "scheduleEnd": optional(TIME),
    "outcomes": OUTCOME_LIST,
    "fixedAt": optional(TIME),
    "deliverySeconds": optional(AMOUNT),
    "staleSeconds": optional(AMOUNT),
}


class Control:
    """Settings, faults, log and clock of one emulator. JSON in and out, as under /control."""

    def __init__(self, tenant: Tenant, settings: Settings | None = None, seed: int = 1) -> None:
        self.tenant = tenant
        self.values = settings or Settings()
        self.throttle: Throttle | None = None
        self.faults: list[Fault] = []
        self.random = random.Random(seed)
        self._log: deque[Json] = deque(maxlen=LOG_LENGTH)

    def settings(self) -> Json:
        """All settings."""
        found = {name: getattr(self.values, attribute) for name, (attribute, _) in SETTINGS.items()}
        found |= {
            name: getattr(self.tenant.rules, attribute) for name, (attribute, _) in RULES.items()
        }
        bucket = self.throttle
        found["throttle"] = bucket and {
            "perSecond": bucket.per_second,
            "burst": bucket.burst,
            "retryAfter": bucket.retry_after,
        }
        return found

    def patch_settings(self, changes: Any) -> Json:
        """Change some settings, or none when one is wrong. A throttle that is set starts anew."""
        checked(changes, SETTING_CHECKS, "settings")
        throttle = changes.get("throttle")
        if throttle is not None:
            checked(throttle, THROTTLE_CHECKS, "throttle")
            if "perSecond" not in throttle:
                raise Wrong("throttle needs perSecond")
        for name, value in changes.items():
            if name in SETTINGS:
                setattr(self.values, SETTINGS[name][0], value)
            elif name in RULES:
                setattr(self.tenant.rules, RULES[name][0], value)
        if "throttle" in changes:
            self.throttle = throttle and self._bucket(throttle)
        return self.settings()

    def _bucket(self, given: Json) -> Throttle:
        burst = given.get("burst", max(1, math.ceil(given["perSecond"])))
        return Throttle(
            given["perSecond"],
            burst,
            given.get("retryAfter", "int"),
            float(given.get("level", burst)),
            self.tenant.now(),
        )

    def add_fault(self, given: Any) -> Json:
        """Let something go wrong: {"on", "kind", requestId, times, skip, status, code, ...}."""
        checked(given, FAULT_CHECKS, "fault")
        if "on" not in given or "kind" not in given:
            raise Wrong("fault needs on and kind")
        on, kind = given["on"], given["kind"]
        if on == "batchItem" and kind not in ITEM_KINDS:
            raise Wrong(f"fault on batchItem: 'kind' must be one of {', '.join(ITEM_KINDS)}")
        if kind == "missing" and on not in ("batchItem", "reprocess", "read", "list"):
            raise Wrong(
                "fault of kind missing leaves out a batch item: "
                "'on' must be batchItem, reprocess, read or list"
            )
        if kind in ("foreignNextLink", "circularNextLink") and on not in ("list", "any"):
            raise Wrong(f"fault of kind {kind}: 'on' must be list or any")
        retry_after = given.get("retryAfter")
        self.faults.append(
            Fault(
                on=on,
                kind=kind,
                request_id=(given.get("requestId") or "").lower() or None,
                times=given.get("times", 1),
                skip=given.get("skip", 0),
                status=given.get("status"),
                code=given.get("code"),
                message=given.get("message"),
                retry_after=None if retry_after is None else str(retry_after),
                location=given.get("location"),
                after=given.get("after", False),
            )
        )
        return {"faults": len(self.faults)}

    def clear_faults(self) -> None:
        self.faults.clear()

    def take_fault(
        self, operation: str, request_id: str | None, in_batch: bool = False
    ) -> Fault | None:
        """Return the first fault that fits this call, used up by one."""
        for fault in self.faults:
            if not fault.fits(operation, request_id, in_batch):
                continue
            if fault.skip:
                fault.skip -= 1
                continue
            if fault.times > 0:
                fault.times -= 1
                if fault.times == 0:
                    self.faults.remove(fault)
            return fault
        return None

    def throttled(self) -> tuple[float, str | None] | None:
        """None when a call may pass; else the wait and the Retry-After header."""
        if self.throttle is None:
            return None
        now = self.tenant.now()
        wait = self.throttle.wait(now)
        return None if wait is None else (wait, self.throttle.header(wait, now))

    def advance(self, seconds: Any) -> Json:
        """Move the tenant's clock on; the throttle refills, tokens do not age."""
        if not AMOUNT.test(seconds):
            raise Wrong(f"'advanceSeconds' must be {AMOUNT.words}")
        self.tenant.advance(seconds)
        return self.time()

    def time(self) -> Json:
        return {
            "now": time_text(self.tenant.now()),
            "offsetSeconds": self.tenant.offset.total_seconds(),
        }

    def log(self) -> list[Json]:
        """Every Graph and token call, oldest first."""
        return list(self._log)

    def clear_log(self) -> None:
        self._log.clear()

    def note(self, entry: Json) -> None:
        self._log.append(entry)

    def requests(self, request_id: str | None = None) -> list[Json]:
        """All requests (or one), with their hidden fields."""
        if request_id is None:
            return [self._shown(request) for request in self.tenant]
        request = self.tenant.get(request_id)
        return [] if request is None else [self._shown(request)]

    def put_requests(self, given: Any) -> list[str]:
        """Add requests; one with a known id is replaced as a whole. Returns the ids."""
        if not isinstance(given, list):
            raise Wrong("'requests' must be a list of objects")
        made = [self._request(checked(one, REQUEST_CHECKS, "request")) for one in given]
        self.tenant.add(made)
        return [request.id for request in made]

    def _request(self, given: Json) -> Request:
        now = self.tenant.now()
        state = given.get("state", "deliveryFailed")
        ended = now - timedelta(minutes=30) if state in ENDED else None
        created = _time(given, "createdDateTime") or (
            _time(given, "completedDateTime") or now
        ) - timedelta(hours=1)
        email = given.get("requestorEmail", "requestor@contoso.example")
        person = str(uuid.uuid5(uuid.NAMESPACE_URL, email))
        return Request(
            id=given.get("id", str(uuid.UUID(int=self.random.getrandbits(128), version=4))).lower(),
            request_type=given.get("requestType", "userAdd"),
            state=state,
            created=created,
            completed=_time(given, "completedDateTime") if "completedDateTime" in given else ended,
            access_package=self._package(given),
            requestor=Subject(
                person, given.get("requestorName"), email, given.get("requestorObjectId")
            ),
            assignment_id=given.get("assignmentId"),
            status=given.get("status"),
            justification=given.get("justification"),
            starts=_time(given, "scheduleStart"),
            expires=_time(given, "scheduleEnd"),
            outcomes=tuple(given.get("outcomes", ["delivered"])),
            fixed_at=_time(given, "fixedAt"),
            delivery_seconds=given.get("deliverySeconds"),
            stale_seconds=given.get("staleSeconds"),
            original_completed=_time(given, "originalCompletedDateTime"),
        )

    def _package(self, given: Json) -> AccessPackage:
        """Return the named access package: a new one for a new id, the first one without an id."""
        packages = self.tenant.packages
        package_id = given.get(
            "accessPackageId", next(iter(packages), str(uuid.UUID(int=1)))
        ).lower()
        known = packages.get(package_id)
        if (
            known is not None
            and not {"accessPackageName", "catalogId", "catalogName"} & given.keys()
        ):
            return known
        old = known.catalog if known else Catalog(str(uuid.UUID(int=2)), "General")
        catalog = Catalog(
            given.get("catalogId", old.id).lower(), given.get("catalogName", old.display_name)
        )
        name = given.get("accessPackageName", known.display_name if known else "Access package")
        packages[package_id] = AccessPackage(package_id, name, catalog)
        return packages[package_id]

    def _shown(self, request: Request) -> Json:
        return {
            "id": request.id,
            "requestType": request.request_type,
            "state": request.state_at(self.tenant.now()),
            "status": request.status,
            "createdDateTime": time_text(request.created),
            "completedDateTime": time_text(request.completed),
            "originalCompletedDateTime": time_text(request.original_completed),
            "justification": request.justification,
            "accessPackageId": request.access_package.id,
            "accessPackageName": request.access_package.display_name,
            "catalogId": request.access_package.catalog.id,
            "catalogName": request.access_package.catalog.display_name,
            "requestorName": request.requestor.display_name,
            "requestorEmail": request.requestor.email,
            "requestorObjectId": request.requestor.object_id,
            "assignmentId": request.assignment_id,
            "scheduleStart": time_text(request.starts),
            "scheduleEnd": time_text(request.expires),
            "outcomes": list(request.outcomes),
            "fixedAt": time_text(request.fixed_at),
            "deliverySeconds": request.delivery_seconds,
            "staleSeconds": request.stale_seconds,
        }


def _time(given: Json, name: str) -> datetime | None:
    value = given.get(name)
    return None if value is None else datetime.fromisoformat(value)
