"""Every wait has an end: a deadline, and a way to wait for what has none of its own.

Not for: how long which wait may be; that is said where it is waited.
"""

from __future__ import annotations

import contextvars
import queue
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


GRACE = 0.5  # seconds; for an operation's own time-outs, which tell more of it, to come first


class TookTooLong(Exception):
    """It has not ended in time; it may still do so."""


class Deadline:
    """A point in time that no wait may pass."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Set it `seconds` from now, by a clock that only goes forward."""
        self._clock = clock
        self._end = clock() + seconds

    def left(self) -> float:
        """Return the seconds left, at least 0."""
        return max(0.0, self._end - self._clock())

    def within(self, seconds: float) -> Deadline:
        """Return a deadline that ends in so many seconds, or with this one if that is earlier."""
        return Deadline(min(seconds, self.left()), self._clock)


def bounded[T](seconds: float, function: Callable[[], T]) -> T:
    """Return what `function` returns, or raise what it raises. Raises TookTooLong.

    For what has no deadline of its own, such as the identity's endpoint or a table that is silent.
    It is not stopped: it goes on in its thread until it ends by itself, and nobody hears of it.
    Its log lines belong to the caller's invocation (https://github.com/Azure/azure-functions-
    python-worker/issues/1860: without its context they would be dropped).
    """
    ended: queue.SimpleQueue[tuple[T | None, BaseException | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            ended.put((function(), None))
        except BaseException as error:  # handed on below
            ended.put((None, error))

    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(run,), name="bounded", daemon=True).start()
    try:
        value, error = ended.get(timeout=seconds)
    except queue.Empty:
        raise TookTooLong(f"no end within {seconds:g} seconds") from None
    if error:
        raise error
    return value  # type: ignore[return-value] # None only where T is
