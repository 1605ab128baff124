"""The market of a path, behind one face: raw pyrevm, the contracts in lockstep with the exact model, or any chain.

`FastMarket` is what a sweep runs on. `TwinMarket` is the audit: every operation on contracts and model, every balance
compared. `ChainMarket` drives the same path through the ordinary driver, on titanoboa or a node, to compare speed and
gas. Traders are numbers from 0; the keeper's is the number of traders. Their test accounts are one higher.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import Protocol, cast

from prorata.chain import Chain, Transaction
from prorata.exchange import Exchange
from prorata.fast_exchange import FastExchange
from prorata.parameters import MarketParameters, VaultParameters
from prorata.receipts import Receipt, receipts_in
from prorata.revm_chain import RevmChain
from prorata.storage import Reader, State
from prorata.stress.config import Sweep
from prorata.stress.generator import Fill, Scenario
from prorata.twin import Twin
from prorata.units import INDEX_UNIT, LONG, SHORT, to_wad

#: Of a batch of fills, by the contracts.
_BATCH = 16
#: More than any order is filled by.
_PLENTY = 2**95


@dataclass(frozen=True)
class Seat:
    """An account when the books were read: worth in quote of 54 digits, shares 18 digits (0: flat), its side."""

    worth: int
    shares: int
    side: int


@dataclass(frozen=True)
class Books:
    """A market at one moment.

    Attributes:
        scales, indices: of longs and shorts, 18 and 36 digits.
        seats: traders, then the keeper.
        assets: the vault's, quote, 18 digits: held, and owed by the market.
        dust: what the market holds beyond equity and what it owes, wei.
    """

    epoch: int
    scales: tuple[int, int]
    indices: tuple[int, int]
    seats: tuple[Seat, ...]
    assets: int
    dust: int


class Market(Protocol):
    """What a path asks of its market. Operations may raise `prorata.chain.Reverted`."""

    @property
    def now(self) -> int:
        """Second of the last block."""
        ...

    def wait(self, seconds: int) -> None:
        """Let time pass before the next transaction, which takes a second of its own."""
        ...

    def deposit(self, trader: int, amount: int) -> None:
        """Collateral, quote, 18 digits."""
        ...

    def open(self, fills: Sequence[Fill], price: int) -> None:
        """Make the fills at a price."""
        ...

    def insure(self, amount: int) -> None:
        """Deposit into the vault; nothing, and the second passes."""
        ...

    def set_price(self, price: int) -> None:
        """The oracle's answer, 18 digits."""
        ...

    def settle(self) -> list[Receipt]:
        """One settlement."""
        ...

    def liquidate(self, trader: int) -> tuple[list[Receipt], int]:
        """The keeper takes over what it may; the receipts, and the size, 18 digits."""
        ...

    def books(self) -> Books:
        """Everything there is."""
        ...


def parameters(sweep: Sweep, step_cap: float) -> MarketParameters:
    """Of the market of a cell: the usual ones, but for the steps of the mark."""
    return MarketParameters(max_price_step=to_wad(repr(step_cap)), step_interval=sweep.grid.step_interval)


def batches(fills: Sequence[Fill]) -> Iterator[tuple[int, list[Fill]]]:
    """Fills of one short after the other, as the contracts take them at once."""
    for short, group in groupby(fills, key=lambda fill: fill.short):
        all_of_it = list(group)
        for at in range(0, len(all_of_it), _BATCH):
            yield short, all_of_it[at : at + _BATCH]


def _books(state: State) -> Books:
    longs, shorts = state.sides
    equity = sum(one.equity for one in state.holdings)
    return Books(
        epoch=state.epoch,
        scales=(longs.scale, shorts.scale),
        indices=(longs.index, shorts.index),
        seats=tuple(Seat(one.worth, one.shares, one.side) for one in state.holdings),
        assets=state.held + state.owed,
        dust=state.market_balance - equity - state.owed,
    )


class FastMarket:
    """One deployment in pyrevm that lives through many paths, each undone by `anchor`.

    Longs have signed their orders beforehand, for any size: a signature takes longer than a settlement. All of them are
    made before the first path, so they are not undone with it.
    """

    def __init__(self, sweep: Sweep, mark: int, step_cap: float) -> None:
        people = range(1, sweep.crowd.traders + 2)
        exchange = Exchange.deploy(cast(Chain, RevmChain()), mark, parameters(sweep, step_cap), VaultParameters())
        for account in people:
            exchange.fund(account)
        exchange.fund(0, exchange.vault)
        self._driver = FastExchange(exchange, people)
        self._keeper = sweep.crowd.traders + 1
        self._orders = [self._driver.order(account, True, _PLENTY, mark) for account in people]

    @contextmanager
    def anchor(self) -> Iterator[None]:
        """Whatever is done within is undone."""
        answer = self._driver.answer
        try:
            with self._driver.chain.anchor():
                yield
        finally:
            self._driver.answer = answer

    @property
    def now(self) -> int:
        return self._driver.chain.now

    def wait(self, seconds: int) -> None:
        self._driver.chain.advance(seconds)

    def deposit(self, trader: int, amount: int) -> None:
        self._driver.deposit(trader + 1, amount, trader + 1)

    def open(self, fills: Sequence[Fill], price: int) -> None:
        for short, batch in batches(fills):
            self._driver.fill_batch(short + 1, [(self._orders[one.long], one.size) for one in batch])

    def insure(self, amount: int) -> None:
        if amount:
            self._driver.insure(amount)
        else:
            self.wait(1)

    def set_price(self, price: int) -> None:
        self._driver.set_price(price)

    def settle(self) -> list[Receipt]:
        self._driver.settle()
        return self._driver.receipts()

    def liquidate(self, trader: int) -> tuple[list[Receipt], int]:
        self._driver.liquidate(self._keeper, trader + 1)
        (taken,) = (event.words[0] for event in self._driver.events if event.name == "Liquidated")
        return self._driver.receipts(), taken

    def books(self) -> Books:
        return _books(self._driver.read())


class TwinMarket:
    """A market of its own, in lockstep with the exact model. What they differ in raises `prorata.twin.Violation`.

    Attributes:
        difference: largest distance of a balance from the model's so far, wei.
    """

    def __init__(self, sweep: Sweep, mark: int, step_cap: float) -> None:
        self._keeper = sweep.crowd.traders + 1
        chain = RevmChain()
        self._twin = Twin(cast(Chain, chain), mark, self._keeper, parameters(sweep, step_cap), VaultParameters())
        owners = [chain.address(account) for account in self._twin.traders]
        self._reader = Reader(chain, self._twin.exchange.addresses, self._twin.exchange.unit, owners)
        self.difference = 0

    @property
    def now(self) -> int:
        return self._twin.exchange.chain.now

    def wait(self, seconds: int) -> None:
        self._twin.exchange.chain.advance(seconds)

    def deposit(self, trader: int, amount: int) -> None:
        self._twin.deposit(trader + 1, amount)

    def open(self, fills: Sequence[Fill], price: int) -> None:
        for short, batch in batches(fills):
            self._twin.trade_batch(short + 1, [(one.long + 1, True, one.size, price) for one in batch])
        self._check()

    def insure(self, amount: int) -> None:
        if amount:
            self._twin.insure(amount)
        else:
            self.wait(1)

    def set_price(self, price: int) -> None:
        self._twin.set_price(price)

    def settle(self) -> list[Receipt]:
        return self._checked(self._twin.settle())

    def liquidate(self, trader: int) -> tuple[list[Receipt], int]:
        transaction = self._twin.liquidate(self._keeper, trader + 1)
        return self._checked(transaction), _taken(transaction)

    def books(self) -> Books:
        return _books(self._reader.read())

    def _checked(self, transaction: Transaction) -> list[Receipt]:
        self._check()
        return receipts_in(transaction.logs)

    def _check(self) -> None:
        self.difference = max(self.difference, self._twin.check().max_difference)


@dataclass(frozen=True)
class Spent:
    """A transaction, and its gas; 0 where the chain cannot tell."""

    what: str
    gas: int

    def __str__(self) -> str:
        return f"{self.what} {self.gas:,} gas"


class ChainMarket:
    """A market of its own on any chain, by views and receipts.

    Attributes:
        spent: every transaction so far, in order, but for refused ones.
    """

    def __init__(self, chain: Chain, sweep: Sweep, mark: int, step_cap: float) -> None:
        self._keeper = sweep.crowd.traders + 1
        self._people = range(1, self._keeper + 1)
        self._exchange = Exchange.deploy(chain, mark, parameters(sweep, step_cap), VaultParameters())
        for account in self._people:
            self._exchange.fund(account)
        self._exchange.fund(0, self._exchange.vault)
        self.spent: list[Spent] = []

    @property
    def now(self) -> int:
        return self._exchange.chain.now

    def wait(self, seconds: int) -> None:
        if seconds:
            self._exchange.chain.advance(seconds)

    def deposit(self, trader: int, amount: int) -> None:
        self._did("deposit", self._exchange.deposit(trader + 1, amount))

    def open(self, fills: Sequence[Fill], price: int) -> None:
        for short, batch in batches(fills):
            orders = [self._exchange.order(one.long + 1, True, one.size, price) for one in batch]
            signed = [
                (order, self._exchange.sign(one.long + 1, order), one.size)
                for one, order in zip(batch, orders, strict=True)
            ]
            self._did("fill_batch", self._exchange.take_batch(short + 1, signed))

    def insure(self, amount: int) -> None:
        if amount:
            self._did("insure", self._exchange.insure(0, amount))
        else:
            self.wait(1)

    def set_price(self, price: int) -> None:
        self._did("set_price", self._exchange.set_price(price))

    def settle(self) -> list[Receipt]:
        return receipts_in(self._did("settle", self._exchange.settle()).logs)

    def liquidate(self, trader: int) -> tuple[list[Receipt], int]:
        transaction = self._did("liquidate", self._exchange.liquidate(self._keeper, trader + 1))
        return receipts_in(transaction.logs), _taken(transaction)

    def books(self) -> Books:
        """By views, so that a position's worth is rounded down to a wei."""
        exchange = self._exchange
        accounts = [exchange.account(account) for account in self._people]
        longs, shorts = exchange.side(LONG), exchange.side(SHORT)
        owed = exchange.insurance_owed
        equity = sum(one.equity for one in accounts)
        return Books(
            epoch=exchange.epoch,
            scales=(longs.scale, shorts.scale),
            indices=(longs.index, shorts.index),
            seats=tuple(Seat(one.equity * INDEX_UNIT, one.shares, one.side) for one in accounts),
            assets=exchange.vault_held + owed,
            dust=exchange.token_balance(exchange.market) - equity - owed,
        )

    def _did(self, what: str, transaction: Transaction) -> Transaction:
        self.spent.append(Spent(what, transaction.gas))
        return transaction


def _taken(transaction: Transaction) -> int:
    (size,) = (log.fields["size"] for log in transaction.logs if log.name == "Liquidated")
    return int(size)


def opened(market: Market, sweep: Sweep, scenario: Scenario) -> None:
    """Fund everybody and open the scenario's positions."""
    for trader, amount in enumerate(scenario.deposits):
        market.deposit(trader, amount)
    if sweep.keepers.capital:
        market.deposit(len(scenario.deposits), int(scenario.wealth * sweep.keepers.capital))
    market.open(scenario.fills, scenario.mark)
