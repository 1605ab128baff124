# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize gas
"""
@title Trading logic
@license AGPL-3.0-only
@notice Orders, what trades and liquidations do to accounts, and the ways into other modes (design §5, §6, §8). Code of
        the market that its own contract has no room for: the market locks itself and runs this by delegatecall, in its
        own storage and in its own name. Called directly it works on its own storage, where nothing is. Every market
        has its own.
@dev The modules below must be initialized in the market's order, so that both have one storage layout; a test compares
     them. Feed and parameters are immutables of this code too: the market checks that they are its own.
"""

from .interfaces import IInsuranceVault
from .interfaces import IOrderBook
from .interfaces import IPerpetualMarket
from .modules import accounts
from .modules import breaker
from .modules import buckets
from .modules import errors
from .modules import fixed_point
from .modules import funding
from .modules import index
from .modules import margin
from .modules import modes
from .modules import oracle
from .modules import orders
from .modules import packing
from .modules import settlement
from .modules import sides

initializes: oracle
initializes: sides
initializes: buckets
initializes: settlement[buckets := buckets, sides := sides]
initializes: accounts[buckets := buckets, sides := sides]
initializes: breaker
initializes: index[breaker := breaker, oracle := oracle]
initializes: modes
initializes: orders

# Open interest of a side stays below this, 18 digits (design §11; see `packing`).
MAX_OPEN_INTEREST: constant(uint256) = 2**96


PARAMETERS: immutable(IPerpetualMarket.Parameters)


# One party of a trade: as loaded, as it will stand, and whether its position only shrank.
struct Party:
    old: accounts.Account
    new: accounts.Account
    reduced: bool


@deploy
def __init__(feed: address, p: IPerpetualMarket.Parameters):
    PARAMETERS = p
    oracle.__init__(feed, p.max_staleness)
    orders.__init__()


@external
@view
def terms_hash() -> bytes32:
    """
    @notice By which the market sees that this is its own.
    """
    return keccak256(abi_encode(oracle.FEED.address, PARAMETERS))


# -------------------------------------------------------------------------------------------------------------- trades


@external
def fill(order: IOrderBook.Order, signature: Bytes[65], size: uint256):
    order_hash: bytes32 = orders._take(order, signature, size, msg.sender, accounts._min_nonce(order.maker))
    sides._store_traded(self._match(order, order_hash, size, self._settled(False)))


@external
def fill_batch(fills: DynArray[IOrderBook.Fill, 16]):
    # All signatures first: a maker's own code must not run between one fill and the next.
    hashes: DynArray[bytes32, 16] = []
    for one: IOrderBook.Fill in fills:
        min_nonce: uint256 = accounts._min_nonce(one.order.maker)
        hashes.append(orders._take(one.order, one.signature, one.size, msg.sender, min_nonce))
    state: sides.State = self._settled(False)
    at: uint256 = 0
    for one: IOrderBook.Fill in fills:
        state = self._match(one.order, hashes[at], one.size, state)
        at += 1
    sides._store_traded(state)


@external
def cancel(order: IOrderBook.Order):
    orders._cancel(order, msg.sender)


@external
def cancel_all(min_nonce: uint256):
    assert min_nonce > accounts._min_nonce(msg.sender), errors.ORDER_NONCE
    accounts._set_min_nonce(msg.sender, min_nonce)
    log IOrderBook.NonceRaised(maker=msg.sender, min_nonce=min_nonce)


@internal
def _settled(may_lag: bool) -> sides.State:
    """
    @notice The state, settled if there is anything to settle.
    @param may_lag Whether the caller can do with a mark that has not reached the index.
    """
    state: sides.State = sides._load()
    index_price: uint256 = index._pending(state.core)
    if index_price == 0:
        return state
    caught_up: bool = extcall IPerpetualMarket(self).settle_to(index_price)
    assert caught_up or may_lag, errors.MODE_CATCH_UP
    return sides._load()


@internal
def _match(order: IOrderBook.Order, order_hash: bytes32, size: uint256, before: sides.State) -> sides.State:
    """
    @notice One fill: both positions first, because margin for new risk depends on the open interest after it.
    """
    taker: address = msg.sender
    mark: uint256 = before.core.mark
    assert before.core.conditions & modes.CLOSED == 0, errors.MODE_CLOSED
    assert size < MAX_OPEN_INTEREST, errors.POSITION_RANGE
    distance: uint256 = max(order.limit_price, mark) - min(order.limit_price, mark)
    assert distance <= mark * PARAMETERS.price_band // fixed_point.WAD, errors.ORDER_BAND

    maker: Party = self._party(order.maker, order.is_long, size, before)
    other: Party = self._party(taker, not order.is_long, size, before)
    assert maker.reduced or not order.reduce_only, errors.ORDER_REDUCE_ONLY
    state: sides.State = before
    totals: uint256[2] = self._totals(maker, other, [before.sides[0].shares, before.sides[1].shares])
    state.sides[0].shares = totals[0]
    state.sides[1].shares = totals[1]
    interest: uint256 = self._open_interest(state.sides[0], state.sides[1])
    assert interest < MAX_OPEN_INTEREST, errors.POSITION_RANGE
    grew: bool = PARAMETERS.oi_multiple > 0 and interest > self._open_interest(before.sides[0], before.sides[1])
    ratio: uint256 = PARAMETERS.initial_margin
    if not (maker.reduced and other.reduced):
        assert not modes._is_reduce_only(state.core), errors.MODE_REDUCE_ONLY
        if PARAMETERS.margin_slope | PARAMETERS.oi_multiple > 0:
            ratio = self._dynamic_margin(state.core, interest, grew)

    # Price against mark: whoever trades at the better price is paid by the other. Floored for both, so against both.
    to_maker: int256 = 0
    if order.limit_price != mark:
        to_maker = (convert(mark, int256) - convert(order.limit_price, int256)) * convert(size, int256)
        if not order.is_long:
            to_maker = -to_maker
    fee: uint256 = margin._requirement(fixed_point._ceil_div(size * mark, fixed_point.WAD), PARAMETERS.fee_rate)
    maker_fee: uint256 = 0
    taker_fee: uint256 = 0
    edge: int256 = 0
    seen: packing.Side = state.sides[maker.new.side]
    edge, maker_fee = self._complete(order.maker, maker, to_maker, fee, ratio, seen, mark, state.core.epoch)
    state.sides[maker.new.side].top = max(seen.top, edge)
    seen = state.sides[other.new.side]
    edge, taker_fee = self._complete(taker, other, -to_maker, fee, ratio, seen, mark, state.core.epoch)
    state.sides[other.new.side].top = max(seen.top, edge)

    state.core.insurance_owed += maker_fee + taker_fee
    if order.limit_price != mark:
        state.core.premium += funding._premium(size, order.limit_price, mark, maker_fee + taker_fee)
    if state.core.premium != 0:
        state.core.accrued_at = block.timestamp
        state.core.premium = funding._bounded(state, PARAMETERS.max_funding)
    log IPerpetualMarket.Traded(
        order_hash=order_hash,
        maker=order.maker,
        taker=taker,
        is_long=order.is_long,
        size=size,
        price=order.limit_price,
        mark=mark,
        maker_fee=maker_fee,
        taker_fee=taker_fee,
    )
    return state


@internal
@view
def _dynamic_margin(core: IPerpetualMarket.Core, interest: uint256, grew: bool) -> uint256:
    """
    @notice What new risk must meet on account of the market as a whole (design §9); reverts above the open-interest cap.
    @param grew Whether there is a cap and the fill comes nearer to it.
    @return Initial margin for new risk.
    """
    market: IPerpetualMarket = IPerpetualMarket(self)
    held: uint256 = staticcall IInsuranceVault(staticcall market.INSURANCE()).held()
    insured: uint256 = held * staticcall market.TOKEN_SCALE() + core.insurance_owed
    exposure: uint256 = interest * core.mark // fixed_point.WAD
    if grew:
        assert exposure <= insured * PARAMETERS.oi_multiple // fixed_point.WAD, errors.MARGIN_OPEN_INTEREST
    return margin._initial(PARAMETERS.initial_margin, PARAMETERS.margin_slope, exposure, insured)


@internal
@pure
def _open_interest(longs: packing.Side, shorts: packing.Side) -> uint256:
    return max(sides._open_interest(longs), sides._open_interest(shorts))


@internal
@view
def _party(owner: address, is_long: bool, size: uint256, state: sides.State) -> Party:
    """
    @notice One party's position before and after a trade; nothing is stored.
    """
    old: accounts.Account = accounts._load(owner, state)
    new: accounts.Account = accounts._trade(
        old, is_long, size, PARAMETERS.min_notional, [state.sides[0].scale, state.sides[1].scale], state.core.mark
    )
    reduced: bool = old.shares > 0 and (new.shares == 0 or (new.side == old.side and new.shares < old.shares))
    return Party(old=old, new=new, reduced=reduced)


@internal
@pure
def _totals(maker: Party, taker: Party, before: uint256[2]) -> uint256[2]:
    """
    @return The shares of both sides after a trade.
    """
    totals: uint256[2] = before
    totals[maker.old.side] -= maker.old.shares
    totals[maker.new.side] += maker.new.shares
    totals[taker.old.side] -= taker.old.shares
    totals[taker.new.side] += taker.new.shares
    return totals


@internal
def _complete(
    owner: address,
    party: Party,
    receives: int256,
    due: uint256,
    ratio: uint256,
    seen: packing.Side,
    mark: uint256,
    epoch: uint256,
) -> (int256, uint256):
    """
    @notice The money of one party: what it receives, the fee, the margin for what it has become; then stores it.
    @param receives Exact quote of 36 digits; may be negative.
    @param due The fee, quote.
    @param ratio Initial margin, if risk was added.
    @param seen The side of the new position, after the trade.
    @return The upper edge of its bucket, and the fee collected, quote.
    """
    collateral: int256 = convert(party.old.collateral, int256)
    if receives != 0:
        collateral += fixed_point._floor_div(receives, convert(fixed_point.WAD, int256))
    assert collateral >= 0, errors.MARGIN_COLLATERAL
    # What an account does not have is not collected, and only what is collected is credited.
    fee: uint256 = min(due, convert(collateral, uint256))
    new: accounts.Account = party.new
    new.collateral = convert(collateral, uint256) - fee

    level: uint256 = 0
    if new.shares > 0:
        notional: uint256 = margin._notional(new.shares, seen.scale, mark)
        assert notional >= PARAMETERS.min_notional, errors.POSITION_MINIMUM
        level = buckets._level(PARAMETERS.bucket_width, seen.scale, mark)
        if party.reduced:
            margin._require_health(new.collateral, new.shares, party.old.collateral, party.old.shares)
            level = min(level, party.old.filing.level)  # as `buckets._narrower_level`: never to wider buckets
        else:
            margin._require_initial(new.collateral, notional, ratio)
    return accounts._store(owner, party.old, new, level, epoch, seen.index), fee


# --------------------------------------------------------------------------------------------------------- liquidation


@external
def liquidate(owner: address, size: uint256) -> uint256:
    state: sides.State = self._settled(True)
    mark: uint256 = state.core.mark
    old: accounts.Account = accounts._load(owner, state)
    is_long: bool = old.side == sides.LONG
    held: uint256 = old.shares * state.sides[old.side].scale // fixed_point.WAD
    assert owner != msg.sender, errors.LIQUIDATION_SELF

    # Below maintenance at the mark, and while that lags also at the index.
    below: bool = margin._is_below(old.collateral, is_long, held, mark, mark, PARAMETERS.maintenance_margin)
    if below and state.core.conditions & modes.LAGGING != 0:
        below = margin._is_below(
            old.collateral, is_long, held, mark, breaker._lag.index_price, PARAMETERS.maintenance_margin
        )
    assert below, errors.LIQUIDATION_HEALTHY
    taken: uint256 = min(
        size,
        margin._liquidable(
            old.collateral,
            held,
            mark,
            PARAMETERS.initial_margin,
            PARAMETERS.liquidation_fee,
            PARAMETERS.min_notional,
        ),
    )
    assert taken > 0, errors.ORDER_ZERO_SIZE

    # The fee leaves the account as healthy as it was: at most the collateral of what is taken over.
    account: Party = self._party(owner, not is_long, taken, state)
    caller: Party = self._party(msg.sender, is_long, taken, state)
    fee: uint256 = min(
        margin._requirement(fixed_point._ceil_div(taken * mark, fixed_point.WAD), PARAMETERS.liquidation_fee),
        old.collateral * (old.shares - account.new.shares) // old.shares,
    )
    reward: uint256 = fee * PARAMETERS.liquidator_share // fixed_point.WAD
    totals: uint256[2] = self._totals(account, caller, [state.sides[0].shares, state.sides[1].shares])
    state.sides[0].shares = totals[0]
    state.sides[1].shares = totals[1]
    edge: int256 = 0
    no_fee: uint256 = 0
    seen: packing.Side = state.sides[account.new.side]
    edge, no_fee = self._complete(
        owner,
        account,
        -convert(fee * fixed_point.WAD, int256),
        0,
        PARAMETERS.initial_margin,
        seen,
        mark,
        state.core.epoch,
    )
    state.sides[account.new.side].top = max(seen.top, edge)
    seen = state.sides[caller.new.side]
    edge, no_fee = self._complete(
        msg.sender,
        caller,
        convert(reward * fixed_point.WAD, int256),
        0,
        PARAMETERS.initial_margin,
        seen,
        mark,
        state.core.epoch,
    )
    state.sides[caller.new.side].top = max(seen.top, edge)

    state.core.insurance_owed += fee - reward
    state.core.premium = funding._bounded(state, PARAMETERS.max_funding)
    sides._store_traded(state)
    log IPerpetualMarket.Liquidated(account=owner, liquidator=msg.sender, size=taken, mark=mark, fee=fee, reward=reward)
    return taken


# ---------------------------------------------------------------------------------------------------------------- modes


@external
def set_reduce_only(on: bool):
    assert msg.sender == PARAMETERS.guardian, errors.MODE_GUARDIAN
    core: IPerpetualMarket.Core = sides._load_core()
    core.conditions &= ~modes.GUARDED
    if on:
        core.conditions |= modes.GUARDED
    sides._store_core(core)
    log modes.ReduceOnly(on=on)


@external
def wind_down():
    core: IPerpetualMarket.Core = sides._load_core()
    assert core.conditions & modes.CLOSED == 0, errors.MODE_CLOSED
    # A call starved of gas must not pass for a dead oracle.
    assert msg.gas >= modes.READ_GAS, errors.MODE_GAS
    alive: bool = raw_call(
        self, method_id("index_price()"), is_static_call=True, revert_on_failure=False, max_outsize=0
    )
    assert not alive, errors.MODE_ORACLE

    if core.conditions & modes.SUSPECT == 0:
        core.conditions |= modes.SUSPECT
        modes._reported_at = block.timestamp
        log modes.OracleReported()
    else:
        assert block.timestamp >= modes._reported_at + PARAMETERS.oracle_grace, errors.MODE_GRACE
        core.conditions |= modes.CLOSED
        if core.conditions & modes.LAGGING == 0:
            breaker._lag.index_price = core.mark
        log modes.Closed(price=breaker._lag.index_price)
    sides._store_core(core)
