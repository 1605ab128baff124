"""Which tests try to kill a mutant, in which order: what is cheap and near first, and what killed its neighbours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from tests.mutation.changed import modules_of
from tests.mutation.mutator import Mutant

ROOT = Path(__file__).parent.parent.parent
UNIT = "tests/unit/modules/"
#: The fast suite. Left out: what compares gas, bytecode, layouts or texts of the contracts, and what is about Python.
PATHS = (
    "tests/unit/modules",
    "tests/unit/market",
    "tests/unit/vault",
    "tests/unit/test_ledger.py",
    "tests/regression",
    "tests/invariant",
    "tests/boundary",
)
#: What a missing lock lets through is seen from foreign code alone.
REENTRANCY = "tests/boundary/test_reentrancy_matrix.py"
NO_KILLERS = (
    "tests/unit/modules/test_errors.py",
    "tests/unit/market/test_deploy.py::test_every_deployable_fits_a_contract",
)
#: Runs of the stateful test in each of its four parts, and steps in each run: a slice of the campaign.
STATEFUL = {"PRORATA_RUNS": "12", "PRORATA_STEPS": "60", "PRORATA_SEED": "1"}
#: What is tried first of the tests that have killed something near.
FAVOURITES = 12
#: Seconds that a quick test takes at most.
QUICK = 0.5

#: Where a contract or a module is tested besides `tests/unit/modules/test_<module>*.py`.
_HOMES: dict[str, tuple[str, ...]] = {
    "PerpetualMarket": ("tests/unit/market/", "tests/unit/vault/test_cover.py"),
    "TradingLogic": ("tests/unit/market/",),
    "MarketLens": ("tests/unit/market/test_views.py", "tests/unit/market/test_fill.py"),
    "InsuranceVault": ("tests/unit/vault/", "tests/unit/market/test_deploy.py", "tests/regression/"),
    "redemptions": ("tests/unit/vault/",),
    "reserve": ("tests/unit/vault/test_cover.py",),
    "index": ("tests/unit/market/test_modes.py",),
    "modes": ("tests/unit/market/test_modes.py",),
}


def order(mutant: Mutant, tests: Sequence[str], seconds: dict[str, float], kills: Kills) -> tuple[list[str], list[str]]:
    """The tests that may notice a mutant: those that most likely do, and, file by file, all that are not near it.

    Args:
        tests: ids of all.
        seconds: what each takes; unknown ones count as nothing.
    """
    stem = Path(mutant.file).stem
    relevant = [test for test in tests if _is_relevant(stem, test)]
    homes = (*_homes(stem), *([REENTRANCY] if mutant.operator == "lock" else []))
    own = [test for test in relevant if test.startswith(homes)]
    stateful = [test for test in relevant if "test_stateful.py" in test]
    favourites = kills.near(mutant, set(relevant))
    # Within the module's own tests there is little to compile, so what is quick there comes before the whole market.
    quick = [test for test in own if seconds.get(test, 0) < QUICK]
    inside = [test for test in quick if test.startswith(UNIT)]
    near = [test for test in favourites if test in set(inside)]
    likely = [*near, *_by_file(inside, seconds), *favourites, *stateful[:1], *_by_file(quick, seconds)]
    first = list(dict.fromkeys([*likely, *stateful, *_by_file(own, seconds)]))
    rest = set(relevant) - {*own, *stateful}
    return first, _by_file([test for test in relevant if test in rest], seconds)


class Kills:
    """Who has killed what so far."""

    def __init__(self) -> None:
        self._by_function: dict[tuple[str, str], Counter[str]] = {}
        self._by_file: dict[str, Counter[str]] = {}

    def add(self, file: str, function: str, test: str) -> None:
        """A test has killed a mutant of a function."""
        self._by_function.setdefault((file, function), Counter())[test] += 1
        self._by_file.setdefault(file, Counter())[test] += 1

    def near(self, mutant: Mutant, tests: set[str]) -> list[str]:
        """Tests that have killed something in the same function, then in the same file; the most successful first."""
        function = self._by_function.get((mutant.file, mutant.function), Counter())
        file = self._by_file.get(mutant.file, Counter())
        ranked = [test for counter in (function, file) for test, _ in counter.most_common() if test in tests]
        return list(dict.fromkeys(ranked))[:FAVOURITES]


def _by_file(tests: Iterable[str], seconds: dict[str, float]) -> list[str]:
    """Files whose tests are short first, and short ones first in each: what a file sets up serves all of its tests."""
    files: dict[str, list[str]] = {}
    for test in tests:
        files.setdefault(test.partition("::")[0], []).append(test)
    mean = {file: sum(seconds.get(one, 0) for one in inside) / len(inside) for file, inside in files.items()}
    return [
        test
        for file in sorted(files, key=lambda file: mean[file])
        for test in sorted(files[file], key=lambda test: seconds.get(test, 0))
    ]


def _homes(stem: str) -> tuple[str, ...]:
    return f"{UNIT}test_{stem}.py", f"{UNIT}test_{stem}_module.py", *_HOMES.get(stem, ())


def _is_relevant(stem: str, test: str) -> bool:
    """A test of modules compiles just what it imports; every other one deploys a whole market."""
    file = test.partition("::")[0]
    return not file.startswith(UNIT) or stem in _imported(file)


@cache
def _imported(file: str) -> frozenset[str]:
    return modules_of((ROOT / file).read_text())
