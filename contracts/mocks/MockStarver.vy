# pragma version 0.4.3
# pragma evm-version cancun
"""
@title Mock starver
@license AGPL-3.0-only
@notice Winds a market down with no more gas than it is told, as a transaction with that limit would: for attacks on
        whatever asks others by a call that may fail.
"""


@external
def wind_down(market: address, gas_limit: uint256):
    """
    @notice Reverts for the market's reason, or without one where its gas ran out.
    """
    succeeded: bool = False
    answer: Bytes[128] = b""
    succeeded, answer = raw_call(
        market, method_id("wind_down()"), gas=gas_limit, max_outsize=128, revert_on_failure=False
    )
    if not succeeded:
        raw_revert(answer)
