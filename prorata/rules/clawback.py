"""OKEx's futures in 2018: at the week's settlement every account in profit gives back the same part of its week's
profit.

Sources: OKEx's statement on the liquidation of 31 July 2018, as reported (ambcrypto.com, "2500 Bitcoin to be injected
into OKEx forced liquidation insurance fund"; financemagnates.com, "OKEx Injects BTC 2500 into Insurance Fund"): when
the insurance fund cannot cover all margin call losses, a full account clawback takes an equal percentage from everybody
with a net profit for the week, realized and unrealized; and OKEx, "Terms of Contract Billing" (support.okexcn.com).

    rate = (all margin call losses of the week - insurance fund) / all net profits of the week

Profits are locked until then, so the whole path is one week. What margin is left of a liquidated account goes to the
insurance fund, as everywhere here. Whoever has left with a profit earlier in the week pays too.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from prorata.rules.book import ZERO, Account, Book
from prorata.rules.rule import AccountByAccount


def share_among_profits(book: Book, causes: Mapping[int, Fraction]) -> int:
    """Take the same part of every account's profit; returns how many accounts had one.

    Args:
        causes: quote to be taken, by side of those who could not pay it.
    """
    lacking = sum(causes.values(), ZERO)
    profits = {account.name: account.profit for account in book.accounts.values() if account.profit}
    total = sum(profits.values(), ZERO)
    if not lacking:
        return 0
    taken = min(lacking, total)
    for name, profit in profits.items():
        book.charge(book.accounts[name], profit * taken / total, causes)
    book.unborne += lacking - taken
    return len(profits)


class WeeklyClawback(AccountByAccount):
    """Deficits wait for the end of the week; then profits pay, at one rate."""

    name = "okex"
    title = "OKEx, weekly clawback"
    source = "OKEx statement of 3 August 2018 (ambcrypto.com, financemagnates.com); OKEx, Terms of Contract Billing"

    def bankrupt(self, book: Book, account: Account, deficit: Fraction, rest: Fraction) -> None:
        """As in `AccountByAccount`: the deficit waits."""
        assert account.side is not None
        book.waiting[account.side] += rest
        book.close(account)

    def finish(self, book: Book) -> None:
        """The settlement of the week. Leftovers that reached insurance since pay first."""
        for side, lacking in book.waiting.items():
            book.waiting[side] -= book.cover(lacking)
        book.calls += share_among_profits(book, book.waiting)
