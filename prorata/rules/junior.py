"""Percolator: profit is a junior claim, and one ratio h says how much of every profit is there.

Sources: Percolator, "Risk Engine Spec" (github.com/aeyakovenko/percolator, spec.md; sections 3, 5 and 6 of version 3,
also in vendored copies such as purpletrade/percolator-prog), and for insurance section 4.17 of a later version:

    residual = vault - all capital - insurance        h = min(residual, all positive PNL) / all positive PNL

A loss is paid from capital at once, what capital cannot pay is written off. A profit warms up and is then converted
into capital at the h of that moment; new profit starts the warmup again. Capital is never charged.

Readings, each the kinder one where the text leaves a choice:

- Insurance pays before anything is written off (section 4.17 of the later version; version 3 has no such step).
- A crank touches every account after each price, and counts as one call.
- The warmup is the README's example, 100 slots or 50 seconds. Profit of those who have left has long been converted.
- Profits are converted at one h when everybody has been touched, as later versions do; in version 3 each account is
  converted at its touch, when losses that back its profit may not have been settled yet.
- At the end everybody's profit has matured and is worth h. Versions from 12 on also have indices per side that charge a
  deficit to the opposite positions, as `per_side.py` does; version 16 ties profits to the backing of their own market.
  What is shown here is h.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from prorata.rules.book import ZERO, Account, Book
from prorata.rules.rule import AccountByAccount

#: Seconds that a profit takes to become capital.
WARMUP = 50


@dataclass
class Claim:
    """An account as Percolator keeps it.

    Attributes:
        capital: quote, the senior claim.
        profit: quote, the junior claim.
        since: second at which the profit last grew or was converted.
        grew: whether it grew with the last price.
    """

    capital: Fraction
    profit: Fraction = ZERO
    since: int = 0
    grew: bool = False


def haircut(residual: Fraction, profits: Fraction) -> Fraction:
    """h, 0..1: how much of every profit is there; quote in, ratio out."""
    return min(max(residual, ZERO), profits) / profits if profits else Fraction(1)


class JuniorProfit(AccountByAccount):
    """Percolator's h."""

    name = "percolator"
    title = "Percolator, h"
    source = "github.com/aeyakovenko/percolator, spec.md (version 3, sections 3, 5, 6)"

    def begin(self, book: Book) -> None:
        """What everybody has before the shock has been converted long ago."""
        self._vault = book.wealth()
        self._claims = {name: Claim(account.equity) for name, account in book.accounts.items()}

    def touch(self, book: Book) -> None:
        """The crank: settle every mark into profit, and losses into capital."""
        book.calls += 1
        for name, account in book.accounts.items():
            claim = self._claims[name]
            change = account.equity - claim.capital - claim.profit
            claim.profit += change
            claim.grew = change > 0
            if claim.profit < 0:
                claim.capital += claim.profit
                claim.profit = ZERO
            if claim.capital < 0:
                self._write_off(book, account)

    def bankrupt(self, book: Book, account: Account, deficit: Fraction, rest: Fraction) -> None:
        """As in `AccountByAccount`. The touch has left nobody under zero."""
        raise AssertionError(f"{account.name} was not touched")

    def close(self, book: Book, account: Account) -> None:
        """As in `AccountByAccount`; what was written off at the touch is worth nothing now."""
        if not account.equity:
            book.closed_bankrupt += account.size * book.mark
        super().close(book, account)
        self._claims[account.name] = Claim(ZERO)

    def _write_off(self, book: Book, account: Account) -> None:
        """What capital cannot pay is written off at the touch, before anybody closes the position."""
        assert account.side is not None
        deficit = book.write_off(account)
        book.waiting[account.side] += deficit - book.cover(deficit)
        self._claims[account.name].capital = ZERO

    def settled(self, book: Book, now: int) -> None:
        """Convert what has warmed up of profits that have not grown."""
        h = self._h(book)
        for name, account in book.accounts.items():
            claim = self._claims[name]
            if claim.grew:
                claim.since = now
            elif claim.profit:
                self._convert(book, account, claim.profit * min(Fraction(now - claim.since, WARMUP), Fraction(1)), h)
                claim.since = now

    def finish(self, book: Book) -> None:
        """Everybody's profit is converted, all at one h."""
        h = self._h(book)
        for name, account in book.accounts.items():
            self._convert(book, account, self._claims[name].profit, h)

    def _convert(self, book: Book, account: Account, amount: Fraction, h: Fraction) -> None:
        """Make capital of a profit, as much of it as is there; the rest is charged to the account."""
        lost = amount * (1 - h)
        if lost:
            book.charge(account, lost, book.waiting)
        claim = self._claims[account.name]
        claim.profit -= amount
        claim.capital += amount - lost

    def _profits(self) -> Fraction:
        return sum((claim.profit for claim in self._claims.values()), ZERO)

    def _h(self, book: Book) -> Fraction:
        capital = sum((claim.capital for claim in self._claims.values()), ZERO)
        return haircut(self._vault - capital - book.insurance, self._profits())
