"""Serve a web application until a signal ends it; shared by the emulator's programs.

Not for: what is served.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading

from aiohttp import web


async def until_stopped(app: web.Application, port: int) -> None:
    """Serve on 127.0.0.1 until SIGINT or SIGTERM; calls under way are not waited for.

    Raises OSError when the port cannot be used.
    """
    runner = web.AppRunner(
        app,
        access_log=None,
        shutdown_timeout=0.1,
        handler_cancellation=True,
        auto_decompress=False,  # bodies are taken as they come
    )
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=1024).start()
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    await stopped.wait()
    await runner.cleanup()


def exit_with_parent() -> None:
    """End this process when its standard input closes: the parent is gone, however it went."""

    def watch() -> None:
        while os.read(0, 1024):
            pass
        os._exit(0)

    threading.Thread(target=watch, daemon=True).start()
