"""The query options of the request list: $filter, $expand, $select.

For: reading them as strictly as Graph does; what is not documented for this collection is refused.
Not for: OData at large: what Graph may take and nobody here sends is refused as well. Refusals
carry plain texts of our own, Graph's wording is not confirmed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import parse_qsl

from emulator.entity import NAVIGATION, PROPERTIES, named, pascal
from emulator.tenant import STATES, Request

DEEPEST = 40
Test = Callable[[Request, datetime], bool]


class BadQuery(Exception):
    """A query option that Graph would answer with 400."""


@dataclass(slots=True)
class Expand:
    """What to show of one entity: selected properties (None: all) and expanded neighbours."""

    select: tuple[str, ...] | None = None
    navigation: dict[str, Expand] = field(default_factory=dict)


@dataclass(slots=True)
class Filter:
    """A parsed $filter.

    packages: the access packages it is confined to, None when it is not confined to any.
    names: the properties it names. combined: it has an `or`.
    """

    test: Test
    packages: frozenset[str] | None = None
    names: frozenset[str] = frozenset()
    combined: bool = False


def options(raw: str, allowed: Sequence[str]) -> dict[str, str]:
    """Read a query string; an option that is not allowed here, or given twice, is refused."""
    found: dict[str, str] = {}
    for name, value in parse_qsl(raw, keep_blank_values=True):
        if name not in allowed:
            raise BadQuery(f"Query option '{name}' is not supported for this resource.")
        if name in found:
            raise BadQuery(f"Query option '{name}' was specified more than once.")
        found[name] = value
    return found


def parse_top(text: str) -> int:
    """Read a $top."""
    if not re.fullmatch(r"[1-9][0-9]{0,8}", text):
        raise BadQuery(f"Invalid value '{text}' for $top query option.")
    return int(text)


# ---- $filter -------------------------------------------------------------------------------------

TOKEN = re.compile(
    r"""\s*(?:(?P<mark>[()])
    |(?P<text>'(?:[^']|'')*')
    |(?P<name>[A-Za-z_][A-Za-z0-9_/]*))(?=[\s()]|$|(?<=[()]))""",
    re.VERBOSE,
)


def parse_filter(
    text: str,
    version: str,
    package_of: Callable[[Request], str | None] = lambda request: request.access_package.id,
    *,
    state_counts: bool = True,
) -> Filter:
    """Read a $filter.

    `package_of` tells which access package a request is found by; without `state_counts` every
    state fits.
    """
    return _FilterParser(text, version, package_of, state_counts).whole()


class _FilterParser:
    """Reads by recursive descent.

    filter := all ('or' all)*;  all := one ('and' one)*;  one := '(' filter ')' | name 'eq' text
    """

    def __init__(
        self,
        text: str,
        version: str,
        package_of: Callable[[Request], str | None],
        state_counts: bool,
    ) -> None:
        self.version = version
        self.package_of = package_of
        self.state_counts = state_counts
        self.tokens = _tokens(text)
        self.at = 0
        self.depth = 0

    def whole(self) -> Filter:
        result = self.any_of()
        if self.at < len(self.tokens):
            raise BadQuery(f"Syntax error in $filter near '{self.tokens[self.at][1]}'.")
        return result

    def any_of(self) -> Filter:
        parts = [self.all_of()]
        while self.word("or"):
            parts.append(self.all_of())
        if len(parts) == 1:
            return parts[0]
        tests = [part.test for part in parts]
        confined = [part.packages for part in parts if part.packages is not None]
        return Filter(
            test=lambda request, now: any(test(request, now) for test in tests),
            packages=frozenset[str]().union(*confined) if len(confined) == len(parts) else None,
            names=frozenset[str]().union(*(part.names for part in parts)),
            combined=True,
        )

    def all_of(self) -> Filter:
        parts = [self.one()]
        while self.word("and"):
            parts.append(self.one())
        if len(parts) == 1:
            return parts[0]
        tests = [part.test for part in parts]
        confined = [part.packages for part in parts if part.packages is not None]
        return Filter(
            test=lambda request, now: all(test(request, now) for test in tests),
            packages=frozenset.intersection(*confined) if confined else None,
            names=frozenset[str]().union(*(part.names for part in parts)),
            combined=any(part.combined for part in parts),
        )

    def one(self) -> Filter:
        kind, value = self.take()
        if (kind, value) == ("mark", "("):
            self.depth += 1
            if self.depth > DEEPEST:
                raise BadQuery("The $filter is nested too deeply.")
            inner = self.any_of()
            if self.take() != ("mark", ")"):
                raise BadQuery("Syntax error in $filter: ')' expected.")
            self.depth -= 1
            return inner
        if kind != "name":
            raise BadQuery(f"Syntax error in $filter near '{value}'.")
        return self.comparison(value)

    def comparison(self, name: str) -> Filter:
        if name == named("state", self.version):
            return self.state(name)
        if name == "accessPackage/id":
            wanted = self.text(name).lower()
            return Filter(
                test=lambda request, _now: self.package_of(request) == wanted,
                packages=frozenset([wanted]),
                names=frozenset(["package"]),
            )
        # The other version's name of the state, and completedDateTime, cannot be filtered; that
        # createdDateTime can, nobody here uses.
        raise BadQuery(f"Property '{name}' does not exist or cannot be filtered.")

    def state(self, name: str) -> Filter:
        wanted = self.text(name)
        if self.version == "beta":
            # A plain string on beta, so an unknown one matches nothing; in exact case: unconfirmed.
            states = frozenset(state for state in STATES if pascal(state) == wanted)
        elif wanted in STATES or wanted == "unknownFutureValue":
            states = frozenset([wanted])
        else:
            # An enumeration on v1.0. Exact case is unconfirmed; we take the strict side.
            raise BadQuery(f"'{wanted}' is not a member of accessPackageRequestState.")
        counts = self.state_counts
        return Filter(
            test=lambda request, now: not counts or request.state_at(now) in states,
            names=frozenset(["state"]),
        )

    def text(self, name: str) -> str:
        """Read `eq` and a text."""
        kind, operator = self.take()
        if (kind, operator) != ("name", "eq"):
            raise BadQuery(f"Operator '{operator}' is not supported for '{name}'.")
        kind, value = self.take()
        if kind != "text":
            raise BadQuery(f"Syntax error in $filter: '{name}' is compared with a quoted value.")
        return value[1:-1].replace("''", "'")

    def take(self) -> tuple[str, str]:
        if self.at >= len(self.tokens):
            raise BadQuery("Syntax error in $filter: unexpected end.")
        self.at += 1
        return self.tokens[self.at - 1]

    def word(self, word: str) -> bool:
        found = self.at < len(self.tokens) and self.tokens[self.at] == ("name", word)
        self.at += found
        return found


def _tokens(text: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    text = text.rstrip()
    at = 0
    while at < len(text):
        match = TOKEN.match(text, at)
        if match is None:
            raise BadQuery(f"Syntax error in $filter at position {at}.")
        kind = match.lastgroup or ""
        found.append((kind, match.group(kind)))
        at = match.end()
    return found


# ---- $expand and $select -------------------------------------------------------------------------


def parse_select(text: str, version: str, kind: str = "request") -> tuple[str, ...]:
    """Read a $select of an entity of this kind."""
    names = tuple(name.strip() for name in text.split(","))
    known = {named(name, version, kind) for name in PROPERTIES[kind]}
    for name in names:
        if name not in known:
            raise BadQuery(f"Could not find a property named '{name}'.")
    return names


def parse_expand(text: str, version: str, kind: str = "request") -> dict[str, Expand]:
    """Read a $expand such as accessPackage($select=id),assignment($expand=target).

    Names in the result are those of v1.0.
    """
    known = {named(name, version, kind): name for name in NAVIGATION[kind]}
    found: dict[str, Expand] = {}
    for part in _split(text, ","):
        name, nested = part.strip(), ""
        if "(" in name:
            if not name.endswith(")"):
                raise BadQuery(f"Syntax error in $expand near '{part}'.")
            name, nested = name[:-1].split("(", 1)
        plain = known.get(name)
        if plain is None or plain in found:
            raise BadQuery(
                f"Could not expand '{name}': no such navigation property, or given twice."
            )
        target = NAVIGATION[kind][plain]
        found[plain] = _nested(nested, version, target) if "(" in part else Expand()
    return found


def _nested(text: str, version: str, kind: str) -> Expand:
    expand = Expand()
    for part in _split(text, ";"):
        option, _, value = part.strip().partition("=")
        if option == "$select":
            expand.select = parse_select(value, version, kind)
        elif option == "$expand":
            expand.navigation = parse_expand(value, version, kind)
        else:
            raise BadQuery(f"Option '{option}' is not supported inside $expand.")
    return expand


def _split(text: str, separator: str) -> list[str]:
    """Split at separators that are not inside parentheses."""
    parts, depth, start = [], 0, 0
    for at, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if depth < 0:
            break
        if letter == separator and depth == 0:
            parts.append(text[start:at])
            start = at + 1
    if depth:
        raise BadQuery("Syntax error: parentheses do not match.")
    return [*parts, text[start:]]
