"""What a market goes through: a seeded stream of operations, proposed from what the market looks like.

Operations are data, so that a run can be logged, replayed, and carried out by either driver: `prorata.fast_exchange` or
`prorata.twin`, which have these methods in common, but for those in `FAST_ONLY`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

from prorata.fast_exchange import FastExchange
from prorata.parameters import MarketParameters, VaultParameters
from prorata.storage import Holding, State
from prorata.units import LONG, MAX_PRICE, MIN_PRICE, WAD

TRADERS = range(1, 9)
INSURERS = (0, 1)
#: How many times what it began with a trader may have, before it is given no more.
RICH = 10


@dataclass(frozen=True)
class Operation:
    """A method of the drivers and its arguments."""

    name: str
    arguments: tuple[Any, ...] = ()


#: What a user of the contracts does is an operation; what the world does (time, prices) is not counted as one.
WORLD = {"set_price", "set_round", "advance"}
#: Operations that the twin does not know.
FAST_ONLY = {"fill", "cancel", "cancel_all", "mint_insurance", "withdraw_insurance", "transfer_shares"}

#: Violent moves beside small ones and shocks, in thousandths.
_VIOLENT = (100, 500, 900, 989, 990, 1010, 1011, 2000, 10_000)


def bounded(price: int) -> int:
    """A price the oracle may give."""
    return min(max(price, MIN_PRICE), MAX_PRICE)


@dataclass(frozen=True)
class Setting:
    """What a market is like.

    Attributes:
        wealth: quote that traders begin with.
        insurance: quote in the vault at the start.
    """

    mark: int
    decimals: int
    parameters: MarketParameters
    vault: VaultParameters
    wealth: tuple[int, ...]
    insurance: int

    @classmethod
    def draw(cls, rng: Random, guardian: str) -> Setting:
        """Decimals, bounds, insurance and prices of every kind, up to the numeric bounds."""
        mark = rng.choice(
            [MIN_PRICE * 1000, 10**12, WAD, 1000 * WAD, 1000 * WAD, 60_000 * WAD + 123_456_789, MAX_PRICE // 1000]
        )
        parameters = MarketParameters(
            max_words=rng.choice([72, 320, 320, 320]),
            oracle_grace=3600,
            guardian=guardian,
            max_buckets=rng.choice([1, 1, 2, 128, 128]),
            max_price_step=rng.choice([WAD // 100, WAD // 20, WAD // 2, WAD // 2]),
            step_interval=rng.choice([0, 0, 1, 60]),
            max_funding=rng.choice([0, WAD // 400, WAD // 100]),
            premium_retention=rng.choice([WAD // 2, WAD - WAD // 600, WAD - WAD // 28_800]),
            margin_slope=rng.choice([0, 0, WAD // 1000]),
            oi_multiple=rng.choice([0, 0, 0, 20 * WAD]),
            cooloff=rng.choice([0, 0, 30, 600]),
            liquidation_fee=rng.choice([0, WAD // 100, WAD // 40]),
            liquidator_share=rng.choice([0, WAD // 2, WAD]),
            fee_rate=rng.choice([0, WAD // 2000, WAD // 2000]),
        )
        # A market of the smallest prices has room for little value: 2**96 of size.
        richest = min(10**4, (2**96 * mark // WAD) // (100 * WAD)) or 1
        return cls(
            mark=mark,
            decimals=rng.choice([6, 8, 18]),
            parameters=parameters,
            vault=VaultParameters(rng.choice([WAD // 10, WAD // 2, WAD * 9 // 10])),
            wealth=tuple(rng.randint(min(10, richest), max(richest, 11)) * WAD for _ in TRADERS),
            insurance=rng.choice([0, 10, 1_000, 1_000_000]) * WAD,
        )


class Rules:
    """Proposes the next operation.

    Args:
        rng: the only source of chance.
        setting: of the market.
        driver: to ask for what the market's state leaves out; it is not driven.
    """

    def __init__(self, rng: Random, setting: Setting, driver: FastExchange) -> None:
        self._rng, self._setting, self._driver = rng, setting, driver
        self._unit = driver.unit
        self._queue: deque[Operation] = deque(self._opening())
        self._orders: list[Any] = []
        self._rules: list[Callable[[State], Iterator[Operation]]] = []
        for rule, weight in (
            (self._move, 16),
            (self._trade, 30),
            (self._close, 16),
            (self._batch, 5),
            (self._deposit, 10),
            (self._withdraw, 8),
            (self._liquidate, 3),
            (self._squeeze, 5),
            (self._crash_a_crowd, 1),
            (self._catch_up, 2),
            (self._wait, 3),
            (self._guard, 1),
            (self._break_oracle, 1),
            (self._orders_of_old, 6),
            (self._insure, 3),
            (self._request, 3),
            (self._redeem, 3),
        ):
            self._rules += [rule] * weight

    def next(self, state: State) -> Operation:
        """The operation to come."""
        while not self._queue:
            # Most operations wait for a mark that lags, and for traders who own something.
            if state.lagging and self._rng.random() < 0.4:
                self._queue.extend(self._catch_up(state))
            elif self._rng.random() < 0.1 and (poor := self._poor(state)):
                self._queue.extend(self._refill(poor))
            else:
                self._queue.extend(self._rng.choice(self._rules)(state))
        return self._queue.popleft()

    # ----------------------------------------------------------------------------------------------------- openings

    def _opening(self) -> Iterator[Operation]:
        if self._setting.insurance:
            yield Operation("insure", (self._setting.insurance, 0))
        for trader, wealth in zip(TRADERS, self._setting.wealth, strict=True):
            yield Operation("deposit", (trader, wealth, trader))
        poorest = min(self._setting.wealth)
        for _ in range(self._rng.randint(3, 6)):
            maker, taker = self._rng.sample(TRADERS, 2)
            yield self._between(maker, taker, self._setting.mark, poorest, self._rng.randint(2, 19), 0)

    # -------------------------------------------------------------------------------------------------------- money

    def _deposit(self, state: State) -> Iterator[Operation]:
        """From a touch of one unit to a fortune."""
        rng = self._rng
        trader, to = rng.choice(TRADERS), rng.choice(TRADERS)
        wealth = self._setting.wealth[to - 1]
        amount = rng.choice([self._unit, self._unit, rng.randint(1, 10**12), wealth])
        # Published differences are for markets of some ten million (see `prorata.twin`); nobody grows without end.
        if state.holdings[to - 1].equity > RICH * wealth:
            amount = self._unit
        yield Operation("deposit", (trader if rng.random() < 0.5 else to, self._whole(amount), to))

    def _poor(self, state: State) -> list[int]:
        """Traders who have next to nothing, most of them closed by a move."""
        return [t for t in TRADERS if state.holdings[t - 1].equity < self._setting.wealth[t - 1] // 100]

    def _refill(self, poor: list[int]) -> Iterator[Operation]:
        trader = self._rng.choice(poor)
        yield Operation("deposit", (trader, self._whole(self._setting.wealth[trader - 1]), trader))

    def _withdraw(self, state: State) -> Iterator[Operation]:
        trader = self._rng.choice(TRADERS)
        amount = state.holdings[trader - 1].equity * self._part() // 10**6 // self._unit * self._unit
        yield Operation("withdraw", (trader, amount))

    # -------------------------------------------------------------------------------------------------------- trades

    def _trade(self, state: State) -> Iterator[Operation]:
        """A new trade, sized by what the poorer of the two has."""
        rng = self._rng
        maker, taker = self._pair(state)
        equity = min(state.holdings[maker - 1].equity, state.holdings[taker - 1].equity)
        premium = rng.choice([0, 0, rng.randint(-5, 5), rng.randint(-60, 60)])
        leverage = rng.choice([rng.randint(1, 18), rng.randint(1, 18), rng.randint(1, 25), 19])
        yield self._between(maker, taker, self._price_now(state), equity, leverage, premium)

    def _close(self, state: State) -> Iterator[Operation]:
        """The maker trades away quarters of its position: part of it, all of it, or more."""
        maker, taker = self._pair(state)
        open_ones = [trader for trader in TRADERS if state.holdings[trader - 1].shares and trader != taker]
        maker = self._rng.choice(open_ones or [maker])
        holding = state.holdings[maker - 1]
        size = self._size(holding, state) * self._rng.choice([1, 2, 3, 4, 4, 4, 5, 8]) // 4
        reduce_only = self._rng.random() < 0.2
        yield Operation("trade", (maker, taker, holding.side != LONG, size, self._price_now(state), reduce_only))

    def _batch(self, state: State) -> Iterator[Operation]:
        """Several fills after one settlement, all or none."""
        rng = self._rng
        _, taker = self._pair(state)
        mark = self._price_now(state)
        price = mark + mark * rng.randint(-50, 50) // 1000
        trades = []
        for _ in range(rng.randint(1, 3)):
            size = state.holdings[taker - 1].equity * rng.randint(1, 10) * WAD // mark
            trades.append((rng.choice(TRADERS), rng.random() < 0.5, size, price))
        yield Operation("trade_batch", (taker, tuple(trades)))

    def _orders_of_old(self, state: State) -> Iterator[Operation]:
        """Orders that lie about: filled in parts, cancelled, voided."""
        rng = self._rng
        maker, taker = self._pair(state)
        act = rng.randrange(5)
        if act == 0 and rng.random() < 0.3:
            yield Operation("cancel_all", (maker, self._driver.exchange.nonces.get(maker, 0) + 1))
        elif act <= 2 or not self._orders:
            mark = self._price_now(state)
            size = min(state.holdings[maker - 1].equity, state.holdings[taker - 1].equity) * 4 * WAD // mark
            order = self._driver.order(maker, rng.random() < 0.5, size, mark)
            self._orders = [*self._orders[-7:], order]
            yield Operation("fill", (taker, order, size // 3))
        else:
            order = rng.choice(self._orders)
            if act == 3:
                yield Operation("cancel", (order.maker, order))
            yield Operation("fill", (taker, order, order.size // 3))

    def _liquidate(self, state: State) -> Iterator[Operation]:
        """Whoever it is, healthy or not."""
        keeper, trader = self._pair(state)
        size = self._size(state.holdings[trader - 1], state) * self._rng.choice([1, 3, 4, 4, 9]) // 4
        yield Operation("liquidate", (keeper, trader, size))

    def _squeeze(self, state: State) -> Iterator[Operation]:
        """The price at which the weakest account holds some thousandths of its notional; the richest takes it over, or
        lets it go down."""
        rng = self._rng
        open_ones = [trader for trader in TRADERS if state.holdings[trader - 1].shares]
        if not open_ones:
            return
        weakest = min(open_ones, key=lambda t: state.holdings[t - 1].worth // state.holdings[t - 1].shares)
        richest = max((t for t in TRADERS if t != weakest), key=lambda t: state.holdings[t - 1].worth)
        holding = state.holdings[weakest - 1]
        size, sign = self._size(holding, state), 1 if holding.side == LONG else -1
        ratio = rng.choice([rng.randint(8, 26), rng.randint(-40, 40)])
        if not size:
            return
        # equity + sign * size * (price - mark) = ratio * size * price
        price = (sign * size * state.mark - holding.equity * WAD) * 1000 // (size * (sign * 1000 - ratio))
        yield Operation("set_price", (bounded(price),))
        yield Operation("settle")
        if rng.random() < 0.5:
            yield Operation("liquidate", (richest, weakest, 2**256 - 1))

    def _crash_a_crowd(self, state: State) -> Iterator[Operation]:
        """Several accounts of one side, each with a bucket of its own, and a move against all of them."""
        rng = self._rng
        is_long = rng.random() < 0.5
        mark, wealth = self._price_now(state), max(self._setting.wealth)
        if state.holdings[0].equity < RICH * wealth:
            yield Operation("deposit", (1, self._whole(wealth * RICH), 1))
        for trader in range(2, rng.randint(3, len(TRADERS))):
            yield Operation("deposit", (trader, self._whole(wealth // 10), trader))
            leverage = rng.randint(3, 18)
            size = (state.holdings[trader - 1].equity + wealth // 10) * leverage * WAD // mark
            yield Operation("trade", (trader, 1, is_long, size, mark, False))
        shock = rng.randint(5, 60)
        yield Operation("set_price", (bounded(mark * (100 - shock if is_long else 100 + shock) // 100),))
        yield Operation("settle")

    # -------------------------------------------------------------------------------------------------------- prices

    def _move(self, state: State) -> Iterator[Operation]:
        """Small moves, shocks, violent ones; settled at once, later, or several times."""
        rng = self._rng
        last = self._driver.answer[0]
        factors = [rng.randint(970, 1030), rng.randint(970, 1030), rng.randint(700, 1400), rng.choice(_VIOLENT)]
        # A market of small steps would be in catch-up for ever.
        calm = self._setting.parameters.max_price_step < WAD // 2 and rng.random() < 0.97
        factor = rng.choice(factors[:2] if calm else factors)
        # Prices that have gone far come back.
        far = max(last * WAD // self._setting.mark, self._setting.mark * WAD // max(last, 1)) > 30 * WAD
        price = self._setting.mark if far or last <= 0 else last * factor // 1000
        yield Operation("set_price", (bounded(price),))
        for _ in range(rng.choice([0, 1, 1, 1, 2])):
            yield Operation("settle")

    def _catch_up(self, state: State) -> Iterator[Operation]:
        """As long as it takes, within reason."""
        if not state.lagging:
            yield Operation("settle")
            return
        for _ in range(self._rng.randint(1, 6)):
            if self._setting.parameters.step_interval:
                yield Operation("advance", (self._setting.parameters.step_interval,))
            yield Operation("settle")

    def _wait(self, state: State) -> Iterator[Operation]:
        """Time passes, so draw windows open anew, cooldowns end and requests lapse; the oracle keeps answering."""
        yield Operation("advance", (self._rng.choice([1, 60, 3600, 86_390, 86_400, 172_790, 172_800]),))
        yield Operation("set_price", (bounded(self._driver.answer[0]),))
        yield Operation("settle")

    def _guard(self, state: State) -> Iterator[Operation]:
        """On for a few trades, then off again."""
        yield Operation("set_reduce_only", (True,))
        for rule in self._rng.sample([self._trade, self._close, self._batch], 2):
            yield from rule(state)
        yield Operation("set_reduce_only", (False,))

    def _break_oracle(self, state: State) -> Iterator[Operation]:
        """An answer that is refused, something tried meanwhile, and a good one."""
        rng, now = self._rng, self._driver.chain.now
        answer = bounded(self._driver.answer[0])
        yield Operation(
            "set_round",
            rng.choice(
                [
                    (0, now, 1, 1),
                    (-answer, now, 1, 1),
                    (answer, now, 2, 1),
                    (answer, now + 10**6, 1, 1),
                    (answer, now - 10**5, 1, 1),
                    (MAX_PRICE + 1, now, 1, 1),
                    (MIN_PRICE - 1, now, 1, 1),
                ]
            ),
        )
        yield Operation("wind_down")
        for rule in rng.sample([self._trade, self._deposit, self._withdraw, self._liquidate, self._insure], 3):
            yield from rule(state)
        if rng.random() < 0.02:
            yield Operation("advance", (3600,))
            yield Operation("wind_down")
        yield Operation("set_price", (answer,))
        yield Operation("settle")

    # ------------------------------------------------------------------------------------------------------ insurance

    def _insure(self, state: State) -> Iterator[Operation]:
        rng = self._rng
        insurer = rng.choice(INSURERS)
        act = rng.randrange(6)
        if act == 0:
            yield Operation("mint_insurance", (rng.randint(0, max(state.supply // 10, 10**6)), insurer))
        elif act == 1:
            shares = self._driver.vault_shares(insurer) * self._part() // 10**6
            yield Operation("transfer_shares", (shares, insurer, 1 - insurer))
        else:
            yield Operation("insure", (self._whole(rng.randint(0, 10**4) * WAD), insurer))

    def _request(self, state: State) -> Iterator[Operation]:
        insurer = self._rng.choice(INSURERS)
        if self._rng.random() < 0.25:
            yield Operation("cancel_redeem", (insurer,))
            return
        yield Operation("request_redeem", (self._driver.vault_shares(insurer) * self._part() // 10**6, insurer))

    def _redeem(self, state: State) -> Iterator[Operation]:
        """Mostly when the window opens; otherwise whatever is there, whenever it is."""
        rng = self._rng
        insurer = rng.choice(INSURERS)
        shares, worth, opens = self._driver.redeem_request(insurer)
        wait = opens - self._driver.chain.now
        if shares and wait > 0 and rng.random() < 0.7:
            yield Operation("advance", (wait,))
            yield Operation("set_price", (bounded(self._driver.answer[0]),))
            yield Operation("settle")
        if rng.random() < 0.3:
            yield Operation("withdraw_insurance", (self._whole(worth * self._part() // 10**6), insurer))
        else:
            yield Operation("redeem", (shares * self._part() // 10**6, insurer))

    # --------------------------------------------------------------------------------------------------------- chance

    def _between(self, maker: int, taker: int, mark: int, equity: int, leverage: int, premium: int) -> Operation:
        size = equity * leverage * WAD // mark
        return Operation("trade", (maker, taker, self._rng.random() < 0.5, size, mark + mark * premium // 1000, False))

    def _pair(self, state: State) -> tuple[int, int]:
        """Two traders, both of whom own something if two do."""
        rich = [trader for trader in TRADERS if state.holdings[trader - 1].equity]
        maker, taker = self._rng.sample(rich if len(rich) > 1 and self._rng.random() < 0.95 else TRADERS, 2)
        return maker, taker

    def _part(self) -> int:
        """Millionths of something, mostly plain, sometimes at the very ends."""
        return self._rng.choice([self._rng.randint(0, 10**6), self._rng.randint(0, 10**6), 0, 1, 10**6 - 1, 10**6])

    def _whole(self, amount: int) -> int:
        return -(-amount // self._unit) * self._unit

    def _size(self, holding: Holding, state: State) -> int:
        return holding.shares * state.sides[holding.side].scale // WAD

    def _price_now(self, state: State) -> int:
        """The mark as a fill will find it, if one settlement gets there."""
        answer = self._driver.answer[0]
        most = state.mark * self._setting.parameters.max_price_step // WAD
        return answer if answer > 0 and abs(answer - state.mark) <= most else state.mark
