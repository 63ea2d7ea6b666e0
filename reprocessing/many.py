"""Reprocess many requests: claim a batch, send it, write down its outcomes, settle what is open.

Not for: which requests are due (planning/), how fast they are sent (sender.py, rate_limiter.py), or
what a caller is answered (bulk.py).

A worker claims the requests of one call right before it sends them, so that a process that dies
holds back only what was in flight. Their outcomes are written beside the sending: those that wait
for each other go in one transaction. A request without a judging answer is read after everything
was sent; its state decides. It is never sent again here.
"""

from __future__ import annotations

import contextlib
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from azure.core.exceptions import AzureError

from attempts import AttemptRecord, Claim, Decision, Outcome
from events import ERROR, WARNING, event
from graph import Accepted, GraphDenied, GraphError, GraphThrottled, Request, RequestNotFound
from reprocessing import states
from reprocessing.sender import NotSent, Sender, SendResult, Threads
from reprocessing.states import SEND_SECONDS, SETTLE_SECONDS, Result
from table import TRANSACTION

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from attempt_store import AttemptStore
    from deadline import Deadline
    from graph import Graph
    from reprocessing.rate_limiter import RateLimiter

LOGGED = 50  # lines about single requests in one run; the counts have them all
MAX_WAITING = 200  # outcomes that wait to be written; beyond, a call writes before it ends
WRITE_SECONDS = 20.0  # longest that a worker waits for one write of its claims or outcomes


@dataclass(frozen=True, slots=True)
class Due:
    """One request to reprocess, as it was planned. `access_package`: empty where not known."""

    record: AttemptRecord
    access_package: str = ""


type Look = Callable[[list[Due]], list[Due | Result | GraphError]]
# Is called at least once a second with the step, how many are done, of how many, and 429 answers.
type Progress = Callable[[str, int, int, int], None]


@dataclass(frozen=True, slots=True)
class Context:
    """What one run has: nothing new is sent after `deadline`, everything is over at `end`.

    `workers` carry out calls beside the deciding thread. `grace`: how many seconds after the
    deadline a send may last. `look` reads the requests of one call right before they are claimed,
    and decides which of them are to be sent; without it all are, as they were planned.
    """

    graph: Graph
    attempts: AttemptStore
    limiter: RateLimiter
    deadline: Deadline
    end: Deadline
    clock: Callable[[], float]
    progress: Progress
    workers: Callable[[int], Threads[Any]] = Threads
    grace: float = SEND_SECONDS
    look: Look | None = None

    def sends_end(self) -> Deadline:
        """Return until when a send that begins now may last."""
        return self.end.within(self.deadline.left() + self.grace)


type Cause = Accepted | Result | GraphError | None


@dataclass(frozen=True, slots=True)
class ManyResult:
    """The outcome of every request: accepted, refused, denied, failed, unknown or postponed.

    What a look decided has the outcome of its Result.
    `throttled`: how many answers asked to wait. `stop_reason`: Graph's error, when three calls in a
    row failed; `error`: the table's, or a bug. Both postpone what was not sent.
    `skipped`: how many of the postponed ones another caller or sweep claimed or tried meanwhile.
    """

    results: list[tuple[Due, str, Cause]]
    throttled: int = 0
    stop_reason: GraphError | None = None
    error: Exception | None = None
    skipped: int = 0

    @property
    def counts(self) -> Counter[str]:
        """How many requests had which outcome."""
        return Counter(name for _, name, _ in self.results)


class _Undecided(NamedTuple):
    """A request that Graph may have accepted. `sent_at`: by the run's clock."""

    claim: Claim
    error: GraphError
    sent_at: float


def reprocess_many(context: Context, due: Sequence[Due], by: str) -> ManyResult:
    """Reprocess every due request, as far as time and Graph allow. Never raises."""
    with context.workers(1) as writer:
        run = _Run(context, by, writer)
        sent, settled = _send(run, context, due), run.settle()
    error = sent.error or run.error
    if error and not isinstance(error, AzureError):
        event(ERROR, "unhandled error", trace=error, error=type(error).__name__)
    results: list[tuple[Due, str, Cause]] = [(one, "postponed", None) for one in sent.unsent]
    for one, outcome in sent.outcomes:
        if isinstance(outcome, NotSent):
            results.append((one, "postponed", None))
        elif isinstance(outcome, Result):
            results.append((one, outcome.outcome, outcome))
        else:
            name = settled.get(one.record.request_id) or states.outcome_of(outcome)
            results.append((one, name or "postponed", outcome))
    skipped = sum(isinstance(outcome, NotSent) for _, outcome in sent.outcomes)
    return ManyResult(results, sent.throttled, sent.stop_reason, error, skipped)


def _send(run: _Run, context: Context, due: Sequence[Due]) -> SendResult[Due, Accepted | Result]:
    sender: Sender[Due, Accepted | Result] = Sender(
        run.look_and_send,
        limiter=context.limiter,
        deadline=context.deadline,
        clock=context.clock,
        workers=context.workers,
        group=lambda one: one.access_package,
        progress=lambda done, throttled: context.progress("reprocess", done, len(due), throttled),
    )
    return sender.send(due)


def read_many(context: Context, step: str, request_ids: Sequence[str]) -> dict[str, Request | None]:
    """Read requests by id; None: Graph has no such request. What cannot be read is left out."""
    sender: Sender[str, Request] = Sender(
        lambda ids: context.graph.read_each(ids, context.end),
        limiter=context.limiter,
        deadline=context.end,
        clock=context.clock,
        workers=context.workers,
        denials_stop=False,
        progress=lambda done, throttled: context.progress(step, done, len(request_ids), throttled),
    )
    sent = sender.send(request_ids)
    found: dict[str, Request | None] = {}
    error = sent.stop_reason
    for request_id, seen in sent.outcomes:
        if isinstance(seen, Request | RequestNotFound):
            found[request_id] = seen if isinstance(seen, Request) else None
        elif isinstance(seen, GraphError):
            error = seen
    if missing := len(request_ids) - len(found):
        reason = "Graph asks to wait" if sent.throttled else "there was no time left for it"
        detail = error.summary if error else reason
        event(WARNING, "read-back incomplete", missing=missing, detail=detail)
    return found


class _Run:
    """Claims, sends and records the requests of one run; its methods run on several threads."""

    def __init__(self, context: Context, by: str, writer: Threads[Any]) -> None:
        self._context, self._by, self._writer = context, by, writer
        self._stored: dict[str, AttemptRecord] = {}  # of released requests, by id
        self._decided = deque[Decision]()  # outcomes that wait to be written
        self._undecided: list[_Undecided] = []
        self._lines = 0
        self.error: Exception | None = None  # of the writer: a bug

    def look_and_send(self, items: list[Due]) -> list[Accepted | Result | GraphError | NotSent]:
        """Send those requests of one call that are to be sent. Raises AzureError, `error`."""
        if self.error:
            raise self.error
        look = self._context.look
        looked = look(items) if look else items
        if any(isinstance(one, GraphThrottled) for one in looked):  # Graph asks to wait
            return [NotSent.HELD if isinstance(one, Due) else one for one in looked]
        sent = self._claim_and_send([one for one in looked if isinstance(one, Due)])
        return [sent[one.record.request_id] if isinstance(one, Due) else one for one in looked]

    def _claim_and_send(self, due: Sequence[Due]) -> dict[str, Accepted | GraphError | NotSent]:
        """Claim the requests of one call, and send those that are ours. Raises AzureError."""
        context = self._context
        # A look sees what another does with a request; without one it is left to the other.
        of_another = NotSent.HELD if context.look else NotSent.SKIPPED
        claims = {one.record.request_id: one for one in self._claim(due)}
        outcomes: dict[str, Accepted | GraphError | NotSent]
        outcomes = {one.record.request_id: of_another for one in due}
        if not claims:
            return outcomes
        first = next(iter(claims.values()))
        within = states.send_deadline(first, context.sends_end(), context.graph.now())
        if context.limiter.retry_after_left() or not (context.deadline.left() and within.left()):
            self._write([Decision(one, None) for one in claims.values()])
            return outcomes | dict.fromkeys(claims, NotSent.HELD)
        sent_at = context.clock()
        answers = context.graph.reprocess_each(list(claims), within)
        self._take_in(claims.values(), answers, sent_at)
        return outcomes | dict(zip(claims, answers, strict=True))

    def _claim(self, due: Sequence[Due]) -> list[Claim]:
        """Claim each that no other caller or sweep has. Raises AzureError; nothing is kept."""
        stored = {} if self._context.look else self._stored  # a look has read it just now
        records = [stored.get(one.record.request_id, one.record) for one in due]
        within = self._context.end.within(WRITE_SECONDS)
        written = self._context.attempts.claim(records, self._by, within)
        claims = [one for one in written if isinstance(one, Claim)]
        for one in written:
            if isinstance(one, AzureError):
                self._write([Decision(claim, None) for claim in claims])
                raise one
        return claims

    def _take_in(
        self, claims: Iterable[Claim], answers: Sequence[Accepted | GraphError], sent_at: float
    ) -> None:
        """Write what the answers decide, and keep what is undecided."""
        decisions = []
        for claim, answer in zip(claims, answers, strict=True):
            if isinstance(answer, GraphError) and answer.outcome_unknown:
                self._undecided.append(_Undecided(claim, answer, sent_at))
                continue
            decision = states.decision_of(claim, answer)
            decisions.append(decision)
            if decision.outcome and isinstance(answer, GraphError):
                self._log(claim, decision.outcome, answer)
        # A released request may be claimed anew at once; the call need not wait for outcomes.
        self._write([one for one in decisions if not one.outcome])
        self._decided.extend(one for one in decisions if one.outcome)
        if len(self._decided) > MAX_WAITING:  # the table is slower than Graph
            self._write_decided()
        elif self._decided:
            self._writer.submit(self._write_decided)

    def _write_decided(self) -> None:
        """Write the outcomes that wait, a transaction at a time; several threads may do so."""
        try:
            while decisions := [*self._waiting()]:
                self._write(decisions)
        except Exception as error:
            self.error = error

    def _waiting(self) -> Iterator[Decision]:
        """Take the outcomes of one transaction."""
        with contextlib.suppress(IndexError):  # another thread has taken them
            for _ in range(TRANSACTION):
                yield self._decided.popleft()

    def _write(self, decisions: Sequence[Decision]) -> None:
        """Write decisions, and remember how the released requests are stored now."""
        within = self._context.end.within(WRITE_SECONDS)
        written = self._context.attempts.decide(decisions, within)
        for decision, stored in zip(decisions, written, strict=True):
            if decision.outcome is None and isinstance(stored, AttemptRecord):
                self._stored[stored.request_id] = stored

    # -- without a judging answer --

    def settle(self) -> dict[str, Outcome]:
        """Read what Graph may have accepted; return the outcome by request id.

        What cannot be read stays as it is: after 40 seconds its claim counts as unknown.
        """
        context, decisions = self._context, []
        outcomes = {one.claim.record.request_id: Outcome.UNKNOWN for one in self._undecided}
        if not outcomes:
            return outcomes
        context.graph.sleep(min(SETTLE_SECONDS, context.end.left()))
        seen = read_many(context, "settle", list(outcomes))
        for claim, error, sent_at in self._undecided:
            request_id = claim.record.request_id
            if request := seen.get(request_id):
                since_send = context.clock() - sent_at
                decision = states.decision_by_state(claim, request, error, since_send)
                decisions.append(decision)
                outcomes[request_id] = decision.outcome or Outcome.UNKNOWN
                if decision.outcome is Outcome.FAILED:
                    self._log(claim, decision.outcome, error)
        self._write(decisions)
        return outcomes

    def _log(self, claim: Claim, outcome: Outcome, error: GraphError) -> None:
        self._lines += 1
        if self._lines > LOGGED:
            return
        event(
            WARNING,
            f"reprocess {outcome}",
            requestId=claim.record.request_id,
            attempt=claim.record.tries,
            remedy=error.remedy if isinstance(error, GraphDenied) else None,
            **error.fields(),
        )
