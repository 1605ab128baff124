# pragma version 0.4.3
"""
@title Orders
@license AGPL-3.0-only
@notice Signed orders (design §5): EIP-712 digest, signature of an account or of an ERC-1271 contract, partial fills by
        digest, cancellation of one or of all below a nonce. Says whether an order may be filled, knows nothing of money.
"""

from snekmate.utils import eip712_domain_separator
from snekmate.utils import signature_checker

from ..interfaces import IOrderBook
from . import errors

initializes: eip712_domain_separator

ORDER_TYPEHASH: constant(bytes32) = keccak256(
    "Order(address maker,bool is_long,uint256 size,uint256 limit_price,uint256 expiry,uint256 salt,uint256 nonce,bool reduce_only,address taker)"
)
# In place of the filled size of an order that was cancelled.
CANCELLED: constant(uint256) = max_value(uint256)


event OrderCancelled:
    order_hash: indexed(bytes32)
    maker: indexed(address)


event NonceRaised:
    maker: indexed(address)
    min_nonce: uint256


_filled: HashMap[bytes32, uint256]
min_nonce: public(HashMap[address, uint256])


@deploy
def __init__():
    eip712_domain_separator.__init__("prorata", "1")


@internal
@view
def _hash(order: IOrderBook.Order) -> bytes32:
    return eip712_domain_separator._hash_typed_data_v4(keccak256(abi_encode(ORDER_TYPEHASH, order)))


@internal
def _take(order: IOrderBook.Order, signature: Bytes[65], size: uint256, taker: address) -> bytes32:
    """
    @notice Checks everything about an order that needs no price, and counts `size` of it as filled.
    @return The order's digest.
    """
    errors._require(size > 0, errors.ORDER_ZERO_SIZE)
    errors._require(order.maker != taker, errors.ORDER_SELF_FILL)
    errors._require(order.taker == empty(address) or order.taker == taker, errors.ORDER_TAKER)
    errors._require(block.timestamp <= order.expiry, errors.ORDER_EXPIRED)
    errors._require(order.nonce >= self.min_nonce[order.maker], errors.ORDER_NONCE)

    order_hash: bytes32 = self._hash(order)
    filled: uint256 = self._filled[order_hash]
    errors._require(filled != CANCELLED, errors.ORDER_CANCELLED)
    # A CANCELLED total could only be reached through an order of that size; size is bounded long before by the market.
    errors._require(filled <= order.size and size <= order.size - filled, errors.ORDER_OVERFILLED)
    # A signature of a wrong length recovers to the zero address, which must not pass for a signature of it.
    signed: bool = signature_checker._is_valid_signature_now(order.maker, order_hash, signature)
    errors._require(signed and order.maker != empty(address), errors.ORDER_SIGNATURE)
    self._filled[order_hash] = filled + size
    return order_hash


@internal
def _cancel(order: IOrderBook.Order, caller: address):
    errors._require(order.maker == caller, errors.ORDER_NOT_MAKER)
    order_hash: bytes32 = self._hash(order)
    self._filled[order_hash] = CANCELLED
    log OrderCancelled(order_hash=order_hash, maker=caller)


@internal
def _cancel_all(min_nonce: uint256, caller: address):
    errors._require(min_nonce > self.min_nonce[caller], errors.ORDER_NONCE)
    self.min_nonce[caller] = min_nonce
    log NonceRaised(maker=caller, min_nonce=min_nonce)
