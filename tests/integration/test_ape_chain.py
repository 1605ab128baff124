"""The adapter: each network does what `prorata.chain.Chain` says, and the three do it alike to the unit of gas."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import pytest
from eth_abi.exceptions import EncodingError
from eth_account import Account

from prorata.ape_chain import ApeChain, ApeContract
from prorata.chain import GENESIS, Log, Reverted, Transaction
from prorata.parameters import MarketParameters, VaultParameters

DEPLOYER, TRADER, RECEIVER = 0, 1, 63
MARK = 2_000 * 10**18
EXCEEDS_BALANCE = "erc20: transfer amount exceeds balance"


@dataclass(frozen=True)
class Market:
    """A market and what it depends on."""

    token: ApeContract
    feed: ApeContract
    vault: ApeContract
    market: ApeContract


def deploy(chain: ApeChain, **parameters: int) -> Market:
    """The contracts in the order of their addresses, one second each."""
    token = chain.deploy("MockToken", 6)
    feed = chain.deploy("MockAggregator", 18, MARK)
    given = MarketParameters(**parameters).as_tuple()
    trading = chain.deploy("TradingLogic", feed.address, given)
    market_address = chain.next_address(DEPLOYER, skip=1)
    vault = chain.deploy("InsuranceVault", token.address, market_address, *VaultParameters().as_tuple())
    contracts = [contract.address for contract in (token, feed, vault, trading)]
    market = chain.deploy("PerpetualMarket", *contracts, given)
    return Market(token, feed, vault, market)


def reason_of(act: Callable[[], Any]) -> str:
    """The reason for which the contracts refuse `act`."""
    with pytest.raises(Reverted) as refusal:
        act()
    return refusal.value.reason


def fund(chain: ApeChain, market: Market, amount: int) -> Transaction:
    """Mint to the trader and deposit into the market."""
    chain.transact(market.token, "mint", chain.address(TRADER), amount, sender=DEPLOYER)
    chain.transact(market.token, "approve", market.market.address, amount, sender=TRADER)
    return chain.transact(market.market, "deposit", amount, chain.address(TRADER), sender=TRADER)


# ------------------------------------------------------------------------------------------------------- the clock


def test_a_fresh_chain_is_at_genesis_and_every_transaction_takes_a_second(chain: ApeChain) -> None:
    assert chain.now == GENESIS
    token = chain.deploy("MockToken", 6)
    assert chain.now == GENESIS + 1
    transactions = [chain.transact(token, "mint", chain.address(TRADER), 1, sender=TRADER) for _ in range(3)]
    assert [transaction.timestamp for transaction in transactions] == [GENESIS + 2, GENESIS + 3, GENESIS + 4]
    assert chain.now == GENESIS + 4


def test_the_clock_is_the_contracts_clock(chain: ApeChain) -> None:
    feed = chain.deploy("MockAggregator", 8, 1)
    transaction = chain.transact(feed, "set_answer", 2, sender=DEPLOYER)
    _, _, _, updated_at, _ = chain.call(feed, "latestRoundData")
    assert updated_at == transaction.timestamp == chain.now


def test_time_advances_at_once_and_adds_up(chain: ApeChain) -> None:
    feed = chain.deploy("MockAggregator", 8, 1)
    deployed = chain.now
    chain.advance(3600)
    chain.advance(0)
    chain.advance(1)
    assert chain.now == deployed + 3601
    assert chain.transact(feed, "set_answer", 2, sender=DEPLOYER).timestamp == deployed + 3602


def test_time_does_not_go_back(chain: ApeChain) -> None:
    with pytest.raises(ValueError, match="cannot go back 1 seconds"):
        chain.advance(-1)


def test_a_view_sees_the_last_block_and_a_transaction_the_next_second(chain: ApeChain) -> None:
    """Only a price from the future or older than an hour is refused, so each of these calls must run at its second."""
    market = deploy(chain)
    chain.transact(market.feed, "set_answer", MARK, sender=DEPLOYER)
    assert chain.call(market.market, "settle") is True
    chain.advance(MarketParameters().max_staleness)
    assert chain.call(market.market, "settle") is True
    assert reason_of(lambda: chain.transact(market.market, "settle", sender=TRADER)) == "oracle: stale"
    assert reason_of(lambda: chain.call(market.market, "settle")) == "oracle: stale"


def test_many_views_are_of_one_block_whatever_has_come_since(chain: ApeChain) -> None:
    feed = chain.deploy("MockAggregator", 8, 1)
    before = chain.head
    assert (before.number, before.timestamp) == (chain.block, chain.now)
    chain.transact(feed, "set_answer", 2, sender=DEPLOYER)
    asked = [(feed, "latestRoundData"), (feed, "decimals"), (feed, "latestRoundData")]
    for head, answer in ((before, 1), (chain.head, 2)):
        first, decimals, second = chain.views(head.number, asked)
        assert first == second
        assert (first[1], decimals) == (answer, 8)
        assert chain.views(head.number, asked[:1]) == [first]
        assert chain.block_hash(head.number) == head.hash
    assert chain.block_hash(chain.block + 1) is None
    assert chain.views(chain.block, []) == []


def test_a_view_that_refuses_among_others_says_why(chain: ApeChain) -> None:
    market = deploy(chain)
    chain.transact(market.feed, "set_round", 1, MARK, 1, 1, sender=DEPLOYER)
    asked = [(market.market, "mark"), (market.market, "index_price"), (market.market, "core")]
    assert reason_of(lambda: chain.views(chain.block, asked)) == "oracle: stale"
    assert chain.views(chain.block, asked[:1]) == [MARK]


# ------------------------------------------------------------------------------------------------------ transactions


def test_events_come_from_every_contract_in_order(chain: ApeChain) -> None:
    market = deploy(chain)
    trader, amount = chain.address(TRADER), 5_000_000
    transaction = fund(chain, market, amount)
    transfer = {"sender": trader, "receiver": market.market.address, "value": amount}
    deposit = {"sender": trader, "account": trader, "amount": amount}
    transfers = [log for log in transaction.logs if log.name == "Transfer"]
    assert transfers == [Log(market.token.address, "Transfer", transfer)]
    assert transaction.logs[-1] == Log(market.market.address, "Deposited", deposit)


def test_a_refused_transaction_costs_a_second_and_a_nonce_and_nothing_else(chain: ApeChain) -> None:
    token = chain.deploy("MockToken", 6)
    chain.transact(token, "mint", chain.address(TRADER), 100, sender=DEPLOYER)
    now, next_address = chain.now, chain.next_address(TRADER, skip=2)
    for _ in range(2):
        transfer = (token, "transfer", chain.address(RECEIVER), 101)
        assert reason_of(lambda call=transfer: chain.transact(*call, sender=TRADER)) == EXCEEDS_BALANCE
    assert chain.now == now + 2
    assert chain.next_address(TRADER) == next_address
    assert chain.call(token, "balanceOf", chain.address(TRADER)) == 100
    assert chain.transact(token, "transfer", chain.address(RECEIVER), 100, sender=TRADER).timestamp == now + 3


def test_a_constructor_gives_its_reason(chain: ApeChain) -> None:
    assert reason_of(lambda: deploy(chain, max_staleness=0)).startswith("parameters: ")


def test_a_refusal_without_a_string_has_an_empty_reason(chain: ApeChain) -> None:
    token = chain.deploy("MockToken", 6)
    not_a_market = chain.at("PerpetualMarket", token.address)
    assert reason_of(lambda: chain.transact(not_a_market, "settle", sender=TRADER)) == ""
    assert reason_of(lambda: chain.call(not_a_market, "settle")) == ""


def test_a_value_that_does_not_fit_is_not_sent(chain: ApeChain) -> None:
    token = chain.deploy("MockToken", 6)
    now = chain.now
    with pytest.raises(EncodingError):
        chain.transact(token, "mint", chain.address(TRADER), 2**256, sender=DEPLOYER)
    assert chain.now == now


def test_running_out_of_gas_is_no_refusal(chain: ApeChain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prorata.ape_chain.TRANSACTION_GAS", 500_000)
    with pytest.raises(RuntimeError, match="used all its gas, 500000"):
        chain.deploy("MockToken", 6)


# ----------------------------------------------------------------------------------------------------------- anchors


def test_an_anchor_undoes_state_nonces_and_time(chain: ApeChain) -> None:
    token = chain.deploy("MockToken", 6)
    now, next_address = chain.now, chain.next_address(DEPLOYER)
    with chain.anchor():
        chain.transact(token, "mint", chain.address(TRADER), 100, sender=DEPLOYER)
        chain.advance(10**6)
        with chain.anchor():
            chain.deploy("MockAggregator", 8, 1)
        assert chain.now == now + 1 + 10**6
        assert chain.call(token, "balanceOf", chain.address(TRADER)) == 100
    assert chain.now == now
    assert chain.next_address(DEPLOYER) == next_address
    assert chain.call(token, "balanceOf", chain.address(TRADER)) == 0
    assert chain.deploy("MockAggregator", 8, 1).address == next_address
    assert chain.now == now + 1


def test_an_anchor_holds_when_nothing_but_time_passed(chain: ApeChain) -> None:
    with chain.anchor():
        chain.advance(10)
    assert chain.now == GENESIS
    token = chain.deploy("MockToken", 6)
    assert chain.transact(token, "mint", chain.address(TRADER), 1, sender=DEPLOYER).timestamp == GENESIS + 2


def test_an_exception_leaves_an_anchor_and_undoes_it(chain: ApeChain) -> None:
    with pytest.raises(AssertionError, match="seen outside"), chain.anchor():
        chain.deploy("MockToken", 6)
        raise AssertionError("seen outside")
    assert chain.now == GENESIS


# ---------------------------------------------------------------------------------------------------------- accounts


def test_the_accounts_are_those_of_the_well_known_mnemonic(chain: ApeChain) -> None:
    assert chain.address(0) == "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
    assert chain.address(RECEIVER) == "0x924Ba5Ce9f91ddED37b4ebf8c0dc82A40202fc0A"
    assert Account.from_key(chain.key(RECEIVER)).address == chain.address(RECEIVER)


def test_a_contract_can_be_found_again_by_its_address(chain: ApeChain) -> None:
    token = chain.deploy("MockToken", 6)
    assert chain.at("MockToken", token.address.lower()) == token


def test_an_unknown_contract_is_named(chain: ApeChain) -> None:
    with pytest.raises(LookupError, match="no contract is called Nothing"):
        chain.deploy("Nothing")


# ---------------------------------------------------------------------------------------------- the three are the same


@dataclass(frozen=True)
class Record:
    """What one network did in the same sequence of steps."""

    chain_id: int
    accounts: Sequence[tuple[str, str]]
    addresses: Sequence[str]
    gas: Sequence[int]
    timestamps: Sequence[int]
    logs: Sequence[Sequence[Log]]
    reasons: Sequence[str]
    answers: Sequence[Any]


def drive(chain: ApeChain) -> Record:
    """The sequence: deploy, mint, transfer, deposit, refusals, time passes, prices move, an anchor in between."""
    market = deploy(chain)
    token, feed = market.token, market.feed
    trader, receiver = chain.address(TRADER), chain.address(RECEIVER)
    done = [fund(chain, market, 1_000_000)]
    done.append(chain.transact(token, "mint", trader, 2_000_000, sender=DEPLOYER))
    done.append(chain.transact(token, "transfer", receiver, 500_000, sender=TRADER))
    reasons = [
        reason_of(lambda: chain.transact(token, "transfer", receiver, 10**7, sender=TRADER)),
        reason_of(lambda: chain.transact(market.market, "withdraw", 10**7, sender=TRADER)),
    ]
    chain.advance(1800)
    done.append(chain.transact(feed, "set_answer", MARK * 9 // 10, sender=DEPLOYER))
    with chain.anchor():
        done.append(chain.transact(market.market, "settle", sender=TRADER))
    done.append(chain.transact(market.market, "settle", sender=RECEIVER))
    return Record(
        chain_id=chain.chain_id,
        accounts=[(chain.address(index), chain.key(index)) for index in range(64)],
        addresses=[contract.address for contract in (token, feed, market.vault, market.market)],
        gas=[transaction.gas for transaction in done],
        timestamps=[transaction.timestamp for transaction in done],
        logs=[transaction.logs for transaction in done],
        reasons=reasons,
        answers=[chain.call(feed, "latestRoundData"), chain.call(token, "balanceOf", trader)],
    )


@pytest.fixture(scope="module")
def records(chains: Sequence[ApeChain]) -> Sequence[Record]:
    """What each network did, the embedded one first."""
    found = []
    for chain in chains:
        with chain.anchor():
            found.append(drive(chain))
    return found


@pytest.mark.node
@pytest.mark.parametrize("aspect", [field.name for field in fields(Record)])
def test_the_networks_agree(records: Sequence[Record], aspect: str) -> None:
    embedded, *nodes = (getattr(record, aspect) for record in records)
    for node in nodes:
        assert node == embedded
