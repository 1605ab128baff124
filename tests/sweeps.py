"""A sweep small enough for a test, and its page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from prorata.stress import figures, page
from prorata.stress.config import Sweep
from prorata.stress.engine import bytecode, run_paths
from prorata.stress.figures import Figures, OnAnvil
from prorata.stress.hunt import hunt
from prorata.stress.store import Identity, table

#: Violent and short: six traders, twelve prices, four cells.
SMALL = Sweep.of(
    {
        "prices": {"steps": 12, "severity": 0.2, "severity_spread": 0.5},
        "crowd": {"traders": 6, "lowest_leverage": 8},
        "keepers": {"lags": [0, 1, -1], "weights": [2, 1, 1]},
        "grid": {"insurance": [0, 0.05], "step_caps": [0.02, 0.5]},
    }
)
SEED = 11
PATHS = 120
COMMAND = "ape run sweep --paths 120 --seed 11 --out 'out/a & b'"


@dataclass(frozen=True)
class Made:
    """A sweep: its figures, its paths, and where its page is."""

    figures: Figures
    paths: pd.DataFrame
    folder: Path


def made(folder: Path, sweep: Sweep = SMALL, on_anvil: OnAnvil | None = None) -> Made:
    """A small sweep with its figures and its page written."""
    found = table(run_paths(sweep, SEED, 0, PATHS, audit=0.05)).to_pandas()
    identity = Identity(sweep.digest, SEED, 0.05, bytecode())
    collected = figures.collect(found, sweep, identity, hunt(sweep, SEED, PATHS, 400, replays=3), on_anvil)
    collected.write(folder)
    page.write(found, collected, sweep, COMMAND, folder)
    return Made(collected, found, folder)
