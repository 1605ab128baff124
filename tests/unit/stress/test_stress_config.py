"""A sweep's configuration says what it means, or what is wrong with it in one line."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from prorata.stress.config import ConfigError, Sweep

DOCUMENTED = Path(__file__).parents[3] / "docs" / "stress.yaml"


def test_the_documented_file_has_every_field_at_its_default() -> None:
    assert Sweep.load(DOCUMENTED) == Sweep()
    written = DOCUMENTED.read_text()
    for section in asdict(Sweep()).values():
        assert all(f"  {name}: " in written for name in section)


def test_what_is_left_out_stays_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("crowd: {traders: 7}\n")
    sweep = Sweep.load(file)
    assert sweep.crowd.traders == 7
    assert (sweep.prices, sweep.grid) == (Sweep().prices, Sweep().grid)
    file.write_text("")
    assert Sweep.load(file) == Sweep()


def test_cells_of_one_deployment_stand_together() -> None:
    sweep = Sweep.of({"grid": {"insurance": [0, 0.1], "step_caps": [0.01, 0.5]}})
    assert sweep.cells == [(0.01, 0.0), (0.01, 0.1), (0.5, 0.0), (0.5, 0.1)]


def test_the_digest_names_whatever_decides_a_path() -> None:
    assert Sweep.of({"prices": {"student_df": 4}}).digest != Sweep().digest
    assert Sweep.of({"targets": {"haircut": 0.02}}).digest == Sweep().digest


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"prices": {"steps": 0}}, "prices.steps: 0 is not between 1 and 2000"),
        ({"prices": {"steps": 2.5}}, "prices.steps: 2.5 is not a whole number"),
        ({"prices": {"steps": True}}, "prices.steps: True is not a number"),
        ({"prices": {"severity": float("nan")}}, "prices.severity: nan is not a number"),
        ({"prices": {"severity": "a lot"}}, "prices.severity: 'a lot' is not a number"),
        ({"prices": {"speed": 3}}, "prices: unknown 'speed'; known: start, steps"),
        ({"weather": {}}, "the file: unknown 'weather'; known: prices, crowd"),
        ([1, 2], "the file: a table of prices, crowd, keepers, liquidity, grid, targets is wanted, not [1, 2]"),
        ({"grid": 7}, "grid: a table of insurance, step_caps, step_interval is wanted, not 7"),
        ({"grid": {"insurance": 7}}, "grid.insurance: a list of numbers is wanted, not 7"),
        ({"grid": {"insurance": []}}, "grid.insurance: a list of numbers is wanted, not []"),
        ({"grid": {"insurance": [0.1, 0]}}, "grid.insurance: not in rising order"),
        ({"grid": {"step_caps": [0.6]}}, "grid.step_caps: 0.6 is not between 0.0001 and 0.5"),
        ({"keepers": {"lags": [0]}}, "keepers: lags and weights are not equally many"),
        ({"keepers": {"lags": [0, 0], "weights": [1, 1]}}, "keepers.lags: a lag is there twice"),
        ({"keepers": {"weights": [0, 0, 0, 0]}}, "keepers: all weights are 0"),
        ({"crowd": {"lowest_leverage": 9, "highest_leverage": 5}}, "crowd: lowest_leverage is above highest_leverage"),
    ],
)
def test_complaints(given: Any, complaint: str) -> None:
    with pytest.raises(ConfigError) as error:
        Sweep.of(given)
    assert str(error.value).startswith(complaint)


@pytest.mark.parametrize(
    ("content", "complaint"), [(b"a: [", "not YAML"), (b"\xff\xfe\x00", "not YAML"), (None, "cannot be read")]
)
def test_files_that_cannot_be_used(tmp_path: Path, content: bytes | None, complaint: str) -> None:
    file = tmp_path / "bad.yaml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match=complaint) as error:
        Sweep.load(file)
    assert "\n" not in str(error.value)
