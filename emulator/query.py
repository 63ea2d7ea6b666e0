"""The query options of the request list: $filter, $expand, $select.

For: reading them as strictly as Graph does; what is not documented for this collection is refused.
Not for: OData at large: what Graph may take and nobody here sends is refused as well. Refusals
carry plain texts of our own, Graph's wording is not confirmed.
"""

from __future__ import annotations

import ast
import functools
import operator
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import parse_qsl

from emulator.call import bad
from emulator.entity import named, pascal
from emulator.tenant import STATES, Request

Test = Callable[[Request, datetime], bool]


def options(raw: str, allowed: Sequence[str]) -> dict[str, str]:
    """Read a query string; an option that is not allowed here, or given twice, is refused."""
    found: dict[str, str] = {}
    for name, value in parse_qsl(raw, keep_blank_values=True):
        if name not in allowed:
            bad(f"Query option '{name}' is not supported for this resource.")
        if name in found:
            bad(f"Query option '{name}' was specified more than once.")
        found[name] = value
    return found


def parse_top(text: str) -> int:
    """Read a $top."""
    if not re.fullmatch(r"[1-9][0-9]{0,8}", text):
        bad(f"Invalid value '{text}' for $top query option.")
    return int(text)


def names(text: str | None, known: Sequence[str]) -> tuple[str, ...] | None:
    """Read a $select or an $expand, if there is one: known names, each once, nothing nested."""
    if text is None:
        return None
    found = tuple(name.strip() for name in text.split(","))
    for name in found:
        if name not in known or found.count(name) > 1:
            bad(f"Could not find a property named '{name}', or it was given twice.")
    return found


# ---- $filter -------------------------------------------------------------------------------------

COMPARISON = re.compile(r"(?<![^\s(])([A-Za-z/]+)\s+eq\s+'((?:[^']|'')*)'(?=[\s)]|$)")
REST = re.compile(r"(?:[()\s]|\band\b|\bor\b)*")


@dataclass(slots=True)
class Filter:
    """A parsed $filter.

    packages: the access packages it is confined to, None when it is not confined to any.
    combined: it has an `or`.
    """

    test: Test
    packages: frozenset[str] | None = None
    combined: bool = False

    def __and__(self, other: Filter) -> Filter:
        """Return what asks for both."""
        confined = [one.packages for one in (self, other) if one.packages is not None]
        return Filter(
            lambda request, now: self.test(request, now) and other.test(request, now),
            frozenset.intersection(*confined) if confined else None,
            self.combined or other.combined,
        )

    def __or__(self, other: Filter) -> Filter:
        """Return what asks for either."""
        confined = [one.packages for one in (self, other) if one.packages is not None]
        return Filter(
            lambda request, now: self.test(request, now) or other.test(request, now),
            frozenset.union(*confined) if len(confined) == 2 else None,
            combined=True,
        )


def parse_filter(
    text: str,
    version: str,
    package_of: Callable[[Request], str | None] = lambda request: request.access_package.id,
    *,
    state_counts: bool = True,
) -> Filter:
    """Read a $filter: comparisons with `eq`, combined by `and`, `or` and parentheses.

    `package_of` tells which access package a request is found by; without `state_counts` every
    state fits.
    """
    found: list[Filter] = []

    def read(match: re.Match[str]) -> str:
        name, value = match[1], match[2].replace("''", "'")
        if name == named("state", version):
            found.append(_state(value, version, counts=state_counts))
        elif name == "accessPackage/id":
            found.append(_package(value.lower(), package_of))
        else:
            # The other version's name of the state, and completedDateTime, cannot be filtered; that
            # createdDateTime can, nobody here uses.
            bad(f"Property '{name}' does not exist or cannot be filtered.")
        return " _ "

    try:
        if not REST.fullmatch(COMPARISON.sub(" ", text)):
            raise SyntaxError
        # What is left is Python's own syntax, with the same precedence.
        tree = ast.parse(COMPARISON.sub(read, text).strip(), mode="eval")
        return _combined(tree.body, iter(found))
    except SyntaxError:
        bad("Syntax error in $filter, or an operator that is not supported.")


def _combined(tree: ast.expr, found: Iterator[Filter]) -> Filter:
    """Combine the comparisons as a tree says, which names them in their order."""
    if isinstance(tree, ast.Name):
        return next(found)
    if not isinstance(tree, ast.BoolOp):
        raise SyntaxError
    parts = [_combined(one, found) for one in tree.values]
    return functools.reduce(operator.and_ if isinstance(tree.op, ast.And) else operator.or_, parts)


def _state(wanted: str, version: str, *, counts: bool) -> Filter:
    if version == "beta":
        # A plain string on beta, so an unknown one matches nothing; in exact case: unconfirmed.
        states = [state for state in STATES if pascal(state) == wanted]
    elif wanted in STATES:
        states = [wanted]
    else:
        # An enumeration on v1.0. Exact case is unconfirmed; we take the strict side.
        bad(f"'{wanted}' is not a member of accessPackageRequestState.")
    return Filter(lambda request, now: not counts or request.state_at(now) in states)


def _package(wanted: str, package_of: Callable[[Request], str | None]) -> Filter:
    return Filter(lambda request, _now: package_of(request) == wanted, frozenset([wanted]))
