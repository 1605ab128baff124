"""The contracts' arithmetic of unbounded numbers, line by line, for terms of z3 and for Python's integers.

The first argument is the calculator: a `Query`, or `Integers`. A power of two by which the contracts shift is handed
over as `width`; that shifting is multiplication and floored division by it is proved in `rounding.py`. Conversions
between signed and unsigned are dropped, and where the contracts would revert on a negative number or an overflow
these functions go on: a proof that relies on it says that it cannot be, and `bounds.py` says why products fit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from prorata.units import INDEX_UNIT, MIN_SCALE, WAD

Number = Any  # int, or a term of z3
Function = TypeVar("Function", bound=Callable[..., Any])

#: Quoted lines, by file below `contracts/`: whoever changes one of them must read its transcription again.
QUOTES: list[tuple[str, str]] = []


def quotes(file: str, *lines: str) -> Callable[[Function], Function]:
    """Says which lines of which file a function transcribes."""
    QUOTES.extend((file, line) for line in lines)
    return lambda function: function


class Integers:
    """The calculator of plain integers."""

    @staticmethod
    def quotient(dividend: int, divisor: int) -> int:
        """Of unsigned numbers."""
        if dividend < 0 or divisor <= 0:
            raise ArithmeticError(f"{dividend} // {divisor}: no unsigned division")
        return dividend // divisor

    @staticmethod
    def truncated(dividend: int, divisor: int) -> int:
        """Of signed numbers, towards zero."""
        return dividend // divisor if dividend >= 0 else -(-dividend // divisor)

    @staticmethod
    def shifted(number: int, width: int) -> int:
        """floor(number / width)."""
        return number // width

    @staticmethod
    def choose(condition: bool, one: Any, other: Any) -> Any:
        """A conditional."""
        return one if condition else other

    @staticmethod
    def least(one: int, other: int) -> int:
        """The smaller of two."""
        return min(one, other)

    @staticmethod
    def most(one: int, other: int) -> int:
        """The larger of two."""
        return max(one, other)


# ----------------------------------------------------------------------------------------------------------- roundings


@quotes(
    "modules/fixed_point.vy",
    "quotient: int256 = x // y",
    "if unsafe_sub(x, unsafe_mul(quotient, y)) < 0:",
    "quotient = unsafe_sub(quotient, 1)",
)
def floor_div(m: Any, x: Number, y: Number) -> Number:
    """`_floor_div`: of a signed number, down."""
    quotient = m.truncated(x, y)
    return m.choose(x - quotient * y < 0, quotient - 1, quotient)


@quotes("modules/fixed_point.vy", "if x == 0: return 0", "return unsafe_add(unsafe_sub(x, 1) // y, 1)")
def ceil_div(m: Any, x: Number, y: Number) -> Number:
    """`_ceil_div`: of an unsigned number, up."""
    return m.choose(x == 0, 0, m.quotient(m.most(x - 1, 0), y) + 1)


@quotes("modules/fixed_point.vy", "return self._floor_div(exact, convert(INDEX_UNIT, int256))")
def quote_down(m: Any, exact: Number) -> Number:
    """`_quote_down`."""
    return floor_div(m, exact, INDEX_UNIT)


@quotes("modules/fixed_point.vy", "return self._ceil_div(exact, INDEX_UNIT)")
def quote_up(m: Any, exact: Number) -> Number:
    """`_quote_up`."""
    return ceil_div(m, exact, INDEX_UNIT)


@quotes("modules/fixed_point.vy", "power = power * square // INDEX_UNIT", "square = square * square // INDEX_UNIT")
def power_step(m: Any, one: Number, other: Number) -> Number:
    """A product inside `_power`."""
    return m.quotient(one * other, INDEX_UNIT)


# -------------------------------------------------------------------------------------------------------------- filing


class Filing(NamedTuple):
    """Where an account is filed: bucket of a width, and debt at its lower edge."""

    width: Number
    bucket: Number
    debt: Number

    @property
    def lower_edge(self) -> Number:
        """`bucket << level`."""
        return self.bucket * self.width

    @property
    def upper_edge(self) -> Number:
        """`_upper_edge`."""
        return upper_edge(self.width, self.bucket)


@quotes("modules/buckets.vy", "return (bucket + 1) << level")
def upper_edge(width: Number, bucket: Number) -> Number:
    """`_upper_edge`."""
    return (bucket + 1) * width


@quotes(
    "modules/buckets.vy",
    "drop: uint256 = fixed_point._ceil_div(collateral * fixed_point.INDEX_UNIT, shares)",
    "bucket: int256 = min((index - convert(drop, int256)) >> level, ceiling)",
    "above_edge: uint256 = convert(index - (bucket << level), uint256)",
    "debt=fixed_point._quote_up(shares * above_edge) - collateral,",
)
def locate(m: Any, width: Number, shares: Number, collateral: Number, index: Number, ceiling: Number | None) -> Filing:
    """`_locate`; `ceiling` is None where the contract passes the largest number."""
    bucket = m.shifted(index - bankruptcy_drop(m, shares, collateral), width)
    if ceiling is not None:
        bucket = m.least(bucket, ceiling)
    above_edge = index - bucket * width
    return Filing(width, bucket, quote_up(m, shares * above_edge) - collateral)


def bankruptcy_drop(m: Any, shares: Number, collateral: Number) -> Number:
    """`drop` of `_locate`: how far the index is above the account's bankruptcy index."""
    return ceil_div(m, collateral * INDEX_UNIT, shares)


@quotes(
    "modules/accounts.vy",
    "if new.shares == old.shares and new.side == old.side and new.collateral >= old.collateral:",
    "ceiling = (buckets._upper_edge(old.filing.level, old.filing.bucket) >> level) - 1",
)
def deposit_ceiling(m: Any, old: Filing, width: Number) -> Number:
    """`ceiling` of `_store`, where only collateral was added."""
    return m.shifted(old.upper_edge, width) - 1


@quotes(
    "modules/buckets.vy",
    "above_edge: int256 = index - (filing.bucket << filing.level)",
    "equity: int256 = fixed_point._quote_down(convert(shares, int256) * above_edge) - convert(filing.debt, int256)",
    "return convert(max(equity, 0), uint256)",
)
def equity(m: Any, shares: Number, filing: Filing, index: Number) -> Number:
    """`_equity`."""
    return m.most(quote_down(m, shares * (index - filing.lower_edge)) - filing.debt, 0)


@quotes(
    "modules/buckets.vy",
    "scan.value, unsafe_mul(convert(summed.shares, int256), unsafe_sub(index, live << level))",
    "scan.value -= convert(debt * fixed_point.INDEX_UNIT, int256)",
)
def bucket_value(shares: Number, debt: Number, lower_edge: Number, index: Number) -> Number:
    """What a bucket's accounts are worth together, exact quote; with one account's numbers: what that one is worth."""
    return shares * (index - lower_edge) - debt * INDEX_UNIT


@quotes("modules/buckets.vy", "return fixed_point._log2(width * (scale * mark) // fixed_point.WAD)")
def widest(m: Any, width: Number, scale: Number, mark: Number) -> Number:
    """The number of which `_level` takes the logarithm: a bucket is at most so wide."""
    return m.quotient(width * (scale * mark), WAD)


# ---------------------------------------------------------------------------------------------------------- settlement


@dataclass(frozen=True)
class Side:
    """`packing.Side` without its top."""

    shares: Number
    scale: Number
    index: Number


@quotes(
    "modules/settlement.vy",
    "return loser.index - index_drop - convert(closeout_margin * loser.scale * mark // fixed_point.WAD, int256)",
)
def threshold(m: Any, loser: Side, index_drop: Number, closeout_margin: Number, mark: Number) -> Number:
    """`_threshold`."""
    return loser.index - index_drop - m.quotient(closeout_margin * loser.scale * mark, WAD)


@quotes(
    "modules/settlement.vy",
    "room: int256 = (loser.index - edge) * wad - co * scale * convert(mark, int256)",
    "return convert(max(fixed_point._floor_div(room, scale * (wad + direction * co)), 0), uint256)",
)
def reach(m: Any, loser: Side, edge: Number, closeout_margin: Number, mark: Number, direction: int) -> Number:
    """`_reach`."""
    room = (loser.index - edge) * WAD - closeout_margin * loser.scale * mark
    return m.most(floor_div(m, room, loser.scale * (WAD + direction * closeout_margin)), 0)


@quotes(
    "modules/settlement.vy",
    "room: int256 = self._threshold(L, 0, terms.closeout_margin, state.core.mark) - closed.threshold",
    "plan.index_drop = max(room, 0)",
)
def funding_reach(m: Any, loser: Side, edge: Number, closeout_margin: Number, mark: Number) -> Number:
    """The index drop of a funding move that the budget stopped."""
    return m.most(threshold(m, loser, 0, closeout_margin, mark) - edge, 0)


@quotes(
    "modules/settlement.vy", "return convert(convert(mark, int256) + direction * convert(distance, int256), uint256)"
)
def moved(mark: Number, distance: Number, direction: int) -> Number:
    """`_moved`."""
    return mark + direction * distance


@quotes(
    "modules/settlement.vy",
    "distance: uint256 = max(state.core.mark, target) - min(state.core.mark, target)",
    "index_drop=convert(state.sides[loser].scale * distance, int256),",
)
def distance_to(m: Any, mark: Number, target: Number) -> Number:
    """`distance` of `_towards`."""
    return m.most(mark, target) - m.least(mark, target)


@dataclass(frozen=True)
class Outcome:
    """What `_plan` makes of a move: exact quote of 54 digits, but for `covered`, which is quote."""

    gross: Number
    deficit: Number
    surplus: Number
    missed: Number
    bonus: Number
    covered: Number
    index_gain: Number
    winner_scale: Number
    to_insurance: Number  # quote


@quotes(
    "modules/settlement.vy",
    "plan.gross = L.shares * convert(plan.index_drop, uint256)",
    "value: int256 = closed.value - convert(closed.shares, int256) * plan.index_drop",
    "plan.deficit = min(convert(-value, uint256), plan.gross)",
    "plan.surplus = convert(value, uint256)",
    "plan.winner_scale = W.scale * (L.shares - closed.shares) // L.shares",
    "ended: uint256 = L.shares if plan.winner_scale < MIN_SCALE else closed.shares",
    "gap: int256 = convert(step.index_price, int256) - convert(plan.mark, int256)",
    "missed: uint256 = ended * L.scale * convert(max(gap, 0), uint256)",
    "plan.bonus = min(plan.surplus, missed)",
    "plan.adl_shortfall = missed - plan.bonus",
    "plan.covered = min(fixed_point._quote_up(plan.deficit), available)",
    "gain = plan.gross - plan.deficit + min(plan.covered * fixed_point.INDEX_UNIT, plan.deficit) + plan.bonus",
    "plan.index_gain = convert(gain // W.shares, int256)",
    "to_insurance: uint256 = plan.surplus - plan.bonus",
    "to_insurance += plan.gross - plan.deficit",
    "after.core.insurance_owed += to_insurance // fixed_point.INDEX_UNIT",
)
def closing(
    m: Any,
    loser: Side,
    winner: Side,
    index_drop: Number,
    closed_shares: Number,
    closed_value: Number,
    gap: Number,
    available: Number,
) -> Outcome:
    """The money of `_plan`, and what `_after` makes over to insurance, where buckets are closed and somebody wins.

    Args:
        closed_shares: of the buckets closed, above zero.
        closed_value: what they were worth before the move, exact quote.
        gap: what the way from the new mark to the index would still bring the winner, per size; negative: cost.
        available: what insurance may pay, quote.
    """
    gross = loser.shares * index_drop
    value = closed_value - closed_shares * index_drop
    deficit = m.choose(value < 0, m.least(-value, gross), 0)
    surplus = m.choose(value < 0, 0, value)
    winner_scale = m.quotient(winner.scale * (loser.shares - closed_shares), loser.shares)
    ended = m.choose(winner_scale < MIN_SCALE, loser.shares, closed_shares)
    missed = ended * loser.scale * m.most(gap, 0)
    bonus = m.least(surplus, missed)
    covered = m.choose(deficit > 0, m.least(quote_up(m, deficit), available), 0)
    gain = gross - deficit + m.least(covered * INDEX_UNIT, deficit) + bonus
    return Outcome(
        gross=gross,
        deficit=deficit,
        surplus=surplus,
        missed=missed,
        bonus=bonus,
        covered=covered,
        index_gain=m.quotient(gain, winner.shares),
        winner_scale=winner_scale,
        to_insurance=m.quotient(surplus - bonus, INDEX_UNIT),
    )


def closing_for_nobody(
    m: Any, loser: Side, index_drop: Number, closed_shares: Number, closed_value: Number
) -> tuple[Number, Number, Number]:
    """The same where nobody wins: gross, deficit, and what goes to insurance, quote."""
    gross = loser.shares * index_drop
    value = closed_value - closed_shares * index_drop
    deficit = m.choose(value < 0, m.least(-value, gross), 0)
    surplus = m.choose(value < 0, 0, value)
    return gross, deficit, m.quotient(surplus + gross - deficit, INDEX_UNIT)


# -------------------------------------------------------------------------------------------------------------- margin


@quotes("modules/margin.vy", "return fixed_point._ceil_div(shares * scale * mark, fixed_point.INDEX_UNIT)")
def notional(m: Any, shares: Number, scale: Number, mark: Number) -> Number:
    """`_notional`."""
    return ceil_div(m, shares * scale * mark, INDEX_UNIT)


@quotes("modules/margin.vy", "return fixed_point._ceil_div(notional * ratio, fixed_point.WAD)")
def requirement(m: Any, of_notional: Number, ratio: Number) -> Number:
    """`_requirement`."""
    return ceil_div(m, of_notional * ratio, WAD)


@quotes(
    "modules/margin.vy",
    "return min(initial_margin + exposure * slope // (insured + 1), fixed_point.WAD)",
)
def dynamic_margin(m: Any, initial_margin: Number, slope: Number, exposure: Number, insured: Number) -> Number:
    """`_initial`."""
    return m.least(initial_margin + m.quotient(exposure * slope, insured + 1), WAD)


@quotes("modules/margin.vy", "notional: uint256 = fixed_point._ceil_div(size * mark, fixed_point.WAD)")
def notional_of_size(m: Any, size: Number, mark: Number) -> Number:
    """Value of a size at the mark, quote, rounded up."""
    return ceil_div(m, size * mark, WAD)


@quotes(
    "modules/margin.vy",
    "moved: int256 = (convert(price, int256) - convert(mark, int256)) * convert(size, int256)",
    "gain: int256 = fixed_point._floor_div(moved if is_long else -moved, convert(fixed_point.WAD, int256))",
    "required: uint256 = self._requirement(fixed_point._ceil_div(size * price, fixed_point.WAD), ratio)",
    "return convert(collateral, int256) + gain < convert(required, int256)",
)
def is_below_at_mark(m: Any, collateral: Number, value: Number, ratio: Number) -> Any:
    """`_is_below` at the mark itself, where nothing is gained; `value` by `notional_of_size`."""
    return collateral < requirement(m, value, ratio)


@quotes(
    "modules/margin.vy",
    "lacking: uint256 = self._requirement(notional, initial_margin) - collateral",
    "lacking * fixed_point.WAD * fixed_point.WAD, (initial_margin - liquidation_fee) * mark",
    "limit = max(limit, fixed_point._ceil_div(min_notional * fixed_point.WAD, mark))",
    "if limit >= size or (size - limit) * mark < min_notional * fixed_point.WAD:",
)
def liquidable(
    m: Any, collateral: Number, size: Number, mark: Number, initial: Number, fee: Number, min_notional: Number
) -> tuple[Number, Number]:
    """`_liquidable`, and what would restore initial margin, before the smallest position has its say."""
    lacking = requirement(m, notional_of_size(m, size, mark), initial) - collateral
    restoring = ceil_div(m, lacking * WAD * WAD, (initial - fee) * mark)
    limit = m.most(restoring, ceil_div(m, min_notional * WAD, mark))
    cut = m.choose((size - limit) * mark < min_notional * WAD, size, limit)
    return m.choose(limit >= size, size, cut), restoring


# -------------------------------------------------------------------------------------------------------------- trades


@quotes("modules/accounts.vy", "traded.shares += size * fixed_point.WAD // scales[side]")
def shares_of_size(m: Any, size: Number, scale: Number) -> Number:
    """Shares that a size is, on the way in and out."""
    return m.quotient(size * WAD, scale)


@quotes("modules/accounts.vy", "held: uint256 = account.shares * scales[account.side] // fixed_point.WAD")
def size_of_shares(m: Any, shares: Number, scale: Number) -> Number:
    """Size that shares are, rounded down."""
    return m.quotient(shares * scale, WAD)


@quotes("modules/accounts.vy", "dust: uint256 = min_notional * fixed_point.WAD // (DUST_PART * mark)")
def dust(m: Any, min_notional: Number, mark: Number) -> Number:
    """Sizes that differ by at most so much are the same."""
    return m.quotient(min_notional * WAD, 10**6 * mark)


@quotes(
    "modules/accounts.vy",
    "if size + dust < held: traded.shares -= size * fixed_point.WAD // scales[account.side]",
    "elif size <= held + dust: traded.shares = 0",
    "traded.shares = (size - held) * fixed_point.WAD // scales[side]",
)
def traded_against(
    m: Any, shares: Number, scale: Number, other_scale: Number, size: Number, min_notional: Number, mark: Number
) -> tuple[Number, Number]:
    """`_trade` against an opposite position: what is left of its shares, and shares of the other side it turns to."""
    held = size_of_shares(m, shares, scale)
    slack = dust(m, min_notional, mark)
    reduced = shares - shares_of_size(m, size, scale)
    turned = shares_of_size(m, m.most(size - held, 0), other_scale)
    left = m.choose(size + slack < held, reduced, 0)
    return left, m.choose(size > held + slack, turned, 0)


@quotes(
    "TradingLogic.vy",
    "to_maker = (convert(mark, int256) - convert(order.limit_price, int256)) * convert(size, int256)",
    "collateral += fixed_point._floor_div(receives, convert(fixed_point.WAD, int256))",
    "fee: uint256 = min(due, convert(collateral, uint256))",
    "new.collateral = convert(collateral, uint256) - fee",
)
def party_pays(m: Any, collateral: Number, receives: Number, due: Number) -> tuple[Number, Number, Number]:
    """`_complete`: what a party has before its fee (the contract refuses less than nothing), the fee, what is left."""
    before_fee = collateral + floor_div(m, receives, WAD)
    fee = m.least(due, before_fee)
    return before_fee, fee, before_fee - fee


@quotes(
    "TradingLogic.vy",
    "margin._requirement(fixed_point._ceil_div(size * mark, fixed_point.WAD), PARAMETERS.fee_rate)",
    "margin._requirement(fixed_point._ceil_div(taken * mark, fixed_point.WAD), PARAMETERS.liquidation_fee),",
)
def fee_on(m: Any, size: Number, mark: Number, rate: Number) -> Number:
    """A fee on notional at the mark."""
    return requirement(m, notional_of_size(m, size, mark), rate)


@quotes("TradingLogic.vy", "old.collateral * (old.shares - account.new.shares) // old.shares,")
def collateral_of_part(m: Any, collateral: Number, old_shares: Number, new_shares: Number) -> Number:
    """The most a liquidation's fee may be: the collateral that belonged to what is taken over."""
    return m.quotient(collateral * (old_shares - new_shares), old_shares)


@quotes("TradingLogic.vy", "reward: uint256 = fee * PARAMETERS.liquidator_share // fixed_point.WAD")
def reward_of(m: Any, fee: Number, share: Number) -> Number:
    """The liquidator's part of the fee."""
    return m.quotient(fee * share, WAD)


# ------------------------------------------------------------------------------------------------------------- funding


@quotes("modules/funding.vy", "return max(min(amount, most), -most)")
def clamp(m: Any, amount: Number, limit: Number) -> Number:
    """`_clamp`."""
    return m.most(m.least(amount, limit), -limit)


@quotes(
    "modules/funding.vy",
    "over_mark: int256 = convert(price, int256) - convert(mark, int256)",
    "return self._clamp(over_mark * convert(size, int256) // convert(fixed_point.WAD, int256), fees)",
)
def premium_of(m: Any, size: Number, price: Number, mark: Number, fees: Number) -> Number:
    """`_premium`."""
    return clamp(m, m.truncated((price - mark) * size, WAD), fees)


@quotes(
    "modules/funding.vy",
    "value: uint256 = sides._open_interest(payer) * state.core.mark // fixed_point.WAD",
    "return self._clamp(state.core.premium, value * max_funding // fixed_point.WAD)",
)
def bounded_premium(m: Any, premium: Number, payer: Side, mark: Number, max_funding: Number) -> Number:
    """`_bounded`."""
    value = m.quotient(open_interest(m, payer) * mark, WAD)
    return clamp(m, premium, m.quotient(value * max_funding, WAD))


@quotes("modules/sides.vy", "return side.shares * side.scale // fixed_point.WAD")
def open_interest(m: Any, side: Side) -> Number:
    """`_open_interest`."""
    return size_of_shares(m, side.shares, side.scale)


@quotes(
    "modules/funding.vy",
    "core.premium = core.premium * convert(left, int256) // unit",
    "due += (state.core.premium - core.premium) * unit // convert(shares, int256)",
    "return core, self._clamp(due, max_funding * payer.scale * core.mark // fixed_point.WAD)",
)
def accrued(
    m: Any, premium: Number, left: Number, payer: Side, mark: Number, max_funding: Number
) -> tuple[Number, Number]:
    """`_accrue` where no earlier funding was stopped: the premium that is left, and what is due per share."""
    remains = m.truncated(premium * left, INDEX_UNIT)
    due = m.truncated((premium - remains) * INDEX_UNIT, payer.shares)
    return remains, clamp(m, due, most_funding(m, payer, mark, max_funding))


def most_funding(m: Any, payer: Side, mark: Number, max_funding: Number) -> Number:
    """The most a settlement takes of a share of the payers."""
    return m.quotient(max_funding * payer.scale * mark, WAD)


# ------------------------------------------------------------------------------------------------------------- breaker


@quotes(
    "modules/breaker.vy",
    "most: uint256 = mark * max_price_step // fixed_point.WAD",
    "target: uint256 = max(index_price, mark - most)",
    "return max(target, step_target) if step_target < mark else target",
    "target: uint256 = min(index_price, mark + most)",
    "return min(target, step_target) if step_target > mark else target",
)
def target(m: Any, mark: Number, index_price: Number, step_target: Number, max_price_step: Number) -> Number:
    """`_target`."""
    step = m.quotient(mark * max_price_step, WAD)
    down = m.most(index_price, mark - step)
    up = m.least(index_price, mark + step)
    return m.choose(
        index_price < mark,
        m.choose(step_target < mark, m.most(down, step_target), down),
        m.choose(step_target > mark, m.least(up, step_target), up),
    )


# ----------------------------------------------------------------------------------------------------------- insurance


@quotes(
    "InsuranceVault.vy",
    "return math._mul_div(assets, erc20.totalSupply + SHARE_OFFSET, total_assets + 1, roundup)",
)
def vault_shares_down(m: Any, assets: Number, supply: Number, total_assets: Number) -> Number:
    """`_shares_for`, rounded down."""
    return m.quotient(assets * (supply + 10**6), total_assets + 1)


def vault_shares_up(m: Any, assets: Number, supply: Number, total_assets: Number) -> Number:
    """`_shares_for`, rounded up."""
    return ceil_div(m, assets * (supply + 10**6), total_assets + 1)


@quotes(
    "InsuranceVault.vy",
    "return math._mul_div(shares, total_assets + 1, erc20.totalSupply + SHARE_OFFSET, roundup)",
)
def vault_assets_down(m: Any, shares: Number, supply: Number, total_assets: Number) -> Number:
    """`_assets_for`, rounded down."""
    return m.quotient(shares * (total_assets + 1), supply + 10**6)


def vault_assets_up(m: Any, shares: Number, supply: Number, total_assets: Number) -> Number:
    """`_assets_for`, rounded up."""
    return ceil_div(m, shares * (total_assets + 1), supply + 10**6)


@quotes(
    "InsuranceVault.vy",
    "return reserve._held() + staticcall IPerpetualMarket(market).insurance_owed() // TOKEN_SCALE",
)
def total_assets(m: Any, held: Number, owed: Number, token_scale: Number) -> Number:
    """`_total_assets`, token units."""
    return held + m.quotient(owed, token_scale)


@quotes(
    "InsuranceVault.vy",
    "if amount > owed: transfer = fixed_point._ceil_div(amount - owed, TOKEN_SCALE)",
    "reserve._release(transfer)",
    "return transfer * TOKEN_SCALE",
)
@quotes(
    "modules/settlement.vy",
    "core.insurance_owed += extcall terms.insurance.cover(plan.covered, core.insurance_owed)",
    "core.insurance_owed -= plan.covered",
)
def cover(m: Any, amount: Number, held: Number, owed: Number, token_scale: Number) -> tuple[Number, Number, Number]:
    """`cover`, as the market books it: what the vault sends, what it holds after, what it is owed after."""
    transfer = m.choose(amount > owed, ceil_div(m, m.most(amount - owed, 0), token_scale), 0)
    return transfer, held - transfer, owed + transfer * token_scale - amount


@quotes(
    "PerpetualMarket.vy",
    "amount: uint256 = core.insurance_owed // TOKEN_SCALE",
    "core.insurance_owed -= amount * TOKEN_SCALE",
)
def sweep(m: Any, held: Number, owed: Number, token_scale: Number) -> tuple[Number, Number]:
    """`sweep`: what the vault holds after, and what it is owed after."""
    amount = m.quotient(owed, token_scale)
    return held + amount, owed - amount * token_scale


@quotes("modules/reserve.vy", "return assets * draw_cap // fixed_point.WAD")
def capped(m: Any, assets: Number, draw_cap: Number) -> Number:
    """`_capped`."""
    return m.quotient(assets * draw_cap, WAD)


@quotes(
    "modules/reserve.vy",
    "return min(self._capped(self._low(self._window)) - (self._window >> 128), cap)",
)
def drawable(m: Any, assets: Number, window_assets: Number, drawn: Number, draw_cap: Number) -> Number:
    """`_drawable` in a window that is not over."""
    return m.least(capped(m, window_assets, draw_cap) - drawn, capped(m, assets, draw_cap))


@quotes("modules/redemptions.vy", "return math._mul_div(request.worth, shares, request.shares, False)")
def request_part(m: Any, worth: Number, part: Number, requested: Number) -> Number:
    """`_capped` of a request: the most that a part of its shares brings."""
    return m.quotient(worth * part, requested)


@quotes("modules/redemptions.vy", "return math._mul_div(assets, request.shares, request.worth, True)")
def request_shares(m: Any, assets: Number, requested: Number, worth: Number) -> Number:
    """`_shares_of`: the fewest shares of a request that bring so much."""
    return ceil_div(m, assets * requested, worth)
