"""What a fuzzing target is, and how bytes become what a target feeds to its parser.

Not for: the targets themselves (by_callers.py, by_graph.py, by_others.py), or running them.

A target takes bytes, and raises when its parser breaks one of the rules in its docstring.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING
from unittest.mock import patch
from urllib.parse import parse_qsl

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator, Sequence

FIELD, ANSWER = b"\x1e", b"\x1d"  # what separates the fields of an input, and several answers
LONGEST = 16384  # bytes of an input
WAITING = (
    *("graph.answer", "graph.http", "graph.identity", "table"),
    *("reprocess_http.webhook", "reprocess_http.one_request", "reprocess_http.diagnosis"),
)


@dataclass(frozen=True)
class Target:
    """One target: `check` takes bytes, `parsers` are the deployed files that see them."""

    name: str
    check: Callable[[bytes], None]
    parsers: tuple[str, ...]
    seeds: tuple[bytes, ...]


TARGETS: dict[str, Target] = {}


def target(*parsers: str, seeds: Sequence[bytes]) -> Callable[[Callable[[bytes], None]], Target]:
    """Make a function a target, known by its name."""

    def made(check: Callable[[bytes], None]) -> Target:
        one = Target(check.__name__, check, parsers, tuple(seeds))
        TARGETS[one.name] = one
        return one

    return made


def join(*parts: bytes | str) -> bytes:
    """The fields of a seed as an input."""
    return FIELD.join(part.encode() if isinstance(part, str) else part for part in parts)


def fields(data: bytes, count: int) -> list[bytes]:
    """The fields of an input; the last one is all that is left, a missing one is empty."""
    found = data.split(FIELD, count - 1)
    return found + [b""] * (count - len(found))


def sent(raw: bytes) -> str:
    """A text as the Functions host hands it on: UTF-8, whatever was sent."""
    return raw.decode(errors="replace")


def any_text(raw: bytes) -> str:
    """A text as JSON and the environment may have it: with halves of characters, too."""
    return raw.decode(errors="surrogateescape")


def pairs(raw: bytes) -> dict[str, str]:
    """Query parameters as the Functions host hands them on."""
    try:
        return dict(parse_qsl(sent(raw), keep_blank_values=True))
    except ValueError:  # too many of them
        return {}


def headers(raw: bytes) -> dict[str, str]:
    """Headers, one a line."""
    lines = (line.partition(":") for line in raw.decode("latin-1").splitlines())
    return {name.strip(): value.strip() for name, found, value in lines if found and name.strip()}


@contextlib.contextmanager
def unthreaded() -> Iterator[None]:
    """Have the app wait without a thread for each wait: it costs ten times what parsers do."""
    with contextlib.ExitStack() as patched:
        for name in WAITING:
            patched.enter_context(patch(f"{name}.bounded", lambda _, function: function()))
        yield


def edited(original: bytes, how: bytes) -> bytes:
    """The same bytes with one edit at the position that `how` begins with; unless it is empty."""
    if not how:
        return original
    at = how[0] % (len(original) + 1)
    return original[:at] + how[2:] + original[at + (how[1] % 4 if how[1:] else 0) :]


def derived(seeds: Sequence[bytes], count: int, chance: random.Random) -> Iterator[bytes]:
    """Inputs derived from seeds: bytes changed, cut out, doubled, or taken from another seed."""
    for _ in range(count):
        data = chance.choice(seeds)
        for _ in range(chance.randint(1, 4)):
            start, length = chance.randrange(len(data) + 1), chance.randrange(9)
            new = chance.choice(
                (
                    chance.randbytes(length),
                    data[start : start + length] * chance.randint(1, 40),
                    chance.choice(seeds)[start : start + 3 * length],
                    b"",
                    chance.choice(SPECIAL),
                )
            )
            data = (data[:start] + new + data[start + chance.randrange(length + 1) :])[:LONGEST]
        yield data


# What parsers stumble over.
SPECIAL = (
    *(one.encode() for one in ("\u0661", "\u212a", "\u0130", "\ufeff", "\u2212", "\uff1d", "ß")),
    *(b"\0", b"\r\n", b"\t", b"=", b"-1", b"0", b"9" * 400, b"1e999", b"NaN", b"\\ud800", b"\xff"),
    *(b"[" * 3000, b'{"":' * 3000, b"..", b"/../", b"%2e%2e", b",", b";", b"?", b"#", b"@", b" "),
    *(FIELD, ANSWER, b"null", b"true", b'""', b"{}", b"[]", b"0001-01-01T00:00:00Z", b"1" * 200),
)
