"""withdraw(amount): a flat account always, a position holder what initial margin does not need, at a settled mark."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from prorata.exchange import Exchange
from prorata.parameters import MarketParameters
from prorata.receipts import receipts_in
from prorata.twin import Twin
from prorata.units import LONG, SHORT, WAD
from tests.moves import travel

TwinFactory = Callable[..., Twin]
ExchangeFactory = Callable[..., Exchange]
Refused = Callable[..., AbstractContextManager[None]]

TRADER, COUNTERPARTY, OTHER, NOBODY = 1, 2, 3, 4
MARK = 1000 * WAD
DAY = 86_400
P = MarketParameters()


def open_position(market: Twin | Exchange, collateral: int, is_long: bool = True, size: int = WAD) -> None:
    """TRADER with just so much collateral after the fee, against a rich COUNTERPARTY."""
    market.deposit(TRADER, collateral + size * 1000 * P.fee_rate // WAD)
    market.deposit(COUNTERPARTY, 100_000 * WAD)
    market.trade(TRADER, COUNTERPARTY, is_long, size, MARK)


def kill_oracle(exchange: Exchange) -> None:
    exchange.chain.transact(exchange.feed, "set_round", 9, 0, exchange.chain.now, 9, sender=0)
    exchange.chain.advance(30 * DAY)


class TestFlat:
    def test_takes_out_what_it_put_in(self, twin_everywhere: TwinFactory) -> None:
        market = twin_everywhere()
        exchange = market.exchange
        market.deposit(TRADER, 10 * WAD)
        address = exchange.chain.address(TRADER)
        before = exchange.chain.call(exchange.token, "balanceOf", address)

        transaction = market.withdraw(TRADER, 4 * WAD)

        assert exchange.account(TRADER).equity == 6 * WAD
        assert exchange.token_balance(exchange.market) == 6 * WAD
        received = exchange.chain.call(exchange.token, "balanceOf", address) - before
        assert received == exchange.to_units(4 * WAD)
        log = [log for log in transaction.logs if log.name == "Withdrawn"]
        assert [dict(one.fields) for one in log] == [{"account": address, "amount": received}]

        market.withdraw(TRADER, 6 * WAD)
        assert exchange.account(TRADER).equity == exchange.token_balance(exchange.market) == 0

    def test_not_a_token_unit_more(self, each_twin: TwinFactory, refused: Refused) -> None:
        market = each_twin()
        market.deposit(TRADER, 10 * WAD)
        market.deposit(OTHER, 10 * WAD)
        with refused(market.exchange, "account: above free collateral"):
            market.withdraw(TRADER, 10 * WAD + market.exchange.unit)
        market.withdraw(TRADER, 10 * WAD)

    def test_nothing_is_refused(self, exchange: ExchangeFactory, refused: Refused) -> None:
        made = exchange()
        made.deposit(TRADER, WAD)
        with refused(made, "account: zero amount"):
            made.withdraw(TRADER, 0)

    def test_an_account_that_never_was_has_nothing(self, exchange: ExchangeFactory, refused: Refused) -> None:
        made = exchange()
        made.deposit(TRADER, WAD)
        with refused(made, "account: above free collateral"):
            made.withdraw(NOBODY, 1)

    def test_an_absurd_amount_is_refused_by_name(self, exchange: ExchangeFactory, refused: Refused) -> None:
        made = exchange(decimals=6)
        made.deposit(TRADER, WAD)
        with refused(made, "account: above free collateral"):
            made.chain.transact(made.market, "withdraw", 2**256 - 1, sender=TRADER)

    def test_needs_no_oracle_and_does_not_settle(self, twin: TwinFactory) -> None:
        market = twin()
        open_position(market, 100 * WAD)
        market.deposit(OTHER, 10 * WAD)
        market.set_price(MARK // 2)
        kill_oracle(market.exchange)
        market.withdraw(OTHER, 10 * WAD)
        assert market.exchange.mark == MARK
        assert market.exchange.account(OTHER).equity == 0

    def test_whoever_closed_its_position_is_flat(self, twin: TwinFactory) -> None:
        market = twin()
        open_position(market, 100 * WAD)
        market.trade(TRADER, COUNTERPARTY, False, WAD, MARK)
        left = market.exchange.account(TRADER).equity
        assert 100 * WAD - P.fee_rate * 1000 - 1 <= left <= 100 * WAD - P.fee_rate * 1000
        kill_oracle(market.exchange)
        market.withdraw(TRADER, left)

    def test_a_closed_account_has_nothing(self, twin: TwinFactory, refused: Refused) -> None:
        market = twin()
        open_position(market, 60 * WAD)
        market.deposit(OTHER, 1000 * WAD)
        market.trade(OTHER, COUNTERPARTY, True, WAD, MARK)
        market.set_price(945 * WAD)
        market.settle()
        kill_oracle(market.exchange)
        with refused(market.exchange, "account: above free collateral"):
            market.withdraw(TRADER, 1)

    def test_after_an_epoch_the_winner_takes_everything_without_an_oracle(
        self, each_exchange: ExchangeFactory, refused: Refused
    ) -> None:
        """A crash closes every long. The short is flat with its gain, cut by what the long could not pay."""
        exchange = each_exchange()
        open_position(exchange, 60 * WAD)
        exchange.set_price(MARK // 2)
        (receipt,) = receipts_in(exchange.settle().logs)
        assert exchange.epoch == 1
        # It won the long's 60, and paid one fee; insurance has half of two fees to give.
        assert receipt.covered == WAD // 2
        won = exchange.account(COUNTERPARTY).equity
        expected = 100_000 * WAD - WAD // 2 + 60 * WAD + WAD // 2
        assert expected - 3 <= won <= expected

        kill_oracle(exchange)
        everything = won // exchange.unit * exchange.unit
        with refused(exchange, "account: above free collateral"):
            exchange.withdraw(COUNTERPARTY, everything + exchange.unit)
        exchange.withdraw(COUNTERPARTY, everything)
        assert exchange.account(COUNTERPARTY).equity == won - everything < exchange.unit


class TestWithPosition:
    @pytest.mark.parametrize("is_long", [True, False])
    def test_exactly_the_free_collateral_and_no_unit_more(
        self, each_exchange: ExchangeFactory, refused: Refused, is_long: bool
    ) -> None:
        exchange = each_exchange()
        unit = exchange.unit
        open_position(exchange, 100 * WAD, is_long, size=WAD * 3334 // 10**4)
        exchange.set_price(1001 * WAD + 1)
        exchange.settle()
        account = exchange.account(TRADER)
        # Both roundings up: the notional, and five per cent of it.
        notional = -(-account.shares * exchange.mark // WAD)
        required = -(-notional * P.initial_margin // WAD)
        free = (account.equity - required) // unit * unit
        with refused(exchange, "account: above free collateral"):
            exchange.withdraw(TRADER, free + unit)

        exchange.withdraw(TRADER, free)

        after = exchange.account(TRADER)
        assert account.equity - free - 1 <= after.equity <= account.equity - free
        assert (after.shares, after.level) == (account.shares, account.level)
        assert after.bucket > account.bucket
        with refused(exchange, "account: above free collateral"):
            exchange.withdraw(TRADER, unit)

    def test_raises_the_bucket_so_that_a_scan_sees_it(self, twin: TwinFactory) -> None:
        """The highest bucket of a side is where a scan starts; a withdrawal may be what makes it the highest."""
        market = twin()
        open_position(market, 600 * WAD)
        market.withdraw(TRADER, 549 * WAD)
        market.set_price(955 * WAD)
        market.settle()
        assert market.exchange.account(TRADER).shares == 0
        assert market.receipts[-1].buckets_closed == 1

    def test_keeps_the_level(self, twin: TwinFactory) -> None:
        market = twin()
        open_position(market, 1000 * WAD)
        travel(market, 2 * MARK)
        level = market.exchange.account(TRADER).level
        assert level == (P.bucket_width * market.exchange.mark).bit_length() - 2
        market.withdraw(TRADER, WAD)
        assert market.exchange.account(TRADER).level == level

    def test_settles_first_so_a_gain_is_free_at_once(self, twin: TwinFactory) -> None:
        market = twin()
        open_position(market, 50 * WAD)
        market.set_price(1100 * WAD)
        # 150 of equity, 55 of them margin at the new mark.
        market.withdraw(TRADER, 95 * WAD - 2)
        assert market.exchange.mark == 1100 * WAD

    def test_settles_first_so_a_loss_is_not_free_any_more(self, twin: TwinFactory, refused: Refused) -> None:
        market = twin()
        open_position(market, 150 * WAD)
        market.set_price(950 * WAD)
        # 100 of equity, 47.5 of them margin.
        with refused(market.exchange, "account: above free collateral"):
            market.withdraw(TRADER, 52 * WAD + WAD // 2 + 1)
        market.withdraw(TRADER, 52 * WAD + WAD // 2 - 3)

    def test_that_the_settlement_closes_has_nothing(self, twin: TwinFactory, refused: Refused) -> None:
        market = twin()
        open_position(market, 60 * WAD)
        market.deposit(OTHER, 1000 * WAD)
        market.trade(OTHER, COUNTERPARTY, True, WAD, MARK)
        market.set_price(945 * WAD)
        with refused(market.exchange, "account: above free collateral"):
            market.withdraw(TRADER, 1)

    def test_whose_epoch_the_settlement_ends_takes_everything(self, twin: TwinFactory) -> None:
        market = twin()
        open_position(market, 60 * WAD)
        market.set_price(945 * WAD)
        market.withdraw(COUNTERPARTY, 100_054 * WAD)
        assert market.exchange.epoch == 1
        assert market.exchange.account(COUNTERPARTY).shares == 0

    def test_at_the_last_second_of_a_price(self, exchange: ExchangeFactory, refused: Refused) -> None:
        made = exchange()
        open_position(made, 100 * WAD)
        answered = made.set_price(MARK).timestamp
        made.chain.advance(answered + P.max_staleness - made.chain.now - 1)
        with made.chain.anchor():
            assert made.withdraw(TRADER, WAD).timestamp == answered + P.max_staleness
        made.chain.advance(1)
        with refused(made, "oracle: stale"):
            made.withdraw(TRADER, WAD)

    @pytest.mark.parametrize(
        ("reason", "round_id", "answer", "delay", "answered_in"),
        [
            ("oracle: non-positive answer", 5, 0, 0, 5),
            ("oracle: incomplete round", 5, MARK, 0, 4),
            ("oracle: future-dated", 5, MARK, 10, 5),
            ("oracle: price out of range", 5, 2**80, 0, 5),
        ],
    )
    def test_needs_a_good_price(
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
        open_position(made, 100 * WAD)
        made.chain.transact(made.feed, "set_round", round_id, answer, made.chain.now + 1 + delay, answered_in, sender=0)
        with refused(made, reason):
            made.withdraw(TRADER, WAD)

    def test_is_refused_during_catch_up(self, twin: TwinFactory, refused: Refused) -> None:
        """Three longs in three buckets, one bucket a call: the third call is the first to reach the price."""
        market = twin(max_buckets=1)
        market.deposit(COUNTERPARTY, 100_000 * WAD)
        for trader, collateral in ((TRADER, 60), (OTHER, 70), (5, 80), (6, 400)):
            market.deposit(trader, collateral * WAD)
            market.trade(trader, COUNTERPARTY, True, WAD, MARK)
        market.set_price(900 * WAD)
        for _ in range(2):
            for holder in (COUNTERPARTY, 6):
                with refused(market.exchange, "mode: catch-up"):
                    market.withdraw(holder, WAD)
            market.settle()
            assert market.exchange.mark > 900 * WAD
        market.withdraw(COUNTERPARTY, WAD)
        assert market.exchange.mark == 900 * WAD
        assert [market.exchange.account(trader).shares for trader in (TRADER, OTHER, 5)] == [0, 0, 0]
        assert market.exchange.side(LONG).shares == market.exchange.account(6).shares == WAD
        assert market.exchange.side(SHORT).shares == 4 * WAD

    def test_a_flat_account_leaves_even_during_catch_up(self, twin: TwinFactory) -> None:
        market = twin(max_buckets=1)
        market.deposit(COUNTERPARTY, 100_000 * WAD)
        for trader, collateral in ((TRADER, 60), (OTHER, 70), (5, 400)):
            market.deposit(trader, collateral * WAD)
            market.trade(trader, COUNTERPARTY, True, WAD, MARK)
        market.deposit(6, 3 * WAD)
        market.set_price(900 * WAD)
        market.settle()
        mark = market.exchange.mark
        assert mark > 900 * WAD
        market.withdraw(6, 3 * WAD)
        assert market.exchange.mark == mark


class TestFarFromWhereItWasFiled:
    """A bucket is as wide as it was when the shares last changed. Once the price has fallen far, or the side was
    deleveraged far, that is wide against the position. A withdrawal down to initial margin must not leave the account
    there: the next tick against it would close it and hand its margin to the vault."""

    @pytest.mark.parametrize("pence", [1035, 1042, 1049])
    def test_initial_margin_keeps_a_short_alive_after_a_crash(self, exchange: ExchangeFactory, pence: int) -> None:
        """Sold at 1000, now at 10: a bucket of 0.66 a unit, and 0.5 of initial margin."""
        made = exchange(fee_rate=0)
        open_position(made, 100 * WAD, is_long=False)
        price = pence * WAD // 100
        travel(made, price)
        self.withdraw_and_tick(made, price, price + 1)

    @pytest.mark.parametrize("pence", [105507, 105514, 105521])
    def test_initial_margin_keeps_a_deleveraged_long_alive(self, exchange: ExchangeFactory, pence: int) -> None:
        """99 of 100 of the shorts fail: a hundredth of the long is left, in a bucket as wide as the whole needed."""
        made = exchange(fee_rate=0)
        made.deposit(COUNTERPARTY, 10**6 * WAD)
        made.deposit(TRADER, 100 * 1000 * WAD)
        made.deposit(OTHER, 99 * 60 * WAD)
        made.trade(TRADER, OTHER, True, 99 * WAD, MARK)
        made.trade(TRADER, COUNTERPARTY, True, WAD, MARK)
        price = pence * WAD // 100
        made.set_price(price)
        made.settle()
        assert made.side(LONG).open_interest == WAD
        self.withdraw_and_tick(made, price, price - 1)

    def withdraw_and_tick(self, made: Exchange, price: int, tick: int) -> None:
        before = made.account(TRADER)
        required = -(-price * P.initial_margin // WAD)  # of one unit
        made.withdraw(TRADER, before.equity - required)
        assert required - 1 <= made.account(TRADER).equity <= required
        made.set_price(tick)
        made.settle()
        assert made.account(TRADER).shares == before.shares
