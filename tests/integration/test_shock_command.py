"""`ape run shock` as a user runs it, and its run alike to the wei and the unit of gas on the three networks."""

import json
import subprocess
from collections import Counter
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from prorata import report, scenarios
from prorata.ape_chain import ApeChain
from prorata.parameters import MarketParameters
from prorata.simulation import Run, Setup, simulate
from prorata.units import WAD
from scripts import shock

ROOT = Path(__file__).parent.parent.parent
SETTLEMENT_KEYS = {
    "point",
    "time",
    "loser",
    "funding",
    "price",
    "index_price",
    "surplus",
    "bonus",
    "adl_shortfall",
    "stopped",
    "limited",
    "mode",
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
    assert_alike(reports)
    assert all(row["gas"] > 21_000 for row in reports[0]["settlements"])


def assert_alike(reports: list[dict[str, Any]]) -> None:
    networks = [found.pop("network") for found in reports]
    assert networks == ["ethereum:local:test", "ethereum:local:foundry", "ethereum:local:hardhat"]
    assert reports[0] == reports[1] == reports[2]


@pytest.mark.node
def test_three_networks_agree_with_every_defence_on(chains: Sequence[ApeChain]) -> None:
    """Steps, interval, funding, cap, dynamic margin, cool-off, a keeper at work, a dead oracle and the wind-down."""
    points = scenarios.load_named("luna-2022").points[:3]
    path = scenarios.PricePath("luna-begins", points)
    setup = Setup(path, 6, Decimal(15), 2000, 3, MarketParameters.guarded(step_interval=60), "prompt", 2)
    reports = []
    for chain in chains:
        with chain.anchor():
            run = simulate(chain, setup)
        assert run.holds and run.guarantees["S8"], run.violation
        reports.append(report.report_json(run))
    assert_alike(reports)
    found = reports[0]
    assert found["liquidations"] and all(one["gas"] > 21_000 for one in found["liquidations"])
    assert Counter(row["mode"] for row in found["settlements"]).keys() >= {"catch-up", "closed"}
    assert int(found["totals"]["funding_paid"]) > 0
    assert int(found["wind_down"]["withdrawn"]) > 0 == int(found["final"]["sum_equity"])


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


def test_every_defence_by_its_option(tmp_path: Path) -> None:
    arguments = "--drop 0.06 --traders 6 --leverage 15 --insurance 2000 --seed 3 --step 0.01 --interval 60"
    arguments += " --keepers prompt --funding --cooloff 600 --oi-multiple 20 --margin-slope 0.001 --oracle-dies-at 1"
    done = ape_run("shock", *arguments.split(), "--out", str(tmp_path), "--network", "ethereum:local:test")
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "report.json").read_text())
    changed = {
        "max_price_step": WAD // 100,
        "step_interval": 60,
        "max_funding": WAD // 400,
        "cooloff": 600,
        "oi_multiple": 20 * WAD,
        "margin_slope": WAD // 1000,
    }
    expected = MarketParameters(**changed)
    assert {name: int(found["parameters"][name]) for name in changed} == changed
    assert found["parameters"].keys() == expected.__dataclass_fields__.keys()
    assert (found["keepers"], found["oracle_dies_at"], found["mode"]) == ("prompt", 1, "closed")
    assert found["guarantees"] == {"S1": True, "S2": True, "S3": True, "S8": True}
    table = done.stdout[done.stdout.index("drop-0.06 on") :].split("Solvency")[0]
    assert max(len(line.rstrip()) for line in table.splitlines()) <= 140
    for words in ("S8 holds", "Keeper: #7", "Funding paid", "Wound down", "keepers prompt", "max_price_step 0.01"):
        assert words in done.stdout
    assert (tmp_path / "waterfall.png").read_bytes().startswith(b"\x89PNG")


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
        (("--step", "0"), ("--step", "0 is not between", "0.5")),
        (("--step", "0.51"), ("--step", "0.51 is not between", "0.5")),
        (("--step", "0.0123456789012345678"), ("--step", "18 digits")),
        (("--interval", "86401"), ("--interval", "86401", "86400")),
        (("--keepers", "soon"), ("--keepers", "soon", "'none', 'late', 'prompt'")),
        (("--keepers", "late", "--traders", "63"), ("--keepers late", "62 traders")),
        (("--cooloff", "4294967297"), ("--cooloff", "4294967296")),
        (("--oi-multiple", "20", "--insurance", "0"), ("--oi-multiple", "--insurance")),
        (("--oi-multiple", "lots"), ("--oi-multiple", "lots", "not a number")),
        (("--margin-slope", "1.01"), ("--margin-slope", "1.01 is not between 0 and 1")),
        (("--oracle-dies-at", "22"), ("--oracle-dies-at 22", "21 prices")),
        (("--oracle-dies-at", "0"), ("--oracle-dies-at", "0 is not in the range")),
    ],
    ids=lambda value: "-".join(value).strip("-") if isinstance(value, tuple) and value[0].startswith("--") else "",
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
            step=None,
            interval=None,
            keepers="none",
            funding=False,
            cooloff=None,
            oi_multiple=None,
            margin_slope=None,
            oracle_dies_at=None,
            out=None,
        )
    assert stop.value.code == 1
    assert found[0].guarantees == {"S1": False, "S2": True, "S3": True}
    assert found[0].violation.startswith("S1: dust")
