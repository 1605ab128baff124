"""What a proof is made of, and how z3 is asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from time import perf_counter
from typing import Any

import z3

#: One query may take so long; the slowest takes a fraction of it. An answer that comes later counts as none.
TIMEOUT_SECONDS: float = 30
SEED = 1

Term = Any  # an arithmetic or bit-vector term of z3
Formula = Any  # a z3 Boolean, or a Python one where everything in it is constant


class Undecided(Exception):
    """z3 gave no answer within the time limit."""


class Unsound(Exception):
    """A proof or its twin has the wrong outcome. The message names it and shows the values that z3 found."""


@dataclass(frozen=True)
class Assumption:
    """What a proof takes for granted, and where the contracts (or which proof) guarantee it."""

    text: str
    source: str
    formula: Formula

    def __str__(self) -> str:
        return f"{self.text} ({self.source})"


@dataclass(frozen=True)
class Lemma:
    """A fact about numbers with a name, proved for all of them and cited for some."""

    name: str
    statement: str
    formula: Callable[..., Formula]


class Query:
    """A proof as it is being written: variables, assumptions, one guard, one goal.

    It is also the calculator of `transcript.py` for terms: a quotient is a fresh variable held between its bounds.
    """

    def __init__(self) -> None:
        self.assumptions: list[Assumption] = []
        self.guards: list[Assumption] = []
        self.definitions: list[Formula] = []
        self.goals: list[Formula] = []
        self.shown: list[tuple[str, Term]] = []
        self.pins: list[Formula] = []
        self.cited: list[str] = []

    # ------------------------------------------------------------------------------------------------------- variables

    def integer(self, name: str, low: Term | None = None, high: Term | None = None, source: str = "its type") -> Term:
        """An integer in `low`..`high`, both inclusive."""
        return self._bounded(z3.Int(name), low, high, source)

    def real(self, name: str, low: Term | None = None, high: Term | None = None, source: str = "its type") -> Term:
        """The same over the reals, of which the integers are some: what holds for all reals holds for integers."""
        return self._bounded(z3.Real(name), low, high, source)

    def word(self, name: str, bits: int = 256) -> Term:
        """A machine word."""
        return self._bounded(z3.BitVec(name, bits), None, None, "its type")

    def either(self, name: str) -> Term:
        """True or false."""
        return self._bounded(z3.Bool(name), None, None, "its type")

    def _bounded(self, variable: Term, low: Term | None, high: Term | None, source: str) -> Term:
        self.shown.append((str(variable), variable))
        if low is not None or high is not None:
            ends = [variable >= low] if low is not None else []
            ends += [variable <= high] if high is not None else []
            text = f"{shorten(low)} <= " if low is not None else ""
            text += str(variable)
            text += f" <= {shorten(high)}" if high is not None else ""
            self.assumptions.append(Assumption(text, source, z3.And(*ends)))
        return variable

    # ------------------------------------------------------------------------------------------- what is taken for true

    def assume(self, text: str, formula: Formula, source: str) -> None:
        """Takes for granted what the contracts guarantee there."""
        self.assumptions.append(Assumption(text, source, formula))

    def guard(self, text: str, formula: Formula, source: str) -> None:
        """The assumption that carries the proof: the twin is the same query without it."""
        self.guards.append(Assumption(text, source, formula))

    def cite(self, lemma: Lemma, *terms: Term) -> None:
        """Uses a lemma for these terms."""
        self.cited.append(lemma.name)
        self.definitions.append(lemma.formula(*terms))

    def rather(self, text: str, right: Term, wrong: Term, source: str) -> Term:
        """What the contract computes, where a slip would compute something else; that it does is the guard."""
        as_it_should = self.either(text)
        self.guard(text, as_it_should, source)
        return z3.If(as_it_should, right, wrong)

    def prove(self, goal: Formula) -> None:
        """States what follows."""
        self.goals.append(goal)

    def show(self, label: str, term: Term) -> None:
        """Has a counterexample print a term under this name."""
        self.shown.append((label, term))

    def pin(self, *formulas: Formula) -> None:
        """Where to look for the counterexample: round numbers. Never part of the proof."""
        self.pins.extend(formulas)

    # ------------------------------------------------------------------------------------------------------ calculator

    def quotient(self, dividend: Term, divisor: Term) -> Term:
        """Vyper's `//` of unsigned numbers; the EVM reverts, or is proved not to, outside that domain."""
        found = self._fresh(dividend, divisor)
        inside = z3.And(found * divisor <= dividend, dividend < found * divisor + divisor, found >= 0)
        self.definitions.append(z3.Implies(z3.And(dividend >= 0, divisor > 0), inside))
        return found

    def truncated(self, dividend: Term, divisor: Term) -> Term:
        """Vyper's `//` of signed numbers by a positive one: towards zero."""
        found = self._fresh(dividend, divisor)
        positive = z3.And(found * divisor <= dividend, dividend < found * divisor + divisor, found >= 0)
        negative = z3.And(found * divisor >= dividend, dividend > found * divisor - divisor, found <= 0)
        self.definitions.append(z3.Implies(divisor > 0, z3.If(dividend >= 0, positive, negative)))
        return found

    def shifted(self, number: Term, width: Term) -> Term:
        """Vyper's `>>` of signed numbers by the exponent of `width`: floor(number / width), see `shift_is_floor`."""
        found = self._fresh(number, width)
        self.definitions.append(z3.And(found * width <= number, number < found * width + width))
        return found

    def choose(self, condition: Formula, one: Term, other: Term) -> Term:
        """A conditional."""
        return z3.If(condition, one, other)

    def least(self, one: Term, other: Term) -> Term:
        """The smaller of two."""
        return z3.If(one <= other, one, other)

    def most(self, one: Term, other: Term) -> Term:
        """The larger of two."""
        return z3.If(one >= other, one, other)

    def _fresh(self, *parts: Term) -> Term:
        name = f"quotient{len(self.definitions)}"
        return z3.Real(name) if any(z3.is_real(part) for part in parts if z3.is_expr(part)) else z3.Int(name)


@dataclass(frozen=True)
class Proof:
    """A statement, what it is worth, and how it is asked.

    Attributes:
        name: of the function that builds it.
        guarantee: S1 to S8, or the section of the design.
        statement: what is proved.
        beyond: what the proof does not cover.
        room: the module it is written in.
        build: writes it.
    """

    name: str
    guarantee: str
    statement: str
    beyond: str
    room: str
    build: Callable[[Query], None] = field(repr=False)

    @cached_property
    def query(self) -> Query:
        """The proof, written."""
        query = Query()
        self.build(query)
        if len(query.guards) != 1 or not query.goals:
            raise Unsound(f"{self.name}: a proof has one guard and a goal")
        return query

    @property
    def assumes(self) -> list[str]:
        """Everything that is taken for true, the guard last, and the proofs it rests on."""
        texts = [str(assumption) for assumption in (*self.query.assumptions, *self.query.guards)]
        return texts + [f"lemma {name}" for name in dict.fromkeys(self.query.cited)]

    def holds(self) -> float:
        """Proves it.

        Returns:
            Seconds it took.

        Raises:
            Unsound: there is a counterexample.
            Undecided: z3 does not know.
        """
        query = self.query
        started = perf_counter()
        model = _solve(self.name, [*_given(query), query.guards[0].formula, z3.Not(z3.And(*query.goals))])
        if model is not None:
            raise Unsound(f"{self.name} does not hold:\n{_readable(query, model)}")
        return perf_counter() - started

    def counterexample(self) -> str:
        """What goes wrong without the guard, readably.

        Raises:
            Unsound: nothing does, so the guard guards nothing.
            Undecided: z3 does not know.
        """
        query = self.query
        wanted = [*_given(query), z3.Not(z3.And(*query.goals))]
        model = _solve(f"{self.name}, twin", [*wanted, *query.pins])
        if model is None:
            raise Unsound(f"{self.name} holds without its guard: {query.guards[0]}")
        _confirm(self.name, wanted, model)
        return _readable(query, model)

    def example(self) -> str:
        """Values that satisfy everything assumed: the proof is about something.

        Raises:
            Unsound: there are none.
            Undecided: z3 does not know.
        """
        query = self.query
        wanted = [*_given(query), query.guards[0].formula]
        model = _solve(f"{self.name}, example", wanted)
        if model is None:
            raise Unsound(f"{self.name} assumes what cannot be")
        _confirm(self.name, wanted, model)
        return _readable(query, model)


#: Every proof, in the order in which they are written.
PROOFS: list[Proof] = []


def proof(guarantee: str, statement: str, beyond: str) -> Callable[[Callable[[Query], None]], Proof]:
    """Makes a proof of a function that writes it, under the function's name."""

    def register(build: Callable[[Query], None]) -> Proof:
        PROOFS.append(Proof(build.__name__, guarantee, statement, beyond, build.__module__, build))
        return PROOFS[-1]

    return register


def lemma(statement: str, *names: str) -> Callable[[Callable[..., Formula]], Lemma]:
    """Makes a lemma of a formula over integers, proved like everything else, for all integers of these names."""

    def register(formula: Callable[..., Formula]) -> Lemma:
        def build(q: Query) -> None:
            terms = [q.integer(name) for name in names]
            premise, conclusion = formula(*terms).children()
            q.guard("its premise", premise, "where it is cited")
            q.prove(conclusion)

        PROOFS.append(Proof(formula.__name__, "lemma", statement, "", formula.__module__, build))
        return Lemma(formula.__name__, statement, formula)

    return register


def _given(query: Query) -> list[Formula]:
    return [*(assumption.formula for assumption in query.assumptions), *query.definitions]


def _solve(name: str, formulas: list[Formula]) -> z3.ModelRef | None:
    # A context of its own: an answer, and the time it takes, depend on nothing that was asked before.
    context = z3.Context()
    solver = z3.Solver(ctx=context)
    solver.set("timeout", int(TIMEOUT_SECONDS * 1000))
    solver.set("random_seed", SEED)
    solver.add(*(z3.And(formula).translate(context) for formula in formulas))
    answer = solver.check()
    if answer == z3.unknown:
        raise Undecided(f"{name}: {solver.reason_unknown()}")
    return solver.model().translate(z3.main_ctx()) if answer == z3.sat else None


def _confirm(name: str, formulas: list[Formula], model: z3.ModelRef) -> None:
    """The model, put into the formulas, makes each of them true: found values are no artefact of the search."""
    for formula in formulas:
        if not z3.is_true(model.eval(z3.And(formula), model_completion=True)):
            raise Unsound(f"{name}: z3's values do not satisfy {formula}")


def _readable(query: Query, model: z3.ModelRef) -> str:
    lines = []
    for label, term in query.shown:
        value = model.eval(term, model_completion=True) if z3.is_expr(term) else term
        lines.append(f"{label} = {_number(value)}")
    return "\n".join(lines)


def _number(value: Any) -> str:
    if z3.is_int_value(value):
        return shorten(value.as_long())
    if z3.is_bv_value(value):
        return hex(value.as_long())
    return str(value)


def shorten(number: Any) -> str:
    """An integer as a reader wants it: a round power of two or ten by its name, a large one by its digits in groups."""
    if z3.is_int_value(number):
        number = number.as_long()
    if not isinstance(number, int) or abs(number) < 10**6:
        return str(number)
    sign, size = ("-" if number < 0 else ""), abs(number)
    for less in (0, 1):
        if (size + less).bit_count() == 1:
            return f"{sign}{'(' if less else ''}2**{(size + less).bit_length() - 1}{' - 1)' if less else ''}"
    digits = len(str(size)) - len(str(size).rstrip("0"))
    if digits > 8:
        return f"{sign}{size // 10**digits}e{digits}"
    return f"{number:,}"
