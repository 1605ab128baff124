"""Runs tests in traced titanoboa and keeps, file by file, which branches of the contracts they take: `make coverage`.

    python -m pytest -p tests.coverage.plugin tests/unit

Every test that asks for pyrevm gets titanoboa. What a test would do in both it does once, and of generated examples
only the first few are run, always the same: here a call takes ten times as long. A test file whose result is newer than
itself and than everything in `contracts`, `prorata` and `tests/*.py` is not run again. What only some tests of a file
take (`-k`, `-m`, `file::test`) is not kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import hypothesis
import pytest
from boa.util.abi import Address

import prorata.boa_chain
import prorata.revm_chain
from prorata.branches import Code, marked
from prorata.coverage import DEPLOYABLES, FILES, ROOT, Taken, result_of
from prorata.traced_chain import Trace, TracedChain

EXAMPLES = 8
#: The fixtures that run a test once for each kind of token, with 6, 8 and 18 decimals.
EACH = ("each_twin", "each_exchange")


class InsteadOfRevm(TracedChain):
    """What tests know as RevmChain: as much gas, and storage that they may operate on."""

    network = "pyrevm"

    def __init__(self) -> None:
        super().__init__()
        self._env.evm.patch.gas_limit = 2**40

    def word(self, address: str, slot: int) -> int:
        return int(self._env.get_storage(Address(address), slot))

    def put(self, address: str, slot: int, value: int) -> None:
        self._env.set_storage(Address(address), slot, value)


class Plugin:
    """One session: the compiler marks what it compiles, and what was both in-process chains is traced."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._failed = set[Path]()
        self._results = dict[Path, Taken]()
        self._codes = self._stack.enter_context(marked())
        TracedChain.trace = Trace(self._codes)
        for module, name, chain in (
            (prorata.boa_chain, "BoaChain", TracedChain),
            (prorata.revm_chain, "RevmChain", InsteadOfRevm),
        ):
            setattr(module, name, chain)

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        kept = [item for item in items if not _is_second(item) and not _is_done(item.path)]
        config.hook.pytest_deselected(items=[item for item in items if item not in kept])
        items[:] = kept
        for item in kept:
            _take_few_examples(item)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._failed.add(ROOT / report.location[0])

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_teardown(self, item: pytest.Item, nextitem: pytest.Item | None) -> None:
        if nextitem is not None and nextitem.path == item.path:
            return
        taken = self._results.setdefault(item.path, Taken())
        taken.add(self._taken())
        TracedChain.trace.clear()
        if asks_for_whole_files(item.config) and item.path not in self._failed:
            taken.save(result_of(item.path))

    def pytest_unconfigure(self) -> None:
        self._stack.close()

    def _taken(self) -> Taken:
        """What has been taken since the trace was cleared."""
        trace, names = TracedChain.trace, {code.code: name for name, code in _deployed(self._codes)}
        return Taken(
            outcomes={(branch, held) for branch, held in trace.outcomes() if branch.file in FILES},
            lines={(file, line) for file, line in trace.lines() if file in FILES},
            all_lines={place for code in self._codes for place in code.lines.values() if place[0] in FILES},
            checks={(names[code], place, jumped) for code, place, jumped in trace.checks() if code in names},
            all_checks={
                name: sum(jump is None for jump in code.jumps.values()) for name, code in _deployed(self._codes)
            },
        )


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    # Before any conftest imports a chain.
    early_config.pluginmanager.register(Plugin())


def asks_for_whole_files(config: pytest.Config) -> bool:
    """Whether a file that runs at all runs whole."""
    some = config.option.keyword or config.option.markexpr or any("::" in argument for argument in config.args)
    return not some


def _deployed(codes: list[Code]) -> Iterator[tuple[str, Code]]:
    """What is deployed of the contracts themselves, with their names."""
    for code in codes:
        files = {jump.branch.file for jump in code.jumps.values() if jump}
        for name in DEPLOYABLES:
            if name in files and not code.creates:
                yield name, code


def _is_second(item: pytest.Item) -> bool:
    """Whether the same test runs instead of pyrevm too, or for another token."""
    callspec = getattr(item, "callspec", None)
    if callspec is None:
        return False
    return TracedChain in callspec.params.values() or any(callspec.params.get(one) in (8, 18) for one in EACH)


def _is_done(test: Path) -> bool:
    result = result_of(test)
    if not result.exists():
        return False
    sources = [test, *(ROOT / "tests").glob("*.py")]
    sources += [path for folder in ("contracts", "prorata") for path in (ROOT / folder).rglob("*.*y")]
    return all(path.stat().st_mtime < result.stat().st_mtime for path in sources)


def _take_few_examples(item: pytest.Item) -> None:
    """Of a test with generated examples; titanoboa needs a second for what pyrevm does in a tenth."""
    function = getattr(item, "function", None)
    name = "_hypothesis_internal_use_settings"
    if hasattr(function, name):
        few = hypothesis.settings(getattr(function, name), max_examples=EXAMPLES, derandomize=True, database=None)
        setattr(function, name, few)
