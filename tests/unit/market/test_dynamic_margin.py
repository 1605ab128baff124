"""Margin for new risk grows with open interest over insurance, and open interest has a cap (design §9)."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from fractions import Fraction
from math import ceil, floor

import pytest

from prorata.chain import Reverted, Transaction
from prorata.exchange import Exchange
from prorata.parameters import MarketParameters
from prorata.receipts import receipts_in
from prorata.revm_chain import RevmChain
from prorata.twin import Twin
from prorata.units import LONG, SHORT, WAD

TwinFactory = Callable[..., Twin]
ExchangeFactory = Callable[..., Exchange]
Refused = Callable[..., AbstractContextManager[None]]

TRADER, RICH, OTHER, STRANGER, KEEPER = 1, 2, 3, 4, 5
MARK = 1000 * WAD
FUNDS = 10**7 * WAD
P = MarketParameters()
SLOPE = WAD // 100
INITIAL, CAP = "margin: below initial", "margin: open interest cap"


# ------------------------------------------------------------------------------------------------------------- helpers


def driver(market: Twin | Exchange) -> Exchange:
    return market.exchange if isinstance(market, Twin) else market


def part(ratio: int, amount: int) -> int:
    """A ratio of 18 digits of an amount, rounded up."""
    return -(-amount * ratio // WAD)


def fee_on(size: int, mark: int = MARK) -> int:
    return part(P.fee_rate, -(-size * mark // WAD))


def insured(market: Twin | Exchange) -> int:
    """What the vault holds and what the market owes it."""
    exchange = driver(market)
    return exchange.vault_held + exchange.insurance_owed


def interest(market: Twin | Exchange) -> int:
    return max(driver(market).side(side).open_interest for side in (LONG, SHORT))


def required(market: Twin | Exchange, holds: int, grows_by: int, slope: int = SLOPE) -> int:
    """Collateral that a position of `holds` needs after a fill which lets open interest grow by `grows_by`: the rule in
    exact rationals, rounded to what the chain counts in."""
    mark = driver(market).mark
    exposure = floor(Fraction((interest(market) + grows_by) * mark, WAD))
    ratio = min(P.initial_margin + floor(Fraction(exposure * slope, insured(market) + 1)), WAD)
    return ceil(Fraction(-(-holds * mark // WAD) * ratio, WAD))


def opens(market: Twin | Exchange, is_long: bool, size: int, trader: int = TRADER, role: str = "maker") -> None:
    """`trader` opens against RICH at the mark."""
    mark = driver(market).mark
    if role == "maker":
        market.trade(trader, RICH, is_long, size, mark)
    else:
        market.trade(RICH, trader, not is_long, size, mark)


def least_collateral(exchange: Exchange, size: int, trader: int = STRANGER) -> int:
    """By bisection: the least deposit with which `trader`, who is new, may open `size`. Undone again."""
    low, high = 0, FUNDS
    while high - low > 1:
        middle = (low + high) // 2
        with exchange.chain.anchor():
            exchange.deposit(trader, middle)
            try:
                opens(exchange, True, size, trader)
                high = middle
            except Reverted as reverted:
                assert reverted.reason == INITIAL
                low = middle
    return high


# ------------------------------------------------------------------------------------------------------------- formula


class TestFormula:
    CASES = pytest.mark.parametrize(
        ("before", "size", "insurance", "slope"),
        [
            (0, 10 * WAD, 1000 * WAD, SLOPE),  # 10 of insurance: 15 %
            (7 * WAD, 10 * WAD, 1000 * WAD, SLOPE),  # the fill counts with what was there
            (7 * WAD + 3, 5 * WAD + 12_345, 777 * WAD + 7, SLOPE + 1),
            (40 * WAD, WAD, 10**5 * WAD, WAD // 1000),  # plenty of insurance
            (0, 10 * WAD, 105_263 * 10**15, SLOPE),  # just under 100 %
            (0, 10 * WAD, 10 * WAD, SLOPE),  # far over: 100 %
            (0, 10 * WAD, 20_000 * WAD, WAD),
        ],
    )

    @CASES
    @pytest.mark.parametrize("role", ["maker", "taker"])
    @pytest.mark.parametrize("is_long", [True, False])
    def test_to_the_wei(
        self,
        exchange: ExchangeFactory,
        refused: Refused,
        before: int,
        size: int,
        insurance: int,
        slope: int,
        role: str,
        is_long: bool,
    ) -> None:
        """With exactly the margin of the open interest after the fill, and not with a wei less."""
        made = exchange(margin_slope=slope)
        made.insure(0, insurance)
        made.deposit(RICH, FUNDS)
        if before:
            for trader in (OTHER, KEEPER):
                made.deposit(trader, FUNDS)
            made.trade(OTHER, KEEPER, True, before, MARK)
        needed = required(made, size, size, slope)
        assert needed > part(P.initial_margin, size * MARK // WAD)
        made.deposit(TRADER, needed + fee_on(size) - 1)
        with refused(made, INITIAL):
            opens(made, is_long, size, role=role)
        made.deposit(TRADER, 1)
        opens(made, is_long, size, role=role)

    @pytest.mark.parametrize("decimals", [6, 8, 18])
    def test_of_each_token(self, twin: TwinFactory, decimals: int) -> None:
        """What the vault holds is counted in quote, whatever the token's units are."""
        market = twin(decimals=decimals, margin_slope=SLOPE)
        unit = market.exchange.unit
        market.insure(1000 * WAD)
        market.deposit(RICH, FUNDS)
        needed = -(-(required(market, 10 * WAD, 10 * WAD) + fee_on(10 * WAD)) // unit) * unit
        market.deposit(TRADER, needed - unit)
        with pytest.raises(Reverted, match=INITIAL):
            opens(market, True, 10 * WAD)
        market.deposit(TRADER, unit)
        opens(market, True, 10 * WAD)

    def test_is_what_it_always_was_without_a_slope(self, exchange: ExchangeFactory, refused: Refused) -> None:
        made = exchange()
        made.deposit(RICH, FUNDS)
        made.deposit(TRADER, 500 * WAD + fee_on(10 * WAD) - 1)
        with refused(made, INITIAL):
            opens(made, True, 10 * WAD)
        made.deposit(TRADER, 1)
        opens(made, True, 10 * WAD)

    def test_and_with_a_cap_but_no_slope(self, exchange: ExchangeFactory) -> None:
        made = exchange(oi_multiple=100 * WAD)
        made.insure(0, 1000 * WAD)
        made.deposit(RICH, FUNDS)
        made.deposit(TRADER, 500 * WAD + fee_on(10 * WAD))
        opens(made, True, 10 * WAD)

    def test_all_of_the_notional_without_insurance(self, exchange: ExchangeFactory, refused: Refused) -> None:
        """And never more than that."""
        made = exchange(margin_slope=1000)
        made.deposit(RICH, FUNDS)
        made.deposit(TRADER, 10_000 * WAD + fee_on(10 * WAD) - 1)
        with refused(made, INITIAL):
            opens(made, True, 10 * WAD)
        made.deposit(TRADER, 1)
        opens(made, True, 10 * WAD)

    def test_both_parties_of_new_risk_need_it(self, exchange: ExchangeFactory, refused: Refused) -> None:
        made = exchange(margin_slope=SLOPE)
        made.insure(0, 1000 * WAD)
        needed = required(made, 10 * WAD, 10 * WAD) + fee_on(10 * WAD)
        made.deposit(TRADER, needed)
        made.deposit(RICH, needed - 1)
        for role in ("maker", "taker"):
            with refused(made, INITIAL):
                opens(made, True, 10 * WAD, role=role)
        made.deposit(RICH, 1)
        opens(made, True, 10 * WAD)

    def test_adding_needs_it_for_the_whole_position(self, exchange: ExchangeFactory, refused: Refused) -> None:
        """Opened while there was little open interest; whoever adds a unit meets today's margin on all of it."""
        made = exchange(margin_slope=SLOPE)
        made.insure(0, 1000 * WAD)
        for trader in (RICH, OTHER):
            made.deposit(trader, FUNDS)
        made.deposit(TRADER, required(made, 2 * WAD, 2 * WAD) + fee_on(2 * WAD))
        opens(made, True, 2 * WAD)
        opens(made, True, 20 * WAD, OTHER)
        needed = required(made, 3 * WAD, WAD) + fee_on(WAD)
        made.deposit(TRADER, needed - made.account(TRADER).equity)
        assert made.account(TRADER).equity == needed - 1  # a deposit refiles, which costs a wei
        with refused(made, INITIAL):
            opens(made, True, WAD)
        made.deposit(TRADER, 2)
        assert made.account(TRADER).equity == needed
        opens(made, True, WAD)

    def test_counts_the_mark_of_today(self, exchange: ExchangeFactory) -> None:
        """At twice the price the same size is twice the exposure, of twice the notional."""
        made = exchange(margin_slope=SLOPE)
        made.insure(0, 1000 * WAD)
        made.deposit(RICH, FUNDS)
        made.deposit(OTHER, FUNDS)
        opens(made, True, 10 * WAD, OTHER)
        made.set_price(1500 * WAD)
        made.settle()
        needed = required(made, WAD, WAD)
        exposure = Fraction(11 * 1500 * WAD, insured(made))
        assert abs(needed - 1500 * WAD * (Fraction(5, 100) + exposure / 100)) <= 1500
        assert least_collateral(made, WAD) == needed + fee_on(WAD, 1500 * WAD)


class TestInsurance:
    def market(self, exchange: ExchangeFactory) -> Exchange:
        made = exchange(margin_slope=SLOPE)
        made.insure(0, 1000 * WAD)
        made.deposit(RICH, FUNDS)
        return made

    def test_a_deposit_into_the_vault_lowers_it(self, exchange: ExchangeFactory) -> None:
        made = self.market(exchange)
        before = least_collateral(made, 10 * WAD)
        made.insure(0, 1000 * WAD)
        after = least_collateral(made, 10 * WAD)
        assert after == required(made, 10 * WAD, 10 * WAD) + fee_on(10 * WAD)
        # Half of what was added for open interest, but for roundings of the ratio.
        assert abs((before - after) - 500 * WAD) <= 10**5

    def test_a_draw_raises_it(self, exchange: ExchangeFactory) -> None:
        """The vault paid for a bankruptcy; whoever comes after it needs more than if it had not."""
        made = self.market(exchange)
        made.deposit(OTHER, 2000 * WAD)
        opens(made, True, 10 * WAD, OTHER)
        made.deposit(KEEPER, FUNDS)
        opens(made, True, 10 * WAD, KEEPER)  # so that somebody is left
        held = made.vault_held
        made.set_price(770 * WAD)
        (receipt,) = receipts_in(made.settle().logs)
        assert receipt.covered > 100 * WAD and made.vault_held < held
        after = least_collateral(made, 10 * WAD)
        assert after == required(made, 10 * WAD, 10 * WAD) + fee_on(10 * WAD, made.mark)
        exposure = (interest(made) + 10 * WAD) * made.mark // WAD
        richer = P.initial_margin + exposure * SLOPE // (insured(made) + receipt.covered + 1)
        assert after > part(richer, 10 * made.mark) + fee_on(10 * WAD, made.mark)

    def test_fees_owed_count(self, exchange: ExchangeFactory) -> None:
        """The vault holds nothing; two hundred dollars of fees stand behind ten thousand of open interest."""
        made = exchange(margin_slope=SLOPE)
        made.deposit(RICH, FUNDS)
        made.deposit(OTHER, FUNDS)
        for is_long in (True, False):
            opens(made, is_long, 100 * WAD, OTHER)
        assert made.vault_held == 0 and made.insurance_owed == insured(made) == 200 * WAD
        needed = required(made, 10 * WAD, 10 * WAD)
        assert abs(needed - 5500 * WAD) <= 10**5  # 50 times insurance: 5 % + 50 %
        assert least_collateral(made, 10 * WAD) == needed + fee_on(10 * WAD)

    def test_but_not_the_fees_of_the_fill_itself(self, exchange: ExchangeFactory) -> None:
        made = exchange(margin_slope=SLOPE)
        made.insure(0, WAD)
        made.deposit(RICH, FUNDS)
        assert least_collateral(made, WAD // 10) == part(WAD, 100 * WAD) + fee_on(WAD // 10)

    def test_a_fill_in_a_batch_counts_those_before_it(self, exchange: ExchangeFactory, refused: Refused) -> None:
        """Their open interest and their fees: two halves at once need what the second half alone needs."""
        made = self.market(exchange)
        fills = []
        for _ in range(2):
            order = made.order(RICH, False, 5 * WAD, MARK)
            fills.append((order, made.sign(RICH, order), 5 * WAD))
        with made.chain.anchor():
            made.deposit(OTHER, FUNDS)
            opens(made, True, 5 * WAD, OTHER)
            needed = required(made, 10 * WAD, 5 * WAD) + 2 * fee_on(5 * WAD)
        made.deposit(TRADER, needed)  # one wei goes where the first half is filed
        with refused(made, INITIAL):
            made.take_batch(TRADER, fills)
        made.deposit(TRADER, 1)
        made.take_batch(TRADER, fills)


# -------------------------------------------------------------------------------------------------------- new risk only


class TestOnlyNewRisk:
    """A market whose margin for new risk is 100 % treats what exists as one without a slope does, event for event."""

    def pair(self, exchange: ExchangeFactory, sign: int = 1) -> tuple[Exchange, Exchange]:
        """The same market with a slope and without, uninsured: TRADER has opened ten units, fully margined."""
        made = exchange(margin_slope=WAD), exchange()
        for one in made:
            for trader in (RICH, OTHER, KEEPER):
                one.deposit(trader, FUNDS)
            one.deposit(TRADER, 10_000 * WAD + fee_on(10 * WAD) + 1)
            opens(one, sign > 0, 10 * WAD)
        for one, reason in zip(made, (INITIAL, None), strict=True):
            with one.chain.anchor():
                one.deposit(STRANGER, 9999 * WAD)
                try:
                    opens(one, True, 10 * WAD, STRANGER)
                except Reverted as reverted:
                    assert reverted.reason == reason
                else:
                    assert reason is None
        return made

    @pytest.mark.parametrize("sign", [1, -1], ids=["long", "short"])
    def test_everything_else_is_as_without(self, exchange: ExchangeFactory, refused: Refused, sign: int) -> None:
        """A withdrawal to static margin and not a wei more, a reduction, a slide with maintenance margin crossed, a
        takeover by a keeper with static margin, a transfer's leaver, a close."""
        made = self.pair(exchange, sign)
        for one in made:  # to one and a half times what static margin demands
            one.withdraw(TRADER, 9250 * WAD)
        self.same(made, lambda one: one.trade(TRADER, RICH, sign < 0, WAD, MARK))
        free = [one.account(TRADER).equity - part(P.initial_margin, 9000 * WAD) for one in made]
        assert free[0] == free[1] > 0
        for one in made:
            with refused(one, "account: above free collateral"):
                one.withdraw(TRADER, free[0] + 1)
        self.same(made, lambda one: one.withdraw(TRADER, free[0]))
        self.same(made, lambda one: one.deposit(TRADER, 3))

        # 450 of margin and nine units; at a distance of 30 there are 180 left, of 8730 (9270): below maintenance.
        price = MARK - sign * 30 * WAD
        for one in made:
            one.set_price(price)
            one.settle()
        for one in made:
            with refused(one, "margin: below initial"):
                one.liquidate(STRANGER, TRADER)
            # Static margin for two units.
            one.deposit(STRANGER, part(P.initial_margin, 2 * price))
        self.same(made, lambda one: one.liquidate(STRANGER, TRADER, 2 * WAD))
        self.same(made, lambda one: one.liquidate(KEEPER, TRADER))
        self.same(made, lambda one: one.trade(TRADER, OTHER, sign < 0, abs(one.account(TRADER).shares), price))
        assert all(one.account(TRADER).shares == 0 for one in made)
        self.same(made, lambda one: one.withdraw(TRADER, one.account(TRADER).equity))

    def same(self, made: tuple[Exchange, Exchange], act: Callable[[Exchange], Transaction]) -> None:
        dynamic, static = (act(one).logs for one in made)
        # Salts, and so the digests, and addresses are the same in both.
        assert dynamic == static

    def test_maintenance_never_moves(self, exchange: ExchangeFactory, refused: Refused) -> None:
        """However far open interest outgrows insurance, nobody becomes liquidatable by it."""
        made, _ = self.pair(exchange)
        made.withdraw(TRADER, 9500 * WAD)
        opens(made, True, 1000 * WAD, OTHER)
        with refused(made, "liquidation: healthy account"):
            made.liquidate(KEEPER, TRADER)
        assert made.account(TRADER).equity <= 501 * WAD

    def test_whoever_turns_over_takes_new_risk(self, exchange: ExchangeFactory, refused: Refused) -> None:
        """Ten units long with 600: as a short of one he needs a thousand."""
        made, static = self.pair(exchange)
        for one in (made, static):
            one.withdraw(TRADER, 9400 * WAD)
        with refused(made, INITIAL):
            made.trade(TRADER, RICH, False, 11 * WAD, MARK)
        static.trade(TRADER, RICH, False, 11 * WAD, MARK)
        made.deposit(TRADER, 406 * WAD)
        made.trade(TRADER, RICH, False, 11 * WAD, MARK)

    def test_a_newcomer_needs_it_and_the_leaver_does_not(self, exchange: ExchangeFactory, refused: Refused) -> None:
        """A position changes hands: open interest stays, but the newcomer's risk is new."""
        made, _ = self.pair(exchange)
        made.withdraw(TRADER, 9400 * WAD)
        made.deposit(STRANGER, 9999 * WAD)
        with refused(made, INITIAL):
            made.trade(TRADER, STRANGER, False, 10 * WAD, MARK)
        made.deposit(STRANGER, 6 * WAD)
        made.trade(TRADER, STRANGER, False, 10 * WAD, MARK)
        assert made.account(TRADER).shares == 0

    def test_in_lockstep_with_the_model(self, each_twin: TwinFactory) -> None:
        market = each_twin(margin_slope=SLOPE, oi_multiple=30 * WAD)
        unit = market.exchange.unit
        market.insure(1000 * WAD)
        for trader in (RICH, OTHER, KEEPER):
            market.deposit(trader, FUNDS)
        market.deposit(TRADER, 1600 * WAD)
        opens(market, True, 10 * WAD)
        market.withdraw(TRADER, (market.exchange.account(TRADER).equity - 500 * WAD) // unit * unit)
        opens(market, True, 9 * WAD, OTHER)
        with pytest.raises(Reverted, match=CAP):
            opens(market, True, 12 * WAD, KEEPER)
        with pytest.raises(Reverted, match=INITIAL):
            opens(market, True, WAD)
        market.set_price(972 * WAD)
        market.liquidate(KEEPER, TRADER)
        market.set_price(1200 * WAD)
        market.trade(OTHER, RICH, True, 4 * WAD, 1200 * WAD)
        market.check()


# -------------------------------------------------------------------------------------------------- open-interest cap


class TestCap:
    @pytest.mark.parametrize("is_long", [True, False])
    @pytest.mark.parametrize("decimals", [6, 18])
    def test_up_to_it_and_not_a_wei_beyond(
        self, exchange: ExchangeFactory, refused: Refused, is_long: bool, decimals: int
    ) -> None:
        """At a price of one, a wei of size is a wei of exposure."""
        made = exchange(mark=WAD, decimals=decimals, oi_multiple=10 * WAD + 1)
        made.insure(0, 1000 * WAD)
        made.deposit(RICH, FUNDS)
        made.deposit(TRADER, FUNDS)
        cap = 10_000 * WAD + 1000
        with refused(made, CAP):
            opens(made, is_long, cap + 1)
        opens(made, is_long, cap)
        assert interest(made) == cap

    def test_is_rounded_down(self, exchange: ExchangeFactory, refused: Refused) -> None:
        """A cap of a wei and a half is one of a wei."""
        made = exchange(mark=WAD, oi_multiple=WAD * 3 // 2, fee_rate=0)
        made.insure(0, 1000 * WAD + 1)
        made.deposit(RICH, FUNDS)
        made.deposit(TRADER, FUNDS)
        with refused(made, CAP):
            opens(made, True, 1500 * WAD + 2)
        opens(made, True, 1500 * WAD + 1)

    def test_in_two_fills(self, exchange: ExchangeFactory, refused: Refused) -> None:
        """What is there already counts; so do the fees that the first fill has paid."""
        made = exchange(oi_multiple=10 * WAD)
        made.insure(0, 1000 * WAD)
        for trader in (RICH, TRADER, OTHER):
            made.deposit(trader, FUNDS)
        opens(made, True, 10 * WAD)  # the cap; but ten dollars of fees make it a hundred more
        assert made.insurance_owed == 10 * WAD
        with refused(made, CAP):
            opens(made, True, WAD // 10 + 1, OTHER)
        opens(made, True, WAD // 10, OTHER)

    @pytest.mark.parametrize("multiple", [1, WAD, 2**96])
    def test_without_insurance_nothing_opens(self, exchange: ExchangeFactory, refused: Refused, multiple: int) -> None:
        made = exchange(oi_multiple=multiple)
        made.deposit(RICH, FUNDS)
        made.deposit(TRADER, FUNDS)
        with refused(made, CAP):
            opens(made, True, WAD)
        with refused(made, CAP):
            opens(made, True, 10**15)

    def uneven(self, exchange: ExchangeFactory, is_long: bool) -> Exchange:
        """Who sells all but next to nothing of what he bought has sold it all, and RICH, opposite, has seven wei more
        than OTHER is left with. A cap of 2000, without fees."""
        made = exchange(mark=WAD, oi_multiple=WAD, fee_rate=0)
        made.insure(0, 2000 * WAD)
        for trader in (RICH, TRADER, OTHER, KEEPER):
            made.deposit(trader, FUNDS)
        opens(made, is_long, 1000 * WAD, TRADER)
        opens(made, is_long, 1000 * WAD, OTHER)
        opens(made, not is_long, 1000 * WAD - 7, TRADER)
        return made

    @pytest.mark.parametrize("is_long", [True, False])
    def test_on_the_larger_side(self, exchange: ExchangeFactory, refused: Refused, is_long: bool) -> None:
        made = self.uneven(exchange, is_long)
        assert [made.side(side).open_interest - 1000 * WAD for side in (LONG, SHORT)] == [
            7 * (not is_long),
            7 * is_long,
        ]
        with refused(made, CAP):
            opens(made, is_long, 1000 * WAD - 6, KEEPER)
        opens(made, is_long, 1000 * WAD - 7, KEEPER)

    def test_above_it_what_does_not_raise_the_larger_side_is_free(self, exchange: ExchangeFactory) -> None:
        """RICH is long a little more than OTHER is short; the price doubles, and KEEPER takes half of it over."""
        made = self.uneven(exchange, is_long=False)
        for price in (3 * WAD // 2, 2 * WAD):
            made.set_price(price)
            made.settle()
        assert interest(made) * 2 > 2000 * WAD and made.side(SHORT).open_interest < interest(made)
        opens(made, True, 500 * WAD, KEEPER)

    def test_zero_is_no_cap(self, exchange: ExchangeFactory) -> None:
        made = exchange(oi_multiple=0, margin_slope=1)
        made.deposit(RICH, 10**12 * WAD)
        made.deposit(TRADER, 10**12 * WAD)
        opens(made, True, 10**8 * WAD)

    def beyond(self, exchange: ExchangeFactory) -> Exchange:
        """TRADER long and RICH short ten units at the cap, then the price doubles; OTHER and KEEPER are flat."""
        made = exchange(oi_multiple=10 * WAD)
        made.insure(0, 1000 * WAD)
        for trader in (RICH, TRADER, OTHER, KEEPER):
            made.deposit(trader, FUNDS)
        opens(made, True, 10 * WAD)
        for price in (1500, 2000):
            made.set_price(price * WAD)
            made.settle()
        assert interest(made) * made.mark // WAD > insured(made) * 19
        return made

    @pytest.mark.parametrize(
        "fills",
        [
            [(TRADER, RICH, 10)],  # both close
            [(TRADER, RICH, 1)],  # both reduce
            [(TRADER, OTHER, 10)],  # one closes, one opens
            [(TRADER, OTHER, 3), (TRADER, KEEPER, 7), (OTHER, KEEPER, 3)],
            [(TRADER, RICH, 20)],  # both turn over
            [(OTHER, RICH, 4), (TRADER, OTHER, 6)],  # the short changes hands, then OTHER turns over to long
        ],
        ids=["close", "reduce", "transfer", "transfers", "turn over", "turn over alone"],
    )
    def test_what_does_not_let_it_grow_passes_far_beyond(
        self, exchange: ExchangeFactory, fills: list[tuple[int, int, int]]
    ) -> None:
        """Seller, buyer and units."""
        made = self.beyond(exchange)
        before = interest(made)
        for seller, buyer, units in fills:
            made.trade(seller, buyer, False, units * WAD, made.mark)
            assert interest(made) <= before

    @pytest.mark.parametrize(
        ("seller", "buyer", "size"),
        [
            (OTHER, KEEPER, 10**15),  # both open
            (RICH, TRADER, 10**15),  # both add
            (TRADER, RICH, 20 * WAD + 10**15),  # both turn over to more than there was
            (TRADER, KEEPER, 10 * WAD + 10**15),  # one turns over, one opens
        ],
    )
    def test_what_lets_it_grow_does_not(
        self, exchange: ExchangeFactory, refused: Refused, seller: int, buyer: int, size: int
    ) -> None:
        made = self.beyond(exchange)
        with refused(made, CAP):
            made.trade(seller, buyer, False, size, made.mark)

    def test_a_takeover_passes(self, exchange: ExchangeFactory) -> None:
        made = exchange(oi_multiple=10 * WAD, fee_rate=0, liquidation_fee=0)
        made.insure(0, 1000 * WAD)
        made.deposit(RICH, FUNDS)
        made.deposit(KEEPER, FUNDS)
        made.deposit(TRADER, 510 * WAD)
        opens(made, False, 10 * WAD)
        made.set_price(1028 * WAD)
        made.liquidate(KEEPER, TRADER)
        assert interest(made) * made.mark // WAD > insured(made) * 10
        assert made.account(KEEPER).shares > 0

    def test_more_insurance_makes_room(self, exchange: ExchangeFactory, refused: Refused) -> None:
        made = self.beyond(exchange)
        with refused(made, CAP):
            opens(made, True, WAD, OTHER)
        made.insure(0, 2000 * WAD)
        opens(made, True, WAD, OTHER)

    def test_comes_after_the_mode(self, exchange: ExchangeFactory, refused: Refused) -> None:
        chain = RevmChain()
        made = exchange(chain=chain, guardian=chain.address(0), oi_multiple=WAD)
        made.deposit(RICH, FUNDS)
        made.deposit(TRADER, FUNDS)
        made.set_reduce_only(True, 0)
        with refused(made, "mode: reduce-only"):
            opens(made, True, WAD)
        made.set_reduce_only(False, 0)
        with refused(made, CAP):
            opens(made, True, WAD)
