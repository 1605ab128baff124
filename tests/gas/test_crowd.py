"""S5: a crash costs what its buckets cost, however many accounts are in them."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from eth_account import Account
from eth_utils.crypto import keccak

from prorata.ape_chain import ApeChain
from prorata.exchange import Exchange
from prorata.receipts import receipts_in
from prorata.units import WAD
from tests import figures
from tests.bytecode import DEPLOYABLES, runtime_size
from tests.gas.conftest import Snapshot

MARK = 1000 * WAD
WHALE = 1
#: How many accounts in how many buckets.
CROWDS = ((1, 1), (10, 10), (100, 10), (1000, 10), (100, 100), (1000, 100))


@dataclass(frozen=True)
class Crash:
    """What a 50 % crash of one crowd did."""

    accounts: int
    buckets: int
    calls: int
    gas: int


def margin_of(number: int, buckets: int) -> int:
    """Collateral that a member of the crowd has left after its fee, for one unit: 6 to 16 %, by so many buckets."""
    return MARK * 6 // 100 + MARK // 10 * (number % buckets) // buckets


def join(exchange: Exchange, number: int, margin: int) -> str:
    """A long of one unit with a key of its own: it signs, somebody else pays for its deposit and its gas."""
    maker = Account.from_key(keccak(text=f"crowd {number}"))
    fee = MARK // 2000
    exchange.chain.transact(exchange.market, "deposit", margin + fee, maker.address, sender=WHALE)
    order = exchange.order(WHALE, True, WAD, MARK)
    order = type(order)(**{**vars(order), "maker": maker.address})
    signature = order.sign(maker.key.hex(), exchange.market.address, exchange.chain.chain_id)
    exchange.take(WHALE, order, signature, WAD)
    return str(maker.address)


def crash(chain: ApeChain, accounts: int, buckets: int) -> Crash:
    """A market with a whale short, a crowd long and one survivor; the price halves."""
    exchange = Exchange.deploy(chain, MARK)
    exchange.fund(WHALE)
    exchange.deposit(WHALE, 10**6 * WAD)
    crowd = [join(exchange, number, margin_of(number, buckets)) for number in range(accounts)]
    survivor = join(exchange, accounts, MARK)

    exchange.set_price(MARK // 2)
    transactions = [exchange.settle()]
    while exchange.mark != MARK // 2:
        transactions.append(exchange.settle())
    closed = [owner for owner in crowd if not chain.call(exchange.market, "account", owner)[2]]
    assert len(closed) == accounts
    assert chain.call(exchange.market, "account", survivor)[2] == WAD
    receipts = receipts_in(log for transaction in transactions for log in transaction.logs)
    return Crash(
        accounts,
        sum(receipt.buckets_closed for receipt in receipts),
        len(transactions),
        sum(transaction.gas for transaction in transactions),
    )


@pytest.fixture(scope="module")
def crashes(embedded: ApeChain) -> Iterator[list[Crash]]:
    found = []
    for accounts, buckets in CROWDS:
        with embedded.anchor():
            found.append(crash(embedded, accounts, buckets))
    figures.record("50 % crash", {f"{it.accounts} accounts in {it.buckets} buckets, gas": it.gas for it in found})
    yield found


def test_settlement_gas_does_not_depend_on_accounts(crashes: list[Crash]) -> None:
    assert [(it.accounts, it.buckets) for it in crashes] == list(CROWDS)
    assert {it.calls for it in crashes} == {1}
    for buckets in (10, 100):
        assert len({it.gas for it in crashes if it.buckets == buckets}) == 1


def test_a_bucket_costs_what_the_snapshot_says(crashes: list[Crash], snapshot: Snapshot) -> None:
    by_crowd = {(it.accounts, it.buckets): it.gas for it in crashes}
    few, many = by_crowd[1000, 10], by_crowd[1000, 100]
    measured = {f"crash_{accounts}_accounts_{buckets}_buckets": gas for (accounts, buckets), gas in by_crowd.items()}
    measured |= {
        "crash_1_bucket": by_crowd[1, 1],
        "crash_10_buckets": few,
        "crash_100_buckets": many,
        "crash_1000": many,
        "bucket_marginal": -(-(many - few) // 90),
    }
    figures.record("gas: crash", measured)
    snapshot(measured)


def test_bytecode_is_what_the_snapshot_says(snapshot: Snapshot) -> None:
    measured = {f"bytecode_{name}": runtime_size(name) for name in DEPLOYABLES}
    figures.record("gas: bytecode", measured)
    snapshot(measured)
