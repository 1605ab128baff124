"""Risk figures of a sweep: quantiles and what lies beyond them, with how sure one can be.

A scenario runs in many cells, so paths are not independent but scenarios are: intervals are percentiles of a bootstrap
that draws whole scenarios, with weights instead of copies. In every table a cell's figures come from the same scenarios
as its neighbour's.

Definitions. Losses are parts of one. VaR at a level is the quantile, the smallest loss that at least so large a part of
paths does not exceed; ES is the mean of the worst part of paths beyond the level, the path on the edge counted by the
part of it that belongs there (Acerbi and Tasche, 2002).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from prorata.stress.config import ABSENT, Sweep
from prorata.stress.path import CLASSES

LEVELS = (0.95, 0.99, 0.999)
#: What has a distribution: by column, its name and its meaning.
MEASURES = {
    "haircut": ("haircut", "part of the winners' gains that they went without, in moves that left a deficit"),
    "worst_haircut": ("worst haircut", "largest haircut of a single move"),
    "drawdown": ("insurance drawdown", "part of its first assets that the vault was short of at worst"),
    "adl_rate": ("missed gains", "gains missed by deleverage at a lagging mark, over open interest"),
    "loss_rate": ("cost to winners", "socialized losses and missed gains, over open interest"),
    "closed_rate": ("closed accounts", "part of the traders whom settlements closed"),
}
_RESAMPLES = 400
_CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A figure, and the interval that holds 95 % of its bootstrap."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Tail:
    """A measure's distribution over some paths: mean, and VaR and ES by LEVELS."""

    paths: int
    mean: Estimate
    var: tuple[Estimate, ...]
    es: tuple[Estimate, ...]


@dataclass(frozen=True)
class Recommendation:
    """The insurance that one step cap needs.

    Attributes:
        insurance: over open interest; None if no size of the grid suffices.
        at: ES of the haircut at the sizes of the grid.
        cost: mean cost over open interest at that insurance: what winners and insurers lose and missed gains, and the
            price of the insurers' capital.
    """

    step_cap: float
    insurance: float | None
    at: tuple[float, ...]
    cost: float | None


def with_rates(paths: pd.DataFrame, sweep: Sweep) -> pd.DataFrame:
    """The table of paths, with what MEASURES are beside its own columns."""
    notional = paths["notional"].where(paths["notional"] > 0, np.nan)
    gross = paths["closing_gross"].where(paths["closing_gross"] > 0, np.nan)
    return paths.assign(
        haircut=(paths["socialized"] / gross).fillna(0.0),
        socialized_rate=(paths["socialized"] / notional).fillna(0.0),
        adl_rate=(paths["adl_shortfall"] / notional).fillna(0.0),
        loss_rate=((paths["socialized"] + paths["adl_shortfall"]) / notional).fillna(0.0),
        cost_rate=((paths["deficit"] + paths["adl_shortfall"]) / notional).fillna(0.0),
        closed_rate=paths["closed"] / sweep.crowd.traders,
    )


def value_at_risk(losses: NDArray[np.float64], weights: NDArray[np.float64], level: float) -> float:
    """The smallest loss that paths of at least `level` of the weight do not exceed."""
    order = np.argsort(losses, kind="stable")
    reached = np.cumsum(weights[order])
    # A sum of weights may miss a level that it equals by its last digit.
    at = int(np.searchsorted(reached, level * reached[-1] * (1 - 1e-12)))
    return float(losses[order][min(at, len(losses) - 1)])


def expected_shortfall(losses: NDArray[np.float64], weights: NDArray[np.float64], level: float) -> float:
    """The mean of the worst `1 - level` of the weight."""
    order = np.argsort(-losses, kind="stable")
    sorted_losses, sorted_weights = losses[order], weights[order]
    tail = (1 - level) * sorted_weights.sum()
    before = np.cumsum(sorted_weights) - sorted_weights
    part = np.clip(tail - before, 0, sorted_weights)
    return float((sorted_losses * part).sum() / tail)


class Bootstrap:
    """Resamples of the scenarios of a sweep, the same for every figure.

    Args:
        scenarios: of every path.
        seed: of the resampling.
    """

    def __init__(self, scenarios: pd.Series, seed: int) -> None:
        known = np.unique(scenarios.to_numpy())
        rng = np.random.default_rng(np.random.SeedSequence([seed, len(known)]))
        self._known = known
        self._draws = rng.multinomial(len(known), np.full(len(known), 1 / len(known)), _RESAMPLES)

    def tail(self, losses: NDArray[np.float64], scenarios: NDArray[np.int64]) -> Tail:
        """Mean, VaR and ES of losses, each with its interval. A resample without any of the scenarios is left out."""
        order = np.argsort(-losses, kind="stable")
        ordered, place = losses[order], np.searchsorted(self._known, scenarios[order])
        samples = [_figures(ordered, drawn[place].astype(np.float64)) for drawn in self._draws if drawn[place].any()]
        low, high = np.quantile(np.array(samples), [(1 - _CONFIDENCE) / 2, (1 + _CONFIDENCE) / 2], axis=0)
        value = _figures(ordered, np.ones(len(losses)))
        found = [Estimate(*map(float, one)) for one in zip(value, low, high, strict=True)]
        return Tail(len(losses), found[0], tuple(found[1 : 1 + len(LEVELS)]), tuple(found[1 + len(LEVELS) :]))

    def ratio(self, above: NDArray[np.float64], below: NDArray[np.float64], scenarios: NDArray[np.int64]) -> Estimate:
        """A sum over another, with its interval; 0 if there is nothing below."""
        place = np.searchsorted(self._known, scenarios)
        sums = [np.bincount(place, weights=one, minlength=len(self._known)) for one in (above, below)]
        drawn = self._draws @ np.stack(sums, axis=1)
        drawn = drawn[drawn[:, 1] > 0]
        if not len(drawn):
            return Estimate(0.0, 0.0, 0.0)
        low, high = np.quantile(drawn[:, 0] / drawn[:, 1], [(1 - _CONFIDENCE) / 2, (1 + _CONFIDENCE) / 2])
        return Estimate(float(above.sum() / below.sum()), float(low), float(high))


def _figures(losses: NDArray[np.float64], weights: NDArray[np.float64]) -> list[float]:
    """Mean, VaR by LEVELS, ES by LEVELS of weighted losses that fall."""
    reached = np.cumsum(weights)
    total = reached[-1]
    quantiles, beyond = [], []
    for level in LEVELS:
        tail = (1 - level) * total
        # As `value_at_risk`: the first loss that, with all that are larger, has more than the tail's weight.
        edge = int(np.searchsorted(reached, tail + level * total * 1e-12, side="right"))
        worse = reached[edge - 1] if edge else 0.0
        quantiles.append(float(losses[edge]))
        beyond.append(float((losses[:edge] @ weights[:edge] + losses[edge] * (tail - worse)) / tail))
    return [float(losses @ weights / total), *quantiles, *beyond]


def tail(paths: pd.DataFrame, measure: str, bootstrap: Bootstrap) -> Tail:
    """Mean, VaR and ES of a measure."""
    return bootstrap.tail(paths[measure].to_numpy(dtype=np.float64), paths["scenario"].to_numpy())


def pooled_haircut(paths: pd.DataFrame) -> float:
    """Socialized losses over gains, all paths together: what a winner loses of a gain of one, on average."""
    gains = float(paths["gross"].sum())
    return float(paths["socialized"].sum()) / gains if gains else 0.0


def haircut_surface(paths: pd.DataFrame, sweep: Sweep, figure: Callable[[pd.DataFrame], float]) -> NDArray[np.float64]:
    """A figure by step cap (rows) and insurance (columns)."""
    cells = {key: cell for key, cell in paths.groupby(["step_cap", "insurance"])}
    return np.array(
        [
            [figure(cells[cap, size]) if (cap, size) in cells else np.nan for size in sweep.grid.insurance]
            for cap in sweep.grid.step_caps
        ]
    )


def keeper_curve(paths: pd.DataFrame) -> pd.DataFrame:
    """By the keeper's lag, prompt first and absent last, and step cap: means of what the vault and winners lost."""
    means = paths.groupby(["lag", "step_cap"])[["deficit", "notional", "socialized", "closed_rate", "liquidated"]].sum()
    counts = paths.groupby(["lag", "step_cap"]).size()
    curve = pd.DataFrame(
        {
            "paths": counts,
            "deficit_rate": means["deficit"] / means["notional"],
            "socialized_rate": means["socialized"] / means["notional"],
            "closed_rate": means["closed_rate"] / counts,
            "liquidated": means["liquidated"] / counts,
            "solvent": 1 - paths.assign(bad=paths["deficit"] > 1e-9).groupby(["lag", "step_cap"])["bad"].mean(),
        }
    ).reset_index()
    return curve.sort_values(["step_cap", "lag"], key=lambda column: column.replace(ABSENT, np.inf)).reset_index(
        drop=True
    )


def with_intervals(curve: pd.DataFrame, paths: pd.DataFrame, bootstrap: Bootstrap) -> pd.DataFrame:
    """A keeper curve with `deficit_low` and `deficit_high`.

    Which keeper a scenario has is drawn with it, so keepers are compared over different scenarios.
    """
    found = []
    for key, part in paths.groupby(["lag", "step_cap"]):
        deficit, notional = (part[name].to_numpy(dtype=np.float64) for name in ("deficit", "notional"))
        estimate = bootstrap.ratio(deficit, notional, part["scenario"].to_numpy())
        found.append((*key, estimate.low, estimate.high))
    intervals = pd.DataFrame(found, columns=["lag", "step_cap", "deficit_low", "deficit_high"])
    return curve.merge(intervals, on=["lag", "step_cap"], how="left")


def moral_hazard(paths: pd.DataFrame) -> pd.DataFrame:
    """By step cap and class of wealth: what was left to others and what was borne for others, over its collateral.

    Whoever leaves more than it bears gains from leaving risk to others; insurance pays the difference of all together.
    """
    rows = []
    for cap, cell in paths.groupby("step_cap"):
        for name in CLASSES:
            wealth = float(cell[f"wealth_{name}"].sum())
            left, borne = float(cell[f"left_{name}"].sum()), float(cell[f"borne_{name}"].sum())
            rows.append(
                {
                    "step_cap": cap,
                    "class": name,
                    "left": left / wealth if wealth else 0.0,
                    "borne": borne / wealth if wealth else 0.0,
                    "gain": (left - borne) / wealth if wealth else 0.0,
                }
            )
    return pd.DataFrame(rows)


def needed(sizes: Sequence[float], shortfalls: Sequence[float], target: float) -> float | None:
    """The insurance at which a falling curve meets a target, linear between sizes of the grid; None beyond the last."""
    for number, (size, shortfall) in enumerate(zip(sizes, shortfalls, strict=True)):
        if shortfall <= target:
            if number == 0:
                return size
            before, above = sizes[number - 1], shortfalls[number - 1]
            return before + (size - before) * (above - target) / (above - shortfall)
    return None


def recommended(paths: pd.DataFrame, sweep: Sweep) -> list[Recommendation]:
    """For every step cap the insurance that meets the target, and what that costs in all."""
    level, target = sweep.targets.confidence, sweep.targets.haircut

    def shortfall(cell: pd.DataFrame) -> float:
        losses = cell["haircut"].to_numpy(dtype=np.float64)
        return expected_shortfall(losses, np.ones(len(losses)), level)

    shortfalls = haircut_surface(paths, sweep, shortfall)
    costs = haircut_surface(paths, sweep, lambda cell: float(cell["cost_rate"].mean()))
    sizes = sweep.grid.insurance
    found = []
    for cap, row, cost in zip(sweep.grid.step_caps, shortfalls, costs, strict=True):
        size = needed(sizes, [float(one) for one in row], target)
        price = None
        if size is not None:
            price = float(np.interp(size, sizes, cost)) + sweep.targets.capital_price * size
        found.append(Recommendation(cap, size, tuple(float(one) for one in row), price))
    return found


def best(recommendations: Sequence[Recommendation]) -> Recommendation | None:
    """The cheapest of those that meet the target; of equals, the one with least insurance."""
    meeting = [one for one in recommendations if one.insurance is not None and one.cost is not None]
    return min(meeting, key=lambda one: (one.cost, one.insurance), default=None)
