"""Funding: who pays whom, how much, when, and never more than a fill's own fees. Numbers are worked out by hand."""

from __future__ import annotations

import random
from collections.abc import Callable
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any, ClassVar

import pytest

from prorata.chain import Reverted, Transaction
from prorata.exchange import Exchange
from prorata.receipts import Receipt, receipts_in
from prorata.twin import MAX_DUST, Twin
from prorata.units import INDEX_UNIT, LONG, SHORT, WAD
from tests import figures

TwinFactory = Callable[..., Twin]
ExchangeFactory = Callable[..., Exchange]

A, B, C, D, RICH, RICHER, KEEPER, STRANGER = range(1, 9)
MARK = 1000 * WAD
PERCENT = WAD // 100
HOUR, DAY = 3600, 86_400
RETENTION = WAD - WAD // 28_800
#: A quarter of a per cent from each party, so that a fill half a per cent off the mark is not cut.
FUNDED = {"fee_rate": WAD // 400, "max_funding": PERCENT, "max_staleness": 10**9}

both_signs = pytest.mark.parametrize("sign", [1, -1], ids=["above", "below"])


def same_block(market: Twin | Exchange) -> None:
    """The next transaction is in the block of the last one."""
    exchange_of(market).chain.advance(-1)


def next_at(market: Twin | Exchange, timestamp: int) -> None:
    """The next transaction is in a block of that second."""
    chain = exchange_of(market).chain
    chain.advance(timestamp - chain.now - 1)


def exchange_of(market: Twin | Exchange) -> Exchange:
    return market.exchange if isinstance(market, Twin) else market


def retained(seconds: int) -> Fraction:
    """What is left of a premium of one, to 80 digits."""
    with localcontext() as context:
        context.prec = 80
        return Fraction((Decimal(RETENTION) / WAD) ** seconds)


def settle(market: Twin) -> Receipt:
    """Settle: the one receipt."""
    (receipt,) = receipts_in(market.settle().logs)
    return receipt


def settle_at(market: Twin, price: int) -> Receipt:
    """A price and its settlement in the block of the last transaction: the one receipt."""
    same_block(market)
    market.set_price(price)
    same_block(market)
    return settle(market)


def equities(market: Twin | Exchange) -> list[int]:
    return [exchange_of(market).account(trader).equity for trader in range(1, 9)]


def funded(market: Twin, interest: int = 10) -> None:
    """RICH long against RICHER, `interest` units, at the mark: no premium yet."""
    for trader in range(1, 9):
        market.deposit(trader, 10**5 * WAD)
    market.trade(RICH, RICHER, True, interest * WAD, exchange_of(market).mark)


def fees_of(transaction: Transaction) -> int:
    """What the two parties of a fill really paid."""
    (traded,) = (log.fields for log in transaction.logs if log.name == "Traded")
    return int(traded["maker_fee"] + traded["taker_fee"])


def premium(market: Twin | Exchange) -> int:
    return exchange_of(market).core.premium


# ------------------------------------------------------------------------------------------------------- who, how much


class TestSign:
    @both_signs
    @pytest.mark.parametrize("maker_is_long", [True, False])
    def test_buyers_above_the_mark_make_longs_pay(self, each_twin: TwinFactory, sign: int, maker_is_long: bool) -> None:
        """And below it shorts; whether the maker or the taker was the buyer is nobody's business."""
        market = each_twin(**FUNDED)
        funded(market)
        market.trade(A, B, maker_is_long, 2 * WAD, MARK + sign * WAD)
        assert premium(market) == sign * 2 * WAD
        before = equities(market)
        market.exchange.chain.advance(HOUR)
        receipt = settle(market)
        after = equities(market)
        assert (receipt.loser, receipt.funding) == (LONG if sign > 0 else SHORT, True)
        longs, shorts = ((A, B) if maker_is_long else (B, A)), (RICH, RICHER)
        for long, short in (longs, shorts):
            assert sign * (after[long - 1] - before[long - 1]) < 0
            assert sign * (after[short - 1] - before[short - 1]) > 0
        for bystander in (C, D):
            assert after[bystander - 1] == before[bystander - 1]

    def test_at_the_mark_nobody_pays(self, twin: TwinFactory) -> None:
        market = twin(**FUNDED)
        funded(market)
        market.exchange.chain.advance(DAY)
        assert market.settle().logs == []
        assert premium(market) == 0

    def test_at_the_mark_no_clock_starts(self, exchange: ExchangeFactory) -> None:
        """And the word that holds it need not be written."""
        market = exchange(**FUNDED)
        since = market.core.accrued_at
        for trader in (RICH, RICHER):
            market.deposit(trader, 10**6 * WAD)
        market.trade(RICH, RICHER, True, WAD, MARK)
        assert market.core.accrued_at == since < market.chain.now


class TestAmount:
    @both_signs
    @pytest.mark.parametrize("seconds", [1, 60, HOUR, 28_800, 3 * DAY])
    def test_by_hand(self, each_twin: TwinFactory, sign: int, seconds: int) -> None:
        """Two units at one above the mark leave 2; of that (1 - retention**t) is paid over 12 units."""
        market = each_twin(**FUNDED)
        funded(market)
        filled = market.trade(A, B, True, 2 * WAD, MARK + sign * WAD)
        before = equities(market)
        next_at(market, filled.timestamp + seconds)
        receipt = settle(market)
        paid = 2 * WAD * (1 - retained(seconds))
        assert abs(receipt.gross - paid) <= 2
        assert abs(premium(market) - sign * (2 * WAD - paid)) <= 1
        # A and RICH are long with 2 and 10 units of 12, B and RICHER short: against everyone's favour by 2 wei at most.
        for trader, units in ((A, -2), (RICH, -10), (B, 2), (RICHER, 10)):
            change = market.exchange.account(trader).equity - before[trader - 1]
            expected = sign * paid * units / 12
            assert expected - 3 <= change <= expected + 2  # a wei of premium more may have decayed
        assert (receipt.deficit, receipt.surplus, receipt.closed_size, receipt.buckets_closed) == (0, 0, 0, 0)
        assert receipt.open_interest == 12 * WAD

    @both_signs
    def test_decays(self, twin: TwinFactory, sign: int) -> None:
        market = twin(**FUNDED)
        funded(market)
        market.trade(A, B, True, 2 * WAD, MARK + sign * WAD)
        paid, last = 0, None
        for _ in range(12):
            market.exchange.chain.advance(28_799)
            gross = settle(market).gross
            paid += gross
            if last:
                assert abs(gross / last - 0.3678) < 1e-3  # e times less every eight hours
            last = gross
        assert paid <= 2 * WAD + 12  # all of it, and never more; receipts round up
        assert paid + sign * premium(market) >= 2 * WAD - 12
        assert abs(premium(market)) < 2 * WAD // 10**5

    def test_by_notional_against_open_interest(self, twin: TwinFactory) -> None:
        """The same fill moves a quarter as much per unit when there are four times as many units."""
        changes = []
        for interest in (8, 38):
            market = twin(**FUNDED)
            funded(market, interest)
            market.trade(A, B, True, 2 * WAD, MARK + WAD)
            before = market.exchange.account(A).equity
            market.exchange.chain.advance(HOUR - 1)
            settle(market)
            changes.append(before - market.exchange.account(A).equity)
        assert abs(changes[0] - 4 * changes[1]) <= 8

    @pytest.mark.parametrize("price", [1001, 1050, 999, 950])
    def test_a_dust_fill_moves_dust(self, twin: TwinFactory, price: int) -> None:
        """The smallest fill there is, as far off the mark as the band allows: its fees at most, among everybody."""
        market = twin(**FUNDED)
        funded(market, 1000)
        filled = market.trade(A, B, True, WAD // 1000 * 11 // 10, price * WAD)
        fees = fees_of(filled)
        assert fees < WAD // 100
        assert abs(premium(market)) <= fees
        before = equities(market)
        market.exchange.chain.advance(30 * DAY)
        assert settle(market).gross <= fees
        assert all(abs(x - y) <= fees for x, y in zip(equities(market), before, strict=True))

    def test_how_often_one_settles_does_not_matter(self, twin: TwinFactory) -> None:
        outcomes = []
        for pause in (60, 8 * HOUR):
            market = twin(**FUNDED)
            funded(market)
            filled = market.trade(A, B, True, 2 * WAD, MARK + WAD)
            before = market.exchange.account(RICH).equity
            for elapsed in range(pause, 8 * HOUR + 1, pause):
                next_at(market, filled.timestamp + elapsed)
                market.settle()
            outcomes.append((before - market.exchange.account(RICH).equity, premium(market)))
        (often, left_often), (once, left_once) = outcomes
        assert once > WAD  # ten twelfths of 1.26
        assert abs(often - once) <= once // 10**9
        assert abs(left_often - left_once) <= left_once // 10**9


class TestTime:
    def test_settled_in_its_own_second_a_fill_moves_nothing(self, twin: TwinFactory) -> None:
        market = twin(**FUNDED)
        funded(market)
        market.trade(A, B, True, 2 * WAD, MARK + WAD)
        before = equities(market)
        same_block(market)
        assert market.settle().logs == []
        assert equities(market) == before
        assert premium(market) == 2 * WAD

    @both_signs
    def test_mirrored_in_the_same_second_it_never_does(self, twin: TwinFactory, sign: int) -> None:
        market = twin(**FUNDED)
        funded(market)
        market.trade(A, B, True, 2 * WAD, MARK + sign * WAD)
        same_block(market)
        market.trade(A, B, False, 2 * WAD, MARK - sign * WAD)
        assert premium(market) == 0
        before = equities(market)
        market.exchange.chain.advance(DAY)
        assert market.settle().logs == []
        assert equities(market) == before

    @both_signs
    def test_mirrored_later_only_its_time_counts(self, twin: TwinFactory, sign: int) -> None:
        market = twin(**FUNDED)
        funded(market)
        filled = market.trade(A, B, True, 2 * WAD, MARK + sign * WAD)
        next_at(market, filled.timestamp + HOUR)
        mirrored = market.trade(A, B, False, 2 * WAD, MARK - sign * WAD)
        (receipt,) = receipts_in(mirrored.logs)
        paid = 2 * WAD * (1 - retained(HOUR))
        assert abs(receipt.gross - paid) <= 2
        # What stood for no time yet is the other way round and larger by what was paid.
        assert abs(premium(market) + sign * paid) <= 1

    def test_closed_in_the_same_second_it_never_does(self, twin: TwinFactory) -> None:
        """The only two positions of a market: nobody is left to pay."""
        market = twin(**FUNDED)
        for trader in (A, B):
            market.deposit(trader, 10**4 * WAD)
        market.trade(A, B, True, 2 * WAD, MARK + WAD)
        same_block(market)
        market.trade(A, B, False, 2 * WAD, MARK + WAD)
        assert premium(market) == 0
        market.exchange.chain.advance(DAY)
        assert market.settle().logs == []

    def test_time_before_a_fill_does_not_count(self, twin: TwinFactory) -> None:
        market = twin(**FUNDED)
        funded(market)
        market.exchange.chain.advance(30 * DAY)
        filled = market.trade(A, B, True, 2 * WAD, MARK + WAD)
        next_at(market, filled.timestamp + 60)
        assert abs(settle(market).gross - 2 * WAD * (1 - retained(60))) <= 2

    def test_two_fills_each_for_their_own_time(self, twin: TwinFactory) -> None:
        market = twin(**FUNDED)
        funded(market)
        first = market.trade(A, B, True, 2 * WAD, MARK + WAD)
        next_at(market, first.timestamp + HOUR)
        second = market.trade(C, D, True, 3 * WAD, MARK + 2 * WAD)
        next_at(market, second.timestamp + HOUR)
        market.settle()
        assert abs(premium(market) - 2 * WAD * retained(2 * HOUR) - 6 * WAD * retained(HOUR)) <= 3


# --------------------------------------------------------------------------------------------------------------- limits


class TestBoundByFees:
    @both_signs
    @pytest.mark.parametrize("distance", [4, 5, 6, 50])
    def test_what_both_paid_together(self, twin: TwinFactory, sign: int, distance: int) -> None:
        """2.5 from each party a unit: five off the mark is where the bound begins to bind."""
        market = twin(**FUNDED)
        funded(market)
        filled = market.trade(A, B, True, 2 * WAD, MARK + sign * distance * WAD)
        assert fees_of(filled) == 10 * WAD
        assert premium(market) == sign * min(2 * distance, 10) * WAD

    @both_signs
    def test_of_a_party_that_cannot_pay_all_of_its_fee_only_what_it_pays(self, twin: TwinFactory, sign: int) -> None:
        """A closes with almost nothing left, so half of what his fill could have moved is not moved."""
        market = twin(**FUNDED)
        funded(market)
        is_long = sign < 0  # A's side: closing at the worse price leaves the premium of the other sign
        exchange = market.exchange
        market.withdraw(A, 10**5 * WAD)
        market.deposit(A, 55 * WAD)
        market.trade(A, B, is_long, WAD, MARK)
        mark = MARK + sign * 30 * WAD
        market.set_price(mark)
        market.settle()
        left = exchange.account(A).equity
        price = mark + sign * (left - WAD // 4)
        filled = market.trade(A, B, not is_long, WAD, price)
        (traded,) = (log.fields for log in filled.logs if log.name == "Traded")
        assert traded["maker_fee"] == WAD // 4
        assert traded["taker_fee"] == mark // 400
        assert exchange.account(A).equity == 0
        assert premium(market) == sign * (WAD // 4 + mark // 400)

    def test_free_fills_move_nothing(self, twin: TwinFactory) -> None:
        market = twin(**{**FUNDED, "fee_rate": 0})
        funded(market)
        market.trade(A, B, True, 2 * WAD, MARK + 50 * WAD)
        assert premium(market) == 0


class TestBoundByOpenInterest:
    """At most 0.01 % of the value of what is open: a tenth of a unit of quote a unit."""

    TIGHT: ClassVar[dict[str, Any]] = {**FUNDED, "max_funding": WAD // 10_000}

    def tight(self, twin: TwinFactory, sign: int) -> Twin:
        market = twin(**self.TIGHT)
        funded(market, 8)
        market.trade(A, B, True, 2 * WAD, MARK + sign * WAD)
        return market

    @both_signs
    def test_after_a_fill(self, twin: TwinFactory, sign: int) -> None:
        market = self.tight(twin, sign)
        assert premium(market) == sign * WAD  # 10 units of 1000, of that 0.01 %
        market.trade(A, B, False, WAD, MARK + sign * WAD)
        assert premium(market) == sign * 9 * WAD // 10
        market.trade(C, D, True, 10 * WAD, MARK)  # room alone makes no premium
        assert abs(premium(market)) < 9 * WAD // 10
        market.trade(C, D, True, WAD, MARK + sign * 5 * WAD)
        assert premium(market) == sign * 2 * WAD

    @both_signs
    def test_after_a_move(self, twin: TwinFactory, sign: int) -> None:
        market = self.tight(twin, sign)
        for price in (MARK // 2, MARK * 3 // 4):  # what has gone does not come back
            settle_at(market, price)
            assert premium(market) == sign * WAD // 2

    @both_signs
    def test_after_a_deleverage(self, twin: TwinFactory, sign: int) -> None:
        market = twin(**self.TIGHT)
        funded(market, 6)
        market.withdraw(C, 10**5 * WAD - 300 * WAD)
        market.trade(C, D, True, 4 * WAD, MARK)
        market.trade(A, B, True, 10 * WAD, MARK + sign * 5 * WAD)
        assert premium(market) == sign * 2 * WAD
        assert settle_at(market, 900 * WAD).closed_size == 4 * WAD
        assert abs(premium(market) - sign * 16 * 900 * WAD // 10_000) <= 100

    @both_signs
    def test_nobody_left_nothing_left(self, twin: TwinFactory, sign: int) -> None:
        market = self.tight(twin, sign)
        market.trade(A, B, False, 2 * WAD, MARK + sign * WAD)
        assert premium(market) * sign > 0
        market.trade(RICH, RICHER, False, 8 * WAD, MARK + sign * WAD)
        assert premium(market) == 0
        market.exchange.chain.advance(HOUR)
        market.trade(RICH, RICHER, True, 8 * WAD, MARK)  # and who comes afterwards owes nothing
        market.exchange.chain.advance(HOUR)
        assert market.settle().logs == []

    def test_after_an_epoch_ended(self, twin: TwinFactory) -> None:
        market = twin(**FUNDED)
        market.deposit(A, 60 * WAD)
        market.deposit(RICH, 10**5 * WAD)
        market.trade(A, RICH, True, WAD, MARK + WAD)
        market.set_price(900 * WAD)
        market.settle()
        assert market.exchange.epoch == 1
        assert premium(market) == 0

    def test_after_a_liquidation_that_took_open_interest_away(self, twin: TwinFactory) -> None:
        """A short takes over a long's position, so there is less of both."""
        market = twin(**self.TIGHT)
        funded(market, 2)
        market.withdraw(A, 10**5 * WAD)
        market.deposit(A, 130 * WAD)
        market.trade(A, B, True, 2 * WAD, MARK)
        market.trade(C, D, True, 2 * WAD, MARK + WAD)
        settle_at(market, 956 * WAD)
        bound = 6 * 956 * WAD // 10_000
        assert premium(market) == bound
        same_block(market)
        market.liquidate(B, A)
        interest = market.exchange.side(LONG).open_interest
        assert interest < 6 * WAD - WAD // 2
        assert abs(premium(market) - interest * 956 // 10_000) <= 2

    def test_at_most_that_in_one_settlement(self, twin: TwinFactory) -> None:
        market = self.tight(twin, 1)
        market.exchange.chain.advance(30 * DAY)
        assert settle(market).gross == WAD
        assert premium(market) == 0


class TestOff:
    def test_nothing_ever(self, twin: TwinFactory) -> None:
        market = twin(fee_rate=WAD // 400, max_funding=0, max_staleness=10**9)
        funded(market)
        for sign in (1, -1):
            market.trade(A, B, True, 2 * WAD, MARK + sign * 50 * WAD)
            assert premium(market) == 0
            market.exchange.chain.advance(DAY)
            assert market.settle().logs == []
        market.set_price(900 * WAD)
        assert not settle(market).funding


# ---------------------------------------------------------------------------------------- before price, in bounded work


class TestBeforePrice:
    @both_signs
    @pytest.mark.parametrize("price", [900, 1100])
    def test_a_receipt_of_its_own_at_the_old_mark(self, twin: TwinFactory, sign: int, price: int) -> None:
        market = twin(**FUNDED)
        funded(market)
        market.trade(A, B, True, 2 * WAD, MARK + sign * WAD)
        market.exchange.chain.advance(HOUR)
        market.set_price(price * WAD)
        funding, moved = receipts_in(market.settle().logs)
        assert (funding.funding, moved.funding) == (True, False)
        assert (funding.mark_before, funding.mark_after, funding.index_price) == (MARK, MARK, price * WAD)
        assert (moved.mark_before, moved.mark_after) == (MARK, price * WAD)
        assert funding.loser == (LONG if sign > 0 else SHORT)
        assert moved.loser == (LONG if price < 1000 else SHORT)
        assert moved.gross == 12 * 100 * WAD  # never netted
        assert moved.indices[LONG] - funding.indices[LONG] == (price - 1000) * 10**36

    def test_before_a_fill(self, twin: TwinFactory) -> None:
        """Whoever enters pays nothing for the time before, whoever leaves does."""
        market = twin(**FUNDED)
        funded(market)
        market.trade(A, B, True, 2 * WAD, MARK + WAD)
        market.exchange.chain.advance(30 * DAY)
        before = market.exchange.account(C).equity
        filled = market.trade(C, D, True, WAD, MARK)
        assert receipts_in(filled.logs)[0].funding
        assert 0 <= before - 5 * WAD // 2 - market.exchange.account(C).equity <= 2  # its fee

    def test_before_a_withdrawal(self, twin: TwinFactory) -> None:
        market = twin(**FUNDED)
        funded(market)
        market.trade(A, B, True, 2 * WAD, MARK + WAD)
        market.exchange.chain.advance(30 * DAY)
        (receipt,) = receipts_in(market.withdraw(A, WAD).logs)
        assert receipt.funding

    def test_while_the_price_waits_for_its_interval(self, twin: TwinFactory) -> None:
        market = twin(**FUNDED, max_price_step=PERCENT, step_interval=DAY)
        funded(market)
        market.trade(A, B, True, 2 * WAD, MARK + WAD)
        market.set_price(1100 * WAD)
        market.settle()
        market.exchange.chain.advance(HOUR)
        receipt = settle(market)
        assert (receipt.funding, receipt.mark_before, receipt.mark_after) == (True, 1010 * WAD, 1010 * WAD)


def edge_of(market: Twin | Exchange, trader: int) -> int:
    """The mark at which a long's bucket is closed, if nothing else happens."""
    exchange = exchange_of(market)
    view = exchange.chain.call(exchange.lens, "position", exchange.market.address, exchange.chain.address(trader))
    return int(view[-1])


def cornered(market: Twin, collaterals: dict[int, int], above: int = WAD // 100) -> int:
    """Longs of one unit each, then the mark just above where the first of them is closed; the mark then.

    STRANGER bought 8 units 0.4 % above the mark from RICH, so longs will pay about 3 a unit.
    """
    market.deposit(RICH, 10**6 * WAD)
    market.deposit(STRANGER, 10**5 * WAD)
    for trader, collateral in collaterals.items():
        market.deposit(trader, collateral)
        market.trade(trader, RICH, True, WAD, MARK)
    mark = max(edge_of(market, trader) for trader in collaterals) + above
    market.set_price(mark)
    market.settle_fully()
    market.trade(STRANGER, RICH, True, 8 * WAD, mark * 1004 // 1000)
    assert all(market.exchange.account(trader).shares for trader in collaterals)
    return mark


class TestClosing:
    #: B's bucket lies about a unit below A's, C's another one.
    COLLATERALS: ClassVar[dict[int, int]] = {A: 55 * WAD, B: 56 * WAD, C: 57 * WAD}

    def test_a_bucket(self, twin: TwinFactory) -> None:
        market = twin(**FUNDED)
        mark = cornered(market, {A: 55 * WAD})
        left = market.exchange.account(A).equity
        market.exchange.chain.advance(30 * DAY)
        receipt = settle(market)
        assert (receipt.funding, receipt.mark_after) == (True, mark)
        assert (receipt.closed_size, receipt.buckets_closed, receipt.deficit) == (WAD, 1, 0)
        assert market.exchange.account(A).shares == 0
        # What A could not keep: his equity less what he paid of the funding, to the vault.
        paid = Fraction(receipt.gross, 9)
        assert abs(receipt.surplus - (left - paid)) <= 3
        assert market.exchange.side(SHORT).scale == 8 * WAD // 9
        assert premium(market) == 0

    def test_a_bucket_to_the_wei(self, twin: TwinFactory) -> None:
        """It closes when the threshold passes its edge: the threshold falls by what is paid per unit, no more."""
        for wei, closes in ((0, False), (2, True)):
            market = twin(**FUNDED)
            market.deposit(RICH, 10**6 * WAD)
            market.deposit(STRANGER, 10**5 * WAD)
            market.deposit(A, 55 * WAD)
            market.trade(A, RICH, True, WAD, MARK)
            mark = edge_of(market, A) + WAD // 2
            market.set_price(mark)
            market.settle()
            room = market.exchange.side(LONG).index - market.exchange.account(A).edge - mark * INDEX_UNIT // WAD // 100
            pays = 2 * room * WAD // INDEX_UNIT + wei  # two units will
            market.trade(STRANGER, RICH, True, WAD, mark + pays)
            assert premium(market) == pays
            market.exchange.chain.advance(100 * DAY)
            receipt = settle(market)
            assert (receipt.closed_size, market.exchange.account(A).shares) == ((WAD, 0) if closes else (0, WAD))

    def test_stopped_by_the_budget_goes_on_before_price(self, twin: TwinFactory) -> None:
        market = twin(**FUNDED, max_buckets=1)
        mark = cornered(market, self.COLLATERALS)
        side, due = market.exchange.side(LONG), premium(market)
        market.exchange.chain.advance(30 * DAY)
        market.set_price(mark + WAD)
        for left in ([B, C], [C]):
            assert settle(market).funding  # no price receipt
            assert [trader for trader in self.COLLATERALS if market.exchange.account(trader).shares] == left
            assert (market.exchange.mark, market.exchange.core.lagging) == (mark, True)
            same_block(market)
        last, price = receipts_in(market.settle().logs)
        assert (last.funding, price.funding) == (True, False)
        assert market.exchange.mark == mark + WAD
        assert not market.exchange.core.lagging
        # Together they took per share what the premium was per share of those who were there when it decayed.
        assert side.index - last.indices[LONG] == due * INDEX_UNIT // side.shares

    def test_shorts_that_pay_are_stopped_by_the_budget_too(self, twin: TwinFactory) -> None:
        market = twin(**FUNDED, max_buckets=1)
        market.deposit(RICH, 10**6 * WAD)
        market.deposit(STRANGER, 10**5 * WAD)
        for trader, collateral in self.COLLATERALS.items():
            market.deposit(trader, collateral)
            market.trade(trader, RICH, False, WAD, MARK)
        # Just under where the first of them would be closed: shorts lose as the price rises.
        mark = min(edge_of(market, trader) for trader in self.COLLATERALS) - WAD
        market.set_price(mark)
        market.settle_fully()
        market.trade(STRANGER, RICH, False, 8 * WAD, mark * 996 // 1000)
        market.exchange.chain.advance(30 * DAY)
        market.settle()
        closed = 0
        while market.exchange.core.lagging:
            same_block(market)
            closed += settle(market).buckets_closed
        assert closed >= 1 and premium(market) == 0

    def test_a_rest_shuts_the_market_even_at_the_index(self, twin: TwinFactory) -> None:
        market = twin(**FUNDED, max_buckets=1)
        mark = cornered(market, self.COLLATERALS)
        market.exchange.chain.advance(30 * DAY)
        with pytest.raises(Reverted) as refusal:
            market.trade(RICH, RICHER, True, WAD, mark)
        assert refusal.value.reason == "mode: catch-up"
        market.settle_fully()
        assert market.exchange.mode == "active"

    def test_stopped_and_in_one_go_take_the_same(self, twin: TwinFactory) -> None:
        """B and C pay per unit what they would have paid without a budget, but for what A's going changes."""
        paid = []
        for budget in (1, 128):
            market = twin(**FUNDED, max_buckets=budget)
            cornered(market, self.COLLATERALS)
            index = market.exchange.side(LONG).index
            market.exchange.chain.advance(30 * DAY)
            same = market.exchange.chain.now + 1
            while True:
                next_at(market, same)
                market.settle()
                if not market.exchange.core.lagging:
                    break
            paid.append(index - market.exchange.side(LONG).index)
        assert abs(paid[0] - paid[1]) <= 10**18

    def test_budget_is_shared_with_price(self, twin: TwinFactory) -> None:
        """Funding closes the one bucket of this call; the price move stops where it would close another."""
        market = twin(**FUNDED, max_buckets=1)
        market_collaterals = {A: 55 * WAD, B: 65 * WAD}
        mark = cornered(market, market_collaterals)
        market.exchange.chain.advance(30 * DAY)
        market.set_price(mark - 30 * WAD)
        funding, price = receipts_in(market.settle().logs)
        assert (funding.funding, funding.buckets_closed) == (True, 1)
        assert (price.funding, price.buckets_closed) == (False, 0)
        assert mark - 30 * WAD < price.mark_after < mark
        assert market.exchange.account(B).shares
        assert market.exchange.core.lagging
        same_block(market)
        assert settle(market).buckets_closed == 1
        assert market.exchange.mark == mark - 30 * WAD

    def test_at_most_the_limit_in_one_settlement_even_with_a_rest(self, twin: TwinFactory) -> None:
        """A rest, and a premium that only four units share when it has decayed: the limit of 1.12, not the sum."""
        market = twin(**{**FUNDED, "max_funding": WAD // 850}, max_buckets=1)
        market.deposit(RICH, 10**6 * WAD)
        market.deposit(STRANGER, 10**5 * WAD)
        for trader, units, collateral in ((A, 8, 8 * 55 * WAD), (B, 1, 111 * WAD // 2)):
            market.deposit(trader, collateral)
            market.trade(trader, RICH, True, units * WAD, MARK)
        mark = edge_of(market, A) + WAD // 100
        market.set_price(mark)
        market.settle()
        assert edge_of(market, B) < mark
        filled = market.trade(STRANGER, RICH, True, 3 * WAD, mark * 10047 // 10_000)
        next_at(market, filled.timestamp + 31_900)
        stopped = settle(market)
        assert (stopped.funding, stopped.closed_size) == (True, 8 * WAD)
        assert market.exchange.core.lagging
        due = Fraction(premium(market), 4)
        assert due < mark // 850
        market.exchange.chain.advance(100 * DAY)
        receipt = settle(market)
        taken = Fraction(receipt.gross, 4)
        assert taken > due  # so there was a rest
        assert abs(taken - mark * (WAD // 850) // WAD) <= 1

    def test_of_everybody_ends_the_epoch(self, twin: TwinFactory) -> None:
        market = twin(**FUNDED)
        market.deposit(RICH, 10**6 * WAD)
        market.deposit(A, 55 * WAD)
        market.trade(A, RICH, True, WAD, MARK)
        market.set_price(edge_of(market, A) + WAD // 100)
        market.settle_fully()
        # B buys and sells above the mark: longs will pay, and A is the only one left.
        mark = market.exchange.mark
        market.deposit(B, 10**5 * WAD)
        market.trade(B, RICH, True, WAD, mark * 1004 // 1000)
        market.trade(B, RICH, False, WAD, mark * 1004 // 1000)
        assert premium(market) > 0
        market.exchange.chain.advance(30 * DAY)
        receipt = settle(market)
        assert (receipt.funding, receipt.open_interest) == (True, 0)
        assert (market.exchange.epoch, premium(market)) == (1, 0)


# -------------------------------------------------------------------------------------------------------------- preview


def preview_and_settlement(market: Twin, price: int) -> tuple[list[tuple[int, ...]], list[Receipt]]:
    """Both receipts foreseen for a settlement, and those of the settlement that follows in that very second."""
    exchange = market.exchange
    market.set_price(price)
    exchange.chain.advance(1)
    seen = [tuple(one) for one in exchange.chain.call(exchange.market, "preview_settlement", price)]
    same_block(market)
    return seen, receipts_in(market.settle().logs)


def amounts(receipt: Receipt) -> tuple[int, ...]:
    """A receipt as `preview_settlement` returns it."""
    return (
        receipt.gross,
        receipt.deficit,
        receipt.covered,
        receipt.surplus,
        receipt.bonus,
        receipt.adl_shortfall,
        receipt.closed_size,
        receipt.buckets_closed,
        receipt.open_interest,
    )


class TestPreview:
    @both_signs
    @pytest.mark.parametrize("price", [930, 999, 1001, 1070])
    def test_shows_the_funding_that_is_due(self, twin: TwinFactory, sign: int, price: int) -> None:
        market = twin(**FUNDED)
        funded(market)
        market.trade(A, B, True, 2 * WAD, MARK + sign * WAD)
        market.exchange.chain.advance(HOUR)
        seen, done = preview_and_settlement(market, price * WAD)
        assert seen == [amounts(one) for one in done]
        assert seen[0][0] > 0

    def test_without_any(self, twin: TwinFactory) -> None:
        market = twin(**FUNDED)
        funded(market)
        seen, done = preview_and_settlement(market, 1070 * WAD)
        assert seen[0] == (0,) * 8 + (10 * WAD,)
        assert [amounts(one) for one in done] == seen[1:]

    @pytest.mark.parametrize("collateral", [55 * WAD, 58 * WAD, 100 * WAD], ids=["all", "some", "one"])
    @pytest.mark.parametrize("fall", [-30, -1, 1, 30])
    @pytest.mark.parametrize("insured", [0, 1000])
    def test_a_bucket_that_both_would_close_counts_once(
        self, twin: TwinFactory, collateral: int, fall: int, insured: int
    ) -> None:
        market = twin(**FUNDED)
        if insured:
            market.insure(insured * WAD)
        mark = cornered(market, {A: 55 * WAD, B: 55 * WAD + WAD // 2, C: collateral})
        market.exchange.chain.advance(30 * DAY)
        seen, done = preview_and_settlement(market, mark - fall * WAD)
        assert seen == [amounts(one) for one in done]
        assert seen[0][7] > 0

    def test_of_a_rest(self, twin: TwinFactory) -> None:
        """Of a stopped funding move the preview shows all that is left, without a budget."""
        market = twin(**FUNDED, max_buckets=1)
        mark = cornered(market, TestClosing.COLLATERALS)
        market.exchange.chain.advance(30 * DAY)
        market.settle()
        assert market.exchange.core.lagging
        market.exchange.chain.advance(1)
        seen = market.exchange.preview_funding()
        same_block(market)
        gross = closed = buckets = 0
        second = market.exchange.chain.now + 1
        while market.exchange.core.lagging:
            next_at(market, second)
            for receipt in receipts_in(market.settle().logs):
                assert receipt.funding
                gross, closed = gross + receipt.gross, closed + receipt.closed_size
                buckets += receipt.buckets_closed
        assert (closed, buckets) == (seen[6], seen[7])
        assert buckets > 0
        assert market.exchange.mark == mark

    @pytest.mark.parametrize("seed", range(6))
    def test_says_what_the_settlement_then_does(self, twin: TwinFactory, seed: int) -> None:
        chance = random.Random(seed)
        market = twin(fee_rate=WAD // 400, max_funding=PERCENT, max_staleness=10**9)
        market.insure(500 * WAD)
        for trader in market.traders:
            market.deposit(trader, chance.randint(200, 3000) * WAD)
        for _ in range(12):
            mark = market.exchange.mark
            for _ in range(4):
                maker, taker = chance.sample(list(market.traders), 2)
                price = mark * chance.randint(960, 1040) // 1000
                try:
                    market.trade(maker, taker, chance.random() < 0.5, chance.randint(1, 30) * WAD // 4, price)
                except Reverted:
                    continue
            market.exchange.chain.advance(chance.randint(0, 2 * DAY))
            epoch = market.exchange.epoch
            seen, done = preview_and_settlement(market, mark * chance.randint(930, 1075) // 1000)
            for receipt in done:
                if receipt.funding or market.exchange.epoch == epoch:  # funding may have ended it: see the test below
                    assert seen[0 if receipt.funding else 1] == amounts(receipt)

    def test_bug_after_funding_that_ended_the_epoch_there_is_nothing_to_move(self, exchange: ExchangeFactory) -> None:
        """Funding closes all but a 40,001st of the longs, so the epoch ends and everyone is flat: the price move
        that follows costs nobody anything. `_after` does not end epochs, so the preview makes the last long pay.
        """
        market = exchange(**FUNDED)
        for trader, collateral in ((RICH, 10**9), (A, 55 * 40_000), (B, 10**5), (STRANGER, 10**8)):
            market.deposit(trader, collateral * WAD)
        market.trade(A, RICH, True, 40_000 * WAD, MARK)
        market.trade(B, RICH, True, WAD, MARK)
        mark = edge_of(market, A) + WAD // 100
        market.set_price(mark)
        market.settle()
        for is_long in (True, False):  # bought and sold above the mark
            market.trade(STRANGER, RICH, is_long, 2000 * WAD, mark * 1004 // 1000)
        market.chain.advance(30 * DAY)
        price = mark - 100 * WAD
        market.set_price(price)
        market.chain.advance(1)
        seen = [tuple(one) for one in market.chain.call(market.market, "preview_settlement", price)]
        same_block(market)
        done = receipts_in(market.settle().logs)
        assert market.epoch == 1
        assert done[0].closed_size == 40_000 * WAD
        assert seen == [amounts(one) for one in done]

    def test_bug_the_twin_calls_the_end_of_an_epoch_a_loss(self, twin: TwinFactory) -> None:
        """When funding ends an epoch and price moves in the same settlement, indices start again at zero between the
        two receipts. `Twin.settle` compares them across that and reports that winners fell.
        """
        market = twin(**FUNDED)
        market.deposit(RICH, 10**6 * WAD)
        market.deposit(A, 55 * WAD)
        market.trade(A, RICH, True, WAD, MARK)
        mark = edge_of(market, A) + WAD // 100
        market.set_price(mark)
        market.settle()
        market.deposit(B, 10**5 * WAD)
        for is_long in (True, False):
            market.trade(B, RICH, is_long, WAD, mark * 1004 // 1000)
        market.exchange.chain.advance(30 * DAY)
        market.set_price(mark - WAD)
        market.settle()
        assert market.exchange.epoch == 1


# ----------------------------------------------------------------------------------------------------------- guarantees


class TestRandomMarkets:
    @pytest.mark.parametrize("seed", range(6))
    def test_zero_sum_and_never_a_deficit(self, twin: TwinFactory, seed: int) -> None:
        """Steps and funding within the close-out margin (S8), with no keeper, however wild the fills."""
        chance = random.Random(seed)
        market = twin(
            fee_rate=WAD // 400,
            max_funding=PERCENT,
            closeout_margin=PERCENT,
            max_price_step=PERCENT,
            step_interval=0,
            max_staleness=10**9,
            max_buckets=chance.choice((1, 2, 128)),
        )
        for trader in market.traders:
            market.deposit(trader, chance.randint(200, 5000) * WAD)
        for _ in range(15):
            mark = market.exchange.mark
            for _ in range(5):
                maker, taker = chance.sample(list(market.traders), 2)
                price = mark * chance.randint(951, 1049) // 1000
                try:
                    market.trade(maker, taker, chance.random() < 0.5, chance.randint(1, 80) * WAD // 4, price)
                except Reverted:
                    continue
            market.exchange.chain.advance(chance.randint(0, DAY))
            market.set_price(mark * chance.randint(930, 1075) // 1000)
            market.settle_fully()
            assert 0 <= market.check().dust <= MAX_DUST
        fundings = [receipt for receipt in market.receipts if receipt.funding]
        assert {receipt.loser for receipt in fundings} == {LONG, SHORT}
        assert [receipt for receipt in market.receipts if receipt.deficit or receipt.socialized] == []
        assert all(receipt.mark_before == receipt.mark_after for receipt in fundings)

    def test_funding_alone_is_zero_sum(self, twin: TwinFactory) -> None:
        market = twin(**FUNDED)
        funded(market)
        total, owed = sum(equities(market)), market.exchange.insurance_owed
        fees = 0
        for number in range(20):
            sign = 1 if number % 3 else -1
            fees += fees_of(market.trade(A, B, bool(number % 2), 2 * WAD, MARK + sign * 3 * WAD))
            market.exchange.chain.advance(HOUR)
            market.settle()
        assert market.exchange.insurance_owed == owed + fees
        assert -200 <= sum(equities(market)) - (total - fees) <= 0


# ------------------------------------------------------------------------------------------------------------- attacker


class TestWashFills:
    """Two accounts of an attacker trade with each other far off the mark, so that his third receives funding."""

    SHARES = (1, 10, 50, 90, 99)  # of the receiving side that is the attacker's third account, per cent
    PREMIUMS = (1, 10, 50, 250, 500)  # of the fill over the mark, basis points; 500 is the band
    LIFETIMES = (1, HOUR, 8 * HOUR, 30 * DAY)  # of his position, seconds
    FILLS = (1, 100)  # units; there are 100 besides

    def wash(
        self, market: Exchange, sign: int, share: int, basis_points: int, lifetime: int, fill: int, closes: bool
    ) -> tuple[int, int, int]:
        """Cost, gain, and what all three accounts together made of it."""
        receiver, honest, payer, wash_maker, wash_taker = A, B, C, D, KEEPER
        for trader in (receiver, honest, payer, wash_maker, wash_taker):
            market.deposit(trader, 10**7 * WAD)
        payer_is_long = sign > 0
        market.trade(receiver, payer, not payer_is_long, share * WAD, MARK)
        if share < 100:
            market.trade(honest, payer, not payer_is_long, (100 - share) * WAD, MARK)
        own = (receiver, wash_maker, wash_taker)
        before = {trader: market.account(trader).equity for trader in own}
        price = MARK + sign * MARK * basis_points // 10_000
        filled = market.trade(wash_maker, wash_taker, True, fill * WAD, price)
        cost = fees_of(filled)
        if closes:
            same_block(market)
            cost += fees_of(market.trade(wash_maker, wash_taker, False, fill * WAD, MARK))
        next_at(market, filled.timestamp + lifetime)
        market.settle()
        after = {trader: market.account(trader).equity for trader in own}
        return cost, after[receiver] - before[receiver], sum(after.values()) - sum(before.values())

    @both_signs
    @pytest.mark.parametrize("closes", [False, True], ids=["held", "closed at once"])
    def test_cost_more_than_they_bring(self, exchange: ExchangeFactory, sign: int, closes: bool) -> None:
        largest, where, best = Fraction(0), (0, 0, 0, 0), -(10**30)
        base = exchange(fee_rate=WAD // 2000, max_funding=PERCENT, max_staleness=10**9)
        for share in self.SHARES:
            for basis_points in self.PREMIUMS:
                for lifetime in self.LIFETIMES:
                    for fill in self.FILLS:
                        with base.chain.anchor():
                            cost, gain, net = self.wash(base, sign, share, basis_points, lifetime, fill, closes)
                        assert 0 <= gain <= cost
                        assert net <= 0
                        best = max(best, net)
                        if Fraction(gain, cost) > largest:
                            largest, where = Fraction(gain, cost), (share, basis_points, lifetime, fill)
        assert largest > Fraction(1, 4)  # the grid reaches where the attack works best
        figures.record(
            f"wash fills for funding, {'above' if sign > 0 else 'below'} the mark, {'closed' if closes else 'held'}",
            {
                "markets tried": len(self.SHARES) * len(self.PREMIUMS) * len(self.LIFETIMES) * len(self.FILLS),
                "largest gain over cost, %": f"{float(largest * 100):.2f}",
                "there: share of open interest, %": where[0],
                "there: premium, basis points": where[1],
                "there: lifetime, seconds": where[2],
                "there: wash fill, units of 100 open": where[3],
                "best net result, wei": best,
            },
        )

    def test_nor_does_cancelling_what_others_left(self, exchange: ExchangeFactory) -> None:
        """A payer washes below the mark to wipe a premium out: his fees are at least all that is wiped out."""
        base = exchange(fee_rate=WAD // 2000, max_funding=PERCENT, max_staleness=10**9)
        for trader in (A, B, C, D):
            base.deposit(trader, 10**6 * WAD)
        base.trade(A, B, True, 100 * WAD, 1001 * WAD)
        outcomes = []
        for washes in (False, True):
            with base.chain.anchor():
                before = sum(base.account(trader).equity for trader in (A, C, D))
                if washes:
                    base.trade(C, D, True, 100 * WAD, 950 * WAD)
                    same_block(base)
                    base.trade(C, D, False, 100 * WAD, MARK)
                base.chain.advance(30 * DAY)
                base.settle()
                outcomes.append(sum(base.account(trader).equity for trader in (A, C, D)) - before)
        assert outcomes[1] <= outcomes[0]
