"""Ten and a thousand times the price, or a tenth of it, within an epoch: settling costs what it did at first."""

from fractions import Fraction

from prorata.exchange import Exchange
from prorata.metered_chain import MeteredChain
from prorata.receipts import receipts_in
from prorata.units import LONG, SHORT, WAD
from tests import figures
from tests.gas.conftest import Snapshot

MARK = 1000 * WAD
BUYER, SELLER, FIRST_OF_CROWD = 1, 2, 3
CROWD = 4
#: By their names in the snapshot: the price over the one at which the buyer and the seller entered.
FACTORS = {"x1": Fraction(1), "x10": Fraction(10), "x1000": Fraction(1000), "x0.1": Fraction(1, 10)}


def settle_to(exchange: Exchange, mark: int) -> None:
    """In as many steps as that takes."""
    exchange.set_price(mark)
    while exchange.mark != mark:
        exchange.settle()


def settlements(factor: Fraction) -> tuple[int, int]:
    """Gas of a move that closes nobody and of a crash through four buckets, after the price has changed by a factor.

    Buyer and seller hold from beginning to end and are rich enough, so the epoch stays the same.
    """
    exchange = Exchange.deploy(MeteredChain(), MARK)
    for trader in (BUYER, SELLER):
        exchange.fund(trader)
        exchange.deposit(trader, 10**8 * WAD)
    exchange.trade(BUYER, SELLER, True, WAD, MARK)
    mark = int(MARK * factor)
    settle_to(exchange, mark)
    for owner in range(FIRST_OF_CROWD, FIRST_OF_CROWD + CROWD):
        exchange.deposit(BUYER, mark * (6 + owner) // 100, to=owner)
        exchange.trade(owner, SELLER, True, WAD, mark)

    mark = mark * 101 // 100
    exchange.set_price(mark)
    quiet = exchange.settle()
    exchange.set_price(mark // 2)
    crash = exchange.settle()
    (calm,), (fall,) = receipts_in(quiet.logs), receipts_in(crash.logs)
    assert (calm.buckets_closed, fall.buckets_closed) == (0, CROWD)
    assert (calm.mark_after, fall.mark_after) == (mark, mark // 2)
    assert exchange.epoch == 0
    for survivor, side in ((BUYER, LONG), (SELLER, SHORT)):
        assert (exchange.account(survivor).side, exchange.account(survivor).shares > 0) == (side, True)
    return quiet.gas, crash.gas


def test_gas_does_not_depend_on_the_price(snapshot: Snapshot) -> None:
    found = {name: settlements(factor) for name, factor in FACTORS.items()}
    measured = {f"settle_price_{name}": quiet for name, (quiet, _) in found.items()}
    measured |= {f"crash_{name}": crash for name, (_, crash) in found.items()}
    figures.record("gas: price range", measured)
    quiet, crash = found["x1"]
    for name, (later_quiet, later_crash) in found.items():
        assert abs(later_quiet - quiet) <= quiet // 100, name
        # The level of the first price is still live beside the present one.
        assert abs(later_crash - crash) <= crash // 10, name
    snapshot(measured)
