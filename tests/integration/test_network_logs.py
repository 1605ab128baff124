"""Events of past blocks, and a market's books kept from them, on every network."""

from __future__ import annotations

from prorata.ape_chain import ApeChain
from prorata.exchange import Exchange
from prorata.ledger import Ledger
from prorata.units import LONG, SHORT, WAD

MAKER, TAKER = 1, 2


def test_logs_of_past_blocks_are_those_of_the_transactions(chain: ApeChain) -> None:
    exchange = Exchange.deploy(chain, 1000 * WAD, decimals=6)
    start = chain.block
    exchange.fund(MAKER)
    first, second = exchange.deposit(MAKER, 5 * WAD), exchange.withdraw(MAKER, 2 * WAD)
    last = chain.block
    assert last == start + 4
    assert chain.logs(last - 1, last) == [*first.logs, *second.logs]
    assert chain.logs(last, last + 5) == second.logs
    assert chain.logs(last + 1, last + 5) == chain.logs(last, last - 1) == []
    entries = chain.entries(last - 1, last)
    assert [entry.log for entry in entries] == chain.logs(last - 1, last)
    assert {(entry.block, entry.timestamp) for entry in entries} == {
        (last - 1, first.timestamp),
        (last, second.timestamp),
    }
    assert len({entry.transaction for entry in entries}) == 2
    assert all(len(entry.transaction) == 66 for entry in entries)


def test_a_ledger_of_every_block_agrees_with_the_views(chain: ApeChain) -> None:
    exchange = Exchange.deploy(chain, 1000 * WAD, decimals=6)
    for trader, amount in ((MAKER, 1_000), (TAKER, 90)):
        exchange.fund(trader)
        exchange.deposit(trader, amount * WAD)
    exchange.trade(MAKER, TAKER, True, WAD, 1000 * WAD)
    exchange.set_price(1050 * WAD)
    exchange.settle()
    ledger = Ledger(exchange.market.address).read(chain.logs(0, chain.block))
    assert [ledger.account(chain.address(trader)) for trader in (MAKER, TAKER)] == [
        exchange.account(trader) for trader in (MAKER, TAKER)
    ]
    assert [ledger.side(side) for side in (LONG, SHORT)] == [exchange.side(side) for side in (LONG, SHORT)]
    assert (ledger.mark, ledger.insurance_owed) == (1050 * WAD, exchange.insurance_owed)
    assert ledger.token_balance == exchange.token_balance(exchange.market)


def test_a_chain_that_knows_no_contract_has_no_events(chain: ApeChain) -> None:
    Exchange.deploy(chain, 1000 * WAD)
    stranger = object.__new__(ApeChain)
    stranger.__dict__.update(chain.__dict__, _contracts={})
    assert stranger.logs(0, chain.block) == []
