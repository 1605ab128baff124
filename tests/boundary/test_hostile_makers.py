"""Makers that are contracts (ERC-1271) and mean ill, and keys whose signatures are malformed: an order is filled if its
maker signed it, and refused in one word if not, whatever else the maker's code does, says or burns.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from prorata.chain import Contract
from prorata.embedded import EmbeddedContract
from prorata.exchange import Exchange
from prorata.orders import Order
from prorata.units import WAD, ZERO_ADDRESS
from tests.boundary.world import (
    MAKER,
    MARK,
    STRANGER,
    TAKER,
    HostileChain,
    chain_of,
    everybody_leaves,
    open_market,
    outcome,
    populate,
    refused,
)

MAGIC = bytes.fromhex("1626ba7e")
SECP256K1_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
NO = "order: invalid signature"

#: A maker that says whatever it is told to, in whichever way; it can be made to trade as well.
WALLET = """
# pragma version 0.4.3
answer: Bytes[128]
manner: uint256
least_gas: uint256
refused_digest: bytes32

@external
def say(answer: Bytes[128]):
    self.answer = answer

@external
def behave(manner: uint256):
    self.manner = manner

@external
def tire(least_gas: uint256):
    self.least_gas = least_gas

@external
def refuse(digest: bytes32):
    self.refused_digest = digest

@external
def forward(target: address, payload: Bytes[2048]):
    raw_call(target, payload)

@external
@view
@raw_return
def isValidSignature(digest: bytes32, signature: Bytes[65]) -> Bytes[128]:
    if self.manner == 1:
        raw_revert(self.answer)
    if self.manner == 2:
        assert self.manner == 1, UNREACHABLE  # takes all the gas it was given
    if self.manner == 3:
        raise "I would rather not"
    if msg.gas < self.least_gas or digest == self.refused_digest:
        return b""
    return self.answer
"""

#: Answers with a word of magic and a million bytes after it, or reverts with them: PUSH4 magic, PUSH1 224, SHL, PUSH0,
#: MSTORE, PUSH4 length, PUSH0, then RETURN or REVERT.
BOMB_CODE = bytes.fromhex("631626ba7e60e01b5f5263000f42405f")
RETURN, REVERT = b"\xf3", b"\xfd"

#: A taker that says what its call cost, and gives no more than it is told.
TAKER_CONTRACT = """
# pragma version 0.4.3
spent: public(uint256)

@external
def forward(target: address, payload: Bytes[4096]):
    left: uint256 = msg.gas
    raw_call(target, payload)
    self.spent = left - msg.gas
"""

#: Deploys code as it is.
DEPLOYER = """
# pragma version 0.4.3
deployed: public(address)

@external
def deploy(creation_code: Bytes[256]):
    self.deployed = raw_create(creation_code)
"""

ANSWERS: dict[str, tuple[bytes, str]] = {
    "the magic value": (MAGIC + bytes(28), "done"),
    # Only a word is looked at, as by everybody who decodes the answer of a call.
    "the magic value, and a word more": (MAGIC + bytes(28) + b"\xa5" * 32, "done"),
    "the magic value, and three words more": (MAGIC + bytes(28) + b"\xa5" * 96, "done"),
    "nothing": (b"", NO),
    "a byte": (MAGIC[:1], NO),
    "the magic value alone": (MAGIC, NO),
    "all but the last byte": (MAGIC + bytes(27), NO),
    "zero": (bytes(32), NO),
    "one": (bytes(31) + b"\x01", NO),
    "ERC-1271's word for no": (b"\xff" * 4 + bytes(28), NO),
    "nearly the magic value": (b"\x16\x26\xba\x7f" + bytes(28), NO),
    "the magic value on the wrong side": (bytes(28) + MAGIC, NO),
    "the magic value in a dirty word": (MAGIC + bytes(27) + b"\x01", NO),
    "a dirty word and then the magic value": (MAGIC + b"\x01" * 28 + MAGIC + bytes(28), NO),
    "the magic value of its older form": (bytes.fromhex("20c13b0b") + bytes(28), NO),
}
MANNERS = {"reverts with the magic value": 1, "burns all gas": 2, "reverts with a reason": 3}

Fill = Callable[[Exchange, int, Order, bytes, int], Any]


def by_fill(exchange: Exchange, taker: int, order: Order, signature: bytes, size: int) -> None:
    exchange.take(taker, order, signature, size)


def by_batch(exchange: Exchange, taker: int, order: Order, signature: bytes, size: int) -> None:
    exchange.take_batch(taker, [(order, signature, size)])


EVERY_WAY = pytest.mark.parametrize("fill", [by_fill, by_batch], ids=["fill", "fill_batch"])


def market() -> Exchange:
    return populate(open_market(HostileChain()))


def wallet(exchange: Exchange) -> EmbeddedContract:
    """A contract with money in the market, which signs everything until it is told otherwise."""
    chain = chain_of(exchange)
    contract = chain.deploy_source(WALLET)
    chain.transact(exchange.market, "deposit", 10**4 * WAD, contract.address, sender=STRANGER)
    tell(exchange, contract, "say", MAGIC + bytes(28))
    return contract


def tell(exchange: Exchange, contract: EmbeddedContract, order: str, *arguments: Any) -> None:
    exchange.chain.transact(contract, order, *arguments, sender=0)


def order_of(exchange: Exchange, maker: Contract, salt: int = 0) -> Order:
    return Order(maker.address, True, 4 * WAD, MARK, expiry=exchange.chain.now + 10**6, salt=salt)


def go_home(exchange: Exchange, contract: EmbeddedContract) -> None:
    """The wallet closes what it has against TAKER, withdraws all, and then everybody else leaves."""
    chain = chain_of(exchange)
    tell(exchange, contract, "behave", 0)
    tell(exchange, contract, "tire", 0)
    tell(exchange, contract, "refuse", bytes(32))
    tell(exchange, contract, "say", MAGIC + bytes(28))
    held = chain.call(exchange.market, "account", contract.address)[2]
    if held:
        exchange.take(TAKER, replace(order_of(exchange, contract), is_long=False, size=held), b"", held)
    equity = chain.call(exchange.market, "account", contract.address)[0]
    payload = exchange.market.interface.calldata("withdraw", [equity])
    tell(exchange, contract, "forward", exchange.market.address, payload)
    assert chain.call(exchange.token, "balanceOf", contract.address) == equity
    everybody_leaves(exchange)


class TestAnswers:
    @EVERY_WAY
    @pytest.mark.parametrize("answer", ANSWERS)
    def test_only_the_magic_word_signs(self, answer: str, fill: Fill) -> None:
        said, result = ANSWERS[answer]
        exchange = market()
        maker = wallet(exchange)
        order = order_of(exchange, maker)
        tell(exchange, maker, "say", said)
        if result == "done":
            fill(exchange, TAKER, order, b"", WAD)
            assert exchange.chain.call(exchange.market, "filled", exchange.digest(order)) == WAD
        else:
            with refused(chain_of(exchange), result):
                fill(exchange, TAKER, order, b"", WAD)
        go_home(exchange, maker)

    @EVERY_WAY
    @pytest.mark.parametrize("manner", MANNERS)
    def test_a_call_that_fails_is_no(self, manner: str, fill: Fill) -> None:
        exchange = market()
        maker = wallet(exchange)
        tell(exchange, maker, "behave", MANNERS[manner])
        with refused(chain_of(exchange), NO):
            fill(exchange, TAKER, order_of(exchange, maker), b"", WAD)
        go_home(exchange, maker)

    @EVERY_WAY
    @pytest.mark.parametrize("length", [0, 1, 32, 63, 64, 65])
    def test_of_any_signature_that_there_is_room_for(self, length: int, fill: Fill) -> None:
        """Also one of 65 bytes, which is tried as a key's first."""
        exchange = market()
        maker = wallet(exchange)
        fill(exchange, TAKER, order_of(exchange, maker), b"\x5a" * length, WAD)
        go_home(exchange, maker)

    @EVERY_WAY
    @pytest.mark.parametrize("length", [66, 96, 1024, 100_000])
    def test_longer_ones_are_refused_before_anybody_is_asked(self, length: int, fill: Fill) -> None:
        exchange = market()
        maker = wallet(exchange)
        with refused(chain_of(exchange), ""):
            fill(exchange, TAKER, order_of(exchange, maker), b"\x5a" * length, WAD)
        go_home(exchange, maker)


class TestOnSecondThoughts:
    def test_between_two_fills(self) -> None:
        exchange = market()
        maker = wallet(exchange)
        order = order_of(exchange, maker)
        exchange.take(TAKER, order, b"", WAD)
        tell(exchange, maker, "behave", MANNERS["reverts with a reason"])
        with refused(chain_of(exchange), NO):
            exchange.take(TAKER, order, b"", WAD)
        tell(exchange, maker, "behave", 0)
        exchange.take(TAKER, order, b"", WAD)
        go_home(exchange, maker)

    def test_of_two_orders_in_a_batch_the_first_alone(self) -> None:
        """All or none: the first is not filled either."""
        exchange = market()
        maker = wallet(exchange)
        orders = [order_of(exchange, maker, salt) for salt in (0, 1)]
        tell(exchange, maker, "refuse", exchange.digest(orders[1]))
        with refused(chain_of(exchange), NO):
            exchange.take_batch(TAKER, [(order, b"", WAD) for order in orders])
        exchange.take_batch(TAKER, [(orders[0], b"", WAD)] * 2)
        go_home(exchange, maker)

    def test_of_one_order_twice_in_a_batch_the_first_time_alone(self) -> None:
        """It tells the two calls apart by the gas that is left, the only thing that differs in them."""
        exchange = market()
        maker = wallet(exchange)
        order = order_of(exchange, maker)
        chain = chain_of(exchange)

        def least_that_fails(fills: int) -> int:
            """Under this much gas at every one of so many calls."""
            low, high = 0, 2**41
            while high - low > 1:
                middle = (low + high) // 2
                with chain.anchor():
                    tell(exchange, maker, "tire", middle)
                    done = outcome(partial(exchange.take_batch, TAKER, [(order, b"", WAD)] * fills)) == "done"
                low, high = (middle, high) if done else (low, middle)
            return high

        once, twice = least_that_fails(1), least_that_fails(2)
        assert twice < once  # so at this limit only the last of two calls fails
        tell(exchange, maker, "tire", twice)
        with refused(chain, NO):
            exchange.take_batch(TAKER, [(order, b"", WAD)] * 2)
        exchange.take_batch(TAKER, [(order, b"", WAD)])
        go_home(exchange, maker)

    def test_what_it_cancels_it_cannot_sign(self) -> None:
        exchange = market()
        maker = wallet(exchange)
        order = order_of(exchange, maker)
        payload = exchange.market.interface.calldata("cancel", [order.as_tuple()])
        tell(exchange, maker, "forward", exchange.market.address, payload)
        with refused(chain_of(exchange), "order: cancelled"):
            exchange.take(TAKER, order, b"", WAD)
        go_home(exchange, maker)


class TestBombs:
    @staticmethod
    def bomb(exchange: Exchange, end: bytes) -> EmbeddedContract:
        """A contract that answers a million bytes, with money in the market."""
        chain = chain_of(exchange)
        code = BOMB_CODE + end
        deployer = chain.deploy_source(DEPLOYER)
        # PUSH1 length, DUP1, PUSH1 10, PUSH0, CODECOPY, PUSH0, RETURN, and a byte that is never reached.
        creation = bytes([0x60, len(code), 0x80, 0x60, 10, 0x5F, 0x39, 0x5F, 0xF3, 0x00]) + code
        chain.transact(deployer, "deploy", creation, sender=0)
        contract = EmbeddedContract(chain.call(deployer, "deployed"), deployer.interface)
        assert chain.code(contract.address).startswith(code)
        chain.transact(exchange.market, "deposit", 10**4 * WAD, contract.address, sender=STRANGER)
        return contract

    @staticmethod
    def cost(exchange: Exchange, maker: Contract, taker: EmbeddedContract) -> int:
        """Gas of a fill."""
        chain = chain_of(exchange)
        order = order_of(exchange, maker)
        payload = exchange.market.interface.calldata("fill", [order.as_tuple(), b"", WAD])
        chain.transact(taker, "forward", exchange.market.address, payload, sender=0)
        return int(chain.call(taker, "spent"))

    @EVERY_WAY
    @pytest.mark.parametrize(("end", "result"), [(RETURN, "done"), (REVERT, NO)], ids=["returned", "reverted"])
    def test_a_million_bytes_are_an_answer_like_any_other(self, end: bytes, result: str, fill: Fill) -> None:
        exchange = market()
        maker = self.bomb(exchange, end)
        order = order_of(exchange, maker)
        if result == "done":
            fill(exchange, TAKER, order, b"", WAD)
            assert exchange.chain.call(exchange.market, "account", maker.address)[2] == WAD
        else:
            with refused(chain_of(exchange), result):
                fill(exchange, TAKER, order, b"", WAD)

    def test_and_cost_the_taker_nothing_but_what_the_maker_spends(self) -> None:
        """The market copies a word of them. A million bytes of memory are 2.2 million gas: the maker's own, once."""
        spent = []
        for end in (None, RETURN):
            exchange = market()
            chain = chain_of(exchange)
            maker = wallet(exchange) if end is None else self.bomb(exchange, end)
            taker = chain.deploy_source(TAKER_CONTRACT)
            chain.transact(exchange.market, "deposit", 10**4 * WAD, taker.address, sender=STRANGER)
            spent.append(self.cost(exchange, maker, taker))
        words = 1_000_000 // 32
        expansion = 3 * words + words**2 // 512
        assert abs(spent[1] - spent[0] - expansion) < 20_000


class TestNobodyHome:
    """A maker without code is a key's address or nobody's. A contract that destroyed itself is nobody's."""

    @EVERY_WAY
    @pytest.mark.parametrize(
        ("signature", "reason"),
        [
            pytest.param(b"", NO, id="nothing"),
            pytest.param(b"\x01", NO, id="a byte"),
            pytest.param(bytes(63), NO, id="63 zeros"),
            pytest.param(bytes(64), "ecdsa: invalid signature", id="64 zeros"),
            pytest.param(bytes(65), "ecdsa: invalid signature", id="65 zeros"),
            pytest.param(b"\x11" * 64 + b"\x1b", "ecdsa: invalid signature", id="r off the curve"),
            pytest.param(b"\xff" * 65, "ecdsa: invalid signature `s` value", id="65 bytes of ones"),
        ],
    )
    def test_nobody_signs_for_an_address_without_code(self, signature: bytes, reason: str, fill: Fill) -> None:
        exchange = market()
        nobody = EmbeddedContract("0x" + "ab" * 20, exchange.market.interface)
        exchange.chain.transact(exchange.market, "deposit", 10**4 * WAD, nobody.address, sender=STRANGER)
        with refused(chain_of(exchange), reason):
            fill(exchange, TAKER, order_of(exchange, nobody), signature, WAD)
        everybody_leaves(exchange, beside=10**4 * WAD)

    @EVERY_WAY
    @pytest.mark.parametrize(
        "signature", [b"", bytes(64), bytes(65), b"\xff" * 65], ids=["nothing", "64 zeros", "65 zeros", "ones"]
    )
    def test_nor_for_the_zero_address(self, signature: bytes, fill: Fill) -> None:
        """To which a malformed signature recovers."""
        exchange = market()
        order = replace(order_of(exchange, exchange.market), maker=ZERO_ADDRESS)
        with refused(chain_of(exchange), NO):
            fill(exchange, TAKER, order, signature, WAD)

    @pytest.mark.parametrize("name", ["market", "vault", "token", "feed", "trading", "lens"])
    def test_nor_for_a_contract_of_the_market_s_own(self, name: str) -> None:
        """None of them answers the question, the market itself least of all: it is locked."""
        exchange = market()
        address = getattr(exchange.addresses, name)
        exchange.chain.transact(exchange.market, "deposit", 10**4 * WAD, address, sender=STRANGER)
        order = replace(order_of(exchange, exchange.market), maker=address)
        with refused(chain_of(exchange), NO):
            exchange.take(TAKER, order, b"", WAD)


def halves(signature: bytes) -> tuple[int, int, int]:
    """r, s, v."""
    return int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big"), signature[64]


def joined(r: int, s: int, v: int) -> bytes:
    return r.to_bytes(32, "big") + s.to_bytes(32, "big") + bytes([v])


#: What can be done to a good signature, and what becomes of it. A key's is good in both of its forms with 65 bytes, and
#: in the compact one (EIP-2098); orders are filled by digest, so none of them fills anything twice.
MALFORMED: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "v of 0": (lambda s: s[:64] + b"\x00", "ecdsa: invalid signature"),
    "v of 1": (lambda s: s[:64] + b"\x01", "ecdsa: invalid signature"),
    "v of 26": (lambda s: s[:64] + b"\x1a", "ecdsa: invalid signature"),
    "v of 29": (lambda s: s[:64] + b"\x1d", "ecdsa: invalid signature"),
    "v of 255": (lambda s: s[:64] + b"\xff", "ecdsa: invalid signature"),
    "the other v": (lambda s: s[:64] + bytes([55 - s[64]]), NO),
    "r of zero": (lambda s: bytes(32) + s[32:], "ecdsa: invalid signature"),
    "r of the group's order": (
        lambda s: joined(SECP256K1_ORDER, *halves(s)[1:]),
        "ecdsa: invalid signature",
    ),
    "r of all bits": (lambda s: b"\xff" * 32 + s[32:], "ecdsa: invalid signature"),
    "s of zero": (lambda s: s[:32] + bytes(32) + s[64:], "ecdsa: invalid signature"),
    "s of all bits": (lambda s: s[:32] + b"\xff" * 32 + s[64:], "ecdsa: invalid signature `s` value"),
    "s of the group's order": (
        lambda s: joined(halves(s)[0], SECP256K1_ORDER, s[64]),
        "ecdsa: invalid signature `s` value",
    ),
    "the high s": (lambda s: joined(halves(s)[0], SECP256K1_ORDER - halves(s)[1], 55 - s[64]), "done"),
    "the high s, the same v": (
        lambda s: joined(halves(s)[0], SECP256K1_ORDER - halves(s)[1], s[64]),
        "ecdsa: invalid signature `s` value",
    ),
    "all zeros": (lambda s: bytes(65), "ecdsa: invalid signature"),
    "all ones": (lambda s: b"\xff" * 65, "ecdsa: invalid signature `s` value"),
    "the compact form": (lambda s: s[:32] + bytes([s[32] | (s[64] - 27) << 7]) + s[33:64], "done"),
    "64 bytes of it": (lambda s: s[:64], NO),
    "63 bytes of it": (lambda s: s[:63], NO),
    "nothing of it": (lambda s: b"", NO),
    "a byte more": (lambda s: s + b"\x00", ""),
    "itself twice": (lambda s: s + s, ""),
    "a hundred thousand bytes": (lambda s: s + bytes(100_000), ""),
}


def odd_order(exchange: Exchange) -> tuple[Order, bytes]:
    """An order and its signature, of parity 1: with parity 0 its first 64 bytes would be its compact form."""
    while True:
        order = exchange.order(MAKER, True, 4 * WAD, MARK)
        signature = exchange.sign(MAKER, order)
        if signature[64] == 28:
            return order, signature


class TestKeys:
    @EVERY_WAY
    @pytest.mark.parametrize("malformed", MALFORMED)
    def test_a_malformed_signature(self, malformed: str, fill: Fill) -> None:
        change, result = MALFORMED[malformed]
        exchange = market()
        order, good = odd_order(exchange)
        if result == "done":
            fill(exchange, TAKER, order, change(good), WAD)
        else:
            with refused(chain_of(exchange), result):
                fill(exchange, TAKER, order, change(good), WAD)
        fill(exchange, TAKER, order, good, 3 * WAD)
        assert (
            exchange.chain.call(exchange.market, "filled", exchange.digest(order))
            == (4 if result == "done" else 3) * WAD
        )
        everybody_leaves(exchange)
