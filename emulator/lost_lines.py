"""Marks the log lines of an app that would not reach anybody on Azure.

For: the Functions host drops a line that no running invocation has written, such as one of an app's
own thread without the invocation's context (azure-functions-python-worker #1860), or one that comes
after the invocation has ended. Here it is printed all the same, with a mark that tests look for.
Not for: lines of the host itself and of the worker library.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

MARK = "LOST ON AZURE "
FORMAT = "%(asctime)s.%(msecs)03dZ %(levelname)s [%(name)s] %(lost)s%(message)s"
SYSTEM = ("host", "azure.functions", "azure_functions", "aiohttp", "asyncio")


class Mark(logging.Filter):
    """Gives each line a field `lost`, which is empty or MARK.

    `running` are the ids of the invocations under way; the host keeps it up to date.
    """

    def __init__(self, running: Collection[str]) -> None:
        super().__init__()
        self.running = running

    def filter(self, record: logging.LogRecord) -> bool:
        """Mark a line; it is written by the thread that logs it, so its context is the thread's."""
        # Imported late: not before the host has put the app's folder on the path.
        from azure_functions_runtime import invocation_id_cv

        is_apps = not record.name.startswith(SYSTEM)
        record.lost = MARK if is_apps and invocation_id_cv.get() not in self.running else ""
        return True
