"""A sweep's figures on the console."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from prorata.stress import risk
from prorata.stress.config import ABSENT, Sweep
from prorata.stress.figures import NAMED, OnAnvil
from prorata.stress.hunt import Hunt


def lag_name(lag: int) -> str:
    """Of a keeper."""
    return "absent" if lag == ABSENT else "prompt" if lag == 0 else f"{lag} price{'s' if lag > 1 else ''} late"


def show(found: pd.DataFrame, sweep: Sweep, console: Console) -> bool:
    """Print what matters most; says whether every guarantee held on every path."""
    bad = found[found["violation"] != ""]
    audited = found[found["audited"]]
    stopped = int((found["stopped"] > 0).sum())
    console.print(
        f"{len(found):,} paths, {found['moves'].sum():,} settlements, {len(audited):,} paths audited by the exact "
        f"model, largest difference {audited['difference'].max() if len(audited) else 0:,} wei, {len(bad)} violations; "
        f"{stopped} paths in which the budget of work stopped a settlement (never audited)"
    )
    for row in bad.head(5).itertuples():
        console.print(f"path {row.path}: {row.violation}", style="red", markup=False)
    paths = risk.with_rates(found, sweep)
    console.print(_cells(paths, sweep))
    console.print(_keepers(paths))
    console.print(recommended_text(risk.recommended(paths, sweep), sweep))
    return not len(bad)


def show_hunt(found: Hunt, console: Console) -> bool:
    """What numpy found beyond the sweep; says whether every guarantee held there too."""
    bad = found.worst[found.worst["violation"] != ""]
    worst = found.worst.iloc[0]
    console.print(
        f"{found.scanned:,} further paths scanned in numpy; of the {len(found.worst)} worst, replayed and audited, "
        f"{found.compared.alike:.0%} came to the same (largest difference {max(found.compared.largest.values()):.1e}), "
        f"{len(bad)} violations; the worst is path {worst['path']}, {worst['socialized_rate']:.1%} of open interest"
    )
    return not len(bad)


def show_on_anvil(found: OnAnvil, console: Console) -> bool:
    """What a sample of the paths came to on a node; says whether it was the same."""
    console.print(f"on Anvil: {found.summary}")
    for difference in found.differences[:NAMED]:
        console.print(difference, style="red", markup=False)
    if len(found.differences) > NAMED:
        console.print(f"and {len(found.differences) - NAMED:,} more in figures.json", style="red")
    return not found.differences


def _cells(paths: pd.DataFrame, sweep: Sweep) -> Table:
    shown = Table(
        title="by step cap and insurance (over open interest); haircut of a path, winners' cost over open interest"
    )
    columns = ("step cap", "insurance", "paths", "pooled haircut", "VaR 99 %", "ES 99 %", "ES 99.9 %", "mean cost")
    for name in columns:
        shown.add_column(name, justify="right")
    for (cap, size), cell in paths.groupby(["step_cap", "insurance"]):
        losses = cell["haircut"].to_numpy(dtype=np.float64)
        weights = np.ones(len(losses))
        shown.add_row(
            f"{cap:.2%}",
            f"{size:.2%}",
            f"{len(cell):,}",
            f"{risk.pooled_haircut(cell):.3%}",
            f"{risk.value_at_risk(losses, weights, 0.99):.2%}",
            f"{risk.expected_shortfall(losses, weights, 0.99):.2%}",
            f"{risk.expected_shortfall(losses, weights, 0.999):.2%}",
            f"{cell['loss_rate'].mean():.3%}",
        )
    return shown


def _keepers(paths: pd.DataFrame) -> Table:
    shown = Table(title="by keeper")
    for name in ("keeper", "step cap", "paths", "without a deficit", "deficit over open interest", "take-overs a path"):
        shown.add_column(name, justify="right")
    for row in risk.keeper_curve(paths).itertuples():
        shown.add_row(
            lag_name(row.lag),
            f"{row.step_cap:.2%}",
            f"{row.paths:,}",
            f"{row.solvent:.1%}",
            f"{row.deficit_rate:.3%}",
            f"{row.liquidated:.1f}",
        )
    return shown


def _insurance(size: float) -> str:
    return f"insurance of {size:.1%} of open interest" if size else "no insurance"


def recommended_text(found: Sequence[risk.Recommendation], sweep: Sweep) -> str:
    """What to choose, and why, in a sentence or two."""
    targets = sweep.targets
    worst = f"{100 * (1 - targets.confidence):.4g}%"
    target = f"For a mean haircut of the worst {worst} of paths (expected shortfall) of at most {targets.haircut:.2%}"
    choice = risk.best(found)
    if choice is None:
        return f"{target}, no step cap tried has enough with any insurance tried."
    needs = "; ".join(
        f"a step cap of {one.step_cap:.2%} "
        + (
            "does not get there"
            if one.insurance is None
            else f"needs {_insurance(one.insurance)} and costs {one.cost:.2%} of open interest"
        )
        for one in found
    )
    return (
        f"Recommended: step cap {choice.step_cap:.2%}, {_insurance(choice.insurance or 0)}. "
        f"{target}, {needs}. "
        "The recommended one costs least: what winners and insurers lose, gains missed by deleverage at a lagging "
        f"mark, and {targets.capital_price:.1%} of the insurance for holding it."
    )
