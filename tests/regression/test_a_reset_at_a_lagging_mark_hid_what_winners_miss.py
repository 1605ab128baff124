"""Found by an attack on the scale: what winners miss by a reset was stated of the closed accounts only.

When a deleverage takes the winners' scale below its least, both sides close at the mark. If the mark is still on its
way to the index, losers who were not bankrupt are spared the rest of the way and winners miss it, of all their size.
The receipt stated the part of the accounts that the move itself had closed, so most of it was hidden; and whoever had
worn the scale down before could be the loser who was spared.
"""

import pytest

from prorata.parameters import MarketParameters
from prorata.revm_chain import RevmChain
from prorata.twin import Twin
from prorata.units import LONG, SHORT, WAD

MARK = 1000 * WAD
RECKLESS, SPARED, WINNER = 1, 2, 3


@pytest.mark.parametrize("is_long", [True, False])
def test_it_is_stated_whole(is_long: bool) -> None:
    twin = Twin(RevmChain(), MARK, 3, MarketParameters(max_price_step=WAD // 10, fee_rate=0))
    twin.deposit(WINNER, 10**9 * WAD)
    twin.deposit(RECKLESS, 10**5 * 60 * WAD)
    twin.deposit(SPARED, 5_000 * WAD)
    twin.trade(RECKLESS, WINNER, is_long, 10**5 * WAD, MARK)
    twin.trade(SPARED, WINNER, is_long, WAD, MARK)
    price = MARK * (7 if is_long else 13) // 10
    twin.set_price(price)
    twin.settle()

    (receipt,) = twin.receipts
    assert twin.exchange.epoch == 1 and receipt.closed_size == 10**5 * WAD
    assert twin.exchange.account(SPARED).shares == 0 and twin.exchange.account(SPARED).equity > 4_800 * WAD
    way = abs(price - receipt.mark_after)
    assert way == 200 * WAD
    assert receipt.bonus + receipt.adl_shortfall == way * (10**5 + 1)
    assert twin.exchange.side(SHORT if is_long else LONG).scale == WAD
