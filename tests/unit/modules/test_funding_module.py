"""Funding: what a fill leaves behind, how it decays, what is due for it, and who owes it."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, localcontext
from fractions import Fraction
from functools import partial
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from prorata.boa_chain import BoaChain

WAD, UNIT = 10**18, 10**36
MARK = 1000 * WAD
LONG, SHORT = 0, 1
DAY = 86_400
RETENTION = WAD - WAD // 28_800

SOURCE = """
from interfaces import IPerpetualMarket
from modules import funding
from modules import packing
from modules import sides

@internal
@pure
def _state(premium: int256, accrued_at: uint256, mark: uint256, shares: uint256[2], scales: uint256[2]) -> sides.State:
    state: sides.State = empty(sides.State)
    state.core.mark = mark
    state.core.premium = premium
    state.core.accrued_at = accrued_at
    for i: uint256 in range(2):
        state.sides[i].shares = shares[i]
        state.sides[i].scale = scales[i]
    return state

@external
@pure
def payer(amount: int256) -> uint256:
    return funding._payer(amount)

@external
@pure
def premium(size: uint256, price: uint256, mark: uint256, fees: uint256) -> int256:
    return funding._premium(size, price, mark, fees)

@external
@pure
def bounded(
    premium: int256, mark: uint256, shares: uint256[2], scales: uint256[2], max_funding: uint256
) -> int256:
    return funding._bounded(self._state(premium, 7, mark, shares, scales), max_funding)

@external
@view
def accrue(
    premium: int256,
    accrued_at: uint256,
    mark: uint256,
    shares: uint256[2],
    scales: uint256[2],
    rest: int256,
    retention: uint256,
    max_funding: uint256,
) -> (IPerpetualMarket.Core, int256):
    return funding._accrue(self._state(premium, accrued_at, mark, shares, scales), rest, retention, max_funding)
"""

SHARES = st.integers(0, 2**110)
SCALES = st.integers(10**14, WAD)
MARKS = st.integers(2**30, 2**80 - 1)
PREMIUMS = st.integers(-(2**117), 2**117)


@pytest.fixture(scope="module")
def deployed(chain: BoaChain) -> Any:
    return chain.deploy_source(SOURCE)


@pytest.fixture(scope="module")
def read(chain: BoaChain, deployed: Any) -> Callable[..., Any]:
    return partial(chain.call, deployed)


@pytest.fixture(scope="module")
def accrue(chain: BoaChain, deployed: Any) -> Callable[..., tuple[int, int, int]]:
    """`accrue(premium, seconds, ...)`: premium after, accrued_at less now, and what is due per share of the payers."""

    def call(
        premium: int,
        seconds: int,
        shares: tuple[int, int] = (WAD, WAD),
        scales: tuple[int, int] = (WAD, WAD),
        mark: int = MARK,
        rest: int = 0,
        retention: int = RETENTION,
        max_funding: int = WAD,
    ) -> tuple[int, int, int]:
        core, due = chain.call(
            deployed,
            "accrue",
            premium,
            chain.now - seconds,
            mark,
            list(shares),
            list(scales),
            rest,
            retention,
            max_funding,
        )
        return core[4], core[5] - chain.now, due

    return call


def truncated(x: Fraction) -> int:
    """Towards zero."""
    return int(x)


def power(ratio: int, n: int) -> Fraction:
    """An 18-digit ratio to the power of n, to 80 digits."""
    with localcontext() as context:
        context.prec = 80
        return Fraction((Decimal(ratio) / WAD) ** n)


def test_longs_pay_what_is_positive(read: Callable[..., Any]) -> None:
    assert [read("payer", amount) for amount in (1, WAD, -1, -WAD)] == [LONG, LONG, SHORT, SHORT]


class TestPremium:
    @pytest.mark.parametrize(
        ("size", "price", "fees", "premium"),
        [
            (2 * WAD, 1003 * WAD, 100 * WAD, 6 * WAD),
            (2 * WAD, 997 * WAD, 100 * WAD, -6 * WAD),
            (2 * WAD, MARK, 100 * WAD, 0),
            (2 * WAD, 1003 * WAD, 6 * WAD, 6 * WAD),
            (2 * WAD, 1003 * WAD, 6 * WAD - 1, 6 * WAD - 1),
            (2 * WAD, 997 * WAD, 6 * WAD - 1, -6 * WAD + 1),
            (2 * WAD, 1003 * WAD, 0, 0),
            (2 * WAD, 997 * WAD, 0, 0),
            (WAD // 2, MARK + 3, 100, 1),  # a wei and a half
            (WAD // 2, MARK - 3, 100, -1),
            (1, MARK + WAD - 1, 100, 0),
            (1, MARK - WAD + 1, 100, 0),
        ],
    )
    def test_on_paper(self, read: Callable[..., Any], size: int, price: int, fees: int, premium: int) -> None:
        assert read("premium", size, price, MARK, fees) == premium

    @settings(max_examples=120, deadline=None)
    @given(size=st.integers(1, 2**96), price=MARKS, mark=MARKS, fees=st.integers(0, 2**118))
    def test_is_size_times_distance_or_all_the_fees(
        self, read: Callable[..., Any], size: int, price: int, mark: int, fees: int
    ) -> None:
        exact = Fraction(size * (price - mark), WAD)
        assert read("premium", size, price, mark, fees) == truncated(max(min(exact, Fraction(fees)), Fraction(-fees)))


class TestBound:
    @pytest.mark.parametrize(
        ("premium", "shares", "scales", "expected"),
        [
            (30 * WAD, (3, 9), (WAD, WAD), 30 * WAD),
            (30 * WAD + 1, (3, 9), (WAD, WAD), 30 * WAD),
            (-30 * WAD - 1, (3, 9), (WAD, WAD), -30 * WAD - 1),  # shorts pay, and there are more of them
            (-90 * WAD - 1, (3, 9), (WAD, WAD), -90 * WAD),
            (90 * WAD, (9, 3), (WAD // 3, WAD), 29_999_999_999_999_999_970),  # 9 shares of 0.33.. each
            (WAD, (0, 9), (WAD, WAD), 0),
            (-WAD, (9, 0), (WAD, WAD), 0),
            (1, (0, 0), (WAD, WAD), 0),
            (0, (3, 9), (WAD, WAD), 0),
        ],
    )
    def test_on_paper(
        self,
        read: Callable[..., Any],
        premium: int,
        shares: tuple[int, int],
        scales: tuple[int, int],
        expected: int,
    ) -> None:
        """1 % of the value of the payers' open interest, at 1000."""
        counts = [count * WAD for count in shares]
        assert read("bounded", premium, MARK, counts, list(scales), WAD // 100) == expected

    def test_of_a_wei_too_little_nothing(self, read: Callable[..., Any]) -> None:
        assert [read("bounded", 5, WAD, [wei, 0], [WAD, WAD], WAD // 100) for wei in (99, 100)] == [0, 1]

    @settings(max_examples=120, deadline=None)
    @given(
        premium=PREMIUMS,
        mark=MARKS,
        shares=st.tuples(SHARES, SHARES),
        scales=st.tuples(SCALES, SCALES),
        part=st.integers(0, WAD // 10),
    )
    def test_never_more_and_no_less_than_it_must(
        self,
        read: Callable[..., Any],
        premium: int,
        mark: int,
        shares: tuple[int, int],
        scales: tuple[int, int],
        part: int,
    ) -> None:
        bounded = read("bounded", premium, mark, list(shares), list(scales), part)
        payer = LONG if premium > 0 else SHORT
        exact = Fraction(shares[payer] * scales[payer] * mark * part, WAD**3)
        assert abs(bounded) <= exact
        assert bounded * premium >= 0
        # Three floors: of the size, which costs a mark's worth, of the value and of the part.
        slack = Fraction(mark * part, WAD**2) + Fraction(part, WAD) + 1
        assert abs(bounded) == abs(premium) or exact - abs(bounded) < slack


class TestAccrual:
    @pytest.mark.parametrize("sign", [1, -1])
    @pytest.mark.parametrize("seconds", [1, 2, 60, 3600, DAY, 30 * DAY])
    def test_what_decays_is_paid(self, accrue: Callable[..., tuple[int, int, int]], sign: int, seconds: int) -> None:
        premium = 3 * WAD
        after, age, due = accrue(sign * premium, seconds, shares=(2 * WAD, 2 * WAD))
        left = truncated(premium * power(RETENTION, seconds))
        assert abs(after * sign - left) <= 1
        assert age == 0
        assert due == sign * (premium - after * sign) * WAD // 2

    @pytest.mark.parametrize(("sign", "payers"), [(1, (5, 3)), (-1, (3, 5))])
    def test_by_the_payers_shares(
        self, accrue: Callable[..., tuple[int, int, int]], sign: int, payers: tuple[int, int]
    ) -> None:
        shares = (payers[0] * WAD, payers[1] * WAD)
        after, _, due = accrue(sign * WAD, 3600, shares=shares)
        paid = WAD - sign * after
        assert due == sign * (paid * UNIT // (5 * WAD))

    @pytest.mark.parametrize("premium", [WAD, -WAD, 0])
    def test_in_no_time_nothing(self, accrue: Callable[..., tuple[int, int, int]], premium: int) -> None:
        assert accrue(premium, 0) == (premium, 0, 0)

    def test_without_a_premium_time_does_not_count(self, accrue: Callable[..., tuple[int, int, int]]) -> None:
        """It begins to when a fill leaves one; until then nothing need be written."""
        assert accrue(0, 3600) == (0, -3600, 0)

    @pytest.mark.parametrize("sign", [1, -1])
    def test_the_last_wei_is_paid_too(self, accrue: Callable[..., tuple[int, int, int]], sign: int) -> None:
        """A premium decays towards zero, so a wei does not stand for ever."""
        assert accrue(sign, 1) == (0, 0, sign * WAD)

    def test_after_ages_nothing_is_left(self, chain: BoaChain, accrue: Callable[..., tuple[int, int, int]]) -> None:
        assert accrue(2**117, chain.now, shares=(2**110, 2**110), mark=2**80 - 1)[0] == 0

    @settings(max_examples=80, deadline=None)
    @given(
        premium=PREMIUMS.filter(bool),
        seconds=st.integers(0, 60 * DAY),
        shares=st.integers(WAD, 2**110),
        retention=st.integers(WAD // 2, WAD - 1),
    )
    @example(premium=2**117, seconds=28_800, shares=WAD, retention=WAD - 1)
    def test_premium_and_payments_add_up(
        self,
        accrue: Callable[..., tuple[int, int, int]],
        premium: int,
        seconds: int,
        shares: int,
        retention: int,
    ) -> None:
        """No wei of premium is lost, none is paid that was not there, and the payers owe at most that."""
        after, _, due = accrue(
            premium, seconds, shares=(shares, shares), retention=retention, mark=2**80 - 1, max_funding=WAD
        )
        sign = 1 if premium > 0 else -1
        assert 0 <= after * sign <= premium * sign
        assert due == sign * min((premium - after) * sign * UNIT // shares, WAD * (2**80 - 1))

    @settings(max_examples=40, deadline=None)
    @given(premium=st.integers(10**12, 2**100), first=st.integers(1, DAY), second=st.integers(1, DAY))
    def test_two_intervals_pay_what_one_does(
        self, accrue: Callable[..., tuple[int, int, int]], premium: int, first: int, second: int
    ) -> None:
        unlimited = {"shares": (2**100, 2**100), "mark": 2**80 - 1}
        halfway, _, due_first = accrue(premium, first, **unlimited)
        end, _, due_second = accrue(halfway, second, **unlimited)
        at_once, _, due = accrue(premium, first + second, **unlimited)
        assert abs(end - at_once) <= 2
        assert abs(due_first + due_second - due) * 2**100 <= 4 * UNIT


class TestWhatIsDueIsLimited:
    @pytest.mark.parametrize("sign", [1, -1])
    def test_to_a_part_of_the_mark_per_size(self, accrue: Callable[..., tuple[int, int, int]], sign: int) -> None:
        """A share of scale 0.5 owes half of 1 % of 1000, with 36 digits; the other side's scale has no say."""
        scales = (WAD // 2, WAD) if sign > 0 else (WAD, WAD // 2)
        options: dict[str, Any] = {"scales": scales, "max_funding": WAD // 100, "shares": (WAD, WAD)}
        _, _, due = accrue(sign * 1000 * WAD, 30 * DAY, **options)
        assert due == sign * 5 * UNIT
        _, _, due = accrue(sign * 5 * WAD, 30 * DAY, **options)
        assert abs(due - sign * 5 * UNIT) <= WAD

    @pytest.mark.parametrize("sign", [1, -1])
    def test_rest_included(self, accrue: Callable[..., tuple[int, int, int]], sign: int) -> None:
        options: dict[str, Any] = {"max_funding": WAD // 100}
        assert accrue(0, 60, rest=sign * 3 * UNIT, **options) == (0, -60, sign * 3 * UNIT)
        assert accrue(0, 0, rest=sign * 3 * UNIT, **options) == (0, 0, sign * 3 * UNIT)
        after, _, due = accrue(sign * WAD, 60, rest=sign * 3 * UNIT, **options)
        assert due == sign * 3 * UNIT + (sign * WAD - after) * WAD
        assert accrue(sign * 9 * WAD, 30 * DAY, rest=sign * 3 * UNIT, **options)[2] == sign * 10 * UNIT

    @pytest.mark.parametrize("sign", [1, -1])
    def test_nobody_owes_what_nobody_is_left_for(self, accrue: Callable[..., tuple[int, int, int]], sign: int) -> None:
        gone = (0, WAD) if sign > 0 else (WAD, 0)
        assert accrue(0, 60, rest=sign * UNIT, shares=gone)[2] == 0

    def test_nothing_if_funding_is_off(self, accrue: Callable[..., tuple[int, int, int]]) -> None:
        assert accrue(WAD, 3600, max_funding=0)[2] == 0
