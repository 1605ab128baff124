"""Mango 4 and Drift 2: the figures of Drift's own test, and a bystander who pays."""

from collections.abc import Callable
from fractions import Fraction

from prorata.rules.book import BYSTANDER_PRINCIPAL, GAIN, Book
from prorata.rules.both_sides import BothSides
from prorata.rules.rule import charge_by_size
from prorata.rules.shocks import path
from prorata.scenarios import PricePoint
from prorata.units import LONG, SHORT


def test_published_example(book: Callable[..., Book]) -> None:
    """A loss of 100 with 7 long and 4 short: 100 / 11 = 9.0909... a unit, whatever the side."""
    small = book([("longs", LONG, 7, 1000), ("shorts", SHORT, 4, 1000)], 100)
    charge_by_size(small, list(small.accounts.values()), Fraction(100), LONG)
    assert small.accounts["longs"].equity == 1000 - 7 * Fraction(100, 11)
    assert small.accounts["shorts"].equity == 1000 - 4 * Fraction(100, 11)
    assert round(Fraction(100, 11), 6) == Fraction("9.090909")


def test_survivors_of_the_losing_side_pay_too(crash: tuple[Book, tuple[PricePoint, ...]]) -> None:
    """100 lacks; 5 long and 15 short are left: 5 a unit. D lost 100 by the price and pays 25 of its own money."""
    start, prices = crash
    end = BothSides().settle(start, prices, ["A", "B", "C", "D", "idle"])
    assert end.accounts["D"].equity == 500 - 100 - 25
    assert end.accounts["D"].taken[BYSTANDER_PRINCIPAL] == 25
    assert end.accounts["B"].taken[GAIN] == 45
    assert (end.accounts["idle"].equity, end.calls) == (70, 2)


def test_being_charged_may_bankrupt_and_is_then_not_counted_as_paid(book: Callable[..., Book]) -> None:
    """A lacks 200; W is left with 5 by the price and charged a third of it: what it cannot pay, S bears in the end."""
    start = book([("A", LONG, 5, -100), ("W", LONG, 5, 105), ("S", SHORT, 10, 10_000)], 100)
    end = BothSides().settle(start, path([100, 80]), ["A", "W", "S"])
    assert end.accounts["W"].equity == 0
    assert end.accounts["W"].taken[BYSTANDER_PRINCIPAL] == 5
    assert end.accounts["S"].equity == 10_000 + 200 - 195
    assert (end.missing, end.unborne) == (200, 0)
