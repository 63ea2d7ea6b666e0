"""Every app setting, declared once: its type, its default, and what it means.

Not for: how a text is read (setting_types.py), nor what the Functions host reads for itself
(host.json).

Settings are read at first use, never at import, and all checked together: one error names all that
are wrong. The two exceptions are what the host reads when it loads the app, `auth_level` and
`sweep_schedule`: a wrong one falls back to the default there, and `load` reports it.
"""

from __future__ import annotations

import difflib
import functools
import os
import uuid
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, NamedTuple

import setting_types as types

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

is_guid = types.is_guid
webhook_key = types.webhook_key


class _Cloud(NamedTuple):
    graph: str  # the only root that a token is requested for, and sent to
    storage: str  # the domain of a storage account that is given by its name


# https://learn.microsoft.com/graph/deployments, and the storage pages of the clouds.
_CLOUDS = {
    "global": _Cloud("https://graph.microsoft.com", "core.windows.net"),
    "usgov": _Cloud("https://graph.microsoft.us", "core.usgovcloudapi.net"),
    "usgov-dod": _Cloud("https://dod-graph.microsoft.us", "core.usgovcloudapi.net"),
    "china": _Cloud("https://microsoftgraph.chinacloudapi.cn", "core.chinacloudapi.cn"),
}
# What names the storage account. The first that is set counts, and the others are not read: beside
# an identity's settings Terraform writes connection strings that do not work
# (https://github.com/Azure/azure-functions-host/issues/11796).
_STORAGE = "AzureWebJobsStorage"
_ACCOUNT = (
    "AzureWebJobsStorage__tableServiceUri",
    "AzureWebJobsStorage__accountName",
    "AzureWebJobsStorage__blobServiceUri",
    _STORAGE,
)
# Unknown names that begin so are refused: a misspelt SWEEP_DRY_RUN must not run for real, a
# misspelt WEBHOOK_SECRETS not leave the webhook without its signatures.
_PREFIXES = ("SWEEP_", "WEBHOOK_", "STATUS_LINK_", "NOTIFY_", "CALLER_")
_MISSPELT = 0.9  # so similar to one of ours (difflib's ratio) is no other program's name
_FOREIGN = "NOTIFY_SOCKET"  # systemd's
# One of them is set on Azure; on Flex Consumption it is not the first. The Functions host itself
# tells by them where it runs (Azure/azure-functions-host, EnvironmentExtensions.cs).
_ON_AZURE = ("WEBSITE_INSTANCE_ID", "WEBSITE_POD_NAME", "LEGION_SERVICE_HOST")
_SHOWN = 80  # characters of a wrong value, at most


class SettingsError(Exception):
    """Settings are wrong; `problems` has one sentence for each, without anything of a secret."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class SettingSpec(NamedTuple):
    """How a setting is declared; `default` is its text where it is unset."""

    name: str
    attribute: str  # of Settings
    default: str
    parse: Callable[[str], Any]
    secret: bool

    def read(self, text: str) -> Any:  # noqa: ANN401 - each setting has a type of its own
        """Return the value of a text. Raises ValueError with a sentence.

        The platform leaves a reference that it could not resolve in place as the text
        (https://learn.microsoft.com/azure/app-service/app-service-key-vault-references): it is
        refused, since anybody could guess it.
        """
        if text.lower().startswith("@microsoft."):
            raise ValueError(
                f"{self.name} is a reference that the platform has not resolved: check the vault, "
                "the secret's name, and that the app's identity may read it"
            )
        try:
            return self.parse(text or self.default)
        except ValueError as error:
            # The query of a storage address may be a signature.
            safe = text.partition("?")[0] if self.name.startswith(_STORAGE) else text
            shown = "" if self.secret else f"is {safe[:_SHOWN]!r} but "
            raise ValueError(f"{self.name} {shown}should be {error}") from None


def _setting[T](
    parse: Callable[[str], T], default: str = "", *, name: str = "", secret: bool = False
) -> T:
    """Declare a setting; its name is the attribute's in upper case unless another one is given."""
    declared: T = field(
        repr=not secret, metadata={"spec": SettingSpec(name, "", default, parse, secret)}
    )
    return declared


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings, checked. The comment above each is its meaning in docs/settings.md."""

    #: `global`, `usgov` (L4), `usgov-dod` (L5), `china`: Graph root and token audience together
    graph_cloud: str = _setting(types.choice(*_CLOUDS), "global")
    #: `v1.0` or `beta`
    graph_api_version: str = _setting(types.choice("v1.0", "beta"), "v1.0")
    #: or `accessPackageAssignmentRequests`, the path being retired (beta only)
    graph_requests_path: str = _setting(
        types.choice("assignmentRequests", "accessPackageAssignmentRequests"), "assignmentRequests"
    )
    #: another Graph root for tests and local runs; only a loopback address is accepted
    graph_endpoint: str | None = _setting(types.loopback_endpoint)
    #: client id of a user-assigned identity to call Graph; without it the system-assigned one
    azure_client_id: str | None = _setting(types.guid)
    #: `function` (function key) or `anonymous` (App Service authentication stands in front)
    http_auth_level: str = _setting(
        types.pattern("function|anonymous", "function or anonymous"), "function"
    )
    #: app role that a caller's token must carry under `anonymous`
    caller_role: str = _setting(types.app_role, "Requests.Reprocess")
    #: one or several secrets of at least 24 bytes, comma separated, newest first
    webhook_secrets: tuple[str, ...] = _setting(types.webhook_secrets, secret=True)
    #: JSON Pointer (RFC 6901) to the request id in a webhook's body
    webhook_request_id_pointer: str = _setting(types.json_pointer, "/requestId")
    #: longest that one HTTP call spends on Graph, its retries included
    http_budget_seconds: int = _setting(types.integer(1, 200), "60")
    #: what pollers are told to wait
    status_retry_after_seconds: int = _setting(types.integer(1, 3600), "30")
    #: at least 32 bytes; signs the status links of 202 answers, so that callers can poll without
    #: credentials of their own
    status_link_secret: str = _setting(types.link_secret, secret=True)
    #: how long such a link works
    status_link_hours: int = _setting(types.integer(1, 720), "24")
    #: NCRONTAB, UTC
    sweep_schedule: str = _setting(types.ncrontab, "0 */15 * * * *")
    #: plan and report, change nothing
    sweep_dry_run: bool = _setting(types.boolean, "false")
    #: ids, comma separated: sweep these only; needed when the identity holds catalog roles only
    sweep_access_packages: tuple[str, ...] = _setting(types.guids)
    #: how long after completion Graph accepts a reprocess
    sweep_window_days: int = _setting(types.integer(1, 365), "14")
    #: leave a fresh failure to the service's own retries for this long
    sweep_min_age_minutes: int = _setting(types.integer(0, 10080), "15")
    #: wait after the first attempt; doubles with each
    sweep_cooldown_minutes: int = _setting(types.integer(1, 10080), "60")
    #: longest of these waits; up to a fifth is added, always the same for a request
    sweep_cooldown_max_minutes: int = _setting(types.integer(1, 43200), "1440")
    #: then the request is given up and reported; by default the window ends first
    sweep_max_attempts: int = _setting(types.integer(1, 1000), "20")
    #: most requests tried in one sweep
    sweep_max_requests: int = _setting(types.integer(1, 1000000), "10000")
    # A minute less than host.json's functionTimeout.
    #: a sweep starts nothing new after this
    sweep_budget_seconds: int = _setting(types.integer(1, 1740), "1500")
    #: requests in one `$batch`; 1 means single calls
    graph_batch_size: int = _setting(types.integer(1, 20), "20")
    #: batches in flight at most
    graph_concurrency: int = _setting(types.integer(1, 64), "8")
    #: table of the attempts in the app's storage account, created when it is missing
    attempts_table: str = _setting(types.table_name, "reprocessAttempts")
    #: the storage account by its table service, `https://<account>.table.core.windows.net`
    storage_table_service: str | None = _setting(types.table_service, name=_ACCOUNT[0])
    #: or by its name, in the storage of the `GRAPH_CLOUD`
    storage_account: str = _setting(types.storage_account, name=_ACCOUNT[1])
    #: or by its blob service, from whose address that of the table service is derived
    storage_blob_service: str | None = _setting(types.blob_service, name=_ACCOUNT[2])
    #: or by a connection string with its key; where one of the other three is set, the managed
    #: identity is used and this is not
    storage_connection: str = _setting(types.connection_string, name=_STORAGE, secret=True)
    #: `managedidentity`, as the Functions host wants it where there is no connection string
    storage_credential: str = _setting(
        types.choice("managedidentity"), name=f"{_STORAGE}__credential"
    )
    #: client id of a user-assigned managed identity for the storage account; without it the
    #: system-assigned one, whatever `AZURE_CLIENT_ID` says
    storage_client_id: str | None = _setting(types.guid, name=f"{_STORAGE}__clientId")
    #: where give-ups are sent, https only; kept secret, as its query may sign
    notify_url: str = _setting(types.url, secret=True)
    #: `cloudevents` or `teams`
    notify_format: str = _setting(types.choice("cloudevents", "teams"), "cloudevents")

    @property
    def graph_root(self) -> str:
        """The only address that a Graph token is sent to, without a trailing slash."""
        return self.graph_endpoint or _CLOUDS[self.graph_cloud].graph

    @property
    def token_scope(self) -> str:
        """The scope of a Graph token: always the cloud's own, also with `GRAPH_ENDPOINT`."""
        return _CLOUDS[self.graph_cloud].graph + "/.default"

    @property
    def storage_table_uri(self) -> str | None:
        """The table service that the managed identity calls; None where it does not."""
        by_name = f"https://{self.storage_account}.table.{_CLOUDS[self.graph_cloud].storage}"
        named = by_name if self.storage_account else None
        return self.storage_table_service or named or self.storage_blob_service

    @staticmethod
    def declared() -> list[SettingSpec]:
        """Return every setting as it is declared, in the order of docs/settings.md."""
        return [
            one.metadata["spec"]._replace(
                name=one.metadata["spec"].name or one.name.upper(), attribute=one.name
            )
            for one in fields(Settings)
        ]


_SPECS = {spec.name: spec for spec in Settings.declared()}
# What the host read when it loaded the app, by setting: the text, and what it stands for.
_host_values: dict[str, tuple[str, str]] = {}


def auth_level() -> str:
    """Return the level for the host to load: `function` unless it is plainly `anonymous`."""
    return _host_value("HTTP_AUTH_LEVEL")


def sweep_schedule() -> str:
    """Return the schedule for the host to load: the default where it is a wrong one."""
    return _host_value("SWEEP_SCHEDULE")


def caller_role(environ: Mapping[str, str] = os.environ) -> str | None:
    """Return the app role that a caller must carry; None when it is set wrongly: then nobody may.

    Read apart from the rest, so that an unknown caller learns nothing of wrong settings.
    """
    return _read_one("CALLER_ROLE", environ)


def current() -> Settings:
    """Return this process's settings, read once.

    Raises SettingsError when some are wrong, or are others than the host has read: on Flex
    Consumption settings have been missing while the app was loaded
    (https://github.com/Azure/azure-functions-python-worker/issues/1770). Then nothing is kept, and
    the next call reads again.
    """
    changed = [
        f"{name} is {now!r} now, but the host read {at_load!r} at startup: restart the app"
        for name, (text, at_load) in _host_values.items()
        if _text(os.environ, name) != text and (now := _valid_or_default(name)) != at_load
    ]
    try:
        settings = _load_once()
    except SettingsError as error:
        raise SettingsError(error.problems + changed) from None
    if changed:
        _load_once.cache_clear()
        raise SettingsError(changed)
    return settings


@functools.cache
def _load_once() -> Settings:
    return load(os.environ)


def load(environ: Mapping[str, str]) -> Settings:
    """Read and check all settings. Raises SettingsError naming every problem at once."""
    texts = {name: _text(environ, name) for name in _SPECS}
    account = next((name for name in _ACCOUNT if texts[name]), None)
    texts |= dict.fromkeys({*_ACCOUNT} - {account}, "")
    values: dict[str, Any] = {}
    wrong: dict[str, str] = {}  # a sentence, by name
    for name, spec in _SPECS.items():
        try:
            values[spec.attribute] = spec.read(texts[name])
        except ValueError as error:
            wrong[name] = str(error)
            values[spec.attribute] = spec.read("")
    settings = Settings(**values)
    for name, other, should_be in _conflicts(settings):
        if name not in wrong and other not in wrong:
            shown = texts[name] or _SPECS[name].default
            wrong[name] = f"{name} is {shown!r} but should be {should_be}"
    problems = [*wrong.values(), *_unknown(environ)]
    if not account and any(_text(environ, name) for name in _ON_AZURE):
        problems.append(  # there memory ends with the instance, and each instance has its own
            f"{_STORAGE}__accountName, or another setting that names the storage account, "
            "should be set: on Azure no attempts are kept in memory"
        )
    if problems:
        raise SettingsError(problems)
    return settings


def new_id() -> str:
    """Return a new GUID."""
    return str(uuid.uuid4())


def _text(environ: Mapping[str, str], name: str) -> str:
    """Return a setting's text without blanks around it, empty when it is unset.

    Those of the storage account are the host's too, and .NET reads their names in any case.
    """
    names = [name]
    if name.startswith(_STORAGE):
        names += sorted(one for one in environ if one.lower() == name.lower())
    return next((text for one in names if (text := environ.get(one, "").strip())), "")


def _read_one(name: str, environ: Mapping[str, str]) -> str | None:
    """Return one setting, read apart from the rest; None when it is wrong."""
    try:
        return str(_SPECS[name].read(_text(environ, name)))
    except ValueError:
        return None


def _valid_or_default(name: str) -> str:
    return _read_one(name, os.environ) or _SPECS[name].default


def _host_value(name: str) -> str:
    """Return what the host reads when it loads the app: the first value for the whole process."""
    return _host_values.setdefault(name, (_text(os.environ, name), _valid_or_default(name)))[1]


def _conflicts(settings: Settings) -> Iterator[tuple[str, str, str]]:
    """Yield conflicting settings: one, the other, and what would be right for the first."""
    if settings.graph_api_version == "v1.0" and settings.graph_requests_path.startswith("access"):
        right = "assignmentRequests, or GRAPH_API_VERSION should be beta"
        yield "GRAPH_REQUESTS_PATH", "GRAPH_API_VERSION", right
    window = settings.sweep_window_days
    in_window = f"less than SWEEP_WINDOW_DAYS ({window} days)"
    first = settings.sweep_cooldown_minutes
    if first >= window * 1440:
        yield "SWEEP_COOLDOWN_MINUTES", "SWEEP_WINDOW_DAYS", in_window
    if settings.sweep_cooldown_max_minutes < first:
        right = f"at least SWEEP_COOLDOWN_MINUTES ({first})"
        yield "SWEEP_COOLDOWN_MAX_MINUTES", "SWEEP_COOLDOWN_MINUTES", right
    if settings.sweep_min_age_minutes >= window * 1440:
        yield "SWEEP_MIN_AGE_MINUTES", "SWEEP_WINDOW_DAYS", in_window


def _unknown(environ: Mapping[str, str]) -> Iterator[str]:
    """Yield a sentence for each name that looks like a setting of ours and is none."""
    own = [name for name in _SPECS if name.isupper()]  # the others are read in any case
    for name in sorted({one for one in environ if environ[one].strip()} - {*own, _FOREIGN}):
        upper = name.upper()
        if upper.startswith(_PREFIXES) or difflib.get_close_matches(upper, own, 1, _MISSPELT):
            like = difflib.get_close_matches(upper, own, n=1)
            hint = f"; did you mean {like[0]}?" if like else ""
            yield f"{name} is not a setting of this app{hint}"
