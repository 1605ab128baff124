"""Settle the same price shocks by this market's rule and by the other known ones, side by side."""

import sys
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from prorata.cli import BadInput, DecimalRange, PlainCommand
from prorata.rules import RULES, shocks, tables
from prorata.rules.comparison import Comparison, compare
from prorata.rules.population import MAX_LEVERAGE, Population

ALL = "all"
#: Every order of touches settles every shock by every rule again.
MAX_ORDERS = 1_000
MAX_TRADERS = 200
MAX_MARKETS = 10_000


def described(shock: str, population: Population, orders: int, markets: int) -> str:
    """The command line of a run, every option spelled out."""
    return (
        f"ape run compare --shock {shock} --traders {population.traders} --insurance {population.insurance} "
        f"--leverage {population.leverage} --seed {population.seed} --orders {orders} --markets {markets}"
    )


def _compare(name: str, population: Population, orders: int, markets: int, console: Console) -> Comparison:
    with Progress(
        TextColumn("{task.description:10}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    ) as progress:
        task = progress.add_task(name, total=len(RULES) + markets)

        def advance(done: int, of: int) -> None:
            progress.update(task, completed=done, total=of)

        return compare(shocks.load(name), population, orders, markets, advance)


def _run(
    names: Sequence[str],
    population: Population,
    orders: int,
    markets: int,
    command: str,
    out: Path | None,
    console: Console,
) -> None:
    """Compare, print and write one shock after the other; what is done is drawn even if the rest is broken off."""
    done: list[Comparison] = []
    written: list[Path] = []
    try:
        for name in names:
            done.append(_compare(name, population, orders, markets, console))
            tables.show(done[-1], console)
            written = tables.write(done, command, out) if out is not None else []
        console.print(tables.LEGEND, highlight=False)
    finally:
        if written and out is not None:
            written.append(out / "who-paid.png")
            tables.draw(done, written[-1])
        for path in written:
            console.print(f"wrote {path}", highlight=False)


@click.command(cls=PlainCommand)
@click.option("--shock", type=click.Choice((*shocks.NAMES, ALL)), default=ALL, show_default=True)
@click.option("--traders", type=click.IntRange(2, MAX_TRADERS), default=20, show_default=True)
@click.option(
    "--insurance",
    type=click.IntRange(0, 10**12),
    default=2_000,
    show_default=True,
    help="What may be drawn for what losers cannot pay.",
)
@click.option(
    "--leverage",
    type=DecimalRange("LEVERAGE", 1, MAX_LEVERAGE),
    default="15",
    show_default=True,
    help="The highest; traders draw theirs between 1 and this.",
)
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True)
@click.option(
    "--orders",
    type=click.IntRange(1, MAX_ORDERS),
    default=100,
    show_default=True,
    help="Random orders in which accounts are touched.",
)
@click.option(
    "--markets",
    type=click.IntRange(0, MAX_MARKETS),
    default=25,
    show_default=True,
    help="Also count over so many markets, from the seed on, where rules differ.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write compare.json and compare.md here, anew after every shock, and who-paid.png in the end.",
)
def cli(
    shock: str, traders: int, insurance: int, leverage: Decimal, seed: int, orders: int, markets: int, out: Path | None
) -> None:
    """Who pays for what losers cannot pay: the same accounts, prices and insurance under nine rules. Needs no chain.

    Exit code 2 for bad input."""
    population = Population(traders, leverage, Fraction(insurance), seed)
    console = Console(width=None if sys.stdout.isatty() else 150)
    names = shocks.NAMES if shock == ALL else (shock,)
    try:
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
        console.print(
            f"seed {seed}, {traders} traders, leverage up to {leverage}, insurance {insurance:,}, {orders} orders",
            highlight=False,
        )
        _run(names, population, orders, markets, described(shock, population, orders, markets), out, console)
    except OSError as error:
        raise BadInput(f"--out {out}: {error.strerror}") from None
