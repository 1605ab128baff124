"""Stress at scale: thousands of markets on the compiled contracts, and what insurance, haircuts and keepers come to."""

import os
import shlex
import signal
import sys
from dataclasses import asdict
from pathlib import Path

import click
from rich.console import Console

from prorata.cli import BadInput, Part, PlainCommand
from prorata.stress import figures, node, page, picture, summary
from prorata.stress.config import MAX_PATHS, ConfigError, Sweep
from prorata.stress.engine import bytecode, run_paths
from prorata.stress.hunt import hunt
from prorata.stress.pools import DaskPool, LocalPool, Pool, PoolError
from prorata.stress.store import Identity, Store, StoreError
from prorata.stress.sweep import complete

#: What numpy looks through in some seconds.
_SCANNED = 20_000


def _pool(workers: int, scheduler: str | None) -> Pool:
    return LocalPool(workers) if scheduler is None else DaskPool(scheduler)


@click.command(cls=PlainCommand)
@click.option("--paths", type=click.IntRange(1, MAX_PATHS), default=3_000, show_default=True)
@click.option(
    "--workers", type=click.IntRange(1, 1024), default=os.cpu_count(), show_default="cores", help="Local processes."
)
@click.option("--seed", type=click.IntRange(0, 2**63), default=1, show_default=True)
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    metavar="FILE.yaml",
    help="Prices, crowd, keepers, liquidity and grid; docs/stress.yaml has them all, with what they mean.",
)
@click.option("--scheduler", metavar="tcp://HOST:PORT", help="Of a Dask cluster, to run there instead of here.")
@click.option(
    "--audit",
    type=Part(),
    default=0.005,
    show_default=True,
    help="Part of the paths that the exact-rational model runs along with, every balance compared.",
)
@click.option(
    "--scan",
    "scanned",
    type=click.IntRange(0, MAX_PATHS),
    default=_SCANNED,
    show_default=True,
    help="Further paths that numpy looks through for bad ones; the contracts replay the worst.",
)
@click.option("--replays", type=click.IntRange(1, 1000), default=10, show_default=True, help="How many of them.")
@click.option(
    "--on-anvil",
    type=click.IntRange(0, 10_000),
    metavar="N",
    default=0,
    show_default=True,
    help="So many of the paths, chosen by the seed, run again through Ape on Anvil; outcomes and gas are compared.",
)
@click.option("--only", type=click.IntRange(0), metavar="PATH", help="Run this one path, audited, and say what it did.")
@click.option("--resume", is_flag=True, help="Go on with the sweep in --out, or make it longer.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="For every path, figures and page.")
def cli(
    paths: int,
    workers: int,
    seed: int,
    config: Path | None,
    scheduler: str | None,
    audit: float,
    scanned: int,
    replays: int,
    on_anvil: int,
    only: int | None,
    resume: bool,
    out: Path | None,
) -> None:
    """Run a Monte Carlo of stressed markets on the compiled contracts; write every path and what they come to together.

    Exit code 1 if a guarantee did not hold on some path, or the model or Anvil disagreed, 2 for bad input, 130 if
    interrupted: --resume then goes on where it was."""
    console = Console(width=None if sys.stdout.isatty() else 150, highlight=False)
    # Ape would exit at once, without a word.
    for asked_to_stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(asked_to_stop, signal.default_int_handler)
    try:
        sweep = Sweep.load(config) if config is not None else Sweep()
        if only is not None:
            sys.exit(_one(sweep, seed, only, console))
        if out is None:
            raise BadInput("--out is missing: where the results are to go")
        if on_anvil > paths:
            raise BadInput(f"--on-anvil {on_anvil}: there are only {paths} paths")
        identity = Identity(sweep.digest, seed, audit, bytecode())
        pool = _pool(workers, scheduler)
        store = Store(out, sweep, identity, resume)
        console.print(
            f"seed {seed}, {paths:,} paths in {len(sweep.cells)} cells, {len(store.missing(paths))} chunks to run"
        )
        ran = complete(store, sweep, identity, paths, pool, console)
        if ran.paths:
            console.print(f"{ran.paths:,} paths in {ran.seconds:,.1f} s: {ran.rate:,.1f} a second")
        found = store.load()
        holds = summary.show(found, sweep, console)
        if scanned:
            console.print(f"scanning {scanned:,} further paths, replaying the {replays} worst with the exact model")
        bad = hunt(sweep, seed, paths, scanned, replays) if scanned else None
        if bad is not None:
            holds = summary.show_hunt(bad, console) and holds
        again = node.replay(sweep, seed, found, on_anvil, console) if on_anvil else None
        if again is not None:
            holds = summary.show_on_anvil(again, console) and holds
        collected = figures.collect(found, sweep, identity, bad, again)
        page_file = page.write(found, collected, sweep, _command(), out)
        for written in (*collected.write(out), picture.draw(collected, out), page_file):
            console.print(f"wrote {written}")
    except (ConfigError, StoreError, PoolError, node.NodeError) as error:
        raise BadInput(str(error)) from None
    except KeyboardInterrupt:
        console.print("interrupted; what was finished is kept, --resume goes on from there")
        sys.exit(130)
    if not holds:
        sys.exit(1)


def _one(sweep: Sweep, seed: int, number: int, console: Console) -> int:
    """A path on the contracts and the model; the exit code."""
    (found,) = run_paths(sweep, seed, number, 1, audit=1)
    for name, value in asdict(found).items():
        console.print(f"{name}: {value}")
    return 1 if found.violation else 0


def _command() -> str:
    """What was typed, but for what makes it go on instead of beginning."""
    arguments = sys.argv[sys.argv.index("sweep") + 1 :] if "sweep" in sys.argv else []
    return shlex.join(["ape", "run", "sweep", *(one for one in arguments if one != "--resume")])
