"""A crowd for a market at 1,000, on any chain."""

from __future__ import annotations

from prorata.exchange import Exchange
from prorata.units import WAD

RICH = 1
#: Collateral and size of longs and shorts at 1,000, by account; whoever has least for the size is closed first.
LONGS = {2: (60, 1), 3: (150, 2), 4: (300, 2), 5: (700, 2)}
SHORTS = {6: (80, 1), 7: (400, 2)}
INSURED = 100


def populate(exchange: Exchange) -> None:
    """A crowd at many leverages against one rich account, and a little insurance."""
    exchange.fund(0)
    exchange.approve(0, exchange.vault)
    exchange.insure(0, INSURED * WAD)
    exchange.fund(RICH)
    exchange.deposit(RICH, 20_000 * WAD)
    for is_long, crowd in ((True, LONGS), (False, SHORTS)):
        for trader, (collateral, size) in crowd.items():
            exchange.fund(trader)
            exchange.deposit(trader, collateral * WAD)
            exchange.trade(trader, RICH, is_long, size * WAD, exchange.mark)
