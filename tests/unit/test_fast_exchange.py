"""The fast exchange sends what the slow one sends, and reads the same out of the events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from prorata.chain import Reverted
from prorata.exchange import Exchange
from prorata.fast_exchange import FastExchange, words
from prorata.orders import Order
from prorata.parameters import MarketParameters
from prorata.receipts import receipts_in
from prorata.revm_chain import RevmChain
from prorata.units import WAD

MARK = 1000 * WAD
LIFE = [
    ("insure", 50_000 * WAD, 0),
    ("insure", 50_000 * WAD, 1),
    *(("deposit", trader, 10_000 * WAD, trader) for trader in (1, 2)),
    ("deposit", 1, 1_500 * WAD, 3),
    ("trade", 1, 2, True, 100 * WAD, MARK, False),
    ("trade", 2, 3, False, 20 * WAD, MARK * 101 // 100, False),
    ("trade", 1, 2, False, 5 * WAD, MARK, True),
    ("trade_batch", 3, ((1, True, WAD, MARK), (2, False, 2 * WAD, MARK))),
    ("withdraw", 1, WAD),
    ("set_reduce_only", True),
    ("set_reduce_only", False),
    ("request_redeem", 10**20, 1),
    ("cancel_redeem", 1),
    ("set_price", MARK * 95 // 100),
    ("settle",),
    ("liquidate", 2, 3, 2**256 - 1),
    ("set_price", MARK * 80 // 100),
    ("settle",),
    ("set_price", MARK * 120 // 100),
    ("settle",),
    ("set_round", 0, 2_000_000_000, 1, 1),
    ("wind_down",),
]


def market() -> Exchange:
    """A fresh one, with four people who have tokens."""
    chain = RevmChain()
    exchange = Exchange.deploy(
        chain, MARK, MarketParameters.guarded(guardian=chain.address(0), max_price_step=WAD // 2)
    )
    for trader in range(4):
        exchange.fund(trader)
        exchange.approve(trader, exchange.vault)
    return exchange


def slow_verb(exchange: Exchange, name: str) -> Callable[..., Any]:
    """What the slow exchange calls an operation, in the order of the fast one's arguments."""
    return {
        "insure": lambda amount, insurer: exchange.insure(insurer, amount),
        "trade": lambda *a: exchange.trade(*a[:5], reduce_only=a[5]),
        "trade_batch": lambda taker, trades: exchange.take_batch(
            taker, [signed_fill(exchange, *one) for one in trades]
        ),
        "set_reduce_only": lambda on: exchange.set_reduce_only(on, 0),
        "request_redeem": lambda shares, insurer: exchange.request_redeem(insurer, shares),
        "cancel_redeem": exchange.cancel_redeem,
    }.get(name) or getattr(exchange, name)


def signed_fill(exchange: Exchange, maker: int, is_long: bool, size: int, price: int) -> tuple[Order, bytes, int]:
    """One of a batch."""
    order = exchange.order(maker, is_long, size, price)
    return order, exchange.sign(maker, order), size


def test_every_operation_leaves_the_same_storage_and_the_same_receipts():
    slow, exchange = market(), market()
    fast = FastExchange(exchange, range(1, 4))
    slow._salt = fast._salt  # orders are named by all they say
    moves = 0
    for name, *arguments in LIFE:
        transaction = slow_verb(slow, name)(*arguments)
        getattr(fast, name)(*arguments)
        assert slow.chain.storage() == exchange.chain.storage(), name
        if not name.startswith("set_"):
            assert fast.receipts() == receipts_in(transaction.logs)
            ours = [log.name for log in transaction.logs if log.name != "Approval"]
            assert [event.name for event in fast.events] == ours
            moves += len(fast.receipts())
    assert moves >= 3


def test_orders_in_parts_and_cancelled():
    exchange = market()
    fast = FastExchange(exchange, range(1, 4))
    fast.insure(50_000 * WAD)
    for trader in (1, 2):
        fast.deposit(trader, 10_000 * WAD, trader)
    order = fast.order(1, True, 10 * WAD, MARK)
    fast.fill(2, order, 4 * WAD)
    assert exchange.side(0).open_interest == 4 * WAD
    fast.cancel(1, order)
    with pytest.raises(Reverted, match="order: cancelled"):
        fast.fill(2, order, 4 * WAD)
    fast.cancel_all(1, 3)
    fast.trade(1, 2, True, WAD, MARK)  # carries the new nonce
    exchange.trade(1, 2, True, WAD, MARK)  # so does the slow exchange's
    assert exchange.side(0).open_interest == 6 * WAD


def test_the_vault():
    exchange = market()
    fast = FastExchange(exchange, range(1, 4))
    fast.insure(100 * WAD, 1)
    before = exchange.vault_shares(1)
    fast.mint_insurance(before, 1)
    assert exchange.vault_shares(1) == 2 * before and exchange.vault_assets == 200 * WAD
    fast.transfer_shares(before, 1, 2)
    fast.request_redeem(before, 1)
    exchange.chain.advance(86_400)
    fast.set_price(MARK)
    fast.withdraw_insurance(40 * WAD, 1)
    fast.redeem(fast.redeem_request(1)[0], 1)
    assert abs(exchange.vault_assets - 100 * WAD) <= 1
    assert fast.redeem_request(1) == (0, 0, 0) and fast.vault_shares(2) == before


def test_words():
    assert words(1, -1, b"ab") == (1).to_bytes(32, "big") + b"\xff" * 32 + b"ab"
