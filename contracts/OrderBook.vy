# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize gas
"""
@title Order book
@license AGPL-3.0-only
@notice Signed orders of one market, and the only way to trade on it: verifies what the maker signed and hands the trade
        over. A contract of its own, so that a maker's ERC-1271 code runs before the market is entered and the market
        knows nothing of signatures. Holds no funds; every function is documented in `interfaces/IOrderBook.vyi`.
"""

from .interfaces import IOrderBook
from .interfaces import IPerpetualMarket
from .modules import orders

implements: IOrderBook

initializes: orders

exports: (
    orders.eip712_domain_separator.eip712Domain,
    orders.min_nonce,
)

market: public(immutable(address))


@deploy
def __init__(market_: address):
    """
    @param market_ The address the market is going to have; it checks that it is the one.
    """
    market = market_
    orders.__init__()


@external
@nonreentrant
def fill(order: IOrderBook.Order, signature: Bytes[65], size: uint256):
    extcall IPerpetualMarket(market).trade(msg.sender, [self._take(order, signature, size)])


@external
@nonreentrant
def fill_batch(fills: DynArray[IOrderBook.Fill, 16]):
    trades: DynArray[IPerpetualMarket.Trade, 16] = []
    for one: IOrderBook.Fill in fills:
        trades.append(self._take(one.order, one.signature, one.size))
    extcall IPerpetualMarket(market).trade(msg.sender, trades)


@internal
def _take(order: IOrderBook.Order, signature: Bytes[65], size: uint256) -> IPerpetualMarket.Trade:
    return IPerpetualMarket.Trade(
        maker=order.maker,
        is_long=order.is_long,
        size=size,
        price=order.limit_price,
        reduce_only=order.reduce_only,
        order_hash=orders._take(order, signature, size, msg.sender),
    )


@external
@nonreentrant
def cancel(order: IOrderBook.Order):
    orders._cancel(order, msg.sender)


@external
@nonreentrant
def cancel_all(min_nonce: uint256):
    orders._cancel_all(min_nonce, msg.sender)


@external
@view
@nonreentrant
def filled(order_hash: bytes32) -> uint256:
    return orders._filled[order_hash]


@external
@view
def hash_order(order: IOrderBook.Order) -> bytes32:
    return orders._hash(order)
