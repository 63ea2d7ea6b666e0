"""reprocess_timer/teams_card.py: a card that Teams can read; Microsoft's own library reads it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from planning.causes import UNKNOWN, Cause, CauseKind
from reprocess_timer.teams_card import MAX_CAUSE, MAX_CAUSES, MAX_NAME, MAX_NAMED, card

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


@pytest.fixture(scope="module")
def content_of():
    """Return the card in a message; the library knows all that is in it, and loses nothing."""
    subprocess.run([HOME / "scripts" / "adaptivecards"], check=True)
    script = """
        const cards = require('./.cards/node_modules/adaptivecards/dist/adaptivecards.js');
        const card = new cards.AdaptiveCard(), context = new cards.SerializationContext();
        card.parse(JSON.parse(require('fs').readFileSync(0, 'utf8')), context);
        const wrong = [...Array(context.eventCount).keys()].map(n => context.getEventAt(n).message);
        console.log(JSON.stringify({card: card.toJSON(), wrong}));
    """

    def content_of(message):
        (attachment,) = message["attachments"]
        assert "application/vnd.microsoft.card.adaptive" == attachment["contentType"]
        content = attachment["content"]
        command, text = [HOME / ".cards" / "node", "-e", script], json.dumps(content)
        done = subprocess.run(
            command, input=text, capture_output=True, text=True, cwd=HOME, check=True
        )
        assert {"card": content, "wrong": []} == json.loads(done.stdout)
        return content

    return content_of


def texts_of(content):
    return ["".join(run["text"] for run in block["inlines"]) for block in content["body"]]


def test_a_card_says_why_each_request_needs_a_person(content_of):
    """A removal says what it means, and what Graph does not name has words of its own."""
    nameless = {key: DATA[key] for key in ("requestId", "attempts", "causeId", "portalUrl")}
    notices = [("expired", nameless | {"removal": True}), ("exhausted", DATA), ("expiring", DATA)]

    assert [
        "Access that could not be delivered needs a person",
        "1: all attempts are used up",
        "1: the window has closed, the access was never delivered",
        "1: the window closes within 48 hours",
        "3: unknown (Graph says nothing, and they have nothing in common)",
        (
            "unknown requestor: an access package that Graph does not name. The window has closed, "
            "the access was never delivered, 20 attempts, a removal: the user still has access. "
            "Request 00000001-0000-4000-8000-000000000000."
        ),
        (
            "Adele Vance: Sales Team. All attempts are used up, 20 attempts. Request "
            "00000001-0000-4000-8000-000000000000."
        ),
        (
            "Adele Vance: Sales Team. The window closes within 48 hours, 20 attempts, "
            "24.0 hours left. Request 00000001-0000-4000-8000-000000000000."
        ),
    ] == texts_of(content_of(card(notices, {UNKNOWN.id: UNKNOWN})))


def test_causes_come_first_with_ten_requests_each(content_of):
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


def test_a_card_stays_below_what_teams_takes(content_of):
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


def test_no_name_becomes_a_link(content_of):
    """Names are text runs, which know no markdown, and are cut."""
    names = {"requestorName": HOSTILE, "accessPackageName": HOSTILE}

    hostile = Cause.of(CauseKind.GRAPH, HOSTILE, "")
    content = content_of(card([("exhausted", DATA | names)], {UNKNOWN.id: hostile}))

    assert {"RichTextBlock"} == {block["type"] for block in content["body"]}
    assert [HOSTILE[:MAX_NAME], f": {HOSTILE[:MAX_NAME]}. "] == [
        run["text"] for run in content["body"][-1]["inlines"][:2]
    ]
