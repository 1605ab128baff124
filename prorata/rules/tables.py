"""A comparison for the terminal, as JSON, as Markdown, and as a picture."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from fractions import Fraction
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from rich.console import Console
from rich.table import Table

from prorata.rules import RULES
from prorata.rules.comparison import Comparison, Figures, Tally
from prorata.rules.metrics import Paid
from prorata.units import WAD

#: Parts of who paid, in the order of tables and bars: heading, colour.
PARTS = {
    "losers": ("losers", "#b8c4ce"),
    "insurance": ("insurance", "#4c78a8"),
    "gain": ("gain of the move", "#f2a93b"),
    "earlier": ("earlier gains", "#e06c2e"),
    "principal": ("winners' principal", "#b0305c"),
    "bystanders": ("bystanders", "#6b3fa0"),
    "unborne": ("nobody", "#222222"),
}


def _amount(quote: Fraction) -> str:
    """Whole quote, rounded half to even; nothing is a dash, so that what is there stands out."""
    return f"{round(quote):,}" if round(quote) else "-"


def _ratio(ratio: Fraction | None) -> str:
    return "-" if ratio is None else f"{float(ratio):.2f}"


def _part(name: str) -> Callable[[Figures], str]:
    return lambda row: _amount(getattr(row.paid, name))


#: Columns of the two tables: heading, cell.
PAID_COLUMNS: tuple[tuple[str, Callable[[Figures], str]], ...] = tuple(
    (heading, _part(name)) for name, (heading, _) in PARTS.items() if name != "unborne"
)
OTHER_COLUMNS: tuple[tuple[str, Callable[[Figures], str]], ...] = (
    ("payers", lambda row: str(row.paying)),
    ("Gini", lambda row: _ratio(row.gini)),
    ("Gini per unit", lambda row: _ratio(row.gini_per_unit)),
    ("principal touched", lambda row: _amount(row.principal)),
    ("closed beyond", lambda row: _amount(row.closed_beyond)),
    ("taken beyond", lambda row: _amount(row.taken_beyond)),
    ("order: largest", lambda row: _amount(row.spread.largest)),
    ("order: mean", lambda row: _amount(row.spread.mean)),
    ("straddle wins", lambda row: _amount(row.straddle)),
    ("calls", lambda row: str(row.calls)),
)

#: Of the count over many markets.
TALLY_COLUMNS: tuple[tuple[str, Callable[[Tally], str]], ...] = (
    ("something missing", lambda row: str(row.missing)),
    ("only the move's gain touched", lambda row: str(row.gain_only)),
    ("same in any order", lambda row: str(row.any_order)),
    ("straddle wins less", lambda row: str(row.straddle_less)),
    ("straddle wins more", lambda row: str(row.straddle_more)),
    ("calls, all", lambda row: str(row.calls)),
)

LEGEND = (
    "Quote. Losers, insurance and so on: who paid for what the losing sides lost. Payers: accounts that lost something "
    "for others. Gini: of those losses among the winners, by amount and per unit of position. Closed beyond: notional "
    "closed on the other side beyond that of accounts worth less than nothing. Taken beyond: money taken beyond what "
    "was missing. Order: how much one account's outcome differs over random orders of touches, largest and mean over "
    "accounts. Straddle wins: what an attacker wins who is long and short, by the price that closes one of the two. "
    "Counts over many markets: of those where something was missing; straddle less or more than under prorata."
)


def show(comparison: Comparison, console: Console) -> None:
    """Print one shock: who paid, and the rest."""
    shock = comparison.shock
    for title, columns in ((f"{shock.name}: {shock.title}; who paid", PAID_COLUMNS), ("how", OTHER_COLUMNS)):
        table = Table(title=title, title_justify="left")
        table.add_column("rule", no_wrap=True)
        for heading, _ in columns:
            table.add_column(heading, justify="right")
        for row in comparison.rows:
            table.add_row(row.title, *(cell(row) for _, cell in columns))
        console.print(table, highlight=False)
    if comparison.markets:
        table = Table(title=f"in how many of {comparison.markets} markets", title_justify="left")
        table.add_column("rule", no_wrap=True)
        for heading, _ in TALLY_COLUMNS:
            table.add_column(heading, justify="right")
        for tally in comparison.tallies:
            table.add_row(tally.title, *(cell(tally) for _, cell in TALLY_COLUMNS))
        console.print(table, highlight=False)
    lost = sum((row.paid.unborne for row in comparison.rows), Fraction(0))
    if lost:
        console.print(f"Nobody was left to bear {_amount(lost)}.", highlight=False)


def as_json(comparisons: Sequence[Comparison]) -> dict[str, Any]:
    """Everything, amounts and ratios as strings of 18-digit integers."""
    first = comparisons[0]
    return {
        "seed": first.population.seed,
        "traders": first.population.traders,
        "leverage": str(first.population.leverage),
        "insurance": _wad(first.population.insurance),
        "orders": first.orders,
        "markets": first.markets,
        "rules": {rule.name: {"title": rule.title, "source": rule.source} for rule in RULES},
        "shocks": {
            comparison.shock.name: {
                "title": comparison.shock.title,
                "prices": [str(point.price) for point in comparison.shock.points],
                "rows": {row.rule: _plain(row) for row in comparison.rows},
                "tallies": {tally.rule: _plain(tally) for tally in comparison.tallies},
            }
            for comparison in comparisons
        },
    }


def _wad(number: Fraction) -> str:
    return str(round(number * WAD))


def _plain(row: Figures | Tally) -> dict[str, Any]:
    found = asdict(row)
    del found["rule"], found["title"]

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(one) for key, one in value.items()}
        return _wad(value) if isinstance(value, Fraction) else value

    return {key: plain(value) for key, value in found.items()}


def as_markdown(comparisons: Sequence[Comparison], command: str) -> str:
    """A table a shock, with the command that makes them."""
    columns = (*PAID_COLUMNS, *OTHER_COLUMNS)
    lines = [f"`{command}`", ""]
    for comparison in comparisons:
        lines += [f"**{comparison.shock.name}**: {comparison.shock.title}", ""]
        lines += _markdown_table(
            [heading for heading, _ in columns],
            [[row.title, *(cell(row) for _, cell in columns)] for row in comparison.rows],
        )
        if comparison.markets:
            lines += [f"In how many of {comparison.markets} markets:", ""]
            lines += _markdown_table(
                [heading for heading, _ in TALLY_COLUMNS],
                [[tally.title, *(cell(tally) for _, cell in TALLY_COLUMNS)] for tally in comparison.tallies],
            )
    lines += [LEGEND, ""]
    return "\n".join(lines)


def _markdown_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table whose first column is the rule, and a blank one."""
    lines = ["| rule | " + " | ".join(headings) + " |", "|---|" + "---:|" * len(headings)]
    return [*lines, *("| " + " | ".join(row) + " |" for row in rows), ""]


def draw(comparisons: Sequence[Comparison], target: Path) -> None:
    """Who paid, a panel a shock: bars of one rule each, in percent of what the losing sides lost."""
    across = min(len(comparisons), 4)
    down = -(-len(comparisons) // across)
    figure, grid = plt.subplots(down, across, figsize=(3.1 * across + 3, 2.7 * down + 0.9), sharey=True, squeeze=False)
    panels = [axes for row in grid for axes in row]
    for axes, comparison in zip(panels, comparisons, strict=False):
        _draw_panel(axes, comparison)
    for axes in panels[len(comparisons) :]:
        axes.axis("off")
    panels[0].invert_yaxis()
    handles, labels = panels[0].get_legend_handles_labels()
    figure.suptitle("Who paid, % of what the losing sides lost", x=0.01, ha="left", weight="bold")
    figure.legend(handles, labels, loc="lower left", ncols=4, frameon=False, fontsize=8)
    figure.tight_layout(rect=(0, 0.16 / down, 1, 1))
    figure.savefig(target, dpi=110)
    plt.close(figure)


def _draw_panel(axes: Axes, comparison: Comparison) -> None:
    titles = [row.title for row in comparison.rows]
    base = [0.0] * len(titles)
    for part in fields(Paid):
        label, colour = PARTS[part.name]
        widths = [
            float(100 * getattr(row.paid, part.name) / row.gross) if row.gross else 0.0 for row in comparison.rows
        ]
        axes.barh(titles, widths, left=base, color=colour, label=label)
        base = [a + b for a, b in zip(base, widths, strict=True)]
    axes.set_title(f"{comparison.shock.name}", fontsize=9, loc="left")
    axes.set_xlim(0, 100)
    axes.tick_params(labelsize=7)


def write(comparisons: Sequence[Comparison], command: str, out: Path) -> list[Path]:
    """Write compare.json and compare.md; returns their paths."""
    paths = [out / name for name in ("compare.json", "compare.md")]
    paths[0].write_text(json.dumps(as_json(comparisons), indent=2) + "\n")
    paths[1].write_text(as_markdown(comparisons, command))
    return paths
