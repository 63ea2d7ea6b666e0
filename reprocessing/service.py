"""What a caller can ask of one request: reprocess it, try that dry, say where it is, wait for it.

Not for: HTTP (reprocess_http/), or the steps of a reprocess (one.py).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from azure.core.exceptions import AzureError

from attempts import RECENT
from graph import GraphError
from reprocessing.one import Reprocess
from reprocessing.states import Result, would_reprocess

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from attempt_store import AttemptStore
    from attempts import AttemptRecord
    from deadline import Deadline
    from graph import Graph, Request

POLL_SECONDS = 3.0  # between two reads while a caller waits
FINAL_POLL_SECONDS = 3.0  # how much later than asked for an answer may come
# The outcomes that a state stays at, by the state; what is not here is on its way.
FINAL_OUTCOMES = {
    one.lower(): one
    for one in ("delivered", "deliveryFailed", "partiallyDelivered", "denied", "canceled")
}


@dataclass(frozen=True, slots=True)
class RequestService:
    """Reprocesses single requests and says where they are.

    `memory`: where records are kept while the table cannot be reached. `window`: how long after a
    failure Graph accepts a reprocess.
    """

    graph: Graph
    attempts: AttemptStore
    memory: AttemptStore
    window: timedelta

    def reprocess(
        self, request_id: str, by: str, deadline: Deadline, *, promise: bool = False
    ) -> Result:
        """Reprocess one request. Graph's and the table's errors are part of the result.

        `by`: the caller as in the log. `promise`: where Graph throttles, fails or is silent,
        promise the next sweep (outcome `deferred`), if the table takes the promise.
        """
        return Reprocess(
            self.graph, self.attempts, self.memory, self.window, request_id, by, deadline, promise
        ).run()

    def would_reprocess(self, request_id: str, deadline: Deadline) -> Result:
        """Say what a reprocess would do, and change nothing. Raises GraphError."""
        request = self.graph.read(request_id, deadline)
        record = self._record(request_id, deadline)
        return would_reprocess(record, request, self.graph.now(), self.window)

    def status(self, request_id: str, accepted_at: datetime | None, deadline: Deadline) -> Result:
        """Say where a request is. Raises GraphError.

        `accepted_at`: the acceptance that the caller knows of; the record may know a later one. A
        failure from before a recent acceptance is on its way.
        """
        request = self.graph.read(request_id, deadline)
        if request.has_failed:
            known = (accepted_at, self._record(request_id, deadline).last_accepted_at)
            recent = [one for one in known if _is_before(request, one, self.graph.now())]
            if recent:
                return Result("onItsWay", request, recent[-1])
            accepted_at = max(filter(None, known), default=None)
        outcome = FINAL_OUTCOMES.get(request.state.lower(), "onItsWay")
        return Result(outcome, request, accepted_at)

    def wait_for_completion(
        self, request_id: str, result: Result, seconds: float, deadline: Deadline
    ) -> Result:
        """Poll a delivery until it has completed or the seconds are over.

        Takes FINAL_POLL_SECONDS longer at most, and never ends after `deadline`. What Graph
        accepted stays accepted: a read that fails changes nothing.
        """
        if not result.on_its_way:
            return result
        seconds = min(seconds, deadline.left() - FINAL_POLL_SECONDS)
        waiting, polling = deadline.within(seconds), deadline.within(seconds + FINAL_POLL_SECONDS)
        while waiting.left():
            self.graph.sleep(min(POLL_SECONDS, waiting.left()))
            try:
                status = self.status(request_id, result.accepted_at, polling)
            except GraphError as error:
                if error.outcome_unknown or error.never_sent:
                    continue
                return result  # Graph asks to wait, or does not show the request
            if not status.on_its_way:
                return replace(status, accepted=result.accepted)
        return result

    def _record(self, request_id: str, deadline: Deadline) -> AttemptRecord:
        """Return the record of a request: the table's, or where that is away, that in memory."""
        try:
            return self.attempts.read(request_id, deadline)
        except AzureError:
            return self.memory.read(request_id, deadline)


def _is_before(request: Request, accepted_at: datetime | None, now: datetime) -> bool:
    """Whether this is the failure from before a recent acceptance, which Graph may still show."""
    if not accepted_at or abs(now - accepted_at) >= RECENT:
        return False
    return not request.changed_since(accepted_at)
