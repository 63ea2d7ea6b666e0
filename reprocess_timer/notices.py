"""Notices: tell somebody of requests that need a person, once per request and reason.

Not for: finding them (plan.py). What could not be sent is sent by the next sweep; nothing here
delays a sweep for long, or fails it. The address is a secret: it is never logged.

    exhausted   all attempts are used up
    expired     the window has closed, and the access was never delivered
    expiring    the window closes within 48 hours
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import requests
from azure.core.exceptions import AzureError

from deadline import TookTooLong, bounded
from events import INFO, WARNING, event
from reprocess_timer.cards import card
from reprocess_timer.failure import item, judged

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reprocess_timer.means import Means
    from reprocess_timer.plan import Noted

TRIES = 2
ANSWER_SECONDS = 10.0  # for one try
PAUSE_SECONDS = 1.0  # between two tries
BATCH = 100  # events; about 100 kB, where Event Grid takes 1 MB at most
# https://learn.microsoft.com/graph/deployments and the clouds' own pages: where a person looks.
PORTALS = {
    "global": "https://portal.azure.com",
    "usgov": "https://portal.azure.us",
    "usgov-dod": "https://portal.azure.us",
    "china": "https://portal.azure.cn",
}
PORTAL_VIEW = "#view/Microsoft_AAD_ERM/DashboardBlade/~/elmEntitlement"


def notify(means: Means, untold: Sequence[Noted]) -> None:
    """Send one notice of all that was not told yet, and remember what was told.

    Many events go in several batches. What was not taken is left to the next sweep.
    """
    settings = means.settings
    if not settings.notify_url or not untold:
        return
    most = len(untold) if settings.notify_format == "teams" else BATCH
    for start in range(0, len(untold), most):
        if not _notified(means, untold[start : start + most]):
            return


def _notified(means: Means, untold: Sequence[Noted]) -> bool:
    told_of = [(one.reason, _data(means, one)) for one in untold]
    if means.settings.notify_format == "teams":
        media_type, body = "application/json", card(told_of)
    else:
        media_type, body = cloud_events(told_of, _source(), means.now().isoformat())
    failure = _sent(means, media_type, body)
    if failure:
        event(WARNING, "notice not sent", count=len(untold), error=failure)
        return False
    event(INFO, "notice sent", count=len(untold))
    _remember(means, untold)
    return True


def cloud_events(
    told_of: Sequence[tuple[str, dict[str, Any]]], source: str, at: str
) -> tuple[str, Any]:
    """Return media type and body: one event, or a batch of several.

    https://github.com/cloudevents/spec: JSON format and HTTP binding, structured and batched mode.
    The id of an event is the same on every try, so that a receiver can tell a repetition.
    """
    events = [
        {
            "specversion": "1.0",
            "type": f"redeliver.request.{reason}",
            "source": source,
            "subject": data["requestId"],
            "id": f"{data['requestId']}/{reason}",
            "time": at,
            "datacontenttype": "application/json",
            "data": data,
        }
        for reason, data in told_of
    ]
    if len(events) == 1:
        return "application/cloudevents+json", events[0]
    return "application/cloudevents-batch+json", events


def _sent(means: Means, media_type: str, body: object) -> str:
    """Send it; return what went wrong, empty when it was taken (2xx)."""
    failure = "there was no time left for it"
    for attempt in range(1, TRIES + 1):
        if attempt > 1:
            means.graph.sleep(min(PAUSE_SECONDS, means.end.left()))
        if means.end.left() <= 0:
            return failure
        seconds = min(ANSWER_SECONDS, means.end.left())
        try:
            status = bounded(seconds, lambda: _post(means.settings.notify_url, media_type, body))
        except (requests.RequestException, OSError, ValueError, TookTooLong) as error:
            failure = type(error).__name__  # its text could show the address
            continue
        if 200 <= status < 300:
            return ""
        failure = f"HTTP {status}"
    return failure


def _post(url: str, media_type: str, body: object) -> int:
    """POST once and return the status; no redirect is followed, no proxy or .netrc is read."""
    with requests.Session() as session:
        session.trust_env = False
        with session.post(
            url,
            json=body,
            headers={"Content-Type": media_type},
            timeout=ANSWER_SECONDS,
            allow_redirects=False,
            stream=True,  # what it says is not read
        ) as answer:
            return answer.status_code


def _remember(means: Means, untold: Sequence[Noted]) -> None:
    """Keep what was told; what cannot be written is told once more by the next sweep."""
    for one in untold:
        try:
            means.attempts.tell(one.candidate.request.id, one.reason, means.end)
        except AzureError as error:
            kind = type(error).__name__
            event(WARNING, "attempts not written", what="told", count=1, error=kind)
            return


def _data(means: Means, noted: Noted) -> dict[str, Any]:
    """Return what is told of one request: an item of `GET /api/requests`, and where to look."""
    one = noted.candidate
    shown = judged(one.request, one.attempt, means.settings, means.now())
    portal = PORTALS[means.settings.graph_cloud]
    return item(shown, means.now()) | {"portalUrl": f"{portal}/{PORTAL_VIEW}"}


def _source() -> str:
    """Return the app's own address, which names it to whoever gets its events."""
    host = os.environ.get("WEBSITE_HOSTNAME", "")
    return f"https://{host}" if host else "urn:redeliver:local"
