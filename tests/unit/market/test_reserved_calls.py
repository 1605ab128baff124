"""Who may call what: calls that only market and vault may make of each other, and the code of trades where it stands.

What a contract can do while the market is at work is the business of `tests/boundary/test_reentrancy_matrix.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest

from prorata.chain import Reverted
from prorata.embedded import EmbeddedContract, compile_contract
from prorata.exchange import FUNDS, Addresses, Exchange
from prorata.orders import Order
from prorata.parameters import MarketParameters, VaultParameters
from prorata.revm_chain import RevmChain
from prorata.units import WAD

MAKER, TAKER, OTHER, DEPOSITOR, VICTIM = 1, 2, 3, 4, 5
MARK = 1000 * WAD
GRACE = 3600

# Makes any call that it is told to make. As a token it is the market's; as a trader it can do what everybody can.
ATTACKER = """
# pragma version 0.4.3

decimals: public(constant(uint8)) = 18
balanceOf: public(HashMap[address, uint256])

@external
def strike(target: address, payload: Bytes[2048]):
    raw_call(target, payload)

@external
def mint(owner: address, amount: uint256):
    self.balanceOf[owner] += amount

@external
def approve(spender: address, amount: uint256) -> bool:
    return True

@external
def transfer(to: address, amount: uint256) -> bool:
    self.balanceOf[msg.sender] -= amount
    self.balanceOf[to] += amount
    return True

@external
def transferFrom(owner: address, to: address, amount: uint256) -> bool:
    self.balanceOf[owner] -= amount
    self.balanceOf[to] += amount
    return True
"""

#: A call: contract, calldata.
Call = tuple[EmbeddedContract, bytes]
#: The ERC-20 of the vault's shares: nothing there depends on the market, so nothing is locked.
SHARE_FUNCTIONS = {"transfer", "transferFrom", "approve", "permit", "setOperator"}
#: Only the market and its vault may call each other there; refused by name, not by a lock.
RESERVED = {
    "market.sweep": "vault: only the insurance vault",
    "market.settle_to": "market: only itself",
    "vault.cover": "vault: only the market",
}
#: Possible only while the oracle's answer is refused.
ORPHANED = {"market.wind_down"}


@dataclass
class Stage:
    """A market with money in it, and an attacker that is able to do everything a user can do."""

    exchange: Exchange
    attacker: EmbeddedContract
    calls: dict[str, Call]
    own_expiry: int = 0  # of the attacker's order

    @property
    def chain(self) -> RevmChain:
        chain = self.exchange.chain
        assert isinstance(chain, RevmChain)
        return chain

    def strike_alone(self, name: str) -> None:
        contract, payload = self.calls[name]
        self.chain.transact(self.attacker, "strike", contract.address, payload, sender=0)


def set_up() -> Stage:
    """A market whose token is the attacker."""
    chain = RevmChain()
    feed = chain.deploy("MockAggregator", 18, MARK * 103 // 100)
    token = attacker = chain.deploy_source(ATTACKER)
    # Nobody is as powerful as an attacker who is the guardian too.
    parameters = MarketParameters(fee_rate=WAD // 1000, guardian=attacker.address, oracle_grace=GRACE)
    trading = chain.deploy("TradingLogic", feed.address, parameters.as_tuple())
    address = chain.next_address(0, skip=1)
    vault = chain.deploy("InsuranceVault", token.address, address, *VaultParameters(redeem_cooldown=1).as_tuple())
    contracts = [contract.address for contract in (token, feed, vault, trading)]
    market = chain.deploy("PerpetualMarket", *contracts, parameters.as_tuple())
    lens = chain.deploy("MarketLens")
    addresses = Addresses(*contracts, market=market.address, lens=lens.address)
    exchange = Exchange(chain, addresses, 18)
    for trader in (MAKER, TAKER, OTHER):
        exchange.fund(trader)
        exchange.deposit(trader, 10**5 * WAD)
    exchange.fund(DEPOSITOR, exchange.vault)
    exchange.insure(DEPOSITOR, 1000 * WAD)

    # A victim who was long at 1030 and is below maintenance at 1000.
    exchange.fund(VICTIM)
    exchange.deposit(VICTIM, 53 * WAD)
    exchange.trade(VICTIM, TAKER, True, WAD, MARK * 103 // 100)
    stage = Stage(exchange, attacker, {})
    exchange.set_price(MARK)
    exchange.settle()

    # The attacker: tokens, collateral, vault shares, an order of its own and one of a maker's.
    chain.transact(exchange.token, "mint", attacker.address, FUNDS, sender=0)
    chain.transact(market, "deposit", 10**4 * WAD, attacker.address, sender=OTHER)
    chain.transact(vault, "deposit", 1000 * WAD, attacker.address, sender=DEPOSITOR)
    exchange.request_redeem(DEPOSITOR, exchange.vault_shares(DEPOSITOR) // 10)
    payload = vault.interface.calldata("requestRedeem", [10**22, attacker.address, attacker.address])
    chain.transact(attacker, "strike", vault.address, payload, sender=0)
    theirs = exchange.order(MAKER, True, 10 * WAD, MARK)
    stage.own_expiry = chain.now + 10**6
    own = Order(attacker.address, True, 10 * WAD, MARK, expiry=stage.own_expiry)
    me = attacker.address
    arguments: dict[str, list[Any]] = {
        "market.settle": [],
        "market.deposit": [WAD, me],
        "market.withdraw": [WAD],
        "market.liquidate": [chain.address(VICTIM), WAD],
        "market.set_reduce_only": [True],
        "market.wind_down": [],
        "market.sweep": [],
        "market.settle_to": [MARK // 2],
        "market.fill": [theirs.as_tuple(), exchange.sign(MAKER, theirs), WAD],
        "market.fill_batch": [[(theirs.as_tuple(), exchange.sign(MAKER, theirs), WAD)] * 2],
        "market.cancel": [own.as_tuple()],
        "market.cancel_all": [1],
        "vault.deposit": [WAD, me],
        "vault.mint": [10**24, me],
        "vault.requestRedeem": [10**20, me, me],
        "vault.cancel_redeem_request": [me],
        "vault.withdraw": [WAD // 1000, me, me],
        "vault.redeem": [10**20, me, me],
        "vault.cover": [1, 0],
    }
    rooms = {"market": market, "vault": vault}
    for name, values in arguments.items():
        contract = rooms[name.split(".")[0]]
        stage.calls[name] = (contract, contract.interface.calldata(name.split(".")[1], values))
    return stage


CALLS = list(set_up().calls)
FREE_CALLS = [name for name in CALLS if name not in RESERVED and name not in ORPHANED]


# ---------------------------------------------------------------------------------------------- what there is to call


def test_every_state_changing_function_is_tried() -> None:
    rooms = (("market", "PerpetualMarket"), ("vault", "InsuranceVault"))
    for prefix, contract in rooms:
        abi = compile_contract(contract)[0]._abi
        names = {e["name"] for e in abi if e["type"] == "function" and e["stateMutability"] == "nonpayable"}
        tried = {name.split(".")[1] for name in CALLS if name.startswith(prefix)}
        assert names - SHARE_FUNCTIONS == tried


def test_every_call_succeeds_alone() -> None:
    stage = set_up()
    for name in FREE_CALLS:
        with stage.chain.anchor():
            stage.strike_alone(name)
    stage.exchange.set_round(0, stage.chain.now + 1)
    for name in ORPHANED:
        stage.strike_alone(name)


@pytest.mark.parametrize("name", RESERVED)
def test_a_reserved_call_is_refused_by_name(name: str, refuses: Callable[[str], Any]) -> None:
    """Even if it comes from a contract that is the guardian, from a trader, or from whoever deployed it all."""
    stage = set_up()
    contract, payload = stage.calls[name]
    with refuses(RESERVED[name]):
        stage.strike_alone(name)
    for sender in (MAKER, 0):
        with refuses(RESERVED[name]):
            stage.chain._run(stage.chain.address(sender), contract.address, payload, modifying=True)


class TestTradingLogic:
    """The code of trades, liquidations and modes, called where it stands: it works on its own storage, where nothing
    is, whatever the caller may do in the market."""

    #: Why it refuses the maker, and why the attacker, who is the guardian and the maker of the order to cancel.
    REFUSALS: ClassVar[dict[str, tuple[str | None, str | None]]] = {
        "market.fill": ("order: self-fill", "order: invalid signature"),
        "market.fill_batch": ("order: self-fill", "order: invalid signature"),
        "market.cancel": ("order: caller is not the maker", None),
        "market.cancel_all": (None, None),
        "market.liquidate": ("", ""),  # it has no way to settle
        "market.set_reduce_only": ("mode: only the guardian", None),
        "market.wind_down": (None, "mode: oracle grace"),  # there is no oracle to ask, so it is reported at once
    }

    @pytest.mark.parametrize("name", REFUSALS)
    def test_called_directly_does_nothing(self, name: str, state: Callable[..., Any]) -> None:
        stage = set_up()
        trading = stage.exchange.addresses.trading
        own = Order(stage.attacker.address, True, 10 * WAD, MARK, expiry=stage.own_expiry)
        before = state(stage.exchange, own)
        payload = stage.calls[name][1]
        for number, refusal in enumerate(self.REFUSALS[name]):
            with nullcontext() if refusal is None else pytest.raises(Reverted) as caught:
                if number == 0:
                    stage.chain._run(stage.chain.address(MAKER), trading, payload, modifying=True)
                else:
                    stage.chain.transact(stage.attacker, "strike", trading, payload, sender=0)
            assert (caught.value.reason if caught else None) == refusal
        assert state(stage.exchange, own) == before

    def test_trades_nothing_even_by_orders_signed_for_it(
        self, state: Callable[[Exchange], Any], refuses: Callable[[str], Any]
    ) -> None:
        """It would have to settle first, and has no way to."""
        stage = set_up()
        exchange = stage.exchange
        before = state(exchange)
        for price in (MARK, 0):
            order = exchange.order(MAKER, True, WAD, price)
            signature = order.sign(stage.chain.key(MAKER), exchange.addresses.trading, stage.chain.chain_id)
            logic = stage.chain.at("TradingLogic", exchange.addresses.trading)
            with refuses(""):
                stage.chain.transact(logic, "fill", order.as_tuple(), signature, WAD, sender=TAKER)
            with refuses(""):
                stage.chain.transact(logic, "fill_batch", [(order.as_tuple(), signature, WAD)], sender=TAKER)
            with refuses("order: invalid signature"):
                exchange.take(TAKER, order, signature, WAD)
        assert state(exchange) == before

    def test_has_nothing_else_to_call(self) -> None:
        abi = compile_contract("TradingLogic")[0]._abi
        named = {name.split(".")[1] for name in self.REFUSALS}
        assert {e["name"] for e in abi if e["type"] == "function"} == named | {"terms_hash"}

    def test_serves_a_second_market_as_well(
        self, state: Callable[[Exchange], Any], refuses: Callable[[str], Any]
    ) -> None:
        """Two markets with the same feed, parameters and trading logic: what happens in one is nothing to the other."""
        chain = RevmChain()
        first = Exchange.deploy(chain, MARK)
        vault = chain.deploy(
            "InsuranceVault", first.addresses.token, chain.next_address(0, skip=1), *VaultParameters().as_tuple()
        )
        contracts = (first.addresses.token, first.addresses.feed, vault.address, first.addresses.trading)
        market = chain.deploy("PerpetualMarket", *contracts, MarketParameters().as_tuple())
        second = Exchange(chain, replace(first.addresses, vault=vault.address, market=market.address), 18)
        for exchange in (first, second):
            for trader in (MAKER, TAKER):
                exchange.fund(trader)
                exchange.deposit(trader, 1000 * WAD)
        before = state(first)
        second.trade(MAKER, TAKER, True, WAD, MARK)
        assert second.account(MAKER).shares == WAD
        assert state(first) == before | {"tokens": state(first)["tokens"]}
        second_before = state(second)
        first.trade(MAKER, TAKER, False, 2 * WAD, MARK)
        assert (first.account(MAKER).side, first.account(MAKER).shares) == (1, 2 * WAD)
        assert state(second) == second_before
        # The code is the same, the name under which an order is signed is not.
        order = first.order(MAKER, True, WAD, MARK)
        with refuses("order: invalid signature"):
            second.take(TAKER, order, first.sign(MAKER, order), WAD)
        first.take(TAKER, order, first.sign(MAKER, order), WAD)
