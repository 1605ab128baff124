"""Packed words, bitmaps and cursors, bit for bit (design §2, §4, §11)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import z3

from tests.proofs.domain import LOWEST_EDGE
from tests.proofs.query import Proof, Query, proof
from tests.proofs.words import (
    LAYOUTS,
    BitVectors,
    Field,
    Layout,
    at_or_above,
    at_or_under,
    bit,
    bucket_id,
    coarse_top,
    cursor,
    has_shares,
    highest,
    log2,
    next_generation,
    next_live,
    pack_position,
    pack_reach,
    reach_room,
    unpack_bucket,
    unpack_position,
    unpack_top,
    without_shares,
)

W = BitVectors


def fits(field: Field, value: Any) -> Any:
    """The field's documented range."""
    if field.signed:
        return z3.And(value >= -(2 ** (field.bits - 1)), value < 2 ** (field.bits - 1))
    return z3.ULT(value, 2**field.bits) if field.bits < 256 else z3.BoolVal(True)


def all_fit(layout: Layout, values: Sequence[Any]) -> Any:
    """Of all fields."""
    return z3.And(*(fits(field, value) for field, value in zip(layout.fields, values, strict=True)))


def packing_of(layout: Layout) -> tuple[Proof, Proof]:
    """The two proofs about a packed word."""
    widths = ", ".join(f"{field.name} {field.bits}{' signed' if field.signed else ''}" for field in layout.fields)

    def round_trip(q: Query) -> None:
        values = [q.word(field.name) for field in layout.fields]
        q.guard("every field fits its width", all_fit(layout, values), "packing.vy, the table")
        word = layout.pack(W, *values)
        q.show("word", word)
        q.prove(layout.room(W, *values) == 0)
        q.prove(z3.And(*(a == b for a, b in zip(layout.unpack(W, word), values, strict=True))))

    def refusal(q: Query) -> None:
        values = [q.word(field.name) for field in layout.fields]
        q.guard("packing did not revert", layout.room(W, *values) == 0, "packing.vy, `_require_room`")
        q.prove(all_fit(layout, values))

    round_trip.__name__ = f"{layout.name}_word_keeps_its_fields"
    refusal.__name__ = f"{layout.name}_word_refuses_misfits"
    return (
        proof(
            "§2", f"What fits the {layout.name} word ({widths}) is packed and comes back: fields do not overlap.", ""
        )(round_trip),
        proof("§2", f"What does not fit the {layout.name} word reverts: packing accepts nothing else.", "")(refusal),
    )


PACKINGS = [packing_of(layout) for layout in LAYOUTS]


@proof(
    "§4",
    "A side's top comes out of its word at or above what went in, by less than 2**64: a coarse bound, but a bound.",
    "",
)
def a_stored_top_is_no_lower(q: Query) -> None:
    index, top = q.word("index"), q.word("top")
    coarse = coarse_top(W, top)
    q.guard("packing did not revert", reach_room(W, index, coarse) == 0, "packing.vy, `_require_room`")
    found = unpack_top(W, pack_reach(W, index, coarse))
    q.show("top as stored", found)
    q.prove(z3.And(found >= top, found - top < 2**64, found - top >= 0))
    q.pin(index == 0)


@proof(
    "§4",
    "Emptying a bucket in one word leaves no shares, no debt and the next generation, so nobody filed before is "
    "found live.",
    "2**32 closings of one bucket, after which the market would have to stop: packing reverts",
)
def an_emptied_bucket_has_the_next_generation(q: Query) -> None:
    word = q.word("bucket")
    shares, debt, generation = unpack_bucket(W, next_generation(W, word)[1])
    q.guard("the generation fits", next_generation(W, word)[0] == 0, "packing.vy, `_next_generation`")
    q.show("shares after", shares)
    q.show("generation after", generation)
    q.prove(z3.And(shares == 0, debt == 0, generation == z3.LShR(word, 224) + 1))


@proof("S7", "A flat account's word has no shares and keeps its nonce, so old orders stay void.", "")
def a_flat_word_keeps_its_nonce(q: Query) -> None:
    layout = next(layout for layout in LAYOUTS if layout.name == "position")
    values = [q.word(field.name) for field in layout.fields]
    q.guard("every field fits its width", all_fit(layout, values), "position_word_keeps_its_fields")
    flat = without_shares(W, pack_position(W, *values))
    q.prove(z3.Not(has_shares(flat)))
    q.prove(z3.And(*(a == b for a, b in zip(unpack_position(W, flat)[1:], values[1:], strict=True))))


@proof(
    "§4",
    "Two buckets, or bitmap words, have one key only if they are one: epoch, side, level and number never run "
    "together.",
    "collisions of the hash under a mapping",
)
def bucket_keys_are_distinct(q: Query) -> None:
    fields = (Field("epoch", 32), Field("side", 1), Field("level", 8), Field("number", 128, True))
    one, other = ([q.word(f"{which} {field.name}") for field in fields] for which in ("one", "other"))
    in_range = [fits(field, value) for values in (one, other) for field, value in zip(fields, values, strict=True)]
    q.guard("the fields fit", z3.And(*in_range), "packing.vy: epoch, level, bucket; sides.vy: side")
    q.assume("one key", bucket_id(W, *one) == bucket_id(W, *other), "the premise")
    q.prove(z3.And(*(a == b for a, b in zip(one, other, strict=True))))


# ------------------------------------------------------------------------------------------------------------- bitmaps


@proof("§4", "`_log2` is the highest bit set: x >> log2(x) = 1.", "")
def log2_is_the_highest_bit(q: Query) -> None:
    word = q.word("word")
    q.guard("x > 0", word != 0, "its callers: widths are positive, masks and bitmaps not empty")
    found = log2(W, word)
    q.show("log2", found)
    q.prove(z3.And(z3.ULT(found, 256), z3.LShR(word, found) == 1))


def is_set(bits: Any, at: Any) -> Any:
    """Whether a bit is set."""
    return z3.Extract(0, 0, z3.LShR(bits, at)) == 1


@proof(
    "§4",
    "`_highest` is live and no bucket of the word above it is; of an empty word it is the one just under the word.",
    "",
)
def the_highest_bucket_of_a_word(q: Query) -> None:
    bits, word, bucket = q.word("bits"), q.word("word"), q.word("bucket")
    q.assume("the word's number fits", z3.And(word >= -(2**127), word < 2**127), "packing.vy, level.top")
    q.guard("the bucket is in the word", bucket >> 8 == word, "buckets.vy, `_awake`")
    found = highest(W, word, bits)
    q.show("highest", found)
    live = z3.And(bucket <= found, is_set(bits, found & 255), found >> 8 == word)
    q.prove(z3.Implies(is_set(bits, bucket & 255), live))
    q.prove(z3.Implies(bits == 0, found + 1 == word << 8))


@proof(
    "§4",
    "The next bucket that a walk looks at, neighbours tried first, is the highest live one left in the word.",
    "",
)
def the_next_bucket_is_the_highest_left(q: Query) -> None:
    bits, word, bucket = q.word("bits"), q.word("word"), q.word("bucket")
    q.assume("the bucket is in the word", bucket >> 8 == word, "buckets.vy, `_awake`")
    q.assume("bucket numbers fit", z3.And(bucket >= -(2**127), bucket < 2**127), "packing.vy, anchor.bucket")
    q.guard(
        "only buckets under the last one are left",
        bits & ~(bit(W, bucket) - 1) == 0,
        "buckets.vy: the higher ones are masked off, or taken out one by one",
    )
    found = next_live(W, word, bits, bucket)
    q.show("next", found)
    q.prove(found == highest(W, word, bits))


@proof("§4", "A scan's mask keeps exactly the live buckets at and under its cursor.", "")
def a_scan_looks_at_and_under_its_cursor(q: Query) -> None:
    bits, bucket, other = q.word("bits"), q.word("bucket"), q.word("other bucket")
    q.guard("both are in the word", bucket >> 8 == other >> 8, "buckets.vy, `_scan`")
    q.show("kept", at_or_under(W, bits, bucket))
    q.prove(
        is_set(at_or_under(W, bits, bucket), other & 255) == z3.And(is_set(bits, other & 255), other <= bucket),
    )
    q.pin(bits == 6, bucket == 1)


@proof(
    "§4",
    "A scan skips nothing: no live bucket of the word lies between a cursor and the bucket that the walk looks at "
    "next.",
    "words below: the cursor falls under an empty word and the walk goes on there",
)
def a_scan_skips_no_live_bucket(q: Query) -> None:
    bits, bucket, other = q.word("bits"), q.word("cursor's bucket"), q.word("other bucket")
    word = bucket >> 8
    q.assume("bucket numbers fit", z3.And(bucket >= -(2**127), bucket < 2**127), "packing.vy, anchor.bucket")
    left = q.rather("what is above the cursor is masked off", at_or_under(W, bits, bucket), bits, "buckets.vy, `_scan`")
    found = highest(W, word, left)
    q.show("found", found)
    q.assume("the other is in the word", other >> 8 == word, "the premise")
    q.prove(z3.Implies(z3.And(is_set(bits, other & 255), other <= bucket), other <= found))
    q.prove(found <= bucket)
    q.pin(bits == 6, bucket == 1)


@proof("§4", "Closing's mask keeps exactly the live buckets from the lowest one closed up.", "")
def closing_takes_the_lowest_and_above(q: Query) -> None:
    bits, lowest, other = q.word("bits"), q.word("lowest"), q.word("other bucket")
    q.guard("both are in the word", lowest >> 8 == other >> 8, "buckets.vy, `_close_level`")
    q.show("kept", at_or_above(W, bits, lowest))
    q.prove(
        is_set(at_or_above(W, bits, lowest), other & 255) == z3.And(is_set(bits, other & 255), other >= lowest),
    )
    q.pin(bits == 6, lowest == 2)


@proof(
    "§4",
    "A cursor gives edge, level and bucket back, and compares by edge first: the highest cursor has the highest edge.",
    "",
)
def cursors_compare_by_edge(q: Query) -> None:
    bucket, level = q.word("bucket"), q.word("level")
    other_edge, other_level = q.word("other edge"), q.word("other level")
    edge = (bucket + 1) << level
    q.assume("levels", z3.And(z3.ULT(level, 134), z3.ULT(other_level, 134)), "levels_fit_the_cursors")
    in_range = [z3.And(value >= -LOWEST_EDGE, value < 2**160) for value in (edge, other_edge)]
    q.assume("edges", z3.And(*in_range, (edge >> level) == bucket + 1), "buckets.vy, `_locate`: K - c / n, and a width")
    above = q.either("one cursor is above the other")
    q.guard(
        "cursors compare as signed numbers",
        above == (cursor(W, edge, level) > cursor(W, other_edge, other_level)),
        "buckets.vy, `_scan`",
    )
    one = cursor(W, edge, level)
    q.prove(z3.And(one >> 8 == edge, one & 255 == level, (edge >> level) - 1 == bucket))
    q.prove(z3.Implies(edge > other_edge, above))
    q.prove(z3.Implies(above, edge >= other_edge))
