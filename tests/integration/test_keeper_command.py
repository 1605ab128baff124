"""`ape run keeper` as a user runs it, on a real Anvil that dies and comes back.

The node is the test's own and keeps its state in a file, so it can be killed and started again as the same chain. The
market is deployed by `ape run deploy`; the keeper learns of it from the file that saved.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import ape
import pytest

from prorata.ape_chain import ApeChain
from prorata.chain import Reverted
from prorata.exchange import Addresses, Exchange
from prorata.units import WAD
from tests.integration.anvil import NETWORK, PATIENCE, ROOT, Node, ape_run, wait_for

LONGER, WEAK, WEAKER, KEEPER = range(1, 5)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    anvil = Node(tmp_path_factory.mktemp("anvil"))
    anvil.start()
    yield anvil
    anvil.stop()


@pytest.fixture(scope="module")
def saved(node: Node, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The addresses of a market that `ape run deploy` deployed."""
    path = tmp_path_factory.mktemp("deployed") / "addresses.json"
    done = ape_run("deploy", "--price", "1000", "--decimals", "6", "--out", str(path), "--network", NETWORK, node=node)
    assert done.returncode == 0, done.stderr
    return path


@pytest.fixture(scope="module")
def exchange(node: Node, saved: Path) -> Iterator[Exchange]:
    """The market with two shorts against one long, and a keeper with collateral, seen from another process."""
    found = json.loads(saved.read_text())
    addresses = Addresses(**{name: found[name] for name in Addresses.__dataclass_fields__})
    with ape.networks.parse_network_choice(NETWORK, provider_settings={"host": node.url}):
        market = Exchange(ApeChain(), addresses, found["decimals"])
        for trader, amount in ((LONGER, 5_000), (WEAK, 100), (WEAKER, 200), (KEEPER, 1_000)):
            market.fund(trader)
            market.deposit(trader, amount * WAD)
        for trader in (WEAK, WEAKER):
            market.trade(LONGER, trader, True, WAD, 1_000 * WAD)
        yield market


def ratio(exchange: Exchange, trader: int) -> float:
    account = exchange.account(trader)
    size = account.shares * exchange.side(account.side).scale // WAD
    return account.equity * WAD / (size * exchange.mark)


@pytest.mark.node
def test_it_liquidates_survives_its_node_and_stops_when_told(
    node: Node, saved: Path, exchange: Exchange, tmp_path: Path
) -> None:
    options = ("--addresses", str(saved), "--account", str(KEEPER), "--leverage", "20", "--network", NETWORK)

    # Nobody is weak: a look, nothing else.
    block = exchange.chain.block
    done = ape_run("keeper", *options, "--once", node=node)
    assert done.returncode == 0, done.stderr
    assert "3 positions · 0 below maintenance" in done.stdout
    assert "liquidations 0" in done.stdout.splitlines()[-1]
    assert exchange.chain.block == block

    # WEAK is.
    exchange.set_price(1_078 * WAD)
    done = ape_run("keeper", *options, "--once", node=node)
    assert done.returncode == 0, done.stderr
    assert f"liquidated {exchange.chain.address(WEAK)}" in done.stdout
    assert "settled: mark 1,000.00 → 1,078.00" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("passes 1, settlements 1, liquidations 1, reward 4.05,")
    assert ratio(exchange, WEAK) == pytest.approx(0.05, rel=1e-9)

    # One that keeps running loses its node, finds it again, and finds WEAKER, who was filed before it was started.
    with running("keeper", *options, "--poll", "0.2", node=node, out=tmp_path / "out") as keeper:
        keeper.says("0 below maintenance")
        node.stop()
        keeper.says("the node does not answer")
        node.start()
        exchange.set_price(1_174 * WAD)
        keeper.says(f"liquidated {exchange.chain.address(WEAKER)}")
        keeper.process.send_signal(signal.SIGINT)
        assert keeper.process.wait(PATIENCE) == 0, keeper.text
    *_, stopped, summary = keeper.text.splitlines()
    assert stopped == "stopped"
    assert "refused 0" in summary
    assert "outages 0" not in summary
    assert "Traceback" not in keeper.text
    assert ratio(exchange, WEAKER) == pytest.approx(0.05, rel=1e-9)
    with pytest.raises(Reverted, match="healthy"):
        exchange.liquidate(LONGER, WEAKER)


@pytest.mark.node
def test_the_markets_address_alone_is_enough(node: Node, exchange: Exchange) -> None:
    options = ("--market", exchange.market.address.lower(), "--network", NETWORK, "--poll", "0")
    done = ape_run("keeper", *options, "--max-passes", "3", node=node)
    assert done.returncode == 0, done.stderr
    assert exchange.market.address in done.stdout
    assert done.stdout.splitlines()[-1].startswith("passes 3,")


class Running:
    """A command in the background and what it has said so far."""

    def __init__(self, process: subprocess.Popen[bytes], out: Path) -> None:
        self.process, self._out = process, out

    @property
    def text(self) -> str:
        return self._out.read_text()

    def says(self, words: str) -> None:
        """Wait for it."""
        wait_for(lambda: words in self.text or self.process.poll() is not None, f"{words!r} in {self.text!r}")
        assert words in self.text, self.text

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(PATIENCE)


def running(*arguments: str, node: Node, out: Path) -> Running:
    environment: dict[str, Any] = {**os.environ, "APE_FOUNDRY_HOST": node.url}
    with out.open("wb") as file:
        process = subprocess.Popen(
            ["ape", "run", *arguments], cwd=ROOT, env=environment, stdout=file, stderr=subprocess.STDOUT
        )
    return Running(process, out)


NOWHERE = "0x" + "12" * 20


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--market", "0x1234"), ("0x1234", "not an address")),
        (("--market", NOWHERE), ("no market at 0x1212",)),
        (("--market", NOWHERE, "--addresses", "{broken}"), ("--market and --addresses exclude each other",)),
        (("--addresses", "{broken}"), ("holds no market's address",)),
        (("--addresses", "{missing}"), ("cannot be read", "No such file")),
        (("--market", NOWHERE, "--once", "--max-passes", "2"), ("--once and --max-passes exclude each other",)),
        (("--market", NOWHERE, "--account", "64"), ("--account 64",)),
        (("--market", NOWHERE, "--from-block", "1000"), ("--from-block 1000",)),
        (("--market", NOWHERE, "--leverage", "0"), ("--leverage", "0.01")),
        (("--market", NOWHERE, "--min-profit", "lots"), ("--min-profit", "lots")),
    ],
    ids=lambda value: "-".join(word.strip("-") for word in value if word.startswith("--")) if value else "",
)
def test_bad_input_is_one_line(tmp_path: Path, arguments: Sequence[str], words: Sequence[str]) -> None:
    broken = tmp_path / "broken.json"
    broken.write_text('{"network": "ethereum:local:test"}')
    files = {"broken": str(broken), "missing": str(tmp_path / "missing.json")}
    given = [argument.format(**files) for argument in arguments]
    done = ape_run("keeper", *given, "--network", "ethereum:local:test")
    assert done.returncode == 2, done.stdout
    complaint = done.stderr.strip()
    assert complaint.count("\n") == 0, complaint
    assert all(word in complaint for word in words), complaint
