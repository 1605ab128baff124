"""Who is in the market before a shock: a random book, the same for every rule."""

from __future__ import annotations

import random
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from prorata.rules.book import ZERO, Account, Book
from prorata.units import LONG, SHORT

#: Collateral a trader starts with, quote.
COLLATERAL = range(1_000, 10_001)
#: One bystander for so many traders: no position; half of them have left earlier in the week with a profit.
TRADERS_PER_BYSTANDER = 5
#: Their profit, in percent of their own money.
WEEKS_PROFIT = range(10, 51)
#: Entry prices lie within so many percent of the first price: positions were opened earlier in the week.
ENTRY = range(-8, 9)
#: Sizes are multiples of this.
_GRAIN = 10**6
#: The most that any account may hold, of its collateral: 5 % initial margin.
MAX_LEVERAGE = 20
STRADDLE_NAMES = ("straddle-long", "straddle-short")


@dataclass(frozen=True)
class Population:
    """What a book is made of.

    Attributes:
        traders: with a position; half of them long, half short.
        leverage: the highest; each draws its own between 1 and this.
        insurance: quote that may be drawn.
        seed: of every random choice.
    """

    traders: int
    leverage: Decimal
    insurance: Fraction
    seed: int

    def book(self, price: Fraction) -> Book:
        """The book at a first price (quote per unit). Of the larger side everybody gets a part of what he wishes."""
        rng = random.Random(self.seed)
        accounts: dict[str, Account] = {}
        left: tuple[list[tuple[str, Fraction]], list[tuple[str, Fraction]]] = ([], [])
        for number in range(1, self.traders + 1):
            side = LONG if number % 2 else SHORT
            name = f"{'long' if side == LONG else 'short'}-{(number + 1) // 2}"
            collateral = Fraction(rng.choice(COLLATERAL))
            leverage = 1 + (Fraction(self.leverage) - 1) * rng.randint(0, 100) / 100
            accounts[name] = Account(name, side, ZERO, price, collateral, collateral)
            left[side].append((name, Fraction(int(collateral * leverage / price * _GRAIN), _GRAIN)))
        _match(accounts, *left)
        for account in accounts.values():
            _open_earlier(account, price, rng.choice(ENTRY))
        for number in range(1, self.traders // TRADERS_PER_BYSTANDER + 1):
            deposit = Fraction(rng.choice(COLLATERAL))
            profit = deposit * rng.choice(WEEKS_PROFIT) / 100 if number % 2 else ZERO
            name = f"{'left' if profit else 'idle'}-{number}"
            accounts[name] = Account(name, None, ZERO, price, deposit + profit, deposit)
        return Book(accounts, price, self.insurance)


def _match(accounts: dict[str, Account], longs: list[tuple[str, Fraction]], shorts: list[tuple[str, Fraction]]) -> None:
    """Everybody of the smaller side gets all of his wish, the other side a part in proportion to theirs."""
    totals = [sum((size for _, size in side), ZERO) for side in (longs, shorts)]
    smaller = min(totals)
    for side, total in zip((longs, shorts), totals, strict=True):
        given = ZERO
        for name, wish in side[:-1]:
            accounts[name].size = Fraction(int(wish * smaller / total * _GRAIN), _GRAIN)
            given += accounts[name].size
        accounts[side[-1][0]].size = smaller - given
    for account in accounts.values():
        account.opened = account.size


def _open_earlier(account: Account, price: Fraction, percent: int) -> None:
    """Give a position an entry price and what it has won or lost since; not so much that it lacks initial margin."""
    entry = price * (100 + percent) / 100
    won = account.size * (price - entry) * (1 if account.side == LONG else -1)
    if (account.deposit + won) * MAX_LEVERAGE >= account.size * price:
        account.entry, account.equity = entry, account.deposit + won


def with_straddle(book: Book, share: Fraction) -> Book:
    """The book and an attacker who is long in one account and short in another, at the highest leverage there is.

    Args:
        share: size of each leg, of the open interest of a side without him.
    """
    twin = book.copy()
    size = book.open_interest(LONG) * share
    margin = size * book.mark / MAX_LEVERAGE
    for name, side in zip(STRADDLE_NAMES, (LONG, SHORT), strict=True):
        twin.accounts[name] = Account(name, side, size, book.mark, margin, margin, opened=size)
    return twin
