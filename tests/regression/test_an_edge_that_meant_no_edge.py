"""Found by the overflow argument (SPECIFICATION.md, Numeric bounds): a bucket whose upper edge was -2**158 was none.

`_close_level` said by `sides.NO_TOP`, which is -2**158, that it had left nothing live; but that is an edge like others.
Whoever has next to no position and much collateral chooses how low a bucket he stands in, to the bucket. If his was the
only one of its level, the next move that closed anybody took the level for empty, and its bit out of the mask of live
levels; as the level still counted a live word, nobody who came to it later put the bit back. No settlement found them:
whoever was bankrupt there was not closed, and winners were paid money that was not there.
"""

import pytest

from prorata.exchange import Exchange
from prorata.parameters import MarketParameters
from prorata.revm_chain import RevmChain
from prorata.units import INDEX_UNIT, WAD

SHORT, RUINED, SLEEPER, LOSER, WINNER, HONEST = range(1, 7)
#: On either side of the price at which a bucket of a thousandth becomes twice as wide.
LOW, HIGH = 84_000 * WAD, 86_000 * WAD
LOW_EDGE = -(2**158)


@pytest.fixture
def exchange() -> Exchange:
    made = Exchange.deploy(RevmChain(), LOW, MarketParameters(fee_rate=0, min_notional=WAD))
    for trader in (SHORT, RUINED, SLEEPER, LOSER, WINNER, HONEST):
        made.fund(trader)
    made.deposit(SHORT, 10**7 * WAD)
    made.deposit(HONEST, 10**6 * WAD)
    return made


def settle_at(exchange: Exchange, price: int) -> None:
    exchange.set_price(price)
    while exchange.mark != price:
        exchange.settle()


def sleep(exchange: Exchange, edges: int) -> None:
    """SLEEPER is filed `edges` buckets above the one that ends at -2**158: two dollars of size, alone on his level."""
    level = 126
    shares = 2 * WAD * WAD // HIGH
    kappa = LOW_EDGE + (edges << level) - 2 ** (level - 1)
    index = exchange.side(0).index
    exchange.deposit(SLEEPER, shares * (index - kappa) // INDEX_UNIT)
    exchange.trade(SLEEPER, SHORT, True, shares, HIGH)
    held = exchange.account(SLEEPER)
    assert (held.level, held.edge) == (level, LOW_EDGE + (edges << level))


@pytest.mark.parametrize("edges", [-1, 0, 1])
def test_whoever_comes_to_its_level_is_closed_all_the_same(exchange: Exchange, edges: int) -> None:
    exchange.trade(HONEST, SHORT, True, WAD, LOW)
    exchange.deposit(RUINED, 5_000 * WAD)
    exchange.trade(RUINED, SHORT, True, WAD, LOW)
    settle_at(exchange, HIGH)
    sleep(exchange, edges)
    settle_at(exchange, 70_000 * WAD)
    assert exchange.epoch == 0
    assert exchange.account(RUINED).shares == 0

    settle_at(exchange, HIGH)
    for trader in (LOSER, WINNER):
        exchange.deposit(trader, 50_000 * WAD)
    exchange.trade(LOSER, WINNER, True, 10 * WAD, HIGH)
    settle_at(exchange, 60_000 * WAD)
    assert exchange.account(LOSER).shares == 0
    equities = sum(exchange.account(one).equity for one in (SHORT, RUINED, SLEEPER, LOSER, WINNER, HONEST))
    assert equities + exchange.insurance_owed <= exchange.token_balance(exchange.market)
