"""The design's arithmetic in exact integers, roundings included (design §2 to §9, §11).

Written once more, from the design, so that the contracts' own arithmetic can be held against it. Prices, sizes, shares,
ratios and quote have 18 digits, index values 36, exact quote 54; times are seconds.
"""

from __future__ import annotations

from dataclasses import dataclass

from prorata.parameters import MarketParameters
from prorata.units import INDEX_UNIT, LONG, SHORT, WAD

#: Exact quote (54 digits) per quote (18 digits).
EXACT = INDEX_UNIT
#: Beyond this index an epoch ends.
MAX_INDEX = 2**156
#: Sizes that differ in value by less than this part of the smallest position are the same.
DUST_PART = 10**6
MAX_OPEN_INTEREST = 2**96
#: The part of their gain that winners must miss to make the market reduce-only.
TRIP = 10**4


def ceil_div(x: int, y: int) -> int:
    """x / y, upwards."""
    return -(-x // y)


def truncated(x: int, y: int) -> int:
    """x / y for y > 0, towards zero: only what nobody is paid for is rounded so (funding)."""
    return x // y if x >= 0 else -(-x // y)


def clamp(amount: int, most: int) -> int:
    """The amount, at most `most` either way."""
    return max(min(amount, most), -most)


def requirement(notional: int, ratio: int) -> int:
    """Quote that a ratio of notional demands, rounded up."""
    return ceil_div(notional * ratio, WAD)


def size_of(shares: int, scale: int) -> int:
    """Shares as a size, rounded down."""
    return shares * scale // WAD


def notional(shares: int, scale: int, mark: int) -> int:
    """Value of a position, quote, rounded up."""
    return ceil_div(shares * scale * mark, INDEX_UNIT)


def power(ratio: int, n: int) -> int:
    """An 18-digit ratio of at most 1 to the power of n, 36 digits, every product rounded down (design §9)."""
    result, square = INDEX_UNIT, ratio * WAD
    while n:
        if n & 1:
            result = result * square // INDEX_UNIT
        square = square * square // INDEX_UNIT
        n >>= 1
    return result


# ------------------------------------------------------------------------------------------------------------- buckets


def level_at(width: int, scale: int, mark: int) -> int:
    """floor(log2(w * A * mark)): the level for whoever adds risk now (design §4)."""
    return (width * scale * mark // WAD).bit_length() - 1


def upper_edge(level: int, bucket: int) -> int:
    """Of a bucket, index units."""
    return (bucket + 1) << level


@dataclass(frozen=True)
class Filing:
    """Where an account is filed; debt is quote at the bucket's lower edge."""

    level: int
    bucket: int
    debt: int


def locate(level: int, shares: int, collateral: int, index: int, ceiling: int | None = None) -> Filing:
    """The bucket an account runs out in, and its debt there, rounded up (design §4).

    Args:
        ceiling: the highest bucket allowed; None: any.
    """
    bucket = (index - ceil_div(collateral * INDEX_UNIT, shares)) >> level
    if ceiling is not None:
        bucket = min(bucket, ceiling)
    return filed(level, bucket, shares, collateral, index)


def filed(level: int, bucket: int, shares: int, collateral: int, index: int) -> Filing:
    """The filing of an account in a given bucket."""
    above_edge = index - (bucket << level)
    return Filing(level, bucket, ceil_div(shares * above_edge, INDEX_UNIT) - collateral)


# --------------------------------------------------------------------------------------------------------------- moves


def threshold(index: int, scale: int, mark: int, closeout_margin: int) -> int:
    """T: buckets that reach above it are closed; the close-out margin is rounded down (design §3)."""
    return index - closeout_margin * scale * mark // WAD


def reach(index: int, scale: int, mark: int, closeout_margin: int, edge: int, direction: int) -> int:
    """The largest distance of a price move that leaves T at or above an edge, 18 digits (design §3.1).

    Args:
        direction: of the mark, 1 or -1.
    """
    room = (index - edge) * WAD - closeout_margin * scale * mark
    return max(room // (scale * (WAD + direction * closeout_margin)), 0)


def step_end(mark: int, index_price: int, step_target: int, max_price_step: int) -> int:
    """Where a price step ends: at the index, or a step away, or where an open step was going (design §3.1, §8).

    Args:
        step_target: of the step that is open; 0: none.
    """
    most = mark * max_price_step // WAD
    if index_price < mark:
        target = max(index_price, mark - most)
        return max(target, step_target) if 0 < step_target < mark else target
    target = min(index_price, mark + most)
    return min(target, step_target) if step_target > mark else target


def payer(amount: int) -> int:
    """Who pays a positive amount of funding: longs; a negative one: shorts."""
    return LONG if amount > 0 else SHORT


# -------------------------------------------------------------------------------------------------------------- margin


def initial_ratio(p: MarketParameters, interest: int, mark: int, insured: int) -> int:
    """Initial margin of new risk: with open interest over insurance, at most 1 (design §9)."""
    if not p.margin_slope and not p.oi_multiple:
        return p.initial_margin
    exposure = interest * mark // WAD
    return min(p.initial_margin + exposure * p.margin_slope // (insured + 1), WAD)


def traded(
    side: int, shares: int, is_long: bool, size: int, scales: tuple[int, int], mark: int, min_notional: int
) -> tuple[int, int]:
    """Side and shares of a position after buying (long) or selling a size; shares are rounded down both ways."""
    towards = LONG if is_long else SHORT
    if not shares or side == towards:
        return towards, shares + size * WAD // scales[towards]
    held = size_of(shares, scales[side])
    dust = min_notional * WAD // (DUST_PART * mark)
    if size + dust < held:
        return side, shares - size * WAD // scales[side]
    if size <= held + dust:
        return side, 0
    return towards, (size - held) * WAD // scales[towards]
