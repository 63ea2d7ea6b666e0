"""`GET /api/diagnosis`: whether settings, token, permission, Graph and table work, with remedies.

Not for: mending anything; it changes nothing but a row of its own in the table. Findings contain no
secret and no token. All checks together take less than 25 seconds.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from azure.core.exceptions import AzureError

import attempt_store
import graph
import settings as app_settings
from deadline import Deadline
from events import ERROR, event
from planning.listing import list_failed
from reprocess_http.handler import Call, Route, by_key
from reprocess_http.parameters import Parameters
from reprocess_http.responses import Answer, sentence
from settings import SettingsError
from version import VERSION

if TYPE_CHECKING:
    from collections.abc import Callable

type Finding = tuple[str, str]  # what was seen, and what to do about it: "" where all is well

TOKEN_SECONDS, ROLES_SECONDS, GRAPH_SECONDS, TABLE_SECONDS = 6.0, 1.0, 9.0, 5.0
LISTS_AT_ONCE = 8  # access packages tried side by side
# https://learn.microsoft.com/graph/permissions-reference
WRITE, READ = "EntitlementManagement.ReadWrite.All", "EntitlementManagement.Read.All"
NO_IDENTITY = (
    "Try again. If it stays so, switch on the app's managed identity, or assign the one in "
    "AZURE_CLIENT_ID to it."
)
CATALOG_ROLES = (
    "catalog roles, which a token does not show, may stand for it, since SWEEP_ACCESS_PACKAGES is "
    "set."
)
GUESS = (
    "That is a guess from its roles, Graph itself decides; a role just granted is in the next "
    "token, which may take a day."
)
SEE_DOCUMENTS = "More ways, and what to grant instead: docs/problems.md#graph-denied."


def run() -> list[dict[str, object]]:
    """Run all checks; those that cannot be run are left out.

    A check has `name`, `result` (ok or failed), `milliseconds`, `detail`, and where it failed,
    `remedy`.
    """
    checks = [_check("settings", _settings)]
    if "remedy" in checks[0]:
        return checks  # nothing else can be tried without them
    checks.append(_check("token", _token))
    if "remedy" not in checks[1]:
        checks += [_check("permission", _permission), _check("graph", _graph)]
    return [*checks, _check("attempts", _table)]


def _check(name: str, look: Callable[[], Finding]) -> dict[str, object]:
    started = time.monotonic()
    try:
        detail, remedy = look()
    except Exception as error:  # whatever it is, it is a finding; only its kind is safe to show
        event(ERROR, "unhandled error", trace=error, error=type(error).__name__)
        detail, remedy = f"{type(error).__name__}.", "The app's log has the whole error."
    return {
        "name": name,
        "result": "failed" if remedy else "ok",
        "milliseconds": round((time.monotonic() - started) * 1000),
        "detail": detail,
        **({"remedy": remedy} if remedy else {}),
    }


def _settings() -> Finding:
    """Read all; those that the host was told when it loaded the app are compared as well."""
    try:
        settings = app_settings.current()
    except SettingsError as error:
        return f"{error}.", "Correct these app settings; the app restarts by itself."
    root = f"Graph is {settings.graph_root}, {settings.graph_api_version}."
    return f"{root} The host runs with the HTTP_AUTH_LEVEL and SWEEP_SCHEDULE that are set.", ""


def _token() -> Finding:
    try:
        claims = graph.shared().identity(Deadline(TOKEN_SECONDS))
    except graph.GraphDenied as error:
        return sentence(error.summary), error.remedy
    except graph.GraphError as error:
        return sentence(error.summary), NO_IDENTITY
    return f"The identity is {claims.object_id}." if claims.object_id else "There is a token.", ""


def _permission() -> Finding:
    """Guess from the token's roles whether a reprocess is permitted; Graph itself decides."""
    claims = graph.shared().identity(Deadline(ROLES_SECONDS))
    if claims.roles is None:
        return "Not known: the token cannot be read.", ""
    if WRITE in claims.roles:
        return f"The token has {WRITE}.", ""
    if app_settings.current().sweep_access_packages:
        return f"The token lacks {WRITE}; {CATALOG_ROLES}", ""
    only = f"only {READ}, which does not allow a reprocess"
    seen = only if READ in claims.roles else f"no {WRITE}"
    identity = claims.object_id or "<the identity's object id>"
    remedy = f"Grant it: scripts/permission add {identity}. {SEE_DOCUMENTS}"
    return f"The token has {seen}. {GUESS}", remedy


def _graph() -> Finding:
    """List failed requests up to the first, as a sweep would: of all, or of each access package.

    Access packages for which there was no time are no failure while others could be listed.
    """
    packages = app_settings.current().sweep_access_packages
    deadline = Deadline(GRAPH_SECONDS)
    failures = list_failed(
        graph.shared(), packages, deadline, lambda _: False, names=False, at_once=LISTS_AT_ONCE
    )
    late, where = [], ""
    if packages:
        if not deadline.left():
            late = [one for one in failures if isinstance(one.error, graph.GraphTimeout)]
        where = f" in {len(packages) - len(failures)} of {len(packages)} access packages"
    detail, remedy = f"Failed requests can be listed{where}.", ""
    if late:
        detail += f" {len(late)} could not be listed in time."
        remedy = late[0].remedy if len(late) == len(packages) else ""
    if errors := [one for one in failures if one not in late]:
        first, names = errors[0], ", ".join(str(one.access_package) for one in errors)
        of_first = sentence(first.error.summary)
        detail = f"{detail} Not in {names}. Of the first: {of_first}" if packages else of_first
        remedy = first.remedy
        if isinstance(first.error, graph.GraphDenied):
            remedy = f"{remedy} {SEE_DOCUMENTS}"
    return detail, remedy


def _table() -> Finding:
    """Read a row; write one and remove it."""
    settings, store = app_settings.current(), attempt_store.for_callers()
    deadline = Deadline(TABLE_SECONDS)
    try:
        store.last_report(deadline)
        store.check_writable(deadline)
    except AzureError as error:
        broken = f"The table {settings.attempts_table} cannot be read and written;"
        remedy = sentence(attempt_store.what_to_do(error))
        return f"{broken} without it no sweep changes anything.", remedy
    if settings.storage_connection or settings.storage_table_uri:
        return f"The table {settings.attempts_table} can be read and written.", ""
    return "No storage account is configured: attempts are kept in memory.", ""


def _diagnose(call: Call) -> Answer:
    """Return 200 with what was checked, or 503 when a check failed."""
    Parameters(call.req.url, set())
    checks = run()
    failed = [check["name"] for check in checks if "remedy" in check]
    outcome = "failed" if failed else "ok"
    body = {"outcome": outcome, "version": VERSION, "checks": checks}
    return Answer(
        503 if failed else 200,
        body | {"correlationId": call.correlation_id},
        log_fields={"outcome": outcome, "failedChecks": failed or None},
    )


DIAGNOSIS = Route("diagnosis", by_key, _diagnose, needs_settings=False)
