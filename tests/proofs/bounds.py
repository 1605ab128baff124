"""The overflow argument: every product of the contracts fits its word, for everything the bounds allow (design §11).

A product that is checked by the compiler would revert beyond its word, which stops a settlement; one that is not
checked would wrap. Both are shown not to happen: unsigned numbers stay below 2**256, signed ones between -2**255 and
2**255 - 1.
"""

from __future__ import annotations

import z3

from prorata.units import INDEX_UNIT, MAX_PRICE, WAD
from tests.proofs import domain
from tests.proofs.query import Query, Term, proof, shorten
from tests.proofs.transcript import quotes, requirement

MAX_SIZE = 2**96
#: Buckets a settlement may close at most, and as many more as may share the last edge: one a level.
MAX_CLOSED = 128 + 72
#: No equity is more than all tokens of the market and its vault.
MAX_EXACT = domain.MAX_COLLATERAL * INDEX_UNIT
TOKENS = "tokens.vy, MAX_BALANCE, and S1: no account is worth more than all there is"


def unsigned(q: Query, **terms: Term) -> None:
    """They fit uint256."""
    for name, term in terms.items():
        q.show(name, term)
        q.prove(z3.And(term >= 0, term < 2**256))


def signed(q: Query, **terms: Term) -> None:
    """They fit int256."""
    for name, term in terms.items():
        q.show(name, term)
        q.prove(z3.And(term >= -(2**255), term < 2**255))


def below_limit(q: Query, name: str, most: int, source: str) -> z3.ArithRef:
    """A number whose bound is the guard of the proof."""
    number = q.integer(name, 0)
    q.guard(f"{name} <= {shorten(most)}", number <= most, source)
    return number


@proof("§11", "Products of a move fit: thresholds, reach, gross, values of closed buckets, bonus, cover, scales.", "")
@quotes(
    "modules/settlement.vy",
    "convert(closeout_margin * loser.scale * mark // fixed_point.WAD, int256)",
    "room: int256 = (loser.index - edge) * wad - co * scale * convert(mark, int256)",
    "scale * (wad + direction * co)",
    "index_drop=convert(state.sides[loser].scale * distance, int256),",
    "plan.gross = L.shares * convert(plan.index_drop, uint256)",
    "closed.value - convert(closed.shares, int256) * plan.index_drop",
    "ended: uint256 = L.shares if plan.winner_scale < MIN_SCALE else closed.shares",
    "missed: uint256 = ended * L.scale * convert(max(gap, 0), uint256)",
    "min(plan.covered * fixed_point.INDEX_UNIT, plan.deficit)",
    "W.scale * (L.shares - closed.shares)",
)
def products_of_a_move_fit(q: Query) -> None:
    price = below_limit(q, "price", MAX_PRICE, "oracle.vy, MAX_PRICE; the mark only moves towards such prices")
    shares, scale, index = domain.shares(q), domain.scale(q), domain.index(q)
    closed = q.integer("closed shares", 0, shares, "bucket_sums_are_exact")
    closeout, edge = (
        domain.ratio(q, "close-out"),
        q.integer("edge", -(2**158), 2**158, "sides.vy, NO_TOP; |K| <= 2**156"),
    )
    drop = q.integer("index drop", 0, WAD * price, "settlement.vy, `_towards`; funding is less")
    value = q.integer("value of the closed", -MAX_EXACT, MAX_EXACT, TOKENS)
    covered = domain.collateral(q, "covered")
    unsigned(
        q,
        margin=closeout * scale * price,
        gross=shares * drop,
        missed=shares * scale * price,
        cover=covered * INDEX_UNIT,
        # A bonus is at most the surplus, which is no more than value.
        gain=shares * drop + value + MAX_EXACT,
        deleverage=scale * shares,
    )
    signed(
        q,
        distance=scale * price,
        room=(index - edge) * WAD - closeout * scale * price,
        room_up=(index - edge) * WAD,
        slope=scale * (WAD + closeout),
        gross_signed=shares * drop,
        left=value - closed * drop,
    )
    q.pin(shares == domain.MAX_SHARES, scale == WAD, index == 0)


@proof(
    "§11",
    "Products of filing and scanning fit, though they are not checked: shares x distance to an edge is what the "
    "accounts are worth and owe there.",
    "that debts of a bucket stay below 2**112 (packing refuses a fill that would break it)",
)
@quotes(
    "modules/buckets.vy",
    "collateral * fixed_point.INDEX_UNIT",
    "fixed_point._quote_up(shares * above_edge)",
    "convert(shares, int256) * above_edge",
    "unsafe_mul(convert(summed.shares, int256), unsafe_sub(index, live << level))",
    "debt = unsafe_add(debt, summed.debt)",
    "convert(debt * fixed_point.INDEX_UNIT, int256)",
    "cursors[levels] = self._upper_edge(level, self._top(book, level)) << 8 | convert(level, int256)",
)
def products_of_buckets_fit(q: Query) -> None:
    debt = below_limit(q, "debt", 2**112 - 1, "bucket_word_refuses_misfits")
    collateral, shares = domain.collateral(q), domain.shares(q)
    edge = q.integer("edge", -domain.LOWEST_EDGE, 2**158, "buckets.vy, `_locate`: K - c / n, and a width")
    worth = q.integer("what its accounts are worth", -MAX_EXACT, MAX_EXACT, TOKENS)
    above = q.integer("shares x distance to the edge")
    q.assume("E = N (K - edge) - D", worth == above - debt * INDEX_UNIT, "bucket_sums_are_exact")
    filed_above = q.integer("filed above its edge", 0)
    q.assume(
        "at most the drop to bankruptcy, and a width",
        shares * filed_above <= collateral * INDEX_UNIT + shares + shares * domain.MAX_LEVEL_WIDTH,
        "a_bucket_covers_bankruptcy",
    )
    unsigned(
        q, exact_collateral=collateral * INDEX_UNIT, filed=shares * filed_above, debts=MAX_CLOSED * debt * INDEX_UNIT
    )
    signed(
        q, above=above, summed=MAX_CLOSED * above, debts_signed=MAX_CLOSED * debt * INDEX_UNIT, cursor=edge * 256 + 255
    )
    q.pin(shares == WAD, collateral == WAD, worth == 0)


@proof("§11", "Products of fills, margins and liquidations fit.", "")
@quotes(
    "modules/margin.vy",
    "shares * scale * mark",
    "notional * ratio",
    "collateral * shares_before >= collateral_before * shares",
    "lacking * fixed_point.WAD * fixed_point.WAD, (initial_margin - liquidation_fee) * mark",
    "min_notional * fixed_point.WAD",
    "exposure * slope",
)
@quotes("modules/accounts.vy", "size * fixed_point.WAD", "account.shares * scales[account.side]", "DUST_PART * mark")
@quotes(
    "TradingLogic.vy",
    "(convert(mark, int256) - convert(order.limit_price, int256)) * convert(size, int256)",
    "size * mark",
    "insured * PARAMETERS.oi_multiple",
    "old.collateral * (old.shares - account.new.shares)",
    "fee * PARAMETERS.liquidator_share",
)
def products_of_trades_fit(q: Query) -> None:
    size = below_limit(q, "size", MAX_SIZE - 1, "TradingLogic.vy, MAX_OPEN_INTEREST")
    mark, price = domain.price(q), domain.price(q, "limit price")
    shares, scale, collateral = domain.shares(q), domain.scale(q), domain.collateral(q)
    ratio, slope = domain.ratio(q, "ratio"), domain.ratio(q, "margin_slope")
    minimum = q.integer("min_notional", 10**15, MAX_SIZE - 1, "parameters.vy")
    notional = q.integer("notional", 0, size * mark + 1, "margin.vy, rounded up; shares x scale is a size of 36 digits")
    multiple, insured = q.integer("oi_multiple", 0, 2**96, "parameters.vy"), q.integer("insured", 0, 2**122, TOKENS)
    unsigned(
        q,
        position=shares * scale * mark,
        at_mark=size * mark,
        requirement=notional * ratio,
        health=collateral * shares,
        lacking=2**118 * WAD * WAD,
        freed=ratio * mark,
        minimum=minimum * WAD,
        shares_of_size=size * WAD,
        size_of_shares=shares * scale,
        dust=10**6 * mark,
        exposure=2**117 * slope,
        cap=insured * multiple,
        reward=collateral * ratio,
    )
    signed(q, against_mark=(mark - price) * size, fee=-collateral * WAD)
    q.pin(shares == WAD, scale == WAD, collateral == WAD, notional == 0)


@proof(
    "§11",
    "Notional of a side is below 2**117 quote, and so is what it requires: what trades and funding multiply further.",
    "",
)
def notional_is_bounded(q: Query) -> None:
    size, mark = below_limit(q, "size", MAX_SIZE, "TradingLogic.vy, MAX_OPEN_INTEREST"), domain.price(q)
    ratio = domain.ratio(q, "ratio")
    value = q.quotient(size * mark, WAD)
    required = requirement(q, value, ratio)
    q.show("value", value)
    q.prove(z3.And(value >= 0, value < 2**117, required <= value))
    q.pin(mark == MAX_PRICE)


@proof("§11", "Products of funding fit, and so does the premium.", "")
@quotes(
    "modules/funding.vy",
    "over_mark * convert(size, int256)",
    "sides._open_interest(payer) * state.core.mark",
    "value * max_funding",
    "core.premium * convert(left, int256)",
    "(state.core.premium - core.premium) * unit",
    "max_funding * payer.scale * core.mark",
    "retention * fixed_point.WAD",
)
@quotes("modules/fixed_point.vy", "power * square", "square * square")
def products_of_funding_fit(q: Query) -> None:
    premium = below_limit(q, "premium", 2**119, "packing.vy; bounded by the value of open interest, 2**117")
    size, mark, scale = q.integer("size", 0, MAX_SIZE, "TradingLogic.vy"), domain.price(q), domain.scale(q)
    value, most = q.integer("value", 0, 2**117, "notional_is_bounded"), domain.ratio(q, "max_funding")
    left = q.integer("part left", 0, INDEX_UNIT, "powers_of_less_than_one_never_grow")
    retention = domain.ratio(q, "premium_retention")
    unsigned(
        q,
        value=size * mark,
        bound=value * most,
        clamp=most * scale * mark,
        retention=retention * WAD,
        power=left * left,
    )
    signed(q, over_mark=size * mark, decayed=-premium * left, due=-2 * premium * INDEX_UNIT)
    q.prove(most * scale * mark < 2**255)
    q.pin(size == WAD, mark == WAD)


@proof("§11", "Products of the vault and its reserve fit; those of shares and assets have 512 bits.", "")
@quotes("modules/reserve.vy", "assets * draw_cap")
@quotes("InsuranceVault.vy", "reserve._held() * TOKEN_SCALE + owed", "transfer * TOKEN_SCALE")
def products_of_the_vault_fit(q: Query) -> None:
    held = below_limit(q, "held, quote", 2**120, "tokens.vy, MAX_BALANCE: as many token units x TOKEN_SCALE")
    owed, cap = domain.collateral(q, "owed"), domain.ratio(q, "draw_cap")
    unsigned(q, assets=held + owed, capped=(held + owed) * cap, sent=held)
    q.pin(cap == WAD, owed == 0)


@proof("§11", "The product of which a level is the logarithm fits.", "")
@quotes("modules/buckets.vy", "width * (scale * mark)")
def product_of_a_level_fits(q: Query) -> None:
    mark = below_limit(q, "mark", MAX_PRICE, "oracle.vy")
    unsigned(q, width=q.integer("bucket width", 0, WAD // 100, "parameters.vy") * (domain.scale(q) * mark))
