"""Notices: report requests that need a person, once per request and reason.

Not for: finding them (planning/plan.py). What could not be sent is sent by the next sweep, and no
sweep fails for it. The address is a secret: it is never logged.

    exhausted   all attempts are used up
    expired     the window has closed, and the access was never delivered
    expiring    the window may close within 48 hours
"""

from __future__ import annotations

import itertools
import os
from collections import deque
from typing import TYPE_CHECKING, Any

from azure.core.exceptions import AzureError

from events import INFO, WARNING, event
from graph.outcome import retry_after
from planning.view import evaluate, portal_url, to_dict
from reprocess_timer.teams_card import card
from session import bounded_by, new_session

if TYPE_CHECKING:
    from collections.abc import Sequence

    import requests

    from planning.causes import Cause, Causes
    from planning.plan import AttentionNeeded
    from reprocessing.many import Context
    from settings import Settings

BATCH_SIZE = 100  # events; about 100 kB, where Event Grid takes 1 MB at most
TRIES = 2
ANSWER_SECONDS = 10.0  # for one try
PAUSE_SECONDS = 1.0  # between two tries, where the receiver does not ask for more
TRANSIENT = {0, 408, 429, 500, 502, 503, 504}  # 0: no answer
REJECTED = {400, 413, 422}  # an event is wrong, or all are too many
# While nothing at all is taken, such as by a topic with another schema than CloudEvents.
MAX_REJECTIONS = 30


type Notice = tuple[AttentionNeeded, Cause]


def notify(
    context: Context, settings: Settings, to_notify: Sequence[AttentionNeeded], causes: Causes
) -> None:
    """Send what was not notified yet, and mark what was taken; `causes` knows all failed requests.

    A batch that is rejected is halved until one event is alone. That event is logged, and marked
    when the receiver takes others: sent again, it would be rejected again.
    """
    if not settings.notify_url or not to_notify:
        return
    size = len(to_notify) if settings.notify_format == "teams" else BATCH_SIZE
    notices = _with_causes(context, to_notify, causes)
    batches = deque(itertools.batched(notices, size, strict=False))
    rejected: list[tuple[Notice, str]] = []
    taken, rejections, error = False, 0, ""
    with new_session(1) as session:
        while batches:
            batch = batches.popleft()
            status, error = _send(session, context, settings, batch)
            if not error:
                taken = True
                event(INFO, "notice sent", count=len(batch))
                _mark(context, batch)
            elif status in REJECTED and (taken or rejections < MAX_REJECTIONS):
                rejections += 1
                if len(batch) > 1:
                    batches.extend(itertools.batched(batch, (len(batch) + 1) // 2, strict=False))
                else:
                    rejected.append((batch[0], error))
            else:
                batches.appendleft(batch)
                break
    left = sum(map(len, batches)) + (0 if taken else len(rejected))
    if left:
        event(WARNING, "notice not sent", count=left, error=error)
    if taken:
        for (one, _), reason in rejected:
            ids = [one.failed.request.id]
            event(WARNING, "notice not sent", count=1, error=reason, requestIds=ids)
        _mark(context, [one for one, _ in rejected])


def _with_causes(
    context: Context, to_notify: Sequence[AttentionNeeded], causes: Causes
) -> list[Notice]:
    """Return each with its cause. Sweeps read no histories; here the words of refusals count."""
    try:
        records = context.attempts.read_all(context.end, history=True)
    except AzureError:
        records = {}
    notices = []
    for one in to_notify:
        request = one.failed.request
        notices.append((one, causes.of(request, records.get(request.id, one.failed.record))))
    return notices


def _send(
    session: requests.Session, context: Context, settings: Settings, batch: Sequence[Notice]
) -> tuple[int, str]:
    """Return the status, 0 when there was no answer, and what went wrong: empty when taken.

    The receiver's `Retry-After` is waited for where the sweep has time for it. The body of its
    answer is not read.
    """
    media_type, body = _message(context, settings, batch)
    address, headers = settings.notify_url, {"Content-Type": media_type}
    status, error, pause = 0, "there was no time left for it", 0.0
    for _ in range(TRIES):
        if pause >= context.end.left():
            break
        context.graph.sleep(pause)
        try:
            with (
                bounded_by(context.end.within(ANSWER_SECONDS)),
                session.post(address, json=body, headers=headers, stream=True) as answer,
            ):
                status, error = answer.status_code, f"HTTP {answer.status_code}"
                asked = retry_after(answer.headers, context.graph.now()) or 0.0
                pause = max(asked, PAUSE_SECONDS)
        except (OSError, ValueError) as failure:  # requests' own are OSErrors
            # Its text could show the address.
            status, error, pause = 0, type(failure).__name__, PAUSE_SECONDS
        if status not in TRANSIENT:
            break
    return status, "" if 200 <= status < 300 else error


def _message(context: Context, settings: Settings, batch: Sequence[Notice]) -> tuple[str, Any]:
    """Return media type and body of a notice.

    Each request is as `GET /api/requests` shows it, with where a person looks.
    """
    now, portal = context.graph.now(), {"portalUrl": portal_url(settings)}
    notices = []
    for one, cause in batch:
        view = evaluate(one.failed.request, one.failed.record, settings, now, cause)
        notices.append((one.reason, to_dict(view, now) | portal))
    if settings.notify_format == "teams":
        return "application/json", card(notices, {cause.id: cause for _, cause in batch})
    host = os.environ.get("WEBSITE_HOSTNAME", "")
    source = f"https://{host}" if host else "urn:redeliver:local"
    return cloud_events(notices, source, now.isoformat())


def cloud_events(
    notices: Sequence[tuple[str, dict[str, Any]]], source: str, at: str
) -> tuple[str, Any]:
    """Return media type and body: one event, or a batch of several.

    https://github.com/cloudevents/spec: JSON format and HTTP binding, structured and batched mode.
    The id of an event is the same on every try, so that a receiver can recognize a repetition.
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
        for reason, data in notices
    ]
    if len(events) == 1:
        return "application/cloudevents+json", events[0]
    return "application/cloudevents-batch+json", events


def _mark(context: Context, notified: Sequence[Notice]) -> None:
    """Remember what was sent; what cannot be written is sent once more by the next sweep."""
    for count, (one, _) in enumerate(notified):
        try:
            context.attempts.mark_notified(one.failed.request.id, one.reason, context.end)
        except AzureError as error:
            kind, left = type(error).__name__, len(notified) - count
            event(WARNING, "attempts not written", what="notified", count=left, error=kind)
            return
