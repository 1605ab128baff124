"""Sweeps small enough for a test."""

from __future__ import annotations

import pytest

from prorata.stress.config import Sweep
from tests.sweeps import SMALL


@pytest.fixture(scope="session")
def small() -> Sweep:
    return SMALL
