"""The breaker: how far a settlement moves the mark, when the next may, what is shut until the mark has arrived."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

import pytest

from prorata.chain import Reverted
from prorata.exchange import Exchange
from prorata.receipts import Receipt, receipts_in
from prorata.revm_chain import RevmChain
from prorata.twin import Twin
from prorata.units import INDEX_UNIT, LONG, SHORT, WAD

TwinFactory = Callable[..., Twin]
ExchangeFactory = Callable[..., Exchange]

A, B, C, D, RICH, RICHER, KEEPER, STRANGER = range(1, 9)
MARK = 1000 * WAD
PERCENT = WAD // 100
INTERVAL = 60
#: One per cent a step, a minute apart, and nothing else that moves money.
SLOW = {"max_price_step": PERCENT, "step_interval": INTERVAL, "fee_rate": 0}

CALLER = """
# pragma version 0.4.3
interface Market:
    def settle() -> bool: nonpayable

caught_up: public(bool)

@external
def settle(market: address):
    self.caught_up = extcall Market(market).settle()
"""

both_ways = pytest.mark.parametrize("way", [1, -1], ids=["up", "down"])


def crowd(market: Twin | Exchange, collaterals: Mapping[int, int], is_long: bool = True, size: int = WAD) -> None:
    """Everyone named takes `size` of a side with so many units of collateral; RICH is on the other side."""
    market.deposit(RICH, 10**6 * WAD)
    for trader, collateral in collaterals.items():
        market.deposit(trader, collateral * WAD)
        market.trade(trader, RICH, is_long, size, market_mark(market))


def market_mark(market: Twin | Exchange) -> int:
    return (market.exchange if isinstance(market, Twin) else market).mark


def same_block(market: Twin) -> None:
    """The next transaction is in the block of the last one."""
    market.exchange.chain.advance(-1)


def next_at(market: Twin, timestamp: int) -> None:
    """The next transaction is in a block of that second."""
    market.exchange.chain.advance(timestamp - market.exchange.chain.now - 1)


def settle(market: Twin) -> Receipt:
    """Settle: the one receipt."""
    (receipt,) = receipts_in(market.settle().logs)
    return receipt


def everything(exchange: Exchange) -> dict[str, Any]:
    """Whatever a settlement could change, but for the second up to which funding is paid."""
    core = exchange.core
    return {
        "core": {name: value for name, value in vars(core).items() if name != "accrued_at"},
        "sides": [exchange.side(side) for side in (LONG, SHORT)],
        "accounts": [exchange.account(trader) for trader in range(1, 9)],
        "balances": [exchange.token_balance(holder) for holder in (exchange.market, exchange.vault)],
    }


def deleveraged(market: Twin) -> None:
    """RICH's side at a scale below one: somebody on the other side was closed. The mark is MARK again."""
    crowd(market, {A: 51, B: 5000})
    for price in (950 * WAD, MARK):
        market.set_price(price)
        market.settle_fully()
    assert market.exchange.side(SHORT).scale < WAD == market.exchange.side(LONG).scale
    market.exchange.chain.advance(10 * INTERVAL)


# ---------------------------------------------------------------------------------------------------------- one step


class TestLength:
    @both_ways
    def test_exactly_a_step_reaches_the_index_and_is_not_limited(self, each_twin: TwinFactory, way: int) -> None:
        market = each_twin(**SLOW)
        crowd(market, {A: 500, B: 600})
        index = MARK
        for _ in range(3):  # so another may follow in the same block
            index += way * index // 100
            market.set_price(index)
            same_block(market)
            receipt = settle(market)
            assert (receipt.mark_after, receipt.index_price) == (index, index)
            core = market.exchange.core
            assert (core.mark, core.lagging, core.limited_at) == (index, False, 0)
            assert market.exchange.mode == "active"

    @both_ways
    def test_a_wei_more_is_limited_and_charges_the_interval(self, each_twin: TwinFactory, way: int) -> None:
        market = each_twin(**SLOW)
        crowd(market, {A: 500, B: 600})
        index = MARK + way * (10 * WAD + 1)
        market.set_price(index)
        receipt = settle(market)
        assert (receipt.mark_after, receipt.index_price) == (MARK + way * 10 * WAD, index)
        core = market.exchange.core
        assert (core.mark, core.lagging, core.limited_at) == (receipt.mark_after, True, market.exchange.chain.now)
        assert market.exchange.mode == "catch-up"
        next_at(market, core.limited_at + INTERVAL)
        assert settle(market).mark_after == index
        # The rest of it was shorter than a step, so nothing new is charged.
        assert market.exchange.core.limited_at == core.limited_at
        assert not market.exchange.core.lagging

    @both_ways
    def test_a_step_is_of_the_mark_rounded_down(self, twin: TwinFactory, way: int) -> None:
        mark = 1234 * WAD + 56_789  # a step would be 12.34 and 567.89 wei
        market = twin(mark=mark, **SLOW)
        crowd(market, {A: 5000})
        market.set_price(mark * (2 if way > 0 else 1) // (1 if way > 0 else 2))
        most = 1234 * WAD // 100 + 567
        assert settle(market).mark_after == mark + way * most

    @both_ways
    def test_the_largest_step_there_is(self, twin: TwinFactory, way: int) -> None:
        market = twin(fee_rate=0)
        crowd(market, {A: 900})
        market.set_price(MARK + way * (MARK // 2 + 1))
        settle(market)
        assert market.exchange.mark == MARK + way * MARK // 2
        assert market.exchange.core.lagging
        settle(market)  # no interval
        assert not market.exchange.core.lagging

    @both_ways
    def test_at_a_scale_below_one(self, twin: TwinFactory, way: int) -> None:
        market = twin(**{**SLOW, "max_price_step": 5 * PERCENT})
        deleveraged(market)
        for extra, lags in ((0, False), (1, True)):
            mark = market.exchange.mark
            market.set_price(mark + way * (mark // 20 + extra))
            settle(market)
            assert market.exchange.mark == mark + way * (mark // 20)
            assert market.exchange.core.lagging == lags
            market.check()

    def test_a_market_without_positions_has_steps_too(self, twin: TwinFactory) -> None:
        market = twin(**SLOW)
        market.set_price(2 * MARK)
        settle(market)
        assert market.exchange.mark == 1010 * WAD


class TestInterval:
    @both_ways
    def test_before_it_is_over_nothing_moves(self, exchange: ExchangeFactory, way: int) -> None:
        chain = RevmChain()
        made = exchange(chain=chain, **SLOW)
        crowd(made, {A: 500, B: 600})
        made.set_price(MARK + way * 100 * WAD)
        made.settle()
        before, limited_at = everything(made), made.core.limited_at
        caller = chain.deploy_source(CALLER)
        for second in (chain.now + 1, limited_at + INTERVAL - 1):
            chain.advance(second - chain.now - 1)
            assert chain.transact(caller, "settle", made.market.address, sender=STRANGER).logs == []
            assert chain.call(caller, "caught_up") is False
            assert everything(made) == before
        chain.transact(caller, "settle", made.market.address, sender=STRANGER)
        assert chain.now == limited_at + INTERVAL
        assert made.mark == MARK + way * 10 * WAD + way * (MARK + way * 10 * WAD) // 100
        assert made.core.limited_at == chain.now

    def test_before_it_is_over_funding_is_paid(self, twin: TwinFactory) -> None:
        market = twin(**{**SLOW, "fee_rate": WAD // 2000, "max_funding": PERCENT})
        market.deposit(A, 500 * WAD)
        market.deposit(RICH, 500 * WAD)
        market.trade(A, RICH, True, WAD, MARK + WAD)
        market.set_price(900 * WAD)
        market.settle()
        mark = market.exchange.mark
        market.exchange.chain.advance(INTERVAL // 2)
        receipt = settle(market)
        assert receipt.funding
        assert receipt.gross > 0
        assert market.exchange.mark == mark
        assert market.exchange.core.lagging

    def test_a_long_quiet_time_is_worth_one_step(self, twin: TwinFactory) -> None:
        market = twin(**SLOW, max_staleness=10**8)
        crowd(market, {A: 5000})
        market.exchange.chain.advance(10**6)
        market.set_price(2 * MARK)
        for expected in (1010 * WAD, 10201 * WAD // 10):
            settle(market)
            assert market.exchange.mark == expected
            assert market.settle().logs == []
            market.exchange.chain.advance(1000 * INTERVAL)

    def test_none_several_steps_in_one_block(self, twin: TwinFactory) -> None:
        market = twin(max_price_step=PERCENT, step_interval=0, fee_rate=0)
        crowd(market, {A: 500, B: 600})
        index = MARK
        for _ in range(4):
            index = index * 99 // 100
        market.set_price(index)
        block = market.exchange.chain.now
        for step in range(4):
            assert market.exchange.core.lagging == (step > 0)
            same_block(market)
            settle(market)
        assert market.exchange.chain.now == block
        assert market.exchange.mark == index
        assert not market.exchange.core.lagging

    def test_a_move_that_was_not_limited_charges_nothing(self, twin: TwinFactory) -> None:
        market = twin(**SLOW)
        crowd(market, {A: 500})
        for price in (1005, 1010, 1004, 995):
            market.set_price(price * WAD)
            same_block(market)
            assert settle(market).mark_after == price * WAD
        assert market.exchange.core.limited_at == 0

    def test_is_charged_even_if_the_index_comes_to_the_mark(self, twin: TwinFactory) -> None:
        market = twin(**SLOW)
        crowd(market, {A: 500})
        market.set_price(1100 * WAD)
        settle(market)
        charged = market.exchange.core.limited_at
        market.set_price(1010 * WAD)
        assert market.settle().logs == []
        assert not market.exchange.core.lagging  # nothing had to move
        market.set_price(1011 * WAD)
        assert market.settle().logs == []
        assert market.exchange.core.lagging
        next_at(market, charged + INTERVAL)
        assert settle(market).mark_after == 1011 * WAD


class TestTheIndexMovesInCatchUp:
    @both_ways
    def test_back_within_reach(self, twin: TwinFactory, way: int) -> None:
        market = twin(**SLOW)
        crowd(market, {A: 500, B: 600})
        market.set_price(MARK + way * 300 * WAD)
        settle(market)
        charged = market.exchange.core.limited_at
        market.set_price(MARK + way * 15 * WAD)
        assert market.settle().logs == []
        assert market.exchange.core.lagging
        next_at(market, charged + INTERVAL)
        assert settle(market).mark_after == MARK + way * 15 * WAD
        assert (market.exchange.core.lagging, market.exchange.core.limited_at) == (False, charged)

    @both_ways
    def test_to_the_other_side_of_the_mark(self, twin: TwinFactory, way: int) -> None:
        market = twin(**SLOW)
        crowd(market, {A: 500, B: 600})
        market.set_price(MARK + way * 300 * WAD)
        settle(market)
        market.set_price(MARK - way * 300 * WAD)
        next_at(market, market.exchange.core.limited_at + INTERVAL)
        mark = market.exchange.mark
        receipt = settle(market)
        assert receipt.mark_after == mark - way * (mark // 100)
        assert receipt.loser == (LONG if way > 0 else SHORT)
        assert market.exchange.core.limited_at == market.exchange.chain.now


# ---------------------------------------------------------------------------------------- a step in several settlements


class TestAStoppedStep:
    """Steps of 5 %, and one bucket a call. With 51, 53 and 56 units A, B and C go at 41.4, 43.4 and 46.5 below."""

    @pytest.fixture
    def market(self, twin: TwinFactory, way: int) -> Twin:
        made = twin(max_price_step=5 * PERCENT, step_interval=INTERVAL, max_buckets=1, fee_rate=0)
        crowd(made, {A: 51, B: 53, C: 56, D: 5000}, is_long=way < 0)
        return made

    def held(self, market: Twin) -> list[int]:
        return [trader for trader in (A, B, C, D) if market.exchange.account(trader).shares]

    @both_ways
    def test_goes_on_at_once_to_the_same_end_and_no_further(self, market: Twin, way: int) -> None:
        market.set_price(MARK + way * 200 * WAD)
        end, marks = MARK + way * 50 * WAD, [MARK]
        for left in ([B, C, D], [C, D], [D]):
            assert market.exchange.core.limited_at == 0  # not charged before it has ended
            same_block(market)
            marks.append(settle(market).mark_after)
            assert self.held(market) == left
            assert market.exchange.core.lagging
        assert marks == sorted(set(marks), reverse=way < 0)
        assert market.exchange.mark == end
        assert market.exchange.core.limited_at == market.exchange.chain.now
        same_block(market)
        assert market.settle().logs == []
        next_at(market, market.exchange.core.limited_at + INTERVAL)
        assert settle(market).mark_after == end + way * end // 20

    @both_ways
    def test_goes_on_later_to_the_same_end(self, market: Twin, way: int) -> None:
        market.set_price(MARK + way * 200 * WAD)
        for _ in range(3):
            market.exchange.chain.advance(10 * INTERVAL)
            settle(market)
        assert market.exchange.mark == MARK + way * 50 * WAD
        assert market.exchange.core.limited_at == market.exchange.chain.now

    @both_ways
    def test_the_index_runs_away(self, market: Twin, way: int) -> None:
        market.set_price(MARK + way * 200 * WAD)
        settle(market)
        market.set_price(MARK + way * 400 * WAD)
        settle(market)
        assert settle(market).mark_after == MARK + way * 50 * WAD
        assert market.exchange.core.limited_at == market.exchange.chain.now

    @both_ways
    def test_the_index_comes_before_its_end(self, market: Twin, way: int) -> None:
        market.set_price(MARK + way * 200 * WAD)
        settle(market)
        market.set_price(MARK + way * 48 * WAD)
        settle(market)
        assert settle(market).mark_after == MARK + way * 48 * WAD
        assert (market.exchange.core.lagging, market.exchange.core.limited_at) == (False, 0)

    @both_ways
    def test_the_index_turns_round(self, market: Twin, way: int) -> None:
        """What was open is given up: a step the other way has its own length, and charges."""
        market.set_price(MARK + way * 200 * WAD)
        settle(market)
        mark = market.exchange.mark
        market.set_price(MARK - way * 200 * WAD)
        same_block(market)
        assert settle(market).mark_after == mark - way * (mark // 20)
        charged = market.exchange.core.limited_at
        assert charged == market.exchange.chain.now
        # And back: the end of the first step is forgotten.
        mark = market.exchange.mark
        market.set_price(MARK + way * 400 * WAD)
        next_at(market, charged + INTERVAL)
        while market.exchange.core.limited_at == charged:
            settle(market)
        assert market.exchange.mark == mark + way * (mark // 20)

    @both_ways
    def test_bug_the_model_goes_on_with_a_step_that_the_index_ended(self, market: Twin, way: int) -> None:
        """The index comes to the mark, so the market has caught up and nothing of the step is left: when the index
        leaves again that is a new step, as `breaker._load` has it. `Model.step_target` outlives it.
        """
        market.set_price(MARK + way * 200 * WAD)
        settle(market)
        mark = market.exchange.mark
        market.set_price(mark)
        market.settle()
        assert not market.exchange.core.lagging
        market.set_price(mark + way * 200 * WAD)
        while not market.exchange.core.limited_at:
            settle(market)
        assert market.exchange.mark == mark + way * (mark // 20)

    @both_ways
    def test_a_stopped_move_that_is_not_limited_stays_unlimited(self, market: Twin, way: int) -> None:
        market.set_price(MARK + way * 50 * WAD)  # exactly a step
        for _ in range(3):
            same_block(market)
            settle(market)
        core = market.exchange.core
        assert (core.mark, core.lagging, core.limited_at) == (MARK + way * 50 * WAD, False, 0)


# ---------------------------------------------------------------------------------------------------- what is shut


class TestCatchUp:
    @pytest.fixture
    def lagging(self, twin: TwinFactory) -> Twin:
        """The mark has fallen to 950, the index is at 900; A's bucket is closed, C is below maintenance at both."""
        market = twin(max_price_step=5 * PERCENT, step_interval=INTERVAL, fee_rate=0)
        market.insure(1000 * WAD)
        crowd(market, {A: 51, B: 5000, C: 64})
        for trader in (D, KEEPER):
            market.deposit(trader, 1000 * WAD)
        market.set_price(900 * WAD)
        settle(market)
        assert market.exchange.core.lagging
        assert not market.exchange.account(A).shares
        return market

    @pytest.mark.parametrize(
        "act",
        [
            lambda market: market.trade(B, RICH, True, WAD, 950 * WAD),
            lambda market: market.trade(RICH, B, True, WAD // 2, 950 * WAD),  # reducing both
            lambda market: market.trade_batch(D, [(B, True, WAD, 950 * WAD)]),
            lambda market: market.withdraw(B, 1),
            lambda market: market.withdraw(RICH, 1),
            lambda market: market.insure(WAD),
        ],
        ids=["fill", "reducing fill", "batch", "withdrawal of a loser", "withdrawal of a winner", "insurance entry"],
    )
    def test_refused_by_name(self, lagging: Twin, act: Callable[[Twin], Any]) -> None:
        before = everything(lagging.exchange)
        with pytest.raises(Reverted) as refusal:
            act(lagging)
        assert refusal.value.reason == "mode: catch-up"
        assert everything(lagging.exchange) == before

    def test_open(self, lagging: Twin) -> None:
        market = lagging
        market.deposit(B, WAD)
        market.deposit(D, WAD, to=B)  # to somebody with a position
        market.withdraw(D, 500 * WAD)  # flat
        market.deposit(A, WAD)
        market.withdraw(A, WAD)  # closed by its bucket
        assert market.settle().logs == []
        market.liquidate(KEEPER, C)
        assert market.exchange.core.lagging
        market.check()

    def test_ends_when_the_mark_arrives(self, lagging: Twin) -> None:
        lagging.settle_fully()
        assert lagging.exchange.mode == "active"
        lagging.trade(B, RICH, True, WAD, 900 * WAD)
        lagging.withdraw(RICH, WAD)
        lagging.insure(WAD)

    def test_is_not_what_one_settlement_away_is_called(self, twin: TwinFactory) -> None:
        """A fill settles first, so a price within one step stands in nobody's way."""
        market = twin(**SLOW)
        crowd(market, {A: 500})
        market.set_price(1010 * WAD)
        market.trade(A, RICH, True, WAD, 1010 * WAD)
        assert market.exchange.mark == 1010 * WAD

    def test_a_fill_refused_for_it_does_not_move_the_mark(self, twin: TwinFactory) -> None:
        market = twin(**SLOW)
        crowd(market, {A: 500})
        market.set_price(1010 * WAD + 1)
        with pytest.raises(Reverted) as refusal:
            market.trade(A, RICH, True, WAD, 1010 * WAD)
        assert refusal.value.reason == "mode: catch-up"
        assert (market.exchange.mark, market.exchange.core.limited_at) == (MARK, 0)

    def test_mode_is_seen_before_anybody_settles(self, twin: TwinFactory) -> None:
        market = twin(**SLOW)
        assert market.exchange.mode == "active"
        market.set_price(MARK + 1)
        assert market.exchange.mode == "catch-up"
        settle(market)
        assert market.exchange.mode == "active"

    @pytest.mark.parametrize("act", ["request_redeem", "redeem", "withdraw_insurance"])
    def test_redemption_is_refused_at_every_stage(self, lagging: Twin, act: str) -> None:
        before = everything(lagging.exchange)
        with pytest.raises(Reverted) as refusal:
            getattr(lagging.exchange, act)(0, WAD)
        assert refusal.value.reason == "mode: catch-up"
        assert everything(lagging.exchange) == before


# ------------------------------------------------------------------------ winners who are deleveraged at a lagging mark


def filed_value(exchange: Exchange, trader: int, drop: int) -> Fraction:
    """What is left in a bucket of one account after its index has fallen by `drop`, quote in wei, exactly."""
    account = exchange.account(trader)
    index = exchange.side(account.side).index
    above = Fraction(account.shares * (index - (account.bucket << account.level)), INDEX_UNIT)
    debt = above // 1 - account.equity
    return above - debt - Fraction(account.shares * drop, INDEX_UNIT)


class TestBonus:
    @pytest.mark.parametrize(
        ("index", "gap"),
        [(900, 50), (949, 1), (948, 2), (700, 250)],
        ids=["far", "just beyond", "a little beyond", "very far"],
    )
    @pytest.mark.parametrize("is_long", [True, False])
    def test_by_hand(self, each_twin: TwinFactory, index: int, gap: int, is_long: bool) -> None:
        """A loses 50 of his 51.5 units and is closed; RICH, twice as large as A, is halved 50 or so too early."""
        market = each_twin(max_price_step=5 * PERCENT, step_interval=INTERVAL, fee_rate=0)
        market.deposit(RICH, 10**6 * WAD)
        for trader, collateral in ((A, 103 * WAD // 2), (B, 5000 * WAD)):
            market.deposit(trader, collateral)
            market.trade(trader, RICH, is_long, WAD, MARK)
        left = filed_value(market.exchange, A, 50 * INDEX_UNIT)
        assert 3 * WAD // 2 - 2 <= left <= 3 * WAD // 2
        market.set_price(index * WAD if is_long else 2 * MARK - index * WAD)
        receipt = settle(market)

        missed = gap * WAD  # one unit was closed
        bonus = min(left, missed)
        assert receipt.closed_size == WAD
        assert receipt.surplus == int(left)
        assert receipt.bonus == int(bonus)
        assert receipt.adl_shortfall == -(-(missed - bonus) // 1)
        assert bonus <= left
        winner = market.exchange.account(RICH)
        assert 10**6 * WAD + 100 * WAD + int(bonus) - 2 <= winner.equity <= 10**6 * WAD + 100 * WAD + int(bonus)
        assert market.exchange.insurance_owed == int(left - bonus)

    def test_to_two_winners_by_size(self, twin: TwinFactory) -> None:
        market = twin(max_price_step=5 * PERCENT, step_interval=INTERVAL, fee_rate=0)
        for trader in (RICH, RICHER):
            market.deposit(trader, 10**6 * WAD)
        for trader, winner, collateral, size in ((A, RICH, 100, 2 * WAD), (B, RICHER, 10**4, 6 * WAD)):
            market.deposit(trader, collateral * WAD + (2 * WAD if trader == A else 0))
            market.trade(trader, winner, True, size, MARK)
        left = filed_value(market.exchange, A, 50 * INDEX_UNIT)
        market.set_price(700 * WAD)
        receipt = settle(market)
        assert receipt.bonus == int(left)
        assert receipt.adl_shortfall == -(-(2 * 250 * WAD - left) // 1)
        for trader, size in ((RICH, 2), (RICHER, 6)):
            expected = 10**6 * WAD + size * 50 * WAD + left * size / 8
            assert expected - 2 <= market.exchange.account(trader).equity <= expected

    @pytest.mark.parametrize("is_long", [True, False])
    def test_none_when_the_mark_reaches_the_index(self, twin: TwinFactory, is_long: bool) -> None:
        market = twin(max_price_step=5 * PERCENT, fee_rate=0)
        crowd(market, {A: 51, B: 5000}, is_long)
        market.set_price(MARK - 50 * WAD if is_long else MARK + 50 * WAD)
        receipt = settle(market)
        assert receipt.closed_size == WAD
        assert receipt.surplus > 0
        assert (receipt.bonus, receipt.adl_shortfall) == (0, 0)

    def test_none_where_nobody_is_closed(self, twin: TwinFactory) -> None:
        market = twin(**SLOW)
        crowd(market, {A: 500})
        market.set_price(500 * WAD)
        receipt = settle(market)
        assert (receipt.closed_size, receipt.bonus, receipt.adl_shortfall) == (0, 0, 0)

    def test_a_deficit_leaves_no_bonus_and_all_of_the_shortfall(self, twin: TwinFactory) -> None:
        market = twin(max_price_step=10 * PERCENT, fee_rate=0)
        crowd(market, {A: 60, B: 5000})
        market.set_price(850 * WAD)
        receipt = settle(market)
        assert (receipt.surplus, receipt.bonus) == (0, 0)
        assert 40 * WAD <= receipt.deficit <= 40 * WAD + 2
        assert receipt.adl_shortfall == 50 * WAD

    def test_of_a_move_that_the_budget_stopped(self, twin: TwinFactory) -> None:
        """The gap is what lies between the mark where it stopped and the index, not the end of the step."""
        market = twin(max_buckets=1, max_price_step=5 * PERCENT, step_interval=INTERVAL, fee_rate=0)
        crowd(market, {A: 51, B: 53, C: 5000})
        market.set_price(900 * WAD)
        receipt = settle(market)
        assert receipt.closed_size == WAD
        assert 950 * WAD < receipt.mark_after < MARK
        assert receipt.bonus + receipt.adl_shortfall == receipt.mark_after - 900 * WAD

    @pytest.mark.parametrize("is_long", [True, False])
    def test_at_a_scale_below_one(self, twin: TwinFactory, is_long: bool) -> None:
        """A unit of a scaled side is more than one share of it."""
        market = twin(max_price_step=5 * PERCENT, step_interval=0, fee_rate=0)
        crowd(market, {A: 51, B: 5000}, not is_long)  # B's and RICH's sides: RICH's is scaled down
        market.set_price(MARK + 50 * WAD if is_long else MARK - 50 * WAD)
        market.settle_fully()
        mark, side = market.exchange.mark, LONG if is_long else SHORT
        assert market.exchange.side(side).scale < WAD
        market.deposit(C, 55 * WAD)
        market.trade(C, B, is_long, WAD, mark)
        end = mark - mark // 20 if is_long else mark + mark // 20
        market.set_price(end - 7 * WAD if is_long else end + 7 * WAD)
        receipt = settle(market)
        assert receipt.mark_after == end
        assert abs(receipt.closed_size - WAD) <= 4
        assert abs(receipt.bonus + receipt.adl_shortfall - 7 * WAD) <= 40
        assert receipt.bonus == min(receipt.surplus, receipt.bonus + receipt.adl_shortfall)

    def test_the_winners_of_a_walk_get_what_those_of_one_move_get_but_the_shortfall(self, twin: TwinFactory) -> None:
        """What the receipts of a walk call socialized is all that a winner misses against one long move."""
        equities, shortfall = [], 0
        for step in (5 * PERCENT, 50 * PERCENT):
            market = twin(max_price_step=step, step_interval=0, fee_rate=0)
            crowd(market, {A: 51, B: 5000})
            market.set_price(850 * WAD)
            market.settle_fully()
            equities.append(market.exchange.account(RICH).equity)
            shortfall += sum(receipt.adl_shortfall - receipt.socialized for receipt in market.receipts)
        # In one move A is 99 short of 150, which nobody covers; in the walk A is closed at 950, one unit of two.
        assert abs(equities[1] - equities[0] - shortfall) <= 10


class TestFundingAtALaggingMark:
    def test_bug_a_close_out_by_funding_hides_what_its_winners_miss(self, twin: TwinFactory) -> None:
        """Design §3: funding and price are "both the same `move(d)`", `bonus = min(surplus, closed size · max(0, what
        index - mark would still bring W))`, and "the receipt states it as `adl_shortfall` — it is never hidden".

        Funding closes a long while the index is 40 below the mark: the shorts are deleveraged 40 too early, but their
        receipt says that nothing is missed, and the surplus goes to the vault.
        """
        market = twin(fee_rate=WAD // 400, max_funding=PERCENT, max_price_step=5 * PERCENT)
        market.deposit(RICH, 10**6 * WAD)
        market.deposit(A, 55 * WAD)
        market.trade(A, RICH, True, WAD, MARK)
        low = close_to_the_edge(market, A)
        market.deposit(B, 5000 * WAD)
        market.trade(B, RICH, True, 8 * WAD, low * 1004 // 1000)
        market.exchange.chain.advance(100_000)
        market.set_price(low - 40 * WAD)
        funding, price = receipts_in(market.settle().logs)
        assert (funding.funding, price.funding) == (True, False)
        assert funding.closed_size == WAD
        missed = funding.mark_after - funding.index_price
        assert funding.bonus == min(funding.surplus, missed)
        assert funding.adl_shortfall == missed - funding.bonus


def close_to_the_edge(market: Twin, trader: int) -> int:
    """Bring the mark to a hundredth above where a long's bucket is closed; the mark then."""
    address = market.exchange.chain.address(trader)
    view = market.exchange.chain.call(market.exchange.lens, "position", market.exchange.market.address, address)
    price = int(view[-1]) + WAD // 100
    market.set_price(price)
    market.settle_fully()
    assert market.exchange.account(trader).shares
    return price


# --------------------------------------------------------------------------------------------------- views, guarantees


class TestPreview:
    @pytest.mark.parametrize("price", [100, 940, 999, 1001, 1060, 5000])
    def test_has_no_step_limit(self, twin: TwinFactory, price: int) -> None:
        """It says what one move would do, however short the steps of this market are."""
        previews, receipts = [], []
        for step in (PERCENT, 50 * PERCENT):
            market = twin(max_price_step=step, step_interval=INTERVAL, fee_rate=0)
            crowd(market, {A: 51, B: 53, C: 5000})
            previews.append(market.exchange.preview(price * WAD))
            market.set_price(price * WAD)
            receipts.append(settle(market))
        assert previews[0] == previews[1]
        gross = previews[0][0]
        assert gross == 3 * abs(price - 1000) * WAD
        if 500 <= price <= 1500:
            amounts = [getattr(receipts[1], name) for name in ("gross", "deficit", "covered", "surplus", "bonus")]
            assert list(previews[0][:5]) == amounts

    def test_of_a_lagging_market_starts_at_its_mark(self, twin: TwinFactory) -> None:
        market = twin(**SLOW)
        crowd(market, {A: 500})
        market.set_price(800 * WAD)
        settle(market)
        assert market.exchange.preview(800 * WAD)[0] == 190 * WAD


class TestNoKeeper:
    """S8: steps within the close-out margin never make a deficit, whatever prices do and with nobody liquidating."""

    @pytest.mark.parametrize("seed", range(4))
    def test_no_deficit(self, twin: TwinFactory, seed: int) -> None:
        chance = random.Random(seed)
        market = twin(max_price_step=PERCENT, step_interval=0, fee_rate=0, closeout_margin=PERCENT)
        lens, address = market.exchange.lens, market.exchange.market.address
        assert market.exchange.chain.call(lens, "is_gap_safe", address)
        for trader in market.traders:
            market.deposit(trader, 10**5 * WAD)
        for _ in range(6):
            mark = market.exchange.mark
            for _ in range(6):
                maker, taker = chance.sample(list(market.traders), 2)
                try:
                    market.trade(maker, taker, chance.random() < 0.5, chance.randint(1, 300) * WAD, mark)
                except Reverted:
                    continue
            market.set_price(max(MARK // 100, mark * chance.randint(60, 160) // 100))
            market.settle_fully()
        assert sum(receipt.buckets_closed for receipt in market.receipts) > 0
        assert [receipt for receipt in market.receipts if receipt.deficit] == []

    def test_a_wei_over_the_closeout_margin_is_not_called_safe(self, exchange: ExchangeFactory) -> None:
        for step, safe in ((PERCENT, True), (PERCENT + 1, False)):
            made = exchange(max_price_step=step, closeout_margin=PERCENT)
            assert made.chain.call(made.lens, "is_gap_safe", made.market.address) is safe
