# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize codesize
"""
@title Perpetual market
@license AGPL-3.0-only
@notice A perpetual futures market that is always solvent. The thin shell: who may call what and in which order. The
        settlement rule stands in `modules/settlement.vy`, how accounts are filed in `modules/buckets.vy`, and every
        external function is documented in `interfaces/IPerpetualMarket.vyi`.
"""

from .interfaces import IInsuranceVault
from .interfaces import IPerpetualMarket
from .modules import accounts
from .modules import buckets
from .modules import errors
from .modules import fixed_point
from .modules import margin
from .modules import oracle
from .modules import orders
from .modules import packing
from .modules import parameters as parameter_rules
from .modules import settlement
from .modules import sides
from .modules import tokens


initializes: oracle
initializes: sides
initializes: buckets
initializes: settlement[buckets := buckets, sides := sides]
initializes: accounts[buckets := buckets, sides := sides]
initializes: orders

exports: (
    orders.eip712_domain_separator.eip712Domain,
    orders.min_nonce,
)

# Open interest of a side stays below this, 18 digits (design §11; see `packing`).
MAX_OPEN_INTEREST: constant(uint256) = 2**96

TOKEN: public(immutable(address))
INSURANCE: public(immutable(address))
TOKEN_SCALE: immutable(uint256)  # quote per token unit
PARAMETERS: immutable(IPerpetualMarket.Parameters)


event Deployed:
    token: indexed(address)
    oracle: indexed(address)
    insurance: indexed(address)
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


@deploy
def __init__(token: address, feed: address, insurance: address, p: IPerpetualMarket.Parameters):
    """
    @param insurance A vault that names this address as its market and `token` as its asset; deploy it first, with the
           address this contract is going to have.
    """
    parameter_rules._check(p)
    assert staticcall IInsuranceVault(insurance).market() == self, errors.PARAMETERS_VAULT
    assert staticcall IInsuranceVault(insurance).asset() == token, errors.PARAMETERS_ASSET
    TOKEN = token
    INSURANCE = insurance
    TOKEN_SCALE = tokens._scale(token)
    PARAMETERS = p
    oracle.__init__(feed, p.max_staleness)
    mark: uint256 = oracle._read()
    sides.__init__(mark)
    orders.__init__()
    log Deployed(token=token, oracle=feed, insurance=insurance, mark=mark, parameters=p)


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
    @notice Brings the mark to the index price, or as far as one call may (design §3), and stores what came of it.
    @return The state, and whether the mark has reached the index.
    """
    state: sides.State = sides._load()
    index_price: uint256 = oracle._read()
    mark: uint256 = state.core.mark
    if index_price == mark:
        return state, True
    state = settlement._move(state, self._terms(), settlement._towards(mark, index_price))
    sides._store(state)
    return state, state.core.mark == index_price


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
def _terms() -> settlement.Terms:
    return settlement.Terms(
        closeout_margin=PARAMETERS.closeout_margin,
        max_buckets=PARAMETERS.max_buckets,
        max_words=PARAMETERS.max_words,
        insurance=IInsuranceVault(INSURANCE),
    )


# ----------------------------------------------------------------------------------------------------------- collateral


@external
@nonreentrant
def deposit(amount: uint256, account: address):
    errors._require(amount > 0, errors.ACCOUNT_ZERO_AMOUNT)
    errors._require(account != empty(address), errors.ACCOUNT_ZERO_ADDRESS)
    tokens._pull(TOKEN, msg.sender, amount, TOKEN_SCALE)

    state: sides.State = sides._load()
    old: accounts.Account = accounts._load(account, state)
    new: accounts.Account = old
    new.collateral += amount * TOKEN_SCALE
    # A stranger must not move an account to other buckets; its owner may, to narrower ones.
    level: uint256 = old.filing.level
    if msg.sender == account:
        level = self._narrower_level(old, state)
    # More collateral lowers the bankruptcy index, so no side's top rises and there is no state to store.
    accounts._store(account, old, new, level, state)
    log Deposited(sender=msg.sender, account=account, amount=amount)


@external
@nonreentrant
def withdraw(amount: uint256):
    errors._require(amount > 0, errors.ACCOUNT_ZERO_AMOUNT)
    state: sides.State = sides._load()
    old: accounts.Account = accounts._load(msg.sender, state)
    if old.shares > 0:
        state = self._settle_fully()
        old = accounts._load(msg.sender, state)

    errors._require(amount <= old.collateral // TOKEN_SCALE, errors.ACCOUNT_FREE)
    new: accounts.Account = old
    new.collateral -= amount * TOKEN_SCALE
    if new.shares > 0:
        notional: uint256 = margin._notional(new.shares, state.sides[new.side].scale, state.core.mark)
        errors._require(new.collateral >= margin._requirement(notional, PARAMETERS.initial_margin), errors.ACCOUNT_FREE)
    after: sides.State = accounts._store(msg.sender, old, new, self._narrower_level(old, state), state)
    if new.shares > 0:
        sides._store(after)
    tokens._push(TOKEN, msg.sender, amount)
    log Withdrawn(account=msg.sender, amount=amount)


# ---------------------------------------------------------------------------------------------------------------- fills


@external
@nonreentrant
def fill(order: IPerpetualMarket.Order, signature: Bytes[65], size: uint256):
    errors._require(size < MAX_OPEN_INTEREST, errors.POSITION_RANGE)
    order_hash: bytes32 = orders._take(order, signature, size, msg.sender)
    state: sides.State = self._settle_fully()
    mark: uint256 = state.core.mark
    distance: uint256 = max(order.limit_price, mark) - min(order.limit_price, mark)
    errors._require(distance <= mark * PARAMETERS.price_band // fixed_point.WAD, errors.ORDER_BAND)

    # Price against mark: whoever trades at the better price is paid by the other. Floored for both, so against both.
    against_mark: int256 = (convert(mark, int256) - convert(order.limit_price, int256)) * convert(size, int256)
    to_buyer: int256 = fixed_point._floor_div(against_mark, convert(fixed_point.WAD, int256))
    to_seller: int256 = fixed_point._floor_div(-against_mark, convert(fixed_point.WAD, int256))

    maker_fee: uint256 = 0
    taker_fee: uint256 = 0
    state, maker_fee = self._trade(
        order.maker, order.is_long, size, to_buyer if order.is_long else to_seller, order.reduce_only, state
    )
    state, taker_fee = self._trade(
        msg.sender, not order.is_long, size, to_seller if order.is_long else to_buyer, False, state
    )
    for side: uint256 in range(2):
        errors._require(sides._open_interest(state.sides[side]) < MAX_OPEN_INTEREST, errors.POSITION_RANGE)
    state.core.insurance_owed += maker_fee + taker_fee
    sides._store(state)
    log orders.OrderFilled(
        order_hash=order_hash,
        maker=order.maker,
        taker=msg.sender,
        is_long=order.is_long,
        size=size,
        price=order.limit_price,
        mark=mark,
        maker_fee=maker_fee,
        taker_fee=taker_fee,
    )


@internal
def _trade(
    owner: address,
    is_long: bool,
    size: uint256,
    receives: int256,
    reduce_only: bool,
    before: sides.State,
) -> (sides.State, uint256):
    """
    @notice One party of a fill: position, price against mark, fee, margin.
    @return The state with the side totals moved, and the fee collected, quote.
    """
    state: sides.State = before
    mark: uint256 = state.core.mark
    old: accounts.Account = accounts._load(owner, state)
    new: accounts.Account = accounts._trade(old, is_long, size, PARAMETERS.min_notional, state)
    reduced: bool = old.shares > 0 and (new.shares == 0 or (new.side == old.side and new.shares < old.shares))
    errors._require(reduced or not reduce_only, errors.ORDER_REDUCE_ONLY)

    collateral: int256 = convert(old.collateral, int256) + receives
    errors._require(collateral >= 0, errors.MARGIN_COLLATERAL)
    new.collateral = convert(collateral, uint256)
    # What an account does not have is not collected, and only what is collected is credited.
    traded: uint256 = fixed_point._ceil_div(size * mark, fixed_point.WAD)
    fee: uint256 = min(margin._requirement(traded, PARAMETERS.fee_rate), new.collateral)
    new.collateral -= fee

    if new.shares > 0:
        notional: uint256 = margin._notional(new.shares, state.sides[new.side].scale, mark)
        errors._require(notional >= PARAMETERS.min_notional, errors.POSITION_MINIMUM)
        if reduced:
            margin._require_health(new.collateral, new.shares, old.collateral, old.shares)
        else:
            margin._require_initial(new.collateral, notional, PARAMETERS.initial_margin)

    state.sides[old.side].shares -= old.shares
    state.sides[new.side].shares += new.shares
    level: uint256 = self._narrower_level(old, state) if reduced else self._level(new, state)
    return accounts._store(owner, old, new, level, state), fee


@internal
@view
def _level(held: accounts.Account, state: sides.State) -> uint256:
    """
    @notice The bucket level of a position filed now.
    """
    return buckets._level(PARAMETERS.bucket_width, state.sides[held.side].scale, state.core.mark)


@internal
@view
def _narrower_level(held: accounts.Account, state: sides.State) -> uint256:
    """
    @notice The level of an account that adds no risk. Buckets filed at a higher price may be wide against the position
            now and close it early, so it moves to narrower ones; wider ones could close it at once, so never to those.
    """
    return min(held.filing.level, self._level(held, state))


@external
@nonreentrant
def cancel(order: IPerpetualMarket.Order):
    orders._cancel(order, msg.sender)


@external
@nonreentrant
def cancel_all(min_nonce: uint256):
    orders._cancel_all(min_nonce, msg.sender)


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
def preview_settlement(price: uint256) -> IPerpetualMarket.Receipt:
    errors._require(price >= oracle.MIN_PRICE and price <= oracle.MAX_PRICE, errors.ORACLE_RANGE)
    state: sides.State = sides._load()
    terms: settlement.Terms = self._terms()
    terms.max_buckets = max_value(uint256)
    terms.max_words = max_value(uint256)
    step: settlement.Step = settlement._towards(state.core.mark, price)
    plan: settlement.Plan = settlement._plan(state, terms, step)
    return settlement._receipt(state, step, plan)


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
def mark() -> uint256:
    return sides._load().core.mark


@external
@view
@nonreentrant
def index_price() -> uint256:
    return oracle._read()


@external
@view
@nonreentrant
def epoch() -> uint256:
    return sides._load().core.epoch


@external
@view
@nonreentrant
def insurance_owed() -> uint256:
    return sides._load().core.insurance_owed


@external
@view
@nonreentrant
def filled(order_hash: bytes32) -> uint256:
    return orders._filled[order_hash]


@external
@view
def hash_order(order: IPerpetualMarket.Order) -> bytes32:
    return orders._hash(order)


@external
@view
def parameters() -> IPerpetualMarket.Parameters:
    return PARAMETERS


@external
@view
def feed() -> address:
    return oracle.FEED.address
