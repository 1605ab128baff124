# pragma version 0.4.3
"""
@title Oracle
@license AGPL-3.0-only
@notice Reads the index price from a Chainlink aggregator and refuses, by name, every answer a market must not trade on
        (design §8). A refusal stops whatever needs a price; deposits and flat exits do not ask for one.
"""

from ..interfaces import IAggregatorV3
from . import errors

# Prices the numeric bounds were argued for (design §11): 2**30 wei is about 1e-9, 2**80 about 1.2e6 quote per size.
MIN_PRICE: constant(uint256) = 2**30
MAX_PRICE: constant(uint256) = 2**80 - 1

FEED: immutable(IAggregatorV3)
PRICE_SCALE: immutable(uint256)  # 10**(18 - feed decimals)
MAX_STALENESS: immutable(uint256)  # seconds


@deploy
def __init__(feed: address, max_staleness: uint256):
    assert max_staleness > 0, errors.PARAMETERS_STALENESS
    FEED = IAggregatorV3(feed)
    PRICE_SCALE = 10 ** (18 - convert(staticcall IAggregatorV3(feed).decimals(), uint256))
    MAX_STALENESS = max_staleness


@internal
@view
def _read() -> uint256:
    """
    @notice The index price.
    @return Quote per size, 18 digits, in MIN_PRICE..MAX_PRICE.
    """
    round_id: uint80 = 0
    answer: int256 = 0
    started_at: uint256 = 0
    updated_at: uint256 = 0
    answered_in: uint80 = 0
    round_id, answer, started_at, updated_at, answered_in = staticcall FEED.latestRoundData()

    assert answer > 0, errors.ORACLE_NON_POSITIVE
    assert updated_at != 0 and answered_in >= round_id, errors.ORACLE_INCOMPLETE
    assert updated_at <= block.timestamp, errors.ORACLE_FUTURE
    assert block.timestamp - updated_at <= MAX_STALENESS, errors.ORACLE_STALE
    # Bounded before it is scaled, so that an absurd answer is refused by name and not by an overflow.
    assert answer <= convert(MAX_PRICE, int256), errors.ORACLE_RANGE
    price: uint256 = convert(answer, uint256) * PRICE_SCALE
    assert price >= MIN_PRICE and price <= MAX_PRICE, errors.ORACLE_RANGE
    return price
