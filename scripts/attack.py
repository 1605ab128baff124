"""Every known attack on the compiled contracts, each at the parameters that pay the attacker most."""

import sys
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from prorata.ape_chain import ApeChain
from prorata.attacks import report
from prorata.attacks.catalogue import ATTACKS
from prorata.attacks.search import Costs, Result, result
from prorata.attacks.world import SETTINGS
from prorata.cli import BadInput, Command, DecimalRange


def _chosen(names: tuple[str, ...], everything: bool) -> list[str]:
    """The attacks to run.

    Raises:
        BadInput: a name that the catalogue does not have, or names and --all.
    """
    unknown = [name for name in names if name not in ATTACKS]
    if unknown:
        raise BadInput(f"no attack is called {', '.join(unknown)}; there are: {', '.join(ATTACKS)}")
    if names and everything:
        raise BadInput("names and --all exclude each other")
    return list(ATTACKS) if everything else list(dict.fromkeys(names))


def _show_catalogue(console: Console) -> None:
    """What there is to run."""
    shown = Table("attack", "what it is", "seen or described", box=None, pad_edge=False)
    for name, attack in ATTACKS.items():
        shown.add_row(name, attack.title, attack.source)
    console.print(shown)
    console.print(f"\n{len(ATTACKS)} attacks. Name some, or --all.", highlight=False)


@click.command(cls=Command)
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--all", "everything", is_flag=True, help="The whole catalogue.")
@click.option(
    "--setting",
    "settings",
    type=click.Choice(tuple(SETTINGS)),
    multiple=True,
    help="Only in these markets: open (steps of half the mark), guarded (every defence on), loose (steps of 5 %, a "
    "token of six digits). [default: all that an attack names]",
)
@click.option(
    "--strikes",
    type=click.IntRange(1, 100_000),
    default=120,
    show_default=True,
    help="How often each is tried, about, in search of the largest profit.",
)
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=1, show_default=True, help="Of the search.")
@click.option("--gas-price", type=DecimalRange("GWEI", 0, 10**6), default="1", show_default=True)
@click.option("--ether", type=DecimalRange("QUOTE", 0, 10**9), default="3000", show_default=True, help="Its price.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Write attacks.json and pages here.")
def cli(
    names: tuple[str, ...],
    everything: bool,
    settings: tuple[str, ...],
    strikes: int,
    seed: int,
    gas_price: str,
    ether: str,
    out: Path | None,
) -> None:
    """Attack markets and measure what it brings. The search for the best parameters runs in process; the best strike is
    repeated on the network, where gas is counted. Exit code 1 if a profit is above what the design promises, 2 for bad
    input. Without names: the catalogue."""
    console = Console(width=None if sys.stdout.isatty() else 200)
    chosen = _chosen(names, everything)
    if not chosen:
        _show_catalogue(console)
        return
    costs = Costs(float(gas_price), float(ether))
    tasks = [(name, one) for name in chosen for one in ATTACKS[name].settings if not settings or one in settings]
    if not tasks:
        raise BadInput(f"none of these is made for a market that is {' or '.join(settings)}")
    console.print(f"seed {seed}, about {strikes} strikes each", highlight=False)
    results = _run(tasks, strikes, seed, costs, console, out)
    console.print(report.table(results))
    above = [one for one in results if not one.within_bound]
    console.print(f"{len(results)} searches, {len(above)} profits above their bounds", highlight=False)
    if above:
        sys.exit(1)


def _run(
    tasks: list[tuple[str, str]], strikes: int, seed: int, costs: Costs, console: Console, out: Path | None
) -> list[Result]:
    """All of them, or those that were done when somebody interrupted; written as far as they go."""
    results: list[Result] = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    try:
        with Progress(*columns, console=console, transient=True) as progress:
            bar = progress.add_task("", total=len(tasks))
            for name, setting in tasks:
                progress.update(bar, description=f"{name}, {setting}")
                chain = ApeChain()
                with chain.anchor():
                    results.append(result(ATTACKS[name](), setting, strikes, seed, costs, chain))
                progress.advance(bar)
    except KeyboardInterrupt:
        console.print(f"interrupted after {len(results)} of {len(tasks)}", style="yellow")
    if out is not None and results:
        written = report.write(results, costs, seed, out)
        console.print(f"wrote {written[0]} and {len(written) - 1} pages", highlight=False)
    return results
