# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize gas
"""
@title Trading logic
@license AGPL-3.0-only
@notice What trades and liquidations do to accounts (design §5, §6). Code of the market that its own contract has no room
        for: the market settles, then runs this by delegatecall, in its own storage and in its own name. Called directly
        it works on its own storage, where nothing is.
@dev The modules below must be initialized in the market's order, so that both have one storage layout; a test compares
     them. No immutables: what a deployment fixes is asked of the market.
"""

from .interfaces import IInsuranceVault
from .interfaces import IPerpetualMarket
from .modules import accounts
from .modules import breaker
from .modules import buckets
from .modules import errors
from .modules import fixed_point
from .modules import funding
from .modules import margin
from .modules import modes
from .modules import settlement
from .modules import sides

initializes: sides
initializes: buckets
initializes: settlement[buckets := buckets, sides := sides]
initializes: accounts[buckets := buckets, sides := sides]
initializes: breaker
initializes: modes

# Open interest of a side stays below this, 18 digits (design §11; see `packing`).
MAX_OPEN_INTEREST: constant(uint256) = 2**96


# One party of a trade: as loaded, as it will stand, and whether its position only shrank.
struct Party:
    old: accounts.Account
    new: accounts.Account
    reduced: bool


# -------------------------------------------------------------------------------------------------------------- trades


@external
def trade(taker: address, trades: DynArray[IPerpetualMarket.Trade, 16]):
    p: IPerpetualMarket.Parameters = staticcall IPerpetualMarket(self).parameters()
    state: sides.State = sides._load()
    for one: IPerpetualMarket.Trade in trades:
        state = funding._bounded(self._match(one, taker, p, state), p.max_funding)
    sides._store(state)


@internal
def _match(
    one: IPerpetualMarket.Trade, taker: address, p: IPerpetualMarket.Parameters, before: sides.State
) -> sides.State:
    """
    @notice One fill: both positions first, because margin for new risk depends on the open interest after it.
    """
    state: sides.State = before
    size: uint256 = one.size
    mark: uint256 = state.core.mark
    errors._require(size < MAX_OPEN_INTEREST, errors.POSITION_RANGE)
    distance: uint256 = max(one.price, mark) - min(one.price, mark)
    errors._require(distance <= mark * p.price_band // fixed_point.WAD, errors.ORDER_BAND)

    interest_before: uint256 = self._open_interest(state)
    maker: Party = empty(Party)
    other: Party = empty(Party)
    state, maker = self._adjust(one.maker, one.is_long, size, p.min_notional, state)
    state, other = self._adjust(taker, not one.is_long, size, p.min_notional, state)
    errors._require(maker.reduced or not one.reduce_only, errors.ORDER_REDUCE_ONLY)
    interest: uint256 = self._open_interest(state)
    errors._require(interest < MAX_OPEN_INTEREST, errors.POSITION_RANGE)
    ratio: uint256 = self._risk(state, p, interest, interest > interest_before, maker.reduced and other.reduced)

    # Price against mark: whoever trades at the better price is paid by the other. Floored for both, so against both.
    against_mark: int256 = (convert(mark, int256) - convert(one.price, int256)) * convert(size, int256)
    to_maker: int256 = against_mark if one.is_long else -against_mark
    maker_fee: uint256 = 0
    taker_fee: uint256 = 0
    state, maker_fee = self._complete(one.maker, maker, to_maker, size, ratio, p, state)
    state, taker_fee = self._complete(taker, other, -to_maker, size, ratio, p, state)
    state.core.insurance_owed += maker_fee + taker_fee
    state.core.premium += funding._premium(size, one.price, mark, maker_fee + taker_fee)
    state.core.accrued_at = block.timestamp
    log IPerpetualMarket.Traded(
        order_hash=one.order_hash,
        maker=one.maker,
        taker=taker,
        is_long=one.is_long,
        size=size,
        price=one.price,
        mark=mark,
        maker_fee=maker_fee,
        taker_fee=taker_fee,
    )
    return state


@internal
@view
def _risk(
    state: sides.State, p: IPerpetualMarket.Parameters, interest: uint256, grew: bool, only_reduced: bool
) -> uint256:
    """
    @notice What a fill must meet on account of the market as a whole (design §9): mode and open-interest cap.
    @return Initial margin for new risk.
    """
    if only_reduced:
        return p.initial_margin
    errors._require(not modes._is_reduce_only(state.core), errors.MODE_REDUCE_ONLY)
    if p.margin_slope | p.oi_multiple == 0:
        return p.initial_margin
    market: IPerpetualMarket = IPerpetualMarket(self)
    held: uint256 = staticcall IInsuranceVault(staticcall market.INSURANCE()).held()
    insured: uint256 = held * staticcall market.TOKEN_SCALE() + state.core.insurance_owed
    exposure: uint256 = interest * state.core.mark // fixed_point.WAD
    if grew and p.oi_multiple > 0:
        errors._require(
            exposure <= insured * p.oi_multiple // fixed_point.WAD, errors.MARGIN_OPEN_INTEREST
        )
    return margin._initial(p.initial_margin, p.margin_slope, exposure, insured)


@internal
@pure
def _open_interest(state: sides.State) -> uint256:
    return max(sides._open_interest(state.sides[0]), sides._open_interest(state.sides[1]))


@internal
@view
def _adjust(
    owner: address, is_long: bool, size: uint256, min_notional: uint256, before: sides.State
) -> (sides.State, Party):
    """
    @notice One party's position after a trade, not yet stored.
    @return The state with the side totals moved.
    """
    state: sides.State = before
    old: accounts.Account = accounts._load(owner, state)
    new: accounts.Account = accounts._trade(old, is_long, size, min_notional, state)
    state.sides[old.side].shares -= old.shares
    state.sides[new.side].shares += new.shares
    reduced: bool = old.shares > 0 and (new.shares == 0 or (new.side == old.side and new.shares < old.shares))
    return state, Party(old=old, new=new, reduced=reduced)


@internal
def _complete(
    owner: address,
    party: Party,
    receives: int256,
    charged: uint256,
    ratio: uint256,
    p: IPerpetualMarket.Parameters,
    state: sides.State,
) -> (sides.State, uint256):
    """
    @notice The money of one party: price against mark, fee, margin; then stores it.
    @param receives Exact quote of 36 digits.
    @param charged Size that the fee is taken on.
    @param ratio Initial margin, if risk was added.
    @return The state, and the fee collected, quote.
    """
    old: accounts.Account = party.old
    new: accounts.Account = party.new
    mark: uint256 = state.core.mark
    collateral: int256 = convert(old.collateral, int256) + fixed_point._floor_div(
        receives, convert(fixed_point.WAD, int256)
    )
    errors._require(collateral >= 0, errors.MARGIN_COLLATERAL)
    new.collateral = convert(collateral, uint256)
    # What an account does not have is not collected, and only what is collected is credited.
    notional: uint256 = fixed_point._ceil_div(charged * mark, fixed_point.WAD)
    fee: uint256 = min(margin._requirement(notional, p.fee_rate), new.collateral)
    new.collateral -= fee

    if new.shares > 0:
        notional = self._require_minimum(new, p.min_notional, state)
        if party.reduced:
            margin._require_health(new.collateral, new.shares, old.collateral, old.shares)
        else:
            margin._require_initial(new.collateral, notional, ratio)
    level: uint256 = accounts._level(new, p.bucket_width, state)
    if party.reduced:
        level = accounts._narrower_level(old, p.bucket_width, state)
    return accounts._store(owner, old, new, level, state), fee


@internal
@view
def _require_minimum(held: accounts.Account, min_notional: uint256, state: sides.State) -> uint256:
    """
    @return Notional of what is held, quote, rounded up.
    """
    notional: uint256 = margin._notional(held.shares, state.sides[held.side].scale, state.core.mark)
    errors._require(held.shares == 0 or notional >= min_notional, errors.POSITION_MINIMUM)
    return notional


# --------------------------------------------------------------------------------------------------------- liquidation


@external
def liquidate(owner: address, size: uint256) -> uint256:
    p: IPerpetualMarket.Parameters = staticcall IPerpetualMarket(self).parameters()
    state: sides.State = sides._load()
    mark: uint256 = state.core.mark
    old: accounts.Account = accounts._load(owner, state)
    is_long: bool = old.side == sides.LONG
    held: uint256 = old.shares * state.sides[old.side].scale // fixed_point.WAD
    errors._require(owner != msg.sender, errors.LIQUIDATION_SELF)

    # Below maintenance at the mark, and while that lags also at the index.
    below: bool = margin._is_below(old.collateral, is_long, held, mark, mark, p.maintenance_margin)
    if below and state.core.conditions & modes.LAGGING != 0:
        below = margin._is_below(
            old.collateral, is_long, held, mark, breaker._lag.index_price, p.maintenance_margin
        )
    errors._require(below, errors.LIQUIDATION_HEALTHY)
    taken: uint256 = min(
        size,
        margin._liquidable(
            old.collateral,
            held,
            mark,
            p.initial_margin,
            p.liquidation_fee,
            p.min_notional,
        ),
    )
    errors._require(taken > 0, errors.ORDER_ZERO_SIZE)

    # The fee leaves the account as healthy as it was: at most the collateral of what is taken over.
    party: Party = empty(Party)
    state, party = self._adjust(owner, not is_long, taken, p.min_notional, state)
    fee: uint256 = min(
        margin._requirement(fixed_point._ceil_div(taken * mark, fixed_point.WAD), p.liquidation_fee),
        old.collateral * (old.shares - party.new.shares) // old.shares,
    )
    reward: uint256 = fee * p.liquidator_share // fixed_point.WAD
    party.new.collateral -= fee
    self._require_minimum(party.new, p.min_notional, state)
    state = accounts._store(owner, old, party.new, accounts._narrower_level(old, p.bucket_width, state), state)

    state, party = self._adjust(msg.sender, is_long, taken, p.min_notional, state)
    received: int256 = convert(reward * fixed_point.WAD, int256)
    no_fee: uint256 = 0
    state, no_fee = self._complete(msg.sender, party, received, 0, p.initial_margin, p, state)
    state.core.insurance_owed += fee - reward
    sides._store(funding._bounded(state, p.max_funding))
    log IPerpetualMarket.Liquidated(account=owner, liquidator=msg.sender, size=taken, mark=mark, fee=fee, reward=reward)
    return taken
