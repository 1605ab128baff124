"""Found by the stateful campaign: a price that has fallen from 60,000 to 1e-9 leaves positions worth next to nothing,
in buckets narrower than the wei by which an account may differ from the model. The twin took the next bucket for a
violation.

A difference within the published bound explains such a filing, and the model then follows it; any other is still one.
"""

from dataclasses import replace

import pytest

from prorata.revm_chain import RevmChain
from prorata.twin import Twin, Violation
from prorata.units import MIN_PRICE, WAD, from_wad
from tests.moves import travel

MARK = 1000 * WAD
TRADER, OTHER = 1, 2
#: As a few deleverages round a position.
SOME_WEI = from_wad(5000)


def market(price: int) -> Twin:
    """Two traders with far more than their positions need, at a price far from where these were opened."""
    twin = Twin(RevmChain(), MARK, 2)
    for trader in (TRADER, OTHER):
        twin.deposit(trader, 10**6 * WAD)
    twin.trade(TRADER, OTHER, True, WAD // 100, MARK)
    travel(twin, price)
    return twin


def test_a_filing_that_some_wei_decide_is_followed():
    twin = market(MIN_PRICE)
    twin.model.account(str(TRADER)).collateral += SOME_WEI
    twin.withdraw(TRADER, WAD)
    edge = twin.exchange.account(TRADER).edge
    model = twin.model.account(str(TRADER))
    assert edge != model.edge * 10**36
    twin.check()
    assert edge == model.edge * 10**36


def test_where_buckets_are_wide_they_decide_nothing():
    twin = market(MARK // 2)
    twin.model.account(str(TRADER)).collateral += SOME_WEI
    twin.withdraw(TRADER, WAD)
    assert twin.exchange.account(TRADER).edge == twin.model.account(str(TRADER)).edge * 10**36
    twin.check()


@pytest.mark.parametrize("buckets", [-1, 1])
def test_a_filing_that_they_do_not_explain_is_a_violation(buckets):
    twin = market(MARK // 2)
    account = twin.exchange.account(TRADER)
    assert abs(twin._difference(TRADER, account)) <= 10
    with pytest.raises(Violation, match="has edge"):
        twin._difference(TRADER, replace(account, bucket=account.bucket + buckets))
