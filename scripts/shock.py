"""Deploy a market, fill it with traders, drive it along a price path, settle every move and account for every loss."""

import sys
from decimal import Decimal
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from prorata import report, scenarios
from prorata.ape_chain import ApeChain
from prorata.cli import BadInput, Command, DecimalRange, exclusive
from prorata.parameters import MarketParameters
from prorata.scenarios import PathError, PricePath
from prorata.simulation import Run, Setup, max_leverage, simulate

#: Test account 0 deploys and insures; the others trade.
MAX_TRADERS = 63
DEFAULT_SCENARIO = "black-thursday-2020"


def _path(scenario: str | None, path: Path | None, drop: Decimal | None, rise: Decimal | None) -> PricePath:
    """The one price path the options ask for."""
    exclusive(scenario=scenario, path=path, drop=drop, rise=rise)
    try:
        if path is not None:
            return scenarios.load_csv(path)
        if drop is not None:
            return scenarios.shock("drop", drop)
        if rise is not None:
            return scenarios.shock("rise", rise)
        return scenarios.load_named(scenario or DEFAULT_SCENARIO)
    except PathError as error:
        raise BadInput(str(error)) from None


def _run(setup: Setup, console: Console) -> Run:
    with Progress(
        TextColumn("{task.description:10}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console
    ) as progress:
        tasks = {
            what: progress.add_task(what, total=None, visible=False) for what in ("funding", "trading", "settling")
        }

        def advance(what: str, done: int, of: int) -> None:
            progress.update(tasks[what], completed=done, total=of, visible=True)

        return simulate(ApeChain(), setup, advance)


@click.command(cls=Command)
@click.option("--scenario", metavar="NAME", help=f"A published event: {', '.join(scenarios.named())}.")
@click.option("--path", type=click.Path(path_type=Path), help="A CSV file with columns timestamp,price.")
@click.option("--drop", type=DecimalRange("FRACTION", 0, 1), help="One fall by this fraction, e.g. 0.4.")
@click.option("--rise", type=DecimalRange("FRACTION", 0, 100), help="One rise by this fraction, e.g. 0.6.")
@click.option("--traders", type=click.IntRange(2, MAX_TRADERS), default=20, show_default=True)
@click.option(
    "--leverage",
    type=DecimalRange("LEVERAGE", 1, max_leverage(MarketParameters())),
    default="10",
    show_default=True,
    help="The highest; traders draw theirs between 1 and this.",
)
@click.option(
    "--insurance",
    type=click.IntRange(0, 10**12),
    default=50_000,
    show_default=True,
    help="In the vault before the shock.",
)
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True)
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), help="Write report.json and waterfall.png here."
)
def cli(
    scenario: str | None,
    path: Path | None,
    drop: Decimal | None,
    rise: Decimal | None,
    traders: int,
    leverage: Decimal,
    insurance: int,
    seed: int,
    out: Path | None,
) -> None:
    """Settle a price shock end to end. Exit code 1 if a guarantee (S1 to S3) does not hold, 2 for bad input."""
    setup = Setup(_path(scenario, path, drop, rise), traders, leverage, insurance, seed)
    console = Console(width=None if sys.stdout.isatty() else 150)
    console.print(
        f"seed {seed}, {traders} traders, leverage up to {leverage}, insurance {insurance:,}", highlight=False
    )
    run = _run(setup, console)
    report.show(run, console)
    if out is not None:
        for written in report.write(run, out):
            console.print(f"wrote {written}", highlight=False)
    if not run.holds:
        sys.exit(1)
