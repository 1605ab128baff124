"""`ape console` as a user opens it: on a local network there is a market, on any other nothing is deployed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from web3 import HTTPProvider, Web3

from prorata.playground import ROLES, VERBS
from tests.integration.anvil import NETWORK, Node, console, typed
from tests.integration.conftest import EMBEDDED

#: What a session types; verbs, and Ape's own contracts with Ape's own accounts.
LINES = (
    "curve(800)",
    "move(800)",
    "balances()",
    "trade(attacker, maker, 1)",
    "move('free')",
    "print(market.mark(), vault.totalAssets(), feed.decimals(), token.balanceOf(market) // 10**18)",
    "print(market.withdraw(10**18, sender=keeper).failed, lens.position(market, keeper).equity // 10**18)",
    "audit()",
    f"print({sorted(VERBS)} == sorted(play.verbs()), {list(ROLES)} == list(play.people))",
)


PROMPT = re.compile(r"^(In \[\d+\]: )+")


@pytest.fixture
def node(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Node]:
    """An Anvil; a parameter is its chain id."""
    anvil = Node(tmp_path, getattr(request, "param", 31337))
    anvil.start()
    yield anvil
    anvil.stop()


def said(printed: str) -> list[str]:
    """Line by line, without prompts and what Ape says of its transactions."""
    lines = [PROMPT.sub("", line).rstrip() for line in printed.splitlines()]
    return [line for line in lines if line and not line.startswith("INFO")]


@pytest.mark.node
def test_a_market_to_play_with_is_the_same_on_both_networks(node: Node) -> None:
    embedded = typed(EMBEDDED, LINES)
    assert embedded.returncode == 0, embedded.stderr
    # Before the first prompt: who opens a console sees what there is.
    assert embedded.stdout.index("prorata: a market at 0x") < embedded.stdout.index("In [1]")
    found = said(embedded.stdout)
    assert "mistake: 'free' is not a number of at most 18 digits after the point" in found
    assert "no difference: log, rule and contracts agree to the wei" in found
    assert "False 49999" in found and found[-1] == "True True"
    curve, receipt = (line.split() for line in found if " 24.95 % " in line)
    assert curve[1:] == receipt[5:]
    assert not [line for line in found if "Error" in line]

    anvil = console(NETWORK, LINES, node=node)
    assert anvil.returncode == 0, anvil.stderr
    assert said(anvil.stdout) == found


@pytest.mark.node
@pytest.mark.parametrize("node", [11155111], indirect=True, ids=["sepolia"])
def test_nothing_is_deployed_on_a_network_that_is_not_local(node: Node) -> None:
    done = console(f"ethereum:sepolia:{node.url}", ["print('play' in globals(), chain.provider.chain_id)"])
    assert done.returncode == 0, done.stderr
    assert said(done.stdout) == [
        "prorata: not a local network, nothing was deployed; `--network ethereum:local:test` has a market",
        "False 11155111",
    ]
    assert Web3(HTTPProvider(node.url)).eth.block_number == 0
