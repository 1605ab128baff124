"""Mutation testing: what share of small wrong changes of the contracts the fast suite notices.

    make mutate                      every mutant that has no result yet, then snapshots/mutation.json
    make mutate ONLY=buckets,margin  only those of some files
    make mutate COUNT=60 SEED=7      some, in an order drawn from a seed
    make mutate REPORT=1             no trials, only what is known

Results are kept in `.build/mutation`; a run that was broken off goes on where it was.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import hypothesis
import pytest
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from vyper.compiler.settings import anchor_settings

from prorata.embedded import CONTRACTS, compiling
from prorata.sources import digest_of_contracts
from tests.mutation import results, suite, trial
from tests.mutation.changed import DEPLOYABLES, QuickCompiler, compiled
from tests.mutation.mutator import Mutant, find
from tests.mutation.results import FOLDER, KILLED, OUTLIVED, SNAPSHOT, SURVIVED, TIMEOUT, Result, Store


class Refused(Exception):
    """An option makes no sense; the message says why in one line."""


@dataclass(frozen=True)
class Options:
    """What was asked for; see above."""

    only: frozenset[str]
    seed: int
    count: int
    report: bool

    @classmethod
    def read(cls, environment: dict[str, str], files: list[str]) -> Options:
        """From variables of the environment.

        Raises:
            Refused: a name that is no contract's, or not a number.
        """
        names = {Path(file).stem for file in files}
        only = frozenset(filter(None, environment.get("ONLY", "").split(",")))
        for name in only - names:
            raise Refused(f"ONLY={name}: no such contract or module; there are {', '.join(sorted(names))}")
        numbers = {}
        for name in ("SEED", "COUNT"):
            written = environment.get(name) or "0"
            if not written.isdecimal():
                raise Refused(f"{name}={written}: not a whole number")
            numbers[name] = int(written)
        return cls(only, numbers["SEED"], numbers["COUNT"], bool(environment.get("REPORT")))

    def chosen(self, mutants: list[Mutant]) -> list[Mutant]:
        """What to try, in which order: as they stand, unless a seed or a number asks for a draw."""
        of_files = [one for one in mutants if not self.only or Path(one.file).stem in self.only]
        if self.seed or self.count:
            random.Random(self.seed).shuffle(of_files)
        return of_files[: self.count or None]


def all_mutants() -> list[Mutant]:
    """Of every contract and module of this repository."""
    trees = {}
    for name in DEPLOYABLES:
        path = CONTRACTS / f"{name}.vy"
        data = compiled(path.read_text(), path, CONTRACTS)
        with anchor_settings(data.settings):
            waiting = [data.annotated_vyper_module]
        while waiting:
            tree = waiting.pop()
            place = Path(tree.resolved_path)
            if place.is_relative_to(CONTRACTS) and place not in trees:
                trees[place] = tree
                waiting += [info.module_t._module for info in tree._metadata["type"].imported_modules.values()]
    found = []
    for place, tree in sorted(trees.items()):
        found += find(str(place.relative_to(CONTRACTS)), place.read_text(), tree)
    return found


@dataclass
class Bench:
    """What every trial needs."""

    forks: trial.Forks
    items: trial.Items
    seconds: dict[str, float]
    kills: suite.Kills
    store: Store

    def attempt(self, mutant: Mutant, tests: list[str], survived: str) -> str:
        """Try tests on a mutant and keep the result: its outcome, or `survived`."""
        begin = time.monotonic()
        found = self.forks.trial(mutant, tests)
        outcome = survived if found.outcome == SURVIVED else found.outcome
        before = self.store.results.get(mutant.id)
        seconds = round(time.monotonic() - begin + (before.seconds if before else 0), 2)
        ran = found.ran + (before.ran if before else 0)
        self.store.add(Result(mutant.id, outcome, found.test, ran, seconds, self.store.sources, self.store.tests))
        if outcome == KILLED:
            self.kills.add(mutant.file, mutant.function, found.test)
        return outcome


class Campaign:
    """The plugin in whose test session the mutants are tried."""

    def __init__(self, options: Options, mutants: list[Mutant], console: Console) -> None:
        self._options = options
        self._mutants = mutants
        self._console = console
        self._argued = results.equivalents()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        items = {item.nodeid: item for item in session.items if not item.nodeid.startswith(suite.NO_KILLERS)}
        digests = digest_of_contracts(), results.digest_of_tests()
        store = Store(FOLDER / "results.jsonl", *digests, items, self._argued)
        chosen = self._options.chosen(self._mutants)
        missing = [mutant for mutant in chosen if mutant.id not in store.results or self._is_unfinished(mutant, store)]
        if missing and not self._options.report:
            self._try(missing, items, store)
        self._tell(chosen, store)
        return True

    def _is_unfinished(self, mutant: Mutant, store: Store) -> bool:
        """Not all tests have been tried on it, and nobody has said why they would not notice it."""
        known = store.results.get(mutant.id)
        return known is not None and known.outcome == OUTLIVED and mutant.id not in self._argued

    def _try(self, missing: list[Mutant], items: trial.Items, store: Store) -> None:
        usual = QuickCompiler()
        trial.lift_limits()
        # Also in the background, where a shell would have them ignored. Ape, which tests import, has its own handler.
        for request in (signal.SIGINT, signal.SIGTERM):
            signal.signal(request, signal.default_int_handler)
        with compiling(usual), TemporaryDirectory() as folder:
            for name in (*DEPLOYABLES, "MockToken", "MockAggregator"):
                usual.contract(name)
            forks = trial.Forks(items, usual, trial.codes(), Path(folder))
            try:
                seconds = self._baseline(forks, items, store)
                self._all(missing, Bench(forks, items, seconds, suite.Kills(), store))
            except KeyboardInterrupt:
                self._console.print("broken off; the same command goes on")
            finally:
                forks.stop()

    def _baseline(self, forks: trial.Forks, items: trial.Items, store: Store) -> dict[str, float]:
        """What every test takes, by its id; measured once for a state of contracts and tests."""
        path = FOLDER / "baseline.json"
        key = f"{store.sources}-{store.tests}"
        known = json.loads(path.read_text()) if path.exists() else {}
        if known.get("key") != key:
            with self._progress("every test once, without a mutant", len(items)) as advance:
                seconds = {}
                for test, taken in forks.baseline(list(items)):
                    seconds[test] = taken
                    advance(test)
            known = {"key": key, "seconds": seconds}
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(known))
        measured: dict[str, float] = known["seconds"]
        return measured

    def _all(self, missing: list[Mutant], bench: Bench) -> None:
        """The likely tests on every mutant, then all others, which take a hundred times as long, on what is left."""
        by_id = {mutant.id: mutant for mutant in self._mutants}
        for known in bench.store.results.values():
            if known.outcome == KILLED and known.id in by_id:
                bench.kills.add(by_id[known.id].file, by_id[known.id].function, known.test)
        fresh = [mutant for mutant in missing if mutant.id not in bench.store.results]
        with self._progress("mutants", len(fresh)) as advance:
            for mutant in fresh:
                first, _ = suite.order(mutant, list(bench.items), bench.seconds, bench.kills)
                found = bench.attempt(mutant, first, OUTLIVED)
                if found == OUTLIVED and mutant.id not in self._argued:
                    self._console.print(
                        f"outlived: {mutant.id}  {results.described(mutant)}", highlight=False, markup=False
                    )
                advance(mutant.id)
        left = [mutant for mutant in missing if self._is_unfinished(mutant, bench.store)]
        with self._progress("survivors", len(left)) as advance:
            for mutant in left:
                _, rest = suite.order(mutant, list(bench.items), bench.seconds, bench.kills)
                if bench.attempt(mutant, rest, SURVIVED) == SURVIVED:
                    self._console.print(
                        f"survived: {mutant.id}  {results.described(mutant)}", highlight=False, markup=False
                    )
                advance(mutant.id)

    def _tell(self, chosen: list[Mutant], store: Store) -> None:
        """The figures of those that were chosen; those of all that were ever tried become the snapshot."""
        found = results.summary(chosen, store, self._argued)
        shown = {name: value for name, value in found.items() if not isinstance(value, dict)}
        self._console.print(shown, highlight=False, markup=False)
        for name, where in found["survivors"].items():
            self._print(f"{name}  {where}")
        for mutant in chosen:
            result = store.results.get(mutant.id)
            if mutant.id in self._argued and result and result.outcome in (KILLED, TIMEOUT):
                self._print(f"{mutant.id} is argued to be equivalent, but {result.test} kills it")
        SNAPSHOT.write_text(json.dumps(results.summary(self._mutants, store, self._argued), indent=2) + "\n")
        self._console.print(f"written: {SNAPSHOT.relative_to(suite.ROOT)}")

    def _print(self, line: str) -> None:
        """As it is: code has brackets that mean nothing."""
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)

    @contextmanager
    def _progress(self, what: str, total: int) -> Iterator[Callable[[str], None]]:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        # Without a thread of its own: a fork must not happen while another thread holds a lock.
        with Progress(*columns, console=self._console, auto_refresh=False) as progress:
            task = progress.add_task(what, total=total)

            def advance(name: str) -> None:
                progress.update(task, advance=1, description=f"{what}: {name.rpartition('/')[2][:60]:60}")
                progress.refresh()

            yield advance


def main() -> int:
    """Zero, or two if an option makes no sense."""
    console = Console(file=os.fdopen(os.dup(1), "w"))
    mutants = all_mutants()
    try:
        options = Options.read(dict(os.environ), [mutant.file for mutant in mutants])
    except Refused as refused:
        print(refused, file=sys.stderr)
        return 2
    os.environ |= suite.STATEFUL
    # The same examples for every mutant, and no time spent on making a failing one small.
    hypothesis.settings.register_profile(
        "mutation",
        derandomize=True,
        database=None,
        deadline=None,
        phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    hypothesis.settings.load_profile("mutation")
    plugins = ("ape_test", "terminal", "xdist", "cacheprovider")
    arguments = ["-o", "addopts=", "-W", "ignore", *(part for name in plugins for part in ("-p", f"no:{name}"))]
    code = pytest.main([*arguments, *suite.PATHS], plugins=[Campaign(options, mutants, console)])
    return 0 if code in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED) else int(code)


if __name__ == "__main__":
    sys.exit(main())
