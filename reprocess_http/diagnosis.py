"""What works and what does not: settings, token, permission, Graph, attempts, each with a remedy.

Not for: mending anything, and it changes nothing. No secret and no token is in its findings.
All of it takes TOKEN_SECONDS + GRAPH_SECONDS + TABLE_SECONDS at most, whatever hangs.
"""

from __future__ import annotations

import base64
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from azure.core.exceptions import AzureError

import attempts
import graph
import settings as app_settings
from reprocess_http.bounded import TookTooLong, within
from settings import SettingsError, is_guid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TOKEN_SECONDS, GRAPH_SECONDS, TABLE_SECONDS = 6.0, 7.0, 5.0
NOBODY = "00000000-0000-0000-0000-000000000000"
# https://learn.microsoft.com/graph/permissions-reference
WRITE, READ = "EntitlementManagement.ReadWrite.All", "EntitlementManagement.Read.All"
WRITE_ID = "9acd699f-1e81-4958-b001-93b1d2506e19"
GRAPH_APP_ID = "00000003-0000-0000-c000-000000000000"
ELSEWHERE = "More ways, and what to grant instead: docs/problems.md#graph-denied."


@dataclass(frozen=True, slots=True)
class Check:
    """One finding. `failed` is empty when all is well; `detail` says what was seen then."""

    name: str
    milliseconds: int = 0
    failed: str = ""
    remedy: str = ""
    detail: str = ""


class Failed(Exception):
    """A check failed; the text says how, `remedy` what to do about it."""

    def __init__(self, how: str, remedy: str) -> None:
        """Keep both."""
        super().__init__(how)
        self.remedy = remedy


def run() -> list[Check]:
    """Run all checks, each for its time at most; those that cannot be run are left out."""
    return list(_checks())


def _checks() -> Iterator[Check]:
    settings = _check("settings", 1.0, _settings)
    yield settings
    if settings.failed:
        return  # nothing else can be tried without them
    claims: dict[str, Any] = {}
    token = _check("token", TOKEN_SECONDS, lambda: _token(claims))
    yield token
    if not token.failed:
        yield _check("permission", 1.0, lambda: _permission(claims))
        yield _check("graph", GRAPH_SECONDS, _graph)
    yield _check("attempts", TABLE_SECONDS, _attempts)


def _check(name: str, seconds: float, look: Callable[[], str]) -> Check:
    """Carry out one check; `look` returns what it saw, or raises."""
    started = time.monotonic()
    failed = remedy = detail = ""
    try:
        detail = within(seconds, look)
    except Failed as error:
        failed, remedy = str(error), error.remedy
    except TookTooLong as error:
        failed, remedy = f"{error}", "Try again; if it stays so, look for an outage or a firewall."
    except Exception as error:  # whatever it is, it is a finding; only its kind is safe to tell
        failed, remedy = type(error).__name__, "Look into the app's log."
    return Check(name, round((time.monotonic() - started) * 1000), failed, remedy, detail)


def _settings() -> str:
    try:
        settings = app_settings.current()
    except SettingsError as error:
        raise Failed(
            f"{error}.", "Correct these app settings; the app restarts by itself."
        ) from error
    return f"Graph is {settings.graph_root}, {settings.graph_api_version}."


def _token(claims: dict[str, Any]) -> str:
    """Get a token, and leave its claims in `claims`; the token itself stays here."""
    try:
        token = graph.shared()._token.get(renew=False)  # noqa: SLF001 - nobody else needs the claims
    except graph.GraphError as error:
        remedy = "Switch on the app's managed identity, or assign the one in AZURE_CLIENT_ID to it."
        raise Failed(f"{error.detail}.", remedy) from error
    try:
        claims.update(json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "==")))
    except (IndexError, ValueError, TypeError):
        return "There is a token; what it says cannot be read."
    return f"The identity is {claims['oid']}." if _is_id(claims.get("oid")) else "There is a token."


def _permission(claims: dict[str, Any]) -> str:
    """Guess from the token's roles whether a reprocess is permitted; Graph itself decides."""
    if not claims:
        return "Not known: the token cannot be read."
    roles = claims.get("roles") or []
    settings = app_settings.current()
    if WRITE in roles:
        return f"The token has {WRITE}."
    if settings.sweep_access_packages:
        return (
            f"The token lacks {WRITE}; catalog roles, which a token does not show, may stand for "
            "it, since SWEEP_ACCESS_PACKAGES is set."
        )
    seen = f"only {READ}, which does not allow a reprocess" if READ in roles else f"no {WRITE}"
    identity = claims["oid"] if _is_id(claims.get("oid")) else "<the identity's object id>"
    raise Failed(
        f"The token has {seen}. That is a guess from its roles, Graph itself decides; a role just "
        "granted is in the next token, which may take a day.",
        f"{_grant(identity)} {ELSEWHERE}",
    )


def _grant(identity: str) -> str:
    """Return the PowerShell commands that grant the permission."""
    return (
        "Grant it: Connect-MgGraph -Scopes AppRoleAssignment.ReadWrite.All,Application.Read.All; "
        f"$graph = Get-MgServicePrincipal -Filter \"appId eq '{GRAPH_APP_ID}'\"; "
        f"New-MgServicePrincipalAppRoleAssignment -ServicePrincipalId {identity} "
        f"-PrincipalId {identity} -ResourceId $graph.Id -AppRoleId {WRITE_ID}"
    )


def _graph() -> str:
    """Read the first failed request, as a sweep would. With catalog roles only, of one package."""
    settings = app_settings.current()
    package = next(iter(settings.sweep_access_packages), None)
    try:
        first = next(graph.shared().failed(graph.Deadline(GRAPH_SECONDS - 1), package), None)
    except graph.GraphDenied as error:
        named = f" ({error.code})" if error.code else ""
        raise Failed(f"{error.detail}{named}.", f"{error.remedy} {ELSEWHERE}") from error
    except graph.GraphError as error:
        raise Failed(f"{error.detail}.", "Try again later; the sweep does so by itself.") from error
    return "Failed requests can be listed; there " + ("are some." if first else "are none.")


def _attempts() -> str:
    """Read a row, whether it is there or not."""
    settings = app_settings.current()
    try:
        attempts.shared().read(NOBODY)
    except AzureError as error:
        status = getattr(error, "status_code", None)
        how = f"HTTP {status}" if status else type(error).__name__
        raise Failed(
            f"The table {settings.attempts_table} cannot be read ({how}).",
            "Check AzureWebJobsStorage, and give the managed identity the role Storage Table Data "
            "Contributor on the storage account; without the table no sweep changes anything.",
        ) from error
    if settings.storage_connection or settings.storage_table_uri:
        return f"The table {settings.attempts_table} can be read."
    return "No storage account is configured: attempts are kept in memory."


def _is_id(value: object) -> bool:
    return isinstance(value, str) and is_guid(value)
