"""`ape run sweep` as a user runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from scripts import sweep

ROOT = Path(__file__).parents[2]
CONFIG = """
prices: {steps: 8, severity: 0.25, severity_spread: 0.5}
crowd: {traders: 4, lowest_leverage: 8}
grid: {insurance: [0, 0.05], step_caps: [0.02, 0.5]}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "small.yaml"
    file.write_text(CONFIG)
    return file


def run(*arguments: object) -> Result:
    return CliRunner().invoke(sweep.cli, [str(one) for one in arguments])


def rows(folder: Path) -> list[dict[str, object]]:
    return [row for file in sorted((folder / "paths").glob("*.parquet")) for row in pq.read_table(file).to_pylist()]


def test_from_the_command_line_interrupted_and_resumed(config: Path, tmp_path: Path) -> None:
    """Ctrl-C in the middle: one clear line and code 130; resumed, it is what it would have been, row by row."""
    common = ["ape", "run", "sweep", "--config", str(config), "--paths", "1440", "--workers", "2", "--audit", "0.002"]
    broken = tmp_path / "broken"
    process = subprocess.Popen(
        [*common, "--out", str(broken)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while process.poll() is None and len(list(broken.glob("paths/*.parquet"))) < 1:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "interrupted; what was finished is kept, --resume goes on from there" in " ".join(out.split())
    assert "Traceback" not in err
    kept = rows(broken)
    assert 0 < len(kept) < 1440

    resumed = subprocess.run(
        [*common, "--scan", "500", "--replays", "2", "--out", str(broken), "--resume"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert resumed.returncode == 0, resumed.stderr
    assert "0 violations" in resumed.stdout
    assert (broken / "index.html").stat().st_size > 10**6

    whole = tmp_path / "whole"
    assert run(*common[3:], "--scan", 0, "--workers", 1, "--out", whole).exit_code == 0
    assert rows(broken) == rows(whole)
    assert all(row in rows(whole) for row in kept[:5])


def test_says_its_seed_and_takes_one(config: Path, tmp_path: Path) -> None:
    found = []
    for seed in (3, 3, 4):
        folder = tmp_path / f"{len(found)}"
        done = run("--config", config, "--paths", 40, "--workers", 1, "--seed", seed, "--scan", 0, "--out", folder)
        assert done.exit_code == 0, done.output
        assert f"seed {seed}, 40 paths in 4 cells" in done.output
        found.append((rows(folder), json.loads((folder / "figures.json").read_text())["cells"]))
    assert found[0] == found[1] != found[2]


def test_one_path_again(config: Path) -> None:
    done = run("--config", config, "--seed", 3, "--only", 17)
    assert done.exit_code == 0, done.output
    said = dict(line.split(":", 1) for line in done.output.splitlines())
    assert said["path"].strip() == "17"
    assert said["audited"].strip() == "True"
    assert said["violation"].strip() == ""


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--paths", "0"], "Invalid value for '--paths'"),
        (["--paths", "many"], "Invalid value for '--paths'"),
        (["--audit", "2"], "Invalid value for '--audit'"),
        (["--audit", "nan"], "Invalid value for '--audit'"),
        (["--seed", "-1"], "Invalid value for '--seed'"),
        (["--speed", "9"], "No such option: --speed"),
        ([], "--out is missing"),
        (["--config", "/does/not/exist.yaml", "--out", "x"], "cannot be read"),
        (["--scheduler", "nonsense://x", "--out", "x"], "no Dask scheduler at nonsense://x"),
        (["--on-anvil", "many"], "Invalid value for '--on-anvil'"),
        (["--on-anvil", "5", "--paths", "4", "--out", "x"], "--on-anvil 5: there are only 4 paths"),
    ],
)
def test_bad_input_is_one_line_and_code_2(arguments: list[str], complaint: str) -> None:
    done = run(*arguments)
    assert done.exit_code == 2
    assert complaint in done.output
    assert len(done.output.strip().splitlines()) == 1


def test_bad_fields_and_folders_are_one_line_and_code_2(config: Path, tmp_path: Path) -> None:
    config.write_text("prices: {steps: -3}")
    done = run("--config", config, "--out", tmp_path / "x")
    assert (done.exit_code, "prices.steps: -3 is not between" in done.output) == (2, True)
    config.write_text(CONFIG)
    folder = tmp_path / "out"
    first = ["--config", config, "--workers", 1, "--paths", 4, "--scan", 0, "--audit", 0, "--out", folder]
    assert run(*first).exit_code == 0
    again = run(*first)
    assert (again.exit_code, "--resume goes on with it" in again.output) == (2, True)
    other = run(*first, "--seed", 9, "--resume")
    assert (other.exit_code, "holds another sweep: seed differ" in other.output) == (2, True)


def test_a_violation_is_code_1(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from prorata.receipts import Receipt
    from prorata.stress.markets import FastMarket

    original = FastMarket.settle

    def faulty(self: FastMarket) -> list[Receipt]:
        from dataclasses import replace

        return [replace(one, deficit=one.gross + 1) if one.buckets_closed else one for one in original(self)]

    monkeypatch.setattr(FastMarket, "settle", faulty)  # workers are forked, so they have it too
    done = run("--config", config, "--paths", 40, "--workers", 1, "--scan", 0, "--audit", 0, "--out", tmp_path / "x")
    assert done.exit_code == 1
    assert "S2: " in done.output
