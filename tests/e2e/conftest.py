"""Apps with several settings, each started once for all tests that use it."""

from __future__ import annotations

import pytest

from tests.support import browser
from tests.support.local_app import App, fresh

LINK_SECRET = "link-secret-for-tests-0123456789"
HOOK_SECRETS = ("newest-secret-for-tests-01234", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
CALLERS = {
    "HTTP_BUDGET_SECONDS": "12",
    "SWEEP_SCHEDULE": "0 0 0 1 1 *",
    "SWEEP_MIN_AGE_MINUTES": "0",
    "STATUS_LINK_SECRET": LINK_SECRET,
    "STATUS_RETRY_AFTER_SECONDS": "1",
    "WEBHOOK_SECRETS": ",".join(HOOK_SECRETS),
}
EASY_AUTH = {"HTTP_AUTH_LEVEL": "anonymous", "WEBSITE_AUTH_ENABLED": "True"}


def started(settings):
    """An app of its own with these settings."""
    with App(settings=settings, graph_options=("--requests", "0")) as app:
        yield app


@pytest.fixture(scope="session")
def _linked():
    yield from started(CALLERS)


@pytest.fixture
def linked(_linked):
    """The app with webhooks and status links, behind function keys."""
    fresh(_linked)
    return _linked


@pytest.fixture(scope="session")
def _guarded():
    yield from started(CALLERS | EASY_AUTH)


@pytest.fixture
def guarded(_guarded):
    """The same behind App Service authentication."""
    fresh(_guarded)
    return _guarded


@pytest.fixture(scope="session")
def unguarded():
    """`anonymous`, and nothing else configured."""
    yield from started({"HTTP_AUTH_LEVEL": "anonymous", "SWEEP_SCHEDULE": "0 0 0 1 1 *"})


@pytest.fixture(scope="module")
def chromium():
    with browser.started() as started:
        yield started
