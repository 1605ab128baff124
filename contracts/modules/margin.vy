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
    return fixed_point._ceil_div(shares * scale * mark, fixed_point.INDEX_UNIT)


@internal
@pure
def _requirement(notional: uint256, ratio: uint256) -> uint256:
    """
    @notice Quote that `ratio` (18 digits) of `notional` demands, rounded up.
    """
    return fixed_point._ceil_div(notional * ratio, fixed_point.WAD)


@internal
@pure
def _initial(initial_margin: uint256, slope: uint256, exposure: uint256, insured: uint256) -> uint256:
    """
    @notice Initial margin for new risk (design §9): it grows by `slope` with open interest over insurance, to 100 % at most.
            A ratio of 18 digits, rounded down.
    @param exposure Open interest at the mark, quote.
    @param insured What insurance holds, quote; a wei more counts, so that nothing divides by zero.
    """
    return min(initial_margin + exposure * slope // (insured + 1), fixed_point.WAD)


@internal
@pure
def _require_initial(collateral: uint256, notional: uint256, initial_margin: uint256):
    """
    @notice For whoever added risk.
    """
    assert collateral >= self._requirement(notional, initial_margin), errors.MARGIN_INITIAL


@internal
@pure
def _require_health(collateral: uint256, shares: uint256, collateral_before: uint256, shares_before: uint256):
    """
    @notice For whoever reduced: equity over notional is no lower than before, fees and fill price included.
    @dev Same side, same mark, same scale, so notional is proportional to shares; cross-multiplied to stay exact.
         Collateral < 2**121 (all tokens the market and its vault can hold) and shares < 2**112.
    """
    assert collateral * shares_before >= collateral_before * shares, errors.MARGIN_HEALTH


@internal
@pure
def _is_below(
    collateral: uint256, is_long: bool, size: uint256, mark: uint256, price: uint256, ratio: uint256
) -> bool:
    """
    @notice Whether a position would hold less than `ratio` of its notional at `price`; `collateral` is as of the mark.
    """
    moved: int256 = (convert(price, int256) - convert(mark, int256)) * convert(size, int256)
    gain: int256 = fixed_point._floor_div(moved if is_long else -moved, convert(fixed_point.WAD, int256))
    required: uint256 = self._requirement(fixed_point._ceil_div(size * price, fixed_point.WAD), ratio)
    return convert(collateral, int256) + gain < convert(required, int256)


@internal
@pure
def _liquidable(
    collateral: uint256,
    size: uint256,
    mark: uint256,
    initial_margin: uint256,
    liquidation_fee: uint256,
    min_notional: uint256,
) -> uint256:
    """
    @notice The most that may be taken over of a position below maintenance (design §6): what brings the account back to
            initial margin after the fee, s of  collateral - fee * s * mark = initial * (size - s) * mark,  rounded up,
            but not less than the smallest position, which anyone may open. All of it, if the fee eats up what a smaller
            position frees, or if the rest would be below the minimum.
    """
    notional: uint256 = fixed_point._ceil_div(size * mark, fixed_point.WAD)
    lacking: uint256 = self._requirement(notional, initial_margin) - collateral
    limit: uint256 = fixed_point._ceil_div(
        lacking * fixed_point.WAD * fixed_point.WAD, (initial_margin - liquidation_fee) * mark
    )
    limit = max(limit, fixed_point._ceil_div(min_notional * fixed_point.WAD, mark))
    if limit >= size or (size - limit) * mark < min_notional * fixed_point.WAD:
        return size
    return limit
