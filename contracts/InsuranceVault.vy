# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize gas
"""
@title Insurance vault
@license AGPL-3.0-only
@notice ERC-4626 shares of the money that stands between a market's losers and its winners (design §7). It earns fees and
        what closed accounts leave; it pays deficits, and per window at most the draw cap of what it held at the window's
        first draw, so no disaster empties it and its share price survives any number of them.

        Entry is ERC-4626; exit is asynchronous in the shape of ERC-7540: request, wait for the cooldown, redeem inside
        the window, for the lesser of the value at request and the value now. What a redemption leaves behind is the
        others'. Entry and exit settle the market first and are shut while its mark lags the index: nobody enters before a
        surplus or leaves before a loss that is already known. A request can be cancelled whatever the market does.

        Assets are what the vault received, tracked inside, and what the market holds for it; tokens sent without
        `deposit` count for nothing.
"""

from ethereum.ercs import IERC165
from ethereum.ercs import IERC20Detailed
from ethereum.ercs import IERC4626
from snekmate.auth import ownable
from snekmate.tokens import erc20
from snekmate.utils import math

from .interfaces import IERC7540Redeem
from .interfaces import IInsuranceVault
from .interfaces import IPerpetualMarket
from .modules import errors
from .modules import fixed_point
from .modules import modes
from .modules import redemptions
from .modules import reserve
from .modules import tokens

implements: IERC165
implements: IERC4626
implements: IERC7540Redeem
implements: IInsuranceVault

initializes: ownable
initializes: erc20[ownable := ownable]
initializes: redemptions
initializes: reserve

exports: (
    erc20.name,
    erc20.symbol,
    erc20.decimals,
    erc20.totalSupply,
    erc20.balanceOf,
    erc20.allowance,
    erc20.transfer,
    erc20.transferFrom,
    erc20.approve,
    erc20.permit,
    erc20.nonces,
    erc20.DOMAIN_SEPARATOR,
    erc20.eip712Domain,
    redemptions.redeem_cooldown,
    redemptions.redeem_window,
    redemptions.redeem_request,
    redemptions.pendingRedeemRequest,
    redemptions.claimableRedeemRequest,
    redemptions.setOperator,
    redemptions.isOperator,
    reserve.draw_cap,
    reserve.draw_window,
    reserve.held,
    reserve.window_start,
    reserve.window_assets,
    reserve.window_drawn,
)

# Virtual shares per virtual token unit: an attacker who inflates the share price loses about a million times what the
# next depositor loses to rounding.
SHARE_OFFSET: constant(uint256) = 10**6
SHARE_DIGITS: constant(uint8) = 6
# ERC-165, and of ERC-7540 asynchronous redemption, operators, and ERC-7575.
INTERFACES: constant(bytes4[4]) = [0x01ffc9a7, 0x620ee8e4, 0xe3bc4e65, 0x2f0a18c5]

asset: public(immutable(address))
market: public(immutable(address))
TOKEN_SCALE: immutable(uint256)


event Covered:
    amount: uint256  # quote
    transferred: uint256  # token units the vault sent; the market held the rest
    window_drawn: uint256  # quote


event RedeemRequestCancelled:
    controller: indexed(address)
    sender: address
    shares: uint256


@deploy
def __init__(
    asset_: address,
    market_: address,
    draw_cap: uint256,
    draw_window: uint256,
    redeem_cooldown_: uint256,
    redeem_window_: uint256,
):
    """
    @param market_ The address the market is going to have; it checks that it is the one.
    """
    asset = asset_
    market = market_
    TOKEN_SCALE = tokens._scale(asset_)
    reserve.__init__(draw_cap, draw_window)
    redemptions.__init__(redeem_cooldown_, redeem_window_)
    ownable.__init__()
    erc20.__init__(
        "prorata insurance", "proIN", staticcall IERC20Detailed(asset_).decimals() + SHARE_DIGITS, "prorata insurance", "1"
    )
    # Shares come from deposits alone: nobody owns the token, nobody may mint.
    erc20.is_minter[msg.sender] = False
    ownable._transfer_ownership(empty(address))


# ----------------------------------------------------------------------------------------------------------- the market


@external
@view
def drawable(owed: uint256) -> uint256:
    return reserve._drawable(reserve._held() * TOKEN_SCALE + owed)


@external
def cover(amount: uint256, owed: uint256) -> uint256:
    errors._require(msg.sender == market, errors.VAULT_ONLY_MARKET)
    drawn: uint256 = reserve._draw(amount, reserve._held() * TOKEN_SCALE + owed)

    # At most the cap of what is held is asked for, so a unit rounded up is still there.
    transfer: uint256 = 0
    if amount > owed:
        transfer = fixed_point._ceil_div(amount - owed, TOKEN_SCALE)
        reserve._release(transfer)
        expected: uint256 = tokens._balance(asset, market) + transfer
        tokens._push(asset, market, transfer)
        tokens._require_arrived(asset, market, expected)
    log Covered(amount=amount, transferred=transfer, window_drawn=drawn)
    return transfer * TOKEN_SCALE


@internal
def _settle():
    """
    @notice Brings the market up to date, so that shares are priced with every loss and surplus already known.
    """
    errors._require(extcall IPerpetualMarket(market).settle(), errors.MODE_CATCH_UP)


# ------------------------------------------------------------------------------------------------------------- ERC-4626


@external
@view
def totalAssets() -> uint256:
    """
    @notice Token units, rounded down: what the vault holds, and what the market holds for it. At the present mark.
    """
    return self._total_assets()


@internal
@view
def _total_assets() -> uint256:
    """
    @notice Token units held here, and whole ones the market holds for the vault.
    """
    return reserve._held() + staticcall IPerpetualMarket(market).insurance_owed() // TOKEN_SCALE


@internal
@view
def _settled_assets() -> uint256:
    """
    @notice The total assets that entry and exit find after their own settlement, to the token unit. Reverts as they do
            when the price is refused; in catch-up they revert besides.
    """
    price: uint256 = staticcall IPerpetualMarket(market).index_price()
    funding: IPerpetualMarket.Receipt = empty(IPerpetualMarket.Receipt)
    move: IPerpetualMarket.Receipt = empty(IPerpetualMarket.Receipt)
    funding, move = staticcall IPerpetualMarket(market).preview_settlement(price)
    quote: uint256 = reserve._held() * TOKEN_SCALE + staticcall IPerpetualMarket(market).insurance_owed()
    # Funding has no deficit, so nothing is drawn for it (see `parameters.vy`). The move goes all the way to the price: it
    # leaves no gap, and so no bonus.
    return (quote + funding.surplus - funding.bonus + move.surplus - move.covered) // TOKEN_SCALE


@internal
@view
def _is_open() -> bool:
    """
    @notice Whether entry and exit are sure to be possible: there is a price and the mark stands at it. While a settlement
            is pending the answer is no, although it may succeed: a limit may be too low, never too high (but for the
            second in which funding alone would close more buckets than one call may).
    """
    core: IPerpetualMarket.Core = staticcall IPerpetualMarket(market).core()
    read: bool = False
    price: Bytes[32] = b""
    read, price = raw_call(
        market, method_id("index_price()"), max_outsize=32, is_static_call=True, revert_on_failure=False
    )
    return read and convert(price, uint256) == core.mark and core.conditions & modes.LAGGING == 0


@internal
@view
def _is_closed() -> bool:
    """
    @notice Whether the market was wound down: nobody is left to insure, and entry is shut.
    """
    return (staticcall IPerpetualMarket(market).core()).conditions & modes.CLOSED != 0


@internal
@view
def _room() -> uint256:
    """
    @notice Token units that may still be deposited.
    """
    if not self._is_open() or self._is_closed():
        return 0
    return tokens._room(asset, TOKEN_SCALE)


@internal
@view
def _shares_for(assets: uint256, total_assets: uint256, roundup: bool) -> uint256:
    return math._mul_div(assets, erc20.totalSupply + SHARE_OFFSET, total_assets + 1, roundup)


@internal
@view
def _assets_for(shares: uint256, total_assets: uint256, roundup: bool) -> uint256:
    return math._mul_div(shares, total_assets + 1, erc20.totalSupply + SHARE_OFFSET, roundup)


@external
@view
def convertToShares(assets: uint256) -> uint256:
    """
    @notice Shares that `assets` token units are worth at the present mark, rounded down.
    """
    return self._shares_for(assets, self._total_assets(), False)


@external
@view
def convertToAssets(shares: uint256) -> uint256:
    """
    @notice Token units that `shares` are worth at the present mark, rounded down.
    """
    return self._assets_for(shares, self._total_assets(), False)


@external
@view
def maxDeposit(receiver: address) -> uint256:
    """
    @notice Token units that may be deposited now; 0 unless the mark stands at a valid price, and once the market is closed.
    """
    return self._room()


@external
@view
def previewDeposit(assets: uint256) -> uint256:
    """
    @notice Shares that a deposit would bring, the settlement it makes first included, rounded down. Reverts on a refused
            price.
    """
    return self._shares_for(assets, self._settled_assets(), False)


@external
@nonreentrant
def deposit(assets: uint256, receiver: address) -> uint256:
    """
    @notice Settles, takes `assets` token units from the caller and mints shares for them, rounded down. Anybody. Reverts in
            catch-up, on a refused price, once the market is closed, for nothing, and on a transfer that is not exact.
    """
    shares: uint256 = self._shares_for(assets, self._settle_for_entry(), False)
    self._enter(receiver, assets, shares)
    return shares


@external
@view
def maxMint(receiver: address) -> uint256:
    """
    @notice As `maxDeposit`, in shares, rounded down.
    """
    return self._shares_for(self._room(), self._total_assets(), False)


@external
@view
def previewMint(shares: uint256) -> uint256:
    """
    @notice Token units that `shares` would cost, the settlement included, rounded up. Reverts on a refused price.
    """
    return self._assets_for(shares, self._settled_assets(), True)


@external
@nonreentrant
def mint(shares: uint256, receiver: address) -> uint256:
    """
    @notice As `deposit`, for an exact number of shares; what they cost is rounded up.
    @return Token units taken.
    """
    assets: uint256 = self._assets_for(shares, self._settle_for_entry(), True)
    self._enter(receiver, assets, shares)
    return assets


@internal
def _settle_for_entry() -> uint256:
    """
    @notice As `_settle`, for whoever wants to enter: once the market is closed there is nobody left to insure.
    @return Total assets.
    """
    self._settle()
    core: IPerpetualMarket.Core = staticcall IPerpetualMarket(market).core()
    errors._require(core.conditions & modes.CLOSED == 0, errors.MODE_CLOSED)
    return reserve._held() + core.insurance_owed // TOKEN_SCALE


@internal
def _enter(receiver: address, assets: uint256, shares: uint256):
    errors._require(assets > 0 and shares > 0, errors.VAULT_ZERO)
    tokens._pull(asset, msg.sender, assets, TOKEN_SCALE)
    reserve._receive(assets)
    erc20._mint(receiver, shares)
    log IERC4626.Deposit(sender=msg.sender, owner=receiver, assets=assets, shares=shares)


# ------------------------------------------------------------------------------------------------------------- ERC-7540


@external
@nonreentrant
def requestRedeem(shares: uint256, controller: address, owner: address) -> uint256:
    # Only the controller's side, so that nobody restarts another's cooldown with a single share.
    redemptions._authorize(controller)
    self._settle()
    if not redemptions._may_act_for(owner):
        erc20._spend_allowance(owner, msg.sender, shares)
    erc20._transfer(owner, self, shares)
    requested: uint256 = redemptions.redeem_request[controller].shares + shares
    worth: uint256 = self._assets_for(requested, self._total_assets(), False)
    errors._require(worth > 0, errors.VAULT_ZERO)
    redemptions._file(controller, requested, worth)
    log IERC7540Redeem.RedeemRequest(
        controller=controller, owner=owner, requestId=redemptions.REQUEST_ID, sender=msg.sender, shares=shares
    )
    return redemptions.REQUEST_ID


@external
@nonreentrant
def cancel_redeem_request(controller: address) -> uint256:
    """
    @notice Gives the shares of a request back to its controller, before, in or after its window. Does not settle, so
            needs no price. Only the controller or its operator.
    @return Shares given back.
    """
    redemptions._authorize(controller)
    shares: uint256 = redemptions.redeem_request[controller].shares
    errors._require(shares > 0, errors.VAULT_NO_REQUEST)
    redemptions._remove(controller)
    erc20._transfer(self, controller, shares)
    log RedeemRequestCancelled(controller=controller, sender=msg.sender, shares=shares)
    return shares


@external
@view
def maxRedeem(controller: address) -> uint256:
    """
    @notice Shares that the controller could redeem now: those whose window is open, or 0 if there is no valid price or
            they would bring nothing.
    """
    return redemptions._claimable(controller).shares if self._max_withdraw(controller) > 0 else 0


@external
@nonreentrant
def redeem(shares: uint256, receiver: address, controller: address) -> uint256:
    """
    @notice Settles, burns `shares` of the request and pays their part of its worth or their value now, whichever is less,
            rounded down. Only the controller or its operator. Reverts outside the window, in catch-up, on a refused price,
            for more than was requested, and for nothing.
    @return Token units paid.
    """
    self._settle()
    request: redemptions.Request = redemptions._claim(controller)
    assets: uint256 = self._value_of(request, shares)
    self._leave(receiver, controller, request, assets, shares)
    return assets


@external
@view
def maxWithdraw(controller: address) -> uint256:
    """
    @notice Token units that the controller could take out now, rounded down; as `maxRedeem`.
    """
    return self._max_withdraw(controller)


@internal
@view
def _max_withdraw(controller: address) -> uint256:
    request: redemptions.Request = redemptions._claimable(controller)
    if request.shares == 0 or not self._is_open():
        return 0
    return self._value_of(request, request.shares)


@external
@nonreentrant
def withdraw(assets: uint256, receiver: address, controller: address) -> uint256:
    """
    @notice As `redeem`, for an exact number of token units; the shares they cost are rounded up.
    @return Shares burned.
    """
    self._settle()
    request: redemptions.Request = redemptions._claim(controller)
    errors._require(assets > 0, errors.VAULT_ZERO)
    # As many as bring the assets at the value at request, and at the value now.
    shares: uint256 = max(
        redemptions._shares_of(request, assets), self._shares_for(assets, self._total_assets(), True)
    )
    self._leave(receiver, controller, request, assets, shares)
    return shares


@external
@view
def previewRedeem(shares: uint256) -> uint256:
    """
    @notice Always reverts, as ERC-7540 demands.
    """
    raise errors.VAULT_PREVIEW


@external
@view
def previewWithdraw(assets: uint256) -> uint256:
    """
    @notice Always reverts, as ERC-7540 demands.
    """
    raise errors.VAULT_PREVIEW


@internal
@view
def _value_of(request: redemptions.Request, shares: uint256) -> uint256:
    """
    @notice What `shares` of a request bring, token units: the lesser of their value at request and now, rounded down.
    """
    return min(redemptions._capped(request, shares), self._assets_for(shares, self._total_assets(), False))


@internal
def _leave(receiver: address, controller: address, request: redemptions.Request, assets: uint256, shares: uint256):
    errors._require(assets > 0, errors.VAULT_ZERO)
    # Whenever the token is asked, the books are those of before or of after.
    if assets > reserve._held():
        before: uint256 = tokens._balance(asset, self)
        swept: uint256 = extcall IPerpetualMarket(market).sweep()
        reserve._receive(swept)
        tokens._require_arrived(asset, self, before + swept)
    redemptions._reduce(controller, request, shares)
    erc20._burn(self, shares)
    reserve._release(assets)
    tokens._push(asset, receiver, assets)
    log IERC4626.Withdraw(sender=msg.sender, receiver=receiver, owner=controller, assets=assets, shares=shares)


# -------------------------------------------------------------------------------------------------- ERC-7575 and ERC-165


@external
@view
def share() -> address:
    """
    @notice The token of the shares: this contract.
    """
    return self


@external
@view
def supportsInterface(interface_id: bytes4) -> bool:
    """
    @notice ERC-165: that, ERC-7540 redemption and operators, ERC-7575.
    """
    return interface_id in INTERFACES
