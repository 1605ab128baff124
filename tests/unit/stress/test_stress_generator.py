"""Scenarios are what the configuration says, the same every time, and fitted to the published events."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest
from scipy import stats

from prorata.scenarios import PricePath, PricePoint
from prorata.stress.calibration import fit, legs
from prorata.stress.config import Prices, Sweep
from prorata.stress.generator import BLOCK, JUMPS, STUDENT, Fill, block, matched, scenario
from prorata.units import WAD


def test_the_defaults_are_the_fit_to_the_published_events() -> None:
    found, said = fit(), Prices()
    assert (found.events, found.legs) == (9, 39)
    for name in ("severity", "severity_spread", "student_df", "student_scale", "diffusion_scale", "jump_scale"):
        assert getattr(said, name) == pytest.approx(getattr(found, name), rel=0.01), name
    assert said.jump_chance == pytest.approx(found.jump_chance, rel=0.01)


def test_interpolated_points_are_no_observations() -> None:
    points = tuple(PricePoint(900 * i, Decimal(price)) for i, price in enumerate((100, 110, 121, 100, 90)))
    assert legs(PricePath("zigzag", points)) == pytest.approx(
        [np.log(1.21) / np.sqrt(2), np.log(90 / 121) / np.sqrt(2)]
    )


def test_a_block_is_its_seed_s_and_number_s(small: Sweep) -> None:
    first = block(small, 1, 0)
    block.cache_clear()
    again = block(small, 1, 0)
    assert all(np.array_equal(getattr(first, name), getattr(again, name)) for name in vars(first))
    assert not np.array_equal(first.moves, block(small, 2, 0).moves)
    assert not np.array_equal(first.moves, block(small, 1, 1).moves)


def test_moves_have_the_stated_distributions() -> None:
    """Kolmogorov-Smirnov on a hundred thousand moves of either kind, in units of their path's severity."""
    sweep = Sweep.of({"prices": {"steps": 64, "severity_spread": 0, "severity": 0.001, "interval": 900}})
    blocks = [block(sweep, 3, number) for number in range(50)]
    moves = np.concatenate([one.moves for one in blocks]) / 0.001
    kinds = np.concatenate([one.kind for one in blocks])
    prices = sweep.prices
    assert np.mean(kinds == STUDENT) == pytest.approx(prices.student_weight, abs=0.03)
    student = moves[kinds == STUDENT].ravel()
    assert stats.kstest(student, stats.t(prices.student_df, 0, prices.student_scale).cdf).pvalue > 0.001

    def mixture(x: np.ndarray) -> np.ndarray:
        wide, narrow = stats.norm(0, prices.jump_scale).cdf(x), stats.norm(0, prices.diffusion_scale).cdf(x)
        return prices.jump_chance * wide + (1 - prices.jump_chance) * narrow

    jumps = moves[kinds == JUMPS].ravel()
    assert stats.kstest(jumps, mixture).pvalue > 0.001
    assert stats.kstest(student, mixture).pvalue < 0.001  # the test can tell them apart


def test_crowds_herd_and_their_leverage_goes_together() -> None:
    calm = Sweep.of({"crowd": {"correlation": 0, "herding": 0}})
    wild = Sweep.of({"crowd": {"correlation": 0.8, "herding": 0.9}})
    lopsided, spread = [], []
    for sweep in (calm, wild):
        blocks = [block(sweep, 5, number) for number in range(20)]
        longs = np.concatenate([one.is_long.mean(axis=1) for one in blocks])
        levers = np.concatenate([one.leverage.mean(axis=1) for one in blocks])
        lopsided.append(np.abs(longs - 0.5).mean())
        spread.append(levers.std())
    assert lopsided[1] > 2 * lopsided[0]
    assert spread[1] > 2 * spread[0]


def test_every_scenario_can_be_opened(small: Sweep) -> None:
    for number in range(2 * BLOCK):
        drawn = scenario(small, 7, number)
        assert drawn.fills
        assert drawn.lag in small.keepers.lags
        for one in drawn.fills:
            assert drawn.is_long[one.long]
            assert not drawn.is_long[one.short]
        for trader, deposit in enumerate(drawn.deposits):
            size = sum(one.size for one in drawn.fills if trader in (one.long, one.short))
            assert size * drawn.mark <= deposit * WAD * small.crowd.highest_leverage


def test_longs_and_shorts_are_matched_until_one_side_has_enough() -> None:
    fills = matched([True, False, True], [3 * WAD, 5 * WAD, 4 * WAD], 1000 * WAD)
    assert fills == [Fill(0, 1, 3 * WAD), Fill(2, 1, 2 * WAD)]
    assert matched([True, False], [WAD, 0], 1000 * WAD) == []
