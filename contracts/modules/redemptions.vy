# pragma version 0.4.3
"""
@title Redemptions
@license AGPL-3.0-only
@notice Who is on the way out of the insurance vault, one request a controller (design §7):

            requested --- cooldown --- | --- window --- | lapsed
                     pending               claimable

        Until it is redeemed a request can be cancelled or renewed at any time. Its shares bear every loss meanwhile, and
        bring at most what they were worth when requested: a request is no option on the vault's fortunes.

        Requesting again makes one request of old and new shares, valued now, which waits anew: what cancelling and
        requesting all of them would do. To add up the values at their several times would be wrong: old shares that have
        lost since would lend the room below their value to new ones, which would then keep a recovery.
"""

from snekmate.utils import math

from ..interfaces import IERC7540Redeem
from . import errors

struct Request:
    shares: uint256  # in the vault's custody
    worth: uint256  # token units they were worth when requested: the most they bring
    opens: uint256  # the end of the cooldown, when the window opens, seconds


# Every request of a controller is part of this one.
REQUEST_ID: constant(uint256) = 0
# A longer cooldown is a mistake that nobody could leave.
MAX_COOLDOWN: constant(uint256) = 365 * 86_400

redeem_cooldown: public(immutable(uint256))  # seconds
redeem_window: public(immutable(uint256))  # seconds

# By controller, lapsed ones too: whatever the vault has in custody for it.
redeem_request: public(HashMap[address, Request])
# By controller and operator.
isOperator: public(HashMap[address, HashMap[address, bool]])


@deploy
def __init__(cooldown: uint256, window: uint256):
    # Without a cooldown one could leave ahead of a loss that is about to be known.
    assert cooldown > 0 and cooldown <= MAX_COOLDOWN, errors.PARAMETERS_COOLDOWN
    assert window > 0, errors.PARAMETERS_REDEEM
    redeem_cooldown = cooldown
    redeem_window = window


# ------------------------------------------------------------------------------------------------------------ operators


@external
def setOperator(operator: address, approved: bool) -> bool:
    self.isOperator[msg.sender][operator] = approved
    log IERC7540Redeem.OperatorSet(controller=msg.sender, operator=operator, approved=approved)
    return True


@internal
@view
def _may_act_for(controller: address) -> bool:
    return msg.sender == controller or self.isOperator[controller][msg.sender]


@internal
@view
def _authorize(controller: address):
    errors._require(self._may_act_for(controller), errors.VAULT_ONLY_CONTROLLER)


# ------------------------------------------------------------------------------------------------------- reading a request


@external
@view
def pendingRedeemRequest(requestId: uint256, controller: address) -> uint256:
    request: Request = self.redeem_request[controller]
    return request.shares if requestId == REQUEST_ID and self._is_cooling(request) else 0


@external
@view
def claimableRedeemRequest(requestId: uint256, controller: address) -> uint256:
    return self._claimable(controller).shares if requestId == REQUEST_ID else 0


@internal
@view
def _claimable(controller: address) -> Request:
    """
    @return The request while its window is open, otherwise an empty one.
    """
    request: Request = self.redeem_request[controller]
    return empty(Request) if self._is_cooling(request) or self._has_lapsed(request) else request


@internal
@view
def _claim(controller: address) -> Request:
    """
    @notice The request that the caller may redeem. Reverts, naming the reason, if there is none.
    """
    self._authorize(controller)
    request: Request = self.redeem_request[controller]
    errors._require(request.shares > 0, errors.VAULT_NO_REQUEST)
    errors._require(not self._is_cooling(request), errors.VAULT_COOLDOWN)
    errors._require(not self._has_lapsed(request), errors.VAULT_LAPSED)
    return request


@internal
@view
def _is_cooling(request: Request) -> bool:
    return block.timestamp < request.opens


@internal
@view
def _has_lapsed(request: Request) -> bool:
    """
    @dev Of a request whose cooldown is over; as a difference, because a window may be as long as it likes.
    """
    return block.timestamp - request.opens >= redeem_window


@internal
@pure
def _capped(request: Request, shares: uint256) -> uint256:
    """
    @notice The most that `shares` of the request bring, token units, rounded down: their part of its value.
    """
    return math._mul_div(request.worth, shares, request.shares, False)


@internal
@pure
def _shares_of(request: Request, assets: uint256) -> uint256:
    """
    @notice The fewest shares of the request that bring `assets` at its value, rounded up.
    """
    errors._require(assets <= request.worth, errors.VAULT_REQUEST)
    return math._mul_div(assets, request.shares, request.worth, True)


# ------------------------------------------------------------------------------------------------------ changing a request


@internal
def _file(controller: address, shares: uint256, worth: uint256):
    """
    @notice Replaces the request and starts its cooldown.
    """
    self.redeem_request[controller] = Request(shares=shares, worth=worth, opens=block.timestamp + redeem_cooldown)


@internal
def _reduce(controller: address, request: Request, shares: uint256):
    """
    @notice Takes `shares` out of the request; what is left has its part of the value, rounded down.
    """
    errors._require(shares <= request.shares, errors.VAULT_REQUEST)
    left: uint256 = request.shares - shares
    if left == 0:
        self._remove(controller)
    else:
        self.redeem_request[controller] = Request(shares=left, worth=self._capped(request, left), opens=request.opens)


@internal
def _remove(controller: address):
    self.redeem_request[controller] = empty(Request)
