# pragma version 0.4.3
"""
@title Sides
@license AGPL-3.0-only
@notice The state one settlement reads and writes (design §2): the mark, the epoch, what is owed to insurance, and the two
        share pools, longs and shorts. Six storage slots, loaded once, changed in memory, stored once.

        Size of a position is shares * scale; a move changes one index, a deleverage one scale, and with them every
        account of the side.
"""

from ..interfaces import IPerpetualMarket
from . import fixed_point
from . import packing

LONG: constant(uint256) = 0
SHORT: constant(uint256) = 1
# Where no bucket is live: far below any reachable index.
NO_TOP: constant(int256) = -(2**158)


struct State:
    core: IPerpetualMarket.Core
    sides: packing.Side[2]


event EpochEnded:
    epoch: indexed(uint256)
    long_index: int256
    short_index: int256


_core: uint256
_clock: uint256
_exposure: uint256[2]
_reach: uint256[2]
# The index at which an epoch ended, by book; accounts left behind settle there.
_final_index: HashMap[uint256, int256]


@internal
@pure
def _fresh() -> packing.Side:
    """
    @notice A side at the start of an epoch: no shares, scale 1, index 0.
    """
    return packing.Side(shares=0, scale=fixed_point.WAD, index=0, top=NO_TOP)


@internal
def _begin(mark: uint256):
    """
    @notice A market that nobody has entered yet.
    """
    state: State = empty(State)
    state.core.mark = mark
    # Not zero, so that nobody pays for the word to become so.
    state.core.accrued_at = block.timestamp
    state.sides = [self._fresh(), self._fresh()]
    self._store(state)


@internal
@pure
def _book(epoch: uint256, side: uint256) -> uint256:
    """
    @notice The name of one side in one epoch; buckets and final indices are kept by book.
    """
    return (epoch << 1) | side


@internal
@view
def _load_core() -> IPerpetualMarket.Core:
    """
    @notice What most calls need to see that there is nothing to settle: two of the six slots.
    """
    return packing._unpack_core(self._core, self._clock)


@internal
def _store_core(core: IPerpetualMarket.Core):
    self._core = packing._pack_core(core)
    self._clock = packing._pack_clock(core)


@internal
@view
def _load() -> State:
    return State(
        core=self._load_core(),
        sides=[
            packing._unpack_side(self._exposure[LONG], self._reach[LONG]),
            packing._unpack_side(self._exposure[SHORT], self._reach[SHORT]),
        ],
    )


@internal
def _store(state: State):
    self._store_core(state.core)
    for side: uint256 in range(2):
        self._exposure[side] = packing._pack_exposure(state.sides[side])
        self._reach[side] = packing._pack_reach(state.sides[side])


@internal
def _store_traded(state: State):
    """
    @notice After a trade, which moves no index: that word is written only where a top was raised.
    """
    self._store_core(state.core)
    for side: uint256 in range(2):
        self._exposure[side] = packing._pack_exposure(state.sides[side])
        if state.sides[side].top > packing._unpack_top(self._reach[side]):
            self._reach[side] = packing._pack_reach(state.sides[side])


@internal
def _end_epoch(state: State) -> State:
    """
    @notice Both sides close at the mark: what each account then holds is fixed by the two indices kept here.
    @return The state at the start of the next epoch.
    """
    for side: uint256 in range(2):
        self._final_index[self._book(state.core.epoch, side)] = state.sides[side].index
    log EpochEnded(
        epoch=state.core.epoch, long_index=state.sides[LONG].index, short_index=state.sides[SHORT].index
    )
    return self._next_epoch(state)


@internal
@pure
def _next_epoch(state: State) -> State:
    """
    @notice The same market with nobody in it.
    """
    next: State = state
    next.core.epoch += 1
    next.sides = [self._fresh(), self._fresh()]
    return next


@internal
@pure
def _open_interest(side: packing.Side) -> uint256:
    """
    @notice Total size of a side, 18 digits, rounded down.
    """
    return side.shares * side.scale // fixed_point.WAD
