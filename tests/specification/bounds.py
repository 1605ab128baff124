"""The overflow argument, executable: the largest value of everything, and that every product of the contracts fits.

`QUANTITIES` says how large things get and why. `NAMES` says which name in the sources is which of them. `FACTS` are
what follows from more than the ranges of the parts, each with its reason. With these `evaluator` works out every place
of `claims`, as it stands in the sources. Bounds are expressions of the contracts' own constants and of each other.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from tests.specification.intervals import Evaluator, Interval
from tests.specification.sources import Site, constants, expressions, files, name_of


class Quantity(NamedTuple):
    """How large something gets.

    Attributes:
        low: least value, as an expression of constants and of quantities before it; so is `high`.
        why: what holds it there, and what happens at the bound.
    """

    name: str
    unit: str
    low: str
    high: str
    why: str
    signed: bool = False


QUANTITIES = (
    Quantity("price", "quote per size, 18", "MIN_PRICE", "MAX_PRICE", "`oracle._read`: `oracle: price out of range`"),
    Quantity("mark", "quote per size, 18", "MIN_PRICE", "MAX_PRICE", "only moves towards a price, never past it"),
    Quantity(
        "limit_price",
        "quote per size, 18",
        "0",
        "MAX_PRICE + MAX_PRICE // 2",
        "`_match` before it is used: `order: price outside band`; a band is at most a half",
    ),
    Quantity("ratio", "18", "0", "WAD", "every ratio of `parameters._check`"),
    Quantity("co", "18", "1", "WAD", "`parameters: closeout margin is zero`, and less than maintenance", True),
    Quantity("width", "18", "WAD // 10**4", "WAD // 100", "`parameters: bucket width not in 0.01 %..1 %`"),
    Quantity("scale", "size per share, 18", "MIN_SCALE", "WAD", "only falls; under MIN_SCALE the epoch ends"),
    Quantity(
        "size",
        "18",
        "0",
        "MAX_OPEN_INTEREST",
        "`_match`: `position: out of range`, for a fill and for either side after it",
    ),
    Quantity(
        "shares",
        "18",
        "0",
        "MAX_OPEN_INTEREST * WAD // MIN_SCALE + 1",
        "size over scale (`open_interest_bounds_shares`)",
    ),
    Quantity(
        "shares_of_a_position",
        "18",
        "10**15 * INDEX_UNIT // (WAD * (MAX_PRICE + 1))",
        "shares",
        "`position: below minimum`; min_notional is 1e15 or more",
    ),
    Quantity(
        "money",
        "quote, 18",
        "0",
        "2**128 - 1",
        "all quote of market and vault. A deposit that brings either to MAX_BALANCE is refused (`token: balance out of "
        "range`); the market gets more from its vault alone, so it would take 2**8 vaults as full as they can be, each "
        "lost to winners who leave nothing. A field would refuse it (`packing: out of range`)",
    ),
    Quantity("money_signed", "quote, 18", "-money", "money", "the same with a sign", True),
    Quantity("exact_money", "quote, 54", "-money * INDEX_UNIT", "money * INDEX_UNIT", "money · INDEX_UNIT", True),
    Quantity("drop", "index, 36", "0", "scale * price", "`_towards`: A·d; funding is clamped to less", True),
    Quantity("index", "36", "-MAX_INDEX", "MAX_INDEX", "beyond, the epoch ends before the next move", True),
    Quantity(
        "level",
        "log2 of a width",
        "(width_low * MIN_SCALE * MIN_PRICE // WAD).bit_length() - 1",
        "(width * scale * price // WAD).bit_length() - 1",
        "`_level`; kept or narrowed after that",
    ),
    Quantity("bucket_width", "index, 36", "2**level_low", "2**level", "2**level"),
    Quantity(
        "kappa",
        "index, 36",
        "-(MAX_INDEX + money * INDEX_UNIT // shares_of_a_position_low + 1)",
        "MAX_INDEX",
        "K - c/n with the smallest n; never above K",
        True,
    ),
    Quantity(
        "edge",
        "index, 36",
        "kappa_low - bucket_width",
        "kappa + bucket_width",
        "of the bucket that holds kappa",
        True,
    ),
    Quantity(
        "near_edge",
        "index, 36",
        "-MAX_INDEX - 2 * scale * price - bucket_width",
        "edge",
        "above T: all that a move looks at. `MarketLens` asks for none under NO_TOP, which lies lower than these",
        True,
    ),
    Quantity(
        "bucket",
        "number",
        "-2**127",
        "2**127 - 1",
        "`packing: out of range` refuses the filing: a fortune in a position that has lost nearly all its value, "
        "refiled by its owner on a narrow level. He can close it whole, which files nothing",
        True,
    ),
    Quantity(
        "gross",
        "exact quote, 54",
        "0",
        "shares * drop",
        "N·dK; what is missed at a lagging mark is bounded alike",
    ),
    Quantity(
        "debt",
        "quote, 18",
        "0",
        "MAX_OPEN_INTEREST * MAX_PRICE * width // (WAD * WAD) + 2**64",
        "of a bucket: N · width and a wei a member (`a_debt_is_at_most_a_width`); width <= w·A·mark when its last "
        "member added risk, and N·A is an open interest",
    ),
    Quantity("notional", "quote, 18", "0", "size * price // WAD + 1", "size · price (`notional_is_bounded`)"),
    Quantity("premium", "quote, 18", "-notional", "notional", "`funding._bounded`; max_funding is less than 1", True),
    Quantity("unit_part", "36", "0", "INDEX_UNIT", "a part of one (`powers_of_less_than_one_never_grow`)"),
    Quantity("seconds", "s", "0", "2**40 - 1", "34,000 years; cooloff and grace add at most 2**32"),
    Quantity("epoch", "number", "0", "2**32 - 1", "the move that would end the last one is refused whole"),
    Quantity("generation", "number", "0", "2**32 - 1", "the move that would close a bucket so often is refused whole"),
    Quantity("nonce", "number", "0", "2**64 - 1", "`cancel_all`: `packing: out of range`; orders may have any"),
    Quantity("conditions", "bits", "0", "LAGGING + SUSPECT + GUARDED + CLOSED", "four of eight bits"),
    Quantity("side", "number", "0", "SHORT", "two"),
    Quantity("book", "number", "0", "2 * epoch + 1", "epoch and side"),
    Quantity("token_scale", "quote per unit", "1", "WAD", "`tokens._scale`: `token: more than 18 decimals`"),
    Quantity("token_decimals", "digits", "0", "18", "`token: more than 18 decimals`; a feed with more reverts"),
    Quantity("units", "token units", "0", "money", "money over TOKEN_SCALE"),
    Quantity("tokens", "token units", "0", "2**255 - 1", "a balance as the token says; more is its own business"),
    Quantity(
        "supply",
        "shares of the vault",
        "0",
        "2**200",
        "2**120 · SHARE_OFFSET at first, and 1 / (1 - draw_cap) times as many for a refill after a window of draws: at "
        "90 % 18 refills of 2**120 each, 50 of dust. Far beyond, entry is refused (`math: mul_div overflow`)",
    ),
    Quantity(
        "interval", "s", "0", "2**32", "`parameters: cooloff or grace out of range`; steps and cooldown are shorter"
    ),
    Quantity("draw_window", "s", "1", "2**256 - 1", "any but zero"),
    Quantity("multiple", "18", "0", "2**96", "`parameters: open interest multiple too large`"),
    Quantity("minimum", "quote, 18", "10**15", "2**96 - 1", "`parameters: minimum notional out of range`"),
    Quantity(
        "price_difference",
        "quote per size, 18",
        "-limit_price",
        "limit_price",
        "between two prices",
        True,
    ),
    Quantity(
        "against_mark", "exact quote, 36", "-size * limit_price", "size * limit_price", "price against mark", True
    ),
    Quantity("gain", "index, 36", "0", "2 * gross + exact_money", "of one share, if there is but one", True),
    Quantity("total", "quote, 18", "0", "2**255", "2**124 settlements of as much as there is", False),
    Quantity("top", "index, 36", "NO_TOP", "MAX_INDEX + bucket_width", "the highest edge of a side", True),
    Quantity(
        "coarse_top", "2**64 of index", "NO_TOP // 2**64", "top // 2**64 + 1", "as it is stored, rounded up", True
    ),
    Quantity("cursor", "edge << 8 | level", "-2**255", "edge * 256 + 255", "a scan's; the least is none", True),
    Quantity("neighbour", "number", "1", "NEIGHBOURS", "of buckets", True),
    Quantity(
        "due",
        "index, 36",
        "-2 * premium * INDEX_UNIT - drop",
        "2 * premium * INDEX_UNIT + drop",
        "before the clamp",
        True,
    ),
    Quantity("reach", "quote per size, 18", "0", "4 * MAX_INDEX * WAD", "of the lens: the room over at least 1", False),
    Quantity("one", "18", "WAD", "WAD", "1"),
    Quantity("positive", "number", "1", "2**256 - 1", "not zero, in the branch where it is used"),
    Quantity("word", "256 bits", "0", "2**256 - 1", "bits, and no number"),
    Quantity("any", "int256", "-2**255", "2**255 - 1", "whatever", True),
    Quantity("divisor", "number", "1", "2**255 - 1", "its callers divide by what is positive"),
    Quantity("bit", "number", "0", "255", "of a word"),
    Quantity("direction", "sign", "PRICE_FALLS", "PRICE_RISES", "of the mark", True),
    Quantity("count", "number", "0", "2**64", "of buckets or words"),
    Quantity("live_words", "number", "0", "2**64 - 1", "of a level; each has an account that paid for it"),
)


@cache
def quantities() -> dict[str, Interval]:
    """Every quantity, worked out: names in a bound are constants, or the largest value of a quantity before it."""
    found: dict[str, Interval] = {}
    for one in QUANTITIES:
        found[one.name] = _range(one.low, one.high, one.signed, found)
    return found


def _range(low: str, high: str, signed: bool, known: dict[str, Interval]) -> Interval:
    """What two expressions of constants and of known quantities come to."""
    names = {name: constant.value for name, constant in constants().items()}
    for name, interval in known.items():
        names |= {name: interval.high, f"{name}_low": interval.low}
    return Interval(int(eval(low, {"__builtins__": {}}, names)), int(eval(high, {"__builtins__": {}}, names)), signed)


#: What a name in the sources is: file and function (empty: any), a pattern for all of it; the first line that fits.
NAMES: tuple[tuple[str, str, str, str], ...] = (
    ("PerpetualMarket.vy", "settle_to", "left", "drop"),
    ("InsuranceVault.vy", "_leave", "before", "tokens"),
    ("InsuranceVault.vy", "_leave", "swept", "units"),
    ("InsuranceVault.vy", "_settled_assets", r"quote|funding\.(surplus|bonus)|move\.surplus", "money"),
    ("InsuranceVault.vy", "requestRedeem", r".*shares", "supply"),
    ("InsuranceVault.vy", "", r"erc20\.totalSupply", "supply"),
    ("InsuranceVault.vy", "", "total_assets", "units"),
    ("InsuranceVault.vy", "__init__", r"IERC20Detailed\(asset_\)\.decimals\(\)", "token_decimals"),
    ("MarketLens.vy", "position", r"settlement\._reach\(.*\)", "reach"),
    ("TradingLogic.vy", "fill_batch", "at", "bit"),
    ("TradingLogic.vy", "_match", "maker_fee|taker_fee", "money"),
    ("TradingLogic.vy", "_match", r"funding\._premium\(.*\)", "premium"),
    ("TradingLogic.vy", "_totals", r"totals\[.*\]", "shares"),
    ("modules/accounts.vy", "_trade", "dust", "minimum"),
    ("modules/breaker.vy", "_target", "most", "price"),
    ("modules/buckets.vy", "_refile", "new_shares", "shares"),
    ("modules/buckets.vy", "_scan", r"levels|scan\.words", "count"),
    ("modules/funding.vy", "_accrue", "due", "due"),
    ("modules/margin.vy", "_initial", "insured", "money"),
    ("modules/reserve.vy", "_receive|_draw", r"self\._low\(word\)|amount", "money"),
    ("modules/reserve.vy", "_draw", "window", "word"),
    ("modules/reserve.vy", "_window_is_over", "start", "seconds"),
    ("modules/settlement.vy", "_after", r"after\.sides\[winner\]\.index", "index"),
    ("modules/settlement.vy", "_after", "to_insurance", "exact_money"),
    ("modules/settlement.vy", "_after", r"plan\.(gross|deficit)", "gross"),
    ("modules/settlement.vy", "_account_for", r"self\.total_\w+", "total"),
    ("modules/settlement.vy", "_account_for", r"receipt\.\w+|terms\.insurance\.cover\(.*\)", "money"),
    ("modules/tokens.vy", "_pull", "before|amount", "tokens"),
    ("", "", r"(\w+\.)*index_gain", "gain"),
    ("", "", r"tokens\._balance\(asset, market\)", "tokens"),
    ("", "", r"IPerpetualMarket\(market\)\.insurance_owed\(\)", "money"),
    ("", "", r"(\w+\.)*(cooloff|oracle_grace|step_interval|redeem_cooldown)", "interval"),
    ("", "", r"(\w+\.)*(_reported_at|opens)", "seconds"),
    ("", "", "draw_window", "draw_window"),
    ("modules/fixed_point.vy", "_floor_div", "x|quotient", "any"),
    ("modules/fixed_point.vy", "_ceil_div", "x", "positive"),
    ("modules/fixed_point.vy", "_floor_div|_ceil_div", "y", "divisor"),
    ("modules/fixed_point.vy", "_power", "power|square", "unit_part"),
    ("modules/oracle.vy", "_read", "answer", "price"),
    ("modules/oracle.vy", "", "PRICE_SCALE", "token_scale"),
    ("modules/oracle.vy", "", r"IAggregatorV3\(feed\).decimals\(\)", "token_decimals"),
    ("modules/tokens.vy", "", "decimals", "token_decimals"),
    ("modules/margin.vy", "_is_below", "moved", "exact_money"),
    ("modules/margin.vy", "_liquidable", "lacking|notional", "notional"),
    ("modules/margin.vy", "_liquidable", "limit", "size"),
    ("modules/margin.vy", "_require_health|_is_below", "collateral|collateral_before", "money"),
    ("modules/margin.vy", "_require_health|_notional", "shares|shares_before", "shares"),
    ("modules/margin.vy", "_is_below", "required", "notional"),
    ("modules/margin.vy", "_is_below", "gain", "money_signed"),
    ("modules/margin.vy", "_initial", "exposure", "notional"),
    ("modules/accounts.vy", "_trade", "held", "size"),
    ("modules/accounts.vy", "_trade", r"scales\[.*\]", "scale"),
    ("TradingLogic.vy", "liquidate", "held|taken", "size"),
    ("TradingLogic.vy", "_dynamic_margin", "held", "units"),
    ("TradingLogic.vy", "_dynamic_margin", "interest", "size"),
    ("TradingLogic.vy", "_dynamic_margin", "insured", "money"),
    ("TradingLogic.vy", "_complete", "receives", "exact_money"),
    ("TradingLogic.vy", "_complete", "collateral", "money_signed"),
    ("TradingLogic.vy", "_complete", "party.old.collateral", "money"),
    ("modules/breaker.vy", "", "max_price_step", "ratio"),
    ("TradingLogic.vy", "_match", "to_maker", "against_mark"),
    ("modules/funding.vy", "_clamp", "limit|amount", "notional"),
    ("modules/funding.vy", "_clamp", "most", "premium"),
    ("modules/funding.vy", "_bounded", "value", "notional"),
    ("modules/funding.vy", "_accrue", "unit", "unit_part"),
    ("modules/funding.vy", "_accrue", "left", "unit_part"),
    ("modules/funding.vy", "_premium", "over_mark", "price_difference"),
    ("modules/reserve.vy", "_pack", "high|low", "money"),
    ("modules/reserve.vy", "_capped", "assets", "money"),
    ("modules/reserve.vy", "_capped|__init__", "draw_cap|cap", "ratio"),
    ("modules/settlement.vy", "_reach", "edge", "near_edge"),
    ("modules/settlement.vy", "_reach|_threshold|_plan", r".*closeout_margin", "ratio"),
    ("modules/settlement.vy", "_reach", "co", "co"),
    ("modules/settlement.vy", "_plan", r"closed\.value", "exact_money"),
    ("modules/settlement.vy", "_plan", r"plan\.(gross|surplus|bonus|deficit)|gain|missed", "gross"),
    ("modules/settlement.vy", "_plan", "ended", "shares"),
    ("modules/settlement.vy", "_plan", "gap", "price_difference"),
    ("modules/settlement.vy", "_moved|_towards|_plan", "distance", "price"),
    ("modules/settlement.vy", "_funding", "due", "drop"),
    (
        "modules/buckets.vy",
        "_bit|_highest|_next|_scan|_close_level|_close_word|_awake|_sleep",
        "bucket|live|word|number",
        "bucket",
    ),
    ("modules/buckets.vy", "_next", "bits|below", "word"),
    ("modules/buckets.vy", "_next", "step", "neighbour"),
    ("modules/buckets.vy", "_scan", "highest|next", "cursor"),
    ("modules/buckets.vy", "_close_level", "lowest|threshold|entry.top", "near_edge"),
    ("modules/buckets.vy", "_scan", r"edge|index - \(live << level\)", "near_edge"),
    ("modules/packing.vy", "_pack_reach", r"side\.top", "top"),
    ("modules/packing.vy", "_pack_reach", "top", "coarse_top"),
    ("modules/packing.vy", "_pack_level", r"level\.top", "bucket"),
    ("modules/packing.vy", "", "clock|exposure|reach|word|position|bucket", "word"),
    ("", "", r"(\w+\.)*(mark|mark_before|mark_after)", "mark"),
    ("", "", r"(\w+\.)*(price|index_price|target)", "price"),
    ("", "", r"(\w+\.)*limit_price", "limit_price"),
    ("", "", r"(\w+\.|state\.sides\[.*\]\.)*(scale|winner_scale)", "scale"),
    ("", "", r"(\w+\.|\w+\.sides\[.*\]\.)*(shares|closed_shares|shares_before)", "shares"),
    ("", "", r"(\w+\.)*(size|closed_size)", "size"),
    ("", "", r"(\w+\.)*(collateral|insurance_owed|covered|owed|equity|fee|reward|held\(\))", "money"),
    ("", "", r"reserve\._held\(\)|transfer|amount", "units"),
    ("", "", r"(\w+\.)*index", "index"),
    ("", "", r"(\w+\.)*index_drop", "drop"),
    ("", "", r"(\w+\.)*debt", "debt"),
    ("", "", r"(\w+\.)*premium", "premium"),
    ("", "", r"(\w+\.)*(accrued_at|limited_at|reduce_only_until|timestamp)", "seconds"),
    ("", "", r"(\w+\.)*epoch", "epoch"),
    ("", "", r"(\w+\.)*generation", "generation"),
    ("", "", r"(\w+\.)*min_nonce", "nonce"),
    ("", "", r"(\w+\.)*conditions", "conditions"),
    ("", "", r"(\w+\.)*side", "side"),
    ("", "", r"(\w+\.)*level", "level"),
    ("", "", r"(\w+\.)*bucket", "bucket"),
    ("", "", r"(\w+\.)*(live|buckets)", "count"),
    ("", "", r"book", "book"),
    ("", "", r"(\w+\.)*(TOKEN_SCALE|TOKEN_SCALE\(\))", "token_scale"),
    ("", "", r"(\w+\.)*oi_multiple", "multiple"),
    ("", "", r"(\w+\.)*min_notional", "minimum"),
    ("", "", r"(\w+\.)*bucket_width|width", "width"),
    (
        "",
        "",
        r"(\w+\.)*(\w+_margin|ratio|slope|\w+_rate|\w+_share|max_funding|retention|price_band|liquidation_fee)",
        "ratio",
    ),
    ("", "", r"wad", "one"),
    ("", "", r"(raw_call|slice)\(.*\)", "word"),
    ("", "", r"(\w+\.)*notional", "notional"),
    ("", "", r"sides\._open_interest\(payer\)", "size"),
    ("", "", r"self\._upper_edge\(.*\)", "edge"),
    ("", "", r"fixed_point\._log2\(bits\)", "bit"),
    ("", "", r"IERC20Detailed\(token\)\.decimals\(\)", "token_decimals"),
    ("", "", r"direction", "direction"),
)


class Fact(NamedTuple):
    """What is known of an expression beyond the ranges of its parts; `low` and `high` as of a quantity."""

    file: str
    function: str
    expression: str
    low: str
    high: str
    why: str
    signed: bool = False


_BUCKETS, _SETTLEMENT, _PACKING = "modules/buckets.vy", "modules/settlement.vy", "modules/packing.vy"
_IS_EDGE = "the edge of a bucket that holds a kappa (`a_bucket_covers_bankruptcy`)"
_NO_FALL = "a step ends at a price, a stop before it (`a_stopped_fall_is_shorter`, `a_stopped_rise_is_shorter`)"
_FLOOR = "`floor_division_rounds_down`: the remainder has the sign of x and is less than y"
_REACHES = "2 * scale * price + bucket_width"

FACTS = (
    Fact("modules/fixed_point.vy", "_floor_div", "unsafe_mul(quotient, y)", "-2**255", "2**255 - 1", _FLOOR, True),
    Fact(
        "modules/fixed_point.vy",
        "_floor_div",
        "unsafe_sub(x, unsafe_mul(quotient, y))",
        "-divisor",
        "divisor",
        _FLOOR,
        True,
    ),
    Fact("modules/fixed_point.vy", "_floor_div", "unsafe_sub(quotient, 1)", "-2**255", "2**255 - 1", _FLOOR, True),
    Fact(_BUCKETS, "_upper_edge", "bucket + 1 << level", "edge_low", "edge", _IS_EDGE, True),
    Fact(_BUCKETS, "_locate", "drop", "0", "kappa - kappa_low", "K - kappa, rounded up"),
    Fact(_BUCKETS, "_locate", "bucket << level", "edge_low - bucket_width", "edge", _IS_EDGE, True),
    Fact(
        _BUCKETS,
        "_locate",
        "index - (bucket << level)",
        "0",
        "kappa - kappa_low + bucket_width",
        "the lower edge is not above kappa, nor kappa above K (`a_bucket_covers_bankruptcy`)",
        True,
    ),
    Fact(
        _BUCKETS,
        "_locate",
        "shares * above_edge",
        "0",
        "money * INDEX_UNIT + shares * (bucket_width + 1)",
        "n·(K - kappa) is the collateral, and a width more (`a_bucket_covers_bankruptcy`)",
    ),
    Fact(_BUCKETS, "_equity", "filing.bucket << filing.level", "edge_low - bucket_width", "edge", _IS_EDGE, True),
    Fact(
        _BUCKETS,
        "_equity",
        "convert(shares, int256) * above_edge",
        "-INDEX_UNIT",
        "(money + debt + 1) * INDEX_UNIT",
        "equity and debt of an account that is not closed (`an_open_account_is_not_under_zero`, S1); also at the last "
        "index of an epoch",
        True,
    ),
    Fact(_BUCKETS, "_scan", "live << level", "edge_low - bucket_width", "edge", _IS_EDGE, True),
    Fact(_BUCKETS, "_scan", "unsafe_add(live, 1) << level", "edge_low", "edge", _IS_EDGE, True),
    Fact(
        _BUCKETS,
        "_scan",
        "unsafe_sub(index, live << level)",
        "0",
        _REACHES,
        "above T = K - drop - co·A·mark; and no lower edge is above K: accounts are filed at or under it, and what has "
        "come above T was closed",
        True,
    ),
    Fact(
        _BUCKETS,
        "_scan",
        "scan.value",
        "0",
        f"shares * ({_REACHES})",
        "the shares summed are a part of the side's",
        True,
    ),
    Fact(
        _BUCKETS,
        "_scan",
        "unsafe_add(scan.value, unsafe_mul(convert(summed.shares, int256), unsafe_sub(index, live << level)))",
        "0",
        f"shares * ({_REACHES})",
        "likewise",
        True,
    ),
    Fact(_BUCKETS, "_scan", "debt", "0", "MAX_LEVELS * debt", "of a side: at most that of a bucket for each level"),
    Fact(_BUCKETS, "_scan", "scan.buckets", "0", "2**64", "MAX_LOOKS words of 256; a block's gas ends it long before"),
    Fact(
        _SETTLEMENT,
        "_moved",
        "convert(mark, int256) + direction * convert(distance, int256)",
        "0",
        "price",
        _NO_FALL,
        True,
    ),
    Fact(_SETTLEMENT, "_reach", "room", "-4 * MAX_INDEX * WAD", "4 * MAX_INDEX * WAD", "the line before", True),
    Fact(_SETTLEMENT, "_plan", "convert(value, uint256)", "0", "exact_money", "in the branch where it is not negative"),
    Fact(
        _SETTLEMENT,
        "_plan",
        "-value",
        "0",
        "gross + exact_money",
        "in the branch where it is negative: what the closed lack, before the clamp to gross",
        True,
    ),
    Fact(
        _SETTLEMENT,
        "_plan",
        "gain // W.shares",
        "0",
        "2 * gross + exact_money",
        "at least one winner's share; gross and cover, and a bonus out of a surplus",
    ),
    Fact(
        "modules/funding.vy",
        "_accrue",
        "(state.core.premium - core.premium) * unit // convert(shares, int256)",
        "-2 * premium * INDEX_UNIT",
        "2 * premium * INDEX_UNIT",
        "a premium needs payers: `_bounded` makes it zero where open interest is",
        True,
    ),
    Fact(
        "modules/orders.vy",
        "_take",
        "filled + size",
        "0",
        "2**256 - 1",
        "at most the order's size, which the lines before say",
    ),
    Fact(
        "TradingLogic.vy",
        "_complete",
        "convert(collateral, uint256)",
        "0",
        "money",
        "after the line that refuses less: `margin: not enough collateral`",
    ),
)

_FALLS_OFF = "bits above the word are to fall off"
_SIGN = "the sign is to move to the highest bit"
_TWOS = "two's complement: the copies of the sign are to fall off"
#: Shifts that are meant to lose bits.
WRAPS = (
    (_BUCKETS, "_next", "bits << convert(bucket & 255 ^ 255, uint256)", _FALLS_OFF),
    (_BUCKETS, "_next", "below << 1", _FALLS_OFF),
    (_BUCKETS, "_close_level", "max_value(uint256) << convert(lowest & 255, uint256)", _FALLS_OFF),
    (_PACKING, "_unpack_core", "clock << 136", _SIGN),
    (_PACKING, "_unpack_side", "reach << 96", _SIGN),
    (_PACKING, "_unpack_level", "word << 128", _SIGN),
    (_PACKING, "_pack_reach", "convert(convert(top, bytes32), uint256) << 160", _TWOS),
    (_PACKING, "_pack_anchor", "convert(convert(anchor.bucket, bytes32), uint256) << 128", _TWOS),
)


def _named(site: Site) -> str | None:
    for file, function, pattern, quantity in NAMES:
        if (
            file in ("", site.file)
            and re.fullmatch(function or ".*", site.function)
            and re.fullmatch(pattern, site.text)
        ):
            return quantity
    return None


def _fact(site: Site) -> Fact | None:
    return next(
        (one for one in FACTS if (one.file, one.function, one.expression) == (site.file, site.function, site.text)),
        None,
    )


def _bound(site: Site) -> Interval | None:
    fact = _fact(site)
    if fact:
        return _range(fact.low, fact.high, fact.signed, quantities())
    if isinstance(site.node, ast.BinOp | ast.UnaryOp | ast.IfExp):
        return None
    name = _named(site)
    return quantities()[name] if name else None


def _is_wrap(site: Site) -> bool:
    return any((file, function, text) == (site.file, site.function, site.text) for file, function, text, _ in WRAPS)


def _is_claim(node: ast.expr) -> bool:
    """Whether it could leave its word: sums, products, powers, left shifts, negations, conversions, `unsafe_`."""
    if isinstance(node, ast.Call):
        name = name_of(node)
        return name.startswith("unsafe_") or (name == "convert" and ast.unparse(node.args[1]) in ("int256", "uint256"))
    if isinstance(node, ast.UnaryOp):
        return isinstance(node.op, ast.USub) and not isinstance(node.operand, ast.Constant)
    return isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Mult | ast.LShift | ast.Pow)


def claims() -> Iterator[Site]:
    """Every place in the contracts that could leave its word."""
    for file in files():
        yield from (site for site in expressions(file) if _is_claim(site.node))


def evaluator() -> Evaluator:
    """With the bounds above."""
    return Evaluator(_bound, _is_wrap)
