"""Sweeps in this process, beside an emulated Graph of its own process.

For: test_sweep.py and test_worlds.py. The fixture `world` is in conftest.py.
"""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta

from attempts import Attempts, Memory
from graph import Graph
from reprocess_timer.sweep import Sweep
from settings import load


class World:
    """Sweeps one after the other, with the attempts in memory, and what Graph saw of them."""

    def __init__(self, app, monkeypatch, caplog):
        self.app = app
        self.attempts = Attempts(Memory())
        self.slept = []
        self.ahead = timedelta()
        self.speed = 1
        self.caplog = caplog
        caplog.set_level("INFO", "redeliver")
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"{app.graph_url}/msi/token")
        monkeypatch.setenv("IDENTITY_HEADER", app.identity_header)

    def graph(self, **settings):
        """Return a Graph of its own; what it would sleep is noted instead."""
        return Graph(self.load(settings), sleep=self.slept.append)

    def load(self, settings):
        return load({"GRAPH_ENDPOINT": self.app.graph_url, **settings})

    def sweep(self, attempts=None, **settings):
        """Run a sweep and return its report; the settle time is not waited for."""
        loaded, graph = self.load(settings), self.graph(**settings)
        self.caplog.clear()
        return Sweep(
            graph,
            attempts or self.attempts,
            loaded,
            now=lambda: datetime.now(UTC) + self.ahead,
            clock=lambda: time.monotonic() * self.speed,
        ).run()

    def failures(self, count, **fields):
        return self.app.failures(count, **fields)

    def posted(self):
        """Return the ids that were POSTed, in order."""
        return [entry["requestId"] for entry in self.app.calls("reprocess")]

    def lines(self, name):
        """Return the log lines of one event of the last sweep."""
        lines = (json.loads(record.message) for record in self.caplog.records)
        return [line for line in lines if line["event"] == name]
