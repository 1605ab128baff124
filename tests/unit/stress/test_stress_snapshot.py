"""What docs/stress.md says of the recorded sweep is what its snapshot says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from prorata.stress.config import Sweep

ROOT = Path(__file__).parents[3]
RECORDED = json.loads((ROOT / "snapshots" / "sweep.json").read_text())


def test_the_page_s_figures_are_recorded() -> None:
    text = " ".join((ROOT / "docs" / "stress.md").read_text().split())
    paths, settlements, audited = (f"{RECORDED[name]:,}" for name in ("paths", "settlements", "audited"))
    assert f"{paths} paths, {settlements} settlements, no guarantee violated; {audited} paths audited" in text
    assert RECORDED["violations"] == RECORDED["mismatches"] == 0
    again = RECORDED["on_anvil"]
    sample = f"{len(again['paths'])} paths again on Anvil, {again['transactions']:,} transactions, {again['gas']:,} gas"
    assert f"{sample}, no difference" in text and again["differences"] == []
    by_cap = {one["step_cap"]: one for one in RECORDED["recommended"]}
    sizes = Sweep().grid.insurance
    assert f"the worst hundredth of paths loses {by_cap[0.03]['at'][0] * 100:.0f} % of its winners' gains" in text
    assert f"and miss {by_cap[0.01]['cost'] * 100:.1f} % of open interest" in text
    spared = {}
    for cap in (0.03, 0.1, 0.5):
        rates = {one["lag"]: one["deficit_rate"] for one in RECORDED["keepers"] if one["step_cap"] == cap}
        spared[cap] = 1 - rates[0] / rates[-1]
    assert "With steps of 3 % a prompt keeper spares two thirds of the deficits, with larger ones hardly any" in text
    assert spared[0.03] == pytest.approx(2 / 3, abs=0.05) and max(spared[0.1], spared[0.5]) < 0.1, spared
    for cap, enough in ((0.01, 0.0), (0.03, 0.05), (0.1, 0.2), (0.5, 1.0)):
        assert by_cap[cap]["at"][sizes.index(enough)] < 0.001, cap


def test_it_was_recorded_with_the_defaults_of_today() -> None:
    assert RECORDED["identity"]["config"] == Sweep().digest
