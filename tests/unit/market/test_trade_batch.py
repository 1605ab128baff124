"""fill_batch(fills): the same as its fills one by one, but all or none and after one settlement (design §5)."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import pytest

from prorata.chain import Reverted
from prorata.exchange import Exchange
from prorata.orders import Order
from prorata.receipts import receipts_in
from prorata.revm_chain import RevmChain
from prorata.twin import Twin
from prorata.units import LONG, SHORT, WAD

TwinFactory = Callable[..., Twin]
ExchangeFactory = Callable[..., Exchange]
Refused = Callable[..., AbstractContextManager[None]]
Fill = tuple[Order, bytes, int]

TAKER, MAKER, OTHER, STRANGER = 1, 2, 3, 4
MARK = 1000 * WAD
RICH = 100_000 * WAD


# ------------------------------------------------------------------------------------------------------------- helpers


def signed(exchange: Exchange, maker: int, bought: int, price: int = MARK, part: int = 1, **terms: Any) -> Fill:
    """An order of `part` times what is taken of it, and its signature; `bought` negative: the maker sells."""
    order = exchange.order(maker, bought > 0, part * abs(bought), price, **terms)
    return order, exchange.sign(maker, order), abs(bought)


def funded(exchange: Exchange, *traders: int) -> None:
    for trader in traders or (TAKER, MAKER, OTHER):
        exchange.deposit(trader, RICH)


def filled(exchange: Exchange, order: Order) -> int:
    digest = exchange.digest(order)
    return int(exchange.chain.call(exchange.market, "filled", digest))


def outcome(exchange: Exchange, fills: Sequence[Fill]) -> tuple[Any, ...]:
    """Everything that fills change, to the wei."""
    return (
        [exchange.account(trader) for trader in range(1, 9)],
        [exchange.side(side) for side in (LONG, SHORT)],
        (exchange.mark, exchange.epoch, exchange.insurance_owed, exchange.core.premium),
        [filled(exchange, order) for order, _, _ in fills],
    )


def one_by_one(exchange: Exchange, taker: int, fills: Sequence[Fill]) -> tuple[str | None, tuple[Any, ...]]:
    """What single fills do, up to the first that is refused; undone again. Returns the reason and the outcome."""
    with exchange.chain.anchor():
        reason = None
        for order, signature, size in fills:
            try:
                exchange.take(taker, order, signature, size)
            except Reverted as reverted:
                reason = reverted.reason
                break
        return reason, outcome(exchange, fills)


def held(exchange: Exchange, trader: int) -> int:
    """Signed size, while the scale is 1."""
    account = exchange.account(trader)
    return -account.shares if account.side == SHORT else account.shares


def names(logs: Sequence[Any]) -> list[str]:
    return [log.name for log in logs]


# ---------------------------------------------------------------------------------------------- the same as one by one


class TestEqualsSingleFills:
    def test_several_makers(self, exchange: ExchangeFactory) -> None:
        made = exchange()
        funded(made)
        fills = [
            signed(made, MAKER, 3 * WAD, MARK + WAD),
            signed(made, OTHER, 2 * WAD, MARK - 2 * WAD, part=3),
            signed(made, MAKER, -WAD, MARK + 7),
        ]
        reason, expected = one_by_one(made, TAKER, fills)
        assert reason is None
        made.take_batch(TAKER, fills)
        assert outcome(made, fills) == expected
        assert [held(made, trader) for trader in (TAKER, MAKER, OTHER)] == [-4 * WAD, 2 * WAD, 2 * WAD]
        assert expected[3] == [3 * WAD, 2 * WAD, WAD]

    def test_in_lockstep_with_the_model(self, each_twin: TwinFactory) -> None:
        """Opened, turned over and closed within batches, at moving prices."""
        market = each_twin()
        for trader in (TAKER, MAKER, OTHER):
            market.deposit(trader, RICH)
        market.trade_batch(TAKER, [(MAKER, True, 2 * WAD, MARK), (OTHER, True, WAD, 1003 * WAD)])
        market.set_price(1040 * WAD)
        market.trade_batch(
            TAKER,
            [(MAKER, False, 5 * WAD, 1041 * WAD), (OTHER, False, WAD, 1040 * WAD), (MAKER, True, WAD, 1039 * WAD)],
        )
        market.check()
        assert [held(market.exchange, trader) for trader in (TAKER, MAKER, OTHER)] == [2 * WAD, -2 * WAD, 0]

    @pytest.mark.parametrize("seed", range(12))
    def test_random_batches(self, exchange: ExchangeFactory, seed: int) -> None:
        """Accepted with the same outcome to the wei, or refused for the reason of the first single fill that is. In a
        market where margin depends on open interest and insurance, which every fill changes."""
        dice = random.Random(seed)
        made = exchange(margin_slope=WAD // 500, oi_multiple=15 * WAD)
        made.insure(0, 2000 * WAD)
        for trader in (TAKER, MAKER, OTHER, STRANGER):
            made.deposit(trader, dice.choice([800, 1500, 4000]) * WAD)
        accepted = refused = 0
        for _ in range(10):
            fills = []
            for _ in range(dice.randint(1, 5)):
                bought = dice.choice([-1, 1]) * dice.randint(10**15, 6 * WAD)
                price = made.mark + dice.choice([-1, 0, 1]) * dice.randint(0, 20 * WAD)
                terms = {"reduce_only": dice.random() < 0.1}
                fills.append(signed(made, dice.choice([MAKER, OTHER, STRANGER]), bought, price, **terms))
            # Settled before, so that single fills a second later meet the same mark and nothing else happens between.
            made.set_price(made.mark * dice.randint(985, 1015) // 1000)
            made.settle()
            reason, expected = one_by_one(made, TAKER, fills)
            if reason is None:
                made.take_batch(TAKER, fills)
                assert outcome(made, fills) == expected
                accepted += 1
                continue
            before = outcome(made, fills)
            with pytest.raises(Reverted) as caught:
                made.take_batch(TAKER, fills)
            assert caught.value.reason == reason
            assert outcome(made, fills) == before
            refused += 1
        assert accepted and refused

    def test_margin_is_checked_after_each(self, exchange: ExchangeFactory, refused: Refused) -> None:
        """What the last fill would make good does not excuse the first: it is refused, in a batch as alone."""
        made = exchange()
        made.deposit(TAKER, 100 * WAD)
        funded(made, MAKER)
        opens, closes = signed(made, MAKER, 3 * WAD), signed(made, MAKER, -3 * WAD)
        small = signed(made, MAKER, WAD)
        with refused(made, "margin: below initial", opens[0], closes[0]):
            made.take_batch(TAKER, [opens, closes])
        made.take_batch(TAKER, [small])

    def test_nor_after_all_of_them(self, exchange: ExchangeFactory) -> None:
        """What the first fill frees serves the second."""
        made = exchange()
        made.deposit(TAKER, 160 * WAD)
        funded(made, MAKER, OTHER)
        made.trade(MAKER, TAKER, True, 3 * WAD, MARK)
        fills = [signed(made, MAKER, -3 * WAD), signed(made, OTHER, -3 * WAD)]
        reason, expected = one_by_one(made, TAKER, fills)
        assert reason is None
        made.take_batch(TAKER, fills)
        assert outcome(made, fills) == expected
        assert held(made, TAKER) == 3 * WAD

    def test_each_fill_is_logged(self, exchange: ExchangeFactory) -> None:
        made = exchange()
        funded(made)
        fills = [signed(made, MAKER, 2 * WAD, MARK + 5, part=2), signed(made, OTHER, -WAD, MARK - 5)]
        logs = made.take_batch(TAKER, fills).logs
        assert names(logs) == ["AccountUpdated", "AccountUpdated", "Traded"] * 2
        for log, (order, _, size), maker in zip(logs[2::3], fills, (MAKER, OTHER), strict=True):
            fee = size // WAD * WAD // 2  # half a dollar for a unit at 1000
            assert log.fields == {
                "order_hash": made.digest(order),
                "maker": made.chain.address(maker),
                "taker": made.chain.address(TAKER),
                "is_long": order.is_long,
                "size": size,
                "price": order.limit_price,
                "mark": MARK,
                "maker_fee": fee,
                "taker_fee": fee,
            }

    def test_bug_premium_is_bounded_after_each(self, exchange: ExchangeFactory) -> None:
        """The premium of a fill counts at most as far as the open interest after that fill carries it. One by one the
        first fill's is cut, and the second, as large and the other way, leaves a negative one; in a batch both cancel
        out. docs/choices.md: bounded "after every move and every fill", and "a batch is the same as its fills"."""
        made = exchange(max_funding=WAD // 2000, premium_retention=WAD - 1)
        funded(made)
        fills = [signed(made, MAKER, WAD, MARK + 40 * WAD), signed(made, OTHER, WAD, MARK - 40 * WAD)]
        reason, expected = one_by_one(made, TAKER, fills)
        assert reason is None
        made.take_batch(TAKER, fills)
        # The second between single fills takes a part in 1e18 of the premium.
        assert abs(made.core.premium - expected[2][3]) <= 10


# --------------------------------------------------------------------------------------------------- one settlement


class TestSettlesOnce:
    def test_before_the_first(self, exchange: ExchangeFactory) -> None:
        made = exchange()
        funded(made)
        made.take_batch(TAKER, [signed(made, MAKER, 5 * WAD)])
        made.set_price(1050 * WAD)
        fills = [
            signed(made, maker, bought * WAD, 1050 * WAD) for maker, bought in ((MAKER, 1), (OTHER, 2), (MAKER, -4))
        ]
        logs = made.take_batch(TAKER, fills).logs
        assert names(logs) == ["Moved"] + ["AccountUpdated", "AccountUpdated", "Traded"] * 3
        (receipt,) = receipts_in(logs)
        assert (receipt.mark_before, receipt.mark_after) == (MARK, 1050 * WAD)
        assert {log.fields["mark"] for log in logs if log.name == "Traded"} == {1050 * WAD}

    def test_and_pays_funding_once(self, exchange: ExchangeFactory) -> None:
        made = exchange(max_funding=WAD // 100)
        funded(made)
        made.take_batch(TAKER, [signed(made, MAKER, 5 * WAD, 1010 * WAD)])
        made.chain.advance(3600)
        made.set_price(1020 * WAD)
        fills = [signed(made, MAKER, WAD, 1020 * WAD) for _ in range(3)]
        receipts = receipts_in(made.take_batch(TAKER, fills).logs)
        assert [receipt.funding for receipt in receipts] == [True, False]

    def test_a_maker_closed_by_it_trades_from_scratch(self, exchange: ExchangeFactory, refused: Refused) -> None:
        """Every order of a bankrupt maker finds an empty account, so none of them is filled, and nothing has moved."""
        made = exchange()
        funded(made, TAKER)
        made.deposit(OTHER, 52 * WAD)
        made.take_batch(TAKER, [signed(made, OTHER, WAD)])
        made.set_price(930 * WAD)
        closing = signed(made, OTHER, -WAD, 930 * WAD)
        with refused(made, "margin: below initial", closing[0]):
            made.take_batch(TAKER, [closing])

    def test_an_empty_batch_settles(self, twin: TwinFactory) -> None:
        market = twin()
        market.deposit(TAKER, RICH)
        market.deposit(MAKER, RICH)
        market.trade(MAKER, TAKER, True, WAD, MARK)
        market.set_price(1010 * WAD)
        assert names(market.trade_batch(TAKER, []).logs) == ["Moved"]
        assert market.exchange.mark == 1010 * WAD
        assert market.trade_batch(STRANGER, []).logs == []

    def test_an_empty_batch_needs_a_price_too(self, exchange: ExchangeFactory, refused: Refused) -> None:
        made = exchange()
        made.chain.advance(3601)
        with refused(made, "oracle: stale"):
            made.take_batch(TAKER, [])


# --------------------------------------------------------------------------------------------------------- all or none


class TestAllOrNone:
    def bad(self, made: Exchange, kind: str) -> Fill:
        """A fill that is refused for one reason."""
        if kind == "order: invalid signature":
            order, _, size = signed(made, MAKER, WAD)
            return order, made.sign(OTHER, order), size
        if kind == "order: zero size":
            order, signature, _ = signed(made, MAKER, WAD)
            return order, signature, 0
        if kind == "order: over-filled":
            order, signature, size = signed(made, MAKER, WAD)
            return order, signature, size + 1
        if kind == "order: cancelled":
            fill = signed(made, MAKER, WAD)
            made.cancel(MAKER, fill[0])
            return fill
        wrong: dict[str, Callable[[], Fill]] = {
            "order: self-fill": lambda: signed(made, TAKER, WAD),
            "order: expired": lambda: signed(made, MAKER, WAD, expiry=made.chain.now),
            "order: reserved for another": lambda: signed(made, MAKER, WAD, taker=made.chain.address(OTHER)),
            "order: price outside band": lambda: signed(made, MAKER, WAD, MARK * 2),
            "order: not reduce-only": lambda: signed(made, STRANGER, WAD, reduce_only=True),
            "position: below minimum": lambda: signed(made, STRANGER, 10**14),
            "position: out of range": lambda: signed(made, MAKER, 2**96),
            "margin: not enough collateral": lambda: signed(made, STRANGER, 10 * WAD, MARK + 50 * WAD),
            "margin: below initial": lambda: signed(made, STRANGER, 10 * WAD),
        }
        return wrong[kind]()

    @pytest.mark.parametrize("position", [0, 1, 2])
    @pytest.mark.parametrize(
        "kind",
        [
            "order: invalid signature",
            "order: zero size",
            "order: over-filled",
            "order: cancelled",
            "order: self-fill",
            "order: expired",
            "order: reserved for another",
            "order: price outside band",
            "order: not reduce-only",
            "position: below minimum",
            "position: out of range",
            "margin: not enough collateral",
            "margin: below initial",
        ],
    )
    def test_one_bad_fill_undoes_all(
        self, exchange: ExchangeFactory, refused: Refused, kind: str, position: int
    ) -> None:
        """Wherever it stands; also the settlement of the call is undone."""
        made = exchange()
        funded(made)
        made.deposit(STRANGER, 100 * WAD)
        made.take_batch(TAKER, [signed(made, MAKER, WAD)])
        fills = [signed(made, MAKER, WAD, MARK + WAD), signed(made, OTHER, -2 * WAD)]
        fills.insert(position, self.bad(made, kind))
        made.set_price(1010 * WAD)
        with refused(made, kind, *(order for order, _, _ in fills)):
            made.take_batch(TAKER, fills)
        good = [fill for index, fill in enumerate(fills) if index != position]
        made.take_batch(TAKER, good)
        assert [filled(made, order) for order, _, _ in good] == [size for _, _, size in good]

    def test_all_signatures_are_looked_at_first(self, exchange: ExchangeFactory, refused: Refused) -> None:
        """A forged signature at the end is refused before the price at the beginning."""
        made = exchange()
        funded(made)
        order, _, size = signed(made, OTHER, WAD)
        fills = [signed(made, MAKER, WAD, MARK * 2), (order, made.sign(STRANGER, order), size)]
        with refused(made, "order: invalid signature"):
            made.take_batch(TAKER, fills)
        with refused(made, "order: price outside band"):
            made.take_batch(TAKER, fills[:1])


class TestSameOrderTwice:
    def test_parts_add_up(self, exchange: ExchangeFactory) -> None:
        made = exchange()
        funded(made)
        order, signature, _ = signed(made, MAKER, 5 * WAD)
        fills = [(order, signature, 2 * WAD), (order, signature, 3 * WAD)]
        reason, expected = one_by_one(made, TAKER, fills)
        assert reason is None
        made.take_batch(TAKER, fills)
        assert outcome(made, fills) == expected
        assert filled(made, order) == 5 * WAD == held(made, MAKER)

    @pytest.mark.parametrize(("first", "second"), [(5 * WAD, 1), (2 * WAD, 3 * WAD + 1), (1, 5 * WAD)])
    def test_more_than_it_offers_is_refused(
        self, exchange: ExchangeFactory, refused: Refused, first: int, second: int
    ) -> None:
        made = exchange(min_notional=10**15)
        funded(made)
        order, signature, _ = signed(made, MAKER, 5 * WAD)
        with refused(made, "order: over-filled", order):
            made.take_batch(TAKER, [(order, signature, first), (order, signature, second)])
        made.take_batch(TAKER, [(order, signature, 5 * WAD)])

    def test_after_a_part_was_filled_alone(self, exchange: ExchangeFactory, refused: Refused) -> None:
        made = exchange()
        funded(made)
        order, signature, _ = signed(made, MAKER, 5 * WAD)
        made.take(TAKER, order, signature, 2 * WAD)
        parts = [(order, signature, WAD), (order, signature, WAD)]
        with refused(made, "order: over-filled", order):
            made.take_batch(OTHER, [*parts, (order, signature, WAD + 1)])
        made.take_batch(OTHER, [*parts, (order, signature, WAD)])
        assert filled(made, order) == 5 * WAD


class TestSize:
    def test_sixteen(self, exchange: ExchangeFactory) -> None:
        made = exchange()
        funded(made)
        fills = [signed(made, (MAKER, OTHER)[i % 2], (i + 1) * WAD // 4, MARK + i * WAD) for i in range(16)]
        reason, expected = one_by_one(made, TAKER, fills)
        assert reason is None
        logs = made.take_batch(TAKER, fills).logs
        assert names(logs).count("Traded") == 16
        assert outcome(made, fills) == expected
        assert held(made, TAKER) == -sum(size for _, _, size in fills)

    def test_not_seventeen(self, exchange: ExchangeFactory, refused: Refused) -> None:
        """The argument does not decode."""
        made = exchange()
        funded(made)
        fills = [signed(made, MAKER, WAD) for _ in range(17)]
        with refused(made, "", *(order for order, _, _ in fills)):
            made.take_batch(TAKER, fills)
        made.take_batch(TAKER, fills[:16])


# ------------------------------------------------------------------------------------------------------ kinds of makers


class TestMakers:
    def test_reduce_only_counts_what_the_batch_did_before(self, exchange: ExchangeFactory, refused: Refused) -> None:
        """Four units may be shed once, in parts, and not a fifth."""
        made = exchange()
        funded(made)
        made.take_batch(TAKER, [signed(made, MAKER, 4 * WAD)])
        sheds = [signed(made, MAKER, -size * WAD, reduce_only=True) for size in (1, 3, 1)]
        with refused(made, "order: not reduce-only", *(order for order, _, _ in sheds)):
            made.take_batch(OTHER, sheds)
        with refused(made, "order: not reduce-only", sheds[0][0]):
            made.take_batch(OTHER, [signed(made, MAKER, -5 * WAD, reduce_only=True)])
        made.take_batch(OTHER, sheds[:2])
        assert held(made, MAKER) == 0

    def test_reduce_only_of_what_the_batch_opened(self, exchange: ExchangeFactory) -> None:
        made = exchange()
        funded(made)
        made.take_batch(TAKER, [signed(made, MAKER, 2 * WAD), signed(made, MAKER, -WAD, reduce_only=True)])
        assert held(made, MAKER) == WAD

    def test_reduce_only_mode(self, exchange: ExchangeFactory, refused: Refused) -> None:
        chain = RevmChain()
        made = exchange(chain=chain, guardian=chain.address(0))
        funded(made)
        made.take_batch(TAKER, [signed(made, MAKER, 4 * WAD)])
        made.set_reduce_only(True, 0)
        less, more = signed(made, MAKER, -WAD), signed(made, MAKER, WAD)
        with refused(made, "mode: reduce-only", less[0], more[0]):
            made.take_batch(TAKER, [less, more])
        made.take_batch(TAKER, [less])
        assert held(made, TAKER) == -3 * WAD

    def test_private_orders_among_public_ones(self, exchange: ExchangeFactory, refused: Refused) -> None:
        made = exchange()
        funded(made)
        fills = [
            signed(made, MAKER, WAD),
            signed(made, MAKER, WAD, taker=made.chain.address(TAKER)),
            signed(made, OTHER, WAD, taker=made.chain.address(TAKER)),
        ]
        with refused(made, "order: reserved for another", *(order for order, _, _ in fills)):
            made.take_batch(STRANGER, fills)
        made.take_batch(TAKER, fills)
        assert held(made, TAKER) == -3 * WAD

    def test_a_contract_among_them(self, exchange: ExchangeFactory, refused: Refused) -> None:
        """It accepts one digest; the same signature does not serve another of its orders."""
        made = exchange()
        funded(made, TAKER, MAKER)
        contract = made.chain.deploy_source(CONTRACT_MAKER)  # type: ignore[attr-defined]
        made.chain.transact(made.market, "deposit", RICH, contract.address, sender=OTHER)
        plain = signed(made, MAKER, WAD)
        order, other = (
            Order(contract.address, True, size * WAD, MARK, expiry=made.chain.now + 3600, salt=7) for size in (3, 4)
        )
        digest = made.digest(order)
        made.chain.transact(contract, "accept", digest, sender=OTHER)
        fills = [(order, b"yes", WAD), plain, (order, b"yes", 2 * WAD)]
        with refused(made, "order: invalid signature", order, plain[0], other):
            made.take_batch(TAKER, [*fills, (other, b"yes", WAD)])
        made.take_batch(TAKER, fills)
        assert filled(made, order) == 3 * WAD
        assert held(made, TAKER) == -4 * WAD

    def test_nobody_trades_for_another(self, exchange: ExchangeFactory, refused: Refused) -> None:
        """Whoever sends a fill is its taker; there is no function that names one, and none that needs no signature."""
        made = exchange()
        funded(made)
        functions = {entry["name"] for entry in made.market.interface._abi if entry["type"] == "function"}
        assert {"fill", "fill_batch"} <= functions
        assert not {"trade", "trade_batch"} & functions
        order, _, size = signed(made, MAKER, WAD)
        with refused(made, "order: invalid signature", order):
            made.take(TAKER, order, made.sign(TAKER, order), size)


CONTRACT_MAKER = """
# pragma version 0.4.3
digest: bytes32

@external
def accept(digest: bytes32):
    self.digest = digest

@external
@view
def isValidSignature(digest: bytes32, signature: Bytes[65]) -> bytes4:
    return 0x1626ba7e if digest == self.digest else 0xffffffff
"""
