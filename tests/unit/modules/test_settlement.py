"""The move, number by number on paper (design §3).

Positions are in lots of 5**36 wei of size. To a lot every bucket edge is worth a whole number of wei (5**36 * 2**j /
10**36 for j >= 36), so nothing rounds but what a test means to round, and the numbers below are exact: a lot that moves
by one dollar gains or loses one `LOT` of quote, and 10 lots with a collateral of 100 are bankrupt 10 dollars away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass, replace
from fractions import Fraction
from math import ceil, floor
from typing import Any, NamedTuple

import pytest
from hypothesis import Phase, assume, example, given, settings
from hypothesis import strategies as st

from prorata.boa_chain import BoaChain
from prorata.chain import Transaction
from prorata.embedded import EmbeddedContract
from prorata.exchange import Exchange
from prorata.parameters import MarketParameters
from prorata.receipts import Receipt, receipts_in

WAD, UNIT = 10**18, 10**36
LONG, SHORT = 0, 1
FALLS, FUNDING, RISES = -1, 0, 1
NO_TOP = -(2**158)
NO_CEILING = 2**255 - 1
LOT = 5**36
MARK = 100
CLOSEOUT = WAD // 100
#: Width 0.1 % at a mark of 100: 2**116 / 10**36 = 0.08308 dollars.
LEVEL = 116
MIN_SCALE = 10**14
MAX_INDEX = 2**156

SOURCE = """
from modules import buckets
from modules import packing
from modules import settlement
from modules import sides

initializes: sides
initializes: buckets
initializes: settlement[buckets := buckets, sides := sides]
exports: (settlement.total_socialized, settlement.total_adl_shortfall)

done: public(settlement.Done)

@deploy
def __init__(mark: uint256):
    sides._begin(mark)

@external
@view
def state() -> sides.State:
    return sides._load()

@external
def set_state(state: sides.State):
    sides._store(state)

@external
@view
def final_index(epoch: uint256, side: uint256) -> int256:
    return sides._final_index[sides._book(epoch, side)]

@external
def open(side: uint256, level: uint256, shares: uint256, collateral: uint256):
    state: sides.State = sides._load()
    filing: buckets.Filing = buckets._locate(
        level, shares, collateral, state.sides[side].index, max_value(int256)
    )
    buckets._add(sides._book(state.core.epoch, side), filing, shares)
    state.sides[side].shares += shares
    state.sides[side].top = max(state.sides[side].top, buckets._upper_edge(level, filing.bucket))
    sides._store(state)

@external
@view
def plan(terms: settlement.Terms, step: settlement.Step, ceiling: int256) -> settlement.Plan:
    return settlement._plan(sides._load(), terms, step, ceiling)

@external
@view
def planned_state(terms: settlement.Terms, step: settlement.Step) -> sides.State:
    state: sides.State = sides._load()
    return settlement._after(state, step, settlement._plan(state, terms, step, max_value(int256)))

@external
def move(terms: settlement.Terms, step: settlement.Step):
    state: sides.State = empty(sides.State)
    state, self.done = settlement._move(sides._load(), terms, step)
    sides._store(state)

@external
@pure
def threshold(loser: packing.Side, index_drop: uint256, closeout_margin: uint256, mark: uint256) -> int256:
    return settlement._threshold(loser, convert(index_drop, int256), closeout_margin, mark)

@external
@pure
def reach(loser: packing.Side, edge: int256, closeout_margin: uint256, mark: uint256, direction: int256) -> uint256:
    return settlement._reach(loser, edge, closeout_margin, mark, direction)

@external
@pure
def moved(mark: uint256, distance: uint256, direction: int256) -> uint256:
    return settlement._moved(mark, distance, direction)

@external
@pure
def towards(state: sides.State, target: uint256, index_price: uint256) -> settlement.Step:
    return settlement._towards(state, target, index_price)

@external
@pure
def funding(due: int256, index_price: uint256) -> settlement.Step:
    return settlement._funding(due, index_price)
"""

#: Insurance that may pay its reserve and what it is owed, and sends whole units of a token.
INSURANCE = """
event Covered:
    amount: uint256
    owed: uint256

reserve: public(uint256)
unit: public(uint256)

@external
def set_reserve(reserve: uint256, unit: uint256):
    self.reserve = reserve
    self.unit = unit

@external
@view
def drawable(owed: uint256) -> uint256:
    return self.reserve + owed

@external
def cover(amount: uint256, owed: uint256) -> uint256:
    log Covered(amount=amount, owed=owed)
    if amount <= owed:
        return 0
    return (amount - owed + self.unit - 1) // self.unit * self.unit
"""


class Position(NamedTuple):
    """Lots, and collateral in dollars a lot's worth of quote."""

    lots: int
    collateral: int


class Way(NamedTuple):
    """How a price move goes: who loses, how far (18 digits), whither, and what the index price is."""

    loser: int
    distance: int
    direction: int
    index_price: int


class Step(NamedTuple):
    """`settlement.Step`."""

    loser: int
    direction: int
    distance: int
    index_drop: int
    index_price: int


@dataclass(frozen=True)
class SideState:
    shares: int
    scale: int
    index: int
    top: int


@dataclass(frozen=True)
class State:
    """The market: mark, epoch, owed to insurance, longs and shorts; what a move leaves alone; until when it tripped."""

    mark: int
    epoch: int
    owed: int
    long: SideState
    short: SideState
    #: Conditions, premium, accrued_at, limited_at.
    rest: tuple[int, int, int, int] = (0, 0, 0, 0)
    until: int = 0

    def as_tuple(self) -> tuple[Any, ...]:
        core = (self.mark, self.epoch, self.owed, *self.rest, self.until)
        return core, (astuple(self.long), astuple(self.short))

    @classmethod
    def of(cls, core: tuple[int, ...], sides: tuple[tuple[int, ...], tuple[int, ...]]) -> State:
        return cls(*core[:3], SideState(*sides[LONG]), SideState(*sides[SHORT]), tuple(core[3:7]), core[7])


@dataclass(frozen=True)
class Market:
    """The settlement module with a stub of insurance."""

    chain: BoaChain
    contract: EmbeddedContract
    insurance: EmbeddedContract

    def read(self, function: str, *arguments: Any) -> Any:
        return self.chain.call(self.contract, function, *arguments)

    def send(self, function: str, *arguments: Any) -> Transaction:
        return self.chain.transact(self.contract, function, *arguments, sender=0)

    @property
    def state(self) -> State:
        return State.of(*self.read("state"))

    def set_state(self, **changes: Any) -> None:
        """Overwrite parts of the state; `long_scale=...` reaches into a side."""
        values = dict(vars(self.state))
        for name, value in changes.items():
            side, _, part = name.partition("_")
            if part:
                values[side] = replace(values[side], **{part: value})
            else:
                values[name] = value
        self.send("set_state", State(**values).as_tuple())

    def open(self, side: int, *positions: tuple[int, int], level: int = LEVEL) -> None:
        for lots, collateral in positions:
            self.send("open", side, level, lots * LOT, collateral * LOT)

    def insure(self, reserve: int, unit: int = 1) -> None:
        """Let insurance pay `reserve` of quote, in whole token units of so much quote."""
        self.chain.transact(self.insurance, "set_reserve", reserve, unit, sender=0)

    def terms(self, max_buckets: int = 99, max_words: int = 99, cooloff: int = 0) -> tuple[Any, ...]:
        return CLOSEOUT, max_buckets, max_words, cooloff, self.insurance.address

    def way(self, price: int | Fraction) -> Way:
        """The way from the mark to a price in dollars."""
        goal, mark = int(price * WAD), self.state.mark
        return Way(LONG, mark - goal, FALLS, goal) if goal < mark else Way(SHORT, goal - mark, RISES, goal)

    def step(self, way: tuple[int, int, int, int]) -> Step:
        """That way as a step."""
        loser, distance, direction, index_price = way
        scale = (self.state.long, self.state.short)[loser].scale
        return Step(loser, direction, distance, scale * distance, index_price)

    def plan(self, step: Step, ceiling: int = NO_CEILING, **budget: int) -> Plan:
        return Plan(*self.read("plan", self.terms(**budget), step, ceiling))

    def move(self, way: tuple[int, int, int, int], **budget: int) -> Moved:
        """Go a way."""
        return self.carry_out(self.step(way), **budget)

    def fund(self, loser: int, index_drop: int, index_price: int | None = None, **budget: int) -> Moved:
        """Take so much a share from a side as funding, index units; the index stands at the mark unless it is named."""
        index = self.state.mark if index_price is None else index_price
        return self.carry_out(Step(loser, FUNDING, 0, index_drop, index), **budget)

    def carry_out(self, step: Step, **budget: int) -> Moved:
        """Carry out a step; its plan must be what happens."""
        before, plan = self.state, self.plan(step, **budget)
        transaction = self.send("move", self.terms(**budget), step)
        (receipt,) = receipts_in(transaction.logs)
        assert self.read("done") == (plan.index_drop, plan.stopped, plan.buckets, plan.words)
        assert plan.mark == receipt.mark_after
        scale = (before.long, before.short)[step.loser].scale
        if step.direction == FUNDING:
            assert plan.mark == before.mark
        else:
            assert plan.index_drop == scale * abs(receipt.mark_after - before.mark)
        covers = [tuple(log.fields.values()) for log in transaction.logs if log.name == "Covered"]
        names = [log.name for log in transaction.logs]
        return Moved(before, self.state, plan, receipt, covers, names, transaction.timestamp)

    def price(self, price: int | Fraction, **budget: int) -> Moved:
        """Move the mark to a price in dollars."""
        return self.move(self.way(price), **budget)


class Plan(NamedTuple):
    mark: int
    index_drop: int
    threshold: int
    scanned: bool
    stopped: bool
    buckets: int
    words: int
    closed_shares: int
    gross: int
    deficit: int
    surplus: int
    bonus: int
    adl_shortfall: int
    covered: int
    index_gain: int
    winner_scale: int


@dataclass(frozen=True)
class Moved:
    """A move: before, after, its plan, its receipt, what insurance was asked, the names of its events in order,
    its second."""

    before: State
    after: State
    plan: Plan
    receipt: Receipt
    covers: list[tuple[int, int]]
    events: list[str]
    timestamp: int

    def states(self, **dollars: int | Fraction) -> None:
        """The receipt says this of money, in dollars a lot; of what is not named it says zero."""
        names = ("gross", "deficit", "covered", "surplus", "bonus", "adl_shortfall")
        assert {name: getattr(self.receipt, name) for name in names} == {
            name: dollars.get(name, 0) * LOT for name in names
        }


@pytest.fixture(scope="module")
def contracts(chain: BoaChain) -> Market:
    return Market(chain, chain.deploy_source(SOURCE, MARK * WAD), chain.deploy_source(INSURANCE))


@pytest.fixture
def market(chain: BoaChain, contracts: Market) -> Iterator[Market]:
    """An empty market at a mark of 100, uninsured."""
    with chain.anchor():
        yield contracts


@pytest.fixture
def three(market: Market) -> Market:
    """A thin long (bankrupt at 90), a thick one (at 0) and a short (at 600)."""
    market.open(LONG, (10, 100), (10, 1000))
    market.open(SHORT, (20, 10_000))
    return market


def dollars(amount: int | Fraction) -> int:
    """An index amount: dollars a share."""
    return int(amount * UNIT)


def edge_of(kappa: Fraction) -> int:
    """Upper edge of the bucket of an account that is bankrupt when its index is at `kappa` dollars."""
    return (floor(kappa * UNIT / 2**LEVEL) + 1) * 2**LEVEL


# ---------------------------------------------------------------------------------------------------------- pure parts

SCALES = st.integers(10**14, WAD) | st.just(WAD)
MARKS = st.integers(2**30, 2**80 - 1) | st.integers(1, 10**6).map(lambda dollars: dollars * WAD)
MARGINS = st.integers(1, 98 * WAD // 100) | st.just(CLOSEOUT)
INDICES = st.integers(-(2**150), 2**150)


def exact_threshold(index: int, scale: int, distance: int, co: int, mark: int, direction: int) -> Fraction:
    """T after a move, index units: K - A d - co A (mark + d)."""
    return index - scale * distance - Fraction(co, WAD) * scale * (mark + direction * distance)


class TestThreshold:
    def test_on_paper(self, contracts: Market) -> None:
        # Half a unit a share, 7 dollars down, 1 % of a mark of 93 under it: -3.5 - 0.465.
        side = (0, WAD // 2, 0, 0)
        assert contracts.read("threshold", side, dollars(Fraction(7, 2)), CLOSEOUT, 93 * WAD) == -dollars(
            Fraction("3.965")
        )

    @settings(max_examples=150, deadline=None)
    @given(scale=SCALES, mark=MARKS, co=MARGINS, index=INDICES, drop=st.integers(0, 2**140))
    def test_is_rounded_up_by_less_than_one(
        self, contracts: Market, scale: int, mark: int, co: int, index: int, drop: int
    ) -> None:
        exact = exact_threshold(index, scale, 0, co, mark, FALLS) - drop
        assert 0 <= contracts.read("threshold", (0, scale, index, 0), drop, co, mark) - exact < 1


class TestReach:
    @settings(max_examples=300, deadline=None)
    @given(
        scale=SCALES,
        mark=MARKS,
        co=MARGINS,
        index=INDICES,
        room=st.integers(-(2**100), 2**141) | st.integers(0, 2**62),
        direction=st.sampled_from([FALLS, FUNDING, RISES]),
    )
    def test_is_the_largest_distance_that_keeps_the_edge(
        self, contracts: Market, scale: int, mark: int, co: int, index: int, room: int, direction: int
    ) -> None:
        edge = floor(exact_threshold(index, scale, 0, co, mark, direction)) - room
        side = (0, scale, index, 0)
        distance = contracts.read("reach", side, edge, co, mark, direction)
        assert exact_threshold(index, scale, distance + 1, co, mark, direction) < edge
        if room >= 0:
            assert exact_threshold(index, scale, distance, co, mark, direction) >= edge
            if mark + direction * distance >= 0:
                after = contracts.read("moved", mark, distance, direction)
                assert contracts.read("threshold", side, scale * distance, co, after) >= edge
        else:
            assert distance == 0

    @pytest.mark.parametrize(
        ("direction", "distance"),
        [
            (FALLS, Fraction(990, 99)),  # T falls by 1 - 0.01 a dollar
            (FUNDING, Fraction(990, 100)),  # by 1: the mark stays
            (RISES, Fraction(990, 101)),  # by 1 + 0.01
        ],
    )
    def test_on_paper(self, contracts: Market, direction: int, distance: Fraction) -> None:
        # T stands at -1, the edge at -10.9.
        reach = contracts.read("reach", (0, WAD, 0, 0), -dollars(Fraction("10.9")), CLOSEOUT, MARK * WAD, direction)
        assert reach == floor(distance * WAD)

    def test_nothing_if_the_edge_is_passed_already(self, contracts: Market) -> None:
        side = (0, WAD, 0, 0)
        assert contracts.read("reach", side, -dollars(1) + 1, CLOSEOUT, MARK * WAD, FALLS) == 0
        assert contracts.read("reach", side, -dollars(1), CLOSEOUT, MARK * WAD, FALLS) == 0
        assert contracts.read("reach", side, dollars(50), CLOSEOUT, MARK * WAD, FALLS) == 0

    def test_a_wei_of_room_is_a_wei_of_distance(self, contracts: Market) -> None:
        # At scale 1 a wei down lowers T by 0.99 * 10**18 index units.
        side, step = (0, WAD, 0, 0), 99 * WAD // 100
        for room, distance in [(step - 1, 0), (step, 1), (2 * step - 1, 1), (2 * step, 2)]:
            assert contracts.read("reach", side, -dollars(1) - room, CLOSEOUT, MARK * WAD, FALLS) == distance


class TestTowards:
    SCALES = (WAD // 4, WAD // 2)

    def towards(self, contracts: Market, mark: int, target: int, index_price: int) -> Step:
        sides = tuple((0, scale, 0, 0) for scale in self.SCALES)
        return Step(*contracts.read("towards", ((mark, *[0] * 7), sides), target, index_price))

    @pytest.mark.parametrize(
        ("mark", "target", "index_price", "loser", "direction", "distance"),
        [
            (100, 99, 99, LONG, FALLS, 1),
            (100, 101, 101, SHORT, RISES, 1),
            (100, 90, 70, LONG, FALLS, 10),  # a limited step: the index lies beyond its end
            (100, 110, 170, SHORT, RISES, 10),
            (2**80 - 1, 2**30, 2**30, LONG, FALLS, 2**80 - 1 - 2**30),
            (2**30, 2**80 - 1, 2**80 - 1, SHORT, RISES, 2**80 - 1 - 2**30),
        ],
    )
    def test_the_side_that_loses_and_how_far(
        self,
        contracts: Market,
        mark: int,
        target: int,
        index_price: int,
        loser: int,
        direction: int,
        distance: int,
    ) -> None:
        step = self.towards(contracts, mark, target, index_price)
        assert step == (loser, direction, distance, self.SCALES[loser] * distance, index_price)

    def test_nowhere_is_a_distance_of_zero(self, contracts: Market) -> None:
        assert self.towards(contracts, 100, 100, 100) == (SHORT, RISES, 0, 0, 100)

    @pytest.mark.parametrize(("due", "loser"), [(7, LONG), (1, LONG), (-1, SHORT), (-(2**150), SHORT), (2**150, LONG)])
    def test_funding_is_paid_by_longs_if_positive(self, contracts: Market, due: int, loser: int) -> None:
        assert contracts.read("funding", due, 99) == (loser, FUNDING, 0, abs(due), 99)

    @pytest.mark.parametrize(("direction", "mark"), [(FALLS, 60), (FUNDING, 100), (RISES, 140)])
    def test_moves_the_mark(self, contracts: Market, direction: int, mark: int) -> None:
        assert contracts.read("moved", 100, 40, direction) == mark

    def test_no_mark_is_negative(self, contracts: Market, refuses: Callable[..., Any]) -> None:
        assert contracts.read("moved", 100, 100, FALLS) == 0
        with refuses(""):
            contracts.read("moved", 100, 101, FALLS)


# --------------------------------------------------------------------------------------------------- moves, on paper


class TestNobodyCloses:
    def test_what_longs_lose_shorts_gain(self, three: Market) -> None:
        moved = three.price(95)
        moved.states(gross=20 * 5)
        assert moved.after.long == replace(moved.before.long, index=-dollars(5))
        assert moved.after.short == replace(moved.before.short, index=dollars(5))
        assert (moved.after.mark, moved.after.owed, moved.after.epoch) == (95 * WAD, 0, 0)
        assert (moved.receipt.closed_size, moved.receipt.open_interest) == (0, 20 * LOT)
        assert moved.events == ["Moved"]

    def test_what_shorts_lose_longs_gain(self, three: Market) -> None:
        moved = three.price(107)
        moved.states(gross=20 * 7)
        assert moved.after.short.index == -dollars(7)
        assert moved.after.long.index == dollars(7)
        assert moved.after.mark == 107 * WAD

    def test_a_side_with_fewer_shares_gains_more_a_share(self, market: Market) -> None:
        market.open(LONG, (10, 1000))
        market.open(SHORT, (4, 1000))  # as if longs had been deleveraged to a scale of 0.4
        moved = market.price(98)
        assert moved.after.short.index == dollars(5)  # 10 * 2 / 4

    def test_a_scaled_loser_loses_by_size(self, three: Market) -> None:
        three.set_state(long_scale=WAD // 4)
        moved = three.price(96)
        moved.states(gross=20)  # 20 lots of a quarter, 4 dollars each
        assert moved.after.long.index == -dollars(1)
        assert moved.after.short.index == dollars(1)

    def test_an_empty_market_moves_its_mark(self, market: Market) -> None:
        moved = market.price(3)
        moved.states()
        assert (moved.after.mark, moved.after.owed) == (3 * WAD, 0)
        assert moved.events == ["Moved"]

    def test_the_gain_is_rounded_down(self, market: Market) -> None:
        market.send("open", LONG, LEVEL, 7, 10**6)
        market.send("open", SHORT, LEVEL, 3, 10**6)
        moved = market.move((LONG, 1, FALLS, MARK * WAD - 1))
        assert moved.after.long.index == -WAD
        assert moved.after.short.index == 7 * WAD // 3
        assert moved.receipt.gross == 1  # 7 * 10**18 of 10**36, rounded up


class TestTheEdge:
    """The bucket closes when T falls below its upper edge, not when it reaches it."""

    def test_on_either_side_of_it(self, three: Market) -> None:
        room = -edge_of(Fraction(-10)) - dollars(1)  # T starts at -1 and falls by 0.99 a dollar
        last = floor(Fraction(room * 100, 99 * WAD))
        with three.chain.anchor():
            assert three.move((LONG, last, FALLS, 0)).receipt.buckets_closed == 0
        with three.chain.anchor():
            assert three.move((LONG, last + 1, FALLS, 0)).receipt.buckets_closed == 1

    def test_shorts_carry_a_margin_that_grows(self, market: Market) -> None:
        market.open(SHORT, (10, 100), (10, 1000))
        market.open(LONG, (20, 10_000))
        last = floor(Fraction((-edge_of(Fraction(-10)) - dollars(1)) * 100, 101 * WAD))
        with market.chain.anchor():
            assert market.move((SHORT, last, RISES, 2**79)).receipt.buckets_closed == 0
        with market.chain.anchor():
            assert market.move((SHORT, last + 1, RISES, 2**79)).receipt.buckets_closed == 1

    def test_funding_leaves_the_margin_as_it_is(self, three: Market) -> None:
        last = -edge_of(Fraction(-10)) - dollars(1)  # T starts at -1 and falls by as much as is taken
        with three.chain.anchor():
            assert three.fund(LONG, last).receipt.buckets_closed == 0
        with three.chain.anchor():
            assert three.fund(LONG, last + 1).receipt.buckets_closed == 1

    def test_so_does_funding_that_shorts_pay(self, market: Market) -> None:
        market.open(SHORT, (10, 100), (10, 1000))
        market.open(LONG, (20, 10_000))
        last = -edge_of(Fraction(-10)) - dollars(1)
        with market.chain.anchor():
            assert market.fund(SHORT, last).receipt.buckets_closed == 0
        with market.chain.anchor():
            assert market.fund(SHORT, last + 1).receipt.buckets_closed == 1


class TestSurplus:
    def test_what_a_closed_account_has_left_is_insurance_s(self, market: Market) -> None:
        market.open(LONG, (10, 105), (10, 1000))
        market.open(SHORT, (20, 10_000))
        moved = market.price(90)  # T = -10 - 0.9, the thin long ends at -10.5: 105 - 100 left
        moved.states(gross=20 * 10, surplus=5)
        assert moved.after.owed == 5 * LOT
        assert moved.after.short.index == dollars(10)  # winners get all of what they won
        assert moved.after.short.scale == WAD // 2  # and keep half of their size
        assert moved.after.long.shares == 10 * LOT
        assert (moved.receipt.closed_size, moved.receipt.open_interest) == (10 * LOT, 10 * LOT)
        assert moved.events == ["BucketClosed", "Settled"]

    def test_it_pays_fellow_losers_first(self, market: Market) -> None:
        # At 10.5 down one is 5 short and the other has 7 left.
        market.open(LONG, (10, 100), (10, 112), (10, 1000))
        market.open(SHORT, (30, 10_000))
        moved = market.price(Fraction("89.5"))
        moved.states(gross=30 * Fraction("10.5"), surplus=2)
        assert moved.after.owed == 2 * LOT

    def test_what_it_cannot_pay_is_the_deficit(self, market: Market) -> None:
        # One is 5 short, the other has 3 left.
        market.open(LONG, (10, 100), (10, 108), (10, 1000))
        market.open(SHORT, (30, 10_000))
        moved = market.price(Fraction("89.5"))
        moved.states(gross=315, deficit=2)
        assert moved.after.owed == 0
        assert moved.after.short.index == dollars(Fraction(313, 30)) // 1

    def test_a_part_of_a_wei_that_was_lost_is_stated_whole(self, market: Market) -> None:
        market.send("open", LONG, LEVEL, 1, 0)
        market.send("open", LONG, LEVEL, 2, 10**6)
        market.send("open", SHORT, LEVEL, 3, 10**6)
        moved = market.move((LONG, WAD // 2, FALLS, MARK * WAD - WAD // 2))
        assert (moved.plan.closed_shares, moved.plan.gross, moved.receipt.gross) == (1, 3 * UNIT // 2, 2)

    def test_a_part_of_a_wei_is_not_credited(self, market: Market) -> None:
        market.open(LONG, (10, 1000))
        market.send("open", LONG, LEVEL, 1, 0)  # one wei of size at its lower edge
        market.set_state(long_index=UNIT + 1)  # now worth a wei and a little
        market.open(SHORT, (10, 1000))
        moved = market.move((LONG, 0, FALLS, MARK * WAD))
        assert (moved.plan.closed_shares, moved.plan.surplus) == (1, UNIT + 1)
        assert (moved.receipt.surplus, moved.after.owed) == (1, 1)


class TestDeficit:
    """20 dollars down: the thin long is 100 short, of 400 that shorts won."""

    def test_uninsured_it_is_shared_by_the_winners(self, three: Market) -> None:
        moved = three.price(80)
        moved.states(gross=400, deficit=100)
        assert moved.after.short.index == dollars(15)  # 300 / 20
        assert moved.after.short.scale == WAD // 2
        assert moved.after.long.index == -dollars(20)
        assert moved.after.owed == 0
        assert moved.covers == []
        assert moved.receipt.haircut == WAD // 4

    def test_insured_the_winners_miss_nothing(self, three: Market) -> None:
        three.insure(100 * LOT)
        moved = three.price(80)
        moved.states(gross=400, deficit=100, covered=100)
        assert moved.after.short.index == dollars(20)
        assert moved.covers == [(100 * LOT, 0)]

    def test_insured_a_wei_short(self, three: Market) -> None:
        three.insure(100 * LOT - 1)
        moved = three.price(80)
        assert moved.receipt.covered == 100 * LOT - 1
        assert moved.after.short.index == (400 * LOT - 1) * UNIT // (20 * LOT)

    def test_insured_in_part(self, three: Market) -> None:
        three.insure(40 * LOT)
        moved = three.price(80)
        moved.states(gross=400, deficit=100, covered=40)
        assert moved.after.short.index == dollars(17)  # 340 / 20
        assert moved.covers == [(40 * LOT, 0)]
        assert moved.receipt.haircut == WAD * 60 // 400

    @pytest.mark.parametrize(("owed", "left"), [(30, 0), (100, 0), (130, 30)])
    def test_what_is_owed_to_insurance_pays_first(self, three: Market, owed: int, left: int) -> None:
        three.set_state(owed=owed * LOT)
        three.insure(200 * LOT)
        moved = three.price(80)
        moved.states(gross=400, deficit=100, covered=100)
        assert moved.covers == [(100 * LOT, owed * LOT)]
        assert moved.after.owed == left * LOT

    def test_insurance_counts_what_it_is_owed(self, three: Market) -> None:
        three.set_state(owed=25 * LOT)
        moved = three.price(80)
        moved.states(gross=400, deficit=100, covered=25)
        assert moved.after.owed == 0

    def test_the_change_of_whole_token_units_stays_owed(self, three: Market) -> None:
        unit, owed = 10**12, 3 * 10**12 + 7
        three.set_state(owed=owed)
        three.insure(100 * LOT, unit)
        moved = three.price(80)
        moved.states(gross=400, deficit=100, covered=100)
        assert moved.covers == [(100 * LOT, owed)]
        assert moved.after.owed == ceil(Fraction(100 * LOT - owed, unit)) * unit + owed - 100 * LOT
        assert 0 < moved.after.owed < unit

    def test_a_part_of_a_wei_is_asked_for_whole_and_not_paid_out_twice(self, market: Market) -> None:
        # Two wei of size lose half a wei each, and one of them had nothing.
        market.send("open", LONG, LEVEL, 1, 0)
        market.send("open", LONG, LEVEL, 1, 10**6)
        market.send("open", SHORT, LEVEL, 2, 10**6)
        market.set_state(owed=5)
        moved = market.move((LONG, WAD // 2, FALLS, MARK * WAD - WAD // 2))
        assert (moved.plan.gross, moved.plan.deficit) == (UNIT, UNIT // 2)
        assert (moved.receipt.deficit, moved.receipt.covered) == (1, 1)
        assert moved.after.short.index == UNIT // 2  # a whole wei shared by two: what was won, no more
        assert moved.after.owed == 4

    def test_a_debt_rounded_up_is_nobody_s_deficit(self, market: Market) -> None:
        # A wei of size files with a debt of a whole wei for 10**-36 of one, so it is worth less than nothing; but no
        # more than the gross, here nothing, can be missing.
        market.set_state(long_index=1)
        market.send("open", LONG, LEVEL, 1, 0)
        market.open(LONG, (10, 1000))
        market.open(SHORT, (10, 1000))
        moved = market.move((LONG, 0, FALLS, MARK * WAD))
        moved.states()
        assert (moved.plan.closed_shares, moved.plan.deficit, moved.after.short.index) == (1, 0, 0)

    def test_shorts_that_cannot_pay(self, market: Market) -> None:
        market.open(SHORT, (10, 100), (10, 1000))
        market.open(LONG, (20, 10_000))
        moved = market.price(120)
        moved.states(gross=400, deficit=100)
        assert moved.after.long.index == dollars(15)
        assert moved.after.long.scale == WAD // 2
        assert moved.after.short.scale == WAD

    def test_winners_never_lose(self, market: Market) -> None:
        # The whole gross is a deficit: the loser had nothing when it began.
        market.open(LONG, (10, 0), (10, 0))
        market.open(SHORT, (20, 10))
        moved = market.price(99)
        moved.states(gross=20, deficit=20)
        assert moved.receipt.haircut == WAD
        assert market.read("final_index", 0, SHORT) == 0


class TestNoWinners:
    def test_losses_go_to_insurance(self, market: Market) -> None:
        market.open(LONG, (10, 105), (10, 1000))
        moved = market.price(90)
        moved.states(gross=200, surplus=5)
        assert moved.after.owed == 205 * LOT
        assert moved.after.short.index == 0

    def test_a_deficit_is_nobody_s_so_insurance_does_not_pay(self, market: Market) -> None:
        market.open(LONG, (10, 100), (10, 1000))
        market.insure(10**40)
        moved = market.price(80)
        moved.states(gross=400, deficit=100)
        assert moved.after.owed == 300 * LOT
        assert moved.covers == []

    def test_there_is_nobody_to_pay_a_bonus(self, market: Market) -> None:
        market.open(LONG, (10, 5), (10, 1000))
        moved = market.move((LONG, 0, FALLS, 50 * WAD))
        moved.states(surplus=5)
        assert moved.after.owed == 5 * LOT


class TestDeleverage:
    def test_the_factor_is_rounded_down(self, market: Market) -> None:
        market.open(LONG, (1, 10), (2, 1000))
        market.open(SHORT, (3, 1000))
        assert market.price(90).after.short.scale == 666_666_666_666_666_666

    def test_it_multiplies_what_is_there(self, market: Market) -> None:
        market.open(LONG, (10, 100), (30, 9000))
        market.open(SHORT, (80, 9000))
        market.set_state(short_scale=WAD // 2)
        assert market.price(90).after.short.scale == WAD * 3 // 8

    def test_closed_size_is_at_the_loser_s_scale(self, market: Market) -> None:
        market.set_state(long_scale=WAD // 4)
        market.open(LONG, (10, 25), (10, 250))  # a quarter of the three's, so the same prices
        market.open(SHORT, (5, 1000))
        moved = market.price(80)
        moved.states(gross=100, deficit=25)
        assert (moved.receipt.closed_size, moved.receipt.open_interest) == (10 * LOT // 4, 10 * LOT // 4)


class TestStopped:
    """30 lots of longs: two thin ones a bucket apart, and a budget of one bucket; the index is at 50."""

    @staticmethod
    def crowd(market: Market, first: int, second: int) -> None:
        market.open(LONG, (10, first), (10, second), (10, 5000))
        market.open(SHORT, (30, 10_000))

    def test_at_the_edge_of_the_first_bucket_left_open(self, market: Market) -> None:
        self.crowd(market, 205, 208)
        edge = edge_of(Fraction("-20.8"))
        assert edge == -250 * 2**LEVEL  # -20.769 dollars
        distance = Fraction(floor((Fraction(-edge, UNIT) - 1) / Fraction(99, 100) * WAD), WAD)  # 19.969 dollars
        moved = market.price(50, max_buckets=1)

        assert moved.plan.stopped
        assert moved.plan.threshold == edge
        assert moved.after.mark == (100 - distance) * WAD
        assert moved.after.long.index == -dollars(distance)
        assert moved.after.long.shares == 20 * LOT

        # The closed long has 5.31 left; the shorts that go with it miss 30.03 dollars on 10 lots.
        left, missed = 205 - 10 * distance, 10 * (50 - distance)
        assert moved.plan.surplus == moved.plan.bonus == left * LOT * UNIT
        assert moved.plan.adl_shortfall == (missed - left) * LOT * UNIT
        assert moved.receipt.bonus == floor(left * LOT)
        assert moved.receipt.adl_shortfall == ceil((missed - left) * LOT)
        assert moved.after.owed == 0
        assert moved.after.short.index == floor((30 * distance + left) / 30 * UNIT)
        assert moved.after.short.scale == WAD * 2 // 3

    def test_a_bonus_pays_no_more_than_was_missed(self, market: Market) -> None:
        self.crowd(market, 205, 208)
        price = Fraction(80)  # a stop at 80.031, so 0.031 dollars on 10 lots are missed
        distance = Fraction(floor((Fraction(250 * 2**LEVEL, UNIT) - 1) / Fraction(99, 100) * WAD), WAD)
        moved = market.price(price, max_buckets=1)
        left, missed = 205 - 10 * distance, 10 * (20 - distance)
        assert 0 < missed < left
        assert moved.plan.bonus == missed * LOT * UNIT
        assert moved.plan.adl_shortfall == 0
        assert moved.after.owed == floor((left - missed) * LOT)

    def test_the_next_call_goes_on_and_both_together_close_both(self, market: Market) -> None:
        self.crowd(market, 205, 208)
        market.price(50, max_buckets=1)
        moved = market.price(50, max_buckets=1)
        assert (moved.plan.stopped, moved.receipt.buckets_closed) == (False, 1)
        assert (moved.after.mark, moved.after.long.shares) == (50 * WAD, 10 * LOT)

    def test_a_budget_that_just_suffices_does_not_stop(self, market: Market) -> None:
        self.crowd(market, 205, 208)
        moved = market.price(50, max_buckets=2)
        assert (moved.plan.stopped, moved.after.mark, moved.receipt.buckets_closed) == (False, 50 * WAD, 2)

    def test_it_never_stops_short_of_where_it_is(self, market: Market) -> None:
        """Two buckets above T already (equities of 5 and 8 under a close-out margin of 10): a stop of no distance."""
        self.crowd(market, 5, 8)
        moved = market.price(50, max_buckets=1)
        moved.states(surplus=5, bonus=5, adl_shortfall=10 * 50 - 5)
        assert (moved.plan.stopped, moved.plan.index_drop, moved.after.mark) == (True, 0, 100 * WAD)
        assert replace(moved.after.long, top=0) == SideState(20 * LOT, WAD, 0, 0)
        assert moved.after.short.index == dollars(Fraction(5, 30))
        assert moved.after.short.scale == WAD * 2 // 3

        # The second bucket goes with the rest of the way: 50 down, 492 short.
        moved = market.price(50, max_buckets=1)
        moved.states(gross=20 * 50, deficit=492)
        assert (moved.plan.stopped, moved.after.mark) == (False, 50 * WAD)

    def test_shorts_stop_on_the_way_up(self, market: Market) -> None:
        market.open(SHORT, (10, 205), (10, 208), (10, 5000))
        market.open(LONG, (30, 10_000))
        distance = floor((Fraction(250 * 2**LEVEL, UNIT) - 1) / Fraction(101, 100) * WAD)
        moved = market.price(150, max_buckets=1)
        assert moved.plan.stopped
        assert moved.after.mark == 100 * WAD + distance
        assert moved.plan.bonus == 205 * LOT * UNIT - 10 * LOT * WAD * distance
        assert moved.plan.bonus + moved.plan.adl_shortfall == 10 * LOT * WAD * (50 * WAD - distance)

    @pytest.mark.parametrize("index_price", [100, 101, 99, 50])
    def test_funding_stops_at_the_edge_itself(self, market: Market, index_price: int) -> None:
        self.crowd(market, 205, 208)
        moved = market.fund(LONG, dollars(50), index_price=index_price * WAD, max_buckets=1)
        drop = 250 * 2**LEVEL - UNIT  # T falls by a dollar a dollar
        assert (moved.plan.stopped, moved.plan.index_drop, moved.after.mark) == (True, drop, 100 * WAD)
        assert moved.after.long.index == -drop
        assert moved.receipt.funding
        # Shorts who are deleveraged miss what the mark has still to fall, if it has; what is left goes to insurance.
        surplus = Fraction(205 * LOT * UNIT - 10 * LOT * drop, UNIT)
        missed = 10 * LOT * max(100 - index_price, 0)
        bonus = min(surplus, Fraction(missed))
        assert (moved.receipt.bonus, moved.receipt.adl_shortfall) == (floor(bonus), ceil(missed - bonus))
        assert moved.after.owed == floor(surplus - bonus)

    def test_where_funding_stops_has_nothing_to_do_with_the_winners(self, market: Market) -> None:
        self.crowd(market, 205, 208)
        market.set_state(short_index=7 * UNIT, short_scale=WAD // 2)
        moved = market.fund(LONG, dollars(50), max_buckets=1)
        assert (moved.plan.stopped, moved.plan.index_drop) == (True, 250 * 2**LEVEL - UNIT)

    def test_funding_never_stops_short_of_where_it_is(self, market: Market) -> None:
        """Both thin longs stand above T already: the second stops the move before it takes anything, gives nothing."""
        self.crowd(market, 5, 8)
        moved = market.fund(LONG, dollars(1), max_buckets=1)
        moved.states(surplus=5)
        assert (moved.plan.stopped, moved.plan.index_drop) == (True, 0)
        assert (moved.after.long.index, moved.after.short.index, moved.after.owed) == (0, 0, 5 * LOT)

    def test_the_rest_of_stopped_funding_ends_where_all_of_it_would(self, market: Market) -> None:
        self.crowd(market, 205, 208)
        with market.chain.anchor():
            at_once = market.fund(LONG, dollars(25)).after.long
        first = market.fund(LONG, dollars(25), max_buckets=1)
        second = market.fund(LONG, dollars(25) - first.plan.index_drop, max_buckets=1)
        assert (second.plan.stopped, second.after.long) == (False, at_once)

    def test_words_stop_it_too(self, market: Market) -> None:
        # 30 dollars, 361 buckets, between the two: a word border lies in between.
        self.crowd(market, 205, 500)
        moved = market.price(40, max_words=0)
        assert moved.plan.stopped
        assert moved.plan.threshold == -256 * 2**LEVEL  # -21.27 dollars
        assert moved.after.mark == 100 * WAD - floor((Fraction(256 * 2**LEVEL, UNIT) - 1) / Fraction(99, 100) * WAD)
        assert moved.receipt.buckets_closed == 1
        assert moved.plan.words == 0
        moved = market.price(40, max_words=9)
        assert (moved.receipt.buckets_closed, moved.plan.words) == (1, 2)  # the border's word, and the one it ends in

    @pytest.mark.parametrize(("beyond", "scanned"), [(0, False), (2**64, True)])
    def test_up_to_the_bound_of_all_edges_nothing_is_looked_at(
        self, market: Market, beyond: int, scanned: bool
    ) -> None:
        """The bound may be too high; only who looks can lower it."""
        market.open(LONG, (10, 1000))
        market.open(SHORT, (10, 1000))
        threshold = -(2**64) * 10**17
        market.set_state(long_top=threshold + beyond)
        moved = market.fund(LONG, -threshold - MARK * CLOSEOUT * WAD)
        assert (moved.plan.threshold, moved.plan.scanned) == (threshold, scanned)
        assert (moved.after.long.top < threshold) == scanned

    def test_a_part_of_a_wei_that_is_missed_is_stated_whole(self, market: Market) -> None:
        # A wei of size with nothing left is closed half a dollar above the index.
        market.send("open", LONG, LEVEL, 1, 0)
        market.open(LONG, (10, 1000))
        market.open(SHORT, (10, 1000))
        moved = market.move((LONG, 0, FALLS, MARK * WAD - WAD // 2))
        assert (moved.plan.adl_shortfall, moved.receipt.adl_shortfall) == (UNIT // 2, 1)

    def test_a_lagging_mark_at_a_smaller_scale_is_missed_by_size(self, market: Market) -> None:
        market.set_state(long_scale=WAD // 2)
        market.open(LONG, (10, 2), (10, 4), (10, 5000))
        market.open(SHORT, (15, 10_000))
        moved = market.price(50, max_buckets=1)
        moved.states(surplus=2, bonus=2, adl_shortfall=5 * 50 - 2)


class TestEndOfAnEpoch:
    def test_when_the_last_loser_is_closed(self, market: Market) -> None:
        market.open(LONG, (10, 105))
        market.open(SHORT, (10, 1000))
        moved = market.price(90)
        moved.states(gross=100, surplus=5)
        fresh = SideState(0, WAD, 0, NO_TOP)
        assert moved.after == State(90 * WAD, 1, 5 * LOT, fresh, fresh, moved.before.rest)
        assert market.read("final_index", 0, LONG) == -dollars(10)
        assert market.read("final_index", 0, SHORT) == dollars(10)
        assert moved.events == ["BucketClosed", "Settled", "EpochEnded"]
        assert moved.receipt.open_interest == 0

    def test_its_winners_still_share_the_deficit(self, market: Market) -> None:
        market.open(LONG, (10, 100))
        market.open(SHORT, (10, 1000))
        market.price(80).states(gross=200, deficit=100)
        assert market.read("final_index", 0, SHORT) == dollars(10)

    def test_closing_some_where_nobody_wins_ends_nothing(self, market: Market) -> None:
        market.open(LONG, (10, 100), (10, 2000))
        moved = market.price(Fraction("90.5"))
        assert (moved.receipt.buckets_closed, moved.after.epoch, moved.after.long.shares) == (1, 0, 10 * LOT)

    def test_an_empty_losing_side_ends_nothing(self, market: Market) -> None:
        market.open(SHORT, (10, 1000))
        moved = market.price(90)
        assert (moved.after.epoch, moved.after.short.index) == (0, 0)
        assert moved.events == ["Moved"]

    @pytest.mark.parametrize(("scale", "epoch"), [(2 * MIN_SCALE, 0), (2 * MIN_SCALE - 1, 1)])
    def test_when_the_scale_would_fall_under_its_minimum(self, three: Market, scale: int, epoch: int) -> None:
        three.set_state(short_scale=scale)
        moved = three.price(90)  # half of the longs are closed
        assert moved.after.epoch == epoch
        if epoch:
            assert moved.receipt.scales == (WAD, MIN_SCALE - 1)
            assert three.read("final_index", 0, LONG) == -dollars(10)
            assert moved.after.long == moved.after.short == SideState(0, WAD, 0, NO_TOP)
        else:
            assert moved.after.short.scale == MIN_SCALE
            assert moved.after.long.shares == 10 * LOT

    @pytest.mark.parametrize(("under", "lots"), [(0, 10), (1, 20)])
    def test_at_the_minimum_it_does_not_and_only_what_is_closed_misses_the_rest(
        self, three: Market, under: int, lots: int
    ) -> None:
        three.set_state(short_scale=2 * MIN_SCALE - under)
        moved = three.move((LONG, 10 * WAD, FALLS, 80 * WAD))
        assert moved.plan.adl_shortfall == lots * 10 * LOT * UNIT

    @pytest.mark.parametrize(("beyond", "epoch"), [(0, 0), (1, 1)])
    def test_when_the_losers_index_is_at_the_edge_of_its_range(self, market: Market, beyond: int, epoch: int) -> None:
        market.set_state(long_index=-MAX_INDEX + dollars(1) - beyond)
        assert market.price(99).after.epoch == epoch

    @pytest.mark.parametrize(("beyond", "epoch"), [(0, 0), (1, 1)])
    def test_when_the_winners_index_is_at_the_edge_of_its_range(self, market: Market, beyond: int, epoch: int) -> None:
        market.open(LONG, (10, 1000))
        market.open(SHORT, (10, 1000))
        market.set_state(short_index=MAX_INDEX - dollars(1) + beyond)
        assert market.price(99).after.epoch == epoch


class TestCoolOff:
    def test_a_move_of_next_to_nothing_that_everybody_pays_begins_none(self, market: Market) -> None:
        """A ten-thousandth of a few wei is none, and nobody went without that."""
        for side, shares, collateral in ((LONG, 1000, 2000), (LONG, 1000, 10**6), (SHORT, 2000, 10**6)):
            market.send("open", side, LEVEL, shares, collateral)
        moved = market.price(Fraction("98.5"), cooloff=3600)
        assert (moved.receipt.buckets_closed, moved.receipt.deficit, moved.receipt.gross) == (1, 0, 3000)
        assert moved.after.until == 0


class TestTotals:
    """What winners went without since the market began: the sum of the receipts, to the wei they state."""

    @staticmethod
    def totals(market: Market) -> tuple[int, int]:
        return market.read("total_socialized"), market.read("total_adl_shortfall")

    def test_begin_at_nothing_and_stay_there_while_all_is_paid(self, three: Market) -> None:
        assert self.totals(three) == (0, 0)
        three.insure(100 * LOT)
        three.price(80).states(gross=400, deficit=100, covered=100)
        assert self.totals(three) == (0, 0)

    def test_of_a_deficit_what_nobody_covers(self, three: Market) -> None:
        three.insure(40 * LOT)
        three.price(80).states(gross=400, deficit=100, covered=40)
        assert self.totals(three) == (60 * LOT, 0)

    def test_add_up_over_moves_in_either_direction(self, market: Market) -> None:
        market.open(LONG, (10, 100), (10, 2000))
        market.open(SHORT, (10, 100), (10, 2000))
        market.price(80).states(gross=400, deficit=100)  # either short gains 150, and is left with half of its size
        market.price(140).states(gross=600, deficit=50)  # the thin one has 250 and loses 300
        assert self.totals(market) == (150 * LOT, 0)

    def test_of_a_deleverage_at_a_lagging_mark_what_no_bonus_paid(self, market: Market) -> None:
        TestStopped.crowd(market, 205, 208)
        moved = market.price(50, max_buckets=1)
        assert moved.receipt.adl_shortfall > 0
        assert self.totals(market) == (0, moved.receipt.adl_shortfall)

    def test_planning_adds_nothing(self, three: Market) -> None:
        three.plan(three.step(three.way(80)))
        assert self.totals(three) == (0, 0)


class TestEvent:
    def test_states_both_sides_after_the_move(self, three: Market) -> None:
        moved = three.price(80)
        receipt = moved.receipt
        assert (receipt.loser, receipt.funding) == (LONG, False)
        assert (receipt.mark_before, receipt.mark_after, receipt.index_price) == (100 * WAD, 80 * WAD, 80 * WAD)
        assert receipt.indices == (moved.after.long.index, moved.after.short.index) == (-dollars(20), dollars(15))
        assert receipt.scales == (moved.after.long.scale, moved.after.short.scale) == (WAD, WAD // 2)

    def test_says_no_more_than_has_changed_if_nobody_is_closed(self, three: Market) -> None:
        """The scales are as they were, and nothing is closed."""
        moved = three.price(95)
        receipt = moved.receipt
        assert moved.events == ["Moved"]
        assert (receipt.loser, receipt.funding) == (LONG, False)
        assert (receipt.mark_before, receipt.mark_after, receipt.index_price) == (100 * WAD, 95 * WAD, 95 * WAD)
        assert receipt.indices == (moved.after.long.index, moved.after.short.index) == (-dollars(5), dollars(5))
        assert receipt.scales is None
        assert (moved.after.long.scale, moved.after.short.scale) == (WAD, WAD)
        assert (receipt.buckets_closed, receipt.closed_size, receipt.open_interest) == (0, 0, 20 * LOT)

    def test_is_the_short_one_though_buckets_were_looked_for_and_none_found(self, three: Market) -> None:
        """The side's top is only a bound: the thin long has left, the bound has not."""
        three.set_state(long_top=-1 << 64)
        assert three.plan(three.step(three.way(95))).scanned
        assert three.price(95).events == ["Moved"]

    def test_planning_writes_nothing(self, three: Market) -> None:
        before = three.state
        plan = three.plan(three.step(three.way(80)))
        assert (plan.closed_shares, plan.winner_scale) == (10 * LOT, WAD // 2)
        assert three.state == before

    def test_nobody_is_looked_for_while_t_is_above_all(self, three: Market) -> None:
        assert not three.plan(three.step(three.way(95))).scanned
        assert three.plan(three.step(three.way(80))).scanned


class TestCeiling:
    """The second move of a preview: storage still holds what the first has closed."""

    def test_what_lies_above_is_closed_already(self, market: Market) -> None:
        market.open(LONG, (10, 100), (10, 150), (10, 1000))
        market.open(SHORT, (30, 10_000))
        step = market.step(market.way(80))
        high, low = edge_of(Fraction(-10)), edge_of(Fraction(-15))
        for ceiling, lots, buckets in ((high, 20, 2), (high - 1, 10, 1), (low, 10, 1), (low - 1, 0, 0)):
            plan = market.plan(step, ceiling)
            assert (plan.closed_shares, plan.buckets) == (lots * LOT, buckets)
        # Only the second of them is missing: of 200 it had 150.
        plan = market.plan(step, high - 1)
        assert (plan.deficit, plan.surplus) == (50 * LOT * UNIT, 0)

    def test_nothing_but_what_is_closed_hangs_on_it(self, three: Market) -> None:
        step = three.step(three.way(80))
        free, under = three.plan(step), three.plan(step, -NO_CEILING)
        assert free.closed_shares and not under.closed_shares
        same = ("mark", "index_drop", "threshold", "scanned", "stopped", "gross")
        assert [getattr(free, name) for name in same] == [getattr(under, name) for name in same]


class TestAfter:
    @pytest.mark.parametrize("price", [95, 80, 120])
    def test_is_the_state_after_but_for_what_insurance_pays(self, three: Market, price: int) -> None:
        three.set_state(owed=7 * LOT, rest=(4, -5, 6, 7))
        three.insure(1000 * LOT)
        planned = State.of(*three.read("planned_state", three.terms(), three.step(three.way(price))))
        moved = three.price(price)
        assert replace(planned.long, top=0) == replace(moved.after.long, top=0)
        assert planned.short == moved.after.short
        assert (planned.mark, planned.epoch) == (moved.after.mark, moved.after.epoch) == (price * WAD, 0)
        assert planned.owed == 7 * LOT
        assert moved.after.owed == planned.owed - min(planned.owed, moved.receipt.covered)

    def test_a_move_leaves_conditions_premium_and_clock_alone(self, three: Market) -> None:
        three.set_state(rest=(4, -5, 6, 7))
        assert three.price(80).after.rest == (4, -5, 6, 7)


class TestTrip:
    """20 dollars down, 100 of 400 are missing: a haircut of a basis point is 4 hundredths that nobody covers."""

    COOLOFF = 3600
    BASIS_POINT = 400 * LOT // 10**4

    @pytest.mark.parametrize(("uncovered", "trips"), [(BASIS_POINT, True), (BASIS_POINT - 1, False), (0, False)])
    def test_at_a_basis_point_and_not_below(self, three: Market, uncovered: int, trips: bool) -> None:
        assert self.BASIS_POINT * 25 == LOT
        three.insure(100 * LOT - uncovered)
        moved = three.price(80, cooloff=self.COOLOFF)
        assert moved.receipt.socialized == uncovered
        assert moved.after.until == (moved.timestamp + self.COOLOFF if trips else 0)

    def test_by_funding_too(self, three: Market) -> None:
        moved = three.fund(LONG, dollars(20), cooloff=self.COOLOFF)
        moved.states(gross=400, deficit=100)
        assert moved.after.until == moved.timestamp + self.COOLOFF

    def test_not_by_a_loss_that_is_paid(self, three: Market) -> None:
        assert three.price(95, cooloff=self.COOLOFF).after.until == 0

    def test_a_move_without_one_does_not_end_it(self, three: Market) -> None:
        three.set_state(until=2**40 - 1)
        assert three.price(95, cooloff=self.COOLOFF).after.until == 2**40 - 1


# ------------------------------------------------------------------------------------------------- moves, eagerly

#: By the hundred lots, so that cents are whole.
POSITIONS = st.lists(
    st.builds(lambda lots, a_lot: Position(100 * lots, lots * a_lot), st.integers(1, 40), st.integers(0, 9900)),
    min_size=1,
    max_size=5,
)


@settings(max_examples=80, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(
    losers=POSITIONS,
    winners=POSITIONS,
    cents=st.integers(1, 9900),
    rises=st.booleans(),
    reserve=st.integers(0, 40_000),
    owed=st.integers(0, 5000),
)
@example(losers=[Position(100, 100)], winners=[Position(100, 0)], cents=200, rises=False, reserve=0, owed=0)
def test_a_move_is_what_visiting_every_account_gives(
    chain: BoaChain,
    contracts: Market,
    losers: list[Position],
    winners: list[Position],
    cents: int,
    rises: bool,
    reserve: int,
    owed: int,
) -> None:
    """The eager rule in dollars and lots, and not a wei more or less of it anywhere (S1, S2, S3)."""
    losing, distance = (SHORT if rises else LONG), Fraction(cents, 100)
    mark = MARK + (distance if rises else -distance)
    threshold = -distance - Fraction(CLOSEOUT, WAD) * mark
    left = [position.collateral - position.lots * distance for position in losers]
    shut = [Fraction(edge_of(Fraction(-c, n)), UNIT) > threshold for n, c in losers]
    shut_lots = sum(n for (n, _), is_shut in zip(losers, shut, strict=True) if is_shut)
    lots = sum(n for n, _ in losers)
    worth = sum((c for c, is_shut in zip(left, shut, strict=True) if is_shut), Fraction(0))
    assume(all(c >= 0 or is_shut for c, is_shut in zip(left, shut, strict=True)))
    gross, deficit, surplus = lots * distance, max(-worth, Fraction(0)), max(worth, Fraction(0))
    covered = min(deficit, Fraction(reserve + owed))
    gain = (gross - deficit + covered) / sum(n for n, _ in winners)

    with chain.anchor():
        contracts.open(losing, *losers)
        contracts.open(1 - losing, *winners)
        contracts.insure(reserve * LOT)
        contracts.set_state(owed=owed * LOT)
        moved = contracts.price(mark)
        indices, scales = moved.receipt.indices, moved.receipt.scales

        assert deficit <= gross
        moved.states(gross=gross, deficit=deficit, covered=covered, surplus=surplus)
        assert indices[losing] == -dollars(distance)
        assert indices[1 - losing] == floor(gain * UNIT)
        left_over = [WAD if side == losing else WAD * (lots - shut_lots) // lots for side in (LONG, SHORT)]
        assert scales == (tuple(left_over) if shut_lots else None)
        assert moved.receipt.closed_size == shut_lots * LOT
        assert moved.after.owed == (owed + surplus - covered + max(covered - owed, Fraction(0))) * LOT
        assert moved.after.epoch == (shut_lots == lots or left_over[1 - losing] < MIN_SCALE)


# ------------------------------------------------------------------------------------------------------- regression


def test_words_that_run_out_at_a_tie_create_no_money(chain: BoaChain) -> None:
    """A scan whose words ran out at the upper edge of a bucket it had summed once reported that bucket as closed, while
    closing left it open: its owner kept what the move had already given to others.

    Longs X and Y are filed at 1000 (level 116, 0.083 dollars wide, 21.27 dollars a word), H at 4000 (level 118), just
    under the border of words 53 and 54 of level 116. Y leaves a stale top in word 125, and to walk from there to X in
    word 54 takes all the words there are; after X and H the walk would have to step under the border.
    """
    maker, x, y, h = range(1, 5)
    word = Fraction(256 * 2**116, UNIT)  # dollars
    with chain.anchor():
        parameters = MarketParameters(fee_rate=0, bucket_width=WAD // 10**4, max_words=72)
        exchange = Exchange.deploy(chain, 1000 * WAD, parameters)
        for trader in (maker, x, y, h):
            exchange.fund(trader)
            exchange.deposit(trader, (100_000 if trader == maker else 4000) * WAD)
        exchange.trade(maker, x, False, WAD, 1000 * WAD)
        exchange.trade(maker, y, False, WAD, 1000 * WAD)
        exchange.set_price(4000 * WAD)
        exchange.settle()
        while exchange.core.lagging:
            exchange.settle()
        exchange.trade(maker, h, False, WAD, 4000 * WAD)
        # The index is at 3000. X is to be bankrupt in word 54, Y in word 125, H a cent under the border.
        for trader, kappa in ((x, word * 54 + 10), (y, word * 125 + 5), (h, word * 54 - Fraction(1, 100))):
            exchange.withdraw(trader, exchange.account(trader).equity - ceil((3000 - kappa) * WAD))
        exchange.trade(maker, y, True, WAD, 4000 * WAD)
        assert Fraction(exchange.account(h).edge, UNIT) == word * 54

        exchange.set_price(2150 * WAD)
        exchange.settle()
        owed_to_traders = sum(exchange.account(trader).equity for trader in (maker, x, y, h))
        assert owed_to_traders + exchange.insurance_owed <= exchange.token_balance(exchange.market)
