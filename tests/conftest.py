"""What several tests share: Azurite, and the whole app, each started once."""

import hypothesis
import pytest

from emulator.azurite import Azurite
from events import invocation_began
from tests.support.local_app import App, fresh, quiet
from tests.support.sweeps import World

invocation_began()  # so that no test's first call has one more log line than the others
# How long an example takes says more of the machine than of the code.
hypothesis.settings.register_profile("any machine", deadline=None)
hypothesis.settings.register_profile(
    "mutants", deadline=None, derandomize=True, database=None, max_examples=25
)
hypothesis.settings.load_profile("any machine")


@pytest.fixture(scope="session")
def azurite():
    """Table Storage over http, with a key."""
    with Azurite() as running:
        yield running


@pytest.fixture(scope="session")
def azurite_tls():
    """Table Storage over https, with a bearer token."""
    with Azurite(tls=True) as running:
        yield running


@pytest.fixture(scope="session")
def running():
    """The app with its attempts in memory."""
    settings = {
        "HTTP_BUDGET_SECONDS": "6",
        "SWEEP_SCHEDULE": "0 0 0 1 1 *",
        "SWEEP_BUDGET_SECONDS": "30",
    }
    with App(settings=settings, graph_options=("--requests", "0")) as app:
        yield app


@pytest.fixture
def app(running):
    """The same, without what the test before has left."""
    fresh(running)
    return running


@pytest.fixture
def world(running, monkeypatch):
    """Sweeps in this process, beside the Graph of the running app; nothing has failed yet."""
    quiet(running)
    yield World(running, monkeypatch)
    quiet(running)
