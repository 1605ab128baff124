"""A share of a sweep on a real node: outcomes and gas as they were, and what is not is named."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner
from rich.console import Console

from prorata.ape_chain import ApeChain
from prorata.chain import Transaction
from prorata.metered_chain import MeteredChain
from prorata.stress import node
from prorata.stress.config import Sweep
from prorata.stress.engine import run_paths
from scripts import sweep
from tests.integration.anvil import ROOT

pytestmark = pytest.mark.node

SHORT = {
    "prices": {"steps": 4, "severity": 0.25, "severity_spread": 0.5},
    "crowd": {"traders": 4, "lowest_leverage": 12},
    "keepers": {"lags": [0], "weights": [1]},
    "grid": {"insurance": [0, 0.05], "step_caps": [0.5]},
}
SEED = 3


@pytest.fixture
def anvil(connect: Callable[[str], ApeChain]) -> Iterator[ApeChain]:
    """The session's; a replay starts its own, and finds it as this one was."""
    chain = connect(node.NETWORK)
    with chain.anchor():
        yield chain


def replay(count: int, paths: pd.DataFrame) -> node.OnAnvil:
    return node.replay(Sweep.of(SHORT), SEED, paths, count, Console(file=io.StringIO()))


@pytest.fixture(scope="module")
def paths() -> pd.DataFrame:
    return pd.DataFrame([asdict(one) for one in run_paths(Sweep.of(SHORT), SEED, 0, 12, audit=0)])


def test_the_command_runs_a_share_again(anvil: ApeChain, tmp_path: Path) -> None:
    config, out = tmp_path / "short.yaml", tmp_path / "out"
    config.write_text(json.dumps(SHORT))  # which YAML can read
    arguments = ["--config", config, "--paths", 12, "--seed", SEED, "--workers", 1, "--audit", 0, "--scan", 0]
    done = CliRunner().invoke(sweep.cli, [*map(str, arguments), "--on-anvil", "3", "--out", str(out)])
    assert done.exit_code == 0, done.output
    found = json.loads((out / "figures.json").read_text())["on_anvil"]
    assert found["paths"] == node.sample(SEED, 12, 3)
    assert found["differences"] == []
    # At least deposits of everybody, an opening, and two transactions a price.
    assert found["transactions"] >= 3 * (5 + 1 + 2 * 4)
    assert found["gas"] > 50_000 * found["transactions"]
    said = " ".join(done.output.split())
    for number in found["paths"]:
        assert re.search(rf"path {number} on Anvil: \d+ transactions, [\d,]+ gas, the same", said)
    assert (
        f"3 paths, {found['transactions']:,} transactions, {found['gas']:,} gas: every outcome as in the sweep" in said
    )
    assert f"{found['transactions']:,} transactions" in (out / "index.html").read_text()


def test_bug_a_unit_of_gas_and_another_outcome_are_named(
    anvil: ApeChain, paths: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first settlement of a path is metered a unit short, and the sweep is said to have lost more there."""
    original, settled = MeteredChain.transact, []

    def short(self: MeteredChain, contract: Any, function: str, *arguments: Any, sender: int) -> Transaction:
        done = original(self, contract, function, *arguments, sender=sender)
        if function != "settle" or settled:
            return done
        settled.append(done.gas)
        return replace(done, gas=done.gas - 1)

    monkeypatch.setattr(MeteredChain, "transact", short)
    (number,) = node.sample(SEED, 12, 1)
    changed = paths.copy()
    changed.loc[number, "gross"] += 1
    found = replay(1, changed)
    outcome, gas = found.differences
    assert outcome == f"path {number}: gross is {paths.gross[number]} instead of {changed.gross[number]}"
    assert re.fullmatch(
        rf"path {number}, transaction \d+: settle {settled[0]:,} gas on Anvil, settle {settled[0] - 1:,} gas metered",
        gas,
    )


def test_ctrl_c_ends_it_with_one_line(tmp_path: Path) -> None:
    """As in a terminal, where the node is interrupted too."""
    config = tmp_path / "short.yaml"
    config.write_text(json.dumps(SHORT))
    arguments = [
        "--config",
        config,
        "--paths",
        40,
        "--audit",
        0,
        "--scan",
        0,
        "--on-anvil",
        40,
        "--out",
        tmp_path / "x",
    ]
    running = subprocess.Popen(
        ["ape", "run", "sweep", *map(str, arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert running.stdout is not None
    while "on Anvil: " not in (line := running.stdout.readline()):
        assert line, "it ended too early"
    os.killpg(running.pid, signal.SIGINT)
    said = " ".join(running.communicate(timeout=60)[0].split())
    assert running.returncode == 130
    assert "interrupted; what was finished is kept" in said
    assert "Traceback" not in said


def test_a_difference_is_code_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = tuple(f"path 7, transaction {number}: settle" for number in range(12))
    monkeypatch.setattr(node, "replay", lambda *_: node.OnAnvil((7,), 20, 10**6, 0, named))
    arguments = ["--paths", "2", "--workers", "1", "--audit", "0", "--scan", "0", "--on-anvil", "1"]
    done = CliRunner().invoke(sweep.cli, [*arguments, "--out", str(tmp_path)])
    assert done.exit_code == 1
    assert "path 7, transaction 9: settle" in done.output
    assert "and 2 more in figures.json" in done.output
    assert json.loads((tmp_path / "figures.json").read_text())["on_anvil"]["differences"] == list(named)


def test_the_sample_is_the_seed_s() -> None:
    assert node.sample(1, 1000, 20) == node.sample(1, 1000, 20) != node.sample(2, 1000, 20)
    assert len(set(node.sample(1, 1000, 20))) == 20
    assert node.sample(1, 4, 4) == [0, 1, 2, 3]


def test_a_node_that_was_used_before_is_refused(
    anvil: ApeChain, paths: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    anvil.deploy("MockToken", 6)
    monkeypatch.setattr(node, "ApeChain", lambda: anvil)
    with pytest.raises(node.NodeError, match="it has been used before"):
        replay(1, paths)
