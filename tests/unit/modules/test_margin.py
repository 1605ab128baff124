"""Margin: requirements rounded up, and both rules exact at their boundary."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import partial
from math import ceil
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
