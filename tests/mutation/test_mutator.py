"""Small sources, and every change the mutator finds in them."""

from __future__ import annotations

from pathlib import Path

import pytest
from vyper.compiler.settings import anchor_settings

from prorata.embedded import CONTRACTS
from tests.mutation.changed import DEPLOYABLES, affected, compiled, modules_of
from tests.mutation.mutator import Mutant, find

HEAD = "# pragma version 0.4.3\n"


def mutants(source: str) -> list[Mutant]:
    """Of a source that compiles."""
    data = compiled(HEAD + source, None, CONTRACTS)
    with anchor_settings(data.settings):
        return find("modules/sample.vy", HEAD + source, data.annotated_vyper_module)


def changes(body: str, arguments: str = "x: uint256, y: uint256, is_long: bool, z: int256") -> list[tuple[str, str]]:
    """Operator and what comes of the line, for a function of one line."""
    source = f"@external\ndef f({arguments}):\n    {body}\n"
    found = []
    for mutant in mutants(source):
        changed = mutant.applied(HEAD + source).splitlines()[3].strip()
        found.append((mutant.operator, changed))
    return found


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("a: uint256 = x + y", [("arithmetic", "a: uint256 = ((x) - (y))")]),
        ("a: uint256 = (x - y) * 3", [
            ("arithmetic", "a: uint256 = ((x - y) // (3))"),
            ("arithmetic", "a: uint256 = (((x) + (y))) * 3"),
            ("constant", "a: uint256 = (x - y) * (3 + 1)"),
        ]),
        # What is divided is left alone: who tells a quotient from that plus one notices it too.
        ("a: uint256 = x * y // x", [("rounding", "a: uint256 = ((x * y) // (x) + 1)")]),
        ("a: uint256 = x >> 8", [("constant", "a: uint256 = x >> (8 + 1)")]),
        ("a: uint256 = x >> y", [("arithmetic", "a: uint256 = ((x) << (y))")]),
        ("a: uint256 = x & (2**8 - 1)", [("constant", "a: uint256 = x & ((2**8 - 1 + 1))")]),
        ("a: uint256 = 1 - x", [("constant", "a: uint256 = (1 + 1) - x"), ("confusion", "a: uint256 = x")]),
        ("a: int256 = -z", [("sign", "a: int256 = (z)")]),
        ("a: uint256 = ~x", [("sign", "a: uint256 = (x)")]),
        ("a: uint256 = min(x, y)", [("extreme", "a: uint256 = max(x, y)")]),
        ("a: uint256 = unsafe_sub(x, y)", [
            ("arithmetic", "a: uint256 = unsafe_add(x, y)"),
            ("swap", "a: uint256 = unsafe_sub(y, x)"),
        ]),
        ("a: bool = x < y", [("boundary", "a: bool = ((x) <= (y))")]),
        ("a: bool = x == 0", [("boundary", "a: bool = ((x) != (0))")]),
        ("assert x <= y, 'no'", [("statement", "pass"), ("boundary", "assert ((x) < (y)), 'no'")]),
        # Always true is the assertion dropped, and a boundary next to zero the same as well.
        ("assert x > 0, 'no'", [("statement", "pass")]),
        ("assert x > 0 and is_long, 'no'", [
            ("statement", "pass"),
            ("condition", "assert True and is_long, 'no'"),
            ("condition", "assert x > 0 and True, 'no'"),
        ]),
        ("a: uint256 = x if is_long else y", [
            ("condition", "a: uint256 = x if True else y"),
            ("condition", "a: uint256 = x if False else y"),
        ]),
        # With one operand without effect an `or` is nearer to the truth than always false.
        ("a: uint256 = x if is_long or x > y else y", [
            ("condition", "a: uint256 = x if False or x > y else y"),
            ("condition", "a: uint256 = x if True else y"),
            ("boundary", "a: uint256 = x if is_long or ((x) >= (y)) else y"),
            ("condition", "a: uint256 = x if is_long or False else y"),
        ]),
    ],
)  # fmt: skip
def test_of_one_line(body: str, expected: list[tuple[str, str]]) -> None:
    assert sorted(changes(body)) == sorted(expected)


def test_loops_end_one_earlier_and_bounds_of_the_compiler_are_left_alone() -> None:
    source = "@external\ndef f(n: uint256):\n    for i: uint256 in range(n, bound=7):\n        break\n"
    assert [(one.operator, one.after) for one in mutants(source)] == [("statement", "pass")]
    source = "@external\ndef f():\n    for i: uint256 in range(7):\n        pass\n"
    assert [(one.operator, one.after) for one in mutants(source)] == [("constant", "(7 - 1)")]


def test_first_values_that_nobody_reads_are_left_alone() -> None:
    source = "@external\ndef f(x: uint256):\n    a: uint256 = 0\n    b: uint256 = 0\n    a = x\n    b = b\n    a = b\n"
    assert [(one.line, one.operator) for one in mutants(source)] == [
        (5, "constant"),
        (6, "statement"),
        (7, "statement"),
        (8, "statement"),
    ]


def test_roundings_by_name() -> None:
    source = (
        "from modules import fixed_point\n@external\ndef f(x: uint256, y: int256):\n"
        "    a: uint256 = fixed_point._ceil_div(x, x)\n    b: int256 = fixed_point._quote_down(y)\n"
    )
    assert [(one.operator, one.after) for one in mutants(source)] == [
        ("rounding", "((x) // (x))"),
        ("rounding", "((y) // (convert(fixed_point.INDEX_UNIT, int256)))"),
    ]


def test_swaps_and_neighbours() -> None:
    source = (
        "from modules import sides\nevent Done:\n    a: uint256\n    b: uint256\n    c: bool\n"
        "@external\n@nonreentrant\ndef f(x: uint256, y: bool):\n    log Done(a=x, b=sides.LONG, c=y)\n"
    )
    assert [(one.operator, one.after) for one in mutants(source)] == [
        ("lock", ""),
        ("statement", "pass"),
        ("swap", "sides.LONG, b=x"),
        ("confusion", "sides.SHORT"),
    ]


def test_what_is_assigned_is_changed_itself_or_the_assignment_dropped() -> None:
    source = "a: uint256\n@external\ndef f(x: uint256):\n    self.a = x\n    self.a = x + 1\n    self.a -= x\n"
    assert [(one.line, one.operator) for one in mutants(source)] == [
        (5, "statement"),
        (6, "arithmetic"),
        (6, "constant"),
        (7, "statement"),
    ]


def test_a_row_of_or_is_turned_once() -> None:
    found = changes("a: uint256 = x | y << 8 | x << 16")
    assert [operator for operator, _ in found].count("arithmetic") == 1


def test_constants_and_truth_values() -> None:
    source = 'A: constant(uint256) = 10**18\nB: constant(bytes4) = 0x01ffc9a7\nC: constant(String[2]) = "ab"\n'
    assert [one.after for one in mutants(source)] == ["(10**18 + 1)", "0x01ffc9a6"]


def test_nothing_in_types_strings_and_docstrings() -> None:
    source = (
        '"""\n@notice 1 + 1\n"""\n@external\ndef f(x: uint256[3]) -> String[9]:\n'
        '    """\n    @notice x < 1\n    """\n    a: uint256[3] = empty(uint256[3])\n    return "1 + 1"\n'
    )
    assert mutants(source) == []


def test_ids_do_not_depend_on_other_lines_and_no_two_are_the_same() -> None:
    source = "@external\ndef f(x: uint256) -> uint256:\n    return x + 1 + x + 1\n"
    found = mutants(source)
    assert len({one.id for one in found}) == len(found) == 5
    assert [one.id for one in mutants("\n# a comment\n" + source)] == [one.id for one in found]


def test_a_mutant_of_another_source_is_refused() -> None:
    (mutant, *_) = mutants("@external\ndef f(x: uint256):\n    a: uint256 = x + x\n")
    with pytest.raises(ValueError, match="another version"):
        mutant.applied("something else entirely")


@pytest.mark.parametrize("name", DEPLOYABLES)
def test_places_are_exact(name: str) -> None:
    """What stands there is a whole expression, also behind the keywords of calls that the compiler miscounts."""
    source = (CONTRACTS / f"{name}.vy").read_text()
    data = compiled(source, CONTRACTS / f"{name}.vy", CONTRACTS)
    with anchor_settings(data.settings):
        found = find(f"{name}.vy", source, data.annotated_vyper_module)
    assert len(found) > 20
    for mutant in found:
        assert source[mutant.start : mutant.end] == mutant.before == mutant.before.strip()
        for bracket, closing in ("()", "[]"):
            assert mutant.before.count(bracket) == mutant.before.count(closing)
            assert mutant.after.count(bracket) == mutant.after.count(closing)


def test_what_a_file_is_part_of() -> None:
    assert affected("modules/redemptions.vy") == ["InsuranceVault"]
    assert affected("modules/fixed_point.vy") == list(DEPLOYABLES)
    assert affected("TradingLogic.vy") == ["TradingLogic"]
    assert modules_of("from modules import margin\n") == {"margin", "errors", "fixed_point"}
    assert all(affected(str(path.relative_to(CONTRACTS))) for path in Path(CONTRACTS / "modules").glob("*.vy"))
