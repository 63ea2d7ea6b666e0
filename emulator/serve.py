"""Serve a web application until a signal ends it; shared by the emulator's programs.

Not for: what is served.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading

from aiohttp import web


async def until_stopped(app: web.Application, address: str, port: int) -> int:
    """Serve until SIGINT or SIGTERM; return the exit code. A taken port is one line and 1."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5, handler_cancellation=True)
    await runner.setup()
    try:
        await web.TCPSite(runner, address, port, backlog=1024).start()
    except OSError as error:
        print(
            f"port {port} on {address} cannot be used: {error.strerror}; choose another one",
            file=sys.stderr,
        )
        return 1
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    await stopped.wait()
    await runner.cleanup()
    return 0


def exit_with_parent() -> None:
    """End this process when its standard input closes: the parent is gone, however it went."""

    def watch() -> None:
        while os.read(0, 1024):
            pass
        os._exit(0)

    threading.Thread(target=watch, daemon=True).start()
