"""What all steps of one sweep share: Graph, attempts, settings, clocks, and the ends of its time.

Not for: what a step does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from events import INFO, event
from reprocess_timer.batches import drain

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from attempts import Attempts
    from deadline import Deadline
    from graph import Graph
    from reprocess_timer.batches import Drained, Work
    from reprocess_timer.pace import Pace
    from settings import Settings

PROGRESS_SECONDS = 10.0


class Progress:
    """Tells in the log how far a long sweep is, every ten seconds, also while it waits."""

    def __init__(self, clock: Callable[[], float], deadline: Deadline) -> None:
        """Begin now; `deadline` is the sweep's."""
        self._clock = clock
        self._deadline = deadline
        self._told_at = clock()

    def tell(
        self, step: str, done: int, *, of: int | None = None, throttled: int = 0, began: float = 0.0
    ) -> None:
        """Say so, when it is time. `began`: when this step did, by the same clock."""
        now = self._clock()
        if now < self._told_at + PROGRESS_SECONDS:
            return
        self._told_at = now
        event(
            INFO,
            "sweep progress",
            step=step,
            done=done,
            of=of,
            throttled=throttled,
            perSecond=round(done / max(now - began, 0.001), 1),
            secondsLeft=round(self._deadline.left()),
        )


@dataclass(frozen=True, slots=True)
class Means:
    """One sweep's means. After `deadline` nothing new is reprocessed; at `end` all is over."""

    graph: Graph
    attempts: Attempts
    settings: Settings
    sweep_id: str
    now: Callable[[], datetime]
    clock: Callable[[], float]
    deadline: Deadline
    end: Deadline
    pace: Pace
    progress: Progress

    def drain[T, R](
        self, step: str, items: Sequence[T], work: Work[T, R], deadline: Deadline
    ) -> Drained[T, R]:
        """Send many, at the pace that this sweep has learned, and tell how far it is."""
        began = self.clock()
        return drain(
            items,
            work,
            pace=self.pace,
            deadline=deadline,
            clock=self.clock,
            batched=self.settings.graph_batch_size > 1,
            tell_progress=lambda done, throttled: self.progress.tell(
                step, done, of=len(items), throttled=throttled, began=began
            ),
        )
