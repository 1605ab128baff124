"""What every test of a user action needs: markets, and a way to say "refused, and nothing changed".

Traders are numbers of the chain's test accounts; 0 deploys, insures and may lend a hand. Every market runs in process
and is fresh. A market made by `twin` is reconciled with the eager model once more when its test ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import fields
from functools import partial
from typing import Any

import pytest

from prorata.boa_chain import BoaChain
from prorata.chain import Chain, Reverted
from prorata.exchange import Exchange
from prorata.orders import Order
from prorata.parameters import MarketParameters, VaultParameters
from prorata.revm_chain import RevmChain
from prorata.twin import Twin
from prorata.units import LONG, SHORT, WAD

MARK = 1000 * WAD
TRADERS = 8

TwinFactory = Callable[..., Twin]
ExchangeFactory = Callable[..., Exchange]
State = dict[str, Any]


def split(values: dict[str, int]) -> tuple[MarketParameters, VaultParameters]:
    """Keyword arguments as the market's and the vault's parameters; each name belongs to one of them."""
    vault_names = {field.name for field in fields(VaultParameters)}
    market = {name: value for name, value in values.items() if name not in vault_names}
    vault = {name: value for name, value in values.items() if name in vault_names}
    return MarketParameters(**market), VaultParameters(**vault)


@pytest.fixture
def twin() -> Iterator[TwinFactory]:
    """A factory of markets in lockstep with the model: `twin(mark=..., traders=..., max_buckets=...)`."""
    made: list[Twin] = []

    def make(
        mark: int = MARK, traders: int = TRADERS, decimals: int = 18, chain: Chain | None = None, **parameters: int
    ) -> Twin:
        made.append(Twin(chain or RevmChain(), mark, traders, *split(parameters), decimals))
        return made[-1]

    yield make
    for one in made:
        one.check()


@pytest.fixture(params=[6, 8, 18], ids=lambda decimals: f"{decimals} decimals")
def each_twin(twin: TwinFactory, request: pytest.FixtureRequest) -> TwinFactory:
    """`twin` once for each kind of token."""
    return partial(twin, decimals=request.param)


@pytest.fixture(params=[RevmChain, BoaChain], ids=lambda chain: chain.network)
def twin_everywhere(twin: TwinFactory, request: pytest.FixtureRequest) -> TwinFactory:
    """`twin` once in each EVM."""
    return lambda **options: twin(chain=request.param(), decimals=6, **options)


@pytest.fixture
def exchange() -> ExchangeFactory:
    """A factory of markets without a model, for whatever a model cannot be asked."""

    def make(
        mark: int = MARK, traders: int = TRADERS, decimals: int = 18, chain: Chain | None = None, **parameters: int
    ) -> Exchange:
        made = Exchange.deploy(chain or RevmChain(), mark, *split(parameters), decimals)
        for trader in range(1, traders + 1):
            made.fund(trader)
        made.fund(0)
        made.approve(0, made.vault)
        return made

    return make


@pytest.fixture(params=[6, 8, 18], ids=lambda decimals: f"{decimals} decimals")
def each_exchange(exchange: ExchangeFactory, request: pytest.FixtureRequest) -> ExchangeFactory:
    """`exchange` once for each kind of token."""
    return partial(exchange, decimals=request.param)


@pytest.fixture(params=[RevmChain, BoaChain], ids=lambda chain: chain.network)
def exchange_everywhere(exchange: ExchangeFactory, request: pytest.FixtureRequest) -> ExchangeFactory:
    """`exchange` once in each EVM."""
    return lambda **options: exchange(chain=request.param(), decimals=6, **options)


@pytest.fixture
def state() -> Callable[..., State]:
    """Everything that can be read of a market, its vault and its tokens; what two of them share did not change."""
    return full_state


@pytest.fixture
def refused() -> Callable[..., AbstractContextManager[None]]:
    """`with refused(exchange, reason, *orders)`: what happens inside reverts for that reason and leaves no trace."""

    @contextmanager
    def check(exchange: Exchange, reason: str, *orders: Order) -> Iterator[None]:
        before = full_state(exchange, *orders)
        with pytest.raises(Reverted) as caught:
            yield
        assert caught.value.reason == reason
        assert full_state(exchange, *orders) == before

    return check


def full_state(exchange: Exchange, *orders: Order) -> State:
    """Every balance, account and counter; `orders` and their makers are looked at too."""
    chain, market, vault = exchange.chain, exchange.market, exchange.vault
    people = {chain.address(index) for index in range(TRADERS + 2)} | {order.maker for order in orders}
    holders = people | {market.address, vault.address}
    return {
        "mark": exchange.mark,
        "epoch": exchange.epoch,
        "owed": exchange.insurance_owed,
        "core": exchange.core,
        "totals": exchange.totals,
        "sides": [exchange.side(side) for side in (LONG, SHORT)],
        "accounts": {person: chain.call(market, "account", person) for person in people},
        "min_nonce": {person: chain.call(exchange.market, "min_nonce", person) for person in people},
        "filled": [chain.call(exchange.market, "filled", hash_of(exchange, order)) for order in orders],
        "tokens": {holder: chain.call(exchange.token, "balanceOf", holder) for holder in holders},
        "shares": {holder: chain.call(vault, "balanceOf", holder) for holder in holders},
        "requests": {person: chain.call(vault, "redeem_request", person) for person in people},
        "vault": [
            chain.call(vault, name) for name in ("held", "totalSupply", "window_start", "window_assets", "window_drawn")
        ],
    }


def hash_of(exchange: Exchange, order: Order) -> bytes:
    """The order's digest, by which the market names it."""
    return exchange.digest(order)
