"""A path on the contracts: the same every time and on every EVM, and what the exact model says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import pytest

from prorata.boa_chain import BoaChain
from prorata.receipts import Receipt
from prorata.revm_chain import RevmChain
from prorata.stress import engine
from prorata.stress.config import ABSENT, Sweep
from prorata.stress.engine import audited, is_audited, replayed, run_paths
from prorata.stress.generator import Fill
from prorata.stress.markets import ChainMarket, FastMarket, batches, opened
from prorata.stress.path import CLASSES, Path, Result, classes
from prorata.units import WAD

SEED = 11


@pytest.fixture(scope="module")
def results(small: Sweep) -> list[Result]:
    return run_paths(small, SEED, 0, 120, audit=0)


def test_no_guarantee_is_violated_and_everything_happens(results: Sequence[Result]) -> None:
    assert not any(one.violation for one in results)
    for name in ("deficit", "covered", "socialized", "surplus", "adl_shortfall", "closed", "liquidated", "limited"):
        assert any(getattr(one, name) for one in results), name
    assert any(one.epochs for one in results)


def test_amounts_add_up(results: Sequence[Result]) -> None:
    for one in results:
        assert one.socialized == pytest.approx(one.deficit - one.covered, abs=1e-6)
        assert 0 <= one.worst_haircut <= 1
        assert 0 <= one.drawdown <= 0.5 + 1e-12  # the vault's own cap of draws
        assert one.drained <= one.covered + 1e-6
        left = sum(getattr(one, f"left_{name}") for name in CLASSES)
        borne = sum(getattr(one, f"borne_{name}") for name in CLASSES)
        if one.lag == ABSENT:  # a keeper leaves debts too, and has no class
            # What winners miss is left by those who are closed; of debts surpluses of the same move pay a part.
            assert left >= one.deficit + one.adl_shortfall - 1e-6
        assert borne <= one.socialized + one.adl_shortfall + 1e-6
        assert one.low <= min(1, one.last) <= max(1, one.last) <= one.high


def test_a_path_is_its_number_s(small: Sweep, results: Sequence[Result]) -> None:
    """Not the chunk's that it runs in, nor what ran before."""
    assert run_paths(small, SEED, 37, 9, audit=0) == list(results[37:46])
    assert run_paths(small, SEED + 1, 37, 1, audit=0) != [results[37]]


def test_cells_of_a_scenario_differ_by_their_parameters_alone(small: Sweep, results: Sequence[Result]) -> None:
    for first in range(0, len(results), len(small.cells)):
        same = results[first : first + len(small.cells)]
        assert [(one.step_cap, one.insurance) for one in same] == small.cells
        assert len({(one.scenario, one.severity, one.lag, one.notional, one.wealth_rich) for one in same}) == 1


def test_insurance_spares_winners(small: Sweep, results: Sequence[Result]) -> None:
    poor = sum(one.socialized for one in results if not one.insurance)
    rich = sum(one.socialized for one in results if one.insurance)
    assert 0 <= rich < poor


def test_the_exact_model_agrees(small: Sweep, results: Sequence[Result]) -> None:
    """Paths with close-outs, take-overs and refusals, in lockstep."""
    eventful = sorted(results, key=lambda one: one.closed + one.liquidated)[-5:]
    for one in eventful:
        found = audited(small, SEED, one)
        assert found.violation == ""
        assert found.audited
        assert 0 < found.difference < 10**9
        assert replace(found, audited=False, difference=0) == one


def test_the_audited_share_is_the_seed_s() -> None:
    chosen = [number for number in range(20_000) if is_audited(3, number, 0.01)]
    assert 140 < len(chosen) < 260
    assert chosen == [number for number in range(20_000) if is_audited(3, number, 0.01)]
    assert chosen != [number for number in range(20_000) if is_audited(4, number, 0.01)]
    assert not any(is_audited(3, number, 0) for number in range(100))
    assert all(is_audited(3, number, 1) for number in range(100))


def test_bug_a_result_that_the_replay_does_not_confirm_is_a_violation(small: Sweep, results: Sequence[Result]) -> None:
    found = audited(small, SEED, replace(results[0], gross=results[0].gross + 1))
    assert found.violation == "S3: a replay differs in gross"


def test_bug_a_market_that_pays_more_than_the_model_is_found(small: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    """The audit must be able to fail: the model's market has another close-out margin than the contracts'."""
    original = engine.TwinMarket.__init__

    def faulty(self: Any, sweep: Sweep, mark: int, step_cap: float) -> None:
        original(self, sweep, mark, step_cap)
        self._twin.model.parameters = replace(self._twin.model.parameters, closeout_margin=WAD // 50)

    monkeypatch.setattr(engine.TwinMarket, "__init__", faulty)
    found = run_paths(small, SEED, 0, 8, audit=1)
    assert any(one.violation.startswith("S3") for one in found)


def test_bug_a_receipt_that_breaks_s2_is_a_violation(small: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    original = FastMarket.settle

    def faulty(self: FastMarket) -> list[Receipt]:
        return [replace(one, deficit=one.gross + 1) if one.buckets_closed else one for one in original(self)]

    monkeypatch.setattr(FastMarket, "settle", faulty)
    assert any(one.violation.startswith("S2") for one in run_paths(small, SEED, 0, 40, audit=0))


@pytest.mark.parametrize("kind", [RevmChain, BoaChain])
def test_the_ordinary_driver_comes_to_the_same(small: Sweep, results: Sequence[Result], kind: Any) -> None:
    """Orders signed one by one, views instead of storage words, another EVM."""
    one = max(results[:40], key=lambda one: one.closed + one.liquidated)
    drawn, step_cap, insurance = replayed(small, SEED, one.path)
    market = ChainMarket(kind(), small, drawn.mark, step_cap)
    opened(market, small, drawn)
    found = asdict(Path(market, small, drawn, step_cap, insurance, one.path).run())
    expected = asdict(one)
    for name, value in expected.items():
        # A view rounds what an account is worth down to a wei.
        assert found[name] == (pytest.approx(value, abs=1e-9) if isinstance(value, float) else value), name


def test_an_absent_keeper_takes_nothing_over(results: Sequence[Result]) -> None:
    assert all(one.liquidated == one.refused == 0 for one in results if one.lag == ABSENT)
    assert any(one.liquidated for one in results if one.lag == 0)


def test_a_gap_safe_market_has_no_deficit(small: Sweep) -> None:
    sweep = replace(small, grid=replace(small.grid, step_caps=(0.01,), insurance=(0.0,)))
    found = run_paths(sweep, SEED, 0, 20, audit=0)
    assert not any(one.violation or one.deficit > 1e-12 for one in found)
    assert any(one.closed for one in found)


def test_without_impact_the_index_is_the_scenario_s(small: Sweep) -> None:
    calm = replace(small, liquidity=replace(small.liquidity, impact=0.0))
    by_cell = [run_paths(calm, SEED, number, 1, audit=0)[0] for number in range(4)]
    assert len({(one.low, one.high, one.last) for one in by_cell}) == 1
    moved = [run_paths(small, SEED, number, 1, audit=0)[0] for number in range(4)]
    assert {(one.low, one.high, one.last) for one in moved} != {(one.low, one.high, one.last) for one in by_cell}


def test_classes_are_thirds_by_wealth() -> None:
    assert classes([5, 1, 9, 2, 7, 3]) == [1, 0, 2, 0, 2, 1, -1]
    assert classes([4, 4]) == [0, 1, -1]


def test_batches_are_one_short_s_and_no_longer_than_the_contracts_take() -> None:
    fills = [Fill(long, 90, 1) for long in range(18)] + [Fill(1, 91, 1)]
    assert [(short, len(batch)) for short, batch in batches(fills)] == [(90, 16), (90, 2), (91, 1)]
