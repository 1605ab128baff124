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
