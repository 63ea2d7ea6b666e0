"""Make the folder that a deployment sends, by the rules of .funcignore.

    python -m tests.support.package [FOLDER]      .package unless another folder is named

For: looking at it, and the test that starts it. Not for: deploying, which azd does by itself.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from pathspec import GitIgnoreSpec

PROJECT = Path(__file__).resolve().parents[2]


def deployed(project: Path = PROJECT) -> list[Path]:
    """Return the files that are deployed, as paths inside the project."""
    rules = GitIgnoreSpec.from_lines((project / ".funcignore").read_text().splitlines())
    found = []
    for folder, folders, files in os.walk(project):
        inside = Path(folder).relative_to(project)
        folders[:] = [one for one in folders if not rules.match_file(f"{inside / one}/")]
        found += [inside / one for one in files if not rules.match_file(inside / one)]
    return sorted(found)


def build(folder: Path, project: Path = PROJECT) -> None:
    """Fill a folder with what is deployed, and nothing else."""
    shutil.rmtree(folder, ignore_errors=True)
    for path in deployed(project):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(project / path, folder / path)


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else PROJECT / ".package"
    build(target)
    sys.stdout.writelines(f"{path}\n" for path in deployed())
