"""What several unit tests share."""

from __future__ import annotations

import pytest

import settings


@pytest.fixture
def configured(monkeypatch):
    """Set this process's settings; there are none until then."""

    def configured(**environ):
        monkeypatch.setattr(settings, "current", lambda: settings.load(environ))

    configured()
    return configured
