"""Blocks and their events on the in-process chains: a block for every transaction that was not refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from prorata.boa_chain import BoaChain
from prorata.chain import Reverted
from prorata.embedded import EmbeddedChain
from prorata.exchange import Exchange
from prorata.revm_chain import RevmChain
from prorata.units import WAD

TRADER = 1


@pytest.fixture(params=[BoaChain, RevmChain], ids=lambda kind: kind.network)
def exchange(request: pytest.FixtureRequest) -> Exchange:
    fresh: Callable[[], EmbeddedChain] = request.param
    return Exchange.deploy(fresh(), 1000 * WAD)


def test_a_fresh_chain_has_no_blocks() -> None:
    for chain in (BoaChain(), RevmChain()):
        assert (chain.block, chain.logs(0, 10)) == (0, [])


def test_events_are_those_of_the_transactions_in_order(exchange: Exchange) -> None:
    chain = exchange.chain
    deployed = chain.block
    exchange.fund(TRADER)
    first = exchange.deposit(TRADER, WAD)
    second = exchange.withdraw(TRADER, WAD)
    last = chain.block
    assert last == deployed + 4
    assert chain.logs(last, last) == second.logs != []
    assert chain.logs(last - 1, last) == [*first.logs, *second.logs]
    assert chain.logs(last - 1, last + 5) == chain.logs(last - 1, last)
    assert chain.logs(last, last - 1) == chain.logs(last + 1, last + 1) == []
    assert chain.logs(0, last)[-len(second.logs) :] == second.logs


def test_entries_say_where_and_when_an_event_was(exchange: Exchange) -> None:
    chain = exchange.chain
    exchange.fund(TRADER)
    chain.advance(100)
    first = exchange.deposit(TRADER, WAD)
    chain.advance(50)
    second = exchange.withdraw(TRADER, WAD)
    last = chain.block
    entries = chain.entries(last - 1, last)
    assert [entry.log for entry in entries] == chain.logs(last - 1, last)
    assert {(entry.block, entry.timestamp, entry.transaction) for entry in entries} == {
        (last - 1, first.timestamp, f"0x{last - 1:064x}"),
        (last, second.timestamp, f"0x{last:064x}"),
    }
    assert second.timestamp - first.timestamp == 51
    assert chain.entries(last + 1, last + 5) == chain.entries(last, last - 1) == []
    assert [entry.log for entry in chain.entries(0, last)] == chain.logs(0, last)


def test_a_deployment_logs_too(exchange: Exchange) -> None:
    (log,) = (log for log in exchange.chain.logs(0, exchange.chain.block) if log.name == "Deployed")
    assert (log.address, log.fields["insurance"]) == (exchange.market.address, exchange.vault.address)


def test_refused_transactions_and_undone_ones_leave_nothing(exchange: Exchange) -> None:
    chain = exchange.chain
    block = chain.block
    with pytest.raises(Reverted):
        exchange.deposit(TRADER, WAD)
    assert chain.block == block
    with chain.anchor():
        exchange.fund(TRADER)
        exchange.deposit(TRADER, WAD)
        assert chain.block == block + 3
    assert (chain.block, chain.logs(block + 1, block + 3)) == (block, [])
