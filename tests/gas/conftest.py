"""Gas is measured on Ape's embedded network; `tests/integration` shows that the nodes agree to the unit."""

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import ape
import pytest

from prorata.ape_chain import ApeChain
from prorata.gas import reviewed

#: Takes measured gas by name, and fails if any of it has drifted from the snapshot.
Snapshot = Callable[[Mapping[str, int]], None]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Under xdist whatever uses Ape shares one worker, which connects once."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.xdist_group("ape"))


@pytest.fixture(scope="session")
def snapshot() -> Snapshot:
    """Gas is exact, so any drift is somebody's decision: `make gas` shows it, `make gas-accept` accepts it."""
    accepted = reviewed()

    def compare(measured: Mapping[str, int]) -> None:
        if not os.environ.get("PRORATA_GAS_DRIFT"):
            assert dict(measured) == {name: accepted.get(name) for name in measured}, "gas drifted: `make gas`"

    return compare


@pytest.fixture(scope="session")
def embedded() -> Iterator[ApeChain]:
    with ape.networks.parse_network_choice("ethereum:local:test"):
        yield ApeChain()
