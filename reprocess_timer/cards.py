"""The notice for a Teams workflow: one Adaptive Card, however many requests it tells of.

Not for: sending it (notices.py). Names come from outside, so they are text runs: these know no
markdown, and nobody's name can become a link.

https://adaptivecards.io/explorer/, and for the envelope https://learn.microsoft.com/
microsoftteams/platform/webhooks-and-connectors/how-to/add-incoming-webhook
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

NAMED = 20  # requests by name; the others as a number
LONGEST = 100  # characters of a name
REASONS = {
    "exhausted": "all attempts are used up",
    "expired": "the window has closed, the access was never delivered",
    "expiring": "the window closes within 48 hours",
}


def card(told_of: Sequence[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
    """Return the message for these (reason, data); `data` as notices.py makes it."""
    counts = Counter(reason for reason, _ in told_of)
    body = [
        _line("Access that could not be delivered needs a person", weight="Bolder", size="Large"),
        *(
            _line(f"{counts[reason]}: {words}")
            for reason, words in REASONS.items()
            if counts[reason]
        ),
        *(_request(reason, data) for reason, data in told_of[:NAMED]),
    ]
    rest = len(told_of) - NAMED
    if rest > 0:
        body.append(_line(f"and {rest} more", weight="Bolder"))
    content = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": body,
        "actions": [
            {
                "type": "Action.OpenUrl",
                "title": "Open the portal",
                "url": told_of[0][1]["portalUrl"],
            }
        ],
    }
    attachment = {
        "contentType": "application/vnd.microsoft.card.adaptive",
        "contentUrl": None,
        "content": content,
    }
    return {"type": "message", "attachments": [attachment]}


def _request(reason: str, data: dict[str, Any]) -> dict[str, Any]:
    who = data.get("requestorName") or data.get("requestorEmail") or "somebody unknown"
    what = data.get("accessPackageName") or "an access package that Graph does not name"
    left = (
        f", {data['hoursLeft']} hours left" if reason == "expiring" and "hoursLeft" in data else ""
    )
    removal = ", a removal: somebody still has access" if data.get("removal") else ""
    tried = f"{data['attempts']} attempts{left}{removal}. Request {data['requestId']}"
    return {
        "type": "RichTextBlock",
        "separator": True,
        "inlines": [
            {"type": "TextRun", "text": str(who)[:LONGEST], "weight": "Bolder"},
            {"type": "TextRun", "text": f": {str(what)[:LONGEST]}. "},
            {
                "type": "TextRun",
                "text": f"{REASONS[reason].capitalize()}, {tried}.",
                "isSubtle": True,
            },
        ],
    }


def _line(text: str, **how: str) -> dict[str, Any]:
    return {"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": text, **how}]}
