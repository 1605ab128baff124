# pragma version 0.4.3
"""
@title Index
@license AGPL-3.0-only
@notice The price that the mark follows, and whether there is anything to settle. A call reads it once.
"""

from ..interfaces import IPerpetualMarket
from . import breaker
from . import modes
from . import oracle

uses: breaker
uses: oracle


@internal
@view
def _price(core: IPerpetualMarket.Core) -> uint256:
    """
    @notice Where the mark is going: the oracle's price, or the last one of a closed market. Quote per size, never 0.
    """
    if core.conditions & modes.CLOSED != 0:
        return breaker._lag.index_price
    return oracle._read()


@internal
@view
def _pending(core: IPerpetualMarket.Core) -> uint256:
    """
    @notice The index price if there is anything to settle, otherwise 0: the mark is there, no funding can be due, and no
            condition waits for a settlement to end it.
    """
    price: uint256 = self._price(core)
    if price == core.mark and core.premium == 0 and core.conditions & ~modes.GUARDED == 0:
        return 0
    return price
