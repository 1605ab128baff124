"""A sweep from its seed to its table: what is missing runs, what is there is left alone."""

from __future__ import annotations

import time
from dataclasses import dataclass

import pyarrow as pa
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from prorata.stress.config import Sweep
from prorata.stress.pools import Job, Pool
from prorata.stress.store import Chunk, Identity, Store

#: Seconds between two lines about progress where there is no terminal.
_QUIET_SECONDS = 60


@dataclass(frozen=True)
class Ran:
    """What a call of `complete` did: paths and seconds; nothing is known about earlier calls."""

    paths: int
    seconds: float

    @property
    def rate(self) -> float:
        """Paths a second."""
        return self.paths / self.seconds if self.seconds else 0.0


def complete(store: Store, sweep: Sweep, identity: Identity, paths: int, pool: Pool, console: Console) -> Ran:
    """Run what is missing of a sweep.

    May be interrupted at any time; finished chunks are kept.

    Raises:
        PoolError: the workers cannot do it.
    """
    missing = store.missing(paths)
    left = sum(chunk.count for chunk in missing)
    if not missing:
        return Ran(0, 0.0)
    columns = (
        TextColumn("paths"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[rate]}"),
    )
    # Drawn when a chunk is done, not by a thread: worker processes are forked.
    with Progress(*columns, console=console, auto_refresh=False, disable=not console.is_terminal) as progress:
        bar = progress.add_task("", total=paths, completed=paths - left, rate="")
        begun = shown = time.monotonic()
        ran = 0

        def done(chunk: Chunk, found: pa.Table) -> None:
            nonlocal ran, shown
            store.add(chunk, found)
            ran += chunk.count
            now = time.monotonic()
            rate = f"{ran / (now - begun):,.1f} paths/s"
            progress.update(bar, advance=chunk.count, rate=rate, refresh=True)
            if not console.is_terminal and now - shown > _QUIET_SECONDS:
                console.print(f"{paths - left + ran:,} of {paths:,} paths, {rate}")
                shown = now

        pool.run([Job(sweep, identity, chunk) for chunk in missing], done)
        return Ran(ran, time.monotonic() - begun)
