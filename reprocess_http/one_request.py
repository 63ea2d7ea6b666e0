"""One request: have Graph reprocess it, or tell where it stands.

Not for: HTTP, neither ours (answers.py) nor Graph's (../graph).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from deadline import Deadline, bounded
from events import WARNING, event
from graph import GraphError, GraphRefused, RequestNotFound
from reprocess_http.lately import StillUnderWay, is_of_late
from reprocess_http.problems import (
    LOST,
    Failing,
    NotNow,
    NotReprocessable,
    Problem,
    Refused,
    Throttled,
    TimedOut,
    WindowClosed,
    problem_of,
)

if TYPE_CHECKING:
    from datetime import datetime

    from attempts import Attempts
    from graph import Graph, Request
    from reprocess_http.lately import Acceptances, UnderWay

# A call may have come at the same time as another and still begin after it has ended: the host has
# only so many threads.
AT_ONCE = timedelta(seconds=10)
POLL_SECONDS = 3.0  # between two reads while a caller waits
LAST_LOOK_SECONDS = 3.0  # how much later than `wait` an answer may come
RECORD_SECONDS = 1.0  # for writing the attempt down, while a caller waits

# What the end of a request is called, and said to be.
ENDED = {
    "delivered": ("delivered", "The access was delivered."),
    "deliveryfailed": ("deliveryFailed", "The delivery failed."),
    "partiallydelivered": ("partiallyDelivered", "Only a part of the access was delivered."),
    "denied": ("denied", "The request was denied; nothing will be delivered."),
    "canceled": ("canceled", "The request was canceled; nothing will be delivered."),
}
AGAIN = "The delivery failed again; its cause is not fixed yet."
# What a reprocess would come to.
PROSPECTS = {
    "alreadyDelivering": "The delivery is already under way; nothing more was started.",
    "alreadyDelivered": "The access was delivered already.",
    "notReprocessable": NotReprocessable.usual,
    "windowClosed": WindowClosed.usual,
    "wouldReprocess": "The delivery failed and its window is open: it would be tried.",
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


@dataclass(frozen=True, slots=True)
class Deliveries:
    """Reprocesses single requests, for all routes. Every public method raises Problem.

    `window`: how long after a failure Graph accepts a reprocess. What is under way, and what was
    accepted of late, is this process's own.
    """

    graph: Graph
    attempts: Attempts
    window: timedelta
    under_way: UnderWay[Result]
    acceptances: Acceptances

    def reprocess(
        self, request_id: str, deadline: Deadline, once_within: timedelta = AT_ONCE
    ) -> Result:
        """Have Graph deliver this request again.

        Of equal calls at once one reaches Graph; the others wait for its end, and it is theirs.
        What was accepted less than `once_within` ago is not sent again while it is on its way.
        """
        accepted_at = self._accepted_at(request_id)
        if accepted_at and self.graph.now() - accepted_at < once_within:
            result = self.status(request_id, accepted_at, deadline)
            if result.on_its_way:
                return _said_again(result)
        try:
            result, mine = self.under_way.together(
                request_id, deadline.left(), lambda: self._send(request_id, deadline)
            )
        except StillUnderWay:
            detail = f"Another call for this request has not ended in time. {LOST}"
            raise TimedOut(detail) from None
        if result.outcome != "accepted":
            return result
        if not mine:
            return _said_again(result)
        self._record(request_id, result.accepted_at or self.graph.now())
        return result

    def would_reprocess(self, request_id: str, deadline: Deadline) -> Result:
        """Tell what a reprocess would come to, and change nothing."""
        request = self._read(request_id, deadline)
        prospect = self._prospect(request, self._accepted_at(request_id))
        return replace(prospect, on_its_way=False)

    def status(self, request_id: str, accepted_at: datetime | None, deadline: Deadline) -> Result:
        """Tell where a request stands.

        `accepted_at`: the acceptance that the caller knows of; without it the one that is
        remembered here. For a while the failure from before it counts as on its way.
        """
        accepted_at = accepted_at or self._accepted_at(request_id)
        request = self._read(request_id, deadline)
        if not request.has_ended or self._is_stale(request, accepted_at):
            return Result(
                "onItsWay",
                "The request has not ended yet; ask again later.",
                request.state,
                on_its_way=True,
                accepted_at=accepted_at,
            )
        outcome, detail = ENDED[request.state.lower()]
        if outcome == "deliveryFailed" and accepted_at and request.has_moved(accepted_at):
            detail = AGAIN
        return Result(outcome, detail, request.state, accepted_at=accepted_at)

    def stay(self, request_id: str, result: Result, seconds: float, deadline: Deadline) -> Result:
        """Look at what is on its way until it has ended or the seconds are over.

        Ends LAST_LOOK_SECONDS later than that at most, and never after `deadline`. What was
        accepted stays so: a read that fails changes nothing.
        """
        if not result.on_its_way or not seconds:
            return result
        seconds = min(seconds, deadline.left() - LAST_LOOK_SECONDS)
        stay, last_look = deadline.within(seconds), deadline.within(seconds + LAST_LOOK_SECONDS)
        over = False
        while not over:
            self.graph.sleep(min(POLL_SECONDS, stay.left()))
            over = stay.left() <= 0
            try:
                now = self.status(request_id, result.accepted_at, last_look)
            except Throttled:
                return result  # Graph wants no call before this one is over
            except NotNow:
                continue
            except Problem:
                return result
            if not now.on_its_way:
                return now
        return result

    def _send(self, request_id: str, deadline: Deadline) -> Result:
        """Have Graph reprocess it; after a refusal read the request, to tell what it means."""
        try:
            accepted = self.graph.reprocess(request_id, deadline)
        except RequestNotFound as error:
            raise problem_of(error) from error
        except GraphRefused as refusal:
            return self._explained(refusal, request_id, deadline)
        except GraphError as error:
            raise problem_of(error, sent=True) from error
        self.acceptances.add(request_id, accepted.at)
        return Result(
            "accepted",
            "Graph accepted the reprocess; the delivery is under way.",
            on_its_way=True,
            accepted_at=accepted.at,
            graph_request_id=accepted.graph_request_id,
            client_request_id=accepted.client_request_id,
        )

    def _explained(self, refusal: GraphRefused, request_id: str, deadline: Deadline) -> Result:
        """Return that there was nothing to do, or raise why Graph refused.

        What nothing speaks against was perhaps accepted just before, by a sweep or for another
        instance: only the table knows of that.
        """
        request = self._read(request_id, deadline)
        prospect = self._prospect(request, self._accepted_at(request_id))
        if prospect.outcome == "wouldReprocess":
            prospect = self._prospect(request, self._attempted_at(request_id))
        state = prospect.state
        if prospect.outcome == "notReprocessable":
            raise NotReprocessable(state=state, said=refusal) from refusal
        if prospect.outcome == "windowClosed":
            raise WindowClosed(state=state, said=refusal) from refusal
        if prospect.outcome == "wouldReprocess":
            says = f"{problem_of(refusal).detail} The service may still be retrying by itself."
            raise Refused(says, state=state, said=refusal) from refusal
        return prospect

    def _prospect(self, request: Request, accepted_at: datetime | None) -> Result:
        """Return what a reprocess of this request would come to, after an acceptance or none."""
        state = request.state.lower()
        if state == "delivering" or self._is_stale(request, accepted_at):
            return Result(
                "alreadyDelivering",
                PROSPECTS["alreadyDelivering"],
                request.state,
                on_its_way=True,
                accepted_at=accepted_at,
            )
        if state == "delivered":
            outcome = "alreadyDelivered"
        elif not request.has_failed:
            outcome = "notReprocessable"
        elif request.completed_at and self.graph.now() - request.completed_at > self.window:
            outcome = "windowClosed"
        else:
            outcome = "wouldReprocess"
        return Result(outcome, PROSPECTS[outcome], request.state)

    def _accepted_at(self, request_id: str) -> datetime | None:
        return self.acceptances.get(request_id, self.graph.now())

    def _attempted_at(self, request_id: str) -> datetime | None:
        """Return when Graph took the last attempt at it, as far as the table tells in time."""
        deadline = Deadline(RECORD_SECONDS)
        try:
            attempt = bounded(RECORD_SECONDS, lambda: self.attempts.read(request_id, deadline))
        except Exception:  # whatever the table says, the answer is about Graph
            return None
        return attempt.last if attempt and attempt.outcome == "sent" else None

    def _is_stale(self, request: Request, accepted_at: datetime | None) -> bool:
        """Whether this is the failure from before the acceptance, which Graph may still show."""
        if not accepted_at or not is_of_late(accepted_at, self.graph.now()):
            return False
        return not request.has_moved(accepted_at)

    def _read(self, request_id: str, deadline: Deadline) -> Request:
        """Read it. After a good end the next failure is a new one, whenever it was."""
        try:
            request = self.graph.read(request_id, deadline)
        except RequestNotFound as error:
            raise problem_of(error) from error
        except GraphRefused as error:  # a refusal to show it is none of a reprocess
            detail = f"Graph refuses to show the request: {error.described}."
            raise Failing(detail, said=error) from error
        except GraphError as error:
            raise problem_of(error) from error
        if request.has_ended and not request.has_failed:
            self.acceptances.forget(request_id)
        return request

    def _record(self, request_id: str, at: datetime) -> None:
        """Write the attempt down; if that fails or takes long, the reprocess went well even so."""
        deadline = Deadline(RECORD_SECONDS)
        try:
            bounded(RECORD_SECONDS, lambda: self.attempts.record(request_id, at, deadline))
        except Exception as error:  # whatever the table says, the answer is about Graph
            kind = type(error).__name__
            event(WARNING, "attempt not recorded", requestId=request_id, error=kind)


def _said_again(result: Result) -> Result:
    detail = PROSPECTS["alreadyDelivering"]
    return replace(result, outcome="alreadyDelivering", detail=detail)
