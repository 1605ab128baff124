"""What a sweep writes beside its page; the page itself is looked at in `tests/integration/test_sweep_page.py`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest

from prorata.stress import figures, page, picture, risk
from prorata.stress.config import Sweep
from prorata.stress.engine import bytecode, run_paths
from prorata.stress.figures import OnAnvil
from prorata.stress.store import Identity, table
from tests import sweeps
from tests.sweeps import COMMAND, Made


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return sweeps.made(tmp_path_factory.mktemp("page"))


def test_figures_as_json(made: Made) -> None:
    written = json.loads((made.folder / "figures.json").read_text())
    assert written == json.loads(json.dumps(asdict(made.figures)))
    assert (written["paths"], written["settlements"]) == (120, int(made.paths["moves"].sum()))
    assert written["audited"] == int(made.paths["audited"].sum()) > 0
    assert written["mismatches"] == written["violations"] == 0
    assert written["scan_alike"] == 1
    assert written["on_anvil"] is None
    assert 0 < written["largest_difference"] < 10**9


def test_the_picture(made: Made) -> None:
    """A picture with more than one colour in it."""
    image = plt.imread(picture.draw(made.figures, made.folder))
    assert image.shape[:2] == (484, 1100)
    assert len(np.unique(image.reshape(-1, image.shape[2]), axis=0)) > 50


def test_the_hunt_finds_worse_than_most(small: Sweep, made: Made) -> None:
    rates = risk.with_rates(made.paths, small)["socialized_rate"]
    hunted = [one["socialized_rate"] for one in made.figures.hunted]
    assert hunted == sorted(hunted, reverse=True)
    assert len(hunted) == 3
    assert min(hunted) > rates.quantile(0.95)
    assert all(one["path"] >= 120 for one in made.figures.hunted)


def test_a_sweep_of_one_path_has_a_page_too(small: Sweep, tmp_path: Path) -> None:
    found = table(run_paths(small, 11, 0, 1, audit=0)).to_pandas()
    differences = tuple(f"path 0, transaction {number}: <less>" for number in range(1, 13))
    on_anvil = OnAnvil((0,), transactions=20, gas=1_234_567, refused=0, differences=differences)
    collected = figures.collect(found, small, Identity(small.digest, 11, 0.0, bytecode()), None, on_anvil)
    text = page.write(found, collected, small, COMMAND, tmp_path).read_text()
    assert "No further paths were scanned" in text
    assert "1 paths, 20 transactions, 1,234,567 gas: 12 differences" in text
    assert "transaction 10: &lt;less&gt;" in text
    assert "transaction 11:" not in text
