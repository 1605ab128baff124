"""Which branches of the contracts' source the tests take, both ways: `make coverage`.

`tests/coverage/plugin.py` leaves in `.build/coverage` what each test file takes; this adds it up, holds it against the
branches that stand in the source and against the reviewed list of those that cannot be taken (`unreachable.toml` beside
it), and writes `snapshots/coverage.json`. It fails below 99 % of what can be taken, and if the list is wrong.
"""

from __future__ import annotations

import json
import sys
import tomllib
from collections import Counter
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from prorata.branches import OUTCOMES, Branch, branches_in
from prorata.embedded import CONTRACTS
from prorata.sources import digest_of_contracts

ROOT = Path(__file__).parent.parent
SNAPSHOT = ROOT / "snapshots" / "coverage.json"
UNREACHABLE = ROOT / "tests" / "coverage" / "unreachable.toml"
#: What the test files took.
FOLDER = ROOT / ".build" / "coverage"
#: What is measured, below `contracts`.
DEPLOYABLES = sorted(path.name for path in CONTRACTS.glob("*.vy"))
FILES = [*DEPLOYABLES, *sorted(f"modules/{path.name}" for path in (CONTRACTS / "modules").glob("*.vy"))]
#: Of the outcomes that can be taken, the part that has to be.
WANTED = 0.99

#: A branch, and whether its condition holds.
Outcome = tuple[Branch, bool]


@dataclass
class Taken:
    """What some tests took.

    Attributes:
        outcomes: of branches.
        lines: file and line that ran, of lines with instructions.
        all_lines: of the compiled contracts.
        checks: by contract, place and outcome, what the compiler's own checks did.
        all_checks: by contract, their number.
    """

    outcomes: set[Outcome] = field(default_factory=set)
    lines: set[tuple[str, int]] = field(default_factory=set)
    all_lines: set[tuple[str, int]] = field(default_factory=set)
    checks: set[tuple[str, int, bool]] = field(default_factory=set)
    all_checks: dict[str, int] = field(default_factory=dict)

    def add(self, other: Taken) -> None:
        self.outcomes |= other.outcomes
        self.lines |= other.lines
        self.all_lines |= other.all_lines
        self.checks |= other.checks
        self.all_checks |= other.all_checks

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        values = {
            "outcomes": sorted([*astuple(branch), held] for branch, held in self.outcomes),
            "lines": sorted(self.lines),
            "all_lines": sorted(self.all_lines),
            "checks": sorted(self.checks),
            "all_checks": self.all_checks,
        }
        path.write_text(json.dumps(values))

    @classmethod
    def load(cls, path: Path) -> Taken:
        values = json.loads(path.read_text())
        return cls(
            outcomes={(Branch(*branch), held) for *branch, held in values["outcomes"]},
            lines={(file, line) for file, line in values["lines"]},
            all_lines={(file, line) for file, line in values["all_lines"]},
            checks={(name, place, jumped) for name, place, jumped in values["checks"]},
            all_checks=values["all_checks"],
        )


def result_of(test: Path) -> Path:
    """Where is kept what a test file took."""
    return FOLDER / (".".join(test.relative_to(ROOT).with_suffix("").parts) + ".json")


def measured() -> Taken:
    """What all test files took that are still there."""
    total = Taken()
    for test in sorted((ROOT / "tests").rglob("test_*.py")):
        if result_of(test).exists():
            total.add(Taken.load(result_of(test)))
    return total


def outcomes_in(file: str) -> list[Outcome]:
    """Both outcomes of every branch in a file below `contracts`."""
    return [(branch, held) for branch in branches_in(CONTRACTS / file) for held in (True, False)]


def named(outcome: Outcome) -> str:
    """An outcome in words."""
    branch, held = outcome
    operand = f" {branch.operand + 1}" if branch.kind in ("and", "or") else ""
    return f"{branch.kind}{operand} {OUTCOMES[branch.kind][0 if held else 1]}"


def line_of(branch: Branch) -> str:
    """The text of a branch's line."""
    return (CONTRACTS / branch.file).read_text().splitlines()[branch.line - 1].strip()


def function_of(branch: Branch) -> str:
    """The name of the function that a branch stands in."""
    lines = (CONTRACTS / branch.file).read_text().splitlines()[: branch.line]
    return next(line for line in reversed(lines) if line.startswith("def "))[len("def ") :].partition("(")[0]


def described(outcome: Outcome) -> dict[str, str]:
    """An outcome by what a change elsewhere in its file leaves alone: as an entry of the list names it."""
    branch, _ = outcome
    return {
        "file": branch.file,
        "function": function_of(branch),
        "line": line_of(branch),
        "outcome": named(outcome),
    }


class BadList(Exception):
    """The list of outcomes that cannot be taken is wrong."""


def excluded(taken: set[Outcome]) -> dict[Outcome, str]:
    """The outcomes that cannot be taken, with the argument of each.

    Raises:
        BadList: an entry names no outcome of the source, or several, or one that was taken.
    """
    found = dict[Outcome, str]()
    outcomes = [outcome for file in FILES for outcome in outcomes_in(file)]
    for entry in tomllib.loads(UNREACHABLE.read_text())["outcome"]:
        why = " ".join(entry.pop("why").split())
        matches = [outcome for outcome in outcomes if described(outcome) == entry]
        if len(matches) != 1:
            raise BadList(f"{len(matches)} outcomes are {entry}")
        if matches[0] in taken:
            raise BadList(f"this was taken: {entry}")
        found[matches[0]] = why
    return found


def snapshot(taken: Taken) -> dict[str, Any]:
    """What `snapshots/coverage.json` holds."""
    cannot = excluded(taken.outcomes)
    files = {}
    for file in FILES:
        outcomes = outcomes_in(file)
        files[file] = {
            "branches": len(outcomes) // 2,
            "outcomes": len(outcomes),
            "taken": sum(outcome in taken.outcomes for outcome in outcomes),
            "excluded": sum(outcome in cannot for outcome in outcomes),
            "lines": sum(place[0] == file for place in taken.all_lines),
            "lines_run": sum(place[0] == file for place in taken.lines),
            "missed": [described(one) for one in outcomes if one not in taken.outcomes and one not in cannot],
        }
    return {
        "sources": digest_of_contracts(),
        "files": files,
        "excluded": [{**described(outcome), "why": why} for outcome, why in cannot.items()],
        "compiler_checks": {name: _checks(taken, name) for name in sorted(taken.all_checks)},
    }


def _checks(taken: Taken, name: str) -> dict[str, int]:
    """Of the jumps that the compiler added to a contract, how many went how many ways."""
    ways = Counter(place for contract, place, _ in taken.checks if contract == name)
    return {"jumps": taken.all_checks[name], **{f"{n}_ways": list(ways.values()).count(n) for n in (1, 2)}}


def part(files: list[dict[str, Any]]) -> float:
    """Of the outcomes that can be taken, the part that is."""
    reachable = sum(file["outcomes"] - file["excluded"] for file in files)
    return sum(file["taken"] for file in files) / reachable if reachable else 1.0


def table(found: dict[str, Any]) -> Table:
    """A snapshot, by files."""
    shown = Table(box=None, pad_edge=False)
    shown.add_column("contracts/", no_wrap=True)
    for heading in ("branches", "outcomes", "taken", "excluded", "of reachable", "lines", "run"):
        shown.add_column(heading, justify="right")
    columns = ("branches", "outcomes", "taken", "excluded", "lines", "lines_run")
    total = {column: sum(file[column] for file in found["files"].values()) for column in columns}
    for name, file in [*found["files"].items(), ("all", total)]:
        counts = [str(file[column]) for column in columns]
        shown.add_row(name, *counts[:4], f"{part([file]):.1%}", *counts[4:])
    return shown


def main() -> int:
    """Show what was measured, make it the snapshot, and say whether it is enough."""
    found = snapshot(measured())
    SNAPSHOT.write_text(json.dumps(found, indent=2) + "\n")
    console = Console(width=140, highlight=False)
    console.print(table(found))
    for file in found["files"].values():
        for missed in file["missed"]:
            console.print("missed:", "{file}: {function}: {line}: {outcome}".format(**missed), markup=False)
    for name, checks in found["compiler_checks"].items():
        seen = f"{checks['2_ways']} went both ways, {checks['1_ways']} one way"
        console.print(f"{name}: of {checks['jumps']} jumps by the compiler {seen}", markup=False)
    return 0 if part(list(found["files"].values())) >= WANTED else 1


if __name__ == "__main__":
    sys.exit(main())
