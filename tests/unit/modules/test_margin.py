"""Margin: requirements rounded up, and both rules exact at their boundary."""

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

WAD, UNIT = 10**18, 10**36

SOURCE = """
from modules import margin

@external
@pure
def notional(shares: uint256, scale: uint256, mark: uint256) -> uint256:
    return margin._notional(shares, scale, mark)

@external
@pure
def requirement(notional: uint256, ratio: uint256) -> uint256:
    return margin._requirement(notional, ratio)

@external
@pure
def require_initial(collateral: uint256, notional: uint256, initial_margin: uint256):
    margin._require_initial(collateral, notional, initial_margin)

@external
@pure
def require_health(collateral: uint256, shares: uint256, collateral_before: uint256, shares_before: uint256):
    margin._require_health(collateral, shares, collateral_before, shares_before)

@external
@pure
def initial(initial_margin: uint256, slope: uint256, exposure: uint256, insured: uint256) -> uint256:
    return margin._initial(initial_margin, slope, exposure, insured)

@external
@pure
def is_below(
    collateral: uint256, is_long: bool, size: uint256, mark: uint256, price: uint256, ratio: uint256
) -> bool:
    return margin._is_below(collateral, is_long, size, mark, price, ratio)

@external
@pure
def liquidable(
    collateral: uint256,
    size: uint256,
    mark: uint256,
    initial_margin: uint256,
    liquidation_fee: uint256,
    min_notional: uint256,
) -> uint256:
    return margin._liquidable(collateral, size, mark, initial_margin, liquidation_fee, min_notional)
"""


@pytest.fixture(scope="module")
def read(chain: BoaChain) -> Callable[..., Any]:
    return partial(chain.call, chain.deploy_source(SOURCE))


class TestNotional:
    @pytest.mark.parametrize(
        ("shares", "scale", "mark", "notional"),
        [
            (2 * WAD, WAD // 2, 3 * WAD, 3 * WAD),
            (1, 1, 1, 1),  # 10**-36 of a wei
            (1, WAD, WAD, 1),
            (1, WAD, WAD + 1, 2),
            (0, WAD, WAD, 0),
            (2**110 - 1, 10**14, 2**80 - 1, ceil(Fraction((2**110 - 1) * 10**14 * (2**80 - 1), UNIT))),
        ],
    )
    def test_on_paper(self, read: Callable[..., Any], shares: int, scale: int, mark: int, notional: int) -> None:
        assert read("notional", shares, scale, mark) == notional

    @settings(max_examples=120, deadline=None)
    @given(shares=st.integers(0, 2**110), scale=st.integers(10**14, WAD), mark=st.integers(2**30, 2**80 - 1))
    def test_is_rounded_up(self, read: Callable[..., Any], shares: int, scale: int, mark: int) -> None:
        assert read("notional", shares, scale, mark) == ceil(Fraction(shares * scale * mark, UNIT))


class TestRequirement:
    @settings(max_examples=120, deadline=None)
    @given(notional=st.integers(0, 2**130), ratio=st.integers(0, WAD))
    @example(notional=20, ratio=WAD // 20)
    @example(notional=21, ratio=WAD // 20)
    @example(notional=1, ratio=1)
    def test_is_rounded_up(self, read: Callable[..., Any], notional: int, ratio: int) -> None:
        assert read("requirement", notional, ratio) == ceil(Fraction(notional * ratio, WAD))


class TestInitial:
    @settings(max_examples=60, deadline=None)
    @given(notional=st.integers(1, 2**130), ratio=st.integers(1, WAD))
    @example(notional=21, ratio=WAD // 20)
    def test_the_last_collateral_that_is_enough(
        self, read: Callable[..., Any], refuses: Callable[..., Any], notional: int, ratio: int
    ) -> None:
        required = ceil(Fraction(notional * ratio, WAD))
        read("require_initial", required, notional, ratio)
        with refuses("margin: below initial"):
            read("require_initial", required - 1, notional, ratio)


class TestHealth:
    """Collateral over shares against the same before: exact for any two fractions."""

    @pytest.mark.parametrize(
        ("after", "before"),
        [
            ((50, 5), (100, 10)),  # exactly as healthy
            ((34, 1), (100, 3)),  # 33.3 a share before
            ((0, 1), (0, 2)),
            ((1, 1), (0, 10)),
            ((2**121 - 1, 2**112 - 2), (2**121 - 1, 2**112 - 1)),  # the largest numbers there are
        ],
    )
    def test_accepts_no_less(self, read: Callable[..., Any], after: tuple[int, int], before: tuple[int, int]) -> None:
        read("require_health", *after, *before)

    @pytest.mark.parametrize(
        ("after", "before"),
        [
            ((49, 5), (100, 10)),
            ((33, 1), (100, 3)),
            ((0, 1), (1, 2**112 - 1)),
            ((2**121 - 1, 2**112 - 1), (2**121 - 1, 2**112 - 2)),
        ],
    )
    def test_refuses_any_less(
        self,
        read: Callable[..., Any],
        refuses: Callable[..., Any],
        after: tuple[int, int],
        before: tuple[int, int],
    ) -> None:
        with refuses("margin: less healthy than before"):
            read("require_health", *after, *before)

    @settings(max_examples=100, deadline=None)
    @given(
        collateral_before=st.integers(1, 2**120),
        shares_before=st.integers(2, 2**112 - 1),
        part=st.fractions(0, 1, max_denominator=10**6),
    )
    def test_the_last_collateral_that_is_enough(
        self,
        read: Callable[..., Any],
        refuses: Callable[..., Any],
        collateral_before: int,
        shares_before: int,
        part: Fraction,
    ) -> None:
        shares = max(int(shares_before * part), 1)
        needed = ceil(Fraction(collateral_before * shares, shares_before))
        read("require_health", needed, shares, collateral_before, shares_before)
        with refuses("margin: less healthy than before"):
            read("require_health", needed - 1, shares, collateral_before, shares_before)


class TestGrowingInitial:
    """Initial margin for new risk: so much more per open interest over insurance, up to all of the notional."""

    FIVE, SLOPE = WAD // 20, WAD // 1000  # 5 %, and a tenth of a percent for every time insurance is carried

    @pytest.mark.parametrize(
        ("exposure", "insured", "percents"),
        [
            (0, 1000 * WAD - 1, 5),
            (1000 * WAD, 1000 * WAD - 1, Fraction("5.1")),
            (20_000 * WAD, 1000 * WAD - 1, 7),
            (950_000 * WAD, 1000 * WAD - 1, 100),
            (950_001 * WAD, 1000 * WAD - 1, 100),  # no more than the notional itself
            (2**117, 0, 100),  # insurance of a wei that is not there: nothing divides by zero
            (0, 0, 5),
        ],
    )
    def test_on_paper(self, read: Callable[..., Any], exposure: int, insured: int, percents: Fraction) -> None:
        assert read("initial", self.FIVE, self.SLOPE, exposure, insured) == percents * WAD / 100

    def test_rises_by_the_last_digit_and_not_before(self, read: Callable[..., Any]) -> None:
        # A digit of the ratio is insurance / slope of exposure: with 1000 (and the wei) behind it, 10**6 wei.
        insured, digit = 1000 * WAD - 1, 10**6
        assert [
            read("initial", self.FIVE, self.SLOPE, exposure, insured) - self.FIVE
            for exposure in (0, digit - 1, digit, 2 * digit - 1, 2 * digit)
        ] == [0, 0, 1, 1, 2]

    def test_stops_at_the_notional(self, read: Callable[..., Any]) -> None:
        insured, digit = 1000 * WAD - 1, 10**6
        last = (WAD - self.FIVE) * digit
        assert [read("initial", self.FIVE, self.SLOPE, last + more, insured) for more in (-1, 0, digit)] == [
            WAD - 1,
            WAD,
            WAD,
        ]

    def test_a_wei_more_counts_as_insurance(self, read: Callable[..., Any]) -> None:
        assert read("initial", 0, 1, 10, 0) == 10
        assert read("initial", 0, 1, 10, 1) == 5
        assert read("initial", 0, 1, 10, 3) == 2  # ten quarters, rounded down

    @settings(max_examples=150, deadline=None)
    @given(
        initial_margin=st.integers(1, WAD),
        slope=st.integers(0, WAD),
        exposure=st.integers(0, 2**117),
        insured=st.integers(0, 2**121) | st.integers(0, 10),
    )
    @example(initial_margin=WAD, slope=WAD, exposure=2**117, insured=0)
    def test_is_exact(
        self, read: Callable[..., Any], initial_margin: int, slope: int, exposure: int, insured: int
    ) -> None:
        exact = initial_margin + Fraction(exposure * slope, insured + 1)
        assert read("initial", initial_margin, slope, exposure, insured) == min(floor(exact), WAD)


class TestIsBelow:
    """Equity as of the mark, carried to a price, against a share of the notional there: rounded against the account."""

    @pytest.mark.parametrize(
        ("is_long", "price", "least"),
        [
            (True, 100, 5),  # 2.5 % of two units at 100
            (False, 100, 5),
            (True, 90, Fraction("24.5")),  # 20 lost, 2.5 % of 180
            (False, 90, Fraction("-15.5")),  # 20 won
            (True, 120, -34),
            (False, 120, 46),
        ],
    )
    def test_on_paper(self, read: Callable[..., Any], is_long: bool, price: int, least: Fraction) -> None:
        arguments = (is_long, 2 * WAD, 100 * WAD, price * WAD, WAD // 40)
        if least <= 0:
            assert not read("is_below", 0, *arguments)
            return
        assert not read("is_below", int(least * WAD), *arguments)
        assert read("is_below", int(least * WAD) - 1, *arguments)

    def test_half_a_wei_of_gain_is_none_and_half_a_wei_of_loss_is_one(self, read: Callable[..., Any]) -> None:
        # Half a wei of size, as it were: one wei of price on half a unit. Nothing is required at a ratio of zero.
        half = WAD // 2
        assert read("is_below", 0, True, half, 100 * WAD, 100 * WAD - 1, 0)
        assert not read("is_below", 1, True, half, 100 * WAD, 100 * WAD - 1, 0)
        assert not read("is_below", 0, True, half, 100 * WAD, 100 * WAD + 1, 0)
        assert read("is_below", 0, False, half, 100 * WAD, 100 * WAD + 1, 0)
        # A gain of half a wei does not make up for a requirement of a wei.
        assert read("is_below", 0, True, half, WAD, WAD + 1, 1)

    @settings(max_examples=200, deadline=None)
    @given(
        is_long=st.booleans(),
        size=st.integers(1, 2**96 - 1) | st.integers(1, 10**6),
        mark=st.integers(2**30, 2**80 - 1),
        price=st.integers(2**30, 2**80 - 1),
        ratio=st.integers(1, WAD),
    )
    @example(is_long=True, size=2**96 - 1, mark=2**80 - 1, price=2**30, ratio=WAD)
    @example(is_long=False, size=2**96 - 1, mark=2**30, price=2**80 - 1, ratio=WAD)
    def test_the_last_collateral_that_is_enough(
        self, read: Callable[..., Any], is_long: bool, size: int, mark: int, price: int, ratio: int
    ) -> None:
        notional = ceil(Fraction(size * price, WAD))
        moved = (price - mark) * size if is_long else (mark - price) * size
        needed = ceil(Fraction(notional * ratio, WAD)) - floor(Fraction(moved, WAD))
        assert not read("is_below", max(needed, 0), is_long, size, mark, price, ratio)
        if needed > 0:
            assert read("is_below", needed - 1, is_long, size, mark, price, ratio)


class TestLiquidable:
    """What brings a position back to initial margin, the fee on it paid: s of c - f s p = i (n - s) p."""

    INITIAL, FEE = WAD // 20, WAD // 100

    def liquidable(self, read: Callable[..., Any], collateral: int, min_notional: int = WAD) -> int:
        """Of a unit at 1000, at 5 % and a fee of 1 %."""
        return int(read("liquidable", collateral, WAD, 1000 * WAD, self.INITIAL, self.FEE, min_notional))

    @pytest.mark.parametrize(
        ("collateral", "part"),
        [
            (20, Fraction(3, 4)),  # 30 are lacking; every unit frees 50 and costs 10. Left: 12.5 for a quarter, of 250
            (24, Fraction(13, 20)),
            (49, Fraction(1, 40)),
            (12, Fraction(19, 20)),
            (10, 1),  # the fee on all of it: nothing would be left
            (9, 1),
            (0, 1),
        ],
    )
    def test_on_paper(self, read: Callable[..., Any], collateral: int, part: Fraction) -> None:
        assert self.liquidable(read, collateral * WAD) == part * WAD

    @pytest.mark.parametrize("min_notional", [10**15, WAD, 300 * WAD])
    def test_is_at_least_the_smallest_position(self, read: Callable[..., Any], min_notional: int) -> None:
        """At initial margin nothing would be lacking; but a keeper without a position cannot take less over."""
        assert self.liquidable(read, 50 * WAD, min_notional) == min_notional // 1000
        assert self.liquidable(read, 49 * WAD, min_notional) == max(min_notional // 1000, WAD // 40)

    def test_the_smallest_position_is_rounded_up(self, read: Callable[..., Any]) -> None:
        # 1200 dollars at initial margin, and no size at 3 dollars is worth just one.
        arguments = (60 * WAD, 400 * WAD, 3 * WAD, self.INITIAL, self.FEE, WAD)
        assert read("liquidable", *arguments) == ceil(Fraction(WAD, 3))

    def test_a_wei_of_notional_begun_counts_whole(self, read: Callable[..., Any]) -> None:
        # Twenty and a half wei of quote, of which 5 % are two and not one; that is eighty of size, and there are 41.
        assert read("liquidable", 0, 41, WAD // 2, WAD // 20, 0, 0) == 41

    def test_all_of_it_if_the_rest_would_be_too_small(self, read: Callable[..., Any]) -> None:
        # A quarter is left, worth 250.
        assert self.liquidable(read, 20 * WAD, min_notional=250 * WAD) == WAD * 3 // 4
        assert self.liquidable(read, 20 * WAD, min_notional=250 * WAD + 1) == WAD

    def test_what_is_left_of_it_is_rounded_down(self, read: Callable[..., Any]) -> None:
        """A third of a wei of size too much is a wei too much: rather healthy."""
        size, mark, fee = 9 * WAD, 1000 * WAD, WAD // 50  # every unit frees 50 and costs 20
        # 450 less 400: 50 of 30 a unit.
        assert read("liquidable", 400 * WAD, size, mark, self.INITIAL, fee, WAD) == 5 * WAD // 3 + 1

    @settings(max_examples=200, deadline=None)
    @given(
        size=st.integers(10**12, 2**96 - 1) | st.integers(WAD, 100 * WAD),
        mark=st.integers(2**40, 2**80 - 1) | st.integers(WAD, 10**5 * WAD),
        initial=st.integers(2 * WAD // 100, WAD),
        fee_part=st.fractions(0, 1, max_denominator=1000).filter(lambda part: part < 1),
        health=st.fractions(0, 1, max_denominator=10**6),
        min_notional=st.integers(10**15, 10**20),
    )
    def test_is_the_least_that_makes_it_healthy(
        self,
        read: Callable[..., Any],
        size: int,
        mark: int,
        initial: int,
        fee_part: Fraction,
        health: Fraction,
        min_notional: int,
    ) -> None:
        fee = floor(initial * fee_part)
        collateral = floor(Fraction(size * mark * initial, WAD**2) * health)
        taken = read("liquidable", collateral, size, mark, initial, fee, min_notional)
        # In wei of size, exactly; what is lacking is rounded up twice, by less than a wei of quote each.
        exact = (Fraction(initial * size * mark, WAD**2) - collateral) / Fraction((initial - fee) * mark, WAD**2)
        wei = Fraction(WAD**2, (initial - fee) * mark)
        exact = max(exact, Fraction(min_notional * WAD, mark))  # the smallest position
        if taken == size:
            rest_at_most = (size - exact) * mark
            assert exact + 2 * wei + 1 >= size or rest_at_most - (2 * wei + 1) * mark < min_notional * WAD
        else:
            assert exact <= taken < exact + 2 * wei + 1
            assert (size - taken) * mark >= min_notional * WAD

    @pytest.mark.parametrize("mark", [2**30, 2**80 - 1])
    def test_of_the_largest_numbers_there_are(self, read: Callable[..., Any], mark: int) -> None:
        """The least difference between initial margin and fee that parameters allow: nothing overflows."""
        size = 2**96 - 1
        notional = -(-size * mark // WAD)
        assert read("liquidable", 0, size, mark, WAD, WAD - 1, WAD) == size
        # A wei is lacking, and a unit of notional taken over brings one.
        taken = read("liquidable", notional - 1, size, mark, WAD, WAD - 1, WAD)
        assert (taken - 1) * mark < WAD**2 <= taken * mark
