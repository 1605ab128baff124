"""What every operation costs: gas of whole transactions, refunds included, cold access, at the Cancun rules."""

from collections.abc import Iterator

import pytest

from prorata.ape_chain import ApeChain
from prorata.exchange import Exchange
from prorata.operations import OPERATIONS, Operation, market
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
