"""Percolator: h, conversion and warmup, by hand from its specification."""

from collections.abc import Callable
from fractions import Fraction

import pytest

from prorata.rules.book import GAIN, Book
from prorata.rules.junior import JuniorProfit, haircut
from prorata.rules.shocks import path
from prorata.scenarios import PricePoint
from prorata.units import LONG, SHORT


@pytest.mark.parametrize(
    ("residual", "profits", "h"), [(200, 400, "1/2"), (500, 400, "1"), (-1, 400, "0"), (0, 0, "1")]
)
def test_h_is_what_backs_profits(residual: int, profits: int, h: str) -> None:
    assert haircut(Fraction(residual), Fraction(profits)) == Fraction(h)


def test_all_profits_get_h(crash: tuple[Book, tuple[PricePoint, ...]]) -> None:
    """Vault 1010; capitals at the end 0 + 400 + 300 + 40 + 70 = 810; residual 200 for profits of 300: h is 2/3."""
    start, prices = crash
    end = JuniorProfit().settle(start, prices, ["A", "B", "C", "D", "idle"])
    assert [end.accounts[name].equity for name in ("B", "C")] == [300 + 120, 40 + 80]
    assert [end.accounts[name].taken[GAIN] for name in ("B", "C")] == [60, 40]
    assert [end.accounts[name].equity for name in ("A", "D", "idle")] == [0, 400, 70]
    assert end.calls == 2  # the crank, and A


def test_profit_that_has_warmed_up_is_capital(book: Callable[..., Book]) -> None:
    """S wins 50 on the way down. Going up again it loses 20 of it; a minute later the other 30 are capital, at h = 1.

    Then the price falls on and bankrupts A: only the gain of that move is junior.
    """
    rows = [("A", LONG, 5, 90), ("S", SHORT, 5, 1000)]
    end = JuniorProfit().settle(book(rows, 100), path([100, 90, 94, 70]), ["A", "S"])
    # A has 90 in all and lacks 60: of the last move's 120 S gets 60, and keeps the 30 it had.
    assert end.missing == 60
    assert end.accounts["S"].equity == 1000 + 30 + 60
    assert end.accounts["S"].taken[GAIN] == 60


def test_insurance_pays_before_h(crash: tuple[Book, tuple[PricePoint, ...]]) -> None:
    start, prices = crash
    start.insurance = Fraction(100)
    end = JuniorProfit().settle(start, prices, ["A", "B", "C", "D", "idle"])
    assert (end.insurance, end.accounts["B"].equity, end.accounts["C"].equity) == (0, 480, 160)
