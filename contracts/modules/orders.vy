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


_filled: HashMap[bytes32, uint256]


@deploy
def __init__():
    eip712_domain_separator.__init__("prorata", "1")


@internal
@view
def _hash(order: IOrderBook.Order) -> bytes32:
    # Not by `_struct_hash`: an internal call would copy the order once more, in every fill.
    return eip712_domain_separator._hash_typed_data_v4(keccak256(abi_encode(ORDER_TYPEHASH, order)))


@internal
@pure
def _struct_hash(order: IOrderBook.Order) -> bytes32:
    return keccak256(abi_encode(ORDER_TYPEHASH, order))


@internal
def _take(
    order: IOrderBook.Order, signature: Bytes[65], size: uint256, taker: address, min_nonce: uint256
) -> bytes32:
    """
    @notice Checks everything about an order that needs no price, and counts `size` of it as filled.
    @param min_nonce The maker's.
    @return The order's digest.
    """
    assert size > 0, errors.ORDER_ZERO_SIZE
    assert order.maker != taker, errors.ORDER_SELF_FILL
    assert order.taker == empty(address) or order.taker == taker, errors.ORDER_TAKER
    assert block.timestamp <= order.expiry, errors.ORDER_EXPIRED
    assert order.nonce >= min_nonce, errors.ORDER_NONCE

    order_hash: bytes32 = self._hash(order)
    filled: uint256 = self._filled[order_hash]
    assert filled != CANCELLED, errors.ORDER_CANCELLED
    # A CANCELLED total could only be reached through an order of that size; size is bounded long before by the market.
    assert filled <= order.size and size <= order.size - filled, errors.ORDER_OVERFILLED
    assert order.maker != empty(address) and self._is_signed(order.maker, order_hash, signature), errors.ORDER_SIGNATURE
    self._filled[order_hash] = filled + size
    return order_hash


@internal
@view
def _is_signed(maker: address, order_hash: bytes32, signature: Bytes[65]) -> bool:
    """
    @notice Whether the maker's key signed, or else its contract says so.
    @dev The key is asked first, which spares whoever has no code the question for it. A key may sign for its address even
         where it has lent that to some code (EIP-7702). Orders are filled by digest, so another form of the same
         signature fills nothing twice. A maker of zero, to which nonsense recovers, is the caller's business.
    """
    if len(signature) == 65:
        v: uint256 = convert(slice(signature, 64, 1), uint256)
        if ecrecover(order_hash, v, extract32(signature, 0), extract32(signature, 32)) == maker:
            return True
    return signature_checker._is_valid_signature_now(maker, order_hash, signature)


@internal
def _cancel(order: IOrderBook.Order, caller: address):
    assert order.maker == caller, errors.ORDER_NOT_MAKER
    order_hash: bytes32 = self._hash(order)
    self._filled[order_hash] = CANCELLED
    log OrderCancelled(order_hash=order_hash, maker=caller)
