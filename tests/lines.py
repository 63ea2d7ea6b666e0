"""How many lines of code a file has: without blank ones, comments and docstrings.

    python -m tests.lines      writes the counts and their sum into SECURITY.md's signing set

Not for: judging it. Whoever signs the app wants to know how much there is to read.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
SECURITY = PROJECT / "SECURITY.md"
ROW = re.compile(r"^(\| \d+ \| \[`([^`]+)`\]\([^)]+\) \| .* \|) (\d+) \|$", re.MULTILINE)
SUM = re.compile(r"(?<=^\| \| all of it \| \| )\d+(?= \|$)", re.MULTILINE)
NO_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}


def count(path: Path) -> int:
    """The lines of code of one file."""
    text = path.read_text()
    if path.suffix == ".py":
        return _of_python(text)
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL) if path.suffix == ".js" else text
    begins = "//" if path.suffix in {".js", ".bicep"} else "#"
    lines = (line.strip() for line in text.splitlines())
    return sum(bool(line) and not line.startswith(begins) for line in lines)


def _of_python(text: str) -> int:
    docstrings = {
        line
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if isinstance(node.value.value, str)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    code = {
        line
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type not in NO_CODE
        for line in range(token.start[0], token.end[0] + 1)
    }
    return len(code - docstrings)


def signing_set(text: str) -> dict[str, int]:
    """The files that SECURITY.md asks to be read, with the counts that it gives."""
    return {name: int(lines) for _, name, lines in ROW.findall(text)}


def counted_anew(text: str) -> str:
    """SECURITY.md with counts and sum as the files are now."""
    text = ROW.sub(lambda row: f"{row[1]} {count(PROJECT / row[2])} |", text)
    return SUM.sub(str(sum(signing_set(text).values())), text)


if __name__ == "__main__":
    SECURITY.write_text(counted_anew(SECURITY.read_text()))
