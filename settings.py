"""Every app setting: its name, what it may be, its default.

Not for: what the Functions host reads for itself (host.json).
Settings are read at first use, never at import, and all checked together: one error names them all.
The two exceptions are what the host must know when it loads the app, `auth_level` and
`sweep_schedule`; both fall back to the safe default, and `load` then says what was wrong.
"""

from __future__ import annotations

import difflib
import functools
import ipaddress
import os
import re
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

# https://learn.microsoft.com/graph/deployments: a token is asked for, and sent to, this root only.
GRAPH_ROOTS = {
    "global": "https://graph.microsoft.com",
    "usgov": "https://graph.microsoft.us",
    "usgov-dod": "https://dod-graph.microsoft.us",
    "china": "https://microsoftgraph.chinacloudapi.cn",
}
# https://learn.microsoft.com/azure/storage/common/storage-account-overview and the clouds' own
# pages: where an account named by AzureWebJobsStorage__accountName has its tables.
STORAGE_SUFFIXES = {
    "global": "core.windows.net",
    "usgov": "core.usgovcloudapi.net",
    "usgov-dod": "core.usgovcloudapi.net",
    "china": "core.chinacloudapi.cn",
}
_TABLE_SERVICE = re.compile(
    r"https://[a-z0-9]{3,24}(-[a-z0-9]+)?\.(z[0-9]{1,2}\.)?table\."
    r"(core\.windows\.net|core\.usgovcloudapi\.net|core\.chinacloudapi\.cn|storage\.azure\.net)"
)
DEFAULT_SCHEDULE = "0 */15 * * * *"
_NCRONTAB = re.compile(r"[0-9A-Za-z*/,\-]+( +[0-9A-Za-z*/,\-]+){5}")
_GUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


class SettingsError(Exception):
    """One or several settings are wrong; `problems` has one sentence for each, secrets left out."""

    def __init__(self, problems: list[str]) -> None:
        """Keep the sentences, in the order in which the settings are documented."""
        super().__init__("; ".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings, checked. Names are the app settings' own, in lower case."""

    graph_cloud: str
    graph_api_version: str
    graph_requests_path: str
    graph_endpoint: str | None
    azure_client_id: str | None
    http_budget_seconds: int
    status_retry_after_seconds: int
    sweep_dry_run: bool
    sweep_access_packages: tuple[str, ...]
    sweep_window_days: int
    sweep_min_age_minutes: int
    sweep_cooldown_minutes: int
    sweep_cooldown_max_minutes: int
    sweep_max_attempts: int
    sweep_max_requests: int
    sweep_budget_seconds: int
    graph_batch_size: int
    graph_concurrency: int
    attempts_table: str
    storage_connection: str = field(repr=False)
    storage_table_uri: str | None
    storage_client_id: str | None

    @property
    def graph_root(self) -> str:
        """The only address that a token is sent to, without a trailing slash."""
        return self.graph_endpoint or GRAPH_ROOTS[self.graph_cloud]

    @property
    def token_scope(self) -> str:
        """What a token is asked for: always the cloud's own Graph, also with `GRAPH_ENDPOINT`."""
        return GRAPH_ROOTS[self.graph_cloud] + "/.default"


def is_guid(text: str) -> bool:
    """Tell whether `text` is a GUID in 8-4-4-4-12 form, any case, ASCII only."""
    return _GUID.fullmatch(text) is not None


def auth_level(environ: Mapping[str, str] = os.environ) -> str:
    """Return the level that the host is told at load: `function` unless plainly `anonymous`."""
    return "anonymous" if _text(environ, "HTTP_AUTH_LEVEL") == "anonymous" else "function"


def sweep_schedule(environ: Mapping[str, str] = os.environ) -> str:
    """Return the NCRONTAB schedule (UTC) that the host is told at load."""
    schedule = _text(environ, "SWEEP_SCHEDULE")
    return schedule if _NCRONTAB.fullmatch(schedule) else DEFAULT_SCHEDULE


@functools.cache
def current() -> Settings:
    """Return this process's settings, read once.

    Raises SettingsError; then nothing is kept, and the next call reads again.
    """
    return load(os.environ)


def load(environ: Mapping[str, str]) -> Settings:
    """Read and check all settings. Raises SettingsError naming every problem at once."""
    read = _Reader(environ)
    settings = Settings(
        graph_cloud=read.choice("GRAPH_CLOUD", "global", tuple(GRAPH_ROOTS)),
        graph_api_version=read.choice("GRAPH_API_VERSION", "v1.0", ("v1.0", "beta")),
        graph_requests_path=read.choice(
            "GRAPH_REQUESTS_PATH",
            "assignmentRequests",
            ("assignmentRequests", "accessPackageAssignmentRequests"),
        ),
        graph_endpoint=read.loopback("GRAPH_ENDPOINT"),
        azure_client_id=next(iter(read.guids("AZURE_CLIENT_ID", most=1)), None),
        http_budget_seconds=read.whole("HTTP_BUDGET_SECONDS", 60, 1, 200),
        status_retry_after_seconds=read.whole("STATUS_RETRY_AFTER_SECONDS", 30, 1, 3600),
        sweep_dry_run=read.choice("SWEEP_DRY_RUN", "false", ("false", "true")) == "true",
        sweep_access_packages=read.guids("SWEEP_ACCESS_PACKAGES", most=1000),
        sweep_window_days=read.whole("SWEEP_WINDOW_DAYS", 14, 1, 365),
        sweep_min_age_minutes=read.whole("SWEEP_MIN_AGE_MINUTES", 15, 0, 10080),
        sweep_cooldown_minutes=read.whole("SWEEP_COOLDOWN_MINUTES", 60, 1, 10080),
        sweep_cooldown_max_minutes=read.whole("SWEEP_COOLDOWN_MAX_MINUTES", 1440, 1, 43200),
        sweep_max_attempts=read.whole("SWEEP_MAX_ATTEMPTS", 10, 1, 1000),
        sweep_max_requests=read.whole("SWEEP_MAX_REQUESTS", 10000, 1, 1000000),
        sweep_budget_seconds=read.whole("SWEEP_BUDGET_SECONDS", 1500, 1, 1740),
        graph_batch_size=read.whole("GRAPH_BATCH_SIZE", 20, 1, 20),
        graph_concurrency=read.whole("GRAPH_CONCURRENCY", 8, 1, 64),
        attempts_table=read.table_name("ATTEMPTS_TABLE", "reprocessAttempts"),
        storage_connection=read.connection_string("AzureWebJobsStorage"),
        storage_table_uri=read.table_service(),
        storage_client_id=next(iter(read.guids("AzureWebJobsStorage__clientId", most=1)), None),
    )
    read.loaded_by_the_host()
    read.contradictions(settings)
    read.misspelt_sweep_settings()
    if read.problems:
        raise SettingsError(read.problems)
    return settings


def _text(environ: Mapping[str, str], name: str) -> str:
    """Return a setting's text; the portal stores an emptied setting as an empty one: unset."""
    return environ.get(name, "").strip()


def _is_loopback(host: str) -> bool:
    """Tell whether a host is this machine."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class _Reader:
    """Reads one setting after the other and collects what is wrong instead of stopping at it."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self.problems: list[str] = []

    def wrong(self, name: str, should_be: str) -> None:
        """Note a problem. None of these settings is a secret, so the value is shown, cut short."""
        value = _text(self.environ, name)
        self.problems.append(f"{name} is {value[:80]!r} but should be {should_be}")

    def choice(self, name: str, default: str, choices: tuple[str, ...]) -> str:
        value = _text(self.environ, name) or default
        for choice in choices:
            if value.lower() == choice.lower():
                return choice
        self.wrong(name, "one of " + ", ".join(choices))
        return default

    def whole(self, name: str, default: int, least: int, most: int) -> int:
        value = _text(self.environ, name)
        if not value:
            return default
        if re.fullmatch(r"[0-9]{1,9}", value) and least <= int(value) <= most:
            return int(value)
        self.wrong(name, f"a whole number from {least} to {most}")
        return default

    def guids(self, name: str, most: int) -> tuple[str, ...]:
        value = _text(self.environ, name)
        ids = tuple(part.strip().lower() for part in value.split(",")) if value else ()
        if len(ids) > most or not all(map(is_guid, ids)):
            self.wrong(name, "a GUID" if most == 1 else f"GUIDs, comma separated, at most {most}")
            return ()
        return tuple(dict.fromkeys(ids))

    def loopback(self, name: str) -> str | None:
        value = _text(self.environ, name).rstrip("/")
        if not value:
            return None
        try:
            parts = urlsplit(value)
            local = _is_loopback(parts.hostname or "")
            plain = value == f"{parts.scheme}://{parts.netloc}" and "@" not in parts.netloc
            usable = parts.scheme in {"http", "https"} and parts.port != 0
        except ValueError:
            local = plain = usable = False
        if local and plain and usable:
            return value
        self.wrong(name, "unset, or http(s)://<loopback address>:<port> without a path")
        return None

    def table_name(self, name: str, default: str) -> str:
        """Return a table's name, as Table Storage admits it."""
        value = _text(self.environ, name) or default
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9]{2,62}", value):
            self.wrong(name, "3 to 63 letters and digits, beginning with a letter")
        return value

    def connection_string(self, name: str) -> str:
        """Return a storage account's connection string, which is a secret: never shown."""
        value = _text(self.environ, name)
        pairs = [part.partition("=") for part in value.rstrip(";").split(";")]
        names = {name.lower() for name, _, _ in pairs}
        whole = all(text for _, _, text in pairs) and (
            {"accountname", "accountkey"} <= names
            or {"tableendpoint", "sharedaccesssignature"} <= names
        )
        if value and not whole and value.lower() != "usedevelopmentstorage=true":
            self.problems.append(
                f"{name} is not shown but should be a storage account's connection string, or "
                f"unset, with {name}__tableServiceUri or {name}__accountName in its place"
            )
        return value

    def table_service(self) -> str | None:
        """Return the table service that the managed identity's token may be sent to."""
        name = "AzureWebJobsStorage__tableServiceUri"
        value = _text(self.environ, name).rstrip("/")
        if value:
            local = re.fullmatch(r"https://(127\.0\.0\.1|localhost):[0-9]{1,5}/[a-z0-9]+", value)
            if local or _TABLE_SERVICE.fullmatch(value):
                return value
            self.wrong(name, "https://<account>.table.core.windows.net, or your cloud's form of it")
            return None
        name = "AzureWebJobsStorage__accountName"
        account = _text(self.environ, name)
        if account and not re.fullmatch(r"[a-z0-9]{3,24}", account):
            self.wrong(name, "a storage account's name, 3 to 24 small letters and digits")
            return None
        cloud = _text(self.environ, "GRAPH_CLOUD").lower()
        suffix = STORAGE_SUFFIXES.get(cloud, STORAGE_SUFFIXES["global"])
        return f"https://{account}.table.{suffix}" if account else None

    def loaded_by_the_host(self) -> None:
        level = _text(self.environ, "HTTP_AUTH_LEVEL")
        if level not in {"", "function", "anonymous"}:
            self.wrong("HTTP_AUTH_LEVEL", "function or anonymous")
        schedule = _text(self.environ, "SWEEP_SCHEDULE")
        if schedule and not _NCRONTAB.fullmatch(schedule):
            self.wrong(
                "SWEEP_SCHEDULE", f"an NCRONTAB expression of six fields, as {DEFAULT_SCHEDULE}"
            )

    def contradictions(self, settings: Settings) -> None:
        if (settings.graph_requests_path, settings.graph_api_version) == (
            "accessPackageAssignmentRequests",
            "v1.0",
        ):
            self.wrong(
                "GRAPH_REQUESTS_PATH", "assignmentRequests, or GRAPH_API_VERSION should be beta"
            )
        if settings.sweep_cooldown_max_minutes < settings.sweep_cooldown_minutes:
            self.wrong(
                "SWEEP_COOLDOWN_MAX_MINUTES",
                f"at least SWEEP_COOLDOWN_MINUTES ({settings.sweep_cooldown_minutes})",
            )
        if settings.sweep_min_age_minutes >= settings.sweep_window_days * 1440:
            self.wrong(
                "SWEEP_MIN_AGE_MINUTES",
                f"less than SWEEP_WINDOW_DAYS ({settings.sweep_window_days} days)",
            )

    def misspelt_sweep_settings(self) -> None:
        """Refuse unknown SWEEP_ names: a misspelt SWEEP_DRY_RUN must not run for real."""
        known = [n.upper() for n in Settings.__dataclass_fields__ if n.startswith("sweep_")]
        known.append("SWEEP_SCHEDULE")
        for name in sorted(self.environ):
            if name.upper().startswith("SWEEP_") and name not in known:
                like = difflib.get_close_matches(name.upper(), known, n=1)
                hint = f"; did you mean {like[0]}?" if like else ""
                self.problems.append(f"{name} is not a setting of this app{hint}")


def new_id() -> str:
    """Return a fresh GUID, as Graph wants it in `client-request-id`."""
    return str(uuid.uuid4())
