"""Re-entrancy: a token, a contract maker and an oracle that call back into the market and its vault from wherever they
are called. Each call is first seen to succeed when it is made alone, so that inside it fails for nothing but the lock.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest
from eth_utils.crypto import keccak

from prorata.chain import Reverted
from prorata.embedded import EmbeddedContract, compile_contract
from prorata.exchange import FUNDS, Addresses, Exchange
from prorata.orders import Order
from prorata.parameters import MarketParameters, VaultParameters
from prorata.revm_chain import RevmChain
from prorata.units import WAD

MAKER, TAKER, OTHER, DEPOSITOR, LOSER, VICTIM = 1, 2, 3, 4, 5, 6
MARK = 1000 * WAD
GRACE = 3600

# What all three have in common: a list of calls, made one by one when the moment has come.
STRIKER = """
# pragma version 0.4.3

struct Strike:
    target: address
    payload: Bytes[2048]

strikes: DynArray[Strike, 32]
armed: bool
tried: public(uint256)
succeeded: public(uint256)

@external
def arm(strikes: DynArray[Strike, 32]):
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

# Called statically, so it can remember nothing: it signs only if every one of its calls has failed. Writing in a static
# call burns all the gas it was given, so none gets more than any of the calls needs.
CONTRACT_MAKER = (
    STRIKER
    + """
@external
def isValidSignature(digest: bytes32, signature: Bytes[65]) -> bytes4:
    for strike: Strike in self.strikes:
        if raw_call(strike.target, strike.payload, gas=2_000_000, revert_on_failure=False):
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
            if raw_call(strike.target, strike.payload, gas=2_000_000, revert_on_failure=False):
                return 1, self.answer // 2, block.timestamp, block.timestamp, 1
    return 1, self.answer, block.timestamp, block.timestamp, 1
"""
)

# Called statically too. It signs only if the view that it is to read answers as expected.
READING_MAKER = (
    STRIKER
    + """
expected: bytes32

@external
def expect(answer: bytes32):
    self.expected = answer

@external
@view
def isValidSignature(digest: bytes32, signature: Bytes[65]) -> bytes4:
    strike: Strike = self.strikes[0]
    ok: bool = False
    answer: Bytes[2048] = b""
    ok, answer = raw_call(
        strike.target, strike.payload, max_outsize=2048, is_static_call=True, revert_on_failure=False
    )
    if ok and keccak256(answer) == self.expected:
        return 0x1626ba7e
    return 0xffffffff
"""
)

#: A call: contract, calldata.
Call = tuple[EmbeddedContract, bytes]
#: The ERC-20 of the vault's shares: nothing there depends on the market, so nothing is locked.
SHARE_FUNCTIONS = {"transfer", "transferFrom", "approve", "permit", "setOperator"}
#: Asks the market nothing, so it may be made while the market is at work, by whoever may write at that moment.
UNSETTLED = {"vault.cancel_redeem_request"}
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
    hostile: str
    own_expiry: int = 0  # of the attacker's order

    @property
    def chain(self) -> RevmChain:
        chain = self.exchange.chain
        assert isinstance(chain, RevmChain)
        return chain

    def arm(self, *names: str) -> None:
        strikes = [(self.calls[name][0].address, self.calls[name][1]) for name in names]
        self.chain.transact(self.attacker, "arm", strikes, sender=0)

    def set_price(self, price: int) -> None:
        """The oracle's answer; zero is refused."""
        if self.hostile == "oracle":
            self.chain.transact(self.attacker, "set_answer", price, sender=0)
        else:
            self.exchange.set_round(price, self.chain.now + 1)

    def strike_alone(self, name: str) -> None:
        contract, payload = self.calls[name]
        self.chain.transact(self.attacker, "strike", contract.address, payload, sender=0)


def set_up(hostile: str) -> Stage:
    """A market whose token, feed or some maker is hostile."""
    chain = RevmChain()
    honest_token = chain.deploy("MockToken", 18)
    honest_feed = chain.deploy("MockAggregator", 18, MARK * 103 // 100)
    sources = {"token": TOKEN, "maker": CONTRACT_MAKER, "reader": READING_MAKER, "oracle": ORACLE}
    attacker = chain.deploy_source(sources[hostile])
    if hostile == "oracle":
        chain.transact(attacker, "set_answer", MARK * 103 // 100, sender=0)
    token = attacker if hostile == "token" else honest_token
    feed = attacker if hostile == "oracle" else honest_feed
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
    for trader in (MAKER, TAKER, OTHER, LOSER):
        exchange.fund(trader)
        exchange.deposit(trader, 10**5 * WAD if trader != LOSER else 61 * WAD)
    exchange.fund(DEPOSITOR, exchange.vault)
    exchange.insure(DEPOSITOR, 1000 * WAD)

    # A victim who was long at 1030 and is below maintenance at 1000.
    exchange.fund(VICTIM)
    exchange.deposit(VICTIM, 53 * WAD)
    exchange.trade(VICTIM, TAKER, True, WAD, MARK * 103 // 100)
    stage = Stage(exchange, attacker, {}, hostile)
    stage.set_price(MARK)
    exchange.settle()

    # The attacker: tokens, collateral, vault shares, an order of its own and one of a maker's.
    chain.transact(exchange.token, "mint", attacker.address, FUNDS, sender=0)
    if hostile != "token":
        for spender in (market, vault):
            payload = exchange.token.interface.calldata("approve", [spender.address, FUNDS])
            chain.transact(attacker, "strike", token.address, payload, sender=0)
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


CALLS = list(set_up("token").calls)
FREE_CALLS = [name for name in CALLS if name not in RESERVED and name not in ORPHANED]
LOCKED_CALLS = [name for name in CALLS if name not in UNSETTLED]


# ---------------------------------------------------------------------------------------------- what there is to call


def test_every_state_changing_function_is_tried() -> None:
    rooms = (("market", "PerpetualMarket"), ("vault", "InsuranceVault"))
    for prefix, contract in rooms:
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
    stage.set_price(0)
    for name in ORPHANED:
        stage.strike_alone(name)


@pytest.mark.parametrize("name", RESERVED)
def test_a_reserved_call_is_refused_by_name(name: str, refuses: Callable[[str], Any]) -> None:
    """Even if it comes from a contract that is the guardian, from a trader, or from whoever deployed it all."""
    stage = set_up("token")
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
        stage = set_up("token")
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
        stage = set_up("token")
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
    stage.exchange.redeem(DEPOSITOR, stage.exchange.redeem_request(DEPOSITOR).shares)
    assert stage.exchange.insurance_owed == 0 and stage.exchange.vault_held < held


def depositor_enters(stage: Stage) -> None:
    stage.exchange.insure(DEPOSITOR, 5 * WAD)


def depositor_leaves(stage: Stage) -> None:
    stage.exchange.redeem(DEPOSITOR, stage.exchange.redeem_request(DEPOSITOR).shares)


def depositor_requests(stage: Stage) -> None:
    stage.exchange.request_redeem(DEPOSITOR, stage.exchange.vault_shares(DEPOSITOR) // 10)


def fill_after_a_fall(stage: Stage) -> None:
    """A settlement that pays for a deficit, and a fill after it."""
    stage.exchange.trade(MAKER, TAKER, True, WAD, 850 * WAD)
    assert stage.chain.call(stage.exchange.vault, "window_drawn") > 0


def liquidation_after_a_fall(stage: Stage) -> None:
    """A settlement that pays for a deficit, and a takeover after it."""
    stage.exchange.liquidate(MAKER, OTHER)
    assert stage.chain.call(stage.exchange.vault, "window_drawn") > 0


def prepare_victim_of_a_fall(stage: Stage) -> None:
    """At 850 LOSER has less than nothing, and OTHER 15: below maintenance, above close-out."""
    stage.exchange.withdraw(OTHER, (10**5 - 166) * WAD)
    stage.exchange.trade(OTHER, TAKER, True, WAD, MARK)
    prepare_deficit(stage)


def prepare_dead_oracle(stage: Stage) -> None:
    stage.exchange.set_round(0, stage.chain.now)


def prepare_deficit(stage: Stage) -> None:
    stage.exchange.trade(LOSER, TAKER, True, WAD, MARK)
    stage.exchange.set_price(850 * WAD)


def prepare_fees(stage: Stage) -> None:
    """The attacker's shares go, so that DEPOSITOR's are worth all there is, fees included."""
    shares = stage.chain.call(stage.exchange.vault, "balanceOf", stage.attacker.address)
    payload = stage.exchange.vault.interface.calldata("transfer", [stage.chain.address(DEPOSITOR), shares - 10**21])
    stage.chain.transact(stage.attacker, "strike", stage.exchange.vault.address, payload, sender=0)
    stage.exchange.trade(MAKER, TAKER, True, 50 * WAD, MARK)
    stage.exchange.request_redeem(DEPOSITOR, stage.exchange.vault_shares(DEPOSITOR))


def nothing(stage: Stage) -> None:
    pass


Act = Callable[[Stage], None]
IN_THE_MARKET: list[tuple[Act, Act]] = [
    (nothing, user_deposits),
    (nothing, user_withdraws),
    (prepare_deficit, deficit_is_covered),
    (prepare_fees, depositor_leaves_with_what_is_owed),
    (prepare_deficit, fill_after_a_fall),
    (prepare_victim_of_a_fall, liquidation_after_a_fall),
    (prepare_dead_oracle, user_deposits),
    (prepare_dead_oracle, user_withdraws),
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
    stage.arm(*LOCKED_CALLS)
    attacked, tried, succeeded = outcome(stage, act, state)
    assert (tried, succeeded) == (len(LOCKED_CALLS), 0)
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
@pytest.mark.parametrize("name", [name for name in FREE_CALLS if not name.startswith("vault.")])
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
    # A second later, that is: without a premium it does not matter when funding was last looked at.
    for seen in (attacked, after):
        seen["core"] = replace(seen["core"], accrued_at=0)
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
    with pytest.raises(Reverted, match=r"^order: invalid signature$"):
        exchange.take(TAKER, order, b"", WAD)


VIEWS: dict[str, list[Any]] = {
    "mark": [],
    "core": [],
    "insurance_owed": [],
    "side": [0],
    "preview_settlement": [900 * WAD],
    "account": ["0x" + "11" * 20],
}


@pytest.mark.parametrize("view", VIEWS)
def test_nobody_reads_a_market_at_work(view: str) -> None:
    """Half-way through a settlement no number is right, so none is given."""
    stage = set_up("oracle")
    exchange = stage.exchange
    stage.calls["view"] = (exchange.market, exchange.market.interface.calldata(view, VIEWS[view]))
    stage.strike_alone("view")
    stage.arm("view")
    stage.set_price(900 * WAD)
    exchange.settle()
    assert exchange.mark == 900 * WAD


@pytest.mark.parametrize("view", ["position", "mode"])
def test_nor_through_a_lens(view: str) -> None:
    stage = set_up("oracle")
    exchange = stage.exchange
    arguments = [exchange.market.address] + ([stage.chain.address(MAKER)] if view == "position" else [])
    stage.calls["view"] = (exchange.lens, exchange.lens.interface.calldata(view, arguments))
    stage.strike_alone("view")
    stage.arm("view")
    stage.set_price(900 * WAD)
    exchange.settle()
    assert exchange.mark == 900 * WAD


@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize("view", [*VIEWS, "filled", "min_nonce"])
def test_a_maker_who_is_asked_reads_none_of_it(view: str, batch: bool) -> None:
    """It is asked within the market's lock, before what it signed is counted as filled; so it would sign by numbers
    that are about to change."""
    stage = set_up("maker")
    exchange = stage.exchange
    order = Order(stage.attacker.address, True, 10 * WAD, MARK, expiry=stage.chain.now + 100)
    digest = exchange.digest(order)
    arguments = {**VIEWS, "filled": [digest], "min_nonce": [stage.attacker.address]}[view]
    stage.calls["view"] = (exchange.market, exchange.market.interface.calldata(view, arguments))
    stage.strike_alone("view")
    stage.arm("view")
    if batch:
        exchange.take_batch(TAKER, [(order, b"", WAD // 2)] * 2)
    else:
        exchange.take(TAKER, order, b"", WAD)
    assert stage.chain.call(exchange.market, "filled", digest) == WAD


@pytest.mark.parametrize("view", ["position", "mode"])
def test_nor_does_the_maker_through_a_lens(view: str) -> None:
    stage = set_up("maker")
    exchange = stage.exchange
    arguments = [exchange.market.address] + ([stage.chain.address(MAKER)] if view == "position" else [])
    stage.calls["view"] = (exchange.lens, exchange.lens.interface.calldata(view, arguments))
    stage.strike_alone("view")
    stage.arm("view")
    order = Order(stage.attacker.address, True, 10 * WAD, MARK, expiry=stage.chain.now + 100)
    exchange.take(TAKER, order, b"", WAD)
    assert stage.chain.call(exchange.market, "account", stage.attacker.address)[2] == WAD


#: What no call changes while it lasts; the totals are those before the settlement.
OPEN_VIEWS = ("index_price", "parameters", "feed", "TRADING", "eip712Domain", "total_socialized", "total_adl_shortfall")


@pytest.mark.parametrize("view", OPEN_VIEWS)
def test_a_maker_who_is_asked_reads_what_anybody_reads_before_the_settlement(view: str) -> None:
    """LOSER is bankrupt at 500, and there is more to pay than insurance may; but the order comes first."""
    stage = set_up("reader")
    exchange = stage.exchange
    exchange.deposit(LOSER, 300 * WAD)
    exchange.trade(LOSER, TAKER, True, 5 * WAD, MARK)
    stage.set_price(500 * WAD)
    payload = exchange.market.interface.calldata(view, [])
    assert exchange.totals == (0, 0)
    answer, _ = stage.chain._run(stage.chain.address(0), exchange.market.address, payload, modifying=False)
    stage.calls["view"] = (exchange.market, payload)
    stage.arm("view")
    order = Order(stage.attacker.address, True, 10 * WAD, 500 * WAD, expiry=stage.chain.now + 100)
    stage.chain.transact(stage.attacker, "expect", keccak(answer), sender=0)
    exchange.take(TAKER, order, b"", WAD)
    assert stage.chain.call(exchange.market, "account", stage.attacker.address)[2] == WAD
    assert exchange.totals[0] > 0
    # It would have noticed another answer.
    stage.chain.transact(stage.attacker, "expect", keccak(answer + b"."), sender=0)
    with pytest.raises(Reverted, match=r"^order: invalid signature$"):
        exchange.take(TAKER, order, b"", WAD)


@pytest.mark.parametrize(
    "act",
    [
        Exchange.settle,
        depositor_enters,
        depositor_requests,
        depositor_leaves,
        "fill",
        "fill_batch",
        "withdraw",
        "liquidate",
    ],
)
def test_an_oracle_gets_nowhere(act: Any) -> None:
    stage = set_up("oracle")
    exchange = stage.exchange
    exchange.trade(MAKER, TAKER, True, WAD, MARK)
    stage.arm(*CALLS)
    price = 900 * WAD if act != "liquidate" else 990 * WAD  # where the victim still lives
    stage.set_price(price)
    if act == "fill":
        exchange.trade(MAKER, TAKER, True, WAD, price)
    elif act == "fill_batch":
        order = exchange.order(MAKER, True, 2 * WAD, price)
        exchange.take_batch(TAKER, [(order, exchange.sign(MAKER, order), WAD)] * 2)
    elif act == "withdraw":
        exchange.withdraw(TAKER, WAD)
    elif act == "liquidate":
        exchange.liquidate(MAKER, VICTIM)
        assert exchange.account(VICTIM).shares < WAD
    elif act == Exchange.settle:
        exchange.settle()
    else:
        act(stage)
    assert exchange.mark == price
    # It would have noticed a call that succeeds.
    stage.calls["harmless"] = (exchange.token, exchange.token.interface.calldata("balanceOf", [stage.attacker.address]))
    stage.arm("harmless")
    exchange.settle()
    assert exchange.mark == price // 2
