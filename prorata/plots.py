"""The pictures in `docs/` that show a rule, drawn from the judge itself: `make docs`."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from prorata.model import Model
from prorata.parameters import MarketParameters, VaultParameters
from prorata.units import WAD

DOCS = Path(__file__).parent.parent / "docs"
#: Open interest over insurance, up to which margins are drawn.
MULTIPLES = [step / 4 for step in range(0, 161)]
SLOPES = (WAD // 2000, WAD // 1000, WAD // 400)


def initial_margin(multiple: float, slope: int) -> float:
    """Initial margin for new risk, as a ratio, when open interest is `multiple` times insurance."""
    model = Model(MarketParameters(margin_slope=slope), VaultParameters(), Fraction(1000))
    model.vault.held = Fraction(1)
    return float(model.initial_margin(Fraction(multiple) / model.mark, grew=True, only_reduced=False))


def draw_dynamic_margin(target: Path) -> None:
    """Initial margin for new risk against open interest over insurance, beside what never moves."""
    parameters = MarketParameters.guarded()
    figure, axes = plt.subplots(figsize=(8, 4.2))
    for slope, style in zip(SLOPES, (":", "-", "--"), strict=True):
        margins = [100 * initial_margin(multiple, slope) for multiple in MULTIPLES]
        axes.plot(MULTIPLES, margins, style, color="#4c78a8", label=f"new risk, slope {100 * slope / WAD:g} %")
    axes.axhline(100 * parameters.initial_margin / WAD, color="#888888", lw=1, label="withdrawals, liquidators")
    axes.axhline(100 * parameters.maintenance_margin / WAD, color="#b0305c", lw=1, label="maintenance")
    axes.axvline(parameters.oi_multiple / WAD, color="#f2a93b", lw=1, label="open-interest cap, `guarded`")
    axes.set_xlabel("open interest / insurance")
    axes.set_ylabel("margin, % of notional")
    axes.set_ylim(0, None)
    axes.set_xlim(0, MULTIPLES[-1])
    axes.legend(frameon=False, fontsize=8)
    figure.tight_layout()
    figure.savefig(target, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    draw_dynamic_margin(DOCS / "dynamic-margin.png")
