"""MCDEX 3: when insurance cannot pay, the market closes and everybody gets a part of his margin.

Source: Mai Protocol 3 (github.com/mcdexio/mai-protocol-v3, `PerpetualModule.settleCollateral`): all positions end at
the settlement price; accounts without position are paid first, then those with one, each group at one rate:

    rate without position = min(1, collateral / their margin)
    rate with position    = min(1, what is left / their margin)

Margin under zero counts as zero. Every account is cleared by a call of its own, flat ones that never traded excepted.
Reading: the pool of liquidity providers, who stand on the other side of every trade there, is not modelled; its
position is that of the traders here.
"""

from __future__ import annotations

from fractions import Fraction

from prorata.rules.book import ZERO, Account, Book
from prorata.rules.rule import AccountByAccount


def redemption_rates(collateral: Fraction, without: Fraction, having: Fraction) -> tuple[Fraction, Fraction]:
    """(Rate without, rate with position) for a market's collateral and the two groups' margins; quote in, 0..1 out."""
    rate_without = min(collateral / without, Fraction(1)) if without else Fraction(1)
    left = max(collateral - without, ZERO)
    return rate_without, min(left / having, Fraction(1)) if having else Fraction(1)


class EmergencySettlement(AccountByAccount):
    """The first deficit that insurance cannot pay ends the market for everybody."""

    name = "mcdex-3"
    title = "MCDEX 3, emergency settlement"
    source = "github.com/mcdexio/mai-protocol-v3, PerpetualModule.settleCollateral"

    def bankrupt(self, book: Book, account: Account, deficit: Fraction, rest: Fraction) -> None:
        """As in `AccountByAccount`."""
        if not rest:
            book.close(account)
            return
        assert account.side is not None
        causes = {0: ZERO, 1: ZERO}
        causes[account.side] += rest
        for one in book.accounts.values():
            if one.equity < 0:
                assert one.side is not None
                causes[one.side] += book.default(one)
        having = [one for one in book.accounts.values() if one.size and one.equity > 0]
        without = [one for one in book.accounts.values() if not one.size and one.equity > 0]
        margins = [sum((one.equity for one in group), ZERO) for group in (without, having)]
        collateral = sum(margins, ZERO) - sum(causes.values(), ZERO)
        for group, rate in zip((without, having), redemption_rates(collateral, *margins), strict=True):
            for one in group:
                book.charge(one, one.equity * (1 - rate), causes)
        book.calls += len(having)
        book.closed_opposite += book.open_interest(1 - account.side) * book.mark
        for one in book.accounts.values():
            one.size = ZERO
