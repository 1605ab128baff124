"""Scenarios: what happens to a market, drawn in blocks, each block from the sweep's seed and its own number.

A scenario says everything that chance decides: moves of the index, who trades with how much and how wildly, and how
late the keeper is. What follows from it (impact, close-outs) is not chance, and is left to whoever runs it. The same
scenario runs in every cell of the grid, so that cells differ by their parameters alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from prorata.stress.calibration import SEVERITY_SECONDS
from prorata.stress.config import Sweep
from prorata.units import WAD

#: Scenarios that are drawn together.
BLOCK = 64
STUDENT, JUMPS = 0, 1
#: Smallest position worth opening, quote; the market's own minimum is 1.
_SMALLEST_TRADE = 2
_CENT = WAD // 100


@dataclass(frozen=True)
class Fill:
    """A fill of the opening: two traders' numbers from 0, size 18 digits."""

    long: int
    short: int
    size: int


@dataclass(frozen=True)
class Block:
    """Scenarios, one a row.

    Attributes:
        kind: STUDENT or JUMPS.
        severity: typical move of the log price in SEVERITY_SECONDS.
        moves: of the log price before impact, one a step.
        is_long: by trader.
        wealth: collateral, quote, whole cents.
        leverage: that a trader wants.
        lag: the keeper's, in prices; ABSENT: it never comes.
    """

    kind: NDArray[np.int8]
    severity: NDArray[np.float64]
    moves: NDArray[np.float64]
    is_long: NDArray[np.bool_]
    wealth: NDArray[np.float64]
    leverage: NDArray[np.float64]
    lag: NDArray[np.int64]


@dataclass(frozen=True)
class Scenario:
    """One row of a block, in the contracts' integers where it goes there.

    Attributes:
        number: of the scenario in the sweep.
        deposits: quote, 18 digits, by trader.
        fills: that open the market at `mark`.
        mark: first price, 18 digits.
    """

    number: int
    kind: int
    severity: float
    moves: NDArray[np.float64]
    is_long: tuple[bool, ...]
    deposits: tuple[int, ...]
    fills: tuple[Fill, ...]
    mark: int
    lag: int

    @property
    def wealth(self) -> int:
        """What all traders have together, quote, 18 digits."""
        return sum(self.deposits)

    @property
    def notional(self) -> int:
        """Value of the open interest at the first price, quote, 18 digits."""
        return sum(one.size for one in self.fills) * self.mark // WAD


@lru_cache(maxsize=8)
def block(sweep: Sweep, seed: int, number: int) -> Block:
    """The block of a sweep's seed with a number; the same on every machine with the locked libraries."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, number]))
    prices, crowd, keepers = sweep.prices, sweep.crowd, sweep.keepers
    kind = np.where(rng.random(BLOCK) < prices.student_weight, STUDENT, JUMPS).astype(np.int8)
    severity = np.minimum(
        prices.severity * np.exp(prices.severity_spread * rng.standard_normal(BLOCK)), prices.largest_severity
    )
    leverage, is_long = _crowd(sweep, rng)
    wealth = crowd.wealth * np.exp(crowd.wealth_spread * rng.standard_normal((BLOCK, crowd.traders)))
    weights = np.array(keepers.weights) / sum(keepers.weights)
    return Block(
        kind=kind,
        severity=severity,
        moves=_moves(sweep, rng, kind, severity),
        is_long=is_long,
        wealth=np.round(np.clip(wealth, 10, 1e12), 2),
        leverage=leverage,
        lag=rng.choice(np.array(keepers.lags), BLOCK, p=weights),
    )


def _moves(
    sweep: Sweep, rng: np.random.Generator, kind: NDArray[np.int8], severity: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Fat-tailed moves of the log price."""
    prices = sweep.prices
    shape = (BLOCK, prices.steps)
    student = prices.student_scale * rng.standard_t(prices.student_df, shape)
    jumps = rng.random(shape) < prices.jump_chance
    mixture = np.where(jumps, prices.jump_scale, prices.diffusion_scale) * rng.standard_normal(shape)
    shapes = np.where(kind[:, None] == STUDENT, student, mixture)
    step = severity[:, None] * np.sqrt(prices.interval / SEVERITY_SECONDS)
    return np.clip(shapes * step, -prices.largest_move, prices.largest_move)


def _crowd(sweep: Sweep, rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Leverage, correlated by a common factor, and sides; those who herd are on one side, and somebody is on either."""
    crowd = sweep.crowd
    shape = (BLOCK, crowd.traders)
    common, own = rng.standard_normal((BLOCK, 1)), rng.standard_normal(shape)
    normal = np.sqrt(crowd.correlation) * common + np.sqrt(1 - crowd.correlation) * own
    # The logistic curve instead of the normal one: no more than a monotone map to 0..1.
    quantile = 1 / (1 + np.exp(-1.702 * normal))
    leverage = crowd.lowest_leverage + (crowd.highest_leverage - crowd.lowest_leverage) * quantile
    herd_is_long = rng.random((BLOCK, 1)) < 0.5
    is_long = np.where(rng.random(shape) < crowd.herding, herd_is_long, rng.random(shape) < 0.5)
    is_long[:, 0], is_long[:, 1] = True, False
    return leverage, is_long


def scenario(sweep: Sweep, seed: int, number: int) -> Scenario:
    """One scenario of a sweep."""
    drawn = block(sweep, seed, number // BLOCK)
    row = number % BLOCK
    mark = round(sweep.prices.start * 10**6) * 10**12
    deposits = [round(amount * 100) * _CENT for amount in drawn.wealth[row]]
    is_long = [bool(one) for one in drawn.is_long[row]]
    return Scenario(
        number=number,
        kind=int(drawn.kind[row]),
        severity=float(drawn.severity[row]),
        moves=drawn.moves[row],
        is_long=tuple(is_long),
        deposits=tuple(deposits),
        fills=tuple(matched(is_long, wishes(deposits, drawn.leverage[row], mark), mark)),
        mark=mark,
        lag=int(drawn.lag[row]),
    )


def wishes(deposits: list[int], leverage: NDArray[np.float64], mark: int) -> list[int]:
    """Sizes that traders would like to open, 18 digits."""
    return [
        deposit * round(factor * 1000) // 1000 * WAD // mark for deposit, factor in zip(deposits, leverage, strict=True)
    ]


def matched(is_long: list[bool], wanted: list[int], mark: int) -> list[Fill]:
    """Longs against shorts, in order, until one side has what it wants; the other side's last ones go without."""
    longs = [(trader, size) for trader, (long, size) in enumerate(zip(is_long, wanted, strict=True)) if long]
    shorts = [(trader, size) for trader, (long, size) in enumerate(zip(is_long, wanted, strict=True)) if not long]
    fills = []
    while longs and shorts:
        (buyer, buys), (seller, sells) = longs[0], shorts[0]
        size = min(buys, sells)
        if size * mark >= _SMALLEST_TRADE * WAD**2:
            fills.append(Fill(buyer, seller, size))
        longs[0], shorts[0] = (buyer, buys - size), (seller, sells - size)
        longs = [one for one in longs if one[1] * mark >= _SMALLEST_TRADE * WAD**2]
        shorts = [one for one in shorts if one[1] * mark >= _SMALLEST_TRADE * WAD**2]
    return fills
