"""Gas as titanoboa counts it is the gas that Ape's network charges, to the unit."""

import pytest

from prorata.gas import reviewed
from prorata.metered_chain import MeteredChain
from prorata.operations import Operation, fill_open, insurance, liquidate_moved, market, settle_funding
from tests.gas.conftest import Snapshot


@pytest.mark.parametrize(
    "operation", [fill_open, liquidate_moved, settle_funding, insurance], ids=lambda operation: operation.__name__
)
def test_operations_cost_what_the_snapshot_says(operation: Operation, snapshot: Snapshot) -> None:
    measured = {name: transaction.gas for name, transaction in operation(market(MeteredChain()))}
    assert set(measured) <= set(reviewed())
    snapshot(measured)
