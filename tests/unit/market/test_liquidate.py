"""liquidate(owner, size): who may be taken over, by whom, how much of it, and what that costs (design §6)."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from fractions import Fraction
from functools import lru_cache
from math import ceil
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from prorata.chain import Reverted, Transaction
from prorata.exchange import Exchange
from prorata.ledger import place_of
from prorata.parameters import MarketParameters
from prorata.receipts import receipts_in
from prorata.revm_chain import RevmChain
from prorata.storage import signed, slots_of
from prorata.twin import Twin
from prorata.units import LONG, SHORT, WAD

TwinFactory = Callable[..., Twin]
ExchangeFactory = Callable[..., Exchange]
Refused = Callable[..., AbstractContextManager[None]]
Market = Twin | Exchange

TRADER, WINNER, KEEPER, OTHER, STRANGER = 1, 2, 3, 4, 5
MARK = 1000 * WAD
SIZE = 10 * WAD
ALL = 2**256 - 1
RICH = 100_000 * WAD
P = MarketParameters()
HEALTHY = "liquidation: healthy account"

#: The trader is long and the price falls, or short and it rises.
both_sides = pytest.mark.parametrize("sign", [1, -1], ids=["long", "short"])


# ------------------------------------------------------------------------------------------------------------- helpers


def driver(market: Market) -> Exchange:
    return market.exchange if isinstance(market, Twin) else market


def part(ratio: int, amount: int) -> int:
    """A ratio of 18 digits of an amount, rounded up, by hand."""
    return -(-amount * ratio // WAD)


def value(size: int, price: int) -> int:
    """Quote, rounded up."""
    return -(-size * price // WAD)


def against(sign: int, distance: int = 30 * WAD) -> int:
    """The price that is `distance` worse than the first for whoever stands on that side."""
    return MARK - sign * distance


def open_position(market: Market, equity: int, sign: int = 1, distance: int = 30 * WAD) -> None:
    """TRADER holds ten units against WINNER, and will have `equity` left once the price is `distance` worse.

    Filing rounds a debt up, hence a wei more.
    """
    market.deposit(TRADER, equity + SIZE * distance // WAD + part(P.fee_rate, value(SIZE, MARK)) + 1)
    market.deposit(WINNER, RICH)
    market.trade(TRADER, WINNER, sign > 0, SIZE, MARK)


def slide(market: Market, equity: int, sign: int = 1, distance: int = 30 * WAD) -> int:
    """`open_position`, and the price moves; returns where to."""
    open_position(market, equity, sign, distance)
    price = against(sign, distance)
    market.set_price(price)
    market.settle()
    assert driver(market).account(TRADER).equity == equity
    return price


def limit_of(equity: int, price: int, size: int = SIZE, p: MarketParameters = P) -> int:
    """What brings a position back to initial margin, its fee paid: s of  E - fee s p = initial (size - s) p."""
    notional = Fraction(size) * price / WAD
    lacking = notional * p.initial_margin / WAD - equity
    return ceil(lacking * WAD * WAD / (Fraction(p.initial_margin - p.liquidation_fee) * price))


def held(exchange: Exchange, trader: int) -> int:
    """Signed size, rounded towards zero."""
    account = exchange.account(trader)
    size = account.shares * exchange.side(account.side).scale // WAD
    return -size if account.side == SHORT else size


def fields(transaction: Transaction, name: str) -> list[dict[str, Any]]:
    """All events of a name."""
    return [dict(log.fields) for log in transaction.logs if log.name == name]


def liquidated(transaction: Transaction) -> dict[str, Any]:
    (found,) = fields(transaction, "Liquidated")
    return found


def total(exchange: Exchange) -> int:
    """Everything the market owes to anyone."""
    return sum(exchange.account(trader).equity for trader in range(1, 9)) + exchange.insurance_owed


# ---------------------------------------------------------------------------------------------------------- who may be


class TestThreshold:
    @both_sides
    @pytest.mark.parametrize("distance", [20 * WAD, 28 * WAD, 35 * WAD])
    @pytest.mark.parametrize("below", [1, 10**18])
    def test_below_maintenance(self, twin: TwinFactory, sign: int, distance: int, below: int) -> None:
        """A wei is enough."""
        market = twin(initial_margin=WAD * 3 // 100)
        price = against(sign, distance)
        equity = part(P.maintenance_margin, value(SIZE, price))
        assert slide(market, equity - below, sign, distance) == price
        market.deposit(KEEPER, RICH)
        market.liquidate(KEEPER, TRADER)
        assert abs(held(market.exchange, TRADER)) < SIZE

    @both_sides
    @pytest.mark.parametrize("distance", [20 * WAD, 28 * WAD, 35 * WAD])
    @pytest.mark.parametrize("above", [0, 1, 10**18])
    def test_not_at_it_nor_above(
        self, exchange: ExchangeFactory, refused: Refused, sign: int, distance: int, above: int
    ) -> None:
        made = exchange(initial_margin=WAD * 3 // 100)
        equity = part(P.maintenance_margin, value(SIZE, against(sign, distance)))
        slide(made, equity + above, sign, distance)
        made.deposit(KEEPER, RICH)
        with refused(made, HEALTHY):
            made.liquidate(KEEPER, TRADER)

    def test_requirement_is_rounded_up(self, exchange: ExchangeFactory) -> None:
        """At a price of wei the requirement is no whole number: whoever has the whole part of it is below."""
        made = exchange(initial_margin=WAD * 3 // 100)
        distance = 20 * WAD + 1
        exact = Fraction(SIZE * against(1, distance) * P.maintenance_margin, WAD**2)
        assert exact.denominator > 1
        slide(made, int(exact), 1, distance)
        made.deposit(KEEPER, RICH)
        made.liquidate(KEEPER, TRADER)

    @both_sides
    def test_margin_is_that_of_the_settled_mark(self, twin: TwinFactory, sign: int) -> None:
        """Nobody has settled: the call does, and only then is the account below."""
        market = twin()
        open_position(market, 200 * WAD, sign)
        market.deposit(KEEPER, RICH)
        with pytest.raises(Reverted, match=HEALTHY):
            market.liquidate(KEEPER, TRADER)
        market.set_price(against(sign))
        transaction = market.liquidate(KEEPER, TRADER)
        (receipt,) = receipts_in(transaction.logs)
        assert (receipt.mark_before, receipt.mark_after) == (MARK, against(sign))
        assert liquidated(transaction)["mark"] == market.exchange.mark == against(sign)

    @both_sides
    def test_and_one_that_a_settlement_saves_is_not_taken(
        self, exchange: ExchangeFactory, refused: Refused, sign: int
    ) -> None:
        made = exchange()
        slide(made, 200 * WAD, sign)
        made.deposit(KEEPER, RICH)
        made.set_price(MARK)
        with refused(made, HEALTHY):
            made.liquidate(KEEPER, TRADER)

    def test_settles_funding_first(self, twin: TwinFactory) -> None:
        """Longs pay for their premium: funding at the old mark, then the price, then the takeover, in one call. Without
        the funding the account would be healthy."""
        market = twin(max_funding=WAD // 100)
        equity = part(P.maintenance_margin, value(SIZE, against(1))) + WAD // 2
        market.deposit(TRADER, equity + 300 * WAD + 5 * WAD + 10 * WAD)
        market.deposit(WINNER, RICH)
        market.deposit(KEEPER, RICH)
        market.trade(TRADER, WINNER, True, SIZE, MARK + WAD)  # pays 10 more than the mark, and 5 of fees
        assert market.exchange.core.premium == 10 * WAD
        market.exchange.chain.advance(3000)
        market.set_price(against(1))
        transaction = market.liquidate(KEEPER, TRADER)
        funding, price = receipts_in(transaction.logs)
        assert (funding.funding, funding.loser, funding.mark_before, funding.mark_after) == (True, LONG, MARK, MARK)
        assert (price.funding, price.loser, price.mark_after) == (False, LONG, against(1))
        assert price.gross == 300 * WAD and funding.gross > WAD // 2
        assert [log.name for log in transaction.logs] == [
            "Moved",
            "Moved",
            "AccountUpdated",
            "AccountUpdated",
            "Liquidated",
        ]
        before = fields(transaction, "AccountUpdated")[0]["collateral"] + liquidated(transaction)["fee"]
        assert before < part(P.maintenance_margin, value(SIZE, against(1)))


class TestRefused:
    @pytest.mark.parametrize("size", [ALL, WAD, 0])
    def test_nobody_takes_himself_over(self, exchange: ExchangeFactory, refused: Refused, size: int) -> None:
        made = exchange()
        slide(made, 200 * WAD)
        made.deposit(TRADER, WAD)  # still below maintenance
        with refused(made, "liquidation: own account"):
            made.liquidate(TRADER, TRADER, size)

    def test_not_even_a_flat_one(self, exchange: ExchangeFactory, refused: Refused) -> None:
        made = exchange()
        with refused(made, "liquidation: own account"):
            made.liquidate(TRADER, TRADER)

    @pytest.mark.parametrize("size", [ALL, WAD, 0])
    def test_unknown_flat_closed_and_healthy_accounts(
        self, exchange: ExchangeFactory, refused: Refused, size: int
    ) -> None:
        """An account without collateral too: nothing is not less than nothing."""
        made = exchange()
        slide(made, 200 * WAD)
        made.deposit(KEEPER, RICH)
        made.deposit(OTHER, WAD)
        for owner in (OTHER, STRANGER, WINNER):
            with refused(made, HEALTHY):
                made.liquidate(KEEPER, owner, size)
        made.set_price(900 * WAD)
        made.settle()
        assert made.account(TRADER).shares == 0
        with refused(made, HEALTHY):
            made.liquidate(KEEPER, TRADER, size)

    def test_an_account_of_an_ended_epoch(self, exchange: ExchangeFactory, refused: Refused) -> None:
        """The loser's side is empty, so both sides were closed: nobody has a position, whatever storage remembers."""
        made = exchange()
        slide(made, 200 * WAD)
        made.deposit(KEEPER, RICH)
        made.set_price(950 * WAD)
        made.settle()
        assert made.epoch == 1
        for owner in (TRADER, WINNER):
            with refused(made, HEALTHY):
                made.liquidate(KEEPER, owner)

    @both_sides
    def test_an_account_that_the_same_settlement_closes(
        self, exchange: ExchangeFactory, refused: Refused, sign: int
    ) -> None:
        """Below maintenance before the call, bankrupt in it: its bucket was first."""
        made = exchange()
        slide(made, 200 * WAD, sign)
        made.deposit(KEEPER, RICH)
        made.set_price(against(sign, 45 * WAD))
        with refused(made, HEALTHY):
            made.liquidate(KEEPER, TRADER)
        made.settle()
        assert made.account(TRADER).shares == made.account(TRADER).equity == 0

    def test_zero_size(self, exchange: ExchangeFactory, refused: Refused) -> None:
        made = exchange()
        slide(made, 200 * WAD)
        made.deposit(KEEPER, RICH)
        with refused(made, "order: zero size"):
            made.liquidate(KEEPER, TRADER, 0)

    def test_refused_oracle(self, exchange: ExchangeFactory, refused: Refused) -> None:
        made = exchange()
        slide(made, 200 * WAD)
        made.deposit(KEEPER, RICH)
        now = made.chain.now
        answers = {
            (0, now, 1, 1): "oracle: non-positive answer",
            (970 * WAD, now, 2, 1): "oracle: incomplete round",
            (970 * WAD, now + 100, 1, 1): "oracle: future-dated",
            (970 * WAD, now - 3601, 1, 1): "oracle: stale",
            (2**80, now, 1, 1): "oracle: price out of range",
        }
        for answer, reason in answers.items():
            made.set_round(*answer)
            with refused(made, reason):
                made.liquidate(KEEPER, TRADER)

    def test_the_logic_alone_does_nothing(self, exchange: ExchangeFactory, refused: Refused) -> None:
        """Its own storage is empty, and it cannot settle."""
        made = exchange()
        slide(made, 200 * WAD)
        logic = made.chain.at("TradingLogic", made.addresses.trading)
        with refused(made, ""):
            made.chain.transact(logic, "liquidate", made.chain.address(TRADER), ALL, sender=KEEPER)


# ------------------------------------------------------------------------------------------------------------ how much


class TestAmount:
    @both_sides
    @pytest.mark.parametrize("equity", [210 * WAD, 210 * WAD + 1, 223 * WAD + 7, 242 * WAD + 499_999_999_999_999_983])
    @pytest.mark.parametrize("distance", [30 * WAD, 29 * WAD + 123_456_789])
    def test_exactly_to_initial_margin(self, twin: TwinFactory, sign: int, equity: int, distance: int) -> None:
        """And not a wei of size further: with that much less taken over it would still be below."""
        market = twin()
        price = slide(market, equity, sign, distance)
        market.deposit(KEEPER, RICH)
        transaction = market.liquidate(KEEPER, TRADER)

        taken = liquidated(transaction)["size"]
        assert taken == limit_of(equity, price)
        left = fields(transaction, "AccountUpdated")[0]
        assert left["shares"] == SIZE - taken
        required = Fraction((SIZE - taken) * price * P.initial_margin, WAD**2)
        # A wei of size is worth about 40 wei of margin; the fee is rounded up by two wei at most.
        assert -2 <= left["collateral"] - required <= 42
        one_less = equity - Fraction((taken - 1) * price * P.liquidation_fee, WAD**2)
        assert one_less < Fraction((SIZE - taken + 1) * price * P.initial_margin, WAD**2)

        ratio = market.exchange.chain.call(
            market.exchange.lens, "position", market.exchange.market.address, market.exchange.chain.address(TRADER)
        )[4]
        assert ratio in (P.initial_margin - 1, P.initial_margin)
        with pytest.raises(Reverted, match=HEALTHY):
            market.liquidate(KEEPER, TRADER)

    @both_sides
    @pytest.mark.parametrize("more", [1, WAD, ALL])
    def test_more_is_cut(self, exchange: ExchangeFactory, sign: int, more: int) -> None:
        made = exchange()
        price = slide(made, 200 * WAD, sign)
        made.deposit(KEEPER, RICH)
        limit = limit_of(200 * WAD, price)
        assert 0 < limit < SIZE
        with made.chain.anchor():
            expected = made.liquidate(KEEPER, TRADER, limit).logs
        assert made.liquidate(KEEPER, TRADER, min(limit + more, ALL)).logs == expected

    @both_sides
    @pytest.mark.parametrize("less", [1, WAD, 5 * WAD])
    def test_less_is_taken(self, twin: TwinFactory, sign: int, less: int) -> None:
        market = twin()
        price = slide(market, 200 * WAD, sign)
        market.deposit(KEEPER, RICH)
        size = limit_of(200 * WAD, price) - less
        transaction = market.liquidate(KEEPER, TRADER, size)
        assert liquidated(transaction)["size"] == size
        assert held(market.exchange, TRADER) == sign * (SIZE - size)
        assert held(market.exchange, KEEPER) == sign * size

    def test_in_slices(self, twin: TwinFactory) -> None:
        """Piece by piece, while it is below; every piece leaves it healthier, the last one above maintenance."""
        market = twin()
        slide(market, 200 * WAD)
        market.deposit(KEEPER, RICH)
        health, pieces = Fraction(200 * WAD, SIZE), 0
        with pytest.raises(Reverted, match=HEALTHY):
            while True:
                market.liquidate(KEEPER, TRADER, WAD)
                pieces += 1
                account = market.exchange.account(TRADER)
                assert Fraction(account.equity, account.shares) > health
                health = Fraction(account.equity, account.shares)
        assert 2 <= pieces <= 7
        assert health * WAD >= part(P.maintenance_margin, 970 * WAD)

    def test_a_dearer_fee_takes_more(self, twin: TwinFactory) -> None:
        sizes = []
        for fee in (0, WAD // 200, WAD // 100, WAD * 15 // 1000):
            market = twin(liquidation_fee=fee)
            slide(market, 200 * WAD)
            market.deposit(KEEPER, RICH)
            sizes.append(liquidated(market.liquidate(KEEPER, TRADER))["size"])
        assert sizes == sorted(set(sizes))
        assert sizes[0] == ceil(Fraction(285 * WAD * WAD * 100, 5 * 970 * WAD))

    @both_sides
    def test_the_rest_at_the_minimum_stays(self, twin: TwinFactory, sign: int) -> None:
        """Seven of ten units, to the wei: three are left, which are worth exactly the smallest position."""
        price = against(sign)
        equity = part(P.initial_margin, value(SIZE, price)) - part(WAD * 4 // 100, value(7 * WAD, price))
        market = twin(min_notional=value(3 * WAD, price))
        slide(market, equity, sign)
        market.deposit(KEEPER, RICH)
        assert liquidated(market.liquidate(KEEPER, TRADER))["size"] == 7 * WAD
        assert held(market.exchange, TRADER) == sign * 3 * WAD

    @both_sides
    def test_a_rest_below_the_minimum_goes_too(self, exchange: ExchangeFactory, sign: int) -> None:
        """The same account, and a smallest position of a wei more: all of it."""
        price = against(sign)
        equity = part(P.initial_margin, value(SIZE, price)) - part(WAD * 4 // 100, value(7 * WAD, price))
        made = exchange(min_notional=value(3 * WAD, price) + 1)
        slide(made, equity, sign)
        made.deposit(KEEPER, RICH)
        transaction = made.liquidate(KEEPER, TRADER)
        assert liquidated(transaction)["size"] == SIZE
        fee = part(P.liquidation_fee, value(SIZE, price))
        account = made.account(TRADER)
        assert (account.shares, account.equity) == (0, equity - fee)

    @both_sides
    @pytest.mark.parametrize("above", [0, 1])
    def test_all_if_the_fee_eats_it_up(self, twin: TwinFactory, sign: int, above: int) -> None:
        """Collateral that is no more than the fee on all of it: no smaller piece would help. What is charged is what is
        there. A wei more is as good: what it would leave is less than the smallest position."""
        market = twin(liquidation_fee=WAD * 2 // 100)
        price = against(sign, 32 * WAD)
        fee = part(WAD * 2 // 100, value(SIZE, price))
        equity = fee + above
        slide(market, equity, sign, 32 * WAD)
        market.deposit(KEEPER, RICH)
        transaction = market.liquidate(KEEPER, TRADER)
        assert liquidated(transaction)["size"] == SIZE
        assert liquidated(transaction)["fee"] == fee
        assert market.exchange.account(TRADER).equity == above
        # And it can go.
        if above:
            market.withdraw(TRADER, above)

    @both_sides
    def test_a_smaller_piece_of_it_by_choice(self, twin: TwinFactory, sign: int) -> None:
        market = twin(liquidation_fee=WAD * 2 // 100)
        slide(market, 160 * WAD, sign, 35 * WAD)
        market.deposit(KEEPER, RICH)
        transaction = market.liquidate(KEEPER, TRADER, 4 * WAD)
        found = liquidated(transaction)
        assert (found["size"], found["fee"]) == (4 * WAD, 64 * WAD)  # of 160, what belonged to the four units
        assert held(market.exchange, TRADER) == sign * 6 * WAD

    @both_sides
    @pytest.mark.parametrize(("short_of", "reason"), [(0, None), (1, "position: below minimum")])
    def test_a_remainder_below_the_minimum_is_refused(
        self, exchange: ExchangeFactory, refused: Refused, sign: int, short_of: int, reason: str | None
    ) -> None:
        """The caller chose it: what he leaves must be a position, or nothing."""
        price = against(sign, 35 * WAD)
        made = exchange(liquidation_fee=WAD * 2 // 100, min_notional=value(4 * WAD, price))
        slide(made, 160 * WAD, sign, 35 * WAD)
        made.deposit(KEEPER, RICH)
        if reason is None:
            made.liquidate(KEEPER, TRADER, 6 * WAD)
            assert held(made, TRADER) == sign * 4 * WAD
            return
        with refused(made, reason):
            made.liquidate(KEEPER, TRADER, 6 * WAD + short_of)

    @both_sides
    def test_a_remainder_of_dust_is_nothing(self, exchange: ExchangeFactory, sign: int) -> None:
        made = exchange(liquidation_fee=WAD * 2 // 100)
        slide(made, 160 * WAD, sign, 35 * WAD)
        made.deposit(KEEPER, RICH)
        made.liquidate(KEEPER, TRADER, SIZE - 10**8)
        assert held(made, TRADER) == 0
        assert held(made, KEEPER) == sign * (SIZE - 10**8)


# ----------------------------------------------------------------------------------------------------------------- fee


class TestFee:
    @both_sides
    @pytest.mark.parametrize("share", [0, WAD // 3, WAD // 2, WAD])
    @pytest.mark.parametrize("size", [ALL, 3 * WAD, 2 * WAD + 1])
    def test_from_the_account_to_the_caller_and_the_vault(
        self, twin: TwinFactory, sign: int, share: int, size: int
    ) -> None:
        market = twin(liquidator_share=share)
        exchange = market.exchange
        price = slide(market, 200 * WAD, sign)
        market.deposit(KEEPER, RICH)
        owed = exchange.insurance_owed
        transaction = market.liquidate(KEEPER, TRADER, size)

        found = liquidated(transaction)
        fee = part(P.liquidation_fee, value(min(size, limit_of(200 * WAD, price)), price))
        reward = fee * share // WAD
        assert (found["fee"], found["reward"]) == (fee, reward)
        left, taken = fields(transaction, "AccountUpdated")
        assert left["collateral"] == 200 * WAD - fee
        assert taken["collateral"] == RICH + reward
        assert exchange.insurance_owed == owed + fee - reward

    def test_is_a_part_of_the_notional_rounded_up(self, exchange: ExchangeFactory) -> None:
        """Of half a unit at 970 and a wei: 485 and half a wei, of which one per cent is 4.85 and a wei."""
        made = exchange(liquidation_fee=WAD // 100)
        open_position(made, 200 * WAD)
        made.set_price(970 * WAD + 1)
        made.deposit(KEEPER, RICH)
        found = liquidated(made.liquidate(KEEPER, TRADER, WAD // 2))
        assert found["fee"] == 485 * WAD // 100 + 1

    def test_without_a_fee(self, twin: TwinFactory) -> None:
        market = twin(liquidation_fee=0)
        slide(market, 200 * WAD)
        market.deposit(KEEPER, RICH)
        owed = market.exchange.insurance_owed
        transaction = market.liquidate(KEEPER, TRADER)
        assert (liquidated(transaction)["fee"], liquidated(transaction)["reward"]) == (0, 0)
        assert [one["collateral"] for one in fields(transaction, "AccountUpdated")] == [200 * WAD, RICH]
        assert market.exchange.insurance_owed == owed

    def test_no_trading_fee_and_no_premium(self, twin: TwinFactory) -> None:
        market = twin(max_funding=WAD // 100, liquidator_share=0)
        slide(market, 200 * WAD)
        market.deposit(KEEPER, RICH)
        premium = market.exchange.core.premium
        transaction = market.liquidate(KEEPER, TRADER)
        assert fields(transaction, "AccountUpdated")[1]["collateral"] == RICH
        assert market.exchange.core.premium == premium == 0

    @settings(max_examples=80, deadline=None)
    @given(
        equity=st.integers(120 * WAD, 243 * WAD - 1),
        size=st.one_of(st.integers(1, SIZE), st.integers(1, 10**6), st.just(ALL)),
        distance=st.integers(30 * WAD, 38 * WAD),
        sign=st.sampled_from([1, -1]),
        fee=st.sampled_from([0, WAD // 100, WAD * 15 // 1000, WAD * 25 // 1000]),
    )
    def test_never_less_healthy(self, equity: int, size: int, distance: int, sign: int, fee: int) -> None:
        """Equity over notional does not fall, by cross-multiplication, whatever is there and whatever is taken; and
        what a position loses is exactly what the caller and the vault gain."""
        exchange = base(fee)
        with exchange.chain.anchor():
            price = against(sign, distance)
            assume(equity + SIZE * distance // WAD >= 500 * WAD)
            open_position(exchange, equity, sign, distance)
            exchange.set_price(price)
            exchange.settle()
            before = exchange.account(TRADER)
            assume(before.shares > 0)
            owed = exchange.insurance_owed
            try:
                transaction = exchange.liquidate(KEEPER, TRADER, size)
            except Reverted as reverted:
                healthy = before.equity >= part(P.maintenance_margin, value(SIZE, price))
                assert reverted.reason == (HEALTHY if healthy else "position: below minimum")
                return
            left, taken = fields(transaction, "AccountUpdated")
            assert left["collateral"] * before.shares >= before.equity * left["shares"]
            found = liquidated(transaction)
            assert before.equity - left["collateral"] == found["fee"] <= part(fee, value(found["size"], price))
            assert found["reward"] == found["fee"] // 2
            assert exchange.insurance_owed - owed == found["fee"] - found["reward"]
            assert left["shares"] + taken["shares"] == SIZE


@lru_cache
def base(liquidation_fee: int) -> Exchange:
    """A market with a rich keeper and a rich counterparty, to be used within an anchor."""
    made = Exchange.deploy(RevmChain(), MARK, MarketParameters(liquidation_fee=liquidation_fee))
    for trader in (TRADER, WINNER, KEEPER):
        made.fund(trader)
    made.deposit(KEEPER, RICH)
    return made


# --------------------------------------------------------------------------------------------------------- the caller


class TestLiquidator:
    """The caller needs static initial margin for what he then holds; the reward counts."""

    EQUITY = 200 * WAD
    TAKEN = 5 * WAD

    def reward(self, price: int) -> int:
        return part(P.liquidation_fee, value(self.TAKEN, price)) // 2

    @both_sides
    def test_with_exactly_initial_margin(self, twin: TwinFactory, sign: int) -> None:
        market = twin()
        price = slide(market, self.EQUITY, sign)
        market.deposit(KEEPER, part(P.initial_margin, value(self.TAKEN, price)) - self.reward(price))
        market.liquidate(KEEPER, TRADER, self.TAKEN)
        assert held(market.exchange, KEEPER) == sign * self.TAKEN

    @both_sides
    @pytest.mark.parametrize("lacking", [1, WAD])
    def test_not_with_a_wei_less(self, exchange: ExchangeFactory, refused: Refused, sign: int, lacking: int) -> None:
        made = exchange()
        price = slide(made, self.EQUITY, sign)
        made.deposit(KEEPER, part(P.initial_margin, value(self.TAKEN, price)) - self.reward(price) - lacking)
        with refused(made, "margin: below initial"):
            made.liquidate(KEEPER, TRADER, self.TAKEN)

    def test_not_with_nothing(self, exchange: ExchangeFactory, refused: Refused) -> None:
        made = exchange()
        slide(made, self.EQUITY)
        with refused(made, "margin: below initial"):
            made.liquidate(STRANGER, TRADER)

    def test_in_a_wider_bucket_he_is_found_by_the_next_scan(self, exchange: ExchangeFactory) -> None:
        """KEEPER has a wei more than TRADER, but a bucket twice as wide, whose upper edge may stand above all others:
        the bound of his side must know."""
        parameters = {"initial_margin": P.maintenance_margin + 1, "fee_rate": 0, "liquidation_fee": 0}
        parameters["min_notional"] = 1000 * WAD  # or KEEPER would take a part, and be safer than need be
        above = 0
        for cents in range(0, 100, 9):
            made = exchange(**parameters)
            price = 1340 * WAD + cents * WAD // 100
            required = part(P.maintenance_margin, price)
            made.deposit(TRADER, price - MARK + required - 1)
            made.deposit(WINNER, RICH)
            made.trade(TRADER, WINNER, False, WAD, MARK)
            made.set_price(price)
            made.settle()
            before = made.account(TRADER).edge
            made.deposit(KEEPER, part(P.maintenance_margin + 1, price))
            made.liquidate(KEEPER, TRADER)
            after = made.account(KEEPER)
            above += after.edge > before
            assert isinstance(made.chain, RevmChain)
            word = made.chain.word(made.addresses.market, slots_of("PerpetualMarket")["sides._reach"] + SHORT)
            assert signed(word >> 160, 96) << 64 >= after.edge
        assert above

    def test_not_with_a_piece_too_small_to_hold(self, exchange: ExchangeFactory, refused: Refused) -> None:
        made = exchange()
        price = slide(made, self.EQUITY)
        made.deposit(KEEPER, RICH)
        smallest = -(-WAD * WAD // price)
        with refused(made, "position: below minimum"):
            made.liquidate(KEEPER, TRADER, smallest - 1)
        made.liquidate(KEEPER, TRADER, smallest)

    @both_sides
    @pytest.mark.parametrize("lacking", [0, 1])
    def test_with_a_position_on_the_same_side(
        self, exchange: ExchangeFactory, refused: Refused, sign: int, lacking: int
    ) -> None:
        """Initial margin for both together."""
        made = exchange()
        price = slide(made, self.EQUITY, sign)
        made.deposit(KEEPER, part(P.initial_margin, value(2 * WAD, price)) + part(P.fee_rate, value(2 * WAD, price)))
        made.trade(KEEPER, WINNER, sign > 0, 2 * WAD, price)
        has = made.account(KEEPER).equity
        # A deposit refiles, which may cost a wei.
        made.deposit(KEEPER, part(P.initial_margin, value(7 * WAD, price)) - self.reward(price) - has + 1 - lacking)
        if lacking:
            with refused(made, "margin: below initial"):
                made.liquidate(KEEPER, TRADER, self.TAKEN)
            return
        made.liquidate(KEEPER, TRADER, self.TAKEN)
        assert held(made, KEEPER) == sign * 7 * WAD

    @both_sides
    @pytest.mark.parametrize("own", [8 * WAD, 5 * WAD])
    def test_an_opposite_position_is_reduced_or_closed(self, twin: TwinFactory, sign: int, own: int) -> None:
        """Which needs no initial margin: the keeper himself is under it, and ends healthier."""
        market = twin()
        exchange = market.exchange
        price = against(sign)
        market.deposit(KEEPER, part(P.initial_margin, value(own, MARK)) + part(P.fee_rate, value(own, MARK)) + 1)
        market.deposit(OTHER, RICH)
        market.trade(OTHER, KEEPER, sign > 0, own, MARK)
        open_position(market, self.EQUITY, sign)
        # He wins in this slide; so he takes out what he may, and the price turns a bit against him.
        market.set_price(price)
        market.settle()
        free = exchange.account(KEEPER).equity - part(P.initial_margin, value(own, price))
        market.withdraw(KEEPER, free)
        market.set_price(price + sign * WAD)
        market.settle()
        before = exchange.account(KEEPER)
        assert before.equity < part(P.initial_margin, value(own, price + sign * WAD))

        interest = [exchange.side(side).open_interest for side in (LONG, SHORT)]
        market.liquidate(KEEPER, TRADER, self.TAKEN)
        after = exchange.account(KEEPER)
        assert after.shares == own - self.TAKEN
        assert after.equity * before.shares >= before.equity * after.shares
        if after.shares:
            assert after.side == before.side
        # A keeper who closes takes both his own and the taken size out of the market.
        assert [exchange.side(side).open_interest for side in (LONG, SHORT)] == [size - self.TAKEN for size in interest]

    @both_sides
    @pytest.mark.parametrize("lacking", [0, 1])
    def test_an_opposite_position_is_turned_over(
        self, exchange: ExchangeFactory, refused: Refused, sign: int, lacking: int
    ) -> None:
        """What it opens is new risk: initial margin for all of what he then holds."""
        made = exchange()
        made.deposit(OTHER, RICH)
        price = slide(made, self.EQUITY, sign)
        needed = part(P.initial_margin, value(3 * WAD, price)) - self.reward(price)
        made.deposit(KEEPER, needed + part(P.fee_rate, value(2 * WAD, price)) + 1 - lacking)
        made.trade(OTHER, KEEPER, sign > 0, 2 * WAD, price)
        assert made.account(KEEPER).equity == needed - lacking
        if lacking:
            with refused(made, "margin: below initial"):
                made.liquidate(KEEPER, TRADER, self.TAKEN)
            return
        made.liquidate(KEEPER, TRADER, self.TAKEN)
        assert held(made, KEEPER) == sign * 3 * WAD

    def test_one_below_maintenance_takes_nobody_over(self, exchange: ExchangeFactory, refused: Refused) -> None:
        made = exchange()
        made.deposit(KEEPER, 205 * WAD)
        made.deposit(WINNER, RICH)
        made.trade(KEEPER, WINNER, True, 4 * WAD, MARK)
        slide(made, 200 * WAD)
        with refused(made, "margin: below initial"):
            made.liquidate(KEEPER, TRADER, WAD)

    def test_a_contract_learns_what_it_took(self, exchange: ExchangeFactory) -> None:
        made = exchange()
        price = slide(made, self.EQUITY)
        keeper = made.chain.deploy_source(CONTRACT_KEEPER)  # type: ignore[attr-defined]
        made.chain.transact(made.market, "deposit", 1000 * WAD, keeper.address, sender=OTHER)
        made.chain.transact(
            keeper, "liquidate", made.market.address, made.chain.address(TRADER), 2 * WAD, sender=STRANGER
        )
        assert made.chain.call(keeper, "taken") == 2 * WAD
        made.chain.transact(keeper, "liquidate", made.market.address, made.chain.address(TRADER), ALL, sender=STRANGER)
        assert made.chain.call(keeper, "taken") == limit_of(
            self.EQUITY - part(P.liquidation_fee, value(2 * WAD, price)) - 1, price, SIZE - 2 * WAD
        )

    def test_bug_a_keeper_without_position_cannot_take_a_piece_below_the_minimum(self, twin: TwinFactory) -> None:
        """Where initial margin is near maintenance, little brings an account back, and that little may be worth less
        than the smallest position: whoever has no position yet cannot take it over, and may not take more. The account
        stays below maintenance with keepers willing and able (design §6: anyone may)."""
        market = twin(initial_margin=WAD * 30 // 1000, min_notional=3000 * WAD)
        slide(market, part(P.maintenance_margin, value(SIZE, against(1, 20 * WAD))) - 1, 1, 20 * WAD)
        market.deposit(KEEPER, RICH)
        market.liquidate(KEEPER, TRADER)


CONTRACT_KEEPER = """
# pragma version 0.4.3
interface Market:
    def liquidate(owner: address, size: uint256) -> uint256: nonpayable

taken: public(uint256)

@external
def liquidate(market: address, owner: address, size: uint256):
    self.taken = extcall Market(market).liquidate(owner, size)
"""


# -------------------------------------------------------------------------------------------------------- conservation


class TestTheRestOfTheMarket:
    @both_sides
    @pytest.mark.parametrize("size", [ALL, 3 * WAD])
    def test_the_position_moves_over_at_the_mark(self, twin: TwinFactory, sign: int, size: int) -> None:
        """Equity of both adds up, but for the fee's part that insurance gets; nobody else notices."""
        market = twin()
        exchange = market.exchange
        slide(market, 200 * WAD, sign)
        market.deposit(KEEPER, RICH)
        winner, sides = exchange.account(WINNER), [exchange.side(side) for side in (LONG, SHORT)]
        both = exchange.account(TRADER).equity + exchange.account(KEEPER).equity
        everything = total(exchange)
        tokens = exchange.token_balance(exchange.market)

        found = liquidated(market.liquidate(KEEPER, TRADER, size))
        assert exchange.account(WINNER) == winner
        assert [exchange.side(side) for side in (LONG, SHORT)] == sides
        after = exchange.account(TRADER).equity + exchange.account(KEEPER).equity
        # Two filings, a wei each at most, against the accounts.
        assert 0 <= both - (found["fee"] - found["reward"]) - after <= 2
        assert 0 <= everything - total(exchange) <= 2
        assert exchange.token_balance(exchange.market) == tokens

    @both_sides
    def test_what_was_taken_over_wins_and_loses_like_any_position(self, twin: TwinFactory, sign: int) -> None:
        market = twin()
        price = slide(market, 200 * WAD, sign)
        market.deposit(KEEPER, RICH)
        taken = liquidated(market.liquidate(KEEPER, TRADER))["size"]
        before = {trader: market.exchange.account(trader).equity for trader in (TRADER, KEEPER)}
        market.set_price(price + sign * 10 * WAD)
        market.settle()
        for trader, size in ((TRADER, SIZE - taken), (KEEPER, taken)):
            gained = market.exchange.account(trader).equity - before[trader]
            assert abs(gained - 10 * size) <= 2

    def test_events(self, twin_everywhere: TwinFactory) -> None:
        market = twin_everywhere()
        exchange = market.exchange
        market.deposit(TRADER, 505 * WAD)
        market.deposit(WINNER, RICH)
        market.deposit(KEEPER, RICH)
        market.trade(TRADER, WINNER, True, SIZE, MARK)
        market.set_price(970 * WAD)
        market.settle()
        transaction = market.liquidate(KEEPER, TRADER, 5 * WAD)
        assert [log.name for log in transaction.logs] == ["AccountUpdated", "AccountUpdated", "Liquidated"]
        assert {log.address for log in transaction.logs} == {exchange.market.address}
        fee = part(P.liquidation_fee, 4850 * WAD)
        assert liquidated(transaction) == {
            "account": exchange.chain.address(TRADER),
            "liquidator": exchange.chain.address(KEEPER),
            "size": 5 * WAD,
            "mark": 970 * WAD,
            "fee": fee,
            "reward": fee // 2,
        }
        for updated, trader in zip(fields(transaction, "AccountUpdated"), (TRADER, KEEPER), strict=True):
            account = exchange.account(trader)
            assert updated["account"] == exchange.chain.address(trader)
            assert 0 <= updated.pop("collateral") - account.equity <= 1
            assert updated["shares"] == 5 * WAD
            assert place_of(updated["bucket_id"]) == (0, (LONG, account.level, account.bucket))

    def test_each_token(self, each_twin: TwinFactory) -> None:
        market = each_twin()
        unit = market.exchange.unit
        market.deposit(TRADER, 505 * WAD + unit)
        for trader in (WINNER, KEEPER):
            market.deposit(trader, RICH)
        market.trade(TRADER, WINNER, True, SIZE, MARK)
        market.set_price(970 * WAD + 7)
        market.settle()
        market.liquidate(KEEPER, TRADER, 2 * WAD + 1)
        market.liquidate(KEEPER, TRADER)
        market.check()
        market.insure(1000 * WAD)  # which sweeps nothing and settles
        market.withdraw(KEEPER, market.exchange.account(KEEPER).equity // 2 // unit * unit)
        market.check()

    def deleveraged(self, market: Twin, sign: int, margin: int) -> int:
        """TRADER, a third of whose ten units was deleveraged away (shares are not sizes any more), at a price that
        leaves it `margin` in thousandths of its notional; returns that price."""
        exchange = market.exchange
        market.deposit(TRADER, 605 * WAD)
        market.deposit(OTHER, 55 * WAD * 11 // 3)
        for trader in (WINNER, KEEPER):
            market.deposit(trader, RICH)
        market.trade(TRADER, OTHER, sign > 0, SIZE // 3, MARK)
        market.trade(TRADER, WINNER, sign > 0, SIZE - SIZE // 3, MARK)
        top = MARK + sign * 62 * WAD
        market.set_price(top)
        market.settle()
        assert exchange.account(OTHER).shares == 0
        assert WAD // 2 < exchange.side(LONG if sign > 0 else SHORT).scale < WAD
        size, equity = abs(held(exchange, TRADER)), exchange.account(TRADER).equity
        # equity - distance size = margin size (top -+ distance)
        distance = Fraction(1000 * equity * WAD - margin * size * top, size * (1000 - sign * margin))
        price = top - sign * int(distance)
        market.set_price(price)
        market.settle()
        return price

    @both_sides
    def test_in_a_scaled_market(self, twin: TwinFactory, sign: int) -> None:
        market = twin()
        exchange = market.exchange
        price = self.deleveraged(market, sign, margin=21)
        scale = exchange.side(LONG if sign > 0 else SHORT).scale
        interest = [exchange.side(one).open_interest for one in (LONG, SHORT)]

        assert liquidated(market.liquidate(KEEPER, TRADER, WAD))["size"] == WAD
        assert exchange.account(KEEPER).shares == WAD * WAD // scale
        before = exchange.account(TRADER)
        found = liquidated(market.liquidate(KEEPER, TRADER))
        assert found["size"] == limit_of(before.equity, price, before.shares * scale // WAD)
        assert found["fee"] == part(P.liquidation_fee, value(found["size"], price))
        ratio = exchange.chain.call(exchange.lens, "position", exchange.market.address, exchange.chain.address(TRADER))[
            4
        ]
        assert abs(ratio - P.initial_margin) <= 1
        for one in (LONG, SHORT):
            assert abs(exchange.side(one).open_interest - interest[one]) <= 2
        market.check()

    @both_sides
    def test_all_of_it_in_a_scaled_market(self, twin: TwinFactory, sign: int) -> None:
        market = twin(liquidation_fee=WAD * 25 // 1000)
        exchange = market.exchange
        self.deleveraged(market, sign, margin=21)
        size, equity = abs(held(exchange, TRADER)), exchange.account(TRADER).equity
        found = liquidated(market.liquidate(KEEPER, TRADER))
        assert (found["size"], found["fee"]) == (size, equity)
        account = exchange.account(TRADER)
        assert (account.shares, account.equity) == (0, 0)
        market.check()

    @both_sides
    def test_never_makes_a_deficit(self, twin: TwinFactory, sign: int) -> None:
        """However little is left and however much of it the fee takes: no move, nothing drawn, nobody under zero."""
        market = twin(liquidation_fee=WAD * 25 // 1000)
        market.insure(1000 * WAD)
        held_before = market.exchange.vault_held
        slide(market, 120 * WAD, sign, 38 * WAD)
        market.deposit(KEEPER, RICH)
        transaction = market.liquidate(KEEPER, TRADER)
        assert receipts_in(transaction.logs) == []
        assert market.exchange.vault_held == held_before
        assert market.exchange.vault_window[0] == 0
        assert all(receipt.deficit == 0 for receipt in market.receipts)

    def test_premium_stays_bounded(self, twin: TwinFactory) -> None:
        """A keeper who was short closes with what he takes over: open interest falls, and with it what may be paid."""
        max_funding = WAD // 10_000
        market = twin(max_funding=max_funding, premium_retention=WAD - 1)
        exchange = market.exchange
        for trader in (WINNER, KEEPER, OTHER):
            market.deposit(trader, RICH)
        market.deposit(TRADER, 520 * WAD)
        market.trade(OTHER, KEEPER, True, 5 * WAD, MARK)
        market.trade(TRADER, WINNER, True, SIZE, MARK + WAD)
        market.set_price(970 * WAD)
        market.settle()
        before = exchange.core.premium
        assert before == 15 * 970 * WAD * max_funding // WAD
        market.liquidate(KEEPER, TRADER, 5 * WAD)
        assert exchange.side(LONG).open_interest == exchange.side(SHORT).open_interest == 10 * WAD
        # A second at this retention takes nothing that shows.
        assert abs(exchange.core.premium - 10 * 970 * WAD * max_funding // WAD) <= 100
        assert exchange.core.premium <= 10 * 970 * WAD * max_funding // WAD


# ------------------------------------------------------------------------------------------------ catch-up and modes


STEP = {"max_price_step": WAD * 3 // 100, "step_interval": 600}


class TestCatchUp:
    """A step of 3 % was made and the next must wait: the mark lags, wherever the index now is."""

    def lagging(self, made: Exchange, equity: int, sign: int, index_price: int) -> None:
        """TRADER has `equity` at the mark of 970 (1030), while the index is at `index_price`."""
        open_position(made, equity, sign)
        made.deposit(KEEPER, RICH)
        made.set_price(against(sign, 100 * WAD))
        made.settle()
        assert made.mark == against(sign) and made.core.lagging
        made.set_price(index_price)
        assert made.account(TRADER).equity == equity

    @both_sides
    @pytest.mark.parametrize("distance", [4, 1, 0, -1, -10, -90])
    def test_below_at_both(self, exchange: ExchangeFactory, sign: int, distance: int) -> None:
        """Wherever the index is as long as the account is below there, too. Mark and lag stay as they are."""
        made = exchange(**STEP)
        price = against(sign)
        self.lagging(made, 200 * WAD, sign, price + sign * distance * WAD)
        core = made.core
        transaction = made.liquidate(KEEPER, TRADER)
        assert liquidated(transaction)["mark"] == price
        assert liquidated(transaction)["size"] == limit_of(200 * WAD, price)
        if distance:
            assert made.core.lagging
            assert (made.mark, made.core.limited_at) == (price, core.limited_at)
        assert receipts_in(transaction.logs) == []

    @both_sides
    @pytest.mark.parametrize("beyond", [0, 1, WAD])
    def test_not_if_at_maintenance_at_the_index(
        self, exchange: ExchangeFactory, refused: Refused, sign: int, beyond: int
    ) -> None:
        """At 974 (1026), to the wei: what it would gain until there makes it healthy."""
        made = exchange(**STEP)
        index_price = against(sign, 26 * WAD)
        equity = part(P.maintenance_margin, value(SIZE, index_price)) - 40 * WAD
        assert equity < part(P.maintenance_margin, value(SIZE, against(sign)))
        self.lagging(made, equity, sign, index_price + sign * beyond)
        with refused(made, HEALTHY):
            made.liquidate(KEEPER, TRADER)

    @both_sides
    def test_but_a_wei_below_it(self, exchange: ExchangeFactory, sign: int) -> None:
        made = exchange(**STEP)
        index_price = against(sign, 26 * WAD)
        equity = part(P.maintenance_margin, value(SIZE, index_price)) - 40 * WAD
        self.lagging(made, equity, sign, index_price - sign)
        made.liquidate(KEEPER, TRADER)

    @both_sides
    def test_not_if_at_maintenance_at_the_mark(self, exchange: ExchangeFactory, refused: Refused, sign: int) -> None:
        """However certain its end: at the mark it owes nobody anything yet."""
        made = exchange(**STEP)
        equity = part(P.maintenance_margin, value(SIZE, against(sign)))
        self.lagging(made, equity, sign, against(sign, 200 * WAD))
        with refused(made, HEALTHY):
            made.liquidate(KEEPER, TRADER)

    @both_sides
    def test_and_a_wei_below_that(self, exchange: ExchangeFactory, sign: int) -> None:
        made = exchange(**STEP)
        equity = part(P.maintenance_margin, value(SIZE, against(sign))) - 1
        self.lagging(made, equity, sign, against(sign, 200 * WAD))
        made.liquidate(KEEPER, TRADER)

    def test_the_index_is_the_latest(self, exchange: ExchangeFactory, refused: Refused) -> None:
        """Not the one that the last settlement saw: the call settles, so it reads."""
        made = exchange(**STEP)
        self.lagging(made, 200 * WAD, 1, 900 * WAD)
        with made.chain.anchor():
            made.liquidate(KEEPER, TRADER)
        made.set_price(MARK)
        with refused(made, HEALTHY):
            made.liquidate(KEEPER, TRADER)

    @both_sides
    def test_in_lockstep_with_the_model(self, twin: TwinFactory, sign: int) -> None:
        """The whole way down, a takeover after every step, in catch-up until the end."""
        market = twin(max_price_step=WAD // 100, step_interval=12)
        exchange = market.exchange
        for trader in (WINNER, KEEPER):
            market.deposit(trader, RICH)
        for trader, margin in ((TRADER, 52), (OTHER, 65), (STRANGER, 80)):
            market.deposit(trader, margin * SIZE)
            market.trade(trader, WINNER, sign > 0, SIZE, MARK)
        market.set_price(against(sign, 80 * WAD))
        sizes = []
        while not sizes or exchange.core.lagging:
            exchange.chain.advance(12)
            for owner in (TRADER, OTHER, STRANGER):
                try:
                    sizes.append(liquidated(market.liquidate(KEEPER, owner))["size"])
                except Reverted as reverted:
                    assert reverted.reason == HEALTHY
            market.settle()
            market.check()
        assert len(sizes) >= 5
        assert all(receipt.closed_size == 0 for receipt in market.receipts)

    def test_fills_are_shut_meanwhile(self, exchange: ExchangeFactory, refused: Refused) -> None:
        made = exchange(**STEP)
        self.lagging(made, 200 * WAD, 1, 900 * WAD)
        with refused(made, "mode: catch-up"):
            made.trade(KEEPER, WINNER, True, WAD, 970 * WAD)
        made.liquidate(KEEPER, TRADER)

    def test_goes_on_with_the_next_step(self, twin: TwinFactory) -> None:
        """As far as one call may: a step, and the takeover at its end."""
        market = twin(max_price_step=WAD * 15 // 1000)
        open_position(market, 200 * WAD)
        market.deposit(KEEPER, RICH)
        market.set_price(940 * WAD)
        market.settle()
        assert market.exchange.mark == 985 * WAD
        transaction = market.liquidate(KEEPER, TRADER)
        assert market.exchange.mark == liquidated(transaction)["mark"] == 970_225 * WAD // 1000
        assert market.exchange.core.lagging


class TestModes:
    def guarded_market(self, twin: TwinFactory, **parameters: Any) -> Twin:
        chain = RevmChain()
        return twin(chain=chain, guardian=chain.address(0), **parameters)

    @both_sides
    def test_a_takeover_adds_no_risk_in_reduce_only_mode(self, twin: TwinFactory, sign: int) -> None:
        """By the guardian: a keeper without position may take over, although no fill may give him one."""
        market = self.guarded_market(twin)
        slide(market, 200 * WAD, sign)
        market.deposit(KEEPER, RICH)
        market.set_reduce_only(True)
        with pytest.raises(Reverted, match="mode: reduce-only"):
            market.trade(KEEPER, WINNER, sign > 0, WAD, against(sign))
        market.liquidate(KEEPER, TRADER)
        assert abs(held(market.exchange, KEEPER)) > 0
        assert market.exchange.mode == "reduce-only"

    def test_after_a_trip(self, twin: TwinFactory) -> None:
        """By a haircut, in the very call that makes it: the second account is taken over after the first was closed."""
        market = twin(cooloff=3600)
        for trader in (WINNER, KEEPER):
            market.deposit(trader, RICH)
        market.deposit(OTHER, 51 * WAD)
        market.deposit(TRADER, 85 * SIZE)
        market.trade(OTHER, WINNER, True, WAD, MARK)
        market.trade(TRADER, WINNER, True, SIZE, MARK)
        market.set_price(936 * WAD)
        transaction = market.liquidate(KEEPER, TRADER)
        (receipt,) = receipts_in(transaction.logs)
        assert receipt.deficit > 0 and receipt.buckets_closed == 1
        assert market.exchange.mode == "reduce-only"
        assert liquidated(transaction)["size"] > 0

    def test_in_a_closed_market_on_its_last_way(self, twin: TwinFactory) -> None:
        """Until the mark is there, an account may still be saved from its bucket."""
        market = twin(max_price_step=WAD * 3 // 100, step_interval=86_400, oracle_grace=3600, max_staleness=60)
        exchange = market.exchange
        open_position(market, 200 * WAD)
        market.deposit(KEEPER, RICH)
        market.set_price(900 * WAD)
        market.settle()
        exchange.chain.advance(61)
        market.wind_down()
        exchange.chain.advance(3600)
        market.wind_down()
        assert exchange.mode == "closed"
        taken = liquidated(market.liquidate(KEEPER, TRADER))["size"]
        assert taken == limit_of(200 * WAD, 970 * WAD)
        # When the mark is there everybody is flat.
        market.settle_fully()
        assert held(exchange, KEEPER) == held(exchange, TRADER) == 0
        with pytest.raises(Reverted, match=HEALTHY):
            market.liquidate(KEEPER, TRADER)


class TestWorthIt:
    """Keepers are the good path, buckets are the guarantee: the same slide with and without them."""

    def run(self, twin: TwinFactory, sign: int, step: int, keeps: bool) -> Twin:
        market = twin()
        for trader in (WINNER, KEEPER):
            market.deposit(trader, 10 * RICH)
        traders = {TRADER: 52, OTHER: 61, STRANGER: 73}
        for trader, margin in traders.items():
            market.deposit(trader, margin * SIZE)
            market.trade(trader, WINNER, sign > 0, SIZE, MARK)
        for move in range(step, 91, step):
            market.set_price(against(sign, move * WAD))
            market.settle()
            for trader in traders if keeps else ():
                try:
                    market.liquidate(KEEPER, trader)
                except Reverted as reverted:
                    assert reverted.reason == HEALTHY
        return market

    @both_sides
    @pytest.mark.parametrize("step", [5, 10])
    def test_winners_are_not_deleveraged(self, twin: TwinFactory, sign: int, step: int) -> None:
        winners = SHORT if sign > 0 else LONG
        with_keepers, without = (self.run(twin, sign, step, keeps) for keeps in (True, False))
        assert with_keepers.exchange.side(winners).scale == WAD
        assert held(with_keepers.exchange, WINNER) == -sign * 3 * SIZE
        assert without.exchange.epoch > 0 or without.exchange.side(winners).scale < WAD
        assert with_keepers.exchange.account(WINNER).equity > without.exchange.account(WINNER).equity
        assert sum(receipt.closed_size for receipt in with_keepers.receipts) == 0
        assert sum(receipt.closed_size for receipt in without.receipts) == 3 * SIZE

    @both_sides
    def test_and_lose_nothing_to_bad_debt(self, twin: TwinFactory, sign: int) -> None:
        """Steps of 3 %, three times the close-out margin: without keepers winners miss a part of their gain."""
        with_keepers, without = (self.run(twin, sign, 30, keeps) for keeps in (True, False))
        assert sum(receipt.socialized for receipt in with_keepers.receipts) == 0
        assert sum(receipt.socialized for receipt in without.receipts) > WAD
