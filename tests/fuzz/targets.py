"""What a fuzz target is, and how an input's bytes become what it feeds to a parser.

Not for: the targets (callers.py, answers.py, configuration.py, output.py), or running them.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

FIELD, ANSWER = b"\x1e", b"\x1d"  # separate the fields of an input, and answers in a field
MAX_LENGTH = 16384  # bytes of an input


@dataclass(frozen=True)
class Target:
    """One target: `check` raises when a parser breaks a rule; `seeds` are inputs to begin with."""

    name: str
    check: Callable[[bytes], None]
    seeds: tuple[bytes, ...]


TARGETS: dict[str, Target] = {}


def target(*seeds: bytes | tuple[bytes | str, ...]) -> Callable[[Callable[..., None]], Target]:
    """Make a function a target: its docstring has the rules, each parameter is a field.

    A seed of several fields is a tuple. In an input the last field is all that is left.
    """

    def register(rules: Callable[..., None]) -> Target:
        count = len(inspect.signature(rules).parameters)

        def check(data: bytes) -> None:
            given = data.split(FIELD, count - 1)
            rules(*given, *[b""] * (count - len(given)))

        inputs = [one if isinstance(one, bytes) else FIELD.join(map(_raw, one)) for one in seeds]
        TARGETS[rules.__name__] = Target(rules.__name__, check, tuple(inputs))
        return TARGETS[rules.__name__]

    return register


def _raw(part: bytes | str) -> bytes:
    return part.encode() if isinstance(part, str) else part


def utf8(raw: bytes) -> str:
    """A text as the Functions host hands it on, whatever was sent."""
    return raw.decode(errors="replace")


def any_text(raw: bytes) -> str:
    """A text as JSON and the environment may have it: with lone surrogates, too."""
    return raw.decode(errors="surrogateescape")


def headers(raw: bytes) -> dict[str, str]:
    """Headers, one a line, by lower-case names."""
    lines = (line.partition(":") for line in raw.decode("latin-1").splitlines())
    return {name.strip().lower(): text.strip() for name, colon, text in lines if colon and name}
