"""The proofs are about the contracts: what they transcribe stands in the sources, and computes what compiled code does.

Every number is drawn from the ranges of `domain.py`, so the transcripts are compared where the proofs use them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from prorata.boa_chain import BoaChain
from prorata.chain import Reverted
from prorata.exchange import Exchange
from prorata.parameters import MarketParameters
from prorata.units import INDEX_UNIT, LONG, MAX_PRICE, MIN_PRICE, SHORT, WAD
from tests.proofs import catalogue, domain, transcript, words
from tests.proofs.conftest import Read, source_of
from tests.proofs.transcript import Integers, Side
from tests.proofs.words import LAYOUTS, MASK, Layout, Words
from tests.unit.modules.test_settlement import Plan

M, W = Integers, Words
CONTRACTS = Path(__file__).parents[2] / "contracts"
NO_CEILING = 2**255 - 1
NO_TOP = -(2**158)

FEW = settings(max_examples=60, deadline=None)
MANY = settings(max_examples=150, deadline=None)

PRICES = st.integers(MIN_PRICE, MAX_PRICE) | st.integers(1, 10**6).map(lambda dollars: dollars * WAD)
SCALES = st.integers(domain.MIN_SCALE, WAD) | st.just(WAD)
SHARES = st.integers(1, domain.MAX_SHARES - 1) | st.integers(1, 10**6).map(lambda units: units * WAD)
INDICES = st.integers(-(2**150), 2**150) | st.integers(-(10**6), 10**6).map(lambda dollars: dollars * INDEX_UNIT)
RATIOS = st.integers(0, WAD) | st.integers(0, 100).map(lambda percent: percent * WAD // 100)
MONEY = st.integers(0, 2**120) | st.integers(0, 10**9).map(lambda dollars: dollars * WAD)
SIZES = st.integers(1, 2**96 - 1) | st.integers(1, 10**6).map(lambda units: units * WAD)
LEVELS = st.integers(63, 133) | st.just(116)
SIGNED = st.integers(-(2**255), 2**255 - 1) | st.integers(-(10**40), 10**40)
UNSIGNED = st.integers(0, MASK) | st.integers(0, 10**40)


# -------------------------------------------------------------------------------------------------------------- quotes


def condensed(source: str) -> str:
    """Code without comments, line ends and repeated blanks."""
    return " ".join(re.sub(r"#.*", "", source).split())


def test_every_file_that_computes_is_quoted() -> None:
    modules = (
        "accounts",
        "breaker",
        "buckets",
        "fixed_point",
        "funding",
        "margin",
        "packing",
        "redemptions",
        "reserve",
    )
    modules += ("settlement", "sides")
    assert {file for file, _ in catalogue.quotes()} == {
        "InsuranceVault.vy",
        "PerpetualMarket.vy",
        "TradingLogic.vy",
        *(f"modules/{name}.vy" for name in modules),
    }


@pytest.mark.parametrize("file", sorted({file for file, _ in catalogue.quotes()}))
def test_quotes_stand_in_the_sources(file: str) -> None:
    source = condensed((CONTRACTS / file).read_text())
    assert [line for quoted, line in catalogue.quotes() if quoted == file and condensed(line) not in source] == []


# ----------------------------------------------------------------------------------------------------------- roundings


@pytest.fixture(scope="module")
def fixed_point(module: Callable[..., Read]) -> Read:
    return module("fixed_point")


@FEW
@given(x=SIGNED, y=st.integers(1, 2**255 - 1) | st.integers(1, 10**6), u=UNSIGNED)
@example(x=-1, y=10, u=0)
@example(x=-(2**255), y=1, u=MASK)
def test_roundings(fixed_point: Read, x: int, y: int, u: int) -> None:
    assert transcript.floor_div(M, x, y) == fixed_point("floor_div", x, y)
    assert transcript.ceil_div(M, u, y) == fixed_point("ceil_div", u, y)
    assert transcript.quote_down(M, x) == fixed_point("quote_down", x)
    assert transcript.quote_up(M, u) == fixed_point("quote_up", u)


@FEW
@given(x=st.integers(0, INDEX_UNIT))
def test_powers(fixed_point: Read, x: int) -> None:
    square = transcript.power_step(M, x, x)
    assert square == fixed_point("power", x, 2)
    assert transcript.power_step(M, x, square) == fixed_point("power", x, 3)


@MANY
@given(bits=st.integers(0, 255), data=st.data())
def test_log2(fixed_point: Read, bits: int, data: st.DataObject) -> None:
    word = data.draw(st.integers(2**bits, 2 ** (bits + 1) - 1))
    assert words.log2(W, word) == fixed_point("log2", word) == bits


# --------------------------------------------------------------------------------------------------------------- words


@pytest.fixture(scope="module")
def packing(module: Callable[..., Read]) -> Read:
    return module("packing")


@pytest.fixture(scope="module")
def reserve(module: Callable[..., Read]) -> Read:
    return module("reserve", WAD // 2, 3600)


def packed(packing: Read, reserve: Read, layout: Layout, values: tuple[int, ...]) -> int:
    """The word as the contract packs it; raises Reverted where it does not fit."""
    if layout.name == "reserve":
        return int(reserve("pack", values[1], values[0]))
    if layout.name == "exposure":
        return int(packing("pack_exposure", (*values, 0, NO_TOP)))
    if layout.name == "reach":
        return int(packing("pack_reach", (0, WAD, *values)))
    return int(packing(f"pack_{layout.name}", values))


def unpacked(packing: Read, layout: Layout, word: int) -> tuple[int, ...]:
    """The fields as the contract unpacks them."""
    if layout.name == "reserve":
        return word % 2**128, word >> 128
    if layout.name == "exposure":
        return tuple(packing("unpack_side", word, 0)[:2])
    if layout.name == "reach":
        return tuple(packing("unpack_side", 0, word)[2:])
    return tuple(packing(f"unpack_{layout.name}", word))


def read_fields(layout: Layout, fields: tuple[int, ...]) -> tuple[int, ...]:
    """Words as the numbers that the fields are."""
    return tuple(
        words.signed(word) if field.signed else word for field, word in zip(layout.fields, fields, strict=True)
    )


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_packed_words(packing: Read, reserve: Read, layout: Layout, data: st.DataObject) -> None:
    """Mostly what fits; now and then a bit too much."""
    values = []
    for field in layout.fields:
        low, high = (-(2 ** (field.bits - 1)), 2 ** (field.bits - 1) - 1) if field.signed else (0, 2**field.bits - 1)
        wide = st.integers(-(2**255) if field.signed else 0, 2**255 - 1)
        fitting = st.integers(low, high) | st.sampled_from([low, high])
        value = data.draw(st.one_of(fitting, fitting, fitting, wide, st.just(high + 1)))
        values.append(value)
    terms = [value & MASK for value in values]
    if layout.name == "reach":
        # The contract is given the top itself.
        values[1] = max(min(values[1], 2**190), -(2**190)) << 64
        terms[1] = words.coarse_top(W, values[1] & MASK)
    if layout.room(W, *terms):
        with pytest.raises(Reverted, match="packing: out of range"):
            packed(packing, reserve, layout, tuple(values))
        return
    word = packed(packing, reserve, layout, tuple(values))
    assert layout.pack(W, *terms) == word
    if layout.name == "reach":
        assert unpacked(packing, layout, word) == (values[0], words.signed(words.unpack_top(W, word)))
    else:
        assert unpacked(packing, layout, word) == read_fields(layout, layout.unpack(W, word))


@FEW
@given(word=st.integers(0, MASK), top=st.integers(-(2**158), 2**158), index=st.integers(-(2**159), 2**159 - 1))
def test_parts_of_words(packing: Read, word: int, top: int, index: int) -> None:
    assert unpacked(packing, LAYOUTS[0], word) == words.unpack_core(W, word)
    assert words.has_shares(word) == packing("has_shares", word)
    assert words.without_shares(W, word) == packing("without_shares", word)
    assert words.signed(words.unpack_top(W, word)) == packing("unpack_top", word)
    overflow, emptied = words.next_generation(W, word)
    if not overflow:
        assert emptied == packing("next_generation", word)
    coarse = words.coarse_top(W, top & MASK)
    assert words.pack_reach(W, index & MASK, coarse) == packing("pack_reach", (0, WAD, index, top))


BITMAPS = """
from modules import buckets

initializes: buckets

@external
@pure
def bit(bucket: int256) -> uint256:
    return buckets._bit(bucket)

@external
@pure
def highest(word: int256, bits: uint256) -> int256:
    return buckets._highest(word, bits)

@external
@pure
def next(word: int256, bits: uint256, bucket: int256) -> int256:
    return buckets._next(word, bits, bucket)
"""


@MANY
@given(bits=st.integers(0, MASK) | st.integers(0, 255).map(lambda at: 1 << at), word=st.integers(-(2**119), 2**119 - 1))
@pytest.mark.parametrize("at", [0, 1, 3, 4, 5, 200, 255])
def test_bitmaps(chain: BoaChain, bitmaps: Any, bits: int, word: int, at: int) -> None:
    bucket = (word << 8) + at
    as_word = word & MASK
    assert words.bit(W, bucket & MASK) == chain.call(bitmaps, "bit", bucket)
    assert words.signed(words.highest(W, as_word, bits)) == chain.call(bitmaps, "highest", word, bits)
    below = bits & ((1 << at) - 1)
    found = words.next_live(W, as_word, below, bucket & MASK)
    assert words.signed(found) == chain.call(bitmaps, "next", word, below, bucket)


@pytest.fixture(scope="module")
def bitmaps(chain: BoaChain) -> Any:
    return chain.deploy_source(BITMAPS)


# -------------------------------------------------------------------------------------------------------------- filing


@pytest.fixture(scope="module")
def buckets(module: Callable[..., Read]) -> Read:
    return module("buckets")


@MANY
@given(
    level=LEVELS, shares=SHARES, collateral=MONEY, index=INDICES, later=st.integers(0, 2**140), lower=st.integers(-3, 3)
)
def test_filing(buckets: Read, level: int, shares: int, collateral: int, index: int, later: int, lower: int) -> None:
    assume(collateral * INDEX_UNIT // shares < 2**150)
    free = transcript.locate(M, 2**level, shares, collateral, index, None)
    assert tuple(buckets("locate", level, shares, collateral, index)) == (level, free.bucket, free.debt)
    ceiling = free.bucket + lower
    filing = transcript.locate(M, 2**level, shares, collateral, index, ceiling)
    assert tuple(buckets("locate_under", level, shares, collateral, index, ceiling)) == (level, *filing[1:])
    assert filing.upper_edge == buckets("upper_edge", level, filing.bucket)
    for at in (index, index + later, filing.lower_edge + later % 2**level):
        found = buckets("equity", shares, (level, filing.bucket, filing.debt), at)
        assert found == transcript.equity(M, shares, filing, at)


@FEW
@given(width=st.integers(10**14, 10**16), scale=SCALES, mark=PRICES)
def test_levels(buckets: Read, width: int, scale: int, mark: int) -> None:
    assert words.log2(W, transcript.widest(M, width, scale, mark)) == buckets("level", width, scale, mark)


@FEW
@given(
    epoch=st.integers(0, 2**32 - 1),
    side=st.integers(0, 1),
    level=st.integers(0, 255),
    number=st.integers(-(2**127), 2**127 - 1),
)
def test_keys(buckets: Read, epoch: int, side: int, level: int, number: int) -> None:
    assert words.bucket_id(W, epoch, side, level, number & MASK) == buckets("id", epoch * 2 + side, level, number)


# ---------------------------------------------------------------------------------------------------------- settlement


@pytest.fixture(scope="module")
def settlement(module: Callable[..., Read]) -> Read:
    return module("settlement", 100 * WAD)


@MANY
@given(
    scale=SCALES,
    index=INDICES,
    mark=PRICES,
    closeout=st.integers(1, WAD - 1),
    room=st.integers(-(2**100), 2**141),
    drop=st.integers(0, 2**139),
    direction=st.sampled_from([-1, 0, 1]),
)
def test_thresholds_and_stops(
    settlement: Read, scale: int, index: int, mark: int, closeout: int, room: int, drop: int, direction: int
) -> None:
    loser, packed_side = Side(0, scale, index), (0, scale, index, 0)
    found = transcript.threshold(M, loser, drop, closeout, mark)
    assert found == settlement("threshold", packed_side, drop, closeout, mark)
    edge = found - room
    distance = transcript.reach(M, loser, edge, closeout, mark, direction)
    assert distance == settlement("reach", packed_side, edge, closeout, mark, direction)
    after = transcript.moved(mark, distance, direction)
    if after >= 0:
        assert after == settlement("moved", mark, distance, direction)


@FEW
@given(mark=PRICES, goal=PRICES, scales=st.tuples(SCALES, SCALES))
def test_steps(settlement: Read, mark: int, goal: int, scales: tuple[int, int]) -> None:
    core = (mark, *[0] * 7)
    state = (core, tuple((0, scale, 0, 0) for scale in scales))
    loser, direction, distance, drop, index_price = settlement("towards", state, goal, goal)
    assert distance == transcript.distance_to(M, mark, goal)
    assert drop == scales[loser] * distance and index_price == goal
    assert (loser, direction) == ((LONG, -1) if goal < mark else (SHORT, 1))


INSURANCE = """
room: public(uint256)

@external
def set_room(room: uint256):
    self.room = room

@external
@view
def drawable(owed: uint256) -> uint256:
    return self.room
"""

CLOSEOUT = WAD // 100
LEVEL = 116


@dataclass(frozen=True)
class Scene:
    """A side of several accounts, who wins, and a move of the mark from 100.

    Attributes:
        losers: shares, collateral per size (18 digits) and bucket level of each.
        winners: shares of the other side, and its scale.
        side: who loses.
        price: how far, dollars.
        further: how far the index is beyond that, dollars.
        room: what insurance may pay.
        budget: buckets.
    """

    losers: list[tuple[int, int, int]]
    winners: tuple[int, int]
    side: int
    price: int
    further: int
    room: int
    budget: int


SCENES = st.builds(
    Scene,
    losers=st.lists(
        st.tuples(st.integers(1, 50 * WAD), st.integers(0, 400 * WAD), st.sampled_from([LEVEL, LEVEL - 3])),
        min_size=1,
        max_size=6,
    ),
    winners=st.tuples(st.integers(0, 100 * WAD), SCALES),
    side=st.sampled_from([LONG, SHORT]),
    price=st.integers(1, 50),
    further=st.integers(-3, 3),
    room=st.integers(0, 100 * WAD),
    budget=st.sampled_from([1, 2, 99]),
)


class TestMoves:
    """Everything that a plan says of a move, computed from the accounts themselves."""

    @pytest.fixture(scope="class")
    def market(self, chain: BoaChain) -> tuple[Any, Any]:
        return chain.deploy_source(source_of("settlement"), 100 * WAD), chain.deploy_source(INSURANCE)

    @settings(max_examples=80, deadline=None)
    @given(scene=SCENES)
    def test_plans(self, chain: BoaChain, market: tuple[Any, Any], scene: Scene) -> None:
        contract, insurance = market
        with chain.anchor():
            chain.transact(insurance, "set_room", scene.room, sender=0)
            for shares, part, level in scene.losers:
                chain.transact(contract, "open", scene.side, level, shares, shares * part // WAD, sender=0)
            core, sides = chain.call(contract, "state")
            sides = [list(one) for one in sides]
            sides[1 - scene.side][:2] = scene.winners
            chain.transact(contract, "set_state", (core, sides), sender=0)
            loser, winner = Side(*sides[scene.side][:3]), Side(*sides[1 - scene.side][:3])

            direction = -1 if scene.side == LONG else 1
            goal = transcript.moved(100 * WAD, scene.price * WAD, direction)
            index_price = goal + direction * scene.further * WAD
            drop = loser.scale * scene.price * WAD
            terms = (CLOSEOUT, scene.budget, 99, 0, insurance.address)
            step = (scene.side, direction, scene.price * WAD, drop, index_price)
            plan = Plan(*chain.call(contract, "plan", terms, step, NO_CEILING))
            after, _ = chain.call(contract, "planned_state", terms, step)
        if plan.stopped:
            distance = transcript.reach(M, loser, plan.threshold, CLOSEOUT, 100 * WAD, direction)
            assert plan.mark == transcript.moved(100 * WAD, distance, direction)
            assert plan.index_drop == loser.scale * distance
        else:
            assert (plan.mark, plan.index_drop) == (goal, drop)
            assert plan.threshold == transcript.threshold(M, loser, drop, CLOSEOUT, goal)
        gap = direction * (index_price - plan.mark)
        money = [plan.gross, plan.deficit, plan.surplus, plan.bonus, plan.adl_shortfall, plan.covered, plan.index_gain]
        assert [*money, plan.winner_scale, after[2]] == self.expected(scene, loser, winner, plan, gap)

    def expected(self, scene: Scene, loser: Side, winner: Side, plan: Plan, gap: int) -> list[int]:
        """Gross, deficit, surplus, bonus, shortfall, covered; the winners' gain and scale; what insurance is owed."""
        filings = [
            (shares, transcript.locate(M, 2**level, shares, shares * part // WAD, loser.index, None))
            for shares, part, level in scene.losers
        ]
        gone = [(shares, filing) for shares, filing in filings if filing.upper_edge > plan.threshold]
        closed, drop = sum(shares for shares, _ in gone), plan.index_drop
        assert plan.closed_shares == closed
        value = sum(transcript.bucket_value(shares, one.debt, one.lower_edge, loser.index) for shares, one in gone)
        if closed and winner.shares:
            found = transcript.closing(M, loser, winner, drop, closed, value, gap, scene.room)
            amounts = [
                found.gross,
                found.deficit,
                found.surplus,
                found.bonus,
                found.missed - found.bonus,
                found.covered,
            ]
            return [*amounts, found.index_gain, found.winner_scale, found.to_insurance]
        if closed:
            gross, deficit, to_insurance = transcript.closing_for_nobody(M, loser, drop, closed, value)
            kept = winner.scale * (loser.shares - closed) // loser.shares
            return [gross, deficit, max(value - closed * drop, 0), 0, 0, 0, 0, kept, to_insurance]
        gross = loser.shares * drop
        if winner.shares:
            return [gross, 0, 0, 0, 0, 0, gross // winner.shares, winner.scale, 0]
        return [gross, 0, 0, 0, 0, 0, 0, winner.scale, gross // INDEX_UNIT]

    @settings(max_examples=40, deadline=None)
    @given(collateral=st.lists(st.integers(0, 30), min_size=3, max_size=6, unique=True), drop=st.integers(1, 40))
    def test_stopped_funding(self, chain: BoaChain, market: tuple[Any, Any], collateral: list[int], drop: int) -> None:
        contract, insurance = market
        with chain.anchor():
            for dollars in collateral:
                chain.transact(contract, "open", LONG, LEVEL, WAD, dollars * WAD, sender=0)
            step = (LONG, 0, 0, drop * INDEX_UNIT, 100 * WAD)
            plan = Plan(*chain.call(contract, "plan", (CLOSEOUT, 1, 99, 0, insurance.address), step, NO_CEILING))
        if plan.stopped:
            loser = Side(len(collateral) * WAD, WAD, 0)
            assert plan.index_drop == transcript.funding_reach(M, loser, plan.threshold, CLOSEOUT, 100 * WAD)
        else:
            assert plan.index_drop == drop * INDEX_UNIT


# -------------------------------------------------------------------------------------------------------------- margin


@pytest.fixture(scope="module")
def margin(module: Callable[..., Read]) -> Read:
    return module("margin")


@MANY
@given(
    shares=SHARES,
    scale=SCALES,
    mark=PRICES,
    ratio=RATIOS,
    value=st.integers(0, 2**118),
    slope=RATIOS,
    insured=st.integers(0, 2**122),
)
def test_margins(
    margin: Read, shares: int, scale: int, mark: int, ratio: int, value: int, slope: int, insured: int
) -> None:
    assert transcript.notional(M, shares, scale, mark) == margin("notional", shares, scale, mark)
    assert transcript.requirement(M, value, ratio) == margin("requirement", value, ratio)
    assert transcript.dynamic_margin(M, ratio, slope, value, insured) == margin("initial", ratio, slope, value, insured)


@MANY
@given(
    size=SIZES,
    mark=PRICES,
    initial=st.integers(2, WAD),
    data=st.data(),
    minimum=st.integers(10**15, 2**96 - 1) | st.just(WAD),
)
def test_liquidable(margin: Read, size: int, mark: int, initial: int, data: st.DataObject, minimum: int) -> None:
    maintenance = data.draw(st.integers(1, initial - 1))
    fee = data.draw(st.integers(0, maintenance))
    value = transcript.notional_of_size(M, size, mark)
    required = transcript.requirement(M, value, maintenance)
    collateral = data.draw(st.integers(0, required) | st.integers(max(required - 2, 0), required))
    below = transcript.is_below_at_mark(M, collateral, value, maintenance)
    assert below == margin("is_below", collateral, True, size, mark, mark, maintenance)
    if below:
        limit, _ = transcript.liquidable(M, collateral, size, mark, initial, fee, minimum)
        assert limit == margin("liquidable", collateral, size, mark, initial, fee, minimum)


@pytest.fixture(scope="module")
def accounts(module: Callable[..., Read]) -> Read:
    return module("accounts")


@MANY
@given(
    shares=SHARES,
    scales=st.tuples(SCALES, SCALES),
    mark=PRICES,
    size=SIZES,
    near=st.integers(-(10**7), 10**7),
    minimum=st.integers(10**15, 2**96 - 1) | st.just(WAD),
    side=st.sampled_from([LONG, SHORT]),
)
def test_trades(
    accounts: Read, shares: int, scales: tuple[int, int], mark: int, size: int, near: int, minimum: int, side: int
) -> None:
    account = (77, side, shares, (116, -5, 3))
    same = accounts("trade", account, side == LONG, size, minimum, list(scales), mark)
    assert same[1:3] == (side, shares + transcript.shares_of_size(M, size, scales[side]))
    held = transcript.size_of_shares(M, shares, scales[side])
    for against in {size, max(held + near, 1)}:
        found = accounts("trade", account, side != LONG, against, minimum, list(scales), mark)
        left, turned = transcript.traded_against(M, shares, scales[side], scales[1 - side], against, minimum, mark)
        assert found[2] == left + turned
        # A size that is no share at all may turn an account to nothing of the other side.
        assert found[1] == (side if turned == 0 and against <= held + transcript.dust(M, minimum, mark) else 1 - side)


# ------------------------------------------------------------------------------------------------- funding and breaker


@pytest.fixture(scope="module")
def funding(module: Callable[..., Read]) -> Read:
    return module("funding_module")


@MANY
@given(size=SIZES, price=PRICES, mark=PRICES, fees=MONEY)
def test_premiums(funding: Read, size: int, price: int, mark: int, fees: int) -> None:
    assert transcript.premium_of(M, size, price, mark, fees) == funding("premium", size, price, mark, fees)


@MANY
@given(
    premium=st.integers(-(2**117), 2**117) | st.integers(-(10**9), 10**9),
    mark=PRICES,
    shares=st.tuples(SHARES, SHARES),
    scales=st.tuples(SCALES, SCALES),
    max_funding=RATIOS,
    retention=st.integers(WAD // 2, WAD - 1),
    seconds=st.integers(0, 10**6),
)
def test_accruals(
    chain: BoaChain,
    funding: Read,
    fixed_point: Read,
    premium: int,
    mark: int,
    shares: tuple[int, int],
    scales: tuple[int, int],
    max_funding: int,
    retention: int,
    seconds: int,
) -> None:
    payer = LONG if premium > 0 else SHORT
    side = Side(shares[payer], scales[payer], 0)
    bounded = funding("bounded", premium, mark, list(shares), list(scales), max_funding)
    assert bounded == transcript.bounded_premium(M, premium, side, mark, max_funding)
    if premium:
        left = fixed_point("power", retention * WAD, seconds)
        terms = (mark, list(shares), list(scales), 0, retention, max_funding)
        core, due = funding("accrue", premium, chain.now - seconds, *terms)
        assert (core[4], due) == transcript.accrued(M, premium, left, side, mark, max_funding)


@pytest.fixture(scope="module")
def breaker(module: Callable[..., Read]) -> Read:
    return module("breaker_module")


@MANY
@given(mark=PRICES, index_price=PRICES, remembered=st.just(0) | PRICES, limit=st.integers(1, WAD // 2), part=RATIOS)
def test_targets(breaker: Read, mark: int, index_price: int, remembered: int, limit: int, part: int) -> None:
    near = mark * (WAD + part // 2) // WAD
    for price in (index_price, near, max(2 * mark - near, 1)):
        for step in (remembered, (mark + price) // 2):
            assert transcript.target(M, mark, price, step, limit) == breaker("target", mark, price, step, limit)


# ----------------------------------------------------------------------------------------------------------- insurance

REDEMPTIONS = """
from modules import redemptions

initializes: redemptions

@deploy
def __init__():
    redemptions.__init__(1, 1)

@external
@pure
def capped(request: redemptions.Request, shares: uint256) -> uint256:
    return redemptions._capped(request, shares)

@external
@pure
def shares_of(request: redemptions.Request, assets: uint256) -> uint256:
    return redemptions._shares_of(request, assets)
"""


@pytest.fixture(scope="module")
def redemptions(chain: BoaChain) -> Any:
    return chain.deploy_source(REDEMPTIONS)


@FEW
@given(worth=st.integers(1, 2**121), shares=st.integers(1, 2**200), data=st.data())
def test_requests(chain: BoaChain, redemptions: Any, worth: int, shares: int, data: st.DataObject) -> None:
    part, assets = data.draw(st.integers(0, shares)), data.draw(st.integers(1, worth))
    request = (shares, worth, 0)
    assert transcript.request_part(M, worth, part, shares) == chain.call(redemptions, "capped", request, part)
    assert transcript.request_shares(M, assets, shares, worth) == chain.call(redemptions, "shares_of", request, assets)


@FEW
@given(assets=st.integers(1, 2**121), later=st.integers(0, 2**121), parts=st.lists(RATIOS, min_size=1, max_size=4))
def test_draws(chain: BoaChain, assets: int, later: int, parts: list[int]) -> None:
    cap = WAD // 3
    with chain.anchor():
        contract = chain.deploy_source(source_of("reserve"), cap, 3600)
        assert chain.call(contract, "drawable", assets) == transcript.capped(M, assets, cap)
        first = transcript.capped(M, assets, cap) * parts[0] // WAD
        chain.transact(contract, "draw", first, assets, sender=0)
        drawn = first
        for part in parts[1:]:
            room = transcript.drawable(M, later, assets, drawn, cap)
            assert room == chain.call(contract, "drawable", later)
            chain.transact(contract, "draw", room * part // WAD, later, sender=0)
            drawn += room * part // WAD
            assert chain.call(contract, "drawn") == drawn


# ---------------------------------------------------------------------------------------------------- whole contracts

MAKER, TAKER, WHALE, KEEPER, DEPOSITOR = range(1, 6)


def funded(chain: BoaChain, decimals: int = 18, **parameters: int) -> Exchange:
    """A market at 1000 whose traders and depositor have tokens."""
    exchange = Exchange.deploy(chain, 1000 * WAD, MarketParameters(**parameters), decimals=decimals)
    for trader in (MAKER, TAKER, WHALE, KEEPER, DEPOSITOR):
        exchange.fund(trader)
    exchange.approve(DEPOSITOR, exchange.vault)
    return exchange


def updates(logs: Any) -> list[tuple[int, int]]:
    """Collateral and shares of every account that a transaction filed."""
    return [(log.fields["collateral"], log.fields["shares"]) for log in logs if log.name == "AccountUpdated"]


class TestContracts:
    """What stands in the deployed contracts and in no module, and what the market books of it."""

    @pytest.fixture(scope="class")
    def exchange(self, chain: BoaChain) -> Exchange:
        return funded(chain)

    @settings(max_examples=30, deadline=None)
    @given(
        size=st.integers(WAD // 7, 9 * WAD),
        price=st.integers(951 * WAD, 1049 * WAD),
        is_long=st.booleans(),
        margins=st.tuples(st.integers(60, 900), st.integers(60, 900)),
        rest=st.integers(0, 10**6),
    )
    def test_fills(
        self, exchange: Exchange, size: int, price: int, is_long: bool, margins: tuple[int, int], rest: int
    ) -> None:
        with exchange.chain.anchor():
            had = [size * margin + 50 * WAD * size // WAD + rest for margin in margins]
            for trader, amount in zip((MAKER, TAKER), had, strict=True):
                exchange.deposit(trader, amount)
            owed = exchange.insurance_owed
            transaction = exchange.trade(MAKER, TAKER, is_long, size, price)
            due = transcript.fee_on(M, size, 1000 * WAD, MarketParameters().fee_rate)
            receives = (1000 * WAD - price) * size * (1 if is_long else -1)
            parties = [
                transcript.party_pays(M, amount, way, due)
                for amount, way in zip(had, (receives, -receives), strict=True)
            ]
            assert updates(transaction.logs) == [(left, size) for _, _, left in parties]
            assert exchange.insurance_owed - owed == sum(fee for _, fee, _ in parties)

    @settings(max_examples=30, deadline=None)
    @given(
        start=st.tuples(st.just(30), st.integers(206 * WAD, 241 * WAD))
        | st.tuples(st.just(60), st.integers(120 * WAD, 200 * WAD)),
        odd=st.integers(0, 10**6),
        part=st.sampled_from([1, 3, 10**6]),
        is_long=st.booleans(),
    )
    def test_liquidations(self, exchange: Exchange, start: tuple[int, int], odd: int, part: int, is_long: bool) -> None:
        """MAKER holds ten units, ends below maintenance, and is taken over in whole or in part."""
        p = MarketParameters()
        with exchange.chain.anchor():
            (move, equity), size = start, 10 * WAD
            price = 1000 * WAD + (odd - move * WAD if is_long else move * WAD - odd)
            exchange.deposit(MAKER, equity + 10 * move * WAD + 5 * WAD)
            exchange.deposit(WHALE, 10**6 * WAD)
            exchange.deposit(KEEPER, 10**6 * WAD)
            exchange.trade(MAKER, WHALE, is_long, size, 1000 * WAD)
            exchange.set_price(price)
            exchange.settle()
            held = exchange.account(MAKER)
            value = transcript.notional_of_size(M, size, price)
            assume(held.shares and transcript.is_below_at_mark(M, held.equity, value, p.maintenance_margin))
            owed = exchange.insurance_owed
            limit, _ = transcript.liquidable(
                M, held.equity, size, price, p.initial_margin, p.liquidation_fee, p.min_notional
            )
            asked = size if part == 10**6 else limit // part
            transaction = exchange.liquidate(KEEPER, MAKER, asked)
            taken = min(asked, limit)
            left, _ = transcript.traded_against(M, held.shares, WAD, WAD, taken, p.min_notional, price)
            fee = min(
                transcript.fee_on(M, taken, price, p.liquidation_fee),
                transcript.collateral_of_part(M, held.equity, held.shares, left),
            )
            reward = transcript.reward_of(M, fee, p.liquidator_share)
            (event,) = [log.fields for log in transaction.logs if log.name == "Liquidated"]
            assert (event["size"], event["fee"], event["reward"]) == (taken, fee, reward)
            paid = transcript.party_pays(M, held.equity, -fee * WAD, 0)[2]
            gained = transcript.party_pays(M, 10**6 * WAD, reward * WAD, 0)[2]
            assert updates(transaction.logs) == [(paid, left), (gained, taken)]
            assert exchange.insurance_owed - owed == fee - reward

    @pytest.mark.parametrize("decimals", [6, 18])
    @settings(max_examples=12, deadline=None)
    @given(
        reserve=st.integers(1, 400),
        odd=st.integers(0, 10**12 - 1),
        fall=st.integers(11, 40),
        amount=st.integers(1, 10**9),
    )
    def test_cover_and_share_price(
        self, chain: BoaChain, decimals: int, reserve: int, odd: int, fall: int, amount: int
    ) -> None:
        """A fall that somebody cannot pay; the vault sends what it is not owed, and its shares fall in price."""
        with chain.anchor():
            exchange = funded(chain, decimals)
            unit = exchange.unit
            exchange.insure(DEPOSITOR, reserve * WAD)
            exchange.deposit(MAKER, 105 * WAD)
            exchange.deposit(WHALE, 10**6 * WAD)
            exchange.trade(MAKER, WHALE, True, WAD + odd, 1000 * WAD)
            held, owed = exchange.vault_held // unit, exchange.insurance_owed
            exchange.set_price(1000 * WAD * (100 - fall) // 100)
            transaction = exchange.settle()
            (event,) = [log.fields for log in transaction.logs if log.name == "Covered"]
            sent, held_after, owed_after = transcript.cover(M, event["amount"], held, owed, unit)
            assert event["transferred"] == sent
            assert (exchange.vault_held // unit, exchange.insurance_owed) == (held_after, owed_after)
            assert event["amount"] <= transcript.capped(M, held * unit + owed, WAD // 2)

            read = partial(exchange.chain.call, exchange.vault)
            total = transcript.total_assets(M, held_after, owed_after, unit)
            supply = exchange.vault_supply
            assert read("totalAssets") == total
            assert read("convertToShares", amount) == transcript.vault_shares_down(M, amount, supply, total)
            assert read("convertToAssets", amount) == transcript.vault_assets_down(M, amount, supply, total)
            assert read("previewMint", amount) == transcript.vault_assets_up(M, amount, supply, total)
            self.withdraw(exchange, total, supply, (held_after, owed_after))

    def withdraw(self, exchange: Exchange, total: int, supply: int, books: tuple[int, int]) -> None:
        """Leave by amount: as many shares as it costs, and more than is held makes the market send what it owes."""
        chain, unit = exchange.chain, exchange.unit
        shares = exchange.vault_shares(DEPOSITOR)
        exchange.request_redeem(DEPOSITOR, shares)
        worth = transcript.vault_assets_down(M, shares, supply, total)
        assert exchange.redeem_request(DEPOSITOR).worth == worth * unit
        chain.advance(86_400)
        exchange.set_price(exchange.mark)
        transaction = exchange.withdraw_insurance(DEPOSITOR, worth * unit)
        (event,) = [log.fields for log in transaction.logs if log.name == "Withdraw"]
        now = transcript.vault_shares_up(M, worth, supply, total)
        assert event["shares"] == max(transcript.request_shares(M, worth, shares, worth), now)
        held, owed = transcript.sweep(M, *books, unit) if worth > books[0] else books
        assert (exchange.vault_held // unit, exchange.insurance_owed) == (held - worth, owed)
