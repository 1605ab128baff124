"""Found by the overflow argument (SPECIFICATION.md, Numeric bounds): `MarketLens.position` reverted, without a reason,
for an account of more than 2**75 times as much collateral as shares. The distance of its bucket's edge, scaled once
more, left the word. No price closes such an account, which is what the lens says now.
"""

import pytest

from prorata.exchange import Exchange
from prorata.parameters import MarketParameters
from prorata.revm_chain import RevmChain
from prorata.units import MAX_PRICE, WAD

LONG_HELD, SHORT_HELD = 1, 2
SMALLEST = 10**15
CLOSEOUT = 6  # of PositionView


@pytest.mark.parametrize("fortune", [2**100, 2**112, 2**119 - 1])
def test_can_be_looked_at(fortune: int) -> None:
    exchange = Exchange.deploy(RevmChain(), MAX_PRICE, MarketParameters(fee_rate=0, min_notional=SMALLEST))
    for trader in (LONG_HELD, SHORT_HELD):
        exchange.chain.transact(exchange.token, "mint", exchange.chain.address(trader), fortune, sender=0)
        exchange.approve(trader, exchange.market)
        exchange.deposit(trader, fortune)
    exchange.trade(LONG_HELD, SHORT_HELD, True, SMALLEST * WAD // MAX_PRICE + 1, MAX_PRICE)
    views = [
        exchange.chain.call(exchange.lens, "position", exchange.market.address, exchange.chain.address(trader))
        for trader in (LONG_HELD, SHORT_HELD)
    ]
    assert views[0][CLOSEOUT] == 0
    assert views[1][CLOSEOUT] > MAX_PRICE
