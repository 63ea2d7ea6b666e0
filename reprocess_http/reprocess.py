"""Reprocess one request, or tell where it stands: from Graph's answers to an outcome.

Not for: HTTP, neither ours (answers.py) nor Graph's (../graph.py).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from graph import GraphError, GraphRefused, RequestNotFound
from reprocess_http.recent import STALE_FOR

if TYPE_CHECKING:
    from attempts import Recorder
    from graph import Deadline, Graph, Request
    from reprocess_http.recent import Recent

POLL_SECONDS = 3.0  # between two reads while a caller waits

ENDED = {
    "delivered": ("delivered", "The access was delivered."),
    "deliveryfailed": ("deliveryFailed", "The delivery failed again; its cause is not fixed yet."),
    "partiallydelivered": ("partiallyDelivered", "Only a part of the access was delivered."),
    "denied": ("denied", "The request was denied; nothing will be delivered."),
    "canceled": ("canceled", "The request was canceled; nothing will be delivered."),
}
WHY_NOT = {
    "windowClosed": "The window in which Graph accepts a reprocess is closed: cancel the request "
    "and ask for the access again.",
    "notReprocessable": "Only a request whose delivery failed, wholly or partly, can be "
    "reprocessed.",
}


@dataclass(frozen=True, slots=True)
class Result:
    """What came of it. `on_its_way`: ask again later; `accepted_at`: Graph's clock."""

    outcome: str
    detail: str
    state: str | None = None
    on_its_way: bool = False
    accepted_at: datetime | None = None
    graph_request_id: str = ""
    client_request_id: str = ""


class NotReprocessable(Exception):
    """Graph would not or did not reprocess; `outcome` says why, `refusal` is Graph's own no."""

    def __init__(self, outcome: str, state: str, refusal: GraphRefused) -> None:
        """`outcome` is `notReprocessable`, `windowClosed` or `refused`."""
        super().__init__(WHY_NOT.get(outcome, refusal.detail))
        self.outcome = outcome
        self.state = state
        self.refusal = refusal


def reprocess(  # noqa: PLR0913 - one call's inputs
    graph: Graph,
    recorder: Recorder,
    recent: Recent,
    request_id: str,
    deadline: Deadline,
    *,
    dry_run: bool = False,
    wait: int = 0,
) -> Result:
    """Reprocess one request; with `wait` (seconds) stay until it ended or the time is over.

    Raises NotReprocessable, GraphError.
    """
    if dry_run:
        return look(graph, request_id, deadline)
    try:
        with recent.alone(request_id, deadline.left()):
            accepted = graph.reprocess(request_id, deadline)
            recent.add(request_id, accepted.at)
    except RequestNotFound:
        raise
    except GraphRefused as refusal:
        accepted_at = recent.get(request_id)
        result = _after_refusal(graph, request_id, refusal, deadline, accepted_at)
    else:
        recorder.record(request_id, datetime.now(UTC))
        accepted_at = accepted.at
        result = Result(
            "accepted",
            "Graph accepted the reprocess; the delivery is under way.",
            on_its_way=True,
            accepted_at=accepted.at,
            graph_request_id=accepted.graph_request_id,
            client_request_id=accepted.client_request_id,
        )
    if result.on_its_way and wait:
        result = _wait(graph, request_id, result, accepted_at, deadline, wait)
    return result


def _after_refusal(
    graph: Graph,
    request_id: str,
    refusal: GraphRefused,
    deadline: Deadline,
    accepted_at: datetime | None,
) -> Result:
    """Read the request to tell what Graph's refusal means. Raises NotReprocessable.

    A failure older than our own acceptance of a moment ago is stale: it is being delivered.
    """
    request = graph.read(request_id, deadline)
    outcome = _standing(graph, request)
    if _is_stale(request, accepted_at):
        return replace(_already("alreadyDelivering", request), accepted_at=accepted_at)
    if outcome in {"alreadyDelivering", "alreadyDelivered"}:
        return _already(outcome, request)
    if outcome == "wouldReprocess":
        outcome = "refused"
    raise NotReprocessable(outcome, request.state, refusal) from refusal


def look(graph: Graph, request_id: str, deadline: Deadline) -> Result:
    """Tell what a reprocess would do, and change nothing."""
    request = graph.read(request_id, deadline)
    outcome = _standing(graph, request)
    if outcome in {"alreadyDelivering", "alreadyDelivered"}:
        already = _already(outcome, request)
        return Result(outcome, already.detail, request.state)
    detail = WHY_NOT.get(outcome, "The delivery failed and its window is open: it would be tried.")
    return Result(outcome, detail, request.state)


def _standing(graph: Graph, request: Request) -> str:
    """Return what a reprocess of this request would come to, by its state and window."""
    state = request.state.lower()
    if state == "delivering":
        return "alreadyDelivering"
    if state == "delivered":
        return "alreadyDelivered"
    if not request.has_failed:
        return "notReprocessable"
    window = timedelta(days=graph.settings.sweep_window_days)
    if request.completed_at and datetime.now(UTC) - request.completed_at > window:
        return "windowClosed"
    return "wouldReprocess"


def _already(outcome: str, request: Request) -> Result:
    if outcome == "alreadyDelivering":
        detail = "The delivery is already under way; nothing more was started."
        return Result(outcome, detail, request.state, on_its_way=True)
    return Result(outcome, "The access was delivered already.", request.state)


def status(
    graph: Graph, request_id: str, accepted_at: datetime | None, deadline: Deadline
) -> Result:
    """Tell where a request stands; a failure older than `accepted_at` is taken for stale."""
    request = graph.read(request_id, deadline)
    if request.has_ended and not _is_stale(request, accepted_at):
        outcome, detail = ENDED[request.state.lower()]
        return Result(outcome, detail, request.state, accepted_at=accepted_at)
    return Result(
        "onItsWay",
        "The request has not ended yet; ask again later.",
        request.state,
        on_its_way=True,
        accepted_at=accepted_at,
    )


def _is_stale(request: Request, accepted_at: datetime | None) -> bool:
    """Whether this failure is the one from before the acceptance, which Graph still shows."""
    if not accepted_at or not request.has_failed or not request.completed_at:
        return False
    recent = datetime.now(UTC) - accepted_at < STALE_FOR
    # acceptedAt comes from a Date header, so it is cut to whole seconds and never too late: a new
    # failure is not taken for the old one.
    return recent and request.completed_at < accepted_at


def _wait(  # noqa: PLR0913 - one call's inputs
    graph: Graph,
    request_id: str,
    result: Result,
    accepted_at: datetime | None,
    deadline: Deadline,
    wait: int,
) -> Result:
    """Read the request again and again until it ended or `wait` seconds are over.

    What was accepted stays accepted: a failing read only ends the waiting.
    """
    end = deadline.left() - wait
    while deadline.left() - end > POLL_SECONDS and deadline.left() > POLL_SECONDS:
        graph.sleep(POLL_SECONDS)
        try:
            now = status(graph, request_id, accepted_at, deadline)
        except GraphError:
            break
        if not now.on_its_way:
            return now
    return result
