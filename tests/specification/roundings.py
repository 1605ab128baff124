"""Where the contracts round: every division, every function that rounds by its name, and every shift to the right.

Found by a walk over the sources (`sites`), so a division that is not in the table fails `test_specification.py`, and so
does a line of the table that is no longer in the sources.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from tests.specification.markdown import table
from tests.specification.sources import Site, expressions, files, name_of

#: Functions that round by their name, or by their last argument.
ROUNDING = {
    "_floor_div",
    "_ceil_div",
    "_quote_down",
    "_quote_up",
    "_power",
    "_log2",
    "_mul_div",
    "_shares_for",
    "_assets_for",
}


class Rounding(NamedTuple):
    """One line.

    Attributes:
        expression: as Python's parser spells it, which is how the source does but for spaces and brackets.
        direction: down is towards minus infinity, zero towards zero.
    """

    file: str
    function: str
    expression: str
    direction: str
    favours: str
    costs: str


class Shift(NamedTuple):
    """The shifts to the right of a function that all mean the same."""

    file: str
    function: str
    many: int
    meaning: str


_WAD = "fixed_point.WAD"
_DOWN, _UP, _ZERO, _EXACT = "down", "up", "zero", "exact"
_WEI = "< 1 wei"

ROUNDINGS = (
    # Arithmetic.
    Rounding(
        "modules/fixed_point.vy", "_floor_div", "x // y", _DOWN, "its caller's", "zero in Vyper, one less if x < 0"
    ),
    Rounding("modules/fixed_point.vy", "_ceil_div", "unsafe_sub(x, 1) // y", _UP, "its caller's", "< 1"),
    Rounding(
        "modules/fixed_point.vy",
        "_quote_down",
        "self._floor_div(exact, convert(INDEX_UNIT, int256))",
        _DOWN,
        "its caller's",
        _WEI,
    ),
    Rounding("modules/fixed_point.vy", "_quote_up", "self._ceil_div(exact, INDEX_UNIT)", _UP, "its caller's", _WEI),
    Rounding(
        "modules/fixed_point.vy",
        "_power",
        "power * square // INDEX_UNIT",
        _DOWN,
        "who receives: it decays sooner",
        "premium · 2n·1e-36, paid early",
    ),
    Rounding("modules/fixed_point.vy", "_power", "square * square // INDEX_UNIT", _DOWN, "as above", "as above"),
    # Settlement.
    Rounding(
        "modules/settlement.vy",
        "_threshold",
        f"closeout_margin * loser.scale * mark // {_WAD}",
        _DOWN,
        "the market: T up, rather one bucket more",
        "1e-36 of index",
    ),
    Rounding(
        "modules/settlement.vy",
        "_reach",
        "fixed_point._floor_div(room, scale * (wad + direction * co))",
        _DOWN,
        "who is left open: a stop never passes an edge",
        "1e-18 of price, made up by the next call",
    ),
    Rounding(
        "modules/settlement.vy",
        "_plan",
        "W.scale * (L.shares - closed.shares) // L.shares",
        _DOWN,
        "the market: no more size than the losers have",
        "a wei of size per 1e18 shares, < 1e-14 of a position",
    ),
    Rounding(
        "modules/settlement.vy",
        "_plan",
        "fixed_point._quote_up(plan.deficit)",
        _UP,
        "the market: insurance is asked for it",
        _WEI,
    ),
    Rounding(
        "modules/settlement.vy",
        "_plan",
        "gain // W.shares",
        _DOWN,
        "the market, against winners",
        "N_W·1e-54 of quote: < 0.01 wei, of all of them",
    ),
    Rounding(
        "modules/settlement.vy",
        "_after",
        "to_insurance // fixed_point.INDEX_UNIT",
        _DOWN,
        "the market, against insurance",
        _WEI,
    ),
    Rounding(
        "modules/settlement.vy",
        "_receipt",
        "fixed_point._quote_up(plan.gross)",
        _UP,
        "nobody: stated",
        "a trip (basis point) is judged by it",
    ),
    Rounding(
        "modules/settlement.vy", "_receipt", "fixed_point._quote_up(plan.deficit)", _UP, "nobody: stated", "likewise"
    ),
    Rounding(
        "modules/settlement.vy", "_receipt", "plan.surplus // fixed_point.INDEX_UNIT", _DOWN, "nobody: stated", _WEI
    ),
    Rounding(
        "modules/settlement.vy", "_receipt", "plan.bonus // fixed_point.INDEX_UNIT", _DOWN, "nobody: stated", _WEI
    ),
    Rounding(
        "modules/settlement.vy",
        "_receipt",
        "fixed_point._quote_up(plan.adl_shortfall)",
        _UP,
        "nobody: stated",
        _WEI,
    ),
    Rounding(
        "modules/settlement.vy",
        "_receipt",
        f"plan.closed_shares * left.scale // {_WAD}",
        _DOWN,
        "nobody: stated",
        "< 1 wei of size",
    ),
    Rounding("modules/settlement.vy", "_move", "fixed_point._quote_up(plan.gross)", _UP, "nobody: stated", _WEI),
    Rounding(
        "modules/settlement.vy",
        "_account_for",
        "receipt.gross // modes.TRIP",
        _DOWN,
        "winners: trips a wei earlier",
        _WEI,
    ),
    Rounding(
        "modules/sides.vy",
        "_open_interest",
        f"side.shares * side.scale // {_WAD}",
        _DOWN,
        "nobody: caps and premium bound",
        "< 1 wei of size",
    ),
    Rounding(
        "modules/breaker.vy",
        "_target",
        f"mark * max_price_step // {_WAD}",
        _DOWN,
        "losers: a smaller step",
        "1e-18 of price",
    ),
    # Filing.
    Rounding(
        "modules/buckets.vy",
        "_level",
        f"width * (scale * mark) // {_WAD}",
        _DOWN,
        "accounts: narrower buckets",
        "nothing by itself",
    ),
    Rounding(
        "modules/buckets.vy",
        "_level",
        f"fixed_point._log2(width * (scale * mark) // {_WAD})",
        _DOWN,
        "accounts: a bucket is half a width to a width",
        "nothing by itself",
    ),
    Rounding(
        "modules/buckets.vy",
        "_locate",
        "fixed_point._ceil_div(collateral * fixed_point.INDEX_UNIT, shares)",
        _UP,
        "accounts: kappa down, a lower bucket",
        "1e-36 of index",
    ),
    Rounding(
        "modules/buckets.vy",
        "_locate",
        "index - convert(drop, int256) >> level",
        _DOWN,
        "nobody: the bucket that holds kappa",
        "closed up to one width before bankruptcy",
    ),
    Rounding(
        "modules/buckets.vy",
        "_locate",
        "fixed_point._quote_up(shares * above_edge)",
        _UP,
        "the market, against the account: its debt",
        "< 1 wei a filing",
    ),
    Rounding(
        "modules/buckets.vy",
        "_equity",
        "fixed_point._quote_down(convert(shares, int256) * above_edge)",
        _DOWN,
        "the market, against the account",
        "< 1 wei a touch",
    ),
    Rounding(
        "modules/accounts.vy",
        "_store",
        "buckets._upper_edge(old.filing.level, old.filing.bucket) >> level",
        _EXACT,
        "",
        "an edge is a multiple of every narrower width",
    ),
    # Trades.
    Rounding(
        "modules/accounts.vy",
        "_trade",
        f"size * {_WAD} // scales[side]",
        _DOWN,
        "the market: fewer shares",
        "< 1 wei of size",
    ),
    Rounding(
        "modules/accounts.vy",
        "_trade",
        f"account.shares * scales[account.side] // {_WAD}",
        _DOWN,
        "nobody: the size that is compared",
        "< 1 wei of size",
    ),
    Rounding(
        "modules/accounts.vy",
        "_trade",
        f"min_notional * {_WAD} // (DUST_PART * mark)",
        _DOWN,
        "nobody: less dust counts as equal",
        "< 1 wei of size",
    ),
    Rounding(
        "modules/accounts.vy",
        "_trade",
        f"size * {_WAD} // scales[account.side]",
        _DOWN,
        "nobody: reduced by less",
        "< 1 wei of size",
    ),
    Rounding(
        "modules/accounts.vy",
        "_trade",
        f"(size - held) * {_WAD} // scales[side]",
        _DOWN,
        "the market: fewer shares",
        "< 1 wei of size",
    ),
    Rounding(
        "TradingLogic.vy",
        "_match",
        f"mark * PARAMETERS.price_band // {_WAD}",
        _DOWN,
        "the market: a narrower band",
        "1e-18 of price",
    ),
    Rounding(
        "TradingLogic.vy",
        "_match",
        f"fixed_point._ceil_div(size * mark, {_WAD})",
        _UP,
        "insurance, against both parties: the fee's notional",
        "< 2 wei with the next",
    ),
    Rounding(
        "TradingLogic.vy",
        "_complete",
        f"fixed_point._floor_div(receives, convert({_WAD}, int256))",
        _DOWN,
        "the market, against both parties: price against mark",
        "< 1 wei each",
    ),
    Rounding(
        "TradingLogic.vy",
        "_dynamic_margin",
        f"interest * core.mark // {_WAD}",
        _DOWN,
        "who adds risk: exposure",
        _WEI,
    ),
    Rounding(
        "TradingLogic.vy",
        "_dynamic_margin",
        f"insured * PARAMETERS.oi_multiple // {_WAD}",
        _DOWN,
        "the market: a lower cap",
        _WEI,
    ),
    Rounding(
        "modules/margin.vy",
        "_notional",
        "fixed_point._ceil_div(shares * scale * mark, fixed_point.INDEX_UNIT)",
        _UP,
        "the market, against the account",
        _WEI,
    ),
    Rounding(
        "modules/margin.vy",
        "_requirement",
        f"fixed_point._ceil_div(notional * ratio, {_WAD})",
        _UP,
        "the market: more margin; insurance: more fee",
        _WEI,
    ),
    Rounding(
        "modules/margin.vy",
        "_initial",
        "exposure * slope // (insured + 1)",
        _DOWN,
        "who adds risk",
        "1e-18 of ratio",
    ),
    Rounding(
        "modules/margin.vy",
        "_is_below",
        f"fixed_point._floor_div(moved if is_long else -moved, convert({_WAD}, int256))",
        _DOWN,
        "the liquidator: a wei earlier",
        _WEI,
    ),
    Rounding(
        "modules/margin.vy",
        "_is_below",
        f"fixed_point._ceil_div(size * price, {_WAD})",
        _UP,
        "the liquidator: a wei earlier",
        _WEI,
    ),
    # Liquidation.
    Rounding(
        "modules/margin.vy", "_liquidable", f"fixed_point._ceil_div(size * mark, {_WAD})", _UP, "the liquidator", _WEI
    ),
    Rounding(
        "modules/margin.vy",
        "_liquidable",
        f"fixed_point._ceil_div(lacking * {_WAD} * {_WAD}, (initial_margin - liquidation_fee) * mark)",
        _UP,
        "the liquidator: so that initial margin is met",
        "1e-18 of size",
    ),
    Rounding(
        "modules/margin.vy",
        "_liquidable",
        f"fixed_point._ceil_div(min_notional * {_WAD}, mark)",
        _UP,
        "the liquidator: no less than the minimum",
        "1e-18 of size",
    ),
    Rounding(
        "TradingLogic.vy",
        "liquidate",
        f"old.shares * state.sides[old.side].scale // {_WAD}",
        _DOWN,
        "nobody: the size held",
        "< 1 wei of size",
    ),
    Rounding(
        "TradingLogic.vy",
        "liquidate",
        f"fixed_point._ceil_div(taken * mark, {_WAD})",
        _UP,
        "liquidator and insurance: the fee's notional",
        "< 2 wei with the requirement",
    ),
    Rounding(
        "TradingLogic.vy",
        "liquidate",
        "old.collateral * (old.shares - account.new.shares) // old.shares",
        _DOWN,
        "the account: the fee's limit, so health never falls",
        _WEI,
    ),
    Rounding(
        "TradingLogic.vy",
        "liquidate",
        f"fee * PARAMETERS.liquidator_share // {_WAD}",
        _DOWN,
        "insurance, against the liquidator",
        _WEI,
    ),
    # Funding.
    Rounding(
        "modules/funding.vy",
        "_premium",
        f"over_mark * convert(size, int256) // convert({_WAD}, int256)",
        _ZERO,
        "who would pay funding",
        _WEI,
    ),
    Rounding(
        "modules/funding.vy",
        "_bounded",
        f"sides._open_interest(payer) * state.core.mark // {_WAD}",
        _DOWN,
        "who would pay funding",
        _WEI,
    ),
    Rounding("modules/funding.vy", "_bounded", f"value * max_funding // {_WAD}", _DOWN, "who would pay funding", _WEI),
    Rounding(
        "modules/funding.vy",
        "_accrue",
        f"fixed_point._power(retention * {_WAD}, block.timestamp - core.accrued_at)",
        _DOWN,
        "who receives: it decays sooner",
        "premium · 2n·1e-36, paid early",
    ),
    Rounding(
        "modules/funding.vy",
        "_accrue",
        "core.premium * convert(left, int256) // unit",
        _ZERO,
        "who receives: what is gone from the premium is due",
        "< 1 wei, paid early",
    ),
    Rounding(
        "modules/funding.vy",
        "_accrue",
        "(state.core.premium - core.premium) * unit // convert(shares, int256)",
        _ZERO,
        "who pays",
        "N·1e-54 of quote: < 0.01 wei, of all of them",
    ),
    Rounding(
        "modules/funding.vy",
        "_accrue",
        f"max_funding * payer.scale * core.mark // {_WAD}",
        _DOWN,
        "who pays: the clamp",
        "1e-36 of index",
    ),
    # Token units and the vault.
    Rounding(
        "PerpetualMarket.vy",
        "withdraw",
        "old.collateral // TOKEN_SCALE",
        _DOWN,
        "the account keeps the rest",
        "< 1 token unit, not lost",
    ),
    Rounding(
        "PerpetualMarket.vy",
        "sweep",
        "core.insurance_owed // TOKEN_SCALE",
        _DOWN,
        "insurance is owed the rest",
        "< 1 token unit, not lost",
    ),
    Rounding("modules/tokens.vy", "_pull", "MAX_BALANCE // scale", _DOWN, "nobody: a bound", "< 1 token unit"),
    Rounding("modules/tokens.vy", "_room", "MAX_BALANCE // scale", _DOWN, "nobody: the same bound", "< 1 token unit"),
    Rounding("modules/tokens.vy", "_room", "MAX_BALANCE // scale", _DOWN, "nobody: the same bound", "< 1 token unit"),
    Rounding(
        "modules/reserve.vy", "_capped", f"assets * draw_cap // {_WAD}", _DOWN, "insurers: a lower cap of draws", _WEI
    ),
    Rounding("modules/reserve.vy", "__init__", f"{_WAD} * 9 // 10", _EXACT, "", ""),
    Rounding(
        "InsuranceVault.vy",
        "cover",
        "fixed_point._ceil_div(amount - owed, TOKEN_SCALE)",
        _UP,
        "the market; the change is owed to insurance again",
        "< 1 token unit, not lost",
    ),
    Rounding(
        "InsuranceVault.vy",
        "_total_assets",
        "IPerpetualMarket(market).insurance_owed() // TOKEN_SCALE",
        _DOWN,
        "who comes, against who leaves",
        "< 1 token unit of all assets",
    ),
    Rounding(
        "InsuranceVault.vy",
        "_settle_for_entry",
        "core.insurance_owed // TOKEN_SCALE",
        _DOWN,
        "who comes",
        "< 1 token unit of all assets",
    ),
    Rounding(
        "InsuranceVault.vy",
        "_settled_assets",
        "(quote + funding.surplus - funding.bonus + move.surplus - move.covered) // TOKEN_SCALE",
        _DOWN,
        "nobody: a preview, at most a wei above the settlement",
        "< 1 token unit of all assets",
    ),
    Rounding(
        "InsuranceVault.vy",
        "_shares_for",
        "math._mul_div(assets, erc20.totalSupply + SHARE_OFFSET, total_assets + 1, roundup)",
        "as asked",
        "its caller's",
        "< 1 share",
    ),
    Rounding(
        "InsuranceVault.vy",
        "_assets_for",
        "math._mul_div(shares, total_assets + 1, erc20.totalSupply + SHARE_OFFSET, roundup)",
        "as asked",
        "its caller's",
        "< 1 token unit",
    ),
    Rounding(
        "InsuranceVault.vy",
        "convertToShares",
        "self._shares_for(assets, self._total_assets(), False)",
        _DOWN,
        "nobody: a view",
        "< 1 share",
    ),
    Rounding(
        "InsuranceVault.vy",
        "convertToAssets",
        "self._assets_for(shares, self._total_assets(), False)",
        _DOWN,
        "nobody: a view",
        "< 1 token unit",
    ),
    Rounding(
        "InsuranceVault.vy",
        "previewDeposit",
        "self._shares_for(assets, self._settled_assets(), False)",
        _DOWN,
        "the other holders, as `deposit`",
        "< 1 share",
    ),
    Rounding(
        "InsuranceVault.vy",
        "deposit",
        "self._shares_for(assets, self._settle_for_entry(), False)",
        _DOWN,
        "the other holders",
        "< 1 share",
    ),
    Rounding(
        "InsuranceVault.vy",
        "maxMint",
        "self._shares_for(self._room(), self._total_assets(), False)",
        _DOWN,
        "nobody: a limit, rather too low",
        "< 1 share",
    ),
    Rounding(
        "InsuranceVault.vy",
        "previewMint",
        "self._assets_for(shares, self._settled_assets(), True)",
        _UP,
        "the other holders, as `mint`",
        "< 1 token unit",
    ),
    Rounding(
        "InsuranceVault.vy",
        "mint",
        "self._assets_for(shares, self._settle_for_entry(), True)",
        _UP,
        "the other holders",
        "< 1 token unit",
    ),
    Rounding(
        "InsuranceVault.vy",
        "requestRedeem",
        "self._assets_for(requested, self._total_assets(), False)",
        _DOWN,
        "the other holders: the most a request brings",
        "< 1 token unit",
    ),
    Rounding(
        "InsuranceVault.vy",
        "withdraw",
        "self._shares_for(assets, self._total_assets(), True)",
        _UP,
        "the other holders: shares burned",
        "< 1 share",
    ),
    Rounding(
        "InsuranceVault.vy",
        "_value_of",
        "self._assets_for(shares, self._total_assets(), False)",
        _DOWN,
        "the other holders: what is paid",
        "< 1 token unit",
    ),
    Rounding(
        "modules/redemptions.vy",
        "_capped",
        "math._mul_div(request.worth, shares, request.shares, False)",
        _DOWN,
        "the other holders: a part's worth",
        "< 1 token unit a part",
    ),
    Rounding(
        "modules/redemptions.vy",
        "_shares_of",
        "math._mul_div(assets, request.shares, request.worth, True)",
        _UP,
        "the other holders: shares burned",
        "< 1 share",
    ),
    # Views.
    Rounding(
        "MarketLens.vy", "position", f"held.shares * side.scale // {_WAD}", _DOWN, "nobody: a view", "< 1 wei of size"
    ),
    Rounding(
        "MarketLens.vy",
        "position",
        f"held.equity * {_WAD} // seen.notional",
        _DOWN,
        "nobody: a view",
        "1e-18 of ratio",
    ),
    # Bounds of parameters.
    Rounding("modules/parameters.vy", "_check", "wad // 10 ** 4", _EXACT, "", ""),
    Rounding("modules/parameters.vy", "_check", "wad // 100", _EXACT, "", ""),
    *[Rounding("modules/parameters.vy", "_check", "wad // 2", _EXACT, "", "")] * 3,
    # Bitmaps: the highest bit of a word that is not empty.
    Rounding("modules/buckets.vy", "_highest", "fixed_point._log2(bits)", _EXACT, "", "the highest bit"),
    Rounding("modules/buckets.vy", "_scan", "fixed_point._log2(mask)", _EXACT, "", "the highest live level"),
    Rounding("modules/buckets.vy", "_close", "fixed_point._log2(mask)", _EXACT, "", "the highest live level"),
)

_FIELD = "a field of a word"
_BEYOND = "bits beyond a field's width, which must be 0"
SHIFTS = (
    Shift("modules/packing.vy", "_pack_core", 4, _BEYOND),
    Shift("modules/packing.vy", "_pack_clock", 4, _BEYOND),
    Shift("modules/packing.vy", "_unpack_core", 7, _FIELD),
    Shift("modules/packing.vy", "_pack_exposure", 2, _BEYOND),
    Shift(
        "modules/packing.vy",
        "_pack_reach",
        3,
        f"{_BEYOND}; `-(-top >> 64)` rounds the top up: a bound stays a bound, costs a look in vain",
    ),
    Shift("modules/packing.vy", "_unpack_side", 2, _FIELD),
    Shift("modules/packing.vy", "_unpack_top", 1, _FIELD),
    Shift("modules/packing.vy", "_pack_position", 6, _BEYOND),
    Shift("modules/packing.vy", "_unpack_position", 5, _FIELD),
    Shift("modules/packing.vy", "_min_nonce", 1, _FIELD),
    Shift("modules/packing.vy", "_without_shares", 1, "shares dropped, the other fields kept"),
    Shift("modules/packing.vy", "_pack_anchor", 2, _BEYOND),
    Shift("modules/packing.vy", "_unpack_anchor", 1, _FIELD),
    Shift("modules/packing.vy", "_pack_bucket", 3, _BEYOND),
    Shift("modules/packing.vy", "_next_generation", 2, f"{_FIELD}; {_BEYOND}"),
    Shift("modules/packing.vy", "_unpack_bucket", 2, _FIELD),
    Shift("modules/packing.vy", "_pack_level", 2, _BEYOND),
    Shift("modules/packing.vy", "_unpack_level", 2, _FIELD),
    Shift("modules/reserve.vy", "window_start", 1, _FIELD),
    Shift("modules/reserve.vy", "window_drawn", 1, _FIELD),
    Shift("modules/reserve.vy", "_pack", 2, _BEYOND),
    Shift("modules/reserve.vy", "_receive", 1, _FIELD),
    Shift("modules/reserve.vy", "_release", 1, _FIELD),
    Shift("modules/reserve.vy", "_drawable", 1, _FIELD),
    Shift("modules/reserve.vy", "_draw", 1, _FIELD),
    Shift("modules/reserve.vy", "_window_is_over", 1, _FIELD),
    Shift("modules/buckets.vy", "_awake", 1, "the bitmap word of a bucket"),
    Shift("modules/buckets.vy", "_sleep", 1, "the bitmap word of a bucket"),
    Shift("modules/buckets.vy", "_next", 1, "whether the highest bit is set"),
    Shift("modules/buckets.vy", "_scan", 5, "the edge in a cursor; edge to bucket, exact; its word; a mask"),
    Shift("modules/buckets.vy", "_close_level", 4, "floor(T / 2**level), the lowest bucket closed; its word"),
    Shift("modules/fixed_point.vy", "_power", 1, "the next bit of the exponent"),
    Shift("modules/fixed_point.vy", "_log2", 15, "halves, for the highest bit"),
)


def _is_rounding(node: ast.expr) -> bool:
    if isinstance(node, ast.Call):
        return name_of(node) in ROUNDING
    return isinstance(node, ast.BinOp) and isinstance(node.op, ast.FloorDiv | ast.Div | ast.Mod)


def _is_shift(node: ast.expr) -> bool:
    return isinstance(node, ast.BinOp) and isinstance(node.op, ast.RShift)


def sites() -> Iterator[Site]:
    """Every place where the contracts divide, shift to the right, or call a function that rounds."""
    for file in files():
        yield from (site for site in expressions(file) if _is_rounding(site.node) or _is_shift(site.node))


def missing() -> tuple[Counter[tuple[str, ...]], Counter[tuple[str, ...]]]:
    """What the table does not say of the sources, and what it says that is not in them; shifts by their number."""
    named = Counter((one.file, one.function, one.expression) for one in ROUNDINGS)
    told: Counter[tuple[str, ...]] = Counter(named)
    for shift in SHIFTS:
        told[shift.file, shift.function, ">>"] += shift.many
    found: Counter[tuple[str, ...]] = Counter()
    for site in sites():
        by_name = (site.file, site.function, site.text)
        found[(site.file, site.function, ">>") if _is_shift(site.node) and by_name not in named else by_name] += 1
    return found - told, told - found


def lines() -> Iterator[str]:
    """Every place at which something is lost or could be, and after it the shifts."""
    yield from table(
        "where | what | rounded | in favour of | costs at most",
        (
            (f"`{one.file.removeprefix('modules/')}` `{one.function}`", f"`{one.expression}`", *one[3:])
            for one in dict.fromkeys(ROUNDINGS)
        ),
    )
    yield ""
    yield from table(
        "shifts to the right in | how many | which are",
        ((f"`{one.file.removeprefix('modules/')}` `{one.function}`", one.many, one.meaning) for one in SHIFTS),
    )
