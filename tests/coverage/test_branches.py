"""The measure of branch coverage, on a contract small enough to count by hand."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import boa
import pytest

from prorata import coverage
from prorata.branches import branches_in, marked
from prorata.chain import Reverted
from prorata.embedded import CONTRACTS, Compiler, EmbeddedContract
from prorata.traced_chain import Trace, TracedChain
from tests.coverage.plugin import InsteadOfRevm, asks_for_whole_files

SOURCE = """
# pragma version 0.4.3
from modules import errors

@deploy
def __init__(positive: int256):
    assert positive > 0

@external
def count(x: uint256) -> uint256:
    errors._require(x != 7, "seven")
    errors._require(x != 8 and x != 9, "more")
    if x > 3 and x < 100 and x != 50:
        return 1
    elif x == 0 or x == 200:
        return 2
    for i: uint256 in range(x, bound=300):
        if i == 5:
            break
        if i == 1:
            continue
        for _: uint256 in range(2):
            pass
    y: uint256 = 1 if x > 2 else 5
    assert y == 1
    assert x != 300, "300"
    return y

@external
def next(x: uint256) -> uint256:
    return x + 1
"""

CONSTRUCTOR, SEVEN, MORE, IF, ELIF, FOR, FIVE, ONE, INNER, TERNARY, PLAIN, REASON = (
    7, 11, 12, 13, 15, 17, 18, 20, 22, 24, 25, 26,
)  # fmt: skip


@pytest.fixture(scope="module")
def trace() -> Iterator[Trace]:
    with marked() as codes:
        TracedChain.trace = Trace(codes)
        yield TracedChain.trace


@pytest.fixture(scope="module")
def chain(trace: Trace) -> TracedChain:
    return TracedChain()


@pytest.fixture(scope="module")
def contract(chain: TracedChain) -> EmbeddedContract:
    return chain.deploy_source(SOURCE, 1)


@pytest.fixture(autouse=True)
def afresh(contract: EmbeddedContract, trace: Trace) -> None:
    trace.clear()


def seen(trace: Trace) -> set[tuple[int, str]]:
    """Line and outcome in words, of the contract itself."""
    return {
        (branch.line, coverage.named((branch, held)))
        for branch, held in trace.outcomes()
        if branch.file != "modules/errors.vy"
    }


PAST = {(SEVEN, "require holds"), (MORE, "and 1 true"), (MORE, "require holds")}
BELOW = {*PAST, (IF, "and 1 false"), (IF, "if false"), (ELIF, "or 1 false"), (ELIF, "if false")}
ABOVE = {(IF, "and 1 true"), (IF, "and 2 false"), (IF, "if false")}
LOOPED = {
    *((FOR, outcome) for outcome in ("for any some round", "for another round")),
    *((line, "if false") for line in (FIVE, ONE)),
    *((INNER, outcome) for outcome in ("for another round", "for no other round")),
    (ONE, "if true"),
}


class TestOutcomes:
    @pytest.mark.parametrize(
        ("x", "expected"),
        [
            (7, {(SEVEN, "require fails")}),
            (8, {(SEVEN, "require holds"), (MORE, "and 1 false"), (MORE, "require fails")}),
            (9, {(SEVEN, "require holds"), (MORE, "and 1 true"), (MORE, "require fails")}),
            (10, {*PAST, (IF, "and 1 true"), (IF, "and 2 true"), (IF, "if true")}),
            (0, {*PAST, (IF, "and 1 false"), (IF, "if false"), (ELIF, "or 1 true"), (ELIF, "if true")}),
            (200, {*PAST, *ABOVE, (ELIF, "or 1 false"), (ELIF, "if true")}),
            (2, {*BELOW, *LOOPED, (FOR, "for no other round"), (TERNARY, "ternary false"), (PLAIN, "assert fails")}),
            (
                3,
                {
                    *BELOW,
                    *LOOPED,
                    (FOR, "for no other round"),
                    (TERNARY, "ternary true"),
                    (PLAIN, "assert holds"),
                    (REASON, "assert holds"),
                },
            ),
            (
                300,
                {
                    *PAST,
                    *ABOVE,
                    (ELIF, "or 1 false"),
                    (ELIF, "if false"),
                    *LOOPED,
                    (FIVE, "if true"),
                    (TERNARY, "ternary true"),
                    (PLAIN, "assert holds"),
                    (REASON, "assert fails"),
                },
            ),
            (301, {*PAST, *ABOVE, (ELIF, "or 1 false"), (ELIF, "if false")}),  # the bound of a loop is the compiler's
        ],
    )
    def test_one_by_one(
        self, chain: TracedChain, contract: EmbeddedContract, trace: Trace, x: int, expected: set[tuple[int, str]]
    ) -> None:
        with suppress(Reverted):
            chain.call(contract, "count", x)
        assert seen(trace) == expected

    @pytest.mark.parametrize(("argument", "outcome"), [(1, "assert holds"), (-1, "assert fails")])
    def test_of_a_constructor(self, chain: TracedChain, trace: Trace, argument: int, outcome: str) -> None:
        with chain.anchor(), suppress(Reverted):
            chain.deploy_source(SOURCE, argument)
        assert seen(trace) == {(CONSTRUCTOR, outcome)}

    def test_what_the_compiler_checks_is_apart(
        self, chain: TracedChain, contract: EmbeddedContract, trace: Trace
    ) -> None:
        for x, jumps in ((1, {False}), (2**256 - 1, {False, True})):
            with suppress(Reverted):
                chain.call(contract, "next", x)
            assert {jumped for _, _, jumped in trace.checks()} == jumps
        assert seen(trace) == set()

    def test_lines_that_ran(self, chain: TracedChain, contract: EmbeddedContract, trace: Trace) -> None:
        chain.call(contract, "count", 0)
        lines = {line for file, line in trace.lines() if file != "modules/errors.vy"}
        assert lines == {SEVEN, MORE, IF, ELIF}


class TestSource:
    def test_every_branch_is_found(self, tmp_path: Path) -> None:
        path = tmp_path / "counter.vy"
        path.write_text(SOURCE)
        assert [(branch.line, branch.kind, branch.operand) for branch in branches_in(path)] == [
            (CONSTRUCTOR, "assert", 0),
            (SEVEN, "require", 0),
            (MORE, "require", 0),
            (MORE, "and", 0),
            (IF, "if", 0),
            (IF, "and", 0),
            (IF, "and", 1),
            (ELIF, "if", 0),
            (ELIF, "or", 0),
            (FOR, "for", 0),
            (FOR, "for any", 0),
            (FIVE, "if", 0),
            (ONE, "if", 0),
            (INNER, "for", 0),
            (TERNARY, "ternary", 0),
            (PLAIN, "assert", 0),
            (REASON, "assert", 0),
        ]

    def test_marks_change_no_byte(self) -> None:
        path = str(CONTRACTS / "MarketLens.vy")
        with marked() as codes:
            boa.load_partial(path)
        compiled = boa.load_partial(path).compiler_data
        assert [code.code for code in codes] == [compiled.bytecode, compiled.bytecode_runtime]
        assert [code.creates for code in codes] == [True, False]

    def test_every_branch_of_a_contract_has_a_jump(self) -> None:
        with marked() as codes:
            boa.load_partial(str(CONTRACTS / "InsuranceVault.vy"))
        decided = {jump.branch for code in codes for jump in code.jumps.values() if jump}
        decided |= {branch for code in codes for branch in code.calls.values()}
        for file in ("InsuranceVault.vy", "modules/reserve.vy", "modules/redemptions.vy", "modules/errors.vy"):
            assert set(branches_in(CONTRACTS / file)) <= decided

    def test_a_branch_that_changes_nothing_is_never_taken(self) -> None:
        source = SOURCE.replace("        for _: uint256 in range(2):\n            pass\n", "")
        with marked() as codes:
            boa.loads_partial(source)
        decided = {jump.branch.line for code in codes for jump in code.jumps.values() if jump}
        assert FIVE in decided
        assert ONE not in decided


class TestList:
    @pytest.fixture
    def listed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
        path = tmp_path / "unreachable.toml"
        monkeypatch.setattr(coverage, "UNREACHABLE", path)
        yield path

    @pytest.fixture
    def outcome(self) -> coverage.Outcome:
        return coverage.outcomes_in("modules/errors.vy")[1]

    @staticmethod
    def entry(described: dict[str, str]) -> str:
        fields = {**described, "why": "because"}
        return "[[outcome]]\n" + "".join(f"{name} = '{value}'\n" for name, value in fields.items())

    def test_an_entry_names_one_outcome(self, listed: Path, outcome: coverage.Outcome) -> None:
        listed.write_text(self.entry(coverage.described(outcome)))
        assert coverage.excluded(set()) == {outcome: "because"}

    def test_what_was_taken_cannot_stand_there(self, listed: Path, outcome: coverage.Outcome) -> None:
        listed.write_text(self.entry(coverage.described(outcome)))
        with pytest.raises(coverage.BadList, match="was taken"):
            coverage.excluded({outcome})

    @pytest.mark.parametrize("field", ["file", "function", "line", "outcome"])
    def test_nor_what_does_not_exist(self, listed: Path, outcome: coverage.Outcome, field: str) -> None:
        listed.write_text(self.entry({**coverage.described(outcome), field: "other"}))
        with pytest.raises(coverage.BadList, match="0 outcomes"):
            coverage.excluded(set())

    def test_the_reviewed_list_fits_the_source(self) -> None:
        entries = tomllib.loads(coverage.UNREACHABLE.read_text())["outcome"]
        assert len(coverage.excluded(set())) == len(entries)


def test_what_cannot_be_taken_is_not_asked_for() -> None:
    file = {"outcomes": 10, "taken": 8, "excluded": 2}
    assert coverage.part([file]) == 1
    assert coverage.part([file, {"outcomes": 2, "taken": 0, "excluded": 0}]) == 0.8


def test_taken_survives_being_saved(tmp_path: Path) -> None:
    (branch, held), *_ = coverage.outcomes_in("modules/errors.vy")
    taken = coverage.Taken(
        outcomes={(branch, held)},
        lines={("modules/errors.vy", branch.line)},
        all_lines={("modules/errors.vy", branch.line), ("modules/errors.vy", 1)},
        checks={("MarketLens.vy", 5, True)},
        all_checks={"MarketLens.vy": 75},
    )
    taken.save(tmp_path / "result.json")
    assert coverage.Taken.load(tmp_path / "result.json") == taken


def test_bug_what_was_kept_on_disk_had_no_branches():
    """A coverage run after any other found nothing at all, because compiled contracts had begun to be kept."""
    Compiler().contract("MarketLens")
    with marked() as codes:
        Compiler().contract("MarketLens")
    assert {jump.branch.file for code in codes for jump in code.jumps.values() if jump} >= {"MarketLens.vy"}


def test_bug_what_stood_in_for_pyrevm_had_no_storage_and_less_gas(trace: Trace) -> None:
    """Tests that operate on storage, or look very far, failed under `make coverage`, which ended without figures."""
    chain = InsteadOfRevm()
    contract = chain.deploy_source("""
x: uint256

@external
@view
def seen() -> (uint256, uint256):
    return self.x, msg.gas
""")
    chain.put(contract.address, 0, 7)
    assert chain.word(contract.address, 0) == 7
    x, gas = chain.call(contract, "seen")
    assert (x, gas > 10**12) == (7, True)


@pytest.mark.parametrize(
    ("argument", "keyword", "markexpr", "whole"),
    [
        ("tests/unit", "", "", True),
        ("tests/unit", "crash", "", False),
        ("tests/unit", "", "slow", False),
        ("tests/unit/test_sources.py::test_one", "", "", False),
    ],
)
def test_bug_a_few_tests_stood_for_their_whole_file(argument: str, keyword: str, markexpr: str, whole: bool) -> None:
    """What `-k` had left of a file was kept as all that the file takes."""
    config = SimpleNamespace(args=[argument], option=SimpleNamespace(keyword=keyword, markexpr=markexpr))
    assert asks_for_whole_files(config) is whole
