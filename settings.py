"""Every app setting, declared once: its name, what it may be, its default, and what it means.

Not for: how a text is read or refused (setting_kinds.py), nor what the Functions host reads for
itself (host.json).

Settings are read at first use, never at import, and all checked together: one error names them all.
The two exceptions are what the host is told when it loads the app, `auth_level` and
`sweep_schedule`. Both fall back to the safe default; `load` then says what was wrong, and `current`
says so where the host was told something else than what is set now.
"""

from __future__ import annotations

import difflib
import functools
import os
import threading
import uuid
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, NamedTuple

import setting_kinds as kinds
from setting_kinds import Choice, Guid, Guids, Kind, TableService, Text, Whole, Wrong

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

is_guid = kinds.is_guid
webhook_key = kinds.webhook_key


class _Cloud(NamedTuple):
    graph: str  # a token is asked for, and sent to, this root only
    storage: str  # where an account that is told by its name has its services


# https://learn.microsoft.com/graph/deployments, and the storage pages of the clouds.
_CLOUDS = {
    "global": _Cloud("https://graph.microsoft.com", "core.windows.net"),
    "usgov": _Cloud("https://graph.microsoft.us", "core.usgovcloudapi.net"),
    "usgov-dod": _Cloud("https://dod-graph.microsoft.us", "core.usgovcloudapi.net"),
    "china": _Cloud("https://microsoftgraph.chinacloudapi.cn", "core.chinacloudapi.cn"),
}
# What names the storage account. The first that is set counts, and the others are not looked at:
# beside an identity's settings Terraform writes connection strings that do not work.
_ACCOUNT = (
    "AzureWebJobsStorage__tableServiceUri",
    "AzureWebJobsStorage__accountName",
    "AzureWebJobsStorage__blobServiceUri",
    "AzureWebJobsStorage",
)
# Whose unknown names are refused: a misspelt SWEEP_DRY_RUN must not run for real, a misspelt
# WEBHOOK_SECRETS not leave the webhook without its signatures.
_FAMILIES = ("SWEEP_", "WEBHOOK_", "STATUS_LINK_", "NOTIFY_", "CALLER_")
_MISSPELT = 0.9  # so alike one of ours (difflib's ratio) is no other program's name
# One of them is there on Azure; on Flex Consumption it is not the first. The Functions host itself
# tells by them where it runs (Azure/azure-functions-host, EnvironmentExtensions.cs).
_ON_AZURE = ("WEBSITE_INSTANCE_ID", "WEBSITE_POD_NAME", "LEGION_SERVICE_HOST")
_FOREIGN = {"NOTIFY_SOCKET"}  # systemd's


class SettingsError(Exception):
    """One or several settings are wrong; `problems` has one sentence for each, secrets left out."""

    def __init__(self, problems: list[str]) -> None:
        """Keep the sentences, in the order in which the settings are declared."""
        super().__init__("; ".join(problems))
        self.problems = problems


class Declared(NamedTuple):
    """One setting as it is declared; unset, its text is `default`."""

    name: str
    default: str
    meaning: str
    kind: Kind[Any]
    attribute: str = ""  # of Settings


def _setting[T](kind: Kind[T], meaning: str, *, default: str = "", name: str = "") -> T:
    """Declare a setting; its name is the field's own in upper case unless another one is given."""
    meaning += f" ({kind.limits})" if kind.limits else ""
    declared: T = field(
        repr=not kind.secret, metadata={"declared": Declared(name, default, meaning, kind)}
    )
    return declared


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings, checked."""

    graph_cloud: str = _setting(
        Choice(*_CLOUDS),
        "`global`, `usgov` (L4), `usgov-dod` (L5), `china`: Graph root and token audience together",
        default="global",
    )
    graph_api_version: str = _setting(Choice("v1.0", "beta"), "`v1.0` or `beta`", default="v1.0")
    graph_requests_path: str = _setting(
        Choice("assignmentRequests", "accessPackageAssignmentRequests"),
        "or `accessPackageAssignmentRequests`, the path being retired (beta only)",
        default="assignmentRequests",
    )
    graph_endpoint: str | None = _setting(
        kinds.LoopbackEndpoint(),
        "another Graph root for tests and local runs; only a loopback address is accepted",
    )
    azure_client_id: str | None = _setting(
        Guid(),
        "client id of a user-assigned identity to call Graph; without it the system-assigned one",
    )
    http_auth_level: str = _setting(
        Text("function|anonymous", "function or anonymous"),
        "`function` (function key) or `anonymous` (App Service authentication stands in front)",
        default="function",
    )
    caller_role: str = _setting(
        kinds.APP_ROLE,
        "app role that a caller's token must carry under `anonymous`",
        default="Requests.Reprocess",
    )
    webhook_secrets: tuple[str, ...] = _setting(
        kinds.WebhookSecrets(),
        "one or several secrets of at least 24 bytes, comma separated, newest first",
    )
    webhook_request_id_pointer: str = _setting(
        kinds.JSON_POINTER,
        "JSON Pointer (RFC 6901) to the request id in a webhook's body",
        default="/requestId",
    )
    http_budget_seconds: int = _setting(
        Whole(1, 200),
        "longest that one HTTP call spends on Graph, its retries included",
        default="60",
    )
    status_retry_after_seconds: int = _setting(
        Whole(1, 3600), "what pollers are told to wait", default="30"
    )
    status_link_secret: str = _setting(
        kinds.Secret(least=32),  # RFC 2104 discourages keys shorter than the hash
        "at least 32 bytes; signs the status links of 202 answers, so that callers can poll "
        "without credentials of their own",
    )
    status_link_hours: int = _setting(Whole(1, 720), "how long such a link works", default="24")
    sweep_schedule: str = _setting(kinds.NCRONTAB, "NCRONTAB, UTC", default="0 */15 * * * *")
    sweep_dry_run: bool = _setting(kinds.Flag(), "plan and report, change nothing", default="false")
    sweep_access_packages: tuple[str, ...] = _setting(
        Guids(most=1000),
        "ids, comma separated: sweep these only; needed when the identity holds catalog roles only",
    )
    sweep_window_days: int = _setting(
        Whole(1, 365), "how long after completion Graph accepts a reprocess", default="14"
    )
    sweep_min_age_minutes: int = _setting(
        Whole(0, 10080),
        "leave a fresh failure to the service's own retries for this long",
        default="15",
    )
    sweep_cooldown_minutes: int = _setting(
        Whole(1, 10080), "wait after the first attempt; doubles with each", default="60"
    )
    sweep_cooldown_max_minutes: int = _setting(
        Whole(1, 43200),
        "longest of these waits; up to a fifth is added, always the same for a request",
        default="1440",
    )
    sweep_max_attempts: int = _setting(
        Whole(1, 1000),
        "then the request is given up and reported; by default the window ends first",
        default="20",
    )
    sweep_max_requests: int = _setting(
        Whole(1, 1000000), "most requests tried in one sweep", default="10000"
    )
    sweep_budget_seconds: int = _setting(
        Whole(1, 1740),  # a minute less than host.json's functionTimeout
        "a sweep starts nothing new after this",
        default="1500",
    )
    graph_batch_size: int = _setting(
        Whole(1, 20), "requests in one `$batch`; 1 means single calls", default="20"
    )
    graph_concurrency: int = _setting(Whole(1, 64), "batches in flight at most", default="8")
    attempts_table: str = _setting(
        kinds.TABLE_NAME,
        "table of the attempts in the app's storage account, created when it is missing",
        default="reprocessAttempts",
    )
    storage_table_service: str | None = _setting(
        TableService("table"),
        "the storage account by its table service, `https://<account>.table.core.windows.net`",
        name="AzureWebJobsStorage__tableServiceUri",
    )
    storage_account: str = _setting(
        kinds.STORAGE_ACCOUNT,
        "or by its name, in the storage of the `GRAPH_CLOUD`",
        name="AzureWebJobsStorage__accountName",
    )
    storage_blob_service: str | None = _setting(
        TableService("blob"),
        "or by its blob service, from whose address that of the table service is derived",
        name="AzureWebJobsStorage__blobServiceUri",
    )
    storage_connection: str = _setting(
        kinds.ConnectionString(),
        "or by a connection string with its key; where one of the other three is set, the managed "
        "identity is used and this is not",
        name="AzureWebJobsStorage",
    )
    storage_credential: str = _setting(
        Choice("managedidentity"),
        "`managedidentity`, as the Functions host wants it where there is no connection string",
        name="AzureWebJobsStorage__credential",
    )
    storage_client_id: str | None = _setting(
        Guid(),
        "client id of a user-assigned managed identity for the storage account; without it the "
        "system-assigned one, whatever `AZURE_CLIENT_ID` says",
        name="AzureWebJobsStorage__clientId",
    )
    notify_url: str = _setting(
        kinds.SecretUrl(), "where give-ups are sent, https only; kept secret, as its query may sign"
    )
    notify_format: str = _setting(
        Choice("cloudevents", "teams"), "`cloudevents` or `teams`", default="cloudevents"
    )

    @property
    def graph_root(self) -> str:
        """The only address that a Graph token is sent to, without a trailing slash."""
        return self.graph_endpoint or _CLOUDS[self.graph_cloud].graph

    @property
    def token_scope(self) -> str:
        """What a token is asked for: always the cloud's own Graph, also with `GRAPH_ENDPOINT`."""
        return _CLOUDS[self.graph_cloud].graph + "/.default"

    @property
    def storage_table_uri(self) -> str | None:
        """The table service that the managed identity calls; None where it does not."""
        by_name = f"https://{self.storage_account}.table.{_CLOUDS[self.graph_cloud].storage}"
        named = by_name if self.storage_account else None
        return self.storage_table_service or named or self.storage_blob_service

    @staticmethod
    def declared() -> list[Declared]:
        """Return every setting as it is declared, in the order of the README's table."""
        found = [(one.name, one.metadata["declared"]) for one in fields(Settings)]
        return [one._replace(name=one.name or at.upper(), attribute=at) for at, one in found]


_DECLARED = {one.name: one for one in Settings.declared()}
_told: dict[str, str] = {}  # what the host was told when it loaded the app, by setting
_reading = threading.Lock()


def auth_level() -> str:
    """Return the level to tell the host at load: `function` unless plainly `anonymous`."""
    return _tell("HTTP_AUTH_LEVEL")


def sweep_schedule() -> str:
    """Return the schedule to tell the host at load."""
    return _tell("SWEEP_SCHEDULE")


def caller_role(environ: Mapping[str, str] = os.environ) -> str | None:
    """Return the app role that a caller must carry; None when it is set wrongly: then nobody may.

    Read apart from the rest, so that an unknown caller learns nothing of wrong settings.
    """
    return _alone("CALLER_ROLE", environ)


def current() -> Settings:
    """Return this process's settings, read once.

    Raises SettingsError when some are wrong, and while the host was told something else than is set
    now: on Flex Consumption settings have been missing while the app was loaded
    (https://github.com/Azure/azure-functions-python-worker/issues/1770). Then nothing is kept, and
    the next call reads again.
    """
    with _reading:
        problems = _told_otherwise()
        try:
            settings = _read_once()
        except SettingsError as error:
            problems = error.problems + problems
        if problems:
            _read_once.cache_clear()
            raise SettingsError(problems)
        return settings


@functools.cache
def _read_once() -> Settings:
    return load(os.environ)


def load(environ: Mapping[str, str]) -> Settings:
    """Read and check all settings. Raises SettingsError naming every problem at once."""
    texts = _texts(environ)
    values: dict[str, Any] = {}
    wrong: dict[str, str] = {}  # by name
    for one in _DECLARED.values():
        try:
            values[one.attribute] = one.kind.read(texts[one.name] or one.default)
        except Wrong as error:
            wrong[one.name] = f"{one.name} {error}"
            values[one.attribute] = one.kind.read(one.default)
    settings = Settings(**values)
    for name, other, should_be in _contradictions(settings):
        if name not in wrong and other not in wrong:
            shown = texts[name] or _DECLARED[name].default
            wrong[name] = f"{name} is {shown!r} but should be {should_be}"
    problems = [*wrong.values(), *_misspelt(environ), *_lacking(environ, texts)]
    if problems:
        raise SettingsError(problems)
    return settings


def new_id() -> str:
    """Return a fresh GUID, as Graph wants it in `client-request-id`."""
    return str(uuid.uuid4())


def _text(environ: Mapping[str, str], name: str) -> str:
    """Return a setting's text without blanks around it, empty when it is unset.

    Those of the storage account are the host's too, and .NET reads their names in any case.
    """
    spelt = [name]
    if name.startswith("AzureWebJobsStorage"):
        spelt += sorted(one for one in environ if one.lower() == name.lower())
    return next((text for one in spelt if (text := environ.get(one, "").strip())), "")


def _texts(environ: Mapping[str, str]) -> dict[str, str]:
    """Return every setting's text by name, with one text at most that names the account."""
    texts = {name: _text(environ, name) for name in _DECLARED}
    account = next((name for name in _ACCOUNT if texts[name]), None)
    return texts | dict.fromkeys({*_ACCOUNT} - {account}, "")


def _alone(name: str, environ: Mapping[str, str]) -> str | None:
    """Return one setting, read apart from the rest; None when it is wrong."""
    try:
        return str(_DECLARED[name].kind.read(_text(environ, name) or _DECLARED[name].default))
    except Wrong:
        return None


def _safe(name: str) -> str:
    """Return one setting of this process, or its default when it is wrong."""
    return _alone(name, os.environ) or _DECLARED[name].default


def _tell(name: str) -> str:
    """Return what the host is told, which is what it was told first."""
    with _reading:
        return _told.setdefault(name, _safe(name))


def _told_otherwise() -> list[str]:
    """Return a sentence for each setting of which the host was told something else than is set."""
    return [
        f"{name} means {now!r} now, but the host was told {told!r} when it loaded the app: "
        "restart the app"
        for name, told in _told.items()
        if (now := _safe(name)) != told
    ]


def _contradictions(settings: Settings) -> Iterator[tuple[str, str, str]]:
    """Yield what cannot be meant: a setting, the one that it contradicts, what would be right."""
    if settings.graph_api_version == "v1.0" and settings.graph_requests_path.startswith("access"):
        right = "assignmentRequests, or GRAPH_API_VERSION should be beta"
        yield "GRAPH_REQUESTS_PATH", "GRAPH_API_VERSION", right
    first, longest = settings.sweep_cooldown_minutes, settings.sweep_cooldown_max_minutes
    if longest < first:
        right = f"at least SWEEP_COOLDOWN_MINUTES ({first})"
        yield "SWEEP_COOLDOWN_MAX_MINUTES", "SWEEP_COOLDOWN_MINUTES", right
    if settings.sweep_min_age_minutes >= settings.sweep_window_days * 1440:
        right = f"less than SWEEP_WINDOW_DAYS ({settings.sweep_window_days} days)"
        yield "SWEEP_MIN_AGE_MINUTES", "SWEEP_WINDOW_DAYS", right


def _misspelt(environ: Mapping[str, str]) -> Iterator[str]:
    """Yield a sentence for each name that looks like a setting of ours and is none."""
    own = [name for name in _DECLARED if name.isupper()]  # the others are read in any case
    for name in sorted({one for one in environ if _text(environ, one)} - {*own} - _FOREIGN):
        upper = name.upper()
        if upper.startswith(_FAMILIES) or difflib.get_close_matches(upper, own, 1, _MISSPELT):
            like = difflib.get_close_matches(upper, own, n=1)
            hint = f"; did you mean {like[0]}?" if like else ""
            yield f"{name} is not a setting of this app{hint}"


def _lacking(environ: Mapping[str, str], texts: Mapping[str, str]) -> Iterator[str]:
    """Yield a sentence when there is no storage account on Azure, where memory does not last."""
    on_azure = any(_text(environ, name) for name in _ON_AZURE)
    if on_azure and not any(texts[name] for name in _ACCOUNT):
        yield (
            "AzureWebJobsStorage__accountName, or another setting that names the storage account, "
            "should be set: on Azure no attempts are kept in memory"
        )
