"""cancel(order) and cancel_all(min_nonce): the maker's own, for good, at any time."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest

from prorata.chain import Transaction
from prorata.exchange import Exchange
from prorata.orders import Order
from prorata.units import WAD, ZERO_ADDRESS

ExchangeFactory = Callable[..., Exchange]
Refused = Callable[..., AbstractContextManager[None]]

MAKER, TAKER, STRANGER = 1, 2, 3
MARK = 1000 * WAD
CANCELLED = 2**256 - 1


def opened(exchange: Exchange, **terms: Any) -> tuple[Order, bytes]:
    """A good order of MAKER for ten units, and its signature."""
    order = exchange.order(MAKER, True, 10 * WAD, MARK, **terms)
    return order, exchange.sign(MAKER, order)


def funded(exchange: Exchange) -> Exchange:
    exchange.deposit(MAKER, 10_000 * WAD)
    exchange.deposit(TAKER, 10_000 * WAD)
    return exchange


def cancel(exchange: Exchange, order: Order, sender: int = MAKER) -> Transaction:
    return exchange.chain.transact(exchange.market, "cancel", order.as_tuple(), sender=sender)


def cancel_all(exchange: Exchange, min_nonce: int, sender: int = MAKER) -> Transaction:
    return exchange.chain.transact(exchange.market, "cancel_all", min_nonce, sender=sender)


def min_nonce(exchange: Exchange, trader: int) -> int:
    return int(exchange.chain.call(exchange.market, "min_nonce", exchange.chain.address(trader)))


def digest(exchange: Exchange, order: Order) -> bytes:
    return exchange.digest(order)


def filled(exchange: Exchange, order: Order) -> int:
    return int(exchange.chain.call(exchange.market, "filled", digest(exchange, order)))


class TestCancel:
    def test_stops_an_order_for_good(self, exchange_everywhere: ExchangeFactory, refused: Refused) -> None:
        exchange = funded(exchange_everywhere())
        order, signature = opened(exchange)

        transaction = cancel(exchange, order)

        (log,) = transaction.logs
        maker = exchange.chain.address(MAKER)
        assert (log.name, log.fields) == ("OrderCancelled", {"order_hash": digest(exchange, order), "maker": maker})
        assert filled(exchange, order) == CANCELLED
        for size in (1, WAD, 10 * WAD):
            with refused(exchange, "order: cancelled", order):
                exchange.take(TAKER, order, signature, size)

    def test_keeps_what_was_filled(self, exchange: ExchangeFactory, refused: Refused) -> None:
        made = funded(exchange())
        order, signature = opened(made)
        made.take(TAKER, order, signature, 4 * WAD)
        before = made.account(MAKER)
        cancel(made, order)
        assert made.account(MAKER) == before
        with refused(made, "order: cancelled", order):
            made.take(TAKER, order, signature, 1)

    @pytest.mark.parametrize("size", [4 * WAD, 10 * WAD])
    def test_twice_is_once(self, exchange: ExchangeFactory, refused: Refused, size: int) -> None:
        made = funded(exchange())
        order, signature = opened(made)
        made.take(TAKER, order, signature, size)
        cancel(made, order)
        cancel(made, order)
        assert filled(made, order) == CANCELLED
        with refused(made, "order: cancelled", order):
            made.take(TAKER, order, signature, 1)

    @pytest.mark.parametrize("sender", [TAKER, STRANGER])
    def test_is_for_the_maker(self, exchange: ExchangeFactory, refused: Refused, sender: int) -> None:
        made = funded(exchange())
        order, signature = opened(made)
        with refused(made, "order: caller is not the maker", order):
            cancel(made, order, sender)
        made.take(TAKER, order, signature, 10 * WAD)

    def test_touches_no_other_order(self, exchange: ExchangeFactory) -> None:
        """An order that differs in anything is another order."""
        made = funded(exchange())
        order, signature = opened(made)
        cancel(made, Order(**{**vars(order), "salt": order.salt + 1}))
        cancel(made, Order(**{**vars(order), "size": order.size - 1}))
        made.take(TAKER, order, signature, 10 * WAD)
        assert filled(made, order) == 10 * WAD

    def test_needs_neither_price_nor_life(self, exchange: ExchangeFactory) -> None:
        """A dead oracle, an expired order and a raised nonce are no reason to keep an order alive."""
        made = funded(exchange())
        order, _ = opened(made)
        cancel_all(made, 1)
        made.chain.advance(30 * 86_400)
        cancel(made, order)
        assert filled(made, order) == CANCELLED


class TestCancelAll:
    def test_below_the_nonce_and_not_at_it(self, exchange_everywhere: ExchangeFactory, refused: Refused) -> None:
        exchange = funded(exchange_everywhere())
        orders = {nonce: opened(exchange, nonce=nonce) for nonce in (0, 6, 7, 8)}

        transaction = cancel_all(exchange, 7)

        (log,) = transaction.logs
        assert (log.name, log.fields) == ("NonceRaised", {"maker": exchange.chain.address(MAKER), "min_nonce": 7})
        assert min_nonce(exchange, MAKER) == 7
        for nonce, (order, signature) in orders.items():
            if nonce < 7:
                with refused(exchange, "order: nonce too low", order):
                    exchange.take(TAKER, order, signature, WAD)
            else:
                exchange.take(TAKER, order, signature, WAD)
                assert filled(exchange, order) == WAD

    @pytest.mark.parametrize("again", [0, 6, 7])
    def test_must_rise(self, exchange: ExchangeFactory, refused: Refused, again: int) -> None:
        made = funded(exchange())
        cancel_all(made, 7)
        with refused(made, "order: nonce too low"):
            cancel_all(made, again)
        cancel_all(made, 8)
        assert min_nonce(made, MAKER) == 8

    def test_first_must_rise_above_zero(self, exchange: ExchangeFactory, refused: Refused) -> None:
        made = funded(exchange())
        with refused(made, "order: nonce too low"):
            cancel_all(made, 0)

    def test_concerns_the_caller_alone(self, exchange: ExchangeFactory) -> None:
        made = funded(exchange())
        order, signature = opened(made)
        cancel_all(made, 7, sender=TAKER)
        cancel_all(made, 7, sender=STRANGER)
        assert min_nonce(made, MAKER) == 0
        made.take(TAKER, order, signature, 10 * WAD)

    def test_up_to_the_largest_of_64_bits(self, exchange: ExchangeFactory, refused: Refused) -> None:
        """Orders of a nonce beyond, which is the maker's business, can be cancelled one by one."""
        made = funded(exchange())
        cancel_all(made, 2**64 - 1)
        assert min_nonce(made, MAKER) == 2**64 - 1
        order, signature = opened(made, nonce=2**64 - 2)
        with refused(made, "order: nonce too low", order):
            made.take(TAKER, order, signature, WAD)
        for nonce in (2**64 - 1, 2**64, 2**256 - 1):
            order, signature = opened(made, nonce=nonce)
            made.take(TAKER, order, signature, WAD)
            cancel(made, order)
            with refused(made, "order: cancelled", order):
                made.take(TAKER, order, signature, WAD)

    @pytest.mark.parametrize("beyond", [2**64, 2**64 + 5, 2**128, 2**256 - 1])
    def test_not_beyond(self, exchange: ExchangeFactory, refused: Refused, beyond: int) -> None:
        """Nor does it wrap."""
        made = funded(exchange())
        for before in (0, 4, 2**64 - 1):
            if before:
                cancel_all(made, before)
            with refused(made, "packing: out of range"):
                cancel_all(made, beyond)
            assert min_nonce(made, MAKER) == before

    def test_outlives_all_that_happens_to_the_account(self, exchange: ExchangeFactory, refused: Refused) -> None:
        """It shares a word with the position: opened, turned over, closed, emptied, closed by its bucket."""
        made = exchange(fee_rate=0)
        made.deposit(TAKER, 100_000 * WAD)
        cancel_all(made, 7)

        def holds(shares: int) -> None:
            assert min_nonce(made, MAKER) == 7
            assert made.account(MAKER).shares == shares
            order, signature = opened(made, nonce=6)
            with refused(made, "order: nonce too low", order):
                made.take(TAKER, order, signature, WAD)

        holds(0)
        made.deposit(MAKER, 1000 * WAD)
        holds(0)
        for is_long, size, after in ((True, WAD, WAD), (False, 3 * WAD, 2 * WAD), (True, 2 * WAD, 0)):
            made.trade(MAKER, TAKER, is_long, size, MARK, nonce=7)
            holds(after)
        made.withdraw(MAKER, made.account(MAKER).equity)
        holds(0)
        made.deposit(TAKER, 60 * WAD, to=MAKER)
        holds(0)
        made.trade(MAKER, TAKER, True, WAD, MARK, nonce=8)
        holds(WAD)
        made.set_price(900 * WAD)
        made.settle()
        holds(0)
        assert made.account(MAKER).equity == 0
        made.deposit(TAKER, 100 * WAD, to=MAKER)
        holds(0)

    def test_may_be_raised_at_any_time(self, exchange: ExchangeFactory) -> None:
        """With a position, after its bucket was closed, and when it is over: nothing else of the account changes."""
        made = exchange(fee_rate=0)
        made.deposit(TAKER, 100_000 * WAD)
        made.deposit(MAKER, 60 * WAD)
        raised = 0

        def raise_it() -> None:
            nonlocal raised
            raised += 1
            before = made.account(MAKER)
            cancel_all(made, raised)
            assert (made.account(MAKER), min_nonce(made, MAKER)) == (before, raised)

        raise_it()
        made.trade(MAKER, TAKER, True, WAD, MARK, nonce=raised)
        raise_it()
        made.set_price(900 * WAD)
        made.settle()
        assert made.account(MAKER).equity == 0
        raise_it()
        made.deposit(MAKER, 60 * WAD)
        raise_it()
        assert made.account(MAKER).equity == 60 * WAD
        made.trade(MAKER, TAKER, True, WAD // 2, 900 * WAD, nonce=raised)
        raise_it()
        assert made.account(MAKER).shares > 0

    def test_a_partly_filled_order_stays_as_it_is(self, exchange: ExchangeFactory, refused: Refused) -> None:
        made = funded(exchange())
        order, signature = opened(made)
        made.take(TAKER, order, signature, WAD)
        cancel_all(made, 1)
        with refused(made, "order: nonce too low", order):
            made.take(TAKER, order, signature, WAD)
        assert filled(made, order) == WAD


def test_nobody_cancels_for_the_zero_address(exchange: ExchangeFactory, refused: Refused) -> None:
    made = exchange()
    order = Order(ZERO_ADDRESS, True, WAD, MARK, expiry=made.chain.now + 100)
    with refused(made, "order: caller is not the maker", order):
        cancel(made, order)
