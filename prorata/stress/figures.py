"""Every figure of a sweep in one structure: what `figures.json` says and the page shows."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from prorata.stress import risk
from prorata.stress.config import Sweep
from prorata.stress.hunt import BADNESS, Hunt
from prorata.stress.risk import Bootstrap, Recommendation, Tail
from prorata.stress.store import Identity

#: Targets whose insurance is shown, as haircuts.
TARGETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5)
#: Bad paths that are named, and differences on a node that are shown.
NAMED = 10
_SHOWN = ("path", "step_cap", "insurance", "lag", "severity", "low", "high", "haircut", BADNESS, "closed", "liquidated")


@dataclass(frozen=True)
class CellTails:
    """A cell, and the tails of every measure in it."""

    step_cap: float
    insurance: float
    pooled_haircut: float
    tails: dict[str, Tail]


@dataclass(frozen=True)
class OnAnvil:
    """What a sample of the paths came to on a node (`prorata.stress.node`).

    Attributes:
        paths: their numbers.
        transactions: that the contracts took, and their `gas`; `refused` liquidations apart.
        differences: from the sweep and from the metered EVM, each one line that names path and transaction.
    """

    paths: tuple[int, ...]
    transactions: int
    gas: int
    refused: int
    differences: tuple[str, ...]

    @property
    def summary(self) -> str:
        """One line."""
        verdict = (
            f"{len(self.differences):,} differences"
            if self.differences
            else "every outcome as in the sweep, every transaction's gas as in the metered EVM, to the unit"
        )
        return (
            f"{len(self.paths):,} paths, {self.transactions:,} transactions, {self.gas:,} gas: {verdict}; "
            f"{self.refused:,} refused liquidations, whose gas is not known"
        )


@dataclass(frozen=True)
class Figures:
    """What a sweep came to.

    Attributes:
        largest_difference: of a balance from the exact model's, wei, over all audited paths.
        needed: by step cap, insurance over open interest for each of TARGETS, None where the grid has too little.
        worst: the worst paths of the sweep, by socialized losses.
        hunted: those among the scanned, if any were; `scanned` of them.
        on_anvil: what a sample of the paths came to there, if any were run.
    """

    identity: Identity
    paths: int
    scenarios: int
    settlements: int
    audited: int
    mismatches: int
    violations: int
    stopped: int
    largest_difference: int
    cells: list[CellTails]
    keepers: list[dict[str, float]]
    hazard: list[dict[str, float]]
    recommended: list[Recommendation]
    needed: dict[str, list[float | None]]
    worst: list[dict[str, float]]
    scanned: int
    scan_alike: float
    scan_error: float
    hunted: list[dict[str, float]]
    on_anvil: OnAnvil | None = None

    @property
    def best(self) -> Recommendation | None:
        """The recommended parameters."""
        return risk.best(self.recommended)

    @property
    def headline(self) -> dict[str, Any]:
        """What fits on a page: everything but the tails of every cell and the tables of paths."""
        left_out = ("cells", "worst", "hunted")
        return {name: value for name, value in asdict(self).items() if name not in left_out}

    def write(self, folder: Path) -> list[Path]:
        """As JSON: all of it, and the headline."""
        files = [folder / "figures.json", folder / "headline.json"]
        for file, content in zip(files, (asdict(self), self.headline), strict=True):
            file.write_text(json.dumps(content, indent=1) + "\n")
        return files


def collect(
    found: pd.DataFrame, sweep: Sweep, identity: Identity, hunt: Hunt | None, on_anvil: OnAnvil | None = None
) -> Figures:
    """All figures of a sweep's paths."""
    paths = risk.with_rates(found, sweep)
    bootstrap = Bootstrap(paths["scenario"], identity.seed)
    audited = found[found["audited"]]
    return Figures(
        identity=identity,
        paths=len(found),
        scenarios=int(found["scenario"].nunique()),
        settlements=int(found["moves"].sum()),
        audited=len(audited),
        mismatches=int(audited["violation"].str.startswith("S3").sum()),
        violations=int((found["violation"] != "").sum()),
        stopped=int((found["stopped"] > 0).sum()),
        largest_difference=int(audited["difference"].max()) if len(audited) else 0,
        cells=[
            CellTails(
                float(cap),
                float(size),
                risk.pooled_haircut(cell),
                {measure: risk.tail(cell, measure, bootstrap) for measure in risk.MEASURES},
            )
            for (cap, size), cell in paths.groupby(["step_cap", "insurance"])
        ],
        keepers=_records(risk.with_intervals(risk.keeper_curve(paths), paths, bootstrap)),
        hazard=_records(risk.moral_hazard(paths)),
        recommended=risk.recommended(paths, sweep),
        needed=_needed(paths, sweep),
        worst=_records(paths.sort_values([BADNESS, "path"], ascending=[False, True]).head(NAMED)[list(_SHOWN)]),
        scanned=hunt.scanned if hunt else 0,
        scan_alike=hunt.compared.alike if hunt else 0.0,
        scan_error=max(hunt.compared.largest.values()) if hunt else 0.0,
        hunted=_records(hunt.worst[list(_SHOWN)]) if hunt else [],
        on_anvil=on_anvil,
    )


def _needed(paths: pd.DataFrame, sweep: Sweep) -> dict[str, list[float | None]]:
    found = {}
    for one in risk.recommended(paths, sweep):
        found[f"{one.step_cap:g}"] = [risk.needed(sweep.grid.insurance, one.at, target) for target in TARGETS]
    return found


def _records(table: pd.DataFrame) -> list[dict[str, float]]:
    """Rows as plain numbers and strings."""
    rows: list[dict[str, float]] = json.loads(table.to_json(orient="records", double_precision=12))
    return rows
