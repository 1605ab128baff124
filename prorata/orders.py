"""Signed orders: the EIP-712 message a maker signs (design §5)."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Any

from eth_account import Account
from eth_account.messages import SignableMessage, encode_typed_data

from prorata.units import ZERO_ADDRESS

_TYPES = {
    "Order": [
        {"name": "maker", "type": "address"},
        {"name": "is_long", "type": "bool"},
        {"name": "size", "type": "uint256"},
        {"name": "limit_price", "type": "uint256"},
        {"name": "expiry", "type": "uint256"},
        {"name": "salt", "type": "uint256"},
        {"name": "nonce", "type": "uint256"},
        {"name": "reduce_only", "type": "bool"},
        {"name": "taker", "type": "address"},
    ]
}


@dataclass(frozen=True)
class Order:
    """An offer to trade, as `IOrderBook.Order`.

    Attributes:
        maker: checksummed address.
        is_long: what the maker becomes.
        size: 18 digits.
        limit_price: the price every fill is made at, quote per size, 18 digits.
        expiry: last second in which it may be filled.
        salt: any number; makes equal orders different.
        nonce: valid while not below the maker's minimum nonce.
        reduce_only: a fill may only shrink the maker's position.
        taker: who may fill it; the zero address for anyone.
    """

    maker: str
    is_long: bool
    size: int
    limit_price: int
    expiry: int
    salt: int = 0
    nonce: int = 0
    reduce_only: bool = False
    taker: str = ZERO_ADDRESS

    def as_tuple(self) -> tuple[Any, ...]:
        """The struct as the market takes it."""
        return astuple(self)

    def message(self, market: str, chain_id: int) -> SignableMessage:
        """The EIP-712 message for one market on one chain."""
        domain = {"name": "prorata", "version": "1", "chainId": chain_id, "verifyingContract": market}
        fields = {entry["name"]: getattr(self, entry["name"]) for entry in _TYPES["Order"]}
        return encode_typed_data(domain_data=domain, message_types=_TYPES, message_data=fields)

    def sign(self, key: str, market: str, chain_id: int) -> bytes:
        """The maker's 65-byte signature (r, s, v).

        Args:
            key: private key, 0x-hex.
            market: checksummed address of the market.
            chain_id: EIP-155.
        """
        return bytes(Account.sign_message(self.message(market, chain_id), key).signature)
