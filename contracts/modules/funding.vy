# pragma version 0.4.3
"""
@title Funding
@license AGPL-3.0-only
@notice What keeps the mark and the trades near each other (design §9): buyers who pay more than the mark make longs pay
        shorts, and the other way round.

        Derivation. A fill of `size` at `price` leaves a premium of

            size * (price - mark)      quote, at most the fees that its two parties paid

        behind. The sum of all premiums, Pi, decays: after t seconds retention**t of it is left. What decays is paid:

            longs pay shorts  (Pi before - Pi after) / open interest     per unit of size

        So a fill counts only for the time it stood (in no time nothing decays) and by its notional against open interest
        (a dust fill moves dust). It does not matter how often one settles: the payments of an interval add up to the
        same. And no fill ever moves more in funding than its own fees, whatever open interest does meanwhile, so nobody
        gains by trading with himself for the sake of it.

        Pi is at most max_funding of the value of the open interest, after every move and every fill; a move takes at most
        max_funding * mark per size.
"""

from ..interfaces import IPerpetualMarket
from . import fixed_point
from . import packing
from . import sides


@internal
@pure
def _payer(amount: int256) -> uint256:
    """
    @notice Who pays a positive amount: longs; a negative one: shorts.
    """
    return sides.LONG if amount > 0 else sides.SHORT


@internal
@pure
def _clamp(amount: int256, limit: uint256) -> int256:
    most: int256 = convert(limit, int256)
    return max(min(amount, most), -most)


@internal
@pure
def _premium(size: uint256, price: uint256, mark: uint256, fees: uint256) -> int256:
    """
    @notice What a fill leaves behind, quote, towards zero.
    @param fees Quote that its two parties really paid.
    """
    over_mark: int256 = convert(price, int256) - convert(mark, int256)
    return self._clamp(over_mark * convert(size, int256) // convert(fixed_point.WAD, int256), fees)


@internal
@pure
def _bounded(state: sides.State, max_funding: uint256) -> int256:
    """
    @notice The premium as far as the open interest of the payers carries it; whatever moved the mark or the open interest
            calls this before it stores.
    """
    if state.core.premium == 0:
        return 0
    payer: packing.Side = state.sides[self._payer(state.core.premium)]
    value: uint256 = sides._open_interest(payer) * state.core.mark // fixed_point.WAD
    return self._clamp(state.core.premium, value * max_funding // fixed_point.WAD)


@internal
@view
def _accrue(state: sides.State, rest: int256, retention: uint256, max_funding: uint256) -> (IPerpetualMarket.Core, int256):
    """
    @notice Lets the premium decay up to this second.
    @param rest Of an earlier funding move that was stopped, quote per share, 36 digits; positive: longs owe it.
    @param retention What a second leaves of the premium, 18 digits.
    @return The core after, and what is due per share of the payers, 36 digits, rounded towards zero.
    """
    core: IPerpetualMarket.Core = state.core
    due: int256 = rest
    if core.premium != 0:
        left: uint256 = fixed_point._power(retention * fixed_point.WAD, block.timestamp - core.accrued_at)
        unit: int256 = convert(fixed_point.INDEX_UNIT, int256)
        core.premium = core.premium * convert(left, int256) // unit
        shares: uint256 = state.sides[self._payer(state.core.premium)].shares
        due += (state.core.premium - core.premium) * unit // convert(shares, int256)
        core.accrued_at = block.timestamp
    payer: packing.Side = state.sides[self._payer(due)]
    if payer.shares == 0:
        return core, 0
    return core, self._clamp(due, max_funding * payer.scale * core.mark // fixed_point.WAD)
