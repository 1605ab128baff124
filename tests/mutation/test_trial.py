"""One mutant that a test notices and one that none does; children that never end or say nothing; what is kept."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from prorata.embedded import CONTRACTS
from tests.mutation import results, suite, trial
from tests.mutation.__main__ import Options, Refused
from tests.mutation.mutator import Mutant
from tests.mutation.results import KILLED, NOT_VIABLE, SURVIVED, TIMEOUT, Result, Store

MARGIN = "modules/margin.vy"
#: A suite of one test, which knows the notional of a position and nothing else.
TEST = '''
from prorata.boa_chain import BoaChain

SOURCE = """
from modules import margin

@external
@view
def notional(shares: uint256, scale: uint256, mark: uint256) -> uint256:
    return margin._notional(shares, scale, mark)
"""

def test_notional():
    chain = BoaChain()
    assert chain.call(chain.deploy_source(SOURCE), "notional", 1, 10**18, 10**18) == 1
'''
#: Tries the mutants it is given on that suite; prints what comes of each.
SESSION = """
import json, sys
from pathlib import Path
import pytest
from tests.mutation import trial
from tests.mutation.changed import QuickCompiler
from tests.mutation.mutator import Mutant

class Plugin:
    def pytest_runtestloop(self, session):
        folder = Path(sys.argv[3])
        items = {item.nodeid: item for item in session.items}
        codes = dict.fromkeys(trial.affected("modules/margin.vy"), b"other")
        trial._code = lambda name, folder: folder.name.encode()
        forks = trial.Forks(items, QuickCompiler(), codes, folder)
        found = [forks.trial(Mutant(**one), list(items)).outcome for one in json.loads(sys.argv[2])]
        print("found", json.dumps(found))
        return True

options = ["-s", "-o", "addopts=", "-p", "no:ape_test", "-p", "no:terminal", "--rootdir", sys.argv[1]]
pytest.main([*options, sys.argv[1]], plugins=[Plugin()])
"""


def mutant(before: str, after: str, occurrence: int = 0) -> Mutant:
    """A change of `margin`."""
    source = (CONTRACTS / MARGIN).read_text()
    start = -1
    for _ in range(occurrence + 1):
        start = source.index(before, start + 1)
    return Mutant(f"margin.{start}", MARGIN, "", 0, "", start, start + len(before), before, after)


def test_killed_survived_and_not_viable(tmp_path: Path) -> None:
    suite_folder = tmp_path / "suite"
    suite_folder.mkdir()
    (suite_folder / "test_small.py").write_text(TEST)
    tried = [
        mutant("fixed_point._ceil_div(shares * scale * mark, fixed_point.INDEX_UNIT)", "shares // 10**36 * mark"),
        mutant("fixed_point._ceil_div(notional * ratio, fixed_point.WAD)", "notional * ratio // fixed_point.WAD"),
        mutant("shares * scale * mark", "shares * nothing * mark"),
    ]
    given = json.dumps([one.__dict__ for one in tried])
    done = subprocess.run(
        [sys.executable, "-c", SESSION, str(suite_folder), given, str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=suite.ROOT,
        check=True,
    )
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("found"))
    assert json.loads(line.removeprefix("found")) == [KILLED, SURVIVED, NOT_VIABLE]


# ----------------------------------------------------------------------------------------------------------- children


def watched(attempt: Callable[[Callable[..., None]], None]) -> trial.Outcome:
    return trial.Forks({}, trial.QuickCompiler(), {}, Path())._watch(attempt)


def test_a_child_that_never_ends_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "PATIENCE", 1)

    def attempt(say: Callable[..., None]) -> None:
        say(test="a loop")
        while True:
            pass

    assert watched(attempt) == trial.Outcome(TIMEOUT, "a loop")


def test_a_child_that_dies_is_no_result() -> None:
    with pytest.raises(RuntimeError, match="without a word after no test"):
        watched(lambda say: None)


# ------------------------------------------------------------------------------------------------------------ results


def result(name: str, outcome: str, test: str = "", tests: str = "t") -> Result:
    return Result(name, outcome, test, 1, 1.0, "s", tests)


def test_results_outlive_a_run_and_what_they_depend_on_decides_how_long(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    store = Store(path, "s", "t", ["a test"])
    for one in (result("killed", KILLED, "a test"), result("lived", SURVIVED), result("broken", NOT_VIABLE)):
        store.add(one)
    assert Store(path, "s", "t", ["a test"]).results == store.results
    # More tests: survivors are tried again. A killer is gone: so is what it killed. Other contracts: everything.
    assert set(Store(path, "s", "other", ["a test", "another"]).results) == {"killed", "broken"}
    assert set(Store(path, "s", "t", ["another"]).results) == {"lived", "broken"}
    assert set(Store(path, "s", "other", ["a test"], argued=["lived"]).results) == {"killed", "lived", "broken"}
    assert not Store(path, "other", "t", ["a test"]).results


def test_the_score_is_of_what_is_not_equivalent(tmp_path: Path) -> None:
    store = Store(tmp_path / "results.jsonl", "s", "t", ["a test"])
    found = [Mutant(name, "modules/index.vy", "f", 1, "sign", 0, 1, "-x", "x") for name in "abcde"]
    rows = [(KILLED, "a test"), (TIMEOUT, "a test"), (SURVIVED, ""), (SURVIVED, ""), (NOT_VIABLE, "")]
    for one, (outcome, test) in zip(found, rows, strict=True):
        store.add(result(one.id, outcome, test))
    figures = results.summary(found, store, {"c": "x is never negative"})
    assert (figures["viable"], figures["killed"], figures["timeouts"], figures["equivalent"]) == (4, 2, 1, 1)
    assert figures["score"] == round(2 / 3, 4)
    assert figures["survivors"] == {"d": "modules/index.vy:1: -x  =>  x"}
    assert figures["equivalents"] == {"c": "x is never negative"}


# -------------------------------------------------------------------------------------------------------------- order


def test_the_nearest_tests_come_first_and_none_that_compile_something_else() -> None:
    tests = [
        "tests/unit/market/test_fill.py::test_a",
        "tests/unit/modules/test_margin.py::test_long",
        "tests/unit/modules/test_margin.py::test_b",
        "tests/unit/modules/test_sides.py::test_c",
        "tests/invariant/test_stateful.py::test_stateful[0]",
    ]
    kills = suite.Kills()
    kills.add(MARGIN, "", tests[2])
    first, rest = suite.order(mutant("scale", "mark"), tests, {}, kills)
    assert first == [tests[2], tests[1], tests[4]]
    assert rest == [tests[0]]


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"ONLY": "nothing"}, "ONLY=nothing: no such contract or module; there are margin"),
        ({"COUNT": "many"}, "COUNT=many: not a whole number"),
        ({"SEED": "-1"}, "SEED=-1: not a whole number"),
    ],
)
def test_options_that_make_no_sense(environment: dict[str, str], message: str) -> None:
    with pytest.raises(Refused, match=f"^{message}$"):
        Options.read(environment, [MARGIN])


def test_a_seed_draws_the_same_mutants_again() -> None:
    found = [mutant("scale", "mark", occurrence) for occurrence in range(3)]
    draw = Options(frozenset(), seed=3, count=2, report=False)
    assert draw.chosen(found) == draw.chosen(found) and len(draw.chosen(found)) == 2
    assert Options(frozenset({"sides"}), 0, 0, False).chosen(found) == []
    assert Options(frozenset({"margin"}), 0, 0, False).chosen(found) == found
