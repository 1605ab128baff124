"""Quotients and shifts, and the lemmas about numbers that other proofs cite (design §11)."""

from __future__ import annotations

import z3

from prorata.units import INDEX_UNIT
from tests.proofs.query import Formula, Query, Term, lemma, proof
from tests.proofs.transcript import ceil_div, floor_div, power_step, quote_up
from tests.proofs.words import low

WORD = 2**256


@lemma("0 <= a and x <= y give a x <= a y.", "a", "x", "y")
def products_keep_order(a: Term, x: Term, y: Term) -> Formula:
    """A product grows with its factor."""
    return z3.Implies(z3.And(a >= 0, x <= y), a * x <= a * y)


@proof(
    "§11",
    "`_floor_div` rounds down for either sign, q y <= x < (q + 1) y, and its unchecked steps never leave the range "
    "of int256.",
    "",
)
def floor_division_rounds_down(q: Query) -> None:
    x, y = q.integer("x", -WORD // 2, WORD // 2 - 1), q.integer("y", 1, WORD // 2 - 1, "its callers")
    plain = q.truncated(x, y)
    found = q.rather("a negative remainder takes one off", floor_div(q, x, y), plain, "fixed_point.vy, `_floor_div`")
    q.show("quotient", found)
    q.prove(z3.And(found * y <= x, x < found * y + y))
    q.prove(z3.And(found >= -WORD // 2, x - plain * y > -WORD // 2, plain * y >= -WORD // 2, plain * y < WORD // 2))
    q.pin(y == 10, x > -30)


@proof(
    "§11",
    "The same with the wrapping arithmetic of the machine, for every pair of numbers of 10 bits: no step of "
    "`_floor_div` relies on numbers being unbounded.",
    "wider words: the code has no constant that knows the width",
)
def floor_division_survives_wrapping(q: Query) -> None:
    bits = 10
    x, y = q.word("x", bits), q.word("y", bits)
    quotient = x / y
    found = z3.If(x - quotient * y < 0, quotient - 1, quotient)
    q.show("quotient", found)
    q.guard("y > 0", y > 0, "its callers")
    wide = [z3.SignExt(bits, term) for term in (x, y, found)]
    q.prove(z3.And(wide[2] * wide[1] <= wide[0], wide[0] < wide[2] * wide[1] + wide[1]))


@proof("§11", "`_ceil_div` rounds up: (q - 1) y < x <= q y, and never leaves the range of uint256.", "")
def ceiling_division_rounds_up(q: Query) -> None:
    x, y = q.integer("x", 0, WORD - 1), q.integer("y", 1, WORD - 1, "its callers")
    found = q.rather("a remainder adds one", ceil_div(q, x, y), q.quotient(x, y), "fixed_point.vy, `_ceil_div`")
    q.show("quotient", found)
    q.prove(z3.And((found - 1) * y < x, x <= found * y, found >= 0, found < WORD))
    q.pin(x == 7, y == 2)


@proof(
    "§11",
    "Exact quote becomes quote against whoever is paid: asked rounded up, never less than it is and by less than a "
    "wei more.",
    "",
)
def quote_is_asked_rounded_up(q: Query) -> None:
    exact = q.integer("exact", 0, WORD - 1)
    found = q.rather(
        "it is rounded up", quote_up(q, exact), q.quotient(exact, INDEX_UNIT), "fixed_point.vy, `_quote_up`"
    )
    q.show("quote", found)
    q.prove(z3.And(found * INDEX_UNIT >= exact, found * INDEX_UNIT < exact + INDEX_UNIT))
    q.pin(exact == 1)


@proof(
    "§9",
    "A product inside `_power` is no larger than either factor, so decay only decays: by induction over its steps "
    "the result and every square lie in 0..1.",
    "how near the result is to the exact power (tests/unit/modules/test_fixed_point.py)",
)
def powers_of_less_than_one_never_grow(q: Query) -> None:
    one, other = q.integer("one factor", 0, INDEX_UNIT, "the induction"), q.integer("other factor", 0)
    q.guard("x is at most 1", other <= INDEX_UNIT, "parameters.vy, premium_retention")
    product = power_step(q, one, other)
    q.show("product", product)
    q.prove(z3.And(product >= 0, product <= one, product <= other))
    q.pin(one == INDEX_UNIT)


@proof(
    "§4",
    "Shifting a signed word right floors its quotient by 2**by, for every level there is: the multiple of the "
    "quotient and the low bits, which are not negative, add up to the word.",
    "",
)
def shift_is_floor(q: Query) -> None:
    word, is_signed = q.word("word"), q.either("the shift keeps the sign")
    q.guard("the shift keeps the sign", is_signed, "buckets.vy, `_locate`; Vyper's `>>` of int256")
    for by in range(1, 134):
        quotient = z3.If(is_signed, word >> by, z3.LShR(word, by))
        rest = word & low(by)
        back = z3.If(is_signed, (quotient << by) >> by, z3.LShR(quotient << by, by))
        q.prove(z3.And((quotient << by) + rest == word, back == quotient, (word < 0) == (quotient < 0)))
    q.pin(word == -1)
