"""What each defence leaves of the straddle's profit, as a picture: `make docs` writes `docs/attack-defences.png`.

A gap beyond margin cannot be prevented, only made smaller and insured. The coalition's largest profit, and who pays it,
against the three parameters that answer it: the price step, the cap of draws, the cap on open interest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from prorata.attacks.gaps import Straddle
from prorata.attacks.search import search
from prorata.attacks.world import SETTINGS, SIZE, Setting
from prorata.report import COVERED, SHORTFALL
from prorata.units import WAD

PICTURE = Path(__file__).resolve().parent.parent.parent / "docs" / "attack-defences.png"
_STRIKES, _SEED = 100, 1


@dataclass(frozen=True)
class Defence:
    """A parameter, and the market that each of its values makes.

    Attributes:
        label: of the axis.
        values: of the parameter, in parts of one.
        market: the setting at a value.
    """

    label: str
    values: Sequence[float]
    market: Callable[[float], Setting]


def _step(value: float) -> Setting:
    parameters = SETTINGS["open"].parameters
    return replace(SETTINGS["open"], parameters=replace(parameters, max_price_step=int(value * WAD), step_interval=12))


def _draw_cap(value: float) -> Setting:
    return replace(SETTINGS["open"], vault=replace(SETTINGS["open"].vault, draw_cap=int(value * WAD)))


def _open_interest(value: float) -> Setting:
    # The honest have four times the insurance open.
    return replace(SETTINGS["open"], parameters=replace(SETTINGS["open"].parameters, oi_multiple=int(value * WAD)))


DEFENCES = (
    Defence("largest price step, % of the mark", (0.005, 0.01, 0.015, 0.02, 0.05, 0.1, 0.2, 0.5), _step),
    Defence("cap of draws, % of the vault", (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9), _draw_cap),
    Defence("open interest, times insurance", (4.2, 4.5, 5, 5.5, 6, 7, 8), _open_interest),
)


def profits(defence: Defence) -> list[tuple[int, int]]:
    """At each value: the largest gain found, wei of quote, and what of it insurance paid."""
    found = [search(Straddle(), defence.market(value), _STRIKES, _SEED)[2] for value in defence.values]
    return [(max(one.gain, 0), min(one.payers.get("insurance", 0), max(one.gain, 0))) for one in found]


def draw() -> None:
    """The picture."""
    figure, panels = plt.subplots(1, len(DEFENCES), figsize=(12, 3.6), sharey=True)
    for panel, defence in zip(panels, DEFENCES, strict=True):
        gains = profits(defence)
        places = range(len(gains))
        insured = [insurance / WAD / 1000 for _, insurance in gains]
        rest = [(gain - insurance) / WAD / 1000 for gain, insurance in gains]
        panel.bar(places, insured, color=COVERED, label="paid by insurance")
        panel.bar(places, rest, bottom=insured, color=SHORTFALL, label="missed by other winners")
        scale = 1 if defence is DEFENCES[2] else 100
        panel.set_xticks(places, [f"{value * scale:g}" for value in defence.values])
        panel.set_xlabel(defence.label)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("profit of a straddle, thousands")
    panels[0].legend(frameon=False)
    figure.suptitle(
        f"The best straddle among {_STRIKES}: insurance 20,000, honest open interest {2 * SIZE // WAD} units of 1,000"
    )
    figure.tight_layout()
    figure.savefig(PICTURE, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    draw()
    print(f"wrote {PICTURE.relative_to(PICTURE.parent.parent)}")
