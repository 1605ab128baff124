"""Signed orders: the digest is EIP-712's and moves with every field; an order is filled by whom and how far it says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

import pytest
from eth_abi.abi import encode
from eth_account import Account
from eth_utils.crypto import keccak
from hypothesis import given, settings
from hypothesis import strategies as st

from prorata.boa_chain import BoaChain
from prorata.chain import Reverted, Transaction
from prorata.embedded import EmbeddedContract
from prorata.orders import Order
from prorata.units import ZERO_ADDRESS

WAD = 10**18
MAKER, TAKER, OTHER = 1, 2, 3
SIZE = 10 * WAD
CANCELLED = 2**256 - 1
SECP256K1_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141

SOURCE = """
from interfaces import IOrderBook
from modules import orders

initializes: orders

taken: public(bytes32)

@deploy
def __init__():
    orders.__init__()

@external
@view
def hash(order: IOrderBook.Order) -> bytes32:
    return orders._hash(order)

@external
@view
def filled(order_hash: bytes32) -> uint256:
    return orders._filled[order_hash]

@external
def take(order: IOrderBook.Order, signature: Bytes[65], size: uint256, min_nonce: uint256):
    self.taken = orders._take(order, signature, size, msg.sender, min_nonce)

@external
def cancel(order: IOrderBook.Order):
    orders._cancel(order, msg.sender)
"""

#: A contract maker. It approves one digest; `ANSWER` is what it says then.
WALLET = """
MAGIC: constant(bytes4) = 0x1626ba7e
approved: public(bytes32)
expected: public(Bytes[65])

@external
def approve(digest: bytes32, signature: Bytes[65]):
    self.approved = digest
    self.expected = signature

@external
@view
def isValidSignature(digest: bytes32, signature: Bytes[65]) -> RETURNS:
    if digest != self.approved or signature != self.expected:
        return REFUSAL
    return ANSWER
"""


def wallet(answer: str, kind: str = "bytes4") -> str:
    refusal = "0xffffffff" if kind == "bytes4" else f"empty({kind})"
    return WALLET.replace("RETURNS", kind).replace("REFUSAL", refusal).replace("ANSWER", answer)


HONEST_WALLET = wallet("MAGIC")
LYING_WALLETS = {
    "says no": wallet("0xffffffff"),
    "says nearly the magic value": wallet("0x1626ba7f"),
    "says yes in a word that is not only the magic value": wallet(
        "0x1626ba7e00000000000000000000000000000000000000000000000000000001", "bytes32"
    ),
    "says true": wallet("True", "bool"),
    "reverts with the magic value": HONEST_WALLET.replace("return MAGIC", "raw_revert(abi_encode(MAGIC))"),
    "answers nothing": HONEST_WALLET.replace(" -> bytes4", "")
    .replace("return 0xffffffff", "pass")
    .replace("return MAGIC", "pass"),
    "is no wallet": HONEST_WALLET.replace("isValidSignature", "is_valid_signature"),
}

Refuses = Callable[[str], AbstractContextManager[Any]]


@dataclass(frozen=True)
class Desk:
    """The module on a chain."""

    chain: BoaChain
    contract: EmbeddedContract

    def order(self, **terms: Any) -> Order:
        """An order of the maker, open to all for an hour."""
        given = {"maker": self.chain.address(MAKER), "is_long": True, "size": SIZE, "limit_price": 1000 * WAD}
        return Order(**{**given, "expiry": self.chain.now + 3600, **terms})

    def sign(self, order: Order, signer: int = MAKER, chain_id: int | None = None, market: str | None = None) -> bytes:
        return order.sign(self.chain.key(signer), market or self.contract.address, chain_id or self.chain.chain_id)

    def hash(self, order: Order) -> bytes:
        return bytes(self.chain.call(self.contract, "hash", order.as_tuple()))

    def filled(self, order: Order) -> int:
        return int(self.chain.call(self.contract, "filled", self.hash(order)))

    def take(
        self,
        order: Order,
        size: int = SIZE,
        taker: int = TAKER,
        signature: bytes | None = None,
        min_nonce: int = 0,
    ) -> None:
        """Fill an order, signed by its maker unless a signature is given, whose orders under `min_nonce` are void."""
        signature = self.sign(order) if signature is None else signature
        self.chain.transact(self.contract, "take", order.as_tuple(), signature, size, min_nonce, sender=taker)

    def cancel(self, order: Order, sender: int = MAKER) -> Transaction:
        return self.chain.transact(self.contract, "cancel", order.as_tuple(), sender=sender)


@pytest.fixture(scope="module")
def deployed(chain: BoaChain) -> Desk:
    return Desk(chain, chain.deploy_source(SOURCE))


@pytest.fixture
def desk(chain: BoaChain, deployed: Desk) -> Iterator[Desk]:
    with chain.anchor():
        yield deployed


def twin_of(signature: bytes) -> bytes:
    """The other signature of 65 bytes that recovers to the same key: minus s, other parity."""
    s = SECP256K1_ORDER - int.from_bytes(signature[32:64], "big")
    return signature[:32] + s.to_bytes(32, "big") + bytes([27 + 28 - signature[64]])


def eip712_digest(order: Order, market: str, chain_id: int) -> bytes:
    """The digest written out from the standard."""
    domain_type = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
    order_type = (
        "Order(address maker,bool is_long,uint256 size,uint256 limit_price,uint256 expiry,uint256 salt,"
        "uint256 nonce,bool reduce_only,address taker)"
    )
    domain = keccak(
        encode(
            ["bytes32", "bytes32", "bytes32", "uint256", "address"],
            [keccak(text=domain_type), keccak(text="prorata"), keccak(text="1"), chain_id, market],
        )
    )
    kinds = ["bytes32", "address", "bool", *["uint256"] * 5, "bool", "address"]
    return keccak(b"\x19\x01" + domain + keccak(encode(kinds, [keccak(text=order_type), *order.as_tuple()])))


UINTS = st.integers(0, 2**256 - 1)
ADDRESSES = st.binary(min_size=20, max_size=20).map(lambda raw: "0x" + raw.hex())
ORDERS = st.builds(Order, ADDRESSES, st.booleans(), UINTS, UINTS, UINTS, UINTS, UINTS, st.booleans(), ADDRESSES)


class TestDigest:
    @settings(max_examples=60, deadline=None)
    @given(order=ORDERS)
    def test_is_eip_712_s(self, deployed: Desk, order: Order) -> None:
        digest = deployed.hash(order)
        assert digest == eip712_digest(order, deployed.contract.address, deployed.chain.chain_id)
        message = order.message(deployed.contract.address, deployed.chain.chain_id)
        assert digest == keccak(b"\x19" + message.version + message.header + message.body)

    def test_moves_with_every_field(self, deployed: Desk) -> None:
        order = deployed.order()
        changes: dict[str, Any] = {
            "maker": deployed.chain.address(OTHER),
            "is_long": not order.is_long,
            "reduce_only": not order.reduce_only,
            "taker": deployed.chain.address(OTHER),
            **{name: getattr(order, name) + 1 for name in ("size", "limit_price", "expiry", "salt", "nonce")},
        }
        assert set(changes) == set(vars(order))
        digests = {deployed.hash(order), *(deployed.hash(replace(order, **{name: v})) for name, v in changes.items())}
        assert len(digests) == len(changes) + 1

    def test_moves_with_the_market_and_the_chain(self, desk: Desk) -> None:
        order = desk.order()
        other = Desk(desk.chain, desk.chain.deploy_source(SOURCE))
        before = desk.hash(order)
        assert other.hash(order) != before
        desk.chain._env.evm.patch.chain_id = 31337
        assert desk.hash(order) == eip712_digest(order, desk.contract.address, 31337) != before


class TestSignature:
    def test_of_the_maker(self, desk: Desk) -> None:
        order = desk.order()
        desk.take(order)
        assert desk.filled(order) == SIZE
        assert desk.chain.call(desk.contract, "taken") == desk.hash(order)

    def test_of_somebody_else(self, desk: Desk, refuses: Refuses) -> None:
        order = desk.order()
        with refuses("order: invalid signature"):
            desk.take(order, signature=desk.sign(order, signer=OTHER))

    @pytest.mark.parametrize(
        "change",
        [{"size": 2 * SIZE}, {"limit_price": 1}, {"is_long": False}, {"salt": 1}, {"nonce": 1}, {"reduce_only": True}],
    )
    def test_of_another_order(self, desk: Desk, refuses: Refuses, change: dict[str, Any]) -> None:
        order = desk.order()
        with refuses("order: invalid signature"):
            desk.take(replace(order, **change), signature=desk.sign(order))

    def test_for_another_market(self, desk: Desk, refuses: Refuses) -> None:
        other = desk.chain.deploy_source(SOURCE)
        order = desk.order()
        with refuses("order: invalid signature"):
            desk.take(order, signature=desk.sign(order, market=other.address))

    def test_for_another_chain(self, desk: Desk, refuses: Refuses) -> None:
        order = desk.order()
        with refuses("order: invalid signature"):
            desk.take(order, signature=desk.sign(order, chain_id=desk.chain.chain_id + 1))

    def test_after_the_chain_has_split(self, desk: Desk, refuses: Refuses) -> None:
        order = desk.order()
        here, there = desk.sign(order), desk.sign(order, chain_id=31337)
        desk.chain._env.evm.patch.chain_id = 31337
        with refuses("order: invalid signature"):
            desk.take(order, signature=here)
        desk.take(order, signature=there)

    def test_another_form_of_a_signature_fills_the_same_order(self, desk: Desk, refuses: Refuses) -> None:
        # EIP-2098: s with the parity of v in its highest bit. Fills count by digest, so it buys nothing.
        order = desk.order()
        signature = desk.sign(order)
        compact = signature[:32] + bytes([signature[32] | (signature[64] - 27) << 7]) + signature[33:64]
        desk.take(order, signature=compact)
        with refuses("order: over-filled"):
            desk.take(order, size=1, signature=signature)

    @pytest.mark.parametrize("twin_first", [True, False])
    def test_so_does_its_twin_with_the_other_s(self, desk: Desk, refuses: Refuses, twin_first: bool) -> None:
        """Who has one of the two has the other: neither buys what the first has bought."""
        order = desk.order()
        signature = desk.sign(order)
        twin = twin_of(signature)
        assert Account.recover_message(order.message(desk.contract.address, 1), signature=twin) == order.maker
        first, second = (twin, signature) if twin_first else (signature, twin)
        desk.take(order, signature=first)
        assert desk.filled(order) == SIZE
        for again in (first, second):
            with refuses("order: over-filled"):
                desk.take(order, size=1, signature=again)

    @pytest.mark.parametrize("twin_first", [True, False])
    def test_nor_does_the_twin_fill_what_is_cancelled(self, desk: Desk, refuses: Refuses, twin_first: bool) -> None:
        order = desk.order()
        first, second = (twin_of(desk.sign(order)), desk.sign(order))[:: 1 if twin_first else -1]
        desk.take(order, size=1, signature=first)
        desk.cancel(order)
        for signature in (first, second):
            with refuses("order: cancelled"):
                desk.take(order, size=1, signature=signature)

    def test_a_twin_is_of_nobody_else(self, desk: Desk, refuses: Refuses) -> None:
        """Of another signer or another order the second form is refused like the first; by the checker, for its s."""
        order = desk.order()
        for signature in (twin_of(desk.sign(order, signer=OTHER)), twin_of(desk.sign(desk.order(salt=1)))):
            with refuses("ecdsa: invalid signature `s` value"):
                desk.take(order, signature=signature)

    @pytest.mark.parametrize("length", [1, 32, 63, 64])
    def test_cut_short(self, desk: Desk, length: int) -> None:
        """A key's signature has all its bytes, or is in the compact form, which this is not."""
        order = desk.order()
        with pytest.raises(Reverted):
            desk.take(order, signature=desk.sign(order)[:length])
        assert desk.filled(order) == 0

    @pytest.mark.parametrize("v", [0, 1, 26, 29, 255])
    def test_with_an_impossible_v(self, desk: Desk, refuses: Refuses, v: int) -> None:
        order = desk.order()
        with refuses("ecdsa: invalid signature"):
            desk.take(order, signature=desk.sign(order)[:64] + bytes([v]))

    @pytest.mark.parametrize("signature", [b"", b"\x01", bytes(64), bytes(65), b"\xff" * 65])
    def test_garbage(self, desk: Desk, signature: bytes) -> None:
        order = desk.order()
        with pytest.raises(Reverted):
            desk.take(order, signature=signature)
        assert desk.filled(order) == 0

    @pytest.mark.parametrize("signature", [b"", b"\x01" * 63, bytes(64), bytes(65)])
    def test_nobody_signs_for_the_zero_address(self, desk: Desk, signature: bytes) -> None:
        with pytest.raises(Reverted):
            desk.take(desk.order(maker=ZERO_ADDRESS), signature=signature)

    def test_longer_than_65_bytes(self, desk: Desk, refuses: Refuses) -> None:
        order = desk.order()
        with refuses(""):
            desk.take(order, signature=desk.sign(order) + b"\x00")


class TestContractMaker:
    """ERC-1271."""

    @staticmethod
    def approved(desk: Desk, source: str, signature: bytes) -> Order:
        """An order of a contract that has approved it under a signature of its own kind."""
        maker = desk.chain.deploy_source(source)
        order = desk.order(maker=maker.address)
        desk.chain.transact(maker, "approve", desk.hash(order), signature, sender=MAKER)
        return order

    @pytest.mark.parametrize("signature", [b"", b"anything", bytes(65)])
    def test_that_approves(self, desk: Desk, signature: bytes) -> None:
        order = self.approved(desk, HONEST_WALLET, signature)
        desk.take(order, signature=signature)
        assert desk.filled(order) == SIZE

    def test_that_approved_another_order(self, desk: Desk, refuses: Refuses) -> None:
        order = self.approved(desk, HONEST_WALLET, b"s")
        with refuses("order: invalid signature"):
            desk.take(replace(order, salt=1), signature=b"s")

    def test_that_expects_another_signature(self, desk: Desk, refuses: Refuses) -> None:
        order = self.approved(desk, HONEST_WALLET, b"s")
        with refuses("order: invalid signature"):
            desk.take(order, signature=b"t")

    def test_that_changes_its_mind(self, desk: Desk, refuses: Refuses) -> None:
        order = self.approved(desk, HONEST_WALLET, b"s")
        desk.take(order, size=SIZE // 2, signature=b"s")
        maker = desk.chain.deploy_source(HONEST_WALLET)
        contract = EmbeddedContract(order.maker, maker.interface)
        desk.chain.transact(contract, "approve", bytes(32), b"s", sender=MAKER)
        with refuses("order: invalid signature"):
            desk.take(order, size=SIZE // 2, signature=b"s")

    @pytest.mark.parametrize("source", LYING_WALLETS.values(), ids=LYING_WALLETS)
    def test_that_does_not_say_the_magic_value(self, desk: Desk, refuses: Refuses, source: str) -> None:
        order = self.approved(desk, source, b"s")
        with refuses("order: invalid signature"):
            desk.take(order, signature=b"s")

    def test_that_approves_what_is_a_signature_of_another(self, desk: Desk) -> None:
        """65 bytes that recover to some key: not the maker's, so the contract is asked all the same."""
        plain = desk.order()
        signature = desk.sign(plain)
        order = self.approved(desk, HONEST_WALLET, signature)
        desk.take(order, signature=signature)
        assert desk.filled(order) == SIZE

    def test_an_owner_s_signature_is_not_the_contract_s(self, desk: Desk, refuses: Refuses) -> None:
        order = self.approved(desk, HONEST_WALLET, b"s")
        with refuses("order: invalid signature"):
            desk.take(order, signature=desk.sign(order))


class TestTerms:
    def test_zero_size(self, desk: Desk, refuses: Refuses) -> None:
        with refuses("order: zero size"):
            desk.take(desk.order(), size=0)

    def test_nobody_trades_with_himself(self, desk: Desk, refuses: Refuses) -> None:
        with refuses("order: self-fill"):
            desk.take(desk.order(), taker=MAKER)

    def test_a_reserved_order_is_for_its_taker_alone(self, desk: Desk, refuses: Refuses) -> None:
        order = desk.order(taker=desk.chain.address(TAKER))
        with refuses("order: reserved for another"):
            desk.take(order, taker=OTHER)
        desk.take(order, taker=TAKER)

    def test_good_through_its_last_second(self, desk: Desk, refuses: Refuses) -> None:
        order = desk.order(expiry=desk.chain.now + 1)  # the next block
        desk.take(order, size=1)
        with refuses("order: expired"):
            desk.take(order, size=1)

    def test_over_filled(self, desk: Desk, refuses: Refuses) -> None:
        order = desk.order()
        with refuses("order: over-filled"):
            desk.take(order, size=SIZE + 1)
        desk.take(order, size=SIZE)
        with refuses("order: over-filled"):
            desk.take(order, size=1)

    def test_filled_in_parts_by_anyone(self, desk: Desk, refuses: Refuses) -> None:
        order = desk.order()
        desk.take(order, size=SIZE // 2, taker=TAKER)
        desk.take(order, size=SIZE // 2 - 1, taker=OTHER)
        assert desk.filled(order) == SIZE - 1
        with refuses("order: over-filled"):
            desk.take(order, size=2)
        desk.take(order, size=1)
        assert desk.filled(order) == SIZE

    def test_equal_orders_of_different_salt_fill_apart(self, desk: Desk) -> None:
        orders = [desk.order(salt=salt) for salt in (0, 1)]
        for order in orders:
            desk.take(order)
        assert [desk.filled(order) for order in orders] == [SIZE, SIZE]

    def test_a_refused_fill_fills_nothing(self, desk: Desk) -> None:
        order = desk.order()
        with pytest.raises(Reverted):
            desk.take(order, signature=desk.sign(order, signer=OTHER))
        assert desk.filled(order) == 0

    def test_an_order_too_large_to_add_up(self, desk: Desk, refuses: Refuses) -> None:
        order = desk.order(size=2**256 - 1)
        desk.take(order, size=5)
        with refuses("order: over-filled"):
            desk.take(order, size=2**256 - 1)

    @pytest.mark.parametrize("min_nonce", [1, 5, 2**64 - 1])
    def test_not_below_the_maker_s_nonce(self, desk: Desk, refuses: Refuses, min_nonce: int) -> None:
        for nonce in {0, min_nonce - 1}:
            with refuses("order: nonce too low"):
                desk.take(desk.order(nonce=nonce), min_nonce=min_nonce)
        for nonce in (min_nonce, min_nonce + 1, 2**256 - 1):
            desk.take(desk.order(nonce=nonce), min_nonce=min_nonce)


class TestCancel:
    def test_one(self, desk: Desk, refuses: Refuses) -> None:
        order, other = desk.order(), desk.order(salt=1)
        log = desk.cancel(order).logs[0]
        assert (log.name, dict(log.fields)) == (
            "OrderCancelled",
            {"order_hash": desk.hash(order), "maker": desk.chain.address(MAKER)},
        )
        assert desk.filled(order) == CANCELLED
        with refuses("order: cancelled"):
            desk.take(order, size=1)
        desk.take(other)

    def test_what_is_left_of_one(self, desk: Desk, refuses: Refuses) -> None:
        order = desk.order()
        desk.take(order, size=1)
        desk.cancel(order)
        with refuses("order: cancelled"):
            desk.take(order, size=1)

    def test_twice_is_once(self, desk: Desk) -> None:
        order = desk.order()
        desk.cancel(order)
        desk.cancel(order)
        assert desk.filled(order) == CANCELLED

    def test_even_the_largest_order_stays_cancelled(self, desk: Desk, refuses: Refuses) -> None:
        order = desk.order(size=2**256 - 1)
        desk.cancel(order)
        with refuses("order: cancelled"):
            desk.take(order, size=1)

    @pytest.mark.parametrize("sender", [TAKER, OTHER, 0])
    def test_is_the_maker_s_alone(self, desk: Desk, refuses: Refuses, sender: int) -> None:
        order = desk.order(taker=desk.chain.address(TAKER))
        with refuses("order: caller is not the maker"):
            desk.cancel(order, sender=sender)
        desk.take(order)
