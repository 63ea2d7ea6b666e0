"""The notice for a Teams workflow: one Adaptive Card for any number of requests, cause by cause.

Not for: sending it (notices.py). Names and Graph's words come from outside the app, so they are
text runs, which know no markdown: no name can become a link.

https://adaptivecards.io/explorer/, and for the envelope https://learn.microsoft.com/
microsoftteams/platform/webhooks-and-connectors/how-to/add-incoming-webhook
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from planning.causes import Cause

NAMED = 10  # requests by name under one cause; the others as a number
# In one card: Teams takes 28 kB.
MAX_CAUSES, MAX_NAMED = 10, 30
MAX_NAME, MAX_CAUSE = 100, 200  # characters
REASONS = {
    "exhausted": "all attempts are used up",
    "expired": "the window has closed, the access was never delivered",
    "expiring": "the window closes within 48 hours",
}
# On what a cause rests, by its kind.
RESTS_ON = {
    "graph": "Graph's words",
    "package": "an access package in which three or more people fail",
    "person": "one person, who fails in two or more access packages",
    "unknown": "Graph says nothing, and they have nothing in common",
}


def card(
    notices: Sequence[tuple[str, dict[str, Any]]], causes: Mapping[str, Cause]
) -> dict[str, Any]:
    """Return the message for these (reason, data); `data` as notices.py makes it.

    `causes` by id.
    """
    portal_url = notices[0][1]["portalUrl"]
    counts = Counter(reason for reason, _ in notices)
    by_cause = Counter(data["causeId"] for _, data in notices).most_common()
    body = [
        _line("Access that could not be delivered needs a person", weight="Bolder", size="Large"),
        *(_line(f"{counts[reason]}: {text}") for reason, text in REASONS.items() if counts[reason]),
    ]
    left = MAX_NAMED
    for cause_id, count in by_cause[:MAX_CAUSES]:
        body.append(_cause(causes[cause_id], count))
        some = [one for one in notices if one[1]["causeId"] == cause_id][: min(NAMED, left)]
        body += [_request(reason, data) for reason, data in some]
        left -= len(some)
        if count > len(some):
            body.append(_line(f"and {count - len(some)} more", isSubtle=True))
    if rest := sum(count for _, count in by_cause[MAX_CAUSES:]):
        body.append(_line(f"and {rest} more of other causes", weight="Bolder"))
    content = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": body,
        "actions": [{"type": "Action.OpenUrl", "title": "Open the portal", "url": portal_url}],
    }
    card_type = "application/vnd.microsoft.card.adaptive"
    attachment = {"contentType": card_type, "contentUrl": None, "content": content}
    return {"type": "message", "attachments": [attachment]}


def _cause(cause: Cause, count: int) -> dict[str, Any]:
    runs = [
        _run(f"{count}: "),
        _run(f"{cause.text[:MAX_CAUSE]} ", weight="Bolder"),
        _run(f"({RESTS_ON[cause.kind]})", isSubtle=True),
    ]
    return {"type": "RichTextBlock", "separator": True, "inlines": runs}


def _request(reason: str, data: dict[str, Any]) -> dict[str, Any]:
    requestor = data.get("requestorName") or data.get("requestorEmail") or "unknown requestor"
    package = data.get("accessPackageName") or "an access package that Graph does not name"
    left = f", {data['hoursLeft']} hours left" if reason == "expiring" else ""
    removal = ", a removal: the user still has access" if data.get("removal") else ""
    tried = f"{data['attempts']} attempts{left}{removal}. Request {data['requestId']}"
    runs = [
        _run(str(requestor)[:MAX_NAME], weight="Bolder"),
        _run(f": {str(package)[:MAX_NAME]}. "),
        _run(f"{REASONS[reason].capitalize()}, {tried}.", isSubtle=True),
    ]
    return {"type": "RichTextBlock", "inlines": runs}


def _line(text: str, **style: object) -> dict[str, Any]:
    return {"type": "RichTextBlock", "inlines": [_run(text, **style)]}


def _run(text: str, **style: object) -> dict[str, Any]:
    return {"type": "TextRun", "text": text, **style}
