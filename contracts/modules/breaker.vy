# pragma version 0.4.3
"""
@title Breaker
@license AGPL-3.0-only
@notice How far one settlement may move the mark (design §3.1, §8): towards the index by at most `max_price_step`; after a
        move that this limited, the next may come `step_interval` later. What a quiet time leaves unused is not added up.

        While the mark lags the index the market is in catch-up, and what the next settlement has to know is kept here;
        in a market that keeps up none of it is read.
"""

from ..interfaces import IPerpetualMarket
from . import fixed_point
from . import modes


struct Lag:
    index_price: uint256  # the last one accepted
    step_target: uint256  # where a limited step ends that the budget stopped half-way; 0: none is open
    funding_rest: int256  # what a stopped funding move has left to do, quote per share of the payers, 36 digits


_lag: Lag


@internal
@view
def _load(core: IPerpetualMarket.Core) -> Lag:
    """
    @notice What the last settlement left undone; nothing, if the mark reached the index.
    """
    if core.conditions & modes.LAGGING == 0:
        return empty(Lag)
    return self._lag


@internal
@pure
def _target(mark: uint256, index_price: uint256, step_target: uint256, max_price_step: uint256) -> uint256:
    """
    @notice Where a step towards the index ends.
    @param step_target Of the step that is still open, which goes on and is no new one; 0: none.
    """
    most: uint256 = mark * max_price_step // fixed_point.WAD
    if index_price < mark:
        target: uint256 = max(index_price, mark - most)
        return max(target, step_target) if step_target < mark else target
    target: uint256 = min(index_price, mark + most)
    return min(target, step_target) if step_target > mark else target
