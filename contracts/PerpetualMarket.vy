# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize codesize
"""
@title Perpetual market
@license AGPL-3.0-only
@notice A perpetual futures market that is always solvent. The thin shell: who may call what and in which order. The
        settlement rule stands in `modules/settlement.vy`, how accounts are filed in `modules/buckets.vy`, and every
        external function is documented in `interfaces/IPerpetualMarket.vyi`. Trades come from `OrderBook.vy`; what they do
        to accounts stands in `TradingLogic.vy`, which has no room in here and runs in this contract's storage.
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
from .modules import margin
from .modules import modes
from .modules import oracle
from .modules import packing
from .modules import parameters as parameter_rules
from .modules import settlement
from .modules import sides
from .modules import tokens

implements: IPerpetualMarket

initializes: oracle
initializes: sides
initializes: buckets
initializes: settlement[buckets := buckets, sides := sides]
initializes: accounts[buckets := buckets, sides := sides]
initializes: breaker
initializes: modes

exports: (
    settlement.total_socialized,
    settlement.total_adl_shortfall,
)

TOKEN: public(immutable(address))
INSURANCE: public(immutable(address))
ORDER_BOOK: public(immutable(address))
TRADING: public(immutable(address))
TOKEN_SCALE: public(immutable(uint256))  # quote per token unit
PARAMETERS: immutable(IPerpetualMarket.Parameters)


event Deployed:
    token: indexed(address)
    oracle: indexed(address)
    insurance: indexed(address)
    order_book: address
    trading: address
    mark: uint256
    parameters: IPerpetualMarket.Parameters


event Deposited:
    sender: indexed(address)
    account: indexed(address)
    amount: uint256  # token units


event Withdrawn:
    account: indexed(address)
    amount: uint256  # token units


# The next two are logged in this contract's name by `TradingLogic.vy`. Fees are what was really collected, quote.
event Traded:
    order_hash: indexed(bytes32)
    maker: indexed(address)
    taker: indexed(address)
    is_long: bool  # what the maker became
    size: uint256
    price: uint256
    mark: uint256
    maker_fee: uint256
    taker_fee: uint256


event Liquidated:
    account: indexed(address)
    liquidator: indexed(address)
    size: uint256
    mark: uint256
    fee: uint256  # quote, paid by the account
    reward: uint256  # the liquidator's part of it


event Swept:
    amount: uint256  # token units


@deploy
def __init__(
    token: address,
    feed: address,
    insurance: address,
    order_book: address,
    trading: address,
    p: IPerpetualMarket.Parameters,
):
    """
    @param insurance A vault that names this address as its market and `token` as its asset, and `order_book` an order
           book that does; deploy them first, with the address this contract is going to have.
    @param trading A `TradingLogic`; one serves every market.
    """
    parameter_rules._check(p)
    assert staticcall IInsuranceVault(insurance).market() == self, errors.PARAMETERS_VAULT
    assert staticcall IInsuranceVault(insurance).asset() == token, errors.PARAMETERS_ASSET
    assert staticcall IOrderBook(order_book).market() == self, errors.PARAMETERS_BOOK
    # A delegatecall to an address without code succeeds and does nothing.
    assert trading.is_contract, errors.PARAMETERS_TRADING
    TOKEN = token
    INSURANCE = insurance
    ORDER_BOOK = order_book
    TRADING = trading
    TOKEN_SCALE = tokens._scale(token)
    PARAMETERS = p
    oracle.__init__(feed, p.max_staleness)
    mark: uint256 = oracle._read()
    sides._begin(mark)
    log Deployed(
        token=token,
        oracle=feed,
        insurance=insurance,
        order_book=order_book,
        trading=trading,
        mark=mark,
        parameters=p,
    )


# ----------------------------------------------------------------------------------------------------------- settlement


@external
@nonreentrant
def settle() -> bool:
    state: sides.State = empty(sides.State)
    caught_up: bool = False
    state, caught_up = self._settle()
    return caught_up


@internal
def _settle() -> (sides.State, bool):
    """
    @notice Pays the funding that is due, then brings the mark to the index price, or as far as one call may (design §3),
            and stores what came of it.
    @return The state, and whether the mark has reached the index.
    """
    state: sides.State = sides._load()
    terms: settlement.Terms = self._terms()
    lag: breaker.Lag = breaker._load(state.core)
    lag.index_price = self._index_price(state.core)
    if lag.index_price == state.core.mark and state.core.premium == 0 and state.core.conditions & ~modes.GUARDED == 0:
        return state, True
    plan: settlement.Plan = empty(settlement.Plan)

    # Funding at the old mark, before price and never netted with it.
    state.core, lag.funding_rest = funding._accrue(
        state, lag.funding_rest, PARAMETERS.premium_retention, PARAMETERS.max_funding
    )
    if lag.funding_rest != 0:
        step: settlement.Step = settlement._funding(lag.funding_rest, lag.index_price)
        state, plan = settlement._move(state, terms, step)
        # What a stopped move left is due at once; of a complete one nothing is left.
        left: int256 = step.index_drop - plan.index_drop
        lag.funding_rest = left if lag.funding_rest > 0 else -left
        terms.max_buckets -= min(plan.buckets, terms.max_buckets)
        terms.max_words -= min(plan.words, terms.max_words)

    # Price.
    if (
        not plan.stopped
        and lag.index_price != state.core.mark
        and block.timestamp >= state.core.limited_at + PARAMETERS.step_interval
    ):
        target: uint256 = breaker._target(state.core.mark, lag.index_price, lag.step_target, PARAMETERS.max_price_step)
        state, plan = settlement._move(state, terms, settlement._towards(state, target, lag.index_price))
        lag.step_target = 0
        if target != lag.index_price:
            if plan.stopped:
                lag.step_target = target
            else:
                state.core.limited_at = block.timestamp

    caught_up: bool = lag.index_price == state.core.mark and lag.funding_rest == 0
    state.core.conditions &= ~(modes.LAGGING | modes.SUSPECT)
    if not caught_up:
        state.core.conditions |= modes.LAGGING
        breaker._lag = lag
    elif state.core.conditions & modes.CLOSED != 0 and state.sides[0].shares + state.sides[1].shares > 0:
        state = sides._end_epoch(state)
    state = funding._bounded(state, PARAMETERS.max_funding)
    sides._store(state)
    return state, caught_up


@internal
def _settle_fully() -> sides.State:
    """
    @notice Settles for a call that needs the mark to be the index.
    """
    state: sides.State = empty(sides.State)
    caught_up: bool = False
    state, caught_up = self._settle()
    errors._require(caught_up, errors.MODE_CATCH_UP)
    return state


@internal
@view
def _index_price(core: IPerpetualMarket.Core) -> uint256:
    """
    @notice Where the mark is going: the oracle's price, or the last one of a closed market.
    """
    if core.conditions & modes.CLOSED != 0:
        return breaker._lag.index_price
    return oracle._read()


@internal
@view
def _terms() -> settlement.Terms:
    return settlement.Terms(
        closeout_margin=PARAMETERS.closeout_margin,
        max_buckets=PARAMETERS.max_buckets,
        max_words=PARAMETERS.max_words,
        cooloff=PARAMETERS.cooloff,
        insurance=IInsuranceVault(INSURANCE),
    )


# ----------------------------------------------------------------------------------------------------------- collateral


@external
@nonreentrant
def deposit(amount: uint256, account: address):
    errors._require(amount > 0, errors.ACCOUNT_ZERO_AMOUNT)
    errors._require(account != empty(address), errors.ACCOUNT_ZERO_ADDRESS)
    tokens._pull(TOKEN, msg.sender, amount, TOKEN_SCALE)

    state: sides.State = accounts._state_for(account)
    old: accounts.Account = accounts._load(account, state)
    new: accounts.Account = old
    new.collateral += amount * TOKEN_SCALE
    # A stranger must not move an account to other buckets; its owner may, to narrower ones.
    level: uint256 = old.filing.level
    if msg.sender == account and old.shares > 0:
        level = accounts._narrower_level(old, PARAMETERS.bucket_width, state)
    # More collateral lowers the bankruptcy index, so no side's top rises and there is no state to store.
    accounts._store(account, old, new, level, state)
    log Deposited(sender=msg.sender, account=account, amount=amount)


@external
@nonreentrant
def withdraw(amount: uint256):
    errors._require(amount > 0, errors.ACCOUNT_ZERO_AMOUNT)
    state: sides.State = accounts._state_for(msg.sender)
    old: accounts.Account = accounts._load(msg.sender, state)
    if old.shares > 0:
        state = self._settle_fully()
        old = accounts._load(msg.sender, state)

    errors._require(amount <= old.collateral // TOKEN_SCALE, errors.ACCOUNT_FREE)
    new: accounts.Account = old
    new.collateral -= amount * TOKEN_SCALE
    level: uint256 = 0
    if new.shares > 0:
        notional: uint256 = margin._notional(new.shares, state.sides[new.side].scale, state.core.mark)
        errors._require(new.collateral >= margin._requirement(notional, PARAMETERS.initial_margin), errors.ACCOUNT_FREE)
        level = accounts._narrower_level(old, PARAMETERS.bucket_width, state)
    after: sides.State = accounts._store(msg.sender, old, new, level, state)
    if new.shares > 0:
        sides._store(after)
    tokens._push(TOKEN, msg.sender, amount)
    log Withdrawn(account=msg.sender, amount=amount)


# --------------------------------------------------------------------------------------------------------------- trades


@external
@nonreentrant
def trade(taker: address, trades: DynArray[IPerpetualMarket.Trade, 16]):
    errors._require(msg.sender == ORDER_BOOK, errors.ORDER_ONLY_BOOK)
    state: sides.State = self._settle_fully()
    errors._require(state.core.conditions & modes.CLOSED == 0, errors.MODE_CLOSED)
    raw_call(TRADING, msg.data, is_delegate_call=True)


@external
@nonreentrant
def liquidate(owner: address, size: uint256) -> uint256:
    state: sides.State = empty(sides.State)
    caught_up: bool = False
    state, caught_up = self._settle()
    return convert(raw_call(TRADING, msg.data, is_delegate_call=True, max_outsize=32), uint256)


# ---------------------------------------------------------------------------------------------------------------- modes


@external
@nonreentrant
def set_reduce_only(on: bool):
    errors._require(msg.sender == PARAMETERS.guardian, errors.MODE_GUARDIAN)
    state: sides.State = sides._load()
    state.core.conditions &= ~modes.GUARDED
    if on:
        state.core.conditions |= modes.GUARDED
    sides._store(state)
    log modes.ReduceOnly(on=on)


@external
@nonreentrant
def wind_down():
    state: sides.State = sides._load()
    errors._require(state.core.conditions & modes.CLOSED == 0, errors.MODE_CLOSED)
    # A call starved of gas must not pass for a dead oracle.
    errors._require(msg.gas >= modes.READ_GAS, errors.MODE_GAS)
    alive: bool = raw_call(
        self, method_id("index_price()"), is_static_call=True, revert_on_failure=False, max_outsize=0
    )
    errors._require(not alive, errors.MODE_ORACLE)

    if state.core.conditions & modes.SUSPECT == 0:
        state.core.conditions |= modes.SUSPECT
        modes._reported_at = block.timestamp
        log modes.OracleReported()
    else:
        errors._require(block.timestamp >= modes._reported_at + PARAMETERS.oracle_grace, errors.MODE_GRACE)
        state.core.conditions |= modes.CLOSED
        if state.core.conditions & modes.LAGGING == 0:
            breaker._lag.index_price = state.core.mark
        log modes.Closed(price=breaker._lag.index_price)
    sides._store(state)


# ------------------------------------------------------------------------------------------------------------ insurance


@external
@nonreentrant
def sweep() -> uint256:
    errors._require(msg.sender == INSURANCE, errors.VAULT_ONLY_INSURANCE)
    state: sides.State = sides._load()
    amount: uint256 = state.core.insurance_owed // TOKEN_SCALE
    if amount > 0:
        state.core.insurance_owed -= amount * TOKEN_SCALE
        sides._store(state)
        tokens._push(TOKEN, INSURANCE, amount)
        log Swept(amount=amount)
    return amount


# ---------------------------------------------------------------------------------------------------------------- views


@external
@view
@nonreentrant
def preview_settlement(price: uint256) -> (IPerpetualMarket.Receipt, IPerpetualMarket.Receipt):
    errors._require(price >= oracle.MIN_PRICE and price <= oracle.MAX_PRICE, errors.ORACLE_RANGE)
    state: sides.State = sides._load()
    terms: settlement.Terms = self._terms()
    terms.max_buckets = max_value(uint256)
    terms.max_words = max_value(uint256)
    due: int256 = breaker._load(state.core).funding_rest
    state.core, due = funding._accrue(state, due, PARAMETERS.premium_retention, PARAMETERS.max_funding)
    step: settlement.Step = settlement._funding(due, price)
    plan: settlement.Plan = settlement._plan(state, terms, step, max_value(int256))
    first: IPerpetualMarket.Receipt = settlement._receipt(state, step, plan)

    # Storage does not know of the buckets that funding has closed: the second plan must not count them again.
    ceiling: int256 = max_value(int256)
    payer: uint256 = step.loser
    state = settlement._after(state, step, plan)
    if settlement._is_over(state, step, plan):
        state = sides._next_epoch(state)
    step = settlement._towards(state, price, price)
    if step.loser == payer:
        ceiling = plan.threshold
    plan = settlement._plan(state, terms, step, ceiling)
    return first, settlement._receipt(state, step, plan)


@external
@view
@nonreentrant
def account(owner: address) -> IPerpetualMarket.AccountView:
    held: accounts.Account = accounts._load(owner, sides._load())
    return IPerpetualMarket.AccountView(
        equity=held.collateral,
        side=held.side,
        shares=held.shares,
        level=held.filing.level,
        bucket=held.filing.bucket,
    )


@external
@view
@nonreentrant
def side(side: uint256) -> IPerpetualMarket.SideView:
    seen: packing.Side = sides._load().sides[side]
    return IPerpetualMarket.SideView(
        shares=seen.shares,
        scale=seen.scale,
        index=seen.index,
        open_interest=sides._open_interest(seen),
    )


@external
@view
@nonreentrant
def core() -> IPerpetualMarket.Core:
    return sides._load().core


@external
@view
@nonreentrant
def mark() -> uint256:
    return sides._load().core.mark


@external
@view
@nonreentrant
def insurance_owed() -> uint256:
    return sides._load().core.insurance_owed


# Not locked: `wind_down` asks, and nothing here changes within a call.
@external
@view
def index_price() -> uint256:
    return self._index_price(sides._load().core)


@external
@view
def parameters() -> IPerpetualMarket.Parameters:
    return PARAMETERS


@external
@view
def feed() -> address:
    return oracle.FEED.address
