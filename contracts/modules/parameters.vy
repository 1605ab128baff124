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
    # However many levels are live, the largest budget stays under 10 M gas: a look costs 5,000 and 150 a level, a bucket in
    # a word of its own a look and 10,000 more (tests/gas/test_worst_call.py builds it). A stopped move must leave the edge
    # it stopped at, which may cost one word a level.
    assert p.max_buckets > 0 and p.max_buckets <= 128, errors.PARAMETERS_BUDGET
    assert p.max_words >= buckets.MAX_LEVELS and p.max_words <= 320, errors.PARAMETERS_BUDGET
    # One move may take at most half the mark; at most a day may pass between two.
    assert p.max_price_step > 0 and p.max_price_step <= wad // 2, errors.PARAMETERS_STEP
    assert p.step_interval <= 86_400, errors.PARAMETERS_INTERVAL
    # An account at maintenance can pay it, so liquidating makes whoever is near maintenance healthier.
    assert p.liquidation_fee <= p.maintenance_margin, errors.PARAMETERS_LIQUIDATION
    assert p.liquidator_share <= wad, errors.PARAMETERS_SHARE
    # Something must decay every second, and not all of it: a premium stands for at least some seconds.
    assert p.premium_retention >= wad // 2 and p.premium_retention < wad, errors.PARAMETERS_RETENTION
    # So funding never makes a deficit (S8), and never needs insurance.
    assert p.max_funding <= p.closeout_margin, errors.PARAMETERS_FUNDING
    assert p.margin_slope <= wad, errors.PARAMETERS_SLOPE
    assert p.oi_multiple <= 2**96, errors.PARAMETERS_MULTIPLE
    # Both are added to the time in seconds, which has 40 bits. A market must not be closed over a hiccup.
    assert p.cooloff <= 2**32 and p.oracle_grace >= 3600 and p.oracle_grace <= 2**32, errors.PARAMETERS_TIMES
