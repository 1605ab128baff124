"""prorata's row: one move by hand, and the model's own receipts."""

from collections.abc import Callable
from fractions import Fraction

from prorata.rules.book import GAIN, Book
from prorata.rules.settlement import ProRata
from prorata.rules.shocks import path
from prorata.scenarios import PricePoint
from prorata.units import LONG, SHORT

ORDER = ["A", "B", "C", "D", "idle"]


def test_one_move_by_hand(crash: tuple[Book, tuple[PricePoint, ...]]) -> None:
    """Longs lose 300, A lacks 100, insurance pays 40: winners get 240 of 300 for 15 units, 16 each instead of 20."""
    start, prices = crash
    start.insurance = Fraction(40)
    end = ProRata().settle(start, prices, ORDER)
    assert (end.gross, end.missing, end.covered, end.insurance) == (300, 100, 40, 0)
    assert [end.accounts[name].equity for name in ("B", "C")] == [300 + 9 * 16, 40 + 6 * 16]
    assert [end.accounts[name].taken[GAIN] for name in ("B", "C")] == [36, 24]
    # 5 of 15 are left, by one factor.
    assert [end.accounts[name].size for name in ("D", "B", "C")] == [5, 3, 2]
    assert (end.failed, end.calls) == (["A"], 1)
    assert end.closed_bankrupt == end.closed_opposite == 10 * 80


def test_what_is_left_of_closed_accounts_pays_for_others_closed_with_them(book: Callable[..., Book]) -> None:
    """A lacks 100, E is closed with 1 of 5 units' 400 left: 99 are missing."""
    rows = [("A", LONG, 10, 100), ("E", LONG, 5, 101), ("D", LONG, 5, 500), ("S", SHORT, 20, 1000)]
    end = ProRata().settle(book(rows, 100), path([100, 80]), ["A", "E", "D", "S"])
    assert sorted(end.failed) == ["A", "E"]
    assert (end.missing, end.accounts["S"].equity) == (99, 1000 + 400 - 99)


def test_a_fall_beyond_the_largest_step_takes_two_calls(book: Callable[..., Book]) -> None:
    rows = [("L", LONG, 1, 100), ("S", SHORT, 1, 100)]
    end = ProRata().settle(book(rows, 100), path([100, 40]), ["L", "S"])
    assert end.calls == 2
    assert (end.accounts["L"].equity, end.accounts["S"].equity) == (40, 160)
