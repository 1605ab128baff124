"""MCDEX 2: the figures of its document."""

from collections.abc import Callable
from fractions import Fraction

from prorata.rules.book import GAIN, Book
from prorata.rules.per_side import LossPerSide
from prorata.rules.shocks import path
from prorata.units import LONG, SHORT


def test_published_example(book: Callable[..., Book]) -> None:
    """A is long 1 at 7000 with 1000, of which a penalty takes 50; at 5000 it lacks 1050: 1.05 a contract of 1000.

    Charged to the opposite side, as the document's text says and the contracts do; its example names longs.
    """
    rows = [("A", LONG, 1, 950), ("Bob", LONG, 999, 7_000_000), ("X", SHORT, 1, 1000), ("Y", SHORT, 999, 10**6)]
    end = LossPerSide().settle(book(rows, 7000), path([7000, 5000]), ["A", "Bob", "X", "Y"])
    assert end.missing == 1050
    assert end.accounts["X"].equity == 1000 + 2000 - Fraction("1.05")
    assert end.accounts["X"].taken[GAIN] == Fraction("1.05")
    assert end.accounts["Y"].equity == 10**6 + 999 * (2000 - Fraction("1.05"))
    assert end.accounts["Bob"].equity == 7_000_000 - 999 * 2000
    assert end.calls == 1


def test_insurance_pays_first(book: Callable[..., Book]) -> None:
    rows = [("A", LONG, 1, 950), ("Bob", LONG, 999, 7_000_000), ("X", SHORT, 1000, 10**6)]
    end = LossPerSide().settle(book(rows, 7000, 1000), path([7000, 5000]), ["A", "Bob", "X"])
    assert (end.insurance, end.covered, end.accounts["X"].taken[GAIN]) == (0, 1000, 50)
