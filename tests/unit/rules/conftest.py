"""Small books, written by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

import pytest

from prorata.rules.book import Account, Book
from prorata.rules.shocks import path
from prorata.scenarios import PricePoint
from prorata.units import LONG, SHORT

#: Name, side, size, deposit; opened at the book's price. Size 0: no position.
Row = tuple[str, int, int | str, int | str]


def _book(rows: Sequence[Row], price: int | str, insurance: int = 0) -> Book:
    accounts = {}
    for name, side, size, deposit in rows:
        held, money = Fraction(size), Fraction(deposit)
        accounts[name] = Account(name, side if held else None, held, Fraction(price), money, money, opened=held)
    return Book(accounts, Fraction(price), Fraction(insurance))


@pytest.fixture(scope="session")
def book() -> Callable[..., Book]:
    """`book(rows, price, insurance)`."""
    return _book


@pytest.fixture
def crash() -> tuple[Book, tuple[PricePoint, ...]]:
    """A falls to 100 under zero when the price goes from 100 to 80: it is bankrupt at 90. The others can pay."""
    rows = [("A", LONG, 10, 100), ("D", LONG, 5, 500), ("B", SHORT, 9, 300), ("C", SHORT, 6, 40), ("idle", LONG, 0, 70)]
    return _book(rows, 100), path([100, 80])
