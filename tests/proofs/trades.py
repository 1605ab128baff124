"""Fills, liquidations, deposits and withdrawals (design §5, §6; S1)."""

from __future__ import annotations

from dataclasses import dataclass

import z3

from prorata.units import WAD
from tests.proofs import domain
from tests.proofs.query import Query, proof
from tests.proofs.rounding import products_keep_order
from tests.proofs.transcript import (
    ceil_div,
    collateral_of_part,
    dust,
    dynamic_margin,
    fee_on,
    is_below_at_mark,
    liquidable,
    notional_of_size,
    party_pays,
    requirement,
    reward_of,
    shares_of_size,
    size_of_shares,
    traded_against,
)

MAX_SIZE = 2**96


def size_at_mark(q: Query) -> tuple[z3.ArithRef, z3.ArithRef]:
    """A size that is traded, and the mark."""
    return q.integer("size", 1, MAX_SIZE - 1, "TradingLogic.vy, `_match`"), domain.price(q)


# --------------------------------------------------------------------------------------------------------------- fills


@proof(
    "S1",
    "A fill makes nothing: what both parties have after it and the fees credited to insurance are what both had, "
    "less at most a wei; nobody goes below zero, and no fee is more than its party had.",
    "the rounding of filing after it (filing.py)",
)
def a_fill_conserves(q: Query) -> None:
    size, mark = size_at_mark(q)
    limit = domain.price(q, "limit price")
    maker, taker = domain.collateral(q, "maker had"), domain.collateral(q, "taker had")
    is_long = q.either("maker buys")
    fee = fee_on(q, size, mark, domain.ratio(q, "fee rate"))
    to_maker = z3.If(is_long, (mark - limit) * size, (limit - mark) * size)
    parties = [party_pays(q, had, receives, fee) for had, receives in ((maker, to_maker), (taker, -to_maker))]
    enough = z3.And(*(before_fee >= 0 for before_fee, _, _ in parties))
    q.guard("whoever cannot pay the price is refused", enough, "TradingLogic.vy, `_complete`")
    credited = parties[0][1] + parties[1][1]
    after = parties[0][2] + parties[1][2]
    q.show("fees", credited)
    q.show("maker has", parties[0][2])
    q.show("taker has", parties[1][2])
    lost = maker + taker - after - credited
    q.prove(z3.And(lost >= 0, lost <= 1))
    for before_fee, collected, left in parties:
        q.prove(z3.And(left >= 0, collected >= 0, collected <= before_fee, collected <= fee))
    q.pin(size == WAD, mark == 100 * WAD, limit == 101 * WAD, maker == WAD // 2, taker == WAD)


@proof(
    "S1",
    "Price against mark moves between the two collaterals, floored for both: nobody gets more or pays less than is "
    "due, and the two amounts add up to zero or to minus one wei.",
    "",
)
def price_against_mark_is_floored_for_both(q: Query) -> None:
    receives = q.integer("maker receives", -MAX_SIZE * 2**80, MAX_SIZE * 2**80, "bounds.py")
    maker, taker = domain.collateral(q, "maker had"), domain.collateral(q, "taker had")
    to_taker = q.integer("taker receives")
    q.guard("one receives what the other pays", to_taker == -receives, "TradingLogic.vy, `_match`")
    got = party_pays(q, maker, receives, 0)[0] - maker, party_pays(q, taker, to_taker, 0)[0] - taker
    q.show("maker got", got[0])
    q.show("taker got", got[1])
    q.prove(z3.And(got[0] * WAD <= receives, got[1] * WAD <= to_taker))
    q.prove(z3.Or(got[0] + got[1] == 0, got[0] + got[1] == -1))
    q.pin(receives == WAD)


@proof(
    "S2",
    "A size turned into shares is rounded down by less than one share's worth: less than a wei of size, so both "
    "sides of a fill grow by the size, less under a wei each.",
    "",
)
def shares_of_a_size_are_rounded_down(q: Query) -> None:
    size, _ = size_at_mark(q)
    scale = domain.scale(q)
    down, up = shares_of_size(q, size, scale), ceil_div(q, size * WAD, scale)
    shares = q.rather("they are rounded down", down, up, "accounts.vy, `_trade`")
    q.show("shares", shares)
    lost = size * WAD - shares * scale
    q.prove(z3.And(lost >= 0, lost < scale))
    q.pin(scale == WAD // 3, size == 1)


@proof(
    "§5",
    "Trading against a position reduces it by the size within a wei, closes it where sizes differ by at most the "
    "dust, or turns it over by the rest: what the account's size changes by is the size but for dust + 2 wei, and "
    "shares never go below zero.",
    "how dust adds up over a market's life",
)
def reducing_changes_size_by_the_size(q: Query) -> None:
    size, mark = size_at_mark(q)
    shares, scale, other_scale = domain.shares(q), domain.scale(q), domain.scale(q, "other scale")
    minimum = q.integer("min_notional", 10**15, MAX_SIZE - 1, "parameters.vy")
    left, turned = traded_against(q, shares, scale, other_scale, size, minimum, mark)
    slack = q.integer("dust")
    q.guard("differences up to dust count as none", slack == dust(q, minimum, mark), "accounts.vy, DUST_PART")
    q.show("shares left", left)
    q.show("shares turned", turned)
    # Size after, the other side counted against: 36 digits, before any rounding.
    change = shares * scale - (left * scale - turned * other_scale)
    q.prove(z3.And(left >= 0, left <= shares, turned >= 0, z3.Or(left == 0, turned == 0)))
    q.prove(z3.And(change - size * WAD <= (slack + 2) * WAD, size * WAD - change <= (slack + 2) * WAD))
    q.pin(scale == WAD, other_scale == WAD, mark == WAD, minimum == WAD, shares == 10 * WAD, slack >= 0)


# --------------------------------------------------------------------------------------------------------- liquidation


@proof(
    "S1",
    "A liquidation makes nothing and loses nothing: account, liquidator and insurance have together what they had, "
    "to the wei; the account pays no more than it has.",
    "the rounding of filing after it (filing.py)",
)
def a_liquidation_conserves(q: Query) -> None:
    taken, mark = size_at_mark(q)
    owner, caller = domain.collateral(q, "account had"), domain.collateral(q, "liquidator had")
    old = domain.shares(q, "shares before")
    new = q.integer("shares after", 0, old, "reducing_changes_size_by_the_size")
    share = domain.ratio(q, "liquidator_share")
    fee = q.integer("fee", 0)
    most = collateral_of_part(q, owner, old, new)
    due = fee_on(q, taken, mark, domain.ratio(q, "liquidation_fee"))
    q.guard(
        "the fee is at most the collateral of what is taken", fee == q.least(due, most), "TradingLogic.vy, `liquidate`"
    )
    reward = reward_of(q, fee, share)
    owner_after = party_pays(q, owner, -fee * WAD, 0)
    caller_after = party_pays(q, caller, reward * WAD, 0)
    insurance = fee - reward
    q.show("account has", owner_after[2])
    q.show("to insurance", insurance)
    q.prove(owner_after[2] + caller_after[2] + insurance == owner + caller)
    q.prove(z3.And(owner_after[2] >= 0, insurance >= 0, reward >= 0))
    q.pin(taken == WAD, mark == 100 * WAD, owner == WAD, caller == 0, old == 2 * WAD, new == WAD, share == WAD // 2)


@proof(
    "§6",
    "A liquidation leaves the account as healthy as it was or healthier: (c - fee) / n' >= c / n, so the check of "
    "health never refuses one.",
    "",
)
def a_liquidation_never_makes_less_healthy(q: Query) -> None:
    collateral, old = domain.collateral(q), domain.shares(q, "shares before")
    new = q.integer("shares after", 0, old, "reducing_changes_size_by_the_size")
    fee = q.integer("fee", 0)
    most = collateral_of_part(q, collateral, old, new)
    q.show("collateral of what is taken", most)
    q.guard("the fee is at most the collateral of what is taken", fee <= most, "TradingLogic.vy, `liquidate`")
    q.prove((collateral - fee) * old >= collateral * new)
    q.pin(collateral == 10 * WAD, old == 2 * WAD, new == WAD, fee <= collateral)


@dataclass(frozen=True)
class Liquidation:
    """An account below maintenance: what it has, and the parameters; the limit as `_liquidable` has it, and what
    restores initial margin before the smallest position has its say."""

    collateral: z3.ArithRef
    size: z3.ArithRef
    mark: z3.ArithRef
    initial: z3.ArithRef
    fee: z3.ArithRef
    minimum: z3.ArithRef
    limit: z3.ArithRef
    restoring: z3.ArithRef

    def paper(self, q: Query, dollars: int) -> None:
        """Looks for a counterexample among positions of 100 at 100 that hold so much."""
        q.pin(self.size == 100 * WAD, self.mark == 100 * WAD, self.collateral == dollars * WAD)
        q.pin(self.initial == WAD // 20, self.fee == WAD // 100)


def liquidated(q: Query) -> Liquidation:
    """Any such account."""
    size, mark = size_at_mark(q)
    collateral, initial = domain.collateral(q), domain.ratio(q, "initial margin", 1)
    maintenance, fee = domain.ratio(q, "maintenance margin"), domain.ratio(q, "liquidation_fee")
    minimum = q.integer("min_notional", 10**15, MAX_SIZE - 1, "parameters.vy")
    q.assume("initial > maintenance >= fee", z3.And(initial > maintenance, maintenance >= fee), "parameters.vy")
    value = notional_of_size(q, size, mark)
    q.assume("it is below maintenance", is_below_at_mark(q, collateral, value, maintenance), "TradingLogic.vy")
    limit, restoring = liquidable(q, collateral, size, mark, initial, fee, minimum)
    q.show("limit", limit)
    return Liquidation(collateral, size, mark, initial, fee, minimum, limit, restoring)


@proof(
    "§6",
    "An account below maintenance lacks initial margin: `_liquidable` never subtracts below zero.",
    "",
)
def below_maintenance_lacks_initial_margin(q: Query) -> None:
    size, mark = size_at_mark(q)
    collateral, initial = domain.collateral(q), domain.ratio(q, "initial margin")
    maintenance = domain.ratio(q, "maintenance margin")
    value = notional_of_size(q, size, mark)
    q.show("notional", value)
    q.assume("it is below maintenance", is_below_at_mark(q, collateral, value, maintenance), "TradingLogic.vy")
    q.guard("initial > maintenance", initial > maintenance, "parameters.vy")
    q.cite(products_keep_order, value, maintenance, initial)
    q.prove(collateral < requirement(q, value, initial))
    q.pin(size == WAD, mark == 100 * WAD, collateral == WAD, maintenance == WAD // 20, initial > 0)


@proof(
    "§6",
    "Taking over the limit of a partial liquidation brings the account back to initial margin, its fee paid, but for "
    "two wei: c - fee >= initial x (size - limit) x mark - 2 wei.",
    "the size that rounding to shares leaves (shares_of_a_size_are_rounded_down: under a wei of size)",
)
def a_partial_liquidation_restores_initial_margin(q: Query) -> None:
    one = liquidated(q)
    taken = q.integer("taken", 1, one.limit, "TradingLogic.vy, `liquidate`")
    q.assume("it is partial", one.limit < one.size, "the premise")
    q.guard("the caller asks for all of the limit", taken == one.limit, "the premise")
    paid = fee_on(q, taken, one.mark, one.fee)
    needs = one.initial * (one.size - taken) * one.mark
    q.show("fee", paid)
    q.show("needs, wei", needs / WAD / WAD)
    q.prove((one.collateral - paid + 2) * WAD * WAD >= needs)
    one.paper(q, 200)


@proof(
    "§6",
    "It takes no more than that: with a step of the 18th digit less (and no smallest position in play) the account "
    "would still lack initial margin.",
    "",
)
def a_partial_liquidation_takes_no_more_than_needed(q: Query) -> None:
    one = liquidated(q)
    q.assume("it is partial", one.limit < one.size, "the premise")
    q.guard("no smallest position in play", one.limit == one.restoring, "margin.vy, `_liquidable`")
    less = one.limit - 1
    # One wei for each of the two roundings of the requirement, against the account.
    needs = one.initial * (one.size - less) * one.mark + 2 * WAD * WAD
    q.prove(one.collateral * WAD * WAD - one.fee * less * one.mark < needs)
    one.paper(q, 450)
    q.pin(one.minimum == 2000 * WAD)


# -------------------------------------------------------------------------------------------------------------- margin


@proof(
    "§9",
    "Margin for new risk is never below the static initial margin and never above 100 %, whatever open interest and "
    "insurance are.",
    "",
)
def dynamic_margin_lies_between_static_and_all(q: Query) -> None:
    static = domain.ratio(q, "initial margin", 1, 2 * WAD)
    slope, exposure = domain.ratio(q, "margin_slope"), q.integer("exposure", 0)
    insured = q.integer("insured", 0)
    found = dynamic_margin(q, static, slope, exposure, insured)
    q.show("margin", found)
    q.guard("initial margin is at most 100 %", static <= WAD, "parameters.vy")
    q.prove(z3.And(found >= static, found <= WAD))
    q.pin(static == 2 * WAD)


@proof(
    "§5",
    "Whoever reduces and is no less healthy meets the margin ratio he met before: c' n >= c n' and c >= r n give c' "
    ">= r n'.",
    "notional's own rounding, a wei",
)
def no_less_healthy_keeps_the_ratio(q: Query) -> None:
    before, after = domain.collateral(q, "collateral before"), domain.collateral(q, "collateral after")
    old, new = domain.shares(q, "shares before"), domain.shares(q, "shares after")
    ratio = q.integer("margin a share", 0)
    q.assume("before", before >= ratio * old, "the premise")
    q.guard("no less healthy", after * old >= before * new, "margin.vy, `_require_health`")
    q.prove(after >= ratio * new)
    q.pin(old == 2 * WAD, new == WAD, ratio == 5, after > 0)


@proof(
    "S1, S7",
    "A withdrawal takes whole token units that are there: what is paid out is what the account's collateral falls "
    "by, and it does not fall below zero; a deposit adds what came in.",
    "the token's own transfer (refused unless exact: tokens.vy)",
)
def a_withdrawal_takes_what_is_there(q: Query) -> None:
    collateral, units = domain.collateral(q), q.integer("token units", 1)
    scale = q.integer("quote per token unit", 1, WAD, "tokens.vy, `_scale`")
    q.guard(
        "no more whole units than there are", units <= q.quotient(collateral, scale), "PerpetualMarket.vy, `withdraw`"
    )
    after = collateral - units * scale
    q.show("collateral after", after)
    q.prove(z3.And(after >= 0, after + units * scale == collateral))
    q.pin(scale == 10**12, collateral == WAD)


@proof(
    "§5",
    "Size read from shares is rounded down by less than a wei.",
    "",
)
def size_of_shares_is_rounded_down(q: Query) -> None:
    shares, scale = domain.shares(q), domain.scale(q)
    down, up = size_of_shares(q, shares, scale), ceil_div(q, shares * scale, WAD)
    size = q.rather("it is rounded down", down, up, "accounts.vy, `_trade`; sides.vy, `_open_interest`")
    q.show("size", size)
    q.prove(z3.And(size * WAD <= shares * scale, shares * scale < size * WAD + WAD))
    q.pin(shares == 1, scale == WAD // 2)
