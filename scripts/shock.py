"""Deploy a market, fill it with traders, drive it along a price path, settle every move and account for every loss."""

import sys
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from prorata import report, scenarios
from prorata.ape_chain import ApeChain
from prorata.cli import BadInput, Command, DecimalRange, exclusive
from prorata.parameters import MarketParameters
from prorata.scenarios import PathError, PricePath
from prorata.simulation import KEEPERS, LATE_POINTS, MAX_SETTLEMENTS, Run, Setup, max_leverage, simulate
from prorata.units import to_wad

#: Test account 0 deploys and insures; the others trade, and the last may have to be the keeper.
MAX_TRADERS = 63
#: With --funding: the most that one settlement may take, of the mark.
MAX_FUNDING = Decimal("0.0025")
_SMALLEST = Decimal("1e-18")
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


def _parameters(
    step: Decimal | None,
    interval: int | None,
    funding: bool,
    cooloff: int | None,
    oi_multiple: Decimal | None,
    margin_slope: Decimal | None,
) -> MarketParameters:
    """The default market with the defences that the options turn on."""
    wanted: dict[str, Any] = {"step_interval": interval, "cooloff": cooloff}
    ratios = {
        "max_price_step": ("--step", step),
        "max_funding": ("--funding", MAX_FUNDING if funding else None),
        "oi_multiple": ("--oi-multiple", oi_multiple),
        "margin_slope": ("--margin-slope", margin_slope),
    }
    for name, (option, ratio) in ratios.items():
        try:
            wanted[name] = None if ratio is None else to_wad(ratio)
        except ValueError:
            raise BadInput(f"{option}: {ratio} has more than 18 digits after the point") from None
    return replace(MarketParameters(), **{name: value for name, value in wanted.items() if value is not None})


def _check(setup: Setup) -> None:
    """What no single option can know about itself.

    Raises:
        BadInput: the options do not go together.
    """
    if KEEPERS[setup.keepers] is not None and setup.traders >= MAX_TRADERS:
        raise BadInput(f"--keepers {setup.keepers} needs an account of its own: at most {MAX_TRADERS - 1} traders")
    if setup.parameters.oi_multiple and not setup.insurance:
        raise BadInput("--oi-multiple without --insurance: nobody could open a position")
    last = len(setup.path.points) - 1
    if setup.oracle_dies_at is not None and setup.oracle_dies_at > last:
        raise BadInput(f"--oracle-dies-at {setup.oracle_dies_at}: the path has {last} prices after the first")


def _described(setup: Setup) -> str:
    """The line at the head of the output: what the run is made of, and the defences that are on."""
    parts = [
        f"seed {setup.seed}",
        f"{setup.traders} traders",
        f"leverage up to {setup.leverage}",
        f"insurance {setup.insurance:,}",
    ]
    defaults = MarketParameters()
    for name in ("max_price_step", "step_interval", "max_funding", "cooloff", "oi_multiple", "margin_slope"):
        value = getattr(setup.parameters, name)
        if value != getattr(defaults, name):
            shown = value if name in ("step_interval", "cooloff") else f"{Decimal(value).scaleb(-18).normalize():f}"
            parts.append(f"{name} {shown}")
    if setup.keepers != "none":
        parts.append(f"keepers {setup.keepers}")
    if setup.oracle_dies_at is not None:
        parts.append(f"oracle dies at {setup.oracle_dies_at}")
    return ", ".join(parts)


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
    "--step",
    type=DecimalRange("FRACTION", _SMALLEST, Decimal("0.5")),
    help="max_price_step: one settlement moves the mark by at most this part of it. [default: 0.5]",
)
@click.option(
    "--interval",
    type=click.IntRange(0, 86_400),
    metavar="SECONDS",
    help="step_interval: from a limited settlement to the next, in the path's time. The mark lags the index until it "
    f"has caught up or the next price comes; {MAX_SETTLEMENTS} settlements a price at most. [default: 0, at once]",
)
@click.option(
    "--keepers",
    type=click.Choice(tuple(KEEPERS)),
    default="none",
    show_default=True,
    help="prompt: after every settlement a keeper liquidates whoever is below maintenance (at mark and index, if the "
    f"mark lags). late: only whom it first saw so {LATE_POINTS} prices earlier and at every settlement since. It has "
    "half as much collateral as all traders, and keeps what it takes over.",
)
@click.option(
    "--funding",
    is_flag=True,
    help="max_funding 0.25 %. Traders then open at the mark and both fees, a premium of 0.1 % that longs pay shorts as "
    "it decays, in about eight hours.",
)
@click.option(
    "--cooloff",
    type=click.IntRange(0, 2**32),
    metavar="SECONDS",
    help="Reduce-only for so long after a haircut of a basis point. [default: 0, off]",
)
@click.option(
    "--oi-multiple",
    type=DecimalRange("X", 0, 10**9),
    help="Open interest at most X times the insurance; what does not fit is not opened. [default: 0, no cap]",
)
@click.option(
    "--margin-slope",
    type=DecimalRange("X", 0, 1),
    help="Initial margin grows by X times open interest over insurance; who cannot meet it opens less. [default: 0]",
)
@click.option(
    "--oracle-dies-at",
    type=click.IntRange(1),
    metavar="POINT",
    help="The oracle's last answer is this price of the path (the first is 0). The market is closed after the grace "
    "period, and everybody withdraws.",
)
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
    keepers: str,
    oracle_dies_at: int | None,
    out: Path | None,
    **defences: Any,
) -> None:
    """Settle a price shock end to end. Exit code 1 if a guarantee (S1 to S3; also S8, no deficit, if --step is at most
    the close-out margin of 0.01) does not hold, 2 for bad input."""
    prices = _path(scenario, path, drop, rise)
    setup = Setup(prices, traders, leverage, insurance, seed, _parameters(**defences), keepers, oracle_dies_at)
    _check(setup)
    console = Console(width=None if sys.stdout.isatty() else 150)
    console.print(_described(setup), highlight=False)
    run = _run(setup, console)
    report.show(run, console)
    if out is not None:
        for written in report.write(run, out):
            console.print(f"wrote {written}", highlight=False)
    if not run.holds:
        sys.exit(1)
