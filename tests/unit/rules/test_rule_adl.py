"""The two queues, and who is closed at which price, by hand."""

from collections.abc import Callable
from fractions import Fraction

import pytest

from prorata.rules.adl import AutoDeleveraging, binance_rank, hyperliquid_rank
from prorata.rules.book import GAIN, Account, Book
from prorata.scenarios import PricePoint
from prorata.units import LONG, SHORT

Crash = tuple[Book, tuple[PricePoint, ...]]
ORDER = ["A", "B", "C", "D", "idle"]


def account(side: int, size: int, entry: int, equity: int) -> Account:
    return Account("x", side, Fraction(size), Fraction(entry), Fraction(equity), Fraction(equity))


def test_binance_ranks_by_pnl_percentage_times_effective_leverage() -> None:
    # Notional 480, unrealized 120: a quarter; 480 over 420 of equity is the leverage.
    assert binance_rank(account(SHORT, 6, 100, 420), Fraction(80)) == (True, Fraction(1, 4) * Fraction(480, 420))
    # With a loss of 120 on 480 it is divided: the higher the leverage, the nearer to zero.
    assert binance_rank(account(SHORT, 6, 60, 240), Fraction(80)) == (False, Fraction(-1, 4) / 2)


def test_hyperliquid_ranks_by_price_over_entry_times_leverage() -> None:
    assert hyperliquid_rank(account(LONG, 5, 80, 200), Fraction(100)) == (True, Fraction(5, 4) * Fraction(500, 200))
    assert hyperliquid_rank(account(SHORT, 6, 100, 420), Fraction(80)) == (True, Fraction(5, 4) * Fraction(480, 420))
    assert hyperliquid_rank(account(SHORT, 6, 60, 240), Fraction(80)) == (False, Fraction(3, 4) * 2)


@pytest.mark.parametrize("rank", [binance_rank, hyperliquid_rank])
def test_queue_is_closed_at_the_bankruptcy_price(crash: Crash, rank: Callable[..., tuple[bool, Fraction]]) -> None:
    """C has 160 of equity on 480, B 480 on 720: C is closed first, all 6, then 4 of B's 9; each pays 90 - 80 a unit."""
    start, prices = crash
    end = AutoDeleveraging("adl", "ADL", "", rank).settle(start, prices, ORDER)
    assert {name: one.equity for name, one in end.accounts.items()} == {
        "A": 0,
        "D": 400,
        "B": 300 + 9 * 20 - 4 * 10,
        "C": 40 + 6 * 20 - 6 * 10,
        "idle": 70,
    }
    assert {name: one.size for name, one in end.accounts.items()} == {"A": 0, "D": 5, "B": 5, "C": 0, "idle": 0}
    assert end.accounts["C"].taken[GAIN] == 60
    assert (end.missing, end.returned, end.unborne, end.calls) == (100, 0, 0, 3)


def test_insurance_pays_first_and_its_part_of_the_position_is_closed_at_the_mark(crash: Crash) -> None:
    """Insurance pays half, so half of the 10 are for the queue: 5 of C. The other 5 come from all shorts, at 80."""
    start, prices = crash
    start.insurance = Fraction(50)
    end = AutoDeleveraging("adl", "ADL", "", binance_rank).settle(start, prices, ORDER)
    assert (end.insurance, end.covered) == (0, 50)
    assert (end.accounts["C"].equity, end.accounts["B"].equity) == (110, 480)
    # 9 and 1 are left in the shorts; half of each goes.
    assert (end.accounts["B"].size, end.accounts["C"].size) == (Fraction(9, 2), Fraction(1, 2))


def test_at_the_previous_mark_winners_lose_the_whole_move(crash: Crash) -> None:
    """As documented: everything is as if the 10 had been closed at 100. A keeps what it had there."""
    start, prices = crash
    end = AutoDeleveraging("adl", "ADL", "", hyperliquid_rank, at_previous_mark=True).settle(start, prices, ORDER)
    assert (end.accounts["A"].equity, end.returned) == (100, 100)
    assert (end.accounts["C"].equity, end.accounts["B"].equity) == (40, 300 + 5 * 20)
    assert end.wealth() == start.wealth()
