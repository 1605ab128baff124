"""The three local networks. Each is started once a session, when first needed; every test gets its chain untouched."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import ape
import pytest
from playwright.sync_api import Browser

from prorata.ape_chain import ApeChain
from tests.browser import chromium

EMBEDDED = "ethereum:local:test"
NODES = ("ethereum:local:foundry", "ethereum:local:hardhat")
NETWORKS = (EMBEDDED, *NODES)
NODE_TOOLS = Path(__file__).parents[2] / "node_modules" / ".bin"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Under xdist this folder's tests share one worker, so that each node is started once and not once a worker."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.xdist_group("ape"))


@pytest.fixture(scope="session")
def connect() -> Iterator[Callable[[str], ApeChain]]:
    """A chain by Ape's name of its network; the same one whenever asked. All stay connected until the session ends."""
    with ExitStack() as connections, pytest.MonkeyPatch.context() as environment:
        # Ape finds Anvil on PATH only.
        environment.setenv("PATH", str(NODE_TOOLS), prepend=os.pathsep)

        @cache
        def connected(network: str) -> ApeChain:
            connections.enter_context(ape.networks.parse_network_choice(network))
            return ApeChain()

        yield connected


@pytest.fixture(params=[EMBEDDED, *(pytest.param(network, marks=pytest.mark.node) for network in NODES)])
def chain(request: pytest.FixtureRequest, connect: Callable[[str], ApeChain]) -> Iterator[ApeChain]:
    """Each of the networks in turn, fresh at GENESIS."""
    network = connect(request.param)
    with network.anchor():
        yield network


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Headless Chromium. Not for the whole session: while it is open, nothing else can have an asyncio loop."""
    with chromium() as running:
        yield running


@pytest.fixture(scope="session")
def chains(connect: Callable[[str], ApeChain]) -> Sequence[ApeChain]:
    """All networks side by side, the embedded one first; to be left as they were found."""
    return [connect(network) for network in NETWORKS]
