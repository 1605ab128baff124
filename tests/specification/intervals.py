"""Interval arithmetic on the contracts' own expressions.

An expression is read off the source and worked out in Python's integers, from the least and the largest value of every
name in it. At every product, shift, `unsafe_` operation and conversion the result has to lie in the word that the
contract keeps it in. Which word that is follows from the names: what is signed says so, and `convert` changes it.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass

from tests.specification.sources import Site, constants, name_of

UINT, INT = (0, 2**256 - 1), (-(2**255), 2**255 - 1)


class Unbounded(Exception):
    """A name without a bound."""


class Overflow(Exception):
    """A result that does not fit its word."""


@dataclass(frozen=True)
class Interval:
    """Least and largest value, both included; a literal has no sign of its own and takes the other operand's."""

    low: int
    high: int
    signed: bool | None = False

    @property
    def bits(self) -> int:
        """Of every value, the bit of a sign not counted."""
        return max(self.high.bit_length(), (~self.low).bit_length() if self.low < 0 else 0)

    def fits(self) -> bool:
        """Whether every value is one of its word."""
        low, high = INT if self.signed else UINT
        return low <= self.low and self.high <= high

    def within(self, other: Interval) -> bool:
        """Whether every value is one of another's."""
        return other.low <= self.low and self.high <= other.high

    def _with(self, low: int, high: int, other: Interval) -> Interval:
        signed = other.signed if self.signed is None else self.signed
        if signed is False:  # a difference under zero reverts
            low, high = max(low, 0), max(high, 0)
        return Interval(low, high, signed)

    def join(self, other: Interval) -> Interval:
        """Either of two."""
        return self._with(min(self.low, other.low), max(self.high, other.high), other)


_OPERATIONS: dict[type[ast.operator] | str, Callable[[int, int], int]] = {
    ast.Add: lambda x, y: x + y,
    ast.Sub: lambda x, y: x - y,
    ast.Mult: lambda x, y: x * y,
    ast.FloorDiv: lambda x, y: (abs(x) // abs(y)) * (1 if (x < 0) == (y < 0) else -1),
    ast.LShift: lambda x, y: x << y,
    ast.RShift: lambda x, y: x >> y,
    ast.Pow: lambda x, y: x**y,
    "unsafe_add": lambda x, y: x + y,
    "unsafe_sub": lambda x, y: x - y,
    "unsafe_mul": lambda x, y: x * y,
    "max": max,
    "min": min,
}


class Evaluator:
    """Works expressions out.

    Args:
        bound: what is known of an expression of a function, by its text, or None. Asked for whole expressions first, so
            what follows from more than the ranges of its parts can be said of the whole.
        is_wrap: whether an operation is meant to lose its high bits.
    """

    def __init__(self, bound: Callable[[Site], Interval | None], is_wrap: Callable[[Site], bool]) -> None:
        self._bound = bound
        self._is_wrap = is_wrap

    def interval(self, site: Site) -> Interval:
        """Of an expression.

        Raises:
            Unbounded: a name in it has no bound.
            Overflow: a part of it does not fit its word.
        """
        known = self._bound(site)
        if known:
            return known
        if self._is_wrap(site):
            return Interval(*UINT)
        found = self._worked_out(site)
        if not isinstance(site.node, ast.Constant) and found.signed is not None and not found.fits():
            raise Overflow(f"{site.file} {site.function}: {site.text} may have {found.bits} bits")
        return found

    def _worked_out(self, site: Site) -> Interval:
        node = site.node
        if isinstance(node, ast.Constant) and isinstance(node.value, int):
            return Interval(node.value, node.value, None)
        if isinstance(node, ast.Name | ast.Attribute):
            constant = constants().get(site.text.rpartition(".")[2])
            if constant:
                return Interval(constant.value, constant.value, None)
        if isinstance(node, ast.IfExp):
            return self._of(site, node.body).join(self._of(site, node.orelse))
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            one = self._of(site, node.operand)
            return Interval(-one.high, -one.low, one.signed)
        if isinstance(node, ast.BinOp):
            return self._operation(site, type(node.op), node.left, node.right)
        if isinstance(node, ast.Call):
            return self._call(site, node)
        raise Unbounded(f"{site.file} {site.function}: {site.text}")

    def _of(self, site: Site, node: ast.expr) -> Interval:
        return self.interval(Site(site.file, site.function, node))

    def _operation(self, site: Site, kind: type[ast.operator] | str, left: ast.expr, right: ast.expr) -> Interval:
        if kind is ast.BitAnd:
            mask = self._of(site, right)  # a word and a mask of ones, or of fewer
            return Interval(0, mask.high, self._of(site, left).signed)
        if kind in (ast.BitOr, ast.BitXor):
            one, other = self._of(site, left), self._of(site, right)
            if one.low < 0 or other.low < 0:
                return one._with(min(one.low, other.low, 0), 2 ** max(one.bits, other.bits) - 1, other)
            return one._with(0, 2 ** max(one.bits, other.bits) - 1, other)
        if kind not in _OPERATIONS:
            raise Unbounded(f"{site.file} {site.function}: {site.text}")
        one, other = self._of(site, left), self._of(site, right)
        if kind is ast.FloorDiv and other.low <= 0:
            raise Unbounded(f"{site.file} {site.function}: {site.text} may divide by zero")
        if kind in (ast.LShift, ast.RShift) and not (other.low >= 0 and other.high < 256):
            raise Overflow(f"{site.file} {site.function}: {site.text} shifts by more than a word")
        ends = [_OPERATIONS[kind](x, y) for x in (one.low, one.high) for y in (other.low, other.high)]
        if kind in (ast.LShift, ast.RShift, ast.Pow):
            return Interval(min(ends), max(ends), one.signed)
        if isinstance(kind, str) and kind.startswith("unsafe"):  # nothing reverts: what is under zero wraps
            return Interval(min(ends), max(ends), other.signed if one.signed is None else one.signed)
        return one._with(min(ends), max(ends), other)

    def _call(self, site: Site, call: ast.Call) -> Interval:
        name = name_of(call)
        if name == "convert":
            return self._converted(site, call)
        if name == "abs":
            one = self._of(site, call.args[0])
            return Interval(0, max(abs(one.low), abs(one.high)), True)
        if name in ("max_value", "min_value"):
            low, high = INT if ast.unparse(call.args[0]) == "int256" else UINT
            value = high if name == "max_value" else low
            return Interval(value, value, ast.unparse(call.args[0]) == "int256")
        if name in ("_floor_div", "_ceil_div"):
            one, other = (self._of(site, argument) for argument in call.args)
            ends = [x // y for x in (one.low, one.high) for y in (max(other.low, 1), other.high)]
            return Interval(min(ends), max(ends) + (name == "_ceil_div"), name == "_floor_div")
        if name in _OPERATIONS and len(call.args) == 2:
            return self._operation(site, name, *call.args)
        raise Unbounded(f"{site.file} {site.function}: {site.text}")

    def _converted(self, site: Site, call: ast.Call) -> Interval:
        kind = ast.unparse(call.args[1])
        inner = call.args[0]
        if isinstance(inner, ast.Call) and name_of(inner) == "convert" and ast.unparse(inner.args[1]) == "bytes32":
            return Interval(*(INT if kind == "int256" else UINT), kind == "int256")  # the same bits: nothing can revert
        one = self._of(site, inner)
        found = Interval(one.low, one.high, kind == "int256")
        if not found.fits():
            raise Overflow(f"{site.file} {site.function}: {site.text} of {one.low}..{one.high}")
        return found
