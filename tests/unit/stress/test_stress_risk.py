"""Risk figures: their definitions, on numbers that can be worked out by hand."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from prorata.stress import risk
from prorata.stress.config import Sweep
from prorata.stress.engine import run_paths
from prorata.stress.risk import Bootstrap, expected_shortfall, needed, value_at_risk

ONES = np.ones(10)
LOSSES = np.arange(1.0, 11.0)


@pytest.fixture(scope="module")
def paths(small: Sweep) -> pd.DataFrame:
    return risk.with_rates(pd.DataFrame([asdict(one) for one in run_paths(small, 11, 0, 120, audit=0)]), small)


@pytest.mark.parametrize(("level", "var", "es"), [(0.5, 5, 8), (0.8, 8, 9.5), (0.85, 9, 29 / 3), (0.9, 9, 10)])
def test_quantile_and_what_lies_beyond(level: float, var: float, es: float) -> None:
    assert value_at_risk(LOSSES, ONES, level) == var
    assert expected_shortfall(LOSSES, ONES, level) == pytest.approx(es)


def test_weights_are_copies() -> None:
    weights = np.array([1, 0, 3, 2, 0, 0, 1, 5, 1, 2.0])
    copies = np.repeat(LOSSES, weights.astype(int))
    for level in (0.5, 0.8, 0.9, 0.95):
        ones = np.ones(len(copies))
        assert value_at_risk(LOSSES, weights, level) == value_at_risk(copies, ones, level)
        assert expected_shortfall(LOSSES, weights, level) == pytest.approx(expected_shortfall(copies, ones, level))


@settings(max_examples=100, deadline=None)
@given(
    losses=st.lists(st.floats(0, 1), min_size=1, max_size=40),
    level=st.sampled_from([0.5, 0.9, 0.95, 0.99, 0.999]),
)
def test_beyond_is_worse_than_the_edge(losses: list[float], level: float) -> None:
    values, ones = np.array(losses), np.ones(len(losses))
    var, es = value_at_risk(values, ones, level), expected_shortfall(values, ones, level)
    assert var <= es + 1e-12
    assert es <= max(losses) + 1e-12
    assert np.mean(values <= var) >= level - 1e-12
    # Rockafellar and Uryasev: ES is the least of this over all thresholds, and VaR is where it is least.
    assert es == pytest.approx(var + np.maximum(values - var, 0).mean() / (1 - level), rel=1e-6, abs=1e-9)


def test_of_a_known_distribution() -> None:
    values = stats.norm.ppf((np.arange(200_000) + 0.5) / 200_000)
    ones = np.ones(len(values))
    for level in risk.LEVELS:
        quantile = stats.norm.ppf(level)
        assert value_at_risk(values, ones, level) == pytest.approx(quantile, abs=1e-3)
        assert expected_shortfall(values, ones, level) == pytest.approx(
            stats.norm.pdf(quantile) / (1 - level), abs=1e-2
        )


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    """Of the mean of 80 scenarios of four equal paths each; paths taken for independent would halve the interval."""
    held, rng = 0, np.random.default_rng(4)
    for seed in range(50):
        values = np.repeat(rng.exponential(size=80), 4)
        scenarios = np.repeat(np.arange(80), 4)
        found = Bootstrap(pd.Series(scenarios), seed).tail(values, scenarios).mean
        assert found.low <= found.value <= found.high
        held += found.low <= 1 <= found.high
    assert 42 <= held <= 50


def test_intervals_are_the_seed_s(paths: pd.DataFrame) -> None:
    first, second, other = (risk.tail(paths, "haircut", Bootstrap(paths["scenario"], seed)) for seed in (1, 1, 2))
    assert first == second != other
    assert first.mean.low < first.mean.value < first.mean.high


def test_a_tail_is_the_two_definitions(paths: pd.DataFrame) -> None:
    for measure in risk.MEASURES:
        losses, ones = paths[measure].to_numpy(dtype=np.float64), np.ones(len(paths))
        found = risk.tail(paths, measure, Bootstrap(paths["scenario"], 1))
        assert found.mean.value == pytest.approx(losses.mean())
        for level, var, es in zip(risk.LEVELS, found.var, found.es, strict=True):
            assert var.value == value_at_risk(losses, ones, level)
            assert es.value == pytest.approx(expected_shortfall(losses, ones, level), abs=1e-12)
            assert var.low <= var.high
            assert es.low <= es.high


def test_rates_are_parts(paths: pd.DataFrame) -> None:
    for name in ("haircut", "worst_haircut", "drawdown", "closed_rate"):
        assert paths[name].between(0, 1 + 1e-12).all(), name
    assert (paths["haircut"] <= paths["worst_haircut"] + 1e-12).all()  # a mean of moves, and the worst of them
    assert (paths["loss_rate"] >= paths["adl_rate"]).all()


def test_a_path_without_open_interest_loses_nothing(paths: pd.DataFrame, small: Sweep) -> None:
    empty = paths.head(1).assign(notional=0.0, closing_gross=0.0, socialized=0.0, adl_shortfall=0.0)
    found = risk.with_rates(empty, small)
    assert (found[["haircut", "adl_rate", "loss_rate"]] == 0).all().all()


def test_the_surface_is_the_grid_s(paths: pd.DataFrame, small: Sweep) -> None:
    counts = risk.haircut_surface(paths, small, lambda cell: float(len(cell)))
    assert counts.tolist() == [[30, 30], [30, 30]]
    one_missing = risk.haircut_surface(paths[paths["insurance"] > 0], small, lambda cell: float(len(cell)))
    assert np.isnan(one_missing[:, 0]).all()


def test_a_keeper_s_curve_goes_from_prompt_to_absent(paths: pd.DataFrame) -> None:
    curve = risk.keeper_curve(paths)
    for _, part in curve.groupby("step_cap"):
        assert list(part["lag"]) == [0, 1, -1]
        assert part["paths"].sum() == 60
        assert part["solvent"].between(0, 1).all()
    assert curve.loc[curve["lag"] == -1, "liquidated"].eq(0).all()


def test_the_keeper_curve_s_intervals_hold_it(paths: pd.DataFrame) -> None:
    bootstrap = Bootstrap(paths["scenario"], 1)
    curve = risk.with_intervals(risk.keeper_curve(paths), paths, bootstrap)
    assert (curve["deficit_low"] <= curve["deficit_rate"]).all()
    assert (curve["deficit_rate"] <= curve["deficit_high"]).all()
    wide = curve[(curve["step_cap"] == 0.5) & (curve["lag"] == 0)].iloc[0]
    assert wide["deficit_low"] < wide["deficit_rate"] < wide["deficit_high"]
    # Of one scenario alone nothing is known but itself.
    one = paths[paths["scenario"] == paths["scenario"].iloc[0]]
    alone = risk.with_intervals(risk.keeper_curve(one), one, bootstrap)
    assert np.allclose(alone["deficit_high"] - alone["deficit_low"], 0)


def test_moral_hazard_adds_up(paths: pd.DataFrame) -> None:
    hazard = risk.moral_hazard(paths)
    assert list(hazard["class"]) == ["poor", "middle", "rich"] * 2
    assert (hazard["gain"] - (hazard["left"] - hazard["borne"])).abs().max() < 1e-12
    violent = hazard[hazard["step_cap"] == 0.5]
    assert (violent["left"] > 0).all()


@pytest.mark.parametrize(
    ("shortfalls", "expected"),
    [([0.2, 0.1, 0.02], None), ([0.2, 0.1, 0.0], 0.55), ([0.2, 0.01, 0], 0.1), ([0.005, 0.0, 0.0], 0.0)],
)
def test_needed_insurance(shortfalls: list[float], expected: float | None) -> None:
    found = needed([0.0, 0.1, 0.6], shortfalls, 0.01)
    assert found == (expected if expected is None else pytest.approx(expected, abs=1e-12))


def test_recommended_is_the_cheapest_that_meets_the_target(paths: pd.DataFrame, small: Sweep) -> None:
    found = risk.recommended(paths, small)
    assert [one.step_cap for one in found] == list(small.grid.step_caps)
    chosen = risk.best(found)
    for one in found:
        if one.insurance is not None:
            assert one.cost is not None
            assert one.cost >= small.targets.capital_price * one.insurance
    meeting = [one for one in found if one.insurance is not None]
    assert chosen is None if not meeting else chosen in meeting
    assert risk.best([risk.Recommendation(0.1, None, (0.5,), None)]) is None
    cheap, dear = risk.Recommendation(0.1, 0.2, (0.0,), 0.01), risk.Recommendation(0.5, 0.1, (0.0,), 0.02)
    assert risk.best([dear, cheap]) == cheap
