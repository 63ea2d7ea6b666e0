"""reprocess_timer/teams_card.py: a card that Teams can read; Microsoft's own library reads it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from planning.causes import UNKNOWN, Cause, CauseKind
from reprocess_timer.teams_card import MAX_CAUSE, MAX_CAUSES, MAX_NAME, MAX_NAMED, NAMED, card

HOME = Path(__file__).resolve().parents[2]
HOSTILE = "[click](https://evil.example) <script>alert(1)</script> \u202egnp.exe 🎫 " + "x" * 500
DATA = {
    "requestId": "00000001-0000-4000-8000-000000000000",
    "accessPackageName": "Sales Team",
    "requestorName": "Adele Vance",
    "hoursLeft": 24.0,
    "attempts": 20,
    "causeId": UNKNOWN.id,
    "portalUrl": "https://portal.azure.com/",
}
CAUSES = {UNKNOWN.id: UNKNOWN}


def parsed(content):
    """Return what the library reads of a card, and what it finds wrong with it."""
    script = """
        const cards = require('./.cards/node_modules/adaptivecards/dist/adaptivecards.js');
        const card = new cards.AdaptiveCard(), context = new cards.SerializationContext();
        card.parse(JSON.parse(require('fs').readFileSync(0, 'utf8')), context);
        const wrong = [...Array(context.eventCount).keys()].map(n => context.getEventAt(n).message);
        console.log(JSON.stringify({card: card.toJSON(), wrong}));
    """
    done = subprocess.run(
        [HOME / ".cards" / "node", "-e", script],
        input=json.dumps(content),
        capture_output=True,
        text=True,
        cwd=HOME,
        check=True,
    )
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def library():
    subprocess.run([HOME / "scripts" / "adaptivecards"], check=True)


def content_of(message):
    (attachment,) = message["attachments"]
    assert "application/vnd.microsoft.card.adaptive" == attachment["contentType"]
    return attachment["content"]


def texts_of(content):
    return ["".join(run["text"] for run in block["inlines"]) for block in content["body"]]


def test_a_card_is_one_that_teams_can_read(library):
    """Nothing in it is unknown to the library, and nothing is lost when it reads the card."""
    content = content_of(card([("expiring", DATA)] * (NAMED + 5), CAUSES))

    assert {"card": content, "wrong": []} == parsed(content)
    texts = texts_of(content)
    assert [
        "Access that could not be delivered needs a person",
        "15: the window closes within 48 hours",
        "15: unknown (Graph says nothing, and they have nothing in common)",
        (
            "Adele Vance: Sales Team. The window closes within 48 hours, 20 attempts, "
            "24.0 hours left. Request 00000001-0000-4000-8000-000000000000."
        ),
    ] == texts[:4]
    assert ("and 5 more", NAMED + 4) == (texts[-1], len(texts))


def test_causes_come_first_with_ten_requests_each(library):
    """The one with most requests first; each says on what it rests."""
    causes = [
        Cause.of(CauseKind.PERSON, "Alex Wilber", "p"),
        Cause.of(CauseKind.GRAPH, "User <number> is locked", "w"),
        Cause.of(CauseKind.PACKAGE, "Sales Team", "a"),
    ]
    notices = [
        ("expired", DATA | {"causeId": one.id})
        for count, one in zip((3, 12, 5), causes, strict=True)
        for _ in range(count)
    ]

    content = content_of(card(notices, {one.id: one for one in causes}))

    texts = [text for text in texts_of(content) if not text.startswith("Adele Vance: ")]
    assert [
        "20: the window has closed, the access was never delivered",
        "12: User <number> is locked (Graph's words)",
        "and 2 more",
        "5: Sales Team (an access package in which three or more people fail)",
        "3: Alex Wilber (one person, who fails in two or more access packages)",
    ] == texts[1:]
    assert {"card": content, "wrong": []} == parsed(content)


def test_a_card_stays_below_what_teams_takes():
    """28 kB; what is left out is counted."""
    causes = [Cause.of(CauseKind.GRAPH, "x" * 500, str(n)) for n in range(30)]
    some = [
        ("expired", DATA | {"causeId": one.id, "requestorName": "y" * 30})
        for one in causes
        for _ in range(20)
    ]

    content = content_of(card(some, {one.id: one for one in causes}))

    texts = texts_of(content)
    assert MAX_NAMED == sum(text.startswith("yyy") for text in texts)
    assert MAX_CAUSES == sum("(Graph's words)" in text for text in texts)
    assert "and 400 more of other causes" == texts[-1]
    assert f"20: {'x' * MAX_CAUSE} (Graph's words)" in texts
    assert len(json.dumps(content)) < 28_000


def test_no_name_becomes_a_link(library):
    """Names are text runs, which know no markdown, and are cut."""
    names = {"requestorName": HOSTILE, "accessPackageName": HOSTILE}

    hostile = Cause.of(CauseKind.GRAPH, HOSTILE, "")
    content = content_of(card([("exhausted", DATA | names)], {UNKNOWN.id: hostile}))

    assert {"RichTextBlock"} == {block["type"] for block in content["body"]}
    assert [HOSTILE[:MAX_NAME], f": {HOSTILE[:MAX_NAME]}. "] == [
        run["text"] for run in content["body"][-1]["inlines"][:2]
    ]
    assert [] == parsed(content)["wrong"]


def test_what_graph_does_not_name_has_words_of_its_own():
    """A removal says what it means; each reason has its number."""
    nameless = {key: DATA[key] for key in ("requestId", "attempts", "causeId", "portalUrl")}
    notices = [("expired", nameless | {"removal": True}), ("exhausted", nameless)]

    texts = texts_of(content_of(card(notices, CAUSES)))

    assert [
        "1: all attempts are used up",
        "1: the window has closed, the access was never delivered",
        "2: unknown (Graph says nothing, and they have nothing in common)",
        (
            "unknown requestor: an access package that Graph does not name. The window has closed, "
            "the access was never delivered, 20 attempts, a removal: the user still has access. "
            "Request 00000001-0000-4000-8000-000000000000."
        ),
    ] == texts[1:5]
