"""The kinds of app settings: each turns a setting's text into its value, or says what is right.

Not for: which settings there are, their limits and defaults (settings.py).

What is wrong with a secret is told without showing anything of it; `Kind.wrong` sees to that.
"""

from __future__ import annotations

import base64
import ipaddress
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, override

SHOWN = 80  # characters of a wrong value, at most
LONGEST = 500  # characters of a text that has a pattern
STANDARD_BYTES = (24, 64)  # least and most of a Standard Webhooks secret, by its specification
MOST_SECRETS = 10  # that a webhook's signature is compared with
_GUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
# Without user, fragment, backslash, blank or control character, about which readers of addresses
# disagree.
_ADDRESS = re.compile(
    r"(https?)://([A-Za-z0-9][A-Za-z0-9._-]*|\[::1\])(?::0*([1-9][0-9]{0,4}))?((?:[/?][!\"$-\[\]-~]*)?)"
)
# The hosts of the public clouds, also of accounts with DNS zones (acc.z00.table.storage.azure.net)
# and by their other names (acc-secondary, acc-microsoftrouting).
_STORAGE = re.compile(
    r"https://([a-z0-9]{3,24}(?:-[a-z0-9]+)?(?:\.z[0-9]{1,2})?)\.(blob|table)\."
    r"(core\.windows\.net|core\.usgovcloudapi\.net|core\.chinacloudapi\.cn|storage\.azure\.net)"
)


class Wrong(Exception):
    """A setting's text is not right; the message is to be read after the setting's name."""


class Kind[T](ABC):
    """What a setting's text may be."""

    secret: ClassVar[bool] = False  # its text is never shown
    limits: str = ""  # least and most, where they are not plain from the meaning

    def read(self, text: str) -> T:
        """Return what a text stands for; the empty one stands for unset. Raises Wrong.

        A reference that cannot be resolved is left as the value, and no value: anybody could guess
        it (https://learn.microsoft.com/azure/app-service/app-service-key-vault-references).
        """
        if text.lower().startswith("@microsoft."):
            raise Wrong(
                "is a reference that the platform has not resolved: check the vault, the "
                "secret's name, and that the app's identity may read it"
            )
        return self.value(text)

    @abstractmethod
    def value(self, text: str) -> T:
        """Return what a text stands for that is no reference. Raises Wrong."""

    def wrong(self, text: str, should_be: str) -> Wrong:
        """Return the error that says what is right, and shows the text unless it is a secret."""
        shown = "" if self.secret else f"is {text[:SHOWN]!r} but "
        return Wrong(f"{shown}should be {should_be}")


class Choice(Kind[str]):
    """One of several words, in any case, as they are written here; the empty text when unset."""

    def __init__(self, *choices: str) -> None:
        """Admit these words."""
        self.choices = choices

    @override
    def value(self, text: str) -> str:
        for choice in ("", *self.choices):
            if text.lower() == choice.lower():
                return choice
        several = "one of " if len(self.choices) > 1 else ""
        raise self.wrong(text, several + ", ".join(self.choices))


class Flag(Kind[bool]):
    """Yes or no."""

    @override
    def value(self, text: str) -> bool:
        if text.lower() in {"true", "false"}:
            return text.lower() == "true"
        raise self.wrong(text, "true or false")


class Whole(Kind[int]):
    """A whole number."""

    def __init__(self, least: int, most: int) -> None:
        """Admit numbers from `least` to `most`, both included."""
        self.least, self.most = least, most
        self.limits = f"{least} to {most}"

    @override
    def value(self, text: str) -> int:
        if re.fullmatch(r"[0-9]{1,9}", text) and self.least <= int(text) <= self.most:
            return int(text)
        raise self.wrong(text, f"a whole number from {self.limits}")


@dataclass(frozen=True)
class Text(Kind[str]):
    """A text that fits a pattern; the empty one when it is unset."""

    pattern: str
    should_be: str

    @override
    def value(self, text: str) -> str:
        if not text or (len(text) <= LONGEST and re.fullmatch(self.pattern, text)):
            return text
        raise self.wrong(text, self.should_be)


APP_ROLE = Text("[!-~]{1,120}", "the value of an app role, without blanks")
JSON_POINTER = Text(  # not the empty one, which points to the whole: that is no setting
    "(/([^/~]|~[01])*)+", "a JSON Pointer (RFC 6901) such as /issue/fields/requestId"
)


def _field(one: str) -> str:
    """Return the pattern of a field of a schedule: `one`, a range or all, with a step; or several.

    https://github.com/atifaziz/NCrontab/wiki/Crontab-Expression: what the Functions host reads.
    """
    part = rf"(\*|{one}(-{one})?)(/[1-9][0-9]?)?"
    return f"{part}(,{part})*"


_SIXTY, _HOUR, _DAY = "[0-5]?[0-9]", "([01]?[0-9]|2[0-3])", "(0?[1-9]|[12][0-9]|3[01])"
_MONTH = "(0?[1-9]|1[0-2]|(?i:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[A-Za-z]*)"
_WEEKDAY = "([0-6]|(?i:sun|mon|tue|wed|thu|fri|sat)[A-Za-z]*)"
NCRONTAB = Text(
    " +".join(map(_field, (_SIXTY, _SIXTY, _HOUR, _DAY, _MONTH, _WEEKDAY))),
    "an NCRONTAB expression of six fields (second, minute, hour, day, month, day of the week), as "
    "0 */15 * * * *",
)
STORAGE_ACCOUNT = Text(
    "[a-z0-9]{3,24}", "a storage account's name, 3 to 24 small letters and digits"
)
TABLE_NAME = Text(
    "[A-Za-z][A-Za-z0-9]{2,62}", "3 to 63 letters and digits, beginning with a letter"
)


def is_guid(text: str) -> bool:
    """Tell whether `text` is a GUID in 8-4-4-4-12 form, any case, ASCII only."""
    return _GUID.fullmatch(text) is not None


class Guid(Kind[str | None]):
    """A GUID, in lower case; None when it is unset."""

    @override
    def value(self, text: str) -> str | None:
        if text and not is_guid(text):
            raise self.wrong(text, "a GUID")
        return text.lower() or None


@dataclass(frozen=True)
class Guids(Kind[tuple[str, ...]]):
    """GUIDs, comma separated, in lower case, each once."""

    most: int

    @override
    def value(self, text: str) -> tuple[str, ...]:
        ids = [one.strip().lower() for one in text.split(",")] if text else []
        if len(ids) > self.most or not all(is_guid(one) for one in ids):
            raise self.wrong(text, f"GUIDs, comma separated, at most {self.most}")
        return tuple(dict.fromkeys(ids))


class Secret(Kind[str]):
    """One secret; the empty text when it is unset."""

    secret = True

    def __init__(self, least: int) -> None:
        """Admit secrets of at least so many bytes."""
        self.least = least

    @override
    def value(self, text: str) -> str:
        if text and _bytes(text) < self.least:
            raise self.wrong(text, f"at least {self.least} bytes long")
        return text


class WebhookSecrets(Kind[tuple[str, ...]]):
    """Secrets that sign webhooks, comma separated, each once; what is wrong is told by position."""

    secret = True

    @override
    def value(self, text: str) -> tuple[str, ...]:
        secrets = [one.strip() for one in text.split(",")] if text else []
        weak = [str(n) for n, one in enumerate(secrets, 1) if not self._is_strong(one)]
        if weak:
            least, most = STANDARD_BYTES
            raise self.wrong(
                text,
                f"secrets of at least {least} bytes each, or whsec_ and the base64 of {least} to "
                f"{most} bytes; what is wrong is secret {', '.join(weak)}",
            )
        if len(secrets) > MOST_SECRETS:
            raise self.wrong(text, f"at most {MOST_SECRETS} secrets")
        return tuple(dict.fromkeys(secrets))

    def _is_strong(self, secret: str) -> bool:
        if secret.startswith("whsec_"):
            return webhook_key(secret) is not None
        return _bytes(secret) >= STANDARD_BYTES[0]


def webhook_key(secret: str) -> bytes | None:
    """Return the key that `whsec_` and base64 stand for (Standard Webhooks); None if it is wrong.

    Padding may be missing, as the reference library allows.
    """
    text = secret.removeprefix("whsec_").rstrip("=")
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError:
        return None
    return key if STANDARD_BYTES[0] <= len(key) <= STANDARD_BYTES[1] else None


class ConnectionString(Kind[str]):
    """A storage account's connection string, with its key or a signature; empty when unset."""

    secret = True

    @override
    def value(self, text: str) -> str:
        if not text or text.lower() == "usedevelopmentstorage=true" or self._is_whole(text):
            return text
        raise self.wrong(
            text,
            "a storage account's connection string, whole and with its key, or unset with "
            "AzureWebJobsStorage__accountName in its place",
        )

    def _is_whole(self, text: str) -> bool:
        """Tell whether the table's client can use it: nothing is empty, nothing is there twice."""
        pairs = [part.partition("=") for part in text.rstrip(";").split(";")]
        names = {name.lower() for name, _, _ in pairs}
        enough = {"accountname", "accountkey"} <= names or (
            "sharedaccesssignature" in names and bool(names & {"tableendpoint", "accountname"})
        )
        return enough and len(names) == len(pairs) and all(name and to for name, _, to in pairs)


class _Address(NamedTuple):
    """An http(s) address in its parts; `rest` is path and query."""

    scheme: str
    is_local: bool
    rest: str


def _address(text: str) -> _Address | None:
    """Take an address apart; None when it is none, or none that is safe."""
    found = _ADDRESS.fullmatch(text)
    if not found or int(found[3] or "1") > 65535:
        return None
    try:
        local = (
            found[2].lower() == "localhost"
            or ipaddress.ip_address(found[2].strip("[]")).is_loopback
        )
    except ValueError:
        local = False
    return _Address(found[1], local, found[4])


class LoopbackEndpoint(Kind[str | None]):
    """An address on this machine without a path, so that no token can be led away; or None."""

    @override
    def value(self, text: str) -> str | None:
        address = _address(text)
        if not text or (address and address.is_local and address.rest in {"", "/"}):
            return text.removesuffix("/") or None
        raise self.wrong(text, "unset, or http(s)://<loopback address>:<port> without a path")


class SecretUrl(Kind[str]):
    """An address to send to; a secret, since its query may be a signature. Empty when unset."""

    secret = True

    @override
    def value(self, text: str) -> str:
        address = _address(text)
        if not text or (address and (address.scheme == "https" or address.is_local)):
            return text
        raise self.wrong(
            text, "https://<host>/... without user and fragment (http for a loopback address only)"
        )


@dataclass(frozen=True)
class TableService(Kind[str | None]):
    """The address of an account's table service, from that of its `table` or `blob` service.

    The managed identity's token is sent there, so only Azure Storage and this machine are admitted.
    """

    service: str

    @override
    def value(self, text: str) -> str | None:
        if not text:
            return None
        lower = text.lower().removesuffix("/")
        found = _STORAGE.fullmatch(lower)
        if found and found[2] == self.service:
            return f"https://{found[1]}.table.{found[3]}"
        address = _address(lower)
        is_emulator = address and address.is_local and re.fullmatch(r"/[a-z0-9]+", address.rest)
        if is_emulator and self.service == "table":  # its other services have other ports
            return lower
        shown, *_ = text.split("?")  # what follows may be a signature
        should_be = f"https://<account>.{self.service}.core.windows.net, or your cloud's form of it"
        if self.service != "table":
            should_be += "; else AzureWebJobsStorage__tableServiceUri should be set as well"
        raise self.wrong(shown, should_be)


def _bytes(text: str) -> int:
    """Return how many bytes the environment has of a text."""
    return len(text.encode(errors="replace"))
