"""The contracts' arithmetic of machine words, line by line, for bit-vectors of z3 and for Python's integers.

A word is 256 bits without a sign. What the contracts call int256 is the same word read in two's complement, so
conversions disappear; where the sign matters the function says so: `sar` is Vyper's `>>` of a signed number, `shr`
that of an unsigned.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import z3

from tests.proofs.transcript import quotes

Word = Any  # int in 0..2**256 - 1, or a bit-vector of z3

BITS = 256
MASK = 2**BITS - 1


class Words:
    """The calculator of plain integers in 0..2**256 - 1."""

    @staticmethod
    def shl(word: int, by: int) -> int:
        """`<<`."""
        return word << by & MASK if by < BITS else 0

    @staticmethod
    def shr(word: int, by: int) -> int:
        """`>>` of an unsigned number."""
        return word >> by

    @staticmethod
    def sar(word: int, by: int) -> int:
        """`>>` of a signed number."""
        return signed(word) >> by & MASK

    @staticmethod
    def add(one: int, other: int) -> int:
        """`unsafe_add`."""
        return one + other & MASK

    @staticmethod
    def negative(word: int) -> int:
        """`-x`."""
        return -word & MASK

    @staticmethod
    def choose(condition: bool, one: Any, other: Any) -> Any:
        """A conditional."""
        return one if condition else other


class BitVectors:
    """The calculator of z3's bit-vectors."""

    @staticmethod
    def shl(word: Any, by: Any) -> Any:
        """`<<`."""
        return word << by

    @staticmethod
    def shr(word: Any, by: Any) -> Any:
        """`>>` of an unsigned number."""
        return z3.LShR(word, by)

    @staticmethod
    def sar(word: Any, by: Any) -> Any:
        """`>>` of a signed number."""
        return word >> by

    @staticmethod
    def add(one: Any, other: Any) -> Any:
        """`unsafe_add`."""
        return one + other

    @staticmethod
    def negative(word: Any) -> Any:
        """`-x`."""
        return -word

    @staticmethod
    def choose(condition: Any, one: Any, other: Any) -> Any:
        """A conditional."""
        return z3.If(condition, one, other)


def signed(word: int) -> int:
    """A word in two's complement."""
    return word - 2**BITS if word >> (BITS - 1) else word


def low(bits: int) -> int:
    """`2**bits - 1`."""
    return 2**bits - 1


# ------------------------------------------------------------------------------------------------------------- packing


class Field(NamedTuple):
    """A field of a packed word: how wide, and whether it has a sign."""

    name: str
    bits: int
    signed: bool = False


class Layout(NamedTuple):
    """A packed word.

    Attributes:
        name: of the word in the table at the head of `packing.vy`.
        fields: from the low bits up.
        room: what `_require_room` is given.
        pack: makes the word.
        unpack: makes the fields.
    """

    name: str
    fields: tuple[Field, ...]
    room: Callable[..., Word]
    pack: Callable[..., Word]
    unpack: Callable[[Any, Word], tuple[Word, ...]]


def moved_up(w: Any, word: Word, bits: int) -> Word:
    """A signed field of n bits, moved up by 2**(n - 1) so that what fits has no bits beyond, and what is beyond."""
    return w.shr(w.add(word, 2 ** (bits - 1)), bits)


@quotes(
    "modules/packing.vy",
    "core.mark >> 80 | core.epoch >> 32 | core.insurance_owed >> 128 | core.conditions >> 8",
)
def core_room(w: Any, mark: Word, epoch: Word, owed: Word, conditions: Word) -> Word:
    """`_pack_core`'s check."""
    return w.shr(mark, 80) | w.shr(epoch, 32) | w.shr(owed, 128) | w.shr(conditions, 8)


@quotes(
    "modules/packing.vy",
    "return core.mark | core.epoch << 80 | core.insurance_owed << 112 | core.conditions << 240",
)
def pack_core(w: Any, mark: Word, epoch: Word, owed: Word, conditions: Word) -> Word:
    """`_pack_core`."""
    return mark | w.shl(epoch, 80) | w.shl(owed, 112) | w.shl(conditions, 240)


@quotes(
    "modules/packing.vy",
    "mark=word & (2**80 - 1),",
    "epoch=(word >> 80) & (2**32 - 1),",
    "insurance_owed=(word >> 112) & (2**128 - 1),",
    "conditions=(word >> 240) & (2**8 - 1),",
)
def unpack_core(w: Any, word: Word) -> tuple[Word, ...]:
    """`_unpack_core`, the core's word."""
    return word & low(80), w.shr(word, 80) & low(32), w.shr(word, 112) & low(128), w.shr(word, 240) & low(8)


@quotes(
    "modules/packing.vy",
    "convert(convert(unsafe_add(core.premium, 2**119), bytes32), uint256) >> 120 "
    "| core.accrued_at >> 40 | core.limited_at >> 40 | core.reduce_only_until >> 40",
)
def clock_room(w: Any, premium: Word, accrued: Word, limited: Word, until: Word) -> Word:
    """`_pack_clock`'s check."""
    return moved_up(w, premium, 120) | w.shr(accrued, 40) | w.shr(limited, 40) | w.shr(until, 40)


@quotes(
    "modules/packing.vy",
    "convert(convert(core.premium, bytes32), uint256) & (2**120 - 1) "
    "| core.accrued_at << 120 | core.limited_at << 160 | core.reduce_only_until << 200",
)
def pack_clock(w: Any, premium: Word, accrued: Word, limited: Word, until: Word) -> Word:
    """`_pack_clock`."""
    return premium & low(120) | w.shl(accrued, 120) | w.shl(limited, 160) | w.shl(until, 200)


@quotes(
    "modules/packing.vy",
    "premium=convert(convert(clock << 136, bytes32), int256) >> 136,",
    "accrued_at=(clock >> 120) & (2**40 - 1),",
    "limited_at=(clock >> 160) & (2**40 - 1),",
    "reduce_only_until=(clock >> 200) & (2**40 - 1),",
)
def unpack_clock(w: Any, word: Word) -> tuple[Word, ...]:
    """`_unpack_core`, the clock's word."""
    premium = w.sar(w.shl(word, 136), 136)
    return premium, w.shr(word, 120) & low(40), w.shr(word, 160) & low(40), w.shr(word, 200) & low(40)


@quotes("modules/packing.vy", "self._require_room(side.shares >> 112 | side.scale >> 64)")
def exposure_room(w: Any, shares: Word, scale: Word) -> Word:
    """`_pack_exposure`'s check."""
    return w.shr(shares, 112) | w.shr(scale, 64)


@quotes("modules/packing.vy", "return side.shares | side.scale << 112")
def pack_exposure(w: Any, shares: Word, scale: Word) -> Word:
    """`_pack_exposure`."""
    return shares | w.shl(scale, 112)


@quotes("modules/packing.vy", "shares=exposure & (2**112 - 1),", "scale=(exposure >> 112) & (2**64 - 1),")
def unpack_exposure(w: Any, word: Word) -> tuple[Word, ...]:
    """`_unpack_side`, the exposure."""
    return word & low(112), w.shr(word, 112) & low(64)


@quotes("modules/packing.vy", "top: int256 = -((-side.top) >> 64)")
def coarse_top(w: Any, top: Word) -> Word:
    """The top in units of 2**64, rounded up."""
    return w.negative(w.sar(w.negative(top), 64))


@quotes(
    "modules/packing.vy",
    "convert(convert(unsafe_add(side.index, 2**159), bytes32), uint256) >> 160 "
    "| convert(convert(unsafe_add(top, 2**95), bytes32), uint256) >> 96",
)
def reach_room(w: Any, index: Word, coarse: Word) -> Word:
    """`_pack_reach`'s check."""
    return moved_up(w, index, 160) | moved_up(w, coarse, 96)


@quotes(
    "modules/packing.vy",
    "convert(convert(side.index, bytes32), uint256) & (2**160 - 1) | convert(convert(top, bytes32), uint256) << 160",
)
def pack_reach(w: Any, index: Word, coarse: Word) -> Word:
    """`_pack_reach`, the top coarse already."""
    return index & low(160) | w.shl(coarse, 160)


@quotes("modules/packing.vy", "index=convert(convert(reach << 96, bytes32), int256) >> 96,")
def unpack_reach(w: Any, word: Word) -> tuple[Word, ...]:
    """`_unpack_side`, the reach, the top still coarse."""
    return w.sar(w.shl(word, 96), 96), w.sar(word, 160)


@quotes("modules/packing.vy", "return (convert(convert(reach, bytes32), int256) >> 160) << 64")
def unpack_top(w: Any, word: Word) -> Word:
    """`_unpack_top`."""
    return w.shl(w.sar(word, 160), 64)


@quotes(
    "modules/packing.vy",
    "position.shares >> 112 | position.generation >> 32 | position.epoch >> 32 | position.level >> 8 "
    "| position.side >> 8 | position.min_nonce >> 64",
)
def position_room(w: Any, shares: Word, generation: Word, epoch: Word, level: Word, side: Word, nonce: Word) -> Word:
    """`_pack_position`'s check."""
    halves = w.shr(shares, 112) | w.shr(generation, 32) | w.shr(epoch, 32)
    return halves | w.shr(level, 8) | w.shr(side, 8) | w.shr(nonce, 64)


@quotes(
    "modules/packing.vy",
    "position.shares | position.generation << 112 | position.epoch << 144 | position.level << 176 "
    "| position.side << 184 | position.min_nonce << 192",
)
def pack_position(w: Any, shares: Word, generation: Word, epoch: Word, level: Word, side: Word, nonce: Word) -> Word:
    """`_pack_position`."""
    halves = shares | w.shl(generation, 112) | w.shl(epoch, 144)
    return halves | w.shl(level, 176) | w.shl(side, 184) | w.shl(nonce, 192)


@quotes(
    "modules/packing.vy",
    "generation=(word >> 112) & (2**32 - 1), epoch=(word >> 144) & (2**32 - 1), level=(word >> 176) & (2**8 - 1), "
    "side=(word >> 184) & (2**8 - 1), min_nonce=word >> 192,",
)
def unpack_position(w: Any, word: Word) -> tuple[Word, ...]:
    """`_unpack_position`."""
    middle = w.shr(word, 112) & low(32), w.shr(word, 144) & low(32), w.shr(word, 176) & low(8)
    return word & low(112), *middle, w.shr(word, 184) & low(8), w.shr(word, 192)


@quotes("modules/packing.vy", "return position & (2**112 - 1) != 0")
def has_shares(word: Word) -> Any:
    """`_has_shares`."""
    return word & low(112) != 0


@quotes("modules/packing.vy", "return position >> 112 << 112")
def without_shares(w: Any, word: Word) -> Word:
    """`_without_shares`."""
    return w.shl(w.shr(word, 112), 112)


@quotes(
    "modules/packing.vy",
    "anchor.amount >> 128 | convert(convert(unsafe_add(anchor.bucket, 2**127), bytes32), uint256) >> 128",
)
def anchor_room(w: Any, amount: Word, bucket: Word) -> Word:
    """`_pack_anchor`'s check."""
    return w.shr(amount, 128) | moved_up(w, bucket, 128)


@quotes("modules/packing.vy", "return anchor.amount | convert(convert(anchor.bucket, bytes32), uint256) << 128")
def pack_anchor(w: Any, amount: Word, bucket: Word) -> Word:
    """`_pack_anchor`."""
    return amount | w.shl(bucket, 128)


@quotes(
    "modules/packing.vy",
    "return Anchor(amount=word & (2**128 - 1), bucket=convert(convert(word, bytes32), int256) >> 128)",
)
def unpack_anchor(w: Any, word: Word) -> tuple[Word, ...]:
    """`_unpack_anchor`."""
    return word & low(128), w.sar(word, 128)


@quotes(
    "modules/packing.vy",
    "self._require_room(bucket.shares >> 112 | bucket.debt >> 112 | bucket.generation >> 32)",
)
def bucket_room(w: Any, shares: Word, debt: Word, generation: Word) -> Word:
    """`_pack_bucket`'s check."""
    return w.shr(shares, 112) | w.shr(debt, 112) | w.shr(generation, 32)


@quotes("modules/packing.vy", "return bucket.shares | bucket.debt << 112 | bucket.generation << 224")
def pack_bucket(w: Any, shares: Word, debt: Word, generation: Word) -> Word:
    """`_pack_bucket`."""
    return shares | w.shl(debt, 112) | w.shl(generation, 224)


@quotes("modules/packing.vy", "debt=(word >> 112) & (2**112 - 1),", "generation=word >> 224,")
def unpack_bucket(w: Any, word: Word) -> tuple[Word, ...]:
    """`_unpack_bucket`."""
    return word & low(112), w.shr(word, 112) & low(112), w.shr(word, 224)


@quotes(
    "modules/packing.vy",
    "generation: uint256 = unsafe_add(bucket >> 224, 1)",
    'assert generation >> 32 == 0, "packing: out of range"',
    "return generation << 224",
)
def next_generation(w: Any, word: Word) -> tuple[Word, Word]:
    """`_next_generation`: what must be zero, and the word."""
    generation = w.add(w.shr(word, 224), 1)
    return w.shr(generation, 32), w.shl(generation, 224)


@quotes(
    "modules/packing.vy",
    "level.live >> 64 | convert(convert(unsafe_add(level.top, 2**127), bytes32), uint256) >> 128",
)
def level_room(w: Any, top: Word, live: Word) -> Word:
    """`_pack_level`'s check."""
    return w.shr(live, 64) | moved_up(w, top, 128)


@quotes("modules/packing.vy", "return convert(convert(level.top, bytes32), uint256) & (2**128 - 1) | level.live << 128")
def pack_level(w: Any, top: Word, live: Word) -> Word:
    """`_pack_level`."""
    return top & low(128) | w.shl(live, 128)


@quotes(
    "modules/packing.vy",
    "top=convert(convert(word << 128, bytes32), int256) >> 128,",
    "live=(word >> 128) & (2**64 - 1),",
)
def unpack_level(w: Any, word: Word) -> tuple[Word, ...]:
    """`_unpack_level`."""
    return w.sar(w.shl(word, 128), 128), w.shr(word, 128) & low(64)


@quotes("modules/reserve.vy", "packing._require_room(high >> 128 | low >> 128)")
def halves_room(w: Any, lower: Word, upper: Word) -> Word:
    """The reserve's `_pack`, its check."""
    return w.shr(upper, 128) | w.shr(lower, 128)


@quotes("modules/reserve.vy", "return high << 128 | low")
def pack_halves(w: Any, lower: Word, upper: Word) -> Word:
    """The reserve's `_pack`."""
    return w.shl(upper, 128) | lower


@quotes("modules/reserve.vy", "return word & (2**128 - 1)", "return self._window >> 128")
def unpack_halves(w: Any, word: Word) -> tuple[Word, ...]:
    """The reserve's `_low`, and the half above it."""
    return word & low(128), w.shr(word, 128)


LAYOUTS = (
    Layout(
        "core",
        (Field("mark", 80), Field("epoch", 32), Field("insurance_owed", 128), Field("conditions", 8)),
        core_room,
        pack_core,
        unpack_core,
    ),
    Layout(
        "clock",
        (Field("premium", 120, True), Field("accrued_at", 40), Field("limited_at", 40), Field("reduce_only_until", 40)),
        clock_room,
        pack_clock,
        unpack_clock,
    ),
    Layout("exposure", (Field("shares", 112), Field("scale", 64)), exposure_room, pack_exposure, unpack_exposure),
    Layout("reach", (Field("index", 160, True), Field("coarse top", 96, True)), reach_room, pack_reach, unpack_reach),
    Layout(
        "position",
        (
            Field("shares", 112),
            Field("generation", 32),
            Field("epoch", 32),
            Field("level", 8),
            Field("side", 8),
            Field("min_nonce", 64),
        ),
        position_room,
        pack_position,
        unpack_position,
    ),
    Layout("anchor", (Field("amount", 128), Field("bucket", 128, True)), anchor_room, pack_anchor, unpack_anchor),
    Layout(
        "bucket",
        (Field("shares", 112), Field("debt", 112), Field("generation", 32)),
        bucket_room,
        pack_bucket,
        unpack_bucket,
    ),
    Layout("level", (Field("top", 128, True), Field("live", 64)), level_room, pack_level, unpack_level),
    Layout("reserve", (Field("low half", 128), Field("high half", 128)), halves_room, pack_halves, unpack_halves),
)


# -------------------------------------------------------------------------------------------------- bitmaps and cursors


@quotes(
    "modules/fixed_point.vy",
    "if bits >> 128 != 0: bits >>= 128 log2 = 128 if bits >> 64 != 0: bits >>= 64 log2 |= 64 "
    "if bits >> 32 != 0: bits >>= 32 log2 |= 32 if bits >> 16 != 0: bits >>= 16 log2 |= 16 "
    "if bits >> 8 != 0: bits >>= 8 log2 |= 8 if bits >> 4 != 0: bits >>= 4 log2 |= 4 "
    "if bits >> 2 != 0: bits >>= 2 log2 |= 2 return log2 | bits >> 1",
)
def log2(w: Any, word: Word) -> Word:
    """`_log2`."""
    bits, found = word, word & 0
    for power in (128, 64, 32, 16, 8, 4, 2):
        above = w.shr(bits, power) != 0
        bits = w.choose(above, w.shr(bits, power), bits)
        found = w.choose(above, found | power, found)
    return found | w.shr(bits, 1)


@quotes("modules/buckets.vy", "return 1 << convert(bucket & 255, uint256)")
def bit(w: Any, bucket: Word) -> Word:
    """`_bit`."""
    return w.shl((bucket & 0) | 1, bucket & 255)


@quotes(
    "modules/buckets.vy",
    "if bits == 0: return (word << 8) - 1",
    "return word << 8 | convert(fixed_point._log2(bits), int256)",
)
def highest(w: Any, word: Word, bits: Word) -> Word:
    """`_highest`."""
    return w.choose(bits == 0, w.add(w.shl(word, 8), MASK), w.shl(word, 8) | log2(w, bits))


@quotes(
    "modules/buckets.vy",
    "below: uint256 = bits << convert(bucket & 255 ^ 255, uint256)",
    "for step: int256 in range(1, NEIGHBOURS + 1): below <<= 1 if below >> 255 == 1: return unsafe_sub(bucket, step)",
    "return self._highest(word, bits)",
    "NEIGHBOURS: constant(int256) = 4",
)
def next_live(w: Any, word: Word, bits: Word, bucket: Word) -> Word:
    """`_next`."""
    below = w.shl(bits, bucket & 255 ^ 255)
    found = highest(w, word, bits)
    for step in (4, 3, 2, 1):
        found = w.choose(w.shr(w.shl(below, step), 255) == 1, w.add(bucket, 2**BITS - step), found)
    return found


@quotes("modules/buckets.vy", "bits &= max_value(uint256) >> convert(255 - (bucket & 255), uint256)")
def at_or_under(w: Any, bits: Word, bucket: Word) -> Word:
    """The buckets of a bitmap word that a scan has still to sum, from `bucket` down."""
    return bits & w.shr((bucket & 0) | MASK, 255 - (bucket & 255))


@quotes("modules/buckets.vy", "closing = bits & max_value(uint256) << convert(lowest & 255, uint256)")
def at_or_above(w: Any, bits: Word, lowest: Word) -> Word:
    """The buckets of the last bitmap word that are closed, from `lowest` up."""
    return bits & w.shl((lowest & 0) | MASK, lowest & 255)


@quotes(
    "modules/buckets.vy",
    "cursors[levels] = self._upper_edge(level, self._top(book, level)) << 8 | convert(level, int256)",
    "edge: int256 = highest >> 8",
    "level: uint256 = convert(highest & 255, uint256)",
    "bucket: int256 = (edge >> level) - 1",
)
def cursor(w: Any, edge: Word, level: Word) -> Word:
    """An upper edge and its level as one number."""
    return w.shl(edge, 8) | level


@quotes(
    "modules/buckets.vy",
    "return book << 136 | level << 128 | convert(convert(number, bytes32), uint256) & (2**128 - 1)",
    "return book << 136 | level << 128",
)
@quotes("modules/sides.vy", "return (epoch << 1) | side")
def bucket_id(w: Any, epoch: Word, side: Word, level: Word, number: Word) -> Word:
    """`_id` of a `_book`."""
    book = w.shl(epoch, 1) | side
    return w.shl(book, 136) | w.shl(level, 128) | number & low(128)
