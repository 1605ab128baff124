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

import pandas as pd
import yaml
from plotly.offline import get_plotlyjs

from prorata.stress import risk
from prorata.stress.charts import charts, part
from prorata.stress.config import Sweep
from prorata.stress.figures import NAMED, Figures
from prorata.stress.risk import LEVELS, MEASURES, Estimate
from prorata.stress.summary import lag_name, recommended_text

_TEMPLATE = Path(__file__).with_name("page.html")


def write(found: pd.DataFrame, figures: Figures, sweep: Sweep, command: str, folder: Path) -> Path:
    """Write `index.html`.

    Args:
        command: that makes this page again.
    """
    texts = {
        "tiles": _tiles(figures),
        "facts": _facts(figures),
        "recommendation": escape(recommended_text(figures.recommended, sweep)),
        "recommended_table": _recommended(figures, sweep),
        "tails_tables": "\n".join(_tails(figures)),
        "smallest_cell": _smallest_cell(figures),
        "keepers_table": _keepers_table(figures),
        "hazard_table": _hazard_table(figures),
        "worst_table": _paths_table(figures.worst, figures.identity.seed),
        "hunted": _hunted(figures),
        "parameters": escape(yaml.safe_dump(_plain(sweep), sort_keys=False)),
        "command": escape(command),
        "versions": escape(", ".join(f"{name} {version(name)}" for name in ("vyper", "pyrevm", "numpy", "plotly"))),
        "bytecode": escape(figures.identity.bytecode),
        "config": escape(figures.identity.config),
        "seed": str(figures.identity.seed),
        "step_interval": str(sweep.grid.step_interval),
        "interval": str(sweep.prices.interval),
        "steps": str(sweep.prices.steps),
        "traders": str(sweep.crowd.traders),
        "plotly": get_plotlyjs(),
    }
    drawn = {name: one.html(name) for name, one in charts(risk.with_rates(found, sweep), figures, sweep).items()}
    file = folder / "index.html"
    file.write_text(Template(_TEMPLATE.read_text()).substitute({**drawn, **texts}), encoding="utf-8")
    return file


# -------------------------------------------------------------------------------------------------------------- tables


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], kind: str = "numbers") -> str:
    titles = "".join(f"<th>{escape(one)}</th>" for one in head)
    body = "\n".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    table = f'<table class="{kind}"><thead><tr>{titles}</tr></thead><tbody>\n{body}\n</tbody></table>'
    return f'<div class="wide">{table}</div>'


def _tiles(figures: Figures) -> str:
    """The figures to know first."""
    best = figures.best
    shown = [
        (f"{figures.paths:,}", "markets taken to their end"),
        (f"{figures.settlements:,}", "settlements"),
        (f"{figures.violations:,}", "paths on which a guarantee did not hold"),
        (f"{figures.audited:,}", f"paths beside the exact model, {figures.mismatches:,} mismatches"),
    ]
    if best is not None and best.insurance is not None:
        shown.insert(0, (f"{part(best.step_cap)} / {best.insurance:.1%}", "recommended step cap / insurance"))
    return "".join(f"<li><b>{escape(number)}</b> {escape(what)}</li>" for number, what in shown)


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
    if figures.on_anvil is not None:
        rows.append(("paths run again through Ape on Anvil", figures.on_anvil.summary))
        rows += [("difference on Anvil", one) for one in figures.on_anvil.differences[:NAMED]]
    return _table(("what", "how much"), rows, kind="facts")


def _estimate(one: Estimate) -> str:
    return f"{one.value:.2%}\n{100 * one.low:.2f} to {100 * one.high:.2f}"


def _smallest_cell(figures: Figures) -> str:
    """How few paths the figures of a cell's tail hang on."""
    fewest = min(cell.tails["haircut"].paths for cell in figures.cells)
    beyond = fewest * (1 - LEVELS[-1])
    few = f"about {beyond:.0f} paths" if beyond >= 2 else "a single path"
    return f"A cell has {fewest:,} paths or more, so its {part(LEVELS[-1])} figures hang on {few}."


def _tails(figures: Figures) -> Iterator[str]:
    """A table a measure, folded up but for the first."""
    head = (
        "step cap",
        "insurance",
        "paths",
        "mean",
        *(f"VaR {part(x)}" for x in LEVELS),
        *(f"ES {part(x)}" for x in LEVELS),
    )
    for number, (measure, (name, meaning)) in enumerate(MEASURES.items()):
        rows = []
        for cell in figures.cells:
            tail = cell.tails[measure]
            estimates = [_estimate(one) for one in (tail.mean, *tail.var, *tail.es)]
            rows.append([part(cell.step_cap), part(cell.insurance), f"{tail.paths:,}", *estimates])
        opened = " open" if not number else ""
        summary = f"<summary>{escape(name)}: {escape(meaning)}</summary>"
        yield f"<details{opened}>{summary}{_table(head, rows, kind='numbers intervals')}</details>"


def _recommended(figures: Figures, sweep: Sweep) -> str:
    rows = []
    for one in figures.recommended:
        enough = [size for size, at in zip(sweep.grid.insurance, one.at, strict=True) if at <= sweep.targets.haircut]
        rows.append(
            [
                part(one.step_cap),
                "more than was tried" if one.insurance is None else f"{one.insurance:.2%}",
                part(enough[0]) if enough else "none",
                "" if one.cost is None else f"{one.cost:.2%}",
                "recommended" if one == figures.best else "",
            ]
        )
    head = (
        "step cap",
        "insurance that\nmeets the target",
        "least size tried\nthat meets it",
        "mean cost in all,\nover open interest",
        "",
    )
    return _table(head, rows)


def _keepers_table(figures: Figures) -> str:
    rows = [
        [
            lag_name(int(one["lag"])),
            part(one["step_cap"]),
            f"{one['paths']:,}",
            f"{one['solvent']:.1%}",
            f"{one['deficit_rate']:.3%}\n{100 * one['deficit_low']:.3f} to {100 * one['deficit_high']:.3f}",
            f"{one['closed_rate']:.1%}",
            f"{one['liquidated']:.1f}",
        ]
        for one in figures.keepers
    ]
    head = (
        "keeper",
        "step cap",
        "paths",
        "paths without\na deficit",
        "deficit over\nopen interest",
        "traders closed\nby settlements",
        "take-overs\na path",
    )
    return _table(head, rows, kind="numbers intervals")


def _hazard_table(figures: Figures) -> str:
    rows = [
        [
            str(one["class"]),
            part(one["step_cap"]),
            f"{one['left']:.2%}",
            f"{one['borne']:.2%}",
            f"{one['gain']:+.2%}",
        ]
        for one in figures.hazard
    ]
    return _table(("third", "step cap", "left to others", "borne for others", "gain from it"), rows)


def _paths_table(rows: Sequence[dict[str, float]], seed: int) -> str:
    head = (
        "path",
        "step cap",
        "insurance",
        "keeper",
        "severity",
        "lowest index",
        "highest index",
        "haircut",
        "socialized over\nopen interest",
        "accounts\nclosed",
        "to run it again",
    )
    shown = [
        [
            f"{one['path']:.0f}",
            part(one["step_cap"]),
            part(one["insurance"]),
            lag_name(int(one["lag"])),
            f"{one['severity']:.1%}",
            f"x {one['low']:.3g}",
            f"x {one['high']:.3g}",
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
