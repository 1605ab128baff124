"""The numpy market beside the contracts, path by path."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest

from prorata.chain import Reverted
from prorata.receipts import Receipt
from prorata.stress import scan as scanning
from prorata.stress.config import Sweep
from prorata.stress.engine import run_paths
from prorata.stress.markets import FastMarket
from prorata.stress.scan import compare, scan
from prorata.units import WAD

SEED = 11


def contracts(sweep: Sweep, count: int) -> pd.DataFrame:
    return pd.DataFrame([asdict(one) for one in run_paths(sweep, SEED, 0, count, audit=0)])


@pytest.fixture(scope="module")
def run(small: Sweep) -> pd.DataFrame:
    return contracts(small, 160)


def test_comes_to_what_the_contracts_do(small: Sweep, run: pd.DataFrame) -> None:
    found = compare(scan(small, SEED, 0, len(run)), run)
    assert found.paths == len(run)
    assert found.alike == 1
    assert max(found.largest.values()) < 1e-9
    assert run["liquidated"].sum() > 50
    assert run["epochs"].sum() > 5


@pytest.mark.parametrize(
    "changes",
    [
        {"grid": {"step_caps": [0.01], "insurance": [0.05], "step_interval": 0}},
        {"grid": {"step_caps": [0.01], "insurance": [0], "step_interval": 149}, "keepers": {"capital": 5}},
        {"keepers": {"capital": 0}, "prices": {"interval": 3600, "steps": 40}},
        {"liquidity": {"impact": 0.5, "exponent": 1, "recovery": 0}, "crowd": {"traders": 40, "wealth_spread": 2}},
    ],
)
def test_whatever_the_configuration(changes: dict[str, dict[str, object]]) -> None:
    """Steps at once and rarely, rich keepers and none, more than one window of draws, violent cascades."""
    sweep = Sweep.of({"prices": {"steps": 15, "severity": 0.2}, **changes})
    number = 24
    found = compare(scan(sweep, SEED, 0, number), contracts(sweep, number))
    assert found.alike == 1, found


def test_a_reset_by_the_scale_at_a_lagging_mark(monkeypatch: pytest.MonkeyPatch) -> None:
    """A side that is nearly all one whale's: when it is closed the winners' scale falls below its least while the mark
    is still on its way, the minnows beside it are spared the rest, and the winners miss that too."""
    sweep = Sweep.of(
        {
            "prices": {"steps": 12, "severity": 0.3, "severity_spread": 0.5},
            "crowd": {"traders": 6, "wealth_spread": 3, "lowest_leverage": 1, "correlation": 0},
            "keepers": {"lags": [-1], "weights": [1]},
            "grid": {"insurance": [0], "step_caps": [0.02]},
        }
    )
    beyond: list[float] = []
    settle = FastMarket.settle

    def noted(self: FastMarket) -> list[Receipt]:
        receipts = settle(self)
        for one in receipts:
            missed = one.closed_size * abs(one.index_price - one.mark_after) // WAD
            beyond.append((one.bonus + one.adl_shortfall - missed) / one.gross if one.buckets_closed else 0.0)
        return receipts

    monkeypatch.setattr(FastMarket, "settle", noted)
    first, number = 340, 30
    run = pd.DataFrame([asdict(one) for one in run_paths(sweep, SEED, first, number, audit=0)])
    assert sum(one > 1e-6 for one in beyond) >= 2, max(beyond)
    found = compare(scan(sweep, SEED, first, number), run)
    assert found.alike == 1, found


def test_a_path_is_its_number_s(small: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not its batch's."""
    whole = scan(small, SEED, 0, 90)
    monkeypatch.setattr(scanning, "BATCH", 37)
    pd.testing.assert_frame_equal(scan(small, SEED, 0, 90), whole)
    pd.testing.assert_frame_equal(scan(small, SEED, 30, 20), whole.iloc[30:50].reset_index(drop=True))


def test_bug_a_difference_is_seen(small: Sweep, run: pd.DataFrame) -> None:
    other = run.copy()
    worst = int(np.argmax(run["deficit"]))
    other.loc[worst, "deficit"] *= 1.001
    found = compare(scan(small, SEED, 0, len(run)), other)
    assert found.alike == pytest.approx(1 - 1 / len(run))
    assert found.largest["deficit"] > 1e-6
    assert found.means["deficit"] < 0


def test_bug_another_close_out_margin_is_seen(small: Sweep, run: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanning, "_CLOSEOUT", 0.0101)
    assert compare(scan(small, SEED, 0, len(run)), run).alike < 1


def test_bug_a_keeper_asks_only_for_whom_the_contracts_give(small: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once whoever was below at the mark or at the index was asked for, and refused by the hundred."""
    reasons: list[str] = []
    original = FastMarket.liquidate

    def noted(self: FastMarket, trader: int) -> object:
        try:
            return original(self, trader)
        except Reverted as refusal:
            reasons.append(refusal.reason)
            raise

    monkeypatch.setattr(FastMarket, "liquidate", noted)
    sweep = replace(small, grid=replace(small.grid, step_caps=(0.01,)))
    refused = sum(one.refused for one in run_paths(sweep, SEED, 0, 60, audit=0))
    assert refused == len(reasons) > 0
    # A liquidation late in a round may find that the mark has moved meanwhile.
    assert reasons.count("liquidation: healthy account") <= len(reasons) // 10
