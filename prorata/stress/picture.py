"""The picture of a sweep, `stress.png`: haircut against insurance, and what a late keeper costs."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from prorata.stress.figures import Figures
from prorata.stress.risk import LEVELS
from prorata.stress.summary import lag_name

_LEVEL = 0.99
_COLOURS = ("#4c78a8", "#f2a93b", "#6a9f58", "#b0305c", "#888888", "#333333")


def draw(figures: Figures, folder: Path) -> Path:
    """Write `stress.png`."""
    figure, (haircut, keepers) = plt.subplots(1, 2, figsize=(10, 4.4))
    _draw_haircut(haircut, figures)
    _draw_keepers(keepers, figures)
    for axes in (haircut, keepers):
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
        axes.grid(axis="y", color="#eeeeee")
        axes.set_axisbelow(True)
    haircut.set_ylim(0, None)
    keepers.set_ylim(0, 1.3 * keepers.get_ylim()[1])  # room for the legend of both
    keepers.legend(frameon=False, fontsize=9, ncol=2, loc="upper left")
    figure.tight_layout()
    target = folder / "stress.png"
    figure.savefig(target, dpi=110)
    plt.close(figure)
    return target


def _draw_haircut(axes: Axes, figures: Figures) -> None:
    """Expected shortfall of a path's haircut with its 95 % interval, by step cap; sizes of insurance evenly spaced."""
    at = LEVELS.index(_LEVEL)
    sizes = sorted({cell.insurance for cell in figures.cells})
    for number, cap in enumerate(sorted({cell.step_cap for cell in figures.cells})):
        cells = [cell for cell in figures.cells if cell.step_cap == cap]
        found = [cell.tails["haircut"].es[at] for cell in cells]
        errors = [[max(one.value - one.low, 0) for one in found], [max(one.high - one.value, 0) for one in found]]
        axes.errorbar(
            [sizes.index(cell.insurance) for cell in cells],
            [one.value for one in found],
            errors,
            fmt="o-",
            capsize=3,
            color=_COLOURS[number % len(_COLOURS)],
        )
    axes.set_xticks(range(len(sizes)), [f"{size:.3g}" for size in sizes])
    axes.set_xlabel("insurance over open interest")
    axes.set_ylabel(f"haircut, mean of the worst {1 - _LEVEL:.0%} of paths")


def _draw_keepers(axes: Axes, figures: Figures) -> None:
    """What closed accounts owed beyond what they had, by the keeper's lag and step cap."""
    curve = pd.DataFrame(figures.keepers)
    caps = sorted(curve["step_cap"].unique())
    for number, cap in enumerate(caps):
        part = curve[curve["step_cap"] == cap]
        places = [place + (number - (len(caps) - 1) / 2) * 0.8 / len(caps) for place in range(len(part))]
        colour, label = _COLOURS[number % len(_COLOURS)], f"steps of {cap:.3g} at most"
        axes.bar(places, part["deficit_rate"], 0.8 / len(caps), color=colour, label=label)
        axes.set_xticks(range(len(part)), [lag_name(int(lag)) for lag in part["lag"]])
    axes.set_xlabel("keeper")
    axes.set_ylabel("deficit over open interest")
