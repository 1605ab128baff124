"""Branches of the contracts' source, and which jump of the bytecode decides each.

A branch is a decision that somebody wrote: `if`, `elif`, a conditional expression, every operand of `and` and `or` but
the last (whether the next one is looked at), `assert`, a call of `errors._require`, and a loop: whether there is
another round, and, if their number is not fixed, whether there is one at all. Each has two outcomes. The jumps that the
compiler adds of its own accord (overflow, bounds, calldata, the selector) decide no branch of the source.

The compiler's source map does not know all of this: an assertion may jump when it holds or when it fails, an `else` may
come first, the operands of a long `and` and every loop have no place, and a jump around `return` has none either. So
`marked` has the compiler carry a mark from the statement to its jump; the bytecode stays what it was, to the byte.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import boa
from eth.vm import opcode_values
from vyper import ast as vy_ast
from vyper.ast.parse import parse_to_ast
from vyper.codegen.expr import Expr
from vyper.codegen.ir_node import IRnode
from vyper.codegen.stmt import Stmt
from vyper.compiler import phases
from vyper.ir import compile_ir, optimizer

from prorata.embedded import CONTRACTS, Compiler

#: What both outcomes of a branch are called, by its kind: if the condition holds, and if not.
OUTCOMES = {
    "if": ("true", "false"),
    "ternary": ("true", "false"),
    "and": ("true", "false"),
    "or": ("true", "false"),
    "assert": ("holds", "fails"),
    "require": ("holds", "fails"),
    "for": ("another round", "no other round"),
    "for any": ("some round", "no round"),
}


_JUMPS = {"JUMP": opcode_values.JUMP, "JUMPI": opcode_values.JUMPI}


@dataclass(frozen=True, order=True)
class Branch:
    """A decision in the source.

    Attributes:
        file: below `contracts/`, or whatever the compiler calls a source that is not there.
        line, column: of the statement or expression, lines from 1.
        kind: a key of OUTCOMES.
        operand: of `and` and `or`, from 0; otherwise 0.
    """

    file: str
    line: int
    column: int
    kind: str
    operand: int = 0


@dataclass(frozen=True)
class Jump:
    """What a JUMPI decides, and the outcome if it jumps (True: the first of its kind)."""

    branch: Branch
    if_taken: bool

    def inverted(self) -> Jump:
        """The same decision by a jump on the opposite condition."""
        return Jump(self.branch, not self.if_taken)


@dataclass(frozen=True)
class Code:
    """Bytecode with a place for each of its decisions.

    Attributes:
        code: what deployed or creation code begins with; immutables or arguments follow.
        jumps: by their place, every JUMPI; None: a check that the compiler added.
        requires: by its place, the JUMPI of `errors._require`, with how many instructions lie between it and the call.
        calls: by the place of their JUMP, all calls of `errors._require`.
        lines: file and line of every instruction that can be told to belong to one.
        creates: it is creation code.
    """

    code: bytes
    jumps: dict[int, Jump | None]
    requires: dict[int, int]
    calls: dict[int, Branch]
    lines: dict[int, tuple[str, int]]
    creates: bool


def branches_in(path: Path) -> list[Branch]:
    """Every branch that stands in a file, in order. Whether a loop may have no round is the compiler's to say, so a
    loop over anything but a fixed number of rounds counts twice.
    """
    name, found = _name(str(path)), list[Branch]()
    for function in parse_to_ast(path.read_text()).get_children(vy_ast.FunctionDef):
        for node in function.get_descendants():
            found.extend(_branches_at(node, name))
    return sorted(found)


@contextmanager
def marked() -> Iterator[list[Code]]:
    """Creation code and deployed code of whatever titanoboa compiles meanwhile: the list grows as it does."""
    codes = list[Code]()
    with ExitStack() as patches:
        # What is kept on disk, by titanoboa and by ourselves, has no marks.
        patches.enter_context(patch.object(boa.interpret, "_disk_cache", None))
        patches.enter_context(patch.object(Compiler, "_kept", Compiler._made))
        for owner, name, wrap in (
            (Stmt, "__init__", _marking_statements),
            (Expr, "__init__", _marking_expressions),
            (compile_ir, "_compile_to_assembly", _marking_jumps),
            (compile_ir, "_optimize_inefficient_jumps", _keeping_marks),
            (phases, "generate_bytecode", partial(_collecting, codes)),
        ):
            patches.enter_context(patch.object(owner, name, wrap(getattr(owner, name))))
        yield codes


# ------------------------------------------------------------------------------------------------------------- source


def _name(path: str) -> str:
    resolved = Path(path).resolve()
    return str(resolved.relative_to(CONTRACTS)) if resolved.is_relative_to(CONTRACTS) else path


def _branches_at(node: vy_ast.VyperNode, file: str) -> list[Branch]:
    """The branches that one node is."""
    match node:
        case vy_ast.If():
            kinds = [("if", 0)]
        case vy_ast.IfExp():
            kinds = [("ternary", 0)]
        case vy_ast.BoolOp():
            kinds = [(_operator(node), operand) for operand in range(len(node.values) - 1)]
        case vy_ast.Assert():
            kinds = [("assert", 0)]
        case vy_ast.For():
            kinds = [("for", 0)] if _has_fixed_rounds(node) else [("for", 0), ("for any", 0)]
        case vy_ast.Call() if _is_require(node):
            kinds = [("require", 0)]
        case _:
            kinds = []
    return [Branch(file, node.lineno, node.col_offset, kind, operand) for kind, operand in kinds]


def _operator(node: vy_ast.BoolOp) -> str:
    return "and" if isinstance(node.op, vy_ast.And) else "or"


def _is_require(node: vy_ast.Call) -> bool:
    return isinstance(node.func, vy_ast.Attribute) and node.func.attr == "_require"


def _has_fixed_rounds(node: vy_ast.For) -> bool:
    """True for `range` without a bound, and for a list that is written out."""
    if isinstance(node.iter, vy_ast.List):
        return True
    return isinstance(node.iter, vy_ast.Call) and not node.iter.keywords


# ----------------------------------------------------------------------------------------------------------- compiler


class _Mark:
    """Stands in for the source of an IR node, and says which branches its jumps decide.

    Args:
        node: the source.
        branches: of the node, in the order of the jumps of its IR.
        swapped: the optimizer is going to put the other arm of the `if` first.
    """

    def __init__(self, node: vy_ast.VyperNode, branches: list[Branch], swapped: bool = False) -> None:
        self._node = node
        self.branches = branches
        self.swapped = swapped

    def get_original_node(self) -> _Mark:
        return self

    def __getattr__(self, name: str) -> Any:
        return getattr(self._node, name)


def _file_of(node: vy_ast.VyperNode) -> str:
    return _name(str(node.module_node.resolved_path))


def _mark(ir: IRnode, node: vy_ast.VyperNode, branches: list[Branch]) -> None:
    ir.ast_source = _Mark(node, branches, ir.value == "if" and _will_be_swapped(ir))


def _will_be_swapped(ir: IRnode) -> bool:
    """Whether the optimizer is going to turn `if c: a else: b` into `if not c: b else: a`, by its own rule."""
    if len(ir.args) < 3:
        return False
    _, condition = optimizer._optimize(copy.deepcopy(ir.args[0]), ir)
    return condition.value not in ("iszero", "ne")


def _marking_statements(init: Callable[..., None]) -> Callable[..., None]:
    def marking(self: Any, node: vy_ast.VyperNode, context: Any) -> None:
        init(self, node, context)
        if isinstance(node, vy_ast.If | vy_ast.Assert):
            _mark(self.ir_node, node, _branches_at(node, _file_of(node)))
        elif isinstance(node, vy_ast.For):
            _mark(_first(self.ir_node, "repeat"), node, _branches_at(node, _file_of(node)))

    return marking


def _marking_expressions(init: Callable[..., None]) -> Callable[..., None]:
    def marking(self: Any, node: vy_ast.VyperNode, *arguments: Any, **named: Any) -> None:
        init(self, node, *arguments, **named)
        node, ir = self.expr, self.ir_node
        if isinstance(node, vy_ast.IfExp):
            _mark(ir, node, _branches_at(node, _file_of(node)))
        elif isinstance(node, vy_ast.BoolOp):
            for branch in _branches_at(node, _file_of(node)):
                _mark(ir, node, [branch])
                ir = ir.args[1 if branch.kind == "and" else 2]
        elif isinstance(node, vy_ast.Call) and _is_require(node):
            _mark(_first(ir, "goto"), node, _branches_at(node, _file_of(node)))

    return marking


def _first(ir: IRnode, value: str) -> IRnode:
    """The outermost IR node of a kind, first in order.

    Raises:
        LookupError: there is none.
    """
    rank = [ir]
    while rank:
        for node in rank:
            if node.value == value:
                return node
        rank = [argument for node in rank for argument in node.args]
    raise LookupError(f"no {value} in {ir}")


def _marking_jumps(compile_: Callable[..., list[Any]]) -> Callable[..., list[Any]]:
    """Every JUMPI gets `decides`, and the JUMP of every call of `_require` gets `calls`."""

    def marking(ir: IRnode, *arguments: Any, **named: Any) -> list[Any]:
        items = compile_(ir, *arguments, **named)
        # What the node's arguments jump for has been said already, when they were compiled.
        jumps = [item for item in items if item == "JUMPI" and not hasattr(item, "decides")]
        for jump, decision in zip(jumps, _decisions(ir, len(jumps)), strict=True):
            jump.decides = decision
        if ir.value == "goto" and isinstance(ir.ast_source, _Mark):
            (items[-1].calls,) = ir.ast_source.branches
        return items

    return marking


def _decisions(ir: IRnode, count: int) -> list[Jump | None]:
    """What the jumps that an IR node itself is compiled to decide."""
    mark = ir.ast_source
    if count == 0 or not isinstance(mark, _Mark):
        return [None] * count
    if ir.value == "repeat":
        # (more rounds than the bound? no round?) another round?
        again, *any_ = mark.branches
        first = [None, *(Jump(branch, False) for branch in any_)]
        return [*first[: count - 1], Jump(again, True)]
    (branch,) = mark.branches
    if ir.value == "assert":
        return [Jump(branch, False)]
    # `if` jumps over its first arm. An assertion with a reason is `if not condition: revert`.
    return [Jump(branch, mark.swapped or branch.kind == "assert")]


def _keeping_marks(optimize: Callable[[list[Any]], bool]) -> Callable[[list[Any]], bool]:
    """`x JUMPI, y JUMP, x JUMPDEST` becomes `ISZERO, y JUMPI, x JUMPDEST`, a new JUMPI on the opposite condition."""

    def keeping(assembly: list[Any]) -> bool:
        found = [
            (at, assembly[at + 1])
            for at in range(len(assembly) - 6)
            if assembly[at + 1] == "JUMPI"
            and assembly[at + 3] == "JUMP"
            and assembly[at + 5] == "JUMPDEST"
            and assembly[at] == assembly[at + 4]
            and all(compile_ir.is_symbol(assembly[at + offset]) for offset in (0, 2))
        ]
        changed = optimize(assembly)
        for earlier, (at, old) in enumerate(found):  # each has made the code shorter by an instruction
            new = compile_ir.Instruction("JUMPI", old.ast_source, old.error_msg)
            new.decides = old.decides and old.decides.inverted()
            assert assembly[at - earlier + 2] == "JUMPI"
            assembly[at - earlier + 2] = new
        return changed

    return keeping


# ----------------------------------------------------------------------------------------------------------- bytecode


def _collecting(codes: list[Code], generate: Callable[..., bytes]) -> Callable[..., bytes]:
    def collecting(assembly: list[Any], compiler_metadata: Any) -> bytes:
        codes.append(_code(generate(assembly, compiler_metadata), assembly))
        return codes[-1].code

    return collecting


def _code(code: bytes, assembly: list[Any]) -> Code:
    # Data and, in creation code, the code to deploy follow all instructions.
    flat = [item for item in assembly if isinstance(item, str)]
    jumps = {at: None if _goes_on(code, at) else item.decides for at, item in _placed(code, flat, "JUMPI")}
    calls = {at: item.calls for at, item in _placed(code, flat, "JUMP") if hasattr(item, "calls")}
    requires = {
        at: _steps_from_entry(code, at)
        for at, jump in jumps.items()
        if jump and (jump.branch.file, jump.branch.kind) == ("modules/errors.vy", "assert")
    }
    return Code(code, jumps, requires, calls, _lines(code, assembly), creates=any(map(_is_runtime, assembly)))


def _goes_on(code: bytes, place: int) -> bool:
    """Whether a jump goes to what follows it anyway. Then its branch changes nothing, and nobody can see it taken."""
    return code[place - 3 : place] == bytes([opcode_values.PUSH2, *(place + 1).to_bytes(2, "big")])


def _is_runtime(item: Any) -> bool:
    return isinstance(item, list) and isinstance(item[0], compile_ir.RuntimeHeader)


def _lines(code: bytes, assembly: list[Any]) -> dict[int, tuple[str, int]]:
    """File and line of what was made for one place alone: a variable's address has the line of any of its uses, and
    where several ways meet one of them has given its line. A function's line stands for its entry and its exit.
    """
    _, maps = compile_ir.assembly_to_evm(assembly)
    return {
        at: (_file_of(node), node.lineno)
        for at, node in maps["pc_raw_ast_map"].items()
        if not opcode_values.JUMPDEST <= code[at] <= opcode_values.PUSH32 and node.get_ancestor(vy_ast.FunctionDef)
    }


def _placed(code: bytes, items: list[Any], name: str) -> Iterator[tuple[int, Any]]:
    """Every instruction of a name, with its place."""
    places = (at for at, operation in _instructions(code) if operation == _JUMPS[name])
    return zip(places, (item for item in items if item == name), strict=False)


def _instructions(code: bytes) -> Iterator[tuple[int, int]]:
    """Place and opcode of everything that is not an operand."""
    at = 0
    while at < len(code):
        operation = code[at]
        yield at, operation
        at += 1
        if opcode_values.PUSH1 <= operation <= opcode_values.PUSH32:
            at += operation - opcode_values.PUSH1 + 1


def _steps_from_entry(code: bytes, place: int) -> int:
    """Instructions from the last JUMPDEST before a place up to it.

    Raises:
        LookupError: something jumps in between.
    """
    since = list[int]()
    for at, operation in _instructions(code):
        if at == place:
            break
        if operation == opcode_values.JUMPDEST:
            since.clear()
        since.append(operation)
    if set(since) & set(_JUMPS.values()):
        raise LookupError(f"no straight way to {place}")
    return len(since)
