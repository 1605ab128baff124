"""`make fuzz`: random markets by the thousand, in as many processes as there are cores, until enough has been done.

Every run is decided by the campaign's seed and its own number. Finished runs are kept in `.build/fuzz/`, under a name
made of everything that could change them: an interrupted campaign goes on where it was, one of other code begins anew.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import time
from collections import Counter
from hashlib import sha256
from itertools import count, islice
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from prorata.twin import Violation
from tests.bytecode import compiled
from tests.fuzz.explain import explain
from tests.fuzz.run import Figures, Run

ROOT = Path(__file__).parent.parent.parent
SNAPSHOT = ROOT / "snapshots" / "fuzz.json"
CONTRACTS = ("PerpetualMarket", "TradingLogic", "InsuranceVault")
OPERATIONS = 2000  # a run
#: A worker starts afresh after so many runs, so that memory stays flat.
_RUNS_A_WORKER = 50


def bytecode() -> dict[str, str]:
    """Digests of the contracts' runtime code, which comments do not change."""
    return {name: sha256(compiled(name).bytecode_runtime).hexdigest()[:16] for name in CONTRACTS}


def one_run(task: tuple[int, int]) -> tuple[int, dict[str, Any], str]:
    """A run, by seed and number: its figures, and what was violated, if anything was."""
    seed, number = task
    run = Run(seed, number, OPERATIONS)
    try:
        return number, dict(vars(run.live())), ""
    except Violation as violation:
        return number, dict(vars(run.figures)), f"step {len(run.history)}: {violation}"


class Ledger:
    """Finished runs, one a line.

    Args:
        seed: of the campaign.
    """

    def __init__(self, seed: int) -> None:
        code = sha256(json.dumps(bytecode()).encode())
        for name, module in sorted(sys.modules.items()):
            if name.startswith(("prorata.", "tests.fuzz.")) and module.__file__:
                code.update(Path(module.__file__).read_bytes())
        self._path = ROOT / ".build" / "fuzz" / f"{seed}-{code.hexdigest()[:16]}.jsonl"
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self.seed = seed
        self.total, self.seconds = Figures(), 0.0
        self.done: set[int] = set()
        self.violations: list[str] = []
        for line in self._path.read_text().splitlines() if self._path.exists() else []:
            self._take(json.loads(line))

    def add(self, number: int, figures: dict[str, Any], violation: str, seconds: float) -> None:
        """Keep a finished run. `seconds` have passed since the last one."""
        entry = {"run": number, "figures": figures, "violation": violation, "seconds": seconds}
        with self._path.open("a") as file:
            file.write(json.dumps(entry) + "\n")
        self._take(entry)

    def _take(self, entry: dict[str, Any]) -> None:
        figures = Figures(**entry["figures"])
        figures.kinds, figures.trials = Counter(figures.kinds), Counter(figures.trials)
        self.total.add(figures)
        self.done.add(entry["run"])
        self.seconds += entry["seconds"]
        if entry["violation"]:
            self.violations.append(f"run {entry['run']}, {entry['violation']}")

    def snapshot(self) -> dict[str, Any]:
        """What `snapshots/fuzz.json` says."""
        figures = dict(vars(self.total))
        accepted = {name: n for name, n in sorted(self.total.kinds.items()) if " refused: " not in name}
        reasons = {name.split(": ", 1)[1] for name in self.total.kinds if " refused: " in name}
        return {
            "operations": figures.pop("operations"),
            "violations": len(self.violations),
            "seed": self.seed,
            "runs": len(self.done),
            "minutes": round(self.seconds / 60, 1),
            "largest_difference": figures.pop("largest_difference"),
            "largest_dust": figures.pop("largest_dust"),
            **figures,
            "trials": dict(sorted(self.total.trials.items())),
            "kinds": accepted,
            "reasons_of_refusal": len(reasons),
            "bytecode": bytecode(),
        }


def campaign(ledger: Ledger, steps: int, workers: int, console: Console) -> None:
    """Runs until `steps` operations are done; may be interrupted at any time."""
    columns = (
        TextColumn("operations"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[rate]}"),
    )
    with (
        multiprocessing.Pool(workers, signal.signal, (signal.SIGINT, signal.SIG_IGN), _RUNS_A_WORKER) as pool,
        Progress(*columns, console=console, disable=not console.is_terminal) as progress,
    ):
        bar = progress.add_task("", total=steps, completed=ledger.total.operations, rate="")
        begun = last = shown = time.monotonic()
        before = ledger.total.operations
        while ledger.total.operations < steps:
            missing = -(-(steps - ledger.total.operations) // OPERATIONS)
            numbers = islice((number for number in count() if number not in ledger.done), missing)
            tasks = [(ledger.seed, number) for number in numbers]
            for number, figures, violation in pool.imap_unordered(one_run, tasks):
                now = time.monotonic()
                ledger.add(number, figures, violation, now - last)
                last = now
                speed = f"{(ledger.total.operations - before) / (now - begun):,.0f}/s"
                progress.update(bar, completed=ledger.total.operations, rate=speed)
                if violation:
                    console.print(f"run {number}, {violation}", style="red")
                if not console.is_terminal and now - shown > 60:
                    console.print(f"{ledger.total.operations:,} operations, {speed}")
                    shown = now


@click.command()
@click.option("--steps", type=click.IntRange(1), default=1_000_000, show_default=True, help="Operations in all.")
@click.option("--seed", type=int, default=1, show_default=True, help="Of the campaign.")
@click.option("--workers", type=click.IntRange(1), default=os.cpu_count(), show_default=True, help="Processes.")
@click.option("--run", "number", type=click.IntRange(0), help="Explain what goes wrong in one run instead.")
def main(steps: int, seed: int, workers: int, number: int | None) -> None:
    """Random markets until STEPS operations are done; resumes what was interrupted."""
    console = Console(highlight=False)
    if number is not None:
        raise SystemExit(explain(seed, number, OPERATIONS, console))
    ledger = Ledger(seed)  # compiles the contracts, once for all workers
    console.print(f"seed {seed}, {workers} processes, {len(ledger.done)} runs done already")
    try:
        campaign(ledger, steps, workers, console)
    except KeyboardInterrupt:
        console.print("interrupted; the same command goes on from here")
    found = ledger.snapshot()
    SNAPSHOT.write_text(json.dumps(found, indent=2) + "\n")
    console.print({name: value for name, value in found.items() if name not in ("kinds", "bytecode")})
    if ledger.violations:
        console.print(f"{ledger.violations[0]}\nexplain it: python -m tests.fuzz --seed {seed} --run N")
        raise SystemExit(1)


if __name__ == "__main__":
    main()
