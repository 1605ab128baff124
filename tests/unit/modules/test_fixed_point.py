"""Rounding: floor and ceiling of quotients over the full range of a word, against exact fractions."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import partial
from math import ceil, floor
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from prorata.boa_chain import BoaChain

INT_MIN, INT_MAX, UINT_MAX = -(2**255), 2**255 - 1, 2**256 - 1
UNIT = 10**36

FULL = settings(max_examples=300, deadline=None)

SOURCE = """
from modules import fixed_point

@external
@pure
def floor_div(x: int256, y: int256) -> int256:
    return fixed_point._floor_div(x, y)

@external
@pure
def ceil_div(x: uint256, y: uint256) -> uint256:
    return fixed_point._ceil_div(x, y)

@external
@pure
def quote_down(exact: int256) -> int256:
    return fixed_point._quote_down(exact)

@external
@pure
def quote_up(exact: uint256) -> uint256:
    return fixed_point._quote_up(exact)

@external
@pure
def power(x: uint256, n: uint256) -> uint256:
    return fixed_point._power(x, n)

@external
@pure
def log2(x: uint256) -> uint256:
    return fixed_point._log2(x)

@external
@pure
def units() -> (uint256, uint256):
    return fixed_point.WAD, fixed_point.INDEX_UNIT
"""


@pytest.fixture(scope="module")
def read(chain: BoaChain) -> Callable[..., Any]:
    return partial(chain.call, chain.deploy_source(SOURCE))


@st.composite
def near_multiples(draw: st.DrawFn, lowest: int, highest: int) -> tuple[int, int]:
    """A dividend at most two away from a multiple of a positive divisor: where every rounding mistake shows."""
    divisor = draw(st.integers(1, highest))
    multiple = draw(st.integers(-(-lowest // divisor), highest // divisor)) * divisor
    return min(max(multiple + draw(st.integers(-2, 2)), lowest), highest), divisor


def anything(lowest: int, highest: int) -> st.SearchStrategy[tuple[int, int]]:
    return st.tuples(st.integers(lowest, highest), st.integers(1, highest)) | near_multiples(lowest, highest)


def test_units_have_18_and_36_digits(read: Callable[..., Any]) -> None:
    assert read("units") == (1_000_000_000_000_000_000, 1_000_000_000_000_000_000_000_000_000_000_000_000)


class TestFloorDiv:
    @pytest.mark.parametrize(
        ("x", "y", "quotient"),
        [
            (7, 2, 3),
            (-7, 2, -4),
            (-8, 2, -4),
            (-9, 2, -5),
            (-1, INT_MAX, -1),
            (0, 5, 0),
            (1, INT_MAX, 0),
            (INT_MAX, INT_MAX, 1),
            (INT_MIN, INT_MAX, -2),
            (INT_MIN, 1, INT_MIN),
            (INT_MAX, 1, INT_MAX),
            (INT_MIN, 2**254, -2),
        ],
    )
    def test_of_chosen_numbers(self, read: Callable[..., Any], x: int, y: int, quotient: int) -> None:
        assert read("floor_div", x, y) == quotient

    @FULL
    @given(numbers=anything(INT_MIN, INT_MAX))
    def test_is_the_floor(self, read: Callable[..., Any], numbers: tuple[int, int]) -> None:
        assert read("floor_div", *numbers) == floor(Fraction(*numbers))

    def test_refuses_to_divide_by_zero(self, read: Callable[..., Any], refuses: Callable[..., Any]) -> None:
        with refuses(""):
            read("floor_div", -1, 0)


class TestCeilDiv:
    @pytest.mark.parametrize(
        ("x", "y", "quotient"),
        [
            (0, 1, 0),
            (0, UINT_MAX, 0),
            (1, UINT_MAX, 1),
            (UINT_MAX, UINT_MAX, 1),
            (UINT_MAX, 1, UINT_MAX),
            (6, 3, 2),
            (7, 3, 3),
        ],
    )
    def test_of_chosen_numbers(self, read: Callable[..., Any], x: int, y: int, quotient: int) -> None:
        assert read("ceil_div", x, y) == quotient

    @FULL
    @given(numbers=anything(0, UINT_MAX))
    def test_is_the_ceiling(self, read: Callable[..., Any], numbers: tuple[int, int]) -> None:
        assert read("ceil_div", *numbers) == ceil(Fraction(*numbers))

    def test_refuses_to_divide_by_zero(self, read: Callable[..., Any], refuses: Callable[..., Any]) -> None:
        with refuses(""):
            read("ceil_div", 1, 0)


class TestQuote:
    """Exact quote (54 digits) to quote (18 digits)."""

    @settings(max_examples=150, deadline=None)
    @given(
        exact=st.integers(INT_MIN, INT_MAX)
        | st.builds(lambda q, r: q * UNIT + r, st.integers(-9, 9), st.integers(-1, 1))
    )
    @example(exact=-1)
    @example(exact=-UNIT)
    @example(exact=INT_MIN)
    def test_down_never_gives_more(self, read: Callable[..., Any], exact: int) -> None:
        quote = read("quote_down", exact)
        assert quote * UNIT <= exact < (quote + 1) * UNIT

    @settings(max_examples=150, deadline=None)
    @given(exact=st.integers(0, UINT_MAX) | st.builds(lambda q, r: q * UNIT + r, st.integers(1, 9), st.integers(-1, 1)))
    @example(exact=0)
    @example(exact=1)
    @example(exact=UINT_MAX)
    def test_up_never_asks_for_less(self, read: Callable[..., Any], exact: int) -> None:
        quote = read("quote_up", exact)
        assert (quote - 1) * UNIT < exact <= quote * UNIT


class TestPower:
    """x ** n, both with 36 digits: never above the exact power, and below it by less than 2 n of the last digit."""

    HALF_LIFE = UNIT - UNIT // 28_800  # what the default market keeps of its premium a second

    @staticmethod
    def assert_is(found: int, x: int, n: int) -> None:
        if n < 4096:
            exact = Fraction(x**n, UNIT ** (n - 1)) if n else Fraction(UNIT)
            assert found <= exact < found + max(2 * n, 1), (found, exact)
            return
        # Exact digits without end are cut off at 200, downwards and upwards: an enclosure of the power.
        low = high = None
        scale = 10**200
        for bit in bin(n)[2:]:
            if low is None:
                low = high = x * 10**164
                continue
            low, high = low * low // scale, -(-high * high // scale)
            if bit == "1":
                low, high = low * x // UNIT, -(-high * x // UNIT)
        assert found * 10**164 <= low
        assert high < (found + 2 * n) * 10**164

    @pytest.mark.parametrize("x", [0, 1, UNIT // 2, UNIT - 1, UNIT])
    def test_to_the_nothing_is_one(self, read: Callable[..., Any], x: int) -> None:
        assert read("power", x, 0) == UNIT

    @pytest.mark.parametrize("x", [0, 1, 7 * UNIT // 9, UNIT - 1, UNIT])
    def test_to_the_one_is_itself(self, read: Callable[..., Any], x: int) -> None:
        assert read("power", x, 1) == x

    @pytest.mark.parametrize("n", [1, 2, 3, 2**39, 2**40 - 1])
    def test_of_nothing_and_of_one(self, read: Callable[..., Any], n: int) -> None:
        assert read("power", 0, n) == 0
        assert read("power", UNIT, n) == UNIT

    @pytest.mark.parametrize(
        ("x", "n", "power"),
        [
            (UNIT // 2, 3, UNIT // 8),
            (UNIT // 2, 36, UNIT // 2**36),
            (UNIT // 10, 36, 1),
            (UNIT // 10, 37, 0),
            (UNIT - 1, 2, UNIT - 2),  # (1 - e)**2 = 1 - 2 e + e**2, floored
            (9 * UNIT // 10, 5, 59049 * UNIT // 10**5),
        ],
    )
    def test_on_paper(self, read: Callable[..., Any], x: int, n: int, power: int) -> None:
        assert read("power", x, n) == power

    @settings(max_examples=200, deadline=None)
    @given(
        x=st.integers(0, UNIT) | st.integers(UNIT - 10**32, UNIT) | st.integers(UNIT // 2, UNIT),
        n=st.integers(0, 4095) | st.integers(0, 12).map(lambda power: 2**power - 1),
    )
    @example(x=UNIT - 1, n=4095)
    @example(x=HALF_LIFE, n=3600)
    def test_is_the_exact_power_but_for_its_roundings(self, read: Callable[..., Any], x: int, n: int) -> None:
        self.assert_is(read("power", x, n), x, n)

    @settings(max_examples=150, deadline=None)
    @given(
        near_one=st.integers(1, 10**36) | st.integers(0, 36).map(lambda power: 10**power),
        n=st.integers(4096, 2**40 - 1) | st.integers(12, 39).map(lambda power: 2**power),
    )
    @example(near_one=1, n=2**40 - 1)
    @example(near_one=10**24, n=2**40 - 1)
    @example(near_one=UNIT // 28_800, n=86_400)
    @example(near_one=UNIT // 28_800, n=365 * 86_400)
    def test_however_long_it_stood(self, read: Callable[..., Any], near_one: int, n: int) -> None:
        x = UNIT - near_one
        self.assert_is(read("power", x, n), x, n)

    @settings(max_examples=60, deadline=None)
    @given(x=st.integers(0, UNIT), n=st.integers(0, 10**6))
    def test_never_grows_with_time(self, read: Callable[..., Any], x: int, n: int) -> None:
        assert read("power", x, n + 1) <= read("power", x, n) <= UNIT


class TestLog2:
    @pytest.mark.parametrize("power", range(256))
    def test_of_a_power_of_two_and_its_neighbours(self, read: Callable[..., Any], power: int) -> None:
        assert read("log2", 2**power) == power
        assert read("log2", 2 ** (power + 1) - 1) == power
        if power:
            assert read("log2", 2**power + 1) == power
            assert read("log2", 2**power - 1) == power - 1

    @FULL
    @given(bits=st.integers(1, 256), data=st.data())
    def test_is_the_highest_bit(self, read: Callable[..., Any], bits: int, data: st.DataObject) -> None:
        """Of numbers of every length, whatever stands below."""
        x = data.draw(st.integers(2 ** (bits - 1), 2**bits - 1))
        assert read("log2", x) == bits - 1
        assert 2 ** read("log2", x) <= x < 2 ** (read("log2", x) + 1)
