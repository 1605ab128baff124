"""MCDEX 3: the rates of its own test, and a market that ends."""

from fractions import Fraction

import pytest

from prorata.rules.book import GAIN, Book
from prorata.rules.emergency import EmergencySettlement, redemption_rates
from prorata.scenarios import PricePoint


@pytest.mark.parametrize(
    ("collateral", "without", "having", "rates"),
    [
        ("6.5", 10, 20, ("0.65", "0")),  # as in the protocol's test of `clear`
        ("15", 10, 20, ("1", "0.25")),
        ("40", 10, 20, ("1", "1")),
        ("5", 0, 20, ("1", "0.25")),
        ("0", 0, 0, ("1", "1")),
    ],
)
def test_rates(collateral: str, without: int, having: int, rates: tuple[str, str]) -> None:
    found = redemption_rates(Fraction(collateral), Fraction(without), Fraction(having))
    assert found == (Fraction(rates[0]), Fraction(rates[1]))


def test_everybody_with_a_position_gives_the_same_part(crash: tuple[Book, tuple[PricePoint, ...]]) -> None:
    """100 lacks, margins of D, B and C are 400 + 480 + 160 = 1040: each gets 940 / 1040, the idle account all."""
    start, prices = crash
    end = EmergencySettlement().settle(start, prices, ["A", "B", "C", "D", "idle"])
    rate = Fraction(940, 1040)
    assert [end.accounts[name].equity for name in ("D", "B", "C")] == [400 * rate, 480 * rate, 160 * rate]
    assert end.accounts["idle"].equity == 70
    assert end.accounts["B"].taken[GAIN] == 480 * (1 - rate)
    assert not any(account.size for account in end.accounts.values())
    assert end.calls == 1 + 3


def test_nothing_ends_while_insurance_pays(crash: tuple[Book, tuple[PricePoint, ...]]) -> None:
    start, prices = crash
    start.insurance = Fraction(100)
    end = EmergencySettlement().settle(start, prices, ["A", "B", "C", "D", "idle"])
    assert (end.covered, end.accounts["B"].equity, end.accounts["D"].size) == (100, 480, 5)
