"""What several unit tests share."""

from __future__ import annotations

import pytest

import settings
from tests.support.scripted_graph import Clock, memory_store


@pytest.fixture
def configured(monkeypatch):
    """Set this process's settings; there are none until then."""

    def configured(**environ):
        monkeypatch.setattr(settings, "current", lambda: settings.load(environ))

    configured()
    return configured


@pytest.fixture
def clock():
    """Virtual time."""
    return Clock()


@pytest.fixture
def store(clock):
    """Attempt records in memory, by that clock."""
    return memory_store(clock)
