"""An engine played by hand."""

from __future__ import annotations

import pytest

from dagnats.wire.stores import Stores
from tests.worker.helpers import Engine


@pytest.fixture
def engine(stores: Stores) -> Engine:
    """The engine's side of a provisioned server."""
    return Engine(stores)
