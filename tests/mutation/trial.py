"""One mutant against the suite, in a process of its own that is forked from one in which everything is ready.

The parent has collected the tests and compiled the contracts as they are. A child compiles what its mutant concerns,
runs tests until one fails, and says so through a pipe. Nothing it does outlives it.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FunctionType
from typing import Any

import boa
import pyrevm
import pytest
from vyper.compiler.settings import anchor_settings
from vyper.exceptions import VyperException

from prorata import revm_chain
from prorata.embedded import CONTRACTS, Compiled, compiling
from tests.mutation.changed import QuickChangedCompiler, QuickCompiler, affected, compiled, write
from tests.mutation.mutator import Mutant
from tests.mutation.results import KILLED, NOT_VIABLE, SAME_CODE, SURVIVED, TIMEOUT

#: Seconds of processor time that a test may take, with whatever it compiles; the longest takes a third of it.
PATIENCE = 40
#: More than any transaction of the suite takes, little enough for a loop without end to reach it.
GAS_LIMIT = 2**31
#: Code that is not optimized is larger than a chain would take.
CODE_LIMIT = 2**17

Items = dict[str, pytest.Item]


@dataclass(frozen=True)
class Outcome:
    """What came of a mutant; as in `results.Result`."""

    outcome: str
    test: str = ""
    ran: int = 0


class NotViable(Exception):
    """The mutant does not compile."""


class _MutantCompiler(QuickChangedCompiler):
    def _compile(self, source: str, path: Path | None) -> Compiled:
        try:
            return super()._compile(source, path)
        except (VyperException, ZeroDivisionError) as error:
            raise NotViable(type(error).__name__) from None


def lift_limits() -> None:
    """Let code that is not optimized be deployed, and loops without end come to one."""
    pyrevm.CfgEnv = partial(pyrevm.CfgEnv, limit_contract_code_size=CODE_LIMIT)
    revm_chain._GAS_LIMIT = GAS_LIMIT
    boa.Env().evm.patch.code_size_limit = CODE_LIMIT


# --------------------------------------------------------------------------------------------------------- the parent


class Forks:
    """Runs trials, one at a time.

    Args:
        items: the tests by id.
        codes: of every deployable, its creation code as the repository compiles it.
        folder: where the mutants' sources may be written.
    """

    def __init__(self, items: Items, usual: QuickCompiler, codes: dict[str, bytes], folder: Path) -> None:
        self._items = items
        self._folder = folder
        self._usual = usual
        self._codes = codes
        self._child = 0

    def trial(self, mutant: Mutant, tests: list[str]) -> Outcome:
        """Whether any of these tests notices a mutant; it may also be that there is nothing to notice."""

        def attempt(say: Callable[..., None]) -> None:
            source = (CONTRACTS / mutant.file).read_text()
            changes = {mutant.file: mutant.applied(source)}
            folder = write(changes, self._folder / "contracts")
            compiler = _MutantCompiler(folder, frozenset(changes), self._usual)
            with compiling(compiler):
                if _run(self._items, tests, say) == len(tests):
                    is_same = all(_code(name, folder) == self._codes[name] for name in affected(mutant.file))
                    say(outcome=SAME_CODE if is_same else SURVIVED, ran=len(tests))

        return self._watch(attempt)

    def baseline(self, tests: list[str]) -> Iterator[tuple[str, float]]:
        """Every test on the contracts as they are: its id and the seconds it took.

        Raises:
            RuntimeError: one fails.
        """
        for message in self._messages(lambda say: _run(self._items, tests, say)):
            if message is None or message.get("outcome"):
                raise RuntimeError(f"fails without any mutant: {message}")
            if "seconds" in message:
                yield message["test"], message["seconds"]

    def stop(self) -> None:
        """End the child that is running, if one is."""
        if self._child:
            os.killpg(self._child, signal.SIGKILL)

    def _watch(self, attempt: Callable[[Callable[..., None]], None]) -> Outcome:
        last = ""
        for message in self._messages(attempt):
            if message is None:
                return Outcome(TIMEOUT, last)
            if "outcome" in message:
                return Outcome(message["outcome"], message.get("test", ""), message.get("ran", 0))
            last = message["test"]
        raise RuntimeError(f"a child ended without a word after {last or 'no test'}")

    def _messages(self, attempt: Callable[[Callable[..., None]], None]) -> Iterator[dict[str, Any] | None]:
        """What a child says; nothing if it has used more than `PATIENCE` since its last word, which ends it."""
        reading, writing = os.pipe()
        self._child = child = os.fork()
        if not child:
            os.close(reading)
            _live(writing, attempt)
        os.close(writing)
        os.setpgid(child, child)
        try:
            with os.fdopen(reading) as pipe:
                spent = 0.0
                while True:
                    if select.select([pipe], [], [], 1)[0]:
                        line = pipe.readline()
                        if not line:
                            return
                        spent = _processor_time(child)
                        yield json.loads(line)
                    elif _processor_time(child) - spent > PATIENCE:
                        yield None
                        return
        finally:
            self.stop()
            os.waitpid(child, 0)
            self._child = 0


def _processor_time(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# ---------------------------------------------------------------------------------------------------------- the child


def _live(pipe: int, attempt: Callable[[Callable[..., None]], None]) -> None:
    """A child's whole life; never returns."""

    def say(**words: Any) -> None:
        os.write(pipe, (json.dumps(words) + "\n").encode())

    code = 1
    try:
        gc.freeze()
        gc.set_threshold(100_000, 50, 1000)  # the compiler makes much that is not garbage
        _with_room(lambda: attempt(say))
        code = 0
    finally:
        os._exit(code)


def _call(function: Callable[[], None]) -> None:
    function()


#: CPython 3.11 maps and unmaps memory at every call that happens to cross the end of a piece of its stack of frames,
#: here half of all the time. A frame of more than half of a power of two leaves room for all that are called in it.
_with_room = FunctionType(_call.__code__.replace(co_stacksize=2**16 + 2**10), globals())


def _run(items: Items, tests: list[str], say: Callable[..., None]) -> int:
    """Run tests until one fails; how many passed. What failed has been said."""
    for number, (test, after) in enumerate(zip(tests, [*tests[1:], None], strict=False)):
        say(test=test)
        begin = time.process_time()
        with _watching(items[test]) as failures:
            items[test].config.hook.pytest_runtest_protocol(item=items[test], nextitem=items[after] if after else None)
        if failures:
            say(outcome=NOT_VIABLE if NotViable in failures else KILLED, test=test, ran=number + 1)
            return number
        say(test=test, seconds=round(time.process_time() - begin, 3))
    return len(tests)


@contextmanager
def _watching(item: pytest.Item) -> Iterator[list[type[BaseException]]]:
    """What is raised in a test, in what it sets up, or when that ends."""
    raised: list[type[BaseException]] = []

    class Watch:
        @staticmethod
        def pytest_runtest_makereport(call: pytest.CallInfo[None]) -> None:
            if call.excinfo is not None and not issubclass(call.excinfo.type, pytest.skip.Exception):
                raised.append(call.excinfo.type)

    plugin = Watch()
    item.config.pluginmanager.register(plugin)
    try:
        yield raised
    finally:
        item.config.pluginmanager.unregister(plugin)


def _code(name: str, folder: Path) -> bytes:
    """What would be deployed: the constructor and the contract, without the digest of the sources at the end."""
    path = folder / f"{name}.vy"
    data = compiled(path.read_text(), path, folder)
    data.no_bytecode_metadata = True
    with anchor_settings(data.settings):
        code: bytes = data.bytecode
        return code


def codes() -> dict[str, bytes]:
    """Of every deployable as the repository compiles it."""
    return {name: _code(name, CONTRACTS) for name in affected("modules/fixed_point.vy")}
