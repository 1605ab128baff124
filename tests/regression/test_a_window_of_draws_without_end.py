"""Found by the overflow argument (SPECIFICATION.md, Numeric bounds): `draw_window` may be any but zero, and was added
to the time at which a window began. Whoever wanted one window for ever and said 2**256 - 1 had a market in which every
settlement with a deficit reverted after the first draw, without a reason.
"""

import pytest

from prorata.exchange import Exchange
from prorata.parameters import MarketParameters, VaultParameters
from prorata.revm_chain import RevmChain
from prorata.units import WAD

LOSER, SHORT, INSURER, HEDGER = range(1, 5)


@pytest.mark.parametrize("window", [2**256 - 1, 2**255, 2**40])
def test_has_a_second_draw(window: int) -> None:
    exchange = Exchange.deploy(
        RevmChain(), 1000 * WAD, MarketParameters(fee_rate=0), VaultParameters(draw_window=window)
    )
    for trader in (LOSER, SHORT, INSURER, HEDGER):
        exchange.fund(trader)
    exchange.approve(INSURER, exchange.vault)
    exchange.insure(INSURER, 1000 * WAD)
    for trader in (SHORT, HEDGER):
        exchange.deposit(trader, 10**5 * WAD)
    exchange.trade(HEDGER, SHORT, True, WAD, 1000 * WAD)
    drawn = []
    for price in (800 * WAD, 600 * WAD, 400 * WAD, 200 * WAD):
        exchange.chain.advance(10**6)
        exchange.set_price(exchange.mark)
        exchange.deposit(LOSER, 100 * WAD)
        exchange.trade(LOSER, SHORT, True, WAD, exchange.mark)
        exchange.set_price(price)
        exchange.settle()
        assert exchange.mark == price
        drawn.append(exchange.vault_window)
    starts, assets, sums = zip(*drawn, strict=True)
    assert len(set(starts)) == 1 and set(assets) == {1000 * WAD}
    assert [round(one / WAD) for one in sums] == [100, 200, 300, 400]
