"""One account: where it is filed, what it is worth there, what a touch costs it (design §4; S1, S3, S4, S6, S8).

`ghost` is what an account would hold had no touch ever rounded, exact quote: it changes by deposits and withdrawals,
and by shares times what the index moves. What the contract counts instead is `bucket_value` of the account's own
shares and debt, which differs by what filing and loading rounded away, and that stays in the market as dust.
"""

from __future__ import annotations

from dataclasses import dataclass

import z3

from prorata.units import INDEX_UNIT, WAD
from tests.proofs import domain
from tests.proofs.domain import wei
from tests.proofs.query import Query, proof
from tests.proofs.transcript import (
    Filing,
    Side,
    bankruptcy_drop,
    bucket_value,
    deposit_ceiling,
    equity,
    locate,
    notional,
    quote_up,
    requirement,
    size_of_shares,
    threshold,
    upper_edge,
    widest,
)

CEILINGS = "filing of a touch that adds collateral has a ceiling: see deposit_never_lifts_an_account"


def filed(q: Query, ceiling: object = None) -> tuple[z3.ArithRef, z3.ArithRef, z3.ArithRef, Filing]:
    """Shares, collateral and index of an account, and its filing by `_locate`."""
    shares, collateral, index = domain.shares(q), domain.collateral(q), domain.index(q)
    filing = locate(q, domain.width(q), shares, collateral, index, ceiling)
    q.show("bucket", filing.bucket)
    q.show("debt", filing.debt)
    return shares, collateral, index, filing


@proof(
    "§4",
    "A bucket covers the bankruptcy index of whoever is filed in it: lower edge <= K - ceil(c / n) < upper edge; no "
    "filing subtracts below zero.",
    CEILINGS,
)
def a_bucket_covers_bankruptcy(q: Query) -> None:
    ceiling = q.integer("ceiling")
    shares, collateral, index, filing = filed(q, ceiling)
    bankrupt = index - bankruptcy_drop(q, shares, collateral)
    q.guard("no ceiling binds", ceiling == 2**255 - 1, "accounts.vy, `_store`: shares have changed")
    q.prove(filing.lower_edge <= bankrupt)
    q.prove(bankrupt < filing.upper_edge)
    q.prove(filing.debt >= 0)
    q.pin(shares == WAD, index == 0, filing.width == 2**116)


@proof(
    "S1",
    "Filing takes less than a wei: c - 1 wei < value in the bucket <= c, so the account shows c or one wei less at "
    "once.",
    "what loading rounded away before (see the touches)",
)
def filing_costs_less_than_a_wei(q: Query) -> None:
    shares, collateral, index, filing = filed(q, q.integer("ceiling"))
    floored = q.quotient(shares * (index - filing.lower_edge), INDEX_UNIT) - collateral
    debt = q.rather("the debt is rounded up", filing.debt, floored, "buckets.vy, `_locate`")
    q.show("debt as stored", debt)
    value = bucket_value(shares, debt, filing.lower_edge, index)
    shown = equity(q, shares, Filing(filing.width, filing.bucket, debt), index)
    q.show("equity shown", shown)
    q.prove(z3.And(wei(collateral) - INDEX_UNIT < value, value <= wei(collateral)))
    q.prove(z3.And(shown <= collateral, shown >= collateral - 1))
    q.pin(shares == WAD, collateral == WAD + 1, index == 5, filing.width == 2**116)


@proof(
    "S1, S3",
    "What an account shows is never more than it is worth: equity <= ghost, at every index, also at the last one of an "
    "epoch.",
    "by how much less (filing_costs_less_than_a_wei, the touches)",
)
def equity_is_never_in_the_accounts_favour(q: Query) -> None:
    shares, index = domain.shares(q), domain.index(q)
    filing = Filing(domain.width(q), q.integer("bucket"), q.integer("debt", 0))
    lost = q.integer("rounded away by touches", 0, source="filing_costs_less_than_a_wei, the touches")
    ghost = bucket_value(shares, filing.debt, filing.lower_edge, index) + lost
    q.show("ghost, exact quote", ghost)
    shown = equity(q, shares, filing, index)
    q.show("equity shown", shown)
    q.guard("a live account is worth at least nothing", ghost >= 0, "proof an_open_account_is_not_under_zero")
    q.prove(wei(shown) <= ghost)
    q.pin(shares == WAD, filing.width == 2**116, filing.bucket == 0)


@proof(
    "S2",
    "An account whose bucket a move left open is worth at least nothing: ghost >= 0 while K >= upper edge; in its "
    "bucket it counts for more than minus one wei.",
    "later touches that add collateral (a_deposit_leaves_nobody_under_zero); that a move leaves only such buckets "
    "open is exactly_the_buckets_above_close",
)
def an_open_account_is_not_under_zero(q: Query) -> None:
    shares, collateral, index, filing = filed(q)
    later = q.integer("index later", source="any")
    q.guard("its bucket is open: upper edge <= T <= K", filing.upper_edge <= later, "settlement.vy, `_plan`")
    ghost = wei(collateral) + shares * (later - index)
    q.show("ghost later, exact quote", ghost)
    q.prove(ghost >= 0)
    q.prove(bucket_value(shares, filing.debt, filing.lower_edge, later) > -INDEX_UNIT)
    q.pin(shares == WAD, collateral == WAD, index == 0, filing.width == 2**116)


@proof(
    "§11",
    "What an account owes at its bucket's lower edge is at most its shares times one width, and a part of a wei: a "
    "bucket's debt is at most its shares times the width and a wei a member.",
    "accounts that a ceiling keeps in a lower bucket, which owe the roundings of their touches more",
)
def a_debt_is_at_most_a_width(q: Query) -> None:
    ceiling = q.integer("ceiling")
    shares, _, _, filing = filed(q, ceiling)
    q.guard("no ceiling binds", ceiling == 2**255 - 1, "accounts.vy, `_store`: shares have changed")
    q.prove(wei(filing.debt) < shares * filing.width + INDEX_UNIT)
    q.pin(shares == WAD, filing.width == 2**116, ceiling < filing.bucket + 1)


# ------------------------------------------------------------------------------------------------------------- touches


@dataclass(frozen=True)
class Touch:
    """An account loaded and stored again at one index, its shares unchanged.

    Attributes:
        old: its filing before; `new` after.
        loaded: the equity it is loaded with, quote.
        added: what is deposited, quote.
        ceiling: not above this bucket.
        loss: of value in the bucket, exact quote, at every later index the same.
    """

    shares: z3.ArithRef
    index: z3.ArithRef
    old: Filing
    new: Filing
    loaded: z3.ArithRef
    added: z3.ArithRef
    ceiling: z3.ArithRef
    loss: z3.ArithRef


def touched(q: Query) -> Touch:
    """A touch that may add collateral, into a bucket of any width, under any ceiling."""
    shares, index = domain.shares(q), domain.index(q)
    old = Filing(domain.width(q, "old width"), q.integer("old bucket"), q.integer("old debt", 0))
    loaded = equity(q, shares, old, index)
    added = q.integer("added", 0)
    ceiling = q.integer("ceiling")
    found = locate(q, domain.width(q, "new width"), shares, loaded + added, index, ceiling)
    new = Filing(found.width, found.bucket, q.integer("new debt"))
    q.assume("the new debt is the one of `_locate`", new.debt == found.debt, "buckets.vy, `_locate`")
    q.show("new bucket", new.bucket)
    before = bucket_value(shares, old.debt, old.lower_edge, index)
    after = bucket_value(shares, new.debt, new.lower_edge, index)
    loss = before + wei(added) - after
    q.show("equity loaded", loaded)
    q.show("loss, exact quote", loss)
    return Touch(shares, index, old, new, loaded, added, ceiling, loss)


@proof(
    "S4",
    "A touch within a bucket costs at most a wei, and a deposit of a wei pays for it: at every later index the "
    "account is worth what it would be untouched, plus the deposit, less at most 1 wei.",
    "a touch that moves it to another bucket (a_touch_costs_less_than_two_wei)",
)
def a_touch_within_a_bucket_costs_at_most_a_wei(q: Query) -> None:
    shares, index, width = domain.shares(q), domain.index(q), domain.width(q)
    old = Filing(width, q.integer("old bucket"), q.integer("old debt", 0))
    added, ceiling = q.integer("added", 0), q.integer("ceiling")
    loaded = equity(q, shares, old, index)
    found = locate(q, width, shares, loaded + added, index, ceiling)
    bucket = q.integer("new bucket")
    q.assume("found by `_locate`", bucket == found.bucket, "buckets.vy, `_locate`")
    debt = quote_up(q, shares * (index - bucket * width)) - (loaded + added)
    before = bucket_value(shares, old.debt, old.lower_edge, index)
    loss = before + wei(added) - bucket_value(shares, debt, bucket * width, index)
    q.show("equity loaded", loaded)
    q.show("loss, exact quote", loss)
    q.guard("the bucket stays", bucket == old.bucket, "accounts.vy, a touch at one level")
    q.prove(loss <= INDEX_UNIT)
    q.pin(added == 0, loaded > WAD, shares == WAD, index == 10**38, width == 2**116, ceiling == 2**255 - 1)


@proof(
    "S4",
    "A touch never costs two wei: less than one by loading, less than one by filing, and they add up where the bucket "
    "changes.",
    "how often one is touched (a touch that changes nothing writes nothing)",
)
def a_touch_costs_less_than_two_wei(q: Query) -> None:
    touch = touched(q)
    filing_money = q.integer("equity as filed", 0)
    q.guard(
        "it is filed with what was loaded, and what was added",
        filing_money == touch.loaded + touch.added,
        "accounts.vy",
    )
    filing = locate(q, touch.new.width, touch.shares, filing_money, touch.index, touch.ceiling)
    after = bucket_value(touch.shares, filing.debt, filing.lower_edge, touch.index)
    before = bucket_value(touch.shares, touch.old.debt, touch.old.lower_edge, touch.index)
    q.prove(before + wei(touch.added) - after < 2 * INDEX_UNIT)
    q.pin(touch.added == 0, touch.loaded > WAD, filing_money == touch.loaded - 2, touch.shares == WAD)


@proof(
    "S3, S4",
    "A touch gives nothing: the value in the bucket after it is at most the value before it and the deposit.",
    "an account whose value is a fraction of a wei under zero by its own debt's rounding: the twin shows it loaded "
    "as zero, less than a wei better, which the rounding of its filing has paid for "
    "(equity_is_never_in_the_accounts_favour)",
)
def a_touch_gives_nothing(q: Query) -> None:
    touch = touched(q)
    before = bucket_value(touch.shares, touch.old.debt, touch.old.lower_edge, touch.index)
    q.guard("it is worth at least nothing in its bucket", before >= 0, "proof an_open_account_is_not_under_zero")
    q.prove(touch.loss >= 0)
    q.pin(touch.added == 0, touch.shares == WAD, before > -INDEX_UNIT, touch.old.width == 2**116)
    q.pin(touch.new.width == 2**116)


@proof(
    "S4",
    "More collateral never lifts an account: the upper edge after a deposit is at most the one before, so a deposit by "
    "a stranger closes nobody earlier.",
    "fills and withdrawals, which have no ceiling",
)
def deposit_never_lifts_an_account(q: Query) -> None:
    shares, index = domain.shares(q), domain.index(q)
    old = Filing(domain.width(q, "old width"), q.integer("old bucket"), q.integer("old debt", 0))
    width, ceiling = domain.width(q, "new width"), q.integer("ceiling")
    loaded = equity(q, shares, old, index)
    new = locate(q, width, shares, loaded + q.integer("added", 1), index, ceiling)
    q.show("old upper edge", old.upper_edge)
    q.show("new upper edge", new.upper_edge)
    q.guard("the ceiling is `_store`'s", ceiling == deposit_ceiling(q, old, width), "accounts.vy, `_store`")
    q.prove(new.upper_edge <= old.upper_edge)
    q.pin(shares == WAD, width == old.width, ceiling > new.bucket)


@proof(
    "S2",
    "A deposit keeps the promise of an open account: ghost >= 0 at the old upper edge implies ghost >= 0 at the new "
    "one.",
    "that levels only stay or narrow on a deposit (buckets.vy, `_narrower_level`; accounts.vy)",
)
def a_deposit_leaves_nobody_under_zero(q: Query) -> None:
    shares, index = domain.shares(q), domain.index(q)
    width, times = domain.width(q, "new width"), q.integer("new widths in an old one", 1)
    old = Filing(domain.width(q, "old width"), q.integer("old bucket"), q.integer("old debt", 0))
    loaded, added = domain.collateral(q, "equity loaded"), q.integer("added", 1)
    new = locate(q, width, shares, loaded + added, index, deposit_ceiling(q, old, width))
    q.show("old upper edge", old.upper_edge)
    q.show("new upper edge", new.upper_edge)
    ghost = q.integer("ghost, exact quote")
    q.assume("it is loaded with at most its worth", wei(loaded) <= ghost, "equity_is_never_in_the_accounts_favour")
    q.assume(
        "at its upper edge it was worth at least nothing",
        ghost - shares * (index - old.upper_edge) >= 0,
        "an_open_account_is_not_under_zero",
    )
    q.guard("the new level is the old one or narrower", old.width == times * new.width, "buckets.vy, `_narrower_level`")
    q.prove(ghost + wei(added) - shares * (index - new.upper_edge) >= 0)
    q.pin(shares == WAD, new.width == 2**116, index == 0)


# ----------------------------------------------------------------------------------------------------- edges and levels


@proof(
    "§4",
    "Buckets of narrower levels lie inside wider ones: at one bankruptcy index the narrower bucket's upper edge is "
    "no higher.",
    "",
)
def narrower_buckets_lie_inside_wider_ones(q: Query) -> None:
    bankrupt, times = q.integer("bankruptcy index"), q.integer("narrow widths in a wide one", 1)
    narrow, wide = domain.width(q, "narrow width"), domain.width(q, "wide width")
    inner = upper_edge(narrow, q.shifted(bankrupt, narrow))
    outer = upper_edge(wide, q.shifted(bankrupt, wide))
    q.show("narrow upper edge", inner)
    q.show("wide upper edge", outer)
    q.guard("widths are powers of two", wide == times * narrow, "buckets.vy, `_level`")
    q.prove(inner <= outer)
    q.pin(narrow == 4, wide == 6)


@proof(
    "§3",
    "`_close_level` closes what `_scan` sums: bucket b of a level reaches above T exactly if b >= floor(T / 2**level).",
    "the walk over bitmap words (words.py: masks, the next bucket, the cursors)",
)
def exactly_the_buckets_above_close(q: Query) -> None:
    bucket, edge, width = q.integer("bucket"), q.integer("T"), domain.width(q)
    floored, truncated = q.shifted(edge, width), q.truncated(edge, width)
    lowest = q.rather("T >> level is floored", floored, truncated, "buckets.vy, `_close_level`")
    q.show("lowest bucket closed", lowest)
    q.prove((upper_edge(width, bucket) > edge) == (bucket >= lowest))
    q.pin(width == 2**116)


@proof(
    "S8",
    "Whoever holds maintenance margin in a bucket at most one doubling wider than the width stands under T: the next "
    "move of nothing closes nobody who is not below maintenance. Initial margin is more.",
    "accounts between close-out and maintenance margin",
)
def maintenance_stands_under_the_threshold(q: Query) -> None:
    shares, scale, mark = domain.shares(q), domain.scale(q), domain.price(q)
    collateral, index, width = domain.collateral(q), domain.index(q), domain.width(q)
    closeout, bucket_width, margin = (domain.ratio(q, name) for name in ("close-out", "bucket width", "maintenance"))
    q.assume("maintenance >= close-out + 2 widths", margin >= closeout + 2 * bucket_width, "parameters.vy")
    q.assume("its level", width <= 2 * widest(q, bucket_width, scale, mark), "buckets.vy, `_level`")
    required = requirement(q, notional(q, shares, scale, mark), margin)
    filing = locate(q, width, shares, collateral, index, None)
    q.show("required", required)
    q.show("upper edge", filing.upper_edge)
    edge = threshold(q, Side(shares, scale, index), 0, closeout, mark)
    q.show("T", edge)
    q.guard("it holds maintenance margin", collateral >= required, "TradingLogic.vy, `_complete`; withdrawals")
    q.prove(filing.upper_edge <= edge)
    q.pin(
        scale == WAD, mark == 100 * WAD, shares == WAD, index == 0, closeout == WAD // 100, bucket_width == WAD // 1000
    )


@proof(
    "§11",
    "Levels lie in 63..133, which are 71: a scan has a cursor for each of MAX_LEVELS = 72.",
    "",
)
def levels_fit_the_cursors(q: Query) -> None:
    width = q.integer("bucket width", WAD // 10**4, WAD // 100, "parameters.vy")
    scale, mark = q.integer("scale", 0, WAD, "sides.vy, it only falls"), domain.price(q)
    found = widest(q, width, scale, mark)
    q.show("widest", found)
    q.guard("the scale is at least MIN_SCALE", scale >= domain.MIN_SCALE, "settlement.vy, `_is_over`")
    q.prove(z3.And(found >= 2**63, found < 2**134))
    q.pin(width == WAD // 1000)


@proof(
    "§11",
    "A side whose open interest is below 2**96 has fewer than 2**110 shares.",
    "",
)
def open_interest_bounds_shares(q: Query) -> None:
    shares, scale = q.integer("shares", 0), domain.scale(q)
    interest = size_of_shares(q, shares, scale)
    q.guard("open interest < 2**96", interest < 2**96, "TradingLogic.vy, `_match`")
    q.prove(shares < domain.MAX_SHARES)
    q.pin(scale == domain.MIN_SCALE)


# ---------------------------------------------------------------------------------------------------------------- sums


@proof(
    "S1",
    "A bucket's two sums say exactly what its accounts are worth: adding an account adds its value at every index. By "
    "induction over filings and removals E_b = sum of e_i, and a scan's value is the sum over its buckets.",
    "that every touch goes through `_add`, `_remove` or `_refile` (tests/invariant/test_stateful.py)",
)
def bucket_sums_are_exact(q: Query) -> None:
    shares, debt = q.integer("bucket shares", 0), q.integer("bucket debt", 0)
    edge, index = q.integer("lower edge"), domain.index(q)
    more, owed = domain.shares(q, "account shares"), q.integer("account debt", 0)
    debt_after = q.rather("the account's debt is added too", debt + owed, debt, "buckets.vy, `_add`")
    one = bucket_value(more, owed, edge, index)
    q.prove(bucket_value(shares + more, debt_after, edge, index) == bucket_value(shares, debt, edge, index) + one)
    q.prove(bucket_value(shares, debt_after - owed, edge, index) == bucket_value(shares, debt, edge, index))
    q.pin(shares == WAD, more == WAD, edge == 0, index == 0, owed == WAD)


@proof(
    "S2",
    "Induction over accounts: accounts that are each worth at least nothing are so together, and what each has lost to "
    "roundings adds up, so the sums of a closing are those of its accounts.",
    "",
)
def sums_of_accounts_are_not_under_zero(q: Query) -> None:
    ghosts, values, rounded = (q.integer(f"sum of {name}") for name in ("ghosts", "values", "roundings"))
    ghost, value, lost = (q.integer(name) for name in ("ghost", "value", "rounding"))
    q.assume("so far", z3.And(ghosts >= 0, rounded >= 0, values == ghosts - rounded), "the induction")
    q.assume("this account", z3.And(lost >= 0, value == ghost - lost), "filing_costs_less_than_a_wei, the touches")
    q.guard("it is worth at least nothing", ghost >= 0, "an_open_account_is_not_under_zero")
    after = (ghosts + ghost, values + value, rounded + lost)
    q.prove(z3.And(after[0] >= 0, after[2] >= 0, after[1] == after[0] - after[2]))


@proof(
    "S6",
    "An account split in two in its bucket is worth what it was, or one wei less.",
    "an edge between the parts' bankruptcy indices: their collaterals are whole wei, so a part may stand one bucket "
    "away",
)
def a_split_costs_at_most_a_wei(q: Query) -> None:
    index, width, bucket = domain.index(q), domain.width(q), q.integer("bucket")
    edge = bucket * width
    above = q.integer("above the edge", 0)
    q.assume("index - lower edge", above == index - edge, "buckets.vy, `_locate`")
    one, other = domain.shares(q, "one part"), domain.shares(q, "other part")
    mine, yours = domain.collateral(q, "one collateral"), domain.collateral(q, "other collateral")
    whole = q.integer("collateral of the whole", 0)
    q.guard("collateral is split, too", whole == mine + yours, "accounts.vy")
    debts = [quote_up(q, part * above) - money for part, money in ((one, mine), (other, yours), (one + other, whole))]
    before = bucket_value(one + other, debts[2], edge, index)
    after = bucket_value(one, debts[0], edge, index) + bucket_value(other, debts[1], edge, index)
    q.show("loss, exact quote", before - after)
    q.prove(z3.Or(before - after == 0, before - after == INDEX_UNIT))
    q.pin(one == WAD, other == WAD)
