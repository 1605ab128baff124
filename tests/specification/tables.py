"""The tables of SPECIFICATION.md that are read off the contracts: calls, storage, words, constants, bounds, parameters,
reasons, events, gas. What is said of each entry stands here; that there is one of each, and no other, is held by
`test_specification.py`.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from prorata.embedded import USUAL
from prorata.gas import STANDARDS, reviewed
from prorata.parameters import MarketParameters, VaultParameters
from prorata.units import WAD
from tests.boundary.surface import entries
from tests.proofs.words import LAYOUTS, Field
from tests.specification.bounds import FACTS, QUANTITIES, WRAPS, claims, evaluator, quantities
from tests.specification.markdown import table
from tests.specification.sources import constants, members, text

ROOT = Path(__file__).parents[2]

# --------------------------------------------------------------------------------------------------------------- calls

_ANYBODY, _SELF = "anybody", "the market itself"
#: Every function that changes state: who may call, what it does, what it cannot.
CALLS: dict[str, dict[str, tuple[str, str]]] = {
    "PerpetualMarket": {
        "settle": (_ANYBODY, "funding, then price, one step at most; nothing to choose"),
        "settle_to": (_SELF, "the same; the price is the one it has read a line before"),
        "deposit": (_ANYBODY, "own tokens to any account; never lifts an account to a higher bucket"),
        "withdraw": ("the account", "what is free; flat: all, without a price"),
        "fill": ("anybody, with the maker's signature", "takes the other side of an order at its price"),
        "fill_batch": ("anybody, with the makers' signatures", "16 fills at most, all or none"),
        "cancel": ("the maker", "one order, for good"),
        "cancel_all": ("the maker", "all orders below a nonce; it only rises"),
        "liquidate": (_ANYBODY, "takes over what is below maintenance, at the mark, into his own margin"),
        "set_reduce_only": (
            "guardian",
            "shuts out new risk, or ends his own doing of it; no funds, no price, no parameter, no exit",
        ),
        "wind_down": (
            _ANYBODY,
            "reports an oracle that is dead, closes the market `oracle_grace` later if it still is",
        ),
        "sweep": ("the vault", "sends it the whole token units it is owed, nothing else"),
    },
    "InsuranceVault": {
        "cover": ("the market", "draws, per window at most the cap; the money goes to the market alone"),
        "deposit": (_ANYBODY, "own tokens for shares, after settling; shut in catch-up and when closed"),
        "mint": (_ANYBODY, "the same by shares"),
        "requestRedeem": (
            "controller or operator, for his own, his owner's or allowed shares",
            "shares into custody, cooldown begins anew",
        ),
        "cancel_redeem_request": ("controller or operator", "shares back to the controller; no price, no settlement"),
        "redeem": ("controller or operator", "in the window, the lesser of two values"),
        "withdraw": ("controller or operator", "the same by assets"),
        "setOperator": ("controller", "who may act for him"),
        "transfer": ("holder", "ERC-20"),
        "transferFrom": ("spender with allowance", "ERC-20"),
        "approve": ("holder", "ERC-20"),
        "permit": ("anybody, with the holder's signature", "ERC-2612"),
    },
    "TradingLogic": {
        "fill": ("the market, by delegatecall", "called directly, works on storage of its own, in which nothing is"),
        "fill_batch": ("likewise", ""),
        "cancel": ("likewise", ""),
        "cancel_all": ("likewise", ""),
        "liquidate": ("likewise", ""),
        "set_reduce_only": ("likewise", ""),
        "wind_down": ("likewise", ""),
    },
    "MarketLens": {},
}


def changing(contract: str) -> set[str]:
    """Functions of a contract that change state, by its ABI."""
    interface, _ = USUAL.contract(contract)
    return {one["name"] for one in entries(interface) if one["stateMutability"] in ("nonpayable", "payable")}


def calls() -> Iterator[str]:
    """Who may do what."""
    rows = [(f"`{contract}.{name}`", *said) for contract, known in CALLS.items() for name, said in known.items()]
    yield from table("call | who | what", rows)


# --------------------------------------------------------------------------------------------------------------- state


class Variable(NamedTuple):
    """What a storage variable holds."""

    holds: str
    writer: str


#: By module and name; of the market (and `TradingLogic`, in the same slots) and of the vault.
STORAGE: dict[str, dict[str, Variable]] = {
    "PerpetualMarket": {
        "sides._core": Variable("word *core*", "whatever settles, trades or changes the mode; `sweep`"),
        "sides._clock": Variable("word *clock*", "as `_core`"),
        "sides._exposure": Variable("word *exposure* of longs, of shorts", "settlements, trades, liquidations"),
        "sides._reach": Variable("word *reach* of longs, of shorts", "settlements; trades that raise a top"),
        "sides._final_index": Variable(
            "book → K at the end of its epoch, 36 digits", "the move that ends an epoch, once"
        ),
        "buckets._buckets": Variable("book, level, bucket → word *bucket*", "filing and closing"),
        "buckets._bitmaps": Variable("book, level, word → 256 buckets, bit set: has shares", "filing and closing"),
        "buckets._levels": Variable("book, level → word *level*", "filing and closing"),
        "buckets._live_levels": Variable("book → levels that have live words, a bit each", "filing and closing"),
        "settlement.total_socialized": Variable("quote, 18 digits; only grows", "moves with a deficit not covered"),
        "settlement.total_adl_shortfall": Variable(
            "quote, 18 digits; only grows", "moves that deleverage at a lagging mark"
        ),
        "accounts._positions": Variable("account → word *position*", "touches that change something; `cancel_all`"),
        "accounts._anchors": Variable("account → word *anchor*", "touches that change something"),
        "breaker._lag": Variable(
            "index_price (18 digits), step_target (18; 0: none), funding_rest (36, signed); while LAGGING or CLOSED",
            "settlements that do not reach the index; `wind_down`",
        ),
        "modes._reported_at": Variable("seconds; meaningful while SUSPECT", "`wind_down`, the first call"),
        "orders._filled": Variable("order digest → size filled, 18 digits; 2**256 - 1: cancelled", "`fill`, `cancel`"),
    },
    "InsuranceVault": {
        "ownable.owner": Variable("address zero from deployment on", "the constructor"),
        "erc20.balanceOf": Variable("holder → shares, token decimals + 6", "`transfer`, entry, exit"),
        "erc20.allowance": Variable("owner, spender → shares", "`approve`, `permit`, spending"),
        "erc20.totalSupply": Variable("shares, those in custody too", "entry, exit"),
        "erc20.is_minter": Variable("false for everybody", "the constructor"),
        "erc20.nonces": Variable("owner → ERC-2612 nonce", "`permit`"),
        "redemptions.redeem_request": Variable(
            "controller → shares in custody, worth at request (token units), opens (seconds)",
            "`requestRedeem`, `redeem`, `withdraw`, `cancel_redeem_request`",
        ),
        "redemptions.isOperator": Variable("controller, operator → bool", "`setOperator`"),
        "reserve._holding": Variable("word *holding*", "entry, exit, draws"),
        "reserve._window": Variable("word *window*", "draws"),
    },
}


def layout(contract: str) -> dict[str, dict[str, object]]:
    """Every storage variable by module and name: slot, number of slots, type."""
    return {
        f"{module}.{name}": place
        for module, variables in USUAL.storage_layout(contract).items()
        for name, place in variables.items()
    }


def storage() -> Iterator[str]:
    """Slots and what they hold."""
    rows = []
    for contract, known in STORAGE.items():
        for name, place in layout(contract).items():
            slot, many = int(str(place["slot"])), int(str(place["n_slots"]))
            slots = str(slot) if many == 1 else f"{slot} to {slot + many - 1}"
            rows.append((contract, slots, f"`{name}`", place["type"], *known[name]))
    yield from table("contract | slot | variable | type | holds | written by", rows)


#: Which quantity a field of a packed word is, and its unit, by word and field.
FIELDS: dict[str, dict[str, str]] = {
    "core": {"mark": "mark", "epoch": "epoch", "insurance_owed": "money", "conditions": "conditions"},
    "clock": {"premium": "premium", "accrued_at": "seconds", "limited_at": "seconds", "reduce_only_until": "seconds"},
    "exposure": {"shares": "shares", "scale": "scale"},
    "reach": {"index": "index", "coarse top": "coarse_top"},
    "position": {
        "shares": "shares",
        "generation": "generation",
        "epoch": "epoch",
        "level": "level",
        "side": "side",
        "min_nonce": "nonce",
    },
    "anchor": {"amount": "money", "bucket": "bucket"},
    "bucket": {"shares": "shares", "debt": "debt", "generation": "generation"},
    "level": {"top": "bucket", "live": "live_words"},
    "holding": {"held": "units", "window_start": "seconds"},
    "window": {"window_assets": "money", "window_drawn": "money"},
}
_HALVES = {
    "holding": (Field("held", 128), Field("window_start", 128)),
    "window": (Field("window_assets", 128), Field("window_drawn", 128)),
}


def words() -> dict[str, tuple[Field, ...]]:
    """Every packed word, its fields from the low bits up; widths are those that `tests/proofs` proves."""
    return {one.name: one.fields for one in LAYOUTS if one.name != "reserve"} | _HALVES


def packed() -> Iterator[str]:
    """Fields, their bits, what they hold at most."""
    rows = []
    units = {one.name: one.unit for one in QUANTITIES}
    for word, fields in words().items():
        at = 0
        for field in fields:
            quantity = FIELDS[word][field.name]
            most = quantities()[quantity]
            width = f"{field.bits}, signed" if field.signed else field.bits
            rows.append((word, f"`{field.name}`", at, width, quantity, most.bits + field.signed, units[quantity]))
            at += field.bits
    yield from table("word | field | from bit | bits | is a | needs | unit, digits", rows)


# -------------------------------------------------------------------------------------------------------------- bounds


def constants_table() -> Iterator[str]:
    """Every constant number."""
    yield from table(
        "constant | value | in", ((f"`{one.name}`", one.text, f"`{one.file}`") for one in constants().values())
    )


def bounds() -> Iterator[str]:
    """Every quantity."""
    worked = quantities()
    yield from table(
        "quantity | unit, digits | least | largest | bits | because",
        ((one.name, one.unit, f"`{one.low}`", f"`{one.high}`", worked[one.name].bits, one.why) for one in QUANTITIES),
    )


def facts() -> Iterator[str]:
    """What is known of expressions beyond the ranges of their parts, and what is meant to lose bits."""
    yield from table(
        "in | expression | least | largest | because",
        (
            (_place(one.file, one.function), f"`{one.expression}`", f"`{one.low}`", f"`{one.high}`", one.why)
            for one in FACTS
        ),
    )
    yield ""
    yield from table(
        "in | loses high bits, as meant | why",
        ((_place(file, function), f"`{expression}`", why) for file, function, expression, why in WRAPS),
    )


def _place(file: str, function: str) -> str:
    return f"`{file.removeprefix('modules/')}` `{function}`"


def products() -> Iterator[str]:
    """For every function the widest product, shift, conversion or unchecked operation in it."""
    worked = evaluator()
    found: dict[tuple[str, str], list[tuple[int, bool, str]]] = defaultdict(list)
    for site in claims():
        interval = worked.interval(site)
        if "bytes32" not in site.text:  # the same bits under another name
            found[site.file, site.function].append((interval.bits, bool(interval.signed), site.text))
    rows = []
    for (file, function), places in found.items():
        bits, signed, widest = max(places)
        rows.append((_place(file, function), len(places), f"`{widest}`", bits, 255 if signed else 256))
    yield from table("in | places | the widest | bits | of", rows)


# ---------------------------------------------------------------------------------------------------------- parameters


class Parameter(NamedTuple):
    """What a parameter trades off."""

    more: str
    less: str


#: In the order of the struct: what more of it does, and what less.
PARAMETERS: dict[str, Parameter] = {
    "initial_margin": Parameter("less leverage, fewer bankruptcies", "more leverage"),
    "maintenance_margin": Parameter(
        "earlier liquidation, more time for keepers", "less time from liquidation to close-out"
    ),
    "closeout_margin": Parameter(
        "larger steps without a deficit (S8); accounts close with more left", "smaller steps, or deficits"
    ),
    "bucket_width": Parameter(
        "fewer buckets to close, closed up to that much earlier", "more gas a crash, closer to the edge"
    ),
    "fee_rate": Parameter("income of insurance; premiums, so funding, may be larger", "cheaper trading, less funding"),
    "price_band": Parameter(
        "fills further from the mark; more that a fill can move between accounts", "fills near the mark"
    ),
    "min_notional": Parameter("dust and stuffing dearer", "smaller traders"),
    "max_staleness": Parameter("fewer stops when the feed is slow", "less choice among old prices"),
    "max_buckets": Parameter("fewer stopped moves", "cheaper largest call"),
    "max_words": Parameter("fewer stops after the price rose by orders of magnitude", "cheaper largest call"),
    "max_price_step": Parameter("the mark follows at once", "smaller or no deficits, longer catch-up"),
    "step_interval": Parameter("more time for keepers and deposits between steps", "shorter catch-up"),
    "liquidation_fee": Parameter("keepers are paid, accounts lose more", "keepers stay away"),
    "liquidator_share": Parameter("the keeper's part", "insurance's part"),
    "premium_retention": Parameter("premiums are paid over a longer time", "paid sooner; a fill counts for less time"),
    "max_funding": Parameter("funding can be faster", "0: no funding"),
    "margin_slope": Parameter("margin grows with open interest over insurance", "0: static margin"),
    "oi_multiple": Parameter(
        "more open interest for the insurance there is", "smaller disasters; traders locked out. 0: no cap"
    ),
    "cooloff": Parameter("longer reduce-only after a haircut of a basis point", "0: none"),
    "oracle_grace": Parameter("a dead feed may come back", "sooner everybody out"),
    "guardian": Parameter("somebody can shut out new risk", "zero: nobody"),
    "draw_cap": Parameter("more of the vault for one disaster", "more left for the next, more socialized now"),
    "draw_window": Parameter("disasters further apart share a cap", "the cap renews sooner"),
    "redeem_cooldown": Parameter("insurers stay through what they could foresee", "insurers come more readily"),
    "redeem_window": Parameter("easier to redeem", "fewer standing requests"),
}
_MARKET_FIELDS = [(name, comment) for name, _, comment in members("interfaces/IPerpetualMarket.vyi", "Parameters")]
_VAULT_FIELDS = [
    ("draw_cap", "of the assets at a window's first draw, 18 digits"),
    ("draw_window", "seconds"),
    ("redeem_cooldown", "seconds"),
    ("redeem_window", "seconds"),
]


def checks() -> dict[str, list[str]]:
    """Conditions that a deployment is refused without, by parameter, as the contracts state them."""
    rules = re.findall(r"^    assert (.+), errors\.PARAMETERS_", text("modules/parameters.vy"), re.MULTILINE)
    found: dict[str, list[str]] = defaultdict(list)
    for rule in rules:
        for part in rule.split(" and "):
            found[re.findall(r"p\.(\w+)", part)[0]].append(part.replace("p.", ""))
    for file, names in (
        ("modules/reserve.vy", {"cap": "draw_cap", "window": "draw_window"}),
        ("modules/redemptions.vy", {"cooldown": "redeem_cooldown", "window": "redeem_window"}),
        ("modules/oracle.vy", {"max_staleness": "max_staleness"}),
    ):
        for rule in re.findall(r"^    assert (.+), errors\.PARAMETERS_", text(file), re.MULTILINE):
            for part in rule.split(" and "):
                found[names[re.findall(r"\w+", part)[0]]].append(part)
    return found


def parameters() -> Iterator[str]:
    """Every parameter of a deployment."""
    rules = checks()
    defaults, guarded = MarketParameters(), MarketParameters.guarded()
    vault = VaultParameters()
    rows = []
    for name, comment in [*_MARKET_FIELDS, *_VAULT_FIELDS]:
        of_vault = hasattr(vault, name)
        values = [getattr(vault, name)] * 2 if of_vault else [getattr(one, name) for one in (defaults, guarded)]
        shown = [_shown(name, comment, value) for value in values]
        accepted = "<br>".join(f"`{rule}`" for rule in rules[name]) or "any"
        rows.append((f"`{name}`", comment, accepted, *shown, *PARAMETERS[name]))
    yield from table("parameter | unit | accepted | default | guarded | more of it | less of it", rows)


def _shown(name: str, comment: str, value: int | str) -> str:
    if isinstance(value, str):
        return "nobody"
    if "seconds" in comment or name in ("max_buckets", "max_words"):
        return f"{value:,}"
    if name == "premium_retention":
        return f"1 - 1/{WAD // (WAD - value):,}"
    if name in ("min_notional", "oi_multiple"):
        return f"{value / WAD:g}"
    return f"{100 * value / WAD:g} %"


# -------------------------------------------------------------------------------------------------- reasons and events

#: Every reason, and when it is given.
REASONS: dict[str, str] = {
    "ORACLE_NON_POSITIVE": "the feed answers zero or less",
    "ORACLE_INCOMPLETE": "the round has no time, or was answered in an earlier one",
    "ORACLE_FUTURE": "the answer is dated after the block",
    "ORACLE_STALE": "older than max_staleness",
    "ORACLE_RANGE": "outside MIN_PRICE..MAX_PRICE, here or in a preview",
    "ORDER_ZERO_SIZE": "a fill or a liquidation of nothing",
    "ORDER_SELF_FILL": "maker and taker are one",
    "ORDER_EXPIRED": "the second after expiry, or later",
    "ORDER_NONCE": "below the maker's minimum; a minimum that does not rise",
    "ORDER_CANCELLED": "withdrawn for good",
    "ORDER_OVERFILLED": "more than is left of it",
    "ORDER_TAKER": "reserved for another taker",
    "ORDER_SIGNATURE": "neither the maker's key nor its contract says so",
    "ORDER_BAND": "limit price further from the mark than price_band",
    "ORDER_REDUCE_ONLY": "it would not shrink the maker's position",
    "ORDER_NOT_MAKER": "cancelled by another",
    "MARGIN_INITIAL": "who added risk has less than initial margin",
    "MARGIN_HEALTH": "who reduced has less equity for its notional than before",
    "MARGIN_COLLATERAL": "the fill's price costs more than there is",
    "MARGIN_OPEN_INTEREST": "open interest would grow above oi_multiple · insurance",
    "LIQUIDATION_SELF": "one's own account",
    "LIQUIDATION_HEALTHY": "not below maintenance (in catch-up: at mark and index)",
    "POSITION_MINIMUM": "a fill would leave less than min_notional",
    "POSITION_RANGE": "size or open interest of 2**96 or more",
    "ACCOUNT_ZERO_AMOUNT": "a deposit or a withdrawal of nothing",
    "ACCOUNT_ZERO_ADDRESS": "a deposit to nobody",
    "ACCOUNT_FREE": "a withdrawal of more than is free",
    "MARKET_ONLY_SELF": "settle_to, called by another",
    "TOKEN_TRANSFER": "the token returned false",
    "TOKEN_FEE": "less (or more) arrived than was sent",
    "TOKEN_RANGE": "the balance would reach MAX_BALANCE",
    "TOKEN_DECIMALS": "at deployment",
    "MODE_CATCH_UP": "the mark has not reached the index and the call needs it to",
    "MODE_REDUCE_ONLY": "a fill in which not both parties reduce",
    "MODE_CLOSED": "a fill, an entry to the vault, or closing again",
    "MODE_GUARDIAN": "set_reduce_only by another",
    "MODE_ORACLE": "wind_down with an oracle that answers",
    "MODE_GRACE": "wind_down before oracle_grace is over",
    "MODE_GAS": "wind_down with less than READ_GAS left",
    "VAULT_ONLY_MARKET": "cover, called by another",
    "VAULT_ONLY_INSURANCE": "sweep, called by another",
    "VAULT_DRAW_CAP": "a draw above what drawable says",
    "VAULT_ZERO": "nothing would be paid, minted or requested",
    "VAULT_PREVIEW": "as ERC-7540 demands",
    "VAULT_ONLY_CONTROLLER": "neither the controller nor its operator",
    "VAULT_NO_REQUEST": "no request to redeem or to cancel",
    "VAULT_REQUEST": "more shares or assets than the request has",
    "VAULT_COOLDOWN": "redeemed before the window opens",
    "VAULT_LAPSED": "redeemed after it",
    "PARAMETERS_VAULT": "the vault names another market",
    "PARAMETERS_ASSET": "the vault holds another token",
    "PARAMETERS_TRADING": "the trading logic has another feed or other parameters",
}


def reasons() -> dict[str, str]:
    """The string of every reason, by name."""
    return dict(
        re.findall(r'^([A-Z_]+): constant\(String\[\d+\]\) = "([^"]*)"$', text("modules/errors.vy"), re.MULTILINE)
    )


def errors() -> Iterator[str]:
    """Every reason; those of parameters by the condition that they name."""
    condition = "at deployment: the condition stands in the [parameter guide](#7-parameter-guide)"
    rows = [(f"`{said}`", REASONS.get(name, condition)) for name, said in reasons().items()]
    full = "a value does not fit its field: a counter is full, or a bound of chapter 5 is left"
    yield from table("reason | when", [*rows, ("`packing: out of range`", full)])


#: Every event: when, and what can be rebuilt from it.
EVENTS: dict[str, tuple[str, str]] = {
    "Deployed": ("once", "token, feed, vault, trading logic, first mark, all parameters"),
    "Deposited": ("`deposit`", "tokens in, and whose"),
    "Withdrawn": ("`withdraw`", "tokens out"),
    "AccountUpdated": (
        "an account is written",
        "its collateral, shares and bucket from then on; with indices, its equity",
    ),
    "Moved": ("a move that closes nobody", "mark, both indices"),
    "Settled": ("a move that closes buckets", "mark, indices, scales, the receipt: who paid what"),
    "BucketClosed": ("before its `Settled`", "the bucket's word before: who was filed in it is closed, with what left"),
    "EpochEnded": ("the last index of an epoch", "what everybody left in it holds"),
    "Traded": ("a fill", "parties, size, price, mark, fees really collected"),
    "Liquidated": ("a liquidation", "parties, size, mark, fee and reward"),
    "OrderCancelled": ("`cancel`", "which order"),
    "NonceRaised": ("`cancel_all`", "which orders are void"),
    "ReduceOnly": ("`set_reduce_only`", "the guardian's mode; a trip follows from `Settled` and cooloff"),
    "OracleReported": ("the first `wind_down`", "when the grace period began"),
    "Closed": ("the second `wind_down`", "the price that the market ends at"),
    "Swept": ("`sweep`", "token units from market to vault"),
    "Covered": ("a draw", "quote drawn, token units sent, drawn in the window"),
    "Deposit": ("entry, ERC-4626", "assets in, shares minted"),
    "Withdraw": ("exit, ERC-4626", "assets out, shares burned; owner is the controller"),
    "RedeemRequest": ("`requestRedeem`, ERC-7540", "shares added to a request"),
    "RedeemRequestCancelled": ("`cancel_redeem_request`", "shares given back"),
    "OperatorSet": ("`setOperator`, ERC-7540", "who may act for whom"),
    "Transfer": ("shares move, ERC-20", "who holds how many"),
    "Approval": ("`approve`, `permit`, ERC-20", "allowances"),
    "OwnershipTransferred": ("construction", "nobody owns the share token"),
    "RoleMinterChanged": ("construction", "nobody may mint but the vault"),
}


def events_of(contract: str) -> set[str]:
    """Names of a contract's events, by its ABI."""
    return set(USUAL.contract(contract)[0].event_names().values())


def events() -> Iterator[str]:
    """Every event of market and vault; those of `TradingLogic` come in the market's name."""
    emitters = {"market": events_of("PerpetualMarket"), "vault": events_of("InsuranceVault")}
    rows = [
        (f"`{name}`", ", ".join(of for of, names in emitters.items() if name in names), *said)
        for name, said in EVENTS.items()
    ]
    yield from table("event | of | logged by | rebuilds", rows)


# ----------------------------------------------------------------------------------------------------------------- gas


def gas() -> Iterator[str]:
    """Every case of the snapshot."""
    found = reviewed()
    cases = {name: used for name, used in found.items() if not name.startswith("bytecode_")}
    rows = []
    for name, used in cases.items():
        standard = STANDARDS.get(name)
        rows.append(
            (f"`{name}`", f"{used:,}", *((standard.operation, f"{standard.bound:,}") if standard else ("", "")))
        )
    yield from table("case | gas | is | wanted", rows)
    yield ""
    sizes = ((name.removeprefix("bytecode_"), f"{found[name]:,}") for name in found if name not in cases)
    yield from table("contract | bytes of code, of 24,576", sizes)


def sweep() -> Iterator[str]:
    """What step cap and insurance did in the last sweep of stressed markets."""
    found = json.loads((ROOT / "snapshots" / "sweep.json").read_text())
    rows = []
    for one in found["recommended"]:
        keepers = [keeper for keeper in found["keepers"] if keeper["step_cap"] == one["step_cap"]]
        solvent = [keeper["solvent"] for keeper in keepers]
        closed = [keeper["closed_rate"] for keeper in keepers]
        rows.append(
            (
                f"{one['step_cap']:.0%}",
                f"{min(solvent):.0%} to {max(solvent):.0%}",
                f"{min(closed):.0%} to {max(closed):.0%}",
                f"{one['at'][0]:.1%}",
                f"{one['insurance']:.1%}",
                f"{one['cost']:.1%}",
            )
        )
    yield from table(
        "max_price_step | paths without a deficit, by keeper | accounts closed, by keeper "
        "| ES 99 % of the haircut, uninsured | insurance for 1 %, of open interest | cost, of open interest",
        rows,
    )
