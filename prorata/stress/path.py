"""One path: a market taken along one scenario, and what that cost whom.

Rules of a path, beyond the design's own:

- Every `interval` seconds the oracle says the scenario's price times impact so far. The market settles at once, and
  while the mark lags, again as soon as `step_interval` allows, until it has caught up or the next price is due.
- After every settlement the keeper, if it is not absent, liquidates whom it first saw below maintenance margin `lag`
  prices ago or more, nearest to bankruptcy first, as far as its own margin allows; it keeps what it takes over.
- What was closed by force at one price, by settlements or by the keeper, moves the next price (`config.Liquidity`).

Who leaves risk to others: an account that is closed owing more than it had has *left* that debt, and of what winners
miss because the mark lags the part of its shares among those closed: a debt of which the step cap has made a missed
gain. What winners go without, by haircut or by deleverage at a lagging mark, they have *borne*, in proportion to their
shares. Both are added up by the wealth that accounts began with: the poorest third, the middle, the richest.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from prorata.chain import Reverted
from prorata.parameters import MarketParameters
from prorata.receipts import Receipt
from prorata.stress.config import ABSENT, Sweep
from prorata.stress.generator import Scenario
from prorata.stress.markets import Books, Market, Seat, parameters
from prorata.twin import MAX_DUST, Violation
from prorata.units import INDEX_UNIT, LONG, MAX_PRICE, MIN_PRICE, SHORT, WAD

#: Version of what is between a path's number and its result, to be raised when that changes: a sweep that began under
#: others cannot be resumed.
RULES = 2
#: Settlements that may follow one price.
MAX_SETTLEMENTS = 200
#: By wealth.
CLASSES = ("poor", "middle", "rich")
#: Wei by which a deficit of a gap-safe market is only a rounding; a move closes at most so many accounts.
_ROUNDING = 100
#: Impact together never moves the log price by more.
LARGEST_IMPACT = 1.0


@dataclass(frozen=True)
class Result:
    """What one path came to. Money in quote, as floating point; parts are of one.

    Attributes:
        path, scenario: numbers in the sweep.
        kind: of the prices, `generator.STUDENT` or `JUMPS`.
        notional: value of open interest at the start.
        assets: of the vault at the start, opening fees included.
        low, high, last: index prices over the first.
        gross: what losing sides lost, all moves together; `closing_gross` in moves that had a deficit.
        worst_haircut: the largest haircut of a move.
        drawdown: the largest part of its first assets that the vault was ever short of.
        drained: quote, the same.
        closed, liquidated: accounts closed by settlements; take-overs by the keeper, `refused` ones apart.
        moves, limited: moves of the price, and those that the step cap cut short; `stopped`: by the budget of work.
        dust: wei, at the end.
        wealth_*, left_*, borne_*: collateral, debts and missed gains left to others, those of others borne, by class.
        violation: the guarantee that did not hold, or empty.
        audited: whether the exact model ran along; `difference`: the largest distance of a balance from it, wei.
    """

    path: int
    scenario: int
    step_cap: float
    insurance: float
    kind: int
    severity: float
    lag: int
    notional: float = 0.0
    assets: float = 0.0
    low: float = 1.0
    high: float = 1.0
    last: float = 1.0
    gross: float = 0.0
    closing_gross: float = 0.0
    deficit: float = 0.0
    covered: float = 0.0
    socialized: float = 0.0
    surplus: float = 0.0
    adl_shortfall: float = 0.0
    worst_haircut: float = 0.0
    drawdown: float = 0.0
    drained: float = 0.0
    closed: int = 0
    liquidated: int = 0
    refused: int = 0
    moves: int = 0
    limited: int = 0
    stopped: int = 0
    epochs: int = 0
    dust: int = 0
    wealth_poor: float = 0.0
    wealth_middle: float = 0.0
    wealth_rich: float = 0.0
    left_poor: float = 0.0
    left_middle: float = 0.0
    left_rich: float = 0.0
    borne_poor: float = 0.0
    borne_middle: float = 0.0
    borne_rich: float = 0.0
    violation: str = ""
    audited: bool = False
    difference: int = 0


def unlike(found: Result, expected: Result) -> list[str]:
    """What differs, each one line. Amounts may by a billionth: a view rounds what an account is worth down to a wei."""
    differences = []
    for name, value in asdict(found).items():
        wanted = getattr(expected, name)
        same = math.isclose(value, wanted, rel_tol=1e-12, abs_tol=1e-9) if isinstance(value, float) else value == wanted
        if not same:
            differences.append(f"{name} is {value} instead of {wanted}")
    return differences


@dataclass
class _Sums:
    """Wei added up along a path."""

    gross: int = 0
    closing_gross: int = 0
    deficit: int = 0
    covered: int = 0
    surplus: int = 0
    adl_shortfall: int = 0
    worst_haircut: int = 0
    closed: int = 0
    liquidated: int = 0
    refused: int = 0
    moves: int = 0
    limited: int = 0
    stopped: int = 0
    lowest_assets: int = 0
    left: list[float] = field(default_factory=lambda: [0.0] * len(CLASSES))
    borne: list[float] = field(default_factory=lambda: [0.0] * len(CLASSES))


def classes(deposits: Iterable[int]) -> list[int]:
    """The class of every trader by wealth, 0 the poorest third; of the keeper, who comes last, none: -1."""
    wealth = list(deposits)
    order = sorted(range(len(wealth)), key=lambda trader: (wealth[trader], trader))
    found = [0] * len(wealth)
    for rank, trader in enumerate(order):
        found[trader] = rank * len(CLASSES) // len(wealth)
    return [*found, -1]


def index_prices(mark: int, log_price: float) -> int:
    """A price of a path, with six digits after the point, in the range that the market accepts."""
    return min(max(round(mark * math.exp(log_price) / 10**12) * 10**12, MIN_PRICE), MAX_PRICE)


class Path:
    """Takes an opened market along a scenario.

    Args:
        market: with the scenario's positions open (`markets.opened`), and no insurance yet.
        number: of the path in the sweep.
    """

    def __init__(
        self, market: Market, sweep: Sweep, scenario: Scenario, step_cap: float, insurance: float, number: int
    ) -> None:
        self._market, self._sweep, self._scenario = market, sweep, scenario
        self._step_cap, self._insurance, self._number = step_cap, insurance, number
        self._parameters: MarketParameters = parameters(sweep, step_cap)
        self._classes = classes(scenario.deposits)
        self._sums = _Sums()
        self._mark = self._index_price = scenario.mark
        self._books: Books = market.books()
        self._indices = self._books.indices
        self._by_risk: list[list[tuple[float, int]]] | None = None
        self._seen: dict[int, int] = {}
        self._impact = 0.0
        #: Size closed by force at this price, longs and shorts.
        self._forced = [0, 0]
        self._step = 0

    def run(self) -> Result:
        """The whole path.

        A guarantee that does not hold is stated in the result, it is not raised.
        """
        scenario = self._scenario
        self._market.insure(round(self._insurance * scenario.notional / WAD * 100) * WAD // 100)
        self._remember(self._market.books())
        first = self._books
        self._sums.lowest_assets = first.assets
        open_size = sum(one.size for one in scenario.fills)
        prices = [scenario.mark]
        violation, begun = "", self._market.now
        log_price = 0.0
        try:
            for self._step, move in enumerate(scenario.moves, start=1):
                log_price += float(move)
                self._market.wait(max(begun + self._step * self._sweep.prices.interval - self._market.now - 1, 0))
                self._index_price = index_prices(scenario.mark, log_price + self._impact)
                prices.append(self._index_price)
                self._market.set_price(self._index_price)
                self._forced = [0, 0]
                self._catch_up(begun + (self._step + 1) * self._sweep.prices.interval)
                self._impact = self._moved(open_size)
            self._remember(self._market.books())
            if not 0 <= self._books.dust <= MAX_DUST:
                raise Violation("S1", f"dust {self._books.dust} wei")
        except Violation as found:
            violation = str(found)
        return replace(self._result(first, prices), violation=violation)

    # ------------------------------------------------------------------------------------------------- settlements

    def _catch_up(self, due: int) -> None:
        """Settle until the mark is the index price, not beyond second `due`."""
        interval = self._parameters.step_interval
        for _ in range(MAX_SETTLEMENTS):
            self._settled(self._market.settle())
            self._keep()
            if self._mark == self._index_price or self._market.now + interval >= due:
                return
            self._market.wait(max(interval - 1, 0))

    def _settled(self, receipts: list[Receipt]) -> None:
        sums = self._sums
        for receipt in receipts:
            sums.moves += 1
            if receipt.mark_after != receipt.index_price:
                step = receipt.mark_before * self._parameters.max_price_step // WAD
                sums.limited += abs(receipt.mark_after - receipt.mark_before) == step
                sums.stopped += abs(receipt.mark_after - receipt.mark_before) < step
            sums.gross += receipt.gross
            self._indices, self._mark = receipt.indices, receipt.mark_after
            if receipt.scales is not None:
                self._closed(receipt)

    def _closed(self, receipt: Receipt) -> None:
        """A move that closed somebody: who owed what, and who bore it."""
        sums, before, after = self._sums, self._books, self._market.books()
        if not 0 <= receipt.covered <= receipt.deficit <= receipt.gross:
            raise Violation("S2", f"{receipt}")
        if receipt.deficit > _ROUNDING and self._parameters.max_price_step <= self._parameters.closeout_margin:
            raise Violation("S8", f"deficit {receipt.deficit} wei at the mark {receipt.mark_after}")
        if receipt.deficit:
            sums.closing_gross += receipt.gross
        sums.deficit += receipt.deficit
        sums.covered += receipt.covered
        sums.surplus += receipt.surplus
        sums.adl_shortfall += receipt.adl_shortfall
        sums.worst_haircut = max(sums.worst_haircut, receipt.haircut)
        sums.lowest_assets = min(sums.lowest_assets, after.assets)
        self._forced[receipt.loser] += receipt.closed_size
        fell = receipt.indices[receipt.loser] - before.indices[receipt.loser]
        missed = receipt.socialized + receipt.adl_shortfall
        seats = [one for one in zip(self._classes, before.seats, after.seats, strict=True) if one[1].shares]
        winners = [(group, old) for group, old, _ in seats if old.side != receipt.loser]
        losers = [(group, old, new) for group, old, new in seats if old.side == receipt.loser]
        # Whom the keeper took over whole in the same transaction is flat as well, but not worthless.
        bankrupt = [(group, old) for group, old, new in losers if not new.shares and not new.worth]
        sums.closed += len(bankrupt)
        for group, part in _shares(winners):
            sums.borne[group] += missed * part
        # Where the epoch ends, losers that were not bankrupt are closed too, and spared the rest of the way.
        freed = [(group, old) for group, old, _ in losers] if after.epoch > before.epoch else bankrupt
        for group, part in _shares(freed):
            sums.left[group] += receipt.adl_shortfall * part
        for group, old in bankrupt:
            if group >= 0:
                sums.left[group] += max(-(old.worth + old.shares * fell), 0) / INDEX_UNIT
        self._remember(after)

    def _remember(self, books: Books) -> None:
        self._books, self._indices, self._by_risk = books, books.indices, None

    # ----------------------------------------------------------------------------------------------------- keepers

    def _keep(self) -> None:
        """The keeper's round after a settlement."""
        lag = self._scenario.lag
        if lag == ABSENT or not self._sweep.keepers.capital:
            return
        below = self._below_maintenance()
        self._seen = {trader: self._seen.get(trader, self._step) for trader in below}
        for trader in below:
            if self._step - self._seen[trader] >= lag:
                self._liquidate(trader)

    def _below_maintenance(self) -> list[int]:
        """Traders below maintenance, at the mark and, if that lags, at the index too (design §6); riskiest first."""
        if self._by_risk is None:
            self._by_risk = _by_risk(self._books, len(self._scenario.deposits))
        found = []
        for side in (LONG, SHORT):
            by_risk = self._by_risk[side]
            if not by_risk:
                continue
            scale, index = self._books.scales[side] / WAD, self._indices[side] / INDEX_UNIT
            threshold = max(self._threshold(side, scale, index, price) for price in (self._mark, self._index_price))
            for bankruptcy, trader in by_risk:
                if bankruptcy <= threshold:
                    break
                found.append(trader)
        return found

    def _threshold(self, side: int, scale: float, index: float, price: int) -> float:
        """The bankruptcy above which an account would be below maintenance at a price."""
        direction = 1 if side == LONG else -1
        gain = direction * scale * (price - self._mark) / WAD
        return index + gain - scale * self._parameters.maintenance_margin / WAD * price / WAD

    def _liquidate(self, trader: int) -> None:
        side = self._books.seats[trader].side
        try:
            receipts, taken = self._market.liquidate(trader)
        except Reverted:
            self._sums.refused += 1
            return
        self._sums.liquidated += 1
        self._settled(receipts)
        self._forced[side] += taken
        self._remember(self._market.books())

    # -------------------------------------------------------------------------------------------------------- index

    def _moved(self, open_size: int) -> float:
        """Impact on the next price, log: what is left of the old, and what was closed by force meanwhile."""
        liquidity = self._sweep.liquidity
        closed = (self._forced[LONG] - self._forced[SHORT]) / open_size if open_size else 0.0
        new = math.copysign(abs(closed) ** liquidity.exponent, closed) if closed else 0.0
        impact = self._impact * (1 - liquidity.recovery) - liquidity.impact * new
        return min(max(impact, -LARGEST_IMPACT), LARGEST_IMPACT)

    # ------------------------------------------------------------------------------------------------------- result

    def _result(self, first: Books, prices: list[int]) -> Result:
        scenario, sums = self._scenario, self._sums
        wealth = [0] * len(CLASSES)
        for group, amount in zip(self._classes[:-1], scenario.deposits, strict=True):
            wealth[group] += amount
        drained = max(first.assets - sums.lowest_assets, 0)
        by_class: dict[str, Any] = {
            f"{what}_{name}": amount / WAD
            for what, amounts in (("wealth", wealth), ("left", sums.left), ("borne", sums.borne))
            for name, amount in zip(CLASSES, amounts, strict=True)
        }
        return Result(
            path=self._number,
            scenario=scenario.number,
            step_cap=self._step_cap,
            insurance=self._insurance,
            kind=scenario.kind,
            severity=scenario.severity,
            lag=scenario.lag,
            notional=scenario.notional / WAD,
            assets=first.assets / WAD,
            low=min(prices) / scenario.mark,
            high=max(prices) / scenario.mark,
            last=prices[-1] / scenario.mark,
            gross=sums.gross / WAD,
            closing_gross=sums.closing_gross / WAD,
            deficit=sums.deficit / WAD,
            covered=sums.covered / WAD,
            socialized=(sums.deficit - sums.covered) / WAD,
            surplus=sums.surplus / WAD,
            adl_shortfall=sums.adl_shortfall / WAD,
            worst_haircut=sums.worst_haircut / WAD,
            drawdown=drained / first.assets if first.assets else 0.0,
            drained=drained / WAD,
            closed=sums.closed,
            liquidated=sums.liquidated,
            refused=sums.refused,
            moves=sums.moves,
            limited=sums.limited,
            stopped=sums.stopped,
            epochs=self._books.epoch,
            dust=self._books.dust,
            **by_class,
        )


def _shares(accounts: Iterable[tuple[int, Seat]]) -> Iterator[tuple[int, float]]:
    """Class of every account but the keeper's, and its part of the shares of all."""
    known = list(accounts)
    total = sum(seat.shares for _, seat in known)
    yield from ((group, seat.shares / total) for group, seat in known if group >= 0)


def _by_risk(books: Books, traders: int) -> list[list[tuple[float, int]]]:
    """Traders of either side by the index at which they run out, quote per share, the riskiest first."""
    found: list[list[tuple[float, int]]] = [[], []]
    for trader, seat in enumerate(books.seats[:traders]):
        if seat.shares:
            bankruptcy = (books.indices[seat.side] - seat.worth // seat.shares) / INDEX_UNIT
            found[seat.side].append((bankruptcy, trader))
    for side in (LONG, SHORT):
        found[side].sort(key=lambda one: (-one[0], one[1]))
    return found
