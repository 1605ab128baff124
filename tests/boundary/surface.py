"""Every external function of a market, its vault and its lens as the compiler lists them, with arguments under which
whoever calls it gets something done. A function that is added to a contract is here by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from eth_account import Account

from prorata.abi import Interface
from prorata.embedded import EmbeddedContract
from prorata.exchange import Exchange
from prorata.orders import Order
from prorata.units import WAD
from tests.boundary.world import DEPOSITOR, MAKER, SALT, STRANGER, VICTIM, chain_of, index_of

#: Refused by name to all but the one contract each of them is for.
RESERVED = {
    "market.settle_to": "market: only itself",
    "market.sweep": "vault: only the insurance vault",
    "vault.cover": "vault: only the market",
}
#: Views that only refuse, as ERC-7540 demands.
NO_PREVIEW = {name: "vault: redemption has no preview" for name in ("vault.previewRedeem", "vault.previewWithdraw")}
#: What an argument is if nothing better is known.
DEFAULTS: dict[str, Any] = {"uint256": WAD, "bool": True, "bytes4": b"\x01\xff\xc9\xa7", "bytes32": bytes(32)}


@dataclass(frozen=True)
class Function:
    """One call: `market.deposit`, its calldata, and whether it is a view."""

    name: str
    contract: EmbeddedContract
    payload: bytes
    is_view: bool


def rooms(exchange: Exchange) -> dict[str, EmbeddedContract]:
    """The contracts whose functions are meant."""
    chain, addresses = chain_of(exchange), exchange.addresses
    named = {"PerpetualMarket": addresses.market, "InsuranceVault": addresses.vault, "MarketLens": addresses.lens}
    return dict(zip(("market", "vault", "lens"), (chain.at(*one) for one in named.items()), strict=True))


def entries(interface: Interface) -> list[dict[str, Any]]:
    """The functions of an ABI."""
    return [entry for entry in interface._abi if entry["type"] == "function"]


def surface(exchange: Exchange, me: str, own_order: Order) -> dict[str, Function]:
    """Every function, called by `me` on its own behalf at the present price.

    Args:
        me: whoever calls; `endow` gives it what it needs.
        own_order: an order that it made.
    """
    given = meaningful(exchange, me, own_order)
    found = {}
    for room, contract in rooms(exchange).items():
        for entry in entries(contract.interface):
            name = f"{room}.{entry['name']}"
            arguments = given.get(name) or [default(exchange, me, field) for field in entry["inputs"]]
            payload = contract.interface.calldata(entry["name"], arguments)
            found[name] = Function(name, contract, payload, entry["stateMutability"] in ("view", "pure"))
    return found


def default(exchange: Exchange, me: str, field: dict[str, Any]) -> Any:
    """An argument by its type, and by its name where a type may be anything."""
    if field["name"] in ("requestId", "side"):
        return 0
    if field["name"] == "market":
        return exchange.market.address
    return me if field["type"] == "address" else DEFAULTS[field["type"]]


def meaningful(exchange: Exchange, me: str, own_order: Order) -> dict[str, list[Any]]:
    """Arguments of the functions that need more than any."""
    chain, price = exchange.chain, index_of(exchange)
    order = exchange.order(MAKER, True, 4 * WAD, price, salt=2 * SALT - 1)
    fill = (order.as_tuple(), exchange.sign(MAKER, order), WAD)
    stranger, depositor = chain.address(STRANGER), chain.address(DEPOSITOR)
    return {
        "market.settle_to": [price // 2],
        "market.fill": list(fill),
        "market.fill_batch": [[fill] * 2],
        "market.cancel": [own_order.as_tuple()],
        "market.cancel_all": [1],
        "market.liquidate": [chain.address(VICTIM), WAD],
        "market.preview_settlement": [price],
        "vault.transfer": [stranger, 10**6],
        "vault.transferFrom": [depositor, me, 10**6],
        "vault.approve": [stranger, 10**6],
        "vault.setOperator": [stranger, True],
        "vault.permit": permit(exchange, stranger),
        "vault.mint": [10**24, me],
        "vault.requestRedeem": [10**20, me, me],
        "vault.redeem": [10**20, me, me],
        "vault.withdraw": [WAD // 1000, me, me],
        "vault.cover": [1, 0],
        "lens.hash_order": [exchange.market.address, own_order.as_tuple()],
    }


def permit(exchange: Exchange, spender: str) -> list[Any]:
    """DEPOSITOR lets somebody have a share, by signature (EIP-2612)."""
    chain = exchange.chain
    owner, deadline = chain.address(DEPOSITOR), 2**255
    fields = {"owner": "address", "spender": "address", "value": "uint256", "nonce": "uint256", "deadline": "uint256"}
    signed = Account.sign_typed_data(
        chain.key(DEPOSITOR),
        domain_data={
            "name": "prorata insurance",
            "version": "1",
            "chainId": chain.chain_id,
            "verifyingContract": exchange.vault.address,
        },
        message_types={"Permit": [{"name": name, "type": kind} for name, kind in fields.items()]},
        message_data={"owner": owner, "spender": spender, "value": 1, "nonce": 0, "deadline": deadline},
    )
    return [owner, spender, 1, deadline, signed.v, signed.r.to_bytes(32, "big"), signed.s.to_bytes(32, "big")]


def endow(exchange: Exchange, me: str) -> None:
    """Tokens, collateral, vault shares and an allowance of more: with them `me` can do all that a user can."""
    chain = exchange.chain
    chain.transact(exchange.token, "mint", me, exchange.to_units(10**5 * WAD), sender=0)
    chain.transact(exchange.market, "deposit", exchange.to_units(10**4 * WAD), me, sender=STRANGER)
    chain.transact(exchange.vault, "deposit", exchange.to_units(WAD), me, sender=STRANGER)
    chain.transact(exchange.vault, "approve", me, 10**6, sender=DEPOSITOR)
