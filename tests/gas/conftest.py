"""Gas is measured on Ape's embedded network; `tests/integration` shows that the nodes agree to the unit."""

from collections.abc import Iterator
from pathlib import Path

import ape
import pytest

from prorata.ape_chain import ApeChain


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Under xdist whatever uses Ape shares one worker, which connects once."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.xdist_group("ape"))


@pytest.fixture(scope="session")
def embedded() -> Iterator[ApeChain]:
    with ape.networks.parse_network_choice("ethereum:local:test"):
        yield ApeChain()
