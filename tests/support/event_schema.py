"""The events of the log and the fields that each may have, as the docstring of events.py has them."""

from __future__ import annotations

import re

import events

# A line that begins with a name, and lines further to the right, which continue it.
_ROWS = re.findall(
    r"^    (<?[a-z](?:[a-z >-]*[a-z>])?) {2,}(.*(?:\n {14,}.*)*)",
    events.__doc__ or "",
    re.MULTILINE,
)


def _fields(text: str) -> str:
    """Fields, with those that a name in angle brackets stands for."""
    return " ".join(_GROUPS.get(one, one) for one in text.split())


_GROUPS = {name: " ".join(text.split()) for name, text in _ROWS if name.startswith("<")}
EVENTS = {name: _fields(text) for name, text in _ROWS if name not in _GROUPS}
COMMON = _GROUPS["<any>"]
