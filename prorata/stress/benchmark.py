"""`make bench`: how fast paths run, side by side on this machine, and that all of it comes to the same.

The same path of the default configuration goes through pyrevm, titanoboa, and Ape on Anvil; gas of every transaction is
compared between titanoboa (metered) and Anvil. Deployments are left out on every side. Rates are of one process by the
clock, so nothing else should run meanwhile; seconds of this process's own processor stand beside them.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path as Folder
from typing import cast

import ape
import click
from rich.console import Console
from rich.table import Table

from prorata.ape_chain import ApeChain
from prorata.boa_chain import BoaChain
from prorata.chain import Chain
from prorata.metered_chain import MeteredChain
from prorata.stress.config import Sweep
from prorata.stress.engine import audited, bytecode, replayed, run_paths
from prorata.stress.markets import ChainMarket, FastMarket, opened
from prorata.stress.node import NETWORK
from prorata.stress.path import Path, Result, unlike
from prorata.stress.pools import Job, LocalPool
from prorata.stress.scan import scan
from prorata.stress.store import Chunk, Identity, Store, chunks, table


@dataclass(frozen=True)
class Rate:
    """Paths, and the seconds that they took: by the clock, and of this process's processor."""

    paths: int
    clock: float
    processor: float

    @property
    def speed(self) -> float:
        """Paths a second."""
        return self.paths / self.clock


def _timed(paths: int, work: Callable[[], object]) -> Rate:
    clock, processor = time.perf_counter(), time.process_time()
    work()
    return Rate(paths, time.perf_counter() - clock, time.process_time() - processor)


class Bench:
    """One path, `number`, everywhere; and many of them where that is fast."""

    def __init__(self, seed: int, number: int, many: int, console: Console) -> None:
        self._sweep, self._seed, self._number, self._many, self._console = Sweep(), seed, number, many, console
        (self._expected,) = run_paths(self._sweep, seed, number, 1, audit=0)
        self.rates: dict[str, Rate] = {}

    def fast(self) -> None:
        """pyrevm: the one path again and again, and a sweep's worth, which shares openings."""
        drawn, step_cap, insurance = replayed(self._sweep, self._seed, self._number)
        market = FastMarket(self._sweep, drawn.mark, step_cap)

        def once() -> Result:
            with market.anchor():
                opened(market, self._sweep, drawn)
                return Path(market, self._sweep, drawn, step_cap, insurance, self._number).run()

        self._check(once())
        repeats = max(self._many // 20, 1)
        self.rates["pyrevm, this path"] = _timed(repeats, lambda: [once() for _ in range(repeats)])
        run_paths(self._sweep, self._seed, 0, len(self._sweep.cells), audit=0)  # deploys
        self.rates["pyrevm, a sweep's paths"] = _timed(
            self._many, lambda: run_paths(self._sweep, self._seed, 0, self._many, audit=0)
        )

    def numpy(self) -> None:
        """The scan of the paths that a sweep has, and more."""
        count = 20 * self._many
        scan(self._sweep, self._seed, 0, 100)
        self.rates["numpy, a sweep's paths"] = _timed(count, lambda: scan(self._sweep, self._seed, 0, count))

    def model(self) -> None:
        """Contracts and exact model in lockstep, as an audit does it."""
        self.rates["contracts and exact model"] = _timed(1, lambda: audited(self._sweep, self._seed, self._expected))

    def titanoboa(self) -> None:
        """The path in titanoboa."""
        self._on_chain("titanoboa, this path", ChainMarket(cast(Chain, BoaChain()), *self._place()))

    def anvil(self) -> None:
        """The path through Ape on Anvil, and its gas, transaction by transaction, beside that of the metered EVM."""
        with ape.networks.parse_network_choice(NETWORK):
            market = ChainMarket(ApeChain(), *self._place())
            self._on_chain("Ape on Anvil, this path", market)
        metered = ChainMarket(cast(Chain, MeteredChain()), *self._place())
        self._run(metered)
        if metered.spent != market.spent:
            raise click.ClickException("gas differs between Anvil and the metered EVM")
        gas = sum(one.gas for one in market.spent)
        self._console.print(f"gas of {len(market.spent)} transactions, {gas:,} in all, is the same to the unit")

    def processes(self) -> None:
        """One and two processes."""
        identity = Identity(self._sweep.digest, self._seed, 0.0, bytecode())
        for workers in (1, 2):
            jobs = [Job(self._sweep, identity, Chunk(first, 120)) for first in range(0, 120 * (self._many // 120), 120)]
            count = sum(job.chunk.count for job in jobs)
            run = partial(LocalPool(workers).run, jobs, lambda _chunk, _table: None)
            self.rates["1 process" if workers == 1 else f"{workers} processes"] = _timed(count, run)

    def resuming(self, paths: int = 100_000) -> None:
        """Finding out what is missing of a large sweep that lacks one chunk."""
        identity = Identity(self._sweep.digest, self._seed, 0.0, bytecode())
        with tempfile.TemporaryDirectory() as folder:
            store = Store(Folder(folder), self._sweep, identity, resume=False)
            for chunk in chunks(paths)[:-1]:
                store.add(chunk, table(replace(self._expected, path=chunk.first + i) for i in range(chunk.count)))
            begun = time.perf_counter()
            missing = Store(Folder(folder), self._sweep, identity, resume=True).missing(paths)
            seconds = time.perf_counter() - begun
        if len(missing) != 1:
            raise click.ClickException(f"{len(missing)} chunks are missing instead of one")
        work = paths / self.rates["pyrevm, a sweep's paths"].speed
        self._console.print(
            f"resuming {paths:,} paths: {seconds * 1000:.0f} ms to find the missing, {seconds / work:.4%} of their work"
        )

    def show(self) -> None:
        """Everything, and the ratios that matter."""
        shown = Table()
        for name in ("what", "paths", "seconds", "of this processor", "paths/s"):
            shown.add_column(name, justify="left" if name == "what" else "right")
        for name, rate in self.rates.items():
            shown.add_row(name, f"{rate.paths:,}", f"{rate.clock:.2f}", f"{rate.processor:.2f}", f"{rate.speed:,.2f}")
        self._console.print(shown)
        for one, other in (
            ("pyrevm, this path", "titanoboa, this path"),
            ("pyrevm, this path", "Ape on Anvil, this path"),
            ("numpy, a sweep's paths", "pyrevm, a sweep's paths"),
            ("2 processes", "1 process"),
        ):
            if one in self.rates and other in self.rates:
                ratio = self.rates[one].speed / self.rates[other].speed
                self._console.print(f"{one} / {other}: {ratio:,.2f}")

    def _place(self) -> tuple[Sweep, int, float]:
        drawn, step_cap, _ = replayed(self._sweep, self._seed, self._number)
        return self._sweep, drawn.mark, step_cap

    def _on_chain(self, name: str, market: ChainMarket) -> None:
        results: list[Result] = []
        self.rates[name] = _timed(1, lambda: results.append(self._run(market)))
        self._check(results[0])

    def _run(self, market: ChainMarket) -> Result:
        drawn, step_cap, insurance = replayed(self._sweep, self._seed, self._number)
        opened(market, self._sweep, drawn)
        return Path(market, self._sweep, drawn, step_cap, insurance, self._number).run()

    def _check(self, found: Result) -> None:
        """The same result, to a billionth where views round.

        Raises:
            click.ClickException: it is another one.
        """
        for difference in unlike(found, self._expected):
            raise click.ClickException(difference)


@click.command()
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True)
@click.option("--path", "number", type=click.IntRange(0), default=19, show_default=True, help="That runs everywhere.")
@click.option("--many", type=click.IntRange(240), default=1_200, show_default=True, help="Paths of a sweep.")
@click.option("--node/--no-node", default=True, help="Whether to run the path through Ape on Anvil, too.")
def main(seed: int, number: int, many: int, node: bool) -> None:
    """Measure; exit code 1 if anything comes to something else than the contracts in pyrevm."""
    console = Console(width=120, highlight=False)
    console.print(f"seed {seed}, path {number}")
    bench = Bench(seed, number, many, console)
    for part in (bench.fast, bench.numpy, bench.model, bench.titanoboa, bench.processes, bench.resuming):
        part()
    if node:
        bench.anvil()
    bench.show()


if __name__ == "__main__":
    main()
