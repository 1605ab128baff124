"""The two in-process EVMs: one sequence is the same on both, anchors undo everything, the adapters' traps are shut."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
from eth_account import Account
from eth_utils.address import is_checksum_address

from prorata.boa_chain import BoaChain
from prorata.chain import GENESIS, Reverted, Transaction
from prorata.embedded import EmbeddedChain, EmbeddedContract
from prorata.exchange import Exchange
from prorata.metered_chain import MeteredChain
from prorata.revm_chain import RevmChain
from prorata.units import WAD

MAKER, TAKER = 1, 2
CHAINS = [BoaChain, RevmChain]

SOURCE = """
event Noted:
    by: indexed(address)
    value: uint256
    words: String[16]

value: public(uint256)
scratch: transient(uint256)

@deploy
def __init__(given: uint256):
    assert given != 13, "unlucky"
    self.value = given

@external
def note(given: uint256):
    assert given != 13, "unlucky"
    self.scratch = given
    self.value = given
    log Noted(by=msg.sender, value=given, words="noted")
    log Noted(by=self, value=given + 1, words="")

@external
def fail():
    self.scratch = 7
    raise "failed"

@external
@view
def seen() -> (address, uint256, uint256):
    return msg.sender, block.timestamp, chain.id

@external
@view
def left_in_scratch() -> uint256:
    return self.scratch

@external
def through_scratch(given: uint256):
    self.scratch = given
    self.value = self.scratch * 2

@external
@view
def blob_base_fee() -> uint256:
    return block.blobbasefee

@external
@view
def has_code_at_bls_precompile() -> bool:
    # Prague's BLS12-381 addition refuses empty input; before Prague nothing is there, and calling nothing succeeds.
    return not raw_call(
        0x000000000000000000000000000000000000000b, b"", is_static_call=True, revert_on_failure=False
    )
"""

#: PUSH1 1 PUSH0 TSTORE · PUSH0 TLOAD PUSH0 MSTORE · PUSH1 32 PUSH0 PUSH1 32 MCOPY · PUSH1 32 PUSH1 32 RETURN: a one
#: goes through transient storage (EIP-1153) and is copied in memory (EIP-5656).
CANCUN_CODE = bytes.fromhex("60015f5d5f5c5f5260205f60205e60206020f3")
#: PUSH19 code PUSH0 MSTORE · PUSH1 19 PUSH1 13 RETURN: creates a contract of that code.
CANCUN_CREATION = b"\x72" + CANCUN_CODE + bytes.fromhex("5f526013600df3")

Refuses = Callable[[str], AbstractContextManager[Any]]


@pytest.fixture(params=CHAINS, ids=lambda kind: kind.network)
def any_chain(request: pytest.FixtureRequest) -> EmbeddedChain:
    """A fresh chain of either kind."""
    return request.param()


def outcome(act: Callable[[], Any]) -> Any:
    """What an action gives, or why it was refused. Order digests are left out: they hold the chain's id."""
    try:
        done = act()
    except Reverted as revert:
        return f"refused: {revert.reason}"
    if not isinstance(done, Transaction):
        return done
    logs = [(log.address, log.name, {**log.fields, "order_hash": None}) for log in done.logs]
    return done.timestamp, logs


def history(chain: EmbeddedChain) -> list[Any]:
    """A short life of a market, a refusal of every kind in it: everything that can be seen of it."""
    exchange = Exchange.deploy(chain, 1000 * WAD)
    seen: list[Any] = [exchange.addresses, chain.now]
    steps: list[Callable[[], Any]] = [
        lambda: exchange.fund(MAKER),
        lambda: exchange.fund(TAKER),
        lambda: exchange.deposit(MAKER, 1000 * WAD),
        lambda: exchange.deposit(TAKER, 100 * WAD),
        lambda: exchange.deposit(3, WAD),
        lambda: exchange.trade(MAKER, TAKER, False, WAD, 1000 * WAD),
        lambda: exchange.trade(MAKER, MAKER, False, WAD, 1000 * WAD),
        lambda: exchange.trade(MAKER, TAKER, False, WAD, 2000 * WAD),
        lambda: exchange.trade(MAKER, TAKER, False, 50 * WAD, 1000 * WAD),
        lambda: exchange.withdraw(TAKER, 99 * WAD),
        lambda: exchange.set_price(950 * WAD),
        lambda: exchange.settle(),
        lambda: chain.advance(3601),
        lambda: exchange.settle(),
        lambda: exchange.preview(1),
        lambda: exchange.set_price(880 * WAD),
        lambda: exchange.preview(880 * WAD),
        lambda: exchange.settle(),
        lambda: chain.deploy("MockToken", 6, sender=3).address,
        lambda: chain.deploy("InsuranceVault", exchange.token.address, exchange.market.address, 0, 1, 1, 1),
        lambda: chain.next_address(0),
    ]
    for step in steps:
        seen += [outcome(step), chain.now, exchange.account(TAKER), exchange.insurance_owed]
    return seen


class TestTheSame:
    def test_history_on_both(self) -> None:
        boa, revm = history(BoaChain()), history(RevmChain())
        assert boa == revm

    def test_the_history_is_worth_comparing(self) -> None:
        seen = history(RevmChain())
        refusals = {step for step in seen if isinstance(step, str) and step.startswith("refused")}
        assert refusals == {
            "refused: order: self-fill",
            "refused: order: price outside band",
            "refused: margin: below initial",
            "refused: account: above free collateral",
            "refused: oracle: stale",
            "refused: oracle: price out of range",
            "refused: parameters: draw cap not in (0, 90 %]",
            "refused: erc20: insufficient allowance",
        }
        transactions = [step for step in seen if isinstance(step, tuple) and isinstance(step[1], list)]
        names = {name for _, logs in transactions for _, name, _ in logs}
        assert {"Deposited", "Traded", "AccountUpdated", "Settled", "BucketClosed"} <= names

    def test_accounts_on_both(self) -> None:
        boa, revm = BoaChain(), RevmChain()
        for index in (0, 1, 63):
            assert boa.key(index) == revm.key(index)
            assert boa.address(index) == revm.address(index) == Account.from_key(boa.key(index)).address
        assert len({boa.address(index) for index in range(64)}) == 64


class TestClock:
    def test_begins_at_genesis(self, any_chain: EmbeddedChain) -> None:
        assert any_chain.now == GENESIS

    def test_every_transaction_takes_a_second(self, any_chain: EmbeddedChain) -> None:
        contract = any_chain.deploy_source(SOURCE, 1)
        assert any_chain.now == GENESIS + 1
        assert any_chain.transact(contract, "note", 2, sender=0).timestamp == any_chain.now == GENESIS + 2

    def test_time_passes_between_blocks(self, any_chain: EmbeddedChain) -> None:
        contract = any_chain.deploy_source(SOURCE, 1)
        any_chain.advance(100)
        assert any_chain.transact(contract, "note", 2, sender=0).timestamp == GENESIS + 102

    def test_contracts_see_it(self, any_chain: EmbeddedChain) -> None:
        contract = any_chain.deploy_source(SOURCE, 1)
        any_chain.advance(50)
        expected = (any_chain.address(0), any_chain.now, any_chain.chain_id)
        assert any_chain.call(contract, "seen") == expected

    def test_reading_takes_no_time(self, any_chain: EmbeddedChain) -> None:
        contract = any_chain.deploy_source(SOURCE, 1)
        before = any_chain.now
        any_chain.call(contract, "value")
        assert any_chain.now == before


class TestTransactions:
    def test_events_in_order_with_their_fields(self, any_chain: EmbeddedChain) -> None:
        contract = any_chain.deploy_source(SOURCE, 1)
        logs = any_chain.transact(contract, "note", 5, sender=MAKER).logs
        assert [(log.address, log.name) for log in logs] == [(contract.address, "Noted")] * 2
        assert [dict(log.fields) for log in logs] == [
            {"by": any_chain.address(MAKER), "value": 5, "words": "noted"},
            {"by": contract.address, "value": 6, "words": ""},
        ]

    def test_events_of_the_last_transaction_only(self, any_chain: EmbeddedChain) -> None:
        contract = any_chain.deploy_source(SOURCE, 1)
        any_chain.transact(contract, "note", 5, sender=0)
        assert any_chain.transact(contract, "through_scratch", 5, sender=0).logs == []

    def test_a_refusal_changes_nothing_but_the_clock(self, any_chain: EmbeddedChain, refuses: Refuses) -> None:
        contract = any_chain.deploy_source(SOURCE, 1)
        before = any_chain.now
        with refuses("unlucky"):
            any_chain.transact(contract, "note", 13, sender=0)
        assert any_chain.call(contract, "value") == 1
        assert any_chain.now == before + 1
        assert len(any_chain.transact(contract, "note", 14, sender=0).logs) == 2

    def test_a_view_may_not_write(self, any_chain: EmbeddedChain, refuses: Refuses) -> None:
        contract = any_chain.deploy_source(SOURCE, 1)
        with refuses(""):
            any_chain.call(contract, "note", 5)
        assert any_chain.call(contract, "value") == 1

    def test_a_function_that_is_not_there(self, any_chain: EmbeddedChain) -> None:
        contract = any_chain.deploy_source(SOURCE, 1)
        with pytest.raises(KeyError):
            any_chain.call(contract, "nothing")


class TestDeployment:
    def test_addresses_are_foretold(self, any_chain: EmbeddedChain) -> None:
        foretold = [any_chain.next_address(0, skip) for skip in range(3)]
        assert all(map(is_checksum_address, foretold))
        assert [any_chain.deploy_source(SOURCE, value).address for value in range(3)] == foretold

    def test_a_refused_one_uses_its_address_up(self, any_chain: EmbeddedChain, refuses: Refuses) -> None:
        foretold = any_chain.next_address(0, skip=1)
        with refuses("unlucky"):
            any_chain.deploy_source(SOURCE, 13)
        assert any_chain.deploy_source(SOURCE, 1).address == foretold

    def test_deployers_are_apart(self, any_chain: EmbeddedChain) -> None:
        foretold = any_chain.next_address(MAKER)
        any_chain.deploy("MockToken", 18, sender=0)
        assert any_chain.deploy("MockToken", 18, sender=MAKER).address == foretold

    def test_transactions_in_between_do_not_matter(self, any_chain: EmbeddedChain) -> None:
        foretold = any_chain.next_address(0, skip=1)
        contract = any_chain.deploy_source(SOURCE, 1)
        any_chain.transact(contract, "note", 2, sender=0)
        assert any_chain.deploy_source(SOURCE, 1).address == foretold

    def test_a_contract_is_found_again_by_its_address(self, any_chain: EmbeddedChain) -> None:
        token = any_chain.deploy("MockToken", 6)
        again = any_chain.at("MockToken", token.address.lower())
        assert again.address == token.address
        assert any_chain.call(again, "decimals") == 6


class TestAnchor:
    def test_undoes_state_clock_and_nonces(self, any_chain: EmbeddedChain) -> None:
        contract = any_chain.deploy_source(SOURCE, 1)
        before = any_chain.now, any_chain.next_address(0)
        with any_chain.anchor():
            any_chain.advance(1000)
            any_chain.transact(contract, "note", 2, sender=0)
            any_chain.deploy_source(SOURCE, 3)
        assert (any_chain.now, any_chain.next_address(0)) == before
        assert any_chain.call(contract, "value") == 1
        assert any_chain.call(contract, "seen")[1] == any_chain.now

    def test_nests(self, any_chain: EmbeddedChain) -> None:
        contract = any_chain.deploy_source(SOURCE, 1)
        start = any_chain.now
        with any_chain.anchor():
            any_chain.transact(contract, "note", 2, sender=0)
            for _ in range(2):
                with any_chain.anchor():
                    any_chain.transact(contract, "note", 3, sender=0)
                    any_chain.deploy_source(SOURCE, 1)
                assert (any_chain.call(contract, "value"), any_chain.now) == (2, start + 1)
            any_chain.transact(contract, "note", 4, sender=0)
        assert (any_chain.call(contract, "value"), any_chain.now) == (1, start)

    def test_leaves_nothing_at_the_addresses_it_undid(self, any_chain: EmbeddedChain, refuses: Refuses) -> None:
        with any_chain.anchor():
            gone = any_chain.deploy_source(SOURCE, 1)
        again = any_chain.deploy_source(SOURCE, 2)
        assert again.address == gone.address
        assert any_chain.call(gone, "value") == 2

    def test_the_same_happens_again_after_it(self, any_chain: EmbeddedChain) -> None:
        contract = any_chain.deploy_source(SOURCE, 1)
        transactions = []
        for _ in range(2):
            with any_chain.anchor():
                transactions.append(any_chain.transact(contract, "note", 2, sender=MAKER))
        assert transactions[0] == transactions[1]

    def test_holds_when_nothing_happened(self, any_chain: EmbeddedChain) -> None:
        contract = any_chain.deploy_source(SOURCE, 1)
        with any_chain.anchor():
            pass
        any_chain.transact(contract, "note", 2, sender=0)
        assert any_chain.call(contract, "value") == 2

    def test_an_exception_undoes_it_too(self, any_chain: EmbeddedChain) -> None:
        """`Chain.anchor` undoes every effect "when it ends", whatever ends it: a failed assertion, a `Reverted`."""
        contract = any_chain.deploy_source(SOURCE, 1)
        before = any_chain.now, any_chain.next_address(0)
        with pytest.raises(Reverted), any_chain.anchor():
            any_chain.transact(contract, "note", 2, sender=0)
            any_chain.deploy_source(SOURCE, 13)
        assert any_chain.call(contract, "value") == 1
        assert (any_chain.now, any_chain.next_address(0)) == before


class TestFork:
    def test_transient_storage_lives_within_a_transaction(self, any_chain: EmbeddedChain) -> None:
        contract = any_chain.deploy_source(SOURCE, 1)
        any_chain.transact(contract, "through_scratch", 21, sender=0)
        assert any_chain.call(contract, "value") == 42

    def test_transient_storage_is_gone_after_it(self, any_chain: EmbeddedChain) -> None:
        contract = any_chain.deploy_source(SOURCE, 1)
        any_chain.transact(contract, "note", 5, sender=0)
        assert any_chain.call(contract, "left_in_scratch") == 0
        any_chain.transact(contract, "note", 6, sender=0)
        with any_chain.anchor():
            assert any_chain.call(contract, "left_in_scratch") == 0

    def test_transient_storage_is_gone_after_a_refusal(self, any_chain: EmbeddedChain, refuses: Refuses) -> None:
        contract = any_chain.deploy_source(SOURCE, 1)
        with refuses("failed"):
            any_chain.transact(contract, "fail", sender=0)
        assert any_chain.call(contract, "left_in_scratch") == 0

    def test_cancun_s_opcodes_work(self, any_chain: EmbeddedChain) -> None:
        address = any_chain.next_address(0)
        any_chain._create(any_chain.address(0), address, CANCUN_CREATION)
        output, _ = any_chain._run(any_chain.address(0), address, b"", modifying=True)
        assert int.from_bytes(output, "big") == 1

    def test_pyrevm_is_at_cancun_and_not_later(self) -> None:
        chain = RevmChain()
        contract = chain.deploy_source(SOURCE, 1)
        assert chain.call(contract, "blob_base_fee") >= 0
        assert chain.call(contract, "has_code_at_bls_precompile") is False

    def test_contracts_know_where_they_are(self, any_chain: EmbeddedChain) -> None:
        token: EmbeddedContract = any_chain.deploy("MockToken", 18)
        assert any_chain.call(token, "name") == "Mock dollar"


class TestTakenOver:
    """A state made in pyrevm goes on in titanoboa, where gas can be told."""

    def test_goes_on_as_it_would_have(self) -> None:
        exchange = Exchange.deploy(RevmChain(), 1000 * WAD)
        for trader in (MAKER, TAKER):
            exchange.fund(trader)
            exchange.deposit(trader, 100 * WAD)
        exchange.trade(MAKER, TAKER, True, WAD, 1000 * WAD)
        exchange.set_price(900 * WAD)
        there = Exchange(MeteredChain.after(exchange.chain), exchange.addresses, exchange.decimals)
        assert there.chain.now == exchange.chain.now
        for one in (there, exchange):
            one.settle()
            one.deposit(TAKER, WAD)
        for trader in (MAKER, TAKER):
            assert there.account(trader) == exchange.account(trader)
        assert (there.core, there.token_balance(there.market)) == (
            exchange.core,
            exchange.token_balance(exchange.market),
        )

    def test_storage_holds_zeros_and_what_was_undone(self) -> None:
        chain = RevmChain()
        contract = chain.deploy_source(SOURCE, 5)
        with chain.anchor():
            chain.transact(contract, "note", 6, sender=0)
        assert 5 in chain.storage()[contract.address].values()
        chain.transact(contract, "note", 0, sender=0)
        assert set(chain.storage()[contract.address].values()) == {0}

    def test_gas_is_that_of_a_transaction_of_its_own(self) -> None:
        """The same deposit costs the same, whether its slots were touched in the transaction before or not."""
        exchange = Exchange.deploy(RevmChain(), 1000 * WAD)
        exchange.fund(MAKER)
        exchange.deposit(MAKER, WAD)
        chain = MeteredChain.after(exchange.chain)
        there = Exchange(chain, exchange.addresses, exchange.decimals)
        cold = there.deposit(MAKER, WAD).gas
        assert there.deposit(MAKER, WAD).gas == cold > 21_000
        assert chain.needed == cold

    def test_has_no_anchors(self) -> None:
        with pytest.raises(NotImplementedError):
            MeteredChain().anchor()
