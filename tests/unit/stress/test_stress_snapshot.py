"""What the README says of the recorded sweep is what its snapshot says."""

from __future__ import annotations

import json
from pathlib import Path

from prorata.stress.config import Sweep

ROOT = Path(__file__).parents[3]
RECORDED = json.loads((ROOT / "snapshots" / "sweep.json").read_text())


def test_the_readme_s_figures_are_recorded() -> None:
    text = " ".join((ROOT / "README.md").read_text().split())
    paths, settlements, audited = (f"{RECORDED[name]:,}" for name in ("paths", "settlements", "audited"))
    assert f"{paths} paths, {settlements} settlements, no guarantee violated; {audited} paths audited" in text
    assert RECORDED["violations"] == RECORDED["mismatches"] == 0
    by_cap = {one["step_cap"]: one for one in RECORDED["recommended"]}
    sizes = Sweep().grid.insurance
    assert f"the worst hundredth of paths loses {by_cap[0.03]['at'][0] * 100:.0f} % of its winners' gains" in text
    for cap, enough in ((0.01, 0.0), (0.03, 0.05), (0.1, 0.2), (0.5, 1.0)):
        assert by_cap[cap]["at"][sizes.index(enough)] < 0.001, cap


def test_it_was_recorded_with_the_defaults_of_today() -> None:
    assert RECORDED["identity"]["config"] == Sweep().digest
