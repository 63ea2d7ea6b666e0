"""Parsers of app settings: each returns what a text stands for.

Not for: which settings there are, and their defaults (settings.py).

A parser is given the text without blanks around it, or the empty one where a setting without a
default is unset. It raises ValueError with what would be right, to be read after "should be"; that
repeats nothing of a secret.
"""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, NamedTuple

from azure.data.tables import TableClient

from schedule import Schedule

if TYPE_CHECKING:
    from collections.abc import Callable

MIN_SECRET_BYTES, MAX_STANDARD_BYTES = 24, 64  # of a key, by Standard Webhooks' specification
MIN_LINK_BYTES = 32  # RFC 2104 discourages keys shorter than the hash
MAX_GUIDS = 1000
_GUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
# Without user, fragment, backslash, blank or control character, about which readers of addresses
# disagree.
_ADDRESS = re.compile(
    r"(https?)://([A-Za-z0-9][A-Za-z0-9._-]*|\[::1\])(?::0*([1-9][0-9]{0,4}))?((?:[/?][!\"$-\[\]-~]*)?)"
)
_LOCAL = {"localhost", "127.0.0.1", "[::1]"}
# The hosts of the public clouds, also of accounts with DNS zones (acc.z00.table.storage.azure.net)
# and by their other names (acc-secondary, acc-microsoftrouting).
_STORAGE = re.compile(
    r"https://([a-z0-9]{3,24}(?:-[a-z0-9]+)?(?:\.z[0-9]{1,2})?)\.(blob|table)\."
    r"(core\.windows\.net|core\.usgovcloudapi\.net|core\.chinacloudapi\.cn|storage\.azure\.net)"
)


def choice(*words: str) -> Callable[[str], str]:
    """Read one of several words, in any case."""

    def parse(text: str) -> str:
        for word in ("", *words):
            if text.lower() == word.lower():
                return word
        raise ValueError(("one of " if len(words) > 1 else "") + ", ".join(words))

    return parse


def boolean(text: str) -> bool:
    """Read `true` or `false`, in any case."""
    if text.lower() not in {"true", "false"}:
        raise ValueError("true or false")
    return text.lower() == "true"


def integer(least: int, most: int) -> Callable[[str], int]:
    """Read a whole number from `least` to `most`, both included."""

    def parse(text: str) -> int:
        if re.fullmatch(r"[0-9]{1,9}", text) and least <= int(text) <= most:
            return int(text)
        raise ValueError(f"a whole number from {least} to {most}")

    return parse


def pattern(regex: str, should_be: str) -> Callable[[str], str]:
    """Read a text that fits a pattern."""

    def parse(text: str) -> str:
        if not text or re.fullmatch(regex, text):
            return text
        raise ValueError(should_be)

    return parse


app_role = pattern("[!-~]{1,120}", "the value of an app role, without blanks")
json_pointer = pattern(  # at least one step: the whole body is no request id
    "(/([^/~]|~[01])*)+", "a JSON Pointer (RFC 6901) such as /issue/fields/requestId"
)
storage_account = pattern(
    "[a-z0-9]{3,24}", "a storage account's name, 3 to 24 small letters and digits"
)
table_name = pattern(
    "[A-Za-z][A-Za-z0-9]{2,62}", "3 to 63 letters and digits, beginning with a letter"
)


def ncrontab(text: str) -> str:
    """Read a schedule; the host takes it as a text."""
    Schedule.parse(text)
    return text


def is_guid(text: str) -> bool:
    """Tell whether `text` is a GUID in 8-4-4-4-12 form, any case, ASCII only."""
    return _GUID.fullmatch(text) is not None


def guid(text: str) -> str | None:
    """Read a GUID, in lower case; None when it is unset."""
    if text and not is_guid(text):
        raise ValueError("a GUID")
    return text.lower() or None


def guids(text: str) -> tuple[str, ...]:
    """Read GUIDs, comma separated, in lower case, each once."""
    ids = _comma_separated(text.lower())
    if len(ids) > MAX_GUIDS or not all(is_guid(one) for one in ids):
        raise ValueError(f"GUIDs, comma separated, at most {MAX_GUIDS}")
    return tuple(dict.fromkeys(ids))


def link_secret(text: str) -> str:
    """Read the one secret that signs links; empty when it is unset."""
    if text and _size(text) < MIN_LINK_BYTES:
        raise ValueError(f"at least {MIN_LINK_BYTES} bytes long")
    return text


def webhook_secrets(text: str) -> tuple[str, ...]:
    """Read secrets that sign webhooks, comma separated, each once; wrong ones by position."""
    secrets = _comma_separated(text)
    wrong = [str(n) for n, one in enumerate(secrets, 1) if not _is_webhook_secret(one)]
    if wrong:
        raise ValueError(
            f"secrets of at least {MIN_SECRET_BYTES} bytes each, or whsec_ and the base64 of "
            f"{MIN_SECRET_BYTES} to {MAX_STANDARD_BYTES} bytes; what is wrong is secret "
            + ", ".join(wrong)
        )
    return tuple(dict.fromkeys(secrets))


def _is_webhook_secret(text: str) -> bool:
    if text.startswith("whsec_"):
        return webhook_key(text) is not None
    return _size(text) >= MIN_SECRET_BYTES


def webhook_key(text: str) -> bytes | None:
    """Return the key that `whsec_` and base64 stand for (Standard Webhooks); None if it is wrong.

    Padding may be missing, as the reference library allows.
    """
    encoded = text.removeprefix("whsec_")
    try:
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except ValueError:
        return None
    return key if MIN_SECRET_BYTES <= len(key) <= MAX_STANDARD_BYTES else None


def connection_string(text: str) -> str:
    """Read a storage account's connection string that the table's client takes."""
    try:
        if text:
            TableClient.from_connection_string(text, "any")
    except Exception:  # in many forms, whose words may contain the key
        raise ValueError(
            "a storage account's connection string, whole and with its key, or unset with "
            "AzureWebJobsStorage__accountName in its place"
        ) from None
    return text


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
    return _Address(found[1], found[2].lower() in _LOCAL, found[4])


def loopback_endpoint(text: str) -> str | None:
    """Read an address on this machine without a path, so that no token can be led away; or None."""
    address = _address(text)
    if not text or (address and address.is_local and address.rest in {"", "/"}):
        return text.removesuffix("/") or None
    raise ValueError("unset, or http(s)://<loopback address>:<port> without a path")


def url(text: str) -> str:
    """Read an https address, or an http one on this machine; empty when it is unset."""
    address = _address(text)
    if not text or (address and (address.scheme == "https" or address.is_local)):
        return text
    raise ValueError(
        "https://<host>/... without user and fragment (http for a loopback address only)"
    )


def table_service(text: str) -> str | None:
    """Read the address of an account's table service; None when it is unset.

    The managed identity's token is sent there, so only Azure Storage and this machine are admitted.
    """
    address = _address(text.lower())
    if address and address.is_local and re.fullmatch(r"/[a-z0-9]+/?", address.rest):
        return text.lower().removesuffix("/")
    return _storage_service(text, "table")


def blob_service(text: str) -> str | None:
    """Read the address of an account's blob service as that of its table service."""
    return _storage_service(
        text, "blob", "; else AzureWebJobsStorage__tableServiceUri should be set as well"
    )


def _storage_service(text: str, service: str, otherwise: str = "") -> str | None:
    found = _STORAGE.fullmatch(text.lower().removesuffix("/"))
    if found and found[2] == service:
        return f"https://{found[1]}.table.{found[3]}"
    if not text:
        return None
    raise ValueError(
        f"https://<account>.{service}.core.windows.net, or your cloud's form of it{otherwise}"
    )


def _comma_separated(text: str) -> list[str]:
    return [one.strip() for one in text.split(",")] if text else []


def _size(text: str) -> int:
    """Return how many bytes the environment has of a text."""
    return len(text.encode(errors="replace"))
