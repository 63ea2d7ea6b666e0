"""Every app setting: its name, what it may be, its default.

Not for: what the Functions host reads for itself (host.json).
Settings are read at first use, never at import, and all checked together: one error names them all.
The two exceptions are what the host must know when it loads the app, `auth_level` and
`sweep_schedule`; both fall back to the safe default, and `load` then says what was wrong.
"""

from __future__ import annotations

import base64
import binascii
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
DEFAULT_ROLE = "Requests.Reprocess"
SECRET_BYTES = (24, 64)  # least and most of a Standard Webhooks secret, by its specification
LINK_SECRET_BYTES = 32  # least; RFC 2104 discourages keys shorter than the hash
MOST_SECRETS = 10  # that a webhook's signature is compared with
FAMILIES = ("SWEEP_", "WEBHOOK_", "STATUS_LINK_")  # whose misspelt names are refused
_NCRONTAB = re.compile(r"[0-9A-Za-z*/,\-]+( +[0-9A-Za-z*/,\-]+){5}")
_ROLE = re.compile(r"[!-~]{1,120}")
_POINTER = re.compile(r"(/([^/~]|~[01])*)+")  # RFC 6901, but not the empty one: that is no setting
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
    caller_role: str
    webhook_secrets: tuple[str, ...] = field(repr=False)
    webhook_request_id_pointer: str
    http_budget_seconds: int
    status_retry_after_seconds: int
    status_link_secret: str = field(repr=False)
    status_link_hours: int
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


def caller_role(environ: Mapping[str, str] = os.environ) -> str | None:
    """Return the app role that a caller must carry; None when it is set wrongly: then nobody may.

    Read apart from the rest, so that an unknown caller learns nothing of wrong settings.
    """
    role = _text(environ, "CALLER_ROLE") or DEFAULT_ROLE
    return role if _ROLE.fullmatch(role) else None


def webhook_key(secret: str) -> bytes | None:
    """Return the key that `whsec_` and base64 stand for (Standard Webhooks); None if it is wrong.

    Padding may be missing, as the reference library allows.
    """
    text = secret.removeprefix("whsec_").rstrip("=")
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (ValueError, binascii.Error):
        return None
    return key if SECRET_BYTES[0] <= len(key) <= SECRET_BYTES[1] else None


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
        caller_role=read.role(),
        webhook_secrets=read.webhook_secrets(),
        webhook_request_id_pointer=read.pointer("WEBHOOK_REQUEST_ID_POINTER", "/requestId"),
        http_budget_seconds=read.whole("HTTP_BUDGET_SECONDS", 60, 1, 200),
        status_retry_after_seconds=read.whole("STATUS_RETRY_AFTER_SECONDS", 30, 1, 3600),
        status_link_secret=read.link_secret(),
        status_link_hours=read.whole("STATUS_LINK_HOURS", 24, 1, 720),
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
    read.misspelt()
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
        """Note a problem of a setting that is no secret, so the value is shown, cut short."""
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

    def role(self) -> str:
        role = caller_role(self.environ)
        if role is None:
            self.wrong("CALLER_ROLE", "the value of an app role, without blanks")
        return role or DEFAULT_ROLE

    def pointer(self, name: str, default: str) -> str:
        value = _text(self.environ, name) or default
        if len(value) > 500 or not _POINTER.fullmatch(value):
            self.wrong(name, "a JSON Pointer (RFC 6901) such as /issue/fields/requestId")
            return default
        return value

    def webhook_secrets(self) -> tuple[str, ...]:
        """Read secrets, newest first. What is wrong is told by position, never by value."""
        name, (least, most) = "WEBHOOK_SECRETS", SECRET_BYTES
        value = _text(self.environ, name)
        if not value or self.unresolved(name):
            return ()
        secrets = [part.strip() for part in value.split(",")]
        for n, secret in enumerate(secrets, 1):
            standard = secret.startswith("whsec_")
            if standard and webhook_key(secret) is None:
                should_be = f"whsec_ and the base64 of {least} to {most} bytes"
                self.problems.append(f"{name}: secret {n} should be {should_be}")
            elif not standard and len(secret.encode(errors="surrogateescape")) < least:
                self.problems.append(f"{name}: secret {n} should be at least {least} bytes long")
        if len(secrets) > MOST_SECRETS:
            self.problems.append(f"{name} should be at most {MOST_SECRETS} secrets")
        return tuple(dict.fromkeys(secrets))

    def link_secret(self) -> str:
        """Read the secret of status links, empty when there is none. Its value is never told."""
        name = "STATUS_LINK_SECRET"
        value = _text(self.environ, name)
        if (
            value
            and not self.unresolved(name)
            and len(value.encode(errors="surrogateescape")) < LINK_SECRET_BYTES
        ):
            self.problems.append(f"{name} should be at least {LINK_SECRET_BYTES} bytes long")
        return value

    def unresolved(self, name: str) -> bool:
        """Refuse a reference in place of the secret: where it cannot be resolved, it is the value.

        https://learn.microsoft.com/azure/app-service/app-service-key-vault-references; anybody
        could guess that "secret".
        """
        found = _text(self.environ, name).lower().startswith("@microsoft.")
        if found:
            self.problems.append(
                f"{name} is a reference that the platform has not resolved: check the vault, the "
                "secret's name, and that the app's identity may read it"
            )
        return found

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

    def misspelt(self) -> None:
        """Refuse unknown names of these families: a misspelt SWEEP_DRY_RUN must not run for real.

        Nor must a misspelt WEBHOOK_SECRETS leave the webhook without its signatures.
        """
        known = [name.upper() for name in Settings.__dataclass_fields__] + ["SWEEP_SCHEDULE"]
        for name in sorted(self.environ):
            if name.upper().startswith(FAMILIES) and name not in known:
                like = difflib.get_close_matches(name.upper(), known, n=1)
                hint = f"; did you mean {like[0]}?" if like else ""
                self.problems.append(f"{name} is not a setting of this app{hint}")


def new_id() -> str:
    """Return a fresh GUID, as Graph wants it in `client-request-id`."""
    return str(uuid.uuid4())
