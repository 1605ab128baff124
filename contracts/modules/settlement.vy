# pragma version 0.4.3
"""
@title Settlement
@license AGPL-3.0-only
@notice The price move itself is the settlement (design §3). One `move` lets one side lose `distance` per unit of size to
        the other, finds every account that this bankrupts, draws on insurance, and pays the winners what is really there.

        Derivation. L loses, W wins; N shares, A scale, K index. Before the move every live account has equity >= 0.

            dK    = A_L * distance              what a share of L loses
            gross = N_L * dK                    what L should pay

        An account of L is worth E = n * K_L - m after the move, m fixed at its last touch. If E < 0 it pays all it had,
        which is its part of gross less -E. So L really pays  gross - deficit,  where deficit is the sum of -E over the
        accounts under zero; and because each of them had E >= 0 before, -E is at most its part of gross:

            deficit <= gross      so      winners' gain = (gross - deficit + covered) / N_W >= 0            (S2)

        The accounts under zero need not be looked for one by one. An account is under zero when K_L falls below its
        bankruptcy index, and accounts are filed in buckets by it. All buckets that reach above

            T = K_L - co * A_L * mark           co: close-out margin

        are closed whole. What their members have left (close-out margin, up to one bucket width more) first pays for
        members that are under zero, then winners who are deleveraged while the mark still lags the index (`bonus`), then
        goes to the vault. What was closed on L shrinks every position of W by one factor, N_L after / N_L before.

        A move may close only so many buckets. One that would need more is stopped at the largest distance that keeps T
        at or above the upper edge of the first bucket left open, and is then a move like any other.

        All money inside a move is exact quote, 54 digits: shares (18) * index (36). Nothing is rounded before the end:
        the vault is credited rounded down and asked rounded up, the winners' index is rounded down.
"""

from snekmate.utils import math

from ..interfaces import IInsuranceVault
from ..interfaces import IPerpetualMarket
from . import buckets
from . import fixed_point
from . import modes
from . import packing
from . import sides

uses: buckets
uses: sides

# Below this scale positions would lose digits: both sides close and start again at scale 1 (design §11).
MIN_SCALE: constant(uint256) = 10**14
# Likewise at the edge of the index's 160 bits; one move changes a loser's index by less than 2**142. A winner's may go as
# far as next to no shares can take it, and its epoch is over then.
MAX_INDEX: constant(int256) = 2**156

# How a unit of distance moves the mark.
PRICE_FALLS: constant(int256) = -1
PRICE_RISES: constant(int256) = 1
FUNDING: constant(int256) = 0


struct Terms:
    closeout_margin: uint256  # co, 18 digits
    max_buckets: uint256
    max_words: uint256
    cooloff: uint256  # seconds
    insurance: IInsuranceVault


# d of the design: how far, and who loses.
struct Step:
    loser: uint256
    direction: int256  # of the mark: PRICE_FALLS, PRICE_RISES or FUNDING
    distance: uint256  # |d| of a price move, quote per size, 18 digits
    index_drop: int256  # dK, quote per share of the losers, 36 digits
    index_price: uint256  # where the mark is going: the gap still open after the move is what deleveraged winners miss


# One move, planned: every number of §3, before anything is written.
struct Plan:
    mark: uint256  # after
    index_drop: int256  # dK after a stop, 36 digits
    threshold: int256  # T, or the edge where the budget ended
    scanned: bool
    stopped: bool
    buckets: uint256
    words: uint256
    closed_shares: uint256
    gross: uint256  # exact quote, like the next four
    deficit: uint256
    surplus: uint256
    bonus: uint256
    adl_shortfall: uint256
    covered: uint256  # quote
    index_gain: int256  # of W, 36 digits
    winner_scale: uint256  # A_W after


# What the caller of a move has to know of it.
struct Done:
    index_drop: int256  # 36 digits
    stopped: bool
    buckets: uint256
    words: uint256


# A move that closes nobody: the mark and two indices, nothing else.
event Moved:
    loser: indexed(uint256)  # 0 longs, 1 shorts
    funding: indexed(bool)
    mark_before: uint256
    mark_after: uint256
    index_price: uint256
    gross: uint256  # as in a receipt
    open_interest: uint256
    long_index: int256
    short_index: int256


# A move that closes buckets.
event Settled:
    loser: indexed(uint256)  # 0 longs, 1 shorts
    funding: indexed(bool)
    mark_before: uint256
    mark_after: uint256
    index_price: uint256
    receipt: IPerpetualMarket.Receipt
    long_index: int256
    short_index: int256
    long_scale: uint256
    short_scale: uint256


# What winners have gone without since the market began, quote: of their gain, and by being deleveraged at a lagging mark.
total_socialized: public(uint256)
total_adl_shortfall: public(uint256)


@internal
@pure
def _threshold(loser: packing.Side, index_drop: int256, closeout_margin: uint256, mark: uint256) -> int256:
    """
    @notice T after a move, 36 digits. The close-out margin is rounded down, so T up: rather one bucket more.
    """
    return loser.index - index_drop - convert(closeout_margin * loser.scale * mark // fixed_point.WAD, int256)


@internal
@pure
def _reach(loser: packing.Side, edge: int256, closeout_margin: uint256, mark: uint256, direction: int256) -> uint256:
    """
    @notice The largest distance after which T is still at or above `edge`; 0 if it is below already.
    @dev Per unit of distance T falls by A for the loss, and by co * A more (shorts) or less (longs) as the mark moves.
    """
    wad: int256 = convert(fixed_point.WAD, int256)
    co: int256 = convert(closeout_margin, int256)
    scale: int256 = convert(loser.scale, int256)
    room: int256 = (loser.index - edge) * wad - co * scale * convert(mark, int256)
    return convert(max(fixed_point._floor_div(room, scale * (wad + direction * co)), 0), uint256)


@internal
@pure
def _moved(mark: uint256, distance: uint256, direction: int256) -> uint256:
    return convert(convert(mark, int256) + direction * convert(distance, int256), uint256)


@internal
@pure
def _towards(state: sides.State, target: uint256, index_price: uint256) -> Step:
    """
    @notice The step that takes the mark to a price on its way to the index.
    """
    loser: uint256 = sides.SHORT
    direction: int256 = PRICE_RISES
    if target < state.core.mark:
        loser = sides.LONG
        direction = PRICE_FALLS
    distance: uint256 = max(state.core.mark, target) - min(state.core.mark, target)
    return Step(
        loser=loser,
        direction=direction,
        distance=distance,
        index_drop=convert(state.sides[loser].scale * distance, int256),
        index_price=index_price,
    )


@internal
@pure
def _funding(due: int256, index_price: uint256) -> Step:
    """
    @notice The step that takes what is due from its payers.
    @param due Quote per share of the payers, 36 digits; positive: of longs, negative: of shorts.
    """
    return Step(
        loser=sides.LONG if due > 0 else sides.SHORT,
        direction=FUNDING,
        distance=0,
        index_drop=abs(due),
        index_price=index_price,
    )


@internal
@view
def _plan(state: sides.State, terms: Terms, step: Step, ceiling: int256) -> Plan:
    """
    @notice Design §3, `move(d)`, without its writes.
    @param ceiling Buckets above it are closed already, although storage does not know yet (a preview of two moves).
    """
    L: packing.Side = state.sides[step.loser]
    W: packing.Side = state.sides[1 - step.loser]
    plan: Plan = empty(Plan)
    plan.winner_scale = W.scale

    # T, and every bucket of L above it; if the budget ends first, the move ends there.
    plan.mark = self._moved(state.core.mark, step.distance, step.direction)
    plan.index_drop = step.index_drop
    plan.threshold = self._threshold(L, plan.index_drop, terms.closeout_margin, plan.mark)
    closed: buckets.Scan = empty(buckets.Scan)
    if L.top > plan.threshold:
        plan.scanned = True
        closed = buckets._scan(
            sides._book(state.core.epoch, step.loser),
            L.index,
            ceiling,
            plan.threshold,
            terms.max_buckets,
            terms.max_words,
        )
        if closed.stopped:
            plan.stopped = True
            plan.threshold = closed.threshold
            if step.direction == FUNDING:
                room: int256 = self._threshold(L, 0, terms.closeout_margin, state.core.mark) - closed.threshold
                plan.index_drop = max(room, 0)
            else:
                distance: uint256 = self._reach(
                    L, closed.threshold, terms.closeout_margin, state.core.mark, step.direction
                )
                plan.mark = self._moved(state.core.mark, distance, step.direction)
                plan.index_drop = convert(L.scale * distance, int256)
    plan.buckets = closed.buckets
    plan.words = closed.words
    plan.closed_shares = closed.shares
    plan.gross = L.shares * convert(plan.index_drop, uint256)

    gain: uint256 = plan.gross
    if closed.shares > 0:
        # What the closed accounts are worth after the move: net deficit against surplus first.
        value: int256 = closed.value - convert(closed.shares, int256) * plan.index_drop
        if value < 0:
            # S2 up to the wei by which a member's debt was rounded up at filing: that wei is dust already, nobody's loss.
            plan.deficit = min(convert(-value, uint256), plan.gross)
        else:
            plan.surplus = convert(value, uint256)

        # Pro-rata deleverage at the new mark.
        plan.winner_scale = W.scale * (L.shares - closed.shares) // L.shares
        if W.shares > 0:
            # W is deleveraged at a mark that may still lag the index: what the rest of the way would bring it, but for
            # what is closed, is paid from the surplus. After funding the way may as well lead against W. If the scale
            # ends the epoch, all of L closes here, and W misses the rest of the way of all of it.
            ended: uint256 = L.shares if plan.winner_scale < MIN_SCALE else closed.shares
            gap: int256 = convert(step.index_price, int256) - convert(plan.mark, int256)
            if step.loser == sides.LONG:
                gap = -gap
            missed: uint256 = ended * L.scale * convert(max(gap, 0), uint256)
            plan.bonus = min(plan.surplus, missed)
            plan.adl_shortfall = missed - plan.bonus

            # Insurance covers what is left, as far as it may; with no winner there is nobody to cover.
            if plan.deficit > 0:
                available: uint256 = staticcall terms.insurance.drawable(state.core.insurance_owed)
                plan.covered = min(fixed_point._quote_up(plan.deficit), available)

        gain = plan.gross - plan.deficit + min(plan.covered * fixed_point.INDEX_UNIT, plan.deficit) + plan.bonus

    # The winners' gain per share: what the losers could pay, and what the vault covered.
    if W.shares > 0:
        plan.index_gain = convert(gain // W.shares, int256)
    return plan


@internal
@pure
def _receipt(before: packing.Side, plan: Plan) -> IPerpetualMarket.Receipt:
    """
    @param before The losing side.
    """
    left: packing.Side = before
    left.shares -= plan.closed_shares
    return IPerpetualMarket.Receipt(
        gross=fixed_point._quote_up(plan.gross),
        deficit=fixed_point._quote_up(plan.deficit),
        covered=plan.covered,
        surplus=plan.surplus // fixed_point.INDEX_UNIT,
        bonus=plan.bonus // fixed_point.INDEX_UNIT,
        adl_shortfall=fixed_point._quote_up(plan.adl_shortfall),
        closed_size=plan.closed_shares * left.scale // fixed_point.WAD,
        buckets_closed=plan.buckets,
        open_interest=sides._open_interest(left),
    )


@internal
@pure
def _after(state: sides.State, step: Step, plan: Plan) -> sides.State:
    """
    @notice The state after a planned move, but for what insurance pays.
    """
    winner: uint256 = 1 - step.loser
    after: sides.State = state
    after.core.mark = plan.mark
    after.sides[step.loser].index -= plan.index_drop
    after.sides[step.loser].shares -= plan.closed_shares
    after.sides[winner].index += plan.index_gain
    after.sides[winner].scale = plan.winner_scale

    # vault += surplus - bonus; with no winner, also what the losers paid.
    to_insurance: uint256 = plan.surplus - plan.bonus
    if state.sides[winner].shares == 0:
        to_insurance += plan.gross - plan.deficit
    if to_insurance > 0:
        after.core.insurance_owed += to_insurance // fixed_point.INDEX_UNIT
    return after


@internal
@pure
def _is_over(L: packing.Side, W: packing.Side, closed_shares: uint256) -> bool:
    """
    @notice Whether a move ends the epoch: L empty, or a number at the edge of its range. Both sides close at the mark,
            gains kept, and start afresh.
    @param L The sides after the move.
    """
    return (
        (closed_shares > 0 and L.shares == 0)
        or W.scale < MIN_SCALE
        or L.index < -MAX_INDEX
        or W.index > MAX_INDEX
    )


@internal
def _move(state: sides.State, terms: Terms, step: Step) -> (sides.State, Done):
    """
    @notice Plans a move and carries it out.
    @return The state after, which the caller stores, and what was done.
    """
    plan: Plan = self._plan(state, terms, step, max_value(int256))
    after: sides.State = self._after(state, step, plan)
    if plan.scanned:
        after.sides[step.loser].top = buckets._close(sides._book(state.core.epoch, step.loser), plan.threshold)
    if plan.closed_shares > 0:
        after.core = self._account_for(state, after, terms, step, plan)
    else:
        log Moved(
            loser=step.loser,
            funding=step.direction == FUNDING,
            mark_before=state.core.mark,
            mark_after=plan.mark,
            index_price=step.index_price,
            gross=fixed_point._quote_up(plan.gross),
            open_interest=sides._open_interest(state.sides[step.loser]),
            long_index=after.sides[sides.LONG].index,
            short_index=after.sides[sides.SHORT].index,
        )

    if self._is_over(after.sides[step.loser], after.sides[1 - step.loser], plan.closed_shares):
        after = sides._end_epoch(after)
    return after, Done(index_drop=plan.index_drop, stopped=plan.stopped, buckets=plan.buckets, words=plan.words)


@internal
def _account_for(
    state: sides.State, after: sides.State, terms: Terms, step: Step, plan: Plan
) -> IPerpetualMarket.Core:
    """
    @notice What follows from closing buckets: insurance pays, losses are counted, the receipt is written.
    @return The core after.
    """
    core: IPerpetualMarket.Core = after.core
    # The vault pays out of what it is owed first; what it sends beyond that is whole token units, the change owed to it.
    if plan.covered > 0:
        core.insurance_owed += extcall terms.insurance.cover(plan.covered, core.insurance_owed)
        core.insurance_owed -= plan.covered

    receipt: IPerpetualMarket.Receipt = self._receipt(state.sides[step.loser], plan)
    if receipt.deficit > receipt.covered:
        self.total_socialized += receipt.deficit - receipt.covered
        # A haircut of a basis point trips the market (design §8).
        if receipt.deficit - receipt.covered >= receipt.gross // modes.TRIP:
            core.reduce_only_until = block.timestamp + terms.cooloff
    if receipt.adl_shortfall > 0:
        self.total_adl_shortfall += receipt.adl_shortfall

    log Settled(
        loser=step.loser,
        funding=step.direction == FUNDING,
        mark_before=state.core.mark,
        mark_after=plan.mark,
        index_price=step.index_price,
        receipt=receipt,
        long_index=after.sides[sides.LONG].index,
        short_index=after.sides[sides.SHORT].index,
        long_scale=after.sides[sides.LONG].scale,
        short_scale=after.sides[sides.SHORT].scale,
    )
    return core
