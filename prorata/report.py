"""What a run found, for people (a table, a statement, a picture) and for programs (report.json)."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from prorata.simulation import Run, Settlement, Trader, loser_name, side_name
from prorata.units import WAD

#: Colours of who pays: losers, insurance, winners. Distinguishable without colour vision.
PAID, COVERED, SOCIALIZED, MARK = "#4c78a8", "#f2a93b", "#b0305c", "#222222"


def money(amount: int) -> str:
    """Quote with 18 digits as dollars and cents, rounded to nearest."""
    return f"{amount / WAD:,.2f}"


def price(amount: int) -> str:
    """A price with six significant digits."""
    return f"{amount / WAD:,.6g}" if amount < 1000 * WAD else money(amount)


def ratio(amount: int) -> str:
    """An 18-digit ratio in per cent; "-" for none at all."""
    return f"{100 * amount / WAD:.2f} %" if amount else "-"


# ------------------------------------------------------------------------------------------------------------- people


def settlement_table(run: Run) -> Table:
    """One row a settlement."""
    table = Table(title=f"{run.setup.path.name} on {run.network}", title_justify="left", box=None, pad_edge=False)
    table.add_column("time (UTC)", no_wrap=True)
    table.add_column("lose")
    columns = ("price", "gross loss", "deficit", "covered", "socialized", "haircut", "closed", "open interest", "gas")
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    for row in run.settlements:
        receipt = row.receipt
        table.add_row(
            datetime.fromtimestamp(row.time, UTC).strftime("%m-%d %H:%M"),
            loser_name(receipt),
            price(receipt.mark_after),
            money(receipt.gross),
            money(receipt.deficit) if receipt.deficit else "-",
            money(receipt.covered) if receipt.covered else "-",
            money(receipt.socialized) if receipt.socialized else "-",
            ratio(receipt.haircut),
            str(len(row.closed) or "-"),
            f"{receipt.open_interest / WAD:,.4g}",
            f"{row.gas:,}" if row.gas else "-",
            style="bold red" if receipt.socialized else "yellow" if receipt.deficit else "",
        )
    return table


def statement(run: Run) -> Group:
    """The solvency statement: what the market holds and owes, who gained, who was closed, which guarantees held."""
    lines: list[Any] = [Text("Solvency", style="bold")]
    if run.final is not None:
        final = run.final
        held = Table(box=None, pad_edge=False, show_header=False)
        held.add_column()
        held.add_column(justify="right")
        held.add_row("token balance of the market", f"{final.token_balance / WAD:,.18f}")
        held.add_row("sum of all equity", f"{final.sum_equity / WAD:,.18f}")
        held.add_row("owed to insurance (fees, surplus)", f"{final.owed / WAD:,.18f}")
        held.add_row("dust, in the market's favour", f"{final.dust} wei")
        held.add_row("insurance vault", f"{final.vault / WAD:,.18f}")
        held.add_row("largest difference from the eager model", f"{run.max_difference} wei")
        lines.append(held)
    lines += [
        Text(f"Gained: {_gains(run)}"),
        Text(f"Closed: {_closed(run.traders)}"),
        Text.assemble("Guarantees: ", *_verdicts(run)),
    ]
    if run.violation:
        lines.append(Text(run.violation, style="bold red"))
    return Group(*lines)


def _gains(run: Run) -> str:
    best = sorted((trader for trader in run.traders if trader.gain > 0), key=lambda trader: -trader.gain)
    shown = ", ".join(f"#{trader.number} {side_name(trader)} +{money(trader.gain)}" for trader in best[:5])
    more = f" and {len(best) - 5} more" if len(best) > 5 else ""
    return f"{shown}{more}" if best else "nobody"


def _closed(traders: list[Trader]) -> str:
    closed = [f"#{trader.number} {side_name(trader)}" for trader in traders if trader.closed]
    more = f" and {len(closed) - 8} more" if len(closed) > 8 else ""
    return f"{len(closed)} of {len(traders)}: {', '.join(closed[:8])}{more}" if closed else "nobody"


def _verdicts(run: Run) -> list[tuple[str, str]]:
    return [
        (f"{name} {'holds' if holds else 'VIOLATED'}  ", "green" if holds else "bold red")
        for name, holds in run.guarantees.items()
    ]


def show(run: Run, console: Console) -> None:
    """Print table and statement."""
    console.print(settlement_table(run))
    console.print()
    console.print(statement(run))


# ----------------------------------------------------------------------------------------------------------- programs


def report_json(run: Run) -> dict[str, Any]:
    """The whole run as JSON; amounts are 18-digit integers as strings, `gas` and `accounts_closed` are numbers."""
    final = run.final
    return {
        "network": run.network,
        "scenario": run.setup.path.name,
        "seed": run.setup.seed,
        "traders": run.setup.traders,
        "leverage": str(run.setup.leverage),
        "insurance": str(run.setup.insurance * WAD),
        "settlements": [_settlement_json(row) for row in run.settlements],
        "final": {
            "token_balance": str(final.token_balance),
            "sum_equity": str(final.sum_equity),
            "owed": str(final.owed),
            "dust": str(final.dust),
            "vault": str(final.vault),
            "max_model_difference": str(run.max_difference),
        }
        if final is not None
        else None,
        "traders_final": [
            {
                "number": trader.number,
                "side": side_name(trader),
                "deposited": str(trader.deposited),
                "equity": str(trader.equity),
                "closed": trader.closed,
            }
            for trader in run.traders
        ],
        "guarantees": run.guarantees,
        "violation": run.violation,
    }


def _settlement_json(row: Settlement) -> dict[str, Any]:
    receipt = row.receipt
    return {
        "time": row.time,
        "loser": loser_name(receipt),
        "price": str(receipt.mark_after),
        "gross": str(receipt.gross),
        "deficit": str(receipt.deficit),
        "covered": str(receipt.covered),
        "socialized": str(receipt.socialized),
        "surplus": str(receipt.surplus),
        "haircut": str(receipt.haircut),
        "accounts_closed": len(row.closed),
        "open_interest": str(receipt.open_interest),
        "gas": row.gas,
    }


def write(run: Run, directory: Path) -> list[Path]:
    """Write `report.json` and, if anything was settled, `waterfall.png`; the directory is made if needed."""
    directory.mkdir(parents=True, exist_ok=True)
    written = [directory / "report.json"]
    written[0].write_text(json.dumps(report_json(run), indent=2) + "\n")
    if run.settlements:
        written.append(directory / "waterfall.png")
        draw(run, written[1])
    return written


# ------------------------------------------------------------------------------------------------------------ picture


def draw(run: Run, target: Path) -> None:
    """The waterfall: the price, who paid each move, and who paid in total."""
    figure, axes = plt.subplot_mosaic(
        [["price", "total"], ["moves", "total"]], width_ratios=[2.4, 1], height_ratios=[1, 1.25], figsize=(12, 6.4)
    )
    figure.suptitle(run.setup.path.notes.get("title") or run.setup.path.name, x=0.01, ha="left", weight="bold")
    _draw_price(axes["price"], run)
    _draw_moves(axes["moves"], run)
    _draw_total(axes["total"], run)
    figure.tight_layout()
    figure.savefig(target, dpi=120)
    plt.close(figure)


def _draw_price(axes: Axes, run: Run) -> None:
    marks = [run.settlements[0].receipt.mark_before, *(row.receipt.mark_after for row in run.settlements)]
    axes.plot(range(len(marks)), [mark / WAD for mark in marks], color=MARK, marker="o", markersize=3)
    for step, row in enumerate(run.settlements, start=1):
        if row.closed:
            below, label = (0, -12), f"{len(row.closed)} closed"
            at = (step, row.receipt.mark_after / WAD)
            axes.annotate(label, at, below, textcoords="offset points", ha="center", fontsize=7)
    axes.set_ylabel("mark, quote per unit")
    axes.margins(y=0.15)
    axes.set_xlim(0.2, len(marks) - 0.2)
    axes.tick_params(labelbottom=False)


def _parts(rows: list[Settlement]) -> tuple[list[float], list[float], list[float]]:
    """What losers paid, insurance covered and winners went without, per settlement, quote."""
    paid = [(row.receipt.gross - row.receipt.deficit) / WAD for row in rows]
    covered = [row.receipt.covered / WAD for row in rows]
    socialized = [row.receipt.socialized / WAD for row in rows]
    return paid, covered, socialized


def _draw_moves(axes: Axes, run: Run) -> None:
    paid, covered, socialized = _parts(run.settlements)
    steps = range(1, len(paid) + 1)
    axes.bar(steps, paid, color=PAID, label="paid by losers")
    axes.bar(steps, covered, bottom=paid, color=COVERED, label="covered by insurance")
    base = [a + b for a, b in zip(paid, covered, strict=True)]
    axes.bar(steps, socialized, bottom=base, color=SOCIALIZED, label="socialized: winners' haircut")
    for step, row in zip(steps, run.settlements, strict=True):
        if row.receipt.haircut:
            top = (step, row.receipt.gross / WAD)
            axes.annotate(ratio(row.receipt.haircut), top, (0, 2), textcoords="offset points", ha="center", fontsize=7)
    axes.set_xlabel("settlement")
    axes.set_ylabel("gross loss, quote")
    axes.set_ylim(0, 1.1 * max(row.receipt.gross for row in run.settlements) / WAD + 1e-12)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlim(0.2, len(paid) + 0.8)
    axes.legend(frameon=False, fontsize=8)


def _draw_total(axes: Axes, run: Run) -> None:
    """The waterfall of what losers could not pay: down from the deficit, over insurance, to what was socialized."""
    paid, covered, socialized = (sum(part) for part in _parts(run.settlements))
    deficit = covered + socialized
    steps = [
        ("deficit", 0.0, deficit, "#888888"),
        ("insurance", socialized, covered, COVERED),
        ("socialized", 0.0, socialized, SOCIALIZED),
    ]
    for at, (_, bottom, height, colour) in enumerate(steps):
        axes.bar(at, height, bottom=bottom, color=colour)
        top = (at, bottom + height)
        axes.annotate(f"{height:,.0f}", top, (0, 2), textcoords="offset points", ha="center", fontsize=8)
    axes.set_xticks(range(len(steps)), [name for name, *_ in steps], fontsize=8)
    axes.set_title(f"of {paid + deficit:,.0f} lost, losers could not pay", fontsize=10)
    axes.set_ylim(0, max(deficit, 1.0) * 1.08)
    axes.yaxis.tick_right()
