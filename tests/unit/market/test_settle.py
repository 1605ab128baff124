"""settle(): the price move is the settlement. Every number is worked out by hand here, or by the model in `Twin`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from fractions import Fraction
from itertools import pairwise
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prorata.exchange import Exchange, SideState
from prorata.parameters import MarketParameters
from prorata.receipts import Receipt, receipts_in
from prorata.revm_chain import RevmChain
from prorata.twin import Twin
from prorata.units import INDEX_UNIT, LONG, MAX_PRICE, MIN_PRICE, SHORT, WAD
from tests.moves import travel

TwinFactory = Callable[..., Twin]
ExchangeFactory = Callable[..., Exchange]
Refused = Callable[..., AbstractContextManager[None]]

A, B, C, D, E, RICH, RICHER, STRANGER = range(1, 9)
MARK = 1000 * WAD
P = MarketParameters()

CALLER = """
# pragma version 0.4.3
interface Market:
    def settle() -> bool: nonpayable

caught_up: public(bool)

@external
def settle(market: address):
    self.caught_up = extcall Market(market).settle()
"""


def crowd(market: Twin | Exchange, collaterals: Mapping[int, int], is_long: bool = True, size: int = WAD) -> None:
    """Everyone named takes `size` of a side with so many units of collateral; RICH is on the other side."""
    market.deposit(RICH, 10**6 * WAD)
    for trader, collateral in collaterals.items():
        market.deposit(trader, collateral * WAD)
        market.trade(trader, RICH, is_long, size, MARK)


def move(market: Twin | Exchange, price: int) -> Receipt:
    """Set the price and settle: the one receipt."""
    market.set_price(price)
    (receipt,) = receipts_in(market.settle().logs)
    assert 2 * abs(price - receipt.mark_before) <= receipt.mark_before, "one settlement moves the mark by half at most"
    return receipt


def equity(market: Twin, trader: int) -> int:
    return market.exchange.account(trader).equity


def size_of(exchange: Exchange, trader: int) -> int:
    account = exchange.account(trader)
    return account.shares * exchange.side(account.side).scale // WAD


def close(actual: int, expected: int, wei: int = 4) -> bool:
    """Within some wei of filing and rounding, and not above."""
    return expected - wei <= actual <= expected


# -------------------------------------------------------------------------------------------------------- who and when


class TestNothingToDo:
    def test_at_the_mark(self, each_twin: TwinFactory) -> None:
        market = each_twin()
        crowd(market, {A: 60, B: 100})
        before = [market.exchange.account(trader) for trader in market.traders]
        assert market.settle().logs == []
        market.set_price(MARK)  # a new round, the same price
        assert market.settle().logs == []
        assert [market.exchange.account(trader) for trader in market.traders] == before

    def test_changes_nothing(self, exchange: ExchangeFactory, state: Callable[[Exchange], Any]) -> None:
        made = exchange()
        crowd(made, {A: 60, B: 100})
        before = state(made)
        made.settle()
        assert state(made) == before

    def test_a_second_call_does_nothing(self, exchange: ExchangeFactory, state: Callable[[Exchange], Any]) -> None:
        made = exchange()
        crowd(made, {A: 60, B: 100})
        move(made, 900 * WAD)
        before = state(made)
        assert made.settle().logs == []
        assert state(made) == before

    def test_but_a_premium_is_paid(self, exchange: ExchangeFactory) -> None:
        """An index at the mark is no reason to let funding wait."""
        made = exchange(max_funding=WAD // 100)
        crowd(made, {A: 60, B: 100})
        made.deposit(A, 1000 * WAD)
        made.trade(A, RICH, True, WAD, MARK + WAD // 2)
        made.chain.advance(60)
        assert [log.name for log in made.settle().logs] == ["Moved"]

    def test_without_positions_only_the_mark_moves(self, twin: TwinFactory) -> None:
        market = twin()
        market.deposit(A, 10 * WAD)
        receipt = move(market, 500 * WAD)
        assert market.exchange.mark == 500 * WAD
        assert market.exchange.epoch == 0
        assert equity(market, A) == 10 * WAD
        amounts = (receipt.gross, receipt.deficit, receipt.covered, receipt.surplus, receipt.bonus)
        assert amounts == (0, 0, 0, 0, 0)


class TestCaller:
    def test_may_be_a_stranger_with_nothing(self, exchange: ExchangeFactory) -> None:
        made = exchange()
        crowd(made, {A: 60, B: 100})
        made.set_price(900 * WAD)
        made.settle(caller=99)
        assert made.mark == 900 * WAD

    def test_is_told_whether_the_mark_has_arrived(self, exchange: ExchangeFactory) -> None:
        chain = RevmChain()
        made = exchange(chain=chain, max_buckets=1)
        crowd(made, {A: 60, B: 70, C: 500})
        caller = chain.deploy_source(CALLER)
        made.set_price(900 * WAD)
        answers = []
        for _ in range(3):
            chain.transact(caller, "settle", made.market.address, sender=STRANGER)
            answers.append(chain.call(caller, "caught_up"))
        assert answers == [False, True, True]
        assert made.mark == 900 * WAD


class TestRefusedPrice:
    @pytest.mark.parametrize(
        ("reason", "round_id", "answer", "delay", "answered_in"),
        [
            ("oracle: non-positive answer", 5, -1, 0, 5),
            ("oracle: incomplete round", 5, MARK // 2, 0, 4),
            ("oracle: future-dated", 5, MARK // 2, 1, 5),
            ("oracle: stale", 5, MARK // 2, -P.max_staleness - 1, 5),
            ("oracle: price out of range", 5, MAX_PRICE + 1, 0, 5),
            ("oracle: price out of range", 5, MIN_PRICE - 1, 0, 5),
        ],
    )
    def test_moves_nothing(
        self,
        exchange: ExchangeFactory,
        refused: Refused,
        reason: str,
        round_id: int,
        answer: int,
        delay: int,
        answered_in: int,
    ) -> None:
        made = exchange()
        crowd(made, {A: 60, B: 100})
        # The settlement is mined one second after the price, which is one second after now.
        updated_at = made.chain.now + 2 + delay
        made.chain.transact(made.feed, "set_round", round_id, answer, updated_at, answered_in, sender=0)
        with refused(made, reason):
            made.settle()


# ------------------------------------------------------------------------------------------------------ money, by hand


class TestWithoutCloseOuts:
    @pytest.mark.parametrize("price", [960 * WAD, 999 * WAD + 1, MARK - 1, MARK + 1, 1040 * WAD])
    def test_losers_pay_winners_to_the_wei(self, each_twin: TwinFactory, price: int) -> None:
        market = each_twin(fee_rate=0)
        crowd(market, {A: 100, B: 300})
        receipt = move(market, price)
        for trader, deposited in ((A, 100), (B, 300)):
            assert close(equity(market, trader), deposited * WAD + price - MARK)
        assert close(equity(market, RICH), 10**6 * WAD + 2 * (MARK - price))
        assert (receipt.loser, receipt.funding) == (LONG if price < MARK else SHORT, False)
        assert receipt.gross == 2 * abs(price - MARK)
        assert (receipt.deficit, receipt.covered, receipt.surplus, receipt.bonus) == (0, 0, 0, 0)
        assert (receipt.adl_shortfall, receipt.closed_size, receipt.buckets_closed) == (0, 0, 0)
        assert receipt.open_interest == 2 * WAD

    def test_up_and_down_again_is_nothing(self, each_twin: TwinFactory) -> None:
        market = each_twin(fee_rate=0)
        crowd(market, {A: 100, B: 300})
        before = [equity(market, trader) for trader in (A, B, RICH)]
        for price in (1030, 990, 955, MARK // WAD):
            move(market, price * WAD)
        assert [equity(market, trader) for trader in (A, B, RICH)] == before

    def test_logs_the_sides_as_they_stand(self, twin: TwinFactory) -> None:
        market = twin()
        crowd(market, {A: 60, B: 300})
        for price in (1020 * WAD, 930 * WAD):
            receipt = move(market, price)
            sides = [market.exchange.side(side) for side in (LONG, SHORT)]
            assert receipt.indices == (sides[0].index, sides[1].index)
            closes = price == 930 * WAD
            assert receipt.scales == ((sides[0].scale, sides[1].scale) if closes else None)
            assert (sides[1].scale < WAD) == closes
            assert receipt.open_interest == sides[receipt.loser].open_interest
            assert (receipt.mark_after, receipt.index_price) == (price, price)


class TestCloseOuts:
    def test_which_accounts_worked_out_by_hand(self, twin: TwinFactory) -> None:
        """An account is closed by T above its bucket's lower half-open rest: upper edge > K - A d - co A mark."""
        market = twin(fee_rate=0)
        collaterals = {A: 57, B: 58, C: 59, D: 60, E: 61}
        crowd(market, collaterals)
        level = (P.bucket_width * MARK).bit_length() - 1
        edges = {}
        for trader, collateral in collaterals.items():
            runs_out = -collateral * INDEX_UNIT
            edges[trader] = ((runs_out >> level) + 1) << level
        price = 950 * WAD
        threshold = (price - MARK) * WAD - P.closeout_margin * price
        expected = [trader for trader in collaterals if edges[trader] > threshold]
        assert expected == [A, B, C]
        receipt = move(market, price)
        assert [trader for trader in collaterals if not market.exchange.account(trader).shares] == expected
        assert receipt.closed_size == 3 * WAD

    def test_closes_at_the_edge_and_not_a_wei_before(self, twin: TwinFactory) -> None:
        market = twin(fee_rate=0)
        crowd(market, {A: 60, B: 300})
        # T = -(1 - co) d - co MARK in price units; the edge in index units of 1e-36.
        edge = market.exchange.account(A).edge
        keep = (-edge - P.closeout_margin * MARK) // (WAD - P.closeout_margin)
        assert move(market, MARK - keep).buckets_closed == 0
        assert market.exchange.account(A).shares == WAD
        assert move(market, MARK - keep - 1).buckets_closed == 1
        assert market.exchange.account(A).shares == 0

    @pytest.mark.parametrize("is_long", [True, False])
    def test_what_is_left_goes_to_the_vault(self, each_twin: TwinFactory, is_long: bool) -> None:
        market = each_twin(fee_rate=0)
        crowd(market, {A: 60, B: 300}, is_long)
        sign = 1 if is_long else -1
        receipt = move(market, MARK - sign * 55 * WAD)
        assert receipt.gross == 2 * 55 * WAD
        assert (receipt.deficit, receipt.covered, receipt.bonus, receipt.adl_shortfall) == (0, 0, 0, 0)
        assert close(receipt.surplus, 5 * WAD)
        assert market.exchange.insurance_owed == receipt.surplus
        assert equity(market, A) == 0
        assert close(equity(market, B), 245 * WAD)
        assert close(equity(market, RICH), 10**6 * WAD + 110 * WAD)

    def test_one_mans_surplus_first_pays_another_mans_deficit(self, each_twin: TwinFactory) -> None:
        market = each_twin(fee_rate=0)
        crowd(market, {A: 60, B: 75, C: 300})
        receipt = move(market, 933 * WAD)  # A misses 7, B has 8 left
        assert (receipt.deficit, receipt.covered) == (0, 0)
        assert close(receipt.surplus, WAD)
        assert close(market.exchange.insurance_owed, WAD)
        assert close(equity(market, RICH), 10**6 * WAD + 3 * 67 * WAD)

    @pytest.mark.parametrize(
        ("insured", "covered"),
        [(0, 0), (60, 30), (79, 39 * WAD + WAD // 2), (80, 40), (10_000, 40)],
        ids=["nobody", "partly", "nearly", "just", "fully"],
    )
    @pytest.mark.parametrize("is_long", [True, False])
    def test_a_deficit_is_insured_as_far_as_it_goes_and_the_rest_socialized(
        self, each_twin: TwinFactory, insured: int, covered: int, is_long: bool
    ) -> None:
        """100 lost, 60 there: 40 missing. The vault may pay half of what it has, the winner bears the rest."""
        covered = covered if covered > WAD else covered * WAD
        market = each_twin(fee_rate=0)
        if insured:
            market.insure(insured * WAD)
        crowd(market, {A: 60, B: 400}, is_long)
        sign = 1 if is_long else -1

        receipt = move(market, MARK - sign * 100 * WAD)

        assert receipt.gross == 200 * WAD
        assert 40 * WAD <= receipt.deficit <= 40 * WAD + 4
        assert covered <= receipt.covered <= covered + 4
        assert receipt.socialized == receipt.deficit - receipt.covered
        assert receipt.haircut * 200 >= receipt.socialized
        assert (receipt.surplus, receipt.bonus) == (0, 0)
        won = equity(market, RICH) - 10**6 * WAD
        assert close(won, 160 * WAD + covered)
        # The vault sent whole token units; the change is still its own.
        assert abs(market.exchange.vault_assets - (insured * WAD - covered)) <= market.exchange.unit
        assert 0 <= market.exchange.insurance_owed < market.exchange.unit

    def test_the_loser_alone_pays_and_the_winner_is_never_poorer(self, twin: TwinFactory) -> None:
        """As much of the gross is missing as one move can make: the longs had 50 and lose 500."""
        market = twin(fee_rate=0)
        crowd(market, {A: 50, B: 50})
        receipt = move(market, MARK // 2)
        assert receipt.gross == 1000 * WAD
        assert 900 * WAD <= receipt.deficit <= 900 * WAD + 4
        assert close(equity(market, RICH), 10**6 * WAD + 100 * WAD)


class TestWinners:
    SIZES: ClassVar = {A: WAD, B: 2 * WAD + WAD // 7, C: 37 * WAD // 10, D: WAD // 100}

    def market(self, factory: TwinFactory, is_long: bool) -> Twin:
        """Four winners of odd sizes against one that fails and one that lives."""
        market = factory(fee_rate=0)
        for trader in self.SIZES:
            market.deposit(trader, 2000 * WAD)
        total = sum(self.SIZES.values())
        failing = total // 3
        market.deposit(RICH, failing * 60 // 10**12 * 10**12)
        market.deposit(RICHER, 10**5 * WAD)
        left = failing
        for trader, size in self.SIZES.items():
            part = min(size, left)
            for loser, amount in ((RICH, part), (RICHER, size - part)):
                if amount:
                    market.trade(trader, loser, is_long, amount, MARK)
            left -= part
        return market

    @pytest.mark.parametrize("is_long", [True, False])
    def test_gain_the_same_per_size(self, each_twin: TwinFactory, is_long: bool) -> None:
        market = self.market(each_twin, is_long)
        before = {trader: equity(market, trader) for trader in self.SIZES}
        sign = 1 if is_long else -1
        receipt = move(market, MARK + sign * 100 * WAD)
        assert receipt.socialized > 0
        gains = {trader: equity(market, trader) - before[trader] for trader in self.SIZES}
        total = sum(self.SIZES.values())
        per_unit = Fraction(receipt.gross - receipt.socialized, total)
        assert 86 < per_unit < 87
        for trader, size in self.SIZES.items():
            assert abs(gains[trader] - per_unit * size) <= 2, trader

    @pytest.mark.parametrize("is_long", [True, False])
    def test_are_deleveraged_by_one_factor(self, each_twin: TwinFactory, is_long: bool) -> None:
        market = self.market(each_twin, is_long)
        exchange = market.exchange
        total, failing = sum(self.SIZES.values()), size_of(exchange, RICH)
        assert failing == total // 3
        sign = 1 if is_long else -1
        move(market, MARK + sign * 100 * WAD)
        scale = exchange.side(LONG if is_long else SHORT).scale
        assert scale == WAD * (total - failing) // total
        for trader, size in self.SIZES.items():
            account = exchange.account(trader)
            assert account.shares == size
            assert size_of(exchange, trader) == size * scale // WAD
        # Both sides are the same size again, and the survivor keeps all of his.
        assert size_of(exchange, RICHER) == total - failing
        longs, shorts = (exchange.side(side).open_interest for side in (LONG, SHORT))
        assert abs(longs - shorts) <= len(self.SIZES) * 10

    def test_a_scaled_winner_gains_and_loses_by_its_size(self, twin: TwinFactory) -> None:
        market = twin(fee_rate=0)
        crowd(market, {A: 60, B: 4000})
        move(market, 945 * WAD)
        assert market.exchange.side(SHORT).scale == WAD // 2
        before = equity(market, RICH)
        move(market, 925 * WAD)
        assert close(equity(market, RICH), before + 20 * WAD)
        travel(market, 1945 * WAD)
        assert close(equity(market, RICH), before - 1000 * WAD)


# ---------------------------------------------------------------------------------------------------- stop and resume


class TestStops:
    LADDER: ClassVar = {A: 60, B: 70, C: 80, D: 90, E: 100}

    @pytest.mark.parametrize("is_long", [True, False])
    @pytest.mark.parametrize("max_buckets", [1, 2, 3, 4])
    def test_where_the_budget_of_buckets_ends(self, each_twin: TwinFactory, max_buckets: int, is_long: bool) -> None:
        market = each_twin(max_buckets=max_buckets)
        crowd(market, self.LADDER | {RICHER: 5000}, is_long)
        sign = 1 if is_long else -1
        target = MARK - sign * 200 * WAD
        market.set_price(target)

        marks, closed = [MARK], []
        while market.exchange.mark != target:
            (receipt,) = receipts_in(market.settle().logs)
            market.check()
            marks.append(receipt.mark_after)
            closed.append(receipt.buckets_closed)
            assert receipt.index_price == target
            # The move ended just where the next bucket would have gone.
            living = [trader for trader in self.LADDER if market.exchange.account(trader).shares]
            assert len(self.LADDER) - len(living) == sum(closed)
            if living:
                side = market.exchange.side(LONG if is_long else SHORT)
                mark = market.exchange.mark
                threshold = side.index - P.closeout_margin * mark * side.scale // WAD
                step = side.scale * (WAD - sign * P.closeout_margin) // WAD
                edge = max(market.exchange.account(trader).edge for trader in living)
                assert 0 <= threshold - edge <= step + 1

        full, rest = divmod(len(self.LADDER), max_buckets)
        assert closed == [max_buckets] * full + ([rest] if rest else [])
        assert all((later - earlier) * sign < 0 for earlier, later in pairwise(marks))

    @pytest.mark.parametrize("max_buckets", [1, 2])
    def test_costs_neither_closed_nor_living_losers_a_wei(self, twin: TwinFactory, max_buckets: int) -> None:
        """The stops decide when winners are deleveraged, not who is closed or what survivors lose."""
        markets = [twin(max_buckets=budget) for budget in (max_buckets, 128)]
        for market in markets:
            crowd(market, self.LADDER | {RICHER: 5000})
            market.set_price(800 * WAD)
            market.settle_fully()
        stopped, straight = (market.exchange for market in markets)
        for trader in (*self.LADDER, RICHER):
            assert abs(stopped.account(trader).equity - straight.account(trader).equity) <= 2
            assert stopped.account(trader).shares == straight.account(trader).shares
        assert stopped.side(LONG) == straight.side(LONG)
        # Deleveraged earlier, further from the index: the winner is the one who may differ, by what receipts state.
        sums = [sum(r.gross - r.socialized + r.bonus for r in market.receipts) for market in markets]
        gains = [equity(market, RICH) for market in markets]
        assert abs((gains[1] - gains[0]) - (sums[1] - sums[0])) <= 20

    def test_bonus_for_winners_deleveraged_at_a_lagging_mark(self, each_twin: TwinFactory) -> None:
        """A and B lie side by side. The first call closes A with some 9 left, at a mark that has still 149 to go."""
        market = each_twin(max_buckets=1, fee_rate=0)
        crowd(market, {A: 60, B: 61, C: 5000})
        receipt = move(market, 800 * WAD)
        fallen = MARK - receipt.mark_after
        assert 50 * WAD < fallen < 52 * WAD
        left = 60 * WAD - fallen
        missed = receipt.mark_after - 800 * WAD
        assert close(receipt.bonus, left) and close(receipt.surplus, left)
        assert missed - left <= receipt.adl_shortfall <= missed - left + 4
        assert market.exchange.insurance_owed == 0
        assert close(equity(market, RICH), 10**6 * WAD + 3 * fallen + left)

    def test_no_bonus_when_the_mark_arrives(self, twin: TwinFactory) -> None:
        market = twin(fee_rate=0)
        crowd(market, {A: 60, C: 5000})
        receipt = move(market, 945 * WAD)
        assert (receipt.bonus, receipt.adl_shortfall) == (0, 0)

    def test_bonus_is_at_most_what_they_miss(self, twin: TwinFactory) -> None:
        """Stopped a hair before the price: the winners get what the gap would have brought, the vault the rest."""
        market = twin(max_buckets=1, fee_rate=0)
        crowd(market, {A: 60, B: 61, C: 5000})
        with market.exchange.chain.anchor():
            market.exchange.set_price(800 * WAD)
            (stopped,) = receipts_in(market.exchange.settle().logs)
        gap = WAD // 100
        receipt = move(market, stopped.mark_after - gap)
        assert receipt.mark_after == stopped.mark_after
        assert receipt.bonus == gap and receipt.adl_shortfall == 0
        assert market.exchange.insurance_owed == receipt.surplus - gap > 5 * WAD

    def test_a_tie_over_two_levels_goes_in_one_call(self, twin: TwinFactory) -> None:
        """Two shorts with one bankruptcy index, one filed at 1000 and one in wider buckets at 1400: one upper edge."""
        market = twin(max_buckets=1, fee_rate=0)
        exchange = market.exchange
        market.deposit(RICH, 10**6 * WAD)
        market.deposit(A, 500 * WAD)
        market.trade(A, RICH, False, WAD, MARK)
        while exchange.account(A).bucket % 2 == 0:
            market.deposit(A, WAD // 3)
        move(market, 1400 * WAD)
        market.deposit(B, equity(market, A))
        market.trade(B, RICH, False, WAD, 1400 * WAD)
        market.deposit(C, 5000 * WAD)
        market.trade(C, RICH, False, WAD, 1400 * WAD)
        a, b = exchange.account(A), exchange.account(B)
        assert (a.level + 1, a.edge) == (b.level, b.edge)
        receipt = move(market, 1600 * WAD)
        assert (receipt.mark_after, receipt.buckets_closed) == (1600 * WAD, 2)

    def test_where_the_budget_of_words_ends(self, exchange: ExchangeFactory) -> None:
        """A left, and B, a short with 40 times its notional, stands tens of thousands of narrow buckets higher. With
        few words a call the mark gets there in pieces, and all ends as if it had gone at once."""
        ends = []
        for max_words in (72, 144, 320):
            made = exchange(max_words=max_words, bucket_width=WAD // 10**4, fee_rate=0)
            crowd(made, {A: 60, B: 40_000}, is_long=False)
            made.trade(A, RICH, True, WAD, MARK)
            made.set_price(40_000 * WAD)
            marks = [MARK]
            while made.mark != 40_000 * WAD:
                (receipt,) = receipts_in(made.settle().logs)
                assert receipt.buckets_closed == 0
                marks.append(made.mark)
            assert all(later > earlier for earlier, later in pairwise(marks))
            ends.append((len(marks) - 1, [made.account(trader).equity for trader in (A, B, RICH)]))
        (slow, slow_end), (medium, medium_end), (fast, fast_end) = ends
        assert slow > medium > fast >= 1
        assert close(fast_end[1], 1000 * WAD) and close(fast_end[2], (10**6 + 39_000) * WAD)
        assert slow_end == medium_end == fast_end

    @pytest.mark.parametrize("max_words", [72, 200])
    def test_words_and_buckets_together_keep_every_balance(self, exchange: ExchangeFactory, max_words: int) -> None:
        """Conservation through every stop: what the market holds is what it owes, and some dust."""
        made = exchange(max_buckets=1, max_words=max_words, bucket_width=WAD // 10**4)
        crowd(made, {A: 60, B: 9_000, C: 19_000, D: 19_001, E: 90_000}, is_long=False)
        settle_through(made, 30_000 * WAD)
        assert [bool(made.account(trader).shares) for trader in (A, B, C, D, E)] == [False] * 4 + [True]

    @pytest.mark.parametrize("factor", [10, 300, 10_000])
    @pytest.mark.parametrize("max_words", [72, 320])
    def test_words_cost_calls_only_after_a_rise_by_orders_of_magnitude(
        self, exchange: ExchangeFactory, max_words: int, factor: int
    ) -> None:
        """The published bound: two shorts with nothing between them, and the price rises `factor` times after they were
        filed. A word of the bitmap spans 256 buckets, each at least half of `bucket_width` of the price then."""
        market = exchange(mark=WAD, max_words=max_words, max_price_step=WAD // 2)
        market.deposit(RICH, 10**8 * WAD)
        for trader, collateral in ((A, 100 * WAD), (B, 10**7 * WAD)):
            market.deposit(trader, collateral)
            market.trade(trader, RICH, False, 100 * WAD, WAD)
        calls = settle_through(market, factor * WAD)
        assert not market.account(A).shares and market.account(B).shares
        steps, price = 0, WAD
        while price < factor * WAD:
            steps, price = steps + 1, price * 3 // 2
        words = 2 * factor * WAD // (256 * P.bucket_width)
        assert calls <= steps + words // max_words + 1
        if factor == 10_000:
            assert calls > steps + words // max_words // 3, "the bound is no higher than it needs to be"

    def test_the_price_may_turn_during_catch_up(self, twin: TwinFactory) -> None:
        market = twin(max_buckets=1)
        crowd(market, self.LADDER | {RICHER: 5000})
        market.set_price(800 * WAD)
        market.settle()
        market.settle()
        assert market.exchange.mark > 900 * WAD
        move(market, 1100 * WAD)
        assert market.exchange.mark == 1100 * WAD
        assert [bool(market.exchange.account(trader).shares) for trader in self.LADDER] == [False] * 2 + [True] * 3


# -------------------------------------------------------------------------------------------------------------- epochs


class TestEpoch:
    @pytest.mark.parametrize("is_long", [True, False])
    def test_ends_when_a_side_is_empty(self, each_twin: TwinFactory, is_long: bool) -> None:
        market = each_twin(fee_rate=0)
        exchange = market.exchange
        crowd(market, {A: 60, B: 70}, is_long)
        sign = 1 if is_long else -1
        market.set_price(MARK - sign * 100 * WAD)

        transaction = market.settle()

        ended = [log for log in transaction.logs if log.name == "EpochEnded"]
        (receipt,) = receipts_in(transaction.logs)
        assert [dict(log.fields) for log in ended] == [
            {"epoch": 0, "long_index": receipt.indices[0], "short_index": receipt.indices[1]}
        ]
        assert exchange.epoch == 1
        for side in (LONG, SHORT):
            assert exchange.side(side) == SideState(shares=0, scale=WAD, index=0, open_interest=0)
        assert exchange.account(RICH).shares == 0
        assert close(equity(market, RICH), 10**6 * WAD + 130 * WAD)

    def test_next_epoch_is_as_good_as_new(self, each_twin: TwinFactory) -> None:
        """The same traders in the same buckets, half of them untouched since the last epoch."""
        market = each_twin()
        exchange = market.exchange
        crowd(market, {A: 60, B: 70})
        move(market, 900 * WAD)
        move(market, MARK)
        crowd(market, {A: 60, C: 70, D: 500})
        assert exchange.side(LONG).shares == 3 * WAD
        move(market, 945 * WAD)
        assert [bool(exchange.account(trader).shares) for trader in (A, B, C, D)] == [False, False, True, True]
        assert exchange.epoch == 1
        move(market, 500 * WAD)
        assert exchange.epoch == 2
        travel(market, 1500 * WAD)
        assert exchange.epoch == 2
        assert all(exchange.account(trader).shares == 0 for trader in market.traders)

    @pytest.mark.parametrize(("failing", "ended"), [(9999 * WAD, False), (9999 * WAD + 1, True)])
    def test_ends_when_the_winners_scale_is_used_up(self, twin: TwinFactory, failing: int, ended: bool) -> None:
        """One in 10,000 is the last scale that goes on; the surviving loser too is flat then and keeps what he has."""
        market = twin(fee_rate=0)
        exchange = market.exchange
        market.deposit(RICH, 10**8 * WAD)
        market.deposit(A, 9999 * 60 * WAD)
        market.deposit(B, 500 * WAD)
        market.trade(A, RICH, True, failing, MARK)
        market.trade(B, RICH, True, WAD, MARK)
        move(market, 945 * WAD)
        assert exchange.epoch == ended
        assert exchange.account(A) == type(exchange.account(A))(0, 0, 0, 0, 0)
        assert close(equity(market, B), 445 * WAD)
        assert exchange.account(B).shares == (0 if ended else WAD)
        assert exchange.side(SHORT).scale == (WAD if ended else WAD // 10**4)
        assert size_of(exchange, RICH) == (0 if ended else (failing + WAD) // 10**4)

    def test_ends_after_deleverage_upon_deleverage(self, twin: TwinFactory) -> None:
        """Each crash closes nine tenths of the longs: after the fifth, scale 1e-5, both sides start again."""
        market = twin(traders=8)
        exchange = market.exchange
        market.deposit(RICH, 10**9 * WAD)
        market.deposit(B, 10**6 * WAD)
        market.trade(B, RICH, True, WAD, MARK)
        epochs = []
        price = MARK
        for _ in range(5):
            size = exchange.side(LONG).open_interest * 9
            market.deposit(A, size * price // WAD * 6 // 100 + WAD)
            market.trade(A, RICH, True, size, price)
            price = price * 945 // 1000
            move(market, price)
            assert exchange.account(A).shares == 0
            market.check()
            epochs.append(exchange.epoch)
        assert epochs == [0, 0, 0, 0, 1]


# ----------------------------------------------------------------------------------------------------------- extremes


class TestExtremes:
    def test_in_each_evm(self, twin_everywhere: TwinFactory) -> None:
        """Losses, a deficit, insurance, stops and the end of an epoch: one of everything."""
        market = twin_everywhere(max_buckets=2)
        market.insure(20 * WAD)
        crowd(market, {A: 55, B: 80, C: 200, D: 400})
        market.set_price(MARK // 2)
        assert len(market.settle_fully()) == 2
        assert market.exchange.epoch == 1
        assert [receipt.buckets_closed for receipt in market.receipts] == [2, 2]
        assert any(receipt.covered for receipt in market.receipts)

    @pytest.mark.parametrize("insured", [0, 500])
    def test_the_price_halves(self, each_twin: TwinFactory, insured: int) -> None:
        market = each_twin()
        if insured:
            market.insure(insured * WAD)
        crowd(market, {A: 55, B: 80, C: 200, D: 400, E: 700})
        receipt = move(market, MARK // 2)
        assert [bool(market.exchange.account(trader).shares) for trader in (A, B, C, D, E)] == [False] * 4 + [True]
        assert receipt.haircut < WAD
        if insured:
            # Five fees a side and the deposit are the vault's, half of it to draw.
            assert abs(receipt.covered - (500 * WAD + 10 * WAD // 2) // 2) <= market.exchange.unit

    @pytest.mark.parametrize("decimals", [6, 8, 18])
    def test_a_thousandfold_rise_and_the_crash_after_it(self, exchange: ExchangeFactory, decimals: int) -> None:
        made = exchange(decimals=decimals, fee_rate=0, max_words=320)
        crowd(made, {A: 60, B: 2000, C: 1_200_000}, is_long=False)
        settle_through(made, 1000 * MARK)
        assert [size_of(made, trader) for trader in (A, B, C)] == [0, 0, WAD]
        assert close(made.account(C).equity, 201_000 * WAD, 40)
        assert abs(size_of(made, RICH) - WAD) <= 10
        # At the new price the market is as fine as ever: a position of 2,000 with buckets of 1,000.
        made.deposit(D, 200 * WAD)
        made.trade(D, RICH, False, WAD // 500, 1000 * MARK)
        assert made.account(D).level == made.account(C).level + 10
        settle_through(made, 1010 * MARK)
        assert close(made.account(D).equity, 180 * WAD)
        settle_through(made, MARK)
        # Scaled sizes are some wei of size short, and a wei of size is a million wei of quote up there.
        assert close(made.account(C).equity, 1_200_000 * WAD, 10**7)
        assert close(made.account(D).equity, (200 + 1998) * WAD, 10**7)

    @pytest.mark.parametrize("decimals", [6, 18])
    @pytest.mark.parametrize("price", [MIN_PRICE, MAX_PRICE])
    @pytest.mark.parametrize("is_long", [True, False])
    def test_to_the_edge_of_the_range_and_back(
        self, exchange: ExchangeFactory, price: int, is_long: bool, decimals: int
    ) -> None:
        made = exchange(decimals=decimals, fee_rate=0, max_words=320)
        made.insure(0, 1000 * WAD)
        made.deposit(RICH, 10**7 * WAD)  # besides the million
        crowd(made, {A: 60, B: 1500, C: 10**7}, is_long)
        for target in (price, MARK, MIN_PRICE + MAX_PRICE - price, price, MARK):
            settle_through(made, target)
        # C never failed, and is where it began, up to some wei of size at a price of a million.
        assert close(made.account(C).equity, 10**7 * WAD, 10**7)
        assert made.account(A).equity == 0
        assert made.vault_assets >= 500 * WAD

    @pytest.mark.parametrize("mark", [MIN_PRICE, 2 * MIN_PRICE - 1, 10**13])
    def test_prices_of_tiny_magnitude(self, each_twin: TwinFactory, mark: int) -> None:
        """A billionth of a dollar, positions of billions, moved by a single wei of price."""
        market = each_twin(mark=mark)
        exchange = market.exchange
        size = 10 * WAD * WAD // mark
        market.deposit(RICH, 10**6 * WAD)
        for trader, collateral in ((A, WAD), (B, 2 * WAD), (C, 10**5 * WAD)):
            market.deposit(trader, collateral)
            market.trade(trader, RICH, False, size, mark)
        move(market, mark + 1)
        market.check()
        move(market, mark * 110 // 100)
        assert [bool(exchange.account(trader).shares) for trader in (A, B, C)] == [False, True, True]
        travel(market, mark * 2)
        assert [bool(exchange.account(trader).shares) for trader in (A, B, C)] == [False, False, True]
        market.check()
        travel(market, mark * 20)
        travel(market, mark + 3)
        market.check()

    @pytest.mark.parametrize("is_long", [True, False])
    def test_full_range_on_the_largest_positions(self, exchange: ExchangeFactory, is_long: bool) -> None:
        """Open interest at its bound, the highest price, the longest moves: the largest products there are."""
        made = exchange(mark=MAX_PRICE, fee_rate=0)
        size, fortune = 2**96 - 1, 2**118
        rich_alone(made, fortune)
        made.trade(A, B, is_long, size, MAX_PRICE)
        worst = -(-size * (MAX_PRICE - MIN_PRICE) // WAD)
        for price, sign in ((MIN_PRICE, 1), (MAX_PRICE, 0), (MIN_PRICE, 1)):
            receipts = travel(made, price)
            assert 0 <= sum(receipt.gross for receipt in receipts) - worst < len(receipts)
            assert {receipt.deficit for receipt in receipts} == {0}
            if price == MIN_PRICE:
                assert receipts[0].gross == -(-size * (MAX_PRICE // 2) // WAD)
            winner, loser = (B, A) if is_long else (A, B)
            assert close(made.account(winner).equity, fortune + sign * worst)
            assert close(made.account(loser).equity, fortune - sign * worst)

    def test_full_range_when_nobody_can_pay(self, exchange: ExchangeFactory) -> None:
        made = exchange(mark=MAX_PRICE, fee_rate=0)
        size = 2**96 - 1
        notional = -(-size * MAX_PRICE // WAD)
        margin = -(-notional * P.initial_margin // WAD)
        rich_alone(made, margin)
        made.trade(A, B, True, size, MAX_PRICE)
        receipt, *others = travel(made, MIN_PRICE)
        assert WAD * 899 // 1000 < receipt.haircut < WAD * 901 // 1000  # 5 of 50 % are there
        assert all(other.gross == 0 for other in others)
        assert made.epoch == 1
        assert (made.account(A).equity, made.account(A).shares) == (0, 0)
        assert close(made.account(B).equity, 2 * margin)


def rich_alone(exchange: Exchange, fortune: int) -> None:
    """A and B have a fortune each."""
    for trader in (A, B):
        exchange.chain.transact(exchange.token, "mint", exchange.chain.address(trader), fortune, sender=0)
        exchange.deposit(trader, fortune)


def settle_through(exchange: Exchange, price: int) -> int:
    """Settle until the mark is there, through every stop, and see after each that nothing is lost (S1).

    Returns:
        How many calls it took.
    """
    exchange.set_price(price)
    for calls in range(1, 1500):
        exchange.settle()
        owed = sum(exchange.account(trader).equity for trader in range(9)) + exchange.insurance_owed
        assert 0 <= exchange.token_balance(exchange.market) - owed <= 1000
        if exchange.mark == price:
            return calls
    pytest.fail(f"stuck at {exchange.mark} on the way to {price}")


# -------------------------------------------------------------------------------------------- anything, and the model


@st.composite
def markets(draw: st.DrawFn) -> tuple[list[tuple[int, int, int, bool]], list[int]]:
    """Positions (trader, margin per mille, size, is_long) and a path of prices per mille."""
    positions = [
        (
            trader,
            draw(st.integers(52, 900)),
            draw(st.sampled_from([WAD, WAD * 10 // 7, 10**16 + 1, 40 * WAD])),
            draw(st.booleans()),
        )
        for trader in (A, B, C, D, E)
    ]
    return positions, draw(st.lists(st.integers(100, 4000), min_size=1, max_size=5))


@given(markets(), st.sampled_from([1, 2, 128]), st.sampled_from([0, 30]))
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_market_on_any_path_agrees_with_the_model(
    drawn: tuple[list[tuple[int, int, int, bool]], list[int]], max_buckets: int, insured: int
) -> None:
    positions, path = drawn
    market = Twin(RevmChain(), MARK, 7, MarketParameters(max_buckets=max_buckets))
    if insured:
        market.insure(insured * WAD)
    market.deposit(RICH, 10**6 * WAD)
    for trader, margin, size, is_long in positions:
        market.deposit(trader, size * margin)
        market.trade(trader, RICH, is_long, size, MARK)
    for per_mille in path:
        market.set_price(MARK * per_mille // 1000)
        market.settle_fully()
        market.check()


def test_names_every_bucket_it_closes(twin: TwinFactory) -> None:
    market = twin(fee_rate=0)
    exchange = market.exchange
    crowd(market, {A: 60, B: 60, C: 75, D: 500})
    before = {trader: exchange.account(trader) for trader in (A, C)}
    assert exchange.account(B).bucket == before[A].bucket
    market.set_price(900 * WAD)
    logs = [log for log in market.settle().logs if log.name == "BucketClosed"]
    # epoch 32 · side 1 · level 8 · bucket 128
    expected = {
        (account.level << 128) | (account.bucket % 2**128): shares
        for account, shares in ((before[A], 2 * WAD), (before[C], WAD))
    }
    held = {log.fields["bucket_id"]: f"{log.fields['held']:0256b}" for log in logs}
    assert {bucket_id: int(bits[144:], 2) for bucket_id, bits in held.items()} == expected
    # generation 32 · debt 112 · shares 112: never closed before, and every member owes something at the lower edge.
    assert {bits[:32] for bits in held.values()} == {"0" * 32}
    assert all(0 < int(bits[32:144], 2) < 10 * WAD for bits in held.values())


def test_closes_a_bucket_again_after_it_was_filled_again(twin: TwinFactory) -> None:
    """A new generation of the same bucket: the accounts of the old one stay closed, whatever the new one earns."""
    market = twin(fee_rate=0)
    exchange = market.exchange
    crowd(market, {A: 60, D: 5000})
    bucket = exchange.account(A).bucket
    move(market, 945 * WAD)
    # The longs' index is 55 lower, and back again at the mark.
    move(market, MARK)
    market.deposit(B, 60 * WAD)
    market.trade(B, RICH, True, WAD, MARK)
    assert exchange.account(B).bucket == bucket
    assert exchange.account(A).shares == equity(market, A) == 0
    move(market, 990 * WAD)
    assert exchange.account(A).shares == equity(market, A) == 0
    assert exchange.account(B).shares == WAD
    move(market, 945 * WAD)
    assert exchange.account(B).shares == equity(market, B) == 0
