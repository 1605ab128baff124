"""One move, with every rounding: conservation, bounded loss, the stop, and the condition of S8 (design §3; S1, S2, S8).

Money is exact quote of 54 digits. The accounts that a move closes enter as sums (filing.py says why that is enough):
`ghosts`, what they would be worth before the move had no touch ever rounded, and `rounded`, what touches have left in
the market meanwhile; the contract counts `ghosts - rounded`. The market's slack is what it holds beyond all claims,
claims being the ghosts of all accounts, flat collateral, and what it owes to insurance. A move that lowers it would
make it insolvent.
"""

from __future__ import annotations

from dataclasses import dataclass

import z3

from prorata.units import INDEX_UNIT, MAX_PRICE, MIN_PRICE, MIN_SCALE, WAD
from tests.proofs import domain
from tests.proofs.domain import wei
from tests.proofs.query import Query, proof
from tests.proofs.transcript import (
    Outcome,
    Side,
    ceil_div,
    closing,
    closing_for_nobody,
    distance_to,
    funding_reach,
    moved,
    quote_up,
    reach,
    target,
    threshold,
)

ACCOUNTS = "proof sums_of_accounts_are_not_under_zero"


@dataclass(frozen=True)
class Move:
    """A move that closes buckets while somebody wins.

    Attributes:
        loser: before; `winner` too.
        index_drop: dK.
        closed: shares of the buckets closed.
        ghosts: what their accounts were worth before the move; `rounded`: what of it touches have left in the market.
        outcome: what the contract makes of it.
    """

    loser: Side
    winner: Side
    index_drop: z3.ArithRef
    closed: z3.ArithRef
    ghosts: z3.ArithRef
    rounded: z3.ArithRef
    outcome: Outcome

    @property
    def slack_gained(self) -> z3.ArithRef:
        """By how much the market holds more beyond its claims after the move: losers' claims fall by gross and by what
        the closed had left, winners' rise, and insurance is owed what is made over to it less what it covered (the
        vault's tokens for that are on both sides: insurance.py)."""
        left_to_the_closed = self.ghosts - self.closed * self.index_drop
        gained_by_winners = self.winner.shares * self.outcome.index_gain
        insurance = wei(self.outcome.to_insurance) - wei(self.outcome.covered)
        return self.outcome.gross + left_to_the_closed - gained_by_winners - insurance


def closing_move(q: Query) -> Move:
    """Any such move."""
    loser, winner = domain.side(q, "loser"), domain.side(q, "winner")
    index_drop = q.integer("index drop", 0, WAD * MAX_PRICE, "settlement.vy, `_towards`, `_funding`")
    closed = q.integer("closed shares", 1, loser.shares, "bucket_sums_are_exact: buckets are parts of their side")
    ghosts, rounded = q.integer("ghosts"), q.integer("rounded", 0, source=ACCOUNTS)
    gap, available = q.integer("gap", -MAX_PRICE, MAX_PRICE, "oracle.vy"), q.integer("drawable", 0)
    outcome = closing(q, loser, winner, index_drop, closed, ghosts - rounded, gap, available)
    for name in ("gross", "deficit", "surplus", "bonus", "covered", "index_gain", "to_insurance"):
        q.show(name, getattr(outcome, name))
    return Move(loser, winner, index_drop, closed, ghosts, rounded, outcome)


def paper(q: Query, move: Move) -> None:
    """Looks for counterexamples among positions of a few units at a few dollars."""
    q.pin(move.loser.shares == 2 * WAD, move.winner.shares == 2 * WAD, move.closed == WAD, move.rounded == 0)
    q.pin(move.loser.scale == WAD, move.winner.scale == WAD, move.index_drop == 10 * INDEX_UNIT)


def accounts_were_solvent(q: Query, move: Move) -> None:
    """The guard of S1 and S2."""
    q.guard("before the move every closed account was worth at least nothing", move.ghosts >= 0, ACCOUNTS)


# ---------------------------------------------------------------------------------------------------------- S2, bounded


@proof(
    "S2",
    "What closed accounts cannot pay is at most what their side lost: deficit <= gross, so 0 <= haircut <= 1, and no "
    "winner's index falls.",
    "",
)
def deficit_is_at_most_gross(q: Query) -> None:
    move = closing_move(q)
    accounts_were_solvent(q, move)
    short = q.most(move.closed * move.index_drop - move.ghosts, 0)
    q.show("what they cannot pay", short)
    q.prove(short <= move.outcome.gross)
    q.prove(z3.And(move.outcome.deficit >= 0, move.outcome.deficit <= move.outcome.gross))
    q.prove(z3.And(move.outcome.covered >= 0, move.outcome.covered <= quote_up(q, move.outcome.deficit)))
    q.prove(move.outcome.index_gain >= 0)
    paper(q, move)


@proof(
    "S2",
    "The contract's clamp of a deficit to gross takes off roundings only: at most what touches of the closed "
    "accounts have left in the market already.",
    "",
)
def the_clamp_takes_off_roundings_only(q: Query) -> None:
    move = closing_move(q)
    accounts_were_solvent(q, move)
    raw = q.most(move.closed * move.index_drop - (move.ghosts - move.rounded), 0)
    q.prove(raw - move.outcome.deficit <= move.rounded)
    paper(q, move)


@proof(
    "S2",
    "A member's surplus pays for a fellow's deficit before anybody else pays: deficit and surplus are never both "
    "above zero, and what the closed had left is surplus - deficit, but for roundings of touches.",
    "",
)
def deficits_are_netted_first(q: Query) -> None:
    move = closing_move(q)
    accounts_were_solvent(q, move)
    left = move.ghosts - move.closed * move.index_drop
    net = move.outcome.surplus - move.outcome.deficit
    q.prove(z3.Or(move.outcome.deficit == 0, move.outcome.surplus == 0))
    q.prove(z3.And(net <= left, net >= left - move.rounded))
    paper(q, move)


@proof(
    "§3",
    "What deleveraged winners miss at a lagging mark is paid as far as surplus goes and stated for the rest: "
    "bonus <= surplus, bonus + shortfall = closed size x gap; all of the losers' size, if the scale ends the epoch.",
    "how the gap is measured after funding (tests/unit/modules/test_settlement.py)",
)
def the_bonus_comes_from_surplus(q: Query) -> None:
    move = closing_move(q)
    ends = move.outcome.winner_scale < MIN_SCALE
    closed = z3.If(ends, move.loser.shares, move.closed)
    right, wrong = closed * move.loser.scale, closed * move.winner.scale
    closed_size = q.rather("the gap is paid on the losers' size", right, wrong, "settlement.vy, `_plan`")
    gap = q.most(z3.Int("gap"), 0)
    shortfall = move.outcome.missed - move.outcome.bonus
    q.prove(z3.And(move.outcome.bonus >= 0, move.outcome.bonus <= move.outcome.surplus, shortfall >= 0))
    q.prove(move.outcome.bonus + shortfall == closed_size * gap)
    q.pin(move.loser.scale == WAD, move.winner.scale == WAD // 2, move.closed == WAD, move.index_drop == INDEX_UNIT)


# ---------------------------------------------------------------------------------------------------- S1, conservation


@proof(
    "S1",
    "A move never takes from the market's slack: what winners gain, insurance is owed and the closed give up is "
    "covered, to the last digit, in every case of deficit, cover, bonus and surplus.",
    "tokens (insurance.py); accounts that stay open (their claims change by shares x index, exactly)",
)
def a_move_conserves(q: Query) -> None:
    move = closing_move(q)
    accounts_were_solvent(q, move)
    q.show("slack gained", move.slack_gained)
    q.prove(move.slack_gained >= 0)
    paper(q, move)


@proof(
    "S1",
    "A move leaves less than a wei and a hundredth behind, besides what touches of the closed accounts have left "
    "already: slack grows by less than 1 wei + N_W + roundings.",
    "",
)
def dust_of_a_move_is_bounded(q: Query) -> None:
    move = closing_move(q)
    q.assume("before the move the closed were worth at least nothing", move.ghosts >= 0, ACCOUNTS)
    q.assume("N_W is under a hundredth of a wei", 100 * move.winner.shares < INDEX_UNIT, "MAX_SHARES = 2**110")
    more = move.outcome.covered + 1
    asked = q.rather(
        "insurance is asked for no more than is missing", move.outcome.covered, more, "settlement.vy, `_plan`"
    )
    q.show("asked of insurance", asked)
    gained = move.slack_gained - wei(move.outcome.covered) + wei(asked)
    q.show("slack gained", gained)
    q.prove(100 * (gained - move.rounded) < 101 * INDEX_UNIT)
    paper(q, move)


@proof(
    "S1",
    "With nobody on the winning side what the losers pay goes to insurance, and nothing is lost or made: slack grows "
    "by less than a wei besides roundings of touches.",
    "",
)
def a_move_for_nobody_conserves(q: Query) -> None:
    loser = domain.side(q, "loser")
    index_drop = q.integer("index drop", 0, WAD * MAX_PRICE, "settlement.vy, `_towards`, `_funding`")
    closed = q.integer("closed shares", 1, loser.shares, "bucket_sums_are_exact")
    ghosts, rounded = q.integer("ghosts"), q.integer("rounded", 0, source=ACCOUNTS)
    gross, deficit, to_insurance = closing_for_nobody(q, loser, index_drop, closed, ghosts - rounded)
    q.guard("before the move every closed account was worth at least nothing", ghosts >= 0, ACCOUNTS)
    gained = gross + ghosts - closed * index_drop - wei(to_insurance)
    q.show("slack gained", gained)
    q.prove(z3.And(deficit <= gross, gained >= 0, gained < INDEX_UNIT + rounded))
    q.pin(loser.shares == 2 * WAD, closed == WAD, index_drop == 10 * INDEX_UNIT)


@proof(
    "S1",
    "A move that closes nobody: winners gain at most what losers lose, less than N_W of the 54th digit stays behind.",
    "",
)
def a_move_that_closes_nobody_conserves(q: Query) -> None:
    loser, winner = domain.side(q, "loser"), domain.side(q, "winner")
    index_drop = q.integer("index drop", 0, WAD * MAX_PRICE, "settlement.vy, `_towards`, `_funding`")
    gross, gain = loser.shares * index_drop, q.integer("gain")
    q.guard("winners share gross", gain == gross, "settlement.vy, `_plan`")
    index_gain = q.quotient(gain, winner.shares)
    q.show("index gain", index_gain)
    left = gross - winner.shares * index_gain
    q.prove(z3.And(left >= 0, left < winner.shares))
    q.pin(loser.shares == WAD, winner.shares == WAD, index_drop == INDEX_UNIT, gain > gross)


@proof(
    "S1",
    "Side totals carry over to accounts: if shares add up to N, what an index move gives all accounts is N times the "
    "move (induction over accounts).",
    "",
)
def an_index_move_pays_by_shares(q: Query) -> None:
    total, paid, move = q.integer("shares so far", 0), q.integer("paid so far"), q.integer("index move")
    more = domain.shares(q, "account shares")
    q.guard("so far", paid == total * move, "the induction")
    q.prove(paid + more * move == (total + more) * move)
    q.pin(total == WAD, more == WAD, move == INDEX_UNIT)


@proof(
    "§3",
    "Deleverage keeps the sides equal: with open interest equal before, after it the winners' is lower than the "
    "losers' by less than one unit of 36 digits a share, and no scale ever rises.",
    "drift that was there before it is kept in proportion",
)
def deleverage_keeps_sides_equal(q: Query) -> None:
    move = closing_move(q)
    losers = move.loser.scale * (move.loser.shares - move.closed)
    winners = move.outcome.winner_scale * move.winner.shares
    equal = move.loser.scale * move.loser.shares == move.winner.scale * move.winner.shares
    q.guard("open interest was equal", equal, "design §2; see trades.py for its drift")
    q.show("losers' open interest after", losers)
    q.show("winners' open interest after", winners)
    q.prove(z3.And(losers - winners >= 0, losers - winners < move.winner.shares))
    q.prove(z3.And(move.outcome.winner_scale <= move.winner.scale, move.outcome.winner_scale >= 0))
    q.pin(move.loser.shares == 2 * WAD, move.winner.shares == 2 * WAD, move.closed == WAD, move.loser.scale == WAD)
    q.pin(move.winner.scale == WAD // 2, move.index_drop == INDEX_UNIT)


# ------------------------------------------------------------------------------------------------------- stopped moves


@dataclass(frozen=True)
class Stop:
    """A price move that ran out of budget at an edge: the loser, the margin, the mark, the distance gone."""

    loser: Side
    closeout: z3.ArithRef
    mark: z3.ArithRef
    edge: z3.ArithRef
    distance: z3.ArithRef


def stopped(q: Query, direction: int) -> Stop:
    """Any such move; -1: the mark falls, 1: it rises."""
    loser, mark = Side(0, domain.scale(q), domain.index(q)), domain.price(q)
    closeout = domain.ratio(q, "close-out", 1, WAD - 1)
    edge = q.integer("edge")
    distance = reach(q, loser, edge, closeout, mark, direction)
    q.show("distance", distance)
    return Stop(loser, closeout, mark, edge, distance)


def price_stop_keeps_the_edge(q: Query, direction: int) -> None:
    """Writes the proof that a stopped move goes just so far as the first bucket left open allows."""
    stop = stopped(q, direction)
    before = threshold(q, stop.loser, 0, stop.closeout, stop.mark)
    q.show("T before", before)
    exact_before = stop.loser.index * WAD - stop.closeout * stop.loser.scale * stop.mark
    q.guard("the edge is at or under T before the move", stop.edge * WAD <= exact_before, "the bucket was left open")
    mark_after = moved(stop.mark, stop.distance, direction)
    q.assume("the mark stays a price", mark_after >= 0, "a_stopped_fall_is_shorter; breaker.vy, `_target`")
    after = threshold(q, stop.loser, stop.loser.scale * stop.distance, stop.closeout, mark_after)
    q.show("T after", after)
    # One step of 18 digits more, before T is rounded.
    further = stop.distance + 1
    exact = exact_before - stop.loser.scale * further * (WAD + direction * stop.closeout)
    q.prove(after >= stop.edge)
    q.prove(exact < stop.edge * WAD)
    q.pin(stop.loser.scale == WAD, stop.mark == 100 * WAD, stop.closeout == WAD // 100, stop.loser.index == 0)
    q.pin(stop.edge == -(10**35))


STOPS = "an edge that T lay under already when the move began (then nothing moves)"


@proof(
    "§3",
    "A stopped fall goes the largest distance that keeps T at or above the first bucket left open: so far holds, one "
    "step of the 18th digit more would not.",
    STOPS,
)
def a_stopped_fall_keeps_its_edge(q: Query) -> None:
    price_stop_keeps_the_edge(q, -1)


@proof("§3", "A stopped rise goes the largest distance that keeps T at or above the first bucket left open.", STOPS)
def a_stopped_rise_keeps_its_edge(q: Query) -> None:
    price_stop_keeps_the_edge(q, 1)


def price_stop_is_shorter(q: Query, direction: int) -> None:
    """Writes the proof that a stop only ever shortens."""
    stop = stopped(q, direction)
    planned = q.integer("planned distance", 0, MAX_PRICE, "settlement.vy, `_towards`")
    mark_after = moved(stop.mark, planned, direction)
    q.assume("the planned mark", z3.And(mark_after >= 1, mark_after <= MAX_PRICE), "breaker.vy, `_target`")
    edge = threshold(q, stop.loser, stop.loser.scale * planned, stop.closeout, mark_after)
    q.show("planned T", edge)
    q.guard("the scan stopped above T", stop.edge > edge, "buckets.vy, `_scan`")
    q.assume("the move is one", planned > 0, "PerpetualMarket.vy, `settle_to`")
    q.prove(z3.And(stop.distance >= 0, stop.distance < planned))
    q.pin(stop.loser.scale == WAD, stop.mark == 100 * WAD, stop.closeout == WAD // 100, planned == WAD)


@proof("§3", "A stopped fall is shorter than the one planned: the mark passes no target, nobody loses more.", "")
def a_stopped_fall_is_shorter(q: Query) -> None:
    price_stop_is_shorter(q, -1)


@proof("§3", "A stopped rise is shorter than the one planned.", "")
def a_stopped_rise_is_shorter(q: Query) -> None:
    price_stop_is_shorter(q, 1)


@proof(
    "§3",
    "A stopped funding move ends exactly at the first bucket left open: T = edge, with less taken than planned.",
    STOPS,
)
def stopped_funding_ends_at_its_edge(q: Query) -> None:
    loser, mark = Side(0, domain.scale(q), domain.index(q)), domain.price(q)
    closeout, edge = domain.ratio(q, "close-out", 1, WAD - 1), q.integer("edge")
    planned = q.integer("planned drop", 1)
    drop = funding_reach(q, loser, edge, closeout, mark)
    q.show("drop", drop)
    q.assume("the scan stopped above T", edge > threshold(q, loser, planned, closeout, mark), "buckets.vy, `_scan`")
    q.guard(
        "the edge is at or under T before the move",
        edge <= threshold(q, loser, 0, closeout, mark),
        "the bucket was left open",
    )
    q.prove(threshold(q, loser, drop, closeout, mark) == edge)
    q.prove(z3.And(drop >= 0, drop < planned))
    q.pin(loser.scale == WAD, mark == 100 * WAD, closeout == WAD // 100, loser.index == 0, planned == INDEX_UNIT)


@proof(
    "S2",
    "A move that stops at an edge above T moves nothing: no distance, no drop. So whoever was filed above T, or has "
    "come above it, loses nothing before his bucket closes.",
    "",
)
def a_stop_above_the_threshold_moves_nothing(q: Query) -> None:
    loser, mark = Side(0, domain.scale(q), domain.index(q)), domain.price(q)
    closeout, edge = domain.ratio(q, "close-out", 1, WAD - 1), q.integer("edge")
    edge_of_market = threshold(q, loser, 0, closeout, mark)
    q.show("T before", edge_of_market)
    q.guard("the edge is above T", edge > edge_of_market, "the premise")
    for direction in (-1, 1):
        distance = reach(q, loser, edge, closeout, mark, direction)
        q.show("fall" if direction < 0 else "rise", distance)
        q.prove(distance == 0)
    drop = funding_reach(q, loser, edge, closeout, mark)
    q.show("funding drop", drop)
    q.prove(drop == 0)
    q.pin(loser.scale == WAD, mark == 100 * WAD, closeout == WAD // 100, loser.index == 0)


# ------------------------------------------------------------------------------------------------------------------- S8


def open_account(q: Query) -> tuple[Side, z3.ArithRef, z3.ArithRef, z3.ArithRef]:
    """A side, the mark and the close-out margin before a move, and the upper edge of an account that was left open."""
    loser, mark = Side(0, domain.scale(q), domain.index(q)), domain.price(q)
    closeout, edge = domain.ratio(q, "close-out", 1), q.integer("upper edge")
    q.assume(
        "the account stands under T",
        edge <= threshold(q, loser, 0, closeout, mark),
        "a move closes the others; maintenance_stands_under_the_threshold; winners_stay_under_the_threshold",
    )
    return loser, mark, closeout, edge


@proof(
    "S8",
    "If the step limit is within the close-out margin, a price move leaves the index at or above the upper edge of "
    "everybody who was open before it, so nobody's worth falls below zero (an_open_account_is_not_under_zero): "
    "deficit = 0.",
    "the wei of touches: see no_deficit_but_roundings",
)
def a_step_within_closeout_margin_passes_nobody(q: Query) -> None:
    loser, mark, closeout, edge = open_account(q)
    index_price, step_target = domain.price(q, "index price"), q.integer("step target", 0, MAX_PRICE, "breaker.vy")
    step = domain.ratio(q, "price step", 1, WAD // 2)
    q.guard("max_price_step <= close-out margin", step <= closeout, "MarketLens.vy, `is_gap_safe`")
    goal = target(q, mark, index_price, step_target, step)
    q.show("mark after", goal)
    after = loser.index - loser.scale * distance_to(q, mark, goal)
    q.show("index after", after)
    q.prove(after >= edge)
    q.pin(loser.scale == WAD, mark == 100 * WAD, closeout == WAD // 100, loser.index == 0, step_target == 0)
    q.pin(index_price == 50 * WAD)


@proof(
    "S8",
    "Funding never takes more of a share than the close-out margin, so it passes nobody who was open either.",
    "",
)
def funding_within_closeout_margin_passes_nobody(q: Query) -> None:
    loser, mark, closeout, edge = open_account(q)
    most = domain.ratio(q, "max funding")
    q.guard("max_funding <= close-out margin", most <= closeout, "parameters.vy")
    drop = q.integer("index drop", 0)
    q.assume("it is clamped", drop <= q.quotient(most * loser.scale * mark, WAD), "funding.vy, `_accrue`")
    q.prove(loser.index - drop >= edge)
    q.pin(loser.scale == WAD, mark == 100 * WAD, closeout == WAD // 100, loser.index == 0)


@proof(
    "S8",
    "Whoever reduces, or is taken over in part, keeps the close-out margin a share that he had, but for the two wei "
    "of a touch: c >= n X - 2 and no less healthy give c' >= n' X - 2, X the close-out margin of a share.",
    "",
)
def reducing_keeps_the_closeout_margin(q: Query) -> None:
    before, after = domain.collateral(q, "collateral before"), domain.collateral(q, "collateral after")
    old = domain.shares(q, "shares before")
    new = q.integer("shares after", 1, old, "reducing_changes_size_by_the_size")
    a_share = q.integer("close-out margin of a share", 0, WAD * MAX_PRICE, "settlement.vy, `_threshold`")
    q.assume(
        "it stood under T",
        wei(before) > old * a_share - 2 * INDEX_UNIT,
        "an_open_account_is_not_under_zero, a_touch_costs_less_than_two_wei",
    )
    q.guard(
        "it is no less healthy",
        after * old >= before * new,
        "margin.vy, `_require_health`; a_liquidation_never_makes_less_healthy",
    )
    q.prove(wei(after) > new * a_share - 2 * INDEX_UNIT)
    q.pin(old == 2 * WAD, new == WAD, a_share == INDEX_UNIT)


@proof(
    "S8",
    "Where nobody's worth falls below zero in a move, the deficit is at most the roundings that touches of the closed "
    "accounts have left: less than two wei each, zero if they left none.",
    "that it is zero: a deficit of a wei does occur "
    "(tests/regression/test_a_deficit_of_a_wei_where_nobody_is_short.py)",
)
def no_deficit_but_roundings(q: Query) -> None:
    move = closing_move(q)
    left = move.ghosts - move.closed * move.index_drop
    q.guard(
        "after the move the closed are worth at least nothing", left >= 0, "a_step_within_closeout_margin_passes_nobody"
    )
    q.prove(move.outcome.deficit <= move.rounded)
    paper(q, move)


@proof(
    "S8",
    "Who stands under T and wins a move without haircut stands under T after it, wherever the mark goes: the promise "
    "to open accounts survives winning, if the losers' open interest is more than the close-out margin's part of the "
    "winners'.",
    "a haircut (then S8's condition does not hold); sides that unequal (they are equal but for dust: trades.py)",
)
def winners_stay_under_the_threshold(q: Query) -> None:
    loser, winner = domain.side(q, "loser"), domain.side(q, "winner")
    mark, closeout, edge = domain.price(q), domain.ratio(q, "close-out", 1), q.integer("upper edge")
    distance = q.integer("distance", 1, MAX_PRICE, "PerpetualMarket.vy, `settle_to`")
    after = q.integer("mark after", 1, mark + distance, "settlement.vy, `_moved`")
    q.assume("it stands under T", edge <= threshold(q, winner, 0, closeout, mark), "as in open_account")
    scale_after = q.integer("winner scale after", 0, winner.scale, "deleverage_keeps_sides_equal")
    index_gain = q.quotient(loser.shares * loser.scale * distance, winner.shares)
    q.show("index gain", index_gain)
    q.guard(
        "losers' open interest is at least (close-out + 2e-14) x winners'",
        loser.shares * loser.scale * WAD >= winner.shares * (winner.scale * (closeout + 2 * 10**4)),
        "open interest is equal but for dust",
    )
    later = threshold(q, Side(0, scale_after, winner.index + index_gain), 0, closeout, after)
    q.show("T after", later)
    q.prove(later >= edge)
    q.pin(winner.scale == WAD, loser.scale == WAD, scale_after == WAD, mark == 100 * WAD, distance == WAD)
    q.pin(closeout == WAD // 100, winner.index == 0, winner.shares == WAD, after == 101 * WAD)


# --------------------------------------------------------------------------------------------------------------- ranges


@proof(
    "§3",
    "T is the exact threshold rounded up, by less than the index's last digit: rather one bucket more.",
    "",
)
def the_threshold_is_rounded_up(q: Query) -> None:
    loser, mark, closeout = Side(0, domain.scale(q), domain.index(q)), domain.price(q), domain.ratio(q, "close-out")
    down = loser.index - ceil_div(q, closeout * loser.scale * mark, WAD)
    up = threshold(q, loser, 0, closeout, mark)
    found = q.rather("the close-out margin is rounded down", up, down, "settlement.vy, `_threshold`")
    q.show("T", found)
    exact = loser.index * WAD - closeout * loser.scale * mark
    q.prove(z3.And(found * WAD >= exact, found * WAD < exact + WAD))
    q.pin(mark == MIN_PRICE, loser.index == 0, closeout == WAD // 100)


@proof(
    "§11",
    "After every move an index fits its field of 160 bits, whatever the winners gain: beyond 2**156 the epoch ends.",
    "",
)
def an_index_fits_its_field(q: Query) -> None:
    loser, winner = domain.index(q, "loser index"), domain.index(q, "winner index")
    drop = q.integer("index drop", 0, WAD * MAX_PRICE, "settlement.vy, `_towards`")
    gain = q.integer("index gain", 0, 2**251, "gross < 2**250 and bonus <= surplus: bounds.py")
    over = z3.Or(loser - drop < -domain.MAX_INDEX, winner + gain > domain.MAX_INDEX)
    q.guard("the epoch goes on", z3.Not(over), "settlement.vy, `_is_over`")
    for after in (loser - drop, winner + gain):
        q.prove(z3.And(after >= -domain.MAX_INDEX, after <= domain.MAX_INDEX))
    # Even one that ends the epoch is no number that a word could not hold.
    q.prove(z3.And(loser - drop > -(2**255), winner + gain < 2**255))
