"""What several tests share: Azurite, Microsoft's emulator of Table Storage."""

import pytest

from emulator.azurite import Azurite


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
