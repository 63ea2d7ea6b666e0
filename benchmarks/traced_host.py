"""The local host, which also prints what runs of the app in each invocation.

    python -m benchmarks.traced_host --app DIR --port 7071      all options of emulator.host

Each invocation ends with a line `traced`: its function, the app's own functions that were called,
and who started threads meanwhile. One invocation at a time, else they are mixed up.
Not for: time, which tracing adds to.
"""

from __future__ import annotations

import concurrent.futures
import json
import os
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emulator.host import Function, Host, main
from emulator.run import APP
from tests.support import package

if TYPE_CHECKING:
    from types import CodeType, FrameType

FILES = {str(APP / path): str(path) for path in package.deployed()}
TOOL, EVENTS = sys.monitoring.PROFILER_ID, sys.monitoring.events

LIBRARIES = "libraries"
STARTERS = (threading.__file__, str(Path(concurrent.futures.__file__).parent))

called: list[CodeType] = []
starters: list[str] = []


def note_call(code: CodeType, _offset: int) -> object:
    """Keep a call of one of the app's functions; hear of no other function a second time."""
    if code.co_filename not in FILES:
        return sys.monitoring.DISABLE
    called.append(code)
    return None


def note_threads() -> None:
    plain = threading.Thread.start

    def start(self: threading.Thread) -> None:
        frame: FrameType | None = sys._getframe(1)  # noqa: SLF001
        while frame and frame.f_code.co_filename.startswith(STARTERS):
            frame = frame.f_back
        starters.append(FILES.get(frame.f_code.co_filename if frame else "", LIBRARIES))
        plain(self)

    threading.Thread.start = start  # type: ignore[method-assign]


def trace_invocations() -> None:
    plain = Host.invoke

    async def invoke(self: Host, function: Function, data: Any) -> tuple[Any, str]:
        called.clear()
        starters.clear()
        sys.monitoring.set_events(TOOL, EVENTS.PY_START)
        try:
            return await plain(self, function, data)
        finally:
            sys.monitoring.set_events(TOOL, EVENTS.NO_EVENTS)
            calls = Counter(f"{FILES[one.co_filename]}:{one.co_qualname}" for one in called)
            line = {"event": "traced", "function": function.name}
            print(json.dumps(line | {"calls": calls, "threads": Counter(starters)}), flush=True)

    Host.invoke = invoke  # type: ignore[method-assign]


if __name__ == "__main__":
    sys.monitoring.use_tool_id(TOOL, "benchmarks.traced_host")
    sys.monitoring.register_callback(TOOL, EVENTS.PY_START, note_call)
    note_threads()
    trace_invocations()
    code = main()
    sys.stdout.flush()
    os._exit(code)  # as emulator.host ends
