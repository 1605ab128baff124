"""`ape run monitor` as a user runs it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.integration.anvil import NETWORK, PATIENCE, ROOT, Node, wait_for


class Monitor:
    """The command in the background: its page's address, and what it has said."""

    def __init__(self, process: subprocess.Popen[bytes], out: Path) -> None:
        self.process, self._out = process, out
        wait_for(lambda: self._found() or process.poll() is not None, "the monitor's address")
        found = self._found()
        assert found, self.text
        self.url = found[0]

    @property
    def text(self) -> str:
        return self._out.read_text()

    def _found(self) -> re.Match[str] | None:
        return re.search(r"http://127\.0\.0\.1:\d+/", self.text)

    def interrupt(self) -> int:
        """Ctrl-C; the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(PATIENCE)


@contextmanager
def monitor(market: str, node: Node, folder: Path, *options: str) -> Iterator[Monitor]:
    """`ape run monitor` of a market on a node."""
    out = folder / "monitor.txt"
    words = ["ape", "run", "monitor", "--market", market, "--network", NETWORK, *options]
    environment = {**os.environ, "APE_FOUNDRY_HOST": node.url}
    with out.open("wb") as file:
        process = subprocess.Popen(words, cwd=ROOT, env=environment, stdout=file, stderr=subprocess.STDOUT)
    try:
        yield Monitor(process, out)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(PATIENCE)
