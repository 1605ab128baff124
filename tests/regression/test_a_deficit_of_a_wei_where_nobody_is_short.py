"""Found by a proof (tests/proofs/moves.py, no_deficit_but_roundings): S8's condition leaves a deficit of a wei.

A debt is rounded up by part of a wei when an account is filed. If the account stands within that part of a wei of its
bucket's upper edge, and the edge just at T, the largest step that S8 allows leaves it worth more than nothing, but its
bucket a fraction of a wei short. The receipt rounds that up: a wei, which the filing has left in the market already.
"""

from fractions import Fraction

import pytest

from prorata.boa_chain import BoaChain
from prorata.exchange import Exchange
from prorata.parameters import MarketParameters
from prorata.receipts import receipts_in
from prorata.units import WAD

TRADER, WHALE, DEPOSITOR = 1, 2, 3
MARK = 1000 * WAD
#: A long of about a dollar, and its collateral: bankrupt just under the upper edge of its bucket.
SIZE, COLLATERAL = 1_000_606_704_305_733, 119_038_082_749_926_719
#: T is at that edge (rounded up to a price), and one step of the close-out margin, 1 %, on.
AT_THE_EDGE = 889_933_428_663_888_918_600
ONE_STEP_ON = AT_THE_EDGE * 99 // 100


@pytest.mark.parametrize("insurance", [0, WAD])
def test_the_deficit_is_a_wei_and_nobody_is_short(insurance: int) -> None:
    exchange = Exchange.deploy(BoaChain(), MARK, MarketParameters.guarded(fee_rate=0, margin_slope=0, oi_multiple=0))
    for trader in (TRADER, WHALE, DEPOSITOR):
        exchange.fund(trader)
    if insurance:
        exchange.approve(DEPOSITOR, exchange.vault)
        exchange.insure(DEPOSITOR, insurance)
    exchange.deposit(TRADER, COLLATERAL)
    exchange.deposit(WHALE, WAD)
    exchange.trade(TRADER, WHALE, True, SIZE, MARK)
    assert exchange.chain.call(exchange.lens, "is_gap_safe", exchange.market.address)
    exchange.set_price(AT_THE_EDGE)
    while exchange.mark != AT_THE_EDGE:
        exchange.chain.advance(12)
        exchange.settle()
    assert exchange.account(TRADER).shares == SIZE

    exchange.chain.advance(12)
    exchange.set_price(ONE_STEP_ON)
    (receipt,) = receipts_in(exchange.settle().logs)
    assert COLLATERAL - Fraction(SIZE * (MARK - ONE_STEP_ON), WAD) > 0
    assert (receipt.mark_after, receipt.buckets_closed) == (ONE_STEP_ON, 1)
    assert (receipt.deficit, receipt.covered) == (1, min(insurance, 1))
    assert exchange.totals[0] == 1 - receipt.covered

    # The wei is dust that filing left in the market: everybody can be paid, and nothing trips.
    equities = sum(exchange.account(trader).equity for trader in (TRADER, WHALE))
    assert 0 <= exchange.token_balance(exchange.market) - equities - exchange.insurance_owed <= 2
    assert exchange.mode == "active"
