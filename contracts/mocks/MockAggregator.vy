# pragma version 0.4.3
# pragma evm-version cancun
"""
@title Mock Chainlink aggregator
@license AGPL-3.0-only
@notice A price feed that anyone may set, faults included: for tests and local chains.
"""

from ..interfaces import IAggregatorV3

implements: IAggregatorV3

decimals: public(immutable(uint8))
_round_id: uint80
_answer: int256
_updated_at: uint256
_answered_in: uint80


@deploy
def __init__(decimals_: uint8, answer: int256):
    decimals = decimals_
    self._set(1, answer, block.timestamp, 1)


@external
def set_answer(answer: int256):
    """
    @notice A new complete round at this second.
    @param answer In the feed's decimals.
    """
    round_id: uint80 = self._round_id + 1
    self._set(round_id, answer, block.timestamp, round_id)


@external
def set_round(round_id: uint80, answer: int256, updated_at: uint256, answered_in: uint80):
    """
    @notice Any round, plausible or not.
    """
    self._set(round_id, answer, updated_at, answered_in)


@internal
def _set(round_id: uint80, answer: int256, updated_at: uint256, answered_in: uint80):
    self._round_id = round_id
    self._answer = answer
    self._updated_at = updated_at
    self._answered_in = answered_in


@external
@view
def latestRoundData() -> (uint80, int256, uint256, uint256, uint80):
    return self._round_id, self._answer, self._updated_at, self._updated_at, self._answered_in
