"""The contracts' sources as trees of Python's own parser, which Vyper's grammar is near enough to.

For what has to be found wherever it stands: constants, structs, events, and every place in a function that divides,
shifts or multiplies. Quick, because nothing is compiled; what a variable's slot is, the compiler is asked.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from prorata.embedded import CONTRACTS

#: What Vyper has and Python has not, made into something that Python has.
_SPELLING = (
    (re.compile(r"^(event|struct|interface|flag) (\w+):", re.MULTILINE), r"class \2:"),
    (re.compile(r"\b(staticcall|extcall|log) "), ""),
    (re.compile(r"\bfor (\w+): [\w.]+ in\b"), r"for \1 in"),
)


@cache
def files() -> tuple[str, ...]:
    """Contracts and modules, as paths under `contracts/`; mocks are not the market's."""
    paths = [*CONTRACTS.glob("*.vy"), *(CONTRACTS / "modules").glob("*.vy")]
    return tuple(str(path.relative_to(CONTRACTS)) for path in sorted(paths))


def text(file: str) -> str:
    """A source as it stands."""
    return (CONTRACTS / file).read_text()


@cache
def tree(file: str) -> ast.Module:
    """The syntax tree of a source under `contracts/`."""
    source = text(file)
    for pattern, spelling in _SPELLING:
        source = pattern.sub(spelling, source)
    return ast.parse(source, filename=file)


@cache
def documented() -> frozenset[str]:
    """Functions with a docstring, in a contract, a module or an interface."""
    paths = [*(CONTRACTS / "interfaces").glob("*.vyi"), *(CONTRACTS / file for file in files())]
    found = (function for path in paths for function in functions(str(path.relative_to(CONTRACTS))))
    return frozenset(function.name for function in found if ast.get_docstring(function))


def functions(file: str) -> Iterator[ast.FunctionDef]:
    """Those with a body, in the order in which they stand."""
    yield from (node for node in tree(file).body if isinstance(node, ast.FunctionDef))


def name_of(call: ast.Call) -> str:
    """What is called, without the module or contract it is called of."""
    return ast.unparse(call.func).rpartition(".")[2]


@dataclass(frozen=True)
class Constant:
    """A constant number of a contract.

    Attributes:
        text: as it is written.
    """

    file: str
    name: str
    text: str
    value: int


@cache
def constants() -> dict[str, Constant]:
    """Every constant that is a number, by name; names are unique."""
    found: dict[str, Constant] = {}
    for file in files():
        for node in tree(file).body:
            if not isinstance(node, ast.AnnAssign) or node.value is None or not isinstance(node.target, ast.Name):
                continue
            kind = re.fullmatch(r"constant\((u?int\d+)\)", ast.unparse(node.annotation))
            if kind:
                name = node.target.id
                assert name not in found, f"{name} is a constant of two files"
                found[name] = Constant(file, name, ast.unparse(node.value), number(ast.unparse(node.value)))
    return found


#: What Vyper knows by name.
_NAMED = {"max_value(uint256)": 2**256 - 1, "min_value(int256)": -(2**255)}


def number(expression: str) -> int:
    """The value of an expression of numbers, or of the end of a type."""
    if expression in _NAMED:
        return _NAMED[expression]
    return int(eval(expression, {"__builtins__": {}}))  # of our own sources


@dataclass(frozen=True)
class Site:
    """A place in a function.

    Attributes:
        node: the expression; an augmented assignment as the operation it is.
    """

    file: str
    function: str
    node: ast.expr

    @property
    def text(self) -> str:
        """The expression, spelled as Python spells it."""
        return ast.unparse(self.node)


@cache
def expressions(file: str) -> tuple[Site, ...]:
    """Every expression in the functions of a source, the outer ones first."""
    found = []
    for function in functions(file):
        for statement in function.body:
            for node in ast.walk(statement):
                if isinstance(node, ast.expr):
                    found.append(Site(file, function.name, node))
                elif isinstance(node, ast.AugAssign):
                    found.append(Site(file, function.name, ast.BinOp(node.target, node.op, node.value)))
    return tuple(found)


def members(file: str, owner: str) -> list[tuple[str, str, str]]:
    """Fields of a struct or an event: name, type, and the comment behind it."""
    match = re.search(rf"^(?:struct|event) {owner}:\n((?:    .*\n)+)", text(file), re.MULTILINE)
    assert match, (file, owner)
    return [
        (field[1], field[2], field[3] or "")
        for field in re.finditer(r"^    (\w+): ([^#\n]*?)(?:  # (.*))?$", match[1], re.MULTILINE)
    ]
