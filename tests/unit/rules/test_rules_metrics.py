"""The metrics on examples by hand."""

from collections.abc import Callable
from fractions import Fraction

import pytest

from prorata.rules import metrics
from prorata.rules.book import (
    BYSTANDER_PRINCIPAL,
    BYSTANDER_PROFIT,
    EARLIER,
    GAIN,
    PRINCIPAL,
    Book,
)
from prorata.units import LONG, SHORT


@pytest.mark.parametrize(
    ("losses", "gini"),
    [((0, 0, 0, 4), "3/4"), ((1, 1), "0"), ((1, 3), "1/4"), ((3, 1), "1/4"), ((5,), "0"), ((1, 2, 3), "2/9")],
)
def test_gini(losses: tuple[int, ...], gini: str) -> None:
    assert metrics.gini([Fraction(loss) for loss in losses]) == Fraction(gini)


def test_gini_of_nothing_lost_is_none() -> None:
    assert metrics.gini([Fraction(0), Fraction(0)]) is None
    assert metrics.gini([]) is None


def test_gini_of_a_gain_is_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        metrics.gini([Fraction(-1), Fraction(2)])


def test_a_winner_pays_out_of_the_move_then_earlier_gains_then_principal(book: Callable[..., Book]) -> None:
    """S won 30 before and 20 in this move, and has 100 of its own; charged 60."""
    one = book([("L", LONG, 1, 500), ("S", SHORT, 1, 100)], 100)
    one.move(Fraction(70))
    one.move(Fraction(50))
    winner = one.accounts["S"]
    one.charge(winner, Fraction(60), {LONG: Fraction(1)})
    assert [winner.taken[source] for source in (GAIN, EARLIER, PRINCIPAL)] == [20, 30, 10]
    assert (winner.equity, winner.fresh) == (90, 0)
    assert metrics.principal_touched(one) == 10
    assert metrics.loss(winner) == 60


def test_a_bystander_pays_out_of_profit_then_principal(book: Callable[..., Book]) -> None:
    one = book([("L", LONG, 1, 500), ("idle", LONG, 0, 100)], 100)
    one.accounts["idle"].equity = Fraction(110)
    one.charge(one.accounts["idle"], Fraction(15), {LONG: Fraction(1)})
    one.charge(one.accounts["L"], Fraction(5), {LONG: Fraction(1)})
    assert one.accounts["idle"].taken[BYSTANDER_PROFIT] == 10
    assert one.accounts["idle"].taken[BYSTANDER_PRINCIPAL] == 5
    assert one.accounts["L"].taken[BYSTANDER_PRINCIPAL] == 5
    assert metrics.Paid.of(one).bystanders == 20
    assert metrics.principal_touched(one) == 10


def test_a_charge_for_both_sides_is_split(book: Callable[..., Book]) -> None:
    """A quarter of what lacks is the longs' doing: only for that is a short a winner."""
    one = book([("S", SHORT, 1, 100)], 100)
    one.charge(one.accounts["S"], Fraction(8), {LONG: Fraction(1), SHORT: Fraction(3)})
    assert (one.accounts["S"].taken[PRINCIPAL], one.accounts["S"].taken[BYSTANDER_PRINCIPAL]) == (2, 6)


def test_overshoot(book: Callable[..., Book]) -> None:
    """A is bankrupt with 4 units at 50, B is closed with something left, 2 units: 100 of notional beyond."""
    one = book([("A", LONG, 4, 100), ("B", LONG, 2, 101), ("S", SHORT, 6, 1000)], 100)
    one.move(Fraction(50))
    assert one.default(one.accounts["A"]) == 100
    one.close(one.accounts["A"])
    one.retire(one.accounts["B"])
    one.charge(one.accounts["S"], Fraction(130), {LONG: Fraction(1)})
    assert metrics.closed_beyond(one) == 100
    assert metrics.taken_beyond(one) == 30
    assert (one.insurance, one.accounts["S"].size) == (1, 0)


def test_spread() -> None:
    outcomes = [
        {"a": Fraction(5), "b": Fraction(1)},
        {"a": Fraction(2), "b": Fraction(1)},
        {"a": Fraction(4), "b": Fraction(2)},
    ]
    assert metrics.spread(outcomes) == metrics.Spread(Fraction(3), Fraction(2))


def test_winners_stand_opposite_to_those_who_left_more_unpaid(book: Callable[..., Book]) -> None:
    start = book([("L", LONG, 1, 1), ("S", SHORT, 1, 1), ("idle", LONG, 0, 1)], 100)
    end = start.copy()
    end.defaults[SHORT] = Fraction(1)
    assert metrics.winners(start, end) == ["L"]
    end.defaults[LONG] = Fraction(2)
    assert metrics.winners(start, end) == ["S"]


def test_coalition_profit(book: Callable[..., Book]) -> None:
    start = book([("L", LONG, 1, 10), ("S", SHORT, 1, 20)], 100)
    end = start.copy()
    end.accounts["L"].equity, end.accounts["S"].equity = Fraction(0), Fraction(45)
    assert metrics.coalition_profit(start, end, ("L", "S")) == 15
