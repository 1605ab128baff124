"""OKEx: the figures of its own explanation, and a profit taken earlier in the week."""

from collections.abc import Callable
from fractions import Fraction

from prorata.rules.book import BYSTANDER_PROFIT, Book
from prorata.rules.clawback import WeeklyClawback
from prorata.rules.shocks import path
from prorata.scenarios import PricePoint
from prorata.units import LONG, SHORT


def test_published_example(book: Callable[..., Book]) -> None:
    """A and B have 1 each and 10 contracts at 1; at 0.10 B should win 9, but A has 1 only: 8 of 9 are clawed back."""
    end = WeeklyClawback().settle(book([("A", LONG, 10, 1), ("B", SHORT, 10, 1)], 1), path(["1", "0.10"]), ["A", "B"])
    assert end.missing == 8
    assert end.accounts["B"].equity == 1 + 1
    assert end.calls == 2


def test_every_profit_of_the_week_gives_the_same_part(crash: tuple[Book, tuple[PricePoint, ...]]) -> None:
    """100 lacks; profits are B's 180, C's 120 and 100 of somebody who has left: a quarter of each."""
    start, prices = crash
    start.accounts["idle"].equity += 100
    end = WeeklyClawback().settle(start, prices, ["A", "B", "C", "D", "idle"])
    assert [end.accounts[name].equity for name in ("B", "C", "idle")] == [300 + 135, 40 + 90, 70 + 75]
    assert end.accounts["idle"].taken[BYSTANDER_PROFIT] == 25
    assert end.accounts["D"].equity == 400


def test_leftovers_of_the_week_pay_first(crash: tuple[Book, tuple[PricePoint, ...]]) -> None:
    """D is closed later with 4 left: 96 are clawed back from what B and C won."""
    start, prices = crash
    start.accounts["D"].equity = start.accounts["D"].deposit = Fraction(104)
    start.closeout = Fraction(1, 50)
    end = WeeklyClawback().settle(start, prices, ["A", "B", "C", "D", "idle"])
    assert (end.covered, end.insurance) == (4, 0)
    assert end.accounts["B"].equity == 300 + 180 - Fraction(96 * 180, 300)
