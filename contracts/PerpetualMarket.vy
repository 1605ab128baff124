# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize codesize
"""
@title Perpetual market
@license AGPL-3.0-only
@notice A perpetual futures market that is always solvent. The thin shell: who may call what and in which order. The
        settlement rule stands in `modules/settlement.vy`, how accounts are filed in `modules/buckets.vy`, and every
        external function is documented in `interfaces/IPerpetualMarket.vyi` and `IOrderBook.vyi`. What orders do to
        accounts stands in `TradingLogic.vy`, which has no room in here and runs in this contract's storage.
"""

from .interfaces import IInsuranceVault
from .interfaces import IOrderBook
from .interfaces import IPerpetualMarket
from .modules import accounts
from .modules import breaker
from .modules import buckets
from .modules import errors
from .modules import funding
from .modules import index
from .modules import margin
from .modules import modes
from .modules import oracle
from .modules import orders
from .modules import packing
from .modules import parameters as parameter_rules
from .modules import settlement
from .modules import sides
from .modules import tokens

implements: IOrderBook
implements: IPerpetualMarket

initializes: oracle
initializes: sides
initializes: buckets
initializes: settlement[buckets := buckets, sides := sides]
initializes: accounts[buckets := buckets, sides := sides]
initializes: breaker
initializes: index[breaker := breaker, oracle := oracle]
initializes: modes
initializes: orders

exports: (
    orders.eip712_domain_separator.eip712Domain,
    settlement.total_socialized,
    settlement.total_adl_shortfall,
)

TOKEN: public(immutable(address))
INSURANCE: public(immutable(address))
TRADING: public(immutable(address))
TOKEN_SCALE: public(immutable(uint256))  # quote per token unit
PARAMETERS: immutable(IPerpetualMarket.Parameters)


interface ITradingLogic:
    def terms_hash() -> bytes32: view


event Deployed:
    token: indexed(address)
    oracle: indexed(address)
    insurance: indexed(address)
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


event Swept:
    amount: uint256  # token units


# These are logged in this contract's name by `TradingLogic.vy`. Fees are what was really collected, quote.
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


event OrderCancelled:
    order_hash: indexed(bytes32)
    maker: indexed(address)


event NonceRaised:
    maker: indexed(address)
    min_nonce: uint256


event ReduceOnly:
    on: bool


event OracleReported:
    pass


event Closed:
    price: uint256


@deploy
def __init__(
    token: address,
    feed: address,
    insurance: address,
    trading: address,
    p: IPerpetualMarket.Parameters,
):
    """
    @param insurance A vault that names this address as its market and `token` as its asset; deploy it first, with the
           address this contract is going to have.
    @param trading A `TradingLogic` with this feed and these parameters.
    """
    parameter_rules._check(p)
    assert staticcall IInsuranceVault(insurance).market() == self, errors.PARAMETERS_VAULT
    assert staticcall IInsuranceVault(insurance).asset() == token, errors.PARAMETERS_ASSET
    # Fails, without a reason, for an address without code, to which a delegatecall would succeed and do nothing.
    assert staticcall ITradingLogic(trading).terms_hash() == keccak256(abi_encode(feed, p)), errors.PARAMETERS_TRADING
    TOKEN = token
    INSURANCE = insurance
    orders.__init__()
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
        trading=trading,
        mark=mark,
        parameters=p,
    )


# ----------------------------------------------------------------------------------------------------------- settlement


@external
@nonreentrant
def settle() -> bool:
    return self._settle()


@internal
def _settle() -> bool:
    """
    @notice Brings the market to this second and to the index price, if there is anything to do.
    @dev By a call to itself, as `TradingLogic` does too: the memory of a function lies above that of all it calls, so
         that to have the settlement in this one would make a call dearer that finds nothing to settle.
    @return Whether the mark has reached the index.
    """
    index_price: uint256 = index._pending(sides._load_core())
    if index_price == 0:
        return True
    return extcall IPerpetualMarket(self).settle_to(index_price)


@external
def settle_to(index_price: uint256) -> bool:
    """
    @notice Pays the funding that is due, then brings the mark to the index price, or as far as one call may (design §3),
            and stores what came of it. Only this contract itself, which has read the index and is locked.
    @return Whether the mark has reached the index.
    """
    errors._require(msg.sender == self, errors.MARKET_ONLY_SELF)
    state: sides.State = sides._load()
    terms: settlement.Terms = self._terms()
    lag: breaker.Lag = breaker._load(state.core)
    lag.index_price = index_price
    done: settlement.Done = empty(settlement.Done)

    # Funding at the old mark, before price and never netted with it.
    state.core, lag.funding_rest = funding._accrue(
        state, lag.funding_rest, PARAMETERS.premium_retention, PARAMETERS.max_funding
    )
    if lag.funding_rest != 0:
        step: settlement.Step = settlement._funding(lag.funding_rest, lag.index_price)
        state, done = settlement._move(state, terms, step)
        # What a stopped move left is due at once; of a complete one nothing is left.
        left: int256 = step.index_drop - done.index_drop
        lag.funding_rest = left if lag.funding_rest > 0 else -left
        terms.max_buckets -= min(done.buckets, terms.max_buckets)
        terms.max_words -= min(done.words, terms.max_words)

    # Price.
    if (
        not done.stopped
        and lag.index_price != state.core.mark
        and block.timestamp >= state.core.limited_at + PARAMETERS.step_interval
    ):
        target: uint256 = breaker._target(state.core.mark, lag.index_price, lag.step_target, PARAMETERS.max_price_step)
        state, done = settlement._move(state, terms, settlement._towards(state, target, lag.index_price))
        lag.step_target = 0
        if target != lag.index_price:
            if done.stopped:
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
    state.core.premium = funding._bounded(state, PARAMETERS.max_funding)
    sides._store(state)
    return caught_up


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
        level = self._narrower_level(old, state)
    # More collateral lowers the bankruptcy index, so no side's top rises and there is no state to store.
    accounts._store(account, old, new, level, state.core.epoch, state.sides[new.side].index)
    log Deposited(sender=msg.sender, account=account, amount=amount)


@external
@nonreentrant
def withdraw(amount: uint256):
    errors._require(amount > 0, errors.ACCOUNT_ZERO_AMOUNT)
    state: sides.State = accounts._state_for(msg.sender)
    old: accounts.Account = accounts._load(msg.sender, state)
    if old.shares > 0:
        errors._require(self._settle(), errors.MODE_CATCH_UP)
        state = sides._load()
        old = accounts._load(msg.sender, state)

    errors._require(amount <= old.collateral // TOKEN_SCALE, errors.ACCOUNT_FREE)
    new: accounts.Account = old
    new.collateral -= amount * TOKEN_SCALE
    level: uint256 = 0
    if new.shares > 0:
        notional: uint256 = margin._notional(new.shares, state.sides[new.side].scale, state.core.mark)
        errors._require(new.collateral >= margin._requirement(notional, PARAMETERS.initial_margin), errors.ACCOUNT_FREE)
        level = self._narrower_level(old, state)
    edge: int256 = accounts._store(msg.sender, old, new, level, state.core.epoch, state.sides[new.side].index)
    if edge > state.sides[new.side].top:
        state.sides[new.side].top = edge
        sides._store(state)
    tokens._push(TOKEN, msg.sender, amount)
    log Withdrawn(account=msg.sender, amount=amount)


@internal
@view
def _narrower_level(held: accounts.Account, state: sides.State) -> uint256:
    return buckets._narrower_level(
        held.filing.level, PARAMETERS.bucket_width, state.sides[held.side].scale, state.core.mark
    )


# --------------------------------------------------------------------------------------------------------------- trades


@external
@nonreentrant
def fill(order: IOrderBook.Order, signature: Bytes[65], size: uint256):
    self._delegate()


@external
@nonreentrant
def fill_batch(fills: DynArray[IOrderBook.Fill, 16]):
    self._delegate()


@internal
def _delegate():
    """
    @notice Hands the whole call on to the code that has no room in here.
    """
    raw_call(TRADING, msg.data, is_delegate_call=True)


@external
@nonreentrant
def cancel(order: IOrderBook.Order):
    self._delegate()


@external
@nonreentrant
def cancel_all(min_nonce: uint256):
    self._delegate()


@external
@nonreentrant
def liquidate(owner: address, size: uint256) -> uint256:
    return convert(raw_call(TRADING, msg.data, is_delegate_call=True, max_outsize=32), uint256)


# ---------------------------------------------------------------------------------------------------------------- modes


@external
@nonreentrant
def set_reduce_only(on: bool):
    self._delegate()


@external
@nonreentrant
def wind_down():
    self._delegate()


# ------------------------------------------------------------------------------------------------------------ insurance


@external
@nonreentrant
def sweep() -> uint256:
    errors._require(msg.sender == INSURANCE, errors.VAULT_ONLY_INSURANCE)
    core: IPerpetualMarket.Core = sides._load_core()
    amount: uint256 = core.insurance_owed // TOKEN_SCALE
    if amount > 0:
        core.insurance_owed -= amount * TOKEN_SCALE
        sides._store_core(core)
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
    first: IPerpetualMarket.Receipt = settlement._receipt(state.sides[step.loser], plan)

    # Storage does not know of the buckets that funding has closed: the second plan must not count them again.
    ceiling: int256 = max_value(int256)
    payer: uint256 = step.loser
    state = settlement._after(state, step, plan)
    if settlement._is_over(state.sides[step.loser], state.sides[1 - step.loser], plan.closed_shares):
        state = sides._next_epoch(state)
    step = settlement._towards(state, price, price)
    if step.loser == payer:
        ceiling = plan.threshold
    plan = settlement._plan(state, terms, step, ceiling)
    return first, settlement._receipt(state.sides[step.loser], plan)


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
    return sides._load_core()


@external
@view
@nonreentrant
def mark() -> uint256:
    return sides._load_core().mark


@external
@view
@nonreentrant
def insurance_owed() -> uint256:
    return sides._load_core().insurance_owed


@external
@view
@nonreentrant
def filled(order_hash: bytes32) -> uint256:
    return orders._filled[order_hash]


@external
@view
@nonreentrant
def min_nonce(owner: address) -> uint256:
    return accounts._min_nonce(owner)


# Not locked: `wind_down` asks, and nothing here changes within a call.
@external
@view
def index_price() -> uint256:
    return index._price(sides._load_core())


@external
@view
def parameters() -> IPerpetualMarket.Parameters:
    return PARAMETERS


@external
@view
def feed() -> address:
    return oracle.FEED.address
