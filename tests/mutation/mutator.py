"""Small wrong changes of Vyper source, one at a time, found on the compiler's own syntax tree.

| operator   | change                                                                                        |
|------------|-----------------------------------------------------------------------------------------------|
| arithmetic | `+` and `-` exchanged, `*` made `//`, shifts turned round, `&` made `|`, `|` and `^` made `&`; |
|            | `unsafe_add` and `unsafe_sub` exchanged, `unsafe_mul` made `unsafe_add`                       |
| rounding   | `//` rounded up by one; a division whose name says how it rounds made a plain `//`            |
| extreme    | `min` and `max` exchanged, `abs` dropped                                                      |
| sign       | `not`, `~` or `-` dropped                                                                     |
| boundary   | `<` and `<=` exchanged, `>` and `>=`, `==` and `!=`, `in` and `not in`                        |
| condition  | the condition of an `if` always true, always false; one operand of `and`, `or` without effect |
| constant   | a number, or what is written with numbers alone, larger by one; a truth value turned round    |
| confusion  | one name for its neighbour: longs for shorts, old for new; `1 - side` for `side`              |
| swap       | two neighbouring arguments, or fields of a struct or an event, of the same type               |
| statement  | an assignment, assertion, call, event or `break` dropped                                      |
| lock       | `@nonreentrant` dropped                                                                       |

Left out, because whatever kills another mutant of the same site should kill it too: `//` made `*`, and what is
divided (who tells a quotient from that plus one will notice); a dropped assignment of what is itself mutated; `+=` made
`-=` (it is dropped, or what is added is mutated); a negated condition, also by `==` for `!=` or next to zero (always
true or false is nearer to the truth); `and` made `or`, or always true (an operand without effect is nearer); a shift or
a mask by a number turned round (the number is changed); all but the first of several swaps in one call, of several
neighbours of one name in one statement, and of several `|` in a row. Strings and types are no code, nor are loop bounds
and first values of variables that only the compiler wants.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from itertools import pairwise

from vyper import ast as vy

#: Operators that are exchanged. `//` is in `_division`.
ARITHMETIC = {
    vy.Add: "-",
    vy.Sub: "+",
    vy.Mult: "//",
    vy.Mod: "*",
    vy.Pow: "*",
    vy.LShift: ">>",
    vy.RShift: "<<",
    vy.BitAnd: "|",
    vy.BitOr: "&",
    vy.BitXor: "&",
}
COMPARISONS = {
    vy.Lt: "<=",
    vy.LtE: "<",
    vy.Gt: ">=",
    vy.GtE: ">",
    vy.Eq: "!=",
    vy.NotEq: "==",
    vy.In: "not in",
    vy.NotIn: "in",
}
#: By a literal, only the literal is changed.
BY_LITERAL = (vy.LShift, vy.RShift, vy.BitAnd)
BUILTINS = {
    "min": ("extreme", "max"),
    "max": ("extreme", "min"),
    "abs": ("extreme", ""),
    "unsafe_add": ("arithmetic", "unsafe_sub"),
    "unsafe_sub": ("arithmetic", "unsafe_add"),
    "unsafe_mul": ("arithmetic", "unsafe_add"),
}
#: Divisions of `fixed_point` by name: what divides, if no argument does.
ROUNDED = {
    "_ceil_div": "",
    "_floor_div": "",
    "_quote_up": "{0}INDEX_UNIT",
    "_quote_down": "convert({0}INDEX_UNIT, int256)",
}
#: Whose first arguments may change places: sums, products, extremes.
COMMUTATIVE = {
    *("min", "max", "unsafe_add", "unsafe_mul", "_mul_div"),
    *("_open_interest", "_notional", "_requirement", "_level"),
    *ROUNDED,
}
_NEIGHBOURS = [
    ("LONG", "SHORT"),
    ("PRICE_FALLS", "PRICE_RISES"),
    ("LAGGING", "SUSPECT"),
    ("GUARDED", "CLOSED"),
    ("initial_margin", "maintenance_margin"),
    ("old", "new"),
    ("L", "W"),
]
CONFUSED = {one: other for pair in _NEIGHBOURS for one, other in (pair, pair[::-1])} | {"FUNDING": "PRICE_RISES"}
#: Statements that may go without the compiler missing them.
DROPPED = (vy.Assign, vy.AugAssign, vy.Assert, vy.Expr, vy.Log, vy.Break)


@dataclass(frozen=True)
class Mutant:
    """One change of one file.

    Attributes:
        id: file, function, operator and a digest of the change; stays the same when other lines change.
        file: path under `contracts/`.
        function: where; empty outside of functions.
        line: from 1.
        start, end: characters of the source that are replaced.
        before, after: their text, and what comes instead.
    """

    id: str
    file: str
    function: str
    line: int
    operator: str
    start: int
    end: int
    before: str
    after: str

    def applied(self, source: str) -> str:
        """The source with the change.

        Raises:
            ValueError: the source is another one.
        """
        if source[self.start : self.end] != self.before:
            raise ValueError(f"{self.id} is a change of another version of {self.file}")
        return source[: self.start] + self.after + source[self.end :]


@dataclass(frozen=True)
class Change:
    """What an operator does to a source: characters from `start` to `end` become `after`."""

    operator: str
    start: int
    end: int
    after: str


class Text:
    """A source and where the nodes of its tree stand in it."""

    def __init__(self, source: str) -> None:
        self.source = source
        self._lines = [0]
        for line in source.splitlines(keepends=True):
            self._lines.append(self._lines[-1] + len(line))

    def start(self, node: vy.VyperNode) -> int:
        """First character of a node. (Nothing but ASCII stands before code on its line.)"""
        return self._lines[node.lineno - 1] + node.col_offset

    def end(self, node: vy.VyperNode) -> int:
        """One past its last character.

        The compiler counts `extcall` and `staticcall` as five characters in a line up to here, unless a token begins
        just there; so the first place where a node may end is taken.
        """
        start, line = self.start(node), self._lines[node.end_lineno - 1]
        end = line + node.end_col_offset
        ends = [end]
        for keyword in ("staticcall", "extcall"):
            for _ in range(self.source.count(keyword, line, self._lines[node.end_lineno])):
                ends += [one + len(keyword) - len("await") for one in ends]
        return next((one for one in sorted(ends) if self._may_end(start, one)), end)

    def of(self, node: vy.VyperNode) -> str:
        """The node as it is written."""
        return self.source[self.start(node) : self.end(node)]

    def line_end(self, node: vy.VyperNode) -> int:
        """Where the last line of a node ends, a comment included."""
        return self._lines[node.end_lineno] - 1

    def line_of(self, position: int) -> int:
        """The line, from 1, of a character."""
        return bisect_right(self._lines, position)

    def _may_end(self, start: int, end: int) -> bool:
        """No bracket is open, and no word is cut in two."""
        text, after = self.source[start:end], self.source[end : end + 1]
        is_whole = text[-1:] in tuple(")]}'\"") or (_in_word(text[-1:]) and not _in_word(after))
        return is_whole and after != "(" and all(text.count(a) == text.count(b) for a, b in ("()", "[]", "{}"))


def _in_word(character: str) -> bool:
    return character.isalnum() or character == "_"


def find(file: str, source: str, tree: vy.Module) -> list[Mutant]:
    """All mutants of a source, in its order.

    Args:
        file: its path under `contracts/`, for the ids.
        tree: its syntax tree, annotated with types.
    """
    text = Text(source)
    found: list[Mutant] = []
    repeated: Counter[tuple[str, str, str, str]] = Counter()
    changes = [(change, _function(node)) for node in _code(tree) for change in _changes(node, text)]
    for change, function in sorted(changes, key=lambda one: (one[0].start, one[0].end, one[0].operator, one[0].after)):
        before = source[change.start : change.end]
        kind = (function, change.operator, before, change.after)
        digest = sha256("\0".join((*kind, str(repeated[kind]))).encode()).hexdigest()[:8]
        repeated[kind] += 1
        name = ".".join(filter(None, [file.rsplit("/")[-1].removesuffix(".vy"), function, change.operator, digest]))
        line = text.line_of(change.start)
        found.append(
            Mutant(name, file, function, line, change.operator, change.start, change.end, before, change.after)
        )
    return found


def _code(tree: vy.Module) -> Iterator[vy.VyperNode]:
    """Every node that is executed: constants and functions, without types and what loops are bounded by."""
    for top in tree.get_children():
        if isinstance(top, vy.VariableDecl):
            if top.is_constant and not isinstance(top.value, vy.Str):
                yield from _walk(top.value)
        elif isinstance(top, vy.FunctionDef):
            yield top
            for part in (*top.args.defaults, *top.body):
                yield from _walk(part)


def _walk(node: vy.VyperNode) -> Iterator[vy.VyperNode]:
    if isinstance(node, vy.DocStr):
        return
    yield node
    for child in node.get_children():
        is_type = isinstance(node, vy.AnnAssign) and child is node.annotation
        is_bound = isinstance(node, vy.keyword) and node.arg in ("bound", "max_outsize")
        if not (is_type or is_bound or _is_type_argument(node, child)):
            yield from _walk(child)


def _is_type_argument(node: vy.VyperNode, child: vy.VyperNode) -> bool:
    """The type in `empty(T)`, `max_value(T)`, `convert(x, T)`."""
    if not isinstance(node, vy.Call) or not isinstance(node.func, vy.Name):
        return False
    return (node.func.id in ("empty", "max_value", "min_value")) or (
        node.func.id == "convert" and child is node.args[-1]
    )


def _function(node: vy.VyperNode) -> str:
    function = node if isinstance(node, vy.FunctionDef) else node.get_ancestor(vy.FunctionDef)
    return function.name if function is not None else ""


def _is_literal(node: vy.VyperNode) -> bool:
    """Written with numbers alone."""
    if isinstance(node, vy.BinOp):
        return _is_literal(node.left) and _is_literal(node.right)
    return isinstance(node, vy.Int) or (isinstance(node, vy.UnaryOp) and _is_literal(node.operand))


def _is_zero(node: vy.VyperNode) -> bool:
    return isinstance(node, vy.Int) and node.value == 0


def _is_condition(node: vy.VyperNode) -> bool:
    """What is decided by it is mutated as such: a branch, an operand, an assertion."""
    parent = node._parent
    if isinstance(parent, vy.Call):
        return getattr(parent.func, "attr", "") == "_require"
    return isinstance(parent, (vy.BoolOp, vy.Assert)) or (isinstance(parent, (vy.If, vy.IfExp)) and node is parent.test)


# ----------------------------------------------------------------------------------------------------------- operators


def _changes(node: vy.VyperNode, text: Text) -> Iterator[Change]:
    for kind, operator in _OPERATORS:
        if isinstance(node, kind):
            yield from operator(node, text)


def _replace(operator: str, node: vy.VyperNode, text: Text, after: str) -> Change:
    return Change(operator, text.start(node), text.end(node), after)


def _between(operator: str, left: vy.VyperNode, right: vy.VyperNode, text: Text, symbol: str) -> Change:
    """Another operator between two nodes; the operands keep what they have, whatever binds how strongly."""
    return _replace(operator, left._parent, text, f"(({text.of(left)}) {symbol} ({text.of(right)}))")


def _binary(node: vy.BinOp, text: Text) -> Iterator[Change]:
    if _is_literal(node):
        return
    left, right = text.of(node.left), text.of(node.right)
    if isinstance(node.op, vy.FloorDiv):
        yield _replace("rounding", node, text, f"(({left}) // ({right}) + 1)")
    elif isinstance(node.op, vy.Sub) and isinstance(node.left, vy.Int) and node.left.value == 1:
        yield _replace("confusion", node, text, right)
    elif not (isinstance(node.op, BY_LITERAL) and _is_literal(node.right)) and not _is_inner(node):
        yield _between("arithmetic", node.left, node.right, text, ARITHMETIC[type(node.op)])


def _is_inner(node: vy.BinOp) -> bool:
    """What is divided, or the beginning of a row of `|`."""
    parent = node._parent
    if not isinstance(parent, vy.BinOp):
        return False
    is_numerator = isinstance(parent.op, vy.FloorDiv) and node is parent.left
    return is_numerator or (isinstance(parent.op, vy.BitOr) and isinstance(node.op, vy.BitOr))


def _comparison(node: vy.Compare, text: Text) -> Iterator[Change]:
    is_coarse = isinstance(node.op, (vy.Eq, vy.NotEq)) or _is_zero(node.right)
    if not (is_coarse and _is_condition(node)):
        yield _between("boundary", node.left, node.right, text, COMPARISONS[type(node.op)])


def _unary(node: vy.UnaryOp, text: Text) -> Iterator[Change]:
    if not (_is_literal(node) or _is_condition(node)):
        yield _replace("sign", node, text, f"({text.of(node.operand)})")


def _connective(node: vy.BoolOp, text: Text) -> Iterator[Change]:
    for operand in node.values:
        if not isinstance(operand, vy.BoolOp):
            yield _replace("condition", operand, text, str(isinstance(node.op, vy.And)))


def _branch(node: vy.If | vy.IfExp, text: Text) -> Iterator[Change]:
    connective = node.test.op if isinstance(node.test, vy.BoolOp) else None
    for value, nearer in (("True", vy.And), ("False", vy.Or)):
        if not isinstance(connective, nearer):
            yield _replace("condition", node.test, text, value)


def _number(node: vy.VyperNode, text: Text) -> Iterator[Change]:
    parent = node._parent
    if _is_overwritten(parent):
        return
    if _is_literal(node) and not _is_literal(parent) and not (_is_zero(node) and isinstance(parent, vy.Compare)):
        if isinstance(parent, vy.Call) and text.of(parent.func) == "range":
            yield _replace("constant", node, text, f"({text.of(node)} - 1)")
        else:
            yield _replace("constant", node, text, f"({text.of(node)} + 1)")


def _is_overwritten(node: vy.VyperNode) -> bool:
    """A local variable whose first value, which the compiler wants, nobody reads: an assignment comes next."""
    if not isinstance(node, vy.AnnAssign):
        return False
    block = node._parent.body if node in getattr(node._parent, "body", []) else node._parent.orelse
    for statement in block[block.index(node) + 1 :]:
        named = [one for one in statement.get_descendants(vy.Name) if one.id == node.target.id]
        if named and isinstance(statement, vy.Assign):
            targets = statement.target.elements if isinstance(statement.target, vy.Tuple) else [statement.target]
            return len(named) == 1 and named[0] in targets
        if named:
            return False
    return False


def _truth(node: vy.NameConstant, text: Text) -> Iterator[Change]:
    if isinstance(node.value, bool) and not _is_overwritten(node._parent):
        yield _replace("constant", node, text, str(not node.value))


def _hex(node: vy.Hex, text: Text) -> Iterator[Change]:
    written = text.of(node)
    yield _replace("constant", node, text, f"{written[:-1]}{int(written[-1], 16) ^ 1:x}")


def _name(node: vy.Name | vy.Attribute, text: Text) -> Iterator[Change]:
    """A name, or the last part of a longer one, but not that of a function or a field to be set."""
    called = isinstance(node._parent, vy.Call) and node is node._parent.func
    name = node.id if isinstance(node, vy.Name) else node.attr
    if name in CONFUSED and not called and node is _first_of_name(name, node):
        written = text.of(node)
        yield _replace("confusion", node, text, written.removesuffix(name) + CONFUSED[name])


def _first_of_name(name: str, node: vy.VyperNode) -> vy.VyperNode:
    """The first node of that name in the statement of another."""
    statement = node
    while not isinstance(statement._parent, (vy.FunctionDef, vy.If, vy.For, vy.Module)):
        statement = statement._parent
    named = statement.get_descendants((vy.Name, vy.Attribute), include_self=True)
    same = [one for one in named if name == (one.id if isinstance(one, vy.Name) else one.attr)]
    return min(same, key=lambda one: (one.lineno, one.col_offset))


def _call(node: vy.Call, text: Text) -> Iterator[Change]:
    name = node.func.id if isinstance(node.func, vy.Name) else getattr(node.func, "attr", "")
    if isinstance(node.func, vy.Name) and name in BUILTINS:
        operator, other = BUILTINS[name]
        yield _replace(operator, node.func, text, other)
    if name in ROUNDED:
        module = text.of(node.func).removesuffix(name).replace("self.", "")
        operands = [text.of(one) for one in node.args] + [ROUNDED[name].format(module)] * bool(ROUNDED[name])
        yield _replace("rounding", node, text, "(({}) // ({}))".format(*operands))
    values = [one.value for one in node.keywords] or ([] if name in COMMUTATIVE else list(node.args))
    for one, other in pairwise(values):
        if _same_type(one, other) and text.of(one) != text.of(other):
            middle = text.source[text.end(one) : text.start(other)]
            yield Change("swap", text.start(one), text.end(other), text.of(other) + middle + text.of(one))
            break


def _same_type(one: vy.VyperNode, other: vy.VyperNode) -> bool:
    types = [node._metadata.get("type") for node in (one, other)]
    return types[0] is not None and types[0] == types[1] and not isinstance(one, (vy.Str, vy.Bytes))


def _dropped(node: vy.VyperNode, text: Text) -> Iterator[Change]:
    """What is assigned is mutated itself, unless it is nothing but names."""
    if isinstance(node, (vy.Assign, vy.AugAssign)) and _is_mutated(node.value, text):
        return
    yield Change("statement", text.start(node), text.line_end(node), "pass")


def _is_mutated(node: vy.VyperNode, text: Text) -> bool:
    return any(True for one in _walk(node) for _ in _changes(one, text))


def _lock(node: vy.FunctionDef, text: Text) -> Iterator[Change]:
    for decorator in node.decorator_list:
        if isinstance(decorator, vy.Name) and decorator.id == "nonreentrant":
            start = text.start(decorator)
            yield Change("lock", start - 1, start + len(decorator.id), "")


_OPERATORS: list[tuple[type | tuple[type, ...], Callable[..., Iterator[Change]]]] = [
    (vy.BinOp, _binary),
    (vy.Compare, _comparison),
    (vy.UnaryOp, _unary),
    (vy.BoolOp, _connective),
    ((vy.If, vy.IfExp), _branch),
    ((vy.Int, vy.BinOp, vy.UnaryOp), _number),
    (vy.NameConstant, _truth),
    (vy.Hex, _hex),
    ((vy.Name, vy.Attribute), _name),
    (vy.Call, _call),
    (DROPPED, _dropped),
    (vy.FunctionDef, _lock),
]
