# pragma version 0.4.3
# pragma evm-version cancun
"""
@title Market lens
@license AGPL-3.0-only
@notice What follows from a market's state and need not burden its code: a position in the units a trader reads. Holds
        nothing, may do nothing; one lens serves every market. Pure functions of the market's own modules, so the two
        cannot disagree.
"""

from snekmate.utils import message_hash_utils
from snekmate.utils.interfaces import IERC5267

from .interfaces import IOrderBook
from .interfaces import IPerpetualMarket
from .modules import buckets
from .modules import fixed_point
from .modules import margin
from .modules import modes
from .modules import orders
from .modules import packing
from .modules import settlement
from .modules import sides


# EIP-712, of the fields that a market fills in (its ERC-5267 mask is 0x0f).
DOMAIN_TYPEHASH: constant(bytes32) = keccak256(
    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
)


struct PositionView:
    equity: uint256  # quote, rounded down
    is_long: bool
    size: uint256  # rounded down
    notional: uint256  # at the mark, quote, rounded up
    margin_ratio: uint256  # equity / notional, 18 digits, rounded down; the maximum of uint256 for a flat account
    free_collateral: uint256  # above initial margin, quote, rounded down
    closeout_price: uint256  # the bucket is closed by the first price move beyond it; 0: by none above zero


@external
@view
def hash_order(market: IPerpetualMarket, order: IOrderBook.Order) -> bytes32:
    """
    @notice The EIP-712 digest of an order for a market: what its maker signs, and its name in `filled`.
    """
    fields: bytes1 = empty(bytes1)
    name: String[50] = ""
    version: String[20] = ""
    chain_id: uint256 = 0
    verifier: address = empty(address)
    salt: bytes32 = empty(bytes32)
    extensions: DynArray[uint256, 32] = []
    fields, name, version, chain_id, verifier, salt, extensions = staticcall IERC5267(market.address).eip712Domain()
    domain: bytes32 = keccak256(
        abi_encode(DOMAIN_TYPEHASH, keccak256(name), keccak256(version), chain_id, verifier)
    )
    return message_hash_utils._to_typed_data_hash(domain, orders._struct_hash(order))


@external
@view
def mode(market: IPerpetualMarket) -> uint256:
    """
    @notice 0 active, 1 reduce-only, 2 catch-up, 3 closed (see `modules/modes.vy`); of several the strictest. Catch-up is when
            the last settlement left the mark behind, or the index has moved on since.
    """
    core: IPerpetualMarket.Core = staticcall market.core()
    if core.conditions & modes.CLOSED != 0:
        return 3
    read: bool = False
    price: Bytes[32] = b""
    read, price = raw_call(
        market.address, method_id("index_price()"), max_outsize=32, is_static_call=True, revert_on_failure=False
    )
    if core.conditions & modes.LAGGING != 0 or (read and convert(price, uint256) != core.mark):
        return 2
    return 1 if modes._is_reduce_only(core) else 0


@external
@view
def is_gap_safe(market: IPerpetualMarket) -> bool:
    """
    @notice Whether no path of prices and no absence of keepers can make a deficit (S8): no move is larger than the
            close-out margin. Funding never is, by construction. What remains is rounding: an account that is closed to
            its last wei may miss the wei by which its debt was rounded up when it was filed.
    """
    p: IPerpetualMarket.Parameters = staticcall market.parameters()
    return max(p.max_price_step, p.max_funding) <= p.closeout_margin


@external
@view
def position(market: IPerpetualMarket, owner: address) -> PositionView:
    """
    @notice An account at the present mark. Nothing pending is settled for it.
    """
    held: IPerpetualMarket.AccountView = staticcall market.account(owner)
    seen: PositionView = empty(PositionView)
    seen.equity = held.equity
    seen.free_collateral = held.equity
    seen.margin_ratio = max_value(uint256)
    if held.shares == 0:
        return seen

    mark: uint256 = staticcall market.mark()
    closeout_margin: uint256 = (staticcall market.parameters()).closeout_margin
    initial_margin: uint256 = (staticcall market.parameters()).initial_margin
    view: IPerpetualMarket.SideView = staticcall market.side(held.side)
    side: packing.Side = packing.Side(shares=view.shares, scale=view.scale, index=view.index, top=0)
    seen.is_long = held.side == sides.LONG
    seen.size = held.shares * side.scale // fixed_point.WAD
    seen.notional = margin._notional(held.shares, side.scale, mark)
    seen.margin_ratio = held.equity * fixed_point.WAD // seen.notional
    required: uint256 = margin._requirement(seen.notional, initial_margin)
    seen.free_collateral = held.equity - min(held.equity, required)

    # Whoever stands lower than any index can fall is closed by no price.
    edge: int256 = max(buckets._upper_edge(held.level, held.bucket), sides.NO_TOP)
    if seen.is_long:
        distance: uint256 = settlement._reach(side, edge, closeout_margin, mark, settlement.PRICE_FALLS)
        seen.closeout_price = mark - min(mark, distance)
    else:
        seen.closeout_price = mark + settlement._reach(side, edge, closeout_margin, mark, settlement.PRICE_RISES)
    return seen
