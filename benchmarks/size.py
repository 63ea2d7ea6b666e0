"""How much code there is: deployed, and in tests.

    python -m benchmarks.size

Lines of code are those of Python that are not blank, comment or docstring of a module, class or
function. Deployed is what .funcignore does not leave out.
"""

from __future__ import annotations

import ast
import io
import tokenize
from typing import TYPE_CHECKING

from emulator.run import APP
from tests.support import package

if TYPE_CHECKING:
    from pathlib import Path

NO_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def code_lines(path: Path) -> int:
    text = path.read_text()
    docstrings = {
        line
        for one in ast.walk(ast.parse(text))
        if isinstance(one, DOCUMENTED) and ast.get_docstring(one, clean=False) is not None
        for line in range(one.body[0].lineno, (one.body[0].end_lineno or 0) + 1)
    }
    code = {
        line
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type not in NO_CODE
        for line in range(token.start[0], token.end[0] + 1)
    }
    return len(code - docstrings)


def figures() -> dict[str, str]:
    deployed = {
        str(path): code_lines(APP / path) for path in package.deployed() if path.suffix == ".py"
    }
    tests = sum(map(code_lines, (APP / "tests").rglob("*.py")))
    total, largest = sum(deployed.values()), max(deployed, key=lambda path: deployed[path])
    graph = sum(lines for path, lines in deployed.items() if path.startswith("graph/"))
    return {
        "deployed: lines of code / files": f"{total} / {len(deployed)}",
        "  in graph/": str(graph),
        "  largest file": f"{deployed[largest]} ({largest})",
        "tests: lines of code": str(tests),
        "  for each that is deployed": f"{tests / total:.2f}",
    }


def main() -> None:
    for what, value in figures().items():
        print(f"{what:40} {value}")


if __name__ == "__main__":
    main()
