"""Found by the stateful campaign: after a deleverage the last two positions of a market could not close each other.

A scale is rounded down at 18 digits, so the winners' sizes add up to a little less than the losers': by a wei of size
for every share of 1e18, 4e10 wei where a unit costs a millionth of a dollar. What counted as the same size was a fixed
1e6 wei, so whoever had more was left with a remainder, and a remainder under the smallest position was refused.
"""

from prorata.revm_chain import RevmChain
from prorata.twin import Twin
from prorata.units import LONG, SHORT, WAD

MARK = 10**12
RECKLESS, LONGER, SHORTER = 1, 2, 3


def test_they_close_each_other() -> None:
    twin = Twin(RevmChain(), MARK, traders=3)
    for trader, collateral in ((RECKLESS, 5_000), (LONGER, 100_000), (SHORTER, 100_000)):
        twin.deposit(trader, collateral * WAD)
    twin.trade(RECKLESS, SHORTER, True, 5 * 10**10 * WAD + 7, MARK)
    twin.trade(LONGER, SHORTER, True, 12_345_678_912 * WAD + 1, MARK)
    twin.set_price(MARK * 88 // 100)
    twin.settle()
    assert twin.exchange.account(RECKLESS).shares == 0
    longs, shorts = (twin.exchange.side(side).open_interest for side in (LONG, SHORT))
    assert 10**6 < abs(longs - shorts) < 10**12

    twin.trade(LONGER, SHORTER, False, longs, twin.exchange.mark)
    assert [twin.exchange.account(trader).shares for trader in twin.traders] == [0, 0, 0]
    assert [twin.exchange.side(side).shares for side in (LONG, SHORT)] == [0, 0]
    assert twin.check().dust < 20
