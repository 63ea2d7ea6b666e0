"""List the failed requests of each access package: for sweeps, `GET /api/requests`, diagnosis.

Not for: how Graph's list is read (graph/calls.py), or what is due (plan.py). A list that fails
costs its own access package and no other.
"""

from __future__ import annotations

import contextvars
import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from events import WARNING, event
from graph import GraphDenied, GraphError, GraphRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from deadline import Deadline
    from graph import Graph, Request

MAX_LOG_LINES = 50  # about single access packages in one listing
# Lists in a row that Graph neither answers nor refuses; then it is not asked for the others.
MAX_CONSECUTIVE_FAILURES = 3
# beta in usgov and china has only the older path (Graph's metadata).
CHECK_PATH = (
    "Check GRAPH_API_VERSION and GRAPH_REQUESTS_PATH: use v1.0, or for beta in a national cloud "
    "accessPackageAssignmentRequests. If they"
)
PATH_CHECKED = "If GRAPH_API_VERSION and GRAPH_REQUESTS_PATH"  # a 404 itself says what to check
SUPPORT = "{} are right, give Microsoft support Graph's request id{}."


@dataclass(frozen=True, slots=True)
class ListFailure:
    """A list that is incomplete: of one access package, or of all requests (then it is None)."""

    access_package: str | None
    error: GraphError

    @property
    def remedy(self) -> str:
        """What to do about it, as one or two sentences."""
        if isinstance(self.error, GraphDenied):
            return self.error.remedy
        refused = isinstance(self.error, GraphRefused)
        if refused and self.access_package:
            return "Check the ids in SWEEP_ACCESS_PACKAGES."
        if refused or self.error.status == 404:  # Graph has no such filter, or no such path
            graph_request_id = f" {self.error.graph_request_id}".rstrip()
            return SUPPORT.format(CHECK_PATH if refused else PATH_CHECKED, graph_request_id)
        return "The next sweep tries again."


def list_failed(  # noqa: PLR0913 - three callers, one listing
    graph: Graph,
    access_packages: Sequence[str],
    deadline: Deadline,
    take: Callable[[Request], bool | None],
    *,
    names: bool,
    at_once: int = 1,
    log: bool = False,
) -> list[ListFailure]:
    """List the failed requests of these access packages, or of all; return what failed.

    `take` gets each request, also those listed before their list failed, never two at a time, on
    threads with the caller's context; when it returns False, the list of that access package
    ends there. A request may come more than once. `at_once` lists are read side by side. `log`
    writes `list incomplete` for each failure.
    """
    lock, lines = threading.Lock(), itertools.count()
    unanswered: list[GraphError] = []  # in a row

    def list_one(access_package: str | None) -> ListFailure | None:
        if len(unanswered) >= MAX_CONSECUTIVE_FAILURES:
            return ListFailure(access_package, unanswered[-1])
        found = 0
        try:
            for request in graph.failed(deadline, access_package, names=names):
                found += 1
                with lock:
                    if take(request) is False:
                        break
        except GraphError as error:
            if isinstance(error, GraphDenied | GraphRefused):
                unanswered.clear()
            else:
                unanswered.append(error)
            failure = ListFailure(access_package, error)
            if log and next(lines) < MAX_LOG_LINES:
                package = {"accessPackageId": access_package, "found": found}
                fields = package | {"remedy": failure.remedy} | error.fields()
                event(WARNING, "list incomplete", trace=None, **fields)
            return failure
        unanswered.clear()
        return None

    with ThreadPoolExecutor(at_once) as pool:
        lists = [
            pool.submit(contextvars.copy_context().run, list_one, one)
            for one in access_packages or (None,)
        ]
        failures = [one.result() for one in lists]
    return [failure for failure in failures if failure]
