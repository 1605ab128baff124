"""Price moves larger than one settlement makes: half of the mark at most."""

from __future__ import annotations

from prorata.exchange import Exchange
from prorata.receipts import Receipt, receipts_in
from prorata.twin import Twin


def travel(market: Twin | Exchange, price: int) -> list[Receipt]:
    """Set the price and settle until the mark is there: one receipt a step."""
    market.set_price(price)
    if isinstance(market, Twin):
        return receipts_in(log for transaction in market.settle_fully() for log in transaction.logs)
    logs = list(market.settle().logs)
    while market.core.lagging:
        logs += market.settle().logs
    assert market.mark == price
    return receipts_in(logs)
