"""`ape run compare`: its tables and files, one line for bad input, and what is left of it when it is broken off."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from prorata.rules import RULES, shocks
from scripts import compare

SMALL = ("--traders", "6", "--orders", "2", "--insurance", "100", "--markets", "2")


def run(*arguments: str) -> Result:
    return CliRunner(mix_stderr=False).invoke(compare.cli, arguments)


def test_one_shock_is_shown_and_written(tmp_path: Path) -> None:
    out = tmp_path / "new" / "folder"
    done = run("--shock", "gap", "--seed", "7", *SMALL, "--out", str(out))
    assert done.exit_code == 0, done.output
    assert done.output.startswith("seed 7, 6 traders, leverage up to 15, insurance 100, 2 orders")
    for words in (
        "gap: one fall of 20 %; who paid",
        "straddle",
        "calls",
        "compare.md",
        *(rule.title for rule in RULES),
    ):
        assert words in done.output
    found = json.loads((out / "compare.json").read_text())
    assert (found["seed"], found["traders"], list(found["shocks"])) == (7, 6, ["gap"])
    assert (out / "who-paid.png").read_bytes().startswith(b"\x89PNG")
    page = (out / "compare.md").read_text()
    assert (
        "`ape run compare --shock gap --traders 6 --insurance 100 --leverage 15 --seed 7 --orders 2 --markets 2`"
        in page
    )
    assert all(f"| {rule.title} |" in page for rule in RULES)


def test_all_shocks_and_one_of_them_again(tmp_path: Path) -> None:
    assert run(*SMALL, "--out", str(tmp_path / "all")).exit_code == 0
    assert run(*SMALL, "--shock", "late", "--out", str(tmp_path / "late")).exit_code == 0
    every, late = (json.loads((tmp_path / folder / "compare.json").read_text()) for folder in ("all", "late"))
    assert tuple(every["shocks"]) == shocks.NAMES
    assert every["shocks"]["late"] == late["shocks"]["late"]


def test_nothing_is_written_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = run("--shock", "steps", *SMALL)
    assert done.exit_code == 0, done.output
    assert "wrote" not in done.output
    assert list(tmp_path.iterdir()) == []


def test_what_is_done_stays_when_it_is_broken_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = compare.compare

    def interrupted(shock: shocks.Shock, *rest: Any) -> Any:
        if shock.name == shocks.NAMES[1]:
            raise KeyboardInterrupt
        return real(shock, *rest)

    monkeypatch.setattr(compare, "compare", interrupted)
    done = run(*SMALL, "--out", str(tmp_path))
    assert done.exit_code == 1
    assert done.stderr.strip() == "Aborted!"
    assert list(json.loads((tmp_path / "compare.json").read_text())["shocks"]) == [shocks.NAMES[0]]
    assert (tmp_path / "who-paid.png").exists()


def test_a_file_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "compare.json").mkdir()
    done = run("--shock", "gap", *SMALL, "--out", str(tmp_path))
    assert done.exit_code == 2
    assert done.stderr.startswith(f"Error: --out {tmp_path}: ")
    assert done.stderr.strip().count("\n") == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--shock", "tulips"), ("--shock", "tulips", "'gap'", "'all'")),
        (("--traders", "many"), ("--traders", "many")),
        (("--traders", "1"), ("--traders", "1 is not in the range")),
        (("--insurance", "-1"), ("--insurance", "-1")),
        (("--leverage", "20.1"), ("--leverage", "20.1 is not between 1 and 20")),
        (("--leverage", "high"), ("--leverage", "not a number")),
        (("--seed", "-3"), ("--seed", "-3")),
        (("--orders", "0"), ("--orders", "0 is not in the range")),
        (("--orders", "1001"), ("--orders", "1001")),
        (("--markets", "-1"), ("--markets", "-1")),
        (("--out", "{file}"), ("--out", "taken")),
        (("--out", "{file}/under"), ("--out", "taken")),
        (("extra",), ("extra",)),
    ],
    ids=lambda value: "-".join(value).strip("-") if isinstance(value, tuple) and value[0].startswith("--") else "",
)
def test_bad_input_is_one_line(tmp_path: Path, arguments: Sequence[str], words: Sequence[str]) -> None:
    taken = tmp_path / "taken"
    taken.write_text("")
    done = run(*(argument.format(file=taken) for argument in arguments))
    assert done.exit_code == 2
    assert done.stderr.strip().count("\n") == 0, done.stderr
    assert all(word in done.stderr for word in words), done.stderr
    assert done.stdout == ""
