"""MCDEX 2: a social loss per contract, for the side that stands opposite.

Sources: MCDEX documents, "Implementation of Losses" (github.com/mcdexio/documents, en/internal-perpetual-losses.md),
and the contracts of Mai Protocol 2 (`liquidate`, `handleSocialLoss`):

    loss per contract of a side  +=  (what the liquidated account lacks - insurance fund) / total size of that side

Insurance pays first. The loss is a number per side that every position carries, so nobody has to be visited for it.

Reading: the document's text and the later contracts charge the opposite side, the document's example charges the
bankrupt account's own side. Taken is the opposite side, which has gained what is missing; it is the kinder one.
No liquidation penalty, like everywhere here. MCDEX 3 has no social loss: see `emergency.py`.
"""

from __future__ import annotations

from fractions import Fraction

from prorata.rules.book import Account, Book, opposite
from prorata.rules.rule import AccountByAccount, charge_by_size


class LossPerSide(AccountByAccount):
    """What is missing is divided by the opposite side's size."""

    name = "mcdex-2"
    title = "MCDEX 2, loss per side"
    source = "github.com/mcdexio/documents, en/internal-perpetual-losses.md"

    def bankrupt(self, book: Book, account: Account, deficit: Fraction, rest: Fraction) -> None:
        """As in `AccountByAccount`."""
        assert account.side is not None
        charge_by_size(book, book.holders(opposite(account.side)), rest, account.side)
        book.close(account)
