"""What this process had accepted of late, while Graph may still show the old failure.

For: answering a repeated call, which senders of webhooks and flows make, without harm.
Not for: coordinating instances: another one knows nothing of it, and there Graph's answer counts.
"""

from __future__ import annotations

import contextlib
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# Right after its 202 Graph may still show the old failure, for how long is not published.
STALE_FOR = timedelta(minutes=5)
MOST = 10_000  # acceptances remembered


class Recent:
    """Acceptances by request id; safe to use from several threads."""

    def __init__(self) -> None:
        """Remember nothing."""
        self._lock = threading.Lock()
        self._accepted: dict[str, datetime] = {}
        self._busy: dict[str, tuple[threading.Lock, int]] = {}

    @contextlib.contextmanager
    def alone(self, request_id: str, seconds: float) -> Iterator[None]:
        """Ask Graph about one request one call after the other; wait `seconds` for that at most.

        So the second of two calls at once finds the acceptance of the first.
        """
        with self._lock:
            one_at_a_time, users = self._busy.get(request_id, (threading.Lock(), 0))
            self._busy[request_id] = (one_at_a_time, users + 1)
        mine = one_at_a_time.acquire(timeout=seconds)
        try:
            yield
        finally:
            if mine:
                one_at_a_time.release()
            with self._lock:
                users = self._busy[request_id][1] - 1
                self._busy[request_id] = (one_at_a_time, users)
                if not users:
                    del self._busy[request_id]

    def add(self, request_id: str, at: datetime) -> None:
        """Remember an acceptance (Graph's clock), and forget the oldest of too many."""
        with self._lock:
            self._accepted.pop(request_id, None)
            self._accepted[request_id] = at
            while len(self._accepted) > MOST:
                del self._accepted[next(iter(self._accepted))]

    def get(self, request_id: str) -> datetime | None:
        """Return when it was accepted, if Graph may not show it yet."""
        with self._lock:
            at = self._accepted.get(request_id)
        return at if at and datetime.now(UTC) - at < STALE_FOR else None
