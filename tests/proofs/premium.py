"""Funding and the breaker: what moves the index besides the price, and how far the price may go (design §3.1, §9)."""

from __future__ import annotations

from dataclasses import dataclass

import z3

from prorata.units import INDEX_UNIT, MAX_PRICE, WAD
from tests.proofs import domain
from tests.proofs.query import Query, proof
from tests.proofs.transcript import (
    Side,
    accrued,
    bounded_premium,
    most_funding,
    premium_of,
    target,
)


def size(term: z3.ArithRef) -> z3.ArithRef:
    """Of a signed amount."""
    return z3.If(term >= 0, term, -term)


@proof(
    "§9",
    "A fill leaves behind at most the fees that its parties paid and at most size x |price - mark|, in the direction "
    "of its price: trading with oneself never moves more than it costs.",
    "",
)
def a_premium_is_at_most_its_fees(q: Query) -> None:
    traded, mark, price = q.integer("size", 0, 2**96, "TradingLogic.vy"), domain.price(q), domain.price(q, "price")
    fees, clamp = q.integer("fees", 0), q.integer("clamped to", 0)
    q.guard("it is clamped to the fees", clamp == fees, "funding.vy, `_premium`")
    premium = premium_of(q, traded, price, mark, clamp)
    q.show("premium", premium)
    q.prove(z3.And(premium <= fees, premium >= -fees))
    q.prove(size(premium) * WAD <= size(price - mark) * traded)
    q.prove(z3.Implies(premium > 0, price > mark))
    q.prove(z3.Implies(premium < 0, price < mark))
    q.pin(traded == WAD, mark == 100 * WAD, price == 101 * WAD, fees == 5)


@proof(
    "§9",
    "The premium is bounded by max_funding of the payers' open interest at the mark, keeps its sign, and bounding "
    "never makes it larger.",
    "",
)
def a_premium_is_bounded_by_open_interest(q: Query) -> None:
    payer, mark = domain.side(q, "payer"), domain.price(q)
    most = domain.ratio(q, "max_funding")
    premium = q.integer("premium", -(2**119), 2**119 - 1, "packing.vy")
    bounded = bounded_premium(q, premium, payer, mark, most)
    found = q.rather("it is bounded", bounded, premium, "funding.vy, `_bounded`; every fill and move")
    q.show("premium after", found)
    value = payer.shares * payer.scale * mark
    q.prove(size(found) * WAD * WAD * WAD <= value * most)
    q.prove(
        z3.And(size(found) <= size(premium), z3.Implies(found > 0, premium > 0), z3.Implies(found < 0, premium < 0))
    )
    q.pin(payer.shares == WAD, payer.scale == WAD, mark == 100 * WAD, most == WAD // 100, premium == 100 * WAD)


def decay(q: Query) -> tuple[z3.ArithRef, z3.ArithRef, Side, z3.ArithRef, z3.ArithRef]:
    """A premium that has decayed: before, what is left of it, the payers, due per share, max_funding of the mark."""
    payer, mark = domain.side(q, "payer"), domain.price(q)
    premium = q.integer("premium", -(2**119), 2**119 - 1, "packing.vy")
    left = q.integer("part left", 0, source="powers_of_less_than_one_never_grow")
    q.guard("what is left is no more than all", left <= INDEX_UNIT, "powers_of_less_than_one_never_grow")
    most = domain.ratio(q, "max_funding")
    remains, due = accrued(q, premium, left, payer, mark, most)
    q.show("premium left", remains)
    q.show("due a share", due)
    q.pin(payer.shares == WAD, payer.scale == WAD, mark == 100 * WAD, most == WAD, premium == 100 * WAD)
    return premium, remains, payer, due, most_funding(q, payer, mark, most)


@proof("§9", "A premium only decays: it keeps its sign and never grows, however long it stands.", "")
def a_premium_only_decays(q: Query) -> None:
    premium, remains, _, _, _ = decay(q)
    q.prove(size(remains) <= size(premium))
    q.prove(z3.And(z3.Implies(remains > 0, premium > 0), z3.Implies(remains < 0, premium < 0)))


@proof(
    "§9",
    "What a side pays in funding is at most what the premium has decayed by, and in its direction: all payments of a "
    "premium add up to at most the premium (by induction: paid + |premium left| never grows).",
    "funding left over from a stopped move, which was due already",
)
def funding_pays_at_most_what_decays(q: Query) -> None:
    premium, remains, payer, due, _ = decay(q)
    q.prove(payer.shares * size(due) <= (size(premium) - size(remains)) * INDEX_UNIT)
    q.prove(z3.And(z3.Implies(due > 0, premium > 0), z3.Implies(due < 0, premium < 0)))


@proof("S8", "One settlement takes at most max_funding of the mark per size in funding, rounded down.", "")
def funding_of_a_settlement_is_clamped(q: Query) -> None:
    payer, mark = domain.side(q, "payer"), domain.price(q)
    premium = q.integer("premium", -(2**119), 2**119 - 1, "packing.vy")
    left = q.integer("part left", 0, INDEX_UNIT, "powers_of_less_than_one_never_grow")
    most, used = domain.ratio(q, "max_funding"), domain.ratio(q, "clamped by")
    q.guard("it is clamped by max_funding", used == most, "funding.vy, `_accrue`")
    _, due = accrued(q, premium, left, payer, mark, used)
    q.show("due a share", due)
    q.prove(size(due) * WAD <= most * payer.scale * mark)
    q.pin(payer.shares == WAD, payer.scale == WAD, mark == 100 * WAD, most == WAD // 100, premium == 100 * WAD)


@proof(
    "§9",
    "With the premium bounded by open interest, all of it could be paid at once within the clamp: nothing that is "
    "due is ever cut off by it while the mark, the scale and the shares stay as they are.",
    "a mark or open interest that fell since (bounded again then)",
)
def a_bounded_premium_is_paid_in_full(q: Query) -> None:
    payer, mark = domain.side(q, "payer"), domain.price(q)
    most, premium = domain.ratio(q, "max_funding"), q.integer("premium", 0, 2**119 - 1, "packing.vy")
    bound = bounded_premium(q, premium, payer, mark, most)
    q.guard("the premium is bounded", premium <= bound, "a_premium_is_bounded_by_open_interest")
    due = q.truncated(premium * INDEX_UNIT, payer.shares)
    q.show("due a share", due)
    q.show("clamp", most_funding(q, payer, mark, most))
    q.prove(due <= most_funding(q, payer, mark, most))
    q.pin(payer.shares == WAD, payer.scale == WAD, mark == 100 * WAD, most == WAD // 100)


# ------------------------------------------------------------------------------------------------------------- breaker


@dataclass(frozen=True)
class Step:
    """Where a settlement takes the mark: from, towards, the target of a step still open, the limit, to."""

    mark: z3.ArithRef
    index_price: z3.ArithRef
    remembered: z3.ArithRef
    limit: z3.ArithRef
    goal: z3.ArithRef


def step(q: Query) -> Step:
    """Any step."""
    mark, index_price = domain.price(q), domain.price(q, "index price")
    remembered = q.integer("target of the open step", 0, MAX_PRICE, "breaker.vy")
    limit = domain.ratio(q, "max_price_step", 1)
    goal = target(q, mark, index_price, remembered, limit)
    q.show("target", goal)
    return Step(mark, index_price, remembered, limit, goal)


@proof(
    "§3",
    "A settlement moves the mark towards the index, never past it, and by at most max_price_step of the mark; the "
    "mark stays a price.",
    "",
)
def a_step_is_limited_and_never_passes_the_index(q: Query) -> None:
    way = step(q)
    mark, goal = way.mark, way.goal
    q.guard("max_price_step is at most a half", way.limit <= WAD // 2, "parameters.vy")
    between = z3.Or(z3.And(goal >= mark, goal <= way.index_price), z3.And(goal <= mark, goal >= way.index_price))
    q.prove(z3.And(between, size(goal - mark) * WAD <= way.limit * mark, goal >= 1, 2 * goal >= mark))
    q.pin(mark == 100 * WAD, way.index_price == WAD)


@proof(
    "§3",
    "A step that the budget stopped half-way goes on to where it was going and no further: it is one step, not a new "
    "one.",
    "",
)
def an_open_step_goes_no_further(q: Query) -> None:
    way = step(q)
    was_going_to = q.integer("where it was going", 1, MAX_PRICE, "PerpetualMarket.vy, `settle_to`")
    q.guard("its target is remembered", way.remembered == was_going_to, "PerpetualMarket.vy, `settle_to`")
    falls = z3.And(way.index_price < way.mark, was_going_to < way.mark)
    rises = z3.And(way.index_price >= way.mark, was_going_to > way.mark)
    q.prove(z3.Implies(falls, way.goal >= was_going_to))
    q.prove(z3.Implies(rises, way.goal <= was_going_to))
    q.pin(way.mark == 100 * WAD, was_going_to == 99 * WAD, way.remembered == 0)
