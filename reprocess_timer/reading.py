"""Read many requests: those whose answers were lost, and those that earlier sweeps have tried.

Not for: what follows from their states, which those who ask decide.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from events import WARNING, event
from graph import GraphError, Request, RequestNotFound

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deadline import Deadline
    from graph import Graph
    from reprocess_timer.means import Means


class Reading:
    """Reads the requests of one call, by their ids."""

    def __init__(self, graph: Graph, end: Deadline) -> None:
        """Read from this Graph; no call lasts beyond `end`."""
        self._graph = graph
        self._end = end

    def prepare(self, request_ids: Sequence[str]) -> Sequence[str]:
        """Nothing needs to be made ready."""
        return request_ids

    def send(
        self, request_ids: Sequence[str], deadline: Deadline, *, batched: bool
    ) -> Sequence[Request | GraphError]:
        """Read them. Raises GraphError when the call failed as a whole."""
        within = self._end.within(deadline.left())
        return self._graph.read_each(request_ids, within, batched=batched)


def read(means: Means, step: str, request_ids: Sequence[str]) -> dict[str, Request | None]:
    """Return the requests by id, None for one that is gone; what cannot be read is left out."""
    drained = means.drain(step, request_ids, Reading(means.graph, means.end), means.end)
    found: dict[str, Request | None] = {}
    unread = drained.stopped
    for request_id, outcome in drained.outcomes:
        if isinstance(outcome, Request):
            found[request_id] = outcome
        elif isinstance(outcome, RequestNotFound):
            found[request_id] = None
        else:
            unread = outcome
    if missing := len(request_ids) - len(found):
        detail = unread.described if unread else "there was no time left for it"
        event(WARNING, "read-back not whole", missing=missing, detail=detail)
    return found
