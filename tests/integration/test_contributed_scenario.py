"""The price path of CONTRIBUTING.md, run by the command that the page names for it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from click.testing import CliRunner

from prorata.ape_chain import ApeChain
from scripts.shock import cli
from tests.integration.conftest import EMBEDDED
from tests.unit.test_contributing import EXAMPLES


def test_shock_settles_it(connect: Callable[[str], ApeChain], tmp_path: Path) -> None:
    path = tmp_path / "slow-leak.csv"
    path.write_text(EXAMPLES["scenarios/slow-leak.csv"])
    options = ("--path", str(path), "--traders", "4", "--out", str(tmp_path), "--network", EMBEDDED)
    with connect(EMBEDDED).anchor():
        done = CliRunner().invoke(cli, options)
    assert done.exit_code == 0, done.output
    settled = json.loads((tmp_path / "report.json").read_text())["settlements"]
    assert [row["price"] for row in settled] == [str(850 * 10**18), str(700 * 10**18)]
