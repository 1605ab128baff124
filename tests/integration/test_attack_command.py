"""`ape run attack` as a user runs it."""

import json
import subprocess
from pathlib import Path

import pytest

from prorata.attacks import report, threats
from prorata.attacks.catalogue import ATTACKS
from prorata.attacks.search import Costs, Result, result

ROOT = Path(__file__).parent.parent.parent
KEYS = {"name", "parameters", "profit", "bound", "within_bound", "payer", "source"}


def ape_run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["ape", "run", "attack", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=300)


def test_searches_counts_gas_and_writes_pages(tmp_path: Path) -> None:
    done = ape_run(
        "straddle", "touch-order", "--setting", "open", "--strikes", "8", "--seed", "3", "--out", str(tmp_path)
    )
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "attacks.json").read_text())
    assert [one["name"] for one in found] == ["straddle", "touch-order"]
    for one in found:
        assert set(one) > KEYS and one["within_bound"]
        assert one["gas"] > 100_000 and one["profit"] == one["gain"] - one["fees_of_gas"]
        assert one["fees_of_gas"] == one["gas"] * 3000 * 10**9
        page = (tmp_path / f"{one['name']}.md").read_text()
        assert one["source"] in page and "class " in page
    assert found[0]["payer"] in ("insurance", "longs", "shorts") and found[0]["profit"] > 0
    assert "seed 3" in done.stdout and "0 profits above their bounds" in done.stdout


def test_without_names_it_lists_the_catalogue() -> None:
    done = ape_run()
    assert done.returncode == 0
    assert all(name in done.stdout for name in ATTACKS)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["nonsense"], "no attack is called nonsense; there are: straddle"),
        (["straddle", "--all"], "names and --all exclude each other"),
        (["straddle", "--gas-price", "many"], "'many' is not a number"),
    ],
)
def test_bad_input_is_one_line(arguments: list[str], complaint: str) -> None:
    done = ape_run(*arguments)
    assert done.returncode == 2
    assert complaint in done.stderr and len(done.stderr.strip().splitlines()) == 1


# -------------------------------------------------------------------------------------------------------------- report


@pytest.fixture(scope="module")
def one() -> Result:
    return result(ATTACKS["straddle"](), "open", 4, 1, Costs())


def test_a_page_says_who_paid_and_shows_the_code(one: Result) -> None:
    page = report.page([one], Costs())
    assert page.startswith("# straddle: self-trade gap drain\n")
    assert f"| open | {report.money(one.profit)} |" in page and "def strike" in page


def test_the_table_of_the_threat_model_wants_every_attack(one: Result) -> None:
    with pytest.raises(ValueError, match="no result for two-wallet-cartel"):
        threats.table([one.as_dict() | {"seed": 1}])


def test_the_threat_model_names_every_attack() -> None:
    assert f"{len(ATTACKS)} known attacks" in (ROOT / "README.md").read_text()
    text = threats.DOCUMENT.read_text()
    assert [name for name in ATTACKS if f"`{name}`" not in text] == []
    assert "**Some are above" not in text
