"""Sweeps in this process, beside an emulated Graph of its own process.

For: tests/e2e/test_graph_variants.py. The fixture `world` is in conftest.py.
"""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta

from attempt_store import AttemptStore
from deadline import Deadline
from graph import Graph
from reprocess_timer.sweep import run_sweep
from settings import load
from table import InMemoryRows


class World:
    """Sweeps one after the other, with the attempts in memory, and what Graph saw of them."""

    def __init__(self, app, monkeypatch, caplog):
        self.app = app
        self.attempts = AttemptStore(InMemoryRows(), self.now)
        self.slept = []
        self.ahead = timedelta()
        self.speed = 1
        self.caplog = caplog
        caplog.set_level("INFO", "redeliver")
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"{app.graph_url}/msi/token")
        monkeypatch.setenv("IDENTITY_HEADER", app.identity_header)

    def now(self):
        return datetime.now(UTC) + self.ahead

    def graph(self, **settings):
        """Return a Graph of its own; what it would sleep is noted instead."""
        return Graph(self.load(settings), sleep=self.slept.append, now=self.now)

    def load(self, settings):
        return load({"GRAPH_ENDPOINT": self.app.graph_url, **settings})

    def sweep(self, **settings):
        """Run a sweep and return its report; the settle time is not waited for."""
        self.caplog.clear()
        graph, loaded = self.graph(**settings), self.load(settings)
        return run_sweep(graph, self.attempts, loaded, lambda: time.monotonic() * self.speed)

    def record(self, request_id):
        return self.attempts.read(request_id, Deadline(10))

    def failures(self, count, **fields):
        return self.app.failures(count, **fields)

    def posted(self):
        """Return the ids that were POSTed, in order."""
        return [entry["requestId"] for entry in self.app.calls("reprocess")]

    def lines(self, name):
        """Return the log lines of one event of the last sweep."""
        lines = (json.loads(record.message) for record in self.caplog.records)
        return [line for line in lines if line["event"] == name]


def counts(report):
    """Return the counts of a report that are not 0."""
    return {name: count for name, count in report.counts.items() if count}
