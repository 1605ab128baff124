"""The state of a settlement: stored as given, sides apart, an ended epoch's indices kept for good."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prorata.boa_chain import BoaChain

WAD = 10**18
MARK = 1234 * WAD
LONG, SHORT = 0, 1
NO_TOP = -(2**158)
FRESH = (0, WAD, 0, NO_TOP)

SOURCE = """
from modules import packing
from modules import sides

initializes: sides

@deploy
def __init__(mark: uint256):
    sides._begin(mark)

@external
@view
def load() -> sides.State:
    return sides._load()

@external
def store(state: sides.State):
    sides._store(state)

@external
def end_epoch():
    sides._store(sides._end_epoch(sides._load()))

@external
@view
def final_index(book: uint256) -> int256:
    return sides._final_index[book]

@external
@pure
def book(epoch: uint256, side: uint256) -> uint256:
    return sides._book(epoch, side)

@external
@pure
def open_interest(side: packing.Side) -> uint256:
    return sides._open_interest(side)
"""

SIDES = st.tuples(
    st.integers(0, 2**112 - 1),
    st.integers(0, 2**64 - 1),
    st.integers(-(2**159), 2**159 - 1),
    st.integers(-(2**95), 2**95 - 1).map(lambda units: units << 64),
)


@pytest.fixture(scope="module")
def deployed(chain: BoaChain) -> Any:
    return chain.deploy_source(SOURCE, MARK)


@pytest.fixture(scope="module")
def read(chain: BoaChain, deployed: Any) -> Callable[..., Any]:
    return partial(chain.call, deployed)


@pytest.fixture(scope="module")
def send(chain: BoaChain, deployed: Any) -> Callable[..., Any]:
    return partial(chain.transact, deployed, sender=0)


@pytest.fixture
def undone(chain: BoaChain) -> Iterator[None]:
    with chain.anchor():
        yield


def state(
    mark: int, epoch: int, owed: int, long: tuple[int, ...], short: tuple[int, ...], rest: tuple[int, ...] = (0,) * 5
) -> tuple[Any, ...]:
    """Core and sides; `rest` of the core: conditions, premium, accrued_at, limited_at, reduce_only_until."""
    return (mark, epoch, owed, *rest), (long, short)


def test_a_market_starts_empty_at_the_mark(chain: BoaChain, read: Callable[..., Any], deployed: Any) -> None:
    """And its clock at the second in which it begins."""
    assert deployed  # the one transaction of this chain so far
    assert read("load") == state(MARK, 0, 0, FRESH, FRESH, (0, 0, chain.now, 0, 0))


@settings(max_examples=60, deadline=None)
@given(
    mark=st.integers(0, 2**80 - 1),
    epoch=st.integers(0, 2**32 - 1),
    owed=st.integers(0, 2**128 - 1),
    rest=st.tuples(
        st.integers(0, 2**8 - 1), st.integers(-(2**119), 2**119 - 1), *[st.integers(0, 2**40 - 1) for _ in range(3)]
    ),
    long=SIDES,
    short=SIDES,
)
def test_what_is_stored_is_loaded(
    chain: BoaChain,
    read: Callable[..., Any],
    send: Callable[..., Any],
    mark: int,
    epoch: int,
    owed: int,
    rest: tuple[int, ...],
    long: tuple[int, ...],
    short: tuple[int, ...],
) -> None:
    stored = state(mark, epoch, owed, long, short, rest)
    with chain.anchor():
        send("store", stored)
        assert read("load") == stored


@pytest.mark.usefixtures("undone")
class TestEndOfAnEpoch:
    LONG_SIDE = (20 * WAD, WAD // 2, -(7 * 10**36) - 1, -5 << 64)
    SHORT_SIDE = (10 * WAD, WAD, 3 * 10**36 + 1, -9 << 64)

    def test_both_sides_start_afresh_at_the_same_mark(self, read: Callable[..., Any], send: Callable[..., Any]) -> None:
        send("store", state(MARK, 4, 99, self.LONG_SIDE, self.SHORT_SIDE))
        send("end_epoch")
        assert read("load") == state(MARK, 5, 99, FRESH, FRESH)

    def test_the_rest_of_the_core_lives_on(self, read: Callable[..., Any], send: Callable[..., Any]) -> None:
        rest = (12, -(3 * WAD), 7, 8, 9)
        send("store", state(MARK, 4, 99, self.LONG_SIDE, self.SHORT_SIDE, rest))
        send("end_epoch")
        assert read("load") == state(MARK, 5, 99, FRESH, FRESH, rest)

    def test_states_the_epoch_that_ended_and_its_indices(self, send: Callable[..., Any]) -> None:
        send("store", state(MARK, 4, 99, self.LONG_SIDE, self.SHORT_SIDE))
        (log,) = send("end_epoch").logs
        expected = {"epoch": 4, "long_index": self.LONG_SIDE[2], "short_index": self.SHORT_SIDE[2]}
        assert (log.name, dict(log.fields)) == ("EpochEnded", expected)

    def test_the_last_indices_are_kept_by_book(self, read: Callable[..., Any], send: Callable[..., Any]) -> None:
        send("store", state(MARK, 4, 99, self.LONG_SIDE, self.SHORT_SIDE))
        send("end_epoch")
        assert read("final_index", read("book", 4, LONG)) == self.LONG_SIDE[2]
        assert read("final_index", read("book", 4, SHORT)) == self.SHORT_SIDE[2]

    def test_a_later_end_leaves_earlier_ones_alone(self, read: Callable[..., Any], send: Callable[..., Any]) -> None:
        send("store", state(MARK, 4, 0, self.LONG_SIDE, self.SHORT_SIDE))
        send("end_epoch")
        send("store", state(MARK, 5, 0, self.SHORT_SIDE, self.LONG_SIDE))
        send("end_epoch")
        kept = [read("final_index", read("book", epoch, side)) for epoch in (4, 5) for side in (LONG, SHORT)]
        assert kept == [self.LONG_SIDE[2], self.SHORT_SIDE[2], self.SHORT_SIDE[2], self.LONG_SIDE[2]]

    def test_epochs_do_not_wrap(
        self, read: Callable[..., Any], send: Callable[..., Any], refuses: Callable[..., Any]
    ) -> None:
        send("store", state(MARK, 2**32 - 2, 0, FRESH, FRESH))
        send("end_epoch")
        with refuses("packing: out of range"):
            send("end_epoch")
        assert read("load")[0][1] == 2**32 - 1


def test_six_slots_and_no_more(chain: BoaChain, deployed: Any, send: Callable[..., Any]) -> None:
    """A state whose every bit is set fills the first slots of the contract; the next is the map of final indices."""
    with chain.anchor():
        side = (2**112 - 1, 2**64 - 1, -1, -1 << 64)
        send("store", state(2**80 - 1, 2**32 - 1, 2**128 - 1, side, side, (2**8 - 1, -1, *[2**40 - 1] * 3)))
        words = [chain._env.get_storage(deployed.address, slot) for slot in range(8)]
    core, clock, exposure, reach = 2**248 - 1, 2**240 - 1, 2**176 - 1, 2**256 - 1
    assert words == [core, clock, exposure, exposure, reach, reach, 0, 0]


def test_every_side_of_every_epoch_has_its_own_book(read: Callable[..., Any]) -> None:
    epochs = [0, 1, 2, 3, 255, 256, 2**31, 2**32 - 1]
    books = [read("book", epoch, side) for epoch in epochs for side in (LONG, SHORT)]
    assert books == [2 * epoch + side for epoch in epochs for side in (LONG, SHORT)]


@settings(max_examples=100, deadline=None)
@given(shares=st.integers(0, 2**112 - 1), scale=st.integers(10**14, WAD))
def test_open_interest_is_shares_times_scale_rounded_down(read: Callable[..., Any], shares: int, scale: int) -> None:
    open_interest = read("open_interest", (shares, scale, 0, 0))
    assert open_interest * WAD <= shares * scale < (open_interest + 1) * WAD
