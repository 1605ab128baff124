"""`ape run shock` as a user runs it, and its run alike to the wei and the unit of gas on the three networks."""

import json
import subprocess
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path

import pytest

from prorata import report, scenarios
from prorata.ape_chain import ApeChain
from prorata.simulation import Run, Setup, simulate
from prorata.units import WAD
from scripts import shock

ROOT = Path(__file__).parent.parent.parent
SETTLEMENT_KEYS = {
    "price",
    "gross",
    "deficit",
    "covered",
    "socialized",
    "haircut",
    "accounts_closed",
    "open_interest",
    "gas",
}
FINAL_KEYS = {"token_balance", "sum_equity", "dust", "vault", "max_model_difference"}


def ape_run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["ape", "run", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=300)


def small(name: str) -> Setup:
    return Setup(scenarios.load_named(name), traders=8, leverage=Decimal(15), insurance=500, seed=3)


@pytest.mark.node
def test_three_networks_agree(chains: Sequence[ApeChain]) -> None:
    reports = []
    for chain in chains:
        with chain.anchor():
            run = simulate(chain, small("black-thursday-2020"))
        assert run.holds
        assert any(row.receipt.socialized for row in run.settlements)
        reports.append(report.report_json(run))
    networks = [found.pop("network") for found in reports]
    assert networks == ["ethereum:local:test", "ethereum:local:foundry", "ethereum:local:hardhat"]
    assert reports[0] == reports[1] == reports[2]
    assert all(row["gas"] > 21_000 for row in reports[0]["settlements"])


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    """A whole run in its own process, with everything it wrote."""
    out = tmp_path_factory.mktemp("shock") / "new" / "folder"
    arguments = ("--scenario", "okex-2018", "--traders", "6", "--insurance", "10", "--seed", "7", "--out", str(out))
    return ape_run("shock", *arguments, "--network", "ethereum:local:test"), out


def test_report_is_complete(written: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    done, out = written
    assert done.returncode == 0, done.stderr
    found = json.loads((out / "report.json").read_text())
    assert (found["network"], found["seed"]) == ("ethereum:local:test", 7)
    assert len(found["settlements"]) == len(scenarios.load_named("okex-2018").points) - 1
    for row in found["settlements"]:
        assert row.keys() >= SETTLEMENT_KEYS
        assert int(row["socialized"]) == int(row["deficit"]) - int(row["covered"])
    assert found["final"].keys() >= FINAL_KEYS
    assert all(isinstance(found["final"][key], str) for key in FINAL_KEYS)
    assert found["guarantees"] == {"S1": True, "S2": True, "S3": True}
    assert (out / "waterfall.png").read_bytes().startswith(b"\x89PNG")


def test_balances_add_up(written: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    _, out = written
    found = json.loads((out / "report.json").read_text())
    final = {key: int(value) for key, value in found["final"].items()}
    assert final["token_balance"] == final["sum_equity"] + final["owed"] + final["dust"]
    assert final["sum_equity"] == sum(int(trader["equity"]) for trader in found["traders_final"])
    assert sum(trader["closed"] for trader in found["traders_final"]) == sum(
        row["accounts_closed"] for row in found["settlements"]
    )
    deposited = sum(int(trader["deposited"]) for trader in found["traders_final"]) + 10 * WAD
    # What traders, insurance and dust hold at the end is what was put in at the start.
    assert final["sum_equity"] + final["vault"] + final["dust"] == deposited


def test_statement_is_printed(written: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    done, _ = written
    for words in (
        "gross loss",
        "haircut",
        "open interest",
        "seed 7",
        "token balance",
        "Gained:",
        "Closed:",
        "S1 holds",
    ):
        assert words in done.stdout


BAD_CSV = "timestamp,price\n1,100\n2,abc\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--path", "{csv}"), ("line 3", "abc")),
        (("--scenario", "tulips-1637"), ("tulips-1637", "black-thursday-2020")),
        (("--drop", "1.5"), ("--drop", "1.5")),
        (("--drop", "0.1", "--rise", "0.1"), ("--drop and --rise exclude each other",)),
        (("--traders", "many"), ("--traders", "many")),
        (("--leverage", "90"), ("--leverage", "19.8")),
    ],
    ids=lambda value: value[0].strip("-") if isinstance(value, tuple) and value[0].startswith("--") else "",
)
def test_bad_input_is_one_line(tmp_path: Path, arguments: tuple[str, ...], words: tuple[str, ...]) -> None:
    csv, out = tmp_path / "bad.csv", tmp_path / "out"
    csv.write_text(BAD_CSV)
    done = ape_run("shock", *(argument.format(csv=csv) for argument in arguments), "--out", str(out))
    assert done.returncode == 2
    complaint = done.stderr.strip()
    assert complaint.count("\n") == 0, complaint
    assert all(word in complaint for word in words), complaint
    assert not out.exists()


def test_a_violated_guarantee_is_stated_and_exits_1(monkeypatch: pytest.MonkeyPatch, chain: ApeChain) -> None:
    """With a bound on dust that no run can keep, S1 is reported as violated and the command's exit code says so."""
    monkeypatch.setattr("prorata.twin.MAX_DUST", -1)
    found: list[Run] = []

    def run(setup: Setup, _console: object) -> Run:
        found.append(simulate(chain, setup))
        return found[0]

    monkeypatch.setattr(shock, "_run", run)
    callback: Callable[..., None] = shock.cli.callback  # type: ignore[assignment]
    with pytest.raises(SystemExit) as stop:
        callback(
            scenario="okex-2018",
            path=None,
            drop=None,
            rise=None,
            traders=4,
            leverage=Decimal(5),
            insurance=0,
            seed=1,
            out=None,
        )
    assert stop.value.code == 1
    assert found[0].guarantees == {"S1": False, "S2": True, "S3": True}
    assert found[0].violation.startswith("S1: dust")
