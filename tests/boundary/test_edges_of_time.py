"""Time at its edges: a second twice, a century at once, the last second that the market has a place for, and after it.

Seconds are stored in 40 bits (`contracts/modules/packing.vy`), up to the year 36812. What would store a later one is
refused by name; what stores none goes on for ever.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from prorata.exchange import Exchange
from prorata.twin import MAX_DUST
from prorata.units import WAD
from tests.boundary.world import (
    COOLDOWN,
    DEPOSITOR,
    GRACE,
    KEEPER,
    LOSER,
    MAKER,
    MARK,
    SITUATIONS,
    STRANGER,
    TAKER,
    TRADER,
    TRADERS,
    HostileChain,
    balance,
    chain_of,
    everybody_leaves,
    index_of,
    open_market,
    outcome,
    populate,
    refused,
    take_all,
)

YEAR = 365 * 86_400
LAST = 2**40 - 1
PERCENT = WAD // 100


def made(**parameters: Any) -> Exchange:
    return populate(open_market(HostileChain(), **parameters))


def next_at(exchange: Exchange, second: int) -> None:
    """The next transaction is in a block of that second; the feed has answered in it too."""
    exchange.chain.advance(second - exchange.chain.now - 1)
    exchange.set_price(index_of(exchange))
    exchange.chain.advance(-1)


def at_once(exchange: Exchange) -> None:
    """The next transaction is in a block of the same second as the last one."""
    exchange.chain.advance(-1)


def owed(exchange: Exchange) -> int:
    """What the market owes to everybody, quote."""
    return sum(exchange.account(trader).equity for trader in TRADERS) + exchange.insurance_owed


def assert_solvent(exchange: Exchange) -> None:
    assert 0 <= exchange.token_balance(exchange.market) - owed(exchange) <= MAX_DUST


class TestTheSameSecond:
    def test_everything_at_once(self) -> None:
        """A day in the life of a market, all in blocks of one second; to the wei as in as many seconds."""
        ends = []
        for all_at_once in (True, False):
            exchange = made()
            begun = exchange.chain.now
            for act in (
                partial(exchange.deposit, TRADER, 10 * WAD),
                partial(exchange.trade, TRADER, TAKER, True, WAD, MARK, salt=1),
                partial(exchange.trade, MAKER, TAKER, False, WAD, MARK, salt=2),
                partial(exchange.set_price, 1010 * WAD),
                exchange.settle,
                exchange.settle,
                partial(exchange.withdraw, TRADER, WAD),
                partial(exchange.set_price, 850 * WAD),
                partial(exchange.insure, DEPOSITOR, WAD),
                partial(exchange.liquidate, KEEPER, 5),
                partial(exchange.redeem, DEPOSITOR, 10**20),
            ):
                act()
                if all_at_once:
                    at_once(exchange)
            assert exchange.chain.now - begun == (0 if all_at_once else 11)
            ends.append(
                (
                    [exchange.account(trader) for trader in TRADERS],
                    exchange.mark,
                    exchange.insurance_owed,
                    exchange.vault_held,
                    [balance(exchange, person) for person in (*TRADERS, DEPOSITOR)],
                )
            )
            exchange.chain.advance(1)
            everybody_leaves(exchange)
        assert ends[0] == ends[1]

    def test_no_premium_is_paid(self) -> None:
        """In no time nothing decays: whatever is traded at whatever price, and settled however often."""
        exchange = made(max_funding=PERCENT)
        exchange.trade(MAKER, TAKER, True, WAD, 1010 * WAD)
        premium = exchange.core.premium
        assert premium > 0
        before = owed(exchange)
        for _ in range(20):
            at_once(exchange)
            exchange.settle()
        assert (exchange.core.premium, owed(exchange)) == (premium, before)
        exchange.settle()  # a second later
        assert 0 < exchange.core.premium < premium
        everybody_leaves(exchange)

    def test_a_limited_step_is_one_a_second_only_if_the_interval_says_so(self) -> None:
        for interval, expected in ((0, 3), (1, 1), (60, 1)):
            exchange = made(max_price_step=PERCENT, step_interval=interval)
            exchange.set_price(900 * WAD)
            marks = set()
            for _ in range(3):
                exchange.settle()
                at_once(exchange)
                marks.add(exchange.mark)
            assert len(marks) == expected

    def test_a_step_comes_at_the_very_second_of_its_interval(self) -> None:
        exchange = made(max_price_step=PERCENT, step_interval=60)
        exchange.set_price(900 * WAD)
        exchange.settle()
        limited, mark = exchange.core.limited_at, exchange.mark
        assert limited == exchange.chain.now
        next_at(exchange, limited + 59)
        exchange.settle()
        assert exchange.mark == mark
        exchange.settle()
        assert (exchange.chain.now, exchange.mark < mark) == (limited + 60, True)

    def test_a_request_of_this_second_waits_its_whole_cooldown(self) -> None:
        exchange = made()
        exchange.request_redeem(DEPOSITOR, 0)
        opens = exchange.redeem_request(DEPOSITOR).opens
        assert opens == exchange.chain.now + COOLDOWN
        for second in (exchange.chain.now, opens - 1):
            next_at(exchange, second)
            with refused(chain_of(exchange), "vault: cooldown is not over"):
                exchange.redeem(DEPOSITOR, 10**20)
            exchange.chain.advance(second - exchange.chain.now)
        exchange.redeem(DEPOSITOR, 10**20)
        assert exchange.chain.now == opens

    def test_a_dead_feed_is_reported_and_not_buried_in_one_second(self) -> None:
        exchange = made()
        exchange.set_round(0, exchange.chain.now)
        exchange.wind_down()
        reported = exchange.chain.now
        for second in (reported, reported + GRACE - 1):
            exchange.chain.advance(second - exchange.chain.now - 1)
            with refused(chain_of(exchange), "mode: oracle grace"):
                exchange.wind_down()
        exchange.wind_down()
        assert exchange.chain.now == reported + GRACE
        exchange.settle()
        take_all(exchange)


class TestACentury:
    @pytest.mark.parametrize("years", [1, 100, 10_000])
    def test_of_silence_pays_the_premium_out_once(self, years: int) -> None:
        """All of it is due at once, as far as one settlement may take; nothing is made or lost."""
        exchange = made(max_funding=PERCENT)
        exchange.trade(MAKER, TAKER, True, WAD, 1010 * WAD)
        premium = exchange.core.premium
        next_at(exchange, exchange.chain.now + years * YEAR)
        before = exchange.account(MAKER).equity
        exchange.settle()
        assert exchange.core.premium == 0
        # MAKER has three of the five units that pay it.
        assert 0 <= before - exchange.account(MAKER).equity - premium * 3 // 5 <= 2
        assert exchange.core.accrued_at == exchange.chain.now
        assert_solvent(exchange)
        everybody_leaves(exchange)

    @pytest.mark.parametrize("situation", SITUATIONS)
    def test_later_everything_is_as_it_was(self, situation: str) -> None:
        """Every move of tokens but those of a request, whose window has lapsed."""
        for move in SITUATIONS[situation].moves:
            exchange = made()
            SITUATIONS[situation].prepare(exchange)
            next_at(exchange, exchange.chain.now + 100 * YEAR)
            lapsed = move.name.startswith(("vault.redeem", "vault.withdraw"))
            assert outcome(partial(move.make, exchange)) == ("vault: redeem window has lapsed" if lapsed else "done"), (
                move.name
            )
            everybody_leaves(exchange)

    def test_later_orders_are_expired_unless_they_say_otherwise(self) -> None:
        exchange = made()
        short, eternal = (
            exchange.order(MAKER, True, WAD, MARK),
            exchange.order(MAKER, True, WAD, MARK, expiry=2**256 - 1),
        )
        next_at(exchange, exchange.chain.now + 100 * YEAR)
        with refused(chain_of(exchange), "order: expired"):
            exchange.take(TAKER, short, exchange.sign(MAKER, short), WAD)
        exchange.take(TAKER, eternal, exchange.sign(MAKER, eternal), WAD)
        everybody_leaves(exchange)

    def test_of_catch_up_is_no_budget_saved(self) -> None:
        """A step that was not used is lost: the next ones are no larger and no more."""
        exchange = made(max_price_step=PERCENT, step_interval=60)
        exchange.set_price(900 * WAD)
        exchange.settle()
        next_at(exchange, exchange.chain.now + 100 * YEAR)
        mark = exchange.mark
        exchange.settle()
        assert exchange.mark == mark - mark // 100
        exchange.settle()
        assert exchange.mark == mark - mark // 100

    def test_ends_a_trip_and_a_window_of_draws(self) -> None:
        exchange = made(cooloff=2**32)
        drawn(exchange)
        assert exchange.core.reduce_only_until == exchange.chain.now + 2**32
        with refused(chain_of(exchange), "mode: reduce-only"):
            exchange.trade(TRADER, TAKER, True, WAD // 10, exchange.mark)
        start = exchange.vault_window[0]
        next_at(exchange, exchange.core.reduce_only_until)
        exchange.trade(TRADER, TAKER, True, WAD // 10, exchange.mark)
        assert exchange.vault_window[0] == start  # until the next draw
        everybody_leaves(exchange)


def drawn(exchange: Exchange) -> None:
    """A deficit beyond what insurance may pay: STRANGER's loan of a fortune to a gambler."""
    exchange.deposit(STRANGER, 3 * 10**5 * WAD, to=KEEPER)
    exchange.deposit(STRANGER, 10**4 * WAD, to=LOSER)
    exchange.trade(LOSER, KEEPER, True, 190 * WAD, MARK)
    exchange.set_price(850 * WAD)
    exchange.settle()
    assert exchange.totals[0] > 0


class TestTheLastSecond:
    @pytest.mark.parametrize("situation", SITUATIONS)
    def test_has_room_for_everything(self, situation: str) -> None:
        for move in SITUATIONS[situation].moves:
            exchange = made(max_staleness=10**9, max_funding=PERCENT)
            exchange.chain.advance(LAST - 10_000 - exchange.chain.now)
            exchange.set_price(MARK)
            exchange.trade(MAKER, TAKER, True, WAD, 1010 * WAD)
            exchange.request_redeem(DEPOSITOR, 0)
            exchange.chain.advance(COOLDOWN)
            SITUATIONS[situation].prepare(exchange)
            next_at(exchange, LAST - 100)
            move.make(exchange)
            assert_solvent(exchange)
            everybody_leaves(exchange)
            assert exchange.chain.now < LAST

    def test_is_stored_in_every_place(self) -> None:
        exchange = made(max_staleness=10**9, max_funding=PERCENT, max_price_step=PERCENT)
        next_at(exchange, LAST - 2)
        exchange.trade(MAKER, TAKER, True, WAD, 1010 * WAD)
        exchange.set_price(990 * WAD - 1)
        exchange.settle()
        assert exchange.chain.now == exchange.core.accrued_at == exchange.core.limited_at == LAST
        assert_solvent(exchange)

    def test_of_a_trip_is_the_last_that_its_cooloff_fits(self) -> None:
        for second, end in ((LAST - 1000, "done"), (LAST - 999, "packing: out of range")):
            exchange = made(max_staleness=10**9, cooloff=1000)
            exchange.deposit(STRANGER, 3 * 10**5 * WAD, to=KEEPER)
            exchange.deposit(STRANGER, 10**4 * WAD, to=LOSER)
            exchange.trade(LOSER, KEEPER, True, 190 * WAD, MARK)
            exchange.set_price(850 * WAD)
            next_at(exchange, second)
            assert outcome(exchange.settle) == end
            assert exchange.core.reduce_only_until == (LAST if end == "done" else 0)


class TestAfterTheLastSecond:
    @pytest.mark.parametrize("situation", SITUATIONS)
    @pytest.mark.parametrize("second", [LAST + 1, 2**95])
    def test_a_market_without_a_premium_goes_on(self, second: int, situation: str) -> None:
        """It stores the second of nothing but of a premium, of a limited step and of a trip."""
        for move in SITUATIONS[situation].moves:
            exchange = made(max_staleness=10**9)
            exchange.chain.advance(second - exchange.chain.now)
            exchange.set_price(MARK)
            exchange.request_redeem(DEPOSITOR, 0)
            exchange.chain.advance(COOLDOWN)
            SITUATIONS[situation].prepare(exchange)
            exchange.set_price(index_of(exchange))
            move.make(exchange)
            assert_solvent(exchange)
            everybody_leaves(exchange)

    def test_what_would_store_it_is_refused_by_name(self) -> None:
        """A premium that is due stops everything that would settle it; deposits and flat exits go on."""
        exchange = made(max_staleness=10**9, max_funding=PERCENT)
        next_at(exchange, LAST - 10)
        exchange.trade(MAKER, TAKER, True, WAD, 1010 * WAD)
        next_at(exchange, LAST + 1)
        chain, full = chain_of(exchange), "packing: out of range"
        for act in (
            exchange.settle,
            partial(exchange.trade, MAKER, TAKER, False, WAD, MARK),
            partial(exchange.withdraw, MAKER, WAD),
            partial(exchange.insure, DEPOSITOR, WAD),
        ):
            with refused(chain, full):
                act()
        exchange.deposit(MAKER, WAD)
        exchange.withdraw(TRADER, exchange.account(TRADER).equity)

    def test_so_is_a_step_that_would_be_limited(self) -> None:
        exchange = made(max_staleness=10**9, max_price_step=PERCENT)
        next_at(exchange, LAST + 1)
        exchange.set_price(980 * WAD)
        with refused(chain_of(exchange), "packing: out of range"):
            exchange.settle()
        exchange.set_price(990 * WAD)  # within one step
        exchange.settle()
        everybody_leaves(exchange)
