"""An Anvil of a test's own, and commands run against it as a user runs them."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.integration.conftest import NODE_TOOLS

ROOT = Path(__file__).parent.parent.parent
NETWORK = "ethereum:local:foundry"
MNEMONIC = "test test test test test test test test test test test junk"
PATIENCE = 60  # seconds


class Node:
    """An Anvil on a port of its own that remembers its chain when it is stopped."""

    def __init__(self, folder: Path, chain_id: int = 31337) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.chain_id = chain_id
        self._state = folder / "state.json"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        options = {
            "--port": self.port,
            "--mnemonic": MNEMONIC,
            "--accounts": 64,
            "--chain-id": self.chain_id,
            "--hardfork": "cancun",
            "--state": self._state,
        }
        words = [str(word) for option in options.items() for word in option]
        self._process = subprocess.Popen([NODE_TOOLS / "anvil", "--quiet", *words])
        wait_for(self._listens, "the node")

    def stop(self) -> None:
        """Asked to end, it writes its state first."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(PATIENCE)
            self._process = None

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


def wait_for(happened: Callable[[], object], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < end, f"waited {PATIENCE} s for {what}"
        time.sleep(0.05)


def ape_run(*arguments: str, node: Node | None = None) -> subprocess.CompletedProcess[str]:
    return _ape("run", *arguments, node=node)


def console(network: str, lines: Sequence[str], node: Node | None = None) -> subprocess.CompletedProcess[str]:
    """Lines handed to `ape console` at once."""
    return _ape("console", "--network", network, "-c", "\n".join(lines), node=node)


def typed(network: str, lines: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Lines typed into `ape console` one by one; what is printed has its prompts too."""
    return _ape("console", "--network", network, typed="\n".join([*lines, "exit\n"]))


def _ape(*words: str, node: Node | None = None, typed: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **({"APE_FOUNDRY_HOST": node.url} if node else {})}
    command = ["ape", *words]
    return subprocess.run(command, cwd=ROOT, env=environment, input=typed, capture_output=True, text=True, timeout=300)
