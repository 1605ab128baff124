"""Who does the work makes no difference to it, not even if a worker is killed over it."""

from __future__ import annotations

import os
import signal
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from prorata.stress import pools
from prorata.stress.config import Sweep
from prorata.stress.engine import bytecode, run_paths
from prorata.stress.path import RULES
from prorata.stress.pools import DaskPool, Job, LocalPool, Pool, PoolError, work
from prorata.stress.store import Chunk, Identity, table

ROOT = Path(__file__).parents[3]
CHUNKS = [Chunk(first, 6) for first in range(0, 60, 6)]


@pytest.fixture(scope="module")
def jobs(small: Sweep) -> list[Job]:
    identity = Identity(small.digest, 5, 0.0, bytecode())
    return [Job(small, identity, chunk) for chunk in CHUNKS]


@pytest.fixture(scope="module")
def expected(small: Sweep) -> pa.Table:
    return table(run_paths(small, 5, 0, 60, audit=0))


class Collector:
    """Keeps what a pool hands on, and does something about the third chunk."""

    def __init__(self, at_third: Callable[[], None] = lambda: None) -> None:
        self.found: list[tuple[Chunk, pa.Table]] = []
        self._at_third = at_third

    def __call__(self, chunk: Chunk, found: pa.Table) -> None:
        self.found.append((chunk, found))
        if len(self.found) == 3:
            self._at_third()

    def table(self) -> pa.Table:
        """In order; a chunk that came twice would be there twice."""
        return pa.concat_tables(found for _, found in sorted(self.found, key=lambda one: one[0].first))


def run(pool: Pool, jobs: list[Job], at_third: Callable[[], None] = lambda: None) -> Collector:
    collector = Collector(at_third)
    pool.run(jobs, collector)
    return collector


@pytest.mark.parametrize("workers", [1, 2])
def test_processes_come_to_the_same(jobs: list[Job], expected: pa.Table, workers: int) -> None:
    assert run(LocalPool(workers), jobs).table().equals(expected)


class _Killers:
    """In a worker: dies over one chunk, as often as there are files left to say so."""

    def __init__(self, folder: Path, victim: Chunk) -> None:
        self._folder, self._victim = folder, victim

    def __call__(self, job: Job) -> pa.Table:
        if job.chunk == self._victim:
            for file in self._folder.iterdir():
                file.unlink()
                os.kill(os.getpid(), signal.SIGKILL)
        return work(job)


def test_a_killed_process_costs_nothing(
    jobs: list[Job], expected: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for time in range(3):
        (tmp_path / str(time)).touch()
    monkeypatch.setattr(pools, "work", _Killers(tmp_path, CHUNKS[4]))
    assert run(LocalPool(2), jobs).table().equals(expected)
    assert not list(tmp_path.iterdir())


def test_memory_stays_flat(jobs: list[Job]) -> None:
    """What is handed on is let go, and no more is waiting than a few chunks a worker."""
    alive: list[weakref.ref[pa.Table]] = []
    most = 0

    def done(chunk: Chunk, found: pa.Table) -> None:
        nonlocal most
        alive.append(weakref.ref(found))
        most = max(most, sum(one() is not None for one in alive))

    LocalPool(1).run(jobs, done)
    assert len(alive) == len(jobs) > 4
    assert most <= 2


def test_processes_that_always_die_are_given_up(
    jobs: list[Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for time in range(9):
        (tmp_path / str(time)).touch()
    monkeypatch.setattr(pools, "work", _Killers(tmp_path, CHUNKS[4]))
    with pytest.raises(PoolError, match="died 5 times in a row"):
        LocalPool(1).run(jobs[4:5], Collector())


def test_an_interruption_keeps_what_has_begun(jobs: list[Job]) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    collector = Collector(interrupt)
    with pytest.raises(KeyboardInterrupt):
        LocalPool(2).run(jobs, collector)
    kept = [chunk for chunk, _ in collector.found]
    assert 3 <= len(kept) < len(jobs)
    assert len(set(kept)) == len(kept)


def test_a_worker_of_another_version_refuses(jobs: list[Job]) -> None:
    other = replace(jobs[0], identity=replace(jobs[0].identity, bytecode="another"))
    with pytest.raises(PoolError, match="other contracts"):
        work(other)
    with pytest.raises(PoolError, match="or rules"):
        work(replace(jobs[0], identity=replace(jobs[0].identity, rules=RULES - 1)))
    with pytest.raises(PoolError, match="other contracts"):
        LocalPool(1).run([other], Collector())


@pytest.fixture(scope="module")
def cluster() -> Iterator[object]:
    """Two workers of a Dask cluster, each a process of its own that runs in the root of the repository."""
    import dask
    from distributed import LocalCluster

    with (
        dask.config.set({"distributed.nanny.pre-spawn-environ": {"PYTHONPATH": str(ROOT)}}),
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
        ) as running,
    ):
        yield running


def test_a_cluster_comes_to_the_same_with_a_worker_killed_over_it(
    jobs: list[Job], expected: pa.Table, cluster: object
) -> None:
    processes = [worker.pid for worker in cluster.workers.values()]  # type: ignore[attr-defined]

    def kill() -> None:
        os.kill(processes[0], signal.SIGKILL)

    collector = run(DaskPool(cluster.scheduler_address), jobs, kill)  # type: ignore[attr-defined]
    assert len(collector.found) == len(jobs)
    assert collector.table().equals(expected)


def test_a_cluster_s_worker_of_another_version_refuses(jobs: list[Job], cluster: object) -> None:
    other = replace(jobs[0], identity=replace(jobs[0].identity, bytecode="another"))
    with pytest.raises(PoolError, match="other contracts"):
        DaskPool(cluster.scheduler_address).run([other], Collector())  # type: ignore[attr-defined]


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nonsense://x"])
def test_no_scheduler_there(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "_CONNECT_SECONDS", 0.2)
    with pytest.raises(PoolError, match="no Dask scheduler at") as error:
        DaskPool(address)
    assert "\n" not in str(error.value)
