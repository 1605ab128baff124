# pragma version 0.4.3
"""
@title Modes
@license AGPL-3.0-only
@notice What is open and what is shut (design §8).

        | mode        | because                                         | shut                                             |
        |-------------|-------------------------------------------------|--------------------------------------------------|
        | active      |                                                 |                                                  |
        | catch-up    | the mark lags the index                         | fills, withdrawals with a position, vault flows   |
        | reduce-only | the guardian says so, or winners were socialized | whatever adds risk, but for taking over positions |
        | closed      | the oracle was dead for the grace period        | fills; soon everybody is flat                     |

        Reduce-only by a trip ends by itself; the guardian can do nothing but begin and end his own.
"""

from ..interfaces import IPerpetualMarket

# Conditions of the market, bits of one field of the core.
LAGGING: constant(uint256) = 1  # the mark has not reached the last accepted index
SUSPECT: constant(uint256) = 2  # the oracle was reported dead and nobody has settled since
GUARDED: constant(uint256) = 4  # reduce-only by the guardian
CLOSED: constant(uint256) = 8

# Winners who miss this part of their gain trip the market: a basis point.
TRIP: constant(uint256) = 10**4

# What `wind_down` must have left before it asks the oracle: a price feed takes a tenth of it.
READ_GAS: constant(uint256) = 10**6


event ReduceOnly:
    on: bool


event OracleReported:
    pass


event Closed:
    price: uint256


# Since when the oracle is reported dead; meaningful while SUSPECT.
_reported_at: uint256


@internal
@view
def _is_reduce_only(core: IPerpetualMarket.Core) -> bool:
    return core.conditions & GUARDED != 0 or block.timestamp < core.reduce_only_until
