"""docs/problems.md and the code name the same problems, with the same statuses."""

import re
from pathlib import Path

from reprocess_http import answers


def test_the_page_lists_every_problem_and_no_other():
    """A caller can rely on the page."""
    page = (Path(__file__).parent.parent / "docs" / "problems.md").read_text()
    documented = dict(re.findall(r"^\| `([a-z-]+)` \| (\d+) \|", page, re.MULTILINE))

    coded = {
        value.name: str(value.status)
        for value in vars(answers).values()
        if isinstance(value, answers.Problem)
    }

    assert coded == documented
