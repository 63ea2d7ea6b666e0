"""Rows as CSV (RFC 4180) that a spreadsheet shows as they are, and never runs.

Not for: what the rows are. Names come from people who request access, so a name may be a formula
(https://owasp.org/www-community/attacks/CSV_Injection).
"""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

# With a byte order mark: without it Excel reads the text in the machine's own code page.
ENCODING = "utf-8-sig"
# Where a spreadsheet may begin a new cell that we did not: it may be set to another separator.
_SEPARATOR = re.compile(r"([,;|\t-\r])")
_FORMULA = frozenset("=+-@\u2212")  # the last one is a minus, too


def to_csv(columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> bytes:
    """Return the rows below a line of column names; what a row does not have is an empty cell.

    A lone surrogate, which no encoding has, becomes a `?`.
    """
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns)
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    return text.getvalue().encode(ENCODING, errors="replace")


def _cell(value: object) -> object:
    """Return a value as a cell has it; numbers stay as they are."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return escape_formula(value) if isinstance(value, str) else value


def escape_formula(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula: an apostrophe makes it text.

    It comes before what begins like a formula, also after blanks and invisible characters.
    """
    parts = _SEPARATOR.split(text)
    safe = "".join(f"'{part}" if _is_formula(part) else part for part in parts)
    return safe if safe[:1].isprintable() else f"'{safe}"


def _is_formula(part: str) -> bool:
    """Whether the first visible character begins a formula, in whatever width."""
    first = next((one for one in part if one.isprintable() and one not in {" ", '"'}), "")
    return unicodedata.normalize("NFKC", first)[:1] in _FORMULA
