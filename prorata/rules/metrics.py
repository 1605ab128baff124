"""What is compared: numbers about a settled book, the same for every rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from prorata.rules.book import (
    BYSTANDER_PRINCIPAL,
    BYSTANDER_PROFIT,
    EARLIER,
    GAIN,
    PRINCIPAL,
    ZERO,
    Account,
    Book,
    opposite,
)
from prorata.units import LONG, SHORT


@dataclass(frozen=True)
class Paid:
    """Who paid for what the losing sides of all moves lost, quote; the parts add up to `Book.gross`.

    Attributes:
        losers: out of what they had.
        insurance: drawn.
        gain: winners, out of what they gained in the move that others could not pay.
        earlier: winners, out of what they had won before it.
        principal: winners, out of what they had deposited.
        bystanders: everybody else: same side as the bankrupt, or no position.
        unborne: nobody.
    """

    losers: Fraction
    insurance: Fraction
    gain: Fraction
    earlier: Fraction
    principal: Fraction
    bystanders: Fraction
    unborne: Fraction

    @property
    def untouched(self) -> bool:
        """Whether everything but the gain of the move, and what losers and insurance had, was left alone."""
        return not (self.earlier or self.principal or self.bystanders or self.unborne)

    @classmethod
    def of(cls, book: Book) -> Paid:
        taken = {
            source: sum((account.taken[source] for account in book.accounts.values()), ZERO)
            for source in (GAIN, EARLIER, PRINCIPAL, BYSTANDER_PROFIT, BYSTANDER_PRINCIPAL)
        }
        return cls(
            losers=book.gross - book.missing - book.returned,
            insurance=book.covered,
            gain=taken[GAIN],
            earlier=taken[EARLIER],
            principal=taken[PRINCIPAL],
            bystanders=taken[BYSTANDER_PROFIT] + taken[BYSTANDER_PRINCIPAL],
            unborne=book.unborne,
        )


def principal_touched(book: Book) -> Fraction:
    """Quote of their own money that accounts lost to pay for others."""
    return sum(
        (account.taken[PRINCIPAL] + account.taken[BYSTANDER_PRINCIPAL] for account in book.accounts.values()), ZERO
    )


def taken_beyond(book: Book) -> Fraction:
    """Quote taken from winners and bystanders beyond what was missing after insurance."""
    taken = sum((sum(account.taken.values(), ZERO) for account in book.accounts.values()), ZERO)
    return taken - (book.missing - book.covered - book.unborne)


def closed_beyond(book: Book) -> Fraction:
    """Notional closed on the other side beyond that of accounts worth less than nothing, quote."""
    return book.closed_opposite - book.closed_bankrupt


def gini(losses: Sequence[Fraction]) -> Fraction | None:
    """Gini coefficient of amounts that are not negative: 0 all the same, (n - 1) / n one has it all; None: no loss.

    Raises:
        ValueError: a negative amount.
    """
    if any(loss < 0 for loss in losses):
        raise ValueError("gini of a negative amount")
    total = sum(losses, ZERO)
    if not total:
        return None
    count = len(losses)
    ranked = sum((rank * loss for rank, loss in enumerate(sorted(losses), start=1)), ZERO)
    return (2 * ranked / total - (count + 1)) / count


def winners(start: Book, end: Book) -> list[str]:
    """Who stood, at the start, opposite to the side that left more unpaid."""
    defaulted = LONG if end.defaults[LONG] >= end.defaults[SHORT] else SHORT
    return [account.name for account in start.holders(opposite(defaulted))]


def loss(account: Account) -> Fraction:
    """What an account lost to pay for others, quote."""
    return sum(account.taken.values(), ZERO)


@dataclass(frozen=True)
class Spread:
    """How much the order of touches matters, quote: outcomes of one account, largest minus smallest over all orders."""

    largest: Fraction
    mean: Fraction


def spread(outcomes: Sequence[Mapping[str, Fraction]]) -> Spread:
    """Spread over accounts of final equity in several orders.

    Args:
        outcomes: for each order, equity by account.
    """
    ranges = [
        max(outcome[name] for outcome in outcomes) - min(outcome[name] for outcome in outcomes) for name in outcomes[0]
    ]
    return Spread(max(ranges), sum(ranges, ZERO) / len(ranges))


def coalition_profit(start: Book, end: Book, names: Sequence[str]) -> Fraction:
    """What several accounts have together at the end, less what they began with, quote."""
    return sum((end.accounts[name].equity - start.accounts[name].equity for name in names), ZERO)
