"""A crash through buckets of several levels: what a level costs besides the buckets in it."""

from prorata.exchange import Exchange
from prorata.metered_chain import MeteredChain
from prorata.receipts import receipts_in
from prorata.units import SHORT, WAD
from tests import figures
from tests.gas.conftest import Snapshot

MARK = 1000 * WAD
BUYER, SELLER, FIRST_OF_CROWD = 1, 2, 3
#: As many buckets are closed in every case, at the same prices: shorts that are bankrupt 10 to 25 % above the mark.
BANKRUPT = (110, 115, 120, 125)
MOST_LEVELS = len(BANKRUPT)
#: The mark of the crash; a doubling of it is a level.
CRASH_FROM = MARK << MOST_LEVELS - 1


def crash(live: int) -> int:
    """Gas of a rise by half that closes four shorts, filed in so many levels because they opened at so many marks."""
    exchange = Exchange.deploy(MeteredChain(), MARK)
    for trader in (BUYER, SELLER):
        exchange.fund(trader)
        exchange.deposit(trader, 10**6 * WAD)
    crowd = []
    for doublings in range(MOST_LEVELS):
        mark = MARK << doublings
        exchange.set_price(mark)
        while exchange.mark != mark:
            exchange.settle()
        for number, percent in enumerate(BANKRUPT):
            if max(number, MOST_LEVELS - live) == doublings:
                owner = FIRST_OF_CROWD + number
                fee = mark // 2000
                exchange.deposit(BUYER, CRASH_FROM * percent // 100 - mark + fee, to=owner)
                exchange.trade(owner, BUYER, False, WAD, mark)
                crowd.append(owner)
    exchange.trade(SELLER, BUYER, False, WAD, CRASH_FROM)
    assert len({exchange.account(owner).level for owner in (*crowd, SELLER)}) == live

    exchange.set_price(CRASH_FROM * 3 // 2)
    transaction = exchange.settle()
    (receipt,) = receipts_in(transaction.logs)
    assert (receipt.buckets_closed, receipt.mark_after) == (len(BANKRUPT), CRASH_FROM * 3 // 2)
    assert exchange.side(SHORT).shares == WAD
    return transaction.gas


def test_one_to_four_levels(snapshot: Snapshot) -> None:
    measured = {f"crash_levels_{live}": crash(live) for live in range(1, MOST_LEVELS + 1)}
    figures.record("gas: levels", measured)
    snapshot(measured)
