"""Every switch: what Graph's documentation leaves open, or what Graph might do otherwise.

For: the one table of names, defaults, what each may be and what it means. A switch is turned with
`PATCH /control/settings` or an option of `python -m emulator.graph`; `--help` shows this table.
Not for: what goes wrong now and then on some calls; those are faults (faults.py).

In JSON a switch is called `pageSize`, as an option `--page-size`.
"""

from __future__ import annotations

import re
from dataclasses import Field, dataclass, field, fields
from typing import TYPE_CHECKING, Any

from emulator.checks import (
    AMOUNT,
    BOOL,
    COUNT,
    GUIDS,
    NUMBER,
    OBJECT,
    POSITIVE,
    STATUS,
    TEXT,
    TEXTS,
    Check,
    Json,
    checked,
    one_of,
    optional,
    some_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

READ_ROLE = "EntitlementManagement.Read.All"
WRITE_ROLE = "EntitlementManagement.ReadWrite.All"
ERROR_FORM = one_of(
    "innerError", "innererror", "nested", "details", "emptyCode", "noMessage", "text", "none"
)
ODD_ANSWERS = some_of(
    "numberIds", "noHeaders", "nullHeaders", "upperHeaders", "noBody", "doubled", "strangers"
)


def switch(default: Any, check: Check, meaning: str) -> Any:
    """Declare a switch."""
    return field(default=default, metadata={"check": check, "meaning": meaning})


@dataclass(slots=True)
class Rules:
    """How time works in the tenant. Graph publishes none of these numbers but the window."""

    delivery_seconds: float = switch(
        10, AMOUNT, "how long a delivery takes, at least stale-seconds"
    )
    stale_seconds: float = switch(2, AMOUNT, "how long an accepted request shows the old failure")
    delivering_state: str = switch("delivering", TEXT, "what it then shows as its state; any text")
    completed_moves: bool = switch(
        True, BOOL, "the end of a new attempt becomes completedDateTime; false: the first end stays"
    )
    completed_stays_visible: bool = switch(
        False, BOOL, "completedDateTime keeps the old end while it is delivered again, else null"
    )
    window_days: float = switch(
        14,
        AMOUNT,
        "how long after its end a reprocess is accepted; an older page of the portal says 7",
    )
    window_moves: bool = switch(
        False, BOOL, "the window begins anew with each failure, not with the first only"
    )
    service_retry_seconds: float = switch(
        0, AMOUNT, "so long after a failure Graph still retries by itself and refuses a reprocess"
    )
    repeat_accepted: bool = switch(False, BOOL, "one under way can be reprocessed as well")
    gone_when_accepted: bool = switch(False, BOOL, "an accepted request is not found any more")
    clock_ahead_seconds: float = switch(0, NUMBER, "how far Graph's clock is ahead of this one")


@dataclass(slots=True)
class Settings:
    """How the service answers."""

    latency_ms: float = switch(0, AMOUNT, "how long each call takes")
    identity_latency_ms: float = switch(0, AMOUNT, "how long the identity's endpoint takes")
    # -- who may --
    roles: tuple[str, ...] = switch((WRITE_ROLE,), TEXTS, "app roles in the tokens of now on")
    catalogs: tuple[str, ...] = switch(
        (), GUIDS, "where the identity has a catalog role, which counts where roles do not suffice"
    )
    licensed: bool = switch(True, BOOL, "false: everything is 403 NoLicense")
    forbidden_packages: tuple[str, ...] = switch(
        (), GUIDS, "access packages that are 403: their lists, their requests, their reprocess"
    )
    missing_packages: tuple[str, ...] = switch((), GUIDS, "the same with 404")
    # -- the list --
    page_size: int = switch(100, POSITIVE, "requests in a page, unless $top says otherwise")
    top: str = switch(
        "honoured",
        one_of("honoured", "ignored", "refused", "total"),
        "what $top does; total: the whole list ends with it",
    )
    top_most: int | None = switch(None, optional(POSITIVE), "most that $top can ask for")
    select: str = switch("honoured", one_of("honoured", "ignored"), "what $select does")
    expand: str = switch("honoured", one_of("honoured", "ignored", "refused"), "what $expand does")
    combined_filter_supported: bool = switch(True, BOOL, "false: `or` in a $filter is 400")
    state_filter: str = switch(
        "honoured", one_of("honoured", "ignored"), "what a $filter by state does"
    )
    removal_package: str = switch(
        "null",
        one_of("null", "missing"),
        "accessPackage of a removal, which a $filter by access package does not find",
    )
    pages: tuple[str, ...] = switch(
        (),
        some_of("repeats", "empty", "relative", "otherCase"),
        "each page begins with the last request of the one before; an empty page comes before "
        "each; nextLink without host; nextLink with scheme and host in capitals",
    )
    next_link_seconds: float | None = switch(
        None, optional(AMOUNT), "after this a nextLink is 400; 0: at once"
    )
    # -- reprocess --
    accept_status: int = switch(202, STATUS, "what an accepted reprocess is answered with")
    accept_body: str = switch("none", one_of("none", "json"), "the body of an accepted reprocess")
    refusal_status: int = switch(400, STATUS, "what a refused reprocess is answered with")
    refusal_code: str = switch("InvalidRequestState", TEXT, "and the code of that error")
    # -- $batch --
    batch_supported: bool = switch(True, BOOL, "false: $batch is an unknown path")
    batch_post_status: int | None = switch(
        None, optional(STATUS), "what every POST in a $batch is answered with; null: as if alone"
    )
    batch_answers: tuple[str, ...] = switch(
        (),
        ODD_ANSWERS,
        "how the answers of a batch are odd; strangers: among them are some that are no answers",
    )
    # -- form of answers --
    throttle: Mapping[str, Any] | None = switch(
        None, optional(OBJECT), "a limit as throttle.py describes it"
    )
    error_form: str = switch(
        "innerError", ERROR_FORM, "how an error is written; text: `error` is one; none: no body"
    )
    date: str = switch("right", one_of("right", "missing", "malformed"), "the Date header")
    time_digits: int | None = switch(
        None, optional(COUNT), "decimals of a time, 7 at most; null: as many as are needed"
    )
    # -- the managed identity --
    token_seconds: float = switch(86400, AMOUNT, "how long a token is good")
    expires_on: str = switch(
        "text",
        one_of("text", "number", "later"),
        "how the identity's endpoint says so; later: an hour more than is true",
    )


class Switches:
    """The values of both tables by their JSON names, checked."""

    def __init__(self, *tables: Rules | Settings) -> None:
        self.tables = tables
        self.checks = {json_name(one.name): one.metadata["check"] for _, one in _each(tables)}

    def values(self) -> Json:
        """Return all."""
        found = {json_name(one.name): getattr(table, one.name) for table, one in _each(self.tables)}
        return {name: list(v) if isinstance(v, tuple) else v for name, v in found.items()}

    def change(self, changes: Any) -> None:
        """Change some, or none when one is wrong. Raises Wrong."""
        checked(changes, self.checks, "settings")
        for table, one in _each(self.tables):
            if json_name(one.name) in changes:
                value = changes[json_name(one.name)]
                setattr(table, one.name, tuple(value) if isinstance(value, list) else value)


def declared() -> list[Field[Any]]:
    """Return what is declared of every switch, in the order of the tables."""
    return [one for _, one in _each((Settings(), Rules()))]


def json_name(attribute: str) -> str:
    """Write page_size as pageSize."""
    return re.sub(r"_(\w)", lambda found: found[1].upper(), attribute)


def _each(tables: tuple[Rules | Settings, ...]) -> Iterator[tuple[Rules | Settings, Field[Any]]]:
    for table in tables:
        for one in fields(table):
            yield table, one
