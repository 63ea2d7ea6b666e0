"""Sweeps in this process, beside an emulated Graph of its own process.

For: tests/e2e/test_graph_variants.py. The fixture `world` is in conftest.py.
"""

from __future__ import annotations

from attempt_store import AttemptStore
from deadline import Deadline
from graph import Graph
from reprocess_timer.sweep import run_sweep
from settings import load
from table import InMemoryRows


class World:
    """Sweeps one after the other, with the attempts in memory, and what Graph saw of them."""

    def __init__(self, app, monkeypatch):
        self.app = app
        self.attempts = AttemptStore(InMemoryRows())
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"{app.graph_url}/msi/token")
        monkeypatch.setenv("IDENTITY_HEADER", app.identity_header)

    def graph(self, **settings):
        """Return a Graph of its own, which does not sleep."""
        return Graph(self.load(settings), sleep=lambda _: None)

    def load(self, settings):
        return load({"GRAPH_ENDPOINT": self.app.graph_url, **settings})

    def sweep(self, **settings):
        """Run a sweep and return its report; the settle time is not waited for."""
        return run_sweep(self.graph(**settings), self.attempts, self.load(settings))

    def record(self, request_id):
        return self.attempts.read(request_id, Deadline(10))

    def failures(self, count, **fields):
        return self.app.failures(count, **fields)

    def posted(self):
        """Return the ids that were POSTed, in order."""
        return [entry["requestId"] for entry in self.app.calls("reprocess")]


def counts(report):
    """Return the counts of a report that are not 0."""
    return {name: count for name, count in report.counts.items() if count}
