"""What a trader reads: account, side and lens. A number that is shown must be true to the wei: free collateral can be
withdrawn, and a close-out price is the last one at which the account lives."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prorata.chain import Reverted
from prorata.exchange import AccountState, CoreState, Exchange, SideState
from prorata.parameters import MarketParameters
from prorata.revm_chain import RevmChain
from prorata.twin import Twin
from prorata.units import LONG, MIN_PRICE, SHORT, WAD
from tests.moves import travel

TwinFactory = Callable[..., Twin]
ExchangeFactory = Callable[..., Exchange]
Refused = Callable[..., AbstractContextManager[None]]

TRADER, RICH, OTHER, NOBODY = 1, 2, 3, 4
MARK = 1000 * WAD
FLAT_RATIO = 2**256 - 1
P = MarketParameters()


@dataclass(frozen=True)
class Position:
    """`MarketLens.PositionView`."""

    equity: int
    is_long: bool
    size: int
    notional: int
    margin_ratio: int
    free_collateral: int
    closeout_price: int


def position(exchange: Exchange, trader: int) -> Position:
    address = exchange.chain.address(trader)
    return Position(*exchange.chain.call(exchange.lens, "position", exchange.market.address, address))


def open_position(market: Twin | Exchange, collateral: int, is_long: bool, size: int = WAD) -> None:
    market.deposit(RICH, 10**6 * WAD)
    market.deposit(TRADER, collateral)
    market.trade(TRADER, RICH, is_long, size, MARK)


def deleverage_traders_side(exchange: Exchange, is_long: bool) -> None:
    """OTHER, against TRADER and RICH, fails by a move in TRADER's favour; TRADER's side is scaled by an odd factor."""
    exchange.deposit(OTHER, 60 * WAD)
    exchange.trade(OTHER, RICH, not is_long, WAD * 10 // 13, MARK)
    exchange.set_price(MARK + (80 * WAD if is_long else -80 * WAD))
    exchange.settle()
    assert exchange.account(OTHER).shares == 0
    assert exchange.side(LONG if is_long else SHORT).scale < WAD


class TestAccount:
    def test_of_nobody_is_empty(self, exchange: ExchangeFactory) -> None:
        assert exchange().account(NOBODY) == AccountState(0, 0, 0, 0, 0)

    def test_of_a_flat_account_is_its_collateral(self, each_twin: TwinFactory) -> None:
        market = each_twin()
        market.deposit(TRADER, 7 * WAD)
        assert market.exchange.account(TRADER) == AccountState(7 * WAD, 0, 0, 0, 0)

    @pytest.mark.parametrize("is_long", [True, False])
    def test_with_position(self, each_twin: TwinFactory, is_long: bool) -> None:
        market = each_twin()
        open_position(market, 200 * WAD, is_long, 2 * WAD)
        account = market.exchange.account(TRADER)
        collateral = 200 * WAD - 2 * 1000 * P.fee_rate
        assert (account.side, account.shares) == (LONG if is_long else SHORT, 2 * WAD)
        assert collateral - 1 <= account.equity <= collateral
        # Filed by hand: where 99.5 a unit are lost.
        assert account.level == (P.bucket_width * MARK).bit_length() - 1
        assert account.bucket == -(collateral // 2 * WAD) >> account.level

    @pytest.mark.parametrize("is_long", [True, False])
    def test_stands_at_the_mark_and_not_at_the_index_price(self, twin: TwinFactory, is_long: bool) -> None:
        market = twin(fee_rate=0)
        open_position(market, 100 * WAD, is_long)
        before = market.exchange.account(TRADER)
        market.set_price(MARK + 30 * WAD)
        assert market.exchange.account(TRADER) == before
        market.settle()
        gain = 30 * WAD if is_long else -30 * WAD
        assert 0 <= before.equity + gain - market.exchange.account(TRADER).equity <= 1

    def test_of_a_closed_account_is_empty(self, twin: TwinFactory) -> None:
        market = twin()
        open_position(market, 60 * WAD, True)
        market.deposit(OTHER, 1000 * WAD)
        market.trade(OTHER, RICH, True, WAD, MARK)
        market.set_price(940 * WAD)
        market.settle()
        assert market.exchange.account(TRADER) == AccountState(0, 0, 0, 0, 0)

    def test_after_an_epoch_is_flat_with_its_gain(self, twin: TwinFactory) -> None:
        market = twin(fee_rate=0)
        open_position(market, 60 * WAD, True)
        market.set_price(945 * WAD)
        market.settle()
        account = market.exchange.account(RICH)
        assert (account.side, account.shares, account.level, account.bucket) == (0, 0, 0, 0)
        assert 0 <= (10**6 + 55) * WAD - account.equity <= 2
        # For good: nothing the next epoch does is its business.
        market.deposit(TRADER, 1000 * WAD)
        market.deposit(OTHER, 1000 * WAD)
        market.trade(TRADER, OTHER, True, WAD, 945 * WAD)
        travel(market, 2000 * WAD)
        assert market.exchange.account(RICH) == account


class TestSide:
    def test_counts_shares_and_size(self, each_twin: TwinFactory) -> None:
        market = each_twin()
        open_position(market, 1000 * WAD, True, 3 * WAD)
        for side in (LONG, SHORT):
            assert market.exchange.side(side) == SideState(3 * WAD, WAD, 0, 3 * WAD)

    def test_indices_move_with_the_price(self, twin: TwinFactory) -> None:
        market = twin()
        open_position(market, 1000 * WAD, True, 3 * WAD)
        market.set_price(MARK + 7)
        market.settle()
        assert market.exchange.side(LONG).index == 7 * WAD
        assert market.exchange.side(SHORT).index == -7 * WAD

    def test_open_interest_is_scaled_shares_rounded_down(self, exchange: ExchangeFactory) -> None:
        made = exchange()
        open_position(made, 1000 * WAD, True, WAD * 10 // 7)
        deleverage_traders_side(made, True)
        side = made.side(LONG)
        assert side.shares * side.scale % WAD
        assert side.open_interest == side.shares * side.scale // WAD

    @pytest.mark.parametrize("side", [2, 2**256 - 1])
    def test_there_are_two(self, exchange: ExchangeFactory, side: int) -> None:
        made = exchange()
        with pytest.raises(Reverted):
            made.side(side)


class TestIndexPrice:
    def test_is_the_oracles(self, exchange: ExchangeFactory) -> None:
        made = exchange()
        made.set_price(1234 * WAD)
        assert made.chain.call(made.market, "index_price") == 1234 * WAD
        assert made.mark == MARK

    def test_of_a_closed_market_is_its_last(self, exchange: ExchangeFactory) -> None:
        made = exchange(oracle_grace=3600)
        made.set_price(3 * MARK)
        made.settle()
        made.set_round(0, made.chain.now)
        made.wind_down()
        made.chain.advance(3600)
        made.wind_down()
        made.set_price(7 * MARK)
        assert made.chain.call(made.market, "index_price") == 3 * MARK
        assert made.mark == MARK * 3 // 2

    def test_is_refused_when_the_oracle_is(self, exchange: ExchangeFactory) -> None:
        made = exchange()
        made.chain.advance(P.max_staleness + 1)
        with pytest.raises(Reverted, match=r"^oracle: stale$"):
            made.chain.call(made.market, "index_price")
        assert made.mark == MARK


class TestCore:
    def test_of_a_new_market(self, exchange: ExchangeFactory) -> None:
        """Its clock stands at the second of its deployment."""
        chain = RevmChain()
        core = Exchange.deploy(chain, MARK + 3).core
        deployed = chain.now - 1  # the lens comes after the market
        assert core == CoreState(MARK + 3, 0, 0, 0, 0, deployed, 0, 0)

    def test_says_what_the_other_views_say(self, twin: TwinFactory) -> None:
        market = twin()
        made = market.exchange
        open_position(market, 60 * WAD, True)
        market.set_price(945 * WAD)
        market.settle()
        core = made.core
        assert (core.mark, core.epoch) == (made.mark, made.epoch) == (945 * WAD, 1)
        assert core.insurance_owed == made.insurance_owed > 2 * 1000 * P.fee_rate
        assert (core.conditions, core.premium, core.limited_at, core.reduce_only_until) == (0, 0, 0, 0)

    def test_a_limited_move_leaves_its_second_and_the_mark_behind(self, twin: TwinFactory) -> None:
        market = twin(max_price_step=WAD // 10)
        market.set_price(MARK + 150 * WAD)
        first = market.settle().timestamp
        assert (market.exchange.core.limited_at, market.exchange.core.lagging) == (first, True)
        market.settle()
        assert (market.exchange.core.limited_at, market.exchange.core.lagging) == (first, False)

    def test_a_premium_is_what_a_fill_left(self, twin: TwinFactory) -> None:
        market = twin(max_funding=WAD // 100)
        market.deposit(RICH, 10**6 * WAD)
        market.deposit(TRADER, 1000 * WAD)
        market.trade(TRADER, RICH, True, WAD, MARK + WAD // 2)
        assert market.exchange.core.premium == WAD // 2  # under the fees of half a dollar each
        market.trade(TRADER, RICH, False, WAD // 2, MARK - WAD // 2)
        assert WAD // 4 - 10**14 < market.exchange.core.premium < WAD // 4  # a second's part of it is paid


class TestMode:
    GUARDIAN = 7

    def kill_oracle(self, made: Exchange) -> None:
        made.set_round(0, made.chain.now)

    def guarded(self, exchange: ExchangeFactory, **parameters: Any) -> Exchange:
        return exchange(guardian=RevmChain().address(self.GUARDIAN), **parameters)

    def test_active(self, exchange: ExchangeFactory) -> None:
        assert exchange().mode == "active"

    def test_catch_up_from_the_price_and_not_from_the_settlement(self, exchange: ExchangeFactory) -> None:
        made = exchange()
        made.set_price(MARK + 1)
        assert made.mode == "catch-up"
        made.settle()
        assert made.mode == "active"

    def test_catch_up_ends_with_a_settlement_even_if_the_price_comes_to_the_mark(
        self, exchange: ExchangeFactory
    ) -> None:
        made = exchange()
        made.set_price(3 * MARK)
        made.settle()
        made.set_price(MARK * 3 // 2)
        assert (made.mark, made.mode) == (MARK * 3 // 2, "catch-up")
        assert made.settle().logs == []
        assert made.mode == "active"

    def test_reduce_only_by_the_guardian(self, exchange: ExchangeFactory) -> None:
        made = self.guarded(exchange)
        made.set_reduce_only(True, self.GUARDIAN)
        assert made.mode == "reduce-only"
        made.set_price(MARK + 1)
        assert made.mode == "catch-up"  # is stricter
        made.settle()
        assert made.mode == "reduce-only"
        made.set_reduce_only(False, self.GUARDIAN)
        assert made.mode == "active"

    def test_reduce_only_by_a_haircut_up_to_its_last_second(self, twin: TwinFactory) -> None:
        market = twin(cooloff=600)
        made = market.exchange
        open_position(market, 60 * WAD, True)
        market.deposit(OTHER, 1000 * WAD)
        market.trade(OTHER, RICH, True, WAD, MARK)
        market.set_price(900 * WAD)
        tripped = market.settle().timestamp
        assert made.core.reduce_only_until == tripped + 600
        assert made.mode == "reduce-only"
        made.chain.advance(599)
        assert made.mode == "reduce-only"
        made.chain.advance(1)
        assert made.mode == "active"

    @pytest.mark.parametrize(("on", "mode"), [(False, "active"), (True, "reduce-only")])
    def test_without_a_price_it_is_what_it_was(self, exchange: ExchangeFactory, on: bool, mode: str) -> None:
        made = self.guarded(exchange)
        made.set_reduce_only(on, self.GUARDIAN)
        made.set_price(MARK + 1)
        made.settle()
        self.kill_oracle(made)
        assert made.mode == mode

    def test_without_a_price_it_stays_in_catch_up(self, exchange: ExchangeFactory) -> None:
        made = exchange()
        made.set_price(3 * MARK)
        made.settle()
        self.kill_oracle(made)
        assert made.mode == "catch-up"

    def test_closed_for_good(self, exchange: ExchangeFactory) -> None:
        made = self.guarded(exchange, oracle_grace=3600)
        made.set_reduce_only(True, self.GUARDIAN)
        self.kill_oracle(made)
        made.wind_down()
        assert made.mode == "reduce-only"
        made.chain.advance(3600)
        made.wind_down()
        assert made.mode == "closed"
        made.set_price(MARK + 1)
        made.settle()
        assert (made.mode, made.mark) == ("closed", MARK)


class TestGapSafe:
    @pytest.mark.parametrize(
        ("parameters", "safe"),
        [
            ({}, False),
            ({"max_price_step": P.closeout_margin}, True),
            ({"max_price_step": P.closeout_margin + 1}, False),
            ({"max_price_step": P.closeout_margin, "max_funding": P.closeout_margin}, True),
            ({"max_price_step": 1}, True),
        ],
    )
    def test_by_the_longest_move(self, exchange: ExchangeFactory, parameters: dict[str, int], safe: bool) -> None:
        made = exchange(**parameters)
        assert made.chain.call(made.lens, "is_gap_safe", made.market.address) is safe

    def test_with_every_defence_on(self) -> None:
        made = Exchange.deploy(RevmChain(), MARK, MarketParameters.guarded())
        assert made.chain.call(made.lens, "is_gap_safe", made.market.address) is True


class TestLens:
    def test_of_a_flat_account(self, each_exchange: ExchangeFactory) -> None:
        made = each_exchange()
        made.deposit(TRADER, 7 * WAD)
        assert position(made, TRADER) == Position(7 * WAD, False, 0, 0, FLAT_RATIO, 7 * WAD, 0)
        assert position(made, NOBODY) == Position(0, False, 0, 0, FLAT_RATIO, 0, 0)

    @pytest.mark.parametrize("is_long", [True, False])
    @pytest.mark.parametrize("price", [MARK, MARK - 12345, MARK + 30 * WAD // 7])
    def test_size_notional_and_ratio(self, each_exchange: ExchangeFactory, is_long: bool, price: int) -> None:
        made = each_exchange()
        size = WAD * 10 // 7
        open_position(made, 200 * WAD, is_long, size)
        made.set_price(price)
        made.settle()
        seen = position(made, TRADER)
        equity = made.account(TRADER).equity
        assert (seen.equity, seen.is_long, seen.size) == (equity, is_long, size)
        assert seen.notional == -(-size * price // WAD)
        assert seen.margin_ratio == equity * WAD // seen.notional
        assert seen.free_collateral == equity + (-seen.notional * P.initial_margin // WAD)

    @pytest.mark.parametrize("is_long", [True, False])
    def test_size_after_deleverage(self, exchange: ExchangeFactory, is_long: bool) -> None:
        made = exchange()
        open_position(made, 200 * WAD, is_long)
        deleverage_traders_side(made, is_long)
        seen, account = position(made, TRADER), made.account(TRADER)
        scale = made.side(account.side).scale
        assert account.shares == WAD
        assert seen.size == scale  # of one share
        assert seen.notional == -(-account.shares * scale * made.mark // WAD**2)

    @pytest.mark.parametrize("is_long", [True, False])
    def test_below_initial_margin_nothing_is_free(self, exchange: ExchangeFactory, is_long: bool) -> None:
        made = exchange()
        open_position(made, 60 * WAD, is_long)
        made.set_price(MARK - 20 * WAD if is_long else MARK + 20 * WAD)
        made.settle()
        seen = position(made, TRADER)
        assert seen.free_collateral == 0 < seen.equity
        assert seen.margin_ratio < P.initial_margin

    def test_serves_every_market(self, exchange: ExchangeFactory) -> None:
        chain = RevmChain()
        first, second = exchange(chain=chain), exchange(chain=chain, mark=2 * MARK)
        first.deposit(TRADER, WAD)
        second.deposit(TRADER, 3 * WAD)
        address = chain.address(TRADER)
        for lens in (first.lens, second.lens):
            assert chain.call(lens, "position", first.market.address, address)[0] == WAD
            assert chain.call(lens, "position", second.market.address, address)[0] == 3 * WAD


class TestFreeCollateral:
    @pytest.mark.parametrize("is_long", [True, False])
    @pytest.mark.parametrize("scaled", [False, True])
    @pytest.mark.parametrize("price", [MARK, MARK - 17 * WAD // 3, MARK + 17 * WAD // 3])
    def test_can_be_withdrawn_to_the_token_unit(
        self, each_exchange: ExchangeFactory, refused: Refused, is_long: bool, scaled: bool, price: int
    ) -> None:
        made = each_exchange()
        open_position(made, 222 * WAD, is_long)
        if scaled:
            deleverage_traders_side(made, is_long)
        made.set_price(price)
        made.settle()
        free = position(made, TRADER).free_collateral // made.unit * made.unit
        assert free > 100 * WAD
        with refused(made, "account: above free collateral"):
            made.withdraw(TRADER, free + made.unit)
        made.withdraw(TRADER, free)
        assert position(made, TRADER).free_collateral < made.unit

    @given(st.integers(52 * WAD, 900 * WAD), st.integers(960 * WAD, 1040 * WAD), st.booleans(), st.booleans())
    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    def test_can_be_withdrawn_to_the_wei(
        self, exchange: ExchangeFactory, collateral: int, price: int, is_long: bool, scaled: bool
    ) -> None:
        made = exchange()
        open_position(made, collateral, is_long)
        if scaled:
            deleverage_traders_side(made, is_long)
        made.set_price(price)
        made.settle()
        free = position(made, TRADER).free_collateral
        with made.chain.anchor(), pytest.raises(Reverted, match=r"^account: above free collateral$"):
            made.withdraw(TRADER, free + 1)
        if free:
            made.withdraw(TRADER, free)


class TestCloseoutPrice:
    """At it the account lives; a wei beyond it is closed."""

    def live_and_die(self, made: Exchange, is_long: bool) -> None:
        seen = position(made, TRADER)
        shares = made.account(TRADER).shares
        assert shares > 0
        assert (seen.closeout_price < made.mark) if is_long else (seen.closeout_price > made.mark)
        with made.chain.anchor():
            travel(made, seen.closeout_price)
            assert made.mark == seen.closeout_price
            assert made.account(TRADER).shares == shares
            # Within a bucket's width of the close-out margin.
            account = made.account(TRADER)
            left = account.equity * WAD // position(made, TRADER).notional
            width = 2**account.level * WAD // (made.side(account.side).scale * made.mark)
            assert P.closeout_margin <= left <= P.closeout_margin + width + 1
            # It does not move while the mark does.
            assert abs(position(made, TRADER).closeout_price - seen.closeout_price) <= 1
        travel(made, seen.closeout_price - 1 if is_long else seen.closeout_price + 1)
        assert made.account(TRADER) == AccountState(0, 0, 0, 0, 0)

    @pytest.mark.parametrize("is_long", [True, False])
    @pytest.mark.parametrize("collateral", [51 * WAD, 60 * WAD + 1, 99 * WAD - 1, 400 * WAD // 3])
    @pytest.mark.parametrize("scaled", [False, True])
    def test_is_exact(self, exchange: ExchangeFactory, is_long: bool, collateral: int, scaled: bool) -> None:
        made = exchange()
        open_position(made, collateral, is_long)
        if scaled:
            deleverage_traders_side(made, is_long)
        self.live_and_die(made, is_long)

    def test_in_each_evm(self, exchange_everywhere: ExchangeFactory) -> None:
        for is_long in (True, False):
            made = exchange_everywhere()
            open_position(made, 70 * WAD, is_long)
            self.live_and_die(made, is_long)

    @given(st.integers(51 * WAD, 600 * WAD), st.integers(980 * WAD, 1020 * WAD), st.booleans())
    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    def test_is_exact_wherever_the_mark_stands(
        self, exchange: ExchangeFactory, collateral: int, price: int, is_long: bool
    ) -> None:
        made = exchange()
        open_position(made, collateral, is_long)
        made.set_price(price)
        made.settle()
        self.live_and_die(made, is_long)

    def test_is_the_same_for_two_in_one_bucket(self, twin: TwinFactory) -> None:
        """The bucket is closed, not the account: a few cents more do not help."""
        market = twin(fee_rate=0)
        made = market.exchange
        open_position(market, 60 * WAD, True)
        market.deposit(OTHER, 60 * WAD + 10**15)
        market.trade(OTHER, RICH, True, WAD, MARK)
        assert made.account(OTHER).bucket == made.account(TRADER).bucket
        assert position(made, OTHER).closeout_price == position(made, TRADER).closeout_price
        market.set_price(position(made, TRADER).closeout_price - 1)
        market.settle()
        assert made.account(OTHER).shares == made.account(TRADER).shares == 0

    def test_of_a_long_that_holds_its_notional_is_zero(self, exchange: ExchangeFactory) -> None:
        made = exchange()
        open_position(made, 1002 * WAD, True)
        assert position(made, TRADER).closeout_price == 0
        travel(made, MIN_PRICE)
        assert made.account(TRADER).shares == WAD
        assert made.account(TRADER).equity > WAD

    def test_rises_with_a_withdrawal_and_falls_with_a_deposit(self, exchange: ExchangeFactory) -> None:
        made = exchange()
        open_position(made, 100 * WAD, True)
        first = position(made, TRADER).closeout_price
        made.deposit(TRADER, 30 * WAD)
        second = position(made, TRADER).closeout_price
        made.withdraw(TRADER, 50 * WAD)
        third = position(made, TRADER).closeout_price
        bucket = 2 ** made.account(TRADER).level // WAD
        # A quote less of collateral is lost after one of price, less what close-out margin it frees.
        assert abs((first - second) * 99 // 100 - 30 * WAD) <= bucket
        assert abs((third - second) * 99 // 100 - 50 * WAD) <= bucket
