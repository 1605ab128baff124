# pragma version 0.4.3
# pragma evm-version cancun
"""
@title Mock token with hooks
@license AGPL-3.0-only
@notice As `MockToken`, and like ERC-777 it calls whoever asks for it: a payer before the tokens move, a payee after. For
        tests and local chains.
"""

from snekmate.auth import ownable
from snekmate.tokens import erc20

initializes: ownable
initializes: erc20[ownable := ownable]

exports: (
    erc20.name,
    erc20.symbol,
    erc20.decimals,
    erc20.totalSupply,
    erc20.balanceOf,
    erc20.allowance,
    erc20.approve,
)


interface IHolder:
    def tokens_move(): nonpayable


is_hooked: public(HashMap[address, bool])


@deploy
def __init__(decimals: uint8):
    ownable.__init__()
    erc20.__init__("Mock dollar with hooks", "hUSD", decimals, "Mock dollar with hooks", "1")


@external
def mint(owner: address, amount: uint256):
    """
    @param amount Token units.
    """
    erc20._mint(owner, amount)


@external
def set_hook(on: bool):
    """
    @notice Whether the caller is told of its transfers, by `tokens_move`.
    """
    self.is_hooked[msg.sender] = on


@external
def transfer(to: address, amount: uint256) -> bool:
    self._tell(msg.sender)
    erc20._transfer(msg.sender, to, amount)
    self._tell(to)
    return True


@external
def transferFrom(owner: address, to: address, amount: uint256) -> bool:
    self._tell(owner)
    erc20._spend_allowance(owner, msg.sender, amount)
    erc20._transfer(owner, to, amount)
    self._tell(to)
    return True


@internal
def _tell(holder: address):
    if self.is_hooked[holder]:
        extcall IHolder(holder).tokens_move()
