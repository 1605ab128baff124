"""Re-entrancy: a token, a contract maker and an oracle that call back into the market and its vault from wherever they
are called. Each call is first seen to succeed when it is made alone, so that inside it fails for nothing but the lock.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from prorata.embedded import EmbeddedContract, compile_contract
from prorata.exchange import FUNDS, Addresses, Exchange
from prorata.orders import Order
from prorata.parameters import MarketParameters, VaultParameters
from prorata.revm_chain import RevmChain
from prorata.units import WAD

MAKER, TAKER, OTHER, DEPOSITOR, LOSER = 1, 2, 3, 4, 5
MARK = 1000 * WAD

# What all three have in common: a list of calls, made one by one when the moment has come.
STRIKER = """
# pragma version 0.4.3

struct Strike:
    target: address
    payload: Bytes[2048]

strikes: DynArray[Strike, 16]
armed: bool
tried: public(uint256)
succeeded: public(uint256)

@external
def arm(strikes: DynArray[Strike, 16]):
    self.strikes = strikes
    self.armed = True

@external
def strike(target: address, payload: Bytes[2048]):
    raw_call(target, payload)
"""

TOKEN = (
    STRIKER
    + """
decimals: public(constant(uint8)) = 18
balanceOf: public(HashMap[address, uint256])

@internal
def _hook():
    if self.armed:
        self.armed = False
        for strike: Strike in self.strikes:
            self.tried += 1
            if raw_call(strike.target, strike.payload, revert_on_failure=False):
                self.succeeded += 1

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
    self._hook()
    return True

@external
def transferFrom(owner: address, to: address, amount: uint256) -> bool:
    self.balanceOf[owner] -= amount
    self.balanceOf[to] += amount
    self._hook()
    return True
"""
)

# Called statically, so it can remember nothing: it signs only if every one of its calls has failed.
CONTRACT_MAKER = (
    STRIKER
    + """
@external
def isValidSignature(digest: bytes32, signature: Bytes[65]) -> bytes4:
    for strike: Strike in self.strikes:
        if raw_call(strike.target, strike.payload, revert_on_failure=False):
            return 0xffffffff
    return 0x1626ba7e
"""
)

# Answers with half the price if one of its calls has succeeded.
ORACLE = (
    STRIKER
    + """
decimals: public(constant(uint8)) = 18
answer: int256

@external
def set_answer(answer: int256):
    self.answer = answer

@external
def latestRoundData() -> (uint80, int256, uint256, uint256, uint80):
    if self.armed:
        for strike: Strike in self.strikes:
            if raw_call(strike.target, strike.payload, revert_on_failure=False):
                return 1, self.answer // 2, block.timestamp, block.timestamp, 1
    return 1, self.answer, block.timestamp, block.timestamp, 1
"""
)

#: A call: contract, calldata.
Call = tuple[EmbeddedContract, bytes]
#: The ERC-20 of the vault's shares: nothing there depends on the market, so nothing is locked.
SHARE_FUNCTIONS = {"transfer", "transferFrom", "approve", "permit"}
#: Only the market and the vault may call each other there; refused by name, not by a lock.
RESERVED = {"market.sweep", "vault.cover"}


@dataclass
class Stage:
    """A market with money in it, and an attacker that is able to do everything a user can do."""

    exchange: Exchange
    attacker: EmbeddedContract
    calls: dict[str, Call]

    @property
    def chain(self) -> RevmChain:
        chain = self.exchange.chain
        assert isinstance(chain, RevmChain)
        return chain

    def arm(self, *names: str) -> None:
        strikes = [(self.calls[name][0].address, self.calls[name][1]) for name in names]
        self.chain.transact(self.attacker, "arm", strikes, sender=0)

    def strike_alone(self, name: str) -> None:
        contract, payload = self.calls[name]
        self.chain.transact(self.attacker, "strike", contract.address, payload, sender=0)


def set_up(hostile: str) -> Stage:
    """A market whose token, feed or some maker is hostile."""
    chain = RevmChain()
    honest_token = chain.deploy("MockToken", 18)
    honest_feed = chain.deploy("MockAggregator", 18, MARK)
    attacker = chain.deploy_source({"token": TOKEN, "maker": CONTRACT_MAKER, "oracle": ORACLE}[hostile])
    if hostile == "oracle":
        chain.transact(attacker, "set_answer", MARK, sender=0)
    token = attacker if hostile == "token" else honest_token
    feed = attacker if hostile == "oracle" else honest_feed
    address = chain.next_address(0, skip=1)
    vault = chain.deploy("InsuranceVault", token.address, address, *vars(VaultParameters()).values())
    parameters = MarketParameters(fee_rate=WAD // 1000)
    market = chain.deploy("PerpetualMarket", token.address, feed.address, vault.address, parameters.as_tuple())
    lens = chain.deploy("MarketLens")
    exchange = Exchange(chain, Addresses(token.address, feed.address, vault.address, market.address, lens.address), 18)
    for trader in (MAKER, TAKER, OTHER, LOSER):
        exchange.fund(trader)
        exchange.deposit(trader, 10**5 * WAD if trader != LOSER else 61 * WAD)
    exchange.fund(DEPOSITOR, exchange.vault)

    # The attacker: tokens, collateral, vault shares, an order of its own and one of a maker's.
    chain.transact(exchange.token, "mint", attacker.address, FUNDS, sender=0)
    if hostile != "token":
        for spender in (market, vault):
            payload = exchange.token.interface.calldata("approve", [spender.address, FUNDS])
            chain.transact(attacker, "strike", token.address, payload, sender=0)
    chain.transact(market, "deposit", 10**4 * WAD, attacker.address, sender=OTHER)
    exchange.insure(DEPOSITOR, 1000 * WAD)
    chain.transact(vault, "deposit", 1000 * WAD, attacker.address, sender=DEPOSITOR)
    theirs = exchange.order(MAKER, True, 10 * WAD, MARK)
    own = Order(attacker.address, True, 10 * WAD, MARK, expiry=chain.now + 10**6)
    me = attacker.address
    arguments: dict[str, list[Any]] = {
        "market.settle": [],
        "market.deposit": [WAD, me],
        "market.withdraw": [WAD],
        "market.fill": [theirs.as_tuple(), exchange.sign(MAKER, theirs), WAD],
        "market.cancel": [own.as_tuple()],
        "market.cancel_all": [1],
        "market.sweep": [],
        "vault.deposit": [WAD, me],
        "vault.mint": [10**24, me],
        "vault.withdraw": [WAD, me, me],
        "vault.redeem": [10**20, me, me],
        "vault.cover": [1, 0],
    }
    contracts = {"market": market, "vault": vault}
    calls = {}
    for name, values in arguments.items():
        contract = contracts[name.split(".")[0]]
        calls[name] = (contract, contract.interface.calldata(name.split(".")[1], values))
    return Stage(exchange, attacker, calls)


CALLS = list(set_up("token").calls)
FREE_CALLS = [name for name in CALLS if name not in RESERVED]


# ---------------------------------------------------------------------------------------------- what there is to call


def test_every_state_changing_function_is_tried() -> None:
    for prefix, contract in (("market", "PerpetualMarket"), ("vault", "InsuranceVault")):
        abi = compile_contract(contract)[0]._abi
        names = {e["name"] for e in abi if e["type"] == "function" and e["stateMutability"] == "nonpayable"}
        tried = {name.split(".")[1] for name in CALLS if name.startswith(prefix)}
        assert names - SHARE_FUNCTIONS == tried


@pytest.mark.parametrize("hostile", ["token", "maker", "oracle"])
def test_every_call_succeeds_alone(hostile: str) -> None:
    stage = set_up(hostile)
    for name in FREE_CALLS:
        with stage.chain.anchor():
            stage.strike_alone(name)


# ---------------------------------------------------------------------------------------------- from inside the token


def user_deposits(stage: Stage) -> None:
    stage.exchange.deposit(OTHER, 5 * WAD)


def user_withdraws(stage: Stage) -> None:
    stage.exchange.withdraw(OTHER, 5 * WAD)


def deficit_is_covered(stage: Stage) -> None:
    """The vault sends tokens in the middle of a settlement."""
    stage.exchange.settle()
    assert stage.chain.call(stage.exchange.vault, "window_drawn") > 0


def depositor_leaves_with_what_is_owed(stage: Stage) -> None:
    """More than the vault holds: the market sends the rest in the middle of a redemption."""
    swept = stage.exchange.insurance_owed
    assert swept > 0
    held = stage.exchange.vault_held
    stage.exchange.redeem(DEPOSITOR, stage.exchange.vault_shares(DEPOSITOR))
    assert stage.exchange.insurance_owed == 0 and stage.exchange.vault_held < held


def depositor_enters(stage: Stage) -> None:
    stage.exchange.insure(DEPOSITOR, 5 * WAD)


def depositor_leaves(stage: Stage) -> None:
    stage.exchange.redeem(DEPOSITOR, stage.exchange.vault_shares(DEPOSITOR) // 10)


def prepare_deficit(stage: Stage) -> None:
    stage.exchange.trade(LOSER, TAKER, True, WAD, MARK)
    stage.exchange.set_price(850 * WAD)


def prepare_fees(stage: Stage) -> None:
    """The attacker's shares go, so that DEPOSITOR's are worth all there is, fees included."""
    shares = stage.chain.call(stage.exchange.vault, "balanceOf", stage.attacker.address)
    payload = stage.exchange.vault.interface.calldata("transfer", [stage.chain.address(DEPOSITOR), shares - 10**21])
    stage.chain.transact(stage.attacker, "strike", stage.exchange.vault.address, payload, sender=0)
    stage.exchange.trade(MAKER, TAKER, True, 50 * WAD, MARK)


def nothing(stage: Stage) -> None:
    pass


Act = Callable[[Stage], None]
IN_THE_MARKET: list[tuple[Act, Act]] = [
    (nothing, user_deposits),
    (nothing, user_withdraws),
    (prepare_deficit, deficit_is_covered),
    (prepare_fees, depositor_leaves_with_what_is_owed),
]
IN_THE_VAULT: list[tuple[Act, Act]] = [(nothing, depositor_enters), (nothing, depositor_leaves)]


def outcome(stage: Stage, act: Act, state: Callable[[Exchange], Any]) -> tuple[dict[str, Any], int, int]:
    """The state after an act that is then undone, and how many calls were tried and succeeded in it."""
    with stage.chain.anchor():
        tried, succeeded = (stage.chain.call(stage.attacker, name) for name in ("tried", "succeeded"))
        act(stage)
        after = state(stage.exchange)
        after["attacker"] = stage.chain.call(stage.exchange.token, "balanceOf", stage.attacker.address)
        now = [stage.chain.call(stage.attacker, name) for name in ("tried", "succeeded")]
        return after, now[0] - tried, now[1] - succeeded


@pytest.mark.parametrize(("prepare", "act"), IN_THE_MARKET, ids=lambda act: act.__name__)
def test_a_token_gets_nowhere_while_the_market_is_at_work(
    prepare: Act, act: Act, state: Callable[[Exchange], Any]
) -> None:
    stage = set_up("token")
    prepare(stage)
    # Arming is a transaction too: both ways begin at the same second.
    stage.arm()
    undisturbed, tried, _ = outcome(stage, act, state)
    assert tried == 0
    stage = set_up("token")
    prepare(stage)
    stage.arm(*CALLS)
    attacked, tried, succeeded = outcome(stage, act, state)
    assert (tried, succeeded) == (len(CALLS), 0)
    assert attacked == undisturbed


@pytest.mark.parametrize(("prepare", "act"), IN_THE_VAULT, ids=lambda act: act.__name__)
def test_a_token_gets_nowhere_in_a_vault_at_work(prepare: Act, act: Act, state: Callable[[Exchange], Any]) -> None:
    of_the_vault = [name for name in CALLS if name.startswith("vault.")]
    stage = set_up("token")
    prepare(stage)
    stage.arm()
    undisturbed, _, _ = outcome(stage, act, state)
    stage = set_up("token")
    prepare(stage)
    stage.arm(*of_the_vault)
    attacked, tried, succeeded = outcome(stage, act, state)
    assert (tried, succeeded) == (len(of_the_vault), 0)
    assert attacked == undisturbed


@pytest.mark.parametrize(("prepare", "act"), IN_THE_VAULT, ids=lambda act: act.__name__)
@pytest.mark.parametrize("name", [name for name in FREE_CALLS if name.startswith("market.")])
def test_a_market_called_from_a_vault_at_work_is_a_market_called_after_it(
    name: str, prepare: Act, act: Act, state: Callable[[Exchange], Any]
) -> None:
    """While the vault takes or sends tokens the market is idle and settled, so it lets anyone in: to the last wei as if
    they had come right after."""
    stage = set_up("token")
    prepare(stage)
    stage.arm(name)
    attacked, tried, succeeded = outcome(stage, act, state)
    assert (tried, succeeded) == (1, 1)

    stage = set_up("token")
    prepare(stage)
    stage.arm()
    act(stage)
    stage.strike_alone(name)
    after = state(stage.exchange)
    after["attacker"] = stage.chain.call(stage.exchange.token, "balanceOf", stage.attacker.address)
    assert attacked == after


# ---------------------------------------------------------------------------------- from inside a maker or the oracle


def test_a_contract_maker_gets_nowhere() -> None:
    stage = set_up("maker")
    exchange = stage.exchange
    order = Order(stage.attacker.address, True, 10 * WAD, MARK, expiry=stage.chain.now + 100)
    stage.arm(*CALLS)
    exchange.take(TAKER, order, b"", WAD)
    held = stage.chain.call(exchange.market, "account", stage.attacker.address)
    assert held[2] == WAD
    # It would have noticed a call that succeeds.
    harmless = (exchange.token, exchange.token.interface.calldata("balanceOf", [stage.attacker.address]))
    stage.calls["harmless"] = harmless
    stage.arm("harmless")
    with pytest.raises(Exception, match=r"^order: invalid signature$"):
        exchange.take(TAKER, order, b"", WAD)


VIEWS: dict[str, list[Any]] = {
    "mark": [],
    "epoch": [],
    "insurance_owed": [],
    "index_price": [],
    "side": [0],
    "preview_settlement": [900 * WAD],
    "account": ["0x" + "11" * 20],
    "filled": [bytes(32)],
}


@pytest.mark.parametrize("hostile", ["maker", "oracle"])
@pytest.mark.parametrize("view", VIEWS)
def test_nobody_reads_a_market_at_work(view: str, hostile: str) -> None:
    """Half-way through a fill or a settlement no number is right, so none is given; to a lens neither."""
    stage = set_up(hostile)
    exchange = stage.exchange
    stage.calls["view"] = (exchange.market, exchange.market.interface.calldata(view, VIEWS[view]))
    stage.strike_alone("view")
    stage.arm("view")
    if hostile == "maker":
        order = Order(stage.attacker.address, True, 10 * WAD, MARK, expiry=stage.chain.now + 100)
        exchange.take(TAKER, order, b"", WAD)
    else:
        stage.chain.transact(stage.attacker, "set_answer", 900 * WAD, sender=0)
        exchange.settle()
        assert exchange.mark == 900 * WAD


@pytest.mark.parametrize("act", [Exchange.settle, depositor_enters, depositor_leaves, "fill", "withdraw"])
def test_an_oracle_gets_nowhere(act: Any) -> None:
    stage = set_up("oracle")
    exchange = stage.exchange
    exchange.trade(MAKER, TAKER, True, WAD, MARK)
    stage.arm(*CALLS)
    stage.chain.transact(stage.attacker, "set_answer", 900 * WAD, sender=0)
    if act == "fill":
        exchange.trade(MAKER, TAKER, True, WAD, 900 * WAD)
    elif act == "withdraw":
        exchange.withdraw(TAKER, WAD)
    elif act == Exchange.settle:
        exchange.settle()
    else:
        act(stage)
    assert exchange.mark == 900 * WAD
    # It would have noticed a call that succeeds.
    stage.calls["harmless"] = (exchange.token, exchange.token.interface.calldata("balanceOf", [stage.attacker.address]))
    stage.arm("harmless")
    exchange.settle()
    assert exchange.mark == 450 * WAD
