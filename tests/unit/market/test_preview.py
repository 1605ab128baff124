"""preview_settlement(price): the loss curve, live. What it says is what a settlement does, to the wei."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import fields, replace
from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from prorata.chain import Reverted
from prorata.exchange import Exchange
from prorata.receipts import Receipt, receipts_in
from prorata.twin import Twin
from prorata.units import LONG, MAX_PRICE, MIN_PRICE, SHORT, WAD, from_wad
from tests.moves import travel

TwinFactory = Callable[..., Twin]
ExchangeFactory = Callable[..., Exchange]
Refused = Callable[..., AbstractContextManager[None]]

A, B, C, D, E, RICH = range(1, 7)
MARK = 1000 * WAD
SAME_MARKET = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
#: Fields of a receipt that a preview states, in its order.
STATED = [field.name for field in fields(Receipt)]
STATED = STATED[STATED.index("gross") : STATED.index("open_interest") + 1]


def populate(market: Twin | Exchange, unit: int = 1) -> None:
    """Longs and shorts at many leverages, some neighbours in one bucket, and a little insurance."""
    market.insure(*((100 * WAD,) if isinstance(market, Twin) else (0, 100 * WAD)))
    market.deposit(RICH, 10**6 * WAD)
    for trader, collateral, size, is_long in (
        (A, 60 * WAD, WAD, True),
        (B, 130 * WAD + 7 * unit, 2 * WAD + 11, True),
        (C, 500 * WAD, 3 * WAD // 2, True),
        (D, 60 * WAD, WAD, False),
        (E, 900 * WAD, 5 * WAD, False),
    ):
        market.deposit(trader, collateral)
        market.trade(trader, RICH, is_long, size, MARK)


def stated(receipt: Receipt) -> tuple[int, ...]:
    return tuple(getattr(receipt, name) for name in STATED)


def settled(exchange: Exchange, price: int) -> tuple[int, ...]:
    """The receipt of a real settlement to that price, which is then undone."""
    with exchange.chain.anchor():
        exchange.set_price(price)
        (receipt,) = receipts_in(exchange.settle().logs)
        assert receipt.mark_after == price
        return stated(receipt)


@pytest.fixture
def crowd(exchange: ExchangeFactory) -> Iterator[Exchange]:
    """One market for all examples of a property; each example leaves it as it was."""
    made = exchange()
    populate(made)
    yield made


def test_states_nine_numbers(crowd: Exchange) -> None:
    assert STATED == [
        "gross",
        "deficit",
        "covered",
        "surplus",
        "bonus",
        "adl_shortfall",
        "closed_size",
        "buckets_closed",
        "open_interest",
    ]
    assert len(crowd.preview(MARK - 1)) == len(STATED)


@given(price=st.integers(MARK // 2, MARK * 3 // 2).filter(lambda price: price != MARK))
@example(price=MARK - 1)
@example(price=MARK + 1)
@example(price=945 * WAD)
@example(price=900 * WAD)
@example(price=MARK // 2)
@example(price=1055 * WAD)
@example(price=1100 * WAD)
@example(price=MARK * 3 // 2)
@SAME_MARKET
def test_is_the_receipt_of_the_settlement(crowd: Exchange, price: int) -> None:
    assert crowd.preview(price) == settled(crowd, price)


@given(path=st.lists(st.integers(900, 1100), min_size=1, max_size=4), part=st.integers(-WAD // 2, WAD // 2))
@SAME_MARKET
def test_is_the_receipt_from_any_state(crowd: Exchange, path: list[int], part: int) -> None:
    """After moves that closed, deleveraged and ended whatever they did."""
    with crowd.chain.anchor():
        for mark in path:
            crowd.set_price(mark * WAD)
            crowd.settle()
        price = crowd.mark + crowd.mark * part // WAD
        if price != crowd.mark:
            assert crowd.preview(price) == settled(crowd, price)


@pytest.mark.parametrize("percent", [1, 20, 49, 151, 200, 320, 5000])
def test_of_a_move_that_no_settlement_makes_at_once(twin: TwinFactory, percent: int) -> None:
    """It knows no limit of a step, so the eager model without one is its judge."""
    market = twin()
    populate(market)
    price = MARK * percent // 100
    model = market.model.copy()
    model.parameters = replace(model.parameters, max_price_step=10**6 * WAD)
    model.observe(from_wad(price), market.exchange.chain.now)
    model.settle()
    outcome = model.outcomes[-1]
    assert outcome.mark_after * WAD == price
    preview = dict(zip(STATED, market.exchange.preview(price), strict=True))
    assert preview["buckets_closed"] == outcome.buckets_closed
    for name in ("gross", "deficit", "covered", "surplus", "bonus", "adl_shortfall", "closed_size"):
        assert abs(preview[name] - getattr(outcome, name) * WAD) <= 10, name
    assert sum(preview[name] for name in ("bonus", "adl_shortfall")) == 0  # the mark arrives


def test_in_each_evm(twin_everywhere: TwinFactory) -> None:
    market = twin_everywhere()
    populate(market, market.exchange.unit)
    for price in (990, 944, 920, 1060, 1300, 700):
        preview = market.exchange.preview(price * WAD)
        market.set_price(price * WAD)
        (receipt,) = receipts_in(market.settle().logs)
        assert preview == stated(receipt)


def test_worked_out_by_hand(exchange: ExchangeFactory) -> None:
    """One long of 60 and one of 400, insured with 50: at 900 40 are missing, 25 of them covered."""
    made = exchange(fee_rate=0)
    made.insure(0, 50 * WAD)
    made.deposit(RICH, 10**6 * WAD)
    for trader, collateral in ((A, 60), (B, 400)):
        made.deposit(trader, collateral * WAD)
        made.trade(trader, RICH, True, WAD, MARK)
    gross, deficit, covered, surplus, bonus, shortfall, closed_size, buckets, open_interest = made.preview(900 * WAD)
    assert (gross, covered) == (200 * WAD, 25 * WAD)
    assert 40 * WAD <= deficit <= 40 * WAD + 2
    assert (surplus, bonus, shortfall, closed_size, buckets, open_interest) == (0, 0, 0, WAD, 1, WAD)
    # Where nobody fails: a receipt of a hundred times zero but for gross. Where A fails early: something is left.
    assert made.preview(990 * WAD) == (20 * WAD, 0, 0, 0, 0, 0, 0, 0, 2 * WAD)
    gross, deficit, covered, surplus, *_ = made.preview(945 * WAD)
    assert (gross, deficit, covered) == (110 * WAD, 0, 0)
    assert 5 * WAD - 2 <= surplus <= 5 * WAD


def test_is_monotonic_where_it_must_be(crowd: Exchange) -> None:
    """Further down, the longs lose more, can pay less of it, and fewer are left."""
    curve = [dict(zip(STATED, crowd.preview(price * WAD), strict=True)) for price in range(999, 10, -7)]
    for nearer, further in pairwise(curve):
        assert further["gross"] > nearer["gross"]
        assert further["deficit"] >= nearer["deficit"]
        assert further["covered"] >= nearer["covered"]
        assert further["closed_size"] >= nearer["closed_size"]
        assert further["buckets_closed"] >= nearer["buckets_closed"]
        assert further["open_interest"] <= nearer["open_interest"]
        assert further["closed_size"] + further["open_interest"] == crowd.side(LONG).open_interest
    assert curve[-1]["closed_size"] > 0 < curve[-1]["deficit"]


def test_knows_no_budget(exchange: ExchangeFactory) -> None:
    """The same crowd with a budget of one bucket: its settlement stops, its preview does not."""
    small, large = exchange(max_buckets=1, max_words=72), exchange(max_buckets=128, max_words=320)
    for made in (small, large):
        populate(made)
    for price in (900 * WAD, 500 * WAD, 1300 * WAD):
        assert small.preview(price) == settled(large, price)
        with small.chain.anchor():
            small.set_price(price)
            (receipt,) = receipts_in(small.settle().logs)
            assert receipt.mark_after != price
            assert stated(receipt) != small.preview(price)


def test_of_the_rest_of_a_stopped_move(exchange: ExchangeFactory) -> None:
    """During catch-up it starts from the mark where the market stands."""
    made = exchange(max_buckets=1)
    populate(made)
    made.set_price(600 * WAD)
    made.settle()
    made.settle()
    assert made.mark > 600 * WAD
    preview = made.preview(600 * WAD)
    (receipt,) = receipts_in(made.settle().logs)
    assert (receipt.mark_after, receipt.buckets_closed) == (600 * WAD, 1)
    assert preview == stated(receipt)


def test_changes_nothing(crowd: Exchange, state: Callable[[Exchange], dict[str, Any]]) -> None:
    before = state(crowd)
    for price in (MIN_PRICE, 900 * WAD, MARK, 1100 * WAD, 20 * MARK):
        first = crowd.preview(price)
        # Sent as a transaction it does not change anything either, and no event says it did.
        assert crowd.chain.transact(crowd.market, "preview_settlement", price, sender=A).logs == []
        assert crowd.preview(price) == first
    assert state(crowd) == before


def test_of_the_present_mark_is_nothing(crowd: Exchange) -> None:
    open_interest = crowd.side(SHORT).open_interest
    assert crowd.preview(MARK) == (0, 0, 0, 0, 0, 0, 0, 0, open_interest)


class TestTwoReceipts:
    """Funding that is due, and after it the price: what the next settlement does in its second."""

    def indebted(self, factory: TwinFactory, is_long: bool, **parameters: int) -> Twin:
        """A and B on the paying side, some seven dollars from their close-out, C sixty, and a premium of a hundredth of
        the mark a unit; almost all of it is due half a minute later."""
        market = factory(fee_rate=WAD // 100, max_funding=WAD // 100, premium_retention=WAD * 3 // 4, **parameters)
        sign = 1 if is_long else -1
        market.deposit(RICH, 10**6 * WAD)
        for trader, collateral in ((A, 60), (B, 61), (C, 110), (D, 800)):
            market.deposit(trader, collateral * WAD)
            market.trade(trader, RICH, is_long, WAD, MARK)
        mark = MARK - sign * 33 * WAD
        market.set_price(mark)
        market.settle()
        market.deposit(E, 10**4 * WAD)
        # What a fill leaves is at most its fees, 2 % of ten units; what stays of it, at most 1 % of all fourteen.
        market.trade(E, RICH, is_long, 10 * WAD, mark + sign * mark // 20)
        assert abs(market.exchange.core.premium) == 14 * mark // 100
        assert all(market.exchange.account(trader).shares for trader in (A, B, C, D, E))
        market.exchange.chain.advance(30)
        return market

    def foreseen(self, market: Twin, price: int) -> tuple[tuple[int, ...], ...]:
        """Both receipts as previewed in the second in which the next transaction is mined."""
        with market.exchange.chain.anchor():
            market.exchange.chain.advance(1)
            return tuple(
                tuple(receipt)
                for receipt in market.exchange.chain.call(market.exchange.market, "preview_settlement", price)
            )

    @pytest.mark.parametrize("is_long", [True, False])
    @pytest.mark.parametrize("factor", [Fraction("0.6"), Fraction("0.95"), Fraction("1.07"), Fraction("1.5")])
    def test_are_the_receipts_of_the_settlement(self, twin: TwinFactory, is_long: bool, factor: Fraction) -> None:
        market = self.indebted(twin, is_long)
        price = int(market.exchange.mark * factor)
        market.set_price(price)
        foreseen = self.foreseen(market, price)
        receipts = receipts_in(market.settle().logs)
        assert [receipt.funding for receipt in receipts] == [True, False]
        assert foreseen == tuple(stated(receipt) for receipt in receipts)
        # Funding closes some, and what it has closed the price does not close again, on the payers' side or the other.
        assert receipts[0].buckets_closed == 2
        assert receipts[0].loser == (LONG if is_long else SHORT)
        assert receipts[1].buckets_closed == ((factor < 1) == is_long)  # C

    def test_funding_alone_at_the_mark(self, twin: TwinFactory) -> None:
        market = self.indebted(twin, True)
        funding, price = self.foreseen(market, market.exchange.mark)
        market.set_price(market.exchange.mark)
        with market.exchange.chain.anchor():
            assert tuple(market.exchange.preview_funding()) != (0,) * len(STATED)
        assert funding[STATED.index("buckets_closed")] == 2
        amounts = price[: STATED.index("open_interest")]
        assert amounts == (0,) * len(amounts)
        closed = funding[STATED.index("closed_size")]
        assert 0 <= market.exchange.side(SHORT).open_interest - closed - price[-1] <= 14  # a scale has 18 digits

    def test_the_rest_of_funding_that_was_stopped(self, twin: TwinFactory) -> None:
        market = self.indebted(twin, True, max_buckets=1)
        price = market.exchange.mark * 95 // 100
        market.set_price(price)
        (first,) = receipts_in(market.settle().logs)
        assert (first.funding, first.buckets_closed, market.exchange.core.lagging) == (True, 1, True)
        foreseen = self.foreseen(market, price)
        second = receipts_in(market.settle().logs)[0]
        assert (second.funding, second.buckets_closed) == (True, 1)
        assert foreseen[0] == stated(second)

    def test_without_a_premium_the_first_is_empty(self, crowd: Exchange) -> None:
        crowd.chain.advance(100)
        first = crowd.preview_funding()
        assert first[: STATED.index("open_interest")] == (0,) * STATED.index("open_interest")


class TestEveryState:
    def test_without_positions(self, exchange: ExchangeFactory) -> None:
        made = exchange()
        for price in (MIN_PRICE, MARK, MAX_PRICE):
            assert made.preview(price) == (0,) * len(STATED)

    def test_after_an_epoch(self, exchange: ExchangeFactory) -> None:
        made = exchange()
        for trader in (A, B):
            made.deposit(trader, 1000 * WAD)
        made.trade(A, B, True, 2 * WAD, MARK)
        travel(made, MARK // 4)
        assert made.epoch == 1
        for price in (MIN_PRICE, MARK, MAX_PRICE):
            assert made.preview(price) == (0,) * len(STATED)

    @pytest.mark.parametrize("answer", [0, -5, MAX_PRICE + 1, 900 * WAD])
    def test_while_the_price_is_refused(self, crowd: Exchange, answer: int) -> None:
        before = crowd.preview(900 * WAD)
        crowd.chain.transact(crowd.feed, "set_round", 9, answer, crowd.chain.now, 9, sender=0)
        crowd.chain.advance(30 * 86_400)
        with pytest.raises(Reverted):
            crowd.settle()
        assert crowd.preview(900 * WAD) == before

    def test_does_not_care_where_the_oracle_is(self, crowd: Exchange) -> None:
        before = crowd.preview(900 * WAD)
        crowd.set_price(2 * MARK)
        assert crowd.preview(900 * WAD) == before

    def test_with_insurance_drawn_in_the_present_window(self, exchange: ExchangeFactory) -> None:
        """What is left of the window's cap is what a preview counts on."""
        made = exchange(draw_window=1000)
        populate(made)
        made.set_price(900 * WAD)
        made.settle()
        drawn = made.chain.call(made.vault, "window_drawn")
        assert drawn > 0
        for seconds in (0, 2000):
            made.chain.advance(seconds)
            made.set_price(900 * WAD)
            preview = made.preview(500 * WAD)
            assert preview == settled(made, 500 * WAD)
        # The window is over: more is covered than before.
        assert preview[2] > 0


@pytest.mark.parametrize("price", [0, MIN_PRICE - 1, MAX_PRICE + 1, 2**256 - 1])
def test_refuses_a_price_that_cannot_be(crowd: Exchange, refused: Refused, price: int) -> None:
    with refused(crowd, "oracle: price out of range"):
        crowd.preview(price)


@pytest.mark.parametrize("price", [MIN_PRICE, MAX_PRICE])
def test_works_to_the_edge_of_the_range(crowd: Exchange, price: int) -> None:
    receipt = dict(zip(STATED, crowd.preview(price), strict=True))
    loser = crowd.side(LONG if price < MARK else SHORT)
    assert receipt["closed_size"] == loser.open_interest - receipt["open_interest"] > 0
    assert receipt["gross"] == -(-loser.shares * abs(price - MARK) // WAD)


def test_reaches_accounts_however_far_away(exchange: ExchangeFactory) -> None:
    """A short with 11 million of collateral for a notional of 1000 lives to a price of 11,000 times its own. At 13,000
    times it has lost more than it had, and the bucket that fails lies some 68,000 bitmap words away."""
    mark, size = WAD // 1000, 10**6 * WAD
    made = exchange(mark=mark, fee_rate=0)
    made.deposit(A, 60 * WAD)
    made.deposit(B, 11 * 10**6 * WAD)
    made.deposit(RICH, 10**6 * WAD)
    for trader in (A, B):
        made.trade(trader, RICH, False, size, mark)
    price = 13_000 * mark
    lost = size * (price - mark) // WAD
    assert lost > 12 * 10**6 * WAD
    receipt = dict(zip(STATED, made.preview(price), strict=True))
    assert receipt["gross"] == 2 * lost
    assert receipt["closed_size"] == 2 * size
    assert 0 <= receipt["deficit"] - (2 * lost - (11 * 10**6 + 60) * WAD) <= 3  # debts are rounded up
