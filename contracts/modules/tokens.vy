# pragma version 0.4.3
"""
@title Tokens
@license AGPL-3.0-only
@notice Collateral in and out, the same for the market and its vault. Tokens that return nothing are accepted; tokens
        that return false, take a fee on transfer or have more than 18 decimals are refused.
"""

from ethereum.ercs import IERC20
from ethereum.ercs import IERC20Detailed

from . import errors

# No holder may hold more quote than this: with it every product of the market has room (design §11).
MAX_BALANCE: constant(uint256) = 2**120


@internal
@view
def _scale(token: address) -> uint256:
    """
    @return Quote (18 digits) per token unit.
    """
    decimals: uint256 = convert(staticcall IERC20Detailed(token).decimals(), uint256)
    errors._require(decimals <= 18, errors.TOKEN_DECIMALS)
    return 10 ** (18 - decimals)


@internal
def _pull(token: address, owner: address, amount: uint256, scale: uint256):
    """
    @notice Takes `amount` token units from `owner`, to the unit.
    """
    before: uint256 = staticcall IERC20(token).balanceOf(self)
    errors._require(extcall IERC20(token).transferFrom(owner, self, amount, default_return_value=True), errors.TOKEN_TRANSFER)
    balance: uint256 = staticcall IERC20(token).balanceOf(self)
    errors._require(balance == before + amount, errors.TOKEN_FEE)
    errors._require(balance < MAX_BALANCE // scale, errors.TOKEN_RANGE)


@internal
@view
def _balance(token: address, holder: address) -> uint256:
    """
    @return Token units.
    """
    return staticcall IERC20(token).balanceOf(holder)


@internal
@view
def _require_arrived(token: address, holder: address, expected: uint256):
    """
    @notice For what goes between the market and its vault, of which one counts on what the other sends. A token that was
            chosen while it took no fee may begin to; then nothing is settled at the expense of those who are not asked.
    @param expected The holder's balance after the transfer, token units.
    """
    errors._require(self._balance(token, holder) == expected, errors.TOKEN_FEE)


@internal
@view
def _room(token: address, scale: uint256) -> uint256:
    """
    @notice The most that may still be pulled, token units.
    """
    return MAX_BALANCE // scale - 1 - min(staticcall IERC20(token).balanceOf(self), MAX_BALANCE // scale - 1)


@internal
def _push(token: address, receiver: address, amount: uint256):
    errors._require(extcall IERC20(token).transfer(receiver, amount, default_return_value=True), errors.TOKEN_TRANSFER)
