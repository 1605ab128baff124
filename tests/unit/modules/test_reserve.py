"""The reserve: two words hold what the vault has and the window of draws, and no field spills into another."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prorata.boa_chain import BoaChain
from prorata.embedded import EmbeddedContract

WAD = 10**18
CAP, WINDOW = WAD // 2, 3600
OUT_OF_RANGE = "packing: out of range"
MOST = 2**128 - 1

SOURCE = """
from modules import reserve

initializes: reserve
exports: (
    reserve.held,
    reserve.window_start,
    reserve.window_assets,
    reserve.window_drawn,
    reserve.draw_cap,
    reserve.draw_window,
)

drawn: public(uint256)

@deploy
def __init__(cap: uint256, window: uint256):
    reserve.__init__(cap, window)

@external
@pure
def pack(high: uint256, low: uint256) -> uint256:
    return reserve._pack(high, low)

@external
def receive(amount: uint256):
    reserve._receive(amount)

@external
def release(amount: uint256):
    reserve._release(amount)

@external
@view
def drawable(assets: uint256) -> uint256:
    return reserve._drawable(assets)

@external
def draw(amount: uint256, assets: uint256):
    self.drawn = reserve._draw(amount, assets)
"""

Refuses = Callable[[str], Any]


@dataclass(frozen=True)
class Reserve:
    """The module on a chain."""

    chain: BoaChain
    contract: EmbeddedContract

    def read(self, function: str, *arguments: Any) -> int:
        return int(self.chain.call(self.contract, function, *arguments))

    def send(self, function: str, *arguments: Any) -> None:
        self.chain.transact(self.contract, function, *arguments, sender=0)

    @property
    def fields(self) -> tuple[int, int, int, int]:
        """Held; start, assets and draws of the window."""
        held, start, assets, drawn = (
            self.read(name) for name in ("held", "window_start", "window_assets", "window_drawn")
        )
        return held, start, assets, drawn

    @property
    def words(self) -> list[int]:
        """As they lie in storage."""
        return [self.chain._env.get_storage(self.contract.address, slot) for slot in range(2)]


@pytest.fixture(scope="module")
def deployed(chain: BoaChain) -> Reserve:
    return Reserve(chain, chain.deploy_source(SOURCE, CAP, WINDOW))


@pytest.fixture
def reserve(chain: BoaChain, deployed: Reserve) -> Iterator[Reserve]:
    with chain.anchor():
        yield deployed


def test_begins_with_nothing_and_no_window(reserve: Reserve) -> None:
    assert reserve.fields == (0, 0, 0, 0)
    assert (reserve.read("draw_cap"), reserve.read("draw_window")) == (CAP, WINDOW)


class TestPacking:
    @settings(max_examples=100, deadline=None)
    @given(high=st.integers(0, MOST), low=st.integers(0, MOST))
    def test_is_two_halves(self, deployed: Reserve, high: int, low: int) -> None:
        assert deployed.read("pack", high, low) == high * 2**128 + low

    @pytest.mark.parametrize("beyond", [MOST + 1, 2**255, 2**256 - 1])
    def test_refuses_what_fits_neither(self, deployed: Reserve, refuses: Refuses, beyond: int) -> None:
        assert deployed.read("pack", MOST, MOST) == 2**256 - 1
        for pair in ((beyond, 0), (0, beyond), (beyond, MOST), (MOST, beyond)):
            with refuses(OUT_OF_RANGE):
                deployed.read("pack", *pair)


class TestHeld:
    def test_adds_up(self, reserve: Reserve) -> None:
        for function, amount, held in (("receive", 7, 7), ("receive", 5, 12), ("release", 4, 8), ("release", 8, 0)):
            reserve.send(function, amount)
            assert reserve.read("held") == held

    def test_to_the_last_bit_and_not_beyond(self, reserve: Reserve, refuses: Refuses) -> None:
        reserve.send("receive", MOST)
        for more in (1, MOST):
            with refuses(OUT_OF_RANGE):
                reserve.send("receive", more)
        assert reserve.fields == (MOST, 0, 0, 0)
        reserve.send("release", MOST)
        with refuses(""):
            reserve.send("release", 1)
        assert reserve.fields == (0, 0, 0, 0)

    def test_does_not_touch_the_window(self, reserve: Reserve) -> None:
        reserve.send("receive", 100)
        reserve.send("draw", 30, 100)
        window = reserve.fields[1:]
        reserve.send("release", 30)
        reserve.send("receive", MOST - 70)
        assert reserve.fields == (MOST, *window)


class TestDraw:
    def test_the_first_begins_a_window(self, reserve: Reserve) -> None:
        reserve.send("receive", 5)
        reserve.send("draw", 30, 1000)
        assert reserve.fields == (5, reserve.chain.now, 1000, 30)
        assert reserve.words == [reserve.chain.now * 2**128 + 5, 30 * 2**128 + 1000]
        assert reserve.read("drawn") == 30

    def test_the_first_begins_a_window_however_long_one_is(self, chain: BoaChain) -> None:
        """None has begun in the year 1970."""
        reserve = Reserve(chain, chain.deploy_source(SOURCE, CAP, 2**60))
        assert reserve.read("drawable", 1000) == 500
        reserve.send("draw", 30, 1000)
        assert reserve.fields == (0, reserve.chain.now, 1000, 30)

    def test_the_next_ones_count_in_it(self, reserve: Reserve) -> None:
        reserve.send("draw", 30, 1000)
        start = reserve.chain.now
        reserve.chain.advance(WINDOW - 2)
        reserve.send("draw", 100, 970)
        assert reserve.chain.now == start + WINDOW - 1
        assert reserve.fields == (0, start, 1000, 130)
        assert reserve.read("drawn") == 130

    def test_until_it_is_over(self, reserve: Reserve) -> None:
        reserve.send("draw", 500, 1000)
        start = reserve.chain.now
        reserve.chain.advance(WINDOW - 1)
        reserve.send("draw", 250, 500)
        assert reserve.fields == (0, start + WINDOW, 500, 250)
        assert reserve.read("drawn") == 250

    def test_no_more_than_the_cap(self, reserve: Reserve, refuses: Refuses) -> None:
        with refuses("vault: above the draw cap"):
            reserve.send("draw", 501, 1000)
        reserve.send("draw", 300, 1000)
        assert reserve.read("drawable", 700) == 200
        assert reserve.read("drawable", 300) == 150
        with refuses("vault: above the draw cap"):
            reserve.send("draw", 201, 700)
        reserve.send("draw", 200, 700)
        assert reserve.read("drawable", 10**6) == 0

    def test_assets_that_fit_no_field_are_refused(self, reserve: Reserve, refuses: Refuses) -> None:
        with refuses(OUT_OF_RANGE):
            reserve.send("draw", 1, MOST + 1)
        reserve.send("draw", MOST // 2, MOST)
        assert reserve.fields == (0, reserve.chain.now, MOST, MOST // 2)
