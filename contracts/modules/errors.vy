# pragma version 0.4.3
"""
@title Errors
@license AGPL-3.0-only
@notice Every reason for which the market or its vault says no. A reason names the room and the rule broken; tests match
        these strings, so a changed rule is a changed string.
@dev `_require` instead of `assert`, because the compiler writes out the whole revert at every assert with a reason: 114
     bytes of code each, which alone would take the market over the limit of a contract's size.
"""

# Oracle (design §8): why an answer is refused.
ORACLE_NON_POSITIVE: constant(String[32]) = "oracle: non-positive answer"
ORACLE_INCOMPLETE: constant(String[32]) = "oracle: incomplete round"
ORACLE_FUTURE: constant(String[32]) = "oracle: future-dated"
ORACLE_STALE: constant(String[32]) = "oracle: stale"
ORACLE_RANGE: constant(String[32]) = "oracle: price out of range"

# Orders (§5).
ORDER_ZERO_SIZE: constant(String[32]) = "order: zero size"
ORDER_SELF_FILL: constant(String[32]) = "order: self-fill"
ORDER_EXPIRED: constant(String[32]) = "order: expired"
ORDER_NONCE: constant(String[32]) = "order: nonce too low"
ORDER_CANCELLED: constant(String[32]) = "order: cancelled"
ORDER_OVERFILLED: constant(String[32]) = "order: over-filled"
ORDER_TAKER: constant(String[32]) = "order: reserved for another"
ORDER_SIGNATURE: constant(String[32]) = "order: invalid signature"
ORDER_BAND: constant(String[32]) = "order: price outside band"
ORDER_REDUCE_ONLY: constant(String[32]) = "order: not reduce-only"
ORDER_NOT_MAKER: constant(String[32]) = "order: caller is not the maker"

# Margin (§5).
MARGIN_INITIAL: constant(String[32]) = "margin: below initial"
MARGIN_HEALTH: constant(String[32]) = "margin: less healthy than before"
MARGIN_COLLATERAL: constant(String[32]) = "margin: not enough collateral"
MARGIN_OPEN_INTEREST: constant(String[32]) = "margin: open interest cap"

# Liquidation (§6).
LIQUIDATION_SELF: constant(String[32]) = "liquidation: own account"
LIQUIDATION_HEALTHY: constant(String[32]) = "liquidation: healthy account"

# Accounts and positions (§2, §4, §11).
POSITION_MINIMUM: constant(String[32]) = "position: below minimum"
POSITION_RANGE: constant(String[32]) = "position: out of range"
ACCOUNT_ZERO_AMOUNT: constant(String[32]) = "account: zero amount"
ACCOUNT_ZERO_ADDRESS: constant(String[32]) = "account: zero address"
ACCOUNT_FREE: constant(String[32]) = "account: above free collateral"

# The market itself.
MARKET_ONLY_SELF: constant(String[32]) = "market: only itself"

# Tokens.
TOKEN_TRANSFER: constant(String[32]) = "token: transfer failed"
TOKEN_FEE: constant(String[32]) = "token: fee on transfer"
TOKEN_RANGE: constant(String[32]) = "token: balance out of range"
TOKEN_DECIMALS: constant(String[32]) = "token: more than 18 decimals"

# Modes (§8).
MODE_CATCH_UP: constant(String[32]) = "mode: catch-up"
MODE_REDUCE_ONLY: constant(String[32]) = "mode: reduce-only"
MODE_CLOSED: constant(String[32]) = "mode: closed"
MODE_GUARDIAN: constant(String[32]) = "mode: only the guardian"
MODE_ORACLE: constant(String[32]) = "mode: oracle is alive"
MODE_GRACE: constant(String[32]) = "mode: oracle grace"
MODE_GAS: constant(String[32]) = "mode: too little gas"

# Insurance vault (§7).
VAULT_ONLY_MARKET: constant(String[32]) = "vault: only the market"
VAULT_ONLY_INSURANCE: constant(String[32]) = "vault: only the insurance vault"
VAULT_DRAW_CAP: constant(String[32]) = "vault: above the draw cap"
VAULT_ZERO: constant(String[32]) = "vault: zero assets or shares"
VAULT_PREVIEW: constant(String[32]) = "vault: redemption has no preview"
VAULT_ONLY_CONTROLLER: constant(String[32]) = "vault: only the controller"
VAULT_NO_REQUEST: constant(String[32]) = "vault: nothing requested"
VAULT_REQUEST: constant(String[32]) = "vault: more than requested"
VAULT_COOLDOWN: constant(String[32]) = "vault: cooldown is not over"
VAULT_LAPSED: constant(String[32]) = "vault: redeem window has lapsed"
PARAMETERS_COOLDOWN: constant(String[48]) = "parameters: redeem cooldown not in (0, 1 year]"
PARAMETERS_REDEEM: constant(String[48]) = "parameters: redeem window is zero"

# Deployment (§8): contradictions between parameters.
PARAMETERS_CLOSEOUT: constant(String[48]) = "parameters: closeout margin is zero"
PARAMETERS_WIDTH: constant(String[48]) = "parameters: bucket width not in 0.01 %..1 %"
PARAMETERS_MAINTENANCE: constant(String[48]) = "parameters: maintenance < closeout + 2 widths"
PARAMETERS_INITIAL: constant(String[48]) = "parameters: initial <= maintenance"
PARAMETERS_INITIAL_RANGE: constant(String[48]) = "parameters: initial above 100 %"
PARAMETERS_FEE: constant(String[48]) = "parameters: fee above maintenance"
PARAMETERS_BAND: constant(String[48]) = "parameters: price band not in (0, 50 %]"
PARAMETERS_MINIMUM: constant(String[48]) = "parameters: minimum notional out of range"
PARAMETERS_STALENESS: constant(String[48]) = "parameters: staleness is zero"
PARAMETERS_BUDGET: constant(String[48]) = "parameters: settlement budget out of range"
PARAMETERS_DRAW: constant(String[48]) = "parameters: draw cap not in (0, 90 %]"
PARAMETERS_WINDOW: constant(String[48]) = "parameters: draw window is zero"
PARAMETERS_VAULT: constant(String[48]) = "parameters: vault belongs to another market"
PARAMETERS_ASSET: constant(String[48]) = "parameters: vault holds another token"
PARAMETERS_TRADING: constant(String[48]) = "parameters: trading logic of another market"
PARAMETERS_STEP: constant(String[48]) = "parameters: price step not in (0, 50 %]"
PARAMETERS_INTERVAL: constant(String[48]) = "parameters: step interval out of range"
PARAMETERS_LIQUIDATION: constant(String[48]) = "parameters: liquidation fee above maintenance"
PARAMETERS_SHARE: constant(String[48]) = "parameters: liquidator share above 100 %"
PARAMETERS_RETENTION: constant(String[48]) = "parameters: premium retention out of range"
PARAMETERS_FUNDING: constant(String[48]) = "parameters: max funding above closeout margin"
PARAMETERS_SLOPE: constant(String[48]) = "parameters: margin slope above 100 %"
PARAMETERS_MULTIPLE: constant(String[48]) = "parameters: open interest multiple too large"
PARAMETERS_TIMES: constant(String[48]) = "parameters: cooloff or grace out of range"


@internal
@pure
def _require(ok: bool, reason: String[32]):
    """
    @notice Reverts with `reason` unless `ok`.
    """
    assert ok, reason
