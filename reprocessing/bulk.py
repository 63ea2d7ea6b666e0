"""Reprocess many requests for a caller who waits: look at each, send it, promise what is left.

Not for: HTTP (reprocess_http/), or how requests are claimed, sent and recorded (many.py).

Each request is judged as a single one is, and nothing is waited for: one that another caller or
sweep is sending right now is said to be under way.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from attempts import AttemptRecord, Outcome, blank
from events import WARNING, event
from graph import Accepted, GraphDenied, GraphError, Request, RequestNotFound
from reprocessing.many import Context, Due, read_many, reprocess_many
from reprocessing.states import Result, explain, judge_tried, would_reprocess

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from deadline import Deadline
    from reprocessing.many import Cause

KEPT_SECONDS = 15.0  # of the budget, for settling and deferring; half of it at most
DEFER_PART = 5  # of what is kept, one part in so many is for deferring
SEND_SECONDS = 2.0  # least time that a send is given
DEFER_AT_ONCE = 8


@dataclass(slots=True)
class Bulk:
    """One call. `context.end`: when the caller is answered. `by`: the caller as in the log.

    `dry_run`: read, and say what would be done. `promise`: leave to the next sweep what could not
    be sent. `window`: how long after a failure Graph accepts a reprocess.
    """

    context: Context
    by: str
    window: timedelta
    dry_run: bool
    promise: bool
    _unreadable: set[str] = field(default_factory=set)  # ids whose last error came from reading

    def run(self, request_ids: Sequence[str]) -> dict[str, Result]:
        """Return a result for each, in this order.

        Its outcome is one of a single reprocess, or `unreadable` (not sent, since it could not be
        read), `deferred`, `notSent`. Raises GraphError or AzureError when nothing at all could be
        done.
        """
        end = self.context.end
        self.context = self._timed(end.left())
        ran = reprocess_many(self.context, [Due(blank(one)) for one in request_ids], self.by)
        results = {
            due.record.request_id: self._result(due.record.request_id, name, cause)
            for due, name, cause in ran.results
            if name != "postponed"
        }
        if {one.outcome for one in results.values()} <= {"denied", "unreadable"}:
            errors = (ran.stop_reason, *(one.error for one in results.values()))
            denied = next((one for one in errors if isinstance(one, GraphDenied)), None)
            if reason := ran.error or denied:
                raise reason
        left = [one for one in request_ids if one not in results]
        promised = self._defer(left, end) if self.promise and not self.dry_run else set()
        results |= {one: Result("deferred" if one in promised else "notSent") for one in left}
        refused = [one for one, result in results.items() if result.outcome == "refused"]
        for one, request in read_many(self.context, "refused", refused).items():
            results[one] = explain(results[one], request, self.context.graph.now(), self.window)
        return {one: results[one] for one in request_ids}

    def _timed(self, budget: float) -> Context:
        """Return the context with the times of its steps."""
        kept = min(KEPT_SECONDS, budget / 2)
        grace = min(SEND_SECONDS, (budget - kept) / 2)
        end = self.context.end
        return replace(
            self.context,
            deadline=end.within(budget - kept - grace),
            end=end.within(budget - kept / DEFER_PART),
            grace=grace,
            look=self._look,
        )

    # -- before the claim --

    def _look(self, items: list[Due]) -> list[Due | Result | GraphError]:
        """Read records, and the requests that were tried before. Raises AzureError."""
        context, within = self.context, self.context.sends_end()
        records = [context.attempts.read(one.record.request_id, within) for one in items]
        untried = {Outcome.NONE, Outcome.CLAIMED}
        ids = [one.request_id for one in records if self.dry_run or one.outcome not in untried]
        seen = dict(zip(ids, context.graph.read_each(ids, within), strict=True)) if ids else {}
        self._unreadable.difference_update(ids)
        return [self._judge(one, seen.get(one.request_id)) for one in records]

    def _judge(
        self, record: AttemptRecord, seen: Request | GraphError | None
    ) -> Due | Result | GraphError:
        """Return the request to send, or its result; `seen` is None where it was not read."""
        now = self.context.graph.now()
        if not seen:
            is_claimed = record.outcome is Outcome.CLAIMED
            return Result("alreadyDelivering") if is_claimed else Due(record)
        if self.dry_run and isinstance(seen, Request):
            return would_reprocess(record, seen, now, self.window)
        judged = judge_tried(record, seen, now)
        if isinstance(judged, GraphError):
            self._unreadable.add(record.request_id)
        return Due(judged) if isinstance(judged, AttemptRecord) else judged

    # -- after the run --

    def _result(self, request_id: str, name: str, cause: Cause) -> Result:
        if isinstance(cause, Result):
            return cause
        if isinstance(cause, Accepted):
            return Result(name, accepted_at=cause.at, accepted=cause)
        if request_id in self._unreadable:
            name = "unreadable"
        elif isinstance(cause, RequestNotFound):
            name = "requestNotFound"
        return Result(name, error=cause)

    def _defer(self, request_ids: Sequence[str], end: Deadline) -> set[str]:
        """Promise these to the next sweep; return those that the table has taken."""

        def defer(request_id: str) -> tuple[str, Exception | None]:
            try:
                self.context.attempts.defer(request_id, end)
            except Exception as error:  # whatever it is, this one was not promised
                return request_id, error
            return request_id, None

        done: list[tuple[str, Exception | None]] = []
        with self.context.workers(DEFER_AT_ONCE) as workers:
            for one in request_ids:
                workers.submit(partial(defer, one))
            while len(done) < len(request_ids):
                done += workers.finished(end.left())
        if errors := [error for _, error in done if error]:
            kind, count = type(errors[0]).__name__, len(errors)
            event(WARNING, "attempts not written", what="deferral", count=count, error=kind)
        return {one for one, error in done if not error}
