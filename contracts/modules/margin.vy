# pragma version 0.4.3
"""
@title Margin
@license AGPL-3.0-only
@notice What a position must hold after a fill or a withdrawal (design §5). Requirements are rounded up.
"""

from . import errors
from . import fixed_point


@internal
@pure
def _notional(shares: uint256, scale: uint256, mark: uint256) -> uint256:
    """
    @notice Value of a position at the mark, quote, rounded up.
    """
    return fixed_point._quote_up(shares * scale * mark)


@internal
@pure
def _requirement(notional: uint256, ratio: uint256) -> uint256:
    """
    @notice Quote that `ratio` (18 digits) of `notional` demands, rounded up.
    """
    return fixed_point._ceil_div(notional * ratio, fixed_point.WAD)


@internal
@pure
def _require_initial(collateral: uint256, notional: uint256, initial_margin: uint256):
    """
    @notice For whoever added risk.
    """
    errors._require(collateral >= self._requirement(notional, initial_margin), errors.MARGIN_INITIAL)


@internal
@pure
def _require_health(collateral: uint256, shares: uint256, collateral_before: uint256, shares_before: uint256):
    """
    @notice For whoever reduced: equity over notional is no lower than before, fees and fill price included.
    @dev Same side, same mark, same scale, so notional is proportional to shares; cross-multiplied to stay exact.
         Collateral < 2**121 (all tokens the market and its vault can hold) and shares < 2**112.
    """
    errors._require(collateral * shares_before >= collateral_before * shares, errors.MARGIN_HEALTH)
