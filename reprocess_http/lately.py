"""What this process is having reprocessed just now, and what it had accepted of late.

For: answering a repeated call, which flows and senders of webhooks make, without harm.
Not for: coordinating instances: another one knows nothing of it. There Graph's answer counts, and
what the table has of the last attempt (one_request.py).
"""

from __future__ import annotations

import threading
from concurrent.futures import Future, wait
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# Right after its 202 Graph may still show the old failure, for how long is not published.
STALE_FOR = timedelta(minutes=5)
MOST = 10_000  # acceptances remembered


class StillUnderWay(Exception):
    """The same has been begun by another call and has not ended in time."""


class UnderWay[End]:
    """Does one thing for one request at a time; whoever asks meanwhile gets the same end."""

    def __init__(self) -> None:
        """Nothing is under way."""
        self._lock = threading.Lock()
        self._ends: dict[str, Future[End]] = {}

    def together(
        self, request_id: str, seconds: float, begin: Callable[[], End]
    ) -> tuple[End, bool]:
        """Return the end, and whether this call is the one that brought it about by `begin`.

        Raises what `begin` raises, to all; StillUnderWay when another's takes longer than
        `seconds`. One's own takes as long as it takes.
        """
        with self._lock:
            others = self._ends.get(request_id)
            mine = self._ends.setdefault(request_id, Future())
        if others:
            if not wait([others], seconds).done:
                raise StillUnderWay
            return others.result(), False
        try:
            mine.set_result(begin())
        except BaseException as error:  # raised below, and to all who wait for it
            mine.set_exception(error)
        with self._lock:
            del self._ends[request_id]
        return mine.result(), True


class Acceptances:
    """When Graph accepted which request, for as long as it may not show it; safe for threads."""

    def __init__(self) -> None:
        """Remember nothing."""
        self._lock = threading.Lock()
        self._at: dict[str, datetime] = {}

    def add(self, request_id: str, at: datetime) -> None:
        """Remember an acceptance (Graph's clock), and forget the oldest of too many."""
        with self._lock:
            self._at.pop(request_id, None)
            self._at[request_id] = at
            while len(self._at) > MOST:
                del self._at[next(iter(self._at))]

    def forget(self, request_id: str) -> None:
        """Forget an acceptance, if there was one: its end has been seen."""
        with self._lock:
            self._at.pop(request_id, None)

    def get(self, request_id: str, now: datetime) -> datetime | None:
        """Return when it was accepted, if that was of late; `now` by Graph's clock."""
        with self._lock:
            at = self._at.get(request_id)
        return at if at and is_of_late(at, now) else None


def is_of_late(at: datetime, now: datetime) -> bool:
    """Whether Graph may not yet show what it accepted at `at`. The far future is not of late."""
    return abs(now - at) < STALE_FOR
