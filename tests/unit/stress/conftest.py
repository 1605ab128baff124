"""Sweeps small enough for a test."""

from __future__ import annotations

import pytest

from prorata.stress.config import Sweep


@pytest.fixture(scope="session")
def small() -> Sweep:
    """Violent and short: six traders, twelve prices, four cells."""
    return Sweep.of(
        {
            "prices": {"steps": 12, "severity": 0.2, "severity_spread": 0.5},
            "crowd": {"traders": 6, "lowest_leverage": 8},
            "keepers": {"lags": [0, 1, -1], "weights": [2, 1, 1]},
            "grid": {"insurance": [0, 0.05], "step_caps": [0.02, 0.5]},
        }
    )
