"""The breaker: where a step towards the index ends, and what is remembered of a market that lags."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from prorata.boa_chain import BoaChain

WAD = 10**18
MARK = 1000 * WAD
PERCENT = WAD // 100
MIN_PRICE, MAX_PRICE = 2**30, 2**80 - 1
LAGGING = 1

SOURCE = """
from interfaces import IPerpetualMarket
from modules import breaker

initializes: breaker

@external
@pure
def target(mark: uint256, index_price: uint256, step_target: uint256, max_price_step: uint256) -> uint256:
    return breaker._target(mark, index_price, step_target, max_price_step)

@external
def remember(lag: breaker.Lag):
    breaker._lag = lag

@external
@view
def load(conditions: uint256) -> breaker.Lag:
    core: IPerpetualMarket.Core = empty(IPerpetualMarket.Core)
    core.conditions = conditions
    return breaker._load(core)
"""

PRICES = st.integers(MIN_PRICE, MAX_PRICE)
STEPS = st.integers(1, WAD // 2)


@pytest.fixture(scope="module")
def deployed(chain: BoaChain) -> Any:
    return chain.deploy_source(SOURCE)


@pytest.fixture(scope="module")
def target(chain: BoaChain, deployed: Any) -> Callable[..., int]:
    return partial(chain.call, deployed, "target")


class TestANewStep:
    @pytest.mark.parametrize(
        ("mark", "index_price", "step", "expected"),
        [
            (MARK, MARK, PERCENT, MARK),
            (MARK, MARK + 1, PERCENT, MARK + 1),
            (MARK, MARK - 1, PERCENT, MARK - 1),
            (MARK, 1010 * WAD, PERCENT, 1010 * WAD),
            (MARK, 990 * WAD, PERCENT, 990 * WAD),
            (MARK, 1010 * WAD + 1, PERCENT, 1010 * WAD),
            (MARK, 990 * WAD - 1, PERCENT, 990 * WAD),
            (MARK + 199, 2 * MARK, PERCENT, 1010 * WAD + 199 + 1),  # 1 % of 199 wei is 1.99
            (MARK + 199, MARK // 2, PERCENT, 990 * WAD + 199 - 1),
            (MARK, MAX_PRICE, WAD // 2, 1500 * WAD),
            (MARK, MIN_PRICE, WAD // 2, 500 * WAD),
            (MAX_PRICE, MIN_PRICE, WAD // 2, MAX_PRICE - MAX_PRICE // 2),
            (MIN_PRICE, MAX_PRICE, WAD // 2, MIN_PRICE + MIN_PRICE // 2),
        ],
    )
    def test_on_paper(self, target: Callable[..., int], mark: int, index_price: int, step: int, expected: int) -> None:
        assert target(mark, index_price, 0, step) == expected

    @settings(max_examples=150, deadline=None)
    @given(mark=PRICES, index_price=PRICES, step=STEPS)
    def test_ends_at_the_index_or_exactly_a_step_away(
        self, target: Callable[..., int], mark: int, index_price: int, step: int
    ) -> None:
        end = target(mark, index_price, 0, step)
        most = mark * step // WAD
        assert abs(end - mark) == min(most, abs(index_price - mark))
        assert abs(index_price - end) == abs(index_price - mark) - abs(end - mark)  # towards it, never beyond


class TestAnOpenStep:
    """A step that the budget stopped somewhere between `mark` and its end goes on to that end."""

    @pytest.mark.parametrize(
        ("mark", "index_price", "open_step", "expected"),
        [
            (1004, 2000, 1010, 1010),
            (1004, 1008, 1010, 1008),  # the index came nearer than the step's end
            (1004, 1010, 1010, 1010),
            (996, 500, 990, 990),
            (996, 993, 990, 993),
            (1004, 500, 1010, 1004 - 10.04),  # the index turned round: a new step, of its own length
            (996, 2000, 990, 996 + 9.96),
            (1004, 1003, 1010, 1003),
            (1010, 2000, 1010, 1020.1),  # nothing is left of it
            (1020, 2000, 1010, 1030.2),  # it lies behind
            (980, 500, 990, 970.2),
        ],
    )
    @pytest.mark.parametrize("unit", [WAD, 10**12])
    def test_on_paper(
        self, target: Callable[..., int], mark: int, index_price: int, open_step: int, expected: float, unit: int
    ) -> None:
        assert target(mark * unit, index_price * unit, open_step * unit, PERCENT) == round(expected * 100) * unit // 100

    @settings(max_examples=150, deadline=None)
    @given(mark=PRICES, index_price=PRICES, step=STEPS, part=st.integers(0, 1000))
    @example(mark=MARK, index_price=2 * MARK, step=PERCENT, part=999)
    @example(mark=MARK, index_price=MIN_PRICE, step=PERCENT, part=1)
    def test_wherever_it_was_stopped_it_ends_where_it_would_have(
        self, target: Callable[..., int], mark: int, index_price: int, step: int, part: int
    ) -> None:
        end = target(mark, index_price, 0, step)
        stopped_at = mark + (end - mark) * part // 1000
        if stopped_at != end:
            assert target(stopped_at, index_price, end, step) == end

    @settings(max_examples=150, deadline=None)
    @given(mark=PRICES, index_price=PRICES, open_step=PRICES, step=STEPS)
    def test_it_only_ever_shortens_a_step(
        self, target: Callable[..., int], mark: int, index_price: int, open_step: int, step: int
    ) -> None:
        fresh, going_on = target(mark, index_price, 0, step), target(mark, index_price, open_step, step)
        same_way = (open_step - mark) * (index_price - mark) > 0
        shorter = same_way and abs(open_step - mark) < abs(fresh - mark)
        assert going_on == (open_step if shorter else fresh)


class TestLag:
    LAG = (1234 * WAD, 1111 * WAD, -(10**30))

    @pytest.mark.parametrize("conditions", range(16))
    def test_is_read_only_while_the_market_lags(self, chain: BoaChain, deployed: Any, conditions: int) -> None:
        with chain.anchor():
            chain.transact(deployed, "remember", self.LAG, sender=0)
            expected = self.LAG if conditions & LAGGING else (0, 0, 0)
            assert tuple(chain.call(deployed, "load", conditions)) == expected
