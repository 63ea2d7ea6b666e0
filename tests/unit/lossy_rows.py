"""InMemoryRows whose calls fail on order, as a table does behind a broken connection.

Not for: how Table Storage itself answers (test_table.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from azure.core.exceptions import ServiceResponseError

from table import InMemoryRows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from attempts import AttemptRecord, Change
    from deadline import Deadline
    from table import Written


class LossyRows(InMemoryRows):
    """Rows that take orders.

    One order for each write to come: `ok`, `drop` (not carried out), `lose` (its answer is lost),
    `late` (carried out only by `land`). `meanwhile` runs once, before the next write. So many reads
    fail as `unreadable` says.
    """

    def __init__(self) -> None:
        super().__init__()
        self.orders: list[str] = []
        self.unreadable = 0
        self.meanwhile: Callable[[], object] | None = None
        self.calls: list[str] = []
        self._late: list[tuple[Sequence[Change], Deadline]] = []

    def write(self, changes: Sequence[Change], deadline: Deadline) -> list[Written]:
        self.calls.append("write")
        assert deadline.left()
        if meanwhile := self.meanwhile:
            self.meanwhile = None
            meanwhile()
        order = self.orders.pop(0) if self.orders else "ok"
        if order == "late":
            self._late.append((changes, deadline))
        if order in {"ok", "lose"}:
            written = super().write(changes, deadline)
            if order == "ok":
                return written
        return [ServiceResponseError(order)] * len(changes)

    def land(self) -> None:
        """Carry out what was sent before and had not arrived."""
        late, self._late = self._late, []
        for changes, deadline in late:
            super().write(changes, deadline)

    def read(self, request_id: str, deadline: Deadline) -> AttemptRecord | None:
        self.calls.append("read")
        assert deadline.left()
        if self.unreadable:
            self.unreadable -= 1
            raise ServiceResponseError("unreadable")
        return super().read(request_id, deadline)

    def raw(self, request_id: str, deadline: Deadline) -> AttemptRecord | None:
        """Read a row beside all faults."""
        return super().read(request_id, deadline)
