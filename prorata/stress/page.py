"""The report of a sweep: one HTML page with everything in it, for somebody who was not there.

Plots are plotly's, whose code stands in the page, so that it works from a disk, offline and in ten years.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from html import escape
from importlib.metadata import version
from pathlib import Path
from string import Template

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import yaml
from plotly.offline import get_plotlyjs

from prorata.stress import risk
from prorata.stress.config import Sweep
from prorata.stress.figures import TARGETS, CellTails, Figures
from prorata.stress.risk import LEVELS, MEASURES, Estimate
from prorata.stress.summary import lag_name, recommended_text

_TEMPLATE = Path(__file__).with_name("page.html")
_COLOURS = ("#3b6ea5", "#c4622d", "#4f8a5b", "#8a4f7d", "#7a6a3a", "#555555")
#: Points of a curve of exceedance; more make the page heavy and no plainer.
_CURVE_POINTS = 300
_LAYOUT = {
    "template": "plotly_white",
    "height": 420,
    "margin": {"l": 70, "r": 20, "t": 30, "b": 60},
    "legend": {"orientation": "h", "y": 1.12},
    "font": {"family": "system-ui, sans-serif", "size": 13},
}


def write(found: pd.DataFrame, figures: Figures, sweep: Sweep, command: str, folder: Path) -> Path:
    """Write `index.html`.

    Args:
        command: that makes this page again.
    """
    paths = risk.with_rates(found, sweep)
    plots = {
        "shortfall_plot": _shortfall(figures),
        "exceedance_plot": _exceedance(paths),
        "surface_plot": _surface(figures, sweep),
        "needed_plot": _needed(figures),
        "keepers_plot": _keepers(figures),
        "hazard_plot": _hazard(figures),
    }
    texts = {
        "facts": _facts(figures),
        "recommendation": escape(recommended_text(figures.recommended, sweep)),
        "recommended_table": _recommended(figures),
        "tails_tables": "\n".join(_tails(figures)),
        "keepers_table": _keepers_table(figures),
        "worst_table": _paths_table(figures.worst, figures.identity.seed),
        "hunted": _hunted(figures),
        "parameters": escape(yaml.safe_dump(_plain(sweep), sort_keys=False)),
        "command": escape(command),
        "versions": escape(", ".join(f"{name} {version(name)}" for name in ("vyper", "pyrevm", "numpy", "plotly"))),
        "bytecode": escape(figures.identity.bytecode),
        "config": escape(figures.identity.config),
        "seed": str(figures.identity.seed),
        "plotly": get_plotlyjs(),
    }
    drawn = {name: _div(name, figure) for name, figure in plots.items()}
    file = folder / "index.html"
    file.write_text(Template(_TEMPLATE.read_text()).substitute({**drawn, **texts}), encoding="utf-8")
    return file


def _div(name: str, figure: go.Figure) -> str:
    figure.update_layout(**_LAYOUT)
    text: str = figure.to_html(
        full_html=False, include_plotlyjs=False, div_id=name, config={"displaylogo": False, "responsive": True}
    )
    return text


# --------------------------------------------------------------------------------------------------------------- plots


def _caps(cells: Sequence[CellTails]) -> Iterator[tuple[str, str, list[CellTails]]]:
    """Name, colour and cells of every step cap."""
    for number, cap in enumerate(sorted({cell.step_cap for cell in cells})):
        yield f"step cap {cap:.4g}", _COLOURS[number % len(_COLOURS)], [cell for cell in cells if cell.step_cap == cap]


def _shortfall(figures: Figures) -> go.Figure:
    """ES of the haircut against insurance, one curve a step cap, with intervals; a button for every level."""
    figure = go.Figure()
    for level_number, level in enumerate(LEVELS):
        for name, colour, cells in _caps(figures.cells):
            found = [cell.tails["haircut"].es[level_number] for cell in cells]
            figure.add_trace(
                go.Scatter(
                    x=[f"{cell.insurance:.4g}" for cell in cells],
                    y=[one.value for one in found],
                    error_y={
                        "type": "data",
                        "symmetric": False,
                        "array": [max(one.high - one.value, 0) for one in found],
                        "arrayminus": [max(one.value - one.low, 0) for one in found],
                    },
                    name=name,
                    line={"color": colour},
                    visible=level == 0.99,
                    hovertemplate="insurance %{x}: %{y:.3%}",
                )
            )
    per_level = len(figure.data) // len(LEVELS)
    _buttons(figure, [f"ES {level:.1%}" for level in LEVELS], per_level, active=LEVELS.index(0.99))
    figure.update_xaxes(title="insurance over open interest at the start", type="category")
    figure.update_yaxes(title="expected shortfall of the haircut", tickformat=".0%", rangemode="tozero")
    return figure


def _exceedance(paths: pd.DataFrame) -> go.Figure:
    """How often a measure is larger than what: a curve a step cap, all insurance together; a button a measure."""
    figure = go.Figure()
    caps = sorted(paths["step_cap"].unique())
    for number, measure in enumerate(MEASURES):
        for colour, cap in enumerate(caps):
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
                    line={"color": _COLOURS[colour % len(_COLOURS)], "shape": "hv"},
                    name=f"step cap {cap:.4g}",
                    visible=number == 0,
                    hovertemplate="more than %{x:.3%}: %{y:.4%} of paths",
                )
            )
    _buttons(figure, [name.replace("_", " ") for name in MEASURES], len(caps), active=0)
    figure.update_xaxes(title="loss", tickformat=".0%")
    figure.update_yaxes(title="part of paths that lose more", type="log", tickformat=".2%")
    return figure


def _surface(figures: Figures, sweep: Sweep) -> go.Figure:
    """Mean cost to winners by step cap and insurance: socialized, and missed by deleverage at a lagging mark."""
    means = {(cell.step_cap, cell.insurance): cell.tails["loss_rate"].mean.value for cell in figures.cells}
    values = [[means.get((cap, size)) for size in sweep.grid.insurance] for cap in sweep.grid.step_caps]
    figure = go.Figure(
        go.Heatmap(
            z=values,
            x=[f"{size:.4g}" for size in sweep.grid.insurance],
            y=[f"{cap:.4g}" for cap in sweep.grid.step_caps],
            colorscale="Blues",
            texttemplate="%{z:.2%}",
            colorbar={"tickformat": ".1%"},
            hovertemplate="insurance %{x}, step cap %{y}: %{z:.3%}",
        )
    )
    figure.update_xaxes(title="insurance over open interest", type="category")
    figure.update_yaxes(title="step cap", type="category")
    return figure


def _needed(figures: Figures) -> go.Figure:
    figure = go.Figure()
    for number, (cap, sizes) in enumerate(figures.needed.items()):
        known = [(target, size) for target, size in zip(TARGETS, sizes, strict=True) if size is not None]
        figure.add_trace(
            go.Scatter(
                x=[target for target, _ in known],
                y=[size for _, size in known],
                name=f"step cap {cap}",
                line={"color": _COLOURS[number % len(_COLOURS)]},
                hovertemplate="haircut of %{x:.1%}: %{y:.2%}",
            )
        )
    figure.update_xaxes(title="expected shortfall of the haircut that is aimed at", tickformat=".1%", type="log")
    figure.update_yaxes(title="insurance needed, over open interest", tickformat=".0%", rangemode="tozero")
    return figure


def _keepers(figures: Figures) -> go.Figure:
    curve = pd.DataFrame(figures.keepers)
    figure = go.Figure()
    for number, (cap, part) in enumerate(curve.groupby("step_cap")):
        figure.add_trace(
            go.Bar(
                x=[lag_name(int(lag)) for lag in part["lag"]],
                y=part["deficit_rate"].tolist(),
                customdata=part["solvent"].tolist(),
                name=f"step cap {cap:.4g}",
                marker={"color": _COLOURS[number % len(_COLOURS)]},
                hovertemplate="%{x}: %{y:.3%}; %{customdata:.1%} of paths without a deficit",
            )
        )
    figure.update_xaxes(title="keeper")
    figure.update_yaxes(title="deficit over open interest", tickformat=".1%")
    return figure


def _hazard(figures: Figures) -> go.Figure:
    hazard = pd.DataFrame(figures.hazard)
    figure = go.Figure()
    for number, (cap, part) in enumerate(hazard.groupby("step_cap")):
        for what, sign in (("left", 1), ("borne", -1)):
            figure.add_trace(
                go.Bar(
                    x=part["class"].tolist(),
                    y=(sign * part[what]).tolist(),
                    name=f"{what}, step cap {cap:.4g}",
                    offsetgroup=str(number),
                    marker={"color": _COLOURS[number % len(_COLOURS)], "opacity": 1.0 if sign > 0 else 0.45},
                    hovertemplate="%{x}: %{y:.3%} of the class's collateral",
                )
            )
    figure.update_layout(barmode="relative")
    figure.update_xaxes(title="accounts by wealth: thirds of every path's crowd")
    figure.update_yaxes(title="left to others (up), borne for others (down)", tickformat=".1%")
    return figure


def _buttons(figure: go.Figure, names: Sequence[str], traces: int, active: int) -> None:
    """One button for every group of `traces` traces."""
    groups = len(figure.data) // traces
    figure.update_layout(
        updatemenus=[
            {
                "type": "buttons",
                "direction": "right",
                "x": 0,
                "xanchor": "left",
                "y": 1.28,
                "active": active,
                "buttons": [
                    {
                        "label": name,
                        "method": "update",
                        "args": [{"visible": [at // traces == group for at in range(groups * traces)]}],
                    }
                    for group, name in enumerate(names)
                ],
            }
        ]
    )


# -------------------------------------------------------------------------------------------------------------- tables


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    titles = "".join(f"<th>{escape(one)}</th>" for one in head)
    body = "\n".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{titles}</tr></thead><tbody>\n{body}\n</tbody></table>"


def _facts(figures: Figures) -> str:
    rows = [
        ("paths run on the contracts", f"{figures.paths:,} of {figures.scenarios:,} scenarios"),
        ("settlements", f"{figures.settlements:,}"),
        ("paths on which a guarantee did not hold", f"{figures.violations:,}"),
        (
            "paths audited by the exact-rational model",
            f"{figures.audited:,}, mismatches {figures.mismatches:,}, largest difference of a balance "
            f"{figures.largest_difference:,} wei",
        ),
        ("paths in which the budget of work stopped a settlement", f"{figures.stopped:,}; these are not audited"),
    ]
    if figures.scanned:
        rows.append(
            (
                "further paths scanned in numpy",
                f"{figures.scanned:,}; of the {len(figures.hunted)} worst, replayed on the contracts, "
                f"{figures.scan_alike:.0%} came to the same, largest difference {figures.scan_error:.1e}",
            )
        )
    return _table(("what", "how much"), rows)


def _percent(one: Estimate) -> str:
    return f"{one.value:.2%} ({one.low:.2%} to {one.high:.2%})"


def _tails(figures: Figures) -> Iterator[str]:
    """A table a measure, folded up but for the first."""
    head = (
        "step cap",
        "insurance",
        "paths",
        "mean",
        *(f"VaR {x:.1%}" for x in LEVELS),
        *(f"ES {x:.1%}" for x in LEVELS),
    )
    for number, (measure, meaning) in enumerate(MEASURES.items()):
        rows = []
        for cell in figures.cells:
            tail = cell.tails[measure]
            figures_of_it = [_percent(one) for one in (tail.mean, *tail.var, *tail.es)]
            rows.append([f"{cell.step_cap:.2%}", f"{cell.insurance:.2%}", f"{tail.paths:,}", *figures_of_it])
        opened = " open" if not number else ""
        title = escape(f"{measure.replace('_', ' ')}: {meaning}")
        yield f"<details{opened}><summary>{title}</summary>{_table(head, rows)}</details>"


def _recommended(figures: Figures) -> str:
    rows = [
        [
            f"{one.step_cap:.2%}",
            "more than the grid has" if one.insurance is None else f"{one.insurance:.2%}",
            "" if one.cost is None else f"{one.cost:.2%}",
            "recommended" if one == figures.best else "",
        ]
        for one in figures.recommended
    ]
    return _table(("step cap", "insurance that meets the target", "mean cost in all, over open interest", ""), rows)


def _keepers_table(figures: Figures) -> str:
    rows = [
        [
            lag_name(int(one["lag"])),
            f"{one['step_cap']:.2%}",
            f"{one['paths']:,}",
            f"{one['solvent']:.1%}",
            f"{one['deficit_rate']:.3%}",
            f"{one['closed_rate']:.1%}",
            f"{one['liquidated']:.1f}",
        ]
        for one in figures.keepers
    ]
    head = (
        "keeper",
        "step cap",
        "paths",
        "without a deficit",
        "deficit / open interest",
        "accounts closed",
        "take-overs",
    )
    return _table(head, rows)


def _paths_table(rows: Sequence[dict[str, float]], seed: int) -> str:
    head = (
        "path",
        "step cap",
        "insurance",
        "keeper",
        "severity",
        "index went",
        "haircut",
        "socialized / open interest",
        "closed",
        "again",
    )
    shown = [
        [
            f"{one['path']:.0f}",
            f"{one['step_cap']:.2%}",
            f"{one['insurance']:.2%}",
            lag_name(int(one["lag"])),
            f"{one['severity']:.1%}",
            f"x{one['low']:.3g} to x{one['high']:.3g}",
            f"{one['haircut']:.1%}",
            f"{one['socialized_rate']:.2%}",
            f"{one['closed']:.0f}",
            f"--seed {seed} --only {one['path']:.0f}",
        ]
        for one in rows
    ]
    return _table(head, shown)


def _hunted(figures: Figures) -> str:
    if not figures.scanned:
        return "<p>No further paths were scanned (<code>--scan</code>).</p>"
    return _paths_table(figures.hunted, figures.identity.seed)


def _plain(sweep: Sweep) -> dict[str, dict[str, object]]:
    """The configuration as YAML takes it."""
    return {
        section: {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
        for section, values in asdict(sweep).items()
    }
