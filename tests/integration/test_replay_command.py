"""`ape run replay` as a user runs it: once in its own process, and every way to end it in this one."""

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from prorata import replay as replays
from prorata.outcomes import Outcome, OutcomeError
from prorata.replay import CASES, Replay
from scripts import replay as command

ROOT = Path(__file__).parent.parent.parent
#: Two events of two accounts each, which take a second together.
FIRST, SECOND = "eth-whale-2025", "percolator-2026"


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """The command takes over how a process ends; the tests' own must not stay so."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(command.cli, arguments)


def events(out: Path) -> list[str]:
    return [event["name"] for event in json.loads((out / "replays.json").read_text())["events"]]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    """A run in its own process, with everything it wrote."""
    out = tmp_path_factory.mktemp("replay") / "new" / "folder"
    arguments = ["ape", "run", "replay", SECOND, FIRST, "--seed", "7", "--out", str(out)]
    return subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, timeout=300), out


def test_writes_and_prints_every_event(written: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    done, out = written
    assert done.returncode == 0, done.stderr
    assert events(out) == [SECOND, FIRST]
    assert done.stdout.startswith("seed 7;")
    for words in (FIRST, SECOND, "published", "prompt", "late", "none, jumps", "none, guarded", "S1 S2 S3 S8"):
        assert words in done.stdout
    assert "drawn / fund" in done.stdout and "ADL shortfall" in done.stdout
    assert max(len(line.rstrip()) for line in done.stdout.splitlines() if not line.startswith("wrote")) <= 150
    # Everything that cannot be compared is said, in whatever lines.
    said = "".join(done.stdout.split())
    for event in json.loads((out / "replays.json").read_text())["events"]:
        assert event["seed"] == 7
        assert [case["case"] for case in event["cases"]] == [case.name for case in CASES]
        assert all(all(case["guarantees"].values()) for case in event["cases"])
        assert all("".join(limit.split()) in said for limit in event["limits"])
    page = (out / "replays.md").read_text()
    assert page.startswith("# Replays of published events") and "seed 7" in page
    assert page.index(f"\n## {FIRST}\n") < page.index(f"\n## {SECOND}\n")


def test_the_same_seed_gives_the_same(written: tuple[subprocess.CompletedProcess[str], Path], tmp_path: Path) -> None:
    assert run(SECOND, FIRST, "--seed", "7", "--out", str(tmp_path)).exit_code == 0
    for name in ("replays.json", "replays.md"):
        assert (tmp_path / name).read_bytes() == (written[1] / name).read_bytes()


def test_options_reach_the_run(tmp_path: Path) -> None:
    arguments = (FIRST, FIRST, "--traders", "4", "--leverage", "3", "--insurance", "0.2", "--out", str(tmp_path))
    assert run(*arguments).exit_code == 0
    (event,) = json.loads((tmp_path / "replays.json").read_text())["events"]
    assert (event["traders"], event["leverage"]) == (4, ["3", "3"])
    assert event["insurance"] == str(2 * 10**17)
    assert {case["ratios"]["insurance"][:2] for case in event["cases"]} <= {"19", "20"}


def test_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def instead(outcomes: list[Outcome], *_: object) -> list[Replay]:
        asked.extend(outcome.name for outcome in outcomes)
        return []

    monkeypatch.setattr(command, "_replay_all", instead)
    run("--all")
    assert sorted(asked) == sorted(command.load_outcomes())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), ("name an event, or --all", "black-thursday-2020", "yfi-2023")),
        (("tulips-1637",), ("'tulips-1637'", "known: black-thursday-2020, ", "yfi-2023")),
        ((FIRST, "two\nlines"), (r"two\nlines", "known: ")),
        ((FIRST, "--all"), ("--all", FIRST, "exclude")),
        ((FIRST, "--traders", "1"), ("--traders", "1 is not in the range")),
        ((FIRST, "--traders", "many"), ("--traders", "many")),
        ((FIRST, "--leverage", "20"), ("--leverage", "19.8")),
        ((FIRST, "--insurance", "-1"), ("--insurance", "-1")),
        ((FIRST, "--insurance", "nan"), ("--insurance", "nan")),
        ((FIRST, "--seed", "x"), ("--seed", "x")),
        ((FIRST, "--out", "{file}"), ("--out", "is a file")),
        ((FIRST, "--out", "{file}/below"), ("--out", "Not a directory")),
        ((FIRST, "--sideways"), ("--sideways",)),
    ],
)
def test_bad_input_is_one_line(tmp_path: Path, arguments: tuple[str, ...], words: tuple[str, ...]) -> None:
    file = tmp_path / "file"
    file.write_text("")
    done = run(*(argument.format(file=file) for argument in arguments))
    assert done.exit_code == 2
    complaint = done.output.strip()
    assert complaint.count("\n") == 0, complaint
    assert all(word in complaint for word in words), complaint
    assert list(tmp_path.iterdir()) == [file]


def test_a_spoilt_file_of_outcomes_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def spoilt() -> None:
        raise OutcomeError("okex-2018: limits missing")

    monkeypatch.setattr(command, "load_outcomes", spoilt)
    done = run("--all")
    assert (done.exit_code, done.output) == (2, "Error: okex-2018: limits missing\n")


def test_a_violated_guarantee_is_stated_and_exits_1(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With a bound on dust that no run can keep, S1 is reported as violated and the command's exit code says so."""
    monkeypatch.setattr("prorata.twin.MAX_DUST", -1)
    done = run(FIRST, "--out", str(tmp_path))
    assert done.exit_code == 1
    assert "S1 VIOLATED" in done.output and "S1: dust" in done.output
    (event,) = json.loads((tmp_path / "replays.json").read_text())["events"]
    assert not any(case["guarantees"]["S1"] for case in event["cases"])


def test_an_interruption_loses_nothing_that_is_finished(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def interrupted(outcome: Outcome, *rest: object) -> Replay:
        if outcome.name == SECOND:
            signal.raise_signal(signal.SIGTERM)
        return replays.replay(outcome, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(command, "replay", interrupted)
    done = run(FIRST, SECOND, "--out", str(tmp_path))
    assert done.exit_code == command.INTERRUPTED
    assert "interrupted: 1 of 2 events replayed" in done.output
    assert events(tmp_path) == [FIRST]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["replays.json", "replays.md"]
