"""What a rule is, and what the rules have in common that find bankrupt accounts one by one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from fractions import Fraction
from typing import Protocol

from prorata.rules.book import ZERO, Account, Book
from prorata.scenarios import PricePoint


class Rule(Protocol):
    """A way to settle what losers cannot pay.

    Attributes:
        name: on the command line and in reports.
        title: in tables.
        source: where its algebra is published.
    """

    name: str
    title: str
    source: str

    def settle(self, start: Book, path: Sequence[PricePoint], order: Sequence[str]) -> Book:
        """Take a copy of the book along a path until it is sound and everybody could leave.

        Args:
            start: marked at the path's first price.
            path: the prices; timestamps in seconds.
            order: every account's name, in the order in which keepers come to them after every price.
        """
        ...


class AccountByAccount(ABC):
    """A rule that keepers carry out: after every price they visit whoever has to be closed, in their order.

    They see every price and cost nothing; `Book.reach` says how many accounts they reach before the next one.
    """

    name: str
    title: str
    source: str
    #: Calls that closing a bankrupt account takes.
    bankruptcy_calls = 1

    def settle(self, start: Book, path: Sequence[PricePoint], order: Sequence[str]) -> Book:
        """As in `Rule`."""
        book = start.copy()
        self.begin(book)
        for point in path[1:]:
            book.move(Fraction(point.price))
            self.touch(book)
            self._sweep(book, order, None if point is path[-1] else book.reach)
            self.settled(book, point.timestamp)
        self.finish(book)
        return book

    def _sweep(self, book: Book, order: Sequence[str], reach: int | None) -> None:
        """Close whoever has to be, in order, until nobody has (being charged may bankrupt others) or `reach` are."""
        closed = 0
        while any(book.fails(name) for name in order):
            for name in order:
                if closed == reach:
                    return
                if book.fails(name):
                    self.close(book, book.accounts[name])
                    closed += 1

    def close(self, book: Book, account: Account) -> None:
        """Close one account that has to be."""
        if account.equity >= 0:
            book.calls += 1
            book.retire(account)
            return
        book.calls += self.bankruptcy_calls
        deficit = book.default(account)
        self.bankrupt(book, account, deficit, deficit - book.cover(deficit))

    @abstractmethod
    def bankrupt(self, book: Book, account: Account, deficit: Fraction, rest: Fraction) -> None:
        """Close a bankrupt account's position and have somebody bear what insurance has not paid.

        Args:
            deficit: what the account was under zero, quote; it is at zero now.
            rest: what of it insurance did not pay.
        """

    def begin(self, book: Book) -> None:  # noqa: B027  # most rules do nothing here
        """What the rule does before the first move."""

    def touch(self, book: Book) -> None:  # noqa: B027
        """What the rule does after a move, before anybody is closed."""

    def settled(self, book: Book, now: int) -> None:  # noqa: B027
        """What the rule does once keepers are done with a price; `now` in seconds."""

    def finish(self, book: Book) -> None:  # noqa: B027
        """What the rule does when the path is over."""


def charge_by_size(book: Book, accounts: Sequence[Account], amount: Fraction, side: int) -> None:
    """Charge accounts by the size of their positions for what `side` could not pay; with nobody there it is unborne."""
    total = sum((account.size for account in accounts), ZERO)
    if not amount:
        return
    if not total:
        book.unborne += amount
        return
    per_unit = amount / total
    for account in accounts:
        book.charge(account, per_unit * account.size, {side: Fraction(1)})
