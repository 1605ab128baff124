"""What every operation costs: gas of whole transactions, refunds included, cold access, at the Cancun rules."""

from collections.abc import Iterator

import pytest

from prorata.ape_chain import ApeChain
from prorata.exchange import Exchange
from prorata.metered_chain import MeteredChain
from prorata.operations import OPERATIONS, Operation, fill_batch, fill_batch_warm, market
from prorata.units import LONG, SHORT, WAD
from tests import figures
from tests.gas.conftest import Snapshot


@pytest.fixture
def exchange(embedded: ApeChain) -> Iterator[Exchange]:
    with embedded.anchor():
        yield market(embedded)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.__name__)
def test_gas(exchange: Exchange, operation: Operation, snapshot: Snapshot) -> None:
    measured = {name: transaction.gas for name, transaction in operation(exchange)}
    figures.record(f"gas: {operation.__name__}", measured)
    snapshot(measured)
    for side in (LONG, SHORT):
        assert exchange.side(side).scale == WAD


def test_another_fill_of_a_batch_finds_the_market_warm(snapshot: Snapshot) -> None:
    """What a batch of three costs beyond one of two. A second settlement cannot be had: one transaction has one."""
    (_, two), (_, three) = (case for batch in (fill_batch, fill_batch_warm) for case in batch(market(MeteredChain())))
    measured = {"fill_warm": three.gas - two.gas}
    figures.record("gas: warm", measured)
    assert measured["fill_warm"] < two.gas // 2
    snapshot(measured)
