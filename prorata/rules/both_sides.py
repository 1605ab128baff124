"""Mango 4 and Drift 2: what is missing moves the funding index of both sides.

Sources:

- Mango 4, `PerpMarket::socialize_loss` (github.com/blockworks-foundation/mango-v4, programs/mango-v4/src/state/
  perp_market.rs), whose open interest counts both sides: every position, long or short, pays loss / open interest a
  lot. Docs, "Socialized losses": "the losses are spread equally among all other participants in that perp market".
- Drift 2, `calculate_funding_rate_deltas_to_resolve_bankruptcy` (github.com/drift-labs/protocol-v2,
  programs/drift/src/math/liquidation.rs): loss / (longs + shorts) on both cumulative funding rates.

Insurance pays first (Drift: and the fee pool, which is counted as insurance here). Closing a bankrupt account takes two
calls in both: one for the position, one for the debt that is left.

Reading: the bankrupt account's own position does not bear its own loss.
"""

from __future__ import annotations

from fractions import Fraction

from prorata.rules.book import Account, Book
from prorata.rules.rule import AccountByAccount, charge_by_size


class BothSides(AccountByAccount):
    """What is missing is divided by all open positions, long and short."""

    name = "mango-drift"
    title = "Mango 4 / Drift 2, both sides"
    source = (
        "github.com/blockworks-foundation/mango-v4 socialize_loss; github.com/drift-labs/protocol-v2 liquidation.rs"
    )
    bankruptcy_calls = 2

    def bankrupt(self, book: Book, account: Account, deficit: Fraction, rest: Fraction) -> None:
        """As in `AccountByAccount`."""
        assert account.side is not None
        others = [one for one in book.accounts.values() if one.size and one is not account]
        charge_by_size(book, others, rest, account.side)
        book.close(account)
