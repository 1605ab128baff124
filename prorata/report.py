"""What a run found, for people (a table, a statement, a picture) and for programs (report.json)."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import groupby
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

from prorata.receipts import Receipt
from prorata.simulation import GAP_SAFE, Liquidation, Run, Settlement, Trader, loser_name, side_name
from prorata.units import LONG, WAD

#: Colours of who pays: losers, insurance, winners. Distinguishable without colour vision.
PAID, COVERED, SOCIALIZED, MARK = "#4c78a8", "#f2a93b", "#b0305c", "#222222"
#: What deleveraged winners miss is theirs to bear too, but no part of a gross loss; and where the mark was going.
SHORTFALL, INDEX = "#d9a0b6", "#8a8a8a"
#: Parameters that are not 18-digit amounts.
_COUNTS = ("max_staleness", "max_buckets", "max_words", "step_interval", "cooloff", "oracle_grace")


def money(amount: int) -> str:
    """Quote with 18 digits as dollars and cents, rounded to nearest."""
    return f"{amount / WAD:,.2f}"


def price(amount: int) -> str:
    """A price with six significant digits."""
    return f"{amount / WAD:,.6g}" if amount < 1000 * WAD else money(amount)


def ratio(amount: int) -> str:
    """An 18-digit ratio in per cent; "-" for none at all."""
    return f"{100 * amount / WAD:.2f} %" if amount else "-"


# -------------------------------------------------------------------------------------------------------------- rows


@dataclass(frozen=True)
class Row:
    """What followed one price of the path, as a line of the table: all its settlements added up.

    Attributes:
        moves: its settlements, in order; at least one.
    """

    moves: tuple[Settlement, ...]

    def total(self, name: str) -> int:
        """Sum of an amount of the price moves' receipts, quote, 18 digits."""
        return sum(getattr(move.receipt, name) for move in self.moves if not move.receipt.funding)

    @property
    def last(self) -> Receipt:
        """The last receipt."""
        return self.moves[-1].receipt

    @property
    def mode(self) -> str:
        """Of the market in the end."""
        return self.moves[-1].mode

    @property
    def losers(self) -> str:
        """Of the price moves; "-" if there were none."""
        return next((loser_name(move.receipt) for move in self.moves if not move.receipt.funding), "-")

    @property
    def lags(self) -> bool:
        """Whether the mark was short of the index in the end."""
        return self.last.mark_after != self.last.index_price

    @property
    def price_moves(self) -> int:
        """How many settlements moved the mark."""
        return sum(not move.receipt.funding for move in self.moves)

    @property
    def funding(self) -> int:
        """Quote that longs paid shorts; negative: shorts paid longs."""
        return sum(funding_paid(move.receipt) for move in self.moves)

    @property
    def haircut(self) -> int:
        """Socialized loss over gross, 18 digits, rounded up."""
        gross = self.total("gross")
        return -(-self.total("socialized") * WAD // gross) if gross else 0

    @property
    def gas(self) -> int:
        """Of the calls of `settle`."""
        return sum(move.gas for move in self.moves)

    @property
    def closed(self) -> int:
        """How many accounts."""
        return sum(len(move.closed) for move in self.moves)


def rows(run: Run) -> list[Row]:
    """The settlements by the price that they followed; those of a closed market apart."""
    groups = groupby(run.settlements, key=lambda move: (move.point, move.mode == "closed"))
    return [Row(tuple(moves)) for _, moves in groups]


def funding_paid(receipt: Receipt) -> int:
    """Quote that longs paid shorts in a funding move (negative: shorts longs), 0 in a price move."""
    paid = receipt.gross - receipt.deficit if receipt.funding else 0
    return paid if receipt.loser == LONG else -paid


def totals(run: Run) -> dict[str, int]:
    """Sums over all settlements of the path, quote, 18 digits; `funding_paid` by whichever side."""
    receipts = [move.receipt for move in run.settlements]
    return {
        "socialized": sum(receipt.socialized for receipt in receipts),
        "adl_shortfall": sum(receipt.adl_shortfall for receipt in receipts),
        "bonus": sum(receipt.bonus for receipt in receipts),
        "insurance_drawn": sum(receipt.covered for receipt in receipts),
        "funding_paid": sum(abs(funding_paid(receipt)) for receipt in receipts),
    }


# ------------------------------------------------------------------------------------------------------------- people


@dataclass(frozen=True)
class Column:
    """One column of the table.

    Attributes:
        name: its head.
        cell: what stands in a row.
        always: shown even if no row has anything to say there.
    """

    name: str
    cell: Callable[[Row], str]
    always: bool = True


def _amount(name: str) -> Callable[[Row], str]:
    """A cell with the sum of an amount of the receipts; "-" for none."""
    return lambda row: money(row.total(name)) if row.total(name) else "-"


_COLUMNS = (
    Column("price", lambda row: price(row.last.mark_after)),
    Column("index", lambda row: price(row.last.index_price) if row.lags else "-", always=False),
    Column("moves", lambda row: str(row.price_moves) if row.price_moves > 1 else "-", always=False),
    Column("gross loss", lambda row: money(row.total("gross"))),
    Column("deficit", _amount("deficit")),
    Column("covered", _amount("covered")),
    Column("socialized", _amount("socialized")),
    Column("haircut", lambda row: ratio(row.haircut)),
    Column("bonus", _amount("bonus"), always=False),
    Column("ADL short", _amount("adl_shortfall"), always=False),
    Column("funding", lambda row: f"{row.funding / WAD:+,.2f}" if row.funding else "-", always=False),
    Column("closed", lambda row: str(row.closed or "-")),
    Column("open interest", lambda row: f"{row.last.open_interest / WAD:,.4g}"),
    Column("mode", lambda row: "-" if row.mode == "active" else row.mode, always=False),
    Column("gas", lambda row: f"{row.gas:,}" if row.gas else "-"),
)
#: What a market without deficits has nothing to say about.
_OF_DEFICITS = ("deficit", "covered", "socialized", "haircut")
#: With more columns than this, not counting the first two, the table is set closer.
_MANY = 12


def settlement_table(run: Run) -> Table:
    """One row a price of the path, with its settlements added up; columns that say nothing are left out."""
    found = rows(run)
    columns = _columns(run, found)
    close = len(columns) > _MANY
    table = Table(title=f"{run.setup.path.name} on {run.network}", title_justify="left", box=None, pad_edge=False)
    table.padding = (0, 1, 0, 0) if close else (0, 1)
    table.add_column("time (UTC)", no_wrap=True)
    table.add_column("lose", no_wrap=True)
    for column in columns:
        head = column.name.replace(" ", "\n") if close else column.name
        table.add_column(head, justify="right", no_wrap=True)
    for row in found:
        table.add_row(
            datetime.fromtimestamp(row.moves[0].time, UTC).strftime("%m-%d %H:%M"),
            row.losers,
            *(column.cell(row) for column in columns),
            style="bold red" if row.total("socialized") else "yellow" if row.total("deficit") else "",
        )
    table.caption = _legend({column.name for column in columns})
    table.caption_justify = "left"
    return table


def _columns(run: Run, found: list[Row]) -> list[Column]:
    """Those that are always there, and those in which some row says something."""

    def is_shown(column: Column) -> bool:
        always = column.always and not (column.name in _OF_DEFICITS and GAP_SAFE in run.guarantees)
        return always or any(column.cell(row) != "-" for row in found)

    return [column for column in _COLUMNS if is_shown(column)]


def _legend(names: set[str]) -> str | None:
    """What the columns mean that not every table has."""
    meanings = {
        "moves": "moves: settlements it took",
        "bonus": "bonus: paid to winners deleveraged at a lagging mark",
        "ADL short": "ADL short: what they still miss",
        "funding": "funding: + paid by longs, - by shorts",
    }
    return "; ".join(meaning for name, meaning in meanings.items() if name in names) or None


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
        *(Text(line) for line in _defences(run)),
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


def _defences(run: Run) -> list[str]:
    """One line about each of the defences that did something."""
    lines, sums = [], totals(run)
    if sums["adl_shortfall"]:
        borne = sums["adl_shortfall"] + sums["socialized"]
        lines.append(
            f"Winners bear: {money(borne)}, of it {money(sums['socialized'])} socialized deficit and "
            f"{money(sums['adl_shortfall'])} missed by deleverage at a lagging mark"
        )
    if sums["funding_paid"]:
        lines.append(f"Funding paid: {money(sums['funding_paid'])}")
    if run.keeper is not None:
        lines.append(f"Keeper: {_keeper(run, run.keeper)}")
    if run.wind_down is not None:
        open_accounts = f"; {run.wind_down.still_open} accounts still open" if run.wind_down.still_open else ""
        lines.append(
            f"Wound down: oracle dead after price {run.setup.oracle_dies_at}, settled at "
            f"{price(run.wind_down.price)}, {money(run.wind_down.withdrawn)} withdrawn{open_accounts}"
        )
    elif run.mode != "active":
        lines.append(f"Mode: {run.mode}")
    return lines


def _keeper(run: Run, keeper: Trader) -> str:
    taken = sum(one.size * one.price for one in run.liquidations) // WAD
    rewards = sum(one.reward for one in run.liquidations)
    holds = "closed by a settlement, " if keeper.closed else ""
    holds += f"holds {keeper.size / WAD:,.4g} {side_name(keeper)}" if keeper.size else "holds nothing"
    refused = f", {run.refused.total()} refused" if run.refused else ""
    return (
        f"#{keeper.number} made {len(run.liquidations)} liquidations of {money(taken)}{refused}; rewards "
        f"{money(rewards)}, gain {keeper.gain / WAD:+,.2f} on {money(keeper.deposited)}; {holds}"
    )


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
    """The whole run as JSON; amounts and ratios are 18-digit integers as strings, seconds, counts and gas numbers."""
    final = run.final
    return {
        "network": run.network,
        "scenario": run.setup.path.name,
        "seed": run.setup.seed,
        "traders": run.setup.traders,
        "leverage": str(run.setup.leverage),
        "insurance": str(run.setup.insurance * WAD),
        "keepers": run.setup.keepers,
        "oracle_dies_at": run.setup.oracle_dies_at,
        "parameters": {
            name: value if name in _COUNTS else str(value) for name, value in asdict(run.setup.parameters).items()
        },
        "settlements": [_settlement_json(row) for row in run.settlements],
        "liquidations": [_liquidation_json(one) for one in run.liquidations],
        "totals": {name: str(amount) for name, amount in totals(run).items()},
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
        "traders_final": [_trader_json(trader) for trader in run.traders],
        "keeper": _keeper_json(run, run.keeper) if run.keeper is not None else None,
        "wind_down": {
            "time": run.wind_down.time,
            "price": str(run.wind_down.price),
            "withdrawn": str(run.wind_down.withdrawn),
            "still_open": run.wind_down.still_open,
        }
        if run.wind_down is not None
        else None,
        "mode": run.mode,
        "guarantees": run.guarantees,
        "violation": run.violation,
    }


def _trader_json(trader: Trader) -> dict[str, Any]:
    return {
        "number": trader.number,
        "side": side_name(trader),
        "size": str(trader.size),
        "deposited": str(trader.deposited),
        "equity": str(trader.equity),
        "withdrawn": str(trader.withdrawn),
        "closed": trader.closed,
    }


def _keeper_json(run: Run, keeper: Trader) -> dict[str, Any]:
    """The keeper as a trader, and what its work came to; `side` and `size` are of the position it holds in the end."""
    return {
        **_trader_json(keeper),
        "side": side_name(keeper) if keeper.size else None,
        "profit": str(keeper.gain),
        "liquidations": len(run.liquidations),
        "rewards": str(sum(one.reward for one in run.liquidations)),
        "refused": dict(run.refused),
    }


def _liquidation_json(one: Liquidation) -> dict[str, Any]:
    return {
        "point": one.point,
        "time": one.time,
        "account": one.account,
        "size": str(one.size),
        "price": str(one.price),
        "fee": str(one.fee),
        "reward": str(one.reward),
        "gas": one.gas,
    }


def _settlement_json(row: Settlement) -> dict[str, Any]:
    receipt = row.receipt
    return {
        "point": row.point,
        "time": row.time,
        "loser": loser_name(receipt),
        "funding": receipt.funding,
        "price": str(receipt.mark_after),
        "index_price": str(receipt.index_price),
        "gross": str(receipt.gross),
        "deficit": str(receipt.deficit),
        "covered": str(receipt.covered),
        "socialized": str(receipt.socialized),
        "surplus": str(receipt.surplus),
        "bonus": str(receipt.bonus),
        "adl_shortfall": str(receipt.adl_shortfall),
        "haircut": str(receipt.haircut),
        "accounts_closed": len(row.closed),
        "open_interest": str(receipt.open_interest),
        "stopped": row.stopped,
        "limited": row.limited,
        "mode": row.mode,
        "gas": row.gas,
    }


def write(run: Run, directory: Path) -> list[Path]:
    """Write `report.json` and, if the mark moved, `waterfall.png`; the directory is made if needed."""
    directory.mkdir(parents=True, exist_ok=True)
    written = [directory / "report.json"]
    written[0].write_text(json.dumps(report_json(run), indent=2) + "\n")
    if run.price_moves:
        written.append(directory / "waterfall.png")
        draw(run, written[1])
    return written


# ------------------------------------------------------------------------------------------------------------ picture


def draw(run: Run, target: Path) -> None:
    """The waterfall: the price, who paid each price move, and who paid in total."""
    figure, axes = plt.subplot_mosaic(
        [["price", "total"], ["moves", "total"]], width_ratios=[2.4, 1], height_ratios=[1, 1.25], figsize=(12, 6.4)
    )
    figure.suptitle(run.setup.path.notes.get("title") or run.setup.path.name, x=0.01, ha="left", weight="bold")
    moves = run.price_moves
    _draw_price(axes["price"], moves)
    _draw_moves(axes["moves"], moves)
    _draw_total(axes["total"], moves)
    figure.tight_layout()
    figure.savefig(target, dpi=120)
    plt.close(figure)


def _draw_price(axes: Axes, moves: list[Settlement]) -> None:
    marks = [moves[0].receipt.mark_before, *(move.receipt.mark_after for move in moves)]
    if any(move.receipt.mark_after != move.receipt.index_price for move in moves):
        steps = range(1, len(marks))
        indices = [move.receipt.index_price / WAD for move in moves]
        axes.step(steps, indices, where="mid", color=INDEX, linestyle="--", linewidth=1, label="index")
    size = 3 if len(moves) <= 60 else 1.5
    axes.plot(range(len(marks)), [mark / WAD for mark in marks], color=MARK, marker="o", markersize=size, label="mark")
    for step, closed in _closings(moves):
        at = (step, marks[step] / WAD)
        axes.annotate(f"{closed} closed", at, (0, -12), textcoords="offset points", ha="center", fontsize=7)
    axes.set_ylabel("price, quote per unit" if len(axes.lines) > 1 else "mark, quote per unit")
    axes.margins(y=0.15)
    axes.set_xlim(0.2, len(marks) - 0.2)
    axes.tick_params(labelbottom=False)
    if len(axes.lines) > 1:
        axes.legend(frameon=False, fontsize=8)


def _closings(moves: list[Settlement]) -> list[tuple[int, int]]:
    """At which settlements (from 1) how many accounts were closed; those too near for labels of their own together."""
    found: list[tuple[int, int]] = []
    for step, move in enumerate(moves, start=1):
        if move.closed and found and step - found[-1][0] < len(moves) / 25:
            found[-1] = (found[-1][0], found[-1][1] + len(move.closed))
        elif move.closed:
            found.append((step, len(move.closed)))
    return found


@dataclass(frozen=True)
class _Parts:
    """Who bore what, per settlement, quote: the first three add up to the gross loss, the last is beyond it."""

    paid: list[float]
    covered: list[float]
    socialized: list[float]
    missed: list[float]

    @classmethod
    def of(cls, moves: list[Settlement]) -> _Parts:
        receipts = [move.receipt for move in moves]
        return cls(
            paid=[(receipt.gross - receipt.deficit) / WAD for receipt in receipts],
            covered=[receipt.covered / WAD for receipt in receipts],
            socialized=[receipt.socialized / WAD for receipt in receipts],
            missed=[receipt.adl_shortfall / WAD for receipt in receipts],
        )


def _draw_moves(axes: Axes, moves: list[Settlement]) -> None:
    parts = _Parts.of(moves)
    steps = range(1, len(moves) + 1)
    layers = [
        (parts.paid, PAID, "paid by losers"),
        (parts.covered, COVERED, "covered by insurance"),
        (parts.socialized, SOCIALIZED, "socialized: winners' haircut"),
    ]
    if any(parts.missed):
        layers.append((parts.missed, SHORTFALL, "ADL shortfall: gain that deleveraged winners miss"))
    base = [0.0] * len(moves)
    for heights, colour, label in layers:
        axes.bar(steps, heights, bottom=base, color=colour, label=label)
        base = [a + b for a, b in zip(base, heights, strict=True)]
    for step, move, top in zip(steps, moves, base, strict=True):
        if move.receipt.haircut:
            label = ratio(move.receipt.haircut)
            axes.annotate(label, (step, top), (0, 2), textcoords="offset points", ha="center", fontsize=7)
    axes.set_xlabel("settlement")
    axes.set_ylabel("gross loss, quote")
    axes.set_ylim(0, 1.1 * max(base) + 1e-12)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlim(0.2, len(moves) + 0.8)
    axes.legend(frameon=False, fontsize=8)


def _draw_total(axes: Axes, moves: list[Settlement]) -> None:
    """The waterfall of what losers could not pay: down from the deficit, over insurance, to what winners bear."""
    parts = _Parts.of(moves)
    paid, covered, socialized, missed = (
        sum(part) for part in (parts.paid, parts.covered, parts.socialized, parts.missed)
    )
    deficit = covered + socialized
    steps = [
        ("deficit", 0.0, deficit, "#888888"),
        ("insurance", socialized, covered, COVERED),
        ("socialized", 0.0, socialized, SOCIALIZED),
    ]
    if missed:
        # Beside the haircut, what deleverage at a lagging mark cost: both together are what winners bear.
        steps.append(("ADL\nshortfall", socialized, missed, SHORTFALL))
        steps.append(("winners\nbear", 0.0, socialized + missed, "#7a1f3d"))
    for at, (_, bottom, height, colour) in enumerate(steps):
        axes.bar(at, height, bottom=bottom, color=colour)
        top = (at, bottom + height)
        axes.annotate(f"{height:,.0f}", top, (0, 2), textcoords="offset points", ha="center", fontsize=8)
    axes.set_xticks(range(len(steps)), [name for name, *_ in steps], fontsize=8 if len(steps) == 3 else 7)
    beside = "; beside it,\nwinners miss gain: ADL at a lagging mark" if missed else ""
    axes.set_title(f"of {paid + deficit:,.0f} lost, losers could not pay{beside}", fontsize=10)
    axes.set_ylim(0, max(deficit, socialized + missed, 1.0) * 1.08)
    axes.yaxis.tick_right()
