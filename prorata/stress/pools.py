"""Who does the work: processes of this machine, or the workers of a Dask cluster. Chunks go in, tables come out.

Only a few chunks are under way at a time, so memory does not grow with the sweep. A worker that dies costs what it was
working on and nothing else: its chunks run again. What is handed on is handed on once a chunk.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

import pyarrow as pa

from prorata.stress.config import Sweep
from prorata.stress.engine import bytecode, run_paths
from prorata.stress.path import RULES
from prorata.stress.store import Chunk, Identity, table

#: Chunks under way, for every worker.
_AHEAD = 2
#: Times that workers may die with nothing finished in between.
_PATIENCE = 5
#: To wait for a scheduler.
_CONNECT_SECONDS = 10.0

Done = Callable[[Chunk, pa.Table], None]


class PoolError(RuntimeError):
    """The workers cannot do it: one line."""


@dataclass(frozen=True)
class Job:
    """All that a worker needs to know."""

    sweep: Sweep
    identity: Identity
    chunk: Chunk


def work(job: Job) -> pa.Table:
    """Run a chunk.

    Raises:
        PoolError: this process has other contracts or rules than whoever asks.
    """
    if (bytecode(), RULES) != (job.identity.bytecode, job.identity.rules):
        raise PoolError("a worker has other contracts or rules: it must run in the same version of the repository")
    chunk = job.chunk
    return table(run_paths(job.sweep, job.identity.seed, chunk.first, chunk.count, job.identity.audit))


class Pool(Protocol):
    """Runs jobs."""

    def run(self, jobs: Sequence[Job], done: Done) -> None:
        """Run all jobs, in any order; `done` is called in this thread, once for each.

        Raises:
            PoolError: the workers cannot do it.
        """
        ...


class LocalPool:
    """Processes of this machine. An interruption lets what has begun end, and hands it on before it is raised.

    Args:
        workers: how many.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers

    def run(self, jobs: Sequence[Job], done: Done) -> None:
        left = {job.chunk: job for job in jobs}
        deaths = 0
        while left:
            before = len(left)
            try:
                self._run(list(left.values()), done, left)
            except BrokenProcessPool:
                deaths = 1 if len(left) < before else deaths + 1
                if deaths == _PATIENCE:
                    raise PoolError(f"worker processes died {deaths} times in a row") from None

    def _run(self, jobs: Sequence[Job], done: Done, left: dict[Chunk, Job]) -> None:
        """One pool of processes, until all is done or one of them dies."""
        waiting = iter(jobs)
        # Forked, so that a worker starts in no time with everything loaded; the parent has no other thread by then.
        context = multiprocessing.get_context("fork")
        pool = ProcessPoolExecutor(self._workers, context, _ignore_interrupts)
        running: dict[Future[pa.Table], Job] = {}

        def collect(finished: set[Future[pa.Table]]) -> None:
            for future in finished:
                job = running.pop(future)
                if not future.cancelled():
                    done(job.chunk, future.result())
                    del left[job.chunk]

        try:
            while True:
                for job in islice(waiting, _AHEAD * self._workers - len(running)):
                    running[pool.submit(work, job)] = job
                if not running:
                    return
                collect(wait(running, return_when=FIRST_COMPLETED).done)
        except KeyboardInterrupt:
            pool.shutdown(wait=True, cancel_futures=True)
            collect({future for future in running if future.done()})
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _ignore_interrupts() -> None:
    """Ctrl-C is the parent's business; to be told to stop is one's own."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


class DaskPool:
    """The workers of a Dask cluster; they must run in the root of this repository, with its environment.

    An interruption gives up what is under way there.

    Args:
        address: of the scheduler, such as tcp://10.0.0.1:8786.

    Raises:
        PoolError: nobody answers there.
    """

    def __init__(self, address: str) -> None:
        from distributed import Client

        try:
            self._client = Client(address, timeout=_CONNECT_SECONDS, set_as_default=False)
        except (TimeoutError, OSError, ValueError) as error:
            raise PoolError(f"no Dask scheduler at {address}: {_line(error)}") from None

    def run(self, jobs: Sequence[Job], done: Done) -> None:
        from distributed import as_completed

        waiting = iter(jobs)
        finished = as_completed([], loop=self._client.loop)
        running: dict[str, Job] = {}
        try:
            self._feed(waiting, running, finished)
            for future in finished:
                job = running.pop(str(future.key))
                done(job.chunk, self._result(future))
                future.release()
                self._feed(waiting, running, finished)
        finally:
            self._client.close()

    def _feed(self, waiting: Iterator[Job], running: dict[str, Job], finished: Any) -> None:
        """Keep every worker there is busy."""
        workers = max(len(self._client.scheduler_info(n_workers=-1)["workers"]), 1)
        for job in islice(waiting, max(_AHEAD * workers - len(running), 0)):
            future = self._client.submit(work, job, key=self._key(job), retries=_PATIENCE)
            running[str(future.key)] = job
            finished.add(future)

    @staticmethod
    def _key(job: Job) -> str:
        """The same chunk of the same sweep has the same name, whoever asks for it."""
        identity = job.identity
        return (
            f"{identity.config}-{identity.bytecode}-{identity.rules}-{identity.seed}-{identity.audit}-{job.chunk.file}"
        )

    @staticmethod
    def _result(future: Any) -> pa.Table:
        try:
            return future.result()
        except PoolError:
            raise
        except Exception as error:  # whatever a cluster of other machines can go wrong with
            raise PoolError(f"a Dask worker failed: {_line(error)}") from error


def _line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else text[:197] + "..."
