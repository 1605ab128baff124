"""fill(order, signature, size): every way a position can change, every cent of it, and every reason to say no."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from eth_utils.crypto import keccak

from prorata.chain import Contract, Reverted
from prorata.exchange import Exchange
from prorata.orders import Order
from prorata.parameters import MarketParameters
from prorata.receipts import receipts_in
from prorata.revm_chain import RevmChain
from prorata.twin import Twin
from prorata.units import LONG, MIN_PRICE, SHORT, WAD, ZERO_ADDRESS

TwinFactory = Callable[..., Twin]
ExchangeFactory = Callable[..., Exchange]
Refused = Callable[..., AbstractContextManager[None]]

TRADER, RICH, OTHER, STRANGER = 1, 2, 3, 4
MARK = 1000 * WAD
BAND = 50 * WAD  # 5 % of the mark
SIZE_DUST = 10**9  # a millionth of the smallest position, which is worth 1 at a mark of 1000
CANCELLED = 2**256 - 1
P = MarketParameters()
SECP256K1_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141

# A maker without a key: it accepts one digest with one signature, in one of several manners.
CONTRACT_MAKER = """
# pragma version 0.4.3
digest: bytes32
signature: Bytes[65]
manner: uint256

@external
def accept(digest: bytes32, signature: Bytes[65], manner: uint256):
    self.digest = digest
    self.signature = signature
    self.manner = manner

@external
@view
@raw_return
def isValidSignature(digest: bytes32, signature: Bytes[65]) -> Bytes[32]:
    assert self.manner != 2, "not today"
    if digest != self.digest or signature != self.signature:
        return abi_encode(0xffffffff, ensure_tuple=False)
    if self.manner == 1:
        return slice(abi_encode(0x1626ba7e, ensure_tuple=False), 0, 4)
    if self.manner == 3:
        return abi_encode(True, ensure_tuple=False)
    return abi_encode(0x1626ba7e, ensure_tuple=False)
"""


# ------------------------------------------------------------------------------------------------------------- helpers


def fee_on(size: int, mark: int = MARK, rate: int = P.fee_rate) -> int:
    """The fee of one party, by hand: notional rounded up, then its share of it rounded up."""
    notional = -(-size * mark // WAD)
    return -(-notional * rate // WAD)


def held(exchange: Exchange, trader: int) -> int:
    """Signed size; exact while the scale is 1."""
    account = exchange.account(trader)
    return -account.shares if account.side == SHORT else account.shares


def trade(market: Twin | Exchange, role: str, bought: int, price: int, trader: int = TRADER, rich: int = RICH) -> Any:
    """`trader` buys (or with a negative size sells) from `rich`, as maker or as taker."""
    if role == "maker":
        return market.trade(trader, rich, bought > 0, abs(bought), price)
    return market.trade(rich, trader, bought < 0, abs(bought), price)


def funded(market: Twin | Exchange, collateral: int = 1000 * WAD) -> None:
    market.deposit(TRADER, collateral)
    market.deposit(RICH, 100_000 * WAD)


def with_position(exchange: Exchange, bought: int, collateral: int) -> None:
    """TRADER holds `bought` and has exactly `collateral` after the fee."""
    exchange.deposit(TRADER, collateral + fee_on(abs(bought)))
    exchange.deposit(RICH, 100_000 * WAD)
    trade(exchange, "maker", bought, MARK)
    # Filed with its debt rounded up: up to a wei less.
    assert collateral - 1 <= exchange.account(TRADER).equity <= collateral


def signed(exchange: Exchange, maker: int = TRADER, **terms: Any) -> tuple[Order, bytes]:
    """A good order to buy one unit at the mark, and its signature."""
    order = exchange.order(maker, True, WAD, MARK, **terms)
    return order, exchange.sign(maker, order)


def mirrored_form(signature: bytes) -> bytes:
    """The other 65 bytes that recover to the same key."""
    s = SECP256K1_ORDER - int.from_bytes(signature[32:64], "big")
    return signature[:32] + s.to_bytes(32, "big") + bytes([55 - signature[64]])


def filled(exchange: Exchange, order: Order) -> int:
    digest = exchange.digest(order)
    return int(exchange.chain.call(exchange.market, "filled", digest))


# -------------------------------------------------------------------------------------------------- what a fill does

#: Name, position before, what is bought, in units; each is also run with all signs turned.
ACTIONS = {"open": (0, 2), "increase": (2, 1), "reduce": (3, -2), "close": (3, -3), "flip": (2, -5)}


class TestPositions:
    @pytest.mark.parametrize("role", ["maker", "taker"])
    @pytest.mark.parametrize("sign", [1, -1], ids=["long", "short"])
    @pytest.mark.parametrize("action", ACTIONS)
    @pytest.mark.parametrize("offset", [0, 7 * WAD + 1, -7 * WAD - 1], ids=["at", "above", "below"])
    def test_size_and_money_of_both_parties(
        self, twin: TwinFactory, role: str, sign: int, action: str, offset: int
    ) -> None:
        market = twin()
        exchange = market.exchange
        funded(market)
        start, bought = (sign * units * WAD for units in ACTIONS[action])
        fees = 0
        if start:
            trade(market, "maker", start, MARK)
            fees = fee_on(abs(start))

        transaction = trade(market, role, bought, MARK + offset)

        fees += fee_on(abs(bought))
        assert held(exchange, TRADER) == start + bought
        assert held(exchange, RICH) == -start - bought
        for side in (LONG, SHORT):
            assert exchange.side(side).shares == abs(start + bought)
        # What is paid above the mark is lost to the seller at once; one wei at most a filing and a rounding.
        for trader, deposited, gain in ((TRADER, 1000 * WAD, -1), (RICH, 100_000 * WAD, 1)):
            expected = deposited - fees + gain * offset * bought // WAD
            assert expected - 3 <= exchange.account(trader).equity <= expected
        assert exchange.insurance_owed == 2 * fees
        assert [log.name for log in transaction.logs] == ["AccountUpdated", "AccountUpdated", "Traded"]
        assert transaction.logs[0].fields["account"] == exchange.chain.address(TRADER if role == "maker" else RICH)

    def test_a_life(self, each_twin: TwinFactory) -> None:
        """Opened, increased, deleveraged, reduced, turned over and closed, by both roles, at moving prices."""
        market = each_twin()
        exchange = market.exchange
        market.insure(1000 * WAD)
        funded(market)
        market.deposit(OTHER, 52 * WAD)
        trade(market, "maker", 2 * WAD, 1001 * WAD)
        trade(market, "taker", WAD, 999 * WAD)
        trade(market, "maker", -WAD, MARK, trader=OTHER)
        market.set_price(1050 * WAD)  # closes OTHER and scales the longs
        trade(market, "taker", -WAD, 1049 * WAD)
        assert exchange.account(OTHER).shares == 0
        assert exchange.side(LONG).scale < WAD
        market.check()
        trade(market, "maker", -4 * WAD, 1060 * WAD)
        assert exchange.account(TRADER).side == SHORT
        market.set_price(1000 * WAD)
        size = exchange.side(SHORT).open_interest
        trade(market, "maker", size, 1000 * WAD)
        assert exchange.account(TRADER).shares == exchange.account(RICH).shares == 0
        assert exchange.side(LONG).open_interest == exchange.side(SHORT).open_interest == 0
        market.check()

    def test_logs_the_fill(self, exchange_everywhere: ExchangeFactory) -> None:
        exchange = exchange_everywhere()
        funded(exchange)
        exchange.set_price(1001 * WAD)
        order = exchange.order(TRADER, False, 3 * WAD, MARK)
        transaction = exchange.take(RICH, order, exchange.sign(TRADER, order), 2 * WAD)
        assert transaction.logs[-1].fields == {
            "order_hash": exchange.digest(order),
            "maker": exchange.chain.address(TRADER),
            "taker": exchange.chain.address(RICH),
            "is_long": False,
            "size": 2 * WAD,
            "price": MARK,
            "mark": 1001 * WAD,
            "maker_fee": fee_on(2 * WAD, 1001 * WAD),
            "taker_fee": fee_on(2 * WAD, 1001 * WAD),
        }

    def test_settles_first(self, twin: TwinFactory) -> None:
        market = twin()
        funded(market)
        trade(market, "maker", WAD, MARK)
        market.set_price(900 * WAD)
        transaction = trade(market, "maker", WAD, 900 * WAD)
        (receipt,) = receipts_in(transaction.logs)
        assert (receipt.mark_before, receipt.mark_after) == (MARK, 900 * WAD)
        assert market.exchange.mark == 900 * WAD

    @pytest.mark.parametrize("first", [1, -1])
    def test_turned_over_to_the_same_size_it_is_filed_by_its_new_side(self, twin: TwinFactory, first: int) -> None:
        """With as many shares and more collateral than before, but on a side whose index stands elsewhere."""
        market = twin()
        funded(market)
        trade(market, "maker", first * WAD, MARK)
        mark = MARK * (10 - first) // 10
        market.set_price(mark)
        trade(market, "maker", -2 * first * WAD, mark * (100 + 3 * first) // 100)
        assert held(market.exchange, TRADER) == -first * WAD
        market.check()

    def test_both_parties_may_turn_over_at_once(self, twin: TwinFactory) -> None:
        market = twin()
        funded(market)
        trade(market, "maker", 2 * WAD, MARK)
        trade(market, "maker", -5 * WAD, MARK)
        assert (held(market.exchange, TRADER), held(market.exchange, RICH)) == (-3 * WAD, 3 * WAD)

    def test_a_position_changes_hands(self, twin: TwinFactory) -> None:
        """The leaver closes, the newcomer opens, the counterparty is not asked; open interest stays."""
        market = twin()
        funded(market)
        market.deposit(OTHER, 1000 * WAD)
        trade(market, "maker", 2 * WAD, MARK)
        rich = market.exchange.account(RICH)
        market.trade(TRADER, OTHER, False, 2 * WAD, MARK)
        assert (held(market.exchange, TRADER), held(market.exchange, OTHER)) == (0, 2 * WAD)
        assert market.exchange.account(RICH) == rich
        assert market.exchange.side(LONG).shares == market.exchange.side(SHORT).shares == 2 * WAD

    @pytest.mark.parametrize("is_long", [True, False])
    def test_files_at_the_level_of_the_present_mark(self, twin: TwinFactory, is_long: bool) -> None:
        market = twin()
        funded(market, 5000 * WAD)
        sign = 1 if is_long else -1
        trade(market, "maker", sign * WAD, MARK)
        level = market.exchange.account(TRADER).level
        assert level == (P.bucket_width * MARK).bit_length() - 1
        market.set_price(4 * MARK)
        market.settle_fully()
        trade(market, "maker", sign * WAD // 1000, 4 * MARK)
        assert market.exchange.account(TRADER).level == level + 2
        assert market.exchange.account(RICH).level == level + 2

    def test_opening_scales_shares_up(self, twin: TwinFactory) -> None:
        """Half of the longs' size was deleveraged away: a new long gets two shares a unit."""
        market = twin()
        funded(market)
        market.deposit(OTHER, 60 * WAD)
        market.deposit(STRANGER, 2000 * WAD)
        trade(market, "maker", -WAD, MARK, trader=OTHER)
        trade(market, "maker", -WAD, MARK, trader=STRANGER)
        market.set_price(1055 * WAD)
        market.settle()
        assert market.exchange.side(LONG).scale == WAD // 2
        market.trade(TRADER, STRANGER, True, WAD, 1055 * WAD)
        assert market.exchange.account(TRADER).shares == 2 * WAD
        assert market.exchange.account(RICH).shares == 2 * WAD
        assert market.exchange.side(LONG).open_interest == 2 * WAD


class TestDust:
    """Sizes that differ by less than a millionth of the smallest position are the same size."""

    @pytest.mark.parametrize("role", ["maker", "taker"])
    @pytest.mark.parametrize("sign", [1, -1], ids=["long", "short"])
    @pytest.mark.parametrize("offset", [-SIZE_DUST, 0, SIZE_DUST])
    def test_closes_a_position_of_nearly_the_size(self, twin: TwinFactory, role: str, sign: int, offset: int) -> None:
        market = twin()
        funded(market)
        market.deposit(OTHER, 1000 * WAD)
        trade(market, "maker", sign * WAD, MARK)
        trade(market, role, -sign * (WAD + offset), MARK, rich=OTHER)
        assert market.exchange.account(TRADER).shares == 0
        assert market.exchange.account(OTHER).shares == WAD + offset

    @pytest.mark.parametrize("role", ["maker", "taker"])
    @pytest.mark.parametrize("offset", [-SIZE_DUST - 1, SIZE_DUST + 1])
    def test_but_a_wei_more_leaves_a_position_too_small(
        self, exchange: ExchangeFactory, refused: Refused, role: str, offset: int
    ) -> None:
        made = exchange()
        funded(made)
        made.deposit(OTHER, 1000 * WAD)
        trade(made, "maker", WAD, MARK)
        with refused(made, "position: below minimum"):
            trade(made, role, -(WAD + offset), MARK, rich=OTHER)


class TestPrice:
    # Of an odd mark the band is not a whole number of wei, and is rounded down.
    ODD_MARK = MARK + 19
    ODD_BAND = ODD_MARK * P.price_band // WAD

    @pytest.mark.parametrize("role", ["maker", "taker"])
    @pytest.mark.parametrize(("bought", "sign"), product([WAD, -WAD], [1, -1]))
    def test_up_to_the_edge_of_the_band(self, twin: TwinFactory, role: str, bought: int, sign: int) -> None:
        assert self.ODD_MARK * P.price_band % WAD
        market = twin(mark=self.ODD_MARK)
        funded(market)
        trade(market, role, bought, self.ODD_MARK + sign * self.ODD_BAND)
        pays = sign * self.ODD_BAND * bought // WAD
        expected = 1000 * WAD - pays - fee_on(WAD, self.ODD_MARK)
        assert expected - 1 <= market.exchange.account(TRADER).equity <= expected

    @pytest.mark.parametrize("role", ["maker", "taker"])
    @pytest.mark.parametrize(("bought", "sign"), product([WAD, -WAD], [1, -1]))
    def test_not_a_wei_beyond(
        self, exchange: ExchangeFactory, refused: Refused, role: str, bought: int, sign: int
    ) -> None:
        made = exchange(mark=self.ODD_MARK)
        funded(made)
        with refused(made, "order: price outside band"):
            trade(made, role, bought, self.ODD_MARK + sign * (self.ODD_BAND + 1))

    @pytest.mark.parametrize("price", [0, 1, 2**255, 2**256 - 1])
    def test_nor_an_absurd_one(self, exchange: ExchangeFactory, refused: Refused, price: int) -> None:
        made = exchange()
        funded(made)
        with refused(made, "order: price outside band"):
            trade(made, "maker", WAD, price)

    def test_the_band_lies_around_the_settled_mark(self, exchange: ExchangeFactory, refused: Refused) -> None:
        made = exchange()
        funded(made)
        made.set_price(1100 * WAD)
        with refused(made, "order: price outside band"):
            trade(made, "maker", WAD, MARK)
        trade(made, "maker", WAD, 1155 * WAD)

    @pytest.mark.parametrize("role", ["maker", "taker"])
    @pytest.mark.parametrize(("sign", "offset"), product([1, -1], [1, -1]))
    def test_is_rounded_against_both(self, exchange: ExchangeFactory, role: str, sign: int, offset: int) -> None:
        """One and a half wei between them: whoever is better off gets one, whoever is worse off pays two. Both close,
        so what they have is not rounded by any filing."""
        made = exchange(fee_rate=0)
        funded(made)
        trade(made, "maker", sign * WAD * 3 // 2, MARK)
        before = {trader: made.account(trader).equity for trader in (TRADER, RICH)}
        trade(made, role, -sign * WAD * 3 // 2, MARK + offset)
        gained = {trader: made.account(trader).equity - before[trader] for trader in (TRADER, RICH)}
        better, worse = (TRADER, RICH) if sign == offset else (RICH, TRADER)
        assert gained == {better: 1, worse: -2}


class TestFee:
    @pytest.mark.parametrize(
        ("mark", "size"), [(MARK + 123_456_789, WAD), (MARK + 123_456_789, 10**16 + 12345), (MARK + 1, WAD // 2)]
    )
    def test_is_rounded_up_twice_and_credited_whole(self, exchange: ExchangeFactory, mark: int, size: int) -> None:
        """In the last case the notional is 2,000 wei times something, and a half: the first rounding alone counts."""
        made = exchange(mark=mark)
        funded(made)
        transaction = trade(made, "maker", size, mark)
        fee = fee_on(size, mark)
        assert fee * WAD**2 > size * mark * P.fee_rate > (fee - 2) * WAD**2
        assert transaction.logs[-1].fields["maker_fee"] == transaction.logs[-1].fields["taker_fee"] == fee
        assert made.insurance_owed == 2 * fee
        assert 1000 * WAD - fee - 1 <= made.account(TRADER).equity <= 1000 * WAD - fee

    def test_none_if_the_rate_is_zero(self, twin: TwinFactory) -> None:
        market = twin(fee_rate=0)
        funded(market)
        trade(market, "maker", WAD, MARK)
        assert market.exchange.insurance_owed == 0
        # Filing rounds a debt up, so the equity shown may be a wei less.
        assert 1000 * WAD - 1 <= market.exchange.account(TRADER).equity <= 1000 * WAD

    @pytest.mark.parametrize("role", ["maker", "taker"])
    @pytest.mark.parametrize("sign", [1, -1], ids=["long", "short"])
    @pytest.mark.parametrize("left", [0, 1, WAD // 5, fee_on(WAD) - 1, fee_on(WAD), fee_on(WAD) + 1])
    def test_of_a_closer_is_what_the_price_has_left_him(
        self, exchange: ExchangeFactory, role: str, sign: int, left: int
    ) -> None:
        """40 of collateral, closed so far on the wrong side of the mark that `left` remains for a fee of a half."""
        made = exchange(initial_margin=WAD // 25)
        with_position(made, sign * WAD, 40 * WAD)
        owed, balance = made.insurance_owed, made.token_balance(made.market)
        worth = made.account(TRADER).equity

        price = MARK - sign * (worth - left)
        transaction = trade(made, role, -sign * WAD, price)

        fee = min(left, fee_on(WAD))
        names = ("maker_fee", "taker_fee") if role == "maker" else ("taker_fee", "maker_fee")
        assert [transaction.logs[-1].fields[name] for name in names] == [fee, fee_on(WAD)]
        assert made.account(TRADER).equity == left - fee
        assert made.insurance_owed == owed + fee + fee_on(WAD)
        assert made.token_balance(made.market) == balance

    @pytest.mark.parametrize("role", ["maker", "taker"])
    @pytest.mark.parametrize("sign", [1, -1], ids=["long", "short"])
    def test_but_nobody_closes_for_more_than_he_has(
        self, exchange: ExchangeFactory, refused: Refused, role: str, sign: int
    ) -> None:
        made = exchange(initial_margin=WAD // 25)
        with_position(made, sign * WAD, 40 * WAD)
        worth = made.account(TRADER).equity
        with refused(made, "margin: not enough collateral"):
            trade(made, role, -sign * WAD, MARK - sign * (worth + 1))


# ------------------------------------------------------------------------------------------------------------- margin


class TestInitialMargin:
    @pytest.mark.parametrize("role", ["maker", "taker"])
    @pytest.mark.parametrize("sign", [1, -1], ids=["long", "short"])
    @pytest.mark.parametrize("offset", [0, 3 * WAD], ids=["at the mark", "worse"])
    def test_to_the_wei(self, exchange: ExchangeFactory, refused: Refused, role: str, sign: int, offset: int) -> None:
        size, mark = WAD // 3, MARK + 1
        made = exchange(mark=mark)
        made.deposit(RICH, 100_000 * WAD)
        notional = -(-size * mark // WAD)
        required = -(-notional * P.initial_margin // WAD)
        assert notional * P.initial_margin % WAD
        needed = required + fee_on(size, mark) - (-offset * size // WAD)
        made.deposit(TRADER, needed - 1)
        with refused(made, "margin: below initial"):
            trade(made, role, sign * size, mark + sign * offset)
        made.deposit(TRADER, 1)
        trade(made, role, sign * size, mark + sign * offset)
        assert held(made, TRADER) == sign * size

    @pytest.mark.parametrize("role", ["maker", "taker"])
    def test_of_the_whole_position_when_it_grows(self, exchange: ExchangeFactory, refused: Refused, role: str) -> None:
        made = exchange()
        with_position(made, WAD, 100 * WAD)
        # Twice 50 of margin, and the fee on the second unit.
        with refused(made, "margin: below initial"):
            trade(made, role, WAD, MARK)
        made.deposit(TRADER, fee_on(WAD) + 3)
        trade(made, role, WAD, MARK)

    @pytest.mark.parametrize("role", ["maker", "taker"])
    def test_of_the_new_position_when_it_turns_over(
        self, exchange: ExchangeFactory, refused: Refused, role: str
    ) -> None:
        made = exchange()
        with_position(made, WAD, 60 * WAD)
        with refused(made, "margin: below initial"):
            trade(made, role, -WAD * 22 // 10, MARK)  # 1.2 short: exactly 60 without the fee
        with made.chain.anchor():
            trade(made, role, -WAD * 2, MARK)
            assert held(made, TRADER) == -WAD
        made.deposit(TRADER, fee_on(WAD * 22 // 10) + 3)
        trade(made, role, -WAD * 22 // 10, MARK)

    def test_of_the_settled_mark(self, exchange: ExchangeFactory, refused: Refused) -> None:
        """50.5 buys one unit at 1000; at 1020 it takes 51.51."""
        made = exchange()
        funded(made, 50 * WAD + fee_on(WAD))
        made.set_price(1020 * WAD)
        with refused(made, "margin: below initial"):
            trade(made, "maker", WAD, 1020 * WAD)
        made.set_price(MARK)
        trade(made, "maker", WAD, MARK)

    def test_the_other_party_is_held_to_it_too(self, exchange: ExchangeFactory, refused: Refused) -> None:
        made = exchange()
        made.deposit(TRADER, 1000 * WAD)
        made.deposit(OTHER, 50 * WAD)
        for role in ("maker", "taker"):
            with refused(made, "margin: below initial"):
                trade(made, role, WAD, MARK, rich=OTHER)


class TestHealth:
    """Whoever reduces may be under any margin, but must not end with less equity per unit than before."""

    @pytest.mark.parametrize("role", ["maker", "taker"])
    @pytest.mark.parametrize("sign", [1, -1], ids=["long", "short"])
    @pytest.mark.parametrize("fee_rate", [0, P.fee_rate])
    def test_equal_is_healthy_enough_and_a_wei_less_is_not(
        self, exchange: ExchangeFactory, refused: Refused, role: str, sign: int, fee_rate: int
    ) -> None:
        """Half of the position may cost half of the equity, fee included."""
        made = exchange(fee_rate=fee_rate)
        made.deposit(TRADER, 110 * WAD)
        made.deposit(RICH, 100_000 * WAD)
        trade(made, "maker", sign * 2 * WAD, MARK)
        made.set_price(MARK - sign * 15 * WAD)
        made.settle()
        if made.account(TRADER).equity % 2:  # to have an exact half; filing anew costs one of the two
            made.deposit(TRADER, 2)
        worth = made.account(TRADER).equity
        assert worth % 2 == 0 and worth < 90 * WAD
        cost = worth // 2 - fee_on(WAD, made.mark, fee_rate)
        with refused(made, "margin: less healthy than before"):
            trade(made, role, -sign * WAD, made.mark - sign * (cost + 1))
        trade(made, role, -sign * WAD, made.mark - sign * cost)
        assert held(made, TRADER) == sign * WAD
        assert worth // 2 - 1 <= made.account(TRADER).equity <= worth // 2

    @pytest.mark.parametrize("role", ["maker", "taker"])
    @pytest.mark.parametrize("sign", [1, -1], ids=["long", "short"])
    def test_reducing_below_maintenance_is_always_possible_at_the_mark(
        self, twin: TwinFactory, role: str, sign: int
    ) -> None:
        market = twin()
        funded(market, 105 * WAD)
        trade(market, "maker", sign * 2 * WAD, MARK)
        market.set_price(MARK - sign * 38 * WAD)
        trade(market, role, -sign * WAD // 2, market.index_price)
        account = market.exchange.account(TRADER)
        assert account.equity * 40 < account.shares * market.exchange.mark // WAD  # still below 2.5 %
        assert account.shares == WAD * 3 // 2

    def test_increasing_below_initial_is_not(self, exchange: ExchangeFactory, refused: Refused) -> None:
        """However good the price: whoever adds risk is held to initial margin."""
        made = exchange()
        with_position(made, WAD, 60 * WAD)
        made.set_price(MARK - 25 * WAD)
        with refused(made, "margin: below initial"):
            trade(made, "maker", WAD // 100, MARK - 25 * WAD)

    def test_reducing_does_not_file_it_where_the_next_tick_closes_it(self, exchange: ExchangeFactory) -> None:
        """Sold at 1000, at 1485 with a margin of 1.017 %: the short lives another 0.2 of price. It buys back a part of
        2,000, which makes it healthier. A bucket of the width of the new price would have its edge past the threshold
        already: one wei more would close it and give its 30 to the vault."""
        made = exchange(fee_rate=0)
        made.deposit(TRADER, 1001 * WAD)
        made.deposit(RICH, 10**6 * WAD)
        made.trade(TRADER, RICH, False, 2 * WAD, MARK)
        address = made.chain.address(TRADER)
        closeout = made.chain.call(made.lens, "position", made.market.address, address)[6]
        made.set_price(closeout - WAD // 5)
        made.settle()
        before = made.account(TRADER)
        with made.chain.anchor():
            made.set_price(closeout)
            made.settle()
            assert made.account(TRADER).shares == 2 * WAD
        made.trade(TRADER, RICH, True, WAD // 1000, made.mark)
        after = made.account(TRADER)
        assert after.equity * before.shares >= before.equity * after.shares
        made.set_price(made.mark + 1)
        made.settle()
        assert made.account(TRADER).shares == after.shares


class TestMinimum:
    @pytest.mark.parametrize("role", ["maker", "taker"])
    @pytest.mark.parametrize("sign", [1, -1], ids=["long", "short"])
    def test_of_what_is_opened(self, exchange: ExchangeFactory, refused: Refused, role: str, sign: int) -> None:
        made = exchange(min_notional=7 * WAD)
        funded(made)
        smallest = 7 * WAD // 1000
        with refused(made, "position: below minimum"):
            trade(made, role, sign * (smallest - 1), MARK)
        trade(made, role, sign * smallest, MARK)
        assert held(made, TRADER) == sign * smallest

    @pytest.mark.parametrize("role", ["maker", "taker"])
    def test_of_what_is_left(self, exchange: ExchangeFactory, refused: Refused, role: str) -> None:
        made = exchange(min_notional=7 * WAD)
        funded(made)
        made.deposit(OTHER, 1000 * WAD)
        trade(made, "maker", WAD, MARK)
        smallest = 7 * WAD // 1000
        with refused(made, "position: below minimum"):
            trade(made, role, -(WAD - smallest + 1), MARK, rich=OTHER)
        with made.chain.anchor():
            trade(made, role, -(WAD - smallest), MARK, rich=OTHER)
            assert held(made, TRADER) == smallest
        with refused(made, "position: below minimum"):  # turned over into too little
            trade(made, role, -(WAD + smallest - 1), MARK, rich=OTHER)
        trade(made, role, -(WAD + smallest), MARK, rich=OTHER)
        assert held(made, TRADER) == -smallest

    def test_of_the_other_party(self, exchange: ExchangeFactory, refused: Refused) -> None:
        made = exchange()
        funded(made)
        trade(made, "maker", WAD, MARK)
        made.deposit(OTHER, 1000 * WAD)
        with refused(made, "position: below minimum"):  # a cent for OTHER, all but a cent for TRADER
            trade(made, "taker", -WAD // 10**5, MARK, rich=OTHER)

    def test_grows_by_any_amount(self, twin: TwinFactory) -> None:
        market = twin()
        funded(market)
        trade(market, "maker", WAD, MARK)
        trade(market, "maker", 1, MARK)
        assert held(market.exchange, TRADER) == WAD + 1


class TestReduceOnly:
    @pytest.mark.parametrize("sign", [1, -1], ids=["long", "short"])
    @pytest.mark.parametrize("size", [WAD // 2, WAD - SIZE_DUST, WAD, WAD + SIZE_DUST])
    def test_shrinks_or_closes(self, twin: TwinFactory, sign: int, size: int) -> None:
        market = twin()
        funded(market)
        market.deposit(OTHER, 1000 * WAD)
        trade(market, "maker", sign * WAD, MARK)
        market.trade(TRADER, OTHER, sign < 0, size, MARK, reduce_only=True)
        assert abs(held(market.exchange, TRADER)) == (WAD // 2 if size == WAD // 2 else 0)

    @pytest.mark.parametrize("sign", [1, -1], ids=["long", "short"])
    def test_does_nothing_else(self, exchange: ExchangeFactory, refused: Refused, sign: int) -> None:
        made = exchange()
        funded(made)
        made.deposit(OTHER, 1000 * WAD)
        for bought in (sign * WAD, -sign * WAD):  # flat
            with refused(made, "order: not reduce-only"):
                made.trade(TRADER, RICH, bought > 0, abs(bought), MARK, reduce_only=True)
        trade(made, "maker", sign * WAD, MARK)
        for bought in (sign * WAD, -sign * (WAD + SIZE_DUST + 1), -sign * 3 * WAD):  # increase, turn over
            with refused(made, "order: not reduce-only"):
                made.trade(TRADER, OTHER, bought > 0, abs(bought), MARK, reduce_only=True)

    def test_binds_the_maker_only(self, twin: TwinFactory) -> None:
        market = twin()
        funded(market)
        trade(market, "maker", WAD, MARK)
        market.deposit(OTHER, 1000 * WAD)
        market.trade(TRADER, OTHER, False, WAD, MARK, reduce_only=True)  # OTHER opens
        assert held(market.exchange, OTHER) == WAD

    def test_partial_fills_stop_when_nothing_is_left_to_reduce(
        self, exchange: ExchangeFactory, refused: Refused
    ) -> None:
        made = exchange()
        funded(made)
        made.deposit(OTHER, 1000 * WAD)
        trade(made, "maker", WAD, MARK)
        order = made.order(TRADER, False, 5 * WAD, MARK, reduce_only=True)
        signature = made.sign(TRADER, order)
        made.take(OTHER, order, signature, WAD // 2)
        made.take(OTHER, order, signature, WAD // 2)
        with refused(made, "order: not reduce-only", order):
            made.take(OTHER, order, signature, WAD // 2)
        assert filled(made, order) == WAD


class TestRange:
    def test_open_interest_stays_under_its_bound(self, exchange: ExchangeFactory, refused: Refused) -> None:
        made = exchange(mark=MIN_PRICE)
        funded(made)
        made.deposit(OTHER, 1000 * WAD)
        for role in ("maker", "taker"):
            with refused(made, "position: out of range"):
                trade(made, role, 2**96, MIN_PRICE)
        trade(made, "maker", 2**96 - 1, MIN_PRICE)
        assert made.side(LONG).open_interest == made.side(SHORT).open_interest == 2**96 - 1
        for size in (1, -(2**96)):  # the latter would leave next to nothing of either position
            with refused(made, "position: out of range"):
                trade(made, "maker", size, MIN_PRICE)
        # A position that changes hands, or becomes smaller, does not raise it.
        trade(made, "maker", -(2**95), MIN_PRICE, rich=OTHER)
        trade(made, "maker", -(2**94), MIN_PRICE)

    @pytest.mark.parametrize("size", [2**96, 2**128, 2**255, 2**256 - 1])
    def test_absurd_sizes_are_refused(self, exchange: ExchangeFactory, refused: Refused, size: int) -> None:
        made = exchange()
        funded(made)
        order = made.order(TRADER, True, size, MARK)
        with refused(made, "position: out of range", order):
            made.take(RICH, order, made.sign(TRADER, order), size)


# ------------------------------------------------------------------------------------------------------------- orders


class TestOrder:
    def test_hash_is_the_eip712_digest(self, exchange: ExchangeFactory) -> None:
        made = exchange()
        taker = made.chain.address(RICH)
        order = made.order(TRADER, False, 123, 456, salt=7, nonce=8, reduce_only=True, taker=taker)
        message = order.message(made.market.address, made.chain.chain_id)
        digest = keccak(b"\x19" + message.version + message.header + message.body)
        assert made.digest(order) == digest

    def test_partial_fills_add_up_to_its_size(self, each_exchange: ExchangeFactory, refused: Refused) -> None:
        exchange = each_exchange()
        funded(exchange)
        order = exchange.order(TRADER, True, 10 * WAD, MARK)
        signature = exchange.sign(TRADER, order)
        assert filled(exchange, order) == 0
        for size, total in ((3 * WAD, 3 * WAD), (3 * WAD, 6 * WAD), (4 * WAD - 1, 10 * WAD - 1)):
            exchange.take(RICH, order, signature, size)
            assert filled(exchange, order) == total
            assert held(exchange, TRADER) == total
        with refused(exchange, "order: over-filled", order):
            exchange.take(RICH, order, signature, 2)
        exchange.take(RICH, order, signature, 1)
        assert filled(exchange, order) == 10 * WAD
        with refused(exchange, "order: over-filled", order):
            exchange.take(RICH, order, signature, 1)

    def test_more_than_its_size_at_once(self, exchange: ExchangeFactory, refused: Refused) -> None:
        made = exchange()
        funded(made)
        order, signature = signed(made)
        for size in (WAD + 1, 2**96 - 1):
            with refused(made, "order: over-filled", order):
                made.take(RICH, order, signature, size)

    def test_different_takers_share_it(self, exchange: ExchangeFactory, refused: Refused) -> None:
        made = exchange()
        funded(made)
        made.deposit(OTHER, 1000 * WAD)
        order, signature = signed(made)
        made.take(RICH, order, signature, WAD // 2)
        made.take(OTHER, order, signature, WAD // 2)
        with refused(made, "order: over-filled", order):
            made.take(RICH, order, signature, WAD // 2)

    def test_equal_orders_differ_by_salt(self, exchange: ExchangeFactory) -> None:
        made = exchange()
        funded(made)
        order, signature = signed(made, salt=1)
        again, again_signature = signed(made, salt=2)
        assert replace(again, salt=1) == order
        made.take(RICH, order, signature, WAD)
        made.take(RICH, again, again_signature, WAD)
        assert held(made, TRADER) == 2 * WAD

    def test_size_must_not_be_zero(self, exchange: ExchangeFactory, refused: Refused) -> None:
        made = exchange()
        funded(made)
        order, signature = signed(made)
        with refused(made, "order: zero size", order):
            made.take(RICH, order, signature, 0)

    def test_maker_does_not_take_it(self, exchange: ExchangeFactory, refused: Refused) -> None:
        made = exchange()
        funded(made)
        order, signature = signed(made)
        with refused(made, "order: self-fill", order):
            made.take(TRADER, order, signature, WAD)

    def test_lives_to_its_last_second(self, exchange: ExchangeFactory, refused: Refused) -> None:
        made = exchange()
        funded(made)
        order, signature = signed(made, expiry=made.chain.now + 100)
        made.chain.advance(99)
        with made.chain.anchor():
            assert made.take(RICH, order, signature, WAD).timestamp == order.expiry
        made.chain.advance(1)
        with refused(made, "order: expired", order):
            made.take(RICH, order, signature, WAD)

    def test_is_for_the_taker_it_names(self, exchange: ExchangeFactory, refused: Refused) -> None:
        made = exchange()
        funded(made)
        made.deposit(OTHER, 1000 * WAD)
        order, signature = signed(made, taker=made.chain.address(RICH))
        with refused(made, "order: reserved for another", order):
            made.take(OTHER, order, signature, WAD)
        made.take(RICH, order, signature, WAD)

    def test_cancelled(self, exchange: ExchangeFactory, refused: Refused) -> None:
        made = exchange()
        funded(made)
        order, signature = signed(made)
        made.chain.transact(made.market, "cancel", order.as_tuple(), sender=TRADER)
        with refused(made, "order: cancelled", order):
            made.take(RICH, order, signature, WAD)
        assert filled(made, order) == CANCELLED

    def test_below_the_makers_nonce(self, exchange: ExchangeFactory, refused: Refused) -> None:
        made = exchange()
        funded(made)
        made.chain.transact(made.market, "cancel_all", 5, sender=TRADER)
        order, signature = signed(made, nonce=4)
        with refused(made, "order: nonce too low", order):
            made.take(RICH, order, signature, WAD)
        order, signature = signed(made, nonce=5)
        made.take(RICH, order, signature, WAD)

    def test_without_a_good_price(self, exchange: ExchangeFactory, refused: Refused) -> None:
        made = exchange()
        funded(made)
        order, signature = signed(made)
        made.chain.advance(P.max_staleness + 1)
        with refused(made, "oracle: stale", order):
            made.take(RICH, order, signature, WAD)

    def test_is_looked_at_before_the_settlement(self, exchange: ExchangeFactory, refused: Refused) -> None:
        """Without a price, or with a mark that lags it, what is wrong with an order is still said first."""
        made = exchange(max_buckets=1)
        funded(made)
        for trader, collateral in ((OTHER, 60), (STRANGER, 70)):
            made.deposit(trader, collateral * WAD)
            made.trade(trader, RICH, True, WAD, MARK)
        order, signature = signed(made)

        def refuses(of_the_price: str) -> None:
            for reason, fill in (
                ("order: invalid signature", (order, b"", WAD)),
                ("order: zero size", (order, signature, 0)),
                ("order: over-filled", (order, signature, order.size + 1)),
                (of_the_price, (order, signature, order.size)),
            ):
                with refused(made, reason, order):
                    made.take(RICH, *fill)
                with refused(made, reason, order):
                    made.take_batch(RICH, [fill])

        made.set_price(900 * WAD)
        refuses("mode: catch-up")
        made.set_round(900 * WAD, made.chain.now - P.max_staleness - 1)
        refuses("oracle: stale")

    def test_during_catch_up(self, exchange: ExchangeFactory, refused: Refused) -> None:
        made = exchange(max_buckets=1)
        funded(made)
        for trader, collateral in ((OTHER, 60), (STRANGER, 70)):
            made.deposit(trader, collateral * WAD)
            made.trade(trader, RICH, True, WAD, MARK)
        made.set_price(900 * WAD)
        order = made.order(TRADER, True, WAD, 900 * WAD)
        signature = made.sign(TRADER, order)
        with refused(made, "mode: catch-up", order):
            made.take(RICH, order, signature, WAD)
        made.settle()
        made.take(RICH, order, signature, WAD)


class TestSignature:
    @pytest.mark.parametrize(
        "change",
        [
            {"is_long": False},
            {"size": WAD + 1},
            {"limit_price": MARK - 1},
            {"expiry": 2**255},
            {"salt": 99},
            {"nonce": 1},
            {"reduce_only": True},
            {"taker": RICH},
            {"maker": OTHER},
        ],
        ids=lambda change: next(iter(change)),
    )
    def test_binds_every_field(self, exchange: ExchangeFactory, refused: Refused, change: dict[str, Any]) -> None:
        made = exchange()
        funded(made)
        made.deposit(OTHER, 1000 * WAD)
        order, signature = signed(made)
        for name in ("taker", "maker"):
            if name in change:
                change = {name: made.chain.address(change[name])}
        forged = replace(order, **change)
        assert forged != order
        with refused(made, "order: invalid signature", order, forged):
            made.take(RICH, forged, signature, WAD)
        made.take(RICH, order, signature, WAD)

    def test_of_another(self, exchange: ExchangeFactory, refused: Refused) -> None:
        made = exchange()
        funded(made)
        order, _ = signed(made)
        with refused(made, "order: invalid signature", order):
            made.take(RICH, order, made.sign(OTHER, order), WAD)

    def test_for_another_market(self, exchange: ExchangeFactory, refused: Refused) -> None:
        chain = RevmChain()
        made, twin_market = exchange(chain=chain), exchange(chain=chain)
        funded(made)
        order, _ = signed(made)
        with refused(made, "order: invalid signature", order):
            made.take(RICH, order, twin_market.sign(TRADER, order), WAD)

    def test_for_another_chain(self, exchange: ExchangeFactory, refused: Refused) -> None:
        made = exchange()
        funded(made)
        order, _ = signed(made)
        signature = order.sign(made.chain.key(TRADER), made.market.address, made.chain.chain_id + 1)
        with refused(made, "order: invalid signature", order):
            made.take(RICH, order, signature, WAD)

    def test_malformed(self, exchange: ExchangeFactory, refused: Refused) -> None:
        made = exchange()
        funded(made)
        order, signature = signed(made)
        other_v = signature[:64] + bytes([55 - signature[64]])
        for bad, reason in (
            (b"", "order: invalid signature"),
            (signature[:63], "order: invalid signature"),
            (other_v, "order: invalid signature"),
            (signature[:64] + b"\x1d", "ecdsa: invalid signature"),
            (bytes(65), "ecdsa: invalid signature"),
        ):
            with refused(made, reason, order):
                made.take(RICH, order, bad, WAD)
        with pytest.raises(Reverted):
            made.take(RICH, order, signature + b"\x00", WAD)
        made.take(RICH, order, signature, WAD)

    @pytest.mark.parametrize("mirrored_first", [True, False])
    def test_the_mirrored_fills_the_same_order(
        self, exchange: ExchangeFactory, refused: Refused, mirrored_first: bool
    ) -> None:
        """Minus s and the other parity recover to the same key: two signatures, but one order."""
        made = exchange()
        funded(made)
        order, signature = signed(made)
        signatures = [signature, mirrored_form(signature)]
        if mirrored_first:
            signatures.reverse()
        made.take(RICH, order, signatures[0], WAD // 2)
        made.take(RICH, order, signatures[1], WAD // 2)
        assert filled(made, order) == held(made, TRADER) == WAD
        for form in signatures:
            with refused(made, "order: over-filled", order):
                made.take(RICH, order, form, WAD // 2)

    def test_the_mirrored_of_another_is_refused(self, exchange: ExchangeFactory, refused: Refused) -> None:
        made = exchange()
        funded(made)
        order, _ = signed(made)
        with refused(made, "ecdsa: invalid signature `s` value", order):
            made.take(RICH, order, mirrored_form(made.sign(OTHER, order)), WAD)

    def test_nobody_signs_for_the_zero_address(self, exchange: ExchangeFactory, refused: Refused) -> None:
        """A signature of a wrong length recovers to the zero address. Were it taken for one of that address, then, with
        a band wider than initial margin and fee, the taker's price would even pay its margin: a position of nobody."""
        made = exchange(initial_margin=WAD // 25)
        funded(made)
        order = Order(ZERO_ADDRESS, True, WAD, MARK - BAND, expiry=made.chain.now + 100)
        for nonsense in (b"", bytes(64), b"\xff" * 65, bytes(64) + b"\x1b", bytes(65)):
            with pytest.raises(Reverted, match="signature"):
                made.take(RICH, order, nonsense, WAD)
        with refused(made, "order: invalid signature", order):
            made.take(RICH, order, b"", WAD)


class TestContractMaker:
    SIGNATURE = b"whatever the contract likes"

    def order(self, exchange: Exchange, manner: int) -> tuple[Contract, Order]:
        """An order of a contract with collateral, which accepts it in a manner."""
        maker = exchange.chain.deploy_source(CONTRACT_MAKER)  # type: ignore[attr-defined]
        exchange.deposit(RICH, 100_000 * WAD)
        exchange.chain.transact(exchange.market, "deposit", exchange.to_units(1000 * WAD), maker.address, sender=OTHER)
        order = Order(maker.address, True, WAD, MARK, expiry=exchange.chain.now + 100)
        digest = exchange.digest(order)
        exchange.chain.transact(maker, "accept", digest, self.SIGNATURE, manner, sender=0)
        return maker, order

    def test_accepts(self, exchange_everywhere: ExchangeFactory) -> None:
        exchange = exchange_everywhere()
        maker, order = self.order(exchange, 0)
        exchange.take(RICH, order, self.SIGNATURE, WAD)
        equity, side, shares, _, _ = exchange.chain.call(exchange.market, "account", maker.address)
        assert (side, shares) == (LONG, WAD)
        assert 1000 * WAD - fee_on(WAD) - 1 <= equity <= 1000 * WAD - fee_on(WAD)

    @pytest.mark.parametrize("manner", [1, 2, 3], ids=["four bytes", "reverts", "says true"])
    def test_accepts_badly(self, exchange: ExchangeFactory, refused: Refused, manner: int) -> None:
        made = exchange()
        _, order = self.order(made, manner)
        with refused(made, "order: invalid signature", order):
            made.take(RICH, order, self.SIGNATURE, WAD)

    def test_refuses(self, exchange: ExchangeFactory, refused: Refused) -> None:
        made = exchange()
        _, order = self.order(made, 0)
        for other_order, signature in (
            (order, b"something else"),
            (replace(order, salt=1), self.SIGNATURE),
            (order, made.sign(RICH, order)),
        ):
            with refused(made, "order: invalid signature", other_order):
                made.take(OTHER, other_order, signature, WAD)

    def test_that_cannot_answer(self, exchange: ExchangeFactory, refused: Refused) -> None:
        made = exchange()
        funded(made)
        order = Order(made.token.address, True, WAD, MARK, expiry=made.chain.now + 100)
        with refused(made, "order: invalid signature", order):
            made.take(RICH, order, self.SIGNATURE, WAD)


class TestRefusalLeavesNoTrace:
    def test_even_when_the_taker_is_refused_after_the_maker_was_served(
        self, exchange: ExchangeFactory, refused: Refused
    ) -> None:
        made = exchange()
        funded(made)
        made.deposit(OTHER, 10 * WAD)
        trade(made, "maker", WAD, MARK)
        made.set_price(990 * WAD)
        order = made.order(TRADER, True, WAD, 990 * WAD)
        with refused(made, "margin: below initial", order):
            made.take(OTHER, order, made.sign(TRADER, order), WAD)
        assert made.mark == MARK  # the settlement is undone with it
