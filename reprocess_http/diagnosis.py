"""What works and what does not: settings, token, permission, Graph, attempts, each with a remedy.

Not for: mending anything; it changes nothing but a row of its own in the table. No secret and no
token is in its findings. It takes the sum of the seconds below at most, whatever hangs.
"""

from __future__ import annotations

import contextvars
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from azure.core.exceptions import AzureError

import attempts
import graph
import settings as app_settings
from deadline import Deadline, TookTooLong, bounded
from events import ERROR, event
from settings import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

# Together below 25 seconds.
QUICK_SECONDS, TOKEN_SECONDS, GRAPH_SECONDS, TABLE_SECONDS = 1.0, 6.0, 9.0, 5.0
AT_ONCE, PACKAGE_SECONDS = 8, 5.0  # access packages tried at the same time, and for how long each
UNTRIED = "untried"
# https://learn.microsoft.com/graph/permissions-reference
WRITE, READ = "EntitlementManagement.ReadWrite.All", "EntitlementManagement.Read.All"
WRITE_ID = "9acd699f-1e81-4958-b001-93b1d2506e19"
GRAPH_APP_ID = "00000003-0000-0000-c000-000000000000"
LATER = "Try again later; the sweep does so by itself."
ELSEWHERE = "More ways, and what to grant instead: docs/problems.md#graph-denied."


@dataclass(frozen=True, slots=True)
class Check:
    """One finding: `detail` is what was seen; with a `remedy` it is a failure."""

    name: str
    milliseconds: int
    detail: str
    remedy: str = ""

    @property
    def failed(self) -> bool:
        """Whether something is to be done about it."""
        return bool(self.remedy)


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
    settings = _check("settings", QUICK_SECONDS, _settings)
    yield settings
    if settings.failed:
        return  # nothing else can be tried without them
    token = _check("token", TOKEN_SECONDS, _token)
    yield token
    if not token.failed:
        yield _check("permission", QUICK_SECONDS, _permission)
        yield _check("graph", GRAPH_SECONDS, _graph)
    yield _check("attempts", TABLE_SECONDS, _table)


def _check(name: str, seconds: float, look: Callable[[], str]) -> Check:
    """Carry out one check; `look` returns what it saw, or raises Failed."""
    started = time.monotonic()

    def check(detail: str, remedy: str = "") -> Check:
        milliseconds = round((time.monotonic() - started) * 1000)
        return Check(name, milliseconds, detail, remedy)

    try:
        return check(bounded(seconds, look))
    except Failed as error:
        return check(str(error), error.remedy)
    except TookTooLong as error:
        return check(f"{error}.", "Try again; if it stays so, look for an outage or a firewall.")
    except Exception as error:  # whatever it is, it is a finding; only its kind is safe to tell
        event(ERROR, "unforeseen error", trace=error, error=type(error).__name__)
        return check(f"{type(error).__name__}.", "The app's log has the whole error.")


def _settings() -> str:
    """Read all; those that the host was told when it loaded the app are compared as well."""
    try:
        settings = app_settings.current()
    except SettingsError as error:
        remedy = "Correct these app settings; the app restarts by itself."
        raise Failed(f"{error}.", remedy) from error
    return (
        f"Graph is {settings.graph_root}, {settings.graph_api_version}. The host was told the "
        "HTTP_AUTH_LEVEL and SWEEP_SCHEDULE that are set."
    )


def _token() -> str:
    try:
        claims = graph.shared().identity(Deadline(TOKEN_SECONDS))
    except graph.GraphDenied as error:
        raise Failed(_sentence(error), error.remedy) from error
    except graph.GraphError as error:
        remedy = (
            "Try again. If it stays so, switch on the app's managed identity, or assign the one in "
            "AZURE_CLIENT_ID to it."
        )
        raise Failed(_sentence(error), remedy) from error
    return f"The identity is {claims.object_id}." if claims.object_id else "There is a token."


def _permission() -> str:
    """Guess from the token's roles whether a reprocess is permitted; Graph itself decides."""
    claims = graph.shared().identity(Deadline(QUICK_SECONDS))
    if claims.roles is None:
        return "Not known: the token cannot be read."
    if WRITE in claims.roles:
        return f"The token has {WRITE}."
    if app_settings.current().sweep_access_packages:
        return (
            f"The token lacks {WRITE}; catalog roles, which a token does not show, may stand for "
            "it, since SWEEP_ACCESS_PACKAGES is set."
        )
    only = f"only {READ}, which does not allow a reprocess"
    seen = only if READ in claims.roles else f"no {WRITE}"
    raise Failed(
        f"The token has {seen}. That is a guess from its roles, Graph itself decides; a role just "
        "granted is in the next token, which may take a day.",
        f"{_grant(claims.object_id or "<the identity's object id>")} {ELSEWHERE}",
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
    """Read the first failed request, as a sweep would: of all, or of each access package."""
    packages = app_settings.current().sweep_access_packages
    deadline = Deadline(GRAPH_SECONDS - 1)
    if packages:
        return _packages(packages, deadline)
    error = _listed(None, deadline)
    if error:
        raise Failed(_sentence(error), _remedy(error))
    return "Failed requests can be listed."


def _packages(packages: Sequence[str], deadline: Deadline) -> str:
    """Try each access package, a few at once, for as long as there is time."""

    def try_one(package: str) -> graph.GraphError | str | None:
        error = _listed(package, deadline.within(PACKAGE_SECONDS))
        late = isinstance(error, graph.GraphTimeout) and not deadline.left()
        return UNTRIED if late else error

    with ThreadPoolExecutor(AT_ONCE) as pool:
        # Each thread logs as part of this invocation, so each has a copy of its context.
        trials = [pool.submit(contextvars.copy_context().run, try_one, one) for one in packages]
        ends = {one: trial.result() for one, trial in zip(packages, trials, strict=True)}
    errors = {one: end for one, end in ends.items() if isinstance(end, graph.GraphError)}
    untried = sum(end == UNTRIED for end in ends.values())
    listed = len(packages) - len(errors) - untried
    counts = f"Failed requests can be listed in {listed} of {len(packages)} access packages."
    if untried:
        counts += f" {untried} could not be tried in time."
    if errors:
        first = next(iter(errors.values()))
        how = f"{counts} Not in {', '.join(errors)}. Of the first: {_sentence(first)}"
        raise Failed(how, _remedy(first))
    if not listed:
        raise Failed(counts, LATER)
    return counts


def _listed(package: str | None, deadline: Deadline) -> graph.GraphError | None:
    """Ask for the first failed request; return why it cannot be had."""
    try:
        next(graph.shared().failed(deadline, package), None)
    except graph.GraphError as error:
        return error
    return None


def _remedy(error: graph.GraphError) -> str:
    if isinstance(error, graph.GraphDenied):
        return f"{error.remedy} {ELSEWHERE}"
    if isinstance(error, graph.GraphRefused):
        return "Check that SWEEP_ACCESS_PACKAGES names access packages of this tenant."
    return LATER


def _sentence(error: graph.GraphError) -> str:
    code = f" ({error.code})" if error.code else ""
    return f"{error.detail.rstrip('.')}{code}."


def _table() -> str:
    """Read a row; write one and remove it."""
    settings = app_settings.current()
    deadline = Deadline(TABLE_SECONDS - 1)
    try:
        attempts.shared().last_sweep(deadline)
        attempts.shared().check_writable(deadline)
    except AzureError as error:
        status = getattr(error, "status_code", None)
        how = f"HTTP {status}" if status else type(error).__name__
        raise Failed(
            f"The table {settings.attempts_table} cannot be read and written ({how}).",
            "Check AzureWebJobsStorage, and give the managed identity the role Storage Table Data "
            "Contributor on the storage account; without the table no sweep changes anything.",
        ) from error
    if settings.storage_connection or settings.storage_table_uri:
        return f"The table {settings.attempts_table} can be read and written."
    return "No storage account is configured: attempts are kept in memory."
