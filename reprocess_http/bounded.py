"""Wait for a function for so long and no longer, whatever it waits for itself.

For: what has no deadline of its own, such as the identity's endpoint or a table that is silent.
Not for: stopping it: it goes on in its thread until it ends by itself, and nobody hears of it.
"""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class TookTooLong(Exception):
    """It has not ended in time; it may still do so."""


def within[T](seconds: float, function: Callable[[], T]) -> T:
    """Return what `function` returns, or raise what it raises. Raises TookTooLong."""
    ended: queue.SimpleQueue[tuple[T | None, BaseException | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            ended.put((function(), None))
        except BaseException as error:  # handed on below
            ended.put((None, error))

    threading.Thread(target=run, name="bounded", daemon=True).start()
    try:
        value, error = ended.get(timeout=seconds)
    except queue.Empty:
        raise TookTooLong(f"no end within {seconds:g} seconds") from None
    if error:
        raise error
    return value  # type: ignore[return-value] # None only where T is
