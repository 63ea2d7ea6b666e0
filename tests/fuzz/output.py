"""Names and words from outside, as people see them: in CSV, in notices, as causes."""

from __future__ import annotations

import csv
import io
import json
import re
import unicodedata

from attempts import blank
from graph import Request
from planning.causes import Causes, mask
from planning.plan import REASONS
from planning.view import evaluate, to_dict
from reprocess_http.csv_export import ENCODING, to_csv
from reprocess_timer.notices import cloud_events
from reprocess_timer.teams_card import card
from settings import load
from tests.fuzz.targets import FIELD, any_text, target
from tests.support.http_calls import ID, NOW

SETTINGS = load({})
SEPARATOR = re.compile(r"[,;|\t-\r]")


@target(
    ("=1+1", "Ann", "a;=b", "a\t-1"),
    ("\ufeff@x", " \u00a0+x", "\uff1dx", '"=x"'),
    ("\u2212x", "'=x", "\r\n=x"),
    (b"\xff=x", "\u200b=x"),
)
def csv_cells(data: bytes) -> None:
    """No part of a cell begins a formula, however it is split; but for apostrophes it is the name."""
    given = [any_text(raw) for raw in data.split(FIELD)]
    columns = [str(n) for n in range(len(given))]
    content = to_csv(columns, [dict(zip(columns, given, strict=True))])
    first, cells = csv.reader(io.StringIO(content.decode(ENCODING), newline=""))
    assert first == columns
    for text, cell in zip(given, cells, strict=True):
        whole = text.encode(errors="replace").decode()
        assert cell.replace("'", "") == whole.replace("'", ""), "a name was changed"
        for part in SEPARATOR.split(cell):
            visible = "".join(one for one in part if one.isprintable()).lstrip(' "')
            assert unicodedata.normalize("NFKC", visible[:1])[:1] not in set("=+-@\u2212"), cell


@target(
    ("Ann", "Sales", "", "userAdd"),
    ("[x](https://evil.example)", "<at>all</at>", "[x](https://evil.example)", "adminRemove"),
    (b"\xff\xff", "\u202e" * 200, b"\xff", ""),
)
def notice(requestor: bytes, package: bytes, words: bytes, kind: bytes) -> None:
    """Names and Graph's words are text runs, never a link; card and events can be JSON."""
    request = Request(
        ID,
        "deliveryFailed",
        any_text(kind),
        NOW,
        requestor_name=any_text(requestor),
        access_package_name=any_text(package),
        status_text=any_text(words),
    )
    cause = Causes().of(request, blank(ID))
    view = evaluate(request, None, SETTINGS, NOW, cause)
    data = to_dict(view, NOW) | {"portalUrl": "https://portal.x"}
    notices = [(reason, data) for reason in REASONS]
    message = card(notices, {cause.id: cause})
    content = message["attachments"][0]["content"]
    runs = [run for block in content["body"] for run in block["inlines"]]
    assert {run["type"] for run in runs} == {"TextRun"}
    assert {name for run in runs for name in run} <= {"type", "text", "weight", "size", "isSubtle"}
    assert [one["url"] for one in content["actions"]] == ["https://portal.x"]
    _, events = cloud_events(notices, "urn:x", NOW.isoformat())
    for body in (message, events):
        assert json.loads(json.dumps(body, allow_nan=False)) == body


@target(
    ("The group ", "is read-only."),
    ("User 'Ann O'Hara' ", "(ann@example.com) has error 'AADSTS50020' of \u201cx y\u201d"),
    ("https://graph.microsoft.com/v1.0/groups/", "2026-08-20 12:00:00Z 12345 HTTP 403"),
    ("a'b'" * 60, "a.b." * 60),
)
def masked_words(before: bytes, after: bytes) -> None:
    """Words of Graph that differ in an id are the same cause, and show no id."""
    first, last = any_text(before)[:200], any_text(after)[:200]
    masked = mask(f"{first} {ID} {last}")
    assert masked == mask(f"{first} {ID[:-1]}8 {last}")
    assert ID not in masked
