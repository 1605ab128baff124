"""The plots of a sweep's page: plotly's, with buttons of the page's own where a plot has more than one thing to show.

A plot must be read on a telephone too, so legends stand above it and make their own room, and titles of axes are short.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from prorata.stress.config import Sweep
from prorata.stress.figures import TARGETS, CellTails, Figures
from prorata.stress.risk import LEVELS, MEASURES
from prorata.stress.summary import lag_name

_COLOURS = ("#3b6ea5", "#c4622d", "#4f8a5b", "#8a4f7d", "#7a6a3a", "#555555")
#: Points of a curve of exceedance; more make the page heavy and no plainer.
_CURVE_POINTS = 300
_LAYOUT = {
    "template": "plotly_white",
    "height": 420,
    "margin": {"l": 70, "r": 20, "t": 30, "b": 60},
    # By its lower edge: what does not fit into one row grows upwards.
    "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
    "font": {"family": "system-ui, sans-serif", "size": 13, "color": "#222222"},
}
_INSURANCE = "insurance over open interest"


@dataclass(frozen=True)
class Chart:
    """A plot.

    Attributes:
        choices: labels of buttons, and the title of the y axis under each. Every one shows as many traces, its own; the
            first, unless `chosen`.
    """

    figure: go.Figure
    choices: Sequence[tuple[str, str]] = ()
    chosen: int = 0

    def html(self, name: str) -> str:
        """The plot as a part of the page, with its buttons before it."""
        for axis in (self.figure.update_xaxes, self.figure.update_yaxes):
            axis(title_font_size=13, title_standoff=8)
        if self.choices:
            self.figure.update_yaxes(title_text=self.choices[self.chosen][1])
            each = len(self.figure.data) // len(self.choices)
            for number, trace in enumerate(self.figure.data):
                trace.visible = number // each == self.chosen
        self.figure.update_layout(**_LAYOUT)
        plot: str = self.figure.to_html(
            full_html=False,
            include_plotlyjs=False,
            div_id=name,
            config={"displaylogo": False, "displayModeBar": False, "responsive": True},
        )
        return self._buttons(name) + plot

    def _buttons(self, name: str) -> str:
        buttons = "".join(
            f'<button type="button" aria-pressed="{str(number == self.chosen).lower()}" data-title="{escape(title)}">'
            f"{escape(label)}</button>"
            for number, (label, title) in enumerate(self.choices)
        )
        return f'<div class="choices" data-plot="{name}">{buttons}</div>' if buttons else ""


def charts(paths: pd.DataFrame, figures: Figures, sweep: Sweep) -> dict[str, Chart]:
    """Every plot of the page by its name.

    Args:
        paths: with rates (`risk.with_rates`).
    """
    return {
        "shortfall_plot": _shortfall(figures),
        "exceedance_plot": _exceedance(paths),
        "surface_plot": _surface(figures, sweep),
        "needed_plot": _needed(figures),
        "keepers_plot": _keepers(figures),
        "hazard_plot": _hazard(figures),
    }


def part(value: float) -> str:
    """A part of one as a percentage, with no more digits than it has."""
    return f"{100 * value:.4g}%"


def _colour(number: int) -> str:
    return _COLOURS[number % len(_COLOURS)]


def _caps(cells: Sequence[CellTails]) -> Iterator[tuple[str, str, list[CellTails]]]:
    """Name, colour and cells of every step cap."""
    for number, cap in enumerate(sorted({cell.step_cap for cell in cells})):
        yield f"step cap {part(cap)}", _colour(number), [cell for cell in cells if cell.step_cap == cap]


def _shortfall(figures: Figures) -> Chart:
    """ES of the haircut against insurance, one curve a step cap, with intervals; a button for every level."""
    figure = go.Figure()
    for level in range(len(LEVELS)):
        for name, colour, cells in _caps(figures.cells):
            found = [cell.tails["haircut"].es[level] for cell in cells]
            figure.add_trace(
                go.Scatter(
                    x=[part(cell.insurance) for cell in cells],
                    y=[one.value for one in found],
                    error_y={
                        "type": "data",
                        "symmetric": False,
                        "array": [max(one.high - one.value, 0) for one in found],
                        "arrayminus": [max(one.value - one.low, 0) for one in found],
                    },
                    name=name,
                    line={"color": colour},
                    hovertemplate="insurance %{x}: %{y:.3%}",
                )
            )
    figure.update_xaxes(title=_INSURANCE, type="category")
    figure.update_yaxes(tickformat=".0%", rangemode="tozero")
    choices = [(f"worst {part(1 - level)} of paths", f"mean haircut, ES {part(level)}") for level in LEVELS]
    return Chart(figure, choices, chosen=LEVELS.index(0.99))


def _exceedance(paths: pd.DataFrame) -> Chart:
    """How often a measure is larger than what: a curve a step cap, all insurance together; a button a measure."""
    figure = go.Figure()
    caps = sorted(paths["step_cap"].unique())
    for measure in MEASURES:
        for number, cap in enumerate(caps):
            values = np.sort(paths.loc[paths["step_cap"] == cap, measure].to_numpy(dtype=np.float64))
            chance = 1 - (np.arange(len(values)) + 0.5) / len(values)
            # Evenly in the logarithm of the chance, since the tail is what is asked for.
            at = np.unique((len(values) * (1 - np.geomspace(1, 0.5 / len(values), _CURVE_POINTS))).astype(int))
            at = at[at < len(values)]
            figure.add_trace(
                go.Scatter(
                    x=values[at].tolist(),
                    y=chance[at].tolist(),
                    mode="lines",
                    line={"color": _colour(number), "shape": "hv"},
                    name=f"step cap {part(cap)}",
                    hovertemplate="more than %{x:.3%}: %{y:.4%} of paths",
                )
            )
    figure.update_xaxes(title="as much, or more", tickformat=".0%")
    figure.update_yaxes(type="log", tickformat=".2~%")
    return Chart(figure, [(name, "part of paths") for name, _ in MEASURES.values()])


def _surface(figures: Figures, sweep: Sweep) -> Chart:
    """Mean cost to winners by step cap and insurance: socialized, and missed by deleverage at a lagging mark."""
    means = {(cell.step_cap, cell.insurance): cell.tails["loss_rate"].mean.value for cell in figures.cells}
    values = [[means.get((cap, size)) for size in sweep.grid.insurance] for cap in sweep.grid.step_caps]
    figure = go.Figure(
        go.Heatmap(
            z=values,
            x=[part(size) for size in sweep.grid.insurance],
            y=[part(cap) for cap in sweep.grid.step_caps],
            colorscale="Blues",
            showscale=False,
            texttemplate="%{z:.1%}",
            hovertemplate="insurance %{x}, step cap %{y}: %{z:.3%}<extra></extra>",
        )
    )
    figure.update_xaxes(title=_INSURANCE, type="category")
    figure.update_yaxes(title="step cap", type="category")
    return Chart(figure)


def _needed(figures: Figures) -> Chart:
    """The insurance that a haircut needs, one curve a step cap; in the legend even if no size tried is enough."""
    figure = go.Figure()
    for number, (cap, sizes) in enumerate(figures.needed.items()):
        figure.add_trace(
            go.Scatter(
                x=TARGETS,
                y=sizes,
                name=f"step cap {part(float(cap))}",
                line={"color": _colour(number)},
                hovertemplate="haircut of %{x:.1%}: %{y:.2%}",
            )
        )
    figure.update_layout(showlegend=True)
    figure.update_xaxes(
        title="haircut aimed at (expected shortfall)", tickformat=".1~%", type="log", tickvals=[0.001, 0.01, 0.1, 0.5]
    )
    figure.update_yaxes(title="insurance needed", tickformat=".0%", rangemode="tozero")
    return Chart(figure)


def _keepers(figures: Figures) -> Chart:
    """What a late keeper costs; a button for how often nobody owes anything."""
    shown = {"deficit_rate": "deficit over open interest", "solvent": "part of paths without a deficit"}
    curve = pd.DataFrame(figures.keepers)
    figure = go.Figure()
    for column in shown:
        for number, (cap, rows) in enumerate(curve.groupby("step_cap")):
            error = {
                "type": "data",
                "symmetric": False,
                "array": (rows["deficit_high"] - rows["deficit_rate"]).clip(0).tolist(),
                "arrayminus": (rows["deficit_rate"] - rows["deficit_low"]).clip(0).tolist(),
                "thickness": 1,
            }
            figure.add_trace(
                go.Bar(
                    x=[lag_name(int(lag)) for lag in rows["lag"]],
                    y=rows[column].tolist(),
                    error_y=error if column == "deficit_rate" else None,
                    name=f"step cap {part(cap)}",
                    marker={"color": _colour(number)},
                    hovertemplate="%{x}: %{y:.3%}",
                )
            )
    figure.update_xaxes(title="keeper")
    figure.update_yaxes(tickformat=".2~%")
    return Chart(figure, [("how large", shown["deficit_rate"]), ("how often none", shown["solvent"])])


def _hazard(figures: Figures) -> Chart:
    """What every third of the crowd left to others, upwards, and bore for others, downwards and pale."""
    hazard = pd.DataFrame(figures.hazard)
    figure = go.Figure()
    for number, (cap, rows) in enumerate(hazard.groupby("step_cap")):
        for what, sign in (("left", 1), ("borne", -1)):
            figure.add_trace(
                go.Bar(
                    x=rows["class"].tolist(),
                    y=(sign * rows[what]).tolist(),
                    customdata=rows[what].tolist(),
                    name=f"step cap {part(cap)}",
                    legendgroup=part(cap),
                    showlegend=what == "left",
                    offsetgroup=str(number),
                    marker={"color": _colour(number), "opacity": 1.0 if sign > 0 else 0.45},
                    hovertemplate=f"%{{x}}, {what}: %{{customdata:.3%}} of its collateral",
                )
            )
    figure.update_layout(barmode="relative")
    figure.update_xaxes(title="thirds of every crowd, by wealth")
    figure.update_yaxes(title="borne (down), left to others (up)", tickformat=".0%")
    return Chart(figure)
