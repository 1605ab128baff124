"""The market of a sweep in numpy: many paths at once, in floating point, to find those worth running on the contracts.

The settlement of design §3, with keepers and impact as in `prorata.stress.path`; a path is a column, an account a row.
Sums are floating point, so a decision that hangs on the fifteenth digit may fall the other way, and budgets of bitmap
words are unknown here; `compare` says how far that leads. Nothing of a sweep's figures comes from here.

Accounts are kept as the contracts keep them, by shares and by the index at which they run out, so that a move which
closes nobody changes one number a side. The keeper's account is the last row.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from prorata.parameters import MarketParameters, VaultParameters
from prorata.stress.config import ABSENT, Sweep
from prorata.stress.generator import BLOCK, block
from prorata.stress.path import LARGEST_IMPACT as _LARGEST_IMPACT
from prorata.stress.path import MAX_SETTLEMENTS
from prorata.units import LONG, MAX_PRICE, MIN_PRICE, MIN_SCALE, SHORT, WAD

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]
Mask = NDArray[np.bool_]

_MARKET, _VAULT = MarketParameters(), VaultParameters()
_INITIAL, _MAINTENANCE = _MARKET.initial_margin / WAD, _MARKET.maintenance_margin / WAD
_CLOSEOUT, _WIDTH = _MARKET.closeout_margin / WAD, _MARKET.bucket_width / WAD
_FEE, _LIQUIDATION_FEE = _MARKET.fee_rate / WAD, _MARKET.liquidation_fee / WAD
_LIQUIDATOR, _MINIMUM = _MARKET.liquidator_share / WAD, _MARKET.min_notional / WAD
_DRAW_CAP = _VAULT.draw_cap / WAD
_MIN_SCALE = MIN_SCALE / WAD
#: Index units to the quote.
_INDEX_UNIT = 1e36
_NEVER = -1.0
#: Positions that differ by less in value count as the same size (`prorata.model.DUST_PART`).
_DUST = 1e-6 * _MINIMUM
#: Paths that are scanned together: enough to forget what a call costs, and few enough for the processor's cache.
BATCH = 20_000
#: Quote that is only rounding.
_NOTHING = 1e-9


class _Row:
    """A number a path."""

    def __init__(self, place: int) -> None:
        self._place = place

    def __get__(self, state: State, kind: type) -> Floats:
        found: Floats = state.rows[self._place]
        return found

    def __set__(self, state: State, value: Floats) -> None:
        state.rows[self._place] = value


class _Rows:
    """Two numbers a path: of longs, of shorts."""

    def __init__(self, place: int) -> None:
        self._place = place

    def __get__(self, state: State, kind: type) -> Floats:
        found: Floats = state.rows[self._place : self._place + 2]
        return found


class _Seats:
    """A number an account."""

    def __init__(self, place: int) -> None:
        self._place = place

    def __get__(self, state: State, kind: type) -> Floats:
        found: Floats = state.seats[self._place]
        return found


class State:
    """Markets, one a column, so that what an operation reads lies together; prices, sizes, quote in natural units.

    Attributes:
        limited_at: seconds of the last limited step.
        window_start, window_assets, window_drawn: of the vault's draws; start 0: there was none.
        scale, index: of longs and shorts.
        shares, bankruptcy, edge, level, side: by account and path; shares 0: flat.
        cash: the keeper's, while it is flat.
        total, top, riskiest: of longs and shorts: shares, highest edge, a trader's highest bankruptcy; -inf: nobody.
        seen: by trader and path, the price at which the keeper first saw it below maintenance, or _NEVER.
        forced: size closed by force at this price, longs and shorts.
    """

    mark, index_price, now, limited_at, cap, assets = (_Row(place) for place in range(6))
    window_start, window_assets, window_drawn, cash, lowest_assets = (_Row(place) for place in range(6, 11))
    gross, closing_gross, deficit, covered, surplus, adl_shortfall = (_Row(place) for place in range(11, 17))
    worst_haircut, closed, liquidated, refused, moves, limited, epochs = (_Row(place) for place in range(17, 24))
    scale, index, total, top, riskiest, forced = (_Rows(place) for place in range(24, 36, 2))
    shares, bankruptcy, edge, level, side = (_Seats(place) for place in range(5))

    def __init__(self, rows: Floats, seats: Floats, seen: Floats) -> None:
        self.rows, self.seats, self.seen = rows, seats, seen
        self.columns = np.arange(rows.shape[1])

    @classmethod
    def empty(cls, accounts: int, paths: int) -> State:
        """Nothing in it."""
        return cls(np.zeros((36, paths)), np.zeros((5, accounts, paths)), np.full((accounts - 1, paths), _NEVER))

    def take(self, paths: Whole) -> State:
        """A copy of some paths."""
        return State(self.rows[:, paths], self.seats[:, :, paths], self.seen[:, paths])

    def put(self, paths: Whole, other: State) -> None:
        """Overwrite some paths."""
        self.rows[:, paths], self.seats[:, :, paths], self.seen[:, paths] = other.rows, other.seats, other.seen

    def refresh(self) -> None:
        """What follows from the accounts."""
        live = self.shares > 0
        for side in (LONG, SHORT):
            mine = live & (self.side == side)
            self.total[side] = np.where(mine, self.shares, 0).sum(axis=0)
            self.top[side] = np.where(mine, self.edge, -np.inf).max(axis=0)
            self.riskiest[side] = np.where(mine[:-1], self.bankruptcy[:-1], -np.inf).max(axis=0)

    def worth(self) -> Floats:
        """Of every account with a position; 0 otherwise."""
        index = np.where(self.side == LONG, self.index[LONG], self.index[SHORT])
        return np.where(self.shares > 0, self.shares * (index - self.bankruptcy), 0.0)

    # -------------------------------------------------------------------------------------------------- settlement

    def settle(self, paths: Whole, interval: float) -> None:
        """One settlement of some paths, in their present second; within `interval` of a limited step it does nothing.

        What `refresh` finds must be fresh; it is again afterwards.
        """
        everybody = len(paths) == len(self.columns)
        moving = self if everybody else State(self.rows[:, paths], self.seats[:, :, :0], self.seen[:, :0])
        crossed, loser, threshold, gross = moving._move(interval)
        if len(crossed):
            closing = State(moving.rows[:, crossed], self.seats[:, :, paths[crossed]], self.seen[:, :0])
            closing._close(loser, threshold, gross)
            moving.rows[:, crossed] = closing.rows
            self.seats[:, :, paths[crossed]] = closing.seats
        if not everybody:
            self.rows[:, paths] = moving.rows

    def _move(self, interval: float) -> tuple[Whole, Whole, Floats, Floats]:
        """Mark and indices of every path, as if nobody were closed.

        Returns:
            The paths in which somebody is; who loses there, the threshold of close-out, and what losers lost.
        """
        rest = self.index_price - self.mark
        waits = self.now < self.limited_at + interval
        distance = np.where(waits, 0.0, np.clip(rest, -self.cap * self.mark, self.cap * self.mark))
        moved = distance != 0
        limited = moved & (np.abs(rest) > self.cap * self.mark)
        loser = (distance > 0).astype(np.int64)
        at, winner = self.columns, 1 - loser
        by = np.abs(distance) * self.scale[loser, at]
        gross = self.total[loser, at] * by
        self.index[loser, at] -= by
        self.mark = np.where(moved & ~limited, self.index_price, self.mark + distance)
        self.limited_at = np.where(limited, self.now, self.limited_at)
        winners = self.total[winner, at]
        alone = winners <= 0
        self.index[winner, at] += np.where(alone, 0.0, gross / np.where(alone, 1.0, winners))
        self.assets += np.where(alone, gross, 0.0)
        self.gross += gross
        self.moves += moved
        self.limited += limited
        threshold = self.index[loser, at] - _CLOSEOUT * self.scale[loser, at] * self.mark
        crossed = np.flatnonzero(moved & (self.top[loser, at] > threshold))
        return crossed, loser[crossed], threshold[crossed], gross[crossed]

    def _close(self, loser: Whole, threshold: Floats, gross: Floats) -> None:
        """Close the buckets above the threshold; there are some, and the index of winners has their gain already."""
        at, winner = self.columns, 1 - loser
        closing = (self.shares > 0) & (self.side == loser) & (self.edge > threshold)
        value = np.where(closing, self.worth(), 0.0).sum(axis=0)
        value = np.where(np.abs(value) < _NOTHING, 0.0, value)
        shares = np.where(closing, self.shares, 0.0).sum(axis=0)
        before, winners = self.total[loser, at], self.total[winner, at]
        alone = winners <= 0
        deficit, surplus = np.minimum(np.maximum(-value, 0), gross), np.maximum(value, 0)
        size = shares * self.scale[loser, at]
        gap = (self.index_price - self.mark) * np.where(winner == LONG, 1, -1)
        everybody = shares >= before * (1 - 1e-12)
        factor = np.where(everybody, 0.0, 1 - shares / before)
        scale = self.scale[winner, at] * np.where(factor > 0, factor, 1.0)
        # Where that ends the epoch all losers close here, and winners miss the rest of the way of all of them.
        ended = everybody | (scale < _MIN_SCALE)
        missed = np.where(alone, 0.0, np.where(ended, before, shares) * self.scale[loser, at] * np.maximum(gap, 0))
        bonus = np.minimum(surplus, missed)
        self.assets += surplus - bonus
        covered = np.where(alone, 0.0, np.minimum(deficit, self._drawable()))
        self._draw(covered)
        # With nobody to win, the vault was given all of gross: what was not there is taken back.
        self.assets -= np.where(alone, deficit, 0.0)
        self.index[winner, at] += np.where(alone, 0.0, (covered + bonus - deficit) / np.where(alone, 1.0, winners))
        self.scale[winner, at] = scale
        self.shares[closing] = 0
        self.cash = np.where(closing[-1], 0.0, self.cash)
        self.closing_gross += np.where(deficit > 0, gross, 0.0)
        self.deficit += deficit
        self.covered += covered
        self.surplus += surplus
        self.adl_shortfall += missed - bonus
        haircut = (deficit - covered) / np.where(gross > 0, gross, 1.0)
        self.worst_haircut = np.maximum(self.worst_haircut, haircut)
        self.lowest_assets = np.minimum(self.lowest_assets, self.assets)
        self.forced[loser, at] += size
        self.closed += closing.sum(axis=0)
        self._end_epochs(ended)
        self.refresh()

    def _end_epochs(self, ended: Mask) -> None:
        """Both sides close at the mark, gains kept."""
        if not ended.any():
            return
        self.cash = np.where(ended & (self.shares[-1] > 0), self.worth()[-1], self.cash)
        self.shares[:, ended] = 0
        self.scale[:, ended], self.index[:, ended] = 1.0, 0.0
        self.epochs += ended

    def _drawable(self) -> Floats:
        room = np.where(self._window_is_over(), np.inf, _DRAW_CAP * self.window_assets - self.window_drawn)
        return np.maximum(np.minimum(_DRAW_CAP * self.assets, room), 0)

    def _draw(self, covered: Floats) -> None:
        opens = (covered > 0) & self._window_is_over()
        self.window_start = np.where(opens, self.now, self.window_start)
        self.window_assets = np.where(opens, self.assets, self.window_assets)
        self.window_drawn = np.where(opens, 0.0, self.window_drawn) + covered
        self.assets -= covered

    def _window_is_over(self) -> Mask:
        return (self.window_start == 0) | (self.now >= self.window_start + _VAULT.draw_window)

    # -------------------------------------------------------------------------------------------------- the keeper

    def is_below(self, paths: Whole, trader: Whole) -> Mask:
        """Whether an account of each path is below maintenance, at the mark and at the index price (design §6)."""
        side, scale, shares, worth = self._account(paths, trader)
        mark, size, below = self.mark[paths], shares * scale, shares > 0
        for price in (mark, self.index_price[paths]):
            gain = (price - mark) * size * np.where(side == LONG, 1, -1)
            below &= worth + gain < size * price * _MAINTENANCE
        return below

    def _account(self, paths: Whole, account: Whole) -> tuple[Whole, Floats, Floats, Floats]:
        """Side of an account of each path, scale of the side, shares, worth (of no meaning if flat)."""
        side = self.side[account, paths].astype(np.int64)
        shares = self.shares[account, paths]
        worth = shares * (self.index[side, paths] - self.bankruptcy[account, paths])
        return side, self.scale[side, paths], shares, worth

    def liquidate(self, paths: Whole, trader: Whole, below: Mask) -> Mask:
        """The keeper takes over what it may of one account a path, if that is below maintenance; where its margin
        allowed that. Leaves `refresh` to do."""
        side, scale, shares, worth = self._account(paths, trader)
        mark, shares = self.mark[paths], np.where(below, shares, 1.0)
        size = shares * scale
        limit = (_INITIAL * size * mark - worth) / ((_INITIAL - _LIQUIDATION_FEE) * mark)
        limit = np.maximum(limit, _MINIMUM / mark)
        taken = np.where((size - limit) * mark >= _MINIMUM, limit, size)
        whole = np.abs(size - taken) * mark <= _DUST
        fee = np.minimum(taken * mark * _LIQUIDATION_FEE, worth * np.where(whole, 1.0, taken / size))
        reward = fee * _LIQUIDATOR
        accepted = self._keeper_takes(paths, below, side, taken, reward)

        left = np.where(whole, 0.0, shares - taken / scale)
        bankruptcy = self.index[side, paths] - (worth - fee) / np.where(whole, 1.0, left)
        done = np.flatnonzero(accepted)
        victims, paths = trader[done], paths[done]
        self.shares[victims, paths] = left[done]
        self._file(paths, victims, bankruptcy[done], np.ones(len(done), dtype=bool))
        self.assets[paths] += (fee - reward)[done]
        self.forced[side[done], paths] += taken[done]
        self.liquidated[paths] += 1
        return accepted

    def _keeper_takes(self, paths: Whole, allowed: Mask, side: Whole, taken: Floats, reward: Floats) -> Mask:
        """Where allowed, add a position to the keeper's account; where its margin allows that too."""
        keeper = np.full(len(paths), len(self.shares) - 1)
        side_held, scale_held, shares_held, worth = self._account(paths, keeper)
        held, mark = shares_held > 0, self.mark[paths]
        mine = np.where(held, side_held, side)
        size = np.where(held, shares_held * scale_held, 0.0)
        money = np.where(held, worth, self.cash[paths]) + reward
        adds = mine == side
        same = ~adds & (np.abs(size - taken) * mark <= _DUST)
        new_side = np.where(adds | same | (taken < size), mine, side)
        new_size = np.where(adds, size + taken, np.where(same, 0.0, np.abs(size - taken)))
        flat = new_size == 0
        reduced = held & (flat | ((new_side == mine) & (new_size < size)))
        notional = new_size * mark
        healthy = flat | ((notional >= _MINIMUM) & (reduced | (money >= notional * _INITIAL)))
        accepted = allowed & (money >= 0) & healthy

        done = np.flatnonzero(accepted)
        paths, new_side, money, flat = paths[done], new_side[done], money[done], flat[done]
        shares = new_size[done] / self.scale[new_side, paths]
        self.side[-1, paths], self.shares[-1, paths] = new_side, shares
        self.cash[paths] = np.where(flat, money, 0.0)
        bankruptcy = self.index[new_side, paths] - money / np.where(flat, 1.0, shares)
        self._file(paths, keeper[done], bankruptcy, reduced[done])
        return accepted

    def _file(self, paths: Whole, account: Whole, bankruptcy: Floats, narrower: Mask) -> None:
        """Place an account of each path in its bucket; where `narrower`, in no wider ones than before."""
        scale = self.scale[self.side[account, paths].astype(np.int64), paths]
        level = np.floor(np.log2(_WIDTH * scale * self.mark[paths] * _INDEX_UNIT))
        level = np.where(narrower, np.minimum(level, self.level[account, paths]), level)
        width = np.exp2(level) / _INDEX_UNIT
        self.bankruptcy[account, paths], self.level[account, paths] = bankruptcy, level
        self.edge[account, paths] = (np.floor(bankruptcy / width) + 1) * width


def scan(sweep: Sweep, seed: int, first: int, count: int) -> pd.DataFrame:
    """Paths `first` to `first + count - 1` in numpy, with the columns of `prorata.stress.path.Result` that it knows."""
    parts = [
        _Scan(sweep, seed, np.arange(at, min(at + BATCH, first + count))).run()
        for at in range(first, first + count, BATCH)
    ]
    return pd.concat(parts, ignore_index=True)


class _Scan:
    """Many paths along their scenarios."""

    def __init__(self, sweep: Sweep, seed: int, numbers: Whole) -> None:
        self._sweep, self._numbers = sweep, numbers
        cells = np.array(sweep.cells)
        scenarios = numbers // len(cells)
        self._cap, self._insurance = cells[numbers % len(cells)].T
        known, place = np.unique(scenarios, return_inverse=True)
        self._scenarios = scenarios
        drawn = [block(sweep, seed, int(number)) for number in np.unique(known // BLOCK)]
        at = np.searchsorted(np.unique(known // BLOCK), known // BLOCK) * BLOCK + known % BLOCK
        rows = at[place]

        def column(name: str) -> NDArray[np.generic]:
            return np.concatenate([getattr(one, name) for one in drawn])[rows]

        self._kind, self._severity = column("kind"), column("severity")
        self._moves = np.ascontiguousarray(np.asarray(column("moves"), dtype=np.float64).T)
        self._lag = np.asarray(column("lag"), dtype=np.int64)
        #: Whether the keeper has its eye on anybody.
        self._watched = np.zeros(len(numbers), dtype=bool)
        self._mark = round(sweep.prices.start * 10**6) / 10**6
        self.state = self._opened(
            np.asarray(column("is_long"), dtype=bool).T,
            np.asarray(column("wealth"), dtype=np.float64).T,
            np.asarray(column("leverage"), dtype=np.float64).T,
        )

    def _opened(self, is_long: Mask, wealth: Floats, leverage: Floats) -> State:
        """Markets with the scenarios' positions open and insured; what is given is by trader and path."""
        traders, count = is_long.shape
        wanted = wealth * np.round(leverage * 1000) / 1000 / self._mark
        longs, shorts = np.where(is_long, wanted, 0), np.where(is_long, 0, wanted)
        self._size = np.minimum(longs.sum(axis=0), shorts.sum(axis=0))

        def filled(sizes: Floats) -> Floats:
            """In order, until the other side has no more."""
            before = np.cumsum(sizes, axis=0) - sizes
            return np.clip(self._size - before, 0, sizes)

        sizes = filled(longs) + filled(shorts)
        sizes = np.where(sizes * self._mark >= 1, sizes, 0)
        collateral = wealth - sizes * self._mark * _FEE
        self._notional = self._size * self._mark
        state = State.empty(traders + 1, count)
        state.mark = state.index_price = np.full(count, self._mark)
        state.limited_at = np.full(count, -np.inf)
        state.cap = self._cap
        state.assets = np.round(self._insurance * self._notional, 2) + 2 * self._notional * _FEE
        state.lowest_assets = self._first_assets = state.assets.copy()
        state.cash = wealth.sum(axis=0) * self._sweep.keepers.capital
        state.scale[:] = 1
        state.shares[:-1] = sizes
        state.side[:-1] = np.where(is_long, LONG, SHORT)
        for trader in range(traders):
            shares = np.where(sizes[trader] > 0, sizes[trader], 1.0)
            state._file(
                state.columns, np.full(count, trader), -collateral[trader] / shares, np.zeros(count, dtype=bool)
            )
        state.refresh()
        return state

    def run(self) -> pd.DataFrame:
        """All prices of all paths."""
        state, prices, liquidity = self.state, self._sweep.prices, self._sweep.liquidity
        log_price, impact = np.zeros(len(state.mark)), np.zeros(len(state.mark))
        low, high = state.mark.copy(), state.mark.copy()
        for step in range(1, prices.steps + 1):
            log_price += self._moves[step - 1]
            price = np.round(self._mark * np.exp(log_price + impact), 6)
            state.index_price = np.clip(price, MIN_PRICE / WAD, MAX_PRICE / WAD)
            low, high = np.minimum(low, state.index_price), np.maximum(high, state.index_price)
            state.now = np.maximum(state.now + 1, step * prices.interval)
            state.forced[:] = 0
            self._catch_up(step, (step + 1) * prices.interval)
            closed = (state.forced[LONG] - state.forced[SHORT]) / np.where(self._size > 0, self._size, 1.0)
            new = np.sign(closed) * np.abs(closed) ** liquidity.exponent
            impact = impact * (1 - liquidity.recovery) - liquidity.impact * new
            impact = np.clip(impact, -_LARGEST_IMPACT, _LARGEST_IMPACT)
        return self._table(low, high)

    def _catch_up(self, step: int, due: int) -> None:
        """Settle all, and again those that lag, until they have caught up or the next price is due."""
        state, interval = self.state, self._sweep.grid.step_interval
        state.now += 1
        state.settle(state.columns, interval)
        self._keep(step, state.columns)
        for _ in range(MAX_SETTLEMENTS - 1):
            lagging = np.flatnonzero((state.mark != state.index_price) & (state.now + interval < due))
            if not len(lagging):
                return
            state.now[lagging] += max(interval, 1)
            state.settle(lagging, interval)
            self._keep(step, lagging)

    def _keep(self, step: int, rows: Whole) -> None:
        """The keeper's round in some paths."""
        if not self._sweep.keepers.capital:
            return
        state = self.state
        at_risk = np.zeros(len(rows), dtype=bool)
        for side in (LONG, SHORT):
            at_risk |= state.riskiest[side, rows] > self._threshold(rows, side)
        rows = rows[(self._lag[rows] != ABSENT) & (at_risk | self._watched[rows])]
        if not len(rows):
            return
        below = self._below(rows)
        first = state.seen[:, rows]
        seen = np.where(below, np.where(first == _NEVER, step, first), _NEVER)
        state.seen[:, rows], self._watched[rows] = seen, below.any(axis=0)
        acts = below & (step - seen >= self._lag[rows])
        # Longs first, the nearest to bankruptcy first.
        rows, acts = rows[acts.any(axis=0)], acts[:, acts.any(axis=0)]
        order = np.lexsort((-state.bankruptcy[:-1, rows], state.side[:-1, rows], ~acts), axis=0)
        many, moved = acts.sum(axis=0), np.zeros(len(rows), dtype=bool)
        for rank in range(int(many.max(initial=0))):
            some = np.flatnonzero(many > rank)
            moved[some] |= self._liquidate(rows[some], order[rank, some], moved[some])
        self._refresh(rows)

    def _liquidate(self, rows: Whole, trader: Whole, moved: Mask) -> Mask:
        """One take-over in each of some paths; where it is refused a second passes and nothing else.

        Args:
            moved: where the mark has moved since the accounts were chosen, so that they may have recovered.

        Returns:
            Where this one has moved the mark.
        """
        state, interval = self.state, self._sweep.grid.step_interval
        state.now[rows] += 1
        # A liquidation settles first; where that would move the mark it is tried on a copy, kept if it is accepted.
        due = (state.mark[rows] != state.index_price[rows]) & (state.now[rows] >= state.limited_at[rows] + interval)
        accepted = np.zeros(len(rows), dtype=bool)
        below = ~moved[~due]
        below[~below] = state.is_below(rows[~due & moved], trader[~due & moved])
        accepted[~due] = state.liquidate(rows[~due], trader[~due], below)
        if due.any():
            part = state.take(rows[due])
            part.refresh()
            part.settle(part.columns, interval)
            accepted[due] = done = part.liquidate(part.columns, trader[due], part.is_below(part.columns, trader[due]))
            state.put(rows[due][done], part.take(np.flatnonzero(done)))
        state.refused[rows[~accepted]] += 1
        return due & accepted

    def _refresh(self, rows: Whole) -> None:
        part = self.state.take(rows)
        part.refresh()
        self.state.rows[:, rows] = part.rows

    def _threshold(self, rows: Whole, side: int) -> Floats:
        """The bankruptcy above which accounts are below maintenance at the mark and at the index price."""
        state, direction = self.state, 1 if side == LONG else -1
        scale, index = state.scale[side, rows], state.index[side, rows]
        at_mark = index - scale * _MAINTENANCE * state.mark[rows]
        price = state.index_price[rows]
        at_index = index + scale * (direction * (price - state.mark[rows]) - _MAINTENANCE * price)
        return np.maximum(at_mark, at_index)

    def _below(self, rows: Whole) -> Mask:
        state = self.state
        side = state.side[:-1, rows]
        threshold = np.where(side == LONG, self._threshold(rows, LONG), self._threshold(rows, SHORT))
        return (state.shares[:-1, rows] > 0) & (state.bankruptcy[:-1, rows] > threshold)

    def _table(self, low: Floats, high: Floats) -> pd.DataFrame:
        state = self.state
        drained = np.maximum(self._first_assets - state.lowest_assets, 0)
        columns = {
            "path": self._numbers,
            "scenario": self._scenarios,
            "step_cap": self._cap,
            "insurance": self._insurance,
            "kind": self._kind,
            "severity": self._severity,
            "lag": self._lag,
            "notional": self._notional,
            "assets": self._first_assets,
            "low": low / self._mark,
            "high": high / self._mark,
            "last": state.index_price / self._mark,
            **{name: getattr(state, name) for name in _SUMS},
            "socialized": state.deficit - state.covered,
            "drawdown": drained / np.where(self._first_assets > 0, self._first_assets, 1.0),
            "drained": drained,
            **{name: getattr(state, name).astype(np.int64) for name in _COUNTS},
        }
        return pd.DataFrame(columns)


_SUMS = ("gross", "closing_gross", "deficit", "covered", "surplus", "adl_shortfall", "worst_haircut")
_COUNTS = ("closed", "liquidated", "refused", "moves", "limited", "epochs")


@dataclass(frozen=True)
class Comparison:
    """The scan beside the contracts, on the same paths.

    Attributes:
        paths: how many.
        alike: part of them in which every amount agrees to a billionth of open interest, and every count exactly.
        largest: by column, the largest difference; amounts over open interest, parts and counts as they are.
        means: by column, the difference of means, likewise.
    """

    paths: int
    alike: float
    largest: dict[str, float]
    means: dict[str, float]


_AMOUNTS = ("gross", "deficit", "covered", "socialized", "surplus", "adl_shortfall", "drained")
_PARTS = ("worst_haircut", "drawdown", "low", "high", "last")
#: Over open interest.
_TOLERANCE = 1e-9


def compare(scanned: pd.DataFrame, run: pd.DataFrame) -> Comparison:
    """How far the scan is from the contracts."""
    run = run.set_index("path").loc[scanned["path"]].reset_index()
    alike = np.ones(len(run), dtype=bool)
    largest, means = {}, {}
    for name in (*_AMOUNTS, *_PARTS, "closed", "liquidated"):
        scale = run["notional"].to_numpy() if name in _AMOUNTS else 1.0
        difference = (scanned[name].to_numpy(dtype=np.float64) - run[name].to_numpy(dtype=np.float64)) / scale
        alike &= np.abs(difference) <= _TOLERANCE * np.maximum(run[name].to_numpy(dtype=np.float64) / scale, 1.0)
        largest[name], means[name] = float(np.abs(difference).max(initial=0)), float(difference.mean())
    return Comparison(len(run), float(alike.mean()), largest, means)
