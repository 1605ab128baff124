# pragma version 0.4.3
# pragma evm-version cancun
"""
@title Mock token
@license AGPL-3.0-only
@notice An ERC-20 of any decimals that anyone may mint: collateral for tests and local chains.
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
    erc20.transfer,
    erc20.transferFrom,
    erc20.approve,
)


@deploy
def __init__(decimals: uint8):
    ownable.__init__()
    erc20.__init__("Mock dollar", "mUSD", decimals, "Mock dollar", "1")


@external
def mint(owner: address, amount: uint256):
    """
    @param amount Token units.
    """
    erc20._mint(owner, amount)
