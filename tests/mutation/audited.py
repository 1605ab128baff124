"""For every planted fault what an auditor comes across: a market on which it shows, and the block in which it does.

All of them leave a trace in the event log. Two of them do so late. Whoever is never asked for funding ("early exit on a
zero price step", "stopped funding lost") is not asked by a call of `settle` that then has nothing to log; the next fill
is the first event to say that funding was due and not paid, and that fill is named.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from prorata.chain import Reverted
from prorata.exchange import Exchange
from prorata.parameters import MarketParameters
from prorata.revm_chain import RevmChain
from prorata.units import INDEX_UNIT, LONG, WAD

MARK = 1000 * WAD
TRADER, OTHER, THIRD, RICH, RICHER = range(1, 6)
DAY = 86_400


def market(mark: int = MARK, **parameters: int) -> Exchange:
    """Five traders with tokens, two of them with a million in the market, and an insurer."""
    exchange = Exchange.deploy(RevmChain(), mark, MarketParameters(max_staleness=10**9, **parameters))
    for trader in range(1, RICHER + 1):
        exchange.fund(trader)
    exchange.fund(0)
    exchange.approve(0, exchange.vault)
    for trader in (RICH, RICHER):
        exchange.deposit(trader, 10**6 * WAD)
    return exchange


def open_longs(exchange: Exchange, collaterals: dict[int, int]) -> None:
    """Each buys one unit from RICH with so much collateral, in hundredths of quote."""
    for trader, collateral in collaterals.items():
        exchange.deposit(trader, collateral * WAD // 100)
        exchange.trade(trader, RICH, True, WAD, MARK)


def settle_to(exchange: Exchange, price: int) -> int:
    """A price, settled in one call; its block."""
    exchange.set_price(price)
    exchange.settle()
    return exchange.chain.block


def premium(exchange: Exchange) -> None:
    """A fill above the mark, which longs will pay for."""
    exchange.trade(RICHER, RICH, True, 8 * WAD, exchange.mark * 1004 // 1000)


def social_loss() -> tuple[Exchange, int]:
    """A deficit with a fraction of a wei that half up rounds away."""
    exchange = market(fee_rate=0)
    exchange.deposit(TRADER, 1000 * WAD // 11)
    exchange.trade(TRADER, RICH, True, 10 * WAD // 11, MARK)
    return exchange, settle_to(exchange, MARK * 85 // 100)


def unpaid_fee() -> tuple[Exchange, int]:
    """A position sold so far below the mark that its last cents do not pay the fee."""
    exchange = market()
    open_longs(exchange, {TRADER: 55_00})
    settle_to(exchange, 980 * WAD)
    exchange.trade(TRADER, RICH, False, WAD, 980 * WAD - 344 * WAD // 10)
    return exchange, exchange.chain.block


def early_draw() -> tuple[Exchange, int]:
    """Two buckets in one move: what the one is short of, the other has left, and more."""
    exchange = market()
    exchange.insure(0, 1000 * WAD)
    open_longs(exchange, {TRADER: 100_00, OTHER: 105_00})
    return exchange, settle_to(exchange, 900 * WAD)


def unhealthy_reduce() -> tuple[Exchange, int]:
    """Half of a position at a price that costs more than half of what the trader has. The market refuses it."""
    exchange = market()
    open_longs(exchange, {TRADER: 110_00})
    exchange.trade(TRADER, RICH, True, WAD, MARK)
    exchange.set_price(985 * WAD)
    with suppress(Reverted):
        exchange.trade(TRADER, RICH, False, WAD, 936 * WAD)
    return exchange, exchange.chain.block


def strangers_deposit() -> tuple[Exchange, int]:
    """A wei for an account whose bucket would be twice as wide at the present mark."""
    exchange = market()
    exchange.deposit(TRADER, 500 * WAD)
    exchange.trade(TRADER, RICH, False, WAD, MARK)
    settle_to(exchange, 1_400 * WAD)
    exchange.deposit(RICHER, 1, TRADER)
    return exchange, exchange.chain.block


def netted_funding() -> tuple[Exchange, int]:
    """Longs owe funding, and the price rises."""
    exchange = market(fee_rate=WAD // 400, max_funding=WAD // 100)
    premium(exchange)
    exchange.chain.advance(DAY)
    return exchange, settle_to(exchange, 1010 * WAD)


def rounded_loss() -> tuple[Exchange, int]:
    """Bought a wei above the mark, in a size that is no whole number."""
    exchange = market(fee_rate=0)
    for trader in (TRADER, OTHER):
        exchange.deposit(trader, 10**10 * WAD)
    exchange.trade(TRADER, OTHER, True, 5**36, MARK + 1)
    return exchange, exchange.chain.block


def standing_price() -> tuple[Exchange, int]:
    """A day after a fill above the mark, at the same price: a settlement, and then a fill."""
    exchange = market(fee_rate=WAD // 400, max_funding=WAD // 100)
    premium(exchange)
    exchange.chain.advance(DAY)
    exchange.settle()
    exchange.trade(RICHER, RICH, True, WAD, MARK)
    return exchange, exchange.chain.block


def stopped_funding() -> tuple[Exchange, int]:
    """Funding empties a bucket a call; then somebody trades."""
    exchange = market(fee_rate=WAD // 400, max_funding=WAD // 100, max_buckets=1)
    open_longs(exchange, {TRADER: 55_00, OTHER: 56_00, THIRD: 57_00})
    position = exchange.chain.call(exchange.lens, "position", exchange.market.address, exchange.chain.address(TRADER))
    settle_to(exchange, position[-1] + WAD // 100)
    premium(exchange)
    exchange.chain.advance(30 * DAY)
    for _ in range(4):
        exchange.settle()
    exchange.trade(RICHER, RICH, True, WAD, exchange.mark)
    return exchange, exchange.chain.block


def hidden_level() -> tuple[Exchange, int]:
    """As in `tests/regression/test_an_edge_that_meant_no_edge.py`: OTHER stands alone on his level, in the bucket that
    ends at -2**158, while TRADER is closed. THIRD comes to that level and is ruined."""
    low, high = 84_000 * WAD, 86_000 * WAD  # on either side of where buckets become twice as wide
    exchange = market(low, fee_rate=0, min_notional=WAD)
    exchange.deposit(RICH, 10**7 * WAD)
    exchange.trade(RICHER, RICH, True, WAD, low)
    exchange.deposit(TRADER, 5_000 * WAD)
    exchange.trade(TRADER, RICH, True, WAD, low)
    settle_to(exchange, high)

    width, shares = 1 << 126, 2 * WAD * WAD // high
    kappa = -(1 << 158) - width // 2
    exchange.deposit(OTHER, shares * (exchange.side(LONG).index - kappa) // INDEX_UNIT)
    exchange.trade(OTHER, RICH, True, shares, high)
    assert exchange.account(OTHER).edge == -(1 << 158)
    settle_to(exchange, 70_000 * WAD)
    settle_to(exchange, high)
    exchange.deposit(THIRD, 50_000 * WAD)
    exchange.trade(THIRD, RICH, True, 10 * WAD, high)
    return exchange, settle_to(exchange, 60_000 * WAD)


#: By the name of the fault.
MARKETS: dict[str, Callable[[], tuple[Exchange, int]]] = {
    "social loss rounded half up": social_loss,
    "fee credited but not collected": unpaid_fee,
    "insurance drawn before surplus": early_draw,
    "margin check skipped on reduce": unhealthy_reduce,
    "stored close-out price": strangers_deposit,
    "funding netted with price": netted_funding,
    "truncating division": rounded_loss,
    "early exit on a zero price step": standing_price,
    "stopped funding lost": stopped_funding,
    "edge that means no edge": hidden_level,
}
