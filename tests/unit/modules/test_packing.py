"""Packed words: every field at its full width in its documented place, and nothing that does not fit.

The layouts are written here a second time, from the table at the head of `packing`; a word is built from them by plain
sums and compared bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from prorata.boa_chain import BoaChain

OUT_OF_RANGE = "packing: out of range"
TOP_UNIT = 2**64

SOURCE = """
from interfaces import IPerpetualMarket
from modules import packing

# The halves of a core, each with a word of its own; packing one never looks at the other, so the other fits nowhere.
struct Head:
    mark: uint256
    epoch: uint256
    insurance_owed: uint256
    conditions: uint256

struct Clock:
    premium: int256
    accrued_at: uint256
    limited_at: uint256
    reduce_only_until: uint256

@internal
@pure
def _core(head: Head, clock: Clock) -> IPerpetualMarket.Core:
    return IPerpetualMarket.Core(
        mark=head.mark,
        epoch=head.epoch,
        insurance_owed=head.insurance_owed,
        conditions=head.conditions,
        premium=clock.premium,
        accrued_at=clock.accrued_at,
        limited_at=clock.limited_at,
        reduce_only_until=clock.reduce_only_until,
    )

@external
@pure
def pack_core(head: Head) -> uint256:
    most: uint256 = max_value(uint256)
    return packing._pack_core(self._core(head, Clock(
        premium=min_value(int256), accrued_at=most, limited_at=most, reduce_only_until=most
    )))

@external
@pure
def pack_clock(clock: Clock) -> uint256:
    most: uint256 = max_value(uint256)
    return packing._pack_clock(self._core(Head(
        mark=most, epoch=most, insurance_owed=most, conditions=most
    ), clock))

@external
@pure
def unpack_core(word: uint256) -> Head:
    core: IPerpetualMarket.Core = packing._unpack_core(word, max_value(uint256))
    return Head(
        mark=core.mark, epoch=core.epoch, insurance_owed=core.insurance_owed, conditions=core.conditions
    )

@external
@pure
def unpack_clock(word: uint256) -> Clock:
    core: IPerpetualMarket.Core = packing._unpack_core(max_value(uint256), word)
    return Clock(
        premium=core.premium,
        accrued_at=core.accrued_at,
        limited_at=core.limited_at,
        reduce_only_until=core.reduce_only_until,
    )

@external
@pure
def repacked(core: IPerpetualMarket.Core) -> IPerpetualMarket.Core:
    return packing._unpack_core(packing._pack_core(core), packing._pack_clock(core))

@external
@pure
def pack_exposure(side: packing.Side) -> uint256:
    return packing._pack_exposure(side)

@external
@pure
def pack_reach(side: packing.Side) -> uint256:
    return packing._pack_reach(side)

@external
@pure
def unpack_side(exposure: uint256, reach: uint256) -> packing.Side:
    return packing._unpack_side(exposure, reach)

@external
@pure
def pack_position(position: packing.Position) -> uint256:
    return packing._pack_position(position)

@external
@pure
def unpack_position(word: uint256) -> packing.Position:
    return packing._unpack_position(word)

@external
@pure
def has_shares(word: uint256) -> bool:
    return packing._has_shares(word)

@external
@pure
def min_nonce(word: uint256) -> uint256:
    return packing._min_nonce(word)

@external
@pure
def without_shares(word: uint256) -> uint256:
    return packing._without_shares(word)

@external
@pure
def unpack_top(reach: uint256) -> int256:
    return packing._unpack_top(reach)

@external
@pure
def next_generation(bucket: uint256) -> uint256:
    return packing._next_generation(bucket)

@external
@pure
def pack_anchor(anchor: packing.Anchor) -> uint256:
    return packing._pack_anchor(anchor)

@external
@pure
def unpack_anchor(word: uint256) -> packing.Anchor:
    return packing._unpack_anchor(word)

@external
@pure
def pack_bucket(bucket: packing.Bucket) -> uint256:
    return packing._pack_bucket(bucket)

@external
@pure
def unpack_bucket(word: uint256) -> packing.Bucket:
    return packing._unpack_bucket(word)

@external
@pure
def pack_level(level: packing.Level) -> uint256:
    return packing._pack_level(level)

@external
@pure
def unpack_level(word: uint256) -> packing.Level:
    return packing._unpack_level(word)
"""


@dataclass(frozen=True)
class Field:
    """A field of a packed word: name, bits, signed or not."""

    name: str
    width: int
    signed: bool = False

    @property
    def lowest(self) -> int:
        return -(2 ** (self.width - 1)) if self.signed else 0

    @property
    def highest(self) -> int:
        return 2 ** (self.width - self.signed) - 1

    @property
    def borders(self) -> list[int]:
        return sorted({self.lowest, 0, 1, self.highest} | ({-1} if self.signed else set()))

    @property
    def beyond(self) -> list[int]:
        """What just does not fit, and what does not fit at all."""
        if self.signed:
            return [self.lowest - 1, self.highest + 1, -(2**255), 2**255 - 1]
        return [self.highest + 1, 2**256 - 1]

    def values(self) -> st.SearchStrategy[int]:
        return st.sampled_from(self.borders) | st.integers(self.lowest, self.highest)


#: From the lowest bits up, and the order of the fields in the struct.
LAYOUTS = {
    "core": (
        [Field("mark", 80), Field("epoch", 32), Field("insurance_owed", 128), Field("conditions", 8)],
        (0, 1, 2, 3),
    ),
    "clock": (
        [
            Field("premium", 120, signed=True),
            Field("accrued_at", 40),
            Field("limited_at", 40),
            Field("reduce_only_until", 40),
        ],
        (0, 1, 2, 3),
    ),
    "position": (
        [
            Field("shares", 112),
            Field("generation", 32),
            Field("epoch", 32),
            Field("level", 8),
            Field("side", 8),
            Field("min_nonce", 64),
        ],
        (0, 1, 2, 3, 4, 5),
    ),
    "anchor": ([Field("amount", 128), Field("bucket", 128, signed=True)], (0, 1)),
    "bucket": ([Field("shares", 112), Field("debt", 112), Field("generation", 32)], (0, 1, 2)),
    "level": ([Field("top", 128, signed=True), Field("live", 64)], (0, 1)),
}
EXPOSURE = [Field("shares", 112), Field("scale", 64)]
REACH = [Field("index", 160, signed=True), Field("top", 96, signed=True)]
EVERY_FIELD = [(word, position) for word, (fields, _) in LAYOUTS.items() for position in range(len(fields))]


def expected_word(fields: list[Field], values: list[int]) -> int:
    """The word of these values, lowest bits first, as a sum: an overlap would carry into the neighbour."""
    offsets = accumulate((field.width for field in fields), initial=0)
    return sum(
        value % 2**field.width * 2**offset for field, value, offset in zip(fields, values, offsets, strict=False)
    )


@pytest.fixture(scope="module")
def read(chain: BoaChain) -> Callable[..., Any]:
    return partial(chain.call, chain.deploy_source(SOURCE))


@pytest.mark.parametrize("word", LAYOUTS)
def test_a_layout_fits_a_slot(word: str) -> None:
    assert sum(field.width for field in LAYOUTS[word][0]) <= 256


@pytest.mark.parametrize("word", LAYOUTS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_round_trip(read: Callable[..., Any], word: str, data: st.DataObject) -> None:
    fields, order = LAYOUTS[word]
    values = [data.draw(field.values(), label=field.name) for field in fields]
    packed = read(f"pack_{word}", tuple(values[i] for i in order))
    assert packed == expected_word(fields, values)
    assert read(f"unpack_{word}", packed) == tuple(values[i] for i in order)


@pytest.mark.parametrize(("word", "position"), EVERY_FIELD)
@pytest.mark.parametrize("others", ["lowest", "highest"])
def test_a_border_value_stays_in_its_field(read: Callable[..., Any], word: str, position: int, others: str) -> None:
    fields, order = LAYOUTS[word]
    for border in fields[position].borders:
        values = [getattr(field, others) for field in fields]
        values[position] = border
        packed = read(f"pack_{word}", tuple(values[i] for i in order))
        assert packed == expected_word(fields, values)
        assert read(f"unpack_{word}", packed) == tuple(values[i] for i in order)


@pytest.mark.parametrize(("word", "position"), EVERY_FIELD)
def test_refuses_what_does_not_fit(
    read: Callable[..., Any], refuses: Callable[..., Any], word: str, position: int
) -> None:
    fields, order = LAYOUTS[word]
    for value in fields[position].beyond:
        values = [0 for _ in fields]
        values[position] = value
        with refuses(OUT_OF_RANGE):
            read(f"pack_{word}", tuple(values[i] for i in order))


@pytest.mark.parametrize("word", LAYOUTS)
def test_unpacking_ignores_bits_beyond_the_layout(read: Callable[..., Any], word: str) -> None:
    fields, order = LAYOUTS[word]
    assert read(f"unpack_{word}", 2**256 - 1) == tuple(-1 if fields[i].signed else fields[i].highest for i in order)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_core_is_its_two_words(read: Callable[..., Any], data: st.DataObject) -> None:
    """Every field comes back from the word it was put into, whatever the others hold."""
    fields = [field for word in ("core", "clock") for field in LAYOUTS[word][0]]
    values = tuple(data.draw(field.values(), label=field.name) for field in fields)
    assert read("repacked", values) == values


def test_a_premium_of_a_full_market_fits() -> None:
    """The value of the largest open interest at the highest price, half of it (`max_funding` <= 50 %), either way."""
    premium = LAYOUTS["clock"][0][0]
    most = 2**96 * 2**80 // 10**18
    assert premium.lowest <= -most and most <= premium.highest


class TestPosition:
    """What is asked of a position's word, or done to it, without unpacking it."""

    @settings(max_examples=100, deadline=None)
    @given(data=st.data())
    def test_agrees_with_the_unpacked(self, read: Callable[..., Any], data: st.DataObject) -> None:
        fields, _ = LAYOUTS["position"]
        shares, *others, min_nonce = (data.draw(field.values(), label=field.name) for field in fields)
        word = expected_word(fields, [shares, *others, min_nonce])
        assert read("has_shares", word) == (shares > 0)
        assert read("min_nonce", word) == min_nonce
        assert read("unpack_position", read("without_shares", word)) == (0, *others, min_nonce)


class TestNextGeneration:
    """A bucket that is closed: a word of its generation alone."""

    @settings(max_examples=100, deadline=None)
    @given(data=st.data())
    def test_is_one_more_and_nothing_else(self, read: Callable[..., Any], data: st.DataObject) -> None:
        fields, _ = LAYOUTS["bucket"]
        *held, generation = (data.draw(field.values(), label=field.name) for field in fields)
        generation = min(generation, 2**32 - 2)
        word = read("next_generation", expected_word(fields, [*held, generation]))
        assert word == expected_word(fields, [0, 0, generation + 1])

    @pytest.mark.parametrize("held", [0, 2**224 - 1])
    def test_there_is_none_after_the_last(
        self, read: Callable[..., Any], refuses: Callable[..., Any], held: int
    ) -> None:
        with refuses(OUT_OF_RANGE):
            read("next_generation", (2**32 - 1) * 2**224 + held)


class TestSide:
    """A side is two words, and its top is coarse: units of 2**64, rounded up."""

    @settings(max_examples=100, deadline=None)
    @given(shares=EXPOSURE[0].values(), scale=EXPOSURE[1].values(), index=REACH[0].values(), units=REACH[1].values())
    def test_round_trip(self, read: Callable[..., Any], shares: int, scale: int, index: int, units: int) -> None:
        side = (shares, scale, index, units * TOP_UNIT)
        exposure, reach = read("pack_exposure", side), read("pack_reach", side)
        assert exposure == expected_word(EXPOSURE, [shares, scale])
        assert reach == expected_word(REACH, [index, units])
        assert read("unpack_side", exposure, reach) == side
        assert read("unpack_top", reach) == units * TOP_UNIT

    @settings(max_examples=150, deadline=None)
    @given(
        top=st.integers(-(2**159), (2**95 - 1) * TOP_UNIT)
        | st.builds(lambda units, off: units * TOP_UNIT + off, st.integers(-(2**95) + 1, 2**95 - 2), st.integers(-1, 1))
    )
    @example(top=1)
    @example(top=0)
    @example(top=-1)
    @example(top=TOP_UNIT)
    @example(top=-(2**158))  # sides.NO_TOP
    def test_the_top_is_rounded_up_to_the_next_unit(self, read: Callable[..., Any], top: int) -> None:
        stored = read("unpack_side", 0, read("pack_reach", (0, 0, 0, top)))[3]
        assert stored % TOP_UNIT == 0
        assert stored - TOP_UNIT < top <= stored

    def test_the_top_does_not_touch_the_index(self, read: Callable[..., Any]) -> None:
        for index in REACH[0].borders:
            for units in REACH[1].borders:
                packed = read("pack_reach", (0, 0, index, units * TOP_UNIT))
                assert read("unpack_side", 0, packed)[2:] == (index, units * TOP_UNIT)

    @pytest.mark.parametrize("top", [-(2**159) - TOP_UNIT + 1, (2**95 - 1) * TOP_UNIT])
    def test_accepts_the_last_top_of_either_end(self, read: Callable[..., Any], top: int) -> None:
        assert read("unpack_side", 0, read("pack_reach", (0, 0, 0, top)))[3] == -(-top // TOP_UNIT) * TOP_UNIT

    @pytest.mark.parametrize("top", [-(2**159) - TOP_UNIT, (2**95 - 1) * TOP_UNIT + 1, -(2**255) + 1, 2**255 - 1])
    def test_refuses_a_top_beyond(self, read: Callable[..., Any], refuses: Callable[..., Any], top: int) -> None:
        with refuses(OUT_OF_RANGE):
            read("pack_reach", (0, 0, 0, top))

    @pytest.mark.parametrize("index", REACH[0].beyond)
    def test_refuses_an_index_beyond(self, read: Callable[..., Any], refuses: Callable[..., Any], index: int) -> None:
        with refuses(OUT_OF_RANGE):
            read("pack_reach", (0, 0, index, 0))

    @pytest.mark.parametrize("position", [0, 1])
    def test_refuses_an_exposure_beyond(
        self, read: Callable[..., Any], refuses: Callable[..., Any], position: int
    ) -> None:
        for value in EXPOSURE[position].beyond:
            with refuses(OUT_OF_RANGE):
                read("pack_exposure", tuple(value if i == position else 0 for i in range(4)))
