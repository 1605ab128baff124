# pragma version 0.4.3
# pragma evm-version cancun
"""
@title Mock Chainlink aggregator
@license AGPL-3.0-only
@notice A price feed that anyone may set, faults included: for tests and local chains. Two slots, as many as
        Chainlink's own aggregators read.
"""

from ..interfaces import IAggregatorV3

implements: IAggregatorV3

decimals: public(immutable(uint8))
_answer: int256
_round: uint256  # answered_in 80 · round_id 80 · updated_at 96


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
    round_id: uint80 = convert((self._round >> 96) & (2**80 - 1), uint80) + 1
    self._set(round_id, answer, block.timestamp, round_id)


@external
def set_round(round_id: uint80, answer: int256, updated_at: uint256, answered_in: uint80):
    """
    @notice Any round, plausible or not.
    """
    self._set(round_id, answer, updated_at, answered_in)


@internal
def _set(round_id: uint80, answer: int256, updated_at: uint256, answered_in: uint80):
    assert updated_at < 2**96
    self._answer = answer
    self._round = convert(answered_in, uint256) << 176 | convert(round_id, uint256) << 96 | updated_at


@external
@view
def latestRoundData() -> (uint80, int256, uint256, uint256, uint80):
    word: uint256 = self._round
    updated_at: uint256 = word & (2**96 - 1)
    round_id: uint80 = convert((word >> 96) & (2**80 - 1), uint80)
    return round_id, self._answer, updated_at, updated_at, convert(word >> 176, uint80)
