"""How the Functions host reads a call: its path, query, headers and key, before a function has it.

Not for: calling functions (host.py). The rules are those that the host's own router and converter
were seen to keep (tests/data/host), but for those of its web server, which is another one here.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Iterable

_ESCAPES = re.compile(r"(?:%[0-9A-Fa-f]{2})+")
_SAFE = "/%:@!$&'()*+,;=~"  # what a path keeps as it is


class BadPath(ValueError):
    """A path that the web server refuses."""


def split_target(target: str) -> tuple[str, str]:
    """Return path and query of a request's target as they were sent."""
    if target.lower().startswith(("http://", "https://")):
        target = "/" + target.split("/", 3)[3] if target.count("/") > 2 else "/"
    path, _, query = target.partition("?")
    return path, query


def routed_path(raw: str) -> str:
    """Return the path that is routed: decoded once, then without dot segments. Raises BadPath.

    `%2F` and `%2f` stay as they were sent, and so does what is no UTF-8.
    """
    path = _unescaped(raw, keep=b"/")
    if "\0" in path:
        raise BadPath(raw)
    return _without_dots(path)


def _without_dots(path: str) -> str:
    kept: list[str] = []
    segments = path.split("/")[1:]
    for number, segment in enumerate(segments, 1):
        if segment == "..":
            kept[-1:] = []
        if segment not in {".", ".."}:
            kept.append(segment)
        elif number == len(segments):
            kept.append("")
    return "/" + "/".join(kept)


def _unescaped(text: str, keep: bytes | None = None) -> str:
    """Decode escapes once, as UTF-8; bytes that are none, and `keep`, stay escaped."""

    def decode(run: re.Match[str]) -> str:
        escapes = [run[0][at : at + 3] for at in range(0, len(run[0]), 3)]
        text, at = "", 0
        while at < len(escapes):
            for length in (1, 2, 3, 4):
                raw = bytes(int(one[1:], 16) for one in escapes[at : at + length])
                try:
                    found = raw.decode()
                except UnicodeDecodeError:
                    continue
                text += escapes[at] if raw == keep else found
                at += length
                break
            else:
                text += escapes[at]
                at += 1
        return text

    return _ESCAPES.sub(decode, text)


def route_pattern(route: str) -> re.Pattern[str]:
    """Return what a route matches: in any case, with one slash more at its end or not."""
    parts = re.split(r"\{(\w+)[^}]*\}", route)
    pattern = "".join(
        f"(?P<{part}>[^/]+)" if n % 2 else re.escape(part) for n, part in enumerate(parts)
    )
    return re.compile(f"/{pattern}/?", re.IGNORECASE)


def url_of(scheme: str, host: str, path: str, query: str) -> str:
    """Return the URL that the worker gets: the routed path, and the query as it was sent."""
    return f"{scheme}://{host}{quote(path, safe=_SAFE)}" + (f"?{query}" if query else "")


def parameters(query: str) -> list[tuple[str, str]]:
    """Return names and values of a query in their order, empty ones too."""
    pairs = (part.partition("=") for part in query.split("&") if part)
    return [(_plain(name), _plain(value)) for name, _, value in pairs]


def _plain(text: str) -> str:
    return _unescaped(text.replace("+", " "))


def query_of(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the parameters that a function gets.

    Those without a value are dropped; then repeated ones, in any case, are joined under the name
    that comes last.
    """
    found: dict[str, tuple[str, list[str]]] = {}
    for name, value in pairs:
        if value:
            values = found.get(name.lower(), ("", []))[1]
            found[name.lower()] = name, [*values, value]
    return {name: ",".join(values) for name, values in found.values()}


def headers_of(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the headers that a function gets: lower-case names, repeated ones joined.

    Empty values are dropped first, but a header that is empty altogether stays.
    """
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        found.setdefault(name.lower(), []).extend([value] if value else [])
    return {name: ",".join(values) for name, values in found.items()}


def key_of(headers: Iterable[tuple[str, str]], pairs: Iterable[tuple[str, str]]) -> str | None:
    """Return what is checked as the key: that of the header, even an empty one, else `code`."""
    sent = [value for name, value in headers if name.lower() == "x-functions-key"]
    sent = sent or [value for name, value in pairs if name.lower() == "code"]
    return sent[0] if sent else None
