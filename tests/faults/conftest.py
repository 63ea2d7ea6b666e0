"""The peers of the app, each behind a faulty proxy."""

import pytest

from tests.faults.world import Peers


@pytest.fixture(scope="package")
def peers(azurite):
    with Peers(azurite) as made:
        yield made
