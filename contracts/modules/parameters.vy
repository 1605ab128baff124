# pragma version 0.4.3
"""
@title Parameters
@license AGPL-3.0-only
@notice What a deployment fixes for good, and the contradictions it refuses by name (design §8). Ratios have 18 digits.
"""

from ..interfaces import IPerpetualMarket
from . import buckets
from . import errors
from . import fixed_point


@internal
@pure
def _check(p: IPerpetualMarket.Parameters):
    """
    @notice Reverts on a set of parameters under which a guarantee of the design would not hold.
    """
    wad: uint256 = fixed_point.WAD
    # Without a close-out margin the rounding of debts could leave a live account under zero.
    assert p.closeout_margin > 0, errors.PARAMETERS_CLOSEOUT
    # The width bounds the bucket levels (63..133) and what a bucket closes too early.
    assert p.bucket_width >= wad // 10**4 and p.bucket_width <= wad // 100, errors.PARAMETERS_WIDTH
    # An account at maintenance must not stand in a bucket that is about to be closed: its bucket's upper edge is at
    # most one width above its bankruptcy index, and a level may be one doubling wider than the width at the next mark.
    assert p.maintenance_margin >= p.closeout_margin + 2 * p.bucket_width, errors.PARAMETERS_MAINTENANCE
    assert p.initial_margin > p.maintenance_margin, errors.PARAMETERS_INITIAL
    assert p.initial_margin <= wad, errors.PARAMETERS_INITIAL_RANGE
    # Closing a position at maintenance must be affordable.
    assert p.fee_rate <= p.maintenance_margin, errors.PARAMETERS_FEE
    assert p.price_band > 0 and p.price_band <= wad // 2, errors.PARAMETERS_BAND
    # From 1e-3 quote, so that a wei of debt is far less than a bucket's width.
    assert p.min_notional >= 10**15 and p.min_notional < 2**96, errors.PARAMETERS_MINIMUM
    # At 9,000 gas a bucket and 2,500 a word the largest budget stays under 10 M gas.
    assert p.max_buckets > 0 and p.max_buckets <= 512, errors.PARAMETERS_BUDGET
    # A stopped move must leave the edge it stopped at, which may cost one word a level.
    assert p.max_words >= buckets.MAX_LEVELS and p.max_words <= 1024, errors.PARAMETERS_BUDGET
