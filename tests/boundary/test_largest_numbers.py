"""The largest and smallest numbers that there are a place for: arguments of 2**256 - 1, positions and fortunes at their
bounds, counters before they are full. Each is accepted to the unit or refused by name, and a full counter stops what
would raise it and nothing else.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
from eth_utils.crypto import keccak

from prorata.exchange import Exchange
from prorata.units import LONG, MAX_PRICE, MIN_PRICE, SHORT, WAD
from tests.boundary.surface import RESERVED, default, endow, entries, meaningful, rooms
from tests.boundary.world import (
    COOLDOWN,
    GUARDIAN,
    KEEPER,
    LOSER,
    MAKER,
    MARK,
    TAKER,
    TRADER,
    TRADERS,
    VICTIM,
    HostileChain,
    chain_of,
    close_all,
    everybody_leaves,
    open_market,
    outcome,
    populate,
    refused,
    size_of,
    storage,
    take_all,
)
from tests.bytecode import layout

TOO_MANY = "erc20: transfer amount exceeds balance"
OVERFLOW = "math: mul_div overflow"
#: Every argument that is a number, and what becomes of one beyond all that there is: 2**128, 2**255, 2**256 - 1. Where
#: not all three end the same, all three are given.
HUGE: dict[str, str | tuple[str, str, str]] = {
    "market.settle_to index_price": RESERVED["market.settle_to"],
    "market.deposit amount": TOO_MANY,
    "market.withdraw amount": "account: above free collateral",
    "market.fill size": "order: over-filled",
    "market.cancel_all min_nonce": "packing: out of range",
    "market.liquidate size": "done",  # at most so much
    "market.preview_settlement price": "oracle: price out of range",
    "market.side side": "",  # there are two
    "vault.transfer amount": TOO_MANY,
    "vault.transferFrom amount": "erc20: insufficient allowance",
    "vault.approve amount": "done",
    "vault.permit amount": "erc20: invalid signature",
    "vault.permit deadline": ("erc20: invalid signature", "done", "erc20: invalid signature"),  # 2**255 is signed
    "vault.pendingRedeemRequest requestId": "done",
    "vault.claimableRedeemRequest requestId": "done",
    "vault.drawable owed": ("done", "", ""),  # more than the market's balance can be
    "vault.cover amount": RESERVED["vault.cover"],
    "vault.cover owed": RESERVED["vault.cover"],
    "vault.convertToShares assets": ("done", OVERFLOW, OVERFLOW),
    "vault.convertToAssets shares": "done",
    "vault.previewDeposit assets": ("done", OVERFLOW, OVERFLOW),
    "vault.deposit assets": (TOO_MANY, OVERFLOW, OVERFLOW),
    "vault.previewMint shares": "done",
    "vault.mint shares": TOO_MANY,
    "vault.requestRedeem shares": TOO_MANY,
    "vault.redeem shares": "vault: more than requested",
    "vault.withdraw assets": "vault: more than requested",
    "vault.previewRedeem shares": "vault: redemption has no preview",
    "vault.previewWithdraw assets": "vault: redemption has no preview",
}
NUMBERS = (2**128, 2**255, 2**256 - 1)


def numbers_of(exchange: Exchange) -> list[tuple[str, str, int]]:
    """Room, function and place of every argument that is a number."""
    return [
        (room, entry["name"], place)
        for room, contract in rooms(exchange).items()
        for entry in entries(contract.interface)
        for place, field in enumerate(entry["inputs"])
        if field["type"] == "uint256"
    ]


class TestArguments:
    @pytest.fixture(scope="class")
    def exchange(self) -> Exchange:
        """A market after a fall, in which the guardian can do everything."""
        made = populate(open_market(HostileChain()))
        made.deposit(GUARDIAN, 100 * WAD)
        endow(made, made.chain.address(GUARDIAN))
        made.request_redeem(GUARDIAN, 10**22)
        made.chain.advance(COOLDOWN)
        made.set_price(850 * WAD)
        return made

    @pytest.mark.parametrize("name", HUGE)
    def test_beyond_all_bounds(self, exchange: Exchange, name: str) -> None:
        chain, (called, argument) = chain_of(exchange), name.split(" ")
        room, function = called.split(".")
        contract, me = rooms(exchange)[room], chain.address(GUARDIAN)
        (entry,) = [one for one in entries(contract.interface) if one["name"] == function]
        given = meaningful(exchange, me, exchange.order(GUARDIAN, True, WAD, MARK)).get(called)
        arguments = given or [default(exchange, me, field) for field in entry["inputs"]]
        (place,) = [place for place, field in enumerate(entry["inputs"]) if field["name"] == argument]
        before = storage(chain)
        expected = HUGE[name]
        for number, end in zip(NUMBERS, (expected,) * 3 if isinstance(expected, str) else expected, strict=True):
            arguments[place] = number
            payload = contract.interface.calldata(function, arguments)
            with chain.anchor():
                call = partial(chain._run, me, contract.address, payload, entry["stateMutability"] == "nonpayable")
                assert outcome(call) == end
                assert end == "done" or storage(chain) == before

    def test_are_all_here(self, exchange: Exchange) -> None:
        found = set()
        for room, function, place in numbers_of(exchange):
            (entry,) = [one for one in entries(rooms(exchange)[room].interface) if one["name"] == function]
            found.add(f"{room}.{function} {entry['inputs'][place]['name']}")
        assert found == set(HUGE)


class TestOrders:
    @pytest.mark.parametrize("by_batch", [False, True])
    @pytest.mark.parametrize(
        ("field", "number", "end"),
        [
            ("size", 2**256 - 1, "done"),  # of which a unit is filled
            ("limit_price", 2**255, "order: price outside band"),
            ("limit_price", 2**256 - 1, "order: price outside band"),
            ("expiry", 2**256 - 1, "done"),
            ("salt", 2**256 - 1, "done"),
            ("nonce", 2**64, "done"),
            ("nonce", 2**256 - 1, "done"),
        ],
    )
    def test_the_largest_of_everything(self, field: str, number: int, end: str, by_batch: bool) -> None:
        exchange = populate(open_market(HostileChain()))
        order = replace(exchange.order(MAKER, True, 4 * WAD, MARK), **{field: number})
        fill = (order, exchange.sign(MAKER, order), WAD)
        act = partial(exchange.take_batch, TAKER, [fill]) if by_batch else partial(exchange.take, TAKER, *fill)
        if end == "done":
            act()
            assert exchange.chain.call(exchange.market, "filled", exchange.digest(order)) == WAD
        else:
            with refused(chain_of(exchange), end):
                act()
        everybody_leaves(exchange)

    def test_a_fill_of_all_of_the_largest_order_is_no_cancellation(self) -> None:
        """The number by which a cancelled order is known could only be reached by filling as much."""
        exchange = populate(open_market(HostileChain()))
        order = exchange.order(MAKER, True, 2**256 - 1, MARK)
        signature = exchange.sign(MAKER, order)
        for size in (2**96, 2**255, 2**256 - 1):
            with refused(chain_of(exchange), "position: out of range"):
                exchange.take(TAKER, order, signature, size)
        exchange.take(TAKER, order, signature, WAD)
        with refused(chain_of(exchange), "order: over-filled"):
            exchange.take(TAKER, order, signature, 2**256 - 1)
        with refused(chain_of(exchange), "position: out of range"):
            exchange.take(TAKER, order, signature, 2**256 - 1 - WAD)
        everybody_leaves(exchange)

    def test_an_order_of_a_nonce_that_no_minimum_reaches_is_cancelled_by_itself(self) -> None:
        """A minimum is below 2**64. Who signs such a nonce can still withdraw the order, but not with all others."""
        exchange = populate(open_market(HostileChain()))
        order = exchange.order(MAKER, True, 4 * WAD, MARK, nonce=2**64)
        signature = exchange.sign(MAKER, order)
        exchange.chain.transact(exchange.market, "cancel_all", 2**64 - 1, sender=MAKER)
        below = exchange.order(MAKER, True, 4 * WAD, MARK, nonce=2**64 - 2)
        with refused(chain_of(exchange), "order: nonce too low"):
            exchange.take(TAKER, below, exchange.sign(MAKER, below), WAD)
        exchange.take(TAKER, order, signature, WAD)
        exchange.cancel(MAKER, order)
        with refused(chain_of(exchange), "order: cancelled"):
            exchange.take(TAKER, order, signature, WAD)


# ------------------------------------------------------------------------------------------- positions and fortunes

FORTUNE = 2**118
LARGEST = 2**96 - 1


def enrich(exchange: Exchange, *traders: int, fortune: int = FORTUNE) -> None:
    """These have a fortune each, in the market."""
    for trader in traders:
        exchange.chain.transact(exchange.token, "mint", exchange.chain.address(trader), fortune, sender=0)
        exchange.deposit(trader, fortune)


def travel(exchange: Exchange, price: int) -> None:
    exchange.set_price(price)
    while exchange.mark != price:
        exchange.settle()


def all_out(exchange: Exchange) -> None:
    """Everybody is out to the last unit but dust; the vault has no depositors."""
    close_all(exchange)
    take_all(exchange)


class TestPositions:
    @pytest.mark.parametrize("mark", [MIN_PRICE, MAX_PRICE])
    @pytest.mark.parametrize("is_long", [True, False])
    def test_up_to_the_largest_and_not_a_wei_more(self, mark: int, is_long: bool) -> None:
        exchange = open_market(HostileChain(), mark=mark, fee_rate=0)
        enrich(exchange, MAKER, TAKER, TRADER)
        for size in (LARGEST + 1, 2**128):
            with refused(chain_of(exchange), "position: out of range"):
                exchange.trade(MAKER, TAKER, is_long, size, mark)
        exchange.trade(MAKER, TAKER, is_long, LARGEST - WAD, mark)
        exchange.trade(MAKER, TAKER, is_long, WAD, mark)
        assert [size_of(exchange, trader) for trader in (MAKER, TAKER)] == [LARGEST] * 2
        for maker, taker in ((MAKER, TAKER), (TRADER, TAKER), (MAKER, TRADER)):
            with refused(chain_of(exchange), "position: out of range"):
                exchange.trade(maker, taker, is_long, 10**10 * WAD, mark)
        exchange.trade(TRADER, MAKER, is_long, LARGEST, mark)  # it changes hands
        travel(exchange, 2 * mark if mark == MIN_PRICE else mark // 2)
        all_out(exchange)

    @pytest.mark.parametrize("mark", [MIN_PRICE, MAX_PRICE])
    @pytest.mark.parametrize("min_notional", [10**15, 2**96 - 1])
    def test_down_to_the_smallest_and_not_a_wei_less(self, mark: int, min_notional: int) -> None:
        exchange = open_market(HostileChain(), mark=mark, min_notional=min_notional, fee_rate=0)
        enrich(exchange, MAKER, TAKER)
        # The value of a position is rounded up.
        smallest = (min_notional - 1) * WAD // mark + 1
        if smallest > LARGEST:
            with refused(chain_of(exchange), "position: out of range"):
                exchange.trade(MAKER, TAKER, True, smallest, mark)
            return
        with refused(chain_of(exchange), "position: below minimum"):
            exchange.trade(MAKER, TAKER, True, smallest - 1, mark)
        exchange.trade(MAKER, TAKER, True, smallest, mark)
        travel(exchange, 3 * mark // 2 if mark == MIN_PRICE else mark // 2)
        all_out(exchange)

    @pytest.mark.parametrize("is_long", [True, False])
    @pytest.mark.parametrize("mark", [MIN_PRICE, MARK, MAX_PRICE])
    def test_of_a_fortune_as_large_as_the_market_takes(self, mark: int, is_long: bool) -> None:
        """In the smallest position: the lowest bucket there is, further away than any price can come."""
        exchange = open_market(HostileChain(), mark=mark, min_notional=10**15)
        enrich(exchange, TAKER, fortune=2**112)
        enrich(exchange, MAKER, fortune=2**120 - 1 - 2**112)
        exchange.trade(MAKER, TAKER, is_long, 10**15 * WAD // mark + 1, mark)
        bucket = exchange.account(MAKER).bucket
        assert abs(bucket) < 2**127
        for price in (MIN_PRICE, MAX_PRICE, mark):
            travel(exchange, price)
        assert exchange.account(MAKER).shares
        exchange.withdraw(MAKER, exchange.account(MAKER).equity - 2**112)
        exchange.deposit(MAKER, 2**119)
        all_out(exchange)

    def test_of_a_fortune_in_a_position_that_lost_its_value(self) -> None:
        """On the narrow level of the price that is left, its bucket would have a number of more than 128 bits: the
        owner can only close it whole. A stranger's deposit keeps the level, and goes on."""
        exchange = open_market(
            HostileChain(), mark=MAX_PRICE, min_notional=10**15, bucket_width=WAD // 10**4, fee_rate=0
        )
        enrich(exchange, MAKER, TAKER)
        size = 10**15 * WAD // MAX_PRICE + 1
        exchange.trade(MAKER, TAKER, True, size, MAX_PRICE)
        travel(exchange, MIN_PRICE)
        for trader in (MAKER, TRADER):
            exchange.chain.transact(exchange.token, "mint", exchange.chain.address(trader), 1, sender=0)
        for refile in (exchange.withdraw, exchange.deposit):
            with refused(chain_of(exchange), "packing: out of range"):
                refile(MAKER, 1)
        exchange.deposit(TRADER, 1, to=MAKER)
        exchange.trade(MAKER, TAKER, False, size, MIN_PRICE)
        assert exchange.account(MAKER).shares == 0
        all_out(exchange)

    def test_of_a_market_that_is_as_full_as_it_can_be(self) -> None:
        """The largest position, the largest price, the largest fortunes; fees on all of it, and a fall by half."""
        exchange = open_market(HostileChain(), mark=MAX_PRICE)
        enrich(exchange, MAKER, TAKER, fortune=2**119 - 1)
        with refused(chain_of(exchange), "token: balance out of range"):
            exchange.deposit(TRADER, 3)
        exchange.trade(MAKER, TAKER, True, LARGEST, MAX_PRICE)
        travel(exchange, MAX_PRICE // 2)
        assert exchange.core.premium == 0
        all_out(exchange)


# ------------------------------------------------------------------------------------------------------- full counters


def slot_of(module: str, variable: str, *keys: int) -> int:
    """Where the market keeps a variable, or an entry of a mapping."""
    slot = int(layout("PerpetualMarket")["storage_layout"][module][variable]["slot"])
    for key in keys:
        slot = int.from_bytes(keccak(slot.to_bytes(32, "big") + (key % 2**256).to_bytes(32, "big")), "big")
    return slot


def put(exchange: Exchange, slot: int, low: int, bits: int, value: int) -> None:
    """A field of a word of the market's storage becomes `value`: `bits` of it from bit `low`."""
    chain, market = chain_of(exchange), exchange.market.address
    word = chain.storage()[market].get(slot, 0)
    mask = (2**bits - 1) << low
    chain._evm.insert_account_storage(market, slot, word & ~mask | (value % 2**bits) << low)


def set_epoch(exchange: Exchange, epoch: int) -> None:
    put(exchange, slot_of("sides", "_core"), 80, 32, epoch)
    assert exchange.epoch == epoch


def set_index(exchange: Exchange, side: int, index: int) -> None:
    put(exchange, slot_of("sides", "_reach") + side, 0, 160, index)
    assert exchange.side(side).index == index


def set_scale(exchange: Exchange, side: int, scale: int) -> None:
    put(exchange, slot_of("sides", "_exposure") + side, 112, 64, scale)
    assert exchange.side(side).scale == scale


def bucket_id(exchange: Exchange, trader: int) -> int:
    held = exchange.account(trader)
    return (exchange.epoch << 1 | held.side) << 136 | held.level << 128 | held.bucket % 2**128


def bankrupt_pair(exchange: Exchange) -> None:
    """LOSER, with little, is alone on his side, against MAKER."""
    exchange.deposit(MAKER, 10**4 * WAD)
    exchange.deposit(LOSER, 61 * WAD)
    exchange.trade(LOSER, MAKER, True, WAD, MARK)


class TestCounters:
    def test_the_last_epochs(self) -> None:
        """After 2**32 - 1 of them none can end: the move that would end one is refused whole, any other goes on."""
        exchange = open_market(HostileChain(), fee_rate=0)
        set_epoch(exchange, 2**32 - 2)
        bankrupt_pair(exchange)
        exchange.set_price(900 * WAD)
        exchange.settle()
        assert exchange.epoch == 2**32 - 1
        assert exchange.account(MAKER).equity == (10**4 + 61) * WAD - 1

        exchange.deposit(LOSER, 61 * WAD)
        exchange.trade(LOSER, MAKER, True, WAD, 900 * WAD)
        exchange.set_price(800 * WAD)
        with refused(chain_of(exchange), "packing: out of range"):
            exchange.settle()
        exchange.deposit(LOSER, 100 * WAD)  # then he is not bankrupt
        exchange.settle()
        assert exchange.mark == 800 * WAD
        all_out(exchange)

    @pytest.mark.parametrize("generation", [2**32 - 2, 2**32 - 1])
    def test_the_last_generations_of_a_bucket(self, generation: int) -> None:
        """A bucket that was closed 2**32 - 1 times cannot be closed again: the move that would is refused whole."""
        exchange = open_market(HostileChain(), fee_rate=0)
        with exchange.chain.anchor():
            bankrupt_pair(exchange)
            bucket = bucket_id(exchange, LOSER)
        put(exchange, slot_of("buckets", "_buckets", bucket), 224, 32, generation)
        bankrupt_pair(exchange)
        assert bucket_id(exchange, LOSER) == bucket
        exchange.set_price(900 * WAD)
        if generation < 2**32 - 1:
            exchange.settle()
            assert (exchange.account(LOSER).equity, exchange.account(LOSER).shares) == (0, 0)
        else:
            with refused(chain_of(exchange), "packing: out of range"):
                exchange.settle()
            exchange.deposit(LOSER, 100 * WAD)  # to another bucket
            exchange.settle()
        assert exchange.mark == 900 * WAD
        all_out(exchange)

    @pytest.mark.parametrize("side", [LONG, SHORT])
    @pytest.mark.parametrize(("index", "way"), [(2**156, 1), (-(2**156), -1)])
    def test_an_index_at_its_bound_ends_the_epoch(self, index: int, way: int, side: int) -> None:
        """One move before it: both sides close at the mark, with what they won or lost to the wei."""
        exchange = open_market(HostileChain(), fee_rate=0)
        set_index(exchange, side, index - way)
        for trader in (MAKER, TAKER):
            exchange.deposit(trader, 10**4 * WAD)
        exchange.trade(MAKER, TAKER, True, WAD, MARK)
        # The side wins if its index is to rise.
        rises = (side == LONG) == (way > 0)
        exchange.set_price(MARK + (1 if rises else -1) * 10 * WAD)
        exchange.settle()
        assert exchange.epoch == 1
        gain = 10 * WAD if rises else -10 * WAD
        for trader, won in ((MAKER, gain), (TAKER, -gain)):
            account = exchange.account(trader)
            assert account.shares == 0
            assert 0 <= 10**4 * WAD + won - account.equity <= 2
        assert [exchange.side(one).index for one in (LONG, SHORT)] == [0, 0]
        exchange.trade(MAKER, TAKER, True, WAD, exchange.mark)
        all_out(exchange)

    def test_an_index_within_its_bound_does_not(self) -> None:
        exchange = open_market(HostileChain(), fee_rate=0)
        set_index(exchange, LONG, 2**156 - 10 * WAD * WAD)
        for trader in (MAKER, TAKER):
            exchange.deposit(trader, 10**4 * WAD)
        exchange.trade(MAKER, TAKER, True, WAD, MARK)
        exchange.set_price(MARK + 10 * WAD)
        exchange.settle()
        assert (exchange.epoch, exchange.side(LONG).index) == (0, 2**156)
        all_out(exchange)

    @pytest.mark.parametrize("side", [LONG, SHORT])
    def test_positions_at_the_least_scale(self, side: int) -> None:
        """10**14: ten thousand shares a size. The largest position has room, and moves both ways and back."""
        exchange = open_market(HostileChain(), mark=MAX_PRICE, fee_rate=0)
        set_scale(exchange, side, 10**14)
        enrich(exchange, MAKER, TAKER)
        exchange.trade(MAKER, TAKER, True, LARGEST, MAX_PRICE)
        assert 2**109 < max(exchange.side(one).shares for one in (LONG, SHORT)) < 2**110
        before = [exchange.account(trader).equity for trader in (MAKER, TAKER)]
        for price in (MAX_PRICE // 2, MIN_PRICE, MAX_PRICE):
            travel(exchange, price)
        after = [exchange.account(trader).equity for trader in (MAKER, TAKER)]
        assert all(abs(one - other) <= 10**10 for one, other in zip(before, after, strict=True))
        all_out(exchange)

    @pytest.mark.parametrize("side", [LONG, SHORT])
    def test_a_scale_that_falls_under_the_least_ends_the_epoch(self, side: int) -> None:
        """By the next deleverage, however small: of the side that wins, at the mark, gains kept."""
        exchange = open_market(HostileChain(), fee_rate=0)
        set_scale(exchange, side, 10**14)
        sign = -1 if side == SHORT else 1
        exchange.deposit(TAKER, 10**5 * WAD)
        exchange.deposit(MAKER, 10**5 * WAD)
        exchange.deposit(LOSER, 61 * WAD)
        exchange.trade(MAKER, TAKER, side == SHORT, 1000 * WAD, MARK)
        exchange.trade(LOSER, TAKER, side == SHORT, WAD, MARK)
        exchange.set_price(MARK + sign * 55 * WAD)
        exchange.settle()
        assert exchange.epoch == 1
        assert abs(exchange.account(TAKER).equity - (10**5 + 1001 * 55) * WAD) <= 10**7
        assert exchange.account(LOSER).equity == 0
        assert [exchange.account(trader).shares for trader in TRADERS] == [0] * len(TRADERS)
        take_all(exchange)


def test_whoever_is_left_behind_in_an_epoch_finds_everything_after_many() -> None:
    """One winner an epoch, and none touches his account until forty more have ended."""
    exchange = open_market(HostileChain(), fee_rate=0)
    winners = (MAKER, TAKER, TRADER, KEEPER, VICTIM)
    owed = {}
    for winner in winners:
        exchange.deposit(winner, 10**4 * WAD)
    for epoch in range(45):
        winner = winners[min(epoch, len(winners) - 1)]
        exchange.deposit(LOSER, 61 * WAD)
        exchange.trade(LOSER, winner, True, WAD, MARK)
        exchange.set_price(900 * WAD)
        exchange.settle()
        assert exchange.epoch == epoch + 1
        owed[winner] = exchange.account(winner).equity
        exchange.set_price(MARK)
        exchange.settle()
    for winner in winners:
        assert exchange.account(winner).equity == owed[winner]
        assert exchange.account(winner).shares == 0
    take_all(exchange)
